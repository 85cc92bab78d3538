"""Sequences of many lengths as one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.core.checks import check_choice, check_int
from lamina.core.errors import describe


def pad_sequences(
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> np.ndarray:
    """Sequences padded, or cut, to one length.

    Args:
        sequences: a list of sequences; their items may be numbers or arrays of one shape.
        maxlen: the length; by default that of the longest.
        dtype: the dtype; `object` for strings.
        padding: "pre" pads before a sequence, "post" after it.
        truncating: "pre" cuts items at the start of a sequence that is too long, "post" at its end.
        value: what to pad with.

    Shape:
        (len(sequences), maxlen, ...).

    Raises:
        ValueError: an item is no sequence, or items differ in shape.

    Example:
        >>> pad_sequences([[1], [2, 3]], padding="post").tolist()
        [[1, 0], [2, 3]]
    """
    check_choice("pad_sequences", "padding", padding, ["pre", "post"])
    check_choice("pad_sequences", "truncating", truncating, ["pre", "post"])
    if not hasattr(sequences, "__len__"):
        raise ValueError(f"pad_sequences: sequences must be a list of sequences, got {describe(sequences)}.")
    for i, sequence in enumerate(sequences):
        if not hasattr(sequence, "__len__"):
            raise ValueError(f"pad_sequences: sequences[{i}] must be a sequence, got {describe(sequence)}.")
    if maxlen is None:
        maxlen = max(map(len, sequences), default=0)
    check_int("pad_sequences", "maxlen", maxlen, 0)
    if isinstance(value, str) and not (np.dtype(dtype) == object or np.issubdtype(dtype, np.str_)):
        raise ValueError(f"pad_sequences: value {value!r} is text, so dtype must be object, got {dtype!r}.")
    shape = next((np.shape(s)[1:] for s in sequences if len(s)), ())
    result = np.full((len(sequences), maxlen, *shape), value, dtype=dtype)
    for i, sequence in enumerate(sequences):
        kept = sequence[max(0, len(sequence) - maxlen) :] if truncating == "pre" else sequence[:maxlen]
        if not len(kept):
            continue
        kept = np.asarray(kept, dtype=dtype)
        if kept.shape[1:] != shape:
            raise ValueError(
                f"pad_sequences: all items must have one shape: sequences[{i}] has items of shape {kept.shape[1:]}, "
                f"others of {shape}."
            )
        if padding == "post":
            result[i, : len(kept)] = kept
        else:
            result[i, maxlen - len(kept) :] = kept
    return result
