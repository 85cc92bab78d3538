"""The iterator that users hold: it begins a run, saves and restores its position, and ends what the run started."""

from __future__ import annotations

from typing import Any

from lamina.core.errors import describe
from lamina.datasets.clock import Clock
from lamina.datasets.context import Context, Run, walk
from lamina.datasets.nodes.base import ElementIterator, Node
from lamina.datasets.nodes.optioning import merged_options

VERSION = 1


class DatasetIterator:
    """An iterator over a dataset's elements, whose position can be saved.

    Dropping it, or `close()`, stops its workers at once. It is not made for use by several threads at a time.

    Example:
        >>> from lamina.datasets import Dataset
        >>> dataset = Dataset.range(5).shuffle(5, seed=1).batch(2)
        >>> iterator = iter(dataset)
        >>> _ = next(iterator)
        >>> state = iterator.get_state()
        >>> rest = [b.tolist() for b in iterator]
        >>> again = iter(dataset)
        >>> again.set_state(state)
        >>> [b.tolist() for b in again] == rest
        True
    """

    def __init__(self, node: Node, clock: Clock | None = None) -> None:
        self._node = node
        self._run = Run(node, merged_options(node), clock)
        self._iterator: ElementIterator | None = None
        self._next: Any = self._first
        self._over = False

    def __iter__(self) -> DatasetIterator:
        return self

    def __next__(self) -> Any:
        if self._over:
            raise StopIteration
        try:
            return self._next()
        except StopIteration:
            self._finish(abandoned=False)
            raise

    def _first(self) -> Any:
        return self._begin().__next__()

    def _begin(self) -> ElementIterator:
        if self._iterator is None:
            self._iterator = self._node.iterate(Context(self._run))
            self._next = self._iterator.__next__
        return self._iterator

    def next_batches(self, limit: int) -> tuple[int, Any] | None:
        """Several of the next batches at once, joined along their first axis: the quick way to many small batches.

        Args:
            limit: how many at most.

        Returns:
            The number of batches, and one element that holds their samples; None if the pipeline gives its elements
            only one by one from here, as at its end: then call `next`.

        Example:
            >>> from lamina.datasets import Dataset
            >>> iterator = iter(Dataset.range(10).batch(2))
            >>> iterator.next_batches(3)
            (3, array([0, 1, 2, 3, 4, 5]))
            >>> next(iterator)
            array([6, 7])
        """
        return None if self._over else self._begin().next_batches(limit)

    @property
    def element_spec(self) -> Any:
        """Nested `TensorSpec`s of one element."""
        return self._node.element_spec

    def get_next(self) -> Any:
        """The next element; raises StopIteration at the end."""
        return self.__next__()

    def get_state(self) -> dict[str, Any]:
        """The position as a JSON-safe value: seeds and positions, no elements.

        It fits a fresh iterator over a dataset of the same making, in this process or another.
        """
        state = None if self._over else self._begin().get_state()
        return {
            "version": VERSION,
            "stages": _stages(self._node),
            "random": self._run.save_randomness(),
            "over": self._over,
            "position": state,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken.

        The dataset goes back to that point too: the iterators made after this one are ordered as those that were made
        after the one whose state it is.

        Raises:
            ValueError: the state is of another pipeline.
        """
        if not isinstance(state, dict) or "stages" not in state:
            raise ValueError(f"set_state: state must be what get_state() returned, got {describe(state)}.")
        if state["version"] != VERSION:
            raise ValueError(f"set_state: the state has version {state['version']}, expected {VERSION}.")
        if state["stages"] != _stages(self._node):
            raise ValueError(
                "set_state: the state was saved from another pipeline: "
                f"its stages are {state['stages']}, those of this one {_stages(self._node)}."
            )
        if self._iterator is not None:
            self._finish(abandoned=True)
            self._run = Run(self._node, self._run.options, self._run.clock)
        self._over, self._next = False, self._first
        self._run.restore_randomness(state["random"])
        if state["over"]:
            self._over = True
        else:
            self._begin().set_state(state["position"])

    def close(self) -> None:
        """End the iteration: stop workers, close files."""
        self._finish(abandoned=True)

    def _finish(self, abandoned: bool) -> None:
        self._over = True
        if self._iterator is not None:
            self._iterator.close()
            self._iterator = None
        self._run.finish(abandoned)

    def __enter__(self) -> DatasetIterator:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def __del__(self) -> None:
        # An iterator whose __init__ failed has no _over.
        if not getattr(self, "_over", True):
            self.close()


def _stages(node: Node) -> list[str]:
    return [n.op for n in walk(node)]
