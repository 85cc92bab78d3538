"""Which instructions TFLite computes in integers, and how the values between them are stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from lamina.export.calibrate import COARSEST, KEEPING, Ranges
from lamina.export.tflite.emitter import QUANTISED, WIDE, Emitter
from lamina.export.tflite.network_rules import Window
from lamina.export.tflite.tensors import FIXED, FLOAT32, INT8, Quant, Tensor, of_range
from lamina.graph.ir import Instr, Value

NARROW = frozenset("HardSwish LogSoftmax Gelu SpaceToDepth DepthToSpace".split())
"""Ops whose kernels know activations of int8, but not of int16."""
OWN = (
    "Add Sub Mul Relu Relu6 LeakyRelu HardSwish HardSigmoid Gelu Silu Sigmoid Tanh Softmax LogSoftmax ReduceMean "
    "ReduceSum"
).split()


def plan(graph: Any, ranges: Ranges, dtype: np.dtype = INT8) -> dict[Value, Quant]:
    """How each value of floats is stored.

    Args:
        graph: the graph, as it is written.
        ranges: its values' ranges, from `lamina.export.calibrate.ranges_of`.
        dtype: the integers: int8, or int16 symmetric about 0.
    """
    found = {value: of_range(*limits, dtype) for value, limits in ranges.items()}
    for value, array in graph.constants.items():
        if value.dtype == FLOAT32 and np.size(array):
            finite = np.asarray(array)[np.isfinite(array)]
            found[value] = of_range(finite.min(initial=0.0), finite.max(initial=0.0), dtype)
    for instr in graph.instrs:
        if instr.op in KEEPING and instr.inputs[0] in found:
            found.update((v, found[instr.inputs[0]]) for v in instr.outputs)
        elif dtype in FIXED.get(instr.op, {}):
            found[instr.output] = FIXED[instr.op][dtype]
    return found


def _planned(e: Emitter, instr: Instr) -> bool:
    values = [v for v in (*instr.inputs, *instr.outputs) if v.dtype.kind == "f"]
    known = e.file.plan[e.integer or INT8]
    plans = [known.get(v) if v.dtype == FLOAT32 else None for v in values]
    return all(p is not None and p.scale[0] < COARSEST for p in plans)


def _known(e: Emitter, *values: Value) -> bool:
    return all(e.known(v) is not None for v in values)


def _own(e: Emitter, instr: Instr) -> bool:
    return _planned(e, instr) and any(v.dtype == FLOAT32 for v in instr.inputs) and len(instr.output.shape) <= 4


def _keeping(e: Emitter, instr: Instr) -> bool:
    return _planned(e, instr) and e.is_stored(instr.inputs[0])


def _several(e: Emitter, instr: Instr) -> bool:
    return _planned(e, instr) and any(map(e.is_stored, instr.inputs))


def _product(e: Emitter, instr: Instr) -> bool:
    return _planned(e, instr) and len(instr.inputs[0].shape) > 1 and len(instr.inputs[1].shape) > 1


def _convolution(e: Emitter, instr: Instr) -> bool:
    return _planned(e, instr) and len(instr.attrs["strides"]) < 3 and _known(e, *instr.inputs[1:])


def _transposed(e: Emitter, instr: Instr) -> bool:
    cut = all(p >= 0 for pair in instr.attrs["pads"] for p in pair)
    return _convolution(e, instr) and cut


def _average(e: Emitter, instr: Instr) -> bool:
    value = instr.inputs[0]
    silent = cast(Emitter, _Silent())
    w = Window(silent, Tensor(0, tuple(value.shape), value.dtype), instr.attrs["window"], instr.attrs)
    return _keeping(e, instr) and w.space < 3 and w.padding() is not None


class _Silent:
    """An emitter that a `Window` can ask for shapes alone."""

    def reshape(self, x: Tensor, shape: Any) -> Tensor:
        """The tensor that a reshape would give."""
        return Tensor(0, tuple(shape), x.dtype)


def _gather(e: Emitter, instr: Instr) -> bool:
    return _planned(e, instr) and (e.is_stored(instr.inputs[0]) or _known(e, instr.inputs[0]))


_RULES: dict[str, Callable[[Emitter, Instr], bool]] = {
    **dict.fromkeys(KEEPING, _keeping), **dict.fromkeys(OWN, _own), "MatMul": _product, "Conv": _convolution,
    "DepthwiseConv": _convolution, "ConvTranspose": _transposed, "AveragePool": _average, "Gather": _gather,
    "Concat": _several, "Maximum": _several, "Minimum": _several,
}  # fmt: skip
QUANTISED.update(_RULES)
WIDE.update(op for op in _RULES if op not in NARROW)
