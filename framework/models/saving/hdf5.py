"""HDF5 files, written and read as flat dicts of arrays. What is read is not trusted: no links are followed."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from lamina.wire.errors import FileFormatError

_MOST_OBJECTS = 1_000_000
_DEEPEST = 100
# A dataset (and all together) may declare this many bytes, or this many times those that the file has.
_SMALL_BYTES = 1 << 26
_MOST_EXPANSION = 200
_ATTRIBUTE_BYTES = 1 << 26
_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def require_h5py() -> Any:
    """The h5py package.

    Raises:
        ImportError: it is not installed; the message names the extra that brings it.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            "Files in HDF5, .keras files among them, need the package h5py. Install it with: pip install 'lamina[h5]'. "
            "Weights alone can be saved without it, as model.save_weights('w.safetensors')."
        ) from error
    return h5py


def write_groups(file: BinaryIO, groups: Mapping[str, tuple[str | None, Mapping[str, Any]]]) -> None:
    """Writes the arrays of parts as Keras does: a group `PATH/vars` for each, with a dataset for each array.

    Args:
        file: an open binary file.
        groups: (name of the part, arrays by name) by path; the root's path is empty.
    """
    h5py = require_h5py()
    with h5py.File(file, "w") as root:
        for path, (name, arrays) in groups.items():
            if name is None and not arrays:
                continue
            group = root.create_group(f"{path}/vars" if path else "vars")
            if name is not None:
                group.attrs["name"] = name
            for key, value in arrays.items():
                array = np.asarray(value)
                dataset = group.create_dataset(key, data=array.view("V2") if array.dtype == _BFLOAT16 else array)
                if array.dtype == _BFLOAT16:
                    dataset.attrs["dtype"] = "bfloat16"


@contextlib.contextmanager
def _reading(label: str) -> Iterator[None]:
    """Whatever goes wrong in reading a file of HDF5 is a FileFormatError."""
    try:
        yield
    except (FileFormatError, FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise FileFormatError(f"'{label}' is not a whole HDF5 file: {error}.") from error


@contextlib.contextmanager
def open_hdf5(file: str | os.PathLike | BinaryIO, label: str) -> Iterator[Any]:
    """An HDF5 file to read.

    Args:
        file: a path or an open binary file.
        label: how errors name it.

    Raises:
        FileFormatError: it is no HDF5 file.
    """
    h5py = require_h5py()
    with _reading(label):
        root = h5py.File(file, "r")
    with root:
        yield root


class Datasets(Mapping[str, Any]):
    """The arrays of an open HDF5 file by path; each is read when it is asked for.

    Args:
        root: an open h5py file or group.
        label: how errors name the file.
        size: the bytes of the file.

    Attributes:
        nbytes: the bytes of all arrays.

    Raises:
        FileFormatError: the file has links, data in other files, unknown dtypes, or declares far more than it holds.
    """

    def __init__(self, root: Any, label: str, size: int):
        self._label, self._size = label, size
        self._found: dict[str, Any] = {}
        self._h5py = require_h5py()
        self._groups: set[Any] = set()
        self._count = 0
        with _reading(label):
            self._walk(root, "", 0)
            self.nbytes = sum(_declared(d) for d in self._found.values())
            self._check_size("the file", self.nbytes)

    def _error(self, reason: str) -> FileFormatError:
        return FileFormatError(f"'{self._label}' is refused: {reason}.")

    def _walk(self, group: Any, path: str, depth: int) -> None:
        if depth > _DEEPEST:
            raise self._error(f"its groups are nested more than {_DEEPEST} deep")
        info = self._h5py.h5o.get_info(group.id)
        if (info.fileno, info.addr) in self._groups:
            raise self._error(f"group '{path}' is there twice")
        self._groups.add((info.fileno, info.addr))
        for name in group:
            inner = f"{path}/{name}" if path else name
            self._count += 1
            if self._count > _MOST_OBJECTS:
                raise self._error(f"it has more than {_MOST_OBJECTS} objects")
            if not isinstance(group.get(name, getlink=True), self._h5py.HardLink):
                raise self._error(f"'{inner}' is a link")
            item = group[name]
            if isinstance(item, self._h5py.Group):
                self._walk(item, inner, depth + 1)
            elif isinstance(item, self._h5py.Dataset):
                self._check(inner, item)
                self._found[inner] = item
            else:
                raise self._error(f"'{inner}' is neither a group nor an array")

    def _check(self, path: str, dataset: Any) -> None:
        if dataset.external or dataset.is_virtual:
            raise self._error(f"the data of '{path}' is in another file")
        dtype = dataset.dtype
        if dataset.shape is None:
            raise self._error(f"'{path}' has no shape")
        if dtype.kind not in "fiub" and not (dtype.kind == "V" and dtype.itemsize == 2):
            if not (dtype.kind in "SO" and self._h5py.check_string_dtype(dtype) is not None):
                raise self._error(f"'{path}' has the dtype {dtype}")
        self._check_size(f"'{path}' of shape {dataset.shape}", _declared(dataset))

    def _check_size(self, what: str, declared: int) -> None:
        if declared > max(_SMALL_BYTES, _MOST_EXPANSION * self._size):
            raise self._error(f"{what} declares {declared} bytes, but the file has {self._size}")

    def shape(self, path: str) -> tuple[int, ...]:
        """The shape of an array."""
        return tuple(self._found[path].shape)

    def __getitem__(self, path: str) -> np.ndarray:
        dataset = self._found[path]
        with _reading(self._label):
            value = np.asarray(dataset[()])
            marked = dataset.attrs.get("dtype") in ("bfloat16", b"bfloat16")
        if value.dtype.kind == "V" or marked:
            return value.view(_BFLOAT16) if value.dtype.itemsize == 2 else value.astype(_BFLOAT16)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


class ShardedDatasets(Mapping[str, Any]):
    """The arrays of several HDF5 files by path, as `Datasets` has those of one.

    Args:
        found: the open file that holds each array.
    """

    def __init__(self, found: Mapping[str, Datasets]):
        self._found = found

    def shape(self, path: str) -> tuple[int, ...]:
        """The shape of an array."""
        return self._found[path].shape(path)

    def __getitem__(self, path: str) -> np.ndarray:
        return self._found[path][path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def _declared(dataset: Any) -> int:
    return math.prod(dataset.shape) * dataset.dtype.itemsize


def attribute(group: Any, name: str, label: str) -> Any:
    """An attribute of a group as text, a list of texts or None; long lists may be split into NAME0, NAME1, ...

    Raises:
        FileFormatError: it is of another kind.
    """
    if name in group.attrs:
        return _text(group.attrs[name], name, label)
    parts: list[str] = []
    while f"{name}{len(parts)}" in group.attrs:
        parts.append(f"{name}{len(parts)}")
    if not parts:
        return None
    return [text for part in parts for text in _text(group.attrs[part], part, label)]


def _text(value: Any, name: str, label: str) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "SOU" and value.size:
            raise FileFormatError(f"'{label}': the attribute '{name}' must be texts, got dtype {value.dtype}.")
        return [_text(v, name, label) for v in value.reshape(-1).tolist()]
    if isinstance(value, bytes):
        value = value.decode("utf-8")
    if not isinstance(value, str) or len(value) > _ATTRIBUTE_BYTES:
        raise FileFormatError(f"'{label}': the attribute '{name}' must be a text, got {type(value).__name__}.")
    return value
