"""The pretend GPU refuses what a GPU refuses, and only that.

Where a case needs a judge, it is torch itself: beside a "meta" tensor TensorIterator, the same C++ code as beside a CUDA
tensor, says which mixtures it takes. The others are what CUDA's sources say (named in pretend.py). All of them, and the
mixtures beside "meta", were put to a GPU too (NVIDIA H200, torch 2.11, 26 November 2026): four of 199 were otherwise than
here, and have been mended.
"""

# ruff: noqa: E501  # each case is one string
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
SETUP = """
import copy, io, json, sys, threading
import numpy as np, torch, torch.nn.functional as F
from torch import nn
sys.path.insert(0, {here!r})
import pretend
pretend.install({profile!r})
G = {device!r}
x = torch.ones(3, device=G)
m = torch.ones(3, 3, device=G)
i = torch.tensor([0, 1], device=G)
c = torch.ones(3)
s = torch.tensor(2.0)
net = nn.Linear(3, 3).to(G)
"""
RUN = """
def outcome(code):
    names = dict(globals())
    try:
        exec(code, names)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    value = names.get("r")
    return str(value.device) if isinstance(value, (torch.Tensor, torch.Generator)) else repr(value)
print(json.dumps([outcome(code) for code in json.load(sys.stdin)]))
"""


