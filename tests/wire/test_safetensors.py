"""The safetensors format: every dtype, and headers that lie."""

import io
import json

import ml_dtypes
import numpy as np
import pytest

from lamina.wire.errors import FileFormatError
from lamina.wire.safetensors import _DTYPES, SafetensorsReader, write_safetensors

GOOD = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def write(path, header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def test_round_trip_of_all_dtypes(tmp_path):
    tensors = {name: np.arange(6).reshape(2, 3).astype(dtype) for name, dtype in _DTYPES.items()}
    tensors |= {"scalar": np.float32(3), "none": np.zeros((0, 4), "int8"), "späß": np.ones(1, ml_dtypes.bfloat16)}
    with open(tmp_path / "t", "wb") as file:
        write_safetensors(file, tensors, {"format": "x"})
    reader = SafetensorsReader(tmp_path / "t")
    assert reader.metadata == {"format": "x"} and set(reader.shapes) == set(tensors)
    for name, array in tensors.items():
        got = reader.get_tensor(name)
        assert got.dtype == np.asarray(array).dtype and got.shape == np.shape(array) and got.flags.writeable
        np.testing.assert_array_equal(got.astype("complex128"), np.asarray(array).astype("complex128"))


def test_the_bytes_of_the_specification():
    file = io.BytesIO()
    write_safetensors(file, {"a": np.array([1, 2], "<i2"), "b": np.array([0.5], "<f4")})
    header = (
        b'{"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"I16","shape":[2],"data_offsets":[4,8]}}'
    )
    padded = header + b" " * (-len(header) % 8)
    want = len(padded).to_bytes(8, "little") + padded + np.float32(0.5).tobytes() + bytes([1, 0, 2, 0])
    assert file.getvalue() == want


def test_objects_are_refused():
    with pytest.raises(TypeError, match="'a' has dtype object"):
        write_safetensors(io.BytesIO(), {"a": np.array(["x"], object)})


@pytest.mark.parametrize(
    "header, data, match",
    [
        ({"a": GOOD}, bytes(7), "take 8 bytes, but it holds 7"),
        ({"a": GOOD}, bytes(9), "take 8 bytes, but it holds 9"),
        ({"a": {**GOOD, "shape": [3]}}, bytes(8), "does not take bytes 0 to 8"),
        ({"a": {**GOOD, "shape": [-2]}}, bytes(8), "whole numbers"),
        ({"a": {**GOOD, "shape": [2.0]}}, bytes(8), "whole numbers"),
        ({"a": {**GOOD, "shape": [True, 2]}}, bytes(8), "whole numbers"),
        ({"a": {**GOOD, "shape": [2**62, 2**62, 0]}}, bytes(8), "does not take"),
        ({"a": {**GOOD, "shape": [1] * 65 + [2]}}, bytes(8), "66 dimensions"),
        ({"a": {**GOOD, "dtype": "F31"}}, bytes(8), "unknown dtype"),
        ({"a": {**GOOD, "data_offsets": [8, 0]}}, bytes(8), "does not take"),
        ({"a": {**GOOD, "data_offsets": [4, 12]}}, bytes(12), "starts at byte 4"),
        ({"a": GOOD, "b": GOOD}, bytes(8), "starts at byte 0"),
        ({"a": {"dtype": "F32"}}, b"", "must have dtype, shape and data_offsets"),
        ({"a": 3}, b"", "must have dtype"),
        ([1], b"", "not a dict"),
        ({"__metadata__": 3}, b"", "not a dict"),
        (b'{"a":{},"a":{}}', b"", "twice"),
        (b"{" * 50_000, b"", "no JSON"),
        (b"\xff", b"", "no JSON"),
    ],
)
def test_headers_that_lie(tmp_path, header, data, match):
    with pytest.raises(FileFormatError, match=match):
        SafetensorsReader(write(tmp_path / "t", header, data))


@pytest.mark.parametrize("length", [100, 2**40, 2**63, 2**64 - 1])
def test_lengths_that_lie(tmp_path, length):
    with pytest.raises(FileFormatError, match="header should have"):
        SafetensorsReader(write(tmp_path / "t", {"a": GOOD}, bytes(8), length))


def test_every_cut_is_found(tmp_path):
    with open(tmp_path / "t", "wb") as file:
        write_safetensors(file, {"a": np.ones((2, 3), "float32"), "b": np.ones(3, "int8")})
    whole = (tmp_path / "t").read_bytes()
    for size in range(len(whole)):
        (tmp_path / "t").write_bytes(whole[:size])
        with pytest.raises(FileFormatError):
            SafetensorsReader(tmp_path / "t")
