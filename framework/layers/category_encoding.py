"""Integers as vectors of 0 and 1: CategoryEncoding; and numbers as integers: Discretization."""

from __future__ import annotations

from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from lamina import ops
from lamina.core.checks import check_choice, check_int, check_number
from lamina.core.errors import ShapeError, describe, owner_label
from lamina.layers.layer import Layer


def encode(indices: Any, mode: str, depth: int, dtype: str, weights: Any = None) -> jax.Array:
    """Integers as they are ("int"), each as a vector ("one_hot"), or all of a sample as one ("multi_hot", "count").

    Example:
        >>> encode(jnp.array([[0, 2, 2]]), "count", 4, "int32").tolist()
        [[1, 0, 2, 0]]
    """
    indices = jnp.asarray(indices)
    if mode == "int":
        return indices.astype(dtype)
    if mode == "one_hot":
        if indices.ndim > 1 and indices.shape[-1] == 1:
            indices = indices[..., 0]
        return ops.one_hot(indices, depth, dtype=dtype)
    hot = ops.one_hot(jnp.atleast_1d(indices), depth, dtype=dtype)
    if mode == "multi_hot":
        return hot.max(-2)
    if weights is not None:
        hot = hot * jnp.asarray(weights, dtype)[..., None]
    return hot.sum(-2)


