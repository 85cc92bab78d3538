"""ONNX Runtime's side of `onnx_graphs.py`: runs the models of a folder on the arrays beside them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort


def main(folder: Path) -> None:
    """Writes NAME.out.npz for each NAME.onnx and NAME.NUMBER.in.npz, or NAME.error.txt."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    for model in sorted(folder.glob("*.onnx")):
        try:
            session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
            for given in sorted(folder.glob(f"{model.stem}.*.in.npz")):
                feeds = {k: v for k, v in np.load(given).items()}
                out = session.run(None, feeds)
                names = [o.name for o in session.get_outputs()]
                np.savez(str(given).replace(".in.npz", ".out.npz"), **dict(zip(names, out, strict=True)))
        except Exception as error:  # noqa: BLE001 - the reason goes into the table
            (folder / f"{model.stem}.error.txt").write_text(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
