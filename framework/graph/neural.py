"""Ops of the table that networks are made of: products, convolutions, pooling, normalisation, recurrent layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lamina.graph.opset import op
from lamina.ops import quantize

Pads = Sequence[tuple[int, int]]


@op("MatMul")
def matmul(x: Any, y: Any) -> Any:
    """The matrix product of the last two axes; those in front broadcast. Float32 is the least that is summed in."""
    return jnp.matmul(x, y)


@op("Conv")
def conv(
    x: Any,
    kernel: Any,
    bias: Any = None,
    *,
    strides: Any,
    pads: Pads,
    dilations: Any,
    groups: int = 1,
    activation: str = "none",
) -> Any:
    """The convolution of x (batch, *space, in) with a kernel (*space, in / groups, out); 1 to 3 spatial axes."""
    y = _conv(x, kernel, strides, pads, dilations, (1,) * len(strides), groups)
    return _activated(y if bias is None else y + bias, activation)


@op("DepthwiseConv")
def depthwise_conv(
    x: Any, kernel: Any, bias: Any = None, *, strides: Any, pads: Pads, dilations: Any, activation: str = "none"
) -> Any:
    """The convolution of each channel of x by itself; the kernel is (*space, channels, multiplier)."""
    *space, channels, multiplier = kernel.shape
    flat = lax.reshape(kernel, (*space, 1, channels * multiplier))
    y = _conv(x, flat, strides, pads, dilations, (1,) * len(strides), channels)
    return _activated(y if bias is None else y + bias, activation)


@op("ConvTranspose")
def conv_transpose(
    x: Any, kernel: Any, bias: Any = None, *, strides: Any, pads: Pads, dilations: Any, activation: str = "none"
) -> Any:
    """The transposed convolution: x (batch, *space, in), kernel (*space, out, in).

    `pads` is cut from the full result, as an ordinary convolution would pad its input: negative numbers add zeros.
    """
    dims = len(strides)
    reach = [(k - 1) * d for k, d in zip(kernel.shape, dilations, strict=False)]
    inside = [(r - lo, r - hi) for r, (lo, hi) in zip(reach, pads, strict=True)]
    flipped = jnp.swapaxes(lax.rev(kernel, range(dims)), -1, -2)
    y = _conv(x, flipped, (1,) * dims, inside, dilations, strides, 1)
    return _activated(y if bias is None else y + bias, activation)


def _activated(y: Any, activation: str) -> Any:
    """`y` behind the activation that is part of an op: "none", "relu" or "relu6"."""
    return {"none": lambda: y, "relu": lambda: jnp.maximum(y, 0), "relu6": lambda: jnp.clip(y, 0, 6)}[activation]()


def _conv(x: Any, kernel: Any, strides: Any, pads: Any, dilations: Any, spread: Any, groups: int) -> Any:
    space = "DHW"[3 - len(strides) :]
    numbers = (f"N{space}C", f"{space}IO", f"N{space}C")
    return lax.conv_general_dilated(
        x, kernel, strides, pads, spread, dilations, dimension_numbers=numbers, feature_group_count=groups
    )


@op("MaxPool")
def max_pool(x: Any, *, window: Sequence[int], strides: Sequence[int], pads: Pads) -> Any:
    """The greatest element of each window of space."""
    low = -np.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
    full, steps, ends = _windows(window, strides, pads)
    return lax.reduce_window(x, np.asarray(low, x.dtype), lax.max, full, steps, ends)


@op("AveragePool")
def average_pool(x: Any, *, window: Sequence[int], strides: Sequence[int], pads: Pads) -> Any:
    """The mean of each window of space, of the part of it that lies inside x."""
    full, steps, ends = _windows(window, strides, pads)
    zero = np.zeros((), x.dtype)
    total = lax.reduce_window(x, zero, lax.add, full, steps, ends)
    if not any(map(any, pads)):
        return total / np.asarray(np.prod(window), x.dtype)
    count = lax.reduce_window(jnp.ones((1, *x.shape[1:-1], 1), x.dtype), zero, lax.add, full, steps, ends)
    return total / count


def _windows(window: Sequence[int], strides: Sequence[int], pads: Pads) -> tuple:
    return (1, *window, 1), (1, *strides, 1), ((0, 0), *pads, (0, 0))


@op("Resize")
def resize(x: Any, *, size: Sequence[int], method: str) -> Any:
    """Images (batch, height, width, channels) in another size: `"nearest"` or `"bilinear"`, pixels as areas."""
    return jax.image.resize(x, (x.shape[0], *size, x.shape[-1]), method, antialias=False)


@op("Softmax")
def softmax(x: Any, *, axis: int) -> Any:
    """exp(x) scaled to sum to 1 along an axis."""
    e = jnp.exp(x - jnp.max(x, axis, keepdims=True))
    return e / jnp.sum(e, axis, keepdims=True)


@op("LogSoftmax")
def log_softmax(x: Any, *, axis: int) -> Any:
    """The logarithm of the softmax along an axis."""
    x = x - jnp.max(x, axis, keepdims=True)
    return x - jnp.log(jnp.sum(jnp.exp(x), axis, keepdims=True))


@op("BatchNorm")
def batch_norm(x: Any, mean: Any, variance: Any, scale: Any, offset: Any, *, epsilon: float) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset, a value of each for every channel of the last axis."""
    factor = scale * lax.rsqrt(variance + jnp.asarray(epsilon, variance.dtype))
    return x * factor + (offset - mean * factor)


