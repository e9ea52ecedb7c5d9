# %% [markdown]
# Wrong solutions that the lab's tests must reject. The first line of each cell names the misconception.

# %% tags=["mutant:masks"]
# the decoder may not look at itself
def decoder_mask(real):
    n = real.shape[1]
    return encoder_mask(real) & torch.ones(n, n, dtype=torch.bool).tril(-1)

# %% tags=["mutant:masks"]
# the decoder looks ahead instead of back
def decoder_mask(real):
    n = real.shape[1]
    return encoder_mask(real) & torch.ones(n, n, dtype=torch.bool).triu()

# %% tags=["mutant:masks"]
# forgets padding in the decoder
def decoder_mask(real):
    n = real.shape[1]
    return torch.ones(n, n, dtype=torch.bool).tril().expand(len(real), n, n).clone()

# %% tags=["mutant:masks"]
# hides the padded queries instead of the padded keys
def encoder_mask(real):
    return real[:, :, None].expand(-1, -1, real.shape[1]).clone()

# %% tags=["mutant:masks"]
# cross-attention the wrong way round
def cross_mask(source_real, target_length):
    return source_real[:, :, None].expand(-1, -1, target_length).clone()

# %% tags=["mutant:masks"]
# a causal mask on cross-attention too
def cross_mask(source_real, target_length):
    n = source_real.shape[1]
    return source_real[:, None, :].expand(-1, target_length, -1) & torch.ones(target_length, n, dtype=torch.bool).tril()

# %% tags=["mutant:masks"]
# counts the tokens of a row, instead of looking where they are
def encoder_mask(real):
    n = real.shape[1]
    return (torch.arange(n) < real.sum(1, keepdim=True))[:, None, :].expand(-1, n, -1).clone()

# %% tags=["mutant:masks"]
# the cross mask is as long as the source, whatever the target
def cross_mask(source_real, target_length):
    return encoder_mask(source_real)[:, :target_length]

# %% tags=["mutant:masked_lm"]
# asks about every token, chosen or not
def masked_lm(ids, real, chance, action, substitute, rate=0.15):
    chosen = (chance < rate) & real & (ids != BEGIN) & (ids != END)
    noisy = torch.where(action < 0.8, torch.full_like(ids, MASK), torch.where(action < 0.9, substitute, ids))
    return torch.where(chosen, noisy, ids), ids.clone()

# %% tags=["mutant:masked_lm"]
# no label where the token stays as it is
def masked_lm(ids, real, chance, action, substitute, rate=0.15):
    chosen = (chance < rate) & real & (ids != BEGIN) & (ids != END)
    noisy = torch.where(action < 0.8, torch.full_like(ids, MASK), torch.where(action < 0.9, substitute, ids))
    inputs = torch.where(chosen, noisy, ids)
    return inputs, torch.where(inputs != ids, ids, torch.full_like(ids, -100))

# %% tags=["mutant:masked_lm"]
# masks every chosen token
def masked_lm(ids, real, chance, action, substitute, rate=0.15):
    chosen = (chance < rate) & real & (ids != BEGIN) & (ids != END)
    return torch.where(chosen, torch.full_like(ids, MASK), ids), torch.where(chosen, ids, torch.full_like(ids, -100))

# %% tags=["mutant:masked_lm"]
# begin and end may be chosen
def masked_lm(ids, real, chance, action, substitute, rate=0.15):
    chosen = (chance < rate) & real
    noisy = torch.where(action < 0.8, torch.full_like(ids, MASK), torch.where(action < 0.9, substitute, ids))
    return torch.where(chosen, noisy, ids), torch.where(chosen, ids, torch.full_like(ids, -100))

# %% tags=["mutant:masked_lm"]
# ignores the rate that it was given
def masked_lm(ids, real, chance, action, substitute, rate=0.15):
    chosen = (chance < 0.15) & real & (ids != BEGIN) & (ids != END)
    noisy = torch.where(action < 0.8, torch.full_like(ids, MASK), torch.where(action < 0.9, substitute, ids))
    return torch.where(chosen, noisy, ids), torch.where(chosen, ids, torch.full_like(ids, -100))

