"""How TFLite writes the ops that work element by element: some by name, the others by formulas of such."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.export.rules import Unsupported
from lamina.export.tflite.emitter import Emitter, lazy
from lamina.export.tflite.table import TABLE
from lamina.export.tflite.tensors import FIXED, FLOAT32, INT16, INT32, Tensor, of_range
from lamina.graph.ir import Instr

SAME = {
    "Neg": "NEG", "Abs": "ABS", "Sign": "SIGN", "Floor": "FLOOR", "Ceil": "CEIL", "Round": "ROUND", "Exp": "EXP",
    "Log": "LOG", "Sqrt": "SQRT", "Rsqrt": "RSQRT", "Square": "SQUARE", "Sin": "SIN", "Cos": "COS", "Tanh": "TANH",
    "Relu": "RELU", "Relu6": "RELU6", "Sigmoid": "LOGISTIC", "HardSwish": "HARD_SWISH", "Pow": "POW",
    "Equal": "EQUAL", "NotEqual": "NOT_EQUAL", "Less": "LESS",
    "LessEqual": "LESS_EQUAL", "Greater": "GREATER", "GreaterEqual": "GREATER_EQUAL",
}  # fmt: skip
BROADCAST_AXES = 6
"""Kernels of two operands that broadcast know at most so many axes."""
POT_SCALE: dict[str, Any] = {"pot_scale_int16": False}
"""Sums of int16 have scales that need be no powers of two."""


@TABLE.rule(*SAME)
def _same(e: Emitter, instr: Instr, *x: Tensor) -> Tensor:
    _check_axes(instr)
    return e.node(SAME[instr.op], x, **e.out(instr.output))


def _check_axes(instr: Instr) -> None:
    rank = len(instr.output.shape)
    if len(instr.inputs) > 1 and rank > BROADCAST_AXES:
        raise Unsupported(f"TFLite combines tensors of at most {BROADCAST_AXES} axes, these have {rank}")


@TABLE.rule("Atan2")
def _atan2(e: Emitter, instr: Instr, x: Tensor, y: Tensor) -> Tensor:
    """The kernel does not broadcast."""
    wide = instr.output.shape
    given = [t if t.shape == tuple(wide) else e.node("BROADCAST_TO", [t, e.shape(wide)], wide) for t in (x, y)]
    return e.node("ATAN2", given, wide)


@TABLE.rule("Add", "Sub", "Mul", "Div")
def _arithmetic(e: Emitter, instr: Instr, x: Tensor, y: Tensor) -> Tensor:
    _check_axes(instr)
    code, final = e.activation(instr.output)
    scales = dict(POT_SCALE) if instr.op in ("Add", "Sub") and e.integer == INT16 else {}
    return e.node(instr.op.upper(), [x, y], **e.out(final), fused_activation_function=code, **scales)


@TABLE.rule("Maximum", "Minimum")
@lazy
def _extreme(e: Emitter, instr: Instr) -> Tensor:
    _check_axes(instr)
    out = e.out(instr.output)
    given = [e.take_stored(v, out["quant"]) if e.integer is not None else e.take(v) for v in instr.inputs]
    return e.node(instr.op.upper(), given, **out)


class Formula:
    """Elementwise operators by short names, for formulas of several.

    Args:
        e: the emitter.
        like: the instruction whose shape and dtype all results have.
    """

    def __init__(self, e: Emitter, like: Instr):
        self.e, self.shape, self.dtype = e, like.output.shape, like.output.dtype

    def __call__(self, op: str, *x: Any, dtype: Any = None) -> Tensor:
        """An operator; numbers among its inputs become constants of the first tensor's dtype."""
        kind = next(t.dtype for t in x if isinstance(t, Tensor) and t.dtype != bool)
        given = [t if isinstance(t, Tensor) else self.e.constant(t, kind) for t in x]
        return self.e.node(op, given, self.shape, dtype or kind)

    def expm1(self, x: Tensor) -> Tensor:
        """exp(x) - 1 = tanh(x / 2) * (exp(x) + 1), which is exact near 0."""
        return self("MUL", self("TANH", self("MUL", x, 0.5)), self("ADD", self("EXP", x), 1.0))

    def log1p(self, x: Tensor) -> Tensor:
        """log(1 + x), corrected by what rounding took from 1 + x.

        Reference: Kahan, as in Higham, "Accuracy and Stability of Numerical Algorithms", section 1.14.1.
        """
        u = self("ADD", x, 1.0)
        d = self("SUB", u, 1.0)
        exact = self("EQUAL", d, 0.0, dtype=bool)
        safe = self("SELECT_V2", exact, self.full(x, 1.0), d)
        scaled = self("MUL", self("LOG", u), self("DIV", x, safe))
        return self("SELECT_V2", exact, x, scaled)

    def full(self, x: Tensor, number: float) -> Tensor:
        """A number as a tensor of x's dtype."""
        return self.e.constant(number, x.dtype)

    def circle(self, x: Tensor) -> Tensor:
        """sqrt((1 - x) (1 + x))."""
        return self("SQRT", self("MUL", self("SUB", 1.0, x), self("ADD", x, 1.0)))

    def erfc(self, x: Tensor) -> Tensor:
        """1 - erf(x), to 1.5e-7.

        Reference: Abramowitz and Stegun, "Handbook of Mathematical Functions", formula 7.1.26.
        """
        a = self("ABS", x)
        t = self("DIV", 1.0, self("ADD", self("MUL", a, 0.3275911), 1.0))
        y = self("MUL", t, 1.061405429)
        for c in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
            y = self("MUL", self("ADD", y, c), t)
        y = self("MUL", y, self("EXP", self("NEG", self("MUL", a, a))))
        return self("SELECT_V2", self("LESS", x, 0.0, dtype=bool), self("SUB", 2.0, y), y)


