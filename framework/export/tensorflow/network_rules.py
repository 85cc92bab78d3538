"""How TensorFlow writes products, convolutions, pooling, normalisation and control flow; StableHLO as a last resort."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax import export

from lamina.export.rules import Unsupported
from lamina.export.tensorflow.emitter import INT32, Emitter, Tensor, named_sizes, unknown_shape
from lamina.export.tensorflow.table import TABLE
from lamina.graph.dims import export_specs
from lamina.graph.interpret import instruction
from lamina.graph.ir import Instr, Value, is_floating
from lamina.ops.conv import same_pads


@TABLE.rule("MatMul")
def _matmul(e: Emitter, instr: Instr, x: Tensor, y: Tensor) -> Tensor:
    a, b = instr.inputs
    dtype, out = instr.output.dtype, instr.output.shape
    if len(a.shape) < 2 or len(b.shape) < 2:  # a vector is a matrix of one row, or of one column
        x = e.reshape(x, (1, *a.shape), dtype) if len(a.shape) == 1 else x
        y = e.reshape(y, (*b.shape, 1), dtype) if len(b.shape) == 1 else y
        return e.reshape(e.node("BatchMatMulV2", [x, y], T=dtype), out, dtype)
    return e.node("MatMul" if len(a.shape) == len(b.shape) == 2 else "BatchMatMulV2", [x, y], T=dtype)


# ---- convolutions: of one spatial axis as of two, the first of size 1


class _Window:
    """A window op as TensorFlow takes it: at least two spatial axes, padding as a word where that fits."""

    def __init__(self, e: Emitter, value: Value, x: Tensor, kernel: Sequence[int], attrs: dict[str, Any]):
        self.dtype = value.dtype
        self.shape = list(value.shape)
        self.strides, self.pads = list(attrs["strides"]), [tuple(p) for p in attrs["pads"]]
        self.dilations = list(attrs.get("dilations", [1] * len(self.strides)))
        self.kernel = list(kernel)
        self.flat = len(self.strides) == 1
        if self.flat:
            self.shape = [self.shape[0], 1, *self.shape[1:]]
            self.strides, self.pads, self.dilations = [1, *self.strides], [(0, 0), *self.pads], [1, *self.dilations]
            self.kernel = [1, *self.kernel]
            x = e.reshape(x, self.shape, self.dtype)
        self.x, self.e = x, e
        self.reach = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]

    @property
    def space(self) -> int:
        """The number of spatial axes."""
        return len(self.strides)

    def padding(self) -> str | None:
        """SAME or VALID, or None if neither fits."""
        if not any(map(any, self.pads)):
            return "VALID"
        sizes: Any = self.shape[1:-1]
        if not all(isinstance(d, int) for d in sizes):
            return None
        same = [same_pads(*a) for a in zip(sizes, self.reach, self.strides, strict=True)]
        return "SAME" if same == self.pads else None

    def pad(self, value: float) -> None:
        """Adds the padding to the input."""
        amounts = np.asarray([(0, 0), *self.pads, (0, 0)], np.int32)
        given = [self.x, self.e.constant(amounts), self.e.constant(value, self.dtype)]
        self.x = self.e.node("PadV2", given, T=self.dtype, Tpaddings=INT32)
        for i, (lo, hi) in enumerate(self.pads, start=1):
            self.shape[i] = (
                self.shape[i] + lo + hi if isinstance(self.shape[i], int) else f"{self.shape[i]} + {lo + hi}"
            )
        self.pads = [(0, 0)] * self.space

    def words(self, pad_value: float = 0.0) -> str:
        """SAME or VALID, after padding the input if neither fits."""
        word = self.padding()
        if word is None:
            self.pad(pad_value)
            word = "VALID"
        return word

    def full(self, numbers: Sequence[int]) -> list[int]:
        """Numbers of the spatial axes, with 1 for batch and channels."""
        return [1, *(int(n) for n in numbers), 1]

    def done(self, y: Tensor, instr: Instr) -> Tensor:
        """The result in the instruction's shape."""
        return self.e.reshape(y, instr.output.shape, self.dtype) if self.flat else y


def _flat_kernel(e: Emitter, w: _Window, kernel: Tensor, value: Value) -> tuple[Tensor, list[int]]:
    shape = [int(d) for d in value.shape]
    if w.flat:
        shape = [1, *shape]
        kernel = e.reshape(kernel, shape, w.dtype)
    return kernel, shape


