"""Sequential: layers one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lamina.core.config import deserialize_object, serialize_object, serialize_value
from lamina.core.errors import describe, owner_label
from lamina.layers.input_layer import Input, InputLayer
from lamina.layers.layer import Layer
from lamina.models.model import Model
from lamina.models.network import Network, settle_names
from lamina.ops.symbol import Symbol


class Sequential(Model):
    """Layers one after the other.

    Args:
        layers: the layers; an `Input` as the first one builds the model at once, else it is built by the first data.
        trainable: whether fit changes the weights.
        name: the name.

    Example:
        >>> from lamina.layers import Dense, Input
        >>> model = Sequential([Input((4,)), Dense(8, activation="relu"), Dense(1)])
        >>> [layer.name for layer in model.layers], model.output_shape
        (['dense', 'dense_1'], (None, 1))
    """

    def __init__(
        self, layers: Sequence[Any] | None = None, trainable: bool = True, name: str | None = None, **kwargs: Any
    ):
        super().__init__(name=name, trainable=trainable, **kwargs)
        self._input: Symbol | None = None
        self._stack: list[Layer] = []
        self.supports_masking = True
        for layer in layers or []:
            self._add(layer)
        self._rebuild()

    def add(self, layer: Any) -> None:
        """Adds a layer at the end."""
        self._add(layer)
        self._rebuild()

    def _add(self, layer: Any) -> None:
        if isinstance(layer, Symbol) and layer.node is not None and isinstance(layer.node.operation, InputLayer):
            layer = layer.node.operation
        if isinstance(layer, InputLayer):
            if self._stack or self._input is not None:
                raise ValueError(f"{owner_label(self)}: an Input must be the first layer, and there can be one only.")
            self._input = layer.output
            return
        if not isinstance(layer, Layer):
            if callable(layer) and not isinstance(layer, type):
                cure = " Wrap a function in layers.Lambda(function)."
            elif isinstance(layer, type):
                cure = f" Did you mean {layer.__name__}(...)?"
            else:
                cure = ""
            raise TypeError(f"{owner_label(self)}: layers must be layers, got {describe(layer)}.{cure}")
        if any(layer is other for other in self._stack):
            raise ValueError(
                f"{owner_label(self)}: {owner_label(layer)} is in the model already. To apply a layer twice, use the "
                "functional API."
            )
        if not self._stack and self._input is None and layer.shape_hint is not None:
            self._input = Input(batch_shape=layer.shape_hint, dtype=_hint_dtype(layer))
        self._stack.append(layer)

    def pop(self, rebuild: bool = True) -> Layer:
        """Takes the last layer off and returns it."""
        if not self._stack:
            raise ValueError(f"{owner_label(self)}: there is no layer to pop.")
        layer = self._stack.pop()
        if rebuild:
            self._rebuild()
        return layer

    def _rebuild(self) -> None:
        """Settles the names, and with a known input the shapes and weights of all layers."""
        settle_names(self._stack, owner_label(self))
        self.network = None
        self.built = False
        self.__dict__.pop("_predictors", None)
        if self._input is not None and self._stack:
            x: Any = self._input
            for layer in self._stack:
                x = layer(x)
            self.network = Network(self._input, x, owner_label(self))
            self.built = True
            self._build_shapes = {"input_shape": self._input.shape}
        self._assign_paths()

    def build(self, input_shape: Any = None) -> None:
        """Builds all layers for inputs of a shape, batch axis first."""
        if self._input is not None:
            return
        if input_shape is None:
            raise ValueError(f"{owner_label(self)}: build needs input_shape=(batch, ...), or an Input as first layer.")
        if not self._stack:
            raise ValueError(f"{owner_label(self)}: has no layers to build. Add some first.")
        shape = tuple(input_shape)
        self._input = Input(batch_shape=(None, *shape[1:]), dtype=_hint_dtype(self._stack[0]))
        self._rebuild()

    def _check_and_build(self, arguments: dict[str, Any]) -> None:
        if self.built:
            return
        if not self._stack:
            raise ValueError(f"{owner_label(self)}: has no layers, so it cannot be called. Add some first.")
        x = arguments.get("inputs")
        if x is not None and hasattr(x, "shape") and self._input is None:
            self._input = Input(batch_shape=(None, *x.shape[1:]), dtype=str(x.dtype))
            self._rebuild()

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """Runs the layers."""
        if self.network is not None:
            return self.network.run(inputs)
        x = inputs
        for layer in self._stack:
            x = layer(x)
        self.built = True
        return x

    @property
    def layers(self) -> list[Layer]:
        """The layers, without the Input."""
        return list(self._stack)

    @property
    def saves_layers_first(self) -> bool:
        """Files name the weights by the place in `layers`, whether the model is built or not."""
        return True

    def _children(self) -> Iterator[tuple[str, Layer]]:
        yield from ((layer.name, layer) for layer in self._stack)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape after all layers."""
        for layer in self._stack:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The layers' configs."""
        layers: list[Layer] = list(self._stack)
        if self._input is not None:
            layers.insert(0, self._input.node.operation)
        config: dict[str, Any] = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": serialize_value(self.dtype_policy),
            "layers": [serialize_object(layer) for layer in layers],
        }
        if self._input is not None:
            config["build_input_shape"] = self._input.shape
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        """A model made from what `get_config` returned."""
        if "layers" not in config:
            return cls(**config)
        layers = [deserialize_object(c, custom_objects, "layers") for c in config["layers"]]
        model = cls(name=config.get("name"), trainable=config.get("trainable", True))
        for layer in layers:
            model._add(layer)
        model._rebuild()
        if not model.built and config.get("build_input_shape"):
            model.build(tuple(config["build_input_shape"]))
        return model


def _hint_dtype(layer: Layer) -> str:
    """The dtype of the input that a first layer wants: its own, or int32 for one that looks its input up."""
    return "int32" if type(layer).__name__ == "Embedding" else layer.compute_dtype
