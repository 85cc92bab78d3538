"""Images filtered and recoloured: grey, hue, blur, edges, structural similarity. Public under `ops.image`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.checks import check_ints
from lamina.ops.conv import conv, from_last, layout, to_last
from lamina.ops.convert import Tensor, as_array, as_float
from lamina.ops.op import op


def batch_of_images(name: str, images: jax.Array, data_format: str | None) -> tuple[jax.Array, str, bool]:
    """Images as (batch, height, width, channels), with their data format and whether they had a batch axis."""
    format_ = layout(f"image.{name}", data_format)
    if images.ndim not in (3, 4):
        raise ValueError(
            f"ops.image.{name}: images must have 3 axes, or 4 with the batch first, got an array of shape "
            f"{images.shape}."
        )
    batched = images.ndim == 4
    return to_last(images if batched else images[None], format_), format_, batched


def restore(images: jax.Array, format_: str, batched: bool) -> jax.Array:
    """What `batch_of_images` returned, in the format and with the axes that were given."""
    images = from_last(images, format_)
    return images if batched else images[0]


@op(named=True)
def rgb_to_grayscale(images: Tensor, data_format: str | None = None) -> jax.Array:
    """The brightness of colours: 0.2989 red + 0.5870 green + 0.1140 blue, in one channel.

    Example:
        >>> rgb_to_grayscale(jnp.ones((1, 2, 2, 3))).shape
        (1, 2, 2, 1)
    """
    images = as_array(images)
    x, format_, batched = batch_of_images("rgb_to_grayscale", images, data_format)
    if x.shape[-1] not in (1, 3):
        raise ValueError(f"ops.image.rgb_to_grayscale: images must have 1 or 3 channels, got shape {images.shape}.")
    if x.shape[-1] == 3:
        weights = jnp.asarray([[0.2989], [0.5870], [0.1140]], as_float(x).dtype)
        x = (as_float(x) @ weights).astype(images.dtype)
    return restore(x, format_, batched)


def _float_images(name: str, images: Tensor) -> jax.Array:
    images = as_array(images)
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"ops.image.{name}: images must be floats from 0 to 1, got dtype {images.dtype}.")
    return images


@op(named=True)
def rgb_to_hsv(images: Tensor, data_format: str | None = None) -> jax.Array:
    """Red, green and blue as hue, saturation and value, all from 0 to 1.

    Example:
        >>> rgb_to_hsv([[[1.0, 0.0, 0.0]]]).tolist()
        [[[0.0, 1.0, 1.0]]]
    """
    x, format_, batched = batch_of_images("rgb_to_hsv", _float_images("rgb_to_hsv", images), data_format)
    x = jnp.where(jnp.abs(x) < jnp.finfo(x.dtype).eps, 0, x)
    red, green, blue = x[..., 0], x[..., 1], x[..., 2]
    value = jnp.maximum(jnp.maximum(red, green), blue)
    span = value - jnp.minimum(jnp.minimum(red, green), blue)
    coloured = span > 0
    unit = 1 / (6 * jnp.where(coloured, span, 1))
    hue = jnp.where(value == green, unit * (blue - red) + 1 / 3, unit * (red - green) + 2 / 3)
    hue = jnp.where(value == red, unit * (green - blue), hue)
    hue = jnp.where(coloured, hue, 0)
    hue = hue + (hue < 0).astype(hue.dtype)
    saturation = jnp.where(value > 0, span / jnp.where(value > 0, value, 1), 0)
    return restore(jnp.stack([hue, saturation, value], axis=-1), format_, batched)


@op(named=True)
def hsv_to_rgb(images: Tensor, data_format: str | None = None) -> jax.Array:
    """Hue, saturation and value as red, green and blue, all from 0 to 1.

    Example:
        >>> hsv_to_rgb([[[0.0, 1.0, 1.0]]]).tolist()
        [[[1.0, 0.0, 0.0]]]
    """
    x, format_, batched = batch_of_images("hsv_to_rgb", _float_images("hsv_to_rgb", images), data_format)
    hue, saturation, value = x[..., 0], x[..., 1], x[..., 2]
    sector = jnp.mod(hue, 1) * 6
    red = jnp.clip(jnp.abs(sector - 3) - 1, 0, 1)
    green = jnp.clip(2 - jnp.abs(sector - 2), 0, 1)
    blue = jnp.clip(2 - jnp.abs(sector - 4), 0, 1)
    planes = [value * (1 - saturation + saturation * c) for c in (red, green, blue)]
    return restore(jnp.stack(planes, axis=-1), format_, batched)


def _each_channel(x: jax.Array, kernel: jax.Array, padding: str) -> jax.Array:
    """One filter, or several, over each channel: (batch, height, width, channels) -> (..., channels, filters)."""
    batch, height, width, channels = x.shape
    flat = jnp.moveaxis(x, -1, 1).reshape(batch * channels, height, width, 1)
    y = conv(flat, kernel[:, :, None, :], padding=padding, data_format="channels_last")
    y = y.reshape(batch, channels, *y.shape[1:])
    return jnp.moveaxis(y, 1, -2)


def _bell(size: int, sigma: Any, dtype: Any) -> jax.Array:
    """A Gaussian of `size` points that sum to 1."""
    place = np.arange(size) - (size - 1) / 2
    values = jnp.exp(-0.5 * jnp.square(jnp.asarray(place, dtype) / sigma))
    return values / jnp.sum(values)


def smooth(x: jax.Array, sizes: tuple[int, int], sigmas: Any, padding: str) -> jax.Array:
    """Images (batch, height, width, channels) blurred along their height and their width."""
    rows, columns = _bell(sizes[0], sigmas[0], x.dtype), _bell(sizes[1], sigmas[1], x.dtype)
    x = _each_channel(x, rows[:, None, None], padding)[..., 0]
    return _each_channel(x, columns[None, :, None], padding)[..., 0]


@op(named=True)
def gaussian_blur(
    images: Tensor, kernel_size: Any = (3, 3), sigma: Any = (1.0, 1.0), data_format: str | None = None
) -> jax.Array:
    """Images blurred by a Gaussian; beyond the edge they count as 0.

    Args:
        images: one image or a batch.
        kernel_size: the size of the filter along width and height.
        sigma: its standard deviation along width and height, in pixels.
        data_format: `"channels_last"` or `"channels_first"`; the global default if None.

    Example:
        >>> gaussian_blur(jnp.ones((1, 5, 5, 3))).shape
        (1, 5, 5, 3)
    """
    x, format_, batched = batch_of_images("gaussian_blur", as_float(images), data_format)
    across, down = check_ints("ops.image.gaussian_blur", "kernel_size", kernel_size, 2, 1)
    across_sigma, down_sigma = sigma if np.ndim(sigma) else (sigma, sigma)
    return restore(smooth(x, (down, across), (down_sigma, across_sigma), "same"), format_, batched)


@op(named=True)
def sobel_edges(images: Tensor, data_format: str | None = None) -> jax.Array:
    """How the brightness changes from pixel to pixel, down and across, in a new last axis.

    Example:
        >>> sobel_edges(jnp.ones((1, 5, 5, 3))).shape
        (1, 5, 5, 3, 2)
    """
    images = as_float(images)
    x, format_, batched = batch_of_images("sobel_edges", images, data_format)
    down = np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]])
    edges = _each_channel(x, jnp.asarray(np.stack([down, down.T], axis=-1), x.dtype), "same")
    edges = jnp.moveaxis(edges, -2, 1) if format_ == "channels_first" else edges
    return edges if batched else edges[0]


@op(named=True)
def ssim(
    image1: Tensor,
    image2: Tensor,
    max_val: float = 1.0,
    filter_size: int = 11,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    data_format: str | None = None,
) -> jax.Array:
    """The structural similarity of images: 1 for equal ones.

    Args:
        image1: one image or a batch.
        image2: what to compare it with.
        max_val: the span of the values.
        filter_size: the size of the Gaussian window.
        filter_sigma: its standard deviation.
        k1: steadies the comparison of brightness.
        k2: steadies the comparison of contrast.
        data_format: `"channels_last"` or `"channels_first"`; the global default if None.

    Example:
        >>> ssim(jnp.ones((1, 12, 12, 1)), jnp.ones((1, 12, 12, 1))).round(3).tolist()
        [1.0]

    Reference:
        Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.
    """
    first, second = as_float(image1), as_float(image2)
    if first.shape != second.shape:
        raise ValueError(f"ops.image.ssim: the images must have one shape, got {first.shape} and {second.shape}.")
    dtype = first.dtype
    wide = jnp.promote_types(dtype, jnp.float32)
    a, _, batched = batch_of_images("ssim", first.astype(wide), data_format)
    b, _, _ = batch_of_images("ssim", second.astype(wide), data_format)

    def local_mean(x: jax.Array) -> jax.Array:
        return smooth(x, (filter_size, filter_size), (filter_sigma, filter_sigma), "valid")

    mean_a, mean_b = local_mean(a), local_mean(b)
    variance_a = local_mean(a * a) - mean_a**2
    variance_b = local_mean(b * b) - mean_b**2
    covariance = local_mean(a * b) - mean_a * mean_b
    c1, c2 = (k1 * max_val) ** 2, (k2 * max_val) ** 2
    brightness = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    result = jnp.mean(brightness * structure, axis=(1, 2, 3)).astype(dtype)
    return result if batched else result[0]
