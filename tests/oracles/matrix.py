"""The matrix: models of many kinds, in every format and precision, run by the formats' own runtimes.

    python tests/oracles/matrix.py [--models NAME ...] [--formats NAME ...] [--python-of RUNTIME=PYTHON ...]
                                   [--require] [--jobs N] [--markdown FILE] [--json FILE] [--folder FOLDER]

PYTHON is an interpreter that has the runtime: tensorflow, onnxruntime, litert (the package ai-edge-litert), micro
(tflite-micro), qnn (lamina with its extra `qualcomm`). StableHLO is run by jax, in a process that has not the model's
code. Columns of runtimes that are not named are written, and not run; with --require that is an error.

Each cell is the largest error relative to the largest element of the same output of the model when it is called
eagerly (in float16 to the range of its elements and 0), for integers also the ratio of signal to noise, and the bytes;
of the trained models also the points of accuracy that integers win or lose, on data that they have not seen. What a
format cannot hold stands below with its reason.
The exit status is 1 if an error is above its limit, or if what cannot be written is not what is expected.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matrix_models import MODELS
from onnx_models import randomise, samples
from trained_models import TRAINED

import lamina
from lamina import export
from lamina.export import ExportError
from lamina.export.micro.describe import describe_model
from lamina.graph import trace

SIDE = Path(__file__).with_name("runtime_side.py")
ALL = (*MODELS, *TRAINED)


@dataclass(frozen=True)
class Column:
    """A format in a precision: who runs it, how it is written, and which error is allowed."""

    runtime: str
    format: str
    limit: float
    precision: str = "float32"
    suffix: str = ""

    @property
    def integers(self) -> bool:
        return self.precision in ("int8", "int16x8", "dynamic")


COLUMNS = {
    "saved_model": Column("tensorflow", "saved_model", 1e-5),
    "frozen": Column("tensorflow", "frozen", 1e-5, suffix=".pb"),
    "stablehlo": Column("jax", "stablehlo", 1e-5),
    "onnx_float32": Column("onnxruntime", "onnx", 1e-5, suffix=".onnx"),
    "onnx_float16": Column("onnxruntime", "onnx", 1e-3, "float16", ".onnx"),
    "onnx_int8": Column("onnxruntime", "onnx", 0.3, "int8", ".onnx"),
    "tflite_float32": Column("litert", "tflite", 1e-5, suffix=".tflite"),
    "tflite_float16": Column("litert", "tflite", 1e-3, "float16", ".tflite"),
    "tflite_dynamic": Column("litert", "tflite", 0.1, "dynamic", ".tflite"),
    "tflite_int8": Column("litert", "tflite", 0.3, "int8", ".tflite"),
    "tflite_int16x8": Column("litert", "tflite", 0.15, "int16x8", ".tflite"),
    "micro_float32": Column("micro", "tflite_micro", 1e-5),
    "micro_int8": Column("micro", "tflite_micro", 0.3, "int8"),
    "dlc_float32": Column("qnn", "dlc", 0.02, suffix=".dlc"),
    "dlc_int8": Column("qnn", "dlc", 0.3, "int8", ".dlc"),
}
"""The limits of integers are for weights of random numbers, which are harder than trained ones; what counts is the
accuracy of the trained models. The processor of Snapdragon computes floats in float16."""
POINT = 0.01
"""The accuracy that a trained model may lose in integers."""
SINGLE = ("tflite_micro", "dlc")
"""Formats of which the batch is 1."""
UNABLE = {
    ("raw_jnp", "micro"): "TOPK_V2: TFLite Micro has no such operator",
    ("volumes", "micro"): "CONV_3D: TFLite Micro has no such operator",
}
"""(model, column or the first part of its name) of what cannot be written or run, with a part of the reason that must
be given."""


@dataclass
class Cell:
    """What became of a model in a column."""

    model: str
    column: str
    bytes: int = 0
    error: float | None = None
    signal_to_noise: float | None = None
    drop: float | None = None
    reason: str = ""
    seconds: float = 0.0

    def wrong(self, required: bool) -> str:
        """What is wrong with it, if something is."""
        expected = UNABLE.get((self.model, self.column)) or UNABLE.get((self.model, self.column.partition("_")[0]))
        if self.error is None:
            if self.reason == "not run":
                return "not run" if required else ""
            if expected is None or expected not in self.reason:
                return self.reason
            return ""
        if expected is not None:
            return f"works now, though it is expected not to: {expected}"
        limit = COLUMNS[self.column].limit
        if not self.error <= limit:
            return f"error {self.error:.1e}, allowed {limit:.0e}"
        if self.drop is not None and not self.drop < POINT:
            return f"loses {100 * self.drop:.2f} points of accuracy"
        return ""

    def __str__(self) -> str:
        if self.error is None:
            return "not run" if self.reason == "not run" else "-"
        noise = f" {self.signal_to_noise:.0f} dB" if self.signal_to_noise is not None else ""
        drop = f" {-100 * self.drop:+.1f} pt" if self.drop is not None else ""
        return f"{self.error:.0e}{noise}{drop} {size_text(self.bytes)}"


def size_text(count: int) -> str:
    """Bytes, in thousands."""
    return f"{count / 1000:.0f}k" if count >= 9950 else f"{count / 1000:.1f}k"


def difference(got: np.ndarray, want: np.ndarray, ranges: bool) -> tuple[float, float]:
    """The largest difference relative to the largest element, or to the range with 0; the signal to noise in dB."""
    if got.shape != want.shape or (got.dtype.kind in "iu") != (want.dtype.kind in "iu"):
        return np.inf, -np.inf
    got, want = got.astype(np.float64), want.astype(np.float64)
    if not np.isfinite(got).all():
        return np.inf, -np.inf
    size = want.max(initial=0) - want.min(initial=0) if ranges else np.abs(want).max(initial=0)
    error = float(np.abs(got - want).max(initial=0) / max(size, 1e-6))
    with np.errstate(divide="ignore"):
        return error, float(min(10 * np.log10(np.sum(want**2) / np.sum((got - want) ** 2)), 200.0))


def write_model(name: str, columns: list[str], folder: Path) -> list[Cell]:
    """Writes a model in the formats, with inputs for the runtimes, and what it computes eagerly."""
    rng = np.random.default_rng(0)
    lamina.utils.set_random_seed(0)
    feeds: dict[str, dict[str, np.ndarray]] = {}
    specs: list[Any] = []
    names = None
    if name in TRAINED:
        made = TRAINED[name]()
        net, data = made.net, [made.train[:200]]
        graph = trace(net)
        key = graph.input_names[0]
        feeds = {"1": {key: made.test[:1]}, "test": {key: made.test}}
        np.save(folder / f"{name}.labels.npy", made.labels)
    else:
        net = MODELS[name]()
        if isinstance(net, tuple):
            net, specs, names = net
        randomise(net, rng)
        graph = trace(net, *specs, input_names=names)
        # what is measured is among them, so that no value is cut off: rounding is what counts
        data = [samples(graph, 8, rng) for _ in range(4)]
        feeds = {"1": {k: x[:1] for k, x in data[0].items()}, "5": {k: x[3:] for k, x in data[0].items()}}
    for number, given in feeds.items():
        arrays = list(given.values())
        found = net(arrays if len(arrays) > 1 else arrays[0], training=False)
        values = [np.asarray(y) for y in jax.tree.leaves(found)]
        np.savez(folder / f"{name}.{number}.npz", **dict(zip(graph.output_names, values, strict=True)))
    return [write_cell(name, column, graph, feeds, data, folder / column) for column in columns]


def write_cell(name: str, column: str, graph: Any, feeds: dict[str, Any], data: list[Any], folder: Path) -> Cell:
    """Writes a model in a format, with inputs in the names and batches that the format has."""
    kind, cell = COLUMNS[column], Cell(name, column, reason="not run")
    options: dict[str, Any] = (
        {} if kind.suffix in ("", ".pb") and kind.runtime != "micro" else {"precision": kind.precision}
    )
    if kind.integers and kind.precision != "dynamic":
        options["representative_data"] = data
    if kind.format == "dlc":
        first = next(iter(feeds.values()))
        options["representative_data"] = [first, *data] if kind.integers else [first]
    if kind.format == "tflite_micro":
        options["arena_size"] = 1  # not measured here
    path, begin = folder / f"{name}{kind.suffix}", time.perf_counter()
    try:
        report = export.save(graph, None, path, format=kind.format, **options)
    except ExportError as error:
        cell.reason = "; ".join(dict.fromkeys(f"{gap.op}: {gap.reason}" for gap in error.gaps))
        return cell
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is a cell of the table
        cell.reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return cell
    cell.bytes, cell.seconds = report.bytes, time.perf_counter() - begin
    if kind.format == "dlc":
        cell.error = report.measured.get("simulator: largest error")
        cell.reason = str(report.measured.get("simulator", ""))
        for reason in (how for _, op, how in report.fallbacks if op == "model"):
            cell.error, cell.reason = None, reason
        return cell
    order = {"inputs": graph.input_names, "outputs": graph.output_names}
    if kind.format == "tflite_micro":
        path = (path / f"{name}.tflite").replace(folder / f"{name}.tflite")
        ports = describe_model(path.read_bytes())
        order = {"inputs": [p.name for p in ports.inputs], "outputs": [p.name for p in ports.outputs]}
        cell.bytes = path.stat().st_size
    (folder / f"{name}.names.json").write_text(json.dumps(order))
    for number, given in feeds.items():
        if kind.format not in SINGLE or number in ("1", "test"):
            np.savez(folder / f"{name}.{number}.in.npz", **given)
    return cell


def measure(cell: Cell, folder: Path) -> None:
    """Compares what a runtime computed with what the model did."""
    place = folder / cell.column
    failed = place / f"{cell.model}.error.txt"
    if failed.exists():
        cell.reason = failed.read_text()
        return
    results, cell.reason = [], "the runtime gave nothing"
    for file in place.glob(f"{cell.model}.*.out.npz"):
        number = file.name.rsplit(".", 3)[1]
        got, want = np.load(file), np.load(folder / f"{cell.model}.{number}.npz")
        if set(got.files) != set(want.files):
            cell.reason = f"outputs {sorted(got.files)}, not {sorted(want.files)}"
            return
        ranges = COLUMNS[cell.column].precision == "float16"
        results += [difference(got[k], want[k], ranges) for k in want.files]
        if number == "test" and COLUMNS[cell.column].integers:
            labels, (key,) = np.load(folder / f"{cell.model}.labels.npy"), want.files
            right = [float(np.mean(y[key].argmax(-1) == labels)) for y in (want, got)]
            cell.drop = right[0] - right[1]
    if results:
        cell.reason, cell.error = "", max(error for error, _ in results)
        if COLUMNS[cell.column].integers:
            cell.signal_to_noise = min(noise for _, noise in results)


def run(columns: Iterable[str], pythons: dict[str, str], folder: Path) -> None:
    """Has the runtimes run what was written, a process for each; another where one ended."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    for column in columns:
        kind = COLUMNS[column]
        if kind.runtime not in pythons or kind.format == "dlc":
            continue
        loader = "micro" if kind.format == "tflite_micro" else kind.format
        command = [pythons[kind.runtime], "-W", "ignore", str(SIDE), loader, str(folder / column)]
        for _ in ALL:
            if subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=False).returncode == 0:
                break


