"""Gradient descent, and rules that scale it by the gradients seen so far."""

from __future__ import annotations

from typing import Any

import optax

from lamina.core.checks import check_number
from lamina.optimizers import transformations
from lamina.optimizers.optimizer import Optimizer


class SGD(Optimizer):
    """Gradient descent, with momentum if asked for.

    `p -= lr g`, or `m = momentum m - lr g; p += m`, or with Nesterov's look-ahead `p += momentum m - lr g`.

    Args:
        learning_rate: see `Optimizer`.
        momentum: how much of the last step is kept, in 0 .. 1.
        nesterov: whether the momentum looks ahead.
        kwargs: see `Optimizer`.

    Example:
        >>> SGD(learning_rate=0.1, momentum=0.9).momentum
        0.9

    Reference: Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013.
    """

    def __init__(self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        self.momentum = check_number(self, "momentum", momentum, 0, 1)
        self.nesterov = bool(nesterov)

    def transformation(self) -> optax.GradientTransformation:
        """The update rule."""
        return transformations.sgd(self.momentum, self.nesterov)


class RMSprop(Optimizer):
    """Steps in proportion to the gradient over the root of the running mean of its square.

    `v = rho v + (1 - rho) g**2; p -= lr g / sqrt(v + epsilon)`

    Args:
        learning_rate: see `Optimizer`.
        rho: how much of the mean is kept at each step.
        momentum: how much of the last step is kept.
        epsilon: keeps the division finite.
        centered: whether the square of the mean gradient is taken off the mean square.
        kwargs: see `Optimizer`.

    Example:
        >>> RMSprop().name
        'rm_sprop'

    Reference: Hinton, "Neural Networks for Machine Learning", lecture 6, 2012.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.rho = check_number(self, "rho", rho, 0, 1)
        self.momentum = check_number(self, "momentum", momentum, 0)
        self.epsilon = check_number(self, "epsilon", epsilon, 0)
        self.centered = bool(centered)

    def transformation(self) -> optax.GradientTransformation:
        """The update rule."""
        return transformations.rmsprop(self.rho, self.momentum, self.epsilon, self.centered)


class Adagrad(Optimizer):
    """Steps in proportion to the gradient over the root of the sum of all its squares.

    `a += g**2; p -= lr g / sqrt(a + epsilon)`

    Args:
        learning_rate: see `Optimizer`.
        initial_accumulator_value: the sum at the start.
        epsilon: keeps the division finite.
        kwargs: see `Optimizer`.

    Example:
        >>> Adagrad().initial_accumulator_value
        0.1

    Reference: Duchi et al., "Adaptive Subgradient Methods for Online Learning", 2011.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.initial_accumulator_value = check_number(self, "initial_accumulator_value", initial_accumulator_value, 0)
        self.epsilon = check_number(self, "epsilon", epsilon, 0)

    def transformation(self) -> optax.GradientTransformation:
        """The update rule."""
        return transformations.adagrad(self.initial_accumulator_value, self.epsilon)


class Adadelta(Optimizer):
    """Steps scaled by the sizes of past gradients and past changes.

    `d = -sqrt(mean d**2 + epsilon) / sqrt(mean g**2 + epsilon) g; p += lr d`

    Args:
        learning_rate: see `Optimizer`; the paper's form has 1.0.
        rho: how much of the means is kept at each step.
        epsilon: keeps the division finite.
        kwargs: see `Optimizer`.

    Example:
        >>> Adadelta(learning_rate=1.0).rho
        0.95

    Reference: Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012.
    """

    def __init__(self, learning_rate: Any = 0.001, rho: float = 0.95, epsilon: float = 1e-7, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        self.rho = check_number(self, "rho", rho, 0, 1)
        self.epsilon = check_number(self, "epsilon", epsilon, 0)

    def transformation(self) -> optax.GradientTransformation:
        """The update rule."""
        return transformations.adadelta(self.rho, self.epsilon)


class Ftrl(Optimizer):
    """Follow the regularised leader: for sparse models with many features.

    Args:
        learning_rate: see `Optimizer`.
        learning_rate_power: how the rate falls with the squared gradients; 0 keeps it, at most 0.
        initial_accumulator_value: the sum of squared gradients at the start.
        l1_regularization_strength: pulls parameters to exactly 0.
        l2_regularization_strength: pulls parameters towards 0.
        l2_shrinkage_regularization_strength: the same, through the gradient.
        beta: the paper's beta.
        kwargs: see `Optimizer`.

    Example:
        >>> Ftrl().learning_rate_power
        -0.5

    Reference: McMahan et al., "Ad Click Prediction: a View from the Trenches", 2013.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        check = check_number
        self.learning_rate_power = check(self, "learning_rate_power", learning_rate_power, maximum=0)
        self.initial_accumulator_value = check(self, "initial_accumulator_value", initial_accumulator_value, 0)
        self.l1_regularization_strength = check(self, "l1_regularization_strength", l1_regularization_strength, 0)
        self.l2_regularization_strength = check(self, "l2_regularization_strength", l2_regularization_strength, 0)
        self.l2_shrinkage_regularization_strength = check(
            self, "l2_shrinkage_regularization_strength", l2_shrinkage_regularization_strength, 0
        )
        self.beta = check(self, "beta", beta)

    def transformation(self) -> optax.GradientTransformation:
        """The update rule."""
        return transformations.ftrl(
            self.learning_rate_power,
            self.initial_accumulator_value,
            self.l1_regularization_strength,
            self.l2_regularization_strength,
            self.l2_shrinkage_regularization_strength,
            self.beta,
        )
