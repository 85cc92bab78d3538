"""Depthwise convolutions, and separable ones, which mix the channels in a second step."""

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


class _Depthwise(Layer):
    """What depthwise and separable convolutions share: the depthwise kernel, the bias, the activation."""

    rank: ClassVar[int]

    bias: Any

    def __init__(
        self,
        kernel_size: Any,
        strides: Any,
        padding: str,
        depth_multiplier: int,
        data_format: str | None,
        dilation_rate: Any,
        activation: Any,
        use_bias: bool,
        depthwise_initializer: Any,
        bias_initializer: Any,
        depthwise_regularizer: Any,
        bias_regularizer: Any,
        activity_regularizer: Any,
        depthwise_constraint: Any,
        bias_constraint: Any,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.kernel_size = check_ints(self, "kernel_size", kernel_size, self.rank, 1)
        self.strides, self.dilation_rate = check_steps(self, strides, dilation_rate)
        self.padding = check_padding(self, padding)
        self.depth_multiplier = check_int(self, "depth_multiplier", depth_multiplier, 1)
        self.data_format = check_data_format(self, data_format)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.depthwise_initializer = initializers.get(depthwise_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.depthwise_regularizer = regularizers.get(depthwise_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.depthwise_constraint = constraints.get(depthwise_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def _build_depthwise(self, input_shape: Any, name: str) -> Any:
        """Creates the depthwise kernel."""
        axis = channel_axis(self.data_format)
        channels = input_shape[axis]
        if channels is None:
            raise ShapeError(
                f"{owner_label(self)}: the channels of the input, axis {axis}, must have a known size, got shape "
                f"{tuple(input_shape)}."
            )
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={axis: channels})
        return self.add_weight(
            shape=(*self.kernel_size, channels, self.depth_multiplier),
            initializer=self.depthwise_initializer,
            regularizer=self.depthwise_regularizer,
            constraint=self.depthwise_constraint,
            name=name,
        )

    def _build_bias(self, size: int) -> Any:
        if not self.use_bias:
            return None
        return self.add_weight(
            shape=(size,),
            initializer=self.bias_initializer,
            regularizer=self.bias_regularizer,
            constraint=self.bias_constraint,
            name="bias",
        )

    def _finish(self, x: jax.Array) -> jax.Array:
        """The bias and the activation."""
        if self.bias is not None:
            x = add_bias(x, self.bias, self.data_format)
        return self.activation(x)


class _DepthwiseConv(_Depthwise):
    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(
            kernel_size,
            strides,
            padding,
            depth_multiplier,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            depthwise_initializer,
            bias_initializer,
            depthwise_regularizer,
            bias_regularizer,
            activity_regularizer,
            depthwise_constraint,
            bias_constraint,
            **kwargs,
        )

    def build(self, input_shape: Any) -> None:
        """Creates the kernel and the bias."""
        self.kernel = self._build_depthwise(input_shape, "kernel")
        self.bias = self._build_bias(input_shape[channel_axis(self.data_format)] * self.depth_multiplier)

    def call(self, inputs: Any) -> jax.Array:
        """The depthwise convolution, the bias and the activation."""
        x = ops.depthwise_conv(
            inputs,
            self.kernel,
            strides=self.strides,
            padding=self.padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
        )
        return self._finish(x)


class DepthwiseConv1D(_DepthwiseConv):
    """A convolution over one axis that keeps the channels apart, each with a kernel of its own.

    Shape:
        (batch, steps, channels) -> (batch, new steps, channels * depth_multiplier)

    Args:
        kernel_size: the number of taps.
        strides: the distance of two windows.
        padding: "valid" or "same".
        depth_multiplier: the number of kernels a channel.
        **kwargs: the rest is as in `DepthwiseConv2D`.

    Example:
        >>> import numpy as np
        >>> DepthwiseConv1D(3, depth_multiplier=2)(np.ones((2, 10, 4), "float32")).shape
        (2, 8, 8)
    """

    rank = 1


class DepthwiseConv2D(_DepthwiseConv):
    """A convolution over images that keeps the channels apart, each with a kernel of its own.

    Shape:
        (batch, height, width, channels) -> (batch, new height, new width, channels * depth_multiplier)

    Args:
        kernel_size: height and width of the kernel; one integer for both.
        strides: the distance of two windows along each axis.
        padding: "valid" or "same".
        depth_multiplier: the number of kernels, and so of output channels, a channel.
        data_format: "channels_last" or "channels_first"; the global default if None.
        dilation_rate: the distance of two taps of the kernel along each axis.
        activation: a function or its name; None for none.
        use_bias: whether a bias is added.
        depthwise_initializer: how the kernel, of shape (height, width, channels, depth_multiplier), starts.
        bias_initializer: how the bias starts.
        depthwise_regularizer: a penalty on the kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        depthwise_constraint: a function that each update of the kernel goes through.
        bias_constraint: a function that each update of the bias goes through.
        **kwargs: `name`, `dtype` and `trainable`, as for every layer.

    Example:
        >>> import numpy as np
        >>> DepthwiseConv2D(3, padding="same")(np.ones((2, 7, 7, 4), "float32")).shape
        (2, 7, 7, 4)
    """

    rank = 2


class _SeparableConv(_Depthwise):
    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(
            kernel_size,
            strides,
            padding,
            depth_multiplier,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            depthwise_initializer,
            bias_initializer,
            depthwise_regularizer,
            bias_regularizer,
            activity_regularizer,
            depthwise_constraint,
            bias_constraint,
            **kwargs,
        )
        self.filters = check_int(self, "filters", filters, 1)
        self.pointwise_initializer = initializers.get(pointwise_initializer)
        self.pointwise_regularizer = regularizers.get(pointwise_regularizer)
        self.pointwise_constraint = constraints.get(pointwise_constraint)

    def build(self, input_shape: Any) -> None:
        """Creates the two kernels and the bias."""
        self.depthwise_kernel = self._build_depthwise(input_shape, "depthwise_kernel")
        channels = input_shape[channel_axis(self.data_format)]
        self.pointwise_kernel = self.add_weight(
            shape=(*[1] * self.rank, channels * self.depth_multiplier, self.filters),
            initializer=self.pointwise_initializer,
            regularizer=self.pointwise_regularizer,
            constraint=self.pointwise_constraint,
            name="pointwise_kernel",
        )
        self.bias = self._build_bias(self.filters)

    def call(self, inputs: Any) -> jax.Array:
        """The two convolutions, the bias and the activation."""
        x = ops.separable_conv(
            inputs,
            self.depthwise_kernel,
            self.pointwise_kernel,
            strides=self.strides,
            padding=self.padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
        )
        return self._finish(x)


class SeparableConv1D(_SeparableConv):
    """A depthwise convolution over one axis, then one with a single tap that mixes the channels.

    Shape:
        (batch, steps, channels) -> (batch, new steps, filters)

    Args:
        filters: the number of output channels.
        kernel_size: the number of taps.
        strides: the distance of two windows.
        padding: "valid" or "same".
        **kwargs: the rest is as in `SeparableConv2D`.

    Example:
        >>> import numpy as np
        >>> SeparableConv1D(8, 3)(np.ones((2, 10, 4), "float32")).shape
        (2, 8, 8)
    """

    rank = 1


class SeparableConv2D(_SeparableConv):
    """A depthwise convolution over images, then one with a single tap that mixes the channels.

    Shape:
        (batch, height, width, channels) -> (batch, new height, new width, filters)

    Args:
        filters: the number of output channels.
        kernel_size: height and width of the depthwise kernel; one integer for both.
        strides: the distance of two windows along each axis.
        padding: "valid" or "same".
        data_format: "channels_last" or "channels_first"; the global default if None.
        dilation_rate: the distance of two taps of the depthwise kernel along each axis.
        depth_multiplier: the number of depthwise kernels a channel.
        activation: a function or its name; None for none.
        use_bias: whether a bias is added.
        depthwise_initializer: how the depthwise kernel, (height, width, channels, depth_multiplier), starts.
        pointwise_initializer: how the kernel of the second step, (1, 1, channels * depth_multiplier, filters), starts.
        bias_initializer: how the bias starts.
        depthwise_regularizer: a penalty on the depthwise kernel.
        pointwise_regularizer: a penalty on the kernel of the second step.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        depthwise_constraint: a function that each update of the depthwise kernel goes through.
        pointwise_constraint: a function that each update of the kernel of the second step goes through.
        bias_constraint: a function that each update of the bias goes through.
        **kwargs: `name`, `dtype` and `trainable`, as for every layer.

    Example:
        >>> import numpy as np
        >>> SeparableConv2D(8, 3)(np.ones((2, 7, 7, 4), "float32")).shape
        (2, 5, 5, 8)

    Reference:
        https://arxiv.org/abs/1610.02357
    """

    rank = 2


SeparableConvolution1D, SeparableConvolution2D = SeparableConv1D, SeparableConv2D
