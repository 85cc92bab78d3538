"""Cells on top of one another, and how any cell is built, started and called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from lamina.core.checks import check_type
from lamina.core.errors import describe, owner_label
from lamina.layers.layer import Layer


class StackedRNNCells(Layer):
    """Cells on top of one another: the output of each is the input of the next.

    Shape:
        (batch, features), states one entry a cell -> the output of the last cell, states

    Args:
        cells: the cells, the first one first.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Raises:
        TypeError: something in `cells` is not a cell.

    Example:
        >>> import numpy as np
        >>> from lamina.layers import RNN, LSTMCell
        >>> stack = StackedRNNCells([LSTMCell(4), LSTMCell(3)])
        >>> RNN(stack)(np.ones((2, 5, 6), "float32")).shape
        (2, 3)
    """

    def __init__(self, cells: Sequence[Any], **kwargs: Any):
        super().__init__(**kwargs)
        check_type(self, "cells", cells, (list, tuple), "a list of cells")
        for cell in cells:
            if not callable(getattr(cell, "call", None)) or not hasattr(cell, "state_size"):
                raise TypeError(
                    f"{owner_label(self)}: each cell must have a call method and a state_size, got {describe(cell)}."
                )
        self.cells = list(cells)

    @property
    def state_size(self) -> list[Any]:
        """The sizes of the states of each cell."""
        return [c.state_size for c in self.cells]

    @property
    def output_size(self) -> Any:
        """The size of the last cell's output."""
        last = self.cells[-1]
        if getattr(last, "output_size", None) is not None:
            return last.output_size
        return last.state_size[0] if isinstance(last.state_size, (list, tuple)) else last.state_size

    def get_initial_state(self, batch_size: int | None = None) -> list[Any]:
        """Zeros for a batch, one entry a cell."""
        return [initial_state(cell, batch_size, self.compute_dtype) for cell in self.cells]

    def build(self, input_shape: Any) -> None:
        """Builds the cells, each for the output of the one before."""
        shape = tuple(input_shape)
        for cell in self.cells:
            build_cell(cell, shape)
            size = getattr(cell, "output_size", None)
            if size is None:
                size = cell.state_size[0] if isinstance(cell.state_size, (list, tuple)) else cell.state_size
            shape = (shape[0], *size) if isinstance(size, tuple) else (shape[0], size)

    def call(self, inputs: Any, states: Any, training: bool = False) -> tuple[Any, Any]:
        """The output of the last cell and the new states of all."""
        new = []
        for cell, state in zip(self.cells, states, strict=True):
            state = list(state) if isinstance(state, (list, tuple)) else [state]
            inputs, after = step_cell(cell, inputs, state, training)
            new.append(after)
        return inputs, new


def build_cell(cell: Any, shape: tuple) -> None:
    """Builds a cell, if it is a layer that is not built yet."""
    if isinstance(cell, Layer) and not cell.built:
        cell.build(shape)
        cell.built = True


def step_cell(cell: Any, x: Any, states: Any, training: Any) -> tuple[Any, Any]:
    """Calls a cell, a layer or any object with Keras' cell protocol."""
    if isinstance(cell, Layer):
        return cell(x, states, training=training)
    return (cell if callable(cell) else cell.call)(x, states)


def initial_state(cell: Any, batch_size: Any, dtype: str) -> Any:
    """The states that a cell starts from: its own `get_initial_state`, or zeros of its state sizes."""
    start = getattr(cell, "get_initial_state", None)
    if start is not None:
        return start(batch_size=batch_size)
    sizes = cell.state_size if isinstance(cell.state_size, (list, tuple)) else [cell.state_size]
    return [jnp.zeros((batch_size, *(s if isinstance(s, (list, tuple)) else (s,))), dtype) for s in sizes]
