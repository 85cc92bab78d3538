"""What columns make of features. Hashes, and ids of crosses, are those of TensorFlow 2.15."""

import pickle

import numpy as np
import pytest

from lamina.core.config import deserialize_object, serialize_object
from lamina.datasets import Dataset, FixedLenFeature, VarLenFeature, parse_example
from lamina.datasets.examples import BytesList, Example, Feature, Features, FloatList, Int64List
from lamina.estimators import feature_columns as fc

COLORS = np.array(["blue", "plum", "green", "teal", "green", "slate"])
SIDES = np.array(["north", "south", "east", "north", "east", "west"])
X = np.array([1.26, 5.8, -5.0, -0.47, -2.8, -3.61], "float32")
N = np.array([[2, -1, -1], [5, 6, -1], [1, 4, 0], [2, -1, -1], [0, 0, -1], [0, 5, 4]])
W = np.array(
    [[0.13, 0, 0], [2.66, 2.09, 0], [2.91, 2.2, 1.63], [2.31, 0, 0], [2.82, 1.7, 0], [1.1, 2.06, 2.31]], "float32"
)
TABLE = np.random.default_rng(0).standard_normal((7, 3)).astype("float32")


def ids(column, **features):
    inputs = fc.transform_host([column], features)
    return next(iter(inputs.values()))


def table(values):
    return lambda shape, dtype=None: np.asarray(values).reshape(shape)


def identity(buckets=7, **kwargs):
    return fc.categorical_column_with_identity("n", buckets, **kwargs)


# ---- numbers


def test_numeric():
    column = fc.numeric_column("x")
    assert fc.input_layer({"x": X}, [column]).tolist() == X[:, None].tolist()
    assert fc.input_layer({"x": [1, 2]}, [column]).dtype == "float32"
    half = fc.numeric_column("v", shape=(2, 2), normalizer_fn=lambda v: v / 2)
    assert fc.input_layer({"v": np.arange(8).reshape(2, 2, 2)}, [half]).tolist() == [[0, 0.5, 1, 1.5], [2, 2.5, 3, 3.5]]


def test_columns_stand_in_the_order_of_their_names():
    columns = [fc.numeric_column("b"), fc.numeric_column("c"), fc.numeric_column("a")]
    assert fc.input_layer({"a": [1.0], "b": [2.0], "c": [3.0]}, columns).tolist() == [[1, 2, 3]]


def test_bucketized_on_the_boundaries():
    column = fc.bucketized_column(fc.numeric_column("x"), [-1, 2.5, 6])
    edges = np.array([-1.0, 2.5, 6.0, -1.001, 2.499, 5.999], "float32")
    assert ids(column, x=edges).ravel().tolist() == [1, 2, 3, 0, 1, 2]
    assert fc.input_layer({"x": edges}, [column]).argmax(1).tolist() == [1, 2, 3, 0, 1, 2]
    vector = fc.bucketized_column(fc.numeric_column("v", shape=2), [0.0])
    assert (vector.num_buckets, vector.width) == (4, 4)
    assert ids(vector, v=[[-1.0, -1.0], [1.0, 1.0]]).tolist() == [[0, 2], [1, 3]]
    assert fc.input_layer({"v": [[-1.0, 1.0]]}, [vector]).tolist() == [[1, 0, 0, 1]]


# ---- categories


def test_identity():
    assert fc.input_layer({"n": N}, [fc.indicator_column(identity())])[4].tolist() == [2, 0, 0, 0, 0, 0, 0]
    assert ids(identity(4, default_value=1), n=[0, 4, -7, -1]).ravel().tolist() == [0, 1, 1, -1]


