"""Image layers that mix images with each other, or several random changes: MixUp, CutMix, AugMix, RandAugment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.checks import check_choice, check_int, check_number
from lamina.layers.image_color import (
    RandomBrightness,
    RandomColorDegeneration,
    RandomContrast,
    RandomPosterization,
    Solarization,
)
from lamina.layers.image_filter import AutoContrast, Equalization, RandomSharpness, rectangles
from lamina.layers.image_geometry import RandomRotation, RandomShear, RandomTranslation
from lamina.layers.image_layer import ImageLayer, RandomImageLayer, check_range, check_value_range


def _weigh(weight: jax.Array, x: jax.Array, order: jax.Array) -> jax.Array:
    """weight * x + (1 - weight) * x[order], with one weight an element of the batch."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    weight = weight.reshape(-1, *[1] * (x.ndim - 1)).astype(x.dtype)
    return weight * x + (1 - weight) * x[order]


class MixUp(RandomImageLayer):
    """In training, each image becomes a weighted mean of itself and another of the batch, and its label likewise.

    Args:
        alpha: the parameter of the beta distribution of the weights; larger values mix more evenly.
        data_format: "channels_last" or "channels_first"; the global default if None.
        seed: an integer that makes the draws repeatable.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> out = MixUp()({"images": np.ones((4, 2, 2, 3), "float32"), "labels": np.eye(4, dtype="float32")})
        >>> np.asarray(out["labels"].sum(-1)).round(4).tolist()
        [1.0, 1.0, 1.0, 1.0]

    Reference:
        https://arxiv.org/abs/1710.09412
    """

    def __init__(self, alpha: float = 0.2, data_format: str | None = None, seed: int | None = None, **kwargs: Any):
        super().__init__(seed, data_format, **kwargs)
        self.alpha = check_number(self, "alpha", alpha, 0)

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """The weight and the partner of each image."""
        first, second = jax.random.split(key)
        weight = jax.random.beta(first, max(self.alpha, 1e-6), max(self.alpha, 1e-6), (shape[0],))
        return weight, jax.random.permutation(second, shape[0])

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The mixed images."""
        return _weigh(plan[0], images, plan[1])

    def change_labels(self, labels: jax.Array, plan: Any) -> jax.Array:
        """The mixed labels."""
        return _weigh(plan[0], labels, plan[1])

    def change_masks(self, masks: jax.Array, plan: Any) -> jax.Array:
        """The mixed masks."""
        return _weigh(plan[0], masks, plan[1])


class CutMix(RandomImageLayer):
    """In training, a random rectangle of each image is replaced by that of another; labels are mixed by area.

    Args:
        factor: the range of the parameter of the beta distribution of areas, up to 1; f means (0, f).
        seed: an integer that makes the draws repeatable.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> out = CutMix()({"images": np.ones((4, 8, 8, 3), "float32"), "labels": np.eye(4, dtype="float32")})
        >>> np.asarray(out["labels"].sum(-1)).round(4).tolist()
        [1.0, 1.0, 1.0, 1.0]

    Reference:
        https://arxiv.org/abs/1905.04899
    """

    def __init__(self, factor: Any = 1.0, seed: int | None = None, data_format: str | None = None, **kwargs: Any):
        super().__init__(seed, data_format, **kwargs)
        self.factor = check_range(self, "factor", factor, 0, 1)

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """The rectangle, its share of the area, and the partner of each image."""
        strength, area, place, partner = jax.random.split(key, 4)
        alpha = jax.random.uniform(strength, (), jnp.float32, *self.factor) + 1e-6
        side = jnp.sqrt(1 - jax.random.beta(area, alpha, alpha, (shape[0],)))
        inside, share = rectangles(place, shape, side, side)
        return inside, share, jax.random.permutation(partner, shape[0])

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The images, each with a part of another."""
        inside, _, order = plan
        return jnp.where(inside, images[order], images)

    def change_labels(self, labels: jax.Array, plan: Any) -> jax.Array:
        """The labels, weighted by area."""
        _, share, order = plan
        return _weigh(1 - share, labels, order)

    def change_masks(self, masks: jax.Array, plan: Any) -> jax.Array:
        """The masks, each with a part of another."""
        return self.change(masks, plan)


class _Policy(RandomImageLayer):
    """A layer that applies other image layers, drawn at random."""

    # The operations draw from this layer's keys; their own generators are not part of it.
    _untracked = RandomImageLayer._untracked | {"_operations"}

    _operations: list[ImageLayer]

    def _branches(self, shape: tuple[int, ...]) -> list[Callable[[Any, jax.Array], jax.Array]]:
        """A pure function of (key, images) for each operation."""

        def branch(layer: ImageLayer) -> Callable[[Any, jax.Array], jax.Array]:
            return lambda key, x: layer.change(x, layer.draw(key, shape)).astype(x.dtype)

        return [branch(layer) for layer in self._operations]


