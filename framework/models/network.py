"""The graph behind a functional model: the calls between its inputs and its outputs, in an order that can be run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.errors import ShapeError, describe, listing, owner_label
from lamina.core.naming import free_name, snake_case
from lamina.core.nest import map_structure, pack
from lamina.layers.input_layer import Input, InputLayer
from lamina.layers.layer import Layer
from lamina.ops.symbol import Node, Symbol, symbols_in
from lamina.state.masks import get_mask, set_mask


@dataclass(eq=False)
class Operation:
    """A layer of a network with all its calls there, or a single call of an op.

    Attributes:
        name: the layer's name, or that of the op with a number.
        target: the layer, or the op's function.
        nodes: the calls.
    """

    target: Any
    nodes: list[Node] = field(default_factory=list)
    _name: str = ""

    @property
    def is_layer(self) -> bool:
        """Whether a layer, and not an op, is called."""
        return isinstance(self.target, Layer)

    @property
    def name(self) -> str:
        """The name, unique in the network."""
        return self.target.name if self.is_layer else self._name

    @property
    def class_name(self) -> str:
        """The class of the layer, or the op's name."""
        return type(self.target).__name__ if self.is_layer else self.target.__name__


class Network:
    """The recorded calls that lead from input symbols to output symbols.

    An input that is not an `Input`, but what some layer returned, is replaced by an Input of its shape: what came
    before it is no part of the network.

    Args:
        inputs: a symbol, or a list, tuple or dict of symbols.
        outputs: likewise.
        owner: how errors name the model.

    Raises:
        ValueError: an output does not depend on the inputs alone, or two layers share a name.
    """

    def __init__(self, inputs: Any, outputs: Any, owner: str):
        self.owner = owner
        for what, structure in (("inputs", inputs), ("outputs", outputs)):
            leaves = jax.tree.leaves(structure)
            wrong = [x for x in leaves if not isinstance(x, Symbol)]
            if wrong or not leaves:
                got = describe(wrong[0]) if wrong else "nothing"
                cure = " Leave out .value and numpy arrays: call layers on Input(shape) instead." if wrong else ""
                raise TypeError(f"{owner}: {what} must be what Input() and layers return, got {got}.{cure}")
        given = symbols_in(inputs)
        if len({id(s) for s in given}) < len(given):
            raise ValueError(f"{owner}: inputs must not name one Input twice, got {[s.name for s in given]}.")
        self.input_symbols = [s if _is_input(s) else _stand_in(s) for s in given]
        self.output_symbols = symbols_in(outputs)
        # by the identity of the symbol that the layers were called on
        self._entry = {id(s): entry for s, entry in zip(given, self.input_symbols, strict=True)}
        self._given = given  # keeps those identities alive
        self.inputs, self.outputs = pack(inputs, self.input_symbols), outputs
        self.nodes = self._nodes()
        self.operations = self._operations()
        self.layers: list[Layer] = [o.target for o in self.operations if o.is_layer]
        settle_names(self.layers, owner)
        _name_ops(self.operations)
        for symbol in self.input_symbols:
            symbol.name = symbol.node.operation.name

    def maker(self, symbol: Symbol) -> tuple[Node, int]:
        """The call in this network that makes a symbol, and the symbol's place among its outputs."""
        symbol = self._entry.get(id(symbol), symbol)
        return symbol.node, symbol.index

    def _nodes(self) -> list[Node]:
        """All calls, each after those that it needs."""
        done: set[int] = set()
        order: list[Node] = []
        self._met: dict[int, int] = {}
        stack: list[tuple[Symbol, bool]] = [(s, False) for s in reversed(self.output_symbols)]
        while stack:
            symbol, leaving = stack.pop()
            node, _ = self.maker(symbol)
            if node is None:
                raise ValueError(f"{self.owner}: the outputs depend on a symbol {symbol} that no Input leads to.")
            if id(node) in done:
                continue
            if leaving:
                done.add(id(node))
                order.append(node)
                continue
            self._met.setdefault(_identity(node), len(self._met))
            stack.append((symbol, True))
            if id(symbol) in self._entry:
                continue
            if isinstance(node.operation, InputLayer):
                raise ValueError(
                    f"{self.owner}: the outputs depend on Input '{symbol.name}' of shape {symbol.shape}, which is not "
                    f"among the inputs {listing([s.name for s in self.input_symbols], 'and')}. Add it to inputs=."
                )
            stack.extend((s, False) for s in reversed(node.inputs) if id(self.maker(s)[0]) not in done)
        return order

    def _operations(self) -> list[Operation]:
        """What is called, each once: far from the outputs first, then as a walk back from the outputs meets it."""
        by_node: dict[int, int] = {}
        depth: dict[int, int] = {}
        found: dict[int, Operation] = {}
        for node in reversed(self.nodes):
            key = _identity(node)
            found.setdefault(key, Operation(node.operation))
            depth[key] = by_node[id(node)] = max(by_node.get(id(node), 0), depth.get(key, 0))
            for symbol in node.inputs:
                before = id(self.maker(symbol)[0])
                by_node[before] = max(by_node[id(node)] + 1, by_node.get(before, 0))
        for node in self.nodes:
            found[_identity(node)].nodes.append(node)
        for symbol in self.input_symbols:
            key = _identity(symbol.node)
            if key not in found:  # an input that nothing uses
                found[key] = Operation(symbol.node.operation, [symbol.node])
                self._met[key] = -1
        keys = sorted(found, key=lambda k: (-depth.get(k, 0), self._met[k]))
        return [found[k] for k in keys]

    def run(self, inputs: Any, replaced: Mapping[int, Any] | None = None) -> Any:
        """The outputs for arrays (or symbols) in the structure of the inputs.

        Args:
            inputs: arrays, or symbols.
            replaced: layers to call in place of others, by the identity of the other.
        """
        values: dict[int, Any] = {}
        for symbol, entry, x in zip(self._given, self.input_symbols, self.match(inputs), strict=True):
            values[id(symbol)] = values[id(entry)] = x
        entries = {id(s.node) for s in self.input_symbols}

        def fill(x: Any) -> Any:
            return values[id(x)] if isinstance(x, Symbol) else x

        for node in self.nodes:
            if id(node) in entries:
                continue
            args, kwargs = jax.tree.map(fill, (node.args, node.kwargs))
            operation = node.operation if replaced is None else replaced.get(id(node.operation), node.operation)
            results = jax.tree.leaves(operation(*args, **kwargs))
            for symbol, x in zip(symbols_in(node.outputs), results, strict=True):
                values.setdefault(id(symbol), x)
        return map_structure(fill, self.outputs)

    def match(self, inputs: Any) -> list[Any]:
        """The given inputs in the order of the input symbols, in their dtype and rank.

        Raises:
            ValueError: there are more or fewer inputs, or a name is missing.
            ShapeError: a shape does not fit.
        """
        names = [s.name for s in self.input_symbols]
        if isinstance(self.inputs, dict) and not isinstance(inputs, dict) and len(names) > 1:
            raise ValueError(
                f"{self.owner}: expected a dict with keys {listing(sorted(self.inputs), 'and')}, got "
                f"{describe(inputs)}. Pass the inputs by name."
            )
        if isinstance(inputs, dict):
            keys = sorted(self.inputs) if isinstance(self.inputs, dict) else names
            missing = [k for k in keys if k not in inputs]
            if missing:
                raise ValueError(
                    f"{self.owner}: input {listing(missing, 'and')} is missing from the dict with keys "
                    f"{listing(list(inputs), 'and')}. The model's inputs are {listing(keys, 'and')}."
                )
            flat = [x for k in keys for x in jax.tree.leaves(inputs[k], is_leaf=lambda v: v is None)]
        else:
            flat = jax.tree.leaves(inputs, is_leaf=lambda v: v is None)
        if len(flat) != len(names):
            raise ValueError(
                f"{self.owner}: expected {len(names)} inputs ({listing(names, 'and')}), got {len(flat)}. "
                "Pass a list with one array for each input, or a dict by name."
            )
        return [self._fit(s, x) for s, x in zip(self.input_symbols, flat, strict=True)]

    def _fit(self, symbol: Symbol, x: Any) -> Any:
        """One input, with a last axis of size 1 added or dropped where only that is amiss, in the symbol's dtype."""
        if x is None:
            if symbol.node.operation.optional:
                return None
            raise ValueError(
                f"{self.owner}: input '{symbol.name}' of shape {symbol.shape} is missing, got None. Pass an array, or "
                "make it Input(..., optional=True)."
            )
        shape, wanted = tuple(x.shape), symbol.shape
        if len(shape) == len(wanted) - 1 and wanted[-1] == 1:
            x = x[..., None]
        elif len(shape) == len(wanted) + 1 and shape[-1] == 1:
            x = x[..., 0]
        shape = tuple(x.shape)
        fits = len(shape) == len(wanted) and all(
            w in (None, d) or d is None for d, w in zip(shape, wanted, strict=True)
        )
        if not fits:
            cure = ""
            if len(shape) == len(wanted) - 1:
                cure = " Is the batch axis missing? x[None] adds one; x[..., None] adds a channel axis."
            raise ShapeError(f"{self.owner}: input '{symbol.name}' expects shape {wanted}, got {shape}.{cure}")
        if isinstance(x, Symbol) or str(x.dtype) == symbol.dtype or symbol.dtype == "string":
            return x
        if isinstance(x, (jax.Array, np.ndarray)):
            cast = jnp.asarray(x).astype(symbol.dtype)
            set_mask(cast, get_mask(x))
            return cast
        return x


