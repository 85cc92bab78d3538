"""Crossentropies of classes: binary, one-hot and integer targets."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import registry, settings
from lamina.core.checks import check_int, check_number
from lamina.core.errors import ShapeError, describe
from lamina.losses.loss import LossFunctionWrapper
from lamina.losses.reduction import operands, to_array, to_float
from lamina.state.masks import set_mask


def require_same_shape(owner: str, y_true: jax.Array, y_pred: jax.Array, cure: str) -> None:
    """Raises if targets and predictions differ in shape."""
    if y_true.shape != y_pred.shape:
        raise ShapeError(
            f"{owner}: y_true and y_pred must have the same shape, got {tuple(y_true.shape)} and "
            f"{tuple(y_pred.shape)}. {cure}"
        )


def clip_probability(p: jax.Array) -> jax.Array:
    """Keeps a probability away from 0 and 1, so that its logarithm stays finite."""
    return jnp.clip(p, settings.epsilon(), 1.0 - settings.epsilon())


def binary_log_loss(y_true: jax.Array, y_pred: jax.Array, from_logits: bool) -> jax.Array:
    """The crossentropy of each element: `-y log p - (1 - y) log(1 - p)`."""
    if from_logits:
        return -y_true * jax.nn.log_sigmoid(y_pred) - (1.0 - y_true) * jax.nn.log_sigmoid(-y_pred)
    p = clip_probability(y_pred)
    return -(y_true * jnp.log(p) + (1.0 - y_true) * jnp.log(1.0 - p))


def log_probabilities(y_pred: jax.Array, from_logits: bool, axis: int) -> jax.Array:
    """The logarithms of class probabilities, made to sum to one and clipped."""
    if from_logits:
        return jax.nn.log_softmax(y_pred, axis=axis)
    return jnp.log(clip_probability(y_pred / jnp.sum(y_pred, axis=axis, keepdims=True)))


def class_axis(owner: str, axis: int, ndim: int) -> int:
    """The axis of the classes as a number from 0."""
    axis = check_int(owner, "axis", axis)
    if not -ndim <= axis < ndim:
        raise ValueError(
            f"{owner}: axis must lie between {-ndim} and {ndim - 1} for y_pred of {ndim} axes, got {axis}."
        )
    return axis % ndim


def smooth_classes(y_true: jax.Array, label_smoothing: float, axis: int) -> jax.Array:
    """Moves `label_smoothing` of the probability to all classes alike."""
    if not label_smoothing:
        return y_true
    return y_true * (1.0 - label_smoothing) + label_smoothing / y_true.shape[axis]


def warn_of_one_class(owner: str, y_pred: jax.Array, axis: int) -> None:
    """One class only has probability 1: the loss would be constant."""
    if y_pred.shape[axis] == 1:
        warnings.warn(
            f"{owner}: y_pred has one class only (shape {tuple(y_pred.shape)}), so the loss does not change. "
            "With two classes in one column use binary_crossentropy.",
            SyntaxWarning,
            stacklevel=3,
        )


_TO_SPARSE = "For integer classes use sparse_categorical_crossentropy."


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> jax.Array:
    """The mean over `axis` of `-y log p - (1 - y) log(1 - p)`.

    Shape: `(..., d)` and `(..., d)` to `(...)`.

    Args:
        y_true: 0 or 1, or probabilities.
        y_pred: probabilities, clipped to 1e-7 .. 1 - 1e-7, or logits.
        from_logits: whether `y_pred` are logits, before the sigmoid.
        label_smoothing: how far targets are moved from 0 and 1 to 1/2.
        axis: the axis of the mean.

    Example:
        >>> binary_crossentropy([[0.0, 1.0]], [[0.0, 0.0]], from_logits=True).tolist()
        [0.6931471824645996]
    """
    y_true, y_pred = operands(y_true, y_pred)
    require_same_shape("binary_crossentropy", y_true, y_pred, _TO_SPARSE)
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + 0.5 * label_smoothing
    return jnp.mean(binary_log_loss(y_true, y_pred, from_logits), axis=axis)


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> jax.Array:
    """The crossentropy `-sum(y log p)` over the classes.

    Shape: `(..., classes)` and `(..., classes)` to `(...)`.

    Args:
        y_true: one-hot targets, or probabilities.
        y_pred: probabilities, made to sum to 1 and clipped to 1e-7 .. 1 - 1e-7, or logits.
        from_logits: whether `y_pred` are logits, before the softmax.
        label_smoothing: how much of the probability is given to all classes alike.
        axis: the axis of the classes.

    Example:
        >>> categorical_crossentropy([[0.0, 1.0]], [[0.0, 0.0]], from_logits=True).tolist()
        [0.6931471824645996]
    """
    owner = "categorical_crossentropy"
    y_true, y_pred = operands(y_true, y_pred)
    axis = class_axis(owner, axis, y_pred.ndim)
    require_same_shape(owner, y_true, y_pred, _TO_SPARSE)
    warn_of_one_class(owner, y_pred, axis)
    y_true = smooth_classes(y_true, label_smoothing, axis)
    return -jnp.sum(y_true * log_probabilities(y_pred, from_logits, axis), axis=axis)


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> jax.Array:
    """The crossentropy `-log p[y]` of integer classes.

    Shape: `(...)` or `(..., 1)`, and `(..., classes)`, to `(...)`.

    Args:
        y_true: integer classes; the loss of a class outside `0 .. classes - 1` is 0.
        y_pred: probabilities, made to sum to 1 and clipped to 1e-7 .. 1 - 1e-7, or logits.
        from_logits: whether `y_pred` are logits, before the softmax.
        ignore_class: a class whose elements have loss 0 and do not count in means.
        axis: the axis of the classes.

    Raises:
        ShapeError: the targets do not have the predictions' shape without the class axis.

    Example:
        >>> sparse_categorical_crossentropy([1], [[0.0, 0.0]], from_logits=True).tolist()
        [0.6931471824645996]
    """
    owner = "sparse_categorical_crossentropy"
    y_pred, y_true = to_float(y_pred), to_array(y_true)
    axis = class_axis(owner, axis, y_pred.ndim)
    if y_true.ndim == y_pred.ndim and y_true.shape[axis] == 1:
        y_true = jnp.squeeze(y_true, axis)
    expected = y_pred.shape[:axis] + y_pred.shape[axis + 1 :]
    if y_true.shape != expected:
        cure = " For one-hot targets use categorical_crossentropy." if y_true.shape == y_pred.shape else ""
        raise ShapeError(
            f"{owner}: y_true must hold one integer class for each prediction, so with y_pred of shape "
            f"{tuple(y_pred.shape)} its shape must be {expected}, got {describe(y_true)}.{cure}"
        )
    classes = y_true.astype("int32")
    valid = None
    if ignore_class is not None:
        valid = classes != ignore_class
        # Zeros in the place of ignored predictions, so that infinities there do not reach the gradient.
        classes = jnp.where(valid, classes, 0)
        y_pred = jnp.where(jnp.expand_dims(valid, axis), y_pred, jnp.zeros((), y_pred.dtype))
    # A comparison fuses with the logarithm in both directions, where a gather's gradient would be a scatter.
    numbers = jax.lax.broadcasted_iota("int32", y_pred.shape, axis)
    log_p = log_probabilities(y_pred, from_logits, axis)
    chosen = jnp.where(numbers == jnp.expand_dims(classes, axis), log_p, jnp.zeros((), log_p.dtype))
    losses = -jnp.sum(chosen, axis=axis)
    if valid is not None:
        losses = jnp.where(valid, losses, jnp.zeros((), losses.dtype))
        set_mask(losses, valid)
    return losses


class BinaryCrossentropy(LossFunctionWrapper):
    """The crossentropy of targets 0 and 1.

    `mean(-y log p - (1 - y) log(1 - p))`

    Args:
        from_logits: whether predictions are logits, before the sigmoid.
        label_smoothing: how far targets are moved from 0 and 1 to 1/2, in 0 .. 1.
        axis: the axis of the mean.
        reduction: see `Loss`.
        name: the name.
        dtype: see `Loss`.

    Example:
        >>> float(BinaryCrossentropy(from_logits=True)([[0.0], [1.0]], [[0.0], [0.0]]))
        0.6931471824645996
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "binary_crossentropy",
        dtype: Any = None,
    ):
        self.from_logits = from_logits
        self.label_smoothing = check_number("BinaryCrossentropy", "label_smoothing", label_smoothing, 0, 1)
        self.axis = check_int("BinaryCrossentropy", "axis", axis)
        super().__init__(
            binary_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class CategoricalCrossentropy(LossFunctionWrapper):
    """The crossentropy of one-hot targets, `-sum(y log p)`.

    Args:
        from_logits: whether predictions are logits, before the softmax.
        label_smoothing: how much of the probability is given to all classes alike, in 0 .. 1.
        axis: the axis of the classes.
        reduction: see `Loss`.
        name: the name.
        dtype: see `Loss`.

    Example:
        >>> float(CategoricalCrossentropy(from_logits=True)([[0.0, 1.0]], [[0.0, 0.0]]))
        0.6931471824645996
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "categorical_crossentropy",
        dtype: Any = None,
    ):
        self.from_logits = from_logits
        self.label_smoothing = check_number("CategoricalCrossentropy", "label_smoothing", label_smoothing, 0, 1)
        self.axis = check_int("CategoricalCrossentropy", "axis", axis)
        super().__init__(
            categorical_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class SparseCategoricalCrossentropy(LossFunctionWrapper):
    """The crossentropy of integer classes, `-log p[y]`.

    Args:
        from_logits: whether predictions are logits, before the softmax.
        ignore_class: a class whose elements do not count.
        reduction: see `Loss`.
        axis: the axis of the classes.
        name: the name.
        dtype: see `Loss`.

    Example:
        >>> float(SparseCategoricalCrossentropy(from_logits=True)([1], [[0.0, 0.0]]))
        0.6931471824645996
    """

    _config_only_if_set = ("axis",)

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str = "sparse_categorical_crossentropy",
        dtype: Any = None,
    ):
        self.from_logits = from_logits
        self.axis = check_int("SparseCategoricalCrossentropy", "axis", axis)
        if ignore_class is not None:
            ignore_class = check_int("SparseCategoricalCrossentropy", "ignore_class", ignore_class)
        self.ignore_class = ignore_class
        super().__init__(
            sparse_categorical_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
        )


for _function in (binary_crossentropy, categorical_crossentropy, sparse_categorical_crossentropy):
    registry.add_builtin(_function)
