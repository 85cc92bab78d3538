"""Dense layers: a matrix product, or any product that an einsum equation writes down."""

from __future__ import annotations

import re
from typing import Any

import jax

from lamina import activations, constraints, initializers, ops, regularizers
from lamina.core.checks import check_int
from lamina.core.errors import ShapeError, describe, owner_label
from lamina.layers.input_spec import InputSpec
from lamina.layers.layer import Layer


class Dense(Layer):
    """A fully connected layer: activation(x kernel + bias), over the last axis.

    Shape:
        (batch, ..., features) -> (batch, ..., units)

    Args:
        units: the size of the output.
        activation: a function or its name; None for none.
        use_bias: whether a bias is added.
        kernel_initializer: how the kernel, of shape (features, units), starts.
        bias_initializer: how the bias, of shape (units,), starts.
        kernel_regularizer: a penalty on the kernel.
        bias_regularizer: a penalty on the bias.
        kernel_constraint: a function that each update of the kernel goes through.
        bias_constraint: a function that each update of the bias goes through.
        **kwargs: `name`, `dtype`, `trainable` and `activity_regularizer`, as for every layer.

    Raises:
        ValueError: `units` is not a positive integer, or the input has no batch axis.

    Example:
        >>> import numpy as np
        >>> layer = Dense(3, activation="relu")
        >>> layer(np.ones((2, 4), "float32")).shape, layer.kernel.shape
        ((2, 3), (4, 3))
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = check_int(self, "units", units, 1)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.input_spec = InputSpec(min_ndim=2)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Creates the kernel and the bias."""
        features = input_shape[-1]
        self.kernel = self.add_weight(
            shape=(features, self.units),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(self.units,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )
        self.input_spec = InputSpec(min_ndim=2, axes={-1: features})

    def call(self, inputs: Any) -> jax.Array:
        """The product, the bias and the activation."""
        x = ops.matmul(inputs, self.kernel)
        if self.bias is not None:
            x = ops.add(x, self.bias)
        return self.activation(x)


class EinsumDense(Layer):
    """A dense layer over any axes: activation(einsum(equation, x, kernel) + bias).

    Shape:
        as the equation says: "abc,cd->abd" maps (batch, time, features) to (batch, time, d)

    Args:
        equation: an einsum equation of the input and the kernel, such as "ab,bc->ac"; an ellipsis may stand
            for the axes in front or behind.
        output_shape: the shape of the output without its first axis (and without those of an ellipsis); None for
            sizes that come from the input.
        activation: a function or its name; None for none.
        bias_axes: the letters of the output's axes that the bias has; None for no bias.
        kernel_initializer: how the kernel starts.
        bias_initializer: how the bias starts.
        kernel_regularizer: a penalty on the kernel.
        bias_regularizer: a penalty on the bias.
        kernel_constraint: a function that each update of the kernel goes through.
        bias_constraint: a function that each update of the bias goes through.
        **kwargs: `name`, `dtype`, `trainable` and `activity_regularizer`, as for every layer.

    Raises:
        ValueError: the equation cannot be read, or does not fit the input or `output_shape`.

    Example:
        >>> import numpy as np
        >>> layer = EinsumDense("abc,cde->abde", output_shape=(None, 2, 8), bias_axes="de")
        >>> layer(np.ones((4, 5, 16), "float32")).shape, layer.bias.shape
        ((4, 5, 2, 8), (2, 8))
    """

    def __init__(
        self,
        equation: str,
        output_shape: Any,
        activation: Any = None,
        bias_axes: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        activity_regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.equation = equation
        self._terms = _parse(self, equation)
        self.output_shape = (output_shape,) if isinstance(output_shape, int) else tuple(output_shape)
        self.activation = activations.get(activation)
        self.bias_axes = bias_axes
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    def build(self, input_shape: Any) -> None:
        """Creates the kernel and the bias, with the sizes that equation, input and output shape give."""
        kernel_shape, bias_shape = self._shapes(tuple(input_shape))
        self.kernel = self.add_weight(
            shape=kernel_shape,
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )
        self.bias = None
        if bias_shape is not None:
            self.bias = self.add_weight(
                shape=bias_shape,
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )

    def _shapes(self, input_shape: tuple) -> tuple[tuple, tuple | None]:
        """The shapes of the kernel and of the bias (None without one)."""
        source, kernel, target = self._terms
        sizes = dict(_named_axes(source, input_shape, self, "the input"))
        leading = [] if target.startswith("...") else [None]
        width = len(target.replace("...", ""))
        wanted = [*leading, *self.output_shape]
        if len(wanted) > width and "..." in target:  # sizes of the ellipsis' axes are allowed, and come from the input
            wanted = wanted[-width:] if target.startswith("...") else wanted[:width]
        if len(wanted) != width:
            raise ValueError(
                f"{owner_label(self)}: output_shape must hold a size for each letter of '{target}'"
                f"{' but the first' if leading else ''}, got {self.output_shape}."
            )
        for letter, size in zip(target.replace("...", ""), wanted, strict=True):
            known = sizes.get(letter)
            if size is not None and known is not None and known != size and letter in source:
                raise ShapeError(
                    f"{owner_label(self)}: output_shape gives size {size} to axis '{letter}' of '{self.equation}', "
                    f"but the input of shape {input_shape} has {known}."
                )
            if size is not None:
                sizes[letter] = size
        missing = [letter for letter in kernel if sizes.get(letter) is None]
        if missing:
            raise ShapeError(
                f"{owner_label(self)}: the size of kernel axis '{missing[0]}' in '{self.equation}' is unknown for an "
                f"input of shape {input_shape} and output_shape {self.output_shape}. Give it a size in one of them."
            )
        hidden = len(input_shape) - len(source.replace("...", ""))
        bias = self._bias_shape(target, sizes)
        if bias is not None and target.endswith("..."):
            bias += (1,) * hidden
        return tuple(sizes[letter] for letter in kernel), bias

    def _bias_shape(self, target: str, sizes: dict[str, Any]) -> tuple | None:
        """The bias' shape: the sizes of its axes, and 1 for the axes of the output between and behind them."""
        if self.bias_axes is None:
            return None
        for letter in self.bias_axes:
            if letter not in target:
                raise ValueError(
                    f"{owner_label(self)}: bias_axes must be letters of the output '{target}', got {self.bias_axes!r}."
                )
        letters = target.replace("...", "")
        first = min(letters.index(letter) for letter in self.bias_axes)
        return tuple(sizes[c] if c in self.bias_axes else 1 for c in letters[first:])

    def call(self, inputs: Any) -> jax.Array:
        """The product, the bias and the activation."""
        x = ops.einsum(self.equation, inputs, self.kernel)
        if self.bias is not None:
            x = ops.add(x, self.bias)
        return self.activation(x)


def _parse(owner: Any, equation: Any) -> tuple[str, str, str]:
    """The terms of the input, the kernel and the output."""
    text = equation.replace(" ", "") if isinstance(equation, str) else ""
    match = re.fullmatch(r"((?:\.\.\.)?[a-zA-Z]+(?:\.\.\.)?),([a-zA-Z]+)->((?:\.\.\.)?[a-zA-Z]+(?:\.\.\.)?)", text)
    if match is None or match[1].count("...") != match[3].count("..."):
        raise ValueError(
            f"{owner_label(owner)}: equation must have the form 'ab,bc->ac' (or '...ab,bc->...ac', 'ab...,bc->ac...'), "
            f"got {describe(equation)}."
        )
    return match[1], match[2], match[3]


def _named_axes(term: str, shape: tuple, owner: Any, what: str) -> list[tuple[str, Any]]:
    """Letter and size of each axis that a term names."""
    letters = term.replace("...", "")
    if len(shape) < len(letters) or ("..." not in term and len(shape) != len(letters)):
        raise ShapeError(
            f"{owner_label(owner)}: {what} must have the {len(letters)} axes of '{term}', got shape {shape}."
        )
    sizes = shape[len(shape) - len(letters) :] if term.startswith("...") else shape[: len(letters)]
    return list(zip(letters, sizes, strict=True))
