"""What a graph is: instructions in an order in which they can run, between named inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lamina.core.errors import did_you_mean
from lamina.graph.dims import Dims, names_in, shape_text
from lamina.graph.ir import Instr, Value, is_graph


@dataclass(eq=False)
class GraphBase:
    """Instructions in an order in which they can run, between named inputs and outputs.

    Attributes:
        name: a name.
        inputs: the values that are fed.
        outputs: the values that are wanted.
        instrs: the instructions; each stands after those whose outputs it takes.
        constants: the arrays of the values that are known.
        variables: the path of the variable behind a constant, for those that come of one.
        input_names: a name for each input; by default those of the values.
        output_names: a name for each output.
        trainable: the paths of the variables that an optimizer may change.
        structure: makes what the traced function returned out of a list of outputs.
    """

    name: str = "graph"
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    instrs: list[Instr] = field(default_factory=list)
    constants: dict[Value, Any] = field(default_factory=dict)
    variables: dict[Value, str] = field(default_factory=dict)
    input_names: list[str] = field(default_factory=list)
    output_names: list[str] = field(default_factory=list)
    trainable: frozenset[str] = frozenset()
    structure: Callable[[Sequence[Any]], Any] = list

    # ---- looking at it

    def values(self) -> Iterator[Value]:
        """All values: inputs, constants, and what instructions make."""
        yield from self.inputs
        yield from self.constants
        for instr in self.instrs:
            yield from instr.outputs

    def producers(self) -> dict[Value, Instr]:
        """The instruction that makes each value; inputs and constants have none."""
        return {value: instr for instr in self.instrs for value in instr.outputs}

    def users(self) -> dict[Value, list[Instr]]:
        """The instructions that take each value."""
        found: dict[Value, list[Instr]] = {}
        for instr in self.instrs:
            for value in dict.fromkeys(instr.inputs):
                found.setdefault(value, []).append(instr)
        return found

    def sizes(self) -> set[str]:
        """The named sizes in the shapes of the inputs."""
        return {name for value in self.inputs for dim in value.shape for name in names_in(dim)}

    def find(self, name: Any) -> Value:
        """A value by its name, by the name of an input or output, or by the path of a layer: then its last value.

        Raises:
            KeyError: there is none; the message suggests one.

        Example:
            >>> from lamina.graph import trace
            >>> graph = trace(lambda x: x * 2.0 + 1.0, (3,))
            >>> [i.op for i in graph.instrs], graph.find("x").shape
            (['Mul', 'Add'], (3,))
        """
        if isinstance(name, Value):
            return name
        named: dict[str, Value] = {}
        for instr in self.instrs:
            parts = instr.path.split("/") if instr.path else []
            for i in range(len(parts)):
                for key in {"/".join(parts[: i + 1]), "/".join(parts[i:])}:
                    named[key] = instr.output
        named.update({value.name: value for value in self.values()})
        named.update(zip(self.output_names, self.outputs, strict=False))
        named.update(zip(self.input_names, self.inputs, strict=False))
        key = name.removesuffix(":0") if isinstance(name, str) else name
        if key not in named:
            raise KeyError(f"Graph '{self.name}': no value is named {name!r}.{did_you_mean(str(name), named)}")
        return named[key]

    def text(self) -> str:
        """The graph as text, an instruction a line.

        Example:
            >>> from lamina.graph import trace
            >>> print(trace(lambda x: x * 2.0, (3,), name="twice").text())
            graph twice(%x: float32(3,)) {
              const %const: float32() = 2
              %mul: float32(3,) = Mul(%x, %const)
              return %mul
            }
        """
        return "\n".join(self._lines(""))

    def _lines(self, indent: str) -> Iterator[str]:
        yield f"{indent}graph {self.name}({', '.join(map(repr, self.inputs))}) {{"
        for value, array in self.constants.items():
            what = f"variable '{self.variables[value]}'" if value in self.variables else "const"
            shown = f" = {np.asarray(array).item():g}" if not value.shape and value.dtype.kind in "fiu" else ""
            yield f"{indent}  {what} {value!r}{shown}"
        for instr in self.instrs:
            attrs = "".join(
                f", {k}={_attribute_text(v)}" for k, v in instr.attrs.items() if not is_graph(v) and k != "run"
            )
            path = f"  # {instr.path}" if instr.path else ""
            yield f"{indent}  {repr(instr)[:-1]}{attrs}){path}"
            for key, sub in instr.attrs.items():
                if is_graph(sub):
                    yield f"{indent}  {key}:"
                    yield from sub._lines(indent + "    ")
        yield f"{indent}  return {', '.join('%' + v.name for v in self.outputs)}"
        yield f"{indent}}}"

    __str__ = text

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} '{self.name}': {len(self.instrs)} instructions, {len(self.constants)} constants>"
        )

    # ---- changing it

    def copy(self) -> GraphBase:
        """A graph of its own with the same values: passes change the copy."""
        return type(self)(
            self.name,
            list(self.inputs),
            list(self.outputs),
            [Instr(i.op, i.inputs, i.outputs, dict(i.attrs), i.path) for i in self.instrs],
            dict(self.constants),
            dict(self.variables),
            list(self.input_names),
            list(self.output_names),
            self.trainable,
            self.structure,
        )

    def replace(self, replaced: dict[Value, Value]) -> None:
        """Lets all who take a value take another in its place."""
        if not replaced:
            return

        def last(value: Value) -> Value:
            while value in replaced:
                value = replaced[value]
            return value

        for instr in self.instrs:
            instr.inputs = tuple(map(last, instr.inputs))
        self.outputs = list(map(last, self.outputs))

    def prune(self, outputs: Iterable[Value] | None = None) -> GraphBase:
        """A copy with only the instructions and constants that the outputs (or others given) need; inputs stay."""
        kept = self.copy()
        if outputs is not None:
            kept.outputs = list(outputs)
            kept.output_names = [v.name for v in kept.outputs]
            kept.structure = list
        wanted, instrs = set(kept.outputs), []
        for instr in reversed(kept.instrs):
            if wanted.intersection(instr.outputs):
                instrs.append(instr)
                wanted.update(instr.inputs)
        kept.instrs = instrs[::-1]
        kept.constants = {v: a for v, a in kept.constants.items() if v in wanted}
        kept.variables = {v: p for v, p in kept.variables.items() if v in wanted}
        return kept


def _attribute_text(value: Any) -> str:
    return shape_text(value) if isinstance(value, Dims) else f"{value}"
