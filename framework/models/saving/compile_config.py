"""How a model was compiled, as plain values in Keras 3's format, and back."""

from __future__ import annotations

import warnings
from typing import Any

from lamina.core import registry
from lamina.core.config import deserialize_value, serialize_value
from lamina.core.errors import owner_label

_ARGUMENTS = (
    "optimizer",
    "loss",
    "loss_weights",
    "metrics",
    "weighted_metrics",
    "run_eagerly",
    "steps_per_execution",
    "jit_compile",
)


def compile_config(model: Any) -> dict[str, Any] | None:
    """What `compile` was told, as plain values; None if the model is not compiled, or if they cannot say it.

    An optax transformation and a nameless function are code, which a file does not hold: a warning tells of them.
    """
    if not model.compiled:
        return None
    given = {**model._compile_arguments, "optimizer": model.optimizer}
    config: dict[str, Any] = {}
    for argument in _ARGUMENTS:
        try:
            config[argument] = serialize_value(given.get(argument))
        except (ValueError, TypeError) as error:
            warnings.warn(
                f"{owner_label(model)}: how it is compiled is left out of the file, so it must be compiled again once "
                f"it is loaded. Its {argument} cannot be saved: {error}",
                stacklevel=3,
            )
            return None
    if config["steps_per_execution"] == "auto":  # Keras has no such choice
        config["steps_per_execution"] = 1
    return config


def compile_arguments(config: dict[str, Any], custom_objects: dict[str, Any] | None) -> dict[str, Any]:
    """The arguments of `compile` that a config of `compile_config` describes.

    Raises:
        ValueError: a class or function is unknown.
    """
    with registry.custom_object_scope(custom_objects or {}):
        arguments = {k: deserialize_value(config[k]) for k in _ARGUMENTS if config.get(k) is not None}
    # It only says how steps are run; lamina chooses that by itself unless told otherwise.
    if arguments.get("steps_per_execution") == 1:
        arguments["steps_per_execution"] = "auto"
    return arguments
