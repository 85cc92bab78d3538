"""Activations by name, and what they add to the ops."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from lamina import activations
from lamina.core.registry import custom_object_scope
from lamina.ops.symbol import Symbol

X = np.array([-3.0, -0.5, 0.0, 0.5, 7.0], "float32")
HELPERS = ("get", "serialize", "deserialize")


@pytest.mark.parametrize("name", [n for n in activations.__all__ if n not in HELPERS])
def test_name_round_trip_and_symbols(name):
    function = activations.get(name)
    assert function is getattr(activations, name)
    assert activations.serialize(function) == name and activations.deserialize(name) is function
    args = (0.1, 0.0) if name == "threshold" else ()
    assert function(Symbol((None, 4)), *args).shape == ((None, 2) if name == "glu" else (None, 4))


def test_relu_with_slope_cap_and_threshold():
    got = activations.relu(X, negative_slope=0.1, max_value=6.0, threshold=0.2)
    wanted = np.where(X >= 6, 6, np.where(X >= 0.2, X, 0.1 * (X - 0.2)))
    np.testing.assert_allclose(got, wanted, 1e-6)


def test_mish_gelu_and_linear():
    np.testing.assert_allclose(activations.mish(X), X * np.tanh(np.log1p(np.exp(X))), 1e-5, 1e-6)
    assert not np.allclose(activations.gelu(X), activations.gelu(X, approximate=True), 1e-6)
    assert activations.linear(X).tolist() == X.tolist() and activations.get(None) is activations.linear


def test_own_functions_by_scope_and_errors():
    def cubed(x):
        return x**3

    with custom_object_scope({"cubed": cubed}):
        assert activations.get("cubed") is cubed
    assert activations.get(cubed) is cubed
    with pytest.raises(ValueError, match="Did you mean 'relu'"):
        activations.get("rellu")
    with pytest.raises(ValueError, match="got 3"):
        activations.get(3)
    assert activations.softmax(jnp.ones((2, 2)), axis=0).shape == (2, 2)
