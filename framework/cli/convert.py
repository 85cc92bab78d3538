"""`lamina convert`: writes a model of any format that is read in another one.

Weights that a file holds in integers are read as the numbers they stand for, so a quantised file becomes one of
floats, unless --precision says more. Exit codes: 0, 1 if ops cannot be written, 2 for wrong usage or a bad file.
"""

from __future__ import annotations

import argparse
from typing import Any

from lamina.cli.export import run as export
from lamina.cli.models import KINDS
from lamina.cli.writing import add_writing_options

EXAMPLE = "lamina convert model.onnx saved_model_folder"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("model", help=KINDS)
    parser.add_argument("output", help="what to write")
    add_writing_options(parser)


def run(options: Any) -> int:
    """Runs the command; returns the exit code."""
    return export(options)
