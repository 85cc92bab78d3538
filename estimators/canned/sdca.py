"""LinearSDCA: stochastic dual coordinate ascent for linear models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.checks import check_int, check_number
from lamina.core.errors import did_you_mean, listing
from lamina.core.fingerprint import fingerprint64
from lamina.estimators.feature_columns import CategoricalColumn
from lamina.estimators.heads import BinaryClassHead, Head, RegressionHead
from lamina.estimators.variables import get_variable, variable_scope

# Examples are kept in a table of hashes. Two examples whose hashes name one place within so many share a dual variable.
_PROBES = 8
_BISECTIONS = 24


class LinearSDCA:
    """Stochastic dual coordinate ascent, as the `optimizer` of LinearClassifier (two classes) and LinearRegressor.

    Minimizes `Σ weight · loss + l2 / 2 |w|² + l1 |w|`, the loss being the logistic loss, or half the squared error.
    Each example has a dual variable, found by its id, and a step solves for it exactly: there is no learning rate.

    Args:
        example_id_column: the feature that names examples: text or integers.
        num_loss_partitions: scales steps down where several run at once; 1.
        num_table_shards: taken for TensorFlow's sake.
        symmetric_l1_regularization: l1.
        symmetric_l2_regularization: l2, above 0.
        adaptive: taken for TensorFlow's sake: examples are taken in the order of the batch.
        capacity: places of the table of examples, at least twice as many as there are examples.

    Example:
        >>> from lamina import estimators as est
        >>> column = est.feature_column.numeric_column("x")
        >>> sdca = est.LinearSDCA("id", symmetric_l2_regularization=0.1)
        >>> x = np.arange(4.0)
        >>> data = {"x": x, "id": np.array(["a", "b", "c", "d"])}
        >>> model = est.LinearRegressor([column], optimizer=sdca)
        >>> model = model.train(est.numpy_input_fn(data, 2 * x + 1, 4, None, shuffle=False), steps=300)
        >>> round(float(model.get_variable_value("linear/linear_model/x/weights")[0, 0]), 1)
        2.0

    Reference: Shalev-Shwartz and Zhang, "Stochastic Dual Coordinate Ascent Methods for Regularized Loss Minimization",
    2013; the l1 step is from the same authors' "Accelerated Proximal SDCA", 2014.
    """

    def __init__(
        self,
        example_id_column: str,
        num_loss_partitions: int = 1,
        num_table_shards: int | None = None,
        symmetric_l1_regularization: float = 0.0,
        symmetric_l2_regularization: float = 1.0,
        adaptive: bool = False,
        capacity: int = 2**20,
    ):
        if not isinstance(example_id_column, str):
            raise TypeError(f"LinearSDCA: example_id_column must be the name of a feature, got {example_id_column!r}.")
        self.example_id_column = example_id_column
        self.num_loss_partitions = check_int("LinearSDCA", "num_loss_partitions", num_loss_partitions, 1)
        self.l1 = check_number("LinearSDCA", "symmetric_l1_regularization", symmetric_l1_regularization, 0)
        self.l2 = check_number("LinearSDCA", "symmetric_l2_regularization", symmetric_l2_regularization, 0)
        if not self.l2 > 0:
            raise ValueError("LinearSDCA: symmetric_l2_regularization must be above 0.")
        self.capacity = check_int("LinearSDCA", "capacity", capacity, 2 * _PROBES)

    # ---- on the host

    def check(self, owner: str, head: Head, combiner: str) -> None:
        """Checks that it fits the model.

        Raises:
            ValueError: it does not.
        """
        fits = isinstance(head, (BinaryClassHead, RegressionHead)) and head.logits_dimension == 1
        if not fits or head.loss_fn is not None or getattr(head, "inverse_link_fn", None) is not None:
            raise ValueError(f"{owner}: LinearSDCA takes two classes, or one number a sample, with their usual losses.")
        if combiner != "sum":
            raise ValueError(f"{owner}: LinearSDCA needs sparse_combiner='sum', got {combiner!r}.")

    def keys(self, features: Mapping[str, Any]) -> np.ndarray:
        """The hashes of the ids of examples, as two int32 each: (batch, 2)."""
        name = self.example_id_column
        if name not in features:
            raise ValueError(
                f"LinearSDCA: the feature {name!r}, which names examples, is not among the features, which are "
                f"{listing(list(features), 'and')}.{did_you_mean(name, list(features))}"
            )
        ids = np.asarray(features[name]).reshape(-1)
        hashes = np.asarray(fingerprint64(ids.astype(str) if ids.dtype.kind in "iub" else ids), np.uint64)
        parts = np.stack([hashes & np.uint64(0x7FFFFFFF), (hashes >> np.uint64(32)) & np.uint64(0x7FFFFFFF)], axis=-1)
        return parts.astype(np.int32) | np.array([1, 0], np.int32)  # never (0, 0), which means an empty place

    # ---- in the step

    def step(
        self, columns: Any, features: Mapping[str, Any], keys: Any, labels: Any, weights: Any, logistic: bool
    ) -> None:
        """Updates the weights of a linear model by the examples of a batch, one after another."""
        with variable_scope("linear/linear_model"):
            parts = [_Part.of(column, features) for column in columns]
            bias = get_variable("bias_weights", (1,))
            tables = [get_variable(f"{c.name}/weights") for c in columns]
            # the weights before the l1 step
            raw = [
                get_variable(f"{c.name}/weights_unshrunk", t.shape, initializer="zeros", trainable=False)
                for c, t in zip(columns, tables, strict=True)
            ]
            raw_bias = get_variable("bias_weights_unshrunk", (1,), initializer="zeros", trainable=False)
        with variable_scope("training/SDCA"):
            known = get_variable("examples", (self.capacity, 2), "int32", "zeros", trainable=False)
            duals = get_variable("duals", (self.capacity,), initializer="zeros", trainable=False)

        def one(i: Any, state: tuple) -> tuple:
            known, duals, raw, raw_bias = state
            place = self._place(known, keys[i])
            is_same = jnp.all(known[place] == keys[i])
            old = jnp.where(is_same, duals[place], 0.0)
            shown = [self._shrunk(p.taken(r, i)) for p, r in zip(parts, raw, strict=True)]
            z = self._shrunk(raw_bias)[0] + sum(p.dot(s, i) for p, s in zip(parts, shown, strict=True))
            norm = 1.0 + sum(p.norm(i) for p in parts)
            q = self.num_loss_partitions * weights[i] * norm / self.l2
            new = _logistic_dual(labels[i], z, old, q) if logistic else old + (labels[i] - z - old) / (1 + q)
            change = (new - old) * weights[i] / self.l2
            raw = [p.added(r, i, change) for p, r in zip(parts, raw, strict=True)]
            return known.at[place].set(keys[i]), duals.at[place].set(new), raw, raw_bias + change

        state = (known.value, duals.value, [r.value for r in raw], raw_bias.value)
        state = jax.lax.fori_loop(0, labels.shape[0], one, state)
        known.assign(state[0])
        duals.assign(state[1])
        for variable, table, value in zip(raw, tables, state[2], strict=True):
            variable.assign(value)
            table.assign(self._shrunk(value))
        raw_bias.assign(state[3])
        bias.assign(self._shrunk(state[3]))

    def _shrunk(self, w: Any) -> Any:
        """`sign(w) max(|w| - l1 / l2, 0)`."""
        return w if self.l1 == 0 else jnp.sign(w) * jnp.maximum(jnp.abs(w) - self.l1 / self.l2, 0)

    def _place(self, known: Any, key: Any) -> Any:
        """The place of an example in the table: its own, else the first empty one, else the first."""
        places = (key[1] + jnp.arange(_PROBES)) % self.capacity
        rows = known[places]
        own, empty = jnp.all(rows == key, 1), jnp.all(rows == 0, 1)
        rank = jnp.where(own, 0, jnp.where(empty, 1, 2)) * _PROBES + jnp.arange(_PROBES)
        return places[jnp.argmin(rank)]


def _logistic_dual(label: Any, z: Any, old: Any, q: Any) -> Any:
    """The dual variable y a, 0 < a < 1, with `log(a / (1 - a)) + y z + (a - |old|) q = 0`, by bisection."""
    y = 2 * label - 1
    before = y * old
    reach = jnp.abs(z) + q + 1.0

    def halve(_: Any, bounds: tuple) -> tuple:
        low, high = bounds
        middle = (low + high) / 2
        above = middle + y * z + (jax.nn.sigmoid(middle) - before) * q > 0
        return jnp.where(above, low, middle), jnp.where(above, middle, high)

    low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, (-reach, reach))
    return y * jax.nn.sigmoid((low + high) / 2)


class _Part(NamedTuple):
    """The values of one column: numbers for all rows of its weights, or ids with weights.

    Attributes:
        ids: (batch, n), or None.
        values: (batch, n): of the ids, or of all rows.
    """

    ids: Any
    values: Any

    @staticmethod
    def of(column: Any, features: Mapping[str, Any]) -> _Part:
        if not isinstance(column, CategoricalColumn):
            return _Part(None, column.dense(features, None))
        ids, weights = column.ids(features)
        there = (ids >= 0).astype("float32")
        return _Part(jnp.maximum(ids, 0), there if weights is None else there * weights)

    def taken(self, table: Any, i: Any) -> Any:
        """The weights that example `i` reads."""
        return table[:, 0] if self.ids is None else table[self.ids[i], 0]

    def dot(self, taken: Any, i: Any) -> Any:
        """Their product with its values."""
        return jnp.sum(taken * self.values[i])

    def norm(self, i: Any) -> Any:
        """The sum of its squared values."""
        return jnp.sum(self.values[i] ** 2)

    def added(self, table: Any, i: Any, change: Any) -> Any:
        """The weights, moved along the values."""
        move = self.values[i] * change
        return table.at[:, 0].add(move) if self.ids is None else table.at[self.ids[i], 0].add(move)
