"""The runtimes' side of `matrix.py` and `onnx_graphs.py`: runs the models of a folder on the arrays beside them.

    python runtime_side.py RUNTIME FOLDER

Imports the runtime alone. Writes NAME.NUMBER.out.npz for each model NAME and NAME.NUMBER.in.npz, or NAME.error.txt.
A model that has either is left out, so that after one that ended the process the rest can be run by another.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Run = Callable[[dict[str, np.ndarray]], dict[str, Any]]


def saved_model(path: Path) -> Run:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    call = loaded.signatures["serving_default"]

    def run(feeds: dict[str, np.ndarray]) -> dict[str, Any]:
        return {k: y.numpy() for k, y in call(**{k: tf.constant(x) for k, x in feeds.items()}).items()}

    run.__dict__["loaded"] = loaded  # variables live as long as it does
    return run


def frozen(path: Path) -> Run:
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    names = json.loads(path.with_suffix(".names.json").read_text())
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    call = wrapped.prune([f"{k}:0" for k in names["inputs"]], [f"{k}:0" for k in names["outputs"]])

    def run(feeds: dict[str, np.ndarray]) -> dict[str, Any]:
        found = call(*(tf.constant(feeds[k]) for k in names["inputs"]))
        return {k: y.numpy() for k, y in zip(names["outputs"], found, strict=True)}

    return run


def onnx(path: Path) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(None, feeds), strict=True))


def tflite(path: Path) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    call = Interpreter(str(path), num_threads=1).get_signature_runner("serving_default")
    return lambda feeds: call(**feeds)


def micro(path: Path) -> Run:
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(path.read_bytes(), arena_size=1 << 25)
    names = json.loads(path.with_suffix(".names.json").read_text())

    def run(feeds: dict[str, np.ndarray]) -> dict[str, Any]:
        rows = []
        for i in range(len(next(iter(feeds.values())))):  # the batch is 1
            for place, name in enumerate(names["inputs"]):
                interpreter.set_input(feeds[name][i : i + 1], place)
            interpreter.invoke()
            rows.append([interpreter.get_output(place) for place in range(len(names["outputs"]))])
        return {k: np.concatenate(ys) for k, ys in zip(names["outputs"], zip(*rows, strict=True), strict=True)}

    return run


def stablehlo(path: Path) -> Run:
    from lamina import load_frozen

    signature = load_frozen(path).signatures["serving_default"]
    return lambda feeds: signature(**feeds)


LOADERS = {f.__name__: f for f in (saved_model, frozen, onnx, tflite, micro, stablehlo)}
SUFFIXES = {
    "saved_model": "",
    "frozen": ".pb",
    "onnx": ".onnx",
    "tflite": ".tflite",
    "micro": ".tflite",
    "stablehlo": "",
}


def main(kind: str, folder: Path) -> None:
    """Runs all models of a folder."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in sorted({given.name.rsplit(".", 3)[0] for given in folder.glob("*.in.npz")}):
        failed = folder / f"{name}.error.txt"
        if failed.exists() or any(folder.glob(f"{name}.*.out.npz")):
            continue
        failed.write_text("the process ended")
        try:
            run = LOADERS[kind](folder / f"{name}{SUFFIXES[kind]}")
            for given in sorted(folder.glob(f"{name}.*.in.npz")):
                found = run(dict(np.load(given).items()))
                np.savez(str(given).replace(".in.npz", ".out.npz"), **found)
        except Exception as error:  # noqa: BLE001 - the reason goes into the table
            failed.write_text(f"{type(error).__name__}: {' '.join(str(error).split())}")
        else:
            failed.unlink()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
