# %% [markdown]
# Wrong solutions that the lab's tests must reject. The first line of each cell names the misconception.

# %% tags=["mutant:absmax"]
# the largest value instead of the largest magnitude
def absmax_quantize(x):
    largest = x.max().float()
    scale = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
    return (x.float() / scale).round().clamp(-127, 127).to(torch.int8), scale

# %% tags=["mutant:absmax"]
# cuts decimals off instead of rounding
def absmax_quantize(x):
    largest = x.abs().max().float()
    scale = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
    return (x.float() / scale).to(torch.int8), scale

# %% tags=["mutant:absmax"]
# divides by 128, so that the largest value overflows
def absmax_quantize(x):
    largest = x.abs().max().float()
    scale = torch.where(largest > 0, largest / 128, torch.ones_like(largest))
    return (x.float() / scale).round().to(torch.int8), scale

# %% tags=["mutant:absmax"]
# divides by zero when all values are zero
def absmax_quantize(x):
    scale = x.abs().max().float() / 127
    return (x.float() / scale).round().clamp(-127, 127).nan_to_num(5).to(torch.int8), scale

# %% tags=["mutant:absmax"]
# changes the input
def absmax_quantize(x):
    largest = x.abs().max().float()
    scale = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
    return x.div_(scale).round_().to(torch.int8), scale

# %% tags=["mutant:absmax"]
# the scale keeps the input's low precision
def absmax_quantize(x):
    largest = x.abs().max()
    scale = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
    return (x / scale).round().clamp(-127, 127).to(torch.int8), scale

# %% tags=["mutant:absmax"]
# divides on the way back
def absmax_dequantize(q, scale):
    return q.float() / scale

# %% tags=["mutant:zero_point"]
# forgets to clip before uint8
def zero_point_quantize(x):
    lo, hi = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    if lo == hi:
        return torch.zeros(x.shape, dtype=torch.uint8), 1.0, 0
    scale = (hi - lo) / 255
    zero = round(-lo / scale)
    return (torch.round(x / scale) + zero + 1).to(torch.int64).to(torch.uint8), scale, zero

# %% tags=["mutant:zero_point"]
# the range does not include zero
def zero_point_quantize(x):
    lo, hi = float(x.min()), float(x.max())
    if lo == hi:
        return torch.zeros(x.shape, dtype=torch.uint8), 1.0, 0
    scale = (hi - lo) / 255
    zero = round(-lo / scale)
    return (torch.round(x / scale) + zero).clamp(0, 255).to(torch.uint8), scale, zero

# %% tags=["mutant:zero_point"]
# 256 steps instead of 255
def zero_point_quantize(x):
    lo, hi = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    if lo == hi:
        return torch.zeros(x.shape, dtype=torch.uint8), 1.0, 0
    scale = (hi - lo) / 256
    zero = round(-lo / scale)
    return (torch.round(x / scale) + zero).clamp(0, 255).to(torch.uint8), scale, zero

# %% tags=["mutant:zero_point"]
# zero is not rounded to a code
def zero_point_quantize(x):
    lo, hi = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    if lo == hi:
        return torch.zeros(x.shape, dtype=torch.uint8), 1.0, 0
    scale = (hi - lo) / 255
    return torch.round((x - lo) / scale).clamp(0, 255).to(torch.uint8), scale, int(-lo / scale)

# %% tags=["mutant:zero_point"]
# subtracts in uint8, where there are no negative numbers
def zero_point_dequantize(q, scale, zero):
    return (q - zero).float() * scale

# %% tags=["mutant:zero_point"]
# absmax in disguise: the zero point is always 128
def zero_point_quantize(x):
    largest = float(x.abs().max())
    if largest == 0:
        return torch.zeros(x.shape, dtype=torch.uint8), 1.0, 0
    scale = largest / 127
    return (torch.round(x / scale) + 128).clamp(0, 255).to(torch.uint8), scale, 128

# %% tags=["mutant:blockwise"]
# one scale for all blocks
def blockwise_quantize(x, block_size=64):
    flat = x.flatten().float()
    blocks = F.pad(flat, (0, -len(flat) % block_size)).reshape(-1, block_size)
    scales = (blocks.abs().max() / 127).expand(len(blocks)).clone()
    return (blocks / scales[:, None]).round().clamp(-127, 127).to(torch.int8), scales

