"""The optimizers with `minimize`, for use in a model_fn; beside it they are those of `lamina.optimizers`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import optax

from lamina import optimizers
from lamina.core.checks import check_choice
from lamina.core.errors import describe
from lamina.estimators.modes import Minimize
from lamina.optimizers.transformations import AverageGradient, Slots, Step, Velocity, per_parameter, zeros


class _Minimizes:
    def minimize(
        self, loss: Any, var_list: Sequence[Any] | Callable[[], Sequence[Any]] | None = None, global_step: Any = None
    ) -> Minimize:
        """That this optimizer is to lower `loss`, for `EstimatorSpec(train_op=...)`.

        Args:
            loss: the loss of the batch, computed in the same call of the model_fn.
            var_list: the variables to change, their names, or a function that returns them; all trainable ones if None.
            global_step: taken for TensorFlow's sake; the steps are counted in any case.
        """
        return Minimize(self, loss, var_list() if callable(var_list) else var_list)  # type: ignore[arg-type]


class SGD(_Minimizes, optimizers.SGD):
    """`lamina.optimizers.SGD` with `minimize`."""


class RMSprop(_Minimizes, optimizers.RMSprop):
    """`lamina.optimizers.RMSprop` with `minimize`; without momentum `p -= lr g / (sqrt(v) + epsilon)`.

    The root is taken before epsilon is added, as estimators have always done it.
    """

    def transformation(self) -> optax.GradientTransformation:
        """The update rule."""
        if self.momentum > 0:
            return super().transformation()
        rho, epsilon, centered = self.rho, self.epsilon, self.centered

        def init(p: Any) -> Slots:
            slots: Slots = (Velocity(zeros(p)),)
            return (*slots, AverageGradient(zeros(p))) if centered else slots

        def update(g: Any, slots: Slots, p: Any, step: Step) -> tuple[Any, Slots]:
            velocity = rho * slots[0].velocity + (1 - rho) * jnp.square(g)
            if not centered:
                return -step.learning_rate * g / (jnp.sqrt(velocity) + epsilon), (Velocity(velocity),)
            mean = rho * slots[1].average_gradient + (1 - rho) * g
            spread = jnp.sqrt(jnp.maximum(velocity - jnp.square(mean), 0))
            return -step.learning_rate * g / (spread + epsilon), (Velocity(velocity), AverageGradient(mean))

        return per_parameter(init, update)


class Adagrad(_Minimizes, optimizers.Adagrad):
    """`lamina.optimizers.Adagrad` with `minimize`."""


class Adadelta(_Minimizes, optimizers.Adadelta):
    """`lamina.optimizers.Adadelta` with `minimize`."""


class Adam(_Minimizes, optimizers.Adam):
    """`lamina.optimizers.Adam` with `minimize`."""


class AdamW(_Minimizes, optimizers.AdamW):
    """`lamina.optimizers.AdamW` with `minimize`."""


class Adamax(_Minimizes, optimizers.Adamax):
    """`lamina.optimizers.Adamax` with `minimize`."""


class Nadam(_Minimizes, optimizers.Nadam):
    """`lamina.optimizers.Nadam` with `minimize`."""


class Ftrl(_Minimizes, optimizers.Ftrl):
    """`lamina.optimizers.Ftrl` with `minimize`."""


_BY_NAME: dict[str, Callable[..., optimizers.Optimizer]] = {
    "Adagrad": Adagrad,
    "Adam": Adam,
    "Ftrl": Ftrl,
    "RMSProp": RMSprop,
    "SGD": SGD,
}


def get_optimizer(
    owner: str, identifier: Any, learning_rate: float | None, argument: str = "optimizer"
) -> optimizers.Optimizer:
    """An optimizer as canned estimators take them.

    Args:
        owner: the estimator, as errors name it.
        identifier: "Adagrad", "Adam", "Ftrl", "RMSProp" or "SGD"; an optimizer; an optax transformation; or a function
            that returns one of these.
        learning_rate: the learning rate of an optimizer given by name; None for the optimizer's own.
        argument: the argument, as errors name it.

    Returns:
        An optimizer that is built for no variables yet: a copy of the one given.

    Raises:
        ValueError: the name is unknown.
        TypeError: it is nothing of this.
    """
    if isinstance(identifier, str):
        lowered = {k.lower(): k for k in _BY_NAME}
        name = lowered.get(identifier.lower(), identifier)
        made = _BY_NAME[check_choice(owner, argument, name, _BY_NAME)]
        return made() if learning_rate is None else made(learning_rate=learning_rate)
    if callable(identifier) and not isinstance(identifier, (optimizers.Optimizer, type)):
        identifier = identifier()
    if isinstance(identifier, (optimizers.Optimizer, type)) or hasattr(identifier, "update"):
        found = optimizers.get(identifier)
        # A copy, since two estimators may be given one optimizer.
        return type(found).from_config(found.get_config()) if found.built else copy.deepcopy(found)
    raise TypeError(
        f"{owner}: {argument} must be a name such as 'Adam', an optimizer such as estimators.optimizers.Adam(0.01), or "
        f"a function that returns one, got {describe(identifier)}."
    )
