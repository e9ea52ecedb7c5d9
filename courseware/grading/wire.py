"""Plain data: how an answer leaves a student's process. No pickle: JSON, with arrays as dtype, shape and bytes.

`plain` and `encode` run beside the student's code, so this file must stand alone: its source is sent there.
"""

from __future__ import annotations

import base64
import json
import math
import re
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

_MAX_DEPTH = 32
_NUMBERS = re.compile(r"[<>|](b1|[iu][1248]|f(2|4|8|16))")  # dtypes that can be carried, as NumPy writes them


def plain(value: Any) -> Any:
    """Plain data: tensors become NumPy arrays (bfloat16 as float32), the rest numbers, strings, lists and dicts.

    Raises:
        TypeError: anything else, also arrays of something else than numbers, and complex numbers.
    """
    torch = sys.modules.get("torch")  # a lab without torch need not wait for it
    if torch is not None and isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy().copy()
    if isinstance(value, np.ndarray) and not _NUMBERS.fullmatch(value.dtype.str):
        raise TypeError(
            f"a probe returned an array of {value.dtype}, which is not plain data (use .real, .imag or .tolist())"
        )
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if value is None or isinstance(value, (bool, int, float, str, np.ndarray)):
        return value
    if isinstance(value, np.generic):
        return plain(value.item())
    raise TypeError(f"a probe returned a {type(value).__name__}, which is not plain data")


def encode(value: Any) -> Any:
    """Plain data as something that json.dumps takes."""
    if isinstance(value, np.ndarray):
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode("ascii")
        return {"array": value.dtype.str, "shape": list(value.shape), "data": data}
    if isinstance(value, dict):
        return {"dict": {key: encode(entry) for key, entry in value.items()}}
    if isinstance(value, list):
        return [encode(entry) for entry in value]
    return value


def decode(value: Any, depth: int = 0) -> Any:
    """The way back. What comes may be a stranger's, so everything is checked.

    Raises:
        ValueError: it is not what `encode` makes.
    """
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deep")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [decode(entry, depth + 1) for entry in value]
    if isinstance(value, dict) and set(value) == {"dict"} and isinstance(value["dict"], dict):
        return {key: decode(entry, depth + 1) for key, entry in value["dict"].items()}
    if isinstance(value, dict) and set(value) == {"array", "shape", "data"}:
        return _array(value["array"], value["shape"], value["data"])
    raise ValueError("not plain data")


def carried(value: Any) -> Any:
    """The same as it arrives after the way out of a box.

    Raises:
        TypeError, ValueError: it would not get through.
    """
    return decode(json.loads(json.dumps(encode(plain(value)))))


def _array(dtype: Any, shape: Any, data: Any) -> np.ndarray:
    if not isinstance(dtype, str) or not _NUMBERS.fullmatch(dtype) or not isinstance(data, str):
        raise ValueError("not an array of numbers")
    if not isinstance(shape, list) or len(shape) > 16 or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("not the shape of an array")
    try:
        kind, raw = np.dtype(dtype), base64.b64decode(data, validate=True)
    except (TypeError, ValueError) as error:
        raise ValueError("not an array of numbers") from error
    if math.prod(shape) * kind.itemsize != len(raw):
        raise ValueError("the bytes of an array do not fit its shape")
    return np.frombuffer(raw, kind).reshape(shape)
