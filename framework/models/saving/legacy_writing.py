"""Whole models in HDF5 as Keras' old format has them, written: what `legacy_model` reads."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lamina.core.errors import owner_label
from lamina.losses import ALIASES
from lamina.models.saving.hdf5 import require_h5py
from lamina.models.saving.legacy_weights import OPTIMIZER, TOP_LEVEL, WEIGHTS, weights_of_layers
from lamina.models.saving.parts import save_assets
from lamina.state.variable import Variable

# The most bytes of an attribute: HDF5 keeps the attributes of a group in a header of 64 KiB.
_ATTRIBUTE_BYTES = 64512


def require_graph(model: Any, path: str) -> None:
    """Refuses models that the old format cannot hold whole.

    Raises:
        ValueError: the model is no graph of layers, or a layer keeps files of its own.
    """
    label = owner_label(model)
    if model.network is None or not model.built:
        raise ValueError(
            f"{label}: '{path}' can hold a model of inputs and outputs, or a Sequential that has an Input or was "
            "called on data; the old format cannot say how any other is built. End the path with '.keras'."
        )
    with tempfile.TemporaryDirectory() as folder:
        save_assets(model, Path(folder))
        kept = next((p for p in sorted(Path(folder).rglob("*")) if p.is_file()), None)
        if kept is not None:
            raise ValueError(
                f"{label}: '{path}' has no place for the file '{kept.relative_to(folder).as_posix()}' that a layer "
                "keeps (a vocabulary that was learned by adapt, say). End the path with '.keras'."
            )


def training_config(compiled: dict[str, Any]) -> dict[str, Any]:
    """How a model was compiled, from `compile_config`, as the old format has it."""
    rest = {k: v for k, v in compiled.items() if k != "optimizer"}
    return {**rest, "loss": _whole_names(compiled["loss"]), "optimizer_config": compiled["optimizer"]}


def _whole_names(loss: Any) -> Any:
    """Keras does not find losses by their short names, such as mse, in this format."""
    if isinstance(loss, str):
        return ALIASES[loss].__name__ if loss in ALIASES else loss
    if isinstance(loss, list):
        return [_whole_names(one) for one in loss]
    if isinstance(loss, dict) and "class_name" not in loss:
        return {name: _whole_names(one) for name, one in loss.items()}
    return loss


def write_legacy_model(file: BinaryIO, model: Any, attributes: Mapping[str, str], optimizer: bool) -> None:
    """Writes a model as the old format has it.

    Args:
        file: an open binary file.
        model: a model that `require_graph` lets pass, its variables with paths.
        attributes: texts of the whole file: `keras_version`, `backend`, `model_config`, `training_config`.
        optimizer: whether the optimizer's state is written.
    """
    layers = weights_of_layers(model)
    with require_h5py().File(file, "w") as root:
        root.attrs.update(attributes)
        group = root.create_group(WEIGHTS)
        group.attrs.update({k: attributes[k] for k in ("keras_version", "backend")})
        _write_names(group, "layer_names", list(layers))
        for name in sorted(layers):
            _write_arrays(group.create_group(name), layers[name])
        _write_arrays(group.create_group(TOP_LEVEL), model._saved_variables())
        if optimizer:
            _write_arrays(root.create_group(OPTIMIZER), model.optimizer._saved_variables())


def _write_arrays(group: Any, variables: Sequence[Variable | np.ndarray]) -> None:
    names = _places([v.path if isinstance(v, Variable) else "unused" for v in variables])
    _write_names(group, "weight_names", names)
    for name, variable in zip(names, variables, strict=True):
        array = np.asarray(variable.stored) if isinstance(variable, Variable) else variable
        # The old format has no bfloat16; float32 holds its values exactly.
        group.create_dataset(name, data=array.astype("float32") if array.dtype.kind == "V" else array)


def _places(paths: Sequence[str]) -> list[str]:
    """The paths, numbered where one is there already, or would be a group that another is in."""
    names: list[str] = []
    groups: set[str] = set()
    for i, path in enumerate(paths):
        above = _above(path)
        name = f"{path}_{i}" if path in names or path in groups else path
        if above & set(names):
            name = f"{path.replace('/', '_')}_{i}"
        groups |= _above(name)
        names.append(name)
    return names


def _above(path: str) -> set[str]:
    parts = path.split("/")
    return {"/".join(parts[:i]) for i in range(1, len(parts))}


def _write_names(group: Any, name: str, texts: Sequence[str]) -> None:
    """Writes a list of texts as one attribute NAME, or in parts as NAME0, NAME1, ... where it is long."""
    array = np.array([text.encode() for text in texts], None if texts else "S1")
    count = max(_ATTRIBUTE_BYTES // array.itemsize, 1)
    if len(array) <= count:
        group.attrs[name] = array
    else:
        for part, start in enumerate(range(0, len(array), count)):
            group.attrs[f"{name}{part}"] = array[start : start + count]
