"""Normalization over axes of one sample: layer, group, root mean square, unit."""

from __future__ import annotations

from typing import Any

import jax

from lamina import constraints, initializers, ops, regularizers
from lamina.core.checks import check_int, check_number
from lamina.core.errors import ShapeError, owner_label
from lamina.layers.input_spec import InputSpec
from lamina.layers.layer import Layer


def _axes(layer: Any, axis: Any) -> Any:
    """An axis, or a list of axes."""
    if isinstance(axis, (list, tuple)):
        return [check_int(layer, f"axis[{i}]", a) for i, a in enumerate(axis)]
    return check_int(layer, "axis", axis)


def _sizes(layer: Any, axis: Any, shape: Any) -> tuple:
    """The sizes of the given axes."""
    axes = axis if isinstance(axis, list) else [axis]
    for a in axes:
        if not -len(shape) <= a < len(shape):
            raise ShapeError(f"{owner_label(layer)}: axis {a} does not exist in an input of shape {tuple(shape)}.")
    return tuple(shape[a] for a in axes)


class LayerNormalization(Layer):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, with mean and variance of each sample over `axis`.

    Shape:
        any, with known sizes on `axis` -> the same

    Args:
        axis: the axis, or a list of axes, to normalise over.
        epsilon: what keeps the division finite.
        center: whether `beta` is added.
        scale: whether `gamma` multiplies.
        beta_initializer: how the offsets start.
        gamma_initializer: how the scales start.
        beta_regularizer: a penalty on the offsets.
        gamma_regularizer: a penalty on the scales.
        beta_constraint: a function that each update of the offsets goes through.
        gamma_constraint: a function that each update of the scales goes through.
        rms_scaling: whether x is only divided by its root variance: no mean is taken off, no offset added.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> y = LayerNormalization(epsilon=0.0)(np.array([[1.0, 3.0]], "float32"))
        >>> [round(float(v), 3) for v in y[0]]
        [-1.0, 1.0]

    Reference:
        https://arxiv.org/abs/1607.06450
    """

    def __init__(
        self,
        axis: Any = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        rms_scaling: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.axis = _axes(self, axis)
        self.epsilon = check_number(self, "epsilon", epsilon, 0)
        self.center, self.scale = center, scale
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)
        self.rms_scaling = rms_scaling
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Creates scales and offsets."""
        shape = _sizes(self, self.axis, input_shape)
        self.gamma = self.beta = None
        if self.scale or self.rms_scaling:
            self.gamma = self.add_weight(
                shape=shape,
                initializer=self.gamma_initializer,
                regularizer=self.gamma_regularizer,
                constraint=self.gamma_constraint,
                autocast=False,
                name="gamma",
            )
        if self.center and not self.rms_scaling:
            self.beta = self.add_weight(
                shape=shape,
                initializer=self.beta_initializer,
                regularizer=self.beta_regularizer,
                constraint=self.beta_constraint,
                autocast=False,
                name="beta",
            )

    def call(self, inputs: Any) -> jax.Array:
        """The normalised input."""
        axis = tuple(self.axis) if isinstance(self.axis, list) else self.axis
        return ops.layer_normalization(
            inputs, self.gamma, self.beta, axis=axis, epsilon=self.epsilon, rms_scaling=self.rms_scaling
        )


