"""Recurrent cells: one step of SimpleRNN, GRU and LSTM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from lamina import activations, constraints, initializers, random, regularizers
from lamina.core import registry
from lamina.core.checks import check_choice, check_int, check_number
from lamina.layers.layer import Layer
from lamina.ops.recurrent import gru, gru_step, lstm, lstm_step, simple_rnn, simple_rnn_step
from lamina.state.rng import SeedGenerator


class DropoutCell(Layer):
    """What cells with dropout share: a mask for the inputs and one for the states, alike at all steps of a sequence.

    The layer that runs a cell over a sequence sets the masks before the first step and takes them back after the
    last; a cell called by itself draws new ones.
    """

    gates: int = 1

    def _set_dropout(self, dropout: float, recurrent_dropout: float, seed: int | None, implementation: Any) -> None:
        self.dropout = check_number(self, "dropout", dropout, 0, 1)
        self.recurrent_dropout = check_number(self, "recurrent_dropout", recurrent_dropout, 0, 1)
        self.seed = seed
        self.seed_generator = SeedGenerator(seed)
        self.implementation = check_choice(self, "implementation", implementation, [1, 2])
        self._held: tuple[Any, Any] | None = None

    @property
    def masks_per_gate(self) -> bool:
        """Whether each gate drops other elements."""
        return self.implementation == 1 and self.gates > 1

    def draw_masks(self, x: Any, h: Any, training: Any) -> tuple[Any, Any]:
        """The dropout masks of the inputs and of the states; None where nothing is dropped."""
        if self._held is not None:
            return self._held
        if not training:
            return None, None
        return self._draw(self.dropout, x), self._draw(self.recurrent_dropout, h)

    def _draw(self, rate: float, like: Any) -> Any:
        if not 0 < rate < 1:
            return None
        shape = (self.gates, *like.shape) if self.masks_per_gate else like.shape
        return random.dropout(jnp.ones(shape, like.dtype), rate, seed=self.seed_generator)


class StandardCell(DropoutCell):
    """What SimpleRNNCell, GRUCell and LSTMCell share: the arguments, the weights and the states."""

    n_states: int = 1

    def __init__(
        self,
        units: int,
        activation: Any,
        use_bias: bool,
        kernel_initializer: Any,
        recurrent_initializer: Any,
        bias_initializer: Any,
        kernel_regularizer: Any,
        recurrent_regularizer: Any,
        bias_regularizer: Any,
        kernel_constraint: Any,
        recurrent_constraint: Any,
        bias_constraint: Any,
        dropout: float,
        recurrent_dropout: float,
        seed: int | None,
        **kwargs: Any,
    ):
        implementation = kwargs.pop("implementation", 2)
        super().__init__(**kwargs)
        self.units = check_int(self, "units", units, 1)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.recurrent_initializer = initializers.get(recurrent_initializer)
        self.bias_initializer: Any = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = regularizers.get(recurrent_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.recurrent_constraint = constraints.get(recurrent_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self._set_dropout(dropout, recurrent_dropout, seed, implementation)
        self.output_size = self.units
        self.state_size: Any = self.units if self.n_states == 1 else [self.units] * self.n_states

    def build(self, input_shape: Any) -> None:
        """Creates the kernel of the inputs, that of the states, and the bias."""
        width = self.gates * self.units
        self.kernel = self.add_weight(
            shape=(input_shape[-1], width),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, width),
            initializer=self.recurrent_initializer,
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
            name="recurrent_kernel",
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                shape=self._bias_shape(),
                initializer=self._bias_start(),
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )

    def _bias_shape(self) -> tuple[int, ...]:
        return (self.gates * self.units,)

    def _bias_start(self) -> Callable[..., Any]:
        return self.bias_initializer

    def get_initial_state(self, batch_size: int | None = None) -> list[Any]:
        """Zeros for a batch."""
        return [jnp.zeros((batch_size, self.units), self.compute_dtype) for _ in range(self.n_states)]

    def _weight_values(self) -> tuple[Any, Any, Any]:
        """The values of kernel, recurrent kernel and bias."""
        bias = None if self.bias is None else self.bias.value
        return self.kernel.value, self.recurrent_kernel.value, bias

    def _functions(self) -> dict[str, Any]:
        """The arguments of the cell's op beside arrays."""
        return {"activation": self.activation}

    def run(self, sequences: Any, states: list[Any], mask: Any, training: Any, **loop: Any) -> tuple[Any, Any, Any]:
        """The cell over whole sequences, by the op of its name."""
        masks = self.draw_masks(sequences[:, 0], states[0], training)
        functions = self._functions()
        # A trace of the op is kept, so activations of the user's, which may read variables, are traced afresh.
        lasting = all(registry.family_of(f.__module__) for f in functions.values() if callable(f))
        fn = self._op if lasting else self._op.__wrapped__
        return fn(sequences, states, *self._weight_values(), mask, masks, **functions, **loop)

    _op: Any = None


