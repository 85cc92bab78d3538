"""ModelCheckpoint: the model on disk, again and again."""

from __future__ import annotations

import os
from typing import Any

from lamina.callbacks.monitor import MonitorCallback, say
from lamina.core.checks import check_int, check_type
from lamina.core.errors import listing

_WEIGHTS = (".weights.h5", ".safetensors")
_MODELS = (".keras", ".h5", ".hdf5")


class ModelCheckpoint(MonitorCallback):
    """Saves the model, or its weights, at the end of epochs or every so many batches.

    To go on with a run that was killed use `BackupAndRestore`: it keeps all that this takes.

    Args:
        filepath: the path, with places for the number of the epoch, of the batch, and for logs, such as
            "run/{epoch:02d}-{val_loss:.2f}.keras". It ends with `.keras`, or with `.h5` or `.hdf5` for Keras' old
            format; with `save_weights_only` it ends with `.weights.h5` or `.safetensors`, or has no ending: then it is
            the prefix of a TensorFlow checkpoint.
        monitor: the name of the log that `save_best_only` follows.
        verbose: 1 prints what is done.
        save_best_only: whether to save only when the log is better than ever.
        save_weights_only: whether the weights alone are saved.
        mode: "min" if less is better, "max" if more is, "auto" to ask the metric.
        save_freq: "epoch", or the number of batches from save to save.
        initial_value_threshold: the value that the first one saved must be better than.

    Raises:
        ValueError: the path has the wrong ending, or names a log that there is none of.

    Example:
        >>> import os, tempfile
        >>> import numpy as np
        >>> from lamina import Input, Sequential, layers
        >>> folder = tempfile.mkdtemp()
        >>> model = Sequential([Input((1,)), layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> x = np.ones((8, 1), "float32")
        >>> saving = ModelCheckpoint(os.path.join(folder, "{epoch:02d}.keras"), monitor="loss", save_best_only=True)
        >>> history = model.fit(x, x, epochs=2, verbose=0, callbacks=[saving])
        >>> sorted(os.listdir(folder))
        ['01.keras', '02.keras']
    """

    needs_live_state = False

    def __init__(
        self,
        filepath: str | os.PathLike,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ):
        super().__init__(monitor, mode, baseline=initial_value_threshold)
        self.best: float | None = initial_value_threshold
        owner = "ModelCheckpoint"
        self.filepath = os.fspath(check_type(owner, "filepath", filepath, (str, os.PathLike), "a path"))
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        if isinstance(save_freq, str) and save_freq != "epoch":
            raise ValueError(f"{owner}: save_freq must be 'epoch' or a number of batches, got {save_freq!r}.")
        self.save_freq = save_freq if isinstance(save_freq, str) else check_int(owner, "save_freq", save_freq, 1)
        if save_weights_only:
            if self.filepath.endswith((*_MODELS, ".npz")) and not self.filepath.endswith(_WEIGHTS):
                raise ValueError(
                    f"{owner}: with save_weights_only=True filepath must end with {listing(_WEIGHTS)}, or have no "
                    f"ending for TensorFlow's checkpoint format, got {self.filepath!r}."
                )
        elif not self.filepath.endswith(_MODELS) or self.filepath.endswith(".weights.h5"):
            raise ValueError(
                f"{owner}: filepath must end with {listing(_MODELS)}, got {self.filepath!r}. Pass "
                "save_weights_only=True to save the weights alone, in one of the other formats."
            )
        self._epoch = 0
        self._seen = 0  # batches of this epoch
        self._since = 0  # batches since the last save

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch."""
        self._epoch, self._seen = epoch, 0

    def next_boundary(self, kind: str, done: int) -> int | None:
        """The batch after which to save."""
        if kind != "train" or self.save_freq == "epoch":
            return None
        return done + max(int(self.save_freq) - self._since - (done - self._seen), 1)

    def on_progress(self, kind: str, done: int, logs: Any) -> None:
        """Saves if enough batches were run."""
        if kind != "train" or self.save_freq == "epoch":
            return
        self._since += done - self._seen
        self._seen = done
        if self._since >= int(self.save_freq):
            self._since = 0
            self._save(self._epoch, logs.read(), done)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves if it is time to."""
        if self.save_freq == "epoch":
            self._save(epoch, logs or {})

    def _save(self, epoch: int, logs: dict[str, Any], batch: int | None = None) -> None:
        path = self._path(epoch, logs, batch)
        if not (self._is_best(epoch, logs, path) if self.save_best_only else True):
            return
        if os.path.isdir(path):
            raise IsADirectoryError(f"ModelCheckpoint: filepath must name a file, but '{path}' is a folder.")
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        if self.save_weights_only:
            self.model.save_weights(path, overwrite=True)
        else:
            self.model.save(path, overwrite=True)
        if self.verbose > 0:
            say(f"Epoch {epoch + 1}: saved the model to {path}")

    def _is_best(self, epoch: int, logs: dict[str, Any], path: str) -> bool:
        if self.monitor_op is None:
            self._set_monitor_op()
        current = self.get_monitor_value(logs)
        if current is None:
            return True
        before = "none" if self.best is None else f"{self.best:.5f}"
        if not self._is_improvement(current, self.best):
            if self.verbose > 0:
                say(f"Epoch {epoch + 1}: {self.monitor} did not improve from {before}")
            return False
        if self.verbose > 0:
            say(f"Epoch {epoch + 1}: {self.monitor} improved from {before} to {current:.5f}")
        self.best = current
        return True

    def _path(self, epoch: int, logs: dict[str, Any], batch: int | None) -> str:
        named = {"epoch": epoch + 1, **({} if batch is None else {"batch": batch}), **logs}
        try:
            return self.filepath.format(**named)
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"ModelCheckpoint: filepath {self.filepath!r} cannot be filled in ({error}). It may name "
                f"{listing(list(named), 'and')}."
            ) from error

    def get_state(self) -> dict[str, Any]:
        """The best value so far, and the batches since the last save."""
        return {"best": self.best, "since": self._since, "seen": self._seen}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes them back."""
        self.best, self._since, self._seen = state["best"], state["since"], state["seen"]
