"""train_and_evaluate: training with evaluations in between, checkpoint by checkpoint."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from lamina.core.checks import check_int, check_number
from lamina.core.errors import describe, listing
from lamina.estimators.estimator import Estimator
from lamina.estimators.evaluation import EvaluationResults
from lamina.estimators.exporters import Exporter
from lamina.estimators.hooks import Session, SessionRunHook, check_hooks
from lamina.estimators.run_config import TaskType
from lamina.estimators.saving import CheckpointSaverListener
from lamina.estimators.variables import GLOBAL_STEP

logger = logging.getLogger("lamina.estimators")


def _check_input_fn(owner: str, input_fn: Any) -> Callable[..., Any]:
    if not callable(input_fn):
        raise TypeError(f"{owner}: input_fn must be a function that returns a Dataset, got {describe(input_fn)}.")
    return input_fn


class TrainSpec:
    """How to train.

    Args:
        input_fn: see `Estimator.train`.
        max_steps: the number of steps of all runs to stop at; None trains until the data ends.
        hooks: hooks for training.
        saving_listeners: listeners for checkpoints.

    Raises:
        ValueError: max_steps is below 1.
        TypeError: input_fn is no function.
    """

    def __init__(
        self,
        input_fn: Callable[..., Any],
        max_steps: int | None = None,
        hooks: Sequence[SessionRunHook] | None = None,
        saving_listeners: Sequence[CheckpointSaverListener] | None = None,
    ):
        self.input_fn = _check_input_fn("TrainSpec", input_fn)
        self.max_steps = None if max_steps is None else check_int("TrainSpec", "max_steps", max_steps, 1)
        self.hooks = tuple(check_hooks("TrainSpec", hooks))
        self.saving_listeners = tuple(saving_listeners or ())


class EvalSpec:
    """How to evaluate, and what to export.

    Args:
        input_fn: see `Estimator.evaluate`.
        steps: the most batches of an evaluation; None for all.
        name: the name of the evaluation, where there are several.
        hooks: hooks for evaluation.
        exporters: an `Exporter`, or several with different names.
        start_delay_secs: an evaluation by a process of its own waits so long before the first.
        throttle_secs: seconds between two evaluations, at least.

    Raises:
        ValueError: a number is out of range, or two exporters share a name.
        TypeError: input_fn is no function, or something else is among the exporters.
    """

    def __init__(
        self,
        input_fn: Callable[..., Any],
        steps: int | None = 100,
        name: str | None = None,
        hooks: Sequence[SessionRunHook] | None = None,
        exporters: Any = None,
        start_delay_secs: float = 120,
        throttle_secs: float = 600,
    ):
        owner = "EvalSpec"
        self.input_fn = _check_input_fn(owner, input_fn)
        self.steps = None if steps is None else check_int(owner, "steps", steps, 1)
        if name is not None and (not isinstance(name, str) or not name):
            raise TypeError(f"{owner}: name must be a text, got {describe(name)}.")
        self.name = name
        self.hooks = tuple(check_hooks(owner, hooks))
        if exporters is not None and not isinstance(exporters, (list, tuple)):
            exporters = [exporters]
        self.exporters: tuple[Any, ...] = tuple(exporters or ())
        for one in self.exporters:
            if not isinstance(one, Exporter):
                raise TypeError(f"{owner}: exporters must hold Exporter instances, got {describe(one)}.")
        names = [e.name for e in self.exporters]
        if len(set(names)) < len(names):
            raise ValueError(f"{owner}: the names of exporters must differ, got {listing(names, 'and')}.")
        self.start_delay_secs = check_number(owner, "start_delay_secs", start_delay_secs, 0)
        self.throttle_secs = check_number(owner, "throttle_secs", throttle_secs, 0)


class _Evaluation:
    """One evaluation after another, with their exports."""

    def __init__(self, estimator: Estimator, spec: EvalSpec, max_steps: int | None):
        self.estimator, self.spec, self.max_steps = estimator, spec, max_steps
        self.done: str | None = None
        self.results: EvaluationResults | None = None
        self.exported: list[Any] = []

    def run(self, last: bool = False) -> bool:
        """Evaluates the latest checkpoint unless it was; returns whether training has come to its end."""
        latest = self.estimator.latest_checkpoint()
        if latest is None:
            return False
        if latest != self.done:
            spec = self.spec
            self.results = self.estimator.evaluate(spec.input_fn, spec.steps, spec.hooks, latest, spec.name)
            self.done = latest
        step = int(self.results[GLOBAL_STEP]) if self.results is not None else 0
        ended = last or (self.max_steps is not None and step >= self.max_steps)
        self.exported = [self._export(one, latest, ended) for one in self.spec.exporters]
        return ended

    def _export(self, exporter: Any, checkpoint: str, ended: bool) -> Any:
        folder = os.path.join(self.estimator.model_dir, "export", exporter.name)
        return exporter.export(self.estimator, folder, checkpoint, self.results, ended)


class _EvaluatesCheckpoints(CheckpointSaverListener):
    """Evaluates each new checkpoint, but not more often than asked for."""

    def __init__(self, evaluation: _Evaluation, throttle_secs: float):
        self.evaluation, self.throttle = evaluation, throttle_secs
        self._last = time.monotonic()
        self._first = True

    def after_save(self, session: Session, global_step_value: int) -> bool | None:
        """Evaluates, if enough time has passed; the checkpoint at the start of a run is left out."""
        if self._first:
            self._first = False
            return None
        if time.monotonic() - self._last < self.throttle:
            return None
        if self.evaluation.max_steps is not None and global_step_value >= self.evaluation.max_steps:
            return None  # the last one is evaluated when training has ended
        self._last = time.monotonic()
        self.evaluation.run()
        return None


def train_and_evaluate(
    estimator: Estimator, train_spec: TrainSpec, eval_spec: EvalSpec
) -> tuple[EvaluationResults | None, list[Any]]:
    """Trains, evaluates new checkpoints on the way and the last one, and exports.

    In a process that TF_CONFIG calls the "evaluator" it only evaluates: each new checkpoint, until one has
    `max_steps`.

    Args:
        estimator: the estimator.
        train_spec: how to train.
        eval_spec: how to evaluate.

    Returns:
        The results of the last evaluation, and what each exporter returned.

    Raises:
        TypeError: an argument is something else.
    """
    for name, value, kind in (
        ("estimator", estimator, Estimator),
        ("train_spec", train_spec, TrainSpec),
        ("eval_spec", eval_spec, EvalSpec),
    ):
        if not isinstance(value, kind):
            raise TypeError(f"train_and_evaluate: {name} must be of type {kind.__name__}, got {describe(value)}.")
    evaluation = _Evaluation(estimator, eval_spec, train_spec.max_steps)
    if estimator.config.task_type == TaskType.EVALUATOR:
        return _evaluate_continuously(estimator, evaluation, eval_spec)
    listener = _EvaluatesCheckpoints(evaluation, eval_spec.throttle_secs)
    estimator.train(
        train_spec.input_fn,
        list(train_spec.hooks),
        max_steps=train_spec.max_steps,
        saving_listeners=[*train_spec.saving_listeners, listener],
    )
    evaluation.run(last=True)
    return evaluation.results, evaluation.exported


def _evaluate_continuously(
    estimator: Estimator, evaluation: _Evaluation, spec: EvalSpec
) -> tuple[EvaluationResults | None, list[Any]]:
    """Waits for checkpoints and evaluates them, until training has ended."""
    time.sleep(spec.start_delay_secs)
    while True:
        began = time.monotonic()
        if estimator.latest_checkpoint() != evaluation.done and evaluation.run():
            return evaluation.results, evaluation.exported
        time.sleep(max(0.1, min(spec.throttle_secs - (time.monotonic() - began), 10.0)))