def _single(states: Any) -> Any:
    """The only state of a cell, given as it is or in a list."""
    return states[0] if isinstance(states, (list, tuple)) else states


class SimpleRNNCell(StandardCell):
    """One step of a fully recurrent layer: h = activation(x kernel + h recurrent_kernel + bias).

    Shape:
        (batch, features), states [(batch, units)] -> (batch, units), [(batch, units)]

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
        kernel_constraint: a function that each update of the weights of the input goes through.
        recurrent_constraint: the like for the weights of the state.
        bias_constraint: the like for the bias.
        dropout: the share of the inputs to drop in training.
        recurrent_dropout: the share of the state to drop in training.
        seed: a seed for dropout.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> h, states = SimpleRNNCell(3)(np.ones((2, 4), "float32"), [np.zeros((2, 3), "float32")])
        >>> h.shape
        (2, 3)
    """

    _op = staticmethod(simple_rnn)

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
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            units,
            activation,
            use_bias,
            kernel_initializer,
            recurrent_initializer,
            bias_initializer,
            kernel_regularizer,
            recurrent_regularizer,
            bias_regularizer,
            kernel_constraint,
            recurrent_constraint,
            bias_constraint,
            dropout,
            recurrent_dropout,
            seed,
            **kwargs,
        )

    def call(self, sequence: Any, states: Any, training: bool = False) -> tuple[Any, Any]:
        """The output and the new state."""
        h = _single(states)
        masks = self.draw_masks(sequence, h, training)
        h = simple_rnn_step(sequence, h, *self._weight_values(), masks, self.activation)
        return h, [h] if isinstance(states, (list, tuple)) else h


class GRUCell(StandardCell):
    """One step of a gated recurrent unit.

    z = sigmoid(x W_z + h U_z + b_z), r = sigmoid(x W_r + h U_r + b_r), c = tanh(x W_h + r (h U_h + b)),
    h = z h + (1 - z) c; without `reset_after`, c = tanh(x W_h + (r h) U_h + b).

    Shape:
        (batch, features), states [(batch, units)] -> (batch, units), [(batch, units)]

    Args:
        units: the size of the output.
        activation: the activation of the candidate c.
        recurrent_activation: the activation of the gates.
        use_bias: whether biases are added.
        kernel_initializer: how the weights of the input start.
        recurrent_initializer: how the weights of the state start.
        bias_initializer: how the bias starts.
        kernel_regularizer: a penalty on the weights of the input.
        recurrent_regularizer: a penalty on the weights of the state.
        bias_regularizer: a penalty on the bias.
        kernel_constraint: a function that each update of the weights of the input goes through.
        recurrent_constraint: the like for the weights of the state.
        bias_constraint: the like for the bias.
        dropout: the share of the inputs to drop in training.
        recurrent_dropout: the share of the state to drop in training, for each gate apart.
        reset_after: whether the reset gate acts after the product with the recurrent kernel.
        seed: a seed for dropout.
        **kwargs: `name`, `dtype` and so on, as for every layer; `implementation=1` draws a dropout mask a gate.

    Example:
        >>> import numpy as np
        >>> h, states = GRUCell(3)(np.ones((2, 4), "float32"), [np.zeros((2, 3), "float32")])
        >>> h.shape
        (2, 3)

    Reference:
        Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", https://arxiv.org/abs/1406.1078
    """

    gates = 3
    _op = staticmethod(gru)

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
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ):
        if recurrent_dropout:
            kwargs["implementation"] = 1
        super().__init__(
            units,
            activation,
            use_bias,
            kernel_initializer,
            recurrent_initializer,
            bias_initializer,
            kernel_regularizer,
            recurrent_regularizer,
            bias_regularizer,
            kernel_constraint,
            recurrent_constraint,
            bias_constraint,
            dropout,
            recurrent_dropout,
            seed,
            **kwargs,
        )
        self.recurrent_activation = activations.get(recurrent_activation)
        self.reset_after = bool(reset_after)

    def _bias_shape(self) -> tuple[int, ...]:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def _functions(self) -> dict[str, Any]:
        return {
            "activation": self.activation,
            "recurrent_activation": self.recurrent_activation,
            "reset_after": self.reset_after,
        }

    def call(self, inputs: Any, states: Any, training: bool = False) -> tuple[Any, Any]:
        """The output and the new state."""
        h = _single(states)
        masks = self.draw_masks(inputs, h, training)
        h = gru_step(
            inputs, h, *self._weight_values(), masks, self.activation, self.recurrent_activation, self.reset_after
        )
        return h, [h] if isinstance(states, (list, tuple)) else h


