"""The update rules of Keras as optax transformations, where optax's own formula or state differs.

Each takes the learning rate and the number of steps done as extra arguments, so that both can be variables of the
optimizer: `transformation.update(gradients, state, parameters, learning_rate=..., step=...)`. Updates are added to
the parameters, as in optax. Initial states are numpy arrays: making them compiles nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

# Named tuples of any fields.
Slots = tuple[Any, ...]


class Step(NamedTuple):
    """What an update rule knows beside gradient, slots and parameter.

    Args:
        learning_rate: the learning rate, in the parameter's dtype.
        number: the number of this step, from 1, as a float32.
    """

    learning_rate: jax.Array
    number: jax.Array

    def power(self, base: float, dtype: Any) -> jax.Array:
        """`base` to the number of the step."""
        return jnp.power(jnp.float32(base), self.number).astype(dtype)


def zeros(parameter: Any) -> np.ndarray:
    """Zeros like a parameter."""
    return np.zeros(parameter.shape, parameter.dtype)


def full(parameter: Any, value: float) -> np.ndarray:
    """An array like a parameter that holds one value."""
    return np.full(parameter.shape, value, parameter.dtype)


def per_parameter(
    init: Callable[[Any], Slots], update: Callable[[Any, Slots, Any, Step], tuple[Any, Slots]]
) -> optax.GradientTransformationExtraArgs:
    """A transformation that treats each parameter by itself.

    Args:
        init: the slots of a parameter, as named tuples. The slots of the first named tuple of all parameters come
            first in the state, then those of the second.
        update: `(gradient, slots, parameter, step) -> (update, slots)`.
    """

    def init_fn(params: Any) -> tuple:
        tree: Any
        leaves, tree = jax.tree.flatten(params)
        return tuple(tree.unflatten(group) for group in zip(*(init(p) for p in leaves), strict=True))

    def update_fn(updates: Any, state: tuple, params: Any = None, *, learning_rate: Any, step: Any, **_: Any) -> Any:
        tree: Any
        gradients, tree = jax.tree.flatten(updates)
        groups = [tree.flatten_up_to(group) for group in state]
        parameters = tree.flatten_up_to(params)
        number = jnp.asarray(step + 1, "float32")
        new = []
        for i, (gradient, parameter) in enumerate(zip(gradients, parameters, strict=True)):
            now = Step(jnp.asarray(learning_rate).astype(parameter.dtype), number)
            new.append(update(gradient, tuple(group[i] for group in groups), parameter, now))
        changed = zip(*(slots for _, slots in new), strict=True)
        return tree.unflatten([u for u, _ in new]), tuple(tree.unflatten(group) for group in changed)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


class Momentum(NamedTuple):
    """A running mean or sum of updates."""

    momentum: Any


def sgd(momentum: float = 0.0, nesterov: bool = False) -> optax.GradientTransformationExtraArgs:
    """`m = momentum m - lr g; p += m`, or with Nesterov's look-ahead `p += momentum m - lr g`."""

    def init(p: Any) -> Slots:
        return (Momentum(zeros(p)),) if momentum else ()

    def update(g: Any, slots: Slots, p: Any, step: Step) -> tuple[Any, Slots]:
        change = -step.learning_rate * g
        if not momentum:
            return change, ()
        m = momentum * slots[0].momentum + change
        return (momentum * m + change if nesterov else m), (Momentum(m),)

    return per_parameter(init, update)


class Moments(NamedTuple):
    """Running means of gradients and of their squares."""

    momentum: Any
    velocity: Any


class VelocityHat(NamedTuple):
    """The largest velocity so far."""

    velocity_hat: Any


def _zero_moments(p: Any) -> Slots:
    return (Moments(zeros(p), zeros(p)),)


def _next_moments(g: Any, moments: Any, beta_1: float, beta_2: float) -> Moments:
    m, v = moments
    return Moments(m + (g - m) * (1 - beta_1), v + (jnp.square(g) - v) * (1 - beta_2))


def adam(
    beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7, amsgrad: bool = False
) -> optax.GradientTransformationExtraArgs:
    """`p -= lr sqrt(1 - b2**t) / (1 - b1**t) m / (sqrt(v) + epsilon)`: epsilon stands outside the bias correction."""

    def init(p: Any) -> Slots:
        return _zero_moments(p) + ((VelocityHat(zeros(p)),) if amsgrad else ())

    def update(g: Any, slots: Slots, p: Any, step: Step) -> tuple[Any, Slots]:
        moments = _next_moments(g, slots[0], beta_1, beta_2)
        velocity = moments.velocity
        rest: Slots = ()
        if amsgrad:
            velocity = jnp.maximum(slots[1].velocity_hat, velocity)
            rest = (VelocityHat(velocity),)
        correction = jnp.sqrt(1 - step.power(beta_2, p.dtype)) / (1 - step.power(beta_1, p.dtype))
        change = -(moments.momentum * (step.learning_rate * correction)) / (jnp.sqrt(velocity) + epsilon)
        return change, (moments, *rest)

    return per_parameter(init, update)


