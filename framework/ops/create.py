"""Arrays made from nothing: constants, ranges, identity matrices, window functions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core import settings
from lamina.ops.convert import Tensor, as_array, as_operand, narrow
from lamina.ops.op import op


def zeros(shape: Any, dtype: Any = None) -> jax.Array:
    """An array of zeros, of the default float unless said otherwise.

    Example:
        >>> zeros(2).tolist()
        [0.0, 0.0]
    """
    return jnp.zeros(shape, narrow(dtype))


def ones(shape: Any, dtype: Any = None) -> jax.Array:
    """An array of ones, of the default float unless said otherwise.

    Example:
        >>> ones((2,), "int32").tolist()
        [1, 1]
    """
    return jnp.ones(shape, narrow(dtype))


def empty(shape: Any, dtype: Any = None) -> jax.Array:
    """An array whose values do not matter (they are zeros)."""
    return jnp.zeros(shape, narrow(dtype))


@op
def full(shape: Any, fill_value: Tensor, dtype: Any = None) -> jax.Array:
    """An array of one value, of the default float unless said otherwise.

    Example:
        >>> full((2,), 1.5).tolist()
        [1.5, 1.5]
    """
    return jnp.full(shape, as_operand(fill_value), narrow(dtype))


@op
def zeros_like(x: Tensor, dtype: Any = None) -> jax.Array:
    """Zeros in the shape and dtype of `x`.

    Example:
        >>> zeros_like([1, 2]).tolist()
        [0, 0]
    """
    return jnp.zeros_like(as_operand(x), dtype=_dtype(dtype))


@op
def ones_like(x: Tensor, dtype: Any = None) -> jax.Array:
    """Ones in the shape and dtype of `x`.

    Example:
        >>> ones_like([3, 2]).tolist()
        [1, 1]
    """
    return jnp.ones_like(as_operand(x), dtype=_dtype(dtype))


@op
def empty_like(x: Tensor, dtype: Any = None) -> jax.Array:
    """An array in the shape and dtype of `x` whose values do not matter (they are zeros)."""
    return jnp.zeros_like(as_operand(x), dtype=_dtype(dtype))


@op
def full_like(x: Tensor, fill_value: Tensor, dtype: Any = None) -> jax.Array:
    """One value in the shape and dtype of `x`.

    Example:
        >>> full_like([3, 2], 7).tolist()
        [7, 7]
    """
    return jnp.full_like(as_operand(x), as_operand(fill_value), dtype=_dtype(dtype))


def _dtype(dtype: Any) -> str | None:
    return None if dtype is None else narrow(dtype)


def arange(start: Tensor, stop: Tensor = None, step: Tensor = None, dtype: Any = None) -> jax.Array:
    """Numbers from `start` up to but not including `stop`; one argument counts from 0.

    Example:
        >>> arange(3).tolist(), arange(0.0, 1.0, 0.5).tolist()
        ([0, 1, 2], [0.0, 0.5])
    """
    if dtype is None:
        given = [v for v in (start, stop, step) if v is not None]
        dtype = settings.floatx() if any(isinstance(v, float) for v in given) else str(jnp.result_type(*given))
    return jnp.arange(start, stop, step, dtype=narrow(dtype))


@op
def linspace(
    start: Tensor,
    stop: Tensor,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """`num` evenly spaced numbers from `start` to `stop`.

    Args:
        start: the first number.
        stop: the last number, or the one after it.
        num: how many.
        endpoint: whether `stop` is the last number.
        retstep: whether to return the step too.
        dtype: the dtype of the result.
        axis: the axis that counts, where `start` and `stop` are arrays.

    Example:
        >>> linspace(0.0, 1.0, 3).tolist()
        [0.0, 0.5, 1.0]
    """
    return jnp.linspace(as_operand(start), as_operand(stop), num, endpoint, retstep, _dtype(dtype), axis)


@op
def logspace(
    start: Tensor,
    stop: Tensor,
    num: int = 50,
    endpoint: bool = True,
    base: float = 10,
    dtype: Any = None,
    axis: int = 0,
) -> jax.Array:
    """`num` numbers from base**start to base**stop with constant ratios.

    Example:
        >>> [round(v, 2) for v in logspace(0.0, 2.0, 3).tolist()]
        [1.0, 10.0, 100.0]
    """
    return jnp.logspace(as_operand(start), as_operand(stop), num, endpoint, base, _dtype(dtype), axis)


@op
def geomspace(
    start: Tensor, stop: Tensor, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0
) -> jax.Array:
    """`num` numbers from `start` to `stop` with constant ratios.

    Example:
        >>> [round(v, 2) for v in geomspace(1.0, 100.0, 3).tolist()]
        [1.0, 10.0, 100.0]
    """
    return jnp.geomspace(as_operand(start), as_operand(stop), num, endpoint, _dtype(dtype), axis)


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> jax.Array:
    """Ones on the `k`-th diagonal of an N by M matrix, zeros elsewhere.

    Example:
        >>> eye(2).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return jnp.eye(N, M, k, dtype=narrow(dtype))


