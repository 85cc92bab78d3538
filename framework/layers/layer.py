"""Layer, the base of all layers and models."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Sequence
from typing import Any, Self

import jax
import numpy as np

from lamina import constraints, initializers, regularizers
from lamina.core.config import Configurable, _parameters, deserialize_value, serialize_value
from lamina.core.dtypes import INTS, get_policy, standardize_dtype
from lamina.core.errors import ShapeError, describe, listing, owner_label
from lamina.core.errors import did_you_mean as suggest
from lamina.core.naming import snake_case
from lamina.layers import calling, tracking
from lamina.layers.input_spec import check_input
from lamina.metrics.metric import Metric
from lamina.ops.symbol import VALUE_HINT, Node, Symbol, has_symbol, infer
from lamina.state.frame import Frame, autocast, current_frame
from lamina.state.masks import get_mask, set_mask
from lamina.state.saveable import Saveable
from lamina.state.variable import Variable

_INPUT_HINTS = ("input_shape", "input_dim", "batch_shape", "batch_input_shape")


class Layer(Saveable, Configurable):
    """A computation with weights. Subclass it: create weights in `build`, compute in `call`.

    Args:
        activity_regularizer: a penalty on the output, added to the loss.
        trainable: whether optimizers change the weights.
        dtype: the dtype, or dtype policy, of computation and weights.
        autocast: whether float inputs are cast to the compute dtype.
        name: the name; by default the class's name in snake case, numbered inside a model.

    Raises:
        TypeError: an unknown argument; the message lists the known ones.

    Example:
        >>> import numpy as np
        >>> class Scale(Layer):
        ...     def build(self, input_shape):
        ...         self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="factor")
        ...     def call(self, x):
        ...         return x * self.factor
        >>> layer = Scale()
        >>> layer(np.ones((2, 3), "float32")).shape, [w.name for w in layer.weights]
        ((2, 3), ['factor'])
    """

    # Attributes that are never searched for layers, variables or metrics.
    _untracked: frozenset[str] = frozenset({"_captured", "_losses", "_nodes", "input_spec"})

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        build = cls.__dict__.get("build")
        if build is not None:

            @functools.wraps(build)
            def build_and_note(self: Any, *args: Any, **kwargs: Any) -> Any:
                result = build(self, *args, **kwargs)
                self.built = True
                return result

            cls.build = build_and_note  # type: ignore[method-assign]

    def __init__(
        self,
        *,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ):
        self.auto_named = name is None
        if name is not None and not isinstance(name, str):
            raise TypeError(f"{type(self).__name__}: name must be a string, got {describe(name)}.")
        self.name = snake_case(type(self).__name__) if name is None else name
        if "/" in self.name:
            raise ValueError(f"{type(self).__name__}: name must not contain '/', got {name!r}.")
        hints = {k: kwargs.pop(k) for k in _INPUT_HINTS if k in kwargs}
        if kwargs:
            known = [k for k in _parameters(type(self)) if k != "self"]  # type: ignore[arg-type]
            unknown = list(kwargs)
            raise TypeError(
                f"{owner_label(self)}: unexpected keyword argument {listing(unknown, 'and')}."
                f"{suggest(unknown[0], known)} It takes {listing(known, 'and')}."
            )
        self.shape_hint = _shape_hint(hints)
        self.dtype_policy = get_policy(dtype)
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.autocast = autocast
        self.built = False
        self.supports_masking = False
        self.input_spec: Any = None
        self._trainable = bool(trainable)
        self._weights: list[Variable] = []
        self._losses: list[Any] = []
        self._nodes: list[Node] = []
        self._build_shapes: dict[str, Any] | None = None

    # ---- to override

    def build(self, input_shape: Any) -> None:
        """Creates the weights, from the shape of the input (axis 0 is the batch; None is any size)."""

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Computes the output from arrays. Jittable; may take `training` and `mask`."""
        raise NotImplementedError(f"{owner_label(self)}: define call(self, inputs) in class {type(self).__name__}.")

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of the output, from the input and its mask; by default the mask passes through."""
        return previous_mask

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        config = super().get_config()
        config.pop("autocast", None)
        if self.activity_regularizer is None and "activity_regularizer" not in _own_parameters(type(self)):
            config.pop("activity_regularizer", None)
        config["dtype"] = serialize_value(self.dtype_policy)
        return config

    def get_build_config(self) -> dict[str, Any] | None:
        """The shapes that the layer was built with."""
        return calling.build_config(type(self), self._build_shapes)

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Builds the layer with the shapes of `get_build_config`."""
        if config:
            self._build({k: as_shape(v) for k, v in config.get("shapes_dict", config).items()})

    # ---- weights

    def add_weight(
        self,
        shape: Sequence[int] | int | None = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        aggregation: str | None = None,
        overwrite_with_gradient: bool = False,
        name: str | None = None,
    ) -> Variable:
        """Creates a weight of this layer.

        Args:
            shape: its shape; () for a scalar.
            initializer: an initializer or its name; by default Glorot uniform for floats, zeros else.
            dtype: its dtype; by default the policy's.
            trainable: whether optimizers change it.
            autocast: whether it reads as the compute dtype inside `call`.
            regularizer: a penalty on it, added to the loss.
            constraint: a function that each update is passed through.
            aggregation: accepted as in Keras; how replicas combine is the executor's matter.
            overwrite_with_gradient: whether the gradient is taken as the new value.
            name: the last part of its path.
        """
        self._require_init()
        shape = (shape,) if isinstance(shape, int) else tuple(shape or ())
        if not all(isinstance(d, (int, np.integer)) for d in shape):
            raise ShapeError(
                f"{owner_label(self)}: weight {name!r} needs a shape of known sizes, got {shape}. Give the input a "
                "size on that axis, such as Input((28, 28, 1))."
            )
        dtype = standardize_dtype(dtype or self.variable_dtype)
        if initializer is None:
            initializer = "zeros" if dtype in INTS or dtype == "bool" else "glorot_uniform"
        variable = Variable(
            initializers.get(initializer),
            shape=shape,
            dtype=dtype,
            trainable=trainable,
            autocast=autocast,
            name=name or "variable",
            constraint=constraints.get(constraint),
            regularizer=regularizers.get(regularizer),
        )
        variable.overwrite_with_gradient = overwrite_with_gradient
        variable.path = f"{self.name}/{variable.name}"
        self._weights.append(variable)
        return variable

    def _children(self) -> Iterable[tuple[str, Layer]]:
        """The layers directly inside this one, each with the name of the place that holds it."""
        return tracking.owned(self, (Layer,), self._untracked)

    def _own_variables(self) -> list[Variable]:
        """The variables of this layer alone."""
        return tracking.unique([v for _, v in tracking.owned(self, (Variable,), self._untracked)])

    def _saved_variables(self) -> list[Any]:
        return sorted(self._own_variables(), key=lambda v: not v.born_trainable)

    @property
    def weights(self) -> list[Variable]:
        """All weights, those of inner layers included."""
        return tracking.survey(self).weights

    @property
    def variables(self) -> list[Variable]:
        """All weights and the variables of metrics."""
        return self.weights + [v for m in self.metrics for v in m.variables]

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that optimizers change; none while the layer is frozen."""
        return tracking.survey(self).trainable

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that optimizers leave alone."""
        weights, trainable, _ = tracking.survey(self)
        free = set(map(id, trainable))
        return [v for v in weights if id(v) not in free]

    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    @property
    def metrics(self) -> list[Metric]:
        """The metrics that this layer and inner layers hold."""
        return tracking.survey(self).metrics

    @property
    def layers(self) -> list[Layer]:
        """The layers directly inside this one."""
        return tracking.unique([child for _, child in self._children()])

    @property
    def trainable(self) -> bool:
        """Whether optimizers change the weights; setting it sets it for all inner layers."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in tracking.walk(self):
            layer._trainable = bool(value)
            for v in layer._own_variables():
                if v.born_trainable:
                    v.trainable = bool(value)

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights."""
        return [np.array(v.stored) for v in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Sets all weights, in the order of `get_weights`.

        Raises:
            ValueError: there are more or fewer arrays than weights.
            ShapeError: a shape differs; nothing is changed then.
        """
        own = self.weights
        if len(weights) != len(own):
            unbuilt = "" if own else " It has no weights yet: build it by calling it on data, or give it an Input."
            raise ValueError(
                f"{owner_label(self)}: set_weights expects {len(own)} arrays"
                f"{' (' + listing([v.path for v in own][:6], 'and') + ')' if own else ''}, got {len(weights)}.{unbuilt}"
            )
        for v, w in zip(own, weights, strict=True):
            if tuple(np.shape(w)) != v.shape:
                raise ShapeError(
                    f"{owner_label(self)}: weight '{v.path}' has shape {v.shape}, got {describe(np.asarray(w))}."
                )
        for v, w in zip(own, weights, strict=True):
            v.assign(w)

    def count_params(self) -> int:
        """The number of elements of all weights.

        Raises:
            ValueError: the layer is not built.
        """
        if not self.built:
            raise ValueError(
                f"{owner_label(self)}: is not built, so its weights cannot be counted. Call it on data first."
            )
        return sum(v.size for v in self.weights)

    # ---- dtypes

    @property
    def compute_dtype(self) -> str:
        """The dtype of the arithmetic."""
        return self.dtype_policy.compute_dtype

    @property
    def variable_dtype(self) -> str:
        """The dtype of the weights."""
        return self.dtype_policy.variable_dtype

    dtype = variable_dtype
    input_dtype = compute_dtype

    # ---- losses

    def add_loss(self, loss: Any) -> None:
        """Adds a penalty, computed in `call`, to the loss of the model."""
        losses = [loss] if not isinstance(loss, (list, tuple)) else list(loss)
        for one in losses:
            if np.ndim(one) != 0:
                raise ShapeError(f"{owner_label(self)}: add_loss expects a scalar, got {describe(one)}. Take its mean.")
        frame = current_frame()
        if frame is None:
            self._losses.extend(losses)
        else:
            frame.losses.extend(losses)

    @property
    def losses(self) -> list[Any]:
        """The penalties of the last call, and those of the regularizers of weights."""
        frame = current_frame()
        added = frame.losses if frame is not None else [x for one in tracking.walk(self) for x in one._losses]
        return [*added, *self._weight_penalties()]

    def _weight_penalties(self) -> list[Any]:
        return [v.regularizer(v.value) for v in self.trainable_weights if v.regularizer is not None]

    # ---- calling

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer on arrays, or on symbols, which records the call."""
        self._require_init()
        if has_symbol(args, kwargs):
            return self._call_symbolic(args, kwargs)
        return self._call(args, kwargs)

    def _call_symbolic(self, args: tuple, kwargs: dict) -> Any:
        spec = self.compute_output_spec(*args, **kwargs)
        # Copies: a layer's own compute_output_spec may return the symbols that it was given.
        outputs = jax.tree.map(lambda x: Symbol(x.shape, x.dtype) if isinstance(x, Symbol) else x, spec)
        self._nodes.append(Node(self, args, kwargs, outputs))
        return outputs

    @property
    def input(self) -> Any:
        """The symbols that the layer was first called on, in the functional API."""
        node = self._first_node("input")
        if len(node.args) == 1 and not node.kwargs:
            return node.args[0]
        return node.inputs[0] if len(node.inputs) == 1 else node.inputs

    @property
    def output(self) -> Any:
        """The symbols that the first call of the layer gave, in the functional API."""
        return self._first_node("output").outputs

    def _first_node(self, what: str) -> Node:
        if not self._nodes:
            raise AttributeError(
                f"{owner_label(self)}: has no {what}, since it was never called on an Input or on what layers return. "
                "Give a Sequential model an Input as its first layer."
            )
        return self._nodes[0]

    def _call(self, args: tuple, kwargs: dict) -> Any:
        cls: Any = type(self)
        arguments = calling.bind(self, args, kwargs)
        dtype = self.compute_dtype if self.autocast else None
        arguments = {k: calling.prepare(self, v, dtype) for k, v in arguments.items()}
        self._check_and_build(arguments)
        first_mask = calling.fill_masks(cls, arguments, get_mask)
        training = calling.resolve_training(kwargs, arguments)
        if training is not None and calling.accepts(cls, "training"):
            arguments["training"] = training
        outermost = calling.training_mode.get() is None and current_frame() is None
        if outermost:
            for layer in tracking.walk(self):
                layer._losses.clear()
        positional, named = _split(cls, arguments)
        with contextlib.ExitStack() as stack:
            token = calling.training_mode.set(bool(training) if training is not None else False)
            stack.callback(calling.training_mode.reset, token)
            stack.enter_context(jax.named_scope(self.name))
            cast = self.compute_dtype if self.compute_dtype != self.variable_dtype else None
            stack.enter_context(autocast(cast if self.autocast else None))
            try:
                outputs = self.call(*positional, **named)
            except Exception as error:
                _name_layer(error, self, arguments)
                raise
        self.built = True
        if self.activity_regularizer is not None:
            for out in jax.tree.leaves(outputs):
                self.add_loss(self.activity_regularizer(out) / out.shape[0])
        self._pass_mask(arguments, first_mask, outputs)
        return outputs

    def _pass_mask(self, arguments: dict, first_mask: Any, outputs: Any) -> None:
        """Attaches the mask of the outputs, where there is one."""
        masked = bool(jax.tree.leaves(first_mask))
        if not self.supports_masking or not arguments:
            return
        if not masked and type(self).compute_mask is Layer.compute_mask:
            return
        flat = jax.tree.leaves(outputs)
        if all(get_mask(out) is not None for out in flat):
            return
        masks = self.compute_mask(next(iter(arguments.values())), first_mask)
        if masks is None:
            return
        flat_masks = list(masks) if isinstance(masks, (list, tuple)) else [masks]
        for out, mask in zip(flat, flat_masks, strict=False):
            set_mask(out, mask)

    def _check_and_build(self, arguments: dict[str, Any]) -> None:
        first = next(iter(arguments.values()), None)
        if self.input_spec is not None and self.built:
            check_input(self, self.input_spec, first)
        if self.built:
            return
        shapes = {f"{k}_shape": calling.shape_of(v) for k, v in arguments.items() if calling.holds_tensor(v)}
        if not shapes:
            return
        if self.input_spec is not None:
            check_input(self, self.input_spec, first)
        self._build(shapes)
        if self.input_spec is not None:
            check_input(self, self.input_spec, first)

    def _build(self, shapes: dict[str, Any]) -> None:
        """Builds the layer with the shape of each argument."""
        wanted = calling.build_parameters(type(self))  # type: ignore[arg-type]
        self._build_shapes = shapes if len(shapes) > 1 else {"input_shape": next(iter(shapes.values()))}
        if type(self).build is Layer.build:
            return
        if len(wanted) > 1 and wanted[0] in shapes:
            self.build(**{name: shapes[name] for name in wanted if name in shapes})
        else:
            self.build(next(iter(shapes.values())))
        self.built = True

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        """The shape of the output for given shapes of the inputs; builds the layer if need be."""

        def symbol(shape: Any) -> Any:
            if isinstance(shape, dict):
                return {k: symbol(v) for k, v in shape.items()}
            if all(isinstance(d, (int, np.integer)) or d is None for d in shape):
                return Symbol(shape, self.compute_dtype)
            return type(shape)(symbol(s) for s in shape)

        names = {k.removesuffix("_shape"): symbol(v) for k, v in kwargs.items() if v is not None}
        out = self.compute_output_spec(*map(symbol, args), **names)
        return jax.tree.map(lambda s: s.shape, out, is_leaf=lambda x: isinstance(x, Symbol))

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Symbols of the shape and dtype that the layer gives for symbols, without recording a call."""
        self._check_and_build(calling.bind(self, args, kwargs))
        return infer(lambda *a, **k: self._call(a, k), args, kwargs, owner_label(self))

    # ---- pure calls

    def stateless_call(
        self,
        trainable_variables: Sequence[Any],
        non_trainable_variables: Sequence[Any],
        *args: Any,
        return_losses: bool = False,
        **kwargs: Any,
    ) -> tuple:
        """Calls the layer as a pure function of its variables.

        Args:
            trainable_variables: values of `self.trainable_variables`, in order.
            non_trainable_variables: values of `self.non_trainable_variables`, in order.
            *args: arguments of the call.
            return_losses: whether the losses are returned too.
            **kwargs: arguments of the call.

        Returns:
            (outputs, new values of the non-trainable variables), and the losses if asked for.
        """
        if not self.built:
            raise ValueError(
                f"{owner_label(self)}: stateless_call needs a built layer. Call it on data, or build it, first."
            )
        trainable, fixed = self.trainable_variables, self.non_trainable_variables
        self._check_counts(trainable, trainable_variables, "trainable")
        self._check_counts(fixed, non_trainable_variables, "non-trainable")
        outer = current_frame()
        key = None if outer is None else outer.key
        values = [*trainable_variables, *non_trainable_variables]
        with Frame([*trainable, *fixed], values, key) as frame:
            if outer is not None:
                frame.draws = outer.draws
            outputs = self(*args, **kwargs)
            losses = self.losses if return_losses else []
            new = list(frame.values()[len(trainable) :])
        return (outputs, new, losses) if return_losses else (outputs, new)

    def _check_counts(self, variables: list[Variable], values: Sequence[Any], kind: str) -> None:
        if len(variables) != len(values):
            raise ValueError(
                f"{owner_label(self)}: expected {len(variables)} {kind} variables "
                f"({listing([v.path for v in variables][:6], 'and')}), got {len(values)} values."
            )

    # ---- configuration and text

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A layer made from what `get_config` returned."""
        return cls(**{k: deserialize_value(v) for k, v in config.items()})

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"

    def _require_init(self) -> None:
        if "_weights" not in self.__dict__:
            raise RuntimeError(
                f"{type(self).__name__}: call super().__init__() at the start of __init__, before anything else."
            )


def _own_parameters(cls: type) -> set[str]:
    """The parameters that the constructors of `cls` and its bases below Layer name themselves."""
    names: set[str] = set()
    for klass in cls.__mro__:
        if klass is Layer:
            break
        init = klass.__dict__.get("__init__")
        if init is not None:
            names.update(init.__code__.co_varnames[: init.__code__.co_argcount + init.__code__.co_kwonlyargcount])
    return names


def as_shape(value: Any) -> Any:
    """A shape out of JSON, where tuples are lists."""
    if isinstance(value, dict):
        return {k: as_shape(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        if all(v is None or isinstance(v, int) for v in value):
            return tuple(value)
        return type(value)(as_shape(v) for v in value)
    return value


def _shape_hint(hints: dict[str, Any]) -> tuple | None:
    """The batch shape that Keras' old `input_shape=` family of arguments states, or None."""
    for name in ("batch_shape", "batch_input_shape"):
        if hints.get(name) is not None:
            return tuple(hints[name])
    if hints.get("input_shape") is not None:
        return (None, *hints["input_shape"])
    if hints.get("input_dim") is not None:
        return (None, hints["input_dim"])
    return None


def _split(cls: type, arguments: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Arguments by name as positional and keyword arguments of `call`."""
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for name, value in arguments.items():
        parameter = calling.call_signature(cls).parameters[name]
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional.extend(value)
        elif parameter.kind is parameter.VAR_KEYWORD:
            named.update(value)
        elif (
            not named
            and parameter.kind is not parameter.KEYWORD_ONLY
            and len(positional) == list(calling.call_signature(cls).parameters).index(name)
        ):
            positional.append(value)
        else:
            named[name] = value
    return positional, named


def _name_layer(error: Exception, layer: Layer, arguments: dict[str, Any]) -> None:
    """Notes on an error which layer it came from and what the layer was given (innermost layer only)."""
    if getattr(error, "_lamina_layer", None) is not None:
        return
    error._lamina_layer = layer.name  # type: ignore[attr-defined]
    shapes = {k: calling.shape_of(v) for k, v in arguments.items() if calling.holds_tensor(v)}
    error.add_note(f"Raised inside {owner_label(layer)}, called with inputs of shape {shapes}.")
    if isinstance(error, (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError)):
        error.add_note(VALUE_HINT)
