"""What ONNX's ops compute: element by element, and quantisation. A function of arrays for each.

Where all inputs are known, numpy computes, so that shapes and axes stay known while a graph is traced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import dtypes, lax

from lamina.export.onnx.attributes import Attributes
from lamina.export.tensorflow.read_ops import array, is_known, library
from lamina.ops import activation as activations

READ: dict[str, Callable[..., Any]] = {}
MOST_KNOWN = 1 << 16
"""Arrays of more elements are not computed while a graph is traced."""


def reads(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: the function computes these ops, given the attributes and the inputs (None for one left out)."""

    def add(fn: Callable[..., Any]) -> Callable[..., Any]:
        READ.update(dict.fromkeys(names, fn))
        return fn

    return add


def traced(x: Any) -> Any:
    """`x` for jax."""
    return jnp.asarray(array(x))


def small(*x: Any) -> bool:
    """Whether arrays are known, and small enough to compute with while a graph is traced."""
    return all(map(is_known, x)) and max((v.size for v in x), default=0) <= MOST_KNOWN


def boxed(x: Any) -> Any:
    """A result of numpy as an array, also where it is a size that is not known."""
    if is_known(x):
        return x
    out = np.empty((), object)
    out[()] = x
    return out


def _elementwise(name: str) -> Callable[..., Any]:
    def fn(a: Attributes, *x: Any) -> Any:
        if small(*x):
            return boxed(getattr(np, name)(*x))
        return getattr(jnp, name)(*map(array, x))

    return fn


for _op, _name in {
    "Neg": "negative", "Abs": "abs", "Floor": "floor", "Ceil": "ceil", "Round": "round", "Exp": "exp", "Log": "log",
    "Sqrt": "sqrt", "Reciprocal": "reciprocal", "Sin": "sin", "Cos": "cos", "Tan": "tan", "Asin": "arcsin",
    "Acos": "arccos", "Atan": "arctan", "Sinh": "sinh", "Cosh": "cosh", "Tanh": "tanh", "Asinh": "arcsinh",
    "Acosh": "arccosh", "Atanh": "arctanh", "IsNaN": "isnan", "Not": "logical_not", "BitwiseNot": "invert",
    "Sign": "sign", "Add": "add", "Sub": "subtract", "Mul": "multiply", "And": "logical_and", "Or": "logical_or",
    "Xor": "logical_xor", "BitwiseAnd": "bitwise_and", "BitwiseOr": "bitwise_or", "BitwiseXor": "bitwise_xor",
    "Equal": "equal", "Less": "less", "LessOrEqual": "less_equal", "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
}.items():  # fmt: skip
    READ[_op] = _elementwise(_name)


