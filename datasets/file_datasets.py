"""Datasets over the records of files: text lines, TFRecords (and their writer), fixed-length records, SQL rows."""

from __future__ import annotations

import functools
import os
import zlib
from collections.abc import Sequence
from typing import Any, BinaryIO

from lamina.core.checks import check_choice, check_int
from lamina.core.errors import describe
from lamina.datasets.dataset import Dataset
from lamina.datasets.examples import features_spec, parse_example
from lamina.datasets.files import as_path, as_paths, check_compression, match_files, open_file
from lamina.datasets.nodes.base import Node
from lamina.datasets.nodes.readers import FixedLengthRecords, TextLines, TFRecords
from lamina.datasets.nodes.sql import SqlRows
from lamina.datasets.spec import AUTOTUNE, STRING, TensorSpec, as_dtype
from lamina.wire.tfrecord import encode_record


def files_node(owner: str, make: Any, filenames: Any, num_parallel_reads: int | None) -> Node:
    """`make(files)` for names or a dataset of names; with parallel reads, the files' records one by one in turn."""
    files = filenames._node if isinstance(filenames, Dataset) else as_paths(filenames, owner)
    if num_parallel_reads is None:
        return make(files)
    names = filenames if isinstance(filenames, Dataset) else Dataset.from_tensor_slices(files)
    cycle = None if num_parallel_reads == AUTOTUNE else check_int(owner, "num_parallel_reads", num_parallel_reads, 1)
    read = functools.partial(_read_one, owner, make)
    return names.interleave(
        read,
        cycle_length=cycle,
        block_length=1,
        num_parallel_calls=num_parallel_reads,
        output_signature=make([]).element_spec,
    )._node


def _read_one(owner: str, make: Any, name: Any) -> Dataset:
    return Dataset(make([as_path(name, owner)]))


class TextLineDataset(Dataset):
    """The lines of text files as byte strings, without line breaks (`\\n` or `\\r\\n`).

    Args:
        filenames: A file name, a list of them or a Dataset of them; addresses such as `gs://` need fsspec.
        compression_type: `"GZIP"`, `"ZLIB"`, or None for plain files.
        buffer_size: Bytes read at a time; None for the default.
        num_parallel_reads: How many files are read in turn, a line from each; None reads one after the other.
        name: A name for messages.

    Raises:
        FileNotFoundError: while reading, there is no such file.
        DataLossError: while reading, a compressed file is damaged.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp(), "lines.txt")
        >>> _ = path.write_text("one\\ntwo\\n")
        >>> list(TextLineDataset(path))
        [b'one', b'two']
    """

    def __init__(
        self,
        filenames: Any,
        compression_type: str | None = None,
        buffer_size: int | None = None,
        num_parallel_reads: int | None = None,
        name: str | None = None,
    ) -> None:
        compression = check_compression("TextLineDataset", compression_type)
        make = functools.partial(TextLines, compression=compression, chunk_bytes=buffer_size, name=name)
        super().__init__(files_node("TextLineDataset", make, filenames, num_parallel_reads))


class TFRecordDataset(Dataset):
    """The records of TFRecord files as byte strings; every checksum is verified.

    Args:
        filenames: A file name, a list of them or a Dataset of them; addresses such as `gs://` need fsspec.
        compression_type: `"GZIP"`, `"ZLIB"`, or None for plain files.
        buffer_size: Bytes read at a time; None for the default.
        num_parallel_reads: How many files are read in turn, a record from each; None reads one after the other.
        name: A name for messages.

    Raises:
        FileNotFoundError: while reading, there is no such file.
        DataLossError: while reading, a record is cut short or damaged; the message names file, record and offset.

    Example:
        >>> import tempfile, os
        >>> path = os.path.join(tempfile.mkdtemp(), "data.tfrecord")
        >>> with TFRecordWriter(path) as writer:
        ...     writer.write(b"one")
        >>> list(TFRecordDataset(path))
        [b'one']
    """

    def __init__(
        self,
        filenames: Any,
        compression_type: str | None = None,
        buffer_size: int | None = None,
        num_parallel_reads: int | None = None,
        name: str | None = None,
    ) -> None:
        compression = check_compression("TFRecordDataset", compression_type)
        make = functools.partial(TFRecords, compression=compression, chunk_bytes=buffer_size, name=name)
        super().__init__(files_node("TFRecordDataset", make, filenames, num_parallel_reads))


