"""Helpers around models and data."""

import numpy as np
import pytest

from lamina import Input, layers, utils
from lamina.datasets import Dataset


@pytest.mark.parametrize(
    "x, classes, want",
    [
        ([0, 2, 1], None, np.eye(3)[[0, 2, 1]]),
        ([[1], [0]], 3, np.eye(3)[[1, 0]]),
        ([[0, 1], [1, 1]], 2, np.eye(2)[[[0, 1], [1, 1]]]),
        (np.array([1.0, 0.0]), None, np.eye(2)[[1, 0]]),
        (np.array([], "int32"), 2, np.zeros((0, 2))),
    ],
)
def test_to_categorical(x, classes, want):
    got = utils.to_categorical(x, classes)
    assert got.dtype == "float64"
    np.testing.assert_array_equal(got, want)


def test_to_categorical_errors():
    with pytest.raises(ValueError, match="from 0 to 1 for num_classes=2, got 0 to 3"):
        utils.to_categorical([0, 3], 2)
    with pytest.raises(ValueError, match="got -1 to 1"):
        utils.to_categorical([-1, 1])
    with pytest.raises(ValueError, match="whole class numbers"):
        utils.to_categorical([0.5])
    with pytest.raises(ValueError, match="num_classes= must be given"):
        utils.to_categorical([])


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_normalize(axis, order):
    x = np.random.default_rng(0).normal(size=(3, 4))
    x[0] = 0
    got = utils.normalize(x, axis, order)
    lengths = (np.abs(got) ** order).sum(axis) ** (1 / order)
    zero = (x == 0).all(axis)
    np.testing.assert_allclose(lengths[~zero], 1)
    assert (lengths[zero] == 0).all()


def test_pad_sequences():
    rows = [[1, 2, 3], [4], []]
    pad = utils.pad_sequences
    assert pad(rows).tolist() == [[1, 2, 3], [0, 0, 4], [0, 0, 0]]
    assert pad(rows, padding="post", value=9).tolist() == [[1, 2, 3], [4, 9, 9], [9, 9, 9]]
    assert pad(rows, maxlen=2).tolist() == [[2, 3], [0, 4], [0, 0]]
    assert pad(rows, maxlen=2, truncating="post").tolist() == [[1, 2], [0, 4], [0, 0]]
    assert pad(rows, maxlen=0).shape == (3, 0)
    vectors = pad([np.ones((2, 3)), np.ones((1, 3))], dtype="float32")
    assert vectors.shape == (2, 2, 3) and vectors[1, 0].sum() == 0
    assert pad([["a"], ["b", "c"]], dtype=object, value="-").tolist() == [["-", "a"], ["b", "c"]]


def test_pad_sequences_errors():
    with pytest.raises(ValueError, match="padding must be 'pre' or 'post', got 'before'"):
        utils.pad_sequences([[1]], padding="before")
    with pytest.raises(ValueError, match=r"sequences\[1\] must be a sequence, got 3"):
        utils.pad_sequences([[1], 3])
    with pytest.raises(ValueError, match=r"sequences\[1\] has items of shape \(2,\), others of \(3,\)"):
        utils.pad_sequences([np.ones((1, 3)), np.ones((1, 2))])
    with pytest.raises(ValueError, match="value '-' is text, so dtype must be object"):
        utils.pad_sequences([[1]], value="-")


def numbers(dataset):
    return [int(x) for x in dataset]


@pytest.mark.parametrize("sizes", [{"left_size": 0.7}, {"left_size": 7}, {"right_size": 3}, {"right_size": 0.3}])
def test_split_dataset(sizes):
    for data in (np.arange(10), Dataset.range(10)):
        left, right = utils.split_dataset(data, **sizes)
        assert numbers(left) == list(range(7)) and numbers(right) == [7, 8, 9]


def test_split_dataset_shuffled_parts_share_nothing():
    left, right = utils.split_dataset(np.arange(20), left_size=0.5, shuffle=True)
    first = numbers(left)
    assert sorted(first + numbers(right)) == list(range(20)) and first != sorted(first)
    assert numbers(left) == first  # the same parts in every epoch
    assert numbers(utils.split_dataset(np.arange(20), 5, shuffle=True, seed=3)[0]) == numbers(
        utils.split_dataset(np.arange(20), 5, shuffle=True, seed=3)[0]
    )


def test_split_dataset_of_pairs():
    left, right = utils.split_dataset((np.arange(4), np.arange(4) * 10), 3)
    assert [(int(x), int(y)) for x, y in right] == [(3, 30)] and len(left) == 3


def test_split_dataset_errors():
    with pytest.raises(ValueError, match="left_size= or right_size="):
        utils.split_dataset(np.arange(4))
    with pytest.raises(ValueError, match="between 0 and 1, got 1.5"):
        utils.split_dataset(np.arange(4), 1.5)
    with pytest.raises(ValueError, match="parts of 4 and 0"):
        utils.split_dataset(np.arange(4), 4)
    with pytest.raises(ValueError, match="known length"):
        utils.split_dataset(Dataset.range(3).repeat(), 2)
    with pytest.raises(TypeError, match="must be a Dataset, or arrays"):
        utils.split_dataset("text", 0.5)


def test_progbar(capsys):
    bar = utils.Progbar(4, verbose=2, stateful_metrics=["rate"])
    bar.update(1, [("loss", 4.0), ("rate", 0.5)])
    bar.add(1, [("loss", 2.0), ("rate", 0.25)])
    assert bar.means == {"loss": 3.0, "rate": 0.25}
    bar.update(4, [("loss", 0.0)])  # two steps at once
    assert bar.means["loss"] == 1.5
    assert capsys.readouterr().out == "4/4 steps  loss=1.5000  rate=0.2500\n"
    shown = utils.Progbar(2)
    shown.update(2, [("loss", 1.0)])
    assert "loss=1.0000" in capsys.readouterr().out


def test_get_source_inputs():
    x, y = Input((4,), name="x"), Input((4,), name="y")
    h = layers.Dense(4)(x)
    assert utils.get_source_inputs(h + y * 2.0 + x) == [x, y]
    assert utils.get_source_inputs(x) == [x]


def test_batches_pack_and_unpack():
    for batch in ((1,), (1, 2), (1, 2, 3)):
        assert utils.unpack_x_y_sample_weight(batch) == (*batch, *[None] * (3 - len(batch)))
    assert utils.pack_x_y_sample_weight(1) == 1
    assert utils.pack_x_y_sample_weight([1]) == ([1],)
    assert utils.pack_x_y_sample_weight(1, 2, 3) == (1, 2, 3)


def test_custom_objects():
    @utils.register_keras_serializable("here", "twice_here")
    def double(x):
        return 2 * x

    try:
        assert utils.get_registered_name(double) == "here>twice_here"
        assert utils.get_registered_object("here>twice_here") is double
        assert utils.get_registered_object("twice_here") is double
        assert utils.get_custom_objects()["here>twice_here"] is double
    finally:
        del utils.get_custom_objects()["here>twice_here"]
    assert utils.get_registered_object("here>twice_here") is None
    with utils.CustomObjectScope({"thing": double}):
        assert utils.get_registered_object("thing") is double
    assert utils.get_registered_object("thing") is None
    assert utils.deserialize_keras_object("thing", custom_objects={"thing": double}) is double
    with pytest.raises(TypeError, match="'custom_object'. Did you mean 'custom_objects'"):
        utils.deserialize_keras_object({}, custom_object={})
