"""The sources of datasets: checked arguments in, a node out. `Dataset` has them as static methods."""

from __future__ import annotations

import numbers
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lamina.core.checks import check_int, unknown_arguments
from lamina.core.errors import describe
from lamina.core.nest import is_nested, map_structure
from lamina.datasets.files import match_files
from lamina.datasets.nodes.base import Node, as_node
from lamina.datasets.nodes.caching import StoredNode
from lamina.datasets.nodes.choosing import Choose, Draws, WeightedDraws, check_weights
from lamina.datasets.nodes.flattening import Zip
from lamina.datasets.nodes.generator import Generator
from lamina.datasets.nodes.order import Shuffle
from lamina.datasets.nodes.sources import (
    Counter,
    IndexedSource,
    RandomNumbers,
    Range,
    Tensors,
    TensorSlices,
    tables_to_arrays,
)
from lamina.datasets.spec import STRING, TensorSpec, as_dtype, as_shape, check_signature


def from_tensors(tensors: Any, name: str | None = None) -> Node:
    """A dataset of one element.

    Args:
        tensors: Nested arrays, numbers or strings.
        name: A name for messages.

    Example:
        >>> from lamina.datasets import Dataset
        >>> list(Dataset.from_tensors([1, 2]))
        [array([1, 2], dtype=int32)]
    """
    return Tensors(tensors, name)


def from_tensor_slices(tensors: Any, name: str | None = None) -> Node:
    """The slices of arrays along their first axis. Pandas, polars and pyarrow tables give a dict of columns.

    Args:
        tensors: Nested arrays (or a table) of one length. Arrays are not copied.
        name: A name for messages.

    Raises:
        ValueError: an array is a scalar, or the lengths differ.

    Example:
        >>> from lamina.datasets import Dataset
        >>> [e for e in Dataset.from_tensor_slices(([1, 2], ["a", "b"]))]
        [(np.int32(1), b'a'), (np.int32(2), b'b')]
    """
    return TensorSlices(tensors, name)


def from_source(source: Any, name: str | None = None) -> Node:
    """The elements of anything with `__len__` and `__getitem__`, read when they are needed.

    Hugging Face and torch datasets, numpy memmaps, zarr arrays, lists; pandas, polars and pyarrow tables by row.
    Shuffles, shards and batches over it read only the indices they need.

    Args:
        source: The object. `source[i]` gives element i: nested arrays, numbers or strings.
        name: A name for messages.

    Raises:
        TypeError: `source` has no length or cannot be indexed.

    Example:
        >>> from lamina.datasets import Dataset
        >>> list(Dataset.from_source([3, 1, 2]).skip(1))
        [np.int32(1), np.int32(2)]
    """
    table = tables_to_arrays(source)
    if isinstance(table, np.ndarray) or table is not source:
        return TensorSlices(table, name)
    if isinstance(source, (str, bytes, dict)) or not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
        raise TypeError(
            f"from_source: source must have __len__ and __getitem__, got {describe(source)}. "
            "Use from_tensor_slices for a dict of arrays, from_generator for an iterable."
        )
    return IndexedSource(source, name)


def from_generator(
    generator: Callable[..., Any],
    output_types: Any = None,
    output_shapes: Any = None,
    args: Any = None,
    output_signature: Any = None,
    name: str | None = None,
) -> Node:
    """The elements that `generator(*args)` yields.

    Args:
        generator: A function that returns an iterable; it is called anew for each pass.
        output_types: Nested dtypes, the older way to declare elements.
        output_shapes: Nested shapes that go with `output_types`; unknown if left out.
        args: Arguments for `generator`, passed on as numpy values.
        output_signature: Nested `TensorSpec`s of an element.
        name: A name for messages.

    Raises:
        TypeError: `generator` is not callable, or there is no signature.

    Example:
        >>> from lamina.datasets import Dataset, TensorSpec
        >>> def count(n):
        ...     yield from range(n)
        >>> list(Dataset.from_generator(count, args=(2,), output_signature=TensorSpec((), "int64")))
        [np.int64(0), np.int64(1)]
    """
    if not callable(generator):
        raise TypeError(
            f"from_generator: generator must be a function that returns an iterable, got {describe(generator)}. "
            "Wrap it: lambda: my_iterable."
        )
    if output_signature is not None and (output_types is not None or output_shapes is not None):
        raise TypeError("from_generator: give output_signature or output_types and output_shapes, not both.")
    if output_signature is None and output_types is None:
        raise TypeError("from_generator: output_signature is missing; give nested TensorSpecs of one element.")
    if output_signature is None:
        output_signature = _signature_of(output_types, output_shapes)
    args = () if args is None else tuple(args) if isinstance(args, (tuple, list)) else (args,)
    return Generator(generator, check_signature("from_generator", output_signature), args, name)


