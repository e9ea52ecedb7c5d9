# %% tags=["mutant:count_parameters"]
# keys and values as wide as queries, whatever the number of kv heads
def count_parameters(config):
    d = config.hidden_size
    layer = 4 * d * d + 3 * d * config.intermediate_size + 2 * d
    return (2 - config.tie_word_embeddings) * config.vocab_size * d + config.num_hidden_layers * layer + d


# %% tags=["mutant:count_parameters"]
# the output matrix is forgotten when it is not tied
def count_parameters(config):
    d = config.hidden_size
    kv = config.num_key_value_heads * d // config.num_attention_heads
    layer = 2 * d * d + 2 * d * kv + 3 * d * config.intermediate_size + 2 * d
    return config.vocab_size * d + config.num_hidden_layers * layer + d


# %% tags=["mutant:count_parameters"]
# no norms
def count_parameters(config):
    d = config.hidden_size
    kv = config.num_key_value_heads * d // config.num_attention_heads
    layer = 2 * d * d + 2 * d * kv + 3 * d * config.intermediate_size
    return (2 - config.tie_word_embeddings) * config.vocab_size * d + config.num_hidden_layers * layer


# %% tags=["mutant:count_parameters"]
# only key and value follow the kv heads, but with the size of one head taken for all
def count_parameters(config):
    d = config.hidden_size
    layer = 2 * d * d + 2 * d * d // config.num_attention_heads + 3 * d * config.intermediate_size + 2 * d
    return (2 - config.tie_word_embeddings) * config.vocab_size * d + config.num_hidden_layers * layer + d


# %% tags=["mutant:training_flops"]
# 6ND with all parameters
def training_flops(config, tokens, length):
    return 6 * count_parameters(config) * tokens


# %% tags=["mutant:training_flops"]
# attention's scores without the weighted sum
def training_flops(config, tokens, length):
    d = config.hidden_size
    kv = config.num_key_value_heads * d // config.num_attention_heads
    layer = 2 * d * d + 2 * d * kv + 3 * d * config.intermediate_size
    matrices = config.num_hidden_layers * layer + config.vocab_size * d
    return 3 * tokens * (2 * matrices + 2 * config.num_hidden_layers * length * d)


# %% tags=["mutant:training_flops"]
# the backward pass costs as much as the forward pass
def training_flops(config, tokens, length):
    d = config.hidden_size
    kv = config.num_key_value_heads * d // config.num_attention_heads
    layer = 2 * d * d + 2 * d * kv + 3 * d * config.intermediate_size
    matrices = config.num_hidden_layers * layer + config.vocab_size * d
    return 2 * tokens * (2 * matrices + 4 * config.num_hidden_layers * length * d)


# %% tags=["mutant:training_flops"]
# a tied output matrix counted as free, and attention as wide as the kv heads
def training_flops(config, tokens, length):
    d = config.hidden_size
    kv = config.num_key_value_heads * d // config.num_attention_heads
    layer = 2 * d * d + 2 * d * kv + 3 * d * config.intermediate_size
    matrices = config.num_hidden_layers * layer + config.vocab_size * d
    return 3 * tokens * (2 * matrices + 4 * config.num_hidden_layers * length * kv)


# %% tags=["mutant:training_flops"]
# every token attends to all tokens of the training, not of its text
def training_flops(config, tokens, length):
    d = config.hidden_size
    kv = config.num_key_value_heads * d // config.num_attention_heads
    layer = 2 * d * d + 2 * d * kv + 3 * d * config.intermediate_size
    matrices = config.num_hidden_layers * layer + config.vocab_size * d
    return 3 * tokens * (2 * matrices + 4 * config.num_hidden_layers * tokens * d)


# %% tags=["mutant:isoflop_optimum"]
# a parabola in N, not in log N
def isoflop_optimum(parameters, losses, points=5):
    lowest = np.argsort(losses)[:points]
    c2, c1, c0 = np.polyfit(np.asarray(parameters)[lowest], np.asarray(losses)[lowest], 2)
    if c2 <= 0:
        raise ValueError("the parabola has no bottom")
    best = -c1 / (2 * c2)
    return float(best), float(c0 + c1 * best + c2 * best**2)


# %% tags=["mutant:isoflop_optimum"]
# the best run instead of the vertex
def isoflop_optimum(parameters, losses, points=5):
    best = int(np.argmin(losses))
    if best in (0, len(losses) - 1):
        raise ValueError("no bottom")
    return float(parameters[best]), float(losses[best])


