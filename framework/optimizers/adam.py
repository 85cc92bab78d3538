"""Adam and its relatives."""

from __future__ import annotations

from typing import Any

import optax

from lamina.core.checks import check_int, check_number
from lamina.optimizers import transformations
from lamina.optimizers.optimizer import Optimizer


def check_beta(owner: Any, argument: str, value: float) -> float:
    """`value`, if it can weigh a running mean."""
    return check_number(owner, argument, value, 0, 1)


class Adam(Optimizer):
    """Steps in proportion to the running mean of gradients over the root of that of their squares.

    `m += (1 - b1) (g - m); v += (1 - b2) (g**2 - v); p -= lr sqrt(1 - b2**t) / (1 - b1**t) m / (sqrt(v) + epsilon)`

    Args:
        learning_rate: see `Optimizer`.
        beta_1: how much of the mean of gradients is kept at each step.
        beta_2: how much of the mean of their squares is kept.
        epsilon: keeps the division finite; it stands outside the bias correction.
        amsgrad: whether the largest mean of squares so far is used.
        kwargs: see `Optimizer`.

    Example:
        >>> Adam(learning_rate=0.1).get_config()["beta_2"]
        0.999

    Reference: Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2014; Reddi et al., 2018 (AMSGrad).
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.beta_1 = check_beta(self, "beta_1", beta_1)
        self.beta_2 = check_beta(self, "beta_2", beta_2)
        self.epsilon = check_number(self, "epsilon", epsilon, 0)
        self.amsgrad = bool(amsgrad)

    def transformation(self) -> optax.GradientTransformation:
        """The update rule."""
        return transformations.adam(self.beta_1, self.beta_2, self.epsilon, self.amsgrad)


class AdamW(Adam):
    """Adam with weight decay apart from the gradient: `p -= lr weight_decay p`, then Adam's step.

    Args:
        learning_rate: see `Optimizer`.
        weight_decay: the weight decay.
        beta_1: see `Adam`.
        beta_2: see `Adam`.
        epsilon: see `Adam`.
        amsgrad: see `Adam`.
        kwargs: see `Optimizer`.

    Example:
        >>> AdamW(weight_decay=0.01).weight_decay
        0.01

    Reference: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2017.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **kwargs)
        if weight_decay is None:
            raise ValueError(f"{self!r}: weight_decay must be a number, got None. Without weight decay use Adam.")


class Adamax(Optimizer):
    """Adam with the largest gradient in the place of the mean square.

    `u = max(b2 u, |g|); p -= lr m / ((1 - b1**t) (u + epsilon))`

    Args:
        learning_rate: see `Optimizer`.
        beta_1: how much of the mean of gradients is kept at each step.
        beta_2: how much of the largest gradient is kept.
        epsilon: keeps the division finite.
        kwargs: see `Optimizer`.

    Example:
        >>> Adamax().name
        'adamax'

    Reference: Kingma and Ba, "Adam: A Method for Stochastic Optimization", section 7, 2014.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.beta_1 = check_beta(self, "beta_1", beta_1)
        self.beta_2 = check_beta(self, "beta_2", beta_2)
        self.epsilon = check_number(self, "epsilon", epsilon, 0)

    def transformation(self) -> optax.GradientTransformation:
        """The update rule."""
        return transformations.adamax(self.beta_1, self.beta_2, self.epsilon)


class Nadam(Optimizer):
    """Adam with Nesterov's look-ahead.

    Args:
        learning_rate: see `Optimizer`.
        beta_1: how much of the mean of gradients is kept at each step.
        beta_2: how much of the mean of their squares is kept.
        epsilon: keeps the division finite.
        kwargs: see `Optimizer`.

    Example:
        >>> Nadam().name
        'nadam'

    Reference: Dozat, "Incorporating Nesterov Momentum into Adam", 2015.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.beta_1 = check_beta(self, "beta_1", beta_1)
        self.beta_2 = check_beta(self, "beta_2", beta_2)
        self.epsilon = check_number(self, "epsilon", epsilon, 0)

    def transformation(self) -> optax.GradientTransformation:
        """The update rule."""
        return transformations.nadam(self.beta_1, self.beta_2, self.epsilon)


class Lamb(Optimizer):
    """Adam's step scaled to the norm of each variable: for large batches.

    Args:
        learning_rate: see `Optimizer`.
        beta_1: how much of the mean of gradients is kept at each step.
        beta_2: how much of the mean of their squares is kept.
        epsilon: keeps the division finite.
        kwargs: see `Optimizer`.

    Example:
        >>> Lamb().name
        'lamb'

    Reference: You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes", 2019.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.beta_1 = check_beta(self, "beta_1", beta_1)
        self.beta_2 = check_beta(self, "beta_2", beta_2)
        self.epsilon = check_number(self, "epsilon", epsilon, 0)

    def transformation(self) -> optax.GradientTransformation:
        """The update rule."""
        return transformations.lamb(self.beta_1, self.beta_2, self.epsilon)


class Lion(Optimizer):
    """Steps of one size in the direction of the sign of the momentum; it wants smaller rates than Adam.

    `p -= lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g`

    Args:
        learning_rate: see `Optimizer`.
        beta_1: how much momentum is in the step.
        beta_2: how much of the momentum is kept.
        kwargs: see `Optimizer`.

    Example:
        >>> Lion().beta_2
        0.99

    Reference: Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023.
    """

    def __init__(self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.99, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        self.beta_1 = check_beta(self, "beta_1", beta_1)
        self.beta_2 = check_beta(self, "beta_2", beta_2)
        if beta_1 == 0:
            raise ValueError(f"{self!r}: beta_1 must be greater than 0, got 0: steps would ignore the momentum.")

    def transformation(self) -> optax.GradientTransformation:
        """The update rule."""
        return transformations.lion(self.beta_1, self.beta_2)


class ScheduleFreeAdamW(Optimizer):
    """Adam with an average over all steps in the place of a learning rate schedule.

    Args:
        learning_rate: see `Optimizer`.
        beta_1: how much of the average is in the point where gradients are taken.
        beta_2: how much of the mean of squared gradients is kept at each step.
        epsilon: keeps the division finite.
        warmup_steps: the number of steps in which the learning rate rises from 0.
        kwargs: see `Optimizer`.

    Example:
        >>> ScheduleFreeAdamW().name
        'schedule_free_adam_w'

    Reference: Defazio et al., "The Road Less Scheduled", 2024.
    """

    def __init__(
        self,
        learning_rate: Any = 0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        warmup_steps: int = 0,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.beta_1 = check_beta(self, "beta_1", beta_1)
        self.beta_2 = check_beta(self, "beta_2", beta_2)
        if beta_1 == 0:
            raise ValueError(f"{self!r}: beta_1 must be greater than 0, got 0: there would be no average to divide by.")
        self.epsilon = check_number(self, "epsilon", epsilon, 0)
        self.warmup_steps = check_int(self, "warmup_steps", warmup_steps, 0)

    def transformation(self) -> optax.GradientTransformation:
        """The update rule."""
        return transformations.schedule_free_adamw(self.beta_1, self.beta_2, self.epsilon, self.warmup_steps)
