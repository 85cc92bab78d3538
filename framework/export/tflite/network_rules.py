"""How TFLite writes products, convolutions, pooling, normalisation and control flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.export.rules import Unsupported
from lamina.export.tflite.emitter import Emitter, lazy
from lamina.export.tflite.schema import ACTIVATIONS, SAME, VALID
from lamina.export.tflite.table import TABLE
from lamina.export.tflite.tensors import FLOAT32, INT8, INT16, INT32, INT64, Quant, Tensor
from lamina.graph.ir import Instr, Value
from lamina.ops.conv import same_pads

MOST_STORED = {INT32: 2**30, INT64: 2**46}
"""Of a bias: the sum of products must find room beside it, in 32 or in 48 bits."""


def stored_bias(e: Emitter, bias: np.ndarray, x: Tensor, kernel: Tensor, name: str) -> Tensor:
    """A bias as the kernel adds it: floats, or integers in steps of the input's scale times the weight's."""
    if e.integer is None or x.quant is None or kernel.quant is None:
        return e.weight(bias, name)
    scale = np.asarray(kernel.quant.scale) * x.quant.scale[0]
    dtype = INT64 if e.integer == INT16 else INT32
    most = MOST_STORED[dtype]
    number = np.clip(np.round(np.float64(bias) / scale), -most, most).astype(dtype)
    quant = Quant(tuple(scale.astype(np.float32).tolist()), dtype=dtype)
    return e.constant(number, name=f"{name}/{dtype}", quant=quant)


# ---- products


@TABLE.rule("MatMul")
@lazy
def _matmul(e: Emitter, instr: Instr) -> Tensor:
    a, b = instr.inputs
    shape, known = instr.output.shape, e.known(b)
    if instr.output.dtype != FLOAT32:
        raise Unsupported(f"TFLite multiplies matrices of float32, not of {instr.output.dtype}")
    take = e.take_stored if e.integer is not None else e.take
    x = take(a)
    if known is not None and known.ndim == 2 and x.shape:
        return _fully_connected(e, instr, x, known)
    y = take(b)
    if len(a.shape) < 2 or len(b.shape) < 2:  # a vector is a matrix of one row, or of one column
        x = e.reshape(x, (1, *a.shape)) if len(a.shape) == 1 else x
        y = e.reshape(y, (*b.shape, 1)) if len(b.shape) == 1 else y
        full = (*shape, *((1,) if len(b.shape) == 1 else ()))
        full = (*full[:-1], 1, full[-1]) if len(a.shape) == 1 else full
        return e.reshape(e.node("BATCH_MATMUL", [x, y], **{**e.out(instr.output), "shape": full}), shape)
    if max(len(a.shape), len(b.shape)) > 5:
        raise Unsupported("TFLite multiplies stacks of matrices of at most 5 axes")
    return e.node("BATCH_MATMUL", [x, y], **e.out(instr.output))


def _fully_connected(e: Emitter, instr: Instr, x: Tensor, known: np.ndarray) -> Tensor:
    """With the bias that is added next, and the activation behind it."""
    value, weights = instr.output, instr.inputs[1]
    kernel = e.weight(np.ascontiguousarray(known.T), weights.name, axis=0)
    bias, name = np.zeros(known.shape[1], np.float32), f"{value.name}/bias"
    added = e.next(value, "Add")
    if added is not None and added.output.shape == value.shape:
        other = next(v for v in added.inputs if v is not value)
        array = e.known(other)
        if array is not None and array.ndim <= 1:
            bias, name = np.broadcast_to(array, bias.shape).astype(np.float32), other.name
            value = e.take_over(added)
    code, value = e.activation(value)
    options: dict[str, Any] = {"fused_activation_function": code, "keep_num_dims": len(x.shape) > 2}
    if kernel.quant is not None and e.integer is None:
        options["asymmetric_quantize_inputs"] = True
    given = [x, kernel, stored_bias(e, bias, x, kernel, name)]
    if len(x.shape) == 1:
        given[0] = e.reshape(x, (1, *x.shape))
        made = e.node("FULLY_CONNECTED", given, **{**e.out(value), "shape": (1, *value.shape)}, **options)
        return e.reshape(made, value.shape)
    return e.node("FULLY_CONNECTED", given, **e.out(value), **options)


# ---- convolutions: of one spatial axis as of two, the first of size 1


class Window:
    """A window op as TFLite takes it: at least two spatial axes, padding as a word where that fits."""

    def __init__(self, e: Emitter, x: Tensor, kernel: Sequence[Any], attrs: dict[str, Any]):
        self.e, self.x = e, x
        self.strides, self.pads = list(attrs["strides"]), [tuple(p) for p in attrs["pads"]]
        self.dilations = list(attrs.get("dilations", [1] * len(self.strides)))
        self.kernel = [int(k) for k in kernel]
        self.flat = len(self.strides) == 1
        if self.flat:
            self.strides, self.pads, self.dilations = [1, *self.strides], [(0, 0), *self.pads], [1, *self.dilations]
            self.kernel = [1, *self.kernel]
            self.x = e.reshape(x, [x.shape[0], 1, *x.shape[1:]])

    @property
    def space(self) -> int:
        """The number of spatial axes."""
        return len(self.strides)

    def padding(self) -> int | None:
        """SAME or VALID, or None if neither fits."""
        if not any(map(any, self.pads)):
            return VALID
        sizes: Sequence[Any] = self.x.shape[1:-1]
        if not all(isinstance(d, int) for d in sizes):
            return None
        reach = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]
        same = [same_pads(*a) for a in zip(sizes, reach, self.strides, strict=True)]
        return SAME if same == self.pads else None

    def pad(self, low: float = 0.0) -> None:
        """Adds the padding to the input; `low` is 0, or less than any element."""
        amounts = self.e.constant(np.asarray([(0, 0), *self.pads, (0, 0)], np.int32))
        shape = list(self.x.shape)
        for i, (lo, hi) in enumerate(self.pads, start=1):
            shape[i] = shape[i] + lo + hi if isinstance(shape[i], int) else f"{shape[i]} + {lo + hi}"
        if not low:
            self.x = self.e.node("PAD", [self.x, amounts], shape)
        else:
            least = low if self.x.dtype.kind == "f" else np.iinfo(self.x.dtype).min
            value = self.e.constant(least, self.x.dtype, quant=self.x.quant)
            self.x = self.e.node("PADV2", [self.x, amounts, value], shape)
        self.pads = [(0, 0)] * self.space

    def word(self, low: float = 0.0) -> int:
        """SAME or VALID, after padding the input if neither fits."""
        word = self.padding()
        if word is None:
            self.pad(low)
            word = VALID
        return word

    def strides_options(self) -> dict[str, Any]:
        """The strides by their names among the options."""
        return {"stride_h": int(self.strides[-2]), "stride_w": int(self.strides[-1])}

    def dilation_options(self) -> dict[str, Any]:
        """The dilations by their names among the options."""
        return {"dilation_h_factor": int(self.dilations[-2]), "dilation_w_factor": int(self.dilations[-1])}

    def wide(self, value: Value) -> list[Any]:
        """The shape of an output, with the axis that was added."""
        return [value.shape[0], 1, *value.shape[1:]] if self.flat else list(value.shape)

    def out(self, value: Value) -> dict[str, Any]:
        """As `Emitter.out`, with the axis that was added."""
        return {**self.e.out(value), "shape": self.wide(value)}

    def done(self, y: Tensor, value: Value) -> Tensor:
        """The result in the output's shape."""
        return self.e.reshape(y, value.shape)


