"""BatchSizeFinder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from lamina.callbacks.callback import Callback
from lamina.callbacks.snapshot import Snapshot
from lamina.core.checks import check_int, check_number


@dataclass(frozen=True)
class Trial:
    """How a batch size did.

    Attributes:
        batch_size: the samples a batch.
        seconds_per_step: the time of a step; nan if it did not fit into memory.
        samples_per_second: the speed.
        fits: whether memory was enough.
    """

    batch_size: int
    seconds_per_step: float
    samples_per_second: float
    fits: bool


class BatchSizeFinder(Callback):
    """Doubles the batch size until memory ends, or the speed (samples a second) no longer grows.

    The size of batches is settled before a fit begins, so this is no callback to pass to one: `find` runs short fits of
    its own, with itself as their callback. Weights, optimizer and learning rate are then as they were before.

    Args:
        start: the first batch size.
        max_batch_size: the largest; by default as many samples as there are.
        steps: the number of steps that are timed, after an epoch as long that compiles and warms up.
        min_gain: the doubling must make training faster by this fraction, or it is the last.
        verbose: 1 prints the table.

    Attributes:
        trials: a `Trial` for each size.
        best: the size that was fastest; None before `find`.

    Example:
        >>> from lamina import Input, Sequential, layers
        >>> model = Sequential([Input((4,)), layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> finder = BatchSizeFinder(start=8, max_batch_size=16, steps=2)
        >>> finder.find(model, np.ones((64, 4)), np.ones((64, 1))) in (8, 16)
        True
        >>> [trial.batch_size for trial in finder.trials]
        [8, 16]
    """

    needs_live_state = False

    def __init__(
        self,
        start: int = 8,
        max_batch_size: int | None = None,
        steps: int = 20,
        min_gain: float = 0.05,
        verbose: int = 0,
    ):
        super().__init__()
        owner = "BatchSizeFinder"
        self.start = check_int(owner, "start", start, 1)
        self.max_batch_size = (
            None if max_batch_size is None else check_int(owner, "max_batch_size", max_batch_size, start)
        )
        self.steps = check_int(owner, "steps", steps, 1)
        self.min_gain = check_number(owner, "min_gain", min_gain, 0)
        self.verbose = verbose
        self.trials: list[Trial] = []
        self.best: int | None = None
        self._snapshot: Snapshot | None = None
        self._searching = False
        self._began = self._seconds = 0.0

    def find(self, model: Any, x: Any, y: Any = None, sample_weight: Any = None) -> int:
        """The fastest batch size that fits into memory.

        Args:
            model: a compiled model.
            x: arrays, as for `fit`; of each size the first samples are taken.
            y: targets.
            sample_weight: weights by sample.

        Raises:
            ValueError: there are fewer samples than `start`, or not even `start` fits into memory.
        """
        data = tuple(jax.tree.map(np.asarray, part) for part in (x, y, sample_weight))
        samples = len(jax.tree.leaves(data)[0])
        largest = min(self.max_batch_size or samples, samples)
        if largest < self.start:
            raise ValueError(f"BatchSizeFinder: start={self.start} is more than there are samples, {samples}.")
        self.trials, self.best, self._snapshot = [], None, None
        history, stop = getattr(model, "history", None), getattr(model, "stop_training", False)
        size = self.start
        self._searching = True
        try:
            while size <= largest:
                trial = self._try(model, data, size)
                self.trials.append(trial)
                before = max((t.samples_per_second for t in self.trials[:-1]), default=0.0)
                if not trial.fits or trial.samples_per_second < before * (1 + self.min_gain):
                    break
                size *= 2
        finally:
            self._searching = False
            if self._snapshot is not None:
                self._snapshot.restore()
                self._snapshot = None
            model.history, model.stop_training = history, stop
        if self.verbose:
            print(self.table())
        good = [t for t in self.trials if t.fits]
        if not good:
            raise ValueError(f"BatchSizeFinder: memory is not enough for start={self.start}. Start lower.")
        self.best = max(good, key=lambda t: t.samples_per_second).batch_size
        return self.best

    def _try(self, model: Any, data: tuple, size: int) -> Trial:
        batch = jax.tree.map(lambda a: a[:size], data)

        def batches() -> Iterator[Any]:
            while True:
                yield batch

        try:
            model.fit(batches(), epochs=2, steps_per_epoch=self.steps, verbose=0, callbacks=[self])
        except (MemoryError, jax.errors.JaxRuntimeError) as error:
            if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
                raise
            return Trial(size, float("nan"), float("nan"), False)
        seconds = self._seconds / self.steps
        return Trial(size, seconds, size / seconds, True)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Keeps the model as it is before the first trial."""
        if not self._searching:
            raise ValueError(
                "BatchSizeFinder: the batch size of a fit is settled before its callbacks are called. Leave it out of "
                "callbacks=, and call BatchSizeFinder().find(model, x, y) before fit(..., batch_size=...)."
            )
        if self._snapshot is None:
            self._snapshot = Snapshot(self.model)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock."""
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Stops it; that of the second epoch counts."""
        self._seconds = max(time.perf_counter() - self._began, 1e-9)

    def table(self) -> str:
        """The trials as text."""
        rows = [f"{'batch size':>10} {'ms a step':>10} {'samples/s':>12}"]
        for t in self.trials:
            if t.fits:
                rows.append(f"{t.batch_size:>10} {t.seconds_per_step * 1e3:>10.3f} {t.samples_per_second:>12,.0f}")
            else:
                rows.append(f"{t.batch_size:>10} {'out of memory':>23}")
        return "\n".join(rows)
