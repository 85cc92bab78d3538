"""The variables of a model_fn: found by name, so that each run of the function meets the same ones."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from lamina import initializers, regularizers
from lamina.core.errors import ShapeError, did_you_mean
from lamina.state.frame import Frame, current_frame
from lamina.state.variable import Variable

GLOBAL_STEP = "global_step"

_scope: ContextVar[str] = ContextVar("variable_scope", default="")


@contextlib.contextmanager
def variable_scope(name: str) -> Iterator[str]:
    """Within the scope, names of new variables start with `name/`; scopes nest.

    Example:
        >>> with variable_scope("dnn"), variable_scope("logits") as path:
        ...     path
        'dnn/logits/'
    """
    token = _scope.set(f"{_scope.get()}{name}/")
    try:
        yield _scope.get()
    finally:
        _scope.reset(token)


@contextlib.contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Within the scope, initializers without a seed of their own draw from `seed`; other draws go on as before."""
    state = random.getstate()
    if seed is not None:
        random.seed(seed)
    try:
        yield
    finally:
        if seed is not None:
            random.setstate(state)


class VariableStore:
    """The variables of an estimator by name, the number of steps among them.

    Attributes:
        weights: the variables that checkpoints hold.
        metrics: for each mode, the variables of its metrics by name.
        tables: names of variables that are only ever looked up by row.
    """

    def __init__(self) -> None:
        self.weights: dict[str, Variable] = {}
        self.metrics: dict[str, dict[str, Variable]] = {}
        self.add(GLOBAL_STEP, Variable(np.zeros((), "int32"), trainable=False, autocast=False))

    def add(self, name: str, variable: Variable) -> Variable:
        """Takes a variable in under a name."""
        variable.path = name
        variable.name = name.rpartition("/")[2]
        self.weights[name] = variable
        return variable

    @property
    def step(self) -> int:
        """The number of steps done."""
        return int(self.weights[GLOBAL_STEP].stored)

    @step.setter
    def step(self, value: int) -> None:
        self.weights[GLOBAL_STEP].assign(np.int32(value))


class ModelFrame(Frame):
    """The frame of one run of a model_fn.

    Layers and metrics that the function makes are new objects at each run; their variables are matched with those of
    the store by name. Names are paths, numbered in order of use where two are alike.

    Args:
        store: the store.
        variables: the variables whose values are given.
        values: their values.
        key: the random key of the run.
        local: variables of metrics by name; None while the function is run for the first time, to learn of variables.
        taps: zeros to add to the rows looked up, by the gradients of which rows are updated.
    """

    def __init__(
        self,
        store: VariableStore,
        variables: Sequence[Variable],
        values: Sequence[Any],
        key: Any = None,
        local: dict[str, Variable] | None = None,
        taps: Sequence[Any] | None = None,
    ):
        super().__init__(variables, values, key)
        self.store, self.local = store, local
        self.learns = local is None
        self.found: dict[str, Variable] = {}  # name -> variable that this run made
        self.found_metrics: dict[str, Variable] = {}  # the like of metrics
        self.reads: set[str] = set()  # names of variables read as a whole
        self.taps = list(taps or ())
        self.lookups: list[tuple[Variable, Any]] = []
        self._outer: dict[int, tuple[Variable, Variable]] = {}
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def outer(self, variable: Variable) -> Variable:
        """The store's variable that a variable of this run stands for."""
        if id(variable) in self._values:
            return variable
        if id(variable) in self._outer:
            return self._outer[id(variable)][1]
        name = self._free(_scope.get(), variable.path)
        if variable.of_metric:
            return self._metric_state(name, variable)
        found = self.store.weights.get(name)
        if found is None:
            if not self.learns:
                raise RuntimeError(
                    f"model_fn: variable '{name}' was not there when the function ran first. A model_fn must make the "
                    "same variables each time it is called for a mode."
                )
            found = self.found[name] = variable
            self._values[id(variable)] = variable._cell
        elif found.shape != variable.shape:
            raise ShapeError(
                f"model_fn: variable '{name}' has the shape {found.shape}, but is now made with {variable.shape}. Give "
                "the two variables different names."
            )
        elif id(found) not in self._values:
            self._values[id(found)] = found.stored
        self._outer[id(variable)] = (variable, found)
        return found

    def _metric_state(self, name: str, variable: Variable) -> Variable:
        """What a metric's variable stands for: that of the evaluation, or itself, starting anew with each batch."""
        found = (self.local or {}).get(name)
        if found is None:
            found = self.found_metrics[name] = variable
            self._values[id(variable)] = variable._cell
        self._outer[id(variable)] = (variable, found)
        return found

    def _free(self, scope: str, path: str) -> str:
        """A name that is not taken: the layer's name in `path` gets a number if need be."""
        head, slash, rest = path.partition("/")
        number = self._numbers.get(scope + head, 0)
        while True:
            candidate = f"{scope}{head}_{number}{slash}{rest}" if number else scope + path
            if candidate not in self._taken:
                break
            number += 1
        self._numbers[scope + head] = number
        self._taken.add(candidate)
        return candidate

    def read(self, variable: Variable) -> Any:
        """The value of a variable in this frame."""
        variable = self.outer(variable)
        self.reads.add(variable.path)
        return self._values[id(variable)]

    def write(self, variable: Variable, value: Any) -> None:
        """Sets the value of a variable in this frame."""
        self._values[id(self.outer(variable))] = value

    def value_of(self, variable: Variable) -> Any:
        """The value of a variable of the store, or of this run."""
        return self._values[id(self.outer(variable))]

    def lookup(self, table: Variable, ids: Any) -> Any:
        """Rows of a table; where taps are given, gradients reach the rows alone, not the table."""
        table = self.outer(table)
        number = len(self.lookups)
        self.lookups.append((table, ids))
        rows = jnp.take(self._values[id(table)], ids, axis=0, mode="clip")
        if number < len(self.taps) and self.taps[number] is not None:
            rows = jax.lax.stop_gradient(rows) + self.taps[number]
        return rows


