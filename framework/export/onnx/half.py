"""A graph in half precision, but for what float16 is too narrow for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from lamina.core.naming import free_name
from lamina.graph.ir import Instr, Value, is_graph
from lamina.graph.opset import OPSET

_HALF, _SINGLE = np.dtype("float16"), np.dtype("float32")
_SUMS = "a sum of many terms"
_LARGE = "leaves the range of float16"
_SLOPE = "magnifies what was rounded"
DELICATE: dict[str, str] = {
    "LayerNorm": "statistics", "BatchNorm": "statistics", "L2Normalize": "statistics",
    "Softmax": _SUMS, "LogSoftmax": _SUMS, "ReduceSum": _SUMS, "ReduceMean": _SUMS, "ReduceProd": _LARGE,
    "CumSum": _SUMS, "CumProd": _LARGE, "Exp": _LARGE, "Expm1": _LARGE, "Sinh": _LARGE, "Cosh": _LARGE,
    "Square": _LARGE, "Pow": _LARGE, "Reciprocal": _LARGE, "Rsqrt": _LARGE, "Sqrt": _SLOPE, "Log": _SLOPE,
    "Log1p": _SLOPE, "Softplus": _SLOPE, "Tan": _SLOPE, "Asin": _SLOPE, "Acos": _SLOPE, "Atanh": _SLOPE,
}  # fmt: skip
"""Ops that stay in float32, and why.

