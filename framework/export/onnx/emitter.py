"""Emitter: writes the nodes of an ONNX graph, at top level or inside a loop or branch.

Images have their channels last in a `Graph` and first in ONNX. So that a chain of convolutions carries no transposes,
a value may be at hand with its axes in several orders, its forms: a permutation and the name of a tensor for each.
`perm` says which axis of the value each axis of the tensor is. Rules for ops that work in any order take the form that
is there and tell which one they make; a Transpose is written only where none of the forms is the wanted one.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lamina.core.naming import free_name
from lamina.export.onnx.table import TABLE
from lamina.export.onnx.tensors import NUMBERS
from lamina.export.rules import Gap, Target, Unsupported
from lamina.graph.base import GraphBase
from lamina.graph.dims import Dim, parse
from lamina.graph.ir import Instr, Value

INT64 = np.dtype("int64")
END = 2**63 - 1
"""As the end of a slice: all that follows."""
Perm = tuple[int, ...]


@dataclass
class Node:
    """A node: what becomes a NodeProto."""

    op: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attrs: dict[str, Any] = field(default_factory=dict)
    domain: str = ""


@dataclass
class Body:
    """A graph inside a node: what becomes a GraphProto. Inputs and outputs are (name, value) pairs."""

    name: str
    nodes: list[Node]
    inputs: list[tuple[str, Value]]
    outputs: list[tuple[str, Value]]


@dataclass
class File:
    """What all graphs of a file share: names, known tensors, what could not be written, and what is quantised."""

    opset: int
    names: set[str] = field(default_factory=set)
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    known: dict[Value, np.ndarray] = field(default_factory=dict)
    written: dict[tuple, str] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    plan: Any = None

    def unique(self, name: str) -> str:
        """A name that nothing has, made of one that is wanted."""
        name = "".join(c if c.isprintable() and c != " " else "_" for c in name) or "tensor"
        chosen = free_name(name, self.names)
        self.names.add(chosen)
        return chosen


def free(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator: the rule takes the forms of its inputs itself, and gives those of its outputs."""
    rule.free = True  # type: ignore[attr-defined]
    return rule


