"""Layers that leave their input as it is, or do what a function says: Identity, Masking, Lambda."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Self

from lamina import ops
from lamina.core.config import deserialize_value, serialize_function, serialize_value
from lamina.core.errors import describe, owner_label
from lamina.layers.layer import Layer


class Identity(Layer):
    """The input itself.

    Example:
        >>> import numpy as np
        >>> Identity()(np.ones((1, 2), "float32")).tolist()
        [[1.0, 1.0]]
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """The input."""
        return inputs


class Masking(Layer):
    """Marks steps as padding, for later layers to skip: those where all features equal `mask_value`.

    Shape:
        (batch, steps, features) -> the same, with a mask (batch, steps); masked steps become 0

    Args:
        mask_value: the value of padding.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> Masking().compute_mask(np.array([[[1.0, 0.0], [0.0, 0.0]]])).tolist()
        [[True, False]]
    """

    def __init__(self, mask_value: Any = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.mask_value = mask_value
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """The input with 0 at masked steps."""
        mask = ops.any(ops.not_equal(inputs, self.mask_value), axis=-1, keepdims=True)
        return ops.multiply(inputs, ops.cast(mask, inputs.dtype))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Where any feature differs from `mask_value`."""
        return ops.any(ops.not_equal(inputs, self.mask_value), axis=-1)


class Lambda(Layer):
    """A function as a layer.

    Any jittable function will do. It must not hold weights: for those, write a class derived from `Layer`. To save a
    model with it, give the function a name and register it with `lamina.saving.register_keras_serializable()`;
    a nameless `lambda` cannot be saved.

    Args:
        function: called with the input; it may also take `training` and `mask`.
        output_shape: accepted as in Keras; the shape follows from the function.
        mask: the mask of the output, or a function of the input and its mask; None if there is none.
        arguments: further keyword arguments of the function.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Raises:
        TypeError: `function` cannot be called.

    Example:
        >>> import numpy as np
        >>> Lambda(lambda x, power: x**power, arguments={"power": 2})(np.array([3.0], "float32")).tolist()
        [9.0]
    """

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Any = None,
        arguments: dict[str, Any] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not callable(function):
            raise TypeError(f"{owner_label(self)}: function must be callable, got {describe(function)}.")
        self.function = function
        self.output_shape = output_shape
        self.mask = mask
        self.arguments = {} if arguments is None else dict(arguments)
        self.supports_masking = mask is not None
        self._passed = _named_parameters(function) & {"mask", "training"}

    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        """The function of the input."""
        given = {"mask": mask, "training": training}
        return self.function(inputs, **self.arguments, **{k: given[k] for k in sorted(self._passed)})

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask of the output."""
        return self.mask(inputs, mask) if callable(self.mask) else self.mask

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; a function without a name is kept as it is, which copies but cannot be saved."""
        nameless = {
            k: getattr(self, k)
            for k in ("function", "mask", "output_shape")
            if getattr(getattr(self, k), "__name__", "") == "<lambda>"
        }
        config = {"name": self.name, "trainable": self.trainable, "dtype": serialize_value(self.dtype_policy)}
        for key in ("function", "output_shape", "mask", "arguments"):
            if getattr(self, key) is not None:
                config[key] = nameless[key] if key in nameless else serialize_function(getattr(self, key))
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A layer made from what `get_config` returned. Functions stored as Python code are refused."""
        for key in ("function", "output_shape", "mask"):
            value = config.get(key)
            if isinstance(value, dict) and value.get("class_name") == "__lambda__":
                raise ValueError(
                    f"Lambda '{config.get('name')}': its {key} was saved as Python bytecode, which lamina never runs. "
                    "Save the model again with a named function, decorated with "
                    "lamina.saving.register_keras_serializable()."
                )
        return cls(**{k: deserialize_value(v) for k, v in config.items()})


def _named_parameters(function: Callable[..., Any]) -> set[str]:
    try:
        return set(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # some built-in functions have no signature
        return set()
