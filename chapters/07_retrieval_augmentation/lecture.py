# %% [markdown]
# # 07 · Retrieval augmentation
#
# **Look it up** (检索增强)
#
# A model's weights contain what it read, up to the day when training ended, without sources and mixed up. A collection of
# documents can be newer, can be corrected, and shows where a sentence comes from. So let the model look things up before it
# answers.
#
# After this lecture you can draw the pipeline, say when words and when embeddings find the right page, tell *direct* from
# *iterative* augmentation, and name what goes wrong at each step.
#
# Our reader, SmolLM2-135M-Instruct, was quantized to 4 bits (a file of type *Q4_1*, chapter 10) before it reached us. All
# results of the reader are of this copy; how the original differs we have not measured. (The encoder, MiniLM, is not
# quantized.)

# %% [markdown] tags=["notes"]
# 60 minutes. Step through the pipeline with one question, slowly; everything after it is a closer look at one box. Take the
# vote on "One chunk or two?" before you run it. The three reasons to retrieve and the two kinds of augmentation, direct and
# autoregressive, are the deck's.

# %% tags=["skip"]
import re
import time
from collections import Counter
from itertools import pairwise

import bm25s
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from scipy.stats import rankdata

from course_utils import generate, hardware, lab, load_model, plots, scoring, tables, weights, widgets
from course_utils.errors import CourseError

lab.start("07_retrieval_augmentation")
plots.style()
model, tokenizer = load_model()
encoder, cut = load_model(weights.path("minilm"), task="feature-extraction", device="cpu")
knowledge, questions = tables.load("knowledge_base"), tables.load("retrieval_questions")
if lab.budget(full=False, quick=True):
    print("COURSE_BUDGET is quick: experiments are small. Do not read conclusions from them.")

# %% [markdown]
# ## Who was elected pope?
#
# The course model (SmolLM2-135M) was published in November 2024. We ask it about May 2025: without a page, and with a page
# that says it.

# %% tags=["hide-input"]
guess = widgets.predict(
    "What does the model answer *without* the page?",
    options=["that it does not know", "a wrong answer, as if it were a fact", "the right answer"],
)

# %%
QUESTION = "Who was elected pope in May 2025?"
PAGE = "On 8 May 2025 Cardinal Robert Prevost was elected pope."
SHORT = "You answer questions in a few words."
answers = []
for text in (QUESTION, f"{PAGE}\n\nQuestion: {QUESTION}"):
    chat = [{"role": "system", "content": SHORT}, {"role": "user", "content": f"{text}\nShort answer:"}]
    answers.append(generate(model, tokenizer, chat, max_new_tokens=lab.budget(full=24, quick=3)))
    print(answers[-1])

# %% tags=["hide-input"]
HEDGES = ("not know", "don't know", "cannot", "can't", "unable", "sorry", "unknown", "not in the text", "not mentioned")
blind, informed = answers
guess.reveal(
    "the right answer" if "Prevost" in blind
    else "that it does not know" if any(hedge in blind.lower() for hedge in HEDGES)
    else "a wrong answer, as if it were a fact",
    why=f"May 2025 is not in its weights. With the page it says: “{informed}”",
)

# %% [markdown]
# No parameter has changed between the two answers: the new fact is in the prompt, not in the weights.

# %% [markdown]
# ## Why retrieve?
#
# There are three usual reasons:
#
# - **more knowledge, above all new** (最新的信息),
# - **fewer hallucinations, and answers with evidence** (有据可循): the text can be checked,
# - **adaptation to a field at low cost** (低成本领域适配): a hospital's or a firm's documents, without training.
#
# A fourth is control: for each document one can decide *who may read it*, and a document can be deleted. A fact cannot be
# deleted from weights so easily.

# %% [markdown]
# ### Two kinds of memory
#
# | | in the weights (参数记忆) | in a knowledge base (非参数记忆) |
# |---|---|---|
# | written by | gradients | copying text |
# | a fact changes | train again, with side effects | replace the page |
# | source of a fact | unknown | page and sentence |
# | costs | much, once; nothing per question | little, once; a longer prompt per question |
# | knows | how to read, reason, write | only what is written there |
#
# @lewis2020retrieval joined both and named it *retrieval-augmented generation*, RAG. @guu2020realm [REALM] train the model
# together with its retriever; @borgeaud2022improving [RETRO] train the model on what a frozen retriever finds. The usual form
# today trains neither.

# %% [markdown]
# ## The pipeline

# %% tags=["hide-input"]
def boxes(items, arrows, title, size=(12, 4.4)):
    fig, ax = plt.subplots(figsize=size)
    drawn = {
        (x, y): ax.text(x, y, label, ha="center", va="center", fontsize=13,
                        bbox={"boxstyle": "round,pad=0.5", "fc": face, "ec": "black"})
        for (x, y), (label, face) in items.items()
    }
    for start, end in arrows:
        style = {"arrowstyle": "-|>", "lw": 1.8, "color": "black", "shrinkA": 3, "shrinkB": 3}
        ends = {"patchA": drawn[start].get_bbox_patch(), "patchB": drawn[end].get_bbox_patch()}
        ax.annotate("", end, start, arrowprops=style | ends)
    ax.set(title=title, xlim=(-0.8, 10.8), ylim=(-0.6, 2.7))
    ax.axis("off")
    plt.show()


boxes(
    {
        (0.2, 2.2): ("documents", "white"),
        (2.8, 2.2): ("chunks", "white"),
        (5.6, 2.2): ("index", "white"),
        (0.2, 0.2): ("question", "#dddddd"),
        (5.6, 0.2): ("retriever", "white"),
        (8.0, 0.2): ("prompt =\nchunks + question", "white"),
        (8.0, 2.2): ("model", "white"),
        (10.1, 2.2): ("answer,\nsource", "#dddddd"),
    },
    [((0.2, 2.2), (2.8, 2.2)), ((2.8, 2.2), (5.6, 2.2)), ((5.6, 2.2), (5.6, 0.2)), ((0.2, 0.2), (5.6, 0.2)),
     ((5.6, 0.2), (8.0, 0.2)), ((8.0, 0.2), (8.0, 2.2)), ((8.0, 2.2), (10.1, 2.2))],
    "Above: once, when documents come or change. Below and right: for every question",
)  # fmt: skip

# %% [markdown]
# Chunks (文本块), index (索引), retriever (检索器), generator (生成器): each can go wrong. We follow one question through
# the pipeline: *"How many lifts does the tallest skyscraper in Dubai have?"*

# %% [markdown]
# ### Step 1: documents into chunks

# %% tags=["skip"]
HAN = "\u3400-\u4dbf\u4e00-\u9fff"  # Chinese characters: written without blanks between words


def words(text):
    """The words of a text in lower case; each Chinese character is a word."""
    return re.findall(rf"[{HAN}]|[^\W{HAN}]+", text.lower())


docs = knowledge.assign(text=knowledge["page"] + ": " + knowledge["sentence"])[["id", "page", "text"]]

# %%
print(f"{len(docs)} sentences of {docs['page'].nunique()} pages; here each sentence is a chunk")
print(docs[docs["text"].str.startswith("Burj Khalifa: It")]["text"].iloc[0])

# %% [markdown]
# Our knowledge base: sentences of Wikipedia pages (collected by @schuster2021vitamin; CC BY-SA 3.0), and twelve dated news
# items. The sentences of a page are a selection and often not neighbours in the article. So this base can show how
# retrievers differ; it cannot show how best to cut a long document. For that the lab has a manual with whole pages.
#
# **Question:** why is the title put before the chunk? Read the chunk without it: what does "it" refer to? (To nothing: a
# retriever and a reader would meet a sentence about an unknown "it".)

