"""The table of ONNX's rules: which ops are written out in others, and which need that only now and then."""

from __future__ import annotations

from typing import Any

from lamina.export.rules import target
from lamina.graph.base import GraphBase
from lamina.graph.ir import Instr

TABLE = target("onnx")
TABLE.expanded = frozenset({"FakeQuant", "L2Normalize", "OneHot"})
OPSETS = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10}
"""Versions of the op set that can be written, with the oldest version of the file format that knows each."""


def expands(instr: Instr, graph: GraphBase, opset: int) -> bool:
    """Whether an instruction is to be written out in terms of other ops of the table."""
    if TABLE.expands(instr):
        return True
    if instr.label in TABLE.own:
        return False
    rank = len(instr.inputs[0].shape) if instr.inputs else 0
    if instr.op == "LayerNorm":
        axes: Any = tuple(instr.attrs["axes"])
        return opset < 17 or axes != tuple(range(rank - len(axes), rank))
    if instr.op == "BatchNorm":
        return rank < 2
    # ONNX has the weights of recurrent layers in another order, into which only known ones are put
    return instr.op in ("LSTM", "GRU") and any(v not in graph.constants for v in instr.inputs[-3:])
