"""Serving input receivers: what an exported model is fed, and how its features come of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lamina.core.errors import describe
from lamina.datasets.examples import features_spec
from lamina.datasets.spec import TensorSpec


class ServingInputReceiver(NamedTuple):
    """What an exported model is fed.

    Args:
        features: a `TensorSpec` for each feature, or one alone.
        receiver_tensors: what callers feed: the features themselves, or records under the name "examples".
        receiver_tensors_alternatives: further ways to feed the model, by name: a spec for each feature.
        feature_spec: how the features are read from records, if those are what callers feed.
    """

    features: Any
    receiver_tensors: Any
    receiver_tensors_alternatives: Any = None
    feature_spec: Any = None


class TensorServingInputReceiver(NamedTuple):
    """A `ServingInputReceiver` with a single array in the place of features by name."""

    features: TensorSpec
    receiver_tensors: Any
    receiver_tensors_alternatives: Any = None


def _spec(owner: str, name: str, given: Any, batch: int | None) -> TensorSpec:
    """A feature's spec: of a TensorSpec, an array, or an example of the feature."""
    if isinstance(given, TensorSpec):
        shape = tuple(given.shape or ())
        return TensorSpec((batch, *shape[1:]), given.dtype, name)
    if hasattr(given, "shape") and hasattr(given, "dtype"):
        return TensorSpec((batch, *tuple(given.shape)[1:]), given.dtype, name)
    raise TypeError(f"{owner}: feature {name!r} must be a TensorSpec or an array, got {describe(given)}.")


def build_raw_serving_input_receiver_fn(
    features: Mapping[str, Any], default_batch_size: int | None = None
) -> Callable[[], ServingInputReceiver]:
    """A function for `export_saved_model`: the model is fed its features as they are.

    Args:
        features: a `TensorSpec`, or a batch of values, for each feature.
        default_batch_size: the size of a batch; None for any.

    Example:
        >>> import numpy as np
        >>> receiver = build_raw_serving_input_receiver_fn({"x": np.zeros((1, 3), "float32")})()
        >>> receiver.features["x"].shape
        (None, 3)
    """
    owner = "build_raw_serving_input_receiver_fn"
    if not isinstance(features, Mapping) or not features:
        raise TypeError(f"{owner}: features must be a dict by name, got {describe(features)}.")
    specs = {k: _spec(owner, k, v, default_batch_size) for k, v in features.items()}

    def serving_input_receiver_fn() -> ServingInputReceiver:
        return ServingInputReceiver(specs, specs)

    return serving_input_receiver_fn


def build_parsing_serving_input_receiver_fn(
    feature_spec: Mapping[str, Any], default_batch_size: int | None = None
) -> Callable[[], ServingInputReceiver]:
    """A function for `export_saved_model`: the model is fed `tf.train.Example` records.

    Args:
        feature_spec: what `make_parse_example_spec` returns.
        default_batch_size: the size of a batch; None for any.

    Raises:
        TypeError: feature_spec is no dict of specs by feature.

    Example:
        >>> from lamina.estimators import feature_column
        >>> columns = [feature_column.categorical_column_with_hash_bucket("word", 10)]
        >>> spec = feature_column.make_parse_example_spec(columns)
        >>> receiver = build_parsing_serving_input_receiver_fn(spec)()
        >>> receiver.receiver_tensors["examples"].dtype, receiver.features["word"].shape
        (dtype('O'), (None, None))
    """
    owner = "build_parsing_serving_input_receiver_fn"
    if not isinstance(feature_spec, Mapping) or not feature_spec:
        raise TypeError(f"{owner}: feature_spec must be a dict by feature, got {describe(feature_spec)}.")
    try:
        features = features_spec(feature_spec, default_batch_size)
    except AttributeError:
        wrong = next(v for v in feature_spec.values() if not hasattr(v, "dtype"))
        raise TypeError(f"{owner}: feature_spec must hold FixedLenFeature and such, got {describe(wrong)}.") from None

    def serving_input_receiver_fn() -> ServingInputReceiver:
        examples = TensorSpec((default_batch_size,), "string", "examples")
        return ServingInputReceiver(features, {"examples": examples}, None, dict(feature_spec))

    return serving_input_receiver_fn
