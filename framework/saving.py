"""Model files, names for your own classes and functions, and objects as plain values: `lamina.saving`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamina import (  # noqa: F401 - a family's classes are known once it is imported
    activations,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
)
from lamina.checkpoint import latest_checkpoint, load_checkpoint  # noqa: F401 - public names of this module
from lamina.core import registry
from lamina.core.checks import unknown_arguments
from lamina.core.config import deserialize_value, serialize_value
from lamina.core.registry import custom_object_scope, get_registered_object
from lamina.export import load_frozen, load_saved_model
from lamina.models.saving.loading import load_model
from lamina.models.saving.writing import save_model
from lamina.models.weights import load_weights, save_weights

CustomObjectScope = custom_object_scope


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable[[Any], Any]:
    """A decorator that gives a class or function of yours the name `package>name` in saved configs.

    Args:
        package: the first part of the name, such as the name of your project.
        name: the second part; by default the object's own name.

    Raises:
        ValueError: a class has no `get_config`, so it could not be saved.

    Example:
        >>> @register_keras_serializable("my_project")
        ... def twice(x):
        ...     return 2 * x
        >>> get_registered_name(twice)
        'my_project>twice'
    """
    return registry.register_serializable(package, name)


def get_custom_objects() -> dict[str, Any]:
    """All registered classes and functions by name; entries may be added.

    Example:
        >>> get_custom_objects()["thrice"] = lambda x: 3 * x
        >>> get_registered_object("thrice")(2)
        6
        >>> del get_custom_objects()["thrice"]
    """
    return registry._custom


def get_registered_name(obj: Any) -> str:
    """The name that a class or function is registered under, or else its own.

    Example:
        >>> get_registered_name(len)
        'len'
    """
    return registry.registered_name(obj)


def serialize_keras_object(obj: Any) -> Any:
    """An object, or a structure of objects, as plain values that JSON can hold, in Keras 3's format.

    Raises:
        ValueError: a lambda, which has no name to find it by.

    Example:
        >>> from lamina import initializers
        >>> serialize_keras_object([initializers.Zeros(), 3])
        [{'module': 'keras.initializers', 'class_name': 'Zeros', 'config': {}, 'registered_name': None}, 3]
    """
    return serialize_value(obj)


def deserialize_keras_object(
    config: Any, custom_objects: dict[str, Any] | None = None, safe_mode: bool = True, **kwargs: Any
) -> Any:
    """What `serialize_keras_object` described. Only registered and built-in classes are made; no code is run.

    Args:
        config: plain values.
        custom_objects: classes and functions of yours by name.
        safe_mode: accepted as in Keras; code stored in a config is never run, whatever it says.
        **kwargs: `module_objects`, further classes and functions by name.

    Raises:
        ValueError: a class is unknown; the message suggests the closest and tells how to register one.

    Example:
        >>> from lamina import initializers
        >>> deserialize_keras_object(serialize_keras_object(initializers.Constant(2.0))).value
        2.0
    """
    extra = kwargs.pop("module_objects", None)
    if kwargs:
        raise unknown_arguments("deserialize_keras_object", kwargs, ["custom_objects", "module_objects", "safe_mode"])
    known = {**(extra or {}), **(custom_objects or {})}
    if isinstance(config, str) and config in known:
        return known[config]
    return deserialize_value(config, known or None)


__all__ = [
    "CustomObjectScope",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "load_frozen",
    "load_saved_model",
    "load_model",
    "load_weights",
    "register_keras_serializable",
    "save_model",
    "save_weights",
    "serialize_keras_object",
]
