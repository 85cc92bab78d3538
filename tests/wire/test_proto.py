import numpy as np
import pytest

from lamina.wire import bundle, example, tensor
from lamina.wire.proto import declare


def test_example_has_the_bytes_that_tensorflow_writes():
    feature = example.Feature(int64_list=example.Int64List(value=[1, 2]))
    message = example.Example(features=example.Features(feature={"a": feature}))
    data = message.SerializeToString()
    assert data == b"\n\r\n\x0b\n\x01a\x12\x06\x1a\x04\n\x02\x01\x02"
    back = example.Example.FromString(data)
    assert back.features.feature["a"].WhichOneof("kind") == "int64_list"
    assert list(back.features.feature["a"].int64_list.value) == [1, 2]


def test_bundle_entry_bytes():
    entry = bundle.BundleEntryProto(dtype=1, shape=tensor.shape_proto((2, 3)), offset=5, size=24, crc32c=0x01020304)
    assert entry.SerializeToString() == bytes.fromhex("0801 1208 1202 0802 1202 0803 2005 2818 35 04030201")
    scalar = bundle.BundleEntryProto(dtype=9, shape=tensor.shape_proto(()))
    assert scalar.SerializeToString() == bytes.fromhex("0809 1200")


def test_every_dtype_has_one_number():
    assert len(tensor.NUMBERS) == len(tensor.DTYPES)
    assert tensor.NUMBERS[np.dtype("int64")] == 9


def test_declare_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match=r"a field, got 'int32 x = one;'"):
        declare("test_bad", "message Bad {\n int32 x = one;\n}")


def test_a_name_stands_for_one_set_of_messages():
    first = declare("test_twice", "message A {\n}")
    assert declare("test_twice", "message A {\n}") == first
    with pytest.raises(ValueError, match="Choose another name"):
        declare("test_twice", "message B {\n}")
