# %% tags=["mutant:rms_norm"]
# LayerNorm: the mean is taken off
def rms_norm(x, weight, eps):
    wide = x.float() - x.float().mean(-1, keepdim=True)
    return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype)


# %% tags=["mutant:rms_norm"]
# computed in the input's own precision
def rms_norm(x, weight, eps):
    return weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)


# %% tags=["mutant:rms_norm"]
# eps is added to the root, not under it
def rms_norm(x, weight, eps):
    wide = x.float()
    return weight * (wide / (wide.pow(2).mean(-1, keepdim=True).sqrt() + eps)).to(x.dtype)


# %% tags=["mutant:rms_norm"]
# the sum of squares, not the mean
def rms_norm(x, weight, eps):
    wide = x.float()
    return weight * (wide * torch.rsqrt(wide.pow(2).sum(-1, keepdim=True) + eps)).to(x.dtype)


# %% tags=["mutant:rms_norm"]
# the result stays in float32
def rms_norm(x, weight, eps):
    wide = x.float()
    return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps))


# %% tags=["mutant:rope"]
# neighbours are paired, as in Meta's own code
def rope(x, start, theta):
    d = x.shape[-1]
    frequencies = 1.0 / theta ** (torch.arange(0, d, 2).float() / d)
    angles = torch.arange(start, start + x.shape[-2]).float()[:, None] * frequencies
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2)


