"""Checkpoints of an estimator: what they hold, the hook that saves them, and starting from one of another run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.checkpoint import CheckpointReader, latest_checkpoint
from lamina.checkpoint.manager import CheckpointManager
from lamina.core.errors import ShapeError, did_you_mean, listing
from lamina.estimators.hooks import SecondOrStepTimer, Session, SessionRunHook, SessionRunValues
from lamina.estimators.model import EstimatorModel
from lamina.estimators.variables import GLOBAL_STEP
from lamina.executor.lease import peek

# keep_checkpoint_every_n_hours of this and more keeps none for good; it is the default.
NEVER_HOURS = 10000


def tensors_of(model: EstimatorModel) -> dict[str, Any]:
    """What a checkpoint of a model holds, by name: variables, the number of steps, the state of optimizers."""
    step = model.store.step
    found: dict[str, Any] = {n: peek(v) for n, v in model.store.weights.items() if n != GLOBAL_STEP}
    found[GLOBAL_STEP] = np.int64(step)
    if model.optimizer is not None:
        found.update(model.optimizer.tensors(step))
    return found


def load_tensors(model: EstimatorModel, reader: CheckpointReader) -> None:
    """Sets the variables of a model from a checkpoint.

    Raises:
        ValueError: the checkpoint lacks a variable.
        ShapeError: one has another shape.
    """
    shapes = reader.get_variable_to_shape_map()
    own = {n: v for n, v in model.store.weights.items() if n != GLOBAL_STEP}
    missing = [n for n in own if n not in shapes]
    if missing:
        raise ValueError(
            f"The checkpoint '{reader.prefix}' is of another model: it lacks {listing(missing[:6], 'and')}."
            f"{did_you_mean(missing[0], shapes)} Train with the same columns and layers, or in another model_dir."
        )
    wrong = [n for n, v in own.items() if tuple(shapes[n]) != v.shape]
    if wrong:
        name = wrong[0]
        raise ShapeError(
            f"The checkpoint '{reader.prefix}' is of another model: variable '{name}' has the shape {shapes[name]} "
            f"there, but {own[name].shape} here. Train with the same columns and layers, or in another model_dir."
        )
    for name, variable in own.items():
        variable.assign(reader.get_tensor(name))
    step = int(reader.get_tensor(GLOBAL_STEP)) if GLOBAL_STEP in shapes else 0
    model.store.step = step
    model._steps_done = step
    if model.optimizer is not None:
        model.optimizer.restore(reader, step)


def open_checkpoint(folder: str, path: str | None = None) -> CheckpointReader | None:
    """The checkpoint `path`, or the latest of a folder; None if the folder has none.

    Raises:
        ValueError: there is no checkpoint at `path`.
    """
    if path is not None:
        path = os.fspath(path)
        if os.path.isdir(path):
            path = latest_checkpoint(path) or path
        try:
            return CheckpointReader(path)
        except FileNotFoundError as error:
            raise ValueError(f"There is no checkpoint '{path}'. Give the start of its files' names.") from error
    latest = latest_checkpoint(folder)
    return None if latest is None else CheckpointReader(latest)


class CheckpointSaverListener:
    """Is told of checkpoints; override what you need."""

    def begin(self) -> None:
        """Called before the run."""

    def before_save(self, session: Session, global_step_value: int) -> None:
        """Called before a checkpoint is saved."""

    def after_save(self, session: Session, global_step_value: int) -> bool | None:
        """Called after a checkpoint was saved; True ends training."""

    def end(self, session: Session, global_step_value: int) -> None:
        """Called after the run."""


class CheckpointSaverHook(SessionRunHook):
    """Saves checkpoints: at the start, every so many steps or seconds, and at the end.

    Args:
        checkpoint_dir: the folder.
        save_secs: seconds between two checkpoints.
        save_steps: steps between two checkpoints, in the place of seconds.
        saver: a `CheckpointManager`; one for the folder by default.
        checkpoint_basename: what the names of files start with.
        listeners: `CheckpointSaverListener` objects.
        keep: how many of the latest are kept, for the default saver; None for all.
        keep_hours: one is kept for good for each stretch of so many hours, for the default saver.

    Raises:
        ValueError: neither or both of save_secs and save_steps are given.
    """

    def __init__(
        self,
        checkpoint_dir: str | os.PathLike,
        save_secs: float | None = None,
        save_steps: int | None = None,
        saver: CheckpointManager | None = None,
        checkpoint_basename: str = "model.ckpt",
        listeners: Sequence[CheckpointSaverListener] | None = None,
        keep: int | None = 5,
        keep_hours: float | None = 10000,
    ):
        self._timer = SecondOrStepTimer(save_secs, save_steps)
        self.folder = os.fspath(checkpoint_dir)
        self.listeners = list(listeners or ())
        self.manager = saver or CheckpointManager(
            self.folder,
            max_to_keep=keep or None,
            keep_checkpoint_every_n_hours=None if keep_hours is None or keep_hours >= NEVER_HOURS else keep_hours,
            prefix=checkpoint_basename,
        )
        self._last: int | None = None

    def begin(self) -> None:
        """Tells the listeners."""
        self._timer.reset()
        for one in self.listeners:
            one.begin()

    def after_create_session(self, session: Session, coord: Any = None) -> None:
        """Saves, unless there is a checkpoint of this step already."""
        latest = latest_checkpoint(self.folder)
        if latest is not None and latest.endswith(f"-{session.step}"):
            self._last = session.step
        else:
            self.save(session)
        self._timer.update_last_triggered_step(session.step)

    def next_step(self, step: int, rate: float | None) -> int | None:
        """When the next checkpoint is due."""
        return self._timer.next_step(step, rate)

    def after_run(self, run_context: Session, run_values: SessionRunValues) -> None:
        """Saves, if it is time."""
        if self._timer.should_trigger_for_step(run_context.step):
            self._timer.update_last_triggered_step(run_context.step)
            if self.save(run_context):
                run_context.request_stop()

    def save(self, session: Session) -> bool:
        """Saves a checkpoint; returns whether a listener asks to stop."""
        step = session.step
        for one in self.listeners:
            one.before_save(session, step)
        prefix = self.manager.save(step, tensors_of(session.estimator._model))
        self._last = step
        session.estimator._at = prefix
        stop = False
        if self.listeners:
            self.manager.wait()
        for one in self.listeners:
            stop = bool(one.after_save(session, step)) or stop
        return stop

    def end(self, session: Session) -> None:
        """Saves the last checkpoint, and waits for it."""
        if self._last != session.step:
            self.save(session)
        self.manager.close()
        for one in self.listeners:
            one.end(session, session.step)
