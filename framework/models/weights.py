"""Weights on disk, in the format that the path's ending names.

- no known ending: TensorFlow's checkpoint format, in files that start with the path; an entry for each weight, under
  its path;
- `.safetensors`: an entry for each weight, under its path;
- `.weights.h5`: Keras 3's format, in groups named after the places of the layers; with the optimizer's state;
- `.weights.json`: the same in several files of a bounded size beside it, which it names;
- `.h5` and `.keras`: read only: the weights in the files of whole models, and the weights files of Keras 2.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from re import Pattern
from typing import Any

import numpy as np

from lamina.checkpoint.files import replacing
from lamina.checkpoint.matching import LoadReport, NameMap, match_tensors
from lamina.checkpoint.reader import load_checkpoint
from lamina.checkpoint.writer import write_checkpoint
from lamina.core.errors import owner_label
from lamina.models.saving import archive
from lamina.models.saving.hdf5 import Datasets, open_hdf5, require_h5py, write_groups
from lamina.models.saving.legacy_weights import is_legacy, load_legacy_weights
from lamina.models.saving.parts import load_groups, saved_groups
from lamina.models.saving.sharded import INDEX, open_sharded, write_sharded
from lamina.models.saving.writing import check_path
from lamina.wire.safetensors import SafetensorsReader, write_safetensors

_HDF5 = (".h5", ".hdf5")


def save_weights(
    model: Any, filepath: str | os.PathLike, overwrite: bool = True, max_shard_size: float | None = None
) -> None:
    """Writes the weights of a model.

    Files are complete or not there at all: they are written under another name and renamed at the end.

    Args:
        model: a built model.
        filepath: a path that ends with `.weights.h5` or `.safetensors`, or with `.weights.json` for several files of a
            bounded size, else the prefix of a checkpoint's files.
        overwrite: whether existing files are replaced.
        max_shard_size: with `.weights.json`, the most GiB of weights in a file.

    Raises:
        ValueError: the model has no weights yet, or the ending is one that weights are not written to; or a weight
            alone is larger than `max_shard_size`.
        FileExistsError: the files exist, and `overwrite` is False.
    """
    path = check_path("save_weights", filepath, overwrite)
    if max_shard_size is not None and path.endswith(".weights.h5"):
        path = check_path("save_weights", path.removesuffix(".h5") + ".json", overwrite)
        warnings.warn(f"save_weights: with max_shard_size the weights are named by an index, '{path}'.", stacklevel=3)
    if path.endswith(INDEX) != (max_shard_size is not None):
        raise ValueError(
            f"save_weights: max_shard_size, the most GiB in a file, goes with a path that ends with '{INDEX}', and "
            f"such a path with it; got {path!r} and max_shard_size={max_shard_size!r}."
        )
    if path.endswith((*_HDF5, ".keras", ".npz")) and not path.endswith(".weights.h5"):
        stem = os.path.splitext(path)[0]
        raise ValueError(
            f"save_weights: weights are not written to {path!r}. Keras' format is '{stem}.weights.h5', others "
            f"are '{stem}.safetensors' and TensorFlow's checkpoint format without an ending, {stem!r}."
        )
    if not model.built:
        raise ValueError(f"{owner_label(model)}: has no weights to save. Call it on data, or give it an Input, first.")
    model._assign_paths()
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    if path.endswith(".weights.h5"):
        require_h5py()
        with replacing(path) as file:
            write_groups(file, saved_groups(model))
        return
    if max_shard_size is not None:
        require_h5py()
        write_sharded(path, saved_groups(model), max_shard_size)
        return
    arrays = {v.path: np.asarray(v.stored) for v in model.weights}
    if path.endswith(".safetensors"):
        with replacing(path) as file:
            write_safetensors(file, arrays, {"format": "lamina"})
        return
    check_path("save_weights", f"{path}.index", overwrite)
    write_checkpoint(path, arrays)


def load_weights(
    model: Any,
    filepath: str | os.PathLike,
    skip_mismatch: bool = False,
    partial: bool = False,
    name_map: NameMap | None = None,
    pattern: str | Pattern | Iterable[str] | None = None,
    by_name: bool = False,
) -> LoadReport:
    """Sets the weights of a model from a file. Nothing is changed unless all of them fit, or a choice below lets go.

    Args:
        model: a built model.
        filepath: a path as `save_weights` takes it, or a whole model's `.keras` or `.h5` file.
        skip_mismatch: whether weights that are missing in the file, or have another shape there, are left as they are.
        partial: whether weights that only one side has are left alone; another shape stays an error.
        name_map: for names in the file the paths of the weights they go to: a dict, or a function, which may return
            None for what is not wanted. In `.weights.h5` files names are such as `layers/dense/vars/0`.
        pattern: regular expressions for a warm start: only weights with a path that one is found in are loaded.
        by_name: for the files of Keras 2: whether layers are paired by name instead of order, as far as both have them.

    Returns:
        What was loaded, and what is missing, unexpected or of another shape.

    Raises:
        ValueError: the file lacks weights or has unknown ones; the message lists all that does not fit.
        ShapeError: nothing but shapes differ.
        FileFormatError: the file is damaged or not safe to read (a ValueError).

    Example:
        >>> import os, tempfile
        >>> from lamina import Input, Sequential, layers
        >>> a = Sequential([Input((3,)), layers.Dense(4, name="body"), layers.Dense(1, name="head")])
        >>> b = Sequential([Input((3,)), layers.Dense(4, name="body"), layers.Dense(2, name="other")])
        >>> path = os.path.join(tempfile.mkdtemp(), "w.safetensors")
        >>> a.save_weights(path)
        >>> b.load_weights(path, pattern="^body/").loaded
        {'body/kernel': 'body/kernel', 'body/bias': 'body/bias'}
    """
    path = check_path("load_weights", filepath, True)
    if not model.built:
        raise ValueError(f"{owner_label(model)}: cannot load weights yet. Call it on data, or give it an Input, first.")
    model._assign_paths()
    source = f"the file '{path}'"
    choices: dict[str, Any] = {
        "skip_mismatch": skip_mismatch,
        "partial": partial,
        "name_map": name_map,
        "pattern": pattern,
    }
    if path.endswith(".keras"):
        with archive.Archive(path) as zipped, zipped.open(archive.WEIGHTS) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            with open_hdf5(file, path) as root:
                return load_groups(model, Datasets(root, path, size), source, **choices)
    if path.endswith(INDEX):
        with open_sharded(path) as sharded:
            return load_groups(model, sharded, source, **choices)
    if path.endswith(_HDF5):
        with open_hdf5(path, path) as root:
            if is_legacy(root):
                return load_legacy_weights(model, root, path, by_name=by_name, **choices)
            return load_groups(model, Datasets(root, path, os.path.getsize(path)), source, **choices)
    reader: Any
    if path.endswith(".safetensors"):
        reader = SafetensorsReader(path)
        shapes = reader.shapes
    else:
        reader = load_checkpoint(path)
        shapes = {k: tuple(v) for k, v in reader.get_variable_to_shape_map().items()}
    own = {v.path: v for v in model.weights}
    report = match_tensors(owner_label(model), source, shapes, {p: v.shape for p, v in own.items()}, **choices)
    values = {p: reader.get_tensor(name) for p, name in report.loaded.items()}
    for p, value in values.items():
        own[p].assign(value)
    return report
