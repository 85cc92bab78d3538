"""`lamina inspect`: what a checkpoint or a model file holds, and whether it is whole."""

from __future__ import annotations

import json
import math
import os
import sys
from typing import Any

import numpy as np

from lamina.cli.containers import Container, TensorInfo, open_container
from lamina.core.errors import did_you_mean
from lamina.wire.errors import DataLossError, FileFormatError

EXIT_DAMAGED = 1
EXIT_UNREADABLE = 2


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
        print(json.dumps({"name": name, **_described(container.tensors[name]), "value": _plain(value)}))
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
    print(json.dumps(out, indent=1))


def _print_table(container: Container, problems: list[str] | None) -> None:
    print(f"{container.path}: {container.format}")
    rows = [("name", "shape", "dtype", "bytes")]
    rows += [(_shown(name), str(i.shape), i.dtype, f"{i.bytes:,}") for name, i in container.tensors.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for name, shape, dtype, size in rows:
        print(f"  {name:<{widths[0]}}  {shape:<{widths[1]}}  {dtype:<{widths[2]}}  {size:>{widths[3]}}")
    tensors = container.tensors.values()
    values, total = sum(math.prod(i.shape) for i in tensors), sum(i.bytes for i in tensors)
    print(f"{len(tensors):,} tensors, {values:,} values, {total:,} bytes")
    if container.files:
        print("files: " + ", ".join(f"{name} ({size:,} bytes)" for name, size in container.files.items()))
    for problem in problems or []:
        print(f"DAMAGED {problem}")
    if problems == []:
        print(f"whole: {container.verified}")


def _shown(name: str) -> str:
    """A name without characters that a terminal would obey."""
    return name if name.isprintable() else repr(name)


def _described(info: TensorInfo) -> dict[str, Any]:
    return {"shape": list(info.shape), "dtype": info.dtype, "bytes": info.bytes}


def _plain(value: Any) -> Any:
    """A value as JSON knows it: numbers, texts, and complex numbers as pairs."""
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    array = np.asarray(value)
    if array.dtype == object:
        return np.array([_plain(item) for item in array.reshape(-1)], object).reshape(array.shape).tolist()
    if array.dtype.kind == "c":
        return np.stack([array.real, array.imag], -1).tolist()
    return (array if array.dtype.kind in "fiub" else array.astype(np.float64)).tolist()
