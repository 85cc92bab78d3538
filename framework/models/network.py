"""The graph behind a functional model: the calls between its inputs and its outputs, in an order that can be run."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.errors import ShapeError, listing, owner_label
from lamina.layers.input_layer import InputLayer
from lamina.layers.layer import Layer
from lamina.ops.symbol import Node, Symbol, symbols_in
from lamina.state.masks import get_mask, set_mask


class Network:
    """The recorded calls that lead from input symbols to output symbols.

    Args:
        inputs: a symbol, or a list, tuple or dict of symbols.
        outputs: likewise.
        owner: how errors name the model.

    Raises:
        ValueError: an output does not depend on the inputs alone, or two layers share a name.
    """

    def __init__(self, inputs: Any, outputs: Any, owner: str):
        self.inputs, self.outputs = inputs, outputs
        self.owner = owner
        self.input_symbols, self.output_symbols = symbols_in(inputs), symbols_in(outputs)
        for what, structure in (("inputs", inputs), ("outputs", outputs)):
            leaves = jax.tree.leaves(structure)
            wrong = [x for x in leaves if not isinstance(x, Symbol)]
            if wrong or not leaves:
                got = f"a {type(wrong[0]).__name__}" if wrong else "nothing"
                raise TypeError(f"{owner}: {what} must be what Input() and layers return, got {got}.")
        self.nodes = self._nodes()
        self.operations = self._operations()
        self.layers: list[Layer] = [o for o in self.operations if isinstance(o, Layer)]
        settle_names(self.layers, owner)
        for symbol in self.input_symbols:
            if symbol.node is not None and isinstance(symbol.node.operation, InputLayer):
                symbol.name = symbol.node.operation.name

    def _nodes(self) -> list[Node]:
        """All calls, each after those that it needs."""
        done: set[int] = set()
        order: list[Node] = []
        stop = set(map(id, self.input_symbols))
        self._first_met: dict[int, int] = {}
        stack: list[tuple[Symbol, bool]] = [(s, False) for s in reversed(self.output_symbols)]
        while stack:
            symbol, leaving = stack.pop()
            node = symbol.node
            if node is None:
                raise ValueError(f"{self.owner}: the outputs depend on a symbol {symbol} that no Input leads to.")
            if id(node) in done:
                continue
            if leaving:
                done.add(id(node))
                order.append(node)
                continue
            self._first_met.setdefault(id(node.operation), len(self._first_met))
            stack.append((symbol, True))
            if id(symbol) in stop:
                continue
            if isinstance(node.operation, InputLayer):
                raise ValueError(
                    f"{self.owner}: the outputs depend on Input '{symbol.name}' of shape {symbol.shape}, which is not "
                    f"among the inputs {listing([s.name for s in self.input_symbols], 'and')}. Add it to inputs=."
                )
            stack.extend((s, False) for s in reversed(node.inputs) if id(s.node) not in done)
        return order

    def _operations(self) -> list[Any]:
        """What is called, each once: far from the outputs first, then as a walk back from the outputs meets it."""
        by_node: dict[int, int] = {}
        depth: dict[int, int] = {}
        found: dict[int, Any] = {}
        stop = set(map(id, self.input_symbols))
        for node in reversed(self.nodes):
            key = id(node.operation)
            found[key] = node.operation
            depth[key] = by_node[id(node)] = max(by_node.get(id(node), 0), depth.get(key, 0))
            if not any(id(s) in stop for s in symbols_in(node.outputs)):
                for symbol in node.inputs:
                    before = id(symbol.node)
                    by_node[before] = max(by_node[id(node)] + 1, by_node.get(before, 0))
        for symbol in self.input_symbols:
            if symbol.node is not None and id(symbol.node.operation) not in found:  # an input that nothing uses
                found[id(symbol.node.operation)] = symbol.node.operation
                self._first_met[id(symbol.node.operation)] = -1
        keys = sorted(found, key=lambda k: (-depth.get(k, 0), self._first_met[k]))
        return [found[k] for k in keys]

    def run(self, inputs: Any) -> Any:
        """The outputs for arrays (or symbols) in the structure of the inputs."""
        values: dict[int, Any] = {}
        for symbol, x in zip(self.input_symbols, self.match(inputs), strict=True):
            values[id(symbol)] = x

        def fill(x: Any) -> Any:
            return values[id(x)] if isinstance(x, Symbol) else x

        for node in self.nodes:
            produced = symbols_in(node.outputs)
            if all(id(s) in values for s in produced):
                continue
            args, kwargs = jax.tree.map(fill, (node.args, node.kwargs))
            results = jax.tree.leaves(node.operation(*args, **kwargs))
            for symbol, x in zip(produced, results, strict=True):
                values.setdefault(id(symbol), x)
        return jax.tree.map(fill, self.outputs)

    def match(self, inputs: Any) -> list[Any]:
        """The given inputs in the order of the input symbols, in their dtype and rank.

        Raises:
            ValueError: there are more or fewer inputs, or a name is missing.
            ShapeError: a shape does not fit.
        """
        names = [s.name for s in self.input_symbols]
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
            return None
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


def settle_names(layers: list[Layer], owner: str) -> None:
    """Numbers the layers that were given no name (dense, dense_1, ...), and refuses names used twice.

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
            base, n = layer.name, 0
            while layer.name in taken:
                n += 1
                layer.name = f"{base}_{n}"
            layer.auto_named = False
            taken[layer.name] = layer
