"""Categorical columns by vocabulary, and the rows of a table moved from one vocabulary to another."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lamina.core.checks import check_int
from lamina.core.errors import ShapeError, describe
from lamina.core.fingerprint import fingerprint64
from lamina.core.vocabulary import TokenIndex, as_text, check_unique, read_vocabulary
from lamina.estimators.feature_columns.categorical import check_category_dtype, read_categories, values_spec
from lamina.estimators.feature_columns.column import CategoricalColumn, Features, check_key


@dataclass(frozen=True)
class VocabularyColumn(CategoricalColumn):
    """A column of the ids of tokens; see `categorical_column_with_vocabulary_list`."""

    key: str
    vocabulary: tuple[Any, ...]
    dtype: str
    default_value: int
    num_oov_buckets: int

    maker = "categorical_column_with_vocabulary_list"

    @property
    def name(self) -> str:
        """The key."""
        return self.key

    @property
    def num_buckets(self) -> int:
        """How many ids there are, those of unknown tokens included."""
        return len(self.vocabulary) + self.num_oov_buckets

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        """Any number of values."""
        return {self.key: values_spec(self.dtype)}

    @cached_property
    def _index(self) -> TokenIndex:
        return TokenIndex(self.vocabulary)

    def host_ids(self, features: Features) -> tuple[np.ndarray, np.ndarray]:
        """The place of each token in the vocabulary; for others a bucket by hash, or the default."""
        values, present = read_categories(self, features, self.key, self.dtype)
        ids = self._index.find(values)
        unknown = ids < 0
        if self.num_oov_buckets:
            unknown &= present
            if unknown.any():
                buckets = fingerprint64(values[unknown]) % np.uint64(self.num_oov_buckets)
                ids[unknown] = len(self.vocabulary) + buckets.astype(np.int64)
        else:
            ids[unknown] = self.default_value
        return ids, present

    def id_nodes(self, nodes: Any) -> tuple[Any, Any]:
        """A table of the tokens; for others a bucket by hash, or the default."""
        values, build = nodes.categories(self, self.key, self.dtype), nodes.build
        if not self.num_oov_buckets:
            return build.find(values, self.vocabulary, self.default_value), nodes.given(values)
        ids = build.find(values, self.vocabulary, -1)
        others = build.add(build.hash_buckets(values, self.num_oov_buckets), len(self.vocabulary))
        return build.select(build.compare("Less", ids, 0), others, ids), nodes.given(values)

    def describe(self) -> dict[str, Any]:
        """A row of the summary."""
        shown = ", ".join(str(t) for t in self.vocabulary[:4]) + (", ..." if len(self.vocabulary) > 4 else "")
        details = f"{len(self.vocabulary)} values: {shown}"
        if self.num_oov_buckets:
            details += f"; {self.num_oov_buckets} for others"
        return {"name": self.name, "kind": self.maker, "details": details}


@dataclass(frozen=True)
class VocabularyFileColumn(VocabularyColumn):
    """See `categorical_column_with_vocabulary_file`."""

    vocabulary_file: str
    vocabulary_size: int

    maker = "categorical_column_with_vocabulary_file"


def categorical_column_with_vocabulary_list(
    key: str,
    vocabulary_list: Sequence[Any],
    dtype: Any = None,
    default_value: int = -1,
    num_oov_buckets: int = 0,
) -> VocabularyColumn:
    """Strings or integers by their place in a list.

    Args:
        key: the name of the feature.
        vocabulary_list: the tokens, each once.
        dtype: of the feature, "string" or one of integers; by default that of the tokens.
        default_value: the id of tokens that are not in the list; -1 leaves them out.
        num_oov_buckets: how many more ids there are for such tokens, which they share by hash.

    Raises:
        ValueError: no tokens, a token twice, tokens of another dtype, or both a default and buckets.

    Example:
        >>> categorical_column_with_vocabulary_list("color", ["red", "green"], num_oov_buckets=1).num_buckets
        3
    """
    owner = f"categorical_column_with_vocabulary_list '{check_key('categorical_column_with_vocabulary_list', key)}'"
    if isinstance(vocabulary_list, (str, bytes)):
        raise TypeError(f"{owner}: vocabulary_list must be a list of tokens, got {describe(vocabulary_list)}.")
    tokens = [t.item() if isinstance(t, np.generic) else t for t in vocabulary_list]
    if not tokens:
        raise ValueError(f"{owner}: vocabulary_list must hold at least one token, got none.")
    dtype = check_tokens(owner, tokens, dtype)
    if dtype == "string":
        tokens = [as_text(t) for t in tokens]
    check_unique(owner, "vocabulary_list", tokens)
    default, buckets = check_unknown(owner, default_value, num_oov_buckets, len(tokens))
    return VocabularyColumn(key, tuple(tokens), dtype, default, buckets)


def check_tokens(owner: str, tokens: Sequence[Any], dtype: Any) -> str:
    """The dtype of tokens, if they are all strings or all integers, as `dtype` says."""
    text = all(isinstance(t, (str, bytes)) for t in tokens)
    if not text and not all(isinstance(t, int) and not isinstance(t, bool) for t in tokens):
        wrong = next((t for t in tokens if not isinstance(t, (str, bytes))), tokens[0])
        raise ValueError(f"{owner}: vocabulary_list must hold strings only or integers only, got {describe(wrong)}.")
    own = "string" if text else "int64"
    name = own if dtype is None else check_category_dtype(owner, dtype)
    if (name == "string") != text:
        raise ValueError(f"{owner}: dtype is {name!r}, but the vocabulary holds values of dtype {own!r}.")
    return name


def check_unknown(owner: str, default_value: Any, num_oov_buckets: Any, size: int) -> tuple[int, int]:
    """The id of unknown tokens and the number of buckets for them; one of both at most is given."""
    buckets = check_int(owner, "num_oov_buckets", num_oov_buckets, 0)
    default = check_int(owner, "default_value", -1 if default_value is None else default_value)
    if buckets and default != -1:
        raise ValueError(f"{owner}: give either num_oov_buckets or default_value, got {buckets} and {default}.")
    if not -1 <= default < size:
        raise ValueError(f"{owner}: default_value must be an id below {size}, or -1 for none, got {default}.")
    return default, buckets


def categorical_column_with_vocabulary_file(
    key: str,
    vocabulary_file: Any,
    vocabulary_size: int | None = None,
    dtype: Any = "string",
    default_value: int | None = None,
    num_oov_buckets: int = 0,
    file_format: str | None = None,
) -> VocabularyFileColumn:
    """Strings or integers by their line in a text file.

    Args:
        key: the name of the feature.
        vocabulary_file: the path of the file, one token a line. It is read now.
        vocabulary_size: how many of its first lines count; by default all.
        dtype: of the feature, "string" or one of integers.
        default_value: the id of tokens that are not in the file; None or -1 leaves them out.
        num_oov_buckets: how many more ids there are for such tokens, which they share by hash.
        file_format: "text".

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file has fewer lines than `vocabulary_size`, or a token twice; or both a default and buckets.
    """
    owner = f"categorical_column_with_vocabulary_file '{check_key('categorical_column_with_vocabulary_file', key)}'"
    if not vocabulary_file:
        raise ValueError(f"{owner}: vocabulary_file must be the path of a file, got {vocabulary_file!r}.")
    if file_format not in (None, "text"):
        raise ValueError(f"{owner}: file_format must be 'text', got {file_format!r}. Write one token a line.")
    if vocabulary_size is not None:
        check_int(owner, "vocabulary_size", vocabulary_size, 1)
    dtype = check_category_dtype(owner, dtype)
    tokens: list[Any] = read_vocabulary(owner, vocabulary_file, vocabulary_size)
    if dtype != "string":
        try:
            tokens = [int(t) for t in tokens]
        except ValueError as error:
            raise ValueError(f"{owner}: dtype is {dtype!r}, but the file holds other tokens: {error}.") from None
    check_unique(owner, "vocabulary_file", tokens)
    default, buckets = check_unknown(owner, default_value, num_oov_buckets, len(tokens))
    path = os.fspath(vocabulary_file)
    return VocabularyFileColumn(key, tuple(tokens), dtype, default, buckets, path, len(tokens))


def remap_rows(
    old_vocabulary: Any,
    new_vocabulary: Any,
    old_table: Any,
    initializer: Callable[..., Any] | None = None,
    num_oov_buckets: int = 0,
    axis: int = 0,
) -> np.ndarray:
    """The table of an old vocabulary as one of a new vocabulary: tokens keep their rows, wherever they stand now.

    Args:
        old_vocabulary: the tokens of the old table, in order; or the path of a file of them, one a line.
        new_vocabulary: those of the new table, likewise.
        old_table: the old values; rows beyond the vocabulary, of unknown tokens, are not taken over.
        initializer: `(shape, dtype) -> array`, for new tokens and the rows of unknown ones; by default zeros.
        num_oov_buckets: how many rows for unknown tokens end the new table.
        axis: the axis of tokens: 0 for rows, 1 for columns.

    Returns:
        The new table, of the old dtype.

    Raises:
        ShapeError: the old table has fewer rows than its vocabulary.

    Example:
        >>> remap_rows(["a", "b"], ["b", "c", "a"], np.array([[1.0], [2.0]])).tolist()
        [[2.0], [0.0], [1.0]]
    """
    old, new = (_tokens(v) for v in (old_vocabulary, new_vocabulary))
    table = np.asarray(old_table)
    if table.shape[axis] < len(old):
        raise ShapeError(
            f"remap_rows: the old table must have a row for each of the {len(old)} tokens of its vocabulary, got "
            f"{describe(table)}."
        )
    shape = list(table.shape)
    shape[axis] = len(new) + num_oov_buckets
    fresh = np.zeros(shape) if initializer is None else np.asarray(initializer(tuple(shape), dtype=table.dtype.name))
    result = np.moveaxis(np.array(fresh, table.dtype), axis, 0)
    at = TokenIndex(old).find(np.asarray(new, np.int64 if new and not isinstance(new[0], (str, bytes)) else object))
    kept = np.flatnonzero(at >= 0)
    result[kept] = np.moveaxis(table, axis, 0)[at[kept]]
    return np.moveaxis(result, 0, axis)


def _tokens(vocabulary: Any) -> list[Any]:
    if isinstance(vocabulary, (str, os.PathLike)):
        return read_vocabulary("remap_rows", vocabulary)
    return [as_text(t) if isinstance(t, bytes) else t for t in vocabulary]
