"""Data for models: from files, or random."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lamina.core.errors import did_you_mean, listing

DATA_HELP = ".npz with an array for each input, .npy for one input, or .txt that lists raw files, a sample a line"


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of where inputs come from."""
    parser.add_argument("--data", metavar="FILE", help=f"inputs: {DATA_HELP}; without it they are random")
    parser.add_argument("--seed", type=int, default=0, help="seed of random inputs (default 0)")
    parser.add_argument(
        "--high", type=int, default=2, help="random integers are below this (default 2, which suits any vocabulary)"
    )


def inputs_of(options: Any, inputs: Mapping[str, Any], batch: int) -> dict[str, np.ndarray]:
    """The inputs that the options ask for.

    Args:
        options: those of `add_data_options`.
        inputs: shape and dtype by name.
        batch: how many random samples.
    """
    if options.data is not None:
        return load_data(options.data, inputs)
    return random_inputs(inputs, batch, options.seed, options.high)


def random_inputs(inputs: Mapping[str, Any], batch: int, seed: int = 0, high: int = 2) -> dict[str, np.ndarray]:
    """Random arrays: floats of -1 to 1, integers of 0 to below `high`; unknown sizes behind the batch are 8.

    Raises:
        ValueError: an input is of strings, or its rank is not known.

    Example:
        >>> x = random_inputs({"x": ((None, 3), np.dtype("float32"))}, 2)["x"]
        >>> x.shape, bool(abs(x).max() <= 1)
        ((2, 3), True)
    """
    rng = np.random.default_rng(seed)
    made = {}
    for name, (shape, dtype) in inputs.items():
        dtype = np.dtype(dtype)
        if shape is None or dtype.hasobject:
            what = "strings" if dtype.hasobject else "any rank"
            raise ValueError(f"input '{name}' takes {what}, for which there are no random values. Pass --data.")
        sizes = [(batch if axis == 0 else 8) if size is None else size for axis, size in enumerate(shape)]
        if dtype.kind in "iu":
            made[name] = rng.integers(0, min(high, np.iinfo(dtype).max), sizes).astype(dtype)
        elif dtype.kind == "b":
            made[name] = rng.integers(0, 2, sizes).astype(bool)
        else:
            made[name] = rng.uniform(-1, 1, sizes).astype(dtype)
    return made


def load_data(path: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Arrays by the names of the inputs, from a file.

    A `.txt` file has a line for each sample: the raw files (little endian, C order, of the input's dtype) of the
    inputs, in order or as `name:=file`; lines that start with # or % are skipped. Paths are relative to it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: its arrays are not those of the inputs.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"there is no file '{path}'.")
    if file.suffix == ".txt":
        return _raw_lists(file, inputs)
    if file.suffix not in (".npz", ".npy"):
        raise ValueError(f"'{path}' must end in .npz, .npy or .txt: {DATA_HELP}.")
    try:
        if file.suffix == ".npy":
            arrays = {"": np.load(file, allow_pickle=False)}
        else:
            with np.load(file, allow_pickle=False) as found:
                arrays = {key: found[key] for key in found.files}
    except (TypeError, ValueError, EOFError, OSError, KeyError) as error:
        raise ValueError(f"'{path}' is no {file.suffix} file, or damaged: {error}") from error
    if len(arrays) == 1 and len(inputs) == 1:
        return dict(zip(inputs, arrays.values(), strict=True))
    missing = [name for name in inputs if name not in arrays]
    if missing:
        raise ValueError(
            f"'{path}' has no array for {listing(missing, 'and')}, only {listing(arrays, 'and')}."
            f"{did_you_mean(missing[0], arrays)}"
        )
    return {name: arrays[name] for name in inputs}


def _raw_lists(file: Path, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    samples: dict[str, list[np.ndarray]] = {name: [] for name in inputs}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if not words or words[0][0] in "#%":
            continue
        named = dict(
            (name, raw) if mark else (list(inputs)[min(i, len(inputs) - 1)], word)
            for i, word in enumerate(words)
            for name, mark, raw in [word.partition(":=")]
        )
        if len(words) != len(inputs) or set(named) != set(inputs):
            raise ValueError(f"'{file}', line {number}: expected a file for {listing(inputs, 'and')}, got {line!r}.")
        for name, raw in named.items():
            samples[name].append(_raw(file.parent / raw, name, *inputs[name]))
    if not any(samples.values()):
        raise ValueError(f"'{file}' lists no raw files.")
    return {name: np.stack(found) for name, found in samples.items()}


def _raw(file: Path, name: str, shape: Any, dtype: Any) -> np.ndarray:
    array = np.fromfile(file, np.dtype(dtype).newbyteorder("<"))
    sizes = [-1 if size is None else size for size in shape[1:]]
    wanted = int(np.prod([s for s in sizes if s > 0], dtype=np.int64))
    if sizes.count(-1) > 1 or array.size % wanted or (-1 not in sizes and array.size != wanted):
        raise ValueError(f"'{file}' has {array.size:,} values of {dtype}, which are no sample {shape[1:]} of '{name}'.")
    return array.reshape(sizes)


def batches_of(arrays: Mapping[str, np.ndarray], size: int) -> list[dict[str, np.ndarray]]:
    """Arrays cut into batches of at most `size` samples.

    Example:
        >>> [len(b["x"]) for b in batches_of({"x": np.zeros((5, 2))}, 2)]
        [2, 2, 1]
    """
    count = max((len(a) for a in arrays.values() if a.ndim), default=0)
    return [{k: a[i : i + size] for k, a in arrays.items()} for i in range(0, count, size)]


def largest_gap(got: Any, want: Any) -> tuple[float, float]:
    """The largest absolute difference of two arrays, and its ratio to the largest value of the second.

    Shapes or NaN that differ are an infinite difference.

    Example:
        >>> largest_gap(np.asarray([1.0, 2.5]), np.asarray([1.0, 2.0]))
        (0.5, 0.25)
    """
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape:
        return float("inf"), float("inf")
    if not want.size:
        return 0.0, 0.0
    if want.dtype.kind not in "fiubc" and want.dtype.name != "bfloat16":
        same = bool(np.array_equal(got, want))
        return (0.0, 0.0) if same else (float("inf"), float("inf"))
    kind = np.complex128 if "c" in (got.dtype.kind, want.dtype.kind) else np.float64
    a, b = got.astype(kind), want.astype(kind)
    equal = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore", over="ignore"):
        gaps = np.where(equal, 0.0, np.abs(a - b))
    worst = float(np.max(np.where(np.isnan(gaps), np.inf, gaps)))
    scale = float(np.max(np.abs(b)[np.isfinite(b)], initial=0.0))
    return worst, worst / scale if scale > 0 else (0.0 if worst == 0 else float("inf"))
