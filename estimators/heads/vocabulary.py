"""Names of classes: text to class numbers and back, on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina.core.checks import check_int
from lamina.core.errors import describe, did_you_mean, listing
from lamina.estimators.export_outputs import Names, Wide


def as_bytes(value: Any) -> bytes:
    """Text as bytes; numbers as their text."""
    return value if isinstance(value, bytes) else str(value).encode()


class ClassNames:
    """The classes of a head.

    Args:
        owner: the head, as errors name it.
        n_classes: how many there are.
        vocabulary: their names in order, if labels are text.

    Raises:
        ValueError: the vocabulary has another length, or repeats a name.
    """

    def __init__(self, owner: Any, n_classes: int, vocabulary: Sequence[Any] | None):
        self.owner, self.count = owner, n_classes
        self.given = vocabulary is not None
        if vocabulary is None:
            names = [str(i).encode() for i in range(n_classes)]
        else:
            if isinstance(vocabulary, (str, bytes)) or not hasattr(vocabulary, "__len__"):
                raise TypeError(f"{owner}: label_vocabulary must be a list of names, got {describe(vocabulary)}.")
            names = [as_bytes(v) for v in vocabulary]
            if len(names) != n_classes:
                raise ValueError(
                    f"{owner}: label_vocabulary must have one name for each of {n_classes} classes, got {len(names)}."
                )
            if len(set(names)) != len(names):
                raise ValueError(f"{owner}: label_vocabulary names a class twice: {listing(names, 'and')}.")
        self.names = np.empty(n_classes, object)
        self.names[:] = names
        self._numbers = {name: i for i, name in enumerate(names)}

    def encode(self, labels: np.ndarray) -> np.ndarray:
        """Text as class numbers (-1 for an empty text); numbers as they are.

        Raises:
            ValueError: a label is not in the vocabulary.
            TypeError: labels are numbers although there is a vocabulary, or text although there is none.
        """
        if labels.dtype.kind not in "OSU":
            if self.given:
                raise TypeError(
                    f"{self.owner}: with label_vocabulary, labels must be text such as {self.names[0].decode()!r}, got "
                    f"{describe(labels)}. Leave label_vocabulary out for class numbers."
                )
            return labels
        if not self.given:
            raise TypeError(
                f"{self.owner}: labels must be class numbers, got {describe(labels)}. Pass label_vocabulary=[...] with "
                "the names of the classes."
            )
        found, inverse = np.unique(
            labels.astype(object).reshape(-1).astype(str) if _plain(labels) else _texts(labels), return_inverse=True
        )
        numbers = np.empty(len(found), np.int32)
        for i, text in enumerate(found):
            name = as_bytes(text)
            if name not in self._numbers and name != b"":
                known = [n.decode(errors="replace") for n in self.names]
                raise ValueError(
                    f"{self.owner}: label {name.decode(errors='replace')!r} is not in label_vocabulary, which has "
                    f"{listing(known[:8], 'and')}.{did_you_mean(name.decode(errors='replace'), known)}"
                )
            numbers[i] = self._numbers.get(name, -1)
        return numbers[inverse.reshape(-1)].reshape(labels.shape)

    def check(self, numbers: np.ndarray) -> np.ndarray:
        """Class numbers as int32.

        Raises:
            ValueError: one is out of range.
        """
        if numbers.size and (numbers.min() < 0 or numbers.max() >= self.count):
            raise ValueError(
                f"{self.owner}: labels must be class numbers from 0 to {self.count - 1}, since there are {self.count} "
                f"classes, got {numbers.min():g} to {numbers.max():g}."
            )
        return numbers

    def decode(self, numbers: np.ndarray) -> np.ndarray:
        """Class numbers as names."""
        return self.names[numbers]

    def served(self, predictions: dict[str, Any]) -> dict[str, Any]:
        """What decoding adds to predictions, as outputs of an exported model."""
        ids = predictions["class_ids"]
        each = self.of_each(predictions["probabilities"])
        return {
            "class_ids": Wide(ids),
            "classes": Names(ids, list(self.names)),
            "all_class_ids": each.numbers,
            "all_classes": each,
        }

    def of_each(self, scores: Any) -> Names:
        """The names of all classes for each row of scores, as an output of an exported model."""
        numbers = jnp.arange(self.count, dtype="int32")
        return Names(jnp.broadcast_to(numbers, (scores.shape[0], self.count)), list(self.names))

    def all(self, batch: int) -> dict[str, np.ndarray]:
        """All classes, for each sample of a batch."""
        return {
            "all_class_ids": np.tile(np.arange(self.count, dtype=np.int32), (batch, 1)),
            "all_classes": np.tile(self.names, (batch, 1)),
        }


def _plain(labels: np.ndarray) -> bool:
    return labels.dtype.kind == "U"


def _texts(labels: np.ndarray) -> np.ndarray:
    return np.array([as_bytes(v).decode(errors="surrogateescape") for v in labels.reshape(-1)], dtype=str)


def check_classes(owner: Any, n_classes: Any, minimum: int, cure: str = "") -> int:
    """`n_classes`, if it is an integer of at least `minimum`."""
    try:
        return check_int(owner, "n_classes", n_classes, minimum)
    except ValueError as error:
        raise ValueError(f"{error}{cure}") from None
