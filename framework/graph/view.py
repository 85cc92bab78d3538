"""A graph as a page for the browser: one HTML file that needs no network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from pathlib import Path
from typing import Any

from lamina.graph.page import describe

_FOLDER = Path(__file__).parent
FRAME_HEIGHT = 640


class View:
    """A page that shows a graph; a notebook shows it in place.

    Its scripts are named by their checksum in the page's security policy, and all text of the graph is data: a name in
    it can neither run nor load anything.

    Args:
        graph: the graph.
        compare: a graph to compare it with, or None.

    Example:
        >>> from lamina.graph import trace
        >>> View(trace(lambda x: x * 2.0, (3,))).html.startswith("<!DOCTYPE html>")
        True
    """

    def __init__(self, graph: Any, compare: Any = None):
        self.name = graph.name
        data = json.dumps(describe(graph, compare), separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        for character in "<>&":  # none of them ends the element or starts a comment
            data = data.replace(character, f"\\u{ord(character):04x}")
        script = (_FOLDER / "view_layout.js").read_text("utf-8") + (_FOLDER / "view.js").read_text("utf-8")
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        parts = {
            "POLICY": f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; base-uri 'none'",
            "TITLE": html.escape(graph.name),
            "STYLE": (_FOLDER / "view.css").read_text("utf-8"),
            "DATA": data,
            "SCRIPT": script,
        }
        page = (_FOLDER / "view.html").read_text("utf-8")
        pieces = page.split("@@")  # every second piece is the name of a part
        self.html = "".join(parts[piece] if i % 2 else piece for i, piece in enumerate(pieces))

    def save(self, path: str | os.PathLike) -> None:
        """Writes the page to a file."""
        Path(path).write_text(self.html, encoding="utf-8")

    def __repr__(self) -> str:
        return f"<View of '{self.name}': {len(self.html):,} characters>"

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{html.escape(self.html)}" sandbox="allow-scripts" '
            f'style="width: 100%; height: {FRAME_HEIGHT}px; border: 1px solid #ccc"></iframe>'
        )
