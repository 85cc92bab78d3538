"""Datasets over CSV files: rows as tuples, or batches as dicts of columns with inferred names and dtypes."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lamina.core.checks import check_int
from lamina.core.errors import describe, did_you_mean, listing
from lamina.datasets.dataset import Dataset
from lamina.datasets.elements import as_array
from lamina.datasets.file_datasets import files_node, read_files, shuffle_and_repeat
from lamina.datasets.files import as_path, check_compression, match_files, open_stream
from lamina.datasets.nodes.csv import DTYPES, Column, CsvFormat, CsvRows
from lamina.datasets.spec import AUTOTUNE, STRING, TensorSpec, as_dtype, dtype_name


class CsvDataset(Dataset):
    """The rows of CSV files as tuples of scalars.

    Args:
        filenames: A file name, a list of them or a Dataset of them; addresses such as `gs://` need fsspec.
        record_defaults: For each column that is read its dtype, if there must be a value, or the value that stands for
            a missing one. The dtypes are int32, int64, float32, float64 and string.
        compression_type: `"GZIP"`, `"ZLIB"`, or None for plain files.
        buffer_size: Bytes read at a time; None for the default.
        header: Whether each file starts with a line of names, which is left out.
        field_delim: The character between fields.
        use_quote_delim: Whether double quotes enclose fields that hold delimiters or line breaks.
        na_value: Text that stands for a missing value, beside the empty field.
        select_cols: The positions of the columns that are read, ascending; None for all.
        exclude_cols: The positions of the columns that are not read.

    Raises:
        FileNotFoundError: while reading, there is no such file.
        DataLossError: while reading, a row has too few or too many fields, lacks a required value or holds text that is
            no number; the message names file, row, byte and column.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp(), "data.csv")
        >>> _ = path.write_text("1,one\\n,two\\n")
        >>> list(CsvDataset(path, [0, "string"]))
        [(np.int32(1), b'one'), (np.int32(0), b'two')]
    """

    def __init__(
        self,
        filenames: Any,
        record_defaults: Sequence[Any],
        compression_type: str | None = None,
        buffer_size: int | None = None,
        header: bool = False,
        field_delim: str = ",",
        use_quote_delim: bool = True,
        na_value: str = "",
        select_cols: Sequence[int] | None = None,
        exclude_cols: Sequence[int] | None = None,
    ) -> None:
        columns = [as_column(default, i) for i, default in enumerate(record_defaults)]
        select = _selection(len(columns), select_cols, exclude_cols)
        make = functools.partial(
            CsvRows,
            columns=columns,
            select=select,
            format=csv_format("CsvDataset", header, field_delim, use_quote_delim, na_value),
            compression=check_compression("CsvDataset", compression_type),
            chunk_bytes=buffer_size,
        )
        super().__init__(files_node("CsvDataset", make, filenames, None))


def csv_format(owner: str, header: bool, field_delim: str, use_quote_delim: bool, na_value: str) -> CsvFormat:
    """The arguments as a `CsvFormat`."""
    if not isinstance(field_delim, str) or len(field_delim) != 1:
        raise ValueError(f"{owner}: field_delim must be one character, got {describe(field_delim)}.")
    return CsvFormat(header, field_delim, use_quote_delim, na_value)


def as_column(default: Any, place: int) -> Column:
    """A dtype (the value is required), one value, or an array of one value, as a `Column`."""
    if isinstance(default, (type, np.dtype)) or (isinstance(default, str) and default in DTYPES):
        dtype, value = as_dtype(default), None
    else:
        array = as_array(default)
        if array.size > 1:
            raise ValueError(f"CsvDataset: record_defaults[{place}] must hold one value, got {describe(default)}.")
        dtype, value = array.dtype, array.reshape(-1)[0] if array.size else None
    if dtype_name(dtype) not in DTYPES:
        raise ValueError(
            f"CsvDataset: the dtype of record_defaults[{place}] must be {listing(DTYPES)}, got {dtype_name(dtype)!r}."
        )
    return Column(dtype, value)


def _selection(count: int, select: Sequence[int] | None, exclude: Sequence[int] | None) -> list[int] | None:
    if exclude is not None:
        if select is not None:
            raise ValueError("CsvDataset: give select_cols or exclude_cols, not both.")
        left_out = {check_int("CsvDataset", "exclude_cols", place, 0) for place in exclude}
        return list(itertools.islice((place for place in itertools.count() if place not in left_out), count))
    if select is None:
        return None
    places = [check_int("CsvDataset", "select_cols", place, 0) for place in select]
    if len(places) != count or any(a >= b for a, b in itertools.pairwise(places)):
        raise ValueError(f"CsvDataset: select_cols must hold {count} ascending positions, one a column, got {places}.")
    return places


def make_csv_dataset(
    file_pattern: Any,
    batch_size: int,
    column_names: Sequence[str] | None = None,
    column_defaults: Sequence[Any] | None = None,
    label_name: str | None = None,
    select_columns: Sequence[str | int] | None = None,
    field_delim: str = ",",
    use_quote_delim: bool = True,
    na_value: str = "",
    header: bool = True,
    num_epochs: int | None = None,
    shuffle: bool = True,
    shuffle_buffer_size: int = 10000,
    shuffle_seed: int | None = None,
    prefetch_buffer_size: int | None = None,
    num_parallel_reads: int | None = None,
    sloppy: bool = False,
    num_rows_for_inference: int | None = 100,
    compression_type: str | None = None,
    ignore_errors: bool = False,
    encoding: str = "utf-8",
) -> Dataset:
    """Batches of the rows of CSV files, as dicts of columns.

    Args:
        file_pattern: A file name or pattern (`*`, `?`, `[a-z]`), or a list of them.
        batch_size: Rows in a batch.
        column_names: The names of all columns; None to read them from the header, which all files must share.
        column_defaults: For each selected column its dtype or default, as in `CsvDataset`; None to infer the dtypes
            from the first rows (missing values become 0 or the empty string then).
        label_name: The column that becomes the label: elements are `(features, label)` then.
        select_columns: Names or positions of the columns that are read; None for all.
        field_delim: The character between fields.
        use_quote_delim: Whether double quotes enclose fields that hold delimiters or line breaks.
        na_value: Text that stands for a missing value, beside the empty field.
        header: Whether each file starts with a line of names.
        num_epochs: How often the files are read; None for endlessly (all batches are full then).
        shuffle: Whether files and rows are shuffled.
        shuffle_buffer_size: The size of the buffer of rows they are drawn from.
        shuffle_seed: The seed of both.
        prefetch_buffer_size: Batches made ahead; None for AUTOTUNE.
        num_parallel_reads: How many files are read in turn, a row from each; None for 1.
        sloppy: Whether files may be read in another order where that is faster.
        num_rows_for_inference: How many rows the dtypes are inferred from; None for all.
        compression_type: `"GZIP"`, `"ZLIB"`, or None for plain files.
        ignore_errors: Whether rows with errors are skipped.
        encoding: Of the header.

    Raises:
        FileNotFoundError: no file matches.
        ValueError: the names of the columns are missing, differ between files or do not fit the other arguments.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp(), "data.csv")
        >>> _ = path.write_text("x,y\\n1,0.5\\n2,1.5\\n")
        >>> next(iter(make_csv_dataset(path, 2, label_name="y", num_epochs=1, shuffle=False)))
        ({'x': array([1, 2], dtype=int32)}, array([0.5, 1.5], dtype=float32))
    """
    owner = "make_csv_dataset"
    compression = check_compression(owner, compression_type)
    format = csv_format(owner, header, field_delim, use_quote_delim, na_value)
    files = match_files(file_pattern, owner)
    if column_names is None:
        if not header:
            raise ValueError(f"{owner}: column_names is needed where the files have no header.")
        column_names = _read_names(files, format, compression, encoding)
    names = list(column_names)
    if len(set(names)) < len(names):
        raise ValueError(f"{owner}: the names of the columns must differ, got {names}.")
    select = None if select_columns is None else sorted({_position(c, names) for c in select_columns})
    if select is not None:
        names = [names[i] for i in select]
    if label_name is not None and label_name not in names:
        raise ValueError(f"{owner}: label_name {label_name!r} is no column.{did_you_mean(label_name, names)}")
    if column_defaults is None:
        rows = itertools.islice(_first_rows(files, format, compression), num_rows_for_inference)
        column_defaults = infer_defaults(rows, len(column_names), select, na_value)
    if len(column_defaults) != len(names):
        raise ValueError(
            f"{owner}: column_defaults must hold {len(names)} defaults, one a column, got {len(column_defaults)}."
        )
    columns = [as_column(default, i) for i, default in enumerate(column_defaults)]
    read = functools.partial(_read_csv, columns, select, format, compression)
    signature = tuple(TensorSpec((), column.dtype) for column in columns)
    dataset = read_files(files, read, signature, shuffle, shuffle_seed, num_parallel_reads, sloppy)
    if ignore_errors:
        dataset = dataset.ignore_errors()
    dataset = shuffle_and_repeat(dataset, shuffle, shuffle_buffer_size, shuffle_seed, num_epochs)
    dataset = dataset.batch(batch_size, drop_remainder=num_epochs is None)
    named = functools.partial(_name_columns, names, label_name)
    dataset = dataset.map(named, output_signature=named(*dataset.element_spec))
    return dataset.prefetch(AUTOTUNE if prefetch_buffer_size is None else prefetch_buffer_size)


def _read_csv(columns: list[Column], select: Any, format: CsvFormat, compression: str, name: Any) -> Dataset:
    return Dataset(CsvRows([as_path(name, "make_csv_dataset")], columns, select, format, compression))


def _name_columns(names: list[str], label_name: str | None, *columns: Any) -> Any:
    features = dict(zip(names, columns, strict=True))
    return features if label_name is None else (features, features.pop(label_name))


def _position(column: str | int, names: list[str]) -> int:
    if isinstance(column, str):
        if column not in names:
            raise ValueError(f"make_csv_dataset: there is no column {column!r}.{did_you_mean(column, names)}")
        return names.index(column)
    place = check_int("make_csv_dataset", "select_columns", column, 0)
    if place >= len(names):
        raise ValueError(f"make_csv_dataset: select_columns must be below {len(names)}, got {place}.")
    return place


def _rows(file: str, format: CsvFormat, compression: str, encoding: str) -> Iterator[list[str]]:
    with open_stream(file, compression) as stream:
        yield from format.rows(line.decode(encoding) for line in stream)


def _read_names(files: list[str], format: CsvFormat, compression: str, encoding: str) -> list[str]:
    names: list[str] | None = None
    for file in files:
        found = next(_rows(file, format, compression, encoding), None)
        if found is None:
            raise ValueError(f"make_csv_dataset: '{file}' is empty, it has no header.")
        if names is not None and found != names:
            raise ValueError(
                f"make_csv_dataset: all files must have one header; '{files[0]}' has {names}, '{file}' {found}."
            )
        names = found
    return names or []


def _first_rows(files: list[str], format: CsvFormat, compression: str) -> Iterator[list[str]]:
    for file in files:
        yield from itertools.islice(_rows(file, format, compression, "latin-1"), int(format.header), None)


_INT32, _INT64 = np.iinfo(np.int32), np.iinfo(np.int64)
_NUMBERS = ("int32", "int64", "float32", "float64")


def infer_defaults(
    rows: Iterator[list[str]], count: int, select: Sequence[int] | None, na_value: str
) -> list[np.ndarray]:
    """For each column the narrowest dtype that fits its values, as an array of the value 0 or the empty string."""
    places = range(count) if select is None else select
    found: list[int | None] = [None] * len(places)
    for row in rows:
        row = row or [""]
        if len(row) != count:
            raise ValueError(f"make_csv_dataset: expected {count} fields in each row, got {len(row)}: {row[:6]}.")
        for i, place in enumerate(places):
            if row[place] not in ("", na_value):
                found[i] = _widen(row[place], found[i] or 0)
    return [np.zeros(1, _NUMBERS[k]) if k is not None and k < len(_NUMBERS) else np.array([b""], STRING) for k in found]


def _widen(text: str, kind: int) -> int:
    """The first of int32, int64, float32, float64 and string, from `kind` on, that can hold `text`."""
    while kind < len(_NUMBERS) and not _fits(text, _NUMBERS[kind]):
        kind += 1
    return kind


def _fits(text: str, dtype: str) -> bool:
    if "_" in text:
        return False
    try:
        if dtype.startswith("int"):
            bounds = _INT32 if dtype == "int32" else _INT64
            return bounds.min <= int(text) <= bounds.max
        value = float(text)
        return dtype == "float64" or not np.isfinite(value) or abs(value) <= float(np.finfo(np.float32).max)
    except ValueError:
        return False
