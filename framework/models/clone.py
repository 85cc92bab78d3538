"""Copies of models with new weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from lamina.core.checks import check_type
from lamina.core.errors import describe, listing, owner_label
from lamina.layers.input_layer import Input, InputLayer
from lamina.layers.layer import Layer
from lamina.models.model import Model
from lamina.models.sequential import Sequential
from lamina.ops.symbol import Symbol


def clone_model(
    model: Model,
    input_tensors: Any = None,
    clone_function: Callable[[Layer], Layer] | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
) -> Model:
    """A model like `model`, with new layers and new weights.

    Args:
        model: a sequential, functional or subclassed model.
        input_tensors: symbols to build a sequential or functional copy on; by default new Inputs.
        clone_function: makes the copy of a layer, or another layer in its place; by default from its config.
        call_function: `call_function(new_layer, *args, **kwargs)` calls the new layers of a functional model, in place
            of `new_layer(*args, **kwargs)`.
        recursive: whether `clone_function` is given the layers inside nested models too, rather than these models.

    Returns:
        The copy, not compiled. `copy.set_weights(model.get_weights())` gives it the same weights.

    Raises:
        ValueError: a subclassed model is given `input_tensors`, `clone_function` or `call_function`.
        TypeError: `clone_function` returns something else than a layer.

    Example:
        >>> from lamina import Input, Sequential, layers
        >>> model = Sequential([Input((4,)), layers.Dense(2), layers.Dense(1)])
        >>> wide = clone_model(model, clone_function=lambda layer: layers.Dense(layer.units * 10))
        >>> wide.output_shape
        (None, 10)
    """
    check_type("clone_model", "model", model, Model, "a model")
    given = {"input_tensors": input_tensors, "clone_function": clone_function, "call_function": call_function}
    used = [name for name, value in given.items() if value is not None]
    own_graph = model.network is not None and "inputs" in model._captured
    if isinstance(model, Sequential) or own_graph or (model.network is not None and used):
        copy_layer = _copier(clone_function, call_function, recursive)
        if isinstance(model, Sequential):
            return _clone_sequential(model, input_tensors, copy_layer)
        return _clone_functional(model, input_tensors, copy_layer, call_function)
    if used:
        raise ValueError(
            f"clone_model: {listing(used, 'and')} must be left out for {owner_label(model)}, whose layers are only "
            "known to its own call method. Sequential and functional models take them."
        )
    return type(model).from_config(model.get_config())


def _copier(clone_function: Any, call_function: Any, recursive: bool) -> Callable[[Layer], Layer]:
    def copy(layer: Layer) -> Layer:
        if isinstance(layer, Model) and (recursive or clone_function is None):
            return clone_model(layer, None, clone_function, call_function, recursive)
        if isinstance(layer, InputLayer) or clone_function is None:
            return type(layer).from_config(layer.get_config())
        made = clone_function(layer)
        if not isinstance(made, Layer):
            raise TypeError(
                f"clone_model: clone_function must return a layer, got {describe(made)} for {owner_label(layer)}. "
                "Return the layer itself to share it."
            )
        return made

    return copy


def _clone_sequential(model: Sequential, input_tensors: Any, copy_layer: Callable[[Layer], Layer]) -> Model:
    layers: list[Any] = [copy_layer(layer) for layer in model.layers]
    if input_tensors is not None:
        (symbol,) = _check_inputs(input_tensors, 1)
        layers.insert(0, symbol)
    elif model._input is not None:
        layers.insert(0, Input(batch_shape=model._input.shape, dtype=model._input.dtype, name=model._input.name))
    return type(model)(layers, name=model.name, trainable=model.trainable)


def _clone_functional(
    model: Model, input_tensors: Any, copy_layer: Callable[[Layer], Layer], call_function: Any
) -> Model:
    network: Any = model.network
    replaced: dict[int, Any] = {id(layer): copy_layer(layer) for layer in network.layers}
    if input_tensors is None:
        inputs = jax.tree.map(lambda s: replaced[id(s.node.operation)].output, network.inputs)
    else:
        _check_inputs(input_tensors, len(network.input_symbols))
        inputs = input_tensors
    if call_function is not None:
        replaced = {key: _Through(layer, call_function) for key, layer in replaced.items()}
    outputs = network.run(inputs, replaced)
    if "inputs" not in model._captured:  # a class whose own constructor makes the graph
        return Model(inputs, outputs, name=model.name, trainable=model.trainable)
    known = ("name", "trainable", "layers", "input_layers", "output_layers")
    rest = {k: v for k, v in model.get_config().items() if k not in known}
    return type(model)(inputs=inputs, outputs=outputs, name=model.name, trainable=model.trainable, **rest)


class _Through:
    """A layer that is called by `call_function`."""

    def __init__(self, layer: Layer, call_function: Callable[..., Any]):
        self.layer, self.call_function = layer, call_function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.call_function(self.layer, *args, **kwargs)


def _check_inputs(given: Any, count: int) -> list[Symbol]:
    symbols = jax.tree.leaves(given)
    if len(symbols) != count or not all(isinstance(s, Symbol) for s in symbols):
        raise ValueError(
            f"clone_model: input_tensors must hold {count} symbols such as Input() returns, got {describe(given)}."
        )
    return symbols
