"""Elementwise roots, exponentials, logarithms and error functions."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lamina.ops.convert import Tensor, as_float, as_operand
from lamina.ops.op import op


@op
def logaddexp(x1: Tensor, x2: Tensor) -> jax.Array:
    """log(exp(x1) + exp(x2)), without overflow.

    Example:
        >>> round(logaddexp(0.0, 0.0).item(), 4)
        0.6931
    """
    return jnp.logaddexp(as_operand(x1), as_operand(x2))


@op
def logaddexp2(x1: Tensor, x2: Tensor) -> jax.Array:
    """log2(2**x1 + 2**x2), without overflow.

    Example:
        >>> logaddexp2(0.0, 0.0).item()
        1.0
    """
    return jnp.logaddexp2(as_operand(x1), as_operand(x2))


@op
def sqrt(x: Tensor) -> jax.Array:
    """The square root.

    Example:
        >>> sqrt([4, 9]).tolist()
        [2.0, 3.0]
    """
    return jnp.sqrt(as_float(x))


@op
def rsqrt(x: Tensor) -> jax.Array:
    """1 / sqrt(x).

    Example:
        >>> rsqrt(4.0).item()
        0.5
    """
    return jax.lax.rsqrt(as_float(x))


@op
def cbrt(x: Tensor) -> jax.Array:
    """The cube root.

    Example:
        >>> round(cbrt(27.0).item(), 5)
        3.0
    """
    return jnp.cbrt(as_float(x))


@op
def exp(x: Tensor) -> jax.Array:
    """e to the power `x`.

    Example:
        >>> exp(0.0).item()
        1.0
    """
    return jnp.exp(as_float(x))


@op
def exp2(x: Tensor) -> jax.Array:
    """2 to the power `x`.

    Example:
        >>> exp2(3).item()
        8.0
    """
    return jnp.exp2(as_float(x))


@op
def expm1(x: Tensor) -> jax.Array:
    """exp(x) - 1, exact for small `x`.

    Example:
        >>> expm1(0.0).item()
        0.0
    """
    return jnp.expm1(as_float(x))


@op
def log(x: Tensor) -> jax.Array:
    """The natural logarithm.

    Example:
        >>> log(1).item()
        0.0
    """
    return jnp.log(as_float(x))


@op
def log2(x: Tensor) -> jax.Array:
    """The logarithm to base 2.

    Example:
        >>> log2(8.0).item()
        3.0
    """
    return jnp.log2(as_float(x))


@op
def log10(x: Tensor) -> jax.Array:
    """The logarithm to base 10.

    Example:
        >>> round(log10(100.0).item(), 5)
        2.0
    """
    return jnp.log10(as_float(x))


@op
def log1p(x: Tensor) -> jax.Array:
    """log(1 + x), exact for small `x`.

    Example:
        >>> log1p(0.0).item()
        0.0
    """
    return jnp.log1p(as_float(x))


@op
def erf(x: Tensor) -> jax.Array:
    """The error function.

    Example:
        >>> erf(0.0).item()
        0.0
    """
    return jax.lax.erf(as_float(x))


@op
def erfc(x: Tensor) -> jax.Array:
    """1 - erf(x), exact for large `x`.

    Example:
        >>> erfc(0.0).item()
        1.0
    """
    return jax.lax.erfc(as_float(x))


@op
def erfinv(x: Tensor) -> jax.Array:
    """The inverse of the error function.

    Example:
        >>> erfinv(0.0).item()
        0.0
    """
    return jax.lax.erf_inv(as_float(x))


@op
def i0(x: Tensor) -> jax.Array:
    """The modified Bessel function of the first kind, of order 0.

    Example:
        >>> round(i0(0.0).item(), 5)
        1.0
    """
    return jnp.i0(as_float(x))
