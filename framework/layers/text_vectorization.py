"""TextVectorization: text as rows of token indices, or as bags of words."""

from __future__ import annotations

import string
from collections.abc import Callable, MutableMapping
from typing import Any, Self

import numpy as np

from lamina.core.checks import check_choice, check_int
from lamina.core.config import deserialize_value
from lamina.core.errors import ShapeError, describe, owner_label
from lamina.core.vocabulary import as_text, dense_rows, is_text
from lamina.layers.host_layer import HostLayer, adapt_batches, as_host_array, check_dense
from lamina.layers.string_lookup import StringLookup

_PUNCTUATION = string.punctuation.encode()
_AS_IT_IS = bytes(range(256))
_LOWER = _AS_IT_IS.lower()  # ASCII only, as TensorFlow does
_STANDARDIZE = {
    "lower_and_strip_punctuation": (_LOWER, _PUNCTUATION),
    "lower": (_LOWER, b""),
    "strip_punctuation": (_AS_IT_IS, _PUNCTUATION),
}


class TextVectorization(HostLayer):
    """Text as token indices: standardised, split, perhaps joined to n-grams, and looked up in a vocabulary.

    The layer works on the host: put it in `Dataset.map`, or call it on arrays. With output_mode "int", index 0 is
    padding and 1 unknown tokens.

    Shape:
        strings (batch,) or (batch, 1) -> "int": (batch, output_sequence_length, or the longest);
        else (batch, vocabulary size)

    Args:
        max_tokens: the largest size of the vocabulary, special tokens included.
        standardize: "lower_and_strip_punctuation", "lower", "strip_punctuation", None, or a function of an array of
            strings.
        split: "whitespace", "character", None (each string is a token), or a function from an array of strings to
            their lists of tokens.
        ngrams: the lengths of n-grams: an integer n for 1 to n, or a tuple of lengths; None for tokens alone.
        output_mode: "int" for the indices in order; "multi_hot" for which tokens a text has, "count" for how often,
            "tf_idf" for that times inverse document frequencies.
        output_sequence_length: the length that rows are cut or padded to, with "int"; by default that of the longest.
        pad_to_max_tokens: whether vectors have the width `max_tokens` even if the vocabulary is smaller.
        vocabulary: the tokens: a list, an array, or the path of a text file, one a line.
        idf_weights: a weight for each, with output_mode "tf_idf".
        sparse: only False: all arrays are dense.
        ragged: only False: rows are padded.
        encoding: how bytes are read as text.
        name: the name.
        **kwargs: `dtype` of the vectors, and so on, as for every layer.

    Example:
        >>> layer = TextVectorization(output_sequence_length=4)
        >>> layer.adapt(["The cat sat.", "A dog; the DOG!"])
        >>> layer(["the dog sat", "zebra cat"]).tolist()
        [[2, 3, 4, 0], [1, 5, 0, 0]]
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: str | Callable[[Any], Any] | None = "lower_and_strip_punctuation",
        split: str | Callable[[Any], Any] | None = "whitespace",
        ngrams: int | tuple[int, ...] | None = None,
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False,
        vocabulary: Any = None,
        idf_weights: Any = None,
        sparse: bool = False,
        ragged: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
        vocabulary_size: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self.standardize, self.split = standardize, split
        if standardize is not None and not callable(standardize):
            check_choice(self, "standardize", standardize, [*_STANDARDIZE])
        if split is not None and not callable(split):
            check_choice(self, "split", split, ["whitespace", "character"])
        self.ngrams, self._widths = ngrams, _widths(self, ngrams)
        self.sparse = self.ragged = check_dense(self, sparse, ragged)
        self._lookup_layer = StringLookup(
            max_tokens=max_tokens,
            vocabulary=vocabulary,
            idf_weights=idf_weights,
            pad_to_max_tokens=pad_to_max_tokens,
            mask_token="",
            output_mode=output_mode,
            encoding=encoding,
            vocabulary_size=vocabulary_size,
            dtype=kwargs.get("dtype"),
        )
        self.output_mode, self.encoding = self._lookup_layer.output_mode, encoding
        self.max_tokens, self.pad_to_max_tokens = self._lookup_layer.max_tokens, self._lookup_layer.pad_to_max_tokens
        self.output_sequence_length = None
        if output_sequence_length is not None:
            if self.output_mode != "int":
                raise ValueError(
                    f"{owner_label(self)}: output_sequence_length needs output_mode='int', got {self.output_mode!r}."
                )
            self.output_sequence_length = check_int(self, "output_sequence_length", output_sequence_length, 1)

    # ---- text to tokens

    def tokens(self, inputs: Any) -> list[list[Any]]:
        """The tokens of each text, n-grams included, as str or bytes."""
        texts = self._texts(as_host_array(self, inputs))
        rows = self._split(texts)
        return rows if self._widths is None else [_ngrams(row, self._widths) for row in rows]

    def _texts(self, values: np.ndarray) -> np.ndarray:
        """The standardised texts."""
        if values.size and not is_text(values):
            raise TypeError(f"{owner_label(self)}: expected strings, got {describe(values)}.")
        if self.split is not None and values.ndim > 1:
            if values.shape[-1] != 1:
                raise ShapeError(
                    f"{owner_label(self)}: expected texts of shape (batch,) or (batch, 1), got {describe(values)}. "
                    "With split=None the last axis may hold tokens."
                )
            values = values[..., 0]
        if values.ndim > 2 or (values.ndim > 1 and self.split is not None):
            raise ShapeError(
                f"{owner_label(self)}: expected texts of shape (batch,) or (batch, 1), got {describe(values)}."
            )
        if self.standardize is None:
            return values
        if callable(self.standardize):
            text = np.array([as_text(v, self.encoding) for v in values.reshape(-1).tolist()], object)
            return np.asarray(self.standardize(text.reshape(values.shape)))
        table, dropped = _STANDARDIZE[self.standardize]
        out = np.empty(values.size, object)
        out[:] = [self._bytes(v).translate(table, dropped) for v in values.reshape(-1).tolist()]
        return out.reshape(values.shape)

    def _bytes(self, value: Any) -> bytes:
        return value if isinstance(value, bytes) else value.encode(self.encoding, "surrogateescape")

    def _split(self, texts: np.ndarray) -> list[list[Any]]:
        if self.split is None:
            return [row if isinstance(row, list) else [row] for row in texts.tolist()]
        if callable(self.split):
            text = np.array([as_text(v, self.encoding) for v in texts.reshape(-1).tolist()], object)
            return [row if isinstance(row, list) else list(row) for row in self.split(text)]
        if self.split == "character":
            return [list(as_text(t, self.encoding)) for t in texts.reshape(-1).tolist()]
        # bytes, since str.split would split at spaces beyond ASCII too
        return [self._bytes(t).split() for t in texts.reshape(-1).tolist()]

    # ---- calling

    def call(self, inputs: Any) -> np.ndarray:
        """The indices of the tokens of each text; or vectors."""
        values = as_host_array(self, inputs)
        lookup = self._lookup_layer
        tokens, present = dense_rows(self.tokens(values), "", object)
        ids = lookup.indices(tokens, present)
        if self.output_mode == "int":
            ids = self._cut(ids).astype(lookup.output_dtype(), copy=False)
            if self.split is None and values.ndim == 1 and self.output_sequence_length is None:
                ids = ids[:, 0] if ids.shape[1] == 1 else ids
        else:
            ids = lookup.encoded(ids)
        return ids[0] if values.ndim == 0 else ids

    def _cut(self, ids: np.ndarray) -> np.ndarray:
        length = self.output_sequence_length
        if length is None:
            return ids
        return np.pad(ids[:, :length], ((0, 0), (0, max(length - ids.shape[1], 0))))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the output."""
        if self.output_mode == "int":
            return (*tuple(input_shape)[:1], self.output_sequence_length)
        return (*tuple(input_shape)[:1], self._lookup_layer._depth())

    def output_dtype(self) -> str:
        """The dtype of the output."""
        return self._lookup_layer.output_dtype()

    # ---- the vocabulary

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Learns the vocabulary from texts: all tokens, the most frequent first, at most `max_tokens`.

        Args:
            data: an array or list of texts; or a Dataset or other iterable of batches of texts.
            batch_size: has no effect.
            steps: how many batches are looked at; by default all.

        Raises:
            ValueError: the layer was made with a vocabulary.
        """
        self.reset_state()
        for batch in adapt_batches(data, steps):
            self.update_state(batch)
        self.finalize_state()

    def update_state(self, data: Any) -> None:
        """Counts the tokens of a batch of texts."""
        self._lookup_layer.count_documents(self.tokens(data))

    def finalize_state(self) -> None:
        """Makes the vocabulary of what `update_state` counted."""
        self._lookup_layer.built = self.built
        self._lookup_layer.finalize_state()

    def reset_state(self) -> None:
        """Forgets what `update_state` counted."""
        self._lookup_layer.reset_state()

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[str]:
        """The tokens in the order of their indices."""
        return self._lookup_layer.get_vocabulary(include_special_tokens)

    def vocabulary_size(self) -> int:
        """How many tokens there are, special ones included."""
        return self._lookup_layer.vocabulary_size()

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Sets the tokens, and for output_mode "tf_idf" their weights; see `StringLookup.set_vocabulary`."""
        self._lookup_layer.built = self.built
        self._lookup_layer.set_vocabulary(vocabulary, idf_weights)

    # ---- saving

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values; an adapted vocabulary is saved as a file of its own."""
        config = super().get_config()
        inner = self._lookup_layer.get_config()
        return {**config, **{k: inner[k] for k in ("vocabulary", "idf_weights", "vocabulary_size")}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A layer made from what `get_config` returned."""
        config = {k: deserialize_value(v) for k, v in config.items()}
        if isinstance(config.get("ngrams"), list):
            config["ngrams"] = tuple(config["ngrams"])
        return cls(**config)

    def get_build_config(self) -> dict[str, Any]:
        """Nothing: the layer has no shapes."""
        return {}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Nothing needs to be built."""
        self.built = True

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Puts the weights of tokens into a dict."""
        self._lookup_layer.save_own_variables(store)

    def load_own_variables(self, store: Any) -> None:
        """Sets the weights of tokens from a dict."""
        self._lookup_layer.load_own_variables(store)

    def save_assets(self, dir_path: str) -> None:
        """Writes the vocabulary to `vocabulary.txt` in a folder, unless the config holds it."""
        self._lookup_layer.save_assets(dir_path)

    def load_assets(self, dir_path: str) -> None:
        """Reads the vocabulary from `vocabulary.txt` in a folder, unless the config held it."""
        self._lookup_layer.load_assets(dir_path)


def _widths(owner: Any, ngrams: Any) -> tuple[int, ...] | None:
    if ngrams is None:
        return None
    if isinstance(ngrams, (tuple, list)):
        return tuple(check_int(owner, "ngrams", n, 1) for n in ngrams)
    return tuple(range(1, check_int(owner, "ngrams", ngrams, 1) + 1))


def _ngrams(tokens: list[Any], widths: tuple[int, ...]) -> list[Any]:
    """The runs of neighbouring tokens, joined by spaces: all of the first width, then of the next.

    Example:
        >>> _ngrams(["a", "b", "c"], (1, 2))
        ['a', 'b', 'c', 'a b', 'b c']
    """
    space: Any = b" " if tokens and isinstance(tokens[0], bytes) else " "
    return [space.join(tokens[i : i + n]) for n in widths for i in range(len(tokens) - n + 1)]
