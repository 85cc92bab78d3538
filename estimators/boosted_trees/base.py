"""What boosted trees of any head have in common: `fit` in memory, `train` on batches, importances, explanations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Self

import jax
import numpy as np

from lamina.core.checks import check_choice, check_int, check_number
from lamina.datasets import Dataset
from lamina.estimators.boosted_trees.binning import Feature, bin_count, find_boundaries, pad_boundaries
from lamina.estimators.boosted_trees.boosting import Boosted, Settings, boost
from lamina.estimators.boosted_trees.features import TreeInput, check_tree_columns
from lamina.estimators.boosted_trees.growing import Plan
from lamina.estimators.boosted_trees.layers import (
    SCOPE,
    Ensemble,
    LayerTrainer,
    ensemble_logits,
    ensemble_variables,
)
from lamina.estimators.boosted_trees.losses import loss_kind
from lamina.estimators.boosted_trees.trees import (
    Trees,
    contributions,
    empty_trees,
    gain_importances,
    tree_text,
    words_for,
)
from lamina.estimators.canned.canned import CannedEstimator
from lamina.estimators.estimator import Estimator
from lamina.estimators.feature_columns import FeatureColumn, infer_columns
from lamina.estimators.heads import MultiHead
from lamina.estimators.hooks import Session, SessionRunHook, SessionRunValues
from lamina.estimators.inputs import iterate, split_element
from lamina.estimators.model import call_with
from lamina.estimators.modes import EstimatorSpec, ModeKeys, no_op
from lamina.estimators.saving import CheckpointSaverHook
from lamina.estimators.tabular_data import Table, check_labels, check_weights, not_fitted
from lamina.executor.lease import peek

MOST_CATEGORIES = 255
# The feature that `sample_weight` becomes.
_WEIGHTS = "sample_weight@fit"
_BINS_FIT, _MIN_ROWS_FIT = 255, 20
# Without max_leaf_nodes, a tree may have this many leaves at most.
_MOST_LEAVES = 4096


class _UntilGrown(SessionRunHook):
    """Ends training when all trees are grown."""

    def __init__(self, n_trees: int, batches: int):
        self._n_trees, self._batches = n_trees, batches

    def after_create_session(self, session: Session, coord: Any = None) -> None:
        """Ends it at once, if they are."""
        self._session = session
        if not self._left():
            session.request_stop()

    def _left(self) -> int:
        """The least number of steps until the end."""
        rounds = self._n_trees - int(self._session.value(f"{SCOPE}/rounds"))
        return rounds * self._batches - (int(self._session.value(f"{SCOPE}/layer/batches")) if rounds > 0 else 0)

    def next_step(self, step: int, rate: float | None) -> int | None:
        """The first step after which they may be grown."""
        return step + max(1, self._left())

    def after_run(self, run_context: Session, run_values: SessionRunValues) -> None:
        """Looks whether they are."""
        if self._left() <= 0:
            run_context.request_stop()


class BoostedTrees(CannedEstimator):
    """The base of estimators of boosted trees; see `BoostedTreesClassifier`."""

    _takes_categories = True

    # ---- arguments

    def _argument(self, name: str) -> Any:
        return "sum_over_batch_size" if name == "loss_reduction" else super()._argument(name)

    def _check_arguments(self) -> None:
        super()._check_arguments()
        owner, given = type(self).__name__, self._given
        for name, least in (("n_trees", 1), ("max_depth", 1)):
            check_int(owner, name, given[name], least)
        for name, least in (
            ("n_batches_per_layer", 1),
            ("max_bins", 2),
            ("max_leaf_nodes", 2),
            ("min_samples_leaf", 1),
        ):
            if given[name] is not None:
                check_int(owner, name, given[name], least)
        for name in ("l1_regularization", "l2_regularization", "tree_complexity", "min_node_weight"):
            check_number(owner, name, given[name], 0)
        if not check_number(owner, "learning_rate", given["learning_rate"], 0) > 0:
            raise ValueError(f"{owner}: learning_rate must be above 0, got {given['learning_rate']!r}.")
        for name in ("quantile_sketch_epsilon", "validation_fraction"):
            if name in given and not 0 < check_number(owner, name, given[name], 0) < 1:
                raise ValueError(f"{owner}: {name} must lie between 0 and 1, got {given[name]!r}.")
        if "n_iter_no_change" in given:
            check_int(owner, "n_iter_no_change", given["n_iter_no_change"], 1)
        check_choice(owner, "pruning_mode", given["pruning_mode"], ["none", "pre", "post"])
        if given["pruning_mode"] != "none" and not given["tree_complexity"] > 0:
            raise ValueError(
                f"{owner}: pruning_mode={given['pruning_mode']!r} needs tree_complexity above 0, such as 1 / rows, got "
                f"{given['tree_complexity']!r}."
            )
        if given["pruning_mode"] == "none" and given["tree_complexity"] > 0:
            raise ValueError(
                f"{owner}: tree_complexity={given['tree_complexity']!r} has no effect without pruning. Give "
                "pruning_mode='pre' or 'post' too."
            )
        if given["max_leaf_nodes"] is None and given["max_depth"] > math.log2(_MOST_LEAVES):
            raise ValueError(
                f"{owner}: max_depth={given['max_depth']} allows 2^{given['max_depth']} leaves a tree. Give "
                f"max_leaf_nodes too, such as max_leaf_nodes=255, or at most max_depth={int(math.log2(_MOST_LEAVES))}."
            )
        if given["train_in_memory"] and given["n_batches_per_layer"] not in (None, 1):
            raise ValueError(
                f"{owner}: with train_in_memory all data is one batch, so n_batches_per_layer must be 1, got "
                f"{given['n_batches_per_layer']}."
            )
        if isinstance(self._head, MultiHead):
            raise ValueError(f"{owner}: a MultiHead is not taken; train an estimator for each head.")
        self._kind = loss_kind(self.head)

    def _make_columns(self) -> list[FeatureColumn]:
        return check_tree_columns(type(self).__name__, super()._make_columns())

    def _begin(self) -> None:
        self._input: TreeInput | None = None
        self._boundaries: np.ndarray | None = None
        super()._begin()

    def _settings(self, rows_of_leaf: int, bins: int, patience: int | None = None) -> Settings:
        given = self._given
        leaves = min(1 << min(given["max_depth"], 30), given["max_leaf_nodes"] or _MOST_LEAVES)
        names = ("learning_rate", "l1_regularization", "l2_regularization", "tree_complexity", "min_node_weight")
        rate, l1, l2, complexity, weight = (float(given[n]) for n in names)
        return Settings(
            given["n_trees"],
            given["max_depth"],
            leaves,
            rate,
            l1,
            l2,
            complexity,
            weight,
            given["min_samples_leaf"] or rows_of_leaf,
            given["pruning_mode"],
            given["max_bins"] or bins,
            patience,
        )

    @property
    def _train_settings(self) -> Settings:
        return self._settings(1, math.ceil(1 / self._given["quantile_sketch_epsilon"]))

    @property
    def _batches_per_layer(self) -> int:
        batches = self._given["n_batches_per_layer"]
        if batches is None and not self._given["train_in_memory"]:
            raise ValueError(
                f"{type(self).__name__}: n_batches_per_layer is needed to train by an input_fn: how many batches a "
                "layer is grown for, about rows / batch size. Or give train_in_memory=True, or call fit(X, y)."
            )
        return batches or 1

    # ---- model_fn

    def _tree_input(self, inputs: Mapping[str, Any]) -> TreeInput:
        if self._input is None:
            self._input = TreeInput(self._columns, inputs, MOST_CATEGORIES)
        return self._input

    def _plan(self, inputs: TreeInput) -> Plan:
        settings = self._train_settings
        words = words_for(inputs.features)
        return Plan(settings.max_depth, settings.max_leaves, words, settings.pruning_mode, layered=True)

    def _variables(self, inputs: TreeInput) -> Ensemble:
        return ensemble_variables(self._given["n_trees"], self.head.logits_dimension, self._plan(inputs))

    def _logits(self, features: Mapping[str, Any], mode: str) -> Any:
        tree_input = self._tree_input(features)
        return ensemble_logits(self._variables(tree_input), tree_input.matrix(features), self._given["max_depth"])

    def _spec(self, features: Any, labels: Any, mode: str, params: Any, config: Any) -> EstimatorSpec:
        if mode != ModeKeys.TRAIN:
            return super()._spec(features, labels, mode, params, config)
        tree_input, settings = self._tree_input(features), self._train_settings
        X = tree_input.matrix(features)
        boundaries = self._boundaries
        if boundaries is None:  # a checkpoint has them
            boundaries = np.full((len(tree_input.features), self._n_bins(tree_input)), np.inf, np.float32)
        trainer = LayerTrainer(
            self._variables(tree_input),
            tree_input.features,
            tree_input.numbers,
            boundaries,
            self._kind,
            settings,
            self._plan(tree_input),
            self._batches_per_layer,
            bool(self._given["center_bias"]),
            X.shape[0] if self._given["train_in_memory"] else None,
        )
        logits = trainer.logits(X)
        loss = self.head.loss(labels, logits, features, mode)
        weights = np.ones(X.shape[0], np.float32)
        if self.head.weight_key is not None:
            weights = features[self.head.weight_key].reshape(X.shape[0], -1).mean(1)
        trainer.learn(X, self.head.shape_labels(labels, logits), logits, weights)
        hooks = [_UntilGrown(settings.n_trees, self._batches_per_layer)]
        return EstimatorSpec(mode, self.head.predictions(logits), loss, no_op(), training_hooks=hooks)

    def _nodes(self, nodes: Any) -> Any:
        inputs = super()._nodes(nodes)
        for name, x in inputs.items():  # trees split by one category a sample
            if x.dtype == np.int32 and not isinstance(x.shape[1], int) and self._is_single(name):
                inputs[name] = nodes.build.first(x, -1)
        return inputs

    def _is_single(self, input_name: str) -> bool:
        """Whether trees split the categories of an input by sets of them."""
        known = TreeInput(self._columns, None, MOST_CATEGORIES) if self._input is None else self._input
        return any(c.input_name == input_name for c in known.categories)

    def _n_bins(self, tree_input: TreeInput) -> int:
        categories = max((f.categories for f in tree_input.features), default=0)
        return bin_count(max(self._train_settings.max_bins, categories))

    # ---- train

    def train(
        self,
        input_fn: Any,
        hooks: Any = None,
        steps: int | None = None,
        max_steps: int | None = None,
        saving_listeners: Any = None,
    ) -> Self:
        """Trains on batches, layer by layer, until all trees are grown; goes on from the folder's latest checkpoint.

        The boundaries of bins are taken from the first `n_batches_per_layer` batches.

        Args:
            input_fn: see `Estimator.train`; it is called twice at the first start.
            hooks: see there.
            steps: see there; a step is a batch.
            max_steps: see there.
            saving_listeners: see there.

        Returns:
            The estimator.

        Raises:
            ValueError: as there; or n_batches_per_layer is not given.
        """
        batches = self._batches_per_layer
        known = ModeKeys.TRAIN in self._model.modes or self.latest_checkpoint() is not None
        if callable(input_fn) and not known:
            self._find_boundaries(input_fn, batches)
        if callable(input_fn) and self._given["train_in_memory"]:
            given = input_fn

            def input_fn() -> Iterator[Any]:
                return _endless(self, given)

        Estimator.train(self, input_fn, hooks, steps, max_steps, saving_listeners)
        return self

    def _find_boundaries(self, input_fn: Any, batches: int) -> None:
        parts: list[np.ndarray] = []
        tree_input = None
        for features, _, _ in self._batches("train", input_fn, ModeKeys.TRAIN):
            tree_input = tree_input or self._tree_input(features)
            parts.append(np.asarray(tree_input.matrix(features)))
            if len(parts) >= batches:
                break
        if tree_input is None:
            raise ValueError("train: input_fn yields no batches. Check that its Dataset is not empty.")
        X = np.concatenate(parts)
        found = find_boundaries(X, tree_input.features, self._train_settings.max_bins)
        self._boundaries = pad_boundaries(found, self._n_bins(tree_input))

    # ---- fit

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Boosts anew on all of the data.

        Without feature columns they are inferred: numbers as they are, text and categories by a vocabulary.

        Args:
            X: an array (rows, features), a DataFrame, a dict of columns; or a Dataset of (features, labels), batched.
            y: the labels; left out with a Dataset.
            sample_weight: a weight for each row; rows of weight 0 count as absent.

        Returns:
            The estimator.

        Raises:
            ValueError: X and y do not fit each other or the model.
        """
        if self._inferred or self._model.modes:
            self._forget()
        if isinstance(X, Dataset):
            if y is not None or sample_weight is not None:
                raise ValueError(f"{type(self).__name__}: y and sample_weight must be left out when X is a Dataset.")
            X, y = _whole(X)
        table = Table(self, X)
        labels = self._take_labels(check_labels(self, y, table.rows), True)
        weights = check_weights(self, sample_weight, table.rows)
        self._take_columns(table)
        features = dict(table.features)
        try:
            if weights is not None:
                if self._given.get("weight_column") is not None:
                    raise ValueError(f"{type(self).__name__}: give either weight_column or sample_weight, not both.")
                self.head.weight_column = _WEIGHTS
                features[_WEIGHTS] = weights
            self._boost(*self._host("fit", features, labels))
        finally:
            self.head.weight_column = self._given.get("weight_column")
        return self

    @property
    def partial_fit(self) -> Any:
        """There is none: trees are grown for all of the data. `train` goes on from a checkpoint."""
        raise AttributeError(f"{type(self).__name__} has no partial_fit; train(input_fn) goes on from a checkpoint.")

    def _take_columns(self, table: Table) -> None:
        if table.width is not None:
            self.n_features_in_ = table.width
        if table.names is not None:
            self.feature_names_in_ = table.names
        if self._needs_columns():
            self._inferred["columns_known"] = True
            self._infer(infer_columns(table.features, standardize=False))
            self._check_arguments()

    def _boost(self, inputs: dict[str, Any], labels: Any) -> None:
        key = self.head.weight_key
        weights = None if key is None else np.asarray(inputs[key]).reshape(len(labels), -1).mean(1)
        tree_input = self._tree_input(inputs)
        X = np.asarray(tree_input.matrix(inputs))
        given = self._given
        held_out = patience = None
        if given["early_stopping"]:
            patience = given["n_iter_no_change"]
            held_out = self._hold_out(len(X))
        encoded = np.asarray(labels).reshape(len(X), -1)
        encoded = encoded.astype(np.int32 if self._kind == "multiclass" else np.float32)
        centered = given["center_bias"] is not False
        settings = self._settings(_MIN_ROWS_FIT, _BINS_FIT, patience)
        outputs = self.head.logits_dimension
        features, numbers = tree_input.features, tree_input.numbers
        found = boost(X, features, numbers, encoded, weights, self._kind, outputs, settings, centered, held_out)
        self._keep(found, {k: v[:1] for k, v in inputs.items()})
        self.history_ = {"loss": found.losses}
        if found.held_out is not None:
            self.history_["val_loss"] = found.held_out
        self.n_iter_ = len(found.losses)

    def _hold_out(self, rows: int) -> np.ndarray:
        """Which rows are held out, as ones."""
        count = math.ceil(self._given["validation_fraction"] * rows)
        if count >= rows:
            raise ValueError(
                f"{type(self).__name__}: early_stopping holds out {count} of {rows} samples, which leaves none. Give "
                "more data, or a smaller validation_fraction."
            )
        state = self._given["random_state"]
        if state is not None and not isinstance(state, (int, np.integer)):
            state = int(state.randint(2**31 - 1))
        held = np.zeros(rows, np.float32)
        held[np.random.default_rng(state).permutation(rows)[:count]] = 1
        return held

    def _keep(self, found: Boosted, batch: dict[str, Any]) -> None:
        """Puts trees into the variables, and those into a checkpoint if there is a folder."""
        self._learn(ModeKeys.PREDICT, (batch, None))
        store, rounds = self._model.store, len(found.losses)
        for name, value in zip(Trees._fields, found.trees, strict=True):
            variable = store.weights[f"{SCOPE}/{name}"]
            whole = np.array(
                getattr(empty_trees(variable.shape[:3], variable.shape[-1] if name == "categories" else 0), name)
            )
            whole[:rounds, :, : value.shape[2]] = value
            variable.assign(whole)
        store.weights[f"{SCOPE}/base"].assign(found.base)
        store.weights[f"{SCOPE}/rounds"].assign(np.int32(rounds))
        store.step = self._model._steps_done = rounds
        if self._config.model_dir is not None:
            session = Session(self)
            session.step, session.loss = rounds, found.losses[-1]
            hook = CheckpointSaverHook(self.model_dir, save_secs=600, keep=self._config.keep_checkpoint_max)
            hook.save(session)
            hook.manager.close()

    # ---- what was learnt

    def _ensemble(self, checkpoint_path: str | None = None) -> tuple[Trees, np.ndarray, int]:
        """The trees, the base and the number of rounds."""
        prefix = f"{SCOPE}/"
        if not self._is_trained() and checkpoint_path is None:
            raise not_fitted(self)
        if f"{prefix}rounds" in self._model.store.weights:
            self._load(checkpoint_path)
            weights = self._model.store.weights
            read = {n: np.asarray(peek(weights[prefix + n])) for n in (*Trees._fields, "base", "rounds")}
        else:
            read = {n: self.get_variable_value(prefix + n) for n in (*Trees._fields, "base", "rounds")}
        trees = Trees(*(read[n] for n in Trees._fields))
        grown = np.flatnonzero((trees.feature >= 0).any((1, 2)) | (trees.value != 0).any((1, 2)))
        return trees, read["base"], max(int(read["rounds"]), int(grown[-1]) + 1 if len(grown) else 0)

    @property
    def trees_(self) -> Trees:
        """The trees as arrays, (rounds, outputs, nodes); see `Trees`."""
        trees, _, rounds = self._ensemble()
        return Trees(*(a[:rounds] for a in trees))

    def to_text(self, number: int = 0, output: int = 0) -> str:
        """One tree as text.

        Args:
            number: of the round.
            output: of the output: the class, for more than two classes.

        Raises:
            ValueError: there is no such tree.

        Example:
            >>> from lamina.estimators import BoostedTreesRegressor
            >>> model = BoostedTreesRegressor(n_trees=1, max_depth=1, learning_rate=1.0)
            >>> X = np.arange(40.0)[:, None]
            >>> print(model.fit(X, np.where(X[:, 0] < 20, 1.0, 3.0)).to_text())
            x <= 19.5 or missing
            |   value -1
            else
            |   value 1
        """
        trees = self.trees_
        rounds, outputs = trees.feature.shape[:2]
        if not (0 <= number < rounds and 0 <= output < outputs):
            raise ValueError(
                f"{type(self).__name__}.to_text: there are {rounds} rounds of {outputs} trees, got number={number}, "
                f"output={output}."
            )
        return tree_text(Trees(*(a[number, output] for a in trees)), self._known_input().features)

    def _known_input(self) -> TreeInput:
        # Without an input, only a checkpoint was read so far.
        return self._input or TreeInput(self._columns, None, MOST_CATEGORIES)

    def experimental_feature_importances(self, normalize: bool = False) -> dict[str, float]:
        """How much the splits by each column gained, less `tree_complexity` if trees are pruned, in falling order.

        Args:
            normalize: whether they add up to 1.

        Returns:
            The sums of gains, of all trees, by name of the column.

        Raises:
            ValueError: nothing is trained yet, or `normalize` and no tree has a split.
        """
        found: dict[str, float] = {}
        for feature, gain in zip(self._features(), self._gains(), strict=True):
            name = feature.column or feature.name
            found[name] = found.get(name, 0.0) + float(gain)
        gains = np.array(list(found.values()))
        if normalize:
            if not gains.sum() > 0:
                raise ValueError(
                    f"{type(self).__name__}: importances cannot be normalised, since no tree has a split. Train with "
                    "more data, or a smaller min_samples_leaf."
                )
            gains = gains / gains.sum()
        order = np.argsort(-gains, kind="stable")
        names = list(found)
        return {names[i]: float(gains[i]) for i in order}

    def _features(self) -> list[Feature]:
        return self._known_input().features if self._is_trained() else []

    def _gains(self) -> np.ndarray:
        complexity = self._given["tree_complexity"] if self._given["pruning_mode"] != "none" else 0.0
        return gain_importances(self.trees_, len(self._features()), complexity)

    @property
    def feature_importances_(self) -> np.ndarray:
        """The share of each feature in the gains, in the order of the columns that `fit` was given."""
        names = getattr(self, "feature_names_in_", None)
        if names is None:
            gains = self._gains()
        else:
            found = self.experimental_feature_importances()
            gains = np.array([found.get(str(n), 0.0) for n in names])
        return gains / max(gains.sum(), 1e-300)

    def experimental_predict_with_explanations(
        self, input_fn: Any, predict_keys: Any = None, hooks: Any = None, checkpoint_path: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yields predictions with how far each feature moved them (directional feature contributions).

        The bias and the contributions add up to the prediction: the number, or the probability of the second class.

        Args:
            input_fn: see `Estimator.predict`; or data, as for `fit`.
            predict_keys: the keys of predictions to yield beside `bias` and `dfc`; all by default.
            hooks: see there.
            checkpoint_path: see there.

        Yields:
            The predictions of a sample with `bias`, and with `dfc`: contributions by name, the largest first.

        Raises:
            ValueError: there is more than one output, or nothing is trained yet.
        """
        if self.head.logits_dimension != 1:
            raise ValueError(
                f"{type(self).__name__}: explanations are for one output (a number or two classes), got "
                f"{self.head.logits_dimension} outputs."
            )
        given = input_fn if callable(input_fn) else lambda: Table(self, input_fn).features
        trees, base, rounds = self._ensemble(checkpoint_path)
        link = {"binary": jax.nn.sigmoid}.get(self._kind if isinstance(self._kind, str) else "")
        link = link or getattr(self.head, "inverse_link_fn", None) or _identity
        explain = jax.jit(contributions, static_argnums=(3, 5))
        depth = self._given["max_depth"]
        predicted = Estimator.predict(self, given, predict_keys, hooks, checkpoint_path)
        for features, _, _ in self._batches("predict", given, ModeKeys.PREDICT):
            tree_input = self._tree_input(features)
            bias, moved = explain(trees, base, tree_input.matrix(features), depth, rounds, link)
            names = [f.column or f.name for f in tree_input.features]
            for own_bias, row in zip(np.asarray(bias), np.asarray(moved), strict=True):
                sums = dict.fromkeys(names, 0.0)
                for name, value in zip(names, row, strict=True):
                    sums[name] += float(value)
                dfc = dict(sorted(sums.items(), key=lambda item: -abs(item[1])))
                yield {**next(predicted), "bias": float(own_bias), "dfc": dfc}


def _whole(data: Dataset) -> tuple[Any, Any]:
    """All features, by name, and labels of a Dataset of batches."""
    parts = [split_element(element, "fit") for element in data]
    if not parts or parts[0][1] is None:
        raise ValueError("fit: the Dataset must yield (features, labels), batched.")
    named = [(x if isinstance(x, Mapping) else {"x": x}) for x, _ in parts]
    features = {k: np.concatenate([np.asarray(x[k]) for x in named]) for k in named[0]}
    return features, np.concatenate([np.asarray(y) for _, y in parts])


def _identity(x: Any) -> Any:
    return x


def _endless(owner: BoostedTrees, input_fn: Any) -> Iterator[Any]:
    """The one batch of an input function, again and again."""
    offered = {"mode": ModeKeys.TRAIN, "params": owner.params, "config": owner.config}
    batches = iterate("train", call_with(input_fn, offered))
    first = next(batches, None)
    if first is None:
        raise ValueError("train: input_fn yields no batches. Check that its Dataset is not empty.")
    second = next(batches, None)
    if second is not None:
        leaves, others = jax.tree.leaves(first), jax.tree.leaves(second)
        if not all(np.array_equal(a, b) for a, b in zip(leaves, others, strict=True)):
            raise ValueError(
                f"{type(owner).__name__}: with train_in_memory, input_fn must return all of the data as one batch, got "
                f"several batches; the first has {len(leaves[0])} rows. Batch by the number of rows."
            )
    while True:
        yield first
