"""Operations on images: `lamina.ops.image`. Here: sizes, borders and patches; beside it filters.py and warp.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.image
import jax.numpy as jnp

from lamina.core.checks import check_choice, check_ints
from lamina.ops.conv import from_last, gather_taps, layout, pads_of, to_last
from lamina.ops.convert import Tensor, as_array, as_float
from lamina.ops.filters import (
    batch_of_images,
    gaussian_blur,
    hsv_to_rgb,
    restore,
    rgb_to_grayscale,
    rgb_to_hsv,
    sobel_edges,
    ssim,
)
from lamina.ops.op import op
from lamina.ops.warp import affine_transform, elastic_transform, map_coordinates, perspective_transform

__all__ = [
    "affine_transform",
    "crop_images",
    "elastic_transform",
    "extract_patches",
    "extract_patches_3d",
    "gaussian_blur",
    "hsv_to_rgb",
    "map_coordinates",
    "pad_images",
    "perspective_transform",
    "resize",
    "rgb_to_grayscale",
    "rgb_to_hsv",
    "scale_and_translate",
    "sobel_edges",
    "ssim",
]


@op(named=True)
def resize(
    images: Tensor,
    size: Sequence[int],
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> jax.Array:
    """Images in another size.

    Args:
        images: one image or a batch.
        size: height and width of the result.
        interpolation: `"bilinear"`, `"nearest"`, `"bicubic"`, `"lanczos3"` or `"lanczos5"`.
        antialias: whether to blur before making smaller.
        crop_to_aspect_ratio: whether to cut the sides so that nothing is stretched.
        pad_to_aspect_ratio: whether to add to the sides so that nothing is stretched.
        fill_mode: only `"constant"`.
        fill_value: what to add.
        data_format: `"channels_last"` or `"channels_first"`; the global default if None.

    Example:
        >>> resize(jnp.ones((1, 4, 6, 3)), (2, 2)).shape
        (1, 2, 2, 3)
    """
    methods = ["bilinear", "nearest", "bicubic", "lanczos3", "lanczos5"]
    check_choice("ops.image.resize", "interpolation", interpolation, methods)
    check_choice("ops.image.resize", "fill_mode", fill_mode, ["constant"])
    target_height, target_width = check_ints("ops.image.resize", "size", size, 2, 1)
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError("ops.image.resize: only one of crop_to_aspect_ratio and pad_to_aspect_ratio may be True.")
    x, format_, batched = batch_of_images("resize", as_array(images), data_format)
    height, width = x.shape[1:3]
    fit_height = int(width * target_height / target_width)
    fit_width = int(height * target_width / target_height)
    if crop_to_aspect_ratio:
        keep_height, keep_width = max(min(height, fit_height), 1), max(min(width, fit_width), 1)
        top, left = (height - keep_height) // 2, (width - keep_width) // 2
        x = x[:, top : top + keep_height, left : left + keep_width]
    elif pad_to_aspect_ratio:
        top, left = max(fit_height - height, 0) // 2, max(fit_width - width, 0) // 2
        x = jnp.pad(x, [(0, 0), (top, top), (left, left), (0, 0)], constant_values=fill_value)
    shape = (x.shape[0], target_height, target_width, x.shape[-1])
    return restore(jax.image.resize(x, shape, interpolation, antialias=antialias), format_, batched)


@op(named=True)
def scale_and_translate(
    images: Tensor,
    output_shape: Sequence[int],
    scale: Tensor,
    translation: Tensor,
    spatial_dims: Sequence[int],
    method: str,
    antialias: bool = True,
) -> jax.Array:
    """An array scaled and shifted along some axes: output place = place * scale + translation.

    Args:
        images: an array.
        output_shape: the shape of the result.
        scale: one factor for each axis of `spatial_dims`.
        translation: one shift for each.
        spatial_dims: the axes.
        method: `"linear"`, `"bilinear"`, `"trilinear"`, `"cubic"`, `"bicubic"`, `"tricubic"`, `"lanczos3"` or
            `"lanczos5"`.
        antialias: whether to blur before making smaller.

    Example:
        >>> scale_and_translate(jnp.ones((2, 2)), (4, 4), [2.0, 2.0], [0.0, 0.0], (0, 1), "linear").shape
        (4, 4)
    """
    names = ["linear", "bilinear", "trilinear", "cubic", "bicubic", "tricubic", "lanczos3", "lanczos5"]
    check_choice("ops.image.scale_and_translate", "method", method, names)
    scale, translation = as_float(scale), as_float(translation)
    shape, dims = tuple(output_shape), tuple(spatial_dims)
    return jax.image.scale_and_translate(as_float(images), shape, dims, scale, translation, method, antialias)


def _three(name: str, axis: str, before: Any, after: Any, target: Any, size: int, words: tuple[str, str, str]) -> tuple:
    """The amounts before and after along an axis, from two of three given numbers."""
    if (before is None) + (after is None) + (target is None) != 1:
        raise ValueError(
            f"ops.image.{name}: exactly two of {words[0]}, {words[1]} and {words[2]} must be given, got {before}, "
            f"{after} and {target}."
        )
    change = None if target is None else (target - size if name == "pad_images" else size - target)
    before = change - after if before is None else before
    after = change - before if after is None else after
    if before < 0 or after < 0 or (name == "crop_images" and before + after > size):
        raise ValueError(
            f"ops.image.{name}: {words[0]}={before} and {words[1]}={after} do not fit images of {axis} {size}."
        )
    return before, after


@op(named=True)
def pad_images(
    images: Tensor,
    top_padding: int | None = None,
    left_padding: int | None = None,
    bottom_padding: int | None = None,
    right_padding: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> jax.Array:
    """Images with zeros added at their sides; of three numbers an axis, two must be given.

    Args:
        images: one image or a batch.
        top_padding: rows to add above.
        left_padding: columns to add at the left.
        bottom_padding: rows to add below.
        right_padding: columns to add at the right.
        target_height: the height of the result.
        target_width: the width of the result.
        data_format: `"channels_last"` or `"channels_first"`; the global default if None.

    Example:
        >>> pad_images(jnp.ones((1, 4, 4, 3)), 1, 2, target_height=6, target_width=8).shape
        (1, 6, 8, 3)
    """
    x, format_, batched = batch_of_images("pad_images", as_array(images), data_format)
    rows = ("top_padding", "bottom_padding", "target_height")
    columns = ("left_padding", "right_padding", "target_width")
    top, bottom = _three("pad_images", "height", top_padding, bottom_padding, target_height, x.shape[1], rows)
    left, right = _three("pad_images", "width", left_padding, right_padding, target_width, x.shape[2], columns)
    return restore(jnp.pad(x, [(0, 0), (top, bottom), (left, right), (0, 0)]), format_, batched)


@op(named=True)
def crop_images(
    images: Tensor,
    top_cropping: int | None = None,
    left_cropping: int | None = None,
    bottom_cropping: int | None = None,
    right_cropping: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> jax.Array:
    """Images without some rows and columns at their sides; of three numbers an axis, two must be given.

    Args:
        images: one image or a batch.
        top_cropping: rows to remove above.
        left_cropping: columns to remove at the left.
        bottom_cropping: rows to remove below.
        right_cropping: columns to remove at the right.
        target_height: the height of the result.
        target_width: the width of the result.
        data_format: `"channels_last"` or `"channels_first"`; the global default if None.

    Example:
        >>> crop_images(jnp.ones((1, 6, 8, 3)), 1, 2, target_height=4, target_width=4).shape
        (1, 4, 4, 3)
    """
    x, format_, batched = batch_of_images("crop_images", as_array(images), data_format)
    rows = ("top_cropping", "bottom_cropping", "target_height")
    columns = ("left_cropping", "right_cropping", "target_width")
    top, bottom = _three("crop_images", "height", top_cropping, bottom_cropping, target_height, x.shape[1], rows)
    left, right = _three("crop_images", "width", left_cropping, right_cropping, target_width, x.shape[2], columns)
    return restore(x[:, top : x.shape[1] - bottom, left : x.shape[2] - right], format_, batched)


def _patches(name: str, x: jax.Array, size: Any, strides: Any, dilation_rate: Any, padding: Any, format_: Any) -> Any:
    format_ = layout(f"image.{name}", format_)
    dims = 3 if name.endswith("3d") else 2
    owner = f"ops.image.{name}"
    if x.ndim not in (dims + 1, dims + 2):
        raise ValueError(f"{owner}: expected {dims + 1} axes, or {dims + 2} with the batch first, got shape {x.shape}.")
    batched = x.ndim == dims + 2
    x = to_last(x if batched else x[None], format_)
    size = check_ints(owner, "size", size, dims, 1)
    strides = size if strides is None else check_ints(owner, "strides", strides, dims, 1)
    dilation = check_ints(owner, "dilation_rate", dilation_rate, dims, 1)
    windows = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
    pads = pads_of(f"image.{name}", padding, x.shape[1:-1], windows, strides)
    out = tuple((n + sum(p) - w) // s + 1 for n, p, w, s in zip(x.shape[1:-1], pads, windows, strides, strict=True))
    if min(out) < 1:
        raise ValueError(f"{owner}: images of shape {x.shape[1:-1]} hold no patch of size {size}.")
    patches = from_last(jnp.concatenate(gather_taps(x, size, out, strides, pads, dilation), axis=-1), format_)
    return patches if batched else patches[0]


@op(named=True)
def extract_patches(
    images: Tensor,
    size: Any,
    strides: Any = None,
    dilation_rate: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> jax.Array:
    """Each patch of an image, flattened into the channels.

    Shape:
        (batch, height, width, channels) -> (batch, rows, columns, patch height * patch width * channels)

    Args:
        images: one image or a batch.
        size: the size of a patch; of three numbers, the images are volumes.
        strides: the distance of two patches; the size by default.
        dilation_rate: the distance of two pixels of a patch.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`; the global default if None.

    Example:
        >>> extract_patches(jnp.ones((1, 4, 4, 3)), 2).shape
        (1, 2, 2, 12)
    """
    volumes = isinstance(size, (list, tuple)) and len(size) == 3
    name = "extract_patches_3d" if volumes else "extract_patches"
    return _patches(name, as_array(images), size, strides, dilation_rate, padding, data_format)


@op(named=True)
def extract_patches_3d(
    volumes: Tensor,
    size: Any,
    strides: Any = None,
    dilation_rate: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> jax.Array:
    """Each patch of a volume, flattened into the channels.

    Shape:
        (batch, depth, height, width, channels) -> (batch, *patches, patch size * channels)

    Args:
        volumes: one volume or a batch.
        size: the size of a patch.
        strides: the distance of two patches; the size by default.
        dilation_rate: the distance of two elements of a patch.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`; the global default if None.

    Example:
        >>> extract_patches_3d(jnp.ones((1, 4, 4, 4, 1)), 2).shape
        (1, 2, 2, 2, 8)
    """
    return _patches("extract_patches_3d", as_array(volumes), size, strides, dilation_rate, padding, data_format)
