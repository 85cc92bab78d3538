"""Checkpoints at a glance: what one holds, one tensor of it, whether it is whole."""

from __future__ import annotations

import os
from typing import Any

from lamina.checkpoint.reader import load_checkpoint
from lamina.wire.errors import DataLossError


def list_variables(prefix: str | os.PathLike) -> list[tuple[str, list[int]]]:
    """Names and shapes of the tensors of a checkpoint, sorted by name.

    Args:
        prefix: What its files start with, or a folder with a `checkpoint` file.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        DataLossError: its index is cut short or damaged.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from lamina.checkpoint import write_checkpoint
        >>> prefix = os.path.join(tempfile.mkdtemp(), "model.ckpt-1")
        >>> write_checkpoint(prefix, {"dense/kernel": np.eye(2, dtype="float32"), "step": np.int64(1)})
        >>> list_variables(prefix)
        [('dense/kernel', [2, 2]), ('step', [])]
    """
    return [(name, list(shape)) for name, shape in sorted(load_checkpoint(prefix).get_variable_to_shape_map().items())]


def load_variable(prefix: str | os.PathLike, name: str) -> Any:
    """One tensor of a checkpoint.

    Args:
        prefix: What the checkpoint's files start with, or a folder with a `checkpoint` file.
        name: The name of the tensor; TensorFlow's form `name:0` is understood.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        KeyError: it has no such tensor.
        DataLossError: its files are cut short or damaged.
    """
    return load_checkpoint(prefix).get_tensor(name.removesuffix(":0"))


def verify_checkpoint(prefix: str | os.PathLike) -> list[str]:
    """What is wrong with a checkpoint, once all bytes of its files were read; an empty list if it is whole.

    Args:
        prefix: What its files start with, or a folder with a `checkpoint` file.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from lamina.checkpoint import write_checkpoint
        >>> prefix = os.path.join(tempfile.mkdtemp(), "model.ckpt-1")
        >>> write_checkpoint(prefix, {"dense/kernel": np.eye(2, dtype="float32")})
        >>> verify_checkpoint(prefix)
        []
    """
    try:
        return load_checkpoint(prefix).problems()
    except (DataLossError, OSError) as error:
        return [str(error)]
