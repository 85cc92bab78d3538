"""MonitorCallback: what callbacks that follow one of the logs share."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

from lamina.callbacks.callback import Callback
from lamina.core.checks import check_number
from lamina.core.errors import did_you_mean, listing


class MonitorCallback(Callback):
    """Follows one of the logs and tells whether it improves. A base for callbacks; not used by itself.

    Args:
        monitor: the name of the log.
        mode: "min" if less is better, "max" if more is, "auto" to ask the metric.
        baseline: what the first value is compared with, or None.
        min_delta: a change smaller than this is no improvement.
    """

    def __init__(
        self, monitor: str = "val_loss", mode: str = "auto", baseline: float | None = None, min_delta: float = 0
    ):
        super().__init__()
        if mode not in ("auto", "min", "max"):
            warnings.warn(
                f"{type(self).__name__}: mode must be 'auto', 'min' or 'max', got {mode!r}; 'auto' is used.",
                stacklevel=3,
            )
            mode = "auto"
        self.monitor = monitor
        self.mode = mode
        self.best = baseline
        self.min_delta = abs(check_number(type(self).__name__, "min_delta", min_delta))
        self.monitor_op: Callable[[float, float], bool] | None = None

    def _set_monitor_op(self) -> None:
        """Settles which way is better, once the metrics of the model are known.

        Raises:
            ValueError: mode is "auto", and neither the name nor the metric tells.
        """
        direction = {"min": "down", "max": "up"}.get(self.mode) or self._direction_of_metric()
        if direction is None:
            raise ValueError(
                f"{type(self).__name__}: cannot tell whether more or less of {self.monitor!r} is better. Pass "
                "mode='max' if it should grow, mode='min' if it should shrink."
            )
        self.monitor_op = operator.gt if direction == "up" else operator.lt
        if self.best is None:
            self.best = float("-inf") if direction == "up" else float("inf")

    def _direction_of_metric(self) -> str | None:
        name = self.monitor.removeprefix("val_")
        for metric in getattr(self.model, "metrics", []):
            # Compiled metrics come as one, with a row (log name, output, metric, weighted) each.
            rows = getattr(metric, "rows", None)
            named = [(row[0], row[2]) for row in rows] if rows is not None else [(metric.name, metric)]
            for log_name, one in named:
                if name in (log_name, one.name) and getattr(one, "_direction", None):
                    return one._direction
        return "down" if name == "loss" or name.endswith("_loss") else None

    def _is_improvement(self, value: float, reference: float | None) -> bool:
        if reference is None:
            return True
        delta = self.min_delta if self.monitor_op is operator.gt else -self.min_delta
        return self.monitor_op(value - delta, reference)  # type: ignore[misc]

    def get_monitor_value(self, logs: dict[str, Any] | None) -> Any:
        """The value followed, or None with a warning if it is not among the logs."""
        logs = logs or {}
        if self.monitor not in logs:
            warnings.warn(
                f"{type(self).__name__}: monitor={self.monitor!r} is not among the logs, which are "
                f"{listing(list(logs), 'and') or 'empty'}.{did_you_mean(self.monitor, logs)}",
                stacklevel=4,
            )
        return logs.get(self.monitor)


def say(text: str) -> None:
    """Prints a line, above the progress bar if there is one."""
    tqdm.write(text)
