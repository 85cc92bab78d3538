"""Random image layers that change colours and leave places alone."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina import ops
from lamina.core.checks import check_number
from lamina.layers.image_layer import (
    RandomImageLayer,
    check_range,
    check_value_range,
    chosen,
    rescale,
    uniform,
)


def grey(images: jax.Array) -> jax.Array:
    """The brightness of colours, in one channel."""
    return ops.image.rgb_to_grayscale(images, data_format="channels_last")


class _Color(RandomImageLayer):
    """A random change of colours, of a strength `factor` that is drawn for each image."""

    _bounds: tuple[float, float] = (0, 1)
    _symmetric = False

    def __init__(
        self,
        factor: Any,
        value_range: Any = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, data_format, **kwargs)
        self.factor = check_range(self, "factor", factor, *self._bounds, symmetric=self._symmetric)
        self.value_range = check_value_range(self, value_range)

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """The strength for each image."""
        return uniform(key, shape[0], self.factor)

    def _clip(self, images: jax.Array) -> jax.Array:
        return jnp.clip(images, *self.value_range)


class RandomBrightness(_Color):
    """In training, a random share of the value range is added to all pixels of an image.

    Args:
        factor: the range of the share, a pair between -1 (black) and 1 (white); f means (-f, f).
        value_range: the lowest and highest value of pixels.
        seed: an integer that makes the draws repeatable.
        **kwargs: `data_format`, `name`, `dtype` and so on, as for every image layer.

    Example:
        >>> import numpy as np
        >>> RandomBrightness((0.2, 0.2))(np.full((1, 1, 1, 3), 100.0), training=True).tolist()
        [[[[151.0, 151.0, 151.0]]]]
    """

    _bounds, _symmetric = (-1, 1), True

    def __init__(self, factor: Any, value_range: Any = (0, 255), seed: int | None = None, **kwargs: Any):
        super().__init__(factor, value_range, seed=seed, **kwargs)

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The brighter or darker images."""
        return self._clip(images + plan * (self.value_range[1] - self.value_range[0]))


class RandomContrast(_Color):
    """In training, (x - mean) * f + mean, with the mean of each channel and a random f.

    Args:
        factor: the limits (a, b) of f between 1 - a and 1 + b; one number b means (0, b).
        value_range: the lowest and highest value of pixels.
        seed: an integer that makes the draws repeatable.
        **kwargs: `data_format`, `name`, `dtype` and so on, as for every image layer.

    Example:
        >>> import numpy as np
        >>> RandomContrast(0.5)(np.ones((1, 2, 2, 3), "float32"), training=True).shape
        (1, 2, 2, 3)
    """

    def __init__(self, factor: Any, value_range: Any = (0, 255), seed: int | None = None, **kwargs: Any):
        super().__init__(factor, value_range, seed=seed, **kwargs)

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """f for each image."""
        return uniform(key, shape[0], (1 - self.factor[0], 1 + self.factor[1]))

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The images with more or less contrast."""
        mean = images.mean((1, 2), keepdims=True)
        return self._clip((images - mean) * plan + mean)


class RandomColorDegeneration(_Color):
    """In training, colours fade by a random amount: x + f * (grey - x).

    Args:
        factor: the range of f, a pair between -1 and 1: 0 for none, 1 for grey; f means (-f, f).
        value_range: the lowest and highest value of pixels.
        data_format: "channels_last" or "channels_first"; the global default if None.
        seed: an integer that makes the draws repeatable.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> RandomColorDegeneration(0.5)(np.ones((1, 2, 2, 3), "float32"), training=True).shape
        (1, 2, 2, 3)
    """

    _bounds, _symmetric = (-1, 1), True

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The faded images."""
        return self._clip(images + plan * (grey(images) - images))


