"""Random image layers that move places: flips, turns, shifts, zooms, shears, perspectives, elastic bends."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from lamina import ops
from lamina.core.checks import check_choice, check_number
from lamina.core.errors import owner_label
from lamina.layers.image_layer import RandomImageLayer, check_range, check_value_range, chosen

FILL_MODES = ("reflect", "wrap", "constant", "nearest")


class RandomFlip(RandomImageLayer):
    """In training, each image is mirrored with probability 1/2.

    Args:
        mode: "horizontal" swaps left and right, "vertical" top and bottom, "horizontal_and_vertical" draws for both.
        seed: an integer that makes the draws repeatable.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on; `bounding_box_format`, for dicts with boxes.

    Example:
        >>> import numpy as np
        >>> RandomFlip()(np.ones((2, 4, 4, 3), "float32"), training=True).shape
        (2, 4, 4, 3)
    """

    def __init__(
        self,
        mode: str = "horizontal_and_vertical",
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, data_format, **kwargs)
        self.mode = check_choice(self, "mode", mode, ["horizontal", "vertical", "horizontal_and_vertical"])

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """Whether each image is mirrored, by axis."""
        keys = jax.random.split(key)
        flips = [jax.random.bernoulli(k, 0.5, (shape[0],)) for k in keys]
        axes = [2] * ("horizontal" in self.mode) + [1] * ("vertical" in self.mode)
        return dict(zip(axes, flips, strict=False))

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The mirrored images."""
        for axis, flips in plan.items():
            images = jnp.where(flips[:, None, None, None], jnp.flip(images, axis), images)
        return images

    def change_masks(self, masks: jax.Array, plan: Any) -> jax.Array:
        """The mirrored masks."""
        return self.change(masks, plan)

    def change_corners(self, boxes: jax.Array, plan: Any, height: int, width: int) -> jax.Array:
        """The mirrored boxes."""
        left, top, right, bottom = jnp.moveaxis(boxes, -1, 0)
        if 2 in plan:
            flip = plan[2][:, None]
            left, right = jnp.where(flip, width - right, left), jnp.where(flip, width - left, right)
        if 1 in plan:
            flip = plan[1][:, None]
            top, bottom = jnp.where(flip, height - bottom, top), jnp.where(flip, height - top, bottom)
        return jnp.stack([left, top, right, bottom], -1)


