# %% [markdown]
# # 02 · Instruction tuning
#
# **From a model that continues text to one that follows instructions** (指令微调)
#
# Ask a language model of 2020 "What is the capital of France?" and it may go on with "What is the capital of Italy?": lists of
# questions continue in this way. What was done to these models so that they *answer*?
#
# After this lecture you can
#
# - read a *chat template* (对话模板) token by token, with tools too,
# - say what is trained in *supervised fine-tuning* (SFT, 有监督微调), and on which tokens,
# - turn a data set into instructions, and say what FLAN and InstructGPT did differently,
# - say where today's instruction data comes from,
# - say when instruction tuning helps and when it hurts, and how one measures that.

# %% [markdown] tags=["notes"]
# Two lessons of 50 minutes with the demos; for one lesson, leave out "Tools" and "Where instructions come from, 3". Let the room guess
# before each demo runs. The slides' table of kinds of requests is Table 1 of InstructGPT.

# %% tags=["skip"]
import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from course_utils import data, generate, lab, load_model, plots, scoring, tables, widgets

lab.start("02_instruction_tuning")
if lab.budget(full=False, quick=True):
    print("Experiments are small in this run: do not read the conclusions.")

# %% [markdown]
# ## From GPT-1 to ChatGPT
#
# The architecture hardly changed: these are decoders. What changed is **what they were trained on**.

# %%
lineage = tables.load("gpt_lineage").set_index("name")
shown = lineage[["date", "parameters_billion", "after", "what_was_added", "data"]]
shown = shown.rename(columns={"after": "made from"}).fillna({"made from": "–"})
shown.style.format({"parameters_billion": "{:g}"}, na_rep="not published").set_properties(**{"text-align": "left"})

# %% tags=["subslide", "hide-input"]
levels = {"text": 0, "code": 1, "instructions": 2, "dialogue": 3}
place = {name: (i, levels[kind]) for i, (name, kind) in enumerate(lineage["kind"].items())}
made_from = lineage["after"].replace("GPT-3.5 series", "text-davinci-002").dropna()
fig, ax = plt.subplots(figsize=(12, 5.2))
for name, older in made_from.items():
    unsure = name == "ChatGPT"  # from a model of the series; which one is not published
    ax.annotate(
        "",
        place[name],
        place[older],
        arrowprops={
            "arrowstyle": "->",
            "linestyle": ":" if unsure else "-",
            "connectionstyle": f"arc3,rad={0.35 if name == 'InstructGPT' else 0}",  # round Codex
            "shrinkA": 7,
            "shrinkB": 7,
        },
    )
for name, (x, y) in place.items():
    size = lineage.loc[name, "parameters_billion"]
    ax.plot(x, y, "o", color=plots.COLORS[1], markersize=9)
    label = f"{name}\n{lineage.loc[name, 'date']}\n" + (f"{size:g} billion" if size == size else "size not published")
    below = name in ("GPT-2", "text-davinci-003", "code-davinci-002")  # or else it would lie on its neighbour or an arrow
    ax.annotate(
        label,
        (x, y),
        textcoords="offset points",
        xytext=(0, -9 if below else 9),
        ha="center",
        va="top" if below else "bottom",
        fontsize=8.5,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
    )
ax.set_yticks(list(levels.values()), ["text", "text and code", "instructions", "dialogue"])
ax.set(
    title="What was added to the GPT line (dotted: from one of the GPT-3.5 models)",
    xlabel="order of publication",
    ylabel="new training data",
    xlim=(-0.6, len(place) - 0.4),
    ylim=(-0.7, 3.9),
    xticks=[],
)
plt.show()

# %% [markdown]
# "GPT-3.5" is a series and not one model. OpenAI's index for researchers lists a base model of text and code
# (`code-davinci-002`), a model fine-tuned from it on demonstrations and on its best answers (`text-davinci-002`), and a model
# that was also trained with reinforcement learning (`text-davinci-003`). ChatGPT comes from "a model in the GPT-3.5 series";
# which one is not published, and neither are their sizes.

