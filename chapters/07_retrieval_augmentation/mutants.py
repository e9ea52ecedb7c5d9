# %% tags=["mutant:chunk"]
# a chunk must stay below the size instead of within it
def chunk(lengths, size, overlap=0):
    cuts, total = [0], 0
    for i, length in enumerate(lengths):
        if i > cuts[-1] and total + length >= size:
            cuts.append(i)
            total = 0
        total += length
    ends = [*cuts[1:], len(lengths)]
    return [(max(start - overlap, 0), end) for start, end in zip(cuts, ends, strict=True) if end > start]


# %% tags=["mutant:chunk"]
# the last, unfilled chunk is lost
def chunk(lengths, size, overlap=0):
    cuts, total = [0], 0
    for i, length in enumerate(lengths):
        if i > cuts[-1] and total + length > size:
            cuts.append(i)
            total = 0
        total += length
    return [(max(start - overlap, 0), end) for start, end in zip(cuts[:-1], cuts[1:], strict=True)]


# %% tags=["mutant:chunk"]
# the repeated sentences are the end of the chunk instead of its beginning
def chunk(lengths, size, overlap=0):
    cuts, total = [0], 0
    for i, length in enumerate(lengths):
        if i > cuts[-1] and total + length > size:
            cuts.append(i)
            total = 0
        total += length
    ends = [*cuts[1:], len(lengths)]
    return [(start, min(end + overlap, len(lengths))) for start, end in zip(cuts, ends, strict=True) if end > start]


# %% tags=["mutant:chunk"]
# a chunk closes when it has reached the size, so it may be longer
def chunk(lengths, size, overlap=0):
    cuts, total = [0], 0
    for i, length in enumerate(lengths):
        if i > cuts[-1] and total >= size:
            cuts.append(i)
            total = 0
        total += length
    ends = [*cuts[1:], len(lengths)]
    return [(max(start - overlap, 0), end) for start, end in zip(cuts, ends, strict=True) if end > start]


# %% tags=["mutant:bm25"]
# the original variant with the factor k1 + 1
def bm25(query, texts, k1=1.5, b=0.75):
    counts = [Counter(text) for text in texts]
    lengths = np.array([len(text) for text in texts], float)
    norm = k1 * (1 - b + b * lengths / lengths.mean())
    scores = np.zeros(len(texts))
    for word in query:
        f = np.array([count[word] for count in counts], float)
        n = int((f > 0).sum())
        if n:
            scores += math.log(1 + (len(texts) - n + 0.5) / (n + 0.5)) * f * (k1 + 1) / (f + norm)
    return scores


# %% tags=["mutant:bm25"]
# a word that stands twice in the query counts once
def bm25(query, texts, k1=1.5, b=0.75):
    counts = [Counter(text) for text in texts]
    lengths = np.array([len(text) for text in texts], float)
    norm = k1 * (1 - b + b * lengths / lengths.mean())
    scores = np.zeros(len(texts))
    for word in set(query):
        f = np.array([count[word] for count in counts], float)
        n = int((f > 0).sum())
        if n:
            scores += math.log(1 + (len(texts) - n + 0.5) / (n + 0.5)) * f / (f + norm)
    return scores


# %% tags=["mutant:bm25"]
# how often a word stands anywhere, instead of in how many texts
def bm25(query, texts, k1=1.5, b=0.75):
    counts = [Counter(text) for text in texts]
    lengths = np.array([len(text) for text in texts], float)
    norm = k1 * (1 - b + b * lengths / lengths.mean())
    scores = np.zeros(len(texts))
    for word in query:
        f = np.array([count[word] for count in counts], float)
        n = min(int(f.sum()), len(texts))
        if n:
            scores += math.log(1 + (len(texts) - n + 0.5) / (n + 0.5)) * f / (f + norm)
    return scores


# %% tags=["mutant:bm25"]
# the idf of Robertson and Spärck Jones, which can be negative
def bm25(query, texts, k1=1.5, b=0.75):
    counts = [Counter(text) for text in texts]
    lengths = np.array([len(text) for text in texts], float)
    norm = k1 * (1 - b + b * lengths / lengths.mean())
    scores = np.zeros(len(texts))
    for word in query:
        f = np.array([count[word] for count in counts], float)
        n = int((f > 0).sum())
        if n:
            scores += math.log((len(texts) - n + 0.5) / (n + 0.5)) * f / (f + norm)
    return scores


