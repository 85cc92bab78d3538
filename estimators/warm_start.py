"""Starting from the weights of another run, with vocabularies that have changed since."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lamina.core.errors import ShapeError, describe, did_you_mean, listing
from lamina.core.vocabulary import read_vocabulary
from lamina.estimators.feature_columns import remap_rows
from lamina.estimators.model import EstimatorModel
from lamina.estimators.saving import open_checkpoint
from lamina.estimators.variables import GLOBAL_STEP


class VocabInfo(NamedTuple):
    """How the vocabulary of a variable differs from that of the checkpoint.

    Args:
        new_vocab: the file, or list, of the new vocabulary.
        new_vocab_size: how many entries of it are used; -1 for all.
        num_oov_buckets: how many rows for unknown entries follow.
        old_vocab: the file, or list, of the checkpoint's vocabulary.
        old_vocab_size: how many entries of it were used; -1 for all.
        backup_initializer: makes the rows of entries that are new; they stay as initialised by default.
        axis: 0 if the vocabulary names rows, 1 if it names columns.
    """

    new_vocab: Any
    new_vocab_size: int
    num_oov_buckets: int
    old_vocab: Any
    old_vocab_size: int = -1
    backup_initializer: Any = None
    axis: int = 0


class WarmStartSettings(NamedTuple):
    """What to take from a checkpoint.

    Args:
        ckpt_to_initialize_from: a checkpoint, or a folder with one.
        vars_to_warm_start: a regular expression that the names of variables start with, a list of such, or None for
            none but those with a `VocabInfo`. ".*" takes all trainable variables.
        var_name_to_vocab_info: for variables whose vocabulary has changed.
        var_name_to_prev_var_name: for variables that had another name.
    """

    ckpt_to_initialize_from: str
    vars_to_warm_start: str | Sequence[str] | None = ".*"
    var_name_to_vocab_info: Mapping[str, VocabInfo] | None = None
    var_name_to_prev_var_name: Mapping[str, str] | None = None


def check_warm_start(value: Any) -> WarmStartSettings | None:
    """What `warm_start_from` was given, as settings.

    Raises:
        TypeError: it is neither a path nor settings.
        ValueError: the settings name no checkpoint.
    """
    if isinstance(value, WarmStartSettings) and not value.ckpt_to_initialize_from:
        raise ValueError("WarmStartSettings: ckpt_to_initialize_from must be a checkpoint, or a folder with one.")
    if value is None or isinstance(value, WarmStartSettings):
        return value
    if isinstance(value, (str, bytes)) or hasattr(value, "__fspath__"):
        return WarmStartSettings(str(value))
    raise TypeError(
        f"warm_start_from must be a checkpoint, a folder with one, or WarmStartSettings, got {describe(value)}."
    )


def warm_start(model: EstimatorModel, settings: WarmStartSettings) -> list[str]:
    """Takes variables of a model from a checkpoint; returns their names.

    Raises:
        ValueError: there is no checkpoint, or it lacks a variable.
        ShapeError: a variable has another shape there.
    """
    reader = open_checkpoint(str(settings.ckpt_to_initialize_from), str(settings.ckpt_to_initialize_from))
    if reader is None:
        raise ValueError(f"warm_start_from: there is no checkpoint in '{settings.ckpt_to_initialize_from}'.")
    infos, renamed = settings.var_name_to_vocab_info or {}, settings.var_name_to_prev_var_name or {}
    known = {n: v for n, v in model.store.weights.items() if n != GLOBAL_STEP}
    for name in [*infos, *renamed]:
        if name not in known:
            raise ValueError(f"warm_start_from: the model has no variable {name!r}.{did_you_mean(name, known)}")
    taken = _chosen(settings.vars_to_warm_start, known, model) | set(infos)
    shapes = reader.get_variable_to_shape_map()
    for name in sorted(taken):
        variable, old_name = known[name], renamed.get(name, name)
        if old_name not in shapes:
            raise ValueError(
                f"warm_start_from: the checkpoint '{reader.prefix}' has no variable {old_name!r}."
                f"{did_you_mean(old_name, shapes)} Limit vars_to_warm_start, or name it in var_name_to_prev_var_name."
            )
        old = reader.get_tensor(old_name)
        if name in infos:
            variable.assign(_remapped(np.array(variable.stored), old, infos[name]))
            continue
        if tuple(old.shape) != variable.shape:
            raise ShapeError(
                f"warm_start_from: variable '{name}' has the shape {variable.shape}, but {old.shape} in the checkpoint "
                f"'{reader.prefix}'. Give a VocabInfo if its vocabulary has changed, or leave it out."
            )
        variable.assign(old)
    return sorted(taken)


def _chosen(patterns: Any, known: Mapping[str, Any], model: EstimatorModel) -> set[str]:
    if patterns is None:
        return set()
    if isinstance(patterns, str):
        trainable = {n for n, v in known.items() if v.trainable}
        return {n for n in trainable if re.match(patterns, n)}
    found: set[str] = set()
    for pattern in patterns:
        matches = {n for n in known if re.match(str(pattern), n)}
        if not matches:
            raise ValueError(
                f"warm_start_from: no name of a variable starts with {pattern!r}; there are "
                f"{listing(list(known)[:8], 'and')}."
            )
        found |= matches
    return found


def _remapped(new: np.ndarray, old: np.ndarray, info: VocabInfo) -> np.ndarray:
    """The values of the checkpoint in the order of the new vocabulary."""
    if info.axis not in (0, 1):
        raise ValueError(f"VocabInfo: axis must be 0 or 1, got {info.axis!r}.")
    tokens = [_tokens(v, n) for v, n in ((info.old_vocab, info.old_vocab_size), (info.new_vocab, info.new_vocab_size))]
    fresh = info.backup_initializer or (lambda shape, dtype=None: new)
    return remap_rows(tokens[0], tokens[1], old, fresh, info.num_oov_buckets, info.axis)


def _tokens(vocabulary: Any, size: int | None) -> list[Any]:
    """The first `size` entries of a vocabulary; None and -1 take all."""
    tokens = list(vocabulary)
    if isinstance(vocabulary, (str, os.PathLike)):
        tokens = read_vocabulary("VocabInfo", vocabulary)
    return tokens if size is None or size == -1 else tokens[:size]