@op("LayerNorm")
def layer_norm(x: Any, scale: Any, offset: Any, *, axes: Sequence[int], epsilon: float) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset, mean and variance over the axes."""
    centred = x - jnp.mean(x, tuple(axes), keepdims=True)
    variance = jnp.mean(jnp.square(centred), tuple(axes), keepdims=True)
    return centred * lax.rsqrt(variance + jnp.asarray(epsilon, x.dtype)) * scale + offset


@op("L2Normalize")
def l2_normalize(x: Any, *, axes: Sequence[int], epsilon: float) -> Any:
    """x / sqrt(max(sum(x**2), epsilon)), the sum over the axes."""
    squared = jnp.sum(jnp.square(x), tuple(axes), keepdims=True)
    return x * lax.rsqrt(jnp.maximum(squared, jnp.asarray(epsilon, x.dtype)))


@op("FakeQuant")
def fake_quant(x: Any, low: Any, high: Any, *, bits: int = 8, narrow: bool = False) -> Any:
    """X rounded to the nearest of 2**bits numbers between the limits, which broadcast; 0 is one of the numbers."""
    return quantize.fake_quant(x, low, high, bits, narrow)


@op("LSTM")
def lstm(x: Any, h: Any, c: Any, kernel: Any, recurrent_kernel: Any, bias: Any) -> Any:
    """Long short-term memory over x (batch, time, features); gates i, f, g, o side by side in the weights.

    Gives the outputs of all steps, the last state h and the last cell c.
    """

    def step(states: Any, row: Any) -> Any:
        h, c = states
        i, f, g, o = jnp.split(row @ kernel + h @ recurrent_kernel + bias, 4, axis=-1)
        c = lax.logistic(f) * c + lax.logistic(i) * jnp.tanh(g)
        h = lax.logistic(o) * jnp.tanh(c)
        return (h, c), h

    (h, c), rows = lax.scan(step, (h, c), jnp.swapaxes(x, 0, 1))
    return [jnp.swapaxes(rows, 0, 1), h, c]


@op("GRU")
def gru(x: Any, h: Any, kernel: Any, recurrent_kernel: Any, bias: Any, *, reset_after: bool) -> Any:
    """Gated recurrent units over x (batch, time, features); gates z, r, h side by side in the weights.

    The bias has two rows, for the input and for the state; without `reset_after` the second is 0.
    Gives the outputs of all steps and the last state.
    """
    units = h.shape[-1]

    def step(h: Any, row: Any) -> Any:
        x_z, x_r, x_h = jnp.split(row @ kernel + bias[0], 3, axis=-1)
        if reset_after:
            h_z, h_r, h_h = jnp.split(h @ recurrent_kernel + bias[1], 3, axis=-1)
            z, r = lax.logistic(x_z + h_z), lax.logistic(x_r + h_r)
            candidate = jnp.tanh(x_h + r * h_h)
        else:
            h_z, h_r = jnp.split(h @ recurrent_kernel[:, : 2 * units], 2, axis=-1)
            z, r = lax.logistic(x_z + h_z), lax.logistic(x_r + h_r)
            candidate = jnp.tanh(x_h + (r * h) @ recurrent_kernel[:, 2 * units :])
        h = z * h + (1 - z) * candidate
        return h, h

    h, rows = lax.scan(step, h, jnp.swapaxes(x, 0, 1))
    return [jnp.swapaxes(rows, 0, 1), h]


@op("If")
def if_(condition: Any, *operands: Any, then: Callable[..., Any], orelse: Callable[..., Any]) -> Any:
    """The outputs of one of two graphs, both called on the operands."""
    return list(lax.cond(condition, lambda *x: tuple(then(*x)), lambda *x: tuple(orelse(*x)), *operands))


@op("While")
def while_(*operands: Any, carried: int, cond: Callable[..., Any], body: Callable[..., Any]) -> Any:
    """The carried values after a loop: while cond(*operands), the first `carried` operands become body(*operands).

    The other operands stay as they are.
    """
    fixed = operands[carried:]
    return list(
        lax.while_loop(
            lambda state: cond(*state, *fixed)[0], lambda state: tuple(body(*state, *fixed)), operands[:carried]
        )
    )


@op("Scan")
def scan(*operands: Any, carried: int, rows: int, length: int, reverse: bool, body: Callable[..., Any]) -> Any:
    """A loop over the first axis of arrays.

    Operands: `carried` values, then `rows` arrays of which each step takes one row, then values that stay as they are.
    body(*carried, *row, *fixed) gives the new carried values, and a row for each array that is stacked up.
    """
    fixed = operands[carried + rows :]

    def step(state: Any, row: Any) -> Any:
        out = body(*state, *row, *fixed)
        return tuple(out[:carried]), tuple(out[carried:])

    state, stacked = lax.scan(step, operands[:carried], operands[carried : carried + rows], length, reverse)
    return [*state, *stacked]
