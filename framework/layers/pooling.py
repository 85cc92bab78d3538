"""Pooling layers: the maximum or the mean of windows."""

from __future__ import annotations

from typing import Any, ClassVar

import jax

from lamina import ops
from lamina.core.checks import check_ints
from lamina.layers.arguments import check_data_format, check_padding
from lamina.layers.input_spec import InputSpec
from lamina.layers.layer import Layer


class _Pooling(Layer):
    """What the pooling layers of all ranks share."""

    rank: ClassVar[int]

    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.pool_size = check_ints(self, "pool_size", pool_size, self.rank, 1)
        self.strides = self.pool_size if strides is None else check_ints(self, "strides", strides, self.rank, 1)
        self.padding = check_padding(self, padding)
        self.data_format = check_data_format(self, data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)


class _MaxPooling(_Pooling):
    def call(self, inputs: Any) -> jax.Array:
        """The largest value of each window."""
        return ops.max_pool(inputs, self.pool_size, self.strides, self.padding, self.data_format)


class _AveragePooling(_Pooling):
    def call(self, inputs: Any) -> jax.Array:
        """The mean of each window."""
        return ops.average_pool(inputs, self.pool_size, self.strides, self.padding, self.data_format)


class MaxPooling1D(_MaxPooling):
    """The largest value of each window of steps.

    Shape:
        (batch, steps, channels) -> (batch, new steps, channels)

    Args:
        pool_size: the size of the windows.
        strides: the distance of two windows; the size by default.
        padding: "valid" or "same".
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> MaxPooling1D(2)(np.ones((1, 6, 3), "float32")).shape
        (1, 3, 3)
    """

    rank = 1


class MaxPooling2D(_MaxPooling):
    """The largest value of each window of an image.

    Shape:
        (batch, height, width, channels) -> (batch, new height, new width, channels)

    Args:
        pool_size: height and width of the windows; one integer for both.
        strides: the distance of two windows along each axis; the size by default.
        padding: "valid" drops the rest that fills no window, "same" pads it.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> import numpy as np
        >>> MaxPooling2D()(np.ones((1, 6, 7, 3), "float32")).shape
        (1, 3, 3, 3)
    """

    rank = 2


class MaxPooling3D(_MaxPooling):
    """The largest value of each window of a volume.

    Shape:
        (batch, depth, height, width, channels) -> (batch, new depth, new height, new width, channels)

    Args:
        pool_size: the size of the windows along each axis; one integer for all.
        strides: the distance of two windows along each axis; the size by default.
        padding: "valid" or "same".
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> MaxPooling3D(2)(np.ones((1, 4, 4, 6, 3), "float32")).shape
        (1, 2, 2, 3, 3)
    """

    rank = 3


class AveragePooling1D(_AveragePooling):
    """The mean of each window of steps; of padded windows, that of the part inside the input.

    Shape:
        (batch, steps, channels) -> (batch, new steps, channels)

    Args:
        pool_size: the size of the windows.
        strides: the distance of two windows; the size by default.
        padding: "valid" or "same".
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> AveragePooling1D(2)(np.ones((1, 6, 3), "float32")).shape
        (1, 3, 3)
    """

    rank = 1


class AveragePooling2D(_AveragePooling):
    """The mean of each window of an image; of padded windows, that of the part inside the input.

    Shape:
        (batch, height, width, channels) -> (batch, new height, new width, channels)

    Args:
        pool_size: height and width of the windows; one integer for both.
        strides: the distance of two windows along each axis; the size by default.
        padding: "valid" or "same".
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> AveragePooling2D(3, strides=1, padding="same")(np.ones((1, 6, 7, 3), "float32")).shape
        (1, 6, 7, 3)
    """

    rank = 2


class AveragePooling3D(_AveragePooling):
    """The mean of each window of a volume; of padded windows, that of the part inside the input.

    Shape:
        (batch, depth, height, width, channels) -> (batch, new depth, new height, new width, channels)

    Args:
        pool_size: the size of the windows along each axis; one integer for all.
        strides: the distance of two windows along each axis; the size by default.
        padding: "valid" or "same".
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> AveragePooling3D(2)(np.ones((1, 4, 4, 6, 3), "float32")).shape
        (1, 2, 2, 3, 3)
    """

    rank = 3


MaxPool1D, MaxPool2D, MaxPool3D = MaxPooling1D, MaxPooling2D, MaxPooling3D
AvgPool1D, AvgPool2D, AvgPool3D = AveragePooling1D, AveragePooling2D, AveragePooling3D