def _is_input(symbol: Symbol) -> bool:
    return symbol.node is not None and isinstance(symbol.node.operation, InputLayer)


def _stand_in(symbol: Symbol) -> Symbol:
    """An Input of the shape of a symbol that a layer made."""
    return Input(batch_shape=symbol.shape, dtype=symbol.dtype)


def _identity(node: Node) -> int:
    """What calls of one operation have in common: the layer; each call of an op stands alone."""
    return id(node.operation) if isinstance(node.operation, Layer) else id(node)


def settle_names(layers: list[Layer], owner: str) -> None:
    """Numbers the layers that were given no name (dense, dense_1, ...), and refuses names used twice.

    A layer that has its number from another model keeps it, unless another layer of this model has it too.

    Raises:
        ValueError: two layers were given the same name.
    """
    taken: dict[str, Layer] = {}
    for layer in layers:
        if layer.auto_named:
            continue
        if layer.name in taken and taken[layer.name] is not layer:
            raise ValueError(
                f"{owner}: two layers are named '{layer.name}' ({owner_label(taken[layer.name])} and "
                f"{owner_label(layer)}). Give each layer of a model its own name=, or none."
            )
        taken[layer.name] = layer
    for layer in layers:
        if layer.auto_named:
            if layer.name in taken:
                layer.name = free_name(snake_case(type(layer).__name__), taken)
            taken[layer.name] = layer


def _name_ops(operations: list[Operation]) -> None:
    """Names the calls of ops: add, add_1, ..., beside the names of the layers."""
    taken = {o.name: o.target for o in operations if o.is_layer}
    for operation in operations:
        if not operation.is_layer:
            operation._name = free_name(operation.class_name, taken)
            taken[operation._name] = operation.target
