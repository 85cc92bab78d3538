"""Convolutions of 1, 2 and 3 dimensions, and their transposes.

XLA:CPU brings a convolution into the layout of its fast kernel only at the top level of a program: in the body of a
loop, such as a chunk of training steps, the kernel gradient that lax derives runs 20 to 50 times slower
(https://github.com/jax-ml/jax/issues/12868). So on CPU the tangents of a convolution are a primitive of our own, whose
transposes are spelled as convolutions in that layout. The primitive is bilinear and closed under differentiation, so
forward mode, higher derivatives and vmap all work.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from lamina.core import settings
from lamina.core.checks import check_choice, check_ints
from lamina.core.errors import describe
from lamina.ops.convert import Tensor, as_array
from lamina.ops.op import op

Pads = tuple[tuple[int, int], ...]
# Largest kernel, in taps, that a depthwise convolution on CPU spells as one multiply-add a tap.
SHIFTED_TAPS = 25
# Most groups that a convolution on CPU splits into convolutions of their own: 2 to 35 times faster than one grouped.
SPLIT_GROUPS = 32


def _plain(x: jax.Array, w: jax.Array, strides: Any, pads: Any, dilation: Any, spread: Any, groups: int = 1) -> Any:
    """lax' convolution in the layout (batch, *space, channels), (*space, in, out)."""
    space = "DHW"[3 - len(strides) :]
    return lax.conv_general_dilated(
        x,
        w,
        strides,
        pads,
        lhs_dilation=spread,
        rhs_dilation=dilation,
        dimension_numbers=(f"N{space}C", f"{space}IO", f"N{space}C"),
        feature_group_count=groups,
    )


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4, 5))
def convolve(x: jax.Array, w: jax.Array, strides: tuple, pads: Pads, dilation: tuple, spread: tuple) -> jax.Array:
    """y[o] = sum_k x[o * strides + k * dilation - pads] w[k], with `spread` - 1 zeros between elements of `x`.

    Shape:
        x (batch, *space, in), w (*space, in, out) -> (batch, *space, out)
    """
    return _plain(x, w, strides, pads, dilation, spread)


def _convolve_jvp(strides: Any, pads: Any, dilation: Any, spread: Any, primals: Any, tangents: Any) -> tuple:
    x, w = primals
    dx, dw = tangents
    params = {"strides": strides, "pads": pads, "dilation": dilation, "spread": spread}
    rows: Any
    product: Any
    if _columns_pay(w.shape, spread):
        rows, product = functools.partial(_columns, kernel=w.shape[:-2], **params), _columns_product
        x = rows(x)
        y = product(x, w)
    else:
        rows, product = (lambda v: v), functools.partial(conv_p.bind, **params)
        y = convolve(x, w, **params)
    parts = [] if isinstance(dx, SymbolicZero) else [product(rows(dx), w)]
    parts += [] if isinstance(dw, SymbolicZero) else [product(x, dw)]
    return y, sum(parts[1:], parts[0]) if parts else jnp.zeros_like(y)


def _columns_pay(kernel: tuple, spread: tuple) -> bool:
    """Whether a product of matrices, the inputs of each window gathered in a row (im2col), beats the convolution.

    Measured forward and backward in a loop on one core: 1.1 to 2.6 times faster where the outputs are at least twice
    the inputs, or one channel comes in; up to twice slower elsewhere. The rows are kept for the backward pass, so
    they must not be many times the output.
    """
    taps, inputs, outputs = math.prod(kernel[:-2]), kernel[-2], kernel[-1]
    small = taps * inputs <= 8 * outputs
    return small and all(s == 1 for s in spread) and (inputs == 1 or (inputs % 16 == 0 and outputs >= 2 * inputs))


