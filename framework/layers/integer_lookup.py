"""IntegerLookup: integers as their places in a vocabulary."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.core.checks import check_choice, check_int
from lamina.core.errors import describe, owner_label
from lamina.layers.index_lookup import IndexLookup


class IntegerLookup(IndexLookup):
    """Integers as indices into a vocabulary, which is given, or learned by `adapt`.

    The layer works in `Dataset.map`, on arrays, and within compiled models. Index 0 is for masks if there is a
    `mask_token`; then come `num_oov_indices` for unknown integers, then the vocabulary.

    Shape:
        "int": any -> the same; "one_hot": (...) -> (..., size); others: (..., n) -> (..., size)

    Args:
        max_tokens: the largest size of the vocabulary, special tokens included.
        num_oov_indices: how many indices unknown integers share; with 0 they are an error.
        mask_token: the integer that stands for no value; it has index 0, and is left out in other modes than "int".
        oov_token: what unknown integers are called in `get_vocabulary` and, with `invert`, in the output.
        vocabulary: the integers: a list, an array, or the path of a text file, one a line.
        vocabulary_dtype: "int64" or "int32".
        idf_weights: a weight for each, with output_mode "tf_idf".
        invert: whether indices are turned back.
        output_mode: "int" for indices, "one_hot" for a vector each, "multi_hot" for which integers a row has, "count"
            for how often, "tf_idf" for that times the weights.
        sparse: only False: all arrays are dense.
        pad_to_max_tokens: whether vectors have the width `max_tokens` even if the vocabulary is smaller.
        oov_method: how unknown integers share their indices: "floormod" by the remainder, "farmhash" by hash.
        salt: an integer, or two, that this hash depends on.
        name: the name.
        **kwargs: `dtype` of the vectors, and so on, as for every layer.

    Example:
        >>> IntegerLookup(vocabulary=[12, 36])([[36, 7]]).tolist()
        [[2, 0]]
    """

    of_integers = True

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: int | None = None,
        oov_token: int | None = -1,
        vocabulary: Any = None,
        vocabulary_dtype: str = "int64",
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        sparse: bool = False,
        pad_to_max_tokens: bool = False,
        oov_method: str = "floormod",
        salt: Any = None,
        name: str | None = None,
        vocabulary_size: int | None = None,
        **kwargs: Any,
    ):
        self.vocabulary_dtype = check_choice("IntegerLookup", "vocabulary_dtype", vocabulary_dtype, ["int64", "int32"])
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

    def _as_token(self, value: Any) -> int:
        if isinstance(value, str):  # a line of a file
            try:
                return int(value)
            except ValueError:
                raise ValueError(
                    f"{owner_label(self)}: tokens must be integers, got {value!r}. Use StringLookup."
                ) from None
        return check_int(self, "vocabulary", value)

    def _is_mask(self, values: np.ndarray) -> np.ndarray:
        return values == self.mask_token

    def _check_dtype(self, values: np.ndarray) -> None:
        if values.size and values.dtype.kind not in "iub":
            raise TypeError(
                f"{owner_label(self)}: expected integers, got {describe(values)}. Use StringLookup for strings."
            )
