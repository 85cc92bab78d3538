"""ConvLSTM1D, ConvLSTM2D and ConvLSTM3D: long short-term memory whose products are convolutions."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lamina import activations, constraints, initializers, ops, regularizers
from lamina.core.checks import check_int, check_ints
from lamina.core.errors import ShapeError, owner_label
from lamina.layers.arguments import channel_axis, check_data_format, check_padding
from lamina.layers.input_spec import InputSpec
from lamina.layers.recurrent import StandardRNN
from lamina.layers.recurrent_cells import DropoutCell, forget_bias


class ConvLSTMCell(DropoutCell):
    """One step of a convolutional LSTM: an LSTM cell with convolutions for products.

    Shape:
        (batch, *space, channels), states [h, c] -> (batch, *new space, filters), [h, c]

    Args:
        rank: the number of spatial axes.
        filters: the number of output channels.
        kernel_size: the size of the kernels.
        strides: the strides over the input.
        padding: "valid" or "same", for the input; the state is always padded to keep its size.
        data_format: "channels_last" or "channels_first"; the global default if None.
        dilation_rate: the distance of two taps, for the input.
        activation: the activation of the candidate and of the output.
        recurrent_activation: the activation of the gates.
        use_bias: whether biases are added.
        kernel_initializer: how the kernel of the input starts.
        recurrent_initializer: how the kernel of the state starts.
        bias_initializer: how the bias starts.
        unit_forget_bias: whether the bias of the forget gate starts at 1.
        kernel_regularizer: a penalty on the kernel of the input.
        recurrent_regularizer: a penalty on the kernel of the state.
        bias_regularizer: a penalty on the bias.
        kernel_constraint: a function that each update of the kernel of the input goes through.
        recurrent_constraint: the like for the kernel of the state.
        bias_constraint: the like for the bias.
        dropout: the share of the inputs to drop in training, for each gate apart.
        recurrent_dropout: the share of the state to drop in training, for each gate apart.
        seed: a seed for dropout.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> cell = ConvLSTMCell(2, filters=3, kernel_size=3, padding="same")
        >>> cell.build((1, 8, 8, 2))
        >>> [s.shape for s in cell.get_initial_state(4)]
        [(4, 8, 8, 3), (4, 8, 8, 3)]
    """

    gates = 4

    def __init__(
        self,
        rank: int,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.rank = check_int(self, "rank", rank, 1)
        self.filters = check_int(self, "filters", filters, 1)
        self.kernel_size = check_ints(self, "kernel_size", kernel_size, self.rank, 1)
        self.strides = check_ints(self, "strides", strides, self.rank, 1)
        self.padding = check_padding(self, padding)
        self.data_format = check_data_format(self, data_format)
        self.dilation_rate = check_ints(self, "dilation_rate", dilation_rate, self.rank, 1)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"{owner_label(self)}: strides and dilation_rate cannot both exceed 1, got {self.strides} and "
                f"{self.dilation_rate}."
            )
        self.activation = activations.get(activation)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.recurrent_initializer = initializers.get(recurrent_initializer)
        self.bias_initializer: Any = initializers.get(bias_initializer)
        self.unit_forget_bias = bool(unit_forget_bias)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = regularizers.get(recurrent_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.recurrent_constraint = constraints.get(recurrent_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self._set_dropout(dropout, recurrent_dropout, seed, implementation=1)
        self._channels = channel_axis(self.data_format)
        self.state_size = [self.filters, self.filters]

    def build(self, input_shape: Any) -> None:
        """Creates the kernel of the inputs, that of the states, and the bias."""
        self._step_shape = tuple(input_shape)
        if None in self._step_shape[1:]:
            raise ShapeError(
                f"{owner_label(self)}: the states need fixed sizes of space and channels, got an input of shape "
                f"{self._step_shape} a step."
            )
        width = 4 * self.filters
        self.kernel = self.add_weight(
            shape=(*self.kernel_size, self._step_shape[self._channels], width),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )
        self.recurrent_kernel = self.add_weight(
            shape=(*self.kernel_size, self.filters, width),
            initializer=self.recurrent_initializer,
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
            name="recurrent_kernel",
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(width,),
                initializer=forget_bias(self.bias_initializer) if self.unit_forget_bias else self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )

    def get_initial_state(self, batch_size: int | None = None) -> list[Any]:
        """Zeros for a batch."""
        step = jax.ShapeDtypeStruct((batch_size or 1, *self._step_shape[1:]), self.compute_dtype)
        kernel = jax.ShapeDtypeStruct((*self.kernel.shape[:-1], self.filters), self.compute_dtype)
        shape = jax.eval_shape(self._input_conv, step, kernel).shape
        return [jnp.zeros(shape, self.compute_dtype), jnp.zeros(shape, self.compute_dtype)]

    def _input_conv(self, x: Any, kernel: Any) -> Any:
        return ops.conv(x, kernel, self.strides, self.padding, self.data_format, self.dilation_rate)

    def _recurrent_conv(self, h: Any, kernel: Any) -> Any:
        return ops.conv(h, kernel, 1, "same", self.data_format)

    def _gates(self, conv: Any, x: Any, kernel: Any, masks: Any) -> Any:
        """The four gates' convolutions side by side; with masks, each drops other elements."""
        if masks is None:
            return conv(x, kernel)
        parts = jnp.split(kernel, 4, axis=-1)
        return jnp.concatenate([conv(x * m, k) for m, k in zip(masks, parts, strict=True)], axis=self._channels)

    def call(self, inputs: Any, states: Any, training: bool = False) -> tuple[Any, Any]:
        """The output and the new states [h, c]."""
        h, c = states
        drop, recurrent_drop = self.draw_masks(inputs, h, training)
        z = self._gates(self._input_conv, inputs, self.kernel.value, drop)
        if self.bias is not None:
            z = z + self.bias.value.reshape((-1, *(1,) * self.rank) if self._channels == 1 else (-1,))
        z = z + self._gates(self._recurrent_conv, h, self.recurrent_kernel.value, recurrent_drop)
        i, f, g, o = jnp.split(z, 4, axis=self._channels)
        c = self.recurrent_activation(f) * c + self.recurrent_activation(i) * self.activation(g)
        h = self.recurrent_activation(o) * self.activation(c)
        return h, [h, c]