# %% [markdown]
# ## One stream of tokens, three voices
#
# A chat has three voices. The *user* (用户) asks, the *assistant* (助手) is the model, and the *system* message (系统提示) is a text in
# front in which the provider says how the assistant should behave. The model reads them as one stream of tokens. Who speaks
# is written into the stream with *special tokens* (特殊词元), here `<|im_start|>` and `<|im_end|>`: single entries of the
# vocabulary that ordinary text is never cut into. This form is called ChatML; other models use other marks.

# %% tags=["hide-input"]
guess = widgets.predict(
    "A user types only `Who wrote Hamlet?` to the course model. How many tokens does it read before it answers?",
    unit="tokens",
    tolerance=0.25,
)

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

# %% tags=["hide-input"]
asked_tokens = len(tokenizer("Who wrote Hamlet?")["input_ids"])
guess.reveal(len(ids), why=f"The question itself is {asked_tokens} of them, {asked_tokens / len(ids):.0%}.")

# %% [markdown]
# Most of what the model reads for a short question is the frame: a system message that the user never typed, and the marks.
# The stream ends with an opened turn of the assistant, and the model does what it always does: it continues.
#
# ### Several turns
#
# The model keeps nothing between turns. Each time it reads the *whole* conversation again (多轮对话). Here Ana says her name, the
# model greets her, and she asks "What is my name?". Then we ask the last question alone.

# %% tags=["hide-input"]
guess = widgets.predict(
    "What does the model say to `What is my name?` when it reads only this question?",
    options=["that her name is Ana", "that it does not know, or no name at all", "another name, as if it knew"],
)

# %%
talk = [
    {"role": "user", "content": "My name is Ana."},
    {"role": "assistant", "content": "Nice to meet you, Ana!"},
    {"role": "user", "content": "What is my name?"},
]
for name, messages in (("whole conversation", talk), ("last question only", talk[-1:])):
    answer = generate(model, tokenizer, messages, max_new_tokens=40)
    print(f"{name}:\n  {answer!r}\n")

# %% tags=["hide-input"]
invented = re.search(r"name is \W*[A-Z]", answer)  # in the answer to the last question alone
guess.reveal(
    "that her name is Ana" if "Ana" in answer else "another name, as if it knew" if invented else "that it does not know, or no name at all",
    why="The model continues the assistant's turn with likely words, and no token that it read holds her name.",
)

# %% [markdown]
# Look for the name in the first answer, too. Only the whole conversation holds it, so only there can the model read it. Small
# models often invent one where they cannot: nothing in the loss punishes an invented answer more than "I do not know" (chapter 5).

# %% [markdown]
# ### Explorer: the same request in different frames
#
# Another system message, template on or off (without it there is no system message either). What is lost without the template?

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
    start={"request": REQUESTS[1], "template": False},
)

# %% [markdown]
# ### Tools: a fourth voice
#
# A model that should look something up or calculate is told which *tools* (工具) there are, and writes a *tool call* (工具调用): a
# piece of JSON between two marks. The program around the model runs the tool and puts the result into the conversation as a
# turn of the role `tool`. For the model all of this is text. Templates for it take a list of tools; transformers makes their
# descriptions from Python functions.