def _columns(x: jax.Array, kernel: tuple, strides: Any, pads: Any, dilation: Any, spread: Any) -> jax.Array:
    """For each window its elements in the last axis."""
    windows = zip(x.shape[1:-1], kernel, strides, pads, dilation, strict=True)
    out = tuple((n + lo + hi - (k - 1) * d - 1) // s + 1 for n, k, s, (lo, hi), d in windows)
    return jnp.concatenate(gather_taps(x, kernel, out, strides, pads, dilation), axis=-1)


def _columns_product(rows: jax.Array, w: jax.Array) -> jax.Array:
    # Two plain matrices: XLA:CPU is twice as slow on the gradients of a product over several axes.
    y = jnp.matmul(rows.reshape(-1, rows.shape[-1]), w.reshape(-1, w.shape[-1]))
    return y.reshape(*rows.shape[:-1], w.shape[-1])


convolve.defjvp(_convolve_jvp, symbolic_zeros=True)

conv_p = Primitive("convolve_tangent")
conv_p.def_impl(jax.jit(_plain, static_argnames=("strides", "pads", "dilation", "spread")))
conv_p.def_abstract_eval(lambda x, w, **params: _out_aval(_plain, x, w, params))
mlir.register_lowering(conv_p, mlir.lower_fun(_plain, multiple_results=False))


def _out_aval(fn: Callable[..., Any], x: Any, w: Any, params: dict) -> Any:
    out = jax.eval_shape(functools.partial(fn, **params), x, w)
    return x.update(shape=out.shape, dtype=out.dtype, weak_type=False)


def _transpose_input(g: Any, x: Any, w: Any, *, strides: Any, pads: Any, dilation: Any, spread: Any) -> Any:
    """The gradient of the input: the cotangent, spread by the strides, convolved with the reversed kernel."""
    back = _backward_pads(x.aval.shape, g.shape, w.shape[:-2], strides, pads, dilation, spread)
    flipped = jnp.swapaxes(jnp.flip(w, range(w.ndim - 2)), -1, -2)
    return conv_p.bind(g, flipped, strides=spread, pads=back, dilation=dilation, spread=strides)


def _backward_pads(x: tuple, g: tuple, kernel: tuple, strides: Any, pads: Any, dilation: Any, spread: Any) -> Pads:
    """The padding with which the reversed kernel takes a cotangent of shape `g` back to an input of shape `x`."""
    back = []
    for i, k in enumerate(kernel):
        reach = (k - 1) * dilation[i]
        lo = reach - pads[i][0]
        back.append((lo, (x[i + 1] - 1) * spread[i] - (g[i + 1] - 1) * strides[i] - lo + reach))
    return tuple(back)


def _transpose_kernel(g: Any, x: Any, w: Any, *, strides: Any, pads: Any, dilation: Any, spread: Any) -> Any:
    """The gradient of the kernel: the input convolved with the cotangent, channels taking the place of the batch."""
    n, o, k = x.shape[1:-1], g.shape[1:-1], w.aval.shape[:-2]
    dims = len(k)
    back = tuple(
        (
            pads[i][0],
            (k[i] - 1) * dilation[i] + (o[i] - 1) * strides[i] - (n[i] - 1) * spread[i] - pads[i][0],
        )
        for i in range(dims)
    )
    space = tuple(range(1, dims + 1))
    dw = conv_p.bind(
        jnp.transpose(x, (dims + 1, *space, 0)),
        jnp.transpose(g, (*space, 0, dims + 1)),
        strides=dilation,
        pads=back,
        dilation=strides,
        spread=spread,
    )
    return jnp.transpose(dw, (*space, 0, dims + 1))


def gather_taps(
    x: Any, k: Sequence[int], o: tuple, strides: Any, pads: Any, dilation: Any, spread: Any = (1, 1, 1)
) -> list[Any]:
    """For each tap of the kernel the part of the input that it meets, in the shape of the output."""
    borders = [(lo, hi, between - 1) for (lo, hi), between in zip(pads, spread, strict=False)]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *borders, (0, 0, 0)])
    parts = []
    for tap in range(math.prod(k)):
        at: list[int] = []
        for size in reversed(k):
            at.insert(0, tap % size)
            tap //= size
        start = [i * d for i, d in zip(at, dilation, strict=True)]
        stop = [a + (n - 1) * s + 1 for a, n, s in zip(start, o, strides, strict=True)]
        parts.append(lax.slice(x, [0, *start, 0], [x.shape[0], *stop, x.shape[-1]], [1, *strides, 1]))
    return parts


ad.defbilinear(conv_p, _transpose_input, _transpose_kernel)


