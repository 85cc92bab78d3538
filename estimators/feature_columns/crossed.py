"""Columns of combinations of categories."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lamina.core.checks import check_int
from lamina.core.errors import describe
from lamina.core.fingerprint import cross_fingerprints, fingerprint64
from lamina.core.vocabulary import is_text
from lamina.datasets.examples import VarLenFeature
from lamina.estimators.feature_columns.categorical import HashedColumn, WeightedColumn, check_buckets
from lamina.estimators.feature_columns.column import CategoricalColumn, FeatureColumn, Features, flat_rows, label


@dataclass(frozen=True)
class CrossedColumn(CategoricalColumn):
    """See `crossed_column`."""

    keys: tuple[str | CategoricalColumn, ...]
    hash_bucket_size: int
    hash_key: int | None

    maker = "crossed_column"

    @property
    def leaves(self) -> list[str | CategoricalColumn]:
        """The keys, those of crosses among them in their place."""
        found: list[str | CategoricalColumn] = []
        for key in self.keys:
            found += key.leaves if isinstance(key, CrossedColumn) else [key]
        return found

    @property
    def name(self) -> str:
        """The names of the keys in alphabetical order, with `_X_` between them."""
        return "_X_".join(sorted(k if isinstance(k, str) else k.name for k in self.leaves))

    @property
    def num_buckets(self) -> int:
        """How many buckets there are."""
        return self.hash_bucket_size

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        """The features of all keys."""
        spec: dict[str, Any] = {}
        for key in self.keys:
            spec.update({key: VarLenFeature("string")} if isinstance(key, str) else key.parse_example_spec)
        return spec

    def host_ids(self, features: Features) -> tuple[np.ndarray, np.ndarray]:
        """The hash of each combination of values of a sample."""
        # Columns are hashed before plain features, as TensorFlow does. Plain features count "" as a value.
        leaves = self.leaves
        parts = [features.ids(k) for k in leaves if not isinstance(k, str)]
        parts += [self._plain(k, features) for k in leaves if isinstance(k, str)]
        hashes, present = [], np.ones((), bool)
        for i, (values, there) in enumerate(parts):
            shape = (len(values), *(1,) * i, values.shape[1], *(1,) * (len(parts) - i - 1))
            hashes.append(values.reshape(shape))
            present = present & there.reshape(shape)
        ids = cross_fingerprints(hashes, self.hash_key) % np.uint64(self.hash_bucket_size)
        return flat_rows(ids.astype(np.int64)), flat_rows(present)

    def id_nodes(self, nodes: Any) -> tuple[Any, Any]:
        """The hash of each combination of values of a sample."""
        leaves, build = self.leaves, nodes.build
        parts = [nodes.ids(k) for k in leaves if not isinstance(k, str)]
        for key in (k for k in leaves if isinstance(k, str)):
            values = nodes.read(self, key)
            values = nodes.categories(self, key, "string" if values.is_text else "int64")
            parts.append((values, build.compare("Equal", values, values)))
        sizes = [values.shape[1] for values, _ in parts]
        known = [d for d in sizes if isinstance(d, int)]
        width = math.prod(known) if len(known) == len(sizes) else f"{self.input_name.replace('@', '_')}_values"
        present = parts[0][1]
        for _, there in parts[1:]:
            present = build.every_pair(present, there, width)
        return build.cross([values for values, _ in parts], self.hash_bucket_size, self.hash_key, width), present

    def _plain(self, key: str, features: Features) -> tuple[np.ndarray, np.ndarray]:
        values, present = features.read(self, key)
        values = flat_rows(values)
        present = np.ones(values.shape, bool) if present is None else present.reshape(values.shape)
        if values.dtype.kind == "O":
            absent = np.array([v is None or v != v for v in values.reshape(-1).tolist()], bool).reshape(values.shape)
            if absent.any():
                values, present = np.where(absent, "", values), present & ~absent
            if not is_text(values):
                values = values.astype(np.int64)
        if values.dtype.kind not in "iub" and not is_text(values):
            raise ValueError(
                f"{label(self)}: feature {key!r} must hold strings or integers, got {describe(values)}. Make a "
                "bucketized_column of it, and cross that."
            )
        return (fingerprint64(values).astype(np.int64) if is_text(values) else values.astype(np.int64)), present

    def describe(self) -> dict[str, Any]:
        """A row of the summary."""
        return {"name": self.name, "kind": self.maker, "details": f"{self.hash_bucket_size} buckets"}


def crossed_column(
    keys: Sequence[str | CategoricalColumn], hash_bucket_size: int, hash_key: int | None = None
) -> CrossedColumn:
    """Combinations of categories, each by its hash.

    A sample with several values in a feature has all combinations.

    Args:
        keys: at least two: names of features of strings or integers, and categorical columns other than hashed ones.
        hash_bucket_size: how many buckets there are.
        hash_key: where the hash starts; another key gives other collisions. None and 0 take the usual one.

    Raises:
        ValueError: less than two keys, or one that cannot be crossed.

    Example:
        >>> crossed_column(["weekday", "city"], 1000).name
        'city_X_weekday'

    Reference:
        https://arxiv.org/abs/1606.07792
    """
    if isinstance(keys, (str, bytes)) or not isinstance(keys, Sequence) or len(keys) < 2:
        raise ValueError(f"crossed_column: keys must be a list of at least two keys, got {describe(keys)}.")
    for key in keys:
        if isinstance(key, HashedColumn):
            raise ValueError(
                f"crossed_column: keys must not hold {label(key)}: hashing twice makes more collisions. Use the name "
                f"of its feature, {key.key!r}."
            )
        if isinstance(key, WeightedColumn):
            raise ValueError(f"crossed_column: keys must not hold {label(key)}: a combination has no weight.")
        if not isinstance(key, (str, CategoricalColumn)):
            what = label(key) if isinstance(key, FeatureColumn) else describe(key)
            raise ValueError(
                f"crossed_column: keys must be names of features or categorical columns, got {what}. Numbers can be "
                "crossed as bucketized_column."
            )
    size = check_buckets("crossed_column", "hash_bucket_size", hash_bucket_size)
    if hash_key is not None:
        hash_key = check_int("crossed_column", "hash_key", hash_key, 0) or None  # TensorFlow takes 0 for none
    return CrossedColumn(tuple(keys), size, hash_key)
