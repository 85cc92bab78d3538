"""Transposes that move no element, and reshapes behind each other."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from lamina import Input, Sequential, export, layers, load_frozen
from lamina.graph import trace
from lamina.graph.passes import simplify_layout

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("run", "shape", "ops"),
    [
        (lambda x: jnp.transpose(x, (0, 3, 1, 2)), (None, 4, 5, 1), ["Reshape"]),
        (lambda x: jnp.transpose(x, (0, 3, 1, 2)), (None, 4, 5, 2), ["Transpose"]),
        (lambda x: jnp.transpose(x, (1, 0)), (None, 1), ["Reshape"]),
        (lambda x: jnp.transpose(x, (1, 0)), (None, 3), ["Transpose"]),
        (lambda x: jnp.transpose(x.reshape(-1, 1, 4, 5), (0, 2, 3, 1)), (None, 4, 5, 1), []),
        (lambda x: jnp.transpose(x, (0, 3, 1, 2)).reshape(-1, 20), (None, 4, 5, 1), ["Reshape"]),
        (lambda x: jnp.transpose(jnp.exp(jnp.transpose(x, (0, 3, 1, 2))), (0, 2, 3, 1)), (None, 4, 5, 1), ["Exp"]),
        (lambda x: jnp.transpose(x, (2, 0, 1)).reshape(5, 2), (2, 1, 5), ["Transpose", "Reshape"]),
    ],
)
def test_axes_of_size_1_move_by_reshapes(run, shape, ops):
    graph = trace(run, shape)
    made = simplify_layout(graph).verify()
    assert [i.op for i in made.instrs] == ops
    x = RNG.normal(size=[3 if d is None else d for d in shape]).astype("float32")
    np.testing.assert_array_equal(made(x), run(x))


def test_grey_images_from_onnx_to_tflite(tmp_path):
    stack = [
        layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(1, 3, padding="same", activation="relu"), layers.Flatten(), layers.Dense(3),
    ]  # fmt: skip
    model = Sequential([Input((12, 12, 1)), *stack])
    model.export(tmp_path / "m.onnx", format="onnx")
    graph = load_frozen(tmp_path / "m.onnx").to_graph()
    converted = export.save(graph, None, tmp_path / "converted.tflite", format="tflite")
    assert converted.ops == model.export(tmp_path / "m.tflite", format="tflite").ops
    x = RNG.normal(size=(2, 12, 12, 1)).astype("float32")
    np.testing.assert_allclose(load_frozen(tmp_path / "converted.tflite")(x), model(x), atol=1e-5)
