"""What export, convert and quantize share: options of formats, and writing."""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lamina.cli.arrays import load_data
from lamina.cli.models import Opened
from lamina.cli.output import print_json, safe, shown
from lamina.core.checks import check_choice
from lamina.core.errors import did_you_mean, listing
from lamina.export.report import ExportReport
from lamina.export.rules import ExportError
from lamina.export.save import ALIASES, FORMATS, save

ENDINGS = {".pb": "frozen", ".onnx": "onnx", ".tflite": "tflite", ".dlc": "dlc", ".cc": "tflite_micro",
           ".stablehlo": "stablehlo", "": "saved_model"}  # fmt: skip
EXIT_GAPS = 1
_NAMED = ("precision", "calibration", "percentile", "opset")


def add_writing_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of what is written."""
    formats = ", ".join(FORMATS)
    parser.add_argument("--format", help=f"{formats}; by default by the ending of OUTPUT, a folder is a SavedModel")
    parser.add_argument("--precision", help="float32, float16, dynamic, int8 or int16x8, as far as the format has it")
    parser.add_argument(
        "--representative", metavar="FILE", help=".npz, .npy or .txt with inputs that ranges of integers are taken from"
    )
    parser.add_argument("--calibration", help="how ranges are taken: minmax, percentile or mse")
    parser.add_argument("--percentile", type=float, help="for --calibration percentile")
    parser.add_argument("--opset", type=int, help="of ONNX")
    parser.add_argument(
        "--float-layer", action="append", metavar="PATH", help="a layer that stays in float32 (may be repeated)"
    )
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="a further option of the format's writer"
    )
    parser.add_argument("--signature", help="which way in, where the model has several")
    parser.add_argument("--batch", type=int, help="fix the size of the batch")


def format_of(path: str, format: str | None) -> str:
    """The format that is meant.

    Raises:
        ValueError: there is none of this name, or the ending is that of none.
    """
    if format is not None:
        known = ALIASES.get(format, format)
        check_choice("--format", "format", known, FORMATS)
        return known
    ending = Path(path).suffix
    if ending not in ENDINGS or ENDINGS[ending] not in FORMATS:
        known_endings = listing([e for e in ENDINGS if e])
        raise ValueError(f"OUTPUT '{path}' must end in {known_endings}, be a folder, or pass --format.")
    return ENDINGS[ending]


def writer_options(options: Any, format: str, opened: Opened) -> dict[str, Any]:
    """The keyword arguments of a format's writer.

    Raises:
        ValueError: the format has no such option.
    """
    given = {name: getattr(options, name) for name in _NAMED if getattr(options, name) is not None}
    if options.float_layer:
        given["float_layers"] = options.float_layer
    if options.representative is not None:
        given["representative_data"] = load_data(options.representative, opened.inputs)
    for text in options.option:
        name, mark, value = text.partition("=")
        if not mark:
            raise ValueError(f"--option must be NAME=VALUE, got '{text}'.")
        given[name] = _value(value)
    known, open_ended = _parameters(format)
    for name in given:
        if name not in known and not open_ended:
            what = f"has the options {listing(sorted(known), 'and')}" if known else "has no options"
            raise ValueError(f"{format} {what}, none of them '{name}'.{did_you_mean(name, known)}")
    return given


def _parameters(format: str) -> tuple[set[str], bool]:
    parameters = list(inspect.signature(FORMATS[format][1]).parameters.values())[2:]
    kinds = {p.kind for p in parameters}
    return {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}, inspect.Parameter.VAR_KEYWORD in kinds


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return {"True": True, "False": False, "None": None}.get(text, text)


def write(
    opened: Opened,
    path: str,
    format: str,
    given: dict[str, Any],
    as_json: bool,
    more: Mapping[str, Any] | None = None,
) -> int:
    """Writes a model and prints the report, or all gaps; returns the exit code.

    Args:
        opened: the model.
        path: what to write.
        format: the format.
        given: options of the format's writer.
        as_json: whether to print JSON.
        more: what else stands in the JSON.
    """
    try:
        report = save(opened.graph, None, path, format, **given)
    except ExportError as error:
        return print_gaps(error, format, as_json)
    if as_json:
        print_json({**report_of(report), "original_bytes": opened.size, **(more or {})})
        return 0
    print(safe(str(report)))
    if opened.size:
        print(f"  {report.bytes / opened.size:.2f} of the {opened.size:,} bytes of '{shown(opened.path)}'")
    return 0


def print_gaps(error: ExportError, format: str, as_json: bool) -> int:
    """Prints what cannot be written."""
    if as_json:
        gaps = [{"op": g.op, "layer": g.path, "reason": g.reason} for g in error.gaps]
        print_json({"format": format, "gaps": gaps})
    else:
        print(safe(str(error)))
    return EXIT_GAPS


def report_of(report: ExportReport) -> dict[str, Any]:
    """A report as JSON knows it."""
    return {
        "format": report.format,
        "path": report.path,
        "bytes": report.bytes,
        "parameters": report.parameters,
        "precision": report.precision,
        "ops": dict(report.ops),
        "signatures": {k: {"inputs": i, "outputs": o} for k, (i, o) in report.signatures.items()},
        "fallbacks": [{"layer": path, "op": op, "how": how} for path, op, how in report.fallbacks],
    }
