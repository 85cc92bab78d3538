"""The clocks behind `summary()`: how long each stage takes, measured on a sample of the elements."""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from lamina.datasets.nodes.base import ElementIterator

if TYPE_CHECKING:
    from lamina.datasets.nodes.base import Node

WARM_UP = 16
SAMPLE_EVERY = 32


class StageTime:
    """What was measured of one stage: its calls, and the nanoseconds they took with those of its inputs.

    Calls that were not measured are counted as if they took as long as the one measured for them.
    """

    __slots__ = ("calls", "nanoseconds")

    def __init__(self) -> None:
        self.calls = 0
        self.nanoseconds = 0

    @property
    def total(self) -> float:
        """Seconds in all, estimated from the sample."""
        return self.nanoseconds * 1e-9


class Clock:
    """Measures the stages of one run. Each stage measures its first elements and then one in `SAMPLE_EVERY`."""

    def __init__(self) -> None:
        self.stages: dict[Node, StageTime] = {}

    def watch(self, node: Node, iterator: ElementIterator) -> ElementIterator:
        """`iterator`, measured."""
        time = self.stages.setdefault(node, StageTime())
        return TimedIterator(iterator, time)


class TimedIterator(ElementIterator):
    """An iterator that measures a sample of its calls."""

    __slots__ = ("_iterator", "_next", "_time", "_countdown")

    def __init__(self, iterator: ElementIterator, time: StageTime) -> None:
        self._iterator = iterator
        self._next = iterator.__next__
        self._time = time
        self._countdown = -WARM_UP

    def __next__(self) -> Any:
        if self._countdown > 0:
            self._countdown -= 1
            return self._next()
        if self._countdown < 0:
            self._countdown, weight = self._countdown + 1, 1
        else:
            self._countdown, weight = SAMPLE_EVERY - 1, SAMPLE_EVERY
        start = perf_counter_ns()
        element = self._next()
        time = self._time
        time.nanoseconds += (perf_counter_ns() - start) * weight
        time.calls += weight
        return element

    def next_batches(self, limit: int) -> tuple[int, Any] | None:
        """See DatasetIterator; each call is measured."""
        start = perf_counter_ns()
        block = self._iterator.next_batches(limit)
        if block is not None:
            self._time.nanoseconds += perf_counter_ns() - start
            self._time.calls += block[0]
        return block

    def get_state(self) -> Any:
        """See the iterator inside."""
        return self._iterator.get_state()

    def set_state(self, state: Any) -> None:
        """See the iterator inside."""
        self._iterator.set_state(state)

    def close(self) -> None:
        """See the iterator inside."""
        self._iterator.close()
