"""Elements in files: a folder of shards, each a run of encoded elements and an index of where they begin.

    metadata.json      version, element_spec as text, compression, the number of elements of each shard
    00000.data         the elements one after the other
    00000.index        little-endian uint64: where each begins, and where the last ends

An element is its leaves in the order of `lamina.core.nest.flatten`, behind a JSON header for those that vary in shape.
Nothing is pickled, so a folder from elsewhere can be read without risk.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from lamina.core.checks import check_choice
from lamina.core.errors import describe
from lamina.core.nest import flatten, pack
from lamina.datasets.elements import is_dataset, spec_of
from lamina.datasets.nodes.base import as_args, call_user
from lamina.datasets.plan import Base
from lamina.datasets.spec import STRING, TensorSpec, as_dtype, dtype_name, most_general

VERSION = 1


def check_compression(owner: str, compression: str | None) -> str | None:
    """`compression` as "GZIP" or None; "AUTO" and "SNAPPY", tf.data's choices for speed, mean none."""
    if compression is None or compression == "":
        return None
    check_choice(owner, "compression", compression, ["AUTO", "GZIP", "SNAPPY", "NONE"])
    return "GZIP" if compression == "GZIP" else None


def spec_to_json(spec: Any) -> Any:
    """A nested spec as a JSON value."""
    if spec is None:
        return None
    if isinstance(spec, TensorSpec):
        return {"shape": None if spec.shape is None else list(spec.shape), "dtype": dtype_name(spec.dtype)}
    if isinstance(spec, dict):
        return {"dict": [[k, spec_to_json(v)] for k, v in spec.items()]}
    if hasattr(spec, "_fields"):
        return {"dict": [[k, spec_to_json(v)] for k, v in zip(spec._fields, spec, strict=True)]}
    if isinstance(spec, (tuple, list)):
        return {"tuple": [spec_to_json(v) for v in spec]}
    raise TypeError(
        f"save: elements must hold arrays, got {spec}; call `flat_map` on datasets inside an element first."
    )


def spec_from_json(value: Any) -> Any:
    """The nested spec that `spec_to_json` took."""
    if value is None:
        return None
    if "dict" in value:
        return {k: spec_from_json(v) for k, v in value["dict"]}
    if "tuple" in value:
        return tuple(spec_from_json(v) for v in value["tuple"])
    return TensorSpec(value["shape"], as_dtype(value["dtype"]))


def encode(element: Any, compression: str | None) -> bytes:
    """One element as bytes."""
    header, parts = [], []
    for leaf in flatten(element):
        if is_dataset(leaf):
            raise TypeError("save: datasets inside an element cannot be saved; call `flat_map` on them first.")
        if isinstance(leaf, bytes):
            header.append([[], "string", [len(leaf)]])
            parts.append(leaf)
            continue
        array = np.asarray(leaf)
        if array.dtype == STRING:
            strings = array.reshape(-1).tolist()
            header.append([list(array.shape), "string", [len(s) for s in strings]])
            parts.extend(strings)
        else:
            if array.dtype.byteorder == ">":
                array = array.astype(array.dtype.newbyteorder("<"))
            header.append([list(array.shape), array.dtype.name])
            parts.append(array.tobytes())
    head = json.dumps(header, separators=(",", ":")).encode()
    data = b"".join([struct.pack("<I", len(head)), head, *parts])
    return zlib.compress(data, 6) if compression else data


def decode(data: bytes, structure: Any, compression: str | None) -> Any:
    """The element that `encode` took, nested like `structure`."""
    if compression:
        data = zlib.decompress(data)
    (size,) = struct.unpack_from("<I", data)
    at = 4 + size
    leaves: list[Any] = []
    for shape, dtype, *lengths in json.loads(data[4:at]):
        if dtype == "string":
            strings = []
            for n in lengths[0]:
                strings.append(bytes(data[at : at + n]))
                at += n
            if shape:
                array = np.empty(len(strings), object)
                array[:] = strings
                leaves.append(array.reshape(shape))
            else:
                leaves.append(strings[0])
        else:
            kind = np.dtype(dtype)
            count = int(np.prod(shape, dtype=np.int64))
            array = np.frombuffer(data, kind, count, at).reshape(shape).copy()
            at += count * kind.itemsize
            leaves.append(array if shape else array[()])
    return pack(structure, leaves)


