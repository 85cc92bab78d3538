"""TensorFlow's ops on records and hashes, as lamina reads them."""

from __future__ import annotations

import numpy as np
import pytest

import lamina
from lamina.core.fingerprint import fingerprint64
from lamina.wire.example import BytesList, Example, Feature, Features, Int64List
from lamina.wire.graph import GraphDef
from lamina.wire.nodes import Shape, node, string_tensor

TEXT, INT64 = np.dtype(object), np.dtype("int64")


def record(words, numbers=None):
    features = {"w": Feature(bytes_list=BytesList(value=words))}
    if numbers is not None:
        features["n"] = Feature(int64_list=Int64List(value=numbers))
    return Example(features=Features(feature=features)).SerializeToString()


RECORDS = string_tensor([record([b"a", b"b"], [1, 2]), record([]), record([b"c"], [3, 4])])


def parser(op):
    """A graph that parses words as sparse, and pairs of numbers as dense with a default."""
    graph = GraphDef()

    def constant(name, value):
        graph.node.append(node(name, "Const", dtype=value.dtype, value=value))
        return name

    graph.node.append(node("records", "Placeholder", dtype=TEXT, shape=Shape((None,))))
    words, numbers = string_tensor([b"w"]), string_tensor([b"n"])
    inputs = ["records", constant("names", string_tensor([]))]
    attrs = {"Tdense": [INT64], "dense_shapes": [Shape((2,))], "sparse_types": [TEXT]}
    if op == "ParseExample":
        inputs += [constant("sparse", words.reshape(())), constant("dense", numbers.reshape(()))]
        attrs |= {"Nsparse": 1, "Ndense": 1}
    else:
        inputs += [constant("sparse", words), constant("dense", numbers), constant("ragged", string_tensor([]))]
        attrs |= {"num_sparse": 1, "ragged_value_types": [], "ragged_split_types": []}
    graph.node.append(node("parsed", op, [*inputs, constant("default", np.array([7, 8]))], **attrs))
    return graph


@pytest.mark.parametrize("op", ["ParseExample", "ParseExampleV2"])
def test_records_are_parsed(op, tmp_path):
    path = tmp_path / "parser.pb"
    path.write_bytes(parser(op).SerializeToString())
    names = [f"parsed:{i}" for i in range(4)]
    loaded = lamina.load_frozen(path, inputs=["records"], outputs=names)
    indices, values, shape, dense = loaded(RECORDS)
    assert indices.tolist() == [[0, 0], [0, 1], [2, 0]]
    assert values.tolist() == [b"a", b"b", b"c"] and shape.tolist() == [3, 2]
    assert dense.tolist() == [[1, 2], [7, 8], [3, 4]]
    with pytest.raises(ValueError, match="feature 'n' of a record has 1 values, expected 2"):
        loaded(string_tensor([record([], [1])]))
    with pytest.raises(ValueError, match="no serialised Example"):
        loaded(string_tensor([b"\xff"]))


def test_text_is_hashed(tmp_path):
    graph = GraphDef()
    graph.node.append(node("x", "Placeholder", dtype=TEXT, shape=Shape((None,))))
    graph.node.append(node("y", "StringToHashBucketFast", ["x"], num_buckets=10))
    path = tmp_path / "hash.pb"
    path.write_bytes(graph.SerializeToString())
    words = ["teal", "red", "blüe"]
    found = lamina.load_frozen(path)(np.array(words))
    assert found.dtype == np.int64 and found.tolist() == (fingerprint64(words) % np.uint64(10)).tolist()
    assert found.tolist()[:2] == [8, 0]  # TensorFlow's
