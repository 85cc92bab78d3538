"""Elementwise trigonometric and hyperbolic functions."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lamina.ops.convert import Tensor, as_float, as_operand
from lamina.ops.op import op


@op
def sin(x: Tensor) -> jax.Array:
    """The sine of angles in radians.

    Example:
        >>> sin(0.0).item()
        0.0
    """
    return jnp.sin(as_float(x))


@op
def cos(x: Tensor) -> jax.Array:
    """The cosine of angles in radians.

    Example:
        >>> cos(0.0).item()
        1.0
    """
    return jnp.cos(as_float(x))


@op
def tan(x: Tensor) -> jax.Array:
    """The tangent of angles in radians.

    Example:
        >>> tan(0.0).item()
        0.0
    """
    return jnp.tan(as_float(x))


@op
def arcsin(x: Tensor) -> jax.Array:
    """The inverse sine, in radians.

    Example:
        >>> arcsin(0.0).item()
        0.0
    """
    return jnp.arcsin(as_float(x))


@op
def arccos(x: Tensor) -> jax.Array:
    """The inverse cosine, in radians.

    Example:
        >>> arccos(1.0).item()
        0.0
    """
    return jnp.arccos(as_float(x))


@op
def arctan(x: Tensor) -> jax.Array:
    """The inverse tangent, in radians.

    Example:
        >>> arctan(0.0).item()
        0.0
    """
    return jnp.arctan(as_float(x))


@op
def sinh(x: Tensor) -> jax.Array:
    """The hyperbolic sine.

    Example:
        >>> sinh(0.0).item()
        0.0
    """
    return jnp.sinh(as_float(x))


@op
def cosh(x: Tensor) -> jax.Array:
    """The hyperbolic cosine.

    Example:
        >>> cosh(0.0).item()
        1.0
    """
    return jnp.cosh(as_float(x))


@op
def tanh(x: Tensor) -> jax.Array:
    """The hyperbolic tangent.

    Example:
        >>> tanh(0.0).item()
        0.0
    """
    return jnp.tanh(as_float(x))


@op
def arcsinh(x: Tensor) -> jax.Array:
    """The inverse hyperbolic sine.

    Example:
        >>> arcsinh(0.0).item()
        0.0
    """
    return jnp.arcsinh(as_float(x))


@op
def arccosh(x: Tensor) -> jax.Array:
    """The inverse hyperbolic cosine.

    Example:
        >>> arccosh(1.0).item()
        0.0
    """
    return jnp.arccosh(as_float(x))


@op
def arctanh(x: Tensor) -> jax.Array:
    """The inverse hyperbolic tangent.

    Example:
        >>> arctanh(0.0).item()
        0.0
    """
    return jnp.arctanh(as_float(x))


@op
def sinc(x: Tensor) -> jax.Array:
    """sin(pi x) / (pi x), 1 at zero.

    Example:
        >>> sinc(0.0).item()
        1.0
    """
    return jnp.sinc(as_float(x))


@op
def deg2rad(x: Tensor) -> jax.Array:
    """Degrees as radians.

    Example:
        >>> round(deg2rad(180).item(), 4)
        3.1416
    """
    return jnp.deg2rad(as_float(x))


@op
def rad2deg(x: Tensor) -> jax.Array:
    """Radians as degrees.

    Example:
        >>> rad2deg(0.0).item()
        0.0
    """
    return jnp.rad2deg(as_float(x))


@op
def arctan2(x1: Tensor, x2: Tensor) -> jax.Array:
    """The angle of the point (x2, x1), in radians, in the right quadrant.

    Example:
        >>> arctan2(0.0, 1.0).item()
        0.0
    """
    return jnp.arctan2(as_operand(x1), as_operand(x2))