class FixedLengthRecordDataset(Dataset):
    """The records of files in which all have one length, as byte strings.

    Args:
        filenames: A file name, a list of them or a Dataset of them; addresses such as `gs://` need fsspec.
        record_bytes: The length of a record.
        header_bytes: How many bytes to leave out at the start of each file.
        footer_bytes: How many bytes to leave out at its end.
        buffer_size: Bytes read at a time; None for the default.
        compression_type: `"GZIP"`, `"ZLIB"`, or None for plain files.
        num_parallel_reads: How many files are read in turn, a record from each; None reads one after the other.
        name: A name for messages.

    Raises:
        FileNotFoundError: while reading, there is no such file.
        DataLossError: while reading, a file holds no whole number of records.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp(), "data.bin")
        >>> _ = path.write_bytes(b"abcdef")
        >>> list(FixedLengthRecordDataset(path, 3))
        [b'abc', b'def']
    """

    def __init__(
        self,
        filenames: Any,
        record_bytes: int,
        header_bytes: int | None = None,
        footer_bytes: int | None = None,
        buffer_size: int | None = None,
        compression_type: str | None = None,
        num_parallel_reads: int | None = None,
        name: str | None = None,
    ) -> None:
        owner = "FixedLengthRecordDataset"
        make = functools.partial(
            FixedLengthRecords,
            record_bytes=check_int(owner, "record_bytes", record_bytes, 1),
            header_bytes=check_int(owner, "header_bytes", header_bytes or 0, 0),
            footer_bytes=check_int(owner, "footer_bytes", footer_bytes or 0, 0),
            compression=check_compression(owner, compression_type),
            chunk_bytes=buffer_size,
            name=name,
        )
        super().__init__(files_node(owner, make, filenames, num_parallel_reads))


class SqlDataset(Dataset):
    """The rows of a query to an SQLite database, as tuples of scalars.

    Args:
        driver_name: `"sqlite"`.
        data_source_name: The file of the database.
        query: The query; give it an `ORDER BY`, or the order may change between two runs.
        output_types: The dtype of each column.
        name: A name for messages.

    Raises:
        FileNotFoundError: while reading, there is no such database.

    Example:
        >>> import sqlite3, tempfile, os
        >>> path = os.path.join(tempfile.mkdtemp(), "data.db")
        >>> connection = sqlite3.connect(path)
        >>> _ = connection.executescript("create table t (a int, b text); insert into t values (1, 'x')")
        >>> connection.close()
        >>> list(SqlDataset("sqlite", path, "select a, b from t", ("int32", "string")))
        [(np.int32(1), b'x')]
    """

    def __init__(
        self, driver_name: str, data_source_name: Any, query: str, output_types: Sequence[Any], name: str | None = None
    ) -> None:
        check_choice("SqlDataset", "driver_name", driver_name, ["sqlite"])
        if not isinstance(output_types, (tuple, list)):
            raise TypeError(
                f"SqlDataset: output_types must be a tuple with a dtype a column, got {describe(output_types)}."
            )
        dtypes = [as_dtype(dtype) for dtype in output_types]
        super().__init__(SqlRows(as_path(data_source_name, "SqlDataset"), query, dtypes, name))


