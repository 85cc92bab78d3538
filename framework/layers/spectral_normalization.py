"""Spectral normalization of a layer's kernel."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina import initializers, ops
from lamina.core.checks import check_int
from lamina.core.errors import owner_label
from lamina.layers.input_spec import InputSpec
from lamina.layers.layer import Layer
from lamina.layers.wrapper import Wrapper


class SpectralNormalization(Wrapper):
    """A layer whose kernel is divided by its largest singular value, estimated by power iteration.

    In training, each call does the iteration and replaces the kernel; otherwise the layer is called as it is.

    Args:
        layer: a layer with a `kernel`, or with `embeddings`.
        power_iterations: the number of iterations a call.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Raises:
        ValueError: the layer has neither.

    Example:
        >>> import numpy as np
        >>> from lamina.layers.dense import Dense
        >>> layer = SpectralNormalization(Dense(3), power_iterations=50)
        >>> _ = layer(np.ones((2, 4), "float32"), training=True)
        >>> round(float(np.linalg.norm(layer.layer.kernel.numpy(), 2)), 3)
        1.0

    Reference:
        https://arxiv.org/abs/1802.05957
    """

    def __init__(self, layer: Layer, power_iterations: int = 1, **kwargs: Any):
        super().__init__(layer, **kwargs)
        self.power_iterations = check_int(self, "power_iterations", power_iterations, 1)

    def build(self, input_shape: Any) -> None:
        """Builds the layer, and creates the vector that the iteration starts from."""
        super().build(input_shape)
        kernel = getattr(self.layer, "kernel", None)
        self.kernel: Any = getattr(self.layer, "embeddings", None) if kernel is None else kernel
        if self.kernel is None:
            raise ValueError(
                f"{owner_label(self)}: {owner_label(self.layer)} has neither a kernel nor embeddings to normalise."
            )
        self.vector_u = self.add_weight(
            shape=(1, self.kernel.shape[-1]),
            initializer=initializers.TruncatedNormal(stddev=0.02),
            trainable=False,
            name="vector_u",
        )
        self.input_spec = InputSpec(min_ndim=1, axes={-1: input_shape[-1]})

    def call(self, inputs: Any, training: bool = False) -> jax.Array:
        """The output of the layer."""
        if training:
            kernel, u = self.normalized_weights()
            self.vector_u.assign(u)
            self.kernel.assign(kernel)
        return self.layer(inputs)

    def normalized_weights(self) -> tuple[jax.Array, jax.Array]:
        """The kernel divided by its largest singular value, and the vector after the iterations."""
        kernel, u = self.kernel.value, self.vector_u.value
        matrix = kernel.reshape(-1, kernel.shape[-1])
        for _ in range(self.power_iterations):
            v = ops.normalize(u @ matrix.T, axis=None)
            u = ops.normalize(v @ matrix, axis=None)
        u, v = jax.lax.stop_gradient((u, v))
        sigma = (v @ matrix @ u.T)[0, 0]
        empty = jnp.all(kernel == 0)  # a kernel of zeros stays as it is
        kernel = jnp.where(empty, kernel, kernel / jnp.where(empty, 1, sigma))
        return kernel, jnp.where(empty, self.vector_u.value, u)
