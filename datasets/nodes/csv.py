"""Rows of CSV files (RFC 4180): quoted fields, missing values, one dtype a column."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from lamina.datasets.files import DAMAGE, open_stream
from lamina.datasets.nodes.readers import FileReader, Files, FilesNode, damaged
from lamina.datasets.spec import STRING, TensorSpec, dtype_name
from lamina.wire.errors import DataLossError

DTYPES = ("int32", "int64", "float32", "float64", "string")
_ENCODING = "latin-1"  # each byte is one character: what is read is what is written, whatever its encoding


class Column(NamedTuple):
    """A column that is read: its dtype, and what stands for a missing value (None: there must be a value)."""

    dtype: np.dtype
    default: Any = None


class CsvFormat(NamedTuple):
    """How the text of a file becomes rows."""

    header: bool
    field_delim: str
    use_quote_delim: bool
    na_value: str

    def rows(self, lines: Iterator[str]) -> Iterator[list[str]]:
        """The rows of some lines; a row whose field holds a line break takes several."""
        quoting: Any = csv.QUOTE_MINIMAL if self.use_quote_delim else csv.QUOTE_NONE
        return csv.reader(lines, delimiter=self.field_delim, quoting=quoting, strict=True)


class CsvRows(FilesNode):
    """The rows of CSV files, as tuples of numbers and byte strings.

    Args:
        files: See FilesNode.
        columns: The columns that are read.
        select: Their positions in a row, ascending; None if they are all there are.
        format: How the text becomes rows.
        compression: See FilesNode.
        chunk_bytes: See FilesNode.
    """

    op = "CsvDataset"

    def __init__(
        self,
        files: Files,
        columns: Sequence[Column],
        select: Sequence[int] | None,
        format: CsvFormat,
        compression: str,
        chunk_bytes: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(files, compression, chunk_bytes, name)
        self.columns, self.select, self.format = tuple(columns), select, format
        self.convert = [_converter(column.dtype) for column in columns]

    def _spec(self) -> Any:
        return tuple(TensorSpec((), column.dtype) for column in self.columns)

    def config(self) -> dict[str, Any]:
        """The files, the columns and the format."""
        columns = [[dtype_name(c.dtype), None if c.default is None else str(c.default)] for c in self.columns]
        return {**super().config(), "columns": columns, "select": self.select, **self.format._asdict()}

    def open(self, path: str, place: Any) -> FileReader:
        """See FilesNode."""
        offset, row = place or (0, 0)
        return _CsvReader(self, open_stream(path, self.compression, offset, self.chunk_bytes), path, offset, row)


class _CsvReader(FileReader):
    def __init__(self, node: CsvRows, stream: BinaryIO, path: str, offset: int, row: int) -> None:
        self._node, self._stream, self._path = node, stream, path
        self._offset, self._row = offset, row
        self._rows = node.format.rows(self._lines())
        self._skip_header = node.format.header and offset == 0

    @property
    def place(self) -> list[int]:
        return [self._offset, self._row]

    def _lines(self) -> Iterator[str]:
        while line := self._stream.readline():
            self._offset += len(line)
            yield line.decode(_ENCODING)

    def __next__(self) -> tuple:
        while True:
            start = self._offset
            try:
                fields = next(self._rows)
            except StopIteration:
                if self._skip_header:
                    self._skip_header = False
                    raise DataLossError(f"{self._node.label}: '{self._path}' is empty, it has no header.") from None
                raise
            except DAMAGE as error:
                self._end()
                raise damaged(self._path, start, error) from error
            except csv.Error as error:
                # The parser is in the middle of a row: begin anew behind the line that it could not read.
                self._rows = self._node.format.rows(self._lines())
                self._row += 1
                cure = "; raise the limit with csv.field_size_limit(n)" if "limit" in str(error) else ""
                raise self._error(start, f"{error}{cure}") from error
            if self._skip_header:
                self._skip_header = False
                continue
            self._row += 1
            return self._convert(fields or [""], start)  # an empty line is one empty field

    def _convert(self, fields: list[str], start: int) -> tuple:
        node = self._node
        if node.select is not None:
            if len(fields) <= node.select[-1]:
                raise self._error(start, f"column {node.select[-1]} was selected, the row has {len(fields)} fields")
            fields = [fields[i] for i in node.select]
        elif len(fields) != len(node.columns):
            raise self._error(start, f"expected {len(node.columns)} fields, got {len(fields)}")
        na_value = node.format.na_value
        out = []
        for i, (text, column, convert) in enumerate(zip(fields, node.columns, node.convert, strict=True)):
            if text == "" or text == na_value:
                if column.default is None:
                    place = i if node.select is None else node.select[i]
                    raise self._error(start, f"column {place} is required and has no value; give it a default")
                out.append(column.default)
                continue
            try:
                out.append(convert(text))
            except (ValueError, OverflowError):
                place = i if node.select is None else node.select[i]
                raise self._error(start, f"column {place} must be {dtype_name(column.dtype)}, got {text!r}") from None
        return tuple(out)

    def _error(self, start: int, what: str) -> DataLossError:
        counted = "from 1, without the header" if self._node.format.header else "from 1"
        place = f"row {self._row} ({counted}) at byte {start}"
        return DataLossError(f"{self._node.label}: '{self._path}', {place}: {what}.")

    def _end(self) -> None:
        self._stream.close()
        self._stream = io.BytesIO()
        self._rows = iter(())

    def close(self) -> None:
        self._stream.close()


def _converter(dtype: np.dtype) -> Callable[[str], Any]:
    if dtype == STRING:
        return lambda text: text.encode(_ENCODING)
    python = int if dtype.kind == "i" else float
    kind = dtype.type

    def convert(text: str) -> Any:
        if "_" in text:  # Python reads 1_000 as a number, CSV files do not mean that
            raise ValueError
        return kind(python(text))

    return convert
