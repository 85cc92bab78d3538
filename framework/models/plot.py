"""plot_model: the graph of a model as a picture."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import jax

from lamina.core.checks import check_choice, check_type
from lamina.core.errors import owner_label
from lamina.graph.diagram import DIRECTIONS, Box, Diagram
from lamina.layers import tracking
from lamina.layers.layer import Layer
from lamina.models.model import Model, symbols_of_shape
from lamina.models.network import Network
from lamina.models.op_config import class_name
from lamina.models.summary import any_batch

# Backgrounds of titles: inputs, layers with weights, other layers, ops, nested models.
COLORS = {"input": "#d9ead3", "weights": "#dce9f7", "layer": "#eeeeee", "op": "#fdf2d0", "model": "#e6dff2"}


class _Drawer:
    """What is drawn of each layer."""

    def __init__(self, direction: str, expand: bool, **shows: bool):
        self.direction, self.expand, self.shows = direction, expand, shows

    def model(self, model: Any) -> Diagram:
        """The diagram of the layers of a model."""
        network = _network(model)
        if network is None:  # its layers, one below the other, without arrows: nothing is known of the calls
            return Diagram([self.box(name, layer, None) for name, layer in _named(model)], [], self.direction)
        operations = network.operations
        known = {} if model.network is network else {id(layer): name for name, layer in _named(model)}
        boxes = [self.box(known.get(id(o.target), o.name), o.target, o.nodes) for o in operations]
        place = {id(node): i for i, o in enumerate(operations) for node in o.nodes}
        edges = {
            (place[id(network.maker(symbol)[0])], i)
            for i, o in enumerate(operations)
            for node in o.nodes
            for symbol in node.inputs
            if id(network.maker(symbol)[0]) != id(node)
        }
        return Diagram(boxes, _without_cycles(sorted(edges)), self.direction)

    def box(self, name: str, target: Any, nodes: Any) -> Box:
        """The box of a layer or of a call of an op."""
        is_layer = isinstance(target, Layer)
        kind = type(target).__name__ if is_layer else class_name(target.__name__)
        lines = [f"{name} ({kind})" if self.shows["layer_names"] else kind]
        if self.shows["layer_activations"] and is_layer and getattr(target, "activation", None) is not None:
            activation = target.activation
            lines.append(f"activation: {getattr(activation, '__name__', type(activation).__name__)}")
        calls = nodes or (target._nodes[-1:] if is_layer else [])
        if self.shows["shapes"]:
            lines += _described("input", [s for n in calls for s in n.inputs], lambda s: str(s.shape))
            lines += _described(
                "output", [s for n in calls for s in jax.tree.leaves(n.outputs)], lambda s: str(s.shape)
            )
        if self.shows["dtype"]:
            lines += _described("dtype", [s for n in calls for s in jax.tree.leaves(n.outputs)], lambda s: s.dtype)
        if self.shows["trainable"] and is_layer and target.weights:
            lines.append("trainable" if target.trainable else "frozen")
        if isinstance(target, Model):
            inner = self.model(target) if self.expand and target.layers else None
            return Box(lines, COLORS["model"], inner)
        if not is_layer:
            color = COLORS["op"]
        elif nodes and not nodes[0].inputs:
            color = COLORS["input"]
        else:
            color = COLORS["weights" if target.weights else "layer"]
        return Box(lines, color)


def _described(what: str, symbols: list[Any], text: Any) -> list[str]:
    values = list(dict.fromkeys(text(s) for s in symbols if hasattr(s, "shape")))
    return [f"{what}: {', '.join(values)}"] if values else []


def _named(model: Any) -> Iterable[tuple[str, Layer]]:
    return [(name if layer.auto_named else layer.name, layer) for name, layer in model._children()]


def _network(model: Any) -> Network | None:
    """The graph of a model; that of a subclassed one is found by calling it on symbols, where that is possible."""
    if model.network is not None:
        return model.network
    shapes = model._build_shapes
    if not model.built or not shapes or len(shapes) > 1:
        return None
    counts = [(layer, len(layer._nodes)) for layer in tracking.walk(model)]
    inputs = symbols_of_shape(any_batch(next(iter(shapes.values()))))
    names = [(layer, layer.name) for layer, _ in counts]
    try:
        return Network(inputs, model.call(inputs), owner_label(model))
    except Exception:  # noqa: BLE001 - a call may do with its input what symbols cannot
        return None
    finally:
        for layer, count in counts:
            del layer._nodes[count:]
        for layer, name in names:
            layer.name = name


def _without_cycles(edges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The edges without those that close a cycle, as a layer does that is called again on what came of its output."""
    after: dict[int, set[int]] = {}

    def reaches(a: int, b: int) -> bool:
        todo, seen = [a], set()
        while todo:
            one = todo.pop()
            if one == b:
                return True
            if one not in seen:
                seen.add(one)
                todo += after.get(one, ())
        return False

    kept = []
    for a, b in edges:
        if not reaches(b, a):
            after.setdefault(a, set()).add(b)
            kept.append((a, b))
    return kept


