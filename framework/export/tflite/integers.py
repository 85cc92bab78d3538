"""Integers of few bits: what LiteRT computes only of numbers that stand for real ones is computed in int32 instead."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.graph.ir import Instr, Value, is_floating
from lamina.graph.opset import OPSET
from lamina.graph.passes.rewrite import Rewriter

INT32 = np.dtype("int32")
_NARROW = frozenset({"int8", "uint8", "int16", "uint16", "bool"})
_BITS = frozenset(
    "Add Sub Mul Equal NotEqual Neg Not ReduceSum ReduceProd CumSum CumProd Split Concat Pad Gather GatherND "
    "GatherElements Reverse SpaceToDepth DepthToSpace".split()
)
"""Ops of which int32 gives the same bits as uint32."""


def _kernels() -> dict[str, frozenset[str]]:
    wide, small = "int32 int64", "int8 uint8 int16 int32 int64"
    rows = {
        "Add Less LessEqual Greater GreaterEqual": f"int16 {wide}",
        "Sub ReduceSum CumSum Rem": wide,
        "Mul": f"int16 uint32 {wide}",
        "Div Sign MatMul": "int32",
        "Equal": f"bool int16 {wide}",
        "NotEqual": f"bool {wide}",
        "Neg": f"int8 int16 {wide}",
        "Abs": "int16 int32",
        "Maximum Minimum ReduceMax ReduceMin ReduceProd Relu Split TopK": small,
        "Sort ArgSort CumMax CumProd": wide,
        "ArgMax ArgMin": "bool int8 uint8 int32 int64",
        "Not": f"bool {wide}",
        "Concat": f"bool uint32 {small}",
        "Pad Gather GatherND GatherElements Reverse": f"bool {small}",
        "SpaceToDepth DepthToSpace ScatterND": "int8 uint8 int32 int64",
        "MaxPool": "int8 uint8 int16",
    }
    return {op: frozenset(types.split()) for ops, types in rows.items() for op in ops.split()}


KERNELS = _kernels()
"""Op -> the dtypes, beside floats, that its kernel computes; those that are missing take all.

Measured with single operators in LiteRT. For other integers kernels are missing, or want a scale: without one they give
wrong numbers or end the program.
"""


def widen(graph: Any) -> Any:
    """Instructions on integers that have no kernel compute in int32, and wrap around as theirs do.

    Example:
        >>> from lamina import KerasTensor
        >>> from lamina.graph import trace
        >>> graph = trace(lambda x: x + x, KerasTensor((2,), "uint8"))
        >>> [i.op for i in widen(graph).instrs]
        ['Cast', 'Cast', 'Add', 'Cast']
    """
    r = Rewriter(graph)
    for instr in list(r.graph.instrs):
        for key, sub in instr.attrs.items():
            if sub in instr.subgraphs:
                instr.attrs[key] = widen(sub)
        if instr.op == "Square" and not is_floating(instr.output.dtype):
            instr = r.swap(instr, "Mul", [instr.inputs[0]] * 2)
        if refused(instr) and "int32" in KERNELS[instr.op]:
            dtype = instr.inputs[0].dtype
            if dtype.name in _NARROW or dtype.name == "uint32" and instr.op in _BITS:
                _widened(r, instr, dtype)
    return r.done()


def refused(instr: Instr) -> str:
    """Why LiteRT has no kernel for an instruction on its dtype, or ""."""
    kernel = KERNELS.get(instr.op)
    dtype = instr.inputs[0].dtype if instr.inputs else None
    if kernel is None or dtype is None or is_floating(dtype) or dtype.kind == "c" or dtype.name in kernel:
        return ""
    return f"TFLite computes it of floats, {', '.join(sorted(kernel))}, not of {dtype}"


def _widened(r: Rewriter, instr: Instr, dtype: np.dtype) -> None:
    """The instruction between casts; indices, positions and answers of comparisons are what they were."""
    keeps = OPSET[instr.op].kind == "compare" or instr.op in ("ArgMax", "ArgMin")
    inputs = [
        r.before(instr, "Cast", [v], f"{v.name}/wide", dtype="int32") if v.dtype == dtype else v for v in instr.inputs
    ]
    if instr.op in ("Gather", "GatherND", "GatherElements", "ScatterND"):
        inputs[1] = instr.inputs[1]
    made = tuple(
        Value(r.unique(f"{v.name}/wide"), v.shape, INT32) if v.dtype == dtype and not keeps else v
        for v in instr.outputs
    )
    place = next(i for i, other in enumerate(r.graph.instrs) if other.outputs == instr.outputs)
    back = [
        Instr("Cast", (m,), (v,), {"dtype": v.dtype.name}, instr.path)
        for m, v in zip(made, instr.outputs, strict=True)
        if m is not v
    ]
    new = Instr(instr.op, tuple(inputs), made, instr.attrs, instr.path)
    r.graph.instrs[place : place + 1] = [new, *back]
