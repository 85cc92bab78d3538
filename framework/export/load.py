"""load_frozen: reads a model file of any format that is known, as functions that run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lamina.core.errors import listing
from lamina.export.onnx.reader import load_onnx
from lamina.export.stablehlo.writer import load_stablehlo
from lamina.export.tensorflow.reader import Loaded, load_graph_def, load_saved_model
from lamina.export.tflite.reader import load_tflite

# ending of the file -> reader(path, inputs, outputs)
READERS: dict[str, Callable[..., Any]] = {".pb": load_graph_def, ".onnx": load_onnx, ".tflite": load_tflite}


def load_frozen(
    path: str | os.PathLike, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None
) -> Any:
    """A model file as a function that our executor runs; the library that wrote it is not needed.

    Args:
        path: a frozen graph (`.pb`), an ONNX model (`.onnx`) or a TFLite file (`.tflite`), or the folder of a
            SavedModel or of StableHLO modules.
        inputs: of a frozen graph: the names of the nodes that are fed, in the order of the arguments; by default its
            placeholders.
        outputs: of a frozen graph: the names of the nodes that are wanted; by default those that no other node uses.

    Returns:
        An object with `signatures` by name, each a function of named arrays to a dict; called itself, it runs the
        default one on arrays by position. `to_graph()` gives the `Graph` that other formats are written from.

    Raises:
        FileNotFoundError: there is no such file.
        DataLossError: the file is damaged.
        ValueError: the ending is that of no known format, or an op cannot be run.

    Example:
        >>> import os, tempfile
        >>> from lamina import export
        >>> path = os.path.join(tempfile.mkdtemp(), "sum.pb")
        >>> report = export.save(lambda a, b: a + b, [(2,), (2,)], path, format="frozen")
        >>> load_frozen(path)([1.0, 2.0], [3.0, 4.0]).tolist()
        [4.0, 6.0]
    """
    path = Path(path)
    if path.is_dir():
        if inputs is not None or outputs is not None:
            raise ValueError("load_frozen: inputs and outputs of a SavedModel are those of its signatures.")
        if (path / "model.json").is_file():
            return Loaded(os.fspath(path), load_stablehlo(path))
        return load_saved_model(path)
    if not path.exists():
        raise FileNotFoundError(f"load_frozen: there is no file '{path}'.")
    if path.suffix not in READERS:
        raise ValueError(
            f"load_frozen: '{path.name}' must end in {listing(sorted(READERS))}, or be the folder of a SavedModel."
        )
    return READERS[path.suffix](path, inputs, outputs)
