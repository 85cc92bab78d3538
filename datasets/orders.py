"""Orders: functions from positions to indices, vectorised, without state. Shuffles, strides and epochs compose here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from lamina.datasets.context import rng

EXACT_LIMIT = 1 << 22
"""Up to so many elements a shuffle keeps its permutation as an array (32 MB); beyond, it computes it."""
BLOCK = 1 << 14


class Order(ABC):
    """Maps positions of a stage to indices of its source. `sequential` ones must be asked in ascending order."""

    sequential = False

    @abstractmethod
    def locate(self, positions: np.ndarray) -> np.ndarray:
        """The index behind each position (int64 in, int64 out)."""


class Stride(Order):
    """`start + step * position`: take, skip and shard."""

    def __init__(self, start: int, step: int) -> None:
        self.start, self.step = start, step

    def locate(self, positions: np.ndarray) -> np.ndarray:
        """See Order."""
        if self.step != 1:
            positions = positions * self.step
        return positions + self.start if self.start else positions


class Chain(Order):
    """`inner` after `outer`."""

    def __init__(self, outer: Order, inner: Order) -> None:
        self.outer, self.inner = outer, inner
        self.sequential = outer.sequential or inner.sequential

    def locate(self, positions: np.ndarray) -> np.ndarray:
        """See Order."""
        return self.inner.locate(self.outer.locate(positions))


class Table(Order):
    """An order that is written out."""

    def __init__(self, indices: np.ndarray) -> None:
        self.indices = indices

    def locate(self, positions: np.ndarray) -> np.ndarray:
        """See Order."""
        return self.indices[positions]


class Epochs(Order):
    """Passes of length `n` one after the other, each with an order of its own."""

    KEPT = 4

    def __init__(self, n: int, make: Callable[[int], Order | None]) -> None:
        self.n, self.make = n, make
        self._orders: dict[int, Order | None] = {}

    def locate(self, positions: np.ndarray) -> np.ndarray:
        """See Order."""
        if not len(positions):
            return positions
        epochs, within = np.divmod(positions, self.n)
        first, last = int(epochs.min()), int(epochs.max())
        if first == last:
            order = self._order(first)
            return within if order is None else order.locate(within)
        out = np.empty_like(within)
        for k in np.unique(epochs).tolist():
            here = epochs == k
            order = self._order(k)
            out[here] = within[here] if order is None else order.locate(within[here])
        return out

    def _order(self, k: int) -> Order | None:
        if k not in self._orders:
            while len(self._orders) >= self.KEPT:
                del self._orders[min(self._orders)]
            self._orders[k] = self.make(k)
        return self._orders[k]


class Permutation(Order):
    """A pseudo-random permutation of 0..n-1 in constant memory, computed where it is asked.

    A Feistel network over pairs (a, b) with a * b just above n; indices beyond n are sent through again.

    Reference:
        Black and Rogaway, "Ciphers with arbitrary finite domains", 2002.
    """

    ROUNDS = 8

    def __init__(self, n: int, key: tuple[int, ...]) -> None:
        self.n = n
        self.width = int(np.ceil(np.sqrt(n)))
        self.height = -(-n // self.width)
        self.keys = rng((*key, 1)).integers(0, 2**63, self.ROUNDS, dtype=np.uint64)
        self._block = -1
        self._indices = np.empty(0, np.int64)

    def locate(self, positions: np.ndarray) -> np.ndarray:
        """See Order. Positions that lie together share the computation of their block."""
        if not len(positions):
            return positions
        first, last = int(positions.min()) // BLOCK, int(positions.max()) // BLOCK
        if last - first > 1:
            return self._compute(positions)
        if first == last:
            return self._of_block(first)[positions - first * BLOCK]
        out = np.empty_like(positions)
        for block in (first, last):
            here = positions // BLOCK == block
            out[here] = self._of_block(block)[positions[here] - block * BLOCK]
        return out

    def _of_block(self, block: int) -> np.ndarray:
        if block != self._block:
            start = block * BLOCK
            self._indices = self._compute(np.arange(start, min(start + BLOCK, self.n)))
            self._block = block
        return self._indices

    def _compute(self, positions: np.ndarray) -> np.ndarray:
        out = self._encrypt(positions)
        outside = np.flatnonzero(out >= self.n)
        while len(outside):
            out[outside] = self._encrypt(out[outside])
            outside = outside[out[outside] >= self.n]
        return out

    def _encrypt(self, x: np.ndarray) -> np.ndarray:
        left, right = np.divmod(x.astype(np.uint64), np.uint64(self.width))
        for i, key in enumerate(self.keys):
            if i % 2:
                right = (right + _mix(left ^ key)) % np.uint64(self.width)
            else:
                left = (left + _mix(right ^ key)) % np.uint64(self.height)
        return (left * np.uint64(self.width) + right).astype(np.int64)


def _mix(x: np.ndarray) -> np.ndarray:
    """A hash of each integer, below 2**40 so that sums do not wrap (the finaliser of splitmix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x ^ (x >> np.uint64(31))) >> np.uint64(24)