class _Affine(RandomImageLayer):
    """A random affine map: `draw` gives the matrices (batch, 6) that lead from places of the output to the input."""

    def __init__(
        self,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, data_format, **kwargs)
        self.fill_mode = check_choice(self, "fill_mode", fill_mode, FILL_MODES)
        self.interpolation = check_choice(self, "interpolation", interpolation, ["nearest", "bilinear"])
        self.fill_value = check_number(self, "fill_value", fill_value)

    def _apply(self, images: jax.Array, plan: Any, interpolation: str) -> jax.Array:
        matrices = jnp.concatenate([plan, jnp.zeros((plan.shape[0], 2), plan.dtype)], -1)
        return ops.image.affine_transform(
            images.astype(jnp.promote_types(images.dtype, jnp.float32)),
            matrices,
            interpolation=interpolation,
            fill_mode=self.fill_mode,
            fill_value=self.fill_value,
            data_format="channels_last",
        )

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The images, sampled at the moved places."""
        return self._apply(images, plan, self.interpolation)

    def change_masks(self, masks: jax.Array, plan: Any) -> jax.Array:
        """The masks, each place the nearest of the old ones."""
        return self._apply(masks, plan, "nearest")

    def change_corners(self, boxes: jax.Array, plan: Any, height: int, width: int) -> jax.Array:
        """The boxes around the moved corners."""
        a0, a1, a2, b0, b1, b2 = (plan[:, i, None, None] for i in range(6))
        x, y = boxes[..., jnp.asarray([0, 2, 0, 2])], boxes[..., jnp.asarray([1, 1, 3, 3])]
        # Matrices count pixels at their centres, boxes at their corners; the inverse leads from input to output.
        x, y = x - 0.5 - a2, y - 0.5 - b2
        scale = 1 / (a0 * b1 - a1 * b0)
        new_x, new_y = (b1 * x - a1 * y) * scale + 0.5, (a0 * y - b0 * x) * scale + 0.5
        return jnp.stack([new_x.min(-1), new_y.min(-1), new_x.max(-1), new_y.max(-1)], -1)


class RandomRotation(_Affine):
    """In training, images turned about their middle by a random angle.

    Args:
        factor: the range of the angle in whole turns: a pair, counter-clockwise where positive, or f for (-f, f).
        fill_mode: what lies beyond the edge: "reflect", "wrap", "constant" or "nearest".
        interpolation: "bilinear" or "nearest".
        seed: an integer that makes the draws repeatable.
        fill_value: the constant.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on; `bounding_box_format`, for dicts with boxes.

    Example:
        >>> import numpy as np
        >>> RandomRotation(0.1)(np.ones((2, 4, 4, 3), "float32"), training=True).shape
        (2, 4, 4, 3)
    """

    def __init__(
        self,
        factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **kwargs)
        self.factor = check_range(self, "factor", factor, -1, 1, symmetric=True)

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """The matrices of the turns."""
        low, high = (2 * math.pi * f for f in self.factor)
        angle = jax.random.uniform(key, (shape[0],), jnp.float32, low, high)
        sine, cosine = jnp.sin(angle), jnp.cos(angle)
        x, y = (shape[2] - 1) / 2, (shape[1] - 1) / 2
        return jnp.stack(
            [cosine, -sine, x - cosine * x + sine * y, sine, cosine, y - sine * x - cosine * y],
            axis=-1,
        )


class RandomTranslation(_Affine):
    """In training, images shifted by random shares of their height and width.

    Args:
        height_factor: the range of the shift: a pair of fractions of the height, down where positive, or f for (-f, f).
        width_factor: likewise of the width, to the right where positive.
        fill_mode: what lies beyond the edge: "reflect", "wrap", "constant" or "nearest".
        interpolation: "bilinear" or "nearest".
        seed: an integer that makes the draws repeatable.
        fill_value: the constant.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on; `bounding_box_format`, for dicts with boxes.

    Example:
        >>> import numpy as np
        >>> RandomTranslation(0.2, 0.2)(np.ones((2, 4, 4, 3), "float32"), training=True).shape
        (2, 4, 4, 3)
    """

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **kwargs)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._height = check_range(self, "height_factor", height_factor, -1, 1, symmetric=True)
        self._width = check_range(self, "width_factor", width_factor, -1, 1, symmetric=True)

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """The matrices of the shifts."""
        down, right = jax.random.split(key)
        y = jax.random.uniform(down, (shape[0],), jnp.float32, *self._height) * shape[1]
        x = jax.random.uniform(right, (shape[0],), jnp.float32, *self._width) * shape[2]
        zero, one = jnp.zeros_like(x), jnp.ones_like(x)
        return jnp.stack([one, zero, -x, zero, one, -y], -1)


class RandomZoom(_Affine):
    """In training, images made larger or smaller inside their frame by random factors.

    Args:
        height_factor: the range of the change: a pair of fractions, smaller where positive, or f for (-f, f).
        width_factor: likewise for the width; None keeps the proportions.
        fill_mode: what lies beyond the edge: "reflect", "wrap", "constant" or "nearest".
        interpolation: "bilinear" or "nearest".
        seed: an integer that makes the draws repeatable.
        fill_value: the constant.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on; `bounding_box_format`, for dicts with boxes.

    Example:
        >>> import numpy as np
        >>> RandomZoom((-0.3, -0.1))(np.ones((2, 4, 4, 3), "float32"), training=True).shape
        (2, 4, 4, 3)
    """

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **kwargs)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._height = check_range(self, "height_factor", height_factor, -1, 1, symmetric=True)
        self._width = None
        if width_factor is not None:
            self._width = check_range(self, "width_factor", width_factor, -1, 1, symmetric=True)

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """The matrices of the zooms."""
        first, second = jax.random.split(key)
        y = 1 + jax.random.uniform(first, (shape[0],), jnp.float32, *self._height)
        x = y if self._width is None else 1 + jax.random.uniform(second, (shape[0],), jnp.float32, *self._width)
        zero = jnp.zeros_like(x)
        return jnp.stack([x, zero, (shape[2] - 1) / 2 * (1 - x), zero, y, (shape[1] - 1) / 2 * (1 - y)], -1)


class RandomShear(_Affine):
    """In training, images sheared: rows shifted in proportion to their height, columns to their width.

    Args:
        x_factor: the range of the shear of rows: a pair between 0 and 1, or f for (-f, f).
        y_factor: likewise of columns.
        interpolation: "bilinear" or "nearest".
        fill_mode: what lies beyond the edge: "reflect", "wrap", "constant" or "nearest".
        fill_value: the constant.
        data_format: "channels_last" or "channels_first"; the global default if None.
        seed: an integer that makes the draws repeatable.
        **kwargs: `name`, `dtype` and so on; `bounding_box_format`, for dicts with boxes.

    Example:
        >>> import numpy as np
        >>> RandomShear(0.3)(np.ones((2, 4, 4, 3), "float32"), training=True).shape
        (2, 4, 4, 3)
    """

    def __init__(
        self,
        x_factor: Any = 0.0,
        y_factor: Any = 0.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **kwargs)
        self.x_factor = self._check(x_factor, "x_factor")
        self.y_factor = self._check(y_factor, "y_factor")

    def _check(self, value: Any, name: str) -> tuple[Any, Any]:
        if isinstance(value, (list, tuple)):
            return check_range(self, name, value, -1, 1)
        _, high = check_range(self, name, value, 0, 1)
        return (-high, high)

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """The matrices of the shears."""
        first, second, third = jax.random.split(key, 3)
        sign = jnp.where(jax.random.bernoulli(third, 0.5, (shape[0],)), 1.0, -1.0)
        x = sign * jax.random.uniform(first, (shape[0],), jnp.float32, *self.x_factor)
        y = sign * jax.random.uniform(second, (shape[0],), jnp.float32, *self.y_factor)
        zero, one = jnp.zeros_like(x), jnp.ones_like(x)
        return jnp.stack([one, x, zero, y, one, zero], -1)


class RandomPerspective(RandomImageLayer):
    """In training, images seen from the side: each corner is pulled inwards by a random amount.

    Args:
        factor: the probability that an image is changed, or the range that it is drawn from; f means (0, f).
        scale: how far a corner may move, as a fraction of half the image.
        interpolation: "bilinear" or "nearest".
        fill_value: what lies beyond the edge.
        seed: an integer that makes the draws repeatable.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> RandomPerspective()(np.ones((2, 4, 4, 3), "float32"), training=True).shape
        (2, 4, 4, 3)
    """

    def __init__(
        self,
        factor: Any = 1.0,
        scale: float = 1.0,
        interpolation: str = "bilinear",
        fill_value: float = 0.0,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, data_format, **kwargs)
        self.factor = check_range(self, "factor", factor, 0, 1)
        self.scale = check_number(self, "scale", scale, 0, 1)
        self.interpolation = check_choice(self, "interpolation", interpolation, ["nearest", "bilinear"])
        self.fill_value = check_number(self, "fill_value", fill_value)

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """The corners before and after, and which images are changed."""
        first, second = jax.random.split(key)
        right, bottom = shape[2] - 1.0, shape[1] - 1.0
        start = jnp.asarray([[0, 0], [right, 0], [0, bottom], [right, bottom]], jnp.float32)
        inward = jnp.asarray([[1, 1], [-1, 1], [1, -1], [-1, -1]], jnp.float32)
        # Short of the middle, where the corners would meet and no projection exists.
        reach = 0.95 * self.scale / 2 * jnp.asarray([right, bottom], jnp.float32)
        end = start + inward * reach * jax.random.uniform(first, (shape[0], 4, 2), jnp.float32)
        return jnp.broadcast_to(start, end.shape), end, chosen(second, shape[0], self.factor)

    def _apply(self, images: jax.Array, plan: Any, interpolation: str) -> jax.Array:
        start, end, which = plan
        x = images.astype(jnp.promote_types(images.dtype, jnp.float32))
        moved = ops.image.perspective_transform(
            x, start, end, interpolation=interpolation, fill_value=self.fill_value, data_format="channels_last"
        )
        return jnp.where(which, moved, x)

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The images in another perspective."""
        return self._apply(images, plan, self.interpolation)

    def change_masks(self, masks: jax.Array, plan: Any) -> jax.Array:
        """The masks in another perspective."""
        return self._apply(masks, plan, "nearest")

    def change_corners(self, boxes: jax.Array, plan: Any, height: int, width: int) -> jax.Array:
        """Boxes are not moved by this layer."""
        raise _no_boxes(self)


