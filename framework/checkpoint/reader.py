"""Reads checkpoints: an index of tensors (`PREFIX.index`) and their bytes (`PREFIX.data-SSSSS-of-NNNNN`).

Files are taken for hostile: bounds are checked before memory is allocated, and every checksum is verified.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import ml_dtypes  # noqa: F401  registers bfloat16 and its kin with numpy
import numpy as np
from google.protobuf.message import DecodeError

from lamina.checkpoint.slices import FULL, is_slice_key, slice_key
from lamina.checkpoint.state import latest_checkpoint
from lamina.core.errors import did_you_mean
from lamina.wire.bundle import BundleEntryProto, BundleHeaderProto
from lamina.wire.crc32c import crc32c, mask
from lamina.wire.errors import DataLossError
from lamina.wire.table import read_table
from lamina.wire.tensor import DTYPES, STRING
from lamina.wire.varint import decode_varint

_UINT32_MAX = 2**32 - 1


def load_checkpoint(prefix: str | os.PathLike) -> CheckpointReader:
    """The checkpoint `prefix`, or the latest one of a folder.

    Args:
        prefix: What its files start with (`logs/model.ckpt-1000`), or a folder with a `checkpoint` file.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        DataLossError: its index is cut short or damaged.
    """
    if os.path.isdir(prefix):
        latest = latest_checkpoint(prefix)
        if latest is None:
            raise FileNotFoundError(
                f"load_checkpoint: the folder '{os.fspath(prefix)}' names no checkpoint that exists."
            )
        prefix = latest
    return CheckpointReader(prefix)


class CheckpointReader:
    """Names, shapes, dtypes and values of the tensors of a checkpoint.

    Args:
        prefix: What the names of its files start with.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        DataLossError: its index is cut short or damaged.
    """

    def __init__(self, prefix: str | os.PathLike) -> None:
        self.prefix = os.fspath(prefix)
        path = f"{self.prefix}.index"
        try:
            with open(path, "rb") as file:
                table = read_table(file.read(), path)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"load_checkpoint: there is no checkpoint '{self.prefix}': '{path}' is missing."
            ) from None
        try:
            header = BundleHeaderProto.FromString(table.pop(b""))
            self._entries = {key: BundleEntryProto.FromString(value) for key, value in table.items()}
            names = [key.decode() for key in self._entries if not is_slice_key(key)]
        except (KeyError, DecodeError, UnicodeDecodeError) as error:
            raise DataLossError(f"'{path}' is no index of tensors: {error!r}.") from error
        if header.endianness:
            raise DataLossError(f"'{path}' was written on a big-endian machine, which is not supported.")
        if header.version.min_consumer > 1 or not 0 < header.num_shards < 100_000:
            raise DataLossError(
                f"'{path}' needs a reader of version {header.version.min_consumer} for {header.num_shards} shards; "
                "this one has version 1."
            )
        self._shards = header.num_shards
        self._shapes = {name: self._shape(name, self._entries[name.encode()]) for name in names}

    def get_variable_to_shape_map(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor, by name."""
        return dict(self._shapes)

    def get_variable_to_dtype_map(self) -> dict[str, np.dtype]:
        """The dtype of each tensor, by name; strings are object arrays of `bytes`."""
        return {name: self._dtype(name, self._entries[name.encode()]) for name in self._shapes}

    def has_tensor(self, name: str) -> bool:
        """Whether there is a tensor `name`."""
        return name in self._shapes

    def get_tensor(self, name: str) -> Any:
        """The value of the tensor `name`, in fresh memory; a string of shape () is `bytes`.

        Raises:
            KeyError: there is no such tensor.
            DataLossError: its bytes are cut short or do not fit their checksum.
        """
        if name not in self._shapes:
            raise KeyError(f"'{self.prefix}' holds no tensor '{name}'.{did_you_mean(name, self._shapes)}")
        entry = self._entries[name.encode()]
        value = self._assemble(name, entry) if entry.slices else self._read(name, entry)
        return value.item() if value.dtype == object and value.ndim == 0 else value

    def _error(self, name: str, what: str) -> DataLossError:
        return DataLossError(f"checkpoint '{self.prefix}', tensor '{name}': {what}.")

    def _shape(self, name: str, entry: Any) -> tuple[int, ...]:
        shape = tuple(dim.size for dim in entry.shape.dim)
        if entry.shape.unknown_rank or any(size < 0 for size in shape):
            raise self._error(name, f"its shape {shape} is not known")
        return shape

    def _dtype(self, name: str, entry: Any) -> np.dtype:
        if entry.dtype not in DTYPES:
            raise self._error(name, f"its dtype has the number {entry.dtype}, which cannot be read")
        return DTYPES[entry.dtype]

    def _assemble(self, name: str, entry: Any) -> np.ndarray:
        """A tensor that is stored in parts."""
        shape, dtype = self._shape(name, entry), self._dtype(name, entry)
        parts = []
        for part in entry.slices:
            extents = [(e.start, e.length if e.HasField("length") else FULL) for e in part.extent]
            if len(extents) != len(shape):
                raise self._error(name, f"a part has {len(extents)} dimensions instead of {len(shape)}")
            bounds = []
            for (start, length), size in zip(extents, shape, strict=True):
                stop = size if length == FULL else start + length
                if not 0 <= start <= stop <= size:
                    raise self._error(name, f"a part with the extents {extents} reaches beyond its shape {shape}")
                bounds.append(slice(start, stop))
            stored = self._entries.get(slice_key(name, extents))
            if stored is None:
                raise self._error(name, f"the part with the extents {extents} is missing")
            value = self._read(name, stored)
            if value.dtype != dtype or value.shape != tuple(b.stop - b.start for b in bounds):
                raise self._error(name, f"a part has the shape {value.shape} and dtype {value.dtype}, which do not fit")
            parts.append((tuple(bounds), value))
        if sum(value.size for _, value in parts) != math.prod(shape):
            raise self._error(name, f"its parts do not cover its shape {shape}")
        out = np.empty(shape, dtype)
        covered = np.zeros(shape, bool)
        for place, value in parts:
            out[place] = value
            covered[place] = True
        if not covered.all():
            raise self._error(name, f"its parts do not cover its shape {shape}")
        return out

    def _read(self, name: str, entry: Any) -> np.ndarray:
        shape, dtype = self._shape(name, entry), self._dtype(name, entry)
        count = math.prod(shape)
        if entry.dtype != STRING and entry.size != count * dtype.itemsize:
            raise self._error(name, f"{entry.size} bytes cannot hold {count} values of {dtype}")
        if entry.dtype == STRING and entry.size < count + 4:
            raise self._error(name, f"{entry.size} bytes cannot hold {count} strings")
        data = self._bytes(name, entry)
        if entry.dtype == STRING:
            return self._strings(name, data.tobytes(), count, entry.crc32c).reshape(shape)
        if mask(crc32c(data)) != entry.crc32c:
            raise self._error(name, "its bytes do not fit their checksum")
        return data.view(dtype).reshape(shape)

    def _bytes(self, name: str, entry: Any) -> np.ndarray:
        path = f"{self.prefix}.data-{entry.shard_id:05d}-of-{self._shards:05d}"
        if not 0 <= entry.shard_id < self._shards or entry.offset < 0:
            raise self._error(name, f"it stands at byte {entry.offset} of shard {entry.shard_id} of {self._shards}")
        try:
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if entry.offset + entry.size > size:
                    raise self._error(name, f"it ends at byte {entry.offset + entry.size}, '{path}' at {size}")
                data = np.empty(entry.size, np.uint8)
                file.seek(entry.offset)
                if file.readinto(data.data) != entry.size:
                    raise self._error(name, f"'{path}' was cut short while it was read")
        except FileNotFoundError:
            raise self._error(name, f"'{path}' is missing") from None
        return data

    def _strings(self, name: str, data: bytes, count: int, checksum: int) -> np.ndarray:
        """Lengths, their checksum, then the strings."""
        position, lengths = 0, []
        try:
            for _ in range(count):
                length, position = decode_varint(data, position)
                lengths.append(length)
        except DataLossError as error:
            raise self._error(name, f"the lengths of its strings are damaged ({error})") from error
        crc = crc32c(b"".join(n.to_bytes(4 if n <= _UINT32_MAX else 8, "little") for n in lengths))
        stored = data[position : position + 4]
        if mask(crc).to_bytes(4, "little") != stored:
            raise self._error(name, "the lengths of its strings do not fit their checksum")
        position += 4
        if position + sum(lengths) != len(data):
            raise self._error(name, f"its strings have {sum(lengths)} bytes, {len(data) - position} are there")
        if mask(crc32c(data[position:], crc32c(stored, crc))) != checksum:
            raise self._error(name, "its bytes do not fit their checksum")
        return _split(data, position, lengths)


def _split(data: bytes, position: int, lengths: Sequence[int]) -> np.ndarray:
    out = np.empty(len(lengths), object)
    for i, length in enumerate(lengths):
        out[i] = data[position : position + length]
        position += length
    return out