# %% [markdown]
# ### Step 2: every chunk gets a score

# %% tags=["hide-input", "skip"]
def index_of(texts, k1=1.5, b=0.75):
    """A BM25 index by a library (bm25s); the lab writes the scores out."""
    index = bm25s.BM25(method="lucene", k1=k1, b=b)
    index.index([words(text) for text in texts], show_progress=False)
    return index


@torch.inference_mode()
def embed(texts):
    """Mean of MiniLM's token vectors, scaled to length 1. Texts of equal length go together: nothing is padded."""
    read = lab.budget(full=256, quick=24)  # tokens
    ids = [cut(text, truncation=True, max_length=read)["input_ids"] for text in texts]
    means = torch.zeros(len(ids), encoder.config.hidden_size)
    for length in {len(row) for row in ids}:
        same = [i for i, row in enumerate(ids) if len(row) == length]
        means[same] = encoder(torch.tensor([ids[i] for i in same])).last_hidden_state.mean(1)
    return torch.nn.functional.normalize(means, dim=1)


def top(scores, k=None):
    return np.argsort(-np.asarray(scores), kind="stable")[:k]


began, INDEX = time.time(), index_of(docs["text"])
VECTORS = embed(docs["text"].tolist())
DENSE = (embed(questions["question"].tolist()) @ VECTORS.T).numpy()
SPARSE = np.array([INDEX.get_scores(words(q)) for q in questions["question"]])
ROW = {q: i for i, q in enumerate(questions["question"])}
print(f"{len(docs)} chunks and {len(questions)} questions embedded in {time.time() - began:.0f} s")

# %%
LIFTS = "How many lifts does the tallest skyscraper in Dubai have?"
for name, scores in (("words (BM25)", SPARSE[ROW[LIFTS]]), ("meaning (embeddings)", DENSE[ROW[LIFTS]])):
    print(name)
    for i in top(scores, 3):
        print(f"   {scores[i]:5.2f}  {docs['text'][i][:86]}")

# %% [markdown]
# The chunk says "elevators", not "lifts", and does not contain "Dubai". So a program that compares words finds no match,
# while the embeddings put the right chunk first.

# %% [markdown]
# ### Step 3 and 4: prompt and answer

# %%
SYSTEM = "You answer questions from the text in a few words."


def reply(question, passages, system=SYSTEM, length=20):
    content = "\n".join([*passages, "", f"Question: {question}\nShort answer:"]).strip()
    chat = [{"role": "system", "content": system}, {"role": "user", "content": content}]
    return generate(model, tokenizer, chat, max_new_tokens=lab.budget(full=length, quick=3))


best = docs["text"][top(DENSE[ROW[LIFTS]], 1)[0]]
print("closed book:", reply(LIFTS, [], SHORT))
print("with the best chunk:", reply(LIFTS, [best]))

# %% [markdown]
# ## Sparse: BM25
#
# Sum over the question's words: **rare** words count more, each **repetition** adds less, and the same number of hits
# counts less in a **long** chunk [@robertson2009probabilistic].
#
# $$\sum_{w \in q} \ln\Bigl(1 + \frac{N - n_w + 0.5}{n_w + 0.5}\Bigr) \cdot
# \frac{f}{f + k_1 (1 - b + b\,|d|/\overline{|d|})}$$
#
# *Sparse* (稀疏): a chunk is a vector with one number per word of the vocabulary, nearly all 0. An *inverted index*
# (倒排索引) lists for each word the chunks that contain it, so the others need not be read. (Chinese has no blanks between
# words: what should be a word there? "In Chinese", below, tries three answers.)

# %% tags=["hide-input"]
def curve(k1, b):
    fig, axes = plt.subplots(1, 2, figsize=(11, 3.6))
    f = np.arange(0, 11)
    for i, length in enumerate((0.5, 1, 3)):
        axes[0].plot(f, f / (f + k1 * (1 - b + b * length)), label=f"{length:g} × mean length")
        axes[0].lines[-1].set(color=plots.COLORS[i], linestyle=plots.LINES[i], marker=plots.MARKERS[i])
    axes[0].set(title=f"Repetition (k1 = {k1:.1f}, b = {b:.2f})", xlabel="times the word is in the chunk",
                ylabel="part of its weight", ylim=(0, 1))  # fmt: skip
    axes[0].legend(fontsize=11)
    n = np.logspace(0, np.log10(len(docs)), 50)
    axes[1].plot(n, np.log(1 + (len(docs) - n + 0.5) / (n + 0.5)), marker="")
    axes[1].set(title="Rarity", xlabel=f"chunks that have the word (of {len(docs)})", ylabel="weight", xscale="log")


curve(1.5, 0.75)
plt.show()

# %% [markdown]
# ### In Chinese
#
# Ten sentences and the question 莫扎特出生在哪里？ ("Where was Mozart born?"). The first sentence answers it. What is its rank, when
# a token is a run of characters (`\w+`), a single character, or a pair of neighbours (*bigram*, 二元组)? And with embeddings?

# %%
ASKED = "莫扎特出生在哪里？"
TEN = ["莫扎特1756年出生于萨尔茨堡。", "贝多芬出生在波恩。", "肖邦出生在哪里，有过争论。", "莫扎特写了四十多部交响曲。", "萨尔茨堡在奥地利。",
       "这座特别的房子在哪里出名？", "海顿在维也纳去世。", "出口在大厅的里面。", "每年有许多学生在这里学习音乐。", "哪里生产这种特别的乐器？"]  # fmt: skip
CUTS = {"runs": lambda text: re.findall(r"\w+", text), "characters": words, "pairs": lambda text: ["".join(pair) for pair in pairwise(words(text))]}
ranked = {"embeddings (MiniLM)": (embed(TEN) @ embed([ASKED])[0]).numpy()}
for name, cutter in CUTS.items():
    index = bm25s.BM25(method="lucene")
    index.index([cutter(text) for text in TEN], show_progress=False)
    ranked[f"BM25, {name}"] = index.get_scores(cutter(ASKED))
for name, scores in ranked.items():
    print(f"{name:20} rank {rankdata(-scores, method='max')[0]:.0f}", "(no sentence shares a token)" if not scores.any() else "")
print("MiniLM's tokens of the question:", *cut.tokenize(ASKED))

# %% [markdown]
# With `\w+` the whole question is one word, and no sentence contains it. Characters and pairs find common parts without a
# dictionary; a wrong sentence that shares more of the question's words can still come first. MiniLM read English: a
# character that is not in its vocabulary becomes `[UNK]`, and all of them look the same to it. (Ten sentences show how each fails,
# not which is best; a segmenter, 分词, or a multilingual encoder is the usual choice.)

# %% [markdown]
# ### Each word's share
#
# We ask: "Which software replaced Netscape Navigator in 1997?" The best chunk is "Netscape Navigator: The Netscape Navigator web
# browser was succeeded by the Netscape Communicator suite in 1997."

# %% tags=["hide-input"]
guess = widgets.predict(
    "Which word of the question adds most to the score of this chunk?", options=["in", "1997", "Navigator", "Netscape", "replaced"]
)

# %% tags=["hide-input"]
def shares(question, k1=1.5, b=0.75):
    asked, index = list(dict.fromkeys(words(question))), index_of(docs["text"], k1, b)
    first = top(index.get_scores(words(question)), 1)[0]
    parts = [index.get_scores([w])[first] for w in asked]
    fig, ax = plt.subplots(figsize=(10, 3.4))
    ax.barh(asked[::-1], parts[::-1], color="white", edgecolor="black", hatch="//")
    ax.set(title=f"Best: {docs['text'][first][:70]}…", xlabel="part of the score", ylabel="word of the question")


