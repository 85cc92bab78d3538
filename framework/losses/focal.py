"""Crossentropies that play down easy examples or wrong labels."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import registry
from lamina.core.checks import check_int, check_number
from lamina.core.errors import ShapeError
from lamina.losses.crossentropy import (
    binary_log_loss,
    class_axis,
    clip_probability,
    require_same_shape,
    smooth_classes,
    warn_of_one_class,
)
from lamina.losses.loss import LossFunctionWrapper
from lamina.losses.reduction import operands, to_array, to_float


def _power(base: jax.Array, exponent: float) -> jax.Array:
    """`base**exponent` with a finite gradient at 0 for exponents below 1."""
    if exponent >= 1:
        return base**exponent
    positive = base > 0
    return jnp.where(positive, jnp.where(positive, base, 1.0) ** exponent, 0.0 if exponent else 1.0)


def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> jax.Array:
    """The mean over `axis` of `(1 - p_t)**gamma` times the binary crossentropy.

    `p_t` is the probability given to the target. With class balancing, targets 1 weigh `alpha`, targets 0 the rest.

    Shape: `(..., d)` and `(..., d)` to `(...)`.

    Args:
        y_true: 0 or 1, or probabilities.
        y_pred: probabilities, or logits.
        apply_class_balancing: whether the two classes are weighted.
        alpha: the weight of class 1; that of class 0 is `1 - alpha`.
        gamma: how much easy examples are played down; 0 is the binary crossentropy.
        from_logits: whether `y_pred` are logits, before the sigmoid.
        label_smoothing: how far targets are moved from 0 and 1 to 1/2.
        axis: the axis of the mean.

    Example:
        >>> binary_focal_crossentropy([[1.0]], [[0.5]]).tolist()
        [0.1732867956161499]

    Reference: Lin et al., "Focal Loss for Dense Object Detection", 2017.
    """
    y_true, y_pred = operands(y_true, y_pred)
    require_same_shape("binary_focal_crossentropy", y_true, y_pred, "Give one target for each prediction.")
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + 0.5 * label_smoothing
    if from_logits:
        y_pred = jax.nn.sigmoid(y_pred)
    p_target = y_true * y_pred + (1.0 - y_true) * (1.0 - y_pred)
    losses = _power(1.0 - p_target, gamma) * binary_log_loss(y_true, y_pred, from_logits=False)
    if apply_class_balancing:
        losses = (y_true * alpha + (1.0 - y_true) * (1.0 - alpha)) * losses
    return jnp.mean(losses, axis=axis)


def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: Any = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> jax.Array:
    """The crossentropy of one-hot targets, played down where the prediction is right: `-alpha (1 - p)**gamma y log p`.

    Shape: `(..., classes)` and `(..., classes)` to `(...)`.

    Args:
        y_true: one-hot targets, or probabilities.
        y_pred: probabilities, made to sum to 1, or logits.
        alpha: a weight, or one weight a class.
        gamma: how much easy examples are played down; 0 is the crossentropy.
        from_logits: whether `y_pred` are logits, before the softmax.
        label_smoothing: how much of the probability is given to all classes alike.
        axis: the axis of the classes.

    Example:
        >>> round(float(categorical_focal_crossentropy([[0.0, 1.0]], [[0.5, 0.5]])[0]), 4)
        0.0433

    Reference: Lin et al., "Focal Loss for Dense Object Detection", 2017.
    """
    owner = "categorical_focal_crossentropy"
    y_true, y_pred = operands(y_true, y_pred)
    axis = class_axis(owner, axis, y_pred.ndim)
    require_same_shape(owner, y_true, y_pred, "For integer classes make them one-hot first.")
    warn_of_one_class(owner, y_pred, axis)
    y_true = smooth_classes(y_true, label_smoothing, axis)
    if from_logits:
        y_pred = jax.nn.softmax(y_pred, axis=axis)
    p = clip_probability(y_pred / jnp.sum(y_pred, axis=axis, keepdims=True))
    weight = alpha if isinstance(alpha, (int, float)) else to_array(alpha, p.dtype)
    return jnp.sum(_power(1.0 - p, gamma) * weight * (-y_true * jnp.log(p)), axis=axis)


def categorical_generalized_cross_entropy(y_true: Any, y_pred: Any, q: float) -> jax.Array:
    """A crossentropy that wrong labels move little: `(1 - p[y]**q) / q`.

    Shape: `(...)` and `(..., classes)` to `(...)`.

    Args:
        y_true: integer classes.
        y_pred: probabilities.
        q: between 0 (the crossentropy) and 1 (the mean absolute error).

    Example:
        >>> categorical_generalized_cross_entropy([1], [[0.75, 0.25]], q=0.5).tolist()
        [1.0]

    Reference: Zhang and Sabuncu, "Generalized Cross Entropy Loss", 2018.
    """
    y_pred, y_true = to_float(y_pred), to_array(y_true, "int32")
    if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
        y_true = y_true[..., 0]
    if y_true.shape != y_pred.shape[:-1]:
        raise ShapeError(
            "categorical_generalized_cross_entropy: y_true must hold one integer class for each prediction, so with "
            f"y_pred of shape {tuple(y_pred.shape)} its shape must be {y_pred.shape[:-1]}, got {tuple(y_true.shape)}."
        )
    p = jnp.sum(y_pred * jax.nn.one_hot(y_true, y_pred.shape[-1], dtype=y_pred.dtype), axis=-1)
    return (1.0 - _power(p, q)) / q


class BinaryFocalCrossentropy(LossFunctionWrapper):
    """The binary crossentropy, played down for examples that are predicted well already.

    `mean((1 - p_t)**gamma * crossentropy)`, with `p_t` the probability given to the target.

    Args:
        apply_class_balancing: whether targets 1 weigh `alpha` and targets 0 the rest.
        alpha: the weight of class 1.
        gamma: how much easy examples are played down.
        from_logits: whether predictions are logits, before the sigmoid.
        label_smoothing: how far targets are moved from 0 and 1 to 1/2, in 0 .. 1.
        axis: the axis of the mean.
        reduction: see `Loss`.
        name: the name.
        dtype: see `Loss`.

    Example:
        >>> float(BinaryFocalCrossentropy()([[1.0]], [[0.5]]))
        0.1732867956161499

    Reference: Lin et al., "Focal Loss for Dense Object Detection", 2017.
    """

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "binary_focal_crossentropy",
        dtype: Any = None,
    ):
        owner = "BinaryFocalCrossentropy"
        self.apply_class_balancing = apply_class_balancing
        self.alpha = check_number(owner, "alpha", alpha)
        self.gamma = check_number(owner, "gamma", gamma, 0)
        self.from_logits = from_logits
        self.label_smoothing = check_number(owner, "label_smoothing", label_smoothing, 0, 1)
        self.axis = check_int(owner, "axis", axis)
        super().__init__(
            binary_focal_crossentropy,
            reduction,
            name,
            dtype,
            apply_class_balancing=apply_class_balancing,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class CategoricalFocalCrossentropy(LossFunctionWrapper):
    """The crossentropy of one-hot targets, played down for examples that are predicted well already.

    `sum(-alpha (1 - p)**gamma y log p)`

    Args:
        alpha: a weight, or one weight a class.
        gamma: how much easy examples are played down.
        from_logits: whether predictions are logits, before the softmax.
        label_smoothing: how much of the probability is given to all classes alike, in 0 .. 1.
        axis: the axis of the classes.
        reduction: see `Loss`.
        name: the name.
        dtype: see `Loss`.

    Example:
        >>> round(float(CategoricalFocalCrossentropy()([[0.0, 1.0]], [[0.5, 0.5]])), 4)
        0.0433

    Reference: Lin et al., "Focal Loss for Dense Object Detection", 2017.
    """

    def __init__(
        self,
        alpha: Any = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "categorical_focal_crossentropy",
        dtype: Any = None,
    ):
        owner = "CategoricalFocalCrossentropy"
        self.alpha = alpha
        self.gamma = check_number(owner, "gamma", gamma, 0)
        self.from_logits = from_logits
        self.label_smoothing = check_number(owner, "label_smoothing", label_smoothing, 0, 1)
        self.axis = check_int(owner, "axis", axis)
        super().__init__(
            categorical_focal_crossentropy,
            reduction,
            name,
            dtype,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class CategoricalGeneralizedCrossEntropy(LossFunctionWrapper):
    """A crossentropy of integer classes that wrong labels move little, `(1 - p[y]**q) / q`.

    Args:
        q: between 0 (the crossentropy) and 1 (the mean absolute error), both excluded.
        reduction: see `Loss`.
        name: the name.
        dtype: see `Loss`.

    Raises:
        ValueError: q does not lie between 0 and 1.

    Example:
        >>> float(CategoricalGeneralizedCrossEntropy()([1], [[0.75, 0.25]]))
        1.0

    Reference: Zhang and Sabuncu, "Generalized Cross Entropy Loss", 2018.
    """

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str = "categorical_generalized_cross_entropy",
        dtype: Any = None,
    ):
        self.q = check_number("CategoricalGeneralizedCrossEntropy", "q", q)
        if not 0 < q < 1:
            raise ValueError(
                f"CategoricalGeneralizedCrossEntropy: q must lie between 0 and 1, both excluded, got {q}. "
                "Use SparseCategoricalCrossentropy for q = 0, MeanAbsoluteError for q = 1."
            )
        super().__init__(categorical_generalized_cross_entropy, reduction, name, dtype, q=q)


for _function in (binary_focal_crossentropy, categorical_focal_crossentropy, categorical_generalized_cross_entropy):
    registry.add_builtin(_function)
