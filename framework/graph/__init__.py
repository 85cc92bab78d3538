"""Graphs of operations: traced from models and functions, run in parts, differentiated, optimised, drawn, split.

A `Graph` is a list of `Instr`, each with the name of an op, its input and output `Value`s, attributes and the path of
its layer. Constants are values with an array; those of variables also have the variable's path. A size that is not
known is text: `"batch"`, or an expression such as `"4*batch"`; an attribute that may hold such sizes is a `Dims`.

The table of ops, `OPSET`, is one function of arrays for each op: its signature gives arity and attributes,
`jax.eval_shape` of it the shapes and dtypes (inference and verifier), running it the interpreter, and tracing it the
op written out in terms of others. Images have their channels last, kernels are (*space, in, out), and elementwise ops
broadcast.

`trace` makes a jaxpr in which named ops of lamina are kept whole (`lamina.ops.marking`); `named.py` has the rules for
those that are an op of the table, `primitives.py`, `windows.py`, `indexing.py` and `control.py` those for primitives
of jax. What has no rule becomes a `Custom` instruction that runs, and that exporters report.
"""

from lamina.graph import control, indexing, named, primitives, windows  # noqa: F401  they fill the tables of rules
from lamina.graph.graph import Graph
from lamina.graph.ir import Instr, Value
from lamina.graph.opset import OPSET, OpDef
from lamina.graph.session import Session
from lamina.graph.trace import tag, trace

__all__ = ["OPSET", "Graph", "Instr", "OpDef", "Session", "Value", "tag", "trace"]
