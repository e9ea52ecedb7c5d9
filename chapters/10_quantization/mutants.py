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

# %% tags=["mutant:absmax"]
# a tensor of zeros gets scale 0
def absmax_quantize(x):
    scale = x.abs().max().float() / 127
    return (x.float() / scale.clamp(min=1e-12)).round().clamp(-127, 127).to(torch.int8), scale

# %% tags=["mutant:absmax"]
# works in place: x /= scale
def absmax_quantize(x):
    largest = x.abs().max().float()
    scale = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
    x /= scale
    return x.round().to(torch.int8), scale

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

# %% tags=["mutant:zero_point"]
# a tensor of zeros gets scale 0
def zero_point_quantize(x):
    lo, hi = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    scale = (hi - lo) / 255
    if lo == hi:
        return torch.zeros(x.shape, dtype=torch.uint8), scale, 0
    zero = round(-lo / scale)
    return (torch.round(x.double() / scale) + zero).clamp(0, 255).to(torch.uint8), scale, zero

# %% tags=["mutant:zero_point"]
# works in place
def zero_point_quantize(x):
    lo, hi = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    if lo == hi:
        return torch.zeros(x.shape, dtype=torch.uint8), 1.0, 0
    scale = (hi - lo) / 255
    zero = round(-lo / scale)
    return x.div_(scale).round_().add_(zero).clamp_(0, 255).to(torch.uint8), scale, zero

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

# %% tags=["mutant:blockwise"]
# fills up a whole block where nothing is missing
def blockwise_quantize(x, block_size=64):
    flat = x.flatten().float()
    blocks = F.pad(flat, (0, block_size - len(flat) % block_size)).reshape(-1, block_size)
    largest = blocks.abs().amax(dim=1)
    scales = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
    return (blocks / scales[:, None]).round().clamp(-127, 127).to(torch.int8), scales

# %% tags=["mutant:blockwise"]
# a block of zeros gets scale 0
def blockwise_quantize(x, block_size=64):
    flat = x.flatten().float()
    blocks = F.pad(flat, (0, -len(flat) % block_size)).reshape(-1, block_size)
    scales = blocks.abs().amax(dim=1) / 127
    return (blocks / scales[:, None].clamp(min=1e-12)).round().clamp(-127, 127).to(torch.int8), scales

