# %% tags=["mutant:adapter_size"]
# any layer whose path contains the name
def adapter_size(model, targets, rank):
    trained = sum(
        rank * (module.in_features + module.out_features)
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and any(target in path for target in targets)
    )
    return {"trained": trained, "share": trained / sum(p.numel() for p in model.parameters())}


# %% tags=["mutant:adapter_size"]
# twice the larger side: as if every matrix were square
def adapter_size(model, targets, rank):
    trained = sum(
        2 * rank * max(module.in_features, module.out_features)
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and path.split(".")[-1] in targets
    )
    return {"trained": trained, "share": trained / sum(p.numel() for p in model.parameters())}


# %% tags=["mutant:adapter_size"]
# the share of the adapted model, adapters counted in
def adapter_size(model, targets, rank):
    trained = sum(
        rank * (module.in_features + module.out_features)
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and path.split(".")[-1] in targets
    )
    return {"trained": trained, "share": trained / (trained + sum(p.numel() for p in model.parameters()))}


# %% tags=["mutant:adapter_size"]
# a tied weight counted twice
def adapter_size(model, targets, rank):
    linears = [m for p, m in model.named_modules() if isinstance(m, nn.Linear) and p.split(".")[-1] in targets]
    trained = sum(rank * (m.in_features + m.out_features) for m in linears)
    return {"trained": trained, "share": trained / sum(v.numel() for v in model.state_dict().values())}


# %% tags=["mutant:lora_linear"]
# no scaling
class LoRALinear(nn.Module):
    def __init__(self, base, r, alpha, dropout=0.0):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A = nn.Parameter(torch.randn(r, base.in_features) * base.in_features**-0.5)
        self.B = nn.Parameter(torch.zeros(base.out_features, r))
        self.scaling, self.dropout = alpha / r, nn.Dropout(dropout)

    def forward(self, x):
        return self.base(x) + self.dropout(x) @ self.A.T @ self.B.T


# %% tags=["mutant:lora_linear"]
# scaled by alpha alone
class LoRALinear(nn.Module):
    def __init__(self, base, r, alpha, dropout=0.0):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A = nn.Parameter(torch.randn(r, base.in_features) * base.in_features**-0.5)
        self.B = nn.Parameter(torch.zeros(base.out_features, r))
        self.scaling, self.dropout = alpha, nn.Dropout(dropout)

    def forward(self, x):
        return self.base(x) + self.scaling * (self.dropout(x) @ self.A.T @ self.B.T)


# %% tags=["mutant:lora_linear"]
# A begins at zero too
class LoRALinear(nn.Module):
    def __init__(self, base, r, alpha, dropout=0.0):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A = nn.Parameter(torch.zeros(r, base.in_features))
        self.B = nn.Parameter(torch.zeros(base.out_features, r))
        self.scaling, self.dropout = alpha / r, nn.Dropout(dropout)

    def forward(self, x):
        return self.base(x) + self.scaling * (self.dropout(x) @ self.A.T @ self.B.T)


# %% tags=["mutant:lora_linear"]
# the base is not frozen
class LoRALinear(nn.Module):
    def __init__(self, base, r, alpha, dropout=0.0):
        super().__init__()
        self.base = base
        self.A = nn.Parameter(torch.randn(r, base.in_features) * base.in_features**-0.5)
        self.B = nn.Parameter(torch.zeros(base.out_features, r))
        self.scaling, self.dropout = alpha / r, nn.Dropout(dropout)

    def forward(self, x):
        return self.base(x) + self.scaling * (self.dropout(x) @ self.A.T @ self.B.T)


# %% tags=["mutant:lora_linear"]
# dropout on the input of the frozen layer too
class LoRALinear(nn.Module):
    def __init__(self, base, r, alpha, dropout=0.0):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A = nn.Parameter(torch.randn(r, base.in_features) * base.in_features**-0.5)
        self.B = nn.Parameter(torch.zeros(base.out_features, r))
        self.scaling, self.dropout = alpha / r, nn.Dropout(dropout)

    def forward(self, x):
        x = self.dropout(x)
        return self.base(x) + self.scaling * (x @ self.A.T @ self.B.T)


