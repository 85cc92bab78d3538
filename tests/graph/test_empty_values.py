"""Values without elements: what is written for widths of 0 costs nothing."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from lamina import export, load_frozen
from lamina.graph import trace
from lamina.graph.passes import fold_constants

X = np.random.default_rng(0).normal(size=(3, 4, 5)).astype("float32")


def edges(x):
    return jnp.pad(x, ((0, 0), (2, 1), (0, 3)), mode="edge")


def test_parts_without_elements_are_left_out():
    graph = trace(edges, X.shape)
    assert any(0 in v.shape for i in graph.instrs for v in i.outputs)
    made = fold_constants(graph).verify()
    assert not any(0 in v.shape for i in made.instrs for v in (*i.inputs, *i.outputs))
    np.testing.assert_array_equal(made(X), edges(X))


def test_an_output_without_elements_stays():
    graph = trace(lambda x: (x[:, :0] * 2.0, jnp.concatenate([x[:0], x[:0]]), jnp.concatenate([x, x[:0]])), X.shape)
    made = fold_constants(graph).verify()
    assert [y.shape for y in made(X)] == [(3, 0, 5), (0, 4, 5), (3, 4, 5)]
    np.testing.assert_array_equal(made(X)[2], X)


def test_open_sizes_are_not_taken_for_none():
    graph = trace(lambda x: jnp.concatenate([x, x[:, :0]], 1) + 1.0, (None, 4))
    made = fold_constants(graph)
    assert [i.op for i in made.instrs if i.op in ("Concat", "Add")][-1] == "Add"
    np.testing.assert_array_equal(made(X[:, :, 0]), X[:, :, 0] + 1)


def test_files(tmp_path):
    for format_, suffix in (("onnx", ".onnx"), ("tflite", ".tflite"), ("frozen", ".pb")):
        report = export.save(edges, [X.shape], tmp_path / f"m{suffix}", format=format_)
        assert sum(report.ops[op] for op in ("Expand", "BROADCAST_TO", "BroadcastTo")) <= 2
        np.testing.assert_array_equal(load_frozen(tmp_path / f"m{suffix}")(X), edges(X))


def test_a_single_point_is_scattered(tmp_path):
    def run(x, i):
        return x.at[i].set(x[0] * 2), x.at[i, 1].add(3.0), x.at[i].max(0.5)

    export.save(run, [X.shape, np.int32(1)], tmp_path / "m.pb", format="frozen")
    for i in (0, 2, 7):  # the last is outside, and changes nothing
        for got, want in zip(load_frozen(tmp_path / "m.pb")(X, np.int32(i)), run(jnp.asarray(X), i), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-6)