def model_to_dot(
    model: Any,
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: float = 200,
    subgraph: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
) -> Diagram:
    """The graph of a model as a drawing; its `to_string()` is DOT text, and `svg()` a picture.

    Args:
        model: a model; one without a graph must have been called.
        show_shapes: whether to show the shapes of inputs and outputs.
        show_dtype: whether to show the dtypes of outputs.
        show_layer_names: whether to show names beside the classes.
        rankdir: "TB" draws from top to bottom, "LR" from left to right, "BT" and "RL" the other way.
        expand_nested: whether to draw the layers inside nested models.
        dpi: accepted as in Keras; see `Diagram.save`.
        subgraph: accepted as in Keras.
        show_layer_activations: whether to show activations.
        show_trainable: whether to tell trainable layers from frozen ones.

    Raises:
        TypeError: `model` is not a model.

    Example:
        >>> from lamina import Input, Sequential, layers
        >>> print(model_to_dot(Sequential([Input((3,)), layers.Dense(2)])).to_string())
        digraph model {
        rankdir=TB;
        node [shape=box];
        n0 [label="InputLayer"];
        n1 [label="Dense"];
        n0 -> n1;
        }
        <BLANKLINE>
    """
    check_type("plot_model", "model", model, Model, "a model")
    check_choice("plot_model", "rankdir", rankdir, DIRECTIONS)
    drawer = _Drawer(
        rankdir,
        expand_nested,
        shapes=show_shapes,
        dtype=show_dtype,
        layer_names=show_layer_names,
        layer_activations=show_layer_activations,
        trainable=show_trainable,
    )
    return drawer.model(model)


def plot_model(
    model: Any,
    to_file: str | os.PathLike | None = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: float = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
) -> Diagram:
    """Draws the graph of a model into a file, and returns the drawing, which a notebook shows.

    Args:
        model: a model; one without a graph must have been called.
        to_file: the file; .svg and .dot need nothing, .png and .pdf need matplotlib. None writes no file.
        show_shapes: whether to show the shapes of inputs and outputs.
        show_dtype: whether to show the dtypes of outputs.
        show_layer_names: whether to show names beside the classes.
        rankdir: "TB" draws from top to bottom, "LR" from left to right, "BT" and "RL" the other way.
        expand_nested: whether to draw the layers inside nested models.
        dpi: the resolution of a PNG.
        show_layer_activations: whether to show activations.
        show_trainable: whether to tell trainable layers from frozen ones.

    Raises:
        ValueError: the file has another ending.
        ImportError: matplotlib is needed and not installed.

    Example:
        >>> from lamina import Input, Sequential, layers
        >>> model = Sequential([Input((3,)), layers.Dense(2)])
        >>> "dense (Dense)" in plot_model(model, to_file=None, show_layer_names=True).svg()
        True
    """
    diagram = model_to_dot(
        model,
        show_shapes=show_shapes,
        show_dtype=show_dtype,
        show_layer_names=show_layer_names,
        rankdir=rankdir,
        expand_nested=expand_nested,
        show_layer_activations=show_layer_activations,
        show_trainable=show_trainable,
    )
    if to_file is not None:
        diagram.save(to_file, dpi)
    return diagram
