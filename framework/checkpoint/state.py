"""The file `checkpoint` of a folder: which checkpoints there are, and which is the latest."""

from __future__ import annotations

import os
from collections.abc import Sequence

from google.protobuf import text_format

from lamina.checkpoint.files import replacing
from lamina.wire.bundle import CheckpointState
from lamina.wire.errors import DataLossError


def read_checkpoint_state(
    folder: str | os.PathLike, latest_filename: str | None = None
) -> tuple[str, list[str]] | None:
    """The prefixes of the latest and of all checkpoints that a folder's `checkpoint` file names; None without one.

    Args:
        folder: The folder.
        latest_filename: The name of that file, if it is another.

    Raises:
        DataLossError: the file is no list of checkpoints.
    """
    path = os.path.join(folder, latest_filename or "checkpoint")
    if not os.path.isfile(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            state = text_format.Merge(file.read(), CheckpointState(), allow_unknown_field=True)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise DataLossError(f"'{path}' is no list of checkpoints: {error}.") from error
    if not state.model_checkpoint_path:
        raise DataLossError(f"'{path}' is no list of checkpoints: it does not name the latest.")
    names = [os.path.join(folder, name) for name in state.all_model_checkpoint_paths]
    return os.path.join(folder, state.model_checkpoint_path), names


def latest_checkpoint(folder: str | os.PathLike, latest_filename: str | None = None) -> str | None:
    """The prefix of the latest checkpoint of a folder, or None if there is none.

    Args:
        folder: The folder.
        latest_filename: The name of its file of checkpoints, if it is another than `checkpoint`.

    Raises:
        DataLossError: the folder's `checkpoint` file is damaged.
    """
    state = read_checkpoint_state(folder, latest_filename)
    return state[0] if state is not None and os.path.exists(f"{state[0]}.index") else None


def write_checkpoint_state(
    folder: str | os.PathLike, latest: str, names: Sequence[str], timestamps: Sequence[float] = ()
) -> None:
    """Write a folder's `checkpoint` file.

    Args:
        folder: The folder.
        latest: The prefix of the latest checkpoint. Prefixes in the folder are written without it: it may be moved.
        names: The prefixes of all checkpoints, oldest first.
        timestamps: When each was written, in seconds since 1970.
    """
    state = CheckpointState(
        model_checkpoint_path=_relative(folder, latest),
        all_model_checkpoint_paths=[_relative(folder, name) for name in names],
        all_model_checkpoint_timestamps=timestamps,
    )
    with replacing(os.path.join(folder, "checkpoint")) as file:
        file.write(text_format.MessageToString(state, as_utf8=True).encode())


def _relative(folder: str | os.PathLike, name: str) -> str:
    inside = os.path.relpath(name, folder) if os.path.isabs(name) or os.path.dirname(name) else name
    return name if inside.startswith("..") else inside