def _kernel(e: Emitter, value: Value, flat: bool, shape: Any, perm: Sequence[int], axis: int) -> Tensor:
    """A kernel, first in another shape, then with its axes in TFLite's order; known ones are turned round here."""
    known = e.known(value)
    full = [1, *value.shape] if flat else list(value.shape)
    full = full if shape is None else shape(full)
    if known is not None:
        return e.weight(np.ascontiguousarray(known.reshape(full).transpose(perm)), value.name, axis)
    return e.transpose(e.reshape(e.take(value), full), perm)


def _bias(e: Emitter, instr: Instr, x: Tensor, kernel: Tensor, channels: int) -> Tensor:
    if len(instr.inputs) < 3:
        return stored_bias(e, np.zeros(channels, np.float32), x, kernel, f"{instr.output.name}/bias")
    known = e.known(instr.inputs[2])
    return e.take(instr.inputs[2]) if known is None else stored_bias(e, known, x, kernel, instr.inputs[2].name)


def _fused(instr: Instr) -> dict[str, Any]:
    return {"fused_activation_function": ACTIVATIONS[instr.attrs.get("activation", "none")]}


def _check(instr: Instr) -> None:
    if instr.output.dtype != FLOAT32:
        raise Unsupported(f"TFLite convolves float32, not {instr.output.dtype}")


