"""Pooling over all of space, and pooling to a given size."""

from __future__ import annotations

from typing import Any, ClassVar

import jax

from lamina import ops
from lamina.core.checks import check_int
from lamina.core.errors import describe, owner_label
from lamina.layers.arguments import check_data_format, spatial_axes
from lamina.layers.input_spec import InputSpec
from lamina.layers.layer import Layer


class _GlobalPooling(Layer):
    """What global pooling layers of all ranks share."""

    rank: ClassVar[int]

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = check_data_format(self, data_format)
        self.keepdims = keepdims
        self.input_spec = InputSpec(ndim=self.rank + 2)

    @property
    def _space(self) -> tuple[int, ...]:
        return spatial_axes(self.data_format, self.rank)


class _GlobalMaxPooling(_GlobalPooling):
    def call(self, inputs: Any) -> jax.Array:
        """The largest value of each channel."""
        return ops.max(inputs, axis=self._space, keepdims=self.keepdims)


class _GlobalAveragePooling(_GlobalPooling):
    def call(self, inputs: Any) -> jax.Array:
        """The mean of each channel."""
        return ops.mean(inputs, axis=self._space, keepdims=self.keepdims)


class GlobalMaxPooling1D(_GlobalMaxPooling):
    """The largest value over all steps.

    Shape:
        (batch, steps, channels) -> (batch, channels)

    Args:
        data_format: "channels_last" or "channels_first"; the global default if None.
        keepdims: whether the axis of the steps stays, with size 1.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> GlobalMaxPooling1D()(np.ones((2, 5, 3), "float32")).shape
        (2, 3)
    """

    rank = 1


class GlobalMaxPooling2D(_GlobalMaxPooling):
    """The largest value over all pixels.

    Shape:
        (batch, height, width, channels) -> (batch, channels)

    Args:
        data_format: "channels_last" or "channels_first"; the global default if None.
        keepdims: whether the axes of space stay, with size 1.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> GlobalMaxPooling2D(keepdims=True)(np.ones((2, 5, 5, 3), "float32")).shape
        (2, 1, 1, 3)
    """

    rank = 2


class GlobalMaxPooling3D(_GlobalMaxPooling):
    """The largest value over a volume.

    Shape:
        (batch, depth, height, width, channels) -> (batch, channels)

    Args:
        data_format: "channels_last" or "channels_first"; the global default if None.
        keepdims: whether the axes of space stay, with size 1.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> GlobalMaxPooling3D()(np.ones((2, 2, 2, 2, 3), "float32")).shape
        (2, 3)
    """

    rank = 3


class GlobalAveragePooling1D(_GlobalAveragePooling):
    """The mean over all steps that the mask leaves.

    Shape:
        (batch, steps, channels) -> (batch, channels)

    Args:
        data_format: "channels_last" or "channels_first"; the global default if None.
        keepdims: whether the axis of the steps stays, with size 1.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> x = np.array([[[1.0], [3.0], [8.0]]], "float32")
        >>> GlobalAveragePooling1D()(x, mask=np.array([[True, True, False]])).tolist()
        [[2.0]]
    """

    rank = 1

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any):
        super().__init__(data_format, keepdims, **kwargs)
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> jax.Array:
        """The mean of each channel over the unmasked steps; 0 where there are none."""
        if mask is None:
            return super().call(inputs)
        weights = ops.expand_dims(ops.cast(mask, inputs.dtype), 2 if self.data_format == "channels_last" else 1)
        total = ops.sum(ops.multiply(inputs, weights), axis=self._space, keepdims=self.keepdims)
        return ops.divide_no_nan(total, ops.sum(weights, axis=self._space, keepdims=self.keepdims))

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """None: the steps are gone."""
        return None


class GlobalAveragePooling2D(_GlobalAveragePooling):
    """The mean over all pixels.

    Shape:
        (batch, height, width, channels) -> (batch, channels)

    Args:
        data_format: "channels_last" or "channels_first"; the global default if None.
        keepdims: whether the axes of space stay, with size 1.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> GlobalAveragePooling2D()(np.ones((2, 5, 5, 3), "float32")).shape
        (2, 3)
    """

    rank = 2


class GlobalAveragePooling3D(_GlobalAveragePooling):
    """The mean over a volume.

    Shape:
        (batch, depth, height, width, channels) -> (batch, channels)

    Args:
        data_format: "channels_last" or "channels_first"; the global default if None.
        keepdims: whether the axes of space stay, with size 1.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> GlobalAveragePooling3D()(np.ones((2, 2, 2, 2, 3), "float32")).shape
        (2, 3)
    """

    rank = 3


