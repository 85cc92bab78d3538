"""Helpers around models and data."""

from lamina.backend import clear_session
from lamina.datasets import (
    audio_dataset_from_directory,
    image_dataset_from_directory,
    text_dataset_from_directory,
    timeseries_dataset_from_array,
)
from lamina.models.plot import model_to_dot, plot_model
from lamina.saving import (
    CustomObjectScope,
    custom_object_scope,
    deserialize_keras_object,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
    serialize_keras_object,
)
from lamina.state.rng import set_random_seed
from lamina.training.data import pack_x_y_sample_weight, unpack_x_y_sample_weight
from lamina.training.py_dataset import PyDataset
from lamina.utils.arrays import normalize, to_categorical
from lamina.utils.graph import get_source_inputs
from lamina.utils.progbar import Progbar
from lamina.utils.sequences import pad_sequences
from lamina.utils.splitting import split_dataset

Sequence = PyDataset

__all__ = [
    "CustomObjectScope",
    "Progbar",
    "PyDataset",
    "Sequence",
    "audio_dataset_from_directory",
    "clear_session",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "get_source_inputs",
    "image_dataset_from_directory",
    "model_to_dot",
    "normalize",
    "pack_x_y_sample_weight",
    "pad_sequences",
    "plot_model",
    "register_keras_serializable",
    "serialize_keras_object",
    "set_random_seed",
    "split_dataset",
    "text_dataset_from_directory",
    "timeseries_dataset_from_array",
    "to_categorical",
    "unpack_x_y_sample_weight",
]
