"""scikit-learn's habits for canned estimators: fit, predict, score and parameters, on tables of any kind."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from typing import Any, Self

import jax
import numpy as np

from lamina.core.checks import check_int
from lamina.core.errors import did_you_mean, listing
from lamina.datasets import Dataset
from lamina.estimators.estimator import Estimator
from lamina.estimators.feature_columns import CategoricalColumn, DenseColumn, indicator_column, infer_columns
from lamina.estimators.hooks import NanTensorHook, Session, SessionRunHook, SessionRunValues
from lamina.estimators.inputs import Batches, Epochs, Stream, as_features, split_element
from lamina.estimators.modes import ModeKeys
from lamina.estimators.saving import CheckpointSaverHook
from lamina.estimators.tabular_data import Table, check_classes, check_labels, check_weights, not_fitted
from lamina.executor.feed import Pass, Source
from lamina.state.rng import default_seed

# The feature that `sample_weight` becomes.
_WEIGHTS = "sample_weight@fit"
# predict computes so many rows at a time, at most; fewer are padded to a power of two, which saves compilations.
_MOST_ROWS = 8192


class _Losses(SessionRunHook):
    """Notes the loss at the end of each pass over the data."""

    def __init__(self, steps: int | None):
        self.steps = steps
        self.losses: list[float] = []

    def next_step(self, step: int, rate: float | None) -> int | None:
        """The end of the pass."""
        return step + (self.steps or 100)

    def after_run(self, run_context: Session, run_values: SessionRunValues) -> None:
        """Notes the loss."""
        self.losses.append(float(run_context.loss))  # type: ignore[arg-type]


class Tabular(Estimator):
    """fit, predict, score, get_params and set_params; see `Classifier` and `Regressor`."""

    _given: dict[str, Any]
    _inferred: dict[str, Any]
    # Columns that the model takes: categorical ones are wrapped in an indicator where it takes only dense ones.
    _takes_categories = False
    # Whether nobody expects good predictions of it; scikit-learn asks.
    _scores_poorly = False

    # ---- parameters

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name."""
        return dict(self._given)

    def set_params(self, **params: Any) -> Self:
        """Changes constructor's arguments; what was learnt is forgotten.

        Raises:
            ValueError: there is no such parameter.
        """
        unknown = [k for k in params if k not in self._given]
        if unknown:
            raise ValueError(
                f"Invalid parameter {unknown[0]!r} for estimator {type(self).__name__}."
                f"{did_you_mean(unknown[0], self._given)} Valid parameters are {listing(list(self._given), 'and')}."
            )
        if params:
            self._given.update(params)
            self._forget()
        return self

    def _forget(self) -> None:
        for name in [n for n in vars(self) if n.endswith("_") and not n.startswith("_")]:
            delattr(self, name)
        self._begin()  # type: ignore[attr-defined]

    def __sklearn_is_fitted__(self) -> bool:
        return self._is_trained()

    def _is_trained(self) -> bool:
        estimator: Any = self
        return estimator._model.store.step > 0 or estimator.latest_checkpoint() is not None

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import Tags, TargetTags  # only scikit-learn asks

        tags = Tags(estimator_type=None, target_tags=TargetTags(required=True))
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.non_deterministic = False
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """What a copy of a trained estimator needs: arguments, what fit found out, and the variables."""
        estimator: Any = self
        public = {k: v for k, v in vars(self).items() if k.endswith("_") and not k.startswith("_")}
        trained = dict(estimator._model.waiting)
        step = estimator._model.store.step
        if estimator._model.modes:
            trained |= {n: np.array(v.stored) for n, v in estimator._model.store.weights.items()}
            if estimator._model.optimizer is not None:
                trained |= {n: np.array(v) for n, v in estimator._model.optimizer.tensors(step).items()}
        state = {"given": self._given, "inferred": self._inferred, "public": public, "trained": trained}
        return {**state, "config": estimator._config}

    def __setstate__(self, state: dict[str, Any]) -> None:
        estimator: Any = self
        self._given = state["given"]
        estimator._begin()
        self._inferred = state["inferred"]
        estimator._check_arguments()
        estimator._config = state["config"]
        vars(self).update(state["public"])
        estimator._model.waiting = state["trained"]
        estimator._model.store.step = int(state["trained"].get("global_step", 0))
        estimator._model._steps_done = estimator._model.store.step

    # ---- fit

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Trains anew on data: `epochs` passes in batches of `batch_size`, each pass in an order of its own.

        Without feature columns they are inferred: numbers are standardised, text and categories get a vocabulary; see
        `summary`. A regressor in memory (without model_dir) whose optimizer is given by its name learns labels in units
        of their deviation, counted from their mean; predictions and losses are in the labels' own units.

        Args:
            X: an array (rows, features), a DataFrame, a dict of columns; or a Dataset of (features, labels), batched.
            y: the labels; left out with a Dataset.
            sample_weight: a weight for each row.

        Returns:
            The estimator.

        Raises:
            ValueError: X and y do not fit each other or the model.
        """
        estimator: Any = self
        if self._inferred or estimator._model.modes:
            self._forget()
        epochs = check_int(type(self).__name__, "epochs", self._given.get("epochs", 1), 1)
        self._train_on(self._training_data(X, y, sample_weight, epochs, first=True))
        return self

    def partial_fit(self, X: Any, y: Any = None, classes: Any = None, sample_weight: Any = None) -> Self:
        """Goes on training with one pass over data.

        Args:
            X: the features, as for `fit`.
            y: the labels.
            classes: all classes, for the first call of a classifier.
            sample_weight: a weight for each row.

        Returns:
            The estimator.
        """
        if classes is not None and "classes" not in self._inferred:
            self._set_classes(np.unique(np.asarray(classes)))
        self._train_on(self._training_data(X, y, sample_weight, 1, first=not self._is_trained()))
        return self

    def _train_on(self, batches: Pass) -> None:
        estimator: Any = self
        estimator._learn(ModeKeys.TRAIN, estimator._first("fit", batches))
        if estimator._warm_start is not None and estimator._model.store.step == 0:
            estimator._start(saves=False)
        losses = _Losses(getattr(batches, "per_pass", None))
        hooks: list[SessionRunHook] = [NanTensorHook(), losses]
        if estimator._config.model_dir is not None:
            hooks.append(
                CheckpointSaverHook(estimator.model_dir, save_secs=600, keep=estimator._config.keep_checkpoint_max)
            )
        try:
            session = estimator._run(batches, hooks)
        finally:
            if estimator.head is not None and estimator.head.weight_column == _WEIGHTS:
                estimator.head.weight_column = self._given.get("weight_column")
        before = getattr(self, "history_", {"loss": []})["loss"]
        self.history_ = {"loss": [*before, *losses.losses] or [session.loss]}
        self.n_iter_ = max(len(self.history_["loss"]), 1)

    def _training_data(self, X: Any, y: Any, sample_weight: Any, epochs: int, first: bool) -> Pass:
        """The data as batches of numbers, as many passes over it as asked for."""
        estimator: Any = self
        name = type(self).__name__
        size = check_int(name, "batch_size", self._given.get("batch_size", 32), 1)
        if first:
            self._inferred["fitted"] = True
            estimator._check_arguments()
        if isinstance(X, Dataset) or (
            y is None and not hasattr(X, "shape") and not isinstance(X, (Mapping, list, tuple))
        ):
            if y is not None or sample_weight is not None:
                raise ValueError(
                    f"{name}: y and sample_weight must be left out when X is a Dataset of (features, labels)."
                )
            return Epochs(self._dataset_source(X, first), epochs)
        table = Table(self, X)
        labels = self._take_labels(check_labels(self, y, table.rows), first)
        weights = check_weights(self, sample_weight, table.rows)
        if first:
            self._take_columns(table)
        else:
            table.check(self)
        features = dict(table.features)
        if weights is not None:
            if self._given.get("weight_column") is not None:
                raise ValueError(f"{name}: give either weight_column or sample_weight, not both.")
            estimator.head.weight_column = _WEIGHTS
            features[_WEIGHTS] = weights
        inputs, labels = estimator._host("fit", features, labels)
        seed = self._given.get("random_state")
        if seed is not None and not isinstance(seed, (int, np.integer)):
            seed = int(seed.randint(2**31 - 1))  # a numpy RandomState
        seed = default_seed() if seed is None else int(seed)
        if not estimator._model.modes and estimator._config.tf_random_seed is None:
            estimator._model._given_seed = seed
            estimator._model.__dict__["_seed_value"] = seed
        return Stream((inputs, labels, None), size, epochs, seed)

    def _unlabelled_data(self, X: Any, epochs: int, first: bool) -> Pass:
        """Data without labels, in one order."""
        estimator: Any = self
        if isinstance(X, Dataset):
            return Epochs(Batches("fit", X, lambda x, y: estimator._host("fit", x, None)).source(), epochs)
        table = Table(self, X)
        if not first:
            table.check(self)
        elif table.width is not None:
            self.n_features_in_ = table.width
        inputs, _ = estimator._host("fit", table.features, None)
        size = self._given.get("batch_size") or table.rows
        return Stream((inputs, None, None), size, epochs, None)

    def _dataset_source(self, data: Any, first: bool) -> Source:
        """A Dataset as a source; without feature columns, a pass over it finds them."""
        estimator: Any = self
        if first:
            rows: list[tuple[Any, Any]] = []
            needs = self._needs_columns()
            for element in data:
                features, labels = split_element(element, "fit")
                rows.append((as_features(features) if needs else {}, labels))
                if len(rows) >= 1_000_000:
                    raise ValueError("fit: the Dataset has no end; take(n) of it, or use train(input_fn, steps=n).")
            if not rows or rows[0][1] is None:
                raise ValueError("fit: the Dataset must yield (features, labels), batched.")
            self._take_labels(np.concatenate([np.asarray(y) for _, y in rows]), True)
            if needs:
                if not isinstance(rows[0][0], Mapping):
                    rows = [({"x": x}, y) for x, y in rows]
                table = {k: np.concatenate([np.asarray(x[k]) for x, _ in rows]) for k in rows[0][0]}
                self._take_columns(Table(self, table))

        def host(features: Any, labels: Any) -> tuple[Any, Any]:
            if not isinstance(features, Mapping):
                features = {"x": features}
            return estimator._host("fit", features, self._take_labels(np.asarray(labels), False))

        return Batches("fit", data, host).source()

    def _needs_columns(self) -> bool:
        estimator: Any = self
        return not estimator._columns and any(k.endswith("feature_columns") for k in self._given)

    def _take_columns(self, table: Table) -> None:
        """Takes note of the columns of the data; infers feature columns if none were given."""
        estimator: Any = self
        if table.width is not None:
            self.n_features_in_ = table.width
        if table.names is not None:
            self.feature_names_in_ = table.names
        if self._needs_columns():
            self._inferred["columns_known"] = True
            self._infer(infer_columns(table.features))
            estimator._check_arguments()

    def _infer(self, columns: list[Any]) -> None:
        """Puts inferred columns in the place of arguments that were not given."""
        if not self._takes_categories:
            columns = [
                indicator_column(c) if isinstance(c, CategoricalColumn) and not isinstance(c, DenseColumn) else c
                for c in columns
            ]
        self._inferred["feature_columns"] = columns

    def _take_labels(self, y: np.ndarray, first: bool) -> np.ndarray:
        """Labels as the head takes them."""
        return y

    def _set_classes(self, classes: np.ndarray) -> None:
        raise ValueError(f"{type(self).__name__} has no classes; leave classes= out.")

    # ---- predict

    def predict(self, X: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Predictions for data; or, for an input function, the generator of `Estimator.predict`.

        Args:
            X: an array, a DataFrame, a dict of columns or a Dataset: returns an array. A function: see
                `Estimator.predict`, as for the other arguments.
            *args: see `Estimator.predict`.
            **kwargs: see `Estimator.predict`.
        """
        X = kwargs.pop("input_fn", X)
        if callable(X):
            return super().predict(X, *args, **kwargs)
        if args or kwargs:
            names = [*kwargs] or ["more than one argument"]
            raise TypeError(
                f"{type(self).__name__}.predict(X) takes {listing(names, 'and')} with an input function only."
            )
        return self._answer(self._outputs(X))

    def _answer(self, outputs: dict[str, np.ndarray]) -> Any:
        """What `predict` returns for data: by the head, classes or numbers."""
        estimator: Any = self
        if "class_ids" in outputs:
            classes, ids = estimator.head.classes, outputs["class_ids"][..., 0]
            return np.asarray([n.decode() for n in classes.names])[ids] if classes.given else ids
        if "predictions" not in outputs:
            raise TypeError(
                f"{type(self).__name__}: predict returns classes or numbers, and {estimator.head!r} gives neither. "
                "Call predict(input_fn), which yields all that it gives."
            )
        found = outputs["predictions"].astype(np.float64)
        return found[:, 0] if found.shape[1] == 1 else found

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """By the head: the share of right classes, or the coefficient of determination."""
        estimator: Any = self
        kind: Any = Classifier if hasattr(estimator.head, "classes") else Regressor
        return kind.score(self, X, y, sample_weight)

    def _outputs(self, X: Any) -> dict[str, np.ndarray]:
        """The predictions that are numbers, for data."""
        estimator: Any = self
        if not self._is_trained():
            raise not_fitted(self)
        if isinstance(X, Dataset):
            parts = []
            for element in X:
                features, _ = split_element(element, "predict")
                parts.append(self._computed(features if isinstance(features, Mapping) else {"x": features}))
            if not parts:
                raise ValueError("predict: the Dataset is empty.")
            return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
        table = Table(self, X)
        table.check(self)
        estimator._load()
        return self._computed(table.features)

    def _computed(self, features: Any) -> dict[str, np.ndarray]:
        estimator: Any = self
        inputs, _ = estimator._host("predict", features, None)
        rows = len(next(iter(inputs.values())))
        size = min(_MOST_ROWS, max(8, 1 << (rows - 1).bit_length()))
        parts = []
        for start in range(0, rows, size):
            batch = {k: _padded(v[start : start + size], size) for k, v in inputs.items()}
            estimator._learn(ModeKeys.PREDICT, (batch, None))
            estimator._load()
            found = estimator._model.predictor(batch)(batch)
            parts.append(jax.tree.map(lambda a, n=rows - start: np.asarray(a)[:n], found))
        return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


