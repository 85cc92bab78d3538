"""`lamina quantize`: writes a model of floats with weights of 16 or 8 bits, or in integers throughout.

int8 and int16x8 take ranges from --representative, inputs like those that the model will see. --numerics prints how far
each layer is from the original. Exit codes: 0, 1 if ops cannot be written, 2 for wrong usage or a bad file.
"""

from __future__ import annotations

import argparse
from typing import Any

from lamina.cli.models import KINDS, open_model
from lamina.cli.writing import add_writing_options, format_of, write, writer_options

EXAMPLE = "lamina quantize model.onnx model.tflite --representative samples.npz --calibration mse"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("model", help=KINDS)
    parser.add_argument("output", help="what to write")
    add_writing_options(parser)


def run(options: Any) -> int:
    """Runs the command; returns the exit code."""
    if options.precision is None:
        options.precision = "int8"
    if options.precision in ("int8", "int16x8") and options.representative is None:
        raise ValueError(f"--precision {options.precision} takes ranges from data. Pass --representative FILE.")
    format = format_of(options.output, options.format)
    opened = open_model(options.model, options.signature, options.batch)
    return write(opened, options.output, format, writer_options(options, format, opened), options.json)
