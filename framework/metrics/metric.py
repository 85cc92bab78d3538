"""The base of all metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lamina import initializers
from lamina.core import settings
from lamina.core.config import Configurable
from lamina.core.dtypes import get_policy
from lamina.core.naming import snake_case
from lamina.state.frame import purify
from lamina.state.variable import Variable


class Metric(Configurable):
    """A measure over many batches: `update_state` takes a batch in, `result` tells the measure, `reset_state` forgets.

    State lives in variables, so that a compiled loop can carry it: create them in `__init__` with `add_variable`, or,
    if their shapes depend on the data, in `build_for`. `update_state` must be traceable by jax.

    Args:
        dtype: the dtype, or policy, to compute in; by default the default float.
        name: the name, under which logs show it; by default the class's in snake case.

    Example:
        >>> class Largest(Metric):
        ...     def __init__(self, name="largest", dtype=None):
        ...         super().__init__(dtype=dtype, name=name)
        ...         self.value = self.add_variable(shape=(), name="value")
        ...     def update_state(self, y_true, y_pred, sample_weight=None):
        ...         self.value.assign(jnp.maximum(self.value.value, jnp.max(y_pred)))
        ...     def result(self):
        ...         return self.value.value
        >>> metric = Largest()
        >>> metric.update_state(None, jnp.array([1.0, 3.0]))
        >>> float(metric.result())
        3.0
    """

    # "up" or "down": whether larger or smaller is better, for callbacks that watch a metric.
    _direction: ClassVar[str | None] = None

    # Arguments that a config holds only where they were given; Keras 3 leaves them out of its configs.
    _config_only_if_set: ClassVar[tuple[str, ...]] = ()

    def __init__(self, dtype: Any = None, name: str | None = None):
        self.name = name or snake_case(type(self).__name__)
        self._dtype = get_policy(settings.floatx() if dtype is None else dtype).compute_dtype
        self._variables: list[Variable] = []

    @property
    def dtype(self) -> str:
        """The dtype that the metric computes in."""
        return self._dtype

    def add_variable(
        self,
        shape: Sequence[int] = (),
        initializer: Any = "zeros",
        dtype: Any = None,
        aggregation: str = "sum",
        name: str | None = None,
    ) -> Variable:
        """A variable of the metric's state.

        Args:
            shape: its shape.
            initializer: `"zeros"`, `"ones"`, a number, an array, an initializer or its name.
            dtype: its dtype; by default the metric's.
            aggregation: how copies on several devices are put together; all copies here are one array.
            name: the last part of its path.

        Example:
            >>> Metric(name="m").add_variable((2,), name="total").path
            'm/total'
        """
        if "_variables" not in vars(self):
            raise RuntimeError(
                f"{type(self).__name__}: call super().__init__() at the start of __init__, before add_variable."
            )
        dtype = get_policy(self._dtype if dtype is None else dtype).variable_dtype
        shape = tuple(int(n) for n in shape)
        if initializer is None or (isinstance(initializer, str) and initializer == "zeros"):
            initializer = np.zeros(shape, jnp.dtype(dtype))
        elif isinstance(initializer, (str, dict)) or callable(initializer):
            initializer = initializers.get(initializer)
        else:
            initializer = np.broadcast_to(np.asarray(initializer, jnp.dtype(dtype)), shape)
        name = name or "variable"
        variable = Variable(initializer, shape=shape, dtype=dtype, trainable=False, autocast=False, name=name)
        variable.path = f"{self.name}/{name}"
        variable.of_metric = True
        self._variables.append(variable)
        return variable

    def add_weight(
        self, shape: Sequence[int] = (), initializer: Any = None, dtype: Any = None, name: str | None = None
    ) -> Variable:
        """The same as `add_variable`."""
        return self.add_variable(shape, initializer, dtype, name=name)

    @property
    def variables(self) -> list[Variable]:
        """The variables of the state: its own in order of creation, then those of metrics in its attributes."""
        found: dict[int, Variable] = {}
        for kind in (Variable, Metric):
            for value in vars(self).values():
                for item in _instances(value, kind):
                    for variable in [item] if isinstance(item, Variable) else item.variables:
                        found[id(variable)] = variable
        return list(found.values())

    def build_for(self, y_true: Any, y_pred: Any) -> None:
        """Creates variables whose shapes depend on the data; does nothing for most metrics.

        The trainer calls it with the first batch (arrays, or anything with shapes) before it compiles `update_state`.
        """

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Takes a batch in."""
        raise NotImplementedError(f"{type(self).__name__} '{self.name}' needs a method update_state.")

    def result(self) -> Any:
        """The measure over all batches since the last reset: an array, or a dict of arrays."""
        raise NotImplementedError(f"{type(self).__name__} '{self.name}' needs a method result.")

    def reset_state(self) -> None:
        """Forgets all batches."""
        for variable in self.variables:
            variable.assign(np.zeros(variable.shape, jnp.dtype(variable.dtype)))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Takes a batch in and returns the measure so far."""
        self.update_state(*args, **kwargs)
        return self.result()

    def stateless_update_state(self, metric_variables: Sequence[Any], *args: Any, **kwargs: Any) -> list[jax.Array]:
        """The pure form of `update_state`: values of the variables in, new values out.

        Raises:
            ValueError: there are not as many values as variables.

        Example:
            >>> from lamina.metrics.reduction import Mean
            >>> mean = Mean()
            >>> [float(v) for v in mean.stateless_update_state([0.0, 0.0], jnp.array([2.0, 4.0]))]
            [6.0, 2.0]
        """
        values = self._with_built(metric_variables, *args, **kwargs)
        return list(self._purely(self.update_state, values)(values, *args, **kwargs)[1])

    def _with_built(self, values: Sequence[Any], y_true: Any = None, y_pred: Any = None, *_: Any, **__: Any) -> list:
        """The values, with those of variables that only the shapes of this batch call into being."""
        before = self.variables
        if y_pred is None or len(values) != len(before):
            return list(values)
        self.build_for(*(y if hasattr(y, "ndim") else np.asarray(y) for y in (y_true, y_pred)))
        known = {id(v): value for v, value in zip(before, values, strict=True)}
        return [known[id(v)] if id(v) in known else v.stored for v in self.variables]

    def stateless_result(self, metric_variables: Sequence[Any]) -> Any:
        """The pure form of `result`."""
        return self._purely(self.result, metric_variables)(metric_variables)[0]

    def stateless_reset_state(self) -> list[jax.Array]:
        """The values of the variables after `reset_state`, which are left as they are."""
        values = tuple(v.value for v in self.variables)
        return list(self._purely(self.reset_state, values)(values)[1])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values; `from_config` makes an equal metric of them."""
        config = super().get_config()
        for name in self._config_only_if_set:
            if name not in self._captured:
                config.pop(name, None)
        return config

    def _purely(self, fn: Any, values: Sequence[Any]) -> Any:
        variables = self.variables
        if len(values) != len(variables):
            raise ValueError(
                f"{type(self).__name__} '{self.name}': metric_variables must be one value for each of its "
                f"{len(variables)} variables, got {len(values)}. If shapes depend on the data, call build_for first."
            )
        return purify(fn, variables)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


def _instances(value: Any, kind: type) -> Iterator[Any]:
    if isinstance(value, kind):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _instances(item, kind)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _instances(item, kind)