def _padded(rows: np.ndarray, size: int) -> np.ndarray:
    missing = size - len(rows)
    return rows if missing == 0 else np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)])


class Classifier(Tabular):
    """scikit-learn's habits for estimators of classes.

    Attributes:
        classes_: the classes, once it is fitted.
        history_: the loss at the end of each pass.
    """

    _estimator_type = "classifier"

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags

        tags = super().__sklearn_tags__()
        tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags(poor_score=self._scores_poorly)
        return tags

    def _take_labels(self, y: np.ndarray, first: bool) -> np.ndarray:
        """Labels as class numbers; the first time, finds the classes."""
        if y.ndim == 2 and y.shape[1] == 1:
            _tell_of_column(self)
            y = y[:, 0]
        if y.ndim != 1:
            raise ValueError(f"{type(self).__name__}: y should be a 1d array, got an array of shape {y.shape} instead.")
        if y.dtype.kind == "f" and (y != np.round(y)).any():
            raise ValueError(
                f"{type(self).__name__}: Unknown label type: continuous. A classifier needs class labels, got "
                f"fractions such as {y[y != np.round(y)][0]:g}."
            )
        if y.dtype.kind == "O":
            y = np.asarray([v.decode() if isinstance(v, bytes) else v for v in y])
        if "classes" not in self._inferred:
            self._find_classes(y)
        return check_classes(self, y, self._inferred["classes"])

    def _find_classes(self, y: np.ndarray) -> None:
        name, wanted = type(self).__name__, self._given["n_classes"]
        vocabulary = self._given["label_vocabulary"]
        found = np.unique(y)
        if vocabulary is not None:
            texts = [v.decode() if isinstance(v, bytes) else str(v) for v in vocabulary]
            unknown = [v for v in found.tolist() if str(v) not in texts]
            if unknown:
                raise ValueError(
                    f"{name}: label {unknown[0]!r} is not in label_vocabulary, which has {listing(texts[:8], 'and')}."
                    f"{did_you_mean(unknown[0], texts)}"
                )
            found = np.asarray(sorted(texts))
        elif wanted is not None and found.dtype.kind in "iub" and found.min() >= 0 and found.max() < wanted:
            found = np.arange(wanted).astype(found.dtype) if found.dtype.kind != "b" else found
        if len(found) < 2:
            raise ValueError(
                f"{name} needs labels of at least 2 classes, got 1 class: {found.tolist()[0]!r}. Give more data, or "
                "n_classes= with labels from 0."
            )
        if wanted is not None and len(found) != wanted:
            raise ValueError(f"{name}: n_classes is {wanted}, but y has {len(found)} classes. Leave n_classes out.")
        self._set_classes(found)

    def _set_classes(self, classes: np.ndarray) -> None:
        estimator: Any = self
        if len(classes) < 2:
            raise ValueError(f"{type(self).__name__} needs at least 2 classes, got 1 class: {classes.tolist()!r}.")
        self._inferred.update(classes=classes, n_classes=len(classes), label_vocabulary=None)
        self.classes_ = classes
        estimator._check_arguments()

    def _encode(self, method: str, labels: Any) -> Any:
        """Labels as class numbers; those of `fit` are numbered already, others may be classes that it found."""
        estimator: Any = self
        classes = self._inferred.get("classes")
        if classes is None or method == "fit":
            return estimator.head.encode_labels(labels)
        values = np.asarray(labels)
        if values.dtype.kind == "O":
            values = np.asarray([v.decode() if isinstance(v, bytes) else v for v in values.reshape(-1)])
        return estimator.head.encode_labels(check_classes(self, values.reshape(-1), classes))

    def _answer(self, outputs: dict[str, np.ndarray]) -> Any:
        return self._names()[outputs["class_ids"][..., 0]]

    def _names(self) -> np.ndarray:
        """The classes, by number."""
        estimator: Any = self
        found = self._inferred.get("classes")
        if found is not None:
            return found
        classes = estimator.head.classes
        if not classes.given:
            return np.arange(classes.count)
        return np.asarray([n.decode() for n in classes.names])

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class.

        Shape:
            (rows, classes), in the order of `classes_`.
        """
        found = self._outputs(X)["probabilities"].astype(np.float64)
        return found / found.sum(axis=-1, keepdims=True)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of right predictions."""
        right = np.asarray(self.predict(X)) == np.asarray(y).reshape(-1)
        return float(np.average(right, weights=sample_weight))


