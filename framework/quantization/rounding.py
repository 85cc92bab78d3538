"""Runs a graph with weights and activations rounded as int8 stores them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from lamina.export.calibrate import COARSEST
from lamina.graph.dims import match
from lamina.graph.ir import Instr, Value
from lamina.graph.replay import replay
from lamina.ops.conv import _depthwise, convolve
from lamina.ops.marking import is_marking
from lamina.ops.pool import max_pool
from lamina.ops.quantize import fake_quant_with_min_max_vars
from lamina.quantization.plan import CHANNELS, FLOAT32, Plan, Product

MIXING = frozenset({"Add", "Sub", "Mul", "Maximum", "Minimum", "Concat", "Gather", "MatMul"})
"""Ops that take numbers from a constant, which is then rounded too."""
LEAST = 1e-8
"""The least range: what is 0 throughout has a scale too."""


@dataclass
class Ranges:
    """The ranges of a plan's sites.

    Attributes:
        places: the place of each site's name in `limits`.
        limits: (least, greatest) of each site.
        momentum: the weight of the past where ranges are learnt; None where they stay.
        fresh: whether nothing was learnt so far.
    """

    places: Mapping[str, int]
    limits: jax.Array
    momentum: float | None = None
    fresh: Any = False

    def round(self, name: str, x: jax.Array) -> jax.Array:
        """`x` rounded within the site's range, which it moves first if ranges are learnt."""
        place = self.places[name]
        low, high = self.limits[place, 0], self.limits[place, 1]
        if self.momentum is not None:
            seen = lax.stop_gradient(jnp.stack([jnp.minimum(jnp.min(x), 0), jnp.maximum(jnp.max(x), 0)]))
            moved = self.limits[place] * self.momentum + seen * (1 - self.momentum)
            moved = jnp.where(self.fresh, seen, moved)
            self.limits = self.limits.at[place].set(moved)
            low, high = moved[0], moved[1]
        coarse = high - low >= 255 * COARSEST
        low, high = jnp.where(coarse, -jnp.inf, low), jnp.where(coarse, jnp.inf, jnp.maximum(high, low + LEAST))
        return fake_quant_with_min_max_vars(x, low, high)


@dataclass
class Statistics:
    """What batch normalisations that became part of weights normalise with.

    Attributes:
        moving: for the name of each, its moving mean and variance.
        training: whether they are of the batch, unless `frozen`.
        frozen: whether, in training, the moving ones are taken.
    """

    moving: Mapping[str, tuple[jax.Array, jax.Array]]
    training: bool = False
    frozen: Any = None