class Writer:
    """Writes a folder of shards; it appears under its name only when complete."""

    def __init__(self, path: str, compression: str | None) -> None:
        self.path, self.compression = os.fspath(path), compression
        parent = os.path.dirname(os.path.abspath(self.path))
        os.makedirs(parent, exist_ok=True)
        self._folder = tempfile.mkdtemp(prefix=os.path.basename(self.path) + ".partial-", dir=parent)
        self._shards: dict[int, tuple[Any, list[int]]] = {}
        self.count = 0

    def write(self, element: Any, shard: int = 0) -> None:
        """Add an element to a shard."""
        if shard not in self._shards:
            self._shards[shard] = open(os.path.join(self._folder, f"{shard:05}.data"), "wb"), [0]
        file, ends = self._shards[shard]
        data = encode(element, self.compression)
        file.write(data)
        ends.append(ends[-1] + len(data))
        self.count += 1

    def finish(self, spec: Any) -> None:
        """Write the index and the metadata, and give the folder its name."""
        sizes = {}
        for shard, (file, ends) in sorted(self._shards.items()):
            file.close()
            np.array(ends, "<u8").tofile(os.path.join(self._folder, f"{shard:05}.index"))
            sizes[shard] = len(ends) - 1
        meta = {
            "version": VERSION,
            "element_spec": spec_to_json(spec),
            "compression": self.compression,
            "shards": [[k, n] for k, n in sizes.items()],
        }
        with open(os.path.join(self._folder, "metadata.json"), "w") as f:
            json.dump(meta, f)
        os.chmod(self._folder, 0o755)
        if os.path.isdir(self.path):
            shutil.rmtree(self.path)
        os.replace(self._folder, self.path)

    def discard(self) -> None:
        """Remove what was written."""
        for file, _ in self._shards.values():
            file.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def is_stored(path: str) -> bool:
    """Whether a complete folder is there."""
    return os.path.isfile(os.path.join(path, "metadata.json"))


def read_metadata(owner: str, path: str) -> dict[str, Any]:
    """The metadata of a folder.

    Raises:
        FileNotFoundError: there is none. ValueError: another version wrote it.
    """
    file = os.path.join(path, "metadata.json")
    try:
        with open(file) as f:
            meta = json.load(f)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{owner}: {path} holds no saved dataset ({file} is missing); write one with Dataset.save."
        ) from None
    if meta.get("version") != VERSION:
        raise ValueError(
            f"{owner}: {path} has format version {meta.get('version')}, expected {VERSION}; save it again."
        )
    return meta


class StoredShard(Base):
    """The elements of one shard, by index; the file is mapped into memory, not read."""

    def __init__(self, path: str, shard: int, structure: Any, compression: str | None) -> None:
        self._path = os.path.join(path, f"{shard:05}")
        self._structure, self._compression = structure, compression
        self._ends = np.fromfile(self._path + ".index", "<u8").astype(np.int64)
        self.length = len(self._ends) - 1
        self._data: np.ndarray | None = None

    def item(self, index: int) -> Any:
        """See Base."""
        if self._data is None:
            size = os.path.getsize(self._path + ".data")
            self._data = np.memmap(self._path + ".data", np.uint8, "r") if size else np.empty(0, np.uint8)
        start, end = self._ends[index], self._ends[index + 1]
        if end > len(self._data):
            raise ValueError(
                f"{self._path}.data is cut short: element {index} ends at byte {end} of {len(self._data)}."
            )
        try:
            return decode(self._data[start:end].tobytes(), self._structure, self._compression)
        except (ValueError, zlib.error, struct.error, UnicodeDecodeError) as e:
            raise ValueError(f"{self._path}.data is damaged at element {index}, byte {start}: {e}") from e


def shard_of(owner: str, shard_func: Callable[..., Any], element: Any) -> int:
    """The shard that an element goes to, checked to be one integer."""
    value = call_user(shard_func, as_args(element), owner)
    array = np.asarray(value)
    if array.shape != () or array.dtype.kind not in "iu" or array < 0:
        raise ValueError(f"{owner}: shard_func must return one integer from 0 on, got {describe(value)}.")
    return int(array)


def write_all(path: Any, elements: Iterable[Any], spec: Any, compression: str | None, shard_func: Any = None) -> None:
    """Write all elements of an iterable; nothing is left behind if it fails."""
    path = path.decode() if isinstance(path, bytes) else os.fspath(path)
    writer = Writer(path, compression)
    try:
        for element in elements:
            writer.write(element, 0 if shard_func is None else shard_of("save", shard_func, element))
        writer.finish(spec() if callable(spec) else spec)
    except BaseException:
        writer.discard()
        raise


class MergedSpec:
    """The spec that covers all elements of an iterable while it is written."""

    def __init__(self, node: Any) -> None:
        self._node, self._spec = node, None

    def watch(self, elements: Iterator[Any]) -> Iterator[Any]:
        """The same elements."""
        for element in elements:
            spec = spec_of(element)
            if spec != self._spec:
                self._spec = spec if self._spec is None else most_general(self._spec, spec)
            yield element

    def result(self) -> Any:
        """The spec of all that were seen."""
        try:
            return self._node.static_spec()
        except Exception:  # behind a user function: what was seen
            return self._node.element_spec if self._spec is None else self._spec
