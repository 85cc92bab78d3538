"""A model from the configuration in a file."""

from __future__ import annotations

from typing import Any

from lamina.core.config import deserialize_object, object_sharing
from lamina.core.errors import describe, owner_label
from lamina.models.model import Model
from lamina.state.variable import variable_budget
from lamina.wire.errors import FileFormatError

_SMALL_MODEL_BYTES = 1 << 26


def model_from(config: dict[str, Any], custom_objects: dict[str, Any] | None, path: str, nbytes: int) -> Model:
    """The model that the configuration in a file describes.

    Args:
        config: the configuration.
        custom_objects: classes and functions of yours by name.
        path: how errors name the file.
        nbytes: the bytes of the arrays in the file.

    Raises:
        FileFormatError: it does not describe a model.
        ValueError: a class or function is unknown, or the model is much larger than the arrays.
    """
    _refuse_paths(config, path)
    try:
        with object_sharing(), variable_budget(2 * nbytes + _SMALL_MODEL_BYTES):
            model = deserialize_object(config, custom_objects, "models")
    except (KeyError, AttributeError, IndexError, RecursionError) as error:
        raise FileFormatError(
            f"'{path}': the configuration is damaged ({type(error).__name__}: {str(error)[:200]})."
        ) from error
    if not isinstance(model, Model):
        raise FileFormatError(f"'{path}' describes {describe(model)}, which is not a model.")
    return model


def _refuse_paths(config: Any, path: str) -> None:
    """A configuration must not make a layer read files: tokens come with the model, in its config or its assets."""
    todo = [config]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            if isinstance(one.get("vocabulary"), str):
                raise FileFormatError(
                    f"'{path}': the vocabulary of '{one.get('name')}' is the path {one['vocabulary'][:80]!r}, which is "
                    "not read. Save the model with the tokens themselves."
                )
            todo += one.values()
        elif isinstance(one, list):
            todo += one


def compile_from(model: Model, config: Any, custom_objects: dict[str, Any] | None, path: str) -> None:
    """Compiles a model as the file says, and makes the optimizer's variables.

    Raises:
        ValueError: a class or function is unknown; the message tells of `compile=False`.
    """
    try:
        model.compile_from_config(config, custom_objects)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{owner_label(model)}: cannot be compiled as '{path}' says: {error} "
            "Pass compile=False to load_model, and compile the model yourself."
        ) from error