@pytest.mark.parametrize("form", ["U", "S", "O", "bytes", "list"])
def test_vocabulary(form):
    given = {"U": COLORS, "S": COLORS.astype("S"), "O": COLORS.astype(object), "list": COLORS.tolist()}
    given["bytes"] = np.array([c.encode() for c in COLORS], object)
    column = fc.categorical_column_with_vocabulary_list("c", ["teal", "red", "coral", "slate", "plum"])
    assert ids(column, c=given[form]).ravel().tolist() == [-1, 4, -1, 0, -1, 3]
    unknown = fc.categorical_column_with_vocabulary_list("c", ["teal", "red", "coral"], num_oov_buckets=2)
    assert ids(unknown, c=given[form]).ravel().tolist() == [4, 3, 3, 0, 3, 4]
    default = fc.categorical_column_with_vocabulary_list("c", ["teal", "red", "coral"], default_value=2)
    assert ids(default, c=given[form]).ravel().tolist() == [2, 2, 2, 0, 2, 2]


def test_vocabulary_of_integers():
    column = fc.categorical_column_with_vocabulary_list("n", [5, 0, 3], dtype="int64", num_oov_buckets=2)
    assert ids(column, n=[1, 0, 4, 1, 0, -1]).ravel().tolist() == [4, 1, 4, 4, 1, -1]


def test_vocabulary_file(tmp_path):
    (tmp_path / "words.txt").write_text("red\ngreen\nblue\namber\nteal\nivory\ncoral\n")
    path = tmp_path / "words.txt"
    column = fc.categorical_column_with_vocabulary_file("c", path, num_oov_buckets=1)
    assert ids(column, c=COLORS).ravel().tolist() == [2, 7, 1, 4, 1, 7]
    part = fc.categorical_column_with_vocabulary_file("c", path, vocabulary_size=3, default_value=0)
    assert ids(part, c=COLORS).ravel().tolist() == [2, 0, 1, 0, 1, 0]


def test_hash_buckets():
    column = fc.categorical_column_with_hash_bucket("c", 10)
    assert ids(column, c=COLORS).ravel().tolist() == [5, 0, 4, 8, 4, 7]
    numbers = fc.categorical_column_with_hash_bucket("n", 997, dtype="int64")
    assert ids(numbers, n=[167739021, 98998899, 729416111, -1]).ravel().tolist() == [358, 462, 405, -1]


@pytest.mark.parametrize(
    "ragged", [[["a"], [], ["b", "zz", "a"]], np.array([["a", "", ""], ["", "", ""], ["b", "zz", "a"]])]
)
def test_several_values(ragged):
    column = fc.categorical_column_with_vocabulary_list("c", ["a", "b"])
    assert ids(column, c=ragged).tolist() == [[0, -1, -1], [-1, -1, -1], [1, -1, 0]]
    assert fc.input_layer({"c": ragged}, [fc.indicator_column(column)]).tolist() == [[1, 0], [0, 0], [1, 1]]


def test_missing_values_of_data_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"c": ["a", None, np.nan, "b"], "x": [1.0, 2.0, 3.0, 4.0]})
    column = fc.categorical_column_with_vocabulary_list("c", ["a", "b"], num_oov_buckets=1)
    inputs = fc.transform_host([column, fc.numeric_column("x")], frame)
    assert inputs[column.input_name].ravel().tolist() == [0, -1, -1, 1]
    categories = frame.assign(c=pandas.Categorical(["a", "b", "a", "zz"]))
    assert ids(column, c=categories["c"]).ravel().tolist() == [0, 1, 0, 2]


# ---- crosses


