"""Reads checkpoints: an index of tensors (`PREFIX.index`) and their bytes (`PREFIX.data-SSSSS-of-NNNNN`).

Files are taken for hostile: bounds are checked before memory is allocated, and every checksum is verified.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import ml_dtypes  # noqa: F401  registers bfloat16 and its kin with numpy
import numpy as np
from google.protobuf.message import DecodeError

from lamina.checkpoint.slices import FULL, is_slice_key, slice_key
from lamina.checkpoint.state import latest_checkpoint, read_checkpoint_state
from lamina.checkpoint.strings import decode_strings, decode_variants
from lamina.checkpoint.writer import FILES, MAX_SHARDS, data_path
from lamina.core.errors import did_you_mean
from lamina.wire.bundle import BundleEntryProto, BundleHeaderProto
from lamina.wire.crc32c import crc32c, mask
from lamina.wire.errors import DataLossError
from lamina.wire.table import read_table
from lamina.wire.tensor import BOOL, DTYPES, STRING, VARIANT

# Quantized integers are read as integers, TensorFlow's own objects (the state of an iterator) as their bytes.
_READ_AS = {11: np.int8, 12: np.uint8, 13: np.int32, 15: np.int16, 16: np.uint16, VARIANT: np.object_}
_READABLE = DTYPES | {number: np.dtype(kind) for number, kind in _READ_AS.items()}
_MAX_RANK = 64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 32
_MAX_BYTES = np.iinfo(np.intp).max
# Pieces stay in the processor's cache between the disk and the checksum.
_PIECE_BYTES = 1 << 20

Bounds = tuple[slice, ...]


def load_checkpoint(prefix: str | os.PathLike) -> CheckpointReader:
    """The checkpoint `prefix`, or the latest one of a folder.

    Args:
        prefix: What its files start with (`logs/model.ckpt-1000`), or a folder with a `checkpoint` file.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        DataLossError: its index is cut short or damaged.
    """
    if os.path.isdir(prefix) and not os.path.exists(f"{os.fspath(prefix)}.index"):
        latest = latest_checkpoint(prefix)
        if latest is None:
            state = read_checkpoint_state(prefix)
            what = "has no file 'checkpoint'" if state is None else f"names '{state[0]}', which does not exist"
            raise FileNotFoundError(f"load_checkpoint: the folder '{os.fspath(prefix)}' {what}.")
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
            bare = self.prefix.partition(".index")[0].partition(".data-")[0].removesuffix(".meta")
            cure = f" Did you mean '{bare}'?" if os.path.exists(f"{bare}.index") else ""
            raise FileNotFoundError(
                f"load_checkpoint: there is no checkpoint '{self.prefix}': '{path}' is missing.{cure}"
            ) from None
        try:
            header = BundleHeaderProto.FromString(table.pop(b""))
            self._entries = {key: BundleEntryProto.FromString(value) for key, value in table.items()}
            names = [key.decode() for key in self._entries if not is_slice_key(key)]
        except (KeyError, DecodeError, UnicodeDecodeError) as error:
            raise DataLossError(f"'{path}' is no index of tensors: {error!r}.") from error
        if header.endianness:
            raise DataLossError(f"'{path}' was written on a big-endian machine, which is not supported.")
        version = header.version
        if version.min_consumer > 1 or 1 in version.bad_consumers:
            raise DataLossError(f"'{path}' needs a reader of version {version.min_consumer}; this one has version 1.")
        if not 0 < header.num_shards <= MAX_SHARDS:
            raise DataLossError(f"'{path}' speaks of {header.num_shards} shards; expected 1 to {MAX_SHARDS}.")
        self._shards = header.num_shards
        self._shapes = {name: self._shape(name, self._entries[name.encode()]) for name in names}
        self._places()

    def get_variable_to_shape_map(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor, by name."""
        return dict(self._shapes)

    def get_variable_to_dtype_map(self) -> dict[str, np.dtype]:
        """The dtype of each tensor, by name; strings are object arrays of `bytes`."""
        return {name: self._dtype(name, self._entries[name.encode()]) for name in self._shapes}

    def has_tensor(self, name: str) -> bool:
        """Whether there is a tensor `name`."""
        return name in self._shapes

    def stored_bytes(self, name: str) -> int:
        """How many bytes the tensor `name` takes in the data files.

        Raises:
            KeyError: there is no such tensor.
            DataLossError: a part of it is missing.
        """
        entry = self._entry(name)
        return sum(part.size for _, part in self._parts(name, entry)) if entry.slices else entry.size

    def get_tensor(self, name: str) -> Any:
        """The value of the tensor `name`, in fresh memory; a string of shape () is `bytes`.

        Raises:
            KeyError: there is no such tensor.
            DataLossError: its bytes are cut short or do not fit their checksum.
        """
        entry = self._entry(name)
        if entry.slices:
            parts = self._parts(name, entry)
            value = np.empty(self._shapes[name], self._dtype(name, entry))
            for bounds, part in parts:
                value[bounds] = self._read(name, part)
        else:
            value = self._read(name, entry)
        return value.item() if value.dtype == object and value.ndim == 0 else value

    def read_file(self, ending: str) -> bytes:
        """A further file of the checkpoint (".meta"), held against the checksum that was written with it.

        Raises:
            KeyError: the checkpoint was written without a checksum of such a file.
            DataLossError: the file is missing, or is not what was written.
        """
        path, known = f"{self.prefix}{ending}", self.files().get(ending)
        if known is None:
            raise KeyError(f"'{self.prefix}' holds no checksum of '{path}'.")
        try:
            with open(path, "rb") as file:
                content = file.read(known["size"] + 1)
        except FileNotFoundError:
            raise DataLossError(f"checkpoint '{self.prefix}': '{path}' is missing.") from None
        if len(content) != known["size"] or crc32c(content) != known["crc32c"]:
            raise DataLossError(f"checkpoint '{self.prefix}': '{path}' is not what was written: its checksum differs.")
        return content

    def verify(self) -> None:
        """Read every byte of the checkpoint.

        Raises:
            DataLossError: there are `problems`; it lists them.
        """
        found = self.problems()
        if found:
            raise DataLossError("\n".join(found))

    def problems(self) -> list[str]:
        """What is wrong with the checkpoint's files, once all bytes were read; an empty list if they are whole."""
        found: list[str] = []
        piece = np.empty(_PIECE_BYTES, np.uint8)

        def check(function: Callable[..., Any], *arguments: Any) -> None:
            try:
                function(*arguments)
            except (DataLossError, OSError) as error:
                found.append(str(error))

        for shard, places in enumerate(self._places()):
            check(self._check_rest, shard, places, piece)
            for _, _, key in places:
                check(self._check, _text(key), self._entries[key], piece)
        for name in self._shapes:
            entry = self._entries[name.encode()]
            check(self._parts if entry.slices else self._dtype, name, entry)
        endings: list[str] = []
        check(lambda: endings.extend(self.files()))
        for ending in endings:
            check(self.read_file, ending)
        return found

    def _entry(self, name: str) -> Any:
        if name not in self._shapes:
            raise KeyError(f"'{self.prefix}' holds no tensor '{name}'.{did_you_mean(name, self._shapes)}")
        return self._entries[name.encode()]

    def _error(self, name: str, what: str) -> DataLossError:
        return DataLossError(f"checkpoint '{self.prefix}', tensor '{name}': {what}.")

    def _shape(self, name: str, entry: Any) -> tuple[int, ...]:
        shape = tuple(dim.size for dim in entry.shape.dim)
        if entry.shape.unknown_rank or any(size < 0 for size in shape):
            raise self._error(name, f"its shape {shape} is not known")
        # numpy counts the sizes other than zero, in bytes; 16 is the largest item
        if len(shape) > _MAX_RANK or 16 * math.prod(filter(None, shape)) > _MAX_BYTES:
            raise self._error(name, f"no array can have its shape {shape}")
        return shape

    def _dtype(self, name: str, entry: Any) -> np.dtype:
        if entry.dtype not in _READABLE:
            raise self._error(name, f"its dtype has the number {entry.dtype}, which cannot be read")
        return _READABLE[entry.dtype]

    def _places(self) -> list[list[tuple[int, int, bytes]]]:
        """For each shard, from where to where its tensors stand, in order.

        Raises:
            DataLossError: a tensor stands in no shard, or two share bytes.
        """
        shards: list[list[tuple[int, int, bytes]]] = [[] for _ in range(self._shards)]
        for key, entry in self._entries.items():
            if entry.slices:
                continue
            if not 0 <= entry.shard_id < self._shards or entry.offset < 0 or entry.size < 0:
                raise self._error(
                    _text(key),
                    f"it has {entry.size} bytes at byte {entry.offset} of shard {entry.shard_id} of {self._shards}",
                )
            shards[entry.shard_id].append((entry.offset, entry.offset + entry.size, key))
        for places in shards:
            places.sort()
            for (_, end, key), (start, stop, other) in pairwise(p for p in places if p[0] < p[1]):
                if start < end:
                    raise self._error(_text(other), f"its bytes {start} to {stop} belong to '{_text(key)}' too")
        return shards

    def _parts(self, name: str, entry: Any) -> list[tuple[Bounds, Any]]:
        """Where the parts of a tensor go, and their entries; together they cover it."""
        shape, dtype = self._shape(name, entry), self._dtype(name, entry)
        parts: dict[bytes, tuple[Bounds, Any]] = {}
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
            key = slice_key(name, extents)
            stored = self._entries.get(key)
            if stored is None or stored.slices:
                raise self._error(name, f"the part with the extents {extents} is missing")
            if key in parts:
                raise self._error(name, f"the part with the extents {extents} comes twice")
            if stored.dtype != entry.dtype or self._shape(name, stored) != tuple(b.stop - b.start for b in bounds):
                raise self._error(name, f"the part with the extents {extents} has another shape or dtype")
            self._path(name, stored, dtype)
            parts[key] = (tuple(bounds), stored)
        sizes = [math.prod(b.stop - b.start for b in bounds) for bounds, _ in parts.values()]
        if sum(sizes) == math.prod(shape):
            covered = np.zeros(shape, bool)
            for place, _ in parts.values():
                covered[place] = True
            if covered.all():
                return list(parts.values())
        raise self._error(name, f"its parts do not cover its shape {shape}")

    def _path(self, name: str, entry: Any, dtype: np.dtype) -> str:
        """The file that holds the bytes of an entry, which are there and as many as its shape needs."""
        count = math.prod(self._shape(name, entry))
        if dtype.kind == "O":
            # a string has a byte for its length, all have a checksum; a variant has both for each
            least = 5 * count if entry.dtype == VARIANT else count + 4
            if entry.size < least:
                raise self._error(name, f"{entry.size} bytes cannot hold {count} strings")
        elif entry.size != count * dtype.itemsize:
            raise self._error(name, f"{entry.size} bytes cannot hold {count} values of {dtype}")
        path = data_path(self.prefix, entry.shard_id, self._shards)
        try:
            size = os.path.getsize(path)
        except FileNotFoundError:
            raise self._error(name, f"'{path}' is missing") from None
        if entry.offset + entry.size > size:
            raise self._error(name, f"its bytes end at {entry.offset + entry.size} of '{path}', which ends at {size}")
        return path

    def _read(self, name: str, entry: Any) -> np.ndarray:
        shape, dtype = self._shape(name, entry), self._dtype(name, entry)
        path = self._path(name, entry, dtype)
        data = np.empty(entry.size, np.uint8)
        crc = self._fill(name, entry, path, data)
        if dtype.kind == "O":
            decode = decode_variants if entry.dtype == VARIANT else decode_strings
            try:
                return decode(data.tobytes(), math.prod(shape), entry.crc32c).reshape(shape)
            except DataLossError as error:
                raise self._damaged(name, entry, path, str(error)) from error
        if mask(crc) != entry.crc32c:
            raise self._damaged(name, entry, path, "do not fit their checksum")
        return data.view(dtype).reshape(shape)

    def _check(self, name: str, entry: Any, piece: np.ndarray) -> None:
        """The checks of `_read`, of numbers in no more memory than `piece`."""
        if entry.dtype in (STRING, VARIANT):
            self._read(name, entry)
            return
        path = self._path(name, entry, self._dtype(name, entry))
        if mask(self._fill(name, entry, path, piece)) != entry.crc32c:
            raise self._damaged(name, entry, path, "do not fit their checksum")

    def _damaged(self, name: str, entry: Any, path: str, what: str) -> DataLossError:
        return self._error(name, f"bytes {entry.offset} to {entry.offset + entry.size} of '{path}' {what}")

    def _fill(self, name: str, entry: Any, path: str, data: np.ndarray) -> int:
        """Reads the bytes of an entry into `data`, over and over if they are more; gives their checksum."""
        crc = 0
        with open(path, "rb") as file:
            file.seek(entry.offset)
            for start in range(0, entry.size, _PIECE_BYTES):
                length = min(_PIECE_BYTES, entry.size - start)
                at = start if len(data) == entry.size else 0
                piece = data[at : at + length]
                if file.readinto(piece.data) != length:
                    raise self._damaged(name, entry, path, "were cut short while they were read")
                if entry.dtype == BOOL and piece.max() > 1:
                    raise self._damaged(name, entry, path, "are no truth values")
                crc = crc32c(piece, crc)
        return crc

    def _check_rest(self, shard: int, places: Sequence[tuple[int, int, bytes]], piece: np.ndarray) -> None:
        """Bytes of a shard that belong to no tensor are zeros, put there to align what follows."""
        path = data_path(self.prefix, shard, self._shards)
        try:
            size = os.path.getsize(path)
        except FileNotFoundError:
            raise DataLossError(f"checkpoint '{self.prefix}': '{path}' is missing.") from None
        start = 0
        for first, end, _ in [*places, (size, size, b"")]:
            with open(path, "rb") as file:
                file.seek(start)
                while start < min(first, size):
                    got = file.readinto(piece[: min(first, size) - start].data)
                    if not got or piece[:got].any():
                        raise DataLossError(f"'{path}' has bytes from byte {start} on that belong to no tensor.")
                    start += got
            start = max(start, end)

    def files(self) -> dict[str, dict[str, int]]:
        """Size and checksum of each further file, by its ending."""
        if FILES not in self._shapes:
            return {}
        text = self.get_tensor(FILES)
        try:
            files = json.loads(text)
            return {ending: {key: int(files[ending][key]) for key in ("size", "crc32c")} for ending in files}
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise self._error(FILES, f"it is no table of files ({error!r})") from error


def _text(key: bytes) -> str:
    """A key of the index for an error: the name of a tensor, or that of a part."""
    return key.decode(errors="backslashreplace") if is_slice_key(key) else key.decode()
