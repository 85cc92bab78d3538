"""How TFLite writes the ops that move elements, reduce, accumulate and sort."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lamina.export.rules import Unsupported
from lamina.export.tflite.emitter import LEAST_ELEMENTS, Emitter, lazy
from lamina.export.tflite.schema import TYPES
from lamina.export.tflite.table import TABLE
from lamina.export.tflite.tensors import INT32, INT64, Tensor, of_weights
from lamina.graph.ir import Instr, Value


@TABLE.rule("Reshape")
def _reshape(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    return e.reshape(x, instr.output.shape)


@TABLE.rule("Transpose")
def _transpose(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    if len(x.shape) > 6:
        raise Unsupported(f"TFLite transposes at most 6 axes, these are {len(x.shape)}")
    return e.transpose(x, instr.attrs["perm"])


@TABLE.rule("BroadcastTo")
def _broadcast_to(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    return e.node("BROADCAST_TO", [x, e.shape(instr.output.shape)], instr.output.shape)


@TABLE.rule("Concat")
@lazy
def _concat(e: Emitter, instr: Instr) -> Tensor:
    out = e.out(instr.output)
    given = [e.take_stored(v, out["quant"]) if e.integer is not None else e.take(v) for v in instr.inputs]
    return e.node("CONCATENATION", given, **out, axis=int(instr.attrs["axis"]))


@TABLE.rule("Split")
def _split(e: Emitter, instr: Instr, x: Tensor) -> list[Tensor]:
    sizes = instr.attrs["sizes"]
    given = [x, e.ints(*sizes), e.constant(instr.attrs["axis"], np.int32)]
    return e.nodes("SPLIT_V", given, [(v.shape, x.dtype, x.quant) for v in instr.outputs], num_splits=len(sizes))


@TABLE.rule("Slice")
def _slice(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    a = instr.attrs
    return e.slice(x, a["start"], a["stop"], instr.output.shape, list(a["strides"]))


@TABLE.rule("DynamicSlice")
def _dynamic_slice(e: Emitter, instr: Instr, x: Tensor, *starts: Tensor) -> Tensor:
    sizes = instr.attrs["sizes"]
    inside = []
    for axis, start in enumerate(starts):
        if x.shape[axis] == sizes[axis]:
            inside.append(e.constant(0, INT32))
            continue
        room = e.node("SUB", [e.size(x.shape[axis]), e.size(sizes[axis])], ())
        low = e.node("MAXIMUM", [e.cast(start, INT32), e.constant(0, INT32)], ())
        inside.append(e.node("MINIMUM", [low, room], ()))
    if not inside:
        return x
    begin = e.node("PACK", inside, (len(inside),), values_count=len(inside), axis=0)
    return e.node("SLICE", [x, begin, e.shape(sizes)], instr.output.shape)


@TABLE.rule("DynamicUpdate")
def _dynamic_update(e: Emitter, instr: Instr, x: Tensor, update: Tensor, *starts: Tensor) -> Tensor:
    if not starts:
        return update
    begin = e.node(
        "PACK", [e.cast(s, INT32) for s in starts], (len(starts),), values_count=len(starts), axis=0
    )  # fmt: skip
    return e.node("DYNAMIC_UPDATE_SLICE", [x, update, begin], x.shape)


@TABLE.rule("Pad")
@lazy
def _pad(e: Emitter, instr: Instr) -> Tensor:
    source, fill = instr.inputs
    x = e.take_stored(source) if e.integer is not None else e.take(source)
    pairs = list(zip(instr.attrs["low"], instr.attrs["high"], strict=True))
    if any(isinstance(d, int) and d < 0 for pair in pairs for d in pair):
        raise Unsupported("TFLite pads by no negative amounts")
    flat = [d for pair in pairs for d in pair]
    if all(isinstance(d, int) for d in flat):
        amounts = e.constant(np.asarray(flat, np.int32).reshape(-1, 2))
    else:
        amounts = e.reshape(e.shape(flat), (len(pairs), 2))
    known = e.known(fill)
    if known is not None and not np.any(known) and x.dtype != bool:
        return e.node("PAD", [x, amounts], instr.output.shape)
    value = e.take_stored(fill, x.quant) if e.integer is not None else e.take(fill)
    return e.node("PADV2", [x, amounts, value], instr.output.shape)


@TABLE.rule("Tile")
def _tile(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    repeats, rank = tuple(instr.attrs["repeats"]), len(instr.output.shape)
    x = e.reshape(x, [1] * (rank - len(x.shape)) + list(x.shape))
    full = (1,) * (rank - len(repeats)) + repeats
    return e.node("TILE", [x, e.ints(*full)], instr.output.shape)


@TABLE.rule("Reverse")
def _reverse(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    for axis in instr.attrs["axes"]:  # a kernel reverses one axis at a time
        x = e.node("REVERSE_V2", [x, e.ints(axis)], x.shape)
    return x


@TABLE.rule("Iota")
def _iota(e: Emitter, instr: Instr) -> Tensor:
    given = [e.constant(0, INT32), e.size(instr.attrs["shape"][0]), e.constant(1, INT32)]
    return e.cast(e.node("RANGE", given, instr.output.shape), instr.output.dtype)


@TABLE.rule("Size")
def _size(e: Emitter, instr: Instr) -> Tensor:
    return e.size(instr.attrs["size"][0])


@TABLE.rule("OneHot")
def _one_hot(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    a, dtype = instr.attrs, instr.output.dtype
    axis = a["axis"] if a["axis"] < len(x.shape) else -1
    given = [e.cast(x, INT32), e.constant(a["depth"], INT32), e.constant(1, dtype), e.constant(0, dtype)]
    return e.node("ONE_HOT", given, instr.output.shape, dtype, axis=int(axis))


@TABLE.rule("SpaceToDepth", "DepthToSpace")
def _space_depth(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    op = {"SpaceToDepth": "SPACE_TO_DEPTH", "DepthToSpace": "DEPTH_TO_SPACE"}[instr.op]
    return e.node(op, [x], instr.output.shape, block_size=int(instr.attrs["block"]))


# ---- gather and scatter


def _inside(e: Emitter, value: Value, indices: Tensor, limits: Any) -> bool:
    known = e.known(value)
    static = all(isinstance(d, int) for d in limits)
    return known is not None and static and bool(np.all(known >= 0) and np.all(known < np.asarray(limits)))


def _clipped(e: Emitter, value: Value, indices: Tensor, limits: Any) -> Tensor:
    """Indices moved inside; known ones that are inside stay as they are."""
    x = indices if indices.dtype in (INT32, INT64) else e.cast(indices, INT32)
    if _inside(e, value, indices, limits):
        return x
    size = e.size(limits[0]) if len(limits) == 1 else e.shape(limits)
    top = e.cast(e.node("SUB", [size, e.constant(1, INT32)], size.shape), x.dtype)
    return e.node("MINIMUM", [e.node("MAXIMUM", [x, e.constant(0, x.dtype)], x.shape), top], x.shape)


@TABLE.rule("Gather")
@lazy
def _gather(e: Emitter, instr: Instr) -> Tensor:
    table, axis = instr.inputs[0], int(instr.attrs["axis"])
    indices = e.take(instr.inputs[1])
    inside = _clipped(e, instr.inputs[1], indices, [table.shape[axis]])
    known = e.known(table)
    small = known is None or known.dtype != np.float32 or known.size < LEAST_ELEMENTS
    if e.file.precision == "dynamic" and not small:
        quant = of_weights(known, None)
        x = e.constant(quant.store(known, -127), name=table.name, quant=quant)
        y = e.node("GATHER", [x, inside], instr.output.shape, axis=axis)
        return e.node("DEQUANTIZE", [y], instr.output.shape, np.float32)
    x = e.take_stored(table) if e.integer is not None else e.take(table)
    return e.node("GATHER", [x, inside], instr.output.shape, axis=axis)


@TABLE.rule("GatherElements")
def _gather_elements(e: Emitter, instr: Instr, x: Tensor, indices: Tensor) -> Tensor:
    axis, rank = instr.attrs["axis"], len(x.shape)
    inside = _clipped(e, instr.inputs[1], indices, [x.shape[axis]])
    perm = [i for i in range(rank) if i != axis] + [axis]
    given = [e.transpose(x, perm), e.transpose(inside, perm)]
    y = e.node("GATHER", given, given[1].shape, axis=rank - 1, batch_dims=rank - 1)
    return e.transpose(y, np.argsort(perm).tolist())


@TABLE.rule("GatherND")
def _gather_nd(e: Emitter, instr: Instr, x: Tensor, indices: Tensor) -> Tensor:
    depth = int(indices.shape[-1])
    inside = _clipped(e, instr.inputs[1], indices, x.shape[:depth])
    return e.node("GATHER_ND", [x, inside], instr.output.shape)


@TABLE.rule("ScatterND")
def _scatter_nd(e: Emitter, instr: Instr, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """Sums of updates from zeros; points outside go to a row behind the first axis that is cut off again."""
    reduction, depth = instr.attrs["reduction"], int(indices.shape[-1])
    if reduction not in ("set", "add") or x.dtype == bool:
        raise Unsupported(f"TFLite has no scatter that combines {x.dtype} by {reduction!r}")
    points, shape, rank = e.cast(indices, INT32), x.shape, len(x.shape)
    limits = shape[:depth]
    big: Any = shape
    if not _inside(e, instr.inputs[1], points, limits):
        top = e.shape(limits)
        low = e.node("GREATER_EQUAL", [points, e.constant(0, INT32)], points.shape, bool)
        high = e.node("LESS", [points, top], points.shape, bool)
        both = e.node("LOGICAL_AND", [low, high], points.shape)
        rows = (*points.shape[:-1], 1)
        whole = e.node("REDUCE_ALL", [both, e.ints(len(points.shape) - 1)], rows, keep_dims=True)
        dump = e.node("MUL", [e.ints(*([1] + [0] * (depth - 1))), top], (depth,))
        points = e.node("SELECT_V2", [whole, points, dump], points.shape, INT32)
        first = shape[0] + 1 if isinstance(shape[0], int) else f"{shape[0]} + 1"
        big = (first, *shape[1:])

    def scattered(values: Tensor) -> Tensor:
        made = e.node("SCATTER_ND", [points, values, e.shape(big)], big, values.dtype)
        return made if big == shape else e.slice(made, [0] * rank, shape, shape)

    total = scattered(updates)
    if reduction == "add":
        return e.node("ADD", [x, total], shape)
    one = e.node("BROADCAST_TO", [e.constant(1, np.float32), e.shape(updates.shape)], updates.shape)
    met = e.node("GREATER", [scattered(one), e.constant(0, np.float32)], shape, bool)
    return e.node("SELECT_V2", [met, total, x], shape, x.dtype)


# ---- along axes


_REDUCTIONS = {
    "ReduceSum": "SUM", "ReduceMean": "MEAN", "ReduceMax": "REDUCE_MAX", "ReduceMin": "REDUCE_MIN",
    "ReduceProd": "REDUCE_PROD", "ReduceAnd": "REDUCE_ALL", "ReduceOr": "REDUCE_ANY",
}  # fmt: skip


@TABLE.rule(*_REDUCTIONS)
def _reduce(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    out = {"shape": instr.output.shape} if instr.op in ("ReduceMax", "ReduceMin") else e.out(instr.output)
    given = [x, e.ints(*instr.attrs["axes"])]
    return e.node(_REDUCTIONS[instr.op], given, **out, keep_dims=bool(instr.attrs["keepdims"]))


@TABLE.rule("ArgMax", "ArgMin")
def _arg(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    dtype = instr.output.dtype
    kind = dtype if dtype in (INT32, INT64) else INT32
    given = [x, e.constant(instr.attrs["axis"], np.int32)]
    op = {"ArgMax": "ARG_MAX", "ArgMin": "ARG_MIN"}[instr.op]
    return e.cast(e.node(op, given, instr.output.shape, kind, output_type=TYPES[kind]), dtype)


@TABLE.rule("CumSum")
def _cumsum(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    axis, reverse = e.constant(instr.attrs["axis"], np.int32), bool(instr.attrs.get("reverse", False))
    return e.node("CUMSUM", [x, axis], x.shape, reverse=reverse)


@TABLE.rule("CumProd", "CumMax")
def _cumulative(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    """Each element with the one 1, 2, 4, ... places before it, until the whole row is covered."""
    axis, reverse = instr.attrs["axis"], bool(instr.attrs.get("reverse", False))
    size, op = x.shape[axis], {"CumProd": "MUL", "CumMax": "MAXIMUM"}[instr.op]
    if not isinstance(size, int):
        raise Unsupported("TFLite accumulates sums alone along an axis whose size is not known")

    def part(start: int, stop: int) -> Tensor:
        begin, end, shape = [0] * len(x.shape), list(x.shape), list(x.shape)
        begin[axis], end[axis], shape[axis] = start, stop, stop - start
        return e.slice(x, begin, end, shape)

    for step in (1 << k for k in range(math.ceil(math.log2(max(size, 1))))):
        rest = part(0, size - step), part(step, size)
        moved = e.node(op, list(rest), rest[0].shape)
        both = [moved, part(size - step, size)] if reverse else [part(0, step), moved]
        x = e.node("CONCATENATION", both, x.shape, axis=axis)
    return x


@TABLE.rule("TopK")
def _top_k(e: Emitter, instr: Instr, x: Tensor) -> list[Tensor]:
    values, places = instr.outputs
    specs = [(values.shape, x.dtype, x.quant), (places.shape, INT32, None)]
    made = e.nodes("TOPK_V2", [x, e.constant(instr.attrs["k"], np.int32)], specs)
    return [made[0], e.cast(made[1], places.dtype)]


@TABLE.rule("Sort", "ArgSort")
def _sort(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    """The largest of the negated values come first; equal ones keep their order."""
    axis, rank = instr.attrs["axis"], len(x.shape)
    if x.dtype.kind not in "fi":
        raise Unsupported(f"TFLite does not sort {x.dtype}")
    perm = [i for i in range(rank) if i != axis] + [axis]
    last = e.transpose(x, perm)

    def flipped(t: Tensor) -> Tensor:
        if x.dtype.kind == "f":
            return e.node("NEG", [t], t.shape)
        return e.node("SUB", [e.constant(-1, x.dtype), t], t.shape)

    specs = [(last.shape, x.dtype, None), (last.shape, INT32, None)]
    falling, places = e.nodes("TOPK_V2", [flipped(last), e.size(x.shape[axis])], specs)
    back = np.argsort(perm).tolist()
    if instr.op == "ArgSort":
        return e.cast(e.transpose(places, back), instr.output.dtype)
    return e.transpose(flipped(falling), back)
