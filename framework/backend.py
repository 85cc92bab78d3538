"""What scripts written for Keras' backend use: `lamina.backend`."""

from __future__ import annotations

import gc
from typing import Any

import jax

from lamina.core.dtypes import INTS, is_float, standardize_dtype
from lamina.core.settings import (
    backend,
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)
from lamina.ops.symbol import Symbol
from lamina.state.variable import Variable


def is_float_dtype(dtype: Any) -> bool:
    """Whether `dtype` is a floating-point dtype.

    Example:
        >>> is_float_dtype("bfloat16")
        True
    """
    return is_float(dtype)


def is_int_dtype(dtype: Any) -> bool:
    """Whether `dtype` is an integer dtype.

    Example:
        >>> is_int_dtype("uint8"), is_int_dtype("bool")
        (True, False)
    """
    return standardize_dtype(dtype) in INTS


def is_keras_tensor(x: Any) -> bool:
    """Whether `x` is a symbol of the functional API.

    Example:
        >>> is_keras_tensor(Symbol((None, 3)))
        True
    """
    return isinstance(x, Symbol)


def clear_session(free_memory: bool = True) -> None:
    """Forgets all compiled programs, so that the memory of models that are gone is free.

    Names are counted model by model, so there is nothing else to clear between models.

    Args:
        free_memory: whether to collect garbage at once.

    Example:
        >>> clear_session()
    """
    jax.clear_caches()
    if free_memory:
        gc.collect()


__all__ = [
    "Variable",
    "backend",
    "clear_session",
    "epsilon",
    "floatx",
    "image_data_format",
    "is_float_dtype",
    "is_int_dtype",
    "is_keras_tensor",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "standardize_dtype",
]
