"""Snapshot: weights, optimizer and position of a model, kept while something is tried out."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp


class Snapshot:
    """What training changes in a model, as it was.

    Args:
        model: a model that is built, with a built optimizer, as from `on_train_begin` on.

    Example:
        >>> import numpy as np
        >>> from lamina import Input, Sequential, layers
        >>> model = Sequential([Input((1,)), layers.Dense(1, kernel_initializer="ones")])
        >>> model.compile("sgd", "mse")
        >>> model.optimizer.build(model.trainable_variables)
        >>> before = Snapshot(model)
        >>> history = model.fit(np.ones((4, 1)), np.zeros((4, 1)), verbose=0)
        >>> before.restore()
        >>> model.layers[0].kernel.numpy().tolist(), int(model.optimizer.iterations)
        ([[1.0]], 0)
    """

    def __init__(self, model: Any):
        self.model = model
        variables = [*model.weights, *model.optimizer.variables, *model.metrics_variables]
        self._values = [(v, jnp.copy(v.stored)) for v in variables]
        self._steps_done = model._steps_done

    def restore(self) -> None:
        """Puts it all back."""
        for variable, value in self._values:
            variable.assign(value)
        self.model._steps_done = self._steps_done