NETSCAPE = "Which software replaced Netscape Navigator in 1997?"
MENU = list(dict.fromkeys([NETSCAPE, *questions["question"][::9]]))
widgets.explorer(
    shares, question=MENU, k1=(0.0, 3.0, 0.1), b=(0.0, 1.0, 0.05), start={"k1": 1.5, "b": 0.75},
    grid={"question": MENU[:3], "k1": [0.0, 0.5, 1.5, 3.0], "b": [0.0, 0.75, 1.0]},
)

# %% tags=["hide-input"]
first = top(INDEX.get_scores(words(NETSCAPE)), 1)[0]
part = {word: INDEX.get_scores(words(word))[first] for word in ("in", "1997", "Navigator", "Netscape", "replaced")}
often = words(docs["text"][first]).count("netscape")
guess.reveal(
    max(part, key=part.get),
    why=f"It is rare, and is in the chunk {often} times. “replaced” adds {part['replaced']:.1f}: the chunk says “succeeded”.",
)

# %% [markdown]
# ## Dense: embeddings
#
# An encoder turns question and chunk into vectors, *separately*: the chunks once, beforehand (*bi-encoder*, 双编码器).
# Texts of similar meaning get near vectors [@karpukhin2020dense; @reimers2019sentence].
#
# Two pictures of scores follow, of BM25 and of the embeddings. Rows: five questions; columns: the chunks that answer them, in the
# same order; dark: a high score.

# %% tags=["hide-input"]
DIAGONAL = ["in neither", "in that of the embeddings only", "in that of BM25 only", "in both"]
guess = widgets.predict("In which picture is the darkest square of *every* row on the diagonal?", options=DIAGONAL)

# %% tags=["hide-input"]
FIVE = [
    LIFTS,
    "Which former fighter in the ring drew attention to a movement disorder?",
    "Who founded the German firm with the three stripes?",
    "Which Christian order lost a city to Tamerlane?",
    QUESTION,
]
GOLD = {row.question: int(row.sentence_id) for row in questions.itertuples() if row.kind != "none"}
PLACE = {number: i for i, number in enumerate(docs["id"])}
holds = [PLACE[GOLD[q]] for q in FIVE]
fig, axes = plt.subplots(1, 2, figsize=(12.5, 4.0), sharey=True)
diagonal = []
for ax, scores, title, digits in ((axes[0], SPARSE, "BM25", 1), (axes[1], DENSE, "cosine of embeddings", 2)):
    grid = np.array([[scores[ROW[q]][c] for c in holds] for q in FIVE])
    diagonal.append(int((grid.argmax(1) == np.arange(5)).sum()))
    ax.imshow(grid, cmap="Greys", vmin=0, aspect="auto")
    for (i, j), value in np.ndenumerate(grid):
        ax.text(j, i, f"{value:.{digits}f}", ha="center", va="center", color="white" if value > 0.6 * grid.max() else "black")
    ax.set(title=title, xticks=range(5), xlabel="chunk")
    ax.set_xticklabels([docs["page"][c].replace("News of ", "")[:14] for c in holds], fontsize=11, rotation=20)
    ax.set_yticks(range(5), [q[:38] + "…" for q in FIVE], fontsize=11)
    ax.grid(False)
axes[0].set_ylabel("question")
plt.show()

# %% tags=["hide-input"]
guess.reveal(DIAGONAL[2 * (diagonal[0] == 5) + (diagonal[1] == 5)],
             why=f"BM25 has {diagonal[0]} of the 5 there, the embeddings {diagonal[1]}: most of these questions avoid the page's words.")  # fmt: skip

# %% [markdown] tags=["subslide"]
# ### Does the encoder know the three stripes?
#
# (The five questions were chosen to show the difference.) The chunk on Adidas does not mention its three stripes. Does MiniLM
# know them, or are "founded" and "German firm" enough? Two controls: one leaves the stripes out, the other puts another thing in
# their place.

# %%
controls = ["Who founded the German firm?", "Who founded the German firm with the three windows?"]
without, windows = (top(scores).tolist().index(holds[2]) + 1 for scores in embed(controls) @ VECTORS.T)
verdict = "The stripes help, so the encoder may know them." if min(without, windows) > 1 else "This does not show that the encoder knows the stripes."
Markdown(f"Without the stripes the chunk on Adidas is at place {without}, with windows in place of them at {windows}. {verdict}")

# %% [markdown]
# This is one question and one step in rank: an example of what an encoder may know, not a measurement of it.

# %% [markdown]
# ## Words against meaning
#
# 1. *Which software replaced Netscape Navigator in 1997?*
# 2. *Who founded the German firm with the three stripes?*
# 3. *Into how many counties is Estonia divided?*

# %% tags=["hide-input"]
PLACES = ["the 1st", "2nd to 10th", "11th to 100th", "after the 100th"]
guess = widgets.predict("BM25 ranks all chunks for question 2. At which place is the one that answers it?", options=PLACES)

# %%
def rank_of(scores, question):
    return int(np.flatnonzero(top(scores[ROW[question]]) == PLACE[GOLD[question]])[0]) + 1


for q in (NETSCAPE, FIVE[2], "Into how many counties is Estonia divided?"):
    print(f"BM25: place {rank_of(SPARSE, q):>3}   embeddings: place {rank_of(DENSE, q)}   {q}")

# %% tags=["hide-input"]
place, shared = rank_of(SPARSE, FIVE[2]), set(words(FIVE[2])) & set(words(docs["text"][holds[2]]))
guess.reveal(
    PLACES[np.searchsorted([1, 10, 100], place)],
    why=f"Place {place} of {len(docs)}. All that question and chunk have in common: {', '.join(sorted(shared))}.",
)

# %% [markdown]
# Look which of the two puts the right chunk first. (Three chosen examples; the recall of all questions comes below.) Names and
# numbers of the page itself help BM25, a paraphrase helps the embeddings. BM25 needs no training and was a robust baseline
# over 18 data sets, on which dense models of the time were often worse [@thakur2021beir].

# %% [markdown]
# ### Both: reciprocal rank fusion
#
# Scores on different scales should not be added; ranks can be [@cormack2009reciprocal]: $\sum 1 / (60 + \text{rank})$.

# %%
FUSED = 1 / (60 + rankdata(-SPARSE, "ordinal", axis=1)) + 1 / (60 + rankdata(-DENSE, "ordinal", axis=1))

# %% [markdown]
# Here every ranking has every chunk. A real retriever returns its best hundred, and then the two lists differ: the lab fuses
# such lists.

# %% [markdown]
# ### Try it

# %% tags=["hide-input"]
def search(question, retriever="embeddings", chunks=3):
    row = ROW[question]
    order = top({"BM25": SPARSE, "embeddings": DENSE, "fused": FUSED}[retriever][row], chunks)
    wanted = GOLD.get(question)
    print("nothing answers this one" if wanted is None else f"answer: {questions['answer'][row]}")
    for place, i in enumerate(order, 1):
        print(f"{'→' if wanted == docs['id'][i] else ' '} {place}. {docs['text'][i][:110]}")


MENU = list(dict.fromkeys([LIFTS, *questions["question"][::5]]))
widgets.explorer(
    search, question=MENU, retriever=["BM25", "embeddings", "fused"], chunks=(1, 8, 1),
    start={"retriever": "embeddings", "chunks": 3}, grid={"question": MENU[:6], "chunks": [1, 3, 8]},
)

