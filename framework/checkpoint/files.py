"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import BinaryIO

_BUFFER_BYTES = 1 << 20


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A file to write that takes its name only when it is written and on the disk.

    The bytes go to another name in the same folder, then to the disk; the rename comes last. On an error nothing is
    left of it, and what stood under the name before stands there still.

    Args:
        path: the name that the file takes; its folder must exist.

    Raises:
        OSError: the disk is full, or the folder does not exist or cannot be written.

    Example:
        >>> import tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "notes.txt")
        >>> with replacing(path) as file:
        ...     written = file.write(b"whole")
        ...     print(os.path.exists(path))
        False
        >>> os.listdir(os.path.dirname(path))
        ['notes.txt']
    """
    path = os.fspath(path)
    work = f"{path}.tmp{os.getpid()}"
    try:
        with open(work, "w+b", _BUFFER_BYTES) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(work, path)
        sync_folder(os.path.dirname(path))
    finally:
        if os.path.exists(work):
            os.unlink(work)


def sync_folder(folder: str | os.PathLike) -> None:
    """Brings the names in a folder to the disk, where the system can do that."""
    if os.name != "posix":
        return
    handle = os.open(folder or ".", os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
