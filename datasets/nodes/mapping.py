"""One element at a time through a function: map, filter, take_while, scan, enumerate, unique, ignore_errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, starmap
from typing import Any

import numpy as np

from lamina.core.errors import describe
from lamina.core.nest import flatten, map_structure
from lamina.datasets.context import Context
from lamina.datasets.elements import BatchBuilder, as_element, as_result, packer, rows, spec_of, stack
from lamina.datasets.nodes.base import (
    ChildIterator,
    ElementIterator,
    GatherError,
    Node,
    add_position,
    as_args,
    call_user,
)
from lamina.datasets.nodes.encoding import decode_element, encode_element
from lamina.datasets.nodes.probing import probe
from lamina.datasets.plan import Base, RandomAccess
from lamina.datasets.processes import ProcessMap
from lamina.datasets.spec import TensorSpec, batched, unbatched
from lamina.datasets.workers import ParallelMapIterator


class Map(Node):
    """`fn` of each element."""

    op = "map"

    def __init__(
        self,
        child: Node,
        fn: Callable[..., Any],
        calls: int | None = None,
        deterministic: bool | None = None,
        vectorized: bool = False,
        signature: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(child, name=name)
        self.fn, self.calls, self.deterministic = fn, calls, deterministic
        self.signature = signature
        self.parked: list[Any] = []  # worker processes that wait for the next pass
        self.batches = child.batches
        self.vectorized = vectorized and not child.batches
        self.row_wise = vectorized and child.batches

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {"map_func": self.fn, "num_parallel_calls": self.calls, "vectorized": self.vectorized or None}

    def cardinality(self) -> int:
        """See Node."""
        return self.children[0].cardinality()

    def _spec(self) -> Any:
        if self.signature is not None:
            return self.signature
        spec = probe(self, self.apply)
        if not self.row_wise:
            return spec
        sizes = {s.shape[0] for s in flatten(self.children[0].element_spec)}
        return batched(unbatched(spec), sizes.pop() if len(sizes) == 1 else None)

    def sample(self, context: Context) -> Iterator[Any]:
        """See Node."""
        return map(self.apply, self.children[0].sample(context))

    def apply(self, element: Any, position: int | None = None) -> Any:
        """The function's result for one element, as an element."""
        if self.vectorized:
            rows_of = self.apply_rows(map_structure(lambda x: stack([x]), element), position)
            return map_structure(lambda x: x[0], rows_of)
        if self.row_wise:
            return self.apply_rows(element, position)
        return as_result(call_user(self.fn, as_args(element), self.label, position))

    def apply_rows(self, batch: Any, position: int | None = None) -> Any:
        """The result of a vectorized function for some elements at once, checked to have as many rows."""
        size = len(flatten(batch)[0])
        out = as_result(call_user(self.fn, as_args(batch), self.label, position))
        for leaf in flatten(out):
            if not getattr(leaf, "shape", ()) or len(leaf) != size:
                raise ValueError(
                    f"{self.label}: with vectorized=True the function gets {size} elements along the first axis and "
                    f"must return as many, got {describe(leaf)}."
                )
        return out

    def processes(self, context: Context, base: Base | None = None) -> Any:
        """The worker processes for this map, where the options ask for them."""
        if context.options.workers != "process" or self.calls is None or self.vectorized:
            return None
        nodes: list[Any] = [] if base is not None else [self]
        while isinstance(base, MapBase):
            nodes.insert(0, base.node)
            base = base.inner
        return ProcessMap(self, base, nodes)

    def _random_access(self, context: Context) -> RandomAccess | None:
        access = self.children[0].random_access(context)
        if access is None:
            return None
        base = VectorizedBase(self, access.base) if self.vectorized else MapBase(self, access.base)
        return access.rebase(base)

    def _iterator(self, context: Context) -> ElementIterator:
        child = self.children[0].iterate(context)
        if self.vectorized:
            return _VectorMapIterator(self, child)
        return _MapIterator(self, child) if self.calls is None else ParallelMapIterator(self, child, context)


