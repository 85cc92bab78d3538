"""`lamina inspect`: lists names, shapes, dtypes and bytes of the tensors of a checkpoint, a .keras, .h5 or .safetensors
file, and tells with --verify whether it is whole. Exit codes: 0, 1 if it is damaged, 2 if it cannot be read.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from typing import Any

from lamina.cli.containers import Container, TensorInfo, open_container
from lamina.cli.output import plain, print_json, table
from lamina.core.errors import did_you_mean
from lamina.wire.errors import DataLossError, FileFormatError

EXAMPLE = "lamina inspect run/model.ckpt-1000 --verify"
EXIT_DAMAGED = 1
EXIT_UNREADABLE = 2


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("path", help="a checkpoint's folder or prefix (run/model.ckpt-1000), or a file")
    parser.add_argument("--tensor", metavar="NAME", help="print the values of this tensor")
    parser.add_argument("--verify", action="store_true", help="read everything and compare checksums")


def run(options: Any) -> int:
    """Runs the command; returns the exit code."""
    return run_inspect(options.path, options.json, options.tensor, options.verify)


def run_inspect(path: str, as_json: bool, tensor: str | None, verify: bool) -> int:
    """Prints what a file holds.

    Args:
        path: a checkpoint's prefix or folder, or a `.keras`, `.h5` or `.safetensors` file.
        as_json: print JSON instead of a table.
        tensor: print the values of this tensor instead.
        verify: read everything, and print what is wrong.

    Returns:
        The exit code: 0, 1 for a damaged file, 2 for one that is missing or of no known format, or an unknown tensor.
    """
    try:
        with open_container(path) as container:
            if tensor is not None:
                return _print_tensor(container, tensor, as_json)
            problems = container.problems() if verify else []
            (_print_json if as_json else _print_table)(container, problems if verify else None)
            sys.stdout.flush()
            return EXIT_DAMAGED if problems else 0
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except DataLossError as error:
        print(f"lamina inspect: {error}", file=sys.stderr)
        return EXIT_DAMAGED
    except (FileFormatError, OSError, ImportError) as error:
        print(f"lamina inspect: {error}", file=sys.stderr)
        return EXIT_UNREADABLE


def _print_tensor(container: Container, name: str, as_json: bool) -> int:
    if name not in container.tensors:
        print(
            f"lamina inspect: '{container.path}' holds no tensor '{name}'.{did_you_mean(name, container.tensors)}",
            file=sys.stderr,
        )
        return EXIT_UNREADABLE
    value = container.read(name)
    if as_json:
        print_json({"name": name, **_described(container.tensors[name]), "value": plain(value)})
    else:
        print(value.decode(errors="backslashreplace") if isinstance(value, bytes) else value)
    return 0


def _print_json(container: Container, problems: list[str] | None) -> None:
    out: dict[str, Any] = {
        "path": container.path,
        "format": container.format,
        "tensors": [{"name": name, **_described(info)} for name, info in container.tensors.items()],
        "files": container.files,
    }
    if problems is not None:
        out["problems"] = problems
    print_json(out)


def _print_table(container: Container, problems: list[str] | None) -> None:
    print(f"{container.path}: {container.format}")
    rows = [[name, str(info.shape), info.dtype, info.bytes] for name, info in container.tensors.items()]
    print(table(["name", "shape", "dtype", "bytes"], rows, [3]))
    tensors = container.tensors.values()
    values, total = sum(math.prod(i.shape) for i in tensors), sum(i.bytes for i in tensors)
    print(f"{len(tensors):,} tensors, {values:,} values, {total:,} bytes")
    if container.files:
        print("files: " + ", ".join(f"{name} ({size:,} bytes)" for name, size in container.files.items()))
    for problem in problems or []:
        print(f"DAMAGED {problem}")
    if problems == []:
        print(f"whole: {container.verified}")


def _described(info: TensorInfo) -> dict[str, Any]:
    return {"shape": list(info.shape), "dtype": info.dtype, "bytes": info.bytes}
