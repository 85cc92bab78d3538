"""Losses: what training makes small. Each is a class, and a function that gives a loss an element."""

from __future__ import annotations

import inspect
from typing import Any

from lamina.core import registry
from lamina.core.config import deserialize_object, serialize_object
from lamina.core.errors import describe, did_you_mean
from lamina.losses.crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    binary_crossentropy,
    categorical_crossentropy,
    sparse_categorical_crossentropy,
)
from lamina.losses.ctc import CTC, ctc
from lamina.losses.divergence import (
    CategoricalHinge,
    Hinge,
    KLDivergence,
    Poisson,
    SquaredHinge,
    categorical_hinge,
    hinge,
    kl_divergence,
    poisson,
    squared_hinge,
)
from lamina.losses.focal import (
    BinaryFocalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
    binary_focal_crossentropy,
    categorical_focal_crossentropy,
    categorical_generalized_cross_entropy,
)
from lamina.losses.loss import Loss, LossFunctionWrapper
from lamina.losses.regression import (
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
)
from lamina.losses.segmentation import Dice, Tversky, dice, tversky
from lamina.losses.similarity import Circle, CosineSimilarity, circle, cosine_similarity

# The short names that Keras takes.
ALIASES = {
    "bce": binary_crossentropy,
    "BCE": binary_crossentropy,
    "kld": kl_divergence,
    "KLD": kl_divergence,
    "kullback_leibler_divergence": kl_divergence,
    "mae": mean_absolute_error,
    "MAE": mean_absolute_error,
    "mse": mean_squared_error,
    "MSE": mean_squared_error,
    "mape": mean_absolute_percentage_error,
    "MAPE": mean_absolute_percentage_error,
    "msle": mean_squared_logarithmic_error,
    "MSLE": mean_squared_logarithmic_error,
    "logcosh": log_cosh,
}


def serialize(loss: Any) -> Any:
    """A loss as plain values: a dict for an object, a name for a function.

    Example:
        >>> serialize(MeanSquaredError())["class_name"], serialize(mean_squared_error)
        ('MeanSquaredError', 'mean_squared_error')
    """
    return serialize_object(loss)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The loss that `serialize` described.

    Raises:
        ValueError: there is no such loss.

    Example:
        >>> deserialize(serialize(Huber(delta=2.0))).delta
        2.0
    """
    if isinstance(config, str):
        return _named(config, custom_objects)
    return deserialize_object(config, custom_objects, "losses")


def get(identifier: Any) -> Any:
    """A loss from a name, a config, a class, a function or a loss.

    Raises:
        ValueError: no loss has that name.
        TypeError: the identifier is nothing that stands for a loss.

    Example:
        >>> get("mse").__name__, get("MeanSquaredError").name
        ('mean_squared_error', 'mean_squared_error')
    """
    if identifier is None:
        return None
    if isinstance(identifier, str):
        identifier = _named(identifier, None)
    elif isinstance(identifier, dict):
        identifier = deserialize(identifier)
    if inspect.isclass(identifier):
        identifier = identifier()
    if not callable(identifier):
        raise TypeError(
            "losses.get: a loss must be a name such as 'mse', a Loss, a function (y_true, y_pred) or a config, "
            f"got {describe(identifier)}."
        )
    return identifier


def _named(name: str, custom_objects: dict[str, Any] | None) -> Any:
    found = ALIASES.get(name)
    found = registry.get_registered_object(name, custom_objects, registry.BUILTIN["losses"]) if found is None else found
    if found is None:
        options = [*ALIASES, *registry.BUILTIN["losses"]]
        raise ValueError(
            f"No loss is named {name!r}.{did_you_mean(name, options)} If it is your own, pass the function or object "
            "itself, or decorate it with lamina.saving.register_keras_serializable()."
        )
    return found


__all__ = [
    "ALIASES",
    "CTC",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalGeneralizedCrossEntropy",
    "CategoricalHinge",
    "Circle",
    "CosineSimilarity",
    "Dice",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "LossFunctionWrapper",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "Tversky",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy",
    "categorical_hinge",
    "circle",
    "cosine_similarity",
    "ctc",
    "deserialize",
    "dice",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "serialize",
    "sparse_categorical_crossentropy",
    "squared_hinge",
    "tversky",
]
