"""Reads frozen graphs and SavedModels, written by lamina or by TensorFlow, as functions that run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from google.protobuf.message import DecodeError

from lamina.core.errors import describe, did_you_mean, listing
from lamina.export.tensorflow.host_ops import State
from lamina.export.tensorflow.program import SILENT, Program
from lamina.graph.dims import spec_of
from lamina.graph.graph import Graph
from lamina.graph.trace import trace
from lamina.wire.errors import DataLossError
from lamina.wire.graph import GraphDef, SavedModel
from lamina.wire.nodes import string_tensor
from lamina.wire.tensor import DTYPES

DEFAULT = "serving_default"
INIT = "__saved_model_init_op"


class LoadedFunction:
    """A way into a loaded graph: a function of named arrays.

    Attributes:
        inputs: shape (None where a size is not known; None if even the rank is not) and dtype of each input, by name.
        outputs: the names of the outputs.
        uses_host: whether strings or tables are involved, so that it runs op by op, uncompiled.
    """

    def __init__(
        self, name: str, program: Program, inputs: Mapping[str, tuple[str, Any, Any]], outputs: Mapping[str, str]
    ):
        self.name, self._program = name, program
        self._nodes = {key: node for key, (node, _, _) in inputs.items()}
        self.inputs = {key: (shape, dtype) for key, (_, shape, dtype) in inputs.items()}
        self._fetches = dict(outputs)
        self.outputs = list(outputs)
        if not outputs:
            raise ValueError(f"signature '{name}' has no outputs.")
        program.check(list(outputs.values()), f"signature '{name}'")
        fed_text = any(dtype.hasobject for _, dtype in self.inputs.values())
        self.uses_host = fed_text or program.needs_host(list(outputs.values()))
        self._compiled: Any = None
        self._arrays: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<LoadedFunction '{self.name}': {listing(self.inputs, 'and')} -> {listing(self.outputs, 'and')}>"

    def __call__(self, **arrays: Any) -> dict[str, Any]:
        """The outputs by name, for arrays by name."""
        missing, unknown = [k for k in self.inputs if k not in arrays], [k for k in arrays if k not in self.inputs]
        if missing or unknown:
            raise TypeError(
                f"{self!r}: missing inputs: {missing}, unknown: {unknown}."
                f"{did_you_mean(unknown[0], self.inputs) if unknown else ''}"
            )
        given = {key: self._fit(key, arrays[key]) for key in self.inputs}
        with jax.enable_x64(True):
            if self.uses_host:
                out = self._run(given, self._program.state.variables)
            else:
                if self._compiled is None:
                    self._compiled = jax.jit(self._run)
                    kept = self._program.state.variables
                    self._arrays = {k: jnp.asarray(v) for k, v in kept.items() if v.dtype != object}
                out = self._compiled(given, self._arrays)
            return {key: np.asarray(value) for key, value in zip(self.outputs, out, strict=True)}

    def _fit(self, key: str, value: Any) -> np.ndarray:
        shape, dtype = self.inputs[key]
        if dtype.hasobject:
            value = np.asarray(value)
            return value if value.dtype == object else string_tensor(value.reshape(-1).tolist()).reshape(value.shape)
        array = np.asarray(value)
        if array.dtype != dtype:
            if not np.can_cast(array.dtype, dtype, "same_kind") and array.dtype.kind not in "iub":
                raise TypeError(f"{self!r}: input '{key}' must be {dtype}, got {describe(value)}.")
            array = array.astype(dtype)
        fits = shape is None or len(shape) == array.ndim and all(
            s in (None, d) for s, d in zip(shape, array.shape, strict=True)
        )  # fmt: skip
        if not fits:
            raise ValueError(f"{self!r}: input '{key}' must have shape {shape}, got {describe(value)}.")
        return array

    def _run(self, given: Mapping[str, Any], variables: Mapping[str, Any]) -> list[Any]:
        feeds = {self._nodes[key]: value for key, value in given.items()}
        out = self._program.run(list(self._fetches.values()), feeds, variables)
        if self.uses_host:
            return out
        return [jnp.asarray(x) if not (isinstance(x, np.ndarray) and x.dtype == object) else _sizes(x) for x in out]

    def to_graph(self, **shapes: Any) -> Graph:
        """The function as a `Graph`, which other formats can be written from; outputs of text are left out.

        Args:
            **shapes: a shape for each input whose sizes are to be fixed, or whose rank is not known.

        Raises:
            ValueError: strings or tables are involved, which a graph cannot hold.
        """
        if self.uses_host:
            plain = {k: o for k, o in self._fetches.items() if not self._program.needs_host([o])}
            if plain and not any(dtype.hasobject for _, dtype in self.inputs.values()):
                inputs = {k: (self._nodes[k], *given) for k, given in self.inputs.items()}
                return LoadedFunction(self.name, self._program, inputs, plain).to_graph(**shapes)
            raise ValueError(f"{self!r}: works on strings or tables, which a graph cannot hold.")
        specs = []
        for key, (shape, dtype) in self.inputs.items():
            wanted = shapes.get(key, shape)
            if wanted is None:
                raise ValueError(f"{self!r}: the rank of input '{key}' is not known; pass its shape.")
            kind = {"int64": "int32", "uint64": "uint32", "float64": "float32"}.get(dtype.name, dtype.name)
            specs.append(spec_of(jax.ShapeDtypeStruct(spec_of(wanted, key).shape, kind), key))

        def run(*arrays: Any) -> dict[str, Any]:
            out = self._run(dict(zip(self.inputs, arrays, strict=True)), self._program.state.variables)
            return dict(zip(self.outputs, out, strict=True))

        graph = trace(run, *specs, name=self.name, input_names=list(self.inputs))
        return graph


def _sizes(x: np.ndarray) -> Any:
    return jnp.stack([jnp.asarray(v) for v in x.reshape(-1)]).reshape(x.shape)


class Loaded:
    """What was read from a file.

    Attributes:
        signatures: the ways into it, by name.
        variables: the values of its variables, by name.
    """

    def __init__(self, path: str, signatures: dict[str, Any], state: State | None = None):
        self.path, self.signatures = path, signatures
        self._state = State() if state is None else state

    @property
    def variables(self) -> dict[str, Any]:
        """The values of the variables, by name."""
        return self._state.variables

    def __repr__(self) -> str:
        return f"<Loaded '{self.path}': signatures {listing(self.signatures, 'and')}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The default signature, on arrays by position or by name; one output, or a list of several."""
        fn = self.default()
        if len(args) > len(fn.inputs):
            raise TypeError(f"{fn!r}: takes {len(fn.inputs)} inputs, got {len(args)}.")
        out = list(fn(**dict(zip(fn.inputs, args, strict=False)), **kwargs).values())
        return out[0] if len(out) == 1 else out

    def default(self) -> LoadedFunction:
        """The signature that is called where none is named.

        Raises:
            ValueError: there are several, none of them the one that servers take.
        """
        if DEFAULT not in self.signatures and len(self.signatures) != 1:
            raise ValueError(f"{self!r}: has no signature '{DEFAULT}'. Call one of signatures[...] by name instead.")
        return self.signatures.get(DEFAULT) or next(iter(self.signatures.values()))

    def to_graph(self, signature: str | None = None, **shapes: Any) -> Graph:
        """A signature as a `Graph`; see `LoadedFunction.to_graph`."""
        return (self.default() if signature is None else self.signatures[signature]).to_graph(**shapes)


