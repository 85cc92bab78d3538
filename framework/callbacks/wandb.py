"""WandbLogger."""

from __future__ import annotations

from typing import Any

from lamina.callbacks.run_logger import RunLogger


class WandbLogger(RunLogger):
    """Sends the logs to Weights & Biases. Needs the extra: pip install 'lamina[wandb]'.

    Logs of epochs are named `epoch/loss`, over `epoch/epoch`; those of batches `batch/loss`, over `batch/batch_step`.
    If `wandb.init` was called already, its run is used and left open; else a run is begun and ended with fit.

    Args:
        project: the project of a run that is begun here.
        name: its name.
        config: its configuration, a dict.
        log_freq: "epoch"; or "batch", or a number of batches, to send the logs of batches too.
        **init_arguments: what else `wandb.init` is to get, such as `mode="offline"`.

    Raises:
        ImportError: wandb is not installed.

    Example:
        >>> import importlib.util
        >>> if importlib.util.find_spec("wandb"):
        ...     logger = WandbLogger("digits", config={"units": 64}, log_freq=100)
    """

    def __init__(
        self,
        project: str | None = None,
        name: str | None = None,
        config: dict[str, Any] | None = None,
        log_freq: str | int = "epoch",
        **init_arguments: Any,
    ):
        super().__init__(log_freq)
        try:
            import wandb
        except ImportError:
            raise ImportError(
                "WandbLogger needs the package wandb. Install it with pip install 'lamina[wandb]'."
            ) from None
        self._wandb = wandb
        self.project, self.name, self.config = project, name, config
        self.init_arguments = init_arguments
        self._run: Any = None

    def _begin(self, run_id: str | None) -> tuple[str, bool]:
        self._run = self._wandb.run
        owned = self._run is None
        if owned:
            again = {} if run_id is None else {"id": run_id, "resume": "allow"}
            arguments = {"project": self.project, "name": self.name, "config": self.config}
            self._run = self._wandb.init(**arguments, **{**again, **self.init_arguments})
        self._run.define_metric("epoch/epoch")
        self._run.define_metric("epoch/*", step_metric="epoch/epoch")
        if self.log_freq != "epoch":
            self._run.define_metric("batch/batch_step")
            self._run.define_metric("batch/*", step_metric="batch/batch_step")
        return self._run.id, owned

    def _send(self, kind: str, numbers: dict[str, float], step: int) -> None:
        axis = "epoch/epoch" if kind == "epoch" else "batch/batch_step"
        self._run.log({**{f"{kind}/{name}": value for name, value in numbers.items()}, axis: step})

    def _end(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))
        self._run = None
