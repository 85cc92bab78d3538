"""Transposed convolutions of 1, 2 and 3 dimensions."""

from __future__ import annotations

from typing import Any, ClassVar

import jax

from lamina import activations, constraints, initializers, ops, regularizers
from lamina.core.checks import check_int, check_ints
from lamina.core.errors import ShapeError, owner_label
from lamina.layers.arguments import channel_axis, check_data_format, check_padding
from lamina.layers.conv import add_bias, check_steps
from lamina.layers.input_spec import InputSpec
from lamina.layers.layer import Layer


class _ConvTranspose(Layer):
    """What the transposed convolutions of all ranks share."""

    rank: ClassVar[int]

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = 1,
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
        self.padding = check_padding(self, padding)
        self.output_padding = None
        if output_padding is not None:
            self.output_padding = check_ints(self, "output_padding", output_padding, self.rank, 0)
            for extra, stride in zip(self.output_padding, self.strides, strict=True):
                if extra >= stride:
                    raise ValueError(
                        f"{owner_label(self)}: output_padding must be smaller than strides, got "
                        f"output_padding={self.output_padding} and strides={self.strides}."
                    )
        self.data_format = check_data_format(self, data_format)
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
        self.kernel = self.add_weight(
            shape=(*self.kernel_size, self.filters, channels),
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
        """The transposed convolution, the bias and the activation."""
        x = ops.conv_transpose(
            inputs,
            self.kernel,
            strides=self.strides,
            padding=self.padding,
            output_padding=self.output_padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
        )
        if self.bias is not None:
            x = add_bias(x, self.bias, self.data_format)
        return self.activation(x)


class Conv1DTranspose(_ConvTranspose):
    """A transposed convolution over one axis, which makes it longer: the reverse of `Conv1D` in its shapes.

    Shape:
        (batch, steps, channels) -> (batch, new steps, filters)

    Args:
        filters: the number of output channels.
        kernel_size: the number of taps.
        strides: the factor by which the axis grows.
        padding: "valid" or "same".
        **kwargs: the rest is as in `Conv2DTranspose`.

    Example:
        >>> import numpy as np
        >>> Conv1DTranspose(8, 3, strides=2, padding="same")(np.ones((2, 10, 4), "float32")).shape
        (2, 20, 8)
    """

    rank = 1


class Conv2DTranspose(_ConvTranspose):
    """A transposed convolution over images, which makes them larger: the reverse of `Conv2D` in its shapes.

    Shape:
        (batch, height, width, channels) -> (batch, new height, new width, filters), where "same" gives
        size * strides and "valid" (size - 1) * strides + max(kernel_size, strides)

    Args:
        filters: the number of output channels.
        kernel_size: height and width of the kernel; one integer for both.
        strides: the factor by which each axis grows.
        padding: "valid" or "same".
        output_padding: rows and columns added behind, smaller than `strides`; None for the sizes above.
        data_format: "channels_last" or "channels_first"; the global default if None.
        dilation_rate: the distance of two taps of the kernel along each axis.
        activation: a function or its name; None for none.
        use_bias: whether a bias is added.
        kernel_initializer: how the kernel, of shape (height, width, filters, channels), starts.
        bias_initializer: how the bias starts.
        kernel_regularizer: a penalty on the kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        kernel_constraint: a function that each update of the kernel goes through.
        bias_constraint: a function that each update of the bias goes through.
        **kwargs: `name`, `dtype` and `trainable`, as for every layer.

    Example:
        >>> import numpy as np
        >>> Conv2DTranspose(8, 3, strides=2, padding="same")(np.ones((2, 7, 7, 4), "float32")).shape
        (2, 14, 14, 8)

    Reference:
        https://arxiv.org/abs/1603.07285
    """

    rank = 2


class Conv3DTranspose(_ConvTranspose):
    """A transposed convolution over volumes, which makes them larger: the reverse of `Conv3D` in its shapes.

    Shape:
        (batch, depth, height, width, channels) -> (batch, new depth, new height, new width, filters)

    Args:
        filters: the number of output channels.
        kernel_size: the size of the kernel along the three axes; one integer for all.
        strides: the factor by which each axis grows.
        padding: "valid" or "same".
        **kwargs: the rest is as in `Conv2DTranspose`.

    Example:
        >>> import numpy as np
        >>> Conv3DTranspose(2, 2, strides=2)(np.ones((1, 2, 3, 4, 1), "float32")).shape
        (1, 4, 6, 8, 2)
    """

    rank = 3


Convolution1DTranspose, Convolution2DTranspose, Convolution3DTranspose = (
    Conv1DTranspose,
    Conv2DTranspose,
    Conv3DTranspose,
)
