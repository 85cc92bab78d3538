"""GroupQueryAttention."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp

from lamina import ops
from lamina.core.checks import check_int
from lamina.core.errors import owner_label
from lamina.layers.projected_attention import ProjectedAttention, for_heads
from lamina.layers.regularization import Dropout


class GroupQueryAttention(ProjectedAttention):
    """Attention whose heads share keys and values in groups; with one group, multi-query attention.

    Shape:
        query (batch, targets, features), value and key (batch, sources, features) -> (batch, targets, features), with
        `return_attention_scores` also (batch, query heads, targets, sources)

    Args:
        head_dim: the size of each head.
        num_query_heads: the number of heads of the queries.
        num_key_value_heads: the number of heads of keys and values; it divides `num_query_heads`.
        dropout: the share of the scores to drop in training.
        use_bias: whether the projections have biases.
        sliding_window: a target sees only the sources nearer than this; None for all.
        flash_attention: accepted as in Keras: the compiler chooses the kernel.
        kernel_initializer: how the kernels start.
        bias_initializer: how the biases start.
        kernel_regularizer: a penalty on the kernels.
        bias_regularizer: a penalty on the biases.
        activity_regularizer: a penalty on the outputs of the projections and of the layer.
        kernel_constraint: a function that each update of a kernel goes through.
        bias_constraint: a function that each update of a bias goes through.
        use_gate: whether each head's output is multiplied by a sigmoid of a projection of the query.
        seed: a seed for dropout.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Raises:
        ValueError: the heads of the queries are no multiple of those of the keys.

    Example:
        >>> import numpy as np
        >>> x = np.ones((2, 5, 16), "float32")
        >>> GroupQueryAttention(head_dim=4, num_query_heads=4, num_key_value_heads=2)(x, x).shape
        (2, 5, 16)

    Reference:
        Ainslie et al., "GQA: Training Generalized Multi-Query Transformer Models", https://arxiv.org/abs/2305.13245
    """

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
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
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self._projection_activity = self.activity_regularizer
        self.head_dim = check_int(self, "head_dim", head_dim, 1)
        self.num_query_heads = check_int(self, "num_query_heads", num_query_heads, 1)
        self.num_key_value_heads = check_int(self, "num_key_value_heads", num_key_value_heads, 1)
        if self.num_query_heads % self.num_key_value_heads:
            raise ValueError(
                f"{owner_label(self)}: num_query_heads must be a multiple of num_key_value_heads, got "
                f"{num_query_heads} and {num_key_value_heads}."
            )
        self.num_repeats = self.num_query_heads // self.num_key_value_heads

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        """Builds the projections of query, key, value and output (and that of the gate)."""
        query_shape, value_shape = tuple(query_shape), tuple(value_shape)
        key_shape = value_shape if key_shape is None else tuple(key_shape)
        self._check_sources(value_shape, key_shape)
        own, shared = (self.num_query_heads, self.head_dim), (self.num_key_value_heads, self.head_dim)
        self._query_dense = self._projection("query", query_shape, 1, own)
        self._key_dense = self._projection("key", key_shape, 1, shared)
        self._gate_dense = self._projection("gate", query_shape, 1, own, "sigmoid") if self.use_gate else None
        self._value_dense = self._projection("value", value_shape, 1, shared)
        self._dropout_layer = Dropout(self.dropout, dtype=self.dtype_policy, seed=self.seed)
        self._output_dense = self._projection("attention_output", (*query_shape[:-1], *own), 2, (query_shape[-1],))

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
        scale = 1 / math.sqrt(self.head_dim)
        dropping = bool(training) and self.dropout > 0
        scores: Any = None
        if dropping or return_attention_scores:
            key, value = (jnp.repeat(x, self.num_repeats, axis=2) for x in (key, value))
            drop = self._dropout_layer if dropping else None
            equations = ("bquh,bkuh->buqk", "buqk,bkuh->bquh")
            output, scores = self._attend(equations, 1, query, key, value, scale, mask, drop)
        else:
            mask = None if mask is None else for_heads(mask, 4, 1)
            output = ops.dot_product_attention(query, key, value, mask=mask, scale=scale)
        output = self._output_dense(output if gate is None else output * gate)
        return (output, scores) if return_attention_scores else output
