"""Writes graphs as a frozen GraphDef, or as a SavedModel with variables and signatures."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lamina.checkpoint import write_checkpoint
from lamina.checkpoint.meta import meta_graph
from lamina.export.report import ExportReport
from lamina.export.rules import ExportError
from lamina.export.tensorflow import network_rules, rules  # noqa: F401  they fill the table
from lamina.export.tensorflow.emitter import Emitter, Tensor, new_file
from lamina.export.tensorflow.host_nodes import HostNodes, Node
from lamina.export.tensorflow.served import Served
from lamina.export.tensorflow.table import TABLE
from lamina.graph.base import GraphBase
from lamina.graph.expand import expand
from lamina.graph.ir import Value, is_floating
from lamina.graph.passes.order import optimize as run_passes
from lamina.graph.passes.simplify import fold_constants
from lamina.wire.graph import MetaGraphDef, SavedModel
from lamina.wire.nodes import node

INIT = "saved_model_main_op"
"""The collection that names the node which fills a model's tables."""
MOST_BYTES = 2**31 - 1
"""The size that a protobuf message must stay below."""


class _Program:
    """The nodes of one or several graphs in one GraphDef.

    Args:
        graphs: the graphs by the names of their signatures.
        keep_variables: whether variables stay variables, or become constants.
        allow_xla: whether ops without a counterpart are written as StableHLO.
        optimize: whether graphs are simplified first.
        label: the format's name, for errors.
    """

    def __init__(
        self,
        graphs: Mapping[str, GraphBase | Served],
        keep_variables: bool,
        allow_xla: bool,
        optimize: bool,
        label: str,
    ):
        self.file = new_file()
        self.variables: dict[str, Any] = {}
        self.trainable: set[str] = set()
        self.signatures: dict[str, Any] = {}
        self.initializers: list[str] = []
        self.fallbacks: list[tuple[str, str, str]] = []
        self.parameters: dict[Any, Any] = {}
        names: set[str] = set()
        gaps = []
        for i, (signature, given) in enumerate(graphs.items()):
            served = given if isinstance(given, Served) else Served(signature, given)
            graph = served.graph
            if optimize:
                graph = _simplified(graph, keep_variables)
            graph = expand(graph, TABLE.expands)
            e = Emitter(self.file, scope=f"{signature}/" if i else "")
            e.allow_xla = allow_xla
            e._names = names
            weights = self._weights(graph, names) if keep_variables else {}
            for value, array in graph.constants.items():
                if value in weights:
                    self.parameters[weights[value].node] = array
                elif value in graph.variables or np.size(array) > 1:
                    self.parameters[id(array)] = array
            nodes = HostNodes(e)
            tensors = e.graph(graph, [x.tensor for x in served.feed(nodes)], weights)
            e.path = ""
            if not e.gaps:
                outputs = [Node(t, v.dtype, v.shape) for t, v in zip(tensors, graph.outputs, strict=True)]
                for name, found in served.finish(nodes, outputs).items():
                    self.signatures[name] = found.message()
            self.file.node.extend(e.nodes)
            self.initializers += nodes.initializers
            gaps += e.gaps
            self.fallbacks += e.fallbacks
        if gaps:
            cure = "" if allow_xla else " Write them in terms of other ops, add a rule with register_rule, or pass"
            cure += "" if allow_xla else " allow_xla=True, which TensorFlow alone can run."
            raise ExportError(label, gaps, cure)

    def _weights(self, graph: GraphBase, names: set[str]) -> dict[Value, Tensor]:
        """Reads of the variables of a graph; a variable that several graphs have is written once."""
        found = {}
        for value, path in graph.variables.items():
            array, name, n = graph.constants[value], path, 0
            while name in self.variables and not _equal(self.variables[name], array):
                n += 1
                name = f"{path}_{n}"
            if name not in self.variables:
                self.variables[name] = array
                taken = (name, f"{name}/zeros", f"{name}/Assign", f"{name}/Read/ReadVariableOp")
                names.update(n.lower() for n in taken)
                if path in graph.trainable:
                    self.trainable.add(name)
            read = f"{name}/Read/ReadVariableOp"
            found[value] = Tensor(read, 0, f"{read}:value:0")
        return found

    def report(self, format: str, path: str, size: int) -> ExportReport:
        """What was written."""
        arrays = list(self.parameters.values())
        dtypes: Counter[str] = Counter()
        for array in map(np.asarray, arrays):
            dtypes[array.dtype.name] += array.size if is_floating(array.dtype) else 0
        ops = Counter(n.op for n in self.file.node if n.op not in ("Const", "NoOp"))
        ops.update(n.op for f in self.file.library.function for n in f.node_def if n.op != "Const")
        names = {s: (sorted(d.inputs), sorted(d.outputs)) for s, d in self.signatures.items()}
        return ExportReport(
            format=format,
            path=path,
            bytes=size,
            parameters=sum(int(np.size(a)) for a in arrays),
            precision=dtypes.most_common(1)[0][0] if dtypes else "float32",
            ops=ops,
            signatures=names,
            fallbacks=list(dict.fromkeys(self.fallbacks)),
        )


