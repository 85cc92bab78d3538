"""Sources in memory, made of numbers, or read by index: from_tensors, from_tensor_slices, range, random,
from_source."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.core.errors import describe
from lamina.core.nest import flatten, flatten_with_path, map_structure
from lamina.datasets.context import Context, rng
from lamina.datasets.elements import as_element, spec_of, stack
from lamina.datasets.nodes.base import ElementIterator, Node, RandomNode, add_position
from lamina.datasets.plan import Base, ColumnsBase, RandomAccess
from lamina.datasets.spec import INFINITE, TensorSpec, dtype_name, unbatched


class Tensors(Node):
    """One element."""

    op = "from_tensors"

    def __init__(self, tensors: Any, name: str | None = None) -> None:
        super().__init__(name=name)
        self.tensors = as_element(tensors)

    def _spec(self) -> Any:
        return spec_of(self.tensors)

    def cardinality(self) -> int:
        """One."""
        return 1

    def config(self) -> dict[str, Any]:
        """The element."""
        return {"tensors": flatten(self.tensors)}

    def _random_access(self, context: Context) -> RandomAccess:
        return RandomAccess(_OneElement(self.tensors))

    def _iterator(self, context: Context) -> ElementIterator:
        return RandomAccess(_OneElement(self.tensors)).iterate(self, context)


class _OneElement(Base):
    length = 1

    def __init__(self, element: Any) -> None:
        self._element = element

    def item(self, index: int) -> Any:
        # A copy, as tf.data gives: what is done to it in place must not reach the user's array, or the next pass.
        return map_structure(lambda x: x.copy() if type(x) is np.ndarray else x, self._element)


class TensorSlices(Node):
    """The slices of arrays along their first axis."""

    op = "from_tensor_slices"

    def __init__(self, tensors: Any, name: str | None = None) -> None:
        super().__init__(name=name)
        self.tensors = as_columns(self.op, tensors)
        self._base = ColumnsBase(self.tensors)

    def _spec(self) -> Any:
        return unbatched(spec_of(self.tensors))

    def cardinality(self) -> int:
        """The length of the arrays."""
        return self._base.length

    def config(self) -> dict[str, Any]:
        """The arrays."""
        return {"tensors": self._base.columns}

    def _random_access(self, context: Context) -> RandomAccess:
        return RandomAccess(self._base)

    def _iterator(self, context: Context) -> ElementIterator:
        return RandomAccess(self._base).iterate(self, context)


def as_columns(owner: str, tensors: Any) -> Any:
    """Nested arrays of one length; tables (pandas, polars, pyarrow) become a dict of their columns.

    Raises:
        ValueError: there is no array, a scalar, or the lengths differ.
    """
    structure = as_element(tables_to_arrays(tensors))
    leaves = flatten_with_path(structure)
    if not leaves:
        raise ValueError(f"{owner}: tensors must hold at least one array, got {describe(tensors)}.")
    sizes = []
    for path, leaf in leaves:
        if not getattr(leaf, "shape", ()):
            where = "".join(f"[{p!r}]" for p in path)
            raise ValueError(
                f"{owner}: tensors{where} is a scalar and cannot be sliced along a first axis; "
                "use from_tensors for one element."
            )
        sizes.append(len(leaf))
    if len(set(sizes)) > 1:
        listed = ", ".join(
            "".join(f"[{p!r}]" for p in path) + f": {n}" for (path, _), n in zip(leaves, sizes, strict=True)
        )
        raise ValueError(f"{owner}: all arrays must have the same length along the first axis, got {listed}.")
    return structure


def tables_to_arrays(x: Any) -> Any:
    """`x` with data frames and tables as dicts of arrays, and their columns as arrays."""
    if isinstance(x, tuple) and not hasattr(x, "_fields"):
        return tuple(tables_to_arrays(v) for v in x)
    if isinstance(x, dict):
        return {k: tables_to_arrays(v) for k, v in x.items()}
    kind = f"{type(x).__module__.partition('.')[0]}.{type(x).__name__}"
    if kind in ("pandas.DataFrame", "polars.DataFrame"):
        return {str(c): tables_to_arrays(x[c]) for c in x.columns}
    if kind in ("pandas.Series", "polars.Series", "pandas.Index"):
        return x.to_numpy()
    if kind in ("pyarrow.Table", "pyarrow.RecordBatch"):
        return {name: tables_to_arrays(x.column(name)) for name in x.schema.names}
    if kind == "pyarrow.ChunkedArray":
        return x.to_numpy()
    if type(x).__module__.startswith("pyarrow") and hasattr(x, "to_numpy"):
        return x.to_numpy(zero_copy_only=False)
    return x


class Range(Node):
    """Evenly spaced integers."""

    op = "range"

    def __init__(self, start: int, stop: int, step: int, dtype: np.dtype, name: str | None = None) -> None:
        super().__init__(name=name)
        self.values = range(start, stop, step)
        self.dtype = dtype
        self._base = _Numbers(start, step, len(self.values), dtype)

    def _spec(self) -> Any:
        return TensorSpec((), self.dtype)

    def cardinality(self) -> int:
        """The number of integers."""
        return len(self.values)

    def config(self) -> dict[str, Any]:
        """Start, stop, step."""
        v = self.values
        return {"start": v.start, "stop": v.stop, "step": v.step, "output_type": dtype_name(self.dtype)}

    def _random_access(self, context: Context) -> RandomAccess:
        return RandomAccess(self._base)

    def _iterator(self, context: Context) -> ElementIterator:
        return RandomAccess(self._base).iterate(self, context)


class Counter(Node):
    """Endless evenly spaced numbers."""

    op = "counter"

    def __init__(self, start: Any, step: Any, dtype: np.dtype, name: str | None = None) -> None:
        super().__init__(name=name)
        self.start, self.step, self.dtype = start, step, dtype
        self._base = _Numbers(start, step, 0, dtype)

    def _spec(self) -> Any:
        return TensorSpec((), self.dtype)

    def cardinality(self) -> int:
        """Endless."""
        return INFINITE

    def config(self) -> dict[str, Any]:
        """Start, step."""
        return {"start": self.start, "step": self.step, "dtype": dtype_name(self.dtype)}

    def _random_access(self, context: Context) -> RandomAccess:
        return RandomAccess(self._base, length=None)

    def _iterator(self, context: Context) -> ElementIterator:
        return RandomAccess(self._base, length=None).iterate(self, context)


class _Numbers(Base):
    pure = True
    in_memory = True

    def __init__(self, start: Any, step: Any, length: int, dtype: np.dtype) -> None:
        self.start, self.step, self.length, self.dtype = start, step, length, dtype

    def item(self, index: int) -> Any:
        return self.dtype.type(self.start + index * self.step)

    def gather(self, indices: np.ndarray) -> Any:
        return (self.start + indices * self.step).astype(self.dtype, copy=False)


class RandomNumbers(RandomNode):
    """Endless random integers in [0, 2**32)."""

    op = "random"

    def __init__(self, seed: int | None, anew: bool, name: str | None = None) -> None:
        super().__init__(seed=seed, name=name)
        self.anew = anew

    def _spec(self) -> Any:
        return TensorSpec((), np.int64)

    def cardinality(self) -> int:
        """Endless."""
        return INFINITE

    def config(self) -> dict[str, Any]:
        """The seed."""
        return {"seed": self._seed, "rerandomize_each_iteration": self.anew}

    def _random_access(self, context: Context) -> RandomAccess:
        return RandomAccess(_Draws(context.random_key(self, self.anew)), length=None)

    def _iterator(self, context: Context) -> ElementIterator:
        return RandomAccess(_Draws(context.random_key(self, self.anew)), length=None).iterate(self, context)


class _Draws(Base):
    """Random numbers by index: blocks of numbers, each from its own key."""

    pure = True
    varies = True
    length = 0
    BLOCK = 1024

    def __init__(self, key: tuple[int, ...]) -> None:
        self._key = key
        self._kept: tuple[int, np.ndarray] = (-1, np.empty(0))

    def item(self, index: int) -> Any:
        block, k = divmod(index, self.BLOCK)
        return self._numbers(block)[k]

    def gather(self, indices: np.ndarray) -> Any:
        blocks, within = np.divmod(indices, self.BLOCK)
        out = np.empty(len(indices), np.int64)
        for block in np.unique(blocks).tolist():
            here = blocks == block
            out[here] = self._numbers(block)[within[here]]
        return out

    def _numbers(self, block: int) -> np.ndarray:
        kept, numbers = self._kept
        if kept != block:
            numbers = rng((*self._key, block)).integers(0, 2**32, self.BLOCK, dtype=np.int64)
            self._kept = block, numbers
        return numbers


class IndexedSource(Node):
    """Anything with `__len__` and `__getitem__`."""

    op = "from_source"

    def __init__(self, source: Any, name: str | None = None) -> None:
        super().__init__(name=name)
        self.source = source
        self._base = _SourceBase(self, source)

    def _spec(self) -> Any:
        # Reading one element is reading data, not running the user's code: the type is nowhere else.
        if not self._base.length:
            raise ValueError(f"{self.label}: the source is empty, so its element_spec is unknown.")
        spec = spec_of(self._base.item(0))
        for i in {self._base.length - 1, self._base.length // 2} - {0}:
            spec = map_structure(lambda a, b: a.most_general(b), spec, spec_of(self._base.item(i)))
        return spec

    def cardinality(self) -> int:
        """The length of the source."""
        return self._base.length

    def config(self) -> dict[str, Any]:
        """The type of the source."""
        return {
            "source": f"{type(self.source).__module__}.{type(self.source).__qualname__}",
            "length": self._base.length,
        }

    def _random_access(self, context: Context) -> RandomAccess:
        return RandomAccess(self._base)

    def _iterator(self, context: Context) -> ElementIterator:
        return RandomAccess(self._base).iterate(self, context)


class _SourceBase(Base):
    def __init__(self, node: IndexedSource, source: Any) -> None:
        self._node, self._source = node, source
        self._many = getattr(source, "__getitems__", None)
        self.length = len(source)

    def item(self, index: int) -> Any:
        try:
            return as_element(self._source[index])
        except Exception as e:
            add_position(e, self._node.label, index)
            raise

    def gather(self, indices: np.ndarray) -> Any:
        # Hugging Face and torch datasets read several elements at once this way; one by one finds an error's place.
        if self._many is not None:
            try:
                return stack(self._many(indices.tolist()), self._node.label)
            except Exception:
                return super().gather(indices)
        return super().gather(indices)
