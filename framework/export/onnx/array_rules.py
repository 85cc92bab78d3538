"""How ONNX writes the ops that move elements, and those that reduce, scan or sort along axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.export.onnx.emitter import END, INT64, Body, Emitter, Perm, free
from lamina.export.onnx.rules import INT32, WIDER
from lamina.export.onnx.table import TABLE
from lamina.export.rules import Unsupported
from lamina.graph.dims import Dims
from lamina.graph.ir import Instr, Value


@TABLE.rule("Reshape")
def _reshape(e: Emitter, instr: Instr, x: str) -> str:
    return e.reshape(x, instr.inputs[0].shape, instr.output.shape)


@TABLE.rule("Transpose")
@free
def _transpose(e: Emitter, instr: Instr) -> None:
    """Nothing is written: the tensor is a form of the result too."""
    value, perm = instr.inputs[0], [int(p) for p in instr.attrs["perm"]]
    known = e.known(value)
    if known is not None:
        e.file.known[instr.output] = known.transpose(perm)
        return
    have, name = next(iter(e.forms(value).items()))
    e.give(instr.output, name, [perm.index(axis) for axis in have])


@TABLE.rule("BroadcastTo")
def _broadcast_to(e: Emitter, instr: Instr, x: str) -> str:
    return e.node("Expand", [x, e.shape(instr.output.shape)])


@TABLE.rule("Concat")
@free
def _concat(e: Emitter, instr: Instr) -> None:
    perm = e.choose(instr.inputs, len(instr.output.shape))
    axis = perm.index(instr.attrs["axis"])
    e.give(instr.output, e.node("Concat", [e.take(v, perm) for v in instr.inputs], axis=axis), perm)


@TABLE.rule("Split")
@free
def _split(e: Emitter, instr: Instr) -> None:
    perm, x = e.current(instr.inputs[0])
    sizes = [int(s) for s in instr.attrs["sizes"]]
    given = [x, e.ints(*sizes)]
    for value, name in zip(
        instr.outputs,
        e.node("Split", given, outputs=len(sizes), axis=perm.index(instr.attrs["axis"])),
        strict=True,
    ):
        e.give(value, name, perm)


@TABLE.rule("Slice")
@free
def _slice(e: Emitter, instr: Instr) -> None:
    value, a = instr.inputs[0], instr.attrs
    perm, x = e.current(value)
    rows = list(zip(a["start"], a["stop"], a["strides"], value.shape, strict=True))
    axes = [i for i, (start, stop, step, size) in enumerate(rows) if start != 0 or stop != size or step != 1]
    start = [rows[i][0] for i in axes]
    stop = [END if rows[i][1] == rows[i][3] else rows[i][1] for i in axes]
    places, steps = e.ints(*(perm.index(i) for i in axes)), e.ints(*(int(rows[i][2]) for i in axes))
    e.give(instr.output, e.node("Slice", [x, e.shape(start), e.shape(stop), places, steps]), perm)


def _starts(e: Emitter, value: Value, sizes: Any, starts: Sequence[str], scalars: Any, axes: Sequence[int]) -> str:
    """The starts of a block along some axes, moved inside, as a vector."""
    made = [e.node("Reshape", [e.cast(starts[i], scalars[i].dtype, INT64), e.ints(1)]) for i in axes]
    begin = made[0] if len(made) == 1 else e.node("Concat", made, axis=0)
    shape, block = [value.shape[i] for i in axes], [sizes[i] for i in axes]
    if all(isinstance(d, int) for d in (*shape, *block)):
        room = e.ints(*(d - n for d, n in zip(shape, block, strict=True)))
    else:
        room = e.node("Sub", [e.shape(shape), e.shape(block)])
    return e.node("Min", [e.node("Max", [begin, e.ints(0)]), room])


@TABLE.rule("DynamicSlice")
def _dynamic_slice(e: Emitter, instr: Instr, x: str, *starts: str) -> str:
    value, sizes = instr.inputs[0], instr.attrs["sizes"]
    axes = [i for i, d in enumerate(value.shape) if d != sizes[i]]
    if not axes:
        return e.node("Identity", [x])
    if all(isinstance(sizes[i], int) for i in axes):  # gathers, whose shapes are known to readers
        for i in axes:
            begin = _starts(e, value, sizes, starts, instr.inputs[1:], [i])
            places = e.node("Add", [begin, e.ints(*range(sizes[i]))])
            x = e.node("Gather", [x, places], axis=i)
        return x
    begin = _starts(e, value, sizes, starts, instr.inputs[1:], axes)
    stop = e.node("Add", [begin, e.shape([sizes[i] for i in axes])])
    return e.node("Slice", [x, begin, stop, e.ints(*axes)])


@TABLE.rule("DynamicUpdate")
def _dynamic_update(e: Emitter, instr: Instr, x: str, update: str, *starts: str) -> str:
    """The block's leading axes as points; axes behind them must be whole."""
    value, block = instr.inputs[:2]
    partial = [i for i in range(len(value.shape)) if block.shape[i] != value.shape[i]]
    if not partial:
        return e.node("Identity", [update])
    axes = range(max(partial) + 1)
    if not all(isinstance(block.shape[i], int) for i in axes):
        raise Unsupported("a block of unknown size is written")
    begin = _starts(e, value, block.shape, starts, instr.inputs[2:], axes)
    grid = np.moveaxis(np.indices([int(block.shape[i]) for i in axes]), 0, -1).astype(np.int64)
    return e.node("ScatterND", [x, e.node("Add", [e.constant(grid), begin]), update])


