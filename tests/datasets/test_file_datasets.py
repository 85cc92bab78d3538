import gzip
import json
import sqlite3
import zlib
from pathlib import Path

import numpy as np
import pytest

from lamina.datasets.dataset import Dataset
from lamina.datasets.examples import FixedLenFeature
from lamina.datasets.file_datasets import (
    FixedLengthRecordDataset,
    SqlDataset,
    TextLineDataset,
    TFRecordDataset,
    TFRecordOptions,
    TFRecordWriter,
    make_batched_features_dataset,
)
from lamina.wire.errors import DataLossError
from lamina.wire.example import Example

COMPRESS = {None: bytes, "GZIP": gzip.compress, "ZLIB": zlib.compress}


def resume_everywhere(dataset):
    """The elements; checked to be the same from each position on, in an iterator that starts from saved state."""
    iterator = iter(dataset)
    states, out = [iterator.get_state()], []
    for element in iterator:
        out.append(element)
        states.append(iterator.get_state())
    for i, state in enumerate(states):
        fresh = iter(dataset)
        fresh.set_state(json.loads(json.dumps(state)))
        assert list(fresh) == out[i:], i
    return out


def errors_and_elements(dataset):
    iterator, out = iter(dataset), []
    while True:
        try:
            out.append(next(iterator))
        except StopIteration:
            return out
        except DataLossError as error:
            out.append(str(error))


@pytest.mark.parametrize("kind", COMPRESS)
def test_lines(tmp_path, kind):
    texts = [b"one\r\ntwo\n\nlast", b"", "na\u00efve\n".encode()]
    paths = []
    for i, text in enumerate(texts):
        paths.append(str(tmp_path / f"{i}.txt"))
        (tmp_path / f"{i}.txt").write_bytes(COMPRESS[kind](text))
    want = [b"one", b"two", b"", b"last", "na\u00efve".encode()]
    assert resume_everywhere(TextLineDataset(paths, kind)) == want
    assert resume_everywhere(TextLineDataset(Dataset.from_tensor_slices(paths), kind)) == want
    assert list(TextLineDataset(tmp_path / "0.txt", kind, buffer_size=2)) == want[:4]


@pytest.mark.parametrize("kind", COMPRESS)
def test_tfrecords_written_here_are_read_here(tmp_path, kind):
    records = [b"", b"one", bytes(range(256)) * 40, b"last"]
    paths = [str(tmp_path / f"{i}.tfrecord") for i in range(2)]
    for path in paths:
        with TFRecordWriter(path, kind) as writer:
            for record in records:
                writer.write(record)
    assert resume_everywhere(TFRecordDataset(paths, kind)) == records * 2
    in_turn = TFRecordDataset(paths, kind, num_parallel_reads=2)
    assert resume_everywhere(in_turn) == [r for record in records for r in (record, record)]


def test_a_writer_can_be_flushed_and_refuses_text_and_further_records(tmp_path):
    path = tmp_path / "x.tfrecord"
    writer = TFRecordWriter(path, TFRecordOptions("GZIP", compression_level=9))
    writer.write(b"one")
    writer.flush()
    assert next(iter(TFRecordDataset(path, "GZIP"))) == b"one"
    with pytest.raises(TypeError, match="must be bytes"):
        writer.write("two")
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"three")
    assert list(TFRecordDataset(path, "GZIP")) == [b"one"]


def test_a_better_compression_is_smaller(tmp_path):
    sizes = []
    for level in (0, 9):
        with TFRecordWriter(tmp_path / "x", TFRecordOptions("ZLIB", compression_level=level)) as writer:
            writer.write(bytes(10_000))
        sizes.append((tmp_path / "x").stat().st_size)
    assert sizes[1] < sizes[0] / 50


def write_records(path, records=(b"one", b"two", b"three")):
    with TFRecordWriter(path) as writer:
        for record in records:
            writer.write(record)
    return path


