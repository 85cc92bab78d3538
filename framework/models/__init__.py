"""Models: layers that train, made in sequence, as a graph, or by subclassing."""

from lamina.models.clone import clone_model
from lamina.models.model import Functional, Model
from lamina.models.saving.loading import load_model
from lamina.models.saving.writing import save_model
from lamina.models.sequential import Sequential
from lamina.models.serialization import model_from_config, model_from_json

__all__ = [
    "Functional",
    "Model",
    "Sequential",
    "clone_model",
    "load_model",
    "model_from_config",
    "model_from_json",
    "save_model",
]
