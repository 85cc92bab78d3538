"""Sums and means over all batches, and metrics made of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import registry, settings
from lamina.core.config import deserialize_value, serialize_function, serialize_value
from lamina.core.errors import describe
from lamina.losses.loss import Loss
from lamina.losses.reduction import apply_mask, divide_no_nan, squeeze_or_expand_to_same_rank, to_array
from lamina.metrics.metric import Metric
from lamina.state.masks import get_mask


def reduce_to_samplewise_values(
    values: Any, sample_weight: Any, reduce_fn: Callable[..., jax.Array], dtype: Any = None
) -> tuple[jax.Array, jax.Array | None]:
    """One weighted value a sample, and its weight.

    Args:
        values: `(batch, ...)`.
        sample_weight: weights for the leading axes of `values`, or None.
        reduce_fn: how the axes after the first are put together, as in `jnp.mean`.
        dtype: the dtype to compute in.
    """
    mask = get_mask(values)
    values = to_array(values, settings.floatx() if dtype is None else dtype)
    if sample_weight is not None:
        weight = apply_mask(sample_weight, mask, values.dtype, "sum")
        values, weight = squeeze_or_expand_to_same_rank(values, weight)
        axes = weight.ndim
        if values.ndim > axes:
            values = reduce_fn(values, axis=tuple(range(axes, values.ndim)))
        weight = jnp.broadcast_to(weight, values.shape)
        values = values * weight
        sample_weight = reduce_fn(weight, axis=tuple(range(1, axes))) if axes > 1 else weight
    if values.ndim > 1:
        values = reduce_fn(values, axis=tuple(range(1, values.ndim)))
    return values, sample_weight


class Sum(Metric):
    """The sum of all values.

    Args:
        name: the name.
        dtype: the dtype to compute in.

    Example:
        >>> metric = Sum()
        >>> metric.update_state([1.0, 2.0])
        >>> metric.update_state([3.0], sample_weight=[2.0])
        >>> float(metric.result())
        9.0
    """

    def __init__(self, name: str = "sum", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable(name="total")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Adds `values`, weighted."""
        values, _ = reduce_to_samplewise_values(values, sample_weight, jnp.sum, self.dtype)
        self.total.assign_add(jnp.sum(values))

    def result(self) -> jax.Array:
        """The sum."""
        return self.total.value


class Mean(Metric):
    """The weighted mean of all values.

    Args:
        name: the name.
        dtype: the dtype to compute in.

    Example:
        >>> metric = Mean()
        >>> metric.update_state([1.0, 2.0])
        >>> metric.update_state([4.0], sample_weight=[2.0])
        >>> float(metric.result())
        2.75
    """

    def __init__(self, name: str = "mean", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable(name="total")
        self.count = self.add_variable(name="count")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Takes `values` in; axes after the first are averaged within a sample."""
        values, weight = reduce_to_samplewise_values(values, sample_weight, jnp.mean, self.dtype)
        self.total.assign_add(jnp.sum(values))
        if weight is not None:
            self.count.assign_add(jnp.sum(weight))
        else:
            self.count.assign_add(values.shape[0] if values.ndim else 1)

    def result(self) -> jax.Array:
        """The mean, 0 before the first value."""
        return divide_no_nan(self.total.value, self.count.value)


class MeanMetricWrapper(Mean):
    """The mean over all batches of a function `fn(y_true, y_pred, **kwargs)`.

    Args:
        fn: a function that gives a value an element or a sample; a `Loss` will do.
        name: the name; by default the class's in snake case.
        dtype: the dtype to compute in.
        kwargs: further arguments of `fn`.

    Example:
        >>> metric = MeanMetricWrapper(lambda y, p: abs(y - p), name="distance")
        >>> float(metric(jnp.array([0.0, 0.0]), jnp.array([1.0, 2.0])))
        1.5
    """

    def __init__(self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **kwargs: Any):
        super().__init__(name=name, dtype=dtype)  # type: ignore[arg-type]
        if not callable(fn):
            raise TypeError(f"{type(self).__name__} '{self.name}': fn must be a function, got {describe(fn)}.")
        self._fn = fn
        self._fn_kwargs = kwargs
        builtin_losses = registry.BUILTIN.get("losses", {}).values()
        if self._direction is None and (isinstance(fn, Loss) or any(fn is f for f in builtin_losses)):
            self._direction = "down"  # type: ignore[misc]

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Takes a batch in; a mask attached to `y_pred` weighs like sample weights of 0 and 1."""
        values = self._fn(y_true, y_pred, **self._fn_kwargs)
        super().update_state(values, apply_mask(sample_weight, get_mask(y_pred), self.dtype, "sum"))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, those of the function included."""
        config = super().get_config()
        config.update(serialize_value({k: v for k, v in self._fn_kwargs.items() if k in self._captured}))
        if isinstance(config.get("fn"), str):
            config["fn"] = serialize_function(self._fn)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MeanMetricWrapper:
        """A metric made from what `get_config` returned."""
        config = {k: deserialize_value(v) for k, v in config.items()}
        if isinstance(config.get("fn"), str):
            config["fn"] = registry.lookup("metrics", config["fn"], registry.BUILTIN["losses"])
        return cls(**config)
