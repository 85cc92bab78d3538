"""Questions to the graph of the functional API."""

from __future__ import annotations

from typing import Any

from lamina.ops.symbol import Symbol, symbols_in


def get_source_inputs(tensor: Any) -> list[Symbol]:
    """The Inputs that a symbol, or a structure of symbols, was computed from.

    Example:
        >>> from lamina import Input, layers
        >>> x = Input((3,), name="x")
        >>> [s.name for s in get_source_inputs(layers.Dense(2)(x))]
        ['x']
    """
    found: list[Symbol] = []
    seen: set[int] = set()
    todo = symbols_in(tensor)[::-1]
    while todo:
        symbol = todo.pop()
        if id(symbol) in seen:
            continue
        seen.add(id(symbol))
        before = symbol.node.inputs if symbol.node is not None else []
        if before:
            todo += reversed(before)
        else:
            found.append(symbol)
    return found
