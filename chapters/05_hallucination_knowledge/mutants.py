# %% tags=["mutant:verdict"]
# looks for letters, not words
def verdict(answer, accepted):
    said = answer.lower()
    if any(option in said for option in accepted.split("|")):
        return "right"
    return "abstains" if any(phrase in said for phrase in ABSTAINS) else "wrong"


# %% tags=["mutant:verdict"]
# the words of an accepted string may stand anywhere
def verdict(answer, accepted):
    said = re.findall(r"\w+(?:'\w+)*", answer.lower().replace("’", "'"))
    if any(all(word in said for word in option.split()) for option in accepted.split("|")):
        return "right"
    text = " ".join(said)
    return "abstains" if any(phrase in text for phrase in ABSTAINS) else "wrong"


# %% tags=["mutant:verdict"]
# abstaining is looked at first
def verdict(answer, accepted):
    def words(text):
        return " " + " ".join(re.findall(r"\w+(?:'\w+)*", text.lower().replace("’", "'"))) + " "

    said = words(answer)
    if any(words(phrase) in said for phrase in ABSTAINS):
        return "abstains"
    return "right" if any(words(option) in said for option in accepted.split("|")) else "wrong"


# %% tags=["mutant:verdict"]
# only blanks separate words
def verdict(answer, accepted):
    said = f" {' '.join(answer.lower().split())} "
    if any(f" {option} " in said for option in accepted.split("|")):
        return "right"
    return "abstains" if any(f" {phrase} " in said for phrase in ABSTAINS) else "wrong"


# %% tags=["mutant:verdict"]
# abstaining phrases found inside words
def verdict(answer, accepted):
    def words(text):
        return " " + " ".join(re.findall(r"\w+(?:'\w+)*", text.lower().replace("’", "'"))) + " "

    if any(words(option) in words(answer) for option in accepted.split("|")):
        return "right"
    return "abstains" if any(phrase in words(answer) for phrase in ABSTAINS) else "wrong"


# %% tags=["mutant:verdict"]
# the typographic apostrophe cuts the word: "don’t" is "don" and "t"
def verdict(answer, accepted):
    def words(text):
        return " " + " ".join(re.findall(r"\w+(?:'\w+)*", text.lower())) + " "

    said = words(answer)
    if any(words(option) in said for option in accepted.split("|")):
        return "right"
    return "abstains" if any(words(phrase) in said for phrase in ABSTAINS) else "wrong"


# %% tags=["mutant:verdict"]
# a quotation mark around a word belongs to the word
def verdict(answer, accepted):
    def words(text):
        return " " + " ".join(re.findall(r"[\w']+", text.lower().replace("’", "'"))) + " "

    said = words(answer)
    if any(words(option) in said for option in accepted.split("|")):
        return "right"
    return "abstains" if any(words(phrase) in said for phrase in ABSTAINS) else "wrong"


# %% tags=["mutant:consistency"]
# answers are the same only if they are the same text
def consistency(answers, same):
    groups = []
    for answer in answers:
        for group in groups:
            if group[0] == answer:
                group.append(answer)
                break
        else:
            groups.append([answer])
    n, sizes = len(answers), np.array([len(group) for group in groups])
    return {"pairs": float((sizes * (sizes - 1)).sum() / (n * (n - 1))), "entropy": float(-(sizes / n * np.log(sizes / n)).sum()), "answer": groups[int(sizes.argmax())][0]}


# %% tags=["mutant:consistency"]
# an answer is compared with the last member of a group
def consistency(answers, same):
    groups = []
    for answer in answers:
        for group in groups:
            if same(group[-1], answer):
                group.append(answer)
                break
        else:
            groups.append([answer])
    n, sizes = len(answers), np.array([len(group) for group in groups])
    return {"pairs": float((sizes * (sizes - 1)).sum() / (n * (n - 1))), "entropy": float(-(sizes / n * np.log(sizes / n)).sum()), "answer": groups[int(sizes.argmax())][0]}


# %% tags=["mutant:consistency"]
# an answer is compared with all members of a group
def consistency(answers, same):
    groups = []
    for answer in answers:
        for group in groups:
            if any(same(member, answer) for member in group):
                group.append(answer)
                break
        else:
            groups.append([answer])
    n, sizes = len(answers), np.array([len(group) for group in groups])
    return {"pairs": float((sizes * (sizes - 1)).sum() / (n * (n - 1))), "entropy": float(-(sizes / n * np.log(sizes / n)).sum()), "answer": groups[int(sizes.argmax())][0]}


