"""Image layers that change the size: Resizing, CenterCrop, RandomCrop."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina import ops
from lamina.core.checks import check_choice, check_int, check_number
from lamina.core.errors import owner_label
from lamina.layers.image_layer import ImageLayer, RandomImageLayer
from lamina.layers.upsampling import INTERPOLATIONS


def _cut(height: int, width: int, target: tuple[int, int]) -> tuple[int, int, int, int]:
    """Top, left, height and width of the largest middle part with the proportions of the target."""
    inner_height = max(min(height, int(width * target[0] / target[1])), 1)
    inner_width = max(min(width, int(height * target[1] / target[0])), 1)
    return (height - inner_height) // 2, (width - inner_width) // 2, inner_height, inner_width


class Resizing(ImageLayer):
    """Images in another size, in training and outside of it.

    Shape:
        (batch, h, w, channels) -> (batch, height, width, channels)

    Args:
        height: the height of the result.
        width: the width of the result.
        interpolation: "bilinear", "nearest", "bicubic", "lanczos3" or "lanczos5".
        crop_to_aspect_ratio: whether the sides are cut so that nothing is stretched.
        pad_to_aspect_ratio: whether the sides are padded so that nothing is stretched.
        fill_mode: how to pad: "constant".
        fill_value: what to pad with.
        antialias: whether to blur before making smaller.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on; `bounding_box_format`, for dicts with boxes.

    Example:
        >>> import numpy as np
        >>> Resizing(4, 6)(np.ones((2, 8, 8, 3), "float32")).shape
        (2, 4, 6, 3)
    """

    always = True

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(data_format, **kwargs)
        self.height = check_int(self, "height", height, 1)
        self.width = check_int(self, "width", width, 1)
        self.interpolation = check_choice(self, "interpolation", interpolation, INTERPOLATIONS)
        if crop_to_aspect_ratio and pad_to_aspect_ratio:
            raise ValueError(f"{owner_label(self)}: crop_to_aspect_ratio and pad_to_aspect_ratio exclude each other.")
        self.crop_to_aspect_ratio, self.pad_to_aspect_ratio = crop_to_aspect_ratio, pad_to_aspect_ratio
        self.fill_mode = check_choice(self, "fill_mode", fill_mode, ["constant"])
        self.fill_value = check_number(self, "fill_value", fill_value)
        self.antialias = antialias

    def _resize(self, images: jax.Array, interpolation: str, fill_value: float) -> jax.Array:
        return ops.image.resize(
            images,
            (self.height, self.width),
            interpolation=interpolation,
            antialias=self.antialias and interpolation != "nearest",
            crop_to_aspect_ratio=self.crop_to_aspect_ratio,
            pad_to_aspect_ratio=self.pad_to_aspect_ratio,
            fill_mode=self.fill_mode,
            fill_value=fill_value,
            data_format="channels_last",
        )

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The resized images."""
        return self._resize(images, self.interpolation, self.fill_value)

    def change_masks(self, masks: jax.Array, plan: Any) -> jax.Array:
        """The resized masks, each place the nearest of the old ones."""
        return self._resize(masks, "nearest", 0)

    def change_corners(self, boxes: jax.Array, plan: Any, height: int, width: int) -> jax.Array:
        """The scaled boxes."""
        target = (self.height, self.width)
        top = left = 0
        if self.crop_to_aspect_ratio:
            top, left, height, width = _cut(height, width, target)
        elif self.pad_to_aspect_ratio:
            padded_height = max(height, int(width * self.height / self.width))
            padded_width = max(width, int(height * self.width / self.height))
            top, left = -((padded_height - height) // 2), -((padded_width - width) // 2)
            height, width = padded_height, padded_width
        boxes = boxes - jnp.asarray([left, top, left, top], boxes.dtype)
        scale = [self.width / width, self.height / height]
        return boxes * jnp.asarray([*scale, *scale], boxes.dtype)


class CenterCrop(ImageLayer):
    """The middle of images; images that are too small are resized, without stretching, and then cut.

    Shape:
        (batch, h, w, channels) -> (batch, height, width, channels)

    Args:
        height: the height of the result.
        width: the width of the result.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on; `bounding_box_format`, for dicts with boxes.

    Example:
        >>> import numpy as np
        >>> CenterCrop(2, 2)(np.arange(16.0).reshape(4, 4, 1))[..., 0].tolist()
        [[5.0, 6.0], [9.0, 10.0]]
    """

    always = True

    def __init__(self, height: int, width: int, data_format: str | None = None, **kwargs: Any):
        super().__init__(data_format, **kwargs)
        self.height = check_int(self, "height", height, 1)
        self.width = check_int(self, "width", width, 1)

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The middle of the images."""
        return self._crop(images, "bilinear")

    def change_masks(self, masks: jax.Array, plan: Any) -> jax.Array:
        """The middle of the masks."""
        return self._crop(masks, "nearest")

    def _crop(self, images: jax.Array, interpolation: str) -> jax.Array:
        top, left = images.shape[1] - self.height, images.shape[2] - self.width
        if top < 0 or left < 0:
            return _fill(images, (self.height, self.width), interpolation)
        top, left = top // 2, left // 2
        return images[:, top : top + self.height, left : left + self.width]

    def change_corners(self, boxes: jax.Array, plan: Any, height: int, width: int) -> jax.Array:
        """The boxes, seen from the corner of the middle part."""
        top, left = height - self.height, width - self.width
        if top < 0 or left < 0:
            return _fill_corners(boxes, height, width, (self.height, self.width))
        return boxes - jnp.asarray([left // 2, top // 2, left // 2, top // 2], boxes.dtype)


class RandomCrop(RandomImageLayer):
    """In training, a part of the images at a random place; otherwise the images themselves.

    Of images smaller than the part, the largest middle with its proportions is taken and resized. A model that needs
    one size in training and outside of it puts a `Resizing` or `CenterCrop` behind.

    Shape:
        (batch, h, w, channels) -> (batch, height, width, channels) in training

    Args:
        height: the height of the result.
        width: the width of the result.
        seed: an integer that makes the draws repeatable.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on; `bounding_box_format`, for dicts with boxes.

    Example:
        >>> import numpy as np
        >>> RandomCrop(2, 3)(np.ones((5, 4, 4, 1), "float32"), training=True).shape
        (5, 2, 3, 1)
    """

    def __init__(self, height: int, width: int, seed: int | None = None, data_format: str | None = None, **kwargs: Any):
        super().__init__(seed, data_format, **kwargs)
        self.height = check_int(self, "height", height, 1)
        self.width = check_int(self, "width", width, 1)

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """The corner of the part, one for the whole batch; None for images that are too small."""
        spare = (shape[1] - self.height, shape[2] - self.width)
        if min(spare) < 0:
            return None
        keys = jax.random.split(key)
        return [jax.random.randint(k, (), 0, s + 1) for k, s in zip(keys, spare, strict=True)]

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The part of the images."""
        return self._crop(images, plan, "bilinear")

    def change_masks(self, masks: jax.Array, plan: Any) -> jax.Array:
        """The part of the masks."""
        return self._crop(masks, plan, "nearest")

    def _crop(self, images: jax.Array, plan: Any, interpolation: str) -> jax.Array:
        if plan is None:
            return _fill(images, (self.height, self.width), interpolation)
        size = (images.shape[0], self.height, self.width, images.shape[-1])
        return jax.lax.dynamic_slice(images, (0, *plan, 0), size)

    def change_corners(self, boxes: jax.Array, plan: Any, height: int, width: int) -> jax.Array:
        """The boxes, seen from the corner of the part."""
        if plan is None:
            return _fill_corners(boxes, height, width, (self.height, self.width))
        top, left = plan
        return boxes - jnp.stack([left, top, left, top]).astype(boxes.dtype)

    def compute_output_spec(self, data: Any, training: bool = True) -> Any:
        """The symbols of training, whatever the call says: as in Keras, models are laid out for the cropped size."""
        return super().compute_output_spec(data, training=True)


def _fill(images: jax.Array, size: tuple[int, int], interpolation: str) -> jax.Array:
    """The largest middle part with the proportions of `size`, resized to it."""
    return ops.image.resize(
        images, size, interpolation=interpolation, crop_to_aspect_ratio=True, data_format="channels_last"
    )


def _fill_corners(boxes: jax.Array, height: int, width: int, size: tuple[int, int]) -> jax.Array:
    top, left, inner_height, inner_width = _cut(height, width, size)
    boxes = boxes - jnp.asarray([left, top, left, top], boxes.dtype)
    scale = [size[1] / inner_width, size[0] / inner_height]
    return boxes * jnp.asarray([*scale, *scale], boxes.dtype)
