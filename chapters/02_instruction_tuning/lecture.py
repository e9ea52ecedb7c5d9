# %% [markdown]
# # 02 · Instruction tuning
#
# **From a model that continues text to one that does what it is told** (指令微调)
#
# Ask a language model of 2020 "What is the capital of France?" and it may go on with "What is the capital of Italy?": that is
# how lists of questions continue. What was done to these models so that they *answer*?
#
# After this lecture you can read a chat template token by token, turn a data set into instructions, say what FLAN and
# InstructGPT did differently, and when instruction tuning helps and when it hurts.

# %% [markdown] tags=["notes"]
# 50 minutes with the demos. Let the room guess the continuation of the first demo before it runs. The deck shows the
# InstructGPT mix under FLAN's title; here each stands with its own paper.

# %% tags=["skip"]
import matplotlib.pyplot as plt
import pandas as pd
import torch

from course_utils import data, generate, lab, load_model, plots, scoring, tables, widgets

lab.start("02_instruction_tuning")

# %% [markdown]
# ## From GPT-1 to ChatGPT
#
# The architecture hardly changed: decoders, larger each time. What changed is **what they were trained on**.

# %%
lineage = tables.load("gpt_lineage").set_index("name")
shown = lineage[["date", "parameters_billion", "what_was_added", "data"]]
shown.style.format({"parameters_billion": "{:g}"}, na_rep="not published").set_properties(**{"text-align": "left"})

# %% tags=["hide-input"]
when = pd.to_datetime(lineage["date"])
levels = {"text": 0, "code": 1, "instructions": 2, "dialogue": 3}
height = lineage["kind"].map(levels)
fig, ax = plt.subplots(figsize=(11, 4.4))
for name, row in lineage.dropna(subset=["after"]).iterrows():
    ax.annotate(
        "",
        (when[name], height[name]),
        (when[row["after"]], height[row["after"]]),
        arrowprops={"arrowstyle": "->", "lw": 1.5},
    )
for name, size in lineage["parameters_billion"].items():
    ax.plot(when[name], height[name], "o", color=plots.COLORS[1], markersize=9)
    label = f"{name}\n{size:g} billion" if size == size else f"{name}\nsize not published"
    below = name in ("GPT-3", "Codex", "GPT-3.5")
    ax.annotate(
        label,
        (when[name], height[name]),
        textcoords="offset points",
        xytext=(0, -14 if below else 12),
        ha="center",
        va="top" if below else "bottom",
        fontsize=10,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )
ax.set_yticks(list(levels.values()), list(levels))
ax.set(
    title="What was added to the GPT line",
    xlabel="date of publication",
    ylabel="new training data",
    ylim=(-0.8, 3.8),
)
plt.show()

# %% [markdown]
# ## One stream of tokens, three voices
#
# A chat is text with punctuation. **Predict:** how many tokens does the frame cost, for the question "Who wrote Hamlet?"

# %% tags=["nbval-check-output"]
model, tokenizer = load_model("course", precision="fp32")
question = [{"role": "user", "content": "Who wrote Hamlet?"}]
ids = tokenizer.apply_chat_template(question, add_generation_prompt=True)["input_ids"]
print(
    len(tokenizer("Who wrote Hamlet?")["input_ids"]),
    "tokens in the question,",
    len(ids),
    "in what the model reads:\n",
)
print(" ".join(token.replace("Ġ", "·").replace("Ċ", "⏎") for token in tokenizer.convert_ids_to_tokens(ids)))

# %% [markdown]
# ### Several turns
#
# The model keeps nothing between turns. Each time it reads the *whole* conversation again (多轮对话). **Predict:** what does it
# say to the last question when the first message is left out?

# %%
talk = [
    {"role": "user", "content": "My name is Ana."},
    {"role": "assistant", "content": "Nice to meet you, Ana!"},
    {"role": "user", "content": "What is my name?"},
]
for name, messages in (("whole conversation", talk), ("last question only", talk[-1:])):
    print(f"{name}:\n  {generate(model, tokenizer, messages, max_new_tokens=40)!r}\n")

# %% [markdown]
# Without the conversation it makes a name up; it does not say that it cannot know (chapter 5). With it, the name is there to
# be read, which is not the same as an answer that is any good.

# %% [markdown]
# ### Explorer: the same request in different frames
#
# System message on or off, template on or off. What is lost without the template?

# %%
REQUESTS = [
    "What is the capital of France?",
    "Translate to French: good morning",
    "List three fruits.",
    "Is the sun a planet? Answer yes or no.",
]


def frame(request, template, system):
    messages = [{"role": "system", "content": system}, {"role": "user", "content": request}]
    answer = generate(model, tokenizer, messages if template else request, max_new_tokens=40, chat=template)
    fig, ax = plt.subplots(figsize=(11, 2.6))
    ax.axis("off")
    ax.set_title(f"{request}   (template {'on' if template else 'off'})")
    ax.text(0, 0.5, answer[:300], wrap=True, va="center", fontsize=12)


widgets.explorer(
    frame,
    request=REQUESTS,
    template=True,
    system=["You are a helpful assistant.", "Answer with one word.", "You are a pirate."],
)
# %% [markdown]
# ## Instruction tuning, way one: data sets that exist (FLAN)
#
# Take a data set, describe the task in words, name the answers. The deck's example is natural language inference (自然语言推断):

