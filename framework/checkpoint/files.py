"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

_BUFFER_BYTES = 1 << 20
_UNSYNCED_BYTES = 1 << 24


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
        with _File(io.FileIO(work, "w+"), _BUFFER_BYTES) as file:
            yield file
            file.sync()
        os.replace(work, path)
        sync_folder(os.path.dirname(path))
    finally:
        if os.path.exists(work):
            os.unlink(work)


class _File(io.BufferedRandom):
    """A file that goes to the disk while it is being written: the sync at its end finds little left to do.

    The disk reports an error once, to the first sync after it: that of an early sync is raised at the next.
    """

    _unsynced = 0
    _thread: threading.Thread | None = None
    _error: OSError | None = None

    def write(self, data: Any) -> int:
        written = super().write(data)
        self._unsynced += written
        if self._unsynced >= _UNSYNCED_BYTES and (self._thread is None or not self._thread.is_alive()):
            self._start_sync()
        return written

    def sync(self) -> None:
        """Brings all that was written to the disk."""
        self._join()
        self.flush()
        os.fsync(self.fileno())

    def close(self) -> None:
        if self._thread is not None:
            self._thread.join()
        super().close()

    def _start_sync(self) -> None:
        self._join()
        self._thread = threading.Thread(target=self._early_sync, name="lamina-sync", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is shutting down: the sync at the end does it all
            self._thread = None
        self._unsynced = 0

    def _early_sync(self) -> None:
        try:
            _sync_data(self.fileno())
        except OSError as error:
            self._error = error

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error


def _sync_data(handle: int) -> None:
    getattr(os, "fdatasync", os.fsync)(handle)


def sync_folder(folder: str | os.PathLike) -> None:
    """Brings the names in a folder to the disk, where the system can do that."""
    if os.name != "posix":
        return
    handle = os.open(folder or ".", os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
