"""Several optimizers for one model, each for the variables whose paths match its pattern."""

from __future__ import annotations

import re
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any

import numpy as np

from lamina.core.checks import check_type
from lamina.core.config import Configurable
from lamina.optimizers.loss_scale import LossScaleOptimizer
from lamina.optimizers.optimizer import Optimizer
from lamina.state.variable import Variable


class OptimizerMap(MutableMapping, Configurable):
    """Optimizers by regular expressions, which must match the whole path of a variable, and a default.

    Args:
        default_optimizer: the optimizer of variables that no pattern matches.
        optimizer_map: optimizers by pattern.

    Raises:
        TypeError: something is no optimizer.

    Example:
        >>> from lamina.optimizers import SGD, Adam
        >>> optimizers = OptimizerMap(SGD(), {".*/embeddings": Adam()})
        >>> optimizers["model/embeddings"].name, optimizers["model/kernel"].name
        ('adam', 'sgd')
    """

    def __init__(self, default_optimizer: Optimizer, optimizer_map: dict[str, Optimizer] | None = None):
        owner = "OptimizerMap"
        self.default_optimizer = check_type(owner, "default_optimizer", default_optimizer, Optimizer, "an Optimizer")
        self.optimizer_map: dict[str, Optimizer] = {}
        for pattern, optimizer in check_type(owner, "optimizer_map", optimizer_map or {}, dict, "a dict").items():
            self[pattern] = optimizer

    def __getitem__(self, path: str) -> Optimizer:
        """The optimizer of a variable's path (or of a pattern itself)."""
        if path in self.optimizer_map:
            return self.optimizer_map[path]
        matches = [pattern for pattern in self.optimizer_map if re.fullmatch(pattern, path)]
        if len(matches) > 1:
            raise ValueError(f"OptimizerMap: variable '{path}' matches more than one pattern: {matches}.")
        return self.optimizer_map[matches[0]] if matches else self.default_optimizer

    def __setitem__(self, pattern: str, optimizer: Optimizer) -> None:
        check_type("OptimizerMap", "a key", pattern, str, "a regular expression of variable paths")
        check_type("OptimizerMap", f"optimizer_map[{pattern!r}]", optimizer, Optimizer, "an Optimizer")
        if isinstance(optimizer, (LossScaleOptimizer, MultiOptimizer)):
            raise ValueError(
                f"OptimizerMap: optimizer_map[{pattern!r}] must not be a {type(optimizer).__name__}. "
                "Put a LossScaleOptimizer around the MultiOptimizer."
            )
        if pattern in self.optimizer_map:
            raise ValueError(f"OptimizerMap: {pattern!r} has an optimizer already. Delete it first.")
        self.optimizer_map[pattern] = optimizer

    def __delitem__(self, pattern: str) -> None:
        del self.optimizer_map[pattern]

    def __len__(self) -> int:
        return len(self.optimizer_map)

    def __iter__(self) -> Iterator[str]:
        return iter(self.optimizer_map)

    def __call__(self, variable: Variable) -> Optimizer:
        """The optimizer of a variable."""
        return self[variable.path]


class MultiOptimizer(Optimizer):
    """Several optimizers, each for some of the variables.

    Args:
        optimizer_map: an `OptimizerMap`, or a function that gives the optimizer of a variable.
        loss_scale_factor: see `Optimizer`; it is set on all of them.
        name: the name.

    Example:
        >>> from lamina.optimizers import SGD, Adam
        >>> optimizer = MultiOptimizer(OptimizerMap(SGD(), {"kernel": Adam()}))
        >>> optimizer.build([Variable([1.0], name="kernel"), Variable([1.0], name="bias")])
        >>> [o.name for o in optimizer.optimizers]
        ['adam', 'sgd']
    """

    def __init__(self, optimizer_map: Any, loss_scale_factor: float | None = None, name: str | None = None):
        super().__init__(None, loss_scale_factor=loss_scale_factor, name=name)
        if not callable(optimizer_map):
            check_type(
                self, "optimizer_map", optimizer_map, OptimizerMap, "an OptimizerMap or a function of a variable"
            )
        self.optimizer_map = optimizer_map
        self.optimizers: list[Optimizer] = []
        if isinstance(optimizer_map, OptimizerMap):
            for optimizer in (*optimizer_map.optimizer_map.values(), optimizer_map.default_optimizer):
                self._add(optimizer)
        self._owners: list[int] = []

    def _add(self, optimizer: Any) -> int:
        """The place of an optimizer among those in use."""
        for i, known in enumerate(self.optimizers):
            if known is optimizer:
                return i
        check_type(self, "optimizer_map(variable)", optimizer, Optimizer, "an Optimizer")
        optimizer.loss_scale_factor = self.loss_scale_factor
        self.optimizers.append(optimizer)
        return len(self.optimizers) - 1

    def build(self, variables: Sequence[Variable]) -> None:
        """Makes the slots of each optimizer for its variables."""
        if self.built:
            return
        self._owners = [self._add(self.optimizer_map(v)) for v in variables]
        for i, optimizer in enumerate(self.optimizers):
            optimizer.build([v for v, owner in zip(variables, self._owners, strict=True) if owner == i])
        self._parameters = list(variables)
        self.built = True

    @property
    def variables(self) -> list[Variable]:
        """The number of steps, then the variables of each optimizer."""
        return [self._iterations, *(v for optimizer in self.optimizers for v in optimizer.variables)]

    def _saved_variables(self) -> list[Any]:
        """In Keras the wrapper has a learning rate too, which nothing reads."""
        return [self._iterations, np.zeros((), "float32"), *self.variables[1:]]

    def update(
        self, optimizer_values: Sequence[Any], gradients: Sequence[Any], trainable_values: Sequence[Any]
    ) -> tuple[tuple, tuple]:
        """One step as a pure function, see `Optimizer.update`."""
        self._require_built("update")
        step, *rest = optimizer_values
        new, state = list(trainable_values), [step + 1]
        own: Sequence[Any]
        for i, optimizer in enumerate(self.optimizers):
            own, rest = rest[: len(optimizer.variables)], rest[len(optimizer.variables) :]
            places = [place for place, owner in enumerate(self._owners) if owner == i]
            if not any(gradients[place] is not None for place in places):
                state += own
                continue
            changed, own = optimizer.update(
                own, [gradients[place] for place in places], [trainable_values[place] for place in places]
            )
            for place, value in zip(places, changed, strict=True):
                new[place] = value
            state += own
        return tuple(new), tuple(state)

    @property
    def learning_rate(self) -> Any:
        """There is none: each optimizer has its own."""
        raise AttributeError(f"{self!r} has no learning rate of its own; use those of its `optimizers`.")

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        raise AttributeError(f"{self!r} has no learning rate of its own; set those of its `optimizers`.")

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Exempts variables from the weight decay of all optimizers."""
        for optimizer in self.optimizers:
            optimizer.exclude_from_weight_decay(var_list, var_names)

    @property
    def averages(self) -> list[tuple[Variable, Variable]]:
        """Each variable with its running mean, for those whose optimizer keeps one."""
        return [pair for optimizer in self.optimizers for pair in optimizer.averages]

    def finalize_variable_values(self, var_list: Sequence[Variable] | None = None) -> None:
        """See `Optimizer`."""
        for optimizer in self.optimizers:
            optimizer.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        config = super().get_config()
        return {k: config[k] for k in ("name", "optimizer_map", "loss_scale_factor")}
