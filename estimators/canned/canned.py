"""What canned estimators have in common: constructor arguments by name, a head, columns, and logits of a backbone."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from lamina.core.checks import unknown_arguments
from lamina.core.errors import describe
from lamina.estimators.feature_columns import FeatureColumn, transform_host
from lamina.estimators.heads import (
    BinaryClassHead,
    Head,
    MultiClassHead,
    MultiHead,
    RegressionHead,
)
from lamina.estimators.inputs import as_features, check_features
from lamina.estimators.model import EstimatorModel
from lamina.estimators.modes import EstimatorSpec, Minimize
from lamina.estimators.tabular import Tabular


class CannedEstimator(Tabular):
    """A backbone, which makes logits of features, and a head.

    A subclass says what its columns are, its head, its logits, and which optimizer changes which variables.
    """

    _given: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Keeps the constructor's arguments by name, for `get_params` and for starting anew."""
        self = super().__new__(cls)
        signature = inspect.signature(cls.__init__)
        known = [n for n in signature.parameters if n != "self"]
        unknown = [k for k in kwargs if k not in known]
        if unknown:
            raise unknown_arguments(cls.__name__, unknown, known)
        try:
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
        except TypeError as error:
            raise TypeError(f"{cls.__name__}: {error}.") from None
        self._given = {k: v for k, v in bound.arguments.items() if k != "self"}
        return self

    def _begin(self) -> None:
        """Called at the end of each constructor, and when parameters change."""
        given = self._given
        self._inferred: dict[str, Any] = {}
        self._setup(given.get("model_dir"), given.get("config"), given.get("warm_start_from"))
        self._check_arguments()

    def _setup_again(self) -> None:
        """Gives a copy of an estimator a model and optimizers of its own."""
        self._new_model()
        self._check_arguments()

    def _argument(self, name: str) -> Any:
        """A constructor's argument, or what `fit` found out in its place."""
        return self._inferred.get(name, self._given.get(name))

    @property
    def _is_fitted(self) -> bool:
        """Whether `fit` or `partial_fit` trains the model, rather than `train`."""
        return bool(self._inferred.get("fitted"))

    # ---- what a subclass defines

    def _check_arguments(self) -> None:
        """Makes what the arguments describe, so that wrong ones are told of at once."""
        self._head = self._make_head()
        self._columns = self._make_columns()

    def _make_head(self) -> Head | None:
        """The head."""
        return self._given["head"]

    def _make_columns(self) -> list[FeatureColumn]:
        """All feature columns."""
        return check_column_list(type(self).__name__, "feature_columns", self._argument("feature_columns"))

    def _logits(self, features: Mapping[str, Any], mode: str) -> Any:
        """The logits of a batch, within a model_fn."""
        raise NotImplementedError

    def _train_op(self, loss: Any) -> list[Minimize]:
        """What training minimizes, and how."""
        raise NotImplementedError

    # ---- Estimator

    @property
    def model_fn(self) -> Any:
        """The model_fn: the backbone and the head."""
        return self._spec

    @property
    def params(self) -> dict[str, Any]:
        """None: all arguments belong to the constructor."""
        return {}

    @property
    def head(self) -> Head:
        """The head."""
        return self._head  # type: ignore[return-value]

    def _spec(self, features: Any, labels: Any, mode: str, params: Any, config: Any) -> EstimatorSpec:
        logits = self._logits(features, mode)
        units = getattr(self.head, "units", None)
        scale = 1.0 if units is None else 1.0 / float(np.mean(units[1] ** 2))
        spec = self.head.create_estimator_spec(
            features, mode, logits, labels, train_op_fn=lambda loss: self._train_op(loss * scale)
        )
        return self._with_added_metrics(spec, features, labels)

    def _host(self, method: str, features: Any, labels: Any) -> tuple[Any, Any]:
        """A raw batch as the inputs of the columns, with weights, and encoded labels."""
        features = as_features(features)
        check_features(method, features, [c.name for c in self._columns])
        if not self._columns and not self._inferred.get("columns_known") and "feature_columns" in self._given:
            raise ValueError(
                f"{type(self).__name__}: feature_columns is needed to {method} by an input_fn. Give it, or call "
                "fit(X, y), which infers it from the data."
            )
        inputs: dict[str, Any] = transform_host(self._columns, features) if self._columns else self._batch(features)
        if method == "predict":
            return inputs, None
        if method == "evaluate" and self._added_metrics is not None:  # which may read features under their own names
            inputs = {**{k: a for k, v in features.items() if (a := np.asarray(v)).dtype.kind in "fiub"}, **inputs}
        for head in self.head.heads if isinstance(self.head, MultiHead) else [self.head]:
            if head.weight_key is not None:
                inputs[head.weight_key] = head.weights_of(features)
        if labels is None:
            raise ValueError(f"{method}: {type(self).__name__} needs labels. Let input_fn yield (features, labels).")
        return inputs, self._encode(method, labels)

    def _nodes(self, nodes: Any) -> Any:
        check_features("export_saved_model", nodes.features, [c.name for c in self._columns])
        inputs: dict[str, Any] = {}
        for column in self._columns:
            inputs.update(column.host_nodes(nodes))
        return inputs or {"rows": nodes.build.zeros(next(iter(nodes.features.values())))}

    def _encode(self, method: str, labels: Any) -> Any:
        """Labels as numbers."""
        return self.head.encode_labels(labels)

    @staticmethod
    def _batch(features: Any) -> dict[str, Any]:
        """The size of the batch alone, for models without columns."""
        rows = next((len(v) for v in features.values()), 0) if isinstance(features, Mapping) else len(features)
        return {"rows": np.zeros((rows, 1), np.float32)}

    def _new_model(self) -> None:
        seed = self._config.tf_random_seed
        self._model = EstimatorModel(self._spec, {}, self._config, seed)
        self._at = None


