"""The safetensors format: a JSON header of names, dtypes, shapes and places, then the bytes of the tensors.

Reference: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
import mmap
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from lamina.core.errors import listing
from lamina.wire.errors import FileFormatError

_DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "C64": np.dtype("<c8"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("bool"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_HEADER_BYTES = 100_000_000  # the limit of the reference implementation
_ALIGNMENT = 8


def write_safetensors(file: BinaryIO, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Writes tensors to an open file.

    Args:
        file: a binary file.
        tensors: arrays by name.
        metadata: texts by name.

    Raises:
        TypeError: a dtype is not of the format.
    """
    arrays = {name: np.asarray(value) for name, value in tensors.items()}
    for name, array in arrays.items():
        if array.dtype not in _NAMES:
            raise TypeError(f"safetensors: '{name}' has dtype {array.dtype}; the format knows {listing(_DTYPES)}.")
    # Large items first, so that each tensor is aligned to its own items.
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name in order:
        array = arrays[name]
        place = [offset, offset + array.nbytes]
        header[name] = {"dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": place}
        offset = place[1]
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    file.write(len(text).to_bytes(8, "little"))
    file.write(text)
    for name in order:
        data = np.ascontiguousarray(arrays[name]).reshape(-1)
        if data.nbytes:
            file.write(data.view(np.uint8).data)


class SafetensorsReader:
    """The tensors of a file; each is read when it is asked for.

    Args:
        path: the file.

    Raises:
        FileFormatError: the header is damaged, or its places do not cover the data exactly once.

    Attributes:
        metadata: texts by name.
        shapes: the shapes of the tensors by name.
    """

    def __init__(self, path: str | os.PathLike):
        self._path = os.fspath(path)
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < 8:
                raise self._error("it is shorter than the 8 bytes that tell the length of the header")
            length = int.from_bytes(file.read(8), "little")
            if length > min(size - 8, _HEADER_BYTES):
                raise self._error(f"its header should have {length} bytes, but the file has {size}")
            header = self._parse(file.read(length))
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._start = 8 + length
        self.metadata: dict[str, str] = header.pop("__metadata__", {})
        self._entries = {name: self._entry(name, entry) for name, entry in header.items()}
        self.shapes = {name: shape for name, (_, shape, _, _) in self._entries.items()}
        end = 0
        for name, (_, _, begin, stop) in sorted(self._entries.items(), key=lambda item: item[1][2:]):
            if begin != end:
                raise self._error(f"'{name}' starts at byte {begin} of the data, where {end} was expected")
            end = stop
        if end != size - self._start:
            raise self._error(f"its tensors take {end} bytes, but it holds {size - self._start} bytes of data")

    def _error(self, reason: str) -> FileFormatError:
        return FileFormatError(f"'{self._path}' is not a safetensors file: {reason}.")

    def _parse(self, text: bytes) -> dict[str, Any]:
        def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            if len({k for k, _ in pairs}) < len(pairs):
                raise self._error("its header names something twice")
            return dict(pairs)

        try:
            header = json.loads(text, object_pairs_hook=unique)
        except FileFormatError:
            raise
        except (ValueError, RecursionError) as error:
            raise self._error(f"its header is no JSON ({error})") from error
        if not isinstance(header, dict) or not isinstance(header.get("__metadata__", {}), dict):
            raise self._error("its header is not a dict of tensors")
        return header

    def _entry(self, name: str, entry: Any) -> tuple[np.dtype, tuple[int, ...], int, int]:
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise self._error(f"the entry '{name}' must have dtype, shape and data_offsets")
        dtype, shape, place = _DTYPES.get(str(entry["dtype"])), entry["shape"], entry["data_offsets"]
        if dtype is None:
            raise self._error(f"'{name}' has the unknown dtype {str(entry['dtype'])[:40]!r}")
        for numbers, what in ((shape, "shape"), (place, "data_offsets")):
            if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n < 2**63 for n in numbers):
                raise self._error(f"the {what} of '{name}' must be whole numbers of at least 0")
        if len(shape) > 64 or len(place) != 2:
            raise self._error(f"'{name}' has {len(shape)} dimensions and {len(place)} data_offsets")
        if place[1] - place[0] != math.prod(shape) * dtype.itemsize:
            raise self._error(
                f"'{name}' of shape {shape} and dtype {dtype} does not take bytes {place[0]} to {place[1]}"
            )
        return dtype, tuple(shape), place[0], place[1]

    def get_tensor(self, name: str) -> np.ndarray:
        """A tensor by name."""
        dtype, shape, begin, end = self._entries[name]
        data = self._data[self._start + begin : self._start + end]
        return np.frombuffer(bytearray(data), dtype).reshape(shape)
