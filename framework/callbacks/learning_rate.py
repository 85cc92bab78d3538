"""Callbacks that set the learning rate: LearningRateScheduler, ReduceLROnPlateau."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from lamina.callbacks.callback import Callback
from lamina.callbacks.monitor import MonitorCallback, say
from lamina.core.checks import check_int, check_number
from lamina.core.errors import describe


def _rate(model: Any, owner: str) -> float:
    if not hasattr(model.optimizer, "learning_rate"):
        raise ValueError(f"{owner}: the optimizer {model.optimizer!r} has no learning rate to set.")
    return float(np.asarray(model.optimizer.learning_rate))


class LearningRateScheduler(Callback):
    """Sets the learning rate at the start of each epoch.

    Args:
        schedule: a function of the epoch (from 0) and the learning rate so far, or of the epoch alone, that returns
            the learning rate.
        verbose: 1 prints what is set.

    Raises:
        TypeError: `schedule` is not a function, or returns no number.

    Example:
        >>> import numpy as np
        >>> from lamina import Input, Sequential, layers
        >>> model = Sequential([Input((1,)), layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> halve = LearningRateScheduler(lambda epoch, rate: rate / 2)
        >>> history = model.fit(np.ones((2, 1)), np.ones((2, 1)), epochs=2, verbose=0, callbacks=[halve])
        >>> [round(rate, 4) for rate in history.history["learning_rate"]]
        [0.005, 0.0025]
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0):
        super().__init__()
        if not callable(schedule):
            raise TypeError(
                f"LearningRateScheduler: schedule must be a function of epoch and learning rate, got "
                f"{describe(schedule)}."
            )
        self.schedule = schedule
        self.verbose = verbose
        self._takes_rate = _takes(schedule, 2)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the learning rate of the epoch."""
        rate = _rate(self.model, "LearningRateScheduler")
        rate = self.schedule(epoch, rate) if self._takes_rate else self.schedule(epoch)
        if getattr(rate, "ndim", 0) == 0 and not isinstance(rate, (numbers.Real, str)) and hasattr(rate, "__float__"):
            rate = float(rate)
        if isinstance(rate, bool) or not isinstance(rate, numbers.Real):
            raise TypeError(f"LearningRateScheduler: schedule must return a number, got {describe(rate)}.")
        self.model.optimizer.learning_rate = float(rate)
        if self.verbose > 0:
            say(f"Epoch {epoch + 1}: LearningRateScheduler setting learning rate to {rate}.")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the learning rate to the logs."""
        if logs is not None:
            logs["learning_rate"] = _rate(self.model, "LearningRateScheduler")


def _takes(function: Callable[..., Any], count: int) -> bool:
    """Whether a function can be called with so many arguments."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        return True
    return True


class ReduceLROnPlateau(MonitorCallback):
    """Lowers the learning rate once a log has stopped to improve.

    Args:
        monitor: the name of the log.
        factor: what the learning rate is multiplied by; less than 1.
        patience: the number of epochs without improvement after which it is lowered.
        verbose: 1 prints what is done.
        mode: "min" if less is better, "max" if more is, "auto" to ask the metric.
        min_delta: a change smaller than this is no improvement.
        cooldown: the number of epochs after a change in which none are counted.
        min_lr: the learning rate is not lowered below this.

    Raises:
        ValueError: `factor` is not below 1.

    Example:
        >>> import numpy as np
        >>> from lamina import Input, Sequential, layers
        >>> model = Sequential([Input((1,)), layers.Dense(1, kernel_initializer="zeros")])
        >>> model.compile("sgd", "mse")
        >>> x = np.zeros((4, 1), "float32")
        >>> lower = ReduceLROnPlateau("loss", factor=0.5, patience=1)
        >>> history = model.fit(x, x, epochs=3, verbose=0, callbacks=[lower])
        >>> [round(rate, 4) for rate in history.history["learning_rate"]]
        [0.01, 0.01, 0.005]
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ):
        super().__init__(monitor, mode, min_delta=min_delta)
        owner = "ReduceLROnPlateau"
        if check_number(owner, "factor", factor, 0) >= 1:
            raise ValueError(f"{owner}: factor must be less than 1, got {factor}.")
        self.factor = factor
        self.patience = check_int(owner, "patience", patience, 0)
        self.verbose = verbose
        self.cooldown = check_int(owner, "cooldown", cooldown, 0)
        self.min_lr = check_number(owner, "min_lr", min_lr, 0)
        self._reset()

    def _reset(self) -> None:
        self.cooldown_counter = 0
        self.wait = 0
        self.best = None
        self.monitor_op = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts afresh."""
        self._reset()

    def in_cooldown(self) -> bool:
        """Whether the learning rate was lowered so lately that epochs are not counted yet."""
        return self.cooldown_counter > 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the learning rate to the logs; counts the epochs without improvement."""
        if self.monitor_op is None:
            self._set_monitor_op()
        rate = _rate(self.model, "ReduceLROnPlateau")
        if logs is not None:
            logs["learning_rate"] = rate
        current = self.get_monitor_value(logs)
        if current is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self._is_improvement(current, self.best):
            self.best = current
            self.wait = 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience and rate > np.float32(self.min_lr):
                rate = max(rate * self.factor, self.min_lr)
                self.model.optimizer.learning_rate = rate
                if self.verbose > 0:
                    say(f"Epoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {rate}.")
                self.cooldown_counter = self.cooldown
                self.wait = 0

    def get_state(self) -> dict[str, Any]:
        """The best value so far, and what is counted."""
        return {"best": self.best, "wait": self.wait, "cooldown_counter": self.cooldown_counter}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes them back."""
        if state["best"] is not None:
            self._set_monitor_op()
        self.best, self.wait, self.cooldown_counter = state["best"], state["wait"], state["cooldown_counter"]