def identity(n: int, dtype: Any = None) -> jax.Array:
    """The identity matrix.

    Example:
        >>> identity(2, "int32").tolist()
        [[1, 0], [0, 1]]
    """
    return jnp.identity(n, narrow(dtype))


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> jax.Array:
    """Ones on and below the `k`-th diagonal of an N by M matrix.

    Example:
        >>> tri(2).tolist()
        [[1.0, 0.0], [1.0, 1.0]]
    """
    return jnp.tri(N, M, k, narrow(dtype))


@op
def diag(x: Tensor, k: int = 0) -> jax.Array:
    """The `k`-th diagonal of a matrix, or a matrix with a vector on that diagonal.

    Example:
        >>> diag([1, 2]).tolist()
        [[1, 0], [0, 2]]
    """
    return jnp.diag(as_operand(x), k)


@op
def diagflat(x: Tensor, k: int = 0) -> jax.Array:
    """A matrix with all elements of `x` on its `k`-th diagonal.

    Example:
        >>> diagflat([[1], [2]]).tolist()
        [[1, 0], [0, 2]]
    """
    return jnp.diagflat(as_operand(x), k)


@op
def tril(x: Tensor, k: int = 0) -> jax.Array:
    """`x` with zeros above the `k`-th diagonal.

    Example:
        >>> tril([[1, 2], [3, 4]]).tolist()
        [[1, 0], [3, 4]]
    """
    return jnp.tril(as_array(x), k)


@op
def triu(x: Tensor, k: int = 0) -> jax.Array:
    """`x` with zeros below the `k`-th diagonal.

    Example:
        >>> triu([[1, 2], [3, 4]]).tolist()
        [[1, 2], [0, 4]]
    """
    return jnp.triu(as_array(x), k)


@op
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> jax.Array:
    """The powers of each element of a vector, one row an element (a Vandermonde matrix).

    Example:
        >>> vander([2, 3]).tolist()
        [[2, 1], [3, 1]]
    """
    return jnp.vander(as_operand(x), N, increasing)


def _window(points: int, values: np.ndarray) -> jax.Array:
    if points <= 1:
        values = np.ones(max(points, 0))
    return jnp.asarray(values, settings.floatx())


def _ramp(points: int) -> np.ndarray:
    return np.arange(points) / max(points - 1, 1)


def bartlett(x: int) -> jax.Array:
    """The triangular window of `x` points.

    Example:
        >>> bartlett(5).tolist()
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    return _window(int(x), 1 - np.abs(2 * _ramp(int(x)) - 1))


def hanning(x: int) -> jax.Array:
    """The Hann window of `x` points: 0.5 - 0.5 cos."""
    return _window(int(x), 0.5 - 0.5 * np.cos(2 * np.pi * _ramp(int(x))))


def hamming(x: int) -> jax.Array:
    """The Hamming window of `x` points: 0.54 - 0.46 cos."""
    return _window(int(x), 0.54 - 0.46 * np.cos(2 * np.pi * _ramp(int(x))))


def blackman(x: int) -> jax.Array:
    """The Blackman window of `x` points: 0.42 - 0.5 cos + 0.08 cos of twice the angle."""
    angle = 2 * np.pi * _ramp(int(x))
    return _window(int(x), 0.42 - 0.5 * np.cos(angle) + 0.08 * np.cos(2 * angle))


def kaiser(x: int, beta: float) -> jax.Array:
    """The Kaiser window of `x` points; `beta` trades the width of the main lobe for low side lobes."""
    return _window(int(x), np.kaiser(int(x), float(beta)))
