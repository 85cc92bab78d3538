"""Program: a GraphDef that runs, with the functions of its library, its variables and its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jax import export

from lamina.core.errors import did_you_mean, listing
from lamina.export.tensorflow import read_layers, record_ops  # noqa: F401  they fill the tables of ops
from lamina.export.tensorflow.emitter import MULTIPLE
from lamina.export.tensorflow.host_ops import HOST, Resource, State
from lamina.export.tensorflow.node_attrs import Attrs
from lamina.export.tensorflow.read_control import CONTROL
from lamina.export.tensorflow.read_ops import READ
from lamina.graph.trace import layer_of
from lamina.wire.tensor import STRING

HANDLES = frozenset({"VarHandleOp", "HashTableV2", "MutableHashTableV2", "VariableV2", "Variable"})
"""Host ops that only name something, and so may stand in compiled code."""
SILENT = frozenset({"NoOp", "Assert", "Print", "PrintV2", "ScalarSummary", "HistogramSummary", "MergeSummary"})
DEEPEST = 64


class Body:
    """Nodes that refer to each other: a graph, or the body of a function.

    Args:
        nodes: NodeDefs.
        arguments: the names of a function's arguments.

    Raises:
        ValueError: two nodes share a name.
    """

    def __init__(self, nodes: Any, arguments: Sequence[str] = ()):
        self.nodes: dict[str, Any] = {}
        self.arguments = tuple(arguments)
        for node in nodes:
            if node.name in self.nodes:
                raise ValueError(f"The graph has two nodes named '{node.name}'.")
            self.nodes[node.name] = node

    def parse(self, reference: str) -> tuple[str, int]:
        """The node that a reference names, and which of its outputs."""
        parts = reference.split(":")
        name = parts[0]
        if name not in self.nodes and name not in self.arguments:
            raise ValueError(f"The graph refers to '{reference}', but has no node '{name}'.")
        try:
            index = int(parts[-1]) if len(parts) > 1 else 0
        except ValueError:
            index = 0
        if len(parts) == 3 and name in self.nodes:
            names = MULTIPLE.get(self.nodes[name].op, ())
            index += names.index(parts[1]) if parts[1] in names else 0
        if index < 0:
            raise ValueError(f"The graph refers to '{reference}', which is no output of a node.")
        return name, index

    def inputs(self, name: str, control: bool = False) -> list[str]:
        """The references of a node; with `control` also the nodes that must run before it."""
        given = self.nodes[name].input
        return [i.lstrip("^") for i in given if control or not i.startswith("^")]

    def order(self, fetches: Sequence[str], known: Any = (), control: bool = False) -> list[str]:
        """The nodes behind the fetches, each after those that it needs.

        Raises:
            ValueError: a node is missing, or nodes need each other in a circle.
        """
        done: set[str] = set()
        open_: set[str] = set()
        order: list[str] = []
        stack = [(self.parse(f)[0], False) for f in reversed(fetches)]
        while stack:
            name, leaving = stack.pop()
            if leaving:
                open_.discard(name)
                done.add(name)
                order.append(name)
            elif name not in done and name not in known and name in self.nodes:
                if name in open_:
                    raise ValueError(f"The nodes of the graph need each other in a circle that '{name}' is part of.")
                open_.add(name)
                stack.append((name, True))
                stack.extend((self.parse(i)[0], False) for i in reversed(self.inputs(name, control)))
        return order


class Program:
    """Runs parts of a GraphDef.

    Args:
        graph_def: the message.
        state: variables and tables.
    """

    def __init__(self, graph_def: Any, state: State | None = None):
        self.body = Body(graph_def.node)
        self.state = State() if state is None else state
        self.functions = {f.signature.name: f for f in graph_def.library.function}
        self._bodies: dict[str, Body] = {}

    def function_body(self, name: str) -> Body:
        """The body of a function of the library."""
        if name not in self.functions:
            raise ValueError(f"The graph calls a function '{name}' that its library has not.")
        if name not in self._bodies:
            function = self.functions[name]
            self._bodies[name] = Body(function.node_def, [a.name for a in function.signature.input_arg])
        return self._bodies[name]

    def passed_through(self, name: str, count: int) -> set[int]:
        """The arguments of a function that it returns as they are, in the same place."""
        function, body = self.functions[name], self.function_body(name)
        same = set()
        for i, output in enumerate(function.signature.output_arg):
            reference = function.ret[output.name]
            while (source := body.parse(reference)[0]) in body.nodes and body.nodes[source].op == "Identity":
                reference = body.nodes[source].input[0]
            if i < count and source == body.arguments[i]:
                same.add(i)
        return same

    def ops(self, fetches: Sequence[str], control: bool = False) -> Iterator[str]:
        """The ops behind the fetches, those in functions too."""
        seen: set[str] = set()

        def walk(body: Body, wanted: Sequence[str]) -> Iterator[str]:
            for name in body.order(wanted, control=control):
                node = body.nodes[name]
                yield node.op
                for value in node.attr.values():
                    called = value.func.name
                    if called and called not in seen:
                        seen.add(called)
                        yield from walk(self.function_body(called), list(self.functions[called].ret.values()))

        yield from walk(self.body, fetches)

    def check(self, fetches: Sequence[str], what: str) -> None:
        """Raises ValueError, with all ops behind the fetches that are not supported."""
        unknown = {op for op in self.ops(fetches) if not _is_supported(op)}
        if unknown:
            raise ValueError(f"{what}: the ops {listing(sorted(unknown), 'and')} cannot be run.")

    def needs_host(self, fetches: Sequence[str]) -> bool:
        """Whether strings, tables or shapes that follow from values stand behind the fetches."""
        text = (self.body.nodes[name].attr["dtype"].type == STRING for name in self.body.order(fetches))
        return any(text) or any(op in HOST and op not in HANDLES for op in self.ops(fetches))

    def run(
        self, fetches: Sequence[str], feeds: Mapping[str, Any], variables: Mapping[str, Any], control: bool = False
    ) -> list[Any]:
        """The values of some outputs, given those of others.

        Args:
            fetches: references, such as `"dense/BiasAdd:0"`.
            feeds: values by the names of nodes.
            variables: the values of variables by name.
            control: whether nodes that are only to run before others are run.
        """
        known = {name: [value] for name, value in feeds.items()}
        return self._run(self.body, fetches, known, variables, control, 0)

    def _run(
        self, body: Body, fetches: Sequence[str], known: dict[str, list[Any]], variables: Any, control: bool, depth: int
    ) -> list[Any]:
        if depth > DEEPEST:
            raise ValueError(f"The functions of the graph call each other more than {DEEPEST} deep.")

        def get(reference: str) -> Any:
            name, index = body.parse(reference)
            found = known[name]
            if index >= len(found):
                raise ValueError(f"The graph refers to '{reference}', but '{name}' has {len(found)} outputs.")
            return found[index]

        for name in body.order(fetches, known, control):
            node = body.nodes[name]
            inputs = [get(i) for i in body.inputs(name)]
            try:
                with (
                    layer_of(name),
                    np.errstate(all="ignore"),
                ):  # what numpy computes of constants is not for the user to hear of
                    out = self._node(node, inputs, variables, control, depth)
            except (TypeError, ValueError, IndexError, KeyError, AttributeError, ZeroDivisionError) as error:
                if str(error).startswith("Node '"):
                    raise
                raise ValueError(f"Node '{name}' ({node.op}): {error}") from error
            out = out if isinstance(out, (list, tuple)) else [out]
            known[name] = [np.asarray(x, object) if isinstance(x, int) or export.is_symbolic_dim(x) else x for x in out]
        return [get(f) for f in fetches if body.parse(f)[0] in known and known[body.parse(f)[0]]]

    def _node(self, node: Any, inputs: list[Any], variables: Any, control: bool, depth: int) -> Any:
        attrs = Attrs(node)
        if node.op in ("ReadVariableOp", "Identity") and inputs and isinstance(inputs[0], Resource):
            return _read(inputs[0], variables)
        if node.op == "ResourceGather":
            inputs = [_read(inputs[0], variables), *inputs[1:]]
        if node.op in READ:
            return READ[node.op](attrs, *inputs)
        if node.op in HOST:
            plain = [x if isinstance(x, Resource) else np.asarray(x) for x in inputs]
            return HOST[node.op](self.state, attrs, *plain)
        if node.op in SILENT:
            return []
        if node.op in CONTROL:
            return CONTROL[node.op](_Caller(self, variables, control, depth), attrs, *inputs)
        if node.op == "Placeholder":
            raise ValueError("this input is not fed.")
        raise ValueError(f"the op cannot be run.{did_you_mean(node.op, [*READ, *CONTROL])}")


class _Caller:
    """Calls functions of the library."""

    def __init__(self, program: Program, variables: Any, control: bool, depth: int):
        self.program, self.variables, self.control, self.depth = program, variables, control, depth

    def __call__(self, name: str, inputs: Sequence[Any]) -> list[Any]:
        body, function = self.program.function_body(name), self.program.functions[name]
        if len(inputs) != len(body.arguments):
            raise ValueError(f"function '{name}' takes {len(body.arguments)} arguments, got {len(inputs)}.")
        known = {argument: [value] for argument, value in zip(body.arguments, inputs, strict=True)}
        wanted = [function.ret[o.name] for o in function.signature.output_arg]
        if self.control:
            extra = [n for n in function.control_ret.values()]
            self.program._run(body, extra, known, self.variables, True, self.depth + 1)
        return self.program._run(body, wanted, known, self.variables, self.control, self.depth + 1)


def _read(handle: Resource, variables: Any) -> Any:
    if handle.name not in variables:
        raise ValueError(f"variable '{handle.name}' has no value.{did_you_mean(handle.name, variables)}")
    return variables[handle.name]


def _is_supported(op: str) -> bool:
    return op in READ or op in HOST or op in CONTROL or op in SILENT or op in ("Placeholder", "ReadVariableOp")
