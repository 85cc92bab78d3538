"""SimpleRNN, GRU and LSTM."""

from __future__ import annotations

from typing import Any

from lamina.core.checks import check_choice
from lamina.core.config import _parameters
from lamina.layers.input_spec import InputSpec
from lamina.layers.recurrent_cells import GRUCell, LSTMCell, SimpleRNNCell
from lamina.layers.rnn import RNN


class StandardRNN(RNN):
    """An RNN that makes its cell; the cell's arguments read as its own."""

    def __init__(self, cell: Any, **kwargs: Any):
        super().__init__(cell, **kwargs)
        self.input_spec = InputSpec(ndim=3)

    def __getattr__(self, name: str) -> Any:
        cell = self.__dict__.get("cell")
        if cell is not None and name in _parameters(type(cell)):  # type: ignore[arg-type]
            return getattr(cell, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        config = super().get_config()
        config.pop("cell")
        config.pop("use_cudnn", None)  # a choice of the machine, not of the model
        return config


def _cell_options(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a layer that its cell takes too."""
    options: dict[str, Any] = {k: kwargs[k] for k in ("dtype", "trainable") if k in kwargs}
    if "implementation" in kwargs:
        options["implementation"] = kwargs.pop("implementation")
    return options


class SimpleRNN(StandardRNN):
    """A fully recurrent layer: h = activation(x kernel + h recurrent_kernel + bias) at each step.

    Shape:
        (batch, time, features) -> (batch, units), or (batch, time, units) with `return_sequences`

    Args:
        units: the size of the output.
        activation: a function or its name; None for none.
        use_bias: whether a bias is added.
        kernel_initializer: how the weights of the input start.
        recurrent_initializer: how the weights of the state start.
        bias_initializer: how the bias starts.
        kernel_regularizer: a penalty on the weights of the input.
        recurrent_regularizer: a penalty on the weights of the state.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        kernel_constraint: a function that each update of the weights of the input goes through.
        recurrent_constraint: the like for the weights of the state.
        bias_constraint: the like for the bias.
        dropout: the share of the inputs to drop in training, the same ones at all steps.
        recurrent_dropout: the share of the state to drop in training.
        return_sequences: whether the outputs of all steps are returned, rather than the last one.
        return_state: whether the last state is returned too.
        go_backwards: whether time runs from the end.
        stateful: whether the last state is the first one of the next call.
        unroll: whether the loop is written out.
        seed: a seed for dropout.
        **kwargs: `zero_output_for_mask`, `name`, `dtype` and so on, as for `RNN`.

    Example:
        >>> import numpy as np
        >>> SimpleRNN(3)(np.ones((2, 5, 4), "float32")).shape
        (2, 3)
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        cell = SimpleRNNCell(
            units,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
            name="simple_rnn_cell",
            **_cell_options(kwargs),
        )
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values; the seed is not among them in Keras' format."""
        config = super().get_config()
        config.pop("seed")
        return config


class GRU(StandardRNN):
    """A layer of gated recurrent units; see `GRUCell` for the formula.

    Shape:
        (batch, time, features) -> (batch, units), or (batch, time, units) with `return_sequences`

    Args:
        units: the size of the output.
        activation: the activation of the candidate.
        recurrent_activation: the activation of the gates.
        use_bias: whether biases are added.
        kernel_initializer: how the weights of the input start.
        recurrent_initializer: how the weights of the state start.
        bias_initializer: how the bias starts.
        kernel_regularizer: a penalty on the weights of the input.
        recurrent_regularizer: a penalty on the weights of the state.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        kernel_constraint: a function that each update of the weights of the input goes through.
        recurrent_constraint: the like for the weights of the state.
        bias_constraint: the like for the bias.
        dropout: the share of the inputs to drop in training, the same ones at all steps.
        recurrent_dropout: the share of the state to drop in training, for each gate apart.
        seed: a seed for dropout.
        return_sequences: whether the outputs of all steps are returned, rather than the last one.
        return_state: whether the last state is returned too.
        go_backwards: whether time runs from the end.
        stateful: whether the last state is the first one of the next call.
        unroll: whether the loop is written out.
        reset_after: whether the reset gate acts after the product with the recurrent kernel.
        use_cudnn: accepted as in Keras: the compiler chooses the kernel.
        **kwargs: `zero_output_for_mask`, `name`, `dtype` and so on, as for `RNN`; `implementation=1` draws a dropout
            mask a gate.

    Example:
        >>> import numpy as np
        >>> outputs, state = GRU(3, return_sequences=True, return_state=True)(np.ones((2, 5, 4), "float32"))
        >>> outputs.shape, state.shape
        ((2, 5, 3), (2, 3))

    Reference:
        Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", https://arxiv.org/abs/1406.1078
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
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
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ):
        cell = GRUCell(
            units,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            reset_after=reset_after,
            seed=seed,
            name="gru_cell",
            **_cell_options(kwargs),
        )
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self.use_cudnn = check_choice(self, "use_cudnn", use_cudnn, ["auto", True, False])


class LSTM(StandardRNN):
    """A layer of long short-term memory; see `LSTMCell` for the formula.

    Shape:
        (batch, time, features) -> (batch, units), or (batch, time, units) with `return_sequences`

    Args:
        units: the size of the output.
        activation: the activation of the candidate and of the output.
        recurrent_activation: the activation of the gates.
        use_bias: whether biases are added.
        kernel_initializer: how the weights of the input start.
        recurrent_initializer: how the weights of the state start.
        bias_initializer: how the bias starts.
        unit_forget_bias: whether the bias of the forget gate starts at 1.
        kernel_regularizer: a penalty on the weights of the input.
        recurrent_regularizer: a penalty on the weights of the state.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        kernel_constraint: a function that each update of the weights of the input goes through.
        recurrent_constraint: the like for the weights of the state.
        bias_constraint: the like for the bias.
        dropout: the share of the inputs to drop in training, the same ones at all steps.
        recurrent_dropout: the share of the state to drop in training.
        seed: a seed for dropout.
        return_sequences: whether the outputs of all steps are returned, rather than the last one.
        return_state: whether the last states h and c are returned too.
        go_backwards: whether time runs from the end.
        stateful: whether the last states are the first ones of the next call.
        unroll: whether the loop is written out.
        use_cudnn: accepted as in Keras: the compiler chooses the kernel.
        **kwargs: `zero_output_for_mask`, `name`, `dtype` and so on, as for `RNN`; `implementation=1` draws a dropout
            mask a gate.

    Example:
        >>> import numpy as np
        >>> outputs, h, c = LSTM(3, return_sequences=True, return_state=True)(np.ones((2, 5, 4), "float32"))
        >>> outputs.shape, h.shape, c.shape
        ((2, 5, 3), (2, 3), (2, 3))

    Reference:
        Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 9(8), 1997
    """

    def __init__(
        self,
        units: int,
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
        unroll: bool = False,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ):
        cell = LSTMCell(
            units,
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
            name="lstm_cell",
            **_cell_options(kwargs),
        )
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self.use_cudnn = check_choice(self, "use_cudnn", use_cudnn, ["auto", True, False])
