"""The parts of a model that a weights file has a group for, under the names that Keras gives the groups.

Keras walks the attributes of an object by name, private ones last; a model made of layers yields its `layers` first. An
object inside a list or dict goes by its class in snake case, with a number where that repeats. What is met twice
belongs to the place where it is met first.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from lamina.core.naming import snake_case
from lamina.layers.layer import Layer
from lamina.optimizers.optimizer import Optimizer
from lamina.training.compiling import Compilable

_KINDS = (Layer, Optimizer)
_DEEPEST = 64
# Classes that Keras knows by another name than the one it exports.
_CLASS_NAMES = {"GroupQueryAttention": "GroupedQueryAttention"}


def saved_parts(root: Any) -> Iterator[tuple[str, Any]]:
    """The layers and optimizers at and below `root`, each once, with the path of its group."""
    seen: set[int] = set()

    def visit(obj: Any, path: str) -> Iterator[tuple[str, Any]]:
        if id(obj) in seen:
            return
        seen.add(id(obj))
        yield path, obj
        for name, value in _attributes(obj):
            inner = f"{path}/{name}" if path else name
            if isinstance(value, _KINDS):
                yield from visit(value, inner)
            elif isinstance(value, (list, tuple, dict)):
                yield from look_into(value, inner, ())

    def look_into(container: Any, path: str, outer: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
        if id(container) in outer or len(outer) > _DEEPEST:
            return
        outer = (*outer, id(container))
        used: dict[str, int] = {}
        for value in list(container.values()) if isinstance(container, dict) else container:
            if isinstance(value, _KINDS):
                name = type(value).__name__
                yield from visit(value, f"{path}/{_numbered(snake_case(_CLASS_NAMES.get(name, name)), used)}")
            elif isinstance(value, (list, tuple, dict)):
                yield from look_into(value, f"{path}/{_numbered('container', used)}", outer)

    return visit(root, "")


def _numbered(name: str, used: dict[str, int]) -> str:
    used[name] = used.get(name, -1) + 1
    return f"{name}_{used[name]}" if used[name] else name


def _attributes(obj: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(obj, Compilable) and getattr(obj, "saves_layers_first", False):
        yield "layers", obj.layers  # type: ignore[attr-defined]
    skipped = _base_names(isinstance(obj, Optimizer), isinstance(obj, Compilable))
    skipped |= getattr(obj, "_untracked", frozenset())
    names = {n for n in dir(obj) if not n.startswith("__")} - skipped
    if isinstance(obj, Compilable):
        names |= {"layers", "optimizer"}
    for name in sorted(names, key=lambda n: f"~{n}" if n.startswith("_") else n):
        try:
            value = getattr(obj, name)
        except Exception:  # noqa: S112 - a property that does not apply to this object
            continue
        yield name, value


@functools.cache
def _base_names(optimizer: bool, model: bool) -> frozenset[str]:
    """The names that every layer, optimizer or model has: none of them leads to a part."""
    if optimizer:
        return frozenset(dir(Optimizer(0.0)))
    base = Layer()
    if not model:
        return frozenset(dir(base))
    return frozenset({*dir(base), *dir(Compilable), "network", "inputs", "outputs", "_input", "_stack"})