# %%
TOOLS_TEMPLATE = (
    "{% if tools %}<|im_start|>system\nTools: <tools>{{ tools | map(attribute='function') | list | tojson }}</tools>\n"
    "To use one, write <tool_call>{\"name\": …, \"arguments\": …}</tool_call>.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.tool_calls %}<tool_call>{{ m.tool_calls[0].function | tojson }}</tool_call>{% else %}{{ m.content }}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def temperature(city: str) -> float:
    """The temperature in a city now, in degrees Celsius.

    Args:
        city: the city's name.
    """
    return {"Paris": 18.0, "Oslo": 4.5}[city]

# %%
asked = [{"role": "user", "content": "How warm is it in Oslo?"}]
call = {"name": "temperature", "arguments": {"city": "Oslo"}}
result = temperature(**call["arguments"])  # the program's part, not the model's
turns = [
    *asked,
    {"role": "assistant", "tool_calls": [{"type": "function", "function": call}]},
    {"role": "tool", "content": json.dumps(result)},
    {"role": "assistant", "content": f"It is {result} degrees in Oslo."},
]
text = tokenizer.apply_chat_template(turns, tools=[temperature], chat_template=TOOLS_TEMPLATE, tokenize=False)
print(text)

# %% [markdown]
# In this conversation we wrote the call ourselves. What does the course model write? Its own template has no place for tools.

# %% tags=["hide-input"]
guess = widgets.predict(
    "The course model is asked how warm it is in Oslo, and told of the tool as above. What does it write?",
    options=["a tool call", "a temperature that it makes up", "neither of these"],
)

# %%
opened = tokenizer.apply_chat_template(
    asked, tools=[temperature], chat_template=TOOLS_TEMPLATE, tokenize=False, add_generation_prompt=True
)
said = generate(model, tokenizer, opened, max_new_tokens=40, chat=False)
print(repr(said))

# %% tags=["hide-input"]
called, number = "<tool_call>" in said, re.search(r"\d\s*(?:°|degrees)", said)
guess.reveal(
    "a tool call" if called else "a temperature that it makes up" if number else "neither of these",
    why="The mark `<tool_call>` is in its answer." if called else "The mark `<tool_call>` is not in its answer, though the system message described it.",
)

# %% [markdown]
# A tool call is a form, and a form is learnt from examples. SmolTalk, the data of the larger SmolLM2 models, has 80,000
# conversations with function calls (data card of SmolTalk). Training on them is the same SFT as for any other answer, and the
# tool's turns are *not* trained: the model should not invent results.

# %% [markdown]
# ## What is trained
#
# Write a conversation as tokens $x_1 \dots x_n$, and let $A$ be the places of the assistant's tokens, each with the end of its
# turn. SFT minimizes
#
# $$L = -\frac{1}{|A|}\sum_{t \in A} \log p_\theta(x_t \mid x_{<t})$$
#
# This is the loss of pre-training, on fewer tokens. The question is read ($x_{<t}$ holds it) but does not count. That is a
# choice and not a law: @shi2024instruction count the question's tokens, too, and find this better in many settings, above all
# where questions are long, answers short and examples few.

# %% [markdown]
# ## Where instructions come from, 1: data sets that exist (FLAN)
#
# Take a data set, describe the task in words, name the answers. The example is natural language inference (自然语言推断): does a
# statement follow from a text?

# %%
TEMPLATES = [
    "{premise}\nBased on the paragraph above, can we conclude that {hypothesis}\nOptions: yes, no",
    "{premise}\nCan we infer the following?\n{hypothesis}\nOptions: yes, no",
    "Read the following and determine if the hypothesis can be inferred from the premise:\nPremise: {premise}\nHypothesis: {hypothesis}\nOptions: yes, no",
]
example = {
    "premise": "Valery Polyakov set the record for the longest stay in space, 438 days, between 1994 and 1995.",
    "hypothesis": "Russians hold the record for the longest stay in space.",
}
for template in TEMPLATES:
    print(template.format(**example), "\n" + "-" * 70)

# %% [markdown]
# FLAN [@wei2022finetuned]: 62 data sets in 12 clusters, ten templates for each data set, LaMDA's model of 137 billion
# parameters. To test a cluster, *all* its data sets were kept out of training: can the model do a *kind* of task that it was
# never trained on?

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
# ### What mattered in FLAN?

# %% tags=["hide-input"]
guess = widgets.predict(
    "FLAN was trained again, with less. What costs more accuracy on kinds of tasks that are kept back?",
    options=["one cluster in training instead of seven", "bare inputs and outputs instead of instructions", "both the same, within 2 points"],
)

# %% tags=["hide-input"]
ablations = tables.load("flan_ablations")
fig, axes = plt.subplots(1, 2, figsize=(12, 4))
by_number = ablations[ablations["ablation"] == "clusters in training"]
axes[0].plot(by_number["setting"].astype(int), by_number["average_percent"], "o-", color="black")
axes[0].set(
    title="More kinds of tasks in training",
    xlabel="clusters in training",
    ylabel="accuracy on three\nclusters kept back (%)",
)
by_form = ablations[ablations["ablation"] == "instructions"].iloc[::-1]
axes[1].barh(by_form["setting"].str.replace(" in ", "\nin ", n=1), by_form["average_percent"], color="white", edgecolor="black", hatch="//")
for i, value in enumerate(by_form["average_percent"]):
    axes[1].text(value + 0.5, i, f"{value:g}", va="center")
axes[1].set(
    title="What the instructions do",
    xlabel="average on four clusters kept back (%)",
    xlim=(0, 65),
    ylabel="form of training and test",
)
plt.show()

# %% tags=["hide-input"]
more_clusters = by_number["average_percent"].iloc[-1] - by_number["average_percent"].iloc[0]
instructed = by_form.set_index("setting")["average_percent"]
gained = instructed["instructions in training and test"] - instructed["no instructions in training"]
guess.reveal(
    "both the same, within 2 points" if abs(gained - more_clusters) < 2
    else "bare inputs and outputs instead of instructions" if gained > more_clusters
    else "one cluster in training instead of seven",
    why=f"Without instructions it is {gained:.1f} points less, with one cluster {more_clusters:.1f}. (The clusters kept back are not the same.)",
)

# %% [markdown]
# Instructions matter most: without them, a model trained on the same data sets does much worse on new kinds of tasks. More
# kinds of tasks help, up to the last one tried; the one step down came with the sentiment cluster. The number of templates
# per data set mattered little in FLAN (Appendix B.1). T0, a smaller encoder–decoder, did gain from more prompts per data set,
# and its accuracy varied less with the wording [@sanh2022multitask]. The two papers do not agree, so do not expect a law here.

# %% [markdown]
# ### How much does a wording move a model?
#
# The same sentences of film reviews, four ways of asking the course model: which of two answers is likelier?

# %% tags=["hide-input"]
guess = widgets.predict(
    "By how many percentage points do the best and the worst of the four wordings differ in accuracy?", unit="points", tolerance=0.3
)

# %%
WORDINGS = {
    "word": ("Review: {text}\nIn one word, the film is", (" good", " bad")),
    "question": ("{text}\nIs this review positive or negative? It is", (" positive", " negative")),
    "liking": ("Someone wrote: {text}\nDid they like the film? Answer:", (" Yes", " No")),
    "stars": ("{text}\nMy rating of this film:", (" excellent", " terrible")),
}
reviews = data.movie_sentences().shuffle(seed=2).select(range(lab.budget(full=100, quick=8)))
praise = np.array([row["score"] > 0 for row in reviews])


def judged(wording):
    """For each review: is the likelier of the two answers the right one?"""
    prompt, answers = WORDINGS[wording]
    prompts = [prompt.format(text=row["text"]) for row in reviews]
    found = scoring.loglikelihood(model, tokenizer, prompts, list(answers), progress=False)
    good, bad = (found[found["continuation"] == option]["loglikelihood"].to_numpy() for option in (0, 1))
    return (good > bad) == praise

# %%
right = {wording: judged(wording) for wording in WORDINGS}
rows, moved = [], []
for wording in WORDINGS:
    share, low, high = scoring.proportion(int(right[wording].sum()), len(praise))
    change, least, most = scoring.paired(right[wording] * 1.0, right["word"] * 1.0)
    moved += [wording] * (least > 0 or most < 0)
    rows.append(
        {
            "wording": wording,
            "right": f"{share:.2f} [{low:.2f}, {high:.2f}]",
            'against "word", same reviews': f"{change:+.2f} [{least:+.2f}, {most:+.2f}]" if rows else "–",
            "says the first answer": f"{np.mean(right[wording] == praise):.2f}",
        }
    )
print(f"{len(praise)} reviews, {praise.mean():.2f} of them praise.", end=" ")
print(f"Wordings whose 95 % interval against 'word' excludes 0: {', '.join(moved) or 'none'}")
pd.DataFrame(rows).set_index("wording")

# %% tags=["hide-input"]
accuracy = {wording: 100 * right[wording].mean() for wording in WORDINGS}
best, worst = max(accuracy, key=accuracy.get), min(accuracy, key=accuracy.get)
guess.reveal(
    accuracy[best] - accuracy[worst],
    why=f"`{best}` has {accuracy[best]:.0f} % and `{worst}` {accuracy[worst]:.0f} %. Part of the gap is chance: look at the intervals.",
)

# %% [markdown]
# The last column shows one reason for differences: a wording with its answer words can pull the model to one answer, whatever
# the review says. (Three comparisons with intervals of 95 % each: one of them may exclude 0 by chance more easily than one
# alone.)
#
# One model, one task, one set of sentences. These wordings also have different answer words, so we cannot say which of the two
# moves the model. What follows is about measuring: an accuracy with a single wording says little.

# %% [markdown]
# ## Where instructions come from, 2: people (InstructGPT)
#
# @ouyang2022training paid about 40 people, *labelers* (标注员), to write answers to prompts (demonstrations, 示范), and later to
# rank answers. Where did the prompts come from?

# %% tags=["hide-input"]
guess = widgets.predict(
    "Labelers wrote answers to prompts. Which share of these prompts came from customers of the API?", unit="%", tolerance=0.4
)

# %% tags=["subslide", "hide-input"]
parts = tables.load("instructgpt_data").iloc[::-1]
fig, ax = plt.subplots(figsize=(10, 2.8))
ax.barh(parts["name"], parts["prompts_by_labelers"], color="white", edgecolor="black", hatch="//", label="by labelers")
ax.barh(
    parts["name"],
    parts["prompts_by_customers"],
    left=parts["prompts_by_labelers"],
    color="lightgrey",
    edgecolor="black",
    label="by customers of the API",
)
ax.set(title="Who wrote InstructGPT's training prompts", xlabel="prompts", ylabel="used for")
ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncol=2)
plt.show()

