"""Batch normalisation behind a convolution or product becomes part of its weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.graph.ir import Instr
from lamina.graph.passes.rewrite import Rewriter

# op -> the axis of its kernel that holds the output's channels (two for a depthwise kernel)
_CHANNELS = {"Conv": (-1,), "MatMul": (-1,), "ConvTranspose": (-2,), "DepthwiseConv": (-2, -1)}


def fold_batch_norm(graph: Any) -> Any:
    """y = BatchNorm(x * K + b) becomes y = x * (K f) + ((b - mean) f + offset), f = scale / sqrt(variance + epsilon).

    The weights must be known and have no other user. Folded weights are no variables any more.

    Example:
        >>> from lamina import Input, Sequential, layers
        >>> from lamina.graph import trace
        >>> model = Sequential([Input((8, 8, 3)), layers.Conv2D(4, 3), layers.BatchNormalization()])
        >>> [i.op for i in fold_batch_norm(trace(model)).instrs]
        ['Conv', 'Add']
    """
    r = Rewriter(graph)
    for instr in list(r.graph.instrs):
        if instr.op == "BatchNorm":
            _fold(r, instr)
    return r.done()


def _fold(r: Rewriter, norm: Instr) -> None:
    x, *values = norm.inputs
    arrays = [r.known(v) for v in values]
    add = r.made_by(x, "Add")
    bias: Any = np.zeros((), x.dtype)
    product = r.made_by(x, *_CHANNELS)
    if add is not None and r.only_use(x):
        for y, other in (add.inputs, add.inputs[::-1]):
            known = r.known(other)
            if known is not None and r.only_use(y) and r.made_by(y, *_CHANNELS) is not None:
                product, bias = r.made_by(y, *_CHANNELS), known
    if product is None or any(a is None for a in arrays) or not r.only_use(product.output):
        return
    kernel = r.known(product.inputs[1])
    channels = norm.inputs[1].shape[0]
    if kernel is None or len(r.users[product.inputs[1]]) > 1 or kernel.ndim < 2:
        return
    if product.op == "MatMul" and kernel.ndim != 2 or bias.size not in (1, channels):
        return
    if len(product.inputs) > 2:
        own = r.known(product.inputs[2])
        if own is None:
            return
        bias = bias + own
    mean, variance, scale, offset = (a.astype(np.float64) for a in arrays)
    factor = scale / np.sqrt(variance + norm.attrs["epsilon"])
    axes = _CHANNELS[product.op]
    shape = [1] * kernel.ndim
    for axis in axes:
        shape[axis] = kernel.shape[axis]
    dtype = kernel.dtype
    folded = r.constant((kernel * factor.reshape(shape)).astype(dtype), f"{product.inputs[1].name}_folded")
    shift = ((bias.reshape(-1) - mean) * factor + offset).astype(dtype)
    name, path = f"{product.output.name}_folded", product.path
    y = r.before(norm, product.op, [product.inputs[0], folded], name, path, **product.attrs)
    r.swap(norm, "Add", [y, r.constant(shift, f"{norm.output.name}_bias")], path)
