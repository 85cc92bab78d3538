"""Learning rates that change with the number of steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import settings
from lamina.core.checks import check_number
from lamina.core.config import Configurable, deserialize_object, serialize_object


class LearningRateSchedule(Configurable):
    """A learning rate as a function of the step; subclasses define `__call__(step)`, traceable by jax.

    Example:
        >>> class Halving(LearningRateSchedule):
        ...     def __init__(self, start):
        ...         self.start = start
        ...     def __call__(self, step):
        ...         return self.start * 0.5**step
        >>> Halving(0.8)(2), Halving(0.8).get_config()
        (0.2, {'start': 0.8})
    """

    def __call__(self, step: Any) -> Any:
        """The learning rate at a step, counted from 0."""
        raise NotImplementedError(f"{type(self).__name__} needs a method __call__(self, step).")


def _number(x: Any) -> jax.Array:
    return jnp.asarray(x, settings.floatx())


def _positive(owner: str, argument: str, value: float) -> float:
    check_number(owner, argument, value)
    if value <= 0:
        raise ValueError(f"{owner}: {argument} must be greater than 0, got {value}.")
    return value


class ExponentialDecay(LearningRateSchedule):
    """`initial_learning_rate * decay_rate ** (step / decay_steps)`.

    Args:
        initial_learning_rate: the learning rate at step 0.
        decay_steps: the number of steps in which it is multiplied by `decay_rate`.
        decay_rate: the factor.
        staircase: whether it falls at once at the end of each `decay_steps` steps.
        name: the name.

    Example:
        >>> float(ExponentialDecay(0.5, 10, 0.25)(5))
        0.25
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ):
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _positive("ExponentialDecay", "decay_steps", decay_steps)
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def __call__(self, step: Any) -> jax.Array:
        """The learning rate at a step, counted from 0."""
        periods = _number(step) / self.decay_steps
        if self.staircase:
            periods = jnp.floor(periods)
        return self.initial_learning_rate * jnp.power(_number(self.decay_rate), periods)


class PiecewiseConstantDecay(LearningRateSchedule):
    """`values[0]` up to step `boundaries[0]`, then `values[1]` up to `boundaries[1]`, and so on.

    Args:
        boundaries: rising step numbers.
        values: the learning rates, one more than boundaries.
        name: the name.

    Raises:
        ValueError: there is not one value more than boundaries.

    Example:
        >>> schedule = PiecewiseConstantDecay([2, 4], [1.0, 0.5, 0.25])
        >>> [float(schedule(step)) for step in (0, 2, 3, 5)]
        [1.0, 1.0, 0.5, 0.25]
    """

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant"):
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                f"PiecewiseConstantDecay: values must hold one number more than boundaries, got {len(values)} values "
                f"and {len(boundaries)} boundaries."
            )
        self.boundaries = list(boundaries)
        self.values = list(values)
        self.name = name

    def __call__(self, step: Any) -> jax.Array:
        """The learning rate at a step, counted from 0."""
        step = jnp.asarray(step)
        rate = _number(self.values[0])
        for boundary, value in zip(self.boundaries, self.values[1:], strict=True):
            rate = jnp.where(step > boundary, _number(value), rate)
        return rate


class PolynomialDecay(LearningRateSchedule):
    """`(initial - end) * (1 - step / decay_steps) ** power + end`.

    Args:
        initial_learning_rate: the learning rate at step 0.
        decay_steps: the number of steps to the end.
        end_learning_rate: the learning rate then and after.
        power: 1 is a straight line.
        cycle: whether after the end `decay_steps` is doubled, tripled, ..., so that the rate rises again.
        name: the name.

    Example:
        >>> float(PolynomialDecay(1.0, 10, end_learning_rate=0.0)(5))
        0.5
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ):
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _positive("PolynomialDecay", "decay_steps", decay_steps)
        self.end_learning_rate = end_learning_rate
        self.power = power
        self.cycle = cycle
        self.name = name

    def __call__(self, step: Any) -> jax.Array:
        """The learning rate at a step, counted from 0."""
        step, length = _number(step), _number(self.decay_steps)
        if self.cycle:
            length = length * jnp.where(step == 0, 1.0, jnp.ceil(step / length))
        else:
            step = jnp.minimum(step, length)
        left = jnp.power(1.0 - step / length, _number(self.power))
        return (self.initial_learning_rate - self.end_learning_rate) * left + self.end_learning_rate


class InverseTimeDecay(LearningRateSchedule):
    """`initial_learning_rate / (1 + decay_rate * step / decay_steps)`.

    Args:
        initial_learning_rate: the learning rate at step 0.
        decay_steps: the number of steps that counts as one.
        decay_rate: how fast it falls.
        staircase: whether it falls at once at the end of each `decay_steps` steps.
        name: the name.

    Example:
        >>> float(InverseTimeDecay(1.0, 10, 0.5)(20))
        0.5
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ):
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _positive("InverseTimeDecay", "decay_steps", decay_steps)
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def __call__(self, step: Any) -> jax.Array:
        """The learning rate at a step, counted from 0."""
        periods = _number(step) / self.decay_steps
        if self.staircase:
            periods = jnp.floor(periods)
        return self.initial_learning_rate / (1.0 + self.decay_rate * periods)


