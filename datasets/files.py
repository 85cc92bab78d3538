"""Opening, finding and naming files: local ones, and addresses such as `gs://bucket/file` where fsspec is installed."""

from __future__ import annotations

import glob
import gzip
import importlib
import io
import os
import zlib
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np

from lamina.core.checks import check_choice
from lamina.core.errors import describe

COMPRESSIONS = ("", "GZIP", "ZLIB")
DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile)
"""What a compressed stream raises when its bytes are damaged or cut short."""

_CHUNK_BYTES = 1 << 18


def check_compression(owner: str, compression_type: str | None) -> str:
    """`compression_type` with None as the empty string, if it is a known one."""
    return check_choice(owner, "compression_type", compression_type or "", COMPRESSIONS)


def is_address(path: str) -> bool:
    """Whether `path` is an address with a protocol, for fsspec to open."""
    return "://" in path


def file_system(path: str) -> Any:
    """fsspec's file system for an address.

    Raises:
        ImportError: fsspec is not installed.
    """
    try:
        fsspec = importlib.import_module("fsspec")
    except ImportError as error:
        raise ImportError(
            f"'{path}' is not a local file: install fsspec (`pip install fsspec`, and the package of its protocol, "
            "such as gcsfs or s3fs) to read it."
        ) from error
    return fsspec.core.url_to_fs(path)[0]


def open_file(path: str, mode: str = "rb") -> BinaryIO:
    """A local file or an address, opened for reading or writing bytes."""
    if is_address(path):
        return file_system(path).open(path, mode)
    return open(path, mode)  # type: ignore[return-value]


def open_stream(path: str, compression: str = "", offset: int = 0, chunk_bytes: int = _CHUNK_BYTES) -> BinaryIO:
    """A file opened for reading its uncompressed bytes, from byte `offset` of them on."""
    file = open_file(path)
    if compression == "":
        file.seek(offset)
        return file
    stream: Any = _OwningGzip(file) if compression == "GZIP" else io.BufferedReader(_ZlibStream(file), chunk_bytes)
    try:
        while offset > 0 and (skipped := len(stream.read(min(offset, chunk_bytes)))):
            offset -= skipped
    except DAMAGE:
        stream.close()
        raise
    return stream


class _OwningGzip(gzip.GzipFile):
    """A gzip stream that closes the file below it."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(fileobj=file, mode="rb")
        self._below = file

    def close(self) -> None:
        super().close()
        self._below.close()


class _ZlibStream(io.RawIOBase):
    """The uncompressed bytes of a zlib stream."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inflate = zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = len(buffer)
        while not self._inflate.eof:
            data = self._inflate.unconsumed_tail or self._file.read(_CHUNK_BYTES)
            out = self._inflate.decompress(data, size)
            if out:
                buffer[: len(out)] = out
                return len(out)
            if not data:
                raise EOFError("the file ends before its zlib stream does")
        return 0

    def close(self) -> None:
        self._file.close()
        super().close()


def as_path(name: Any, owner: str) -> str:
    """A file name (text, bytes or a path object) as text.

    Raises:
        TypeError: it is none of these.
    """
    if isinstance(name, np.ndarray) and name.ndim == 0:
        name = name.item()
    if isinstance(name, (str, bytes, os.PathLike)):
        return os.fsdecode(name)
    raise TypeError(f"{owner}: a file name must be a string, bytes or a path, got {describe(name)}.")


def as_paths(names: Any, owner: str) -> list[str]:
    """One file name or many, as a list of text."""
    if isinstance(names, (str, bytes, os.PathLike)) or (isinstance(names, np.ndarray) and names.ndim == 0):
        return [as_path(names, owner)]
    if isinstance(names, np.ndarray):
        names = names.reshape(-1).tolist()
    if not isinstance(names, Iterable):
        raise TypeError(f"{owner}: expected a file name, a list or a Dataset of them, got {describe(names)}.")
    return [as_path(name, owner) for name in names]


def match_files(patterns: Any, owner: str = "list_files") -> list[str]:
    """The files that match one of the patterns (`*`, `?`, `[a-z]`), sorted, each once.

    Raises:
        FileNotFoundError: none does.
    """
    wanted = as_paths(patterns, owner)
    found: set[str] = set()
    for pattern in wanted:
        if is_address(pattern):
            system = file_system(pattern)
            found.update(system.unstrip_protocol(name) for name in system.glob(pattern))
        else:
            found.update(glob.glob(pattern, include_hidden=True) if glob.has_magic(pattern) else _existing(pattern))
    if not found:
        raise FileNotFoundError(f"{owner}: no file matches {', '.join(map(repr, wanted))}.")
    return sorted(found)


def _existing(path: str) -> list[str]:
    return [path] if os.path.exists(path) else []
