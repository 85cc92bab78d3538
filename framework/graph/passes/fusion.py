"""Biases and activations become part of the convolution or product before them, and of its layer."""

from __future__ import annotations

from typing import Any

from lamina.graph.passes.rewrite import Rewriter

WITH_BIAS = ("Conv", "DepthwiseConv", "ConvTranspose")
ACTIVATIONS = {"Relu": "relu", "Relu6": "relu6"}


def fuse_biases(graph: Any) -> Any:
    """Add of a vector of the channels, behind a convolution, becomes the convolution's bias.

    Example:
        >>> from lamina import Input, Sequential, layers
        >>> from lamina.graph import trace
        >>> graph = fuse_biases(trace(Sequential([Input((8, 8, 3)), layers.Conv2D(4, 3)])))
        >>> [(i.op, len(i.inputs)) for i in graph.instrs]
        [('Conv', 3)]
    """
    r = Rewriter(graph)
    for instr in list(r.graph.instrs):
        if instr.op != "Add":
            continue
        for y, bias in (instr.inputs, instr.inputs[::-1]):
            made = r.made_by(y, *WITH_BIAS)
            vector = bias in r.graph.constants and tuple(bias.shape) == (y.shape[-1],) if y.shape else False
            if (
                made is not None
                and vector
                and len(made.inputs) == 2
                and r.only_use(y)
                and "activation" not in made.attrs
            ):
                r.swap(instr, made.op, [*made.inputs, bias], made.path, **made.attrs)
                break
    return r.done()


def fuse_activations(graph: Any) -> Any:
    """Relu and Relu6 behind a convolution become its attribute `activation`.

    Example:
        >>> from lamina import Input, Sequential, layers
        >>> from lamina.graph import trace
        >>> graph = trace(Sequential([Input((8, 8, 3)), layers.Conv2D(4, 3, activation="relu")]))
        >>> [(i.op, i.attrs["activation"]) for i in fuse_activations(fuse_biases(graph)).instrs]
        [('Conv', 'relu')]
    """
    r = Rewriter(graph)
    for instr in list(r.graph.instrs):
        if instr.op not in ACTIVATIONS:
            continue
        y = instr.inputs[0]
        made = r.made_by(y, *WITH_BIAS)
        if made is not None and r.only_use(y) and made.attrs.get("activation", "none") == "none":
            attrs = {**made.attrs, "activation": ACTIVATIONS[instr.op]}
            r.swap(instr, made.op, made.inputs, made.path, **attrs)
    return r.done()


def merge_rows(graph: Any) -> Any:
    """A product of rows that are flattened before it, and put back behind it, becomes a product of more axes.

    For formats that have such products: there is no reshape between them and their biases then.

    Example:
        >>> from lamina import Input, Sequential, layers
        >>> from lamina.graph import trace
        >>> graph = trace(Sequential([Input((6, 5)), layers.Dense(7)]))
        >>> [i.op for i in graph.instrs], [i.op for i in merge_rows(graph).instrs]
        (['Reshape', 'MatMul', 'Reshape', 'Add'], ['MatMul', 'Add'])
    """
    r = Rewriter(graph)
    for instr in list(r.graph.instrs):
        product = r.made_by(instr.inputs[0], "MatMul") if instr.op == "Reshape" else None
        flat = None if product is None else r.made_by(product.inputs[0], "Reshape")
        if product is None or flat is None or not r.only_use(product.output):
            continue
        x, kernel = flat.inputs[0], product.inputs[1]
        if len(flat.output.shape) != 2 or len(kernel.shape) != 2 or r.known(kernel) is None or len(x.shape) < 3:
            continue
        if tuple(instr.output.shape) == (*x.shape[:-1], kernel.shape[1]) and x.shape[-1] == kernel.shape[0]:
            r.swap(instr, "MatMul", [x, kernel], product.path)
    return r.done()
