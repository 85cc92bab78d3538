"""Writes a model as C++ sources for TFLite Micro."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lamina.checkpoint.files import replacing
from lamina.core.checks import check_choice, check_int
from lamina.export.micro.arena import INSTALL, MicroError, installed, measure
from lamina.export.micro.describe import Description, describe_model
from lamina.export.micro.operators import METHODS, refused
from lamina.export.micro.rewrite import rewrite
from lamina.export.micro.source import KEYWORDS, header, source
from lamina.export.report import ExportReport
from lamina.export.rules import ExportError, Gap
from lamina.export.static import rows, static
from lamina.export.tflite.writer import write_tflite
from lamina.graph.base import GraphBase
from lamina.graph.passes.order import optimize

PRECISIONS = ("float32", "int8")
SUFFIXES = (".cc", ".cpp", ".h")
CURE = " Write them in terms of other ops, or export to 'tflite' for a phone."
_WHERE = "export to tflite_micro"


def write_micro(
    graphs: Mapping[str, GraphBase],
    path: str | os.PathLike,
    precision: str = "float32",
    representative_data: Any = None,
    calibration: str = "minmax",
    percentile: float = 99.99,
    input_type: str = "float32",
    output_type: str = "float32",
    float_layers: Sequence[str] = (),
    layer_precision: Mapping[str, str] | None = None,
    name: str | None = None,
    sizes: Mapping[str, int] | None = None,
    arena_size: int | None = None,
) -> ExportReport:
    """Writes a model as C++: its bytes in an aligned array, and a header with all that a program must know.

    The header has the sizes and scales of inputs and outputs, the operators to add to a
    `tflite::MicroMutableOpResolver`, and the size of the working memory (the arena), which is measured in Micro's own
    interpreter where the package tflite-micro is installed. It is measured with pointers of 64 bits; a device with
    pointers of 32 bits needs less.

    Args:
        graphs: one graph by the name of its signature. The batch is 1.
        path: a folder, which gets `NAME.cc`, `NAME.h` and `NAME.tflite`; or a file that ends in `.cc`, whose header
            gets its name with `.h`.
        precision: `"float32"`, or `"int8"`; Micro runs no other.
        representative_data: for `"int8"`: batches like those that the model will see. For this and what follows,
            see `lamina.export.tflite.writer.write_tflite`.
        calibration: how the ranges of activations are taken from the data.
        percentile: for `calibration="percentile"`.
        input_type: of inputs that are floats, `"float32"` or `"int8"`.
        output_type: of outputs that are floats, likewise.
        float_layers: layers that stay in float32.
        layer_precision: the precision of layers, by path or pattern.
        name: the namespace of the C++ code, and of the files in a folder; by default the name in `path`.
        sizes: sizes of inputs that were left open, by name, beside the batch.
        arena_size: the size of the working memory in bytes, which is then not measured.

    Raises:
        ExportError: Micro has not all of the operators; the message lists them by layer.
        ValueError: an argument is wrong.
    """
    check_choice(_WHERE, "precision", precision, PRECISIONS)
    if arena_size is not None:
        check_int(_WHERE, "arena_size", arena_size, 1)
    if len(graphs) != 1:
        raise ValueError(f"{_WHERE}: Micro runs one signature, got {sorted(graphs)}. Write each to files of its own.")
    ((signature, graph),) = graphs.items()
    source_path, header_path, name = _places(Path(path), name)
    fixed = static(graph, 1, sizes, _WHERE)
    data = None if representative_data is None else list(rows(graph, fixed, representative_data))
    options: dict[str, Any] = {
        "precision": precision, "representative_data": data, "calibration": calibration, "percentile": percentile,
        "input_type": input_type, "output_type": output_type, "float_layers": float_layers,
        "layer_precision": layer_precision,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.tflite"
        report = write_tflite({signature: rewrite(optimize(fixed))}, file, **options)
        content = file.read_bytes()
    description = describe_model(content)
    _check_operators(description)
    arena, how = _arena(content, arena_size)
    texts = {
        source_path: source(content, name, header_path.name).encode(),
        header_path: header(description, name, len(content), arena, how).encode(),
    }
    if source_path.parent == Path(path):
        Path(path).mkdir(parents=True, exist_ok=True)
        texts[source_path.with_suffix(".tflite")] = content
    for place, text in texts.items():
        with replacing(place) as out:
            out.write(text)
    return replace(
        report,
        format="tflite_micro",
        path=os.fspath(path),
        bytes=len(content),
        ops=description.counts,
        measured={"arena bytes": how if arena is None or arena_size is not None else arena},
    )


def _places(path: Path, name: str | None) -> tuple[Path, Path, str]:
    """The files that are written, and the namespace."""
    if path.suffix and path.suffix not in SUFFIXES and not path.is_dir():
        raise ValueError(f"{_WHERE}: the path must be a folder, or a file that ends in .cc, got '{path}'.")
    chosen = name if name is not None else re.sub(r"\W", "_", path.stem, flags=re.ASCII).strip("_").lower()
    if not re.fullmatch(r"[A-Za-z]\w*", chosen, re.ASCII) or chosen in KEYWORDS or "__" in chosen:
        raise ValueError(
            f"{_WHERE}: name must be one that a C++ namespace can have (letters, digits and single _), got {chosen!r}."
        )
    if path.suffix in SUFFIXES and not path.is_dir():
        body = path if path.suffix != ".h" else path.with_suffix(".cc")
        return body, path.with_suffix(".h"), chosen
    return path / f"{chosen}.cc", path / f"{chosen}.h", chosen


def _check_operators(description: Description) -> None:
    gaps = []
    for o in description.operators:
        types = refused(o.op, o.inputs, o.outputs)
        reason = f"TFLite Micro: {types}" if types else "" if o.op in METHODS else "TFLite Micro has no such operator"
        if reason:
            gaps.append(Gap(o.op, o.made.rpartition("/")[0], reason))
    if gaps:
        raise ExportError("tflite_micro", gaps, CURE)


def _arena(data: bytes, given: int | None) -> tuple[int | None, str]:
    """The size of the working memory, and a text on where it comes from."""
    if given is not None:
        return given, f"{given} bytes, as given"
    if not installed():
        return None, f"not measured, since tflite-micro is not installed ({INSTALL})"
    try:
        size, _ = measure(data)
    except MicroError as error:
        gap = Gap("model", "", f"TFLite Micro's interpreter does not run it: {error}")
        raise ExportError("tflite_micro", [gap], CURE) from error
    return size, "measured in TFLite Micro's interpreter, with pointers of 64 bits"
