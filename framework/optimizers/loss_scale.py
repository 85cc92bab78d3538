"""Dynamic loss scaling, for training in float16."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.checks import check_int, check_number, check_type, unknown_arguments
from lamina.optimizers.optimizer import Optimizer
from lamina.state.variable import Variable


class LossScaleOptimizer(Optimizer):
    """Another optimizer, with the loss scaled up so that small gradients do not vanish in float16.

    The scale doubles after `dynamic_growth_steps` steps with finite gradients in a row. A step with others is
    left out, and halves the scale.

    Args:
        inner_optimizer: the optimizer that gets the gradients, scaled back.
        initial_scale: the scale at the start.
        dynamic_growth_steps: the number of steps after which the scale doubles.
        name: the name.

    Example:
        >>> from lamina.optimizers import SGD
        >>> float(LossScaleOptimizer(SGD(), initial_scale=8.0).scale_loss(2.0))
        16.0

    Reference: Micikevicius et al., "Mixed Precision Training", 2017.
    """

    def __init__(
        self,
        inner_optimizer: Optimizer,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
        **kwargs: Any,
    ):
        if kwargs:
            known = ("inner_optimizer", "initial_scale", "dynamic_growth_steps", "name")
            raise unknown_arguments("LossScaleOptimizer (other arguments belong to its inner_optimizer)", kwargs, known)
        super().__init__(None, name=name)
        check_type(self, "inner_optimizer", inner_optimizer, Optimizer, "an Optimizer")
        self.inner_optimizer = inner_optimizer
        self.initial_scale = check_number(self, "initial_scale", initial_scale)
        self.dynamic_growth_steps = check_int(self, "dynamic_growth_steps", dynamic_growth_steps, 1)
        inner_optimizer.loss_scale_factor = None
        self.step_counter = self._variable(np.zeros((), "int32"), "step_counter")
        self.dynamic_scale = self._variable(np.float32(initial_scale), "dynamic_scale")

    @property
    def variables(self) -> list[Variable]:
        """The number of steps, those since the scale changed, the scale, then the inner optimizer's variables."""
        return [self._iterations, self.step_counter, self.dynamic_scale, *self.inner_optimizer.variables]

    def _saved_variables(self) -> list[Any]:
        """In Keras the wrapper has a learning rate too, which nothing reads."""
        return [self._iterations, np.zeros((), "float32"), *self.variables[1:]]

    def build(self, variables: Sequence[Variable]) -> None:
        """Makes the inner optimizer's slots for `variables`."""
        self.inner_optimizer.build(variables)
        self._parameters = list(variables)
        self.built = True

    def update(
        self, optimizer_values: Sequence[Any], gradients: Sequence[Any], trainable_values: Sequence[Any]
    ) -> tuple[tuple, tuple]:
        """One step as a pure function, see `Optimizer.update`; gradients are of the scaled loss."""
        self._require_built("update")
        step, count, scale, *inner = optimizer_values
        given = [jnp.asarray(g) for g in gradients if g is not None]
        finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(g)) for g in given]))

        def apply() -> Any:
            plain = [
                g if g is None or v.overwrite_with_gradient else jnp.asarray(g).astype("float32") / scale
                for g, v in zip(gradients, self._parameters, strict=True)
            ]
            new, state = self.inner_optimizer.update(tuple(inner), plain, trainable_values)
            grown = count == self.dynamic_growth_steps - 1
            return new, (step + 1, jnp.where(grown, 0, count + 1), jnp.where(grown, scale * 2.0, scale), *state)

        def leave() -> Any:
            new = tuple(jnp.asarray(v) for v in trainable_values)
            return new, (step, jnp.zeros_like(count), scale * 0.5, *(jnp.asarray(v) for v in inner))

        return jax.lax.cond(finite, apply, leave)

    @property
    def iterations(self) -> Any:
        """The number of updates of the inner optimizer."""
        return self.inner_optimizer.iterations

    @property
    def learning_rate(self) -> Any:
        """The inner optimizer's learning rate."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value
        self._changed()

    def loss_scale(self, optimizer_values: Sequence[Any]) -> Any:
        """The factor of the loss, from the values of `variables`."""
        return optimizer_values[2]

    def scale_loss(self, loss: Any) -> Any:
        """The loss whose gradients this optimizer expects."""
        return loss * self.dynamic_scale.value

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Exempts variables from the inner optimizer's weight decay."""
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    @property
    def averages(self) -> list[tuple[Variable, Variable]]:
        """Each variable with its running mean, as the inner optimizer keeps them."""
        return self.inner_optimizer.averages

    def finalize_variable_values(self, var_list: Sequence[Variable] | None = None) -> None:
        """See `Optimizer`."""
        self.inner_optimizer.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        config = super().get_config()
        return {k: config[k] for k in ("name", "inner_optimizer", "initial_scale", "dynamic_growth_steps")}
