"""Event files for TensorBoard, written without TensorFlow: scalars, histograms, images, texts and graphs."""

from lamina.summary.graph import conceptual_graph, model_graph
from lamina.summary.writer import SummaryWriter

__all__ = ["SummaryWriter", "conceptual_graph", "model_graph"]