def test_crosses():
    def cross(keys, size, **kwargs):
        return (
            ids(fc.crossed_column(keys, size, **kwargs), c=COLORS, d=SIDES, x=X, n=[1, 0, 4, 1, 0, 0]).ravel().tolist()
        )

    bucketized = fc.bucketized_column(fc.numeric_column("x"), [-1.0, 2.5, 6.0])
    words = fc.categorical_column_with_vocabulary_list(
        "c", ["teal", "red", "coral", "slate", "plum"], num_oov_buckets=1
    )
    assert cross(["c", "d"], 60) == [35, 32, 31, 6, 31, 4]
    assert cross(["c", "d"], 5000) == [4855, 1812, 1211, 3946, 1211, 804]
    assert cross(["d", "c"], 5000) == [2423, 1335, 1142, 226, 1142, 1882]
    assert cross(["c", "d"], 200, hash_key=42) == [134, 199, 64, 47, 64, 163]
    assert cross([bucketized, "c"], 100) == cross(["c", bucketized], 100) == [28, 19, 49, 90, 49, 42]
    assert cross([words, identity(6)], 80) == [55, 26, 53, 3, 4, 40]
    nested = fc.crossed_column([fc.crossed_column(["c", "d"], 7), identity(6)], 100)
    assert nested.name == "c_X_d_X_n"
    flat = fc.crossed_column(["c", "d", identity(6)], 100)
    assert ids(nested, c=COLORS, d=SIDES, n=[1] * 6).tolist() == ids(flat, c=COLORS, d=SIDES, n=[1] * 6).tolist()


def test_crosses_have_all_combinations():
    column = fc.crossed_column(["c", identity()], 300)
    two = ids(column, c=[["a", "b"]], n=[[3, 4, -1]])
    assert two.shape == (1, 6)
    single = {(c, n): ids(column, c=[c], n=[n]).item() for c in "ab" for n in (3, 4)}
    assert sorted(two[two >= 0].tolist()) == sorted(single.values())


def test_empty_batches():
    columns = [
        fc.categorical_column_with_hash_bucket("c", 5),
        fc.crossed_column(["c", "d"], 7),
        fc.numeric_column("x"),
        fc.categorical_column_with_vocabulary_list("d", ["a"]),
    ]
    inputs = fc.transform_host(columns, {"c": np.zeros(0, "U1"), "d": np.zeros(0, "U1"), "x": np.zeros(0)})
    assert [v.shape for v in inputs.values()] == [(0, 1)] * 4


# ---- embeddings and weights


@pytest.mark.parametrize("combiner", ["mean", "sum", "sqrtn"])
@pytest.mark.parametrize("weighted", [False, True])
def test_embedding_is_the_formula(combiner, weighted):
    column = identity()
    if weighted:
        column = fc.weighted_categorical_column(column, "w")
    dense = fc.input_layer({"n": N, "w": W}, [fc.embedding_column(column, 3, combiner, initializer=table(TABLE))])
    w = np.where(N >= 0, W if weighted else 1.0, 0.0)
    total = (TABLE[np.maximum(N, 0)] * w[..., None]).sum(1)
    size = {"sum": 1, "mean": w.sum(1, keepdims=True), "sqrtn": np.sqrt((w**2).sum(1, keepdims=True))}[combiner]
    np.testing.assert_allclose(dense, total / size, rtol=1e-5)


def test_negative_weights_count_in_sums_only():
    column = fc.weighted_categorical_column(identity(), "w")
    given = {"n": [[1, 2]], "w": [[-2.0, 1.0]]}
    for combiner, want in (("sum", -2 * TABLE[1] + TABLE[2]), ("mean", TABLE[2])):
        got = fc.input_layer(given, [fc.embedding_column(column, 3, combiner, initializer=table(TABLE))])
        np.testing.assert_allclose(got[0], want, rtol=1e-5)


def test_samples_without_a_category_have_zeros():
    column = fc.embedding_column(identity(), 3, initializer=table(TABLE))
    assert fc.input_layer({"n": [[-1, -1], [0, -1]]}, [column])[0].tolist() == [0, 0, 0]
    assert fc.input_layer({"n": [-1, 0]}, [column])[0].tolist() == [0, 0, 0]


