"""Elements as JSON-safe values: for the small states of scan and reduce-like stages."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from lamina.core.nest import flatten, pack


def encode_element(element: Any) -> list[Any]:
    """The leaves of an element as JSON-safe values."""
    return [_encode(leaf) for leaf in flatten(element)]


def decode_element(saved: list[Any], like: Any) -> Any:
    """The element that `encode_element` took, nested like `like`."""
    return pack(like, [_decode(v) for v in saved])


def _encode(leaf: Any) -> Any:
    if isinstance(leaf, bytes):
        return {"bytes": base64.b64encode(leaf).decode()}
    array = np.asarray(leaf)
    if array.dtype == object:
        values = [base64.b64encode(v).decode() for v in array.reshape(-1)]
        return {"strings": values, "shape": list(array.shape)}
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"data": data, "shape": list(array.shape), "dtype": array.dtype.name}


def _decode(saved: Any) -> Any:
    if "bytes" in saved:
        return base64.b64decode(saved["bytes"])
    if "strings" in saved:
        out = np.empty(len(saved["strings"]), object)
        out[:] = [base64.b64decode(v) for v in saved["strings"]]
        return out.reshape(saved["shape"])
    array = np.frombuffer(base64.b64decode(saved["data"]), np.dtype(saved["dtype"])).reshape(saved["shape"]).copy()
    return array[()] if array.ndim == 0 else array
