"""PyDataset: batches by number, made in Python."""

from __future__ import annotations

import itertools
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

    A resumed run goes on with the batch that is next. A subclass with state of its own, such as an order that
    `on_epoch_end` draws, keeps it exact with `get_state()`, which returns plain values, and `set_state(state)`.

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
    """The batches of a PyDataset in an order of their own each pass, made ahead by threads."""

    def __init__(self, dataset: PyDataset, shuffle: bool, seed: int):
        self.dataset, self.shuffle, self.seed = dataset, shuffle, seed
        self.passes = 0
        self.on_epoch_begin = dataset.on_epoch_begin
        self.on_epoch_end = dataset.on_epoch_end

    def __iter__(self) -> PyDatasetIterator:
        self.passes += 1
        return PyDatasetIterator(self, self.passes - 1)


class PyDatasetIterator:
    """One pass over a PyDataset, whose position can be saved."""

    def __init__(self, batches: PyDatasetBatches, number: int):
        self._batches, self._pass, self._done = batches, number, 0
        self._running: Iterator[Any] | None = None

    def _order(self) -> Iterator[int]:
        length = self._batches.dataset.num_batches
        if length is None or math.isinf(length):
            return itertools.count(self._done)
        numbers = np.arange(int(length))
        if self._batches.shuffle:
            np.random.default_rng((self._batches.seed, self._pass)).shuffle(numbers)
        return map(int, numbers[self._done :])

    def _run(self) -> Iterator[Any]:
        dataset = self._batches.dataset
        if getattr(dataset, "workers", 1) <= 1:
            for number in self._order():
                yield dataset[number]
            return
        with ThreadPoolExecutor(dataset.workers) as pool:
            ahead: deque[Future] = deque()
            try:
                for number in self._order():
                    ahead.append(pool.submit(dataset.__getitem__, number))
                    if len(ahead) >= dataset.max_queue_size:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()

    def __iter__(self) -> PyDatasetIterator:
        return self

    def __next__(self) -> Any:
        if self._running is None:
            self._running = self._run()
        batch = next(self._running)
        self._done += 1
        return batch

    def get_state(self) -> dict[str, Any]:
        """The pass, the batches of it that were given, and the seed of the orders."""
        state = {"pass": self._pass, "done": self._done, "seed": self._batches.seed}
        if hasattr(self._batches.dataset, "get_state"):
            state["dataset"] = self._batches.dataset.get_state()
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on where `get_state` was called."""
        self._running = None
        self._pass, self._done = state["pass"], state["done"]
        self._batches.passes, self._batches.seed = self._pass + 1, state["seed"]
        if "dataset" in state and hasattr(self._batches.dataset, "set_state"):
            self._batches.dataset.set_state(state["dataset"])
