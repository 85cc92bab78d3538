"""The pure steps behind fit, evaluate and predict, and the variables they work on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lamina.layers.tracking import survey
from lamina.state.frame import Frame
from lamina.state.rng import make_key
from lamina.state.variable import Variable


class Layout:
    """The variables of a model in a frozen order: trainable, fixed, optimizer's, metrics'.

    On the hot path state is a flat list in this order, never a dict.
    """

    def __init__(self, model: Any, optimizer: bool):
        weights, self.trainable, _ = survey(model)
        free = set(map(id, self.trainable))
        self.fixed = [v for v in weights if id(v) not in free]
        self.optimizer: list[Variable] = list(model.optimizer.variables) if optimizer else []
        self.metrics: list[Variable] = model.metrics_variables
        self.counts = (len(self.trainable), len(self.fixed), len(self.optimizer), len(self.metrics))
        self.variables = [*self.trainable, *self.fixed, *self.optimizer, *self.metrics]

    def key(self) -> tuple:
        """What tells two layouts apart."""
        return (self.counts, tuple(map(id, self.variables)))

    def split(self, values: Any) -> tuple[list, list, list, list]:
        """A flat list of values as the four parts."""
        parts, start = [], 0
        for count in self.counts:
            parts.append(list(values[start : start + count]))
            start += count
        return tuple(parts)  # type: ignore[return-value]

    @property
    def metrics_slice(self) -> slice:
        """Where the values of metrics lie in the flat list."""
        stop = sum(self.counts)
        return slice(stop - self.counts[3], stop)


def train_program_step(model: Any, layout: Layout, tree: Any) -> Callable[..., Any]:
    """`step(values, batch, number) -> (logs, new values)` around `model.train_step`.

    The last value is the seed of the run; the key of a step follows from it and the step's number.
    """

    def step(values: list, leaves: list, number: Any) -> tuple[dict, list]:
        with Frame((), (), jax.random.fold_in(make_key(values[-1]), number)):
            logs, state = model.train_step(layout.split(values), jax.tree.unflatten(tree, leaves))
        return logs, [*(v for part in state for v in part), values[-1]]

    return step


def test_program_step(model: Any, layout: Layout, tree: Any) -> Callable[..., Any]:
    """The like around `model.test_step`, whose state has no optimizer."""

    def step(values: list, leaves: list, number: Any) -> tuple[dict, list]:
        tv, ntv, _, mv = layout.split(values)
        with Frame((), (), jax.random.fold_in(make_key(values[-1]), number)):
            logs, (tv, ntv, mv) = model.test_step((tv, ntv, mv), jax.tree.unflatten(tree, leaves))
        return logs, [*tv, *ntv, *mv, values[-1]]

    return step


def predict_function(model: Any, layout: Layout, tree: Any) -> Callable[..., Any]:
    """`predict(values, batch) -> outputs`, around `model.predict_step`."""

    def predict(values: list, leaves: list) -> Any:
        tv, ntv, _, _ = layout.split(values)
        with Frame((), (), make_key(jnp.uint32(0))):
            outputs, _ = model.predict_step((tv, ntv), jax.tree.unflatten(tree, leaves))
        return outputs

    return predict
