"""Datasets of neighbouring elements: window."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from lamina.core.checks import check_int
from lamina.core.nest import flatten, map_structure, pack
from lamina.datasets.context import Context
from lamina.datasets.nodes.base import ElementIterator, Node, known_count
from lamina.datasets.plan import Base, RandomAccess
from lamina.datasets.spec import DatasetSpec


class Window(Node):
    """Datasets of `size` elements each, `shift` apart, taking every `stride`-th element."""

    op = "window"

    def __init__(
        self,
        child: Node,
        make_dataset: Callable[[Node], Any],
        size: Any,
        shift: Any = None,
        stride: Any = 1,
        drop_remainder: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(child, name=name)
        self.make_dataset = make_dataset
        self.size = check_int(self.label, "size", size, 1)
        self.shift = self.size if shift is None else check_int(self.label, "shift", shift, 1)
        self.stride = check_int(self.label, "stride", stride, 1)
        self.drop_remainder = bool(drop_remainder)

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {"size": self.size, "shift": self.shift, "stride": self.stride, "drop_remainder": self.drop_remainder}

    def cardinality(self) -> int:
        """See Node."""
        n = self.children[0].cardinality()
        if not known_count(n):
            return n
        if self.drop_remainder:
            return max(0, (n - (self.size - 1) * self.stride - 1) // self.shift + 1)
        return -(-n // self.shift)

    def _spec(self) -> Any:
        return map_structure(DatasetSpec, self.children[0].element_spec)

    def _iterator(self, context: Context) -> ElementIterator:
        return _WindowIterator(self, self.children[0].iterate(context))


class ListNode(Node):
    """Elements that are in memory already, as a window holds them."""

    op = "window_elements"

    def __init__(self, elements: list[Any], spec: Callable[[], Any], part: int | None = None) -> None:
        super().__init__()
        self.elements, self._make_spec, self._part = elements, spec, part

    def _spec(self) -> Any:
        spec = self._make_spec()
        return spec if self._part is None else flatten(spec)[self._part]

    def cardinality(self) -> int:
        """See Node."""
        return len(self.elements)

    def _random_access(self, context: Context) -> RandomAccess:
        return RandomAccess(_ListBase(self.elements))

    def _iterator(self, context: Context) -> ElementIterator:
        return RandomAccess(_ListBase(self.elements)).iterate(self, context)


class _ListBase(Base):
    def __init__(self, elements: list[Any]) -> None:
        self._elements = elements
        self.length = len(elements)

    def item(self, index: int) -> Any:
        return self._elements[index]


class _WindowIterator(ElementIterator):
    """Keeps the elements that the next windows need. The state is that of the child at the first of them."""

    def __init__(self, node: Window, child: ElementIterator) -> None:
        self._node, self._child = node, child
        self._buffer: deque[Any] = deque()
        self._states: deque[Any] = deque()  # the child's state before each buffered element
        self._ended = False

    def __next__(self) -> Any:
        node = self._node
        span = (node.size - 1) * node.stride + 1
        while len(self._buffer) < span and not self._ended:
            state = self._child.get_state()
            try:
                element = self._child.__next__()
            except StopIteration:
                self._ended = True
            else:
                self._buffer.append(element)
                self._states.append(state)
        if not self._buffer or (node.drop_remainder and len(self._buffer) < span):
            raise StopIteration
        window = [self._buffer[i] for i in range(0, min(span, len(self._buffer)), node.stride)]
        self._shift()
        return self._as_datasets(window)

    def _shift(self) -> None:
        for _ in range(self._node.shift):
            if self._buffer:
                self._buffer.popleft()
                self._states.popleft()
            elif not self._ended:
                try:
                    self._child.__next__()
                except StopIteration:
                    self._ended = True

    def _as_datasets(self, window: list[Any]) -> Any:
        node = self._node
        child = node.children[0]

        def spec() -> Any:
            return child.element_spec

        first = window[0]
        if not isinstance(first, (tuple, dict, list)):
            return node.make_dataset(ListNode(window, spec))
        columns = zip(*[flatten(e) for e in window], strict=True)
        parts = [node.make_dataset(ListNode(list(c), spec, i)) for i, c in enumerate(columns)]
        return pack(first, parts)

    def get_state(self) -> Any:
        buffered = len(self._buffer)
        return {
            "child": self._states[0] if buffered else self._child.get_state(),
            "buffered": buffered,
            "ended": self._ended,
        }

    def set_state(self, state: Any) -> None:
        self._child.set_state(state["child"])
        while len(self._buffer) < state["buffered"]:
            before = self._child.get_state()
            try:
                self._buffer.append(self._child.__next__())
                self._states.append(before)
            except StopIteration:
                break
            except Exception:  # it was raised, and dealt with, when the elements were first read
                continue
        self._ended = state["ended"]

    def close(self) -> None:
        self._child.close()
