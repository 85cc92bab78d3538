"""The state of an optax transformation as variables with readable paths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from lamina.core.naming import free_name
from lamina.state.variable import Variable


def unique_names(variables: Sequence[Variable]) -> tuple[str, ...]:
    """One name for each variable: its path, numbered where two are alike."""
    names: dict[str, None] = {}
    for variable in variables:
        names[free_name(variable.path, names)] = None
    return tuple(names)


def slot_variables(owner: str, state: Any, names: Sequence[str]) -> list[Variable]:
    """A variable for each array of a state, named after the parameter it belongs to and its field.

    Args:
        owner: the name of the optimizer.
        state: the state of a transformation, initialised with a dict of parameters by name.
        names: the names of the parameters.

    Returns:
        The variables, in the order of the state's leaves.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    known = set(names)
    slots: dict[str, Variable] = {}
    for path, value in leaves:
        parameter, fields = [], []
        for key in path:
            if isinstance(key, jax.tree_util.DictKey) and key.key in known:
                parameter = [key.key.replace("/", "_")]
            elif isinstance(key, jax.tree_util.DictKey):
                fields.append(str(key.key))
            elif isinstance(key, jax.tree_util.GetAttrKey) and not key.name.startswith("inner"):
                fields.append(key.name)
        name = free_name("_".join([*parameter, *fields]) or "state", slots)
        slots[name] = Variable(value, trainable=False, autocast=False, name=name)
        slots[name].path = f"{owner}/{name}"
    return list(slots.values())
