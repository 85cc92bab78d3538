"""Hashing: strings and integers as numbers of bins; and combinations of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.core import settings
from lamina.core.checks import check_choice, check_int
from lamina.core.errors import ShapeError, describe, owner_label
from lamina.core.fingerprint import cross_fingerprints, fingerprint64, siphash
from lamina.core.vocabulary import is_text
from lamina.layers.host_layer import (
    HostLayer,
    as_host_array,
    check_dense,
    encode_on_host,
    encoded_shape,
    int_dtype,
)


class Hashing(HostLayer):
    """Strings or integers by their hash, modulo a number of bins.

    The hash is Fingerprint64; with a salt, SipHash-2-4. Integers are hashed in decimal.

    Shape:
        "int": any -> the same; "one_hot", "multi_hot", "count": (..., n) -> (..., num_bins)

    Args:
        num_bins: how many bins there are, that of the mask included.
        mask_value: a value that bin 0 is kept for; then all others have the bins from 1 on.
        salt: an integer, or two, that the hash depends on.
        output_mode: "int" gives the bins; the others as in `CategoryEncoding`.
        sparse: only False: all arrays are dense.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Raises:
        ValueError: there are no bins, or the salt is neither one integer nor two.

    Example:
        >>> Hashing(num_bins=5)([["A"], ["B"], ["C"]]).tolist()
        [[4], [3], [2]]

    Reference:
        https://github.com/google/farmhash
    """

    def __init__(
        self,
        num_bins: int,
        mask_value: Any = None,
        salt: Any = None,
        output_mode: str = "int",
        sparse: bool = False,
        **kwargs: Any,
    ):
        if kwargs.get("dtype") is None:
            kwargs["dtype"] = "int64" if output_mode == "int" else settings.floatx()
        super().__init__(**kwargs)
        self.num_bins = check_int(self, "num_bins", num_bins, 1)
        self.mask_value = mask_value
        self.output_mode = check_choice(self, "output_mode", output_mode, ["int", "one_hot", "multi_hot", "count"])
        self.salt = None if salt is None else _salt(self, salt)
        self.sparse = check_dense(self, sparse)
        if self.output_mode == "int":
            int_dtype(self, self.compute_dtype)

    def call(self, inputs: Any) -> np.ndarray:
        """The bins."""
        values = as_host_array(self, inputs)
        if values.dtype.kind == "f":
            values = values.astype(np.int64)
        masked = self.mask_value is not None and self.num_bins > 1
        bins = hash_bins(values, self.num_bins - masked, self.salt)
        if masked:
            bins = np.where(_equals(values, self.mask_value), 0, bins + 1)
        return encode_on_host(bins, self.output_mode, self.num_bins, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the output."""
        return encoded_shape(input_shape, self.output_mode, self.num_bins)

    def output_dtype(self) -> str:
        """The dtype of the output."""
        return self.compute_dtype


def hash_bins(values: np.ndarray, bins: int, salt: Any = None) -> np.ndarray:
    """The bin of each value, by Fingerprint64 or, with a salt of two integers, by SipHash; int64."""
    hashes = fingerprint64(values) if salt is None else siphash(values, salt)
    return (hashes % np.uint64(bins)).astype(np.int64)


def _salt(owner: Any, salt: Any) -> list[int]:
    pair = list(salt) if isinstance(salt, (list, tuple)) else [salt, salt]
    if len(pair) != 2:
        raise ValueError(f"{owner_label(owner)}: salt must be an integer or two, got {describe(salt)}.")
    return [check_int(owner, "salt", s) for s in pair]


def _equals(values: np.ndarray, one: Any) -> np.ndarray:
    """Where values equal one, which may be str while they are bytes."""
    if isinstance(one, str) and values.dtype.kind == "S":
        one = one.encode()
    found = np.asarray(values == one, bool)
    if isinstance(one, str) and values.dtype.kind == "O":
        found |= np.asarray(values == one.encode(), bool)
    return np.broadcast_to(found, values.shape)


class HashedCrossing(HostLayer):
    """Combinations of strings or integers by their hash, modulo a number of bins.

    Shape:
        two or more of () or (batch,) or (batch, 1) -> the same; "one_hot": (batch, num_bins)

    Args:
        num_bins: how many bins there are.
        output_mode: "int" gives the bins, "one_hot" vectors.
        sparse: only False: all arrays are dense.
        name: the name.
        dtype: the dtype of the output.

    Raises:
        ValueError: there are no bins.

    Example:
        >>> HashedCrossing(num_bins=5)((["A", "B", "A"], [101, 102, 103])).tolist()
        [1, 1, 4]
    """

    def __init__(
        self,
        num_bins: int,
        output_mode: str = "int",
        sparse: bool = False,
        name: str | None = None,
        dtype: Any = None,
    ):
        if output_mode == "int" and dtype is None:
            dtype = "int64"
        super().__init__(name=name, dtype=dtype)
        self.num_bins = check_int(self, "num_bins", num_bins, 1)
        self.output_mode = check_choice(self, "output_mode", output_mode, ["int", "one_hot"])
        self.sparse = check_dense(self, sparse)
        if self.output_mode == "int":
            int_dtype(self, self.compute_dtype)

    def call(self, inputs: Any) -> np.ndarray:
        """The bins of the combinations."""
        if not isinstance(inputs, (list, tuple)) or len(inputs) < 2:
            raise ValueError(f"{owner_label(self)}: expected a list of at least two inputs, got {describe(inputs)}.")
        arrays = [as_host_array(self, x) for x in inputs]
        shape = arrays[0].shape
        if len(shape) > 2 or (len(shape) == 2 and shape[1] != 1):
            raise ShapeError(
                f"{owner_label(self)}: inputs must have shape (), (batch,) or (batch, 1), got {describe(arrays[0])}."
            )
        for x in arrays:
            if x.shape != shape:
                raise ShapeError(f"{owner_label(self)}: inputs must have one shape, got {describe(arrays)}.")
            if x.dtype.kind not in "iub" and not is_text(x):
                raise TypeError(f"{owner_label(self)}: inputs must be strings or integers, got {describe(x)}.")
        bins = (cross_fingerprints([x.reshape(-1) for x in arrays]) % np.uint64(self.num_bins)).astype(np.int64)
        return encode_on_host(bins.reshape(shape), self.output_mode, self.num_bins, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the output."""
        if not isinstance(input_shape, (list, tuple)) or len(input_shape) < 2 or isinstance(input_shape[0], int):
            raise ShapeError(f"{owner_label(self)}: expected the shapes of at least two inputs, got {input_shape}.")
        return encoded_shape(input_shape[0], self.output_mode, self.num_bins)

    def output_dtype(self) -> str:
        """The dtype of the output."""
        return self.compute_dtype

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        config = super().get_config()
        config.pop("trainable", None)
        return config
