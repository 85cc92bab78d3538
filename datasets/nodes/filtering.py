"""Some of the elements, as they are: filter, take_while, unique, ignore_errors, assert_cardinality."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lamina.core.errors import describe
from lamina.core.nest import flatten
from lamina.datasets.context import Context
from lamina.datasets.elements import is_dataset
from lamina.datasets.nodes.base import ChildIterator, ElementIterator, Node, as_args, call_user, known_count
from lamina.datasets.spec import UNKNOWN

logger = logging.getLogger("lamina.datasets")


class Filter(Node):
    """The elements for which `predicate` is true."""

    op = "filter"
    keeps_elements = True

    def __init__(self, child: Node, predicate: Callable[..., Any], name: str | None = None) -> None:
        super().__init__(child, name=name)
        self.predicate = predicate

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {"predicate": self.predicate}

    def sample(self, context: Context) -> Iterator[Any]:
        """See Node."""
        return (e for e in self.children[0].sample(context) if self.holds(e, None))

    def holds(self, element: Any, position: int | None) -> bool:
        """The predicate's answer, checked to be one boolean."""
        answer = call_user(self.predicate, as_args(element), self.label, position)
        if answer is True or answer is False:
            return answer
        shape, dtype = getattr(answer, "shape", None), getattr(answer, "dtype", None)
        if dtype is not None and dtype.kind == "b" and shape == ():
            return bool(answer)
        raise ValueError(
            f"{self.label}: predicate must return one boolean, got {describe(answer)}. "
            "Use .all() or .any() on an array."
        )

    def _iterator(self, context: Context) -> ElementIterator:
        return _FilterIterator(self, self.children[0].iterate(context))


class _FilterIterator(ChildIterator):
    numbers = ("count",)

    def __init__(self, node: Filter, child: ElementIterator) -> None:
        super().__init__(child)
        self._holds = node.holds
        self._count = 0

    def __next__(self) -> Any:
        while True:
            element = self._pull()
            self._count += 1
            if self._holds(element, self._count - 1):
                return element


class TakeWhile(Filter):
    """The elements before the first for which `predicate` is false."""

    op = "take_while"

    def _iterator(self, context: Context) -> ElementIterator:
        return _TakeWhileIterator(self, self.children[0].iterate(context))


class _TakeWhileIterator(ChildIterator):
    numbers = ("count", "over")

    def __init__(self, node: TakeWhile, child: ElementIterator) -> None:
        super().__init__(child)
        self._holds = node.holds
        self._count, self._over = 0, False

    def __next__(self) -> Any:
        if self._over:
            raise StopIteration
        element = self._pull()
        self._count += 1
        if not self._holds(element, self._count - 1):
            self._over = True
            raise StopIteration
        return element


class Unique(Node):
    """Each element the first time it occurs.

    What was seen is kept in memory; a restored iterator reads the elements before its position again.
    """

    op = "unique"
    keeps_elements = True

    def __init__(self, child: Node, name: str | None = None) -> None:
        super().__init__(child, name=name)

    def _iterator(self, context: Context) -> ElementIterator:
        return _UniqueIterator(self.children[0].iterate(context))


class _UniqueIterator(ElementIterator):
    def __init__(self, child: ElementIterator) -> None:
        self._child = child
        self._seen: set[Any] = set()
        self._read = 0

    def __next__(self) -> Any:
        while True:
            element = self._child.__next__()
            self._read += 1
            if self._is_new(element):
                return element

    def _is_new(self, element: Any) -> bool:
        key = tuple(_hashable(leaf) for leaf in flatten(element))
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    def get_state(self) -> Any:
        return {"read": self._read}

    def set_state(self, state: Any) -> None:
        while self._read < state["read"]:
            try:
                self._is_new(self._child.__next__())
                self._read += 1
            except StopIteration:
                break
            except Exception:  # it was raised, and dealt with, when the elements were first read
                continue

    def close(self) -> None:
        self._child.close()


def _hashable(leaf: Any) -> Any:
    if isinstance(leaf, bytes):
        return leaf
    if is_dataset(leaf):
        raise TypeError("unique: datasets inside an element cannot be compared; call `flat_map` on them first.")
    if leaf.dtype == object:
        return leaf.shape, tuple(leaf.reshape(-1).tolist())
    return leaf.dtype.str, leaf.shape, np.asarray(leaf).tobytes()


class IgnoreErrors(Node):
    """The elements that could be made; errors are counted and passed over."""

    op = "ignore_errors"
    keeps_elements = True

    def __init__(self, child: Node, log_warning: bool = False, name: str | None = None) -> None:
        super().__init__(child, name=name)
        self.log_warning = log_warning
        self.ignored = 0

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {"log_warning": self.log_warning}

    def cardinality(self) -> int:
        """See Node."""
        n = self.children[0].cardinality()
        return UNKNOWN if known_count(n) and n else n

    def sample(self, context: Context) -> Iterator[Any]:
        """See Node."""
        elements = iter(self.children[0].sample(context))
        while True:
            try:
                element = next(elements)
            except StopIteration:
                return
            except Exception:
                continue
            yield element

    def _iterator(self, context: Context) -> ElementIterator:
        return _IgnoreIterator(self, self.children[0].iterate(context))


class _IgnoreIterator(ChildIterator):
    def __init__(self, node: IgnoreErrors, child: ElementIterator) -> None:
        super().__init__(child)
        self._node = node

    def __next__(self) -> Any:
        while True:
            try:
                return self._pull()
            except StopIteration:
                raise
            except Exception as e:
                self._node.ignored += 1
                if self._node.log_warning:
                    notes = "; ".join(getattr(e, "__notes__", ()))
                    logger.warning("ignore_errors passed over an element: %s: %s %s", type(e).__name__, e, notes)


class AssertCardinality(Node):
    """The same elements, with their number declared and checked."""

    op = "assert_cardinality"
    keeps_elements = True

    def __init__(self, child: Node, expected: int, name: str | None = None) -> None:
        super().__init__(child, name=name)
        self.expected = int(expected)

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {"expected_cardinality": self.expected}

    def cardinality(self) -> int:
        """See Node."""
        return self.expected

    def _iterator(self, context: Context) -> ElementIterator:
        return _AssertIterator(self, self.children[0].iterate(context))


class _AssertIterator(ChildIterator):
    numbers = ("count",)

    def __init__(self, node: AssertCardinality, child: ElementIterator) -> None:
        super().__init__(child)
        self._node = node
        self._count = 0

    def __next__(self) -> Any:
        expected = self._node.expected
        try:
            element = self._pull()
        except StopIteration:
            if self._count < expected or expected == -1:
                wanted = "endless elements" if expected == -1 else f"{expected} elements"
                raise ValueError(
                    f"{self._node.label}: expected {wanted}, the dataset ended after {self._count}."
                ) from None
            raise
        self._count += 1
        if 0 <= expected < self._count:
            raise ValueError(f"{self._node.label}: expected {expected} elements, the dataset has more.")
        return element
