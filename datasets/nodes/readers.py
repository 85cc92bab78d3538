"""Records of files, one file after the other: lines of text, TFRecords, records of a fixed length.

The state is the file and the place in it, so that a restored iterator opens that file alone.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, BinaryIO

from lamina.datasets.context import Context
from lamina.datasets.files import DAMAGE, as_path, open_stream
from lamina.datasets.nodes.base import ElementIterator, Node
from lamina.datasets.spec import STRING, TensorSpec
from lamina.wire.errors import DataLossError
from lamina.wire.tfrecord import RecordReader

Files = Sequence[str] | Node
_CHUNK_BYTES = 1 << 18


class FileReader(ABC):
    """The records of one open file.

    Attributes:
        place: JSON-safe; where to go on in the file. None is its start.
    """

    place: Any

    @abstractmethod
    def __next__(self) -> Any: ...

    @abstractmethod
    def close(self) -> None:
        """Close the file."""


class FilesNode(Node):
    """A node whose elements stand in files. A kind of file is a subclass with `open`.

    Args:
        files: The names, or the node of a dataset of names.
        compression: `""`, `"GZIP"` or `"ZLIB"`.
        chunk_bytes: How much is read at a time; None for the default.
    """

    def __init__(self, files: Files, compression: str, chunk_bytes: int | None = None, name: str | None = None) -> None:
        super().__init__(*([files] if isinstance(files, Node) else []), name=name)
        self.files = None if isinstance(files, Node) else list(files)
        self.compression = compression
        self.chunk_bytes = chunk_bytes or _CHUNK_BYTES

    def open(self, path: str, place: Any) -> FileReader:
        """The records of the file `path` from `place` on."""
        raise NotImplementedError

    def _spec(self) -> Any:
        return TensorSpec((), STRING)

    def config(self) -> dict[str, Any]:
        """The files and their compression."""
        return {"files": self.files, "compression_type": self.compression}

    def _iterator(self, context: Context) -> ElementIterator:
        return FilesIterator(self, self.children[0].iterate(context) if self.children else None)


class FilesIterator(ElementIterator):
    """The records of the files of a `FilesNode`; `names` gives the names if they come from a dataset."""

    def __init__(self, node: FilesNode, names: ElementIterator | None) -> None:
        self._node, self._names = node, names
        self._file = 0
        self._name: str | None = None
        self._reader: FileReader | None = None
        self._place: Any = None

    def __next__(self) -> Any:
        while True:
            if self._reader is None:
                self._open()
            try:
                return self._reader.__next__()  # type: ignore[union-attr]
            except StopIteration:
                self._leave()

    def _open(self) -> None:
        if self._name is None:
            self._name = self._next_name()
        place, self._place = self._place, None
        try:
            self._reader = self._node.open(self._name, place)
        except DAMAGE as error:
            self._leave()
            raise damaged(self._name, place, error) from error
        except Exception:
            self._leave()
            raise

    def _next_name(self) -> str:
        if self._names is not None:
            return as_path(next(self._names), self._node.label)
        files = self._node.files or ()
        if self._file >= len(files):
            raise StopIteration
        return files[self._file]

    def _leave(self) -> None:
        """Go on to the next file."""
        self.close_reader()
        self._file += 1
        self._name = None

    def close_reader(self) -> None:
        """Close the file that is open, if one is."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def get_state(self) -> dict[str, Any]:
        """The file and the place in it."""
        place = self._place if self._reader is None else self._reader.place
        if self._names is None:
            return {"file": self._file, "place": place}
        return {"names": self._names.get_state(), "name": self._name, "place": place}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on at a place of a file."""
        self._place = state["place"]
        if self._names is None:
            self._file = state["file"]
        else:
            self._names.set_state(state["names"])
            self._name = state["name"]

    def close(self) -> None:
        """Close the file and the dataset of names."""
        self.close_reader()
        if self._names is not None:
            self._names.close()


def damaged(path: str | None, place: Any, error: Exception) -> DataLossError:
    """The error for a compressed file whose stream is damaged or cut short."""
    where = "its start" if place is None else f"place {place} of the uncompressed data"
    return DataLossError(f"'{path}': the compressed stream is damaged or cut short behind {where} ({error}).")


class TextLines(FilesNode):
    """The lines of text files, without their ends."""

    op = "TextLineDataset"

    def open(self, path: str, place: Any) -> FileReader:
        """See FilesNode."""
        return _Lines(open_stream(path, self.compression, place or 0, self.chunk_bytes), path, place or 0)


class _Lines(FileReader):
    def __init__(self, stream: BinaryIO, path: str, offset: int) -> None:
        self._stream, self._path, self.place = stream, path, offset

    def __next__(self) -> bytes:
        try:
            line = self._stream.readline()
        except DAMAGE as error:
            self._stream.close()
            self._stream = io.BytesIO()
            raise damaged(self._path, self.place, error) from error
        if not line:
            raise StopIteration
        self.place += len(line)
        if line[-1:] != b"\n":
            return line
        return line[:-2] if line[-2:] == b"\r\n" else line[:-1]

    def close(self) -> None:
        self._stream.close()


class TFRecords(FilesNode):
    """The records of TFRecord files."""

    op = "TFRecordDataset"

    def open(self, path: str, place: Any) -> FileReader:
        """See FilesNode."""
        offset, record = place or (0, 0)
        stream = open_stream(path, self.compression, offset, self.chunk_bytes)
        return _Records(stream, RecordReader(stream, path, offset, record, self.chunk_bytes))


class _Records(FileReader):
    def __init__(self, stream: BinaryIO, reader: RecordReader) -> None:
        self._stream, self._reader = stream, reader
        self.__next = reader.__next__

    def __next__(self) -> bytes:
        return self.__next()

    @property
    def place(self) -> list[int]:
        return [self._reader.offset, self._reader.record]

    def close(self) -> None:
        self._stream.close()


class FixedLengthRecords(FilesNode):
    """The records of files in which all have one length.

    Args:
        files: See FilesNode.
        record_bytes: The length of a record.
        header_bytes: How many bytes are left out at the start of each file.
        footer_bytes: How many bytes are left out at its end.
        compression: See FilesNode.
        chunk_bytes: See FilesNode.
    """

    op = "FixedLengthRecordDataset"

    def __init__(
        self,
        files: Files,
        record_bytes: int,
        header_bytes: int,
        footer_bytes: int,
        compression: str,
        chunk_bytes: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(files, compression, chunk_bytes, name)
        self.record_bytes, self.header_bytes, self.footer_bytes = record_bytes, header_bytes, footer_bytes

    def config(self) -> dict[str, Any]:
        """The files and the lengths."""
        lengths = {key: getattr(self, key) for key in ("record_bytes", "header_bytes", "footer_bytes")}
        return {**super().config(), **lengths}

    def open(self, path: str, place: Any) -> FileReader:
        """See FilesNode."""
        record = place or 0
        offset = self.header_bytes + record * self.record_bytes
        stream = open_stream(path, self.compression, offset if record else 0, self.chunk_bytes)
        reader = _FixedRecords(self, stream, path, record)
        if record == 0:
            if not self.compression:
                reader.check_size(stream.seek(0, io.SEEK_END))
                stream.seek(0)
            try:
                size = len(stream.read(offset))
            except DAMAGE:
                stream.close()
                raise
            if size < offset:
                reader.check_size(size)
        return reader


class _FixedRecords(FileReader):
    def __init__(self, node: FixedLengthRecords, stream: BinaryIO, path: str, record: int) -> None:
        self._node, self._stream, self._path, self.place = node, stream, path, record
        self._read = getattr(stream, "read1", stream.read)
        self._buffer, self._position = b"", 0

    def __next__(self) -> bytes:
        start, size = self._position, self._node.record_bytes
        end = start + size
        if len(self._buffer) < end + self._node.footer_bytes:
            if not self._fill(size + self._node.footer_bytes):
                raise StopIteration
            start, end = 0, size
        self._position = end
        self.place += 1
        return self._buffer[start:end]

    def _fill(self, needed: int) -> bool:
        """Read on until `needed` bytes are there; False at the end of the file."""
        parts = [self._buffer[self._position :]]
        have = len(parts[0])
        try:
            while have < needed and (part := self._read(self._node.chunk_bytes)):
                parts.append(part)
                have += len(part)
        except DAMAGE as error:
            self._end()
            raise damaged(self._path, self.place, error) from error
        self._buffer, self._position = b"".join(parts), 0
        if have >= needed:
            return True
        self._end()
        if have != self._node.footer_bytes:
            self.check_size(self._node.header_bytes + self.place * self._node.record_bytes + have)
        return False

    def _end(self) -> None:
        self._stream.close()
        self._read = io.BytesIO(bytes(self._node.footer_bytes)).read
        self._buffer, self._position = b"", 0

    def check_size(self, size: int) -> None:
        """Raise if a file of `size` bytes is no whole number of records."""
        node = self._node
        body = size - node.header_bytes - node.footer_bytes
        if body < 0 or body % node.record_bytes:
            self._stream.close()
            raise DataLossError(
                f"{node.label}: '{self._path}' has {size} bytes; expected header_bytes={node.header_bytes} + n * "
                f"record_bytes={node.record_bytes} + footer_bytes={node.footer_bytes}. The file is cut short or has "
                "records of another length."
            )

    def close(self) -> None:
        self._stream.close()
