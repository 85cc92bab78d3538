"""Deep networks of feature columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina import activations, random
from lamina.core.checks import check_int, check_number
from lamina.core.errors import describe
from lamina.estimators.canned.canned import CannedEstimator, class_head, given_head, number_head
from lamina.estimators.feature_columns import input_layer
from lamina.estimators.heads import Head
from lamina.estimators.modes import Minimize, ModeKeys
from lamina.estimators.optimizers import get_optimizer
from lamina.estimators.tabular import Classifier, Regressor
from lamina.estimators.variables import get_variable, variable_scope

_LEARNING_RATE = 0.05
_MOMENTUM = 0.999
_EPSILON = 1e-3


def dense(x: Any, units: int, name: str, activation: Callable[[Any], Any] | None = None) -> Any:
    """A dense layer with the variables `name/kernel` and `name/bias`."""
    with variable_scope(name):
        kernel = get_variable("kernel", (x.shape[-1], units))
        bias = get_variable("bias", (units,), initializer="zeros")
    y = x @ kernel.value + bias.value
    return y if activation is None else activation(y)


def batch_norm(x: Any, name: str, training: bool) -> Any:
    """Normalises each unit by the mean and variance of the batch in training, else by running ones."""
    width = (x.shape[-1],)
    with variable_scope(name):
        gamma, beta = get_variable("gamma", width, initializer="ones"), get_variable("beta", width, initializer="zeros")
        mean = get_variable("moving_mean", width, initializer="zeros", trainable=False)
        variance = get_variable("moving_variance", width, initializer="ones", trainable=False)
    if not training:
        return (x - mean.value) * jax.lax.rsqrt(variance.value + _EPSILON) * gamma.value + beta.value
    now, spread = jnp.mean(x, axis=0), jnp.var(x, axis=0)
    mean.assign(mean.value * _MOMENTUM + jax.lax.stop_gradient(now) * (1 - _MOMENTUM))
    variance.assign(variance.value * _MOMENTUM + jax.lax.stop_gradient(spread) * (1 - _MOMENTUM))
    return (x - now) * jax.lax.rsqrt(spread + _EPSILON) * gamma.value + beta.value


def dnn_logits(
    features: Mapping[str, Any],
    columns: Sequence[Any],
    units: int,
    hidden_units: Sequence[int],
    activation: Callable[[Any], Any],
    dropout: float | None,
    normalise: bool,
    training: bool,
) -> Any:
    """Hidden layers over the dense input of columns, and logits, (batch, units), with variables below `dnn/`."""
    with variable_scope("dnn"):
        with variable_scope("input_from_feature_columns"):
            x = input_layer(features, columns)
        for i, size in enumerate(hidden_units):
            x = dense(x, size, f"hiddenlayer_{i}", activation)
            if dropout and training:
                x = random.dropout(x, dropout)
            if normalise:
                x = batch_norm(x, f"hiddenlayer_{i}/batchnorm_{i}", training)
        return dense(x, units, "logits")


def check_hidden(owner: str, argument: str, units: Any, least: int = 1) -> tuple[int, ...]:
    """Sizes of hidden layers as a tuple.

    Raises:
        ValueError: there are fewer than `least`, or one is below 1.
    """
    if isinstance(units, (str, bytes)) or not hasattr(units, "__iter__"):
        raise TypeError(f"{owner}: {argument} must be a list of sizes such as [64, 32], got {describe(units)}.")
    found = tuple(check_int(owner, f"{argument}[{i}]", u, 1) for i, u in enumerate(units))
    if len(found) < least:
        raise ValueError(f"{owner}: {argument} must have at least one size, such as [64, 32].")
    return found


def check_dropout(owner: str, argument: str, rate: Any) -> float | None:
    """A share to drop, below 1; None for none."""
    if rate is None:
        return None
    if check_number(owner, argument, rate, 0) >= 1:
        raise ValueError(f"{owner}: {argument} must be a number from 0 to below 1, got {rate}.")
    return float(rate)


class _DNN(CannedEstimator):
    def _check_arguments(self) -> None:
        super()._check_arguments()
        owner = type(self).__name__
        self._hidden = check_hidden(owner, "hidden_units", self._argument("hidden_units"), least=0)
        self._dropout = check_dropout(owner, "dropout", self._argument("dropout"))
        self._activation = activations.get(self._argument("activation_fn"))
        rate = _LEARNING_RATE if self._is_fitted else None
        self._optimizer = get_optimizer(owner, self._argument("optimizer"), rate)

    def _logits(self, features: Mapping[str, Any], mode: str) -> Any:
        return dnn_logits(
            features,
            self._columns,
            self.head.logits_dimension,
            self._hidden,
            self._activation,
            self._dropout,
            bool(self._argument("batch_norm")),
            mode == ModeKeys.TRAIN,
        )

    def _train_op(self, loss: Any) -> list[Minimize]:
        return [Minimize(self._optimizer, loss)]


class DNNClassifier(Classifier, _DNN):
    """Classes by a deep network over the features.

    Args:
        hidden_units: the sizes of the hidden layers; there may be none.
        feature_columns: dense feature columns; `fit` infers them from the data if None.
        model_dir: see `Estimator`.
        n_classes: the number of classes: 2 if None, or as many as `fit` finds.
        weight_column: the feature that weighs samples.
        label_vocabulary: the names of the classes, if labels are text.
        optimizer: "Adagrad" and so on, with the learning rate 0.05 in `fit`, and the optimizer's own default in `train`
            (0.001 for Adagrad), as in tf.estimator 2.15; an optimizer; or a function that returns one.
        activation_fn: the activation of hidden layers: a name or a function.
        dropout: the share of units dropped in training.
        config: see `Estimator`.
        warm_start_from: see `Estimator`.
        loss_reduction: "sum_over_batch_size" or "sum".
        batch_norm: whether hidden layers are followed by batch normalisation.
        epochs: for `fit`: passes over the data.
        batch_size: for `fit`: samples a batch.
        random_state: for `fit`: the seed of orders and initial weights.

    Example:
        >>> import numpy as np
        >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        >>> xor = DNNClassifier([16], epochs=500, batch_size=4, random_state=0).fit(X, [0, 1, 1, 0])
        >>> xor.predict(X).tolist()
        [0, 1, 1, 0]
    """

    def __init__(
        self,
        hidden_units: Sequence[int] = (64, 32),
        feature_columns: Any = None,
        model_dir: Any = None,
        n_classes: int | None = None,
        weight_column: Any = None,
        label_vocabulary: Sequence[str] | None = None,
        optimizer: Any = "Adagrad",
        activation_fn: Any = "relu",
        dropout: float | None = None,
        config: Any = None,
        warm_start_from: Any = None,
        loss_reduction: str = "sum_over_batch_size",
        batch_norm: bool = False,
        *,
        epochs: int = 100,
        batch_size: int = 32,
        random_state: int | None = None,
    ):
        self._begin()

    def _make_head(self) -> Head:
        return class_head(self)


class DNNRegressor(Regressor, _DNN):
    """Numbers by a deep network over the features.

    Args:
        hidden_units: the sizes of the hidden layers.
        feature_columns: dense feature columns; `fit` infers them from the data if None.
        model_dir: see `Estimator`.
        label_dimension: how many numbers a sample has.
        weight_column: the feature that weighs samples.
        optimizer: "Adagrad" and so on, with the learning rate 0.05 in `fit`, and the optimizer's own default in `train`
            (0.001 for Adagrad), as in tf.estimator 2.15; an optimizer; or a function that returns one.
        activation_fn: the activation of hidden layers: a name or a function.
        dropout: the share of units dropped in training.
        config: see `Estimator`.
        warm_start_from: see `Estimator`.
        loss_reduction: "sum_over_batch_size" or "sum".
        batch_norm: whether hidden layers are followed by batch normalisation.
        epochs: for `fit`: passes over the data.
        batch_size: for `fit`: samples a batch.
        random_state: for `fit`: the seed of orders and initial weights.
    """

    def __init__(
        self,
        hidden_units: Sequence[int] = (64, 32),
        feature_columns: Any = None,
        model_dir: Any = None,
        label_dimension: int = 1,
        weight_column: Any = None,
        optimizer: Any = "Adagrad",
        activation_fn: Any = "relu",
        dropout: float | None = None,
        config: Any = None,
        warm_start_from: Any = None,
        loss_reduction: str = "sum_over_batch_size",
        batch_norm: bool = False,
        *,
        epochs: int = 100,
        batch_size: int = 32,
        random_state: int | None = None,
    ):
        self._begin()

    def _make_head(self) -> Head:
        return number_head(self)


class DNNEstimator(_DNN):
    """A deep network over the features with a head of your choice.

    Args:
        head: the head.
        hidden_units: the sizes of the hidden layers.
        feature_columns: dense feature columns.
        model_dir: see `Estimator`.
        optimizer: see `DNNClassifier`.
        activation_fn: see `DNNClassifier`.
        dropout: see `DNNClassifier`.
        config: see `Estimator`.
        warm_start_from: see `Estimator`.
        batch_norm: see `DNNClassifier`.
    """

    def __init__(
        self,
        head: Head,
        hidden_units: Sequence[int],
        feature_columns: Any,
        model_dir: Any = None,
        optimizer: Any = "Adagrad",
        activation_fn: Any = "relu",
        dropout: float | None = None,
        config: Any = None,
        warm_start_from: Any = None,
        batch_norm: bool = False,
    ):
        self._begin()

    def _make_head(self) -> Head:
        return given_head(self)
