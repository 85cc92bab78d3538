"""TrainingRun: where a fit stands, as tensors that a checkpoint holds, and back."""

from __future__ import annotations

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.callbacks.callback import CallbackList
from lamina.checkpoint.manager import INFO
from lamina.checkpoint.matching import match_tensors
from lamina.checkpoint.meta import meta_graph_bytes
from lamina.checkpoint.writer import FILES
from lamina.core.errors import describe, did_you_mean, owner_label
from lamina.executor.feed import Pass, Source
from lamina.executor.lease import Lease
from lamina.executor.program import Logs
from lamina.training.steps import Layout

STEP = "global_step"
STATE = "training_run/state"
ARRAYS = "training_run/arrays/"
VERSION = 1
MODEL_JSON = "lamina_model_json"


class TrainingRun:
    """A fit that is under way; callbacks find it as `model.training_run`.

    Attributes:
        epoch: the number of the epoch.
        passes: the passes over the data that were begun before this one.
        done: the batches of the epoch that are done.
        taken: the batches of the pass that are done; more than `done` if `steps_per_epoch` splits a pass.
        logs: the logs of the last chunk of batches.
        saved: the position that is to be taken up, or None.
        leaving: whether an evaluation on the way is to end, since the process is to.
    """

    def __init__(
        self,
        model: Any,
        layout: Layout,
        lease: Lease,
        source: Source,
        validation: Source | None,
        watchers: CallbackList,
    ):
        self.model, self.layout, self.lease = model, layout, lease
        self.source, self.validation, self.watchers = source, validation, watchers
        self.epoch = self.passes = self.done = self.taken = 0
        self.base = model._steps_done
        self.leaving = False
        self.logs: Logs | dict[str, Any] | None = None
        self.batches: Pass | None = None
        self.saved: Any = None
        self._tensors: dict[str, Any] = {}
        self._names = _names(layout)

    @property
    def step(self) -> int:
        """The steps of training that the model has had."""
        return self.base + self.done

    # ---- the course of it

    def begin_pass(self, continues: bool) -> Pass:
        """The batches of the epoch: the rest of a pass if `continues`, as with `steps_per_epoch`, else a new one."""
        if self.batches is not None and continues and not self.done and self.batches.peek() is None:
            self.batches, self.passes, self.taken = None, self.passes + 1, 0
        if self.batches is None:
            self.batches = self.source.epoch(self.passes)
        return self.batches

    def advance(self, done: int, logs: Logs) -> None:
        """Notes that `done` batches of the epoch are done."""
        self.taken += done - self.done
        self.done, self.logs = done, logs

    def read_logs(self) -> dict[str, Any]:
        """The logs of the last batch."""
        return dict(self.logs) if isinstance(self.logs, dict) else self.logs.read()  # type: ignore[union-attr]

    def end_pass(self, continues: bool) -> None:
        """Notes that the batches of the epoch are done."""
        if not continues:
            self.batches, self.passes, self.taken = None, self.passes + 1, 0

    def next_epoch(self) -> None:
        """Goes on to the next epoch."""
        self.base, self.done, self.logs = self.step, 0, None
        self.epoch += 1

    # ---- out

    @property
    def savable(self) -> bool:
        """Whether the position can be told right now: no batch of another shape waits, nobody has ended the epoch."""
        return not (self.batches is not None and self.batches.holding) and not self.model.stop_training

    def capture(self, between_epochs: bool = False) -> dict[str, Any]:
        """The state of the run as tensors for `CheckpointManager.save`.

        Args:
            between_epochs: whether the epoch has ended, so that the next one is to be begun.
        """
        arrays: dict[str, Any] = {}
        state = {
            "version": VERSION,
            "epoch": self.epoch + between_epochs,
            "batch": 0 if between_epochs else self.done,
            "passes": self.passes,
            "taken": self.taken,
            "step": self.step,
            "seed": self.model._seed,
            "stopped": bool(self.model.stop_training),
            "data": self.source.get_state(),
            "validation": None if self.validation is None else self.validation.get_state(),
            "callbacks": [[type(c).__name__, _state_of(c)] for c in self.watchers.callbacks],
        }
        text = json.dumps(_encode(state, arrays))  # now: callbacks go on changing what they keep
        logs = None if between_epochs else self.logs

        def written() -> bytes:
            read = logs.read() if isinstance(logs, Logs) else logs
            more = json.dumps({} if read is None else {k: np.asarray(v).tolist() for k, v in read.items()})
            return f'{{"run": {text}, "logs": {more}}}'.encode()

        tensors = dict(zip(self._names, self.lease.values, strict=False))  # the last value is the seed
        return {STEP: np.int64(self.step), STATE: written, **tensors, **arrays}

    def meta(self) -> bytes:
        """The contents of a checkpoint's `.meta` file: the variables, and the model's JSON if it has one."""
        trainable = self._names[: self.layout.counts[0]]
        variables = {n: (v.dtype, tuple(v.shape)) for n, v in zip(self._names, self.layout.variables, strict=True)} | {
            STEP: ("int64", ())
        }
        try:
            texts = {MODEL_JSON: self.model.to_json()}
        except (TypeError, ValueError, NotImplementedError):  # a model of code that has no configuration
            texts = {}
        return meta_graph_bytes(variables, trainable=trainable, texts=texts)

    # ---- in

    def announce(self, tensors: dict[str, Any], where: str) -> None:
        """Takes note of a saved state, which `take_up` brings back once the run has come to its place.

        Raises:
            ValueError: the state is of another model; the message lists what differs.
        """
        label = f"{owner_label(self.model)}: cannot go on from '{where}'"
        if STATE not in tensors:
            raise ValueError(f"{label}: it holds no state of a run. load_weights reads weights alone.")
        try:
            whole = json.loads(tensors[STATE])
            saved, logs = whole["run"], whole["logs"]
            if saved["version"] != VERSION:
                raise ValueError(f"{label}: it has version {saved['version']}, this version of lamina reads {VERSION}.")
            self.saved = {**_decode(saved, tensors), "logs": logs}
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{label}: its state of the run cannot be read ({error!r}).") from error
        known = {n: t for n, t in tensors.items() if not n.startswith(ARRAYS) and n not in (STEP, STATE, INFO, FILES)}
        own = dict(zip(self._names, self.layout.variables, strict=True))
        shapes = {n: np.shape(t) for n, t in known.items()}, {n: tuple(v.shape) for n, v in own.items()}
        report = match_tensors(label, where, *shapes, skip_mismatch=True)
        dtypes = [
            f"'{n}' is {own[n].dtype}, in the file {known[n].dtype}"
            for n in report.loaded
            if np.dtype(own[n].dtype) != known[n].dtype
        ]
        if not report.complete or dtypes:
            hint = did_you_mean(report.missing[0], report.unexpected) if report.missing else ""
            raise ValueError(
                f"{label}: the model, its optimizer or its metrics have changed: "
                f"{'; '.join([str(report), *dtypes[:8]])}.{hint} Train with another folder, or "
                "load_weights(..., skip_mismatch=True) from this one."
            )
        self._tensors = {n: known[n] for n in self._names}
        self.epoch, self.done = self.saved["epoch"], self.saved["batch"]

    def take_up(self) -> None:
        """Brings back the values, the position in the data and the state of the callbacks, as announced."""
        saved, self.saved = self.saved, None
        for i, name in enumerate(self._names):
            self.lease.values[i] = jnp.array(self._tensors[name], copy=True)
        self._tensors = {}
        model = self.model
        model.__dict__["_seed_value"] = saved["seed"]
        self.lease.values[len(self._names) :] = [np.uint32(saved["seed"] % 2**32)]
        model.stop_training = saved["stopped"]
        self.passes, self.taken, self.logs = saved["passes"], saved["taken"], saved["logs"] or None
        self.base = saved["step"] - self.done
        self.batches = self.source.set_state(saved["data"], self.passes, self.taken)
        if self.validation is not None and saved["validation"] is not None:
            self.validation.set_state(saved["validation"], 0, 0)
        self._restore_callbacks(saved["callbacks"])

    def _restore_callbacks(self, states: list[list[Any]]) -> None:
        """Hands each state to the callback of its class, in order; those that are new start afresh."""
        waiting = list(self.watchers.callbacks)
        for kind, state in states:
            one = next((c for c in waiting if type(c).__name__ == kind), None)
            if one is not None:
                waiting.remove(one)
                if state:
                    one.set_state(state)


