"""The table of ops: for each its name, how many inputs it takes, its attributes, and what it computes.

An entry is a function of arrays: positional parameters are the inputs (those with a default may be left out, `*x` takes
any number), keyword-only parameters are the attributes. The function is what the interpreter runs, what shapes and
dtypes are inferred from, and what an exporter falls back on: an op without a counterpart in a format is traced into
the ops that its function is made of. Images have their channels last; elementwise ops broadcast as numpy does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class OpDef:
    """An entry of the table.

    Attributes:
        name: the op's name.
        run: the function of arrays.
        kind: "unary", "binary", "compare", "reduce", "shape" or "other".
        least: the least number of inputs.
        most: the greatest number; None for any.
        attributes: the attributes, with their defaults (`inspect.Parameter.empty` for none).
        doc: what it computes.
    """

    name: str
    run: Callable[..., Any]
    kind: str
    least: int
    most: int | None
    attributes: dict[str, Any]
    doc: str


OPSET: dict[str, OpDef] = {}


def define(name: str, run: Callable[..., Any], kind: str = "other", doc: str | None = None) -> Callable[..., Any]:
    """Adds an op to the table; returns its function.

    Raises:
        ValueError: there is one of this name.
    """
    if name in OPSET:
        raise ValueError(f"define: there is an op '{name}' already.")
    kinds = inspect.Parameter
    parameters = inspect.signature(run).parameters.values()
    inputs = [p for p in parameters if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    attributes = {p.name: p.default for p in parameters if p.kind == kinds.KEYWORD_ONLY}
    many = any(p.kind == kinds.VAR_POSITIONAL for p in parameters)
    least = sum(p.default is kinds.empty for p in inputs)
    OPSET[name] = OpDef(
        name, run, kind, least, None if many else len(inputs), attributes, doc or inspect.getdoc(run) or name
    )
    return run


def op(name: str, kind: str = "other") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that adds a function to the table."""
    return lambda run: define(name, run, kind)
