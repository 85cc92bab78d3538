"""Linear models of feature columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from lamina.core.checks import check_choice
from lamina.estimators.canned.canned import CannedEstimator, class_head, given_head, number_head
from lamina.estimators.canned.sdca import LinearSDCA
from lamina.estimators.feature_columns import FeatureColumn, linear_model
from lamina.estimators.feature_columns.sequence import over_all_steps
from lamina.estimators.heads import BinaryClassHead, Head
from lamina.estimators.inputs import as_features
from lamina.estimators.modes import EstimatorSpec, Minimize, ModeKeys, no_op
from lamina.estimators.optimizers import get_optimizer
from lamina.estimators.tabular import Classifier, Regressor
from lamina.estimators.variables import variable_scope

_LEARNING_RATE = 0.2
_KEYS = "example_keys@sdca"


def linear_logits(features: Mapping[str, Any], columns: Sequence[Any], units: int, combiner: str) -> Any:
    """`Σ value · weights + bias` of columns, (batch, units), with variables below `linear/`."""
    with variable_scope("linear"):
        return linear_model(features, columns, units, combiner)


class _Linear(CannedEstimator):
    def _make_columns(self) -> list[FeatureColumn]:
        return over_all_steps(super()._make_columns())

    def _check_arguments(self) -> None:
        super()._check_arguments()
        owner = type(self).__name__
        check_choice(owner, "sparse_combiner", self._argument("sparse_combiner"), ["sum", "mean", "sqrtn"])
        optimizer = self._argument("optimizer")
        self._sdca = optimizer if isinstance(optimizer, LinearSDCA) else None
        if self._sdca is not None:
            self._sdca.check(owner, self.head, self._argument("sparse_combiner"))
        else:
            cautious = self._is_fitted or optimizer is None
            rate = min(_LEARNING_RATE, 1.0 / math.sqrt(max(len(self._columns), 1))) if cautious else _LEARNING_RATE
            self._optimizer = get_optimizer(owner, "Ftrl" if optimizer is None else optimizer, rate)

    def _logits(self, features: Mapping[str, Any], mode: str) -> Any:
        return linear_logits(features, self._columns, self.head.logits_dimension, self._argument("sparse_combiner"))

    def _train_op(self, loss: Any) -> Any:
        return [Minimize(self._optimizer, loss)] if self._sdca is None else no_op()

    def _spec(self, features: Any, labels: Any, mode: str, params: Any, config: Any) -> EstimatorSpec:
        spec = super()._spec(features, labels, mode, params, config)
        if self._sdca is not None and mode == ModeKeys.TRAIN:
            key = self.head.weight_key
            y = labels[:, 0].astype("float32")
            weights = jnp.ones(y.shape) if key is None else features[key][:, 0]
            logistic = isinstance(self.head, BinaryClassHead)
            self._sdca.step(
                sorted(self._columns, key=lambda c: c.name), features, features[_KEYS], y, weights, logistic
            )
        return spec

    def _host(self, method: str, features: Any, labels: Any) -> tuple[Any, Any]:
        inputs, encoded = super()._host(method, features, labels)
        if self._sdca is not None and method in ("train", "fit"):
            inputs[_KEYS] = self._sdca.keys(as_features(features))
        return inputs, encoded


class LinearClassifier(Classifier, _Linear):
    """Classes by a linear model of the features: logistic regression.

    Categories have a weight each, which is gathered by id: a step on a large vocabulary costs what the batch costs.

    Args:
        feature_columns: the feature columns; `fit` infers them from the data if None.
        model_dir: see `Estimator`.
        n_classes: the number of classes: 2 if None, or as many as `fit` finds.
        weight_column: the feature that weighs samples.
        label_vocabulary: the names of the classes, if labels are text.
        optimizer: "Ftrl" and so on, with the learning rate 0.2; None for "Ftrl" with min(0.2, 1 / sqrt(columns)), which
            `fit` takes by any name; an optimizer; a function that returns one; or a `LinearSDCA`.
        config: see `Estimator`.
        warm_start_from: see `Estimator`.
        loss_reduction: "sum_over_batch_size" or "sum".
        sparse_combiner: how several categories of a sample are combined: "sum", "mean" or "sqrtn".
        epochs: for `fit`: passes over the data.
        batch_size: for `fit`: samples a batch.
        random_state: for `fit`: the seed of orders and initial weights.

    Example:
        >>> import numpy as np
        >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> LinearClassifier(epochs=200).fit(X, ["no", "no", "yes", "yes"]).predict([[0.0], [3.0]]).tolist()
        ['no', 'yes']
    """

    def __init__(
        self,
        feature_columns: Any = None,
        model_dir: Any = None,
        n_classes: int | None = None,
        weight_column: Any = None,
        label_vocabulary: Sequence[str] | None = None,
        optimizer: Any = "Ftrl",
        config: Any = None,
        warm_start_from: Any = None,
        loss_reduction: str = "sum_over_batch_size",
        sparse_combiner: str = "sum",
        *,
        epochs: int = 100,
        batch_size: int = 32,
        random_state: int | None = None,
    ):
        self._begin()

    def _make_head(self) -> Head:
        return class_head(self)


class LinearRegressor(Regressor, _Linear):
    """Numbers by a linear model of the features.

    Args:
        feature_columns: the feature columns; `fit` infers them from the data if None.
        model_dir: see `Estimator`.
        label_dimension: how many numbers a sample has.
        weight_column: the feature that weighs samples.
        optimizer: "Ftrl" and so on, with the learning rate 0.2; None for "Ftrl" with min(0.2, 1 / sqrt(columns)), which
            `fit` takes by any name; an optimizer; a function that returns one; or a `LinearSDCA`.
        config: see `Estimator`.
        warm_start_from: see `Estimator`.
        loss_reduction: "sum_over_batch_size" or "sum".
        sparse_combiner: how several categories of a sample are combined: "sum", "mean" or "sqrtn".
        epochs: for `fit`: passes over the data.
        batch_size: for `fit`: samples a batch.
        random_state: for `fit`: the seed of orders and initial weights.

    Example:
        >>> import numpy as np
        >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> model = LinearRegressor(epochs=300, batch_size=4, random_state=1).fit(X, [1.0, 3.0, 5.0, 7.0])
        >>> [round(float(y), 1) for y in model.predict([[4.0]])]
        [9.0]
    """

    def __init__(
        self,
        feature_columns: Any = None,
        model_dir: Any = None,
        label_dimension: int = 1,
        weight_column: Any = None,
        optimizer: Any = "Ftrl",
        config: Any = None,
        warm_start_from: Any = None,
        loss_reduction: str = "sum_over_batch_size",
        sparse_combiner: str = "sum",
        *,
        epochs: int = 100,
        batch_size: int = 32,
        random_state: int | None = None,
    ):
        self._begin()

    def _make_head(self) -> Head:
        return number_head(self)


class LinearEstimator(_Linear):
    """A linear model of the features with a head of your choice.

    Args:
        head: the head.
        feature_columns: the feature columns.
        model_dir: see `Estimator`.
        optimizer: see `LinearClassifier`.
        config: see `Estimator`.
        sparse_combiner: see `LinearClassifier`.
        warm_start_from: see `Estimator`.
    """

    def __init__(
        self,
        head: Head,
        feature_columns: Any,
        model_dir: Any = None,
        optimizer: Any = "Ftrl",
        config: Any = None,
        sparse_combiner: str = "sum",
        warm_start_from: Any = None,
    ):
        self._begin()

    def _make_head(self) -> Head:
        return given_head(self)
