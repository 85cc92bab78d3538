"""Hooks that end training by what evaluations find, and one that evaluates in memory."""

from __future__ import annotations

import glob
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lamina.core.checks import check_int
from lamina.core.errors import describe
from lamina.estimators.evaluation import EvaluationResults, evaluate_model, write_summary
from lamina.estimators.hooks import SecondOrStepTimer, Session, SessionRunHook, SessionRunValues, check_hooks
from lamina.estimators.inputs import Epochs
from lamina.estimators.modes import ModeKeys
from lamina.wire.event import Event
from lamina.wire.tfrecord import RecordReader

logger = logging.getLogger("lamina.estimators")


def read_eval_metrics(eval_dir: str | os.PathLike) -> OrderedDict[int, dict[str, float]]:
    """The scalars of all evaluations in a folder of event files: a dict by name, for each step, in order.

    Args:
        eval_dir: the folder, such as `estimator.eval_dir()`.
    """
    found: dict[int, dict[str, float]] = {}
    for path in sorted(glob.glob(os.path.join(glob.escape(os.fspath(eval_dir)), "*tfevents*"))):
        with open(path, "rb") as file:
            for record in RecordReader(file, path):
                event = Event.FromString(record)
                for value in event.summary.value:
                    number = _number(value)
                    if number is not None:
                        found.setdefault(event.step, {})[value.tag] = number
    return OrderedDict(sorted(found.items()))


def _number(value: Any) -> float | None:
    """The number of a summary, in either of the forms that event files have."""
    if value.HasField("simple_value"):
        return float(value.simple_value)
    if not value.HasField("tensor"):
        return None
    tensor = value.tensor
    if tensor.tensor_shape.dim:
        return None
    if tensor.float_val:
        return float(tensor.float_val[0])
    return float(np.frombuffer(tensor.tensor_content, np.float32)[0]) if len(tensor.tensor_content) == 4 else None


class _Stops(SessionRunHook):
    """Ends training when a function says so, asked every so many steps or seconds."""

    def __init__(self, should_stop: Callable[[], bool], every_secs: float | None, every_steps: int | None):
        self._should_stop = should_stop
        self._timer = SecondOrStepTimer(every_secs, every_steps)

    def begin(self) -> None:
        """Starts anew."""
        self._timer.reset()

    def after_create_session(self, session: Session, coord: Any = None) -> None:
        """Asks before the first step."""
        self._timer.update_last_triggered_step(session.step)
        self._ask(session)

    def next_step(self, step: int, rate: float | None) -> int | None:
        """When to ask next."""
        return self._timer.next_step(step, rate)

    def after_run(self, run_context: Session, run_values: SessionRunValues) -> None:
        """Asks, if it is time."""
        if self._timer.should_trigger_for_step(run_context.step):
            self._timer.update_last_triggered_step(run_context.step)
            self._ask(run_context)

    def _ask(self, session: Session) -> None:
        if self._should_stop():
            logger.info("Early stopping at step %d.", session.step)
            session.request_stop()


def make_early_stopping_hook(
    estimator: Any,
    should_stop_fn: Callable[[], bool],
    run_every_secs: float | None = 60,
    run_every_steps: int | None = None,
) -> SessionRunHook:
    """A hook that ends training when a function says so.

    Args:
        estimator: the estimator.
        should_stop_fn: called without arguments; True ends training.
        run_every_secs: seconds between two calls.
        run_every_steps: steps between two calls; then give `run_every_secs=None`.

    Raises:
        ValueError: both or neither of run_every_secs and run_every_steps are given.
        TypeError: should_stop_fn is no function.
    """
    if not callable(should_stop_fn):
        raise TypeError(f"make_early_stopping_hook: should_stop_fn must be a function, got {describe(should_stop_fn)}.")
    return _Stops(should_stop_fn, run_every_secs, run_every_steps)


def _metrics_of(estimator: Any, eval_dir: str | None, metric: str, min_steps: int) -> list[tuple[int, float]]:
    """The values of a metric by step, from `min_steps` on."""
    results = read_eval_metrics(eval_dir or estimator.eval_dir())
    return [(step, values[metric]) for step, values in results.items() if step >= min_steps and metric in values]


def _threshold_hook(
    estimator: Any,
    metric_name: str,
    passes: Callable[[float], bool],
    eval_dir: str | None,
    min_steps: int,
    secs: float | None,
    steps: int | None,
) -> SessionRunHook:
    def should_stop() -> bool:
        return any(passes(value) for _, value in _metrics_of(estimator, eval_dir, metric_name, min_steps))

    return make_early_stopping_hook(estimator, should_stop, secs, steps)


def stop_if_higher_hook(
    estimator: Any,
    metric_name: str,
    threshold: float,
    eval_dir: str | None = None,
    min_steps: int = 0,
    run_every_secs: float | None = 60,
    run_every_steps: int | None = None,
) -> SessionRunHook:
    """A hook that ends training once a metric of an evaluation is above a threshold.

    Args:
        estimator: the estimator.
        metric_name: the metric, as "accuracy".
        threshold: the threshold.
        eval_dir: the folder of the evaluations' events; `estimator.eval_dir()` by default.
        min_steps: evaluations before this step do not count.
        run_every_secs: seconds between two looks.
        run_every_steps: steps between two looks; then give `run_every_secs=None`.
    """
    return _threshold_hook(
        estimator, metric_name, lambda v: v > threshold, eval_dir, min_steps, run_every_secs, run_every_steps
    )