class RandAugment(_Policy):
    """In training, a given number of operations, drawn from a list of eleven, one after the other.

    The operations: contrast stretched, equalized, solarized, fewer colours, faded colours, contrast, brightness,
    sharpness, turned, sheared, shifted.

    Args:
        value_range: the lowest and highest value of pixels.
        num_ops: the number of operations.
        factor: the strength of the operations, a pair up to 1; f means (0, f).
        interpolation: "bilinear" or "nearest".
        seed: an integer that makes the draws repeatable.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> RandAugment()(np.ones((2, 8, 8, 3), "float32"), training=True).shape
        (2, 8, 8, 3)

    Reference:
        https://arxiv.org/abs/1909.13719
    """

    def __init__(
        self,
        value_range: Any = (0, 255),
        num_ops: int = 2,
        factor: Any = 0.5,
        interpolation: str = "bilinear",
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, data_format, **kwargs)
        self.value_range = check_value_range(self, value_range)
        self.num_ops = check_int(self, "num_ops", num_ops, 1)
        self.factor = check_range(self, "factor", factor, 0, 1)
        self.interpolation = check_choice(self, "interpolation", interpolation, ["nearest", "bilinear"])
        self._operations = _operations(self.factor, self.value_range, self.interpolation, True)

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """Which operations, and a key for each."""
        first, second = jax.random.split(key)
        return jax.random.randint(first, (self.num_ops,), 0, len(self._operations)), jax.random.split(
            second, self.num_ops
        )

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The images after all operations."""
        branches = self._branches(images.shape)

        def step(x: jax.Array, drawn: Any) -> tuple[jax.Array, None]:
            return jax.lax.switch(drawn[0], branches, drawn[1], x), None

        images, _ = jax.lax.scan(step, images, plan)
        return jnp.clip(images, *self.value_range)


class AugMix(_Policy):
    """In training, each image becomes a random mean of itself and of several chains of random operations.

    Args:
        value_range: the lowest and highest value of pixels.
        num_chains: the number of chains.
        chain_depth: the number of operations in a chain, of which each may be left out.
        factor: the strength of the operations, a pair up to 1; f means (0, f).
        alpha: the parameter of the distributions of the weights.
        all_ops: whether brightness, faded colours, contrast and sharpness are among the operations.
        interpolation: "bilinear" or "nearest".
        seed: an integer that makes the draws repeatable.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> AugMix()(np.ones((2, 8, 8, 3), "float32"), training=True).shape
        (2, 8, 8, 3)

    Reference:
        https://arxiv.org/abs/1912.02781
    """

    def __init__(
        self,
        value_range: Any = (0, 255),
        num_chains: int = 3,
        chain_depth: int = 3,
        factor: Any = 0.3,
        alpha: float = 1.0,
        all_ops: bool = True,
        interpolation: str = "bilinear",
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, data_format, **kwargs)
        self.value_range = check_value_range(self, value_range)
        self.num_chains = check_int(self, "num_chains", num_chains, 1)
        self.chain_depth = check_int(self, "chain_depth", chain_depth, 1)
        self.factor = check_range(self, "factor", factor, 0, 1)
        self.alpha = check_number(self, "alpha", alpha, 0)
        self.all_ops = all_ops
        self.interpolation = check_choice(self, "interpolation", interpolation, ["nearest", "bilinear"])
        self._operations = _operations(self.factor, self.value_range, self.interpolation, all_ops)

    def draw(self, key: Any, shape: tuple[int, ...]) -> Any:
        """The operations of each chain with a key each, the weights of the chains, and that of the image itself."""
        which, keys, chains, own = jax.random.split(key, 4)
        form = (self.num_chains, self.chain_depth)
        alpha = max(self.alpha, 1e-6)
        weights = jax.random.dirichlet(chains, jnp.full((self.num_chains,), alpha))
        index = jax.random.randint(which, form, 0, len(self._operations) + 1)  # the last one stands for none
        return index, jax.random.split(keys, form), weights, jax.random.beta(own, alpha, alpha)

    def change(self, images: jax.Array, plan: Any) -> jax.Array:
        """The mixed images."""
        index, keys, weights, own = plan
        branches = [*self._branches(images.shape), lambda key, x: x]

        def step(x: jax.Array, drawn: Any) -> tuple[jax.Array, None]:
            return jax.lax.switch(drawn[0], branches, drawn[1], x), None

        def chain(total: jax.Array, drawn: Any) -> tuple[jax.Array, None]:
            operations, operation_keys, weight = drawn
            x, _ = jax.lax.scan(step, images, (operations, operation_keys))
            return total + weight.astype(x.dtype) * x, None

        mixed, _ = jax.lax.scan(chain, jnp.zeros_like(images), (index, keys, weights))
        own = own.astype(images.dtype)
        return jnp.clip(own * images + (1 - own) * mixed, *self.value_range)


def _operations(factor: Any, value_range: Any, interpolation: str, all_ops: bool) -> list[ImageLayer]:
    """The operations of the policies, for images in "channels_last" format."""
    common = {"value_range": value_range, "data_format": "channels_last"}
    moving: dict[str, Any] = {"interpolation": interpolation, "data_format": "channels_last"}
    strength = factor[1]
    signed = (-strength, strength)
    bits = max(8 - int(7 * strength), 1)
    found: list[ImageLayer] = [
        RandomShear(signed, signed, **moving),
        RandomTranslation(signed, signed, **moving),
        RandomRotation(signed, **moving),
        RandomPosterization((bits, 8), **common),
        Solarization(factor, factor, **common),
        AutoContrast(**common),
        Equalization(**common),
    ]
    if all_ops:
        found += [
            RandomBrightness(signed, **common),
            RandomColorDegeneration(factor, **common),
            RandomContrast(factor, **common),
            RandomSharpness((0.5 - strength / 2, 0.5 + strength / 2), **common),
        ]
    return found
