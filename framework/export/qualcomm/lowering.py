"""Instructions that the vendor's provider refuses, or computes wrong, in terms of others that it computes right.

What is refused, and what is wrong, was found with graphs of one op on the vendor's simulator (QNN 2.51): see
`tests/oracles/qualcomm_ops.py`, which runs them. Most of what is wrong in floats is right in integers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina.graph.builder import Builder
from lamina.graph.dims import Dims
from lamina.graph.expand import expand
from lamina.graph.ir import Instr, Value, is_floating
from lamina.graph.lower import inline
from lamina.graph.opset import OPSET
from lamina.graph.primitives import reshape, slice_

MOST_STEPS = 512
"""A loop of more steps is not written out."""
LARGEST_RANK = 4
"""The axes that the provider's ops of one operand take."""
LARGEST_KERNEL = 8
"""Convolutions with strides of 2 are wrong in floats where a side of the kernel is larger."""
_TERMS = 8


def lowered(graph: Any, floats: Callable[[str], bool]) -> Any:
    """An equal graph of ops that the provider takes, and computes right.

    Args:
        graph: the graph, of which all sizes are known.
        floats: whether a layer, by its path, is computed in floats.

    Example:
        >>> import jax
        >>> from lamina.graph import trace
        >>> graph = trace(lambda x: jax.lax.scan(lambda c, _: (c * x, None), x, length=3)[0], (2,))
        >>> [i.op for i in graph.instrs], [i.op for i in lowered(graph, lambda path: True).instrs]
        (['Scan'], ['Mul', 'Mul', 'Mul'])
    """
    apart = _kept_apart(graph)

    def rule(instr: Instr) -> Any:
        if instr.op == "Pad":
            return _pad_apart if instr.output in apart and floats(instr.path) else None
        if instr.op == "AveragePool" and instr.inputs[0] in apart and not floats(instr.path):
            return _mean_by_convolution
        return _rule(instr, floats)

    return expand(graph, lambda instr: rule(instr) is not None, lambda b, instr, x: rule(instr)(b, instr, x))


def _kept_apart(graph: Any) -> set[Value]:
    """Padded values that ONNX Runtime must not join with what takes them.

    It makes padding with zeros the padding of a pool, though a greatest element is not the same then; and of means and
    convolutions that it widens so, the simulator computes some wrong.
    """
    pads = {i.output: i for i in graph.instrs if i.op == "Pad" and i.inputs[1] in graph.constants}
    apart = set()
    for instr in graph.instrs:
        pad = pads.get(instr.inputs[0]) if instr.inputs else None
        if pad is None or min(*pad.attrs["low"], *pad.attrs["high"], 0) < 0:
            continue
        if instr.op in ("Conv", "DepthwiseConv"):
            most = [max(pair) for pair in zip(pad.attrs["low"], pad.attrs["high"], strict=True)][1:-1]
            wide = any(p >= k for p, k in zip(most, instr.inputs[1].shape, strict=False))
        else:
            wide = instr.op in ("MaxPool", "AveragePool")
        if wide:
            apart.add(pad.output)
    return apart


def _rule(instr: Instr, floats: Callable[[str], bool]) -> Any:
    """How an instruction is written in terms of others, or None."""
    a = instr.attrs
    if instr.op in ("Scan", "If") and not all(v.is_static for v in instr.outputs):
        return None
    if instr.op == "Scan":
        return _unrolled if a["length"] <= MOST_STEPS else None
    if instr.op == "LayerNorm":
        return _layer_norm if len(a["axes"]) > 1 and _trailing(instr) else None
    if instr.op in ("Conv", "DepthwiseConv"):
        taps: list[Any] = list(instr.inputs[1].shape[:-2])
        if not floats(instr.path):
            return None
        if any(max(p) >= k for p, k in zip(a["pads"], taps, strict=True)):
            return _pad_before
        return _cut_kernel if max(taps) > LARGEST_KERNEL and 2 in a["strides"] else None
    if instr.op == "AveragePool":
        return _mean_by_convolution if any(map(any, a["pads"])) and len(a["window"]) < 3 else None
    if instr.op == "MaxPool" and len(a["window"]) == 3:
        return _pool_by_planes
    if instr.op in OPSET and OPSET[instr.op].kind == "unary" and len(instr.output.shape) > LARGEST_RANK:
        return None if instr.op in ("Identity", "Cast") else _of_fewer_axes
    if instr.op in FORMULAS and is_floating(instr.output.dtype):
        formula = (FORMULAS if floats(instr.path) else {**FORMULAS, **SHORT})[instr.op]
        return lambda b, i, x: inline(b, formula, x)
    return {"If": _both_branches}.get(instr.op)


# ---- control flow


