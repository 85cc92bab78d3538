"""The little program, and what can be done with graphs: fetch, feed, differentiate, optimise, measure, cut, draw."""

import xml.etree.ElementTree as ElementTree

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina import Input, Sequential, Variable, export, layers, load_frozen
from lamina.graph import tag, trace
from lamina.graph.builder import Builder
from lamina.graph.expand import expand
from lamina.graph.interpret import call
from lamina.graph.ir import Instr
from lamina.graph.passes import PASSES

RNG = np.random.default_rng(5)


def little_program():
    var1, var2, var3 = (Variable(v, name=n) for v, n in ((6.0, "var1"), (2.0, "var2"), (4.0, "var3")))

    def program():
        temp1 = tag(var1 + var2, "temp1")
        temp2 = tag(var1 - var2, "temp2")
        temp3 = tag(temp2 + var3, "temp3")
        return tag(temp1 / temp3, "res")

    return trace(program)


def test_the_little_program(tmp_path):
    graph = little_program().verify()
    assert float(graph()) == 1.0
    assert float(graph.run("temp2")) == 4.0
    assert len(graph.prune([graph.find("temp2")]).instrs) == 2  # a difference and its name, nothing else
    assert float(graph.run("res", {"temp2": 12.0})) == 0.5  # what is fed is not computed
    gradients = graph.grad()
    assert dict(zip(gradients.output_names, map(float, gradients.run()), strict=True)) == {
        "var1_gradient": 0.0,  # 1/8 - 8/64
        "var2_gradient": 0.25,  # 1/8 + 8/64
        "var3_gradient": -0.125,
    }
    graph.plot(tmp_path / "program.svg")
    drawn = "".join(ElementTree.parse(tmp_path / "program.svg").getroot().itertext())
    assert all(name in drawn for name in ("var1", "var2", "var3", "temp1", "temp2", "temp3", "res"))
    stages = graph.partition(3)
    known = {}
    for stage in stages:
        known.update(zip(stage.output_names, stage.run(feeds={n: known[n] for n in stage.input_names}), strict=True))
    assert float(known["output_0"]) == 1.0
    for format_, name in (("frozen", "program.pb"), ("saved_model", "program"), ("stablehlo", "hlo")):
        export.save(graph, None, tmp_path / name, format=format_)
        assert load_frozen(tmp_path / name)() == 1.0
    assert load_frozen(tmp_path / "program.pb", outputs=["temp2"])() == 4.0


def test_only_what_is_fetched_is_needed():
    graph = trace(lambda x, y: (tag(x + 1, "left"), tag(x / y, "right")), (2,), (2,))
    assert graph.run("left", {"x": [1.0, 2.0]}).tolist() == [2, 3]
    with pytest.raises(ValueError, match="feed 'y'"):
        graph.run("right", {"x": [1.0, 2.0]})
    with pytest.raises(KeyError, match="Did you mean 'left'"):
        graph.run("lef")
    with pytest.raises(ValueError, match=r"must have shape \(2,\), got \(3,\)"):
        graph.run("left", {"x": [1.0, 2.0, 3.0]})


def test_structures_of_fetches():
    graph = trace(lambda x: tag(x * 2, "twice") + 1, (2,))
    out = graph.run({"a": "twice", "b": ["output_0"]}, {"x": [1.0, 2.0]})
    assert out["a"].tolist() == [2, 4] and out["b"][0].tolist() == [3, 5]


def test_a_signature_is_compiled_once():
    graph = trace(lambda x: x * 2, (None,))
    for _ in range(3):
        graph.run("output_0", {"x": [1.0, 2.0]})
    (compiled,) = graph._session._compiled.values()
    assert compiled._cache_size() == 1


def test_gradients_equal_those_of_jax():
    w = Variable(RNG.standard_normal((3, 2)).astype("float32"), name="w")

    def fn(x):
        return jnp.sum(jnp.tanh(x @ w.value) ** 2)

    x = RNG.standard_normal((4, 3)).astype("float32")
    graph = trace(fn, (None, 3)).grad(wrt=["w", "x"]).verify()
    assert graph.output_names == ["w_gradient", "x_gradient"] and graph.inputs[0].shape == ("batch", 3)
    got = graph.run(feeds={"x": x})
    want = jax.grad(lambda k, v: jnp.sum(jnp.tanh(v @ k) ** 2), (0, 1))(w.value, x)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="only floats"):
        trace(lambda n: n + 1, np.int32(1)).grad(wrt=["n"])