def _signature_of(types: Any, shapes: Any) -> Any:
    if not is_nested(types):
        return TensorSpec(None if shapes is None else as_shape(shapes), types)
    if shapes is None:
        return map_structure(lambda t: TensorSpec(None, t), types)
    if isinstance(types, dict):
        return {k: _signature_of(types[k], shapes[k]) for k in types}
    return tuple(_signature_of(t, s) for t, s in zip(types, shapes, strict=True))


def range_(*args: Any, output_type: Any = "int64", name: str | None = None, **unknown: Any) -> Node:
    """Evenly spaced integers: `range(stop)`, `range(start, stop)` or `range(start, stop, step)`.

    Args:
        *args: As for Python's range.
        output_type: The dtype of the elements.
        name: A name for messages.

    Example:
        >>> from lamina.datasets import Dataset
        >>> list(Dataset.range(1, 6, 2))
        [np.int64(1), np.int64(3), np.int64(5)]
    """
    if unknown:
        raise unknown_arguments("range", unknown, ["output_type", "name"])
    if not 1 <= len(args) <= 3:
        raise ValueError(f"range: expected 1 to 3 arguments (stop; start, stop; start, stop, step), got {len(args)}.")
    values = [check_int("range", "argument", a[()] if isinstance(a, np.ndarray) and not a.ndim else a) for a in args]
    start, stop, step = (0, values[0], 1) if len(values) == 1 else (*values, 1)[:3]
    if step == 0:
        raise ValueError("range: step must not be 0.")
    return Range(start, stop, step, as_dtype(output_type), name)


def counter(start: Any = 0, step: Any = 1, dtype: Any = "int64", name: str | None = None) -> Node:
    """`start`, `start + step`, and so on without end.

    Example:
        >>> from lamina.datasets import Dataset
        >>> list(Dataset.counter(start=2, step=4).take(2))
        [np.int64(2), np.int64(6)]
    """
    for argument, value in (("start", start), ("step", step)):
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"counter: {argument} must be a number, got {describe(value)}.")
    return Counter(start, step, as_dtype(dtype), name)


def random(seed: int | None = None, rerandomize_each_iteration: bool | None = None, name: str | None = None) -> Node:
    """Random integers in [0, 2**32), without end.

    Args:
        seed: The seed; drawn from numpy's global generator if None.
        rerandomize_each_iteration: True gives each pass other numbers.
        name: A name for messages.
    """
    return RandomNumbers(_seed("random", seed), bool(rerandomize_each_iteration), name)


def _seed(owner: str, seed: Any) -> int | None:
    return None if seed is None else check_int(owner, "seed", seed)


def list_files(
    file_pattern: Any, shuffle: bool | None = None, seed: int | None = None, name: str | None = None
) -> Node:
    """The names of the files that match a pattern, as byte strings.

    Args:
        file_pattern: A pattern (`*`, `?`, `[a-z]`), or a list of them.
        shuffle: Whether the order is random, anew in each pass; True if None. False sorts them.
        seed: The seed of that order.
        name: A name for messages.

    Raises:
        FileNotFoundError: nothing matches.
    """
    names = match_files(file_pattern, "list_files")
    column = np.empty(len(names), STRING)
    column[:] = [os.fsencode(n) for n in names]
    files = TensorSlices(column, name)
    if shuffle is not None and not shuffle:
        return files
    return Shuffle(files, None, _seed("list_files", seed), True, name)


