"""QuantizeAware, the layer that trains another as int8 will compute it, and quantize_aware, for whole models."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.checks import check_int, check_number, check_type
from lamina.core.errors import owner_label
from lamina.core.nest import map_structure
from lamina.graph.builder import Builder
from lamina.graph.dims import dims_of
from lamina.graph.ir import Value
from lamina.graph.lower import lower
from lamina.graph.passes.order import optimize
from lamina.layers import calling
from lamina.layers.input_layer import Input
from lamina.layers.layer import Layer
from lamina.layers.wrapper import Wrapper
from lamina.models.clone import clone_model
from lamina.models.model import Model
from lamina.ops.marking import marking
from lamina.ops.symbol import PROBES
from lamina.quantization.plan import Plan, plan
from lamina.quantization.rounding import Ranges, Rounded, Statistics, scaled
from lamina.state.frame import Frame
from lamina.state.masks import get_mask, set_mask
from lamina.state.rng import IMPLEMENTATION, SeedGenerator

# primitives with derivatives of their own, or with loops inside, stay what they are
WHOLE = frozenset(
    {"custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "stop_gradient", "scan", "while", "cond"}
)
PASSES = ("common_subexpressions", "patterns", "layout", "dead_code")


class QuantizeAware(Wrapper):
    """A layer or model computed with weights and activations rounded as int8 stores them.

    The layer inside is traced to a graph, so that its code, whatever it is, stays as it is. Weights of products and
    convolutions are rounded symmetrically, each channel by itself; what goes from one op to the next within its range,
    of which a moving average is kept while training. Batch normalisation behind a product becomes part of the weights
    before they are rounded. Gradients pass through the rounding. Exported as int8, the layer has the ranges that it
    learnt: no data to calibrate on is needed.

    Shape:
        those of the layer inside

    Args:
        layer: a layer or model that computes in float32.
        momentum: the weight of the past in the moving ranges; the first batch sets them.
        freeze_after: the number of training steps after which batch normalisations take their moving statistics, which
            then stay; None never freezes them.
        weight_bits: from 2 to 8. Exported weights have 8 in any case.
        **kwargs: `name` and so on, as for every layer.

    Raises:
        ValueError: an argument is out of range, or the layer does not compute in float32.

    Example:
        >>> from lamina.layers import Dense
        >>> layer = QuantizeAware(Dense(3))
        >>> x = np.linspace(-1, 1, 8, dtype="float32").reshape(2, 4)
        >>> layer(x, training=True).shape
        (2, 3)
        >>> layer.ranges["inputs"]
        (-1.0, 1.0)

    Reference:
        https://arxiv.org/abs/1712.05877, https://arxiv.org/abs/1806.08342
    """

    _untracked = Wrapper._untracked | {"_keys", "_moving"}

    def __init__(
        self,
        layer: Layer,
        momentum: float = 0.99,
        freeze_after: int | None = None,
        weight_bits: int = 8,
        **kwargs: Any,
    ):
        super().__init__(layer, **kwargs)
        self.momentum = check_number(self, "momentum", momentum, 0, 1)
        self.freeze_after = None if freeze_after is None else check_int(self, "freeze_after", freeze_after, 0)
        self.weight_bits = check_int(self, "weight_bits", weight_bits, 2)
        if weight_bits > 8:
            raise ValueError(f"{owner_label(self)}: weight_bits must be from 2 to 8, got {weight_bits}.")
        if layer.compute_dtype != "float32":
            raise ValueError(
                f"{owner_label(self)}: {owner_label(layer)} computes in {layer.compute_dtype}; integers are simulated "
                "in float32 alone. Make it with dtype='float32'."
            )
        self.seed_generator = SeedGenerator()
        self._keys: tuple[str, ...] = ()
        self._moving: dict[str, tuple[int, int]] = {}

    def build(self, input_shape: Any) -> None:
        """Builds the layer inside, and finds out what is to be rounded."""
        super().build(input_shape)
        specs = self._specs(input_shape)
        traced = self._trace(specs, training=False)
        masked = traced
        # More is computed, and so rounded, where inputs have masks.
        if calling.accepts(type(self.layer), "mask"):  # type: ignore[arg-type]
            masks = [_spec(a.shape[:2], bool) if len(a.shape) > 2 else None for a in jax.tree.leaves(specs)]
            masked = self._trace(specs, training=False, masks=masks)
        known = {v: i for i, v in enumerate(traced.variables)}
        norms = {id(i): i for i in traced.graph.instrs if i.op == "BatchNorm"}
        inside = {id(p.norm) for p in traced.plan.products.values() if p.norm is not None}
        own = [scaled(name) for key, name in traced.plan.norms.items() if key not in inside]
        self._keys = tuple(dict.fromkeys([*traced.plan.sites.values(), *masked.plan.sites.values(), *own]))
        for key, name in traced.plan.norms.items():
            places = [known.get(v) for v in norms[key].inputs[1:3]]
            if None not in places:
                self._moving[name] = (places[0], places[1])  # type: ignore[assignment]
        self.limits = self.add_weight(
            (len(self._keys), 2), initializer=_unbounded, trainable=False, autocast=False, name="limits"
        )
        self.steps = self.add_weight((), "zeros", "int32", trainable=False, name="steps")

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """(least, greatest) of each value that is rounded, by layer and op; infinite before any training."""
        limits = np.asarray(self.limits.value)
        return {name: (float(low), float(high)) for name, (low, high) in zip(self._keys, limits, strict=True)}

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The outputs of the layer, rounded as int8 would be, with the masks that it gives them."""
        arrays, _ = jax.tree.flatten(inputs)
        masks = [get_mask(a) for a in arrays]
        traced = self._trace(inputs, bool(training), masks)
        data = jax.random.key_data(self.seed_generator.next()) if training else _no_key()
        values = [v.value for v in traced.layer_variables]
        feeds = dict(zip(traced.graph.inputs, [*values, data, *arrays, *_present(masks)], strict=True))
        learning = self.momentum if training else None
        ranges = Ranges({k: i for i, k in enumerate(self._keys)}, self.limits.value, learning, self.steps.value == 0)
        frozen = None if self.freeze_after is None else self.steps.value >= self.freeze_after
        moving = {name: (values[m], values[v]) for name, (m, v) in self._moving.items()}
        run = Rounded(traced.graph, traced.plan, ranges, Statistics(moving, bool(training), frozen), self.weight_bits)
        found = run.run(feeds, traced.graph.outputs)
        outputs, penalties, out_masks, new = traced.parts(found)
        self._write(traced, new, frozen)
        for penalty in penalties:
            self.add_loss(penalty)
        if training:
            self.limits.assign(ranges.limits)
            self.steps.assign(self.steps.value + 1)
        for place, mask in zip(traced.masked, out_masks, strict=True):
            set_mask(outputs[place], mask)
        return traced.structure(outputs)

    def _write(self, traced: _Traced, new: Sequence[Any], frozen: Any) -> None:
        """The variables that the layer inside has changed, moving statistics only until they are frozen."""
        still = {place for pair in self._moving.values() for place in pair}
        outputs = traced.graph.outputs[-len(new) :] if new else []
        for place, (variable, value, array) in enumerate(zip(traced.layer_variables, outputs, new, strict=True)):
            if value is traced.variables[place]:
                continue
            if frozen is not None and place in still:
                array = jnp.where(frozen, variable.value, array)
            variable.assign(array)

    def _specs(self, input_shape: Any) -> Any:
        if getattr(self.layer, "network", None) is not None:
            return map_structure(lambda s: _spec(s.shape, s.dtype), self.layer.input)
        if isinstance(input_shape, dict):
            return {k: _spec(v, "float32") for k, v in input_shape.items()}
        if any(isinstance(d, (tuple, list)) for d in input_shape):
            return [_spec(s, "float32") for s in input_shape]
        return _spec(input_shape, "float32")

    def _trace(self, inputs: Any, training: bool, masks: Sequence[Any] | None = None) -> _Traced:
        """The graph of a call of the layer inside, on inputs that may have masks."""
        variables = self.layer.variables
        arrays, tree = jax.tree.flatten(inputs)
        masks = [None] * len(arrays) if masks is None else masks
        outer: dict[str, Any] = {}

        def run(values: Any, data: Any, given: Any, given_masks: Any) -> Any:
            key = jax.random.wrap_key_data(data, impl=IMPLEMENTATION)
            for array, mask in zip(given, given_masks, strict=True):
                set_mask(array, mask)
            with Frame(variables, values, key) as frame:
                out = self.layer(jax.tree.unflatten(tree, given), training=training)
                losses = list(frame.losses)
            flat, outer["tree"] = jax.tree.flatten(out)
            out_masks = [get_mask(y) for y in flat]
            outer["masked"] = [i for i, mask in enumerate(out_masks) if mask is not None]
            outer["counts"] = len(flat), len(losses), len(outer["masked"])
            return flat, losses, out_masks, frame.values()

        specs = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays]
        mask_specs = [None if m is None else jax.ShapeDtypeStruct(m.shape, m.dtype) for m in masks]
        stored = [jax.ShapeDtypeStruct(v.shape, v.stored.dtype) for v in variables]
        key = jax.ShapeDtypeStruct(_no_key().shape, "uint32")
        with marking():
            closed = jax.make_jaxpr(run)(stored, key, specs, mask_specs)
        b = Builder(self.name)
        b.whole, b.root = WHOLE, self.layer.name
        weights = [b.input(v.path, v.shape, v.stored.dtype) for v in variables]
        seed = b.input("seed", key.shape, "uint32")
        names = _input_names(self.layer, len(specs))
        data = [b.input(n, dims_of(s.shape), s.dtype) for n, s in zip(names, specs, strict=True)]
        kept = [b.input("mask", m.shape, m.dtype) for m in _present(mask_specs)]
        outputs = lower(b, closed.jaxpr, closed.consts, [*weights, seed, *data, *kept])
        graph = optimize(b.finish(outputs), PASSES)
        counts = outer["counts"]
        found = plan(graph, data, graph.outputs[: counts[0]])
        unflatten = functools.partial(jax.tree.unflatten, outer["tree"])
        return _Traced(graph, found, weights, variables, counts, outer["masked"], unflatten)