Reference: https://docs.pytorch.org/docs/stable/amp.html, "ops that autocast to float32"
"""
_MOVES = ("Cast", "Identity")
_KEEPS = ("Identity", "Relu", "Relu6", "Neg", "Abs")
_EXACT = ("ReduceMax", "ReduceMin", "ArgMax", "ArgMin", "CumMax", "TopK", "Sort", "ArgSort", "MaxPool")
SMALL = 64
"""Arrays of more elements are stored in float16, and converted where they are wanted in float32."""


class Halved:
    """A graph that computes in float16, but for delicate ops; what goes in and comes out stays float32.

    Ops that work element by element, or move elements, follow those around them: they compute in float32 behind an op
    that does, or where all that takes their result does. So values are converted once between one kind and the other.
    What loops carry from round to round is float32 as well. Weights are float16, but for vectors that float32 meets.

    Attributes:
        graph: the graph.
        kept: (layer, op, why) of what computes in float32.

    Args:
        graph: the graph; it stays as it is.
        float32_ops: the ops of `DELICATE` and others that stay in float32.
    """

    def __init__(self, graph: Any, float32_ops: Collection[str] = tuple(DELICATE)):
        self.wanted = frozenset(float32_ops)
        self.taken = set(_names(graph))
        self.kept: list[tuple[str, str, str]] = []
        self.graph = _Part(self, graph, [_SINGLE] * len(graph.inputs), [_SINGLE] * len(graph.outputs)).made

    def unique(self, name: str) -> str:
        """A name that no value has."""
        chosen = free_name(name, self.taken)
        self.taken.add(chosen)
        return chosen


class _Part:
    """A graph, or one inside another, as it is converted.

    Args:
        whole: what all parts share.
        graph: the graph.
        inputs: the dtypes in which inputs that are float32 come.
        outputs: the dtypes in which outputs that are float32 are wanted.
    """

    def __init__(self, whole: Halved, graph: Any, inputs: Sequence[np.dtype], outputs: Sequence[np.dtype]):
        self.whole, self.graph = whole, graph
        self.single = self._single(inputs, outputs)
        self.forms: dict[Value, dict[np.dtype, Value]] = {}
        self.made = graph.copy()
        self.made.constants, self.made.variables, self.made.instrs = {}, {}, []
        self.made.inputs = [self._give(v, dtype) for v, dtype in zip(graph.inputs, inputs, strict=True)]
        for instr in graph.instrs:
            self._instruction(instr)
        self.made.outputs = [self._take(v, dtype) for v, dtype in zip(graph.outputs, outputs, strict=True)]

    # ---- which instructions compute in float32

    def _single(self, inputs: Sequence[np.dtype], outputs: Sequence[np.dtype]) -> dict[int, str]:
        """The identities of the instructions that compute in float32, and why."""
        graph = self.graph
        found: dict[int, str] = {}
        if not self.whole.wanted:
            return found
        halves = {v for v, dtype in zip(graph.outputs, outputs, strict=True) if dtype == _HALF}
        ends = set(graph.outputs)
        users = graph.users()
        for instr in reversed(graph.instrs):  # delicate ones, and those whose results only such take
            floats = [v for v in instr.outputs if v.dtype == _SINGLE]
            if instr.op in self.whole.wanted and any(v.dtype == _SINGLE for v in (*instr.inputs, *floats)):
                found[id(instr)] = DELICATE.get(instr.op, "wanted so")
            elif _follows(instr) and floats and not halves.intersection(floats):
                takers = [other for v in floats for other in users.get(v, [])]
                if (takers or ends.intersection(floats)) and all(id(other) in found for other in takers):
                    found[id(instr)] = "stands before what does"
        wide: set[Value] = set()
        exact = {v for v, dtype in zip(graph.inputs, inputs, strict=True) if dtype == _SINGLE}
        for instr in graph.instrs:  # those behind one; an op that does not round gains nothing from float16 made wider
            if wide.intersection(instr.inputs):
                if _follows(instr):
                    found.setdefault(id(instr), "stands behind what does")
            elif (instr.op in _KEEPS or _kind(instr) == "shape") and not exact.intersection(instr.inputs):
                found.pop(id(instr), None)
            if id(instr) in found:
                wide.update(v for v in instr.outputs if v.dtype == _SINGLE)
        return found

    # ---- values

    def _give(self, value: Value, dtype: np.dtype) -> Value:
        """The first form of a value."""
        made = Value(value.name, value.shape, dtype) if value.dtype == _SINGLE else value
        self.forms[value] = {made.dtype: made}
        return made

    def _take(self, value: Value, dtype: np.dtype) -> Value:
        """A value in a dtype, if it is one of float32; what a constant or a Cast gives."""
        if value not in self.forms:  # a constant that nothing took yet
            self._constant(value, dtype if _is_small(value) else _HALF)
        forms = self.forms[value]
        if value.dtype != _SINGLE or dtype in forms:
            return forms.get(dtype) or next(iter(forms.values()))
        if value in self.graph.constants and (dtype == _HALF or _is_small(value)):
            return self._constant(value, dtype)
        (source,) = forms.values()
        made = Value(self.whole.unique(f"{value.name}/{dtype.name}"), value.shape, dtype)
        self.made.instrs.append(Instr("Cast", (source,), (made,), {"dtype": dtype.name}))
        forms[dtype] = made
        return made

    def _constant(self, value: Value, dtype: np.dtype) -> Value:
        array, forms = self.graph.constants[value], self.forms.setdefault(value, {})
        made = value
        if value.dtype == _SINGLE:
            name = self.whole.unique(f"{value.name}/{dtype.name}") if forms else value.name
            made, array = Value(name, value.shape, dtype), _rounded(array) if dtype == _HALF else array
        self.made.constants[made] = array
        if value in self.graph.variables:
            self.made.variables[made] = self.graph.variables[value]
        forms[made.dtype] = made
        return made

    # ---- instructions

    def _instruction(self, instr: Instr) -> None:
        why = self.single.get(id(instr))
        dtype = _HALF if why is None else _SINGLE
        given, made = [dtype] * len(instr.inputs), [dtype] * len(instr.outputs)
        attrs = dict(instr.attrs)
        if instr.subgraphs:
            carried = int(attrs.get("carried", 0)) if self.whole.wanted else 0
            given[:carried] = made[:carried] = [_SINGLE] * carried
            for key, sub in attrs.items():
                if is_graph(sub):
                    into = given[-len(sub.inputs) :] if sub.inputs else []
                    out = [_HALF] * len(sub.outputs) if key == "cond" else made
                    attrs[key] = _Part(self.whole, sub, into, out).made
        elif dtype == _HALF and attrs.get("dtype") == "float32":
            attrs["dtype"] = "float16"
        inputs = tuple(self._take(v, d) for v, d in zip(instr.inputs, given, strict=True))
        outputs = tuple(self._give(v, d) for v, d in zip(instr.outputs, made, strict=True))
        self.made.instrs.append(Instr(instr.op, inputs, outputs, attrs, instr.path))
        if why is not None and instr.op not in _MOVES and _kind(instr) != "shape":
            self.whole.kept.append((instr.path, instr.op, f"float32: {why}"))


def _is_small(value: Value) -> bool:
    """Whether a constant is so small that a Cast would be larger, or a vector: few bytes, and much of the error."""
    return value.elements <= SMALL or len(value.shape) == 1


def _follows(instr: Instr) -> bool:
    """Whether an instruction computes as well in the one as in the other."""
    return _kind(instr) in ("unary", "binary", "compare", "shape") or instr.op in _EXACT


def _kind(instr: Instr) -> str:
    return OPSET[instr.op].kind if instr.op in OPSET else ""


def _names(graph: Any) -> Iterator[str]:
    yield from (value.name for value in graph.values())
    for instr in graph.instrs:
        for sub in instr.subgraphs:
            yield from _names(sub)


def _rounded(array: Any) -> np.ndarray:
    """The nearest float16; finite numbers stay finite, and what is not 0 does not become 0."""
    array = np.asarray(array)
    limits = np.finfo(_HALF)
    small = np.clip(array, limits.min, limits.max, where=np.isfinite(array), out=array.copy()).astype(_HALF)
    return np.where((small == 0) & (array != 0), np.copysign(limits.smallest_subnormal, array), small).astype(_HALF)
