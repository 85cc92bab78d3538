"""Datasets from datasets: concatenate, zip, flat_map, interleave, window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lamina.core.checks import check_int
from lamina.core.nest import flatten, map_structure, pack
from lamina.datasets.context import Context
from lamina.datasets.elements import packer, spec_of
from lamina.datasets.nodes.base import (
    ElementIterator,
    Node,
    RandomNode,
    SpecUnknown,
    as_args,
    call_user,
    probing_allowed,
    seeds_from,
    smallest,
)
from lamina.datasets.nodes.prefetching import PrefetchIterator
from lamina.datasets.nodes.probing import sampled_specs
from lamina.datasets.plan import Base, RandomAccess
from lamina.datasets.spec import INFINITE, UNKNOWN, most_general


class Concatenate(Node):
    """The elements of the first dataset, then those of the second."""

    op = "concatenate"

    def __init__(self, first: Node, second: Node, name: str | None = None) -> None:
        super().__init__(first, second, name=name)
        self.batches = first.batches and second.batches
        try:
            specs = first.static_spec(), second.static_spec()
        except SpecUnknown:
            return
        self.merge(*specs)

    def merge(self, a: Any, b: Any) -> Any:
        """The spec that covers both parts."""
        try:
            return most_general(a, b)
        except TypeError as e:
            raise TypeError(f"{self.label}: both datasets must have elements of one structure and dtype. {e}") from None

    def _spec(self) -> Any:
        return self.merge(*[c.element_spec for c in self.children])

    def sample(self, context: Context) -> Iterator[Any]:
        """See Node."""
        return self.children[0].sample(context)

    def cardinality(self) -> int:
        """See Node."""
        counts = [c.cardinality() for c in self.children]
        if INFINITE in counts:
            return INFINITE
        return UNKNOWN if UNKNOWN in counts else sum(counts)

    def _random_access(self, context: Context) -> RandomAccess | None:
        parts = [c.random_access(context) for c in self.children]
        if any(p is None or p.length is None or p.sequential or p.base.parallel is not None for p in parts):
            return None
        return RandomAccess(_JoinedBase(parts, _SameKind(self)))

    def _iterator(self, context: Context) -> ElementIterator:
        return _ConcatenateIterator(self, context)


class _SameKind:
    """Compares the first element of either part, where specs were not known before the elements."""

    def __init__(self, node: Concatenate) -> None:
        self._node = node
        self._specs: dict[int, Any] = {}

    def check(self, part: int, element: Any) -> Any:
        if part not in self._specs:
            self._specs[part] = spec_of(element)
            if len(self._specs) == 2:
                self._node.merge(self._specs[0], self._specs[1])
        return element


class _JoinedBase(Base):
    """Two indexable datasets end to end."""

    def __init__(self, parts: list[Any], same: _SameKind) -> None:
        self._parts, self._same = parts, same
        self._border = parts[0].length
        self.length = parts[0].length + parts[1].length
        self.varies = any(p.base.varies or p.order is not None for p in parts)

    def item(self, index: int) -> Any:
        if index < self._border:
            return self._same.check(0, self._parts[0].item(index))
        return self._same.check(1, self._parts[1].item(index - self._border))


class _ConcatenateIterator(ElementIterator):
    def __init__(self, node: Concatenate, context: Context) -> None:
        self._node, self._context = node, context
        self._same = _SameKind(node)
        self._index = 0
        self._iterator = node.children[0].iterate(context)

    def __next__(self) -> Any:
        while True:
            try:
                return self._same.check(self._index, self._iterator.__next__())
            except StopIteration:
                if self._index:
                    raise
                self._iterator.close()
                self._index = 1
                self._iterator = self._node.children[1].iterate(self._context)

    def get_state(self) -> Any:
        return {"index": self._index, "child": self._iterator.get_state()}

    def set_state(self, state: Any) -> None:
        self._index = state["index"]
        self._iterator = self._node.children[self._index].iterate(self._context)
        self._iterator.set_state(state["child"])

    def close(self) -> None:
        self._iterator.close()


class Zip(Node):
    """One element of each dataset, in step, to the end of the shortest."""

    op = "zip"

    def __init__(self, structure: Any, name: str | None = None) -> None:
        super().__init__(*flatten(structure), name=name)
        self.structure = map_structure(lambda _: 0, structure)

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {"datasets": repr(self.structure)}

    def _spec(self) -> Any:
        return pack(self.structure, [c.element_spec for c in self.children])

    def sample(self, context: Context) -> Iterator[Any]:
        """See Node."""
        return (pack(self.structure, parts) for parts in zip(*[c.sample(context) for c in self.children], strict=False))

    def cardinality(self) -> int:
        """See Node."""
        return smallest([c.cardinality() for c in self.children])

    def _random_access(self, context: Context) -> RandomAccess | None:
        parts = [c.random_access(context) for c in self.children]
        if any(p is None or p.sequential or p.base.parallel is not None for p in parts):
            return None
        lengths = [p.length for p in parts if p.length is not None]  # type: ignore[union-attr]
        return RandomAccess(_ZipBase(parts, self.structure, min(lengths, default=0)), length=min(lengths, default=None))

    def _iterator(self, context: Context) -> ElementIterator:
        return _ZipIterator([c.iterate(context) for c in self.children], packer(self.structure))


class _ZipBase(Base):
    def __init__(self, parts: list[Any], structure: Any, length: int) -> None:
        self._parts, self._structure, self.length = parts, structure, length
        self._pack = packer(structure)
        self.pure = all(p.base.pure for p in parts)
        self.varies = any(p.base.varies or p.order is not None for p in parts)

    def item(self, index: int) -> Any:
        return self._pack([p.item(index) for p in self._parts])

    def gather(self, indices: np.ndarray) -> Any:
        if not self.pure:
            return super().gather(indices)
        return pack(self._structure, [p.base.gather(p.locate_all(indices)) for p in self._parts])


class _ZipIterator(ElementIterator):
    def __init__(self, children: list[ElementIterator], make: Callable[[Any], Any]) -> None:
        self._children, self._make = children, make
        self._over = False

    def __next__(self) -> Any:
        if self._over:
            raise StopIteration
        parts, error = [], None
        for child in self._children:
            try:
                parts.append(child.__next__())
            except StopIteration:
                self._over = True
                raise
            except Exception as e:  # the others move on too, so that the datasets stay in step behind an error
                error = error or e
        if error is not None:
            raise error
        return self._make(parts)

    def get_state(self) -> Any:
        return {"over": self._over, "children": [c.get_state() for c in self._children]}

    def set_state(self, state: Any) -> None:
        self._over = state["over"]
        for child, saved in zip(self._children, state["children"], strict=True):
            child.set_state(saved)

    def close(self) -> None:
        for child in self._children:
            child.close()


class Interleave(RandomNode):
    """The datasets that `fn` makes of the elements, `cycle_length` of them in turn, `block_length` elements each time.

    With a `cycle_length` of 1 this is `flat_map`.
    """

    op = "interleave"

    def __init__(
        self,
        child: Node,
        fn: Callable[..., Any],
        as_inner: Callable[[Any], Node],
        cycle_length: int = 1,
        block_length: int = 1,
        calls: int | None = None,
        deterministic: bool | None = None,
        signature: Any = None,
        name: str | None = None,
        op: str = "interleave",
    ) -> None:
        super().__init__(child, name=name)
        self.op = op
        self.fn, self.as_inner = fn, as_inner
        self.cycle_length = check_int(self.label, "cycle_length", cycle_length, 1)
        self.block_length = check_int(self.label, "block_length", block_length, 1)
        self.calls, self.deterministic, self.signature = calls, deterministic, signature

    def config(self) -> dict[str, Any]:
        """See Node."""
        if self.op == "flat_map":
            return {"map_func": self.fn}
        return {"map_func": self.fn, "cycle_length": self.cycle_length, "block_length": self.block_length}

    def cardinality(self) -> int:
        """See Node."""
        return 0 if self.children[0].cardinality() == 0 else UNKNOWN

    def _spec(self) -> Any:
        if self.signature is not None:
            return self.signature
        probing_allowed(self.label)
        specs = sampled_specs(self.label, self.children[0], lambda e: self.inner(e, None, (0,)).element_spec)
        return specs[0][1] if len(specs) == 1 else most_general(specs[0][1], specs[1][1])

    def inner(self, element: Any, position: int | None, key: tuple[int, ...]) -> Node:
        """The dataset for one element; random stages in it that have no seed get one that follows from `key`."""
        with seeds_from(*key):
            return self.as_inner(call_user(self.fn, as_args(element), self.label, position))

    def sample(self, context: Context) -> Iterator[Any]:
        """See Node."""
        for element in self.children[0].sample(context):
            yield from self.inner(element, None, (0,)).sample(context)

    def _iterator(self, context: Context) -> ElementIterator:
        ahead = 0 if self.calls is None else context.parallelism(self.calls)
        return _InterleaveIterator(self, self.children[0].iterate(context), context, ahead)


class _Slot:
    """One place of the cycle: the dataset open there, and the state from which it can be opened again."""

    __slots__ = ("iterator", "opened_from", "number", "skip")

    def __init__(self, iterator: ElementIterator, opened_from: Any, number: int) -> None:
        self.iterator, self.opened_from, self.number = iterator, opened_from, number
        self.skip = 0


class _InterleaveIterator(ElementIterator):
    def __init__(self, node: Interleave, child: ElementIterator, context: Context, ahead: int = 0) -> None:
        self._node, self._child, self._context = node, child, context
        self._key = context.random_key(node)
        self._slots: list[_Slot | None] = [None] * node.cycle_length
        self._turn = 0
        self._block = 0
        self._count = 0  # elements read from the child
        self._ended = False
        self._ahead = ahead

    def __next__(self) -> Any:
        node = self._node
        idle = 0
        while idle <= node.cycle_length:
            slot = self._slots[self._turn]
            if slot is None:
                if self._ended or not self._open(self._turn):
                    idle += 1
                    self._advance()
                    continue
                slot = self._slots[self._turn]
            try:
                element = slot.iterator.__next__()  # type: ignore[union-attr]
            except StopIteration:
                slot.iterator.close()  # type: ignore[union-attr]
                # An ended dataset gives up the rest of its turn; a new one takes the place when it comes round again.
                self._slots[self._turn] = None
                self._advance()
                idle = 0
                continue
            self._block += 1
            if self._block == node.block_length:
                self._advance()
            return element
        raise StopIteration

    def _advance(self) -> None:
        self._turn = (self._turn + 1) % self._node.cycle_length
        self._block = 0

    def _open(self, turn: int) -> bool:
        before = self._child.get_state()
        try:
            element = self._child.__next__()
        except StopIteration:
            self._ended = True
            return False
        number = self._count
        self._count += 1
        inner = self._node.inner(element, number, (*self._key, number))
        iterator = inner.iterate(self._context.inner(self._key, number))
        if turn < self._ahead:  # num_parallel_calls: so many of the open datasets read ahead, the order stays
            iterator = PrefetchIterator(iterator, max(2, self._node.block_length), self._context)
        self._slots[turn] = _Slot(iterator, before, number)
        return True

    def get_state(self) -> Any:
        slots = [
            None if s is None else {"from": s.opened_from, "number": s.number, "inner": s.iterator.get_state()}
            for s in self._slots
        ]
        while slots and slots[-1] is None:
            slots.pop()
        return {
            "child": self._child.get_state(),
            "turn": self._turn,
            "block": self._block,
            "count": self._count,
            "ended": self._ended,
            "slots": slots,
        }

    def set_state(self, state: Any) -> None:
        for turn, saved in enumerate(state["slots"]):
            if saved is None:
                continue
            child = self._node.children[0].iterate(self._context)
            child.set_state(saved["from"])
            self._child, kept = child, self._child
            self._count = saved["number"]
            self._open(turn)
            self._child = kept
            child.close()
            self._slots[turn].iterator.set_state(saved["inner"])  # type: ignore[union-attr]
        self._child.set_state(state["child"])
        self._turn, self._block = state["turn"], state["block"]
        self._count, self._ended = state["count"], state["ended"]

    def close(self) -> None:
        for slot in self._slots:
            if slot is not None:
                slot.iterator.close()
        self._child.close()
