"""Embeddings: rows of a table, looked up by integers."""

from __future__ import annotations

from typing import Any

import jax

from lamina import constraints, initializers, ops, regularizers
from lamina.core.checks import check_int, check_number
from lamina.core.dtypes import INTS, standardize_dtype
from lamina.layers.layer import Layer
from lamina.state.masks import set_mask


class Embedding(Layer):
    """The rows of a learned table that integers name.

    Shape:
        integers (batch, ...) -> (batch, ..., output_dim)

    Args:
        input_dim: the number of rows: the largest integer plus 1.
        output_dim: the length of a row.
        embeddings_initializer: how the table, of shape (input_dim, output_dim), starts.
        embeddings_regularizer: a penalty on it.
        embeddings_constraint: a function that each update of it goes through.
        mask_zero: whether 0 stands for padding, which later layers shall skip.
        activity_regularizer: a penalty on the output.
        **kwargs: `name`, `dtype`, `trainable`; `weights=[table]` gives the values that the table starts with.

    Example:
        >>> import numpy as np
        >>> Embedding(10, 4)(np.array([[1, 2, 3]])).shape
        (1, 3, 4)
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        activity_regularizer: Any = None,
        **kwargs: Any,
    ):
        given = kwargs.pop("weights", None)
        steps = kwargs.pop("input_length", None)  # of Keras 2: the length of the sequences
        if steps is not None:
            kwargs.setdefault("input_shape", (steps,))
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.input_dim = check_int(self, "input_dim", input_dim, 1)
        self.output_dim = check_int(self, "output_dim", output_dim, 1)
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = constraints.get(embeddings_constraint)
        self.mask_zero = self.supports_masking = mask_zero
        self.autocast = False  # integers that come as floats must not be rounded to half width
        if given is not None:
            self._build({"input_shape": (None,)})
            self.set_weights(given if isinstance(given, (list, tuple)) else [given])

    def build(self, input_shape: Any = None) -> None:
        """Creates the table."""
        self.embeddings = self.add_weight(
            shape=(self.input_dim, self.output_dim),
            initializer=self.embeddings_initializer,
            regularizer=self.embeddings_regularizer,
            constraint=self.embeddings_constraint,
            name="embeddings",
        )

    def call(self, inputs: Any) -> jax.Array:
        """The rows that the integers name."""
        return self._look_up(inputs)

    def _look_up(self, inputs: Any) -> jax.Array:
        if standardize_dtype(inputs.dtype) not in INTS:
            inputs = ops.cast(inputs, "int32")
        return ops.cast(ops.take(self.embeddings, inputs, axis=0), self.compute_dtype)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Where the input is not 0, if `mask_zero`."""
        return ops.not_equal(inputs, 0) if self.mask_zero else None


class ReversibleEmbedding(Embedding):
    """An embedding that also goes back, from vectors to one score for each row, as language models do.

    Shape:
        integers (batch, ...) -> (batch, ..., output_dim);
        with `reverse=True`: (batch, ..., output_dim) -> (batch, ..., input_dim)

    Args:
        input_dim: the number of rows.
        output_dim: the length of a row.
        tie_weights: whether the way back takes the same table; else it has one of its own.
        embeddings_initializer: how the tables start.
        embeddings_regularizer: a penalty on the table.
        embeddings_constraint: a function that each update of it goes through.
        mask_zero: whether 0 stands for padding.
        reverse_dtype: the dtype of the way back; by default that of the layer.
        logit_soft_cap: a limit c of the scores: c * tanh(score / c).
        **kwargs: as for `Embedding`.

    Example:
        >>> import numpy as np
        >>> layer = ReversibleEmbedding(10, 4)
        >>> layer(layer(np.array([[1, 2, 3]])), reverse=True).shape
        (1, 3, 10)

    Reference:
        https://arxiv.org/abs/1608.05859
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        tie_weights: bool = True,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        reverse_dtype: Any = None,
        logit_soft_cap: float | None = None,
        **kwargs: Any,
    ):
        self.tie_weights = tie_weights
        super().__init__(
            input_dim,
            output_dim,
            embeddings_initializer=embeddings_initializer,
            embeddings_regularizer=embeddings_regularizer,
            embeddings_constraint=embeddings_constraint,
            mask_zero=mask_zero,
            **kwargs,
        )
        self.reverse_dtype = None if reverse_dtype is None else standardize_dtype(reverse_dtype)
        self.logit_soft_cap = (
            None if logit_soft_cap is None else check_number(self, "logit_soft_cap", logit_soft_cap, 0)
        )

    def build(self, input_shape: Any = None) -> None:
        """Creates the table, or the two tables."""
        super().build(input_shape)
        if not self.tie_weights:
            self.reverse_embeddings = self.add_weight(
                shape=(self.output_dim, self.input_dim),
                initializer=self.embeddings_initializer,
                name="reverse_embeddings",
            )

    def call(self, inputs: Any, reverse: bool = False) -> jax.Array:
        """The rows that the integers name; in reverse, the scores of all rows."""
        if not reverse:
            rows = self._look_up(inputs)
            if self.mask_zero:
                set_mask(rows, ops.not_equal(inputs, 0))
            return rows
        dtype = self.reverse_dtype or self.compute_dtype
        table = ops.transpose(self.embeddings) if self.tie_weights else self.reverse_embeddings
        scores = ops.matmul(ops.cast(inputs, dtype), ops.cast(table, dtype))
        if self.logit_soft_cap is not None:
            scores = ops.multiply(ops.tanh(ops.divide(scores, self.logit_soft_cap)), self.logit_soft_cap)
        return scores

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """None: `call` itself attaches the mask, for it knows the direction."""
        return None
