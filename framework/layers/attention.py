"""Attention without projections: Attention, AdditiveAttention."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from lamina import ops, random
from lamina.core.checks import check_choice, check_number
from lamina.core.errors import describe, owner_label
from lamina.layers.layer import Layer
from lamina.layers.projected_attention import band
from lamina.state.rng import SeedGenerator


class Attention(Layer):
    """Dot-product attention: softmax(query key^T) value.

    Shape:
        [query (batch, targets, features), value (batch, sources, width), key (batch, sources, features)] ->
        (batch, targets, width), with `return_attention_scores` also (batch, targets, sources); without a key, the
        value is the key too

    Args:
        use_scale: whether the scores are multiplied by a weight.
        score_mode: "dot" for query key^T, "concat" for a weight times the sum of tanh(query + key).
        dropout: the share of the scores to drop in training.
        seed: a seed for dropout.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Raises:
        ValueError: an argument is out of range, or the inputs are not a list of two or three.

    Example:
        >>> import numpy as np
        >>> query, value = np.ones((2, 3, 4), "float32"), np.ones((2, 5, 4), "float32")
        >>> Attention()([query, value]).shape
        (2, 3, 4)

    Reference:
        Luong et al., "Effective Approaches to Attention-based Neural Machine Translation",
        https://arxiv.org/abs/1508.04025
    """

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.use_scale = bool(use_scale)
        self.score_mode = check_choice(self, "score_mode", score_mode, ["dot", "concat"])
        self.dropout = check_number(self, "dropout", dropout, 0, 1)
        self.seed = seed
        self.seed_generator = SeedGenerator(seed)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Creates the weights of the scores, if there are any."""
        self._check_inputs(input_shape)
        self.scale = self.concat_score_weight = None
        if self.use_scale:
            self.scale = self.add_weight(shape=(), initializer="ones", name="scale")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight(shape=(), initializer="ones", name="concat_score_weight")

    def _check_inputs(self, inputs: Any, mask: Any = None) -> None:
        if not isinstance(inputs, (list, tuple)) or len(inputs) not in (2, 3):
            got = f"{len(inputs)} of them" if isinstance(inputs, (list, tuple)) else describe(inputs)
            raise ValueError(
                f"{owner_label(self)}: inputs must be a list [query, value] or [query, value, key], got {got}."
            )
        if mask is not None and (not isinstance(mask, (list, tuple)) or len(mask) not in (2, 3)):
            raise ValueError(
                f"{owner_label(self)}: mask must be a list [query_mask, value_mask], got {describe(mask)}. None stands "
                "for no mask."
            )

    def _calculate_scores(self, query: Any, key: Any) -> Any:
        """The scores (batch, targets, sources); override it for others."""
        if self.score_mode == "dot":
            scores = ops.matmul(query, ops.swapaxes(key, 1, 2))
            return scores if self.scale is None else scores * self.scale.value
        total = query[:, :, None, :] + key[:, None, :, :]
        if self.scale is not None:
            total = total * self.scale.value
        return jnp.sum(ops.tanh(total), axis=-1) * self.concat_score_weight.value  # type: ignore[union-attr]

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        training: bool = False,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        """The output, and the scores after the softmax if asked for.

        Args:
            inputs: [query, value] or [query, value, key].
            mask: [query mask, value mask], either may be None; outputs where the query mask is False are 0.
            training: whether dropout drops.
            return_attention_scores: whether the scores are returned too.
            use_causal_mask: whether a target sees only sources up to its own place.
        """
        self._check_inputs(inputs, mask)
        query, value = inputs[:2]
        query_mask, value_mask = (None, None) if mask is None else mask[:2]
        scores = self._calculate_scores(query, inputs[2] if len(inputs) == 3 else value)
        seen = None if value_mask is None else jnp.asarray(value_mask, bool)[:, None, :]
        if use_causal_mask:
            causal = band(scores.shape[1], scores.shape[2], True, None)
            seen = causal if seen is None else jnp.logical_and(seen, causal)
        if seen is not None:
            low = 65504.0 if scores.dtype == "float16" else 1e9
            scores = jnp.where(seen, scores, scores - jnp.asarray(low, scores.dtype))
        weights = ops.softmax(scores, axis=-1)
        if training and self.dropout > 0:
            weights = random.dropout(weights, self.dropout, seed=self.seed_generator)
        output = ops.matmul(weights, value)
        if query_mask is not None:
            output = jnp.where(jnp.asarray(query_mask, bool)[..., None], output, 0)
        return (output, weights) if return_attention_scores else output

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of the query."""
        if previous_mask is None:
            return None
        self._check_inputs(inputs, previous_mask)
        return None if previous_mask[0] is None else jnp.asarray(previous_mask[0])


class AdditiveAttention(Attention):
    """Additive attention: softmax(sum(scale tanh(query + key))) value.

    Shape:
        [query (batch, targets, features), value (batch, sources, width), key (batch, sources, features)] ->
        (batch, targets, width), with `return_attention_scores` also (batch, targets, sources); without a key, the
        value is the key too

    Args:
        use_scale: whether each feature has a weight in the sum.
        dropout: the share of the scores to drop in training.
        **kwargs: `seed`, `name`, `dtype` and so on, as for `Attention`.

    Example:
        >>> import numpy as np
        >>> query, value = np.ones((2, 3, 4), "float32"), np.ones((2, 5, 4), "float32")
        >>> AdditiveAttention()([query, value]).shape
        (2, 3, 4)

    Reference:
        Bahdanau et al., "Neural Machine Translation by Jointly Learning to Align and Translate",
        https://arxiv.org/abs/1409.0473
    """

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, **kwargs: Any):
        super().__init__(use_scale=use_scale, dropout=dropout, **kwargs)

    def build(self, input_shape: Any) -> None:
        """Creates the weight of each feature."""
        self._check_inputs(input_shape)
        self.scale = None
        if self.use_scale:
            features = input_shape[0][-1]
            self.scale = self.add_weight(shape=(features,), initializer="glorot_uniform", name="scale")

    def _calculate_scores(self, query: Any, key: Any) -> Any:
        total = ops.tanh(query[:, :, None, :] + key[:, None, :, :])
        return jnp.sum(total if self.scale is None else total * self.scale.value, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        config = super().get_config()
        config.pop("score_mode")
        return config
