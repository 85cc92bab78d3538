"""Recurrent networks over sequence columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina import layers
from lamina.core.checks import check_choice
from lamina.core.errors import describe
from lamina.estimators.canned.canned import CannedEstimator, check_column_list, class_head, given_head
from lamina.estimators.canned.dnn import check_hidden, dense
from lamina.estimators.feature_columns import (
    FeatureColumn,
    concatenate_context_input,
    input_layer,
    sequence_input_layer,
)
from lamina.estimators.feature_columns.column import label
from lamina.estimators.heads import Head, SequenceHead
from lamina.estimators.modes import Minimize
from lamina.estimators.optimizers import get_optimizer
from lamina.estimators.tabular import Classifier
from lamina.estimators.variables import variable_scope

_LEARNING_RATE = 0.05
_CLIP_NORM = 5.0
_CELLS: dict[str, Any] = {
    "simple_rnn": layers.SimpleRNNCell,
    "lstm": layers.LSTMCell,
    "gru": layers.GRUCell,
}


def rnn_logits(
    features: Mapping[str, Any],
    sequence_columns: Sequence[Any],
    context_columns: Sequence[Any],
    cells: Sequence[Any],
    units: int,
    return_sequences: bool = False,
) -> tuple[Any, Any]:
    """Cells over the steps of sequences: logits of the last state, (batch, units), or of each; and which steps are."""
    x, lengths = sequence_input_layer(features, sequence_columns, scope="sequence_features")
    if context_columns:
        context = input_layer(features, context_columns, scope="dense_features")
        x = concatenate_context_input(context, x)
    mask = jnp.arange(x.shape[1])[None, :] < lengths[:, None]
    with variable_scope("rnn_model"):
        with variable_scope("rnn" if len(cells) == 1 else "rnn/stacked_rnn_cells"):
            cell = cells[0] if len(cells) == 1 else layers.StackedRNNCells(list(cells))
            found = layers.RNN(cell, return_sequences=return_sequences)(x, mask=mask)
        return dense(found, units, "logits"), mask


class _RNN(CannedEstimator):
    def _check_arguments(self) -> None:
        super()._check_arguments()
        owner, kind, cell_fn = type(self).__name__, self._argument("cell_type"), self._argument("rnn_cell_fn")
        units = self._argument("units")
        if cell_fn is not None:
            if units is not None or kind is not None:
                raise ValueError(f"{owner}: rnn_cell_fn goes without units and cell_type; it makes the cells itself.")
            if not callable(cell_fn):
                raise TypeError(f"{owner}: rnn_cell_fn must be a function of the mode, got {describe(cell_fn)}.")
            self._units: tuple[int, ...] = ()
        else:
            if units is None:
                raise ValueError(f"{owner}: units is needed: the sizes of the recurrent layers, such as [32].")
            self._units = check_hidden(owner, "units", units)
        if kind is not None and not isinstance(kind, type):
            check_choice(owner, "cell_type", kind, _CELLS)
        optimizer = self._argument("optimizer")
        self._optimizer = get_optimizer(owner, optimizer, _LEARNING_RATE)
        if isinstance(optimizer, str):
            self._optimizer.clipnorm = _CLIP_NORM

    def _make_columns(self) -> list[FeatureColumn]:
        owner = type(self).__name__
        self._sequence = check_column_list(
            owner, "sequence_feature_columns", self._argument("sequence_feature_columns")
        )
        context = self._argument("context_feature_columns") or None
        self._context = check_column_list(owner, "context_feature_columns", context)
        if not self._sequence:
            raise ValueError(f"{owner}: sequence_feature_columns must hold at least one column.")
        return [*self._sequence, *self._context]

    def _nodes(self, nodes: Any) -> Any:
        for key, x in nodes.features.items():
            if any(not isinstance(d, int) for d in x.shape[1:]):
                columns = [c for c in self._sequence if key in c.parse_example_spec]
                if columns:
                    raise ValueError(
                        f"export_saved_model: {label(columns[0])}: an exported recurrent network has a fixed number of "
                        f"steps, but feature {key!r} has shape {x.shape}. Feed arrays of as many steps as a sequence "
                        "may have, padded with '', -1 or NaN: build_raw_serving_input_receiver_fn."
                    )
        return super()._nodes(nodes)

    def _cells(self, mode: str) -> list[Any]:
        function: Callable[..., Any] | None = self._argument("rnn_cell_fn")
        if function is not None:
            made = function(mode)
            return list(made) if isinstance(made, (list, tuple)) else [made]
        kind = self._argument("cell_type") or "simple_rnn"
        make = kind if isinstance(kind, type) else _CELLS[kind]
        return [make(size) for size in self._units]

    def _logits(self, features: Mapping[str, Any], mode: str) -> Any:
        by_step = isinstance(self.head, SequenceHead)
        logits, mask = rnn_logits(
            features, self._sequence, self._context, self._cells(mode), self.head.logits_dimension, by_step
        )
        if by_step:
            features.setdefault(self.head.sequence_mask, mask)  # type: ignore[attr-defined]
        return logits

    def _host(self, method: str, features: Any, labels: Any) -> tuple[Any, Any]:
        inputs, labels = super()._host(method, features, labels)
        key = getattr(self.head, "sequence_mask", None)
        if key is not None and key in features:
            inputs[key] = np.asarray(features[key], bool)
        return inputs, labels

    def _train_op(self, loss: Any) -> list[Minimize]:
        return [Minimize(self._optimizer, loss)]


class RNNClassifier(Classifier, _RNN):
    """Classes of sequences by a recurrent network.

    Args:
        sequence_feature_columns: columns of sequences.
        context_feature_columns: dense columns of what is the same at all steps.
        units: the sizes of the recurrent layers.
        cell_type: "simple_rnn" (the default), "lstm", "gru", or a class of cells.
        rnn_cell_fn: a function of the mode that returns a cell, or several; in the place of units and cell_type.
        return_sequences: whether each step has a class, rather than the sequence; labels are then (batch, steps).
        model_dir: see `Estimator`.
        n_classes: the number of classes: 2 if None, or as many as `fit` finds.
        weight_column: the feature that weighs samples.
        label_vocabulary: the names of the classes, if labels are text.
        optimizer: "Adagrad" and so on, with the learning rate 0.05 and gradients cut to the norm 5; an optimizer; or a
            function that returns one.
        loss_reduction: "sum_over_batch_size" or "sum".
        sequence_mask: with `return_sequences`: the name of the mask of steps among predictions; a feature of that name
            takes the place of the mask by the lengths of sequences.
        config: see `Estimator`.
    """

    def __init__(
        self,
        sequence_feature_columns: Any,
        context_feature_columns: Any = None,
        units: Sequence[int] | None = None,
        cell_type: Any = None,
        rnn_cell_fn: Callable[[str], Any] | None = None,
        return_sequences: bool = False,
        model_dir: Any = None,
        n_classes: int | None = None,
        weight_column: Any = None,
        label_vocabulary: Sequence[str] | None = None,
        optimizer: Any = "Adagrad",
        loss_reduction: str = "sum_over_batch_size",
        sequence_mask: str = "sequence_mask",
        config: Any = None,
    ):
        self._begin()

    def _make_head(self) -> Head:
        head = class_head(self)
        return SequenceHead(head, self._given["sequence_mask"]) if self._given["return_sequences"] else head

    def _take_labels(self, y: np.ndarray, first: bool) -> np.ndarray:
        return y if self._given["return_sequences"] else super()._take_labels(y, first)


class RNNEstimator(_RNN):
    """A recurrent network over sequences with a head of your choice.

    Args:
        head: the head.
        sequence_feature_columns: columns of sequences.
        context_feature_columns: dense columns of what is the same at all steps.
        units: the sizes of the recurrent layers.
        cell_type: "simple_rnn" (the default), "lstm", "gru", or a class of cells.
        rnn_cell_fn: a function of the mode that returns a cell, or several; in the place of units and cell_type.
        return_sequences: whether each step has an output, which a `SequenceHead` takes, rather than the sequence.
        model_dir: see `Estimator`.
        optimizer: see `RNNClassifier`.
        config: see `Estimator`.
    """

    def __init__(
        self,
        head: Head,
        sequence_feature_columns: Any,
        context_feature_columns: Any = None,
        units: Sequence[int] | None = None,
        cell_type: Any = None,
        rnn_cell_fn: Callable[[str], Any] | None = None,
        return_sequences: bool = False,
        model_dir: Any = None,
        optimizer: Any = "Adagrad",
        config: Any = None,
    ):
        self._begin()

    def _make_head(self) -> Head:
        head = given_head(self)
        if bool(self._given["return_sequences"]) != isinstance(head, SequenceHead):
            raise ValueError(
                "RNNEstimator: return_sequences=True and a SequenceHead go together, got return_sequences="
                f"{self._given['return_sequences']!r} and {head!r}."
            )
        return head