def _parse(cls: Any, data: bytes, path: Any) -> Any:
    try:
        return cls.FromString(data)
    except DecodeError as error:
        raise DataLossError(f"'{path}' is no {cls.DESCRIPTOR.name}: {error}.") from error


def load_graph_def(
    path: str | os.PathLike, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None
) -> Loaded:
    """A frozen graph as a function.

    Args:
        path: the file.
        inputs: the names of the nodes that are fed, in the order of the arguments; by default the placeholders.
        outputs: the names of the nodes that are wanted; by default those that no other node uses.

    Raises:
        DataLossError: the file is damaged.
        ValueError: a name is unknown, or an op cannot be run; the message lists all of them.
    """
    graph = _parse(GraphDef, Path(path).read_bytes(), path)
    if not graph.node:
        raise DataLossError(f"'{path}' holds no nodes.")
    program = Program(graph)
    nodes = program.body.nodes
    if inputs is None:
        inputs = [name for name, node in nodes.items() if node.op == "Placeholder"]
    if outputs is None:
        used = {i.lstrip("^").partition(":")[0] for node in nodes.values() for i in node.input}
        idle = SILENT | {"Placeholder", "Const"}
        outputs = [name for name, node in nodes.items() if name not in used and node.op not in idle]
    for name in [*inputs, *outputs]:
        if name.partition(":")[0] not in nodes:
            raise ValueError(f"load_frozen: '{path}' has no node {name!r}.{did_you_mean(name, nodes)}")
    if not outputs:
        raise ValueError(f"load_frozen: '{path}' has no node that could be an output. Pass outputs=[...].")
    known = {}
    for name in inputs:
        node = nodes[name.partition(":")[0]]
        dtype = DTYPES.get(node.attr["dtype"].type or node.attr["T"].type, np.dtype("float32"))
        shape = None if node.op != "Placeholder" else _shape(node.attr["shape"].shape if "shape" in node.attr else None)
        known[name.removesuffix(":0")] = (node.name, shape, dtype)
    fn = LoadedFunction(DEFAULT, program, known, {o.removesuffix(":0"): o for o in outputs})
    return Loaded(os.fspath(path), {DEFAULT: fn}, program.state)


