"""What a layer owns, found by walking its attributes: no wrapping of lists, no bookkeeping on assignment."""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from lamina.core.naming import free_name
from lamina.metrics.metric import Metric
from lamina.state.rng import SeedGenerator
from lamina.state.variable import Variable

# Types of attributes that cannot hold a layer or a variable; most attributes are of one of these.
_PLAIN = frozenset({bool, int, float, str, type(None), types.FunctionType, types.MethodType, np.ndarray})


def owned(obj: Any, kinds: tuple[type, ...], untracked: frozenset[str] = frozenset()) -> list[tuple[str, Any]]:
    """The instances of `kinds` in the attributes of `obj`, with a name each; lists and dicts are looked into."""
    found: list[tuple[str, Any]] = []

    def look(key: str, value: Any, depth: int) -> None:
        if isinstance(value, kinds):
            found.append((key, value))
        elif depth > 8:
            return
        elif isinstance(value, (list, tuple)):
            for i, item in enumerate(value):
                if type(item) not in _PLAIN:
                    look(f"{key}_{i}", item, depth + 1)
        elif isinstance(value, dict):
            for k, item in value.items():
                if type(item) not in _PLAIN:
                    look(f"{key}_{k}", item, depth + 1)

    for key, value in list(vars(obj).items()):
        if type(value) in _PLAIN or key in untracked:
            continue
        if isinstance(value, kinds):
            found.append((key.lstrip("_"), value))
        elif isinstance(value, (list, tuple, dict)):
            look(key.lstrip("_"), value, 0)
    return found


def unique(items: Iterable[Any]) -> list[Any]:
    """The items without repetitions (by identity), in order."""
    seen: set[int] = set()
    return [x for x in items if not (id(x) in seen or seen.add(id(x)))]  # type: ignore[func-returns-value]


def walk(layer: Any) -> list[Any]:
    """The layer and all layers inside it, each once, outer before inner."""
    found: list[Any] = []
    seen: set[int] = set()

    def visit(one: Any) -> None:
        if id(one) in seen:
            return
        seen.add(id(one))
        found.append(one)
        for _, child in one._children():
            visit(child)

    visit(layer)
    return found


class Survey(NamedTuple):
    """What a layer and the layers inside it own.

    `weights` are in Keras' order: own trainable, own fixed, then layer by layer; `trainable` are those among them that
    no frozen layer holds.
    """

    weights: list[Variable]
    trainable: list[Variable]
    metrics: list[Metric]


def survey(layer: Any) -> Survey:
    """Finds weights, trainable weights and metrics below `layer` in one walk."""
    weights: dict[int, Variable] = {}
    metrics: dict[int, Metric] = {}
    free: set[int] = set()
    seen: set[tuple[int, bool]] = set()

    def visit(one: Any, frozen: bool) -> None:
        frozen = frozen or not one._trainable
        if (id(one), False) in seen or (id(one), frozen) in seen:
            return
        seen.add((id(one), frozen))
        own = []
        for _, item in owned(one, (Variable, Metric), one._untracked):
            if isinstance(item, Variable):
                own.append(item)
            else:
                metrics[id(item)] = item
        for v in [v for v in own if v.born_trainable] + [v for v in own if not v.born_trainable]:
            weights[id(v)] = v
            if not frozen:
                free.add(id(v))
        for _, child in one._children():
            visit(child, frozen)

    visit(layer, False)
    found = list(weights.values())
    return Survey(found, [v for v in found if v.trainable and id(v) in free], list(metrics.values()))


def assign_paths(layer: Any, prefix: str = "") -> None:
    """Gives each variable and seed generator below `layer` its path: the names that lead to it, joined by slashes.

    A layer without a name of its own goes by the attribute that holds it; repeated names get a number.
    """
    seen: set[int] = set()

    def visit(one: Any, path: str) -> None:
        if id(one) in seen:
            return
        seen.add(id(one))
        taken: set[str] = set()

        def free(name: str) -> str:
            candidate = free_name(name, taken)
            taken.add(candidate)
            return path + candidate

        for v in one._own_variables():
            v.path = free(v.name)
        for key, generator in owned(one, (SeedGenerator,), one._untracked):
            generator.path = free(key)
        for key, child in one._children():
            if id(child) not in seen:
                visit(child, free(key if child.auto_named else child.name) + "/")

    visit(layer, prefix)
