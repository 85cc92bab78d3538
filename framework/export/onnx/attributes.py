"""Attributes of an ONNX node that was read, as Python values."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.export.onnx.tensors import DTYPES

_FLOAT, _INT, _STRING, _TENSOR, _GRAPH, _FLOATS, _INTS, _STRINGS = 1, 2, 3, 4, 5, 6, 7, 8
_REQUIRED: Any = object()


class Attributes:
    """The attributes of a node.

    Args:
        node: a NodeProto.
        opset: the version of the op set that the file is written in.
        tensor: makes the array of a TensorProto.
    """

    def __init__(self, node: Any, opset: int, tensor: Any):
        self.node, self.opset, self._tensor = node, opset, tensor
        self._attributes = {a.name: a for a in node.attribute}
        self.inputs, self.outputs = len(node.input), len(node.output)

    def _get(self, name: str, kind: int, field: str, default: Any, wanted: str) -> Any:
        given = self._attributes.get(name)
        if given is None:
            if default is _REQUIRED:
                raise ValueError(f"the attribute '{name}' is missing: {wanted}.")
            return default
        if given.type != kind:
            raise ValueError(f"the attribute '{name}' must be {wanted}.")
        return getattr(given, field)

    def __contains__(self, name: str) -> bool:
        return name in self._attributes

    def i(self, name: str, default: Any = _REQUIRED) -> int:
        """An integer."""
        return self._get(name, _INT, "i", default, "an integer")

    def f(self, name: str, default: Any = _REQUIRED) -> float:
        """A number."""
        return self._get(name, _FLOAT, "f", default, "a number")

    def s(self, name: str, default: Any = _REQUIRED) -> str:
        """Text."""
        value = self._get(name, _STRING, "s", default, "text")
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

    def ints(self, name: str, default: Any = _REQUIRED) -> Any:
        """Integers."""
        value = self._get(name, _INTS, "ints", default, "integers")
        return value if value is None else list(value)

    def floats(self, name: str, default: Any = _REQUIRED) -> Any:
        """Numbers."""
        value = self._get(name, _FLOATS, "floats", default, "numbers")
        return value if value is None else list(value)

    def strings(self, name: str, default: Any = _REQUIRED) -> Any:
        """Texts."""
        value = self._get(name, _STRINGS, "strings", default, "texts")
        return value if value is None else [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in value]

    def tensor(self, name: str, default: Any = _REQUIRED) -> np.ndarray:
        """An array."""
        value = self._get(name, _TENSOR, "t", default, "a tensor")
        return value if value is default else self._tensor(value)

    def graph(self, name: str) -> Any:
        """A GraphProto."""
        return self._get(name, _GRAPH, "g", _REQUIRED, "a graph")

    def dtype(self, name: str, default: Any = _REQUIRED) -> np.dtype:
        """A dtype."""
        number = self.i(name, None if default is not _REQUIRED else _REQUIRED)
        if number is None:
            return np.dtype(default)
        if number not in DTYPES:
            raise ValueError(f"the attribute '{name}' names a dtype that arrays have not (number {number}).")
        return DTYPES[number]
