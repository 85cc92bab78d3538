import gzip
import json

import numpy as np
import pytest

from lamina.datasets.csv_files import CsvDataset, make_csv_dataset
from lamina.wire.errors import DataLossError


def write(path, text):
    path.write_text(text)
    return str(path)


def resume_everywhere(dataset):
    iterator = iter(dataset)
    states, out = [iterator.get_state()], []
    for element in iterator:
        out.append(element)
        states.append(iterator.get_state())
    for i, state in enumerate(states):
        fresh = iter(dataset)
        fresh.set_state(json.loads(json.dumps(state)))
        np.testing.assert_equal(list(fresh), out[i:])
    return out


def errors_of(dataset):
    iterator, out = iter(dataset), []
    while True:
        try:
            next(iterator)
        except StopIteration:
            return out
        except DataLossError as error:
            out.append(str(error))


def test_rows_with_every_kind_of_field(tmp_path):
    text = 'i,f,s\n1,0.5,plain\n-2,1e3,"a, ""b"""\n3,inf,"two\nlines"\r\n4,-inf,ü'
    path = write(tmp_path / "x.csv", text)
    rows = resume_everywhere(CsvDataset([path, path], ["int64", "float32", "string"], header=True))
    assert len(rows) == 8
    assert [r[0] for r in rows[:4]] == [1, -2, 3, 4]
    assert [r[2] for r in rows[:4]] == [b"plain", b'a, "b"', b"two\nlines", "ü".encode()]
    assert rows[1][1] == 1000 and rows[2][1] == np.inf and rows[3][1] == -np.inf
    assert [type(v) for v in rows[0]] == [np.int64, np.float32, bytes]


def test_defaults_stand_for_missing_values(tmp_path):
    path = write(tmp_path / "x.csv", "1,,\n,2.5,NA\n")
    dataset = CsvDataset(path, [np.array([-9]), 0.25, "none"], na_value="NA")
    assert list(dataset) == [(1, 0.25, b"none"), (-9, 2.5, b"none")]
    assert [s.dtype for s in dataset.element_spec] == [np.int64, np.float32, object]


def test_an_empty_line_is_one_empty_field(tmp_path):
    path = write(tmp_path / "x.csv", "1\n\n3\n")
    assert list(CsvDataset(path, [9])) == [(1,), (9,), (3,)]
    path = write(tmp_path / "y.csv", "1,2\n\n3,4\n")
    assert "expected 2 fields, got 1" in errors_of(CsvDataset(path, [9, 9]))[0]


def test_a_file_without_its_header_is_refused(tmp_path):
    paths = [write(tmp_path / "empty.csv", ""), write(tmp_path / "x.csv", "a\n1\n")]
    dataset = CsvDataset(paths, ["int32"], header=True)
    assert "empty.csv' is empty, it has no header" in errors_of(dataset)[0]
    assert list(dataset.ignore_errors()) == [(1,)]


def test_columns_are_selected_or_left_out(tmp_path):
    path = write(tmp_path / "x.csv", "1,2,3,4\n5,6,7,8\n")
    assert list(CsvDataset(path, ["int32"] * 2, select_cols=[1, 3])) == [(2, 4), (6, 8)]
    assert list(CsvDataset(path, ["int32"] * 2, exclude_cols=[0, 2])) == [(2, 4), (6, 8)]


def test_delimiters_quotes_and_compression(tmp_path):
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b'1;"x\n2;y\n'))
    dataset = CsvDataset(str(path), ["int32", "string"], "GZIP", field_delim=";", use_quote_delim=False)
    assert resume_everywhere(dataset) == [(1, b'"x'), (2, b"y")]


def test_rows_that_do_not_fit_are_named_and_skipped(tmp_path):
    text = "a,b\n1,2\n3\n4,5,6\nx,7\n,8\n9,10\n1_0,1\n99999999999,1\n11,12\n"
    path = write(tmp_path / "x.csv", text)
    dataset = CsvDataset(path, ["int32", "int32"], header=True)
    errors = errors_of(dataset)
    for error, words in zip(
        errors,
        (
            "row 2 (from 1, without the header) at byte 8: expected 2 fields, got 1",
            "row 3 (from 1, without the header) at byte 10: expected 2 fields, got 3",
            "column 0 must be int32, got 'x'",
            "column 0 is required and has no value",
            "column 0 must be int32, got '1_0'",
            "column 0 must be int32, got '99999999999'",
        ),
        strict=True,
    ):
        assert f"'{path}', row" in error and words in error
    assert list(dataset.ignore_errors()) == [(1, 2), (9, 10), (11, 12)]
    with pytest.raises(DataLossError, match="column 3 was selected, the row has 2 fields"):
        list(CsvDataset(path, ["int32"], header=True, select_cols=[3]))