def test_embedding_max_norm():
    column = fc.embedding_column(identity(), 3, initializer=table(TABLE), max_norm=0.5)
    got = fc.input_layer({"n": [1, 2]}, [column])
    np.testing.assert_allclose(got, 0.5 * TABLE[1:3] / np.linalg.norm(TABLE[1:3], axis=1, keepdims=True), rtol=1e-5)


def test_embedding_starts_with_small_deviation():
    values = fc.input_layer({"n": np.arange(1000)}, [fc.embedding_column(identity(1000), 16)])
    assert abs(np.std(values) - 0.22) < 0.02 and np.abs(values).max() <= 2 / 4 + 1e-6


def test_shared_embeddings():
    p, q = (fc.categorical_column_with_identity(k, 7) for k in "pq")
    columns = fc.shared_embeddings([q, p], 3, initializer=table(TABLE))
    got = fc.input_layer({"p": [1, 2], "q": [3, 4]}, columns)
    np.testing.assert_allclose(got, np.concatenate([TABLE[[1, 2]], TABLE[[3, 4]]], 1))
    layer = fc.DenseFeatures(columns)
    layer({"p": [1], "q": [2]})
    assert [v.name for v in layer.weights] == ["p_q_shared_embedding"]


def test_weighted_indicator():
    column = fc.indicator_column(fc.weighted_categorical_column(identity(), "w"))
    got = np.asarray(fc.input_layer({"n": N, "w": W}, [column]))
    assert got[4, 0] == pytest.approx(4.52) and got[1, 6] == pytest.approx(2.09) and np.count_nonzero(got[0]) == 1


def test_embedding_from_a_checkpoint(tmp_path):
    from lamina.checkpoint import write_checkpoint

    write_checkpoint(str(tmp_path / "model.ckpt"), {"table": TABLE})
    column = fc.embedding_column(
        identity(), 3, ckpt_to_load_from=str(tmp_path / "model.ckpt"), tensor_name_in_ckpt="table"
    )
    np.testing.assert_allclose(fc.input_layer({"n": [4]}, [column])[0], TABLE[4])


# ---- sequences


def test_sequences_of_numbers():
    padded = [[1.5, 2.5, np.nan], [6.0, np.nan, np.nan], [1.0, 2.0, 3.0]]
    for given in (padded, [[1.5, 2.5], [6.0], [1.0, 2.0, 3.0]]):
        x, n = fc.sequence_input_layer({"t": given}, [fc.sequence_numeric_column("t")])
        assert x[..., 0].tolist() == [[1.5, 2.5, 0], [6, 0, 0], [1, 2, 3]] and n.tolist() == [2, 1, 3]
    column = fc.sequence_numeric_column("t", default_value=-3.0, normalizer_fn=lambda v: v / 2)
    assert fc.sequence_input_layer({"t": [[1.0, 2.0], [3.0]]}, [column])[0][1, :, 0].tolist() == [1.5, -3]
    pairs = fc.sequence_numeric_column("t", shape=(2,))
    x, n = fc.sequence_input_layer({"t": [[1.0, 2.0, 3.0, 4.0], [5.0, 2.0]]}, [pairs])
    assert x.tolist() == [[[1, 2], [3, 4]], [[5, 2], [0, 0]]] and n.tolist() == [2, 1]


def test_sequences_of_categories():
    words = [["slate"], ["slate", "coral"], ["amber", "", "slate"]]
    column = fc.sequence_categorical_column_with_vocabulary_list("c", ["coral", "slate"])
    x, n = fc.sequence_input_layer({"c": words}, [fc.indicator_column(column)])
    assert x.tolist() == [[[0, 1], [0, 0], [0, 0]], [[0, 1], [1, 0], [0, 0]], [[0, 0], [0, 0], [0, 1]]]
    assert n.tolist() == [1, 2, 3]
    number = fc.sequence_numeric_column("t")
    both, _ = fc.sequence_input_layer({"c": words, "t": np.ones((3, 3))}, [fc.indicator_column(column), number])
    assert both.shape == (3, 3, 3)
    context = fc.concatenate_context_input(np.full((3, 2), 7.0), both)
    assert context.shape == (3, 3, 5) and context[1, 2, 3:].tolist() == [7, 7]


