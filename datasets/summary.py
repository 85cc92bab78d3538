"""Seeing a pipeline: its stages and what they cost as text or as a drawing."""

from __future__ import annotations

import html
from typing import Any

from lamina.core.nest import is_nested
from lamina.datasets.clock import Clock, StageTime
from lamina.datasets.nodes.base import Node, SpecUnknown
from lamina.datasets.spec import INFINITE, UNKNOWN, DatasetSpec, TensorSpec, dtype_name

_WIDTH, _HEIGHT, _GAP = 350, 54, 26


class Stage:
    """A node of a pipeline with its place in the drawing and its measured cost."""

    def __init__(self, node: Node, depth: int, inputs: list[Stage]) -> None:
        self.node, self.depth, self.inputs = node, depth, inputs
        self.own: float | None = None  # seconds spent here in the run, without its inputs
        self.time: StageTime | None = None
        self.column = 0.0
        self.row = 0

    @property
    def title(self) -> str:
        """Operation and arguments: `batch(batch_size=32)`."""
        shown = [f"{k}={_short(v)}" for k, v in self.node.config().items() if v is not None and v is not False]
        return f"{self.node.label}({', '.join(shown)})"


def describe_pipeline(node: Node, clock: Clock | None) -> str:
    """The table that `Dataset.summary` prints."""
    stages = measured_stages(node, clock)
    measured = any(s.own is not None for s in stages)
    rows: list[tuple[str, ...]] = [("stage", "elements", "one element", *(("us/element", "share") if measured else ()))]
    whole = busy_time(stages)
    for s in stages:
        row: tuple[str, ...] = ("  " * s.depth + s.title, count_text(s.node.cardinality()), static_text(s.node))
        if measured:
            row += _cost_text(s, whole)
        rows.append(row)
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "-" * max(map(len, lines)))
    if measured:
        worst = bottleneck(stages)
        planned = _planned(worst)
        inside = f" with {', '.join(n.label for n in planned)} planned into it" if planned else ""
        share = (worst.own or 0) / whole
        lines += ["", f"The bottleneck is {worst.node.label}{inside}: {share:.0%} of the measured time."]
        lines += [advice for n in (worst.node, *planned) if (advice := _advice(n))]
        if any(s.own is None for s in stages):
            lines.append("Stages without a time of their own are planned into the next stage that has one.")
    else:
        lines += ["", "Iterate over the dataset, then call summary() again, to see what each stage costs."]
    return "\n".join(lines)


def measured_stages(root: Node, clock: Clock | None) -> list[Stage]:
    """The stages, sources first, with the time that each took for itself."""
    out: list[Stage] = []
    times = {} if clock is None else clock.stages

    def walk(node: Node, depth: int) -> Stage:
        # The first input is drawn above at the same depth, the others are indented.
        inputs = [walk(child, depth + (i > 0)) for i, child in enumerate(node.children)]
        stage = Stage(node, depth, inputs)
        time = times.get(node)
        if time is not None and time.calls:
            stage.time = time
            stage.own = time.total if node.op == "prefetch" else max(0.0, time.total - _below(inputs))
        out.append(stage)
        return stage

    walk(root, 0)
    return out


def _below(inputs: list[Stage]) -> float:
    """The time of the nearest measured stages among inputs."""
    return sum(s.time.total if s.time is not None else _below(s.inputs) for s in inputs)


def bottleneck(stages: list[Stage]) -> Stage:
    """The stage that takes most time for itself. What a prefetch waits for is spent below it."""
    busy = [s for s in stages if s.own is not None and s.node.op != "prefetch"]
    return max(busy or [s for s in stages if s.own is not None], key=lambda s: s.own or 0.0)


def _planned(stage: Stage) -> list[Node]:
    """The stages below that have no time of their own, since they are planned into this one; sources first."""
    return [n for s in stage.inputs if s.time is None for n in (*_planned(s), s.node)]


def busy_time(stages: list[Stage]) -> float:
    """The measured time of all stages; what a prefetch waits for is counted where it is spent."""
    return sum(s.own or 0.0 for s in stages if s.node.op != "prefetch")


def _cost_text(stage: Stage, whole: float) -> tuple[str, str]:
    if stage.own is None or stage.time is None:
        return "", ""
    share = "waits" if stage.node.op == "prefetch" else f"{stage.own / whole:.0%}" if whole else ""
    return f"{stage.own / stage.time.calls * 1e6:.1f}", share


def _advice(node: Node) -> str:
    if node.op == "map" and getattr(node, "calls", None) is None and not getattr(node, "batches", False):
        return (
            "Move the map behind batch() or give vectorized=True if numpy can do it for many elements at once; "
            "else num_parallel_calls=AUTOTUNE, with options.workers='process' for functions that hold the interpreter."
        )
    if node.op == "shuffle" and getattr(node, "buffer_size", None) is not None:
        return "shuffle(None), over a source that can be read by index, shuffles positions and not elements."
    return ""


