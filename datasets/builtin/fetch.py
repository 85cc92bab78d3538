"""Files fetched on first use: resumed when a transfer breaks, checked against a known checksum, and kept."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from tqdm import tqdm

from lamina.core.settings import cache_folder
from lamina.wire.errors import DataLossError

try:
    import fcntl
except ImportError:  # Windows: two processes that fetch one file at once are found out by the checksum only
    fcntl = None  # type: ignore[assignment]

_CHUNK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 60
_ATTEMPTS = 5
_BROKEN = (OSError, http.client.HTTPException)


class RemoteFile(NamedTuple):
    """A file with its address and checksum (`sha256:...`, or `md5:...` where its authors publish no other)."""

    name: str
    url: str
    checksum: str


class FetchError(OSError):
    """A file could not be fetched."""


def fetch(remote: RemoteFile, path: str | os.PathLike | None = None) -> Path:
    """The local copy of `remote`, fetched if there is none yet.

    Args:
        remote: name, address and checksum of the file.
        path: where it is kept; relative paths start in `datasets` of the cache folder.

    Raises:
        FetchError: it could not be fetched; the message says where to put it by hand.
        DataLossError: what came does not fit the checksum.
    """
    target = cache_folder() / "datasets" / (remote.name if path is None else Path(path).expanduser())
    if target.is_file() and file_checksum(target, remote.checksum) == remote.checksum:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with _locked(part):
        if target.is_file() and file_checksum(target, remote.checksum) == remote.checksum:
            return target
        resumed = part.exists() and part.stat().st_size > 0
        _download(remote, part, target)
        if resumed and file_checksum(part, remote.checksum) != remote.checksum:
            # The first half may be of an older version of the file: once more, from its start.
            part.unlink()
            _download(remote, part, target)
        found = file_checksum(part, remote.checksum)
        if found != remote.checksum:
            part.unlink()
            raise DataLossError(
                f"'{remote.name}' from {remote.url} has the checksum {found}, expected {remote.checksum}. "
                f"If the address has another file today, {_by_hand(remote, target)}"
            )
        os.replace(part, target)
    return target


def file_checksum(path: Path, like: str) -> str:
    """The checksum of a file, by the algorithm of the checksum `like`."""
    algorithm = like.partition(":")[0]
    with open(path, "rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def _by_hand(remote: RemoteFile, target: Path) -> str:
    return f"put it at '{target}' by hand (checksum {remote.checksum})."


def _download(remote: RemoteFile, part: Path, target: Path) -> None:
    """Fetch what `part` lacks; a transfer that breaks is taken up where it stopped."""
    if not remote.url.startswith(("http://", "https://")):
        raise ValueError(f"fetch: the address must start with http:// or https://, got {remote.url!r}.")
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            return _transfer(remote, part, before)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and before:  # there is nothing behind what we have: the checksum decides
                return None
            reason: Exception = error
            failures = _ATTEMPTS if 400 <= error.code < 500 else failures + 1
        except _BROKEN as error:
            reason = error
            progressed = part.exists() and part.stat().st_size > before
            failures = 1 if progressed else failures + 1
        if failures >= _ATTEMPTS:
            raise FetchError(
                f"'{remote.name}' could not be fetched from {remote.url} ({reason}). Try again (the transfer goes on "
                f"where it stopped), or fetch it on a machine with a network and {_by_hand(remote, target)}"
            ) from reason
        time.sleep(0.1 * 2**failures)


def _transfer(remote: RemoteFile, part: Path, start: int) -> None:
    headers = {"User-Agent": "lamina", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(remote.url, headers=headers)
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
        if answer.status != 206 or not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            start = 0  # the server sends the whole file
        length = answer.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        bar = tqdm(desc=remote.name, total=total, initial=start, unit="B", unit_scale=True, disable=None)
        with open(part, "ab" if start else "wb") as file, bar:
            while chunk := answer.read(_CHUNK_BYTES):
                file.write(chunk)
                bar.update(len(chunk))
            size = file.tell()
    if total is not None and size < total:
        raise ConnectionError(f"the transfer ended after {size} of {total} bytes")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the advisory lock of a file, so that of two processes one fetches and the other waits."""
    if fcntl is None:
        yield
        return
    with open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def open_member(archive: tarfile.TarFile, name: str, size: int, path: Path) -> BinaryIO:
    """The file `name` of a tar archive, opened for reading; it must be a plain file of `size` bytes.

    Raises:
        DataLossError: there is no such file in it, or it has another size.
    """
    try:
        member = archive.getmember(name)
    except KeyError:
        raise DataLossError(f"'{path}' holds no file '{name}'.") from None
    file = archive.extractfile(member) if member.isfile() else None
    if file is None or member.size != size:
        raise DataLossError(f"'{path}': '{name}' must be a file of {size} bytes, it has {member.size}.")
    return file  # type: ignore[return-value]


def extract(path: Path, folder: Path) -> Path:
    """The folder that holds the files of the tar archive `path`, unpacked if it is not there yet.

    Only plain files and folders inside `folder` are written. They are unpacked beside it and renamed, so that the
    folder is whole if it exists.

    Raises:
        DataLossError: a member is a link or device, or its name leads out of the folder; or the archive is damaged.
    """
    if folder.is_dir():
        return folder
    work = folder.with_name(f"{folder.name}.part{os.getpid()}")
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                place = PurePosixPath(member.name)
                if place.is_absolute() or ".." in place.parts or "\\" in member.name or ":" in member.name:
                    raise DataLossError(f"'{path}': the name '{member.name}' leads out of the folder.")
                if member.isdir():
                    (work / place).mkdir(parents=True, exist_ok=True)
                    continue
                source = archive.extractfile(member) if member.isfile() else None
                if source is None:
                    raise DataLossError(f"'{path}': '{member.name}' is neither a file nor a folder.")
                (work / place).parent.mkdir(parents=True, exist_ok=True)
                with open(work / place, "wb") as out:
                    while chunk := source.read(_CHUNK_BYTES):
                        out.write(chunk)
    except (tarfile.TarError, EOFError) as error:
        raise DataLossError(f"'{path}' is damaged: {error}. Delete it, and it is fetched again.") from error
    os.replace(work, folder)
    return folder
