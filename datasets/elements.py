"""Elements: numpy arrays in nested tuples, dicts and named tuples. How values become elements, and elements a batch.

An array of an element is an `np.ndarray`, a numpy scalar (shape ()), or `bytes` (a string of shape ()). Strings inside
an array are `bytes` objects under the object dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from lamina.core.errors import describe
from lamina.core.nest import assert_same_structure, flatten, is_namedtuple, map_structure, pack
from lamina.datasets.spec import STRING, DatasetSpec, TensorSpec

_INT32 = np.iinfo(np.int32)
_NUMERIC = "biufcV"  # V: the extended floats of ml_dtypes (bfloat16)


def is_dataset(x: Any) -> bool:
    """Whether `x` is a dataset, as it may stand inside an element."""
    return hasattr(x, "as_numpy_iterator") and hasattr(x, "element_spec")


def as_element(x: Any) -> Any:
    """`x` with numpy arrays for leaves; lists are stacked into one array, tuples and dicts kept.

    Python integers become int32, floats float32 and text UTF-8 byte strings, as in tf.data; arrays keep their dtype.

    Raises:
        TypeError: a leaf is no number, string, array or dataset.
        ValueError: a list has members of different shapes.

    Example:
        >>> as_element((1, [2.0, 3.0]))
        (np.int32(1), array([2., 3.], dtype=float32))
    """
    kind = type(x)
    if kind is np.ndarray:
        if x.dtype.kind not in _NUMERIC:
            x = _as_strings(x)
        return x if x.ndim else x[()]
    if kind is bytes or x is None:
        return x
    if kind is tuple:
        return tuple([as_element(v) for v in x])
    if isinstance(x, dict):
        return {k: as_element(v) for k, v in x.items()} if kind is dict else kind((k, as_element(x[k])) for k in x)
    if isinstance(x, np.generic):
        if x.dtype.kind in _NUMERIC:
            return x
        return as_array(x)[()]
    if is_namedtuple(x):
        return kind(*[as_element(v) for v in x])
    if isinstance(x, tuple):
        return tuple([as_element(v) for v in x])
    if is_dataset(x):
        return x
    array = as_array(x)
    return array[()] if array.ndim == 0 else array


def as_result(x: Any) -> Any:
    """What a user function returned, as an element: a list stands for a tuple, as in tf.data; lists inside are
    stacked."""
    return tuple([as_element(v) for v in x]) if type(x) is list else as_element(x)


def as_array(x: Any, dtype: np.dtype | None = None) -> np.ndarray:
    """`x` as one array, with tf.data's choice of dtype for Python numbers and text.

    Raises:
        TypeError: `x` is no number, string or array. ValueError: a list has members of different shapes.
    """
    if isinstance(x, np.ndarray):
        array = x
    elif isinstance(x, (bytes, str)):
        array = np.empty((), object)
        array[()] = x
    else:
        name = type(x).__name__
        if name in ("RaggedTensor", "SparseTensor", "csr_matrix", "csc_matrix", "coo_matrix"):
            raise TypeError(
                f"{name} is not supported; pad it (padded_batch), or give dense arrays (.to_tensor(), .toarray())."
            )
        try:
            array = np.asarray(x)
        except ValueError:
            raise ValueError(
                f"{describe(x)} has members of different shapes, so it is no array; "
                "use a tuple to keep them apart, or from_generator for elements of varying shape."
            ) from None
        if not hasattr(x, "dtype"):
            array = _narrow(array, x)
    if array.dtype.kind in "SUO":
        array = _as_strings(array)
    elif array.dtype.kind not in _NUMERIC:
        raise TypeError(f"Elements hold numbers and byte strings; got {describe(x)}. Convert dates to integers first.")
    return array if dtype is None or array.dtype == dtype else cast(array, dtype)


def cast(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`array` in `dtype`, if numbers stay numbers and strings strings."""
    if (array.dtype == STRING) != (dtype == STRING):
        raise TypeError(f"{describe(array)} cannot become {'a string' if dtype == STRING else dtype}.")
    return array.astype(dtype)