class LSTMCell(StandardCell):
    """One step of a long short-term memory.

    i, f, o = sigmoid(x W + h U + b), g = tanh(x W_g + h U_g + b_g), c = f c + i g, h = o tanh(c).

    Shape:
        (batch, features), states [(batch, units), (batch, units)] -> (batch, units), [h, c]

    Args:
        units: the size of the output.
        activation: the activation of g and of c.
        recurrent_activation: the activation of the gates.
        use_bias: whether biases are added.
        kernel_initializer: how the weights of the input start.
        recurrent_initializer: how the weights of the state start.
        bias_initializer: how the bias starts.
        unit_forget_bias: whether the bias of the forget gate starts at 1.
        kernel_regularizer: a penalty on the weights of the input.
        recurrent_regularizer: a penalty on the weights of the state.
        bias_regularizer: a penalty on the bias.
        kernel_constraint: a function that each update of the weights of the input goes through.
        recurrent_constraint: the like for the weights of the state.
        bias_constraint: the like for the bias.
        dropout: the share of the inputs to drop in training.
        recurrent_dropout: the share of the state to drop in training.
        seed: a seed for dropout.
        **kwargs: `name`, `dtype` and so on, as for every layer; `implementation=1` draws a dropout mask a gate.

    Example:
        >>> import numpy as np
        >>> zeros = np.zeros((2, 3), "float32")
        >>> h, (_, c) = LSTMCell(3)(np.ones((2, 4), "float32"), [zeros, zeros])
        >>> h.shape, c.shape
        ((2, 3), (2, 3))

    Reference:
        Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 9(8), 1997
    """

    gates = 4
    n_states = 2
    _op = staticmethod(lstm)

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
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            units,
            activation,
            use_bias,
            kernel_initializer,
            recurrent_initializer,
            bias_initializer,
            kernel_regularizer,
            recurrent_regularizer,
            bias_regularizer,
            kernel_constraint,
            recurrent_constraint,
            bias_constraint,
            dropout,
            recurrent_dropout,
            seed,
            **kwargs,
        )
        self.recurrent_activation = activations.get(recurrent_activation)
        self.unit_forget_bias = bool(unit_forget_bias)

    def _bias_start(self) -> Callable[..., Any]:
        if not self.unit_forget_bias:
            return self.bias_initializer
        return forget_bias(self.bias_initializer)

    def _functions(self) -> dict[str, Any]:
        return {"activation": self.activation, "recurrent_activation": self.recurrent_activation}

    def call(self, inputs: Any, states: Any, training: bool = False) -> tuple[Any, Any]:
        """The output and the new states [h, c]."""
        h, c = states
        masks = self.draw_masks(inputs, h, training)
        h, c = lstm_step(inputs, h, c, *self._weight_values(), masks, self.activation, self.recurrent_activation)
        return h, [h, c]


def forget_bias(initializer: Callable[..., Any]) -> Callable[..., Any]:
    """An initializer of the bias of four gates i, f, g, o that starts f at 1 and the others as `initializer` says."""

    def start(shape: tuple[int, ...], dtype: Any = None) -> Any:
        units = shape[0] // 4
        first, rest = initializer((units,), dtype=dtype), initializer((2 * units,), dtype=dtype)
        return jnp.concatenate([jnp.asarray(first), jnp.ones((units,), dtype), jnp.asarray(rest)])

    return start