def _unrolled(b: Builder, instr: Instr, inputs: list[Value]) -> list[Value]:
    """A loop as its steps, one behind the other."""
    n, m, length = instr.attrs["carried"], instr.attrs["rows"], instr.attrs["length"]
    state, stacks, fixed = inputs[:n], inputs[n : n + m], inputs[n + m :]
    made: list[list[Value]] = [[] for _ in instr.attrs["body"].outputs[n:]]
    for step in reversed(range(length)) if instr.attrs["reverse"] else range(length):
        out = b.include(instr.attrs["body"], [*state, *(_row(b, v, step) for v in stacks), *fixed])
        state = out[:n]
        for rows, value in zip(made, out[n:], strict=True):
            rows.append(reshape(b, value, [1, *value.shape]))
    if not length:
        made_of_none = (b.constant(np.zeros(v.shape, v.dtype)) for v in instr.outputs[n:])
        return [*state, *made_of_none]
    ordered = [rows[::-1] if instr.attrs["reverse"] else rows for rows in made]
    return [*state, *(b.emit("Concat", rows, axis=0) if len(rows) > 1 else rows[0] for rows in ordered)]


def _row(b: Builder, value: Value, step: int) -> Value:
    shape = value.shape
    one = slice_(b, value, [step, *(0 for _ in shape[1:])], [step + 1, *shape[1:]])
    return reshape(b, one, shape[1:])


def _both_branches(b: Builder, instr: Instr, inputs: list[Value]) -> list[Value]:
    """Both branches, and a choice of what they give: they have no effects."""
    condition, *operands = inputs
    pairs = zip(*(b.include(instr.attrs[k], operands) for k in ("then", "orelse")), strict=True)
    return [b.emit("Select", [condition, x, y]) for x, y in pairs]


# ---- layers


def _trailing(instr: Instr) -> bool:
    rank, axes = len(instr.output.shape), tuple(instr.attrs["axes"])
    return axes == tuple(range(rank - len(axes), rank))


def _layer_norm(b: Builder, instr: Instr, inputs: list[Value]) -> list[Value]:
    """The provider normalises one axis: several are made one."""
    x, *weights = inputs
    lead = len(x.shape) - len(instr.attrs["axes"])
    inside = x.shape[lead:]
    size = math.prod(inside)
    flat = []
    for v in weights:
        if tuple(v.shape) != tuple(inside):
            v = b.emit("BroadcastTo", [v], shape=Dims(inside))
        flat.append(reshape(b, v, [size]))
    shape = [*x.shape[:lead], size]
    y = b.emit("LayerNorm", [reshape(b, x, shape), *flat], axes=(lead,), epsilon=instr.attrs["epsilon"])
    return [reshape(b, y, x.shape)]


def _of_fewer_axes(b: Builder, instr: Instr, inputs: list[Value]) -> list[Value]:
    """The last axes as one."""
    (x,) = inputs
    keep = LARGEST_RANK - 1
    shape = [*x.shape[:keep], math.prod(x.shape[keep:])]
    return [reshape(b, b.emit(instr.op, [reshape(b, x, shape)], **instr.attrs), x.shape)]


def _cut_kernel(b: Builder, instr: Instr, inputs: list[Value]) -> list[Value]:
    """A convolution as the sum of those by the parts of its kernel."""
    x, kernel, *bias = inputs
    attrs = dict(instr.attrs)
    activation = attrs.pop("activation", "none")
    taps: list[Any] = list(kernel.shape[:-2])
    space: list[Any] = list(x.shape[1:-1])
    total = None
    for part in itertools.product(*map(_parts, taps)):
        begin: list[Any] = [0]
        end: list[Any] = [x.shape[0]]
        pads = []
        for axis, (first, count) in enumerate(part):
            low, high = attrs["pads"][axis]
            stride, dilation, size = attrs["strides"][axis], attrs["dilations"][axis], space[axis]
            steps = (size + low + high - (taps[axis] - 1) * dilation - 1) // stride
            start = first * dilation - low
            stop = start + steps * stride + (count - 1) * dilation + 1
            begin.append(min(max(start, 0), size))
            end.append(max(min(stop, size), 0))
            pads.append((max(-start, 0), max(stop - size, 0)))
        if any(e <= s for s, e in zip(begin, end, strict=True)):
            continue  # it meets padding alone
        piece = slice_(b, x, [*begin, 0], [*end, x.shape[-1]])
        corner = [first for first, _ in part]
        cut = _part(b, kernel, corner, [first + count for first, count in part])
        y = b.emit(instr.op, [piece, cut, *(bias if total is None else ())], **{**attrs, "pads": tuple(pads)})
        total = y if total is None else b.emit("Add", [total, y])
    if total is None:  # no part does
        total = b.constant(np.zeros(instr.output.shape, x.dtype))
        total = b.emit("Add", [total, *bias]) if bias else total
    if activation != "none":
        total = b.emit({"relu": "Relu", "relu6": "Relu6"}[activation], [total])
    return [total]


