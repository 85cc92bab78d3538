"""What every optimizer puts around its update rule: clipping, weight decay, accumulation and averages of parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lamina.optimizers.transformations import zeros


def clip_by_norm(limit: float) -> optax.GradientTransformation:
    """Scales down each parameter's gradient whose norm exceeds `limit`."""

    def clip(g: jax.Array) -> jax.Array:
        squares = jnp.sum(jnp.square(g))
        some = squares > 0
        norm = jnp.where(some, jnp.sqrt(jnp.where(some, squares, 1)), 0)
        return g * (limit / jnp.maximum(norm, limit))

    return optax.stateless(lambda updates, params: jax.tree.map(clip, updates))


def with_weight_decay(
    inner: optax.GradientTransformationExtraArgs, decay: Callable[[int], float | None]
) -> optax.GradientTransformationExtraArgs:
    """Multiplies parameters by `1 - lr decay` before `inner` sees them, apart from the gradient.

    Args:
        inner: the update rule.
        decay: the decay of the parameter with a number, None for none.
    """

    def update_fn(updates: Any, state: Any, params: Any = None, *, learning_rate: Any, **others: Any) -> Any:
        tree: Any
        leaves, tree = jax.tree.flatten(params)
        decayed = []
        for i, p in enumerate(leaves):
            rate = decay(i)
            decayed.append(p if rate is None else p - p * (jnp.asarray(learning_rate).astype(p.dtype) * rate))
        changes, state = inner.update(updates, state, tree.unflatten(decayed), learning_rate=learning_rate, **others)
        changes = [
            change if old is new else change + (new - old)
            for change, old, new in zip(tree.flatten_up_to(changes), leaves, decayed, strict=True)
        ]
        return tree.unflatten(changes), state

    return optax.GradientTransformationExtraArgs(inner.init, update_fn)


class AccumulationState(NamedTuple):
    """Sums of gradients since the last update."""

    gradient_accumulator: Any
    inner: Any


def with_accumulation(
    inner: optax.GradientTransformationExtraArgs, steps: int
) -> optax.GradientTransformationExtraArgs:
    """Updates at each `steps`-th call only, with the mean of the gradients since; `inner` counts updates."""

    def init_fn(params: Any) -> AccumulationState:
        return AccumulationState(jax.tree.map(zeros, params), inner.init(params))

    def update_fn(updates: Any, state: AccumulationState, params: Any = None, *, step: Any, **others: Any) -> Any:
        total = jax.tree.map(jnp.add, updates, state.gradient_accumulator)

        def apply() -> Any:
            mean = jax.tree.map(lambda g: g / steps, total)
            changes, rest = inner.update(mean, state.inner, params, step=step // steps, **others)
            return changes, AccumulationState(jax.tree.map(jnp.zeros_like, total), rest)

        def wait() -> Any:
            return jax.tree.map(jnp.zeros_like, updates), AccumulationState(total, state.inner)

        return jax.lax.cond((step + 1) % steps == 0, apply, wait)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


class AverageState(NamedTuple):
    """Running means of parameters."""

    average: Any
    inner: Any


def with_average(
    inner: optax.GradientTransformationExtraArgs,
    momentum: float,
    overwrite_frequency: int | None,
    accumulation_steps: int,
) -> optax.GradientTransformationExtraArgs:
    """Keeps a running mean of each parameter, and puts it in the parameter's place now and then."""

    def init_fn(params: Any) -> AverageState:
        return AverageState(jax.tree.map(zeros, params), inner.init(params))

    def update_fn(updates: Any, state: AverageState, params: Any = None, *, step: Any, **others: Any) -> Any:
        changes, rest = inner.update(updates, state.inner, params, step=step, **others)
        updated = optax.apply_updates(params, changes)
        number = step // accumulation_steps if accumulation_steps > 1 else step
        kept = jnp.where(number == 0, 0.0, momentum)

        def mean(average: Any, p: Any) -> Any:
            k = kept.astype(p.dtype)
            return k * average + (1 - k) * p

        average = jax.tree.map(mean, state.average, updated)
        if overwrite_frequency:
            due = (number + 1) % overwrite_frequency == 0
            changes = jax.tree.map(lambda c, a, p: jnp.where(due, a - p, c), changes, average, params)
        return changes, AverageState(average, rest)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def with_missing(
    inner: optax.GradientTransformationExtraArgs, missing: frozenset[str]
) -> optax.GradientTransformationExtraArgs:
    """Leaves the parameters of some names, and their slots, as they are: those that got no gradient."""

    def keep(path: Any, old: Any, new: Any) -> Any:
        return old if any(getattr(key, "key", None) in missing for key in path) else new

    def update_fn(updates: Any, state: Any, params: Any = None, **others: Any) -> Any:
        changes, new = inner.update(updates, state, params, **others)
        still = jax.tree.map(jnp.zeros_like, changes)
        changes = jax.tree_util.tree_map_with_path(keep, still, changes)
        return changes, jax.tree_util.tree_map_with_path(keep, state, new)

    return optax.GradientTransformationExtraArgs(inner.init, update_fn)