class TFRecordOptions:
    """How a `TFRecordWriter` compresses.

    Args:
        compression_type: `"GZIP"`, `"ZLIB"`, or None for plain files.
        flush_mode: Accepted for compatibility; `flush()` always makes all records readable.
        input_buffer_size: Accepted for compatibility.
        output_buffer_size: Accepted for compatibility.
        window_bits: 8 to 15: the size of the window, as a power of two; None for 15.
        compression_level: 0 (none) to 9 (smallest); None for zlib's choice.
        compression_method: Accepted for compatibility; there is one.
        mem_level: 1 to 9: how much memory zlib may use; None for 8.
        compression_strategy: zlib's strategy; None for its default.
    """

    def __init__(
        self,
        compression_type: str | None = None,
        flush_mode: int | None = None,
        input_buffer_size: int | None = None,
        output_buffer_size: int | None = None,
        window_bits: int | None = None,
        compression_level: int | None = None,
        compression_method: int | None = None,
        mem_level: int | None = None,
        compression_strategy: int | None = None,
    ) -> None:
        self.compression_type = check_compression("TFRecordOptions", compression_type)
        self.window_bits = 15 if window_bits is None else check_int("TFRecordOptions", "window_bits", window_bits, 8)
        self.compression_level = zlib.Z_DEFAULT_COMPRESSION if compression_level is None else compression_level
        self.mem_level = zlib.DEF_MEM_LEVEL if mem_level is None else mem_level
        self.compression_strategy = zlib.Z_DEFAULT_STRATEGY if compression_strategy is None else compression_strategy

    def compressor(self) -> Any:
        """A zlib compressor, or None if files stay plain."""
        if not self.compression_type:
            return None
        bits = self.window_bits + (16 if self.compression_type == "GZIP" else 0)
        strategy = self.compression_strategy
        return zlib.compressobj(self.compression_level, zlib.DEFLATED, bits, self.mem_level, strategy)


