"""Dataset: a fluent shell over nodes. Each method checks its arguments and puts a node on top."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from lamina.core.checks import check_int, check_type
from lamina.datasets import sources, summary
from lamina.datasets.arguments import as_scalar, check_calls, check_function, first_elements, result_node
from lamina.datasets.buckets import Buckets
from lamina.datasets.clock import Clock
from lamina.datasets.elements import as_element, as_result
from lamina.datasets.iterator import DatasetIterator
from lamina.datasets.nodes.base import Node, as_node, call_user
from lamina.datasets.nodes.batching import Batch, PaddedBatch, Rebatch, Unbatch
from lamina.datasets.nodes.caching import Cache, FileCache
from lamina.datasets.nodes.filtering import Filter, IgnoreErrors, TakeWhile, Unique
from lamina.datasets.nodes.flattening import Concatenate, Interleave
from lamina.datasets.nodes.grouping import GroupByWindow, RejectionResample
from lamina.datasets.nodes.mapping import Enumerate, Map, Scan, same_state
from lamina.datasets.nodes.optioning import WithOptions, merged_options
from lamina.datasets.nodes.order import Repeat, Shard, Shuffle, Skip, Take
from lamina.datasets.nodes.prefetching import Prefetch
from lamina.datasets.nodes.windows import ListNode, Window
from lamina.datasets.options import Options, cpu_count
from lamina.datasets.showing import show_elements
from lamina.datasets.spec import AUTOTUNE, INFINITE, UNKNOWN, DatasetSpec, check_signature
from lamina.datasets.storage import MergedSpec, check_compression, write_all


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
        >>> import numpy as np
        >>> from lamina.datasets import Dataset
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
        return f"<Dataset {self._node.label}, element_spec={summary.static_text(self._node)}>"

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

    as_numpy_iterator = __iter__

    def get_single_element(self, name: str | None = None) -> Any:
        """The one element of a dataset of one.

        Raises:
            ValueError: there are none, or more.
        """
        with DatasetIterator(self._node) as iterator:
            found = list(first_elements(iterator, 2))
        if len(found) != 1:
            raise ValueError(
                f"get_single_element: expected exactly one element, got {'none' if not found else 'more'}."
            )
        return found[0]

    def reduce(self, initial_state: Any, reduce_func: Callable[..., Any], name: str | None = None) -> Any:
        """`state = reduce_func(state, element)` over all elements; the last state.

        Example:
            >>> import numpy as np
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
        specs = MergedSpec(self._node)
        elements = specs.watch(DatasetIterator(self._node))
        write_all(path, elements, specs.result, check_compression("save", compression), shard_func)

    @staticmethod
    def load(
        path: Any, element_spec: Any = None, compression: str | None = None, reader_func: Any = None, wait: bool = False
    ) -> Dataset:
        """The elements that `save` wrote, readable at any index.

        Args:
            path: The folder.
            element_spec: What the elements must be; what was saved if None.
            compression: Accepted for compatibility: the folder says how it is compressed.
            reader_func: A function from a dataset of datasets, one a shard, to the dataset to read.
            wait: Accepted for compatibility: a folder appears only when it is complete.

        Raises:
            FileNotFoundError: there is no saved dataset.
        """
        node = sources.load(path, element_spec)
        if reader_func is None:
            return Dataset(node)
        shards = [Dataset(sources.load(path, element_spec, k)) for k in node.shard_numbers]
        nested = Dataset(ListNode(shards, lambda: DatasetSpec(node.element_spec)))
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
        calls = 32 if use_unbounded_threadpool else check_calls("map", num_parallel_calls)
        calls = None if synchronous else calls
        signature = None if output_signature is None else check_signature("map", output_signature)
        return Dataset(Map(self._node, map_func, calls, deterministic, vectorized, signature, name))

    def scan(self, initial_state: Any, scan_func: Callable[..., Any], name: str | None = None) -> Dataset:
        """`state, output = scan_func(state, element)`; the outputs.

        Example:
            >>> import numpy as np
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
            Interleave(
                self._node, map_func, result_node("flat_map"), signature=output_signature, name=name, op="flat_map"
            )
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
        inner = result_node("interleave")
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
        inner = result_node("group_by_window", "reduce_func")
        sizes = window_size, window_size_func
        return Dataset(GroupByWindow(self._node, key_func, reduce_func, *sizes, _window, inner, name))

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
            padded_shapes, padding_values: As for `padded_batch`.
            pad_to_bucket_boundary: Whether to pad to the boundary above minus 1, rather than to the longest of the
                batch.
            no_padding: Whether the elements of a bucket have one shape and need none.
            drop_remainder: Whether to leave out the batches that are not full at the end.
            name: A name for messages.
        """
        check_function("bucket_by_sequence_length", "element_length_func", element_length_func)
        padding = padded_shapes, padding_values, pad_to_bucket_boundary, no_padding
        buckets = Buckets(element_length_func, bucket_boundaries, bucket_batch_sizes, *padding, drop_remainder)
        return Dataset(buckets.over(self._node, _window, result_node("bucket_by_sequence_length"), name))

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
        return Dataset(Batch(self._node, as_scalar(batch_size), drop_remainder, calls, deterministic, name))

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
            >>> import numpy as np
            >>> ragged = Dataset.range(1, 3).map(lambda n: np.full(n, n))
            >>> list(ragged.padded_batch(2))
            [array([[1, 0],
                   [2, 2]])]
        """
        return Dataset(
            PaddedBatch(self._node, as_scalar(batch_size), padded_shapes, padding_values, drop_remainder, name)
        )

    def unbatch(self, name: str | None = None) -> Dataset:
        """The rows of each element, as elements."""
        return Dataset(Unbatch(self._node, name))

    def rebatch(self, batch_size: Any, drop_remainder: bool = False, name: str | None = None) -> Dataset:
        """The same rows in batches of another size, or of the sizes of a list in turn."""
        return Dataset(Rebatch(self._node, batch_size, drop_remainder, name))

    def ragged_batch(self, batch_size: int, *args: Any, **kwargs: Any) -> Any:
        """Not supported: there are no ragged arrays; `padded_batch` pads, `bucket_by_sequence_length` pads little."""
        raise NotImplementedError(
            "ragged_batch: there are no ragged arrays; use padded_batch, or bucket_by_sequence_length to pad little."
        )

    def sparse_batch(self, batch_size: int, *args: Any, **kwargs: Any) -> Any:
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

    def show(self, count: int = 9, columns: int | None = None, labels: Any = None) -> Any:
        """Show the first elements (or rows of batches): images as a grid, which is returned, else a table, printed.

        Args:
            count: How many.
            columns: Columns of the grid; nearly a square if None.
            labels: Names for integer labels, by number, as titles.
        """
        count, batches = check_int("show", "count", count, 1), self._node.batches
        with DatasetIterator(self._node) as iterator:
            elements = list(first_elements(iterator, 1 if batches else count))
        return show_elements(elements, batches, count, columns, labels)


def _window(child: Node, elements: list[Any]) -> Dataset:
    return Dataset(ListNode(elements, lambda: child.element_spec))
