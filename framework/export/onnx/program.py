"""Program: an ONNX model that runs, node by node, on arrays or in a trace."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lamina.core.errors import listing
from lamina.export.onnx import read_arrays, read_layers  # noqa: F401  they fill the table of ops
from lamina.export.onnx.attributes import Attributes
from lamina.export.onnx.read_math import READ
from lamina.export.onnx.read_recurrent import CONTROL
from lamina.export.onnx.tensors import ExternalFiles, to_array
from lamina.export.tensorflow.host_ops import State
from lamina.graph.trace import layer_of

DOMAINS = ("", "ai.onnx")
DEEPEST = 32
_LARGE = 1024


class Program:
    """Runs an ONNX model.

    Attributes:
        held: the tensors in the file, by name.
        state: those of them that are large weights, which a caller passes back to `run`, traced or not.

    Args:
        model: a ModelProto.
        files: the files beside it.

    Raises:
        ValueError: the graph is no graph.
        DataLossError: a tensor's bytes do not fit its shape.
    """

    def __init__(self, model: Any, files: ExternalFiles):
        self.graph, self.files = model.graph, files
        versions = [v.version for v in model.opset_import if v.domain in DOMAINS]
        self.opset = versions[0] if versions else 1
        self.state = State()
        self.held = self.tensors(model.graph)
        for name, array in self.held.items():
            if array.size > _LARGE and (array.dtype.kind not in "iub" or array.dtype.name in ("int8", "uint8")):
                self.state.variables[name] = array

    def tensors(self, graph: Any) -> dict[str, np.ndarray]:
        """The tensors that a graph holds, by name."""
        if graph.sparse_initializer:
            raise ValueError("sparse tensors are not supported.")
        found = {t.name: to_array(t, self.files) for t in graph.initializer}
        if len(found) != len(graph.initializer):
            raise ValueError(f"graph '{graph.name}' holds two tensors of one name.")
        return found

    def ops(self, graph: Any, depth: int = 0) -> Iterator[tuple[str, str]]:
        """Domain and name of all ops, those in graphs inside too."""
        if depth > DEEPEST:
            raise ValueError(f"graphs lie more than {DEEPEST} deep in each other.")
        for node in graph.node:
            yield node.domain, node.op_type
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    yield from self.ops(attribute.g, depth + 1)

    def check(self, fetches: Sequence[str], what: str) -> None:
        """Raises ValueError, with all ops that are not supported."""
        unknown = {
            f"{domain}.{op}" if domain not in DOMAINS else op
            for domain, op in self.ops(self.graph)
            if domain not in DOMAINS or (op not in READ and op not in CONTROL)
        }
        if unknown:
            raise ValueError(f"{what}: the ops {listing(sorted(map(str, unknown)), 'and')} cannot be run.")

    def needs_host(self, fetches: Sequence[str]) -> bool:
        """Whether something cannot be compiled: nothing here."""
        return False

    def run(self, fetches: Sequence[str], feeds: Mapping[str, Any], variables: Mapping[str, Any]) -> list[Any]:
        """The values of some tensors.

        Args:
            fetches: names of tensors.
            feeds: the values of the inputs by name.
            variables: the values of large weights by name.
        """
        known = {**self.held, **variables, **feeds}
        return self._run(self.graph, fetches, known, {})

    def _run(self, graph: Any, fetches: Sequence[str], own: dict[str, Any], outer: Mapping[str, Any]) -> list[Any]:
        for node in _needed(graph, fetches):
            inputs = [None if not name else _get(name, own, outer, node) for name in node.input]
            while inputs and inputs[-1] is None:
                inputs.pop()
            attributes = Attributes(node, self.opset, lambda tensor: to_array(tensor, self.files))
            try:
                with layer_of(node.name if isinstance(node.name, str) else ""):
                    if node.op_type in CONTROL:
                        seen = {**outer, **own}
                        inner = functools.partial(self._inner, outer=seen)
                        out = CONTROL[node.op_type](inner, attributes, *inputs)
                    else:
                        out = READ[node.op_type](attributes, *inputs)
            except (
                TypeError, ValueError, IndexError, KeyError, AttributeError, ZeroDivisionError, OverflowError,
                NotImplementedError,
            ) as error:  # fmt: skip
                if str(error).startswith("Node '"):
                    raise
                raise ValueError(f"Node '{node.name or node.output[0]}' ({node.op_type}): {error}") from error
            out = list(out) if isinstance(out, (list, tuple)) else [out]
            if len(out) < sum(map(bool, node.output)):
                raise ValueError(
                    f"Node '{node.name}' ({node.op_type}): has {len(out)} outputs, not {len(node.output)}."
                )
            own.update((name, value) for name, value in zip(node.output, out, strict=False) if name)
        return [_get(name, own, outer, None) for name in fetches]

    def _inner(self, graph: Any, inputs: Sequence[Any], outer: Mapping[str, Any]) -> list[Any]:
        """The outputs of a graph inside."""
        if len(graph.input) != len(inputs):
            raise ValueError(f"graph '{graph.name}' takes {len(graph.input)} inputs, got {len(inputs)}.")
        own = {**self.tensors(graph), **{i.name: x for i, x in zip(graph.input, inputs, strict=True)}}
        return self._run(graph, [o.name for o in graph.output], own, outer)


def _get(name: str, own: Mapping[str, Any], outer: Mapping[str, Any], node: Any) -> Any:
    if name in own:
        return own[name]
    if name in outer:
        return outer[name]
    where = f"Node '{node.name}' ({node.op_type}): takes" if node is not None else "The graph gives"
    raise ValueError(f"{where} '{name}', which nothing before it makes.")


def _needed(graph: Any, fetches: Sequence[str]) -> list[Any]:
    """The nodes behind some tensors, in the order of the file."""
    wanted, kept = set(fetches), []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    wanted.update(_names(attribute.g))
    return kept[::-1]


def _names(graph: Any) -> Iterator[str]:
    """All names that a graph inside takes, from wherever they come."""
    yield from (o.name for o in graph.output)
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _names(attribute.g)