# %% tags=["hide-input"]
sft = parts.set_index("name").loc["SFT"]
total = sft["prompts_by_labelers"] + sft["prompts_by_customers"]
guess.reveal(100 * sft["prompts_by_customers"] / total, why=f"{sft['prompts_by_customers']:,} of {total:,} prompts.")

# %% [markdown]
# Few: labelers wrote most of the SFT prompts themselves, because the first model needed instructions before there were
# customers who gave any. Customers' prompts carry the later steps. What did they ask for? These are the kinds of the API
# prompts in the reward model's data, each with a prompt that the authors call fictional but realistic:

# %% tags=["hide-input"]
mix = tables.load("instructgpt_prompts")
mix[["name", "percent", "example"]].set_index("name").style.format({"percent": "{:g}"}).set_properties(
    **{"text-align": "left"}
)

# %% tags=["subslide", "hide-input"]
ordered = mix.sort_values("percent")
fig, ax = plt.subplots(figsize=(10, 4.2))
ax.barh(ordered["name"], ordered["percent"], color="white", edgecolor="black", hatch="//")
for i, percent in enumerate(ordered["percent"]):
    ax.text(percent + 0.4, i, f"{percent:g}", va="center")
ax.set(
    title="What customers of the API asked for (Ouyang et al. 2022, Table 1)",
    xlabel="share of the API prompts (%)",
    ylabel="kind of request",
)
plt.show()

