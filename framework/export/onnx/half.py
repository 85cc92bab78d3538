"""A graph in half precision."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.graph.ir import Instr, Value, is_graph

_HALF, _SINGLE = np.dtype("float16"), np.dtype("float32")


def halve(graph: Any) -> Any:
    """A graph that computes in float16; what goes in and comes out stays float32."""
    known: dict[Value, Value] = {}
    taken = {value.name for value in graph.values()}
    made = _halved(graph, known)

    def beside(value: Value) -> Value:
        name = f"{value.name}/float16"
        while name in taken:
            name += "_"
        taken.add(name)
        return Value(name, value.shape, _HALF)

    casts = []
    for value in graph.inputs:
        if value.dtype == _SINGLE:
            inside = beside(value)
            casts.append(Instr("Cast", (value,), (inside,), {"dtype": "float16"}))
            made.replace({known[value]: inside})
    made.inputs = list(graph.inputs)
    made.instrs = casts + made.instrs
    outputs = []
    for old, new in zip(graph.outputs, made.outputs, strict=True):
        if old.dtype == _SINGLE:
            wide = Value(f"{beside(old).name}/float32", old.shape, _SINGLE)
            made.instrs.append(Instr("Cast", (new,), (wide,), {"dtype": "float32"}))
            new = wide
        outputs.append(new)
    made.outputs = outputs
    return made


def _halved(graph: Any, known: dict[Value, Value]) -> Any:
    """A copy of a graph, and of those inside it, with float16 in place of float32."""

    def half(value: Value) -> Value:
        if value not in known:
            small = value.dtype == _SINGLE
            known[value] = Value(value.name, value.shape, _HALF) if small else value
        return known[value]

    made = graph.copy()
    made.inputs = [half(v) for v in graph.inputs]
    made.constants = {half(v): _rounded(a) if v.dtype == _SINGLE else a for v, a in graph.constants.items()}
    made.variables = {half(v): p for v, p in graph.variables.items()}
    made.instrs = [
        Instr(
            i.op,
            tuple(map(half, i.inputs)),
            tuple(map(half, i.outputs)),
            {k: _attribute(k, a, known) for k, a in i.attrs.items()},
            i.path,
        )
        for i in graph.instrs
    ]
    made.outputs = [half(v) for v in graph.outputs]
    return made


def _attribute(key: str, value: Any, known: dict[Value, Value]) -> Any:
    if key == "dtype" and value == "float32":
        return "float16"
    return _halved(value, known) if is_graph(value) else value


def _rounded(array: Any) -> np.ndarray:
    """The nearest float16; finite numbers stay finite, and what is not 0 does not become 0."""
    array = np.asarray(array)
    limits = np.finfo(_HALF)
    small = np.clip(array, limits.min, limits.max, where=np.isfinite(array), out=array.copy()).astype(_HALF)
    return np.where((small == 0) & (array != 0), np.copysign(limits.smallest_subnormal, array), small).astype(_HALF)