# %% [markdown]
# ## How good? Recall@k and MRR
#
# 104 questions, each with the sentence that answers it. **Recall@k** (召回率): the share of questions whose sentence is
# among the first k chunks. **MRR** (mean reciprocal rank, 平均倒数排名): the mean of 1 / rank.

# %% tags=["hide-input"]
RETRIEVERS = {"BM25": "BM25", "embeddings": "the embeddings", "fused": "the fused ranking"}
UNCLEAR = "the best two cannot be told apart"
guess = widgets.predict("Which has the highest MRR on these questions?", options=[*RETRIEVERS.values(), UNCLEAR])

# %% tags=["hide-input"]
answerable = [q for q in questions["question"] if q in GOLD]
three = {"BM25": SPARSE, "embeddings": DENSE, "fused": FUSED}
places = pd.DataFrame({name: [rank_of(scores, q) for q in answerable] for name, scores in three.items()})
fig, ax = plt.subplots(figsize=(9.5, 4.2))
for i, name in enumerate(places):
    stats = np.array([scoring.proportion((places[name] <= k).sum(), len(places)) for k in range(1, 11)])
    ax.plot(range(1, 11), stats[:, 0], color=plots.COLORS[i], linestyle=plots.LINES[i], marker=plots.MARKERS[i],
            label=f"{RETRIEVERS[name]}: MRR {(1 / places[name]).mean():.2f}")  # fmt: skip
    ax.fill_between(range(1, 11), stats[:, 1], stats[:, 2], color=plots.COLORS[i], alpha=0.12)
ax.set(title="Is the sentence among the first k chunks? (bands: 95 %)", xlabel="k (chunks)", ylabel="recall@k",
       ylim=(0.4, 1.02), xticks=range(1, 11))  # fmt: skip
ax.legend(loc="lower right")
plt.show()
for other in ("BM25", "embeddings"):
    gain, low, high = scoring.paired(1 / places["fused"], 1 / places[other])
    print(f"MRR of the fused ranking minus {RETRIEVERS[other]}: {gain:+.2f} [{low:+.2f}, {high:+.2f}]")

# %% tags=["hide-input"]
mrr = (1 / places).mean().sort_values(ascending=False)
gain, low, high = scoring.paired(*(1 / places[name] for name in mrr.index[:2]))
guess.reveal(
    RETRIEVERS[mrr.index[0]] if low > 0 else UNCLEAR,
    why=f"{RETRIEVERS[mrr.index[0]]} {mrr.iloc[0]:.2f}, next {RETRIEVERS[mrr.index[1]]} {mrr.iloc[1]:.2f}; "
    f"on the same questions the difference is {gain:.2f} [{low:.2f}, {high:.2f}].",
)

# %% [markdown] tags=["subslide"]
# ### Why fusion need not win
#
# Read the paired differences below the figure: where the interval contains 0, we cannot tell. We wrote many of our questions on purpose without the page's words. There BM25 is often far
# off, and since both retrievers have one vote, it lowers the fused rank (the lab shows this by groups of questions). Fusion
# helps when both retrievers are good at different things. Measure on your own questions.

# %% [markdown] tags=["subslide"]
# ### A map of the embeddings
#
# 384 numbers per sentence cannot be drawn. The two directions in which these vectors differ most (principal components,
# 主成分) can. The map shows the sentences of five pages.

# %% tags=["hide-input"]
guess = widgets.predict("For what share of the sentences is the nearest other one on the map from the same page?", unit="%", tolerance=0.15)

# %% tags=["hide-input"]
often = docs["page"].value_counts().index[:5]
rows = np.flatnonzero(docs["page"].isin(often))
centre = VECTORS[rows].mean(0)
axes_ = torch.linalg.svd(VECTORS[rows] - centre, full_matrices=False)[2][:2]
flat = ((VECTORS - centre) @ axes_.T).numpy()
fig, ax = plt.subplots(figsize=(9.5, 4.4))
for i, page in enumerate(often):
    mine = docs["page"] == page
    ax.scatter(*flat[mine].T, marker=plots.MARKERS[i], color=plots.COLORS[i], label=page, alpha=0.8)
    its = [q for q in answerable if docs["page"][PLACE[GOLD[q]]] == page]
    if its:
        asked = ((embed(its) - centre) @ axes_.T).numpy()
        ax.scatter(*asked.T, marker=plots.MARKERS[i], s=160, facecolor="none", edgecolor="black")
ax.set(title="Sentences of five pages (filled) and questions on them (large, open)", xlabel="first component",
       ylabel="second component")  # fmt: skip
ax.legend(fontsize=11, loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% tags=["hide-input"]
of_page = docs["page"].to_numpy()[rows]


def same_page(points):
    """The share of the five pages' sentences whose nearest other one is from the same page."""
    nearest = torch.cdist(points, points).fill_diagonal_(torch.inf).argmin(1)
    return np.mean(of_page[nearest.numpy()] == of_page)


chance = np.mean([(np.sum(of_page == page) - 1) / (len(rows) - 1) for page in of_page])
guess.reveal(
    100 * same_page(torch.tensor(flat[rows])),
    why=f"By chance it would be {chance:.0%}. With all {VECTORS.shape[1]} numbers it is {same_page(VECTORS[rows]):.0%}.",
)

# %% [markdown]
# Pages form groups. It is a shadow of 384 dimensions: two points that
# are near here may be far apart in truth, so a map is for looking, never for searching.

# %% [markdown] tags=["subslide"]
# ### Must every vector be compared?
#
# With 500 chunks yes; with a billion that is too slow. *IVF* (倒排文件): put the vectors into cells, each with a centre.
# Compare the question with the centres, then only with the vectors of the nearest few cells.

# %% tags=["hide-input"]
guess = widgets.predict("One cell in twenty is searched. For what share of the questions is the best chunk still found?", unit="%", tolerance=0.15)

# %% tags=["hide-input"]
generator = torch.Generator().manual_seed(0)
centres = VECTORS[torch.randperm(len(VECTORS), generator=generator)[:20]].clone()
for _ in range(10):  # k-means: each vector to its nearest centre, each centre to the mean of its vectors
    cell = (VECTORS @ centres.T).argmax(1)
    for c in cell.unique().tolist():
        centres[c] = torch.nn.functional.normalize(VECTORS[cell == c].mean(0), dim=0)
cell, asked = (VECTORS @ centres.T).argmax(1), embed(answerable)
near, exact = (asked @ centres.T).argsort(1, descending=True), (asked @ VECTORS.T).argmax(1)
compared, kept = [], []
for cells in range(1, 21):
    searched = (cell[None, :, None] == near[:, None, :cells]).any(2)  # (questions, chunks)
    compared.append(float((searched.sum(1) + 20).float().mean()) / len(docs))
    kept.append(scoring.proportion(int(searched[torch.arange(len(exact)), exact].sum()), len(exact)))
kept = np.array(kept)
fig, ax = plt.subplots(figsize=(8.5, 3.8))
ax.errorbar(compared, kept[:, 0], np.abs(kept[:, 1:].T - kept[:, 0]), marker="o", capsize=3)
ax.set(title="IVF with 20 cells: 1, 2, …, 20 cells searched", xlabel="vectors compared (share of all)",
       ylabel="best chunk found (share)", ylim=(0.5, 1.03))  # fmt: skip
plt.show()
print(f"1 cell: {kept[0][0]:.2f} found with {compared[0]:.2f} of the comparisons; 4 cells: {kept[3][0]:.2f} with {compared[3]:.2f}")

# %% tags=["hide-input"]
guess.reveal(100 * kept[0][0], why=f"A question is mostly nearest to the centre of its chunk's cell. Only {compared[0]:.0%} of the vectors are compared.")

# %% [markdown] tags=["subslide"]
# ### Speed for recall
#
# An approximate index buys speed with recall, and the number of cells searched is the knob. *HNSW* [@malkov2020efficient]
# does it with a graph: each vector knows some near neighbours, and a search walks from neighbour to neighbour; it is fast
# and needs more memory. *Product quantization* [@jegou2011product] makes the vectors themselves small. What is lost here no
# re-ranker and no reader can bring back: measure it like any other recall.

# %% [markdown]
# ## Direct augmentation
#
# Retrieve once, put the chunk before the question, answer (直接提示增强). We ask every fourth question: without a chunk (*closed
# book*), and with the best chunk of the embeddings.

# %% tags=["hide-input"]
guess = widgets.predict("What share of the answers is right with the best chunk in the prompt?", unit="%", tolerance=0.2)

# %% tags=["hide-input", "skip"]
def chat_text(tokenizer, question, passages, system):
    """Passages and question in the model's chat form; a model without one reads plain text."""
    content = "\n".join([*passages, "", f"Question: {question}\nShort answer:"]).strip()
    if not tokenizer.chat_template:
        return f"{system}\n\n{content}"
    chat = [{"role": "system", "content": system}, {"role": "user", "content": content}]
    return tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)


