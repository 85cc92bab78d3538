"""Elements gathered by key: group_by_window (and with it bucket_by_sequence_length), rejection_resample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lamina.core.checks import check_int
from lamina.core.errors import describe
from lamina.datasets.context import Context, rng
from lamina.datasets.nodes.base import (
    ChildIterator,
    ElementIterator,
    Node,
    RandomNode,
    as_args,
    call_user,
    probing_allowed,
    seeds_from,
)
from lamina.datasets.nodes.probing import first_elements
from lamina.datasets.spec import INFINITE, UNKNOWN, TensorSpec

MARK_EVERY = 32


class GroupByWindow(RandomNode):
    """Elements sorted into windows by key; `reduce_func(key, window)` makes a dataset of each window that is full."""

    op = "group_by_window"

    def __init__(
        self,
        child: Node,
        key_func: Callable[..., Any],
        reduce_func: Callable[..., Any],
        window_size: Any,
        window_size_func: Callable[..., Any] | None,
        as_window: Callable[[Node, list[Any]], Any],
        as_inner: Callable[[Any], Node],
        name: str | None = None,
        op: str = "group_by_window",
    ) -> None:
        super().__init__(child, name=name)
        self.op = op
        if (window_size is None) == (window_size_func is None):
            raise ValueError(f"{self.label}: give either window_size or window_size_func, and not both.")
        self.window_size = None if window_size is None else check_int(self.label, "window_size", window_size, 1)
        self.key_func, self.reduce_func, self.window_size_func = key_func, reduce_func, window_size_func
        self.as_window, self.as_inner = as_window, as_inner

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {
            "key_func": self.key_func,
            "reduce_func": self.reduce_func,
            "window_size": self.window_size_func or self.window_size,
        }

    def cardinality(self) -> int:
        """See Node."""
        n = self.children[0].cardinality()
        return n if n in (0, INFINITE) else UNKNOWN

    def _spec(self) -> Any:
        probing_allowed(self.label)
        elements = first_elements(self.children[0], 2)
        if not elements:
            raise ValueError(
                f"{self.label}: the element_spec follows from a function, and there is no element to run it on."
            )
        return self.reduce(self.key(elements[0], None), elements, (0,)).element_spec

    def key(self, element: Any, position: int | None) -> np.int64:
        """The key of an element, checked to be one integer."""
        key = call_user(self.key_func, as_args(element), self.label, position)
        array = np.asarray(key)
        if array.shape != () or array.dtype.kind not in "iub":
            raise ValueError(f"{self.label}: key_func must return one integer, got {describe(key)}.")
        return np.int64(array)

    def size(self, key: np.int64) -> int:
        """The size of the windows of a key."""
        if self.window_size is not None:
            return self.window_size
        size = call_user(self.window_size_func, (key,), self.label)  # type: ignore[arg-type]
        if np.ndim(size) or int(size) < 1:
            raise ValueError(
                f"{self.label}: window_size_func must return an integer of at least 1, got {describe(size)}."
            )
        return int(size)

    def reduce(self, key: np.int64, elements: list[Any], seed_key: tuple[int, ...]) -> Node:
        """The dataset for one window."""
        with seeds_from(*seed_key):
            window = self.as_window(self.children[0], elements)
            return self.as_inner(call_user(self.reduce_func, (key, window), self.label))

    def _iterator(self, context: Context) -> ElementIterator:
        return _GroupIterator(self, self.children[0].iterate(context), context)


class _GroupIterator(ElementIterator):
    """The state holds the positions of waiting elements, and a state of the child from which they can be read again."""

    def __init__(self, node: GroupByWindow, child: ElementIterator, context: Context) -> None:
        self._node, self._child, self._context = node, child, context
        self._random = context.random_key(node)
        self._groups: dict[int, list[tuple[int, Any]]] = {}
        self._read = 0
        self._marks: list[tuple[int, Any]] = []
        self._ended = False
        self._windows = 0
        self._window: list[tuple[int, Any]] = []  # the elements of the window whose dataset is being read
        self._key = 0
        self._inner: ElementIterator | None = None

    def __next__(self) -> Any:
        while True:
            if self._inner is not None:
                try:
                    return self._inner.__next__()
                except StopIteration:
                    self._inner.close()
                    self._inner, self._window = None, []
            if self._ended:
                if not self._groups:
                    raise StopIteration
                self._open(min(self._groups))
            else:
                self._read_one()

    def _read_one(self) -> None:
        try:
            element = self._take()
        except StopIteration:
            self._ended = True
            return
        position = self._read - 1
        key = self._node.key(element, position)
        group = self._groups.setdefault(int(key), [])
        group.append((position, element))
        if len(group) >= self._node.size(key):
            self._open(int(key))

    def _take(self) -> Any:
        if self._read % MARK_EVERY == 0 and (not self._marks or self._marks[-1][0] != self._read):
            self._forget_marks()
            self._marks.append((self._read, self._child.get_state()))
        element = self._child.__next__()
        self._read += 1
        return element

    def _forget_marks(self) -> None:
        waiting = [g[0][0] for g in self._groups.values() if g]
        if self._window:
            waiting.append(self._window[0][0])
        oldest = min(waiting, default=self._read)
        while len(self._marks) > 1 and self._marks[1][0] <= oldest:
            del self._marks[0]

    def _open(self, key: int) -> None:
        self._window, self._key = self._groups.pop(key), key
        self._inner = self._iterate_window()
        self._windows += 1

    def _iterate_window(self) -> ElementIterator:
        elements = [e for _, e in self._window]
        inner = self._node.reduce(np.int64(self._key), elements, (*self._random, self._windows))
        return inner.iterate(self._context.inner(self._random, self._windows))

    def get_state(self) -> Any:
        self._forget_marks()
        at, child = self._marks[0] if self._marks else (0, self._child.get_state())
        return {
            "at": at,
            "child": child,
            "read": self._read,
            "ended": self._ended,
            "windows": self._windows,
            "groups": [[k, [p for p, _ in g]] for k, g in self._groups.items()],
            "window": [p for p, _ in self._window],
            "key": self._key,
            "inner": None if self._inner is None else self._inner.get_state(),
        }

    def set_state(self, state: Any) -> None:
        self._child.set_state(state["child"])
        self._read = state["at"]
        wanted = {p for _, group in state["groups"] for p in group} | set(state["window"])
        found = {}
        while self._read < state["read"]:
            try:
                element = self._take()
            except StopIteration:
                break
            except Exception:  # it was raised, and dealt with, when the elements were first read
                continue
            if self._read - 1 in wanted:
                found[self._read - 1] = element
        self._groups = {k: [(p, found[p]) for p in group] for k, group in state["groups"]}
        self._window = [(p, found[p]) for p in state["window"]]
        self._key, self._windows, self._ended = state["key"], state["windows"], state["ended"]
        if state["inner"] is not None:
            self._windows -= 1
            self._inner = self._iterate_window()
            self._windows += 1
            self._inner.set_state(state["inner"])

    def close(self) -> None:
        if self._inner is not None:
            self._inner.close()
        self._child.close()


class RejectionResample(RandomNode):
    """(class, element) pairs, thinned out so that classes come in the proportions of `target`.

    An element of class c is kept with probability `(target[c] / initial[c]) / max(target / initial)`. Unknown initial
    proportions are estimated from the elements seen so far, each class counted once beforehand.
    """

    op = "rejection_resample"

    def __init__(
        self,
        child: Node,
        class_func: Callable[..., Any],
        target: Any,
        initial: Any = None,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(child, seed=seed, name=name)
        self.class_func = class_func
        self.target = self._distribution("target_dist", target)
        self.initial = None if initial is None else self._distribution("initial_dist", initial)
        if self.initial is not None and len(self.initial) != len(self.target):
            raise ValueError(
                f"{self.label}: initial_dist must have as many classes as target_dist ({len(self.target)}), "
                f"got {len(self.initial)}."
            )

    def _distribution(self, argument: str, values: Any) -> np.ndarray:
        p = np.asarray(values, np.float64)
        if p.ndim != 1 or not len(p) or (p < 0).any() or not p.sum() > 0:
            raise ValueError(
                f"{self.label}: {argument} must be a vector of proportions, one a class, got {describe(values)}."
            )
        return p / p.sum()

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {"class_func": self.class_func, "target_dist": self.target.tolist(), "seed": self._seed}

    def cardinality(self) -> int:
        """See Node."""
        n = self.children[0].cardinality()
        return n if n in (0, INFINITE) else UNKNOWN

    def _spec(self) -> Any:
        return TensorSpec((), np.int32), self.children[0].element_spec

    def sample(self, context: Context) -> Any:
        """See Node."""
        return ((self.class_of(e, None), e) for e in self.children[0].sample(context))

    def class_of(self, element: Any, position: int | None) -> np.int32:
        """The class of an element, checked to be one of those in target_dist."""
        label = np.asarray(call_user(self.class_func, as_args(element), self.label, position))
        if label.shape != () or label.dtype.kind not in "iu" or not 0 <= label < len(self.target):
            raise ValueError(
                f"{self.label}: class_func must return an integer from 0 to {len(self.target) - 1}, "
                f"got {describe(label[()])}."
            )
        return np.int32(label)

    def _iterator(self, context: Context) -> ElementIterator:
        return _ResampleIterator(self, self.children[0].iterate(context), context.random_key(self))


class _ResampleIterator(ChildIterator):
    BLOCK = 256

    def __init__(self, node: RejectionResample, child: ElementIterator, key: tuple[int, ...]) -> None:
        super().__init__(child)
        self._node, self._key = node, key
        self._count = 0
        self._seen = np.ones(len(node.target))
        self._block: tuple[int, np.ndarray] = (-1, np.empty(0))
        self._accept = None if node.initial is None else self._probabilities(node.initial)

    def _probabilities(self, initial: np.ndarray) -> np.ndarray:
        ratio = np.divide(self._node.target, initial, out=np.zeros_like(initial), where=initial > 0)
        return ratio / ratio.max() if ratio.max() > 0 else ratio

    def _draw(self) -> float:
        block, k = divmod(self._count, self.BLOCK)
        if self._block[0] != block:
            self._block = block, rng((*self._key, block)).random(self.BLOCK)
        return self._block[1][k]

    def __next__(self) -> Any:
        while True:
            element = self._pull()
            draw = self._draw()
            self._count += 1
            label = self._node.class_of(element, self._count - 1)
            accept = self._accept
            if accept is None:
                self._seen[label] += 1
                accept = self._probabilities(self._seen / self._seen.sum())
            if draw < accept[label]:
                return label, element

    def get_state(self) -> Any:
        return {"child": self._child.get_state(), "count": self._count, "seen": self._seen.tolist()}

    def set_state(self, state: Any) -> None:
        self._child.set_state(state["child"])
        self._count, self._seen = state["count"], np.array(state["seen"])
