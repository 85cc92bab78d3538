"""Nested structures of tuples, lists, dicts and named tuples, flattened in one fixed order (dicts by sorted key).

`None` is an empty structure, as in jax. Nothing here knows jax, so that Datasets can use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

Path = tuple[Any, ...]


def is_namedtuple(x: Any) -> bool:
    """Whether `x` is an instance of a named tuple class."""
    return isinstance(x, tuple) and hasattr(x, "_fields")


def is_nested(x: Any) -> bool:
    """Whether `x` is a container (or None) rather than a leaf."""
    return x is None or isinstance(x, (tuple, list, dict))


def _sorted_keys(d: dict) -> list:
    try:
        return sorted(d)
    except TypeError:
        return sorted(d, key=lambda k: (type(k).__name__, str(k)))


def _children(x: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(x, dict):
        for k in _sorted_keys(x):
            yield k, x[k]
    elif is_namedtuple(x):
        yield from zip(x._fields, x, strict=True)
    elif x is not None:
        yield from enumerate(x)


def _rebuild(like: Any, children: list) -> Any:
    if like is None:
        return None
    if isinstance(like, dict):
        by_key = dict(zip(_sorted_keys(like), children, strict=True))
        ordered = {k: by_key[k] for k in like}
        return ordered if type(like) is dict else type(like)(ordered)
    if is_namedtuple(like):
        return type(like)(*children)
    return type(like)(children)


def flatten(structure: Any) -> list:
    """The leaves of `structure`, in order.

    Example:
        >>> flatten({"b": [1, 2], "a": (3, None)})
        [3, 1, 2]
    """
    if not is_nested(structure):
        return [structure]
    return [leaf for _, child in _children(structure) for leaf in flatten(child)]


def flatten_with_path(structure: Any, path: Path = ()) -> list[tuple[Path, Any]]:
    """The leaves of `structure` with the keys, indices and field names that lead to each.

    Example:
        >>> flatten_with_path({"a": [1, 2]})
        [(('a', 0), 1), (('a', 1), 2)]
    """
    if not is_nested(structure):
        return [(path, structure)]
    return [p for key, child in _children(structure) for p in flatten_with_path(child, (*path, key))]


def pack(structure: Any, leaves: Sequence[Any]) -> Any:
    """A structure like `structure` that holds `leaves`, given in the order of `flatten`.

    Raises:
        ValueError: there are more or fewer leaves than places.

    Example:
        >>> pack({"a": 0, "b": (0, 0)}, [1, 2, 3])
        {'a': 1, 'b': (2, 3)}
    """
    it = iter(leaves)

    def build(s: Any) -> Any:
        if not is_nested(s):
            return next(it)
        return _rebuild(s, [build(c) for _, c in _children(s)])

    places = len(flatten(structure))
    if places != len(leaves):
        raise ValueError(f"The structure has {places} places, got {len(leaves)} leaves.")
    return build(structure)


def map_structure(fn: Callable[..., Any], structure: Any, *others: Any) -> Any:
    """`fn` applied to each leaf of `structure` (and the matching leaves of `others`).

    Raises:
        ValueError: the structures differ.

    Example:
        >>> map_structure(lambda a, b: a + b, {"x": 1, "y": (2,)}, {"x": 10, "y": (20,)})
        {'x': 11, 'y': (22,)}
    """
    for other in others:
        assert_same_structure(structure, other)
    columns = [flatten(s) for s in (structure, *others)]
    return pack(structure, [fn(*row) for row in zip(*columns, strict=True)])


def assert_same_structure(a: Any, b: Any, path: Path = ()) -> None:
    """Raises ValueError, naming the place, if `a` and `b` are not nested alike.

    Example:
        >>> assert_same_structure((1, {"a": 2}), (3, {"a": 4}))
    """
    where = "".join(f"[{p!r}]" for p in path) or "the top"
    nested_a, nested_b = is_nested(a), is_nested(b)
    if nested_a != nested_b or (nested_a and _kind(a) != _kind(b)):
        raise ValueError(f"The structures differ at {where}: {_kind(a)} and {_kind(b)}.")
    if not nested_a:
        return
    keys_a, keys_b = [k for k, _ in _children(a)], [k for k, _ in _children(b)]
    if keys_a != keys_b:
        raise ValueError(f"The structures differ at {where}: {keys_a} and {keys_b}.")
    for (key, ca), (_, cb) in zip(_children(a), _children(b), strict=True):
        assert_same_structure(ca, cb, (*path, key))


def _kind(x: Any) -> str:
    if x is None:
        return "None"
    if isinstance(x, dict):
        return "a dict"
    if is_namedtuple(x):
        return f"a named tuple {type(x).__name__}"
    if isinstance(x, list):
        return "a list"
    if isinstance(x, tuple):
        return "a tuple"
    return "a leaf"
