"""Means of crossentropies, divergences and hinge losses over all batches."""

from __future__ import annotations

from typing import Any

from lamina.core.checks import check_int, check_number
from lamina.losses import crossentropy, divergence
from lamina.metrics.reduction import MeanMetricWrapper


class KLDivergence(MeanMetricWrapper):
    """The mean Kullback-Leibler divergence, `sum(y log(y / p))`.

    Args:
        name: the name.
        dtype: the dtype to compute in.

    Example:
        >>> round(float(KLDivergence()([[1.0, 0.0]], [[0.5, 0.5]])), 4)
        0.6931
    """

    _direction = "down"

    def __init__(self, name: str = "kl_divergence", dtype: Any = None):
        super().__init__(divergence.kl_divergence, name, dtype)


class Poisson(MeanMetricWrapper):
    """The mean of `p - y log p`, the negative log-likelihood of counts but for a constant.

    Args:
        name: the name.
        dtype: the dtype to compute in.

    Example:
        >>> round(float(Poisson()([[2.0, 0.0]], [[1.0, 1.0]])), 4)
        1.0
    """

    _direction = "down"

    def __init__(self, name: str = "poisson", dtype: Any = None):
        super().__init__(divergence.poisson, name, dtype)


class Hinge(MeanMetricWrapper):
    """The mean of `max(0, 1 - y_true y_pred)`, for targets -1 and 1 (or 0 and 1).

    Args:
        name: the name.
        dtype: the dtype to compute in.

    Example:
        >>> float(Hinge()([[1.0, -1.0]], [[0.5, 0.5]]))
        1.0
    """

    _direction = "down"

    def __init__(self, name: str = "hinge", dtype: Any = None):
        super().__init__(divergence.hinge, name, dtype)


class SquaredHinge(MeanMetricWrapper):
    """The mean of `max(0, 1 - y_true y_pred)**2`, for targets -1 and 1 (or 0 and 1).

    Args:
        name: the name.
        dtype: the dtype to compute in.

    Example:
        >>> float(SquaredHinge()([[1.0, -1.0]], [[0.5, 0.5]]))
        1.25
    """

    _direction = "down"

    def __init__(self, name: str = "squared_hinge", dtype: Any = None):
        super().__init__(divergence.squared_hinge, name, dtype)


class CategoricalHinge(MeanMetricWrapper):
    """The mean of `max(0, 1 + max((1 - y) p) - sum(y p))`, for one-hot targets.

    Args:
        name: the name.
        dtype: the dtype to compute in.

    Example:
        >>> float(CategoricalHinge()([[0.0, 1.0]], [[0.5, 1.0]]))
        0.5
    """

    _direction = "down"

    def __init__(self, name: str = "categorical_hinge", dtype: Any = None):
        super().__init__(divergence.categorical_hinge, name, dtype)


class BinaryCrossentropy(MeanMetricWrapper):
    """The mean crossentropy of targets 0 and 1.

    Args:
        name: the name.
        dtype: the dtype to compute in.
        from_logits: whether predictions are logits, before the sigmoid.
        label_smoothing: how far targets are moved from 0 and 1 to 1/2, in 0 .. 1.

    Example:
        >>> round(float(BinaryCrossentropy(from_logits=True)([[0.0], [1.0]], [[0.0], [0.0]])), 4)
        0.6931
    """

    _direction = "down"

    def __init__(
        self,
        name: str = "binary_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ):
        self.from_logits = from_logits
        self.label_smoothing = check_number("BinaryCrossentropy", "label_smoothing", label_smoothing, 0, 1)
        super().__init__(
            crossentropy.binary_crossentropy, name, dtype, from_logits=from_logits, label_smoothing=label_smoothing
        )


class CategoricalCrossentropy(MeanMetricWrapper):
    """The mean crossentropy of one-hot targets.

    Args:
        name: the name.
        dtype: the dtype to compute in.
        from_logits: whether predictions are logits, before the softmax.
        label_smoothing: how much of the probability is given to all classes alike, in 0 .. 1.
        axis: the axis of the classes.

    Example:
        >>> round(float(CategoricalCrossentropy(from_logits=True)([[0.0, 1.0]], [[0.0, 0.0]])), 4)
        0.6931
    """

    _direction = "down"

    def __init__(
        self,
        name: str = "categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ):
        self.from_logits = from_logits
        self.label_smoothing = check_number("CategoricalCrossentropy", "label_smoothing", label_smoothing, 0, 1)
        self.axis = check_int("CategoricalCrossentropy", "axis", axis)
        super().__init__(
            crossentropy.categorical_crossentropy,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class SparseCategoricalCrossentropy(MeanMetricWrapper):
    """The mean crossentropy of integer classes.

    Args:
        name: the name.
        dtype: the dtype to compute in.
        from_logits: whether predictions are logits, before the softmax.
        ignore_class: a class whose elements have loss 0.
        axis: the axis of the classes.

    Example:
        >>> round(float(SparseCategoricalCrossentropy(from_logits=True)([1], [[0.0, 0.0]])), 4)
        0.6931
    """

    _direction = "down"

    def __init__(
        self,
        name: str = "sparse_categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ):
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.axis = check_int("SparseCategoricalCrossentropy", "axis", axis)
        super().__init__(
            crossentropy.sparse_categorical_crossentropy,
            name,
            dtype,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
        )
