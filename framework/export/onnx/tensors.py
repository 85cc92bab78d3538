"""Tensors of ONNX files: the numbers of their dtypes, and arrays from what a file holds, with care."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from lamina.wire.errors import DataLossError, FileFormatError

DTYPES: dict[int, np.dtype] = {
    1: np.dtype("float32"), 2: np.dtype("uint8"), 3: np.dtype("int8"), 4: np.dtype("uint16"), 5: np.dtype("int16"),
    6: np.dtype("int32"), 7: np.dtype("int64"), 9: np.dtype("bool"), 10: np.dtype("float16"), 11: np.dtype("float64"),
    12: np.dtype("uint32"), 13: np.dtype("uint64"), 16: np.dtype(ml_dtypes.bfloat16),
}  # fmt: skip
"""The number of a dtype in TensorProto -> the dtype.

Reference: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""
NUMBERS = {dtype: number for number, dtype in DTYPES.items()}
EXTERNAL = 1
_MOST_AXES = 64
# where a tensor without raw bytes keeps its elements, and as what
_FIELDS = {
    1: ("float_data", "<f4"), 11: ("double_data", "<f8"), 7: ("int64_data", "<i8"), 12: ("uint64_data", "<u8"),
    13: ("uint64_data", "<u8"),
}  # fmt: skip


def onnx_package(what: str) -> Any:
    """The package onnx.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise ImportError(f"{what} needs onnx. Install it with pip install 'lamina[onnx]'.") from None
    return onnx


class ExternalFiles:
    """The files beside a model in which it keeps large tensors; none outside of its folder is opened.

    Args:
        folder: the folder of the model, or None if it came of bytes alone.
    """

    def __init__(self, folder: Path | None):
        self.folder = None if folder is None else folder.resolve()

    def read(self, tensor: Any, count: int) -> memoryview:
        """The bytes of a tensor.

        Raises:
            FileFormatError: its place is outside of the model's folder.
            DataLossError: the file is missing or too short.
        """
        given = {entry.key: entry.value for entry in tensor.external_data}
        location = given.get("location", "")
        if self.folder is None or not location:
            raise FileFormatError(f"tensor '{tensor.name}' lies in another file, which is not named.")
        path = Path(location)
        inside = not path.is_absolute() and "\\" not in location and "\0" not in location and ".." not in path.parts
        full = (self.folder / path).resolve() if inside else None
        if full is None or not full.is_relative_to(self.folder):
            raise FileFormatError(f"tensor '{tensor.name}' lies in '{location}', outside of the model's folder.")
        try:
            offset, length = int(given.get("offset", 0) or 0), int(given.get("length", count) or 0)
        except ValueError:
            raise FileFormatError(f"tensor '{tensor.name}': its place in '{location}' is no number.") from None
        if not full.is_file():
            raise DataLossError(f"tensor '{tensor.name}' lies in '{location}', which is missing.")
        if offset < 0 or length != count or offset + count > full.stat().st_size:
            raise DataLossError(
                f"tensor '{tensor.name}': expected {count:,} bytes from {offset:,} of '{location}', which has "
                f"{full.stat().st_size:,}; the file says {length:,}."
            )
        if not count:
            return memoryview(b"")
        return memoryview(np.memmap(full, np.uint8, "r", offset, (count,)))  # type: ignore[arg-type]


def to_array(tensor: Any, files: ExternalFiles) -> np.ndarray:
    """The array of a TensorProto; its shape and its bytes must agree before anything is made of them.

    Raises:
        FileFormatError: it has a dtype that arrays have not.
        DataLossError: it holds fewer or more bytes than its shape says.
    """
    if tensor.data_type not in DTYPES:
        raise FileFormatError(f"tensor '{tensor.name}' has a dtype that arrays have not (number {tensor.data_type}).")
    dtype, shape = DTYPES[tensor.data_type], tuple(tensor.dims)
    if len(shape) > _MOST_AXES or any(d < 0 for d in shape):
        raise DataLossError(f"tensor '{tensor.name}' cannot have the shape {shape[:_MOST_AXES]}.")
    count = math.prod(shape)
    if tensor.data_location == EXTERNAL:
        data: Any = files.read(tensor, count * dtype.itemsize)
    elif tensor.HasField("raw_data"):
        data = tensor.raw_data
    else:
        return _from_fields(tensor, dtype, shape, count)
    if len(data) != count * dtype.itemsize:
        raise DataLossError(f"tensor '{tensor.name}' of shape {shape} and {dtype} holds {len(data):,} bytes.")
    return np.frombuffer(data, dtype.newbyteorder("<") if dtype.kind != "V" else dtype).astype(dtype).reshape(shape)


def _from_fields(tensor: Any, dtype: np.dtype, shape: tuple[int, ...], count: int) -> np.ndarray:
    name, kept = _FIELDS.get(tensor.data_type, ("int32_data", "<i4"))
    values = getattr(tensor, name)
    if len(values) != count:
        raise DataLossError(f"tensor '{tensor.name}' of shape {shape} holds {len(values)} elements.")
    array = np.asarray(values, kept)
    if dtype.itemsize == 2 and dtype.kind not in "iu":  # 16-bit floats are kept as their bits
        return array.astype("<u2").view(dtype).reshape(shape)
    return array.astype(dtype).reshape(shape)


def to_tensor(onnx: Any, name: str, array: np.ndarray) -> Any:
    """A TensorProto with the elements in it."""
    tensor = onnx.TensorProto(name=name, data_type=NUMBERS[array.dtype], dims=array.shape)
    tensor.raw_data = little_endian(array).tobytes()
    return tensor


def little_endian(array: np.ndarray) -> np.ndarray:
    """The array as files keep it."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False) if array.dtype.kind in "iuf" else array
