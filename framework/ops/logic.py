"""Comparisons, logic, bits and tests of floats, element by element."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lamina.ops.convert import Tensor, as_operand
from lamina.ops.op import op


@op
def equal(x1: Tensor, x2: Tensor) -> jax.Array:
    """Whether x1 == x2, element by element.

    Example:
        >>> equal([1, 2], 2).tolist()
        [False, True]
    """
    return jnp.equal(as_operand(x1), as_operand(x2))


@op
def not_equal(x1: Tensor, x2: Tensor) -> jax.Array:
    """Whether x1 != x2, element by element.

    Example:
        >>> not_equal([1, 2], 2).tolist()
        [True, False]
    """
    return jnp.not_equal(as_operand(x1), as_operand(x2))


@op(operator="less")
def less(x1: Tensor, x2: Tensor) -> jax.Array:
    """Whether x1 < x2, element by element.

    Example:
        >>> less([1, 2], 2).tolist()
        [True, False]
    """
    return jnp.less(as_operand(x1), as_operand(x2))


@op(operator="less_equal")
def less_equal(x1: Tensor, x2: Tensor) -> jax.Array:
    """Whether x1 <= x2, element by element.

    Example:
        >>> less_equal([1, 3], 2).tolist()
        [True, False]
    """
    return jnp.less_equal(as_operand(x1), as_operand(x2))


@op(operator="greater")
def greater(x1: Tensor, x2: Tensor) -> jax.Array:
    """Whether x1 > x2, element by element.

    Example:
        >>> greater([1, 3], 2).tolist()
        [False, True]
    """
    return jnp.greater(as_operand(x1), as_operand(x2))


@op(operator="greater_equal")
def greater_equal(x1: Tensor, x2: Tensor) -> jax.Array:
    """Whether x1 >= x2, element by element.

    Example:
        >>> greater_equal([1, 2], 2).tolist()
        [False, True]
    """
    return jnp.greater_equal(as_operand(x1), as_operand(x2))


@op(operator="logical_and")
def logical_and(x1: Tensor, x2: Tensor) -> jax.Array:
    """Whether both are true, element by element.

    Example:
        >>> logical_and([True, True], [True, False]).tolist()
        [True, False]
    """
    return jnp.logical_and(as_operand(x1), as_operand(x2))


@op(operator="logical_or")
def logical_or(x1: Tensor, x2: Tensor) -> jax.Array:
    """Whether either is true, element by element.

    Example:
        >>> logical_or([True, False], False).tolist()
        [True, False]
    """
    return jnp.logical_or(as_operand(x1), as_operand(x2))


@op(operator="logical_xor")
def logical_xor(x1: Tensor, x2: Tensor) -> jax.Array:
    """Whether exactly one is true, element by element.

    Example:
        >>> logical_xor([True, False], True).tolist()
        [False, True]
    """
    return jnp.logical_xor(as_operand(x1), as_operand(x2))


@op(operator="logical_not")
def logical_not(x: Tensor) -> jax.Array:
    """Whether `x` is false, element by element.

    Example:
        >>> logical_not([True, False]).tolist()
        [False, True]
    """
    return jnp.logical_not(as_operand(x))


@op
def isfinite(x: Tensor) -> jax.Array:
    """Whether each element is neither infinite nor NaN.

    Example:
        >>> isfinite([1.0, float("inf")]).tolist()
        [True, False]
    """
    return jnp.isfinite(as_operand(x))


@op
def isinf(x: Tensor) -> jax.Array:
    """Whether each element is infinite.

    Example:
        >>> isinf([1.0, float("inf")]).tolist()
        [False, True]
    """
    return jnp.isinf(as_operand(x))


@op
def isnan(x: Tensor) -> jax.Array:
    """Whether each element is NaN.

    Example:
        >>> isnan([1.0, float("nan")]).tolist()
        [False, True]
    """
    return jnp.isnan(as_operand(x))


@op
def isneginf(x: Tensor) -> jax.Array:
    """Whether each element is minus infinity.

    Example:
        >>> isneginf([1.0, -float("inf")]).tolist()
        [False, True]
    """
    return jnp.isneginf(as_operand(x))


@op
def isposinf(x: Tensor) -> jax.Array:
    """Whether each element is plus infinity.

    Example:
        >>> isposinf([1.0, float("inf")]).tolist()
        [False, True]
    """
    return jnp.isposinf(as_operand(x))


@op
def isreal(x: Tensor) -> jax.Array:
    """Whether the imaginary part of each element is zero.

    Example:
        >>> isreal([1.0, 2j]).tolist()
        [True, False]
    """
    return jnp.isreal(as_operand(x))


@op
def bitwise_and(x: Tensor, y: Tensor) -> jax.Array:
    """The bits set in both integers.

    Example:
        >>> bitwise_and([6], 3).tolist()
        [2]
    """
    return jnp.bitwise_and(as_operand(x), as_operand(y))


@op
def bitwise_or(x: Tensor, y: Tensor) -> jax.Array:
    """The bits set in either integer.

    Example:
        >>> bitwise_or([6], 3).tolist()
        [7]
    """
    return jnp.bitwise_or(as_operand(x), as_operand(y))


@op
def bitwise_xor(x: Tensor, y: Tensor) -> jax.Array:
    """The bits set in exactly one of two integers.

    Example:
        >>> bitwise_xor([6], 3).tolist()
        [5]
    """
    return jnp.bitwise_xor(as_operand(x), as_operand(y))


@op
def bitwise_left_shift(x: Tensor, y: Tensor) -> jax.Array:
    """The bits of `x` moved up by `y` places.

    Example:
        >>> bitwise_left_shift([1], 3).tolist()
        [8]
    """
    return jnp.left_shift(as_operand(x), as_operand(y))


@op
def left_shift(x: Tensor, y: Tensor) -> jax.Array:
    """The bits of `x` moved up by `y` places.

    Example:
        >>> left_shift([1], 3).tolist()
        [8]
    """
    return jnp.left_shift(as_operand(x), as_operand(y))


@op
def bitwise_right_shift(x: Tensor, y: Tensor) -> jax.Array:
    """The bits of `x` moved down by `y` places.

    Example:
        >>> bitwise_right_shift([8], 3).tolist()
        [1]
    """
    return jnp.right_shift(as_operand(x), as_operand(y))


@op
def right_shift(x: Tensor, y: Tensor) -> jax.Array:
    """The bits of `x` moved down by `y` places.

    Example:
        >>> right_shift([8], 3).tolist()
        [1]
    """
    return jnp.right_shift(as_operand(x), as_operand(y))


@op
def bitwise_invert(x: Tensor) -> jax.Array:
    """The bits of `x` inverted.

    Example:
        >>> bitwise_invert([0]).tolist()
        [-1]
    """
    return jnp.bitwise_invert(as_operand(x))


@op
def bitwise_not(x: Tensor) -> jax.Array:
    """The bits of `x` inverted.

    Example:
        >>> bitwise_not([0]).tolist()
        [-1]
    """
    return jnp.bitwise_invert(as_operand(x))


@op
def isclose(x1: Tensor, x2: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> jax.Array:
    """Whether values differ by at most atol + rtol * |x2|, element by element.

    Example:
        >>> isclose([1.0, 2.0], [1.0, 2.1]).tolist()
        [True, False]
    """
    return jnp.isclose(as_operand(x1), as_operand(x2), rtol, atol, equal_nan)


@op
def allclose(x1: Tensor, x2: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> jax.Array:
    """Whether all values differ by at most atol + rtol * |x2|.

    Example:
        >>> allclose([1.0, 2.0], [1.0, 2.1]).item()
        False
    """
    return jnp.allclose(as_operand(x1), as_operand(x2), rtol, atol, equal_nan)


@op
def isin(x1: Tensor, x2: Tensor, assume_unique: bool = False, invert: bool = False) -> jax.Array:
    """Whether each element of `x1` is among those of `x2`.

    Args:
        x1: the elements to look for.
        x2: the elements to look in.
        assume_unique: whether both hold each value once (saves a sort).
        invert: whether to give the opposite answer.

    Example:
        >>> isin([1, 2, 3], [2, 4]).tolist()
        [False, True, False]
    """
    return jnp.isin(as_operand(x1), as_operand(x2), assume_unique=assume_unique, invert=invert)
