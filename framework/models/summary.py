"""model.summary(): the layers of a model as a table, in text or HTML."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from lamina.core.checks import check_int, check_type
from lamina.core.errors import did_you_mean, owner_label
from lamina.layers.layer import Layer
from lamina.models.network import Network, Operation
from lamina.models.op_config import class_name
from lamina.ops.symbol import Symbol
from lamina.state.variable import Variable

# Without line_length a table is as wide as its text, up to this.
MOST_COLUMNS = 100


@dataclass
class Row:
    """One line of the table.

    Attributes:
        name: the layer's name, or that of the call of an op.
        kind: its class.
        shapes: the shapes of its outputs.
        params: the number of elements of its weights, as text.
        sources: what it is connected to.
        trainable: "Y", "N", or "-" without weights.
        depth: how deep it is nested.
    """

    name: str
    kind: str
    shapes: str
    params: str
    sources: list[str]
    trainable: str
    depth: int


def summary_text(
    model: Any,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
) -> str:
    """The summary as text; see `Model.summary`."""
    heads, cells = _cells(model, expand_nested, show_trainable, layer_range)
    widths = _widths(heads, cells, line_length, positions)
    lines = [f'Model: "{model.name}"', *_table(heads, cells, widths), *(f" {k}: {v}" for k, v in _totals(model))]
    return "\n".join(lines)


def summary_html(
    model: Any,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
) -> str:
    """The summary as HTML, for a notebook."""
    heads, cells = _cells(model, expand_nested, show_trainable, layer_range)
    style = "text-align:left;padding:2px 12px;vertical-align:top"

    def line(tag: str, values: Sequence[str]) -> str:
        parts = [
            f'<{tag} style="{style.replace("left", "right") if head == "Param #" else style}">'
            + html.escape(value).replace("\n", "<br>").replace("   ", "&emsp;")
            + f"</{tag}>"
            for head, value in zip(heads, values, strict=True)
        ]
        return f"<tr>{''.join(parts)}</tr>"

    totals = "<br>".join(f"{html.escape(k)}: <b>{html.escape(v)}</b>" for k, v in _totals(model))
    body = "".join(line("td", row) for row in cells)
    return (
        f"<div><p>Model: <b>{html.escape(model.name)}</b></p>"
        f"<table><thead>{line('th', heads)}</thead><tbody>{body}</tbody></table><p>{totals}</p></div>"
    )


# ---- what the table says


def _cells(
    model: Any, expand_nested: bool, show_trainable: bool, layer_range: Sequence[str] | None
) -> tuple[list[str], list[list[str]]]:
    connected = _is_graph(model)
    rows = list(_rows(model, 0, expand_nested))
    if layer_range is not None:
        rows = _in_range(model, rows, layer_range)
    heads = ["Layer (type)", "Output Shape", "Param #"]
    heads += ["Connected to"] if connected else []
    heads += ["Trainable"] if show_trainable else []
    cells = []
    for row in rows:
        mark = "   " * (row.depth - 1) + "└ " if row.depth else ""
        cell = [f"{mark}{row.name} ({row.kind})", row.shapes, row.params]
        cell += ["\n".join(row.sources) or "-"] if connected else []
        cell += [row.trainable] if show_trainable else []
        cells.append(cell)
    return heads, cells


def _is_graph(model: Any) -> bool:
    """Whether a model is a graph rather than a plain sequence of layers."""
    return model.network is not None and not hasattr(model, "add")


def _rows(model: Any, depth: int, expand: bool) -> Iterable[Row]:
    if _is_graph(model):
        network = model.network
        for operation in network.operations:
            yield _row(operation.name, operation.target, network, operation, depth)
            yield from _inner(operation.target, depth, expand)
    else:
        for name, layer in model._children():
            yield _row(name if layer.auto_named else layer.name, layer, None, None, depth)
            yield from _inner(layer, depth, expand)


def _inner(layer: Any, depth: int, expand: bool) -> Iterable[Row]:
    if expand and hasattr(layer, "network") and hasattr(layer, "layers"):
        yield from _rows(layer, depth + 1, expand)


def _row(name: str, target: Any, network: Network | None, operation: Operation | None, depth: int) -> Row:
    if not isinstance(target, Layer):
        kind, params, trainable = class_name(target.__name__), "0", "-"
    else:
        kind = type(target).__name__
        weights = target.weights
        params = f"{sum(v.size for v in weights):,}" if target.built else "0 (unbuilt)"
        trainable = "-" if not weights else "Y" if target.trainable else "N"
    shapes = _shapes_of_calls(operation) if operation is not None else _shapes_of_layer(target)
    sources = []
    if network is not None and operation is not None:
        places = {id(n): (o, i) for o in network.operations for i, n in enumerate(o.nodes)}
        for node in operation.nodes:
            if isinstance(target, Layer) and not node.inputs:
                continue
            for symbol in node.inputs:
                maker, index = network.maker(symbol)
                source, number = places[id(maker)]
                sources.append(f"{source.name}[{number}][{index}]")
    return Row(name, kind, shapes, params, sources, trainable, depth)


def _shapes_of_calls(operation: Operation) -> str:
    shapes = [_shape_text(node.outputs) for node in operation.nodes]
    return "\n".join(dict.fromkeys(shapes))


def _shapes_of_layer(layer: Layer) -> str:
    if layer._nodes:
        return _shape_text(layer._nodes[-1].outputs)
    shapes = layer._build_shapes
    if not shapes or not layer.built:
        return "?"
    try:
        arguments = {k: any_batch(v) for k, v in shapes.items()}
        if len(arguments) == 1:
            return _shape_text(layer.compute_output_spec(_symbols(next(iter(arguments.values())), layer)))
        named = {k.removesuffix("_shape"): _symbols(v, layer) for k, v in arguments.items()}
        return _shape_text(layer.compute_output_spec(**named))
    except (TypeError, ValueError, NotImplementedError):  # a call that needs more than shapes
        return "?"


def any_batch(shape: Any) -> Any:
    """Shapes with None for the size of the batch."""
    if isinstance(shape, dict):
        return {k: any_batch(v) for k, v in shape.items()}
    if shape and (shape[0] is None or isinstance(shape[0], int)):
        return (None, *shape[1:])
    return [any_batch(s) for s in shape]


def _symbols(shape: Any, layer: Layer) -> Any:
    if isinstance(shape, dict):
        return {k: _symbols(v, layer) for k, v in shape.items()}
    if isinstance(shape, tuple):
        return Symbol(shape, layer.compute_dtype)
    return [_symbols(s, layer) for s in shape]


def _shape_text(outputs: Any) -> str:
    leaves = jax.tree.leaves(outputs)
    return "\n".join(str(tuple(x.shape)) for x in leaves if hasattr(x, "shape")) or "-"


def _in_range(model: Any, rows: list[Row], layer_range: Sequence[str]) -> list[Row]:
    if isinstance(layer_range, str) or len(layer_range) != 2:
        raise ValueError(
            f"summary: layer_range must be two names or patterns, the first and last layer, got {layer_range!r}."
        )
    places = []
    for pattern, order in zip(layer_range, (1, -1), strict=True):
        found = [i for i, row in enumerate(rows) if re.fullmatch(pattern, row.name)]
        if not found:
            names = [row.name for row in rows]
            raise ValueError(
                f"summary: layer_range={list(layer_range)!r}, but no layer of {owner_label(model)} matches {pattern!r}."
                f"{did_you_mean(pattern, names)}"
            )
        places.append(found[0] if order == 1 else found[-1])
    first, last = sorted(places)
    return rows[first : last + 1]


def _totals(model: Any) -> list[tuple[str, str]]:
    weights = model.weights
    trainable = model.trainable_weights
    frozen = {id(v) for v in trainable}
    optimizer = model.optimizer.variables if getattr(model.optimizer, "built", False) else []
    rows = [
        ("Total params", [*weights, *optimizer]),
        ("Trainable params", trainable),
        ("Non-trainable params", [v for v in weights if id(v) not in frozen]),
    ]
    if optimizer:
        rows.append(("Optimizer params", list(optimizer)))
    return [(name, _amount(variables)) for name, variables in rows]


def _amount(variables: Iterable[Variable]) -> str:
    variables = list(variables)
    size = float(sum(v.size * np.dtype(v._dtype).itemsize for v in variables))
    unit = "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{sum(v.size for v in variables):,} ({size:.2f} {unit})"


# ---- how the table looks


def _widths(
    heads: list[str], cells: list[list[str]], line_length: int | None, positions: Sequence[float] | None
) -> list[int]:
    """The width of each column, without the frame."""
    frame = 3 * len(heads) + 1
    columns = list(zip(heads, *cells, strict=True))
    natural = [max(len(line) for cell in column for line in cell.split("\n")) for column in columns]
    if line_length is not None:
        check_int("summary", "line_length", line_length, frame + 4 * len(heads))
    if positions is not None:
        check_type("summary", "positions", positions, (list, tuple), "a list of the ends of the columns")
        if len(positions) < len(heads):
            raise ValueError(f"summary: positions needs {len(heads)} ends of columns, got {len(positions)}.")
        total = line_length or MOST_COLUMNS
        ends = [int(p * total) if p <= 1 else int(p) for p in positions[: len(heads)]]
        return [max(1, end - start - 3) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    room = (line_length or MOST_COLUMNS) - frame
    widths = list(natural)
    while sum(widths) > room and max(widths) > 4:
        widths[widths.index(max(widths))] -= 1
    if line_length is not None and sum(widths) < room:
        widths[0] += room - sum(widths)
    return widths


def _wrap(text: str, width: int) -> list[str]:
    lines = []
    for line in text.split("\n"):
        indent = " " * (len(line) - len(line.lstrip(" └")))
        lines += textwrap.wrap(line, width, subsequent_indent=indent if len(indent) < width - 2 else "") or [""]
    return lines


def _table(heads: list[str], cells: list[list[str]], widths: list[int]) -> list[str]:
    def rule(left: str, middle: str, right: str, stroke: str) -> str:
        return left + middle.join(stroke * (w + 2) for w in widths) + right

    def block(row: list[str], bar: str) -> list[str]:
        parts = [_wrap(text, w) for text, w in zip(row, widths, strict=True)]
        lines = []
        for i in range(max(map(len, parts))):
            line = []
            for head, part, w in zip(heads, parts, widths, strict=True):
                text = part[i] if i < len(part) else ""
                line.append(text.rjust(w) if head == "Param #" else text.ljust(w))
            lines.append(f"{bar} " + f" {bar} ".join(line) + f" {bar}")
        return lines

    lines = [rule("┏", "┳", "┓", "━"), *block(heads, "┃"), rule("┡", "╇", "┩", "━")]
    for number, row in enumerate(cells):
        if number:
            lines.append(rule("├", "┼", "┤", "─"))
        lines += block(row, "│")
    return [*lines, rule("└", "┴", "┘", "─")]