# %% tags=["mutant:masked_lm"]
# changes the batch that it was given
def masked_lm(ids, real, chance, action, substitute, rate=0.15):
    chosen = (chance < rate) & real & (ids != BEGIN) & (ids != END)
    labels = torch.where(chosen, ids, torch.full_like(ids, -100))
    ids[chosen & (action < 0.8)] = MASK
    swap = chosen & (action >= 0.8) & (action < 0.9)
    ids[swap] = substitute[swap]
    return ids, labels

# %% tags=["mutant:causal_lm"]
# labels are the inputs themselves
def causal_lm(ids):
    labels = ids[:, :-1].clone()
    labels[labels == PAD] = -100
    return ids[:, :-1], labels

# %% tags=["mutant:causal_lm"]
# asks about padding
def causal_lm(ids):
    return ids[:, :-1], ids[:, 1:].clone()

# %% tags=["mutant:causal_lm"]
# never asks where a sentence ends
def causal_lm(ids):
    labels = ids[:, 1:].clone()
    labels[(labels == PAD) | (labels == END)] = -100
    return ids[:, :-1], labels

# %% tags=["mutant:causal_lm"]
# writes its -100 into the batch that it was given
def causal_lm(ids):
    labels = ids[:, 1:]
    labels[labels == PAD] = -100
    return ids[:, :-1], labels

# %% tags=["mutant:causal_lm"]
# shifts the wrong way: asks for the token before
def causal_lm(ids):
    labels = ids[:, :-1].clone()
    labels[labels == PAD] = -100
    return ids[:, 1:], labels

# %% tags=["mutant:span_denoising"]
# forgets the closing sentinel
def span_denoising(ids, spans, sentinels):
    source, target, position = [], [], 0
    for sentinel, (start, length) in zip(sentinels, spans, strict=False):
        source += [*ids[position:start], sentinel]
        target += [sentinel, *ids[start : start + length]]
        position = start + length
    return source + list(ids[position:]), target

# %% tags=["mutant:span_denoising"]
# loses the text after the last span
def span_denoising(ids, spans, sentinels):
    source, target, position = [], [], 0
    for sentinel, (start, length) in zip(sentinels, spans, strict=False):
        source += [*ids[position:start], sentinel]
        target += [sentinel, *ids[start : start + length]]
        position = start + length
    return source, [*target, sentinels[len(spans)]]

# %% tags=["mutant:span_denoising"]
# one sentinel for each missing token
def span_denoising(ids, spans, sentinels):
    source, target, position = [], [], 0
    for sentinel, (start, length) in zip(sentinels, spans, strict=False):
        source += [*ids[position:start], *[sentinel] * length]
        target += [sentinel, *ids[start : start + length]]
        position = start + length
    return source + list(ids[position:]), [*target, sentinels[len(spans)]]

# %% tags=["mutant:span_denoising"]
# takes (start, length) for (start, end)
def span_denoising(ids, spans, sentinels):
    source, target, position = [], [], 0
    for sentinel, (start, end) in zip(sentinels, spans, strict=False):
        source += [*ids[position:start], sentinel]
        target += [sentinel, *ids[start:end]]
        position = end
    return source + list(ids[position:]), [*target, sentinels[len(spans)]]

# %% tags=["mutant:span_denoising"]
# closes with the last sentinel of the list
def span_denoising(ids, spans, sentinels):
    source, target, position = [], [], 0
    for sentinel, (start, length) in zip(sentinels, spans, strict=False):
        source += [*ids[position:start], sentinel]
        target += [sentinel, *ids[start : start + length]]
        position = start + length
    return source + list(ids[position:]), [*target, sentinels[-1]]

# %% tags=["mutant:span_denoising"]
# takes the sentinels out of the list that it was given
def span_denoising(ids, spans, sentinels):
    source, target, position = [], [], 0
    for start, length in spans:
        sentinel = sentinels.pop(0)
        source += [*ids[position:start], sentinel]
        target += [sentinel, *ids[start : start + length]]
        position = start + length
    return source + list(ids[position:]), [*target, sentinels[0]]

