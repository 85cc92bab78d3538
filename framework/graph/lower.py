"""From a jaxpr to instructions: calls are inlined, ops of lamina recognised by name, primitives lowered by a table."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import export
from jax.extend.core import ClosedJaxpr, Literal

from lamina.graph.builder import Builder
from lamina.graph.dims import dims_of, evaluate, symbolic
from lamina.graph.ir import Value
from lamina.ops.marking import marking

# name of a primitive -> rule(builder, eqn's parameters, avals of the outputs, *values) -> value or list of values
PRIMITIVES: dict[str, Callable[..., Any]] = {}
# name of an op of lamina -> rule(builder, *args, **kwargs of the call, with values for arrays) -> value or structure;
# NotImplemented where the arguments have no counterpart: then the op is inlined
NAMED: dict[str, Callable[..., Any]] = {}
FOLDED = 1 << 16
"""What is computed from constants alone becomes a constant, up to so many elements."""


def primitive(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that adds a rule for primitives."""

    def add(rule: Callable[..., Any]) -> Callable[..., Any]:
        PRIMITIVES.update(dict.fromkeys(names, rule))
        return rule

    return add


def named(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that adds a rule for ops of lamina."""

    def add(rule: Callable[..., Any]) -> Callable[..., Any]:
        NAMED.update(dict.fromkeys(names, rule))
        return rule

    return add


def lower(b: Builder, jaxpr: Any, consts: Sequence[Any], arguments: Sequence[Value]) -> list[Value]:
    """Adds what a jaxpr computes to the builder's graph; returns the outputs.

    Args:
        b: the builder.
        jaxpr: an open jaxpr.
        consts: the arrays of its constants, or values for them.
        arguments: values for its inputs.
    """
    env: dict[Any, Value] = {}

    def read(atom: Any) -> Value:
        if isinstance(atom, Literal):
            return b.constant(np.asarray(atom.val, getattr(atom.aval, "dtype", None)))
        return env[atom]

    for var, const in zip(jaxpr.constvars, consts, strict=True):
        env[var] = const if isinstance(const, Value) else b.constant(np.asarray(const))
    env.update(zip(jaxpr.invars, arguments, strict=True))
    outer = b.path
    for eqn in jaxpr.eqns:
        inputs = [read(v) for v in eqn.invars]
        with b.at(_join(outer, str(eqn.source_info.name_stack), b.root)):
            outputs = _equation(b, eqn, inputs)
        for var, value in zip(eqn.outvars, outputs, strict=True):
            env[var] = value
    return [read(v) for v in jaxpr.outvars]


def _join(outer: str, inner: str, root: str | None) -> str:
    """The path of a layer inside another, without the model itself; what jax adds to it is left out."""
    parts = [p for p in inner.split("/") if p and p.replace("-", "_").replace(".", "_").isidentifier()]
    if not outer and parts and parts[0] == root:
        parts = parts[1:]
    return "/".join(filter(None, [outer, *parts]))


def _equation(b: Builder, eqn: Any, inputs: list[Value]) -> list[Value]:
    name = eqn.primitive.name
    if name == "lamina_op":
        return marked(b, eqn.params["mark"], inputs)
    inner = _inner(eqn)
    if name in b.whole and not (inner is not None and _of_jax(inner.jaxpr)):
        run, sized = _binder(eqn)
        made = b.custom(name, run, inputs, **({"sized": True} if sized else {}))
        return made if isinstance(made, list) else [made]
    if inner is not None:
        return lower(b, inner.jaxpr, inner.consts, inputs)
    folded = _fold(b, eqn, inputs)
    if folded is not None:
        return folded
    rule = PRIMITIVES.get(name)
    out = NotImplemented if rule is None else rule(b, eqn.params, [v.aval for v in eqn.outvars], *inputs)
    if out is NotImplemented:
        run, sized = _binder(eqn)
        out = b.custom(name, run, inputs, **({"sized": True} if sized else {}))
    return list(out) if isinstance(out, (list, tuple)) else [out]


def _fold(b: Builder, eqn: Any, inputs: list[Value]) -> list[Value] | None:
    """Constants for what depends on constants alone."""
    arrays = [b.known(v) for v in inputs]
    avals = [v.aval for v in eqn.outvars]
    if any(a is None for a in arrays) or eqn.effects or eqn.primitive.name in ("while", "scan", "cond", "dim_as_value"):
        return None
    if not all(isinstance(getattr(a, "dtype", None), np.dtype) and _small(a.shape) for a in avals):
        return None
    with jax.ensure_compile_time_eval(), marking(False):
        out = eqn.primitive.bind(*map(jax.numpy.asarray, arrays), **eqn.params)
    out = out if eqn.primitive.multiple_results else [out]
    return [b.constant(np.asarray(x)) for x in out]


def _small(shape: Any) -> bool:
    dims = dims_of(shape)
    return all(isinstance(d, int) for d in dims) and int(np.prod(dims, dtype=np.int64)) <= FOLDED


def _inner(eqn: Any) -> Any:
    """The jaxpr of an equation that calls one, or None."""
    if eqn.primitive.name in PRIMITIVES:
        return None
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        inner = eqn.params.get(key)
        if inner is not None:
            return inner if hasattr(inner, "jaxpr") else ClosedJaxpr(inner, ())
    return None


def _of_jax(jaxpr: Any) -> bool:
    """Whether a jaxpr is that of an activation of jax, such as relu, whose derivative the table of ops has too."""
    source = str(getattr(getattr(jaxpr, "debug_info", None), "func_src_info", "")).replace("\\", "/")
    return "/jax/_src/nn/" in source and all(_inner(e) or e.primitive.name in ("max", "min") for e in jaxpr.eqns)


def _binder(eqn: Any) -> tuple[Callable[..., Any], bool]:
    """An equation as a function of arrays, and whether it needs to be told the named sizes."""
    primitive, params = eqn.primitive, eqn.params
    sized = any(export.is_symbolic_dim(leaf) for leaf in jax.tree.leaves(params))

    def run(*arrays: Any, sizes: Any = None) -> Any:
        def fill(leaf: Any) -> Any:
            return evaluate(str(leaf), sizes) if export.is_symbolic_dim(leaf) else leaf

        given = primitive.get_bind_params(jax.tree.map(fill, params) if sized else params)
        functions, given = given if isinstance(given, tuple) else ((), given)  # older versions of jax
        return primitive.bind(*functions, *arrays, **given)

    return run, sized


def marked(b: Builder, mark: Any, inputs: Sequence[Value]) -> list[Value]:
    """An op of lamina: kept as a custom op, recognised, or inlined."""
    if mark.name in b.keep:
        out = b.custom(mark.name, _plain(mark.call), inputs)
        return out if isinstance(out, list) else [out]
    rule = NAMED.get(mark.name) if mark.fn.__module__.startswith("lamina.") else None
    if rule is not None:
        args, kwargs = mark.arguments(inputs)
        # with the op's own defaults: those of an activation and an op of one name may differ
        given = inspect.signature(mark.fn).bind(*args, **kwargs)
        given.apply_defaults()
        try:
            bound = inspect.signature(rule).bind(b, *given.args, **given.kwargs)
        except TypeError:  # an activation has arguments that the op of its name has not
            return inline(b, mark.call, inputs)
        out = rule(*bound.args, **bound.kwargs)
        if out is not NotImplemented:
            return jax.tree.leaves(out)
    return inline(b, mark.call, inputs)


def _plain(call: Callable[..., list[Any]]) -> Callable[..., Any]:
    def run(*arrays: Any) -> Any:
        out = call(*arrays)
        return out[0] if len(out) == 1 else out

    return run


def inline(b: Builder, fn: Callable[..., Any], inputs: Sequence[Value]) -> list[Value]:
    """The instructions of what `fn` computes; ops of lamina that it calls are kept whole."""
    with marking():  # a new function: jax would give the trace of `fn` without marks again
        closed = jax.make_jaxpr(lambda *x: fn(*x))(*(struct(v) for v in inputs))
    return lower(b, closed.jaxpr, closed.consts, inputs)


def struct(value: Value) -> jax.ShapeDtypeStruct:
    """Shape and dtype of a value as jax takes them."""
    return jax.ShapeDtypeStruct(symbolic(tuple(value.shape)), value.dtype)