@TABLE.rule("Pad")
@free
def _pad(e: Emitter, instr: Instr) -> None:
    perm, x = e.current(instr.inputs[0])
    low, high = instr.attrs["low"], instr.attrs["high"]
    amounts = e.shape([low[i] for i in perm] + [high[i] for i in perm])
    dtype = instr.output.dtype
    wide = WIDER[dtype] if dtype.name in ("int16", "uint16") else dtype  # of which runtimes pad none
    given = [e.cast(x, dtype, wide), amounts, e.cast(e.take(instr.inputs[1]), dtype, wide)]
    e.give(instr.output, e.cast(e.node("Pad", given, mode="constant"), wide, dtype), perm)


@TABLE.rule("Tile")
def _tile(e: Emitter, instr: Instr, x: str) -> str:
    repeats, shape = tuple(instr.attrs["repeats"]), tuple(instr.inputs[0].shape)
    rank = len(instr.output.shape)
    wide = Dims((1,) * (rank - len(shape)) + shape)
    return e.node("Tile", [e.reshape(x, shape, wide), e.ints(*(1,) * (rank - len(repeats)), *repeats)])


@TABLE.rule("Reverse")
@free
def _reverse(e: Emitter, instr: Instr) -> None:
    perm, x = e.current(instr.inputs[0])
    axes = [perm.index(a) for a in instr.attrs["axes"]]
    n = len(axes)
    given = [x, e.ints(*[-1] * n), e.ints(*[-END] * n), e.ints(*axes), e.ints(*[-1] * n)]
    e.give(instr.output, e.node("Slice", given), perm)


@TABLE.rule("Iota")
def _iota(e: Emitter, instr: Instr) -> str:
    limit = e.scalar_size(instr.attrs["shape"][0])
    row = e.node("Range", [e.constant(np.int64(0)), limit, e.constant(np.int64(1))])
    return e.cast(row, INT64, instr.output.dtype)


@TABLE.rule("Size")
def _size(e: Emitter, instr: Instr) -> str:
    return e.cast(e.scalar_size(instr.attrs["size"][0]), INT64, INT32)


# ---- gather and scatter


def _index(e: Emitter, x: str, value: Value) -> tuple[str, np.dtype]:
    """Indices in a dtype that ONNX takes."""
    if value.dtype in (INT32, INT64):
        return x, value.dtype
    return e.cast(x, value.dtype, INT64), INT64


def _inside(e: Emitter, value: Value, limits: Sequence[Any]) -> bool:
    """Whether indices are known to be inside."""
    known = e.known(value)
    if known is None or not all(isinstance(d, int) for d in limits):
        return False
    return bool(np.all(known >= 0) and np.all(known < np.asarray(limits)))


