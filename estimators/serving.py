"""The graphs of an exported model: from what callers feed, by the host's nodes and the compiled step, to signatures."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from lamina.datasets.examples import FixedLenFeature, features_spec
from lamina.datasets.spec import STRING, TensorSpec
from lamina.estimators.export_outputs import DEFAULT, Names, PredictOutput, Wide
from lamina.estimators.feature_columns.nodes import FeatureNodes
from lamina.estimators.modes import ModeKeys
from lamina.estimators.variables import ModelFrame
from lamina.export.tensorflow.emitter import Emitter, new_file
from lamina.export.tensorflow.host_nodes import HostNodes, Node, RecordFeature
from lamina.export.tensorflow.served import Served, Signature, named_output
from lamina.graph.dims import BATCH
from lamina.graph.trace import trace

logger = logging.getLogger("lamina.estimators")


def serve(estimator: Any, receiver: Any, checkpoint_path: str | None = None) -> dict[str, Served]:
    """The graphs of an estimator's predictions, one for each way in which a receiver can be fed.

    Args:
        estimator: the estimator.
        receiver: what callers feed.
        checkpoint_path: the checkpoint; by default the latest.

    Raises:
        ValueError: nothing is trained, or a feature does not fit a column.
    """
    ways = {"": _Way(receiver.receiver_tensors, receiver.features, getattr(receiver, "feature_spec", None))}
    for name, fed in (receiver.receiver_tensors_alternatives or {}).items():
        ways[f"{name}:"] = _Way(fed, fed, None)
    loaded = False
    graphs: dict[str, Served] = {}
    for prefix, way in ways.items():
        inputs = estimator._nodes(way.features(HostNodes(Emitter(new_file())))[1])
        estimator._learn(ModeKeys.PREDICT, (jax.tree.map(_sample, inputs, is_leaf=_is_node), None))
        if not loaded and not estimator._load(checkpoint_path) and not estimator._trained_in_memory():
            raise ValueError("export_saved_model: there is no checkpoint to export. Train the estimator first.")
        loaded = True
        graphs[f"{prefix.replace(':', '_')}serving"] = _ServedEstimator(prefix, estimator, way, inputs)
    return graphs


def _is_node(x: Any) -> bool:
    return isinstance(x, Node)


def _sample(x: Node) -> np.ndarray:
    """A small array of the shape of a node."""
    return np.zeros([d if isinstance(d, int) else 2 if d == BATCH else 1 for d in x.shape], x.dtype)


class _Way:
    """A way in which a model is fed.

    Args:
        fed: the specs of what callers feed, by key or one alone.
        features: the specs of the features.
        feature_spec: how they are read from records, if those are fed.
    """

    def __init__(self, fed: Any, features: Any, feature_spec: Any):
        self.fed = fed if isinstance(fed, Mapping) else {"input": fed}
        self._by_name, self._spec = isinstance(features, Mapping), feature_spec

    def features(self, nodes: HostNodes) -> tuple[dict[str, Node], FeatureNodes]:
        """What callers feed, and the features that come of it."""
        fed = {
            key: nodes.placeholder(key, spec.dtype, _open(spec.shape or (None,), f"fed_{i}"))
            for i, (key, spec) in enumerate(sorted(self.fed.items()))
        }
        given: Any = fed
        if self._spec is not None:
            (records,) = fed.values()
            given = nodes.parse_example(records, _record_features(self._spec))
        elif not self._by_name:
            (given,) = fed.values()
        return fed, FeatureNodes(nodes, given)


def _open(shape: tuple[int | None, ...], name: str) -> tuple[int | str, ...]:
    """A shape with a name for each size that is not known."""
    return tuple(d if d is not None else BATCH if i == 0 else f"{name}_{i}" for i, d in enumerate(shape))


def _record_features(feature_spec: Mapping[str, Any]) -> dict[str, RecordFeature]:
    found = {}
    for i, (key, feature) in enumerate(sorted(feature_spec.items())):
        spec: TensorSpec = features_spec({key: feature}, None)[key]
        default = feature.default_value
        if not isinstance(feature, FixedLenFeature):
            default = np.asarray(_filler(spec.dtype) if default is None else default, spec.dtype).reshape(())
        elif default is not None:
            sizes = [int(d or 0) for d in (spec.shape or ())[1:]]  # all are known
            default = np.broadcast_to(np.asarray(default, spec.dtype), sizes)
        if default is not None and spec.dtype == STRING:
            texts = [v.encode() if isinstance(v, str) else v for v in default.reshape(-1).tolist()]
            default = np.array(texts, object).reshape(default.shape)
        found[key] = RecordFeature(spec.dtype, _open(tuple(spec.shape or ()), f"values_{i}")[1:], default)
    return found


def _filler(dtype: np.dtype) -> Any:
    return b"" if dtype == STRING else 0


class _ServedEstimator(Served):
    """The graph of an estimator's predictions, with the host's part around it."""

    def __init__(self, prefix: str, estimator: Any, way: _Way, inputs: Any):
        self._prefix, self._estimator, self._way = prefix, estimator, way
        self._outputs: dict[str, Any] = {}  # by signature: with an index into the graph's outputs for each array
        super().__init__("predict", self._trace(inputs))

    def _trace(self, inputs: Any) -> Any:
        model = self._estimator._model
        weights = list(model.store.weights.values())
        specs, tree = jax.tree.flatten(inputs, is_leaf=_is_node)

        def predict(*arrays: Any) -> Any:
            values = [v.value for v in weights]  # through the frame of the trace, which makes them named constants
            with ModelFrame(model.store, weights, values, None, local={}):
                spec = model.run_model_fn(jax.tree.unflatten(tree, arrays), None, ModeKeys.PREDICT)
            self._outputs = spec.export_outputs or {DEFAULT: PredictOutput(_by_key(spec.predictions))}
            places: dict[int, Any] = {}
            for output in self._outputs.values():
                for value in output.outputs.values():
                    places.setdefault(id(_numbers(value)), _numbers(value))
            self._places = {key: i for i, key in enumerate(places)}
            self._kept = list(places.values())  # so that no other array gets one of their ids
            return list(places.values())

        return trace(predict, *specs, name="predict")

    def feed(self, nodes: HostNodes) -> list[Node]:
        """What callers feed, and the host's part for the features."""
        self._fed, features = self._way.features(nodes)
        return jax.tree.leaves(self._estimator._nodes(features), is_leaf=_is_node)

    def finish(self, nodes: HostNodes, outputs: list[Node]) -> dict[str, Signature]:
        """The signatures, with text where names stand for numbers."""
        made: dict[tuple[Any, ...], Node] = {}

        def node(key: str, value: Any) -> Node:
            place = self._places[id(_numbers(value))]
            known = (place, type(value) if isinstance(value, (Names, Wide)) else None)
            if known not in made:
                x = outputs[place]
                if isinstance(value, Names):
                    x = nodes.names(x, list(value.names))
                elif isinstance(value, Wide):
                    x = nodes.cast(x, np.int64)
                made[known] = named_output(nodes, key, x)
            return made[known]

        found: dict[str, Signature] = {}
        records = next(iter(self._fed.values())) if len(self._fed) == 1 else None
        for name, output in self._outputs.items():
            inputs = self._fed
            if output.method != PredictOutput.method:
                if records is None or not records.is_text:
                    logger.info("Signature %r is left out: it takes records, one text each.", name)
                    continue
                inputs = {"inputs": records}
            results = {key: node(key, value) for key, value in output.outputs.items()}
            found[f"{self._prefix}{name}"] = Signature(inputs, results, output.method)
        default = f"{self._prefix}{DEFAULT}"
        if default not in found and f"{self._prefix}predict" in found:
            found[default] = found[f"{self._prefix}predict"]
        return found


def _by_key(predictions: Any) -> Any:
    return predictions if isinstance(predictions, Mapping) else {"output": predictions}


def _numbers(value: Any) -> Any:
    return value[0] if isinstance(value, (Names, Wide)) else value
