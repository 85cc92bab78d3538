"""EarlyStopping."""

from __future__ import annotations

from typing import Any

from lamina.callbacks.monitor import MonitorCallback, say
from lamina.core.checks import check_int


class EarlyStopping(MonitorCallback):
    """Stops training once a log has stopped to improve.

    Args:
        monitor: the name of the log.
        min_delta: a change smaller than this is no improvement.
        patience: the number of epochs without improvement after which training stops.
        verbose: 1 prints what is done.
        mode: "min" if less is better, "max" if more is, "auto" to ask the metric.
        baseline: training stops too if the log has not become better than this.
        restore_best_weights: whether the model ends with the weights of the best epoch, rather than the last ones.
        start_from_epoch: the first epoch that counts.

    Raises:
        ValueError: mode is "auto" and it is unknown which way is better (at the end of the first epoch).

    Example:
        >>> import numpy as np
        >>> from lamina import Input, Sequential, layers
        >>> model = Sequential([Input((1,)), layers.Dense(1, kernel_initializer="zeros")])
        >>> model.compile("sgd", "mse")
        >>> x = np.zeros((4, 1), "float32")
        >>> history = model.fit(x, x, epochs=9, verbose=0, callbacks=[EarlyStopping("loss", patience=2)])
        >>> history.epoch
        [0, 1, 2]
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ):
        super().__init__(monitor, mode, min_delta=min_delta)
        self.patience = check_int("EarlyStopping", "patience", patience, 0)
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = check_int("EarlyStopping", "start_from_epoch", start_from_epoch, 0)
        self._reset()

    def _reset(self) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best_epoch = 0
        self.best_weights: Any = None
        self.best = None
        self.monitor_op = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts afresh."""
        self._reset()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Counts the epochs without improvement."""
        if self.monitor_op is None:
            self._set_monitor_op()
        current = self.get_monitor_value(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        improved = self._is_improvement(current, self.best)
        if improved:
            self.best = current
            self.best_epoch = epoch
        if self.restore_best_weights and (improved or self.best_weights is None):
            self.best_epoch = epoch
            self.best_weights = self.model.get_weights()
        self.wait += 1
        if improved:
            if self.baseline is None or self._is_improvement(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Puts the best weights back, if asked to."""
        if self.stopped_epoch > 0 and self.verbose > 0:
            say(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose > 0:
                say(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)

    def get_state(self) -> dict[str, Any]:
        """The best value so far, its weights, and the epochs without improvement."""
        return {
            "best": self.best,
            "wait": self.wait,
            "stopped_epoch": self.stopped_epoch,
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes them back."""
        if state["best"] is not None:
            self._set_monitor_op()
        for name in ("best", "wait", "stopped_epoch", "best_epoch", "best_weights"):
            setattr(self, name, state[name])