@reads("Div")
def _div(a: Attributes, x: Any, y: Any) -> Any:
    """Integers are divided towards zero."""
    if x.dtype.kind not in "iuO":
        return library(x, y).divide(array(x), array(y))
    if small(x, y):
        if x.dtype.kind == "O" or y.dtype.kind == "O":
            return boxed(x // y)
        return np.asarray(np.sign(x) * np.sign(y) * (np.abs(x) // np.maximum(np.abs(y), 1))).astype(x.dtype)
    return lax.div(*jnp.broadcast_arrays(traced(x), traced(y)))


@reads("Mod")
def _mod(a: Attributes, x: Any, y: Any) -> Any:
    name = "fmod" if a.i("fmod", 0) else "mod"
    if small(x, y):
        return np.asarray(getattr(np, name)(x, y))
    return lax.rem(*jnp.broadcast_arrays(traced(x), traced(y))) if name == "fmod" else jnp.mod(traced(x), traced(y))


@reads("Pow")
def _pow(a: Attributes, x: Any, y: Any) -> Any:
    return np.power(x, y).astype(x.dtype) if small(x, y) else jnp.power(traced(x), traced(y)).astype(x.dtype)


def _variadic(name: str) -> Callable[..., Any]:
    def fn(a: Attributes, *x: Any) -> Any:
        known, out = small(*x), x[0]
        for other in x[1:]:
            out = boxed(getattr(np, name)(out, other)) if known else getattr(jnp, name)(array(out), array(other))
        return out

    return fn


for _op, _name in {"Max": "maximum", "Min": "minimum", "Sum": "add"}.items():
    READ[_op] = _variadic(_name)


@reads("Mean")
def _mean(a: Attributes, *x: Any) -> Any:
    return sum(map(traced, x[1:]), traced(x[0])) / len(x)


@reads("BitShift")
def _shift(a: Attributes, x: Any, y: Any) -> Any:
    right = lax.shift_right_arithmetic if x.dtype.kind == "i" else lax.shift_right_logical
    run = lax.shift_left if a.s("direction") == "LEFT" else right
    return run(*jnp.broadcast_arrays(traced(x), traced(y)))


@reads("IsInf")
def _is_inf(a: Attributes, x: Any) -> Any:
    high = (x == np.inf) if a.i("detect_positive", 1) else False
    return high | ((x == -np.inf) if a.i("detect_negative", 1) else False)


@reads("Where")
def _where(a: Attributes, condition: Any, x: Any, y: Any) -> Any:
    if small(condition, x, y):
        return np.where(condition, x, y)
    return jnp.where(traced(condition), traced(x), traced(y))


@reads("Cast", "CastLike")
def _cast(a: Attributes, x: Any, like: Any = None) -> Any:
    dtype = a.dtype("to") if like is None else like.dtype
    if is_known(x):
        return x if x.dtype == object else x.astype(dtype)
    return lax.convert_element_type(x, dtypes.canonicalize_dtype(dtype))


@reads("Identity")
def _identity(a: Attributes, x: Any) -> Any:
    return x


@reads("Dropout")
def _dropout(a: Attributes, x: Any, ratio: Any = None, training: Any = None) -> Any:
    if training is not None and not (is_known(training) and not np.any(training)):
        raise ValueError("dropout that still trains is not supported.")
    return [x, jnp.ones(x.shape, bool)] if a.outputs > 1 else x


# ---- activations


def _activation(fn: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, *x: fn(*map(traced, x))


for _op, _fn in {
    "Sigmoid": activations.sigmoid, "Softplus": activations.softplus, "Softsign": activations.softsign,
    "Erf": jax.scipy.special.erf, "HardSwish": activations.hard_silu,
    "Mish": lambda x: x * jnp.tanh(jax.nn.softplus(x)),
    "PRelu": lambda x, slope: jnp.where(x >= 0, x, x * slope),
}.items():  # fmt: skip
    READ[_op] = _activation(_fn)


@reads("Relu")
def _relu(a: Attributes, x: Any) -> Any:
    return np.maximum(x, 0) if small(x) else activations.relu(traced(x))


@reads("LeakyRelu")
def _leaky_relu(a: Attributes, x: Any) -> Any:
    return activations.leaky_relu(traced(x), a.f("alpha", 0.01))


@reads("Elu")
def _elu(a: Attributes, x: Any) -> Any:
    return activations.elu(traced(x), a.f("alpha", 1.0))


@reads("Celu")
def _celu(a: Attributes, x: Any) -> Any:
    return jax.nn.celu(traced(x), a.f("alpha", 1.0))


@reads("Selu")
def _selu(a: Attributes, x: Any) -> Any:
    x = traced(x)
    alpha, gamma = a.f("alpha", 1.6732632423543772), a.f("gamma", 1.0507009873554805)
    return gamma * jnp.where(x > 0, x, alpha * jnp.expm1(jnp.minimum(x, 0)))


@reads("ThresholdedRelu")
def _thresholded_relu(a: Attributes, x: Any) -> Any:
    x = traced(x)
    return jnp.where(x > a.f("alpha", 1.0), x, 0)


@reads("Shrink")
def _shrink(a: Attributes, x: Any) -> Any:
    x, bias, limit = traced(x), a.f("bias", 0.0), a.f("lambd", 0.5)
    return jnp.where(x < -limit, x + bias, jnp.where(x > limit, x - bias, 0)).astype(x.dtype)


@reads("HardSigmoid")
def _hard_sigmoid(a: Attributes, x: Any) -> Any:
    alpha, beta = a.f("alpha", 0.2), a.f("beta", 0.5)
    x = traced(x)
    if abs(alpha - 1 / 6) < 1e-7 and beta == 0.5:
        return activations.hard_sigmoid(x)
    return jnp.clip(x * alpha + beta, 0, 1)


@reads("Gelu")
def _gelu(a: Attributes, x: Any) -> Any:
    return activations.gelu(traced(x), a.s("approximate", "none") == "tanh")


@reads("Clip")
def _clip(a: Attributes, x: Any, low: Any = None, high: Any = None) -> Any:
    low = np.asarray(a.f("min"), x.dtype) if "min" in a else low
    high = np.asarray(a.f("max"), x.dtype) if "max" in a else high
    if low is not None and high is not None and is_known(low) and is_known(high) and low == 0 and high == 6:
        return activations.relu6(traced(x))
    x = x if low is None else READ["Max"](a, x, low)
    return x if high is None else READ["Min"](a, x, high)


# ---- quantisation


def _aligned(value: Any, x: Any, axis: int) -> Any:
    """A number for each channel, as one that broadcasts."""
    if value.ndim == 0 or value.size == 1:
        return value.reshape(())
    return value.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])


@reads("DequantizeLinear")
def _dequantize(a: Attributes, x: Any, scale: Any, zero: Any = None) -> Any:
    if a.i("block_size", 0):
        raise ValueError("quantisation by blocks is not supported.")
    axis = a.i("axis", 1)
    whole = traced(x).astype(np.int32)
    if zero is not None:
        whole = whole - _aligned(traced(zero).astype(np.int32), x, axis)
    return whole.astype(scale.dtype) * _aligned(traced(scale), x, axis)


@reads("QuantizeLinear")
def _quantize(a: Attributes, x: Any, scale: Any, zero: Any = None) -> Any:
    if a.i("block_size", 0):
        raise ValueError("quantisation by blocks is not supported.")
    axis = a.i("axis", 1)
    dtype = a.dtype("output_dtype", np.uint8) if zero is None else zero.dtype
    if np.dtype(dtype).kind not in "iu":
        raise ValueError(f"quantisation to {dtype} is not supported.")
    scaled = jnp.round(traced(x) / _aligned(traced(scale), x, axis))
    if zero is not None:
        scaled = scaled + _aligned(traced(zero), x, axis).astype(scaled.dtype)
    limits = np.iinfo(dtype)
    return jnp.clip(scaled, limits.min, limits.max).astype(dtype)


@reads("DynamicQuantizeLinear")
def _dynamic_quantize(a: Attributes, x: Any) -> list[Any]:
    x = traced(x)
    low, high = jnp.minimum(jnp.min(x), 0), jnp.maximum(jnp.max(x), 0)
    scale = (high - low) / 255
    zero = jnp.clip(jnp.round(-low / scale), 0, 255)
    return [jnp.clip(jnp.round(x / scale) + zero, 0, 255).astype(np.uint8), scale, zero.astype(np.uint8)]