# %% tags=["mutant:lora_linear"]
# dropout on what comes out of B
class LoRALinear(nn.Module):
    def __init__(self, base, r, alpha, dropout=0.0):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A = nn.Parameter(torch.randn(r, base.in_features) * base.in_features**-0.5)
        self.B = nn.Parameter(torch.zeros(base.out_features, r))
        self.scaling, self.dropout = alpha / r, nn.Dropout(dropout)

    def forward(self, x):
        return self.base(x) + self.scaling * self.dropout(x @ self.A.T @ self.B.T)


# %% tags=["mutant:lora_linear"]
# the spread of A divided by the rank, not by the root of the inputs
class LoRALinear(nn.Module):
    def __init__(self, base, r, alpha, dropout=0.0):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A = nn.Parameter(torch.randn(r, base.in_features) / r)
        self.B = nn.Parameter(torch.zeros(base.out_features, r))
        self.scaling, self.dropout = alpha / r, nn.Dropout(dropout)

    def forward(self, x):
        return self.base(x) + self.scaling * (self.dropout(x) @ self.A.T @ self.B.T)


# %% tags=["mutant:inject"]
# names that contain a target count as targets
def inject(model, targets, wrap):
    model.requires_grad_(False)
    paths = [
        path
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and any(target in path.split(".")[-1] for target in targets)
    ]
    for path in paths:
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, wrap(model.get_submodule(path)))
    return paths


# %% tags=["mutant:inject"]
# a target anywhere in the path counts
def inject(model, targets, wrap):
    model.requires_grad_(False)
    paths = [
        path
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and any(target in path for target in targets)
    ]
    for path in paths:
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, wrap(model.get_submodule(path)))
    return paths


# %% tags=["mutant:inject"]
# frozen afterwards, adapters and all
def inject(model, targets, wrap):
    paths = [
        path
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and path.split(".")[-1] in targets
    ]
    for path in paths:
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, wrap(model.get_submodule(path)))
    model.requires_grad_(False)
    return paths


# %% tags=["mutant:inject"]
# only the wrapped layers are frozen
def inject(model, targets, wrap):
    paths = [
        path
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and path.split(".")[-1] in targets
    ]
    for path in paths:
        parent, _, name = path.rpartition(".")
        layer = model.get_submodule(path).requires_grad_(False)
        setattr(model.get_submodule(parent), name, wrap(layer))
    return paths


# %% tags=["mutant:inject"]
# whatever has the name is wrapped, linear or not
def inject(model, targets, wrap):
    model.requires_grad_(False)
    paths = [path for path, module in model.named_modules() if path.split(".")[-1] in targets]
    for path in paths:
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, wrap(model.get_submodule(path)))
    return paths


# %% tags=["mutant:inject"]
# a copy is wrapped, the model stays as it was
def inject(model, targets, wrap):
    model.requires_grad_(False)
    model = copy.deepcopy(model)
    paths = [
        path
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and path.split(".")[-1] in targets
    ]
    for path in paths:
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, wrap(model.get_submodule(path)))
    return paths


# %% tags=["mutant:merge"]
# no scaling
def merge(base, A, B, scaling):
    merged = copy.deepcopy(base)
    with torch.no_grad():
        merged.weight += (B @ A).to(base.weight.dtype)
    return merged


# %% tags=["mutant:merge"]
# added to the base itself
def merge(base, A, B, scaling):
    with torch.no_grad():
        base.weight += (scaling * (B @ A)).to(base.weight.dtype)
    return base


# %% tags=["mutant:merge"]
# the bias is lost
def merge(base, A, B, scaling):
    merged = nn.Linear(base.in_features, base.out_features, bias=False, dtype=base.weight.dtype)
    with torch.no_grad():
        merged.weight.copy_(base.weight + scaling * (B @ A))
    return merged


# %% tags=["mutant:merge"]
# a new parameter for the bias, in the memory of the base's
def merge(base, A, B, scaling):
    merged = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None, dtype=base.weight.dtype)
    with torch.no_grad():
        merged.weight.copy_(base.weight + scaling * (B @ A))
    if base.bias is not None:
        merged.bias = nn.Parameter(base.bias.data)
    return merged


