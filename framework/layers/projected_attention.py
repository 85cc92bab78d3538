"""What attention layers with projected heads share: projections, masks, the attention itself."""

from __future__ import annotations

import string
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina import constraints, initializers, ops, regularizers
from lamina.core.checks import check_choice, check_int, check_number
from lamina.core.errors import ShapeError, owner_label
from lamina.layers.dense import EinsumDense
from lamina.layers.layer import Layer


def band(targets: Any, sources: Any, causal: bool, window: int | None) -> Any:
    """Which source each target may see: those up to its own place if causal, those nearer than the window if any.

    Shape:
        -> (1, targets, sources)

    Example:
        >>> band(3, 3, True, 2)[0].astype(int).tolist()
        [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    """
    xp: Any = np if isinstance(targets, int) and isinstance(sources, int) else jnp  # a constant where sizes are known
    offset = xp.arange(targets)[:, None] - xp.arange(sources)[None, :]
    seen = offset >= 0 if causal else offset == offset
    if window is not None:
        seen = seen & (abs(offset) < window)
    return seen[None]


class ProjectedAttention(Layer):
    """What attention layers with projected heads share: the projections, the masks, the attention itself."""

    def __init__(
        self,
        dropout: float,
        use_bias: bool,
        sliding_window: int | None,
        flash_attention: bool | None,
        kernel_initializer: Any,
        bias_initializer: Any,
        kernel_regularizer: Any,
        bias_regularizer: Any,
        kernel_constraint: Any,
        bias_constraint: Any,
        use_gate: bool,
        seed: int | None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.dropout = check_number(self, "dropout", dropout, 0, 1)
        self.use_bias = bool(use_bias)
        self.sliding_window = None if sliding_window is None else check_int(self, "sliding_window", sliding_window, 1)
        self.flash_attention = check_choice(self, "flash_attention", flash_attention, [None, True, False])
        if self.flash_attention and self.dropout > 0:
            raise ValueError(
                f"{owner_label(self)}: flash_attention=True cannot drop attention scores, got dropout={dropout}. Set "
                "dropout=0, or leave flash_attention out."
            )
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.use_gate = bool(use_gate)
        self.seed = seed
        self.supports_masking = True
        self._projection_activity: Any = None

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        config = super().get_config()
        config.pop("flash_attention", None)  # a choice of the machine, not of the model
        return config

    def _projection(self, name: str, shape: tuple, inner: int, sizes: tuple, activation: Any = None) -> EinsumDense:
        """A dense layer from the last `inner` axes of inputs of a shape to axes of the given sizes."""
        letters = iter(string.ascii_lowercase)
        free = "".join(next(letters) for _ in shape[:-inner])
        bound = "".join(next(letters) for _ in range(inner))
        out = "".join(next(letters) for _ in sizes)

        def fresh(initializer: Any) -> Any:
            # A seeded initializer gives equal values at each call, so each projection has one of its own.
            return initializer.clone() if hasattr(initializer, "clone") else initializer

        layer = EinsumDense(
            f"{free}{bound},{bound}{out}->{free}{out}",
            output_shape=(*(None for _ in free[1:]), *sizes),
            bias_axes=out if self.use_bias else None,
            activation=activation,
            kernel_initializer=fresh(self.kernel_initializer),
            bias_initializer=fresh(self.bias_initializer),
            kernel_regularizer=self.kernel_regularizer,
            bias_regularizer=self.bias_regularizer,
            activity_regularizer=self._projection_activity,
            kernel_constraint=self.kernel_constraint,
            bias_constraint=self.bias_constraint,
            dtype=self.dtype_policy,
            name=name,
        )
        layer.build(shape)
        layer.built = True
        return layer

    def _check_sources(self, value_shape: Any, key_shape: Any) -> None:
        if tuple(value_shape[1:-1]) != tuple(key_shape[1:-1]):
            raise ShapeError(
                f"{owner_label(self)}: value and key must agree in all axes but the last, got value of shape "
                f"{tuple(value_shape)} and key of shape {tuple(key_shape)}."
            )

    def _compute_attention_mask(
        self,
        query: Any,
        value: Any,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        use_causal_mask: bool = False,
    ) -> Any:
        """All masks that there are in one, of a shape that broadcasts to (batch, targets, sources); None for none."""
        masks = []
        if query_mask is not None:
            masks.append(jnp.asarray(query_mask, bool)[..., None])
        masks += [jnp.asarray(m, bool)[..., None, :] for m in (value_mask, key_mask) if m is not None]
        if use_causal_mask or self.sliding_window is not None:
            masks.append(band(query.shape[1], value.shape[1], use_causal_mask, self.sliding_window))
        if attention_mask is not None:
            masks.append(jnp.asarray(attention_mask).astype(bool))
        merged = None
        for mask in masks:
            merged = mask if merged is None else jnp.logical_and(merged, mask)
        return merged

    def _attend(
        self,
        equations: tuple[str, str],
        axes: int,
        query: Any,
        key: Any,
        value: Any,
        scale: float,
        mask: Any,
        drop: Any,
    ) -> tuple[Any, Any]:
        """softmax(query key * scale) value, and the softmax; `axes` is the number of axes attended to."""
        scores = ops.einsum(equations[0], query * jnp.asarray(scale, query.dtype), key)
        if mask is not None:
            mask = for_heads(mask, scores.ndim, axes)
            scores = jnp.where(mask, scores, jnp.asarray(-3e4 if scores.dtype == "float16" else -1e9, scores.dtype))
        weights = ops.softmax(scores, axis=tuple(range(-axes, 0)) if axes > 1 else -1)
        kept = weights if drop is None else drop(weights)
        return ops.einsum(equations[1], kept, value), weights

    def _check_scores(self, return_attention_scores: bool) -> None:
        if self.flash_attention and return_attention_scores:
            raise ValueError(
                f"{owner_label(self)}: flash_attention=True does not compute the scores as such. Leave out "
                "return_attention_scores or flash_attention."
            )


def for_heads(mask: Any, rank: int, axes: int) -> Any:
    """A mask with an axis for the heads (and others that are missing) before its axes of targets and sources."""
    place = mask.ndim - 2 * axes
    return jnp.reshape(mask, (*mask.shape[:place], *(1,) * (rank - mask.ndim), *mask.shape[place:]))
