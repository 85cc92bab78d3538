"""How a worker process and its thread talk: messages on pipes, arrays in a file in memory that both have mapped."""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import struct
import tempfile
import weakref
from typing import Any, BinaryIO

import numpy as np

from lamina.datasets.spec import STRING

ALIGNMENT = 64


def send(pipe: BinaryIO, message: Any) -> None:
    """Write a message to a pipe."""
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    pipe.write(struct.pack("<Q", len(data)) + data)
    pipe.flush()


def receive(pipe: BinaryIO) -> Any:
    """Read a message. Raises EOFError when the other side is gone."""
    return pickle.loads(_exactly(pipe, struct.unpack("<Q", _exactly(pipe, 8))[0]))


def _exactly(pipe: BinaryIO, count: int) -> bytes:
    parts = []
    while count:
        data = pipe.read(count)
        if not data:
            raise EOFError
        parts.append(data)
        count -= len(data)
    return b"".join(parts)


class Arena:
    """A file in memory (where the system has one) that two processes map; the other side opens it by name."""

    def __init__(self, size: int) -> None:
        folder = "/dev/shm" if os.path.isdir("/dev/shm") and os.access("/dev/shm", os.W_OK) else None
        handle, self.path = tempfile.mkstemp(prefix="lamina-", dir=folder)
        try:
            os.ftruncate(handle, size)
            self.memory = mmap.mmap(handle, size)
        finally:
            os.close(handle)
        self.size = size
        self.remove = weakref.finalize(self, _remove, self.path)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.remove(path)


def layout(leaves: list[Any]) -> tuple[list[Any], int]:
    """Where each array goes: (dtype, shape, offset), or the leaf itself if it holds Python objects; and the bytes
    needed."""
    places: list[Any] = []
    end = 0
    for leaf in leaves:
        if isinstance(leaf, np.ndarray) and leaf.dtype != STRING:
            places.append((leaf.dtype, leaf.shape, end))
            end += -(-leaf.nbytes // ALIGNMENT) * ALIGNMENT
        else:
            places.append(leaf)
    return places, end


def write_arrays(memory: Any, places: list[Any], leaves: list[Any]) -> None:
    """Copy arrays to their places."""
    for place, leaf in zip(places, leaves, strict=True):
        if isinstance(place, tuple):
            view(memory, place)[...] = leaf


def view(memory: Any, place: tuple) -> np.ndarray:
    """The array at a place."""
    dtype, shape, offset = place
    return np.frombuffer(memory, dtype, int(np.prod(shape, dtype=np.int64)), offset).reshape(shape)
