"""`lamina view`: draws a model as one HTML page: pan, zoom, search, layers that fold, weights, costs.

With --compare the page shows what MODEL has more than OTHER, what it lacks and what differs. An output that ends in
.svg, .dot, .png or .pdf gives a still drawing. Exit codes: 0, 2 for wrong usage or a bad file.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from lamina.cli.models import KINDS, open_model
from lamina.cli.output import print_json, shown

EXAMPLE = "lamina view model.onnx --compare model.keras -o model.html"
_DRAWINGS = (".svg", ".dot", ".png", ".pdf")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("model", help=KINDS)
    parser.add_argument("-o", "--output", help="the file to write (default MODEL with .html behind it)")
    parser.add_argument("--compare", metavar="OTHER", help="a model to compare it with")
    parser.add_argument("--optimize", action="store_true", help="fold and fuse first, as exporters do")
    parser.add_argument("--signature", help="which way in, where the model has several")


def run(options: Any) -> int:
    """Runs the command; returns the exit code."""
    default = options.model.rstrip("/\\").replace(":", "_") + ".html"
    output = options.output or default
    ending = Path(output).suffix.lower()
    if ending not in (".html", ".htm", *_DRAWINGS):
        raise ValueError(f"--output must end in .html or one of {', '.join(_DRAWINGS)}, got '{output}'.")
    if options.compare and ending in _DRAWINGS:
        raise ValueError("--compare needs an output that ends in .html.")
    graphs = [open_model(p, options.signature).graph for p in (options.model, options.compare) if p]
    graphs = [g.optimize() for g in graphs] if options.optimize else graphs
    if ending in _DRAWINGS:
        graphs[0].plot(output)
    else:
        graphs[0].view(output, *graphs[1:])
    size = os.path.getsize(output)
    if options.json:
        print_json({"path": output, "bytes": size, "instructions": len(graphs[0].instrs)})
    else:
        print(f"{shown(output)}: {len(graphs[0].instrs):,} instructions, {size:,} bytes")
    return 0
