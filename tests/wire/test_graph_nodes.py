"""Tensors and attributes of graphs, in all the forms in which files hold them."""

import ml_dtypes
import numpy as np
import pytest

from lamina.wire.nodes import Function, Shape, attr_value, node, tensor_proto, tensor_value
from lamina.wire.tensor import TensorProto


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "uint16", "int64", "bool", "complex64", "float16"])
def test_arrays_round_trip(dtype):
    array = (np.arange(6).reshape(2, 3) - 2).astype(dtype)
    out = tensor_value(tensor_proto(array))
    assert out.dtype == array.dtype and np.array_equal(out, array)


def test_bfloat16_strings_and_scalars_round_trip():
    array = np.array([1.5, -2], ml_dtypes.bfloat16)
    assert np.array_equal(tensor_value(tensor_proto(array)), array)
    assert tensor_value(tensor_proto(b"ab")).item() == b"ab"
    assert tensor_value(tensor_proto(np.array(["x", "yy"]))).tolist() == [b"x", b"yy"]
    assert tensor_value(tensor_proto(np.float32(3))).shape == ()


def test_the_last_listed_value_fills_the_rest():
    proto = tensor_proto(np.zeros((2, 2), "float32"))
    proto.tensor_content = b""
    assert tensor_value(proto).tolist() == [[0, 0], [0, 0]]
    proto.float_val.extend([1.0, 2.0])
    assert tensor_value(proto).tolist() == [[1, 2], [2, 2]]


def test_half_is_stored_as_bits():
    proto = TensorProto(dtype=19, half_val=[0x3C00])
    assert tensor_value(proto).item() == 1.0


def test_damaged_tensors_are_refused():
    proto = tensor_proto(np.zeros((2, 2), "float32"))
    proto.tensor_content = b"123"
    with pytest.raises(ValueError, match="3 bytes, expected 16"):
        tensor_value(proto)
    with pytest.raises(ValueError, match="dtype number 99"):
        tensor_value(TensorProto(dtype=99))
    huge = TensorProto(dtype=1, float_val=[1.0])
    for _ in range(4):
        huge.tensor_shape.dim.add(size=1 << 40)
    with pytest.raises(ValueError, match="no array can have"):
        tensor_value(huge)


def test_attributes_keep_their_kind():
    made = node(
        "n", "Op", ["a", "^b"], flag=True, count=3, rate=0.5, word="w", T=np.dtype("int32"), shape=Shape((None, 2)),
        sizes=[1, 2], kinds=[np.dtype("float32")], shapes=[Shape(()), Shape((3,))], body=Function("f"), none=[],
    )  # fmt: skip
    kinds = {key: value.WhichOneof("value") for key, value in made.attr.items()}
    assert kinds == {
        "flag": "b", "count": "i", "rate": "f", "word": "s", "T": "type", "shape": "shape", "sizes": "list",
        "kinds": "list", "shapes": "list", "body": "func", "none": "list",
    }  # fmt: skip
    assert [d.size for d in made.attr["shape"].shape.dim] == [-1, 2]
    assert list(made.attr["kinds"].list.type) == [1]
    with pytest.raises(TypeError, match="cannot be"):
        attr_value(object())
