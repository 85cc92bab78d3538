"""The layers of a model as graphs for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jax

from lamina.layers.layer import Layer
from lamina.wire.graph import GraphDef
from lamina.wire.tensor import NUMBERS, shape_proto


def model_graph(model: Any) -> Any:
    """The layers of a model as a `GraphDef`: a node for each call of a layer or op, an edge for each tensor.

    Nested models are scopes. Of a subclassed model the layers are known, but not which calls which: its nodes have no
    edges.

    Example:
        >>> from lamina import Input, Sequential, layers
        >>> model = Sequential([Input((4,), name="x"), layers.Dense(2, name="out")], name="net")
        >>> [(node.name, node.op, list(node.input)) for node in model_graph(model).node]
        [('net/x', 'InputLayer', []), ('net/out', 'Dense', ['net/x'])]
    """
    graph = GraphDef()
    graph.versions.producer = 22
    _add_model(graph, model, model.name, None)
    return graph


def conceptual_graph(model: Any) -> str | None:
    """The layers of a model in the JSON of TensorBoard's conceptual graph; None if the model cannot be saved as JSON.

    It is `model.to_json()` with those arguments of calls left out that are no tensors, which TensorBoard cannot read.

    Example:
        >>> from lamina import Input, Sequential, layers
        >>> text = conceptual_graph(Sequential([Input((4,)), layers.Dense(2, name="out")]))
        >>> json.loads(text)["config"]["layers"][1]["config"]["name"]
        'out'
    """
    if model.network is None:
        return None
    try:
        config = json.loads(model.to_json())
    except (NotImplementedError, TypeError, ValueError):  # a layer without a config
        return None
    _keep_tensors(config)
    return json.dumps(config)


def _keep_tensors(layer: dict[str, Any]) -> None:
    for call in layer.get("inbound_nodes") or []:
        call["args"], call["kwargs"] = [list(_tensors([call.get("args"), call.get("kwargs")]))], {}
    for inner in layer["config"].get("layers") or []:
        _keep_tensors(inner)


def _tensors(value: Any) -> Iterator[dict]:
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _tensors(inner)


def _add_model(graph: Any, model: Any, scope: str, sources: list[str] | None) -> list[str]:
    """Adds the nodes of a model.

    Args:
        graph: the GraphDef to add to.
        model: the model.
        scope: what the names of its nodes start with.
        sources: the tensors that its inputs get; None if they are the inputs of the graph.

    Returns:
        The names of the tensors that it returns.
    """
    network = getattr(model, "network", None)
    if network is None:
        return _add_layers(graph, model, scope, sources)
    known: dict[tuple[int, int], str] = {}  # by call, and place among its results

    def names(symbols: list[Any]) -> list[str]:
        makers = [network.maker(s) for s in symbols]
        return [known[id(node), index] for node, index in makers]

    entries = {id(s.node): i for i, s in enumerate(network.input_symbols)}
    place = {id(node): (o, n) for o in network.operations for n, node in enumerate(o.nodes)}
    order = [*(s.node for s in network.input_symbols), *(n for n in network.nodes if id(n) not in entries)]
    for node in order:
        operation, number = place[id(node)]
        name = f"{scope}/{operation.name}" + (f"_call_{number + 1}" if number else "")
        if id(node) in entries:
            inputs = [] if sources is None else [sources[min(entries[id(node)], len(sources) - 1)]]
        else:
            inputs = list(dict.fromkeys(names(node.inputs)))
        symbols = jax.tree.leaves(node.outputs)
        if getattr(node.operation, "network", None) is not None:
            results = _add_model(graph, node.operation, name, names(node.inputs))
        else:
            _add_node(graph, name, operation.class_name, inputs, symbols, operation.target)
            results = [name if i == 0 else f"{name}:{i}" for i in range(len(symbols))]
        known.update({(id(node), i): result for i, result in enumerate(results)})
    return names(network.output_symbols)


def _add_layers(graph: Any, model: Any, scope: str, sources: list[str] | None) -> list[str]:
    """Adds the layers of a model of which no calls are known."""
    for name, layer in model._children():
        name = f"{scope}/{name if layer.auto_named else layer.name}"
        if getattr(layer, "layers", None) and hasattr(layer, "network"):
            _add_model(graph, layer, name, None)
        else:
            outputs = jax.tree.leaves(layer._nodes[-1].outputs) if layer._nodes else []
            _add_node(graph, name, type(layer).__name__, [], outputs, layer)
    return [scope]


def _add_node(graph: Any, name: str, kind: str, inputs: list[str], symbols: list[Any], target: Any) -> None:
    node = graph.node.add(name=name, op=kind, input=inputs)
    for symbol in symbols:
        shape = tuple(-1 if d is None else d for d in symbol.shape)
        node.attr["_output_shapes"].list.shape.append(shape_proto(shape))
    if symbols:
        number = next((n for dtype, n in NUMBERS.items() if dtype.name == symbols[0].dtype), None)
        if number is not None:
            node.attr["dtype"].type = number
    if isinstance(target, Layer) and target.weights:
        node.attr["parameters"].i = sum(v.size for v in target.weights)
        node.attr["trainable"].b = bool(target.trainable)
