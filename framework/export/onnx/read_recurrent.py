"""What ONNX's recurrent layers, branches and loops compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lamina.export.onnx.attributes import Attributes
from lamina.export.onnx.read_math import reads, traced
from lamina.export.tensorflow.read_ops import is_known, number
from lamina.ops import activation as activations
from lamina.ops.recurrent import gru, lstm, simple_rnn

# op -> function(call, attributes, *inputs), where call(graph, inputs) gives the outputs of a graph inside
CONTROL: dict[str, Callable[..., Any]] = {}
_ACTIVATIONS: dict[str, Any] = {"Tanh": jnp.tanh, "Sigmoid": activations.sigmoid, "Relu": activations.relu}
_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (0, 1, 2), "RNN": (0,)}
"""The places of ONNX's gates in the order of ours: input, forget, cell, output; update, reset, candidate."""


@reads("LSTM", "GRU", "RNN")
def _recurrent(
    a: Attributes,
    x: Any,
    w: Any,
    r: Any,
    b: Any = None,
    lengths: Any = None,
    h: Any = None,
    c: Any = None,
    p: Any = None,
) -> list[Any]:
    """Both directions by our ops, batch first; outputs of all steps, then the last states."""
    op = a.node.op_type
    directions = 2 if a.s("direction", "forward") == "bidirectional" else 1
    chosen = a.strings("activations", None) or _DEFAULTS[op] * directions
    plain = lengths is None and p is None and "clip" not in a and not a.i("input_forget", 0)
    if not plain or any(name not in _ACTIVATIONS for name in chosen) or w.shape[0] != directions:
        raise ValueError("lengths, peepholes, clipping and unusual activations are not supported.")
    first = bool(a.i("layout", 0))
    x = traced(x) if first else jnp.swapaxes(traced(x), 0, 1)
    units = int(r.shape[-1])
    each = len(_DEFAULTS[op])
    rows, states = [], []
    for d in range(directions):
        back = d == 1 or a.s("direction", "forward") == "reverse"
        start = [_state(s, d, first, x, units) for s in ((h, c) if op == "LSTM" else (h,))]
        out, last = _run(a, x, w[d], r[d], None if b is None else b[d], start, chosen[d * each : (d + 1) * each], back)
        rows.append(out)
        states.append(last)
    y = jnp.stack(rows, 2) if first else jnp.stack([jnp.swapaxes(v, 0, 1) for v in rows], 1)
    return [y, *(jnp.stack(s, 1 if first else 0) for s in zip(*states, strict=True))]


def _state(given: Any, d: int, first: bool, x: Any, units: int) -> Any:
    if given is None:
        return jnp.zeros((x.shape[0], units), x.dtype)
    return traced(given)[:, d] if first else traced(given)[d]


def _run(
    a: Attributes, x: Any, w: Any, r: Any, b: Any, states: list[Any], names: Sequence[str], back: bool
) -> tuple[Any, list[Any]]:
    op = a.node.op_type
    order = _GATES[op]

    def gates(value: Any) -> Any:
        xp: Any = np if is_known(value) else jnp
        return xp.concatenate([xp.split(value, len(order), 0)[i] for i in order], 0)

    kernel, recurrent = jnp.asarray(gates(w).T), jnp.asarray(gates(r).T)
    biases: list[Any] = [None, None] if b is None else [gates(v) for v in (np if is_known(b) else jnp).split(b, 2)]
    fns = [_ACTIVATIONS[name] for name in names]
    loop = {"return_sequences": True, "go_backwards": back}
    if op == "LSTM":
        if fns[1] is not fns[2]:
            raise ValueError("an LSTM with two kinds of activation for its cell is not supported.")
        bias = None if b is None else jnp.asarray(biases[0] + biases[1])
        out = lstm(x, states, kernel, recurrent, bias, activation=fns[1], recurrent_activation=fns[0], **loop)
    elif op == "GRU":
        after = bool(a.i("linear_before_reset", 0))
        bias = None if b is None else jnp.asarray(jnp.stack(biases) if after else biases[0] + biases[1])
        loop["reset_after"] = after
        out = gru(x, states, kernel, recurrent, bias, activation=fns[1], recurrent_activation=fns[0], **loop)
    else:
        bias = None if b is None else jnp.asarray(biases[0] + biases[1])
        out = simple_rnn(x, states, kernel, recurrent, bias, activation=fns[0], **loop)
    rows = jnp.flip(out[1], 1) if back else out[1]
    return rows, list(out[2])


