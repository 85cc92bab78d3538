"""Elementwise arithmetic: sums, products, powers, remainders, signs, rounding, limits."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lamina.ops.convert import Tensor, as_float, as_operand
from lamina.ops.op import op


def _number(x: Tensor) -> Tensor:
    """`x`, with booleans as integers."""
    x = as_operand(x)
    return jnp.asarray(x, "int32") if isinstance(x, bool) or str(getattr(x, "dtype", None)) == "bool" else x


@op(operator="add")
def add(x1: Tensor, x2: Tensor) -> jax.Array:
    """The sum of two arrays, element by element.

    Example:
        >>> add([1, 2], 0.5).tolist()
        [1.5, 2.5]
    """
    return jnp.add(as_operand(x1), as_operand(x2))


@op(operator="subtract")
def subtract(x1: Tensor, x2: Tensor) -> jax.Array:
    """The difference of two arrays, element by element.

    Example:
        >>> subtract([3, 2], [1, 1]).tolist()
        [2, 1]
    """
    return jnp.subtract(as_operand(x1), as_operand(x2))


@op(operator="multiply")
def multiply(x1: Tensor, x2: Tensor) -> jax.Array:
    """The product of two arrays, element by element.

    Example:
        >>> multiply([1, 2], 3).tolist()
        [3, 6]
    """
    return jnp.multiply(as_operand(x1), as_operand(x2))


@op
def divide(x1: Tensor, x2: Tensor) -> jax.Array:
    """The quotient of two arrays; integers divide to floats.

    Example:
        >>> divide([1, 2], 2).tolist()
        [0.5, 1.0]
    """
    return jnp.true_divide(as_operand(x1), as_operand(x2))


@op(operator="true_divide")
def true_divide(x1: Tensor, x2: Tensor) -> jax.Array:
    """The quotient of two arrays; integers divide to floats.

    Example:
        >>> true_divide([1, 2], 2).tolist()
        [0.5, 1.0]
    """
    return jnp.true_divide(as_operand(x1), as_operand(x2))


@op(named=True)
def divide_no_nan(x1: Tensor, x2: Tensor) -> jax.Array:
    """The quotient of two arrays, 0 where the divisor is 0.

    Example:
        >>> divide_no_nan([1.0, 1.0], [2.0, 0.0]).tolist()
        [0.5, 0.0]
    """
    x1, x2 = as_float(x1), as_float(x2)
    zero = x2 == 0
    return jnp.where(zero, 0, x1 / jnp.where(zero, 1, x2))


@op(operator="floor_divide")
def floor_divide(x1: Tensor, x2: Tensor) -> jax.Array:
    """The quotient of two arrays, rounded down.

    Example:
        >>> floor_divide([7, -7], 2).tolist()
        [3, -4]
    """
    return jnp.floor_divide(as_operand(x1), as_operand(x2))


@op(operator="mod")
def mod(x1: Tensor, x2: Tensor) -> jax.Array:
    """The remainder of the division rounded down: it has the sign of the divisor.

    Example:
        >>> mod([7, -7], 3).tolist()
        [1, 2]
    """
    return jnp.mod(_number(x1), _number(x2))


@op
def fmod(x1: Tensor, x2: Tensor) -> jax.Array:
    """The remainder of the division rounded towards zero: it has the sign of the dividend.

    Example:
        >>> fmod([7, -7], 3).tolist()
        [1, -1]
    """
    return jnp.fmod(as_operand(x1), as_operand(x2))


@op(operator="power")
def power(x1: Tensor, x2: Tensor) -> jax.Array:
    """`x1` to the power `x2`, element by element.

    Example:
        >>> power([2.0, 3.0], 2).tolist()
        [4.0, 9.0]
    """
    return jnp.power(as_operand(x1), as_operand(x2))


@op
def maximum(x1: Tensor, x2: Tensor) -> jax.Array:
    """The larger of two values, element by element; NaN if either is.

    Example:
        >>> maximum([1, 5], 3).tolist()
        [3, 5]
    """
    return jnp.maximum(as_operand(x1), as_operand(x2))


@op
def minimum(x1: Tensor, x2: Tensor) -> jax.Array:
    """The smaller of two values, element by element; NaN if either is.

    Example:
        >>> minimum([1, 5], 3).tolist()
        [1, 3]
    """
    return jnp.minimum(as_operand(x1), as_operand(x2))


@op
def fmax(x1: Tensor, x2: Tensor) -> jax.Array:
    """The larger of two values; where one is NaN, the other.

    Example:
        >>> fmax([1.0, float("nan")], 0.5).tolist()
        [1.0, 0.5]
    """
    return jnp.fmax(as_operand(x1), as_operand(x2))


@op
def fmin(x1: Tensor, x2: Tensor) -> jax.Array:
    """The smaller of two values; where one is NaN, the other.

    Example:
        >>> fmin([1.0, float("nan")], 0.5).tolist()
        [0.5, 0.5]
    """
    return jnp.fmin(as_operand(x1), as_operand(x2))


@op
def gcd(x1: Tensor, x2: Tensor) -> jax.Array:
    """The greatest common divisor of integers.

    Example:
        >>> gcd([12, 7], 8).tolist()
        [4, 1]
    """
    return jnp.gcd(as_operand(x1), as_operand(x2))


@op
def lcm(x1: Tensor, x2: Tensor) -> jax.Array:
    """The least common multiple of integers.

    Example:
        >>> lcm([4, 7], 6).tolist()
        [12, 42]
    """
    return jnp.lcm(as_operand(x1), as_operand(x2))


@op
def ldexp(x1: Tensor, x2: Tensor) -> jax.Array:
    """x1 * 2**x2, with an integer `x2`.

    Example:
        >>> ldexp([1.0, 3.0], [2, 1]).tolist()
        [4.0, 6.0]
    """
    return jnp.ldexp(as_operand(x1), as_operand(x2))


@op
def nextafter(x1: Tensor, x2: Tensor) -> jax.Array:
    """The next float after `x1` in the direction of `x2`.

    Example:
        >>> bool(nextafter(1.0, 2.0) > 1.0)
        True
    """
    return jnp.nextafter(as_operand(x1), as_operand(x2))


@op
def heaviside(x1: Tensor, x2: Tensor) -> jax.Array:
    """The step function: 0 below zero, 1 above, `x2` at zero.

    Example:
        >>> heaviside([-1.0, 0.0, 2.0], 0.5).tolist()
        [0.0, 0.5, 1.0]
    """
    return jnp.heaviside(as_operand(x1), as_operand(x2))


@op
def hypot(x1: Tensor, x2: Tensor) -> jax.Array:
    """sqrt(x1**2 + x2**2), without overflow.

    Example:
        >>> hypot(3.0, 4.0).item()
        5.0
    """
    return jnp.hypot(as_operand(x1), as_operand(x2))


@op(operator="absolute")
def absolute(x: Tensor) -> jax.Array:
    """The absolute value; of complex numbers, the modulus.

    Example:
        >>> absolute([-1.5, 2.0]).tolist()
        [1.5, 2.0]
    """
    return jnp.absolute(as_operand(x))


@op
def abs(x: Tensor) -> jax.Array:
    """The absolute value: `absolute` under its short name.

    Example:
        >>> abs(-3).item()
        3
    """
    return jnp.absolute(as_operand(x))


@op
def fabs(x: Tensor) -> jax.Array:
    """The absolute value as a float.

    Example:
        >>> fabs(-3).item()
        3.0
    """
    return jnp.fabs(as_float(x))


@op(operator="negative")
def negative(x: Tensor) -> jax.Array:
    """-x.

    Example:
        >>> negative([1, -2]).tolist()
        [-1, 2]
    """
    return jnp.negative(as_operand(x))


@op
def sign(x: Tensor) -> jax.Array:
    """-1, 0 or 1 by the sign of each element.

    Example:
        >>> sign([-3, 0, 2]).tolist()
        [-1, 0, 1]
    """
    return jnp.sign(as_operand(x))


@op
def signbit(x: Tensor) -> jax.Array:
    """Whether the sign bit is set (that of -0.0 is).

    Example:
        >>> signbit([-1.0, 0.0]).tolist()
        [True, False]
    """
    return jnp.signbit(as_operand(x))


@op
def reciprocal(x: Tensor) -> jax.Array:
    """1 / x.

    Example:
        >>> reciprocal([2.0, 4.0]).tolist()
        [0.5, 0.25]
    """
    return jnp.reciprocal(as_float(x))


@op
def square(x: Tensor) -> jax.Array:
    """x * x.

    Example:
        >>> square([1, -3]).tolist()
        [1, 9]
    """
    return jnp.square(as_operand(x))


@op
def floor(x: Tensor) -> jax.Array:
    """The largest whole number not above `x`, as a float.

    Example:
        >>> floor([1.7, -1.2]).tolist()
        [1.0, -2.0]
    """
    return jnp.floor(as_float(x))


@op
def ceil(x: Tensor) -> jax.Array:
    """The smallest whole number not below `x`, as a float.

    Example:
        >>> ceil([1.2, -1.7]).tolist()
        [2.0, -1.0]
    """
    return jnp.ceil(as_float(x))


@op
def trunc(x: Tensor) -> jax.Array:
    """The whole part: `x` rounded towards zero.

    Example:
        >>> trunc([1.7, -1.7]).tolist()
        [1.0, -1.0]
    """
    return jnp.trunc(as_operand(x))


@op
def round(x: Tensor, decimals: int = 0) -> jax.Array:
    """`x` rounded to `decimals` places; halves go to the even neighbour.

    Example:
        >>> round([0.5, 1.5, 2.26], 0).tolist()
        [0.0, 2.0, 2.0]
    """
    return jnp.round(as_operand(x), decimals)


@op
def clip(x: Tensor, x_min: Tensor, x_max: Tensor) -> jax.Array:
    """`x` limited to the range from `x_min` to `x_max`.

    Example:
        >>> clip([-2, 0, 5], -1, 1).tolist()
        [-1, 0, 1]
    """
    return jnp.clip(_number(x), as_operand(x_min), as_operand(x_max))


@op
def nan_to_num(x: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> jax.Array:
    """`x` with NaN and infinities replaced; None stands for the largest and the lowest float.

    Example:
        >>> nan_to_num([float("nan"), 1.0], nan=-1.0).tolist()
        [-1.0, 1.0]
    """
    return jnp.nan_to_num(as_operand(x), nan=nan, posinf=posinf, neginf=neginf)