class CosineDecay(LearningRateSchedule):
    """Half a cosine from the initial learning rate down to `alpha` times it, after a linear warmup if asked for.

    `initial * ((1 - alpha) (1 + cos(pi step / decay_steps)) / 2 + alpha)`

    Args:
        initial_learning_rate: the learning rate at step 0.
        decay_steps: the number of steps of the decay.
        alpha: the learning rate at the end, as a part of that at the start of the decay.
        name: the name.
        warmup_target: the learning rate after the warmup; None for no warmup.
        warmup_steps: the number of steps of the warmup.

    Example:
        >>> schedule = CosineDecay(0.0, 10, warmup_target=1.0, warmup_steps=4)
        >>> [round(float(schedule(step)), 3) for step in (0, 2, 4, 9, 14)]
        [0.0, 0.5, 1.0, 0.5, 0.0]

    Reference: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2016.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ):
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _positive("CosineDecay", "decay_steps", decay_steps)
        self.alpha = alpha
        self.name = name
        self.warmup_target = warmup_target
        self.warmup_steps = check_number("CosineDecay", "warmup_steps", warmup_steps, 0)

    def _decayed(self, start: float, step: jax.Array) -> jax.Array:
        done = jnp.minimum(step, self.decay_steps) / self.decay_steps
        cosine = 0.5 * (1.0 + jnp.cos(math.pi * done))
        return start * ((1.0 - self.alpha) * cosine + self.alpha)

    def __call__(self, step: Any) -> jax.Array:
        """The learning rate at a step, counted from 0."""
        step = _number(step)
        if self.warmup_target is None:
            return self._decayed(self.initial_learning_rate, step)
        rise = self.warmup_target - self.initial_learning_rate
        warming = rise * (step / max(self.warmup_steps, 1)) + self.initial_learning_rate
        decaying = self._decayed(self.warmup_target, step - self.warmup_steps)
        return jnp.where(step < self.warmup_steps, warming, decaying)


class CosineDecayRestarts(LearningRateSchedule):
    """Half a cosine again and again, each `t_mul` times as long and `m_mul` times as high as the last.

    Args:
        initial_learning_rate: the learning rate at step 0.
        first_decay_steps: the number of steps of the first decay.
        t_mul: how much longer each decay is than the last.
        m_mul: how much higher each decay starts than the last.
        alpha: the lowest learning rate, as a part of the initial one.
        name: the name.

    Example:
        >>> schedule = CosineDecayRestarts(1.0, 4)
        >>> [round(float(schedule(step)), 3) for step in (0, 2, 4, 8)]
        [1.0, 0.5, 1.0, 0.5]

    Reference: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2016.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: int,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ):
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps = _positive("CosineDecayRestarts", "first_decay_steps", first_decay_steps)
        self.t_mul = _positive("CosineDecayRestarts", "t_mul", t_mul)
        self.m_mul = m_mul
        self.alpha = alpha
        self.name = name

    def __call__(self, step: Any) -> jax.Array:
        """The learning rate at a step, counted from 0."""
        done = _number(step) / self.first_decay_steps
        if self.t_mul == 1.0:
            restarts = jnp.floor(done)
            done = done - restarts
        else:
            t_mul = _number(self.t_mul)
            restarts = jnp.floor(jnp.log(1.0 - done * (1.0 - t_mul)) / jnp.log(t_mul))
            length = jnp.power(t_mul, restarts)
            done = (done - (1.0 - length) / (1.0 - t_mul)) / length
        height = jnp.power(_number(self.m_mul), restarts)
        cosine = 0.5 * height * (1.0 + jnp.cos(math.pi * done))
        return self.initial_learning_rate * ((1.0 - self.alpha) * cosine + self.alpha)


def serialize(learning_rate_schedule: LearningRateSchedule) -> Any:
    """A schedule as plain values.

    Example:
        >>> serialize(ExponentialDecay(0.1, 10, 0.5))["class_name"]
        'ExponentialDecay'
    """
    return serialize_object(learning_rate_schedule)


def deserialize(config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> LearningRateSchedule:
    """The schedule that `serialize` described.

    Example:
        >>> deserialize(serialize(ExponentialDecay(0.1, 10, 0.5))).decay_steps
        10
    """
    return deserialize_object(config, custom_objects, "optimizers.schedules")
