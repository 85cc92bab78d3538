"""Estimators with the API of tf.estimator, on lamina's models, Datasets and checkpoints; they fit like scikit-learn's.

Names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import Any

_NAMES = {
    "LinearSDCA": "canned.sdca",
    "add_metrics": "derived",
    "model_to_estimator": "derived",
    "plot_learning_curve": "plots",
    "plot_confusion_matrix": "plots",
    "plot_calibration": "plots",
    "confusion_matrix": "plots",
    "calibration": "plots",
    "KMeans": "experimental",
    "InMemoryEvaluatorHook": "early_stopping",
    "make_early_stopping_hook": "early_stopping",
    "stop_if_higher_hook": "early_stopping",
    "stop_if_lower_hook": "early_stopping",
    "stop_if_no_decrease_hook": "early_stopping",
    "stop_if_no_increase_hook": "early_stopping",
    "read_eval_metrics": "early_stopping",
    "TrainSpec": "training",
    "EvalSpec": "training",
    "train_and_evaluate": "training",
    "Exporter": "exporters",
    "FinalExporter": "exporters",
    "LatestExporter": "exporters",
    "BestExporter": "exporters",
    "Estimator": "estimator",
    "RunConfig": "run_config",
    "WarmStartSettings": "warm_start",
    "VocabInfo": "warm_start",
    "CheckpointSaverHook": "saving",
    "CheckpointSaverListener": "saving",
    "numpy_input_fn": "inputs",
    "pandas_input_fn": "inputs",
    "SessionRunHook": "hooks",
    "SessionRunArgs": "hooks",
    "SessionRunValues": "hooks",
    "SessionRunContext": "hooks",
    "SecondOrStepTimer": "hooks",
    "StopAtStepHook": "hooks",
    "LoggingTensorHook": "reporting",
    "NanTensorHook": "hooks",
    "NanLossDuringTrainingError": "hooks",
    "StepCounterHook": "reporting",
    "SummarySaverHook": "reporting",
    "FinalOpsHook": "reporting",
    "ProfilerHook": "reporting",
    "LinearClassifier": "canned.linear",
    "LinearRegressor": "canned.linear",
    "LinearEstimator": "canned.linear",
    "DNNClassifier": "canned.dnn",
    "DNNRegressor": "canned.dnn",
    "DNNEstimator": "canned.dnn",
    "DNNLinearCombinedClassifier": "canned.combined",
    "DNNLinearCombinedRegressor": "canned.combined",
    "DNNLinearCombinedEstimator": "canned.combined",
    "BaselineClassifier": "canned.baseline",
    "BaselineRegressor": "canned.baseline",
    "BaselineEstimator": "canned.baseline",
    "BoostedTreesClassifier": "boosted_trees.estimator",
    "BoostedTreesRegressor": "boosted_trees.estimator",
    "BoostedTreesEstimator": "boosted_trees.estimator",
    "plot_importance": "boosted_trees.plotting",
    "BinaryClassHead": "heads",
    "Head": "heads",
    "LogisticRegressionHead": "heads",
    "MultiClassHead": "heads",
    "MultiHead": "heads",
    "MultiLabelHead": "heads",
    "PoissonRegressionHead": "heads",
    "RegressionHead": "heads",
    "SequenceHead": "heads",
    "EstimatorSpec": "modes",
    "ModeKeys": "modes",
    "group": "modes",
    "no_op": "modes",
    "get_global_step": "variables",
    "get_variable": "variables",
    "trainable_variables": "variables",
    "variable_scope": "variables",
    "lookup": "rows",
    "classifier_parse_example_spec": "feature_columns",
    "regressor_parse_example_spec": "feature_columns",
}
_MODULES = {
    "export": "export",
    "experimental": "experimental",
    "feature_column": "feature_columns",
    "metrics": "metrics",
    "optimizers": "optimizers",
}

__all__ = [*_NAMES, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(importlib.import_module(f"lamina.estimators.{_NAMES[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"lamina.estimators.{_MODULES[name]}")
    else:
        raise AttributeError(f"module 'lamina.estimators' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