class _ConvLSTM(StandardRNN):
    """A convolutional LSTM over sequences, of any rank."""

    rank: ClassVar[int]

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        **kwargs: Any,
    ):
        cell = ConvLSTMCell(
            self.rank,
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            unit_forget_bias=unit_forget_bias,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
            name="conv_lstm_cell",
            **{k: kwargs[k] for k in ("dtype", "trainable") if k in kwargs},
        )
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self.input_spec = InputSpec(ndim=self.rank + 3)


class ConvLSTM1D(_ConvLSTM):
    """A convolutional LSTM over sequences of signals.

    Shape:
        (batch, time, length, channels) -> (batch, length, filters), or (batch, time, length, filters) with
        `return_sequences`; channels before space for `data_format="channels_first"`

    Args:
        filters: the number of output channels.
        kernel_size: the size of the kernels.
        strides: the strides over the input.
        padding: "valid" or "same", for the input.
        data_format: "channels_last" or "channels_first"; the global default if None.
        dilation_rate: the distance of two taps, for the input.
        activation: the activation of the candidate and of the output.
        recurrent_activation: the activation of the gates.
        use_bias: whether biases are added.
        kernel_initializer: how the kernel of the input starts.
        recurrent_initializer: how the kernel of the state starts.
        bias_initializer: how the bias starts.
        unit_forget_bias: whether the bias of the forget gate starts at 1.
        kernel_regularizer: a penalty on the kernel of the input.
        recurrent_regularizer: a penalty on the kernel of the state.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        kernel_constraint: a function that each update of the kernel of the input goes through.
        recurrent_constraint: the like for the kernel of the state.
        bias_constraint: the like for the bias.
        dropout: the share of the inputs to drop in training.
        recurrent_dropout: the share of the state to drop in training.
        seed: a seed for dropout.
        return_sequences: whether the outputs of all steps are returned, rather than the last one.
        return_state: whether the last states h and c are returned too.
        go_backwards: whether time runs from the end.
        stateful: whether the last states are the first ones of the next call.
        **kwargs: `zero_output_for_mask`, `name`, `dtype` and so on, as for `RNN`.

    Example:
        >>> import numpy as np
        >>> layer = ConvLSTM1D(filters=2, kernel_size=3, padding="same")
        >>> layer(np.ones((1, 3, 8, 1), "float32")).shape
        (1, 8, 2)

    Reference:
        Shi et al., "Convolutional LSTM Network", https://arxiv.org/abs/1506.04214
    """

    rank = 1


class ConvLSTM2D(_ConvLSTM):
    """A convolutional LSTM over sequences of images.

    Shape:
        (batch, time, rows, columns, channels) -> (batch, rows, columns, filters), with `return_sequences` with a time
        axis; channels before space for `data_format="channels_first"`

    Args:
        filters: the number of output channels.
        kernel_size: the size of the kernels: an integer, or one for each axis of space.
        **kwargs: all other arguments, as for `ConvLSTM1D`.

    Example:
        >>> import numpy as np
        >>> layer = ConvLSTM2D(filters=2, kernel_size=3, padding="same")
        >>> layer(np.ones((1, 3, 8, 8, 1), "float32")).shape
        (1, 8, 8, 2)

    Reference:
        Shi et al., "Convolutional LSTM Network", https://arxiv.org/abs/1506.04214
    """

    rank = 2


class ConvLSTM3D(_ConvLSTM):
    """A convolutional LSTM over sequences of volumes.

    Shape:
        (batch, time, depth, rows, columns, channels) -> (batch, depth, rows, columns, filters), with `return_sequences`
        with a time axis; channels before space for `data_format="channels_first"`

    Args:
        filters: the number of output channels.
        kernel_size: the size of the kernels: an integer, or one for each axis of space.
        **kwargs: all other arguments, as for `ConvLSTM1D`.

    Example:
        >>> import numpy as np
        >>> layer = ConvLSTM3D(filters=2, kernel_size=3, padding="same")
        >>> layer(np.ones((1, 2, 4, 4, 4, 1), "float32")).shape
        (1, 4, 4, 4, 2)

    Reference:
        Shi et al., "Convolutional LSTM Network", https://arxiv.org/abs/1506.04214
    """

    rank = 3
