"""Several elements as one: batch, padded_batch, and the ways back: unbatch, rebatch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from lamina.core.checks import check_int
from lamina.core.errors import describe
from lamina.core.nest import assert_same_structure, flatten, is_nested, map_structure, pack
from lamina.datasets.context import Context
from lamina.datasets.elements import as_array, as_element, packer, rows, stack
from lamina.datasets.nodes.base import ChildIterator, ElementIterator, GatherError, Node, known_count
from lamina.datasets.plan import Base, PositionIterator, RandomAccess
from lamina.datasets.spec import INFINITE, STRING, UNKNOWN, TensorSpec, as_shape, batched, dtype_name, unbatched
from lamina.datasets.workers import ParallelGatherIterator


def batch_count(n: int, size: int, drop_remainder: bool) -> int:
    """The number of batches that `n` elements make."""
    if not known_count(n):
        return n
    return n // size if drop_remainder else -(-n // size)


class Batch(Node):
    """`batch_size` elements stacked along a new first axis."""

    op = "batch"

    def __init__(
        self,
        child: Node,
        batch_size: Any,
        drop_remainder: bool = False,
        calls: int | None = None,
        deterministic: bool | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(child, name=name)
        self.batch_size = check_int(self.label, "batch_size", batch_size, 1)
        self.drop_remainder = bool(drop_remainder)
        self.calls, self.deterministic = calls, deterministic
        self.batches = True

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {"batch_size": self.batch_size, "drop_remainder": self.drop_remainder, "num_parallel_calls": self.calls}

    def cardinality(self) -> int:
        """See Node."""
        return batch_count(self.children[0].cardinality(), self.batch_size, self.drop_remainder)

    def _spec(self) -> Any:
        child = self.children[0]
        # tf.data: only drop_remainder, or an endless input, makes the size certain.
        size = self.batch_size if self.drop_remainder or child.cardinality() == INFINITE else None
        return batched(child.element_spec, size)

    def sample(self, context: Context) -> Iterator[Any]:
        """See Node."""
        elements = iter(self.children[0].sample(context))
        while block := list(islice(elements, self.batch_size)):
            if self.drop_remainder and len(block) < self.batch_size:
                return
            yield stack(block, self.label)

    def _random_access(self, context: Context) -> RandomAccess | None:
        access = self.children[0].random_access(context)
        if access is None or access.sequential or access.base.parallel is not None:
            return None  # workers serve a stream of batches, not single ones
        length = None
        if access.length is not None:
            length = batch_count(access.length, self.batch_size, self.drop_remainder)
        return RandomAccess(_BatchBase(access, self.batch_size), length=length)

    def iterate(self, context: Context) -> ElementIterator:
        """A child that can be gathered from is read by position; any other element by element."""
        access = self.children[0].random_access(context)
        if access is None:
            iterator: ElementIterator = _BatchIterator(self, self.children[0].iterate(context))
        elif access.base.parallel is not None or (self.calls or 0) > 0:
            iterator = ParallelGatherIterator(self, access, context)
        else:
            iterator = _GatherIterator(access, self.batch_size, self.drop_remainder)
        return context.timed(self, iterator)


class _BatchBase(Base):
    """Whole batches by index."""

    varies = True

    def __init__(self, access: RandomAccess, size: int) -> None:
        self._access, self._size = access, size
        self.length = 0 if access.length is None else -(-access.length // size)

    def item(self, index: int) -> Any:
        start = index * self._size
        try:
            return self._access.base.gather(self._access.locate(start, self._access.clip(start + self._size)))
        except GatherError as e:
            raise e.error from None


class _GatherIterator(PositionIterator):
    def __init__(self, access: RandomAccess, size: int, drop_remainder: bool) -> None:
        super().__init__(access)
        self._size, self._drop = size, drop_remainder
        self._gather = access.base.gather

    def __next__(self) -> Any:
        start = self._position
        access = self._access
        stop = access.clip(start + self._size)
        if stop <= start or (self._drop and stop - start < self._size):
            raise StopIteration
        self._position = stop
        try:
            return self._gather(access.locate(start, stop))
        except GatherError as e:
            self._position = start + e.offset + 1  # the elements before the one at fault are lost, as in tf.data
            raise e.error from None

    def next_batches(self, limit: int) -> tuple[int, Any] | None:
        """See DatasetIterator. A user function is called for no more than the batch asked for, so it bars this."""
        start, access, size = self._position, self._access, self._size
        count = (access.clip(start + limit * size) - start) // size
        if count < 2 or not access.base.pure:
            return None
        try:
            block = self._gather(access.locate(start, start + count * size))
        except Exception:
            return None  # `__next__` comes to the element at fault, and says where it is
        self._position = start + count * size
        return count, block


class _BatchIterator(ChildIterator):
    def __init__(self, node: Batch, child: ElementIterator) -> None:
        super().__init__(child)
        self._node = node

    def __next__(self) -> Any:
        node = self._node
        block = list(islice(self._child, node.batch_size))
        if not block or (node.drop_remainder and len(block) < node.batch_size):
            raise StopIteration
        return stack(block, node.label)


class PaddedBatch(Node):
    """`batch_size` elements, padded to one shape and stacked."""

    op = "padded_batch"

    def __init__(
        self,
        child: Node,
        batch_size: Any,
        padded_shapes: Any = None,
        padding_values: Any = None,
        drop_remainder: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(child, name=name)
        self.batch_size = check_int(self.label, "batch_size", batch_size, 1)
        self.padded_shapes, self.padding_values = padded_shapes, padding_values
        self.drop_remainder = bool(drop_remainder)
        self.batches = True

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {
            "batch_size": self.batch_size,
            "padded_shapes": self.padded_shapes,
            "padding_values": self.padding_values,
            "drop_remainder": self.drop_remainder,
        }

    def cardinality(self) -> int:
        """See Node."""
        return batch_count(self.children[0].cardinality(), self.batch_size, self.drop_remainder)

    def _spec(self) -> Any:
        spec = self.children[0].element_spec
        shapes = padded_shapes_of(self.label, spec, self.padded_shapes)
        leaves = [TensorSpec(p, s.dtype) for p, s in zip(shapes, flatten(spec), strict=True)]
        full = self.drop_remainder or self.children[0].cardinality() == INFINITE
        return batched(pack(spec, leaves), self.batch_size if full else None)

    def _iterator(self, context: Context) -> ElementIterator:
        return _PaddedIterator(self, self.children[0].iterate(context))


def padded_shapes_of(label: str, like: Any, shapes: Any) -> list[Any]:
    """The target shape of each leaf: given ones, or those of `like` (arrays give None for each dimension)."""
    leaves = flatten(like)
    if shapes is None:
        return [s.shape if isinstance(s, TensorSpec) else (None,) * np.ndim(s) for s in leaves]

    def walk(structure: Any, node: Any) -> list[Any]:
        if not is_nested(structure):
            return [as_shape(node)]
        if isinstance(structure, dict):
            if not isinstance(node, dict) or set(node) != set(structure):
                raise TypeError(
                    f"{label}: padded_shapes must be nested like the elements ({structure}), got {describe(node)}."
                )
            return [s for k in sorted(structure) for s in walk(structure[k], node[k])]
        if structure is None:
            return []
        if not isinstance(node, (tuple, list)) or len(node) != len(structure):
            raise TypeError(
                f"{label}: padded_shapes must be nested like the elements ({structure}), got {describe(node)}."
            )
        return [s for part, n in zip(structure, node, strict=True) for s in walk(part, n)]

    return walk(like, shapes)


def padding_of(label: str, like: Any, values: Any, dtypes: list[np.dtype]) -> list[Any]:
    """The padding value of each leaf, in its dtype; one scalar stands for all."""
    if values is None:
        return [b"" if d == STRING else d.type(0) for d in dtypes]
    if not is_nested(values) and is_nested(like):
        leaves = [values] * len(dtypes)
    else:
        try:
            filled = _fill_none(values, like)
            assert_same_structure(like, filled)
        except ValueError as e:
            raise TypeError(f"{label}: padding_values must be one scalar or nested like the elements. {e}") from None
        leaves = flatten(filled)
    out = []
    for value, dtype in zip(leaves, dtypes, strict=True):
        if value is _DEFAULT:
            out.append(b"" if dtype == STRING else dtype.type(0))
            continue
        array = as_array(value)
        if array.ndim:
            raise ValueError(f"{label}: each of padding_values must be a scalar, got {describe(value)}.")
        typed = hasattr(value, "dtype")
        if (array.dtype == STRING) != (dtype == STRING) or (typed and array.dtype != dtype):
            raise TypeError(
                f"{label}: padding_values must have the dtype of what they pad ({dtype_name(dtype)}), "
                f"got {describe(value)}."
            )
        out.append(array[()] if dtype == STRING else array.astype(dtype)[()])
    return out


_DEFAULT = object()


def _fill_none(values: Any, like: Any) -> Any:
    """`values` with the default where None stands for a leaf."""
    if values is None and not is_nested(like):
        return _DEFAULT
    if isinstance(like, dict) and isinstance(values, dict):
        return {k: _fill_none(values[k], like[k]) if k in values else None for k in like}
    if isinstance(like, tuple) and isinstance(values, (tuple, list)) and len(values) == len(like):
        parts = [_fill_none(v, s) for v, s in zip(values, like, strict=True)]
        return type(like)(*parts) if hasattr(like, "_fields") else tuple(parts)
    return values


class _PaddedIterator(ChildIterator):
    def __init__(self, node: PaddedBatch, child: ElementIterator) -> None:
        super().__init__(child)
        self._node = node
        self._plan: tuple[Any, list[Any], list[Any]] | None = None

    def __next__(self) -> Any:
        node = self._node
        block = list(islice(self._child, node.batch_size))
        if not block or (node.drop_remainder and len(block) < node.batch_size):
            raise StopIteration
        first = block[0]
        if self._plan is None:
            leaves = flatten(first)
            dtypes = [STRING if isinstance(v, bytes) else v.dtype for v in leaves]
            shapes = padded_shapes_of(node.label, first, node.padded_shapes)
            self._plan = first, shapes, padding_of(node.label, first, node.padding_values, dtypes)
        like, shapes, values = self._plan
        for element in block:
            assert_same_structure(like, element)
        columns = zip(*[flatten(e) for e in block], strict=True)
        return pack(like, [_pad(node.label, c, s, v) for c, s, v in zip(columns, shapes, values, strict=True)])


def _pad(label: str, column: tuple[Any, ...], shape: Any, value: Any) -> np.ndarray:
    arrays = [as_array(v) for v in column]
    rank = arrays[0].ndim
    if shape is not None and len(shape) != rank:
        raise ValueError(
            f"{label}: the padded shape {shape} must have the rank of the elements, got {describe(column[0])}."
        )
    if any(a.ndim != rank or a.dtype != arrays[0].dtype for a in arrays):
        raise ValueError(f"{label}: the elements of a batch must have one rank and dtype.")
    longest = [max(a.shape[i] for a in arrays) for i in range(rank)]
    target = tuple(m if d is None else d for m, d in zip(longest, shape or (None,) * rank, strict=True))
    if any(m > d for m, d in zip(longest, target, strict=True)):
        raise ValueError(
            f"{label}: an element has shape {max((a.shape for a in arrays), key=np.prod)}, larger than the padded "
            f"shape {shape}. Give a larger shape, or None to pad to the longest of each batch."
        )
    if not rank:
        return stack(column, label)
    out = np.full((len(arrays), *target), value, arrays[0].dtype)
    for i, a in enumerate(arrays):
        out[i][tuple(slice(n) for n in a.shape)] = a
    return out


class Unbatch(Node):
    """The rows of each element."""

    op = "unbatch"

    def __init__(self, child: Node, name: str | None = None) -> None:
        super().__init__(child, name=name)

    def _spec(self) -> Any:
        spec = self.children[0].element_spec
        for s in flatten(spec):
            if not isinstance(s, TensorSpec) or s.shape == ():
                raise ValueError(f"{self.label}: elements must have a first axis to be taken apart along, got {s}.")
        return unbatched(spec)

    def cardinality(self) -> int:
        """Known where the size of each batch is."""
        n = self.children[0].cardinality()
        if n in (INFINITE, 0):
            return n
        try:
            sizes = {s.shape[0] if s.shape else None for s in flatten(self.children[0].static_spec())}
        except Exception:
            return UNKNOWN
        size = sizes.pop() if len(sizes) == 1 else None
        return n * size if size is not None and known_count(n) else UNKNOWN

    def _iterator(self, context: Context) -> ElementIterator:
        return _UnbatchIterator(self, self.children[0].iterate(context))


def split_rows(label: str, element: Any) -> Iterator[Any]:
    """The rows of an element, as elements."""
    leaves = flatten(element)
    sizes = {len(v) if getattr(v, "shape", ()) else -1 for v in leaves}
    if -1 in sizes or len(sizes) != 1:
        raise ValueError(
            f"{label}: all parts of an element must have the same first dimension, got {describe(element)}."
        )
    make = packer(element)
    if not is_nested(element):
        return iter(leaves[0])
    return iter(rows(leaves, make))


class _UnbatchIterator(ElementIterator):
    def __init__(self, node: Unbatch, child: ElementIterator) -> None:
        self._node, self._child = node, child
        self._before: Any = None
        self._given = 0
        self._rows: Iterator[Any] = iter(())

    def __next__(self) -> Any:
        while True:
            for row in self._rows:
                self._given += 1
                return row
            self._before, self._given = self._child.get_state(), 0
            self._rows = split_rows(self._node.label, self._child.__next__())

    def get_state(self) -> Any:
        before = self._child.get_state() if self._before is None else self._before
        return {"child": before, "given": self._given}

    def set_state(self, state: Any) -> None:
        self._child.set_state(state["child"])
        for _ in range(state["given"]):
            self.__next__()

    def close(self) -> None:
        self._child.close()


class Rebatch(Node):
    """Batches cut anew to other sizes, in turn."""

    op = "rebatch"

    def __init__(self, child: Node, batch_size: Any, drop_remainder: bool = False, name: str | None = None) -> None:
        super().__init__(child, name=name)
        sizes = np.atleast_1d(np.asarray(batch_size)).tolist()
        if not sizes:
            raise ValueError(f"{self.label}: batch_size must be an integer or a list of them, got an empty list.")
        self.sizes = [check_int(self.label, "batch_size", n, 1) for n in sizes]
        self.drop_remainder = bool(drop_remainder)
        self.batches = True

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {"batch_size": self.sizes, "drop_remainder": self.drop_remainder}

    def cardinality(self) -> int:
        """See Node."""
        n = self.children[0].cardinality()
        return n if n == INFINITE else UNKNOWN

    def _spec(self) -> Any:
        fixed = len(set(self.sizes)) == 1 and self.drop_remainder
        return batched(unbatched(self.children[0].element_spec), self.sizes[0] if fixed else None)

    def _iterator(self, context: Context) -> ElementIterator:
        return _RebatchIterator(self, self.children[0].iterate(context))


class _RebatchIterator(ElementIterator):
    """Cuts and joins whole arrays. The state is that of the child before the batch that is partly used."""

    def __init__(self, node: Rebatch, child: ElementIterator) -> None:
        self._node, self._child = node, child
        self._turn = 0
        self._before: Any = None
        self._rest: Any = None
        self._used = 0

    def __next__(self) -> Any:
        want = self._node.sizes[self._turn % len(self._node.sizes)]
        parts: list[Any] = []
        while want:
            if self._rest is None and not self._next_batch():
                break
            size = len(flatten(self._rest)[0])
            take = min(want, size - self._used)
            first = self._used
            parts.append(map_structure(lambda x, a=first, b=first + take: x[a:b], self._rest))
            want -= take
            self._used += take
            if self._used == size:
                self._rest = None
        if not parts or (want and self._node.drop_remainder):
            raise StopIteration
        self._turn += 1
        if len(parts) == 1:
            return map_structure(np.copy, parts[0])
        return map_structure(lambda *xs: np.concatenate(xs), *parts)

    def _next_batch(self) -> bool:
        while True:
            before = self._child.get_state()
            try:
                batch = as_element(self._child.__next__())
            except StopIteration:
                return False
            split_rows(self._node.label, batch)  # checks the sizes
            if len(flatten(batch)[0]):
                self._before, self._rest, self._used = before, batch, 0
                return True

    def get_state(self) -> Any:
        open_ = self._rest is not None
        return {
            "turn": self._turn,
            "used": self._used if open_ else 0,
            "open": open_,
            "child": self._before if open_ else self._child.get_state(),
        }

    def set_state(self, state: Any) -> None:
        self._child.set_state(state["child"])
        self._turn = state["turn"]
        if state["open"] and self._next_batch():
            self._used = state["used"]

    def close(self) -> None:
        self._child.close()
