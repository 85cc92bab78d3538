"""IMDB reviews: 50,000 film reviews, half of them positive, as sequences of word numbers; fetched on first use.

Source: A. Maas and others, "Learning Word Vectors for Sentiment Analysis", 2011,
https://ai.stanford.edu/~amaas/data/sentiment (the numbers that Keras gives the words). Its authors name no licence.
"""

from __future__ import annotations

import json
import os

import numpy as np

from lamina.core.checks import check_choice
from lamina.datasets.builtin.fetch import RemoteFile, fetch
from lamina.datasets.builtin.sequences import Sequences, SequenceSplit, encode_words, read_sequences, shuffled
from lamina.datasets.dataset import Dataset

FILE = RemoteFile(
    "imdb.npz",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/imdb.npz",
    "sha256:69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f",
)
WORD_INDEX = RemoteFile(
    "imdb_word_index.json",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/imdb_word_index.json",
    "md5:bfafd718b763782e994055a2d397834f",
)


def load_data(
    path: str | os.PathLike = "imdb.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
) -> tuple[SequenceSplit, SequenceSplit]:
    """Reviews as lists of word numbers, and whether they are positive (1) or negative (0).

    Words are numbered by how frequent they are, from 1, and moved up by `index_from`.

    Args:
        path: where the file is kept; relative to `datasets` in the cache folder.
        num_words: keep words whose number is below this one; None keeps all.
        skip_top: leave out words whose number is below this one.
        maxlen: leave out reviews of this length and longer; None keeps all.
        seed: of the order of the reviews.
        start_char: put in front of each review; None puts nothing there.
        oov_char: stands for words that are left out; None drops them.
        index_from: added to each word number, to make room for padding (0) and the two marks.

    Returns:
        `(x_train, y_train), (x_test, y_test)`; x object arrays of lists of integers, y integer arrays.

    Raises:
        FetchError: the file is not there and could not be fetched.
    """
    arrays = read_sequences(fetch(FILE, path))
    rng = np.random.RandomState(seed)
    parts = [shuffled(arrays[f"x_{part}"], arrays[f"y_{part}"], rng) for part in ("train", "test")]
    train, test = (
        encode_words(
            x,
            y,
            num_words=num_words,
            skip_top=skip_top,
            maxlen=maxlen,
            start_char=start_char,
            oov_char=oov_char,
            index_from=index_from,
            name="imdb",
        )
        for x, y in parts
    )
    return train, test


def load(split: str = "train", num_words: int | None = None, maxlen: int | None = None, seed: int = 113) -> Dataset:
    """The reviews as a Dataset of `(word numbers, label)`, of varying length: batch them with `padded_batch`.

    Args:
        split: `"train"` or `"test"`.
        num_words: as in `load_data`.
        maxlen: as in `load_data`.
        seed: as in `load_data`.
    """
    check_choice("imdb", "split", split, ("train", "test"))
    train, test = load_data(num_words=num_words, maxlen=maxlen, seed=seed)
    return Dataset.from_source(Sequences(*(train if split == "train" else test)))


def get_word_index(path: str | os.PathLike = "imdb_word_index.json") -> dict[str, int]:
    """The number of each word, before `index_from` is added to it.

    Args:
        path: where the file is kept; relative to `datasets` in the cache folder.
    """
    return json.loads(fetch(WORD_INDEX, path).read_text("utf-8"))