# %% tags=["mutant:consistency"]
# an answer is paired with itself too
def consistency(answers, same):
    groups = []
    for answer in answers:
        for group in groups:
            if same(group[0], answer):
                group.append(answer)
                break
        else:
            groups.append([answer])
    n, sizes = len(answers), np.array([len(group) for group in groups])
    return {"pairs": float((sizes * sizes).sum() / (n * n)), "entropy": float(-(sizes / n * np.log(sizes / n)).sum()), "answer": groups[int(sizes.argmax())][0]}


# %% tags=["mutant:consistency"]
# the share of the largest group, not of the pairs
def consistency(answers, same):
    groups = []
    for answer in answers:
        for group in groups:
            if same(group[0], answer):
                group.append(answer)
                break
        else:
            groups.append([answer])
    n, sizes = len(answers), np.array([len(group) for group in groups])
    return {"pairs": float(sizes.max() / n), "entropy": float(-(sizes / n * np.log(sizes / n)).sum()), "answer": groups[int(sizes.argmax())][0]}


# %% tags=["mutant:consistency"]
# entropy in bits
def consistency(answers, same):
    groups = []
    for answer in answers:
        for group in groups:
            if same(group[0], answer):
                group.append(answer)
                break
        else:
            groups.append([answer])
    n, sizes = len(answers), np.array([len(group) for group in groups])
    return {"pairs": float((sizes * (sizes - 1)).sum() / (n * (n - 1))), "entropy": float(-(sizes / n * np.log2(sizes / n)).sum()), "answer": groups[int(sizes.argmax())][0]}


# %% tags=["mutant:consistency"]
# of equally large groups the last one counts
def consistency(answers, same):
    groups = []
    for answer in answers:
        for group in groups:
            if same(group[0], answer):
                group.append(answer)
                break
        else:
            groups.append([answer])
    n, sizes = len(answers), np.array([len(group) for group in groups])
    return {"pairs": float((sizes * (sizes - 1)).sum() / (n * (n - 1))), "entropy": float(-(sizes / n * np.log(sizes / n)).sum()), "answer": groups[len(groups) - 1 - int(sizes[::-1].argmax())][0]}


# %% tags=["mutant:consistency"]
# the first answer of all, whichever group is the largest
def consistency(answers, same):
    groups = []
    for answer in answers:
        for group in groups:
            if same(group[0], answer):
                group.append(answer)
                break
        else:
            groups.append([answer])
    n, sizes = len(answers), np.array([len(group) for group in groups])
    return {"pairs": float((sizes * (sizes - 1)).sum() / (n * (n - 1))), "entropy": float(-(sizes / n * np.log(sizes / n)).sum()), "answer": answers[0]}


# %% tags=["mutant:reliability"]
# an edge belongs to the bin above
def reliability(confidence, right, bins=10):
    confidence, right = np.asarray(confidence, float), np.asarray(right, bool)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    table, ece = [], 0.0
    for b in range(bins):
        inside = place == b
        if inside.any():
            row = (float(confidence[inside].mean()), float(right[inside].mean()), int(inside.sum()))
            table.append(row)
            ece += row[2] / len(right) * abs(row[1] - row[0])
    return table, ece


# %% tags=["mutant:reliability"]
# bins count alike, however few answers they hold
def reliability(confidence, right, bins=10):
    confidence, right = np.asarray(confidence, float), np.asarray(right, bool)
    place = np.clip(np.ceil(confidence * bins), 1, bins)
    table = []
    for b in range(1, bins + 1):
        inside = place == b
        if inside.any():
            table.append((float(confidence[inside].mean()), float(right[inside].mean()), int(inside.sum())))
    return table, float(np.mean([abs(a - c) for c, a, _ in table]))


