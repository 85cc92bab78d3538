"""Rules for primitives of jax that work element by element, move elements, reduce, or multiply matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.graph.builder import Builder
from lamina.graph.dims import Dim, Dims, dims_of
from lamina.graph.ir import Value, is_floating
from lamina.graph.lower import primitive

SAME = {
    "neg": "Neg", "abs": "Abs", "sign": "Sign", "floor": "Floor", "ceil": "Ceil", "exp": "Exp", "expm1": "Expm1",
    "log": "Log", "log1p": "Log1p", "sqrt": "Sqrt", "rsqrt": "Rsqrt", "square": "Square", "sin": "Sin", "cos": "Cos",
    "tan": "Tan", "asin": "Asin", "acos": "Acos", "atan": "Atan", "sinh": "Sinh", "cosh": "Cosh", "tanh": "Tanh",
    "asinh": "Asinh", "acosh": "Acosh", "atanh": "Atanh", "erf": "Erf", "erfc": "Erfc", "not": "Not",
    "is_finite": "IsFinite", "logistic": "Sigmoid", "add": "Add", "add_any": "Add", "sub": "Sub", "mul": "Mul",
    "div": "Div", "rem": "Rem", "pow": "Pow", "max": "Maximum", "min": "Minimum", "atan2": "Atan2", "and": "And",
    "or": "Or", "xor": "Xor", "shift_left": "ShiftLeft", "shift_right_arithmetic": "ShiftRight", "eq": "Equal",
    "ne": "NotEqual", "lt": "Less", "le": "LessEqual", "gt": "Greater", "ge": "GreaterEqual",
}  # fmt: skip
"""Primitives that are an op of the table under another name."""


def _same(op: str) -> Any:
    def rule(b: Builder, params: Any, avals: Any, *inputs: Value) -> Value:
        inputs = tuple(_cast(b, x, avals[0].dtype) if op == "Pow" else x for x in inputs)
        return b.emit(op, inputs)

    return rule


for _name, _op in SAME.items():
    primitive(_name)(_same(_op))


def _cast(b: Builder, x: Value, dtype: Any) -> Value:
    dtype = np.dtype(dtype)
    if x.dtype == dtype:
        return x
    array = b.known(x)
    return b.emit("Cast", [x], dtype=dtype.name) if array is None else b.constant(np.asarray(array).astype(dtype))


def scalar(b: Builder, number: Any, dtype: Any) -> Value:
    """A constant of shape ()."""
    return b.constant(np.asarray(number, dtype))


@primitive("copy", "copy_p", "stop_gradient", "optimization_barrier", "sharding_constraint", "pvary", "device_put")
def _unchanged(b: Builder, params: Any, avals: Any, *inputs: Value) -> Any:
    return list(inputs)


@primitive("shift_right_logical")
def _shift_right_logical(b: Builder, params: Any, avals: Any, x: Value, y: Value) -> Value:
    """Without a sign, shifting back fills up with zeros in any case; else the number is shifted as one without."""
    plain = np.dtype(f"uint{x.dtype.itemsize * 8}")
    return _cast(b, b.emit("ShiftRight", [_cast(b, x, plain), _cast(b, y, plain)]), x.dtype)


@primitive("reduce_precision")
def _reduce_precision(b: Builder, params: Any, avals: Any, x: Value) -> Any:
    bits = {"float32": (8, 23), "bfloat16": (8, 7), "float16": (5, 10), "float64": (11, 52)}
    wanted = (params["exponent_bits"], params["mantissa_bits"])
    for dtype, have in bits.items():
        if have == wanted:
            return _cast(b, _cast(b, x, dtype), x.dtype)
    return NotImplemented


@primitive("name")
def _named(b: Builder, params: Any, avals: Any, x: Value) -> Value:
    return b.emit("Identity", [x], name=params["name"])


@primitive("exp2")
def _exp2(b: Builder, params: Any, avals: Any, x: Value) -> Value:
    return b.emit("Exp", [b.emit("Mul", [x, scalar(b, np.log(2), x.dtype)])])


@primitive("cbrt")
def _cbrt(b: Builder, params: Any, avals: Any, x: Value) -> Value:
    root = b.emit("Pow", [b.emit("Abs", [x]), scalar(b, 1 / 3, x.dtype)])
    return b.emit("Mul", [b.emit("Sign", [x]), root])


@primitive("round")
def _round(b: Builder, params: Any, avals: Any, x: Value) -> Value:
    if int(params["rounding_method"]) == 1:  # to the nearest even
        return b.emit("Round", [x])
    away = b.emit("Floor", [b.emit("Add", [b.emit("Abs", [x]), scalar(b, 0.5, x.dtype)])])
    return b.emit("Mul", [b.emit("Sign", [x]), away])


@primitive("integer_pow")
def _integer_pow(b: Builder, params: Any, avals: Any, x: Value) -> Value:
    y = params["y"]
    if y == 0:
        return broadcast(b, scalar(b, 1, x.dtype), x.shape)
    if abs(y) > 4 and is_floating(x.dtype):
        return b.emit("Pow", [x, scalar(b, y, x.dtype)])
    power: Any = None
    square = x
    n = abs(y)
    while n:
        if n & 1:
            power = square if power is None else b.emit("Mul", [power, square])
        n >>= 1
        if n:
            square = b.emit("Square", [square])
    return b.emit("Reciprocal", [power]) if y < 0 else power


def _total_order(op: str) -> Any:
    """A comparison in which NaN is above all numbers."""

    def rule(b: Builder, params: Any, avals: Any, x: Value, y: Value) -> Value:
        if not is_floating(x.dtype):
            return b.emit(op, [x, y])
        high, low = b.emit("NotEqual", [y, y]), b.emit("Equal", [x, x])
        above = b.emit("And", [high, low]) if op == "Less" else high
        return b.emit("Or", [b.emit(op, [x, y]), above])

    return rule


primitive("lt_to")(_total_order("Less"))
primitive("le_to")(_total_order("LessEqual"))


@primitive("select_n")
def _select(b: Builder, params: Any, avals: Any, which: Value, *cases: Value) -> Value:
    if which.dtype == bool:
        return b.emit("Select", [which, cases[1], cases[0]])
    out = cases[-1]
    for i in range(len(cases) - 2, -1, -1):
        out = b.emit("Select", [b.emit("LessEqual", [which, scalar(b, i, which.dtype)]), cases[i], out])
    return out


@primitive("clamp")
def _clamp(b: Builder, params: Any, avals: Any, low: Value, x: Value, high: Value) -> Value:
    return b.emit("Minimum", [b.emit("Maximum", [x, low]), high])


@primitive("convert_element_type")
def _convert(b: Builder, params: Any, avals: Any, x: Value) -> Value:
    return _cast(b, x, params["new_dtype"])


# ---- shapes


def reshape(b: Builder, x: Value, shape: Sequence[Dim]) -> Value:
    """`x` in another shape; nothing is added if it has that shape."""
    shape = Dims(shape)
    return x if tuple(x.shape) == tuple(shape) else b.emit("Reshape", [x], shape=shape)


def transpose(b: Builder, x: Value, perm: Any) -> Value:
    """`x` with its axes in another order; nothing is added if it is the same."""
    perm = tuple(int(p) for p in perm)
    return x if perm == tuple(range(len(perm))) else b.emit("Transpose", [x], perm=perm)


def broadcast(b: Builder, x: Value, shape: Sequence[Dim]) -> Value:
    """`x` repeated to a shape; nothing is added if it has it."""
    shape = Dims(shape)
    return x if tuple(x.shape) == tuple(shape) else b.emit("BroadcastTo", [x], shape=shape)


@primitive("broadcast_in_dim")
def _broadcast_in_dim(b: Builder, params: Any, avals: Any, x: Value, *_: Value) -> Value:
    shape = dims_of(avals[0].shape)
    places = params["broadcast_dimensions"]
    aligned: list[Dim] = [1] * len(shape)
    for place, size in zip(places, x.shape, strict=True):
        aligned[int(place)] = size
    lead = next((i for i, d in enumerate(aligned) if i in set(map(int, places))), len(shape))
    return broadcast(b, reshape(b, x, aligned[lead:] if x.shape else ()), shape)


@primitive("reshape", "squeeze", "expand_dims")
def _reshape(b: Builder, params: Any, avals: Any, x: Value, *_: Value) -> Value:
    if params.get("dimensions") is not None and "new_sizes" in params:
        x = transpose(b, x, params["dimensions"])
    return reshape(b, x, dims_of(avals[0].shape))


@primitive("transpose")
def _transpose(b: Builder, params: Any, avals: Any, x: Value) -> Value:
    return transpose(b, x, params["permutation"])


@primitive("concatenate")
def _concatenate(b: Builder, params: Any, avals: Any, *x: Value) -> Value:
    return x[0] if len(x) == 1 else b.emit("Concat", x, axis=int(params["dimension"]))


@primitive("stack")
def _stack(b: Builder, params: Any, avals: Any, *x: Value) -> Value:
    axis = int(params["axis"])
    shape = dims_of(avals[0].shape)
    one = [*shape[:axis], 1, *shape[axis + 1 :]]
    parts = [reshape(b, v, one) for v in x]
    return parts[0] if len(x) == 1 else b.emit("Concat", parts, axis=axis)


@primitive("split")
def _split(b: Builder, params: Any, avals: Any, x: Value) -> Any:
    sizes = tuple(int(s) for s in params["sizes"])
    return [x] if len(sizes) == 1 else b.emit("Split", [x], axis=int(params["axis"]), sizes=sizes)


@primitive("tile")
def _tile(b: Builder, params: Any, avals: Any, x: Value) -> Value:
    repeats = next(v for k, v in params.items() if k in ("reps", "repeats"))
    return b.emit("Tile", [x], repeats=tuple(int(r) for r in repeats))


def slice_(b: Builder, x: Value, start: Sequence[Dim], stop: Sequence[Dim], strides: Any = None) -> Value:
    """A part of `x`; nothing is added if it is the whole."""
    strides = tuple(strides) if strides is not None else (1,) * len(x.shape)
    if not any(start) and tuple(stop) == tuple(x.shape) and set(strides) <= {1}:
        return x
    return b.emit("Slice", [x], start=Dims(start), stop=Dims(stop), strides=tuple(int(s) for s in strides))


@primitive("slice")
def _slice(b: Builder, params: Any, avals: Any, x: Value, *_: Value) -> Value:
    return slice_(b, x, dims_of(params["start_indices"]), dims_of(params["limit_indices"]), params["strides"])


@primitive("rev")
def _rev(b: Builder, params: Any, avals: Any, x: Value) -> Value:
    return b.emit("Reverse", [x], axes=tuple(int(d) for d in params["dimensions"]))


@primitive("pad")
def _pad(b: Builder, params: Any, avals: Any, x: Value, value: Value) -> Value:
    config = [tuple(dims_of(c)) for c in params["padding_config"]]
    for axis, (_, _, inside) in enumerate(config):
        if inside:  # each element becomes a row with zeros behind, the last of which are cut off
            shape = list(x.shape)
            rows = reshape(b, x, [*shape[: axis + 1], 1, *shape[axis + 1 :]])
            high = [0] * len(rows.shape)
            high[axis + 1] = inside
            rows = b.emit("Pad", [rows, value], low=Dims([0] * len(high)), high=Dims(high))
            size = _times(shape[axis], inside + 1)
            x = reshape(b, rows, [*shape[:axis], size, *shape[axis + 1 :]])
            stop = list(x.shape)
            stop[axis] = _plus(size, -inside)
            x = slice_(b, x, [0] * len(stop), stop)
    cut = [min(lo, 0) if isinstance(lo, int) else 0 for lo, _, _ in config]
    cut_high = [min(hi, 0) if isinstance(hi, int) else 0 for _, hi, _ in config]
    if any(cut) or any(cut_high):
        stop = [_plus(d, hi) for d, hi in zip(x.shape, cut_high, strict=True)]
        x = slice_(b, x, [-lo for lo in cut], stop)
    low = Dims(max(lo, 0) if isinstance(lo, int) else lo for lo, _, _ in config)
    high_ = Dims(max(hi, 0) if isinstance(hi, int) else hi for _, hi, _ in config)
    return b.emit("Pad", [x, value], low=low, high=high_) if any(low) or any(high_) else x


def _times(size: Dim, n: int) -> Dim:
    return size * n if isinstance(size, int) else f"{n}*({size})"


def _plus(size: Dim, n: int) -> Dim:
    return size + n if isinstance(size, int) else f"{size} + {n}" if n else size


@primitive("iota")
def _iota(b: Builder, params: Any, avals: Any, *_: Value) -> Value:
    shape, axis = dims_of(avals[0].shape), params["dimension"]
    row = b.emit("Iota", [], shape=Dims([shape[axis]]), dtype=np.dtype(params["dtype"]).name)
    column = reshape(b, row, [shape[axis], *[1] * (len(shape) - axis - 1)])
    return broadcast(b, column, shape)


@primitive("dim_as_value")
def _dim_as_value(b: Builder, params: Any, avals: Any) -> Value:
    return _cast(b, b.emit("Size", [], size=dims_of([params["dim"]])), avals[0].dtype)


@primitive("dynamic_slice")
def _dynamic_slice(b: Builder, params: Any, avals: Any, x: Value, *starts: Value) -> Value:
    starts, sizes = starts[: len(x.shape)], dims_of(params["slice_sizes"])
    known = [b.known(s) for s in starts]
    if all(k is not None for k in known) and all(isinstance(d, int) for d in (*sizes, *x.shape)):
        start = [int(np.clip(int(k), 0, d - n)) for k, d, n in zip(known, x.shape, sizes, strict=True)]
        return slice_(b, x, start, [s + n for s, n in zip(start, sizes, strict=True)])
    return b.emit("DynamicSlice", [x, *starts], sizes=sizes)


@primitive("dynamic_update_slice")
def _dynamic_update(b: Builder, params: Any, avals: Any, x: Value, update: Value, *starts: Value) -> Value:
    return b.emit("DynamicUpdate", [x, update, *starts])


# ---- along axes

REDUCTIONS = {
    "reduce_sum": "ReduceSum", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin", "reduce_prod": "ReduceProd",
    "reduce_and": "ReduceAnd", "reduce_or": "ReduceOr",
}  # fmt: skip


def _reduce(op: str) -> Any:
    def rule(b: Builder, params: Any, avals: Any, x: Value, *_: Value) -> Value:
        axes = tuple(int(a) for a in params["axes"])
        return b.emit(op, [x], axes=axes, keepdims=False) if axes else x

    return rule


for _name, _op in REDUCTIONS.items():
    primitive(_name)(_reduce(_op))


@primitive("argmax")
def _argmax(b: Builder, params: Any, avals: Any, x: Value) -> Value:
    return b.emit("ArgMax", [x], axis=int(params["axes"][0]), dtype=np.dtype(params["index_dtype"]).name)


@primitive("argmin")
def _argmin(b: Builder, params: Any, avals: Any, x: Value) -> Value:
    return b.emit("ArgMin", [x], axis=int(params["axes"][0]), dtype=np.dtype(params["index_dtype"]).name)


def _cumulative(op: str) -> Any:
    def rule(b: Builder, params: Any, avals: Any, x: Value) -> Value:
        return b.emit(op, [x], axis=int(params["axis"]), reverse=bool(params["reverse"]))

    return rule


for _name, _op in {"cumsum": "CumSum", "cumprod": "CumProd", "cummax": "CumMax"}.items():
    primitive(_name)(_cumulative(_op))


@primitive("cummin")
def _cummin(b: Builder, params: Any, avals: Any, x: Value) -> Value:
    if not is_floating(x.dtype) and x.dtype.kind != "i":
        return NotImplemented
    top = b.emit("CumMax", [b.emit("Neg", [x])], axis=int(params["axis"]), reverse=bool(params["reverse"]))
    return b.emit("Neg", [top])


@primitive("sort")
def _sort(b: Builder, params: Any, avals: Any, *x: Value) -> Any:
    axis = int(params["dimension"])
    if len(x) == 1:
        return b.emit("Sort", [x[0]], axis=axis)
    if params["num_keys"] != 1:
        return NotImplemented
    order = b.emit("ArgSort", [x[0]], axis=axis)
    return [b.emit("GatherElements", [v, order], axis=axis) for v in x]


@primitive("top_k")
def _top_k(b: Builder, params: Any, avals: Any, x: Value) -> Any:
    last = len(x.shape) - 1
    if int(params.get("axis", last)) % len(x.shape) != last:
        return NotImplemented
    return b.emit("TopK", [x], k=int(params["k"]))


# ---- products


@primitive("dot_general")
def _dot_general(b: Builder, params: Any, avals: Any, x: Value, y: Value) -> Value:
    (cx, cy), (bx, by) = params["dimension_numbers"]
    wide = params.get("preferred_element_type")
    dtype = np.dtype(avals[0].dtype if wide is None else wide)
    x, y = _cast(b, x, dtype), _cast(b, y, dtype)
    fx = [i for i in range(len(x.shape)) if i not in cx and i not in bx]
    fy = [i for i in range(len(y.shape)) if i not in cy and i not in by]
    out = Dims([*(x.shape[i] for i in bx), *(x.shape[i] for i in fx), *(y.shape[i] for i in fy)])
    inner = _product(x.shape[i] for i in cx)
    x, y = transpose(b, x, [*bx, *fx, *cx]), transpose(b, y, [*by, *cy, *fy])
    batch = [x.shape[i] for i in range(len(bx))]
    free_x = list(x.shape[len(bx) : len(bx) + len(fx)])
    free_y = list(y.shape[len(by) + len(cy) :])
    if batch or len(fx) == 0:
        x = reshape(b, x, [*batch, _product(free_x), inner])
    else:  # the axes in front of a plain matrix product broadcast
        x = reshape(b, x, [*free_x, inner])
    y = reshape(b, y, [*batch, inner, _product(free_y)])
    return reshape(b, b.emit("MatMul", [x, y]), out)


def _product(sizes: Any) -> Dim:
    number, text = 1, []
    for size in sizes:
        if isinstance(size, int):
            number *= size
        else:
            text.append(size if size.isidentifier() else f"({size})")
    if not text:
        return number
    return "*".join([*([str(number)] if number != 1 else []), *text])