# %% tags=["mutant:isoflop_optimum"]
# through all points, however far from the bottom
def isoflop_optimum(parameters, losses, points=5):
    c2, c1, c0 = np.polyfit(np.log(parameters), losses, 2)
    if c2 <= 0:
        raise ValueError("the parabola has no bottom")
    best = -c1 / (2 * c2)
    return float(np.exp(best)), float(c0 + c1 * best + c2 * best**2)


# %% tags=["mutant:isoflop_optimum"]
# a top is taken for a bottom
def isoflop_optimum(parameters, losses, points=5):
    lowest = np.argsort(losses)[:points]
    c2, c1, c0 = np.polyfit(np.log(np.asarray(parameters)[lowest]), np.asarray(losses)[lowest], 2)
    best = -c1 / (2 * c2)
    return float(np.exp(best)), float(c0 + c1 * best + c2 * best**2)


# %% tags=["mutant:isoflop_optimum"]
# the lowest measured loss instead of the parabola's
def isoflop_optimum(parameters, losses, points=5):
    lowest = np.argsort(losses)[:points]
    c2, c1, _ = np.polyfit(np.log(np.asarray(parameters)[lowest]), np.asarray(losses)[lowest], 2)
    if c2 <= 0:
        raise ValueError("the parabola has no bottom")
    return float(np.exp(-c1 / (2 * c2))), float(np.min(losses))


# %% tags=["mutant:isoflop_optimum"]
# always five points
def isoflop_optimum(parameters, losses, points=5):
    lowest = np.argsort(losses)[:5]
    c2, c1, c0 = np.polyfit(np.log(np.asarray(parameters)[lowest]), np.asarray(losses)[lowest], 2)
    if c2 <= 0:
        raise ValueError("the parabola has no bottom")
    best = -c1 / (2 * c2)
    return float(np.exp(best)), float(c0 + c1 * best + c2 * best**2)


# %% tags=["mutant:isoflop_optimum"]
# the sizes are sorted, the losses stay as they were
def isoflop_optimum(parameters, losses, points=5):
    lowest = np.argsort(losses)[:points]
    c2, c1, c0 = np.polyfit(np.log(np.sort(parameters)[: len(lowest)]), np.sort(losses)[:points], 2)
    if c2 <= 0:
        raise ValueError("the parabola has no bottom")
    best = -c1 / (2 * c2)
    return float(np.exp(best)), float(c0 + c1 * best + c2 * best**2)


# %% tags=["mutant:floor_law"]
# floors above the data are not skipped: a comparison with nan is False
def floor_law(x, y, floors):
    best = None
    with np.errstate(all="ignore"):
        for floor in floors:
            try:
                a, b = power_law(x, y - floor)
            except np.linalg.LinAlgError:  # the floor lies above all the data
                a, b = math.nan, math.nan
            error = float(np.sum((y - floor - a * x**-b) ** 2))
            if best is None or error < best[0]:
                best = error, float(floor), a, b
    return best[1:]


# %% tags=["mutant:floor_law"]
# the error is measured in logarithms of y
def floor_law(x, y, floors):
    best = None
    for floor in floors:
        if floor < np.min(y):
            a, b = power_law(x, y - floor)
            error = float(np.sum((np.log(y) - np.log(floor + a * x**-b)) ** 2))
            if best is None or error < best[0]:
                best = error, float(floor), a, b
    return best[1:]


# %% tags=["mutant:floor_law"]
# the error is measured in logarithms of what is above the floor
def floor_law(x, y, floors):
    best = None
    for floor in floors:
        if floor < np.min(y):
            a, b = power_law(x, y - floor)
            error = float(np.sum((np.log(y - floor) - np.log(a * x**-b)) ** 2))
            if best is None or error < best[0]:
                best = error, float(floor), a, b
    return best[1:]


# %% tags=["mutant:floor_law"]
# the highest floor that fits under the data
def floor_law(x, y, floors):
    floor = max(f for f in floors if f < np.min(y))
    return (float(floor), *power_law(x, y - floor))


# %% tags=["mutant:floor_law"]
# the law is fitted to y, the floor only added afterwards
def floor_law(x, y, floors):
    a, b = power_law(x, y)
    errors = [float(np.sum((y - f - a * x**-b) ** 2)) for f in floors]
    return float(floors[int(np.argmin(errors))]), a, b


# %% tags=["mutant:chinchilla_objective"]
# squared error: outliers rule
def chinchilla_objective(theta, N, D, L, delta=1e-3):
    a, b, e, alpha, beta = theta
    predicted = np.logaddexp(np.logaddexp(a - alpha * np.log(N), b - beta * np.log(D)), e)
    return float(((predicted - np.log(L)) ** 2 / 2).sum())