# %% [markdown]
# | | FLAN | InstructGPT, first step |
# |---|---|---|
# | where the prompts come from | templates for 62 data sets of research | labelers, some from customers |
# | where the answers come from | the data sets' labels | labelers write them |
# | what most of them are | classify, choose, translate, summarize | write, answer, brainstorm, chat |
# | what comes after | nothing | rankings, a reward model, reinforcement learning (chapter 3) |
#
# Does it matter? The authors fine-tuned GPT-3 on FLAN's data, too, and compared on their customers' prompts: labelers preferred
# InstructGPT to their baseline, the SFT model, in 73 % of the cases, and the FLAN model in 30 %. InstructGPT made up
# less (21 % against GPT-3's 41 % on tasks where the answer must come from the input) and wrote about 25 % fewer toxic answers
# when it was told to be respectful. On bias it was not significantly better.

# %% [markdown]
# ## Where instructions come from, 3: models
#
# People are expensive. *Self-Instruct* [@wang2023selfinstruct] asked GPT-3 itself, with examples from 175 tasks that people
# wrote: invent an instruction, invent an input, answer it; then filter out what is too similar or broken. Alpaca
# [@taori2023alpaca] did this with text-davinci-003, and with the answers fine-tuned LLaMA 7B. Since then most open data is a
# mix.

