"""Means of regression losses over all batches, and scores of regressions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import registry
from lamina.core.checks import check_choice, check_int
from lamina.core.errors import ShapeError
from lamina.losses import regression as losses
from lamina.losses.reduction import operands, squeeze_or_expand_to_same_rank, to_array
from lamina.losses.similarity import unit_vectors
from lamina.metrics.metric import Metric
from lamina.metrics.reduction import Mean, MeanMetricWrapper


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> jax.Array:
    """The cosine of the angle between two vectors; the loss of the same name is minus this.

    Shape: `(..., d)` and `(..., d)` to `(...)`.

    Example:
        >>> cosine_similarity([[1.0, 0.0]], [[2.0, 0.0]]).tolist()
        [1.0]
    """
    y_true, y_pred = operands(y_true, y_pred, match_rank=True)
    return jnp.sum(unit_vectors(y_true, axis) * unit_vectors(y_pred, axis), axis=axis)


class MeanSquaredError(MeanMetricWrapper):
    """The mean of `(y_true - y_pred)**2`.

    Args:
        name: the name.
        dtype: the dtype to compute in.

    Example:
        >>> float(MeanSquaredError()([[0.0, 1.0]], [[1.0, 3.0]]))
        2.5
    """

    _direction = "down"

    def __init__(self, name: str = "mean_squared_error", dtype: Any = None):
        super().__init__(losses.mean_squared_error, name, dtype)


class MeanAbsoluteError(MeanMetricWrapper):
    """The mean of `|y_true - y_pred|`.

    Args:
        name: the name.
        dtype: the dtype to compute in.

    Example:
        >>> float(MeanAbsoluteError()([[0.0, 1.0]], [[1.0, 3.0]]))
        1.5
    """

    _direction = "down"

    def __init__(self, name: str = "mean_absolute_error", dtype: Any = None):
        super().__init__(losses.mean_absolute_error, name, dtype)


class MeanAbsolutePercentageError(MeanMetricWrapper):
    """The mean of `100 |y_true - y_pred| / |y_true|`, in percent.

    Args:
        name: the name.
        dtype: the dtype to compute in.

    Example:
        >>> float(MeanAbsolutePercentageError()([[2.0, 4.0]], [[1.0, 3.0]]))
        37.5
    """

    _direction = "down"

    def __init__(self, name: str = "mean_absolute_percentage_error", dtype: Any = None):
        super().__init__(losses.mean_absolute_percentage_error, name, dtype)


class MeanSquaredLogarithmicError(MeanMetricWrapper):
    """The mean of `(log(y_true + 1) - log(y_pred + 1))**2`.

    Args:
        name: the name.
        dtype: the dtype to compute in.

    Example:
        >>> float(MeanSquaredLogarithmicError()([[1.0, 3.0]], [[1.0, 3.0]]))
        0.0
    """

    _direction = "down"

    def __init__(self, name: str = "mean_squared_logarithmic_error", dtype: Any = None):
        super().__init__(losses.mean_squared_logarithmic_error, name, dtype)


class RootMeanSquaredError(Mean):
    """The root of the mean of `(y_true - y_pred)**2`.

    Args:
        name: the name.
        dtype: the dtype to compute in.

    Example:
        >>> float(RootMeanSquaredError()([[0.0, 0.0]], [[3.0, 3.0]]))
        3.0
    """

    _direction = "down"

    def __init__(self, name: str = "root_mean_squared_error", dtype: Any = None):
        super().__init__(name, dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Takes a batch in."""
        y_true, y_pred = squeeze_or_expand_to_same_rank(to_array(y_true, self.dtype), to_array(y_pred, self.dtype))
        super().update_state(jnp.square(y_pred - y_true), sample_weight)

    def result(self) -> jax.Array:
        """The root of the mean."""
        return jnp.sqrt(super().result())


class CosineSimilarity(MeanMetricWrapper):
    """The mean cosine of the angles between targets and predictions.

    Args:
        name: the name.
        dtype: the dtype to compute in.
        axis: the axis of the vectors.

    Example:
        >>> float(CosineSimilarity()([[1.0, 0.0]], [[2.0, 0.0]]))
        1.0
    """

    _direction = "up"
    _config_only_if_set = ("axis",)

    def __init__(self, name: str = "cosine_similarity", dtype: Any = None, axis: int = -1):
        self.axis = check_int("CosineSimilarity", "axis", axis)
        super().__init__(cosine_similarity, name, dtype, axis=axis)


