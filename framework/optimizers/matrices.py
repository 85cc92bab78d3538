"""Update rules that look at a parameter as a matrix: Adafactor and Muon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lamina.optimizers.transformations import Moments, Momentum, Slots, Step, Velocity, adam, per_parameter, zeros


class Factors(NamedTuple):
    """Running means of squared gradients over the last axis, and over the one before."""

    row_velocity: Any
    column_velocity: Any


def _rms(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.mean(jnp.square(x)))


def adafactor(
    beta_2_decay: float, epsilon_1: float, epsilon_2: float, clip_threshold: float
) -> optax.GradientTransformationExtraArgs:
    """A second moment kept as the outer product of a row and a column: little memory for large matrices.

    The step has the size `max(epsilon_2, rms(p)) min(lr, 1 / sqrt(t))`.
    """

    def init(p: Any) -> Slots:
        if len(p.shape) < 2:
            return (Velocity(zeros(p)),)
        return (Factors(np.zeros(p.shape[:-1], p.dtype), np.zeros((*p.shape[:-2], p.shape[-1]), p.dtype)),)

    def update(g: Any, slots: Slots, p: Any, step: Step) -> tuple[Any, Slots]:
        rho = jnp.minimum(step.learning_rate, (1 / jnp.sqrt(step.number)).astype(p.dtype))
        alpha = jnp.maximum(jnp.asarray(epsilon_2, p.dtype), _rms(p)) * rho
        kept = (1 - jnp.power(step.number, beta_2_decay)).astype(p.dtype)
        square = jnp.square(g) + epsilon_1
        if len(p.shape) < 2:
            velocity = kept * slots[0].velocity + (1 - kept) * square
            new: NamedTuple = Velocity(velocity)
        else:
            row = kept * slots[0].row_velocity + (1 - kept) * jnp.mean(square, axis=-1)
            column = kept * slots[0].column_velocity + (1 - kept) * jnp.mean(square, axis=-2)
            velocity = (row / jnp.mean(row, axis=-1, keepdims=True))[..., None] * column[..., None, :]
            new = Factors(row, column)
        change = g / jnp.sqrt(velocity)
        change = change / jnp.maximum(1.0, _rms(change) / clip_threshold)
        return -alpha * change, (new,)

    return per_parameter(init, update)


def orthogonalize(x: jax.Array, steps: int, coefficients: tuple[float, float, float]) -> jax.Array:
    """A matrix with nearly the singular vectors of `x` and singular values near 1, by Newton-Schulz iterations."""
    a, b, c = coefficients
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = jnp.swapaxes(x, -1, -2)
    x = x / (jnp.sqrt(jnp.sum(jnp.square(x), axis=(-2, -1), keepdims=True)) + 1e-7)
    for _ in range(steps):
        gram = x @ jnp.swapaxes(x, -1, -2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return jnp.swapaxes(x, -1, -2) if tall else x


def muon(
    by_adam: Callable[[int], bool],
    momentum: float,
    nesterov: bool,
    ns_steps: int,
    coefficients: tuple[float, float, float],
    rms_rate: float | None,
    adam_beta_1: float,
    adam_beta_2: float,
    epsilon: float,
    adam_lr_ratio: float,
) -> optax.GradientTransformationExtraArgs:
    """Momentum made orthogonal, for matrices; Adam for the parameters whose number `by_adam` names."""
    adam_rule = adam(adam_beta_1, adam_beta_2, epsilon)

    def muon_update(g: Any, m: Any, lr: Any) -> tuple[Any, Any]:
        m = m + g + m * (momentum - 1)
        x = orthogonalize(g + momentum * m if nesterov else m, ns_steps, coefficients)
        change = -lr * x
        if rms_rate is not None:
            change = change * (max(x.shape) ** 0.5 * rms_rate)
        return change, m

    def init_fn(params: Any) -> tuple:
        tree: Any
        leaves, tree = jax.tree.flatten(params)
        slots = [Moments(zeros(p), zeros(p)) if by_adam(i) else Momentum(zeros(p)) for i, p in enumerate(leaves)]
        return (tree.unflatten(slots),)

    def update_fn(updates: Any, state: tuple, params: Any = None, *, learning_rate: Any, step: Any, **_: Any) -> Any:
        tree: Any
        gradients, tree = jax.tree.flatten(updates)
        slots, parameters = tree.flatten_up_to(state[0]), tree.flatten_up_to(params)
        changes, new = [], []
        for i, (g, slot, p) in enumerate(zip(gradients, slots, parameters, strict=True)):
            if by_adam(i):
                rate = learning_rate * adam_lr_ratio
                change, (slot,) = adam_rule.update(g, (slot,), p, learning_rate=rate, step=step)
            else:
                change, m = muon_update(g, slot.momentum, jnp.asarray(learning_rate).astype(p.dtype))
                slot = Momentum(m)
            changes.append(change)
            new.append(slot)
        return tree.unflatten(changes), (tree.unflatten(new),)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
