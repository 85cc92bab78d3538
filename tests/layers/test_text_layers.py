"""Layers on strings, and look-up and hashing of integers. Expected numbers are those of Keras 3 on TensorFlow."""

import math
from collections import Counter

import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.core.config import deserialize_object, serialize_object
from lamina.core.errors import ShapeError
from lamina.datasets import Dataset

TEXTS = ["The cat sat.", "A dog; the DOG!"]
NEW = np.array(["the dog sat", "zebra cat"])


def adapted(**kwargs):
    layer = layers.TextVectorization(**kwargs)
    layer.adapt(TEXTS)
    return layer


def twin_of(layer):
    return deserialize_object(serialize_object(layer))


# ---- hashing


def test_hashing_of_strings_and_integers():
    assert layers.Hashing(5)([["A"], ["B"], ["C"], ["hello"]]).tolist() == [[4], [3], [2], [1]]
    assert layers.Hashing(7)(np.array([[1], [25], [300]])).tolist() == [[5], [0], [3]]


def test_hashing_with_salt():
    salted = layers.Hashing(5, salt=133)
    assert salted([["A"], ["B"], ["C"]]).tolist() == [[4], [3], [2]]
    words = [f"w{i}" for i in range(200)]
    assert (salted(words) != layers.Hashing(5, salt=(133, 134))(words)).any()
    assert salted.get_config()["salt"] == [133, 133]


def test_hashing_keeps_a_bin_for_the_mask():
    layer = layers.Hashing(4, mask_value="")
    assert layer([["A"], [""], ["B"]]).tolist() == [[2], [0], [1]]
    assert layer(np.array([b"", b"A"])).tolist() == [0, 2]
    assert layer(np.array([b"", b"A"], object)).tolist() == [0, 2]
    assert layers.Hashing(4, mask_value=7)([7, 7]).tolist() == [0, 0]


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
def test_hashing_to_vectors(mode):
    words = [["A", "B", "B"]]
    bins = Counter(layers.Hashing(4)(words)[0].tolist())
    got = layers.Hashing(4, output_mode=mode)(words)
    if mode == "one_hot":
        assert got.shape == (1, 3, 4) and (got.argmax(-1) == layers.Hashing(4)(words)).all()
    else:
        want = [bins[i] if mode == "count" else min(bins[i], 1) for i in range(4)]
        assert got.tolist() == [want]
    assert got.dtype == np.float32


def test_hashed_crossing():
    layer = layers.HashedCrossing(5)
    letters, numbers = ["A", "B", "A", "C"], np.array([101, 102, 103, 101])
    assert layer((letters, numbers)).tolist() == [1, 1, 4, 2]
    column = (np.array(letters)[:, None], numbers[:, None])
    assert layer(column).tolist() == [[1], [1], [4], [2]]
    assert layers.HashedCrossing(6, output_mode="one_hot")((["A", "B"], [1, 2])).argmax(-1).tolist() == [5, 4]
    assert layers.HashedCrossing(6, output_mode="one_hot")(column).shape == (4, 6)


