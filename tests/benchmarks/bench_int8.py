"""An int8 MobileNetV2 in LiteRT: lamina's file against the one that TensorFlow's converter writes of the same network.

    python tests/benchmarks/bench_int8.py --tf-python VENV/bin/python --litert-python VENV/bin/python

The network has the shape of MobileNetV2 (width 1, images of 96 x 96, 3.5 million parameters) and random weights. It is
written as float32 and as int8 TFLite, and as a SavedModel, which TensorFlow converts to int8 with the same data. Both
files are run in turns in one process, on one thread, with XNNPACK. Prints operators, sizes, errors and the medians of
their times; the exit status is 1 if lamina's file is slower by more than 3 percent, or larger than 0.27 of float32.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SIZE = 96
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks and the stride of the first of them (Sandler et al., 2018, table 2)."""
SLOWER, LARGER = 1.03, 0.27


def mobilenet() -> Any:
    """MobileNetV2 with the weights of its initializers, normalised by the statistics of some images."""
    import lamina
    from lamina import Input, Model, layers

    lamina.utils.set_random_seed(0)

    def norm(x: Any, activation: bool = True) -> Any:
        x = layers.BatchNormalization(momentum=0.0)(x)
        return layers.Activation("relu6")(x) if activation else x

    x = inputs = Input((SIZE, SIZE, 3), name="image")
    x = norm(layers.Conv2D(32, 3, 2, padding="same", use_bias=False)(x))
    for expansion, channels, blocks, stride in STAGES:
        for block in range(blocks):
            y = x if expansion == 1 else norm(layers.Conv2D(expansion * x.shape[-1], 1, use_bias=False)(x))
            strides = stride if block == 0 else 1
            y = norm(layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(y))
            y = norm(layers.Conv2D(channels, 1, use_bias=False)(y), activation=False)
            x = layers.Add()([x, y]) if x.shape[-1] == channels and strides == 1 else y
    x = norm(layers.Conv2D(1280, 1, use_bias=False)(x))
    net = Model(inputs, layers.Dense(1000, "softmax")(layers.GlobalAveragePooling2D()(x)))
    net(samples(), training=True)  # with a momentum of 0 the statistics become those of these images
    return net


def samples() -> np.ndarray:
    """Images of blurred noise."""
    noise = np.random.default_rng(1).normal(size=(16, SIZE // 8, SIZE // 8, 3))
    return np.kron(noise, np.ones((1, 8, 8, 1))).astype("float32")


def write(folder: Path) -> None:
    """lamina's files, and what the other programs need."""
    from lamina import export

    net, data = mobilenet(), samples()
    export.save(net, None, folder / "float32.tflite", format="tflite")
    start = time.perf_counter()
    report = export.save(
        net, None, folder / "lamina.tflite", format="tflite", precision="int8", representative_data=data
    )
    print(f"{report.parameters:,} parameters; written in {time.perf_counter() - start:.1f} s; {report.fallbacks}")
    export.save(net, None, folder / "saved_model", format="saved_model")
    np.savez(folder / "data.npz", data=data, wanted=np.asarray(net(data)))


def convert(folder: Path) -> None:
    """TensorFlow's side: converts the SavedModel."""
    import tensorflow as tf

    data = np.load(folder / "data.npz")["data"]
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved_model"))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([x[None]] for x in data)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    (folder / "tensorflow.tflite").write_bytes(converter.convert())


def run(folder: Path, rounds: int) -> None:
    """LiteRT's side: runs both files in turns."""
    from collections import Counter

    from ai_edge_litert.interpreter import Interpreter

    stored = np.load(folder / "data.npz")
    found: dict[str, Any] = {}
    ready = {}
    for name in ("lamina", "tensorflow"):
        interpreter = Interpreter(str(folder / f"{name}.tflite"), num_threads=1)
        interpreter.allocate_tensors()
        (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
        plain = Interpreter(str(folder / f"{name}.tflite"), experimental_preserve_all_tensors=True)
        ops = Counter(op["op_name"] for op in plain._get_ops_details() if op["op_name"] != "DELEGATE")
        ready[name] = interpreter, given["index"], made["index"]
        found[name] = {"ops": dict(sorted(ops.items())), "times": [], "errors": []}
    for x, wanted in zip(stored["data"], stored["wanted"], strict=True):
        for name, (interpreter, given, made) in ready.items():
            interpreter.set_tensor(given, x[None])
            interpreter.invoke()
            error = np.abs(interpreter.get_tensor(made)[0] - wanted).max() / wanted.max()
            found[name]["errors"].append(float(error))
    for turn in range(rounds):
        for name in sorted(ready, reverse=bool(turn % 2)):
            start = time.perf_counter()
            ready[name][0].invoke()
            found[name]["times"].append(1e3 * (time.perf_counter() - start))
    (folder / "found.json").write_text(json.dumps(found))


def judge(folder: Path) -> int:
    """Prints what was found."""
    found = json.loads((folder / "found.json").read_text())
    whole = (folder / "float32.tflite").stat().st_size
    for name, entry in found.items():
        size, times = (folder / f"{name}.tflite").stat().st_size, np.asarray(entry["times"])
        low, middle = np.min(times), np.median(times)
        print(f"{name:<11} {size:>10,} bytes ({size / whole:.3f} of float32), {middle:.3f} ms (least {low:.3f}), "
              f"error {np.max(entry['errors']):.3f}")  # fmt: skip
        print("           ", ", ".join(f"{op} {n}" for op, n in entry["ops"].items()))
    ours, theirs = (np.asarray(found[name]["times"]) for name in ("lamina", "tensorflow"))
    ratio = float(np.median(ours) / np.median(theirs))
    share = (folder / "lamina.tflite").stat().st_size / whole
    print(f"time of lamina's file over TensorFlow's: {ratio:.3f} (least times {ours.min() / theirs.min():.3f})")
    return int(ratio > SLOWER or share > LARGER)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tf-python", help="an interpreter with tensorflow")
    parser.add_argument("--litert-python", help="an interpreter with ai-edge-litert")
    parser.add_argument("--rounds", type=int, default=300, help="runs of each file")
    parser.add_argument("--folder", type=Path, help="where the files stay")
    parser.add_argument("--part", choices=("convert", "run"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part == "convert":
        convert(args.folder)
        return 0
    if args.part == "run":
        run(args.folder, args.rounds)
        return 0
    if not args.tf_python or not args.litert_python:
        parser.error("--tf-python and --litert-python are needed")
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        write(folder)
        for python, part in ((args.tf_python, "convert"), (args.litert_python, "run")):
            command = [python, __file__, "--part", part, "--folder", str(folder), "--rounds", str(args.rounds)]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        return judge(folder)


if __name__ == "__main__":
    sys.exit(main())
