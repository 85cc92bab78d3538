"""Building blocks of networks: normalisation, attention, encodings, the functions inside losses."""

from __future__ import annotations

import math
import sys
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import settings
from lamina.core.errors import describe
from lamina.ops.convert import Tensor, as_array, as_float, narrow
from lamina.ops.op import op


def __getattr__(name: str) -> Any:
    """Keras has activations, convolutions and pooling here too: `ops.nn.relu` is `ops.relu`."""
    found = None if name.startswith("_") else getattr(sys.modules["lamina.ops"], name, None)
    if not callable(found):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found


def _wide(x: jax.Array) -> jax.Array:
    """`x` in at least float32, for sums of squares."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


@op(named=True)
def batch_normalization(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    axis: int,
    offset: Tensor = None,
    scale: Tensor = None,
    epsilon: float = 1e-3,
) -> jax.Array:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset, with one value of each for every place of `axis`.

    Args:
        x: an array.
        mean: a vector, as long as the axis.
        variance: likewise.
        axis: the axis that the vectors belong to, as a rule that of the channels.
        offset: a vector, or None for 0.
        scale: a vector, or None for 1.
        epsilon: what keeps the division finite.

    Example:
        >>> batch_normalization([[3.0]], [1.0], [4.0], axis=-1, epsilon=0.0).tolist()
        [[1.0]]
    """
    x = as_float(x)
    shape = [1] * x.ndim
    shape[axis] = -1
    factor = jax.lax.rsqrt(as_array(variance) + epsilon)
    if scale is not None:
        factor = factor * as_array(scale)
    # Two vectors are made ready first, so that each element costs one multiply-add.
    shift = -as_array(mean) * factor
    if offset is not None:
        shift = shift + as_array(offset)
    return x * factor.reshape(shape) + shift.reshape(shape)