class LogCoshError(MeanMetricWrapper):
    """The mean of `log(cosh(y_pred - y_true))`.

    Args:
        name: the name.
        dtype: the dtype to compute in.

    Example:
        >>> float(LogCoshError()([[1.0]], [[1.0]]))
        0.0
    """

    _direction = "down"

    def __init__(self, name: str = "logcosh", dtype: Any = None):
        super().__init__(losses.log_cosh, name, dtype)


class R2Score(Metric):
    """How much of the targets' variance the predictions explain: `1 - sum((y - p)**2) / sum((y - mean(y))**2)`.

    Shape: `(batch, d)` and `(batch, d)`; the score is a number, or one an output.

    Args:
        class_aggregation: how the scores of the outputs are put together: `"uniform_average"`,
            `"variance_weighted_average"`, or None for one score an output.
        num_regressors: the number of independent variables, for the adjusted score; 0 for the plain one, which is
            also given while there are too few samples to adjust it.
        name: the name.
        dtype: the dtype to compute in.

    Raises:
        ValueError: there is no such aggregation, or targets and predictions do not have two axes.

    Example:
        >>> round(float(R2Score()([[1.0], [4.0], [3.0]], [[2.0], [4.0], [4.0]])), 4)
        0.5714
    """

    _direction = "up"

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str = "r2_score",
        dtype: Any = None,
    ):
        super().__init__(name=name, dtype=dtype)
        options = ["uniform_average", "variance_weighted_average", None]
        self.class_aggregation = check_choice(self, "class_aggregation", class_aggregation, options)
        self.num_regressors = check_int(self, "num_regressors", num_regressors, minimum=0)
        self.num_samples = self.add_variable(name="num_samples")
        self._built = False

    def build_for(self, y_true: Any, y_pred: Any) -> None:
        """Makes the sums, one an output."""
        if self._built:
            return
        if y_true.ndim != 2 or y_pred.ndim != 2:
            raise ShapeError(
                f"R2Score '{self.name}': y_true and y_pred must have the shape (batch, d), got {tuple(y_true.shape)} "
                f"and {tuple(y_pred.shape)}."
            )
        shape = (y_pred.shape[-1],)
        self.squared_sum = self.add_variable(shape, name="squared_sum")
        self.sum = self.add_variable(shape, name="sum")
        self.residual = self.add_variable(shape, name="residual")
        self.count = self.add_variable(shape, name="count")
        self._built = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Takes a batch in; weights are one a sample, or one an element."""
        y_true, y_pred = squeeze_or_expand_to_same_rank(to_array(y_true, self.dtype), to_array(y_pred, self.dtype))
        self.build_for(y_true, y_pred)
        weight = to_array(1.0 if sample_weight is None else sample_weight, self.dtype)
        weight = jnp.broadcast_to(weight[:, None] if weight.ndim == 1 else weight, y_true.shape)
        weighted = y_true * weight
        self.sum.assign_add(jnp.sum(weighted, axis=0))
        self.squared_sum.assign_add(jnp.sum(y_true * weighted, axis=0))
        self.residual.assign_add(jnp.sum(jnp.square(y_true - y_pred) * weight, axis=0))
        self.count.assign_add(jnp.sum(weight, axis=0))
        self.num_samples.assign_add(y_true.size)

    def result(self) -> jax.Array:
        """The score."""
        if not self._built:
            return jnp.asarray(jnp.nan, self.dtype)
        total = self.squared_sum.value - self.sum.value * (self.sum.value / self.count.value)
        scores = 1.0 - self.residual.value / total
        scores = jnp.where(jnp.isinf(scores), jnp.zeros((), scores.dtype), scores)
        if self.class_aggregation == "uniform_average":
            scores = jnp.mean(scores)
        elif self.class_aggregation == "variance_weighted_average":
            scores = jnp.sum(total * scores) / jnp.sum(total)
        if self.num_regressors:
            n = self.num_samples.value
            left = n - self.num_regressors - 1.0
            adjusted = 1.0 - (1.0 - scores) * (n - 1.0) / jnp.where(left > 0, left, 1.0)
            scores = jnp.where(left > 0, adjusted, scores)
        return scores


registry.add_builtin(cosine_similarity)
