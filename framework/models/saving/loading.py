"""`load_model`: a model from one file. No code is ever run: the file names classes, which must be known."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from lamina.core.errors import describe
from lamina.models.model import Model
from lamina.models.saving import archive
from lamina.models.saving.building import compile_from, model_from
from lamina.models.saving.hdf5 import Datasets, open_hdf5
from lamina.models.saving.legacy_config import modern, modern_compile_config, modern_config
from lamina.models.saving.legacy_model import load_legacy_model
from lamina.models.saving.parts import load_assets, load_groups
from lamina.wire.errors import FileFormatError

_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"


def load_model(
    filepath: str | os.PathLike,
    custom_objects: dict[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Model:
    """A model from a file that `model.save` wrote, here or in Keras.

    Both Keras 3 archives (`.keras`) and the whole models in HDF5 (`.h5`) of Keras 2 and 3 are read.

    Args:
        filepath: the file.
        custom_objects: classes and functions of yours by name, for those that are not registered.
        compile: whether the model is compiled as it was, with the optimizer's state.
        safe_mode: accepted as in Keras. Code in a file is never run, whatever it says: a Lambda layer that Keras saved
            with its code is an error in both modes.

    Raises:
        FileFormatError: the file is damaged, or not safe to read (a ValueError).
        ValueError: a class or function is unknown, or the weights do not fit.

    Example:
        >>> import os, tempfile, lamina
        >>> model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2, name="out")])
        >>> path = os.path.join(tempfile.mkdtemp(), "model.keras")
        >>> model.save(path)
        >>> load_model(path).layers
        [<Dense name=out, built=True>]
    """
    if not isinstance(filepath, (str, os.PathLike)):
        raise TypeError(f"load_model: the path must be text such as 'run/model.keras', got {describe(filepath)}.")
    path = os.fspath(filepath)
    if os.path.isdir(path):
        raise ValueError(f"load_model: '{path}' is a folder. Give the .keras file that model.save wrote.")
    if not os.path.exists(path) and os.path.exists(f"{path}.index"):
        raise ValueError(
            f"load_model: '{path}' is a checkpoint, which has weights only. Make the model, then call load_weights."
        )
    with open(path, "rb") as file:
        start = file.read(8)
    if start.startswith(_ZIP):
        return _load_archive(path, custom_objects, compile)
    if start == _HDF5:
        return load_legacy_model(path, custom_objects, compile)
    raise FileFormatError(f"load_model: '{path}' is neither a .keras archive nor an HDF5 file of a model.")


def _load_archive(path: str, custom_objects: dict[str, Any] | None, compile: bool) -> Model:
    with archive.Archive(path) as file:
        config = file.read_json(archive.CONFIG)
        if archive.WEIGHTS not in file.names:
            raise FileFormatError(f"'{path}' has no {archive.WEIGHTS}. Archives with other weights are not read.")
        if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
            raise FileFormatError(f"'{path}': {archive.CONFIG} does not describe a model.")
        compiled = config.pop("compile_config", None)
        if _is_of_keras_2(file):
            config = modern(modern_config, config, path)
            compiled = modern(modern_compile_config, compiled, path) if compiled else None
        with file.open(archive.WEIGHTS) as weights:
            label = f"{archive.WEIGHTS} of '{path}'"
            size = weights.seek(0, os.SEEK_END)
            weights.seek(0)
            with open_hdf5(weights, label) as root:
                arrays = Datasets(root, label, size)
                model = model_from(config, custom_objects, path, arrays.nbytes)
                if compile and compiled:
                    compile_from(model, compiled, custom_objects, path)
                if model.built or len(arrays):
                    model._assign_paths()
                    load_groups(model, arrays, f"the file '{path}'")
        if any(name.startswith(f"{archive.ASSETS}/") for name in file.names):
            with tempfile.TemporaryDirectory() as folder:
                file.extract(archive.ASSETS, Path(folder))
                load_assets(model, Path(folder))
    return model


def _is_of_keras_2(file: archive.Archive) -> bool:
    if archive.METADATA not in file.names:
        return False
    metadata = file.read_json(archive.METADATA)
    return isinstance(metadata, dict) and str(metadata.get("keras_version")).startswith("2.")
