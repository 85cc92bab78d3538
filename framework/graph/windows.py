"""Rules for primitives of jax that slide a window: convolutions and pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.graph.builder import Builder
from lamina.graph.dims import Dims
from lamina.graph.ir import Value, is_floating
from lamina.graph.lower import primitive
from lamina.graph.primitives import reshape, scalar, slice_, transpose


@primitive("conv_general_dilated")
def _conv(b: Builder, params: Any, avals: Any, x: Value, kernel: Value) -> Any:
    numbers, groups = params["dimension_numbers"], int(params["feature_group_count"])
    dims = len(params["window_strides"])
    if params["batch_group_count"] != 1 or not 1 <= dims <= 3:
        return NotImplemented
    n, c, *space = numbers.lhs_spec
    o, i, *taps = numbers.rhs_spec
    x = transpose(b, x, [n, *space, c])
    kernel = transpose(b, kernel, [*taps, i, o])
    pads = tuple((int(lo), int(hi)) for lo, hi in params["padding"])
    strides, dilations = tuple(map(int, params["window_strides"])), tuple(map(int, params["rhs_dilation"]))
    spread = tuple(map(int, params["lhs_dilation"]))
    if any(s != 1 for s in spread):
        if groups != 1 or any(s != 1 for s in strides):
            return NotImplemented
        y = _transposed(b, x, kernel, spread, pads, dilations)
    else:
        y = conv(b, x, kernel, strides, pads, dilations, groups)
    back = list(numbers.out_spec)
    return transpose(b, y, [[0, dims + 1, *range(1, dims + 1)][back.index(a)] for a in range(dims + 2)])


def _transposed(b: Builder, x: Value, kernel: Value, strides: Any, pads: Any, dilations: Any) -> Value:
    dims = len(strides)
    flipped = transpose(b, b.emit("Reverse", [kernel], axes=tuple(range(dims))), [*range(dims), dims + 1, dims])
    reach = [(int(k) - 1) * d for k, d in zip(kernel.shape, dilations, strict=False)]
    cut = tuple((r - lo, r - hi) for r, (lo, hi) in zip(reach, pads, strict=True))
    return b.emit("ConvTranspose", [x, flipped], strides=strides, pads=cut, dilations=dilations)


def conv(b: Builder, x: Value, kernel: Value, strides: Any, pads: Any, dilations: Any, groups: int) -> Value:
    """A convolution; one group a channel makes it depthwise. Negative padding is cut from the input."""
    start = [0, *(max(-lo, 0) for lo, _ in pads), 0]
    stop = [d if not cut else d - cut for d, cut in zip(x.shape, [0, *(max(-hi, 0) for _, hi in pads), 0], strict=True)]
    x = slice_(b, x, start, stop)
    pads = tuple((max(lo, 0), max(hi, 0)) for lo, hi in pads)
    if groups > 1 and groups == x.shape[-1]:
        *space, _, out = kernel.shape
        kernel = reshape(b, kernel, [*space, groups, int(out) // groups])
        return b.emit("DepthwiseConv", [x, kernel], strides=strides, pads=pads, dilations=dilations)
    return b.emit("Conv", [x, kernel], strides=strides, pads=pads, dilations=dilations, groups=groups)


def _pool(b: Builder, params: Any, x: Value, op: str) -> Any:
    """Pooling over the axes of space, if the window is no larger than one elsewhere."""
    window, strides = tuple(params["window_dimensions"]), tuple(params["window_strides"])
    pads = tuple((int(lo), int(hi)) for lo, hi in params["padding"])
    plain = all(d == 1 for d in (*params.get("base_dilation", ()), *params.get("window_dilation", ())))
    rank = len(window)
    used = [i for i in range(rank) if window[i] != 1 or strides[i] != 1 or any(pads[i])]
    if not plain or rank < 3 or rank > 5 or 0 in used or len(used) > 3:
        return NotImplemented
    first = rank - 1 in used and 1 not in used  # channels in axis 1
    if rank - 1 in used and not first:
        return NotImplemented
    order = [0, *range(2, rank), 1] if first else list(range(rank))
    space = order[1:-1]
    x = transpose(b, x, order)
    attributes: dict[str, Any] = {
        "window": tuple(int(window[i]) for i in space),
        "strides": tuple(int(strides[i]) for i in space),
        "pads": tuple(pads[i] for i in space),
    }
    y = b.emit(op, [x], **attributes)
    return transpose(b, y, np.argsort(order))


@primitive("reduce_window_max")
def _max_pool(b: Builder, params: Any, avals: Any, x: Value) -> Any:
    return _pool(b, params, x, "MaxPool")


@primitive("reduce_window_min")
def _min_pool(b: Builder, params: Any, avals: Any, x: Value) -> Any:
    if not is_floating(x.dtype):
        return NotImplemented
    out = _pool(b, params, b.emit("Neg", [x]), "MaxPool")
    return out if out is NotImplemented else b.emit("Neg", [out])


@primitive("reduce_window_sum")
def _sum_pool(b: Builder, params: Any, avals: Any, x: Value) -> Any:
    pads = tuple(params["padding"])
    if any(lo or hi for lo, hi in pads):
        zero = scalar(b, 0, x.dtype)
        low, high = Dims(int(lo) for lo, _ in pads), Dims(int(hi) for _, hi in pads)
        x = b.emit("Pad", [x, zero], low=low, high=high)
        params = {**params, "padding": ((0, 0),) * len(pads)}
    out = _pool(b, params, x, "AveragePool")
    if out is NotImplemented:
        return out
    return b.emit("Mul", [out, scalar(b, int(np.prod(params["window_dimensions"])), x.dtype)])