class Emitter:
    """Writes one graph as nodes.

    Rules call `node`, `constant`, `shape` and their kin, and pass the names of tensors around.

    Args:
        file: what all graphs of the file share.
        target: the table of rules.
        outer: the emitter of the graph around this one, whose tensors can be used here.
    """

    def __init__(self, file: File, target: Target = TABLE, outer: Emitter | None = None):
        self.file, self.target, self.outer = file, target, outer
        self.nodes: list[Node] = []
        self.path: str = outer.path if outer is not None else ""
        self._forms: dict[Value, dict[Perm, str]] = {}
        self._sized: dict[str, tuple[str, int]] = {}
        self._sizes: dict[Dim, str] = {}

    @property
    def opset(self) -> int:
        """The version of the op set that is written."""
        return self.file.opset

    # ---- nodes

    def node(
        self,
        op: str,
        inputs: Sequence[str],
        name: str | None = None,
        outputs: int = 1,
        domain: str = "",
        since: int = 0,
        **attrs: Any,
    ) -> Any:
        """Adds a node.

        Args:
            op: the op in ONNX's terms.
            inputs: names of tensors; "" for one that is left out.
            name: of the node; by default made of the layer and the op.
            outputs: how many outputs it has.
            domain: of an op that is not ONNX's own.
            since: the version of the op set that it needs.
            **attrs: numbers, text, lists of them, or arrays.

        Returns:
            The name of the output, or a list of several.
        """
        if since > self.opset:
            raise Unsupported(f"{op} of ONNX needs opset={since} or later, this file has {self.opset}")
        name = self.file.unique(name or (f"{self.path}/{op}" if self.path else op))
        made = [name] if outputs == 1 else [self.file.unique(f"{name}:{i}") for i in range(outputs)]
        self.nodes.append(Node(op, name, list(inputs), made, attrs, domain))
        return made[0] if outputs == 1 else made

    def constant(self, value: Any, dtype: Any = None, name: str | None = None) -> str:
        """A known tensor; small ones without a name are written once."""
        array = np.asarray(value, dtype)
        if array.dtype not in NUMBERS:
            raise Unsupported(f"ONNX files know no dtype {array.dtype}")
        key = (array.dtype.name, array.shape, array.tobytes()) if name is None and array.nbytes <= 256 else None
        if key is not None and key in self.file.written:
            return self.file.written[key]
        made = self.file.unique(name or (f"{self.path}/Constant" if self.path else "Constant"))
        self.file.tensors[made] = array
        if key is not None:
            self.file.written[key] = made
        return made

    def ints(self, *values: int) -> str:
        """A vector of int64."""
        return self.constant(np.asarray(values, np.int64).reshape(-1))

    def cast(self, x: str, source: Any, dtype: Any) -> str:
        """`x` in another dtype."""
        source, dtype = np.dtype(source), np.dtype(dtype)
        if dtype not in NUMBERS:
            raise Unsupported(f"ONNX files know no dtype {dtype}")
        return x if source == dtype else self.node("Cast", [x], to=NUMBERS[dtype])

    def transpose(self, x: str, perm: Sequence[int]) -> str:
        """`x` with its axes in another order."""
        perm = [int(p) for p in perm]
        return x if perm == list(range(len(perm))) else self.node("Transpose", [x], perm=perm)

    def reshape(self, x: str, given: Sequence[Dim], wanted: Sequence[Dim]) -> str:
        """`x`, whose shape is `given`, in another shape; sizes that are not known are copied, or follow."""
        if tuple(given) == tuple(wanted):
            return x
        if 0 in wanted:
            return self.node("Reshape", [x, self.shape(wanted)], since=14, allowzero=1)
        unknown = [i for i, d in enumerate(wanted) if not isinstance(d, int)]
        same = [i for i in unknown if i < len(given) and given[i] == wanted[i]]
        rest = [i for i in unknown if i not in same]
        if len(rest) > 1:
            return self.node("Reshape", [x, self.shape(wanted)])
        short = [0 if i in same else -1 if i in rest else int(d) for i, d in enumerate(wanted)]
        return self.node("Reshape", [x, self.ints(*short)])

    # ---- forms

    def give(self, value: Value, name: str, perm: Sequence[int] | None = None) -> None:
        """Notes the tensor that holds a value, with its axes in the order `perm`; rounded if it is quantised."""
        stored = self.stored(value)
        self._forms[value] = {_perm(value, perm): name if stored is None else self.rounded(name, stored)}

    def stored(self, value: Value) -> Any:
        """How a value is stored as integers, or None."""
        return None if self.file.plan is None else self.file.plan.values.get(value)

    def rounded(self, name: str, stored: Any) -> str:
        """A tensor through the integers that it is stored as."""
        given = [self.constant(stored.scale, np.float32), self.constant(stored.zero, stored.dtype)]
        return self.node("DequantizeLinear", [self.node("QuantizeLinear", [name, *given]), *given])

    def forms(self, value: Value) -> dict[Perm, str]:
        """The tensors that hold a value, by the order of their axes."""
        if value in self._forms:
            return self._forms[value]
        return self.outer.forms(value) if self.outer is not None else {}

    def take(self, value: Value, perm: Sequence[int] | None = None) -> str:
        """The tensor that holds a value with its axes in the order `perm`; written if there is none."""
        wanted = _perm(value, perm)
        known = self.known(value)
        if known is not None:
            return self.weight(value, known.transpose(wanted), wanted)
        forms = self.forms(value)
        if wanted not in forms:
            have, name = next(iter(forms.items()))
            long = [[a for a in perm if value.shape[a] != 1] for perm in (have, wanted)]
            if long[0] == long[1]:  # only axes of size 1 move: no element does
                made = self.reshape(name, *([value.shape[a] for a in perm] for perm in (have, wanted)))
            else:
                made = self.transpose(name, [have.index(axis) for axis in wanted])
            stored = self.stored(value)
            made = made if stored is None else self.rounded(made, stored)
            self._forms[value] = forms = {**forms, wanted: made}
        return forms[wanted]

    def current(self, value: Value) -> tuple[Perm, str]:
        """A form of a value that is at hand: the plain one if there is a choice."""
        plain = _perm(value, None)
        forms = self.forms(value)
        if plain in forms or self.known(value) is not None:
            return plain, self.take(value)
        return next(iter(forms.items()))

    def known(self, value: Value) -> np.ndarray | None:
        """The array of a constant, or None."""
        return self.file.known.get(value)

    def weight(self, value: Value, array: np.ndarray, *key: Any) -> str:
        """The array of a constant in a layout of its own, named after the constant; `key` tells layouts apart."""
        key = (value, *key)
        if key not in self.file.written:
            name, stored = None if value.name.startswith("const") else value.name, self.stored(value)
            array = np.ascontiguousarray(array).reshape(array.shape)
            made = self.constant(array if stored is None else stored.store(array), name=name)
            if stored is not None:
                given = [made, self.constant(stored.scale, np.float32), self.constant(stored.zero, stored.dtype)]
                made = self.node("DequantizeLinear", given)
            self.file.written[key] = made
        return self.file.written[key]

    def choose(self, values: Sequence[Value], rank: int) -> Perm:
        """The order of axes in which most of some values are at hand."""
        votes: Counter[Perm] = Counter()
        for value in values:
            if len(value.shape) == rank and self.known(value) is None:
                votes.update(list(self.forms(value)))
        plain = tuple(range(rank))
        return max(votes, key=lambda p: (votes[p], p != plain)) if votes else plain

    def align(self, value: Value, perm: Perm) -> str:
        """A value as an operand that broadcasts against one of the order `perm`."""
        rank, lead = len(perm), len(perm) - len(value.shape)
        if perm == tuple(range(rank)) or not value.shape:
            return self.take(value)
        known = self.known(value)
        if known is not None:
            array = known.reshape((1,) * lead + known.shape).transpose(perm)
            first = next((i for i, d in enumerate(array.shape) if d != 1), rank - 1)
            return self.weight(value, array.reshape(array.shape[first:]), "broadcast", perm)
        if not lead:
            return self.take(value, perm)
        wide = self.node("Unsqueeze", [self.take(value), self.ints(*range(lead))])
        made, stored = self.transpose(wide, perm), self.stored(value)
        return made if stored is None else self.rounded(made, stored)

    # ---- sizes, as vectors of one int64

    def knows(self, value: Value, name: str) -> None:
        """Notes that the sizes named in the shape of a value can be had from a tensor."""
        for axis, dim in enumerate(value.shape):
            if isinstance(dim, str) and dim.isidentifier():
                self._sized.setdefault(dim, (name, axis))

    def size(self, dim: Dim) -> str:
        """A size as a vector of one element."""
        if isinstance(dim, int):
            return self.ints(dim)
        scope: Emitter | None = self
        while scope is not None:
            if dim in scope._sizes:
                return scope._sizes[dim]
            scope = scope.outer
        self._sizes[dim] = made = self._expression(parse(dim))
        return made

    def _expression(self, tree: Any) -> str:
        if isinstance(tree, ast.Constant):
            return self.ints(int(tree.value))  # type: ignore[arg-type]
        if isinstance(tree, ast.Name):
            return self._named_size(tree.id)
        if isinstance(tree, ast.UnaryOp):
            return self.node("Neg", [self.size_of(tree.operand)])
        names = {ast.Add: "Add", ast.Sub: "Sub", ast.Mult: "Mul", ast.Pow: "Pow"}
        if isinstance(tree, ast.BinOp):
            return self.node(names[type(tree.op)], [self.size_of(tree.left), self.size_of(tree.right)])
        x, y = map(self.size_of, tree.args)
        if tree.func.id == "floordiv":  # ONNX divides towards zero
            return self.node("Div", [self.node("Sub", [x, self.node("Mod", [x, y])]), y])
        return self.node({"mod": "Mod", "max": "Max", "min": "Min"}[tree.func.id], [x, y])

    def size_of(self, tree: Any) -> str:
        """The part of an expression of sizes."""
        return self._expression(tree) if isinstance(tree, ast.Constant) else self.size(ast.unparse(tree))

    def _named_size(self, name: str) -> str:
        scope: Emitter | None = self
        while scope is not None:
            if name in scope._sized:
                tensor, axis = scope._sized[name]
                return self.node("Gather", [self.node("Shape", [tensor]), self.ints(axis)], axis=0)
            scope = scope.outer
        raise Unsupported(f"the size '{name}' is that of no input")

    def shape(self, shape: Sequence[Dim]) -> str:
        """A shape as a vector of int64."""
        if all(isinstance(d, int) for d in shape):
            return self.ints(*map(int, shape))
        parts = [self.size(d) for d in shape]
        return parts[0] if len(parts) == 1 else self.node("Concat", parts, axis=0)

    def scalar_size(self, dim: Dim) -> str:
        """A size as a scalar."""
        if isinstance(dim, int):
            return self.constant(np.int64(dim))
        return self.node("Reshape", [self.size(dim), self.constant(np.zeros(0, np.int64))])

    # ---- graphs

    def graph(self, graph: GraphBase, inputs: Sequence[str]) -> list[str]:
        """Adds the instructions of a graph; what cannot be written is added to the file's gaps.

        Args:
            graph: the graph.
            inputs: the tensors of its inputs.

        Returns:
            The tensors of its outputs.
        """
        for value, name in zip(graph.inputs, inputs, strict=True):
            self.give(value, name)
        for value, array in graph.constants.items():
            self.file.known[value] = np.asarray(array)
        for instr in graph.instrs:
            self._instruction(instr)
        return [self.take(v) for v in graph.outputs]

    def _instruction(self, instr: Instr) -> None:
        outer_path, self.path = self.path, instr.path or self.path
        if self.file.plan is not None and id(instr) in self.file.plan.absorbed:
            perm, name = self.current(self.file.plan.absorbed[id(instr)])
            self.give(instr.output, name, perm)
            self.path = outer_path
            return
        rule = self.target.find(instr)
        try:
            if rule is None:
                reason = self.target.unsupported.get(instr.op, "a primitive of jax outside of the table of ops")
                raise Unsupported(reason)
            if getattr(rule, "free", False):
                rule(self, instr)
                return
            out = rule(self, instr, *(self.take(v) for v in instr.inputs))
            for value, name in zip(instr.outputs, out if isinstance(out, (list, tuple)) else [out], strict=True):
                self.give(value, name)
        except Unsupported as error:
            self.file.gaps.append(Gap(instr.label, instr.path, str(error)))
            for value in instr.outputs:
                self.give(value, "gap")
        finally:
            self.path = outer_path

    def inner(self) -> Emitter:
        """An emitter for a graph inside a node of this one."""
        return Emitter(self.file, self.target, self)

    def own(self, name: str) -> str:
        """A tensor of this graph that is the same as another: graphs inside must make what they give."""
        made = {output for node in self.nodes for output in node.outputs}
        return name if name in made else self.node("Identity", [name])


def _perm(value: Value, perm: Sequence[int] | None) -> Perm:
    return tuple(range(len(value.shape))) if perm is None else tuple(int(p) for p in perm)