def test_broken_quotes_are_named(tmp_path):
    path = write(tmp_path / "x.csv", '1,"a"b\n2,c\n3,"open')
    got, iterator = [], iter(CsvDataset(path, ["int32", "string"]))
    with pytest.raises(DataLossError, match="row 1 .*at byte 0"):
        next(iterator)
    got.append(next(iterator))
    with pytest.raises(DataLossError, match="row 3 .*at byte 11"):
        next(iterator)
    assert got == [(2, b"c")] and list(iterator) == []


@pytest.mark.parametrize(
    "options, message",
    [
        ({"record_defaults": ["int32", np.int8]}, "must be 'int32'.*got 'int8'"),
        ({"record_defaults": [np.array([1, 2])]}, "must hold one value"),
        ({"record_defaults": ["int32"], "select_cols": [0, 1]}, "1 ascending positions"),
        ({"record_defaults": ["int32", "int32"], "select_cols": [1, 0]}, "ascending"),
        ({"record_defaults": ["int32"], "select_cols": [0], "exclude_cols": [1]}, "not both"),
        ({"record_defaults": ["int32"], "field_delim": "::"}, "one character"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CsvDataset("x.csv", **options)


TABLE = "id,price,city,big,mixed,none\n1,0.5,ember,5000000000,1,\n2,1e300,,3,x,\n3,,maple,4,2,\n"


def test_names_and_dtypes_are_inferred(tmp_path):
    path = write(tmp_path / "x.csv", TABLE)
    batch = next(iter(make_csv_dataset(path, 3, num_epochs=1, shuffle=False)))
    assert {k: v.dtype for k, v in batch.items()} == {
        "id": np.int32,
        "price": np.float64,
        "city": object,
        "big": np.int64,
        "mixed": object,
        "none": object,
    }
    assert batch["city"].tolist() == [b"ember", b"", b"maple"]
    assert batch["price"].tolist() == [0.5, 1e300, 0]


def test_labels_columns_and_epochs(tmp_path):
    path = write(tmp_path / "x.csv", TABLE)
    make = lambda **options: make_csv_dataset([path], 2, shuffle=False, **options)  # noqa: E731
    batches = list(make(num_epochs=1, label_name="id", select_columns=["id", 1]))
    assert [(sorted(x), y.tolist()) for x, y in batches] == [(["price"], [1, 2]), (["price"], [3])]
    endless = [x["id"].tolist() for x in make(select_columns=["id"]).take(3)]
    assert endless == [[1, 2], [3, 1], [2, 3]]
    shuffled = make_csv_dataset(path, 3, num_epochs=2, shuffle_seed=3, select_columns=["id"])
    assert sorted(np.concatenate([b["id"] for b in shuffled]).tolist()) == [1, 1, 2, 2, 3, 3]


def test_rows_with_errors_can_be_skipped(tmp_path):
    path = write(tmp_path / "x.csv", "a,b\n1,2\n3\n4,5\n")
    with pytest.raises(ValueError, match="expected 2 fields"):
        make_csv_dataset(path, 2, num_epochs=1)
    options = {"num_epochs": 1, "shuffle": False, "column_defaults": ["int32", "int32"]}
    with pytest.raises(DataLossError, match="row 2"):
        list(make_csv_dataset(path, 2, **options))
    assert next(iter(make_csv_dataset(path, 2, ignore_errors=True, **options)))["a"].tolist() == [1, 4]


def test_columns_that_do_not_fit_are_refused(tmp_path):
    first, second = write(tmp_path / "1.csv", "a,b\n1,2\n"), write(tmp_path / "2.csv", "a,c\n1,2\n")
    with pytest.raises(ValueError, match="all files must have one header"):
        make_csv_dataset([first, second], 2)
    with pytest.raises(ValueError, match="no column. Did you mean 'a'|is no column"):
        make_csv_dataset(first, 2, label_name="z")
    with pytest.raises(ValueError, match="there is no column 'z'"):
        make_csv_dataset(first, 2, select_columns=["z"])
    with pytest.raises(ValueError, match="column_names is needed"):
        make_csv_dataset(first, 2, header=False)
    with pytest.raises(ValueError, match="2 defaults"):
        make_csv_dataset(first, 2, column_defaults=["int32"])
    with pytest.raises(ValueError, match="is empty"):
        make_csv_dataset(write(tmp_path / "3.csv", ""), 2)


def test_shuffled_batches_are_resumed_at_every_position(tmp_path):
    for i in range(3):
        write(tmp_path / f"{i}.csv", "a,b\n" + "".join(f"{10 * i + k},{k}\n" for k in range(5)))
    pattern = str(tmp_path / "*.csv")
    for options in ({"shuffle_seed": 1}, {"shuffle": False, "num_parallel_reads": 2}, {"shuffle_buffer_size": 3}):
        batches = resume_everywhere(make_csv_dataset(pattern, 4, num_epochs=2, **options))
        assert sorted(np.concatenate([b["a"] for b in batches]).tolist()) == sorted(
            [10 * i + k for i in range(3) for k in range(5)] * 2
        )
