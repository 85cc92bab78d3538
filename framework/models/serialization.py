"""Models from their configs."""

from __future__ import annotations

import json
from typing import Any

from lamina.core.config import deserialize_object
from lamina.core.errors import describe
from lamina.models.model import Model


def model_from_config(config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Model:
    """A model, with new weights, from its description as plain values.

    Args:
        config: what `saving.serialize_keras_object(model)` returned.
        custom_objects: classes and functions of yours by name.

    Raises:
        ValueError: a class is unknown, or the description is of something else than a model.

    Example:
        >>> from lamina import Sequential, layers, saving
        >>> model = Sequential([layers.Input((3,)), layers.Dense(2)])
        >>> model_from_config(saving.serialize_keras_object(model)).output_shape
        (None, 2)
    """
    model = deserialize_object(config, custom_objects, "models")
    if not isinstance(model, Model):
        raise ValueError(f"model_from_config: the config describes {describe(model)}, which is not a model.")
    return model


def model_from_json(json_string: str, custom_objects: dict[str, Any] | None = None) -> Model:
    """A model, with new weights, from what `model.to_json()` returned.

    Args:
        json_string: the text.
        custom_objects: classes and functions of yours by name.

    Raises:
        ValueError: a class is unknown, or the text describes something else than a model.

    Example:
        >>> from lamina import Sequential, layers
        >>> text = Sequential([layers.Input((3,)), layers.Dense(2)]).to_json()
        >>> model_from_json(text).count_params()
        8
    """
    return model_from_config(json.loads(json_string), custom_objects)
