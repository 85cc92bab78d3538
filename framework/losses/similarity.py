"""Losses of directions and embeddings."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import registry, settings
from lamina.core.checks import check_int, check_number
from lamina.core.errors import ShapeError
from lamina.losses.loss import LossFunctionWrapper
from lamina.losses.reduction import operands, to_array, to_float
from lamina.state.masks import set_mask


def unit_vectors(x: jax.Array, axis: int | tuple[int, ...] = -1) -> jax.Array:
    """`x` divided by its Euclidean norm along `axis`; a zero vector stays zero, with a zero gradient."""
    squares = jnp.sum(jnp.square(x), axis=axis, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(squares, settings.epsilon() ** 2))


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> jax.Array:
    """Minus the cosine of the angle between two vectors: -1 for the same direction, 1 for opposite ones.

    Shape: `(..., d)` and `(..., d)` to `(...)`.

    Args:
        y_true: the target vectors.
        y_pred: the predicted vectors.
        axis: the axis of the vectors.

    Example:
        >>> cosine_similarity([[1.0, 0.0]], [[2.0, 0.0]]).tolist()
        [-1.0]
    """
    y_true, y_pred = operands(y_true, y_pred, match_rank=True)
    return -jnp.sum(unit_vectors(y_true, axis) * unit_vectors(y_pred, axis), axis=axis)


def _log_sum_exp(values: jax.Array, mask: jax.Array) -> jax.Array:
    """The logarithm of the sum of exponentials where `mask` holds; -inf, with no gradient, where it never does."""
    some = jnp.any(mask, axis=1)
    mask_or_all = mask | ~some[:, None]
    result = jax.nn.logsumexp(jnp.where(mask_or_all, values, -jnp.inf), axis=1)
    return jnp.where(some, result, -jnp.inf)


def circle(
    y_true: Any,
    y_pred: Any,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> jax.Array:
    """The circle loss of embeddings of unit length: pairs of a class close, pairs of two classes apart.

    `softplus(logsumexp(-g a_p (m - d_p)) + logsumexp(g a_n (1 - m - d_n)))` over the distances `d = 1 - cos` of
    positive and negative pairs, with the weights `a_p = max(0, m + d_p)` and `a_n = max(0, 1 + m - d_n)`.

    Shape: `(batch,)` or `(batch, 1)`, and `(batch, d)`, to `(batch,)`. Rows of loss 0 do not count in means.

    Args:
        y_true: integer classes.
        y_pred: embeddings of unit length.
        ref_labels: the classes that embeddings are compared with; by default those of the batch.
        ref_embeddings: their embeddings.
        remove_diagonal: whether an embedding is no pair with itself.
        gamma: the scale of the similarities.
        margin: how far positive pairs may lie apart.

    Example:
        >>> import numpy as np
        >>> [round(x, 2) for x in circle([0, 0, 1], np.eye(3, dtype="float32"), gamma=1.0).tolist()]
        [1.09, 1.09, 0.0]

    Reference: Sun et al., "Circle Loss", 2020.
    """
    y_pred = to_float(y_pred)
    if y_pred.ndim != 2:
        raise ShapeError(f"circle: y_pred must be embeddings of shape (batch, d), got shape {tuple(y_pred.shape)}.")
    labels = to_array(y_true, "int32").reshape(-1, 1)
    others = y_pred if ref_embeddings is None else to_array(ref_embeddings, y_pred.dtype)
    other_labels = labels if ref_labels is None else to_array(ref_labels, "int32").reshape(-1, 1)
    distance = jnp.maximum(1.0 - y_pred @ others.T, 0.0)
    positive = labels == other_labels.T
    negative = ~positive
    if remove_diagonal:
        positive = positive & ~jnp.eye(positive.shape[0], positive.shape[1], dtype=bool)
    positive_weight = jnp.maximum(margin + distance, 0.0)
    negative_weight = jnp.maximum(1.0 + margin - distance, 0.0)
    p = _log_sum_exp(-gamma * positive_weight * (margin - distance), positive)
    n = _log_sum_exp(gamma * negative_weight * (1.0 - margin - distance), negative)
    paired = jnp.isfinite(p) & jnp.isfinite(n)
    losses = jnp.where(paired, jax.nn.softplus(jnp.where(paired, p + n, 0.0)), 0.0)
    set_mask(losses, losses > 0)
    return losses


class CosineSimilarity(LossFunctionWrapper):
    """Minus the cosine of the angle between targets and predictions.

    Args:
        axis: the axis of the vectors.
        reduction: see `Loss`.
        name: the name.
        dtype: see `Loss`.

    Example:
        >>> float(CosineSimilarity()([[1.0, 0.0]], [[2.0, 0.0]]))
        -1.0
    """

    _config_only_if_set = ("axis",)

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "cosine_similarity",
        dtype: Any = None,
    ):
        self.axis = check_int("CosineSimilarity", "axis", axis)
        super().__init__(cosine_similarity, reduction, name, dtype, axis=axis)


class Circle(LossFunctionWrapper):
    """The circle loss of embeddings of unit length; see `circle` for the formula.

    Args:
        gamma: the scale of the similarities.
        margin: how far positive pairs may lie apart.
        remove_diagonal: whether an embedding is no pair with itself.
        reduction: see `Loss`.
        name: the name.
        dtype: see `Loss`.

    Example:
        >>> import numpy as np
        >>> round(float(Circle(gamma=1.0)([0, 0, 1], np.eye(3, dtype="float32"))), 3)
        1.09

    Reference: Sun et al., "Circle Loss", 2020.
    """

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str = "circle",
        dtype: Any = None,
    ):
        self.gamma = check_number("Circle", "gamma", gamma)
        self.margin = check_number("Circle", "margin", margin)
        self.remove_diagonal = remove_diagonal
        super().__init__(circle, reduction, name, dtype, gamma=gamma, margin=margin, remove_diagonal=remove_diagonal)


registry.add_builtin(cosine_similarity)
registry.add_builtin(circle)
