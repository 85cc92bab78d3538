"""StringLookup: strings as their places in a vocabulary."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.core.errors import describe, owner_label
from lamina.core.vocabulary import as_text, is_text
from lamina.layers.index_lookup import IndexLookup


class StringLookup(IndexLookup):
    """Strings as indices into a vocabulary, which is given, or learned by `adapt`.

    The layer works on the host: put it in `Dataset.map`, or call it on arrays. Index 0 is for masks if there is a
    `mask_token`; then come `num_oov_indices` for unknown strings, then the vocabulary.

    Shape:
        "int": any -> the same; "one_hot": (...) -> (..., size); others: (..., n) -> (..., size)

    Args:
        max_tokens: the largest size of the vocabulary, special tokens included.
        num_oov_indices: how many indices unknown strings share, by their hash; with 0 they are an error.
        mask_token: the string that stands for no value; it has index 0, and is left out in other modes than "int".
        oov_token: what unknown strings are called in `get_vocabulary` and, with `invert`, in the output.
        vocabulary: the strings: a list, an array, or the path of a text file, one a line.
        idf_weights: a weight for each, with output_mode "tf_idf".
        invert: whether indices are turned into strings.
        output_mode: "int" for indices, "one_hot" for a vector each, "multi_hot" for which strings a row has, "count"
            for how often, "tf_idf" for that times the weights.
        pad_to_max_tokens: whether vectors have the width `max_tokens` even if the vocabulary is smaller.
        sparse: only False: all arrays are dense.
        encoding: how bytes are read as text.
        name: the name.
        salt: an integer, or two, that the hash of unknown strings depends on.
        **kwargs: `dtype` of the vectors, and so on, as for every layer.

    Example:
        >>> layer = StringLookup(vocabulary=["red", "green"])
        >>> layer([["green", "blue"]]).tolist(), layer.get_vocabulary()
        ([[2, 0]], ['[UNK]', 'red', 'green'])
        >>> layer = StringLookup(output_mode="count")
        >>> layer.adapt(["a", "b", "a"])
        >>> layer([["a", "a", "x"]]).tolist()
        [[1.0, 2.0, 0.0]]
    """

    _unsaved = frozenset({"vocabulary_dtype"})

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: str | None = None,
        oov_token: str | None = "[UNK]",
        vocabulary: Any = None,
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        pad_to_max_tokens: bool = False,
        sparse: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
        salt: Any = None,
        oov_method: str = "floormod",
        vocabulary_size: int | None = None,
        **kwargs: Any,
    ):
        self.encoding = encoding
        super().__init__(
            max_tokens=max_tokens,
            num_oov_indices=num_oov_indices,
            mask_token=mask_token,
            oov_token=oov_token,
            vocabulary=vocabulary,
            idf_weights=idf_weights,
            invert=invert,
            output_mode=output_mode,
            sparse=sparse,
            pad_to_max_tokens=pad_to_max_tokens,
            oov_method=oov_method,
            salt=salt,
            vocabulary_size=vocabulary_size,
            name=name,
            **kwargs,
        )

    def _as_token(self, value: Any) -> str:
        if not isinstance(value, (str, bytes)):
            raise TypeError(f"{owner_label(self)}: tokens must be strings, got {describe(value)}. Use IntegerLookup.")
        return as_text(value, self.encoding)

    def _is_mask(self, values: np.ndarray) -> np.ndarray:
        mask: Any = self.mask_token
        found = values == (mask.encode() if values.dtype.kind == "S" else mask)
        if values.dtype.kind == "O":
            found = found | (values == mask.encode())
        return np.broadcast_to(np.asarray(found, bool), values.shape)

    def _check_dtype(self, values: np.ndarray) -> None:
        if values.size and not is_text(values):
            raise TypeError(f"{owner_label(self)}: expected strings, got {describe(values)}. Use IntegerLookup.")
