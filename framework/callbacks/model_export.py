"""ModelExport: the model in the format of another runtime, as training ends or whenever it is better than ever."""

from __future__ import annotations

import os
from typing import Any

from lamina.callbacks.monitor import MonitorCallback, say
from lamina.core.checks import check_type


class ModelExport(MonitorCallback):
    """Exports the model at the end of training; with `monitor`, after each epoch that is better than all before.

    Args:
        filepath: the file, or the folder of a SavedModel; each export replaces the one before.
        format: see `lamina.export.save`.
        monitor: the name of the log that tells which epoch is best; None exports once, when training ends.
        mode: "min" if less is better, "max" if more is, "auto" to ask the metric.
        verbose: 1 prints the report of each export.
        **options: of the format, such as `precision="int8"` and `representative_data`.

    Attributes:
        report: the `ExportReport` of the last export; None before it.

    Raises:
        ExportError: ops cannot be written; the message lists them by layer.

    Example:
        >>> import os, tempfile
        >>> import numpy as np
        >>> from lamina import Input, Sequential, layers, load_frozen
        >>> model = Sequential([Input((1,)), layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> x = np.ones((8, 1), "float32")
        >>> path = os.path.join(tempfile.mkdtemp(), "best.tflite")
        >>> export = ModelExport(path, format="tflite", monitor="loss")
        >>> history = model.fit(x, x, epochs=2, verbose=0, callbacks=[export])
        >>> bool(np.allclose(load_frozen(path)(x), model.predict(x, verbose=0)))
        True
    """

    needs_live_state = False

    def __init__(
        self,
        filepath: str | os.PathLike,
        format: str = "tf_saved_model",
        monitor: str | None = None,
        mode: str = "auto",
        verbose: int = 0,
        **options: Any,
    ):
        super().__init__(monitor or "", mode)
        owner = "ModelExport"
        self.filepath = os.fspath(check_type(owner, "filepath", filepath, (str, os.PathLike), "a path"))
        self.format, self.verbose, self.options = format, verbose, options
        self.report: Any = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Exports if the epoch is the best."""
        if not self.monitor:
            return
        if self.monitor_op is None:
            self._set_monitor_op()
        current = self.get_monitor_value(logs)
        if current is not None and self._is_improvement(current, self.best):
            self.best = current
            self._export()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Exports, if no log is followed."""
        if not self.monitor:
            self._export()

    def _export(self) -> None:
        os.makedirs(os.path.dirname(os.path.abspath(self.filepath)), exist_ok=True)
        self.report = self.model.export(self.filepath, format=self.format, verbose=False, **self.options)
        if self.verbose > 0:
            say(str(self.report))

    def get_state(self) -> dict[str, Any]:
        """The best value so far."""
        return {"best": self.best}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes it back."""
        self.best = state["best"]