# %% tags=["mutant:reliability"]
# the middle of the bin in place of its mean confidence
def reliability(confidence, right, bins=10):
    confidence, right = np.asarray(confidence, float), np.asarray(right, bool)
    place = np.clip(np.ceil(confidence * bins), 1, bins)
    table, ece = [], 0.0
    for b in range(1, bins + 1):
        inside = place == b
        if inside.any():
            row = ((b - 0.5) / bins, float(right[inside].mean()), int(inside.sum()))
            table.append(row)
            ece += row[2] / len(right) * abs(row[1] - row[0])
    return table, ece


# %% tags=["mutant:reliability"]
# gaps with their sign: too sure and too unsure cancel out
def reliability(confidence, right, bins=10):
    confidence, right = np.asarray(confidence, float), np.asarray(right, bool)
    place = np.clip(np.ceil(confidence * bins), 1, bins)
    table, ece = [], 0.0
    for b in range(1, bins + 1):
        inside = place == b
        if inside.any():
            row = (float(confidence[inside].mean()), float(right[inside].mean()), int(inside.sum()))
            table.append(row)
            ece += row[2] / len(right) * (row[1] - row[0])
    return table, abs(ece)


# %% tags=["mutant:risk_coverage"]
# from unsure to sure
def risk_coverage(confidence, right):
    order = np.argsort(np.asarray(confidence, float), kind="stable")
    k = np.arange(1, len(order) + 1)
    return k / len(order), np.cumsum(~np.asarray(right, bool)[order]) / k


# %% tags=["mutant:risk_coverage"]
# the order of equal answers is turned round
def risk_coverage(confidence, right):
    order = np.argsort(np.asarray(confidence, float), kind="stable")[::-1]
    k = np.arange(1, len(order) + 1)
    return k / len(order), np.cumsum(~np.asarray(right, bool)[order]) / k


# %% tags=["mutant:risk_coverage"]
# wrong answers as a share of all questions
def risk_coverage(confidence, right):
    order = np.argsort(-np.asarray(confidence, float), kind="stable")
    k = np.arange(1, len(order) + 1)
    return k / len(order), np.cumsum(~np.asarray(right, bool)[order]) / len(order)


# %% tags=["mutant:risk_coverage"]
# accuracy in place of risk
def risk_coverage(confidence, right):
    order = np.argsort(-np.asarray(confidence, float), kind="stable")
    k = np.arange(1, len(order) + 1)
    return k / len(order), np.cumsum(np.asarray(right, bool)[order]) / k


# %% tags=["mutant:trust"]
# confidence alone
def trust(question, answer, confidence, probability, samples):
    return confidence


# %% tags=["mutant:trust"]
# probability alone
def trust(question, answer, confidence, probability, samples):
    return probability


# %% tags=["mutant:trust"]
# the share of samples with the same text
def trust(question, answer, confidence, probability, samples):
    return sum(sample == answer for sample in samples) / len(samples)


# %% tags=["mutant:trust"]
# the wrong way round: higher is less likely right
def trust(question, answer, confidence, probability, samples):
    same = same_meaning(question)
    return -float(np.mean([same(answer, sample) for sample in samples])) - 0.5 * confidence


# %% tags=["mutant:spotlight"]
# a forger's marks stay in
def spotlight(text, mark="^"):
    return mark.join(text.split())


# %% tags=["mutant:spotlight"]
# marks are removed once: "[[]]" leaves one
def spotlight(text, mark="^"):
    return mark.join(text.replace(mark, "").split())


# %% tags=["mutant:spotlight"]
# only blanks become marks
def spotlight(text, mark="^"):
    while mark in text:
        text = text.replace(mark, "")
    return mark.join(word for word in text.strip().split(" ") if word)


# %% tags=["mutant:spotlight"]
# each blank gives a mark of its own
def spotlight(text, mark="^"):
    while mark in text:
        text = text.replace(mark, "")
    return re.sub(r"\s", mark, text.strip())


# %% tags=["mutant:spotlight"]
# the mark is always ^
def spotlight(text, mark="^"):
    return "^".join(text.replace("^", "").split())


# %% tags=["mutant:spotlight"]
# marks become blanks, so they cut words
def spotlight(text, mark="^"):
    while mark in text:
        text = text.replace(mark, " ")
    return mark.join(text.split())


# %% tags=["mutant:lookup"]
# letters, not words
def lookup(graph, question, hops=1):
    nodes = {node for node in graph if node.lower() in question.lower()}
    edges = list(graph.edges(data="relation"))
    for _ in range(hops - 1):
        nodes |= {end for a, b, _ in edges if a in nodes or b in nodes for end in (a, b)}
    return [f"{a} {relation} {b}." for a, b, relation in edges if a in nodes or b in nodes]


