"""`model.save`: a model as one file, in Keras 3's format, or in the old one of HDF5."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from lamina.checkpoint.files import replacing
from lamina.core.checks import unknown_arguments
from lamina.core.config import object_sharing, serialize_object
from lamina.core.errors import describe, owner_label
from lamina.models.saving import archive
from lamina.models.saving.hdf5 import require_h5py, write_groups
from lamina.models.saving.legacy_writing import require_graph, training_config, write_legacy_model
from lamina.models.saving.parts import save_assets, saved_groups

# The version of Keras whose format is written.
KERAS_VERSION = "3.15.1"
# Endings of the old format.
LEGACY = (".h5", ".hdf5")


def save_model(model: Any, filepath: str | os.PathLike, overwrite: bool = True, **kwargs: Any) -> None:
    """Writes a model as one file: its architecture, its weights, and how it was compiled, with the optimizer's state.

    The file is a `.keras` archive, or Keras' old format in HDF5, `.h5` or `.hdf5`; Keras 3 reads both. It appears whole
    or not at all. A function or class of yours goes in by name: decorate it with
    `lamina.saving.register_keras_serializable()`. Prefer `.keras`: the old format holds no subclassed models and no
    vocabularies that were learned, and Keras 3 does not take up an optimizer's slots from it, which `load_model` does.

    Args:
        model: a model.
        filepath: a path that ends with `.keras`, `.h5` or `.hdf5`.
        overwrite: whether an existing file is replaced.
        **kwargs: `include_optimizer`: whether the compile configuration and the optimizer's state are written.

    Raises:
        ValueError: the path ends otherwise; the model holds a function without a name; or the old format cannot hold
            the model.
        FileExistsError: the file exists, and `overwrite` is False.
        ImportError: h5py is not installed.

    Example:
        >>> import os, tempfile, lamina
        >>> model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2)])
        >>> path = os.path.join(tempfile.mkdtemp(), "model.keras")
        >>> model.save(path)
        >>> lamina.saving.load_model(path).count_params()
        8
    """
    include_optimizer = kwargs.pop("include_optimizer", True)
    if kwargs.pop("zipped", None) is False or kwargs:
        raise unknown_arguments("save", kwargs or ["zipped=False"], ["filepath", "include_optimizer", "overwrite"])
    path = check_path("save", filepath, overwrite)
    if path.endswith(".weights.h5"):
        raise ValueError(f"{owner_label(model)}: {path!r} is a path for weights alone, which save_weights writes.")
    if not path.endswith((".keras", *LEGACY)):
        raise ValueError(
            f"{owner_label(model)}: save knows the format by the path's ending, got {path!r}; end it with '.keras'."
        )
    require_h5py()
    if path.endswith(LEGACY):
        _save_legacy(model, path, include_optimizer)
        return
    texts = {archive.METADATA: json.dumps(_metadata()), archive.CONFIG: model_json(model, include_optimizer)}
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, archive.spooled() as weights:
        write_groups(weights, saved_groups(model, include_optimizer))
        some = save_assets(model, Path(folder))
        with replacing(path) as file:
            archive.write_archive(file, texts, weights, Path(folder) if some else None)


def _save_legacy(model: Any, path: str, include_optimizer: bool) -> None:
    require_graph(model, path)
    with object_sharing():
        config = serialize_object(model)
    # Keras looks the model's class up by this name alone.
    config["class_name"] = config["registered_name"] or config["class_name"]
    texts = {"keras_version": KERAS_VERSION, "backend": "jax", "model_config": _to_json(config, model)}
    compiled = model.get_compile_config() if include_optimizer and model.optimizer is not None else None
    if compiled is not None:
        texts["training_config"] = _to_json(training_config(compiled), model)
    model._assign_paths()
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with replacing(path) as file:
        write_legacy_model(file, model, texts, compiled is not None and model.optimizer.built)


def check_path(method: str, path: Any, overwrite: bool) -> str:
    """`path` as text.

    Raises:
        TypeError: it is no path.
        FileExistsError: something is there, and `overwrite` is False.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{method}: the path must be text such as 'run/model.keras', got {describe(path)}.")
    path = os.fspath(path)
    if not overwrite and os.path.exists(path):
        raise FileExistsError(f"{method}: {path} exists. Pass overwrite=True to replace it.")
    return path


def _metadata() -> dict[str, str]:
    try:
        version = importlib.metadata.version("lamina")
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    now = datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S")
    return {"keras_version": KERAS_VERSION, "date_saved": now, "lamina_version": version}


def model_json(model: Any, include_optimizer: bool = True) -> str:
    """The configuration of a model, and how it was compiled, as JSON.

    Raises:
        ValueError: something in it has no form in JSON, such as a function without a name; the message says where.
    """
    with object_sharing():
        config = serialize_object(model)
        compiled = model.get_compile_config() if include_optimizer else None
    if compiled is not None:
        config["compile_config"] = compiled
    return _to_json(config, model)


def _to_json(config: dict[str, Any], model: Any) -> str:
    try:
        return json.dumps(config)
    except TypeError:
        where, value = _first_odd(config, owner_label(model)) or (owner_label(model), config)
    name = getattr(value, "__name__", "")
    if name == "<lambda>":
        raise ValueError(
            f"{where}: a nameless function cannot be saved, since files hold no code. Define it with def, and decorate "
            "it with lamina.saving.register_keras_serializable()."
        )
    raise ValueError(f"{where}: get_config must return plain values that JSON can hold, got {describe(value)}.")


def _first_odd(x: Any, where: str) -> tuple[str, Any] | None:
    """The first value that JSON cannot hold, and the object whose config has it."""
    if isinstance(x, dict):
        inner = x.get("config")
        if isinstance(inner, dict) and "class_name" in x:
            where = f"{x['class_name']} '{inner.get('name', x['class_name'])}'"
        items: Any = x.values()
    elif isinstance(x, (list, tuple)):
        items = x
    else:
        return None if x is None or isinstance(x, (bool, int, float, str)) else (where, x)
    return next((found for item in items if (found := _first_odd(item, where)) is not None), None)
