"""Checks a graph against the table of ops: arity, attributes, order, and the shapes and dtypes of all values."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from lamina.core.errors import did_you_mean
from lamina.graph.dims import dims_of, names_in, shape_text, symbolic, symbols
from lamina.graph.interpret import instruction
from lamina.graph.ir import Instr, Value, is_graph
from lamina.graph.opset import OPSET


def infer(instr: Instr) -> list[tuple[tuple, np.dtype]]:
    """Shape and dtype of what an instruction makes, from those of its inputs and its attributes."""
    names = {n for v in instr.inputs for d in v.shape for n in names_in(d)}
    specs = [jax.ShapeDtypeStruct(symbolic(tuple(v.shape)), v.dtype) for v in instr.inputs]
    run = instruction(instr, Symbols(names))
    out = jax.eval_shape(run, *specs)
    out = out if isinstance(out, (list, tuple)) else [out]
    return [(tuple(dims_of(x.shape)), _dtype(x)) for x in out]


def _dtype(x: Any) -> Any:
    """The dtype; that of random keys is one of jax alone."""
    return x.dtype if jax.dtypes.issubdtype(x.dtype, jax.dtypes.extended) else np.dtype(x.dtype)


class Symbols(dict):
    """The symbolic dimension of any name that is asked for."""

    def __init__(self, names: set[str]):
        super().__init__(symbols(names))

    def __missing__(self, name: str) -> Any:
        self[name] = symbols({name})[name]
        return self[name]


def verify(graph: Any) -> None:
    """Raises ValueError for an instruction that is not as its op demands; graphs inside are checked too."""
    known: set[Value] = {*graph.inputs, *graph.constants}
    names: dict[str, Value] = {}
    for value in graph.values():
        if names.setdefault(value.name, value) is not value:
            raise ValueError(f"Graph '{graph.name}': two values are named '{value.name}'.")
    for value, array in graph.constants.items():
        if tuple(np.shape(array)) != tuple(value.shape) or array.dtype != value.dtype:
            raise ValueError(f"Graph '{graph.name}': constant {value!r} holds {array.dtype}{np.shape(array)}.")
    for instr in graph.instrs:
        _check(graph, instr, known)
        known.update(instr.outputs)
        for sub in instr.subgraphs:
            verify(sub)
    missing = [v.name for v in graph.outputs if v not in known]
    if missing:
        raise ValueError(f"Graph '{graph.name}': nothing makes the outputs {missing}.")
    if len(graph.input_names) != len(graph.inputs) or len(graph.output_names) != len(graph.outputs):
        raise ValueError(f"Graph '{graph.name}': every input and output needs a name.")


def _check(graph: Any, instr: Instr, known: set[Value]) -> None:
    where = f"Graph '{graph.name}', {instr!r}" + (f" of layer '{instr.path}'" if instr.path else "")
    late = [v.name for v in instr.inputs if v not in known]
    if late:
        raise ValueError(f"{where}: takes {late}, which nothing before it makes.")
    check_attributes(instr, where)
    try:
        found = infer(instr)
    except (TypeError, ValueError, IndexError, ZeroDivisionError) as error:
        raise ValueError(f"{where}: cannot take these inputs: {error}") from error
    declared = [(tuple(v.shape), v.dtype) for v in instr.outputs]
    if [_text(d) for d in declared] != [_text(f) for f in found]:
        raise ValueError(
            f"{where}: expected outputs {', '.join(map(_text, found))}, got {', '.join(map(_text, declared))}."
        )


def check_attributes(instr: Instr, where: str) -> None:
    """Raises ValueError if the op is unknown, or its inputs or attributes are not those of its entry."""
    if instr.op == "Custom":
        if not {"name", "run"} <= set(instr.attrs):
            raise ValueError(f"{where}: a custom op needs the attributes name and run.")
        return
    if instr.op not in OPSET:
        raise ValueError(f"{where}: there is no op {instr.op!r}.{did_you_mean(instr.op, OPSET)}")
    definition = OPSET[instr.op]
    count, least, most = len(instr.inputs), definition.least, definition.most
    if count < least or (most is not None and count > most):
        wanted = f"{least}" if most == least else f"{least} to {'any number' if most is None else most}"
        raise ValueError(f"{where}: {instr.op} takes {wanted} inputs, got {count}.")
    expected = definition.attributes
    unknown = set(instr.attrs) - set(expected)
    missing = {k for k, default in expected.items() if default is inspect.Parameter.empty} - set(instr.attrs)
    if unknown or missing:
        raise ValueError(
            f"{where}: {instr.op} has the attributes {sorted(expected)}; unknown: {sorted(unknown)}, "
            f"missing: {sorted(missing)}."
        )
    for key, value in instr.attrs.items():
        if key in ("then", "orelse", "cond", "body") and not is_graph(value):
            raise ValueError(f"{where}: {key} must be a graph, got {value!r}.")


def _text(spec: tuple[Sequence[Any], np.dtype]) -> str:
    return f"{spec[1].name}{shape_text(spec[0])}"
