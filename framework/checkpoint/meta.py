"""The `.meta` file of a checkpoint: the variables as a graph, with the nodes that save and restore them.

`tf.compat.v1.train.import_meta_graph` makes the variables from it, and its Saver restores and saves them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lamina.wire.graph import GraphDef, MetaGraphDef, VariableDef
from lamina.wire.nodes import PRODUCER, Shape, node, string_tensor
from lamina.wire.tensor import NUMBERS

WRITER_VERSION = "2.15.0"
"""The release of TensorFlow whose format is written."""
_STRING, _INT32 = np.dtype(object), np.dtype("int32")


def meta_graph_bytes(
    variables: Mapping[str, tuple[Any, Sequence[int]]],
    graph_def: Any = None,
    trainable: Sequence[str] | None = None,
    texts: Mapping[str, str] | None = None,
) -> bytes:
    """The bytes of the `.meta` file of a checkpoint with these variables.

    Args:
        variables: dtype and shape of each variable, by its name in the checkpoint.
        graph_def: a GraphDef to put beside them, which may read the variables by their names.
        trainable: the names of those that an optimizer may change; None for all floating-point ones.
        texts: texts to keep in the file, by name, such as the model's JSON.

    Raises:
        TypeError: a dtype is none that graphs know.

    Example:
        >>> data = meta_graph_bytes({"dense/kernel": ("float32", (2, 3))})
        >>> MetaGraphDef.FromString(data).saver_def.restore_op_name
        'save/restore_all'
    """
    meta = meta_graph(variables, graph_def, trainable)
    for name, text in (texts or {}).items():
        meta.collection_def[name].bytes_list.value.append(text.encode())
    return meta.SerializeToString(deterministic=True)


def meta_graph(
    variables: Mapping[str, tuple[Any, Sequence[int]]],
    graph_def: Any = None,
    trainable: Sequence[str] | None = None,
) -> Any:
    """The message of which `meta_graph_bytes` gives the bytes."""
    known = {name: (_dtype(name, dtype), tuple(shape)) for name, (dtype, shape) in variables.items()}
    graph = GraphDef()
    if graph_def is not None:
        graph.CopyFrom(graph_def)
    graph.versions.producer = graph.versions.producer or PRODUCER
    there = {n.name for n in graph.node}
    meta = MetaGraphDef()
    meta.meta_info_def.tensorflow_version = WRITER_VERSION
    for name, (dtype, shape) in known.items():
        graph.node.extend(n for n in variable_nodes(name, dtype, shape) if n.name not in there)
        learns = dtype.kind == "f" or dtype.name == "bfloat16" if trainable is None else name in trainable
        entry = VariableDef(
            variable_name=f"{name}:0",
            initializer_name=f"{name}/Assign",
            snapshot_name=f"{name}/Read/ReadVariableOp:0",
            initial_value_name=f"{name}/zeros:0",
            is_resource=True,
            trainable=learns,
        ).SerializeToString()
        meta.collection_def["variables"].bytes_list.value.append(entry)
        if learns:
            meta.collection_def["trainable_variables"].bytes_list.value.append(entry)
    if known:
        graph.node.extend(saver_nodes(known))
        meta.saver_def.filename_tensor_name = "save/Const:0"
        meta.saver_def.save_tensor_name = "save/control_dependency:0"
        meta.saver_def.restore_op_name = "save/restore_all"
        meta.saver_def.max_to_keep = 5
        meta.saver_def.version = 2
    meta.graph_def.CopyFrom(graph)
    return meta


def _dtype(name: str, dtype: Any) -> np.dtype:
    dtype = np.dtype(object) if dtype in ("string", bytes, str) else np.dtype(dtype)
    if dtype not in NUMBERS:
        raise TypeError(f"meta_graph_bytes: variable '{name}' has dtype {dtype}, which graphs do not know.")
    return dtype


def variable_nodes(name: str, dtype: np.dtype, shape: Sequence[int]) -> list[Any]:
    """The nodes of a resource variable: its handle, its value before it is restored, and a read of it."""
    zero = string_tensor([b""]).reshape(()) if dtype.hasobject else np.zeros((), dtype)
    zeros = f"{name}/zeros"
    return [
        node(name, "VarHandleOp", dtype=dtype, shape=Shape(shape), shared_name=name, container=""),
        node(f"{zeros}/shape_as_tensor", "Const", dtype=_INT32, value=np.asarray(shape, np.int32)),
        node(f"{zeros}/Const", "Const", dtype=dtype, value=zero),
        node(zeros, "Fill", [f"{zeros}/shape_as_tensor", f"{zeros}/Const"], T=dtype, index_type=_INT32),
        node(f"{name}/Assign", "AssignVariableOp", [name, zeros], dtype=dtype),
        node(f"{name}/Read/ReadVariableOp", "ReadVariableOp", [name], dtype=dtype),
    ]


def saver_nodes(variables: Mapping[str, tuple[np.dtype, Sequence[int]]], scope: str = "save") -> list[Any]:
    """The nodes by which a Saver writes the variables to a checkpoint and reads them from one."""
    names = list(variables)
    dtypes = [variables[name][0] for name in names]
    made = [
        node(f"{scope}/filename/input", "Const", dtype=_STRING, value=string_tensor([b"model"]).reshape(())),
        node(
            f"{scope}/filename", "PlaceholderWithDefault", [f"{scope}/filename/input"], dtype=_STRING, shape=Shape(())
        ),
        node(f"{scope}/Const", "PlaceholderWithDefault", [f"{scope}/filename"], dtype=_STRING, shape=Shape(())),
    ]
    for part in ("SaveV2", "RestoreV2"):
        for what, values in (("tensor_names", names), ("shape_and_slices", [b""] * len(names))):
            made.append(node(f"{scope}/{part}/{what}", "Const", dtype=_STRING, value=string_tensor(values)))
    reads = [f"{name}/Read/ReadVariableOp" for name in names]
    given = [f"{scope}/Const", f"{scope}/SaveV2/tensor_names", f"{scope}/SaveV2/shape_and_slices", *reads]
    made.append(node(f"{scope}/SaveV2", "SaveV2", given, dtypes=dtypes))
    made.append(
        node(
            f"{scope}/control_dependency",
            "Identity",
            [f"{scope}/Const", f"^{scope}/SaveV2"],
            T=_STRING,
        )
    )
    given = [f"{scope}/Const", f"{scope}/RestoreV2/tensor_names", f"{scope}/RestoreV2/shape_and_slices"]
    made.append(node(f"{scope}/RestoreV2", "RestoreV2", given, dtypes=dtypes))
    assigns = []
    for i, (name, dtype) in enumerate(zip(names, dtypes, strict=True)):
        assigns.append(f"{scope}/AssignVariableOp_{i}")
        restored = f"{scope}/RestoreV2:{i}" if i else f"{scope}/RestoreV2"
        made.append(node(assigns[-1], "AssignVariableOp", [name, restored], dtype=dtype))
    made.append(node(f"{scope}/restore_all", "NoOp", [f"^{a}" for a in assigns]))
    return made