def _shape(proto: Any) -> tuple[int | None, ...] | None:
    if proto is None or proto.unknown_rank:
        return None
    return tuple(None if d.size < 0 else int(d.size) for d in proto.dim)


def load_saved_model(path: str | os.PathLike, tags: str | Sequence[str] = "serve") -> Loaded:
    """A SavedModel: its signatures as functions, with its variables restored and its tables filled.

    Args:
        path: the folder.
        tags: the tags of the graph to load, where it holds several.

    Raises:
        FileNotFoundError: there is no `saved_model.pb` in it.
        DataLossError: a file is damaged.
        ValueError: no graph has these tags, or an op cannot be run.

    Example:
        >>> import os, tempfile
        >>> from lamina import Input, Sequential, export, layers
        >>> model = Sequential([Input((3,), name="x"), layers.Dense(2)])
        >>> path = os.path.join(tempfile.mkdtemp(), "model")
        >>> report = export.save(model, None, path)
        >>> load_saved_model(path).signatures["serving_default"](x=[[1.0, 2.0, 3.0]])["output_0"].shape
        (1, 2)
    """
    folder = Path(path)
    file = folder / "saved_model.pb"
    if not file.is_file():
        raise FileNotFoundError(f"load_saved_model: there is no '{file}'.")
    saved = _parse(SavedModel, file.read_bytes(), file)
    wanted = {tags} if isinstance(tags, str) else set(tags)
    found = [m for m in saved.meta_graphs if set(m.meta_info_def.tags) == wanted]
    found = found or [m for m in saved.meta_graphs if wanted <= set(m.meta_info_def.tags)]
    if not found:
        have = [sorted(m.meta_info_def.tags) for m in saved.meta_graphs]
        raise ValueError(f"load_saved_model: '{path}' has no graph with the tags {sorted(wanted)}, only {have}.")
    meta = found[0]
    program = Program(meta.graph_def, State(folder=folder))
    with jax.enable_x64(True):
        _restore(program, meta, folder)
        _initialize(program, meta, folder)
    signatures = {
        name: LoadedFunction(
            name,
            program,
            {
                k: (i.name.partition(":")[0], _shape(i.tensor_shape), _dtype(i, k))
                for k, i in sorted(signature.inputs.items())
            },
            {k: i.name for k, i in sorted(signature.outputs.items())},
        )
        for name, signature in sorted(meta.signature_def.items())
        if name != INIT
    }
    return Loaded(os.fspath(path), signatures, program.state)


def _dtype(info: Any, key: str) -> np.dtype:
    if info.dtype not in DTYPES:
        raise ValueError(f"load_saved_model: input '{key}' has a dtype that arrays have not (number {info.dtype}).")
    return DTYPES[info.dtype]


def _restore(program: Program, meta: Any, folder: Path) -> None:
    """Runs the nodes by which the file itself restores its variables."""
    prefix = folder / "variables" / "variables"
    if not meta.saver_def.restore_op_name or not Path(f"{prefix}.index").is_file():
        return
    fed = meta.saver_def.filename_tensor_name.partition(":")[0]
    feeds = {fed: string_tensor([os.fsencode(prefix)]).reshape(())}
    program.run([meta.saver_def.restore_op_name], feeds, program.state.variables, control=True)


def _initialize(program: Program, meta: Any, folder: Path) -> None:
    """Runs the nodes that fill tables."""
    feeds = {}
    for asset in meta.asset_file_def:
        file = folder / "assets" / asset.filename
        feeds[asset.tensor_info.name.partition(":")[0]] = string_tensor([os.fsencode(file)]).reshape(())
    wanted = [info.name for info in meta.signature_def[INIT].outputs.values()] if INIT in meta.signature_def else []
    for key in ("saved_model_main_op", "legacy_init_op"):
        if not wanted and key in meta.collection_def:
            wanted = list(meta.collection_def[key].node_list.value)
    if wanted:
        program.run(wanted, feeds, program.state.variables, control=True)
