"""What ONNX's ops compute: products, convolutions, pooling, normalisation, images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lamina.export.onnx.attributes import Attributes
from lamina.export.onnx.read_math import reads, small, traced
from lamina.export.tensorflow.read_ops import is_known, sizes
from lamina.ops import activation as activations
from lamina.ops.conv import conv, depthwise_conv, same_pads
from lamina.ops.image import resize
from lamina.ops.nn import batch_normalization, layer_normalization
from lamina.ops.pool import average_pool, max_pool

FIRST = "channels_first"


@reads("MatMul")
def _matmul(a: Attributes, x: Any, y: Any) -> Any:
    return np.matmul(x, y) if small(x, y) else jnp.matmul(traced(x), traced(y))


@reads("Gemm")
def _gemm(a: Attributes, x: Any, y: Any, bias: Any = None) -> Any:
    x, y = traced(x), traced(y)
    out = jnp.matmul(x.T if a.i("transA", 0) else x, y.T if a.i("transB", 0) else y)
    alpha, beta = a.f("alpha", 1.0), a.f("beta", 1.0)
    out = out if alpha == 1.0 else out * jnp.asarray(alpha, out.dtype)
    if bias is None:
        return out
    return out + (traced(bias) if beta == 1.0 else traced(bias) * jnp.asarray(beta, out.dtype))


@reads("MatMulInteger")
def _matmul_integer(a: Attributes, x: Any, y: Any, x_zero: Any = None, y_zero: Any = None) -> Any:
    x, y = traced(x).astype(np.int32), traced(y).astype(np.int32)
    if x_zero is not None:
        zero = traced(x_zero).astype(np.int32)
        x = x - (zero[..., None] if zero.ndim else zero)
    return jnp.matmul(x, y if y_zero is None else y - traced(y_zero).astype(np.int32))


@reads("Einsum")
def _einsum(a: Attributes, *x: Any) -> Any:
    return jnp.einsum(a.s("equation"), *map(traced, x))


# ---- windows


def _windows(a: Attributes, x: Any, kernel: Sequence[int]) -> tuple[tuple[int, ...], Any, tuple[int, ...]]:
    """Strides, pads and dilations of an op that slides a window."""
    n = len(kernel)
    strides, dilations = a.ints("strides", None) or [1] * n, a.ints("dilations", None) or [1] * n
    flat = a.ints("pads", None) or [0] * 2 * n
    if not len(strides) == len(dilations) == n or len(flat) != 2 * n or x.ndim != n + 2:
        raise ValueError(f"a window of {n} axes does not fit an input of shape {tuple(x.shape)}.")
    if min([*strides, *dilations, *kernel]) < 1:
        raise ValueError("windows, strides and dilations must be at least 1.")
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    word = a.s("auto_pad", "NOTSET")
    if word in ("SAME_UPPER", "SAME_LOWER"):
        pads = [same_pads(int(d), r, s) for d, r, s in zip(x.shape[2:], reach, strides, strict=True)]
        pads = [(hi, lo) for lo, hi in pads] if word == "SAME_LOWER" else pads
    elif word == "VALID":
        pads = [(0, 0)] * n
    else:
        pads = list(zip(flat[:n], flat[n:], strict=True))
    return tuple(strides), tuple(pads), tuple(dilations)


@reads("Conv")
def _conv(a: Attributes, x: Any, kernel: Any, bias: Any = None) -> Any:
    strides, pads, dilations = _windows(a, x, kernel.shape[2:])
    groups, n = a.i("group", 1), kernel.ndim - 2
    taps = tuple(range(2, kernel.ndim))
    x, kernel = traced(x), traced(kernel)
    if groups < 1 or kernel.shape[1] * groups != x.shape[1] or kernel.shape[0] % groups:
        raise ValueError(f"{groups} groups of kernels {kernel.shape} do not fit an input of shape {tuple(x.shape)}.")
    if groups > 1 and kernel.shape[1] == 1:
        split = kernel.reshape((groups, -1, *kernel.shape[2:])).transpose((*range(2, n + 2), 0, 1))
        y = depthwise_conv(x, split, strides, pads, FIRST, dilations)
    else:
        y = conv(x, kernel.transpose((*taps, 1, 0)), strides, pads, FIRST, dilations)
    return y if bias is None else y + _channels(bias, n)


def _channels(value: Any, space: int) -> Any:
    """A number for each channel, as one that broadcasts."""
    return traced(value).reshape((-1,) + (1,) * space)


@reads("ConvTranspose")
def _conv_transpose(a: Attributes, x: Any, kernel: Any, bias: Any = None) -> Any:
    taps, n = [int(d) for d in kernel.shape[2:]], kernel.ndim - 2
    strides, pads, dilations = _windows(a, x, taps)
    extra, wanted = a.ints("output_padding", None) or [0] * n, a.ints("output_shape", None)
    reach = [(k - 1) * d + 1 for k, d in zip(taps, dilations, strict=True)]
    word = a.s("auto_pad", "NOTSET")
    if word.startswith("SAME") and wanted is None:
        wanted = [int(d) * s for d, s in zip(x.shape[2:], strides, strict=True)]
    if wanted is not None:
        total = [
            s * (int(d) - 1) + e + r - w
            for s, d, e, r, w in zip(strides, x.shape[2:], extra, reach, wanted[-n:], strict=True)
        ]
        pads = tuple((t // 2, t - t // 2) if word == "SAME_UPPER" else (t - t // 2, t // 2) for t in total)
    inside = [(r - 1 - lo, r - 1 - hi + e) for r, (lo, hi), e in zip(reach, pads, extra, strict=True)]
    groups = a.i("group", 1)
    if groups < 1 or kernel.shape[0] != x.shape[1] or kernel.shape[0] % groups:
        raise ValueError(f"{groups} groups of kernels {kernel.shape} do not fit an input of shape {tuple(x.shape)}.")
    flipped = jnp.flip(traced(kernel), range(2, n + 2))  # (in, out / groups, *taps)
    split = flipped.reshape((groups, -1, *flipped.shape[1:]))
    merged = jnp.moveaxis(split, 1, 2).reshape((-1, flipped.shape[0] // groups, *flipped.shape[2:]))
    space = "DHW"[3 - n :]
    y = lax.conv_general_dilated(
        traced(x), merged, (1,) * n, inside, strides, dilations, feature_group_count=groups,
        dimension_numbers=(f"NC{space}", f"OI{space}", f"NC{space}"),
    )  # fmt: skip
    return y if bias is None else y + _channels(bias, n)


def _pool_windows(a: Attributes, x: Any) -> tuple[list[int], Any, Any, Any, list[int]]:
    """The window of a pool; its last element is what is added behind so that the last window is whole."""
    window = a.ints("kernel_shape")
    strides, pads, dilations = _windows(a, x, window)
    more = [0] * len(window)
    if a.i("ceil_mode", 0):
        for i, (k, s, (lo, hi), d) in enumerate(zip(window, strides, pads, dilations, strict=True)):
            size, reach = int(x.shape[i + 2]), (k - 1) * d + 1
            count = -(-(size + lo + hi - reach) // s) + 1
            count -= (count - 1) * s >= size + lo  # a window must begin inside
            more[i] = max((count - 1) * s + reach - (size + lo + hi), 0)
    return window, strides, pads, dilations, more


def _reduced(x: Any, start: Any, run: Any, window: Any, strides: Any, pads: Any, dilations: Any) -> Any:
    return lax.reduce_window(
        x, np.asarray(start, x.dtype), run, (1, 1, *window), (1, 1, *strides), ((0, 0), (0, 0), *pads),
        window_dilation=(1, 1, *dilations),
    )  # fmt: skip


@reads("MaxPool")
def _max_pool(a: Attributes, x: Any) -> Any:
    if a.outputs > 1:
        raise ValueError("the places of the greatest elements are not supported.")
    x = traced(x)
    window, strides, pads, dilations, more = _pool_windows(a, x)
    if not any(map(any, pads)) and not any(more) and set(dilations) == {1}:
        return max_pool(x, tuple(window), strides, "valid", FIRST)
    low = -np.inf if jnp.issubdtype(x.dtype, jnp.floating) else np.iinfo(x.dtype).min
    ends = [(lo, hi + m) for (lo, hi), m in zip(pads, more, strict=True)]
    return _reduced(x, low, lax.max, window, strides, ends, dilations)


@reads("AveragePool")
def _average_pool(a: Attributes, x: Any) -> Any:
    x = traced(x)
    window, strides, pads, dilations, more = _pool_windows(a, x)
    if not any(map(any, pads)) and not any(more) and set(dilations) == {1}:
        return average_pool(x, tuple(window), strides, "valid", FIRST)
    ends = [(lo, hi + m) for (lo, hi), m in zip(pads, more, strict=True)]
    total = _reduced(x, 0, lax.add, window, strides, ends, dilations)
    ones = jnp.ones((1, 1, *x.shape[2:]), x.dtype)
    if a.i("count_include_pad", 0):
        ones = jnp.pad(ones, [(0, 0), (0, 0), *pads], constant_values=1)
        ends = [(0, m) for m in more]
    return total / _reduced(ones, 0, lax.add, window, strides, ends, dilations)


@reads("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(a: Attributes, x: Any) -> Any:
    fn = jnp.mean if a.node.op_type == "GlobalAveragePool" else jnp.max
    return fn(traced(x), axis=tuple(range(2, x.ndim)), keepdims=True)


# ---- images


@reads("Resize", "Upsample")
def _resize(a: Attributes, x: Any, *given: Any) -> Any:
    """Each axis by itself: the coordinates of its places in the input, then the elements there or around them."""
    x = traced(x)
    scales, wanted, mode, kind, rounding = _resize_inputs(a, x, given)
    old = [int(d) if i in scales else d for i, d in enumerate(x.shape)]
    whole = set(scales) == {2, 3} and x.ndim == 4 and all(abs(scales[i] * old[i] - wanted[i]) < 1e-3 for i in scales)
    if whole and kind == "half_pixel" and (mode == "linear" or rounding == "round_prefer_ceil"):
        word = "nearest" if mode == "nearest" else "bilinear"
        return resize(x, (wanted[2], wanted[3]), word, data_format=FIRST)
    for axis, scale in scales.items():
        places = _places(kind, wanted[axis], old[axis], scale)
        places = places if mode == "cubic" else np.clip(places, 0, old[axis] - 1)
        if mode == "nearest":
            index = _ROUND[rounding](places)
            x = jnp.take(x, np.clip(index, 0, old[axis] - 1).astype(np.int32), axis)
            continue
        low = np.floor(places)
        total: Any = 0
        for i, weight in _taps(places - low, None if mode == "linear" else a.f("cubic_coeff_a", -0.75)):
            index = np.clip(low + i, 0, old[axis] - 1).astype(np.int32)
            total += jnp.take(x, index, axis) * weight.astype(np.float32).reshape([-1] + [1] * (x.ndim - axis - 1))
        x = total.astype(x.dtype)
    return x


def _taps(t: np.ndarray, a: float | None) -> list[tuple[int, np.ndarray]]:
    """The neighbours of a place at the share `t` between two, with their weights; `a` is that of the cubic kernel."""
    if a is None:
        return [(0, 1 - t), (1, t)]

    def near(d: np.ndarray) -> np.ndarray:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: np.ndarray) -> np.ndarray:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [(-1, far(t + 1)), (0, near(t)), (1, near(1 - t)), (2, far(2 - t))]


def _resize_inputs(
    a: Attributes, x: Any, given: Sequence[Any]
) -> tuple[dict[int, float], dict[int, int], str, str, str]:
    """Scale and new size of each axis that changes, and how places and elements are found."""
    old = a.node.op_type == "Upsample" or a.opset < 11
    mode = a.s("mode", "nearest").replace("bilinear", "linear")
    kind = "asymmetric" if old else a.s("coordinate_transformation_mode", "half_pixel")
    rounding = "floor" if old else a.s("nearest_mode", "round_prefer_floor")
    known = mode in ("nearest", "linear", "cubic") and kind in _KINDS and rounding in _ROUND
    if not known or a.i("antialias", 0) or a.i("exclude_outside", 0):
        raise ValueError(f"resizing by {mode!r} with {kind!r} coordinates is not supported.")
    if old:
        scale, shape = (np.asarray(a.floats("scales"), np.float32) if "scales" in a else given[0]), None
    else:
        padded = [*given, None, None, None]
        scale, shape = padded[1], padded[2]
    axes = a.ints("axes", None) or list(range(x.ndim))
    if shape is not None and np.size(shape):
        new = dict(zip(axes, sizes(shape, "the size of images"), strict=True))
        if a.s("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise ValueError("resizing that keeps the aspect ratio is not supported.")
        changed = [i for i in new if new[i] is not x.shape[i] and str(new[i]) != str(x.shape[i])]
        return {i: int(new[i]) / int(x.shape[i]) for i in changed}, new, mode, kind, rounding
    if scale is None or not is_known(scale):
        raise ValueError("the size of images depends on the values of the inputs, which is not supported.")
    by = dict(zip(axes, (float(s) for s in scale.reshape(-1)), strict=True))
    by = {i: s for i, s in by.items() if s != 1.0}
    return by, {i: math.floor(int(x.shape[i]) * s) for i, s in by.items()}, mode, kind, rounding


_KINDS = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")
_ROUND: dict[str, Any] = {
    "round_prefer_floor": lambda p: np.ceil(p - 0.5),
    "round_prefer_ceil": lambda p: np.floor(p + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _places(kind: str, new: int, old: int, scale: float) -> np.ndarray:
    """Where the places of a resized axis lie in the input."""
    i = np.arange(new, dtype=np.float64)
    if kind == "align_corners":
        return i * (old - 1) / (new - 1) if new > 1 else i * 0.0
    if kind == "asymmetric":
        return i / scale
    if kind == "pytorch_half_pixel" and new == 1:
        return i * 0.0
    places = (i + 0.5) / scale - 0.5
    if kind == "half_pixel_symmetric":
        places += old / 2 * (1 - new / (old * scale))
    return places


# ---- normalisation, and over an axis


@reads("BatchNormalization")
def _batch_norm(a: Attributes, x: Any, scale: Any, offset: Any, mean: Any, variance: Any) -> Any:
    if a.i("training_mode", 0) or a.outputs > 1 and a.opset >= 14:
        raise ValueError("normalisation that still trains is not supported.")
    given = [traced(v) for v in (x, mean, variance)]
    return batch_normalization(
        *given, axis=1, offset=traced(offset), scale=traced(scale), epsilon=a.f("epsilon", 1e-5)
    )  # fmt: skip


@reads("LayerNormalization")
def _layer_norm(a: Attributes, x: Any, scale: Any, offset: Any = None) -> Any:
    axes, epsilon, x = tuple(range(a.i("axis", -1) % x.ndim, x.ndim)), a.f("epsilon", 1e-5), traced(x)
    bias = None if offset is None else traced(offset)
    y = layer_normalization(x, traced(scale), bias, axis=axes, epsilon=epsilon)
    if a.outputs == 1:
        return y
    return [y, jnp.mean(x, axes, keepdims=True), lax.rsqrt(jnp.var(x, axes, keepdims=True) + epsilon)]


@reads("RMSNormalization")
def _rms_norm(a: Attributes, x: Any, scale: Any) -> Any:
    x, axes = traced(x), tuple(range(a.i("axis", -1) % x.ndim, x.ndim))
    return x * lax.rsqrt(jnp.mean(x * x, axes, keepdims=True) + a.f("epsilon", 1e-5)) * traced(scale)


@reads("InstanceNormalization")
def _instance_norm(a: Attributes, x: Any, scale: Any, offset: Any) -> Any:
    return _grouped(traced(x), x.shape[1], a.f("epsilon", 1e-5), scale, offset)


@reads("GroupNormalization")
def _group_norm(a: Attributes, x: Any, scale: Any, offset: Any) -> Any:
    groups = a.i("num_groups")
    if a.opset < 21:  # a weight for each group
        scale, offset = (jnp.repeat(traced(v), x.shape[1] // groups) for v in (scale, offset))
    return _grouped(traced(x), groups, a.f("epsilon", 1e-5), scale, offset)


def _grouped(x: Any, groups: int, epsilon: float, scale: Any, offset: Any) -> Any:
    parts = x.reshape((x.shape[0], groups, x.shape[1] // groups, *x.shape[2:]))
    over = tuple(range(2, parts.ndim))
    centred = parts - jnp.mean(parts, over, keepdims=True)
    parts = centred * lax.rsqrt(jnp.mean(jnp.square(centred), over, keepdims=True) + epsilon)
    return parts.reshape(x.shape) * _channels(scale, x.ndim - 2) + _channels(offset, x.ndim - 2)


@reads("LRN")
def _lrn(a: Attributes, x: Any) -> Any:
    x, size = traced(x), a.i("size")
    low, high = (size - 1) // 2, size // 2
    window, one = (1, size, *[1] * (x.ndim - 2)), (1,) * x.ndim
    pads = [(low, high) if i == 1 else (0, 0) for i in range(x.ndim)]
    total = lax.reduce_window(x * x, np.zeros((), x.dtype), lax.add, window, one, pads)
    return x / (a.f("bias", 1.0) + a.f("alpha", 1e-4) / size * total) ** a.f("beta", 0.75)


@reads("LpNormalization")
def _lp_norm(a: Attributes, x: Any) -> Any:
    x, axis = traced(x), a.i("axis", -1)
    square = a.i("p", 2) == 2
    size = jnp.sum(x * x if square else jnp.abs(x), axis, keepdims=True)
    size = jnp.sqrt(size) if square else size
    return x / jnp.where(size == 0, 1, size)


@reads("Softmax", "LogSoftmax", "Hardmax")
def _softmax(a: Attributes, x: Any) -> Any:
    """Before version 13 over all axes from the given one on."""
    x = traced(x)
    axis = a.i("axis", -1 if a.opset >= 13 else 1) % max(x.ndim, 1)
    fn: Any = {"Softmax": activations.softmax, "LogSoftmax": activations.log_softmax}.get(a.node.op_type, _hardmax)
    if a.opset >= 13 or axis == x.ndim - 1:
        return fn(x, axis)
    flat = x.reshape((math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))
    return fn(flat, -1).reshape(x.shape)


def _hardmax(x: Any, axis: int) -> Any:
    return jax.nn.one_hot(jnp.argmax(x, axis), x.shape[axis], axis=axis, dtype=x.dtype)


@reads("MeanVarianceNormalization")
def _mean_variance(a: Attributes, x: Any) -> Any:
    x, axes = traced(x), tuple(a.ints("axes", [0, 2, 3]))
    centred = x - jnp.mean(x, axes, keepdims=True)
    return centred / (jnp.sqrt(jnp.mean(jnp.square(centred), axes, keepdims=True)) + 1e-9)
