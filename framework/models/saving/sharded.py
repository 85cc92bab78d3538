"""Weights in several HDF5 files of a bounded size, and the index of them: Keras' `NAME.weights.json`.

The index says for each group (`/layers/dense/vars`) in which file, or files, its arrays are.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator

import numpy as np

from lamina.checkpoint.files import replacing
from lamina.core.checks import check_number
from lamina.core.errors import describe
from lamina.models.saving.archive import parse_json
from lamina.models.saving.hdf5 import Datasets, ShardedDatasets, open_hdf5, write_groups
from lamina.models.saving.parts import Groups
from lamina.wire.errors import FileFormatError

INDEX = ".weights.json"
_GIB = 1 << 30
_MOST_FILES = 10_000
_INDEX_BYTES = 1 << 28


def write_sharded(path: str, groups: Groups, max_shard_size: float) -> None:
    """Writes the arrays of parts to files `NAME_00000.weights.h5`, ..., then the index.

    The files of an index that is there stay until the new one has its name, then they go: at every moment an index and
    its files belong together.

    Args:
        path: that of the index; it ends with `.weights.json`.
        groups: (name of the part, arrays by name) by path.
        max_shard_size: the most bytes of arrays in a file, in GiB.

    Raises:
        ValueError: an array alone is larger.
    """
    most = check_number("save_weights", "max_shard_size", max_shard_size, 0) * _GIB
    shards, total = _split(groups, most)
    folder, stem = os.path.split(path.removesuffix(INDEX))
    own = re.compile(re.escape(stem) + r"_(\d{5})\.weights\.h5")
    old = {int(m[1]): m[0] for name in _named(path) if (m := own.fullmatch(name))}
    first = 0 if len(shards) <= min(old, default=len(shards)) else max(old) + 1
    names = [f"{stem}_{first + i:05d}.weights.h5" for i in range(len(shards))]
    places: dict[str, list[str]] = {}
    for name, shard in zip(names, shards, strict=True):
        for part in shard:
            places.setdefault(f"/{part}/vars" if part else "/vars", []).append(name)
    index = {"metadata": {"total_size": total}, "weight_map": places}
    with contextlib.ExitStack() as stack:
        # The stack is left from its end: the index takes its name when all others have theirs.
        stack.enter_context(replacing(path)).write(json.dumps(index, indent=4).encode())
        for name, shard in zip(names, shards, strict=True):
            write_groups(stack.enter_context(replacing(os.path.join(folder, name))), shard)
    for name in old.values():
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(folder, name))


def _named(path: str) -> set[str]:
    """The files that the index at a path names, if there is one that can be read."""
    try:
        return set(_read_index(path))
    except (FileNotFoundError, FileFormatError):
        return set()


def _split(groups: Groups, most: float) -> tuple[list[Groups], int]:
    shards: list[Groups] = [{}]
    size = total = 0
    for path, (name, arrays) in groups.items():
        for key, value in arrays.items():
            value = np.asarray(value)
            if value.nbytes > most:
                raise ValueError(
                    f"save_weights: '{path}/vars/{key}' of shape {value.shape} has {value.nbytes} bytes, more than "
                    f"max_shard_size, which is {most:.0f} bytes ({most / _GIB:g} GiB). Give a larger one."
                )
            if size + value.nbytes > most:
                shards.append({})
                size = 0
            size += value.nbytes
            total += value.nbytes
            shards[-1].setdefault(path, (name, {}))[1][key] = value
    return shards, total


def _read_index(path: str) -> dict[str, set[str]]:
    """The groups that an index says are in each file."""
    if os.path.getsize(path) > _INDEX_BYTES:
        raise FileFormatError(f"'{path}' is refused: an index of {os.path.getsize(path)} bytes.")
    with open(path, "rb") as file:
        index = parse_json(file.read(), f"'{path}'")
    groups = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(groups, dict):
        raise FileFormatError(f"'{path}' is no index of weights: it has no table 'weight_map'.")
    wanted: dict[str, set[str]] = {}
    for group, files in groups.items():
        for name in files if isinstance(files, list) else [files]:
            if not isinstance(name, str) or not name or os.path.basename(name) != name or "\\" in name:
                raise FileFormatError(
                    f"'{path}' is refused: the weights of '{group}' are in {describe(name)}, which is no file beside "
                    "it."
                )
            wanted.setdefault(name, set()).add(group.strip("/"))
    if len(wanted) > _MOST_FILES:
        raise FileFormatError(f"'{path}' is refused: it names {len(wanted)} files.")
    return wanted


@contextlib.contextmanager
def open_sharded(path: str) -> Iterator[ShardedDatasets]:
    """The arrays of the files that an index names, to read.

    Raises:
        FileFormatError: the index or a file is damaged, not safe to read, or missing.
    """
    wanted = _read_index(path)
    with contextlib.ExitStack() as stack:
        found: dict[str, Datasets] = {}
        for name, some in wanted.items():
            place = os.path.join(os.path.dirname(path), name)
            try:
                root = stack.enter_context(open_hdf5(place, place))
            except FileNotFoundError:
                raise FileFormatError(f"'{path}' names the file '{name}', which is not beside it.") from None
            arrays = Datasets(root, place, os.path.getsize(place))
            for key in arrays:
                if key.rpartition("/")[0] in some:
                    if key in found:
                        raise FileFormatError(f"'{path}' is refused: '{key}' is in two of its files.")
                    found[key] = arrays
        yield ShardedDatasets(found)
