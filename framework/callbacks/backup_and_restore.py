"""BackupAndRestore."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from typing import Any

from lamina.callbacks.callback import Callback
from lamina.callbacks.monitor import say
from lamina.checkpoint.manager import CheckpointManager
from lamina.core.checks import check_int, check_number
from lamina.core.errors import describe

# What a process ends with that was asked to by SIGTERM.
EXIT_STATUS = 128 + signal.SIGTERM


class BackupAndRestore(Callback):
    """Saves the whole state of a run now and then, and takes it up when the same script is started again.

    A resumed run is, bit for bit, the run that would have been: weights, optimizer, metrics under way, callbacks,
    history and the position in the data are saved. Saving goes on beside the training. A process that gets SIGTERM
    saves first, and ends with status 143.

    Args:
        backup_dir: the folder of the checkpoints, or a `CheckpointManager`, which says what is kept.
        save_freq: "epoch" saves at the end of each epoch (if the save before is done by then; the last one always is
            saved); a number saves after so many batches too.
        double_checkpoint: accepted as in Keras; the last two checkpoints are kept in any case.
        delete_checkpoint: whether the checkpoints are removed once training has ended well.
        save_seconds: also saves when so many seconds have gone by since the last save.
        max_time: seconds after which the run saves and ends the process with status 143.

    Raises:
        CheckpointError: no whole checkpoint is left in the folder, or one could not be written.
        ValueError: the checkpoint is of another model; the message lists what differs.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from lamina import Input, Sequential, layers
        >>> folder = tempfile.mkdtemp()
        >>> x = np.ones((4, 1), "float32")
        >>> def train(epochs):
        ...     model = Sequential([Input((1,)), layers.Dense(1)])
        ...     model.compile("adam", "mse")
        ...     backup = BackupAndRestore(folder, delete_checkpoint=False)
        ...     return model.fit(x, x, epochs=epochs, verbose=0, callbacks=[backup])
        >>> train(epochs=2).epoch
        [0, 1]
        >>> train(epochs=3).epoch  # goes on after the second epoch
        [0, 1, 2]
    """

    needs_live_state = False
    runs_last = True

    def __init__(
        self,
        backup_dir: str | os.PathLike | CheckpointManager,
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
        save_seconds: float | None = None,
        max_time: float | None = None,
    ):
        super().__init__()
        owner = "BackupAndRestore"
        if not isinstance(backup_dir, CheckpointManager):
            if not isinstance(backup_dir, (str, os.PathLike)) or not os.fspath(backup_dir):
                raise TypeError(
                    f"{owner}: backup_dir must be a folder such as 'run' or a CheckpointManager, got "
                    f"{describe(backup_dir)}."
                )
            backup_dir = CheckpointManager(backup_dir, max_to_keep=2)
        self.manager = backup_dir
        if save_freq != "epoch":
            if isinstance(save_freq, str):
                raise ValueError(f"{owner}: save_freq must be 'epoch' or a number of batches, got {save_freq!r}.")
            save_freq = check_int(owner, "save_freq", save_freq, 1)
        self.save_freq = save_freq
        self.delete_checkpoint = delete_checkpoint
        self.save_seconds = None if save_seconds is None else check_number(owner, "save_seconds", save_seconds, 0)
        self.max_time = None if max_time is None else check_number(owner, "max_time", max_time, 0)
        self._previous: Any = None

    # ---- when to save

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Takes up the newest whole checkpoint of the folder, if there is one."""
        self._terminated = False
        self._began = self._last_time = time.monotonic()
        run = self._run = self.model.training_run
        self._graph: bytes | None = None
        self._told = False
        found = self.manager.restore()
        if found is not None:
            run.announce(found.tensors, found.prefix)
        self._last_step = -1 if found is None else found.step
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, number: int, frame: Any) -> None:
        self._terminated = True

    def next_boundary(self, kind: str, done: int) -> int | None:
        """The next multiple of `save_freq`."""
        if kind != "train" or not isinstance(self.save_freq, int):
            return None
        return done + self.save_freq - (self.model.training_run.base + done) % self.save_freq

    def _leaving(self) -> bool:
        return self._terminated or (self.max_time is not None and time.monotonic() - self._began >= self.max_time)

    def on_progress(self, kind: str, done: int, logs: Any) -> None:
        """Saves if it is time to."""
        self.manager.check()
        run = self.model.training_run
        if run is None:
            return
        if self._leaving():
            if kind == "test":
                run.leaving = True  # ends the evaluation: see on_test_end
            elif run.savable:
                self._leave()
        elif kind == "train" and run.savable and done != (self.params or {}).get("steps") and self._due(run.step):
            self._save()

    def _due(self, step: int) -> bool:
        if isinstance(self.save_freq, int) and step // self.save_freq > max(self._last_step, 0) // self.save_freq:
            return True
        if self.save_seconds is None or self.manager.busy:
            return False
        # a save that takes long comes seldom, so that it costs a tenth of the time at most
        return time.monotonic() - self._last_time >= max(self.save_seconds, 10 * self.manager.seconds)

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Saves and ends the process if it was asked to meanwhile; the evaluation is done again later."""
        if self.model.training_run is not None and self.model.training_run.leaving:
            self._leave()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves the state between two epochs."""
        last = self.model.stop_training or epoch + 1 == (self.params or {}).get("epochs")
        if self.model.training_run.step > self._last_step and (last or self._leaving() or not self.manager.busy):
            self._save(between_epochs=True, metrics=logs)
        if self._leaving() and not last:
            self._leave(save=False)

    def _save(self, between_epochs: bool = False, metrics: dict[str, Any] | None = None) -> None:
        run = self.model.training_run
        if not self._told and not run.source.restorable:
            self._told = True
            warnings.warn(
                "BackupAndRestore: x cannot tell its position (it has no get_state and set_state). A resumed run draws "
                "its batches again and drops those that were used, so it is exact only if x gives the same batches "
                "each time. A Dataset is exact always; so is a PyDataset, but one that changes itself in on_epoch_end "
                "needs get_state and set_state too.",
                stacklevel=5,
            )
        self.manager.save(run.step, run.capture(between_epochs), metrics, {".meta": self._meta})
        self._last_step, self._last_time = run.step, time.monotonic()

    def _meta(self) -> bytes:
        if self._graph is None:
            self._graph = self._run.meta()
        return self._graph

    def _leave(self, save: bool = True) -> None:
        run = self.model.training_run
        if save and run.step > self._last_step:
            self._save()
        self.manager.wait()
        why = "SIGTERM" if self._terminated else f"max_time={self.max_time}"
        say(f"{why}: the run is saved at step {run.step} in '{self.manager.folder}'; start it again to go on.")
        raise SystemExit(EXIT_STATUS)

    # ---- the end

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Waits for the last save; removes the checkpoints if asked to."""
        self.manager.wait()
        if self.delete_checkpoint:
            self.manager.delete()

    def on_train_exit(self) -> None:
        """Gives SIGTERM back, and lets a save under way end."""
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)
            self._previous = None
        self.manager.wait()
