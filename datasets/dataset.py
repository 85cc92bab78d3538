"""Dataset: a fluent shell over nodes. Each method checks its arguments and puts a node on top."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lamina.core.checks import check_int, check_type
from lamina.core.errors import describe
from lamina.datasets import sources, summary
from lamina.datasets.buckets import Buckets
from lamina.datasets.clock import Clock
from lamina.datasets.elements import as_element, as_result, spec_of
from lamina.datasets.iterator import DatasetIterator
from lamina.datasets.nodes.base import Node, as_args, as_node, call_user
from lamina.datasets.nodes.batching import Batch, PaddedBatch, Rebatch, Unbatch
from lamina.datasets.nodes.caching import Cache, FileCache, StoredNode, as_shard
from lamina.datasets.nodes.flattening import Concatenate, Interleave, ListNode, Window
from lamina.datasets.nodes.grouping import GroupByWindow, RejectionResample
from lamina.datasets.nodes.mapping import Enumerate, Filter, IgnoreErrors, Map, Scan, TakeWhile, Unique, same_state
from lamina.datasets.nodes.optioning import WithOptions, merged_options
from lamina.datasets.nodes.order import Repeat, Shard, Shuffle, Skip, Take
from lamina.datasets.nodes.prefetching import Prefetch
from lamina.datasets.options import Options, cpu_count
from lamina.datasets.spec import AUTOTUNE, INFINITE, UNKNOWN, check_signature, most_general
from lamina.datasets.storage import check_compression, write_all


def _source(build: Callable[..., Node]) -> Any:
    """A static method that wraps the node which `build` makes."""

    @functools.wraps(build)
    def method(*args: Any, **kwargs: Any) -> Dataset:
        return Dataset(build(*args, **kwargs))

    method.__name__ = build.__name__.rstrip("_")
    method.__qualname__ = f"Dataset.{method.__name__}"
    return staticmethod(method)


class Dataset:
    """A pipeline of elements: numpy arrays in nested tuples and dicts, with the API of `tf.data.Dataset`.

    Building one reads nothing; each iteration is a run of its own. Over sources that can be read by index, shuffles,
    repeats, shards and batches are planned as index arithmetic and one vectorised gather. The position of an iterator
    can be saved and restored exactly, see `DatasetIterator.get_state`.

    Methods take `name`, a name for error messages and `summary()`.

    Example:
        >>> dataset = Dataset.from_tensor_slices({"x": np.arange(6.0), "y": np.arange(6)})
        >>> dataset = dataset.shuffle(None, seed=1).batch(4)
        >>> [len(batch["x"]) for batch in dataset]
        [4, 2]
    """

    def __init__(self, node: Node) -> None:
        self._node = as_node(node, "Dataset", "node")
        self._clock: Clock | None = None

    from_tensors = _source(sources.from_tensors)
    from_tensor_slices = _source(sources.from_tensor_slices)
    from_source = _source(sources.from_source)
    from_generator = _source(sources.from_generator)
    range = _source(sources.range_)
    counter = _source(sources.counter)
    random = _source(sources.random)
    list_files = _source(sources.list_files)
    zip = _source(sources.zip_)
    choose_from_datasets = _source(sources.choose_from_datasets)
    sample_from_datasets = _source(sources.sample_from_datasets)

    # What a dataset is

    @property
    def element_spec(self) -> Any:
        """Nested `TensorSpec`s of one element.

        Behind a user function it is found by running the function on the first elements; `output_signature` declares
        it.
        """
        return self._node.element_spec

    def cardinality(self) -> int:
        """How many elements there are, or `INFINITE_CARDINALITY`, or `UNKNOWN_CARDINALITY`; nothing is read."""
        return self._node.cardinality()

    def __len__(self) -> int:
        n = self.cardinality()
        if n == INFINITE:
            raise TypeError("The dataset is infinite, so it has no len(); use take(n), or cardinality().")
        if n == UNKNOWN:
            raise TypeError(
                "The length of the dataset is unknown before it is read; use cardinality(), or declare it: "
                "dataset.apply(experimental.assert_cardinality(n))."
            )
        return n

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        try:
            spec = self._node.static_spec()
        except Exception:
            spec = "known once a function was run"
        return f"<Dataset {self._node.label}, element_spec={spec}>"

    def options(self) -> Options:
        """The options that hold for this pipeline."""
        return merged_options(self._node)

    def with_options(self, options: Options, name: str | None = None) -> Dataset:
        """The same elements under `options`, merged with those set before."""
        check_type("with_options", "options", options, Options, "an Options")
        return Dataset(WithOptions(self._node, options, name))

    def fingerprint(self) -> str:
        """A hash over all stages, their arguments, functions and data: the same pipeline gives the same in any
        process."""
        return self._node.fingerprint().hex()

    # Reading

    def __iter__(self) -> DatasetIterator:
        self._clock = Clock()
        return DatasetIterator(self._node, self._clock)

    def as_numpy_iterator(self) -> DatasetIterator:
        """An iterator over the elements; they are numpy anyway."""
        return iter(self)  # type: ignore[return-value]

    def get_single_element(self, name: str | None = None) -> Any:
        """The one element of a dataset of one.

        Raises:
            ValueError: there are none, or more.
        """
        with DatasetIterator(self._node) as iterator:
            found = [e for _, e in zip_short(iterator, 2)]
        if len(found) != 1:
            raise ValueError(
                f"get_single_element: expected exactly one element, got {'none' if not found else 'more'}."
            )
        return found[0]

    def reduce(self, initial_state: Any, reduce_func: Callable[..., Any], name: str | None = None) -> Any:
        """`state = reduce_func(state, element)` over all elements; the last state.

        Example:
            >>> Dataset.range(4).reduce(np.int64(0), lambda s, x: s + x)
            np.int64(6)
        """
        initial = state = as_element(initial_state)
        for position, element in enumerate(DatasetIterator(self._node)):
            state = as_result(call_user(reduce_func, (state, element), "reduce", position))
            state = same_state("reduce", initial, state)
        return state

    def save(
        self,
        path: Any,
        compression: str | None = None,
        shard_func: Callable[..., Any] | None = None,
        checkpoint_args: Any = None,
    ) -> None:
        """Write all elements to a folder, which appears when it is complete. `load` reads it by index.

        Args:
            path: The folder; one that is there is replaced.
            compression: None or `"GZIP"`.
            shard_func: A function from an element to the number of its shard.
            checkpoint_args: Accepted for compatibility; saving is all or nothing.
        """
        path = path.decode() if isinstance(path, bytes) else str(path)
        shard = None
        if shard_func is not None:

            def shard(element: Any) -> int:
                return as_shard("save", call_user(shard_func, as_args(element), "save"))

        specs = _MergedSpec(self._node)
        write_all(
            path, specs.watch(DatasetIterator(self._node)), specs.result, check_compression("save", compression), shard
        )

    @staticmethod
    @functools.wraps(sources.load)
    def load(
        path: Any, element_spec: Any = None, compression: str | None = None, reader_func: Any = None, wait: bool = False
    ) -> Dataset:
        node = sources.load(path, element_spec, compression, reader_func, wait)
        if reader_func is None:
            return Dataset(node)
        shards = [Dataset(StoredNode(node.path, element_spec=element_spec, shard=k)) for k in node.shard_numbers]  # type: ignore[attr-defined]
        nested = Dataset(ListNode(shards, lambda: spec_of(shards[0])))
        return Dataset(as_node(reader_func(nested), "load", "the result of reader_func"))

    # Which elements, in which order

    def take(self, count: int, name: str | None = None) -> Dataset:
        """The first `count` elements; all if it is -1."""
        return Dataset(Take(self._node, count, name))

    def skip(self, count: int, name: str | None = None) -> Dataset:
        """All but the first `count` elements; none if it is -1."""
        return Dataset(Skip(self._node, count, name))

    def shard(self, num_shards: int, index: int, name: str | None = None) -> Dataset:
        """Every `num_shards`-th element from `index` on: the share of one of several processes."""
        return Dataset(Shard(self._node, num_shards, index, name))

    def repeat(self, count: int | None = None, name: str | None = None) -> Dataset:
        """The elements `count` times over; without end if it is None or -1."""
        return Dataset(Repeat(self._node, count, name))

    def shuffle(
        self,
        buffer_size: int | None,
        seed: int | None = None,
        reshuffle_each_iteration: bool | None = True,
        name: str | None = None,
    ) -> Dataset:
        """A random order.

        Args:
            buffer_size: How many elements wait to be drawn; None shuffles the whole dataset. Over sources that can be
                read by index only positions are shuffled, so None costs no memory and is the better choice.
            seed: The seed; drawn from numpy's global generator if None. The same seed gives the same order, whatever
                the number of workers.
            reshuffle_each_iteration: Whether each pass has another order.
            name: A name for messages.

        Example:
            >>> sorted(Dataset.range(4).shuffle(None, seed=7))
            [np.int64(0), np.int64(1), np.int64(2), np.int64(3)]
        """
        seed = None if seed is None else check_int("shuffle", "seed", seed)
        return Dataset(Shuffle(self._node, buffer_size, seed, reshuffle_each_iteration, name))

    def concatenate(self, dataset: Dataset, name: str | None = None) -> Dataset:
        """These elements, then those of `dataset`, which must have the same structure and dtypes."""
        return Dataset(Concatenate(self._node, as_node(dataset, "concatenate"), name))

    def filter(self, predicate: Callable[..., Any], name: str | None = None) -> Dataset:
        """The elements for which `predicate` returns True.

        Example:
            >>> list(Dataset.range(4).filter(lambda x: x % 2 == 0))
            [np.int64(0), np.int64(2)]
        """
        return Dataset(Filter(self._node, check_function("filter", "predicate", predicate), name))

    def take_while(self, predicate: Callable[..., Any], name: str | None = None) -> Dataset:
        """The elements before the first for which `predicate` returns False."""
        return Dataset(TakeWhile(self._node, check_function("take_while", "predicate", predicate), name))

    def unique(self, name: str | None = None) -> Dataset:
        """Each element the first time it occurs."""
        return Dataset(Unique(self._node, name))

    def rejection_resample(
        self,
        class_func: Callable[..., Any],
        target_dist: Any,
        initial_dist: Any = None,
        seed: int | None = None,
        name: str | None = None,
    ) -> Dataset:
        """(class, element) pairs, thinned out so that the classes come in the proportions `target_dist`.

        Args:
            class_func: A function from an element to its class, an integer.
            target_dist: The proportions wanted, one a class.
            initial_dist: The proportions there are; estimated while reading if None.
            seed: The seed of the draws.
            name: A name for messages.
        """
        check_function("rejection_resample", "class_func", class_func)
        return Dataset(RejectionResample(self._node, class_func, target_dist, initial_dist, seed, name))

    # Functions of elements

    def map(
        self,
        map_func: Callable[..., Any],
        num_parallel_calls: int | None = None,
        deterministic: bool | None = None,
        synchronous: bool | None = None,
        use_unbounded_threadpool: bool = False,
        name: str | None = None,
        *,
        vectorized: bool = False,
        output_signature: Any = None,
    ) -> Dataset:
        """`map_func` of each element. A tuple's parts are separate arguments; a list that is returned becomes an array.

        Args:
            map_func: The function.
            num_parallel_calls: How many workers run it; AUTOTUNE adapts. `options.workers = "process"` uses processes.
            deterministic: False gives results as they are ready; the option of that name if None.
            synchronous: True runs it in the calling thread, whatever `num_parallel_calls` says.
            use_unbounded_threadpool: True allows 32 workers, for functions that wait rather than compute.
            name: A name for messages.
            vectorized: Whether the function works on many elements at once, along a first axis: after `batch` it gets
                the batch, otherwise blocks of elements of any size. The fast way where numpy can do it.
            output_signature: Nested `TensorSpec`s of the results, for `element_spec`.

        Example:
            >>> list(Dataset.range(3).map(lambda x: x * x))
            [np.int64(0), np.int64(1), np.int64(4)]
        """
        check_function("map", "map_func", map_func)
        calls = check_calls("map", num_parallel_calls)
        if synchronous and calls is not None:
            calls = None
        if use_unbounded_threadpool and not synchronous:
            calls = 32
        signature = None if output_signature is None else check_signature("map", output_signature)
        return Dataset(Map(self._node, map_func, calls, deterministic, vectorized, signature, name))

    def scan(self, initial_state: Any, scan_func: Callable[..., Any], name: str | None = None) -> Dataset:
        """`state, output = scan_func(state, element)`; the outputs.

        Example:
            >>> list(Dataset.range(4).scan(np.int64(0), lambda s, x: (s + x, s + x)))
            [np.int64(0), np.int64(1), np.int64(3), np.int64(6)]
        """
        return Dataset(Scan(self._node, initial_state, check_function("scan", "scan_func", scan_func), name))

    def enumerate(self, start: int = 0, name: str | None = None) -> Dataset:
        """(number, element) pairs, counted from `start`."""
        return Dataset(Enumerate(self._node, start, name))

    def ignore_errors(self, log_warning: bool = False, name: str | None = None) -> Dataset:
        """Pass over elements that raise; with `log_warning` each is logged."""
        return Dataset(IgnoreErrors(self._node, log_warning, name))

    def apply(self, transformation_func: Callable[[Dataset], Any]) -> Dataset:
        """`transformation_func(self)`, which must be a dataset."""
        check_function("apply", "transformation_func", transformation_func)
        result = transformation_func(self)
        as_node(result, "apply", "the result of transformation_func")
        return result

    # Datasets of elements

    def flat_map(
        self, map_func: Callable[..., Any], name: str | None = None, *, output_signature: Any = None
    ) -> Dataset:
        """The elements of the dataset that `map_func` makes of each element, one dataset after the other.

        Example:
            >>> list(Dataset.range(3).flat_map(lambda x: Dataset.range(x)))
            [np.int64(0), np.int64(0), np.int64(1)]
        """
        check_function("flat_map", "map_func", map_func)
        return Dataset(
            Interleave(self._node, map_func, _inner("flat_map"), signature=output_signature, name=name, op="flat_map")
        )

    def interleave(
        self,
        map_func: Callable[..., Any],
        cycle_length: int | None = None,
        block_length: int | None = None,
        num_parallel_calls: int | None = None,
        deterministic: bool | None = None,
        name: str | None = None,
        *,
        output_signature: Any = None,
    ) -> Dataset:
        """The elements of the datasets that `map_func` makes, from several of them in turn.

        Args:
            map_func: A function from an element to a dataset.
            cycle_length: How many datasets are open; as many as there are cores if None.
            block_length: How many elements are taken from one before the next; 1 if None.
            num_parallel_calls: How many of the open datasets read ahead on threads of their own.
            deterministic: Accepted for compatibility: the order is kept either way.
            name: A name for messages.
            output_signature: Nested `TensorSpec`s of the results, for `element_spec`.
        """
        check_function("interleave", "map_func", map_func)
        cycle = max(2, cpu_count()) if cycle_length in (None, AUTOTUNE) else cycle_length
        calls = check_calls("interleave", num_parallel_calls)
        block = 1 if block_length is None else block_length
        inner = _inner("interleave")
        return Dataset(
            Interleave(self._node, map_func, inner, cycle, block, calls, deterministic, output_signature, name)
        )

    def window(
        self,
        size: int,
        shift: int | None = None,
        stride: int = 1,
        drop_remainder: bool = False,
        name: str | None = None,
    ) -> Dataset:
        """Datasets of `size` elements each, one every `shift` elements; each part of an element gives a dataset of
        its own.

        Args:
            size: The number of elements of a window.
            shift: How far windows lie apart; `size` if None.
            stride: How far the elements of a window lie apart.
            drop_remainder: Whether to leave out the last windows, which are shorter.
            name: A name for messages.

        Example:
            >>> [list(w) for w in Dataset.range(3).window(2)]
            [[np.int64(0), np.int64(1)], [np.int64(2)]]
        """
        return Dataset(Window(self._node, Dataset, size, shift, stride, drop_remainder, name))

    def group_by_window(
        self,
        key_func: Callable[..., Any],
        reduce_func: Callable[..., Any],
        window_size: int | None = None,
        window_size_func: Callable[..., Any] | None = None,
        name: str | None = None,
    ) -> Dataset:
        """The elements of `reduce_func(key, window)` for windows of elements that have the same key.

        Args:
            key_func: A function from an element to an integer.
            reduce_func: A function from a key and the dataset of a window to a dataset.
            window_size: How many elements fill a window; the last ones may hold fewer.
            window_size_func: Instead, a function from a key to that number.
            name: A name for messages.
        """
        check_function("group_by_window", "key_func", key_func)
        check_function("group_by_window", "reduce_func", reduce_func)
        inner = _inner("group_by_window", "reduce_func")
        return Dataset(
            GroupByWindow(self._node, key_func, reduce_func, window_size, window_size_func, _window, inner, name)
        )

    def bucket_by_sequence_length(
        self,
        element_length_func: Callable[..., Any],
        bucket_boundaries: Any,
        bucket_batch_sizes: Any,
        padded_shapes: Any = None,
        padding_values: Any = None,
        pad_to_bucket_boundary: bool = False,
        no_padding: bool = False,
        drop_remainder: bool = False,
        name: str | None = None,
    ) -> Dataset:
        """Padded batches of elements of similar length.

        Args:
            element_length_func: A function from an element to its length.
            bucket_boundaries: Ascending lengths at which a new bucket begins.
            bucket_batch_sizes: The batch size of each bucket, one more than there are boundaries.
            padded_shapes: As for `padded_batch`.
            padding_values: As for `padded_batch`.
            pad_to_bucket_boundary: Whether to pad to the boundary above minus 1, rather than to the longest of the
                batch.
            no_padding: Whether the elements of a bucket have one shape and need none.
            drop_remainder: Whether to leave out the batches that are not full at the end.
            name: A name for messages.
        """
        buckets = Buckets(
            check_function("bucket_by_sequence_length", "element_length_func", element_length_func),
            bucket_boundaries,
            bucket_batch_sizes,
            padded_shapes,
            padding_values,
            pad_to_bucket_boundary,
            no_padding,
            drop_remainder,
        )
        return Dataset(buckets.over(self._node, _window, _inner("bucket_by_sequence_length"), name))

    # Batches

    def batch(
        self,
        batch_size: int,
        drop_remainder: bool = False,
        num_parallel_calls: int | None = None,
        deterministic: bool | None = None,
        name: str | None = None,
    ) -> Dataset:
        """`batch_size` elements stacked along a new first axis, in fresh memory.

        Args:
            batch_size: The number of elements.
            drop_remainder: Whether to leave out the last batch if it is smaller.
            num_parallel_calls: How many batches are made at a time, on threads.
            deterministic: False gives batches as they are ready; the option of that name if None.
            name: A name for messages.

        Example:
            >>> list(Dataset.range(3).batch(2))
            [array([0, 1]), array([2])]
        """
        calls = check_calls("batch", num_parallel_calls)
        return Dataset(Batch(self._node, _scalar(batch_size), drop_remainder, calls, deterministic, name))

    def padded_batch(
        self,
        batch_size: int,
        padded_shapes: Any = None,
        padding_values: Any = None,
        drop_remainder: bool = False,
        name: str | None = None,
    ) -> Dataset:
        """`batch_size` elements of different shapes, padded at the end of each axis and stacked.

        Args:
            batch_size: The number of elements.
            padded_shapes: The shape of each part, nested like an element; None for the longest of the batch.
            padding_values: One scalar, or one for each part; 0 or an empty string if None.
            drop_remainder: Whether to leave out the last batch if it is smaller.
            name: A name for messages.

        Example:
            >>> ragged = Dataset.range(1, 3).map(lambda n: np.full(n, n))
            >>> list(ragged.padded_batch(2))
            [array([[1, 0],
                   [2, 2]])]
        """
        return Dataset(
            PaddedBatch(self._node, _scalar(batch_size), padded_shapes, padding_values, drop_remainder, name)
        )

    def unbatch(self, name: str | None = None) -> Dataset:
        """The rows of each element, as elements."""
        return Dataset(Unbatch(self._node, name))

    def rebatch(self, batch_size: Any, drop_remainder: bool = False, name: str | None = None) -> Dataset:
        """The same rows in batches of another size, or of the sizes of a list in turn."""
        return Dataset(Rebatch(self._node, batch_size, drop_remainder, name))

    def ragged_batch(
        self, batch_size: int, drop_remainder: bool = False, row_splits_dtype: Any = "int64", name: Any = None
    ) -> Any:
        """Not supported: there are no ragged arrays; `padded_batch` pads, `bucket_by_sequence_length` pads little."""
        raise NotImplementedError(
            "ragged_batch: there are no ragged arrays here. Use padded_batch, or bucket_by_sequence_length to pad little."
        )

    def sparse_batch(self, batch_size: int, row_shape: Any, name: str | None = None) -> Any:
        """Not supported: there are no sparse arrays; use `padded_batch`."""
        raise NotImplementedError(
            "sparse_batch: there are no sparse arrays here. Use padded_batch, or map to dense arrays."
        )

    # Keeping and running ahead

    def cache(self, filename: Any = "", name: str | None = None) -> Dataset:
        """The elements of the first pass, kept in memory, or in the folder `filename` for later processes too."""
        if filename is None or filename in ("", b""):
            return Dataset(Cache(self._node, name))
        return Dataset(FileCache(self._node, filename, name=name))

    def snapshot(
        self,
        path: Any,
        compression: str | None = "AUTO",
        reader_func: Callable[..., Any] | None = None,
        shard_func: Callable[..., Any] | None = None,
        name: str | None = None,
    ) -> Dataset:
        """The elements of the first pass, kept below the folder `path` under the pipeline's fingerprint.

        A pipeline that has changed is written anew. `reader_func` is applied to the dataset that was kept.
        """
        node = FileCache(self._node, path, compression, True, shard_func, "snapshot", name)
        return (
            Dataset(node)
            if reader_func is None
            else Dataset(as_node(reader_func(Dataset(node)), "snapshot", "reader_func"))
        )

    def prefetch(self, buffer_size: int | None = AUTOTUNE, name: str | None = None) -> Dataset:
        """Make up to `buffer_size` elements ahead, on a thread; AUTOTUNE adapts within the memory budget."""
        return Dataset(Prefetch(self._node, buffer_size, name))

    # Seeing

    def summary(self, print_fn: Callable[[str], Any] = print) -> None:
        """Print the stages, what each gives and, after a run, what each costs and which is the bottleneck."""
        print_fn(summary.describe_pipeline(self._node, self._clock))

    def visualize(self, path: Any = None) -> Any:
        """A drawing of the stages as SVG: an object that notebooks show; written to `path` if given."""
        return summary.draw_pipeline(self._node, self._clock, path)

    def show(self, count: int = 9, **options: Any) -> Any:
        """Show the first elements: images as a grid (needs matplotlib), anything else as a table of rows."""
        with DatasetIterator(self._node) as iterator:
            elements = [e for _, e in zip_short(iterator, count)]
        return summary.show_elements(elements, **options)


def zip_short(iterator: Iterator[Any], count: int) -> Iterator[tuple[int, Any]]:
    """The first `count` elements, numbered; no more are read."""
    for i in range(count):
        try:
            yield i, next(iterator)
        except StopIteration:
            return


class _MergedSpec:
    """The spec that covers all elements of an iterable while it is written."""

    def __init__(self, node: Node) -> None:
        self._node, self._spec = node, None

    def watch(self, elements: Iterator[Any]) -> Iterator[Any]:
        for element in elements:
            spec = spec_of(element)
            if spec != self._spec:
                self._spec = spec if self._spec is None else most_general(self._spec, spec)
            yield element

    def result(self) -> Any:
        try:
            return self._node.static_spec()
        except Exception:  # behind a user function: what was seen
            return self._node.element_spec if self._spec is None else self._spec


def check_function(owner: str, argument: str, fn: Any) -> Any:
    """`fn`, if it can be called."""
    if not callable(fn):
        raise TypeError(f"{owner}: {argument} must be a function, got {describe(fn)}.")
    return fn


def check_calls(owner: str, calls: Any) -> int | None:
    """`num_parallel_calls` as None, AUTOTUNE or a number of at least 1."""
    if calls is None:
        return None
    calls = check_int(owner, "num_parallel_calls", calls)
    if calls < 1 and calls != AUTOTUNE:
        raise ValueError(f"{owner}: num_parallel_calls must be at least 1, AUTOTUNE (-1) or None, got {calls}.")
    return calls


def _scalar(value: Any) -> Any:
    return value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value


def _inner(owner: str, argument: str = "map_func") -> Callable[[Any], Node]:
    return lambda value: as_node(value, owner, f"the result of {argument}")


def _window(child: Node, elements: list[Any]) -> Dataset:
    return Dataset(ListNode(elements, lambda: child.element_spec))
