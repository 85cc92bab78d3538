"""What a dataset says of its elements before they are read: shapes, dtypes, nesting, and how many there are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from lamina.core.errors import describe
from lamina.core.nest import assert_same_structure, is_nested, map_structure

AUTOTUNE = -1
INFINITE_CARDINALITY = INFINITE = -1
UNKNOWN_CARDINALITY = UNKNOWN = -2

STRING = np.dtype(object)
"""The dtype of byte strings: object arrays that hold `bytes`."""

Shape = tuple[int | None, ...] | None


def as_dtype(dtype: Any) -> np.dtype:
    """`dtype` as a numpy dtype; every kind of string is `STRING`.

    Raises:
        TypeError: there is no such dtype.

    Example:
        >>> as_dtype("int32"), as_dtype("string")
        (dtype('int32'), dtype('O'))
    """
    dtype = getattr(dtype, "as_numpy_dtype", dtype)
    if isinstance(dtype, str) and dtype in ("string", "str", "bytes"):
        return STRING
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise TypeError(
            f"dtype must be a numpy dtype or its name ('float32', 'int64', 'string'), got {describe(dtype)}."
        ) from None
    return STRING if found.kind in "SUO" else found


def dtype_name(dtype: np.dtype) -> str:
    """The name of `dtype` as messages and specs print it: `string` for byte strings."""
    return "string" if dtype == STRING else dtype.name


def as_shape(shape: Any) -> Shape:
    """`shape` as a tuple with None for open dimensions, or None when even the rank is open.

    Example:
        >>> as_shape([None, 3]), as_shape(4), as_shape(None)
        ((None, 3), (4,), None)
    """
    if hasattr(shape, "as_list"):
        shape = None if getattr(shape, "rank", 0) is None else shape.as_list()
    if shape is None:
        return None
    if isinstance(shape, (int, np.integer)):
        shape = (shape,)
    if not isinstance(shape, Iterable):
        raise TypeError(f"A shape must be a sequence of integers and None, got {describe(shape)}.")
    return tuple(None if d is None or int(d) < 0 else int(d) for d in shape)


class TensorSpec:
    """Shape and dtype of one array of an element.

    Args:
        shape: A sequence of integers, with None for a dimension that varies; None if the rank varies too.
        dtype: A numpy dtype or its name; `"string"` for byte strings.
        name: A name for messages.

    Example:
        >>> TensorSpec((None, 3), "float32")
        TensorSpec(shape=(None, 3), dtype=float32)
    """

    __slots__ = ("shape", "dtype", "name")

    def __init__(self, shape: Any, dtype: Any = "float32", name: str | None = None) -> None:
        self.shape: Shape = as_shape(shape)
        self.dtype = as_dtype(dtype)
        self.name = name

    def __repr__(self) -> str:
        return f"TensorSpec(shape={self.shape}, dtype={dtype_name(self.dtype)})"

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, TensorSpec) and (self.shape, self.dtype) == (other.shape, other.dtype)

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))

    def accepts(self, array: Any) -> bool:
        """Whether an array (or a more exact spec) has this dtype and a shape that fits."""
        dtype = STRING if isinstance(array, bytes) else array.dtype
        return dtype == self.dtype and shape_fits(self.shape, () if isinstance(array, bytes) else array.shape)

    def is_compatible_with(self, other: Any) -> bool:
        """Whether an array or spec may stand where this spec stands."""
        return self.accepts(other)

    def most_general(self, other: TensorSpec) -> TensorSpec:
        """The narrowest spec that covers both; the dtypes must agree."""
        if self.dtype != other.dtype:
            raise TypeError(f"{self} and {other} differ in dtype.")
        return TensorSpec(relax_shape(self.shape, other.shape), self.dtype)

    @classmethod
    def of(cls, array: Any) -> TensorSpec:
        """The spec of one array."""
        if isinstance(array, bytes):
            return cls((), STRING)
        return cls(array.shape, array.dtype)


class DatasetSpec:
    """The spec of an element that is itself a dataset (see `window`).

    Args:
        element_spec: The spec of the inner dataset's elements.
    """

    __slots__ = ("element_spec",)

    def __init__(self, element_spec: Any) -> None:
        self.element_spec = element_spec

    def __repr__(self) -> str:
        return f"DatasetSpec({self.element_spec!r})"

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, DatasetSpec) and self.element_spec == other.element_spec

    def __hash__(self) -> int:
        return hash(repr(self))

    def accepts(self, value: Any) -> bool:
        """Whether `value` is a dataset (its elements are not looked at) or such a spec."""
        return hasattr(value, "element_spec")

    def most_general(self, other: DatasetSpec) -> DatasetSpec:
        """The narrowest spec that covers both."""
        return DatasetSpec(most_general(self.element_spec, other.element_spec))


def shape_fits(wide: Shape, shape: Shape) -> bool:
    """Whether `shape` is one of the shapes that `wide` allows."""
    if wide is None:
        return True
    if shape is None or len(wide) != len(shape):
        return False
    return all(w is None or w == d for w, d in zip(wide, shape, strict=True))


def relax_shape(a: Shape, b: Shape) -> Shape:
    """The narrowest shape that allows both.

    Example:
        >>> relax_shape((2, 3), (2, 4))
        (2, None)
    """
    if a is None or b is None or len(a) != len(b):
        return None
    return tuple(x if x == y else None for x, y in zip(a, b, strict=True))


def most_general(a: Any, b: Any) -> Any:
    """The narrowest nested spec that covers both.

    Raises:
        TypeError: the nesting or a dtype differs.
    """
    try:
        assert_same_structure(a, b)
    except ValueError as e:
        raise TypeError(str(e)) from None
    return map_structure(lambda x, y: x.most_general(y), a, b)


def is_spec(x: Any) -> bool:
    """Whether `x` is one leaf of an element_spec."""
    return isinstance(x, (TensorSpec, DatasetSpec))


def batched(spec: Any, size: int | None) -> Any:
    """`spec` with a leading dimension of `size` on every leaf."""

    def lead(s: Any) -> Any:
        if not isinstance(s, TensorSpec):
            raise TypeError(f"Datasets inside an element cannot be batched ({s}); call `flat_map` on them first.")
        return TensorSpec(None if s.shape is None else (size, *s.shape), s.dtype)

    return map_structure(lead, spec)


def unbatched(spec: Any) -> Any:
    """`spec` without its leading dimension."""
    return map_structure(lambda s: TensorSpec(None if s.shape is None else s.shape[1:], s.dtype), spec)


def check_signature(owner: str, signature: Any) -> Any:
    """`signature`, if each of its leaves is a TensorSpec or DatasetSpec."""
    if not is_nested(signature):
        signature_leaves = [signature]
    else:
        from_leaves: list[Any] = []
        map_structure(from_leaves.append, signature)
        signature_leaves = from_leaves
    for leaf in signature_leaves:
        if not is_spec(leaf):
            kind = type(leaf).__name__
            if kind in ("RaggedTensorSpec", "SparseTensorSpec"):
                raise TypeError(f"{owner}: {kind} is not supported; give a TensorSpec with None where sizes vary.")
            raise TypeError(f"{owner}: output_signature must hold TensorSpec leaves, got {describe(leaf)}.")
    return signature