def _dilated(e: Emitter, w: _Window, kernel: Tensor, shape: list[int]) -> tuple[Tensor, list[int]]:
    """A kernel with zeros between its taps, for kernels of TensorFlow that know no dilation."""
    for axis, d in enumerate(w.dilations):
        if d == 1:
            continue
        rows = [*shape[: axis + 1], 1, *shape[axis + 1 :]]
        kernel = e.reshape(kernel, rows, w.dtype)
        amounts = np.zeros((len(rows), 2), np.int32)
        amounts[axis + 1, 1] = d - 1
        kernel = e.node("PadV2", [kernel, e.constant(amounts), e.constant(0, w.dtype)], T=w.dtype, Tpaddings=INT32)
        shape = [*shape[:axis], shape[axis] * d, *shape[axis + 1 :]]
        kernel = e.reshape(kernel, shape, w.dtype)
        stop = list(shape)
        stop[axis] -= d - 1
        kernel, shape = e.slice(kernel, [0] * len(stop), stop, w.dtype), stop
    w.dilations = [1] * w.space
    return kernel, shape


def _bias(e: Emitter, y: Tensor, bias: Sequence[Tensor], instr: Instr) -> Tensor:
    """The bias and the activation that are part of a convolution."""
    dtype, activation = instr.output.dtype, instr.attrs.get("activation", "none")
    y = e.node("BiasAdd", [y, bias[0]], T=dtype) if bias else y
    return y if activation == "none" else e.unary({"relu": "Relu", "relu6": "Relu6"}[activation], y, dtype)


@TABLE.rule("Conv")
def _conv(e: Emitter, instr: Instr, x: Tensor, kernel: Tensor, *bias: Tensor) -> Tensor:
    groups = int(instr.attrs.get("groups", 1))
    w = _Window(e, instr.inputs[0], x, instr.inputs[1].shape[:-2], instr.attrs)  # type: ignore[arg-type]
    kernel, shape = _flat_kernel(e, w, kernel, instr.inputs[1])
    if w.space == 3:
        kernel, shape = _dilated(e, w, kernel, shape)
    word = w.words()
    op = "Conv3D" if w.space == 3 else "Conv2D"
    more: dict[str, Any] = {} if w.space == 3 else {"dilations": w.full(w.dilations)}

    def run(x: Tensor, kernel: Tensor) -> Tensor:
        return e.node(op, [x, kernel], T=w.dtype, strides=w.full(w.strides), padding=word, **more)

    if groups == 1:
        y = run(w.x, kernel)
    else:  # TensorFlow has no grouped convolution on every device

        def parts(t: Tensor) -> list[Tensor]:
            given = [e.constant(-1, np.int32), t]
            return e.node("Split", given, outputs=groups, num_split=groups, T=w.dtype)

        each = [run(a, b) for a, b in zip(parts(w.x), parts(kernel), strict=True)]
        y = e.node("ConcatV2", [*each, e.constant(-1, np.int32)], N=groups, T=w.dtype, Tidx=INT32)
    return w.done(_bias(e, y, bias, instr), instr)


@TABLE.rule("DepthwiseConv")
def _depthwise(e: Emitter, instr: Instr, x: Tensor, kernel: Tensor, *bias: Tensor) -> Tensor:
    w = _Window(e, instr.inputs[0], x, instr.inputs[1].shape[:-2], instr.attrs)  # type: ignore[arg-type]
    if w.space == 3:
        raise Unsupported("TensorFlow has no depthwise convolution of three spatial axes")
    kernel, shape = _flat_kernel(e, w, kernel, instr.inputs[1])
    kernel, shape = _dilated(e, w, kernel, shape)
    strides = w.strides
    if len(set(strides)) > 1 and not w.flat:  # strides must be equal: step over the places afterwards
        w.pad(0.0)
    word = w.words()
    equal = [strides[1]] * 2 if w.flat else strides
    if w.flat and strides[1] > 1 and word == "SAME":
        equal = [strides[1]] * 2  # the one row stays one row
    if len(set(equal)) == 1:
        y = e.node("DepthwiseConv2dNative", [w.x, kernel], T=w.dtype, strides=w.full(equal), padding=word)
        return w.done(_bias(e, y, bias, instr), instr)
    y = e.node("DepthwiseConv2dNative", [w.x, kernel], T=w.dtype, strides=[1, 1, 1, 1], padding="VALID")
    given = [y, e.ints(0, 0, 0, 0), e.ints(0, 0, 0, 0), e.ints(*w.full(strides))]
    y = e.node("StridedSlice", given, T=w.dtype, Index=INT32, end_mask=15, begin_mask=15)
    return w.done(_bias(e, y, bias, instr), instr)