def model_frame(what: str) -> ModelFrame:
    """The frame of the running model_fn; an error outside one."""
    frame = current_frame()
    if not isinstance(frame, ModelFrame):
        raise RuntimeError(f"{what} works inside a model_fn only, while an Estimator calls it.")
    return frame


def get_variable(
    name: str,
    shape: Any = None,
    dtype: Any = "float32",
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool = True,
    constraint: Any = None,
) -> Variable:
    """The variable of a name within a model_fn; it is made at the first call.

    Args:
        name: the name; the scopes around the call come before it.
        shape: the shape; an array given as initializer has its own.
        dtype: the dtype.
        initializer: a name, an initializer, a function of shape and dtype, or an array; Glorot uniform by default.
        regularizer: a penalty, added to the loss by heads.
        trainable: whether optimizers change it.
        constraint: a function that each update is passed through.

    Raises:
        RuntimeError: no model_fn is running.
        ShapeError: there is such a variable with another shape.
    """
    frame = model_frame(f"get_variable({name!r})")
    full = _scope.get() + name
    shape = None if shape is None else tuple(int(d) for d in ((shape,) if isinstance(shape, int) else shape))
    found = frame.store.weights.get(full)
    if found is None:
        found = frame.found.get(full)
    if found is None:
        if not frame.learns:
            raise RuntimeError(
                f"model_fn: variable '{full}' was not there when the function ran first."
                f"{did_you_mean(full, frame.store.weights)}"
            )
        if shape is None and not hasattr(initializer, "shape"):
            raise ValueError(f"get_variable: new variable '{full}' needs shape=... or an array as initializer.")
        start = "glorot_uniform" if initializer is None else initializer
        if isinstance(start, (str, dict, type)):
            start = initializers.get(start() if isinstance(start, type) else start)
        found = Variable(start, shape=shape, dtype=dtype, trainable=trainable, name=full.rpartition("/")[2])
        found.path = full
        found.constraint, found.regularizer = constraint, regularizers.get(regularizer)
        frame.found[full] = found
        frame._values[id(found)] = found._cell
    elif shape is not None and found.shape != shape:
        raise ShapeError(f"get_variable: variable '{full}' has the shape {found.shape}, asked for with {shape}.")
    frame._taken.add(full)
    return found


def get_global_step() -> Any:
    """The number of steps done before this one, within a model_fn: an int32 scalar."""
    frame = model_frame("get_global_step()")
    return frame.read(frame.store.weights[GLOBAL_STEP])


def trainable_variables(scope: str = "") -> list[Variable]:
    """The trainable variables that the running model_fn has met so far, those below `scope` if one is given."""
    frame = model_frame("trainable_variables()")
    known = {**frame.store.weights, **frame.found}
    return [v for name, v in known.items() if v.trainable and name.startswith(scope)]
