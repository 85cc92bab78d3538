"""Image layers that look at neighbours or at the whole image: sharpness, blur, erasing, histograms."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import ops
from lamina.core.checks import check_int, check_ints, check_number
from lamina.core.errors import describe, owner_label
from lamina.layers.image_color import _Color
from lamina.layers.image_layer import (
    ImageLayer,
    RandomImageLayer,
    check_range,
    check_value_range,
    chosen,
    rescale,
)


class RandomSharpness(_Color):
    """In training, edges are blurred or made sharper: x + (1 - 2 f) * (blurred - x) with a random f.

    Args:
        factor: the range of f, a pair between 0 and 1: 0 blurs, 0.5 changes nothing, 1 sharpens; f means (0, f).
        value_range: the lowest and highest value of pixels.
        data_format: "channels_last" or "channels_first"; the global default if None.
        seed: an integer that makes the draws repeatable.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> RandomSharpness(0.5)(np.ones((1, 4, 4, 3), "float32"), training=True).shape
        (1, 4, 4, 3)
    """

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The blurred or sharpened images."""
        kernel: Any = np.full((3, 3, 1, 1), 1 / 13)
        kernel[1, 1] = 5 / 13
        kernel = jnp.asarray(np.tile(kernel, (1, 1, images.shape[-1], 1)), images.dtype)
        blurred = ops.depthwise_conv(images, kernel, padding="same", data_format="channels_last")
        return self._clip(images + (1 - 2 * plan) * (blurred - images))


class RandomGaussianBlur(RandomImageLayer):
    """In training, images are blurred by a Gaussian of random width.

    Args:
        factor: the probability that an image is blurred, or the range that it is drawn from; f means (0, f).
        kernel_size: the odd size of the filter, or a pair for width and height.
        sigma: the standard deviation of the Gaussian, up to 1, or the range that it is drawn from; s means (0, s).
        value_range: the lowest and highest value of pixels.
        data_format: "channels_last" or "channels_first"; the global default if None.
        seed: an integer that makes the draws repeatable.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> RandomGaussianBlur()(np.ones((1, 4, 4, 3), "float32"), training=True).shape
        (1, 4, 4, 3)
    """

    def __init__(
        self,
        factor: Any = 1.0,
        kernel_size: Any = 3,
        sigma: Any = 1.0,
        value_range: Any = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, data_format, **kwargs)
        self.factor = check_range(self, "factor", factor, 0, 1)
        self.kernel_size = check_ints(self, "kernel_size", kernel_size, 2, 1)
        if any(k % 2 == 0 for k in self.kernel_size):
            raise ValueError(f"{owner_label(self)}: kernel_size must be odd, got {describe(kernel_size)}.")
        self.sigma = check_range(self, "sigma", sigma, 0, 1)
        self.value_range = check_value_range(self, value_range)

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """The two deviations, and which images are blurred."""
        first, second = jax.random.split(key)
        return jax.random.uniform(first, (2,), jnp.float32, *self.sigma) + 1e-6, chosen(second, shape[0], self.factor)

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The images, some of them blurred."""
        sigma, which = plan
        sigma = sigma.astype(images.dtype)
        blurred = ops.image.gaussian_blur(images, self.kernel_size, sigma, data_format="channels_last")
        return jnp.clip(jnp.where(which, blurred, images), *self.value_range)


class RandomErasing(RandomImageLayer):
    """In training, a random rectangle of each image is replaced by a value, or by noise.

    Args:
        factor: the probability that an image is changed, or the range that it is drawn from; f means (0, f).
        scale: the range of the rectangle's area, as a fraction of the image.
        fill_value: a number, one a channel, or None for noise.
        value_range: the lowest and highest value of pixels.
        seed: an integer that makes the draws repeatable.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> RandomErasing(fill_value=0)(np.ones((1, 8, 8, 3), "float32"), training=True).shape
        (1, 8, 8, 3)

    Reference:
        https://arxiv.org/abs/1708.04896
    """

    def __init__(
        self,
        factor: Any = 1.0,
        scale: Any = (0.02, 0.33),
        fill_value: Any = None,
        value_range: Any = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, data_format, **kwargs)
        self.factor = check_range(self, "factor", factor, 0, 1)
        self.scale = check_range(self, "scale", scale, 0, 1)
        self.fill_value = fill_value
        self.value_range = check_value_range(self, value_range)

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """The rectangles, the filling, and which images are changed."""
        size, place, noise, which = jax.random.split(key, 4)
        sides = jnp.sqrt(jax.random.uniform(size, (2, shape[0]), jnp.float32, *self.scale))
        inside = rectangles(place, shape, sides[0], sides[1])[0]
        if self.fill_value is None:
            filling = jax.random.normal(noise, shape, jnp.float32) * self.value_range[1]
        else:
            filling = jnp.broadcast_to(jnp.asarray(self.fill_value, jnp.float32), shape)
        return inside & chosen(which, shape[0], self.factor), jnp.clip(filling, *self.value_range)

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The images with holes."""
        inside, filling = plan
        return jnp.where(inside, filling.astype(images.dtype), images)


