"""How ONNX writes products, convolutions, pooling, normalisation, recurrent layers and control flow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lamina.export.onnx.emitter import Body, Emitter, Perm, free
from lamina.export.onnx.quantize import bias as quantised_bias
from lamina.export.onnx.quantize import kernel as quantised_kernel
from lamina.export.onnx.quantize import product, works_on_integers
from lamina.export.onnx.rules import WIDER
from lamina.export.onnx.table import TABLE
from lamina.export.rules import Unsupported
from lamina.graph.base import GraphBase
from lamina.graph.ir import Instr, Value

TIME_FIRST = (1, 0, 2)


@TABLE.rule("MatMul")
@free
def _matmul(e: Emitter, instr: Instr) -> None:
    if works_on_integers(e, instr) and e.known(instr.inputs[1]) is not None and len(instr.inputs[1].shape) == 2:
        return product(e, instr)
    dtype = instr.output.dtype
    wide = WIDER.get(dtype, dtype)
    y = e.node("MatMul", [e.cast(e.take(v), dtype, wide) for v in instr.inputs])
    e.give(instr.output, e.cast(y, wide, dtype))


# ---- convolutions and pooling: channels first


def first(value: Value) -> Perm:
    """The order of axes that has the channels of a value behind the batch."""
    rank = len(value.shape)
    return (0, rank - 1, *range(1, rank - 1))


def _pads(pads: Sequence[Sequence[int]]) -> list[int]:
    return [int(p[0]) for p in pads] + [int(p[1]) for p in pads]


def _weights(e: Emitter, instr: Instr, layout: Callable[[Any], Any], axis: int) -> list[str] | None:
    """Weights and bias of a convolution of integers, channels of the output along `axis`; None for one of floats."""
    if not works_on_integers(e, instr):
        return None
    name, scale = quantised_kernel(e, instr, layout, axis, instr.op)
    return [name, *(quantised_bias(e, value, instr.inputs[0], scale) for value in instr.inputs[2:])]


def _attributes(instr: Instr, kernel: Sequence[Any]) -> dict[str, Any]:
    a = instr.attrs
    return {
        "kernel_shape": [int(k) for k in kernel],
        "strides": [int(s) for s in a["strides"]],
        "dilations": [int(d) for d in a["dilations"]],
    }


def _activated(e: Emitter, instr: Instr, y: str) -> str:
    """What a convolution gives, through the activation that was joined to it."""
    activation, dtype = instr.attrs.get("activation", "none"), instr.output.dtype
    if activation == "none":
        return y
    return (
        e.node("Relu", [y]) if activation == "relu" else e.node("Clip", [y, e.constant(0, dtype), e.constant(6, dtype)])
    )


@TABLE.rule("Conv")
@free
def _conv(e: Emitter, instr: Instr) -> None:
    x, kernel, *bias = instr.inputs
    n = len(kernel.shape) - 2
    order = (n + 1, n, *range(n))
    weights = _weights(e, instr, lambda array: array.transpose(order), 0)
    given = [e.take(x, first(x)), *(weights or [e.take(kernel, order), *map(e.take, bias)])]
    group = int(instr.attrs.get("groups", 1))
    attributes = _attributes(instr, kernel.shape[:n])
    y = e.node("Conv", given, group=group, pads=_pads(instr.attrs["pads"]), **attributes)
    e.give(instr.output, _activated(e, instr, y), first(x))


@TABLE.rule("DepthwiseConv")
@free
def _depthwise(e: Emitter, instr: Instr) -> None:
    """A group for each channel."""
    x, kernel, *bias = instr.inputs
    *taps, channels, multiplier = (int(d) for d in kernel.shape)
    n = len(taps)
    order, shape = (n, n + 1, *range(n)), (channels * multiplier, 1, *taps)
    known = e.known(kernel)
    weights = _weights(e, instr, lambda array: array.transpose(order).reshape(shape), 0)
    if weights is None and known is not None:
        weights = [e.weight(kernel, known.transpose(order).reshape(shape), "depthwise"), *map(e.take, bias)]
    elif weights is None:
        weights = [e.node("Reshape", [e.take(kernel, order), e.ints(*shape)]), *map(e.take, bias)]
    given = [e.take(x, first(x)), *weights]
    attributes = _attributes(instr, taps)
    y = e.node("Conv", given, group=channels, pads=_pads(instr.attrs["pads"]), **attributes)
    e.give(instr.output, _activated(e, instr, y), first(x))


@TABLE.rule("ConvTranspose")
@free
def _conv_transpose(e: Emitter, instr: Instr) -> None:
    """Padding below 0 adds zeros behind the op, before the bias."""
    x, kernel, *bias = instr.inputs
    n = len(kernel.shape) - 2
    pads = [(int(lo), int(hi)) for lo, hi in instr.attrs["pads"]]
    fill = [max(-lo, 0) for lo, _ in pads], [max(-hi, 0) for _, hi in pads]
    wide = any(map(any, fill))
    order = (n + 1, n, *range(n))
    weights = _weights(e, instr, lambda array: array.transpose(order), 1) or [e.take(kernel, order)]
    given = [e.take(x, first(x)), weights[0]]
    cut = _pads([(max(lo, 0), max(hi, 0)) for lo, hi in pads])
    attributes = _attributes(instr, kernel.shape[:n])
    if not wide:
        given += weights[1:] or map(e.take, bias)
    y = e.node("ConvTranspose", given, pads=cut, **attributes)
    if wide:
        amounts = e.ints(0, 0, *fill[0], 0, 0, *fill[1])
        y = e.node("Pad", [y, amounts, e.constant(0, instr.output.dtype)], mode="constant")
        for value in bias:  # along the axis of the channels, behind the batch
            y = e.node("Add", [y, e.constant(np.reshape(_known(e, value), (-1,) + (1,) * n))])
    e.give(instr.output, _activated(e, instr, y), first(x))


def _pool(e: Emitter, instr: Instr, **more: Any) -> None:
    value, window, pads = instr.inputs[0], [int(w) for w in instr.attrs["window"]], instr.attrs["pads"]
    if any(max(p) >= w for p, w in zip(pads, window, strict=True)):
        raise Unsupported("pooling in ONNX must be padded by less than its window")
    strides = [int(s) for s in instr.attrs["strides"]]
    x = _kept_apart(e, e.take(value, first(value)), value.dtype)
    y = e.node(instr.op, [x], kernel_shape=window, strides=strides, pads=_pads(pads), **more)
    e.give(instr.output, y, first(value))


def _kept_apart(e: Emitter, x: str, dtype: Any) -> str:
    """`x`; if it has been padded, behind a comparison that changes nothing.

    ONNX Runtime makes a Pad with zeros the padding of the pool behind it. A greatest element is another then, since
    zeros count and padding does not; and it refuses padding as large as the window.
    """
    makers = {node.outputs[0]: node for node in e.nodes}
    made = makers.get(x)
    while made is not None and made.op in ("Cast", "Transpose"):  # which ONNX Runtime moves
        made = makers.get(made.inputs[0])
    if made is None or made.op != "Pad":
        return x
    least = np.finfo(dtype).min if dtype.kind == "f" else np.iinfo(dtype).min
    return e.node("Max", [x, e.constant(least, dtype)])


@TABLE.rule("MaxPool")
@free
def _max_pool(e: Emitter, instr: Instr) -> None:
    dtype = instr.output.dtype
    if dtype.kind != "f" and dtype not in (np.dtype("int8"), np.dtype("uint8")):
        raise Unsupported(f"ONNX pools floats and 8-bit integers, not {dtype}")
    _pool(e, instr)


@TABLE.rule("AveragePool")
@free
def _average_pool(e: Emitter, instr: Instr) -> None:
    """The part of a window that lies in the padding is not counted."""
    _pool(e, instr, count_include_pad=0)


@TABLE.rule("Resize")
@free
def _resize(e: Emitter, instr: Instr) -> None:
    """Pixels are areas: halves of them are at 0.5."""
    value = instr.inputs[0]
    height, width = (int(s) for s in instr.attrs["size"])
    sizes = e.shape([value.shape[0], value.shape[-1], height, width])
    nearest = instr.attrs["method"] == "nearest"
    more: dict[str, Any] = {"nearest_mode": "round_prefer_ceil"} if nearest else {}
    y = e.node(
        "Resize", [e.take(value, first(value)), "", "", sizes], mode="nearest" if nearest else "linear",
        coordinate_transformation_mode="half_pixel", **more,
    )  # fmt: skip
    e.give(instr.output, y, first(value))


@TABLE.rule("SpaceToDepth", "DepthToSpace")
@free
def _space_depth(e: Emitter, instr: Instr) -> None:
    value = instr.inputs[0]
    more: dict[str, Any] = {"mode": "DCR"} if instr.op == "DepthToSpace" else {}
    block = int(instr.attrs["block"])
    e.give(instr.output, e.node(instr.op, [e.take(value, first(value))], blocksize=block, **more), first(value))


# ---- over an axis, normalisation


@TABLE.rule("Softmax", "LogSoftmax")
@free
def _softmax(e: Emitter, instr: Instr) -> None:
    perm, x = e.current(instr.inputs[0])
    e.give(instr.output, e.node(instr.op, [x], axis=perm.index(int(instr.attrs["axis"]))), perm)


@TABLE.rule("BatchNorm")
@free
def _batch_norm(e: Emitter, instr: Instr) -> None:
    x, mean, variance, scale, offset = instr.inputs
    given = [e.take(x, first(x)), *map(e.take, (scale, offset, mean, variance))]
    e.give(instr.output, e.node("BatchNormalization", given, epsilon=float(instr.attrs["epsilon"])), first(x))


@TABLE.rule("LayerNorm")
def _layer_norm(e: Emitter, instr: Instr, x: str, scale: str, offset: str) -> str:
    axis = int(instr.attrs["axes"][0])
    return e.node("LayerNormalization", [x, scale, offset], axis=axis, epsilon=float(instr.attrs["epsilon"]))


# ---- recurrent layers: time first, gates along the first axis of the weights


def _gates(kernel: np.ndarray, order: Sequence[int], count: int) -> np.ndarray:
    """(..., gates side by side) as (1, gates, ...) in another order."""
    parts = np.split(kernel, count, axis=-1)
    joined = np.concatenate([parts[i] for i in order], axis=-1)
    return joined.T[None] if joined.ndim == 2 else joined[None]


def _state(e: Emitter, value: Value) -> str:
    """A state with an axis for the direction in front."""
    return e.node("Unsqueeze", [e.take(value), e.ints(0)])


def _recurrent(e: Emitter, instr: Instr, weights: list[str], states: Sequence[Value], **attrs: Any) -> None:
    units = int(states[0].shape[-1])
    x = e.take(instr.inputs[0], TIME_FIRST)
    given = [x, *weights, "", *(_state(e, s) for s in states)]
    made = e.node(instr.op, given, outputs=1 + len(states), hidden_size=units, **attrs)
    e.give(instr.outputs[0], e.node("Squeeze", [made[0], e.ints(1)]), TIME_FIRST)
    for value, name in zip(instr.outputs[1:], made[1:], strict=True):
        e.give(value, e.node("Squeeze", [name, e.ints(0)]))


@TABLE.rule("LSTM")
@free
def _lstm(e: Emitter, instr: Instr) -> None:
    """ONNX has the gates as input, output, forget, cell."""
    _, h, c, *weights = instr.inputs
    kernel, recurrent, bias = (_gates(_known(e, v), (0, 3, 1, 2), 4) for v in weights)
    both = np.concatenate([bias, np.zeros_like(bias)], axis=-1)
    made = [e.weight(v, a, "gates") for v, a in zip(weights, (kernel, recurrent, both), strict=True)]
    _recurrent(e, instr, made, (h, c))


@TABLE.rule("GRU")
@free
def _gru(e: Emitter, instr: Instr) -> None:
    _, h, *weights = instr.inputs
    kernel, recurrent = (_gates(_known(e, v), (0, 1, 2), 3) for v in weights[:2])
    both = _known(e, weights[2]).reshape(1, -1)
    made = [e.weight(v, a, "gates") for v, a in zip(weights, (kernel, recurrent, both), strict=True)]
    _recurrent(e, instr, made, (h,), linear_before_reset=int(bool(instr.attrs["reset_after"])))


def _known(e: Emitter, value: Value) -> np.ndarray:
    array = e.known(value)
    if array is None:
        raise Unsupported("the weights of a recurrent layer must be constants")
    return array


# ---- control flow: graphs inside see the tensors around them


def _branch(e: Emitter, graph: GraphBase, operands: Sequence[str]) -> Body:
    inner = e.inner()
    outputs = [inner.own(name) for name in inner.graph(graph, operands)]
    return Body(
        e.file.unique(graph.name), inner.nodes, [], _once(inner, list(zip(outputs, graph.outputs, strict=True)))
    )


def _once(inner: Emitter, outputs: list[tuple[str, Value]]) -> list[tuple[str, Value]]:
    """Outputs of a graph inside, each a tensor of its own."""
    seen: set[str] = set()
    made = []
    for name, value in outputs:
        name = inner.node("Identity", [name]) if name in seen else name
        seen.add(name)
        made.append((name, value))
    return made


@TABLE.rule("If")
def _if(e: Emitter, instr: Instr, condition: str, *operands: str) -> list[str]:
    then, orelse = (_branch(e, instr.attrs[k], operands) for k in ("then", "orelse"))
    made = e.node("If", [condition], outputs=len(instr.outputs), then_branch=then, else_branch=orelse)
    return made if isinstance(made, list) else [made]


def _arguments(e: Emitter, values: Sequence[Value]) -> list[tuple[str, Value]]:
    return [(e.file.unique(v.name), v) for v in values]


@TABLE.rule("While")
def _while(e: Emitter, instr: Instr, *operands: str) -> list[str]:
    """A Loop decides at the end of each round whether there is another; so the condition stands before it too."""
    cond, body, carried = instr.attrs["cond"], instr.attrs["body"], int(instr.attrs["carried"])
    fixed = operands[carried:]
    (start,) = e.graph(cond, operands)
    inner = e.inner()
    state = _arguments(e, body.inputs[:carried])
    after = inner.graph(body, [*(name for name, _ in state), *fixed])
    (more,) = inner.graph(cond, [*after, *fixed])
    outputs = [(inner.own(more), cond.outputs[0])]
    outputs += [(inner.own(name), value) for name, value in zip(after, body.outputs, strict=True)]
    count, running = Value("round", (), np.dtype("int64")), Value("running", (), np.dtype("bool"))
    inputs = [(e.file.unique("round"), count), (e.file.unique("running"), running), *state]
    loop = Body(e.file.unique("body"), inner.nodes, inputs, _once(inner, outputs))
    made = e.node("Loop", ["", start, *operands[:carried]], outputs=carried, body=loop)
    return made if isinstance(made, list) else [made]


@TABLE.rule("Scan")
def _scan(e: Emitter, instr: Instr, *operands: str) -> list[str]:
    """A scan without rows counts, since ONNX takes the number of rounds from rows."""
    n, m = int(instr.attrs["carried"]), int(instr.attrs["rows"])
    body, length = instr.attrs["body"], int(instr.attrs["length"])
    back = int(bool(instr.attrs["reverse"]))
    inner = e.inner()
    inputs = _arguments(e, body.inputs[: n + m])
    rows = list(operands[n : n + m])
    names = [name for name, _ in inputs]
    if not m:
        rows = [e.constant(np.zeros(length, np.int64))]
        inputs.append((e.file.unique("round"), Value("round", (), np.dtype("int64"))))
    outputs = [inner.own(name) for name in inner.graph(body, [*names, *operands[n + m :]])]
    made = Body(
        e.file.unique("body"), inner.nodes, inputs, _once(inner, list(zip(outputs, body.outputs, strict=True)))
    )  # fmt: skip
    stacked = len(instr.outputs) - n
    more: dict[str, Any] = {"scan_output_directions": [back] * stacked} if stacked else {}
    out = e.node(
        "Scan", [*operands[:n], *rows], outputs=len(instr.outputs), body=made, num_scan_inputs=len(rows),
        scan_input_directions=[back] * len(rows), **more,
    )  # fmt: skip
    return out if isinstance(out, list) else [out]
