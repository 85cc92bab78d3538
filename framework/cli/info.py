"""`lamina info`: lists inputs, outputs, ops, sizes and costs of a model; of weights alone, how many there are.

Costs are those of one sample. --layers adds a line for each layer. Exit codes: 0, 2 if there is nothing to read.
"""

from __future__ import annotations

import argparse
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from lamina.cli.containers import open_container
from lamina.cli.models import KINDS, Opened, open_model
from lamina.cli.native import native, precision
from lamina.cli.output import print_json, shown, table
from lamina.graph.compare import type_text
from lamina.graph.dims import shape_text
from lamina.graph.expand import instructions
from lamina.graph.ir import is_floating
from lamina.wire.errors import FileFormatError

EXAMPLE = "lamina info model.tflite --layers"
_WEIGHTS = (".safetensors", ".weights.h5", ".index", ".meta")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("model", help=f"{KINDS}; a checkpoint, .safetensors or .weights.h5 file, or a .dlc file")
    parser.add_argument("--layers", action="store_true", help="a line for each layer")
    parser.add_argument("--signature", help="which way in, where the model has several")


def run(options: Any) -> int:
    """Runs the command; returns the exit code."""
    path = options.model
    known = _archive(path) if path.endswith(".dlc") else _weights(path) if _holds_weights(path) else None
    if known is None:
        known = _model(open_model(path, options.signature), options.layers)
    if options.json:
        print_json(known)
    else:
        _print(known)
    return 0


def _holds_weights(path: str) -> bool:
    bare = Path(path)
    folder = bare.is_dir() and (bare / "checkpoint").is_file() and not (bare / "saved_model.pb").is_file()
    return path.endswith(_WEIGHTS) or folder or (not bare.exists() and Path(f"{path}.index").is_file())


def _archive(path: str) -> dict[str, Any]:
    """A file for Snapdragon: its size and the names of its entries; what is in them is the vendor's own."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [{"name": e.filename, "bytes": e.file_size} for e in archive.infolist()]
    except zipfile.BadZipFile as error:
        raise FileFormatError(f"'{path}' is no .dlc file: {error}.") from error
    return {"path": path, "format": "dlc", "bytes": Path(path).stat().st_size, "entries": entries}


def _weights(path: str) -> dict[str, Any]:
    with open_container(path) as container:
        tensors = container.tensors.values()
        dtypes: Counter[str] = Counter()
        for info in tensors:
            dtypes[info.dtype] += int(np.prod(info.shape, dtype=np.int64))
        return {
            "path": path,
            "format": container.format,
            "bytes": sum(info.bytes for info in tensors),
            "tensors": len(container.tensors),
            "parameters": sum(dtypes.values()),
            "parameters_by_dtype": dict(dtypes),
        }


def _model(opened: Opened, layers: bool) -> dict[str, Any]:
    known: dict[str, Any] = {"path": opened.path, "format": opened.format, "bytes": opened.size}
    if opened.signatures:
        known["signatures"] = opened.signatures
    known["inputs"] = [{"name": n, "shape": s, "dtype": np.dtype(d).name} for n, (s, d) in opened.inputs.items()]
    if opened.code is not None:
        known["outputs"] = [{"name": name} for name in opened.outputs]
        known["ops"] = dict(Counter(re.findall(r"\bstablehlo\.(?!return)([a-z_]+)", opened.code)).most_common())
        if layers:
            raise ValueError(f"'{opened.path}' is a compiled program (StableHLO), which has no layers.")
        return known
    graph = opened.graph
    costs = graph.costs()
    outputs = zip(graph.output_names, graph.outputs, strict=True)
    known["outputs"] = [{"name": n, "shape": list(v.shape), "dtype": v.dtype.name} for n, v in outputs]
    own = native(opened.path, opened.format)
    ops, dtypes = own or (Counter(i.label for i in instructions(graph)), Counter())
    known["ops"] = dict(ops.most_common())
    arrays = [np.asarray(a) for a in graph.constants.values() if np.size(a) > 1]
    for array in arrays if own is None else ():
        dtypes[array.dtype.name] += array.size if is_floating(array.dtype) or array.dtype.kind in "iu" else 0
    known["parameters"] = sum(a.size for a in arrays)
    known["precision"] = precision(dtypes)
    known["stored"] = dict(dtypes.most_common())
    known["operations"] = sum(c.operations for c in costs)
    known["bytes_moved"] = sum(c.bytes for c in costs)
    if layers:
        known["layers"] = _layers(graph, costs)
    return known


def _layers(graph: Any, costs: Any) -> list[dict[str, Any]]:
    """A row for each layer, in the order of the program."""
    rows: dict[str, dict[str, Any]] = {}
    for cost in costs:
        row = rows.setdefault(
            cost.instr.path,
            {"layer": cost.instr.path, "ops": [], "output": "", "parameters": 0, "operations": 0, "bytes": 0},
        )
        row["ops"].append(cost.instr.label)
        row["output"] = type_text(cost.instr.output)
        for key in ("parameters", "operations", "bytes"):
            row[key] += getattr(cost, key)
    return list(rows.values())


def _print(known: dict[str, Any]) -> None:
    size = "" if known["bytes"] is None else f", {known['bytes']:,} bytes"
    print(f"{shown(known['path'])}: {known['format']}{size}")
    if "entries" in known:
        print(table(["entry", "bytes"], [[e["name"], e["bytes"]] for e in known["entries"]], [1]))
        return
    if "tensors" in known:
        dtypes = ", ".join(f"{n:,} {d}" for d, n in known["parameters_by_dtype"].items())
        print(f"{known['tensors']:,} tensors, {known['parameters']:,} values ({dtypes})")
        return
    if len(known.get("signatures", [])) > 1:
        print("signatures: " + ", ".join(map(shown, known["signatures"])))
    for side in ("inputs", "outputs"):
        print(f"{side}:")
        for entry in known[side]:
            shape = entry.get("shape", ())
            kind = (
                f"  {entry['dtype']} {'any rank' if shape is None else shape_text(shape)}" if "dtype" in entry else ""
            )
            print(f"  {shown(entry['name'])}{kind}")
    print(f"ops: {sum(known['ops'].values())} of {len(known['ops'])} kinds")
    print(table(["op", "count"], list(known["ops"].items()), [1]))
    if "parameters" in known:
        print(
            f"{known['parameters']:,} parameters ({known['precision']}), {known['operations']:,} operations and "
            f"{known['bytes_moved']:,} bytes moved for a sample"
        )
    if "layers" in known:
        head = ["layer", "ops", "output", "parameters", "operations", "bytes"]
        rows = [[r["layer"] or "(none)", _short(r["ops"]), *(r[k] for k in head[2:])] for r in known["layers"]]
        print(table(head, rows, [3, 4, 5]))


def _short(ops: list[str]) -> str:
    counts = Counter(ops)
    texts = [op if n == 1 else f"{n} {op}" for op, n in counts.items()]
    return ", ".join(texts[:4]) + (" ..." if len(texts) > 4 else "")