class _Traced:
    """A call of the layer inside as a graph.

    Args:
        graph: outputs of the call, its losses, the outputs' masks, and the new values of all variables.
        found: where it is rounded.
        variables: the inputs that stand for variables.
        layer_variables: those variables.
        counts: how many outputs, losses and masks there are.
        masked: the places of the outputs that have masks.
        structure: makes what the layer returned out of a list of outputs.
    """

    def __init__(
        self,
        graph: Any,
        found: Plan,
        variables: list[Value],
        layer_variables: list[Any],
        counts: tuple[int, int, int],
        masked: list[int],
        structure: Callable[[Sequence[Any]], Any],
    ):
        self.graph, self.plan, self.variables, self.layer_variables = graph, found, variables, layer_variables
        self.counts, self.masked, self.structure = counts, masked, structure

    def parts(self, found: Sequence[Any]) -> list[list[Any]]:
        """What the graph gave as outputs, losses, masks and variables."""
        ends = [0, *itertools.accumulate(self.counts), len(found)]
        return [list(found[i:j]) for i, j in itertools.pairwise(ends)]


def quantize_aware(
    model: Model, momentum: float = 0.99, freeze_after: int | None = None, weight_bits: int = 8
) -> Model:
    """A copy of a model that trains as it will compute in int8; see `QuantizeAware`.

    It starts with the model's weights, and is compiled, fitted, saved and exported like any model. Usually a
    trained model is tuned for a tenth of its epochs more, with a small learning rate.
    `export(..., format="tflite", precision="int8")` then needs no representative data.

    Args:
        model: a sequential or functional model that computes in float32; its own weights stay as they are.
        momentum: the weight of the past in the moving ranges of activations.
        freeze_after: the number of training steps after which batch normalisations take their moving statistics.
        weight_bits: from 2 to 8, for weights that are to be coarser than int8.

    Returns:
        A model that is not compiled.

    Raises:
        TypeError: it is no sequential or functional model that is built.
        ValueError: an argument is out of range, or the model does not compute in float32.

    Example:
        >>> from lamina import Input, Sequential, layers
        >>> model = Sequential([Input((8, 8, 1)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU()])
        >>> aware = quantize_aware(model)
        >>> _ = aware(np.ones((2, 8, 8, 1), "float32"), training=True)
        >>> sorted(aware.layers[-1].ranges)
        ['input_layer', 're_lu/relu']

    Reference:
        https://arxiv.org/abs/1712.05877, https://arxiv.org/abs/1806.08342
    """
    check_type("quantize_aware", "model", model, Model, "a model")
    if model.network is None:
        raise TypeError(
            f"quantize_aware: {owner_label(model)} must be a sequential or functional model that is built. Give a "
            "Sequential model an Input as its first layer; wrap parts of a subclassed one in QuantizeAware yourself."
        )
    copy = clone_model(model)
    copy.set_weights(model.get_weights())
    layer = QuantizeAware(copy, momentum, freeze_after, weight_bits, name="quantize_aware")
    inputs = map_structure(lambda s: Input(batch_shape=s.shape, dtype=s.dtype, name=s.name), model.input)
    return Model(inputs, layer(inputs), name=model.name)


def _unbounded(shape: Sequence[int], dtype: Any = None) -> jax.Array:
    """Ranges of which nothing is known: nothing is rounded."""
    return jnp.broadcast_to(jnp.asarray([-jnp.inf, jnp.inf], dtype), shape)


def _present(values: Sequence[Any]) -> list[Any]:
    return [v for v in values if v is not None]


def _no_key() -> np.ndarray:
    return np.zeros(4, np.uint32)


def _spec(shape: Any, dtype: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(tuple(PROBES[0] if d is None else d for d in shape), dtype)


def _input_names(layer: Any, count: int) -> list[str]:
    if getattr(layer, "network", None) is not None:
        return list(layer.input_names)
    return ["inputs"] if count == 1 else [f"inputs_{i}" for i in range(count)]
