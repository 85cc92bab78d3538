"""Which operators TFLite Micro has, and how a program adds each to its resolver."""

from __future__ import annotations

from lamina.export.tflite.schema import OPERATORS

MISSING = frozenset(
    "ATAN2 BITWISE_XOR CONV_3D CONV_3D_TRANSPOSE GELU ONE_HOT POW RANGE REDUCE_ANY REDUCE_PROD RIGHT_SHIFT SCATTER_ND "
    "SIGN TILE TOPK_V2".split()
)
"""Operators of TFLite files that Micro does not run (version 0.dev20261023).

Reference: https://github.com/tensorflow/tflite-micro/blob/main/tensorflow/lite/micro/micro_mutable_op_resolver.h
"""
_UNLIKE = {"CUMSUM": "CumSum", "PADV2": "PadV2", "TOPK_V2": "TopKV2"}


def method(op: str) -> str:
    """The method of `MicroMutableOpResolver` that adds an operator.

    Example:
        >>> method("DEPTHWISE_CONV_2D"), method("PADV2"), method("FULLY_CONNECTED")
        ('AddDepthwiseConv2D', 'AddPadV2', 'AddFullyConnected')
    """
    parts = (part if part[0].isdigit() else part.capitalize() for part in op.split("_"))
    return "Add" + _UNLIKE.get(op, "".join(parts))


METHODS = {op: method(op) for op in OPERATORS if op not in MISSING}
"""Operator -> the method that adds it."""
