"""Quantisation encodings: the ranges of an ONNX file's tensors, in the form that the vendor's converter takes.

Reference: https://quic.github.io/aimet-pages/releases/latest/quantsim/encoding_spec.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.export.onnx.program import Program
from lamina.export.onnx.tensors import ExternalFiles

VERSION = "0.6.1"
LEVELS = 255
# op -> the axis of its weights (the second input) that has a scale for each place; None for one scale
_WEIGHTS = {"Conv": 0, "ConvTranspose": 1, "MatMul": None, "Gemm": None}


def encodings(model: Any, data: Iterable[Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """The encodings of an ONNX model: activations asymmetric, weights symmetric, convolutions with a scale a channel.

    Biases have none: their scale follows from the others. Tensors inside of loops and branches have none either.

    Args:
        model: a ModelProto of floats.
        data: inputs by name, batch by batch.

    Raises:
        ValueError: there is no data, or a value is infinite or NaN.
    """
    ranges = _ranges(model, data)
    activations = {name: [_activation(low, high)] for name, (low, high) in ranges.items()}
    program = Program(model, ExternalFiles(None))
    parameters = {}
    for node in model.graph.node:
        if node.op_type in _WEIGHTS and node.input[1] in program.held:
            array = np.asarray(program.held[node.input[1]], np.float64)
            if array.size and array.ndim > 1:
                parameters[node.input[1]] = _weights(array, _WEIGHTS[node.op_type])
    return {"version": VERSION, "activation_encodings": activations, "param_encodings": parameters}


def _ranges(model: Any, data: Iterable[Mapping[str, np.ndarray]]) -> dict[str, tuple[float, float]]:
    program = Program(model, ExternalFiles(None))
    inputs = [value.name for value in model.graph.input]
    names = [*inputs, *(name for node in model.graph.node for name in node.output if name)]

    @jax.jit
    def extremes(feeds: Mapping[str, Any], weights: Mapping[str, Any]) -> dict[str, Any]:
        values = program.run(names, feeds, weights)
        return {
            name: jnp.stack([jnp.min(x), jnp.max(x)])
            for name, x in zip(names, values, strict=True)
            if jnp.issubdtype(jnp.result_type(x), jnp.floating) and jnp.size(x)
        }

    total: dict[str, np.ndarray] = {}
    for feeds in data:
        for name, found in extremes(dict(feeds), program.state.variables).items():
            low, high = np.asarray(found, np.float64)
            before = total.get(name, np.asarray([low, high]))
            total[name] = np.asarray([np.minimum(before[0], low), np.maximum(before[1], high)])
    if not total:
        raise ValueError("export to dlc: the representative data holds no batch.")
    wrong = [name for name, found in total.items() if not np.isfinite(found).all()]
    if wrong:
        raise ValueError(f"export to dlc: infinite or NaN with the representative data: {', '.join(wrong[:5])}.")
    return {name: (float(low), float(high)) for name, (low, high) in total.items()}


def _activation(low: float, high: float) -> dict[str, Any]:
    """real = scale * (stored + offset), stored from 0 to 255; 0 has no error.

    Example:
        >>> _activation(-1.0, 1.55)["offset"]
        -100
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / LEVELS or 1 / LEVELS
    offset = round(low / scale)
    return {
        "bitwidth": 8, "dtype": "int", "is_symmetric": "False", "min": scale * offset, "max": scale * (offset + LEVELS),
        "offset": offset, "scale": scale,
    }  # fmt: skip


def _weights(array: np.ndarray, axis: int | None) -> list[dict[str, Any]]:
    parts = [array] if axis is None else np.moveaxis(array, axis, 0)
    found = []
    for part in parts:
        scale = float(np.abs(part).max()) / 127 or 1 / 127
        found.append(
            {
                "bitwidth": 8,
                "dtype": "int",
                "is_symmetric": "True",
                "min": -128 * scale,
                "max": 127 * scale,
                "offset": -128,
                "scale": scale,
            }  # fmt: skip
        )
    return found
