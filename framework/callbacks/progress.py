"""The progress bar: one line an epoch, in a terminal or a notebook, which never waits for the device."""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from typing import Any

from tqdm.std import tqdm

from lamina.callbacks.callback import Callback

REFRESH_SECONDS = 0.1


def format_logs(logs: dict[str, Any]) -> str:
    """`loss=0.1234  accuracy=0.9812`: the numbers among the logs, in short.

    Example:
        >>> format_logs({"loss": 0.123456, "accuracy": 1.0})
        'loss=0.1235  accuracy=1.0000'
    """
    parts = []
    for name, value in logs.items():
        if isinstance(value, (int, float)):
            text = f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.3e}"
            parts.append(f"{name}={text}")
    return "  ".join(parts)


def _bar_class() -> type:
    """A bar of widgets in a notebook that can show them, else one of text."""
    if "ipykernel" in sys.modules and find_spec("ipywidgets") is not None:
        from tqdm.notebook import tqdm as notebook_tqdm  # needs ipywidgets, an optional dependency

        return notebook_tqdm
    return tqdm


class ProgbarLogger(Callback):
    """Shows the progress of fit, evaluate and predict.

    With verbose 1 a bar of tqdm for each epoch, with the rate, the loss and the metrics; with 2 a line an epoch. The
    numbers shown are those of the last chunk of batches that has been computed already, so the bar never waits.
    """

    needs_live_state = False

    def __init__(self) -> None:
        super().__init__()
        self._bar: Any = None
        self._waiting: Any = None
        self._shown = 0.0
        self._started = 0.0
        self._training = False

    def _open(self, label: str) -> None:
        self._started = time.perf_counter()
        self._waiting = None
        params = self.params or {}
        if params.get("verbose") != 1:
            return
        self._bar = _bar_class()(
            total=params.get("steps"),
            desc=label,
            file=sys.stdout,
            mininterval=REFRESH_SECONDS,
            unit="batch",
            dynamic_ncols=True,
            bar_format="{desc} {n_fmt}/{total_fmt} |{bar:20}| {elapsed} {rate_fmt}{postfix}"
            if params.get("steps")
            else None,
        )

    def _close(self, label: str, logs: dict[str, Any] | None) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(format_logs(logs or {}), refresh=False)
            self._bar.refresh()
            self._bar.close()
            self._bar = None
        elif (self.params or {}).get("verbose") == 2:
            seconds = time.perf_counter() - self._started
            print(f"{label} - {seconds:.1f}s - {format_logs(logs or {})}", flush=True)

    def on_progress(self, kind: str, done: int, logs: Any) -> None:
        """Moves the bar on; shows numbers that have come in since."""
        bar = self._bar
        if bar is None or (self._training and kind != "train"):
            return
        bar.n = done
        now = time.perf_counter()
        if now - self._shown < REFRESH_SECONDS:
            return
        self._shown = now
        if self._waiting is not None and self._waiting.ready():  # never those of a call still running
            bar.set_postfix_str(format_logs(self._waiting.read()), refresh=False)
            self._waiting = None
        if self._waiting is None:
            self._waiting = logs
        bar.refresh()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Notes that epochs follow."""
        self._training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Notes the end."""
        self._training = False

    def _epoch_label(self, epoch: int) -> str:
        return f"Epoch {epoch + 1}/{(self.params or {}).get('epochs')}"

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Opens the bar of the epoch."""
        self._open(self._epoch_label(epoch))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Shows the final numbers and closes the bar."""
        self._close(self._epoch_label(epoch), logs)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Opens a bar, unless an epoch's is open."""
        if not self._training:
            self._open("Evaluate")

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Closes the bar of an evaluation."""
        if not self._training:
            self._close("Evaluate", logs)

    def on_predict_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Opens a bar."""
        self._open("Predict")

    def on_predict_end(self, logs: dict[str, Any] | None = None) -> None:
        """Closes it."""
        self._close("Predict", None)
