"""RNN: a cell run over sequences."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.errors import ShapeError, describe, owner_label
from lamina.layers.layer import Layer
from lamina.layers.recurrent_cells import DropoutCell, GRUCell, LSTMCell, SimpleRNNCell
from lamina.layers.stacked_cells import StackedRNNCells, build_cell, initial_state, step_cell
from lamina.ops.recurrent import recurrence

# Cells whose layer is an op of its own; a subclass may change the step and so is not among them.
OP_CELLS = (SimpleRNNCell, GRUCell, LSTMCell)


class RNN(Layer):
    """A recurrent layer: a cell applied to each time step in turn.

    At steps where the mask is False the states stay and the output is that of the step before.

    Shape:
        (batch, time, ...) -> (batch, ...), or (batch, time, ...) with `return_sequences`; with `return_state` a tuple
        of that and the last states

    Args:
        cell: an object with `call(inputs of one step, states) -> (output, new states)` and `state_size` (an integer
            or a list of them), and maybe `output_size` and `get_initial_state(batch_size)`; or a list of such cells,
            which are stacked.
        return_sequences: whether the outputs of all steps are returned, rather than the last one.
        return_state: whether the last states are returned too.
        go_backwards: whether time runs from the end; returned sequences are in the order in which they are made.
        stateful: whether the last states are the first ones of the next call; `reset_state` sets them to 0.
        unroll: whether the loop is written out: faster for few steps, slower to compile.
        zero_output_for_mask: whether the output is 0 at masked steps.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Raises:
        TypeError: `cell` is not a cell.

    Example:
        >>> import numpy as np
        >>> from lamina.layers import LSTMCell
        >>> layer = RNN(LSTMCell(3), return_sequences=True)
        >>> layer(np.ones((2, 5, 4), "float32")).shape
        (2, 5, 3)
    """

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if isinstance(cell, (list, tuple)):
            cell = StackedRNNCells(cell)
        if isinstance(cell, RNN) or not callable(getattr(cell, "call", None)) or not hasattr(cell, "state_size"):
            raise TypeError(
                f"{owner_label(self)}: cell must have a call(inputs, states) method and a state_size, got "
                f"{describe(cell)}. Layers such as LSTM are not cells; LSTMCell is."
            )
        self.cell = cell
        self.return_sequences = bool(return_sequences)
        self.return_state = bool(return_state)
        self.go_backwards = bool(go_backwards)
        self.stateful = bool(stateful)
        self.unroll = bool(unroll)
        self.zero_output_for_mask = bool(zero_output_for_mask)
        self.supports_masking = True
        self.states: Any = None

    @property
    def state_size(self) -> list[Any]:
        """The sizes of the states."""
        size = self.cell.state_size
        return list(size) if isinstance(size, (list, tuple)) else [size]

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Builds the cell, and with `stateful` the variables that keep the states."""
        build_cell(self.cell, (sequences_shape[0], *sequences_shape[2:]))
        if self.stateful and self.states is None:
            batch = sequences_shape[0]
            if batch is None:
                raise ValueError(
                    f"{owner_label(self)}: stateful=True needs a fixed batch size. Give the Input a batch_size, as in "
                    "Input((time, features), batch_size=32)."
                )
            self.states = jax.tree.map(
                lambda s: self.add_weight(shape=s.shape, initializer="zeros", trainable=False, name="rnn_state"),
                self.get_initial_state(batch),
            )

    def _saved_variables(self) -> list[Any]:
        return []  # as in Keras, model files do not hold the states; checkpoints of runs do

    def get_initial_state(self, batch_size: int | None = None) -> list[Any]:
        """The states that a sequence starts from."""
        dtype = getattr(self.cell, "compute_dtype", self.compute_dtype)
        states = initial_state(self.cell, batch_size, dtype)
        return list(states) if isinstance(states, (list, tuple)) else [states]

    def reset_state(self) -> None:
        """Sets the kept states of a stateful layer to 0."""
        for state in jax.tree.leaves(self.states):
            state.assign(jnp.zeros(state.shape, state.dtype))

    reset_states = reset_state

    def _first_states(self, sequences: Any, given: Any) -> list[Any]:
        """The states before the first step: those given, else the kept ones, else zeros."""
        batch = sequences.shape[0]
        if given is None and self.stateful:
            kept = jax.tree.leaves(self.states)
            if kept[0].shape[0] != batch:
                raise ShapeError(
                    f"{owner_label(self)}: is stateful with states for batches of {kept[0].shape[0]} samples, got "
                    f"{batch}. Feed batches of that size, or make the layer anew."
                )
            given = jax.tree.map(lambda v: v.value, self.states)
        if given is None:
            return self.get_initial_state(batch)
        given = list(given) if isinstance(given, (list, tuple)) else [given]
        dtype = getattr(self.cell, "compute_dtype", self.compute_dtype)
        given = jax.tree.map(lambda s: jnp.asarray(s, dtype), given)
        self._check_states(given, batch)
        return given

    def _check_states(self, given: list[Any], batch: Any) -> None:
        wanted = [s.shape for s in jax.tree.leaves(jax.eval_shape(lambda: self.get_initial_state(batch)))]
        got = [s.shape for s in jax.tree.leaves(given)]
        if wanted != got:
            raise ShapeError(f"{owner_label(self)}: initial_state must have the shapes {wanted}, got {got}.")

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        """Runs the cell over the sequences."""
        states = self._first_states(sequences, initial_state)
        if isinstance(mask, (list, tuple, dict)):
            mask = next(iter(jax.tree.leaves(mask)), None)
        loop = {
            "go_backwards": self.go_backwards,
            "return_sequences": self.return_sequences,
            "unroll": self.unroll,
            "zero_output_for_mask": self.zero_output_for_mask,
        }
        cell = self.cell
        if type(cell) in OP_CELLS and cell.dtype_policy == self.dtype_policy:
            with jax.named_scope(cell.name):
                last, outputs, states = cell.run(sequences, states, mask, training, **loop)
        else:
            with hold_masks(cell, sequences[:, 0], states, training):
                last, outputs, states = recurrence(
                    lambda x, s: step_cell(cell, x, s, training), sequences, states, mask, **loop
                )
        states = jax.tree.map(lambda s: s.astype(self.compute_dtype), states)
        if self.stateful:
            jax.tree.map(lambda kept, s: kept.assign(s), self.states, states)
        output = (outputs if self.return_sequences else last).astype(self.compute_dtype)
        return (output, *states) if self.return_state else output

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of the sequences, if those are returned; states have none."""
        mask = next(iter(jax.tree.leaves(previous_mask)), None)
        mask = mask if self.return_sequences else None
        return [mask, *(None for _ in self.state_size)] if self.return_state else mask


@contextlib.contextmanager
def hold_masks(cell: Any, x: Any, states: Any, training: Any) -> Iterator[None]:
    """Within the scope, a cell (and those stacked in it) drops the same elements at all steps.

    Args:
        cell: any cell.
        x: the inputs of one step.
        states: the states before it.
        training: whether anything is dropped.
    """
    held: list[DropoutCell] = []

    def hold(cell: Any, x: Any, states: Any) -> None:
        states = states if isinstance(states, (list, tuple)) else [states]
        if isinstance(cell, StackedRNNCells):
            for inner, own in zip(cell.cells, states, strict=True):
                hold(inner, x, own)
                x = jax.tree.leaves(own)[0]  # shapes alone matter: the output of a cell is like its first state
        elif isinstance(cell, DropoutCell):
            cell._held = cell.draw_masks(x, states[0], training)
            held.append(cell)

    hold(cell, x, states)
    try:
        yield
    finally:
        for one in held:
            one._held = None
