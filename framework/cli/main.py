"""The command `lamina`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lamina.cli.demo import run_demo
from lamina.cli.inspect import run_inspect


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="lamina", description="Train models on JAX, the Keras way.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    demo = commands.add_parser(
        "demo",
        help="train a small CNN on handwritten digits",
        description="Trains a small convolutional network on 1,797 handwritten digits that come with the package.",
    )
    demo.add_argument("--epochs", type=int, default=20, help="passes over the training data (default 20)")
    demo.add_argument("--folder", default="lamina_demo", help="where results go (default lamina_demo)")
    demo.add_argument("--seed", type=int, default=0, help="seed of weights, order and augmentation (default 0)")
    inspect = commands.add_parser(
        "inspect",
        help="list the tensors of a checkpoint or a model file",
        description="Lists names, shapes, dtypes and bytes of the tensors of a checkpoint, or of a .keras, .h5 or "
        ".safetensors file. Exit codes: 0, 1 if it is damaged, 2 if it cannot be read.",
    )
    inspect.add_argument("path", help="a checkpoint's folder or prefix (run/model.ckpt-1000), or a file")
    inspect.add_argument("--json", action="store_true", help="print JSON")
    inspect.add_argument("--tensor", metavar="NAME", help="print the values of this tensor")
    inspect.add_argument("--verify", action="store_true", help="read everything and compare checksums")
    options = parser.parse_args(arguments)
    if options.command == "inspect":
        return run_inspect(options.path, options.json, options.tensor, options.verify)
    if options.epochs < 1:
        parser.error(f"--epochs must be at least 1, got {options.epochs}")
    return run_demo(options.epochs, options.folder, options.seed)


if __name__ == "__main__":
    sys.exit(main())