@TABLE.rule("Conv")
@lazy
def _conv(e: Emitter, instr: Instr) -> Tensor:
    _check(instr)
    value, kernel = instr.inputs[:2]
    x = e.take_stored(value) if e.integer is not None else e.take(value)
    w = Window(e, x, kernel.shape[:-2], instr.attrs)
    channels = int(kernel.shape[-1])
    groups = int(instr.attrs.get("groups", 1))
    if w.space == 3:
        return _conv3d(e, instr, w, groups)
    weights = _kernel(e, kernel, w.flat, None, (3, 0, 1, 2), 0)
    word = w.word()
    given = [w.x, weights, _bias(e, instr, w.x, weights, channels)]
    options: dict[str, Any] = {**w.strides_options(), **w.dilation_options(), **_fused(instr), "padding": word}
    return w.done(e.node("CONV_2D", given, **w.out(instr.output), **options), instr.output)


def _conv3d(e: Emitter, instr: Instr, w: Window, groups: int) -> Tensor:
    if groups != 1:
        raise Unsupported("TFLite has no grouped convolution of three spatial axes")
    kernel, word = e.take(instr.inputs[1]), w.word()
    given = [w.x, kernel, _bias(e, instr, w.x, kernel, int(kernel.shape[-1]))]
    options = {
        **w.strides_options(), **w.dilation_options(), **_fused(instr), "padding": word,
        "stride_d": int(w.strides[0]), "dilation_d_factor": int(w.dilations[0]),
    }  # fmt: skip
    return e.node("CONV_3D", given, **e.out(instr.output), **options)


@TABLE.rule("DepthwiseConv")
@lazy
def _depthwise(e: Emitter, instr: Instr) -> Tensor:
    _check(instr)
    value, kernel = instr.inputs[:2]
    if len(kernel.shape) > 4:
        raise Unsupported("TFLite has no depthwise convolution of three spatial axes")
    x = e.take_stored(value) if e.integer is not None else e.take(value)
    w = Window(e, x, kernel.shape[:-2], instr.attrs)
    channels, multiplier = int(kernel.shape[-2]), int(kernel.shape[-1])
    weights = _kernel(
        e, kernel, w.flat, lambda s: [1, *s[:-2], channels * multiplier], (0, 1, 2, 3), 3
    )  # fmt: skip
    word = w.word()
    given = [w.x, weights, _bias(e, instr, w.x, weights, channels * multiplier)]
    options: dict[str, Any] = {**w.strides_options(), **w.dilation_options(), **_fused(instr), "padding": word}
    y = e.node("DEPTHWISE_CONV_2D", given, **w.out(instr.output), **options, depth_multiplier=multiplier)
    return w.done(y, instr.output)


def _spread(e: Emitter, kernel: Value, dilations: Sequence[int]) -> Tensor | np.ndarray:
    """A kernel with zeros between its taps, for kernels of TFLite that know no dilation."""
    if all(d == 1 for d in dilations):
        return e.take(kernel)
    known = e.known(kernel)
    if known is None:
        raise Unsupported("the weights of a dilated transposed convolution must be known")
    shape = [(k - 1) * d + 1 for k, d in zip(known.shape, dilations, strict=False)]
    full = np.zeros((*shape, *known.shape[len(dilations) :]), known.dtype)
    full[tuple(slice(None, None, d) for d in dilations)] = known
    return full


