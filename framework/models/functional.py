"""Functional models as plain values, in Keras 3's format, and back."""

from __future__ import annotations

from typing import Any

from lamina.core import registry
from lamina.core.config import deserialize_object, deserialize_value, serialize_object, serialize_value
from lamina.core.errors import listing
from lamina.layers.input_layer import InputLayer
from lamina.layers.layer import Layer
from lamina.models.network import Network, Operation
from lamina.models.op_config import call_op, is_op_config, op_config, op_from_config
from lamina.ops.symbol import Symbol, symbols_in


def network_config(network: Network) -> dict[str, Any]:
    """A graph as plain values.

    Returns:
        A dict of `layers` (an entry for each layer with all its calls, and for each call of an op), `input_layers` and
        `output_layers` (each a structure of [name, number of the call, number of the output]).
    """
    places = {id(n): (o, i) for o in network.operations for i, n in enumerate(o.nodes)}

    def history(symbol: Symbol) -> list[Any]:
        node, index = network.maker(symbol)
        operation, number = places[id(node)]
        return [operation.name, number, index]

    def encode(x: Any) -> Any:
        if isinstance(x, Symbol):
            inner = {"shape": list(x.shape), "dtype": x.dtype, "keras_history": history(x)}
            return {"class_name": "__keras_tensor__", "config": inner}
        if isinstance(x, dict):
            return {k: encode(v) for k, v in x.items()}
        if isinstance(x, (list, tuple)):
            return [encode(v) for v in x]
        return serialize_value(x)

    def entry(operation: Operation) -> dict[str, Any]:
        if not operation.is_layer:
            return op_config(operation.target, operation.name, encode, operation.nodes[0])
        calls = [call(n) for n in operation.nodes if not isinstance(operation.target, InputLayer)]
        return {**serialize_object(operation.target), "name": operation.name, "inbound_nodes": calls}

    def call(node: Any) -> dict[str, Any]:
        encoded = {"args": encode(node.args), "kwargs": encode(node.kwargs)}
        # Keras writes `training` for every call, and lets the model's override it: ours, which holds, needs a mark.
        return {**encoded, "fixed_training": True} if node.kwargs.get("training") is not None else encoded

    def place(x: Any) -> Any:
        if isinstance(x, Symbol):
            name, number, index = history(x)
            return [name, number + _first_number(network.maker(x)[0].operation), index]
        if isinstance(x, dict):
            return {k: place(v) for k, v in x.items()}
        return [place(v) for v in x]

    return {
        "layers": [entry(o) for o in network.operations],
        "input_layers": place(network.inputs),
        "output_layers": place(network.outputs),
    }


def _first_number(operation: Any) -> int:
    """The number of the first call in `input_layers` and `output_layers`: Keras counts a functional model's own graph
    as its call number 0 there, though not in the arguments of calls.
    """
    graph = getattr(operation, "network", None) is not None
    return int(graph and "Sequential" not in [c.__name__ for c in type(operation).__mro__])


def network_from_config(config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> tuple[Any, Any]:
    """(inputs, outputs) of the graph that `network_config` described.

    Raises:
        ValueError: a class or op is unknown, or calls wait for outputs that nothing makes.
    """
    with registry.custom_object_scope(custom_objects or {}):
        made = {c["name"]: op_from_config(c) if is_op_config(c) else _layer(c) for c in config["layers"]}
        outputs: dict[tuple[str, int], list[Symbol]] = {
            (name, 0): [one.output] for name, one in made.items() if isinstance(one, InputLayer)
        }

        def decode(x: Any) -> Any:
            if isinstance(x, dict) and x.get("class_name") == "__keras_tensor__":
                name, number, index = x["config"]["keras_history"]
                return outputs[name, number][index]
            if isinstance(x, list):
                return [decode(v) for v in x]
            if isinstance(x, dict) and "class_name" not in x:
                return {k: decode(v) for k, v in x.items()}
            return deserialize_value(x)

        waiting = [
            (c, number, call) for c in config["layers"] for number, call in enumerate(c.get("inbound_nodes", []))
        ]
        while waiting:
            left = []
            for c, number, call in waiting:
                try:
                    args, kwargs = decode(call["args"]), decode(call["kwargs"])
                except KeyError:  # an input that is not made yet
                    left.append((c, number, call))
                    continue
                target = made[c["name"]]
                if isinstance(target, Layer):
                    result = target(*args, **_given(kwargs, call))
                else:
                    result = call_op(target, args, kwargs, deserialize_value(c["config"]))
                outputs[c["name"], number] = symbols_in(result)
            if len(left) == len(waiting):
                names = sorted({c["name"] for c, _, _ in left})
                raise ValueError(f"The config's layers {listing(names, 'and')} wait for outputs that no layer makes.")
            waiting = left

        def find(x: Any) -> Any:
            if isinstance(x, dict):
                return {k: find(v) for k, v in x.items()}
            if len(x) == 3 and isinstance(x[0], str):
                name, number, index = x
                return outputs[name, number - _first_number(made[name])][index]
            return [find(v) for v in x]

        return find(config["input_layers"]), find(config["output_layers"])


def _given(kwargs: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments of a call without those that Keras writes though nobody gave them."""
    kwargs = dict(kwargs)
    if not call.get("fixed_training"):
        kwargs.pop("training", None)
    if kwargs.get("mask", 0) is None:
        del kwargs["mask"]
    return kwargs


def _layer(config: dict[str, Any]) -> Layer:
    layer = deserialize_object(config, family="layers")
    if not isinstance(layer, Layer):
        raise ValueError(f"The entry '{config['name']}' of the config describes {layer!r}, which is not a layer.")
    return layer


def functional_from_config(cls: type, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
    """A model of class `cls` made from the config of a functional model.

    Args:
        cls: a class whose constructor takes inputs=, outputs=, name= and trainable=.
        config: what its `get_config` returned.
        custom_objects: classes and functions of yours by name.

    Raises:
        ValueError: a class or op is unknown, or calls wait for outputs that nothing makes.
    """
    inputs, outputs = network_from_config(config, custom_objects)
    rest = {k: v for k, v in config.items() if k not in ("layers", "input_layers", "output_layers")}
    rest = {k: deserialize_value(v, custom_objects) for k, v in rest.items()}
    return cls(inputs=inputs, outputs=outputs, **rest)
