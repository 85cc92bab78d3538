"""Versions of operators: the least that a runtime must know for the types and options that are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lamina.export.tflite.tensors import FLOAT32, INT8, Tensor

# op -> version for float32, for int8; 1 and 1 for others
_PAIRS: dict[str, tuple[int, int]] = {}
_PAIRS.update(dict.fromkeys("CONV_2D DEPTHWISE_CONV_2D TILE REVERSE_V2".split(), (1, 3)))
_PAIRS.update(
    dict.fromkeys(
        "TRANSPOSE_CONV BATCH_MATMUL MAX_POOL_2D AVERAGE_POOL_2D SOFTMAX LOG_SOFTMAX LOGISTIC TANH RELU RELU6 GELU ADD "
        "SUB MUL MAXIMUM MINIMUM SQUARED_DIFFERENCE EXP LOG RSQRT SQRT ABS MEAN SUM REDUCE_MAX REDUCE_MIN ARG_MAX "
        "ARG_MIN TRANSPOSE CONCATENATION SLICE STRIDED_SLICE PAD PADV2 GATHER SPACE_TO_DEPTH DEPTH_TO_SPACE PACK "
        "TOPK_V2 GREATER GREATER_EQUAL LESS LESS_EQUAL EQUAL NOT_EQUAL SPLIT_V".split(),
        (1, 2),
    )
)
_PAIRS.update(
    FULLY_CONNECTED=(1, 4), BROADCAST_TO=(2, 3), RESIZE_BILINEAR=(3, 3), RESIZE_NEAREST_NEIGHBOR=(3, 3), CUMSUM=(1, 1)
)
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
    ("STRIDED_SLICE", 3): "2.1.0", ("SPLIT_V", 1): "1.13.1", ("LEAKY_RELU", 1): "1.13.1", ("PADV2", 1): "1.9.0",
}  # fmt: skip


def version(op: str, inputs: Sequence[Tensor | None], options: Mapping[str, Any]) -> int:
    """The version of an operator that takes these inputs."""
    first = next((t for t in inputs if t is not None), None)
    given = [t.dtype for t in inputs if t is not None]
    low, high = _PAIRS.get(op, (1, 1))
    found = [high if first is not None and first.dtype == INT8 else low]
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
        found.append({"int8": 2, "float16": 3}[given[0].name])
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
