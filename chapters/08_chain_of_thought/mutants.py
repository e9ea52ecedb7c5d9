# %% tags=["mutant:word_problem"]
# nothing left is allowed
def word_problem(name, thing, start, steps):
    question, chain, have = [f"{name} has {start} {thing}."], [], start
    for operation, n in steps:
        if operation == "/" and have % n:
            raise ValueError("a rest")
        after = {"+": have + n, "-": have - n, "*": have * n, "/": have // n}[operation]
        if after < 0:
            raise ValueError("below nothing")
        question.append(SENTENCES[operation].format(name=name, n=n))
        chain.append(f"{have} {operation} {n} = {after}.")
        have = after
    question.append(f"How many {thing} does {name} have now?")
    return {"question": " ".join(question), "chain": " ".join(chain), "answer": have}


# %% tags=["mutant:word_problem"]
# divisions are rounded down
def word_problem(name, thing, start, steps):
    question, chain, have = [f"{name} has {start} {thing}."], [], start
    for operation, n in steps:
        after = {"+": have + n, "-": have - n, "*": have * n, "/": have // n}[operation]
        if after < 1:
            raise ValueError("nothing left")
        question.append(SENTENCES[operation].format(name=name, n=n))
        chain.append(f"{have} {operation} {n} = {after}.")
        have = after
    question.append(f"How many {thing} does {name} have now?")
    return {"question": " ".join(question), "chain": " ".join(chain), "answer": have}


# %% tags=["mutant:word_problem"]
# only the end is checked, not what somebody has on the way
def word_problem(name, thing, start, steps):
    question, chain, have = [f"{name} has {start} {thing}."], [], start
    for operation, n in steps:
        if operation == "/" and have % n:
            raise ValueError("a rest")
        after = {"+": have + n, "-": have - n, "*": have * n, "/": have // n}[operation]
        question.append(SENTENCES[operation].format(name=name, n=n))
        chain.append(f"{have} {operation} {n} = {after}.")
        have = after
    if have < 1:
        raise ValueError("nothing left")
    question.append(f"How many {thing} does {name} have now?")
    return {"question": " ".join(question), "chain": " ".join(chain), "answer": have}


# %% tags=["mutant:word_problem"]
# true division: the answer is a float
def word_problem(name, thing, start, steps):
    question, chain, have = [f"{name} has {start} {thing}."], [], start
    for operation, n in steps:
        if operation == "/" and have % n:
            raise ValueError("a rest")
        after = {"+": have + n, "-": have - n, "*": have * n, "/": have / n}[operation]
        if after < 1:
            raise ValueError("nothing left")
        question.append(SENTENCES[operation].format(name=name, n=n))
        chain.append(f"{have} {operation} {n} = {after}.")
        have = after
    question.append(f"How many {thing} does {name} have now?")
    return {"question": " ".join(question), "chain": " ".join(chain), "answer": have}


# %% tags=["mutant:extract"]
# always the last number
def extract(text):
    text = ("\n" + text).partition("\nQ:")[0]
    numbers = NUMBER.findall(text)
    return float(numbers[-1].replace(",", "")) if numbers else None


# %% tags=["mutant:extract"]
# what the model asks itself next is read too
def extract(text):
    _, said, after = text.lower().rpartition("answer is")
    numbers = NUMBER.findall(after)[:1] if said else []
    numbers = numbers or NUMBER.findall(text)
    return float(numbers[-1].replace(",", "")) if numbers else None


# %% tags=["mutant:extract"]
# cut at any "Q:", not only where a line starts with it
def extract(text):
    text = text.partition("Q:")[0]
    _, said, after = text.lower().rpartition("answer is")
    numbers = NUMBER.findall(after)[:1] if said else []
    numbers = numbers or NUMBER.findall(text)
    return float(numbers[-1].replace(",", "")) if numbers else None


# %% tags=["mutant:extract"]
# the first "answer is" counts, not the last
def extract(text):
    text = ("\n" + text).partition("\nQ:")[0]
    _, said, after = text.lower().partition("answer is")
    numbers = NUMBER.findall(after)[:1] if said else []
    numbers = numbers or NUMBER.findall(text)
    return float(numbers[-1].replace(",", "")) if numbers else None


# %% tags=["mutant:extract"]
# upper case is another answer
def extract(text):
    text = ("\n" + text).partition("\nQ:")[0]
    _, said, after = text.rpartition("answer is")
    numbers = NUMBER.findall(after)[:1] if said else []
    numbers = numbers or NUMBER.findall(text)
    return float(numbers[-1].replace(",", "")) if numbers else None


# %% tags=["mutant:extract"]
# no number after "answer is": no answer
def extract(text):
    text = ("\n" + text).partition("\nQ:")[0]
    _, said, after = text.lower().rpartition("answer is")
    numbers = NUMBER.findall(after)[:1] if said else NUMBER.findall(text)
    return float(numbers[-1].replace(",", "")) if numbers else None


# %% tags=["mutant:extract"]
# the last number after "answer is"
def extract(text):
    text = ("\n" + text).partition("\nQ:")[0]
    _, said, after = text.lower().rpartition("answer is")
    numbers = NUMBER.findall(after) if said else []
    numbers = numbers or NUMBER.findall(text)
    return float(numbers[-1].replace(",", "")) if numbers else None


# %% tags=["mutant:build_prompt"]
# few-shot chains are also told to think step by step
def build_prompt(question, style, shots=()):
    text = ""
    for shot in shots:
        chain = f"{shot['chain']} " if style == "chain" else ""
        text += f"Q: {shot['question']}\nA: {chain}The answer is {shot['answer']}.\n\n"
    ask = " The answer is" if style == "answer" else " Let's think step by step."
    return f"{text}Q: {question}\nA:{ask}"


# %% tags=["mutant:build_prompt"]
# the chain comes after the answer
def build_prompt(question, style, shots=()):
    text = ""
    for shot in shots:
        chain = f" {shot['chain']}" if style == "chain" else ""
        text += f"Q: {shot['question']}\nA: The answer is {shot['answer']}.{chain}\n\n"
    ask = " The answer is" if style == "answer" else "" if shots else " Let's think step by step."
    return f"{text}Q: {question}\nA:{ask}"


# %% tags=["mutant:build_prompt"]
# a blank at the end of the prompt
def build_prompt(question, style, shots=()):
    text = ""
    for shot in shots:
        chain = f"{shot['chain']} " if style == "chain" else ""
        text += f"Q: {shot['question']}\nA: {chain}The answer is {shot['answer']}.\n\n"
    ask = "The answer is " if style == "answer" else "" if shots else "Let's think step by step. "
    return f"{text}Q: {question}\nA: {ask}"


# %% tags=["mutant:build_prompt"]
# examples always show their chain
def build_prompt(question, style, shots=()):
    text = ""
    for shot in shots:
        text += f"Q: {shot['question']}\nA: {shot['chain']} The answer is {shot['answer']}.\n\n"
    ask = " The answer is" if style == "answer" else "" if shots else " Let's think step by step."
    return f"{text}Q: {question}\nA:{ask}"


# %% tags=["mutant:build_prompt"]
# one example is enough
def build_prompt(question, style, shots=()):
    text = ""
    for shot in shots[:1]:
        chain = f"{shot['chain']} " if style == "chain" else ""
        text += f"Q: {shot['question']}\nA: {chain}The answer is {shot['answer']}.\n\n"
    ask = " The answer is" if style == "answer" else "" if shots else " Let's think step by step."
    return f"{text}Q: {question}\nA:{ask}"


# %% tags=["mutant:vote"]
# no answer has a vote
def vote(answers):
    counts = Counter(answers)
    return max(counts, key=counts.get) if counts else None


# %% tags=["mutant:vote"]
# of equals the smallest wins
def vote(answers):
    counts = Counter(answer for answer in answers if answer is not None)
    return min(counts, key=lambda answer: (-counts[answer], answer)) if counts else None


# %% tags=["mutant:vote"]
# of equals the last wins
def vote(answers):
    given = [answer for answer in answers if answer is not None]
    counts = Counter(reversed(given))
    return max(counts, key=counts.get) if counts else None


# %% tags=["mutant:vote"]
# the median instead of the most frequent
def vote(answers):
    given = sorted(answer for answer in answers if answer is not None)
    return given[len(given) // 2] if given else None


# %% tags=["mutant:vote"]
# an answer of zero is no answer
def vote(answers):
    counts = Counter(answer for answer in answers if answer)
    return max(counts, key=counts.get) if counts else None


# %% tags=["mutant:training_rows"]
# the loss is on the question too
def training_rows(start, operations, numbers, style):
    after = running(start, operations, numbers)
    before = torch.cat([start[:, None], after[:, :-1]], 1)
    signs, n, k = ADD + operations, *operations.shape
    question = torch.cat([start[:, None], torch.stack([signs, numbers], 2).flatten(1), torch.full((n, 1), ASK)], 1)
    middle = {
        "direct": question[:, :0],
        "dots": torch.full((n, 5 * k), DOT),
        "chain": torch.stack([before, signs, numbers, torch.full_like(signs, EQUALS), after], 2).flatten(1),
    }[style]
    ids = torch.cat([question, middle, torch.full((n, 1), ANSWER), after[:, -1:]], 1)
    labels = ids.clone()
    labels[ids == DOT] = -100
    return ids, labels


# %% tags=["mutant:training_rows"]
# the loss is only on the last digit, so that the chain is never learnt
def training_rows(start, operations, numbers, style):
    after = running(start, operations, numbers)
    before = torch.cat([start[:, None], after[:, :-1]], 1)
    signs, n, k = ADD + operations, *operations.shape
    question = torch.cat([start[:, None], torch.stack([signs, numbers], 2).flatten(1), torch.full((n, 1), ASK)], 1)
    middle = {
        "direct": question[:, :0],
        "dots": torch.full((n, 5 * k), DOT),
        "chain": torch.stack([before, signs, numbers, torch.full_like(signs, EQUALS), after], 2).flatten(1),
    }[style]
    ids = torch.cat([question, middle, torch.full((n, 1), ANSWER), after[:, -1:]], 1)
    labels = torch.full_like(ids, -100)
    labels[:, -1] = ids[:, -1]
    return ids, labels


# %% tags=["mutant:training_rows"]
# each step of the chain begins with the start digit
def training_rows(start, operations, numbers, style):
    after = running(start, operations, numbers)
    before = start[:, None].expand_as(after)
    signs, n, k = ADD + operations, *operations.shape
    question = torch.cat([start[:, None], torch.stack([signs, numbers], 2).flatten(1), torch.full((n, 1), ASK)], 1)
    middle = {
        "direct": question[:, :0],
        "dots": torch.full((n, 5 * k), DOT),
        "chain": torch.stack([before, signs, numbers, torch.full_like(signs, EQUALS), after], 2).flatten(1),
    }[style]
    ids = torch.cat([question, middle, torch.full((n, 1), ANSWER), after[:, -1:]], 1)
    labels = ids.clone()
    labels[:, : question.shape[1]] = -100
    labels[ids == DOT] = -100
    return ids, labels


# %% tags=["mutant:training_rows"]
# signs in one block, numbers in the next
def training_rows(start, operations, numbers, style):
    after = running(start, operations, numbers)
    before = torch.cat([start[:, None], after[:, :-1]], 1)
    signs, n, k = ADD + operations, *operations.shape
    question = torch.cat([start[:, None], signs, numbers, torch.full((n, 1), ASK)], 1)
    middle = {
        "direct": question[:, :0],
        "dots": torch.full((n, 5 * k), DOT),
        "chain": torch.cat([before, signs, numbers, torch.full_like(signs, EQUALS), after], 1),
    }[style]
    ids = torch.cat([question, middle, torch.full((n, 1), ANSWER), after[:, -1:]], 1)
    labels = ids.clone()
    labels[:, : question.shape[1]] = -100
    labels[ids == DOT] = -100
    return ids, labels


# %% tags=["mutant:training_rows"]
# dots are to be learnt
def training_rows(start, operations, numbers, style):
    after = running(start, operations, numbers)
    before = torch.cat([start[:, None], after[:, :-1]], 1)
    signs, n, k = ADD + operations, *operations.shape
    question = torch.cat([start[:, None], torch.stack([signs, numbers], 2).flatten(1), torch.full((n, 1), ASK)], 1)
    middle = {
        "direct": question[:, :0],
        "dots": torch.full((n, 5 * k), DOT),
        "chain": torch.stack([before, signs, numbers, torch.full_like(signs, EQUALS), after], 2).flatten(1),
    }[style]
    ids = torch.cat([question, middle, torch.full((n, 1), ANSWER), after[:, -1:]], 1)
    labels = ids.clone()
    labels[:, : question.shape[1]] = -100
    return ids, labels


# %% tags=["mutant:plan"]
# the last batch exceeds the budget
def plan(flops, parameters, batch, lengths):
    steps, spent = [], 0
    while spent < flops:
        most = min(len(lengths), 1 + 2 * len(lengths) * spent // flops)
        k = 1 + len(steps) % most
        spent += 6 * parameters * batch * lengths[k - 1]
        steps.append(k)
    return steps


# %% tags=["mutant:plan"]
# equal numbers of examples: every batch is taken to cost as much as the shortest
def plan(flops, parameters, batch, lengths):
    steps, spent = [], 0
    while True:
        most = min(len(lengths), 1 + 2 * len(lengths) * spent // flops)
        k = 1 + len(steps) % most
        spent += 6 * parameters * batch * lengths[0]
        if spent > flops:
            return steps
        steps.append(k)


# %% tags=["mutant:plan"]
# the forward pass only: 2 FLOPs a weight
def plan(flops, parameters, batch, lengths):
    steps, spent = [], 0
    while True:
        most = min(len(lengths), 1 + 2 * len(lengths) * spent // flops)
        k = 1 + len(steps) % most
        spent += 2 * parameters * batch * lengths[k - 1]
        if spent > flops:
            return steps
        steps.append(k)


# %% tags=["mutant:plan"]
# no curriculum
def plan(flops, parameters, batch, lengths):
    steps, spent = [], 0
    while True:
        k = 1 + len(steps) % len(lengths)
        spent += 6 * parameters * batch * lengths[k - 1]
        if spent > flops:
            return steps
        steps.append(k)


# %% tags=["mutant:plan"]
# a batch that uses up the budget exactly is refused
def plan(flops, parameters, batch, lengths):
    steps, spent = [], 0
    while True:
        most = min(len(lengths), 1 + 2 * len(lengths) * spent // flops)
        k = 1 + len(steps) % most
        spent += 6 * parameters * batch * lengths[k - 1]
        if spent >= flops:
            return steps
        steps.append(k)


# %% tags=["mutant:corrupt"]
# the mistake is not carried on: the right answer is called the one that follows
def corrupt(start, operations, numbers, step, shift):
    k = operations.shape[1]
    ids = training_rows(start, operations, numbers, "chain")[0][:, : 2 * k + 2 + 5 * step].clone()
    ids[:, -1] = (ids[:, -1] + shift) % 10
    return ids, running(start, operations, numbers)[:, -1]


# %% tags=["mutant:corrupt"]
# the shift is added to the answer, whatever steps come after
def corrupt(start, operations, numbers, step, shift):
    k = operations.shape[1]
    ids = training_rows(start, operations, numbers, "chain")[0][:, : 2 * k + 2 + 5 * step].clone()
    ids[:, -1] = (ids[:, -1] + shift) % 10
    return ids, (running(start, operations, numbers)[:, -1] + shift) % 10


# %% tags=["mutant:corrupt"]
# the step with the mistake is done again
def corrupt(start, operations, numbers, step, shift):
    k = operations.shape[1]
    ids = training_rows(start, operations, numbers, "chain")[0][:, : 2 * k + 2 + 5 * step].clone()
    ids[:, -1] = (ids[:, -1] + shift) % 10
    return ids, running(ids[:, -1], operations[:, step - 1 :], numbers[:, step - 1 :])[:, -1]


# %% tags=["mutant:corrupt"]
# not modulo 10
def corrupt(start, operations, numbers, step, shift):
    k = operations.shape[1]
    ids = training_rows(start, operations, numbers, "chain")[0][:, : 2 * k + 2 + 5 * step].clone()
    ids[:, -1] = ids[:, -1] + shift
    if step == k:
        return ids, ids[:, -1].clone()
    return ids, running(ids[:, -1], operations[:, step:], numbers[:, step:])[:, -1]


# %% tags=["mutant:corrupt"]
# steps counted from 0
def corrupt(start, operations, numbers, step, shift):
    k = operations.shape[1]
    step = min(step + 1, k)
    ids = training_rows(start, operations, numbers, "chain")[0][:, : 2 * k + 2 + 5 * step].clone()
    ids[:, -1] = (ids[:, -1] + shift) % 10
    if step == k:
        return ids, ids[:, -1].clone()
    return ids, running(ids[:, -1], operations[:, step:], numbers[:, step:])[:, -1]


# %% tags=["mutant:vote"]
# of equals the first of a set wins
def vote(answers):
    given = [answer for answer in answers if answer is not None]
    return max(set(given), key=given.count) if given else None


# %% tags=["mutant:vote"]
# the first answer, whatever the others say
def vote(answers):
    return next((answer for answer in answers if answer is not None), None)


# %% tags=["mutant:best_of"]
# a vote: the first chain with the most frequent answer
def best_of(question, chains):
    given = [text.partition("!")[2][:1] for text in chains]
    return max(range(len(chains)), key=lambda i: given.count(given[i]))


# %% tags=["mutant:best_of"]
# always the first
def best_of(question, chains):
    return 0


# %% tags=["mutant:best_of"]
# the longest chain
def best_of(question, chains):
    return max(range(len(chains)), key=lambda i: len(chains[i]))


# %% tags=["mutant:best_of"]
# the first chain whose equations are all true, whatever they are about
def best_of(question, chains):
    def true(text):
        steps = re.findall(r"(\d)([-+*])(\d)=(\d)", text)
        results = [{"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[s] % 10 == int(c) for a, s, b, c in steps]
        return bool(steps) and all(results)

    return next((i for i, text in enumerate(chains) if true(text)), 0)


# %% tags=["mutant:best_of"]
# only chains whose equations are all true vote
def best_of(question, chains):
    def true(text):
        steps = re.findall(r"(\d)([-+*])(\d)=(\d)", text)
        results = [{"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[s] % 10 == int(c) for a, s, b, c in steps]
        return bool(steps) and all(results)

    kept = [i for i, text in enumerate(chains) if true(text)] or list(range(len(chains)))
    given = {i: chains[i].partition("!")[2][:1] for i in kept}
    return max(kept, key=lambda i: list(given.values()).count(given[i]))


# %% tags=["mutant:best_of"]
# equations must be true and begin with the result of the one before, but may leave steps of the question out
def best_of(question, chains):
    def sound(text):
        have = question[0]
        for a, s, b, c in re.findall(r"(\d)([-+*])(\d)=(\d)", text):
            if a != have or {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[s] % 10 != int(c):
                return False
            have = c
        return text.partition("!")[2][:1] == have

    return next((i for i, text in enumerate(chains) if sound(text)), 0)


# %% tags=["mutant:best_of"]
# only chains with as many equations as the question has steps vote
def best_of(question, chains):
    steps = len(re.findall(r"[-+*]\d", question))
    kept = [i for i, text in enumerate(chains) if text.count("=") == steps] or list(range(len(chains)))
    given = {i: chains[i].partition("!")[2][:1] for i in kept}
    return max(kept, key=lambda i: list(given.values()).count(given[i]))