# %% tags=["mutant:merge"]
# a bias shared with the base, or made where there was none
def merge(base, A, B, scaling):
    merged = nn.Linear(base.in_features, base.out_features, dtype=base.weight.dtype)
    with torch.no_grad():
        merged.weight.copy_(base.weight + scaling * (B @ A))
    if base.bias is not None:
        merged.bias = base.bias
    return merged


# %% tags=["mutant:merge"]
# the bias is base's own, not a copy
def merge(base, A, B, scaling):
    merged = nn.Linear(base.in_features, base.out_features, bias=False, dtype=base.weight.dtype)
    with torch.no_grad():
        merged.weight.copy_(base.weight + scaling * (B @ A))
    merged.bias = base.bias
    return merged


# %% tags=["mutant:merge"]
# the sum is left in float32
def merge(base, A, B, scaling):
    merged = copy.deepcopy(base)
    merged.weight = nn.Parameter((base.weight.float() + scaling * (B @ A)).detach())
    return merged


# %% tags=["mutant:extract_lora"]
# singular values on both sides
def extract_lora(delta, rank):
    U, S, Vh = torch.linalg.svd(delta, full_matrices=False)
    return S[:rank, None] * Vh[:rank], U[:, :rank] * S[:rank], float(S[:rank].square().sum() / S.square().sum())


# %% tags=["mutant:extract_lora"]
# the share of the singular values, not of their squares
def extract_lora(delta, rank):
    U, S, Vh = torch.linalg.svd(delta, full_matrices=False)
    return Vh[:rank], U[:, :rank] * S[:rank], float(S[:rank].sum() / S.sum())


# %% tags=["mutant:extract_lora"]
# 0/0 for a change that is all zero
def extract_lora(delta, rank):
    U, S, Vh = torch.linalg.svd(delta, full_matrices=False)
    return Vh[:rank], U[:, :rank] * S[:rank], float(S[:rank].square().sum() / S.square().sum())


# %% tags=["mutant:extract_lora"]
# the last directions instead of the first
def extract_lora(delta, rank):
    U, S, Vh = torch.linalg.svd(delta, full_matrices=False)
    return Vh[-rank:], U[:, -rank:] * S[-rank:], float(S[-rank:].square().sum() / S.square().sum())


# %% tags=["mutant:extract_lora"]
# columns of V taken for its rows
def extract_lora(delta, rank):
    U, S, Vh = torch.linalg.svd(delta, full_matrices=False)
    return Vh[:, :rank].T, U[:, :rank] * S[:rank], float(S[:rank].square().sum() / S.square().sum())


# %% tags=["mutant:memory_bytes"]
# every value that the optimizer keeps taken for a tensor
def memory_bytes(model, optimizer):
    def size(tensors):
        return sum(t.numel() * t.element_size() for t in tensors)

    parameters = list(model.parameters())
    return {
        "frozen": size(p for p in parameters if not p.requires_grad),
        "trained": size(p for p in parameters if p.requires_grad),
        "gradients": size(p.grad for p in parameters if p.grad is not None),
        "optimizer": size(value for state in optimizer.state.values() for value in state.values()),
    }


# %% tags=["mutant:memory_bytes"]
# four bytes for every number
def memory_bytes(model, optimizer):
    kept = [v for state in optimizer.state.values() for v in state.values() if isinstance(v, torch.Tensor)]
    return {
        "frozen": sum(4 * p.numel() for p in model.parameters() if not p.requires_grad),
        "trained": sum(4 * p.numel() for p in model.parameters() if p.requires_grad),
        "gradients": sum(4 * p.numel() for p in model.parameters() if p.grad is not None),
        "optimizer": sum(4 * v.numel() for v in kept),
    }


# %% tags=["mutant:memory_bytes"]
# Adam's two averages taken for granted
def memory_bytes(model, optimizer):
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    return {
        "frozen": sum(p.numel() * p.element_size() for p in model.parameters() if not p.requires_grad),
        "trained": trained,
        "gradients": sum(p.grad.numel() * p.grad.element_size() for p in model.parameters() if p.grad is not None),
        "optimizer": 2 * trained if optimizer.state else 0,
    }