class Norm(NamedTuple):
    """A running mean of gradients and a running maximum of their size."""

    momentum: Any
    norm: Any


def adamax(beta_1: float, beta_2: float, epsilon: float) -> optax.GradientTransformationExtraArgs:
    """`u = max(b2 u, |g|); p -= lr m / ((1 - b1**t) (u + epsilon))`."""

    def update(g: Any, slots: Slots, p: Any, step: Step) -> tuple[Any, Slots]:
        m, u = slots[0]
        m = m + (g - m) * (1 - beta_1)
        u = jnp.maximum(beta_2 * u, jnp.abs(g))
        change = -(step.learning_rate * m) / ((1 - step.power(beta_1, p.dtype)) * (u + epsilon))
        return change, (Norm(m, u),)

    return per_parameter(lambda p: (Norm(zeros(p), zeros(p)),), update)


class NadamState(NamedTuple):
    """The moments, and the product of the momentum schedule so far."""

    inner: Any
    u_product: Any


def nadam(beta_1: float, beta_2: float, epsilon: float) -> optax.GradientTransformationExtraArgs:
    """Adam with Nesterov's look-ahead and the momentum schedule `b1 (1 - 0.96**t / 2)`."""

    def rate(number: jax.Array) -> jax.Array:
        return beta_1 * (1.0 - 0.5 * jnp.power(jnp.float32(0.96), number))

    def update(g: Any, slots: Slots, p: Any, step: Step, product: jax.Array) -> tuple[Any, Slots]:
        moments = _next_moments(g, slots[0], beta_1, beta_2)
        now, ahead = rate(step.number), rate(step.number + 1)
        ours = (ahead / (1 - product * ahead)).astype(p.dtype)
        theirs = ((1 - now) / (1 - product)).astype(p.dtype)
        mean = ours * moments.momentum + theirs * g
        square = moments.velocity / (1 - step.power(beta_2, p.dtype))
        return -(mean * step.learning_rate) / (jnp.sqrt(square) + epsilon), (moments,)

    def rule(product: Any) -> optax.GradientTransformationExtraArgs:
        return per_parameter(_zero_moments, lambda g, slots, p, step: update(g, slots, p, step, product))

    def init_fn(params: Any) -> NadamState:
        return NadamState(rule(None).init(params), np.ones((), "float32"))

    def update_fn(updates: Any, state: NadamState, params: Any = None, *, step: Any, **others: Any) -> Any:
        product = state.u_product * rate(jnp.asarray(step + 1, "float32"))
        updates, inner = rule(product).update(updates, state.inner, params, step=step, **others)
        return updates, NadamState(inner, product)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


class Velocity(NamedTuple):
    """A running mean of squared gradients."""

    velocity: Any


class AverageGradient(NamedTuple):
    """A running mean of gradients."""

    average_gradient: Any


def rmsprop(rho: float, momentum: float, epsilon: float, centered: bool) -> optax.GradientTransformationExtraArgs:
    """`v = rho v + (1 - rho) g**2; p -= lr g / sqrt(v + epsilon)`, centred by the mean gradient's square if asked."""

    def init(p: Any) -> Slots:
        slots: Slots = (Velocity(zeros(p)),)
        if momentum > 0:
            slots += (Momentum(zeros(p)),)
        return (*slots, AverageGradient(zeros(p))) if centered else slots

    def update(g: Any, slots: Slots, p: Any, step: Step) -> tuple[Any, Slots]:
        velocity = rho * slots[0].velocity + (1 - rho) * jnp.square(g)
        new: Slots = (Velocity(velocity),)
        denominator = velocity + epsilon
        last: Slots = ()
        if centered:
            mean = rho * slots[-1].average_gradient + (1 - rho) * g
            denominator, last = velocity - jnp.square(mean) + epsilon, (AverageGradient(mean),)
        change = -(step.learning_rate * g) / jnp.sqrt(denominator)
        if momentum > 0:
            m = momentum * slots[1].momentum - change
            change, new = -m, (*new, Momentum(m))
        return change, (*new, *last)

    return per_parameter(init, update)


class Accumulator(NamedTuple):
    """The sum of squared gradients."""

    accumulator: Any


def adagrad(initial_accumulator_value: float, epsilon: float) -> optax.GradientTransformationExtraArgs:
    """`a += g**2; p -= lr g / sqrt(a + epsilon)`."""

    def update(g: Any, slots: Slots, p: Any, step: Step) -> tuple[Any, Slots]:
        a = slots[0].accumulator + jnp.square(g)
        return -(step.learning_rate * g) / jnp.sqrt(a + epsilon), (Accumulator(a),)

    return per_parameter(lambda p: (Accumulator(full(p, initial_accumulator_value)),), update)


