"""Products of vectors, matrices and tensors, and what follows from them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.checks import check_choice
from lamina.ops.convert import Tensor, as_array, as_float
from lamina.ops.op import op


@op(operator="matmul")
def matmul(x1: Tensor, x2: Tensor) -> jax.Array:
    """The matrix product over the last two axes; vectors count as a row or a column. int8 adds up in int32.

    Example:
        >>> matmul([[1, 2]], [[3], [4]]).tolist()
        [[11]]
    """
    x1, x2 = as_array(x1), as_array(x2)
    wide = jnp.int32 if x1.dtype == jnp.int8 and x2.dtype == jnp.int8 else None
    return jnp.matmul(x1, x2, preferred_element_type=wide)


@op
def dot(x1: Tensor, x2: Tensor) -> jax.Array:
    """The sum of products over the last axis of `x1` and the second to last of `x2` (the last of a vector).

    Example:
        >>> dot([1, 2], [3, 4]).item()
        11
    """
    return jnp.dot(as_array(x1), as_array(x2))


@op
def vdot(x1: Tensor, x2: Tensor) -> jax.Array:
    """The sum of products of all elements; complex numbers in `x1` are conjugated.

    Example:
        >>> vdot([[1, 2]], [[3, 4]]).item()
        11
    """
    return jnp.vdot(as_array(x1), as_array(x2))


@op
def inner(x1: Tensor, x2: Tensor) -> jax.Array:
    """The sum of products over the last axes of both.

    Example:
        >>> inner([1, 2], [3, 4]).item()
        11
    """
    return jnp.inner(as_array(x1), as_array(x2))


@op
def outer(x1: Tensor, x2: Tensor) -> jax.Array:
    """All products of an element of `x1` and one of `x2`, both flattened.

    Example:
        >>> outer([1, 2], [3, 4]).tolist()
        [[3, 4], [6, 8]]
    """
    return jnp.outer(as_array(x1), as_array(x2))


@op
def tensordot(x1: Tensor, x2: Tensor, axes: Any = 2) -> jax.Array:
    """The sum of products over chosen axes.

    Args:
        x1: an array.
        x2: an array.
        axes: how many last axes of `x1` meet as many first axes of `x2`, or two lists of axes.

    Example:
        >>> tensordot([[1, 2]], [[3], [4]], axes=1).tolist()
        [[11]]
    """
    if isinstance(axes, (list, tuple)):
        axes = tuple(tuple(a) if isinstance(a, (list, tuple)) else a for a in axes)
    return jnp.tensordot(as_array(x1), as_array(x2), axes)


@op
def einsum(subscripts: str, *operands: Tensor, **kwargs: Any) -> jax.Array:
    """The sum of products that a formula such as `"bij,bjk->bik"` describes.

    Example:
        >>> einsum("ij,ij->i", [[1, 2]], [[3, 4]]).tolist()
        [11]
    """
    arrays = [as_array(x) for x in operands]
    wide = jnp.int32 if all(x.dtype == jnp.int8 for x in arrays) else None
    kwargs.setdefault("preferred_element_type", wide)
    return jnp.einsum(subscripts, *arrays, **kwargs)


@op
def kron(x1: Tensor, x2: Tensor) -> jax.Array:
    """The Kronecker product: `x2` scaled by each element of `x1`, as blocks.

    Example:
        >>> kron([1, 2], [1, 1]).tolist()
        [1, 1, 2, 2]
    """
    return jnp.kron(as_array(x1), as_array(x2))


@op
def cross(
    x1: Tensor, x2: Tensor, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> jax.Array:
    """The cross product of vectors of 2 or 3 elements.

    Args:
        x1: vectors, along `axisa`.
        x2: vectors, along `axisb`.
        axisa: the axis of the vectors of `x1`.
        axisb: the axis of the vectors of `x2`.
        axisc: the axis of the vectors of the result.
        axis: one axis for all three.

    Example:
        >>> cross([1, 0, 0], [0, 1, 0]).tolist()
        [0, 0, 1]
    """
    return jnp.cross(as_array(x1), as_array(x2), axisa, axisb, axisc, axis)


@op
def correlate(x1: Tensor, x2: Tensor, mode: str = "valid") -> jax.Array:
    """The correlation of two vectors at all shifts.

    Args:
        x1: a vector.
        x2: a vector.
        mode: `"valid"` (both overlap fully), `"same"` (as long as the longer) or `"full"`.

    Example:
        >>> correlate([1.0, 2.0, 3.0], [1.0, 1.0]).tolist()
        [3.0, 5.0]
    """
    check_choice("ops.correlate", "mode", mode, ["valid", "same", "full"])
    return jnp.correlate(as_float(x1), as_float(x2), mode)


@op
def corrcoef(x: Tensor) -> jax.Array:
    """The correlation coefficients of the rows of `x`.

    Example:
        >>> corrcoef([[1.0, 2.0], [2.0, 4.0]]).round(3).tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """
    return jnp.corrcoef(as_float(x))


@op(named=True)
def cdist(x: Tensor, y: Tensor) -> jax.Array:
    """The Euclidean distances of each row of `x` to each row of `y`; its gradient at distance 0 is 0.

    Shape:
        (..., n, d), (..., m, d) -> (..., n, m)

    Example:
        >>> cdist([[0.0, 0.0]], [[3.0, 4.0]]).tolist()
        [[5.0]]
    """
    x, y = as_float(x), as_float(y)
    squared = jnp.sum(jnp.square(x[..., :, None, :] - y[..., None, :, :]), axis=-1)
    apart = squared > 0
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, squared, 1)), 0)
