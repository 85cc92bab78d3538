"""Graphs traced from functions and models: equal to the code, verified, of the expected ops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina import Input, Model, Sequential, Variable, layers, ops
from lamina.graph import Graph, tag, trace
from lamina.ops.op import op

RNG = np.random.default_rng(3)


def floats(*shape):
    return RNG.standard_normal(shape).astype("float32")


def kinds(graph):
    return [i.label for i in graph.instrs]


IMAGE, SEQUENCE = Input((8, 8, 3)), Input((6, 4))
TOKENS = Input((6,), dtype="int32")


def attention(x):
    y = layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True)
    return layers.LayerNormalization()(layers.Add()([x, y]))


MODELS = {
    "mlp": (
        SEQUENCE,
        lambda x: layers.Dense(3, "softmax")(layers.Flatten()(x)),
        ["Reshape", "MatMul", "Add", "Softmax"],
    ),
    "cnn": (
        IMAGE,
        lambda x: layers.MaxPooling2D()(layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(x))),
        ["Conv", "Add", "BatchNorm", "MaxPool"],
    ),
    "separable": (IMAGE, layers.SeparableConv2D(5, 3), ["DepthwiseConv", "Conv", "Add"]),
    "transposed": (IMAGE, layers.Conv2DTranspose(5, 3, strides=2, padding="same"), ["ConvTranspose", "Add"]),
    "channels_first": (
        Input((3, 8, 8)),
        layers.Conv2D(4, 3, data_format="channels_first"),
        ["Transpose", "Conv", "Transpose", "Reshape", "Add"],
    ),
    "attention": (SEQUENCE, attention, None),
    "lstm": (SEQUENCE, layers.LSTM(3), ["BroadcastTo", "BroadcastTo", "LSTM"]),
    "gru": (SEQUENCE, layers.Bidirectional(layers.GRU(3, return_sequences=True)), None),
    "rnn": (SEQUENCE, layers.SimpleRNN(3), None),
    "masked": (TOKENS, lambda x: layers.LSTM(3)(layers.Embedding(9, 4, mask_zero=True)(x)), None),
    "activations": (SEQUENCE, lambda x: layers.ReLU(max_value=3.0, negative_slope=0.1)(ops.gelu(ops.silu(x))), None),
}


@pytest.mark.parametrize("name", MODELS)
def test_graph_equals_model_for_every_batch(name):
    inputs, build, expected = MODELS[name]
    model = Model(inputs, build(inputs))
    graph = trace(model).verify()
    assert graph.inputs[0].shape[0] == "batch"
    assert "Custom" not in {i.op for i in graph.instrs}
    if expected is not None:
        assert kinds(graph) == expected
    for batch in (1, 3):
        shape = (batch, *inputs.shape[1:])
        x = RNG.integers(0, 9, shape).astype("int32") if inputs.dtype == "int32" else floats(*shape)
        np.testing.assert_allclose(graph(x), model(x), rtol=2e-5, atol=2e-6)
    assert {v for v in graph.variables.values()} == {v.path for v in model.weights if "seed" not in v.path}


def test_instructions_name_their_layer():
    inner = Sequential([Input((4,)), layers.Dense(3, name="first")], name="inner")
    x = Input((4,))
    graph = trace(Model(x, layers.Dense(2, name="last")(inner(x))))
    assert {i.path for i in graph.instrs} == {"inner/first", "last"}
    assert graph.find("inner").shape == ("batch", 3) and graph.find("last").shape == ("batch", 2)


def test_any_tensor_of_a_model_can_be_fetched():
    model = Sequential([Input((4,)), layers.Dense(3, "relu", name="hidden"), layers.Dense(2)])
    x = floats(5, 4)
    hidden = trace(model).run("hidden", [x])
    np.testing.assert_allclose(hidden, np.maximum(x @ model.layers[0].get_weights()[0], 0), rtol=1e-5, atol=1e-6)


def softmax_of_everything(x, table):
    """Code as users write it: no op of lamina in it."""
    rows = jnp.take(table, jnp.argsort(x[:, 0]) % 3, axis=0)
    y = jnp.where(x > 0, x, jnp.exp(x) - 1) @ table.T
    y = jnp.cumsum(jnp.sort(y, -1), -1)[:, ::-1] + jax.nn.one_hot(jnp.argmax(y, -1), 3)
    z = jnp.einsum("bi,bj->bij", y, rows).reshape(x.shape[0], -1)
    z = z.at[:, 0].set(1.0).at[:, 1].add(2.0)
    return jax.nn.softmax(z) * jnp.mean(z, 0), jax.lax.top_k(z, 2)[1]


def test_plain_jax_code_is_lowered_primitive_by_primitive():
    x, table = floats(5, 4), floats(3, 4)
    graph = trace(softmax_of_everything, (None, 4), (3, 4)).verify()
    for got, want in zip(graph(x, table), softmax_of_everything(x, table), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6)
    assert "Custom" not in kinds(graph)


def test_bits_move_back_without_their_sign():
    x = np.array([-8, 7, 2**31 - 1], "int32")
    for dtype in ("int32", "uint32", "uint8"):
        given = x.astype(dtype)
        graph = trace(lambda v: jax.lax.shift_right_logical(v, jnp.full(v.shape, 2, v.dtype)), given)
        plain = given.view(f"uint{given.itemsize * 8}")
        np.testing.assert_array_equal(graph(given), (plain >> 2).view(dtype))


def test_control_flow_becomes_instructions_with_graphs():
    def fn(x, n):
        y = jax.lax.fori_loop(0, n, lambda i, v: v * 0.5 + i, x)
        y = jax.lax.cond(y.sum() > 0, lambda v: v + 1, lambda v: v - 1, y)
        y = jax.lax.switch(n % 3, [jnp.sin, jnp.cos, jnp.tanh], y)
        return jax.lax.scan(lambda c, row: (c + row, c * row), jnp.zeros(3), y)

    graph = trace(fn, (4, 3), jax.ShapeDtypeStruct((), "int32")).verify()
    assert {"While", "If", "Scan"} <= {i.op for i in graph.instrs}
    for n in range(4):
        x = floats(4, 3)
        for got, want in zip(jax.tree.leaves(graph(x, n)), jax.tree.leaves(fn(x, n)), strict=True):
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6)


def test_ops_under_vmap_and_grad_are_inlined():
    def fn(x):
        return jax.vmap(lambda v: ops.softmax(v, axis=0))(x), jax.grad(lambda v: ops.softmax(v)[:, 0].sum())(x)

    graph = trace(fn, (None, 3)).verify()
    assert "Softmax" not in kinds(graph)
    x = floats(4, 3)
    for got, want in zip(graph(x), fn(x), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6)


def test_unknown_primitive_becomes_a_custom_op_that_runs():
    graph = trace(lambda x: jnp.fft.fft(x).real, (None, 8)).verify()
    assert "fft" in kinds(graph)
    x = floats(2, 8)
    np.testing.assert_allclose(graph(x), np.fft.fft(x).real, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layer", [layers.LSTM, layers.GRU])
def test_both_directions_of_sequences_are_ops(layer):
    net = Sequential([Input((6, 4)), layers.Bidirectional(layer(3, return_sequences=True))])
    graph = trace(net)
    assert kinds(graph).count(layer.__name__) == 2 and "Scan" not in kinds(graph)
    x = floats(2, 6, 4)
    np.testing.assert_allclose(graph(x), net(x), rtol=1e-5, atol=1e-6)


def test_an_activation_keeps_its_own_defaults():
    graph = trace(layers.Dense(2, "gelu"), (None, 3))
    assert graph.instrs[-1].op == "Gelu" and graph.instrs[-1].attrs["approximate"] is False
    assert trace(ops.gelu, (3,)).instrs[-1].attrs["approximate"] is True
    assert kinds(trace(layers.ReLU(6.0), (None, 3))) == ["Relu6"]
    assert kinds(trace(layers.ReLU(negative_slope=0.5), (None, 3))) == ["LeakyRelu"]
    scaled = trace(layers.Activation("selu"), (None, 3))  # ELU is an op of more formats than expm1
    assert kinds(scaled) == ["Elu", "Mul"]
    x = floats(2, 3)
    np.testing.assert_allclose(scaled(x), ops.selu(x), rtol=1e-6)


@op(named=True)
def doubled(x):
    return x * 2


def test_own_op_is_kept_on_request_only():
    assert kinds(trace(doubled, (3,))) == ["Mul"]
    graph = trace(doubled, (3,), keep=["doubled"]).verify()
    assert kinds(graph) == ["doubled"] and graph([1.0, 2.0, 3.0]).tolist() == [2, 4, 6]


def test_structures_and_names():
    def fn(batch, scale):
        return {"sum": batch["a"] + batch["b"], "scaled": [batch["a"] * scale]}

    graph = trace(fn, {"a": (None, 2), "b": ("batch", 2)}, ())
    assert graph.input_names == ["a", "b", "scale"]
    out = graph(np.ones((1, 2)), np.ones((1, 2)), 3.0)
    assert out["sum"].tolist() == [[2, 2]] and out["scaled"][0].tolist() == [[3, 3]]
    assert isinstance(graph, Graph) and "batch" in graph.text()


def test_unknown_sizes_that_must_agree_are_reported():
    with pytest.raises(ValueError, match="give two unknown sizes that are equal the same name"):
        trace(lambda a, b: a + b, (3, None), (3, None))
    assert trace(lambda a, b: a + b, (3, "n"), (3, "n")).outputs[0].shape == (3, "n")


def test_code_that_asks_for_values_is_reported():
    with pytest.raises(ValueError, match="Use ops.where"):
        trace(lambda x: x if x.sum() > 0 else -x, (3,))


def test_size_of_the_batch_as_a_number():
    graph = trace(lambda x: x / x.shape[0] + jnp.arange(x.shape[0])[:, None], (None, 2)).verify()
    x = floats(3, 2)
    np.testing.assert_allclose(graph(x), x / 3 + np.arange(3)[:, None], rtol=1e-6)


def test_variables_are_named_constants():
    v, frozen = Variable([1.0, 2.0], name="v"), Variable(3.0, name="frozen", trainable=False)
    graph = trace(lambda x: x * v + frozen, (2,))
    assert sorted(graph.variables.values()) == ["frozen", "v"] and graph.trainable == {"v"}
    v.assign([5.0, 5.0])  # a graph holds the values of the moment in which it was traced
    assert graph([1.0, 1.0]).tolist() == [4, 5]


def test_tag_names_inputs_and_results():
    graph = trace(lambda x: tag(tag(x, "given") * 2, "twice"), (2,))
    assert graph.run(["given", "twice"], {"x": [1.0, 2.0]})[1].tolist() == [2, 4]
