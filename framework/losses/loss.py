"""The base of all losses, and the wrapper that makes a loss of a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import jax

from lamina.core import registry, settings
from lamina.core.config import Configurable, deserialize_value, serialize_value
from lamina.core.dtypes import get_policy
from lamina.core.errors import describe
from lamina.core.naming import snake_case
from lamina.core.nest import assert_same_structure, flatten, is_nested, map_structure, pack
from lamina.losses.reduction import (
    reduce_weighted_values,
    squeeze_or_expand_to_same_rank,
    standardize_reduction,
    to_array,
)
from lamina.state.masks import get_mask


class Loss(Configurable):
    """A number that training makes small: `call` gives a loss an element, `__call__` weights and reduces them.

    Args:
        name: the name; by default the class's in snake case.
        reduction: `"sum_over_batch_size"` or `"mean"` (the mean over all elements), `"sum"`,
            `"mean_with_sample_weight"` (divided by the sum of the weights), or `"none"` / None (no reduction).
        dtype: the dtype, or policy, to compute in; by default the default float.

    Raises:
        ValueError: there is no such reduction.

    Example:
        >>> import jax.numpy as jnp
        >>> class Quartic(Loss):
        ...     def call(self, y_true, y_pred):
        ...         return jnp.mean((y_pred - y_true) ** 4, axis=-1)
        >>> float(Quartic()([[0.0, 0.0]], [[1.0, 2.0]]))
        8.5
    """

    # Arguments that a config holds only where they were changed; Keras 3 leaves them out of its configs.
    _config_only_if_set: ClassVar[tuple[str, ...]] = ()

    def __init__(self, name: str | None = None, reduction: str | None = "sum_over_batch_size", dtype: Any = None):
        self.name = name or snake_case(type(self).__name__)
        self.reduction = standardize_reduction(self, reduction)
        self._dtype = get_policy(settings.floatx() if dtype is None else dtype).compute_dtype

    @property
    def dtype(self) -> str:
        """The dtype that the loss computes in."""
        return self._dtype

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each element, before weights and reduction."""
        raise NotImplementedError(f"{type(self).__name__} '{self.name}' needs a method call(self, y_true, y_pred).")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> jax.Array:
        """The reduced loss.

        Args:
            y_true: the targets, `(batch, ...)`.
            y_pred: the predictions, `(batch, ...)`; a mask attached to them tells which elements count.
            sample_weight: weights that broadcast against the losses of the elements.

        Returns:
            A number, or the losses of the elements if the reduction is None.
        """
        masks = [None if is_nested(y_pred) else get_mask(y_pred)]
        with jax.named_scope(self.name):
            y_pred = map_structure(lambda x: to_array(x, self._dtype), _without_lists(y_pred))
            y_true = map_structure(lambda x: to_array(x, self._dtype), _without_lists(y_true, y_pred))
            losses = self.call(y_true, y_pred)
            masks.append(get_mask(losses))
            known = [to_array(m, bool) for m in masks if m is not None]
            mask = None if not known else known[0] if len(known) == 1 else known[0] & known[1]
            return reduce_weighted_values(losses, sample_weight, mask, self.reduction, self._dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values; `from_config` makes an equal loss of them."""
        config = super().get_config()
        for name in ("dtype", *self._config_only_if_set):
            if name not in self._captured:
                config.pop(name, None)
        return config

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name} reduction={self.reduction}>"


def _without_lists(x: Any, like: Any = None) -> Any:
    """Nested lists of numbers are one array; lists of arrays are structures, as is what is paired with one."""
    if isinstance(x, (list, tuple)) and not (like is not None and is_nested(like)):
        if not any(hasattr(leaf, "shape") and leaf.shape for leaf in flatten(x)):
            return to_array(x)
    return x


class LossFunctionWrapper(Loss):
    """A loss made of a function `fn(y_true, y_pred, **kwargs)` that gives a loss an element.

    Args:
        fn: the function.
        reduction: see `Loss`.
        name: the name; by default the class's in snake case.
        dtype: see `Loss`.
        kwargs: further arguments of `fn`.

    Example:
        >>> loss = LossFunctionWrapper(lambda y, p, power: abs(y - p) ** power, power=3)
        >>> float(loss([0.0, 0.0], [1.0, 2.0]))
        4.5
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if not callable(fn):
            raise TypeError(f"{type(self).__name__} '{self.name}': fn must be a function, got {describe(fn)}.")
        self.fn = fn
        self._fn_kwargs = kwargs

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The function on targets and predictions of the same rank."""
        if is_nested(y_pred):
            assert_same_structure(y_true, y_pred)
            pairs = zip(flatten(y_true), flatten(y_pred), strict=True)
            matched = [squeeze_or_expand_to_same_rank(t, p) for t, p in pairs]
            y_true = pack(y_true, [t for t, _ in matched])
            y_pred = pack(y_pred, [p for _, p in matched])
        else:
            y_true, y_pred = squeeze_or_expand_to_same_rank(y_true, y_pred)
        return self.fn(y_true, y_pred, **self._fn_kwargs)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, those of the function included."""
        config = super().get_config()
        config.update(serialize_value({k: v for k, v in self._fn_kwargs.items() if k in self._captured}))
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LossFunctionWrapper:
        """A loss made from what `get_config` returned."""
        config = {k: deserialize_value(v) for k, v in config.items()}
        if isinstance(config.get("fn"), str):
            config["fn"] = registry.lookup("losses", config["fn"])
        return cls(**config)