# %% tags=["hide-input"]
kinds = tables.load("instruction_data")
columns = ["name", "year", "examples_thousand", "kind", "prompts_by", "answers_by"]
kinds[columns].set_index("name").style.format({"examples_thousand": "{:,g}"}).set_properties(**{"text-align": "left"})

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(10, 4))
backwards = kinds.iloc[::-1]
hatches = ["" if kind == "preferences" else "//" for kind in backwards["kind"]]
ax.barh(
    [f"{row.name} ({row.year})" for row in backwards.itertuples(index=False)],
    backwards["examples_thousand"],
    color="white",
    edgecolor="black",
    hatch=hatches,
)
ax.set(
    title="Demonstrations (hatched), ranked answers (white)",
    xlabel="examples (thousands, logarithmic)",
    xscale="log",
    ylabel="data set",
)
plt.show()

# %% [markdown]
# ### Inside a mix of 2024
#
# Tülu 3 [@lambert2024tulu] publishes its data, its code and what did not help. Its SFT mix has 939,344 prompts: 57 % from
# public data sets, 43 % made for it by models. To make many *different* prompts, a model is told to be many different
# *persons* (personas): "a vineyard's adviser asks a question of algebra".

# %% tags=["hide-input"]
tulu = tables.load("tulu3_sft")
about = tulu.groupby("about")["prompts"].sum().sort_values()
fig, ax = plt.subplots(figsize=(10, 3.8))
ax.barh(about.index, about / 1000, color="white", edgecolor="black", hatch="//")
ax.set(title="Tülu 3's SFT mix by what it is about", xlabel="prompts (thousands)", ylabel="about")
plt.show()
print(f"{len(tulu)} parts, {tulu['prompts'].sum():,} prompts. The data card's total is 939,344; it does not explain the rest.")

# %% [markdown]
# ### Preference data
#
# A demonstration says: *this* is an answer. A *preference* (偏好) says: this answer is better than that one. InstructGPT's
# labelers ranked four to nine answers per prompt. UltraFeedback [@cui2024ultrafeedback] has four models answer each of 64,000
# prompts, and GPT-4 scores the answers. The course model was trained on both kinds: SFT, then preferences from UltraFeedback
# by DPO (its model card). What is done with preferences is chapter 3.