class ShuffleStream:
    """The order that a shuffle with a buffer gives: `buffer_size` positions wait, a drawn one leaves for each that
    comes.

    All draws follow from `key` and the step, so the stream can be recomputed from nothing. `n` is None while the length
    is unknown or endless; then `finish(n)` tells it.
    """

    def __init__(self, buffer_size: int, key: tuple[int, ...]) -> None:
        self.buffer_size, self.key = buffer_size, key
        self.step = 0
        self._waiting: np.ndarray | None = None
        self._block = -1
        self._draws = np.empty(0, np.int64)

    @property
    def waiting(self) -> np.ndarray:
        """The positions in the buffer, by slot."""
        if self._waiting is None:
            self._waiting = np.arange(self.buffer_size)
        return self._waiting

    def draws(self, count: int) -> np.ndarray:
        """The slots drawn in the next `count` steps, at most to the end of a block."""
        block, start = divmod(self.step, BLOCK)
        if block != self._block:
            self._draws = rng((*self.key, 2, block)).integers(0, self.buffer_size, BLOCK)
            self._block = block
        return self._draws[start : start + count]

    def take(self, count: int) -> np.ndarray:
        """The positions that leave in the next `count` steps, while new ones keep coming."""
        parts = []
        while count > 0:
            slots = self.draws(count)
            parts.append(self._advance(slots))
            count -= len(slots)
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _advance(self, slots: np.ndarray) -> np.ndarray:
        k = len(slots)
        coming = np.arange(self.step + self.buffer_size, self.step + self.buffer_size + k)
        # numpy sorts 16-bit integers by radix, five times faster than by comparison.
        keys = slots.astype(np.uint16) if self.buffer_size <= 1 << 16 else slots
        by_slot = np.argsort(keys, kind="stable")
        drawn = slots[by_slot]
        again = drawn[1:] == drawn[:-1]
        out = self.waiting[slots]
        out[by_slot[1:][again]] = coming[by_slot[:-1][again]]
        last = by_slot[np.append(~again, True)]
        self.waiting[slots[last]] = coming[last]
        self.step += k
        return out

    def tail(self, n: int) -> np.ndarray:
        """The order in which the last positions leave when the source has ended after `n`."""
        waiting = self.waiting if n >= self.buffer_size else np.arange(n)
        return waiting[full_permutation(len(waiting), self.key)]


def full_permutation(n: int, key: tuple[int, ...]) -> np.ndarray:
    """A uniformly random order of 0..n-1."""
    return rng((*key, 3)).permutation(n)


class BufferedShuffle(Order):
    """The order of a `ShuffleStream` over more positions than are worth keeping; asked in ascending order only."""

    sequential = True

    def __init__(self, n: int | None, buffer_size: int, key: tuple[int, ...]) -> None:
        self.n, self.buffer_size, self.key = n, buffer_size, key
        self._restart()

    def _restart(self) -> None:
        self._stream = ShuffleStream(self.buffer_size, self.key)
        self._window = np.empty(0, np.int64)
        self._start = 0

    def locate(self, positions: np.ndarray) -> np.ndarray:
        """See Order."""
        if not len(positions):
            return positions
        first, last = int(positions.min()), int(positions.max())
        if first < self._start:
            self._restart()
        while last >= self._start + len(self._window):
            keep = max(0, min(first - self._start, len(self._window)))
            self._start += keep
            self._window = np.concatenate([self._window[keep:], self._more()])
        return self._window[positions - self._start]

    def _more(self) -> np.ndarray:
        left = BLOCK if self.n is None else min(BLOCK, self.n - self.buffer_size - self._stream.step)
        if left > 0:
            return self._stream.take(left)
        return self._stream.tail(self.n)  # type: ignore[arg-type]


def shuffled(n: int | None, buffer_size: int | None, key: tuple[int, ...]) -> Order:
    """The order of a shuffle over `n` positions (None: endless); `buffer_size` None shuffles all of them."""
    if n is not None and (buffer_size is None or buffer_size >= n):
        return Table(full_permutation(n, key)) if n <= EXACT_LIMIT else Permutation(n, key)
    if buffer_size is None:
        raise ValueError(
            "shuffle: buffer_size=None shuffles the whole dataset, which is endless here; repeat after it."
        )
    if n is not None and n <= EXACT_LIMIT:
        stream = ShuffleStream(buffer_size, key)
        return Table(np.concatenate([stream.take(n - buffer_size), stream.tail(n)]))
    return BufferedShuffle(n, buffer_size, key)