def zip_(*args: Any, datasets: Any = None, name: str | None = None) -> Node:
    """Elements of several datasets in step, nested as the datasets are; it ends with the shortest.

    Args:
        *args: Datasets, or one nested tuple or dict of them.
        datasets: The same, by keyword.
        name: A name for messages.

    Example:
        >>> from lamina.datasets import Dataset
        >>> list(Dataset.zip(Dataset.range(2), Dataset.range(5, 9)))
        [(np.int64(0), np.int64(5)), (np.int64(1), np.int64(6))]
    """
    if (not args) == (datasets is None):
        raise TypeError("zip: give the datasets either as arguments or as `datasets`.")
    structure = datasets if datasets is not None else args[0] if len(args) == 1 else args
    if isinstance(structure, list):
        raise TypeError("zip: a list does not say how elements are nested; give a tuple or a dict of datasets.")
    if is_nested(structure) and not structure:
        raise ValueError("zip: expected at least one dataset.")
    return Zip(map_structure(lambda d: as_node(d, "zip", "each of datasets"), structure), name)


def choose_from_datasets(datasets: Sequence[Any], choice_dataset: Any, stop_on_empty_dataset: bool = True) -> Node:
    """The next element of the dataset whose number `choice_dataset` gives.

    Args:
        datasets: A list of datasets with elements of one structure and dtype.
        choice_dataset: A dataset of integers below `len(datasets)`.
        stop_on_empty_dataset: Whether to end when a chosen dataset is at its end; False passes over it.

    Example:
        >>> from lamina.datasets import Dataset
        >>> parts = [Dataset.range(3), Dataset.range(10, 13)]
        >>> list(Dataset.choose_from_datasets(parts, Dataset.from_tensor_slices([1, 0, 1])))
        [np.int64(10), np.int64(0), np.int64(11)]
    """
    nodes = _nodes("choose_from_datasets", datasets)
    choices = as_node(choice_dataset, "choose_from_datasets", "choice_dataset")
    return Choose(choices, nodes, stop_on_empty_dataset)


def sample_from_datasets(
    datasets: Sequence[Any],
    weights: Any = None,
    seed: int | None = None,
    stop_on_empty_dataset: bool = False,
    rerandomize_each_iteration: bool | None = None,
) -> Node:
    """The next element of a dataset drawn at random.

    Args:
        datasets: A list of datasets with elements of one structure and dtype.
        weights: How often each is drawn; equal if None. A dataset of such vectors gives them anew for each draw.
        seed: The seed of the draws.
        stop_on_empty_dataset: Whether to end when a drawn dataset is at its end; False reads all to their ends.
        rerandomize_each_iteration: True draws anew in each pass.

    Example:
        >>> from lamina.datasets import Dataset
        >>> parts = [Dataset.range(2), Dataset.range(10, 12)]
        >>> sorted(Dataset.sample_from_datasets(parts, seed=1))
        [np.int64(0), np.int64(1), np.int64(10), np.int64(11)]
    """
    nodes = _nodes("sample_from_datasets", datasets)
    seed, anew = _seed("sample_from_datasets", seed), bool(rerandomize_each_iteration)
    if isinstance(getattr(weights, "_node", None), Node):
        draws: Node = WeightedDraws(weights._node, len(nodes), seed, anew)
    else:
        w = check_weights([1.0] * len(nodes) if weights is None else weights, len(nodes))
        if stop_on_empty_dataset and (w > 0).sum() == 1:
            return nodes[int(w.argmax())]
        draws = Draws(w, seed, anew)
    return Choose(draws, nodes, stop_on_empty_dataset, op="sample_from_datasets")


def _nodes(owner: str, datasets: Any) -> list[Node]:
    if isinstance(getattr(datasets, "_node", None), Node) or not isinstance(datasets, Sequence) or not datasets:
        raise TypeError(f"{owner}: datasets must be a list of at least one Dataset, got {describe(datasets)}.")
    return [as_node(d, owner, "each of datasets") for d in datasets]


def load(path: Any, element_spec: Any = None, shard: int | None = None) -> StoredNode:
    """The node that reads a folder which `Dataset.save` wrote, or one of its shards."""
    path = path.decode() if isinstance(path, bytes) else str(path)
    return StoredNode(path, element_spec=element_spec, shard=shard)
