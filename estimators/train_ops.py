"""The optimizers of an estimator: which variables each changes, how, and the names of their state in checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.errors import describe, listing
from lamina.estimators.modes import Minimize
from lamina.estimators.rows import is_lazy, keeps_idle_rows, merge_rows, put_rows, take_rows, touched, updates_rows
from lamina.estimators.variables import GLOBAL_STEP, ModelFrame, VariableStore
from lamina.optimizers import Optimizer
from lamina.state.variable import Variable

# The slots of these optimizers have other names in TensorFlow's checkpoints.
_SLOT_NAMES = {
    "Adam": {"momentum": "m", "velocity": "v", "velocity_hat": "vhat"},
    "Adamax": {"momentum": "m", "norm": "v"},
    "Nadam": {"momentum": "m", "velocity": "v"},
    "RMSprop": {"velocity": "rms", "average_gradient": "mg"},
    "Adadelta": {"accumulated_grad": "accum_grad", "accumulated_delta_var": "accum_var"},
}
# What TensorFlow's optimizers keep in checkpoints beside their slots.
_HYPERPARAMETERS = {
    "SGD": ("momentum",),
    "Adagrad": (),
    "Adadelta": ("rho",),
    "Adam": ("beta_1", "beta_2"),
    "Adamax": ("beta_1", "beta_2"),
    "Nadam": ("beta_1", "beta_2"),
    "RMSprop": ("momentum", "rho"),
    "Ftrl": ("beta", "l1_regularization_strength", "l2_regularization_strength", "learning_rate_power"),
}


class TrainOp:
    """An optimizer and the variables that it changes.

    Args:
        optimizer: the optimizer.
        variables: the variables.
        lookups: the number of elements looked up in those that a model_fn reads by row alone, by name.
        name: the name of its state in checkpoints, such as `training/Adam`.
    """

    def __init__(self, optimizer: Optimizer, variables: Sequence[Variable], lookups: dict[str, int], name: str):
        self.optimizer, self.variables, self.name = optimizer, list(variables), name
        optimizer.build(self.variables)
        self.by_rows: set[str] = set()  # tables updated by their rows
        self.masked: set[str] = set()  # small tables, updated as a whole where rows were looked up
        if is_lazy(optimizer):
            for v in self.variables:
                if v.path not in lookups or v.regularizer is not None or v.constraint is not None:
                    continue
                if updates_rows(v, lookups[v.path]):
                    self.by_rows.add(v.path)
                elif not keeps_idle_rows(optimizer):
                    self.masked.add(v.path)
        self._owners = _slot_owners(optimizer)

    def update(
        self, state: list[Any], gradients: dict[str, Any], values: dict[str, Any], lookups: dict[str, list[Any]]
    ) -> tuple[list[Any], dict[str, Any]]:
        """One step.

        Args:
            state: the values of the optimizer's variables.
            gradients: a gradient for each variable by name; for a table updated by rows, one for each lookup.
            values: the values of the variables by name.
            lookups: the numbers of the rows looked up in each table.

        Returns:
            The new values of the optimizer's variables, and those of its variables by name.
        """
        rows, masks, given, params = {}, {}, [], []
        for v in self.variables:
            gradient, value = gradients[v.path], values[v.path]
            if v.path in self.by_rows:
                rows[v.path], gradient = merge_rows(lookups[v.path], gradient, v)
                value = take_rows(value, rows[v.path])
            elif v.path in self.masked and lookups.get(v.path):
                masks[v.path] = touched(lookups[v.path], v)
            given.append(gradient)
            params.append(value)
        slots = [
            take_rows(s, rows[o]) if (o := owner) in rows else s for s, owner in zip(state, self._owners, strict=True)
        ]
        new, new_slots = self.optimizer.update(slots, given, params)

        def merged(path: str | None, old: Any, fresh: Any) -> Any:
            if path in rows:
                return put_rows(old, rows[path], fresh)
            return jnp.where(masks[path], fresh, old) if path in masks else fresh

        state = [merged(owner, old, s) for owner, old, s in zip(self._owners, state, new_slots, strict=True)]
        return state, {v.path: merged(v.path, values[v.path], p) for v, p in zip(self.variables, new, strict=True)}

    # ---- checkpoints

    def saved(self) -> dict[str, Variable]:
        """The slots by their names in checkpoints."""
        names = _SLOT_NAMES.get(type(self.optimizer).__name__, {})
        for c in type(self.optimizer).__mro__:
            names = names or _SLOT_NAMES.get(c.__name__, {})
        found: dict[str, Variable] = {}
        for variable, owner in zip(self.optimizer.variables, self._owners, strict=True):
            if variable is self.optimizer._iterations or variable in self.optimizer._rates():
                continue
            if owner is None:
                found[f"{self.name}/{variable.name}"] = variable
                continue
            field = variable.name.removeprefix(owner.replace("/", "_") + "_")
            found[f"{self.name}/{owner}/{names.get(field, field)}"] = variable
        return found

    def constants(self, step: int) -> dict[str, Any]:
        """The numbers that TensorFlow's optimizers keep in checkpoints."""
        optimizer = self.optimizer
        found: dict[str, Any] = {f"{self.name}/decay": np.float32(0)}
        rate = np.asarray(optimizer.learning_rate) if optimizer._rate is not None else None
        if rate is not None:
            found[f"{self.name}/learning_rate"] = np.float32(rate)
        for c in type(optimizer).__mro__:
            if c.__name__ in _HYPERPARAMETERS:
                for name in _HYPERPARAMETERS[c.__name__]:
                    found[f"{self.name}/{name}"] = np.float32(getattr(optimizer, name))
                break
        return found


