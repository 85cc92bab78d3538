"""Exported models: a prediction graph in a folder that TensorFlow's runtimes load."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from lamina.core.checks import check_choice
from lamina.core.errors import describe, did_you_mean, listing
from lamina.datasets.spec import TensorSpec
from lamina.estimators.modes import ModeKeys
from lamina.estimators.receivers import (
    ServingInputReceiver,
    TensorServingInputReceiver,
    build_parsing_serving_input_receiver_fn,
    build_raw_serving_input_receiver_fn,
)
from lamina.estimators.variables import ModelFrame

__all__ = [
    "ServingInputReceiver",
    "TensorServingInputReceiver",
    "build_parsing_serving_input_receiver_fn",
    "build_raw_serving_input_receiver_fn",
    "export_saved_model",
]


def export_saved_model(
    estimator: Any,
    export_dir_base: str | os.PathLike,
    serving_input_receiver_fn: Callable[[], Any],
    assets_extra: Mapping[str, str] | None = None,
    as_text: bool = False,
    checkpoint_path: str | None = None,
    experimental_mode: str = ModeKeys.PREDICT,
) -> str:
    """Writes the graph of `predict` as a SavedModel; see `Estimator.export_saved_model`."""
    from lamina.export.save import DEFAULT, save  # the formats take long to import: only who exports waits

    check_choice("export_saved_model", "experimental_mode", experimental_mode, [ModeKeys.PREDICT])
    if as_text:
        raise ValueError("export_saved_model: as_text has no meaning here: graphs are written in binary form.")
    if not callable(serving_input_receiver_fn):
        raise TypeError(
            "export_saved_model: serving_input_receiver_fn must be a function, such as "
            f"build_raw_serving_input_receiver_fn({{...}}), got {describe(serving_input_receiver_fn)}."
        )
    receiver = serving_input_receiver_fn()
    specs = _specs(receiver)
    samples = jax.tree.map(_sample, specs, is_leaf=lambda x: isinstance(x, TensorSpec))
    features, _ = estimator._host("predict", samples, None)
    estimator._learn(ModeKeys.PREDICT, (features, None))
    if not estimator._load(checkpoint_path) and not estimator._trained_in_memory():
        raise ValueError("export_saved_model: there is no checkpoint to export. Train the estimator first.")
    final = _fresh_folder(os.fspath(export_dir_base))
    work = os.path.join(os.path.dirname(final), f"temp-{os.path.basename(final)}")
    try:
        graph = _graph(estimator, specs)
        save(None, None, work, signatures={DEFAULT: graph, "predict": graph})
        for name, source in (assets_extra or {}).items():
            target = os.path.join(work, "assets.extra", name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(source, target)
        os.rename(work, final)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return final


def _specs(receiver: Any) -> Any:
    """The specs of what the exported model is fed."""
    if not isinstance(receiver, (ServingInputReceiver, TensorServingInputReceiver)):
        raise TypeError(
            "export_saved_model: serving_input_receiver_fn must return a ServingInputReceiver, got "
            f"{describe(receiver)}."
        )
    fed, features = receiver.receiver_tensors, receiver.features
    if isinstance(fed, Mapping) and isinstance(features, Mapping) and set(fed) != set(features):
        raise ValueError(
            "export_saved_model: an exported graph cannot parse records: it is fed its features. Use "
            f"build_raw_serving_input_receiver_fn with {listing(list(features), 'and')}."
            f"{did_you_mean(next(iter(fed)), list(features))}"
        )
    specs = dict(features) if isinstance(features, Mapping) else features
    for name, spec in (specs if isinstance(specs, dict) else {"features": specs}).items():
        if not isinstance(spec, TensorSpec):
            raise TypeError(f"export_saved_model: feature {name!r} must be a TensorSpec, got {describe(spec)}.")
        if np.dtype(spec.dtype).kind in "OSU":
            raise ValueError(
                f"export_saved_model: feature {name!r} is text, which is turned into ids on the host, outside the "
                "graph. Feed ids, with categorical_column_with_identity."
            )
    return specs


def _sample(spec: Any) -> np.ndarray:
    return np.zeros([2 if i == 0 else (d or 1) for i, d in enumerate(spec.shape or (None,))], spec.dtype)


def _fresh_folder(base: str) -> str:
    """A folder named by the time, as the servers expect it."""
    os.makedirs(base, exist_ok=True)
    stamp = int(time.time())
    while os.path.exists(os.path.join(base, str(stamp))):
        stamp += 1
    return os.path.join(base, str(stamp))


def _graph(estimator: Any, specs: Any) -> Any:
    """The graph from features to predictions."""
    from lamina.graph.trace import trace  # see export_saved_model

    model = estimator._model
    weights = list(model.store.weights.values())
    by_name = isinstance(specs, dict)
    names = sorted(specs) if by_name else ["features"]
    shapes = [
        jax.ShapeDtypeStruct((), "float32") if s is None else s
        for s in ([specs[n] for n in names] if by_name else [specs])
    ]
    outputs: list[str] = []

    def predict(*arrays: Any) -> Any:
        features = dict(zip(names, arrays, strict=True)) if by_name else arrays[0]
        values = [v.value for v in weights]  # through the frame of the trace, which makes them named constants
        with ModelFrame(model.store, weights, values, None, local={}):
            found = model.run_model_fn(features, None, ModeKeys.PREDICT).predictions
        if not isinstance(found, Mapping):
            found = {"output": found}
        outputs[:] = ["/".join(k) if isinstance(k, tuple) else str(k) for k in found]
        return list(found.values())

    jax.eval_shape(predict, *[jax.ShapeDtypeStruct(_sample(s).shape, _dtype(s)) for s in shapes])
    given = [(TensorSpec((None, *tuple(s.shape or ())[1:]), _dtype(s))) for s in shapes]
    return trace(predict, *given, name="predict", input_names=names, output_names=list(outputs))


def _dtype(spec: Any) -> Any:
    return jax.dtypes.canonicalize_dtype(spec.dtype)
