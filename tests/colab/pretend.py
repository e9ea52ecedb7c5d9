"""A pretend GPU: every notebook runs as it would beside a CUDA or an Apple GPU, on a machine that has neither.

    import pretend

    pretend.install("t4")  # or "mps"; in a notebook's first cell, before anything else

Tensors stay in the CPU's memory; a mark on each storage says where it would live. `Tensor.device`, `.to`, `.numpy` and their
like read and move the mark, and each operation is refused where the GPU would refuse it. What torch itself knows decides
that: `native_functions.yaml` (packed with torch) says for each operation whether all of its tensors must be on one device
("ExactSame", the default) or whether TensorIterator judges, which lets one CPU tensor without dimensions beside the others.
The few operations with rules of their own (copies, indexing) are listed by name, with torch's source.

What it cannot show: kernels' own rounding, speed, running out of memory, asynchronous errors. bitsandbytes and other custom
operations run their CPU kernels, unchecked. A tensor's printed form does not name its device.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
import torchgen
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

Tensor = torch.Tensor
_NO_FLOAT64 = (
    "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64. Please use float32 instead. "
    "(pretend)"
)
PROFILES = {"t4": torch.device("cuda", 0), "mps": torch.device("mps", 0)}
MEMORY, FREE = 15_828_320_256, 15_700_000_000  # bytes, as a T4 in Colab reports them
_device = PROFILES["t4"]  # of the profile that is installed
_context = threading.local()  # .places: for each torch call that Python makes now, where tensors are that it makes inside

# ------------------------------------------------------------------------------------------------------------ the mark


def on_gpu(tensor: Tensor) -> bool:
    """Would this tensor live on the GPU? Views share a storage, and so its mark."""
    try:
        return hasattr(tensor.untyped_storage(), "_on_gpu")
    except (NotImplementedError, RuntimeError):  # no storage of its own
        if torch._C._functorch.is_functorch_wrapped_tensor(tensor):  # inside vmap or grad
            return on_gpu(torch._C._functorch.get_unwrapped(tensor))
        return False  # sparse, fake


def mark(tensor: Tensor, gpu: bool) -> None:
    """Say where the tensor lives, with all that share its storage."""
    try:
        storage = tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):  # sparse, fake
        return
    if gpu and not tensor.is_meta:
        if _device.type == "mps" and tensor.dtype in (torch.float64, torch.complex128):
            raise TypeError(_NO_FLOAT64)
        storage._on_gpu = True
    elif hasattr(storage, "_on_gpu"):
        del storage._on_gpu


def is_gpu(device: Any) -> bool:
    """Does what a caller wrote as device name the GPU? Raises for the other kind of GPU, as torch does."""
    kind = _device.type if isinstance(device, int) else torch.device(device).type
    if kind in ("cuda", "mps") and kind != _device.type:
        text = (
            "Torch not compiled with CUDA enabled"
            if kind == "cuda"
            else "PyTorch is not linked with support for mps devices"
        )
        raise (AssertionError if kind == "cuda" else RuntimeError)(f"{text} (pretend)")
    return kind == _device.type


def tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among arguments or results, in lists and tuples too."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors(value)


# --------------------------------------------------------------------------------------------- which mixtures are refused


@functools.cache
def _no_check() -> frozenset[str]:
    """Operations whose CUDA wrapper does not ask for one device; they ask themselves, most through TensorIterator."""
    text = (Path(torchgen.__file__).parent / "packaged/ATen/native/native_functions.yaml").read_text(encoding="utf-8")
    blocks = re.split(r"(?m)^- func: ", text)[1:]
    return frozenset(f"aten::{b.partition('(')[0]}" for b in blocks if "device_check: NoCheck" in b)


# copy_ and its relatives move between devices (aten/src/ATen/native/Copy.cpp, TensorShape.cpp: *_scatter copy into a clone)
COPIES = {
    "aten::copy_",
    "aten::copy",
    "aten::_to_copy",
    "aten::_foreach_copy_",
    "aten::slice_scatter",
    "aten::select_scatter",
}
COPIES |= {"aten::diagonal_scatter", "aten::as_strided_scatter", "aten::is_same_size"}
# lengths stay on the CPU whatever the device (PackedSequence.cpp, TensorShape.cpp)
WITH_CPU_LENGTHS = {"aten::_pack_padded_sequence", "aten::split.Tensor", "aten::unsafe_split.Tensor", "aten::tensor_split"}
WITH_CPU_LENGTHS |= {"aten::tensor_split.tensor_indices_or_sections"}
# Indices move to the indexed tensor, as values without dimensions do; only reading a CPU tensor at GPU indices is refused
# (TensorAdvancedIndexing.cpp: index's own check, make_info, index_put_)
READING = {"aten::index.Tensor", "aten::_unsafe_index.Tensor"}
INDEXING = READING | {"aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index_put"}
# TensorIterator takes a CPU scalar here, their CUDA kernel does not (seen on a GPU; beside "meta" it passes)
NO_SCALAR = {"aten::addcdiv", "aten::addcdiv_"}
# cuBLAS has no whole numbers (Blas.cpp, LinearAlgebra.cpp: "addmm_cuda" not implemented for 'Long')
PRODUCTS = {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::mv", "aten::addmv", "aten::dot", "aten::vdot"}
SCALAR_TYPES = {torch.int64: "Long", torch.int32: "Int", torch.int16: "Short", torch.int8: "Char", torch.uint8: "Byte"}
SCALAR_TYPES[torch.bool] = "Bool"
COMPOSED_PRODUCTS = {"aten::matmul", "aten::linear", "aten::einsum", "aten::inner", "aten::outer", "aten::tensordot"}


def _refuse(name: str) -> RuntimeError:
    return RuntimeError(
        f"Expected all tensors to be on the same device, but found at least two devices, {_device} and cpu! "
        f"(pretend; in {name})"
    )


def _check_mixture(name: str, given: list[Tensor], args: tuple[Any, ...]) -> None:
    """Raise if the GPU would refuse these tensors, of which some are on it and some are not."""
    if name in COPIES:
        return
    if name in WITH_CPU_LENGTHS:
        if on_gpu(given[-1]):
            raise RuntimeError(f"lengths and sections must be on the CPU (pretend; in {name})")
        return
    if name in INDEXING:
        if name in READING and not on_gpu(given[0]):
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu) (pretend)")
        if len(args) > 2 and on_gpu(args[2]) != on_gpu(given[0]) and args[2].dim() > 0:
            raise _refuse(name)
        return
    if name in _no_check() and name not in NO_SCALAR:
        # TensorIterator.cpp, compute_types: the first GPU tensor sets the device; one CPU tensor without dimensions may
        # stand beside it (allow_cpu_scalars), unless it is the one that is written to.
        beside = [tensor for tensor in given if not on_gpu(tensor)]
        written = name.rpartition("::")[2].partition(".")[0].endswith("_") and not on_gpu(given[0])
        if all(tensor.dim() == 0 for tensor in beside) and len(beside) == 1 and not written:
            return
    raise _refuse(name)


def _foreach(name: str, args: tuple[Any, ...]) -> None:
    """`_foreach_*` work tensor by tensor where devices differ (ForeachUtils.h, can_use_fast_route)."""
    lists = [arg for arg in args if isinstance(arg, (list, tuple)) and arg and isinstance(arg[0], Tensor)]
    single = [arg for arg in args if isinstance(arg, Tensor)]
    for row in zip(*lists, strict=True):
        given = [*row, *single]
        if 0 < sum(map(on_gpu, given)) < len(given):
            _check_mixture("aten::add.Tensor" if not name.endswith("_") else "aten::add_.Tensor", given, tuple(given))


class _Operations(TorchDispatchMode):
    """Each operation as it reaches a kernel: refuse what the GPU refuses, mark what comes out."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:  # nothing compiles here, and being skipped costs more than the check itself
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = list(tensors(args))
        if kwargs:
            given += tensors(kwargs.values())
        gpu = [on_gpu(tensor) for tensor in given]
        places = getattr(_context, "places", None)
        explicit, inside = places[-1] if places else (None, False)
        name = func.name()
        if any(gpu) and name.startswith("aten::"):
            if not all(gpu):
                given_on_cpu = [t for t, there in zip(given, gpu, strict=True) if not there and not t.is_meta]
                if given_on_cpu and name not in COPIES:
                    if _composed(name):
                        with self:
                            return func.decompose(*args, **kwargs)
                    if name.startswith("aten::_foreach_"):
                        _foreach(name, args)
                    else:
                        _check_mixture(name, given, args)
            _check_kernel(func, name, given)
            if name in COMPOSED_PRODUCTS and any(not t.is_floating_point() for t in given) and _composed(name):
                with self:
                    return func.decompose(*args, **kwargs)
        if any(gpu) and name in _PRODUCTS_OF_HALVES and all(t.dtype == torch.float16 and not t.is_meta for t in given):
            out = _product_of_halves(func, name, args, kwargs)
        else:
            out = func(*args, **kwargs)
        if explicit is not None and (not given or "device" in kwargs):
            where = explicit
        elif not given:
            where = inside
        elif name in COPIES or name in INDEXING:
            where = gpu[0]
        else:
            where = any(gpu)
        generator = kwargs.get("generator")
        if generator is not None and (generator._cdata in _gpu_generators) != where:
            wanted, found = (_device.type, "cpu") if where else ("cpu", _device.type)
            raise RuntimeError(f"Expected a '{wanted}' device type for generator but found '{found}' (pretend; in {name})")
        if where:
            for tensor in tensors(out if isinstance(out, (list, tuple)) else (out,)):
                mark(tensor, True)
        return out


