"""Layers that bring the data into range: Rescaling, and Normalization, which learns from a pass over the data."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core import settings
from lamina.core.config import serialize_value
from lamina.core.errors import ShapeError, describe, owner_label
from lamina.layers.layer import Layer


class Rescaling(Layer):
    """x * scale + offset.

    Args:
        scale: a number, or one a channel.
        offset: likewise.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> Rescaling(1 / 255)(np.array([[0, 255]], "uint8")).tolist()
        [[0.0, 1.0]]
    """

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.scale, self.offset = scale, offset
        self.supports_masking = True

    def call(self, inputs: Any) -> jax.Array:
        """The scaled input, as floats."""
        dtype = self.compute_dtype
        return inputs.astype(dtype) * jnp.asarray(self.scale, dtype) + jnp.asarray(self.offset, dtype)


class Normalization(Layer):
    """(x - mean) / sqrt(variance), with statistics that are given, or learned by `adapt` from data.

    Shape:
        any -> the same

    Args:
        axis: the axis, or axes, with statistics of their own, such as -1 for each feature; None for one of all.
        mean: the mean, if it is known.
        variance: the variance, if it is known.
        invert: whether normalised data is turned back: x * sqrt(variance) + mean.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Raises:
        ValueError: only one of mean and variance is given, or their shapes differ.

    Example:
        >>> import numpy as np
        >>> layer = Normalization()
        >>> layer.adapt(np.array([[0.0, 7.0], [2.0, 9.0]], "float32"))
        >>> layer(np.array([[0.0, 9.0]], "float32")).tolist()
        [[-1.0, 1.0]]
    """

    def __init__(self, axis: Any = -1, mean: Any = None, variance: Any = None, invert: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = () if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
        self.input_mean, self.input_variance = mean, variance
        self.invert = invert
        self.supports_masking = True
        if (mean is None) != (variance is None):
            missing = "variance" if variance is None else "mean"
            raise ValueError(f"{owner_label(self)}: give mean and variance both or neither; {missing} is missing.")
        if mean is not None:
            if np.shape(mean) != np.shape(variance):
                raise ValueError(
                    f"{owner_label(self)}: mean and variance must have the same shape, got {np.shape(mean)} and "
                    f"{np.shape(variance)}."
                )
            if np.ndim(mean) > len(self.axis):
                raise ValueError(
                    f"{owner_label(self)}: mean may have one axis for each of axis={self.axis}, got shape "
                    f"{np.shape(mean)}."
                )

    def build(self, input_shape: Any) -> None:
        """Creates the statistics, unless they were given."""
        rank = len(input_shape)
        wrong = [a for a in self.axis if not -rank <= a < rank]
        if wrong:
            raise ShapeError(
                f"{owner_label(self)}: axis {wrong[0]} does not exist in an input of shape {tuple(input_shape)}."
            )
        self._kept = tuple(sorted(a % rank for a in self.axis))
        unknown = [a for a in self._kept if input_shape[a] is None]
        if unknown:
            raise ShapeError(
                f"{owner_label(self)}: axis {unknown[0]} must have a known size, got shape {tuple(input_shape)}."
            )
        self._broadcast = tuple(input_shape[a] if a in self._kept else 1 for a in range(rank))
        if self.input_mean is None:
            shape = tuple(input_shape[a] for a in self._kept)
            self.adapt_mean = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="mean")
            self.adapt_variance = self.add_weight(shape=shape, initializer="ones", trainable=False, name="variance")
            # Nothing reads the count; it keeps the weights in the order of Keras' files.
            self.count = self.add_weight(shape=(), initializer="zeros", dtype="int32", trainable=False, name="count")

    @property
    def mean(self) -> Any:
        """The mean, in a shape that broadcasts to the input."""
        return self._statistic(self.input_mean, getattr(self, "adapt_mean", None))

    @property
    def variance(self) -> Any:
        """The variance, in a shape that broadcasts to the input."""
        return self._statistic(self.input_variance, getattr(self, "adapt_variance", None))

    def _statistic(self, given: Any, learned: Any) -> Any:
        if not self.built:
            return None
        if given is None:
            return learned.value.reshape(self._broadcast).astype(self.compute_dtype)
        given = jnp.asarray(given, self.compute_dtype)
        shape = [1] * len(self._broadcast)
        for i in range(1, given.ndim + 1):
            shape[self._kept[-i]] = given.shape[-i]
        return jnp.broadcast_to(given.reshape(shape), self._broadcast)

    def call(self, inputs: Any) -> jax.Array:
        """The normalised input."""
        x = inputs.astype(self.compute_dtype)
        deviation = jnp.maximum(jnp.sqrt(self.variance), jnp.asarray(settings.epsilon(), x.dtype))
        return self.mean + x * deviation if self.invert else (x - self.mean) / deviation

    def adapt(self, data: Any) -> None:
        """Learns mean and variance from data, forgetting what was learned before.

        Args:
            data: an array; or a Dataset, PyDataset or other iterable of batches, each an array or a tuple whose first
                element is one.

        Raises:
            ValueError: mean and variance were given to the constructor, or there is no data.
            ShapeError: a batch has another size on a kept axis.
        """
        if self.input_mean is not None:
            raise ValueError(
                f"{owner_label(self)}: mean and variance were given, so there is nothing to adapt. Leave them out."
            )
        batches = _batches(self, data)
        first = next(batches, None)
        if first is None:
            raise ValueError(f"{owner_label(self)}: adapt expects at least one batch, got an empty {type(data)}.")
        if not self.built:
            self._build({"input_shape": (None, *first.shape[1:]) if 0 not in self.axis else first.shape})
        reduced = tuple(a for a in range(first.ndim) if a not in self._kept)
        mean = variance = count = 0.0
        for batch in itertools.chain([first], batches):
            for axis in self._kept:
                if batch.ndim != len(self._broadcast) or batch.shape[axis] != self._broadcast[axis]:
                    raise ShapeError(
                        f"{owner_label(self)}: adapt expects batches of size {self._broadcast[axis]} on axis {axis}, "
                        f"as the layer was built with, got {describe(batch)}."
                    )
            x = batch.astype(np.float64)
            n = math.prod(batch.shape[a] for a in reduced)
            if n == 0:
                continue
            new_mean, new_variance = x.mean(reduced), x.var(reduced)
            # The statistics of two parts as those of the whole: https://doi.org/10.1080/00031305.1983.10483115
            count, share = count + n, n / (count + n)
            step = new_mean - mean
            mean = mean + step * share
            variance = variance * (1 - share) + new_variance * share + step**2 * share * (1 - share)
        self.adapt_mean.assign(np.asarray(mean, np.float32))
        self.adapt_variance.assign(np.asarray(variance, np.float32))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        config = super().get_config()
        for key, value in (("mean", self.input_mean), ("variance", self.input_variance)):
            config[key] = serialize_value(np.asarray(value).tolist() if hasattr(value, "__array__") else value)
        return config


def _batches(owner: Any, data: Any) -> Iterator[np.ndarray]:
    """The batches of an array, a PyDataset, a Dataset or another iterable."""
    if hasattr(data, "__array__"):
        yield np.asarray(data)
        return
    if isinstance(data, (list, tuple)) and data and np.isscalar(data[0]):
        yield np.asarray(data)
        return
    by_number = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    if by_number and not isinstance(data, (list, tuple, dict, str, bytes)):
        data = map(data.__getitem__, range(len(data)))
    if not hasattr(data, "__iter__") or isinstance(data, (str, bytes, dict)):
        raise TypeError(
            f"{owner_label(owner)}: adapt expects an array, or an iterable of batches such as a Dataset, got "
            f"{describe(data)}."
        )
    loose: list[np.ndarray] = []  # elements of a Dataset that was not batched
    for element in data:
        x = np.asarray(element[0] if isinstance(element, tuple) else element)
        if x.dtype.kind not in "fiub":
            raise TypeError(f"{owner_label(owner)}: adapt expects batches of numbers, got {describe(element)}.")
        if x.ndim:
            yield x
            continue
        loose.append(x)
        if len(loose) == 1024:
            yield np.stack(loose)
            loose = []
    if loose:
        yield np.stack(loose)
