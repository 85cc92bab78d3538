"""Estimators made of others: with further metrics, or of a compiled model."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.checks import check_type
from lamina.core.errors import describe, listing
from lamina.estimators.estimator import Estimator
from lamina.estimators.model import call_with
from lamina.estimators.modes import EstimatorSpec, Minimize, ModeKeys
from lamina.metrics.metric import Metric
from lamina.models import Model, clone_model
from lamina.training.compiled import CompileMetrics, Outputs


def add_metrics(estimator: Estimator, metric_fn: Callable[..., dict[str, Any]]) -> Estimator:
    """An estimator like another one, with further metrics; both share the folder and what was learnt in it.

    Args:
        estimator: the estimator.
        metric_fn: returns metrics by name, as for `EstimatorSpec(eval_metric_ops=...)`; it may take `features`,
            `labels`, `predictions` and `config`.

    Raises:
        TypeError: an argument is something else.

    Example:
        >>> from lamina import estimators as est
        >>> def metric_fn(labels, predictions):
        ...     return {"mae": est.metrics.mean_absolute_error(labels, predictions["predictions"])}
        >>> column = est.feature_column.numeric_column("x")
        >>> estimator = add_metrics(est.LinearRegressor([column]), metric_fn)
    """
    check_type("add_metrics", "estimator", estimator, Estimator, "an Estimator")
    if not callable(metric_fn):
        raise TypeError(f"add_metrics: metric_fn must be a function, got {describe(metric_fn)}.")
    before = estimator._added_metrics
    other = copy.copy(estimator)
    if estimator._config.model_dir is None and estimator._model.store.step > 0:
        raise ValueError("add_metrics: the estimator was trained in memory. Give it a model_dir, or add metrics first.")
    other._results = {}
    other._setup_again()

    def added(features: Any, labels: Any, predictions: Any, config: Any) -> dict[str, Any]:
        offered = {"features": features, "labels": labels, "predictions": predictions, "config": config}
        found = {} if before is None else dict(call_with(before, offered))
        return {**found, **call_with(metric_fn, offered)}

    other._added_metrics = added
    return other


def model_to_estimator(
    keras_model: Model | None = None,
    keras_model_path: str | os.PathLike | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    model_dir: str | os.PathLike | None = None,
    config: Any = None,
    checkpoint_format: str | None = None,
    metric_names_map: Mapping[str, str] | None = None,
) -> Estimator:
    """An Estimator of a compiled model. It starts from the model's weights, and leaves the model as it is.

    Features are the model's input, or a dict by the names of its inputs; predictions are a dict by the names of its
    outputs.

    Args:
        keras_model: a compiled model with known inputs.
        keras_model_path: a file of one, in the place of the model.
        custom_objects: classes and functions of your own that the file names.
        model_dir: see `Estimator`.
        config: see `Estimator`.
        checkpoint_format: taken for TensorFlow's sake.
        metric_names_map: other names for metrics, by their names.

    Raises:
        ValueError: neither or both of model and path are given, or the model is not compiled.
    """
    if (keras_model is None) == (keras_model_path is None):
        raise ValueError("model_to_estimator: give one of keras_model and keras_model_path.")
    if keras_model_path is not None:
        from lamina.models.saving.loading import load_model  # formats are loaded where they are used

        keras_model = load_model(keras_model_path, custom_objects=dict(custom_objects or {}))
    source: Model = check_type("model_to_estimator", "keras_model", keras_model, Model, "a Model")
    if not source.compiled or source.optimizer is None or source._compile_loss is None:
        raise ValueError("model_to_estimator: compile the model first, with an optimizer and a loss.")
    if source.network is None:
        raise ValueError(
            "model_to_estimator: the model must be functional, or sequential with an Input. For a subclassed model "
            "write a model_fn."
        )
    model = clone_model(source)
    model.set_weights(source.get_weights())
    model._assign_paths()
    optimizer = type(source.optimizer).from_config(source.optimizer.get_config())
    losses, names = source._compile_loss, source.output_names
    renamed = dict(metric_names_map or {})

    def model_fn(features: Any, labels: Any, mode: str) -> EstimatorSpec:
        outputs = model(_inputs(model, features), training=mode == ModeKeys.TRAIN)
        found = Outputs(outputs, names)
        flat = found.flat(outputs, "the outputs")
        predictions = dict(zip(found.names, flat, strict=True))
        if mode == ModeKeys.PREDICT:
            return EstimatorSpec(mode, predictions)
        if not losses.losses:
            losses.build(found)
        values = losses.values(labels, outputs, None)
        weighed = [v if w is None else v * w for v, w in zip(values, losses.weights, strict=True) if v is not None]
        loss = sum([jnp.asarray(p, "float32") for p in model.losses], sum(weighed[1:], weighed[0]))
        if mode == ModeKeys.TRAIN:
            return EstimatorSpec(mode, predictions, loss, Minimize(optimizer, loss, model.trainable_variables))
        metrics = _metrics(source, found, labels, outputs, losses)
        return EstimatorSpec(
            mode, predictions, loss, eval_metric_ops={renamed.get(k, k): m for k, m in metrics.items()}
        )

    return Estimator(model_fn, model_dir, config)


def _inputs(model: Model, features: Any) -> Any:
    """Features as the model takes them."""
    if not isinstance(features, Mapping):
        return features
    names = model.input_names
    if len(names) == 1 and names[0] not in features and len(features) == 1:
        return next(iter(features.values()))
    missing = [n for n in names if n not in features]
    if missing:
        raise ValueError(
            f"model_to_estimator: features lack the input {listing(missing, 'and')}; they are "
            f"{listing(list(features), 'and')}."
        )
    values = [features[n] for n in names]
    return values[0] if len(values) == 1 else jax.tree.unflatten(jax.tree.structure(model.input), values)


def _metrics(source: Model, outputs: Outputs, labels: Any, predictions: Any, losses: Any) -> dict[str, Metric]:
    """Fresh metrics, as the model was compiled with, that have taken the batch in."""
    compiled = source._compile_metrics
    if compiled is None:
        return {}
    plain, weighted = (jax.tree.map(_fresh, group, is_leaf=_is_metric) for group in compiled.user)
    own = CompileMetrics(plain, weighted)
    targets = losses.targets(labels)
    own.build(outputs, labels, predictions, targets)
    own.update(targets, predictions, [None] * outputs.count)
    return {name: metric for name, _, metric, _ in own.rows}


def _is_metric(x: Any) -> bool:
    return isinstance(x, Metric)


def _fresh(identifier: Any) -> Any:
    return type(identifier).from_config(identifier.get_config()) if isinstance(identifier, Metric) else identifier