class RMSNormalization(Layer):
    """x / sqrt(mean(x**2) + epsilon) * scale, with the mean over `axis` of each sample.

    Args:
        axis: the axis, or a list of axes, to normalise over.
        epsilon: what keeps the division finite.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> y = RMSNormalization()(np.array([[2.0, -2.0]], "float32"))
        >>> [round(float(v), 3) for v in y[0]]
        [1.0, -1.0]

    Reference:
        https://arxiv.org/abs/1910.07467
    """

    def __init__(self, axis: Any = -1, epsilon: float = 1e-6, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = _axes(self, axis)
        self.epsilon = check_number(self, "epsilon", epsilon, 0)

    def build(self, input_shape: Any) -> None:
        """Creates the scales."""
        self.scale = self.add_weight(
            shape=_sizes(self, self.axis, input_shape), initializer="ones", autocast=False, name="scale"
        )

    def call(self, inputs: Any) -> jax.Array:
        """The normalised input."""
        axes = [a % inputs.ndim for a in (self.axis if isinstance(self.axis, list) else [self.axis])]
        scale = ops.reshape(self.scale, [inputs.shape[a] if a in axes else 1 for a in range(inputs.ndim)])
        return ops.rms_normalization(inputs, scale, axis=tuple(sorted(axes)), epsilon=self.epsilon)


class GroupNormalization(Layer):
    """Layer normalization of each group of channels: (x - mean) / sqrt(variance + epsilon) * gamma + beta.

    Mean and variance are taken over all axes of a sample and the channels of a group.

    Shape:
        any, with a known size on `axis` -> the same

    Args:
        groups: the number of groups; -1 for one a channel (instance normalization).
        axis: the axis of the channels.
        epsilon: what keeps the division finite.
        center: whether `beta` is added.
        scale: whether `gamma` multiplies.
        beta_initializer: how the offsets start.
        gamma_initializer: how the scales start.
        beta_regularizer: a penalty on the offsets.
        gamma_regularizer: a penalty on the scales.
        beta_constraint: a function that each update of the offsets goes through.
        gamma_constraint: a function that each update of the scales goes through.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Raises:
        ShapeError: the channels are no multiple of `groups`.

    Example:
        >>> import numpy as np
        >>> layer = GroupNormalization(2)
        >>> layer(np.ones((3, 5, 4), "float32")).shape, layer.gamma.shape
        ((3, 5, 4), (4,))

    Reference:
        https://arxiv.org/abs/1803.08494
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.groups = check_int(self, "groups", groups, -1)
        if self.groups == 0:
            raise ValueError(f"{owner_label(self)}: groups must be positive, or -1 for one a channel, got 0.")
        self.axis = check_int(self, "axis", axis)
        self.epsilon = check_number(self, "epsilon", epsilon, 0)
        self.center, self.scale = center, scale
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Creates scales and offsets."""
        (size,) = _sizes(self, self.axis, input_shape)
        if size is None:
            raise ShapeError(
                f"{owner_label(self)}: axis {self.axis} must have a known size, got shape {tuple(input_shape)}."
            )
        if self.groups == -1:
            self.groups = size
        if size % self.groups:
            raise ShapeError(
                f"{owner_label(self)}: groups={self.groups} must divide the {size} channels of axis {self.axis} of "
                f"the input, of shape {tuple(input_shape)}."
            )
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_weight(
                shape=(size,),
                initializer=self.gamma_initializer,
                regularizer=self.gamma_regularizer,
                constraint=self.gamma_constraint,
                name="gamma",
            )
        if self.center:
            self.beta = self.add_weight(
                shape=(size,),
                initializer=self.beta_initializer,
                regularizer=self.beta_regularizer,
                constraint=self.beta_constraint,
                name="beta",
            )
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: size})

    def call(self, inputs: Any) -> jax.Array:
        """The normalised input."""
        axis, shape = self.axis % inputs.ndim, inputs.shape
        split = (*shape[:axis], self.groups, shape[axis] // self.groups, *shape[axis + 1 :])
        over = tuple(a for a in range(1, len(split)) if a != axis)
        x = ops.layer_normalization(ops.reshape(inputs, split), axis=over, epsilon=self.epsilon)
        x = ops.reshape(x, shape)
        channels = [1] * len(shape)
        channels[axis] = shape[axis]
        if self.gamma is not None:
            x = ops.multiply(x, ops.reshape(self.gamma, channels))
        if self.beta is not None:
            x = ops.add(x, ops.reshape(self.beta, channels))
        return x


class UnitNormalization(Layer):
    """x / sqrt(sum(x**2)), with the sum over `axis` of each sample, so that the norm is 1.

    Args:
        axis: the axis, or a list of axes.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> y = UnitNormalization()(np.array([[3.0, 4.0]], "float32"))
        >>> [round(float(v), 3) for v in y[0]]
        [0.6, 0.8]
    """

    def __init__(self, axis: Any = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = _axes(self, axis)
        self.supports_masking = True

    def call(self, inputs: Any) -> jax.Array:
        """The input with norm 1."""
        axis = tuple(self.axis) if isinstance(self.axis, list) else self.axis
        return ops.normalize(inputs, axis=axis, order=2, epsilon=1e-6)