def pieces(tokenizer, ids):
    """What each token adds to the text: a character of several tokens comes with the last of them."""
    texts = [tokenizer.decode(ids[:n]).rstrip("\ufffd") for n in range(len(ids) + 1)]
    return [longer[len(text) :] for text, longer in pairwise(texts)]


@torch.inference_mode()
def ask(questions_, passages, system=SYSTEM, length=20, batch=26, model=model, tokenizer=tokenizer):
    """Greedy answers to many questions: a list of (text, tokens, probabilities)."""
    said, asked = [], list(zip(questions_, passages, strict=True))
    for start in range(0, len(asked), batch):
        heads = [chat_text(tokenizer, q, p, system) for q, p in asked[start : start + batch]]
        inputs = tokenizer(heads, padding=True, padding_side="left", return_tensors="pt").to(model.device)
        out = model.generate(**inputs, max_new_tokens=lab.budget(full=length, quick=3), do_sample=False,
                             pad_token_id=tokenizer.pad_token_id,
                             return_dict_in_generate=True, output_logits=True)  # fmt: skip
        ids = out.sequences[:, inputs["input_ids"].shape[1] :]
        chances = torch.stack(out.logits, 1).float().softmax(-1).gather(2, ids[..., None])[..., 0]
        for row, p in zip(ids.tolist(), chances.tolist(), strict=True):
            real = [i for i, token in enumerate(row) if token not in (tokenizer.eos_token_id, tokenizer.pad_token_id)]
            tokens = pieces(tokenizer, [row[i] for i in real])
            said.append(("".join(tokens).strip(), tokens, [p[i] for i in real]))
    return said


def right(answer, accepted):
    said = f" {' '.join(words(answer))} "
    return any(f" {' '.join(words(option))} " in said for option in accepted.split("|"))

# %%
some = answerable[:: lab.budget(full=4, quick=52)]
accepted = [questions["accepted"][ROW[q]] for q in some]
ranked = [[docs["text"][i] for i in top(DENSE[ROW[q]], 2)] for q in some]
WAYS = {"none": "closed book", "one": "best chunk", "two": "best two chunks"}
results = {"none": ask(some, [[]] * len(some), SHORT), "one": ask(some, [r[:1] for r in ranked])}


def marks(answers):
    return [right(text, a) for (text, _, _), a in zip(answers, accepted, strict=True)]


def share(answers):
    """The share of right answers with its 95 % interval (Wilson)."""
    return "{:.2f} [{:.2f}, {:.2f}]".format(*scoring.proportion(sum(marks(answers)), len(answers)))


for way, answers in results.items():
    print(f"{WAYS[way]}: {share(answers)} are right ({len(some)} questions)")

# %% tags=["hide-input"]
guess.reveal(
    100 * np.mean(marks(results["one"])),
    why=f"Closed book it is {np.mean(marks(results['none'])):.0%}; the chunk holds the sentence for {np.mean([rank_of(DENSE, q) == 1 for q in some]):.0%}.",
)

# %% tags=["subslide", "hide-input"]
blind, informed = ([text for text, _, _ in said] for said in results.values())
shown = pd.DataFrame({"question": some, "closed book": blind, "with the best chunk": informed})
shown.iloc[[0, 3, 12, 16, 23] if len(some) > 23 else [0, 1]].style.hide()

# %% [markdown]
# ### One chunk or two?
#
# (An answer that our limit of tokens had cut might have come to the right words: so a part of the reader's errors may be
# ours. The lab counts these answers.)
#
# With two chunks the sentence is in the prompt more often than with one.

# %% tags=["hide-input"]
CHANGES = ["more right answers", "fewer right answers", "these questions cannot tell"]
guess = widgets.predict("Two chunks in place of one: what does the interval of the difference say?", options=CHANGES)

# %%
results["two"] = ask(some, ranked)
for k, way in ((1, "one"), (2, "two")):
    there = np.mean([rank_of(DENSE, q) <= k for q in some])
    print(f"{WAYS[way]}: the sentence is there in {there:.2f}, the answer is right in {share(results[way])}")
gain, low, high = scoring.paired(marks(results["two"]), marks(results["one"]))
print(f"two chunks minus one, on the same questions: {gain:+.2f} [{low:+.2f}, {high:+.2f}]")

# %% tags=["hide-input"]
better = sum(two > one for one, two in zip(marks(results["one"]), marks(results["two"]), strict=True))
worse = sum(two < one for one, two in zip(marks(results["one"]), marks(results["two"]), strict=True))
guess.reveal(
    CHANGES[0] if low > 0 else CHANGES[1] if high < 0 else CHANGES[2],
    why=f"The second chunk makes {better} of the {len(some)} answers right, and {worse} others wrong.",
)

# %% [markdown]
# Where the interval contains 0: at this size we cannot tell. A higher recall need not give more right answers. Two possible
# reasons, which this test does not separate: the second chunk is a *distractor* (干扰文本) that resembles the question; that is
# why the retriever chose it. And it stands between the best chunk and the question. Irrelevant text lowers the accuracy of large
# models, too [@shi2023large]. And with 50 documents in place of 20 the retriever's recall still grows, while GPT-3.5-Turbo is
# right in only about 1.5 points more of the questions [@liu2024lost, section 5].

# %% [markdown]
# ### The same, with a larger reader
#
# If there is a GPU with enough memory, this cell asks a model about fifty times larger, in int8 (chapter 10): does a second
# chunk help it? Nothing below needs this cell. Without a GPU it only prints how much memory it needs.

# %% tags=["hide-input"]
LARGER = "qwen2.5-7b"  # 15 GB to fetch
need = hardware.plan(LARGER, "int8", batch=26, context=256)
print(f"{LARGER} in int8 needs {need.total / hardware.GB:.1f} GB of a GPU's memory.")
try:
    larger, its_tokenizer = load_model(LARGER, precision="int8", device="cuda")
    for way, passages, system in (
        ("none", [[]] * len(some), SHORT),
        ("one", [r[:1] for r in ranked], SYSTEM),
        ("two", ranked, SYSTEM),
    ):
        print(f"{WAYS[way]}: {share(ask(some, passages, system, model=larger, tokenizer=its_tokenizer))}")
