"""Timer."""

from __future__ import annotations

import time
from typing import Any

from lamina.callbacks.callback import Callback
from lamina.callbacks.monitor import say


class Timer(Callback):
    """Measures how long training takes: in all, an epoch, a step, and how long it will take yet.

    A run that is resumed goes on from the time it had taken.

    Args:
        verbose: 1 prints a summary at the end, 2 a line an epoch too.

    Attributes:
        epoch_seconds: the seconds of each epoch, validation included.
        validation_seconds: the seconds of all validations.
        steps: the number of batches trained on.

    Example:
        >>> import numpy as np
        >>> from lamina import Input, Sequential, layers
        >>> model = Sequential([Input((1,)), layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> timer, x = Timer(), np.ones((8, 1), "float32")
        >>> history = model.fit(x, x, batch_size=2, epochs=3, verbose=0, callbacks=[timer])
        >>> len(timer.epoch_seconds), timer.steps, 0 < timer.seconds_per_step < timer.seconds
        (3, 12, True)
    """

    needs_live_state = False

    def __init__(self, verbose: int = 0):
        super().__init__()
        self.verbose = verbose
        self._reset()

    def _reset(self) -> None:
        self.epoch_seconds: list[float] = []
        self.validation_seconds = 0.0
        self.steps = 0
        self._before = 0.0  # seconds of the runs that this one goes on from
        self._epoch_before = 0.0  # and of this epoch in them
        self._run_began: float | None = None
        self._epoch_began: float | None = None
        self._test_began: float | None = None
        self._epoch = self._done = 0  # epochs that have ended, batches of this one that have

    # ---- what it knows

    @property
    def seconds(self) -> float:
        """The seconds since fit began, those before a resume included."""
        return self._before + (0.0 if self._run_began is None else time.perf_counter() - self._run_began)

    @property
    def seconds_per_epoch(self) -> float:
        """The mean of the epochs that have ended."""
        return sum(self.epoch_seconds) / len(self.epoch_seconds) if self.epoch_seconds else float("nan")

    @property
    def seconds_per_step(self) -> float:
        """The mean time of a batch; compilation is included, validation is not."""
        spent = sum(self.epoch_seconds) + self._in_epoch() - self.validation_seconds
        steps = self.steps + self._done
        return spent / steps if steps else float("nan")

    @property
    def seconds_left(self) -> float:
        """The time that training will take yet; nan until there is something to go by."""
        params = self.params or {}
        epochs = max(params.get("epochs", 0) - self._epoch, 0)
        if self.epoch_seconds:
            return max(epochs * self.seconds_per_epoch - self._in_epoch(), 0.0)
        if params.get("steps") and self._done:
            return (epochs * params["steps"] - self._done) * self.seconds_per_step
        return float("nan")

    def _in_epoch(self) -> float:
        """The seconds of the epoch that is under way."""
        return self._epoch_before + (0.0 if self._epoch_began is None else time.perf_counter() - self._epoch_began)

    def summary(self) -> str:
        """The times as text."""
        return (
            f"{_text(self.seconds)} in all, {len(self.epoch_seconds)} epochs of {_text(self.seconds_per_epoch)}, "
            f"{self.steps} steps of {_text(self.seconds_per_step)}, validation {_text(self.validation_seconds)}"
        )

    def get_state(self) -> dict[str, Any]:
        """The times so far."""
        return {
            "epoch_seconds": list(self.epoch_seconds),
            "validation_seconds": self.validation_seconds,
            "steps": self.steps,
            "seconds": self.seconds,
            "in_epoch": self._in_epoch(),
            "done": self._done,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from these times."""
        now = time.perf_counter()
        self.epoch_seconds = [float(s) for s in state["epoch_seconds"]]
        self.validation_seconds, self.steps = float(state["validation_seconds"]), int(state["steps"])
        self._before, self._run_began = float(state["seconds"]), now
        self._epoch_before, self._done = float(state["in_epoch"]), int(state["done"])
        if self._epoch_began is not None:
            self._epoch_began = now

    # ---- hooks

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock."""
        self._reset()
        self._run_began = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock of the epoch."""
        self._epoch = epoch
        self._epoch_began = time.perf_counter()

    def on_progress(self, kind: str, done: int, logs: Any) -> None:
        """Notes the number of batches."""
        if kind == "train":
            self._done = done

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock of a validation."""
        self._test_began = time.perf_counter()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Stops the clock of the validation."""
        if self._run_began is not None and self._test_began is not None:
            self.validation_seconds += time.perf_counter() - self._test_began

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Stops the clock of the epoch."""
        seconds, done = self._in_epoch(), self._done
        self.epoch_seconds.append(seconds)
        self.steps += done
        self._epoch, self._done = epoch + 1, 0
        self._epoch_began, self._epoch_before = None, 0.0
        if self.verbose > 1:
            say(f"Epoch {epoch + 1}: {_text(seconds)} for {done} steps, {_text(self.seconds_left)} left")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Stops the clock."""
        self._before, self._run_began = self.seconds, None
        if self.verbose > 0:
            say(self.summary())


def _text(seconds: float) -> str:
    """A time in units that suit its size.

    Example:
        >>> [_text(s) for s in (0.00012, 0.5, 12.3, 200, 7300, float("nan"))]
        ['120 us', '500 ms', '12.3 s', '3 min 20 s', '2 h 1 min', 'unknown']
    """
    if seconds != seconds:
        return "unknown"
    if seconds >= 3600:
        return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
    if seconds >= 60:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    for unit, factor in (("s", 1), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"
