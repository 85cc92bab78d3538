"""BoostedTreesClassifier, BoostedTreesRegressor and BoostedTreesEstimator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lamina.estimators.boosted_trees.base import BoostedTrees
from lamina.estimators.canned.canned import class_head, given_head, number_head
from lamina.estimators.heads import Head
from lamina.estimators.tabular import Classifier, Regressor


class BoostedTreesClassifier(Classifier, BoostedTrees):
    """Classes by boosted trees, one tree a class in each round (one for two classes).

    `fit` boosts on all of the data as scikit-learn's HistGradientBoostingClassifier does: each tree for the derivatives
    at its start, leaves of at least 20 samples. `train` boosts on batches as TensorFlow does: each layer of a tree is a
    step of boosting for the statistics of `n_batches_per_layer` batches.

    Where a number or category is missing, a row takes the side that lowered the loss more in training. Trees split a
    categorical column by sets of categories, and an indicator column by one category at a time.

    Args:
        feature_columns: numeric, bucketized, categorical and indicator columns; `fit` infers them if None.
        n_batches_per_layer: for `train`: how many batches a layer is grown for; about rows / batch size.
        model_dir: see `Estimator`.
        n_classes: the number of classes: 2 if None, or as many as `fit` finds.
        weight_column: the feature that weighs samples.
        label_vocabulary: the names of the classes, if labels are text.
        n_trees: how many rounds; training ends after them.
        max_depth: the most splits on a path.
        learning_rate: what the values of leaves are scaled by.
        l1_regularization: moves the mean gradient over all rows that a leaf stands for towards 0.
        l2_regularization: is added to the mean second derivative over all rows.
        tree_complexity: the gain for each row of the data that a split must bring, with `pruning_mode`.
        min_node_weight: the least sum of second derivatives of a node that is split, divided by the rows of the data.
        config: see `Estimator`.
        center_bias: whether boosting starts at the best constant rather than at 0: by default `fit` does, `train` not.
        pruning_mode: "none"; "pre" (no split without enough gain) or "post" (such splits are taken back).
        quantile_sketch_epsilon: for `train`: 1 / this is how many bins a feature has.
        train_in_memory: for `train`: whether input_fn returns all of the data as one batch, which is used at each step.
        max_bins: the most bins of a feature: 255 for `fit` if None.
        max_leaf_nodes: the most leaves of a tree.
        min_samples_leaf: the least samples of a leaf: 20 for `fit` and 1 for `train` if None.
        early_stopping: for `fit`: whether boosting ends when the loss on held-out samples does not fall any more.
        validation_fraction: for `fit`: the part of the samples held out for that.
        n_iter_no_change: for `fit`: the rounds without a lower loss after which boosting ends.
        random_state: for `fit`: the seed that chooses the held-out samples.

    Attributes:
        history_: the losses after each round of `fit`.
        n_iter_: the number of rounds.
        feature_importances_: the share of each feature in the gains of all splits.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> import numpy as np
        >>> X = np.arange(100.0)[:, None]
        >>> model = BoostedTreesClassifier(n_trees=20).fit(X, np.where(X[:, 0] < 40, "low", "high"))
        >>> model.predict([[10.0], [90.0]]).tolist()
        ['low', 'high']

    Reference:
        Ponomareva et al., 2017, https://arxiv.org/abs/1710.11555; Ke et al., 2017 (LightGBM).
    """

    def __init__(
        self,
        feature_columns: Any = None,
        n_batches_per_layer: int | None = None,
        model_dir: Any = None,
        n_classes: int | None = None,
        weight_column: Any = None,
        label_vocabulary: Sequence[str] | None = None,
        n_trees: int = 100,
        max_depth: int = 6,
        learning_rate: float = 0.1,
        l1_regularization: float = 0.0,
        l2_regularization: float = 0.0,
        tree_complexity: float = 0.0,
        min_node_weight: float = 0.0,
        config: Any = None,
        center_bias: bool | None = None,
        pruning_mode: str = "none",
        quantile_sketch_epsilon: float = 0.01,
        train_in_memory: bool = False,
        *,
        max_bins: int | None = None,
        max_leaf_nodes: int | None = None,
        min_samples_leaf: int | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        random_state: int | None = None,
    ):
        self._begin()

    def _make_head(self) -> Head:
        return class_head(self)


class BoostedTreesRegressor(Regressor, BoostedTrees):
    """Numbers by boosted trees, for the squared error.

    Args:
        feature_columns: see `BoostedTreesClassifier`, as for all that is not named here.
        n_batches_per_layer: see there.
        model_dir: see there.
        label_dimension: how many numbers a sample has; each has trees of its own.
        weight_column: see there.
        n_trees: see there.
        max_depth: see there.
        learning_rate: see there.
        l1_regularization: see there.
        l2_regularization: see there.
        tree_complexity: see there.
        min_node_weight: see there.
        config: see there.
        center_bias: see there.
        pruning_mode: see there.
        quantile_sketch_epsilon: see there.
        train_in_memory: see there.
        max_bins: see there.
        max_leaf_nodes: see there.
        min_samples_leaf: see there.
        early_stopping: see there.
        validation_fraction: see there.
        n_iter_no_change: see there.
        random_state: see there.

    Example:
        >>> import numpy as np
        >>> X = np.arange(100.0)[:, None]
        >>> model = BoostedTreesRegressor().fit(X, np.where(X[:, 0] < 40, 1.0, 5.0))
        >>> [round(float(y), 2) for y in model.predict([[10.0], [90.0]])]
        [1.0, 5.0]
    """

    def __init__(
        self,
        feature_columns: Any = None,
        n_batches_per_layer: int | None = None,
        model_dir: Any = None,
        label_dimension: int = 1,
        weight_column: Any = None,
        n_trees: int = 100,
        max_depth: int = 6,
        learning_rate: float = 0.1,
        l1_regularization: float = 0.0,
        l2_regularization: float = 0.0,
        tree_complexity: float = 0.0,
        min_node_weight: float = 0.0,
        config: Any = None,
        center_bias: bool | None = None,
        pruning_mode: str = "none",
        quantile_sketch_epsilon: float = 0.01,
        train_in_memory: bool = False,
        *,
        max_bins: int | None = None,
        max_leaf_nodes: int | None = None,
        min_samples_leaf: int | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        random_state: int | None = None,
    ):
        self._begin()

    def _make_head(self) -> Head:
        return number_head(self)

    def _optimizers_by_name(self) -> bool:
        return False  # there is none: leaves are in the labels' own units


class BoostedTreesEstimator(BoostedTrees):
    """Boosted trees with a head of your choice; its loss must have second derivatives.

    Args:
        feature_columns: see `BoostedTreesClassifier`, as for all that is not named here.
        n_batches_per_layer: see there.
        head: the head.
        model_dir: see there.
        weight_column: the weights are the head's matter; None.
        n_trees: see there.
        max_depth: see there.
        learning_rate: see there.
        l1_regularization: see there.
        l2_regularization: see there.
        tree_complexity: see there.
        min_node_weight: see there.
        config: see there.
        center_bias: see there.
        pruning_mode: see there.
        quantile_sketch_epsilon: see there.
        train_in_memory: see there.
        max_bins: see there.
        max_leaf_nodes: see there.
        min_samples_leaf: see there.
        early_stopping: see there.
        validation_fraction: see there.
        n_iter_no_change: see there.
        random_state: see there.
    """

    def __init__(
        self,
        feature_columns: Any,
        n_batches_per_layer: int,
        head: Head,
        model_dir: Any = None,
        weight_column: Any = None,
        n_trees: int = 100,
        max_depth: int = 6,
        learning_rate: float = 0.1,
        l1_regularization: float = 0.0,
        l2_regularization: float = 0.0,
        tree_complexity: float = 0.0,
        min_node_weight: float = 0.0,
        config: Any = None,
        center_bias: bool = False,
        pruning_mode: str = "none",
        quantile_sketch_epsilon: float = 0.01,
        train_in_memory: bool = False,
        *,
        max_bins: int | None = None,
        max_leaf_nodes: int | None = None,
        min_samples_leaf: int | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        random_state: int | None = None,
    ):
        self._begin()

    def _make_head(self) -> Head:
        if self._given["weight_column"] is not None:
            raise ValueError("BoostedTreesEstimator: give weight_column to the head.")
        return given_head(self)
