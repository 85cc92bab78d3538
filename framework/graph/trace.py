"""trace: a graph from a model or any other function of jax."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_name

from lamina.core.errors import describe, owner_label
from lamina.graph.builder import Builder
from lamina.graph.dims import dims_of, names_in, spec_of
from lamina.graph.graph import Graph
from lamina.graph.lower import lower
from lamina.ops.marking import is_marking, marking
from lamina.ops.symbol import VALUE_HINT, Symbol
from lamina.state.frame import ScratchFrame, purify
from lamina.state.variable import Variable

SIZE_HINT = (
    "The code asks for a size that is not known, such as that of the batch. Compute with x.shape as it is, give two "
    "unknown sizes that are equal the same name, or trace with a number in place of None."
)


def tag(x: Any, name: str) -> Any:
    """`x`, under a name by which a graph that is traced from the code can fetch it.

    Example:
        >>> graph = trace(lambda x: tag(x + 1.0, "next") * 2.0, ())
        >>> float(graph.run("next", {"x": 3.0}))
        4.0
    """
    return checkpoint_name(x.value if isinstance(x, Variable) else x, name)


def layer_of(name: str) -> Any:
    """A context: in a trace, what is computed in it stands in the layer that a node is named after.

    Args:
        name: a node's name, such as `"encoder/dense/MatMul"`, whose layer is `encoder/dense`.

    Example:
        >>> import jax.numpy as jnp
        >>> def program(x):
        ...     with layer_of("head/Tanh"):
        ...         return jnp.tanh(x)
        >>> trace(program, (3,)).instrs[0].path
        'head'
    """
    path = name.rpartition("/")[0]
    return jax.named_scope(path) if path and is_marking() else contextlib.nullcontext()


def trace(
    fn: Any,
    *specs: Any,
    name: str | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    keep: Collection[str] = (),
) -> Graph:
    """The graph of a function, layer or model.

    Variables that the code reads become named constants; Python code runs once, while it is traced. Ops of lamina stay
    whole (`Softmax`, `Conv`), all else is lowered primitive by primitive; a primitive without a counterpart in the
    table becomes a custom op.

    Args:
        fn: a function of arrays, a layer, or a model. A model is traced as it predicts, not as it trains.
        *specs: for each argument its shape, an array, a spec with shape and dtype, or a list or dict of them. None in
            a shape, and any name, is a size that is not known. A model that was made from `Input` needs none.
        name: the graph's name.
        input_names: names for the inputs, in the order of the flat arguments; by default those of the parameters.
        output_names: names for the outputs, in the order of the flat result.
        keep: names of ops of your own (made with `lamina.ops.op.op(named=True)`) that stay whole, as custom ops.

    Returns:
        A `Graph`; calling it gives what `fn` gives.

    Raises:
        ValueError: the code asks for the value of an array, or for a size that is not known.
        TypeError: a spec has no shape, or the result is no array.

    Example:
        >>> import jax.numpy as jnp
        >>> graph = trace(lambda x: jnp.tanh(x) * 2.0, (None, 3))
        >>> [i.op for i in graph.instrs], graph.inputs[0].shape
        (['Tanh', 'Mul'], ('batch', 3))
    """
    is_layer = hasattr(fn, "call") and hasattr(fn, "variables")
    label = owner_label(fn) if is_layer else getattr(fn, "__name__", type(fn).__name__)
    if not specs and getattr(fn, "network", None) is not None:
        specs = (fn.input,)
        input_names = fn.input_names if input_names is None else input_names
    leaves, tree = jax.tree.flatten(specs, is_leaf=lambda x: x is not specs and _is_spec(x))
    names = list(input_names) if input_names is not None else _input_names(fn, specs)
    if len(names) != len(leaves):
        raise ValueError(f"trace: {label} has {len(leaves)} inputs, got {len(names)} names for them.")
    structs = [spec_of(leaf, n) for leaf, n in zip(leaves, names, strict=True)]

    def run(*arrays: Any) -> Any:
        args = jax.tree.unflatten(tree, arrays)
        return fn(*args, training=False) if is_layer else fn(*args)

    seen = _Recorder()
    sizes = {n for s in structs for d in dims_of(s.shape) for n in names_in(d)}
    with marking(), _hints(label, sizes):
        with seen:
            jax.eval_shape(run, *structs)
        variables = list(seen.met.values())
        pure = purify(run, variables)
        values = [jax.ShapeDtypeStruct(v.shape, v.stored.dtype) for v in variables]
        closed, out = jax.make_jaxpr(lambda vs, xs: pure(vs, *xs)[0], return_shape=True)(values, structs)
    found, structure = jax.tree.flatten(out)
    if not found:
        raise TypeError(f"trace: {label} must return arrays, got {describe(out)}.")
    builder = Builder(name or _plain_name(getattr(fn, "name", None) or label))
    builder.keep = frozenset(keep)
    builder.root = fn.name if is_layer else None
    inputs = [builder.input(n, dims_of(s.shape), s.dtype) for n, s in zip(names, structs, strict=True)]
    weights = [builder.variable(v.path, v.stored, v.trainable) for v in variables]
    outputs = lower(builder, closed.jaxpr, closed.consts, [*weights, *inputs])
    if output_names is None:
        output_names = _output_names(out, len(outputs))
    if len(output_names) != len(outputs):
        raise ValueError(f"trace: {label} has {len(outputs)} outputs, got {len(output_names)} names for them.")
    made = builder.finish(outputs, output_names, lambda arrays: jax.tree.unflatten(structure, arrays))
    return Graph.of(made)


class _Recorder(ScratchFrame):
    """Notes the variables that are read."""

    def __init__(self) -> None:
        super().__init__()
        self.met: dict[int, Variable] = {}

    def read(self, variable: Any) -> Any:
        self.met.setdefault(id(variable), variable)
        return super().read(variable)


class _hints:
    """Adds to errors of tracing what may be done about them."""

    def __init__(self, label: str, sizes: set[str]):
        self.label, self.sizes = label, sizes

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            return
        if issubclass(kind, (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError)):
            raise ValueError(f"trace: {self.label} cannot be traced. {VALUE_HINT}") from error
        shapes = issubclass(kind, (TypeError, ValueError)) and "shape" in str(error)
        named = shapes and any(re.search(rf"\b{size}\b", str(error)) for size in self.sizes)
        if named or issubclass(kind, jax.errors.InconclusiveDimensionOperation):
            raise ValueError(f"trace: {self.label}: {SIZE_HINT} {error}") from error


def _is_spec(x: Any) -> bool:
    """Whether `x` is the spec of one array: a shape, or what has one."""
    if hasattr(x, "shape") or isinstance(x, Symbol):
        return True
    return isinstance(x, (tuple, list)) and all(d is None or isinstance(d, (int, str)) for d in x)


def _input_names(fn: Any, specs: tuple) -> list[str]:
    """A name for each array among the arguments: that of the parameter, and the place inside it."""
    target: Callable[..., Any] = fn.call if hasattr(fn, "call") and hasattr(fn, "variables") else fn
    try:
        parameters = [p for p in inspect.signature(target).parameters.values() if p.kind is not p.KEYWORD_ONLY]
    except (TypeError, ValueError):  # a builtin
        parameters = []
    names = []
    for i, spec in enumerate(specs):
        known = i < len(parameters) and parameters[i].kind is not inspect.Parameter.VAR_POSITIONAL
        first = parameters[i].name if known else f"input_{i}"
        places, _ = jax.tree_util.tree_flatten_with_path(spec, is_leaf=_is_spec)
        for place, leaf in places:
            given = getattr(leaf, "name", None)
            keys = [str(getattr(k, "key", getattr(k, "idx", k))) for k in place]
            inside = keys if len(keys) == 1 and not keys[0].isdigit() else [first, *keys]
            names.append(given if isinstance(given, str) and given else "_".join(inside))
    return names


def _output_names(out: Any, count: int) -> list[str]:
    """The keys of a dict of outputs, else output_0, output_1 and so on, as Keras names them."""
    if isinstance(out, dict) and len(out) == count:
        return [str(k) for k in sorted(out)]
    return [f"output_{i}" for i in range(count)]


def _plain_name(label: str) -> str:
    return "".join(c if c.isalnum() or c == "_" else "_" for c in label).strip("_") or "graph"
