"""A drawing of boxes and arrows, as SVG without any library, as DOT text, or as PNG and PDF through matplotlib."""

from __future__ import annotations

import html
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lamina.core.checks import check_choice
from lamina.graph.layout import Layout, Point

FONT_SIZE = 12.0
CHARACTER, LINE = 0.6 * FONT_SIZE, 1.5 * FONT_SIZE  # of a monospaced font
PADDING, MARGIN = 8.0, 12.0
TITLE = LINE + PADDING / 2
DIRECTIONS = ("TB", "BT", "LR", "RL")
INK, SOFT = "#333333", "#999999"


@dataclass
class Box:
    """A box with lines of text, the first of them the title, and maybe a diagram inside.

    Attributes:
        lines: the text.
        color: the background of the title.
        inner: what is drawn below the text.
    """

    lines: list[str]
    color: str = "#dce9f7"
    inner: Diagram | None = None

    def size(self) -> tuple[float, float]:
        """Width and height."""
        width = max((len(line) for line in self.lines), default=0) * CHARACTER + 2 * PADDING
        height = TITLE + ((len(self.lines) - 1) * LINE + PADDING if len(self.lines) > 1 else 0.0)
        if self.inner is not None:
            width = max(width, self.inner.width)
            height += self.inner.height
        return width, height


def _baseline(line: int) -> float:
    """How far below the top of a box a line of its text stands."""
    return PADDING / 4 + (line + 0.75) * LINE + (PADDING / 2 if line else 0.0)


