"""Messages for tensors, and the numbers by which files name their dtypes.

Reference: https://www.tensorflow.org/api_docs/python/tf/dtypes
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from lamina.wire.proto import declare

_messages = declare(
    "tensor",
    """
    message Dim {
      int64 size = 1;
      string name = 2;
    }
    message TensorShapeProto {
      repeated Dim dim = 2;
      bool unknown_rank = 3;
    }
    message TensorProto {
      int32 dtype = 1;
      TensorShapeProto tensor_shape = 2;
      int32 version_number = 3;
      bytes tensor_content = 4;
      repeated float float_val = 5;
      repeated double double_val = 6;
      repeated int32 int_val = 7;
      repeated bytes string_val = 8;
      repeated float scomplex_val = 9;
      repeated int64 int64_val = 10;
      repeated bool bool_val = 11;
      repeated double dcomplex_val = 12;
      repeated int32 half_val = 13;
      repeated uint32 uint32_val = 16;
      repeated uint64 uint64_val = 17;
    }
    message Extent {
      int64 start = 1;
      oneof has_length {
        int64 length = 2;
      }
    }
    message TensorSliceProto {
      repeated Extent extent = 1;
    }
    message VersionDef {
      int32 producer = 1;
      int32 min_consumer = 2;
      repeated int32 bad_consumers = 3;
    }
    """,
)

Dim = _messages["Dim"]
TensorShapeProto = _messages["TensorShapeProto"]
TensorProto = _messages["TensorProto"]
TensorSliceProto = _messages["TensorSliceProto"]
VersionDef = _messages["VersionDef"]

STRING = 7
BOOL = 10
VARIANT = 21
DTYPES: dict[int, np.dtype] = {
    number: np.dtype(kind)
    for number, kind in {
        1: np.float32,
        2: np.float64,
        3: np.int32,
        4: np.uint8,
        5: np.int16,
        6: np.int8,
        STRING: np.object_,
        8: np.complex64,
        9: np.int64,
        BOOL: np.bool_,
        14: ml_dtypes.bfloat16,
        17: np.uint16,
        18: np.complex128,
        19: np.float16,
        22: np.uint32,
        23: np.uint64,
        24: ml_dtypes.float8_e5m2,
        25: ml_dtypes.float8_e4m3fn,
        26: ml_dtypes.float8_e4m3fnuz,
        27: ml_dtypes.float8_e4m3b11fnuz,
        28: ml_dtypes.float8_e5m2fnuz,
        29: ml_dtypes.int4,
        30: ml_dtypes.uint4,
        31: ml_dtypes.int2,
        32: ml_dtypes.uint2,
        33: ml_dtypes.float4_e2m1fn,
    }.items()
}
"""numpy dtype of each DataType number; strings are object arrays of `bytes`."""

NUMBERS: dict[np.dtype, int] = {dtype: number for number, dtype in DTYPES.items()}


def shape_proto(shape: tuple[int, ...]) -> Any:
    """`shape` as a message.

    Example:
        >>> [d.size for d in shape_proto((2, 3)).dim]
        [2, 3]
    """
    return TensorShapeProto(dim=[Dim(size=size) for size in shape])
