"""Files that hold tensors, of any format, behind one face: names, shapes, dtypes, values, and what is damaged."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from lamina.checkpoint.reader import load_checkpoint
from lamina.models.saving.archive import WEIGHTS, Archive
from lamina.models.saving.hdf5 import Datasets, open_hdf5
from lamina.wire.errors import DataLossError, FileFormatError
from lamina.wire.safetensors import SafetensorsReader

_ZIP = b"PK\x03\x04"
_HDF5 = b"\x89HDF\r\n\x1a\n"


class TensorInfo(NamedTuple):
    """What a listing says of a tensor."""

    shape: tuple[int, ...]
    dtype: str
    bytes: int


class Container(NamedTuple):
    """An open file, or files, with tensors.

    Args:
        path: where it is.
        format: what it is, for the reader of a listing.
        tensors: its tensors by name.
        read: gives the value of a tensor.
        problems: reads everything, and lists what is wrong.
        verified: what `problems` compares.
        files: sizes of the files it consists of, or of the entries in it.
    """

    path: str
    format: str
    tensors: dict[str, TensorInfo]
    read: Callable[[str], Any]
    problems: Callable[[], list[str]]
    verified: str
    files: dict[str, int]


@contextlib.contextmanager
def open_container(path: str) -> Iterator[Container]:
    """A checkpoint by its prefix or folder, or a model file.

    Raises:
        FileNotFoundError: there is nothing.
        FileFormatError: it is of no known format.
        DataLossError: it is damaged.
    """
    if not os.path.isfile(path) or os.path.exists(f"{path}.index"):
        yield _checkpoint(path)
        return
    for end in (".index", ".meta"):
        if path.endswith(end) and os.path.exists(path.removesuffix(end) + ".index"):
            yield _checkpoint(path.removesuffix(end))
            return
    with open(path, "rb") as file:
        start = file.read(len(_HDF5))
    if start.startswith(_ZIP):
        with Archive(path) as archive:
            yield from _archive(path, archive)
    elif start == _HDF5:
        with open_hdf5(path, path) as root:
            yield _hdf5(path, "HDF5", Datasets(root, path, os.path.getsize(path)))
    elif path.endswith(".safetensors"):
        yield _safetensors(path)
    else:
        raise FileFormatError(
            f"'{path}' is no checkpoint, .keras archive, HDF5 or .safetensors file. A checkpoint is named by what its "
            "files start with, such as 'run/model.ckpt-1000', or by its folder."
        )


def _checkpoint(path: str) -> Container:
    reader = load_checkpoint(path)
    dtypes = reader.get_variable_to_dtype_map()
    tensors = {
        name: TensorInfo(shape, _dtype_name(dtypes[name]), reader.stored_bytes(name))
        for name, shape in sorted(reader.get_variable_to_shape_map().items())
    }
    folder, start = os.path.split(reader.prefix)
    names = sorted(name for name in os.listdir(folder or ".") if name.startswith(f"{start}."))
    files = {name: os.path.getsize(os.path.join(folder, name)) for name in names}
    checked = " and ".join(["index and data", *reader.files()])
    return Container(
        reader.prefix,
        "checkpoint (tensor bundle)",
        tensors,
        reader.get_tensor,
        reader.problems,
        f"all bytes of {checked} fit their checksums",
        files,
    )


def _archive(path: str, archive: Archive) -> Iterator[Container]:
    files: dict[str, int] = {}

    def problems() -> list[str]:
        return _problems(lambda name: archive.open(name).close(), files)

    weights = [name for name in archive.names if name == WEIGHTS]
    for name in archive.names:
        if not name.endswith("/"):
            with archive.open(name) as file:
                files[name] = file.seek(0, os.SEEK_END)
    if not weights:
        nothing: dict[str, Any] = {}
        yield Container(path, "archive", {}, nothing.__getitem__, problems, "all entries fit their checksums", files)
        return
    label = f"{WEIGHTS} of '{path}'"
    with archive.open(WEIGHTS) as copy, open_hdf5(copy, label) as root:
        inner = _hdf5(path, "Keras archive", Datasets(root, label, files[WEIGHTS]))
        yield inner._replace(problems=problems, verified="all entries fit their checksums", files=files)


def _hdf5(path: str, kind: str, datasets: Datasets) -> Container:
    def info(name: str) -> TensorInfo:
        value = datasets[name]
        return TensorInfo(value.shape, _dtype_name(value.dtype), value.nbytes)

    return Container(
        path,
        kind,
        {name: info(name) for name in sorted(datasets)},
        datasets.__getitem__,
        lambda: _problems(datasets.__getitem__, datasets),
        "all arrays can be read; the format has no checksums",
        {},
    )


def _safetensors(path: str) -> Container:
    reader = SafetensorsReader(path)

    def info(name: str) -> TensorInfo:
        value = reader.get_tensor(name)
        return TensorInfo(value.shape, _dtype_name(value.dtype), value.nbytes)

    return Container(
        path,
        "safetensors",
        {name: info(name) for name in sorted(reader.shapes)},
        reader.get_tensor,
        lambda: _problems(reader.get_tensor, reader.shapes),
        "all tensors can be read; the format has no checksums",
        {},
    )


def _problems(read: Callable[[str], Any], names: Any) -> list[str]:
    """What reading raises, of all names."""
    found = []
    for name in names:
        try:
            read(name)
        except (DataLossError, FileFormatError, OSError) as error:
            found.append(str(error))
    return found


def _dtype_name(dtype: np.dtype) -> str:
    return "string" if dtype.kind == "O" else dtype.name
