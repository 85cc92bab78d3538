"""Names that tf.estimator has below `experimental`."""

from lamina.estimators.canned.kmeans import KMeansClustering as KMeans
from lamina.estimators.canned.rnn import RNNClassifier, RNNEstimator
from lamina.estimators.canned.sdca import LinearSDCA
from lamina.estimators.early_stopping import (
    InMemoryEvaluatorHook,
    make_early_stopping_hook,
    stop_if_higher_hook,
    stop_if_lower_hook,
    stop_if_no_decrease_hook,
    stop_if_no_increase_hook,
)

__all__ = [
    "InMemoryEvaluatorHook",
    "KMeans",
    "LinearSDCA",
    "RNNClassifier",
    "RNNEstimator",
    "make_early_stopping_hook",
    "stop_if_higher_hook",
    "stop_if_lower_hook",
    "stop_if_no_decrease_hook",
    "stop_if_no_increase_hook",
]