def rectangles(key: Any, shape: tuple[int, ...], down: jax.Array, across: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Which places lie in rectangles at random positions, given their sides as fractions; and their share of the area.

    Shape:
        a mask (batch, height, width, 1), a share (batch, 1, 1, 1)
    """
    keys = jax.random.split(key)
    inside: Any = True
    for k, size, side, axis in ((keys[0], shape[1], down, 1), (keys[1], shape[2], across, 2)):
        length = side * size
        start = jax.random.uniform(k, (shape[0],), jnp.float32) * (size - length)
        grid_shape = [1, 1, 1, 1]
        grid_shape[axis] = size
        grid = jnp.arange(size, dtype=jnp.float32).reshape(grid_shape)
        start, length = start.reshape(-1, 1, 1, 1), length.reshape(-1, 1, 1, 1)
        inside = inside & (grid >= start) & (grid < start + length)
    return inside, inside.mean((1, 2), keepdims=True, dtype=jnp.float32)


class AutoContrast(ImageLayer):
    """The values of each channel of each image stretched over the whole value range, also outside of training.

    Args:
        value_range: the lowest and highest value of pixels.
        **kwargs: `data_format`, `name`, `dtype` and so on, as for every image layer.

    Example:
        >>> import numpy as np
        >>> AutoContrast()(np.array([[[[1.0], [2.0]]]])).tolist()
        [[[[0.0], [255.0]]]]
    """

    always = True

    def __init__(self, value_range: Any = (0, 255), **kwargs: Any):
        super().__init__(**kwargs)
        self.value_range = check_value_range(self, value_range)

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The stretched images; a channel of one value stays as it is."""
        low, high = images.min((1, 2), keepdims=True), images.max((1, 2), keepdims=True)
        flat = high == low
        stretched = rescale((images - low) / jnp.where(flat, 1, high - low), (0, 1), self.value_range)
        return jnp.where(flat, images, stretched)


class Equalization(ImageLayer):
    """The values of each channel of each image spread so that all are about equally frequent.

    Args:
        value_range: the lowest and highest value of pixels.
        bins: the number of steps that are told apart.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> Equalization()(np.array([[[[1.0], [2.0], [3.0]]]])).tolist()
        [[[[0.0], [128.0], [255.0]]]]
    """

    always = True

    def __init__(self, value_range: Any = (0, 255), bins: int = 256, data_format: str | None = None, **kwargs: Any):
        super().__init__(data_format, **kwargs)
        self.value_range = check_value_range(self, value_range)
        self.bins = check_int(self, "bins", bins, 2)

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The equalized images; a channel of one step stays as it is."""
        x = rescale(images.astype("float32"), self.value_range, (0, 255))
        steps = jnp.clip((x * (self.bins - 1) / 255).astype("int32"), 0, self.bins - 1)

        def one(channel: jax.Array, step: jax.Array) -> jax.Array:
            counts = jnp.zeros(self.bins, "int32").at[step.ravel()].add(1)
            below = jnp.cumsum(counts)
            first = below[jnp.argmax(below > 0)]
            spread = below[-1] - first
            table = jnp.clip(jnp.round((below - first) * 255 / jnp.maximum(spread, 1)), 0, 255)
            return jnp.where(spread == 0, channel, table[step])

        per_channel = jax.vmap(jax.vmap(one, -1, -1))
        return rescale(per_channel(x, steps), (0, 255), self.value_range)


class ContrastLimitedAdaptiveHistogramEqualization(ImageLayer):
    """Equalization tile by tile, with a limit on how much contrast may grow; also outside of training.

    Args:
        value_range: the lowest and highest value of pixels.
        clip_limit: the most that one value may count, as a multiple of the mean; 0 for no limit.
        tile_grid_size: the number of tiles along height and width.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> layer = ContrastLimitedAdaptiveHistogramEqualization(tile_grid_size=(2, 2))
        >>> layer(np.ones((1, 8, 8, 3), "float32")).shape
        (1, 8, 8, 3)

    Reference:
        Zuiderveld, Contrast Limited Adaptive Histogram Equalization, Graphics Gems IV, 1994
    """

    always = True

    def __init__(
        self,
        value_range: Any = (0, 255),
        clip_limit: float = 4.0,
        tile_grid_size: Any = (8, 8),
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(data_format, **kwargs)
        self.value_range = check_value_range(self, value_range)
        self.clip_limit = check_number(self, "clip_limit", clip_limit, 0)
        self.tile_grid_size = check_ints(self, "tile_grid_size", tile_grid_size, 2, 1)

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The equalized images."""
        x = rescale(images.astype("float32"), self.value_range, (0, 255))
        plane = jax.vmap(jax.vmap(self._equalize, -1, -1))
        return rescale(plane(x), (0, 255), self.value_range)

    def _equalize(self, x: jax.Array) -> jax.Array:
        """One channel (height, width) with values from 0 to 255."""
        height, width = x.shape
        rows, columns = self.tile_grid_size
        tile = (-(-height // rows), -(-width // columns))
        x = jnp.pad(x, [(0, tile[0] * rows - height), (0, tile[1] * columns - width)], mode="symmetric")
        steps = jnp.clip(x.astype("int32"), 0, 255)
        tiles = steps.reshape(rows, tile[0], columns, tile[1]).transpose(0, 2, 1, 3).reshape(rows * columns, -1)
        size = tiles.shape[1]
        counts = jnp.zeros((rows * columns, 256)).at[jnp.arange(rows * columns)[:, None], tiles].add(1.0)
        if self.clip_limit > 0:  # what is cut off is shared by all values
            clipped = jnp.minimum(counts, self.clip_limit * size / 256)
            counts = clipped + (counts - clipped).sum(-1, keepdims=True) / 256
        below = jnp.cumsum(counts, -1)
        first = below[:, :1]
        spread = size - first
        tables = jnp.clip((below - first) * 255 / jnp.where(spread == 0, 1, spread), 0, 255)
        tables = jnp.pad(tables.reshape(rows, columns, 256), [(1, 1), (1, 1), (0, 0)], mode="edge")
        down, across = _between(tile[0] * rows, tile[0]), _between(tile[1] * columns, tile[1])
        result = jnp.zeros_like(x)
        for y, y_weight in down:
            for z, z_weight in across:
                values = tables[y[:, None], z[None, :], steps]
                result = result + values * y_weight[:, None] * z_weight[None, :]
        return result[:height, :width]


def _between(size: int, tile: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each pixel along an axis the two tiles (of a grid with a border) whose middles it lies between."""
    place = (np.arange(size) - tile / 2) / tile + 1
    low = np.floor(place).astype(int)
    weight = (place - low).astype("float32")
    return [(low, 1 - weight), (low + 1, weight)]