@TABLE.rule("ConvTranspose")
@lazy
def _conv_transpose(e: Emitter, instr: Instr) -> Tensor:
    """The gradient of a convolution without padding, then cut, or filled with zeros, to the wanted size."""
    _check(instr)
    value, kernel = instr.inputs[:2]
    x = e.take_stored(value) if e.integer is not None else e.take(value)
    w = Window(e, x, kernel.shape[:-2], instr.attrs)
    sizes: Sequence[Any] = w.x.shape[1:-1]
    if not all(isinstance(d, int) for d in sizes):
        raise Unsupported("the spatial sizes of a transposed convolution must be known")
    full, channels = _spread(e, kernel, instr.attrs["dilations"]), int(kernel.shape[-2])
    lead = (1,) if w.flat else ()
    shape = (*lead, *full.shape)
    taps = [int(d) for d in shape[: w.space]]
    perm = (2, 0, 1, 3) if w.space == 2 else (0, 1, 2, 3, 4)
    if isinstance(full, np.ndarray) or e.known(kernel) is not None:
        array = full if isinstance(full, np.ndarray) else e.known(kernel)
        axis = 0 if w.space == 2 and e.integer is not None else None
        weights = e.weight(np.ascontiguousarray(array.reshape(shape).transpose(perm)), kernel.name, axis)
    else:
        weights = e.transpose(e.reshape(full, shape), perm)
    out = [(n - 1) * s + k for n, s, k in zip(sizes, w.strides, taps, strict=True)]
    same = all(
        k >= s and lo + hi == k - s and lo == (k - s) // 2
        for (lo, hi), k, s in zip(w.pads, taps, w.strides, strict=True)
    )
    whole = [n * s for n, s in zip(sizes, w.strides, strict=True)] if same else out
    bias = _bias(e, instr, w.x, weights, channels)
    fill = [(max(-lo, 0), max(-hi, 0)) for lo, hi in w.pads]
    inside = not any(map(any, fill)) or same
    result = [w.x.shape[0], *whole, channels]
    given = [e.shape(result), weights, w.x, *([bias] if inside else [])]
    options: dict[str, Any] = {**w.strides_options(), "padding": SAME if same else VALID}
    made = {**e.out(instr.output), "shape": result}
    if w.space == 3:
        y = e.node("CONV_3D_TRANSPOSE", given, **made, **options, stride_d=int(w.strides[0]))
    else:
        y = e.node("TRANSPOSE_CONV", given, **made, **options)
    if not same:
        low = [max(lo, 0) for lo, _ in w.pads]
        stop = [n - max(hi, 0) for n, (_, hi) in zip(out, w.pads, strict=True)]
        if any(low) or stop != out:
            cut = [hi - lo for lo, hi in zip(low, stop, strict=True)]
            ends = [result[0], *stop, channels]
            y = e.slice(y, [0, *low, 0], ends, [result[0], *cut, channels])
        if any(map(any, fill)):
            amounts = e.constant(np.asarray([(0, 0), *fill, (0, 0)], np.int32))
            y = e.node("PAD", [y, amounts], w.wide(instr.output))
    y = w.done(y, instr.output)
    activation = instr.attrs.get("activation", "none")
    if not inside:
        y = e.node("ADD", [y, bias], y.shape)
    if activation != "none" and e.integer != INT8:  # in int8 the range of the output ends where the activation does
        y = e.node(activation.upper(), [y], y.shape)
    return y


# ---- pooling


def _pool(e: Emitter, op: str, w: Window, value: Value, word: int) -> Tensor:
    options: dict[str, Any] = {
        **w.strides_options(),
        "filter_height": w.kernel[-2],
        "filter_width": w.kernel[-1],
        "padding": word,
    }
    return e.node(op, [w.x], w.wide(value), **options)


