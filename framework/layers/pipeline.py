"""Pipeline and MaxNumBoundingBoxes: helpers around the image layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from lamina.core.checks import check_int
from lamina.core.config import serialize_object
from lamina.core.errors import describe, owner_label
from lamina.layers.bounding_boxes import resize_count
from lamina.layers.image_layer import ImageLayer
from lamina.layers.layer import Layer


class Pipeline(Layer):
    """Layers one after the other, for preparing data.

    Args:
        layers: the layers.
        name: the name.

    Example:
        >>> import numpy as np
        >>> from lamina.layers.image_size import CenterCrop
        >>> from lamina.layers.scaling import Rescaling
        >>> Pipeline([CenterCrop(2, 2), Rescaling(1 / 255)])(np.ones((1, 4, 4, 3), "float32")).shape
        (1, 2, 2, 3)
    """

    def __init__(self, layers: Sequence[Layer], name: str | None = None):
        super().__init__(name=name)
        for layer in layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"{owner_label(self)}: layers must be layers, got {describe(layer)}.")
        self._steps = list(layers)

    @property
    def layers(self) -> list[Layer]:
        """The layers, in order."""
        return list(self._steps)

    def call(self, inputs: Any, training: bool = True) -> Any:
        """The input after all layers."""
        for layer in self._steps:
            inputs = layer(inputs, training=training)
        return inputs

    def get_config(self) -> dict[str, Any]:
        """The layers' configs."""
        return {"layers": [serialize_object(layer) for layer in self._steps], "name": self.name}


class MaxNumBoundingBoxes(ImageLayer):
    """Bounding boxes and their labels cut, or filled up with -1, to a fixed number for each image.

    Args:
        max_number: that number.
        **kwargs: `bounding_box_format`, `name` and so on.

    Example:
        >>> import numpy as np
        >>> boxes = {"boxes": np.ones((1, 2, 4), "float32"), "labels": np.ones((1, 2), "float32")}
        >>> out = MaxNumBoundingBoxes(3)({"images": np.ones((1, 4, 4, 3), "float32"), "bounding_boxes": boxes})
        >>> out["bounding_boxes"]["labels"].tolist()
        [[1.0, 1.0, -1.0]]
    """

    always = True

    def __init__(self, max_number: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.max_number = check_int(self, "max_number", max_number, 1)

    def _along_boxes(self, boxes: dict[str, Any], plan: Any, sizes: tuple[int, int, int, int]) -> dict[str, jax.Array]:
        return resize_count(self, boxes, self.max_number)
