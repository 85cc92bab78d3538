"""Training through `Model.fit`, with hooks called between the steps that they ask for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from lamina.callbacks.callback import Callback
from lamina.estimators.hooks import Session, SessionRunHook
from lamina.estimators.inputs import OnePass
from lamina.executor.feed import Pass


class _Hooks(Callback):
    """Calls hooks after the steps at which they are due; the loop ends a call of compiled code there."""

    def __init__(self, session: Session, hooks: Sequence[SessionRunHook]):
        super().__init__()
        self.session, self.hooks = session, hooks
        self.base = session.step
        self._due: list[int | None] = []
        self._asked: dict[int, Any] = {}
        self._last = time.perf_counter()
        self._chunks = 0

    def plan(self) -> None:
        """Asks each hook when it wants to be called, and those that are due next what they want to see."""
        session, step = self.session, self.session.step
        old = self._due or [step] * len(self.hooks)
        self._due = [
            hook.next_step(step, session.rate) if due is not None and due <= step else due
            for hook, due in zip(self.hooks, old, strict=True)
        ]
        first = min([d for d in self._due if d is not None], default=None)
        self._asked = {}
        for i, hook in enumerate(self.hooks):
            if self._due[i] == first and type(hook).before_run is not SessionRunHook.before_run:
                self._asked[i] = hook.before_run(session)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Before the first step."""
        self.plan()
        self._last = time.perf_counter()

    def next_boundary(self, kind: str, done: int) -> int | None:
        """The nearest step at which a hook is due."""
        steps = [d - self.base for d in self._due if d is not None]
        return min([s for s in steps if s > done], default=None)

    def on_progress(self, kind: str, done: int, logs: Any) -> None:
        """After some steps."""
        if kind != "train":
            return
        session, now = self.session, time.perf_counter()
        self._chunks += 1
        if self._chunks > 2 and now > self._last:  # the first calls compile
            session.rate = (self.base + done - session.step) / (now - self._last)
        self._last = now
        session.step = self.base + done
        due = [i for i, d in enumerate(self._due) if d is not None and d <= session.step]
        if not due:
            return
        session.loss = logs.read()["loss"]
        for i in due:
            self.hooks[i].after_run(session, session.values(self._asked.get(i)))
        if session.stop_requested:
            self.model.stop_training = True
        else:
            self.plan()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """After the last step."""
        self.session.loss = None if logs is None else logs["loss"]


def train(estimator: Any, batches: Pass, hooks: Sequence[SessionRunHook]) -> Session:
    """Trains the model of an estimator on batches until a hook stops it, or they end.

    Args:
        estimator: the estimator; its model has learnt of its variables.
        batches: the batches.
        hooks: the hooks.

    Returns:
        The session, with the number of steps and the last loss.
    """
    model = estimator._model
    session = Session(estimator)
    session.step = model.store.step
    for hook in hooks:
        hook.begin()
    for hook in hooks:
        hook.after_create_session(session, None)
    if not session.stop_requested and batches.peek() is not None:
        model.fit(OnePass(batches), epochs=1, verbose=0, callbacks=[_Hooks(session, hooks)])
    for hook in hooks:
        hook.end(session)
    return session
