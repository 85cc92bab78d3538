"""ONNX models that lamina writes, loaded and run by ONNX Runtime.

    python tests/oracles/onnx_graphs.py --ort-python VENV/bin/python [--folder FOLDER] [--only WORD]

VENV holds onnxruntime, this interpreter lamina. lamina writes models of many kinds (in float32, in float16, in the
oldest and the newest op set), every row of the layer contracts and every op of the table; ONNX Runtime runs each,
the models at batch 1 and 5. Prints a table of the models with the largest error, relative to the largest element, and
whatever else fails. The exit status is 1 if something does.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "layers"), str(ROOT / "tests" / "export" / "onnx")]

from onnx_cases import CASES  # noqa: E402
from onnx_models import MODELS, randomise, samples  # noqa: E402
from test_layer_contracts import ROWS  # noqa: E402

from lamina import export, load_frozen  # noqa: E402
from lamina.export import ExportError  # noqa: E402
from lamina.graph import trace  # noqa: E402
from lamina.graph.interpret import call  # noqa: E402

SIDE = Path(__file__).parent / "runtime_side.py"
TOLERANCE = {
    "float32": 1e-5, "float16": 5e-3, "opsets": 1e-5, "layers": 2e-5, "ops": 2e-5, "uint8": 0.3, "int8": 0.3,
    "int16x8": 0.1, "int8 read": 0.05,
}  # fmt: skip
"""Relative to the largest element; of integers for weights of random numbers, which are harder than trained ones."""
QUANTISED = {
    "uint8": {"precision": "int8"},
    "int8": {"precision": "int8", "activation_type": "int8", "calibration": "mse"},
    "int16x8": {"precision": "int16x8", "opset": 21},
}
"""How the models are quantised: with weights of random numbers, so that rounding is what is measured."""
UNABLE = {
    "Hashing": "strings and numbers are hashed on the host",
    "HashedCrossing": "strings and numbers are hashed on the host",
    "MelSpectrogram": "the Fourier transform is no op of the table",
    "STFTSpectrogram": "the Fourier transform is no op of the table",
}
"""Layers that cannot be written, with the reason."""


class Spec:
    """Shape and dtype of an array whose first axis is the batch."""

    def __init__(self, array: Any):
        self.shape, self.dtype = ("batch", *np.shape(array)[1:]), array.dtype


class Cases:
    """What was written, and what should come out."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.wanted: dict[str, tuple[str, list[tuple[str, list[np.ndarray]]]]] = {}
        self.failed: list[str] = []
        self.read: dict[str, list[np.ndarray]] = {}

    def write(self, stem: str, kind: str, graph: Any, feeds: list[dict[str, np.ndarray]], run: Any, **more: Any) -> Any:
        """Writes a graph and its inputs; keeps the outputs of `run`."""
        report = export.save(graph, None, self.folder / f"{stem}.onnx", format="onnx", **more)
        runs = []
        for i, given in enumerate(feeds):
            np.savez(self.folder / f"{stem}.{i}.in.npz", **given)
            runs.append((str(i), [np.asarray(y) for y in jax.tree.leaves(run(given))]))
        self.wanted[stem] = (kind, runs)
        return report

    def read_errors(self, stem: str) -> float:
        """The largest difference between ONNX Runtime and our executor, which ran the file too."""
        files = [np.load(self.folder / f"{stem}.{n}.out.npz") for n, _ in self.wanted[stem][1]]
        theirs = [f[name] for f in files for name in f.files]
        return max(difference(a, b) for a, b in zip(theirs, self.read[stem], strict=True))

    def errors(self, stem: str) -> tuple[float, str]:
        """The largest error of a case relative to its largest element, or what went wrong."""
        reason = self.folder / f"{stem}.error.txt"
        if reason.exists():
            return np.inf, reason.read_text()
        worst = 0.0
        for number, want in self.wanted[stem][1]:
            file = np.load(self.folder / f"{stem}.{number}.out.npz")
            for name, y in zip(file.files, want, strict=True):
                worst = max(worst, difference(file[name], y))
        return worst, ""


def difference(got: np.ndarray, want: np.ndarray) -> float:
    """The largest difference relative to the largest element."""
    integers = got.dtype.kind in "iu" and want.dtype.kind in "iu"  # eager lookups give int64
    if got.shape != want.shape or (got.dtype != want.dtype and not integers):
        return np.inf
    if want.dtype.kind != "f":
        return 0.0 if np.array_equal(got, want) else np.inf
    got, want = got.astype(np.float64), want.astype(np.float64)
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    size = max(float(np.max(np.abs(want[np.isfinite(want)]), initial=0.0)), 1e-6)
    with np.errstate(invalid="ignore"):
        return float(np.max(np.where(same, 0.0, np.abs(got - want)), initial=0.0)) / size


