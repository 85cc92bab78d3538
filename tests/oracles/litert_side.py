"""LiteRT's side of `tflite_graphs.py`: runs the TFLite files of a folder on stored inputs, compares the outputs."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter


def relative(got: np.ndarray, want: np.ndarray) -> float:
    """The largest difference, against the largest element."""
    got, want = got.astype(np.float64), want.astype(np.float64)
    if got.shape != want.shape or not np.isfinite(got).all():
        return np.inf
    return float(np.abs(got - want).max(initial=0) / max(np.abs(want).max(initial=0), 1e-3))


def check(path: Path, cases: list[str]) -> dict[str, Any]:
    """The largest error of each case, through the signature by name; how the buffers lie; the time of a run."""
    found: dict[str, Any] = {}
    interpreter = Interpreter(str(path), num_threads=1)
    for case in cases:
        stored = np.load(path.parent / f"{path.stem.partition('.')[0]}.{case}.npz")
        runner = interpreter.get_signature_runner("serving_default")
        details = runner.get_input_details()
        given = {k: stored[f"in:{k}"].astype(details[k]["dtype"]) for k in details}
        got = runner(**given)
        wanted = {k.partition(":")[2]: stored[k] for k in stored.files if k.startswith("out:")}
        found[case] = max(relative(got[k], want) for k, want in wanted.items()) if set(got) == set(wanted) else np.inf
        start = time.perf_counter()
        runner(**given)
        found[f"{case}_ms"] = 1e3 * (time.perf_counter() - start)
        if "labels" in stored.files:
            (logits,) = got.values()
            found["accuracy"] = float(np.mean(logits.argmax(-1) == stored["labels"]))
    found["unaligned"] = unaligned(path.read_bytes())
    return found


def unaligned(data: bytes) -> int:
    """How many buffers do not start at a multiple of 16."""
    model = schema.Model.GetRootAs(data, 0)
    count = 0
    for i in range(model.BuffersLength()):
        buffer = model.Buffers(i)
        if buffer.DataLength():
            count += buffer._tab.Vector(buffer._tab.Offset(4)) % 16 != 0
    return count


def main(folder: Path) -> None:
    wanted = json.loads((folder / "cases.json").read_text())
    found = {}
    for name, cases in wanted.items():
        try:
            found[name] = check(folder / name, cases)
        except (RuntimeError, ValueError, KeyError) as error:
            found[name] = {"error": str(error)}
    (folder / "found.json").write_text(json.dumps(found))
    enums = {
        "operators": {k: v for k, v in vars(schema.BuiltinOperator).items() if k[0].isupper()},
        "options": {k: v for k, v in vars(schema.BuiltinOptions).items() if k[0].isupper()},
    }
    (folder / "enums.json").write_text(json.dumps(enums))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
