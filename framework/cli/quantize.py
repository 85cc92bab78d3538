"""`lamina quantize`: writes a model of floats with weights of 16 or 8 bits, or in integers throughout.

int8 and int16x8 take ranges from --representative, inputs like those that the model will see. --numerics prints how far
each layer is from the original. Exit codes: 0, 1 if ops cannot be written, 2 for wrong usage or a bad file.
"""

from __future__ import annotations

import argparse
from typing import Any

from lamina.cli.arrays import load_data
from lamina.cli.models import KINDS, open_model
from lamina.cli.output import safe
from lamina.cli.writing import add_writing_options, format_of, print_gaps, write, writer_options
from lamina.export.numerics import numerics
from lamina.export.rules import ExportError

EXAMPLE = "lamina quantize model.onnx model.tflite --representative samples.npz --calibration mse"
_PASSED = ("calibration", "percentile", "float_layers", "layer_precision")
"""Options of writers that the comparison has too."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("model", help=KINDS)
    parser.add_argument("output", help="what to write")
    add_writing_options(parser)
    parser.add_argument(
        "--numerics",
        nargs="?",
        const="",
        metavar="FILE",
        help="tell for each layer how far it is from the original, as TFLite computes; with FILE.svg or .png drawn too",
    )


def run(options: Any) -> int:
    """Runs the command; returns the exit code."""
    if options.precision is None:
        options.precision = "int8"
    if options.precision in ("int8", "int16x8") and options.representative is None:
        raise ValueError(f"--precision {options.precision} takes ranges from data. Pass --representative FILE.")
    format = format_of(options.output, options.format)
    opened = open_model(options.model, options.signature, options.batch)
    given = writer_options(options, format, opened)
    if options.numerics is None:
        return write(opened, options.output, format, given, options.json)
    if options.representative is None:
        raise ValueError("--numerics compares on data. Pass --representative FILE.")
    known = {key: value for key, value in given.items() if key in _PASSED}
    data = load_data(options.representative, opened.inputs)
    try:
        report = numerics(opened.graph, data, options.precision, **known)
    except ExportError as error:
        return print_gaps(error, "tflite", options.json)
    if options.numerics:
        report.save(options.numerics)
    code = write(opened, options.output, format, given, options.json, {"numerics": report.to_dict()})
    if not code and not options.json:
        print(safe(str(report)))
    return code