class CategoryEncoding(Layer):
    """Integers from 0 to num_tokens - 1 as vectors.

    Shape:
        "one_hot": (batch,) or (batch, 1) -> (batch, num_tokens); "multi_hot" and "count": (batch, n) ->
        (batch, num_tokens)

    Args:
        num_tokens: how many integers there are.
        output_mode: "multi_hot" marks which integers a sample has, "count" counts them, "one_hot" encodes each.
        sparse: only False: all arrays are dense.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> CategoryEncoding(4, output_mode="count")(np.array([[0, 1, 1]])).tolist()
        [[1.0, 2.0, 0.0, 0.0]]
    """

    def __init__(self, num_tokens: int, output_mode: str = "multi_hot", sparse: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_tokens = check_int(self, "num_tokens", num_tokens, 1)
        self.output_mode = check_choice(
            self,
            "output_mode",
            {"binary": "multi_hot"}.get(output_mode, output_mode),
            ["multi_hot", "one_hot", "count"],
        )
        self.sparse = _dense(self, sparse)
        self.autocast = False  # integers that come as floats must not be rounded to half width

    def call(self, inputs: Any, count_weights: Any = None) -> jax.Array:
        """The vectors; with `count_weights`, each integer counts as much as its weight."""
        if count_weights is not None and self.output_mode != "count":
            raise ValueError(f"{owner_label(self)}: count_weights needs output_mode='count', got {self.output_mode!r}.")
        if count_weights is not None and count_weights.shape != inputs.shape:
            raise ShapeError(
                f"{owner_label(self)}: count_weights must have the shape of the input, {tuple(inputs.shape)}, got "
                f"{describe(count_weights)}."
            )
        return encode(inputs.astype("int32"), self.output_mode, self.num_tokens, self.compute_dtype, count_weights)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        config = super().get_config()
        del config["sparse"]
        return config


class Discretization(Layer):
    """Numbers as the integers of the bins that they fall into.

    Args:
        bin_boundaries: where one bin ends and the next begins, in rising order; n of them make n + 1 bins.
        num_bins: in place of boundaries: how many bins `adapt` shall find, all about equally full.
        epsilon: how exact `adapt` is about the quantiles of data that comes in parts.
        output_mode: "int", "one_hot", "multi_hot" or "count", as in `CategoryEncoding`.
        sparse: only False: all arrays are dense.
        dtype: the dtype of vectors.
        name: the name.

    Raises:
        ValueError: neither or both of `bin_boundaries` and `num_bins` are given.

    Example:
        >>> import numpy as np
        >>> Discretization(bin_boundaries=[0.0, 1.0])(np.array([[-1.0, 0.0, 5.0]])).tolist()
        [[0, 1, 2]]
    """

    def __init__(
        self,
        bin_boundaries: Any = None,
        num_bins: int | None = None,
        epsilon: float = 0.01,
        output_mode: str = "int",
        sparse: bool = False,
        dtype: Any = None,
        name: str | None = None,
    ):
        super().__init__(dtype=dtype, name=name)
        if (bin_boundaries is None) == (num_bins is None):
            raise ValueError(f"{owner_label(self)}: give either bin_boundaries or num_bins.")
        self.num_bins = None if num_bins is None else check_int(self, "num_bins", num_bins, 1)
        self.bin_boundaries = None if bin_boundaries is None else _boundaries(self, bin_boundaries)
        self.epsilon = check_number(self, "epsilon", epsilon, 0, 1)
        self.output_mode = check_choice(self, "output_mode", output_mode, ["int", "one_hot", "multi_hot", "count"])
        self.sparse = _dense(self, sparse)
        self.autocast = False

    def call(self, inputs: Any) -> jax.Array:
        """The bins."""
        if self.bin_boundaries is None:
            raise RuntimeError(
                f"{owner_label(self)}: has no boundaries yet. Call adapt(data) first, or give bin_boundaries."
            )
        bins = ops.digitize(inputs, np.asarray(self.bin_boundaries, "float32"))
        dtype = "int32" if self.output_mode == "int" else self.compute_dtype
        return encode(bins, self.output_mode, len(self.bin_boundaries) + 1, dtype)

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Finds the boundaries of `num_bins` bins from data.

        Args:
            data: an array, or a Dataset or other iterable of batches.
            steps: how many batches are looked at; by default all.
        """
        if self.num_bins is None:
            raise ValueError(f"{owner_label(self)}: bin_boundaries were given, so there is nothing to adapt.")
        parts = [data] if hasattr(data, "__array__") or isinstance(data, (list, tuple)) else data
        summary = np.zeros((2, 0), "float32")
        for i, part in enumerate(parts):
            if steps is not None and i >= steps:
                break
            part = part[0] if isinstance(part, tuple) and part and hasattr(part[0], "__array__") else part
            merged = np.concatenate([_summarize(np.asarray(part, "float32"), self.epsilon), summary], 1)
            summary = _compress(merged[:, np.argsort(merged[0])], self.epsilon)
        if summary.shape[1] == 0:
            raise ValueError(f"{owner_label(self)}: adapt expects data, got none.")
        self.bin_boundaries = _compress(summary, 1 / self.num_bins)[0, :-1].tolist()

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        config = super().get_config()
        config.pop("trainable", None)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A layer made from what `get_config` returned."""
        learned = config.get("bin_boundaries") if config.get("num_bins") is not None else None
        if learned is None:
            return super().from_config(config)
        layer = super().from_config({**config, "bin_boundaries": None})
        layer.bin_boundaries = list(learned)
        return layer


def _dense(owner: Any, sparse: Any) -> bool:
    if sparse:
        raise ValueError(f"{owner_label(owner)}: sparse must be False: all arrays of lamina are dense.")
    return False


def _boundaries(owner: Any, values: Any) -> list[float]:
    found = [float(v) for v in values]
    if found != sorted(found):
        raise ValueError(f"{owner_label(owner)}: bin_boundaries must rise, got {describe(values)}.")
    return found


def _summarize(values: np.ndarray, epsilon: float) -> np.ndarray:
    """About 1 / epsilon quantiles of the values, each with the number of values that it stands for."""
    values = np.sort(values, axis=None)
    share = values.size * epsilon
    step = max(share, 1)
    quantiles = values[int(share) :: int(step)]
    return np.stack([quantiles, np.full_like(quantiles, step)])


def _compress(summary: np.ndarray, epsilon: float) -> np.ndarray:
    """A summary with about 1 / epsilon quantiles, interpolated in the old ones."""
    if summary.shape[1] * epsilon < 1:
        return summary
    shares = epsilon + np.arange(0.0, 1.0, epsilon)
    total = summary[1].cumsum()
    quantiles = np.interp(shares, total / total[-1], summary[0])
    counts = np.interp(shares, total / total[-1], total)
    return np.stack([quantiles, np.diff(counts, prepend=0)]).astype("float32")
