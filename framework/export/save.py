"""save: functions and models as files of other runtimes."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lamina.core.checks import check_choice, unknown_arguments
from lamina.export.micro.writer import write_micro
from lamina.export.onnx.writer import write_onnx
from lamina.export.qualcomm.kit import write_kit
from lamina.export.qualcomm.writer import write_dlc
from lamina.export.report import ExportReport
from lamina.export.rules import TARGETS
from lamina.export.stablehlo.writer import write_stablehlo
from lamina.export.tensorflow.writer import write_frozen, write_saved_model
from lamina.export.tflite.writer import write_tflite
from lamina.graph.base import GraphBase
from lamina.graph.trace import trace

DEFAULT = "serving_default"
"""The signature that a runtime looks for when none is named."""
# format -> (target whose rules it takes, if it has a table; writer(graphs by signature, path, **options) -> report)
FORMATS: dict[str, tuple[str, Callable[..., ExportReport]]] = {
    "saved_model": ("tensorflow", write_saved_model),
    "frozen": ("tensorflow", write_frozen),
    "onnx": ("onnx", write_onnx),
    "stablehlo": ("stablehlo", write_stablehlo),
    "tflite": ("tflite", write_tflite),
    "tflite_micro": ("tflite", write_micro),
    "dlc": ("onnx", write_dlc),
    "dlc_kit": ("onnx", write_kit),
}
ALIASES = {"tf_saved_model": "saved_model", "pb": "frozen", "graph_def": "frozen"}


def save(
    fn: Any,
    specs: Any,
    path: str | os.PathLike,
    format: str = "saved_model",
    signatures: Mapping[str, Any] | None = None,
    **options: Any,
) -> ExportReport:
    """Writes a function, layer, model or graph in the format of another runtime.

    All that the format cannot express is reported at once, by layer, before a file is written.

    Args:
        fn: a function of arrays, a layer, a model or a `Graph`; None if `signatures` holds all.
        specs: a list of the arguments' specs, as `lamina.graph.trace` takes them (None in a shape is a size that is not
            known); None for a model that was made from `Input`, and for a graph.
        path: the file, or the folder of a SavedModel.
        format: `"saved_model"` (a folder with variables), `"frozen"` (one GraphDef with constants), `"onnx"` (one file
            for ONNX runtimes), `"tflite"` (one file for LiteRT on phones and small devices), `"tflite_micro"` (C++
            sources for microcontrollers), `"dlc"` (one file for Snapdragon), `"dlc_kit"` (a folder for the tools of
            its vendor), or `"stablehlo"` (a folder that jax runs, without the model's code).
        signatures: further entry points by name, each a graph, or a pair (function, specs). They may share variables.
        **options: of the format: `allow_xla=True` writes ops without a counterpart as StableHLO, which TensorFlow alone
            runs; `keep_variables=False` makes a SavedModel's variables constants; for those of ONNX see
            `lamina.export.onnx.writer.write_onnx`, for those of TFLite, quantisation among them,
            `lamina.export.tflite.writer.write_tflite`, for those of TFLite Micro
            `lamina.export.micro.writer.write_micro`, for those of Snapdragon
            `lamina.export.qualcomm.writer.write_dlc` and `lamina.export.qualcomm.kit.write_kit`.

    Returns:
        An `ExportReport`.

    Raises:
        ExportError: ops cannot be written; the message lists them by layer.
        ValueError: the format is unknown, or the function cannot be traced.
        TypeError: the format has no such option.

    Example:
        >>> import os, tempfile
        >>> import lamina
        >>> from lamina import ops
        >>> path = os.path.join(tempfile.mkdtemp(), "double.pb")
        >>> report = lamina.export.save(lambda x: ops.relu(x) * 2.0, [(None, 3)], path, format="frozen")
        >>> sorted(report.ops.items())
        [('Identity', 1), ('Mul', 1), ('Placeholder', 1), ('Relu', 1)]
        >>> lamina.load_frozen(path)([[1.0, -1.0, 2.0]]).tolist()
        [[2.0, 0.0, 4.0]]
    """
    format = ALIASES.get(format, format)
    check_choice("export.save", "format", format, FORMATS)
    target, writer = FORMATS[format]
    known = [n for n in inspect.signature(writer).parameters if n not in ("graphs", "path")]
    if unknown := [n for n in options if n not in known]:
        raise unknown_arguments(f"export to {format}", unknown, known)
    keep = TARGETS[target].own if target in TARGETS else {}
    wanted: dict[str, Any] = {} if fn is None else {DEFAULT: (fn, specs)}
    wanted.update(signatures or {})
    if not wanted:
        raise ValueError("export.save: pass a function, or signatures.")
    graphs = {name: _graph(given, keep, name) for name, given in wanted.items()}
    return writer(graphs, path, **options)


def _graph(given: Any, keep: Mapping[str, Any], name: str) -> GraphBase:
    fn, specs = given if isinstance(given, (tuple, list)) and len(given) == 2 else (given, None)
    if isinstance(fn, GraphBase):
        return fn
    if not callable(fn):
        raise TypeError(f"export.save: signature '{name}' must be a function or a pair (function, specs), got {fn!r}.")
    given_specs: Sequence[Any] = [] if specs is None else specs
    return trace(fn, *given_specs, keep=tuple(keep))
