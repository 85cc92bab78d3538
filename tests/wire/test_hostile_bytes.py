"""Readers of files meet arbitrary and damaged bytes: they give values or a DataLossError, and nothing else."""

import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.checkpoint import load_checkpoint, write_checkpoint
from lamina.datasets.audio import decode_wav
from lamina.datasets.examples import FixedLenFeature, VarLenFeature, parse_example
from lamina.wire.errors import DataLossError
from lamina.wire.table import read_table, write_table
from lamina.wire.tfrecord import RecordReader, encode_record
from lamina.wire.varint import decode_varint, encode_varint

RECORDS = [b"", b"one", b"x" * 300, b"last"]
RECORD_FILE = b"".join(map(encode_record, RECORDS))
TABLE = write_table([(f"key{i:03d}".encode(), b"v" * i) for i in range(40)], block_bytes=200)


def damaged(whole):
    """`whole` with some bytes replaced, a piece cut out or doubled."""
    places = st.integers(0, len(whole))
    replaced = st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), min_size=1, max_size=4)
    cut = st.tuples(places, places).map(lambda ab: whole[: min(ab)] + whole[max(ab) :])
    doubled = st.tuples(places, places).map(lambda ab: whole[: max(ab)] + whole[min(ab) :])
    return st.one_of(replaced.map(lambda edits: _edit(whole, edits)), cut, doubled, st.binary(max_size=80))


def _edit(whole, edits):
    out = bytearray(whole)
    for place, value in edits:
        out[place] = value
    return bytes(out)


@settings(max_examples=200, deadline=None)
@given(damaged(RECORD_FILE), st.sampled_from([5, 64, 1 << 18]))
def test_record_files(data, chunk_bytes):
    reader = RecordReader(io.BytesIO(data), "x", chunk_bytes=chunk_bytes)
    for _ in range(20):
        try:
            assert next(reader) in RECORDS  # a changed record never passes its checksum
        except StopIteration:
            break
        except DataLossError as error:
            assert "'x': record" in str(error)
    else:
        raise AssertionError("the reader does not end")


@settings(max_examples=200, deadline=None)
@given(damaged(TABLE))
def test_tables(data):
    try:
        table = read_table(data, "x")
    except DataLossError:
        return
    assert data == TABLE and len(table) == 40


@given(st.integers(0, 2**64 - 1), st.binary(max_size=12))
def test_varints(value, data):
    assert decode_varint(encode_varint(value) + data, 0)[0] == value
    try:
        value, end = decode_varint(data, 0)
    except DataLossError:
        return
    assert encode_varint(value) == data[:end]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_examples(data):
    features = {"a": FixedLenFeature([], "int64", 0), "b": VarLenFeature("float32")}
    try:
        parse_example(np.array([data], object), features)
    except DataLossError:
        pass


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80), st.booleans())
def test_sounds(data, with_head):
    head = b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"
    try:
        decode_wav(head + data if with_head else data, "x")
    except DataLossError:
        pass


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_checkpoints(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("checkpoint")
    tensors = {"a": np.arange(5.0), "s": np.array([b"x", b"yy"], object)}
    write_checkpoint(folder / "m", tensors)
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        path.write_bytes(data.draw(damaged(whole)))
        for name, value in tensors.items():
            try:
                got = load_checkpoint(folder / "m").get_tensor(name)
            except DataLossError:
                continue
            np.testing.assert_array_equal(got, value)
        path.write_bytes(whole)
