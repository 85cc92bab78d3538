"""Pooling: ties, windows that overlap or leave a rest, padding."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lamina import ops

rng = np.random.default_rng(0)


def window_max(x, size, strides, padding):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, *size, 1), (1, *strides, 1), padding)


@pytest.mark.parametrize(
    ("size", "strides", "padding"),
    [((2, 2), (2, 2), "valid"), ((2, 3), (2, 3), "same"), ((3, 3), (2, 2), "same"), ((3, 2), (1, 1), "valid")],
)
@pytest.mark.parametrize("shape", [(2, 6, 6, 3), (1, 7, 8, 2)])
def test_max_pool_and_its_gradient_at_ties_equal_the_general_window(size, strides, padding, shape):
    x = jnp.asarray(rng.integers(0, 3, shape).astype("float32"))  # many ties
    pool = lambda x: ops.max_pool(x, size, strides, padding)  # noqa: E731
    wanted = lambda x: window_max(x, size, strides, padding.upper())  # noqa: E731
    np.testing.assert_array_equal(pool(x), wanted(x))
    gradients = [
        jax.jit(jax.grad(lambda x, f=f: jnp.vdot(f(x), jnp.cos(jnp.arange(f(x).size)))))(x) for f in (pool, wanted)
    ]
    np.testing.assert_allclose(*gradients, 1e-6)


def test_max_pool_forward_mode_and_vmap():
    x = jnp.asarray(rng.standard_normal((3, 2, 4, 4, 2)).astype("float32"))
    pool = lambda x: ops.max_pool(x, 2)  # noqa: E731
    value, slope = jax.jvp(pool, (x[0],), (jnp.ones_like(x[0]),))
    np.testing.assert_array_equal(slope, jnp.ones_like(value))
    np.testing.assert_array_equal(jax.vmap(pool)(x)[1], pool(x[1]))


def test_max_pool_of_integers_and_nan():
    assert ops.max_pool(jnp.array([[[-3], [-5]]]), 2).tolist() == [[[-3]]]
    assert np.isnan(ops.max_pool(jnp.array([[[np.nan], [1.0]]]), 2)).all()


def test_average_pool_counts_only_what_lies_inside():
    x = jnp.ones((1, 5, 5, 1))
    np.testing.assert_allclose(ops.average_pool(x, 2, padding="same"), jnp.ones((1, 3, 3, 1)))


@pytest.mark.parametrize("name", ["adaptive_average_pool", "adaptive_max_pool"])
def test_adaptive_windows_cover_uneven_sizes(name):
    x = rng.standard_normal((1, 7, 2)).astype("float32")
    reduce = np.mean if "average" in name else np.max
    wanted = np.stack([reduce(x[:, a:b], axis=1) for a, b in ((0, 3), (2, 5), (4, 7))], axis=1)
    np.testing.assert_allclose(getattr(ops, name)(x, 3), wanted, 1e-5)
    first = getattr(ops, name)(np.moveaxis(x, -1, 1), 3, data_format="channels_first")
    np.testing.assert_allclose(np.moveaxis(np.asarray(first), 1, -1), wanted, 1e-5)
