"""Images sampled at other places: affine, perspective and elastic transforms. Public under `ops.image`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy import ndimage

from lamina.core.checks import check_choice
from lamina.ops.convert import Tensor, as_array, as_float
from lamina.ops.filters import batch_of_images, restore, smooth
from lamina.ops.op import op
from lamina.state.rng import draw_key

_ORDERS = {"nearest": 0, "bilinear": 1}
_FILL_MODES = ["constant", "nearest", "wrap", "mirror", "reflect"]


@op(named=True)
def map_coordinates(
    inputs: Tensor, coordinates: Any, order: int, fill_mode: str = "constant", fill_value: float = 0
) -> jax.Array:
    """The values of an array at places between its elements.

    Args:
        inputs: an array.
        coordinates: one array of places for each axis of `inputs`, stacked.
        order: 0 takes the nearest element, 1 interpolates linearly.
        fill_mode: what lies beyond the edge: `"constant"`, `"nearest"`, `"wrap"`, `"mirror"` or `"reflect"`.
        fill_value: the constant.

    Example:
        >>> map_coordinates([1.0, 3.0], [[0.5, 1.0]], 1).tolist()
        [2.0, 3.0]
    """
    x = as_array(inputs)
    places = jnp.stack([as_array(c) for c in coordinates]) if isinstance(coordinates, (list, tuple)) else coordinates
    places = as_array(places)
    if places.ndim < 2 or places.shape[0] != x.ndim:
        raise ValueError(
            f"ops.image.map_coordinates: coordinates must have shape ({x.ndim}, ...) for an input of shape {x.shape}, "
            f"got {places.shape}."
        )
    check_choice("ops.image.map_coordinates", "fill_mode", fill_mode, _FILL_MODES)
    check_choice("ops.image.map_coordinates", "order", order, [0, 1])
    return ndimage.map_coordinates(x, places, order, fill_mode, fill_value)  # type: ignore[arg-type]


def _sample(images: jax.Array, rows: jax.Array, columns: jax.Array, order: int, mode: str, value: Any) -> jax.Array:
    """Each image of a batch (batch, height, width, channels) at its own places (batch, height, width)."""

    def plane(image: jax.Array, row: jax.Array, column: jax.Array) -> jax.Array:
        return ndimage.map_coordinates(image, [row, column], order, mode, value)

    return jax.vmap(jax.vmap(plane, (-1, None, None), -1))(images, rows, columns)


def _grid(images: jax.Array, dtype: Any) -> tuple[jax.Array, jax.Array]:
    height, width = images.shape[1:3]
    return jnp.arange(width, dtype=dtype)[None, None, :], jnp.arange(height, dtype=dtype)[None, :, None]


def _project(images: jax.Array, transform: jax.Array, order: int, mode: str, value: Any) -> jax.Array:
    """Images sampled so that (x, y) of the output shows ((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k)."""
    x, y = _grid(images, transform.dtype)
    a0, a1, a2, b0, b1, b2, c0, c1 = jnp.moveaxis(transform, -1, 0)[:, :, None, None]
    k = c0 * x + c1 * y + 1
    rows = jnp.broadcast_to((b0 * x + b1 * y + b2) / k, images.shape[:3])
    columns = jnp.broadcast_to((a0 * x + a1 * y + a2) / k, images.shape[:3])
    return _sample(images, rows, columns, order, mode, value)


@op(named=True)
def affine_transform(
    images: Tensor,
    transform: Tensor,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0,
    data_format: str | None = None,
) -> jax.Array:
    """Images turned, scaled, shifted and sheared.

    The pixel (x, y) of the output shows ((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k) of the input, with
    k = c0 x + c1 y + 1.

    Args:
        images: one image or a batch.
        transform: (a0, a1, a2, b0, b1, b2, c0, c1), one for all images or one for each.
        interpolation: `"nearest"` or `"bilinear"`.
        fill_mode: what lies beyond the edge: `"constant"`, `"nearest"`, `"wrap"`, `"mirror"` or `"reflect"`.
        fill_value: the constant.
        data_format: `"channels_last"` or `"channels_first"`; the global default if None.

    Example:
        >>> shift = [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0]
        >>> affine_transform([[[1.0], [2.0], [3.0]]], shift).tolist()
        [[[2.0], [3.0], [0.0]]]
    """
    x, format_, batched = batch_of_images("affine_transform", as_array(images), data_format)
    check_choice("ops.image.affine_transform", "interpolation", interpolation, _ORDERS)
    check_choice("ops.image.affine_transform", "fill_mode", fill_mode, _FILL_MODES)
    transform = as_float(transform)
    if transform.ndim not in (1, 2) or transform.shape[-1] != 8:
        raise ValueError(
            f"ops.image.affine_transform: transform must have shape (8,) or (batch, 8), got {transform.shape}."
        )
    transform = jnp.broadcast_to(transform, (x.shape[0], 8))
    return restore(_project(x, transform, _ORDERS[interpolation], fill_mode, fill_value), format_, batched)


def _homography(start: jax.Array, end: jax.Array) -> jax.Array:
    """The eight numbers of the projection that takes four points `end` to four points `start`."""
    x, y = end[..., 0], end[..., 1]
    one, zero = jnp.ones_like(x), jnp.zeros_like(x)
    to_x, to_y = start[..., 0], start[..., 1]
    rows = [
        jnp.stack([x, y, one, zero, zero, zero, -to_x * x, -to_x * y], axis=-1),
        jnp.stack([zero, zero, zero, x, y, one, -to_y * x, -to_y * y], axis=-1),
    ]
    matrix = jnp.concatenate(rows, axis=-2)
    return jnp.linalg.solve(matrix, jnp.concatenate([to_x, to_y], axis=-1)[..., None])[..., 0]


@op(named=True)
def perspective_transform(
    images: Tensor,
    start_points: Tensor,
    end_points: Tensor,
    interpolation: str = "bilinear",
    fill_value: float = 0,
    data_format: str | None = None,
) -> jax.Array:
    """Images seen in another perspective, which takes four points to four others.

    Args:
        images: one image or a batch.
        start_points: four points (x, y) of the input: shape (4, 2), or (batch, 4, 2).
        end_points: where they are in the output, likewise.
        interpolation: `"nearest"` or `"bilinear"`.
        fill_value: what lies beyond the edge.
        data_format: `"channels_last"` or `"channels_first"`; the global default if None.

    Example:
        >>> corners = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        >>> perspective_transform(jnp.ones((2, 2, 1)), corners, corners).shape
        (2, 2, 1)
    """
    x, format_, batched = batch_of_images("perspective_transform", as_array(images), data_format)
    check_choice("ops.image.perspective_transform", "interpolation", interpolation, _ORDERS)
    start, end = (as_array(p).astype("float32") for p in (start_points, end_points))
    if start.shape != end.shape or start.ndim not in (2, 3) or start.shape[-2:] != (4, 2):
        raise ValueError(
            "ops.image.perspective_transform: start_points and end_points must have shape (4, 2) or (batch, 4, 2), got "
            f"{start.shape} and {end.shape}."
        )
    transform = jnp.broadcast_to(_homography(start, end), (x.shape[0], 8))
    return restore(_project(x, transform, _ORDERS[interpolation], "constant", fill_value), format_, batched)


@op
def elastic_transform(
    images: Tensor,
    alpha: float = 20.0,
    sigma: float = 5.0,
    interpolation: str = "bilinear",
    fill_mode: str = "reflect",
    fill_value: float = 0.0,
    seed: Any = None,
    data_format: str | None = None,
) -> jax.Array:
    """Images bent by a smooth random field.

    Args:
        images: one image or a batch.
        alpha: the strength.
        sigma: the smoothness of the field, in pixels.
        interpolation: `"nearest"` or `"bilinear"`.
        fill_mode: what lies beyond the edge: `"constant"`, `"nearest"`, `"wrap"`, `"mirror"` or `"reflect"`.
        fill_value: the constant.
        seed: an integer, a `SeedGenerator`, or None.
        data_format: `"channels_last"` or `"channels_first"`; the global default if None.

    Example:
        >>> elastic_transform(jnp.ones((1, 6, 6, 1)), seed=1).shape
        (1, 6, 6, 1)
    """
    images = as_array(images)
    x, format_, batched = batch_of_images("elastic_transform", images, data_format)
    check_choice("ops.image.elastic_transform", "interpolation", interpolation, _ORDERS)
    check_choice("ops.image.elastic_transform", "fill_mode", fill_mode, _FILL_MODES)
    dtype = as_float(x).dtype
    noise = jax.random.normal(draw_key(seed), (*x.shape[:3], 2), dtype) * sigma
    size = int(6 * sigma) | 1
    field = alpha * smooth(noise, (size, size), (sigma, sigma), "same")
    across, down = _grid(x, dtype)
    bent = _sample(x, down + field[..., 1], across + field[..., 0], _ORDERS[interpolation], fill_mode, fill_value)
    return restore(bent, format_, batched).astype(images.dtype)
