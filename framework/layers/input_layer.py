"""Input: where the data enters a functional or sequential model."""

from __future__ import annotations

from typing import Any

from lamina.core.errors import describe, owner_label
from lamina.layers.layer import Layer
from lamina.ops.symbol import Node, Symbol


class InputLayer(Layer):
    """The layer behind `Input`; it passes its input through.

    Args:
        shape: the shape without the batch axis.
        batch_size: the size of the batch axis, if it is fixed.
        dtype: the dtype; by default the default float.
        batch_shape: the shape with the batch axis, in place of `shape` and `batch_size`.
        name: the name.
    """

    def __init__(
        self,
        shape: Any = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Any = None,
        input_tensor: Symbol | None = None,
        optional: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(name=name)
        if sparse or ragged:
            raise ValueError(
                f"{owner_label(self)}: sparse and ragged inputs are not supported. Use padded dense arrays."
            )
        if batch_shape is None and shape is None and input_tensor is None:
            raise ValueError(f"{owner_label(self)}: give shape=(...), the shape of one sample without the batch axis.")
        if batch_shape is not None and (shape is not None or batch_size is not None):
            raise ValueError(f"{owner_label(self)}: give either batch_shape, or shape and batch_size, not both.")
        if input_tensor is not None:
            batch_shape, dtype = input_tensor.shape, dtype or input_tensor.dtype
        if batch_shape is None:
            shape = (shape,) if isinstance(shape, int) else shape
            try:
                batch_shape = (batch_size, *shape)
            except TypeError:
                raise TypeError(
                    f"{owner_label(self)}: shape must be a tuple such as (28, 28, 1), got {describe(shape)}."
                ) from None
        for d in batch_shape:
            if d is not None and (isinstance(d, bool) or not hasattr(d, "__index__") or d < 0):
                raise ValueError(
                    f"{owner_label(self)}: shape must hold sizes of at least 0, or None, got {tuple(batch_shape)}."
                )
        self.batch_shape = tuple(batch_shape)
        self.sparse, self.ragged, self.optional = bool(sparse), bool(ragged), optional
        symbol = Symbol(self.batch_shape, dtype or self.compute_dtype, self.name)
        self._input_dtype = symbol.dtype
        self.built = True
        self._nodes.append(Node(self, (), {}, symbol))

    @property
    def input(self) -> Symbol:
        """The symbol that stands for the data; the same as `output`."""
        return self.output

    @property
    def dtype(self) -> str:
        """The dtype of the input."""
        return self._input_dtype

    def call(self) -> None:
        """An input layer is not called: the model puts the data in its place."""
        raise RuntimeError(f"{owner_label(self)}: an Input is not called; call the model that it belongs to.")

    def get_config(self) -> dict[str, Any]:
        """The batch shape, dtype and name."""
        return {
            "batch_shape": self.batch_shape,
            "dtype": self.dtype,
            "sparse": self.sparse,
            "ragged": self.ragged,
            "optional": self.optional,
            "name": self.name,
        }


def Input(  # noqa: N802 - the name that Keras users know
    shape: Any = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: bool | None = None,
    batch_shape: Any = None,
    name: str | None = None,
    tensor: Symbol | None = None,
    optional: bool = False,
) -> Symbol:
    """A symbol that stands for the data fed to a model.

    Args:
        shape: the shape of one sample, without the batch axis; None for sizes that vary.
        batch_size: the size of the batch axis, if it is fixed.
        dtype: the dtype; by default the default float.
        sparse: must be left out; sparse tensors are not supported.
        batch_shape: the shape with the batch axis, in place of `shape` and `batch_size`.
        name: the name, by which dicts of data are matched.
        tensor: a symbol to take shape and dtype from.
        optional: whether the model may be called with None in its place.

    Raises:
        ValueError: no shape, or a negative size.

    Example:
        >>> Input((28, 28, 1), name="image").shape
        (None, 28, 28, 1)
    """
    layer = InputLayer(
        shape=shape,
        batch_size=batch_size,
        dtype=dtype,
        sparse=sparse,
        batch_shape=batch_shape,
        input_tensor=tensor,
        optional=optional,
        name=name,
    )
    return layer.output