except CourseError as error:  # no such GPU here, or no way to the hub
    print("Left out:", str(error).splitlines()[0])

# %% [markdown]
# ## Iterative: retrieve while decoding
#
# Direct augmentation retrieves *once*, *before* anything is written, *whether it is needed or not*. A long answer may need
# new facts while it is written. The second way (自回归式增强) is: write, retrieve, write on.

# %% tags=["hide-input"]
boxes(
    {
        (0.3, 2.2): ("question", "#dddddd"),
        (3.0, 2.2): ("draft the next\nsentence", "white"),
        (6.2, 2.2): ("any unsure\ntoken?", "#eeeeee"),
        (9.6, 2.2): ("keep it", "white"),
        (6.2, 0.2): ("query: draft without\nunsure tokens", "white"),
        (3.0, 0.2): ("retrieve, write the\nsentence again", "white"),
    },
    [((0.3, 2.2), (3.0, 2.2)), ((3.0, 2.2), (6.2, 2.2)), ((6.2, 2.2), (9.6, 2.2)),
     ((6.2, 2.2), (6.2, 0.2)), ((6.2, 0.2), (3.0, 0.2)), ((3.0, 0.2), (3.0, 2.2))],
    "FLARE (Jiang et al. 2023): → no, ↓ yes; then the next sentence",
)  # fmt: skip

# %% [markdown]
# ### Draft, find unsure tokens, look up
#
# In the paper the query is the draft without its unsure tokens; our drafts are short, so our query has the question before it.
#
# The question: with which novel did Salman Rushdie win the Booker Prize? The model drafts one sentence from memory.

# %% tags=["hide-input"]
UNSURE = ["none", "only some of the title", "only others", "some of the title, and others"]
guess = widgets.predict("Which tokens of the draft have a probability below 0.5?", options=UNSURE)

# %% tags=["hide-input"]
NOVEL = "With which novel did Salman Rushdie win the Booker Prize?"
DRAFT = ask([NOVEL], [[]], "You answer questions in one full sentence.")[0]


def doubt(threshold):
    _, tokens, chances = DRAFT
    fig, ax = plt.subplots(figsize=(11.5, 3.6))
    sure = [p >= threshold for p in chances]
    ax.bar(range(len(tokens)), chances, color=["white" if s else "grey" for s in sure], edgecolor="black")
    ax.axhline(threshold, color=plots.COLORS[2], linestyle="--", marker="")
    query = "".join(t if s else " ▢" for t, s in zip(tokens, sure, strict=True)).strip()
    ax.set(title=f"query: the question + {query[:75]}", ylabel="probability", ylim=(0, 1))
    ax.set_xticks(range(len(tokens)), [t.strip() or "␣" for t in tokens], rotation=45, ha="right", fontsize=11)
    ax.set_xlabel("token of the draft")


widgets.explorer(doubt, threshold=(0.0, 0.95, 0.05), start={"threshold": 0.5})

# %% tags=["hide-input"]
_, tokens, chances = DRAFT
opened = [sum("".join(tokens[: i + 1]).count(mark) for mark in '"“”') % 2 for i in range(len(tokens))]
title = sum(p < 0.5 for p, inside in zip(chances, opened, strict=True) if inside)
others = sum(p < 0.5 for p, inside in zip(chances, opened, strict=True) if not inside)
guess.reveal(UNSURE[(title > 0) + 2 * (others > 0)], why=f"Of the title {title} of {sum(opened)}, of the rest {others} of {len(opened) - sum(opened)}.")

# %% [markdown]
# ### One round

# %%
text, tokens, chances = DRAFT
sure = "".join(t for t, p in zip(tokens, chances, strict=True) if p >= 0.5)
queries = {"the question and these tokens": f"{NOVEL} {sure}", "these tokens alone": sure, "the question alone": NOVEL}
orders = [top(scores).tolist() for scores in embed(list(queries.values())) @ VECTORS.T]
found = docs["text"][orders[0][0]]
for name, order in zip(queries, orders, strict=True):
    print(f"query: {name}; place of the right chunk: {order.index(PLACE[GOLD[NOVEL]]) + 1}")
print("draft:     ", text)
print("looked up: ", found[:100])
print("rewritten: ", reply(NOVEL, [found]))

# %% [markdown]
# The draft names a wrong novel. But tokens that are right are unsure, too: a low probability marks more than a lack of
# knowledge, for example that there are many ways to say it. With the question and the remaining tokens as the query the right
# chunk is found, and the rewritten text copies from it. The first lines say whether the tokens were needed for that: compare the
# place with the question alone. The trigger is only as good as the *calibration* (校准) of the model. The lab
# measures whether it saves retrievals with our model, and how many right answers that costs. (One example.)

# %% [markdown]
# ### When to look up
#
# | trigger | example |
# |---|---|
# | once, before | RAG [@lewis2020retrieval] |
# | every few tokens | in-context RALM [@ram2023incontext], RETRO [@borgeaud2022improving] |
# | every sentence of a chain of thought | IRCoT [@trivedi2023interleaving] |
# | when a token is unsure | FLARE [@jiang2023active] |
# | when the model asks, as it was trained to | Toolformer [@schick2023toolformer], Self-RAG [@asai2024selfrag] |
#
# From top to bottom the model itself decides more often whether to retrieve. That can avoid useless retrievals, and it
# depends more on the model's judgement.

# %% [markdown]
# ### Two hops: the second need depends on the first answer
#
# "Which release brought the estimator that follows Yarowsky's algorithm?" The user guide of scikit-learn (our second base:
# 866 paragraphs, BSD-3-Clause) says *which* estimator that is; the release notes say *when* it came.

# %% tags=["hide-input"]
SHARES = ["less than a quarter", "a quarter to a half", "more than a half"]
guess = widgets.predict("For what share of such questions does one search, with the question, find both paragraphs among the first four?", options=SHARES)

# %%
manual, hops = tables.load("manual").fillna(""), tables.load("manual_questions").query("kind == 'two hops'")
NOTES = index_of(manual["page"] + ", " + manual["section"] + ": " + manual["text"])


def best(query, k):
    return top(NOTES.get_scores(words(query)), k).tolist()


YAROWSKY = "Which release brought the estimator that follows Yarowsky's algorithm?"
for query, k in ((YAROWSKY, 2), ("release notes added SelfTrainingClassifier", 1)):
    print(f"search: {query}")
    for i in best(query, k):
        print(f"   {manual['page'][i]}: {manual['text'][i][:88]}…")

# %% tags=["subslide"]
once, control, twice = [], [], []
for row in hops.itertuples():
    gold = {int(row.first_id), int(row.second_id)}
    two = best(row.question, 2) + best(f"release notes added {row.bridge}", 2)
    for ok, found in ((once, best(row.question, 4)), (control, best(f"{row.question} release notes added", 4)), (twice, two)):
        ok.append(gold <= set(manual["id"][found]))
for way, ok in (("one search, four paragraphs", once), ("the same, with “release notes added” behind the question", control),
                ("two searches, two each", twice)):  # fmt: skip
    print("{}: both found in {:.2f} [{:.2f}, {:.2f}]".format(way, *scoring.proportion(sum(ok), len(ok))))
print("difference: {:+.2f} [{:+.2f}, {:+.2f}] ({} questions)".format(*scoring.paired(twice, once), len(hops)))

# %% tags=["hide-input"]
guess.reveal(SHARES[np.searchsorted([0.25, 0.5], np.mean(once), side="right" if np.mean(once) < 0.5 else "left")],
             why=f"{sum(once)} of {len(once)}; with a second search for the name that the first page gives, {sum(twice)} of {len(twice)}.")  # fmt: skip