class _HueSaturation(_Color):
    """A change of one channel of hue, saturation and value."""

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The images in changed colours."""
        x = rescale(images.astype(jnp.promote_types(images.dtype, jnp.float32)), self.value_range, (0, 1))
        hue, saturation, value = jnp.moveaxis(ops.image.rgb_to_hsv(x, data_format="channels_last"), -1, 0)
        hue, saturation = self._recolor(hue, saturation, plan[..., 0])
        x = ops.image.hsv_to_rgb(jnp.stack([hue, saturation, value], -1), data_format="channels_last")
        return rescale(jnp.clip(x, 0, 1), (0, 1), self.value_range)

    def _recolor(self, hue: jax.Array, saturation: jax.Array, plan: Any) -> tuple[jax.Array, jax.Array]:
        raise NotImplementedError


class RandomHue(_HueSaturation):
    """In training, hues are turned by a random angle.

    Args:
        factor: the range of the angle in half turns, in both directions: a pair between 0 and 1; f means (0, f).
        value_range: the lowest and highest value of pixels.
        data_format: "channels_last" or "channels_first"; the global default if None.
        seed: an integer that makes the draws repeatable.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> RandomHue(0.5)(np.ones((1, 2, 2, 3), "float32"), training=True).shape
        (1, 2, 2, 3)
    """

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """The angle for each image, in whole turns."""
        first, second = jax.random.split(key)
        sign = jnp.where(jax.random.bernoulli(second, 0.5, (shape[0], 1, 1, 1)), 0.5, -0.5)
        return sign * uniform(first, shape[0], self.factor)

    def _recolor(self, hue: jax.Array, saturation: jax.Array, plan: Any) -> tuple[jax.Array, jax.Array]:
        hue = hue + plan
        return jnp.where(hue > 1, hue - 1, jnp.where(hue < 0, hue + 1, hue)), saturation


class RandomSaturation(_HueSaturation):
    """In training, saturations are multiplied by f / (1 - f) with a random f.

    Args:
        factor: the range of f, a pair up to 1: 0 gives grey, 0.5 changes nothing, 1 the purest colours; one number f
            means (-f, f).
        value_range: the lowest and highest value of pixels.
        data_format: "channels_last" or "channels_first"; the global default if None.
        seed: an integer that makes the draws repeatable.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> RandomSaturation(0.5)(np.ones((1, 2, 2, 3), "float32"), training=True).shape
        (1, 2, 2, 3)
    """

    _bounds, _symmetric = (-1, 1), True

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """The multiplier for each image."""
        f = uniform(key, shape[0], self.factor)
        return f / (1 - f + 1e-7)

    def _recolor(self, hue: jax.Array, saturation: jax.Array, plan: Any) -> tuple[jax.Array, jax.Array]:
        return hue, jnp.clip(saturation * plan, 0, 1)


class RandomGrayscale(RandomImageLayer):
    """In training, each image is made grey with a given probability; it keeps its number of channels.

    Args:
        factor: the probability.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype`, `seed` and so on.

    Example:
        >>> import numpy as np
        >>> RandomGrayscale(1.0)(np.ones((1, 2, 2, 3), "float32"), training=True).shape
        (1, 2, 2, 3)
    """

    def __init__(self, factor: float = 0.5, data_format: str | None = None, **kwargs: Any):
        super().__init__(data_format=data_format, **kwargs)
        self.factor = check_number(self, "factor", factor, 0, 1)

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """Which images become grey."""
        return jax.random.bernoulli(key, self.factor, (shape[0], 1, 1, 1))

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The images, some of them grey."""
        return jnp.where(plan, grey(images), images)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        config = super().get_config()
        if self.seed is None:
            del config["seed"]
        return config


class RandomInvert(_Color):
    """In training, images turn into their negative with a random probability.

    Args:
        factor: the probability, or the range that it is drawn from; f means (0, f).
        value_range: the lowest and highest value of pixels.
        seed: an integer that makes the draws repeatable.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> RandomInvert((1, 1))(np.full((1, 1, 1, 3), 55.0), training=True).tolist()
        [[[[200.0, 200.0, 200.0]]]]
    """

    def __init__(
        self,
        factor: Any = 1.0,
        value_range: Any = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(factor, value_range, data_format, seed, **kwargs)

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """Which images are inverted."""
        return chosen(key, shape[0], self.factor)

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The images, some of them inverted."""
        return jnp.where(plan, self.value_range[0] + self.value_range[1] - images, images)


class RandomPosterization(_Color):
    """In training, only the leading bits of each channel are kept.

    Args:
        factor: how many bits, from 1 to 8, or the range that it is drawn from; n means (1, n).
        value_range: the lowest and highest value of pixels.
        data_format: "channels_last" or "channels_first"; the global default if None.
        seed: an integer that makes the draws repeatable.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> RandomPosterization((1, 1))(np.full((1, 1, 1, 3), 200.0), training=True).tolist()
        [[[[128.0, 128.0, 128.0]]]]
    """

    _bounds = (1, 8)

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """The number of bits that each image loses."""
        low, high = map(int, self.factor)
        return (8 - jax.random.randint(key, (shape[0], 1, 1, 1), low, high + 1)).astype("uint8")

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The images in fewer colours."""
        x = rescale(images, self.value_range, (0, 255)).astype("uint8")
        x = jnp.left_shift(jnp.right_shift(x, plan), plan).astype(images.dtype)
        return rescale(x, (0, 255), self.value_range)


class Solarization(RandomImageLayer):
    """In training, pixels above a random threshold turn into their negative.

    Args:
        addition_factor: the range of what is added to pixels before, as a fraction of the value range; f means (0, f).
        threshold_factor: the range of the threshold, likewise.
        value_range: the lowest and highest value of pixels.
        seed: an integer that makes the draws repeatable.
        **kwargs: `data_format`, `name`, `dtype` and so on, as for every image layer.

    Example:
        >>> import numpy as np
        >>> Solarization()(np.full((1, 1, 1, 3), 55.0), training=True).tolist()
        [[[[200.0, 200.0, 200.0]]]]
    """

    def __init__(
        self,
        addition_factor: Any = 0.0,
        threshold_factor: Any = 0.0,
        value_range: Any = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, **kwargs)
        self.addition_factor = check_range(self, "addition_factor", addition_factor, 0, 1)
        self.threshold_factor = check_range(self, "threshold_factor", threshold_factor, 0, 1)
        self.value_range = check_value_range(self, value_range)

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """Addition and threshold for each image, in 255 steps."""
        first, second = jax.random.split(key)
        addition = uniform(first, shape[0], self.addition_factor)
        return addition * 255, uniform(second, shape[0], self.threshold_factor) * 255

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The solarized images."""
        addition, threshold = plan
        x = jnp.clip(rescale(images, self.value_range, (0, 255)) + addition, 0, 255)
        return rescale(jnp.where(x < threshold, x, 255 - x), (0, 255), self.value_range)


class RandomColorJitter(RandomImageLayer):
    """In training, brightness, contrast, saturation and hue are changed at random, one after the other.

    Args:
        value_range: the lowest and highest value of pixels.
        brightness_factor: as in `RandomBrightness`; None for no change.
        contrast_factor: as in `RandomContrast`; None for no change.
        saturation_factor: as in `RandomSaturation`; None for no change.
        hue_factor: as in `RandomHue`; None for no change.
        seed: an integer that makes the draws repeatable.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> RandomColorJitter(hue_factor=0.2)(np.ones((1, 2, 2, 3), "float32"), training=True).shape
        (1, 2, 2, 3)
    """

    def __init__(
        self,
        value_range: Any = (0, 255),
        brightness_factor: Any = None,
        contrast_factor: Any = None,
        saturation_factor: Any = None,
        hue_factor: Any = None,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, data_format, **kwargs)
        self.value_range = check_value_range(self, value_range)
        self.brightness_factor, self.contrast_factor = brightness_factor, contrast_factor
        self.saturation_factor, self.hue_factor = saturation_factor, hue_factor
        steps = [
            (RandomBrightness, brightness_factor),
            (RandomContrast, contrast_factor),
            (RandomSaturation, saturation_factor),
            (RandomHue, hue_factor),
        ]
        self._steps = [cls(f, value_range=self.value_range) for cls, f in steps if f is not None]

    # The steps draw from this layer's keys; their own generators are not part of it.
    _untracked = RandomImageLayer._untracked | {"_steps"}

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """What each step draws."""
        keys = jax.random.split(key, max(len(self._steps), 1))
        return [step.draw(k, shape) for step, k in zip(self._steps, keys, strict=False)]

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The images after all steps."""
        for step, drawn in zip(self._steps, plan, strict=True):
            images = step.change(images, drawn)
        return images