def stop_if_lower_hook(
    estimator: Any,
    metric_name: str,
    threshold: float,
    eval_dir: str | None = None,
    min_steps: int = 0,
    run_every_secs: float | None = 60,
    run_every_steps: int | None = None,
) -> SessionRunHook:
    """A hook that ends training once a metric of an evaluation is below a threshold; see `stop_if_higher_hook`."""
    return _threshold_hook(
        estimator, metric_name, lambda v: v < threshold, eval_dir, min_steps, run_every_secs, run_every_steps
    )


def _change_hook(
    estimator: Any,
    metric_name: str,
    max_steps: int,
    better: Callable[[float, float], bool],
    eval_dir: str | None,
    min_steps: int,
    secs: float | None,
    steps: int | None,
) -> SessionRunHook:
    def should_stop() -> bool:
        best: float | None = None
        best_step = 0
        for step, value in _metrics_of(estimator, eval_dir, metric_name, min_steps):
            if best is None or better(value, best):
                best, best_step = value, step
            elif step - best_step >= max_steps:
                return True
        return False

    return make_early_stopping_hook(estimator, should_stop, secs, steps)


def stop_if_no_increase_hook(
    estimator: Any,
    metric_name: str,
    max_steps_without_increase: int,
    eval_dir: str | None = None,
    min_steps: int = 0,
    run_every_secs: float | None = 60,
    run_every_steps: int | None = None,
) -> SessionRunHook:
    """A hook that ends training when a metric of evaluations has not risen for so many steps."""
    check_int("stop_if_no_increase_hook", "max_steps_without_increase", max_steps_without_increase, 1)
    return _change_hook(
        estimator,
        metric_name,
        max_steps_without_increase,
        lambda new, old: new > old,
        eval_dir,
        min_steps,
        run_every_secs,
        run_every_steps,
    )


def stop_if_no_decrease_hook(
    estimator: Any,
    metric_name: str,
    max_steps_without_decrease: int,
    eval_dir: str | None = None,
    min_steps: int = 0,
    run_every_secs: float | None = 60,
    run_every_steps: int | None = None,
) -> SessionRunHook:
    """A hook that ends training when a metric of evaluations has not fallen for so many steps."""
    check_int("stop_if_no_decrease_hook", "max_steps_without_decrease", max_steps_without_decrease, 1)
    return _change_hook(
        estimator,
        metric_name,
        max_steps_without_decrease,
        lambda new, old: new < old,
        eval_dir,
        min_steps,
        run_every_secs,
        run_every_steps,
    )


class InMemoryEvaluatorHook(SessionRunHook):
    """Evaluates the weights in memory during training, without checkpoints.

    Args:
        estimator: the estimator that trains.
        input_fn: see `Estimator.evaluate`.
        steps: the most batches; None for all.
        hooks: hooks for the evaluations.
        name: the name of the evaluation.
        every_n_iter: steps between two evaluations; there is one at the start and one at the end too.

    Attributes:
        results: the results so far, in order.
    """

    def __init__(
        self,
        estimator: Any,
        input_fn: Callable[..., Any],
        steps: int | None = None,
        hooks: Sequence[SessionRunHook] | None = None,
        name: str | None = None,
        every_n_iter: int = 100,
    ):
        if not callable(input_fn):
            raise TypeError(f"InMemoryEvaluatorHook: input_fn must be a function, got {describe(input_fn)}.")
        self._estimator, self._input_fn, self._steps, self._name = estimator, input_fn, steps, name
        self._hooks = check_hooks("InMemoryEvaluatorHook", hooks)
        self._timer = SecondOrStepTimer(every_steps=check_int("InMemoryEvaluatorHook", "every_n_iter", every_n_iter, 1))
        self.results: list[EvaluationResults] = []
        self._last: int | None = None

    def after_create_session(self, session: Session, coord: Any = None) -> None:
        """Evaluates before the first step."""
        self._timer.reset()
        self._timer.update_last_triggered_step(session.step)
        self._evaluate(session)

    def next_step(self, step: int, rate: float | None) -> int | None:
        """When the next evaluation is due."""
        return self._timer.next_step(step, rate)

    def after_run(self, run_context: Session, run_values: SessionRunValues) -> None:
        """Evaluates, if it is time."""
        if self._timer.should_trigger_for_step(run_context.step):
            self._timer.update_last_triggered_step(run_context.step)
            self._evaluate(run_context)

    def end(self, session: Session) -> None:
        """Evaluates after the last step."""
        if self._last != session.step:
            self._evaluate(session)

    def _evaluate(self, session: Session) -> None:
        estimator = self._estimator
        batches = Epochs(estimator._batches("evaluate", self._input_fn, ModeKeys.EVAL).source(), 1)
        estimator._learn(ModeKeys.EVAL, estimator._first("evaluate", batches))
        results = evaluate_model(estimator, batches, self._steps, self._hooks)
        self.results.append(results)
        self._last = session.step
        write_summary(estimator, estimator.eval_dir(self._name), results)