@TABLE.rule("ConvTranspose")
def _conv_transpose(e: Emitter, instr: Instr, x: Tensor, kernel: Tensor, *bias: Tensor) -> Tensor:
    """The gradient of a convolution without padding, then cut, or filled with zeros, to the wanted size."""
    w = _Window(e, instr.inputs[0], x, instr.inputs[1].shape[:-2], instr.attrs)  # type: ignore[arg-type]
    kernel, shape = _flat_kernel(e, w, kernel, instr.inputs[1])
    kernel, shape = _dilated(e, w, kernel, shape)
    sizes: Any = w.shape[1:-1]
    if not all(isinstance(d, int) for d in sizes):
        raise Unsupported("the spatial sizes of a transposed convolution must be known")
    out = [(n - 1) * s + k for n, s, k in zip(sizes, w.strides, shape, strict=False)]
    channels = shape[-2]
    same = [
        (lo + hi == max(k - s, 0) and lo == max(k - s, 0) // 2)
        for (lo, hi), k, s in zip(w.pads, shape, w.strides, strict=False)
    ]
    word = "SAME" if all(same) and all(k >= s for k, s in zip(shape, w.strides, strict=False)) else "VALID"
    whole = [n * s for n, s in zip(sizes, w.strides, strict=True)] if word == "SAME" else out
    op = "Conv3DBackpropInputV2" if w.space == 3 else "Conv2DBackpropInput"
    more: dict[str, Any] = {"Tshape": INT32} if w.space == 3 else {}
    given = [e.shape([w.shape[0], *whole, channels]), kernel, w.x]
    y = e.node(op, given, T=w.dtype, strides=w.full(w.strides), padding=word, **more)
    if word == "VALID":
        low = [max(lo, 0) for lo, _ in w.pads]
        stop = [n - max(hi, 0) for n, (_, hi) in zip(out, w.pads, strict=True)]
        if any(low) or stop != out:
            start, end = e.ints(0, *low, 0), e.ints(0, *stop, 0)
            ones = e.ints(*[1] * len(w.shape))
            last = len(w.shape) - 1
            y = e.node("StridedSlice", [y, start, end, ones], T=w.dtype, Index=INT32, end_mask=1 | 1 << last)
        fill = np.asarray([(0, 0), *((max(-lo, 0), max(-hi, 0)) for lo, hi in w.pads), (0, 0)], np.int32)
        if fill.any():
            y = e.node("PadV2", [y, e.constant(fill), e.constant(0, w.dtype)], T=w.dtype, Tpaddings=INT32)
    return w.done(_bias(e, y, bias, instr), instr)


# ---- pooling


@TABLE.rule("MaxPool")
def _max_pool(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    w = _Window(e, instr.inputs[0], x, instr.attrs["window"], instr.attrs)
    low = -np.inf if is_floating(w.dtype) else np.iinfo(w.dtype).min
    word = w.words(low)
    op = "MaxPool3D" if w.space == 3 else "MaxPool"
    y = e.node(op, [w.x], T=w.dtype, ksize=w.full(w.kernel), strides=w.full(w.strides), padding=word)
    return w.done(y, instr)


@TABLE.rule("AveragePool")
def _average_pool(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    """SAME leaves the padding out of the mean; other padding is summed and then divided by the elements inside."""
    w = _Window(e, instr.inputs[0], x, instr.attrs["window"], instr.attrs)
    word, factor = w.padding(), None
    if word is None:
        sizes, pads = w.shape[1:-1], list(w.pads)
        if not all(isinstance(d, int) for d in sizes):
            raise Unsupported("the spatial sizes of padded average pooling must be known")
        factor = np.ones((), np.float64)
        for n, k, s, (lo, hi) in zip(sizes, w.kernel, w.strides, pads, strict=True):
            starts = np.arange((n + lo + hi - k) // s + 1) * s - lo
            inside = np.minimum(starts + k, n) - np.maximum(starts, 0)
            factor = factor[..., None] * (k / inside)
        w.pad(0.0)
        word = "VALID"
    op = "AvgPool3D" if w.space == 3 else "AvgPool"
    y = e.node(op, [w.x], T=w.dtype, ksize=w.full(w.kernel), strides=w.full(w.strides), padding=word)
    if factor is not None:
        y = e.binary("Mul", y, e.constant(factor[None, ..., None], w.dtype), w.dtype)
    return w.done(y, instr)


@TABLE.rule("Resize")
def _resize(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    dtype, size = instr.output.dtype, e.ints(*instr.attrs["size"])
    if instr.attrs["method"] == "nearest":
        return e.node("ResizeNearestNeighbor", [x, size], T=dtype, half_pixel_centers=True)
    y = e.node("ResizeBilinear", [x, size], T=dtype, half_pixel_centers=True)
    return e.cast(y, np.float32, dtype)


# ---- activations over an axis, normalisation


@TABLE.rule("Softmax", "LogSoftmax")
def _softmax(e: Emitter, instr: Instr, x: Tensor) -> Tensor:
    rank, axis, dtype = len(instr.output.shape), instr.attrs["axis"], instr.output.dtype
    perm = [i for i in range(rank) if i != axis] + [axis]
    y = e.unary(instr.op, e.transpose(x, perm, dtype), dtype)
    return e.transpose(y, np.argsort(perm).tolist(), dtype)


@TABLE.rule("BatchNorm")
def _batch_norm(
    e: Emitter, instr: Instr, x: Tensor, mean: Tensor, variance: Tensor, scale: Tensor, offset: Tensor
) -> Any:
    dtype, epsilon = instr.output.dtype, float(instr.attrs["epsilon"])
    if len(instr.output.shape) == 4 and dtype == np.float32:
        given = [x, scale, offset, mean, variance]
        return e.node("FusedBatchNormV3", given, outputs=6, T=dtype, U=dtype, epsilon=epsilon, is_training=False)[:1]
    root = e.unary("Rsqrt", e.binary("AddV2", variance, e.constant(epsilon, dtype), dtype), dtype)
    factor = e.binary("Mul", scale, root, dtype)
    shift = e.binary("Sub", offset, e.binary("Mul", mean, factor, dtype), dtype)
    return e.binary("AddV2", e.binary("Mul", x, factor, dtype), shift, dtype)


# ---- control flow


def _sizes(e: Emitter, *graphs: Any) -> tuple[list[str], list[Tensor]]:
    names = sorted({name for graph in graphs for name in named_sizes(graph)})
    return names, [e.size(name) for name in names]


@TABLE.rule("If")
def _if(e: Emitter, instr: Instr, condition: Tensor, *operands: Tensor) -> list[Tensor]:
    then, orelse = instr.attrs["then"], instr.attrs["orelse"]
    names, sizes = _sizes(e, then, orelse)
    given = [condition, *operands, *sizes]
    dtypes = [v.dtype for v in instr.inputs[1:]] + [INT32] * len(sizes)
    made = e.node(
        "StatelessIf", given, outputs=max(len(instr.outputs), 1), Tcond=np.dtype(bool), Tin=dtypes,
        Tout=[v.dtype for v in instr.outputs], then_branch=e.function(then, names),
        else_branch=e.function(orelse, names), output_shapes=[unknown_shape(v) for v in instr.outputs],
    )  # fmt: skip
    return made if isinstance(made, list) else [made]


@TABLE.rule("While")
def _while(e: Emitter, instr: Instr, *operands: Tensor) -> list[Tensor]:
    """All operands are carried: those that stay as they are come back unchanged."""
    cond, body, carried = instr.attrs["cond"], instr.attrs["body"], instr.attrs["carried"]
    names, sizes = _sizes(e, cond, body)
    body = body.copy()
    body.outputs = [*body.outputs, *body.inputs[carried:]]
    body.output_names = [v.name for v in body.outputs]
    dtypes = [v.dtype for v in instr.inputs] + [INT32] * len(sizes)
    shapes = [unknown_shape(v) for v in body.inputs] + [unknown_shape(Value("size", (), INT32))] * len(sizes)
    made = e.node(
        "StatelessWhile", [*operands, *sizes], outputs=len(dtypes), T=dtypes, cond=e.function(cond, names),
        body=e.function(body, names, returned=True), output_shapes=shapes, parallel_iterations=10,
    )  # fmt: skip
    return (made if isinstance(made, list) else [made])[:carried]


# ---- StableHLO


def _xla_call(e: Emitter, instr: Instr, *inputs: Tensor) -> list[Tensor]:
    """The instruction as a module of StableHLO, which TensorFlow compiles and runs; no other reader knows it."""
    specs = export_specs(instr.inputs)
    sizes = {
        d: s for v, spec in zip(instr.inputs, specs, strict=True) for d, s in zip(v.shape, spec.shape, strict=True)
    }
    run = instruction(instr, {d: s for d, s in sizes.items() if isinstance(d, str)})
    platforms = ("cpu",)
    try:
        made = export.export(jax.jit(lambda *x: run(*x)), platforms=platforms)(*specs)
    except Exception as error:  # noqa: BLE001 - whatever jax finds wrong is the reason
        raise Unsupported(f"jax.export cannot write it: {str(error).splitlines()[0]}") from error
    out = e.node(
        "XlaCallModule", inputs, outputs=len(instr.outputs), module=made.mlir_module_serialized,
        version=int(made.calling_convention_version), Tin=[v.dtype for v in instr.inputs],
        Tout=[v.dtype for v in instr.outputs], Sout=[unknown_shape(v) for v in instr.outputs],
        platforms=[p.upper() for p in platforms], dim_args_spec=[], function_list=[],
        has_token_input_output=False, disabled_checks=[],
    )  # fmt: skip
    return out if isinstance(out, list) else [out]


TABLE.fallback = _xla_call