@functools.cache
def _composed(name: str) -> bool:
    """Made of other operations, which then are judged. Seen in inference mode only: else autograd has taken it apart."""
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(name, "CompositeImplicitAutograd"))


_PRODUCTS_OF_HALVES = {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::linear", "aten::matmul"}


@functools.cache
def _halves_are_quick() -> bool:
    """Has this processor products of float16, with float32 sums as a GPU's? Few have (AVX512-FP16, AMX-FP16)."""
    return bool(torch._C._has_mkldnn and torch.ops.mkldnn._is_mkldnn_fp16_supported())


def _product_of_halves(func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """A product of float16, which a CPU may compute a hundred times more slowly than one of float32; the same values."""
    folded = name == "aten::linear"  # else of a part of each sequence, say its last token, it is a product for each one
    shape = args[0].shape
    if folded:
        args = (args[0].reshape(-1, shape[-1]), *args[1:])
    left = args[1 if "add" in name else 0]
    if left.numel() <= 4 * left.shape[-1] or _halves_are_quick():
        out = func(*args, **kwargs)
    else:
        out = func(*(arg.float() if isinstance(arg, Tensor) else arg for arg in args), **kwargs).half()
    return out.reshape(*shape[:-1], out.shape[-1]) if folded else out


def _check_kernel(func: Any, name: str, given: list[Tensor]) -> None:
    """What a CUDA kernel does not do and a CPU kernel does."""
    if (
        _device.type == "cuda"
        and name in PRODUCTS
        and given
        and not (given[-1].is_floating_point() or given[-1].is_complex())
    ):
        kind = SCALAR_TYPES[given[-1].dtype]
        short = name.removeprefix("aten::")
        kernel = {"mm": "addmm_cuda", "addmm": "addmm_cuda", "bmm": "baddbmm_cuda", "baddbmm": "baddbmm_cuda"}.get(
            short, {"mv": "addmv_impl_cuda", "addmv": "addmv_impl_cuda"}.get(short, short)
        )
        raise NotImplementedError(f'"{kernel}" not implemented for {kind!r} (pretend)')


# ------------------------------------------------------------------------------------------- what Python asks of a tensor

_GETTERS = {
    Tensor.device: lambda tensor, found: _device if found.type == "cpu" and on_gpu(tensor) else found,
    Tensor.is_cuda: lambda tensor, found: found or (_device.type == "cuda" and on_gpu(tensor)),
    Tensor.is_mps: lambda tensor, found: found or (_device.type == "mps" and on_gpu(tensor)),
    Tensor.is_cpu: lambda tensor, found: found and not on_gpu(tensor),
}


def _numpy(func: Callable[..., Any], tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
    if on_gpu(tensor) and not (kwargs.get("force") or (args and args[0] is True)):
        raise TypeError(
            f"can't convert {_device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory "
            "first. (pretend)"
        )
    return func(tensor, *args, **kwargs)


def _moved(tensor: Tensor, gpu: bool) -> Tensor:
    """A copy on the other device, part of the same graph; or the tensor itself where it is there."""
    if gpu == on_gpu(tensor) or tensor.is_meta:
        return tensor
    copy = tensor.clone()
    mark(copy, gpu)
    return copy


def _to(func: Callable[..., Any], tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
    """`Tensor.to` in its three forms: (device, dtype), (dtype), (other); each may be followed by non_blocking and copy."""
    rest = list(args)
    device, other = kwargs.pop("device", None), kwargs.pop("other", None)
    if rest and isinstance(rest[0], Tensor):
        other = rest.pop(0)
    elif rest and not isinstance(rest[0], torch.dtype):
        device = rest.pop(0)
    if rest and (isinstance(rest[0], torch.dtype) or rest[0] is None):
        kwargs["dtype"] = rest.pop(0)
    if rest[1:] == [True]:
        kwargs["copy"] = True
    kwargs.pop("non_blocking", None)
    target = None
    if other is not None:
        target, kwargs["dtype"] = on_gpu(other), other.dtype
    elif device is not None:
        if not isinstance(device, int) and torch.device(device).type == "meta":
            return func(tensor, device=device, **kwargs)
        target = is_gpu(device)
    kwargs = {name: value for name, value in kwargs.items() if value is not None}
    if target and _device.type == "mps" and kwargs.get("dtype", tensor.dtype) == torch.float64:
        raise TypeError(_NO_FLOAT64)
    out = func(tensor, **kwargs) if kwargs else tensor
    return out if target is None else _moved(out, target)


def _new_tensor(func: Callable[..., Any], tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
    device = kwargs.pop("device", None)
    out = func(tensor, *args, **kwargs)
    mark(out, on_gpu(tensor) if device is None else is_gpu(device))
    return out


def _as_tensor(func: Callable[..., Any], data: Any, *args: Any, **kwargs: Any) -> Any:
    """torch.tensor, as_tensor, asarray: no operation makes the result, so it is marked here."""
    device = kwargs.pop("device", None)
    same = isinstance(data, Tensor)
    out = func(data, *args, **kwargs)
    if device is None:
        target = same and on_gpu(data)
    else:
        if not isinstance(device, int) and torch.device(device).type == "meta":
            return func(data, *args, device=device, **kwargs)
        target = is_gpu(device)
    if same and out is data:
        return _moved(out, target)
    mark(out, target)
    return out


def _type_as(func: Callable[..., Any], tensor: Tensor, other: Tensor) -> Any:
    return _moved(func(tensor, other), on_gpu(other))


def _type(func: Callable[..., Any], tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
    found = func(tensor, *args, **kwargs)
    return found.replace("torch.", f"torch.{_device.type}.") if isinstance(found, str) and on_gpu(tensor) else found


def _load(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    where = kwargs.get("map_location")
    if isinstance(where, (str, torch.device)):
        kwargs["map_location"] = "cpu"
    out = func(*args, **kwargs)
    if isinstance(where, (str, torch.device)) and is_gpu(where):
        for tensor in tensors(out.values() if isinstance(out, dict) else (out,)):
            mark(tensor, True)
    return out


_METHODS: dict[Any, Callable[..., Any]] = {
    Tensor.numpy: _numpy,
    Tensor.__array__: _numpy,
    Tensor.to: _to,
    Tensor.cpu: lambda func, tensor, *args, **kwargs: _moved(tensor, False),
    Tensor.cuda: lambda func, tensor, *args, **kwargs: _moved(tensor, is_gpu("cuda")),
    Tensor.type_as: _type_as,
    Tensor.type: _type,
    Tensor.get_device: lambda func, tensor: 0 if on_gpu(tensor) else func(tensor),
    Tensor.pin_memory: lambda func, tensor, *args: tensor,
    Tensor.new_tensor: _new_tensor,
    torch.tensor: _as_tensor,
    torch.as_tensor: _as_tensor,
    torch.asarray: _as_tensor,
}
_GETTER = type(Tensor.device.__get__)


class _Calls(TorchFunctionMode):
    """Each call of torch that Python makes: answer where a tensor is, move it, and note for what happens inside where new
    tensors are to be: where the caller said, else where its arguments are."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if type(func) is _GETTER:
            found = func(*args)
            answer = _GETTERS.get(func.__self__)
            return answer(args[0], found) if answer else found
        kwargs = kwargs or {}
        own = _METHODS.get(func)
        if own is not None:
            return own(func, *args, **kwargs)
        explicit = None
        device = kwargs.get("device")
        if device is not None and (isinstance(device, int) or torch.device(device).type != "meta"):
            explicit = is_gpu(device)
            kwargs = {**kwargs, "device": "cpu"}
        if kwargs.get("pin_memory"):
            kwargs = {**kwargs, "pin_memory": False}
        if not hasattr(_context, "places"):
            _context.places = []
        inside = any(map(on_gpu, tensors(args)))
        _context.places.append((explicit, inside))
        try:
            return func(*args, **kwargs)
        finally:
            _context.places.pop()


# ------------------------------------------------------------------------------------------------- the rest of the machine

_gpu_generators: set[int] = set()
_kept: list[torch.Generator] = []  # so that no other generator gets the same address


class Generator(torch.Generator):
    """`torch.Generator(device)`: the random numbers are the CPU's."""

    def __new__(cls, device: Any = "cpu") -> Generator:
        made = super().__new__(cls, "cpu")
        if is_gpu(device):
            _gpu_generators.add(made._cdata)
            _kept.append(made)
        return made

    def __init__(self, device: Any = "cpu") -> None:
        pass

    @property
    def device(self) -> torch.device:
        return _device if self._cdata in _gpu_generators else torch.device("cpu")


class _Nothing:
    """A stream or an event: nothing to wait for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        import time

        self.time = time.perf_counter()

    def record(self, *args: Any) -> None:
        self.__init__()  # type: ignore[misc]

    def synchronize(self, *args: Any) -> None: ...

    wait = wait_event = wait_stream = record_event = synchronize

    def is_capturing(self) -> bool:
        return False

    def query(self) -> bool:
        """Is it done?"""
        return True

    def elapsed_time(self, end: _Nothing) -> float:
        return 1000 * (end.time - self.time)


def _nothing(*args: Any, **kwargs: Any) -> None: ...


def _cuda() -> dict[str, Any]:
    """What torch.cuda says of a T4 in Colab."""
    properties = types.SimpleNamespace(
        name="Tesla T4", major=7, minor=5, total_memory=MEMORY, multi_processor_count=40, warp_size=32, is_integrated=0
    )
    silent = [
        "synchronize",
        "empty_cache",
        "reset_peak_memory_stats",
        "manual_seed",
        "manual_seed_all",
        "init",
        "_lazy_init",
        "set_device",
    ]
    zero = ["current_device", "memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved"]
    return {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 1,
        "get_device_name": lambda *_: properties.name,
        "get_device_capability": lambda *_: (7, 5),
        "get_device_properties": lambda *_: properties,
        "mem_get_info": lambda *_: (FREE, MEMORY),
        "is_bf16_supported": lambda including_emulation=True: including_emulation,
        "get_rng_state": lambda *_: torch.get_rng_state(),
        "get_rng_state_all": lambda: [torch.get_rng_state()],
        "set_rng_state": _nothing,
        "set_rng_state_all": _nothing,
        "is_current_stream_capturing": lambda: False,
        "current_stream": _Nothing,
        "Stream": _Nothing,
        "Event": _Nothing,
        **dict.fromkeys(silent, _nothing),
        **{name: (lambda *_: 0) for name in zero},
    }


def _install_machine(profile: str) -> None:
    """torch.cuda or torch.mps, and what the course's helper asks beside them."""
    with contextlib.suppress(ImportError):  # not every environment has it
        import bitsandbytes  # noqa: F401  # chooses its CPU kernels before there is a GPU
    if profile == "t4":
        for name, value in _cuda().items():
            setattr(torch.cuda, name, value)
        torch.version.cuda = "12.8"
    else:
        torch.backends.mps.is_available = lambda: True
        torch.backends.mps.is_built = lambda: True
        for name in ("synchronize", "empty_cache", "manual_seed"):
            setattr(torch.mps, name, _nothing)
        for name, value in (
            ("recommended_max_memory", FREE),
            ("current_allocated_memory", 0),
            ("driver_allocated_memory", 0),
        ):
            setattr(torch.mps, name, lambda value=value: value)
        torch.mps.device_count = lambda: 1
    accelerator = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_accelerator": lambda check_available=False: torch.device(_device.type),
        "current_device_index": lambda: 0,
        "current_stream": _Nothing,
        "synchronize": _nothing,
        "empty_cache": _nothing,
    }
    for name, value in accelerator.items():
        setattr(torch.accelerator, name, value)
    torch.Event = _Nothing
    torch.Generator = Generator
    torch.load = functools.partial(_load, torch.load)

    if profile == "t4":  # bitsandbytes has only its CPU kernels here
        from course_utils import hardware

        detect = hardware.detect
        hardware.detect = lambda: dataclasses.replace(detect(), bitsandbytes_cuda=True, bitsandbytes_problem=None)


def _install_loading() -> None:
    """transformers reads weights in threads and with code of its own: it loads on the CPU, and the whole is moved."""
    from transformers import PreTrainedModel

    load = PreTrainedModel.from_pretrained.__func__  # type: ignore[attr-defined]

    def from_pretrained(cls: Any, *args: Any, device_map: Any = None, **kwargs: Any) -> Any:
        first = next(iter(device_map.values()), None) if isinstance(device_map, dict) else device_map
        gpu = first is not None and (first == "auto" or is_gpu(first))
        loaded = load(cls, *args, device_map="cpu" if first is not None else None, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if gpu:
            for module in model.modules():
                # bitsandbytes keeps scales beside its weights, as plain attributes
                held = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
                for parameter in list(held):
                    held += tensors(vars(parameter).values())
                    held += tensors(vars(getattr(parameter, "quant_state", None) or types.SimpleNamespace()).values())
                held += tensors(vars(getattr(module, "state", None) or types.SimpleNamespace()).values())
                for tensor in held:
                    mark(tensor, True)
        return loaded

    PreTrainedModel.from_pretrained = classmethod(from_pretrained)


def _install_threads() -> None:
    """Modes belong to a thread: each new one enters them."""
    run = threading.Thread._bootstrap_inner  # type: ignore[attr-defined]

    def bootstrap(self: threading.Thread) -> None:
        with _Operations(), _Calls():
            run(self)

    threading.Thread._bootstrap_inner = bootstrap  # type: ignore[attr-defined]


def _install_storages() -> None:
    """`copy.deepcopy` of a tensor copies its storage below every operation."""
    base = torch.UntypedStorage
    copied = base.clone

    def clone(self: Any) -> Any:
        made = copied(self)
        if hasattr(self, "_on_gpu"):
            made._on_gpu = True
        return made

    base.clone = clone


def beginning(profile: str) -> str:
    """The source that a kernel begins with to run beside such a GPU."""
    return f"import sys\nsys.path.append({str(Path(__file__).parent)!r})\nimport pretend\npretend.install({profile!r})"


def install(profile: str = "t4") -> None:
    """Pretend until the process ends. `profile`: "t4" (CUDA, compute capability 7.5) or "mps" (an Apple GPU)."""
    global _device
    _device = PROFILES[profile]
    _install_machine(profile)
    _install_storages()
    _install_loading()
    _install_threads()
    _Operations().__enter__()
    _Calls().__enter__()