def count_text(n: int) -> str:
    """A cardinality for people."""
    return {INFINITE: "endless", UNKNOWN: "unknown"}.get(n, f"{n:,}")


def static_text(node: Node) -> str:
    """The element_spec in few letters, as far as it is known without running anything."""
    try:
        return spec_text(node.static_spec())
    except SpecUnknown:
        return "known once a function was run" if not node._has_spec else spec_text(node.element_spec)
    except Exception as e:
        return f"unknown: {type(e).__name__}"


def spec_text(spec: Any) -> str:
    """A nested spec in few letters: `(float32[?, 784], int32[?])`."""
    if isinstance(spec, DatasetSpec):
        return f"dataset of {spec_text(spec.element_spec)}"
    if isinstance(spec, TensorSpec):
        if spec.shape is None:
            return f"{dtype_name(spec.dtype)}[...]"
        dims = ", ".join("?" if d is None else str(d) for d in spec.shape)
        return dtype_name(spec.dtype) + (f"[{dims}]" if spec.shape else "")
    if isinstance(spec, dict):
        return "{" + ", ".join(f"{k}: {spec_text(v)}" for k, v in spec.items()) + "}"
    if is_nested(spec) and spec is not None:
        return "(" + ", ".join(spec_text(v) for v in spec) + ")"
    return str(spec)


def _short(value: Any) -> str:
    name = getattr(value, "__qualname__", None) or getattr(getattr(value, "func", None), "__qualname__", None)
    if name is not None and callable(value):
        return name.replace("<locals>.", "").replace("<lambda>", "lambda")
    if isinstance(value, (list, tuple)) and any(hasattr(v, "shape") for v in value):
        return f"{len(value)} arrays" if len(value) > 1 else "1 array"
    text = repr(value)
    return text if len(text) <= 32 else text[:29] + "..."


class Drawing:
    """A picture of a pipeline, which notebooks show.

    Attributes:
        svg: The picture as SVG text.
    """

    def __init__(self, svg: str) -> None:
        self.svg = svg

    def __repr__(self) -> str:
        return "<Drawing of a pipeline>"

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: Any) -> None:
        """Write the SVG to a file."""
        with open(path, "w", encoding="utf-8") as f:
            f.write(self.svg)


def draw_pipeline(node: Node, clock: Clock | None, path: Any = None) -> Drawing:
    """The picture that `Dataset.visualize` gives: a box for each stage, sources on top, darker the more time it
    takes."""
    stages = measured_stages(node, clock)
    columns = _place(stages[-1], 0, 0.0)
    rows = max(s.row for s in stages) + 1
    whole = busy_time(stages)
    width, height = columns * (_WIDTH + _GAP) + _GAP, rows * (_HEIGHT + _GAP) + _GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        'font-family="sans-serif" font-size="12">'
    ]
    for s in stages:
        x, y = _corner(s, rows)
        for source in s.inputs:
            sx, sy = _corner(source, rows)
            parts.append(
                f'<path d="M{sx + _WIDTH / 2:.0f} {sy + _HEIGHT} L{x + _WIDTH / 2:.0f} {y}" stroke="#667" fill="none"/>'
            )
        share = (s.own or 0.0) / whole if whole and s.node.op != "prefetch" else 0.0
        shade = f"rgb({245 - 20 * share:.0f},{247 - 110 * share:.0f},{250 - 160 * share:.0f})"
        cost = f", {share:.0%} of the time" if share else ""
        lines = [s.title, static_text(s.node), f"{count_text(s.node.cardinality())} elements{cost}"]
        parts.append(
            f'<rect x="{x:.0f}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="{shade}" stroke="#667"/>'
        )
        for i, line in enumerate(lines):
            weight = ' font-weight="bold"' if i == 0 else ""
            line = html.escape(line if len(line) <= 46 else line[:43] + "...")
            parts.append(f'<text x="{x + 8:.0f}" y="{y + 16 + 15 * i}"{weight}>{line}</text>')
    drawing = Drawing("".join([*parts, "</svg>"]))
    if path is not None:
        drawing.save(path)
    return drawing


def _place(stage: Stage, row: int, left: float) -> float:
    """Give a stage and all above it their places; returns how many columns they take."""
    stage.row = row
    width = 0.0
    for source in stage.inputs:
        width += _place(source, row + 1, left + width)
    width = max(width, 1.0)
    stage.column = left + (width - 1) / 2
    return width


def _corner(stage: Stage, rows: int) -> tuple[float, int]:
    return _GAP + stage.column * (_WIDTH + _GAP), _GAP + (rows - 1 - stage.row) * (_HEIGHT + _GAP)