# %% tags=["mutant:bm25"]
# length is not normalised
def bm25(query, texts, k1=1.5, b=0.75):
    counts = [Counter(text) for text in texts]
    scores = np.zeros(len(texts))
    for word in query:
        f = np.array([count[word] for count in counts], float)
        n = int((f > 0).sum())
        if n:
            scores += math.log(1 + (len(texts) - n + 0.5) / (n + 0.5)) * f / (f + k1)
    return scores


# %% tags=["mutant:mean_pool"]
# padding counts
def mean_pool(states, mask):
    mean = states.mean(1)
    return mean / mean.norm(dim=1, keepdim=True)


# %% tags=["mutant:mean_pool"]
# padding is zeroed, but the sum is not scaled to length 1
def mean_pool(states, mask):
    weight = mask[..., None].to(states.dtype)
    return (states * weight).sum(1) / weight.sum(1)


# %% tags=["mutant:mean_pool"]
# the first token's vector, as BERT's [CLS] is used
def mean_pool(states, mask):
    return states[:, 0] / states[:, 0].norm(dim=1, keepdim=True)


# %% tags=["mutant:mean_pool"]
# the length of the whole batch instead of each vector's own
def mean_pool(states, mask):
    weight = mask[..., None].to(states.dtype)
    mean = (states * weight).sum(1) / weight.sum(1)
    return mean / mean.norm()


# %% tags=["mutant:fuse"]
# ranks begin at 0
def fuse(rankings, k=60):
    scores = {}
    for ranking in rankings:
        for rank, i in enumerate(ranking):
            scores[i] = scores.get(i, 0.0) + 1 / (k + rank + 1e-9)
    return sorted(scores, key=lambda i: (-scores[i], i))


# %% tags=["mutant:fuse"]
# mean of the reciprocal ranks over the rankings that have the chunk
def fuse(rankings, k=60):
    scores = {}
    for ranking in rankings:
        for rank, i in enumerate(ranking, 1):
            scores.setdefault(i, []).append(1 / (k + rank))
    return sorted(scores, key=lambda i: (-sum(scores[i]) / len(scores[i]), i))


# %% tags=["mutant:fuse"]
# only chunks that all rankings have
def fuse(rankings, k=60):
    scores = {}
    for ranking in rankings:
        for rank, i in enumerate(ranking, 1):
            scores[i] = scores.get(i, 0.0) + 1 / (k + rank)
    both = [i for i in scores if all(i in ranking for ranking in rankings)]
    return sorted(both, key=lambda i: (-scores[i], i))


# %% tags=["mutant:fuse"]
# the worst first
def fuse(rankings, k=60):
    scores = {}
    for ranking in rankings:
        for rank, i in enumerate(ranking, 1):
            scores[i] = scores.get(i, 0.0) + 1 / (k + rank)
    return sorted(scores, key=lambda i: (scores[i], i))


# %% tags=["mutant:retrieval_scores"]
# recall becomes a hit rate: one relevant chunk is enough
def retrieval_scores(rankings, relevant, k):
    recall, reciprocal = [], []
    for ranking, wanted in zip(rankings, relevant, strict=True):
        recall.append(bool(wanted & set(ranking[:k])))
        ranks = [rank for rank, i in enumerate(ranking, 1) if i in wanted]
        reciprocal.append(1 / ranks[0] if ranks else 0.0)
    return np.array(recall, float), np.array(reciprocal, float)


# %% tags=["mutant:retrieval_scores"]
# precision: divided by k
def retrieval_scores(rankings, relevant, k):
    recall, reciprocal = [], []
    for ranking, wanted in zip(rankings, relevant, strict=True):
        recall.append(len(wanted & set(ranking[:k])) / k)
        ranks = [rank for rank, i in enumerate(ranking, 1) if i in wanted]
        reciprocal.append(1 / ranks[0] if ranks else 0.0)
    return np.array(recall, float), np.array(reciprocal, float)


# %% tags=["mutant:retrieval_scores"]
# the reciprocal rank is cut at k
def retrieval_scores(rankings, relevant, k):
    recall, reciprocal = [], []
    for ranking, wanted in zip(rankings, relevant, strict=True):
        recall.append(len(wanted & set(ranking[:k])) / len(wanted))
        ranks = [rank for rank, i in enumerate(ranking[:k], 1) if i in wanted]
        reciprocal.append(1 / ranks[0] if ranks else 0.0)
    return np.array(recall, float), np.array(reciprocal, float)