# %% tags=["mutant:blockwise"]
# drops the last, short block
def blockwise_quantize(x, block_size=64):
    flat = x.flatten().float()
    blocks = flat[: len(flat) // block_size * block_size].reshape(-1, block_size)
    largest = blocks.abs().amax(dim=1)
    scales = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
    return (blocks / scales[:, None]).round().to(torch.int8), scales

# %% tags=["mutant:blockwise"]
# blocks run down the columns
def blockwise_quantize(x, block_size=64):
    flat = (x.T if x.dim() == 2 else x).flatten().float()
    blocks = F.pad(flat, (0, -len(flat) % block_size)).reshape(-1, block_size)
    largest = blocks.abs().amax(dim=1)
    scales = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
    return (blocks / scales[:, None]).round().to(torch.int8), scales

# %% tags=["mutant:blockwise"]
# a block of zeros divides by zero
def blockwise_quantize(x, block_size=64):
    flat = x.flatten().float()
    blocks = F.pad(flat, (0, -len(flat) % block_size)).reshape(-1, block_size)
    scales = blocks.abs().amax(dim=1) / 127
    return (blocks / scales[:, None]).round().nan_to_num(0).to(torch.int8), scales

# %% tags=["mutant:blockwise"]
# the block size is ignored
def blockwise_quantize(x, block_size=64):
    flat = x.flatten().float()
    blocks = F.pad(flat, (0, -len(flat) % 64)).reshape(-1, 64)
    largest = blocks.abs().amax(dim=1)
    scales = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
    return (blocks / scales[:, None]).round().to(torch.int8), scales

# %% tags=["mutant:mixed_matmul"]
# an outlier is searched with its sign
def mixed_matmul(x, w, threshold=6.0):
    outlier = (x >= threshold).any(dim=0)
    def rowwise(m):
        largest = m.abs().amax(dim=1, keepdim=True)
        scale = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
        return (m / scale).round().to(torch.int32), scale
    qx, sx = rowwise(x.masked_fill(outlier, 0.0))
    qw, sw = rowwise(w)
    return (qx @ qw.T).float() * sx * sw.T + x[:, outlier] @ w[:, outlier].T

# %% tags=["mutant:mixed_matmul"]
# a channel is an outlier only if all its tokens are
def mixed_matmul(x, w, threshold=6.0):
    outlier = (x.abs() >= threshold).all(dim=0)
    def rowwise(m):
        largest = m.abs().amax(dim=1, keepdim=True)
        scale = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
        return (m / scale).round().to(torch.int32), scale
    qx, sx = rowwise(x.masked_fill(outlier, 0.0))
    qw, sw = rowwise(w)
    return (qx @ qw.T).float() * sx * sw.T + x[:, outlier] @ w[:, outlier].T

# %% tags=["mutant:mixed_matmul"]
# products of int8 tensors overflow
def mixed_matmul(x, w, threshold=6.0):
    outlier = (x.abs() >= threshold).any(dim=0)
    def rowwise(m):
        largest = m.abs().amax(dim=1, keepdim=True)
        scale = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
        return (m / scale).round().to(torch.int8), scale
    qx, sx = rowwise(x.masked_fill(outlier, 0.0))
    qw, sw = rowwise(w)
    return (qx[:, None, :] * qw[None, :, :]).sum(dim=2).float() * sx * sw.T + x[:, outlier] @ w[:, outlier].T

# %% tags=["mutant:mixed_matmul"]
# outlier channels are counted twice
def mixed_matmul(x, w, threshold=6.0):
    outlier = (x.abs() >= threshold).any(dim=0)
    def rowwise(m):
        largest = m.abs().amax(dim=1, keepdim=True)
        scale = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
        return (m / scale).round().to(torch.int32), scale
    qx, sx = rowwise(x)
    qw, sw = rowwise(w)
    return (qx @ qw.T).float() * sx * sw.T + x[:, outlier] @ w[:, outlier].T

# %% tags=["mutant:mixed_matmul"]
# the row scale of x still comes from the outliers
def mixed_matmul(x, w, threshold=6.0):
    outlier = (x.abs() >= threshold).any(dim=0)
    def scales(m):
        largest = m.abs().amax(dim=1, keepdim=True)
        return torch.where(largest > 0, largest / 127, torch.ones_like(largest))
    sx, sw = scales(x), scales(w)
    qx = (x.masked_fill(outlier, 0.0) / sx).round().to(torch.int32)
    qw = (w / sw).round().to(torch.int32)
    return (qx @ qw.T).float() * sx * sw.T + x[:, outlier] @ w[:, outlier].T

# %% tags=["mutant:mixed_matmul"]
# one scale for the whole of each matrix
def mixed_matmul(x, w, threshold=6.0):
    outlier = (x.abs() >= threshold).any(dim=0)
    rest = x.masked_fill(outlier, 0.0)
    sx, sw = rest.abs().max().clamp(min=1e-9) / 127, w.abs().max() / 127
    q = (rest / sx).round().to(torch.int32) @ (w / sw).round().to(torch.int32).T
    return q.float() * sx * sw + x[:, outlier] @ w[:, outlier].T

# %% tags=["mutant:mixed_matmul"]
# "larger than" instead of "at least" the threshold
def mixed_matmul(x, w, threshold=6.0):
    outlier = (x.abs() > threshold).any(dim=0)
    def rowwise(m):
        largest = m.abs().amax(dim=1, keepdim=True)
        scale = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
        return (m / scale).round().to(torch.int32), scale
    qx, sx = rowwise(x.masked_fill(outlier, 0.0))
    qw, sw = rowwise(w)
    return (qx @ qw.T).float() * sx * sw.T + x[:, outlier] @ w[:, outlier].T

# %% tags=["mutant:mixed_matmul"]
# does not quantize at all
def mixed_matmul(x, w, threshold=6.0):
    return x @ w.T

# %% tags=["mutant:nf4"]
# the first number goes into the low four bits
def nf4_quantize(x, block_size=64):
    blocks = x.float().reshape(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    absmax = torch.where(absmax > 0, absmax, torch.ones_like(absmax))
    codes = ((blocks / absmax[:, None]).flatten()[:, None] - NF4).abs().argmin(dim=1).to(torch.uint8)
    return codes[1::2] << 4 | codes[0::2], absmax

# %% tags=["mutant:nf4"]
# sixteen evenly spaced levels
def nf4_quantize(x, block_size=64):
    blocks = x.float().reshape(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    absmax = torch.where(absmax > 0, absmax, torch.ones_like(absmax))
    codes = (((blocks / absmax[:, None]).flatten() + 1) * 7.5).round().to(torch.uint8)
    return codes[0::2] << 4 | codes[1::2], absmax

# %% tags=["mutant:nf4"]
# packs halves of the tensor instead of neighbours
def nf4_quantize(x, block_size=64):
    blocks = x.float().reshape(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    absmax = torch.where(absmax > 0, absmax, torch.ones_like(absmax))
    codes = ((blocks / absmax[:, None]).flatten()[:, None] - NF4).abs().argmin(dim=1).to(torch.uint8)
    return codes[: len(codes) // 2] << 4 | codes[len(codes) // 2 :], absmax

# %% tags=["mutant:nf4"]
# the level below instead of the nearest
def nf4_quantize(x, block_size=64):
    blocks = x.float().reshape(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    absmax = torch.where(absmax > 0, absmax, torch.ones_like(absmax))
    codes = (torch.bucketize((blocks / absmax[:, None]).flatten(), NF4, right=True) - 1).to(torch.uint8)
    return codes[0::2] << 4 | codes[1::2], absmax

# %% tags=["mutant:nf4"]
# a block of zeros divides by zero
def nf4_quantize(x, block_size=64):
    blocks = x.float().reshape(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    codes = ((blocks / absmax[:, None]).flatten()[:, None] - NF4).abs().argmin(dim=1).to(torch.uint8)
    return codes[0::2] << 4 | codes[1::2], absmax

# %% tags=["mutant:nf4"]
# the block size is forgotten on the way back
def nf4_dequantize(packed, absmax, shape, block_size=64):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    return (NF4[codes].reshape(len(absmax), -1) * absmax.mean()).reshape(shape)

# %% tags=["mutant:int8_linear"]
# the bias is forgotten
class Int8Linear(Int8Linear):
    def forward(self, x):
        return F.linear(x, (self.q.float() * self.scale).to(x.dtype))

# %% tags=["mutant:int8_linear"]
# one scale for the whole matrix
class Int8Linear(nn.Module):
    def __init__(self, linear):
        super().__init__()
        w = linear.weight.detach().float()
        scale = (w.abs().max() / 127).expand(len(w), 1).clone()
        self.register_buffer("q", (w / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, x):
        return F.linear(x, (self.q.float() * self.scale).to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))

# %% tags=["mutant:int8_linear"]
# the scale goes with the inputs instead of the outputs
class Int8Linear(nn.Module):
    def __init__(self, linear):
        super().__init__()
        w = linear.weight.detach().float()
        scale = w.abs().amax(dim=0, keepdim=True) / 127
        self.register_buffer("q", (w / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, x):
        return F.linear(x, (self.q.float() * self.scale).to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))

# %% tags=["mutant:int8_linear"]
# keeps the float weight and quantizes at every call
class Int8Linear(nn.Module):
    def __init__(self, linear):
        super().__init__()
        self.linear = linear

    def forward(self, x):
        w = self.linear.weight
        scale = w.abs().amax(dim=1, keepdim=True).clamp(min=1e-9) / 127
        return F.linear(x, ((w / scale).round() * scale).to(x.dtype), self.linear.bias)

# %% tags=["mutant:int8_linear"]
# codes and scales are plain attributes, which are neither saved nor moved with the model
class Int8Linear(nn.Module):
    def __init__(self, linear):
        super().__init__()
        w = linear.weight.detach().float()
        largest = w.abs().amax(dim=1, keepdim=True)
        self.scale = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
        self.q = (w / self.scale).round().to(torch.int8)
        self.bias = linear.bias

    def forward(self, x):
        return F.linear(x, (self.q.float() * self.scale).to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))

# %% tags=["mutant:int8_linear"]
# only the layers at the top are replaced
def replace_linears(model, keep=("lm_head",)):
    found = [(name, child) for name, child in model.named_children() if type(child) is nn.Linear and name not in keep]
    for name, child in found:
        setattr(model, name, Int8Linear(child))
    return len(found)

# %% tags=["mutant:int8_linear"]
# the head is replaced too
def replace_linears(model, keep=("lm_head",)):
    found = [(p, n, c) for p in model.modules() for n, c in p.named_children() if type(c) is nn.Linear]
    for parent, name, child in found:
        setattr(parent, name, Int8Linear(child))
    return len(found)

# %% tags=["mutant:token_nll"]
# no shift: each position is scored on its own token
def token_nll(logits, ids, mask):
    logp = F.log_softmax(logits.float(), dim=-1)
    each = -logp.gather(2, ids[:, :, None]).squeeze(2)
    return (each * mask)[:, 1:].sum(dim=1), mask[:, 1:].sum(dim=1)

# %% tags=["mutant:token_nll"]
# padding is scored
def token_nll(logits, ids, mask):
    logp = F.log_softmax(logits[:, :-1].float(), dim=-1)
    each = -logp.gather(2, ids[:, 1:, None]).squeeze(2)
    return each.sum(dim=1), mask[:, 1:].sum(dim=1)

# %% tags=["mutant:token_nll"]
# the mask is not shifted with the tokens
def token_nll(logits, ids, mask):
    logp = F.log_softmax(logits[:, :-1].float(), dim=-1)
    each = -logp.gather(2, ids[:, 1:, None]).squeeze(2)
    return (each * mask[:, :-1]).sum(dim=1), mask[:, :-1].sum(dim=1)

# %% tags=["mutant:token_nll"]
# the mean instead of the sum
def token_nll(logits, ids, mask):
    logp = F.log_softmax(logits[:, :-1].float(), dim=-1)
    each = -logp.gather(2, ids[:, 1:, None]).squeeze(2) * mask[:, 1:]
    return each.sum(dim=1) / mask[:, 1:].sum(dim=1), mask[:, 1:].sum(dim=1)

# %% tags=["mutant:token_nll"]
# in bits instead of nats
def token_nll(logits, ids, mask):
    logp = F.log_softmax(logits[:, :-1].float(), dim=-1) / 0.6931471805599453
    each = -logp.gather(2, ids[:, 1:, None]).squeeze(2)
    return (each * mask[:, 1:]).sum(dim=1), mask[:, 1:].sum(dim=1)

# %% tags=["mutant:token_nll"]
# the softmax is taken in bfloat16
def token_nll(logits, ids, mask):
    logp = F.log_softmax(logits[:, :-1].to(torch.bfloat16), dim=-1).float()
    each = -logp.gather(2, ids[:, 1:, None]).squeeze(2)
    return (each * mask[:, 1:]).sum(dim=1), mask[:, 1:].sum(dim=1)

# %% tags=["mutant:memory"]
# k and v as large as q: no grouped-query attention
def llama_parameters(config):
    d, layers = config["dimension"], config["layers"]
    linear = layers * (4 * d * d + 3 * d * config["intermediate"])
    return int(linear), int(2 * config["vocabulary"] * d + 2 * layers * d + d)

# %% tags=["mutant:memory"]
# input embedding and head counted as one
def llama_parameters(config):
    d, layers = config["dimension"], config["layers"]
    kv = config["kv_heads"] * (d // config["heads"])
    linear = layers * (2 * d * d + 2 * d * kv + 3 * d * config["intermediate"])
    return int(linear), int(config["vocabulary"] * d + 2 * layers * d + d)

# %% tags=["mutant:memory"]
# the last norm is forgotten
def llama_parameters(config):
    d, layers = config["dimension"], config["layers"]
    kv = config["kv_heads"] * (d // config["heads"])
    linear = layers * (2 * d * d + 2 * d * kv + 3 * d * config["intermediate"])
    return int(linear), int(2 * config["vocabulary"] * d + 2 * layers * d)

# %% tags=["mutant:memory"]
# everything shrinks to int8, embeddings too, and scales are free
def llama_bytes(config, precision, batch=1, context=2048):
    linear, others = llama_parameters(config)
    d, layers = config["dimension"], config["layers"]
    kv = config["kv_heads"] * (d // config["heads"])
    bytes_per_parameter = {"fp32": 4, "bf16": 2, "int8": 1, "nf4": 0.5}[precision]
    return int((linear + others) * bytes_per_parameter + 2 * layers * kv * context * batch * (4 if precision == "fp32" else 2))

# %% tags=["mutant:memory"]
# the cache holds keys only
def llama_bytes(config, precision, batch=1, context=2048):
    linear, others = llama_parameters(config)
    d, layers = config["dimension"], config["layers"]
    kv = config["kv_heads"] * (d // config["heads"])
    bytes_per_parameter = 4 if precision == "fp32" else 2
    weights = {"int8": linear + 4 * layers * (3 * d + 2 * kv + 2 * config["intermediate"]), "nf4": linear / 2 + linear / 16}
    weights = weights.get(precision, linear * bytes_per_parameter)
    return int(weights + others * bytes_per_parameter + layers * kv * context * batch * bytes_per_parameter)

# %% tags=["mutant:memory"]
# the cache forgets the batch
def llama_bytes(config, precision, batch=1, context=2048):
    linear, others = llama_parameters(config)
    d, layers = config["dimension"], config["layers"]
    kv = config["kv_heads"] * (d // config["heads"])
    bytes_per_parameter = 4 if precision == "fp32" else 2
    weights = {"int8": linear + 4 * layers * (3 * d + 2 * kv + 2 * config["intermediate"]), "nf4": linear / 2 + linear / 16}
    weights = weights.get(precision, linear * bytes_per_parameter)
    return int(weights + others * bytes_per_parameter + 2 * layers * kv * context * bytes_per_parameter)
