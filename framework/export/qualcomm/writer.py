"""Writes a model as a .dlc file for Snapdragon, by the vendor's provider for ONNX Runtime."""

from __future__ import annotations

import functools
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lamina.checkpoint.files import replacing
from lamina.core.checks import check_choice, check_int
from lamina.core.errors import describe
from lamina.export.mixed import LayerPrecision
from lamina.export.onnx.tensors import onnx_package
from lamina.export.onnx.writer import ACTIVATION_TYPES, WIDE_OPSET, write_onnx
from lamina.export.qualcomm.kit import write_kit
from lamina.export.qualcomm.lowering import lowered
from lamina.export.qualcomm.op_trace import converted, rejected
from lamina.export.qualcomm.provider import Conversion, ProviderError, convert, require, simulate
from lamina.export.qualcomm.samples import Feeds, check_repeats, sample_feeds
from lamina.export.report import ExportReport
from lamina.export.rules import ExportError, Gap
from lamina.export.static import rows, static
from lamina.graph.base import GraphBase

LIMITS = {"float32": 0.02, "float16": 0.02, "int8": 0.3, "int16x8": 0.05}
"""The largest difference, relative to the largest output, that is taken for rounding; the processor has float16."""
SOC_MODEL = 69
"""The chip that is simulated by default. Without one, the simulator lacks many ops of floats, and is wrong in some."""
OPSET = 17
CURE = " Write them in terms of other ops."
_WHERE = "export to dlc"


def write_dlc(
    graphs: Mapping[str, GraphBase],
    path: str | os.PathLike,
    precision: str = "float32",
    representative_data: Any = None,
    calibration: str = "minmax",
    percentile: float = 99.99,
    float_layers: Sequence[str] = (),
    layer_precision: Mapping[str, str] | None = None,
    opset: int | None = None,
    optimize: bool = True,
    batch_size: int = 1,
    sizes: Mapping[str, int] | None = None,
    check: bool = True,
    soc_model: int = SOC_MODEL,
    kit: bool | str | os.PathLike = False,
) -> ExportReport:
    """Writes one graph as a .dlc file: as ONNX with known sizes, which the vendor's provider converts.

    Ops that the provider refuses, or that the simulator shows it to compute wrong, are written in terms of others; see
    `lamina.export.qualcomm.lowering`. The conversion runs in a process of its own, and must give one file that holds
    all of the model. The same ONNX model is then run on the vendor's simulator of the processor, and compared with what
    our ops compute; the largest difference, relative to the largest output, stands in the report. A warning is given if
    it is more than rounding, or if the simulator cannot run the model. This checks the graph, not the file's bytes.

    Args:
        graphs: one graph by the name of its signature.
        path: the file.
        precision: `"float32"`, `"float16"`; `"int8"` for integers throughout, or `"int16x8"` for activations of 16
            bits and weights of 8.
        representative_data: for integers: batches like those that the model will see; see
            `lamina.export.calibrate.calibrate`. If given, the first of them are also what the model is tried with.
        calibration: how the ranges of activations are taken from it. For this and what follows, see
            `lamina.export.onnx.writer.write_onnx`.
        percentile: for `calibration="percentile"`.
        float_layers: with integers: layers that stay in float32.
        layer_precision: with integers: the precision of layers, by path or pattern.
        opset: the version of ONNX's op set; by default 17, and 21 for activations of 16 bits.
        optimize: whether the graph is folded and fused first.
        batch_size: the size of the batch, where it was left open.
        sizes: other sizes of inputs that were left open, by name.
        check: whether the model is run on the simulator, which is slow, and takes an x86-64 machine.
        soc_model: the chip that is simulated, in the vendor's counting; see the table of supported devices in the
            vendor's documentation.
        kit: whether a folder for the vendor's own tools is written too, named like the file with `_kit` behind it; or
            the folder. See `lamina.export.qualcomm.kit.write_kit`.

    Raises:
        ExportError: ops cannot be written, or the provider refuses them; the message lists them by layer.
        ValueError: an argument is wrong.
        ModuleNotFoundError: a package of the extra `qualcomm` is missing.
    """
    check_choice(_WHERE, "precision", precision, tuple(LIMITS))
    check_int(_WHERE, "soc_model", soc_model, 1)
    integers = precision in ACTIVATION_TYPES
    if integers and representative_data is None:
        raise ValueError(
            f"{_WHERE}: precision={precision!r} needs representative_data, batches that the ranges of all values are "
            f"measured on, got {describe(representative_data)}."
        )
    if representative_data is not None:
        check_repeats(representative_data, _WHERE)
    if len(graphs) != 1:
        raise ValueError(
            f"{_WHERE}: a .dlc file holds one signature, got {sorted(graphs)}. Write each to its own file."
        )
    require(_WHERE)
    ((signature, graph),) = graphs.items()
    fixed = static(graph, batch_size, sizes, _WHERE)
    wide = precision == "int16x8" or "int16x8" in (layer_precision or {}).values()
    if opset is None:
        opset = WIDE_OPSET if wide else OPSET
    options: dict[str, Any] = {
        "precision": precision, "opset": opset, "calibration": calibration, "percentile": percentile,
        "float_layers": float_layers, "layer_precision": layer_precision, "optimize": optimize, "float32_ops": (),
    }  # fmt: skip
    if integers:
        options["representative_data"] = list(rows(graph, fixed, representative_data))
    layers = LayerPrecision(_WHERE, precision, layer_precision or {}, float_layers, ("float32", *ACTIVATION_TYPES))
    options["lowering"] = functools.partial(lowered, floats=lambda path: layers(path) not in ACTIVATION_TYPES)
    path = Path(path)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model.onnx"
        written = write_onnx({signature: fixed}, model, **options)
        (folder / "dlc").mkdir()
        result = convert(model, folder / "dlc")
        file = _only(result, model)
        measured: dict[str, float | str] = {}
        fallbacks = list(written.fallbacks)
        if check:
            feeds = sample_feeds(graph, fixed, representative_data, 1, _WHERE)[0]
            measured = _compare(fixed, model, feeds, written.signatures[signature], soc_model)
            found = _finding(measured, precision)
            if found:
                fallbacks.append(("", "model", found))
                warnings.warn(f"{_WHERE}: {found}.", stacklevel=2)
        if kit:
            beside = path.with_name(f"{path.stem}_kit") if kit is True else Path(kit)
            more = {"representative_data": representative_data, "batch_size": batch_size, "sizes": sizes}
            write_kit({signature: graph}, beside, **more)
        content = file.read_bytes()
        with replacing(path) as out:
            out.write(content)
    return replace(
        written,
        format="dlc",
        path=os.fspath(path),
        bytes=len(content),
        precision=precision,
        ops=converted(result.trace or {}),
        fallbacks=fallbacks,
        measured=measured,
    )