class RandomElasticTransform(RandomImageLayer):
    """In training, images bent by a smooth random field.

    Args:
        factor: the probability that an image is changed, or the range that it is drawn from; f means (0, f).
        scale: the strength, or the range that it is drawn from; f means (0, f).
        interpolation: "bilinear" or "nearest".
        fill_mode: what lies beyond the edge: "reflect", "wrap", "constant" or "nearest".
        fill_value: the constant.
        value_range: the lowest and highest value of pixels.
        seed: an integer that makes the draws repeatable.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> RandomElasticTransform()(np.ones((2, 8, 8, 3), "float32"), training=True).shape
        (2, 8, 8, 3)
    """

    def __init__(
        self,
        factor: Any = 1.0,
        scale: Any = 1.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        value_range: Any = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, data_format, **kwargs)
        self.factor = check_range(self, "factor", factor, 0, 1)
        self.scale = check_range(self, "scale", scale, 0, 1)
        self.interpolation = check_choice(self, "interpolation", interpolation, ["nearest", "bilinear"])
        self.fill_mode = check_choice(self, "fill_mode", fill_mode, (*FILL_MODES, "mirror"))
        self.fill_value = check_number(self, "fill_value", fill_value)
        self.value_range = check_value_range(self, value_range)

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """The key of the field, its strength, and which images are changed."""
        field, strength, which = jax.random.split(key, 3)
        return field, jax.random.uniform(strength, (), jnp.float32, *self.scale), chosen(which, shape[0], self.factor)

    def _apply(self, images: jax.Array, plan: Any, interpolation: str) -> jax.Array:
        field, strength, which = plan
        x = images.astype(jnp.promote_types(images.dtype, jnp.float32))
        height, width = x.shape[1:3]
        bent = ops.image.elastic_transform(
            x,
            alpha=strength * (0.1 * max(height, width)),
            sigma=max(0.05 * self.scale[1] * min(height, width), 0.5),
            interpolation=interpolation,
            fill_mode=self.fill_mode,
            fill_value=self.fill_value,
            seed=field,
            data_format="channels_last",
        )
        return jnp.where(which, bent, x)

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The bent images."""
        return jnp.clip(self._apply(images, plan, self.interpolation), *self.value_range)

    def change_masks(self, masks: jax.Array, plan: Any) -> jax.Array:
        """The bent masks."""
        return self._apply(masks, plan, "nearest")

    def change_corners(self, boxes: jax.Array, plan: Any, height: int, width: int) -> jax.Array:
        """Boxes are not moved by this layer."""
        raise _no_boxes(self)


def _no_boxes(layer: Any) -> NotImplementedError:
    return NotImplementedError(
        f"{owner_label(layer)}: bounding boxes cannot be moved along. Leave them out, or use RandomRotation, "
        "RandomTranslation, RandomZoom, RandomShear or RandomFlip."
    )
