"""Layers around another layer: Wrapper and TimeDistributed."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.errors import ShapeError, describe, owner_label
from lamina.layers import calling
from lamina.layers.layer import Layer


class Wrapper(Layer):
    """The base of layers that hold another layer, in `self.layer`, and change how it is called.

    Args:
        layer: the layer inside.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Raises:
        TypeError: `layer` is not a layer.

    Example:
        >>> import numpy as np
        >>> from lamina.layers.dense import Dense
        >>> class Twice(Wrapper):
        ...     def call(self, x):
        ...         return 2 * self.layer(x)
        >>> Twice(Dense(3))(np.ones((2, 4), "float32")).shape
        (2, 3)
    """

    def __init__(self, layer: Layer, **kwargs: Any):
        super().__init__(**kwargs)
        if not isinstance(layer, Layer):
            cure = f" Did you mean {layer.__name__}(...)?" if isinstance(layer, type) else ""
            raise TypeError(f"{owner_label(self)}: layer must be a layer, got {describe(layer)}.{cure}")
        self.layer = layer

    def build(self, input_shape: Any) -> None:
        """Builds the layer inside."""
        if not self.layer.built:
            self.layer._build({"input_shape": input_shape})


class TimeDistributed(Wrapper):
    """A layer applied to each step of a sequence by itself.

    Shape:
        (batch, steps, ...) -> (batch, steps, *output of the layer for one step)

    Args:
        layer: the layer for one step.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> from lamina.layers.conv import Conv2D
        >>> TimeDistributed(Conv2D(8, 3))(np.ones((2, 5, 16, 16, 3), "float32")).shape
        (2, 5, 14, 14, 8)
    """

    def __init__(self, layer: Layer, **kwargs: Any):
        super().__init__(layer, **kwargs)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Builds the layer inside for one step."""
        super().build(self._one_step(input_shape))

    def _one_step(self, shape: Any) -> Any:
        if isinstance(shape, dict):
            return {k: self._one_step(v) for k, v in shape.items()}
        if any(isinstance(d, (tuple, list, dict)) for d in shape):
            return type(shape)(map(self._one_step, shape))
        if len(shape) < 3:
            raise ShapeError(f"{owner_label(self)}: expected an input (batch, steps, features, ...), got {shape}.")
        return (shape[0], *shape[2:])

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """The outputs of all steps."""
        batch, steps = jax.tree.leaves(inputs)[0].shape[:2]
        if mask is not None and tuple(mask.shape[:2]) != (batch, steps):
            raise ShapeError(f"{owner_label(self)}: mask must have shape {(batch, steps)}, got {describe(mask)}.")
        if not (training and self.layer.non_trainable_variables):
            # Batch and steps as one axis: one large call instead of a small one a step.
            flat, flat_mask = jax.tree.map(lambda x: x.reshape(batch * steps, *x.shape[2:]), (inputs, mask))
            outputs = self._apply(flat, flat_mask, training)
            return jax.tree.map(lambda y: y.reshape(batch, steps, *y.shape[1:]), outputs)
        # Moving statistics are those of single steps, and each step changes them.
        outputs = []
        for t in range(steps):
            x, m = jax.tree.map(lambda a, t=t: a[:, t], (inputs, mask))
            outputs.append(self._apply(x, m, training))
        return jax.tree.map(lambda *ys: jnp.stack(ys, 1), *outputs)

    def _apply(self, inputs: Any, mask: Any, training: bool | None) -> Any:
        kwargs = {} if training is None else {"training": training}
        if mask is not None and calling.accepts(type(self.layer), "mask"):  # type: ignore[arg-type]
            kwargs["mask"] = mask
        return self.layer(inputs, **kwargs)