@op(named=True)
def layer_normalization(
    x: Tensor,
    gamma: Tensor = None,
    beta: Tensor = None,
    axis: Any = -1,
    epsilon: float | None = None,
    rms_scaling: bool = False,
) -> jax.Array:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, with mean and variance over the axes.

    Args:
        x: an array.
        gamma: scales in the shape of the axes, or None for 1.
        beta: offsets in the shape of the axes, or None for 0.
        axis: one axis or several.
        epsilon: what keeps the division finite; the global one if None.
        rms_scaling: whether the mean is not subtracted, and `beta` not added.

    Example:
        >>> layer_normalization([1.0, 3.0], epsilon=0.0).tolist()
        [-1.0, 1.0]
    """
    x = as_float(x)
    wide = _wide(x)
    axes = sorted(a % x.ndim for a in (axis if isinstance(axis, (list, tuple)) else [axis]))
    shape = [x.shape[a] if a in axes else 1 for a in range(x.ndim)]
    epsilon = settings.epsilon() if epsilon is None else epsilon

    def broadcast(v: Tensor) -> jax.Array:
        v = as_array(v).astype(wide.dtype)
        return v if v.ndim == x.ndim else v.reshape(shape)

    mean = jnp.mean(wide, tuple(axes), keepdims=True)
    centred = wide - mean
    factor = jax.lax.rsqrt(jnp.mean(jnp.square(centred), tuple(axes), keepdims=True) + epsilon)
    result = (wide if rms_scaling else centred) * factor
    if gamma is not None:
        result = result * broadcast(gamma)
    if beta is not None and not rms_scaling:
        result = result + broadcast(beta)
    return result.astype(x.dtype)


@op(named=True)
def rms_normalization(x: Tensor, scale: Tensor = None, axis: Any = -1, epsilon: float | None = None) -> jax.Array:
    """x / sqrt(mean(x**2) + epsilon) * scale, with the mean over the axes.

    Args:
        x: an array.
        scale: factors that broadcast to `x`, or None for 1.
        axis: one axis or several.
        epsilon: what keeps the division finite; the global one if None.

    Example:
        >>> rms_normalization([2.0, -2.0], epsilon=0.0).tolist()
        [1.0, -1.0]

    Reference:
        https://arxiv.org/abs/1910.07467
    """
    x = as_float(x)
    wide = jnp.atleast_1d(_wide(x))
    axes = tuple(axis) if isinstance(axis, (list, tuple)) else axis
    epsilon = settings.epsilon() if epsilon is None else epsilon
    result = wide * jax.lax.rsqrt(jnp.mean(jnp.square(wide), axes, keepdims=True) + epsilon)
    if scale is not None:
        result = result * as_array(scale).astype(wide.dtype)
    return result.astype(x.dtype)


@op(named=True)
def normalize(x: Tensor, axis: Any = -1, order: int = 2, epsilon: float | None = None) -> jax.Array:
    """`x` divided by its norm of the given order over the axes.

    Args:
        x: an array.
        axis: one axis or several.
        order: 1 for the sum of absolute values, 2 for the Euclidean norm, and so on.
        epsilon: the least divisor; the global one if None.

    Example:
        >>> [round(v, 4) for v in normalize([3.0, 4.0]).tolist()]
        [0.6, 0.8]
    """
    if isinstance(order, bool) or not isinstance(order, int) or order < 1:
        raise ValueError(f"ops.normalize: order must be an integer of at least 1, got {describe(order)}.")
    x = jnp.atleast_1d(as_float(x))
    axes = tuple(axis) if isinstance(axis, (list, tuple)) else axis
    epsilon = settings.epsilon() if epsilon is None else epsilon
    if order == 2:
        squared = jnp.sum(jnp.square(x), axes, keepdims=True)
        return x * jax.lax.rsqrt(jnp.maximum(squared, jnp.asarray(epsilon**2, x.dtype)))
    power = jnp.sum(jnp.abs(x) ** order, axes, keepdims=True)
    return x / jnp.maximum(power ** (1 / order), epsilon)


@op(named=True)
def one_hot(x: Tensor, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> jax.Array:
    """A new axis with 1 at the place that each integer names and 0 elsewhere; integers out of range give zeros.

    Args:
        x: integers.
        num_classes: the size of the new axis.
        axis: its place.
        dtype: the dtype of the result, the default float if None.
        sparse: only False: all arrays are dense.

    Example:
        >>> one_hot([0, 2], 3, dtype="int32").tolist()
        [[1, 0, 0], [0, 0, 1]]
    """
    if sparse:
        raise ValueError("ops.one_hot: sparse must be False: all arrays of lamina are dense.")
    return jax.nn.one_hot(as_array(x), num_classes, axis=axis, dtype=narrow(dtype))


@op(named=True)
def multi_hot(
    inputs: Tensor, num_classes: int | None = None, axis: int = -1, dtype: Any = None, sparse: bool = False
) -> jax.Array:
    """1 at each place that one of the integers of the last axis names and 0 elsewhere.

    Args:
        inputs: integers; a first axis is a batch if there are several.
        num_classes: how many classes there are.
        axis: the axis of the classes.
        dtype: the dtype of the result, the default float if None.
        sparse: only False: all arrays are dense.

    Example:
        >>> multi_hot([0, 2], 3, dtype="int32").tolist()
        [1, 0, 1]
    """
    if sparse:
        raise ValueError("ops.multi_hot: sparse must be False: all arrays of lamina are dense.")
    if num_classes is None:
        raise ValueError("ops.multi_hot: num_classes must be an integer, got None.")
    inputs = as_array(inputs).astype("int32")
    hot = jax.nn.one_hot(inputs, num_classes, axis=axis, dtype=narrow(dtype))
    return jnp.max(hot, axis=1 if inputs.ndim > 1 else 0)


def _same_shape(name: str, target: jax.Array, output: jax.Array) -> None:
    if target.shape != output.shape:
        raise ValueError(
            f"ops.{name}: target and output must have the same shape, got {target.shape} and {output.shape}."
        )


def _log_probabilities(output: jax.Array, from_logits: bool, axis: int) -> jax.Array:
    if from_logits:
        return jax.nn.log_softmax(output, axis)
    edge = settings.epsilon()
    return jnp.log(jnp.clip(output / jnp.sum(output, axis, keepdims=True), edge, 1 - edge))


@op(named=True)
def categorical_crossentropy(target: Tensor, output: Tensor, from_logits: bool = False, axis: int = -1) -> jax.Array:
    """-sum(target * log(p)) over the axis of the classes.

    Args:
        target: probabilities, or one-hot classes.
        output: probabilities (scaled to sum to 1 here), or logits.
        from_logits: whether `output` holds logits.
        axis: the axis of the classes.

    Example:
        >>> round(categorical_crossentropy([1.0, 0.0], [0.5, 0.5]).item(), 4)
        0.6931
    """
    target, output = as_array(target), as_float(output)
    _same_shape("categorical_crossentropy", target, output)
    if output.ndim < 1:
        raise ValueError("ops.categorical_crossentropy: target and output must have at least one axis, got none.")
    return -jnp.sum(target * _log_probabilities(output, from_logits, axis), axis)


@op(named=True)
def sparse_categorical_crossentropy(
    target: Tensor, output: Tensor, from_logits: bool = False, axis: int = -1
) -> jax.Array:
    """-log(p) of the class that `target` names; 0 where it names none.

    Args:
        target: integers, in the shape of `output` without the axis of the classes (or with size 1 there).
        output: probabilities (scaled to sum to 1 here), or logits.
        from_logits: whether `output` holds logits.
        axis: the axis of the classes.

    Example:
        >>> round(sparse_categorical_crossentropy(0, [0.5, 0.5]).item(), 4)
        0.6931
    """
    target, output = as_array(target).astype("int32"), as_float(output)
    if target.ndim == output.ndim and target.ndim and target.shape[-1] == 1:
        target = target[..., 0]
    if output.ndim < 1:
        raise ValueError("ops.sparse_categorical_crossentropy: output must have at least one axis, got none.")
    axis %= output.ndim
    expected = output.shape[:axis] + output.shape[axis + 1 :]
    if target.shape != expected:
        raise ValueError(
            f"ops.sparse_categorical_crossentropy: target must have shape {expected} for an output of shape "
            f"{output.shape}, got {target.shape}."
        )
    log_p = _log_probabilities(output, from_logits, axis)
    return -jnp.sum(jax.nn.one_hot(target, output.shape[axis], axis=axis, dtype=log_p.dtype) * log_p, axis)


@op(named=True)
def binary_crossentropy(target: Tensor, output: Tensor, from_logits: bool = False) -> jax.Array:
    """-target * log(p) - (1 - target) * log(1 - p), element by element.

    Args:
        target: probabilities, or 0 and 1.
        output: probabilities, or logits.
        from_logits: whether `output` holds logits.

    Example:
        >>> round(binary_crossentropy([1.0], [0.5]).item(), 4)
        0.6931
    """
    target, output = as_array(target), as_float(output)
    _same_shape("binary_crossentropy", target, output)
    if from_logits:
        return -target * jax.nn.log_sigmoid(output) - (1.0 - target) * jax.nn.log_sigmoid(-output)
    edge = settings.epsilon()
    p = jnp.clip(output, edge, 1.0 - edge)
    return -(target * jnp.log(p) + (1.0 - target) * jnp.log(1.0 - p))


@op(named=True)
def psnr(x1: Tensor, x2: Tensor, max_val: float) -> jax.Array:
    """The peak signal-to-noise ratio in decibels: 20 log10(max_val) - 10 log10(mean((x1 - x2)**2)).

    Example:
        >>> round(psnr([0.0, 1.0], [0.1, 1.1], 1.0).item(), 2)
        20.0
    """
    x1, x2 = as_float(x1), as_float(x2)
    if x1.shape != x2.shape:
        raise ValueError(f"ops.psnr: x1 and x2 must have the same shape, got {x1.shape} and {x2.shape}.")
    peak = jnp.asarray(max_val, x2.dtype)
    return 20 * jnp.log10(peak) - 10 * jnp.log10(jnp.mean(jnp.square(x1 - x2)))


@op(named=True)
def dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor = None,
    mask: Tensor = None,
    scale: float | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> jax.Array:
    """softmax(query key^T * scale + bias) value, head by head.

    Shape:
        query (batch, targets, heads, depth), key (batch, sources, key heads, depth),
        value (batch, sources, key heads, value depth) -> (batch, targets, heads, value depth);
        `heads` is a multiple of `key heads`

    Args:
        query: what looks.
        key: what it is compared with.
        value: what is averaged.
        bias: added to the logits; broadcasts to (batch, heads, targets, sources).
        mask: which sources may be seen; broadcasts likewise.
        scale: the factor of the logits, 1 / sqrt(depth) by default.
        is_causal: whether a target sees only sources up to its own position.
        flash_attention: accepted for compatibility: XLA chooses the kernel.
        attn_logits_soft_cap: a bound that the logits approach smoothly, or None.

    Example:
        >>> x = jnp.ones((1, 2, 1, 4))
        >>> dot_product_attention(x, x, x).shape
        (1, 2, 1, 4)
    """
    query, key, value = as_array(query), as_array(key), as_array(value)
    if not query.ndim == key.ndim == value.ndim == 4:
        raise ValueError(
            "ops.dot_product_attention: query, key and value must have 4 axes (batch, time, heads, depth), got shapes "
            f"{query.shape}, {key.shape} and {value.shape}."
        )
    dtype = jnp.result_type(query, key, value)
    query, key, value = query.astype(dtype), key.astype(dtype), value.astype(dtype)
    batch, targets, heads, depth = query.shape
    groups = key.shape[2]
    if heads % groups or value.shape[2] != groups:
        raise ValueError(
            f"ops.dot_product_attention: the {heads} heads of query must be a multiple of those of key and value, got "
            f"{groups} and {value.shape[2]}."
        )
    if groups != heads:
        key, value = (jnp.repeat(x, heads // groups, axis=2) for x in (key, value))
    wide = jnp.promote_types(dtype, jnp.float32)
    logits = jnp.einsum("bthd,bshd->bhts", query, key, preferred_element_type=wide)
    logits = logits * (1 / math.sqrt(depth) if scale is None else scale)
    if attn_logits_soft_cap is not None:
        logits = jnp.tanh(logits / attn_logits_soft_cap) * attn_logits_soft_cap
    if bias is not None:
        logits = logits + as_array(bias).astype(wide)
    seen = None if mask is None else as_array(mask).astype(bool)
    if is_causal:
        causal = jnp.tril(jnp.ones((targets, key.shape[1]), bool))
        seen = causal if seen is None else seen & causal
    if seen is not None:
        # A large finite number: a row that sees nothing gives the plain mean, not NaN.
        logits = jnp.where(seen, logits, jnp.asarray(-0.7 * jnp.finfo(wide).max, wide))
    weights = jax.nn.softmax(logits, axis=-1).astype(dtype)
    return jnp.einsum("bhts,bshd->bthd", weights, value)


@op(named=True)
def depth_to_space(x: Tensor, block_size: int, data_format: str = "channels_last") -> jax.Array:
    """Channels moved into blocks of block_size x block_size pixels.

    Shape:
        (batch, height, width, channels) -> (batch, height * b, width * b, channels / b**2)

    Example:
        >>> depth_to_space(jnp.ones((1, 2, 3, 8)), 2).shape
        (1, 4, 6, 2)
    """
    x, b = as_array(x), block_size
    if data_format == "channels_first":
        n, c, h, w = x.shape
        x = x.reshape(n, c // b**2, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
        return x.reshape(n, c // b**2, h * b, w * b)
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, b, b, c // b**2).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h * b, w * b, c // b**2)


@op(named=True)
def space_to_depth(x: Tensor, block_size: int, data_format: str = "channels_last") -> jax.Array:
    """Blocks of block_size x block_size pixels moved into channels: the reverse of `depth_to_space`.

    Shape:
        (batch, height, width, channels) -> (batch, height / b, width / b, channels * b**2)

    Example:
        >>> space_to_depth(jnp.ones((1, 4, 6, 2)), 2).shape
        (1, 2, 3, 8)
    """
    x, b = as_array(x), block_size
    if data_format == "channels_first":
        n, c, h, w = x.shape
        x = x.reshape(n, c, h // b, b, w // b, b).transpose(0, 1, 3, 5, 2, 4)
        return x.reshape(n, c * b**2, h // b, w // b)
    n, h, w, c = x.shape
    x = x.reshape(n, h // b, b, w // b, b, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h // b, w // b, c * b**2)