def elsewhere(python: str, models: list[str], columns: list[str], folder: Path) -> list[Cell]:
    """The cells of columns that another interpreter writes and runs."""
    answer = folder / "elsewhere.json"
    command = [python, "-W", "ignore", __file__, "--models", *models, "--formats", *columns, "--json", str(answer)]
    done = subprocess.run([*command, "--python-of", f"qnn={python}"], stdout=subprocess.DEVNULL, check=False)
    if not answer.exists():
        raise RuntimeError(f"{python} ended with status {done.returncode}")
    return [Cell(**cell) for cell in json.loads(answer.read_text())]


def here(python: str) -> bool:
    """Whether an interpreter is this one."""
    return Path(python).absolute() == Path(sys.executable).absolute()


def table(cells: list[Cell], models: list[str], columns: list[str], markdown: bool) -> str:
    """All cells, a line for each model."""
    found = {(c.model, c.column): str(c) for c in cells}
    rows = [["model", *columns], *([m, *(found[m, c] for c in columns)] for m in models)]
    if markdown:
        rows.insert(1, ["---"] * len(rows[0]))
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def shortened(text: str) -> str:
    """A message in one line."""
    return text if len(text) <= 300 else f"{text[:300]}..."


def notes(cells: list[Cell]) -> list[str]:
    """Why cells are empty: a line for each reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        if cell.error is None and cell.reason != "not run":
            found.setdefault((cell.model, cell.reason), []).append(cell.column)
    return [f"{model}, {', '.join(columns)}: {shortened(reason)}" for (model, reason), columns in found.items()]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=ALL, choices=ALL, metavar="NAME", help=", ".join(ALL))
    parser.add_argument("--formats", nargs="+", default=tuple(COLUMNS), choices=COLUMNS, metavar="NAME",
                        help=", ".join(COLUMNS))  # fmt: skip
    parser.add_argument("--python-of", nargs="+", action="extend", default=[], metavar="RUNTIME=PYTHON",
                        help="interpreters of tensorflow, onnxruntime, litert, micro, qnn")  # fmt: skip
    parser.add_argument("--require", action="store_true", help="fail where a runtime is not named")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes that write models")
    parser.add_argument("--markdown", type=Path, help="where the table goes as markdown")
    parser.add_argument("--json", type=Path, help="where the cells go as JSON")
    parser.add_argument("--folder", type=Path, help="where the files stay; by default a folder that is removed")
    return parser.parse_args()


def main() -> int:
    args = parse()
    pythons = {"jax": sys.executable, **dict(pair.split("=", 1) for pair in args.python_of)}
    models, columns = list(args.models), list(args.formats)
    away = [c for c in columns if COLUMNS[c].runtime == "qnn" and not ("qnn" in pythons and here(pythons["qnn"]))]
    local = [c for c in columns if c not in away]
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        for column in columns:
            (folder / column).mkdir(parents=True, exist_ok=True)
        cells: list[Cell] = []
        with ProcessPoolExecutor(args.jobs, get_context("spawn")) as pool:
            for made in (
                pool.map(write_model, *zip(*((m, local, folder) for m in models), strict=True)) if local else ()
            ):
                cells += made
        run(local, pythons, folder)
        for cell in cells:
            if cell.reason == "not run" and COLUMNS[cell.column].runtime in pythons:
                measure(cell, folder)
        if away and "qnn" in pythons:
            cells += elsewhere(pythons["qnn"], models, away, folder)
        else:
            cells += [Cell(m, c, reason="not run") for m in models for c in away]
    wrong = [f"{c.model}, {c.column}: {shortened(text)}" for c in cells if (text := c.wrong(args.require))]
    below = notes(cells)
    print(table(cells, models, columns, False), *below, sep="\n")
    ran = sum(c.error is not None for c in cells)
    print(f"{len(models)} models, {len(cells)} cells: {ran} run, {len(wrong)} wrong")
    print(*(f"WRONG {line}" for line in wrong), sep="\n")
    if args.markdown:
        args.markdown.write_text("\n".join([table(cells, models, columns, True), "", *(f"- {n}" for n in below), ""]))
    if args.json:
        args.json.write_text(json.dumps([asdict(c) for c in cells], indent=1))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
