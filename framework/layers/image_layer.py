"""ImageLayer, the base of the layers that change images before they reach a model."""

from __future__ import annotations

import numbers
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.errors import ShapeError, describe, owner_label
from lamina.layers.arguments import check_data_format
from lamina.layers.bounding_boxes import check_box_format, clip_to_image, from_corners, to_corners
from lamina.layers.layer import Layer
from lamina.state.rng import SeedGenerator


class ImageLayer(Layer):
    """A layer for images: one (height, width, channels), a batch of them, or a dict with labels beside them.

    A subclass says in `draw` what is random, and in `change` what happens to a batch of images in "channels_last"
    format. Both are pure functions. Where places move, `change_masks` and `change_corners` move segmentation masks
    and bounding boxes along.

    Args:
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer; `bounding_box_format`, for dicts with boxes.

    Raises:
        ShapeError: the images have neither 3 nor 4 axes.
    """

    always = False  # whether the layer also acts outside of training

    def __init__(self, data_format: str | None = None, **kwargs: Any):
        box_format = kwargs.pop("bounding_box_format", None)
        super().__init__(**kwargs)
        self.bounding_box_format = check_box_format(self, box_format)
        self.data_format = check_data_format(self, data_format)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        config = super().get_config()
        if self.bounding_box_format is not None:
            config["bounding_box_format"] = self.bounding_box_format
        return config

    # ---- to override

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """All random numbers for a batch of images of a shape: one structure of arrays."""
        return None

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The changed images (batch, height, width, channels), in floats."""
        return images

    def change_labels(self, labels: jax.Array, plan: Any) -> jax.Array:
        """The labels of the changed images."""
        return labels

    def change_masks(self, masks: jax.Array, plan: Any) -> jax.Array:
        """The segmentation masks (batch, height, width, channels) of the changed images."""
        return masks

    def change_corners(self, boxes: jax.Array, plan: Any, height: int, width: int) -> jax.Array:
        """The boxes (batch, number, 4), as left, top, right and bottom in pixels, of the changed images."""
        return boxes

    # ---- the call

    def call(self, data: Any, training: bool = True) -> Any:
        """The changed images; in a dict, `labels`, `segmentation_masks` and `bounding_boxes` follow them."""
        images = data["images"] if isinstance(data, dict) else data
        if images.ndim not in (3, 4):
            raise ShapeError(
                f"{owner_label(self)}: expected images with 3 axes, or 4 with the batch first, got shape "
                f"{tuple(images.shape)}."
            )
        batched = images.ndim == 4
        x = self._open(images, batched)
        if not (training or self.always):
            return dict(data, images=self._close(x, batched)) if isinstance(data, dict) else self._close(x, batched)
        plan = self.draw(self._key(), x.shape)
        y = self.change(x, plan).astype(self.compute_dtype)
        if not isinstance(data, dict):
            return self._close(y, batched)
        out = dict(data, images=self._close(y, batched))

        def along(change: Any, value: Any) -> Any:
            value = jax.tree.map(jnp.asarray if batched else lambda v: jnp.asarray(v)[None], value)
            value = change(value)
            return value if batched else jax.tree.map(lambda v: v[0], value)

        if "labels" in data:
            out["labels"] = along(lambda v: self.change_labels(v, plan), data["labels"])
        if "segmentation_masks" in data:
            out["segmentation_masks"] = self._along_masks(data["segmentation_masks"], plan, batched)
        if "bounding_boxes" in data:
            sizes: Any = (*x.shape[1:3], *y.shape[1:3])
            out["bounding_boxes"] = along(lambda v: self._along_boxes(v, plan, sizes), data["bounding_boxes"])
        return out

    def _key(self) -> Any:
        generator = getattr(self, "seed_generator", None)
        return None if generator is None else generator.next()

    def _open(self, images: jax.Array, batched: bool) -> jax.Array:
        x = images.astype(self.compute_dtype)
        x = x if batched else x[None]
        return jnp.moveaxis(x, 1, -1) if self.data_format == "channels_first" else x

    def _close(self, x: jax.Array, batched: bool) -> jax.Array:
        x = jnp.moveaxis(x, -1, 1) if self.data_format == "channels_first" else x
        return x if batched else x[0]

    def _along_masks(self, masks: Any, plan: Any, batched: bool) -> jax.Array:
        masks = jnp.asarray(masks)
        flat = masks.ndim == (3 if batched else 2)  # masks may come without an axis of channels
        x = masks if batched else masks[None]
        if flat:
            x = x[..., None]
        elif self.data_format == "channels_first":
            x = jnp.moveaxis(x, 1, -1)
        x = self.change_masks(x, plan).astype(masks.dtype)
        if flat:
            x = x[..., 0]
        elif self.data_format == "channels_first":
            x = jnp.moveaxis(x, -1, 1)
        return x if batched else x[0]

    def _along_boxes(self, boxes: dict[str, Any], plan: Any, sizes: tuple[int, int, int, int]) -> dict[str, Any]:
        if self.bounding_box_format is None:
            raise ValueError(
                f"{owner_label(self)}: the data has bounding_boxes, so the layer needs bounding_box_format=..., such "
                "as 'xyxy'."
            )
        height, width, new_height, new_width = sizes
        corners = to_corners(boxes["boxes"], self.bounding_box_format, height, width)
        corners = self.change_corners(corners, plan, height, width)
        corners = clip_to_image(corners, new_height, new_width)
        moved = from_corners(corners, self.bounding_box_format, new_height, new_width)
        return dict(boxes, boxes=moved)


class RandomImageLayer(ImageLayer):
    """An image layer that draws random numbers, in training only.

    Args:
        seed: an integer that makes the draws repeatable.
        data_format: as for every image layer.
        **kwargs: as for every image layer.
    """

    def __init__(self, seed: int | None = None, data_format: str | None = None, **kwargs: Any):
        super().__init__(data_format, **kwargs)
        self.seed = seed
        self.seed_generator = SeedGenerator(seed)


def check_range(
    owner: Any, argument: str, value: Any, low: float, high: float, symmetric: bool = False
) -> tuple[Any, Any]:
    """A pair (lower, upper) between `low` and `high`; a number f means (0, f), or (-f, f) if symmetric."""
    pair = value
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        number: Any = value
        pair = (max(-abs(number), low) if symmetric else low, abs(number))
        if not low <= number <= high:
            pair = None
    if (
        not isinstance(pair, (list, tuple))
        or len(pair) != 2
        or not all(isinstance(v, numbers.Real) and low <= v <= high for v in pair)  # type: ignore[operator]
    ):
        raise ValueError(
            f"{owner_label(owner)}: {argument} must be a number between {low} and {high}, or a pair of them, got "
            f"{describe(value)}."
        )
    return (min(pair), max(pair))


def check_value_range(owner: Any, value: Any) -> tuple[Any, Any]:
    """The pair (lowest, highest) of pixel values."""
    if not isinstance(value, (list, tuple)) or len(value) != 2 or value[0] == value[1]:
        raise ValueError(
            f"{owner_label(owner)}: value_range must be a pair (lowest, highest) such as (0, 255), got "
            f"{describe(value)}."
        )
    return (min(value), max(value))


def rescale(x: jax.Array, source: tuple[Any, Any], target: tuple[Any, Any]) -> jax.Array:
    """Values of one range as those of another."""
    if tuple(source) == tuple(target):
        return x
    return (x - source[0]) / (source[1] - source[0]) * (target[1] - target[0]) + target[0]


def uniform(key: Any, n: int, bounds: tuple[Any, Any]) -> jax.Array:
    """One number an image, in a shape that broadcasts to a batch of images."""
    return jax.random.uniform(key, (n, 1, 1, 1), jnp.float32, bounds[0], bounds[1])


def chosen(key: Any, n: int, bounds: tuple[Any, Any]) -> jax.Array:
    """Whether each image is changed, with a probability that is itself drawn between the bounds."""
    first, second = jax.random.split(key)
    return uniform(first, n, (0.0, 1.0)) < uniform(second, n, bounds)
