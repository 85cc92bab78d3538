"""The graph in a `.meta` file: what the nodes say, and that every input of a node exists."""

import numpy as np
import pytest

from lamina.checkpoint import meta_graph_bytes
from lamina.wire.graph import GraphDef, MetaGraphDef, VariableDef
from lamina.wire.nodes import node, tensor_value

VARIABLES = {"dense/kernel": ("float32", (2, 3)), "step": (np.int64, ()), "words": ("string", (2,))}


def read(data):
    meta = MetaGraphDef.FromString(data)
    return meta, {n.name: n for n in meta.graph_def.node}


def test_saver_nodes_name_every_variable():
    meta, nodes = read(meta_graph_bytes(VARIABLES))
    assert [v.decode() for v in tensor_value(nodes["save/RestoreV2/tensor_names"].attr["value"].tensor)] == list(
        VARIABLES
    )
    assert list(nodes["save/RestoreV2"].attr["dtypes"].list.type) == [1, 9, 7]
    assert nodes["save/AssignVariableOp_1"].input[:] == ["step", "save/RestoreV2:1"]
    assert nodes["save/restore_all"].input[:] == [f"^save/AssignVariableOp_{i}" for i in range(3)]
    saver = meta.saver_def
    assert (saver.filename_tensor_name, saver.save_tensor_name) == ("save/Const:0", "save/control_dependency:0")
    assert saver.restore_op_name == "save/restore_all" and saver.version == 2


def test_every_input_is_a_node():
    _, nodes = read(meta_graph_bytes(VARIABLES))
    missing = [i for n in nodes.values() for i in n.input if i.lstrip("^").partition(":")[0] not in nodes]
    assert not missing


def test_collections_describe_the_variables():
    meta, _ = read(meta_graph_bytes(VARIABLES))
    found = [VariableDef.FromString(v) for v in meta.collection_def["variables"].bytes_list.value]
    assert [v.variable_name for v in found] == ["dense/kernel:0", "step:0", "words:0"]
    assert [v.trainable for v in found] == [True, False, False]
    trained = meta.collection_def["trainable_variables"].bytes_list.value
    assert [VariableDef.FromString(v).snapshot_name for v in trained] == ["dense/kernel/Read/ReadVariableOp:0"]


def test_a_graph_beside_the_variables_keeps_its_nodes():
    graph = GraphDef()
    graph.node.append(node("y", "ReadVariableOp", ["step"], dtype=np.dtype("int64")))
    graph.node.append(node("step", "VarHandleOp", dtype=np.dtype("int64")))
    _, nodes = read(meta_graph_bytes(VARIABLES, graph))
    assert nodes["y"].input[:] == ["step"] and "save/RestoreV2" in nodes


def test_bytes_are_the_same_each_time():
    assert meta_graph_bytes(VARIABLES) == meta_graph_bytes(VARIABLES)


def test_unknown_dtype_is_named():
    with pytest.raises(TypeError, match="'when' has dtype"):
        meta_graph_bytes({"when": ("datetime64[s]", ())})
