"""Regularizers and constraints against their formulas."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina import constraints, regularizers
from lamina.state.variable import Variable

W = np.random.default_rng(0).standard_normal((5, 4)).astype("float32") * 2


def mean_cosine(w):
    unit = w / np.linalg.norm(w, axis=1, keepdims=True)
    cosine = np.abs(unit @ unit.T)
    return cosine[~np.eye(len(w), dtype=bool)].mean()


@pytest.mark.parametrize(
    ("regularizer", "wanted"),
    [
        (regularizers.L1(0.3), 0.3 * np.abs(W).sum()),
        (regularizers.L2(0.3), 0.3 * (W**2).sum()),
        (regularizers.L1L2(0.1, 0.2), 0.1 * np.abs(W).sum() + 0.2 * (W**2).sum()),
        (regularizers.OrthogonalRegularizer(0.5), 0.5 * mean_cosine(W)),
        (regularizers.OrthogonalRegularizer(0.5, "columns"), 0.5 * mean_cosine(W.T)),
    ],
)
def test_penalty(regularizer, wanted):
    np.testing.assert_allclose(regularizer(W), wanted, 1e-5)
    np.testing.assert_allclose(regularizer(Variable(W, name="w")), wanted, 1e-5)
    again = regularizers.deserialize(regularizers.serialize(regularizer))
    np.testing.assert_allclose(jax.jit(again)(W), wanted, 1e-5)
    assert np.isfinite(jax.grad(regularizer)(jnp.asarray(W))).all()


def norms(w, axis=0):
    return np.sqrt((w**2).sum(axis, keepdims=True))


@pytest.mark.parametrize(
    ("constraint", "wanted"),
    [
        (constraints.NonNeg(), np.maximum(W, 0)),
        (constraints.UnitNorm(), W / norms(W)),
        (constraints.MaxNorm(3.0), W * np.minimum(norms(W), 3) / norms(W)),
        (constraints.MaxNorm(3.0, axis=[0, 1]), W * np.minimum(norms(W, (0, 1)), 3) / norms(W, (0, 1))),
        (constraints.MinMaxNorm(1.0, 2.0, 0.5), W * (0.5 * np.clip(norms(W), 1, 2) + 0.5 * norms(W)) / norms(W)),
    ],
)
def test_projection(constraint, wanted):
    np.testing.assert_allclose(constraint(W), wanted, 1e-5, 1e-6)
    again = constraints.deserialize(constraints.serialize(constraint))
    np.testing.assert_allclose(jax.jit(again)(W), wanted, 1e-5, 1e-6)


def test_names_and_errors():
    assert regularizers.get("l1_l2").get_config() == {"l1": 0.0, "l2": 0.0} and regularizers.get(None) is None
    assert isinstance(constraints.get("max_norm"), constraints.MaxNorm) and constraints.get(None) is None
    with pytest.raises(ValueError, match="Did you mean 'L2'"):
        regularizers.get("L22")
    with pytest.raises(ValueError, match="at least 0"):
        regularizers.L1(-1.0)
    with pytest.raises(ValueError, match="matrix"):
        regularizers.OrthogonalRegularizer()(jnp.ones(3))
