"""Callback, the base of all callbacks, and the list that a run calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lamina.core.errors import describe

_BATCH_HOOKS = {
    "train": ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end"),
    "test": ("on_test_batch_begin", "on_test_batch_end"),
    "predict": ("on_predict_batch_begin", "on_predict_batch_end"),
}


class Callback:
    """Hooks that a run calls. Override those you need; `self.model` is the model, `self.params` the run's numbers.

    Hooks see live weights, and may set weights, set the learning rate, or stop training with
    `self.model.stop_training = True`.

    Attributes:
        needs_live_state: whether the batch hooks look at or change weights or the learning rate, so that the run
            must stop after every batch. A callback whose batch hooks use `batch` and `logs` alone should set it to
            False: it then gets the same calls, after each chunk of batches, and small models train several times
            faster.
        runs_last: whether the hooks are called after those of the callbacks that say False, wherever it stands.

    A run that is killed and resumed goes on exactly if each callback that keeps something between hooks returns it
    from `get_state()` and takes it back in `set_state(state)`.

    Example:
        >>> class Losses(Callback):
        ...     needs_live_state = False
        ...     def on_train_begin(self, logs=None):
        ...         self.losses = []
        ...     def on_train_batch_end(self, batch, logs=None):
        ...         self.losses.append(logs["loss"])
    """

    needs_live_state: bool = True
    runs_last: bool = False

    def __init__(self) -> None:
        self.params: dict[str, Any] | None = None
        self._model: Any = None

    @property
    def model(self) -> Any:
        """The model of the run."""
        return self._model

    def set_params(self, params: dict[str, Any]) -> None:
        """Takes the run's numbers: verbose, epochs, steps."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Takes the model."""
        self._model = model

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Called at the start of an epoch."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Called at the end of an epoch, validation included; what is added to `logs` enters the history."""

    def on_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """The old name of `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """The old name of `on_train_batch_end`."""

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Called before a batch is trained on."""
        self.on_batch_begin(batch, logs=logs)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Called after a batch, with the loss and metrics so far in the epoch."""
        self.on_batch_end(batch, logs=logs)

    def on_test_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Called before a batch of evaluation."""

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Called after a batch of evaluation."""

    def on_predict_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Called before a batch of prediction."""

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Called after a batch of prediction, with its outputs in `logs["outputs"]`."""

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Called at the start of fit."""

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Called at the end of fit."""

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Called at the start of an evaluation."""

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Called at the end of an evaluation."""

    def on_predict_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Called at the start of a prediction."""

    def on_predict_end(self, logs: dict[str, Any] | None = None) -> None:
        """Called at the end of a prediction."""

    def on_progress(self, kind: str, done: int, logs: Any) -> None:
        """Called after each chunk of batches of a "train", "test" or "predict" pass with the number of batches done
        and the logs, still on the device.

        `logs.ready()` tells whether they can be read without waiting, `logs.read()` reads them.
        """

    def next_boundary(self, kind: str, done: int) -> int | None:
        """The number of batches of a pass after which `on_progress` must be called, however many are run at a time;
        more than `done`, the number of those run already. None leaves it to the run.
        """
        return None

    def on_train_exit(self) -> None:
        """Called when fit is left, by an error or Ctrl-C too: the place to end threads and close files."""

    def get_state(self) -> dict[str, Any]:
        """What the callback keeps between hooks, for a checkpoint of the run: numbers, text, arrays, lists, dicts."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `get_state` returned, when a run is resumed: after `on_train_begin`, and after
        `on_epoch_begin` if an epoch is gone on with in its middle.
        """

    def overrides(self, *hooks: str) -> bool:
        """Whether a subclass defines one of the hooks."""
        return any(getattr(type(self), h, None) is not getattr(Callback, h) or h in vars(self) for h in hooks)


