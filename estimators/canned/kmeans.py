"""KMeans: clusters by their centers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.checks import check_choice, check_int, check_number
from lamina.core.errors import ShapeError, describe
from lamina.estimators.canned.canned import CannedEstimator, check_column_list
from lamina.estimators.estimator import Estimator
from lamina.estimators.feature_columns import input_layer, transform_host
from lamina.estimators.hooks import Session, SessionRunHook, SessionRunValues
from lamina.estimators.inputs import as_features, numeric
from lamina.estimators.modes import EstimatorSpec, ModeKeys, no_op
from lamina.estimators.variables import get_variable
from lamina.random import SeedGenerator

SQUARED_EUCLIDEAN_DISTANCE = "squared_euclidean"
COSINE_DISTANCE = "cosine"
RANDOM_INIT = "random"
KMEANS_PLUS_PLUS_INIT = "kmeans_plus_plus"

_TINY = 1e-12


def unit_rows(x: Any) -> Any:
    """Rows of length 1."""
    return x / jnp.sqrt(jnp.maximum(jnp.sum(x * x, axis=-1, keepdims=True), _TINY))


def distances(x: Any, centers: Any, cosine: bool) -> Any:
    """The squared distance, or 1 - cosine, of each point and center: (points, centers)."""
    if cosine:
        return 1 - unit_rows(x) @ unit_rows(centers).T
    square = jnp.sum(x * x, 1, keepdims=True) - 2 * x @ centers.T + jnp.sum(centers * centers, 1)
    return jnp.maximum(square, 0)


def spread_centers(key: Any, x: Any, count: int, cosine: bool, tries: int) -> Any:
    """Points of `x` far from each other (k-means++): each drawn with a probability in proportion to its distance.

    Args:
        key: a random key.
        x: the points.
        count: how many to choose.
        cosine: whether distances are cosine distances.
        tries: how many candidates are drawn for each center; the one that helps most is taken.
    """
    first_key, key = jax.random.split(key)
    first = x[jax.random.randint(first_key, (), 0, x.shape[0])]
    chosen = jnp.zeros((count, x.shape[1]), x.dtype).at[0].set(first)
    nearest = distances(x, first[None], cosine)[:, 0]

    def add(i: Any, carry: tuple) -> tuple:
        chosen, nearest = carry
        logits = jnp.where(nearest > 0, jnp.log(jnp.maximum(nearest, 1e-30)), -jnp.inf)
        logits = jnp.where(jnp.any(nearest > 0), logits, jnp.zeros_like(logits))
        candidates = jax.random.categorical(jax.random.fold_in(key, i), logits, shape=(max(tries, 1),))
        to_each = jnp.minimum(nearest[:, None], distances(x, x[candidates], cosine))
        best = jnp.argmin(to_each.sum(0))
        return chosen.at[i].set(x[candidates[best]]), to_each[:, best]

    return jax.lax.fori_loop(1, count, add, (chosen, nearest))[0]


def _drawn(centers: Any, seen: Any, total: Any, count: Any) -> Any:
    """Centers drawn to their k new points: `c + (Σ x - k c) / (n + 2 k)`, after n points before."""
    # TensorFlow counts the new points before it reads n, so that they weigh half of what the mean of all would give.
    return centers + (total - count[:, None] * centers) / jnp.maximum(seen + 2 * count, 1)[:, None]


class _StopsWhenSettled(SessionRunHook):
    """Ends training when the loss changes by less than a share of itself."""

    def __init__(self, tolerance: float):
        self._tolerance = tolerance
        self._before: float | None = None

    def after_run(self, run_context: Session, run_values: SessionRunValues) -> None:
        """Looks at the loss."""
        loss = float(run_context.loss)  # type: ignore[arg-type]
        if self._before is not None and self._before - loss < self._tolerance * abs(self._before):
            run_context.request_stop()
        self._before = loss


class KMeansClustering(CannedEstimator):
    """Clusters: each point belongs to the center that is nearest, each center is the mean of its points.

    A step moves all centers by the points of a batch. With `use_mini_batch` the points draw a center towards them, the
    less the more it had before; otherwise it is the mean of those of the last batch, which should then hold all data.

    Args:
        num_clusters: the number of clusters.
        model_dir: see `Estimator`.
        initial_clusters: "random" (points of the first batch), "kmeans_plus_plus" (such that lie far apart), an array
            of centers, or a function `(points, num_clusters)` that returns one.
        distance_metric: "squared_euclidean" or "cosine".
        seed: the seed of the initial centers.
        use_mini_batch: see above.
        mini_batch_steps_per_iteration: with `use_mini_batch`, steps after which centers are moved, and forget their
            earlier points.
        kmeans_plus_plus_num_retries: how many candidates k-means++ draws for each center.
        relative_tolerance: the relative change of the loss below which training ends. With `use_mini_batch` the losses
            are of different points, and may say little.
        config: see `Estimator`.
        feature_columns: dense columns; by default all features, by name.
        epochs: for `fit`: passes over the data.
        batch_size: for `fit`: points a batch; None for all of them.

    Example:
        >>> X = np.array([[0.0], [0.2], [5.0], [5.2]])
        >>> model = KMeansClustering(2, initial_clusters=[[0.0], [5.0]], use_mini_batch=False).fit(X)
        >>> np.round(model.cluster_centers().astype("float64"), 3).tolist()
        [[0.1], [5.1]]

    Reference: Sculley, "Web-Scale K-Means Clustering", 2010; Arthur and Vassilvitskii, "k-means++", 2007.
    """

    SQUARED_EUCLIDEAN_DISTANCE = SQUARED_EUCLIDEAN_DISTANCE
    COSINE_DISTANCE = COSINE_DISTANCE
    RANDOM_INIT = RANDOM_INIT
    KMEANS_PLUS_PLUS_INIT = KMEANS_PLUS_PLUS_INIT
    ALL_DISTANCES, CLUSTER_INDEX, SCORE = "all_distances", "cluster_index", "score"

    def __init__(
        self,
        num_clusters: int = 8,
        model_dir: Any = None,
        initial_clusters: Any = RANDOM_INIT,
        distance_metric: str = SQUARED_EUCLIDEAN_DISTANCE,
        seed: int | None = None,
        use_mini_batch: bool = True,
        mini_batch_steps_per_iteration: int = 1,
        kmeans_plus_plus_num_retries: int = 2,
        relative_tolerance: float | None = None,
        config: Any = None,
        feature_columns: Any = None,
        *,
        epochs: int = 50,
        batch_size: int | None = None,
    ):
        self._begin()

    def _check_arguments(self) -> None:
        owner, get = type(self).__name__, self._argument
        self._head = None
        self._columns = check_column_list(owner, "feature_columns", get("feature_columns"))
        self._count = check_int(owner, "num_clusters", get("num_clusters"), 1)
        self._cosine = (
            check_choice(owner, "distance_metric", get("distance_metric"), ["squared_euclidean", "cosine"]) == "cosine"
        )
        initial = get("initial_clusters")
        if isinstance(initial, str):
            check_choice(owner, "initial_clusters", initial, [RANDOM_INIT, KMEANS_PLUS_PLUS_INIT])
        elif not callable(initial):
            shape = np.shape(initial)
            if len(shape) != 2 or shape[0] != self._count:
                raise ShapeError(
                    f"{owner}: initial_clusters must have {self._count} rows, one a cluster, got {describe(initial)}."
                )
        check_int(owner, "mini_batch_steps_per_iteration", get("mini_batch_steps_per_iteration"), 1)
        check_int(owner, "kmeans_plus_plus_num_retries", get("kmeans_plus_plus_num_retries"), 0)
        if get("relative_tolerance") is not None:
            check_number(owner, "relative_tolerance", get("relative_tolerance"), 0)

    # ---- the model

    def _points(self, features: Any) -> Any:
        """The points of a batch, (batch, n)."""
        if self._columns:
            return input_layer(features, self._columns)
        if isinstance(features, Mapping):
            parts = [features[k] for k in sorted(features)]
            flat = [p.reshape(p.shape[0], -1).astype("float32") for p in parts]
            return jnp.concatenate(flat, axis=1)
        return features.reshape(features.shape[0], -1).astype("float32")

    def _initial(self, x: Any) -> Any:
        initial = self._argument("initial_clusters")
        if isinstance(initial, str):
            if x.shape[0] < self._count:
                raise ValueError(
                    f"{type(self).__name__}: the first batch has {x.shape[0]} points, fewer than the {self._count} "
                    "clusters that start from them. Make batches larger, or give initial_clusters."
                )
            key = SeedGenerator(self._argument("seed")).next()
            if initial == KMEANS_PLUS_PLUS_INIT:
                tries = self._argument("kmeans_plus_plus_num_retries")
                centers = spread_centers(key, x, self._count, self._cosine, tries)
            else:
                centers = x[jax.random.permutation(key, x.shape[0])[: self._count]]
        else:
            given = initial(x, self._count) if callable(initial) else initial
            centers = jnp.asarray(given, "float32")
            if centers.shape != (self._count, x.shape[1]):
                raise ShapeError(
                    f"{type(self).__name__}: initial_clusters must have the shape {(self._count, x.shape[1])}, got "
                    f"{centers.shape}."
                )
        return unit_rows(centers) if self._cosine else centers

    def _spec(self, features: Any, labels: Any, mode: str, params: Any, config: Any) -> EstimatorSpec:
        x = self._points(features)
        shape = (self._count, x.shape[1])
        clusters = get_variable("clusters", shape, initializer="zeros", trainable=False)
        ready = get_variable("initialized", (), dtype="bool", initializer="zeros", trainable=False)
        centers = jax.lax.cond(ready.value, lambda: clusters.value, lambda: self._initial(x))
        away = distances(x, centers, self._cosine)
        nearest = jnp.argmin(away, axis=1)
        loss = jnp.sum(jnp.min(away, axis=1))
        predictions = {"all_distances": away, "cluster_index": nearest.astype("int32")}
        if mode != ModeKeys.TRAIN:
            metrics = {"score": loss} if mode == ModeKeys.EVAL else None
            return EstimatorSpec(mode, predictions, loss, eval_metric_ops=metrics, decode=_whole_index)
        self._move(clusters, centers, unit_rows(x) if self._cosine else x, nearest, ready)
        ready.assign(jnp.ones((), bool))
        tolerance = self._argument("relative_tolerance")
        hooks = [] if tolerance is None else [_StopsWhenSettled(tolerance)]
        return EstimatorSpec(mode, predictions, loss, no_op(), training_hooks=hooks)

    def _move(self, clusters: Any, centers: Any, x: Any, nearest: Any, ready: Any) -> None:
        """Moves the centers to the means of their points, or towards them."""
        count = jax.ops.segment_sum(jnp.ones(x.shape[0], x.dtype), nearest, self._count)
        total = jax.ops.segment_sum(x, nearest, self._count)
        if not self._argument("use_mini_batch"):
            means = total / jnp.maximum(count, 1)[:, None]  # 0 of no points, from where a center may find some
            clusters.assign(unit_rows(means) if self._cosine else means)
            return
        every = self._argument("mini_batch_steps_per_iteration")
        start = "ones" if every == 1 else "zeros"
        seen = get_variable("cluster_counts", (self._count,), initializer=start, trainable=False)
        if every == 1:
            clusters.assign(_drawn(centers, seen.value, total, count))
            seen.assign(seen.value + count)
            return
        ahead = get_variable("clusters_updated", clusters.shape, initializer="zeros", trainable=False)
        left = get_variable(
            "update_in_steps", (), "int32", lambda shape, dtype: jnp.full(shape, every, dtype), trainable=False
        )
        now, due = jnp.where(ready.value, ahead.value, centers), left.value <= 0
        clusters.assign(jnp.where(due, unit_rows(now) if self._cosine else now, centers))
        before = jnp.where(due, 0, seen.value)
        left.assign(jnp.where(due, every, left.value) - 1)
        ahead.assign(_drawn(now, before, total, count))
        seen.assign(before + count)

    def _host(self, method: str, features: Any, labels: Any) -> tuple[Any, Any]:
        features = as_features(features)
        if self._columns:
            return transform_host(self._columns, features), None
        return numeric(method, features, None)

    def _nodes(self, nodes: Any) -> Any:
        return super()._nodes(nodes) if self._columns else Estimator._nodes(self, nodes)

    # ---- use

    def cluster_centers(self) -> np.ndarray:
        """The centers, one a row."""
        return self.get_variable_value("clusters")

    def predict_cluster_index(self, input_fn: Callable[..., Any]) -> Iterator[Any]:
        """Yields the number of the nearest center for each point."""
        for found in Estimator.predict(self, input_fn, ["cluster_index"]):
            yield found["cluster_index"]

    def transform(self, input_fn: Any) -> Any:
        """The distances, not squared, of points and centers: yielded for an input function, as an array for data."""
        root = np.asarray if self._cosine else np.sqrt
        if callable(input_fn):
            return (root(found["all_distances"]) for found in Estimator.predict(self, input_fn, ["all_distances"]))
        return root(self._outputs(input_fn)["all_distances"].astype(np.float64))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """The sum of the distances to the nearest centers, for an input function; its negative for data."""
        if callable(X):
            return float(self.evaluate(X, steps=1)["score"])
        return -float(self._outputs(X)["all_distances"].min(axis=1).sum())

    def _training_data(self, X: Any, y: Any, sample_weight: Any, epochs: int, first: bool) -> Any:
        if sample_weight is not None:
            raise ValueError(f"{type(self).__name__}: sample_weight has no meaning here.")
        return self._unlabelled_data(X, epochs, first)

    def _needs_columns(self) -> bool:
        return False

    def _answer(self, outputs: dict[str, np.ndarray]) -> Any:
        return outputs["cluster_index"]


def _whole_index(predictions: dict[str, Any]) -> dict[str, Any]:
    return {**predictions, "cluster_index": np.asarray(predictions["cluster_index"]).astype(np.int64)}