# %% [markdown] tags=["subslide"]
# ### What two searches bring
#
# With the same number of paragraphs (and one search more), two searches find both far more often: the name that the second search
# needs is written nowhere in the question, only in the first page. The words "release notes added" alone bring little. (Here the right name is *given*. In the lab a rule and the reader must find it, which
# costs a part of the gain.) With larger models on true multi-hop questions:
#
# | method, reader, data | one retrieval | iterative |
# |---|---|---|
# | FLARE, text-davinci-003, 2WikiMultihopQA, exact match in % [@jiang2023active] | 39.4 | 51.0 |
# | IRCoT, GPT-3, four multi-hop data sets, answers [@trivedi2023interleaving, abstract] | – | up to 15 points more |

# %% [markdown]
# ## Grounding and citation
#
# *Grounded* (有据) means: each statement follows from a passage that is named: "… in the Tower of London [1]." A reader can
# check it; a program can check a part of it.

# %%
HELD = Counter(word for text in docs["text"] for word in set(words(text)))  # how many chunks have it


def unsupported(statement, passage):
    """Rare words of the statement (in fewer than one of twenty chunks) that are not in the passage."""
    there = set(words(passage))
    return [word for word in dict.fromkeys(words(statement)) if word not in there and HELD[word] < len(docs) / 20]


for q in (LIFTS, "Where was the second wife of Henry VIII imprisoned before her trial?"):
    passage = docs["text"][top(DENSE[ROW[q]], 1)[0]]
    said = reply(q, [passage])
    print(f"{said}\n   not in the passage: {unsupported(said, passage)}")
print("他死在埃及。\n   not in the passage:", unsupported("他死在埃及。", "莫扎特出生在萨尔茨堡。"))

# %% [markdown]
# Words are a crude check: a paraphrase fails it ("lifts" for "elevators"), and the page's words in another order pass.
# @gao2023enabling [ALCE] let a model judge whether the passage *entails* (蕴含) the statement: on questions with long
# answers even the best system of that year lacked full support for half of its answers. So a citation must be checked like
# any other statement.

# %% [markdown]
# ## What goes wrong, and where
#
# | step | failure | what helps |
# |---|---|---|
# | documents | out of date, wrong, contradict each other | dates, sources, an owner for each page |
# | chunks | "it" without its noun; an answer cut in two | titles, overlap, whole sentences |
# | retriever | other words; no answer there, but something is found | dense + sparse; a threshold; re-ranking (重排序) |
# | prompt | too much; the good chunk in the wrong place | fewer chunks, the best next to the question |
# | model | ignores the text; guesses; copies too much | larger or tuned models; permission to abstain |
# | pages | a page contains instructions (*prompt injection*, @greshake2023signed) | treat text as data; few rights |

# %% [markdown]
# ### Does the place in the prompt matter?
#
# 20 documents in the prompt, one of them holds the answer. @liu2024lost move it from the first place to the last, and ask
# GPT-3.5-Turbo.

# %% tags=["hide-input"]
guess = widgets.predict(
    "The document with the answer is the *10th of 20*. How often is the answer right, compared with no documents at all (*closed book*)?",
    options=["more often, by 10 points or more", "more often, by less than 10 points", "less often"],
)

# %% tags=["hide-input"]
# right answers in percent, by the place of the document with the answer: Liu et al. 2024, tables 1 and 6
lost = pd.Series({"1st": 75.8, "5th": 57.2, "10th": 53.8, "15th": 55.4, "20th": 63.2, "no documents": 56.1})
tenth, closed_book = lost[["10th", "no documents"]]
lost.rename("right answers (%)").to_frame().T

# %% tags=["hide-input"]
guess.reveal(
    "less often" if tenth < closed_book else "more often, by less than 10 points" if tenth < closed_book + 10 else "more often, by 10 points or more",
    why=f"{tenth} % with the document in the 10th place, {closed_book} % without documents. Over the places the curve is a U: what is in the middle is *lost*.",
)

# %% [markdown]
# *Lost in the middle*, the authors call it. The lab puts the gold chunk first, in the middle and
# last among three short chunks for our small reader, with paired differences: a far weaker setting. So use few chunks, and put
# the best one at an end.

# %% [markdown]
# ### Questions without an answer
#
# No sentence of the knowledge base says who designed the Burj Khalifa, what the currency of Uganda is, or who painted the Mona
# Lisa. We ask all the same.

# %% tags=["hide-input"]
guess = widgets.predict("To how many of the three does the system say that it does not know?", options=[0, 1, 2, 3])

# %%
says = []
for q in ("Which architect designed the Burj Khalifa?", "What is the currency of Uganda?", "Who painted the Mona Lisa?"):
    row = ROW[q]
    i = top(DENSE[row], 1)[0]
    says.append(reply(q, [docs["text"][i]]))
    print(f"{q}\n   found (cosine {DENSE[row][i]:.2f}): {docs['text'][i][:70]}…\n   says: {says[-1]}")

# %% tags=["hide-input"]
guess.reveal(
    sum(any(hedge in text.lower() for hedge in HEDGES) for text in says),
    why="A search always finds *something*, and a reader that gets a text and a question goes on writing.",
)

# %% [markdown]
# So be careful with a
# demo that shows only questions with an answer. Larger models of 2023 did better, but their instruction told them to say so when
# the documents do not hold the answer, and ours did not: of such questions the best of six rejected 45 %
# [@chen2024benchmarking]. The lab asks our reader with such an instruction, too.

# %% [markdown]
# ## A new fact, and no gradient
#
# Wikipedia revised its page on Wuhan: another mayor. We replace the sentence in the knowledge base, and ask before and after.

# %% tags=["hide-input"]
MAYORS = ["the old mayor both times", "the new mayor both times", "first the old one, then the new one", "something else"]
guess = widgets.predict("Whom does the reader name?", options=MAYORS)

# %%
MAYOR = "Who is the mayor of Wuhan?"
changed = questions.set_index("question").loc[MAYOR, "sentence_id"]
row = knowledge.set_index("id").loc[int(changed)]
says = []
for label, sentence in (("before", row["sentence"]), ("after", row["revised"])):
    says.append(reply(MAYOR, [f"Wuhan: {sentence}"]))
    print(f"{label}: {sentence}\n   → {says[-1]}")

# %% tags=["hide-input"]
old, new = questions["accepted"][ROW[MAYOR]], questions["new_accepted"][ROW[MAYOR]]
named = ["old" if right(text, old) else "new" if right(text, new) else "" for text in says]
outcomes = {("old", "old"): MAYORS[0], ("new", "new"): MAYORS[1], ("old", "new"): MAYORS[2]}
guess.reveal(outcomes.get(tuple(named), MAYORS[3]), why="No parameter is different between the two: the answer comes from the page.")

# %% [markdown]
# Teaching the fact by tuning would take gradient steps and could change other answers (chapter
# 05); here the old sentence is gone, and everything else is as before.

# %% [markdown]
# ### Or put *everything* in the prompt?
#
# Context windows grow. Why search at all?

# %% tags=["hide-input"]
guess = widgets.predict(
    "How many times as many FLOPs does it take to read all chunks as to read one, without what attention costs on top?", unit="times"
)

# %%
tokens = sum(map(len, tokenizer(docs["text"].tolist())["input_ids"]))
per_chunk, parameters = tokens / len(docs), model.num_parameters()
print(f"the whole knowledge base: {tokens:,} tokens; the model's context: {model.config.max_position_embeddings:,}")
print(f"to read all for each question: {2 * parameters * tokens:.1e} FLOPs, {tokens / per_chunk:.0f} times one chunk's "
      "(the part of attention that grows with the square of the length comes on top)")  # fmt: skip

