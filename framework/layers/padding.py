"""Layers that cut off the edges of space, or add zeros there."""

from __future__ import annotations

from typing import Any, ClassVar

import jax

from lamina import ops
from lamina.core.errors import ShapeError, owner_label
from lamina.layers.arguments import check_data_format, check_pairs, spatial_axes
from lamina.layers.input_spec import InputSpec
from lamina.layers.layer import Layer


def _one_pair(owner: Any, argument: str, value: Any) -> tuple[int, int]:
    """The pair (before, after) of the only axis."""
    if isinstance(value, (tuple, list)) and len(value) == 2:
        value = (tuple(value),)
    return check_pairs(owner, argument, value, 1)[0]


class _Cropping(Layer):
    """What the cropping layers of all ranks share."""

    rank: ClassVar[int]

    cropping: Any
    data_format: str

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    @property
    def _pairs(self) -> Any:
        return self.cropping

    def call(self, inputs: Any) -> jax.Array:
        """The inner part of the input."""
        index = [slice(None)] * inputs.ndim
        for axis, (before, after) in zip(spatial_axes(self.data_format, self.rank), self._pairs, strict=True):
            size = inputs.shape[axis]
            if before + after >= size:
                raise ShapeError(
                    f"{owner_label(self)}: cropping={self.cropping} leaves nothing of axis {axis} of an input of shape "
                    f"{tuple(inputs.shape)}."
                )
            index[axis] = slice(before, size - after)
        return ops.get_item(inputs, tuple(index))


class Cropping1D(_Cropping):
    """A sequence without its first and last steps.

    Shape:
        (batch, steps, features) -> (batch, fewer steps, features)

    Args:
        cropping: the steps to drop at both ends, or a pair (at the start, at the end).
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Raises:
        ShapeError: nothing would be left.

    Example:
        >>> import numpy as np
        >>> Cropping1D((1, 2))(np.ones((1, 6, 3), "float32")).shape
        (1, 3, 3)
    """

    rank = 1

    def __init__(self, cropping: Any = (1, 1), **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = "channels_last"
        self.cropping = _one_pair(self, "cropping", cropping)

    @property
    def _pairs(self) -> Any:
        return (self.cropping,)


class _LayoutCropping(_Cropping):
    def __init__(self, cropping: Any = 0, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = check_data_format(self, data_format)
        self.cropping = check_pairs(self, "cropping", cropping, self.rank)


class Cropping2D(_LayoutCropping):
    """An image without its edges.

    Shape:
        (batch, height, width, channels) -> (batch, smaller height, smaller width, channels)

    Args:
        cropping: the pixels to drop on all sides; or a pair for height and width; or two pairs,
            ((top, bottom), (left, right)).
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Raises:
        ShapeError: nothing would be left.

    Example:
        >>> import numpy as np
        >>> Cropping2D(((1, 0), (2, 1)))(np.ones((1, 4, 6, 3), "float32")).shape
        (1, 3, 3, 3)
    """

    rank = 2


class Cropping3D(_LayoutCropping):
    """A volume without its edges.

    Shape:
        (batch, depth, height, width, channels) -> (batch, *smaller, channels)

    Args:
        cropping: the voxels to drop on all sides; or three integers, one an axis; or three pairs (before, after).
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> Cropping3D(1)(np.ones((1, 4, 5, 6, 3), "float32")).shape
        (1, 2, 3, 4, 3)
    """

    rank = 3

    def __init__(self, cropping: Any = 1, data_format: str | None = None, **kwargs: Any):
        super().__init__(cropping, data_format, **kwargs)


class _ZeroPadding(Layer):
    """What the padding layers of all ranks share."""

    rank: ClassVar[int]

    def __init__(self, padding: Any = 1, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = check_data_format(self, data_format)
        self.padding: Any = check_pairs(self, "padding", padding, self.rank)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    @property
    def _pairs(self) -> Any:
        return self.padding

    def call(self, inputs: Any) -> jax.Array:
        """The input with zeros around it."""
        widths = [(0, 0)] * inputs.ndim
        for axis, pair in zip(spatial_axes(self.data_format, self.rank), self._pairs, strict=True):
            widths[axis] = pair
        return ops.pad(inputs, tuple(widths))


class ZeroPadding1D(_ZeroPadding):
    """A sequence with zeros before and behind it.

    Shape:
        (batch, steps, features) -> (batch, more steps, features)

    Args:
        padding: the steps to add at both ends, or a pair (at the start, at the end).
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> ZeroPadding1D((0, 2))(np.ones((1, 3, 1), "float32"))[0, :, 0].tolist()
        [1.0, 1.0, 1.0, 0.0, 0.0]
    """

    rank = 1

    def __init__(self, padding: Any = 1, data_format: str | None = None, **kwargs: Any):
        super().__init__(0, data_format, **kwargs)
        self.padding = _one_pair(self, "padding", padding)

    @property
    def _pairs(self) -> Any:
        return (self.padding,)


class ZeroPadding2D(_ZeroPadding):
    """An image with zeros around it.

    Shape:
        (batch, height, width, channels) -> (batch, larger height, larger width, channels)

    Args:
        padding: the pixels to add on all sides; or a pair for height and width; or two pairs,
            ((top, bottom), (left, right)).
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> ZeroPadding2D(((1, 0), (2, 1)))(np.ones((1, 4, 6, 3), "float32")).shape
        (1, 5, 9, 3)
    """

    rank = 2


class ZeroPadding3D(_ZeroPadding):
    """A volume with zeros around it.

    Shape:
        (batch, depth, height, width, channels) -> (batch, *larger, channels)

    Args:
        padding: the voxels to add on all sides; or three integers, one an axis; or three pairs (before, after).
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> ZeroPadding3D((1, 0, 2))(np.ones((1, 2, 2, 2, 3), "float32")).shape
        (1, 4, 2, 6, 3)
    """

    rank = 3