@TABLE.rule("MaxPool")
def _max_pool(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    w = Window(e, x, instr.attrs["window"], instr.attrs)
    if w.space == 3:
        w.word(-np.inf) if w.padding() == VALID else w.pad(-np.inf)
        return _pool3d(e, instr, w, "MAX_POOL_2D")
    word = w.word(-np.inf)
    return w.done(_pool(e, "MAX_POOL_2D", w, instr.output, word), instr.output)


@TABLE.rule("AveragePool")
def _average_pool(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    """SAME leaves the padding out of the mean; other padding is summed and then divided by the elements inside."""
    w = Window(e, x, instr.attrs["window"], instr.attrs)
    word, factor = w.padding(), None
    if word is None or (w.space == 3 and word == SAME):
        factor = _share_inside(w)
        w.pad()
        word = VALID
    y = (
        _pool3d(e, instr, w, "AVERAGE_POOL_2D")
        if w.space == 3
        else w.done(_pool(e, "AVERAGE_POOL_2D", w, instr.output, word), instr.output)
    )
    if factor is None:
        return y
    factor = factor[0] if w.flat else factor
    return e.node("MUL", [y, e.constant(factor[None, ..., None], np.float32)], y.shape)


def _share_inside(w: Window) -> np.ndarray:
    """For each window its size over the elements of it that are no padding."""
    sizes: Sequence[Any] = w.x.shape[1:-1]
    if not all(isinstance(d, int) for d in sizes):
        raise Unsupported("the spatial sizes of padded average pooling must be known")
    factor = np.ones((), np.float64)
    for n, k, s, (lo, hi) in zip(sizes, w.kernel, w.strides, w.pads, strict=True):
        starts = np.arange((n + lo + hi - k) // s + 1) * s - lo
        inside = np.minimum(starts + k, n) - np.maximum(starts, 0)
        factor = factor[..., None] * (k / inside)
    return factor


def _pool3d(e: Emitter, instr: Instr, w: Window, op: str) -> Tensor:
    """Pooling of height and width, then of depth: a window of three axes is the windows of two in a window of one."""
    n, *space, c = w.x.shape
    out = instr.output.shape
    if not all(isinstance(d, int) for d in space):
        raise Unsupported("the spatial sizes of pooling in three axes must be known")
    depth, height, width = space
    stacked = depth * n if isinstance(n, int) else f"{depth}*({n})"
    x = e.reshape(w.x, (stacked, height, width, c))
    plane: dict[str, Any] = {"stride_h": int(w.strides[1]), "stride_w": int(w.strides[2]), "filter_height": w.kernel[1]}
    x = e.node(op, [x], (stacked, *out[2:4], c), **plane, filter_width=w.kernel[2], padding=VALID)
    across = int(out[2]) * int(out[3])
    x = e.reshape(x, (n, depth, across, c))
    column: dict[str, Any] = {
        "stride_h": int(w.strides[0]),
        "stride_w": 1,
        "filter_height": w.kernel[0],
        "filter_width": 1,
    }
    return e.reshape(e.node(op, [x], (n, out[1], across, c), **column, padding=VALID), out)


@TABLE.rule("Resize")
def _resize(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    op = {"nearest": "RESIZE_NEAREST_NEIGHBOR", "bilinear": "RESIZE_BILINEAR"}[instr.attrs["method"]]
    return e.node(op, [x, e.ints(*instr.attrs["size"])], instr.output.shape, half_pixel_centers=True)


# ---- activations over an axis, normalisation


@TABLE.rule("Softmax", "LogSoftmax")
def _softmax(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    rank, axis = len(instr.output.shape), instr.attrs["axis"]
    perm = [i for i in range(rank) if i != axis] + [axis]
    x = e.transpose(x, perm)
    out = {**e.out(instr.output), "shape": x.shape}
    y = e.node("SOFTMAX", [x], **out, beta=1.0) if instr.op == "Softmax" else e.node("LOG_SOFTMAX", [x], **out)
    return e.transpose(y, np.argsort(perm).tolist())


@TABLE.rule("LayerNorm")
def _layer_norm(e: Emitter, instr: Instr, x: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    axes, shape = sorted(instr.attrs["axes"]), x.shape
    kept = [1 if i in axes else d for i, d in enumerate(shape)]
    places = e.ints(*axes)
    centred = e.node("SUB", [x, e.node("MEAN", [x, places], kept, keep_dims=True)], shape)
    variance = e.node("MEAN", [e.node("SQUARE", [centred], shape), places], kept, keep_dims=True)
    epsilon = e.constant(instr.attrs["epsilon"], x.dtype)
    root = e.node("RSQRT", [e.node("ADD", [variance, epsilon], kept)], kept)
    y = e.node("MUL", [e.node("MUL", [centred, root], shape), scale], shape)
    return e.node("ADD", [y, offset], shape)


@TABLE.rule("L2Normalize")
def _l2_normalize(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    axes = sorted(instr.attrs["axes"])
    kept = [1 if i in axes else d for i, d in enumerate(x.shape)]
    total = e.node("SUM", [e.node("SQUARE", [x], x.shape), e.ints(*axes)], kept, keep_dims=True)
    least = e.node("MAXIMUM", [total, e.constant(instr.attrs["epsilon"], x.dtype)], kept)
    return e.node("MUL", [x, e.node("RSQRT", [least], kept)], x.shape)


# ---- control flow


def inside(e: Emitter, graph: Any, name: str) -> Emitter:
    """A graph of the file with inputs and outputs like those of a graph inside an instruction."""
    inner = Emitter(e.file, name, e.target)
    inputs = [inner.tensor(v.shape, v.dtype, v.name) for v in graph.inputs]
    inner.graph(graph, inputs)
    finish(inner, graph, inputs, [inner.take(v) for v in graph.outputs])
    return inner


def finish(e: Emitter, graph: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Tensor]:
    """Notes inputs and outputs of a graph; an output that is an input, a constant or given twice is copied."""
    made = {i for node in e.entry["operators"] for i in node["outputs"]}
    final: list[Tensor] = []
    for tensor in outputs:
        if tensor.index not in made or any(tensor.index == t.index for t in final):
            tensor = e.node("RESHAPE", [tensor, e.shape(tensor.shape, reshape=True)], tensor.shape)
        final.append(tensor)
    e.entry["inputs"], e.entry["outputs"] = [t.index for t in inputs], [t.index for t in final]
    return final


def _specs(values: Sequence[Value]) -> list[Any]:
    return [(v.shape, v.dtype, None) for v in values]


@TABLE.rule("If")
def _if(e: Emitter, instr: Instr, condition: Tensor, *operands: Tensor) -> list[Tensor]:
    then, orelse = (inside(e, instr.attrs[key], key) for key in ("then", "orelse"))
    options = {"then_subgraph_index": then.number, "else_subgraph_index": orelse.number}
    return e.nodes("IF", [condition, *operands], _specs(instr.outputs), **options)


@TABLE.rule("While")
def _while(e: Emitter, instr: Instr, *operands: Tensor) -> list[Tensor]:
    """All operands are carried: those that stay as they are come back unchanged."""
    cond, body = instr.attrs["cond"], instr.attrs["body"].copy()
    carried = instr.attrs["carried"]
    body.outputs = [*body.outputs, *body.inputs[carried:]]
    first, second = inside(e, cond, "cond"), Emitter(e.file, "body", e.target)
    inputs = [second.tensor(v.shape, v.dtype, v.name) for v in body.inputs]
    second.graph(body, inputs)
    outputs = [second.take(v) for v in body.outputs[:carried]]
    finish(second, body, inputs, outputs)
    second.entry["outputs"] += [t.index for t in inputs[carried:]]
    options = {"cond_subgraph_index": first.number, "body_subgraph_index": second.number}
    made = e.nodes("WHILE", operands, _specs(instr.inputs), **options)
    return made[:carried]
