"""Layers that act in training only: dropout, noise, penalties on activity."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lamina import regularizers
from lamina.core.checks import check_number
from lamina.core.errors import ShapeError, owner_label
from lamina.layers.arguments import check_data_format
from lamina.layers.input_spec import InputSpec
from lamina.layers.layer import Layer
from lamina.state.rng import SeedGenerator


def keep_mask(key: jax.Array, rate: float, shape: tuple[int, ...]) -> jax.Array:
    """True with probability 1 - rate, place by place.

    Random bits are compared with the rate, without a detour over floats; one byte a place is enough for a rate that is
    a multiple of 1/256, such as 0.5 or 0.25.
    """
    width = 8 if float(rate * 2**8).is_integer() else 32
    limit = round(rate * 2**width)
    if width == 32:
        return jax.random.bits(key, shape, "uint32") >= np.uint32(min(limit, 2**32 - 1))
    size = math.prod(shape)
    words = jax.random.bits(key, (-(-size // 4),), "uint32")  # the generator is slower on single bytes
    octets = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1)[:size]
    return octets.reshape(shape) >= np.uint8(limit)


class Dropout(Layer):
    """In training, each input is 0 with probability `rate` and else x / (1 - rate); otherwise x itself.

    Args:
        rate: the share of inputs to drop, in [0, 1].
        noise_shape: the shape of the mask, with 1 on axes along which it is shared and None where the input's
            size holds; (None, 1, None) drops whole features of a sequence.
        seed: an integer that makes the draws repeatable.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Raises:
        ValueError: `rate` is not between 0 and 1.

    Example:
        >>> import numpy as np
        >>> x = np.ones((2, 3), "float32")
        >>> bool((Dropout(0.5)(x) == x).all())
        True
        >>> sorted(set(Dropout(0.5, seed=1)(np.ones(50, "float32"), training=True).tolist()))
        [0.0, 2.0]

    Reference:
        https://jmlr.org/papers/v15/srivastava14a.html
    """

    def __init__(self, rate: float, noise_shape: Any = None, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate = check_number(self, "rate", rate, 0, 1)
        self.seed = seed
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)
        self.seed_generator = SeedGenerator(seed)
        self.supports_masking = True

    def _mask_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if self.noise_shape is None:
            return shape
        if len(self.noise_shape) != len(shape):
            raise ShapeError(
                f"{owner_label(self)}: noise_shape must have the rank of the input of shape {shape}, got "
                f"{self.noise_shape}."
            )
        return tuple(d if n is None else n for n, d in zip(self.noise_shape, shape, strict=True))

    def call(self, inputs: Any, training: bool = False) -> jax.Array:
        """The input, in training with places dropped."""
        if not training or self.rate == 0:
            return inputs
        if self.rate == 1:
            return jnp.zeros_like(inputs)
        keep = keep_mask(self.seed_generator.next(), self.rate, self._mask_shape(inputs.shape))
        return jnp.where(keep, inputs * jnp.asarray(1 / (1 - self.rate), inputs.dtype), 0)


class _SpatialDropout(Dropout):
    """Dropout of whole channels."""

    rank: ClassVar[int]
    _layouts: ClassVar[bool] = True

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any):
        super().__init__(rate, seed=seed, **kwargs)
        self.data_format = "channels_last"
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def _mask_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        ones = (1,) * self.rank
        return (shape[0], *ones, shape[-1]) if self.data_format == "channels_last" else (*shape[:2], *ones)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        config = super().get_config()
        del config["noise_shape"], config["trainable"]
        return config


class SpatialDropout1D(_SpatialDropout):
    """Dropout of whole features of a sequence.

    Shape:
        (batch, steps, features) -> the same

    Args:
        rate: the share of features to drop, in [0, 1].
        seed: an integer that makes the draws repeatable.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> y = SpatialDropout1D(0.5, seed=1)(np.ones((1, 4, 20), "float32"), training=True)
        >>> bool((y == y[:, :1]).all())
        True

    Reference:
        https://arxiv.org/abs/1411.4280
    """

    rank = 1


class _LayoutSpatialDropout(_SpatialDropout):
    def __init__(self, rate: float, data_format: str | None = None, seed: int | None = None, **kwargs: Any):
        super().__init__(rate, seed=seed, **kwargs)
        self.data_format = check_data_format(self, data_format)


class SpatialDropout2D(_LayoutSpatialDropout):
    """Dropout of whole channels of an image.

    Shape:
        (batch, height, width, channels) -> the same

    Args:
        rate: the share of channels to drop, in [0, 1].
        data_format: "channels_last" or "channels_first"; the global default if None.
        seed: an integer that makes the draws repeatable.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> y = SpatialDropout2D(0.5, seed=1)(np.ones((1, 4, 4, 20), "float32"), training=True)
        >>> bool((y == y[:, :1, :1]).all())
        True
    """

    rank = 2


class SpatialDropout3D(_LayoutSpatialDropout):
    """Dropout of whole channels of a volume.

    Shape:
        (batch, depth, height, width, channels) -> the same

    Args:
        rate: the share of channels to drop, in [0, 1].
        data_format: "channels_last" or "channels_first"; the global default if None.
        seed: an integer that makes the draws repeatable.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> SpatialDropout3D(0.5)(np.ones((1, 2, 2, 2, 3), "float32"), training=True).shape
        (1, 2, 2, 2, 3)
    """

    rank = 3


class GaussianNoise(Layer):
    """In training, x plus normal noise of a given deviation; otherwise x itself.

    Args:
        stddev: the standard deviation of the noise.
        seed: an integer that makes the draws repeatable.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> GaussianNoise(0.1)(np.ones((2, 3), "float32"), training=True).shape
        (2, 3)
    """

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.stddev = check_number(self, "stddev", stddev, 0)
        self.seed = seed
        self.seed_generator = SeedGenerator(seed)
        self.supports_masking = True

    def call(self, inputs: Any, training: bool = False) -> jax.Array:
        """The input, in training with noise."""
        if not training or self.stddev == 0:
            return inputs
        noise = jax.random.normal(self.seed_generator.next(), inputs.shape, inputs.dtype)
        return inputs + noise * jnp.asarray(self.stddev, inputs.dtype)


class GaussianDropout(Layer):
    """In training, x times normal noise of mean 1 and deviation sqrt(rate / (1 - rate)); otherwise x itself.

    Args:
        rate: the rate of the dropout whose variance the noise has, in [0, 1).
        seed: an integer that makes the draws repeatable.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> GaussianDropout(0.1)(np.ones((2, 3), "float32"), training=True).shape
        (2, 3)
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate = check_number(self, "rate", rate, 0, 1)
        if self.rate == 1:
            raise ValueError(f"{owner_label(self)}: rate must be below 1, for the noise's deviation is infinite there.")
        self.seed = seed
        self.seed_generator = SeedGenerator(seed)
        self.supports_masking = True

    def call(self, inputs: Any, training: bool = False) -> jax.Array:
        """The input, in training times noise."""
        if not training or self.rate == 0:
            return inputs
        deviation = jnp.asarray(math.sqrt(self.rate / (1 - self.rate)), inputs.dtype)
        noise = jax.random.normal(self.seed_generator.next(), inputs.shape, inputs.dtype)
        return inputs * (1 + noise * deviation)


