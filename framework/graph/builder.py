"""Builder: adds instructions to a graph; shapes and dtypes follow from the table of ops."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lamina.core.naming import snake_case
from lamina.graph.base import GraphBase
from lamina.graph.dims import Dims
from lamina.graph.ir import Instr, Value
from lamina.graph.opset import OPSET
from lamina.graph.verify import check_attributes, infer

SMALL = 4096
"""Constants of at most so many bytes are kept once, however often they are asked for."""


class Builder:
    """Writes a graph, an instruction at a time.

    Args:
        name: the graph's name.
        names: names already taken, such as those of the graph around it.

    Example:
        >>> b = Builder("twice")
        >>> x = b.input("x", (3,), "float32")
        >>> y = b.emit("Mul", [x, b.constant(np.float32(2))])
        >>> b.finish([y]).instrs
        [%mul: float32(3,) = Mul(%x, %const)]
    """

    def __init__(self, name: str = "graph", names: dict[str, int] | None = None):
        self.graph = GraphBase(name)
        self.path = ""
        self.root: str | None = None
        self.keep: frozenset[str] = frozenset()
        self.whole: frozenset[str] = frozenset()  # primitives that become custom ops, though they could be lowered
        self._names: dict[str, int] = {} if names is None else names
        self._made: dict[Value, Instr] = {}
        self._small: dict[tuple, Value] = {}

    # ---- names and places

    def unique(self, name: str) -> str:
        """The name, with a number behind it if it is taken."""
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return self.unique(f"{name}_{count}") if count else name

    @contextlib.contextmanager
    def at(self, path: str) -> Iterator[None]:
        """Within the scope, instructions belong to the layer at `path`."""
        before, self.path = self.path, path
        try:
            yield
        finally:
            self.path = before

    # ---- values

    def input(self, name: str, shape: Sequence[Any], dtype: Any) -> Value:
        """A new input."""
        value = Value(self.unique(name), Dims(shape), np.dtype(dtype))
        self.graph.inputs.append(value)
        self.graph.input_names.append(name)
        return value

    def constant(self, array: Any, name: str | None = None) -> Value:
        """A value that is known; small ones without a name are kept once."""
        array = np.asarray(array)
        key: tuple | None = None
        if name is None and array.nbytes <= SMALL:
            key = (array.dtype.name, array.shape, hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest())
            if key in self._small:
                return self._small[key]
        value = Value(self.unique(name or "const"), Dims(array.shape), array.dtype)
        self.graph.constants[value] = array
        if key is not None:
            self._small[key] = value
        return value

    def variable(self, path: str, array: Any, trainable: bool = True) -> Value:
        """A value that is that of a variable."""
        value = self.constant(array, path)
        self.graph.variables[value] = path
        if trainable:
            self.graph.trainable |= {path}
        return value

    def known(self, value: Value) -> Any:
        """The array of a constant that is no variable, or None."""
        return None if value in self.graph.variables else self.graph.constants.get(value)

    def maker(self, value: Value) -> Instr | None:
        """The instruction that makes a value, or None."""
        return self._made.get(value)

    # ---- instructions

    def emit(self, op: str, inputs: Sequence[Value], name: str | None = None, **attrs: Any) -> Any:
        """Adds an instruction.

        Args:
            op: a name of the table.
            inputs: its inputs.
            name: of its first output; by default made of the op and the layer.
            **attrs: its attributes; sizes as `Dims`.

        Returns:
            Its output, or a list of several.
        """
        if OPSET[op].kind in ("binary", "compare"):
            inputs = self._without_broadcasts(op, inputs)
        return self._one(self.add(Instr(op, tuple(inputs), (), attrs, self.path), name=name))

    def custom(self, name: str, run: Any, inputs: Sequence[Value], **attrs: Any) -> Any:
        """Adds an instruction of an op outside of the table: `run` is its function of arrays."""
        return self._one(self.add(Instr("Custom", tuple(inputs), (), {"name": name, "run": run, **attrs}, self.path)))

    @staticmethod
    def _one(outputs: list[Value]) -> Any:
        return outputs[0] if len(outputs) == 1 else outputs

    def add(self, instr: Instr, outputs: Sequence[Value] | None = None, name: str | None = None) -> list[Value]:
        """Adds an instruction that has no outputs yet; they are given, or follow from the table of ops."""
        check_attributes(instr, f"Graph '{self.graph.name}', {instr.label}")
        if outputs is None:
            base = name or "/".join(filter(None, [instr.path, snake_case(instr.label)]))
            outputs = [Value(self.unique(base), Dims(shape), dtype) for shape, dtype in infer(instr)]
        instr.outputs = tuple(outputs)
        self.graph.instrs.append(instr)
        self._made.update(dict.fromkeys(instr.outputs, instr))
        return list(instr.outputs)

    def _without_broadcasts(self, op: str, inputs: Sequence[Value]) -> Sequence[Value]:
        """The inputs before they were broadcast, where the op's own broadcasting does the same."""
        slim = []
        for value in inputs:
            made = self._made.get(value)
            slim.append(made.inputs[0] if made is not None and made.op == "BroadcastTo" else value)
        if all(a is b for a, b in zip(slim, inputs, strict=True)):
            return inputs
        wanted = infer(Instr(op, tuple(inputs), ()))
        for i in range(len(slim) + 1):  # all, then with one of them kept
            tried = [v if i - 1 != j else inputs[j] for j, v in enumerate(slim)]
            if infer(Instr(op, tuple(tried), ())) == wanted:
                return tried
        return inputs

    def include(self, graph: Any, inputs: Sequence[Value]) -> list[Value]:
        """Adds all instructions of another graph, fed with values of this one; returns its outputs here."""
        here = dict(zip(graph.inputs, inputs, strict=True))
        for value, array in graph.constants.items():
            here[value] = self.constant(array)
        for instr in graph.instrs:
            path = "/".join(filter(None, [self.path, instr.path]))
            made = Instr(instr.op, tuple(here[v] for v in instr.inputs), (), dict(instr.attrs), path)
            made.outputs = tuple(
                Value(self.unique("/".join(filter(None, [path, snake_case(instr.label)]))), v.shape, v.dtype)
                for v in instr.outputs
            )
            self.graph.instrs.append(made)
            self._made.update(dict.fromkeys(made.outputs, made))
            here.update(zip(instr.outputs, made.outputs, strict=True))
        return [here[v] for v in graph.outputs]

    def finish(self, outputs: Sequence[Value], names: Sequence[str] | None = None, structure: Any = None) -> GraphBase:
        """The graph with these outputs; what they do not need is left out."""
        graph = self.graph
        graph.outputs = list(outputs)
        graph.output_names = list(names) if names is not None else [v.name for v in outputs]
        if structure is not None:
            graph.structure = structure
        return graph.prune()
