"""Ops of the table that work element by element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from lamina.graph.opset import define, op

UNARY: dict[str, tuple[Callable[..., Any], str]] = {
    "Neg": (jnp.negative, "-x"),
    "Abs": (jnp.abs, "|x|"),
    "Sign": (jnp.sign, "-1, 0 or 1"),
    "Floor": (jnp.floor, "the integer below"),
    "Ceil": (jnp.ceil, "the integer above"),
    "Round": (jnp.round, "the nearest integer, halves to even"),
    "Exp": (jnp.exp, "e to the x"),
    "Expm1": (jnp.expm1, "exp(x) - 1"),
    "Log": (jnp.log, "the natural logarithm"),
    "Log1p": (jnp.log1p, "log(1 + x)"),
    "Sqrt": (jnp.sqrt, "the square root"),
    "Rsqrt": (lax.rsqrt, "1 / sqrt(x)"),
    "Square": (jnp.square, "x * x"),
    "Reciprocal": (jnp.reciprocal, "1 / x"),
    "Sin": (jnp.sin, "the sine"),
    "Cos": (jnp.cos, "the cosine"),
    "Tan": (jnp.tan, "the tangent"),
    "Asin": (jnp.arcsin, "the inverse sine"),
    "Acos": (jnp.arccos, "the inverse cosine"),
    "Atan": (jnp.arctan, "the inverse tangent"),
    "Sinh": (jnp.sinh, "the hyperbolic sine"),
    "Cosh": (jnp.cosh, "the hyperbolic cosine"),
    "Tanh": (jnp.tanh, "the hyperbolic tangent"),
    "Asinh": (jnp.arcsinh, "the inverse hyperbolic sine"),
    "Acosh": (jnp.arccosh, "the inverse hyperbolic cosine"),
    "Atanh": (jnp.arctanh, "the inverse hyperbolic tangent"),
    "Erf": (jax.scipy.special.erf, "the error function"),
    "Erfc": (jax.scipy.special.erfc, "1 - erf(x)"),
    "Not": (jnp.bitwise_not, "not x of booleans, the inverted bits of integers"),
    "IsFinite": (jnp.isfinite, "whether x is neither infinite nor NaN"),
    "Relu": (lambda x: jnp.maximum(x, 0), "max(x, 0)"),
    "Relu6": (lambda x: jnp.clip(x, 0, 6), "min(max(x, 0), 6)"),
    "Sigmoid": (lax.logistic, "1 / (1 + exp(-x))"),
    "Silu": (lambda x: x * lax.logistic(x), "x * sigmoid(x)"),
    "HardSigmoid": (lambda x: jnp.clip(x + 3, 0, 6) * (1 / 6), "min(max(x + 3, 0), 6) / 6"),
    "HardSwish": (lambda x: x * (jnp.clip(x + 3, 0, 6) * (1 / 6)), "x * hard_sigmoid(x)"),
    "Softplus": (lambda x: jnp.logaddexp(x, jnp.zeros((), x.dtype)), "log(1 + exp(x))"),
    "Softsign": (lambda x: x / (jnp.abs(x) + 1), "x / (1 + |x|)"),
}
BINARY: dict[str, tuple[Callable[..., Any], str]] = {
    "Add": (jnp.add, "x + y"),
    "Sub": (jnp.subtract, "x - y"),
    "Mul": (jnp.multiply, "x * y"),
    "Div": (lambda x, y: lax.div(*jnp.broadcast_arrays(x, y)), "x / y; of integers, rounded towards 0"),
    "Rem": (lambda x, y: lax.rem(*jnp.broadcast_arrays(x, y)), "the rest of x / y, with the sign of x"),
    "Pow": (jnp.power, "x to the y"),
    "Maximum": (jnp.maximum, "the larger one"),
    "Minimum": (jnp.minimum, "the smaller one"),
    "Atan2": (jnp.arctan2, "the angle of the point (y, x)"),
    "And": (jnp.bitwise_and, "x and y of booleans, bit by bit of integers"),
    "Or": (jnp.bitwise_or, "x or y of booleans, bit by bit of integers"),
    "Xor": (jnp.bitwise_xor, "either x or y of booleans, bit by bit of integers"),
    "ShiftLeft": (jnp.left_shift, "x moved by y bits"),
    "ShiftRight": (jnp.right_shift, "x moved back by y bits, its sign kept"),
}
COMPARE: dict[str, tuple[Callable[..., Any], str]] = {
    "Equal": (jnp.equal, "x == y"),
    "NotEqual": (jnp.not_equal, "x != y"),
    "Less": (jnp.less, "x < y"),
    "LessEqual": (jnp.less_equal, "x <= y"),
    "Greater": (jnp.greater, "x > y"),
    "GreaterEqual": (jnp.greater_equal, "x >= y"),
}


def _unary(run: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: run(x)


def _binary(run: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, y: run(x, y)


for _name, (_run, _doc) in UNARY.items():
    define(_name, _unary(_run), "unary", _doc)
for _name, (_run, _doc) in BINARY.items():
    define(_name, _binary(_run), "binary", _doc)
for _name, (_run, _doc) in COMPARE.items():
    define(_name, _binary(_run), "compare", _doc)


@op("LeakyRelu", "unary")
def leaky_relu(x: Any, *, alpha: float) -> Any:
    """X where positive, else alpha * x."""
    return jnp.where(x >= 0, x, x * jnp.asarray(alpha, x.dtype))


@op("Elu", "unary")
def elu(x: Any, *, alpha: float = 1.0) -> Any:
    """X where positive, else alpha * (exp(x) - 1)."""
    return jnp.where(x > 0, x, jnp.asarray(alpha, x.dtype) * jnp.expm1(jnp.minimum(x, 0)))


@op("Gelu", "unary")
def gelu(x: Any, *, approximate: bool) -> Any:
    """X * P(X <= x) for a standard normal X; by tanh if `approximate`, else by erf."""
    if approximate:
        inner = jnp.asarray(0.7978845608028654, x.dtype) * (x + jnp.asarray(0.044715, x.dtype) * (x * x * x))
        return x * (0.5 * (1 + jnp.tanh(inner)))
    return x * (0.5 * (1 + jax.scipy.special.erf(x * jnp.asarray(0.7071067811865476, x.dtype))))


@op("Cast", "unary")
def cast(x: Any, *, dtype: str) -> Any:
    """The elements in another dtype; floats become integers by cutting off."""
    return lax.convert_element_type(x, dtype)


@op("Select", "binary")
def select(condition: Any, x: Any, y: Any) -> Any:
    """X where the condition holds, else y."""
    return jnp.where(condition, x, y)


@op("Identity", "unary")
def identity(x: Any) -> Any:
    """X itself, under another name."""
    return x