def _formulas() -> dict[str, Any]:
    return {
        "Expm1": lambda f, x: f.expm1(x),
        "Log1p": lambda f, x: f.log1p(x),
        "Reciprocal": lambda f, x: f("DIV", 1.0, x),
        "Tan": lambda f, x: f("DIV", f("SIN", x), f("COS", x)),
        "Asin": lambda f, x: f("ATAN2", x, f.circle(x)),
        "Acos": lambda f, x: f("ATAN2", f.circle(x), x),
        "Atan": lambda f, x: f("ATAN2", x, f("ADD", f("MUL", x, 0.0), 1.0)),
        "Sinh": lambda f, x: _sinh(f, f.expm1(x)),
        "Cosh": lambda f, x: f("MUL", f("ADD", f("EXP", x), f("EXP", f("NEG", x))), 0.5),
        "Asinh": lambda f, x: f("MUL", f("SIGN", x), _asinh(f, f("ABS", x))),
        "Acosh": lambda f, x: _acosh(f, f("SUB", x, 1.0)),
        "Atanh": lambda f, x: f("MUL", f.log1p(f("DIV", f("MUL", x, 2.0), f("SUB", 1.0, x))), 0.5),
        "Erf": lambda f, x: f("SUB", 1.0, f.erfc(x)),
        "Erfc": lambda f, x: f.erfc(x),
        "IsFinite": lambda f, x: f("LESS", f("ABS", x), np.inf, dtype=bool),
        "Softplus": lambda f, x: f("ADD", f("RELU", x), f.log1p(f("EXP", f("NEG", f("ABS", x))))),
        "Softsign": lambda f, x: f("DIV", x, f("ADD", f("ABS", x), 1.0)),
    }


def _sinh(f: Formula, e: Tensor) -> Tensor:
    return f("MUL", f("ADD", e, f("DIV", e, f("ADD", e, 1.0))), 0.5)


def _asinh(f: Formula, a: Tensor) -> Tensor:
    square = f("MUL", a, a)
    return f.log1p(f("ADD", a, f("DIV", square, f("ADD", f("SQRT", f("ADD", square, 1.0)), 1.0))))


def _acosh(f: Formula, t: Tensor) -> Tensor:
    return f.log1p(f("ADD", t, f("SQRT", f("MUL", t, f("ADD", t, 2.0)))))


FORMULAS = _formulas()


