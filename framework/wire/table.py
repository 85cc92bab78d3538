"""The sorted string table of LevelDB: a file of keys with their values, in ascending order of the keys' bytes.

    data blocks, metaindex block (empty), index block, footer of 48 bytes

A block is a run of entries (varint shared, varint unshared, varint value length, the part of the key that the one
before it does not share, the value), the offsets of the entries that share nothing (uint32 each) and their count.
Behind each block stand a compression byte and the masked crc32c of both. The index block leads from the last key of
each data block to its place.

Reference: https://github.com/google/leveldb/blob/main/doc/table_format.md
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from lamina.wire.crc32c import masked_crc32c
from lamina.wire.errors import DataLossError
from lamina.wire.varint import decode_varint, encode_varint

MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES = 48
_TRAILER_BYTES = 5
_BLOCK_BYTES = 262_144
_RESTART_INTERVAL = 16
# Keys that share their beginnings take less room in the file than in memory, but not without end: every so many
# entries a key stands in full, so that all keys together have at most that many times the bytes of their block.
_MOST_SHARED = 64
_UINT32 = struct.Struct("<I")


def write_table(items: Iterable[tuple[bytes, bytes]], block_bytes: int = _BLOCK_BYTES) -> bytes:
    """The bytes of a table that holds `items`, given in strictly ascending order of their keys.

    Raises:
        ValueError: the keys are not in order, or one comes twice.

    Example:
        >>> read_table(write_table([(b"a", b"1"), (b"b", b"2")]), "example")
        {b'a': b'1', b'b': b'2'}
    """
    out: list[bytes] = []
    position = 0

    def emit(block: bytes) -> bytes:
        nonlocal position
        handle = encode_varint(position) + encode_varint(len(block))
        out.append(block + b"\0" + _UINT32.pack(masked_crc32c(block + b"\0")))
        position += len(block) + _TRAILER_BYTES
        return handle

    index = _BlockBuilder(restart_interval=1)
    data = _BlockBuilder(_RESTART_INTERVAL)
    last: bytes | None = None
    for key, value in items:
        if last is not None and key <= last:
            raise ValueError(f"write_table: keys must be strictly ascending, got {key!r} after {last!r}.")
        last = key
        data.add(key, value)
        if data.size >= block_bytes:
            index.add(key, emit(data.finish()))
            data = _BlockBuilder(_RESTART_INTERVAL)
    if last is not None and data.count:
        index.add(last, emit(data.finish()))
    handles = emit(_BlockBuilder(1).finish()) + emit(index.finish())
    out.append(handles.ljust(_FOOTER_BYTES - 8, b"\0") + struct.pack("<Q", MAGIC))
    return b"".join(out)


class _BlockBuilder:
    def __init__(self, restart_interval: int):
        self._interval = restart_interval
        self._parts: list[bytes] = []
        self._restarts = [0]
        self._last = b""
        self.count = self.size = 0

    def add(self, key: bytes, value: bytes) -> None:
        shared = 0
        if self.count % self._interval:
            limit = min(len(key), len(self._last))
            while shared < limit and key[shared] == self._last[shared]:
                shared += 1
        elif self.count:
            self._restarts.append(self.size)
        lengths = encode_varint(shared) + encode_varint(len(key) - shared) + encode_varint(len(value))
        entry = lengths + key[shared:] + value
        self._parts.append(entry)
        self._last = key
        self.count += 1
        self.size += len(entry)

    def finish(self) -> bytes:
        n = len(self._restarts)
        return b"".join(self._parts) + struct.pack(f"<{n + 1}I", *self._restarts, n)


def read_table(data: bytes, name: str) -> dict[bytes, bytes]:
    """The keys and values of a table, in order; every byte of it is checked.

    Args:
        data: the whole file.
        name: of the file, for errors.

    Raises:
        DataLossError: the file is cut short or damaged.
    """
    try:
        return _Reader(data).read()
    except DataLossError as error:
        raise DataLossError(f"'{name}' is no whole table: {error}") from error


class _Reader:
    def __init__(self, data: bytes):
        self._data = data
        self._seen = 0

    def read(self) -> dict[bytes, bytes]:
        data = self._data
        start = len(data) - _FOOTER_BYTES
        if start < 0:
            raise DataLossError(f"it has {len(data)} bytes, the footer alone has {_FOOTER_BYTES}.")
        (magic,) = struct.unpack_from("<Q", data, len(data) - 8)
        if magic != MAGIC:
            raise DataLossError(f"it ends with {magic:#018x} instead of {MAGIC:#018x}.")
        metaindex, position = self._handle(data, start, len(data) - 8)
        index, position = self._handle(data, position, len(data) - 8)
        if any(data[position : len(data) - 8]):
            raise DataLossError("its footer is not padded with zeros.")
        if list(self._entries(self._block(metaindex))):
            raise DataLossError("its metaindex block is not empty.")
        table: dict[bytes, bytes] = {}
        last: bytes | None = None
        for bound, place in self._entries(self._block(index)):
            handle, end = self._handle(place, 0, len(place))
            if end != len(place):
                raise DataLossError("an index entry is longer than a place.")
            for key, value in self._entries(self._block(handle)):
                if last is not None and key <= last or key > bound:
                    raise DataLossError(f"the key {key!r} is out of order.")
                last = key
                table[key] = value
        if self._seen != start:
            raise DataLossError(f"its blocks cover {self._seen} of {start} bytes.")
        return table

    @staticmethod
    def _handle(data: bytes, position: int, end: int) -> tuple[tuple[int, int], int]:
        offset, position = decode_varint(data, position, end)
        size, position = decode_varint(data, position, end)
        return (offset, size), position

    def _block(self, handle: tuple[int, int]) -> bytes:
        offset, size = handle
        end = offset + size + _TRAILER_BYTES
        if end > len(self._data) - _FOOTER_BYTES:
            raise DataLossError(f"a block of {size} bytes at byte {offset} reaches beyond its end.")
        block = self._data[offset : offset + size]
        trailer = self._data[offset + size : end]
        if masked_crc32c(block + trailer[:1]) != _UINT32.unpack_from(trailer, 1)[0]:
            raise DataLossError(f"the block at byte {offset} does not fit its checksum.")
        if trailer[0]:
            raise DataLossError(
                f"the block at byte {offset} is compressed (kind {trailer[0]}); only plain blocks are read."
            )
        self._seen += size + _TRAILER_BYTES
        return block

    @staticmethod
    def _entries(block: bytes) -> Iterable[tuple[bytes, bytes]]:
        if len(block) < 4:
            raise DataLossError("a block is shorter than its own count.")
        (count,) = _UINT32.unpack_from(block, len(block) - 4)
        end = len(block) - 4 * (count + 1)
        if end < 0:
            raise DataLossError(f"a block of {len(block)} bytes cannot hold {count} restarts.")
        restarts = list(struct.unpack_from(f"<{count}I", block, end))
        if restarts[:1] != [0]:
            raise DataLossError("the first restart of a block is not its start.")
        full, key, position, key_bytes = [], b"", 0, 0
        while position < end:
            start = position
            shared, position = decode_varint(block, position, end)
            unshared, position = decode_varint(block, position, end)
            length, position = decode_varint(block, position, end)
            if shared > len(key) or position + unshared + length > end:
                raise DataLossError("an entry reaches beyond its block.")
            if not shared:
                full.append(start)
            key_bytes += shared + unshared
            if key_bytes > _MOST_SHARED * len(block):
                raise DataLossError(f"the keys of a block of {len(block)} bytes have more than {key_bytes} bytes.")
            key = key[:shared] + block[position : position + unshared]
            position += unshared + length
            yield key, block[position - length : position]
        if restarts != sorted(set(restarts)) or not set(restarts) <= {0, *full}:
            raise DataLossError("the restarts of a block are not the entries whose keys stand in full.")
