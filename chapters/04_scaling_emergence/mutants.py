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
# 6ND with all weights
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
# the backward pass as dear as the forward pass
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


# %% tags=["mutant:isoflop_optimum"]
# a parabola in N, not in log N
def isoflop_optimum(parameters, losses, points=4):
    lowest = np.argsort(losses)[:points]
    c2, c1, c0 = np.polyfit(np.asarray(parameters)[lowest], np.asarray(losses)[lowest], 2)
    if c2 <= 0:
        raise ValueError("the parabola has no bottom")
    best = -c1 / (2 * c2)
    return float(best), float(c0 + c1 * best + c2 * best**2)


# %% tags=["mutant:isoflop_optimum"]
# the best run instead of the vertex
def isoflop_optimum(parameters, losses, points=4):
    best = int(np.argmin(losses))
    if best in (0, len(losses) - 1):
        raise ValueError("no bottom")
    return float(parameters[best]), float(losses[best])


# %% tags=["mutant:isoflop_optimum"]
# through all points, however far from the bottom
def isoflop_optimum(parameters, losses, points=4):
    c2, c1, c0 = np.polyfit(np.log(parameters), losses, 2)
    if c2 <= 0:
        raise ValueError("the parabola has no bottom")
    best = -c1 / (2 * c2)
    return float(np.exp(best)), float(c0 + c1 * best + c2 * best**2)


# %% tags=["mutant:isoflop_optimum"]
# a top is taken for a bottom
def isoflop_optimum(parameters, losses, points=4):
    lowest = np.argsort(losses)[:points]
    c2, c1, c0 = np.polyfit(np.log(np.asarray(parameters)[lowest]), np.asarray(losses)[lowest], 2)
    best = -c1 / (2 * c2)
    return float(np.exp(best)), float(c0 + c1 * best + c2 * best**2)


# %% tags=["mutant:power_law"]
# the sign of the slope
def power_law(x, y):
    slope, intercept = np.polyfit(np.log(x), np.log(y), 1)
    return float(np.exp(intercept)), float(slope)


# %% tags=["mutant:power_law"]
# log a instead of a
def power_law(x, y):
    slope, intercept = np.polyfit(np.log(x), np.log(y), 1)
    return float(intercept), float(-slope)


# %% tags=["mutant:power_law"]
# a line through the first and the last point
def power_law(x, y):
    b = -float(np.log(y[-1] / y[0]) / np.log(x[-1] / x[0]))
    return float(y[0] * x[0] ** b), b


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
