"""How TensorFlow writes the ops that work element by element, move elements, reduce or sort."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lamina.export.rules import Unsupported
from lamina.export.tensorflow.emitter import INT32, Emitter, Tensor
from lamina.export.tensorflow.table import TABLE
from lamina.graph.ir import Instr, Value, is_floating

SAME = (
    "Neg Abs Sign Floor Ceil Round Exp Expm1 Log Log1p Sqrt Rsqrt Square Reciprocal Sin Cos Tan Asin Acos Atan Sinh "
    "Cosh Tanh Asinh Acosh Atanh Erf Erfc IsFinite Relu Relu6 Sigmoid Softplus Softsign Sub Mul Pow Maximum Minimum "
    "Atan2 Equal NotEqual Less LessEqual Greater GreaterEqual"
).split()


@TABLE.rule(*SAME)
def _same(e: Emitter, instr: Instr, *inputs: Tensor) -> Tensor:
    return e.node(instr.op, inputs, T=instr.inputs[0].dtype)


@TABLE.rule("Add")
def _add(e: Emitter, instr: Instr, x: Tensor, y: Tensor) -> Tensor:
    return e.binary("AddV2", x, y, instr.output.dtype)


@TABLE.rule("Div")
def _div(e: Emitter, instr: Instr, x: Tensor, y: Tensor) -> Tensor:
    return e.binary("TruncateDiv" if instr.output.dtype.kind in "iu" else "RealDiv", x, y, instr.output.dtype)


@TABLE.rule("Rem")
def _rem(e: Emitter, instr: Instr, x: Tensor, y: Tensor) -> Tensor:
    """The kernel takes no integers of fewer than 32 bits."""
    dtype = instr.output.dtype
    wide = INT32 if dtype.kind in "iu" and dtype.itemsize < 4 else dtype
    out = e.binary("TruncateMod", e.cast(x, dtype, wide), e.cast(y, dtype, wide), wide)
    return e.cast(out, wide, dtype)


@TABLE.rule("Not")
def _not(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    if instr.output.dtype == bool:
        return e.node("LogicalNot", [x])
    return e.unary("Invert", x, instr.output.dtype)


@TABLE.rule("And", "Or", "Xor")
def _logic(e: Emitter, instr: Instr, x: Tensor, y: Tensor) -> Tensor:
    if instr.output.dtype != bool:
        return e.binary(f"Bitwise{instr.op}", x, y, instr.output.dtype)
    return e.binary("NotEqual", x, y, bool) if instr.op == "Xor" else e.node(f"Logical{instr.op}", [x, y])


@TABLE.rule("ShiftLeft", "ShiftRight")
def _shift(e: Emitter, instr: Instr, x: Tensor, y: Tensor) -> Tensor:
    return e.binary({"ShiftLeft": "LeftShift", "ShiftRight": "RightShift"}[instr.op], x, y, instr.output.dtype)


@TABLE.rule("LeakyRelu")
def _leaky_relu(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    return e.node("LeakyRelu", [x], T=instr.output.dtype, alpha=float(instr.attrs["alpha"]))


@TABLE.rule("Elu")
def _elu(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    dtype, alpha = instr.output.dtype, instr.attrs.get("alpha", 1.0)
    if alpha == 1.0:
        return e.unary("Elu", x, dtype)
    zero = e.constant(0, dtype)
    low = e.unary("Expm1", e.binary("Minimum", x, zero, dtype), dtype)
    scaled = e.binary("Mul", low, e.constant(alpha, dtype), dtype)
    return e.binary("AddV2", e.binary("Maximum", x, zero, dtype), scaled, dtype)


@TABLE.rule("Cast")
def _cast(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    return e.node("Cast", [x], SrcT=instr.inputs[0].dtype, DstT=instr.output.dtype)


@TABLE.rule("Select")
def _select(e: Emitter, instr: Instr, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return e.node("SelectV2", [condition, x, y], T=instr.output.dtype)


@TABLE.rule("Identity")
def _identity(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    return e.node("Identity", [x], name=instr.output.name, T=instr.output.dtype)


# ---- shapes


@TABLE.rule("Reshape")
def _reshape(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    return e.reshape(x, instr.output.shape, instr.output.dtype)


@TABLE.rule("Transpose")
def _transpose(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    return e.transpose(x, instr.attrs["perm"], instr.output.dtype)


@TABLE.rule("BroadcastTo")
def _broadcast_to(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    return e.node("BroadcastTo", [x, e.shape(instr.output.shape)], T=instr.output.dtype, Tidx=INT32)


@TABLE.rule("Concat")
def _concat(e: Emitter, instr: Instr, *x: Tensor) -> Tensor:
    axis = e.constant(instr.attrs["axis"], np.int32)
    return e.node("ConcatV2", [*x, axis], N=len(x), T=instr.output.dtype, Tidx=INT32)


@TABLE.rule("Split")
def _split(e: Emitter, instr: Instr, x: Tensor) -> list[Tensor]:
    sizes = instr.attrs["sizes"]
    given = [x, e.ints(*sizes), e.constant(instr.attrs["axis"], np.int32)]
    return e.node("SplitV", given, outputs=len(sizes), num_split=len(sizes), T=instr.output.dtype, Tlen=INT32)


@TABLE.rule("Slice")
def _slice(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    """Unknown sizes at the end of a slice need no arithmetic: a mask says "to the end"."""
    value, a = instr.inputs[0], instr.attrs
    start, stop = list(a["start"]), list(a["stop"])
    whole = [i for i, d in enumerate(stop) if d == value.shape[i]]
    stop = [0 if i in whole else d for i, d in enumerate(stop)]
    given = [x, e.shape(start), e.shape(stop), e.ints(*a["strides"])]
    mask = sum(1 << i for i in whole)
    return e.node("StridedSlice", given, T=value.dtype, Index=INT32, end_mask=mask)


def _starts(e: Emitter, value: Value, sizes: Any, starts: Any, values: Any) -> list[Tensor]:
    """The starts of a block, moved inside."""
    out = []
    for axis, (start, scalar) in enumerate(zip(starts, values, strict=True)):
        start = e.cast(start, scalar.dtype, INT32)
        room = e.binary("Sub", e.size(value.shape[axis]), e.size(sizes[axis]), INT32)
        low = e.binary("Maximum", start, e.constant(0, np.int32), INT32)
        out.append(e.binary("Minimum", low, room, INT32))
    return out


@TABLE.rule("DynamicSlice")
def _dynamic_slice(e: Emitter, instr: Instr, x: Tensor, *starts: Tensor) -> Tensor:
    value, sizes = instr.inputs[0], instr.attrs["sizes"]
    inside = _starts(e, value, sizes, starts, instr.inputs[1:])
    begin = e.node("Pack", inside, N=len(inside), T=INT32)
    return e.node("Slice", [x, begin, e.shape(sizes)], T=value.dtype, Index=INT32)


@TABLE.rule("DynamicUpdate")
def _dynamic_update(e: Emitter, instr: Instr, x: Tensor, update: Tensor, *starts: Tensor) -> Tensor:
    """The block's leading axes as points; axes behind them must be whole."""
    value, block = instr.inputs[0], instr.inputs[1]
    rank = len(value.shape)
    if rank == 0:
        return update
    partial = [i for i in range(rank) if block.shape[i] != value.shape[i]]
    count = max(partial, default=0) + 1
    if not all(isinstance(d, int) for d in block.shape[:count]):
        raise Unsupported("a block of unknown size is written")
    inside = _starts(e, value, block.shape, starts, instr.inputs[2:])[:count]
    leading: Any = block.shape[:count]
    grid = np.moveaxis(np.indices(leading), 0, -1).astype(np.int32)
    points = e.binary("AddV2", e.constant(grid), e.node("Pack", inside, N=count, T=INT32), INT32)
    return e.node("TensorScatterUpdate", [x, points, update], T=value.dtype, Tindices=INT32)


