"""Runs the vendor's provider for ONNX Runtime, each time in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lamina.export.qualcomm import worker

WORKER = Path(worker.__file__)
PACKAGES = {"onnx": "onnx", "onnxruntime": "onnxruntime", "onnxruntime_qnn": "onnxruntime-qnn"}
_SECONDS = 1800.0


class ProviderError(RuntimeError):
    """The provider failed; the message is what it says."""


@dataclass(frozen=True)
class Conversion:
    """What the provider made of a model.

    Attributes:
        files: the .dlc files.
        trace: the record of which op became which, or None if it wrote none.
        error: its message, if it failed.
    """

    files: list[Path]
    trace: dict[str, Any] | None
    error: str


def require(what: str) -> None:
    """Checks that the packages of the extra are installed.

    Raises:
        ModuleNotFoundError: one is missing.
    """
    missing = [package for module, package in PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ModuleNotFoundError(
            f"{what} needs the packages {', '.join(missing)}. Install them with: pip install 'lamina[qualcomm]' (their "
            "libraries come under the vendor's own licence, which stands in the package). For the vendor's own tools, "
            "format='dlc_kit' writes all that they need, without these packages."
        )


def convert(model: Path, folder: Path) -> Conversion:
    """Has the provider write a model as .dlc.

    Args:
        model: an ONNX file of which all sizes are known.
        folder: an empty folder, which gets the files.

    Raises:
        ProviderError: the process ended, or ran for too long.
    """
    result = _work({"task": "convert", "model": str(model), "folder": str(folder)})
    traces = [folder / name for name in result["traces"]]
    trace = json.loads(traces[0].read_text()) if traces else None
    return Conversion([folder / name for name in result["files"]], trace, result["error"])


def simulate(model: Path, feeds: Mapping[str, np.ndarray], soc_model: int) -> dict[str, np.ndarray]:
    """The outputs of a model by name, as the simulator of the processor computes them.

    Args:
        model: an ONNX file of which all sizes are known.
        feeds: the inputs by name.
        soc_model: the number of the chip, in the vendor's counting.

    Raises:
        ProviderError: it cannot run the model.
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        given: dict[str, Any] = dict(feeds)
        np.savez(inputs, **given)
        job = {"model": str(model), "inputs": str(inputs), "outputs": str(outputs), "soc_model": soc_model}
        result = _work({"task": "simulate", **job})
        if result["error"]:
            raise ProviderError(_short(result["error"]))
        with np.load(outputs) as stored:
            return {name: stored[str(i)] for i, name in enumerate(result["names"])}


def _work(job: Mapping[str, Any]) -> dict[str, Any]:
    """Does a job in another process."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answer = Path(folder) / "job.json", Path(folder) / "result.json"
        asked.write_text(json.dumps(job))
        command = [sys.executable, str(WORKER), str(asked), str(answer)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False, cwd=folder)
        except subprocess.TimeoutExpired as error:
            raise ProviderError(f"the provider ran for more than {_SECONDS:.0f} seconds") from error
        if done.returncode != 0 or not answer.exists():
            said = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ProviderError(f"the provider's process ended with status {done.returncode}: {_short(said)}")
        return json.loads(answer.read_text())


def _short(text: str) -> str:
    """A message in one line."""
    line = " ".join(text.split())
    return line if len(line) <= 400 else f"{line[:400]}..."
