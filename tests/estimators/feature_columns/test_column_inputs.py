"""Model input in the compiled step: gradients by row, what is traced, linear models, variable names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina.datasets import Dataset
from lamina.estimators import feature_columns as fc
from lamina.estimators.feature_columns import Ids, combine_rows
from lamina.estimators.feature_columns.inputs import linear_output

RNG = np.random.default_rng(0)


def dense_reference(table, ids, weights, combiner):
    """The combined rows by a matrix product with dense counts."""
    w = np.where(ids >= 0, 1.0 if weights is None else weights, 0.0)
    hot = (np.maximum(ids, 0)[..., None] == np.arange(len(table))) * w[..., None]
    size = {"sum": 1.0, "mean": w.sum(1, keepdims=True), "sqrtn": np.sqrt((w**2).sum(1, keepdims=True))}[combiner]
    return hot.sum(1) @ table / np.where(size == 0, 1, size)


@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_and_their_gradient_equal_a_dense_product(combiner, n, weighted):
    table = RNG.standard_normal((11, 3)).astype("float32")
    ids = RNG.integers(-1, 11, (6, n)).astype("int32")
    weights = RNG.uniform(0.5, 2, (6, n)).astype("float32") if weighted else None
    upstream = RNG.standard_normal((6, 3)).astype("float32")

    def loss(table):
        return jnp.sum(combine_rows(table, Ids(ids, weights), combiner) * upstream)

    np.testing.assert_allclose(
        combine_rows(table, Ids(ids, weights), combiner), dense_reference(table, ids, weights, combiner), atol=1e-5
    )
    want = dense_reference(np.eye(11), ids, weights, combiner).T @ upstream
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(table), want, atol=1e-5)


def test_linear_model_makes_no_array_of_the_vocabulary():
    vocabulary = 100_003
    column = fc.categorical_column_with_hash_bucket("c", vocabulary)
    inputs = {column.input_name: RNG.integers(0, vocabulary, (8, 5)).astype("int32")}

    def run(table):
        return linear_output([column], inputs, lambda _: table, lambda _: None, "sum")

    def made(jaxpr):
        for equation in jaxpr.eqns:
            yield from (v.aval.shape for v in equation.outvars)
            for inner in jax.tree.leaves(list(equation.params.values())):
                if hasattr(inner, "jaxpr"):
                    yield from made(inner.jaxpr)

    shapes = list(made(jax.make_jaxpr(run)(jnp.zeros((vocabulary, 1))).jaxpr))
    assert shapes and not any(vocabulary in shape for shape in shapes)


def test_raw_numbers_within_a_compiled_step():
    x = fc.numeric_column("x", normalizer_fn=lambda v: v / 2)
    columns = [
        x,
        fc.bucketized_column(x, [0.0, 1.0]),
        fc.indicator_column(fc.categorical_column_with_identity("n", 3, default_value=0)),
    ]
    features = {"x": np.array([-1.0, 1.0, 4.0], "float32"), "n": np.array([2, 7, -1], "int32")}
    compiled = jax.jit(lambda f: fc.input_layer(f, columns))(features)
    np.testing.assert_allclose(compiled, fc.input_layer(features, columns))


def test_hashes_within_a_compiled_step_are_refused():
    column = fc.indicator_column(fc.categorical_column_with_hash_bucket("n", 5, dtype="int64"))
    with pytest.raises(ValueError, match="hash_bucket 'n'.*on the host.*transform_host"):
        jax.jit(lambda f: fc.input_layer(f, [column]))({"n": np.array([1, 2])})


def test_dense_features_as_a_layer_of_a_model():
    color = fc.categorical_column_with_vocabulary_list("color", ["red", "green"])
    columns = [fc.embedding_column(color, 2), fc.numeric_column("x")]
    features = {"color": np.array(["red", "green", "red", "blue"]), "x": np.arange(4.0)}
    labels = np.array([[1.0], [0.0], [1.0], [0.0]], "float32")
    data = Dataset.from_tensor_slices((features, labels)).batch(4)
    data = data.map(lambda f, y: (fc.transform_host(columns, f), y))
    model = lamina.Sequential([fc.DenseFeatures(columns), lamina.layers.Dense(1)])
    model.compile(lamina.optimizers.SGD(0.1), "mse")
    losses = model.fit(data, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 2
    assert model.layers[0].weights[0].shape == (2, 2)
    assert [w.name for w in model.layers[0].weights] == ["color_embedding/embedding_weights"]


def test_dense_features_round_trip():
    layer = fc.DenseFeatures([fc.numeric_column("x"), fc.numeric_column("a")])
    twin = type(layer).from_config(layer.get_config())
    assert twin({"a": [1.0], "x": [2.0]}).tolist() == [[1.0, 2.0]]


def test_sequences_of_different_lengths_are_refused():
    columns = [fc.sequence_numeric_column("a"), fc.sequence_numeric_column("b")]
    with pytest.raises(ValueError, match="one number of steps.*a: 2, b: 3"):
        fc.sequence_input_layer({"a": np.ones((2, 2)), "b": np.ones((2, 3))}, columns)


def test_remap_rows(tmp_path):
    old, new = ["a", "b", "c"], ["c", "d", "a"]
    table = np.arange(8.0, dtype="float32").reshape(4, 2)  # the last row is of unknown tokens
    got = fc.remap_rows(old, new, table, lambda shape, dtype: np.full(shape, 9, dtype), num_oov_buckets=1)
    assert got.tolist() == [[4, 5], [9, 9], [0, 1], [9, 9]] and got.dtype == np.float32
    assert fc.remap_rows([3, 1], [1, 2], [[1.0], [2.0]]).tolist() == [[2.0], [0.0]]
    assert fc.remap_rows(old, new, table[:3].T, axis=1).tolist() == [[4, 0, 0], [5, 0, 1]]
    (tmp_path / "old.txt").write_text("a\nb\nc\n")
    assert fc.remap_rows(str(tmp_path / "old.txt"), ["c"], table).tolist() == [[4, 5]]
    with pytest.raises(ValueError, match="row for each of the 3 tokens"):
        fc.remap_rows(old, new, table[:2])