def _narrow(array: np.ndarray, given: Any) -> np.ndarray:
    if array.dtype == np.float64 and not _holds_numpy(given, np.float64):
        return array.astype(np.float32)
    if array.dtype == np.int64 and not _holds_numpy(given, np.int64):
        if array.size == 0 or (array.min() >= _INT32.min and array.max() <= _INT32.max):
            return array.astype(np.int32)
    return array


def _holds_numpy(x: Any, dtype: type) -> bool:
    """Whether a nested list holds numpy values of `dtype`, whose choice is kept."""
    while isinstance(x, (list, tuple)):
        if not x:
            return False
        x = x[0]
    return getattr(x, "dtype", None) == dtype


def _as_strings(array: np.ndarray) -> np.ndarray:
    """An object array of `bytes` from one of any string dtype."""
    if array.dtype.kind not in "SUO":
        raise TypeError(f"Elements hold numbers and byte strings; got {describe(array)}.")
    flat = array.reshape(-1).tolist() if array.dtype.kind != "O" else array.reshape(-1)
    if array.dtype.kind == "O" and all(type(v) is bytes for v in flat):
        return array
    out = np.empty(array.size, object)
    for i, v in enumerate(flat):
        if isinstance(v, str):
            v = v.encode()
        elif isinstance(v, np.bytes_):
            v = bytes(v)
        elif not isinstance(v, bytes):
            raise TypeError(
                f"An array of Python objects must hold bytes or str, got {describe(v)}. Arrays of different shapes "
                "belong in from_generator, numbers in an array of a numeric dtype."
            )
        out[i] = v
    return out.reshape(array.shape)


def spec_of(element: Any) -> Any:
    """The element_spec of one element."""
    return map_structure(lambda x: DatasetSpec(x.element_spec) if is_dataset(x) else TensorSpec.of(x), element)


def nbytes(element: Any) -> int:
    """The memory that an element's arrays hold, strings included."""
    total = 0
    for leaf in flatten(element):
        if isinstance(leaf, bytes):
            total += len(leaf)
        elif getattr(leaf, "dtype", None) == STRING:
            total += sum(map(len, leaf.reshape(-1)))
        else:
            total += getattr(leaf, "nbytes", 0)
    return total


def packer(structure: Any) -> Callable[[Sequence[Any]], Any]:
    """A function that turns a tuple of leaves into an element like `structure`, without walking it each time."""
    places = flatten(structure)
    if len(places) == 1 and not isinstance(structure, (tuple, list, dict)):
        return lambda leaves: leaves[0]
    if type(structure) is tuple and all(not isinstance(s, (tuple, list, dict)) and s is not None for s in structure):
        return tuple
    if type(structure) is dict and len(places) == len(structure):
        if not any(isinstance(s, (tuple, list, dict)) or s is None for s in structure.values()):
            keys, order = list(structure), {k: i for i, k in enumerate(sorted(structure))}
            slots = [order[k] for k in keys]
            return lambda leaves: {k: leaves[i] for k, i in zip(keys, slots, strict=True)}
    return lambda leaves: pack(structure, leaves)


def rows(columns: Sequence[np.ndarray], make: Callable[[Sequence[Any]], Any]) -> Iterable[Any]:
    """The elements of a batch of columns, one by one; `make` comes from `packer`."""
    if make is tuple:
        return zip(*columns, strict=True)
    return map(make, zip(*columns, strict=True))


