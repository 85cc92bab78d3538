"""The schema of TFLite files, as far as it is used: tables and their fields, numbers of ops and of types.

The order of fields, and all numbers, are facts of the format:
https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/schema/schema.fbs
"""

from __future__ import annotations

from typing import NamedTuple

import ml_dtypes
import numpy as np

IDENTIFIER = b"TFL3"
VERSION = 3


class Field(NamedTuple):
    """A field of a table: `kind` is a number type, "str", "data", "union", a table, or one of these in brackets."""

    name: str
    kind: str
    default: float


_FUSED = "fused_activation_function:i8"
_STRIDES = "stride_w:i32 stride_h:i32"
_DILATIONS = "dilation_w_factor:i32=1 dilation_h_factor:i32=1"
_GRAPHS = "cond_subgraph_index:i32 body_subgraph_index:i32"
# table -> its fields in the order of their numbers; a field named _ is not used
_TABLES = {
    "Model": "version:u32 operator_codes:[OperatorCode] subgraphs:[SubGraph] description:str buffers:[Buffer] "
    "metadata_buffer:[i32] metadata:[Metadata] signature_defs:[SignatureDef]",
    "OperatorCode": "deprecated_builtin_code:i8 custom_code:str version:i32=1 builtin_code:i32",
    "SubGraph": "tensors:[Tensor] inputs:[i32] outputs:[i32] operators:[Operator] name:str",
    "Tensor": "shape:[i32] type:i8 buffer:u32 name:str quantization:QuantizationParameters is_variable:bool _:none "
    "shape_signature:[i32] has_rank:bool",
    "QuantizationParameters": "min:[f32] max:[f32] scale:[f32] zero_point:[i64] _:none _:none quantized_dimension:i32",
    "Operator": "opcode_index:u32 inputs:[i32] outputs:[i32] builtin_options_type:u8 builtin_options:union",
    "Buffer": "data:data",
    "Metadata": "name:str buffer:u32",
    "SignatureDef": "inputs:[TensorMap] outputs:[TensorMap] signature_key:str _:none subgraph_index:u32",
    "TensorMap": "name:str tensor_index:u32",
    "Conv2DOptions": f"padding:i8 {_STRIDES} {_FUSED} {_DILATIONS}",
    "DepthwiseConv2DOptions": f"padding:i8 {_STRIDES} depth_multiplier:i32 {_FUSED} {_DILATIONS}",
    "Conv3DOptions": f"padding:i8 stride_d:i32 {_STRIDES} {_FUSED} dilation_d_factor:i32=1 {_DILATIONS}",
    "TransposeConvOptions": f"padding:i8 {_STRIDES} {_FUSED}",
    "Pool2DOptions": f"padding:i8 {_STRIDES} filter_width:i32 filter_height:i32 {_FUSED}",
    "FullyConnectedOptions": f"{_FUSED} weights_format:i8 keep_num_dims:bool asymmetric_quantize_inputs:bool",
    "BatchMatMulOptions": "adj_x:bool adj_y:bool asymmetric_quantize_inputs:bool",
    "AddOptions": f"{_FUSED} pot_scale_int16:bool=1",
    "SubOptions": f"{_FUSED} pot_scale_int16:bool=1",
    "MulOptions": _FUSED,
    "DivOptions": _FUSED,
    "ConcatenationOptions": f"axis:i32 {_FUSED}",
    "SoftmaxOptions": "beta:f32",
    "ReshapeOptions": "new_shape:[i32]",
    "ResizeBilinearOptions": "_:none _:none align_corners:bool half_pixel_centers:bool",
    "ResizeNearestNeighborOptions": "align_corners:bool half_pixel_centers:bool",
    "SpaceToDepthOptions": "block_size:i32",
    "DepthToSpaceOptions": "block_size:i32",
    "GatherOptions": "axis:i32 batch_dims:i32",
    "ReducerOptions": "keep_dims:bool",
    "SplitVOptions": "num_splits:i32",
    "StridedSliceOptions": "begin_mask:i32 end_mask:i32 ellipsis_mask:i32 new_axis_mask:i32 shrink_axis_mask:i32 "
    "offset:bool",
    "CastOptions": "in_data_type:i8 out_data_type:i8",
    "ArgMaxOptions": "output_type:i8",
    "ArgMinOptions": "output_type:i8",
    "ShapeOptions": "out_type:i8",
    "PackOptions": "values_count:i32 axis:i32",
    "OneHotOptions": "axis:i32",
    "LeakyReluOptions": "alpha:f32",
    "GeluOptions": "approximate:bool",
    "CumsumOptions": "exclusive:bool reverse:bool",
    "IfOptions": "then_subgraph_index:i32 else_subgraph_index:i32",
    "WhileOptions": _GRAPHS,
}
# the options that an operator may have, by their number in the union; those without fields are not in the table above
OPTIONS = {
    "Conv2DOptions": 1, "DepthwiseConv2DOptions": 2, "Pool2DOptions": 5, "FullyConnectedOptions": 8,
    "SoftmaxOptions": 9, "ConcatenationOptions": 10, "AddOptions": 11, "ResizeBilinearOptions": 15,
    "ReshapeOptions": 17, "SpaceToDepthOptions": 19, "MulOptions": 21, "GatherOptions": 23, "ReducerOptions": 27,
    "SubOptions": 28, "DivOptions": 29, "StridedSliceOptions": 32, "CastOptions": 37, "ArgMaxOptions": 40,
    "TransposeConvOptions": 49, "ShapeOptions": 55, "ArgMinOptions": 57, "PackOptions": 59, "OneHotOptions": 61,
    "ResizeNearestNeighborOptions": 74, "LeakyReluOptions": 75, "SplitVOptions": 79, "IfOptions": 92,
    "WhileOptions": 93, "DepthToSpaceOptions": 94, "BatchMatMulOptions": 101, "CumsumOptions": 102,
    "Conv3DOptions": 106, "GeluOptions": 116,
}  # fmt: skip
# op -> its number, and the table of its options
OPERATORS: dict[str, tuple[int, str | None]] = {
    "ADD": (0, "AddOptions"), "AVERAGE_POOL_2D": (1, "Pool2DOptions"), "CONCATENATION": (2, "ConcatenationOptions"),
    "CONV_2D": (3, "Conv2DOptions"), "DEPTHWISE_CONV_2D": (4, "DepthwiseConv2DOptions"),
    "DEPTH_TO_SPACE": (5, "DepthToSpaceOptions"), "DEQUANTIZE": (6, None), "FLOOR": (8, None),
    "FULLY_CONNECTED": (9, "FullyConnectedOptions"), "LOGISTIC": (14, None), "MAX_POOL_2D": (17, "Pool2DOptions"),
    "MUL": (18, "MulOptions"), "RELU": (19, None), "RELU6": (21, None), "RESHAPE": (22, "ReshapeOptions"),
    "RESIZE_BILINEAR": (23, "ResizeBilinearOptions"), "SOFTMAX": (25, "SoftmaxOptions"),
    "SPACE_TO_DEPTH": (26, "SpaceToDepthOptions"), "TANH": (28, None), "PAD": (34, None),
    "GATHER": (36, "GatherOptions"), "TRANSPOSE": (39, None), "MEAN": (40, "ReducerOptions"),
    "SUB": (41, "SubOptions"), "DIV": (42, "DivOptions"), "STRIDED_SLICE": (45, "StridedSliceOptions"),
    "EXP": (47, None), "TOPK_V2": (48, None), "LOG_SOFTMAX": (50, None), "CAST": (53, "CastOptions"),
    "MAXIMUM": (55, None), "ARG_MAX": (56, "ArgMaxOptions"), "MINIMUM": (57, None), "LESS": (58, None),
    "NEG": (59, None), "PADV2": (60, None), "GREATER": (61, None), "GREATER_EQUAL": (62, None),
    "LESS_EQUAL": (63, None), "SLICE": (65, None), "SIN": (66, None), "TRANSPOSE_CONV": (67, "TransposeConvOptions"),
    "TILE": (69, None), "EQUAL": (71, None), "NOT_EQUAL": (72, None), "LOG": (73, None),
    "SUM": (74, "ReducerOptions"), "SQRT": (75, None), "RSQRT": (76, None), "SHAPE": (77, "ShapeOptions"),
    "POW": (78, None), "ARG_MIN": (79, "ArgMinOptions"), "REDUCE_PROD": (81, "ReducerOptions"),
    "REDUCE_MAX": (82, "ReducerOptions"), "PACK": (83, "PackOptions"), "LOGICAL_OR": (84, None),
    "ONE_HOT": (85, "OneHotOptions"), "LOGICAL_AND": (86, None), "LOGICAL_NOT": (87, None),
    "REDUCE_MIN": (89, "ReducerOptions"), "FLOOR_DIV": (90, None), "REDUCE_ANY": (91, "ReducerOptions"),
    "SQUARE": (92, None), "FLOOR_MOD": (95, None), "RANGE": (96, None),
    "RESIZE_NEAREST_NEIGHBOR": (97, "ResizeNearestNeighborOptions"), "LEAKY_RELU": (98, "LeakyReluOptions"),
    "SQUARED_DIFFERENCE": (99, None), "ABS": (101, None), "SPLIT_V": (102, "SplitVOptions"), "CEIL": (104, None),
    "REVERSE_V2": (105, None), "GATHER_ND": (107, None), "COS": (108, None), "ELU": (111, None),
    "QUANTIZE": (114, None), "ROUND": (116, None), "HARD_SWISH": (117, None), "IF": (118, "IfOptions"),
    "WHILE": (119, "WhileOptions"), "SCATTER_ND": (122, None), "SELECT_V2": (123, None),
    "BATCH_MATMUL": (126, "BatchMatMulOptions"), "CUMSUM": (128, "CumsumOptions"), "BROADCAST_TO": (130, None),
    "CONV_3D": (132, "Conv3DOptions"), "REDUCE_ALL": (140, "ReducerOptions"),
    "CONV_3D_TRANSPOSE": (141, "Conv3DOptions"), "GELU": (150, "GeluOptions"), "DYNAMIC_UPDATE_SLICE": (151, None),
    "ATAN2": (156, None), "SIGN": (158, None), "BITWISE_XOR": (160, None), "RIGHT_SHIFT": (161, None),
}  # fmt: skip
CODES = {number: name for name, (number, _) in OPERATORS.items()}
TYPES: dict[np.dtype, int] = {
    np.dtype(name): number
    for name, number in {
        "float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7, "complex64": 8,
        "int8": 9, "float64": 10, "uint64": 12, "uint32": 15, "uint16": 16,
    }.items()
} | {np.dtype(ml_dtypes.bfloat16): 18}  # fmt: skip
DTYPES = {number: dtype for dtype, number in TYPES.items()}
SAME, VALID = 0, 1
ACTIVATIONS = {"none": 0, "relu": 1, "relu6": 3}


def _field(text: str) -> Field:
    name, _, rest = text.partition(":")
    kind, _, default = rest.partition("=")
    return Field(name, kind, float(default or 0))


TABLES: dict[str, tuple[Field, ...]] = {name: tuple(map(_field, text.split())) for name, text in _TABLES.items()}
