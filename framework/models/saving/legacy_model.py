"""Whole models in HDF5, as Keras 2 wrote them, and Keras 3 and `legacy_writing` do on request."""

from __future__ import annotations

import os
import warnings
from typing import Any

from lamina.core.errors import owner_label
from lamina.models.model import Model
from lamina.models.saving.archive import parse_json
from lamina.models.saving.building import compile_from, model_from
from lamina.models.saving.hdf5 import Datasets, attribute, open_hdf5
from lamina.models.saving.legacy_config import modern, modern_compile_config, modern_config
from lamina.models.saving.legacy_weights import load_legacy_optimizer, load_legacy_weights
from lamina.wire.errors import FileFormatError


def load_legacy_model(path: str, custom_objects: dict[str, Any] | None, compile: bool) -> Model:
    """A model from an HDF5 file with its configuration.

    Args:
        path: the file.
        custom_objects: classes and functions of yours by name.
        compile: whether the model is compiled as it was.

    Raises:
        FileFormatError: the file is damaged, or holds weights alone.
        ValueError: a class or function is unknown, or the weights do not fit.
    """
    with open_hdf5(path, path) as root:
        text = attribute(root, "model_config", path)
        if text is None:
            raise FileFormatError(
                f"'{os.fspath(path)}' holds weights, but no model. Make the model, then call load_weights."
            )
        config = parse_json(text, f"the model_config of '{path}'")
        if not isinstance(config, dict) or "class_name" not in config:
            raise FileFormatError(f"'{path}': its model_config does not describe a model.")
        if "module" not in config:  # lamina's own are in Keras 3's form
            config = modern(modern_config, config, path)
        model = model_from(config, custom_objects, path, Datasets(root, path, os.path.getsize(path)).nbytes)
        if not model.built:
            raise ValueError(f"{owner_label(model)}: '{path}' does not tell the shape of its input. Save it built.")
        model._assign_paths()
        load_legacy_weights(model, root, path)
        text = attribute(root, "training_config", path) if compile else None
        if text is not None:
            training = parse_json(text, f"the training_config of '{path}'")
            training = modern(_compile_config, training, path)
            compile_from(model, training, custom_objects, path)
            if model.optimizer is not None and not load_legacy_optimizer(model.optimizer, root, path):
                warnings.warn(
                    f"{owner_label(model)}: the state of the optimizer in '{path}' is of another kind, so it starts "
                    "anew.",
                    stacklevel=3,
                )
    return model


def _compile_config(training: dict[str, Any]) -> dict[str, Any]:
    """The training_config in Keras 3's form, in which lamina's own has its entries already."""
    optimizer = training.get("optimizer_config")
    if isinstance(optimizer, dict) and "module" in optimizer:
        return {**training, "optimizer": optimizer}
    return modern_compile_config(training)
