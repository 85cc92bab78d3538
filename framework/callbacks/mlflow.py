"""MLflowLogger."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.callbacks.run_logger import RunLogger


class MLflowLogger(RunLogger):
    """Sends the logs to MLflow. Needs the extra: pip install 'lamina[mlflow]'.

    Logs of epochs keep their names, with the epoch as step; those of batches are named `batch/loss`, with the number
    of the batch. The arguments of the optimizer and the number of epochs become parameters, the summary of the model
    a text. If a run is active, it is used and left active; else one is begun and ended with fit.

    Args:
        experiment: the experiment of a run that is begun here.
        run_name: its name.
        tracking_uri: the server or folder; by default what MLflow is set to.
        log_freq: "epoch"; or "batch", or a number of batches, to send the logs of batches too.

    Raises:
        ImportError: mlflow is not installed.

    Example:
        >>> import importlib.util
        >>> if importlib.util.find_spec("mlflow"):
        ...     logger = MLflowLogger("digits", run_name="first", log_freq=100)
    """

    def __init__(
        self,
        experiment: str | None = None,
        run_name: str | None = None,
        tracking_uri: str | None = None,
        log_freq: str | int = "epoch",
    ):
        super().__init__(log_freq)
        try:
            import mlflow
        except ImportError:
            raise ImportError(
                "MLflowLogger needs the package mlflow. Install it with pip install 'lamina[mlflow]'."
            ) from None
        self._mlflow = mlflow
        self.experiment, self.run_name, self.tracking_uri = experiment, run_name, tracking_uri

    def _begin(self, run_id: str | None) -> tuple[str, bool]:
        run = self._mlflow.active_run()
        owned = run is None
        if owned:
            if self.tracking_uri is not None:
                self._mlflow.set_tracking_uri(self.tracking_uri)
            if self.experiment is not None:
                self._mlflow.set_experiment(self.experiment)
            run = self._mlflow.start_run(run_id=run_id) if run_id else self._mlflow.start_run(run_name=self.run_name)
        if run_id is None:
            self._mlflow.log_params(self._parameters())
            lines: list[str] = []
            self.model.summary(print_fn=lines.append)
            self._mlflow.log_text("\n".join(lines), "model_summary.txt")
        return run.info.run_id, owned

    def _parameters(self) -> dict[str, Any]:
        """What the run was asked to do."""
        found = {k: v for k, v in (self.params or {}).items() if k in ("epochs", "steps") and v is not None}
        optimizer = self.model.optimizer
        config = optimizer.get_config() if hasattr(optimizer, "get_config") else {}
        for name, value in config.items():
            plain = np.asarray(value).item() if np.ndim(value) == 0 and hasattr(value, "dtype") else value
            if plain is not None:
                found[f"optimizer_{name}"] = plain
        return found

    def _send(self, kind: str, numbers: dict[str, float], step: int) -> None:
        prefix = "" if kind == "epoch" else "batch/"
        self._mlflow.log_metrics({f"{prefix}{name}": value for name, value in numbers.items()}, step=step)

    def _end(self, failed: bool) -> None:
        self._mlflow.end_run("FAILED" if failed else "FINISHED")
