"""PyDataset: batches by number, made in Python."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from lamina.core.checks import check_int


class PyDataset:
    """Batches by number. Subclass it with `__getitem__(number) -> (x, y)` and `__len__`.

    Args:
        workers: threads that make batches ahead; 1 makes them where they are used.
        use_multiprocessing: accepted as in Keras; batches are made in threads, which need no pickling.
        max_queue_size: the most batches made ahead.

    Example:
        >>> class Squares(PyDataset):
        ...     def __len__(self):
        ...         return 2
        ...     def __getitem__(self, number):
        ...         x = np.arange(3.0) + number
        ...         return x, x**2
        >>> Squares()[1]
        (array([1., 2., 3.]), array([1., 4., 9.]))
    """

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10):
        self.workers = check_int("PyDataset", "workers", workers, 0)
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = check_int("PyDataset", "max_queue_size", max_queue_size, 1)

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: define __getitem__(self, index), which returns a batch.")

    @property
    def num_batches(self) -> float | int | None:
        """The number of batches; math.inf if they never end."""
        return len(self) if hasattr(self, "__len__") else None

    def on_epoch_begin(self) -> None:
        """Called before each epoch."""

    def on_epoch_end(self) -> None:
        """Called after each epoch."""


class PyDatasetBatches:
    """The batches of a PyDataset in an order of their own each epoch, made ahead by threads."""

    def __init__(self, dataset: PyDataset, shuffle: bool, seed: int):
        self.dataset, self.shuffle, self.seed = dataset, shuffle, seed
        self.passes = 0
        self.on_epoch_begin = dataset.on_epoch_begin
        self.on_epoch_end = dataset.on_epoch_end

    def _order(self) -> Iterator[int]:
        length = self.dataset.num_batches
        if length is None or math.isinf(length):
            number = 0
            while True:
                yield number
                number += 1
        numbers = np.arange(int(length))
        if self.shuffle:
            np.random.default_rng((self.seed, self.passes)).shuffle(numbers)
        yield from map(int, numbers)

    def __iter__(self) -> Iterator[Any]:
        order = self._order()
        self.passes += 1
        if getattr(self.dataset, "workers", 1) <= 1:
            for number in order:
                yield self.dataset[number]
            return
        with ThreadPoolExecutor(self.dataset.workers) as pool:
            ahead: deque[Future] = deque()
            try:
                for number in order:
                    ahead.append(pool.submit(self.dataset.__getitem__, number))
                    if len(ahead) >= self.dataset.max_queue_size:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()
