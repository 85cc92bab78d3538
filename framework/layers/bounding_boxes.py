"""Bounding boxes: their formats, and the layer that fixes their number."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.checks import check_choice, check_int

# Each format as the order of its four numbers; those with rel_ in front are fractions of the image's size.
_ORDERS = ("xyxy", "yxyx", "xywh", "center_xywh", "center_yxhw")
BOX_FORMATS = (*_ORDERS, *(f"rel_{order}" for order in _ORDERS), "coco", "pascal_voc")
_NAMES = {"coco": "xywh", "pascal_voc": "xyxy"}


def _sizes(height: Any, width: Any) -> jax.Array:
    return jnp.asarray([width, height, width, height], "float32")


def to_corners(boxes: Any, box_format: str, height: Any, width: Any) -> jax.Array:
    """Boxes of any format as (left, top, right, bottom) in pixels.

    Example:
        >>> to_corners([[1.0, 2.0, 3.0, 4.0]], "xywh", 10, 10).tolist()
        [[1.0, 2.0, 4.0, 6.0]]
    """
    boxes = jnp.asarray(boxes, "float32")
    order = _NAMES.get(box_format, box_format).removeprefix("rel_")
    if order in ("yxyx", "center_yxhw"):
        boxes = boxes[..., jnp.asarray([1, 0, 3, 2])]
    if box_format.startswith("rel_"):
        boxes = boxes * _sizes(height, width)
    first, second = boxes[..., :2], boxes[..., 2:]
    if order == "xywh":
        second = first + second
    elif order.startswith("center"):
        first, second = first - second / 2, first + second / 2
    return jnp.concatenate([first, second], -1)


def from_corners(boxes: jax.Array, box_format: str, height: Any, width: Any) -> jax.Array:
    """Boxes (left, top, right, bottom) in pixels, in another format.

    Example:
        >>> from_corners([[1.0, 2.0, 4.0, 6.0]], "center_xywh", 10, 10).tolist()
        [[2.5, 4.0, 3.0, 4.0]]
    """
    boxes = jnp.asarray(boxes, "float32")
    order = _NAMES.get(box_format, box_format).removeprefix("rel_")
    first, second = boxes[..., :2], boxes[..., 2:]
    if order == "xywh":
        second = second - first
    elif order.startswith("center"):
        first, second = (first + second) / 2, second - first
    boxes = jnp.concatenate([first, second], -1)
    if box_format.startswith("rel_"):
        boxes = boxes / _sizes(height, width)
    return boxes[..., jnp.asarray([1, 0, 3, 2])] if order in ("yxyx", "center_yxhw") else boxes


def clip_to_image(boxes: jax.Array, height: Any, width: Any) -> jax.Array:
    """Boxes (left, top, right, bottom), the parts outside the image cut off."""
    return jnp.clip(boxes, 0, _sizes(height, width))


def check_box_format(owner: Any, value: str | None) -> str | None:
    """The name of a format, or None."""
    return None if value is None else check_choice(owner, "bounding_box_format", value, BOX_FORMATS)


def resize_count(owner: Any, boxes: dict[str, Any], count: int, fill: float = -1) -> dict[str, Any]:
    """Boxes and labels (batch, number, ...) cut or filled up to `count` of them."""
    check_int(owner, "max_number", count, 1)

    def fit(x: jax.Array) -> jax.Array:
        x = jnp.asarray(x)[:, :count]
        widths = [(0, 0), (0, count - x.shape[1]), *[(0, 0)] * (x.ndim - 2)]
        return jnp.pad(x, widths, constant_values=jnp.asarray(fill).astype(x.dtype))

    return {key: fit(value) for key, value in boxes.items()}