def stack(elements: Sequence[Any], owner: str = "batch", path: tuple = ()) -> Any:
    """One batch in fresh memory from values of one structure, dtype and shape; they need not be elements yet.

    Raises:
        ValueError: two values differ in structure, dtype or shape; the message names both.
    """
    first = elements[0]
    kind = type(first)
    if kind is np.ndarray or isinstance(first, (np.generic, bytes)):
        return _stack_leaf(elements, owner, path)
    if first is None and all(e is None for e in elements):
        return None
    if isinstance(first, tuple):
        if any(type(e) is not kind or len(e) != len(first) for e in elements):
            raise _unlike(owner, path, elements)
        parts = [stack(column, owner, (*path, i)) for i, column in enumerate(zip(*elements, strict=True))]
        return kind(*parts) if is_namedtuple(first) else tuple(parts)
    if isinstance(first, dict):
        if any(not isinstance(e, dict) or e.keys() != first.keys() for e in elements):
            raise _unlike(owner, path, elements)
        return {k: stack([e[k] for e in elements], owner, (*path, k)) for k in first}
    if is_dataset(first):
        raise TypeError(f"{owner}: datasets inside an element cannot be batched; call `flat_map` on them first.")
    return _stack_leaf(elements, owner, path)


_shape_of, _dtype_of = attrgetter("shape"), attrgetter("dtype")


def _stack_leaf(column: Sequence[Any], owner: str, path: tuple) -> np.ndarray:
    """The arrays of one place of several elements, stacked into fresh memory."""
    kinds = set(map(type, column))
    if kinds == {bytes}:
        out = np.empty(len(column), object)
        out[:] = column
        return out
    if not all(issubclass(k, (np.ndarray, np.generic)) for k in kinds):
        column = [as_element(v) for v in column]
        if any(isinstance(v, (tuple, dict, bytes)) or v is None for v in column):
            if all(type(v) is bytes for v in column):
                return _stack_leaf(column, owner, path)
            raise _unlike(owner, path, column)
    shape, dtype = column[0].shape, column[0].dtype
    if set(map(_dtype_of, column)) != {dtype} or set(map(_shape_of, column)) != {shape}:
        raise _mismatch(owner, path, column)
    if dtype.kind not in _NUMERIC:
        column = [as_array(v) for v in column]
        dtype = STRING
    if not shape:
        return np.array(column, dtype)
    if len(shape) == 1:
        return np.concatenate(column, dtype=dtype).reshape(len(column), *shape)
    out = np.empty((len(column), *shape), dtype)
    for i, value in enumerate(column):
        out[i] = value
    return out


def _where(path: tuple) -> str:
    return "".join(f"[{p!r}]" for p in path)


def _unlike(owner: str, path: tuple, column: Sequence[Any]) -> ValueError:
    first = column[0]
    for i, other in enumerate(column):
        try:
            assert_same_structure(first, other)
            if isinstance(first, bytes) != isinstance(other, bytes):
                raise ValueError
        except ValueError:
            return ValueError(
                f"{owner}: elements of one batch must be nested alike; element{_where(path)} number 0 is "
                f"{describe(first)}, number {i} is {describe(other)}."
            )
    return ValueError(f"{owner}: elements of one batch must be nested alike.")


def _mismatch(owner: str, path: tuple, column: Sequence[Any]) -> ValueError:
    first = column[0]
    i = next(i for i, v in enumerate(column) if (v.shape, v.dtype) != (first.shape, first.dtype))
    other = column[i]
    if other.dtype == first.dtype:
        cure = "Pad them with padded_batch, or crop or resize them in a map."
    else:
        cure = "Return one dtype from every call."
    return ValueError(
        f"{owner}: elements of one batch must have one shape and dtype; element{_where(path)} number 0 is "
        f"{describe(first)}, number {i} is {describe(other)}. {cure}"
    )


class _OtherForm(Exception):
    """The first element of a batch is formed otherwise than those of the batch before, which is allowed."""