class Regressor(Tabular):
    """scikit-learn's habits for estimators of numbers.

    Attributes:
        history_: the loss at the end of each pass.
    """

    _estimator_type = "regressor"

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import RegressorTags

        tags = super().__sklearn_tags__()
        tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags(poor_score=self._scores_poorly)
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags

    def _take_labels(self, y: np.ndarray, first: bool) -> np.ndarray:
        estimator: Any = self
        if y.dtype.kind in "OSU":
            try:
                y = y.astype(np.float64)
            except (TypeError, ValueError):
                raise ValueError(
                    f"{type(self).__name__}: y must hold numbers, got text such as {y.flat[0]!r}."
                ) from None
        width = 1 if y.ndim == 1 else y.shape[1]
        if first:
            self._inferred["flat"] = y.ndim == 1
            if width != self._given["label_dimension"]:
                if self._given["label_dimension"] != 1:
                    wanted = self._given["label_dimension"]
                    raise ValueError(f"{type(self).__name__}: label_dimension is {wanted}, but y has {width} columns.")
                self._inferred["label_dimension"] = width
            if estimator._config.model_dir is None and self._optimizers_by_name():
                flat = y.reshape(len(y), -1).astype(np.float64)
                spread = flat.std(axis=0)
                units = flat.mean(axis=0), np.where(spread > 0, spread, 1.0)
                self._inferred["units"] = tuple(np.asarray(u, np.float32) for u in units)
            estimator._check_arguments()
        return y.astype(np.float32)

    def _optimizers_by_name(self) -> bool:
        """Whether the learning rate is the default one, which suits labels of about unit size."""
        return all(isinstance(v, str) for k, v in self._given.items() if k.endswith("optimizer"))

    def _answer(self, outputs: dict[str, np.ndarray]) -> Any:
        found = outputs["predictions"].astype(np.float64)
        return found[:, 0] if found.shape[1] == 1 and self._inferred.get("flat", True) else found

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The coefficient of determination, R² = 1 - Σ (y - p)² / Σ (y - mean y)²; averaged over several outputs."""
        truth, guess = np.asarray(y, np.float64), np.asarray(self.predict(X), np.float64)
        truth, guess = truth.reshape(len(truth), -1), guess.reshape(len(guess), -1)
        weights = np.ones(len(truth)) if sample_weight is None else np.asarray(sample_weight, np.float64)
        mean = np.average(truth, axis=0, weights=weights)
        left = (weights[:, None] * (truth - guess) ** 2).sum(0)
        total = (weights[:, None] * (truth - mean) ** 2).sum(0)
        return float(
            np.mean(np.where(total > 0, 1 - left / np.where(total > 0, total, 1), np.where(left > 0, 0.0, 1.0)))
        )


def _tell_of_column(owner: Any) -> None:
    """Warns, as scikit-learn does, of a column of labels."""
    module = sys.modules.get("sklearn.exceptions")
    kind: type[Warning] = UserWarning if module is None else module.DataConversionWarning
    warnings.warn(
        f"A column-vector y was passed when a 1d array was expected. {type(owner).__name__} takes y.ravel().",
        kind,
        stacklevel=4,
    )