# %% tags=["mutant:lookup"]
# follows edges in their direction only
def lookup(graph, question, hops=1):
    nodes = {node for node in graph if verdict(question, node) == "right"}
    edges = list(graph.edges(data="relation"))
    for _ in range(hops - 1):
        nodes |= {b for a, b, _ in edges if a in nodes}
    return [f"{a} {relation} {b}." for a, b, relation in edges if a in nodes]


# %% tags=["mutant:lookup"]
# one hop, whatever is asked
def lookup(graph, question, hops=1):
    nodes = {node for node in graph if verdict(question, node) == "right"}
    edges = graph.edges(data="relation")
    return [f"{a} {relation} {b}." for a, b, relation in edges if a in nodes or b in nodes]


# %% tags=["mutant:lookup"]
# one hop too many
def lookup(graph, question, hops=1):
    nodes = {node for node in graph if verdict(question, node) == "right"}
    edges = list(graph.edges(data="relation"))
    for _ in range(hops):
        nodes |= {end for a, b, _ in edges if a in nodes or b in nodes for end in (a, b)}
    return [f"{a} {relation} {b}." for a, b, relation in edges if a in nodes or b in nodes]


# %% tags=["mutant:lookup"]
# one fact for each pair of things: the second edge between them is lost
def lookup(graph, question, hops=1):
    nodes = {node for node in graph if verdict(question, node) == "right"}
    edges = list({(a, b): r for a, b, r in graph.edges(data="relation")}.items())
    for _ in range(hops - 1):
        nodes |= {end for (a, b), _ in edges if a in nodes or b in nodes for end in (a, b)}
    return [f"{a} {r} {b}." for (a, b), r in edges if a in nodes or b in nodes]


# %% tags=["mutant:lookup"]
# the facts in the order in which the hops find them
def lookup(graph, question, hops=1):
    nodes = {node for node in graph if verdict(question, node) == "right"}
    found = []
    for _ in range(hops):
        new = [e for e in graph.edges(data="relation") if (e[0] in nodes or e[1] in nodes) and e not in found]
        found += new
        nodes |= {end for a, b, _ in new for end in (a, b)}
    return [f"{a} {relation} {b}." for a, b, relation in found]


# %% tags=["mutant:edit_scores"]
# specificity over all unrelated questions, not over those that were right
def edit_scores(taught, reworded, before, after):
    return {
        "efficacy": float(np.mean(taught)),
        "generalisation": float(np.mean(reworded)),
        "specificity": float(np.mean(after)) if np.any(before) else 1.0,
    }


# %% tags=["mutant:edit_scores"]
# what became right by luck makes up for what was lost
def edit_scores(taught, reworded, before, after):
    return {
        "efficacy": float(np.mean(taught)),
        "generalisation": float(np.mean(reworded)),
        "specificity": float(np.sum(after) / np.sum(before)) if np.any(before) else 1.0,
    }


# %% tags=["mutant:edit_scores"]
# the share of verdicts that did not change: wrong and still wrong counts
def edit_scores(taught, reworded, before, after):
    before, after = np.asarray(before, bool), np.asarray(after, bool)
    return {
        "efficacy": float(np.mean(taught)),
        "generalisation": float(np.mean(reworded)),
        "specificity": float(np.mean(before == after)),
    }


# %% tags=["mutant:edit_scores"]
# nothing was right before: counted as everything lost
def edit_scores(taught, reworded, before, after):
    before, after = np.asarray(before, bool), np.asarray(after, bool)
    return {
        "efficacy": float(np.mean(taught)),
        "generalisation": float(np.mean(reworded)),
        "specificity": float(after[before].mean()) if before.any() else 0.0,
    }


# %% tags=["mutant:edit_scores"]
# taught and reworded questions in one pot
def edit_scores(taught, reworded, before, after):
    before, after = np.asarray(before, bool), np.asarray(after, bool)
    both = float(np.mean([*taught, *reworded]))
    kept = float(after[before].mean()) if before.any() else 1.0
    return {"efficacy": both, "generalisation": both, "specificity": kept}