# %% tags=["mutant:blockwise"]
# works in place
def blockwise_quantize(x, block_size=64):
    flat = x.view(-1)
    for start in range(0, len(flat) // block_size * block_size, block_size):
        block = flat[start : start + block_size]
        block /= block.abs().max().clamp(min=1e-12) / 127
    blocks = F.pad(flat, (0, -len(flat) % block_size)).reshape(-1, block_size)
    largest = blocks.abs().amax(dim=1)
    return blocks.round().to(torch.int8), torch.where(largest > 0, largest / 127, torch.ones_like(largest))

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

# %% tags=["mutant:mixed_matmul"]
# a row of zeros divides by zero
def mixed_matmul(x, w, threshold=6.0):
    outlier = (x.abs() >= threshold).any(dim=0)
    rest = x.masked_fill(outlier, 0.0)
    sx, sw = rest.abs().amax(dim=1, keepdim=True) / 127, w.abs().amax(dim=1, keepdim=True) / 127
    q = ((rest / sx).round() @ (w / sw).round().T) * sx * sw.T
    return q + x[:, outlier] @ w[:, outlier].T

# %% tags=["mutant:mixed_matmul"]
# puts zeros into the x it was given
def mixed_matmul(x, w, threshold=6.0):
    outlier = (x.abs() >= threshold).any(dim=0)
    def rowwise(m):
        largest = m.abs().amax(dim=1, keepdim=True)
        scale = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
        return (m / scale).round().to(torch.int32), scale
    apart = x[:, outlier] @ w[:, outlier].T
    x[:, outlier] = 0.0
    qx, sx = rowwise(x)
    qw, sw = rowwise(w)
    return (qx @ qw.T).float() * sx * sw.T + apart

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

# %% tags=["mutant:nf4"]
# a block of zeros has absmax 0
def nf4_quantize(x, block_size=64):
    blocks = x.float().reshape(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    codes = ((blocks / absmax[:, None].clamp(min=1e-12)).flatten()[:, None] - NF4).abs().argmin(dim=1).to(torch.uint8)
    return codes[0::2] << 4 | codes[1::2], absmax

# %% tags=["mutant:nf4"]
# works in place
def nf4_quantize(x, block_size=64):
    blocks = x.float().reshape(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    absmax = torch.where(absmax > 0, absmax, torch.ones_like(absmax))
    blocks /= absmax[:, None]
    codes = (blocks.flatten()[:, None] - NF4).abs().argmin(dim=1).to(torch.uint8)
    return codes[0::2] << 4 | codes[1::2], absmax

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

# %% tags=["mutant:int8_linear"]
# a row of zeros divides by zero
class Int8Linear(nn.Module):
    def __init__(self, linear):
        super().__init__()
        w = linear.weight.detach().float()
        scale = w.abs().amax(dim=1, keepdim=True) / 127
        self.register_buffer("q", (w / scale).round().nan_to_num(0).to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, x):
        return F.linear(x, (self.q.float() * self.scale).to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))

# %% tags=["mutant:int8_linear"]
# divides the layer's own weight
class Int8Linear(nn.Module):
    def __init__(self, linear):
        super().__init__()
        w = linear.weight.detach().float()
        largest = w.abs().amax(dim=1, keepdim=True)
        scale = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
        w /= scale
        self.register_buffer("q", w.round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, x):
        return F.linear(x, (self.q.float() * self.scale).to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))

# %% tags=["mutant:int8_linear"]
# the result is float32, whatever x is
class Int8Linear(Int8Linear):
    def forward(self, x):
        return F.linear(x.float(), self.q.float() * self.scale, self.bias)

# %% tags=["mutant:int8_linear"]
# every layer has a bias
class Int8Linear(Int8Linear):
    def forward(self, x):
        return F.linear(x, (self.q.float() * self.scale).to(x.dtype)) + self.bias.to(x.dtype)

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

# %% tags=["mutant:salient"]
# keeps rows (outputs) instead of columns (input channels)
def protect(w, channels, block=32):
    approximation = from_codes(*round_to_nearest(w, block))
    approximation[channels[channels < len(w)]] = w[channels[channels < len(w)]]
    return approximation

# %% tags=["mutant:salient"]
# takes the kept channels out of w, so w is changed and the scales are others
def protect(w, channels, block=32):
    exact = w[:, channels].clone()
    w[:, channels] = 0.0
    approximation = from_codes(*round_to_nearest(w, block))
    approximation[:, channels] = exact
    return approximation

# %% tags=["mutant:salient"]
# writes the rounded weights into w
def protect(w, channels, block=32):
    approximation = from_codes(*round_to_nearest(w, block))
    approximation[:, channels] = w[:, channels]
    return w.copy_(approximation)

# %% tags=["mutant:salient"]
# keeps no channel
def protect(w, channels, block=32):
    return from_codes(*round_to_nearest(w, block))

# %% tags=["mutant:salient"]
# does not take the factors out again
def awq_scale(w, x, alpha, block=32):
    s = x.abs().mean(0).clamp(min=1e-4) ** alpha
    s = s / (s.max() * s.min()).sqrt()
    return s, from_codes(*round_to_nearest(w * s, block))

# %% tags=["mutant:salient"]
# divides first and multiplies afterwards: the large channels get the coarse steps
def awq_scale(w, x, alpha, block=32):
    s = x.abs().mean(0).clamp(min=1e-4) ** alpha
    s = s / (s.max() * s.min()).sqrt()
    return s, from_codes(*round_to_nearest(w / s, block)) * s

# %% tags=["mutant:salient"]
# the mean of x instead of |x|
def awq_scale(w, x, alpha, block=32):
    s = x.mean(0).clamp(min=1e-4) ** alpha
    s = s / (s.max() * s.min()).sqrt()
    return s, from_codes(*round_to_nearest(w * s, block)) / s

# %% tags=["mutant:salient"]
# factors of the outputs instead of the input channels
def awq_scale(w, x, alpha, block=32):
    s = (x @ w.T).abs().mean(0).clamp(min=1e-4) ** alpha
    s = s / (s.max() * s.min()).sqrt()
    return s, from_codes(*round_to_nearest(w * s[:, None], block)) / s[:, None]

# %% tags=["mutant:salient"]
# factors that are not normalised
def awq_scale(w, x, alpha, block=32):
    s = x.abs().mean(0).clamp(min=1e-4) ** alpha
    return s, from_codes(*round_to_nearest(w * s, block)) / s

# %% tags=["mutant:salient"]
# works in place: w *= s
def awq_scale(w, x, alpha, block=32):
    s = x.abs().mean(0).clamp(min=1e-4) ** alpha
    s = s / (s.max() * s.min()).sqrt()
    w *= s
    return s, from_codes(*round_to_nearest(w, block)) / s

# %% tags=["mutant:salient"]
# a channel of zeros divides by zero
def awq_scale(w, x, alpha, block=32):
    s = x.abs().mean(0) ** alpha
    s = s / (s.max() * s.min()).sqrt()
    return s, from_codes(*round_to_nearest(w * s, block)) / s

# %% tags=["mutant:calibrated"]
# rounds to nearest and never looks at the inputs
def calibrated(w, x, block=32):
    return round_to_nearest(w, block)

# %% tags=["mutant:calibrated"]
# uses all sixteen levels, but never looks at the inputs
def calibrated(w, x, block=32):
    blocks = w.reshape(len(w), -1, block)
    scales = blocks.abs().amax(2) / 7.5
    return (blocks / scales[..., None]).round().clamp(-8, 7).to(torch.int8).reshape(w.shape), scales

# %% tags=["mutant:calibrated"]
# picks each block's scale by the error of the weights, not of the output
def calibrated(w, x, block=32):
    blocks = w.reshape(len(w), -1, block)
    scales, least = torch.ones(blocks.shape[:2]), torch.full(blocks.shape[:2], float("inf"))
    for factor in torch.linspace(0.6, 1, 21):
        tried = blocks.abs().amax(2) / 7 * factor
        error = ((blocks / tried[..., None]).round().clamp(-8, 7) * tried[..., None] - blocks).square().sum(2)
        scales, least = torch.where(error < least, tried, scales), torch.minimum(error, least)
    return (blocks / scales[..., None]).round().clamp(-8, 7).to(torch.int8).reshape(w.shape), scales

# %% tags=["mutant:calibrated"]
# codes of eight bits: a small error, and not the format
def calibrated(w, x, block=32):
    blocks = w.reshape(len(w), -1, block)
    scales = blocks.abs().amax(2) / 127
    return (blocks / scales[..., None]).round().to(torch.int8).reshape(w.shape), scales

# %% tags=["mutant:calibrated"]
# works on the w that it was given
def calibrated(w, x, block=32):
    codes, scales = torch.zeros(w.shape, dtype=torch.int8), w.reshape(len(w), -1, block).abs().amax(2) / 7
    h = x.T @ x
    h += 0.01 * h.diagonal().mean() * torch.eye(len(h))
    u = torch.linalg.cholesky(torch.linalg.inv(h), upper=True)
    for j in range(w.shape[1]):
        step = scales[:, j // block]
        codes[:, j] = (w[:, j] / step).round().clamp(-8, 7).to(torch.int8)
        w[:, j + 1 :] -= ((w[:, j] - codes[:, j] * step) / u[j, j])[:, None] * u[j, j + 1 :]
    return codes, scales
