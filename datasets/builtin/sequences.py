"""Texts as sequences of word numbers: reading Keras' archives of them without trusting their pickles, and filtering."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from lamina.core.checks import check_int
from lamina.wire.errors import DataLossError

SequenceSplit = tuple[np.ndarray, np.ndarray]

_ALLOWED = {
    (module, name)
    for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
    for name in ("_reconstruct", "ndarray", "dtype")
} | {("_codecs", "encode")}


class _ArrayUnpickler(pickle.Unpickler):
    """Builds arrays, lists, numbers and strings, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise DataLossError(f"it names {module}.{name}, but only arrays of lists of integers are read.")
        return super().find_class(module, name)


def read_sequences(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name; arrays of objects must be 1-D and hold lists of integers.

    Raises:
        DataLossError: the file is damaged or holds anything else.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as file:
                    arrays[name.removesuffix(".npy")] = _read_array(file)
    except (zipfile.BadZipFile, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise DataLossError(f"'{path}' is no archive of sequences: {error}") from error
    return arrays


def _read_array(file: IO[bytes]) -> np.ndarray:
    major, _ = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read_header(file)
    if not dtype.hasobject:
        data = np.frombuffer(file.read(), dtype)
        return data.reshape(shape, order="F" if fortran_order else "C").copy()
    array = _ArrayUnpickler(file).load()
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.shape != shape:
        raise DataLossError(f"an array of shape {shape} was announced, {type(array).__name__} came.")
    for sequence in array:
        if type(sequence) is not list or not all(type(number) is int for number in sequence):
            raise DataLossError("an array holds something else than lists of integers.")
    return array


def shuffled(x: np.ndarray, y: np.ndarray, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Both in one order drawn from `rng`."""
    order = np.arange(len(x))
    rng.shuffle(order)
    return x[order], y[order]


def encode_words(
    x: np.ndarray,
    y: np.ndarray,
    *,
    num_words: int | None,
    skip_top: int,
    maxlen: int | None,
    start_char: int | None,
    oov_char: int | None,
    index_from: int,
    name: str,
) -> SequenceSplit:
    """Sequences with a start mark, numbers moved up by `index_from`, and rare and frequent words replaced or left out.

    Sequences of `maxlen` and more numbers (the start mark counts) are left out, with their labels.

    Raises:
        ValueError: `maxlen` leaves nothing.
    """
    head = [] if start_char is None else [start_char]
    sequences = [head + [word + index_from for word in sequence] for sequence in x]
    if maxlen is not None:
        check_int(name, "maxlen", maxlen, 1)
        short = [len(sequence) < maxlen for sequence in sequences]
        sequences, y = [s for s, keep in zip(sequences, short, strict=True) if keep], y[np.array(short, bool)]
        if not sequences:
            raise ValueError(f"{name}: no sequence has fewer than maxlen={maxlen} words. Increase maxlen.")
    top = float("inf") if num_words is None else num_words
    if num_words is None and skip_top == 0:
        pass
    elif oov_char is None:
        sequences = [[word for word in sequence if skip_top <= word < top] for sequence in sequences]
    else:
        sequences = [[word if skip_top <= word < top else oov_char for word in sequence] for sequence in sequences]
    out = np.empty(len(sequences), object)
    out[:] = sequences
    return out, y


class Sequences:
    """Sequences and their labels as a source for `Dataset.from_source`: `(int32 array, int32 label)` at each index."""

    def __init__(self, x: np.ndarray, y: np.ndarray):
        self._x = [np.array(sequence, np.int32) for sequence in x]
        self._y = np.asarray(y, np.int32)

    def __len__(self) -> int:
        return len(self._x)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.int32]:
        return self._x[index], self._y[index]
