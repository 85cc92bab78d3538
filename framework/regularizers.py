"""Penalties on weights: `lamina.regularizers`. A regularizer maps a weight to a number that is added to the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import registry
from lamina.core.checks import check_choice, check_number
from lamina.core.config import Configurable, deserialize_object, serialize_object
from lamina.core.errors import describe
from lamina.ops.convert import as_array
from lamina.ops.nn import normalize
from lamina.state.variable import Variable


class Regularizer(Configurable):
    """Base of regularizers: implement `__call__(x)`, which returns a number.

    Example:
        >>> class Quartic(Regularizer):
        ...     def __call__(self, x):
        ...         return jnp.sum(x**4)
        >>> float(Quartic()(jnp.ones(2)))
        2.0
    """

    def __call__(self, x: Any) -> jax.Array:
        """The penalty of the weight `x`."""
        return jnp.zeros(())


def _factor(owner: Any, argument: str, value: Any) -> float:
    return float(check_number(owner, argument, value, minimum=0))


def _weight(x: Any) -> jax.Array:
    return as_array(x.value if isinstance(x, Variable) else x)


class L1(Regularizer):
    """l1 * sum(|x|).

    Args:
        l1: the factor.

    Example:
        >>> round(float(L1(0.1)(jnp.array([1.0, -2.0]))), 4)
        0.3
    """

    def __init__(self, l1: float = 0.01):
        self.l1 = _factor("L1", "l1", 0.01 if l1 is None else l1)

    def __call__(self, x: Any) -> jax.Array:
        """The penalty of the weight `x`."""
        return self.l1 * jnp.sum(jnp.abs(_weight(x)))


class L2(Regularizer):
    """l2 * sum(x**2).

    Args:
        l2: the factor.

    Example:
        >>> round(float(L2(0.1)(jnp.array([1.0, -2.0]))), 4)
        0.5
    """

    def __init__(self, l2: float = 0.01):
        self.l2 = _factor("L2", "l2", 0.01 if l2 is None else l2)

    def __call__(self, x: Any) -> jax.Array:
        """The penalty of the weight `x`."""
        return self.l2 * jnp.sum(jnp.square(_weight(x)))


class L1L2(Regularizer):
    """l1 * sum(|x|) + l2 * sum(x**2).

    Args:
        l1: the factor of the absolute values.
        l2: the factor of the squares.

    Example:
        >>> round(float(L1L2(0.1, 0.1)(jnp.array([1.0, -2.0]))), 4)
        0.8
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0):
        self.l1 = _factor("L1L2", "l1", 0.0 if l1 is None else l1)
        self.l2 = _factor("L1L2", "l2", 0.0 if l2 is None else l2)

    def __call__(self, x: Any) -> jax.Array:
        """The penalty of the weight `x`."""
        x = _weight(x)
        penalty = jnp.zeros((), x.dtype)
        if self.l1:
            penalty = penalty + self.l1 * jnp.sum(jnp.abs(x))
        if self.l2:
            penalty = penalty + self.l2 * jnp.sum(jnp.square(x))
        return penalty


class OrthogonalRegularizer(Regularizer):
    """factor * the mean |cosine| of the angles between each two rows, or columns, of a matrix.

    Args:
        factor: the factor.
        mode: `"rows"` or `"columns"`.

    Example:
        >>> float(OrthogonalRegularizer()(jnp.eye(2)))
        0.0
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows"):
        self.factor = _factor("OrthogonalRegularizer", "factor", factor)
        self.mode = check_choice("OrthogonalRegularizer", "mode", mode, ["rows", "columns"])

    def __call__(self, x: Any) -> jax.Array:
        """The penalty of the weight `x`."""
        x = _weight(x)
        if x.ndim != 2:
            raise ValueError(f"OrthogonalRegularizer: the weight must be a matrix, got shape {x.shape}.")
        rows = normalize(x if self.mode == "rows" else x.T, axis=1)
        count = rows.shape[0]
        cosines = (rows @ rows.T) * (1 - jnp.eye(count, dtype=x.dtype))
        return self.factor * jnp.sum(jnp.abs(cosines)) / (count * (count - 1.0))


l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer
ALIASES = {
    "l1": L1,
    "l2": L2,
    "l1_l2": L1L2,
    "l1l2": L1L2,
    "L1L2": L1L2,
    "orthogonal_regularizer": OrthogonalRegularizer,
    "regularizer": Regularizer,
}


def serialize(regularizer: Regularizer) -> Any:
    """The config of a regularizer."""
    return serialize_object(regularizer)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The regularizer that a config or a name describes.

    Example:
        >>> deserialize(serialize(L1(0.5))).l1
        0.5
    """
    if isinstance(config, str):
        return ALIASES.get(config) or registry.lookup("regularizers", config, custom_objects)
    if config.get("class_name") in ALIASES:
        config = {**config, "class_name": ALIASES[config["class_name"]].__name__}
    return deserialize_object(config, custom_objects, "regularizers")


def get(identifier: Any) -> Callable[..., Any] | None:
    """A regularizer from its name, a config, an object, a function, or None.

    Raises:
        ValueError: nothing has that name.

    Example:
        >>> get("l2").l2
        0.01
    """
    if identifier is None:
        return None
    if isinstance(identifier, (str, dict)):
        identifier = deserialize(identifier)
    if isinstance(identifier, type):
        identifier = identifier()
    if not callable(identifier):
        raise ValueError(f"A regularizer must be a name, a config or a function, got {describe(identifier)}.")
    return identifier
