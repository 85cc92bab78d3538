"""One run of the vendor's provider for ONNX Runtime, in a process of its own: its options stick inside a process.

    python worker.py JOB.json RESULT.json

Needs the packages numpy and onnxruntime-qnn, none of lamina. Only documented options of the provider are used.

Reference: https://onnxruntime.ai/docs/execution-providers/QNN-ExecutionProvider.html
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

ERRORS_ALONE = 3
"""ONNX Runtime's level of messages."""


def session(model: str, options: dict[str, str]) -> Any:
    """A session in which the provider computes all of a model."""
    import onnxruntime
    import onnxruntime_qnn

    name = onnxruntime_qnn.get_ep_name()
    onnxruntime.register_execution_provider_library(name, onnxruntime_qnn.get_library_path())
    onnxruntime.set_default_logger_severity(ERRORS_ALONE)
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == name][:1]
    if not devices:
        raise RuntimeError("onnxruntime-qnn offers no device on this machine")
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = ERRORS_ALONE
    # otherwise what the provider refuses is computed elsewhere, and the model is cut into several files
    settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    # without it the first and the last change between floats and integers stay outside
    settings.add_provider_for_devices(devices, {"offload_graph_io_quantization": "0", **options})
    return onnxruntime.InferenceSession(model, settings)


def convert(job: dict[str, Any]) -> dict[str, Any]:
    """Writes .dlc files, and a record of which op became which, into a folder. Such a session cannot run."""
    folder = job["folder"]
    options = {
        "backend_type": "ir", "dump_qnn_ir_dlc": "1", "dump_qnn_ir_dlc_dir": folder,
        "enable_framework_op_trace": "1", "framework_op_trace_dir": folder,
    }  # fmt: skip
    error = ""
    try:
        session(job["model"], options)
    except Exception as failed:  # whatever it is, the record says more
        error = str(failed)
    found = sorted(path.name for path in Path(folder).iterdir())
    return {
        "error": error,
        "files": [name for name in found if name.endswith(".dlc")],
        "traces": [name for name in found if name.endswith(".json")],
    }


def simulate(job: dict[str, Any]) -> dict[str, Any]:
    """Runs a model on the simulator of the processor, and stores its outputs."""
    options = {"backend_type": "htp", "soc_model": str(job["soc_model"])}
    try:
        running = session(job["model"], options)
        with np.load(job["inputs"]) as stored:
            feeds = {name: stored[name] for name in stored.files}
        names = [output.name for output in running.get_outputs()]
        arrays = running.run(names, feeds)
    except Exception as failed:  # the caller reports it
        return {"error": str(failed)}
    np.savez(job["outputs"], **{str(i): array for i, array in enumerate(arrays)})
    return {"error": "", "names": names}


def main() -> int:
    """Does the job of a file."""
    job = json.loads(Path(sys.argv[1]).read_text())
    result = {"convert": convert, "simulate": simulate}[job["task"]](job)
    Path(sys.argv[2]).write_text(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
