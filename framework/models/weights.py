"""Weights on disk, in TensorFlow's checkpoint format: one entry for each weight, under its path."""

from __future__ import annotations

import os
from typing import Any

from lamina.checkpoint import load_checkpoint, write_checkpoint
from lamina.core.errors import ShapeError, describe, did_you_mean, listing, owner_label


def save_weights(model: Any, path: str | os.PathLike, overwrite: bool = True) -> None:
    """Writes the weights of a model to `path.index` and `path.data-00000-of-00001`.

    The files are complete or not there at all: they are written under another name and renamed at the end.

    Args:
        model: a built model.
        path: the prefix of the files.
        overwrite: whether existing files are replaced.

    Raises:
        ValueError: the model has no weights yet.
        FileExistsError: the files exist, and `overwrite` is False.
    """
    prefix = _prefix(path)
    if not model.built:
        raise ValueError(f"{owner_label(model)}: has no weights to save. Call it on data, or give it an Input, first.")
    if not overwrite and os.path.exists(f"{prefix}.index"):
        raise FileExistsError(f"save_weights: {prefix}.index exists. Pass overwrite=True to replace it.")
    model._assign_paths()
    os.makedirs(os.path.dirname(os.path.abspath(prefix)), exist_ok=True)
    write_checkpoint(prefix, {v.path: v.numpy() for v in model.weights})


def load_weights(model: Any, path: str | os.PathLike, skip_mismatch: bool = False) -> list[str]:
    """Sets the weights of a model from the files of `save_weights`.

    Args:
        model: a built model.
        path: the prefix of the files.
        skip_mismatch: whether weights that are missing in the file, or have another shape there, are left as they
            are; else nothing is changed unless all fit.

    Returns:
        The paths of the weights that were left as they are.

    Raises:
        ValueError: the file lacks weights or has unknown ones; the message lists them.
        ShapeError: a shape differs.
    """
    if not model.built:
        raise ValueError(f"{owner_label(model)}: cannot load weights yet. Call it on data, or give it an Input, first.")
    model._assign_paths()
    reader = load_checkpoint(_prefix(path))
    stored = reader.get_variable_to_shape_map()
    own = {v.path: v for v in model.weights}
    missing = [p for p in own if p not in stored]
    unknown = [p for p in stored if p not in own]
    differing = [p for p in own if p in stored and tuple(stored[p]) != own[p].shape]
    if not skip_mismatch:
        if missing or unknown:
            hint = did_you_mean(missing[0], unknown) if missing else ""
            raise ValueError(
                f"{owner_label(model)}: the file '{path}' does not hold the weights of this model. Missing in the "
                f"file: {listing(missing[:5], 'and') or 'none'}; unknown to the model: "
                f"{listing(unknown[:5], 'and') or 'none'}.{hint} skip_mismatch=True loads what fits."
            )
        if differing:
            p = differing[0]
            raise ShapeError(
                f"{owner_label(model)}: weight '{p}' has shape {own[p].shape}, in the file '{path}' it has "
                f"{tuple(stored[p])}. skip_mismatch=True loads what fits."
            )
    fitting = {p: reader.get_tensor(p) for p in own if p in stored and p not in differing}
    for p, value in fitting.items():
        own[p].assign(value)
    return [p for p in own if p not in fitting]


def _prefix(path: Any) -> str:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"save_weights: path must be a path such as 'run/weights', got {describe(path)}.")
    path = os.fspath(path)
    for ending in (".h5", ".keras", ".npz", ".safetensors"):
        if path.endswith(ending):
            raise ValueError(
                f"save_weights: weights are kept in TensorFlow's checkpoint format, so {path!r} must be a prefix "
                f"without '{ending}', such as {path.removesuffix(ending)!r}."
            )
    return path
