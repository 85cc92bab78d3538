"""Activation functions, by name: `lamina.activations`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import registry
from lamina.core.config import deserialize_object, serialize_object
from lamina.core.errors import describe
from lamina.ops.activation import (
    celu,
    elu,
    glu,
    hard_shrink,
    hard_sigmoid,
    hard_silu,
    hard_swish,
    hard_tanh,
    leaky_relu,
    log_sigmoid,
    log_softmax,
    relu6,
    selu,
    sigmoid,
    silu,
    soft_shrink,
    softmax,
    softplus,
    softsign,
    sparse_plus,
    sparse_sigmoid,
    sparsemax,
    squareplus,
    swish,
    tanh_shrink,
    threshold,
)
from lamina.ops.convert import Tensor, as_array, as_float
from lamina.ops.op import op
from lamina.ops.trigonometry import tanh


@op
def linear(x: Tensor) -> jax.Array:
    """`x` as it is.

    Example:
        >>> linear([1.0]).tolist()
        [1.0]
    """
    return as_array(x)


@op
def exponential(x: Tensor) -> jax.Array:
    """e to the power `x`.

    Example:
        >>> exponential([0.0]).tolist()
        [1.0]
    """
    return jnp.exp(as_float(x))


@op(named=True)
def mish(x: Tensor) -> jax.Array:
    """x * tanh(softplus(x)).

    Example:
        >>> mish([0.0]).tolist()
        [0.0]

    Reference:
        https://arxiv.org/abs/1908.08681
    """
    x = as_float(x)
    return x * jnp.tanh(jax.nn.softplus(x))


@op(named=True)
def gelu(x: Tensor, approximate: bool = False) -> jax.Array:
    """x * P(X <= x) for a standard normal X; `approximate` takes the formula with tanh.

    Example:
        >>> gelu([0.0, 10.0]).tolist()
        [0.0, 10.0]
    """
    return jax.nn.gelu(as_float(x), approximate)


@op(named=True)
def relu(x: Tensor, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> jax.Array:
    """max(x, 0), with a slope below and a cap above if wanted.

    Args:
        x: an array.
        negative_slope: the slope below the threshold.
        max_value: the largest value, or None for no cap.
        threshold: values below it are 0, or negative_slope * (x - threshold).

    Example:
        >>> relu([-1.0, 0.5, 9.0]).tolist(), relu([-1.0, 0.5, 9.0], 0.5, 6.0).tolist()
        ([0.0, 0.5, 9.0], [-0.5, 0.5, 6.0])
    """
    x = as_array(x)
    if threshold == 0 and max_value is None and negative_slope == 0:
        return jax.nn.relu(x)
    x = as_float(x)
    if threshold == 0 and negative_slope == 0 and max_value == 6:
        return jax.nn.relu6(x)
    above = jnp.where(x > threshold, x, 0) if threshold != 0 else jax.nn.relu(x)
    if max_value is not None:
        above = jnp.minimum(above, max_value)
    if negative_slope == 0:
        return above
    return above - negative_slope * jax.nn.relu(threshold - x)


# The functions that are ops as they stand answer to the names of activations too.
for _function in (
    celu,
    elu,
    glu,
    hard_shrink,
    hard_sigmoid,
    hard_silu,
    hard_swish,
    hard_tanh,
    leaky_relu,
    log_sigmoid,
    log_softmax,
    relu6,
    selu,
    sigmoid,
    silu,
    soft_shrink,
    softmax,
    softplus,
    softsign,
    sparse_plus,
    sparse_sigmoid,
    sparsemax,
    squareplus,
    swish,
    tanh,
    tanh_shrink,
    threshold,
):
    registry.BUILTIN.setdefault("activations", {})[_function.__name__] = _function


def serialize(activation: Callable[..., Any]) -> Any:
    """The name of an activation, or a config if it is an object or a function of yours.

    Example:
        >>> serialize(relu)
        'relu'
    """
    return serialize_object(activation)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Callable[..., Any]:
    """The activation that `serialize` described.

    Example:
        >>> deserialize("relu") is relu
        True
    """
    if isinstance(config, str):
        return registry.lookup("activations", config, custom_objects)
    return deserialize_object(config, custom_objects, "activations")


def get(identifier: Any) -> Callable[..., Any]:
    """An activation from its name, a config, a function, or None for `linear`.

    Raises:
        ValueError: nothing has that name.

    Example:
        >>> get("tanh") is tanh, get(None) is linear
        (True, True)
    """
    if identifier is None:
        return linear
    if isinstance(identifier, (str, dict)):
        identifier = deserialize(identifier)
    if not callable(identifier):
        raise ValueError(f"An activation must be a name, a config or a function, got {describe(identifier)}.")
    return identifier


__all__ = [
    "celu",
    "deserialize",
    "elu",
    "exponential",
    "gelu",
    "get",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "serialize",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "swish",
    "tanh",
    "tanh_shrink",
    "threshold",
]