def _clipped(e: Emitter, indices: str, value: Value, limits: Sequence[Any]) -> str:
    """Indices moved inside; known ones that are inside stay as they are."""
    indices, dtype = _index(e, indices, value)
    if _inside(e, value, limits):
        return indices
    if all(isinstance(d, int) for d in limits):
        top = e.constant(np.asarray(limits if len(limits) > 1 else limits[0], dtype) - 1)
    else:
        top = e.cast(e.node("Sub", [e.shape(limits), e.ints(1)]), INT64, dtype)
        top = top if len(limits) > 1 else e.node("Reshape", [top, e.constant(np.zeros(0, np.int64))])
    return e.node("Min", [e.node("Max", [indices, e.constant(0, dtype)]), top])


@TABLE.rule("Gather", "GatherElements")
def _gather(e: Emitter, instr: Instr, x: str, indices: str) -> str:
    axis = int(instr.attrs["axis"])
    at = _clipped(e, indices, instr.inputs[1], [instr.inputs[0].shape[axis]])
    return e.node(instr.op, [x, at], axis=axis)


@TABLE.rule("GatherND")
def _gather_nd(e: Emitter, instr: Instr, x: str, indices: str) -> str:
    value, at = instr.inputs
    inside = _clipped(e, indices, at, value.shape[: int(at.shape[-1])])
    return e.node("GatherND", [x, inside if at.dtype == INT64 else e.cast(inside, INT32, INT64)])


@TABLE.rule("ScatterND")
def _scatter_nd(e: Emitter, instr: Instr, x: str, indices: str, updates: str) -> str:
    """Points outside are sent to a row that is added behind the first axis, and cut off again."""
    value, at = instr.inputs[:2]
    reduction = instr.attrs["reduction"]
    more: dict[str, Any] = {}
    if reduction != "set":
        more = {"reduction": reduction, "since": 16 if reduction in ("add", "mul") else 18}
    depth = int(at.shape[-1])
    points = e.cast(indices, at.dtype, INT64)
    if _inside(e, at, value.shape[:depth]):
        return e.node("ScatterND", [x, points, updates], **more)
    limits = e.shape(value.shape[:depth])
    low = e.node("GreaterOrEqual", [points, e.ints(0)])
    inside = e.node("And", [low, e.node("Less", [points, limits])])
    whole = e.cast(_reduced(e, "ReduceMin", e.cast(inside, bool, INT32), [len(at.shape) - 1], True), INT32, bool)
    dump = e.node("Mul", [e.ints(*np.eye(1, depth, dtype=np.int64)[0]), limits])
    points = e.node("Where", [whole, points, dump])
    rank = len(value.shape)
    amounts = e.ints(*[0] * rank, 1, *[0] * (rank - 1))
    padded = e.node("Pad", [x, amounts, e.constant(0, value.dtype)], mode="constant")
    out = e.node("ScatterND", [padded, points, updates], **more)
    return e.node("Slice", [out, e.ints(0), e.ints(-1), e.ints(0)])


# ---- along axes


def _reduced(e: Emitter, op: str, x: str, axes: Sequence[int], keep: bool) -> str:
    if op == "ReduceSum" or e.opset >= 18:  # the axes became an input
        return e.node(op, [x, e.ints(*axes)], keepdims=int(keep))
    return e.node(op, [x], axes=list(axes), keepdims=int(keep))


def _left(perm: Perm, axes: Sequence[int], keep: bool) -> Perm:
    """The order of the axes of a reduced tensor."""
    left = [a for a in perm if a not in axes]
    return perm if keep else tuple(sorted(left).index(a) for a in left)


@TABLE.rule("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceAnd", "ReduceOr")
@free
def _reduce(e: Emitter, instr: Instr) -> None:
    value, axes, keep = instr.inputs[0], list(instr.attrs["axes"]), bool(instr.attrs["keepdims"])
    perm, x = e.current(value)
    dtype = value.dtype
    op = {"ReduceAnd": "ReduceMin", "ReduceOr": "ReduceMax"}.get(instr.op, instr.op)
    wide = INT32 if dtype.kind == "b" else WIDER.get(dtype, dtype)
    if not axes:
        e.give(instr.output, x, perm)
        return
    out = _reduced(e, op, e.cast(x, dtype, wide), [perm.index(a) for a in axes], keep)
    e.give(instr.output, e.cast(out, wide, dtype), _left(perm, axes, keep))