# %% tags=["mutant:bpe_train"]
# a pair counts once a word, however often the word occurs
def bpe_train(counts, merges):
    words, learnt = {word: list(word) for word in counts}, []
    for _ in range(merges):
        pairs = collections.Counter(pair for pieces in words.values() for pair in zip(pieces, pieces[1:], strict=False))
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        learnt.append(best)
        for word, pieces in words.items():
            glued, i = [], 0
            while i < len(pieces):
                found = tuple(pieces[i : i + 2]) == best
                glued.append("".join(best) if found else pieces[i])
                i += 2 if found else 1
            words[word] = glued
    return learnt

# %% tags=["mutant:bpe_train"]
# counts once and takes the most frequent pairs of characters
def bpe_train(counts, merges):
    pairs = collections.Counter()
    for word, count in counts.items():
        for pair in zip(word, word[1:], strict=False):
            pairs[pair] += count
    return sorted(pairs, key=lambda p: (-pairs[p], p))[:merges]

# %% tags=["mutant:bpe_train"]
# fails when no pair is left
def bpe_train(counts, merges):
    words, learnt = {word: list(word) for word in counts}, []
    for _ in range(merges):
        pairs = collections.Counter()
        for word, pieces in words.items():
            for pair in zip(pieces, pieces[1:], strict=False):
                pairs[pair] += counts[word]
        best = min(pairs, key=lambda p: (-pairs[p], p))
        learnt.append(best)
        for word, pieces in words.items():
            glued, i = [], 0
            while i < len(pieces):
                found = tuple(pieces[i : i + 2]) == best
                glued.append("".join(best) if found else pieces[i])
                i += 2 if found else 1
            words[word] = glued
    return learnt

# %% tags=["mutant:bpe_train"]
# of equal counts takes the pair that was seen first
def bpe_train(counts, merges):
    words, learnt = {word: list(word) for word in counts}, []
    for _ in range(merges):
        pairs = collections.Counter()
        for word, pieces in words.items():
            for pair in zip(pieces, pieces[1:], strict=False):
                pairs[pair] += counts[word]
        if not pairs:
            break
        best = max(pairs, key=pairs.__getitem__)
        learnt.append(best)
        for word, pieces in words.items():
            glued, i = [], 0
            while i < len(pieces):
                found = tuple(pieces[i : i + 2]) == best
                glued.append("".join(best) if found else pieces[i])
                i += 2 if found else 1
            words[word] = glued
    return learnt

# %% tags=["mutant:bpe_encode"]
# goes through the word greedily, longest piece first
def bpe_encode(word, merges):
    pieces_known = {"".join(pair) for pair in merges} | set(word)
    pieces, i = [], 0
    while i < len(word):
        j = max(k for k in range(i + 1, len(word) + 1) if word[i:k] in pieces_known)
        pieces.append(word[i:j])
        i = j
    return pieces

# %% tags=["mutant:bpe_encode"]
# applies the last merge first
def bpe_encode(word, merges):
    rank, pieces = {tuple(pair): -i for i, pair in enumerate(merges)}, list(word)
    while fitting := [pair for pair in zip(pieces, pieces[1:], strict=False) if pair in rank]:
        best, glued, i = min(fitting, key=rank.__getitem__), [], 0
        while i < len(pieces):
            found = tuple(pieces[i : i + 2]) == best
            glued.append("".join(best) if found else pieces[i])
            i += 2 if found else 1
        pieces = glued
    return pieces

# %% tags=["mutant:bpe_encode"]
# glues any two pieces whose text was ever a merge
def bpe_encode(word, merges):
    known, pieces = {"".join(pair): i for i, pair in enumerate(merges)}, list(word)
    while fitting := [pair for pair in zip(pieces, pieces[1:], strict=False) if "".join(pair) in known]:
        best, glued, i = min(fitting, key=lambda p: -len("".join(p))), [], 0
        while i < len(pieces):
            found = tuple(pieces[i : i + 2]) == best
            glued.append("".join(best) if found else pieces[i])
            i += 2 if found else 1
        pieces = glued
    return pieces

