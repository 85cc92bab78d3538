"""The embeddings of a model as files for TensorBoard's projector."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from google.protobuf import text_format

from lamina.checkpoint.files import replacing
from lamina.core.errors import did_you_mean, listing
from lamina.layers.embedding import Embedding
from lamina.layers.tracking import walk
from lamina.wire.event import EmbeddingInfo, ProjectorConfig


class Projector:
    """Writes the weights of Embedding layers as tables of text, which the projector reads without TensorFlow.

    Args:
        folder: where `projector_config.pbtxt` goes; the tables go to its folder `train`, one for each layer.
        model: the model.
        metadata: the file of labels for all layers, or files by layer name.

    Raises:
        ValueError: `metadata` names a layer that is no Embedding of the model.
    """

    def __init__(self, folder: str, model: Any, metadata: str | dict[str, str] | None = None):
        self.folder = folder
        layers = {layer.name: layer for layer in walk(model) if isinstance(layer, Embedding)}
        unknown = [name for name in metadata if name not in layers] if isinstance(metadata, dict) else []
        if unknown:
            raise ValueError(
                f"TensorBoard: embeddings_metadata names {listing(unknown, 'and')}, but the Embedding layers of the "
                f"model are {listing(list(layers), 'and') or 'none'}.{did_you_mean(unknown[0], layers)}"
            )
        config = ProjectorConfig()
        self._tables = []
        for name, layer in layers.items():
            table = f"train/{name.replace('/', '_')}.embeddings.tsv"
            labels = metadata.get(name) if isinstance(metadata, dict) else metadata
            shape = [layer.input_dim, layer.output_dim]
            config.embeddings.append(
                EmbeddingInfo(tensor_name=name, tensor_path=table, tensor_shape=shape, metadata_path=labels or "")
            )
            self._tables.append((os.path.join(folder, table), layer))
        os.makedirs(os.path.join(folder, "train"), exist_ok=True)
        with replacing(os.path.join(folder, "projector_config.pbtxt")) as file:
            file.write(text_format.MessageToString(config, as_utf8=True).encode())

    def write(self) -> None:
        """Writes the weights as they are now; the projector shows the latest."""
        for path, layer in self._tables:
            with replacing(path) as file:
                np.savetxt(file, np.asarray(layer.embeddings.stored).astype(np.float32), "%.7g", "\t")
