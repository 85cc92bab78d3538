"""Rules for gather and scatter of jax, in the forms that indexing takes: blocks, slices, elements, points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.graph.builder import Builder
from lamina.graph.dims import Dims, dims_of
from lamina.graph.ir import Value
from lamina.graph.lower import primitive
from lamina.graph.primitives import broadcast, reshape, scalar, slice_, transpose


@primitive("gather")
def _gather(b: Builder, params: Any, avals: Any, x: Value, indices: Value) -> Any:
    d = params["dimension_numbers"]
    sizes = dims_of(params["slice_sizes"])
    starts, collapsed = list(d.start_index_map), list(d.collapsed_slice_dims)
    batching, places = list(d.operand_batching_dims), list(d.start_indices_batching_dims)
    mode = str(params["mode"]).upper()
    fill = "FILL" in mode and "CLIP" not in mode
    offsets = list(d.offset_dims)
    if len(indices.shape) > 1 or batching:  # slices of size 1 that keep their axis get it back in the end
        window = [i for i in range(len(x.shape)) if i not in collapsed and i not in batching]
        extra = {o for o, i in zip(offsets, window, strict=True) if i in starts and sizes[i] == 1}
        collapsed += [i for o, i in zip(offsets, window, strict=True) if o in extra]
        offsets = [o - sum(e < o for e in extra) for o in offsets if o not in extra]
    limits = [_room(x.shape[i], sizes[i]) for i in starts]
    rest = [i for i in range(len(x.shape)) if i not in batching and i not in starts]
    if len(indices.shape) == 1 and not batching and all(sizes[i] == x.shape[i] for i in rest):
        out: Any = _block(b, x, indices, starts, collapsed, sizes, limits)
    elif sorted(starts) != sorted(collapsed) or any(sizes[i] != x.shape[i] for i in rest):
        return NotImplemented
    elif len(batching) == len(x.shape) - 1 == len(indices.shape) - 2 and not offsets:
        out = _elements(b, x, indices, starts[0], batching, places)
    elif len(starts) == 1 and not batching:
        out = _slices(b, x, indices, starts[0], offsets)
    else:
        out = _points(b, x, indices, starts, batching, places, offsets)
    if fill:
        out = _filled(b, params, x, indices, limits, out, offsets)
    return out if out is NotImplemented else reshape(b, out, dims_of(avals[0].shape))


def _room(size: Any, part: Any) -> int | None:
    """The last place at which a part fits, where that is known."""
    return size - part if isinstance(size, int) and isinstance(part, int) else None


def _block(b: Builder, x: Value, indices: Value, starts: Any, collapsed: Any, sizes: Any, limits: Any) -> Value:
    """One block of x."""
    known, rank = b.known(indices), len(x.shape)
    if known is not None and None not in limits:
        place = dict(zip(starts, (int(np.clip(k, 0, n)) for k, n in zip(known, limits, strict=True)), strict=True))
        start = [place.get(i, 0) for i in range(rank)]
        stop = [start[i] + sizes[i] if i in place else x.shape[i] for i in range(rank)]
        out = slice_(b, x, start, stop)
    else:
        zero = scalar(b, 0, indices.dtype)
        at = {i: reshape(b, slice_(b, indices, [n], [n + 1]), ()) for n, i in enumerate(starts)}
        out = b.emit("DynamicSlice", [x, *(at.get(i, zero) for i in range(rank))], sizes=Dims(sizes))
    return reshape(b, out, [out.shape[i] for i in range(rank) if i not in collapsed])


def _slices(b: Builder, x: Value, indices: Value, axis: int, offsets: list[int]) -> Value:
    """Whole slices of x, at places of one axis."""
    flat = reshape(b, indices, indices.shape[:-1])
    out = b.emit("Gather", [x, flat], axis=axis)
    rows = range(axis, axis + len(flat.shape))
    return _interleave(b, out, offsets, rows)


def _interleave(b: Builder, out: Value, offsets: list[int], rows: Sequence[int]) -> Value:
    """The axes of slices brought to `offsets`, those of the indices (`rows`) to the other places."""
    slices, others = iter(i for i in range(len(out.shape)) if i not in rows), iter(rows)
    return transpose(b, out, [next(slices) if i in offsets else next(others) for i in range(len(out.shape))])


def _elements(b: Builder, x: Value, indices: Value, axis: int, batching: Any, places: Any) -> Any:
    """take_along_axis: all axes but one are walked together."""
    rank = len(x.shape)
    flat = reshape(b, indices, indices.shape[:-1])
    order = [next(j for j in range(rank) if j not in places)] * rank
    for i, j in zip(batching, places, strict=True):
        order[i] = j
    out = b.emit("GatherElements", [x, transpose(b, flat, order)], axis=axis)
    return transpose(b, out, np.argsort(order))


def _points(b: Builder, x: Value, indices: Value, starts: Any, batching: Any, places: Any, offsets: list[int]) -> Value:
    """Slices of x at points of several axes; axes that are walked together become part of the points."""
    first = [*batching, *starts]
    x = transpose(b, x, [*first, *(i for i in range(len(x.shape)) if i not in first)])
    out = b.emit("GatherND", [x, _with_places(b, indices, batching, places)])
    return _interleave(b, out, offsets, range(len(indices.shape) - 1))


def _with_places(b: Builder, indices: Value, batching: Any, places: Any) -> Value:
    """Points with the place along each of the axes that are walked together in front."""
    rows = indices.shape[:-1]
    parts = []
    for _, axis in zip(batching, places, strict=True):
        count = b.emit("Iota", [], shape=Dims([rows[axis]]), dtype=indices.dtype.name)
        aligned = reshape(b, count, [rows[axis] if i == axis else 1 for i in range(len(rows) + 1)])
        parts.append(broadcast(b, aligned, [*rows, 1]))
    return b.emit("Concat", [*parts, indices], axis=len(rows)) if parts else indices


def _filled(b: Builder, params: Any, x: Value, indices: Value, limits: Any, out: Value, offsets: list[int]) -> Any:
    """NaN, or the value asked for, where an index is out of range."""
    known = b.known(indices)
    if None in limits:
        return NotImplemented
    if known is not None and np.all(known >= 0) and np.all(known <= np.asarray(limits)):
        return out
    value = params.get("fill_value")
    if value is None:
        value = {"i": lambda t: np.iinfo(t).min, "u": lambda t: np.iinfo(t).max, "b": lambda t: False}.get(
            out.dtype.kind, lambda t: np.nan
        )(out.dtype)
    low = b.emit("GreaterEqual", [indices, scalar(b, 0, indices.dtype)])
    high = b.emit("LessEqual", [indices, b.constant(np.asarray(limits, indices.dtype))])
    inside = b.emit("ReduceAnd", [b.emit("And", [low, high])], axes=(len(indices.shape) - 1,), keepdims=False)
    rows = iter(inside.shape)
    aligned = [1 if i in offsets else next(rows) for i in range(len(out.shape))]
    return b.emit("Select", [reshape(b, inside, aligned), out, scalar(b, value, out.dtype)])


_SCATTERS = {"add": "add", "mul": "mul", "min": "min", "max": "max"}


@primitive(
    "scatter",
    "scatter-add",
    "scatter_add",
    "scatter-mul",
    "scatter_mul",
    "scatter-min",
    "scatter_min",
    "scatter-max",
    "scatter_max",
)
def _scatter(b: Builder, params: Any, avals: Any, x: Value, indices: Value, updates: Value) -> Any:
    d = params["dimension_numbers"]
    body = params.get("update_jaxpr")
    kinds = [str(e.primitive) for e in body.eqns] if body is not None else []
    reduction = _SCATTERS.get(kinds[0]) if kinds else "set"
    starts, inserted = list(d.scatter_dims_to_operand_dims), list(d.inserted_window_dims)
    batching, places = list(d.operand_batching_dims), list(d.scatter_indices_batching_dims)
    window, rank = list(d.update_window_dims), len(x.shape)
    if reduction is None or len(kinds) > 1 or ("CLIP" in str(params["mode"]).upper()):
        return NotImplemented
    if sorted(starts) != sorted(inserted):
        return _set_block(b, x, indices, updates, starts, inserted, window) if reduction == "set" else NotImplemented
    first = [*batching, *starts]
    order = [*first, *(i for i in range(rank) if i not in first)]
    if any(updates.shape[w] != x.shape[i] for w, i in zip(window, order[len(first) :], strict=True)):
        return NotImplemented
    rows = [i for i in range(len(updates.shape)) if i not in window]
    points = _with_places(b, indices, batching, places)
    given = [transpose(b, x, order), points, transpose(b, updates, [*rows, *window])]
    return transpose(b, b.emit("ScatterND", given, reduction=reduction), np.argsort(order))


def _set_block(b: Builder, x: Value, indices: Value, updates: Value, starts: Any, inserted: Any, window: Any) -> Any:
    """One block of x is set, at a place that is known."""
    known, rank = b.known(indices), len(x.shape)
    if len(indices.shape) != 1 or known is None or not set(inserted) <= set(starts):
        return NotImplemented
    kept = [i for i in range(rank) if i not in inserted]
    shape: list[Any] = [1] * rank
    for w, i in zip(window, kept, strict=True):
        shape[i] = updates.shape[w]
    limits = [_room(x.shape[i], shape[i]) for i in starts]
    if any(n is None or not 0 <= k <= n for k, n in zip(known, limits, strict=True)):
        return NotImplemented  # jax leaves out a block that reaches beyond, where DynamicUpdate would move it
    zero = scalar(b, 0, indices.dtype)
    at = {i: scalar(b, k, indices.dtype) for i, k in zip(starts, known, strict=True)}
    return b.emit("DynamicUpdate", [x, reshape(b, updates, shape), *(at.get(i, zero) for i in range(rank))])
