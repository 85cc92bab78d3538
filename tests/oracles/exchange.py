"""Values beside checkpoints, for the other side to compare: PREFIX.values.npz, with bytes, dtypes and shapes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np


def dtype_of(name: str) -> np.dtype:
    """The dtype of a name; that of "object" is for strings."""
    return np.dtype(getattr(ml_dtypes, name, None) or name)


def as_array(value: Any) -> np.ndarray:
    """A value as an array; a byte string as one of objects."""
    return np.array(value, object) if isinstance(value, bytes) else np.asarray(value)


def store(prefix: Path, values: Mapping[str, np.ndarray]) -> None:
    """Writes the values of a checkpoint beside it."""
    manifest, data = [], {}
    for i, (name, value) in enumerate(values.items()):
        entry = {"name": name, "dtype": value.dtype.name, "shape": value.shape}
        if value.dtype == object:
            entry["strings"] = [s if s is None else s.hex() for s in value.reshape(-1)]
        else:
            data[str(i)] = np.frombuffer(value.tobytes(), np.uint8)
        manifest.append(entry)
    np.savez(f"{prefix}.values.npz", manifest=json.dumps(manifest), **data)


def stored(folder: Path) -> Iterator[tuple[Path, dict[str, np.ndarray]]]:
    """The prefixes of the checkpoints of a folder, and their values."""
    for path in sorted(folder.glob("*.values.npz")):
        file = np.load(path)
        values = {}
        for i, entry in enumerate(json.loads(str(file["manifest"]))):
            if "strings" in entry:
                value = np.empty(len(entry["strings"]), object)
                value[:] = [s if s is None else bytes.fromhex(s) for s in entry["strings"]]
            else:
                value = np.frombuffer(file[str(i)].tobytes(), dtype_of(entry["dtype"]))
            values[entry["name"]] = value.reshape(entry["shape"])
        yield Path(str(path).removesuffix(".values.npz")), values


def differences(label: str, got: np.ndarray, want: np.ndarray) -> list[str]:
    """In what two arrays differ, to the bit; None stands for any string."""
    if (got.shape, got.dtype) != (want.shape, want.dtype):
        return [f"{label}: {got.dtype}{list(got.shape)} instead of {want.dtype}{list(want.shape)}"]
    if want.dtype == object:
        same = all(w is None or g == w for g, w in zip(got.reshape(-1), want.reshape(-1), strict=True))
    else:
        same = got.tobytes() == want.tobytes()
    return [] if same else [f"{label}: other values"]
