"""Speech Commands v0.02: 105,829 recordings of one second in which somebody says one of 35 words, fetched on first use.

Source: P. Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", 2018, arXiv:1804.03209.
Licence: CC BY 4.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lamina.core.checks import check_choice
from lamina.datasets.audio import read_wav
from lamina.datasets.builtin.embedded import Split
from lamina.datasets.builtin.fetch import RemoteFile, extract, fetch
from lamina.datasets.dataset import Dataset
from lamina.wire.errors import DataLossError

FILE = RemoteFile(
    "speech_commands_v0.02.tar.gz",
    "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
    "sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
)
SAMPLE_RATE = 16_000
CLASS_NAMES = tuple(
    (
        "backward bed bird cat dog down eight five follow forward four go happy house learn left marvin nine no off on "
        "one right seven sheila six stop three tree two up visual wow yes zero"
    ).split()
)
_LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}


def load_data(words: Sequence[str] | None = None) -> tuple[Split, Split]:
    """Recordings and the words said in them, as the authors split them; the validation part is left to `load`.

    All words together are 3 GB: name the words you want, or use `load`, which reads the recordings one by one.

    Shape:
        x: `(recordings, 16000)`, int16, shorter recordings filled up with silence; y: `(recordings,)`, int32.

    Args:
        words: some of `CLASS_NAMES`; labels count in this list. None stands for all of them.

    Returns:
        `(x_train, y_train), (x_test, y_test)`.

    Raises:
        FetchError: the archive (2.4 GB) is not there and could not be fetched.
    """
    train, test = (_recordings(split, words) for split in ("train", "test"))
    return _read_all(*train), _read_all(*test)


def load(split: str = "train", words: Sequence[str] | None = None) -> Dataset:
    """The recordings as a Dataset of `(waveform, word)`, read when they are asked for.

    Shape:
        waveform: `(16000,)`, float32 from -1 to 1, shorter recordings filled up with silence; word: `()`, int32.

    Args:
        split: `"train"`, `"validation"` or `"test"`.
        words: as in `load_data`.
    """
    paths, labels = _recordings(split, words)
    return Dataset.from_source(_Recordings(paths, labels))


class _Recordings:
    """Recordings by index."""

    def __init__(self, paths: list[Path], labels: np.ndarray):
        self._paths, self._labels = paths, labels

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.int32]:
        return _read(self._paths[index]).astype(np.float32) / 32768, self._labels[index]


def _recordings(split: str, words: Sequence[str] | None) -> tuple[list[Path], np.ndarray]:
    check_choice("speech_commands", "split", split, ("train", "validation", "test"))
    words = CLASS_NAMES if words is None else words
    for word in words:
        check_choice("speech_commands", "words", word, CLASS_NAMES)
    archive = fetch(FILE)
    folder = extract(archive, archive.with_name("speech_commands_v0.02"))
    lists = {part: set((folder / name).read_text("utf-8").split()) for part, name in _LISTS.items()}
    paths, labels = [], []
    for label, word in enumerate(words):
        for path in sorted((folder / word).glob("*.wav")):
            name = f"{word}/{path.name}"
            part = next((part for part, names in lists.items() if name in names), "train")
            if part == split:
                paths.append(path)
                labels.append(label)
    return paths, np.array(labels, np.int32)


def _read(path: Path) -> np.ndarray:
    samples, rate = read_wav(path.read_bytes(), str(path))
    if rate != SAMPLE_RATE or samples.dtype != np.int16 or samples.shape[1] != 1 or len(samples) > SAMPLE_RATE:
        raise DataLossError(f"'{path}' must hold up to {SAMPLE_RATE} samples of 16 bits, mono, at {SAMPLE_RATE} Hz.")
    return np.pad(samples[:, 0], (0, SAMPLE_RATE - len(samples)))


def _read_all(paths: list[Path], labels: np.ndarray) -> Split:
    x = np.empty((len(paths), SAMPLE_RATE), np.int16)
    for i, path in enumerate(paths):
        x[i] = _read(path)
    return x, labels