# %% tags=["mutant:retrieval_scores"]
# the mean over all relevant chunks' reciprocal ranks
def retrieval_scores(rankings, relevant, k):
    recall, reciprocal = [], []
    for ranking, wanted in zip(rankings, relevant, strict=True):
        recall.append(len(wanted & set(ranking[:k])) / len(wanted))
        ranks = [rank for rank, i in enumerate(ranking, 1) if i in wanted]
        reciprocal.append(float(np.mean([1 / rank for rank in ranks])) if ranks else 0.0)
    return np.array(recall, float), np.array(reciprocal, float)


# %% tags=["mutant:rerank"]
# the worst first
def rerank(candidates, score, keep):
    return sorted(candidates[:keep], key=score) + list(candidates[keep:])


# %% tags=["mutant:rerank"]
# what is not re-ranked is lost
def rerank(candidates, score, keep):
    return sorted(candidates[:keep], key=lambda i: -score(i))


# %% tags=["mutant:rerank"]
# every candidate gets a new place
def rerank(candidates, score, keep):
    return sorted(candidates, key=lambda i: -score(i))


# %% tags=["mutant:rerank"]
# sorted and then turned around: equal ones change places
def rerank(candidates, score, keep):
    return sorted(candidates[:keep], key=score)[::-1] + list(candidates[keep:])


# %% tags=["mutant:rerank"]
# of equal ones the smaller number first
def rerank(candidates, score, keep):
    return sorted(candidates[:keep], key=lambda i: (-score(i), i)) + list(candidates[keep:])


# %% tags=["mutant:rerank"]
# the list that was given is sorted itself
def rerank(candidates, score, keep):
    candidates[:keep] = sorted(candidates[:keep], key=lambda i: -score(i))
    return candidates


# %% tags=["mutant:rerank"]
# keep is taken to be within the list
def rerank(candidates, score, keep):
    first = [candidates[j] for j in range(keep)]
    return sorted(first, key=lambda i: -score(i)) + list(candidates[keep:])


# %% tags=["mutant:rerank"]
# a score for every chunk, though only the first are sorted by it
def rerank(candidates, score, keep):
    scores = {i: score(i) for i in candidates}
    return sorted(candidates[:keep], key=lambda i: -scores[i]) + list(candidates[keep:])


# %% tags=["mutant:flare"]
# the mean probability decides instead of the least
def flare(question, generate, retrieve, threshold, most=4):
    answer, queries = "", []
    for _ in range(most):
        tokens, chances = generate([], answer)
        if tokens and sum(chances) / len(chances) < threshold:
            sure = "".join(token for token, p in zip(tokens, chances, strict=True) if p >= threshold)
            queries.append(f"{question} {sure}")
            tokens, chances = generate(retrieve(queries[-1]), answer)
        if not tokens:
            break
        answer += "".join(tokens)
    return answer, queries


# %% tags=["mutant:flare"]
# the whole draft is the query, unsure tokens too
def flare(question, generate, retrieve, threshold, most=4):
    answer, queries = "", []
    for _ in range(most):
        tokens, chances = generate([], answer)
        if tokens and min(chances) < threshold:
            queries.append(f"{question} {''.join(tokens)}")
            tokens, chances = generate(retrieve(queries[-1]), answer)
        if not tokens:
            break
        answer += "".join(tokens)
    return answer, queries


# %% tags=["mutant:flare"]
# once looked up, the passages stay in the prompt of later drafts
def flare(question, generate, retrieve, threshold, most=4):
    answer, queries, passages = "", [], []
    for _ in range(most):
        tokens, chances = generate(passages, answer)
        if tokens and min(chances) < threshold:
            sure = "".join(token for token, p in zip(tokens, chances, strict=True) if p >= threshold)
            queries.append(f"{question} {sure}")
            passages = retrieve(queries[-1])
            tokens, chances = generate(passages, answer)
        if not tokens:
            break
        answer += "".join(tokens)
    return answer, queries


# %% tags=["mutant:flare"]
# looks up, but keeps the draft
def flare(question, generate, retrieve, threshold, most=4):
    answer, queries = "", []
    for _ in range(most):
        tokens, chances = generate([], answer)
        if tokens and min(chances) < threshold:
            sure = "".join(token for token, p in zip(tokens, chances, strict=True) if p >= threshold)
            queries.append(f"{question} {sure}")
            generate(retrieve(queries[-1]), answer)
        if not tokens:
            break
        answer += "".join(tokens)
    return answer, queries


