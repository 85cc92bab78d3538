"""Reuters: 11,228 newswires in 46 topics, as sequences of word numbers; fetched on first use.

Source: Reuters-21578, collected by D. Lewis (the selection and the numbers that Keras gives the words).
Licence: free for research, with a note of the source.
"""

from __future__ import annotations

import json
import os

import numpy as np

from lamina.core.checks import check_choice, check_number
from lamina.datasets.builtin.fetch import RemoteFile, fetch
from lamina.datasets.builtin.sequences import Sequences, SequenceSplit, encode_words, read_sequences, shuffled
from lamina.datasets.dataset import Dataset

FILE = RemoteFile(
    "reuters.npz",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/reuters.npz",
    "sha256:d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916",
)
WORD_INDEX = RemoteFile(
    "reuters_word_index.json",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/reuters_word_index.json",
    "md5:4d44cc38712099c9e383dc6e5f11a921",
)
CLASS_NAMES = tuple(
    (
        "cocoa grain veg-oil earn acq wheat copper housing money-supply coffee sugar trade reserves ship cotton "
        "carcass crude nat-gas cpi money-fx interest gnp meal-feed alum oilseed gold tin strategic-metal livestock "
        "retail ipi iron-steel rubber heat jobs lei bop zinc orange pet-chem dlr gas silver wpi hog lead"
    ).split()
)


def load_data(
    path: str | os.PathLike = "reuters.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    test_split: float = 0.2,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
) -> tuple[SequenceSplit, SequenceSplit]:
    """Newswires as lists of word numbers, and their topics (0 to 45, see `CLASS_NAMES`).

    Words are numbered by how frequent they are, from 1, and moved up by `index_from`.

    Args:
        path: where the file is kept; relative to `datasets` in the cache folder.
        num_words: keep words whose number is below this one; None keeps all.
        skip_top: leave out words whose number is below this one.
        maxlen: leave out newswires of this length and longer; None keeps all.
        test_split: share of the newswires held out for testing, 0 to 1.
        seed: of the order of the newswires.
        start_char: put in front of each newswire; None puts nothing there.
        oov_char: stands for words that are left out; None drops them.
        index_from: added to each word number, to make room for padding (0) and the two marks.

    Returns:
        `(x_train, y_train), (x_test, y_test)`; x object arrays of lists of integers, y integer arrays.

    Raises:
        FetchError: the file is not there and could not be fetched.
    """
    check_number("reuters", "test_split", test_split, 0.0, 1.0)
    arrays = read_sequences(fetch(FILE, path))
    x, y = encode_words(
        *shuffled(arrays["x"], arrays["y"], np.random.RandomState(seed)),
        num_words=num_words,
        skip_top=skip_top,
        maxlen=maxlen,
        start_char=start_char,
        oov_char=oov_char,
        index_from=index_from,
        name="reuters",
    )
    cut = int(len(x) * (1 - test_split))
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])


def load(split: str = "train", num_words: int | None = None, maxlen: int | None = None, seed: int = 113) -> Dataset:
    """The newswires as a Dataset of `(word numbers, label)`, of varying length: batch them with `padded_batch`.

    Args:
        split: `"train"` or `"test"`.
        num_words: as in `load_data`.
        maxlen: as in `load_data`.
        seed: as in `load_data`.
    """
    check_choice("reuters", "split", split, ("train", "test"))
    train, test = load_data(num_words=num_words, maxlen=maxlen, seed=seed)
    return Dataset.from_source(Sequences(*(train if split == "train" else test)))


def get_word_index(path: str | os.PathLike = "reuters_word_index.json") -> dict[str, int]:
    """The number of each word, before `index_from` is added to it.

    Args:
        path: where the file is kept; relative to `datasets` in the cache folder.
    """
    return json.loads(fetch(WORD_INDEX, path).read_text("utf-8"))


def get_label_names() -> tuple[str, ...]:
    """The names of the topics, in the order of their labels."""
    return CLASS_NAMES