def _equal(a: Any, b: Any) -> bool:
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=is_floating(a.dtype))


def _simplified(graph: GraphBase, keep_variables: bool) -> GraphBase:
    """An equal graph of fewer instructions; variables that are to stay are not folded into others."""
    if not keep_variables:
        return run_passes(graph)
    graph = fold_constants(graph, variables=False)
    return run_passes(graph, ["common_subexpressions", "patterns", "bias_fusion", "layout", "dead_code"])


def write_frozen(
    graphs: Mapping[str, GraphBase], path: str | os.PathLike, allow_xla: bool = False, optimize: bool = True
) -> ExportReport:
    """Writes one graph as a GraphDef with its weights as constants.

    Args:
        graphs: one graph by the name of its signature (which a frozen graph does not keep).
        path: the file.
        allow_xla: whether ops without a counterpart are written as StableHLO.
        optimize: whether constants and batch normalisation are folded, and ops written in primitives recognised.

    Raises:
        ValueError: there are several graphs, or the file would be larger than 2 GiB.
        ExportError: an op cannot be written.
    """
    if len(graphs) != 1:
        raise ValueError(
            f"export to frozen: a frozen graph holds one signature, got {sorted(graphs)}. Use format='saved_model'."
        )
    program = _Program(graphs, False, allow_xla, optimize, "frozen")
    data = _serialized(program.file, "frozen")
    Path(path).write_bytes(data)
    return program.report("frozen", os.fspath(path), len(data))


def _serialized(message: Any, label: str) -> bytes:
    size = message.ByteSize()
    if size > MOST_BYTES:
        raise ValueError(
            f"export to {label}: the graph has {size:,} bytes, and protobuf stops at 2 GiB. Keep weights in variables, "
            "which format='saved_model' writes beside the graph."
        )
    return message.SerializeToString(deterministic=True)


def write_saved_model(
    graphs: Mapping[str, GraphBase | Served],
    path: str | os.PathLike,
    allow_xla: bool = False,
    keep_variables: bool = True,
    optimize: bool = True,
) -> ExportReport:
    """Writes graphs as a SavedModel, a signature each.

    Args:
        graphs: the graphs by the names of their signatures; a `Served` names its signatures itself.
        path: the folder, which must not hold another SavedModel's variables.
        allow_xla: whether ops without a counterpart are written as StableHLO.
        keep_variables: whether variables stand in a checkpoint beside the graph, where they can be restored anew;
            else they are constants.
        optimize: whether constants are folded, and ops written in primitives recognised.

    Raises:
        ExportError: an op cannot be written.
    """
    program = _Program(graphs, keep_variables, allow_xla, optimize, "saved_model")
    arrays = {name: np.asarray(a) for name, a in program.variables.items()}
    meta: Any = MetaGraphDef()
    if program.initializers:
        program.file.node.append(node(INIT, "NoOp", [f"^{name}" for name in program.initializers]))
    if arrays:
        known = {name: (a.dtype, a.shape) for name, a in arrays.items()}
        meta = meta_graph(known, program.file, sorted(program.trainable))
    else:
        meta.graph_def.CopyFrom(program.file)
        meta.meta_info_def.tensorflow_version = "2.15.0"
    if program.initializers:
        meta.collection_def[INIT].node_list.value.append(INIT)
    meta.meta_info_def.tags.append("serve")
    for name, signature in program.signatures.items():
        meta.signature_def[name].CopyFrom(signature)
    saved = SavedModel(saved_model_schema_version=1)
    saved.meta_graphs.append(meta)
    data = _serialized(saved, "saved_model")
    folder = Path(path)
    (folder / "variables").mkdir(parents=True, exist_ok=True)
    if arrays:
        write_checkpoint(folder / "variables" / "variables", arrays)
    (folder / "saved_model.pb").write_bytes(data)
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    return program.report("saved_model", os.fspath(path), size)
