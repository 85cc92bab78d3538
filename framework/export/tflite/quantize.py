"""Which instructions TFLite computes in int8, and how the values between them are stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from lamina.export.calibrate import Ranges
from lamina.export.tflite.emitter import QUANTISED, Emitter
from lamina.export.tflite.network_rules import Window
from lamina.export.tflite.tensors import FLOAT32, Quant, Tensor, of_range
from lamina.graph.ir import Instr, Value

COARSEST = 64.0
"""Steps from which on values stay floats: masks add -1e9, and in 256 steps of such a range nothing else is left."""
FIXED = {
    "Softmax": Quant((1 / 256,), -128), "Sigmoid": Quant((1 / 256,), -128), "Tanh": Quant((1 / 128,), 0),
    "LogSoftmax": Quant((1 / 16,), 127),
}  # fmt: skip
"""Outputs that kernels write in one way only."""
KEEPING = frozenset(
    "Reshape Transpose BroadcastTo Split Slice Pad Tile Reverse Gather GatherND SpaceToDepth DepthToSpace MaxPool "
    "AveragePool Resize ReduceMax ReduceMin".split()
)
"""Ops whose output is stored as their input is."""
OWN = (
    "Add Sub Mul Relu Relu6 LeakyRelu HardSwish HardSigmoid Gelu Silu Sigmoid Tanh Softmax LogSoftmax ReduceMean "
    "ReduceSum"
).split()


def plan(graph: Any, ranges: Ranges) -> dict[Value, Quant]:
    """How each value of floats is stored as int8.

    Args:
        graph: the graph, as it is written.
        ranges: its values' ranges, from `lamina.export.calibrate.calibrate`.
    """
    found = {value: of_range(*limits) for value, limits in ranges.items()}
    for value, array in graph.constants.items():
        if value.dtype == FLOAT32 and np.size(array):
            finite = np.asarray(array)[np.isfinite(array)]
            found[value] = of_range(finite.min(initial=0.0), finite.max(initial=0.0))
    for instr in graph.instrs:
        if instr.op in KEEPING and instr.inputs[0] in found:
            found.update((v, found[instr.inputs[0]]) for v in instr.outputs)
        elif instr.op in FIXED:
            found[instr.output] = FIXED[instr.op]
    return found


def _planned(e: Emitter, instr: Instr) -> bool:
    values = [v for v in (*instr.inputs, *instr.outputs) if v.dtype.kind == "f"]
    plans = [e.file.plan.get(v) if v.dtype == FLOAT32 else None for v in values]
    return all(p is not None and p.scale[0] < COARSEST for p in plans) and not e.file.skip(instr.path)


def _known(e: Emitter, *values: Value) -> bool:
    return all(e.known(v) is not None for v in values)


def _own(e: Emitter, instr: Instr) -> bool:
    return _planned(e, instr) and any(v.dtype == FLOAT32 for v in instr.inputs) and len(instr.output.shape) <= 4


def _keeping(e: Emitter, instr: Instr) -> bool:
    return _planned(e, instr) and e.is_int8(instr.inputs[0])


def _several(e: Emitter, instr: Instr) -> bool:
    return _planned(e, instr) and any(map(e.is_int8, instr.inputs))


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
    return _planned(e, instr) and (e.is_int8(instr.inputs[0]) or _known(e, instr.inputs[0]))


_RULES: dict[str, Callable[[Emitter, Instr], bool]] = {
    **dict.fromkeys(KEEPING, _keeping), **dict.fromkeys(OWN, _own), "MatMul": _product, "Conv": _convolution,
    "DepthwiseConv": _convolution, "ConvTranspose": _transposed, "AveragePool": _average, "Gather": _gather,
    "Concat": _several, "Maximum": _several, "Minimum": _several,
}  # fmt: skip
QUANTISED.update(_RULES)
