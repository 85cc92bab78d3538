"""Layers that work on the host, on numpy arrays: of strings, or of integers by hash or table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from lamina.core.dtypes import standardize_dtype
from lamina.core.errors import describe, owner_label
from lamina.core.vocabulary import is_text
from lamina.layers.layer import Layer
from lamina.ops.symbol import Symbol


class HostLayer(Layer):
    """A layer that turns strings, or integers, into numbers on the host: numpy in, numpy out.

    It stands in `Dataset.map`, or first in a model that is called on arrays. Strings cannot enter a compiled step.
    Integers can: the step then asks the host for the result.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.autocast = False

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the output."""
        raise NotImplementedError

    def output_dtype(self) -> str:
        """The dtype of the output."""
        raise NotImplementedError

    def compute_output_spec(self, inputs: Any) -> Symbol:
        """A symbol of the shape and dtype of the output."""
        shapes = [tuple(x.shape) for x in inputs] if isinstance(inputs, (list, tuple)) else tuple(inputs.shape)
        self.built = True
        return Symbol(self.compute_output_shape(shapes), self.output_dtype())

    def _call(self, args: tuple, kwargs: dict) -> Any:
        kwargs.pop("training", None)
        leaves = jax.tree.leaves((args, kwargs))
        if not any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            result = self.call(*args, **kwargs)
            self.built = True
            return result
        inputs = args[0]
        spec = self.compute_output_spec(inputs)
        sizes = [d for x in jax.tree.leaves(inputs) for d in x.shape]
        if None in spec.shape or any(not isinstance(d, int) for d in sizes):
            raise ValueError(
                f"{owner_label(self)}: works on the host, so a compiled step needs sizes that are known. Move the "
                "layer into Dataset.map."
            )
        out = jax.ShapeDtypeStruct(spec.shape, jax.dtypes.canonicalize_dtype(spec.dtype))
        return jax.pure_callback(
            lambda x: np.asarray(self.call(jax.tree.map(np.asarray, x)), out.dtype),
            out,
            inputs,
            vmap_method="sequential",
        )


def as_host_array(owner: Any, values: Any) -> np.ndarray:
    """An array, a list, a string or a number as a numpy array.

    Raises:
        ValueError: rows of a list differ in length.
        TypeError: a symbol or other object comes.
    """
    if isinstance(values, np.ndarray):
        return values
    if isinstance(values, (str, bytes)):
        out = np.empty((), object)
        out[()] = values
        return out
    try:
        array = np.asarray(values)
    except ValueError:
        raise ValueError(
            f"{owner_label(owner)}: the rows must have one length, got {describe(values)}. Pad them, with '' for "
            "strings: ragged arrays are not supported."
        ) from None
    if array.dtype.kind == "S" and isinstance(values, (list, tuple)):
        return np.asarray(values, object)  # numpy drops zero bytes at the end of strings
    if array.dtype.kind == "O" and array.size and not is_text(array):
        raise TypeError(f"{owner_label(owner)}: expected an array of strings or integers, got {describe(values)}.")
    return array


def adapt_batches(data: Any, steps: int | None) -> Iterator[Any]:
    """The batches of data to adapt to: a whole array or list, or the elements of a Dataset or other iterable."""
    if isinstance(data, (list, tuple, str, bytes)) or hasattr(data, "__array__"):
        yield data
        return
    for i, element in enumerate(data):
        if steps is not None and i >= steps:
            return
        yield element[0] if isinstance(element, tuple) else element


def encode_on_host(ids: np.ndarray, mode: str, depth: int, dtype: str) -> np.ndarray:
    """Ids as one-hot vectors ("one_hot"), or those of a sample as one ("multi_hot", "count"); ids below 0 are left out.

    Example:
        >>> encode_on_host(np.array([[0, 2, 2, -1]]), "count", 4, "float32").tolist()
        [[1.0, 0.0, 2.0, 0.0]]
    """
    if mode == "int":
        return ids.astype(dtype, copy=False)
    if mode == "one_hot":
        if ids.ndim > 1 and ids.shape[-1] == 1:
            ids = ids[..., 0]
        return (ids[..., None] == np.arange(depth)).astype(dtype)
    ids = np.atleast_1d(ids)
    rows = ids.reshape(-1, ids.shape[-1]) if ids.size else ids.reshape(int(np.prod(ids.shape[:-1])), ids.shape[-1])
    places = rows + depth * np.arange(len(rows))[:, None]
    counts = np.bincount(places[rows >= 0], minlength=depth * len(rows)).reshape(*ids.shape[:-1], depth)
    return ((counts > 0) if mode == "multi_hot" else counts).astype(dtype)


def encoded_shape(shape: Any, mode: str, depth: int | None) -> tuple[Any, ...]:
    """The shape that `encode_on_host` gives to ids of `shape`."""
    shape = tuple(shape)
    if mode == "int":
        return shape
    if mode == "one_hot" and not (len(shape) > 1 and shape[-1] == 1):
        return (*shape, depth)
    return (*shape[:-1], depth)


def check_dense(owner: Any, sparse: Any, ragged: Any = False) -> bool:
    """False; an error if sparse or ragged output was asked for."""
    for name, value in (("sparse", sparse), ("ragged", ragged)):
        if value:
            raise ValueError(f"{owner_label(owner)}: {name} must be False: all arrays of lamina are dense and padded.")
    return False


def int_dtype(owner: Any, dtype: Any) -> str:
    """The dtype of ids: int64 by default, on the host."""
    name = standardize_dtype(getattr(dtype, "name", dtype) or "int64")
    if name not in ("int32", "int64"):
        raise ValueError(
            f"{owner_label(owner)}: with output_mode='int', dtype must be 'int32' or 'int64', got {name!r}."
        )
    return name
