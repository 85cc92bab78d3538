"""Rules for ops of lamina that are an op of the table; what they cannot express they leave to be inlined."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lamina.core import settings
from lamina.graph.builder import Builder
from lamina.graph.ir import Value, is_floating
from lamina.graph.lower import named
from lamina.graph.primitives import reshape, scalar, transpose
from lamina.graph.windows import conv as emit_conv
from lamina.ops.conv import _transpose_pads, pads_of

NOT = NotImplemented


def _float(x: Any) -> bool:
    return isinstance(x, Value) and is_floating(x.dtype)


def _activation(op: str) -> Any:
    def rule(b: Builder, x: Any) -> Any:
        return b.emit(op, [x]) if _float(x) else NOT

    return rule


for _names, _op in {
    ("relu6",): "Relu6",
    ("silu", "swish"): "Silu",
    ("hard_sigmoid",): "HardSigmoid",
    ("hard_silu", "hard_swish"): "HardSwish",
    ("softplus",): "Softplus",
    ("softsign",): "Softsign",
}.items():
    named(*_names)(_activation(_op))


@named("relu")
def _relu(
    b: Builder, x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Any:
    """The op, and the activation of its name with its further arguments."""
    if not _float(x) or not all(map(_number, (negative_slope, threshold))) or threshold != 0:
        return NOT
    if negative_slope == 0 and (max_value is None or max_value == 6):
        return b.emit("Relu" if max_value is None else "Relu6", [x])
    return b.emit("LeakyRelu", [x], alpha=float(negative_slope)) if max_value is None else NOT


@named("leaky_relu")
def _leaky_relu(b: Builder, x: Any, negative_slope: float = 0.2) -> Any:
    return b.emit("LeakyRelu", [x], alpha=float(negative_slope)) if _number(negative_slope) and _float(x) else NOT


@named("elu")
def _elu(b: Builder, x: Any, alpha: float = 1.0) -> Any:
    return b.emit("Elu", [x], alpha=float(alpha)) if _number(alpha) and _float(x) else NOT


@named("selu")
def _selu(b: Builder, x: Any) -> Any:
    """The scaled ELU of Klambauer et al., 2017."""
    if not _float(x):
        return NOT
    y = b.emit("Elu", [x], alpha=1.6732632423543772)
    return b.emit("Mul", [y, scalar(b, 1.0507009873554805, x.dtype)])


@named("gelu")
def _gelu(b: Builder, x: Any, approximate: bool = True) -> Any:
    return b.emit("Gelu", [x], approximate=bool(approximate)) if _float(x) else NOT


def _number(x: Any) -> bool:
    return isinstance(x, (int, float, np.number))


def _softmax(op: str) -> Any:
    def rule(b: Builder, x: Any, axis: Any = -1) -> Any:
        if not _float(x) or not isinstance(axis, int) or not x.shape:
            return NOT
        axis %= len(x.shape)
        last = len(x.shape) - 1
        perm = [i for i in range(last + 1) if i != axis] + [axis]  # formats know the last axis
        y = b.emit(op, [transpose(b, x, perm)], axis=last)
        return transpose(b, y, np.argsort(perm))

    return rule


named("softmax")(_softmax("Softmax"))
named("log_softmax")(_softmax("LogSoftmax"))


# ---- convolutions


def _last(b: Builder, x: Value, data_format: str | None) -> tuple[Value, bool]:
    """`x` with its channels last, and whether they were first."""
    first = (settings.image_data_format() if data_format is None else data_format) == "channels_first"
    rank = len(x.shape)
    return (transpose(b, x, [0, *range(2, rank), 1]) if first else x), first


def _back(b: Builder, y: Value, first: bool) -> Value:
    rank = len(y.shape)
    return transpose(b, y, [0, rank - 1, *range(1, rank - 1)]) if first else y


def _ints(value: Any, n: int) -> tuple[int, ...]:
    return (int(value),) * n if isinstance(value, int) else tuple(int(v) for v in value)


def _static_space(x: Value) -> bool:
    return all(isinstance(d, int) for d in x.shape[1:])


def _pads(padding: Any, x: Value, windows: Any, strides: Any) -> tuple:
    """Padding as pairs, for an input whose spatial sizes are known."""
    space: Any = x.shape[1:-1]
    return tuple(map(tuple, pads_of("conv", padding, space, windows, strides)))


def _cast(b: Builder, x: Value, dtype: Any) -> Value:
    return x if x.dtype == dtype else b.emit("Cast", [x], dtype=np.dtype(dtype).name)


@named("conv")
def _conv(
    b: Builder,
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: Any = "valid",
    data_format: Any = None,
    dilation_rate: Any = 1,
) -> Any:
    x, first = _last(b, inputs, data_format)
    if not _static_space(x):
        return NOT
    n = len(x.shape) - 2
    strides, dilations = _ints(strides, n), _ints(dilation_rate, n)
    windows = [(k - 1) * d + 1 for k, d in zip(kernel.shape, dilations, strict=False)]
    pads = _pads(padding, x, windows, strides)
    groups = int(x.shape[-1]) // int(kernel.shape[-2])
    return _back(b, emit_conv(b, _cast(b, x, kernel.dtype), kernel, strides, pads, dilations, groups), first)


@named("depthwise_conv")
def _depthwise_conv(
    b: Builder,
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: Any = "valid",
    data_format: Any = None,
    dilation_rate: Any = 1,
) -> Any:
    x, first = _last(b, inputs, data_format)
    if not _static_space(x):
        return NOT
    n = len(x.shape) - 2
    strides, dilations = _ints(strides, n), _ints(dilation_rate, n)
    windows = [(k - 1) * d + 1 for k, d in zip(kernel.shape, dilations, strict=False)]
    pads = _pads(padding, x, windows, strides)
    attributes = {"strides": strides, "pads": tuple(map(tuple, pads)), "dilations": dilations}
    return _back(b, b.emit("DepthwiseConv", [_cast(b, x, kernel.dtype), kernel], **attributes), first)


@named("conv_transpose")
def _conv_transpose(
    b: Builder,
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    output_padding: Any = None,
    data_format: Any = None,
    dilation_rate: Any = 1,
) -> Any:
    x, first = _last(b, inputs, data_format)
    n = len(x.shape) - 2
    strides, dilations = _ints(strides, n), _ints(dilation_rate, n)
    extra = (None,) * n if output_padding is None else _ints(output_padding, n)
    windows = [(k - 1) * d + 1 for k, d in zip(kernel.shape, dilations, strict=False)]
    inside = [_transpose_pads(*args, padding.lower()) for args in zip(windows, strides, extra, strict=True)]
    cut = tuple((w - 1 - lo, w - 1 - hi) for w, (lo, hi) in zip(windows, inside, strict=True))
    y = b.emit("ConvTranspose", [_cast(b, x, kernel.dtype), kernel], strides=strides, pads=cut, dilations=dilations)
    return _back(b, y, first)


def _pool(op: str) -> Any:
    def rule(
        b: Builder, inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: Any = None
    ) -> Any:
        x, first = _last(b, inputs, data_format)
        if not _static_space(x) or not _float(x):
            return NOT
        n = len(x.shape) - 2
        window = _ints(pool_size, n)
        steps = window if strides is None else _ints(strides, n)
        pads = _pads(padding, x, window, steps)
        return _back(b, b.emit(op, [x], window=window, strides=steps, pads=pads), first)

    return rule


named("max_pool")(_pool("MaxPool"))
named("average_pool")(_pool("AveragePool"))


@named("depth_to_space")
def _depth_to_space(b: Builder, x: Any, block_size: int, data_format: str = "channels_last") -> Any:
    return b.emit("DepthToSpace", [x], block=int(block_size)) if data_format == "channels_last" else NOT


@named("space_to_depth")
def _space_to_depth(b: Builder, x: Any, block_size: int, data_format: str = "channels_last") -> Any:
    return b.emit("SpaceToDepth", [x], block=int(block_size)) if data_format == "channels_last" else NOT


@named("resize")
def _resize(
    b: Builder,
    images: Any,
    size: Any,
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: Any = None,
) -> Any:
    plain = interpolation in ("bilinear", "nearest") and not (antialias or crop_to_aspect_ratio or pad_to_aspect_ratio)
    if not plain or len(images.shape) != 4 or not _float(images):
        return NOT
    x, first = _last(b, images, data_format)
    return _back(b, b.emit("Resize", [x], size=_ints(size, 2), method=interpolation), first)


# ---- normalisation


@named("batch_normalization")
def _batch_normalization(
    b: Builder,
    x: Any,
    mean: Any,
    variance: Any,
    axis: int,
    offset: Any = None,
    scale: Any = None,
    epsilon: float = 1e-3,
) -> Any:
    rank = len(x.shape)
    values = [mean, variance, scale, offset]
    if not _float(x) or not isinstance(axis, int) or any(v is not None and len(v.shape) != 1 for v in values):
        return NOT
    if any(v is not None and v.dtype != x.dtype for v in values):
        return NOT
    channels = mean.shape
    scale = b.constant(np.ones(channels, x.dtype)) if scale is None else scale
    offset = b.constant(np.zeros(channels, x.dtype)) if offset is None else offset
    axis %= rank
    perm = [i for i in range(rank) if i != axis] + [axis]
    y = b.emit("BatchNorm", [transpose(b, x, perm), mean, variance, scale, offset], epsilon=float(epsilon))
    return transpose(b, y, np.argsort(perm))


@named("layer_normalization")
def _layer_normalization(
    b: Builder,
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    axis: Any = -1,
    epsilon: float | None = None,
    rms_scaling: bool = False,
) -> Any:
    rank = len(x.shape)
    axes = tuple(sorted(a % rank for a in (axis if isinstance(axis, (list, tuple)) else [axis])))
    if rms_scaling or x.dtype != np.float32 or axes != tuple(range(rank - len(axes), rank)):
        return NOT
    shape = x.shape[axes[0] :]
    if not all(isinstance(d, int) for d in shape):
        return NOT
    weights = []
    for value, start in ((gamma, 1.0), (beta, 0.0)):
        if value is None:
            value = b.constant(np.full(shape, start, x.dtype))
        if math.prod(value.shape) != math.prod(shape):
            return NOT
        weights.append(reshape(b, _cast(b, value, x.dtype), shape))
    epsilon = settings.epsilon() if epsilon is None else epsilon
    return b.emit("LayerNorm", [x, *weights], axes=axes, epsilon=float(epsilon))


@named("normalize")
def _normalize(b: Builder, x: Any, axis: Any = -1, order: int = 2, epsilon: float | None = None) -> Any:
    if order != 2 or not _float(x) or not x.shape:
        return NOT
    epsilon = settings.epsilon() if epsilon is None else epsilon
    axes = tuple(sorted(a % len(x.shape) for a in (axis if isinstance(axis, (list, tuple)) else [axis])))
    return b.emit("L2Normalize", [x], axes=axes, epsilon=float(epsilon**2))


@named("fake_quant_with_min_max_vars")
def _fake_quant(
    b: Builder, x: Any, low: Any, high: Any, num_bits: int = 8, narrow_range: bool = False, axis: int | None = None
) -> Any:
    if not _float(x):
        return NOT
    shape = [1] * len(x.shape)
    limits = []
    for limit in (low, high):
        value = scalar(b, limit, x.dtype) if _number(limit) else limit
        if not isinstance(value, Value):
            return NOT
        if axis is not None:
            shape[axis] = x.shape[axis]
            value = reshape(b, value, shape)
        limits.append(_cast(b, value, x.dtype))
    return b.emit("FakeQuant", [x, *limits], bits=int(num_bits), narrow=bool(narrow_range))


@named("one_hot")
def _one_hot(b: Builder, x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> Any:
    if sparse or x.dtype.kind not in "iu":
        return NOT
    dtype = settings.floatx() if dtype is None else np.dtype(dtype).name
    return b.emit("OneHot", [x], depth=int(num_classes), axis=axis % (len(x.shape) + 1), dtype=dtype)


@named("top_k")
def _top_k(b: Builder, x: Any, k: int, sorted: bool = True) -> Any:
    return b.emit("TopK", [x], k=int(k))


# ---- recurrent layers


def _is(fn: Any, *names: str) -> bool:
    return getattr(fn, "__name__", "") in names


def _results(out: list[Value], loop: dict[str, Any]) -> tuple:
    rows, *states = out  # rows stay in the order in which they are made, from the end if the loop goes backwards
    return states[0], rows if loop.get("return_sequences", True) else None, states


def _directed(b: Builder, x: Value, loop: dict[str, Any]) -> Value:
    return b.emit("Reverse", [x], axes=(1,)) if loop.get("go_backwards") else x


@named("lstm")
def _lstm(
    b: Builder,
    inputs: Any,
    states: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any = None,
    mask: Any = None,
    dropout_masks: Any = (None, None),
    *,
    activation: Any,
    recurrent_activation: Any,
    **loop: Any,
) -> Any:
    if not _plain_recurrent(inputs, mask, dropout_masks, activation, recurrent_activation, loop):
        return NOT
    if bias is None:
        bias = b.constant(np.zeros(kernel.shape[-1:], kernel.dtype))
    x = _directed(b, inputs, loop)
    return _results(b.emit("LSTM", [x, *states, kernel, recurrent_kernel, bias]), loop)


@named("gru")
def _gru(
    b: Builder,
    inputs: Any,
    states: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any = None,
    mask: Any = None,
    dropout_masks: Any = (None, None),
    *,
    activation: Any,
    recurrent_activation: Any,
    reset_after: bool = True,
    **loop: Any,
) -> Any:
    if not _plain_recurrent(inputs, mask, dropout_masks, activation, recurrent_activation, loop):
        return NOT
    size = kernel.shape[-1]
    if bias is None:
        bias = b.constant(np.zeros((2, size), kernel.dtype))
    elif len(bias.shape) == 1:
        zero = scalar(b, 0, kernel.dtype)
        bias = b.emit("Concat", [reshape(b, bias, (1, size)), b.constant(np.zeros((1, size), zero.dtype))], axis=0)
    x = _directed(b, inputs, loop)
    out = b.emit("GRU", [x, states[0], kernel, recurrent_kernel, bias], reset_after=bool(reset_after))
    return _results(out, loop)


def _plain_recurrent(x: Any, mask: Any, dropout: Any, activation: Any, recurrent: Any, loop: dict[str, Any]) -> bool:
    """Whether a recurrent layer is the standard one: tanh and sigmoid, no mask, no dropout, float32."""
    return (
        mask is None
        and not any(d is not None for d in dropout)
        and _is(activation, "tanh")
        and _is(recurrent, "sigmoid")
        and not loop.get("unroll")
        and isinstance(x, Value)
        and x.dtype == np.float32
    )