# %%
TEMPLATES = [
    "{premise}\nBased on the paragraph above, can we conclude that {hypothesis}\nOptions: yes, no",
    "{premise}\nCan we infer the following?\n{hypothesis}\nOptions: yes, no",
    "Read the following and determine if the hypothesis can be inferred from the premise:\nPremise: {premise}\nHypothesis: {hypothesis}\nOptions: yes, no",
]
pair = {
    "premise": "Valery Polyakov set the record for the longest stay in space, 438 days, between 1994 and 1995.",
    "hypothesis": "Russians hold the record for the longest stay in space.",
}
for text in TEMPLATES:
    print(text.format(**pair), "\n" + "-" * 70)

# %% [markdown]
# FLAN [@wei2022finetuned]: 62 data sets in 12 clusters, ten templates for each data set. A whole cluster was kept back to
# test: does the model do a *kind* of task that it was never trained on?

# %% tags=["hide-input"]
clusters = tables.load("flan_clusters").sort_values("data_sets")
fig, ax = plt.subplots(figsize=(10, 4.8))
hatch = ["//" if kind == "generation" else "" for kind in clusters["kind"]]
ax.barh(clusters["name"], clusters["data_sets"], color="white", edgecolor="black", hatch=hatch)
ax.set(
    title=f"FLAN's {clusters['data_sets'].sum()} data sets (hatched: the answer is a text)",
    xlabel="data sets",
    ylabel="cluster",
)
plt.show()

# %% [markdown]
# ### Why ten wordings?
#
# Because a wording is not a detail. The same sentences of film reviews, four ways of asking. **Predict** the spread.

# %%
WORDINGS = {
    "word": ("Review: {text}\nIn one word, the film is", (" good", " bad")),
    "question": ("{text}\nIs this review positive or negative? It is", (" positive", " negative")),
    "liking": ("Someone wrote: {text}\nDid they like the film? Answer:", (" Yes", " No")),
    "stars": ("{text}\nMy rating of this film:", (" excellent", " terrible")),
}
reviews = data.movie_sentences().shuffle(seed=2).select(range(lab.budget(full=60, quick=8)))


@torch.inference_mode()
def odds(wording, text):
    prompt, answers = WORDINGS[wording]
    inputs = tokenizer(prompt.format(text=text), return_tensors="pt").to(model.device)
    logits = model(**inputs, logits_to_keep=1).logits[0, -1]
    good, bad = (tokenizer(answer)["input_ids"][0] for answer in answers)
    return float(logits[good] - logits[bad])

# %%
rows = []
for wording in WORDINGS:
    right = pd.DataFrame({"right": [(odds(wording, r["text"]) > 0) == (r["score"] > 0) for r in reviews]})
    value, low, high = scoring.bootstrap(right, lambda f: float(f["right"].mean()))
    rows.append({"wording": wording, "right": value, "from": low, "to": high})
pd.DataFrame(rows).set_index("wording").round(2)

# %% [markdown]
# One model, one task, one set of sentences. A model tuned on a single wording learns that wording; the lab measures it.

# %% [markdown]
# ## Way two: people show how (InstructGPT)
#
# People wrote answers to what customers had really asked. That mix is not FLAN's: almost half of it is *writing something*.
# (The deck prints this table under FLAN's title; it is Table 1 of InstructGPT.)

# %% tags=["hide-input"]
mix = tables.load("instructgpt_prompts").sort_values("percent")
fig, ax = plt.subplots(figsize=(10, 4.6))
ax.barh(mix["name"], mix["percent"], color="white", edgecolor="black", hatch="//")
for i, percent in enumerate(mix["percent"]):
    ax.text(percent + 0.4, i, f"{percent:g}", va="center")
ax.set(title="What people asked of InstructGPT", xlabel="share of the prompts (%)", ylabel="kind of request")
plt.show()

# %% [markdown]
# | | FLAN | InstructGPT |
# |---|---|---|
# | where the questions come from | data sets of research, 62 of them | customers of an API, and labelers |
# | where the answers come from | the data sets' labels | people who write them: 13 thousand |
# | what most of them are | classify, choose, translate, summarize | write, answer, brainstorm, chat |
# | what comes after | nothing | feedback on answers (chapter 3) |

# %% [markdown]
# ## When it helps, and when it hurts
#
# - **Size** (大模型效应). Tested on clusters kept back, tuning made FLAN's models of 68 and 137 billion parameters better and
#   those of 8 billion and fewer *worse*: a small model spends what it has on the tasks it is shown [@wei2022finetuned, Figure
#   7]. Later work found gains for small models too, with more tasks and chains of thought [@chung2022scaling].
# - **Number of clusters.** More kinds of tasks in training, better on kinds kept back [@wei2022finetuned, Figure 6].
# - **Quality over quantity.** A thousand chosen conversations went a long way on a model of 65 billion (LIMA, @zhou2023lima).
# - **Cost elsewhere.** Feedback training cost InstructGPT accuracy on public data sets, the *alignment tax* (对齐税), and
#   mixing in pre-training text gave most of it back [@ouyang2022training].
#
# The course model has 135 million. In the lab you tune it and measure all three: what it was trained on, what it was not,
# and what it knew before.

# %% [markdown]
# ## Summary
#
# - A chat model is a language model and a template. The whole conversation is read again at each turn.
# - Instruction tuning is next-word training on questions with answers, and learns from the answers only.
# - FLAN turned data sets into instructions; InstructGPT asked people. What the mix holds is what the model becomes good at.
# - Wording moves accuracy, so training needs many wordings, and a test on one wording says little.
# - Whether a model gains on tasks it never saw depends on its size and on how many kinds of tasks it saw.

# %% [markdown]
# ## Further reading
#
# - [@wei2022finetuned]
# - [@ouyang2022training]
# - [@sanh2022multitask]
# - [@chung2022scaling]
# - [@mishra2022cross]
# - [@zhou2023lima]