def write_models(cases: Cases, only: str) -> dict[str, Any]:
    """The models, in float32 and float16; returns the reports."""
    reports = {}
    for name, make in MODELS.items():
        if only and only not in name:
            continue
        rng = np.random.default_rng(0)
        net, specs, names = made if isinstance(made := make(), tuple) else (made, [], None)
        randomise(net, rng)
        graph = trace(net, *specs, input_names=names)
        feeds = [samples(graph, batch, rng) for batch in (1, 5)]

        def run(given: dict[str, np.ndarray], net: Any = net) -> Any:
            arrays = list(given.values())
            return net(arrays if len(arrays) > 1 else arrays[0], training=False)

        for precision in ("float32", "float16"):
            stem = f"model_{name}_{precision}"
            reports[stem] = cases.write(stem, precision, graph, feeds, run, precision=precision)
        for opset in (13, 21):
            cases.write(f"model_{name}_opset{opset}", "opsets", graph, feeds, run, opset=opset, external_data=True)
        data = [samples(graph, 8, rng) for _ in range(8)] + feeds
        for kind, more in QUANTISED.items():
            stem = f"model_{name}_{kind}"
            reports[stem] = cases.write(stem, kind, graph, feeds, run, representative_data=data, **more)
            back = load_frozen(cases.folder / f"{stem}.onnx").signatures["serving_default"]
            cases.read[stem] = [np.asarray(y) for g in feeds for y in back(**g).values()]
        read = load_frozen(cases.folder / f"model_{name}_float32.onnx").signatures["serving_default"]
        back = [difference(read(**g)[n], np.asarray(y)) for g in feeds
                for n, y in zip(graph.output_names, jax.tree.leaves(run(g)), strict=True)]  # fmt: skip
        reports[f"read_{name}"] = max(back)
    return reports


def write_layers(cases: Cases, only: str) -> None:
    """The rows of the layer contracts."""
    for i, row in enumerate(ROWS):
        if only and only not in row.name or row.name.startswith(("Random", "MixUp", "CutMix", "AugMix", "RandAug")):
            continue
        layer = row.make()
        flags = {k: v for k, v in row.call.items() if isinstance(v, bool) and k != "training"}
        arrays = {k: v for k, v in row.call.items() if not isinstance(v, bool)}

        def run(x: Any, more: Any, layer: Any = layer, flags: Any = flags) -> Any:
            return layer(x, **more, **flags, training=False)

        try:
            run(row.inputs, arrays)
            graph = trace(run, *jax.tree.map(Spec, (row.inputs, arrays)))
            feeds = dict(zip(graph.input_names, jax.tree.leaves((row.inputs, arrays)), strict=True))
            feeds = {k: np.asarray(v) for k, v in feeds.items()}
            again: Callable[..., Any] = lambda _, run=run, row=row, arrays=arrays: run(row.inputs, arrays)  # noqa: E731
            cases.write(f"layer_{i:03d}_{row.name}", "layers", graph, [feeds], again)
        except (ExportError, ValueError) as error:
            if row.name not in UNABLE:
                cases.failed.append(f"layer {row.name} {row.label}: {str(error)[:400]}")


def write_ops(cases: Cases, only: str) -> None:
    """The cases of the ops; ONNX Runtime has no bfloat16 on the CPU."""
    for i, case in enumerate(CASES):
        if only and only not in case.name or "bfloat16" in case.name:
            continue
        graph = case.graph()
        run: Callable[..., Any] = lambda given, g=graph: call(g, *(given[n] for n in g.input_names))  # noqa: E731
        cases.write(f"op_{i:03d}_{case.op}", "ops", graph, [case.feeds()], run, opset=case.opset)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ort-python", required=True, help="a Python that has onnxruntime")
    parser.add_argument("--folder", help="where the files stay; by default a folder that is removed")
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument("--parts", default="models,layers,ops", help="which of models, layers and ops")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.*"):
            old.unlink()
        cases, reports = Cases(folder), {}
        if "models" in options.parts:
            reports = write_models(cases, options.only)
        if "layers" in options.parts:
            write_layers(cases, options.only)
        if "ops" in options.parts:
            write_ops(cases, options.only)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        subprocess.run([options.ort_python, str(SIDE), "onnx", str(folder)], check=True, env=environment)
        print(
            f"{'model':22} {'bytes':>9} {'nodes':>5} {'transposes':>10} {'float32':>9} {'read back':>9} {'float16':>9}"
            f"{'uint8':>10} {'int8':>10} {'int16x8':>10}"
        )
        for stem, (kind, _) in cases.wanted.items():
            error, reason = cases.errors(stem)
            if error > TOLERANCE[kind]:
                cases.failed.append(f"{stem}: {reason[:400] or f'error {error:.1e}'}")
            if stem in cases.read and not reason and cases.read_errors(stem) > TOLERANCE["int8 read"]:
                cases.failed.append(f"{stem} read back: differs by {cases.read_errors(stem):.1e} from ONNX Runtime")
            if kind == "float32":
                name = stem.removeprefix("model_").removesuffix("_float32")
                report = reports[stem]
                if reports[f"read_{name}"] > TOLERANCE[kind]:
                    cases.failed.append(f"{name} read back: error {reports[f'read_{name}']:.1e}")
                half = cases.errors(f"model_{name}_float16")[0]
                counts = (report.bytes, sum(report.ops.values()), report.ops["Transpose"])
                small = (cases.errors(f"model_{name}_{k}")[0] for k in QUANTISED)
                found = (error, reports[f"read_{name}"], half, *small)
                print(name.ljust(22), *(f"{n:10,}" for n in counts), *(f"{x:10.1e}" for x in found))
        kinds = [kind for kind, _ in cases.wanted.values()]
        print(", ".join(f"{kinds.count(k)} {k}" for k in TOLERANCE), f"run; {len(cases.failed)} failed")
    for line in cases.failed:
        print("FAILED", line)
    return 1 if cases.failed else 0


if __name__ == "__main__":
    sys.exit(main())
