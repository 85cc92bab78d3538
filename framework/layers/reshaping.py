"""Layers that only move elements: Flatten, Reshape, Permute, RepeatVector."""

from __future__ import annotations

import math
from typing import Any

import jax

from lamina import ops
from lamina.core.checks import check_int
from lamina.core.errors import ShapeError, describe, owner_label
from lamina.layers.arguments import check_data_format
from lamina.layers.input_spec import InputSpec
from lamina.layers.layer import Layer


class Flatten(Layer):
    """All axes behind the batch axis as one.

    Shape:
        (batch, a, b, ...) -> (batch, a * b * ...); (batch,) -> (batch, 1)

    Args:
        data_format: with "channels_first" the channels are moved last before; the global default if None.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> Flatten()(np.ones((2, 3, 4), "float32")).shape
        (2, 12)
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = check_data_format(self, data_format)
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs: Any) -> jax.Array:
        """The flat input."""
        if self.data_format == "channels_first" and inputs.ndim > 2:
            inputs = ops.moveaxis(inputs, 1, -1)
        return ops.reshape(inputs, (inputs.shape[0], math.prod(inputs.shape[1:])))


class Reshape(Layer):
    """The input in another shape, batch axis aside.

    Shape:
        (batch, ...) -> (batch, *target_shape)

    Args:
        target_shape: the shape of one sample; one size may be -1 and is then worked out.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Raises:
        ShapeError: the sizes do not multiply to those of the input.

    Example:
        >>> import numpy as np
        >>> Reshape((3, -1))(np.ones((2, 12), "float32")).shape
        (2, 3, 4)
    """

    def __init__(self, target_shape: Any, **kwargs: Any):
        super().__init__(**kwargs)
        target = (target_shape,) if isinstance(target_shape, int) else tuple(target_shape)
        self.target_shape = tuple(check_int(self, f"target_shape[{i}]", d, -1) for i, d in enumerate(target))
        if self.target_shape.count(-1) > 1:
            raise ValueError(f"{owner_label(self)}: target_shape may hold one -1, got {self.target_shape}.")

    def call(self, inputs: Any) -> jax.Array:
        """The input in the target shape."""
        shape, size = list(self.target_shape), math.prod(inputs.shape[1:])
        known = math.prod(d for d in shape if d != -1)
        if -1 in shape:
            fits = known > 0 and size % known == 0
            shape[shape.index(-1)] = size // known if fits else -1
        else:
            fits = size == known
        if not fits:
            raise ShapeError(
                f"{owner_label(self)}: target_shape {self.target_shape} does not fit a sample of shape "
                f"{inputs.shape[1:]}, which has {size} elements."
            )
        return ops.reshape(inputs, (inputs.shape[0], *shape))


class Permute(Layer):
    """The axes behind the batch axis in another order.

    Shape:
        (batch, a, b) -> (batch, b, a) for dims=(2, 1)

    Args:
        dims: the new order; the first axis behind the batch axis is 1.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Raises:
        ValueError: `dims` is not an order of 1 to n.

    Example:
        >>> import numpy as np
        >>> Permute((2, 1))(np.ones((2, 3, 4), "float32")).shape
        (2, 4, 3)
    """

    def __init__(self, dims: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.dims = (dims,) if isinstance(dims, int) else tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(
                f"{owner_label(self)}: dims must hold each of 1 to {len(self.dims)} once (0, the batch axis, stays in "
                f"place), got {describe(dims)}."
            )
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)

    def call(self, inputs: Any) -> jax.Array:
        """The transposed input."""
        return ops.transpose(inputs, (0, *self.dims))


class RepeatVector(Layer):
    """Each sample n times along a new axis of time.

    Shape:
        (batch, features) -> (batch, n, features)

    Args:
        n: how often.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> RepeatVector(3)(np.ones((2, 4), "float32")).shape
        (2, 3, 4)
    """

    def __init__(self, n: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.n = check_int(self, "n", n, 1)
        self.input_spec = InputSpec(ndim=2)

    def call(self, inputs: Any) -> jax.Array:
        """The repeated input."""
        return ops.broadcast_to(ops.expand_dims(inputs, 1), (inputs.shape[0], self.n, inputs.shape[1]))