# %% tags=["mutant:bpe_encode"]
# stops after the first merge that fits
def bpe_encode(word, merges):
    rank, pieces = {tuple(pair): i for i, pair in enumerate(merges)}, list(word)
    fitting = [pair for pair in zip(pieces, pieces[1:], strict=False) if pair in rank]
    if not fitting:
        return pieces
    best, glued, i = min(fitting, key=rank.__getitem__), [], 0
    while i < len(pieces):
        found = tuple(pieces[i : i + 2]) == best
        glued.append("".join(best) if found else pieces[i])
        i += 2 if found else 1
    return glued

# %% tags=["mutant:bpe_encode"]
# glues from right to left
def bpe_encode(word, merges):
    rank, pieces = {tuple(pair): i for i, pair in enumerate(merges)}, list(word)
    while fitting := [pair for pair in zip(pieces, pieces[1:], strict=False) if pair in rank]:
        best, glued, i = min(fitting, key=rank.__getitem__), [], len(pieces)
        while i > 0:
            found = tuple(pieces[max(i - 2, 0) : i]) == best
            glued.insert(0, "".join(best) if found else pieces[i - 1])
            i -= 2 if found else 1
        pieces = glued
    return pieces

# %% tags=["mutant:bpe_encode"]
# takes the first pair of the word that is a merge, not the merge that was learnt first
def bpe_encode(word, merges):
    known, pieces = {tuple(pair) for pair in merges}, list(word)
    while fitting := [i for i, pair in enumerate(zip(pieces, pieces[1:], strict=False)) if pair in known]:
        i = fitting[0]
        pieces[i : i + 2] = ["".join(pieces[i : i + 2])]
    return pieces

# %% tags=["mutant:mean_pool"]
# averages padding too
def mean_pool(hidden, real):
    return hidden.mean(1)

# %% tags=["mutant:mean_pool"]
# divides by the length of the row, not by the number of tokens
def mean_pool(hidden, real):
    return (hidden * real[:, :, None]).sum(1) / hidden.shape[1]

# %% tags=["mutant:mean_pool"]
# not a number when a row is empty
def mean_pool(hidden, real):
    weight = real.to(hidden.dtype)[:, :, None]
    return (hidden * weight).sum(1) / weight.sum(1)

# %% tags=["mutant:mean_pool"]
# takes the first token, as BERT does, instead of the mean
def mean_pool(hidden, real):
    return hidden[:, 0] * real[:, :1]

# %% tags=["mutant:mean_pool"]
# writes zeros into the hidden states that it was given
def mean_pool(hidden, real):
    hidden[~real] = 0
    return hidden.sum(1) / real.sum(1, keepdim=True).clamp(min=1).to(hidden.dtype)

# %% tags=["mutant:mean_pool"]
# takes the first tokens of a row, as many as are real
def mean_pool(hidden, real):
    return torch.stack([row[: max(int(n), 1)].sum(0) / max(int(n), 1) * bool(n) for row, n in zip(hidden, real.sum(1), strict=True)])

# %% tags=["mutant:praise"]
# the same answer for every sentence
def praise(train, is_praise, new):
    return [sum(is_praise) * 2 > len(is_praise)] * len(new)

# %% tags=["mutant:praise"]
# forgets the training sentences, and asks a list of good and bad words
def praise(train, is_praise, new):
    valence = data.word_valence()
    return [sum(valence.get(word, 0) for word in text.split()) > 0 for text in new]

# %% tags=["mutant:praise"]
# learns the opposite
def praise(train, is_praise, new):
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    model.fit(train, [not label for label in is_praise])
    return [bool(answer) for answer in model.predict(new)]

# %% tags=["mutant:praise"]
# is content with a baseline, single words
def praise(train, is_praise, new):
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    model.fit(train, is_praise)
    return [bool(answer) for answer in model.predict(new)]
