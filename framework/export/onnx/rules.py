"""How ONNX writes the ops that work element by element."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lamina.export.onnx.emitter import INT64, Emitter, free
from lamina.export.onnx.table import TABLE
from lamina.graph.ir import Instr

INT32 = np.dtype("int32")
WIDER: dict[np.dtype, np.dtype] = {
    np.dtype("int8"): INT32, np.dtype("int16"): INT32, np.dtype("uint8"): INT32, np.dtype("uint16"): INT32,
    np.dtype("uint32"): INT64,
}  # fmt: skip
"""Integers in which runtimes do no arithmetic, and those in which it is done; the way back wraps around."""
SAME = {
    "Neg": "Neg", "Abs": "Abs", "Sign": "Sign", "Floor": "Floor", "Ceil": "Ceil", "Round": "Round", "Exp": "Exp",
    "Log": "Log", "Sqrt": "Sqrt", "Reciprocal": "Reciprocal", "Sin": "Sin", "Cos": "Cos", "Tan": "Tan", "Asin": "Asin",
    "Acos": "Acos", "Atan": "Atan", "Sinh": "Sinh", "Cosh": "Cosh", "Tanh": "Tanh", "Asinh": "Asinh", "Acosh": "Acosh",
    "Atanh": "Atanh", "Erf": "Erf", "Sigmoid": "Sigmoid", "Softplus": "Softplus", "Softsign": "Softsign", "Add": "Add",
    "Sub": "Sub", "Mul": "Mul", "Div": "Div", "Pow": "Pow", "Maximum": "Max", "Minimum": "Min", "Less": "Less",
    "LessEqual": "LessOrEqual", "Greater": "Greater", "GreaterEqual": "GreaterOrEqual", "Equal": "Equal",
}  # fmt: skip
"""Ops that ONNX has under this name."""


def elementwise(*ops: str) -> Callable[..., Any]:
    """A decorator: the rule gets tensors that broadcast, in whatever order of axes most of them are at hand."""

    def add(fn: Callable[..., str]) -> Callable[..., Any]:
        @free
        def rule(e: Emitter, instr: Instr) -> None:
            perm = e.choose(instr.inputs, len(instr.output.shape))
            e.give(instr.output, fn(e, instr, *(e.align(v, perm) for v in instr.inputs)), perm)

        TABLE.rule(*ops)(rule)
        return fn

    return add


def widened(e: Emitter, instr: Instr, inputs: Sequence[str], run: Callable[..., str]) -> str:
    """What `run` makes of the inputs, in a dtype that runtimes compute in."""
    dtype, made = instr.inputs[0].dtype, instr.output.dtype
    wide = WIDER.get(dtype)
    if wide is None:
        return run(*inputs)
    out = run(*(e.cast(x, dtype, wide) for x in inputs))
    return out if made.kind == "b" else e.cast(out, wide, made)


@elementwise(*SAME)
def _same(e: Emitter, instr: Instr, *inputs: str) -> str:
    op, dtype = SAME[instr.op], instr.inputs[0].dtype
    if dtype.kind == "b":
        return _of_booleans(e, instr, *inputs)
    return widened(e, instr, inputs, lambda *x: e.node(op, x))


def _of_booleans(e: Emitter, instr: Instr, *inputs: str) -> str:
    """Arithmetic and order of truth values."""
    if instr.op == "Equal":
        return e.node("Equal", inputs)
    if instr.op in ("Maximum", "Add"):
        return e.node("Or", inputs)
    if instr.op in ("Minimum", "Mul"):
        return e.node("And", inputs)
    out = e.node(SAME[instr.op], [e.cast(x, bool, INT32) for x in inputs])
    return out if instr.output.dtype.kind == "b" else e.cast(out, INT32, instr.output.dtype)


@elementwise("NotEqual")
def _not_equal(e: Emitter, instr: Instr, x: str, y: str) -> str:
    return e.node("Not", [widened(e, instr, (x, y), lambda *v: e.node("Equal", v))])


@elementwise("Square")
def _square(e: Emitter, instr: Instr, x: str) -> str:
    return widened(e, instr, (x,), lambda v: e.node("Mul", [v, v]))


@elementwise("Rem")
def _rem(e: Emitter, instr: Instr, x: str, y: str) -> str:
    return e.node("Mod", [x, y], fmod=1)


@elementwise("Rsqrt")
def _rsqrt(e: Emitter, instr: Instr, x: str) -> str:
    return e.node("Reciprocal", [e.node("Sqrt", [x])])


@elementwise("Expm1")
def _expm1(e: Emitter, instr: Instr, x: str) -> str:
    """2 sinh(x/2) exp(x/2), which loses no digits near 0."""
    dtype = instr.output.dtype
    half = e.node("Mul", [x, e.constant(0.5, dtype)])
    return e.node("Mul", [e.node("Mul", [e.node("Sinh", [half]), e.node("Exp", [half])]), e.constant(2, dtype)])


@elementwise("Log1p")
def _log1p(e: Emitter, instr: Instr, x: str) -> str:
    """2 atanh(x / (2 + x)) near 0, where the logarithm of 1 + x would lose digits."""
    dtype = instr.output.dtype
    near = e.node("Less", [e.node("Abs", [x]), e.constant(0.5, dtype)])
    ratio = e.node("Div", [x, e.node("Add", [x, e.constant(2, dtype)])])
    exact = e.node("Mul", [e.node("Atanh", [ratio]), e.constant(2, dtype)])
    return e.node("Where", [near, exact, e.node("Log", [e.node("Add", [x, e.constant(1, dtype)])])])


@elementwise("Erfc")
def _erfc(e: Emitter, instr: Instr, x: str) -> str:
    return e.node("Sub", [e.constant(1, instr.output.dtype), e.node("Erf", [x])])


@elementwise("IsFinite")
def _is_finite(e: Emitter, instr: Instr, x: str) -> str:
    return e.node("Less", [e.node("Abs", [x]), e.constant(np.inf, instr.inputs[0].dtype)])


@elementwise("Atan2")
def _atan2(e: Emitter, instr: Instr, y: str, x: str) -> str:
    """The angle of y / x, turned by pi on the left side; the sign of a zero is not looked at."""
    dtype = instr.output.dtype
    zero, pi, right = e.constant(0, dtype), e.constant(math.pi, dtype), e.constant(math.pi / 2, dtype)
    angle = e.node("Atan", [e.node("Div", [y, x])])
    below = e.node("Less", [y, zero])
    turned = e.node("Where", [below, e.node("Sub", [angle, pi]), e.node("Add", [angle, pi])])
    up = e.node("Mul", [e.node("Sign", [y]), right])
    left = e.node("Where", [e.node("Less", [x, zero]), turned, up])
    return e.node("Where", [e.node("Greater", [x, zero]), angle, left])


# ---- logic


@elementwise("Not")
def _not(e: Emitter, instr: Instr, x: str) -> str:
    dtype = instr.output.dtype
    if dtype.kind == "b":
        return e.node("Not", [x])
    top = -1 if dtype.kind == "i" else np.iinfo(dtype).max
    if dtype == np.uint64:
        return e.node("BitwiseNot", [x], since=18)
    return widened(e, instr, (x,), lambda v: e.node("Sub", [e.constant(top, WIDER.get(dtype, dtype)), v]))


@elementwise("And", "Or", "Xor")
def _logic(e: Emitter, instr: Instr, x: str, y: str) -> str:
    if instr.output.dtype.kind == "b":
        return e.node(instr.op, [x, y])
    return e.node(f"Bitwise{instr.op}", [x, y], since=18)


@elementwise("ShiftLeft", "ShiftRight")
def _shift(e: Emitter, instr: Instr, x: str, y: str) -> str:
    """ONNX moves the bits of unsigned integers; negative ones are inverted before and after."""
    dtype = instr.output.dtype
    bits = dtype.itemsize * 8
    plain = np.dtype("uint64") if bits == 64 else np.dtype("uint32")
    signed = np.dtype("int64") if bits == 64 else INT32
    left = instr.op == "ShiftLeft"

    def moved(v: str) -> str:
        shifted = e.node("BitShift", [e.cast(v, signed, plain), places], direction="LEFT" if left else "RIGHT")
        return e.cast(shifted, plain, signed)

    x, y = e.cast(x, dtype, signed), e.cast(y, dtype, signed)
    short = e.node("Min", [y, e.constant(bits - 1, signed)])
    places = e.cast(short, signed, plain)
    zero = e.constant(0, signed)
    if left:
        return e.cast(e.node("Where", [e.node("Equal", [short, y]), moved(x), zero]), signed, dtype)
    if dtype.kind == "u":
        return e.cast(e.node("Where", [e.node("Equal", [short, y]), moved(x), zero]), signed, dtype)
    inverted = e.node("Sub", [e.constant(-1, signed), x])
    negative = e.node("Sub", [e.constant(-1, signed), moved(inverted)])
    return e.cast(e.node("Where", [e.node("Less", [x, zero]), negative, moved(x)]), signed, dtype)


@elementwise("Select")
def _select(e: Emitter, instr: Instr, condition: str, x: str, y: str) -> str:
    dtype = instr.output.dtype
    if dtype.kind != "b":
        wide = INT32 if dtype.name in ("int8", "int16", "uint16") else dtype  # runtimes choose between no others
        return e.cast(e.node("Where", [condition, *(e.cast(v, dtype, wide) for v in (x, y))]), wide, dtype)
    return e.node("Or", [e.node("And", [condition, x]), e.node("And", [e.node("Not", [condition]), y])])


@elementwise("Cast")
def _cast(e: Emitter, instr: Instr, x: str) -> str:
    return e.cast(x, instr.inputs[0].dtype, instr.output.dtype)


@TABLE.rule("Identity")
@free
def _identity(e: Emitter, instr: Instr) -> None:
    """The same tensor; what goes out of a graph gets a node of its own there."""
    perm, x = e.current(instr.inputs[0])
    e.give(instr.output, x, perm)


# ---- activations


@elementwise("Relu")
def _relu(e: Emitter, instr: Instr, x: str) -> str:
    if instr.output.dtype.kind == "f":
        return e.node("Relu", [x])
    return widened(e, instr, (x,), lambda v: e.node("Max", [v, e.constant(0, WIDER.get(instr.output.dtype, INT32))]))


@elementwise("Relu6")
def _relu6(e: Emitter, instr: Instr, x: str) -> str:
    dtype = instr.output.dtype
    return e.node("Clip", [x, e.constant(0, dtype), e.constant(6, dtype)])


@elementwise("LeakyRelu")
def _leaky_relu(e: Emitter, instr: Instr, x: str) -> str:
    return e.node("LeakyRelu", [x], alpha=float(instr.attrs["alpha"]))


@elementwise("Elu")
def _elu(e: Emitter, instr: Instr, x: str) -> str:
    return e.node("Elu", [x], alpha=float(instr.attrs.get("alpha", 1.0)))


@elementwise("Gelu")
def _gelu(e: Emitter, instr: Instr, x: str) -> str:
    """Before opset 20 in the form that compilers recognise: x * (erf(x / sqrt(2)) + 1) / 2."""
    dtype, approximate = instr.output.dtype, bool(instr.attrs["approximate"])
    if e.opset >= 20:
        return e.node("Gelu", [x], approximate="tanh" if approximate else "none")
    one, half = e.constant(1, dtype), e.constant(0.5, dtype)
    if approximate:
        cube = e.node("Mul", [e.node("Mul", [x, x]), x])
        inner = e.node("Add", [x, e.node("Mul", [cube, e.constant(0.044715, dtype)])])
        share = e.node("Tanh", [e.node("Mul", [inner, e.constant(math.sqrt(2 / math.pi), dtype)])])
    else:
        share = e.node("Erf", [e.node("Div", [x, e.constant(math.sqrt(2), dtype)])])
    return e.node("Mul", [e.node("Mul", [x, e.node("Add", [share, one])]), half])


@elementwise("Silu")
def _silu(e: Emitter, instr: Instr, x: str) -> str:
    return e.node("Mul", [x, e.node("Sigmoid", [x])])


@elementwise("HardSigmoid")
def _hard_sigmoid(e: Emitter, instr: Instr, x: str) -> str:
    return e.node("HardSigmoid", [x], alpha=1 / 6, beta=0.5)


@elementwise("HardSwish")
def _hard_swish(e: Emitter, instr: Instr, x: str) -> str:
    if e.opset >= 14:
        return e.node("HardSwish", [x])
    return e.node("Mul", [x, e.node("HardSigmoid", [x], alpha=1 / 6, beta=0.5)])
