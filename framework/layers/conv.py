"""Convolution layers of 1, 2 and 3 dimensions."""

from __future__ import annotations

from typing import Any, ClassVar

import jax

from lamina import activations, constraints, initializers, ops, regularizers
from lamina.core.checks import check_int, check_ints
from lamina.core.errors import ShapeError, owner_label
from lamina.layers.arguments import channel_axis, check_data_format, check_padding
from lamina.layers.input_spec import InputSpec
from lamina.layers.layer import Layer


def check_steps(layer: Any, strides: Any, dilation_rate: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Strides and dilation in normal form; not both may exceed 1."""
    strides = check_ints(layer, "strides", strides, layer.rank, 1)
    dilation = check_ints(layer, "dilation_rate", dilation_rate, layer.rank, 1)
    if max(strides) > 1 and max(dilation) > 1:
        raise ValueError(
            f"{owner_label(layer)}: strides and dilation_rate cannot both exceed 1, got strides={strides} and "
            f"dilation_rate={dilation}. Set one of them to 1."
        )
    return strides, dilation


def add_bias(x: jax.Array, bias: Any, data_format: str) -> jax.Array:
    """`x` plus one number a channel."""
    if data_format == "channels_first":
        bias = ops.reshape(bias, (-1, *[1] * (x.ndim - 2)))
    return ops.add(x, bias)


class _Conv(Layer):
    """What the convolutions of all ranks share."""

    rank: ClassVar[int]
    _paddings: ClassVar[tuple[str, ...]] = ("valid", "same")

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.filters = check_int(self, "filters", filters, 1)
        self.kernel_size = check_ints(self, "kernel_size", kernel_size, self.rank, 1)
        self.strides, self.dilation_rate = check_steps(self, strides, dilation_rate)
        self.padding = check_padding(self, padding, self._paddings)
        self.data_format = check_data_format(self, data_format)
        self.groups = check_int(self, "groups", groups, 1)
        if self.filters % self.groups:
            raise ValueError(
                f"{owner_label(self)}: filters must be a multiple of groups, got filters={filters}, groups={groups}."
            )
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def build(self, input_shape: Any) -> None:
        """Creates the kernel and the bias."""
        axis = channel_axis(self.data_format)
        channels = input_shape[axis]
        if channels is None:
            raise ShapeError(
                f"{owner_label(self)}: the channels of the input, axis {axis}, must have a known size, got shape "
                f"{tuple(input_shape)}."
            )
        if channels % self.groups:
            raise ShapeError(
                f"{owner_label(self)}: the channels of the input must be a multiple of groups={self.groups}, got "
                f"{channels} in shape {tuple(input_shape)} ({self.data_format})."
            )
        self.kernel = self.add_weight(
            shape=(*self.kernel_size, channels // self.groups, self.filters),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(self.filters,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={axis: channels})

    def call(self, inputs: Any) -> jax.Array:
        """The convolution, the bias and the activation."""
        x = ops.conv(
            inputs,
            self.kernel,
            strides=self.strides,
            padding=self.padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
        )
        if self.bias is not None:
            x = add_bias(x, self.bias, self.data_format)
        return self.activation(x)


class Conv1D(_Conv):
    """A convolution over one axis, such as time: activation(conv(x, kernel) + bias).

    Shape:
        (batch, steps, channels) -> (batch, new steps, filters)

    Args:
        filters: the number of output channels.
        kernel_size: the number of taps.
        strides: the distance of two windows.
        padding: "valid", "same", or "causal", with which no output sees later steps.
        data_format: "channels_last" or "channels_first"; the global default if None.
        dilation_rate: the distance of two taps.
        groups: the number of groups that the channels are cut into and convolved apart.
        activation: a function or its name; None for none.
        **kwargs: the rest is as in `Conv2D`.

    Example:
        >>> import numpy as np
        >>> Conv1D(8, 3, padding="causal")(np.ones((2, 10, 4), "float32")).shape
        (2, 10, 8)
    """

    rank = 1
    _paddings = ("valid", "same", "causal")


class Conv2D(_Conv):
    """A convolution over images: activation(conv(x, kernel) + bias).

    Shape:
        (batch, height, width, channels) -> (batch, new height, new width, filters)

    Args:
        filters: the number of output channels.
        kernel_size: height and width of the kernel; one integer for both.
        strides: the distance of two windows along each axis.
        padding: "valid" for none, "same" for an output of ceil(size / strides).
        data_format: "channels_last" or "channels_first"; the global default if None.
        dilation_rate: the distance of two taps of the kernel along each axis.
        groups: the number of groups that the channels are cut into and convolved apart.
        activation: a function or its name; None for none.
        use_bias: whether a bias is added.
        kernel_initializer: how the kernel, of shape (height, width, channels / groups, filters), starts.
        bias_initializer: how the bias, of shape (filters,), starts.
        kernel_regularizer: a penalty on the kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        kernel_constraint: a function that each update of the kernel goes through.
        bias_constraint: a function that each update of the bias goes through.
        **kwargs: `name`, `dtype` and `trainable`, as for every layer.

    Raises:
        ValueError: an argument is out of its range, or strides and dilation both exceed 1.
        ShapeError: the input has another rank, or its channels are no multiple of `groups`.

    Example:
        >>> import numpy as np
        >>> layer = Conv2D(8, 3, strides=2, padding="same", activation="relu")
        >>> layer(np.ones((2, 28, 28, 1), "float32")).shape, layer.kernel.shape
        ((2, 14, 14, 8), (3, 3, 1, 8))
    """

    rank = 2


class Conv3D(_Conv):
    """A convolution over volumes: activation(conv(x, kernel) + bias).

    Shape:
        (batch, depth, height, width, channels) -> (batch, new depth, new height, new width, filters)

    Args:
        filters: the number of output channels.
        kernel_size: the size of the kernel along the three axes; one integer for all.
        strides: the distance of two windows along each axis.
        padding: "valid" or "same".
        data_format: "channels_last" or "channels_first"; the global default if None.
        dilation_rate: the distance of two taps of the kernel along each axis.
        groups: the number of groups that the channels are cut into and convolved apart.
        activation: a function or its name; None for none.
        **kwargs: the rest is as in `Conv2D`.

    Example:
        >>> import numpy as np
        >>> Conv3D(4, 2)(np.ones((1, 4, 5, 6, 2), "float32")).shape
        (1, 3, 4, 5, 4)
    """

    rank = 3


Convolution1D, Convolution2D, Convolution3D = Conv1D, Conv2D, Conv3D
