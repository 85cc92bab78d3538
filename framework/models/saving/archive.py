"""Keras' model archives: a zip file of `config.json`, `metadata.json`, `model.weights.h5` and `assets/`.

An archive that is read is not trusted: names that lead out of it, names used twice, and entries that would grow to many
times their size are refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from lamina.wire.errors import FileFormatError

CONFIG, METADATA, WEIGHTS, ASSETS = "config.json", "metadata.json", "model.weights.h5", "assets"
_MOST_ENTRIES = 100_000
_TEXT_BYTES = 1 << 28
# An entry may grow to this many bytes, or to this many times its packed size.
_SMALL_BYTES = 1 << 26
_MOST_EXPANSION = 200
_IN_MEMORY_BYTES = 1 << 28
_COPY_BYTES = 1 << 20


def spooled() -> Any:
    """A temporary file, kept in memory while it is small."""
    return tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115


class Archive:
    """An open archive to read.

    Args:
        path: the file.

    Raises:
        FileFormatError: it is no zip file, or one that is not safe to unpack.
    """

    def __init__(self, path: str | os.PathLike):
        self._path = os.fspath(path)
        with self._reading():
            self._zip = zipfile.ZipFile(path)
        try:
            self._check()
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: Any) -> None:
        self._zip.close()

    def _error(self, reason: str) -> FileFormatError:
        return FileFormatError(f"'{self._path}' is not a model archive that is safe to read: {reason}.")

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (FileFormatError, FileNotFoundError, IsADirectoryError, PermissionError):
            raise
        except (
            zipfile.BadZipFile,
            zlib.error,
            struct.error,
            EOFError,
            NotImplementedError,
            OSError,
            OverflowError,
            RuntimeError,
            ValueError,
        ) as error:
            raise self._error(f"the zip file is damaged, or of a kind that archives are not ({error})") from error

    def _check(self) -> None:
        infos = self._zip.infolist()
        if len(infos) > _MOST_ENTRIES:
            raise self._error(f"it has {len(infos)} entries")
        seen: set[str] = set()
        for info in infos:
            name = info.filename
            parts = name.rstrip("/").split("/")
            if not name or "\\" in name or "\0" in name or ":" in parts[0] or {"", ".", ".."} & set(parts):
                raise self._error(f"its entry {name[:80]!r} leads out of it")
            if name in seen:
                raise self._error(f"it has two entries {name[:80]!r}")
            seen.add(name)
            if info.flag_bits & 1:
                raise self._error(f"its entry {name[:80]!r} is encrypted")
            if info.file_size > max(_SMALL_BYTES, _MOST_EXPANSION * info.compress_size):
                raise self._error(f"its entry {name[:80]!r} unpacks {info.compress_size} bytes to {info.file_size}")

    @property
    def names(self) -> list[str]:
        """The names of the entries."""
        return self._zip.namelist()

    def read_json(self, name: str) -> Any:
        """An entry of JSON.

        Raises:
            FileFormatError: it is missing, too long, or no JSON.
        """
        if name not in self.names:
            raise self._error(f"it has no {name}")
        if self._zip.getinfo(name).file_size > _TEXT_BYTES:
            raise self._error(f"its {name} has {self._zip.getinfo(name).file_size} bytes")
        with self._reading():
            text = self._zip.read(name)
        return parse_json(text, f"{name} of '{self._path}'")

    def open(self, name: str) -> BinaryIO:
        """A copy of an entry as a file that can be read in any order; its checksum is verified."""
        copy = spooled()
        try:
            with self._reading(), self._zip.open(name) as file:
                shutil.copyfileobj(file, copy, _COPY_BYTES)
        except BaseException:
            copy.close()
            raise
        copy.seek(0)
        return copy

    def extract(self, folder: str, target: Path) -> None:
        """Writes the entries of a folder to a folder on disk."""
        for name in self.names:
            if name.startswith(f"{folder}/") and not name.endswith("/"):
                place = target / name.removeprefix(f"{folder}/")
                place.parent.mkdir(parents=True, exist_ok=True)
                with self._reading(), self._zip.open(name) as file, open(place, "wb") as out:
                    shutil.copyfileobj(file, out, _COPY_BYTES)


def parse_json(text: str | bytes, label: str) -> Any:
    """JSON from a file that is not trusted.

    Raises:
        FileFormatError: it is no JSON, or nested too deep.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{label} is not JSON that can be read: {error}.") from error


def write_archive(file: BinaryIO, texts: dict[str, str], weights: BinaryIO, assets: Path | None) -> None:
    """Writes an archive.

    Args:
        file: an open binary file.
        texts: entries of text by name.
        weights: the HDF5 file of the weights.
        assets: a folder of further files.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
        weights.seek(0)
        with archive.open(WEIGHTS, "w", force_zip64=True) as entry:
            shutil.copyfileobj(weights, entry, _COPY_BYTES)
        if assets is not None:
            for path in sorted(p for p in assets.rglob("*") if p.is_file()):
                archive.write(path, f"{ASSETS}/{path.relative_to(assets).as_posix()}")