# %% tags=["mutant:rope"]
# every text begins at position 0
def rope(x, start, theta):
    d = x.shape[-1]
    frequencies = 1.0 / theta ** (torch.arange(0, d, 2).float() / d)
    angles = torch.arange(x.shape[-2]).float()[:, None] * frequencies
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x[..., : d // 2], x[..., d // 2 :]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


# %% tags=["mutant:rope"]
# turned the other way round
def rope(x, start, theta):
    d = x.shape[-1]
    frequencies = 1.0 / theta ** (torch.arange(0, d, 2).float() / d)
    angles = torch.arange(start, start + x.shape[-2]).float()[:, None] * frequencies
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x[..., : d // 2], x[..., d // 2 :]
    return torch.cat([a * cos + b * sin, b * cos - a * sin], -1)


# %% tags=["mutant:rope"]
# the exponent is i/d instead of 2i/d
def rope(x, start, theta):
    d = x.shape[-1]
    frequencies = 1.0 / theta ** (torch.arange(d // 2).float() / d)
    angles = torch.arange(start, start + x.shape[-2]).float()[:, None] * frequencies
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x[..., : d // 2], x[..., d // 2 :]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


# %% tags=["mutant:rope"]
# angles in the input's dtype, which has too few digits for them
def rope(x, start, theta):
    d = x.shape[-1]
    frequencies = 1.0 / theta ** (torch.arange(0, d, 2).to(x.dtype) / d)
    angles = torch.arange(start, start + x.shape[-2]).to(x.dtype)[:, None] * frequencies
    cos, sin = angles.float().cos(), angles.float().sin()
    a, b = x[..., : d // 2], x[..., d // 2 :]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


# %% tags=["mutant:swiglu"]
# the other branch is activated
def swiglu(x, gate, up, down):
    return F.linear(F.linear(x, gate) * F.silu(F.linear(x, up)), down)


# %% tags=["mutant:swiglu"]
# a sigmoid gate (GLU)
def swiglu(x, gate, up, down):
    return F.linear(torch.sigmoid(F.linear(x, gate)) * F.linear(x, up), down)


# %% tags=["mutant:swiglu"]
# GELU instead of SiLU
def swiglu(x, gate, up, down):
    return F.linear(F.gelu(F.linear(x, gate)) * F.linear(x, up), down)


# %% tags=["mutant:swiglu"]
# no gate: the old feed-forward network
def swiglu(x, gate, up, down):
    return F.linear(F.silu(F.linear(x, gate)), down)


# %% tags=["mutant:grouped_query_attention"]
# query heads take key-value heads in turn, not in groups
def grouped_query_attention(q, k, v):
    n, m, group = q.shape[-2], k.shape[-2], q.shape[1] // k.shape[1]
    k, v = k.repeat(1, group, 1, 1), v.repeat(1, group, 1, 1)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return scores.masked_fill(torch.ones(n, m, dtype=torch.bool).triu(m - n + 1), -math.inf).softmax(-1) @ v


# %% tags=["mutant:grouped_query_attention"]
# the mask forgets that earlier tokens are in the cache
def grouped_query_attention(q, k, v):
    n, m, group = q.shape[-2], k.shape[-2], q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return scores.masked_fill(torch.ones(n, m, dtype=torch.bool).triu(1), -math.inf).softmax(-1) @ v


# %% tags=["mutant:grouped_query_attention"]
# everybody sees everything
def grouped_query_attention(q, k, v):
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    return (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1) @ v


# %% tags=["mutant:grouped_query_attention"]
# scores are not divided by the root of d
def grouped_query_attention(q, k, v):
    n, m, group = q.shape[-2], k.shape[-2], q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scores = q @ k.transpose(-1, -2)
    return scores.masked_fill(torch.ones(n, m, dtype=torch.bool).triu(m - n + 1), -math.inf).softmax(-1) @ v


# %% tags=["mutant:grouped_query_attention"]
# a token does not see itself (where it can see another)
def grouped_query_attention(q, k, v):
    n, m, group = q.shape[-2], k.shape[-2], q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    hidden = torch.ones(n, m, dtype=torch.bool).triu(m - n)
    hidden[hidden.all(-1), 0] = False
    return scores.masked_fill(hidden, -math.inf).softmax(-1) @ v


# %% tags=["mutant:decoder_block"]
# normalised after the sublayer, as in 2017
def decoder_block(x, weights, layer, shape, past=None):
    def w(name):
        return weights[f"model.layers.{layer}.{name}.weight"]

    batch, n, _ = x.shape
    start = 0 if past is None else past[0].shape[-2]
    q, k, v = (F.linear(x, w(f"self_attn.{p}_proj")).view(batch, n, -1, shape.head_dim).transpose(1, 2) for p in "qkv")
    q, k = rope(q, start, shape.theta), rope(k, start, shape.theta)
    if past is not None:
        k, v = torch.cat([past[0], k], -2), torch.cat([past[1], v], -2)
    mixed = grouped_query_attention(q, k, v).transpose(1, 2).reshape(batch, n, -1)
    x = rms_norm(x + F.linear(mixed, w("self_attn.o_proj")), w("input_layernorm"), shape.eps)
    y = x + swiglu(x, w("mlp.gate_proj"), w("mlp.up_proj"), w("mlp.down_proj"))
    return rms_norm(y, w("post_attention_layernorm"), shape.eps), (k, v)


# %% tags=["mutant:decoder_block"]
# new tokens begin at position 0 even with a past
def decoder_block(x, weights, layer, shape, past=None):
    def w(name):
        return weights[f"model.layers.{layer}.{name}.weight"]

    batch, n, _ = x.shape
    h = rms_norm(x, w("input_layernorm"), shape.eps)
    q, k, v = (F.linear(h, w(f"self_attn.{p}_proj")).view(batch, n, -1, shape.head_dim).transpose(1, 2) for p in "qkv")
    q, k = rope(q, 0, shape.theta), rope(k, 0, shape.theta)
    if past is not None:
        k, v = torch.cat([past[0], k], -2), torch.cat([past[1], v], -2)
    mixed = grouped_query_attention(q, k, v).transpose(1, 2).reshape(batch, n, -1)
    x = x + F.linear(mixed, w("self_attn.o_proj"))
    h = rms_norm(x, w("post_attention_layernorm"), shape.eps)
    return x + swiglu(h, w("mlp.gate_proj"), w("mlp.up_proj"), w("mlp.down_proj")), (k, v)


# %% tags=["mutant:decoder_block"]
# the second residual leads around both sublayers
def decoder_block(x, weights, layer, shape, past=None):
    def w(name):
        return weights[f"model.layers.{layer}.{name}.weight"]

    batch, n, _ = x.shape
    start = 0 if past is None else past[0].shape[-2]
    h = rms_norm(x, w("input_layernorm"), shape.eps)
    q, k, v = (F.linear(h, w(f"self_attn.{p}_proj")).view(batch, n, -1, shape.head_dim).transpose(1, 2) for p in "qkv")
    q, k = rope(q, start, shape.theta), rope(k, start, shape.theta)
    if past is not None:
        k, v = torch.cat([past[0], k], -2), torch.cat([past[1], v], -2)
    mixed = grouped_query_attention(q, k, v).transpose(1, 2).reshape(batch, n, -1)
    h = rms_norm(x + F.linear(mixed, w("self_attn.o_proj")), w("post_attention_layernorm"), shape.eps)
    return x + swiglu(h, w("mlp.gate_proj"), w("mlp.up_proj"), w("mlp.down_proj")), (k, v)


# %% tags=["mutant:decoder_block"]
# only the new keys and values are handed on
def decoder_block(x, weights, layer, shape, past=None):
    def w(name):
        return weights[f"model.layers.{layer}.{name}.weight"]

    batch, n, _ = x.shape
    start = 0 if past is None else past[0].shape[-2]
    h = rms_norm(x, w("input_layernorm"), shape.eps)
    q, k, v = (F.linear(h, w(f"self_attn.{p}_proj")).view(batch, n, -1, shape.head_dim).transpose(1, 2) for p in "qkv")
    q, k = rope(q, start, shape.theta), rope(k, start, shape.theta)
    new = (k, v)
    if past is not None:
        k, v = torch.cat([past[0], k], -2), torch.cat([past[1], v], -2)
    mixed = grouped_query_attention(q, k, v).transpose(1, 2).reshape(batch, n, -1)
    x = x + F.linear(mixed, w("self_attn.o_proj"))
    h = rms_norm(x, w("post_attention_layernorm"), shape.eps)
    return x + swiglu(h, w("mlp.gate_proj"), w("mlp.up_proj"), w("mlp.down_proj")), new


# %% tags=["mutant:decoder_block"]
# values are turned too
def decoder_block(x, weights, layer, shape, past=None):
    def w(name):
        return weights[f"model.layers.{layer}.{name}.weight"]

    batch, n, _ = x.shape
    start = 0 if past is None else past[0].shape[-2]
    h = rms_norm(x, w("input_layernorm"), shape.eps)
    q, k, v = (F.linear(h, w(f"self_attn.{p}_proj")).view(batch, n, -1, shape.head_dim).transpose(1, 2) for p in "qkv")
    q, k, v = (rope(t, start, shape.theta) for t in (q, k, v))
    if past is not None:
        k, v = torch.cat([past[0], k], -2), torch.cat([past[1], v], -2)
    mixed = grouped_query_attention(q, k, v).transpose(1, 2).reshape(batch, n, -1)
    x = x + F.linear(mixed, w("self_attn.o_proj"))
    h = rms_norm(x, w("post_attention_layernorm"), shape.eps)
    return x + swiglu(h, w("mlp.gate_proj"), w("mlp.up_proj"), w("mlp.down_proj")), (k, v)


# %% tags=["mutant:decoder_block"]
# heads have the size width / heads, whatever the configuration says
def decoder_block(x, weights, layer, shape, past=None):
    def w(name):
        return weights[f"model.layers.{layer}.{name}.weight"]

    batch, n, d = x.shape
    start = 0 if past is None else past[0].shape[-2]
    h = rms_norm(x, w("input_layernorm"), shape.eps)
    q, k, v = (F.linear(h, w(f"self_attn.{p}_proj")).view(batch, n, -1, d // shape.heads).transpose(1, 2) for p in "qkv")
    q, k = rope(q, start, shape.theta), rope(k, start, shape.theta)
    if past is not None:
        k, v = torch.cat([past[0], k], -2), torch.cat([past[1], v], -2)
    mixed = grouped_query_attention(q, k, v).transpose(1, 2).reshape(batch, n, -1)
    x = x + F.linear(mixed, w("self_attn.o_proj"))
    h = rms_norm(x, w("post_attention_layernorm"), shape.eps)
    return x + swiglu(h, w("mlp.gate_proj"), w("mlp.up_proj"), w("mlp.down_proj")), (k, v)


# %% tags=["mutant:llama_logits"]
# no norm at the end
def llama_logits(ids, weights, shape, past=None):
    x, cache = weights["model.embed_tokens.weight"][ids], []
    for layer in range(shape.layers):
        x, kept = decoder_block(x, weights, layer, shape, past and past[layer])
        cache.append(kept)
    return F.linear(x, weights["model.embed_tokens.weight" if shape.tied else "lm_head.weight"]), cache


# %% tags=["mutant:llama_logits"]
# the embedding is the output matrix, tied or not
def llama_logits(ids, weights, shape, past=None):
    x, cache = weights["model.embed_tokens.weight"][ids], []
    for layer in range(shape.layers):
        x, kept = decoder_block(x, weights, layer, shape, past and past[layer])
        cache.append(kept)
    return F.linear(rms_norm(x, weights["model.norm.weight"], shape.eps), weights["model.embed_tokens.weight"]), cache


# %% tags=["mutant:llama_logits"]
# a tied model's file is expected to hold the output matrix
def llama_logits(ids, weights, shape, past=None):
    x, cache = weights["model.embed_tokens.weight"][ids], []
    for layer in range(shape.layers):
        x, kept = decoder_block(x, weights, layer, shape, past and past[layer])
        cache.append(kept)
    return F.linear(rms_norm(x, weights["model.norm.weight"], shape.eps), weights["lm_head.weight"]), cache


# %% tags=["mutant:llama_logits"]
# every layer gets the cache of the first
def llama_logits(ids, weights, shape, past=None):
    x, cache = weights["model.embed_tokens.weight"][ids], []
    for layer in range(shape.layers):
        x, kept = decoder_block(x, weights, layer, shape, past and past[0])
        cache.append(kept)
    x = rms_norm(x, weights["model.norm.weight"], shape.eps)
    return F.linear(x, weights["model.embed_tokens.weight" if shape.tied else "lm_head.weight"]), cache


# %% tags=["mutant:llama_logits"]
# the cache is made and never used
def llama_logits(ids, weights, shape, past=None):
    x, cache = weights["model.embed_tokens.weight"][ids], []
    for layer in range(shape.layers):
        x, kept = decoder_block(x, weights, layer, shape)
        cache.append(kept)
    x = rms_norm(x, weights["model.norm.weight"], shape.eps)
    return F.linear(x, weights["model.embed_tokens.weight" if shape.tied else "lm_head.weight"]), cache


# %% tags=["mutant:costs"]
# keys and values as many as queries
def costs(shape, tokens, batch=1, bytes_per_element=2):
    queries = shape.heads * shape.head_dim
    layer = 4 * shape.width * queries + 3 * shape.width * shape.intermediate + 2 * shape.width
    parameters = (2 - shape.tied) * shape.vocabulary * shape.width + shape.layers * layer + shape.width
    return {"parameters": parameters, "cache_bytes": 2 * shape.layers * queries * tokens * batch * bytes_per_element}


# %% tags=["mutant:costs"]
# keys without values
def costs(shape, tokens, batch=1, bytes_per_element=2):
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    layer = 2 * shape.width * (queries + keys) + 3 * shape.width * shape.intermediate + 2 * shape.width
    parameters = (2 - shape.tied) * shape.vocabulary * shape.width + shape.layers * layer + shape.width
    return {"parameters": parameters, "cache_bytes": shape.layers * keys * tokens * batch * bytes_per_element}


# %% tags=["mutant:costs"]
# attention matrices are square
def costs(shape, tokens, batch=1, bytes_per_element=2):
    keys = shape.kv_heads * shape.width // shape.heads
    layer = 2 * shape.width * (shape.width + keys) + 3 * shape.width * shape.intermediate + 2 * shape.width
    parameters = (2 - shape.tied) * shape.vocabulary * shape.width + shape.layers * layer + shape.width
    return {"parameters": parameters, "cache_bytes": 2 * shape.layers * keys * tokens * batch * bytes_per_element}


# %% tags=["mutant:costs"]
# always two matrices of the vocabulary
def costs(shape, tokens, batch=1, bytes_per_element=2):
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    layer = 2 * shape.width * (queries + keys) + 3 * shape.width * shape.intermediate + 2 * shape.width
    parameters = 2 * shape.vocabulary * shape.width + shape.layers * layer + shape.width
    return {"parameters": parameters, "cache_bytes": 2 * shape.layers * keys * tokens * batch * bytes_per_element}


# %% tags=["mutant:cache_bytes"]
# a window layer keeps the whole window, one token too many
def cache_bytes(config, tokens, bytes_per_element=2):
    window = getattr(config, "sliding_window", None)
    if getattr(config, "kv_lora_rank", None):
        numbers = config.kv_lora_rank + config.qk_rope_head_dim
    else:
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        numbers = 2 * heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    alike = "sliding_attention" if window else "full_attention"
    kinds = getattr(config, "layer_types", None) or [alike] * config.num_hidden_layers
    kept = sum(min(tokens, window) if kind == "sliding_attention" else tokens for kind in kinds)
    return numbers * kept * bytes_per_element


# %% tags=["mutant:cache_bytes"]
# the window is forgotten
def cache_bytes(config, tokens, bytes_per_element=2):
    window = getattr(config, "sliding_window", None)
    if getattr(config, "kv_lora_rank", None):
        numbers = config.kv_lora_rank + config.qk_rope_head_dim
    else:
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        numbers = 2 * heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    alike = "sliding_attention" if window else "full_attention"
    kinds = getattr(config, "layer_types", None) or [alike] * config.num_hidden_layers
    kept = sum(tokens for kind in kinds)
    return numbers * kept * bytes_per_element


# %% tags=["mutant:cache_bytes"]
# every layer has the window
def cache_bytes(config, tokens, bytes_per_element=2):
    window = getattr(config, "sliding_window", None)
    if getattr(config, "kv_lora_rank", None):
        numbers = config.kv_lora_rank + config.qk_rope_head_dim
    else:
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        numbers = 2 * heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    alike = "sliding_attention" if window else "full_attention"
    kinds = getattr(config, "layer_types", None) or [alike] * config.num_hidden_layers
    kept = sum(min(tokens, window - 1) if window else tokens for kind in kinds)
    return numbers * kept * bytes_per_element


# %% tags=["mutant:cache_bytes"]
# a window only where layer_types says so
def cache_bytes(config, tokens, bytes_per_element=2):
    window = getattr(config, "sliding_window", None)
    if getattr(config, "kv_lora_rank", None):
        numbers = config.kv_lora_rank + config.qk_rope_head_dim
    else:
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        numbers = 2 * heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    alike = "full_attention"
    kinds = getattr(config, "layer_types", None) or [alike] * config.num_hidden_layers
    kept = sum(min(tokens, window - 1) if kind == "sliding_attention" else tokens for kind in kinds)
    return numbers * kept * bytes_per_element


# %% tags=["mutant:cache_bytes"]
# MLA as if it kept all heads
def cache_bytes(config, tokens, bytes_per_element=2):
    window = getattr(config, "sliding_window", None)
    if False:
        numbers = config.kv_lora_rank + config.qk_rope_head_dim
    else:
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        numbers = 2 * heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    alike = "sliding_attention" if window else "full_attention"
    kinds = getattr(config, "layer_types", None) or [alike] * config.num_hidden_layers
    kept = sum(min(tokens, window - 1) if kind == "sliding_attention" else tokens for kind in kinds)
    return numbers * kept * bytes_per_element


# %% tags=["mutant:cache_bytes"]
# MLA without the turned key
def cache_bytes(config, tokens, bytes_per_element=2):
    window = getattr(config, "sliding_window", None)
    if getattr(config, "kv_lora_rank", None):
        numbers = config.kv_lora_rank
    else:
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        numbers = 2 * heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    alike = "sliding_attention" if window else "full_attention"
    kinds = getattr(config, "layer_types", None) or [alike] * config.num_hidden_layers
    kept = sum(min(tokens, window - 1) if kind == "sliding_attention" else tokens for kind in kinds)
    return numbers * kept * bytes_per_element


# %% tags=["mutant:cache_bytes"]
# MLA's vector twice, as key and as value
def cache_bytes(config, tokens, bytes_per_element=2):
    window = getattr(config, "sliding_window", None)
    if getattr(config, "kv_lora_rank", None):
        numbers = 2 * (config.kv_lora_rank + config.qk_rope_head_dim)
    else:
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        numbers = 2 * heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    alike = "sliding_attention" if window else "full_attention"
    kinds = getattr(config, "layer_types", None) or [alike] * config.num_hidden_layers
    kept = sum(min(tokens, window - 1) if kind == "sliding_attention" else tokens for kind in kinds)
    return numbers * kept * bytes_per_element


# %% tags=["mutant:cache_bytes"]
# query heads instead of key-value heads
def cache_bytes(config, tokens, bytes_per_element=2):
    window = getattr(config, "sliding_window", None)
    if getattr(config, "kv_lora_rank", None):
        numbers = config.kv_lora_rank + config.qk_rope_head_dim
    else:
        heads = config.num_attention_heads
        numbers = 2 * heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    alike = "sliding_attention" if window else "full_attention"
    kinds = getattr(config, "layer_types", None) or [alike] * config.num_hidden_layers
    kept = sum(min(tokens, window - 1) if kind == "sliding_attention" else tokens for kind in kinds)
    return numbers * kept * bytes_per_element


# %% tags=["mutant:cache_bytes"]
# keys without values
def cache_bytes(config, tokens, bytes_per_element=2):
    window = getattr(config, "sliding_window", None)
    if getattr(config, "kv_lora_rank", None):
        numbers = config.kv_lora_rank + config.qk_rope_head_dim
    else:
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        numbers = heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    alike = "sliding_attention" if window else "full_attention"
    kinds = getattr(config, "layer_types", None) or [alike] * config.num_hidden_layers
    kept = sum(min(tokens, window - 1) if kind == "sliding_attention" else tokens for kind in kinds)
    return numbers * kept * bytes_per_element


# %% tags=["mutant:cache_bytes"]
# a head is always hidden_size / heads wide
def cache_bytes(config, tokens, bytes_per_element=2):
    window = getattr(config, "sliding_window", None)
    if getattr(config, "kv_lora_rank", None):
        numbers = config.kv_lora_rank + config.qk_rope_head_dim
    else:
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        numbers = 2 * heads * (config.hidden_size // config.num_attention_heads)
    alike = "sliding_attention" if window else "full_attention"
    kinds = getattr(config, "layer_types", None) or [alike] * config.num_hidden_layers
    kept = sum(min(tokens, window - 1) if kind == "sliding_attention" else tokens for kind in kinds)
    return numbers * kept * bytes_per_element


# %% tags=["mutant:cache_bytes"]
# a short text fills the window, too
def cache_bytes(config, tokens, bytes_per_element=2):
    window = getattr(config, "sliding_window", None)
    if getattr(config, "kv_lora_rank", None):
        numbers = config.kv_lora_rank + config.qk_rope_head_dim
    else:
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        numbers = 2 * heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    alike = "sliding_attention" if window else "full_attention"
    kinds = getattr(config, "layer_types", None) or [alike] * config.num_hidden_layers
    kept = sum(window - 1 if kind == "sliding_attention" else tokens for kind in kinds)
    return numbers * kept * bytes_per_element


# %% tags=["mutant:filter_logits"]
# the token that reaches top_p is dropped
def filter_logits(logits, temperature=1.0, top_k=None, top_p=None):
    logits = logits / temperature
    if top_k is not None:
        logits = logits.masked_fill(logits < logits.topk(min(top_k, logits.shape[-1]), -1).values[:, -1:], -math.inf)
    if top_p is not None:
        falling, order = logits.softmax(-1).sort(-1, descending=True)
        drop = falling.cumsum(-1) > top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -math.inf)
    return logits


# %% tags=["mutant:filter_logits"]
# the temperature comes last, so top-p sees other probabilities
def filter_logits(logits, temperature=1.0, top_k=None, top_p=None):
    if top_k is not None:
        logits = logits.masked_fill(logits < logits.topk(min(top_k, logits.shape[-1]), -1).values[:, -1:], -math.inf)
    if top_p is not None:
        falling, order = logits.softmax(-1).sort(-1, descending=True)
        drop = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, falling.cumsum(-1) - falling >= top_p)
        logits = logits.masked_fill(drop, -math.inf)
    return logits / temperature


# %% tags=["mutant:filter_logits"]
# top-p counts the probabilities of before top-k
def filter_logits(logits, temperature=1.0, top_k=None, top_p=None):
    logits = logits / temperature
    all_of_them = logits.softmax(-1)
    if top_k is not None:
        logits = logits.masked_fill(logits < logits.topk(min(top_k, logits.shape[-1]), -1).values[:, -1:], -math.inf)
    if top_p is not None:
        falling, order = all_of_them.sort(-1, descending=True)
        drop = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, falling.cumsum(-1) - falling >= top_p)
        logits = logits.masked_fill(drop, -math.inf)
    return logits


# %% tags=["mutant:filter_logits"]
# multiplied by the temperature
def filter_logits(logits, temperature=1.0, top_k=None, top_p=None):
    return filtered_by_transformers(logits * temperature, 1.0, top_k, top_p)


# %% tags=["mutant:filter_logits"]
# the sorted order is never undone
def filter_logits(logits, temperature=1.0, top_k=None, top_p=None):
    logits = logits / temperature
    if top_k is not None:
        logits = logits.masked_fill(logits < logits.topk(min(top_k, logits.shape[-1]), -1).values[:, -1:], -math.inf)
    if top_p is not None:
        falling = logits.softmax(-1).sort(-1, descending=True).values
        logits = logits.masked_fill(falling.cumsum(-1) - falling >= top_p, -math.inf)
    return logits
