"""What passes have in common: new constants, new instructions, and questions about a graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.core.naming import free_name
from lamina.graph.ir import Instr, Value, is_floating
from lamina.graph.verify import infer


class Rewriter:
    """A copy of a graph that a pass changes.

    Args:
        graph: the graph; it stays as it is.
    """

    def __init__(self, graph: Any):
        self.graph = graph.copy()
        self.graph.outputs = list(graph.outputs)
        self.producers = graph.producers()
        self.users = graph.users()
        self.replaced: dict[Value, Value] = {}
        self._names = {v.name for v in graph.values()}

    def unique(self, name: str) -> str:
        """A name that no value has."""
        chosen = free_name(name, self._names)
        self._names.add(chosen)
        return chosen

    def constant(self, array: Any, name: str) -> Value:
        """A new constant."""
        array = np.asarray(array)
        value = Value(self.unique(name), tuple(array.shape), array.dtype)
        self.graph.constants[value] = array
        return value

    def known(self, value: Value) -> Any:
        """The array of a constant, or None."""
        array = self.graph.constants.get(value)
        return None if array is None else np.asarray(array)

    def is_number(self, value: Value, number: float) -> bool:
        """Whether a value is a constant of which all elements are a number."""
        array = self.known(value)
        return (
            array is not None
            and array.size > 0
            and (array.dtype.kind in "iu" or is_floating(array.dtype))
            and bool(np.all(array == number))
        )

    def made_by(self, value: Value, *ops: str) -> Instr | None:
        """The instruction that makes a value, if it is one of the ops."""
        instr = self.producers.get(value)
        return instr if instr is not None and instr.op in ops else None

    def only_use(self, value: Value) -> bool:
        """Whether one instruction takes a value, and it is no output."""
        return len(self.users.get(value, [])) == 1 and value not in self.graph.outputs

    def swap(self, instr: Instr, op: str, inputs: Any, path: str | None = None, **attrs: Any) -> Instr:
        """Puts another instruction that makes the same values in the place of one, in its layer or in another."""
        new = Instr(op, tuple(inputs), instr.outputs, attrs, instr.path if path is None else path)
        place = next(i for i, other in enumerate(self.graph.instrs) if other.outputs == instr.outputs)
        self.graph.instrs[place] = new
        self.producers.update(dict.fromkeys(instr.outputs, new))
        return new

    def before(self, instr: Instr, op: str, inputs: Any, name: str, path: str | None = None, **attrs: Any) -> Value:
        """Adds an instruction of one output in front of another, in its layer or in another."""
        new = Instr(op, tuple(inputs), (), attrs, instr.path if path is None else path)
        shape, dtype = infer(new)[0]
        new.outputs = (Value(self.unique(name), shape, dtype),)
        place = next(i for i, other in enumerate(self.graph.instrs) if other.outputs == instr.outputs)
        self.graph.instrs.insert(place, new)
        self.producers[new.output] = new
        return new.output

    def done(self) -> Any:
        """The changed graph, without what nothing needs any more."""
        self.graph.replace(self.replaced)
        return self.graph.prune()