# %% tags=["hide-input"]
guess.reveal(tokens / per_chunk, why="About 2 FLOPs for each parameter and token: reading costs in proportion to the tokens, and there are so many chunks.")

# %% [markdown]
# And this base is tiny: English Wikipedia has millions of pages. Reading costs compute for every question, and models use
# what is in the middle of a long context less well [@liu2024lost]. A long context makes it possible to use *more* of what
# was found, not all that exists.

# %% [markdown]
# ## What to take home
#
# - The model can read; the knowledge base contains the facts. A fact is changed by changing a page.
# - BM25 finds names, embeddings find paraphrases. Recall@k limits what a reader can answer from the text; measure it
#   *before* you blame the model.
# - More chunks: higher recall, but not always more right answers. Find the best number with your reader.
# - Iterative retrieval is for needs that appear only in what was found or written: there one search hardly ever found both
#   paragraphs. When the model decides by its own confidence, that confidence must be calibrated.
# - What an approximate index skips, or what a chunk holds beyond the encoder's limit, no later step can bring back.
# - A search always finds something, and a citation can be wrong. Test with questions that have no answer.
#
# **Ask yourself:** your firm's assistant answers 60 % right. Which three numbers do you measure first, in which order?

# %% [markdown]
# ## Quiz
#
# Nine questions on the ideas of this lecture. Each choice has its own explanation.

# %% tags=["hide-input"]
widgets.quiz([
    dict(question="The right chunk is at rank 1, 2, 4 and 1 for four questions; for a fifth it is not found at all, which counts as 0. What is the MRR?",
         answer=np.mean([1, 1 / 2, 1 / 4, 1, 0]), tolerance=0.02, why="The mean of 1 / rank. It is not one over the mean rank: first places count most."),
    dict(question="A word is in 10 of 1,000 chunks, another in 500. All else equal, how many times as much does the first add to BM25's score?",
         answer=np.log(1 + 990.5 / 10.5) / np.log(1 + 500.5 / 500.5), unit="times", tolerance=0.15,
         why="The logarithm of about 100 against that of 2. Rarity counts much, but much less than in proportion."),
    dict(question="By BM25 chunk A is at rank 1 and B at 20; by embeddings A is at rank 41 and B at 20. Which does reciprocal rank fusion (with 60) put higher?", options={
        "B: its mean rank is better, 20 against 21.": "The fusion adds 1 / (60 + rank), not ranks. A first place brings more than the 41st loses.",
        "Neither: the mean of their ranks is about the same.": "1 / 61 + 1 / 101 is about 0.026, and twice 1 / 80 is 0.025. They differ, if only a little.",
        "A: one list has it first.": "Right: 1 / 61 + 1 / 101 is more than 2 / 80. Near the top a rank counts more than farther down.",
        "It depends on the scores of the two retrievers.": "The fusion sees ranks only. That is why it can join a cosine and a score without an upper limit.",
    }, answer="A: one list has it first."),
    dict(question="Closed book a reader answers nothing. With three chunks it is right for 78 % of the questions; recall@3 is 0.80. What do you work on first?", options={
        "The retriever: little is left for the reader.": "Right: the reader answers nearly all that it is given. Where the sentence is in the prompt, it is right in up to 78 of 80. Nearly all errors are questions whose sentence was not found.",
        "The reader: it errs in 22 % of the questions.": "In 20 % it had no sentence to read. Those are the retriever's errors.",
        "Both equally: 20 % and 22 % of errors are about the same.": "The 22 % contain the 20 %. What is left for the reader is about 2 %.",
    }, answer="The retriever: little is left for the reader."),
    dict(question="An approximate index reads 1 of 20 cells. For a fifth of the questions the right chunk is in another cell. What can bring it back?", options={
        "A re-ranker that reads the hundred best chunks again.": "It puts in order what was found. A chunk of a cell that was not read is not among them.",
        "A larger reader.": "It may know the answer itself, but it cannot read what is not in its prompt.",
        "A better encoder for the re-ranking.": "Later steps see only what this step hands on, however good they are.",
        "Reading more cells for each question.": "Right: it costs comparisons, and is the only one here that changes what is found.",
    }, answer="Reading more cells for each question."),
    dict(question="Which question gains most from a second search that follows the first?", options={
        "How many floors has the tallest building of Dubai?": "A paraphrase, but one page answers it. Embeddings find that page with the question itself.",
        "At which school was the author of *Midnight's Children*?": "Right: the name for the second search is not in the question. It is in the page that the first search finds.",
        "What are the capitals of Estonia and of Uganda?": "Two facts, but the question names both pages. Two searches can run at once; neither needs the other's result.",
    }, answer="At which school was the author of *Midnight's Children*?"),
    dict(question="Two models are right in 60 % of their sentences. A is calibrated; B gives every token a probability of 0.99. Both look up when a token is below 0.5. What happens?", options={
        "B looks up as often as A, as it is as often right.": "The trigger sees probabilities, not truth. B's never fall below 0.5.",
        "B looks up less, and has fewer errors, as it is surer.": "It is surer of its errors, too. Confidence makes no sentence right.",
        "B never looks up, and its wrong sentences stay.": "Right: a trigger is only as good as the calibration of the model.",
    }, answer="B never looks up, and its wrong sentences stay."),
    dict(question="An answer ends with [1], and each of its words is in passage 1. What do you know?", options={
        "The passage supports the answer.": "“Rome defeated Carthage” and “Carthage defeated Rome” have the same words. So do many wrong answers.",
        "The answer is true.": "Even a statement that follows from the passage is only as true as the passage.",
        "Only that its words come from the passage.": "Right: whether it follows from the passage must still be read. The check by words finds some unsupported statements, but not those that use the page's words wrongly.",
        "Nothing: citations of models are always invented.": "Many are right. And the check does rule something out: words that are nowhere in the passage.",
    }, answer="Only that its words come from the passage."),
    dict(question="A hospital deletes a patient's page from the knowledge base and from the index. The model was never trained on it, and its reader always writes an answer. Next day somebody asks about the page. What can happen?", options={
        "The assistant still knows the page: it has answered from it before.": "Answering does not change the weights. Only a stored conversation could hold it.",
        "A search finds another page, and the reader answers from that.": "Right: the page is gone, as a fact in the weights cannot be. But a search always finds something.",
        "The assistant says that it does not know.": "This reader never does: it gets the nearest page and writes on.",
        "Gradient steps must first make the model forget the page.": "Those would be needed for a fact in the weights. This one was only in the base.",
    }, answer="A search finds another page, and the reader answers from that."),
])

# %% [markdown]
# ## Further reading
#
# - [@lewis2020retrieval]
# - [@guu2020realm]
# - [@borgeaud2022improving]: RETRO
# - [@robertson2009probabilistic]
# - [@karpukhin2020dense]
# - [@reimers2019sentence]
# - [@thakur2021beir]
# - [@cormack2009reciprocal]
# - [@malkov2020efficient]: HNSW
# - [@jegou2011product]: cells and product quantization

# %% [markdown]
# ### Further reading, continued
#
# - [@ram2023incontext]
# - [@trivedi2023interleaving]: IRCoT
# - [@jiang2023active]: FLARE
# - [@schick2023toolformer]
# - [@asai2024selfrag]
# - [@gao2023enabling]: ALCE
# - [@shi2023large]
# - [@liu2024lost]
# - [@chen2024benchmarking]
# - [@greshake2023signed]: indirect prompt injection
# - [@schuster2021vitamin]
