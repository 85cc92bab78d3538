"""Model: a layer that trains."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import jax

from lamina.checkpoint.matching import LoadReport
from lamina.core.config import deserialize_value, serialize_object
from lamina.core.errors import did_you_mean, listing, owner_label
from lamina.layers import tracking
from lamina.layers.layer import Layer, as_shape
from lamina.models.functional import functional_from_config, network_config
from lamina.models.network import Network
from lamina.models.saving.compile_config import compile_arguments, compile_config
from lamina.models.saving.writing import save_model
from lamina.models.summary import any_batch, summary_html, summary_text
from lamina.models.weights import load_weights, save_weights
from lamina.ops.symbol import Symbol
from lamina.state.frame import Frame
from lamina.state.rng import make_key
from lamina.training.trainer import Trainer

if TYPE_CHECKING:
    from lamina.export.report import ExportReport


class Model(Trainer, Layer):
    """A layer with `compile`, `fit`, `evaluate` and `predict`.

    Made from inputs and outputs of the functional API, `Model(inputs, outputs)`, or by subclassing with `call`.

    Args:
        inputs: what `Input()` returned: one, or a list or dict.
        outputs: what layers returned for them, likewise.
        trainable: whether fit changes the weights.
        dtype: the dtype, or dtype policy.
        name: the name.

    Example:
        >>> from lamina.layers import Dense, Input
        >>> x = Input((4,))
        >>> model = Model(x, Dense(2, name="out")(x))
        >>> model.count_params()
        10
        >>> class Twice(Model):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.dense = Dense(3)
        ...     def call(self, x):
        ...         return self.dense(x) * 2
        >>> import numpy as np
        >>> Twice()(np.ones((1, 4), "float32")).shape
        (1, 3)
    """

    _unsaved = frozenset({"inputs", "outputs", "activity_regularizer"})
    _untracked = Layer._untracked | {
        "optimizer",
        "loss",
        "history",
        "network",
        "_loss_tracker",
        "_compile_loss",
        "_compile_metrics",
        "_compile_arguments",
        "_compiled_for",
        "_programs",
        "_predictors",
    }

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """A Functional model if `Model` itself is given inputs and outputs."""
        graph = len(args) > 1 or "outputs" in kwargs
        kind: Any = Functional if cls is Model and graph else cls
        return super().__new__(kind, *args, **kwargs)

    def __init__(self, inputs: Any = None, outputs: Any = None, name: str | None = None, **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.network: Network | None = None
        if (inputs is None) != (outputs is None):
            missing = "outputs" if outputs is None else "inputs"
            raise TypeError(f"{owner_label(self)}: {missing} is missing. Pass both: Model(inputs=..., outputs=...).")
        if inputs is not None:
            self.network = Network(inputs, outputs, owner_label(self))
            self.built = True
            self._assign_paths()

    # ---- structure

    def _children(self) -> Iterator[tuple[str, Layer]]:
        if self.network is not None:
            yield from ((layer.name, layer) for layer in self.network.layers)
        yield from super()._children()

    def _assign_paths(self) -> None:
        tracking.assign_paths(self)

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """Runs the graph of a functional model; a subclass defines its own."""
        if self.network is None:
            raise NotImplementedError(
                f"{owner_label(self)}: define call(self, inputs) in class {type(self).__name__}, or make the model "
                "from inputs and outputs."
            )
        return self.network.run(inputs)

    def _check_and_build(self, arguments: dict[str, Any]) -> None:
        if self.network is None:
            super()._check_and_build(arguments)

    def _pass_mask(self, arguments: dict, first_mask: Any, outputs: Any) -> None:
        """The layers of a graph pass their masks on themselves."""
        if self.network is None:
            super()._pass_mask(arguments, first_mask, outputs)

    def build(self, input_shape: Any) -> None:
        """Builds a subclassed model by calling it on symbols of the given shape."""
        if self.network is not None or self.built:
            return
        if type(self).build is Model.build and type(self).call is not Model.call:
            self.compute_output_spec(symbols_of_shape(input_shape))

    def _build(self, shapes: dict[str, Any]) -> None:
        if type(self).build is Model.build:  # the layers inside are built as the call reaches them
            self._build_shapes = shapes if len(shapes) > 1 else {"input_shape": next(iter(shapes.values()))}
            return
        super()._build(shapes)

    @property
    def inputs(self) -> list[Symbol]:
        """The input symbols of a functional or sequential model."""
        return self._graph("inputs").input_symbols

    @property
    def outputs(self) -> list[Symbol]:
        """The output symbols of a functional or sequential model."""
        return self._graph("outputs").output_symbols

    @property
    def input(self) -> Any:
        """The inputs in their structure."""
        return self._graph("input").inputs

    @property
    def output(self) -> Any:
        """The outputs in their structure."""
        return self._graph("output").outputs

    @property
    def input_shape(self) -> Any:
        """The shapes of the inputs."""
        return jax.tree.map(lambda s: s.shape, self.input)

    @property
    def output_shape(self) -> Any:
        """The shapes of the outputs."""
        return jax.tree.map(lambda s: s.shape, self.output)

    @property
    def outputs_structure(self) -> Any:
        """The outputs as symbols, or None if they are known only by running the model."""
        return None if self.network is None else self.network.outputs

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs."""
        return [s.name for s in self.inputs]

    @property
    def output_names(self) -> list[str] | None:
        """The names of the layers that make the outputs; None for a subclassed model."""
        if self.network is None:
            return None
        operations = [s.node.operation for s in self.network.output_symbols]
        return [str(getattr(o, "name", None) or getattr(o, "__name__", "output")) for o in operations]

    def _graph(self, what: str) -> Network:
        if self.network is None:
            raise AttributeError(
                f"{owner_label(self)}: has no {what}, since it has not been built from an Input. Give a Sequential "
                "model an Input as its first layer, or call the model on data first."
            )
        return self.network

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of a name, or at a place in `layers`.

        A layer that was given no name also goes by the attribute that holds it.

        Raises:
            ValueError: there is none; the message lists the names.
        """
        layers = self.layers
        if (name is None) == (index is None):
            raise ValueError(f"{owner_label(self)}: get_layer takes either name= or index=.")
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise ValueError(f"{owner_label(self)}: has {len(layers)} layers, so there is none at index {index}.")
            return layers[index]
        for layer in layers:
            if layer.name == name:
                return layer
        for attribute, layer in self._children():
            if attribute == name and layer.auto_named:
                return layer
        names = [layer.name for layer in layers]
        hint = did_you_mean(name, names)
        raise ValueError(f"{owner_label(self)}: no layer is named {name!r}.{hint} It has {listing(names, 'and')}.")

    # ---- pure use

    @property
    def params(self) -> dict[str, jax.Array]:
        """Copies of the trainable weights by path, for `apply`."""
        self._assign_paths()
        return {v.path: jax.numpy.copy(v.stored) for v in self.trainable_variables}

    @property
    def state(self) -> dict[str, jax.Array]:
        """Copies of the other weights by path, for `apply`."""
        self._assign_paths()
        return {v.path: jax.numpy.copy(v.stored) for v in self.non_trainable_variables}

    def apply(
        self,
        params: dict[str, Any],
        state: dict[str, Any],
        *args: Any,
        training: bool = False,
        rng: Any = None,
        **kwargs: Any,
    ) -> tuple[Any, dict[str, Any]]:
        """Calls the model as a pure function: for `jax.jit`, `jax.grad`, `jax.vmap` and loops of your own.

        Args:
            params: values of the trainable weights by path, as `model.params` gives them.
            state: values of the other weights by path, as `model.state` gives them.
            *args: the inputs.
            training: whether dropout drops and batch normalisation takes the batch's statistics.
            rng: a random key, or a seed; needed if a layer draws random numbers in training.
            **kwargs: further arguments of the call.

        Returns:
            (outputs, new state).

        Raises:
            ValueError: a path is missing or unknown.

        Example:
            >>> import jax, numpy as np
            >>> from lamina.layers import Dense, Input
            >>> x = Input((4,))
            >>> model = Model(x, Dense(1)(x))
            >>> def loss(params, x):
            ...     y, _ = model.apply(params, model.state, x)
            ...     return (y ** 2).mean()
            >>> gradients = jax.grad(loss)(model.params, np.ones((2, 4), "float32"))
            >>> sorted(gradients) == sorted(model.params)
            True
        """
        if not self.built:
            raise ValueError(
                f"{owner_label(self)}: apply needs a built model. Call it on data, or give it an Input, first."
            )
        tv, ntv = self.trainable_variables, self.non_trainable_variables
        values = []
        for variables, given, what in ((tv, params, "params"), (ntv, state, "state")):
            paths = [v.path for v in variables]
            missing, unknown = [p for p in paths if p not in given], [p for p in given if p not in set(paths)]
            if missing or unknown:
                raise ValueError(
                    f"{owner_label(self)}: {what} must have an entry for each path of model.{what}. "
                    f"Missing: {missing[:5]}, unknown: {unknown[:5]}."
                )
            values += [given[p] for p in paths]
        key = make_key(rng) if isinstance(rng, int) else rng
        with Frame([*tv, *ntv], values, key) as frame:
            outputs = self(*args, training=training, **kwargs)
            new = frame.values()[len(tv) :]
        return outputs, {v.path: value for v, value in zip(ntv, new, strict=True)}

    def assign_values(self, params: dict[str, Any], state: dict[str, Any] | None = None) -> None:
        """Sets weights by path, such as those that a training loop of your own arrived at."""
        by_path = {v.path: v for v in self.weights}
        for path, value in {**params, **(state or {})}.items():
            if path not in by_path:
                raise ValueError(f"{owner_label(self)}: no weight has the path {path!r}.{did_you_mean(path, by_path)}")
            by_path[path].assign(value)

    # ---- pictures

    def summary(
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Sequence[str] | None = None,
    ) -> None:
        """Prints a table of the layers, their output shapes and their weights.

        Args:
            line_length: the width of the table; by default that of its text, up to 100.
            positions: where the columns end, as fractions of the width or as numbers of characters.
            print_fn: called with the text in place of `print`.
            expand_nested: whether the layers inside nested models are listed too.
            show_trainable: whether to add a column that tells trainable layers from frozen ones.
            layer_range: the names (or patterns) of the first and last layer to list.

        Raises:
            ValueError: no layer has a name of `layer_range`.

        Example:
            >>> from lamina.layers import Dense, Input
            >>> x = Input((4,))
            >>> Model(x, Dense(2)(x), name="tiny").summary()
            Model: "tiny"
            ┏━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━┓
            ┃ Layer (type)             ┃ Output Shape ┃ Param # ┃ Connected to      ┃
            ┡━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━┩
            │ input_layer (InputLayer) │ (None, 4)    │       0 │ -                 │
            ├──────────────────────────┼──────────────┼─────────┼───────────────────┤
            │ dense (Dense)            │ (None, 2)    │      10 │ input_layer[0][0] │
            └──────────────────────────┴──────────────┴─────────┴───────────────────┘
             Total params: 10 (40.00 B)
             Trainable params: 10 (40.00 B)
             Non-trainable params: 0 (0.00 B)
        """
        text = summary_text(self, line_length, positions, expand_nested, show_trainable, layer_range)
        (print if print_fn is None else print_fn)(text)

    def _repr_html_(self) -> str:
        return summary_html(self)

    # ---- on disk

    def save(self, filepath: str | os.PathLike, overwrite: bool = True, **kwargs: Any) -> None:
        """Writes the model as one file, `.keras` or in the old format `.h5`; see `lamina.saving.save_model`."""
        save_model(self, filepath, overwrite, **kwargs)

    def save_weights(
        self, filepath: str | os.PathLike, overwrite: bool = True, max_shard_size: float | None = None
    ) -> None:
        """Writes the weights, in the format that the path's ending names; see `lamina.models.weights`."""
        save_weights(self, filepath, overwrite, max_shard_size)

    def load_weights(self, filepath: str | os.PathLike, skip_mismatch: bool = False, **kwargs: Any) -> LoadReport:
        """Sets the weights from a file; see `lamina.models.weights`, also for the further arguments."""
        return load_weights(self, filepath, skip_mismatch, **kwargs)

    def export(
        self,
        filepath: str | os.PathLike,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        **options: Any,
    ) -> ExportReport:
        """Writes the model, as it predicts, in the format of another runtime; see `lamina.export.save`.

        Args:
            filepath: the file, or the folder of a SavedModel.
            format: `"tf_saved_model"`, `"frozen"`, or another that `lamina.export.save` knows.
            verbose: whether to print the report.
            input_signature: a list of the inputs' specs; by default those that the model was built with.
            **options: of the format.

        Raises:
            ExportError: ops cannot be written; the message lists them by layer.
            ValueError: the model has not been built.

        Example:
            >>> import os, tempfile
            >>> from lamina.layers import Dense, Input
            >>> x = Input((4,))
            >>> path = os.path.join(tempfile.mkdtemp(), "model")
            >>> report = Model(x, Dense(1)(x)).export(path)
            >>> report.parameters, sorted(os.listdir(path))
            (5, ['saved_model.pb', 'variables'])
        """
        from lamina.export.save import save  # the formats take as long to import as all layers: only who exports waits

        if input_signature is None and self.network is None:
            if not self.built or not self._build_shapes:
                raise ValueError(
                    f"{owner_label(self)}: export needs a built model. Call it on data first, or pass input_signature."
                )
            input_signature = [symbols_of_shape(any_batch(s)) for s in self._build_shapes.values()]
        report = save(self, input_signature, filepath, format, **options)
        if verbose:
            print(report)
        return report

    @property
    def saves_layers_first(self) -> bool:
        """Whether files name the weights by the place in `layers`, rather than by attributes."""
        return self.network is not None

    # ---- configuration

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values; the inputs and outputs among them as a graph of layers."""
        config = super().get_config()
        if self.network is not None and "inputs" in self._captured:
            config.pop("dtype", None)
            config.update(network_config(self.network))
        return config

    def get_compile_config(self) -> dict[str, Any] | None:
        """What `compile` was told, as plain values; None if the model is not compiled."""
        return compile_config(self)

    def compile_from_config(self, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> None:
        """Compiles the model as `get_compile_config` says, and makes the optimizer's variables."""
        self.compile(**compile_arguments(config, custom_objects))
        if self.built and self.optimizer is not None and not self.optimizer.built:
            self._assign_paths()
            self.optimizer.build(self.trainable_variables)

    def get_build_config(self) -> dict[str, Any] | None:
        """The shapes that the model was built with."""
        shapes = self._build_shapes
        if type(self).build is Model.build and shapes is not None and len(shapes) > 1:
            return {"shapes_dict": shapes}
        return super().get_build_config()

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Builds the model with the shapes of `get_build_config`."""
        if self.built or not config:
            return
        if type(self).build is not Model.build:
            super().build_from_config(config)
        elif type(self).call is not Model.call:  # the layers inside are built as the call reaches them
            config = config.get("shapes_dict", config)
            shapes = {k.removesuffix("_shape"): as_shape(v) for k, v in config.items() if v is not None}
            symbols = {k: symbols_of_shape(v) for k, v in shapes.items()}
            if len(symbols) == 1:
                self.compute_output_spec(*symbols.values())
            elif symbols:
                self.compute_output_spec(**symbols)

    def to_json(self, **kwargs: Any) -> str:
        """The architecture as JSON text; `lamina.models.model_from_json` makes a model of it."""
        return json.dumps(serialize_object(self), **kwargs)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        """A model made from what `get_config` returned."""
        if "layers" in config and "input_layers" in config:
            return functional_from_config(cls, config, custom_objects)
        return cls(**{k: deserialize_value(v, custom_objects) for k, v in config.items()})


class Functional(Model):
    """A model made from inputs and outputs; `Model(inputs, outputs)` makes one."""

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, **kwargs: Any):
        super().__init__(inputs=inputs, outputs=outputs, name=name, **kwargs)

    @property
    def layers(self) -> list[Layer]:
        """The layers, those far from the outputs first."""
        return list(self._graph("layers").layers)


def symbols_of_shape(shape: Any) -> Any:
    """Symbols for a structure of shapes."""
    if isinstance(shape, dict):
        return {k: symbols_of_shape(v) for k, v in shape.items()}
    if all(d is None or isinstance(d, int) for d in shape):
        return Symbol(shape)
    return type(shape)(symbols_of_shape(s) for s in shape)
