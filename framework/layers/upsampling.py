"""Layers that enlarge space by repeating or interpolating."""

from __future__ import annotations

from typing import Any

import jax

from lamina import ops
from lamina.core.checks import check_choice, check_int, check_ints
from lamina.layers.arguments import check_data_format, spatial_axes
from lamina.layers.input_spec import InputSpec
from lamina.layers.layer import Layer

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")


class UpSampling1D(Layer):
    """Each step of a sequence several times.

    Shape:
        (batch, steps, features) -> (batch, steps * size, features)

    Args:
        size: how often.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> UpSampling1D(2)(np.array([[[1.0], [2.0]]], "float32"))[0, :, 0].tolist()
        [1.0, 1.0, 2.0, 2.0]
    """

    def __init__(self, size: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        if isinstance(size, (list, tuple)) and len(size) == 1:
            (size,) = size
        self.size = check_int(self, "size", size, 1)
        self.input_spec = InputSpec(ndim=3)

    def call(self, inputs: Any) -> jax.Array:
        """The repeated steps."""
        return ops.repeat(inputs, self.size, axis=1)


class UpSampling2D(Layer):
    """An image enlarged by whole factors.

    Shape:
        (batch, height, width, channels) -> (batch, height * size[0], width * size[1], channels)

    Args:
        size: the factors for height and width; one integer for both.
        data_format: "channels_last" or "channels_first"; the global default if None.
        interpolation: "nearest", "bilinear", "bicubic", "lanczos3" or "lanczos5".
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Raises:
        ValueError: there is no such interpolation.

    Example:
        >>> import numpy as np
        >>> UpSampling2D((2, 3))(np.ones((1, 4, 4, 1), "float32")).shape
        (1, 8, 12, 1)
    """

    def __init__(self, size: Any = 2, data_format: str | None = None, interpolation: str = "nearest", **kwargs: Any):
        super().__init__(**kwargs)
        self.size = check_ints(self, "size", size, 2, 1)
        self.data_format = check_data_format(self, data_format)
        self.interpolation = check_choice(self, "interpolation", interpolation.lower(), INTERPOLATIONS)
        self.input_spec = InputSpec(ndim=4)

    def call(self, inputs: Any) -> jax.Array:
        """The enlarged image."""
        axes = spatial_axes(self.data_format, 2)
        if self.interpolation == "nearest":
            for axis, factor in zip(axes, self.size, strict=True):
                inputs = ops.repeat(inputs, factor, axis=axis)
            return inputs
        size = tuple(inputs.shape[axis] * factor for axis, factor in zip(axes, self.size, strict=True))
        return ops.image.resize(inputs, size, interpolation=self.interpolation, data_format=self.data_format)


class UpSampling3D(Layer):
    """Each voxel of a volume several times along each axis.

    Shape:
        (batch, depth, height, width, channels) -> (batch, depth * size[0], height * size[1], width * size[2], channels)

    Args:
        size: the factors for the three axes; one integer for all.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> UpSampling3D(2)(np.ones((1, 2, 2, 3, 1), "float32")).shape
        (1, 4, 4, 6, 1)
    """

    def __init__(self, size: Any = 2, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.size = check_ints(self, "size", size, 3, 1)
        self.data_format = check_data_format(self, data_format)
        self.input_spec = InputSpec(ndim=5)

    def call(self, inputs: Any) -> jax.Array:
        """The repeated voxels."""
        for axis, factor in zip(spatial_axes(self.data_format, 3), self.size, strict=True):
            inputs = ops.repeat(inputs, factor, axis=axis)
        return inputs
