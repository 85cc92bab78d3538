"""Counts of true and false positives and negatives at many thresholds at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core import settings
from lamina.core.checks import check_number
from lamina.core.errors import ShapeError
from lamina.losses.reduction import squeeze_or_expand_to_same_rank, to_array

# Below all predictions: with top_k, what is not among the k largest is set to it, and it is the threshold.
LOWEST = -1e10


class Counts(NamedTuple):
    """Weighted counts, `(thresholds,)`, or `(thresholds, labels)`."""

    true_positives: jax.Array
    false_positives: jax.Array
    true_negatives: jax.Array
    false_negatives: jax.Array


def check_thresholds(owner: Any, thresholds: Any, default: float) -> list[float]:
    """Thresholds as a list of numbers between 0 and 1; None is the default."""
    if thresholds is None:
        return [default]
    given = thresholds if isinstance(thresholds, (list, tuple, np.ndarray)) else [thresholds]
    return [float(check_number(owner, "thresholds", float(t), 0, 1)) for t in given]


def even_thresholds(count: int) -> list[float]:
    """`count` thresholds from 0 to 1; one alone is 0.5."""
    return [0.5] if count == 1 else [i / (count - 1) for i in range(count)]


def are_even(thresholds: Sequence[float]) -> bool:
    """Whether three or more thresholds lie evenly from 0 to 1 (up to the fuzz factor)."""
    n = len(thresholds)
    return n >= 3 and bool(np.allclose(thresholds, np.arange(n) / (n - 1), atol=settings.epsilon()))


def keep_top_k(y_pred: jax.Array, k: int) -> jax.Array:
    """The `k` largest predictions of each sample; the others as `LOWEST`."""
    _, places = jax.lax.top_k(y_pred, k)
    kept = jnp.any(places[..., None] == jnp.arange(y_pred.shape[-1]), axis=-2)
    return jnp.where(kept, y_pred, jnp.asarray(LOWEST, y_pred.dtype))


def confusion_counts(
    owner: str,
    y_true: Any,
    y_pred: Any,
    thresholds: Sequence[float],
    dtype: Any,
    *,
    even: bool = False,
    top_k: int | None = None,
    class_id: int | None = None,
    sample_weight: Any = None,
    multi_label: bool = False,
    label_weights: Any = None,
) -> Counts:
    """How predictions above each threshold agree with targets.

    Args:
        owner: the metric, for errors.
        y_true: targets; all but 0 mean true.
        y_pred: predictions, of the same shape up to a last axis of size 1.
        thresholds: a prediction is positive if it is larger.
        dtype: the dtype to count in.
        even: whether the thresholds lie evenly from 0 to 1: then predictions are sorted into bins, which does not
            take a comparison with each threshold.
        top_k: only so many predictions of each sample may be positive.
        class_id: the one class that is looked at.
        sample_weight: weights, one a sample or an element.
        multi_label: whether the columns are counted apart.
        label_weights: a weight a column, where they are counted together.
    """
    y_pred, y_true = squeeze_or_expand_to_same_rank(to_array(y_pred, dtype), to_array(y_true, dtype))
    weight = None
    if sample_weight is not None:
        weight = to_array(sample_weight, dtype)[..., None]
        _, weight = squeeze_or_expand_to_same_rank(y_true, weight, expand_rank_1=False)
    if top_k is not None:
        y_pred = keep_top_k(y_pred, top_k)
    if class_id is not None:
        if y_pred.ndim == 1:
            raise ShapeError(f"{owner}: class_id needs predictions of shape (batch, classes), got {y_pred.shape}.")
        y_true, y_pred = y_true[..., class_id, None], y_pred[..., class_id, None]
    if y_true.shape != y_pred.shape:
        raise ShapeError(
            f"{owner}: y_true and y_pred must have the same shape, got {tuple(y_true.shape)} and {tuple(y_pred.shape)}."
        )
    weights = jnp.ones((), dtype) if weight is None else weight
    if label_weights is not None:
        weights = weights * to_array(label_weights, dtype)
    weights = jnp.broadcast_to(weights, y_pred.shape)
    true = y_true != 0
    columns = (-1, y_pred.shape[-1]) if multi_label else (-1, 1)
    right = jnp.where(true, weights, 0).reshape(columns)
    wrong = jnp.where(true, 0, weights).reshape(columns)
    y_pred = y_pred.reshape(columns)
    above = _above_even if even else _above
    tp, fp = above(y_pred, right, thresholds), above(y_pred, wrong, thresholds)
    counts = Counts(tp, fp, jnp.sum(wrong, axis=0) - fp, jnp.sum(right, axis=0) - tp)
    return counts if multi_label else Counts(*(c[:, 0] for c in counts))


def _above(y_pred: jax.Array, weights: jax.Array, thresholds: Sequence[float]) -> jax.Array:
    """The sums of the weights of predictions above each threshold, `(thresholds, columns)`."""
    levels = np.asarray(thresholds, y_pred.dtype)[:, None, None]
    return jnp.sum(jnp.where(y_pred > levels, weights, 0), axis=1)


def _above_even(y_pred: jax.Array, weights: jax.Array, thresholds: Sequence[float]) -> jax.Array:
    """The same for evenly spaced thresholds: the weights of each bin, summed from the top."""
    n, columns = len(thresholds), y_pred.shape[1]
    bins = jnp.ceil(jnp.clip(y_pred, 0.0, 1.0) * (n - 1)).astype("int32") - 1
    if thresholds[0] < 0.0:
        bins = jnp.maximum(bins, 0)
    # A prediction of 0 lies above no threshold from 0 up: it goes to a number that is dropped.
    place = jnp.where(bins < 0, -1, bins * columns + jnp.arange(columns))
    sums = jax.ops.segment_sum(weights.reshape(-1), place.reshape(-1), num_segments=n * columns)
    return jnp.cumsum(sums.reshape(n, columns)[::-1], axis=0)[::-1]
