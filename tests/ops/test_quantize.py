"""Fake quantisation against TensorFlow's numbers, numpy, and what its gradient must be."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina import ops
from lamina.core.errors import ShapeError
from lamina.graph import trace

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "fake_quant" / "tensorflow.json"
CASES = json.loads(GOLDEN.read_text())["cases"]
fake_quant = ops.fake_quant_with_min_max_vars


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_values_and_gradients_are_those_of_tensorflow(case):
    x, low, high = (jnp.asarray(case[k], "float32") for k in ("x", "low", "high"))

    def run(x, low, high):
        return fake_quant(x, low, high, case["bits"], case["narrow"], case.get("axis"))

    y, pull = jax.vjp(run, x, low, high)
    np.testing.assert_allclose(y, case["y"], rtol=1e-6, atol=1e-6)
    for got, want in zip(pull(jnp.asarray(case["upstream"], "float32")), case["gradients"], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_values_lie_on_the_grid_and_zero_is_exact():
    x = np.linspace(-3, 3, 1001, dtype="float32")
    y = np.asarray(fake_quant(x, -0.7, 2.1))
    scale = np.float32(2.8) / 255
    steps = y.astype(np.float64) / scale
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)
    assert y[500] == 0 and len(np.unique(np.round(steps))) == 256
    inside = (x > -0.7) & (x < 2.1)
    assert np.abs(y - x)[inside].max() <= scale * 0.501
    np.testing.assert_allclose([y.min(), y.max()], [-0.7, 2.1], atol=scale)


def test_symmetric_narrow_range_is_that_of_int8_weights():
    w = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    most = np.abs(w).max(0)
    want = np.round(w.astype(np.float64) / (most / 127)) * (most / 127)
    np.testing.assert_allclose(fake_quant(w, -most, most, narrow_range=True, axis=1), want, atol=1e-6)


def test_it_is_kept_whole_in_graphs_and_works_under_transformations():
    x = np.linspace(-1, 1, 6, dtype="float32").reshape(2, 3)
    limits = np.asarray([1.0, 0.5, 0.25], "float32")

    def run(x):
        return fake_quant(x, -limits, limits, axis=-1)

    graph = trace(run, (None, 3))
    assert [i.op for i in graph.instrs][-1] == "FakeQuant"
    np.testing.assert_array_equal(graph(x), run(x))
    graph.verify()
    y, slope = jax.jvp(run, (x,), (jnp.ones_like(x),))
    np.testing.assert_array_equal(y, run(x))
    assert set(np.unique(slope)) == {0.0, 1.0}
    np.testing.assert_array_equal(jax.vmap(run)(x[None])[0], run(x))
    assert fake_quant(x, 0.0, 0.0).tolist() == np.zeros((2, 3)).tolist()


def test_errors():
    x = np.zeros((2, 3), "float32")
    with pytest.raises(ValueError, match="num_bits must be from 2 to 16, got 17"):
        fake_quant(x, 0.0, 1.0, num_bits=17)
    with pytest.raises(ShapeError, match=r"with axis=1, .* got \(2,\)"):
        fake_quant(x, np.zeros(2), np.ones(2), axis=1)
    with pytest.raises(ShapeError, match="do not fit"):
        fake_quant(x, np.zeros(2), np.ones(2))
