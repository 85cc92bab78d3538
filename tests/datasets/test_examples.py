import numpy as np
import pytest

from lamina.datasets.examples import (
    FixedLenFeature,
    FixedLenSequenceFeature,
    VarLenFeature,
    parse_example,
    parse_single_example,
    parse_single_sequence_example,
)
from lamina.wire.errors import DataLossError
from lamina.wire.example import Example, SequenceExample


def example(**features):
    message = Example()
    for key, values in features.items():
        feature = message.features.feature[key]
        if isinstance(values[0], bytes):
            feature.bytes_list.value.extend(values)
        elif isinstance(values[0], float):
            feature.float_list.value.extend(values)
        else:
            feature.int64_list.value.extend(values)
    return message.SerializeToString()


RECORDS = np.array(
    [
        example(id=[1], x=[0.5, 1.5], tags=[7], word=[b"a"]),
        example(id=[2], x=[2.5, 3.5], tags=[8, 9], word=[b"bc", b"d"]),
    ],
    object,
)
FEATURES = {
    "id": FixedLenFeature([], "int64"),
    "x": FixedLenFeature([2], np.float32),
    "tags": VarLenFeature("int64"),
    "word": VarLenFeature("string"),
}


def test_a_single_example():
    got = parse_single_example(RECORDS[1], FEATURES)
    assert got["id"] == 2 and got["id"].dtype == np.int64 and got["id"].shape == ()
    np.testing.assert_array_equal(got["x"], np.array([2.5, 3.5], np.float32))
    assert got["tags"].tolist() == [8, 9] and got["word"].tolist() == [b"bc", b"d"]
    word = parse_single_example(RECORDS[0], {"word": FixedLenFeature([], "string")})["word"]
    assert word == b"a" and isinstance(word, bytes)


def test_a_batch_is_padded():
    got = parse_example(RECORDS, FEATURES)
    assert got["id"].tolist() == [1, 2]
    assert got["x"].shape == (2, 2) and got["x"].dtype == np.float32
    assert got["tags"].tolist() == [[7, 0], [8, 9]]
    assert got["word"].tolist() == [[b"a", b""], [b"bc", b"d"]]
    assert parse_example(np.empty(0, object), FEATURES)["x"].shape == (0, 2)


def test_sequences_have_parts_of_one_shape():
    records = np.array([example(s=[1, 2, 3, 4]), example(s=[5, 6]), example(other=[1])], object)
    features = {"s": FixedLenSequenceFeature([2], "int64", allow_missing=True, default_value=-1)}
    assert parse_example(records, features)["s"].tolist() == [
        [[1, 2], [3, 4]],
        [[5, 6], [-1, -1]],
        [[-1, -1], [-1, -1]],
    ]
    assert parse_single_example(records[0], features)["s"].shape == (2, 2)


def test_many_values_are_read_exactly():
    values = np.random.default_rng(0).normal(size=(3, 1000)).astype(np.float32)
    numbers = np.arange(3000).reshape(3, 1000) - 1500
    records = [example(x=x.tolist(), n=n.tolist(), w=[b"w"] * 40) for x, n in zip(values, numbers, strict=True)]
    features = {
        "x": FixedLenFeature([10, 100], "float32"),
        "n": FixedLenFeature([1000], "int64"),
        "w": FixedLenFeature([40], "string"),
    }
    got = parse_example(np.array(records, object), features)
    np.testing.assert_array_equal(got["x"], values.reshape(3, 10, 100))
    np.testing.assert_array_equal(got["n"], numbers)
    assert got["w"].shape == (3, 40) and got["w"][2, 39] == b"w"
    np.testing.assert_array_equal(parse_single_example(records[1], {"x": VarLenFeature("float32")})["x"], values[1])


def test_defaults_stand_for_what_is_missing():
    features = {
        "a": FixedLenFeature([], "int64", 7),
        "b": FixedLenFeature([2], "float32", [1.0, 2.0]),
        "c": FixedLenFeature([2], "int64", 3),
        "d": FixedLenFeature([], "string", "none"),
    }
    got = parse_single_example(RECORDS[0], features)
    assert (got["a"], got["b"].tolist(), got["c"].tolist(), got["d"]) == (7, [1, 2], [3, 3], b"none")
    assert parse_example(RECORDS, features)["b"].tolist() == [[1, 2], [1, 2]]


@pytest.mark.parametrize(
    "features, message",
    [
        ({"none": FixedLenFeature([], "int64")}, r"the feature 'none' \(int64\) is required, example 0 lacks it"),
        ({"id": FixedLenFeature([], "float32")}, "'id' must be float32, example 0 holds int64"),
        ({"x": FixedLenFeature([3], "float32")}, "'x' must hold 3 values .* holds 2"),
        ({"x": FixedLenFeature([None], "float32")}, "the shape of 'x' must be known"),
        ({"x": FixedLenFeature([], "float64")}, "the dtype of 'x' must be"),
        ({"x": FixedLenSequenceFeature([], "float32")}, "needs allow_missing=True"),
        ({"x": FixedLenSequenceFeature([3], "float32", True)}, "parts of 3 values"),
        ({"x": FixedLenFeature([2], "float32", [1.0, 2.0, 3.0])}, "default_value of 'x' must have shape"),
    ],
)
def test_errors_name_feature_and_example(features, message):
    with pytest.raises(ValueError, match=message):
        parse_example(RECORDS, features)


def test_other_kinds_of_features_are_refused():
    with pytest.raises(TypeError, match="the feature 'x' must be 'FixedLenFeature'"):
        parse_example(RECORDS, {"x": "float32"})


def test_bytes_that_are_no_example_are_refused():
    with pytest.raises(DataLossError, match="example 1 .*is no serialised Example"):
        parse_example(np.array([RECORDS[0], b"\xff\xff\xff"], object), FEATURES)
    with pytest.raises(TypeError, match="byte strings"):
        parse_example(np.array(["text"], object), FEATURES)


def test_a_sequence_example():
    message = SequenceExample()
    message.context.feature["length"].int64_list.value.append(2)
    for words in ([b"a", b"b"], [b"c"]):
        message.feature_lists.feature_list["words"].feature.add().bytes_list.value.extend(words)
    for values in ([1.0, 2.0], [3.0, 4.0]):
        message.feature_lists.feature_list["x"].feature.add().float_list.value.extend(values)
    context, sequences = parse_single_sequence_example(
        message.SerializeToString(),
        {"length": FixedLenFeature([], "int64")},
        {"words": VarLenFeature("string"), "x": FixedLenSequenceFeature([2], "float32")},
    )
    assert context["length"] == 2
    assert sequences["words"].tolist() == [[b"a", b"b"], [b"c", b""]]
    assert sequences["x"].tolist() == [[1, 2], [3, 4]]
    with pytest.raises(ValueError, match="'none' is required"):
        parse_single_sequence_example(
            message.SerializeToString(), None, {"none": FixedLenSequenceFeature([], "float32")}
        )
