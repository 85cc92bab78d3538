"""Look-up of tokens in a vocabulary: what StringLookup and IntegerLookup have in common."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import MutableMapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core import settings
from lamina.core.checks import check_choice, check_int
from lamina.core.errors import describe, listing, owner_label
from lamina.core.vocabulary import TokenIndex, as_text, check_unique, read_vocabulary
from lamina.layers.category_encoding import encode
from lamina.layers.hashing import _salt, hash_bins
from lamina.layers.host_layer import (
    HostLayer,
    adapt_batches,
    as_host_array,
    check_dense,
    encode_on_host,
    encoded_shape,
)

MODES = ["int", "one_hot", "multi_hot", "count", "tf_idf"]


class IndexLookup(HostLayer):
    """The base of `StringLookup` and `IntegerLookup`, which describe the arguments."""

    def __init__(
        self,
        max_tokens: int | None,
        num_oov_indices: int,
        mask_token: Any,
        oov_token: Any,
        vocabulary: Any,
        idf_weights: Any,
        invert: bool,
        output_mode: str,
        sparse: bool,
        pad_to_max_tokens: bool,
        oov_method: str,
        salt: Any,
        vocabulary_size: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        mode = {"binary": "multi_hot", "tf-idf": "tf_idf"}.get(output_mode, output_mode)
        self.output_mode = check_choice(self, "output_mode", mode, MODES)
        self.max_tokens = None if max_tokens is None else check_int(self, "max_tokens", max_tokens, 2)
        self.num_oov_indices = check_int(self, "num_oov_indices", num_oov_indices, 0)
        self.oov_method = check_choice(self, "oov_method", oov_method, ["floormod", "farmhash"])
        self.salt = None if salt is None else _salt(self, salt)
        self.mask_token, self.oov_token = mask_token, oov_token
        self.invert, self.pad_to_max_tokens = bool(invert), bool(pad_to_max_tokens)
        self.sparse = check_dense(self, sparse)
        if self.pad_to_max_tokens and self.max_tokens is None:
            raise ValueError(f"{owner_label(self)}: pad_to_max_tokens=True needs max_tokens.")
        if self.invert and self.output_mode != "int":
            raise ValueError(f"{owner_label(self)}: invert=True needs output_mode='int', got {self.output_mode!r}.")
        if idf_weights is not None and self.output_mode != "tf_idf":
            raise ValueError(f"{owner_label(self)}: idf_weights need output_mode='tf_idf', got {self.output_mode!r}.")
        if self.output_mode == "tf_idf" and vocabulary is not None and idf_weights is None:
            raise ValueError(f"{owner_label(self)}: a vocabulary with output_mode='tf_idf' needs idf_weights too.")
        self._given = vocabulary is not None
        self.input_vocabulary = None if vocabulary is None or _is_path(vocabulary) else _plain_list(vocabulary)
        self.input_idf_weights = None if idf_weights is None else _plain_list(idf_weights)
        self.idf_weights: np.ndarray | None = None
        self._stated_size = vocabulary_size
        self._tokens: list[Any] = []
        self._index: TokenIndex | None = None
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, idf_weights)

    # ---- what the two kinds differ in

    of_integers = False

    def _as_token(self, value: Any) -> Any:
        """A token in its normal form: str or int."""
        raise NotImplementedError

    # ---- the vocabulary

    @property
    def _oov_start(self) -> int:
        return int(self.mask_token is not None and self.output_mode == "int")

    @property
    def _token_start(self) -> int:
        return self._oov_start + self.num_oov_indices

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """The tokens in the order of their indices.

        Args:
            include_special_tokens: whether the tokens for masks and unknown ones come first.
        """
        return [*(self._special_tokens() if include_special_tokens else []), *self._tokens]

    def _special_tokens(self) -> list[Any]:
        return [self.mask_token] * self._oov_start + [self.oov_token] * self.num_oov_indices

    def vocabulary_size(self) -> int:
        """How many tokens there are, those for masks and unknown ones included."""
        return len(self._tokens) + self._token_start

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Sets the tokens, and for output_mode "tf_idf" their weights.

        Args:
            vocabulary: a list or array of tokens, with or without the special tokens in front; or the path of a text
                file, one token a line.
            idf_weights: as many weights.

        Raises:
            ValueError: a token is there twice, there are more than `max_tokens`, special tokens stand elsewhere than
                in front, or weights are missing.
            RuntimeError: the size would change after the layer was used, in a mode where the output depends on it.
        """
        if (idf_weights is None) == (self.output_mode == "tf_idf"):
            need = "needs" if idf_weights is None else "takes no"
            raise ValueError(f"{owner_label(self)}: output_mode={self.output_mode!r} {need} idf_weights.")
        if _is_path(vocabulary):
            if self.output_mode == "tf_idf":
                raise ValueError(
                    f"{owner_label(self)}: output_mode='tf_idf' needs the vocabulary as a list, not a file."
                )
            vocabulary = read_vocabulary(self, vocabulary)
        given = [self._as_token(t) for t in _plain_list(vocabulary)]
        if not given:
            raise ValueError(f"{owner_label(self)}: vocabulary must hold at least one token, got none.")
        special = self._special_tokens()
        in_front = bool(special) and given[: len(special)] == special
        tokens = given[len(special) :] if in_front else given
        check_unique(self, "vocabulary", tokens)
        for what, token in (("mask_token", self.mask_token), ("oov_token", self.oov_token if self.invert else None)):
            if token is not None and token in tokens:
                raise ValueError(
                    f"{owner_label(self)}: the {what} {token!r} must not be among the tokens. Leave the special tokens "
                    f"out, or put them in front: {listing(special, 'and')}."
                )
        size = len(tokens) + self._token_start
        if self.max_tokens is not None and size > self.max_tokens:
            raise ValueError(
                f"{owner_label(self)}: the vocabulary has {size} tokens with the special ones, more than max_tokens="
                f"{self.max_tokens}."
            )
        self._use(tokens)
        if idf_weights is not None:
            weights = np.asarray(idf_weights, np.float32)
            if weights.shape != (len(given),):
                raise ValueError(
                    f"{owner_label(self)}: idf_weights must hold a weight for each of the {len(given)} tokens, got "
                    f"{describe(weights)}."
                )
            self._set_weights(weights, in_front)

    def _use(self, tokens: list[Any]) -> None:
        changed = len(tokens) + self._token_start != self.vocabulary_size()
        if self._index is not None and self.built and changed and not self._of_fixed_width:
            raise RuntimeError(
                f"{owner_label(self)}: the size of the vocabulary cannot change after the layer was used, for with "
                f"output_mode={self.output_mode!r} it is the width of the output. Use pad_to_max_tokens=True."
            )
        self._tokens = tokens
        self._index = TokenIndex(tokens) if tokens else None

    @property
    def _of_fixed_width(self) -> bool:
        return self.output_mode == "int" or self.pad_to_max_tokens

    def _set_weights(self, weights: np.ndarray, in_front: bool) -> None:
        if not in_front:  # unknown tokens have the mean weight: theirs cannot be known
            weights = np.pad(weights, (self._token_start, 0), constant_values=weights.mean() if weights.size else 0)
        if self.pad_to_max_tokens:
            weights = np.pad(weights, (0, (self.max_tokens or 0) - len(weights)))
        self.idf_weights = weights.astype(settings.floatx())

    # ---- learning it

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Learns the vocabulary from data: all tokens, the most frequent first, at most `max_tokens`.

        Args:
            data: an array or list of tokens, a row a document; or a Dataset or other iterable of batches.
            steps: how many batches are looked at; by default all.

        Raises:
            ValueError: the layer was made with a vocabulary.
        """
        self.reset_state()
        for batch in adapt_batches(data, steps):
            array = as_host_array(self, batch)
            self.update_state(array[:, None] if array.ndim == 1 and batch is data else array)
        self.finalize_state()

    def reset_state(self) -> None:
        """Forgets what `update_state` counted."""
        self._counts: Counter[Any] = Counter()
        self._documents: Counter[Any] = Counter()
        self._document_count = 0

    def update_state(self, data: Any) -> None:
        """Counts the tokens of a batch, one document a row; what has one axis is one document."""
        array = as_host_array(self, data)
        rows = array.reshape(1, -1) if array.ndim < 2 else array.reshape(len(array), -1)
        self.count_documents(rows.tolist())

    def count_documents(self, rows: list[list[Any]]) -> None:
        """Counts the tokens of documents, each a list."""
        if self._given:
            raise ValueError(f"{owner_label(self)}: was made with a vocabulary, so there is nothing to adapt.")
        if not hasattr(self, "_counts"):
            self.reset_state()
        for row in rows:
            self._counts.update(row)
        if self.output_mode == "tf_idf":
            self._document_count += len(rows)
            for row in rows:
                self._documents.update(set(row))

    def finalize_state(self) -> None:
        """Makes the vocabulary of what `update_state` counted."""
        if self._given or not self._counts:
            return
        counts, documents = self._merged(self._counts), self._merged(self._documents)
        for token in (self.mask_token, self.oov_token):
            counts.pop(token, None)
        # Ties go to the token that is later in alphabetical order.
        ranked = sorted(counts.items(), key=lambda item: (item[1], item[0]), reverse=True)
        if self.max_tokens is not None:
            ranked = ranked[: self.max_tokens - self._token_start]
        tokens = [token for token, _ in ranked]
        self._use(tokens)
        if self.output_mode == "tf_idf":
            found = np.array([documents[t] for t in tokens], np.float64)
            self._set_weights(np.log(1 + self._document_count / (1 + found)).astype(np.float32), False)
        self.reset_state()

    def _merged(self, counts: Counter[Any]) -> Counter[Any]:
        merged: Counter[Any] = Counter()
        for token, count in counts.items():
            merged[self._as_token(token)] += count
        return merged

    # ---- calling

    def _depth(self) -> int:
        if self.pad_to_max_tokens and self.max_tokens is not None:
            return self.max_tokens
        if self._index is None and self._stated_size is not None:
            return self._stated_size
        return self.vocabulary_size()

    def call(self, inputs: Any) -> np.ndarray:
        """The indices of tokens, or the tokens of indices; or vectors of them."""
        values = as_host_array(self, inputs)
        if self.invert:
            return self._tokens_of(values)
        return self.encoded(self.indices(values, np.ones(values.shape, bool)))

    def _require_vocabulary(self) -> TokenIndex:
        if self._index is None:
            raise RuntimeError(
                f"{owner_label(self)}: has no vocabulary yet. Call adapt(data) first, or give vocabulary=[...]."
            )
        return self._index

    def indices(self, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        """The index of each token; for masks and what is not present, 0, or -1 in modes that leave it out."""
        index = self._require_vocabulary()
        self._check_dtype(values)
        found = index.find(values)
        ids = np.array(found + self._token_start)
        unknown = found < 0
        masked = ~present
        if self.mask_token is not None:
            masked = masked | self._is_mask(values)
        unknown &= ~masked
        if unknown.any():
            if self.num_oov_indices == 0:
                wrong = [self._as_token(t) for t in values[unknown][:4].tolist()]
                raise ValueError(
                    f"{owner_label(self)}: with num_oov_indices=0 all tokens must be in the vocabulary, got "
                    f"{listing(wrong, 'and')}. Use num_oov_indices=1 for unknown tokens."
                )
            ids[unknown] = self._oov_start
            if self.num_oov_indices > 1:
                ids[unknown] += self._oov_bins(values[unknown])
        ids[masked] = 0 if self.output_mode == "int" else -1
        return ids

    def _oov_bins(self, values: np.ndarray) -> np.ndarray:
        if self.of_integers and self.oov_method == "floormod":
            return np.mod(values, self.num_oov_indices)
        return hash_bins(values, self.num_oov_indices, self.salt)

    def _is_mask(self, values: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _check_dtype(self, values: np.ndarray) -> None:
        raise NotImplementedError

    def encoded(self, ids: np.ndarray) -> np.ndarray:
        """Indices in the form that `output_mode` asks for."""
        if self.output_mode == "tf_idf":
            return encode_on_host(ids, "count", self._depth(), self.output_dtype()) * self._idf()
        return encode_on_host(ids, self.output_mode, self._depth(), self.output_dtype())

    def _idf(self) -> np.ndarray:
        if self.idf_weights is None:
            raise RuntimeError(f"{owner_label(self)}: has no idf_weights. Call adapt(data), or give idf_weights=[...].")
        return self.idf_weights.astype(self.output_dtype())

    def _tokens_of(self, values: np.ndarray) -> np.ndarray:
        if values.dtype.kind not in "iu":
            raise TypeError(f"{owner_label(self)}: with invert=True expected indices, got {describe(values)}.")
        self._require_vocabulary()
        tokens = np.array([*self.get_vocabulary(), self.oov_token])
        inside = (values >= 0) & (values < len(tokens) - 1)
        return tokens[np.where(inside, values, len(tokens) - 1)]

    def _call(self, args: tuple, kwargs: dict) -> Any:
        first = args[0] if args else None
        hashed = self.num_oov_indices > 1 and self.oov_method != "floormod"
        if not isinstance(first, jax.core.Tracer) or not self.of_integers or hashed or self.num_oov_indices == 0:
            return super()._call(args, kwargs)
        return self._traced(first)

    def _traced(self, values: Any) -> Any:
        """The indices, or tokens, within a compiled step, where integers are looked up in a sorted table."""
        self._require_vocabulary()
        if self.invert:
            names = jnp.asarray([*self.get_vocabulary(), self.oov_token], "int32")
            inside = (values >= 0) & (values < len(names) - 1)
            return names[jnp.where(inside, values, len(names) - 1)]
        tokens = np.asarray(self._tokens, np.int64)
        order = np.argsort(tokens, kind="stable")
        order = order[np.abs(tokens[order]) < 2**31]  # what int32 cannot hold does not come
        table = jnp.asarray(tokens[order], "int32")
        at = jnp.minimum(jnp.searchsorted(table, values.astype("int32")), len(order) - 1)
        unknown = jnp.mod(values, self.num_oov_indices) + self._oov_start
        ids: Any = jnp.where(table[at] == values, jnp.asarray(order + self._token_start, "int32")[at], unknown)
        if self.mask_token is not None:
            ids = jnp.where(values == self.mask_token, 0 if self.output_mode == "int" else -1, ids)
        if self.output_mode == "int":
            return ids.astype("int32")
        if self.output_mode == "tf_idf":
            return encode(ids, "count", self._depth(), self.output_dtype()) * self._idf()
        return encode(ids, self.output_mode, self._depth(), self.output_dtype())

    def output_dtype(self) -> str:
        """The dtype of the output."""
        if self.output_mode == "int":
            if self.invert and not self.of_integers:
                return "string"
            return self.compute_dtype if self.compute_dtype in ("int32", "int64") else "int64"
        return self.compute_dtype

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the output."""
        return encoded_shape(input_shape, self.output_mode, self._depth())

    # ---- saving

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values; an adapted vocabulary is saved as a file of its own."""
        config = super().get_config()
        config["vocabulary"] = self.input_vocabulary
        config["idf_weights"] = self.input_idf_weights
        config["vocabulary_size"] = self.vocabulary_size() if self._index is not None else self._stated_size
        return config

    def get_build_config(self) -> dict[str, Any]:
        """Nothing: the layer has no shapes."""
        return {}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Nothing needs to be built."""
        self.built = True

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Puts the weights of tokens into a dict."""
        if self.output_mode == "tf_idf" and self.idf_weights is not None:
            store["idf_weights"] = self.idf_weights

    def load_own_variables(self, store: Any) -> None:
        """Sets the weights of tokens from a dict."""
        if self.output_mode == "tf_idf" and "idf_weights" in store:
            self.idf_weights = np.array(store["idf_weights"])

    def save_assets(self, dir_path: str) -> None:
        """Writes the vocabulary to `vocabulary.txt` in a folder, unless the config holds it.

        Raises:
            ValueError: a token has a line break in it, which such a file cannot hold.
        """
        if self.input_vocabulary is not None:
            return
        lines = [str(t) for t in self.get_vocabulary()]
        broken = next((t for t in lines if "\n" in t or "\r" in t), None)
        if broken is not None:
            raise ValueError(
                f"{owner_label(self)}: token {broken!r} has a line break, so the vocabulary cannot be saved as lines "
                "of a file. Give the vocabulary to the constructor, or standardize the text."
            )
        with open(os.path.join(dir_path, "vocabulary.txt"), "w", encoding="utf-8", newline="\n") as file:
            file.write("\n".join(lines))

    def load_assets(self, dir_path: str) -> None:
        """Reads the vocabulary from `vocabulary.txt` in a folder, unless the config held it."""
        path = os.path.join(dir_path, "vocabulary.txt")
        if self.input_vocabulary is not None or not os.path.exists(path):
            return
        with open(path, encoding="utf-8", newline="\n") as file:
            lines = file.read().split("\n")
        while lines and lines[-1] == "":
            lines.pop()
        if not lines:
            return
        tokens = lines if not self.of_integers else [int(line) for line in lines]
        special = self._special_tokens()
        if [self._as_token(t) for t in tokens[: len(special)]] == special:
            tokens = tokens[len(special) :]
        self._use([self._as_token(t) for t in tokens])


def _is_path(vocabulary: Any) -> bool:
    return isinstance(vocabulary, (str, os.PathLike))


def _plain_list(values: Any) -> list[Any]:
    """A list, array or tuple as a list of plain Python values."""
    values = values.tolist() if hasattr(values, "tolist") else list(values)
    return [as_text(v) if isinstance(v, bytes) else v.item() if isinstance(v, np.generic) else v for v in values]
