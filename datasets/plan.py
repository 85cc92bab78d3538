"""Planning: pipelines over sources that can be read at any index become index arithmetic and one gather.

A stage that can be reached by position gives a `RandomAccess`: a `Base` that yields elements by index, and an `Order`
that says which index stands at which position. Take, skip, shard, repeat and shuffle only change the order; `map`
only the base; `batch` reads a stretch of positions in one vectorised gather. The state of all of it is one number.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.core.nest import flatten
from lamina.datasets.elements import packer, rows, stack
from lamina.datasets.nodes.base import ElementIterator, GatherError, Node
from lamina.datasets.orders import Chain, Order, Stride
from lamina.datasets.workers import ParallelItemIterator

if TYPE_CHECKING:
    from lamina.datasets.context import Context

LOOK_AHEAD = 1024
BLOCK_BYTES = 1 << 18


class Base(ABC):
    """Elements by index.

    Attributes:
        length: How many there are.
        pure: Whether reading ahead is free of effects and cheap: no user function runs.
        in_memory: Whether the elements are in memory as they are, so that a cache has nothing to keep.
        varies: Whether another pass over the same stage may need another Base.
        parallel: The map that asked for workers to run this base with, if any.
    """

    length: int
    pure = False
    in_memory = False
    varies = False
    parallel: Any = None

    @abstractmethod
    def item(self, index: int) -> Any:
        """The element at an index."""

    def gather(self, indices: np.ndarray) -> Any:
        """The elements at some indices as one batch, in fresh memory."""
        out = []
        for k, i in enumerate(indices.tolist()):
            try:
                out.append(self.item(i))
            except Exception as e:
                raise GatherError(k, e) from e
        return stack(out)


class ColumnsBase(Base):
    """Rows of arrays of one length."""

    pure = True
    in_memory = True

    def __init__(self, structure: Any) -> None:
        # asarray: a memmap becomes a plain view of the mapped memory, still read page by page.
        self.columns = [np.asarray(c) for c in flatten(structure)]
        self.length = len(self.columns[0])
        self._make = packer(structure)

    def item(self, index: int) -> Any:
        """See Base."""
        return self._make([c[index] for c in self.columns])

    def gather(self, indices: np.ndarray) -> Any:
        """See Base. `take` with mode="clip" skips numpy's second pass over the indices; they are in range by plan."""
        return self._make([c.take(indices, 0, mode="clip") for c in self.columns])


class RandomAccess:
    """Elements by position: `base` read in `order` (None for the order of the base).

    Args:
        base: Where elements come from.
        order: Which index stands at a position.
        length: How many positions there are; None if they never end.
    """

    def __init__(self, base: Base, order: Order | None = None, length: int | None = -1) -> None:
        self.base = base
        self.order = order
        self.length = base.length if length == -1 else length

    def reorder(self, outer: Order, length: int | None) -> RandomAccess:
        """The same base with `outer` in front of its order."""
        if self.order is None:
            return RandomAccess(self.base, outer, length)
        if isinstance(outer, Stride) and isinstance(self.order, Stride):
            inner = self.order
            merged = Stride(inner.start + inner.step * outer.start, inner.step * outer.step)
            return RandomAccess(self.base, merged, length)
        return RandomAccess(self.base, Chain(outer, self.order), length)

    def rebase(self, base: Base) -> RandomAccess:
        """The same order over another base."""
        return RandomAccess(base, self.order, self.length)

    @property
    def sequential(self) -> bool:
        """Whether positions must be asked in ascending order."""
        return self.order is not None and self.order.sequential

    def locate(self, start: int, stop: int) -> np.ndarray:
        """The indices of the positions from `start` to `stop`."""
        positions = np.arange(start, stop)
        return positions if self.order is None else self.order.locate(positions)

    def locate_all(self, positions: np.ndarray) -> np.ndarray:
        """The indices of some positions."""
        return positions if self.order is None else self.order.locate(positions)

    def item(self, position: int) -> Any:
        """The element at one position."""
        return self.base.item(int(self.locate(position, position + 1)[0]))

    def clip(self, stop: int) -> int:
        """`stop`, or the length if that comes first."""
        return stop if self.length is None else min(stop, self.length)

    def iterate(self, node: Node, context: Context) -> ElementIterator:
        """An iterator over all positions."""
        if self.base.parallel is not None:
            return ParallelItemIterator(node, self, context)
        return RowIterator(self) if self.base.pure else ItemIterator(self)


class PositionIterator(ElementIterator):
    """An iterator whose state is its position."""

    def __init__(self, access: RandomAccess) -> None:
        self._access = access
        self._position = 0

    def get_state(self) -> int:
        """The number of elements handed out."""
        return self._position

    def set_state(self, state: int) -> None:
        """Go on behind `state` elements."""
        self._position = int(state)


class ItemIterator(PositionIterator):
    """Elements one by one: indices are found in blocks, but user functions run only for the element asked for."""

    def __init__(self, access: RandomAccess) -> None:
        super().__init__(access)
        self._item = access.base.item
        self._indices: Sequence[int] = ()
        self._start = 0

    def __next__(self) -> Any:
        k = self._position - self._start
        if not 0 <= k < len(self._indices):
            self._start = self._position
            stop = self._access.clip(self._start + (64 if self._start == 0 else LOOK_AHEAD))
            self._indices = self._access.locate(self._start, stop).tolist() if stop > self._start else ()
            if not self._indices:
                raise StopIteration
            k = 0
        self._position += 1
        return self._item(self._indices[k])


class RowIterator(PositionIterator):
    """Elements of a pure base: gathered in blocks, handed out row by row."""

    def __init__(self, access: RandomAccess) -> None:
        super().__init__(access)
        self._rows: Any = iter(())
        self._block = 1

    def __next__(self) -> Any:
        for row in self._rows:
            self._position += 1
            return row
        start = self._position
        stop = self._access.clip(start + self._block)
        if stop <= start:
            raise StopIteration
        batch = self._access.base.gather(self._access.locate(start, stop))
        self._rows = iter(_rows_of(batch))
        self._grow(batch, stop - start)
        return self.__next__()

    def _grow(self, batch: Any, count: int) -> None:
        # The first block is one element, to learn its size; later ones fill a share of the cache. A row is a view of
        # its block, so blocks stay small: who keeps one row keeps its block.
        row_bytes = max(1, sum(c.nbytes for c in flatten(batch)) // count)
        self._block = max(1, min(LOOK_AHEAD, BLOCK_BYTES // row_bytes, self._block * 8))

    def set_state(self, state: int) -> None:
        """Go on behind `state` elements."""
        super().set_state(state)
        self._rows = iter(())


def _rows_of(batch: Any) -> Any:
    if type(batch) is np.ndarray:
        return batch
    return rows(flatten(batch), packer(batch))