@dataclass(repr=False)
class Diagram:
    """Boxes and arrows between them.

    A notebook shows it as a picture; `save` writes it to a file.

    Attributes:
        boxes: the boxes.
        edges: pairs of boxes (from, to), by number.
        direction: "TB" from top to bottom, "BT", "LR" from left to right, or "RL".

    Example:
        >>> Diagram([Box(["a"]), Box(["b"])], [(0, 1)]).svg().startswith("<svg")
        True
    """

    boxes: list[Box]
    edges: list[tuple[int, int]]
    direction: str = "TB"
    width: float = field(init=False)
    height: float = field(init=False)

    def __post_init__(self) -> None:
        check_choice("Diagram", "direction", self.direction, DIRECTIONS)
        sizes = [box.size() for box in self.boxes]
        sideways = self.direction in ("LR", "RL")
        layout = Layout([(h, w) for w, h in sizes] if sideways else sizes, self.edges)
        flip = self.direction in ("BT", "RL")
        self._corners: list[Point] = []
        for (x, y), (w, h) in zip(layout.corners, sizes, strict=True):
            along = layout.height - y - (w if sideways else h) if flip else y
            self._corners.append((along + MARGIN, x + MARGIN) if sideways else (x + MARGIN, along + MARGIN))
        self._routes = []
        for route in layout.routes:
            points = [(x, layout.height - y if flip else y) for x, y in route]
            self._routes.append([(y + MARGIN, x + MARGIN) if sideways else (x + MARGIN, y + MARGIN) for x, y in points])
        across, along = layout.width + 2 * MARGIN, layout.height + 2 * MARGIN
        self.width, self.height = (along, across) if sideways else (across, along)

    def __repr__(self) -> str:
        return f"<Diagram: {len(self.boxes)} boxes, {len(self.edges)} arrows>"

    # ---- SVG

    def svg(self) -> str:
        """The drawing as SVG text."""
        w, h = self.width, self.height
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{w:.0f}" height="{h:.0f}" viewBox="0 0 {w:.1f} {h:.1f}">'
            f'<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
            f'orient="auto"><path d="M0 0L8 4L0 8z" fill="{INK}"/></marker></defs>'
            f'<rect width="100%" height="100%" fill="white"/>'
            f'<g font-family="ui-monospace, Menlo, Consolas, monospace" font-size="{FONT_SIZE:g}">'
            f"{self._svg_parts(0.0, 0.0)}</g></svg>"
        )

    _repr_svg_ = svg

    def _svg_parts(self, dx: float, dy: float) -> str:
        parts = []
        for box, (x, y) in zip(self.boxes, self._corners, strict=True):
            w, h = box.size()
            x, y = x + dx, y + dy
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="3" fill="white" stroke="{SOFT}"/>'
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{TITLE:.1f}" rx="3" fill="{box.color}" '
                f'stroke="{SOFT}"/>'
            )
            for i, line in enumerate(box.lines):
                weight = ' font-weight="bold"' if i == 0 else ""
                baseline = y + _baseline(i)
                parts.append(
                    f'<text x="{x + PADDING:.1f}" y="{baseline:.1f}" fill="{INK}"{weight}>{html.escape(line)}</text>'
                )
            if box.inner is not None:
                parts.append(box.inner._svg_parts(x + (w - box.inner.width) / 2, y + h - box.inner.height))
        for route in self._routes:
            moves = [f"M{route[0][0] + dx:.1f} {route[0][1] + dy:.1f}"]
            for number, (start, end) in enumerate(zip(route, route[1:], strict=False)):
                if number % 2:  # straight through a layer
                    moves.append(f"L{end[0] + dx:.1f} {end[1] + dy:.1f}")
                else:
                    (ax, ay), (bx, by) = self._controls(start, end)
                    moves.append(
                        f"C{ax + dx:.1f} {ay + dy:.1f} {bx + dx:.1f} {by + dy:.1f} {end[0] + dx:.1f} {end[1] + dy:.1f}"
                    )
            parts.append(f'<path d="{" ".join(moves)}" fill="none" stroke="{INK}" marker-end="url(#arrow)"/>')
        return "".join(parts)

    def _controls(self, start: Point, end: Point) -> tuple[Point, Point]:
        """The control points of a curve that leaves and arrives along the direction of the drawing."""
        if self.direction in ("LR", "RL"):
            middle = (start[0] + end[0]) / 2
            return (middle, start[1]), (middle, end[1])
        middle = (start[1] + end[1]) / 2
        return (start[0], middle), (end[0], middle)

    # ---- DOT

    def to_string(self) -> str:
        """The drawing in the DOT language of Graphviz."""
        return f"digraph model {{\nrankdir={self.direction};\nnode [shape=box];\n{self._dot_parts('n')}}}\n"

    def _dot_parts(self, prefix: str) -> str:
        def quoted(text: str) -> str:
            return text.replace("\\", "\\\\").replace('"', '\\"')

        lines = []
        for i, box in enumerate(self.boxes):
            label = "\\n".join(map(quoted, box.lines))
            if box.inner is not None:
                lines.append(
                    f'subgraph cluster_{prefix}{i} {{\nlabel="{label}";\n{box.inner._dot_parts(f"{prefix}{i}_")}}}'
                )
            else:
                lines.append(f'{prefix}{i} [label="{label}"];')
        lines += [f"{self._dot_end(prefix, a, True)} -> {self._dot_end(prefix, b, False)};" for a, b in self.edges]
        return "\n".join(lines) + "\n"

    def _dot_end(self, prefix: str, number: int, last: bool) -> str:
        inner = self.boxes[number].inner
        if inner is None or not inner.boxes:
            return f"{prefix}{number}"
        return inner._dot_end(f"{prefix}{number}_", len(inner.boxes) - 1 if last else 0, last)

    # ---- files

    def save(self, path: str | os.PathLike, dpi: float = 200) -> None:
        """Writes the drawing to a file.

        Args:
            path: its ending chooses the format: .svg and .dot need nothing, .png and .pdf need matplotlib.
            dpi: the resolution of a PNG.

        Raises:
            ValueError: the ending is of another format.
            ImportError: matplotlib is needed and not installed.
        """
        kind = Path(path).suffix.lower().removeprefix(".")
        check_choice("plot_model", "the ending of to_file", kind, ["svg", "png", "pdf", "dot"])
        if kind in ("svg", "dot"):
            Path(path).write_text(self.svg() if kind == "svg" else self.to_string(), encoding="utf-8")
            return
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError:
            raise ImportError(
                f"plot_model: a .{kind} file needs matplotlib. Install it with pip install 'lamina[plot]', or give "
                "to_file= the ending .svg."
            ) from None
        figure = Figure(figsize=(self.width / 72, self.height / 72))
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_xlim(0, self.width)
        axes.set_ylim(self.height, 0)
        axes.axis("off")
        self._draw(axes, 0.0, 0.0)
        figure.savefig(path, dpi=dpi, facecolor="white")

    def _draw(self, axes: Any, dx: float, dy: float) -> None:
        """Draws into the axes of a matplotlib figure, a point of the page a unit."""
        from matplotlib.patches import FancyArrowPatch, Rectangle
        from matplotlib.path import Path as Curve

        for box, (x, y) in zip(self.boxes, self._corners, strict=True):
            w, h = box.size()
            x, y = x + dx, y + dy
            axes.add_patch(Rectangle((x, y), w, h, facecolor="white", edgecolor=SOFT))
            axes.add_patch(Rectangle((x, y), w, TITLE, facecolor=box.color, edgecolor=SOFT))
            for i, line in enumerate(box.lines):
                axes.text(
                    x + PADDING,
                    y + _baseline(i),
                    line,
                    family="monospace",
                    size=FONT_SIZE * 0.97,
                    color=INK,
                    weight="bold" if i == 0 else "normal",
                    parse_math=False,
                )
            if box.inner is not None:
                box.inner._draw(axes, x + (w - box.inner.width) / 2, y + h - box.inner.height)
        for route in self._routes:
            points, codes = [route[0]], [Curve.MOVETO]
            for number, (start, end) in enumerate(zip(route, route[1:], strict=False)):
                if number % 2:
                    points.append(end)
                    codes.append(Curve.LINETO)
                else:
                    points += [*self._controls(start, end), end]
                    codes += [Curve.CURVE4] * 3
            curve = Curve([(x + dx, y + dy) for x, y in points], codes)
            axes.add_patch(FancyArrowPatch(path=curve, arrowstyle="-|>", mutation_scale=9, color=INK, linewidth=0.9))
