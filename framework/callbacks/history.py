"""History: the logs of each epoch."""

from __future__ import annotations

from typing import Any

from lamina.callbacks.callback import Callback


class History(Callback):
    """Keeps the logs of each epoch; `fit` returns it.

    Attributes:
        epoch: the numbers of the epochs run.
        history: a dict from log name to the list of its values, one an epoch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.epoch: list[int] = []
        self.history: dict[str, list[Any]] = {}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts afresh."""
        self.epoch = []
        self.history = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the logs."""
        self.epoch.append(epoch)
        for k, v in (logs or {}).items():
            self.history.setdefault(k, []).append(v)
        self.model.history = self

    def get_state(self) -> dict[str, Any]:
        """The logs so far."""
        return {"epoch": self.epoch, "history": self.history}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes them back."""
        self.epoch, self.history = list(state["epoch"]), {k: list(v) for k, v in state["history"].items()}
        self.model.history = self
