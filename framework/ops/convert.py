"""Conversion between numbers, numpy and jax arrays, dtypes, and facts about arrays (shape, size)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lamina.core import settings
from lamina.core.dtypes import is_float, standardize_dtype
from lamina.ops.op import op
from lamina.ops.symbol import Symbol
from lamina.state.variable import Variable

# What ops take and give: an array, a variable, a number, nested lists of numbers, or a symbol.
Tensor = Any


def as_array(x: Tensor) -> jax.Array:
    """`x` as a jax array; Python numbers stay weakly typed."""
    return x if isinstance(x, jax.Array) else jnp.asarray(x)


def as_operand(x: Tensor) -> Any:
    """`x` as something jax.numpy takes: lists become arrays, all else stays (numbers weak, numpy arrays uncopied)."""
    return jnp.asarray(x) if isinstance(x, (list, tuple)) else x


def as_float(x: Tensor) -> jax.Array:
    """`x` as an array of a float or complex dtype; integers and booleans become the default float."""
    x = as_array(x)
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(settings.floatx())


def narrow(dtype: Any) -> str:
    """The name of `dtype`, in the width that jax uses: 64-bit dtypes are halved unless jax has them enabled."""
    name = standardize_dtype(dtype)
    return name if name == "string" else str(jax.dtypes.canonicalize_dtype(name))


def convert_to_tensor(
    x: Tensor, dtype: Any = None, sparse: bool | None = None, ragged: bool | None = None
) -> jax.Array | Symbol:
    """`x` as an array, of `dtype` if given; Python floats become the default float.

    Args:
        x: a number, nested lists, a numpy or jax array, a variable or a symbol.
        dtype: the dtype, or None to keep that of `x`.
        sparse: only None and False: all arrays are dense.
        ragged: likewise.

    Example:
        >>> convert_to_tensor([1, 2]).dtype.name
        'int32'
    """
    if sparse or ragged:
        raise ValueError("convert_to_tensor: sparse and ragged must be None or False: all arrays of lamina are dense.")
    if isinstance(x, Symbol):
        return x if dtype is None else cast(x, dtype)
    if isinstance(x, Variable):
        x = x.value
    if dtype is not None:
        return jnp.asarray(x, narrow(dtype))
    if isinstance(x, jax.Array):
        return lax.convert_element_type(x, x.dtype) if x.weak_type else x
    array = jnp.asarray(x)
    wanted: Any = array.dtype
    if not hasattr(x, "dtype") and is_float(array.dtype):
        wanted = narrow(settings.floatx())
    return array.astype(wanted) if not array.weak_type else lax.convert_element_type(array, np.dtype(wanted))


def array(x: Tensor, dtype: Any = None) -> jax.Array | Symbol:
    """`x` as an array: `convert_to_tensor` under numpy's name.

    Example:
        >>> array([1.0, 2.0]).shape
        (2,)
    """
    return convert_to_tensor(x, dtype)


def convert_to_numpy(x: Tensor) -> np.ndarray:
    """`x` as a numpy array.

    Example:
        >>> convert_to_numpy([1, 2]).tolist()
        [1, 2]
    """
    if isinstance(x, (list, tuple)):
        x = [convert_to_numpy(v) for v in x]
    return np.array(x.value if isinstance(x, Variable) else x)


def is_tensor(x: Any) -> bool:
    """Whether `x` is a jax array (a traced one included).

    Example:
        >>> is_tensor(jnp.ones(2)), is_tensor([1.0])
        (True, False)
    """
    return isinstance(x, jax.Array)


@op
def cast(x: Tensor, dtype: Any) -> jax.Array:
    """`x` with another dtype.

    Example:
        >>> cast([1.7, -1.7], "int32").tolist()
        [1, -1]
    """
    return as_array(x).astype(narrow(dtype))


@op(named=True)
def saturate_cast(x: Tensor, dtype: Any) -> jax.Array:
    """`x` with another dtype; values outside its range become its limits instead of wrapping.

    Example:
        >>> saturate_cast([-7.0, 300.0], "uint8").tolist()
        [0, 255]
    """
    x, dtype = as_array(x), narrow(dtype)
    if dtype == "bool" or x.dtype == bool or jnp.issubdtype(x.dtype, jnp.complexfloating):
        return x.astype(dtype)
    low, high = _limits(dtype)
    own_low, own_high = _limits(x.dtype)
    low, high = max(low, own_low), min(high, own_high)
    if jnp.issubdtype(x.dtype, jnp.floating):
        # The limit of an integer dtype may round up in float: step inside.
        low, high = _inside(low, x.dtype, 1), _inside(high, x.dtype, -1)
    return jnp.clip(x, np.asarray(low, x.dtype), np.asarray(high, x.dtype)).astype(dtype)


def _limits(dtype: Any) -> tuple:
    info = jnp.finfo(dtype) if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype)
    cast_to = float if jnp.issubdtype(dtype, jnp.floating) else int
    return cast_to(info.min), cast_to(info.max)


def _inside(limit: float, dtype: Any, direction: int) -> Any:
    rounded = np.asarray(limit, dtype)
    if (int(rounded) - int(limit)) * direction < 0:
        rounded = np.nextafter(rounded, np.zeros((), dtype))
    return rounded


@op
def copy(x: Tensor) -> jax.Array:
    """A copy of `x`."""
    return jnp.array(as_operand(x), copy=True)


@op
def view(x: Tensor, dtype: Any = None) -> jax.Array:
    """The same bytes read as another dtype.

    Example:
        >>> view(jnp.zeros(2, "float32"), "int32").tolist()
        [0, 0]
    """
    return as_array(x).view(None if dtype is None else narrow(dtype))


@op
def stop_gradient(variable: Tensor) -> jax.Array:
    """`variable`, as a constant to differentiation."""
    return lax.stop_gradient(as_array(variable))


def shape(x: Tensor) -> tuple[int | None, ...]:
    """The shape of `x`; unknown sizes of a symbol are None.

    Example:
        >>> shape([[1, 2, 3]])
        (1, 3)
    """
    return tuple(x.shape) if hasattr(x, "shape") else np.shape(x)


def ndim(x: Tensor) -> int:
    """The number of axes of `x`.

    Example:
        >>> ndim([[1, 2, 3]])
        2
    """
    return len(shape(x))


def size(x: Tensor) -> int | None:
    """The number of elements of `x`; None for a symbol with unknown sizes.

    Example:
        >>> size([[1, 2, 3]])
        3
    """
    dims: Any = shape(x)
    return None if any(d is None for d in dims) else int(np.prod(dims, dtype=np.int64))


def dtype(x: Tensor) -> str:
    """The name of the dtype of `x`.

    Example:
        >>> dtype(jnp.ones(2))
        'float32'
    """
    return str(x.dtype) if hasattr(x, "dtype") else str(convert_to_tensor(x).dtype)