def class_head(owner: Any) -> Head:
    """The head of a classifier: binary for two classes."""
    n_classes = owner._argument("n_classes")
    n_classes = 2 if n_classes is None else n_classes
    if isinstance(n_classes, bool) or not isinstance(n_classes, (int, np.integer)) or n_classes < 2:
        raise ValueError(f"{type(owner).__name__}: n_classes must be an integer of at least 2, got {n_classes!r}.")
    arguments = {
        "weight_column": owner._argument("weight_column"),
        "label_vocabulary": owner._argument("label_vocabulary"),
        "loss_reduction": owner._argument("loss_reduction"),
    }
    return BinaryClassHead(**arguments) if n_classes == 2 else MultiClassHead(int(n_classes), **arguments)


def number_head(owner: Any) -> Head:
    """The head of a regressor."""
    head = RegressionHead(
        weight_column=owner._argument("weight_column"),
        label_dimension=owner._argument("label_dimension"),
        loss_reduction=owner._argument("loss_reduction"),
    )
    head.units = owner._inferred.get("units")
    return head


def given_head(owner: Any) -> Head:
    """The head that a constructor was given."""
    head = owner._given["head"]
    if not isinstance(head, Head):
        raise TypeError(
            f"{type(owner).__name__}: head must be a head such as estimators.RegressionHead(), got {describe(head)}."
        )
    return head


def check_column_list(owner: str, argument: str, columns: Any) -> list[FeatureColumn]:
    """Feature columns as a list; none if they are to be inferred.

    Raises:
        TypeError: something else is among them.
    """
    if columns is None:
        return []
    if isinstance(columns, FeatureColumn) or isinstance(columns, (str, Mapping)) or not isinstance(columns, Sequence):
        columns = [columns]
    for column in columns:
        if not isinstance(column, FeatureColumn):
            raise TypeError(f"{owner}: {argument} must be a list of feature columns, got {describe(column)} in it.")
    if not columns:
        raise ValueError(f"{owner}: {argument} must hold at least one feature column, got an empty list.")
    return list(columns)
