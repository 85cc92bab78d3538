"""Baselines: the best constant, whatever the features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from lamina.estimators.canned.canned import CannedEstimator, class_head, given_head, number_head
from lamina.estimators.feature_columns import FeatureColumn
from lamina.estimators.heads import Head
from lamina.estimators.modes import Minimize
from lamina.estimators.optimizers import get_optimizer
from lamina.estimators.tabular import Classifier, Regressor
from lamina.estimators.variables import get_variable, variable_scope

_LEARNING_RATE = 0.3


class _Baseline(CannedEstimator):
    _scores_poorly = True

    def _check_arguments(self) -> None:
        super()._check_arguments()
        self._optimizer = get_optimizer(type(self).__name__, self._argument("optimizer"), _LEARNING_RATE)

    def _make_columns(self) -> list[FeatureColumn]:
        return []

    def _logits(self, features: Mapping[str, Any], mode: str) -> Any:
        with variable_scope("baseline"):
            bias = get_variable("bias", (self.head.logits_dimension,), initializer="zeros")
        return jnp.broadcast_to(bias.value, (features["rows"].shape[0], self.head.logits_dimension))

    def _train_op(self, loss: Any) -> list[Minimize]:
        return [Minimize(self._optimizer, loss)]


class BaselineClassifier(Classifier, _Baseline):
    """The shares of the classes in the training data, whatever the features.

    Args:
        model_dir: see `Estimator`.
        n_classes: the number of classes: 2 if None, or as many as `fit` finds.
        weight_column: the feature that weighs samples.
        label_vocabulary: the names of the classes, if labels are text.
        optimizer: "Ftrl" and so on, with the learning rate 0.3; an optimizer; or a function that returns one.
        config: see `Estimator`.
        loss_reduction: "sum_over_batch_size" or "sum".
        epochs: for `fit`: passes over the data.
        batch_size: for `fit`: samples a batch.
        random_state: for `fit`: the seed of orders.

    Example:
        >>> import numpy as np
        >>> BaselineClassifier().fit(np.zeros((4, 1)), ["a", "b", "b", "b"]).predict([[9.0]]).tolist()
        ['b']
    """

    def __init__(
        self,
        model_dir: Any = None,
        n_classes: int | None = None,
        weight_column: Any = None,
        label_vocabulary: Sequence[str] | None = None,
        optimizer: Any = "Ftrl",
        config: Any = None,
        loss_reduction: str = "sum_over_batch_size",
        *,
        epochs: int = 100,
        batch_size: int = 32,
        random_state: int | None = None,
    ):
        self._begin()

    def _make_head(self) -> Head:
        return class_head(self)


class BaselineRegressor(Regressor, _Baseline):
    """The mean of the labels, whatever the features.

    Args:
        model_dir: see `Estimator`.
        label_dimension: how many numbers a sample has.
        weight_column: the feature that weighs samples.
        optimizer: "Ftrl" and so on, with the learning rate 0.3; an optimizer; or a function that returns one.
        config: see `Estimator`.
        loss_reduction: "sum_over_batch_size" or "sum".
        epochs: for `fit`: passes over the data.
        batch_size: for `fit`: samples a batch.
        random_state: for `fit`: the seed of orders.
    """

    def __init__(
        self,
        model_dir: Any = None,
        label_dimension: int = 1,
        weight_column: Any = None,
        optimizer: Any = "Ftrl",
        config: Any = None,
        loss_reduction: str = "sum_over_batch_size",
        *,
        epochs: int = 100,
        batch_size: int = 32,
        random_state: int | None = None,
    ):
        self._begin()

    def _make_head(self) -> Head:
        return number_head(self)


class BaselineEstimator(_Baseline):
    """The best constant logits for a head of your choice.

    Args:
        head: the head.
        model_dir: see `Estimator`.
        optimizer: "Ftrl" and so on, with the learning rate 0.3; an optimizer; or a function that returns one.
        config: see `Estimator`.
    """

    def __init__(self, head: Head, model_dir: Any = None, optimizer: Any = "Ftrl", config: Any = None):
        self._begin()

    def _make_head(self) -> Head:
        return given_head(self)
