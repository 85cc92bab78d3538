"""Wide and deep: a linear model and a deep network whose logits are added."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lamina import activations
from lamina.core.checks import check_choice
from lamina.estimators.canned.canned import (
    CannedEstimator,
    check_column_list,
    class_head,
    given_head,
    number_head,
)
from lamina.estimators.canned.dnn import check_dropout, check_hidden, dnn_logits
from lamina.estimators.canned.linear import linear_logits
from lamina.estimators.feature_columns import FeatureColumn
from lamina.estimators.feature_columns.sequence import over_all_steps
from lamina.estimators.heads import Head
from lamina.estimators.modes import Minimize, ModeKeys
from lamina.estimators.optimizers import get_optimizer
from lamina.estimators.tabular import Classifier, Regressor
from lamina.estimators.variables import trainable_variables

_DNN_LEARNING_RATE = 0.001
_LINEAR_LEARNING_RATE = 0.005


class _Combined(CannedEstimator):
    def _check_arguments(self) -> None:
        super()._check_arguments()
        owner = type(self).__name__
        combiner = self._argument("linear_sparse_combiner")
        check_choice(owner, "linear_sparse_combiner", combiner, ["sum", "mean", "sqrtn"])
        self._hidden: tuple[int, ...] = ()
        if self._deep:
            units = self._argument("dnn_hidden_units")
            if units is None:
                raise ValueError(f"{owner}: dnn_hidden_units is needed with dnn_feature_columns, such as [64, 32].")
            self._hidden = check_hidden(owner, "dnn_hidden_units", units)
        self._dropout = check_dropout(owner, "dnn_dropout", self._argument("dnn_dropout"))
        self._activation = activations.get(self._argument("dnn_activation_fn"))
        rate = min(_LINEAR_LEARNING_RATE, 1.0 / math.sqrt(max(len(self._wide), 1)))
        self._linear_optimizer = get_optimizer(owner, self._argument("linear_optimizer"), rate, "linear_optimizer")
        self._dnn_optimizer = get_optimizer(owner, self._argument("dnn_optimizer"), _DNN_LEARNING_RATE, "dnn_optimizer")

    def _make_columns(self) -> list[FeatureColumn]:
        owner = type(self).__name__
        wide = check_column_list(owner, "linear_feature_columns", self._argument("linear_feature_columns") or None)
        self._wide = over_all_steps(wide)
        self._deep = check_column_list(owner, "dnn_feature_columns", self._argument("dnn_feature_columns") or None)
        return [*self._wide, *self._deep]

    def _logits(self, features: Mapping[str, Any], mode: str) -> Any:
        units, parts = self.head.logits_dimension, []
        if self._deep:
            parts.append(
                dnn_logits(
                    features,
                    self._deep,
                    units,
                    self._hidden,
                    self._activation,
                    self._dropout,
                    bool(self._argument("batch_norm")),
                    mode == ModeKeys.TRAIN,
                )
            )
        if self._wide:
            combiner = self._argument("linear_sparse_combiner")
            parts.append(linear_logits(features, self._wide, units, combiner))
        return sum(parts[1:], parts[0])

    def _train_op(self, loss: Any) -> list[Minimize]:
        wide = trainable_variables("linear/")
        names = {id(v) for v in wide}
        deep = [v for v in trainable_variables() if id(v) not in names]
        ops = [Minimize(self._dnn_optimizer, loss, deep)] if deep else []
        return [*ops, Minimize(self._linear_optimizer, loss, wide)] if wide else ops

    def _check_columns_given(self, method: str) -> None:
        if not self._columns:
            raise ValueError(
                f"{type(self).__name__}: linear_feature_columns or dnn_feature_columns is needed to {method} by an "
                "input_fn. Give one of them, or call fit(X, y), which infers them from the data."
            )

    def _host(self, method: str, features: Any, labels: Any) -> tuple[Any, Any]:
        self._check_columns_given(method)
        return super()._host(method, features, labels)


class DNNLinearCombinedClassifier(Classifier, _Combined):
    """Classes by a linear model and a deep network together: wide and deep.

    Args:
        model_dir: see `Estimator`.
        linear_feature_columns: the columns of the linear model, often categories and crosses.
        linear_optimizer: "Ftrl" and so on, with the learning rate min(0.005, 1 / sqrt(columns)); an optimizer; or a
            function that returns one.
        dnn_feature_columns: the columns of the network, dense ones.
        dnn_optimizer: the like, with the learning rate 0.001.
        dnn_hidden_units: the sizes of the hidden layers.
        dnn_activation_fn: the activation of hidden layers: a name or a function.
        dnn_dropout: the share of units dropped in training.
        n_classes: the number of classes: 2 if None, or as many as `fit` finds.
        weight_column: the feature that weighs samples.
        label_vocabulary: the names of the classes, if labels are text.
        config: see `Estimator`.
        warm_start_from: see `Estimator`.
        loss_reduction: "sum_over_batch_size" or "sum".
        batch_norm: whether hidden layers are followed by batch normalisation.
        linear_sparse_combiner: how several categories of a sample are combined: "sum", "mean" or "sqrtn".
        epochs: for `fit`: passes over the data.
        batch_size: for `fit`: samples a batch.
        random_state: for `fit`: the seed of orders and initial weights.

    Reference: Cheng et al., "Wide & Deep Learning for Recommender Systems", 2016.
    """

    def __init__(
        self,
        model_dir: Any = None,
        linear_feature_columns: Any = None,
        linear_optimizer: Any = "Ftrl",
        dnn_feature_columns: Any = None,
        dnn_optimizer: Any = "Adagrad",
        dnn_hidden_units: Sequence[int] | None = None,
        dnn_activation_fn: Any = "relu",
        dnn_dropout: float | None = None,
        n_classes: int | None = None,
        weight_column: Any = None,
        label_vocabulary: Sequence[str] | None = None,
        config: Any = None,
        warm_start_from: Any = None,
        loss_reduction: str = "sum_over_batch_size",
        batch_norm: bool = False,
        linear_sparse_combiner: str = "sum",
        *,
        epochs: int = 100,
        batch_size: int = 32,
        random_state: int | None = None,
    ):
        self._begin()

    def _make_head(self) -> Head:
        return class_head(self)


class DNNLinearCombinedRegressor(Regressor, _Combined):
    """Numbers by a linear model and a deep network together; arguments as of `DNNLinearCombinedClassifier`.

    Args:
        model_dir: see `Estimator`.
        linear_feature_columns: the columns of the linear model.
        linear_optimizer: the optimizer of the linear model.
        dnn_feature_columns: the columns of the network.
        dnn_optimizer: the optimizer of the network.
        dnn_hidden_units: the sizes of the hidden layers.
        dnn_activation_fn: the activation of hidden layers.
        dnn_dropout: the share of units dropped in training.
        label_dimension: how many numbers a sample has.
        weight_column: the feature that weighs samples.
        config: see `Estimator`.
        warm_start_from: see `Estimator`.
        loss_reduction: "sum_over_batch_size" or "sum".
        batch_norm: whether hidden layers are followed by batch normalisation.
        linear_sparse_combiner: how several categories of a sample are combined.
        epochs: for `fit`: passes over the data.
        batch_size: for `fit`: samples a batch.
        random_state: for `fit`: the seed of orders and initial weights.
    """

    def __init__(
        self,
        model_dir: Any = None,
        linear_feature_columns: Any = None,
        linear_optimizer: Any = "Ftrl",
        dnn_feature_columns: Any = None,
        dnn_optimizer: Any = "Adagrad",
        dnn_hidden_units: Sequence[int] | None = None,
        dnn_activation_fn: Any = "relu",
        dnn_dropout: float | None = None,
        label_dimension: int = 1,
        weight_column: Any = None,
        config: Any = None,
        warm_start_from: Any = None,
        loss_reduction: str = "sum_over_batch_size",
        batch_norm: bool = False,
        linear_sparse_combiner: str = "sum",
        *,
        epochs: int = 100,
        batch_size: int = 32,
        random_state: int | None = None,
    ):
        self._begin()

    def _make_head(self) -> Head:
        return number_head(self)


class DNNLinearCombinedEstimator(_Combined):
    """A linear model and a deep network together with a head of your choice.

    Args:
        head: the head.
        model_dir: see `Estimator`.
        linear_feature_columns: the columns of the linear model.
        linear_optimizer: the optimizer of the linear model.
        dnn_feature_columns: the columns of the network.
        dnn_optimizer: the optimizer of the network.
        dnn_hidden_units: the sizes of the hidden layers.
        dnn_activation_fn: the activation of hidden layers.
        dnn_dropout: the share of units dropped in training.
        config: see `Estimator`.
        batch_norm: whether hidden layers are followed by batch normalisation.
        linear_sparse_combiner: how several categories of a sample are combined.
    """

    def __init__(
        self,
        head: Head,
        model_dir: Any = None,
        linear_feature_columns: Any = None,
        linear_optimizer: Any = "Ftrl",
        dnn_feature_columns: Any = None,
        dnn_optimizer: Any = "Adagrad",
        dnn_hidden_units: Sequence[int] | None = None,
        dnn_activation_fn: Any = "relu",
        dnn_dropout: float | None = None,
        config: Any = None,
        batch_norm: bool = False,
        linear_sparse_combiner: str = "sum",
    ):
        self._begin()

    def _make_head(self) -> Head:
        return given_head(self)
