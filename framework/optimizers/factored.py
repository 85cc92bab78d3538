"""Optimizers that look at variables as matrices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import optax

from lamina.core.checks import check_int, check_number
from lamina.optimizers import matrices
from lamina.optimizers.adam import check_beta
from lamina.optimizers.optimizer import Optimizer
from lamina.state.variable import Variable


class Adafactor(Optimizer):
    """Adam's second moment in the memory of a row and a column a matrix.

    Args:
        learning_rate: see `Optimizer`.
        beta_2_decay: how the weight of past squares nears 1, as `1 - t**beta_2_decay`.
        epsilon_1: added to squared gradients.
        epsilon_2: the least size of a variable that a step is scaled to.
        clip_threshold: the root mean square above which an update is scaled down.
        relative_step: kept for Keras' configs; the rate never exceeds `1 / sqrt(t)`.
        kwargs: see `Optimizer`.

    Example:
        >>> Adafactor().clip_threshold
        1.0

    Reference: Shazeer and Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.beta_2_decay = check_number(self, "beta_2_decay", beta_2_decay)
        self.epsilon_1 = check_number(self, "epsilon_1", epsilon_1, 0)
        self.epsilon_2 = check_number(self, "epsilon_2", epsilon_2, 0)
        self.clip_threshold = check_number(self, "clip_threshold", clip_threshold, 0)
        self.relative_step = bool(relative_step)

    def transformation(self) -> optax.GradientTransformation:
        """The update rule."""
        return matrices.adafactor(self.beta_2_decay, self.epsilon_1, self.epsilon_2, self.clip_threshold)

    def _saved_variables(self) -> list[Any]:
        """Keras has rows, columns and velocity of every variable, and leaves those that are not used at zero."""
        owned = self._owned()
        counts = [2 if len(v.shape) >= 2 else 1 for v in owned]
        start = len(self._slots) - sum(counts)
        found: list[Any] = [self._iterations, *self._rates(), *self._slots[:start]]
        for variable, count in zip(owned, counts, strict=True):
            slots = self._slots[start : start + count]
            start += count
            unused = np.zeros((), "int32")
            found += [*slots, np.zeros(variable.shape, variable.dtype)] if count == 2 else [unused, unused, *slots]
        return found


class Muon(Optimizer):
    """Momentum made orthogonal by Newton-Schulz iterations for matrices; Adam with weight decay for all else.

    Args:
        learning_rate: see `Optimizer`.
        adam_beta_1: see `Adam`, for variables that are no matrices.
        adam_beta_2: likewise.
        adam_weight_decay: likewise.
        epsilon: likewise.
        weight_decay: the weight decay of matrices.
        exclude_layers: regular expressions; matrices with one of them in their path are left to Adam.
        exclude_embeddings: whether matrices with "embedding" in their path are left to Adam.
        muon_a: a coefficient of the iterations.
        muon_b: another.
        muon_c: another.
        adam_lr_ratio: Adam's learning rate over Muon's.
        momentum: how much momentum is kept.
        ns_steps: the number of iterations.
        nesterov: whether the momentum looks ahead.
        rms_rate: updates are scaled by this times the root of the larger side; None for no scaling.
        kwargs: see `Optimizer`.

    Example:
        >>> Muon().ns_steps
        5

    Reference: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; Liu et al., "Muon is
    Scalable for LLM Training", 2025.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float = 1e-7,
        weight_decay: float | None = 0.004,
        exclude_layers: Sequence[str] | None = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.775,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, weight_decay=weight_decay, **kwargs)
        self.adam_beta_1 = check_beta(self, "adam_beta_1", adam_beta_1)
        self.adam_beta_2 = check_beta(self, "adam_beta_2", adam_beta_2)
        if adam_weight_decay is not None:
            check_number(self, "adam_weight_decay", adam_weight_decay, 0)
        self.adam_weight_decay = adam_weight_decay
        self.epsilon = check_number(self, "epsilon", epsilon, 0)
        self.exclude_layers = list(exclude_layers or [])
        self.exclude_embeddings = bool(exclude_embeddings)
        self.muon_a = check_number(self, "muon_a", muon_a)
        self.muon_b = check_number(self, "muon_b", muon_b)
        self.muon_c = check_number(self, "muon_c", muon_c)
        self.adam_lr_ratio = check_number(self, "adam_lr_ratio", adam_lr_ratio, 0)
        self.momentum = check_number(self, "momentum", momentum, 0)
        self.ns_steps = check_int(self, "ns_steps", ns_steps, 0)
        self.nesterov = bool(nesterov)
        self.rms_rate = rms_rate if rms_rate is None else check_number(self, "rms_rate", rms_rate)

    def uses_adam(self, variable: Variable) -> bool:
        """Whether a variable is left to Adam."""
        if variable.ndim != 2 or (self.exclude_embeddings and "embedding" in variable.path.lower()):
            return True
        return any(re.search(pattern, variable.path) for pattern in self.exclude_layers)

    def weight_decay_of(self, variable: Variable) -> float | None:
        """The weight decay of a variable: Adam's or Muon's, None if it has none."""
        if self._is_excluded(variable):
            return None
        return self.adam_weight_decay if self.uses_adam(variable) else self.weight_decay

    def transformation(self) -> optax.GradientTransformation:
        """The update rule."""
        by_adam = [self.uses_adam(v) for v in self._owned()]
        return matrices.muon(
            by_adam.__getitem__,
            momentum=self.momentum,
            nesterov=self.nesterov,
            ns_steps=self.ns_steps,
            coefficients=(self.muon_a, self.muon_b, self.muon_c),
            rms_rate=self.rms_rate,
            adam_beta_1=self.adam_beta_1,
            adam_beta_2=self.adam_beta_2,
            epsilon=self.epsilon,
            adam_lr_ratio=self.adam_lr_ratio,
        )