def convolutions():
    stack = [
        Input((8, 8, 3)),
        layers.Conv2D(4, 3, use_bias=False),
        layers.BatchNormalization(gamma_initializer="random_uniform", moving_mean_initializer="random_normal"),
        layers.ReLU(),
        layers.DepthwiseConv2D(3, depth_multiplier=2),
        layers.BatchNormalization(beta_initializer="random_normal"),
        layers.ReLU(max_value=6.0),
        layers.Flatten(),
        layers.Dense(5),
        layers.BatchNormalization(moving_mean_initializer="random_normal"),
    ]
    return Sequential(stack)


def test_optimized_graph_is_equal_and_smaller():
    model = convolutions()
    graph = trace(model)
    small = graph.optimize().verify()
    assert [i.op for i in small.instrs] == ["Conv", "DepthwiseConv", "Reshape", "MatMul", "Add"]
    assert [i.attrs["activation"] for i in small.instrs[:2]] == ["relu", "relu6"]
    x = RNG.standard_normal((3, 8, 8, 3)).astype("float32")
    np.testing.assert_allclose(small(x), model(x), rtol=2e-5, atol=1e-5)
    assert len(graph.instrs) > 8, "the graph itself stays as it is"


@pytest.mark.parametrize("name", PASSES)
def test_each_pass_keeps_the_result(name):
    def fn(x):
        y = jnp.maximum(x.T, 0).T * (jnp.ones(4) + 1)
        return jax.nn.softmax(y) + jax.nn.silu(y) + jnp.mean(x, -1, keepdims=True) + (y.reshape(-1, 2).reshape(-1, 4))

    graph = trace(fn, (None, 4))
    x = RNG.standard_normal((3, 4)).astype("float32")
    after = graph.optimize([name]).verify()
    np.testing.assert_allclose(after(x), fn(x), rtol=1e-5, atol=1e-6)
    model = convolutions()
    x = RNG.standard_normal((2, 8, 8, 3)).astype("float32")
    np.testing.assert_allclose(trace(model).optimize([name]).verify()(x), model(x), rtol=2e-5, atol=1e-5)


def test_constants_that_are_broadcast_are_vectors():
    bias, column = np.arange(4, dtype="float32").reshape(1, 1, 4), np.ones((1, 3, 1), "float32")
    x = RNG.standard_normal((2, 3, 4)).astype("float32")
    graph = trace(lambda x: (bias * x - column) + bias, (None, 3, 4))
    small = graph.optimize(["constant_folding"]).verify()
    assert sorted(np.shape(a) for a in small.constants.values()) == [(3, 1), (4,)]
    np.testing.assert_array_equal(small(x), graph(x))
    wider = trace(lambda x: x + bias, (4,))  # here the axes of one element are those of the result
    assert wider.optimize().verify().outputs[0].shape == (1, 1, 4)


def test_transposes_move_through_constants():
    channels = RNG.standard_normal((4, 1, 1)).astype("float32")

    def fn(x):
        y = jnp.transpose(x, (0, 3, 1, 2)) * channels
        return jnp.transpose(jnp.maximum(2.0 - y, 0.0), (0, 2, 3, 1))

    x = RNG.standard_normal((2, 3, 5, 4)).astype("float32")
    after = trace(fn, (None, 3, 5, 4)).optimize().verify()
    assert [i.op for i in after.instrs] == ["Mul", "Sub", "Relu"]
    np.testing.assert_allclose(after(x), fn(x), rtol=1e-6)


def test_patterns_are_recognised():
    def fn(x):
        y = jnp.minimum(jnp.maximum(x, 0), 6)
        return jax.nn.softmax(y * jax.nn.sigmoid(y)) + x.mean(-1, keepdims=True)

    found = [i.op for i in trace(fn, (None, 4)).optimize().instrs]
    assert {"Relu6", "Silu", "Softmax", "ReduceMean"} <= set(found)


