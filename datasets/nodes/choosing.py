"""One of several datasets at a time: choose_from_datasets, sample_from_datasets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lamina.core.errors import describe
from lamina.datasets.context import Context, rng
from lamina.datasets.nodes.base import ElementIterator, Node, RandomNode, SpecUnknown, known_count
from lamina.datasets.plan import Base, RandomAccess
from lamina.datasets.spec import INFINITE, UNKNOWN, TensorSpec, most_general


class Choose(Node):
    """The next element of the dataset whose number the first child gives."""

    op = "choose_from_datasets"

    def __init__(
        self,
        choices: Node,
        datasets: list[Node],
        stop_on_empty: bool,
        op: str = "choose_from_datasets",
        name: str | None = None,
    ) -> None:
        super().__init__(choices, *datasets, name=name)
        self.op = op
        self.stop_on_empty = bool(stop_on_empty)
        if not datasets:
            raise ValueError(f"{self.label}: datasets must hold at least one dataset.")
        try:
            specs = [d.static_spec() for d in datasets]
        except SpecUnknown:
            return
        self._merge(specs)

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {"stop_on_empty_dataset": self.stop_on_empty}

    def _merge(self, specs: list[Any]) -> Any:
        try:
            spec = specs[0]
            for other in specs[1:]:
                spec = most_general(spec, other)
        except TypeError as e:
            raise TypeError(f"{self.label}: all datasets must have elements of one structure and dtype. {e}") from None
        return spec

    def _spec(self) -> Any:
        return self._merge([d.element_spec for d in self.children[1:]])

    def sample(self, context: Context) -> Iterator[Any]:
        """See Node."""
        return self.children[1].sample(context)

    def cardinality(self) -> int:
        """See Node."""
        choices, *counts = [c.cardinality() for c in self.children]
        if known_count(choices):
            return choices if all(n == INFINITE for n in counts) else UNKNOWN
        return (
            INFINITE if INFINITE in counts and not self.stop_on_empty or all(n == INFINITE for n in counts) else UNKNOWN
        )

    def _iterator(self, context: Context) -> ElementIterator:
        return _ChooseIterator(self, [c.iterate(context) for c in self.children])


class _ChooseIterator(ElementIterator):
    def __init__(self, node: Choose, iterators: list[ElementIterator]) -> None:
        self._node = node
        self._choices, *self._datasets = iterators
        self._ended = [False] * len(self._datasets)
        # A dataset that is never drawn must not keep an endless draw waiting for it.
        possible = getattr(node.children[0], "possible", None)
        self._left = len(self._datasets) if possible is None else sum(possible)
        self._possible = [True] * len(self._datasets) if possible is None else possible

    def __next__(self) -> Any:
        while self._left > 0:
            k = self._index(self._choices.__next__())
            if self._ended[k]:
                continue
            try:
                return self._datasets[k].__next__()
            except StopIteration:
                self._ended[k] = True
                self._left = 0 if self._node.stop_on_empty else self._left - int(self._possible[k])
        raise StopIteration

    def _index(self, choice: Any) -> int:
        array = np.asarray(choice)
        if array.shape != () or array.dtype.kind not in "iu" or not 0 <= array < len(self._datasets):
            raise ValueError(
                f"{self._node.label}: choice_dataset must give integers from 0 to {len(self._datasets) - 1}, "
                f"got {describe(choice)}."
            )
        return int(array)

    def get_state(self) -> Any:
        children = [c.get_state() for c in (self._choices, *self._datasets)]
        return {"left": self._left, "ended": list(self._ended), "children": children}

    def set_state(self, state: Any) -> None:
        self._left, self._ended = state["left"], list(state["ended"])
        for child, saved in zip((self._choices, *self._datasets), state["children"], strict=True):
            child.set_state(saved)

    def close(self) -> None:
        for child in (self._choices, *self._datasets):
            child.close()


class Draws(RandomNode):
    """Endless numbers of datasets, drawn with given weights."""

    op = "weights"

    def __init__(self, weights: np.ndarray, seed: int | None, anew: bool) -> None:
        super().__init__(seed=seed)
        self.weights = weights / weights.sum()
        self.possible = (weights > 0).tolist()
        self.anew = anew

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {"weights": self.weights.tolist(), "seed": self._seed}

    def _spec(self) -> Any:
        return TensorSpec((), np.int64)

    def cardinality(self) -> int:
        """See Node."""
        return INFINITE

    def _access(self, context: Context) -> RandomAccess:
        return RandomAccess(_DrawBase(self.weights, context.random_key(self, self.anew)), length=None)

    def _random_access(self, context: Context) -> RandomAccess:
        return self._access(context)

    def _iterator(self, context: Context) -> ElementIterator:
        return self._access(context).iterate(self, context)


class _DrawBase(Base):
    pure = True
    varies = True
    length = 0
    BLOCK = 512

    def __init__(self, weights: np.ndarray, key: tuple[int, ...]) -> None:
        self._weights, self._key = weights, key

    def item(self, index: int) -> Any:
        return self.gather(np.array([index]))[0]

    def gather(self, indices: np.ndarray) -> Any:
        blocks, within = np.divmod(indices, self.BLOCK)
        out = np.empty(len(indices), np.int64)
        for block in np.unique(blocks).tolist():
            drawn = rng((*self._key, block)).choice(len(self._weights), self.BLOCK, p=self._weights)
            here = blocks == block
            out[here] = drawn[within[here]]
        return out


class WeightedDraws(RandomNode):
    """Numbers of datasets, drawn with weights that a dataset gives anew for each draw."""

    op = "weights"

    def __init__(self, child: Node, count: int, seed: int | None, anew: bool) -> None:
        super().__init__(child, seed=seed)
        self.count, self.anew = count, anew

    def _spec(self) -> Any:
        return TensorSpec((), np.int64)

    def cardinality(self) -> int:
        """See Node."""
        return self.children[0].cardinality()

    def _iterator(self, context: Context) -> ElementIterator:
        return _WeightedIterator(self, self.children[0].iterate(context), context.random_key(self, self.anew))


class _WeightedIterator(ElementIterator):
    def __init__(self, node: WeightedDraws, child: ElementIterator, key: tuple[int, ...]) -> None:
        self._node, self._child, self._key = node, child, key
        self._count = 0

    def __next__(self) -> Any:
        weights = check_weights(self._child.__next__(), self._node.count)
        self._count += 1
        return np.int64(rng((*self._key, self._count)).choice(len(weights), p=weights / weights.sum()))

    def get_state(self) -> Any:
        return {"child": self._child.get_state(), "count": self._count}

    def set_state(self, state: Any) -> None:
        self._child.set_state(state["child"])
        self._count = state["count"]

    def close(self) -> None:
        self._child.close()


def check_weights(weights: Any, count: int) -> np.ndarray:
    """`weights` as one non-negative number a dataset."""
    w = np.asarray(weights, np.float64)
    if w.shape != (count,) or (w < 0).any() or not w.sum() > 0:
        raise ValueError(
            f"sample_from_datasets: weights must be {count} non-negative numbers, one a dataset, "
            f"got {describe(weights)}."
        )
    return w
