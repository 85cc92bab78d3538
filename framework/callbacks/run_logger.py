"""RunLogger, what the loggers of tracking services share."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.callbacks.callback import Callback
from lamina.core.checks import check_int


class RunLogger(Callback):
    """Sends the numbers among the logs to a run of a service. A base for callbacks; not used by itself.

    The service's run begins with the first chunk of batches, and ends with fit if it began there. A fit that is resumed
    goes on with the same run.

    Args:
        log_freq: "epoch"; or "batch", or a number of batches, to send the logs of batches too. Batches still run many
            a call.

    Raises:
        ValueError: `log_freq` is none of these.
    """

    needs_live_state = False

    def __init__(self, log_freq: str | int = "epoch"):
        super().__init__()
        owner = type(self).__name__
        if isinstance(log_freq, str) and log_freq not in ("epoch", "batch"):
            raise ValueError(f"{owner}: log_freq must be 'epoch', 'batch' or a number of batches, got {log_freq!r}.")
        freq = 1 if log_freq == "batch" else log_freq
        self.log_freq = freq if isinstance(freq, str) else check_int(owner, "log_freq", freq, 1)
        self._run_id: str | None = None
        self._began = self._owned = False
        self._done = self._done_in_epoch = 0

    # ---- what a service defines

    def _begin(self, run_id: str | None) -> tuple[str, bool]:
        """Begins a run, or goes on with that of an id; returns its id, and whether it is ours to end."""
        raise NotImplementedError

    def _send(self, kind: str, numbers: dict[str, float], step: int) -> None:
        """Sends the numbers of an "epoch" or a "batch"."""
        raise NotImplementedError

    def _end(self, failed: bool) -> None:
        """Ends the run."""
        raise NotImplementedError

    # ---- hooks

    def overrides(self, *hooks: str) -> bool:
        """Whether a hook does anything: that of batches does not, with `log_freq="epoch"`."""
        if self.log_freq == "epoch":
            own = RunLogger.on_train_batch_end
            hooks = tuple(h for h in hooks if getattr(type(self), h, None) is not own)
        return super().overrides(*hooks)

    def get_state(self) -> dict[str, Any]:
        """The id of the run, and how many batches there were."""
        return {"run_id": self._run_id, "done": self._done, "done_in_epoch": self._done_in_epoch}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on with that run."""
        self._run_id = state["run_id"]
        self._done, self._done_in_epoch = int(state["done"]), int(state["done_in_epoch"])

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts afresh."""
        self._run_id = None
        self._began = self._owned = False
        self._done = self._done_in_epoch = 0

    def _ensure(self) -> None:
        if not self._began:
            self._run_id, self._owned = self._begin(self._run_id)
            self._began = True

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Sends the logs of the batch, if it is its turn."""
        step = self._done + batch + 1
        if self.log_freq != "epoch" and step % self.log_freq == 0:  # type: ignore[operator]
            self._ensure()
            self._send("batch", _numbers(logs), step)

    def on_progress(self, kind: str, done: int, logs: Any) -> None:
        """Begins the run with the first batches."""
        if kind == "train":
            self._ensure()
            self._done_in_epoch = done

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sends the logs of the epoch, and the learning rate."""
        self._ensure()
        numbers = _numbers(logs)
        rate = getattr(self.model.optimizer, "learning_rate", None)
        if rate is not None:
            numbers.setdefault("learning_rate", float(np.asarray(rate)))
        self._send("epoch", numbers, epoch)
        self._done, self._done_in_epoch = self._done + self._done_in_epoch, 0

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Ends the run."""
        self._close(failed=False)

    def on_train_exit(self) -> None:
        """Ends the run as a failed one, if fit has failed."""
        self._close(failed=True)

    def _close(self, failed: bool) -> None:
        began, self._began = self._began and self._owned, False
        if began:
            self._end(failed)


def _numbers(logs: dict[str, Any] | None) -> dict[str, float]:
    return {k: float(v) for k, v in (logs or {}).items() if np.ndim(v) == 0 and not isinstance(v, str)}
