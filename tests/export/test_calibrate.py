"""Ranges of values over representative data, in all forms that `fit` takes data in."""

import numpy as np
import pytest

from lamina import ops
from lamina.datasets import Dataset
from lamina.export.calibrate import calibrate, feeds
from lamina.graph import trace

A, B = np.asarray([[1.0, -3.0]], "float32"), np.asarray([[5.0, 0.5]], "float32")


def one():
    return trace(lambda x: ops.relu(x) * 2.0, (None, 2), input_names=["x"])


def two():
    return trace(lambda a, b: a + b, (None, 2), (None, 2), input_names=["a", "b"])


def test_ranges_are_the_extremes_over_all_batches():
    graph = one()
    ranges = calibrate(graph, [A, B])
    assert ranges[graph.inputs[0]] == (-3.0, 5.0) and ranges[graph.outputs[0]] == (0.0, 10.0)
    assert calibrate(graph, [A, B], steps=1)[graph.outputs[0]] == (0.0, 2.0)


def test_datasets_of_pairs_are_taken():
    rows = np.arange(12, dtype="float32").reshape(6, 2)
    data = Dataset.from_tensor_slices((rows, np.zeros(6))).batch(4)
    graph = one()
    assert calibrate(graph, data)[graph.inputs[0]] == (0.0, 11.0)


@pytest.mark.parametrize(
    "element", [(A, B), [A, B], {"a": A, "b": B}, ({"a": A, "b": B}, 0), ((A, B), 0), (A[0], B[0])]
)
def test_several_inputs(element):
    got = feeds(two(), element)
    assert [x.tolist() for x in got] == [A.tolist(), B.tolist()]


@pytest.mark.parametrize(
    "element, message",
    [({"a": A}, "has no 'b', only"), ((A, B, A), "expected data for"), ((A[None], B), "has 2 axes")],
)
def test_data_that_does_not_fit_is_an_error(element, message):
    with pytest.raises(ValueError, match=message):
        feeds(two(), element)
