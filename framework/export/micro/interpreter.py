"""Runs a model in TFLite Micro's interpreter, in a process of its own: what it cannot run may end the process.

    python interpreter.py MODEL.tflite [INPUTS.npz OUTPUTS.npz]

Prints JSON: the smallest working memory that it runs in, or what went wrong. Needs the packages numpy and tflite-micro,
none of lamina.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from typing import Any

import numpy as np

SMALLEST, LARGEST = 1 << 16, 1 << 29
STEP = 16  # what the start of the memory is aligned to


def run(runtime: Any, model: bytes, arena: int, inputs: list[Any] | None) -> list[Any]:
    """The outputs for inputs, or for zeros; raises RuntimeError where the memory is too small."""
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=arena)
    count = 0
    while True:
        try:
            details = interpreter.get_input_details(count)
        except (IndexError, ValueError, RuntimeError):
            break
        given = np.zeros(details["shape"], details["dtype"]) if inputs is None else inputs[count]
        interpreter.set_input(given.astype(details["dtype"]), count)
        count += 1
    interpreter.invoke()
    interpreter.print_allocations()
    outputs: list[Any] = []
    while True:
        try:
            outputs.append(interpreter.get_output(len(outputs)))
        except (IndexError, ValueError, RuntimeError):
            return outputs


def measure(runtime: Any, model: bytes, inputs: list[Any] | None, log: Any) -> dict[str, Any]:
    """The smallest memory that a model runs in, and its outputs."""
    arena = max(SMALLEST, 4 * len(model))
    while True:
        log.truncate(0)
        log.seek(0)
        try:
            outputs = run(runtime, model, arena, inputs)
            break
        except RuntimeError as error:
            said = _said(log)
            short = "allocat" in str(error) and ("Failed to" in said or "Requested" in said or "missing" in said)
            if not short or arena >= LARGEST:
                return {"error": f"{error}. {said}".strip()}
            arena *= 4
    found = re.search(r"Arena allocation total (\d+) bytes", _said(log))
    low = (int(found[1]) // STEP if found else 1) - 1  # while it plans, it needs more than what it keeps
    high = arena // STEP
    while high - low > 1:
        middle = min(low + 64, (low + high) // 2)
        if _runs(runtime, model, middle * STEP):
            high = middle
        else:
            low = middle
    return {"arena": high * STEP, "outputs": outputs}


def _runs(runtime: Any, model: bytes, arena: int) -> bool:
    """Whether a memory suffices; tried in a child, since where it is short by little the process may end."""
    child = os.fork()
    if child == 0:
        try:
            run(runtime, model, arena, None)
        except RuntimeError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def _said(log: Any) -> str:
    """What the interpreter wrote to its error stream, which is the file."""
    log.seek(0)
    return log.read().decode(errors="replace")


def main() -> int:
    """Measures the model that the arguments name."""
    from tflite_micro import runtime

    with open(sys.argv[1], "rb") as file:
        model = file.read()
    inputs = None
    if len(sys.argv) > 2:
        with np.load(sys.argv[2]) as stored:
            inputs = [stored[key] for key in stored.files]
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        found = measure(runtime, model, inputs, log)
    outputs = found.pop("outputs", [])
    if len(sys.argv) > 3:
        np.savez(sys.argv[3], *outputs)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
