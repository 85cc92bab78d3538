"""Attributes of a node that was read, as Python values."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.wire.nodes import tensor_value
from lamina.wire.tensor import DTYPES


class Attrs:
    """The attributes of a node.

    Args:
        node: a NodeDef.
    """

    def __init__(self, node: Any):
        self.node = node
        self._attr = node.attr

    def _error(self, name: str, wanted: str) -> ValueError:
        return ValueError(f"Node '{self.node.name}' ({self.node.op}): attribute '{name}' must be {wanted}.")

    def _get(self, name: str, kind: str, default: Any, wanted: str) -> Any:
        if name not in self._attr:
            if default is None:
                raise self._error(name, f"given: {wanted}")
            return default
        value = self._attr[name]
        if value.WhichOneof("value") != kind:
            raise self._error(name, wanted)
        return getattr(value, kind)

    def i(self, name: str, default: int | None = None) -> int:
        """An integer."""
        return self._get(name, "i", default, "an integer")

    def f(self, name: str, default: float | None = None) -> float:
        """A number."""
        return self._get(name, "f", default, "a number")

    def b(self, name: str, default: bool = False) -> bool:
        """A truth value."""
        return self._get(name, "b", default, "a truth value")

    def s(self, name: str, default: str | None = None) -> str:
        """Text."""
        value = self._get(name, "s", default, "text")
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

    def raw(self, name: str) -> bytes:
        """Bytes."""
        return self._get(name, "s", None, "bytes")

    def dtype(self, name: str, default: Any = None) -> np.dtype:
        """A dtype."""
        number = self._get(name, "type", 0 if default is not None else None, "a dtype")
        if number == 0 and default is not None:
            return np.dtype(default)
        if number not in DTYPES:
            raise self._error(name, f"the dtype of an array, not number {number}")
        return DTYPES[number]

    def ints(self, name: str, default: list[int] | None = None) -> list[int]:
        """A list of integers."""
        if name not in self._attr and default is not None:
            return default
        return list(self._get(name, "list", None, "a list").i)

    def strings(self, name: str) -> list[bytes]:
        """A list of bytes."""
        return list(self._get(name, "list", None, "a list").s) if name in self._attr else []

    def dtypes(self, name: str) -> list[int]:
        """A list of the numbers of dtypes."""
        return list(self._get(name, "list", None, "a list").type) if name in self._attr else []

    def tensor(self, name: str) -> np.ndarray:
        """An array."""
        return tensor_value(self._get(name, "tensor", None, "a tensor"))

    def function(self, name: str) -> str:
        """The name of a function of the library."""
        return self._get(name, "func", None, "a function").name

    def shape(self, name: str) -> tuple[int | None, ...] | None:
        """A shape, with None for unknown sizes; None if even the number of axes is unknown."""
        if name not in self._attr:
            return None
        shape = self._get(name, "shape", None, "a shape")
        return None if shape.unknown_rank else tuple(None if d.size < 0 else d.size for d in shape.dim)
