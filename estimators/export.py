"""Exported models: a prediction graph in a folder that TensorFlow's runtimes load."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from typing import Any

from lamina.core.checks import check_choice
from lamina.core.errors import describe, did_you_mean, listing
from lamina.datasets.spec import TensorSpec
from lamina.estimators.export_outputs import ClassificationOutput, Names, PredictOutput, RegressionOutput, Wide
from lamina.estimators.modes import ModeKeys
from lamina.estimators.receivers import (
    ServingInputReceiver,
    TensorServingInputReceiver,
    build_parsing_serving_input_receiver_fn,
    build_raw_serving_input_receiver_fn,
)

__all__ = [
    "ClassificationOutput",
    "Names",
    "PredictOutput",
    "RegressionOutput",
    "ServingInputReceiver",
    "TensorServingInputReceiver",
    "Wide",
    "build_parsing_serving_input_receiver_fn",
    "build_raw_serving_input_receiver_fn",
    "export_saved_model",
]

logger = logging.getLogger("lamina.estimators")


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
    # the formats take long to import: only who exports waits
    from lamina.estimators.serving import serve
    from lamina.export.tensorflow.writer import write_saved_model

    check_choice("export_saved_model", "experimental_mode", experimental_mode, [ModeKeys.PREDICT])
    if as_text:
        raise ValueError("export_saved_model: as_text has no meaning here: graphs are written in binary form.")
    if not callable(serving_input_receiver_fn):
        raise TypeError(
            "export_saved_model: serving_input_receiver_fn must be a function, such as "
            f"build_raw_serving_input_receiver_fn({{...}}), got {describe(serving_input_receiver_fn)}."
        )
    receiver = check_receiver(serving_input_receiver_fn())
    graphs = serve(estimator, receiver, checkpoint_path)
    final = _fresh_folder(os.fspath(export_dir_base))
    work = os.path.join(os.path.dirname(final), f"temp-{os.path.basename(final)}")
    try:
        write_saved_model(graphs, work)
        for name, source in (assets_extra or {}).items():
            target = os.path.join(work, "assets.extra", name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(source, target)
        os.rename(work, final)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return final


def check_receiver(receiver: Any) -> Any:
    """What a serving_input_receiver_fn returned.

    Raises:
        TypeError: it is no receiver, or a feature no spec.
        ValueError: callers feed something else than the features, and nothing says how they are read from it.
    """
    if not isinstance(receiver, (ServingInputReceiver, TensorServingInputReceiver)):
        raise TypeError(
            "export_saved_model: serving_input_receiver_fn must return a ServingInputReceiver, got "
            f"{describe(receiver)}."
        )
    fed, features = receiver.receiver_tensors, receiver.features
    parsed = getattr(receiver, "feature_spec", None) is not None
    if not parsed and isinstance(fed, Mapping) and isinstance(features, Mapping) and set(fed) != set(features):
        raise ValueError(
            f"export_saved_model: callers feed {listing(list(fed), 'and')}, and the features are "
            f"{listing(list(features), 'and')}. Give feature_spec, by which records are parsed, as "
            f"build_parsing_serving_input_receiver_fn does.{did_you_mean(next(iter(fed)), list(features))}"
        )
    for name, spec in (features if isinstance(features, Mapping) else {"features": features}).items():
        if not isinstance(spec, TensorSpec):
            raise TypeError(f"export_saved_model: feature {name!r} must be a TensorSpec, got {describe(spec)}.")
    return receiver


def _fresh_folder(base: str) -> str:
    """A folder named by the time, as the servers expect it."""
    os.makedirs(base, exist_ok=True)
    stamp = int(time.time())
    while os.path.exists(os.path.join(base, str(stamp))):
        stamp += 1
    return os.path.join(base, str(stamp))
