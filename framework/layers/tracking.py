"""What a layer owns, found by walking its attributes: no wrapping of lists, no bookkeeping on assignment."""

from __future__ import annotations

import re
import types
from collections.abc import Iterable
from typing import Any

import numpy as np

from lamina.metrics.metric import Metric
from lamina.state.rng import SeedGenerator
from lamina.state.variable import Variable


def snake_case(name: str) -> str:
    """`Conv2DTranspose` -> `conv2d_transpose`, as Keras names layers.

    Example:
        >>> snake_case("MultiHeadAttention"), snake_case("Conv2D")
        ('multi_head_attention', 'conv2d')
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


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
        if type(value) not in _PLAIN and key not in untracked:
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


def unfrozen(layer: Any) -> set[int]:
    """The identities of the variables below `layer` that no frozen layer holds."""
    found: set[int] = set()
    seen: set[int] = set()

    def visit(one: Any) -> None:
        if id(one) in seen or not one.trainable:
            return
        seen.add(id(one))
        found.update(id(v) for v in one._own_variables())
        for _, child in one._children():
            visit(child)

    visit(layer)
    return found


def metrics_of(layer: Any) -> list[Metric]:
    """The metrics that a layer and the layers inside it hold."""
    return unique([m for one in walk(layer) for _, m in owned(one, (Metric,), one._untracked)])


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
            candidate, n = name, 0
            while candidate in taken:
                n += 1
                candidate = f"{name}_{n}"
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


def variables_of(layer: Any) -> list[Variable]:
    """All weights below `layer`, in Keras' order: own trainable, own fixed, then layer by layer."""
    result: list[Variable] = []
    for one in walk(layer):
        own = one._own_variables()
        result += [v for v in own if v.born_trainable] + [v for v in own if not v.born_trainable]
    return unique(result)