@TABLE.rule("ArgMax", "ArgMin")
@free
def _arg(e: Emitter, instr: Instr) -> None:
    value, axis = instr.inputs[0], int(instr.attrs["axis"])
    perm, x = e.current(value)
    x = e.cast(x, value.dtype, INT32 if value.dtype.kind == "b" else WIDER.get(value.dtype, value.dtype))
    place = e.node(instr.op, [x], axis=perm.index(axis), keepdims=0)
    e.give(instr.output, e.cast(place, INT64, instr.output.dtype), _left(perm, [axis], False))


@TABLE.rule("CumSum")
@free
def _cum_sum(e: Emitter, instr: Instr) -> None:
    perm, x = e.current(instr.inputs[0])
    dtype = instr.output.dtype
    wide = WIDER.get(dtype, dtype)
    axis = e.constant(np.int64(perm.index(instr.attrs["axis"])))
    out = e.node("CumSum", [e.cast(x, dtype, wide), axis], reverse=int(instr.attrs.get("reverse", False)))
    e.give(instr.output, e.cast(out, wide, dtype), perm)


@TABLE.rule("CumProd", "CumMax")
def _cumulative(e: Emitter, instr: Instr, x: str) -> str:
    """ONNX has no such op: a loop along the axis."""
    value, axis, dtype = instr.output, int(instr.attrs["axis"]), instr.output.dtype
    if dtype.kind == "b":
        raise Unsupported("running products and maxima of truth values have no counterpart")
    wide = WIDER.get(dtype, dtype)
    rest = Dims(d for i, d in enumerate(value.shape) if i != axis)
    if instr.op == "CumProd":
        first = e.node("Expand", [e.constant(1, wide), e.shape(rest)])
    else:
        low = -np.inf if wide.kind == "f" else np.iinfo(wide).min
        first = e.node("Expand", [e.constant(low, wide), e.shape(rest)])
    row = Value(f"{value.name}/row", rest, wide)
    inner = e.inner()
    state, element = e.file.unique(f"{row.name}_state"), e.file.unique(row.name)
    after = inner.node("Mul" if instr.op == "CumProd" else "Max", [state, element])
    outputs = [(after, row), (inner.own(inner.node("Identity", [after])), row)]
    body = Body(e.file.unique("body"), inner.nodes, [(state, row), (element, row)], outputs)
    back = int(instr.attrs.get("reverse", False))
    out = e.node(
        "Scan", [first, e.cast(x, dtype, wide)], outputs=2, body=body, num_scan_inputs=1, scan_input_axes=[axis],
        scan_output_axes=[axis], scan_input_directions=[back], scan_output_directions=[back],
    )  # fmt: skip
    return e.cast(out[1], wide, dtype)


@TABLE.rule("TopK", "Sort", "ArgSort")
@free
def _top_k(e: Emitter, instr: Instr) -> None:
    """The first of equal elements comes first."""
    value, dtype = instr.inputs[0], instr.inputs[0].dtype
    axis = len(value.shape) - 1 if instr.op == "TopK" else int(instr.attrs["axis"])
    perm, x = e.current(value)
    wide = INT32 if dtype.kind == "b" else WIDER.get(dtype, dtype)
    k = e.ints(instr.attrs["k"]) if instr.op == "TopK" else e.size(value.shape[axis])
    given = [e.cast(x, dtype, wide), k]
    made = e.node("TopK", given, outputs=2, axis=perm.index(axis), largest=int(instr.op == "TopK"), sorted=1)
    values, places = made
    if instr.op != "ArgSort":
        e.give(instr.outputs[0], e.cast(values, wide, dtype), perm)
    if instr.op != "Sort":
        e.give(instr.outputs[-1], e.cast(places, INT64, instr.outputs[-1].dtype), perm)