@TABLE.rule("Pad")
def _pad(e: Emitter, instr: Instr, x: Tensor, value: Tensor) -> Tensor:
    pairs = [d for pair in zip(instr.attrs["low"], instr.attrs["high"], strict=True) for d in pair]
    if all(isinstance(d, int) for d in pairs):
        amounts = e.constant(np.asarray(pairs, np.int32).reshape(-1, 2))
    else:
        amounts = e.node("Reshape", [e.shape(pairs), e.ints(-1, 2)], T=INT32, Tshape=INT32)
    return e.node("PadV2", [x, amounts, value], T=instr.output.dtype, Tpaddings=INT32)


@TABLE.rule("Tile")
def _tile(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    repeats = tuple(instr.attrs["repeats"])
    rank = len(instr.output.shape)
    lead = rank - len(instr.inputs[0].shape)
    if lead:
        x = e.reshape(x, [1] * lead + list(instr.inputs[0].shape), instr.output.dtype)
    full = (1,) * (rank - len(repeats)) + repeats
    return e.node("Tile", [x, e.ints(*full)], T=instr.output.dtype, Tmultiples=INT32)


@TABLE.rule("Reverse")
def _reverse(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    return e.node("ReverseV2", [x, e.ints(*instr.attrs["axes"])], T=instr.output.dtype, Tidx=INT32)


@TABLE.rule("Iota")
def _iota(e: Emitter, instr: Instr) -> Tensor:
    limit = e.size(instr.attrs["shape"][0])
    row = e.node("Range", [e.constant(0, np.int32), limit, e.constant(1, np.int32)], Tidx=INT32)
    return e.cast(row, INT32, instr.output.dtype)


@TABLE.rule("Size")
def _size(e: Emitter, instr: Instr) -> Tensor:
    return e.size(instr.attrs["size"][0])


@TABLE.rule("OneHot")
def _one_hot(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    a, dtype = instr.attrs, instr.output.dtype
    index, source = x, instr.inputs[0].dtype
    if source not in (np.dtype("uint8"), np.dtype("int32"), np.dtype("int64")):
        index, source = e.cast(x, source, INT32), INT32
    given = [index, e.constant(a["depth"], np.int32), e.constant(1, dtype), e.constant(0, dtype)]
    return e.node("OneHot", given, T=dtype, TI=source, axis=int(a["axis"]))


@TABLE.rule("SpaceToDepth", "DepthToSpace")
def _space_depth(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    return e.node(instr.op, [x], T=instr.output.dtype, block_size=int(instr.attrs["block"]))


# ---- gather and scatter


def _index(e: Emitter, x: Tensor, value: Value) -> tuple[Tensor, np.dtype]:
    """Indices in a dtype that TensorFlow takes."""
    if value.dtype in (INT32, np.dtype("int64")):
        return x, value.dtype
    return e.cast(x, value.dtype, INT32), INT32


def _clipped(e: Emitter, indices: Tensor, value: Value, limits: Any) -> tuple[Tensor, np.dtype]:
    """Indices moved inside; known ones that are inside stay as they are."""
    indices, dtype = _index(e, indices, value)
    known = e.known(value)
    static = all(isinstance(d, int) for d in limits)
    if known is not None and static and np.all(known >= 0) and np.all(known < np.asarray(limits)):
        return indices, dtype
    if len(limits) == 1:
        top = e.binary("Sub", e.size(limits[0]), e.constant(1, np.int32), INT32)
    else:
        top = e.binary("Sub", e.shape(limits), e.constant(1, np.int32), INT32)
    low = e.binary("Maximum", indices, e.constant(0, dtype), dtype)
    return e.binary("Minimum", low, e.cast(top, INT32, dtype), dtype), dtype


@TABLE.rule("Gather")
def _gather(e: Emitter, instr: Instr, x: Tensor, indices: Tensor) -> Tensor:
    value, axis = instr.inputs[0], instr.attrs["axis"]
    inside, dtype = _clipped(e, indices, instr.inputs[1], [value.shape[axis]])
    given = [x, inside, e.constant(axis, np.int32)]
    return e.node("GatherV2", given, Tparams=value.dtype, Tindices=dtype, Taxis=INT32)


@TABLE.rule("GatherElements")
def _gather_elements(e: Emitter, instr: Instr, x: Tensor, indices: Tensor) -> Tensor:
    value, axis = instr.inputs[0], instr.attrs["axis"]
    rank = len(value.shape)
    inside, dtype = _clipped(e, indices, instr.inputs[1], [value.shape[axis]])
    perm = [i for i in range(rank) if i != axis] + [axis]
    given = [
        e.transpose(x, perm, value.dtype), e.transpose(inside, perm, dtype), e.constant(rank - 1, np.int32)
    ]  # fmt: skip
    y = e.node("GatherV2", given, Tparams=value.dtype, Tindices=dtype, Taxis=INT32, batch_dims=rank - 1)
    return e.transpose(y, np.argsort(perm).tolist(), value.dtype)


@TABLE.rule("GatherND")
def _gather_nd(e: Emitter, instr: Instr, x: Tensor, indices: Tensor) -> Tensor:
    value, depth = instr.inputs[0], int(instr.inputs[1].shape[-1])
    inside, dtype = _clipped(e, indices, instr.inputs[1], value.shape[:depth])
    return e.node("GatherNd", [x, inside], Tparams=value.dtype, Tindices=dtype)


_SCATTER = {"set": "Update", "add": "Add", "min": "Min", "max": "Max"}


@TABLE.rule("ScatterND")
def _scatter_nd(e: Emitter, instr: Instr, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """Points outside are sent to a row that is added behind the first axis, and cut off again."""
    value, at = instr.inputs[0], instr.inputs[1]
    reduction, dtype = instr.attrs["reduction"], value.dtype
    if reduction not in _SCATTER:
        raise Unsupported(f"TensorFlow has no scatter that combines by {reduction!r}")
    op = f"TensorScatter{_SCATTER[reduction]}"
    depth = int(at.shape[-1])
    points, kind = _index(e, indices, at)
    if len(at.shape) == 1:  # of one point alone TensorFlow takes the numbers for points of one axis each
        points = e.reshape(points, (1, depth), kind)
        updates = e.reshape(updates, (1, *value.shape[depth:]), dtype)
    known, limits = e.known(at), value.shape[:depth]
    static = all(isinstance(d, int) for d in limits)
    if known is not None and static and np.all(known >= 0) and np.all(known < np.asarray(limits)):
        return e.node(op, [x, points, updates], T=dtype, Tindices=kind)
    top = e.cast(e.shape(limits), INT32, kind)
    zero = e.constant(0, kind)
    inside = e.node("LogicalAnd", [e.binary("GreaterEqual", points, zero, kind), e.binary("Less", points, top, kind)])
    whole = e.node("All", [inside, e.ints(max(len(at.shape) - 1, 1))], keep_dims=True, Tidx=INT32)
    one = e.constant(np.eye(1, depth, dtype=np.int64)[0], kind)
    dump = e.binary("Mul", one, top, kind)
    points = e.node("SelectV2", [whole, points, dump], T=kind)
    rank = len(value.shape)
    amounts = e.constant(np.asarray([[0, 1]] + [[0, 0]] * (rank - 1), np.int32))
    padded = e.node("PadV2", [x, amounts, e.constant(0, dtype)], T=dtype, Tpaddings=INT32)
    out = e.node(op, [padded, points, updates], T=dtype, Tindices=kind)
    return e.slice(out, [0] * rank, value.shape, dtype)


# ---- along axes


@TABLE.rule("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd")
def _reduce(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    axes, keep = e.ints(*instr.attrs["axes"]), bool(instr.attrs["keepdims"])
    return e.node(instr.op.removeprefix("Reduce"), [x, axes], T=instr.output.dtype, Tidx=INT32, keep_dims=keep)


@TABLE.rule("ReduceAnd", "ReduceOr")
def _reduce_bool(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    axes, keep = e.ints(*instr.attrs["axes"]), bool(instr.attrs["keepdims"])
    return e.node({"ReduceAnd": "All", "ReduceOr": "Any"}[instr.op], [x, axes], Tidx=INT32, keep_dims=keep)


@TABLE.rule("ArgMax", "ArgMin")
def _arg(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    axis = e.constant(instr.attrs["axis"], np.int32)
    source, dtype = instr.inputs[0].dtype, instr.output.dtype
    kind = dtype if dtype in (INT32, np.dtype("int64")) else INT32
    return e.cast(e.node(instr.op, [x, axis], T=source, Tidx=INT32, output_type=kind), kind, dtype)


@TABLE.rule("CumSum", "CumProd")
def _cumulative(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    axis, reverse = e.constant(instr.attrs["axis"], np.int32), bool(instr.attrs.get("reverse", False))
    op = {"CumSum": "Cumsum", "CumProd": "Cumprod"}[instr.op]
    return e.node(op, [x, axis], T=instr.output.dtype, Tidx=INT32, reverse=reverse)


@TABLE.rule("CumMax")
def _cum_max(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    """Each element with the one 1, 2, 4, ... places before it, until the whole row is covered."""
    value, axis, dtype = instr.inputs[0], instr.attrs["axis"], instr.output.dtype
    size = value.shape[axis]
    if not isinstance(size, int):
        raise Unsupported("the axis of a running maximum must have a known size")
    rank, reverse = len(value.shape), instr.attrs.get("reverse", False)
    at = e.constant(axis, np.int32)
    for step in (1 << k for k in range(max(math.ceil(math.log2(max(size, 1))), 0))):
        parts = [step, size - step] if not reverse else [size - step, step]
        given = [x, e.ints(*parts), at]
        head, tail = e.node("SplitV", given, outputs=2, num_split=2, T=dtype, Tlen=INT32)
        begin, end = [0] * rank, list(value.shape)
        if reverse:
            begin[axis] = step
            later = e.slice(x, begin, end, dtype)
            moved, order = e.binary("Maximum", head, later, dtype), False
        else:
            end[axis] = size - step
            earlier = e.slice(x, begin, end, dtype)
            moved, order = e.binary("Maximum", tail, earlier, dtype), True
        x = e.node("ConcatV2", [head, moved, at] if order else [moved, tail, at], N=2, T=dtype, Tidx=INT32)
    return x


@TABLE.rule("TopK")
def _top_k(e: Emitter, instr: Instr, x: Tensor) -> list[Tensor]:
    k = e.constant(instr.attrs["k"], np.int32)
    return e.node("TopKV2", [x, k], outputs=2, T=instr.inputs[0].dtype)


@TABLE.rule("Sort", "ArgSort")
def _sort(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    """The largest of the negated values come first; equal ones keep their order."""
    value, axis = instr.inputs[0], instr.attrs["axis"]
    dtype, rank = value.dtype, len(value.shape)
    floats = is_floating(dtype)
    if not floats and dtype.kind != "i":
        raise Unsupported(f"sorting {dtype} has no counterpart")
    perm = [i for i in range(rank) if i != axis] + [axis]
    last = e.transpose(x, perm, dtype)
    flipped = e.unary("Neg", last, dtype) if floats else e.unary("Invert", last, dtype)
    falling, places = e.node("TopKV2", [flipped, e.size(value.shape[axis])], outputs=2, T=dtype)
    back = np.argsort(perm).tolist()
    if instr.op == "ArgSort":
        return e.cast(e.transpose(places, back, INT32), INT32, instr.output.dtype)
    rising = e.unary("Neg", falling, dtype) if floats else e.unary("Invert", falling, dtype)
    return e.transpose(rising, back, dtype)
