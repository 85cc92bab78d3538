"""Activation layers."""

from __future__ import annotations

from typing import Any

import jax

from lamina import activations, constraints, initializers, ops, regularizers
from lamina.core.checks import check_int, check_number
from lamina.layers.input_spec import InputSpec
from lamina.layers.layer import Layer


class Activation(Layer):
    """An activation function, element by element.

    Args:
        activation: a function or its name.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> Activation("relu")(np.array([-1.0, 2.0], "float32")).tolist()
        [0.0, 2.0]
    """

    def __init__(self, activation: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.activation = activations.get(activation)
        self.supports_masking = True

    def call(self, inputs: Any) -> jax.Array:
        """The function of the input."""
        return self.activation(inputs)


class ReLU(Layer):
    """min(max(x, 0), max_value), with a slope below the threshold if one is given.

    f(x) = max_value where x >= max_value, x where threshold <= x < max_value, else negative_slope * (x - threshold).

    Args:
        max_value: the largest output; None for no limit.
        negative_slope: the slope below the threshold.
        threshold: where the rectified part begins.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> ReLU(max_value=1.5)(np.array([-1.0, 1.0, 2.0], "float32")).tolist()
        [0.0, 1.0, 1.5]
    """

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.max_value = None if max_value is None else check_number(self, "max_value", max_value, 0)
        self.negative_slope = check_number(self, "negative_slope", negative_slope, 0)
        self.threshold = check_number(self, "threshold", threshold, 0)
        self.supports_masking = True

    def call(self, inputs: Any) -> jax.Array:
        """The rectified input."""
        return activations.relu(
            inputs, negative_slope=self.negative_slope, max_value=self.max_value, threshold=self.threshold
        )


class LeakyReLU(Layer):
    """x where positive, else negative_slope * x.

    Args:
        negative_slope: the slope for negative inputs.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> LeakyReLU(0.5)(np.array([-1.0, 2.0], "float32")).tolist()
        [-0.5, 2.0]
    """

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any):
        if "alpha" in kwargs:
            negative_slope = kwargs.pop("alpha")  # its name before Keras 3
        super().__init__(**kwargs)
        self.negative_slope = check_number(self, "negative_slope", negative_slope, 0)
        self.supports_masking = True

    def call(self, inputs: Any) -> jax.Array:
        """The input, its negative part scaled."""
        return ops.leaky_relu(inputs, negative_slope=self.negative_slope)


class PReLU(Layer):
    """x where positive, else alpha * x, with learned slopes alpha.

    Args:
        alpha_initializer: how the slopes start.
        alpha_regularizer: a penalty on them.
        alpha_constraint: a function that each update of them goes through.
        shared_axes: the axes along which one slope is shared, such as [1, 2] for those of an image.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> layer = PReLU(alpha_initializer="ones", shared_axes=[1])
        >>> layer(np.array([[[-1.0, 2.0]]], "float32")).tolist(), layer.alpha.shape
        ([[[-1.0, 2.0]]], (1, 2))

    Reference:
        https://arxiv.org/abs/1502.01852
    """

    def __init__(
        self,
        alpha_initializer: Any = "Zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.alpha_constraint = constraints.get(alpha_constraint)
        axes = [shared_axes] if isinstance(shared_axes, int) else shared_axes
        self.shared_axes = (
            None if axes is None else [check_int(self, f"shared_axes[{i}]", a) for i, a in enumerate(axes)]
        )
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Creates the slopes."""
        shape = list(input_shape)
        for axis in self.shared_axes or ():
            shape[axis] = 1
        self.alpha = self.add_weight(
            shape=tuple(shape[1:]),
            initializer=self.alpha_initializer,
            regularizer=self.alpha_regularizer,
            constraint=self.alpha_constraint,
            name="alpha",
        )
        shared = [a % len(shape) for a in self.shared_axes or ()]
        axes = {i: d for i, d in enumerate(shape) if i > 0 and i not in shared}
        self.input_spec = InputSpec(ndim=len(shape), axes=axes)

    def call(self, inputs: Any) -> jax.Array:
        """The input, its negative part times the slopes."""
        return ops.subtract(ops.relu(inputs), ops.multiply(self.alpha, ops.relu(ops.negative(inputs))))


class ELU(Layer):
    """x where positive, else alpha * (exp(x) - 1).

    Args:
        alpha: the limit of the negative part.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> ELU()(np.array([0.0, 2.0], "float32")).tolist()
        [0.0, 2.0]

    Reference:
        https://arxiv.org/abs/1511.07289
    """

    def __init__(self, alpha: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.alpha = check_number(self, "alpha", alpha, 0)
        self.supports_masking = True

    def call(self, inputs: Any) -> jax.Array:
        """The activation of the input."""
        return ops.elu(inputs, alpha=self.alpha)


class Softmax(Layer):
    """exp(x) / sum(exp(x)) along an axis or several.

    Args:
        axis: the axis, or a tuple of axes.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> Softmax()(np.zeros((1, 2), "float32")).tolist()
        [[0.5, 0.5]]
    """

    def __init__(self, axis: Any = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = tuple(axis) if isinstance(axis, (list, tuple)) else check_int(self, "axis", axis)
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> jax.Array:
        """The softmax; where `mask` is False, it is 0 (unless all places along the axis are masked)."""
        if mask is not None:
            low = -3e4 if inputs.dtype == "float16" else -1e9
            inputs = ops.add(inputs, ops.multiply(ops.cast(ops.logical_not(mask), inputs.dtype), low))
        return ops.softmax(inputs, axis=self.axis)