def _batch_rule(arrays: Any, axes: Any, **params: Any) -> tuple:
    x, w = arrays
    x_axis, w_axis = axes
    if w_axis is None:  # the mapped axis joins the batch
        x = jnp.moveaxis(x, x_axis, 0)
        y = conv_p.bind(x.reshape(-1, *x.shape[2:]), w, **params)
        return y.reshape(*x.shape[:2], *y.shape[1:]), 0
    if x_axis is None:  # the mapped axis joins the output channels
        w = jnp.moveaxis(w, w_axis, -2)
        y = conv_p.bind(x, w.reshape(*w.shape[:-2], -1), **params)
        return y.reshape(*y.shape[:-1], *w.shape[-2:]), y.ndim - 1
    return jax.vmap(functools.partial(_plain, **params), (x_axis, w_axis))(x, w), 0  # type: ignore[call-arg]


batching.primitive_batchers[conv_p] = _batch_rule


def _shifted_sum(x: Any, w: Any, strides: Any, pads: Any, dilation: Any, spread: Any) -> Any:
    """A depthwise convolution as one multiply-add of shifted inputs a tap: x (batch, *space, c), w (*space, c)."""
    sizes = zip(x.shape[1:-1], w.shape, strides, pads, dilation, spread, strict=False)
    out = tuple(((n - 1) * b + lo + hi - (k - 1) * d) // s + 1 for n, k, s, (lo, hi), d, b in sizes)
    parts = gather_taps(x, w.shape[:-1], out, strides, pads, dilation, spread)
    return sum(part * row for part, row in zip(parts, w.reshape(-1, w.shape[-1]), strict=True))


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
def _convolve_depthwise(x: jax.Array, w: jax.Array, strides: tuple, pads: Pads, dilation: tuple) -> jax.Array:
    """The shifted sum, whose input's gradient is a shifted sum too: 5 times faster than that of the slices."""
    return _shifted_sum(x, w, strides, pads, dilation, (1,) * len(strides))


def _convolve_depthwise_jvp(strides: Any, pads: Any, dilation: Any, primals: Any, tangents: Any) -> tuple:
    (x, w), (dx, dw) = primals, tangents
    params = {"strides": strides, "pads": pads, "dilation": dilation, "spread": (1,) * len(strides)}
    y = _convolve_depthwise(x, w, strides, pads, dilation)
    parts = [] if isinstance(dx, SymbolicZero) else [depthwise_p.bind(dx, w, **params)]
    parts += [] if isinstance(dw, SymbolicZero) else [depthwise_p.bind(x, dw, **params)]
    return y, sum(parts[1:], parts[0]) if parts else jnp.zeros_like(y)


_convolve_depthwise.defjvp(_convolve_depthwise_jvp, symbolic_zeros=True)

depthwise_p = Primitive("convolve_depthwise_tangent")
depthwise_p.def_impl(jax.jit(_shifted_sum, static_argnames=("strides", "pads", "dilation", "spread")))
depthwise_p.def_abstract_eval(lambda x, w, **params: _out_aval(_shifted_sum, x, w, params))
mlir.register_lowering(depthwise_p, mlir.lower_fun(_shifted_sum, multiple_results=False))


def _transpose_depthwise_input(g: Any, x: Any, w: Any, *, strides: Any, pads: Any, dilation: Any, spread: Any) -> Any:
    back = _backward_pads(x.aval.shape, g.shape, w.shape[:-1], strides, pads, dilation, spread)
    flipped = jnp.flip(w, range(w.ndim - 1))
    return depthwise_p.bind(g, flipped, strides=spread, pads=back, dilation=dilation, spread=strides)


def _transpose_depthwise_kernel(g: Any, x: Any, w: Any, **params: Any) -> Any:
    shape, over = w.aval.shape, tuple(range(g.ndim - 1))
    parts = gather_taps(x, shape[:-1], g.shape[1:-1], **params)
    return jnp.stack([jnp.sum(part * g, over) for part in parts]).reshape(shape)


ad.defbilinear(depthwise_p, _transpose_depthwise_input, _transpose_depthwise_kernel)


def _batch_depthwise(arrays: Any, axes: Any, **params: Any) -> tuple:
    x, w = arrays
    if axes[1] is not None:
        return jax.vmap(functools.partial(_shifted_sum, **params), axes)(x, w), 0  # type: ignore[call-arg]
    x = jnp.moveaxis(x, axes[0], 0)
    y = depthwise_p.bind(x.reshape(-1, *x.shape[2:]), w, **params)
    return y.reshape(*x.shape[:2], *y.shape[1:]), 0


batching.primitive_batchers[depthwise_p] = _batch_depthwise


def layout(name: str, data_format: str | None) -> str:
    """The data format of a call: the given one, or the global default."""
    if data_format is None:
        return settings.image_data_format()
    return check_choice(f"ops.{name}", "data_format", data_format, ["channels_last", "channels_first"])


def to_last(x: jax.Array, data_format: str) -> jax.Array:
    """`x` with its channels in the last axis."""
    return jnp.moveaxis(x, 1, -1) if data_format == "channels_first" else x


def from_last(x: jax.Array, data_format: str) -> jax.Array:
    """`x`, whose channels are in the last axis, in a data format."""
    return jnp.moveaxis(x, -1, 1) if data_format == "channels_first" else x


def same_pads(size: int, window: int, stride: int) -> tuple[int, int]:
    """The padding that gives ceil(size / stride) windows, the odd element behind."""
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def pads_of(name: str, padding: Any, sizes: Sequence[int], windows: Sequence[int], strides: Sequence[int]) -> Pads:
    """Explicit padding from a word or a sequence of pairs."""
    if not isinstance(padding, str):
        return tuple((int(lo), int(hi)) for lo, hi in padding)
    padding = padding.lower()
    check_choice(f"ops.{name}", "padding", padding, ["valid", "same", "causal"])
    if padding == "valid":
        return ((0, 0),) * len(sizes)
    if padding == "causal":
        if len(sizes) != 1:
            raise ValueError(f"ops.{name}: padding='causal' needs one spatial axis, got {len(sizes)}.")
        return ((windows[0] - 1, 0),)
    return tuple(same_pads(*args) for args in zip(sizes, windows, strides, strict=True))


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def _prepare(name: str, inputs: Tensor, kernel: Tensor, data_format: str | None) -> tuple[jax.Array, jax.Array, str]:
    kernel = as_array(kernel)
    inputs = as_array(inputs)
    format_ = layout(name, data_format)
    if inputs.ndim not in (3, 4, 5) or kernel.ndim != inputs.ndim:
        raise ValueError(
            f"ops.{name}: inputs must have 3, 4 or 5 axes (batch, one to three of space, channels) and kernel as many, "
            f"got {describe(inputs)} and {describe(kernel)}."
        )
    return to_last(inputs.astype(kernel.dtype), format_), kernel, format_


def _check_output(name: str, y: jax.Array, x: jax.Array, kernel: jax.Array) -> None:
    if 0 in y.shape[1:-1] and 0 not in x.shape:
        raise ValueError(
            f"ops.{name}: the output would be empty: the input of spatial shape {x.shape[1:-1]} is too small for a "
            f"kernel of shape {kernel.shape[:-2]} with these strides, dilation and padding."
        )


@op(named=True)
def conv(
    inputs: Tensor,
    kernel: Tensor,
    strides: Any = 1,
    padding: Any = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> jax.Array:
    """The convolution over one, two or three spatial axes.

    Shape:
        inputs (batch, *space, channels), kernel (*kernel size, channels / groups, filters) -> (batch, *space, filters)

    Args:
        inputs: an array.
        kernel: if it has fewer input channels than `inputs`, these form groups that are convolved apart.
        strides: the distance of two windows, one number or one a spatial axis.
        padding: `"valid"`, `"same"`, `"causal"` (one axis: no output sees later inputs), or (before, after) pairs.
        data_format: `"channels_last"` or `"channels_first"`; the global default if None.
        dilation_rate: the distance of two taps of the kernel.

    Example:
        >>> conv(jnp.ones((1, 5, 5, 1)), jnp.ones((3, 3, 1, 2)), padding="same").shape
        (1, 5, 5, 2)
    """
    x, w, format_ = _prepare("conv", inputs, kernel, data_format)
    dims = x.ndim - 2
    strides = check_ints("ops.conv", "strides", strides, dims, 1)
    dilation = check_ints("ops.conv", "dilation_rate", dilation_rate, dims, 1)
    if x.shape[-1] % w.shape[-2]:
        raise ValueError(
            f"ops.conv: the {x.shape[-1]} channels of the input must be a multiple of the kernel's input channels, got "
            f"a kernel of shape {w.shape}."
        )
    groups = x.shape[-1] // w.shape[-2]
    windows = [(k - 1) * d + 1 for k, d in zip(w.shape, dilation, strict=False)]
    pads = pads_of("conv", padding, x.shape[1:-1], windows, strides)
    if groups == 1 and math.prod(w.shape[:dims]) == 1 and not any(map(any, pads)):
        # One tap: a product of matrices.
        x = lax.slice(x, [0] * x.ndim, x.shape, [1, *strides, 1])
        y = _columns_product(x, w)
    elif 1 < groups == x.shape[-1]:
        y = _depthwise(x, w.reshape(*w.shape[:dims], groups, -1), strides, pads, dilation)
    elif groups <= SPLIT_GROUPS and _on_cpu():
        xs, ws = jnp.split(x, groups, -1), jnp.split(w, groups, -1)
        spread = (1,) * dims
        y = jnp.concatenate([convolve(*xw, strides, pads, dilation, spread) for xw in zip(xs, ws, strict=True)], -1)
    else:
        y = _plain(x, w, strides, pads, dilation, (1,) * dims, groups)
    _check_output("conv", y, x, w)
    return from_last(y, format_)


@op(named=True)
def depthwise_conv(
    inputs: Tensor,
    kernel: Tensor,
    strides: Any = 1,
    padding: Any = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> jax.Array:
    """The convolution of each channel by itself.

    Shape:
        inputs (batch, *space, channels), kernel (*kernel size, channels, multiplier)
        -> (batch, *space, channels * multiplier)

    Args:
        inputs: an array.
        kernel: `multiplier` filters for each channel.
        strides: the distance of two windows.
        padding: `"valid"`, `"same"`, or (before, after) pairs.
        data_format: `"channels_last"` or `"channels_first"`; the global default if None.
        dilation_rate: the distance of two taps of the kernel.

    Example:
        >>> depthwise_conv(jnp.ones((1, 5, 5, 3)), jnp.ones((3, 3, 3, 2))).shape
        (1, 3, 3, 6)
    """
    x, w, format_ = _prepare("depthwise_conv", inputs, kernel, data_format)
    dims = x.ndim - 2
    strides = check_ints("ops.depthwise_conv", "strides", strides, dims, 1)
    dilation = check_ints("ops.depthwise_conv", "dilation_rate", dilation_rate, dims, 1)
    channels, multiplier = w.shape[-2:]
    if x.shape[-1] != channels:
        raise ValueError(
            f"ops.depthwise_conv: kernel of shape {w.shape} is for {channels} channels, got an input of shape "
            f"{inputs.shape}."
        )
    windows = [(k - 1) * d + 1 for k, d in zip(w.shape, dilation, strict=False)]
    pads = pads_of("depthwise_conv", padding, x.shape[1:-1], windows, strides)
    y = _depthwise(x, w, strides, pads, dilation)
    _check_output("depthwise_conv", y, x, w)
    return from_last(y, format_)


def _depthwise(x: jax.Array, w: jax.Array, strides: tuple, pads: Pads, dilation: tuple) -> jax.Array:
    """Each channel of `x` convolved with its filters in `w` (*space, channels, multiplier)."""
    *kernel, channels, multiplier = w.shape
    taps = math.prod(kernel)
    sizes = zip(x.shape[1:-1], kernel, strides, pads, dilation, strict=True)
    out = tuple((n + lo + hi - (k - 1) * d - 1) // s + 1 for n, k, s, (lo, hi), d in sizes)
    if _on_cpu() and taps <= SHIFTED_TAPS and all(n > 0 for n in out):
        # XLA:CPU has no fast grouped convolution.
        each = [_convolve_depthwise(x, w[..., m], strides, pads, dilation) for m in range(multiplier)]
        return each[0] if multiplier == 1 else jnp.stack(each, -1).reshape(*each[0].shape[:-1], -1)
    flat = w.reshape(*kernel, 1, channels * multiplier)
    return _plain(x, flat, strides, pads, dilation, (1,) * len(kernel), channels)


@op(named=True)
def separable_conv(
    inputs: Tensor,
    depthwise_kernel: Tensor,
    pointwise_kernel: Tensor,
    strides: Any = 1,
    padding: Any = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> jax.Array:
    """A depthwise convolution, then a convolution with one tap that mixes the channels.

    Args:
        inputs: an array.
        depthwise_kernel: (*kernel size, channels, multiplier).
        pointwise_kernel: (*ones, channels * multiplier, filters).
        strides: the distance of two windows.
        padding: `"valid"`, `"same"`, or (before, after) pairs.
        data_format: `"channels_last"` or `"channels_first"`; the global default if None.
        dilation_rate: the distance of two taps of the kernel.

    Example:
        >>> separable_conv(jnp.ones((1, 5, 3)), jnp.ones((3, 3, 2)), jnp.ones((1, 6, 4))).shape
        (1, 3, 4)
    """
    x = depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate)
    return conv(x, pointwise_kernel, data_format=data_format)


@op(named=True)
def conv_transpose(
    inputs: Tensor,
    kernel: Tensor,
    strides: Any = 1,
    padding: str = "valid",
    output_padding: Any = None,
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> jax.Array:
    """The transpose of a convolution: what its gradient does to the input, as a map that grows space.

    Shape:
        inputs (batch, *space, channels), kernel (*kernel size, filters, channels) -> (batch, *space, filters)

    Args:
        inputs: an array.
        kernel: note the order of its last two axes.
        strides: the factor by which space grows.
        padding: `"valid"` or `"same"`.
        output_padding: elements added behind each spatial axis; None makes `"same"` give exactly size * strides.
        data_format: `"channels_last"` or `"channels_first"`; the global default if None.
        dilation_rate: the distance of two taps of the kernel.

    Example:
        >>> conv_transpose(jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 5, 2)), strides=2, padding="same").shape
        (1, 8, 8, 5)
    """
    x, w, format_ = _prepare("conv_transpose", inputs, kernel, data_format)
    dims = x.ndim - 2
    strides = check_ints("ops.conv_transpose", "strides", strides, dims, 1)
    dilation = check_ints("ops.conv_transpose", "dilation_rate", dilation_rate, dims, 1)
    padding = check_choice("ops.conv_transpose", "padding", padding.lower(), ["valid", "same"])
    if x.shape[-1] != w.shape[-1]:
        raise ValueError(
            f"ops.conv_transpose: the last axis of kernel must be the {x.shape[-1]} channels of the input, got "
            f"a kernel of shape {w.shape}."
        )
    extra: Sequence[int | None] = (None,) * dims
    if output_padding is not None:
        extra = check_ints("ops.conv_transpose", "output_padding", output_padding, dims, 0)
    windows = [(k - 1) * d + 1 for k, d in zip(w.shape, dilation, strict=False)]
    pads = tuple(_transpose_pads(*args, padding) for args in zip(windows, strides, extra, strict=True))
    w = jnp.swapaxes(jnp.flip(w, range(dims)), -1, -2)
    run = convolve if _on_cpu() else _plain
    return from_last(run(x, w, (1,) * dims, pads, dilation, strides), format_)


def _transpose_pads(window: int, stride: int, extra: int | None, padding: str) -> tuple[int, int]:
    """The padding of the spread input, so that the output has the length that Keras documents.

    valid: (n - 1) * stride + window + extra, where extra defaults to fill up to the stride;
    same: n * stride, or (n - 1) * stride + window % 2 + extra.
    """
    if padding == "valid":
        extra = max(window, stride) - window if extra is None else extra
        return window - 1, window - 1 + extra
    total = stride + window - 2 if extra is None else window + window % 2 - 2 + extra
    before = min((total + 1) // 2, window - 1)
    return before, total - before