class Rounded:
    """A run of a graph under a plan.

    Args:
        graph: the graph.
        plan: where it is rounded.
        ranges: the ranges of the sites; changed by the run if they are learnt.
        statistics: for batch normalisations.
        weight_bits: how many bits weights have.
    """

    def __init__(self, graph: Any, plan: Plan, ranges: Ranges, statistics: Statistics, weight_bits: int = 8):
        self.graph, self.plan, self.ranges, self.statistics = graph, plan, ranges, statistics
        self.weight_bits = weight_bits

    def run(self, feeds: Mapping[Value, Any], outputs: Sequence[Value]) -> list[Any]:
        """The outputs, for arrays for all inputs."""
        self.sizes: dict[str, Any] = {}
        self.known: dict[Value, Any] = {v: jnp.asarray(a) for v, a in self.graph.constants.items()}
        for value, array in feeds.items():
            match(value.shape, array.shape, self.sizes, f"input '{value.name}'")
            self._give(value, array)
        for instr in self.graph.instrs:
            product = self.plan.products.get(id(instr))
            path = instr.path if product is None else product.instr.path  # what becomes part of a product stands there
            with jax.named_scope(path or instr.op):
                for value, array in zip(instr.outputs, self._instruction(instr), strict=True):
                    self._give(value, array)
        return [self.known[v] for v in outputs]

    def _give(self, value: Value, array: Any) -> None:
        """Notes a value, rounded where the plan says so."""
        plan = self.plan
        if value in plan.sites and plan.sites[value] in self.ranges.places:
            array = self.ranges.round(plan.sites[value], array)
        elif value in plan.fixed:
            array = fake_quant_with_min_max_vars(array, *plan.fixed[value])
        elif plan.shared.get(value) in plan.sites:
            array = self._as_stored(plan.sites[plan.shared[value]], array)
        self.known[value] = array

    def _as_stored(self, name: str, array: Any) -> Any:
        if name not in self.ranges.places:
            return array
        return Ranges(self.ranges.places, self.ranges.limits).round(name, array)

    def _instruction(self, instr: Instr) -> list[Any]:
        arrays = [self.known[v] for v in instr.inputs]
        product = self.plan.products.get(id(instr))
        if instr.op == "BatchNorm" and id(instr) in self.plan.norms:
            return [self._folded(product, instr) if product is not None else self._normalized(instr, arrays)]
        if product is not None:
            arrays[1] = self._weights(instr.op, arrays[1])
            return self._run(instr, arrays)
        plan = self.plan
        if instr.op in MIXING and id(instr) not in plan.fused and plan.data.intersection(instr.inputs):
            arrays = [
                self._constant(a) if v not in plan.data and v.dtype == FLOAT32 else a
                for v, a in zip(instr.inputs, arrays, strict=True)
            ]
        return self._run(instr, arrays)

    def _run(self, instr: Instr, arrays: Sequence[Any]) -> list[Any]:
        run = None if is_marking() else TRAINED.get(instr.op)
        out = None if run is None else run(instr.attrs, *arrays)
        return replay(instr, self.sizes, *arrays) if out is None else [out]

    # ---- rounding of what is no data

    def _weights(self, op: str, kernel: Any) -> Any:
        """Weights symmetric about 0, with a range for each channel of the output."""
        if op == "MatMul" and kernel.ndim != 2:
            return self._constant(kernel)
        channels = {a % kernel.ndim for a in CHANNELS[op]}
        others = tuple(a for a in range(kernel.ndim) if a not in channels)
        most = jnp.maximum(jnp.max(jnp.abs(lax.stop_gradient(kernel)), others, keepdims=True), LEAST)
        return fake_quant_with_min_max_vars(kernel, -most, most, self.weight_bits, True)

    def _constant(self, x: Any) -> Any:
        """Any other constant, with one range."""
        if not x.size:
            return x
        still = lax.stop_gradient(x)
        low, high = jnp.minimum(jnp.min(still), 0), jnp.maximum(jnp.max(still), 0)
        return fake_quant_with_min_max_vars(x, low, jnp.maximum(high, low + LEAST))

    # ---- batch normalisation

    def _norm(self, norm: Instr) -> tuple[Any, Any, Any, Any, Any]:
        """Mean and variance to normalise with, the variance to round the weights under, scale and offset."""
        _, mean, variance, scale, offset = (self.known[v] for v in norm.inputs)
        moving = self.statistics.moving.get(self.plan.norms[id(norm)])
        anchor = variance if moving is None else moving[1]
        if moving is not None and self.statistics.training and self.statistics.frozen is not None:
            mean = jnp.where(self.statistics.frozen, moving[0], mean)
            variance = jnp.where(self.statistics.frozen, moving[1], variance)
        return mean, variance, lax.stop_gradient(anchor), scale, offset

    def _folded(self, product: Product, norm: Instr) -> Any:
        """A product whose weights are scaled by the moving deviation, rounded, and corrected to that of the batch."""
        mean, variance, anchor, scale, offset = self._norm(norm)
        epsilon = jnp.asarray(norm.attrs["epsilon"], variance.dtype)
        x, kernel = (self.known[v] for v in product.instr.inputs[:2])
        shape = [1] * kernel.ndim
        for axis in CHANNELS[product.instr.op]:
            shape[axis] = kernel.shape[axis]
        weights = self._weights(product.instr.op, kernel * (scale * lax.rsqrt(anchor + epsilon)).reshape(shape))
        (y,) = self._run(product.instr, [x, weights])
        if self.statistics.training:
            y = y * (jnp.sqrt(anchor + epsilon) * lax.rsqrt(variance + epsilon))
        bias = jnp.zeros_like(mean) if product.bias is None else self.known[product.bias]
        return y + ((bias - mean) * (scale * lax.rsqrt(variance + epsilon)) + offset)

    def _normalized(self, norm: Instr, arrays: Sequence[Any]) -> Any:
        """A normalisation of its own, as the product and the sum that formats write."""
        mean, variance, _, scale, offset = self._norm(norm)
        factor = scale * lax.rsqrt(variance + jnp.asarray(norm.attrs["epsilon"], variance.dtype))
        name = scaled(self.plan.norms[id(norm)])
        y = arrays[0] * self._constant(factor)
        y = self.ranges.round(name, y) if name in self.ranges.places else y
        return y + self._constant(offset - mean * factor)


def scaled(norm: str) -> str:
    """The name of the site inside a batch normalisation of its own."""
    return f"{norm}/scaled"


def _conv(attrs: dict[str, Any], x: Any, kernel: Any) -> Any:
    """In the formulation whose gradients are fast in loops; see `lamina.ops.conv`."""
    if attrs.get("groups", 1) != 1:
        return None
    strides, dilations = tuple(attrs["strides"]), tuple(attrs["dilations"])
    return convolve(x, kernel, strides, tuple(map(tuple, attrs["pads"])), dilations, (1,) * len(strides))


def _depthwise_conv(attrs: dict[str, Any], x: Any, kernel: Any) -> Any:
    return _depthwise(x, kernel, tuple(attrs["strides"]), tuple(map(tuple, attrs["pads"])), tuple(attrs["dilations"]))


def _max_pool(attrs: dict[str, Any], x: Any) -> Any:
    """Windows that tile space, whose gradient is a mask."""
    window = tuple(attrs["window"])
    plain = tuple(attrs["strides"]) == window and not any(map(any, attrs["pads"]))
    return max_pool(x, window, data_format="channels_last") if plain else None


# ops that train better by other functions than those of the table: faster, or with one derivative where they bend
TRAINED: dict[str, Callable[..., Any]] = {
    "Conv": _conv, "DepthwiseConv": _depthwise_conv, "MaxPool": _max_pool, "Relu": lambda attrs, x: jax.nn.relu(x),
    "Relu6": lambda attrs, x: jax.nn.relu6(x),
}  # fmt: skip