# %% [markdown]
# ## When it helps, and when it hurts
#
# - **Size.** @wei2022finetuned [Figure 7] tuned five sizes, 422 million, 2, 8, 68 and 137 billion parameters, and tested on
#   tasks kept back. The two large ones became better, the three small ones *worse*. Some slides say "from ten billion on"; the
#   paper has no size between 8 and 68 billion. Later work found gains for small models, too, with more tasks and chains of
#   thought [@chung2022scaling], so this is no law about size alone.
# - **Number of kinds of tasks.** More kinds in training, better on kinds kept back: the figure above.
# - **Quality over quantity.** A thousand chosen conversations went a long way on a model of 65 billion parameters: LIMA (Zhou et
#   al. 2023). Its authors suppose that a model knows from pre-training what it knows, and that tuning teaches the form. This is
#   disputed.
# - **Cost elsewhere.** Reinforcement learning from feedback cost InstructGPT accuracy on public data sets such as SQuAD and
#   DROP, the *alignment tax* (对齐税). Mixing in updates on pre-training text greatly reduced this [@ouyang2022training].
#
# How does one know? By tasks that were kept back, by the loss on conversations that were kept back, by what the model did
# *before*, and by simple baselines. The lab asks a model before and after, in wordings and on a task that were kept back.

# %% [markdown]
# ## Summary
#
# - A chat model is a language model and a template. The whole conversation is read again at each turn. Tools are text, too.
# - SFT is next-token training on conversations, usually with the loss on the assistant's tokens only.
# - FLAN turned data sets into instructions; InstructGPT asked labelers; today models write much of the data.
# - Instructions and many kinds of tasks make a model better on kinds that were kept back. Templates mattered less in FLAN.
# - Wording moves accuracy, so a test with one wording says little.
# - Whether a model gains on tasks it never saw depends on its size and on its data. Measure it against the untuned model.

# %% [markdown]
# ## Quiz
#
# Nine questions on this chapter's ideas. Each choice has its own explanation.

