"""Graphs of operations: traced from models and functions, run in parts, differentiated, optimised, drawn, split."""

from lamina.graph import control, indexing, named, primitives, windows  # noqa: F401  they fill the tables of rules
from lamina.graph.graph import Graph
from lamina.graph.ir import Instr, Value
from lamina.graph.opset import OPSET, OpDef
from lamina.graph.session import Session
from lamina.graph.trace import tag, trace

__all__ = ["OPSET", "Graph", "Instr", "OpDef", "Session", "Value", "tag", "trace"]
