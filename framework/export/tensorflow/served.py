"""A graph with its ways in and out: what callers feed, and the signatures that they call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lamina.export.tensorflow.host_nodes import HostNodes, Node, open_shape
from lamina.graph.base import GraphBase
from lamina.wire.graph import SignatureDef
from lamina.wire.nodes import tensor_shape
from lamina.wire.tensor import NUMBERS

PREDICT = "tensorflow/serving/predict"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"


@dataclass(frozen=True)
class Signature:
    """A way to call a model.

    Args:
        inputs: what is fed, by key.
        outputs: what comes of it, by key.
        method: `PREDICT`, `CLASSIFY` or `REGRESS`: what servers take it for.
    """

    inputs: Mapping[str, Node]
    outputs: Mapping[str, Node]
    method: str = PREDICT

    def message(self) -> Any:
        """The signature as it stands in a file."""
        made = SignatureDef(method_name=self.method)
        for side, nodes in ((made.inputs, self.inputs), (made.outputs, self.outputs)):
            for key, x in nodes.items():
                info = side[key]
                info.name, info.dtype = f"{x.tensor.node}:{x.tensor.output}", NUMBERS[x.dtype]
                info.tensor_shape.CopyFrom(tensor_shape(open_shape(x.shape)))
        return made


class Served:
    """A graph that is fed as it is, in one signature; a subclass puts nodes around it.

    Args:
        name: the signature's name.
        graph: the graph.
    """

    def __init__(self, name: str, graph: GraphBase):
        self.name, self.graph = name, graph

    def feed(self, nodes: HostNodes) -> list[Node]:
        """What callers feed, and the nodes that make the inputs of the graph of it."""
        graph = self.graph
        self._inputs = {
            name: nodes.placeholder(name, value.dtype, value.shape)
            for name, value in zip(graph.input_names, graph.inputs, strict=True)
        }
        return list(self._inputs.values())

    def finish(self, nodes: HostNodes, outputs: list[Node]) -> dict[str, Signature]:
        """The signatures, from the outputs of the graph."""
        named = dict(zip(self.graph.output_names, outputs, strict=True))
        return {self.name: Signature(self._inputs, {k: named_output(nodes, k, x) for k, x in named.items()})}


def named_output(nodes: HostNodes, name: str, x: Node) -> Node:
    """A node that is called as an output is."""
    return replace(x, tensor=nodes.emitter.node("Identity", [x.tensor], name, T=x.dtype))