def _state_of(callback: Any) -> Any:
    get_state = getattr(callback, "get_state", None)
    return get_state() if callable(get_state) else {}


def _names(layout: Layout) -> list[str]:
    """The names under which the variables are saved: weights by their paths, the others below what they belong to."""
    weights = layout.counts[0] + layout.counts[1]
    names: list[str] = []
    seen: set[str] = set()
    for i, v in enumerate(layout.variables):
        group = "" if i < weights else "optimizer/" if i < weights + layout.counts[2] else "metrics/"
        name, number = f"{group}{v.path}", 1
        while name in seen:
            name, number = f"{group}{v.path}_{number}", number + 1
        seen.add(name)
        names.append(name)
    return names


def _encode(value: Any, arrays: dict[str, Any]) -> Any:
    """Plain values for JSON; arrays go into `arrays`, and their names stand in their place."""
    if isinstance(value, (np.ndarray, jax.Array)) and np.ndim(value):
        name = f"{ARRAYS}{len(arrays)}"
        arrays[name] = value
        return {"__array__": name}
    if isinstance(value, (np.generic, np.ndarray, jax.Array)):
        return np.asarray(value).item()
    if isinstance(value, bytes):
        return {"__bytes__": value.hex()}
    if isinstance(value, dict):
        return {str(k): _encode(v, arrays) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode(v, arrays) for v in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(
        f"The state of a run must be made of numbers, text, arrays, lists and dicts, got {describe(value)}. Let "
        "get_state() return plain values."
    )


def _decode(value: Any, tensors: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        if "__array__" in value:
            return tensors[value["__array__"]]
        if "__bytes__" in value:
            return bytes.fromhex(value["__bytes__"])
        return {k: _decode(v, tensors) for k, v in value.items()}
    return [_decode(v, tensors) for v in value] if isinstance(value, list) else value