# %% tags=["hide-input"]
read_before = sum(50 * turn + 150 * (turn - 1) for turn in range(1, 11))
counted = len(tokenizer("Shakespeare.")["input_ids"]) + 1
widgets.quiz([
    dict(question="A base model continues `What is the capital of France?` with `What is the capital of Italy?`. Why?", answer="Lists of questions are likely text", options={
        "It does not know the capital": "What it knows does not show here. The same model may continue `The capital of France is` with `Paris`.",
        "It samples, and greedy decoding would answer": "Sampling adds chance, but here the likeliest continuation itself may be another question.",
        "A decoder cannot answer questions": "ChatGPT is a decoder, too. The training data changed, and the architecture hardly did.",
        "Lists of questions are likely text": "Yes: it was trained to continue text, and does it well. Nothing told it that this text is a request."}),
    dict(question="There is no system message; each of a user's messages has 50 tokens, each answer 150 (frames included), and nothing is kept between turns. How many tokens has the model read, in all, for the prompts of the first ten answers?",
         answer=read_before, tolerance=0.02, unit="tokens", why="Before answer k it reads k messages and k − 1 answers. The sum grows with the square of the number of turns; a key-value cache saves most of this work."),
    dict(question=f"SFT on one conversation: the question `Who wrote Hamlet?`, whose prompt has {len(ids)} tokens, and the answer `Shakespeare.`, which has {counted - 1}. On how many tokens does the loss count?",
         answer=counted, tolerance=0, unit="tokens", why="The answer and the mark that ends its turn. Without the mark the model is never trained to stop. The prompt is read and does not count."),
    dict(question="A conversation has two answers: 2 tokens with a mean loss of 3.0 nats, and 18 tokens with a mean loss of 1.0. What is the SFT loss of this conversation?",
         answer=(2 * 3.0 + 18 * 1.0) / (2 + 18), tolerance=0.02, unit="nats per token", why="The mean is over tokens and not over answers, so it is not 2.0: a long answer weighs more than a short one."),
    dict(question="A user asks, the model calls a tool, the tool returns a result, the model answers. On which turns should SFT count the loss?", answer="The call and the answer", options={
        "The final answer only": "Then the model never learns to write the call, which it must write by itself.",
        "The call and the answer": "Yes: these two the model writes. Everything else is given to it when it is used.",
        "The call, the result and the answer": "The result comes from a program. A model that is trained to write it learns to invent results.",
        "All four turns": "This also trains the model to write users' requests and tools' results. The first may do little harm, the second teaches it to invent."}),
    dict(question="You tune on 40 data sets; one of them is MNLI (inference). Then you test on SNLI (also inference), which was not among the 40. What does a gain show?", answer="A gain on a new data set of a known kind of task", options={
        "A gain on a kind of task that it never saw": "The data set is new, but inference is not. FLAN kept back all data sets of a cluster to be able to say this.",
        "A gain on a new data set of a known kind of task": "Yes. For a claim about a new kind, all inference data must be kept out of training.",
        "Nothing, because SNLI's wording must be trained first": "A wording that was trained would make the test easier, and the claim weaker."}),
    dict(question="Wording A is right on 70 of 100 reviews, wording B on 64 of the same 100. Is A better?", answer="Look at the interval of the paired difference", options={
        "Yes, by six points": "Six points may be chance: with 100 reviews a single accuracy is uncertain by about nine points in each direction.",
        "No, because the intervals of the two accuracies overlap": "Overlap decides nothing: the same reviews were asked, so what counts is on how many of them A and B disagree, and how.",
        "Look at the interval of the paired difference": "Yes: it uses that both were asked the same reviews. If it holds 0, we cannot tell.",
        "Ask B with ten templates": "More wordings are a good idea for the next test, but they do not say what these two results show."}),
    dict(question="On customers' prompts, labelers preferred GPT-3 tuned on FLAN's data less often than InstructGPT's SFT baseline. Which reason fits best?", answer="FLAN's tasks are unlike what customers ask for", options={
        "FLAN's tasks are unlike what customers ask for": f"Yes: much of FLAN has an answer that is chosen or short, and {mix['percent'].max():.0f} % of the API's prompts ask for a text to be written.",
        "FLAN has too few examples": "It has far more than InstructGPT's SFT data. The number of examples alone does not decide.",
        "FLAN used a smaller model": "For this comparison the authors tuned GPT-3 on FLAN's data.",
        "Only the baseline had reinforcement learning": "The baseline is the SFT model, which had none. Demonstrations of the right kind were enough to be ahead."}),
    dict(question="You tune a model of 1.5 billion parameters on 20 kinds of tasks, and on kinds kept back it becomes worse. What is the best conclusion?", answer="It can happen, and other data may change it", options={
        "Below ten billion parameters tuning always hurts": "No law: FLAN measured five sizes with one recipe, none between 8 and 68 billion, and later recipes helped small models, too.",
        "There must be a bug, because more tasks help": "More kinds helped a model of 137 billion. FLAN's three smaller sizes became worse without any bug.",
        "It can happen, and other data may change it": "Yes: FLAN saw it for sizes up to 8 billion. With more tasks and chains of thought small models gained: measure yours.",
        "The model forgot everything": "Worse on some kinds is not everything: on the kinds that were trained, it may well be better than before."}),
])

# %% [markdown]
# ## Further reading
#
# - [@wei2022finetuned]
# - [@ouyang2022training]
# - [@sanh2022multitask]
# - [@chung2022scaling]
# - [@mishra2022cross]
# - [@zhou2023lima]
# - [@wang2023selfinstruct]
# - [@taori2023alpaca]
# - [@cui2024ultrafeedback]
# - [@lambert2024tulu]
# - [@shi2024instruction]
# - [@benallal2025smollm2]: the course model, and SmolTalk
