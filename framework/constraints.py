"""Bounds on weights: `lamina.constraints`. A constraint maps a weight to the allowed one that replaces it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import registry, settings
from lamina.core.config import Configurable, deserialize_object, serialize_object
from lamina.core.errors import describe
from lamina.ops.convert import as_float
from lamina.state.variable import Variable


class Constraint(Configurable):
    """Base of constraints: implement `__call__(w)`, which returns a weight of the same shape.

    Example:
        >>> class Whole(Constraint):
        ...     def __call__(self, w):
        ...         return jnp.round(w)
        >>> Whole()(jnp.array([0.4, 1.6])).tolist()
        [0.0, 2.0]
    """

    def __call__(self, w: Any) -> jax.Array:
        """The allowed weight for `w`."""
        return _weight(w)


def _weight(w: Any) -> jax.Array:
    return as_float(w.value if isinstance(w, Variable) else w)


def _norms(w: jax.Array, axis: Any) -> jax.Array:
    axes = tuple(axis) if isinstance(axis, (list, tuple)) else axis
    return jnp.sqrt(jnp.sum(jnp.square(w), axes, keepdims=True))


class NonNeg(Constraint):
    """max(w, 0).

    Example:
        >>> NonNeg()(jnp.array([0.0, 2.0])).tolist()
        [0.0, 2.0]
    """

    def __call__(self, w: Any) -> jax.Array:
        """The allowed weight for `w`."""
        w = _weight(w)
        return w * (w >= 0).astype(w.dtype)


class UnitNorm(Constraint):
    """Each unit's incoming weights scaled to norm 1.

    Args:
        axis: the axis or axes of the norm: 0 for a Dense kernel, (0, 1, 2) for that of a Conv2D.

    Example:
        >>> [round(v, 4) for v in UnitNorm()(jnp.array([3.0, 4.0])).tolist()]
        [0.6, 0.8]
    """

    def __init__(self, axis: Any = 0):
        self.axis = axis

    def __call__(self, w: Any) -> jax.Array:
        """The allowed weight for `w`."""
        w = _weight(w)
        return w / (settings.epsilon() + _norms(w, self.axis))


class MaxNorm(Constraint):
    """Each unit's incoming weights scaled down to a norm of at most `max_value`.

    Args:
        max_value: the largest norm.
        axis: the axis or axes of the norm: 0 for a Dense kernel, (0, 1, 2) for that of a Conv2D.

    Example:
        >>> [round(v, 4) for v in MaxNorm(1)(jnp.array([3.0, 4.0])).tolist()]
        [0.6, 0.8]
    """

    def __init__(self, max_value: float = 2, axis: Any = 0):
        self.max_value = max_value
        self.axis = axis

    def __call__(self, w: Any) -> jax.Array:
        """The allowed weight for `w`."""
        w = _weight(w)
        norms = _norms(w, self.axis)
        return w * (jnp.clip(norms, 0, self.max_value) / (settings.epsilon() + norms))


class MinMaxNorm(Constraint):
    """Each unit's incoming weights scaled to a norm between two bounds.

    Args:
        min_value: the least norm.
        max_value: the largest norm.
        rate: 1 reaches the bounds at once, less goes only that share of the way.
        axis: the axis or axes of the norm: 0 for a Dense kernel, (0, 1, 2) for that of a Conv2D.

    Example:
        >>> [round(v, 4) for v in MinMaxNorm(max_value=1)(jnp.array([3.0, 4.0])).tolist()]
        [0.6, 0.8]
    """

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Any = 0):
        self.min_value = min_value
        self.max_value = max_value
        self.rate = rate
        self.axis = axis

    def __call__(self, w: Any) -> jax.Array:
        """The allowed weight for `w`."""
        w = _weight(w)
        norms = _norms(w, self.axis)
        desired = self.rate * jnp.clip(norms, self.min_value, self.max_value) + (1 - self.rate) * norms
        return w * (desired / (settings.epsilon() + norms))


max_norm, min_max_norm, non_neg, unit_norm = MaxNorm, MinMaxNorm, NonNeg, UnitNorm
ALIASES = {
    "max_norm": MaxNorm,
    "min_max_norm": MinMaxNorm,
    "non_neg": NonNeg,
    "unit_norm": UnitNorm,
    "constraint": Constraint,
}


def serialize(constraint: Constraint) -> Any:
    """The config of a constraint."""
    return serialize_object(constraint)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The constraint that a config or a name describes.

    Example:
        >>> deserialize(serialize(MaxNorm(3))).max_value
        3
    """
    if isinstance(config, str):
        return ALIASES.get(config) or registry.lookup("constraints", config, custom_objects)
    if config.get("class_name") in ALIASES:
        config = {**config, "class_name": ALIASES[config["class_name"]].__name__}
    return deserialize_object(config, custom_objects, "constraints")


def get(identifier: Any) -> Callable[..., Any] | None:
    """A constraint from its name, a config, an object, a function, or None.

    Raises:
        ValueError: nothing has that name.

    Example:
        >>> get("non_neg")(jnp.array([-1.0])).tolist()
        [-0.0]
    """
    if identifier is None:
        return None
    if isinstance(identifier, (str, dict)):
        identifier = deserialize(identifier)
    if isinstance(identifier, type):
        identifier = identifier()
    if not callable(identifier):
        raise ValueError(f"A constraint must be a name, a config or a function, got {describe(identifier)}.")
    return identifier
