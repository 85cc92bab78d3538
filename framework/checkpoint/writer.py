"""Writes checkpoints: the bytes of tensors into shards, then the index that makes them a checkpoint.

Each file is written under another name, brought to the disk and renamed; the index comes last. A checkpoint whose index
exists is whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from lamina.checkpoint.files import replacing
from lamina.checkpoint.slices import FULL, slice_key
from lamina.core.errors import describe
from lamina.wire.bundle import BundleEntryProto, BundleHeaderProto
from lamina.wire.crc32c import crc32c, mask, masked_crc32c
from lamina.wire.table import write_table
from lamina.wire.tensor import NUMBERS, STRING, TensorSliceProto, VersionDef, shape_proto
from lamina.wire.varint import encode_varint

_UINT32_MAX = 2**32 - 1

Entries = dict[bytes, Any]


class Partition(NamedTuple):
    """A part of a larger tensor, which several shards (or processes) hold together.

    Args:
        shape: The shape of the whole tensor.
        start: Where the part starts in each dimension.
        value: The part.
    """

    shape: tuple[int, ...]
    start: tuple[int, ...]
    value: Any


def write_checkpoint(prefix: str | os.PathLike, tensors: Mapping[str, Any], shard_bytes: int | None = None) -> None:
    """Write `tensors` as the checkpoint `prefix`.

    Args:
        prefix: What the names of its files start with; its folder must exist.
        tensors: Arrays by name: any numpy or ml_dtypes dtype that the format knows, byte strings, or arrays of them.
        shard_bytes: The data goes into several files of about this size; None for one file.

    Raises:
        TypeError: an array has a dtype that the format does not know.
        OSError: the disk is full, or the folder does not exist or cannot be written.

    Example:
        >>> import tempfile, os
        >>> from lamina.checkpoint import load_checkpoint
        >>> prefix = os.path.join(tempfile.mkdtemp(), "model.ckpt-1")
        >>> write_checkpoint(prefix, {"dense/kernel": np.eye(2, dtype="float32"), "step": np.int64(1)})
        >>> load_checkpoint(prefix).get_tensor("dense/kernel")
        array([[1., 0.],
               [0., 1.]], dtype=float32)
    """
    shards = list(_shards({name: _as_array(name, tensors[name]) for name in sorted(tensors)}, shard_bytes))
    entries: Entries = {}
    for i, shard in enumerate(shards):
        entries.update(write_shard(prefix, shard, i, len(shards)))
    write_index(prefix, entries, len(shards))


def _shards(arrays: dict[str, np.ndarray], shard_bytes: int | None) -> Iterator[dict[str, np.ndarray]]:
    shard: dict[str, np.ndarray] = {}
    size = 0
    for name, array in arrays.items():
        if shard and shard_bytes is not None and size + array.nbytes > shard_bytes:
            yield shard
            shard, size = {}, 0
        shard[name] = array
        size += array.nbytes
    yield shard


def write_shard(prefix: str | os.PathLike, tensors: Mapping[str, Any], shard: int, num_shards: int) -> Entries:
    """Write the data of one shard, and give the entries that the index needs for it.

    Args:
        prefix: What the names of the checkpoint's files start with.
        tensors: Arrays, or a `Partition` where other shards hold the rest of a tensor.
        shard: The number of this shard.
        num_shards: How many there are.
    """
    entries: Entries = {}
    path = f"{os.fspath(prefix)}.data-{shard:05d}-of-{num_shards:05d}"
    with replacing(path) as file:
        offset = 0
        for name, tensor in tensors.items():
            if not name or name.startswith("\0"):
                raise ValueError(f"write_checkpoint: {name!r} cannot be the name of a tensor.")
            partition = tensor if isinstance(tensor, Partition) else None
            array = _as_array(name, tensor if partition is None else partition.value)
            size, checksum = _write_tensor(file, array)
            entry = BundleEntryProto(
                dtype=NUMBERS[array.dtype],
                shape=shape_proto(array.shape),
                shard_id=shard,
                offset=offset,
                size=size,
                crc32c=checksum,
            )
            if partition is None:
                entries[name.encode()] = entry
            else:
                _add_partition(entries, name, partition, array, entry)
            offset += size
    return entries


def _add_partition(entries: Entries, name: str, partition: Partition, array: np.ndarray, entry: Any) -> None:
    if not (len(partition.shape) == len(partition.start) == array.ndim):
        raise ValueError(
            f"write_shard: the part of '{name}' has {array.ndim} dimensions, its tensor {partition.shape}."
        )
    extents = []
    for start, length, size in zip(partition.start, array.shape, partition.shape, strict=True):
        if not 0 <= start <= start + length <= size:
            raise ValueError(
                f"write_shard: the part of '{name}' at {partition.start} reaches beyond {partition.shape}."
            )
        extents.append((0, FULL) if length == size else (start, length))
    entries[slice_key(name, extents)] = entry
    whole = BundleEntryProto(dtype=entry.dtype, shape=shape_proto(partition.shape))
    whole.slices.append(_slice_proto(extents))
    entries[name.encode()] = whole


def _slice_proto(extents: list[tuple[int, int]]) -> Any:
    proto = TensorSliceProto()
    for start, length in extents:
        proto.extent.add(start=start, **({} if length == FULL else {"length": length}))
    return proto


def merge_entries(*shards: Entries) -> Entries:
    """The entries of several shards as one; the parts of a partitioned tensor come together."""
    merged: Entries = {}
    for entries in shards:
        for key, entry in entries.items():
            if key in merged and entry.slices:
                merged[key].slices.extend(entry.slices)
            elif key in merged:
                raise ValueError(
                    f"merge_entries: two shards hold the tensor {key.decode()!r}; give parts as Partition."
                )
            else:
                merged[key] = BundleEntryProto.FromString(entry.SerializeToString())
    return merged


def write_index(prefix: str | os.PathLike, entries: Entries, num_shards: int) -> None:
    """Write the index, which makes the shards a checkpoint.

    Args:
        prefix: What the names of the checkpoint's files start with.
        entries: What `write_shard` gave, of several shards joined by `merge_entries`.
        num_shards: How many shards there are.
    """
    header = BundleHeaderProto(num_shards=num_shards, version=VersionDef(producer=1))
    items = [(b"", header), *sorted(entries.items())]
    with replacing(f"{os.fspath(prefix)}.index") as file:
        file.write(write_table((key, message.SerializeToString()) for key, message in items))


def _as_array(name: str, value: Any) -> np.ndarray:
    if isinstance(value, (bytes, str)):
        array = np.array(value.encode() if isinstance(value, str) else value, object)
    else:
        array = np.asarray(value)
    if array.dtype.kind in "SU":
        array = array.astype(object)
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    if array.dtype not in NUMBERS:
        raise TypeError(f"write_checkpoint: '{name}' has a dtype that checkpoints do not know: {describe(value)}.")
    return array


def _write_tensor(file: BinaryIO, array: np.ndarray) -> tuple[int, int]:
    """Append the bytes of `array`; how many they are, and their masked checksum."""
    if NUMBERS[array.dtype] == STRING:
        return _write_strings(file, array)
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    file.write(data.data)
    return data.nbytes, masked_crc32c(data)


def _write_strings(file: BinaryIO, array: np.ndarray) -> tuple[int, int]:
    strings = [s.encode() if isinstance(s, str) else s for s in array.reshape(-1).tolist()]
    if not all(isinstance(s, bytes) for s in strings):
        raise TypeError("write_checkpoint: an object array must hold byte strings.")
    lengths = [len(s) for s in strings]
    crc = crc32c(b"".join(n.to_bytes(4 if n <= _UINT32_MAX else 8, "little") for n in lengths))
    head = b"".join(map(encode_varint, lengths)) + mask(crc).to_bytes(4, "little")
    body = b"".join(strings)
    file.write(head)
    file.write(body)
    return len(head) + len(body), mask(crc32c(body, crc32c(head[-4:], crc)))