# %% tags=["mutant:memory_bytes"]
# gradients of everything that could have one
def memory_bytes(model, optimizer):
    kept = [v for state in optimizer.state.values() for v in state.values() if isinstance(v, torch.Tensor)]
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    return {
        "frozen": sum(p.numel() * p.element_size() for p in model.parameters() if not p.requires_grad),
        "trained": trained,
        "gradients": trained,
        "optimizer": sum(v.numel() * v.element_size() for v in kept),
    }


# %% tags=["mutant:memory_bytes"]
# a shared weight once for each module that has it
def memory_bytes(model, optimizer):
    parameters = [p for module in model.modules() for p in module.parameters(recurse=False)]
    kept = [v for state in optimizer.state.values() for v in state.values() if isinstance(v, torch.Tensor)]
    return {
        "frozen": sum(p.numel() * p.element_size() for p in parameters if not p.requires_grad),
        "trained": sum(p.numel() * p.element_size() for p in parameters if p.requires_grad),
        "gradients": sum(p.grad.numel() * p.grad.element_size() for p in parameters if p.grad is not None),
        "optimizer": sum(v.numel() * v.element_size() for v in kept),
    }


# %% tags=["mutant:save_adapter"]
# matrices as they are: safetensors refuses those that share memory or are not contiguous
def save_adapter(folder, adapters, alpha, base_name):
    r = next(iter(adapters.values()))[0].shape[0]
    settings = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": r, "lora_alpha": alpha, "lora_dropout": 0.0}
    settings |= {"bias": "none", "target_modules": sorted(adapters), "base_model_name_or_path": base_name}
    settings["inference_mode"] = True
    Path(folder, "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    pairs = {f"base_model.model.{path}.lora_": pair for path, pair in adapters.items()}
    save_file({f"{name}{letter}.weight": pair["AB".index(letter)].detach() for name, pair in pairs.items() for letter in "AB"}, Path(folder, "adapter_model.safetensors"))


# %% tags=["mutant:save_adapter"]
# the scaling written where alpha belongs
def save_adapter(folder, adapters, alpha, base_name):
    r = next(iter(adapters.values()))[0].shape[0]
    settings = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": r, "lora_alpha": alpha / r, "lora_dropout": 0.0}
    settings |= {"bias": "none", "target_modules": sorted(adapters), "base_model_name_or_path": base_name}
    settings["inference_mode"] = True
    Path(folder, "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    tensors = {
        f"base_model.model.{path}.lora_{letter}.weight": matrix.detach().clone().contiguous()
        for path, pair in adapters.items()
        for letter, matrix in zip("AB", pair, strict=True)
    }
    save_file(tensors, Path(folder, "adapter_model.safetensors"))


# %% tags=["mutant:save_adapter"]
# the names that a trained PeftModel has in memory, with the adapter's name in them
def save_adapter(folder, adapters, alpha, base_name):
    r = next(iter(adapters.values()))[0].shape[0]
    settings = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": r, "lora_alpha": alpha, "lora_dropout": 0.0}
    settings |= {"bias": "none", "target_modules": sorted(adapters), "base_model_name_or_path": base_name}
    settings["inference_mode"] = True
    Path(folder, "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    tensors = {
        f"base_model.model.{path}.lora_{letter}.default.weight": matrix.detach().clone().contiguous()
        for path, pair in adapters.items()
        for letter, matrix in zip("AB", pair, strict=True)
    }
    save_file(tensors, Path(folder, "adapter_model.safetensors"))


# %% tags=["mutant:save_adapter"]
# only the last parts of the paths as targets: PEFT then adapts more layers than were saved
def save_adapter(folder, adapters, alpha, base_name):
    r = next(iter(adapters.values()))[0].shape[0]
    settings = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": r, "lora_alpha": alpha, "lora_dropout": 0.0}
    settings |= {"bias": "none", "target_modules": sorted({path.split(".")[-1] for path in adapters})}
    settings |= {"base_model_name_or_path": base_name, "inference_mode": True}
    Path(folder, "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    tensors = {
        f"base_model.model.{path}.lora_{letter}.weight": matrix.detach().clone().contiguous()
        for path, pair in adapters.items()
        for letter, matrix in zip("AB", pair, strict=True)
    }
    save_file(tensors, Path(folder, "adapter_model.safetensors"))


# %% tags=["mutant:save_adapter"]
# A and B exchanged
def save_adapter(folder, adapters, alpha, base_name):
    r = next(iter(adapters.values()))[0].shape[0]
    settings = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": r, "lora_alpha": alpha, "lora_dropout": 0.0}
    settings |= {"bias": "none", "target_modules": sorted(adapters), "base_model_name_or_path": base_name}
    settings["inference_mode"] = True
    Path(folder, "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    tensors = {
        f"base_model.model.{path}.lora_{letter}.weight": matrix.detach().clone().contiguous()
        for path, pair in adapters.items()
        for letter, matrix in zip("BA", pair, strict=True)
    }
    save_file(tensors, Path(folder, "adapter_model.safetensors"))


# %% tags=["mutant:share_ranks"]
# the same rank for every matrix
def share_ranks(deltas, budget):
    rank = budget // sum(sum(delta.shape) for delta in deltas.values())
    return {name: min(rank, *delta.shape) for name, delta in deltas.items()}


# %% tags=["mutant:share_ranks"]
# the largest squares first, whatever they cost
def share_ranks(deltas, budget):
    items = [(float(s) ** 2, name) for name, delta in deltas.items() for s in torch.linalg.svdvals(delta)]
    ranks = dict.fromkeys(deltas, 0)
    for _, name in sorted(items, reverse=True):
        if sum(deltas[name].shape) <= budget:
            ranks[name] += 1
            budget -= sum(deltas[name].shape)
    return ranks


# %% tags=["mutant:share_ranks"]
# singular values for each parameter, not their squares
def share_ranks(deltas, budget):
    items = [(float(s) / sum(delta.shape), name) for name, delta in deltas.items() for s in torch.linalg.svdvals(delta)]
    ranks = dict.fromkeys(deltas, 0)
    for _, name in sorted(items, reverse=True):
        if sum(deltas[name].shape) <= budget:
            ranks[name] += 1
            budget -= sum(deltas[name].shape)
    return ranks


# %% tags=["mutant:share_ranks"]
# each matrix as a share of its own squares, so that a small change counts like a large one
def share_ranks(deltas, budget):
    items = []
    for name, delta in deltas.items():
        squares = torch.linalg.svdvals(delta).square()
        items += [(float(s) / sum(delta.shape), name) for s in squares / squares.sum()]
    ranks = dict.fromkeys(deltas, 0)
    for _, name in sorted(items, reverse=True):
        if sum(deltas[name].shape) <= budget:
            ranks[name] += 1
            budget -= sum(deltas[name].shape)
    return ranks


# %% tags=["mutant:share_ranks"]
# one direction too many: the budget is looked at after buying
def share_ranks(deltas, budget):
    items = [(float(s) ** 2 / sum(d.shape), name) for name, d in deltas.items() for s in torch.linalg.svdvals(d)]
    ranks = dict.fromkeys(deltas, 0)
    for _, name in sorted(items, reverse=True):
        if budget > 0:
            ranks[name] += 1
            budget -= sum(deltas[name].shape)
    return ranks


# %% tags=["mutant:forgetting_gap"]
# at equal learning rates: the first's rate for both
def forgetting_gap(runs, first, second, target, tolerance=0.02):
    own = runs[runs["method"] == first]
    accuracy = own.groupby("learning_rate")["accuracy"].mean()
    near = accuracy[(accuracy - target).abs() <= tolerance]
    if near.empty:
        return None
    rate = float(near.index.min())
    part = runs[runs["learning_rate"] == rate].pivot_table(index="seed", columns="method", values="forgotten_nats")
    if second not in part:
        return None
    part = part[[first, second]].dropna()
    gap, low, high = scoring.paired(part[first], part[second])
    return {"rates": [rate, rate], "gap": gap, "low": low, "high": high}


# %% tags=["mutant:forgetting_gap"]
# each method at its highest accuracy, whatever the target
def forgetting_gap(runs, first, second, target, tolerance=0.02):
    rates, forgotten = [], []
    for method in (first, second):
        own = runs[runs["method"] == method]
        rates.append(float(own.groupby("learning_rate")["accuracy"].mean().idxmax()))
        forgotten.append(own[own["learning_rate"] == rates[-1]].set_index("seed")["forgotten_nats"])
    a, b = forgotten[0].align(forgotten[1], join="inner")
    gap, low, high = scoring.paired(a, b)
    return {"rates": rates, "gap": gap, "low": low, "high": high}


# %% tags=["mutant:forgetting_gap"]
# the nearest rate, however far from the target it is
def forgetting_gap(runs, first, second, target, tolerance=0.02):
    rates, forgotten = [], []
    for method in (first, second):
        own = runs[runs["method"] == method]
        means = own.groupby("learning_rate")["accuracy"].mean()
        rates.append(float((means - target).abs().idxmin()))
        forgotten.append(own[own["learning_rate"] == rates[-1]].set_index("seed")["forgotten_nats"])
    a, b = forgotten[0].align(forgotten[1], join="inner")
    gap, low, high = scoring.paired(a, b)
    return {"rates": rates, "gap": gap, "low": low, "high": high}


# %% tags=["mutant:forgetting_gap"]
# the nearest of the matching rates, not the lowest
def forgetting_gap(runs, first, second, target, tolerance=0.02):
    rates, forgotten = [], []
    for method in (first, second):
        own = runs[runs["method"] == method]
        apart = (own.groupby("learning_rate")["accuracy"].mean() - target).abs()
        if apart.min() > tolerance:
            return None
        rates.append(float(apart.idxmin()))
        forgotten.append(own[own["learning_rate"] == rates[-1]].set_index("seed")["forgotten_nats"])
    a, b = forgotten[0].align(forgotten[1], join="inner")
    gap, low, high = scoring.paired(a, b)
    return {"rates": rates, "gap": gap, "low": low, "high": high}


# %% tags=["mutant:forgetting_gap"]
# the target is a least accuracy: a method that learnt more counts, too
def forgetting_gap(runs, first, second, target, tolerance=0.02):
    rates, forgotten = [], []
    for method in (first, second):
        own = runs[runs["method"] == method]
        accuracy = own.groupby("learning_rate")["accuracy"].mean()
        near = accuracy[accuracy >= target - tolerance]
        if near.empty:
            return None
        rates.append(float(near.index.min()))
        forgotten.append(own[own["learning_rate"] == rates[-1]].set_index("seed")["forgotten_nats"])
    a, b = forgotten[0].align(forgotten[1], join="inner")
    gap, low, high = scoring.paired(a, b)
    return {"rates": rates, "gap": gap, "low": low, "high": high}


# %% tags=["mutant:forgetting_gap"]
# another rate for each seed: the runs that happen to be near the target
def forgetting_gap(runs, first, second, target, tolerance=0.02):
    near = runs[(runs["accuracy"] - target).abs() <= tolerance].sort_values("learning_rate")
    rates, forgotten = [], []
    for method in (first, second):
        own = near[near["method"] == method].drop_duplicates("seed")
        if own.empty:
            return None
        rates.append(float(own["learning_rate"].iloc[0]))
        forgotten.append(own.set_index("seed")["forgotten_nats"])
    a, b = forgotten[0].align(forgotten[1], join="inner")
    gap, low, high = scoring.paired(a, b)
    return {"rates": rates, "gap": gap, "low": low, "high": high}


# %% tags=["mutant:forgetting_gap"]
# the seeds' pairs taken apart: the interval of two independent means
def forgetting_gap(runs, first, second, target, tolerance=0.02):
    rates, forgotten = [], []
    for method in (first, second):
        own = runs[runs["method"] == method]
        accuracy = own.groupby("learning_rate")["accuracy"].mean()
        near = accuracy[(accuracy - target).abs() <= tolerance]
        if near.empty:
            return None
        rates.append(float(near.index.min()))
        forgotten.append(own[own["learning_rate"] == rates[-1]].set_index("seed")["forgotten_nats"])
    a, b = forgotten[0].align(forgotten[1], join="inner")
    (mean_a, low_a, _), (mean_b, low_b, _) = scoring.mean(a), scoring.mean(b)
    half = float(np.hypot(mean_a - low_a, mean_b - low_b))
    return {"rates": rates, "gap": mean_a - mean_b, "low": mean_a - mean_b - half, "high": mean_a - mean_b + half}


# %% tags=["mutant:forgetting_gap"]
# runs paired by their place in the table, whatever their seeds
def forgetting_gap(runs, first, second, target, tolerance=0.02):
    rates, forgotten = [], []
    for method in (first, second):
        own = runs[runs["method"] == method]
        accuracy = own.groupby("learning_rate")["accuracy"].mean()
        near = accuracy[(accuracy - target).abs() <= tolerance]
        if near.empty:
            return None
        rates.append(float(near.index.min()))
        forgotten.append(own[own["learning_rate"] == rates[-1]]["forgotten_nats"].to_numpy())
    size = min(map(len, forgotten))
    gap, low, high = scoring.paired(forgotten[0][:size], forgotten[1][:size])
    return {"rates": rates, "gap": gap, "low": low, "high": high}


# %% tags=["mutant:forgetting_gap"]
# seeds that only one method has are left in the means
def forgetting_gap(runs, first, second, target, tolerance=0.02):
    rates, forgotten = [], []
    for method in (first, second):
        own = runs[runs["method"] == method]
        accuracy = own.groupby("learning_rate")["accuracy"].mean()
        near = accuracy[(accuracy - target).abs() <= tolerance]
        if near.empty:
            return None
        rates.append(float(near.index.min()))
        forgotten.append(own[own["learning_rate"] == rates[-1]].set_index("seed")["forgotten_nats"])
    a, b = forgotten[0].align(forgotten[1], join="inner")
    _, low, high = scoring.paired(a, b)
    return {"rates": rates, "gap": forgotten[0].mean() - forgotten[1].mean(), "low": low, "high": high}


# %% tags=["mutant:forgetting_gap"]
# second minus first
def forgetting_gap(runs, first, second, target, tolerance=0.02):
    rates, forgotten = [], []
    for method in (first, second):
        own = runs[runs["method"] == method]
        accuracy = own.groupby("learning_rate")["accuracy"].mean()
        near = accuracy[(accuracy - target).abs() <= tolerance]
        if near.empty:
            return None
        rates.append(float(near.index.min()))
        forgotten.append(own[own["learning_rate"] == rates[-1]].set_index("seed")["forgotten_nats"])
    a, b = forgotten[0].align(forgotten[1], join="inner")
    gap, low, high = scoring.paired(b, a)
    return {"rates": rates, "gap": gap, "low": low, "high": high}


# %% tags=["mutant:forgetting_gap"]
# an interval with 1.96, as if there were many seeds
def forgetting_gap(runs, first, second, target, tolerance=0.02):
    rates, forgotten = [], []
    for method in (first, second):
        own = runs[runs["method"] == method]
        accuracy = own.groupby("learning_rate")["accuracy"].mean()
        near = accuracy[(accuracy - target).abs() <= tolerance]
        if near.empty:
            return None
        rates.append(float(near.index.min()))
        forgotten.append(own[own["learning_rate"] == rates[-1]].set_index("seed")["forgotten_nats"])
    a, b = forgotten[0].align(forgotten[1], join="inner")
    gap, half = float((a - b).mean()), 1.96 * float((a - b).std()) / len(a) ** 0.5
    return {"rates": rates, "gap": gap, "low": gap - half, "high": gap + half}


# %% tags=["mutant:forgetting_gap"]
# of the matching rates the one that forgets least: chosen by what is compared
def forgetting_gap(runs, first, second, target, tolerance=0.02):
    rates, forgotten = [], []
    for method in (first, second):
        own = runs[runs["method"] == method]
        means = own.groupby("learning_rate")[["accuracy", "forgotten_nats"]].mean()
        near = means[(means["accuracy"] - target).abs() <= tolerance]
        if near.empty:
            return None
        rates.append(float(near["forgotten_nats"].idxmin()))
        forgotten.append(own[own["learning_rate"] == rates[-1]].set_index("seed")["forgotten_nats"])
    a, b = forgotten[0].align(forgotten[1], join="inner")
    gap, low, high = scoring.paired(a, b)
    return {"rates": rates, "gap": gap, "low": low, "high": high}