class _MapIterator(ChildIterator):
    numbers = ("count",)

    def __init__(self, node: Map, child: ElementIterator) -> None:
        super().__init__(child)
        self._apply = node.apply
        self._count = 0

    def __next__(self) -> Any:
        element = self._pull()
        self._count += 1
        return self._apply(element, self._count - 1)


class _VectorMapIterator(ElementIterator):
    """Blocks of a stream through a vectorized function. The state is that of the child before the block."""

    BLOCK = 64

    def __init__(self, node: Map, child: ElementIterator) -> None:
        self._node, self._child = node, child
        self._before: Any = None
        self._given = 0
        self._rows: Iterator[Any] = iter(())

    def __next__(self) -> Any:
        for row in self._rows:
            self._given += 1
            return row
        self._before, self._given = self._child.get_state(), 0
        self._rows = self._next_block()
        for row in self._rows:
            self._given += 1
            return row
        raise StopIteration

    def _next_block(self) -> Iterator[Any]:
        block = []
        for element in self._child:
            block.append(element)
            if len(block) == self.BLOCK:
                break
        if not block:
            return iter(())
        out = self._node.apply_rows(stack(block, self._node.label))
        return iter(rows(flatten(out), packer(out)))

    def get_state(self) -> Any:
        before = self._child.get_state() if self._before is None else self._before
        return {"child": before, "given": self._given}

    def set_state(self, state: Any) -> None:
        self._child.set_state(state["child"])
        for _ in range(state["given"]):
            self.__next__()

    def close(self) -> None:
        self._child.close()


class MapBase(Base):
    """`fn` over the elements of another base."""

    def __init__(self, node: Map, inner: Base) -> None:
        self.node, self.inner = node, inner
        self.length, self.varies = inner.length, inner.varies
        self.parallel = node if node.calls is not None else inner.parallel
        self._before: BatchBuilder | None = None
        self._make_row: Any = None

    def item(self, index: int) -> Any:
        """See Base."""
        return self.node.apply(self.inner.item(index), index)

    def gather(self, indices: np.ndarray) -> Any:
        """See Base. Each result is copied into the batch while it is in the cache."""
        builder = BatchBuilder(len(indices), self.node.label, self._before)
        try:
            builder.fill(self.results(indices))
        except GatherError:
            raise
        except Exception as e:
            raise self._at(builder.count, indices, e) from e
        if builder.count < len(indices):
            error = RuntimeError("the function raised StopIteration, which would end the loop")
            raise self._at(builder.count, indices, error)
        self._before = builder
        return builder.finish()

    def _at(self, offset: int, indices: np.ndarray, error: Exception) -> GatherError:
        add_position(error, self.node.label, int(indices[offset]))
        return GatherError(offset, error)

    def results(self, indices: np.ndarray) -> Iterator[Any]:
        """What the function returns for some elements, not yet made elements."""
        fn = self.node.fn
        if self.inner.pure:
            batch = self.inner.gather(indices)
            if type(batch) is tuple and all(type(column) is np.ndarray for column in batch):
                return map(fn, *batch)
            if not isinstance(batch, (tuple, dict)):
                return map(fn, flatten(batch)[0])
            if self._make_row is None:
                self._make_row = packer(batch)
            inputs = rows(flatten(batch), self._make_row)
            return starmap(fn, inputs) if isinstance(batch, tuple) else map(fn, inputs)
        if isinstance(self.inner, MapBase):
            elements: Iterator[Any] = map(as_result, self.inner.results(indices))
        else:
            elements = (self.inner.item(i) for i in indices.tolist())
        first = next(elements)
        elements = chain([first], elements)
        return starmap(fn, elements) if isinstance(first, tuple) else map(fn, elements)


