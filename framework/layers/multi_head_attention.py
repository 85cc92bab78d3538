"""MultiHeadAttention."""

from __future__ import annotations

import math
import string
from typing import Any

from lamina import ops, regularizers
from lamina.core.checks import check_int
from lamina.core.config import serialize_value
from lamina.core.errors import describe, owner_label
from lamina.layers.dense import EinsumDense
from lamina.layers.projected_attention import ProjectedAttention, for_heads
from lamina.layers.regularization import Dropout
from lamina.ops.symbol import Symbol


class MultiHeadAttention(ProjectedAttention):
    """Attention in several heads: each projects query, key and value, and averages values where query meets key.

    head_i = softmax(Q W_i^Q (K W_i^K)^T / sqrt(key_dim)) V W_i^V, and the output is a projection of all heads.

    Shape:
        query (batch, targets, features), value and key (batch, sources, features) -> (batch, targets, features), with
        `return_attention_scores` also (batch, heads, targets, sources)

    Args:
        num_heads: the number of heads.
        key_dim: the size of each head's queries and keys.
        value_dim: the size of each head's values; `key_dim` by default.
        dropout: the share of the scores to drop in training.
        use_bias: whether the projections have biases.
        output_shape: the shape of an output, without batch and targets; that of a query by default.
        attention_axes: the axes attended to; by default all but batch and features.
        sliding_window: a target sees only the sources nearer than this; None for all.
        flash_attention: accepted as in Keras: the compiler chooses the kernel.
        kernel_initializer: how the kernels start.
        bias_initializer: how the biases start.
        kernel_regularizer: a penalty on the kernels.
        bias_regularizer: a penalty on the biases.
        activity_regularizer: a penalty on the outputs of the projections.
        kernel_constraint: a function that each update of a kernel goes through.
        bias_constraint: a function that each update of a bias goes through.
        use_gate: whether each head's output is multiplied by a sigmoid of a projection of the query.
        seed: a seed for dropout.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Raises:
        ValueError: an argument is out of range, or flash attention is asked for together with dropout.

    Example:
        >>> import numpy as np
        >>> x = np.ones((2, 5, 16), "float32")
        >>> layer = MultiHeadAttention(num_heads=2, key_dim=8)
        >>> layer(x, x, use_causal_mask=True).shape
        (2, 5, 16)

    Reference:
        Vaswani et al., "Attention Is All You Need", https://arxiv.org/abs/1706.03762
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: Any = None,
        attention_axes: Any = None,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            dropout,
            use_bias,
            sliding_window,
            flash_attention,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            kernel_constraint,
            bias_constraint,
            use_gate,
            seed,
            **kwargs,
        )
        self._projection_activity = regularizers.get(activity_regularizer)
        self.num_heads = check_int(self, "num_heads", num_heads, 1)
        self.key_dim = check_int(self, "key_dim", key_dim, 1)
        self.value_dim = self.key_dim if value_dim is None else check_int(self, "value_dim", value_dim, 1)
        self.output_shape = self._ints("output_shape", output_shape)
        self.attention_axes = self._ints("attention_axes", attention_axes)

    def _ints(self, argument: str, value: Any) -> tuple[int, ...] | None:
        if value is None:
            return None
        if not isinstance(value, (list, tuple)):
            value = (value,)
        if not value:
            raise ValueError(
                f"{owner_label(self)}: {argument} must not be empty, got {describe(value)}. None leaves it."
            )
        return tuple(check_int(self, argument, v) for v in value)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {**super().get_config(), "activity_regularizer": serialize_value(self._projection_activity)}

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        """Builds the projections of query, key, value and output (and that of the gate)."""
        query_shape, value_shape = tuple(query_shape), tuple(value_shape)
        key_shape = value_shape if key_shape is None else tuple(key_shape)
        self._check_sources(value_shape, key_shape)
        heads = self.num_heads
        self._query_dense = self._projection("query", query_shape, 1, (heads, self.key_dim))
        self._key_dense = self._projection("key", key_shape, 1, (heads, self.key_dim))
        self._gate_dense = None
        if self.use_gate:
            self._gate_dense = self._projection("gate", query_shape, 1, (heads, self.value_dim), "sigmoid")
        self._value_dense = self._projection("value", value_shape, 1, (heads, self.value_dim))
        self._dropout_layer = Dropout(self.dropout, dtype=self.dtype_policy, seed=self.seed)
        self._build_attention(len(query_shape) + 1)
        sizes = self.output_shape or (query_shape[-1],)
        mixed = (*query_shape[:-1], heads, self.value_dim)
        self._output_dense = self._projection("attention_output", mixed, 2, sizes)

    @property
    def query_dense(self) -> EinsumDense:
        """The projection of the queries."""
        return self._query_dense

    @property
    def key_dense(self) -> EinsumDense:
        """The projection of the keys."""
        return self._key_dense

    @property
    def value_dense(self) -> EinsumDense:
        """The projection of the values."""
        return self._value_dense

    @property
    def output_dense(self) -> EinsumDense:
        """The projection of the heads to the output."""
        return self._output_dense

    def _build_attention(self, rank: int) -> None:
        """Writes the einsum equations for projected arrays of a rank: (batch, axes..., heads, size)."""
        axes = self.attention_axes
        self._axes = tuple(range(1, rank - 2)) if axes is None else tuple(a if a >= 0 else rank - 1 + a for a in axes)
        letters = iter(string.ascii_lowercase)
        target = [next(letters) for _ in range(rank)]
        source = [next(letters) if i in self._axes else c for i, c in enumerate(target)]
        batch = [c for i, c in enumerate(target[:-1]) if i not in self._axes]
        scores = "".join([*batch, *(target[i] for i in self._axes), *(source[i] for i in self._axes)])
        q, s = "".join(target), "".join(source)
        self._equations = (f"{q},{s}->{scores}", f"{scores},{s}->{q}")

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Symbols of the outputs.

        The scores are declared (batch, heads, targets, targets), as Keras declares them; where sources and targets
        differ in number, the arrays are (batch, heads, targets, sources) all the same.
        """
        spec = super().compute_output_spec(*args, **kwargs)
        if isinstance(spec, tuple) and len(spec[0].shape) == 3:
            output, scores = spec
            return output, Symbol((*scores.shape[:-1], scores.shape[-2]), scores.dtype)
        return spec

    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        """The output, and the scores if asked for.

        Args:
            query: what looks.
            value: what is averaged.
            key: what the query is compared with; `value` by default.
            query_mask: which targets hold data.
            value_mask: which sources hold data.
            key_mask: the like, by the key.
            attention_mask: which target may see which source, (batch, targets, sources).
            return_attention_scores: whether the scores are returned too.
            training: whether dropout drops.
            use_causal_mask: whether a target sees only sources up to its own place.
        """
        key = value if key is None else key
        self._check_scores(return_attention_scores)
        mask = self._compute_attention_mask(
            query, value, query_mask, value_mask, key_mask, attention_mask, use_causal_mask
        )
        gate = None if self._gate_dense is None else self._gate_dense(query)
        query, key, value = self._query_dense(query), self._key_dense(key), self._value_dense(value)
        output, scores = self._compute_attention(query, key, value, mask, training, return_attention_scores)
        output = self._output_dense(output if gate is None else output * gate)
        return (output, scores) if return_attention_scores else output

    def _compute_attention(
        self,
        query: Any,
        key: Any,
        value: Any,
        attention_mask: Any = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> tuple[Any, Any]:
        """The heads' outputs and the scores (or None) from projected arrays; override it for another attention."""
        scale = 1 / math.sqrt(self.key_dim)
        dropping = bool(training) and self.dropout > 0
        if query.ndim == 4 and self._axes == (1,) and not dropping and not return_attention_scores:
            mask = None if attention_mask is None else for_heads(attention_mask, 4, 1)
            return ops.dot_product_attention(query, key, value, mask=mask, scale=scale), None
        drop = self._dropout_layer if dropping else None
        return self._attend(self._equations, len(self._axes), query, key, value, scale, attention_mask, drop)