class Accumulated(NamedTuple):
    """Running means of squared gradients and of squared changes."""

    accumulated_grad: Any
    accumulated_delta_var: Any


def adadelta(rho: float, epsilon: float) -> optax.GradientTransformationExtraArgs:
    """`d = -rms(changes) g / rms(gradients); p += lr d`, with `rms(x) = sqrt(mean of x**2 + epsilon)`."""

    def update(g: Any, slots: Slots, p: Any, step: Step) -> tuple[Any, Slots]:
        squares, changes = slots[0]
        squares = rho * squares + (1 - rho) * jnp.square(g)
        change = -jnp.sqrt(changes + epsilon) * g / jnp.sqrt(squares + epsilon)
        changes = rho * changes + (1 - rho) * jnp.square(change)
        return step.learning_rate * change, (Accumulated(squares, changes),)

    return per_parameter(lambda p: (Accumulated(zeros(p), zeros(p)),), update)


class Linear(NamedTuple):
    """The sum of squared gradients, and that of the linear terms."""

    accumulator: Any
    linear: Any


def ftrl(
    learning_rate_power: float,
    initial_accumulator_value: float,
    l1: float,
    l2: float,
    l2_shrinkage: float,
    beta: float,
) -> optax.GradientTransformationExtraArgs:
    """Follow the regularised leader: the parameter that is best for all linear terms so far."""

    def update(g: Any, slots: Slots, p: Any, step: Step) -> tuple[Any, Slots]:
        lr = step.learning_rate
        accumulator, linear = slots[0]
        grown = accumulator + jnp.square(g)
        old_power, new_power = accumulator**-learning_rate_power, grown**-learning_rate_power
        shrunk = g + 2 * l2_shrinkage * p if l2_shrinkage else g
        linear = linear + shrunk - (new_power - old_power) / lr * p
        quadratic = new_power / lr + 2 * (l2 + beta / (2.0 * lr))
        best = (jnp.clip(linear, -l1, l1) - linear) / quadratic
        return best - p, (Linear(grown, linear),)

    return per_parameter(lambda p: (Linear(full(p, initial_accumulator_value), zeros(p)),), update)


def lamb(beta_1: float, beta_2: float, epsilon: float) -> optax.GradientTransformationExtraArgs:
    """Adam's update, scaled to the norm of the parameter."""

    def update(g: Any, slots: Slots, p: Any, step: Step) -> tuple[Any, Slots]:
        moments = _next_moments(g, slots[0], beta_1, beta_2)
        mean = moments.momentum / (1.0 - step.power(beta_1, p.dtype))
        square = moments.velocity / (1.0 - step.power(beta_2, p.dtype))
        change = mean / (jnp.sqrt(square) + epsilon)
        weight_norm, change_norm = jnp.sqrt(jnp.sum(p**2)), jnp.sqrt(jnp.sum(change**2))
        some = (weight_norm > 0) & (change_norm > 0)
        ratio = jnp.where(some, weight_norm / jnp.where(some, change_norm, 1), 1)
        return -(ratio * step.learning_rate) * change, (moments,)

    return per_parameter(_zero_moments, update)


def lion(beta_1: float, beta_2: float) -> optax.GradientTransformationExtraArgs:
    """`p -= lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g`."""

    def update(g: Any, slots: Slots, p: Any, step: Step) -> tuple[Any, Slots]:
        m = slots[0].momentum
        change = -step.learning_rate * jnp.sign(beta_1 * m + (1.0 - beta_1) * g)
        return change, (Momentum(beta_2 * m + (1.0 - beta_2) * g),)

    return per_parameter(lambda p: (Momentum(zeros(p)),), update)


def schedule_free_adamw(
    beta_1: float, beta_2: float, epsilon: float, warmup_steps: int
) -> optax.GradientTransformationExtraArgs:
    """Adam whose average over all steps takes the place of a schedule; the momentum slot holds the fast iterate."""

    def update(g: Any, slots: Slots, p: Any, step: Step) -> tuple[Any, Slots]:
        z, velocity = slots[0]
        lr = step.learning_rate
        if warmup_steps > 0:
            lr = lr * jnp.minimum(step.number / warmup_steps, 1.0).astype(p.dtype)
        velocity = velocity + (jnp.square(g) - velocity) * (1 - beta_2)
        denominator = jnp.sqrt(velocity / (1 - step.power(beta_2, p.dtype))) + epsilon
        x = (p - (1 - beta_1) * z) / beta_1
        z = z - lr * g / denominator
        weight = (1.0 / step.number).astype(p.dtype)
        x = (1 - weight) * x + weight * z
        return (1 - beta_1) * z + beta_1 * x - p, (Moments(z, velocity),)

    return per_parameter(lambda p: (Moments(np.array(p), zeros(p)),), update)