def test_damage_is_named_and_the_rest_is_read(tmp_path):
    paths = [write_records(tmp_path / f"{i}.tfrecord") for i in range(2)]
    whole = paths[0].read_bytes()
    flipped = bytearray(whole)
    flipped[19 + 13] ^= 4
    paths[0].write_bytes(flipped)
    got = errors_and_elements(TFRecordDataset(paths))
    assert f"'{paths[0]}': record 1 at byte 19" in got[1]
    assert got[:1] + got[2:] == [b"one", b"three", b"one", b"two", b"three"]
    flipped = bytearray(whole)
    flipped[19] ^= 4
    paths[0].write_bytes(flipped)
    got = errors_and_elements(TFRecordDataset(paths))
    assert got[:1] + got[2:] == [b"one", b"one", b"two", b"three"]
    paths[0].write_bytes(whole[:-1])
    assert "1 bytes too early" in errors_and_elements(TFRecordDataset(paths))[2]
    assert list(TFRecordDataset(paths).ignore_errors()) == [b"one", b"two", b"one", b"two", b"three"]


@pytest.mark.parametrize(
    "make", [TextLineDataset, TFRecordDataset, lambda f, k: FixedLengthRecordDataset(f, 3, compression_type=k)]
)
@pytest.mark.parametrize("kind", ["GZIP", "ZLIB"])
def test_damaged_compression_is_named(tmp_path, make, kind):
    path = tmp_path / "x"
    write_records(path, [b"abc\ndefgh"] * 999)
    whole = COMPRESS[kind](path.read_bytes()[: 999 * 24])
    for bad in (whole[: len(whole) // 2], whole[:-3], b"no stream", b""):
        path.write_bytes(bad)
        if bad == b"" and kind == "GZIP":  # gzip reads an empty file as no members at all
            continue
        with pytest.raises(DataLossError, match=str(path)):
            list(make(str(path), kind))
        assert len(list(make(str(path), kind).ignore_errors())) < 9990


def test_records_of_one_length(tmp_path):
    for i, body in enumerate((b"abcdef", b"", b"ghi")):
        (tmp_path / str(i)).write_bytes(b"HEAD" + body + b"FT")
    paths = [str(tmp_path / str(i)) for i in range(3)]
    dataset = FixedLengthRecordDataset(paths, 3, header_bytes=4, footer_bytes=2)
    assert resume_everywhere(dataset) == [b"abc", b"def", b"ghi"]
    for path in paths:
        Path(path).write_bytes(gzip.compress(Path(path).read_bytes()))
    dataset = FixedLengthRecordDataset(paths, 3, 4, 2, buffer_size=1, compression_type="GZIP")
    assert resume_everywhere(dataset) == [b"abc", b"def", b"ghi"]


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_file_that_is_no_whole_number_of_records(tmp_path, kind):
    path = tmp_path / "x"
    path.write_bytes(COMPRESS[kind](b"abcdefg"))
    with pytest.raises(DataLossError, match="has 7 bytes; expected .*record_bytes=3"):
        list(FixedLengthRecordDataset(path, 3, compression_type=kind))
    path.write_bytes(COMPRESS[kind](b"ab"))
    with pytest.raises(DataLossError, match="has 2 bytes|has 4 bytes"):
        list(FixedLengthRecordDataset(path, 3, header_bytes=4, compression_type=kind))


def test_missing_files_are_named_and_can_be_skipped(tmp_path):
    there = write_records(tmp_path / "there")
    dataset = TFRecordDataset([str(tmp_path / "gone"), str(there)])
    with pytest.raises(FileNotFoundError, match="gone"):
        list(dataset)
    assert list(dataset.ignore_errors()) == [b"one", b"two", b"three"]


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="Did you mean 'GZIP'"):
        TFRecordDataset("x", "gzip")
    with pytest.raises(TypeError, match="file name must be a string"):
        TextLineDataset([1])
    with pytest.raises(ValueError, match="record_bytes"):
        FixedLengthRecordDataset("x", 0)
    with pytest.raises(ValueError, match="num_parallel_reads"):
        TextLineDataset("x", num_parallel_reads=0)


def test_addresses_need_fsspec(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(ImportError, match="install fsspec"):
        list(TextLineDataset("memory://x.txt"))


def test_addresses_are_opened_by_fsspec():
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://folder/x.txt", "wb") as file:
        file.write(b"one\ntwo")
    with TFRecordWriter("memory://folder/x.tfrecord") as writer:
        writer.write(b"record")
    assert list(TextLineDataset("memory://folder/x.txt")) == [b"one", b"two"]
    assert list(TFRecordDataset(Dataset.list_files("memory://folder/*.tfrecord"))) == [b"record"]


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "data.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "create table people (name text, age int, height real);"
            "insert into people values ('Ann', 31, 1.5), ('Bob', 52, 1.75), ('Cy', 23, null);"
        )
    connection.close()
    return path


def test_rows_of_a_query(database):
    query = "select name, age, height from people where height is not null order by age"
    dataset = SqlDataset("sqlite", database, query, ("string", "int64", "float32"))
    rows = resume_everywhere(dataset)
    assert rows == [(b"Ann", 31, 1.5), (b"Bob", 52, 1.75)]
    assert [type(v) for v in rows[0]] == [bytes, np.int64, np.float32]
    assert [s.shape for s in dataset.element_spec] == [(), (), ()]


def test_queries_that_do_not_fit_are_refused(database):
    with pytest.raises(TypeError, match="column 1 of row 2 must be float32, got None"):
        list(SqlDataset("sqlite", database, "select name, height from people", ("string", "float32")))
    with pytest.raises(ValueError, match="names 1 columns, the query gives 2"):
        list(SqlDataset("sqlite", database, "select name, age from people", ("string",)))
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        list(SqlDataset("sqlite", database, "select * from nowhere", ("string",)))
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        list(SqlDataset("sqlite", database, "delete from people returning name", ("string",)))
    with pytest.raises(FileNotFoundError, match="no database"):
        list(SqlDataset("sqlite", database.with_name("gone.db"), "select 1", ("int32",)))
    with pytest.raises(ValueError, match="driver_name must be 'sqlite'"):
        SqlDataset("postgres", database, "select 1", ("int32",))


@pytest.fixture
def example_files(tmp_path):
    for i in range(2):
        with TFRecordWriter(tmp_path / f"{i}.tfrecord") as writer:
            for k in range(3):
                example = Example()
                example.features.feature["id"].int64_list.value.append(3 * i + k)
                example.features.feature["y"].float_list.value.append(k / 2)
                writer.write(example.SerializeToString())
    return tmp_path


def test_batches_of_features(example_files):
    features = {"id": FixedLenFeature([], "int64"), "y": FixedLenFeature([], "float32")}
    make = lambda **options: make_batched_features_dataset(  # noqa: E731
        str(example_files / "*.tfrecord"), 4, features, label_key="y", **options
    )
    batches = list(make(num_epochs=1, shuffle=False))
    assert [x["id"].tolist() for x, _ in batches] == [[0, 1, 2, 3], [4, 5]]
    assert batches[0][1].tolist() == [0, 0.5, 1, 0]
    assert [len(y) for _, y in make(num_epochs=1, drop_final_batch=True)] == [4]
    seen = np.concatenate([x["id"] for x, _ in make(shuffle_seed=1).take(3)])
    assert sorted(seen.tolist()) == sorted(list(range(6)) * 2)
    in_turn = next(iter(make(num_epochs=1, shuffle=False, reader_num_threads=2)))
    assert in_turn[0]["id"].tolist() == [0, 3, 1, 4]
    with pytest.raises(ValueError, match="label_key 'z'"):
        make_batched_features_dataset(str(example_files / "*"), 4, features, label_key="z")
    with pytest.raises(FileNotFoundError, match="no file matches"):
        make_batched_features_dataset(str(example_files / "*.gone"), 4, features)
