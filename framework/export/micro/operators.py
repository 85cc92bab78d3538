"""Which operators TFLite Micro has, and how a program adds each to its resolver."""

from __future__ import annotations

from collections.abc import Sequence

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


def _kernels() -> dict[str, frozenset[str]]:
    moved = "float32 int8 int16 int32"
    rows = {
        "CAST CONCATENATION STRIDED_SLICE SLICE PACK": f"{moved} bool",
        "REVERSE_V2": f"{moved} bool uint8",
        "PAD PADV2 SPLIT_V MAXIMUM MINIMUM DYNAMIC_UPDATE_SLICE": moved,
        "TRANSPOSE MAX_POOL_2D SELECT_V2": "float32 int8 int16",
        "GATHER GATHER_ND SPACE_TO_DEPTH DEPTH_TO_SPACE ARG_MAX ARG_MIN REDUCE_MAX REDUCE_MIN": "float32 int8",
        "ADD SUB MUL DIV": "float32 int32",
        "GREATER GREATER_EQUAL LESS LESS_EQUAL": "float32 int32 int64",
        "EQUAL NOT_EQUAL": "float32 int32 int64 bool",
        "LOGICAL_AND LOGICAL_OR LOGICAL_NOT REDUCE_ALL": "bool",
        "ABS": "float32 int16",
        "NEG SQUARE SQUARED_DIFFERENCE EXP LOG SQRT RSQRT SIN COS FLOOR CEIL ROUND TANH LOGISTIC ELU LEAKY_RELU "
        "HARD_SWISH RELU RELU6 SOFTMAX LOG_SOFTMAX SUM MEAN CUMSUM FLOOR_DIV FLOOR_MOD AVERAGE_POOL_2D RESIZE_BILINEAR "
        "RESIZE_NEAREST_NEIGHBOR BATCH_MATMUL FULLY_CONNECTED CONV_2D DEPTHWISE_CONV_2D TRANSPOSE_CONV": "float32",
    }
    found = {op: frozenset(types.split()) for ops, types in rows.items() for op in ops.split()}
    return {**found, "CAST": found["CAST"] | {"uint32"}}


KERNELS = _kernels()
"""Operator -> the dtypes of plain numbers that its kernel computes; those that are missing take all.

Integers that stand for real numbers are another matter: all kernels take int8, and int16 those that do not take int8
alone. Measured with single operators in the interpreter; other dtypes are refused, end the program, or give wrong
numbers.
"""
_DATA = {"SELECT_V2": 1, "TRANSPOSE_CONV": 2}
"""Operators whose first input is not the data."""


def refused(op: str, inputs: Sequence[tuple[str, bool]], outputs: Sequence[tuple[str, bool]]) -> str:
    """Why Micro does not run an operator on tensors of some dtypes, or "".

    Args:
        op: the operator.
        inputs: the dtype of each input, and whether it stands for real numbers.
        outputs: the same of each output.

    Example:
        >>> refused("TRANSPOSE", [("int32", False), ("int32", False)], [("int32", False)])
        'its TRANSPOSE takes float32 or int16 or int8, not int32'
        >>> refused("ADD", [("int8", True)] * 2, [("int8", True)])
        ''
    """
    place = _DATA.get(op, 0)
    looked = [*inputs[place : place + 1], *(outputs[:1] if op == "CAST" else [])]
    kernel = KERNELS.get(op)
    if kernel is None:
        return ""
    for dtype, stored in looked:
        runs = dtype == "int8" or "int8" not in kernel or dtype in kernel if stored else dtype in kernel
        if not runs:
            return f"its {op} takes {' or '.join(sorted(kernel))}, not {dtype}"
    return ""