class CallbackList(Callback):
    """The callbacks of a run, called in order; hooks that nobody overrides cost nothing.

    Args:
        callbacks: callbacks, or one.
        model: the model they are given.
        params: the numbers they are given.
    """

    def __init__(self, callbacks: Any = None, model: Any = None, **params: Any):
        super().__init__()
        if callbacks is None:
            callbacks = []
        elif not isinstance(callbacks, Iterable):
            callbacks = [callbacks]
        self.callbacks: list[Any] = sorted(callbacks, key=lambda c: bool(getattr(c, "runs_last", False)))
        for one in self.callbacks:
            if isinstance(one, type) or not hasattr(one, "on_epoch_end"):
                cure = f" Did you mean {one.__name__}()?" if isinstance(one, type) else ""
                if callable(one) and not cure:
                    cure = " callbacks.LambdaCallback(on_epoch_end=...) runs a function."
                raise TypeError(
                    f"callbacks must hold instances of lamina.callbacks.Callback, got {describe(one)}.{cure}"
                )
        if model is not None:
            self.set_model(model)
        self.set_params(params)
        self._with_boundaries = [c for c in self.callbacks if _overrides(c, "next_boundary")]
        self._with_progress = [c for c in self.callbacks if _overrides(c, "on_progress")]
        self._with_batches = {
            kind: [c for c in self.callbacks if _overrides(c, *hooks)] for kind, hooks in _BATCH_HOOKS.items()
        }

    def append(self, callback: Any) -> None:
        """Adds a callback."""
        self.__init__([*self.callbacks, callback], self._model, **(self.params or {}))  # type: ignore[misc]

    def wants_batches(self, kind: str) -> bool:
        """Whether a callback overrides the batch hooks of "train", "test" or "predict"."""
        return bool(self._with_batches[kind])

    def needs_each_batch(self, kind: str) -> bool:
        """Whether a batch hook may look at live weights, so that batches must be run one by one."""
        return any(getattr(c, "needs_live_state", True) for c in self._with_batches[kind])

    def set_params(self, params: dict[str, Any]) -> None:
        """Hands the run's numbers on."""
        self.params = params
        for c in self.callbacks:
            c.set_params(params)

    def set_model(self, model: Any) -> None:
        """Hands the model on."""
        self._model = model
        for c in self.callbacks:
            c.set_model(model)

    def next_boundary(self, kind: str, done: int) -> int | None:
        """The nearest of the boundaries that callbacks want."""
        wanted = [b for c in self._with_boundaries if (b := c.next_boundary(kind, done)) is not None]
        return min(wanted, default=None)

    def on_train_exit(self) -> None:
        """Lets all clean up; the first error is raised once they have."""
        failure: Exception | None = None
        for c in self.callbacks:
            try:
                getattr(c, "on_train_exit", _nothing)()
            except Exception as error:  # noqa: BLE001
                failure = failure or error
        if failure is not None:
            raise failure

    def on_progress(self, kind: str, done: int, logs: Any) -> None:
        """Calls those that follow the progress."""
        for c in self._with_progress:
            c.on_progress(kind, done, logs)


def _nothing() -> None:
    pass


def _overrides(callback: Any, *hooks: str) -> bool:
    if isinstance(callback, Callback):
        return callback.overrides(*hooks)
    return any(hasattr(callback, h) for h in hooks)


def _forward(hook: str, kind: str | None) -> Any:
    if kind is not None:

        def batch_hook(self: CallbackList, batch: int, logs: dict[str, Any] | None = None) -> None:
            for c in self._with_batches[kind]:
                getattr(c, hook)(batch, logs)

        return batch_hook
    if "epoch" in hook:

        def epoch_hook(self: CallbackList, epoch: int, logs: dict[str, Any] | None = None) -> None:
            for c in self.callbacks:
                getattr(c, hook)(epoch, logs)

        return epoch_hook

    def run_hook(self: CallbackList, logs: dict[str, Any] | None = None) -> None:
        for c in self.callbacks:
            getattr(c, hook)(logs)

    return run_hook


for _kind, _hooks in _BATCH_HOOKS.items():
    for _hook in _hooks:
        setattr(CallbackList, _hook, _forward(_hook, _kind))
for _hook in (
    "on_epoch_begin on_epoch_end on_train_begin on_train_end on_test_begin on_test_end on_predict_begin on_predict_end"
).split():
    setattr(CallbackList, _hook, _forward(_hook, None))