class _AdaptivePooling(Layer):
    """What adaptive pooling layers of all ranks share."""

    rank: ClassVar[int]

    def __init__(self, output_size: Any, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        sizes = (output_size,) * self.rank if isinstance(output_size, int) else tuple(output_size)
        if len(sizes) != self.rank:
            raise ValueError(
                f"{owner_label(self)}: output_size must be an integer or a tuple of {self.rank} integers, got "
                f"{describe(output_size)}."
            )
        self.output_size = tuple(
            None if s is None else check_int(self, f"output_size[{i}]", s, 1) for i, s in enumerate(sizes)
        )
        self.data_format = check_data_format(self, data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)


class _AdaptiveMaxPooling(_AdaptivePooling):
    def call(self, inputs: Any) -> jax.Array:
        """The maxima."""
        return ops.adaptive_max_pool(inputs, self.output_size, self.data_format)


class _AdaptiveAveragePooling(_AdaptivePooling):
    def call(self, inputs: Any) -> jax.Array:
        """The means."""
        return ops.adaptive_average_pool(inputs, self.output_size, self.data_format)


class AdaptiveMaxPooling1D(_AdaptiveMaxPooling):
    """Maxima of windows that are chosen so that a given number of steps comes out.

    Shape:
        (batch, steps, channels) -> (batch, output_size, channels)

    Args:
        output_size: the number of steps that come out.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> AdaptiveMaxPooling1D(3)(np.ones((2, 7, 4), "float32")).shape
        (2, 3, 4)
    """

    rank = 1


class AdaptiveMaxPooling2D(_AdaptiveMaxPooling):
    """Maxima of windows that are chosen so that an image of a given size comes out.

    Shape:
        (batch, height, width, channels) -> (batch, *output_size, channels)

    Args:
        output_size: height and width that come out; one integer for both, None for the size of the input.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> AdaptiveMaxPooling2D((2, 3))(np.ones((2, 7, 7, 4), "float32")).shape
        (2, 2, 3, 4)
    """

    rank = 2


class AdaptiveMaxPooling3D(_AdaptiveMaxPooling):
    """Maxima of windows that are chosen so that a volume of a given size comes out.

    Shape:
        (batch, depth, height, width, channels) -> (batch, *output_size, channels)

    Args:
        output_size: depth, height and width that come out; one integer for all, None for the size of the input.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> AdaptiveMaxPooling3D(2)(np.ones((2, 4, 5, 6, 1), "float32")).shape
        (2, 2, 2, 2, 1)
    """

    rank = 3


class AdaptiveAveragePooling1D(_AdaptiveAveragePooling):
    """Means of windows that are chosen so that a given number of steps comes out.

    Shape:
        (batch, steps, channels) -> (batch, output_size, channels)

    Args:
        output_size: the number of steps that come out.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> AdaptiveAveragePooling1D(3)(np.ones((2, 7, 4), "float32")).shape
        (2, 3, 4)
    """

    rank = 1


class AdaptiveAveragePooling2D(_AdaptiveAveragePooling):
    """Means of windows that are chosen so that an image of a given size comes out.

    Shape:
        (batch, height, width, channels) -> (batch, *output_size, channels)

    Args:
        output_size: height and width that come out; one integer for both, None for the size of the input.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> AdaptiveAveragePooling2D(1)(np.ones((2, 7, 7, 4), "float32")).shape
        (2, 1, 1, 4)
    """

    rank = 2


class AdaptiveAveragePooling3D(_AdaptiveAveragePooling):
    """Means of windows that are chosen so that a volume of a given size comes out.

    Shape:
        (batch, depth, height, width, channels) -> (batch, *output_size, channels)

    Args:
        output_size: depth, height and width that come out; one integer for all, None for the size of the input.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> AdaptiveAveragePooling3D(2)(np.ones((2, 4, 5, 6, 1), "float32")).shape
        (2, 2, 2, 2, 1)
    """

    rank = 3


GlobalMaxPool1D, GlobalMaxPool2D, GlobalMaxPool3D = GlobalMaxPooling1D, GlobalMaxPooling2D, GlobalMaxPooling3D
GlobalAvgPool1D, GlobalAvgPool2D, GlobalAvgPool3D = (
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
)