# %% tags=["mutant:chinchilla_objective"]
# the mean over the runs
def chinchilla_objective(theta, N, D, L, delta=1e-3):
    a, b, e, alpha, beta = theta
    predicted = np.logaddexp(np.logaddexp(a - alpha * np.log(N), b - beta * np.log(D)), e)
    r = np.abs(predicted - np.log(L))
    return float(np.where(r <= delta, r**2 / 2, delta * (r - delta / 2)).mean())


# %% tags=["mutant:chinchilla_objective"]
# overflows: exp(900)
def chinchilla_objective(theta, N, D, L, delta=1e-3):
    a, b, e, alpha, beta = theta
    with np.errstate(over="ignore"):
        predicted = np.log(np.exp(a) / N**alpha + np.exp(b) / D**beta + np.exp(e))
    r = np.abs(predicted - np.log(L))
    return float(np.where(r <= delta, r**2 / 2, delta * (r - delta / 2)).sum())


# %% tags=["mutant:chinchilla_objective"]
# delta is not used
def chinchilla_objective(theta, N, D, L, delta=1e-3):
    a, b, e, alpha, beta = theta
    predicted = np.logaddexp(np.logaddexp(a - alpha * np.log(N), b - beta * np.log(D)), e)
    r = np.abs(predicted - np.log(L))
    return float(np.where(r <= 1e-3, r**2 / 2, 1e-3 * (r - 5e-4)).sum())


# %% tags=["mutant:compute_optimal"]
# alpha and beta changed about in the exponents
def compute_optimal(theta, flops):
    A, B, _, alpha, beta = theta
    G = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    return G * (flops / 6) ** (alpha / (alpha + beta)), (flops / 6) ** (beta / (alpha + beta)) / G


# %% tags=["mutant:compute_optimal"]
# C = ND, without the six
def compute_optimal(theta, flops):
    A, B, _, alpha, beta = theta
    G = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    return G * flops ** (beta / (alpha + beta)), flops ** (alpha / (alpha + beta)) / G


# %% tags=["mutant:compute_optimal"]
# both terms made equal instead of their slopes
def compute_optimal(theta, flops):
    A, B, _, alpha, beta = theta
    G = (A / B) ** (1 / (alpha + beta))
    return G * (flops / 6) ** (beta / (alpha + beta)), (flops / 6) ** (alpha / (alpha + beta)) / G


# %% tags=["mutant:answer_scores"]
# the share of right tokens to the power of their number
def answer_scores(logits, labels):
    right = (logits.argmax(-1) == labels).float().mean()
    nats = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    return {"answers": float(right ** labels.shape[1]), "tokens": float(right), "nats": float(nats)}


# %% tags=["mutant:answer_scores"]
# an answer counts if any of its tokens is right
def answer_scores(logits, labels):
    right = logits.argmax(-1) == labels
    nats = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    return {"answers": float(right.any(1).float().mean()), "tokens": float(right.float().mean()), "nats": float(nats)}


# %% tags=["mutant:answer_scores"]
# nats of a whole answer
def answer_scores(logits, labels):
    right = logits.argmax(-1) == labels
    nats = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum") / len(labels)
    return {"answers": float(right.all(1).float().mean()), "tokens": float(right.float().mean()), "nats": float(nats)}


# %% tags=["mutant:forecast"]
# a straight line through the middle run of each price: no floor
def forecast(runs, buy, budget, target):
    middle = [part.sort_values("parameters").index[2] for _, part in runs.groupby("flops")]
    chosen = [i for i in middle if runs["flops"][i] <= budget / 2]
    a, b = power_law(runs["flops"][chosen].to_numpy(), np.array([buy(i) for i in chosen]))
    return a * (6 * target[0] * target[1]) ** -b


# %% tags=["mutant:forecast"]
# the loss of the best run that can be paid
def forecast(runs, buy, budget, target):
    return min(buy(i) for i in runs.index[runs["flops"] == runs["flops"][runs["flops"] <= budget].max()][:1])


# %% tags=["mutant:forecast"]
# everything is bought
def forecast(runs, buy, budget, target):
    losses = np.array([buy(i) for i in runs.index])
    return float(surface(fit_surface(runs["parameters"], runs["tokens"], losses, FEW), *target))


# %% tags=["mutant:forecast"]
# the cheapest runs only, then a line through their losses and sizes
def forecast(runs, buy, budget, target):
    cheap = runs.nsmallest(10, "flops")
    a, b = power_law(cheap["parameters"].to_numpy(), np.array([buy(i) for i in cheap.index]))
    return a * target[0] ** -b


# %% tags=["mutant:answer_scores"]
# an answer is judged by its last token
def answer_scores(logits, labels):
    right = logits.argmax(-1) == labels
    nats = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    return {"answers": float(right[:, -1].float().mean()), "tokens": float(right.float().mean()), "nats": float(nats)}