def run(codes: list[str], profile: str) -> list[str]:
    """What each piece of code leaves in `r` (the device of a tensor), or the error that it raises."""
    text = SETUP.format(here=str(HERE), profile=profile, device={"t4": "cuda", "mps": "mps"}[profile]) + RUN
    done = subprocess.run(
        [sys.executable, "-c", text], input=json.dumps(codes), capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return list(json.loads(done.stdout.splitlines()[-1]))


# code → what `r` is
ALLOWED = {
    # making and moving
    "r = torch.zeros(2, device=G)": "GPU",
    "r = c.clone(); r[i] = 1.0": "cpu",
    "r = c.clone(); r[i] = x[0]": "cpu",
    "r = torch.tensor([1.0], device=G)": "GPU",
    "r = torch.as_tensor(np.ones(2, dtype='float32'), device=G)": "GPU",
    "r = torch.zeros_like(x)": "GPU",
    "r = torch.zeros_like(c, device=G)": "GPU",
    "r = torch.zeros_like(x, device='cpu')": "cpu",
    "r = x.new_zeros(2)": "GPU",
    "r = x.new_tensor([1.0])": "GPU",
    "r = x.new_ones(2, device='cpu')": "cpu",
    "r = torch.ones(2).to(x)": "GPU",
    "r = torch.ones(2).to(G, torch.float16)": "GPU",
    "r = torch.ones(2).to(torch.float16)": "cpu",
    "r = torch.ones(2).to(device=x.device, dtype=torch.float16)": "GPU",
    "r = x.to('cpu')": "cpu",
    "r = x.cpu()": "cpu",
    "r = x.to(x.device)": "GPU",
    "r = x.half().float().detach().clone()": "GPU",
    # products of halves, which are added up in float32
    "h = torch.ones(9, 8, device=G).half(); r = h @ h.T; assert r.dtype == torch.float16 and (r == 8).all()": "GPU",
    "\nwith torch.inference_mode():\n    h = torch.ones(9, 8, device=G).half(); r = F.linear(h, h, h[:, 0]); assert (r == 9).all()": "GPU",
    "r = c.type_as(x)": "GPU",
    "r = copy.deepcopy(x)": "GPU",
    "r = copy.deepcopy(net).weight": "GPU",
    "r = nn.Parameter(x)": "GPU",
    "r = x[1:].view(2, 1).T": "GPU",
    "with torch.device(G):\n    r = torch.zeros(2)": "GPU",
    "with torch.device(G):\n    r = torch.tensor([1.0])": "GPU",
    "with torch.device('meta'):\n    r = torch.zeros(2)": "meta",
    "r = x.to('meta')": "meta",
    "b = io.BytesIO(); torch.save(x.cpu(), b); b.seek(0); r = torch.load(b, map_location=x.device)": "GPU",
    # a freed tensor's address may be another's: a new tensor is on the CPU
    "\nfor _ in range(50):\n    y = torch.ones(7, device=G); del y; r = torch.tensor([1.0] * 7); assert r.device.type == 'cpu'": "cpu",
    "\nfor _ in range(50):\n    y = torch.ones(7, device=G); del y; r = torch.from_numpy(np.ones(7, 'float32'))\nr.numpy()": "cpu",
    # beside a GPU tensor one CPU tensor without dimensions, or a number
    "r = x * 2.0": "GPU",
    "r = x + s": "GPU",
    "r = s + x": "GPU",
    "r = torch.where(x > 0, x, 0.0)": "GPU",
    "r = torch.where(x > 0, x, s)": "GPU",
    "r = torch.maximum(x, s)": "GPU",
    "r = x.masked_fill(x > 0, 2.0)": "GPU",
    "r = x.masked_fill(x > 0, s)": "GPU",
    "r = x.clone().add_(s)": "GPU",
    # copies and indices
    "r = x.clone(); r.copy_(c)": "GPU",
    "r = x.clone(); r[1:] = c[1:]": "GPU",
    "r = c.clone(); r[:] = x": "cpu",
    "r = c.clone(); r[0] = x[0]": "cpu",
    "r = x[torch.tensor([0, 1])]": "GPU",
    "r = x[[0, 1]]": "GPU",
    "r = x[torch.tensor([True, False, True])]": "GPU",
    "r = x[x > 0]": "GPU",
    "r = m[i, [0, 1]]": "GPU",
    "r = x.clone(); r[torch.tensor([0])] = s": "GPU",
    "r = x.clone(); r[i] = 5.0": "GPU",
    # what torch makes inside its own functions is where the arguments are
    "r = F.one_hot(i).float() @ torch.ones(2, 2, device=G)": "GPU",
    "r = nn.utils.rnn.pad_sequence([x, x[:1]])": "GPU",
    "r = torch.stack([x, x]).cumsum(0).sort().values": "GPU",
    "r = F.scaled_dot_product_attention(m[None], m[None], m[None], is_causal=True)": "GPU",
    "r = F.cross_entropy(m, torch.tensor([0, 1, 2], device=G))": "GPU",
    "r = torch.cdist(m, m)": "GPU",
    "r = torch.linalg.svd(m)[1]": "GPU",
    "with torch.inference_mode():\n    r = net(x)": "GPU",
    # training
    "y = x.clone().requires_grad_(); (y.cumprod(0)[1:] ** 2).sum().backward(); r = y.grad": "GPU",
    "y = m.clone().requires_grad_(); F.embedding(i, y).max().backward(); r = y.grad": "GPU",
    "\nfor kind in (torch.optim.AdamW, torch.optim.SGD, torch.optim.Adam):\n"
    "    n = copy.deepcopy(net); o = kind(n.parameters(), lr=0.1)\n"
    "    for _ in range(2):\n        o.zero_grad(); n(x).sum().backward(); nn.utils.clip_grad_norm_(n.parameters(), 1.0); o.step()\n"
    "r = n.weight": "GPU",
    "n = nn.Linear(3, 3); n.load_state_dict(net.state_dict()); r = n.weight": "cpu",
    "r = torch.func.vmap(lambda row: row * 2)(m)": "GPU",
    "r = torch.func.grad(lambda y: (y * y).sum())(x)": "GPU",
    # leaving
    "r = x.tolist()": "[1.0, 1.0, 1.0]",
    "r = x[0].item()": "1.0",
    "r = float(x.sum())": "3.0",
    "r = bool((x == 1).all())": "True",
    "r = x.cpu().numpy().sum().item()": "3.0",
    "r = x.numpy(force=True).sum().item()": "3.0",
    "r = x.is_cpu, c.is_cpu": "(False, True)",
    # random numbers
    "r = torch.rand(2, generator=torch.Generator().manual_seed(0)).to(G)": "GPU",
    "r = torch.rand(2, generator=torch.Generator(G).manual_seed(0), device=G)": "GPU",
    "r = torch.multinomial(x, 1, generator=torch.Generator(G).manual_seed(0))": "GPU",
    "r = torch.randperm(3, generator=torch.Generator().manual_seed(0))": "cpu",
    "r = torch.Generator(G)": "GPU",
    "r = torch.randn_like(x)": "GPU",
    # other threads
    "out = []\nt = threading.Thread(target=lambda: out.append(x + torch.ones(3, device=G)))\nt.start(); t.join(); r = out[0]": "GPU",
}
TWO = "RuntimeError: Expected all tensors to be on the same device"
REFUSED = {
    "r = x + c": TWO,
    "r = c + x[0]": TWO,  # the CPU tensor has dimensions
    "r = c.clone().add_(x)": TWO,
    "r = s.clone().add_(x[0])": TWO,  # written to, so it cannot be the scalar beside
    "r = torch.where(x > 0, x, c)": TWO,
    "r = x.masked_fill(c > 0, 1.0)": TWO,
    "r = m @ c": TWO,
    "r = net(c)": TWO,
    "with torch.inference_mode():\n    r = net(c)": TWO,
    "with torch.inference_mode():\n    r = F.cross_entropy(m, torch.tensor([0, 1, 2]))": TWO,
    "r = F.embedding(torch.tensor([0]), m)": TWO,
    "r = F.embedding(torch.tensor(0), m)": TWO,  # no TensorIterator: not even without dimensions
    "r = F.cross_entropy(m, torch.tensor([0, 1, 2]))": TWO,
    "r = torch.stack([x, c])": TWO,
    "r = torch.stack([x[0], c[0]])": TWO,
    "r = torch.cat([x, c])": TWO,
    "r = m.gather(1, torch.zeros(3, 1, dtype=torch.long))": TWO,
    "r = m.index_select(0, torch.tensor([0]))": TWO,
    "r = m.scatter(1, torch.zeros(3, 1, dtype=torch.long), 1.0)": TWO,
    "r = torch.equal(x, c)": TWO,
    "r = torch.allclose(x, c)": TWO,
    "r = x.clone(); r[i] = torch.ones(2)": TWO,
    "r = c[i]": "RuntimeError: indices should be either on cpu",
    "r = c.clone(); r[i] = torch.ones(2, device=G)": TWO,
    "r = F.scaled_dot_product_attention(m[None], m[None], m[None], attn_mask=torch.ones(3, 3, dtype=torch.bool))": TWO,
    "r = (net(x) - c).sum()": TWO,
    "r = torch.addcdiv(x, x, s)": TWO,
    "r = x.clamp(min=s)": TWO,  # its CUDA wrapper asks for one device before TensorIterator could be lenient
    "r = x.numpy()": "TypeError: can't convert GPU device type tensor to numpy",
    "r = np.asarray(x)": "TypeError: can't convert GPU device type tensor to numpy",
    "r = np.array([x[0], x[1]])": "TypeError: can't convert GPU device type tensor to numpy",
    "import pandas\nr = pandas.Series(x)": "TypeError: can't convert GPU device type tensor to numpy",
    "from matplotlib import pyplot\npyplot.plot(x)": "TypeError: can't convert GPU device type tensor to numpy",
    "r = torch.rand(2, generator=torch.Generator().manual_seed(0), device=G)": "RuntimeError: Expected a ",
    "r = torch.rand(2, generator=torch.Generator(G).manual_seed(0))": "RuntimeError: Expected a 'cpu'",
    "r = torch.multinomial(x, 1, generator=torch.Generator().manual_seed(0))": "RuntimeError: Expected a ",
    "r = x.clone().normal_(generator=torch.Generator())": "RuntimeError: Expected a ",
    "\nfailed = []\ndef work():\n    try:\n        x + c\n    except RuntimeError as error:\n        failed.append(error)\n"
    "t = threading.Thread(target=work); t.start(); t.join()\nraise failed[0]": TWO,
}
CUDA_ONLY = {
    "torch.cuda.set_device(0); torch.cuda.synchronize(); r = torch.cuda.current_device()": "0",  # as transformers' Trainer does
    "e = torch.Event(device=x.device); e.record(); r = e.query()": "True",  # as generate() does
    # cuBLAS has no whole numbers
    "r = torch.ones(2, 2, dtype=torch.long, device=G) @ torch.ones(2, 2, dtype=torch.long, device=G)": (
        "NotImplementedError: \"addmm_cuda\" not implemented for 'Long'"
    ),
    "with torch.inference_mode():\n"
    "    r = torch.ones(2, 2, dtype=torch.int32, device=G) @ torch.ones(2, 2, dtype=torch.int32, device=G)": (
        "NotImplementedError: \"addmm_cuda\" not implemented for 'Int'"
    ),
    "r = torch.ones(2, 2, dtype=torch.long) @ torch.ones(2, 2, dtype=torch.long)": "cpu",
    "r = x.double()": "GPU",
    "r = torch.ones(2).to('mps')": "RuntimeError: PyTorch is not linked with support for mps devices",
    "from course_utils import hardware; h = hardware.detect(); r = h.gpu, h.capability, h.bitsandbytes_cuda, h.bf16_on_gpu": (
        "('Tesla T4', (7, 5), True, False)"
    ),
    "r = torch.cuda.is_available(), torch.cuda.device_count(), torch.cuda.get_device_capability()": "(True, 1, (7, 5))",
}
FLOAT64 = "TypeError: Cannot convert a MPS Tensor to float64"
MPS_ONLY = {
    "r = x.double()": FLOAT64,
    "r = torch.zeros(2, dtype=torch.float64, device=G)": FLOAT64,
    "r = torch.from_numpy(np.ones(2)).to(G)": FLOAT64,
    "r = torch.tensor(np.ones(2), device=G)": FLOAT64,
    "r = torch.from_numpy(np.ones(2)).to(G, torch.float32)": "GPU",
    "r = x.cpu().double()": "cpu",
    "r = torch.ones(2).to('cuda')": "AssertionError: Torch not compiled with CUDA enabled",
    "r = torch.cuda.is_available()": "False",
}
CASES = {profile: {**ALLOWED, **REFUSED, **own} for profile, own in (("t4", CUDA_ONLY), ("mps", MPS_ONLY))}


@pytest.mark.parametrize("profile", CASES)
def test_refuses_what_a_gpu_refuses_and_only_that(profile: str) -> None:
    cases = CASES[profile]
    name = {"t4": "cuda:0", "mps": "mps:0"}[profile]
    wrong = {
        code: (got, want)
        for (code, want), got in zip(cases.items(), run(list(cases), profile), strict=True)
        if not got.startswith(want.replace("GPU", name)) or ("Error" in got) != ("Error" in want)
    }
    assert not wrong, "\n".join(f"{code}\n  gives {got}\n  should give {want}" for code, (got, want) in wrong.items())


# operation → how it is called with a tensor with dimensions and another one
POINTWISE = {
    "add sub mul div pow maximum minimum fmod remainder atan2 eq lt ge": "torch.{}(a, b)",
    "logical_and bitwise_and": "torch.{}(a > 0, b > 0)",
    "addcmul": "torch.{}(a, a, b)",
    "lerp": "torch.{}(a, a, b)",
    "where": "torch.{}(a > 0, a, b)",
}
CALLS = [form.format(name) for names, form in POINTWISE.items() for name in names.split()]


def test_pointwise_operations_are_judged_as_torch_s_own_iterator_judges() -> None:
    """Beside a meta tensor the same TensorIterator decides as beside a CUDA tensor."""
    import torch

    pairs = [(call, b) for call in CALLS for b in ("torch.tensor(2.0)", "torch.ones(3)")]
    got = run([f"a, b = x, {b}\nr = {call}" for call, b in pairs], "t4")
    for (call, b), answer in zip(pairs, got, strict=True):
        names: dict[str, Any] = {"torch": torch, "a": torch.ones(3, device="meta"), "b": eval(b, {"torch": torch})}
        try:
            eval(call, names)
            wanted = True
        except RuntimeError:  # of torch itself
            wanted = False
        assert ("Error" not in answer) == wanted, (call, b, answer)


def test_a_model_is_where_load_model_puts_it(tmp_path: Path) -> None:
    codes = [
        "from course_utils import load_model, generate, scoring\nmodel, tokenizer = load_model()\n"
        "text = generate(model, tokenizer, 'Hello', max_new_tokens=3)\n"
        "table = scoring.loglikelihood(model, tokenizer, ['The sky is'], [' blue', ' green'], progress=False)\n"
        "r = str(model.device), str(model.dtype), type(text).__name__, bool(table.loglikelihood[0] > table.loglikelihood[1])",
        "from course_utils import load_model\nmodel, tokenizer = load_model()\n"
        "r = model(**tokenizer('The sky', return_tensors='pt')).logits",
        "from course_utils import load_model\nmodel, tokenizer = load_model(precision='fp32')\n"
        "r = model(**tokenizer('The sky', return_tensors='pt').to(model.device)).logits",
        "from peft import LoraConfig, PeftModel, get_peft_model\nfrom course_utils import load_model\n"
        "model, _ = load_model(precision='fp32')\n"
        f"get_peft_model(model, LoraConfig(r=2)).save_pretrained({str(tmp_path)!r})\n"
        f"again = PeftModel.from_pretrained(load_model(precision='fp32')[0], {str(tmp_path)!r})\n"
        "r = {str(p.device) for p in again.parameters()}",
    ]
    first, second, third, fourth = run(codes, "t4")
    assert first == "('cuda:0', 'torch.float16', 'str', True)"
    assert second.startswith(TWO)
    assert third == "cuda:0"
    assert fourth == "{'cuda:0'}"


@pytest.mark.parametrize("quick", [True, False])
def test_products_of_halves_are_those_of_their_values(quick: bool) -> None:
    """However this processor multiplies them, and whatever the product is of: a few tokens of a batch, one, none."""
    made = f"""
pretend._halves_are_quick = lambda: {quick}
torch.manual_seed(0)
a, w, b = torch.randn(2, 5, 64), torch.randn(7, 64), torch.randn(7)
def same(product, *given):
    with torch.inference_mode(mode):
        want = product(*(t.half().float() for t in given))
        got = product(*(t.half().to(G) for t in given))
    return got.is_cuda and got.dtype == torch.float16 and got.shape == want.shape and torch.allclose(got.cpu().float(), want, rtol=2e-3, atol=2e-2)
"""
    cases = [
        f"{made}mode = {mode}\nr = same({product})"
        for mode in (True, False)
        for product in (
            "lambda a, w: F.linear(a[:, -1:], w), a, w", "lambda a, w, b: F.linear(a[:, -1:], w, b), a, w, b",
            "F.linear, a, w, b", "F.linear, a[0, 0], w", "F.linear, a[:0], w", "lambda a, w: a @ w.T, a, w",
            "torch.mm, a[0], w.T", "torch.addmm, b, a[0], w.T", "torch.bmm, a, a.mT", "torch.baddbmm, b[:5], a, a.mT",
        )
    ]  # fmt: skip
    assert run(cases, "t4") == ["True"] * len(cases)
