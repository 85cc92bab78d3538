"""Hooks: what is called between the steps of training, evaluation and prediction.

Steps run many to a call. A hook says with `next_step` when it wants to be called next, and the loop comes back to it
then; one that overrides `before_run` or `after_run` and says nothing is called at each step, which takes longer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lamina.core.checks import check_int, check_number
from lamina.core.errors import describe, did_you_mean

logger = logging.getLogger("lamina.estimators")


class SessionRunArgs(NamedTuple):
    """What a hook asks for: names of variables, "loss" or "global_step", singly, in a list or in a dict."""

    fetches: Any


class SessionRunValues(NamedTuple):
    """What a hook is given: the values it asked for; the loss and the number of steps if it asked for nothing."""

    results: Any


class Session:
    """What hooks see of a run.

    Attributes:
        estimator: the estimator.
        step: the number of steps done, in all runs.
        loss: the loss of the last step, or None.
        rate: steps a second, as measured.
    """

    def __init__(self, estimator: Any):
        self.estimator = estimator
        self.step = 0
        self.loss: float | None = None
        self.rate: float | None = None
        self.stop_requested = False

    @property
    def session(self) -> Session:
        """Itself: in TensorFlow a run context holds the session."""
        return self

    def request_stop(self) -> None:
        """Ends the run after this step."""
        self.stop_requested = True

    def value(self, name: str) -> Any:
        """The value now of a variable, of "loss" or of "global_step".

        Raises:
            ValueError: there is none of that name.
        """
        if name == "loss":
            return self.loss
        if name == "global_step":
            return self.step
        weights = self.estimator._model.store.weights
        if name not in weights:
            raise ValueError(
                f"A hook asks for {name!r}, which is neither a variable nor 'loss' nor 'global_step'."
                f"{did_you_mean(name, weights)}"
            )
        return np.asarray(weights[name].stored)

    def run(self, fetches: Any) -> Any:
        """The values of names, in their structure; a function is called with this session."""
        if callable(fetches):
            return fetches(self)
        if isinstance(fetches, str):
            return self.value(fetches)
        if isinstance(fetches, Mapping):
            return {k: self.run(v) for k, v in fetches.items()}
        return type(fetches)(self.run(v) for v in fetches)

    def values(self, asked: SessionRunArgs | None) -> SessionRunValues:
        """What a hook is given that asked for this."""
        return SessionRunValues(
            self.run({"global_step": "global_step", "loss": "loss"} if asked is None else asked.fetches)
        )


SessionRunContext = Session


class SessionRunHook:
    """The base of hooks; override what you need.

    `run_context` has `step`, `loss`, `value(name)` and `request_stop()`.

    Example:
        >>> class Losses(SessionRunHook):
        ...     def begin(self):
        ...         self.losses = []
        ...     def after_run(self, run_context, run_values):
        ...         self.losses.append(run_context.loss)
    """

    def begin(self) -> None:
        """Called once, before the run."""

    def after_create_session(self, session: Session, coord: Any = None) -> None:
        """Called once the variables are there."""

    def before_run(self, run_context: Session) -> SessionRunArgs | None:
        """Called before a step; may return `SessionRunArgs`."""
        return None

    def after_run(self, run_context: Session, run_values: SessionRunValues) -> None:
        """Called after a step, with what `before_run` asked for."""

    def end(self, session: Session) -> None:
        """Called once, after the run."""

    def next_step(self, step: int, rate: float | None) -> int | None:
        """The number of the step after which `after_run` is to be called next.

        Args:
            step: the number of steps done.
            rate: steps a second, if it is known.

        Returns:
            A number above `step`; None for never. By default each step, if `before_run` or `after_run` is overridden.
        """
        own = type(self)
        if own.before_run is not SessionRunHook.before_run or own.after_run is not SessionRunHook.after_run:
            return step + 1
        return None


class SecondOrStepTimer:
    """Tells when something is due: every so many steps or seconds.

    Args:
        every_secs: seconds between two times.
        every_steps: steps between two times.

    Raises:
        ValueError: neither or both are given.
    """

    def __init__(self, every_secs: float | None = None, every_steps: int | None = None):
        if (every_secs is None) == (every_steps is None):
            raise ValueError(
                f"A timer needs one of every_secs and every_steps, got {every_secs!r} and {every_steps!r}."
            )
        if every_steps is not None:
            check_int("SecondOrStepTimer", "every_steps", every_steps, 1)
        else:
            check_number("SecondOrStepTimer", "every_secs", every_secs, 0)
        self.every_secs, self.every_steps = every_secs, every_steps
        self.last_step: int | None = None
        self.last_time = time.perf_counter()

    def reset(self) -> None:
        """Forgets when it was due last."""
        self.last_step = None
        self.last_time = time.perf_counter()

    def should_trigger_for_step(self, step: int) -> bool:
        """Whether it is due at a step."""
        if self.last_step is None:
            return True
        if step == self.last_step:
            return False
        if self.every_steps is not None:
            return step >= self.last_step + self.every_steps
        return time.perf_counter() >= self.last_time + (self.every_secs or 0)

    def update_last_triggered_step(self, step: int) -> tuple[float | None, int | None]:
        """Notes that it was done; returns the seconds and steps since the time before."""
        now = time.perf_counter()
        passed = None if self.last_step is None else (now - self.last_time, step - self.last_step)
        self.last_time, self.last_step = now, step
        return passed if passed is not None else (None, None)

    def next_step(self, step: int, rate: float | None) -> int:
        """The step at which to look next."""
        if self.every_steps is not None:
            return max(step + 1, (step if self.last_step is None else self.last_step) + self.every_steps)
        left = max((self.every_secs or 0) - (time.perf_counter() - self.last_time), 0)
        # at least every second, since the rate may change
        return step + max(1, int((rate or 1) * min(max(left, 0.05), 1.0)))


class StopAtStepHook(SessionRunHook):
    """Ends training at a step.

    Args:
        num_steps: after so many steps of this run.
        last_step: at this step of all runs.

    Raises:
        ValueError: neither or both are given.
    """

    def __init__(self, num_steps: int | None = None, last_step: int | None = None):
        if (num_steps is None) == (last_step is None):
            raise ValueError(
                f"StopAtStepHook: give one of num_steps and last_step, got {num_steps!r} and {last_step!r}."
            )
        for name, value in (("num_steps", num_steps), ("last_step", last_step)):
            if value is not None:
                check_int("StopAtStepHook", name, value, 0)
        self._num_steps, self._given = num_steps, last_step
        self._last_step = last_step

    def after_create_session(self, session: Session, coord: Any = None) -> None:
        """Finds out the last step."""
        if self._num_steps is not None:
            self._last_step = session.step + self._num_steps
        if session.step >= (self._last_step or 0):
            session.request_stop()

    def next_step(self, step: int, rate: float | None) -> int | None:
        """The last step."""
        return max(step + 1, self._last_step or 0)

    def after_run(self, run_context: Session, run_values: SessionRunValues) -> None:
        """Ends training."""
        if run_context.step >= (self._last_step or 0):
            run_context.request_stop()


class NanLossDuringTrainingError(RuntimeError):
    """The loss became NaN."""


class NanTensorHook(SessionRunHook):
    """Ends training when the loss is NaN. It looks each time the loop comes back, and at the end.

    Args:
        loss_tensor: "loss".
        fail_on_nan_loss: whether to raise `NanLossDuringTrainingError`, rather than to stop.
    """

    def __init__(self, loss_tensor: Any = "loss", fail_on_nan_loss: bool = True):
        self._name, self._fails = loss_tensor, fail_on_nan_loss

    def next_step(self, step: int, rate: float | None) -> int | None:
        """Every hundred steps; the loop comes back for others too."""
        return step + 100

    def look(self, session: Session) -> None:
        """Looks at the loss."""
        loss = session.run(self._name)
        if loss is None or not np.isnan(loss).any():
            return
        if self._fails:
            raise NanLossDuringTrainingError(
                f"The loss is NaN after step {session.step}. Lower the learning rate, clip gradients, or look for NaN "
                "in the data."
            )
        logger.warning("The loss is NaN after step %d: training stops.", session.step)
        session.request_stop()

    def after_run(self, run_context: Session, run_values: SessionRunValues) -> None:
        """Looks at the loss."""
        self.look(run_context)


def check_hooks(method: str, hooks: Sequence[Any] | None) -> list[SessionRunHook]:
    """Hooks as a list.

    Raises:
        TypeError: something else is among them.
    """
    found = list(hooks or ())
    for hook in found:
        if not isinstance(hook, SessionRunHook):
            raise TypeError(f"{method}: hooks must hold SessionRunHook instances, got {describe(hook)}.")
    return found
