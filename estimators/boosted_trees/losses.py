"""First and second derivatives of the losses of heads by their logits, and the constants that start boosting."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.estimators.heads import BinaryClassHead, Head, MultiClassHead, RegressionHead

# Second derivatives are at least this: a step of 1 / this is enough for a row that is far off.
_LEAST_CURVATURE = 1e-3


def loss_kind(head: Head) -> Any:
    """What tells compiled steps apart: the name of a loss with known derivatives, or else the head."""
    if head.loss_fn is None:
        if type(head) is BinaryClassHead:
            return "binary"
        if type(head) is MultiClassHead:
            return "multiclass"
        if type(head) is RegressionHead and head.inverse_link_fn is None:
            return "squared"
    return head


def row_losses(kind: Any, labels: Any, logits: Any) -> Any:
    """The loss of each row, (rows,); labels and logits (rows, outputs), or class numbers (rows, 1)."""
    if kind == "squared":
        return jnp.square(logits - labels).sum(1)
    if kind == "binary":
        return jax.nn.softplus(logits[:, 0]) - logits[:, 0] * labels[:, 0]
    if kind == "multiclass":
        picked = jnp.take_along_axis(logits, labels.astype(jnp.int32), axis=1)[:, 0]
        return jax.nn.logsumexp(logits, axis=1) - picked
    losses = kind.losses(kind.shape_labels(labels, logits), logits)
    return losses.reshape(losses.shape[0], -1).sum(1)


def derivatives(kind: Any, labels: Any, logits: Any) -> tuple[jax.Array, jax.Array]:
    """First and second derivatives of each row's loss, by each of its logits.

    Shape:
        labels (rows, n), logits (rows, outputs) -> twice (rows, outputs)

    Args:
        kind: see `loss_kind`.
        labels: the labels.
        logits: the logits.
    """
    if kind == "squared":
        return 2 * (logits - labels), jnp.full_like(logits, 2.0)
    if kind in ("binary", "multiclass"):
        if kind == "binary":
            p, truth = jax.nn.sigmoid(logits), labels
        else:
            p, truth = jax.nn.softmax(logits), jax.nn.one_hot(labels[:, 0], logits.shape[1])
        return p - truth, jnp.maximum(p * (1 - p), _LEAST_CURVATURE)

    def gradient(z: Any) -> jax.Array:
        return jax.grad(lambda z: row_losses(kind, labels, z).sum())(z)

    second = []
    for k in range(logits.shape[1]):  # rows do not touch each other, so one direction serves all of them
        direction = jnp.zeros_like(logits).at[:, k].set(1.0)
        second.append(jax.jvp(gradient, (logits,), (direction,))[1][:, k])
    return gradient(logits), jnp.maximum(jnp.stack(second, axis=1), _LEAST_CURVATURE)


def best_constant(kind: Any, labels: Any, weights: Any, outputs: int) -> jax.Array:
    """The logits, the same for all rows, of the least loss: by Newton's method, (outputs,)."""
    weights = weights[:, None]

    def step(_: Any, base: Any) -> Any:
        g, h = derivatives(kind, labels, jnp.broadcast_to(base, (labels.shape[0], outputs)))
        move = -(weights * g).sum(0) / jnp.maximum((weights * h).sum(0), 1e-12)
        return base + jnp.clip(move, -2.0, 2.0) if kind != "squared" else base + move

    return jax.lax.fori_loop(0, 1 if kind == "squared" else 30, step, jnp.zeros(outputs, jnp.float32))