@TABLE.rule(*FORMULAS)
def _formula(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    if x.dtype != FLOAT32:
        raise Unsupported(f"it is written by a formula of float32, not of {x.dtype}")
    return FORMULAS[instr.op](Formula(e, instr), x)


@TABLE.rule("Silu")
def _silu(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    gate = e.out(instr.output)
    if e.integer is not None:
        gate["quant"] = FIXED["Sigmoid"][e.integer]
    return e.node("MUL", [x, e.node("LOGISTIC", [x], **gate)], **e.out(instr.output))


@TABLE.rule("HardSigmoid")
def _hard_sigmoid(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    clipped = e.out(instr.output)
    three, sixth = e.constant(3.0, np.float32), e.constant(1 / 6, np.float32)
    if e.integer is not None:
        clipped["quant"] = of_range(0.0, 6.0, e.integer)
        scales = of_range(0.0, 3.0, e.integer), of_range(0.0, 1 / 6, e.integer)
        three, sixth = (e.constant(q.store(np.asarray(n)), quant=q) for q, n in zip(scales, (3.0, 1 / 6), strict=True))
    options = dict(POT_SCALE) if e.integer == INT16 else {}
    y = e.node("ADD", [x, three], **clipped, fused_activation_function=3, **options)
    return e.node("MUL", [y, sixth], **e.out(instr.output))


@TABLE.rule("LeakyRelu")
def _leaky_relu(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    return e.node("LEAKY_RELU", [x], **e.out(instr.output), alpha=float(instr.attrs["alpha"]))


@TABLE.rule("Elu")
def _elu(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    alpha = float(instr.attrs.get("alpha", 1.0))
    if alpha == 1.0:
        return e.node("ELU", [x], x.shape)
    f = Formula(e, instr)
    return f("ADD", f("RELU", x), f("MUL", f("ELU", f("MINIMUM", x, 0.0)), alpha))


@TABLE.rule("Gelu")
def _gelu(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    return e.node("GELU", [x], **e.out(instr.output), approximate=bool(instr.attrs["approximate"]))


@TABLE.rule("Cast")
def _cast(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    return e.cast(x, instr.output.dtype)


@TABLE.rule("Identity")
@lazy
def _identity(e: Emitter, instr: Instr) -> Tensor:
    return e.take(instr.inputs[0])


@TABLE.rule("Select")
def _select(e: Emitter, instr: Instr, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    _check_axes(instr)
    return e.node("SELECT_V2", [condition, x, y], instr.output.shape, x.dtype)


# ---- integers and booleans


@TABLE.rule("Rem")
def _rem(e: Emitter, instr: Instr, x: Tensor, y: Tensor) -> Tensor:
    """The remainder of the magnitudes, with the sign of x."""
    f, shape = Formula(e, instr), instr.output.shape
    zero = e.constant(0, x.dtype)
    negative = e.node("LESS", [x, zero], x.shape, bool)
    size = e.node("SELECT_V2", [negative, e.node("NEG", [x], x.shape), x], x.shape, x.dtype)
    least = e.node("MAXIMUM", [y, e.node("NEG", [y], y.shape)], y.shape)
    rest = e.node("FLOOR_MOD", [size, least], shape, x.dtype)
    return e.node("SELECT_V2", [negative, f("NEG", rest), rest], shape, x.dtype)


@TABLE.rule("Not")
def _not(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    if x.dtype == bool:
        return e.node("LOGICAL_NOT", [x], x.shape)
    return e.node("SUB", [e.constant(-1, x.dtype), x], x.shape)


@TABLE.rule("And", "Or", "Xor")
def _logic(e: Emitter, instr: Instr, x: Tensor, y: Tensor) -> Tensor:
    shape = instr.output.shape
    if instr.op == "Xor":
        return e.node("NOT_EQUAL" if x.dtype == bool else "BITWISE_XOR", [x, y], shape, x.dtype)
    if x.dtype == bool:
        return e.node(f"LOGICAL_{instr.op.upper()}", [x, y], shape)
    raise Unsupported(f"TFLite has no bitwise {instr.op.lower()} of integers")


@TABLE.rule("ShiftRight")
def _shift_right(e: Emitter, instr: Instr, x: Tensor, y: Tensor) -> Tensor:
    return e.node("RIGHT_SHIFT", [x, y], instr.output.shape)


@TABLE.rule("ShiftLeft")
def _shift_left(e: Emitter, instr: Instr, x: Tensor, y: Tensor) -> Tensor:
    if x.dtype != INT32:
        raise Unsupported(f"TFLite shifts int32 to the left (by a power of 2), not {x.dtype}")
    return e.node("MUL", [x, e.node("POW", [e.constant(2, INT32), y], y.shape)], instr.output.shape)