# %% tags=["mutant:flare"]
# at the threshold itself counts as unsure
def flare(question, generate, retrieve, threshold, most=4):
    answer, queries = "", []
    for _ in range(most):
        tokens, chances = generate([], answer)
        if tokens and min(chances) <= threshold:
            sure = "".join(token for token, p in zip(tokens, chances, strict=True) if p > threshold)
            queries.append(f"{question} {sure}")
            tokens, chances = generate(retrieve(queries[-1]), answer)
        if not tokens:
            break
        answer += "".join(tokens)
    return answer, queries


# %% tags=["mutant:flare"]
# the draft stays where nothing is written with the passages
def flare(question, generate, retrieve, threshold, most=4):
    answer, queries = "", []
    for _ in range(most):
        tokens, chances = generate([], answer)
        if tokens and min(chances) < threshold:
            sure = "".join(token for token, p in zip(tokens, chances, strict=True) if p >= threshold)
            queries.append(f"{question} {sure}")
            tokens = generate(retrieve(queries[-1]), answer)[0] or tokens
        if not tokens:
            break
        answer += "".join(tokens)
    return answer, queries


# %% tags=["mutant:flare"]
# where nothing is written with the passages, the next draft follows
def flare(question, generate, retrieve, threshold, most=4):
    answer, queries = "", []
    for _ in range(most):
        tokens, chances = generate([], answer)
        if tokens and min(chances) < threshold:
            sure = "".join(token for token, p in zip(tokens, chances, strict=True) if p >= threshold)
            queries.append(f"{question} {sure}")
            tokens, chances = generate(retrieve(queries[-1]), answer)
        elif not tokens:
            break
        answer += "".join(tokens)
    return answer, queries


# %% tags=["mutant:check_citations"]
# every word is a content word, short ones too
def check_citations(answer, passages):
    parts = re.split(r"((?:\s*\[\d+\])+)", answer)
    checked = []
    for statement, cited in zip(parts[::2], [*parts[1::2], ""], strict=True):
        if not words(statement):
            continue
        numbers = [int(n) for n in re.findall(r"\d+", cited)]
        exist = bool(numbers) and all(1 <= n <= len(passages) for n in numbers)
        there = set(words(" ".join(passages[n - 1] for n in numbers))) if exist else set()
        checked.append((numbers, exist and all(w in there for w in words(statement))))
    return checked


# %% tags=["mutant:check_citations"]
# any passage may support a statement, not only the one it cites
def check_citations(answer, passages):
    parts = re.split(r"((?:\s*\[\d+\])+)", answer)
    checked = []
    for statement, cited in zip(parts[::2], [*parts[1::2], ""], strict=True):
        if not words(statement):
            continue
        numbers = [int(n) for n in re.findall(r"\d+", cited)]
        exist = bool(numbers) and all(1 <= n <= len(passages) for n in numbers)
        there = set(words(" ".join(passages)))
        content = [w for w in words(statement) if len(w) >= 4 or re.search(rf"[\d{HAN}]", w)]
        checked.append((numbers, exist and all(w in there for w in content)))
    return checked


# %% tags=["mutant:check_citations"]
# one content word in common is enough
def check_citations(answer, passages):
    parts = re.split(r"((?:\s*\[\d+\])+)", answer)
    checked = []
    for statement, cited in zip(parts[::2], [*parts[1::2], ""], strict=True):
        if not words(statement):
            continue
        numbers = [int(n) for n in re.findall(r"\d+", cited)]
        exist = bool(numbers) and all(1 <= n <= len(passages) for n in numbers)
        there = set(words(" ".join(passages[n - 1] for n in numbers))) if exist else set()
        content = [w for w in words(statement) if len(w) >= 4 or re.search(rf"[\d{HAN}]", w)]
        checked.append((numbers, exist and any(w in there for w in content)))
    return checked


# %% tags=["mutant:check_citations"]
# numbers count from 0
def check_citations(answer, passages):
    parts = re.split(r"((?:\s*\[\d+\])+)", answer)
    checked = []
    for statement, cited in zip(parts[::2], [*parts[1::2], ""], strict=True):
        if not words(statement):
            continue
        numbers = [int(n) for n in re.findall(r"\d+", cited)]
        exist = bool(numbers) and all(0 <= n < len(passages) for n in numbers)
        there = set(words(" ".join(passages[n] for n in numbers))) if exist else set()
        content = [w for w in words(statement) if len(w) >= 4 or re.search(rf"[\d{HAN}]", w)]
        checked.append((numbers, exist and all(w in there for w in content)))
    return checked


