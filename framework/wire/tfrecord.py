"""Record files (TFRecord): a sequence of byte strings, each with its length and two checksums.

    uint64 length, uint32 masked crc32c of those 8 bytes, `length` bytes, uint32 masked crc32c of them (little-endian)

Reference: https://www.tensorflow.org/tutorials/load_data/tfrecord
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from google_crc32c import value as _crc

from lamina.wire.crc32c import masked_crc32c
from lamina.wire.errors import DataLossError

_HEADER = struct.Struct("<QI")
_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")
_FRAME = _HEADER.size + _CHECKSUM.size
_DELTA = 0xA282EAD8
_MOST_LENGTHS = 4096


def encode_record(data: bytes) -> bytes:
    """`data` framed as one record.

    Example:
        >>> len(encode_record(b"abc"))
        19
    """
    length = _LENGTH.pack(len(data))
    return b"".join((length, _CHECKSUM.pack(masked_crc32c(length)), data, _CHECKSUM.pack(masked_crc32c(data))))


class RecordReader(Iterator[bytes]):
    """The records of an open file, one after the other.

    After a record whose bytes do not fit their checksum, reading goes on with the next one. After damage that hides
    where the next record starts, the reader is at its end.

    Args:
        file: opened for reading bytes, at the start of a record.
        name: of the file, for errors.
        offset: where in the (uncompressed) file that record starts.
        record: number of that record.
        chunk_bytes: how many bytes are read at a time.

    Raises:
        DataLossError: a record is cut short or damaged; the message names file, record and offset.

    Example:
        >>> import io
        >>> reader = RecordReader(io.BytesIO(encode_record(b"one") + encode_record(b"two")), "example")
        >>> next(reader), reader.offset, next(reader)
        (b'one', 19, b'two')
    """

    def __init__(self, file: BinaryIO, name: str, offset: int = 0, record: int = 0, chunk_bytes: int = 1 << 18):
        # read1 gives what could be uncompressed before a damaged place, read raises and keeps it.
        self._read = getattr(file, "read1", file.read)
        self._name, self._chunk_bytes = name, chunk_bytes
        self.offset, self.record = offset, record
        self._buffer, self._position = b"", 0
        self._ready: Iterator[bytes] = iter(())
        self._lengths: dict[int, int] = {}

    def __next__(self) -> bytes:
        """The next record."""
        for data in self._ready:
            self.offset += len(data) + _FRAME
            self.record += 1
            return data
        ready = self._parse()
        if not ready:
            return self._single()
        self._ready = iter(ready)
        return self.__next__()

    def _parse(self) -> list[bytes]:
        """The whole and undamaged records at the start of the buffer, which moves on behind them."""
        buffer, position, known = self._buffer, self._position, self._lengths
        last, records, stored, found = len(buffer) - _FRAME, [], [], []
        while position <= last:
            length, check = _HEADER.unpack_from(buffer, position)
            if known.get(length) != check and not self._known_length(length, check):
                break
            start = position + 12
            end = start + length
            if end + 4 > len(buffer):
                break
            data = buffer[start:end]
            records.append(data)
            found.append(_crc(data))
            stored.append(_CHECKSUM.unpack_from(buffer, end)[0])
            position = end + 4
        crcs = np.array(found, np.uint32)
        bad = np.flatnonzero(((crcs >> 15) | (crcs << 17)) + np.uint32(_DELTA) != np.array(stored, np.uint32))
        if len(bad):
            del records[bad[0] :]
            position = self._position + sum(map(len, records)) + _FRAME * len(records)
        self._position = position
        return records

    def _known_length(self, length: int, check: int) -> bool:
        """Whether `check` belongs to `length`; lengths come again and again, so what was found is kept."""
        if masked_crc32c(_LENGTH.pack(length)) != check:
            return False
        if len(self._lengths) < _MOST_LENGTHS:
            self._lengths[length] = check
        return True

    def _single(self) -> bytes:
        """The next record, where it is damaged or does not stand in the buffer as a whole."""
        buffer = self._fill(_HEADER.size, "its header")
        if not buffer:
            raise StopIteration
        length, check = _HEADER.unpack_from(buffer, 0)
        if not self._known_length(length, check):
            raise self._end(f"its length ({length}) does not fit its checksum, so the records after it cannot be found")
        buffer = self._fill(length + _FRAME, f"its {length} bytes")
        end = 12 + length
        data = buffer[12:end]
        self._position = end + 4
        offset, record = self.offset, self.record
        self.offset, self.record = offset + length + _FRAME, record + 1
        if masked_crc32c(data) != _CHECKSUM.unpack_from(buffer, end)[0]:
            raise self._error(f"its {length} bytes do not fit their checksum", record, offset)
        return data

    def _fill(self, needed: int, what: str) -> bytes:
        """The bytes that are not read yet, at least `needed` of them; none at all at the end of the file.

        Bytes are asked for a chunk at a time: a length that lies cannot make us allocate more than the file holds.
        """
        parts = [self._buffer[self._position :]]
        have = len(parts[0])
        try:
            while have < needed:
                part = self._read(self._chunk_bytes)
                if not part:
                    break
                parts.append(part)
                have += len(part)
        except (EOFError, OSError, zlib.error) as error:
            raise self._end(f"the compressed stream is damaged or cut short ({error})") from error
        self._buffer, self._position = b"".join(parts), 0
        if 0 < have < needed:
            raise self._end(f"{what} are cut short: the file ends {needed - have} bytes too early")
        return self._buffer

    def _end(self, what: str) -> DataLossError:
        """The error for damage after which no record can be found."""
        self._read, self._buffer, self._position = _nothing, b"", 0
        return self._error(what, self.record, self.offset)

    def _error(self, what: str, record: int, offset: int) -> DataLossError:
        return DataLossError(
            f"'{self._name}': record {record} at byte {offset} is damaged: {what}. "
            "Write the file anew, or skip such records with `Dataset.ignore_errors()`."
        )


def _nothing(size: int) -> bytes:
    return b""


class RecordWriter:
    """Writes records to an open file.

    Args:
        file: opened for writing bytes. It is not closed here.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> RecordWriter(file).write(b"one")
        >>> list(RecordReader(io.BytesIO(file.getvalue()), "example"))
        [b'one']
    """

    def __init__(self, file: BinaryIO):
        self._file = file

    def write(self, record: bytes) -> None:
        """Append one record."""
        self._file.write(encode_record(record))
