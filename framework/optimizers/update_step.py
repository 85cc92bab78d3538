"""Optimizers written Keras' way: slots made in `build`, and a method `update_step` that assigns to variables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import optax

from lamina import initializers
from lamina.core.config import Configurable
from lamina.state.frame import purify
from lamina.state.variable import Variable


class UpdateStep(Configurable):
    """The methods that such an optimizer calls on itself."""

    name: str
    _added: list[Variable]
    _parameters: list[Variable]

    def update_step(self, gradient: jax.Array, variable: Variable, learning_rate: jax.Array) -> None:
        """Changes `variable` and its slots by assigning to them. Define this or `transformation`."""
        raise NotImplementedError(f"{type(self).__name__} has no update_step: its rule is transformation().")

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any = "zeros",
        dtype: Any = None,
        aggregation: str = "none",
        layout: Any = None,
        name: str | None = None,
    ) -> Variable:
        """A variable of the optimizer's state, for `update_step`."""
        name = name or "variable"
        initializer = initializers.get(initializer)
        variable = Variable(initializer, shape=tuple(shape), dtype=dtype, trainable=False, autocast=False, name=name)
        variable.path = f"{self.name}/{name}"
        self._added.append(variable)
        return variable

    def add_variable_from_reference(
        self, reference_variable: Variable, name: str | None = None, initializer: Any = "zeros"
    ) -> Variable:
        """A slot of the shape and dtype of another variable."""
        path = f"{reference_variable.path.replace('/', '_')}_{name or 'var'}"
        return self.add_variable(reference_variable.shape, initializer, reference_variable.dtype, name=path)

    def add_optimizer_variables(
        self, trainable_variables: Sequence[Variable], name: str | Sequence[str], initializer: Any = "zeros"
    ) -> Any:
        """A list of slots, one a variable; several lists for several names."""
        names = [name] if isinstance(name, str) else list(name)
        given = list(initializer) if isinstance(initializer, (list, tuple)) else [initializer] * len(names)
        lists: tuple[list, ...] = tuple([] for _ in names)
        for variable in trainable_variables:
            for slots, slot_name, first in zip(lists, names, given, strict=True):
                own = not variable.overwrite_with_gradient
                slots.append(self.add_variable_from_reference(variable, slot_name, first) if own else None)
        return lists[0] if isinstance(name, str) else lists

    def assign(self, variable: Variable, value: Any) -> None:
        """Sets a variable."""
        variable.assign(value)

    def assign_add(self, variable: Variable, value: Any) -> None:
        """Adds to a variable."""
        variable.assign_add(value)

    def assign_sub(self, variable: Variable, value: Any) -> None:
        """Subtracts from a variable."""
        variable.assign_sub(value)

    def _get_variable_index(self, variable: Variable) -> int:
        return next(i for i, v in enumerate(self._parameters) if v is variable)


def update_step_rule(
    optimizer: Any, owned: Sequence[Variable], slots: Sequence[Variable], counters: Sequence[Variable], scale: int
) -> optax.GradientTransformationExtraArgs:
    """`optimizer.update_step` as a transformation whose state is the values of the slots.

    Args:
        optimizer: the optimizer.
        owned: the variables that it changes.
        slots: the slots.
        counters: the variables of the number of steps and, if it is one, of the learning rate, which it may read.
        scale: the number of steps for each update.
    """

    def init_fn(params: Any) -> tuple:
        return tuple(v.stored for v in slots)

    def update_fn(updates: Any, state: tuple, params: Any = None, *, learning_rate: Any, step: Any, **_: Any) -> Any:
        tree: Any
        gradients, tree = jax.tree.flatten(updates)
        values = tree.flatten_up_to(params)

        def run() -> None:
            for gradient, variable in zip(gradients, owned, strict=True):
                optimizer.update_step(gradient, variable, learning_rate)

        given = (*values, *state, *(step * scale, learning_rate)[: len(counters)])
        _, new = purify(run, [*owned, *slots, *counters])(given)
        changed, rest = new[: len(values)], new[len(values) : len(values) + len(slots)]
        return tree.unflatten([b - a for a, b in zip(values, changed, strict=True)]), tuple(rest)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
