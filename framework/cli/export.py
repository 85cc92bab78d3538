"""`lamina export`: writes a Keras model (.keras), or what a function of a Python file gives, for another runtime.

The format is that of the output's ending, or of --format. What cannot be written is listed by layer, and no file is
written. Exit codes: 0, 1 if there are such gaps, 2 for wrong usage or a file that cannot be read.
"""

from __future__ import annotations

import argparse
from typing import Any

from lamina.cli.models import open_model
from lamina.cli.writing import add_writing_options, format_of, write, writer_options

EXAMPLE = "lamina export model.keras model.tflite --precision int8 --representative samples.npz"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("model", help="a .keras file, or MODULE:FUNCTION or FILE.py:FUNCTION that gives a model")
    parser.add_argument("output", help="what to write")
    add_writing_options(parser)


def run(options: Any) -> int:
    """Runs the command; returns the exit code."""
    format = format_of(options.output, options.format)
    opened = open_model(options.model, options.signature, options.batch)
    return write(opened, options.output, format, writer_options(options, format, opened), options.json)
