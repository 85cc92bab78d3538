"""Complex numbers and their parts."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lamina.ops.convert import Tensor, as_array, as_float, as_operand
from lamina.ops.op import op


@op
def real(x: Tensor) -> jax.Array:
    """The real part.

    Example:
        >>> real([1 + 2j]).tolist()
        [1.0]
    """
    return jnp.real(as_operand(x))


@op
def imag(x: Tensor) -> jax.Array:
    """The imaginary part.

    Example:
        >>> imag([1 + 2j]).tolist()
        [2.0]
    """
    return jnp.imag(as_operand(x))


@op
def conj(x: Tensor) -> jax.Array:
    """The complex conjugate.

    Example:
        >>> conj([1 + 2j]).tolist()
        [(1-2j)]
    """
    return jnp.conj(as_operand(x))


@op
def conjugate(x: Tensor) -> jax.Array:
    """The complex conjugate.

    Example:
        >>> conjugate([1 + 2j]).tolist()
        [(1-2j)]
    """
    return jnp.conj(as_operand(x))


@op
def angle(x: Tensor) -> jax.Array:
    """The argument of complex numbers, in radians.

    Example:
        >>> angle([1.0, 1j]).tolist()
        [0.0, 1.5707963705062866]
    """
    return jnp.angle(as_operand(x))


@op
def polar(abs_: Tensor, angle: Tensor) -> jax.Array:
    """Complex numbers from modulus and argument.

    Example:
        >>> polar([2.0], [0.0]).tolist()
        [(2+0j)]
    """
    abs_, angle = as_float(abs_), as_float(angle)
    return jax.lax.complex(abs_ * jnp.cos(angle), abs_ * jnp.sin(angle))


@op
def view_as_complex(x: Tensor) -> jax.Array:
    """Complex numbers from a last axis of size 2 that holds real and imaginary parts.

    Example:
        >>> view_as_complex([[1.0, 2.0]]).tolist()
        [(1+2j)]
    """
    x = as_array(x)
    if x.ndim < 1 or x.shape[-1] != 2:
        raise ValueError(f"ops.view_as_complex: the last axis must have size 2, got an array of shape {x.shape}.")
    return jax.lax.complex(x[..., 0], x[..., 1])


@op
def view_as_real(x: Tensor) -> jax.Array:
    """Real and imaginary parts of complex numbers, in a new last axis of size 2.

    Example:
        >>> view_as_real([1 + 2j]).tolist()
        [[1.0, 2.0]]
    """
    x = as_array(x)
    return jnp.stack([jnp.real(x), jnp.imag(x)], axis=-1)