class VectorizedBase(Base):
    """A vectorized function over another base; it may be called ahead, and with any number of elements at once."""

    pure = True

    def __init__(self, node: Map, inner: Base) -> None:
        self.node, self.inner = node, inner
        self.length, self.varies = inner.length, inner.varies
        self.parallel = node if node.calls is not None else inner.parallel

    def item(self, index: int) -> Any:
        """See Base."""
        return self.node.apply(self.inner.item(index), index)

    def gather(self, indices: np.ndarray) -> Any:
        """See Base."""
        return self.node.apply_rows(self.inner.gather(indices), int(indices[0]) if len(indices) else None)


class Scan(Node):
    """`state, output = fn(state, element)`, giving the outputs."""

    op = "scan"

    def __init__(self, child: Node, initial: Any, fn: Callable[..., Any], name: str | None = None) -> None:
        super().__init__(child, name=name)
        self.initial, self.fn = as_element(initial), fn

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {"initial_state": flatten(self.initial), "scan_func": self.fn}

    def cardinality(self) -> int:
        """See Node."""
        return self.children[0].cardinality()

    def _spec(self) -> Any:
        return probe(self, lambda e: self.step(self.initial, e, None)[1])

    def sample(self, context: Context) -> Iterator[Any]:
        """See Node."""
        return (self.step(self.initial, e, None)[1] for e in self.children[0].sample(context))

    def step(self, state: Any, element: Any, position: int | None) -> tuple[Any, Any]:
        """The new state and the output; the state keeps structure and dtypes."""
        out = call_user(self.fn, (state, element), self.label, position)
        if not isinstance(out, (tuple, list)) or len(out) != 2:
            raise TypeError(f"{self.label}: scan_func must return (new_state, output), got {describe(out)}.")
        return same_state(self.label, self.initial, as_result(out[0])), as_result(out[1])

    def _iterator(self, context: Context) -> ElementIterator:
        return _ScanIterator(self, self.children[0].iterate(context))


def same_state(label: str, initial: Any, state: Any) -> Any:
    """`state`, if it has the structure and dtypes of the initial state."""

    def check(a: Any, b: Any) -> Any:
        wanted, got = spec_of(a), spec_of(b)
        if wanted.dtype != got.dtype:
            raise TypeError(
                f"{label}: the state must keep its dtype, the initial state has {wanted}, the function returned {got}. "
                "Cast one of them."
            )
        return b

    try:
        return map_structure(check, initial, state)
    except ValueError as e:
        raise TypeError(f"{label}: the state must keep its structure. {e}") from None


class _ScanIterator(ChildIterator):
    def __init__(self, node: Scan, child: ElementIterator) -> None:
        super().__init__(child)
        self._node, self._state = node, node.initial
        self._count = 0

    def __next__(self) -> Any:
        element = self._pull()
        self._count += 1
        self._state, out = self._node.step(self._state, element, self._count - 1)
        return out

    def get_state(self) -> Any:
        return {"child": self._child.get_state(), "count": self._count, "state": encode_element(self._state)}

    def set_state(self, state: Any) -> None:
        self._child.set_state(state["child"])
        self._count, self._state = state["count"], decode_element(state["state"], self._node.initial)


class Enumerate(Node):
    """(number, element) pairs."""

    op = "enumerate"

    def __init__(self, child: Node, start: Any = 0, name: str | None = None) -> None:
        super().__init__(child, name=name)
        self.start = int(start)

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {"start": self.start}

    def cardinality(self) -> int:
        """See Node."""
        return self.children[0].cardinality()

    def _spec(self) -> Any:
        return TensorSpec((), np.int64), self.children[0].element_spec

    def sample(self, context: Context) -> Iterator[Any]:
        """See Node."""
        return ((np.int64(self.start), e) for e in self.children[0].sample(context))

    def _iterator(self, context: Context) -> ElementIterator:
        return _EnumerateIterator(self.children[0].iterate(context), self.start)


class _EnumerateIterator(ChildIterator):
    numbers = ("number",)

    def __init__(self, child: ElementIterator, start: int) -> None:
        super().__init__(child)
        self._number = start

    def __next__(self) -> Any:
        element = self._pull()
        self._number += 1
        return np.int64(self._number - 1), element