def _slot_owners(optimizer: Optimizer) -> list[str | None]:
    """For each variable of an optimizer the path of the parameter whose slot it is."""
    slots = list(optimizer._slots)
    leaves, _ = jax.tree_util.tree_flatten_with_path(jax.tree.unflatten(optimizer._structure(), range(len(slots))))
    paths = {name: v.path for name, v in zip(optimizer._names, optimizer._parameters, strict=True)}
    owners: dict[int, str | None] = {}
    for path, number in leaves:
        keys = [k.key for k in path if isinstance(k, jax.tree_util.DictKey) and k.key in paths]
        owners[id(slots[number])] = paths[keys[0]] if keys else None
    return [owners.get(id(v)) for v in optimizer.variables]


class TrainOps:
    """All optimizers of an estimator; to the training loop it is like one.

    Args:
        store: the variables.
        ops: what the spec of the model_fn said.
        frame: the frame in which the model_fn ran first.
    """

    revision = 0

    def __init__(self, store: VariableStore, ops: Sequence[Minimize], frame: ModelFrame):
        looked_up: dict[str, int] = {}
        for table, ids in frame.lookups:
            if table.path not in frame.reads:
                looked_up[table.path] = looked_up.get(table.path, 0) + int(np.prod(ids.shape))
        self.ops: list[TrainOp] = []
        taken: dict[str, str] = {}
        counts: dict[str, int] = {}
        for op in ops:
            variables = _resolve(store, frame, op)
            for v in variables:
                if v.path in taken:
                    raise ValueError(
                        f"train_op: variable '{v.path}' is given to two optimizers. Pass each its own var_list=."
                    )
                taken[v.path] = v.path
            kind = next((c.__name__ for c in type(op.optimizer).__mro__ if c.__name__ in _HYPERPARAMETERS), None)
            kind = kind or type(op.optimizer).__name__
            number = counts.get(kind, 0)
            counts[kind] = number + 1
            name = f"training/{kind}_{number}" if number else f"training/{kind}"
            self.ops.append(TrainOp(op.optimizer, variables, looked_up, name))
        self.built = True

    @property
    def trainable(self) -> list[Variable]:
        """The variables that the optimizers change."""
        return [v for op in self.ops for v in op.variables]

    @property
    def by_rows(self) -> set[str]:
        """The names of tables that are updated by their rows."""
        return {name for op in self.ops for name in op.by_rows}

    @property
    def variables(self) -> list[Variable]:
        """The variables of the optimizers."""
        return [v for op in self.ops for v in op.optimizer.variables]

    def finalize_variable_values(self, var_list: Sequence[Variable] | None = None) -> None:
        """Puts running means in the variables' place, for optimizers that keep them."""
        for op in self.ops:
            op.optimizer.finalize_variable_values(var_list)

    def update(
        self, state: list[Any], gradients: Sequence[dict[str, Any]], values: dict[str, Any], lookups: dict[str, list]
    ) -> tuple[list[Any], dict[str, Any]]:
        """One step of each; see `TrainOp.update`."""
        new_state: list[Any] = []
        new: dict[str, Any] = {}
        start = 0
        for op, grads in zip(self.ops, gradients, strict=True):
            count = len(op.optimizer.variables)
            updated, changed = op.update(state[start : start + count], grads, values, lookups)
            new_state += updated
            new.update(changed)
            start += count
        return new_state, new

    def tensors(self, step: int) -> dict[str, Any]:
        """The state by its names in checkpoints."""
        found: dict[str, Any] = {}
        for number, op in enumerate(self.ops):
            found.update({name: v.stored for name, v in op.saved().items()})
            found.update(op.constants(step))
            if number:
                found[f"{op.name}/iter"] = np.int64(step)
        return found

    def restore(self, reader: Any, step: int) -> list[str]:
        """Takes the state from a checkpoint; returns the names that it lacks."""
        missing = []
        # Two optimizers of one kind may have been numbered the other way round; their slots tell them apart.
        named = {n.split("/", 2)[2]: n for n in reader.get_variable_to_shape_map() if n.startswith("training/")}
        for op in self.ops:
            op.optimizer._iterations.assign(np.int32(step))
            for name, variable in op.saved().items():
                found = name if reader.has_tensor(name) else named.get(name.split("/", 2)[2])
                value = None if found is None else reader.get_tensor(found)
                if value is None or tuple(np.shape(value)) != variable.shape:
                    missing.append(name)
                else:
                    variable.assign(value)
        return missing


def _resolve(store: VariableStore, frame: ModelFrame, op: Minimize) -> list[Variable]:
    """The variables of a training operation."""
    known = {**store.weights, **frame.found}
    if op.var_list is None:
        return [v for name, v in known.items() if v.trainable and name != GLOBAL_STEP]
    found = []
    for item in op.var_list:
        if isinstance(item, str):
            if item not in known:
                raise ValueError(
                    f"minimize: var_list names {item!r}; the variables are {listing(list(known)[:8], 'and')}."
                )
            found.append(known[item])
        elif isinstance(item, Variable):
            found.append(frame.outer(item))
        else:
            raise TypeError(f"minimize: var_list must hold variables or their names, got {describe(item)}.")
    return found