class TFRecordWriter:
    """Writes a TFRecord file.

    Args:
        path: The file; it is written anew.
        options: A `TFRecordOptions`, or its compression_type.

    Example:
        >>> import tempfile, os
        >>> path = os.path.join(tempfile.mkdtemp(), "data.tfrecord.gz")
        >>> with TFRecordWriter(path, "GZIP") as writer:
        ...     for record in (b"one", b"two"):
        ...         writer.write(record)
        >>> list(TFRecordDataset(path, "GZIP"))
        [b'one', b'two']
    """

    def __init__(self, path: str | bytes | os.PathLike, options: TFRecordOptions | str | None = None) -> None:
        options = options if isinstance(options, TFRecordOptions) else TFRecordOptions(options)
        self._compressor = options.compressor()
        self._file: BinaryIO | None = open_file(as_path(path, "TFRecordWriter"), "wb")

    def write(self, record: bytes) -> None:
        """Append one record.

        Raises:
            TypeError: `record` is no byte string (serialise an Example with `SerializeToString()`).
            ValueError: the file is closed.
        """
        if self._file is None:
            raise ValueError("TFRecordWriter: the file is closed.")
        if not isinstance(record, bytes):
            raise TypeError(f"TFRecordWriter: a record must be bytes, got {describe(record)}.")
        data = encode_record(record)
        self._file.write(data if self._compressor is None else self._compressor.compress(data))

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        if self._file is not None:
            if self._compressor is not None:
                self._file.write(self._compressor.flush(zlib.Z_SYNC_FLUSH))
            self._file.flush()

    def close(self) -> None:
        """End the file; calling it twice is harmless."""
        file, self._file = self._file, None
        if file is not None:
            with file:
                if self._compressor is not None:
                    file.write(self._compressor.flush())

    def __enter__(self) -> TFRecordWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def make_batched_features_dataset(
    file_pattern: Any,
    batch_size: int,
    features: Any,
    reader: Any = None,
    label_key: str | None = None,
    reader_args: Sequence[Any] | None = None,
    num_epochs: int | None = None,
    shuffle: bool = True,
    shuffle_buffer_size: int = 10000,
    shuffle_seed: int | None = None,
    prefetch_buffer_size: int | None = None,
    reader_num_threads: int | None = None,
    parser_num_threads: int | None = None,
    sloppy_ordering: bool = False,
    drop_final_batch: bool = False,
) -> Dataset:
    """Batches of features from files of serialised `Example`s.

    Args:
        file_pattern: A file name or pattern (`*`, `?`, `[a-z]`), or a list of them.
        batch_size: Examples in a batch.
        features: What to read, as for `parse_example`.
        reader: Makes the dataset of one file's records; None for `TFRecordDataset`.
        label_key: The feature that becomes the label: elements are `(features, label)` then.
        reader_args: Further arguments for `reader`.
        num_epochs: How often the files are read; None for endlessly (all batches are full then).
        shuffle: Whether files and examples are shuffled.
        shuffle_buffer_size: The size of the buffer of examples they are drawn from.
        shuffle_seed: The seed of both.
        prefetch_buffer_size: Batches made ahead; None for AUTOTUNE.
        reader_num_threads: How many files are read in turn; None for 1.
        parser_num_threads: How many batches are parsed at once; None for 2.
        sloppy_ordering: Whether files may be read in another order where that is faster.
        drop_final_batch: Whether a last batch that is not full is left out.

    Raises:
        FileNotFoundError: no file matches.
        ValueError: `label_key` is not among the features.
    """
    owner = "make_batched_features_dataset"
    if label_key is not None and label_key not in features:
        raise ValueError(
            f"{owner}: label_key {label_key!r} is not among the features ({', '.join(map(repr, features))})."
        )
    read = functools.partial(_read_with, reader or TFRecordDataset, tuple(reader_args or ()))
    names, record = match_files(file_pattern, owner), TensorSpec((), STRING)
    files = read_files(names, read, record, shuffle, shuffle_seed, reader_num_threads, sloppy_ordering)
    dataset = shuffle_and_repeat(files, shuffle, shuffle_buffer_size, shuffle_seed, num_epochs)
    full = drop_final_batch or num_epochs is None
    dataset = dataset.batch(batch_size, drop_remainder=full)
    dataset = dataset.map(
        functools.partial(_parse_batch, features, label_key),
        num_parallel_calls=2 if parser_num_threads is None else parser_num_threads,
        output_signature=_with_label(features_spec(features, batch_size if full else None), label_key),
    )
    return dataset.prefetch(AUTOTUNE if prefetch_buffer_size is None else prefetch_buffer_size)


def _read_with(reader: Any, arguments: tuple, name: Any) -> Dataset:
    return reader(name, *arguments)


def _parse_batch(features: Any, label_key: str | None, serialized: Any) -> Any:
    return _with_label(parse_example(serialized, features), label_key)


def _with_label(features: dict[str, Any], label_key: str | None) -> Any:
    return features if label_key is None else (features, features.pop(label_key))


def read_files(
    names: Sequence[str],
    read: Any,
    signature: Any,
    shuffle: bool,
    seed: int | None,
    parallel: int | None,
    sloppy: bool,
) -> Dataset:
    """The datasets that `read` makes of files, `parallel` of them in turn, the files shuffled if asked."""
    files = Dataset.from_tensor_slices(list(names))
    if shuffle:
        files = files.shuffle(len(names), seed=seed)
    if parallel is None:
        return files.interleave(read, cycle_length=1, output_signature=signature)
    return files.interleave(
        read,
        cycle_length=None if parallel == AUTOTUNE else parallel,
        num_parallel_calls=parallel,
        deterministic=not sloppy,
        output_signature=signature,
    )


def shuffle_and_repeat(
    dataset: Dataset, shuffle: bool, buffer_size: int, seed: int | None, epochs: int | None
) -> Dataset:
    """`dataset`, each epoch in another order if asked, `epochs` times (None: endlessly)."""
    if shuffle:
        dataset = dataset.shuffle(buffer_size, seed=seed)
    return dataset if epochs == 1 else dataset.repeat(epochs)
