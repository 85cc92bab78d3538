"""Heads: from logits to losses, metrics and predictions."""

from lamina.estimators.heads.binary import BinaryClassHead
from lamina.estimators.heads.head import Head
from lamina.estimators.heads.multi_class import MultiClassHead
from lamina.estimators.heads.multi_head import MultiHead
from lamina.estimators.heads.multi_label import MultiLabelHead
from lamina.estimators.heads.regression import LogisticRegressionHead, PoissonRegressionHead, RegressionHead
from lamina.estimators.heads.sequence import SequenceHead

__all__ = [
    "BinaryClassHead",
    "Head",
    "LogisticRegressionHead",
    "MultiClassHead",
    "MultiHead",
    "MultiLabelHead",
    "PoissonRegressionHead",
    "RegressionHead",
    "SequenceHead",
]
