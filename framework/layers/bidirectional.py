"""Bidirectional: a recurrent layer in both directions of time."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.checks import check_choice
from lamina.core.errors import describe, owner_label
from lamina.layers import calling
from lamina.layers.layer import Layer


class Bidirectional(Layer):
    """Two copies of a recurrent layer, one forwards and one backwards in time, and their outputs merged.

    With `return_sequences`, the outputs at masked steps are 0.

    Shape:
        as for the layer, with twice the features for `merge_mode="concat"`; two outputs for `merge_mode=None`; the
        states of both with `return_state`

    Args:
        layer: a recurrent layer such as `LSTM(8)`; it is copied and keeps no weights of its own.
        merge_mode: "concat", "sum", "mul", "ave", or None to return both outputs.
        backward_layer: the layer for the way back, with the other `go_backwards`; a copy of `layer` by default.
        **kwargs: `name`, `dtype` and so on, as for every layer; `weights`, a list of arrays to start with.

    Raises:
        TypeError: `layer` is not a recurrent layer.
        ValueError: the two layers do not fit each other.

    Example:
        >>> import numpy as np
        >>> from lamina.layers import LSTM
        >>> Bidirectional(LSTM(3))(np.ones((2, 5, 4), "float32")).shape
        (2, 6)
    """

    def __init__(self, layer: Any, merge_mode: str | None = "concat", backward_layer: Any = None, **kwargs: Any):
        start = kwargs.pop("weights", None)
        super().__init__(**kwargs)
        self._start = start
        self.merge_mode = check_choice(self, "merge_mode", merge_mode, ["sum", "mul", "ave", "concat", None])
        for argument, one in (("layer", layer), ("backward_layer", backward_layer or layer)):
            if not isinstance(one, Layer) or not hasattr(one, "go_backwards"):
                raise TypeError(
                    f"{owner_label(self)}: {argument} must be a recurrent layer such as LSTM(8), with go_backwards, "
                    f"return_sequences and return_state, got {describe(one)}."
                )
        self.forward_layer = _copy(layer, "forward_", layer.go_backwards)
        self.backward_layer = backward_layer or _copy(layer, "backward_", not layer.go_backwards)
        forward, backward = self.forward_layer, self.backward_layer
        if forward.go_backwards == backward.go_backwards:
            raise ValueError(
                f"{owner_label(self)}: layer and backward_layer must differ in go_backwards, got "
                f"{forward.go_backwards} for both."
            )
        for attribute in ("stateful", "return_sequences", "return_state"):
            values = getattr(forward, attribute), getattr(backward, attribute)
            if values[0] != values[1]:
                raise ValueError(
                    f"{owner_label(self)}: layer and backward_layer must have the same {attribute}, got {values[0]} "
                    f"and {values[1]}."
                )
        for one in (forward, backward):
            if hasattr(one, "zero_output_for_mask"):
                one.zero_output_for_mask = one.return_sequences
        self.stateful = forward.stateful
        self.return_sequences = forward.return_sequences
        self.return_state = forward.return_state
        self.supports_masking = True
        self.input_spec = forward.input_spec

    @property
    def layer(self) -> Layer:
        """The layer that goes forwards."""
        return self.forward_layer

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Builds both layers."""
        for one in (self.forward_layer, self.backward_layer):
            if not one.built:
                one.build(sequences_shape)
                one.built = True
        if self._start is not None:
            self.set_weights(self._start)

    @property
    def states(self) -> tuple | None:
        """The kept states of both layers, or None."""
        forward, backward = self.forward_layer.states, self.backward_layer.states
        return (*forward, *backward) if forward and backward else None

    def reset_state(self) -> None:
        """Sets the kept states of stateful layers to 0."""
        if not self.stateful:
            raise AttributeError(f"{owner_label(self)}: reset_state needs layers made with stateful=True.")
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    reset_states = reset_state

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool | None = None) -> Any:
        """Runs both layers and merges their outputs.

        Args:
            sequences: the sequences.
            initial_state: the states of the forward layer, then those of the backward layer.
            mask: which time steps hold data.
            training: whether dropout drops.
        """
        half = 0 if initial_state is None else len(initial_state) // 2
        given = (None, None) if initial_state is None else (initial_state[:half], initial_state[half:])
        forward = self._run(self.forward_layer, sequences, given[0], mask, training)
        backward = self._run(self.backward_layer, sequences, given[1], mask, training)
        states: tuple = ()
        if self.return_state:
            states = (*forward[1:], *backward[1:])
            forward, backward = forward[0], backward[0]
        if self.return_sequences:
            backward = jnp.flip(backward, axis=1)
        if self.merge_mode is None:
            return (forward, backward, *states)
        output = self._merge(forward, backward)
        return (output, *states) if self.return_state else output

    def _run(self, layer: Any, sequences: Any, states: Any, mask: Any, training: Any) -> Any:
        options: dict[str, Any] = {} if states is None else {"initial_state": states}
        if mask is not None and calling.accepts(type(layer), "mask"):  # type: ignore[arg-type]
            options["mask"] = mask
        return layer(sequences, training=training, **options)

    def _merge(self, forward: Any, backward: Any) -> Any:
        if self.merge_mode == "concat":
            return jnp.concatenate([forward, backward], axis=-1)
        if self.merge_mode == "mul":
            return forward * backward
        total = forward + backward
        return total / 2 if self.merge_mode == "ave" else total

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of the sequences, if those are returned; states have none."""
        mask = next(iter(jax.tree.leaves(previous_mask)), None) if self.return_sequences else None
        outputs = [mask, mask] if self.merge_mode is None else [mask]
        if self.return_state:
            return [*outputs, *(None for _ in range(2 * len(self.forward_layer.state_size)))]
        return outputs if self.merge_mode is None else mask


def _copy(layer: Any, prefix: str, go_backwards: bool) -> Any:
    """A layer made of the same arguments, without weights yet."""
    config = layer.get_config()
    config["name"] = prefix + layer.name.removeprefix(prefix)
    config["go_backwards"] = go_backwards
    return type(layer).from_config(config)
