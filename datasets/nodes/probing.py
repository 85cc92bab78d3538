"""The element_spec behind a user function, found by running it on the first elements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from lamina.core.nest import flatten, map_structure, pack
from lamina.datasets.context import Context, Run
from lamina.datasets.elements import spec_of
from lamina.datasets.nodes.base import Node, probing_allowed
from lamina.datasets.options import Options
from lamina.datasets.spec import TensorSpec, most_general, relax_shape

SAMPLES = 2
TRIALS = 8


def probe(node: Node, call: Callable[[Any], Any]) -> Any:
    """The spec of `call(element)` over the child's elements.

    The first elements are tried, and one of them with its open dimensions altered: a dimension of the result that
    changes is open. What neither shows (a length that depends on a value further on) is not seen; `output_signature`
    says it.

    Raises:
        ValueError: there are no elements.
    """
    probing_allowed(node.label)
    child = node.children[0]
    results = sampled_specs(node.label, child, lambda e: spec_of(call(e)))
    result = results[0][1]
    for _, spec in results[1:]:
        result = most_general(result, spec)
    given = child.element_spec
    if any(_is_open(s) for s in flatten(given)):
        try:
            altered = spec_of(call(_alter(results[0][0], given)))
        except Exception:  # the function wants just this size: take what depends on it for open
            result = _open_like(result, results[0][0], given)
        else:
            result = most_general(result, altered)
    return result


def sampled_specs(label: str, child: Node, spec_of_result: Callable[[Any], Any]) -> list[tuple[Any, Any]]:
    """(element, spec) for the first elements of `child` for which the function works; it may be meant to fail for some.

    Raises:
        ValueError: there are no elements. Or whatever the function raised, if it failed for all.
    """
    found: list[tuple[Any, Any]] = []
    failure: Exception | None = None
    for element in first_elements(child, TRIALS):
        try:
            found.append((element, spec_of_result(element)))
        except Exception as e:
            failure = failure or e
        if len(found) == SAMPLES:
            break
    if found:
        return found
    if failure is not None:
        raise failure
    raise ValueError(
        f"{label}: the element_spec follows from a function, and there is no element to run it on; "
        "give output_signature."
    )


def first_elements(node: Node, count: int) -> list[Any]:
    """The first elements of a sample of `node`, read in a run that leaves no trace."""
    run = Run(node, Options(), probe=True)
    elements: Iterator[Any] = iter(node.sample(Context(run)))
    try:
        return list(islice(elements, count))
    finally:
        close = getattr(elements, "close", None)
        if close is not None:
            close()
        run.finish(abandoned=True)


def _is_open(spec: Any) -> bool:
    return isinstance(spec, TensorSpec) and spec.shape is not None and None in spec.shape


def _alter(element: Any, spec: Any) -> Any:
    def alter(leaf: Any, s: Any) -> Any:
        if not _is_open(s):
            return leaf
        for axis, size in enumerate(s.shape):
            if size is None:
                n = leaf.shape[axis]
                leaf = np.resize(leaf, (*leaf.shape[:axis], 1, *leaf.shape[axis + 1 :])) if n == 0 else leaf
                leaf = leaf.take(range(n // 2), axis) if n > 1 else np.concatenate([leaf, leaf], axis)
        return leaf

    leaves = [alter(leaf, s) for leaf, s in zip(flatten(element), flatten(spec), strict=True)]
    return pack(element, leaves)


def _open_like(result: Any, element: Any, spec: Any) -> Any:
    sizes = {
        n
        for leaf, s in zip(flatten(element), flatten(spec), strict=True)
        if _is_open(s)
        for n, d in zip(leaf.shape, s.shape, strict=True)
        if d is None
    }

    def relax(s: Any) -> Any:
        if not isinstance(s, TensorSpec) or s.shape is None:
            return s
        return TensorSpec(relax_shape(s.shape, tuple(None if d in sizes else d for d in s.shape)), s.dtype)

    return map_structure(relax, result)
