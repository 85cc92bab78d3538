"""The lease: while a `fit` runs it holds the values of all variables, so that each dispatch can donate them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.errors import listing
from lamina.state.variable import Variable


class Lease:
    """Holds the values of variables for the length of a run.

    Whoever reads a variable meanwhile gets a copy of the live value, since the value itself is donated to the next
    dispatch. Whoever writes one changes the value that the next dispatch takes. On exit, an error and Ctrl-C
    included, the live values are back in their variables.

    Args:
        variables: the variables to hold; `values` lists their values in the same order.

    Raises:
        RuntimeError: one of the variables is held by another run.
    """

    def __init__(self, variables: Sequence[Variable]):
        self.variables = tuple(variables)
        self.values: list[Any] = []  # device arrays, or numpy arrays that the next dispatch takes to the device
        self._index = {id(v): i for i, v in enumerate(self.variables)}

    def __enter__(self) -> Lease:
        held = [v.path for v in self.variables if v._lease is not None]
        if held:
            raise RuntimeError(
                f"Variables {listing(held[:4], 'and')} are being trained by another fit that is still running. "
                "Wait for it, or train a copy made with lamina.models.clone_model."
            )
        self.values = [v._cell for v in self.variables]
        for v in self.variables:
            v._lease = self
        return self

    def __exit__(self, *exc: Any) -> None:
        for v, value in zip(self.variables, self.values, strict=True):
            v._cell = value if isinstance(value, jax.Array) else jnp.asarray(value)
            v._lease = None

    def peek(self, variable: Variable) -> jax.Array:
        """The live value itself, for a use that ends before the next dispatch is made."""
        return self.values[self._index[id(variable)]]

    def read(self, variable: Variable) -> jax.Array:
        """A copy of the live value."""
        return jnp.copy(self.peek(variable))

    def write(self, variable: Variable, value: jax.Array) -> None:
        """Replaces the live value."""
        self.values[self._index[id(variable)]] = value


def peek(variable: Variable) -> jax.Array:
    """The value of a variable without a copy, whether a run holds it or not. Never donate it."""
    lease = variable._lease
    return variable._cell if lease is None else lease.peek(variable)