def _only(result: Conversion, model: Path) -> Path:
    """The one file that a conversion must give."""
    refused = [] if result.trace is None else rejected(result.trace, _nodes(model))
    if refused:
        raise ExportError("dlc", refused, CURE)
    if result.error or len(result.files) != 1:
        reason = " ".join(result.error.split()) or f"the provider wrote {len(result.files)} files, not one"
        raise ExportError("dlc", [Gap("model", "", reason)])
    return result.files[0]


def _nodes(model: Path) -> list[str]:
    onnx = onnx_package(_WHERE)
    return [node.name for node in onnx.load(str(model), load_external_data=False).graph.node]


def _compare(
    graph: Any, model: Path, feeds: Feeds, names: tuple[list[str], list[str]], soc_model: int
) -> dict[str, float | str]:
    """How far the simulator's outputs are from ours."""
    inputs, outputs = names
    given = list(feeds.values())
    try:
        found = simulate(model, dict(zip(inputs, given, strict=True)), soc_model)
    except ProviderError as error:
        return {"simulator": f"not run: {error}"}
    wanted = [np.asarray(y) for y in jax.tree.leaves(graph(*given))]
    errors = [difference(found[name], want) for name, want in zip(outputs, wanted, strict=True)]
    return {"simulator: largest error": max(errors), "simulator: soc_model": float(soc_model)}


def _finding(measured: Mapping[str, float | str], precision: str) -> str:
    """What the simulator shows to be wrong, or nothing."""
    if "simulator" in measured:
        return f"the simulator does not run the model, and a processor may not either ({measured['simulator']})"
    error = float(measured["simulator: largest error"])
    if error <= LIMITS[precision]:
        return ""
    return (
        f"the simulator's outputs differ by {error:.1e} of the largest, where {LIMITS[precision]} can be rounding: an "
        "op is computed wrong, or values leave the range of the processor"
    )


def difference(got: np.ndarray, want: np.ndarray) -> float:
    """The largest difference of two arrays, relative to the largest element of the second.

    Example:
        >>> difference(np.asarray([1.0, 2.2]), np.asarray([1.0, 2.0]))
        0.1...
    """
    if got.shape != want.shape:
        return float("inf")
    got, want = got.astype(np.float64), want.astype(np.float64)
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(got - want))
    size = np.max(np.abs(want[np.isfinite(want)]), initial=1e-6)
    worst = float(np.max(apart, initial=0.0) / size)
    return worst if np.isfinite(worst) else float("inf")
