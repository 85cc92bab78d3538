"""`lamina check`: tells whether a model can be exported to some formats: all gaps by layer, and how exact the file is.

Each format is written to a temporary folder, read back, and run on the same inputs as the model, from --data or random.
Exit codes: 0 if all formats hold the model, 1 if one has gaps or is too far from it, 2 for wrong usage or a bad file.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from lamina.cli.arrays import add_data_options, inputs_of
from lamina.cli.diff import compared_outputs
from lamina.cli.models import KINDS, Opened, open_model
from lamina.cli.output import print_json, safe
from lamina.cli.writing import add_writing_options, format_of, writer_options
from lamina.export.load import READERS
from lamina.export.rules import ExportError
from lamina.export.save import save

EXAMPLE = "lamina check model.keras --target tflite --target onnx"
EXIT_GAPS = 1
TOLERANCES = {None: 1e-4, "float32": 1e-4, "float16": 2e-2, "dynamic": 5e-2, "int16x8": 5e-2, "int8": 2e-1}
"""Of outputs, relative to the largest value, by precision."""
DEFAULT = ("saved_model", "frozen", "onnx", "tflite", "stablehlo")
_ENDINGS = {"frozen": ".pb", "onnx": ".onnx", "tflite": ".tflite", "dlc": ".dlc"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("model", help=KINDS)
    parser.add_argument("--target", action="append", help=f"a format (may be repeated; default {', '.join(DEFAULT)})")
    add_data_options(parser)
    add_writing_options(parser)
    parser.add_argument("--tolerance", type=float, help="of outputs, relative to the largest value")


def run(options: Any) -> int:
    """Runs the command; returns the exit code."""
    wanted = [options.format] if options.format and not options.target else options.target or DEFAULT
    formats = [format_of("", target) for target in wanted]
    opened = open_model(options.model, options.signature, options.batch)
    rows = [_checked(opened, format, options) for format in formats]
    if options.json:
        print_json({"model": options.model, "formats": rows})
    else:
        for row in rows:
            _print(row)
    return 0 if all(row["ok"] for row in rows) else EXIT_GAPS


def _checked(opened: Opened, format: str, options: Any) -> dict[str, Any]:
    given = writer_options(options, format, opened)
    row: dict[str, Any] = {"format": format, "ok": False, "gaps": [], "bytes": None, "outputs": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{_ENDINGS.get(format, '')}"
        try:
            report = save(opened.graph, None, path, format, **given)
        except ExportError as error:
            row["gaps"] = [{"op": g.op, "layer": g.path, "reason": g.reason} for g in error.gaps]
            return row
        except ImportError as error:  # the format takes a package that is not installed
            row["gaps"] = [{"op": "", "layer": "", "reason": str(error)}]
            return row
        row |= {"bytes": report.bytes, "precision": report.precision, "ok": True}
        row["fallbacks"] = [{"layer": path, "op": op, "how": how} for path, op, how in report.fallbacks]
        if path.suffix in READERS or format in ("saved_model", "stablehlo"):
            tolerance = TOLERANCES.get(options.precision, 1e-4) if options.tolerance is None else options.tolerance
            inputs = inputs_of(options, opened.inputs, 2)
            row["outputs"] = compared_outputs(opened, open_model(str(path)), inputs, tolerance)
            row["ok"] = all(output["equal"] for output in row["outputs"])
    return row


def _print(row: dict[str, Any]) -> None:
    if row["gaps"]:
        print(f"{row['format']}: cannot be written")
    else:
        worst = max((o["relative"] for o in row["outputs"]), default=None)
        exact = "" if worst is None else f", largest difference {worst:.3g} of the largest output"
        print(
            f"{row['format']}: {'ok' if row['ok'] else 'too far'}, {row['bytes']:,} bytes ({row['precision']}){exact}"
        )
    for gap in row["gaps"]:
        place = f"{gap['layer'] or '(no layer)'}: {gap['op']}: " if gap["op"] else ""
        print(safe(f"  {place}{gap['reason']}"))
    for entry in row.get("fallbacks", []):
        print(safe(f"  {entry['layer'] or '(no layer)'}: {entry['op']}: {entry['how']}"))