# ---- records, copies, processes


def test_parse_spec_reads_records():
    columns = [
        fc.numeric_column("x", shape=2, default_value=1.5),
        fc.indicator_column(identity()),
        fc.weighted_categorical_column(fc.categorical_column_with_hash_bucket("h", 9), "w"),
        fc.crossed_column(["h", "p"], 5),
    ]
    spec = fc.make_parse_example_spec(columns)
    assert spec["x"] == FixedLenFeature((2,), "float32", (1.5, 1.5))
    assert {k: type(v) for k, v in spec.items() if k != "x"} == dict.fromkeys("nhwp", VarLenFeature)

    def record(n, h):
        values = {"n": Feature(int64_list=Int64List(value=n)), "h": Feature(bytes_list=BytesList(value=h))}
        values["w"] = Feature(float_list=FloatList(value=[1.0] * len(h)))
        return Example(features=Features(feature=values)).SerializeToString()

    parsed = parse_example([record([3], [b"a", b"b"]), record([1, 2], [b"c"])], spec)
    assert ids(columns[1], **parsed).tolist() == [[3, -1], [1, 2]]
    assert (ids(columns[2], **parsed) >= 0).tolist() == [[True, True], [True, False]]


def test_label_and_weight_in_parse_specs():
    columns = [fc.numeric_column("x")]
    spec = fc.classifier_parse_example_spec(columns, "y", label_dtype="string", weight_column="w")
    assert spec["y"] == FixedLenFeature((1,), "string", None) and spec["w"].dtype == "float32"
    assert fc.regressor_parse_example_spec(columns, "y", label_dimension=3)["y"].shape == (3,)


def all_columns():
    words = fc.categorical_column_with_vocabulary_list("c", ["a", "b"])
    return [
        fc.numeric_column("x", normalizer_fn=fc.Standardize((1.0,), (2.0,))),
        fc.bucketized_column(fc.numeric_column("x"), [1.0]),
        fc.indicator_column(fc.weighted_categorical_column(words, "w")),
        fc.embedding_column(words, 2),
        fc.crossed_column([words, "d"], 9, hash_key=3),
        *fc.shared_embeddings([words, fc.categorical_column_with_vocabulary_list("e", ["p", "q"])], 2),
        fc.sequence_numeric_column("t"),
        fc.indicator_column(fc.sequence_categorical_column_with_identity("s", 4)),
    ]


@pytest.mark.parametrize("column", all_columns(), ids=lambda c: c.name)
def test_columns_survive_configs_and_pickling(column):
    for copy in (deserialize_object(serialize_object(column)), pickle.loads(pickle.dumps(column))):
        assert copy == column and hash(copy) == hash(column) and copy.input_name == column.input_name


def test_columns_of_one_name_do_not_share_inputs():
    few = fc.categorical_column_with_vocabulary_list("c", ["a"])
    many = fc.categorical_column_with_vocabulary_list("c", ["b", "a"])
    inputs = fc.transform_host([few, many], {"c": ["a"]})
    assert (inputs[few.input_name].item(), inputs[many.input_name].item()) == (0, 1)


def test_within_a_dataset():
    columns = [fc.categorical_column_with_vocabulary_list("c", list(COLORS[:3])), fc.numeric_column("x")]
    data = Dataset.from_tensor_slices(({"c": COLORS, "x": X}, X)).batch(3)
    mapped = data.map(lambda features, labels: (fc.transform_host(columns, features), labels))
    inputs, _ = next(iter(mapped))
    assert inputs[columns[0].input_name].ravel().tolist() == [0, 1, 2]
    assert fc.input_layer(inputs, [fc.indicator_column(columns[0]), columns[1]]).shape == (3, 4)