def test_integers_are_hashed_within_a_compiled_model():
    model = lamina.Sequential([lamina.Input((1,), dtype="int32"), layers.Hashing(7)])
    assert model.predict(np.array([[1], [25], [300]]), verbose=0).tolist() == [[5], [0], [3]]


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: layers.Hashing(0), ValueError, "num_bins"),
        (lambda: layers.Hashing(3, salt=(1, 2, 3)), ValueError, "salt"),
        (lambda: layers.Hashing(3, output_mode="hot"), ValueError, "output_mode"),
        (lambda: layers.Hashing(3, sparse=True), ValueError, "dense"),
        (lambda: layers.Hashing(3, dtype="float32"), ValueError, "int32"),
        (lambda: layers.Hashing(3)([["a"], ["b", "c"]]), ValueError, "one length"),
        (lambda: layers.HashedCrossing(3)(["a"]), ValueError, "at least two"),
        (lambda: layers.HashedCrossing(3)((["a"], ["b", "c"])), ShapeError, "one shape"),
        (lambda: layers.HashedCrossing(3)((["a"], [1.5])), TypeError, "strings or integers"),
        (lambda: layers.HashedCrossing(3)(([["a", "b"]], [[1, 2]])), ShapeError, "batch"),
    ],
)
def test_wrong_hashing(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ---- look-up


def test_lookup_of_strings_in_all_forms():
    layer = layers.StringLookup(vocabulary=["a", "b", "c"])
    words = [["a", "b", "zz"], ["c", "a", "b"]]
    for given in (words, np.array(words), np.array(words, "S"), np.array(words, object)):
        assert layer(given).tolist() == [[1, 2, 0], [3, 1, 2]]
    assert layer(words).dtype == np.int64
    assert layer("b").shape == () and int(layer("b")) == 2
    assert layer(np.zeros((0, 2), "U1")).shape == (0, 2)


def test_masks_and_unknown_tokens():
    layer = layers.StringLookup(vocabulary=["a", "b"], mask_token="")
    assert layer([["a", ""], ["q", "b"]]).tolist() == [[2, 0], [1, 3]]
    assert layer.get_vocabulary() == ["", "[UNK]", "a", "b"]
    assert layer.get_vocabulary(include_special_tokens=False) == ["a", "b"]
    counted = layers.StringLookup(vocabulary=["a", "b"], mask_token="", output_mode="count")
    assert counted([["a", "", "", "x"]]).tolist() == [[1, 1, 0]]
    assert counted.get_vocabulary() == ["[UNK]", "a", "b"]
    without = layers.StringLookup(vocabulary=["a", "b", "c"], num_oov_indices=0)
    assert without([["a", "c"]]).tolist() == [[0, 2]]
    with pytest.raises(ValueError, match="num_oov_indices=0.*'q'"):
        without(["a", "q"])


def test_several_indices_for_unknown_tokens():
    integers = layers.IntegerLookup(vocabulary=[12, 36, 42], num_oov_indices=2)
    assert integers([[12, 36, 7], [42, 12, 99]]).tolist() == [[2, 3, 1], [4, 2, 1]]
    words = [f"w{i}" for i in range(40)]
    strings = layers.StringLookup(vocabulary=["a"], num_oov_indices=3)
    assert np.array_equal(strings(words), layers.Hashing(3)(words))
    salted = layers.StringLookup(vocabulary=["a"], num_oov_indices=3, salt=5)
    assert np.array_equal(salted(words), layers.Hashing(3, salt=5)(words))
    farm = layers.IntegerLookup(vocabulary=[-5], num_oov_indices=3, oov_method="farmhash")
    assert np.array_equal(farm(np.arange(40)), layers.Hashing(3)(np.arange(40)))


def test_invert():
    layer = layers.StringLookup(vocabulary=["a", "b", "c"], invert=True)
    assert layer([[1, 3], [0, 99]]).tolist() == [["a", "c"], ["[UNK]", "[UNK]"]]
    assert layers.IntegerLookup(vocabulary=[12, 36], invert=True)([[1, 2, 0]]).tolist() == [[12, 36, -1]]


@pytest.mark.parametrize(
    "mode, want",
    [
        ("one_hot", [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]),
        ("multi_hot", [1, 1, 0, 1]),
        ("count", [1, 1, 0, 1]),
    ],
)
def test_vectors_of_tokens(mode, want):
    got = layers.StringLookup(vocabulary=["a", "b", "c"], output_mode=mode)(["a", "q", "c"])
    assert got.tolist() == want
    padded = layers.StringLookup(vocabulary=["a"], output_mode="count", max_tokens=4, pad_to_max_tokens=True)
    assert padded([["a", "a"]]).tolist() == [[0, 2, 0, 0]]


def test_adapt_ranks_tokens_by_count_and_name():
    layer = layers.StringLookup()
    layer.adapt([["x", "y", "x"], ["z", "x", "y"]])
    assert layer.get_vocabulary() == ["[UNK]", "x", "y", "z"]
    layer.adapt(np.array(["p", "q"]))  # forgets the first
    assert layer.get_vocabulary() == ["[UNK]", "q", "p"]
    small = layers.StringLookup(max_tokens=2)
    small.adapt(Dataset.from_tensor_slices(np.array(["a", "b", "b"])).batch(2))
    assert small.get_vocabulary() == ["[UNK]", "b"]
    one = layers.IntegerLookup()
    one.adapt(Dataset.from_tensor_slices([3, 3, 1]), steps=2)
    assert one.get_vocabulary() == [-1, 3]


def test_tf_idf_is_the_formula():
    layer = layers.StringLookup(output_mode="tf_idf")
    layer.adapt([["x", "y", "x"], ["z", "x", "y"]])
    weight = {"x": math.log(1 + 2 / 3), "y": math.log(1 + 2 / 3), "z": math.log(1 + 2 / 2)}
    mean = sum(weight.values()) / 3
    np.testing.assert_allclose(
        layer([["x", "y"], ["w", "z"]]), [[0, weight["x"], weight["y"], 0], [mean, 0, 0, weight["z"]]]
    )
    given = layers.StringLookup(vocabulary=["a", "b"], idf_weights=[0.5, 1.5], output_mode="tf_idf")
    np.testing.assert_allclose(given([["a", "a", "q"]]), [[1.0, 1.0, 0.0]])


def test_integer_lookup_within_a_compiled_model():
    keys = np.array([[5, 0, 2], [9, 1, 7]], "int32")
    for kwargs in ({}, {"mask_token": 0}, {"output_mode": "count", "mask_token": 0}, {"num_oov_indices": 3}):
        layer = layers.IntegerLookup(vocabulary=[9, 5, 7], **kwargs)
        model = lamina.Sequential([lamina.Input((3,), dtype="int32"), layer])
        assert model.predict(keys, verbose=0).tolist() == layer(keys).tolist()


def test_vocabulary_file(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("red\ngreen\n")
    layer = layers.StringLookup(vocabulary=str(path))
    assert layer(["green", "x"]).tolist() == [2, 0]
    (tmp_path / "numbers.txt").write_text("4\n2\n")
    assert layers.IntegerLookup(vocabulary=tmp_path / "numbers.txt")([2]).tolist() == [2]


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: layers.StringLookup(vocabulary=["a", "a"]), ValueError, "once.*'a'"),
        (lambda: layers.StringLookup(vocabulary=[]), ValueError, "at least one token"),
        (lambda: layers.StringLookup(vocabulary=[1]), TypeError, "IntegerLookup"),
        (lambda: layers.IntegerLookup(vocabulary=["a"]), ValueError, "StringLookup"),
        (lambda: layers.StringLookup(vocabulary=["a", ""], mask_token=""), ValueError, "mask_token"),
        (lambda: layers.StringLookup(vocabulary=["a", "b"], max_tokens=2), ValueError, "max_tokens"),
        (lambda: layers.StringLookup(max_tokens=1), ValueError, "max_tokens"),
        (lambda: layers.StringLookup(pad_to_max_tokens=True), ValueError, "needs max_tokens"),
        (lambda: layers.StringLookup(invert=True, output_mode="count"), ValueError, "invert"),
        (lambda: layers.StringLookup(output_mode="hot"), ValueError, "output_mode"),
        (lambda: layers.StringLookup(sparse=True), ValueError, "dense"),
        (lambda: layers.StringLookup(vocabulary=["a"], output_mode="tf_idf"), ValueError, "idf_weights"),
        (lambda: layers.StringLookup(idf_weights=[1.0]), ValueError, "tf_idf"),
        (lambda: layers.StringLookup(vocabulary="/no/such/file"), FileNotFoundError, "no vocabulary file"),
        (lambda: layers.StringLookup()(["a"]), RuntimeError, "no vocabulary yet.*adapt"),
        (lambda: layers.StringLookup(vocabulary=["a"]).adapt(["b"]), ValueError, "nothing to adapt"),
        (lambda: layers.StringLookup(vocabulary=["a"])([1]), TypeError, "expected strings"),
        (lambda: layers.IntegerLookup(vocabulary=[1])(["a"]), TypeError, "expected integers"),
        (lambda: layers.StringLookup(vocabulary=["a"])([["a"], ["b", "c"]]), ValueError, "one length"),
        (lambda: layers.IntegerLookup(oov_method="md5"), ValueError, "farmhash"),
    ],
)
def test_wrong_lookup(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_the_width_of_vectors_cannot_change_after_use():
    layer = layers.StringLookup(vocabulary=["a"], output_mode="count")
    layer.set_vocabulary(["a", "b"])
    layer(["a"])
    with pytest.raises(RuntimeError, match="pad_to_max_tokens"):
        layer.set_vocabulary(["a"])
    layer.set_vocabulary(["c", "d"])
    assert layer(["d"]).tolist() == [0, 0, 1]


# ---- text


def test_text_to_indices():
    layer = adapted()
    assert layer.get_vocabulary() == ["", "[UNK]", "the", "dog", "sat", "cat", "a"]
    assert layer(NEW).tolist() == [[2, 3, 4], [1, 5, 0]]
    assert layer(NEW[:, None]).tolist() == layer(NEW).tolist()
    assert layer("the cat").tolist() == [2, 5]
    assert layer(["", "a"]).tolist() == [[0], [6]]
    assert adapted(max_tokens=4, output_sequence_length=5)(NEW).tolist() == [[2, 3, 1, 0, 0], [1, 1, 0, 0, 0]]
    assert adapted(output_sequence_length=1)(NEW).tolist() == [[2], [1]]


def test_bags_of_words():
    assert layers.TextVectorization(vocabulary=["cat", "dog", "the"], output_mode="multi_hot")(NEW).tolist() == [
        [1, 0, 1, 1],
        [1, 1, 0, 0],
    ]
    ngrams = layers.TextVectorization(ngrams=(1, 3), output_mode="count")
    ngrams.adapt(["the dog sat", "dog sat the"])
    assert ngrams.get_vocabulary() == ["[UNK]", "the", "sat", "dog", "the dog sat", "dog sat the"]
    assert ngrams(["the dog sat"]).tolist() == [[0, 1, 1, 1, 1, 0]]
    tf_idf = adapted(output_mode="tf_idf")
    np.testing.assert_allclose(tf_idf(NEW)[1], [0.6566828, 0, 0, 0, 0.6931472, 0], rtol=1e-6)


def test_ngrams():
    assert adapted(ngrams=2)(NEW).tolist() == [[2, 3, 6, 4, 1], [1, 9, 1, 0, 0]]


@pytest.mark.parametrize(
    "kwargs, text, tokens",
    [
        ({"standardize": "lower"}, "The DOG; sat.", ["the", "dog;", "sat."]),
        ({"standardize": "strip_punctuation"}, "The (DOG)!", ["The", "DOG"]),
        ({"standardize": None, "split": "character"}, "abü", ["a", "b", "ü"]),
        ({"standardize": lambda x: np.char.upper(x.astype(str)), "split": None}, "a b", ["A B"]),
        ({"split": lambda x: [t.split("-") for t in x], "standardize": None}, "a-b", ["a", "b"]),
        ({}, "ÄB\u00a0c\td ", ["Äb\u00a0c", "d"]),  # only ASCII is lowered and split at
    ],
)
def test_standardize_and_split(kwargs, text, tokens):
    layer = layers.TextVectorization(output_mode="count", **kwargs)
    layer.adapt([text])
    assert sorted(layer.get_vocabulary()[1:]) == sorted(tokens)


def test_in_a_dataset():
    layer = adapted(output_sequence_length=3)
    single = Dataset.from_tensor_slices(NEW).map(layer).batch(2)
    batched = Dataset.from_tensor_slices(NEW).batch(2).map(layer)
    assert next(iter(single)).tolist() == next(iter(batched)).tolist() == [[2, 3, 4], [1, 5, 0]]
    layer.adapt(Dataset.from_tensor_slices(np.array(["x y", "x"])).batch(1))
    assert layer.get_vocabulary() == ["", "[UNK]", "x", "y"]


def text_model(text, functional):
    rest = [layers.Embedding(9, 4, mask_zero=True), layers.GlobalAveragePooling1D(), layers.Dense(1)]
    if not functional:
        return lamina.Sequential([text, *rest])
    x = inputs = lamina.Input((), dtype="string")
    for layer in (text, *rest):
        x = layer(x)
    return lamina.Model(inputs, x)


@pytest.mark.parametrize("functional", [True, False])
def test_first_in_a_model(functional):
    text = adapted(output_sequence_length=4)
    model = text_model(text, functional)
    ids = text(NEW)
    want = model.layers[-1](model.layers[-2](model.layers[-3](ids), mask=ids != 0))
    np.testing.assert_allclose(model(NEW), want, rtol=1e-6)
    assert text_model(text, True).output_shape == (None, 1)


def test_strings_in_a_compiled_step_are_refused_with_the_cure():
    model = text_model(adapted(), False)
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match="x: expected numbers, got text"):
        model.fit(NEW, np.ones((2, 1)), verbose=0)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: layers.TextVectorization(ragged=True), ValueError, "ragged must be False"),
        (lambda: layers.TextVectorization(sparse=True), ValueError, "sparse must be False"),
        (lambda: layers.TextVectorization(standardize="upper"), ValueError, "standardize"),
        (lambda: layers.TextVectorization(split="words"), ValueError, "split"),
        (lambda: layers.TextVectorization(ngrams="2"), TypeError, "ngrams"),
        (lambda: layers.TextVectorization(output_mode="count", output_sequence_length=3), ValueError, "'int'"),
        (lambda: layers.TextVectorization()(["a"]), RuntimeError, "adapt"),
        (lambda: adapted()([1, 2]), TypeError, "expected strings"),
        (lambda: adapted()([["a", "b"]]), ShapeError, "split=None"),
        (lambda: layers.TextVectorization(vocabulary=["a"]).adapt(["b"]), ValueError, "nothing to adapt"),
    ],
)
def test_wrong_text(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ---- saving


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.StringLookup(vocabulary=["a", "b"], mask_token=""),
        lambda: layers.IntegerLookup(vocabulary=[4, 2], output_mode="count"),
        lambda: layers.TextVectorization(vocabulary=["a", "b"], ngrams=(1, 2)),
        lambda: layers.StringLookup(vocabulary=["a"], idf_weights=[0.5], output_mode="tf_idf"),
    ],
)
def test_a_given_vocabulary_is_in_the_config(make):
    layer = make()
    twin = twin_of(layer)
    assert twin.get_config() == layer.get_config()
    assert twin.get_vocabulary() == layer.get_vocabulary()