class BatchBuilder:
    """Builds a batch from results that come one by one, each copied into place while it is still in the cache.

    Args:
        size: How many there will be.
        owner: Who errors name.
        before: The builder of the batch before, whose elements were formed alike; it saves looking at the first again.

    Attributes:
        count: How many were taken.
    """

    def __init__(self, size: int, owner: str, before: BatchBuilder | None = None) -> None:
        self._size, self._owner = size, owner
        self.count = 0
        self._like: Any = None
        self._make: Any = None
        self._specs: list[tuple[tuple[int, ...], np.dtype]] = []
        self._columns: list[np.ndarray] = []
        if before is not None:
            self._like, self._make, self._specs = before._like, before._make, before._specs
            self._columns = [np.empty((size, *shape), dtype) for shape, dtype in self._specs]

    def fill(self, results: Iterable[Any]) -> None:
        """Take results; they need not be elements yet.

        Raises:
            ValueError: one differs from the first in structure, dtype or shape.
        """
        results = iter(results)
        if self._make is None:
            for first in results:
                self._begin(as_result(first))
                break
        # The two forms of almost all supervised data have loops of their own: the general one costs 1 us more.
        try:
            if self._make is tuple and len(self._columns) == 2 and self._columns[0].ndim > 1:
                self._fill_pairs(results)
            elif self._make is not tuple and type(self._like) is np.ndarray:
                self._fill_arrays(results)
            else:
                for result in results:
                    self._put(result)
        except _OtherForm as e:
            self._begin(e.args[0])
            self.fill(results)

    def _fill_pairs(self, results: Iterator[Any]) -> None:
        (x, y), (like, other), k = self._columns, self._like, self.count
        shape, dtype, kind = like.shape, like.dtype, type(other)
        if kind is np.ndarray:
            other_shape, other_dtype = other.shape, other.dtype
        else:
            other_shape = other_dtype = None
        try:
            for result in results:
                if type(result) is tuple:
                    try:
                        a, b = result
                        # whatever has this dtype of numpy's and this shape can be copied as it is
                        if a.dtype is dtype and a.shape == shape and type(b) is kind:
                            if other_shape is None or (b.dtype is other_dtype and b.shape == other_shape):
                                x[k] = a
                                y[k] = b
                                k += 1
                                continue
                    except (AttributeError, ValueError):
                        pass
                self.count = k
                self._put(result)
                k += 1
        finally:
            self.count = k

    def _fill_arrays(self, results: Iterator[Any]) -> None:
        (x,), k = self._columns, self.count
        shape, dtype = x.shape[1:], x.dtype
        try:
            for result in results:
                if type(result) is np.ndarray and result.dtype is dtype and result.shape == shape:
                    x[k] = result
                else:
                    self.count = k
                    self._put(result)
                k += 1
        finally:
            self.count = k

    def _begin(self, first: Any) -> None:
        self._like, self._make, self._specs = first, packer(first), []
        for leaf in flatten(first):
            if is_dataset(leaf):
                raise TypeError(f"{self._owner}: datasets inside an element cannot be batched; call `flat_map` first.")
            self._specs.append((getattr(leaf, "shape", ()), STRING if isinstance(leaf, bytes) else leaf.dtype))
        self._columns = [np.empty((self._size, *shape), dtype) for shape, dtype in self._specs]
        self._put(first)

    def _put(self, result: Any) -> None:
        element = as_result(result)
        try:
            assert_same_structure(self._like, element)
            leaves = flatten(element)
            for column, leaf in zip(self._columns, leaves, strict=True):
                if isinstance(leaf, bytes):
                    same = column.dtype == STRING and column.ndim == 1
                else:
                    same = leaf.dtype == column.dtype and leaf.shape == column.shape[1:]
                if not same:
                    raise ValueError
        except ValueError:
            if not self.count:
                raise _OtherForm(element) from None
            stack([self._like, element], self._owner)  # raises, naming what differs
            raise
        for column, leaf in zip(self._columns, leaves, strict=True):
            column[self.count] = leaf
        self.count += 1

    def finish(self) -> Any:
        """The batch."""
        columns, self._columns = self._columns, []
        return self._make(columns)
