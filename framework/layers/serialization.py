"""Layers as plain values, and back."""

from __future__ import annotations

from typing import Any

from lamina.core.config import deserialize_object, serialize_object
from lamina.core.errors import describe
from lamina.layers.layer import Layer


def serialize(layer: Layer) -> dict[str, Any]:
    """A layer as plain values, in Keras 3's format.

    Example:
        >>> from lamina.layers import Dense
        >>> serialize(Dense(3))["class_name"]
        'Dense'
    """
    return serialize_object(layer)


def deserialize(config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Layer:
    """The layer that `serialize` described.

    Args:
        config: a dict with `class_name` and `config`.
        custom_objects: classes and functions of yours by name.

    Raises:
        ValueError: a class or function is unknown, or the config describes something else than a layer.

    Example:
        >>> deserialize({"class_name": "Dense", "config": {"units": 3}}).units
        3
    """
    layer = deserialize_object(config, custom_objects, "layers")
    if not isinstance(layer, Layer):
        raise ValueError(f"layers.deserialize: the config describes {describe(layer)}, which is not a layer.")
    return layer
