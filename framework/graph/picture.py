"""A graph as a drawing: a box for each instruction, with the shapes that it makes."""

from __future__ import annotations

from typing import Any

from lamina.graph.diagram import Box, Diagram
from lamina.graph.dims import shape_text

# Backgrounds of titles: inputs, constants, and instructions by what they do.
INPUT, WEIGHT, PLAIN, HEAVY, CONTROL = "#d9ead3", "#fdf2d0", "#eeeeee", "#dce9f7", "#e6dff2"
_HEAVY = frozenset({"MatMul", "Conv", "DepthwiseConv", "ConvTranspose", "LSTM", "GRU"})


def picture(graph: Any, direction: str = "TB", constants: bool | None = None) -> Diagram:
    """A drawing of a graph, which a notebook shows; `svg()` gives its text, `save(path)` writes it.

    Args:
        graph: the graph.
        direction: "TB" draws from top to bottom, "LR" from left to right, "BT" and "RL" the other way.
        constants: whether constants get boxes of their own; None for graphs of fewer than 20 instructions.

    Example:
        >>> from lamina.graph import trace
        >>> "Mul" in picture(trace(lambda x: x * 2.0, (3,))).svg()
        True
    """
    shown = len(graph.instrs) < 20 if constants is None else constants
    boxes: list[Box] = []
    place: dict[Any, int] = {}

    def add(box: Box, values: Any) -> None:
        place.update(dict.fromkeys(values, len(boxes)))
        boxes.append(box)

    for name, value in zip(graph.input_names, graph.inputs, strict=True):
        add(Box([name, _type(value)], INPUT), [value])
    if shown:
        for value, array in graph.constants.items():
            number = [f"= {array.item():g}"] if not value.shape and value.dtype.kind in "fiu" else []
            add(Box([value.name, _type(value), *number], WEIGHT), [value])
    labels: dict[Any, list[str]] = {}
    for name, value in zip(graph.output_names, graph.outputs, strict=True):
        labels.setdefault(value, []).append(name)
    edges = []
    for instr in graph.instrs:
        color = HEAVY if instr.op in _HEAVY else CONTROL if instr.subgraphs else PLAIN
        inner = Diagram([], [], direction) if not instr.subgraphs else picture(instr.subgraphs[-1], direction, False)
        names = [n for v in instr.outputs for n in labels.get(v, []) if n != v.name]
        lines = [instr.label, instr.outputs[0].name if instr.outputs else "", *map(_type, instr.outputs)]
        lines += [f"-> {', '.join(names)}"] if names else []
        add(Box(lines, color, inner if instr.subgraphs else None), instr.outputs)
        here = len(boxes) - 1
        edges += [(place[v], here) for v in dict.fromkeys(instr.inputs) if v in place]
    return Diagram(boxes, edges, direction)


def _type(value: Any) -> str:
    return f"{value.dtype.name} {shape_text(value.shape)}"
