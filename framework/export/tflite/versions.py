"""Versions of operators: the least that a runtime must know for the types and options that are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lamina.export.tflite.tensors import FLOAT32, INT8, INT16, Tensor

# op -> versions for float32, int8 and int16; 1 for others
_VERSIONS: dict[str, tuple[int, int, int]] = {}


def _note(versions: tuple[int, int, int], ops: str) -> None:
    _VERSIONS.update(dict.fromkeys(ops.split(), versions))


_note((1, 3, 1), "TILE REVERSE_V2")
_note((1, 2, 1), "LOG_SOFTMAX SQUARED_DIFFERENCE SQRT SUM ARG_MAX ARG_MIN STRIDED_SLICE SPACE_TO_DEPTH DEPTH_TO_SPACE")
_note((1, 2, 1), "TRANSPOSE_CONV GELU GREATER LESS_EQUAL NOT_EQUAL")
_note((1, 2, 2), "EXP LOG SPLIT_V")
_note((1, 2, 3), "BATCH_MATMUL MAX_POOL_2D AVERAGE_POOL_2D SOFTMAX LOGISTIC TANH RELU RELU6 ADD RSQRT ABS MEAN")
_note((1, 2, 3), "REDUCE_MAX REDUCE_MIN CONCATENATION PAD PADV2 PACK TOPK_V2 GREATER_EQUAL LESS")
_note((1, 2, 4), "MUL MAXIMUM MINIMUM SLICE GATHER EQUAL")
_note((1, 2, 5), "SUB TRANSPOSE")
_note((1, 1, 2), "LEAKY_RELU")
_note((1, 1, 3), "GATHER_ND")
_note((1, 3, 4), "CONV_2D")
_note((1, 3, 5), "DEPTHWISE_CONV_2D")
_note((1, 4, 7), "FULLY_CONNECTED")
_note((2, 3, 3), "BROADCAST_TO")
_note((3, 3, 4), "RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR")
# (op, version) -> the first TensorFlow whose runtime knows it, where that is later than 1.5.0
_RUNTIMES = {
    ("FULLY_CONNECTED", 3): "1.14.0", ("FULLY_CONNECTED", 4): "1.14.0", ("FULLY_CONNECTED", 5): "2.0.0",
    ("FULLY_CONNECTED", 6): "2.1.0", ("FULLY_CONNECTED", 9): "2.3.0", ("FULLY_CONNECTED", 12): "2.17.0",
    ("CONV_2D", 3): "1.14.0", ("CONV_2D", 5): "2.4.0", ("CONV_2D", 6): "2.9.0", ("DEPTHWISE_CONV_2D", 2): "1.12.0",
    ("DEPTHWISE_CONV_2D", 3): "1.14.0", ("DEPTHWISE_CONV_2D", 6): "2.3.0", ("DEQUANTIZE", 2): "1.14.0",
    ("DEQUANTIZE", 3): "1.15.0", ("QUANTIZE", 1): "1.14.0", ("RESIZE_BILINEAR", 3): "2.2.0",
    ("RESIZE_NEAREST_NEIGHBOR", 3): "2.3.0", ("BATCH_MATMUL", 1): "2.3.0", ("BATCH_MATMUL", 2): "2.3.0",
    ("BATCH_MATMUL", 4): "2.5.0", ("SELECT_V2", 1): "2.2.0", ("BROADCAST_TO", 2): "2.5.0", ("GELU", 1): "2.9.0",
    ("GELU", 2): "2.9.0", ("WHILE", 1): "1.15.0", ("IF", 1): "1.15.0", ("DYNAMIC_UPDATE_SLICE", 1): "2.9.0",
    ("CUMSUM", 1): "2.4.0", ("CONV_3D", 1): "2.5.0", ("CONV_3D_TRANSPOSE", 1): "2.6.0", ("GATHER", 5): "2.5.0",
    ("ATAN2", 1): "2.10.0", ("SIGN", 1): "2.11.0", ("REDUCE_ALL", 1): "2.6.0", ("BITWISE_XOR", 1): "2.12.0",
    ("RIGHT_SHIFT", 1): "2.12.0", ("HARD_SWISH", 1): "1.15.0", ("TRANSPOSE_CONV", 3): "2.3.0",
    ("SCATTER_ND", 1): "2.1.0", ("GATHER_ND", 1): "1.14.0", ("ROUND", 1): "1.15.0", ("ELU", 1): "1.14.0",
    ("CONV_2D", 4): "2.3.0", ("DEPTHWISE_CONV_2D", 5): "2.3.0", ("FULLY_CONNECTED", 7): "2.3.0", ("ADD", 3): "2.4.0",
    ("SUB", 5): "2.4.0", ("MUL", 4): "2.3.0", ("MAXIMUM", 4): "2.3.0", ("MINIMUM", 4): "2.3.0",
    ("BATCH_MATMUL", 3): "2.4.0", ("MAX_POOL_2D", 3): "2.3.0", ("AVERAGE_POOL_2D", 3): "2.3.0",
    ("SOFTMAX", 3): "2.3.0", ("LOGISTIC", 3): "2.3.0", ("TANH", 3): "2.3.0", ("RELU", 3): "2.5.0",
    ("RELU6", 3): "2.5.0", ("RELU", 2): "2.1.0", ("MEAN", 3): "2.4.0", ("REDUCE_MAX", 3): "2.5.0",
    ("REDUCE_MIN", 3): "2.5.0", ("CONCATENATION", 3): "2.3.0", ("PAD", 3): "2.4.0", ("PADV2", 3): "2.4.0",
    ("SLICE", 4): "2.4.0", ("GATHER", 4): "2.4.0", ("TRANSPOSE", 5): "2.4.0", ("LEAKY_RELU", 2): "2.3.0",
    ("RESIZE_BILINEAR", 4): "2.5.0", ("RESIZE_NEAREST_NEIGHBOR", 4): "2.4.0", ("GATHER_ND", 3): "2.5.0",
    ("SPLIT_V", 2): "2.3.0", ("BROADCAST_TO", 3): "2.5.0", ("QUANTIZE", 2): "1.15.0", ("TILE", 3): "2.8.0",
    ("TRANSPOSE_CONV", 2): "2.2.0", ("DEPTH_TO_SPACE", 1): "2.1.0", ("DEPTH_TO_SPACE", 2): "2.5.0",
    ("STRIDED_SLICE", 3): "2.1.0", ("SPLIT_V", 1): "1.13.1", ("LEAKY_RELU", 1): "1.13.1", ("PADV2", 1): "1.9.0",
}  # fmt: skip


def version(op: str, inputs: Sequence[Tensor | None], options: Mapping[str, Any], made: np.dtype) -> int:
    """The version of an operator that takes these inputs, and makes an output of the dtype `made`."""
    first = next((t for t in inputs if t is not None), None)
    given = [t.dtype for t in inputs if t is not None]
    kinds = {INT8: 1, INT16: 2}
    found = [_VERSIONS.get(op, (1, 1, 1))[0 if first is None else kinds.get(first.dtype, 0)]]
    second = inputs[1] if len(inputs) > 1 else None
    hybrid = second is not None and given[0] == FLOAT32 and second.dtype == INT8
    channels = second is not None and second.quant is not None and len(second.quant.scale) > 1
    if op == "FULLY_CONNECTED":
        found.append(6 if len(given) < 3 else 5 if options.get("keep_num_dims") else 1)
        found.append((12 if channels else 9) if hybrid else 1)
    elif op == "CONV_2D":
        found.append(5 if hybrid else 1)
        if first is not None and second is not None and first.shape[-1] != second.shape[-1]:
            found.append(6)
    elif op == "DEPTHWISE_CONV_2D":
        dilated = options.get("dilation_w_factor", 1) != 1 or options.get("dilation_h_factor", 1) != 1
        found += [6 if hybrid else 1, 2 if dilated else 1]
    elif op == "TRANSPOSE_CONV" and len(given) == 4:
        found.append(3)
    elif op == "DEQUANTIZE":
        found.append({"int8": 2, "float16": 3, "int16": 3}[given[0].name])
    elif op == "QUANTIZE" and made == INT16:
        found.append(2)
    elif op == "GATHER" and options.get("batch_dims"):
        found.append(5)
    elif op in ("STRIDED_SLICE", "EQUAL", "NOT_EQUAL", "GATHER") and given[0].kind == "b":
        found.append(3)
    return max(found)


def min_runtime_version(used: Sequence[tuple[str, int]]) -> str:
    """The first runtime that knows all operators, given as (op, version).

    Example:
        >>> min_runtime_version([("ADD", 1), ("GELU", 1), ("QUANTIZE", 1)])
        '2.9.0'
    """
    return max(["1.5.0", *(_RUNTIMES.get(u, "1.5.0") for u in used)], key=lambda v: [int(n) for n in v.split(".")])