def test_indexing_is_gathered_without_guards_against_what_is_out_of_range():
    model = Sequential([Input((5,), dtype="int32"), layers.Embedding(9, 4)])
    graph = trace(model).optimize().verify()
    assert graph.instrs[-1].op == "Gather" and not any(np.isnan(a).any() for a in graph.constants.values())
    ids = RNG.integers(0, 9, (2, 5))
    np.testing.assert_array_equal(graph(ids), model(ids))


def test_unknown_pass_is_refused():
    with pytest.raises(ValueError, match="constant_folding"):
        trace(lambda x: x, (2,)).optimize(["constant_foldin"])


def test_costs_follow_from_shapes():
    stack = [Input((8, 8, 3)), layers.Conv2D(4, 3, use_bias=False), layers.Flatten(), layers.Dense(5, use_bias=False)]
    costs = {c.instr.op: c for c in trace(Sequential(stack)).costs()}
    assert costs["Conv"].operations == 2 * 6 * 6 * 4 * 27 and costs["Conv"].parameters == 4 * 27
    assert costs["MatMul"].operations == 2 * 144 * 5 and costs["MatMul"].bytes == 4 * (144 + 720 + 5)


@pytest.mark.parametrize("n", [1, 2, 4, 50])
def test_stages_in_turn_equal_the_graph(n):
    model = convolutions()
    graph = trace(model)
    x = RNG.standard_normal((2, 8, 8, 3)).astype("float32")
    stages = graph.partition(n)
    assert len(stages) == min(n, len(graph.instrs))
    known = {graph.input_names[0]: x}
    for stage in stages:
        out = stage.verify().run(feeds={k: known[k] for k in stage.input_names})
        known.update(zip(stage.output_names, out, strict=True))
    np.testing.assert_allclose(known["output_0"], model(x), rtol=1e-5, atol=1e-6)
    sums = [sum(c.operations + c.bytes / 4 for c in s.costs()) for s in stages]
    most = max(c.operations + c.bytes / 4 for c in graph.costs())
    assert max(sums) <= sum(sums) / len(sums) + most


def test_expanded_layers_are_equal():
    model = Sequential([Input((5, 3)), layers.LSTM(4, return_sequences=True), layers.GRU(2)])
    graph = expand(trace(model), lambda i: i.op in ("LSTM", "GRU", "Scan"))
    assert "While" in {i.op for i in graph.instrs} and not {"LSTM", "GRU", "Scan"} & {i.op for i in graph.instrs}
    x = RNG.standard_normal((2, 5, 3)).astype("float32")
    np.testing.assert_allclose(call(graph, x)[0], model(x), rtol=1e-5, atol=1e-6)


def broken(change):
    b = Builder("broken")
    x = b.input("x", (2, 3), "float32")
    y = b.emit("Softmax", [x], axis=1)
    graph = b.finish([b.emit("Add", [y, x])])
    change(graph)
    return trace(lambda v: v, (1,)).of(graph)


BROKEN = {
    "no op 'Sofmax'": lambda g: setattr(g.instrs[0], "op", "Sofmax"),
    "missing: \\['axis'\\]": lambda g: g.instrs[0].attrs.clear(),
    "unknown: \\['axes'\\]": lambda g: g.instrs[0].attrs.update(axes=1),
    "takes 1 inputs, got 2": lambda g: setattr(g.instrs[0], "inputs", g.inputs * 2),
    "nothing before it makes": lambda g: g.instrs.reverse(),
    "expected outputs": lambda g: setattr(g.instrs[0].output, "shape", (2, 4)),
    "cannot take these inputs": lambda g: g.instrs[0].attrs.update(axis=7),
    "nothing makes the outputs": lambda g: g.instrs.pop(),
    "two values are named": lambda g: setattr(g.instrs[0].output, "name", "x"),
}


@pytest.mark.parametrize("message", BROKEN)
def test_verifier_names_what_is_wrong(message):
    with pytest.raises(ValueError, match=message):
        broken(BROKEN[message]).verify()


def test_builder_keeps_small_constants_once():
    b = Builder()
    assert b.constant(np.float32(1)) is b.constant(np.float32(1))
    assert b.constant(np.float32(1)) is not b.constant(np.int32(1))
    assert isinstance(b.graph.instrs, list) and Instr("Neg", (), ()).label == "Neg"