def _parts(size: int) -> list[tuple[int, int]]:
    """Where the parts of a side begin, and their sizes, which differ by one at most."""
    count = -(-size // LARGEST_KERNEL)
    edges = [size * i // count for i in range(count + 1)]
    return [(a, z - a) for a, z in itertools.pairwise(edges)]


def _part(b: Builder, kernel: Value, begin: Sequence[int], end: Sequence[int]) -> Value:
    known = b.graph.constants.get(kernel)
    if known is None:
        return slice_(b, kernel, [*begin, 0, 0], [*end, *kernel.shape[-2:]])
    return b.constant(np.asarray(known)[tuple(map(slice, begin, end))])


def _mean_by_convolution(b: Builder, instr: Instr, inputs: list[Value]) -> list[Value]:
    """Pooling with padding: a convolution with equal weights, times the window by the part of it inside the input.

    That of integers too: they stay floats where the input is.
    """
    (x,) = inputs
    window, strides, pads = (instr.attrs[k] for k in ("window", "strides", "pads"))
    weights = np.full((*window, x.shape[-1], 1), 1 / math.prod(window), x.dtype)
    dilations = (1,) * len(window)
    y = b.emit("DepthwiseConv", [x, b.constant(weights)], strides=strides, pads=pads, dilations=dilations)
    if not any(map(any, pads)):
        return [y]
    scale = np.ones((), np.float64)
    for size, w, stride, (low, _), count in zip(x.shape[1:-1], window, strides, pads, y.shape[1:-1], strict=True):
        first = np.arange(count) * stride - low
        scale = scale[..., None] * (w / (np.minimum(first + w, size) - np.maximum(first, 0)))
    return [b.emit("Mul", [y, b.constant(scale[..., None].astype(x.dtype))])]


def _pool_by_planes(b: Builder, instr: Instr, inputs: list[Value]) -> list[Value]:
    """The greatest elements of cubes: those of planes, and of them those along the first axis."""
    (x,) = inputs
    window, strides, pads = (tuple(instr.attrs[k]) for k in ("window", "strides", "pads"))
    n, depth, *plane, channels = x.shape
    y = reshape(b, x, [n * depth, *plane, channels])  # type: ignore[operator]
    y = b.emit("MaxPool", [y], window=window[1:], strides=strides[1:], pads=pads[1:])
    plane = list(y.shape[1:-1])
    y = reshape(b, y, [n, depth, math.prod(plane), channels])
    y = b.emit("MaxPool", [y], window=(window[0], 1), strides=(strides[0], 1), pads=(pads[0], (0, 0)))
    return [reshape(b, y, [n, y.shape[1], *plane, channels])]


def _pad_apart(b: Builder, instr: Instr, inputs: list[Value]) -> list[Value]:
    """Padding, and a comparison that changes nothing, behind which it is not joined with what follows."""
    padded = b.emit("Pad", inputs, **instr.attrs)
    return [b.emit("Maximum", [padded, b.constant(np.finfo(padded.dtype).min)])]


def _pad_before(b: Builder, instr: Instr, inputs: list[Value]) -> list[Value]:
    """A convolution behind its padding."""
    x, *weights = inputs
    pads, none = instr.attrs["pads"], ((0, 0),) * len(instr.attrs["pads"])
    low, high = (Dims([0, *(p[i] for p in pads), 0]) for i in range(2))
    pad = Instr("Pad", (), (), {"low": low, "high": high}, instr.path)
    (x,) = _pad_apart(b, pad, [x, b.constant(np.zeros((), x.dtype))])
    return [b.emit(instr.op, [x, *weights], **{**instr.attrs, "pads": none})]


# ---- functions


def log1p(x: Any) -> Any:
    """2 atanh(x / (2 + x)) by its series near 0, where the logarithm of 1 + x would lose digits."""
    near = jnp.clip(x, -0.5, 0.5)
    ratio = near / (near + 2)
    square = ratio * ratio
    series = jnp.full_like(x, 2 / (2 * _TERMS - 1))
    for i in reversed(range(_TERMS - 1)):
        series = series * square + 2 / (2 * i + 1)
    return jnp.where(jnp.abs(x) < 0.5, ratio * series, jnp.log(x + 1))


def expm1(x: Any) -> Any:
    """2 t / (1 - t) near 0, with t = tanh(x / 2), where the exponential less 1 would lose digits."""
    t = jnp.tanh(jnp.clip(x, -1, 1) / 2)
    return jnp.where(jnp.abs(x) < 1, 2 * t / (1 - t), jnp.exp(x) - 1)


def atanh(x: Any) -> Any:
    """log((1 + x) / (1 - x)) / 2, by the size of x: near -1 the quotient would lose digits."""
    size = jnp.abs(x)
    half = log1p(2 * size / (1 - size)) / 2
    return jnp.where(x < 0, -half, half)


def softsign(x: Any) -> Any:
    """x / (1 + |x|)."""
    return x / (1 + jnp.abs(x))


FORMULAS: dict[str, Callable[[Any], Any]] = {"Log1p": log1p, "Expm1": expm1, "Atanh": atanh, "Softsign": softsign}
"""Ops that the provider has not, or that are written with such."""
SHORT: dict[str, Callable[[Any], Any]] = {
    "Log1p": lambda x: jnp.log(x + 1),
    "Expm1": lambda x: jnp.exp(x) - 1,
    "Atanh": lambda x: jnp.log((1 + x) / (1 - x)) / 2,
}
"""The same where digits are lost anyway: each step of integers is one more rounding."""
