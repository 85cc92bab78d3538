"""Names that code gives to values: they stay in files, and bar no fusion there."""

from __future__ import annotations

import jax
import numpy as np
import onnx
import pytest

import lamina
from lamina import Input, Model, Sequential, export, layers, load_frozen, ops
from lamina.export import numerics
from lamina.export.tflite.flatbuffer import Reader
from lamina.graph import tag, trace
from lamina.graph.passes import drop_identities, optimize

KERNEL = np.linspace(-1, 1, 3 * 3 * 2 * 4, dtype="float32").reshape(3, 3, 2, 4)
BIAS = np.linspace(0, 1, 4, dtype="float32")


def program(x, name=tag):
    """Names on an input, between a convolution, its bias and its activation, on outputs, and two on one value."""
    y = name(ops.conv(name(x, "given"), KERNEL, padding="same"), "before")
    y = name(name(ops.relu(name(y + BIAS, "biased")), "active"), "again")
    z = name(ops.sum(y, axis=(1, 2)), "total")
    return z, name(x, "same"), name(ops.tanh(z), "end")


def plain(x):
    return program(x, lambda value, name: value)


SPEC = (None, 5, 5, 2)
X = np.random.default_rng(0).normal(size=(3, 5, 5, 2)).astype("float32")


def test_names_go_to_what_makes_the_value():
    graph = trace(program, SPEC)
    made = drop_identities(graph).verify()
    assert [i.op for i in made.instrs if i.op == "Identity"] == ["Identity"]  # of the input, which is an output
    names = {i.op: i.output.name for i in made.instrs}
    assert [names[op] for op in ("Conv", "Add", "Relu", "ReduceSum")] == ["before", "biased", "active", "total"]
    feeds = {"x": X}
    for name in ("before", "biased", "active", "total", "end", "same"):
        np.testing.assert_array_equal(made.run(name, feeds), graph.run(name, feeds))
    assert sum(i.op == "Identity" for i in graph.instrs) == 8  # the graph itself stays as it was
    for got, want in zip(made(X), program(X), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_names_inside_loops_go_too():
    def run(x):
        return jax.lax.fori_loop(0, 3, lambda i, s: tag(tag(s * 2.0, "inner") + 1.0, "after"), x)

    graph = trace(run, (2,))
    made = drop_identities(graph)
    bodies = [sub for i in made.instrs for sub in i.subgraphs]
    assert bodies and all(i.op != "Identity" for body in bodies for i in body.instrs)
    assert np.asarray(made(np.float32([1, 2]))).tolist() == [15, 23]


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_onnx_files_are_those_without_names(tmp_path, precision):
    more = {"representative_data": [X]} if precision == "int8" else {}
    options = {"format": "onnx", "precision": precision, **more}
    report = export.save(program, [SPEC], tmp_path / "a.onnx", **options)
    assert report.ops == export.save(plain, [SPEC], tmp_path / "b.onnx", **options).ops
    assert report.ops["Identity"] == (precision != "int8")  # an output that is the input
    file = onnx.load(tmp_path / "a.onnx")
    tensors = {name for node in file.graph.node for name in node.output}
    assert {"biased", "active"} <= tensors or precision == "int8"  # "before" is inside the convolution now
    for got, want in zip(load_frozen(tmp_path / "a.onnx")(X), plain(X), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5 if precision == "float32" else 0.5)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_tflite_files_are_those_without_names(tmp_path, precision):
    more = {"representative_data": [X]} if precision == "int8" else {}
    options = {"format": "tflite", "precision": precision, **more}
    report = export.save(program, [SPEC], tmp_path / "a.tflite", **options)
    assert report.ops == export.save(plain, [SPEC], tmp_path / "b.tflite", **options).ops
    assert report.ops["RELU"] == report.ops["ADD"] == 0  # both are parts of the convolution
    model = Reader((tmp_path / "a.tflite").read_bytes()).root("Model")
    assert {"active", "total"} <= {t["name"] for t in model["subgraphs"][0]["tensors"]}
    for got, want in zip(load_frozen(tmp_path / "a.tflite")(X), plain(X), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5 if precision == "float32" else 0.5)


def test_a_named_kernel_is_a_constant(tmp_path):
    report = export.save(
        lambda x: ops.conv(x, tag(KERNEL, "kernel"), padding="same"), [SPEC], tmp_path / "m.onnx", format="onnx"
    )
    assert "Identity" not in report.ops


def test_normalisation_is_folded_through_a_name():
    x = Input((5, 5, 2))
    y = layers.Conv2D(4, 3, name="conv")(x)
    y = layers.Lambda(lambda v: tag(v, "features"), name="named")(y)
    model = Model(x, layers.BatchNormalization()(y))
    assert "BatchNorm" not in [i.op for i in optimize(drop_identities(trace(model))).instrs]


def test_numerics_find_layers_with_names_inside():
    class Named(layers.Layer):
        def call(self, inputs):
            return tag(inputs * 2.0, "doubled")

    lamina.utils.set_random_seed(0)
    net = Sequential([Input((4,)), layers.Dense(8, "relu", name="first"), Named(name="named"), layers.Dense(2)])
    report = numerics(net, [np.random.default_rng(0).normal(size=(16, 4)).astype("float32")])
    assert {"first", "named", "dense"} <= set(report.layers)
    assert "doubled" in [t.name for t in report.tensors]
    assert "Identity" not in [t.op for t in report.tensors]