# %% tags=["mutant:check_citations"]
# short numbers are no content words
def check_citations(answer, passages):
    parts = re.split(r"((?:\s*\[\d+\])+)", answer)
    checked = []
    for statement, cited in zip(parts[::2], [*parts[1::2], ""], strict=True):
        if not words(statement):
            continue
        numbers = [int(n) for n in re.findall(r"\d+", cited)]
        exist = bool(numbers) and all(1 <= n <= len(passages) for n in numbers)
        there = set(words(" ".join(passages[n - 1] for n in numbers))) if exist else set()
        checked.append((numbers, exist and all(w in there for w in words(statement) if len(w) >= 4 or re.search(f"[{HAN}]", w))))
    return checked


# %% tags=["mutant:check_citations"]
# every passage alone must have all the words
def check_citations(answer, passages):
    parts = re.split(r"((?:\s*\[\d+\])+)", answer)
    checked = []
    for statement, cited in zip(parts[::2], [*parts[1::2], ""], strict=True):
        if not words(statement):
            continue
        numbers = [int(n) for n in re.findall(r"\d+", cited)]
        exist = bool(numbers) and all(1 <= n <= len(passages) for n in numbers)
        content = [w for w in words(statement) if len(w) >= 4 or re.search(rf"[\d{HAN}]", w)]
        ok = exist and all(w in words(passages[n - 1]) for n in numbers for w in content)
        checked.append((numbers, ok))
    return checked


# %% tags=["mutant:check_citations"]
# Chinese characters are no content words
def check_citations(answer, passages):
    parts = re.split(r"((?:\s*\[\d+\])+)", answer)
    checked = []
    for statement, cited in zip(parts[::2], [*parts[1::2], ""], strict=True):
        if not words(statement):
            continue
        numbers = [int(n) for n in re.findall(r"\d+", cited)]
        exist = bool(numbers) and all(1 <= n <= len(passages) for n in numbers)
        there = set(words(" ".join(passages[n - 1] for n in numbers))) if exist else set()
        content = [w for w in words(statement) if len(w) >= 4 or any(c.isdigit() for c in w)]
        checked.append((numbers, exist and all(w in there for w in content)))
    return checked


# %% tags=["mutant:search_manual"]
# the bare paragraphs
def search_manual(asked, paragraphs):
    texts_ = [words(p["text"]) for p in paragraphs]
    return [np.argsort(-bm25(words(question), texts_), kind="stable").tolist() for question in asked]


# %% tags=["mutant:search_manual"]
# the headings before the text, and nothing else
def search_manual(asked, paragraphs):
    texts_ = [words(f"{p['page']} {p['section']} {p['text']}") for p in paragraphs]
    return [np.argsort(-bm25(words(question), texts_), kind="stable").tolist() for question in asked]


# %% tags=["mutant:search_manual"]
# only the headings
def search_manual(asked, paragraphs):
    texts_ = [words(f"{p['page']} {p['section']}") for p in paragraphs]
    return [np.argsort(-bm25(words(question), texts_), kind="stable").tolist() for question in asked]


# %% tags=["mutant:search_manual"]
# a set of common words decides: how many of the question's words a paragraph has
def search_manual(asked, paragraphs):
    texts_ = [set(words(f"{p['page']} {p['section']} {p['text']}")) for p in paragraphs]
    shared = [np.array([len(text & set(words(question))) for text in texts_]) for question in asked]
    return [np.argsort(-counts, kind="stable").tolist() for counts in shared]


# %% tags=["mutant:search_manual"]
# the worst first
def search_manual(asked, paragraphs):
    texts_ = [words(f"{p['page']} {p['section']} {p['text']}") for p in paragraphs]
    return [np.argsort(bm25(words(question), texts_), kind="stable").tolist() for question in asked]


# %% tags=["mutant:search_manual"]
# only the first ten
def search_manual(asked, paragraphs):
    texts_ = [words(f"{p['page']} {p['section']} {p['text']}") for p in paragraphs]
    return [np.argsort(-bm25(words(question), texts_), kind="stable").tolist()[:10] for question in asked]
