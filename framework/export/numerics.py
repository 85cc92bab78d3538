"""numerics: how far a model in fewer bits is from the model in floats, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.export.calibrate import batches, feeds
from lamina.export.numerics_report import NumericsReport, TensorError
from lamina.export.rules import TARGETS
from lamina.export.tflite.flatbuffer import Reader
from lamina.export.tflite.reader import Program
from lamina.export.tflite.writer import assemble
from lamina.graph.base import GraphBase
from lamina.graph.interpret import evaluate
from lamina.graph.ir import Value
from lamina.graph.trace import trace

SIGNATURE = "serving_default"


def numerics(
    model: Any,
    representative: Any,
    precision: str = "int8",
    *,
    specs: Sequence[Any] | None = None,
    steps: int | None = None,
    **options: Any,
) -> NumericsReport:
    """Compares a model with the same model in fewer bits, layer by layer, on data.

    The model is written as a TFLite file in memory, and that file's own arithmetic is run: integers with the scales and
    zero points that a device would use, and all its tensors looked at. Each tensor is measured twice. As deployed, the
    error is that of everything before it too; alone, the layer is given what the model of floats gives it, so that its
    error is its own: that of its weights, of how its inputs are stored, and of how its output is.

    Args:
        model: a model, a layer or function with `specs`, or a `Graph`.
        representative: a Dataset, an array, or batches, as `lamina.export.calibrate.calibrate` takes them.
        precision: `"int8"`, `"int16x8"`, `"dynamic"`, `"float16"` or `"float32"`.
        specs: the specs of the arguments, as `lamina.graph.trace` takes them; None for a model made from `Input`.
        steps: how many batches are compared; None for all.
        **options: of `lamina.export.tflite.writer.write_tflite`: `calibration`, `float_layers`, `layer_precision`...

    Returns:
        A `NumericsReport`, the worst layer first: `print` it, `plot()` it, `save("errors.svg")`.

    Raises:
        ValueError: there is no data, or it does not fit.
        ExportError: the model cannot be written in that precision.

    Example:
        >>> from lamina import Input, Sequential, layers
        >>> model = Sequential([Input((4,)), layers.Dense(8, "relu"), layers.Dense(2)])
        >>> report = numerics(model, np.random.default_rng(0).normal(size=(64, 4)).astype("float32"))
        >>> sorted(report.layers), report.worst.snr > 20
        (['(input)', 'dense', 'dense_1'], True)
    """
    graph = model if isinstance(model, GraphBase) else trace(model, *(specs or ()), keep=tuple(TARGETS["tflite"].own))
    needs = {"representative_data": representative} if precision in ("int8", "int16x8") else {}
    made = assemble({SIGNATURE: graph}, precision=precision, **needs, **options)
    ready, emitter = made.ready[SIGNATURE], made.emitters[SIGNATURE]
    program = Program(Reader(made.data).root("Model"), emitter.number)
    floats = [v for v in (*ready.inputs, *(o for i in ready.instrs for o in i.outputs)) if v.dtype == np.float32]
    places = {v: t.index for v in dict.fromkeys(floats) if (t := emitter.found(v)) is not None}
    run = File(program, emitter.number)
    written = set(run.makers) | set(emitter.entry["inputs"])
    last = {i: v for v, i in places.items()}  # what is merged has the tensor of what it is merged into
    places = {v: i for v, i in places.items() if i in written and last[i] is v}
    values = list(places)
    inputs = dict(zip(ready.inputs, emitter.entry["inputs"], strict=True))

    @jax.jit
    def compared(arrays: Sequence[Any]) -> Any:
        wanted = evaluate(ready, values, dict(zip(ready.inputs, arrays, strict=True)))
        entered = {inputs[v]: run.stored(inputs[v], a) for v, a in zip(ready.inputs, arrays, strict=True)}
        known = dict(entered)
        deployed = [run.tensor(places[v], known) for v in values]
        exact = {**entered, **{places[v]: run.stored(places[v], w) for v, w in zip(values, wanted, strict=True)}}
        rows = []
        for value, want, got in zip(values, wanted, deployed, strict=True):
            place = places[value]
            others = {i: a for i, a in exact.items() if i != place}
            alone = exact[place] if place not in run.makers else run.tensor(place, others)
            rows.append(_measured(want, got, alone, run.limits(place)))
        return jnp.stack(rows)

    total: np.ndarray | None = None
    for number, element in enumerate(batches(ready, representative)):
        if steps is not None and number >= steps:
            break
        total = _joined(total, np.asarray(compared(feeds(ready, element)), np.float64))
    if total is None:
        raise ValueError("numerics: the representative data holds no batch.")
    return NumericsReport(precision, [_row(ready, v, run, places[v], r) for v, r in zip(values, total, strict=True)])


class File:
    """The tensors of a graph of a file, each computed from others that are given.

    Args:
        program: the file.
        number: the graph.
    """

    def __init__(self, program: Program, number: int):
        self.program, self.number = program, number
        self.makers = {i: o for o in program.graphs[number].get("operators", []) for i in o["outputs"]}

    def tensor(self, index: int, known: dict[int, Any]) -> Any:
        """A tensor; what is computed on the way is added to `known`."""
        if index == -1:
            return None
        if index not in known:
            operator = self.makers.get(index)
            if operator is None:
                known[index] = self.program.constant(self.number, index)
            else:
                op = self.program.code(operator)
                given = [self.tensor(i, known) for i in operator.get("inputs", [])]
                made = self.program.compute(op, operator, given)
                for place, array in zip(operator["outputs"], made, strict=True):
                    known.setdefault(place, self.program.stored(op, self.number, place, array))
        return known[index]

    def stored(self, index: int, array: Any) -> Any:
        """An array as a tensor of the file holds it."""
        return self.program.stored("", self.number, index, array)

    def limits(self, index: int) -> tuple[float, float]:
        """The least and the greatest number that a tensor can hold."""
        known = self.program.tensor(self.number, index)
        if known.scale is None:
            return -np.inf, np.inf
        info = np.iinfo(known.dtype)
        scale = float(np.max(known.scale))
        return scale * (info.min - known.zero), scale * (info.max - known.zero)


# columns of the sums over all elements; the first three are joined by their extremes
_EXTREMES: list[Callable[..., Any]] = [np.minimum, np.maximum, np.maximum, np.maximum]


def _measured(want: Any, got: Any, alone: Any, limits: tuple[float, float]) -> jax.Array:
    """Extremes of the reference, greatest errors, and sums: errors, squares, elements outside the limits, elements."""
    first, second = jnp.abs(got - want), jnp.abs(alone - want)
    step = (limits[1] - limits[0]) / 510 if np.isfinite(limits[0]) else 0.0
    outside = (want < limits[0] - step) | (want > limits[1] + step)
    number = want.size
    parts = [
        jnp.min(want), jnp.max(want), jnp.max(first), jnp.max(second), jnp.sum(first), jnp.sum(second),
        jnp.sum(first**2), jnp.sum(second**2), jnp.sum(want**2), jnp.sum(outside), number,
    ]  # fmt: skip
    return jnp.stack([jnp.asarray(p, jnp.float32) for p in parts])


def _joined(total: np.ndarray | None, found: np.ndarray) -> np.ndarray:
    if total is None:
        return found
    extremes = [join(total[:, i], found[:, i]) for i, join in enumerate(_EXTREMES)]
    return np.concatenate([np.stack(extremes, 1), total[:, 4:] + found[:, 4:]], 1)


def _row(graph: Any, value: Value, run: File, place: int, sums: np.ndarray) -> TensorError:
    low, high, most, most_alone, error, error_alone, squares, squares_alone, signal, outside, count = sums.tolist()
    known = run.program.tensor(run.number, place)
    maker = graph.producers().get(value)
    return TensorError(
        name=value.name,
        layer=(maker.path or "(no layer)") if maker is not None else "(input)",
        op=maker.label if maker is not None else "Input",
        dtype=known.dtype.name,
        scale=None if known.scale is None else float(np.max(known.scale)),
        zero=known.zero,
        low=low,
        high=high,
        saturated=outside / count,
        max_error=most,
        mean_error=error / count,
        snr=_decibels(signal, squares),
        alone_max_error=most_alone,
        alone_mean_error=error_alone / count,
        alone_snr=_decibels(signal, squares_alone),
    )


def _decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise); infinite where there is no noise."""
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal > 0 else float("-inf")
