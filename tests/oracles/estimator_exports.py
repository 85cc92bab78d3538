"""Estimators that lamina exports with their host's part, loaded and run by TensorFlow itself.

    python tests/oracles/estimator_exports.py --tf-python PATH [--folder FOLDER]

lamina writes the SavedModels of `tests/estimators/served_models.py`; TensorFlow feeds them records and text, and
compares what comes of it with what `predict` gave. PATH is a Python that has TensorFlow 2.21. Prints what fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-5
TEXT = "text_"


def _plain(value) -> tuple[str, np.ndarray]:
    """An array that a file of arrays holds: text as bytes of a fixed length, marked by name."""
    array = np.asarray(value)
    if array.dtype.kind not in "OSU":
        return "", array
    flat = [v if isinstance(v, bytes) else v.encode() for v in array.reshape(-1).tolist()]
    return TEXT, np.array([v.hex() for v in flat]).reshape(array.shape)


def write(folder: Path) -> None:
    """Writes all cases: NAME.npz with i_* that is fed and o_* that is expected, and the folder of the model."""
    sys.path.insert(0, str(ROOT / "tests" / "estimators"))
    from served_models import CASES

    for name, make in CASES.items():
        case = make(folder)
        arrays = {}
        for side, values in (("i_", case.fed), ("o_", case.expected)):
            for key, value in values.items():
                mark, array = _plain(value)
                arrays[f"{side}{mark}{'|'.join(key) if isinstance(key, tuple) else key}"] = array
        np.savez(folder / f"{name}.npz", path=case.path, **arrays)


def read(folder: Path) -> int:
    """Runs under TensorFlow: loads all cases, twice, and compares."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    failed = passed = 0
    worst = 0.0

    def values_of(values, side):
        found = {}
        for key in (k for k in values.files if k.startswith(side)):
            array, name = values[key], key[len(side) :].replace("|", "/")
            if name.startswith(TEXT):
                flat = np.array([bytes.fromhex(v) for v in array.reshape(-1).tolist()], object)
                array, name = flat.reshape(array.shape), name.removeprefix(TEXT)
            found[name] = array
        return found

    for file in sorted(folder.glob("*.npz")):
        values = np.load(file)
        fed, expected = values_of(values, "i_"), values_of(values, "o_")
        try:
            for _ in range(2):  # a second model with tables of the same names
                loaded = tf.saved_model.load(str(values["path"]))
            signatures = loaded.signatures
            names = {"predict": expected}
            if "probabilities" in expected and "examples" in fed:
                both = {"scores": expected["probabilities"], "classes": expected["all_classes"]}
                names |= {"classification": both, "serving_default": both}
            elif "predictions" in expected:
                names |= {"regression": {"outputs": expected["predictions"]}}
            elif file.stem == "custom":
                names = {"serving_default": {"outputs": expected["y"]}}
            for name, wanted in names.items():
                given = dict(fed)
                if name in ("classification", "regression") or (name == "serving_default" and "examples" in given):
                    given = {"inputs": given["examples"]}
                wide = {np.dtype("float64"): np.float32}
                given = {
                    k: tf.constant(
                        v.tolist() if v.dtype == object else v.astype(wide.get(v.dtype, v.dtype)), shape=v.shape
                    )
                    for k, v in given.items()
                }
                got = signatures[name](**given)
                if set(got) != set(wanted):
                    raise ValueError(f"{name}: outputs {sorted(got)}, expected {sorted(wanted)}")
                for key, want in wanted.items():
                    found = got[key].numpy()
                    if found.shape != want.shape:
                        raise ValueError(f"{name}: {key} has shape {found.shape}, expected {want.shape}")
                    if want.dtype == object:
                        if found.tolist() != want.tolist():
                            raise ValueError(f"{name}: {key} is {found.tolist()}, expected {want.tolist()}")
                        continue
                    if found.dtype != want.dtype:
                        raise ValueError(f"{name}: {key} is {found.dtype}, expected {want.dtype}")
                    error = float(np.max(np.abs(found - want)) / max(float(np.max(np.abs(want))), 1e-6))
                    worst = max(worst, error)
                    if not error <= TOLERANCE:
                        raise ValueError(f"{name}: {key} differs by {error:.2g}")
                if "examples" in fed:  # one record
                    one = signatures[name](**{k: v[:1] for k, v in given.items()})
                    for key, want in wanted.items():
                        if want.dtype == np.float32 and not np.allclose(one[key].numpy(), want[:1], 1e-5, 1e-6):
                            raise ValueError(f"{name}: {key} of one record differs")
            passed += 1
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is what is reported
            failed += 1
            print(f"FAIL {file.stem}: {type(error).__name__}: {' '.join(str(error).split())[:600]}")
    print(f"{passed} passed, {failed} failed, largest relative error {worst:.2g}")
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tf-python", help="a Python that has TensorFlow")
    parser.add_argument("--folder", help="where the files go; a temporary folder by default")
    parser.add_argument("--read", action="store_true", help="the half that TensorFlow runs")
    args = parser.parse_args()
    if args.read:
        return int(read(Path(args.folder)) > 0)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(args.folder or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        write(folder)
        command = [args.tf_python or sys.executable, __file__, "--read", "--folder", str(folder)]
        return int(subprocess.run(command, check=False).returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
