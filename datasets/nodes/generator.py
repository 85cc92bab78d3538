"""Elements from a Python generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from lamina.core.errors import describe
from lamina.core.nest import assert_same_structure, flatten, flatten_with_path, is_nested, pack
from lamina.datasets.context import Context
from lamina.datasets.elements import as_array, as_element
from lamina.datasets.nodes.base import ElementIterator, Node, add_position
from lamina.datasets.spec import STRING, shape_fits


class Generator(Node):
    """The elements that `generator(*args)` yields, checked against a signature.

    A generator has no position to go back to, so a restored iterator starts it again and passes over what was read.
    """

    op = "from_generator"

    def __init__(self, generator: Callable[..., Any], signature: Any, args: tuple, name: str | None = None) -> None:
        super().__init__(name=name)
        self.generator, self.signature = generator, signature
        self.args = tuple(as_element(a) for a in args)

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {"generator": self.generator, "args": list(self.args)}

    def _spec(self) -> Any:
        return self.signature

    def _iterator(self, context: Context) -> ElementIterator:
        return _GeneratorIterator(self)


class _GeneratorIterator(ElementIterator):
    def __init__(self, node: Generator) -> None:
        self._node = node
        self._specs = flatten(node.signature)
        self._count = 0
        self._skip = 0
        self._values: Iterator[Any] | None = None
        self._over = False

    def __next__(self) -> Any:
        if self._over:
            raise StopIteration
        node = self._node
        try:
            if self._values is None:
                self._values = iter(node.generator(*node.args))
                for _ in range(self._skip):
                    next(self._values)
            value = next(self._values)
        except StopIteration:
            self._over = True
            raise
        except Exception as e:
            self._over = True  # a generator that raised is over
            add_position(e, node.label, self._count)
            raise
        self._count += 1
        return self._conform(value)

    def _conform(self, value: Any) -> Any:
        signature = self._node.signature
        where = f"{self._node.label}: element {self._count - 1}"
        if not is_nested(signature):
            return self._leaf(where, value, self._specs[0])
        if isinstance(value, list) and isinstance(signature, tuple):
            value = tuple(value)
        value = _as_nested(value, signature)
        try:
            assert_same_structure(signature, value)
        except ValueError as e:
            raise TypeError(f"{where} is nested otherwise than the signature {signature}. {e}") from None
        leaves = [
            self._leaf(f"{where}{''.join(f'[{p!r}]' for p in path)}", leaf, spec)
            for (path, leaf), spec in zip(flatten_with_path(value), self._specs, strict=True)
        ]
        return pack(signature, leaves)

    def _leaf(self, where: str, value: Any, spec: Any) -> Any:
        if not hasattr(spec, "shape"):
            return value
        try:
            array = as_array(value)
        except (TypeError, ValueError) as e:
            raise TypeError(f"{where}: {e}") from None
        if not shape_fits(spec.shape, array.shape):
            raise ValueError(
                f"{where} must have the shape {spec.shape} of the signature, got {describe(array)}. "
                "Use None in the signature for a dimension that varies."
            )
        if array.dtype != spec.dtype:
            if STRING in (array.dtype, spec.dtype):
                raise TypeError(f"{where} must have the dtype of {spec}, got {describe(value)}.")
            exact = array.astype(spec.dtype)
            if spec.dtype.kind in "iub" and array.dtype.kind in "fciu" and not (exact == array).all():
                raise TypeError(
                    f"{where} must have the dtype of {spec}, got {describe(value)}; casting would change it."
                )
            array = exact
        return array[()] if array.ndim == 0 else array

    def get_state(self) -> Any:
        return {"count": self._count, "over": self._over}

    def set_state(self, state: Any) -> None:
        self._count = self._skip = state["count"]
        self._over = state["over"]

    def close(self) -> None:
        self._over = True
        if self._values is not None and hasattr(self._values, "close"):
            self._values.close()
        self._values = None


def _as_nested(value: Any, signature: Any) -> Any:
    """`value` with lists stacked where the signature has an array, so that structures can be compared."""
    if not is_nested(signature):
        return as_array(value) if isinstance(value, (list, tuple)) else value
    if isinstance(signature, dict) and isinstance(value, dict) and set(signature) == set(value):
        return {k: _as_nested(value[k], signature[k]) for k in signature}
    if isinstance(signature, (tuple, list)) and isinstance(value, (tuple, list)) and len(signature) == len(value):
        parts = [_as_nested(v, s) for v, s in zip(value, signature, strict=True)]
        return type(signature)(*parts) if hasattr(signature, "_fields") else type(signature)(parts)
    return value
