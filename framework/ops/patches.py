"""Sliding blocks of images as columns, and back: unfold and fold, in the layout (batch, channels, height, width)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from lamina.core.checks import check_ints
from lamina.ops.convert import Tensor, as_array
from lamina.ops.op import op


def _arguments(name: str, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> list[tuple[int, ...]]:
    given = {"kernel_size": (kernel_size, 1), "dilation": (dilation, 1), "padding": (padding, 0), "stride": (stride, 1)}
    return [check_ints(f"ops.{name}", argument, value, 2, least) for argument, (value, least) in given.items()]


def _columns(x: jax.Array, kernel: Any, dilation: Any, padding: Any, stride: Any) -> jax.Array:
    batch, channels = x.shape[:2]
    x = jnp.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    counts = [(n - (k - 1) * d - 1) // s + 1 for n, k, d, s in zip(x.shape[2:], kernel, dilation, stride, strict=True)]
    blocks = []
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            start = (i * dilation[0], j * dilation[1])
            stop = [a + (c - 1) * s + 1 for a, c, s in zip(start, counts, stride, strict=True)]
            blocks.append(lax.slice(x, [0, 0, *start], [batch, channels, *stop], [1, 1, *stride]))
    columns = jnp.stack(blocks, axis=2)
    return columns.reshape(batch, channels * len(blocks), counts[0] * counts[1])


@op(named=True)
def unfold(x: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> jax.Array:
    """Each block of an image that a sliding window meets, as a column.

    Shape:
        (batch, channels, height, width) -> (batch, channels * kernel height * kernel width, blocks)

    Args:
        x: an array.
        kernel_size: the size of a block.
        dilation: the distance of two elements of a block.
        padding: zeros added at each end.
        stride: the distance of two blocks.

    Example:
        >>> unfold(jnp.ones((1, 2, 4, 4)), 2, stride=2).shape
        (1, 8, 4)
    """
    return _columns(as_array(x), *_arguments("unfold", kernel_size, dilation, padding, stride))


@op(named=True)
def fold(
    x: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> jax.Array:
    """The image whose blocks are the columns; where blocks overlap they add up. The transpose of `unfold`.

    Shape:
        (batch, channels * kernel height * kernel width, blocks) -> (batch, channels, *output_size)

    Args:
        x: an array.
        output_size: height and width of the image.
        kernel_size: the size of a block.
        dilation: the distance of two elements of a block.
        padding: what `unfold` added at each end.
        stride: the distance of two blocks.

    Example:
        >>> fold(jnp.ones((1, 8, 4)), (4, 4), 2, stride=2).shape
        (1, 2, 4, 4)
    """
    x = as_array(x)
    kernel, *rest = _arguments("fold", kernel_size, dilation, padding, stride)
    size = check_ints("ops.fold", "output_size", output_size, 2, 1)
    image = jax.ShapeDtypeStruct((x.shape[0], x.shape[1] // (kernel[0] * kernel[1]), *size), x.dtype)
    (result,) = jax.linear_transpose(lambda y: _columns(y, kernel, *rest), image)(x)
    return result