class AlphaDropout(Dropout):
    """Dropout that keeps mean 0 and variance 1, for networks of `selu` units.

    In training, dropped inputs take the lowest value of `selu`, and all are scaled and shifted to keep both moments.

    Args:
        rate: the share of inputs to drop, in [0, 1].
        noise_shape: as in `Dropout`.
        seed: an integer that makes the draws repeatable.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> AlphaDropout(0.1)(np.ones((2, 3), "float32"), training=True).shape
        (2, 3)

    Reference:
        https://arxiv.org/abs/1706.02515
    """

    _LOWEST = -1.0507009873554805 * 1.6732632423543772

    def call(self, inputs: Any, training: bool = False) -> jax.Array:
        """The input, in training with places dropped."""
        if not training or self.rate == 0:
            return inputs
        if self.rate == 1:
            return jnp.zeros_like(inputs)
        keep = keep_mask(self.seed_generator.next(), self.rate, self._mask_shape(inputs.shape))
        kept = 1 - self.rate
        scale = 1 / math.sqrt(kept * (1 + self.rate * self._LOWEST**2))
        shift = -scale * self._LOWEST * self.rate
        low = jnp.asarray(self._LOWEST, inputs.dtype)
        return jnp.where(keep, inputs, low) * jnp.asarray(scale, inputs.dtype) + jnp.asarray(shift, inputs.dtype)


class ActivityRegularization(Layer):
    """The input itself, with the penalty l1 * sum(|x|) + l2 * sum(x**2) added to the loss.

    Args:
        l1: the factor of the absolute values.
        l2: the factor of the squares.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> layer = ActivityRegularization(l1=0.5)
        >>> _ = layer(np.ones((1, 4), "float32"))
        >>> float(layer.losses[0])
        2.0
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any):
        super().__init__(activity_regularizer=regularizers.L1L2(l1=l1, l2=l2), **kwargs)
        self.l1, self.l2 = l1, l2
        self.supports_masking = True

    def call(self, inputs: Any) -> jax.Array:
        """The input."""
        return inputs

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        config = super().get_config()
        config.pop("activity_regularizer", None)
        return config
