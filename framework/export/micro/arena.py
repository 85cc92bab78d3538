"""Runs models in TFLite Micro's own interpreter: how much memory they need, and what they compute."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lamina.export.micro import interpreter

WORKER = Path(interpreter.__file__)
INSTALL = "pip install 'lamina[micro]'"
_SECONDS = 600.0


class MicroError(RuntimeError):
    """TFLite Micro cannot run a model; the message is what it says."""


def installed() -> bool:
    """Whether the package tflite-micro is there."""
    return importlib.util.find_spec("tflite_micro") is not None


def measure(
    data: bytes, inputs: Sequence[Any] | None = None, python: str | None = None
) -> tuple[int, list[np.ndarray]]:
    """The smallest working memory that a model runs in, and its outputs there.

    Args:
        data: the TFLite file.
        inputs: arrays in the order of the graph's inputs, as they are stored; zeros by default.
        python: the interpreter of an environment that has tflite-micro; by default this one.

    Raises:
        MicroError: it cannot run.
    """
    with tempfile.TemporaryDirectory() as folder:
        model, given, made = (Path(folder) / name for name in ("model.tflite", "inputs.npz", "outputs.npz"))
        model.write_bytes(data)
        command = [python or sys.executable, str(WORKER), str(model)]
        if inputs is not None:
            arrays: dict[str, Any] = {f"{i:04d}": np.asarray(x) for i, x in enumerate(inputs)}
            np.savez(given, **arrays)
            command += [str(given), str(made)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise MicroError(f"the interpreter ran for more than {_SECONDS:.0f} seconds") from error
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise MicroError(f"the interpreter ended with status {done.returncode}: {said}")
        found = json.loads(done.stdout.splitlines()[-1])
        if "error" in found:
            raise MicroError(" ".join(found["error"].split()))
        outputs: list[np.ndarray] = []
        if inputs is not None:
            with np.load(made) as stored:
                outputs = [stored[key] for key in stored.files]
        return found["arena"], outputs