# ---- control flow


def _controls(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(fn: Callable[..., Any]) -> Callable[..., Any]:
        CONTROL[name] = fn
        return fn

    return add


@_controls("If")
def _if(call: Callable[..., Any], a: Attributes, condition: Any) -> Any:
    then, orelse = a.graph("then_branch"), a.graph("else_branch")
    if is_known(condition):
        return call(then if np.asarray(condition).reshape(-1).all() else orelse, [])
    return list(
        lax.cond(
            condition.reshape(()),
            lambda: tuple(map(traced, call(then, []))),
            lambda: tuple(map(traced, call(orelse, []))),
        )
    )


@_controls("Loop")
def _loop(call: Callable[..., Any], a: Attributes, count: Any, condition: Any, *state: Any) -> Any:
    """A while loop; one that stacks up rows must run a known number of times."""
    body = a.graph("body")
    start = tuple(map(traced, state))
    n = len(start)
    round_dtype = jnp.asarray(np.int64(0)).dtype
    rows = len(body.output) - 1 - n

    def step(i: Any, running: Any, values: Sequence[Any]) -> list[Any]:
        return call(body, [i, running, *values])

    if rows:
        if count is None or not is_known(count) or not _runs_through(step, start, condition):
            raise ValueError("a loop that stacks up rows must run a known number of times.")

        def scanned(values: Any, i: Any) -> tuple:
            out = step(i, np.asarray(True), values)
            return tuple(map(traced, out[1 : n + 1])), tuple(map(traced, out[n + 1 :]))

        done: Any = lax.scan(scanned, start, lax.iota(round_dtype, number(count, "the number of rounds")))
        return [*done[0], *done[1]]
    limit = None if count is None else traced(count).reshape(()).astype(round_dtype)
    running = jnp.asarray(True) if condition is None else traced(condition).reshape(())

    def more(loop: Any) -> Any:
        i, go, _ = loop
        return go if limit is None else go & (i < limit)

    def once(loop: Any) -> Any:
        i, go, values = loop
        out = step(i, go, values)
        return i + 1, traced(out[0]).reshape(()), tuple(map(traced, out[1:]))

    return list(lax.while_loop(more, once, (jnp.zeros((), round_dtype), running, start))[2])


def _runs_through(step: Callable[..., Any], start: tuple, condition: Any) -> bool:
    """Whether nothing but the number of rounds ends a loop."""
    if condition is not None and not (is_known(condition) and np.asarray(condition).all()):
        return False
    found: list[Any] = []

    def look(*values: Any) -> Any:
        out = step(jnp.zeros((), np.int32), np.asarray(True), values)
        found.append(out[0])
        return 0

    jax.eval_shape(look, *start)
    return is_known(found[0]) and bool(np.asarray(found[0]).all())


@_controls("Scan")
def _scan(call: Callable[..., Any], a: Attributes, *given: Any) -> Any:
    body, m = a.graph("body"), a.i("num_scan_inputs")
    n = len(given) - m
    if m < 1 or n < 0:
        raise ValueError(f"a scan of {len(given)} inputs cannot have {m} rows.")
    stacked = len(body.output) - n
    axes = a.ints("scan_input_axes", None) or [0] * m
    back = a.ints("scan_input_directions", None) or [0] * m
    rows = [jnp.moveaxis(traced(x), axis, 0) for x, axis in zip(given[n:], axes, strict=True)]
    rows = [jnp.flip(x, 0) if b else x for x, b in zip(rows, back, strict=True)]

    def step(state: Any, row: Any) -> tuple:
        out = list(map(traced, call(body, [*state, *row])))
        return tuple(out[:n]), tuple(out[n:])

    made: Any
    last, made = lax.scan(step, tuple(map(traced, given[:n])), tuple(rows))
    back = a.ints("scan_output_directions", None) or [0] * stacked
    axes = a.ints("scan_output_axes", None) or [0] * stacked
    made = [jnp.flip(x, 0) if b else x for x, b in zip(made, back, strict=True)]
    return [*last, *(jnp.moveaxis(x, 0, axis) for x, axis in zip(made, axes, strict=True))]