@pytest.mark.parametrize("mode", ["int", "tf_idf"])
def test_a_learned_vocabulary_is_an_asset(mode, tmp_path):
    layer = adapted(output_mode=mode)
    store = {}
    layer.save_own_variables(store)
    layer.save_assets(str(tmp_path))
    assert (tmp_path / "vocabulary.txt").read_text().split("\n") == layer.get_vocabulary()
    twin = twin_of(layer)
    twin.load_own_variables(store)
    twin.load_assets(str(tmp_path))
    np.testing.assert_array_equal(twin(NEW), layer(NEW))


def test_integers_as_assets(tmp_path):
    layer = layers.IntegerLookup(mask_token=0)
    layer.adapt([7, 7, 0, 3])
    layer.save_assets(str(tmp_path))
    twin = twin_of(layer)
    twin.load_assets(str(tmp_path))
    assert twin.get_vocabulary() == layer.get_vocabulary() == [0, -1, 7, 3]


def test_tokens_with_line_breaks_cannot_be_saved(tmp_path):
    layer = layers.StringLookup()
    layer.adapt(["a\nb"])
    with pytest.raises(ValueError, match="line break"):
        layer.save_assets(str(tmp_path))


def test_saved_model_with_text(tmp_path):
    model = text_model(adapted(output_sequence_length=4), True)
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(lamina.models.load_model(tmp_path / "model.keras")(NEW), model(NEW), rtol=1e-6)
