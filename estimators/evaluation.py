"""Evaluation: one pass over data, results that print as a table, and their event files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.callbacks.callback import Callback
from lamina.estimators.hooks import Session, SessionRunHook
from lamina.estimators.inputs import OnePass
from lamina.estimators.variables import GLOBAL_STEP
from lamina.executor.feed import Pass
from lamina.summary import SummaryWriter


class EvaluationResults(dict):
    """Results by name; printed, they are a table.

    Example:
        >>> print(EvaluationResults(loss=np.float32(0.5), global_step=np.int64(100)))
        loss         0.5
        global_step  100
    """

    def __str__(self) -> str:
        width = max(map(len, map(str, self)), default=0)
        return "\n".join(f"{k!s:<{width}}  {_text(v)}" for k, v in self.items())

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{k}</td><td>{_text(v)}</td></tr>" for k, v in self.items())
        return f"<table>{rows}</table>"


def _text(value: Any) -> str:
    array = np.asarray(value)
    return f"{array.item():.6g}" if array.ndim == 0 and array.dtype.kind == "f" else str(value)


class _EachBatch(Callback):
    """Calls the hooks that look at each batch of an evaluation."""

    def __init__(self, session: Session, hooks: Sequence[SessionRunHook]):
        super().__init__()
        self.session, self.hooks = session, hooks
        self._asked: list[Any] = []

    def on_test_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Before a batch."""
        self._asked = [hook.before_run(self.session) for hook in self.hooks]

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """After a batch."""
        self.session.loss = None if logs is None else logs["loss"]
        for hook, asked in zip(self.hooks, self._asked, strict=True):
            hook.after_run(self.session, self.session.values(asked))


def evaluate_model(
    estimator: Any, batches: Pass, steps: int | None, hooks: Sequence[SessionRunHook]
) -> EvaluationResults:
    """Evaluates the model of an estimator on batches.

    Args:
        estimator: the estimator, its weights loaded.
        batches: the batches.
        steps: the most of them.
        hooks: the hooks.
    """
    model = estimator._model
    session = Session(estimator)
    session.step = model.store.step
    hooks = [*hooks, *model.modes["eval"].spec.evaluation_hooks]
    for hook in hooks:
        hook.begin()
    for hook in hooks:
        hook.after_create_session(session, None)
    eager = [h for h in hooks if h.next_step(0, None) is not None]
    model.evaluate(OnePass(batches), steps=steps, verbose=0, callbacks=[_EachBatch(session, eager)] if eager else None)
    found = model.results()
    for hook in hooks:
        hook.end(session)
    return EvaluationResults({k: found[k] for k in sorted(found)} | {GLOBAL_STEP: np.int64(session.step)})


def write_summary(estimator: Any, folder: str, results: dict[str, Any]) -> None:
    """Adds results to the event file of a folder: an estimator has one for all of its evaluations."""
    writer = estimator._writers.setdefault(folder, SummaryWriter(folder))
    if writer.path is not None and not os.path.exists(writer.path):  # removed meanwhile: another file begins
        writer.close()
    values = {k: float(v) for k, v in results.items() if k != GLOBAL_STEP and np.ndim(v) == 0}
    writer.scalars(values, int(results[GLOBAL_STEP]))
