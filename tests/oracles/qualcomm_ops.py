"""Single ops on Qualcomm's simulator: those that it refuses, or computes wrong, unless they are written as others.

    VENV/bin/python tests/oracles/qualcomm_ops.py [--only NAME ...] [--plain]

VENV holds lamina with its extra `qualcomm`. Each graph is written as .dlc in floats and in int8, and its ONNX form is
run on the simulator: the error, relative to the largest output, must be one of rounding. With --plain they are written
as they are, which shows what is wrong or refused without `lamina.export.qualcomm.lowering`. The exit status is 1 if one
fails.

Found so, with onnxruntime-qnn 2.7.0 and floats (integers are right, but for means of windows of 1 x n, and of zeros):

- Conv, DepthwiseConv: strides of 2 and a side of the kernel above 8 give numbers that belong to nothing, depending on
  the channels and on what stands before; strides of 1 and 3, and kernels to 8, are right.
- AveragePool: where padding is not counted, wrong for most sizes, and for some the process ends. Where it is counted,
  which ONNX Runtime makes of zeros in front of it, wrong for windows of 1 x n, 2 x 2 with strides, and 8 x 8. Without
  padding right.
- Conv padded by its kernel's size or more: wrong. ONNX Runtime makes such of zeros in front of it.
- MaxPool behind zeros: ONNX Runtime makes them its padding, as if they were smaller than all else.
- LayerNormalization over several axes, ops of one operand on 5 axes, MaxPool of 3 axes, Atanh, Sinh, Softsign, Scan,
  If: refused.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import Input, Model, export, layers, ops
from lamina.export import ExportError
from lamina.export.qualcomm import writer

LIMITS = {"float32": 1e-2, "int8": 0.1}
WRONG = {("selu", "int8"): 0.3}
"""(op, precision) that the simulator computes wrong, with the least error: a number times integers of which none stands
for more than 0, where ONNX Runtime's own processor is right. Such a file is written with a warning."""
SIMULATOR = "simulator: largest error"


def layer(made: Any, *shape: int) -> Any:
    """A model of layers."""
    x = y = Input(shape)
    for one in made if isinstance(made, list) else [made]:
        y = one(y)
    return Model(x, y)


def steps(x: Any) -> Any:
    """A loop with a state and with rows that are stacked up."""
    state, rows = jax.lax.scan(lambda s, r: (jnp.tanh(s + r), s * r), x[:, 0], jnp.swapaxes(x, 0, 1), reverse=True)
    return jnp.swapaxes(rows, 0, 1) + state[:, None]


def branches(x: Any) -> Any:
    """A choice of one of two functions."""
    return jax.lax.cond(jnp.sum(x) > 0, lambda v: v * 2, jnp.tanh, x)


def zeros(sides: Any, made: Any) -> Any:
    """A layer behind zeros, behind a convolution."""
    return layer([layers.Conv2D(20, 1), layers.ZeroPadding2D(sides), made], 24, 24, 3)


OPS: dict[str, tuple[Callable[[], Any] | Callable[[Any], Any], tuple[int, ...]]] = {
    "conv_10x4": (lambda: layer(layers.Conv2D(24, (10, 4), 2, "same"), 49, 10, 1), ()),
    "conv_9x9": (lambda: layer(layers.Conv2D(24, 9, 2), 32, 32, 40), ()),
    "conv_11x11_relu": (lambda: layer(layers.Conv2D(8, 11, 2, activation="relu"), 33, 47, 3), ()),
    "conv_7x7": (lambda: layer(layers.Conv2D(24, 7, 2, "same"), 33, 47, 3), ()),
    "depthwise_9x9": (lambda: layer(layers.DepthwiseConv2D(9, 2, "same"), 32, 32, 32), ()),
    "mean_3x3": (lambda: layer(layers.AveragePooling2D(3, 1, "same"), 12, 12, 28), ()),
    "mean_3x3_strides": (lambda: layer(layers.AveragePooling2D(3, 2, "same"), 24, 24, 20), ()),
    "mean_2x2": (lambda: layer(layers.AveragePooling2D(2, 1, "same"), 12, 12, 3), ()),
    "mean_3x1": (lambda: layer(layers.AveragePooling2D((3, 1), 1, "same"), 33, 17, 8), ()),
    "mean_8x8": (lambda: layer(layers.AveragePooling2D(8, 4, "same"), 64, 64, 8), ()),
    "mean_without_padding": (lambda: layer(layers.AveragePooling2D(), 24, 24, 20), ()),
    "mean_of_rows": (lambda: layer(layers.AveragePooling1D(3, 2, "same"), 32, 20), ()),
    "zeros_mean": (lambda: zeros((0, 1), layers.AveragePooling2D((1, 3), 1)), ()),
    "zeros_max": (lambda: zeros(1, layers.MaxPooling2D(2)), ()),
    "zeros_conv": (lambda: zeros(3, layers.Conv2D(16, 3)), ()),
    "zeros_mean_2x2": (lambda: zeros(1, layers.AveragePooling2D()), ()),
    "zeros_conv_of_input": (lambda: layer([layers.ZeroPadding2D(3), layers.Conv2D(16, 3)], 24, 24, 20), ()),
    "layer_norm": (lambda: layer(layers.LayerNormalization(axis=(1, 2, 3)), 14, 14, 8), ()),
    "max_of_cubes": (lambda: layer(layers.MaxPooling3D(3, 2, "same"), 9, 8, 8, 4), ()),
    "softplus_of_cubes": (ops.softplus, (1, 4, 4, 4, 3)),
    "sqrt_of_cubes": (lambda x: jnp.sqrt(jnp.abs(x)), (1, 4, 4, 4, 3)),
    "log1p": (lambda x: jnp.log1p(jnp.abs(x)), (1, 64)),
    "expm1": (jnp.expm1, (1, 64)),
    "selu": (jax.nn.selu, (1, 64)),
    "atanh": (lambda x: jnp.arctanh(jnp.tanh(x) / 2), (1, 64)),
    "softsign": (ops.softsign, (1, 64)),
    "scan": (steps, (1, 5, 8)),
    "cond": (branches, (1, 8)),
}


def check(name: str, precision: str, folder: Path) -> float | str:
    """The error of an op, or why it cannot be written or run."""
    fn, shape = OPS[name]
    net, specs = (fn, [jax.ShapeDtypeStruct(shape, np.float32)]) if shape else (fn(), None)  # type: ignore[call-arg]
    given = shape or (1, *net.inputs[0].shape[1:])
    data = [np.random.default_rng(0).normal(size=given).astype(np.float32)]
    options = {"format": "dlc", "precision": precision, "representative_data": data}
    try:
        report = export.save(net, specs, folder / f"{name}.dlc", **options)
    except ExportError as error:
        return "; ".join(str(gap) for gap in error.gaps)
    return report.measured.get(SIMULATOR, report.measured.get("simulator", "not run"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], choices=OPS, metavar="NAME", help=", ".join(OPS))
    parser.add_argument("--plain", action="store_true", help="write the ops as they are")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.plain:
        writer.lowered = lambda graph, floats: graph
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in args.only or OPS:
            cells = []
            for precision, limit in LIMITS.items():
                found = check(name, precision, Path(folder))
                least = WRONG.get((name, precision))
                right = isinstance(found, float) and (found <= limit if least is None else found > least)
                wrong += not right
                cells.append(("" if right else "WRONG ") + (f"{found:.1e}" if isinstance(found, float) else found))
            print(f"{name:<22}{'  '.join(cells)}", flush=True)
    print(f"{len(args.only or OPS)} ops, {wrong} wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
