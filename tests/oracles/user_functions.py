"""Functions as users write them in jax.numpy, jax.nn and jax.lax, in the formats' own runtimes.

    python tests/oracles/user_functions.py [--only NAME ...] [--formats NAME ...] [--python-of RUNTIME=PYTHON ...]

PYTHON is an interpreter that has the runtime: tensorflow, onnxruntime, litert (the package ai-edge-litert). Each
function is written as a SavedModel, ONNX and TFLite file, and must compute there what jax does; what a format cannot
express must be told before a file is written, and is in `UNABLE`. Prints a table of the errors, relative to the largest
element. The exit status is 1 if something is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from matrix import COLUMNS, Cell, measure, run

from lamina import export
from lamina.export import ExportError
from lamina.graph import trace

FORMATS = ("saved_model", "onnx_float32", "tflite_float32")
LIMIT = 1e-5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4, 5)).astype("float32") * 3
Y = RNG.normal(size=(3, 5, 2)).astype("float32")
IMAGE = RNG.normal(size=(2, 9, 8, 4)).astype("float32")
ROWS = RNG.normal(size=(6, 4)).astype("float32")
PLACES = RNG.integers(0, 5, size=(3, 4, 2)).astype("int32")
ORDER = RNG.permutation(60).reshape(3, 4, 5).astype("int32")
KERNEL = RNG.normal(size=(3, 3, 4, 6)).astype("float32")
GROUPED = RNG.normal(size=(3, 3, 2, 6)).astype("float32")
LINE = RNG.normal(size=(3, 4, 6)).astype("float32")
WEIGHTS = RNG.normal(size=(4, 4)).astype("float32") * 0.5
NARROW = RNG.normal(size=(5, 3)).astype("float32")
BYTES = RNG.integers(0, 127, size=(5, 6))
NHWC = ("NHWC", "HWIO", "NHWC")


def convolved(x: Any, kernel: Any = KERNEL, **options: Any) -> Any:
    settings = {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": NHWC, **options}
    return lax.conv_general_dilated(x, kernel, **settings)


def pooled(reducer: Any, start: float, zeros: int, window: int, x: Any) -> Any:
    """Zeros behind a convolution, and a pool behind them, which must not take them for its own padding."""
    x = jnp.pad(convolved(x), ((0, 0), (zeros, zeros), (zeros, zeros), (0, 0)))
    return lax.reduce_window(x, start, reducer, (1, window, window, 1), (1, 2, 2, 1), "VALID")


def switched(x: Any) -> Any:
    index = jnp.sum(x > 0).astype("int32") % 3
    return lax.switch(index, [lambda v: v * 2, lambda v: jnp.tanh(v), lambda v: -v], x)


def halved(x: Any) -> Any:
    """A loop that ends by what it computes."""
    return lax.while_loop(lambda s: jnp.sum(s[0] ** 2) > 1, lambda s: (s[0] / 2, s[1] + 1), (x, 0))


def arithmetic(i: Any) -> Any:
    """Integers, which wrap around; their order, sums and squares."""
    j = i[::-1]
    moved = (jnp.pad(i, 1), i[:, np.array([1, 0])], jnp.flip(i, 1), *jnp.split(i, 2, axis=1))
    chosen = (jnp.maximum(i, j), jnp.where(i > j, i, j), jnp.argmax(i, 1), jnp.max(i, 0), jnp.sort(i, 1))
    return (i + j, i - j, i * 3, i // 2, i % 3, jnp.square(i), jnp.sum(i, 0), jnp.cumsum(i, 0), i != j, *chosen, *moved)


def recurrent(x: Any) -> Any:
    def step(state: Any, row: Any) -> Any:
        state = jnp.tanh(row + state @ WEIGHTS)
        return state, state

    return lax.scan(step, jnp.zeros(4), x)


Entry = tuple[Callable[..., Any], list[np.ndarray]]
FUNCTIONS: dict[str, Entry] = {
    **{
        name: (getattr(jax.nn, name), [X])
        for name in (
            "selu elu celu silu softplus hard_swish relu6 leaky_relu log_softmax softmax standardize logsumexp relu "
            "sigmoid soft_sign hard_sigmoid hard_tanh mish log_sigmoid squareplus sparse_plus"
        ).split()
    },
    "gelu_tanh": (lambda x: jax.nn.gelu(x, approximate=True), [X]),
    "gelu_erf": (lambda x: jax.nn.gelu(x, approximate=False), [X]),
    "elu_alpha": (lambda x: jax.nn.elu(x, 0.3), [X]),
    "celu_alpha": (lambda x: jax.nn.celu(x, 2.0), [X]),
    "leaky_relu_slope": (lambda x: jax.nn.leaky_relu(x, 0.3), [X]),
    "glu": (lambda x: jax.nn.glu(x, axis=1), [X]),
    "softmax_axis": (lambda x: jax.nn.softmax(x, axis=1), [X]),
    "softmax_where": (lambda x: jax.nn.softmax(x, where=x > -1), [X]),
    "log_softmax_axis": (lambda x: jax.nn.log_softmax(x, axis=0), [X]),
    "logsumexp_axes": (lambda x: jax.nn.logsumexp(x, axis=(0, 2), keepdims=True), [X]),
    "logsumexp_weights": (lambda x, y: jax.scipy.special.logsumexp(x, axis=1, b=jnp.abs(y)), [X, X * 0.5]),
    "standardize_axes": (lambda x: jax.nn.standardize(x, axis=(0, 1)), [X]),
    "one_hot": (lambda i: jax.nn.one_hot(i[..., 0], 5), [PLACES]),
    "clip": (lambda x: jnp.clip(x, -0.5, 1.5), [X]),
    "clip_arrays": (lambda x: jnp.clip(x, -jnp.ones(5), jnp.arange(5.0)), [X]),
    "where": (lambda x: jnp.where(x > 0, x, jnp.exp(x)), [X]),
    "where_broadcast": (lambda x: jnp.where(x[:, :1] > 0, x, 7.0), [X]),
    "einsum_batched": (lambda x, y: jnp.einsum("bij,bjk->bik", x, y), [X, Y]),
    "einsum_transposed": (lambda x, y: jnp.einsum("bij,bjk->kbi", x, y), [X, Y]),
    "einsum_outer": (lambda x, y: jnp.einsum("bij,bkl->bikjl", x, y), [X, Y]),
    "einsum_sums": (lambda x: jnp.einsum("bij->j", x), [X]),
    "einsum_diagonal": (lambda x: jnp.einsum("ii->i", x @ WEIGHTS[:, :4] @ x.T), [ROWS]),
    "einsum_heads": (lambda x: jnp.einsum("btd,bsd->bts", x, x), [X]),
    "einsum_three": (lambda x, y: jnp.einsum("bij,bjk,bil->kl", x, y, x), [X, Y]),
    "einsum_weights": (lambda x: jnp.einsum("...d,de->...e", x, NARROW), [X]),
    "tensordot": (lambda x, y: jnp.tensordot(x, y, axes=((0, 2), (0, 1))), [X, Y]),
    "take_along_axis": (lambda x, i: jnp.take_along_axis(x, i, axis=2), [X, PLACES]),
    "take_along_first": (lambda x, i: jnp.take_along_axis(x, i % 3, axis=0), [X, ORDER]),
    "take": (lambda x: jnp.take(x, np.array([3, 0, -1]), axis=1), [X]),
    "cumsum": (lambda x: jnp.cumsum(x, axis=1), [X]),
    "cumsum_flat": (lambda x: jnp.cumsum(x), [X]),
    "cumprod": (lambda x: jnp.cumprod(x, axis=2), [X / 3]),
    "cummax": (lambda x: lax.cummax(x, axis=1), [X]),
    "cumlogsumexp": (lambda x: lax.cumlogsumexp(x, axis=1), [X]),
    "sort": (lambda x: jnp.sort(x, axis=-1), [X]),
    "sort_axis": (lambda x: jnp.sort(x, axis=1), [X]),
    "sort_down": (lambda x: jnp.sort(x, axis=-1, descending=True), [X]),
    "argsort": (lambda x: jnp.argsort(x, axis=-1), [X]),
    "argsort_axis": (lambda x: jnp.argsort(x, axis=0), [X]),
    "argsort_down": (lambda x: jnp.argsort(x, descending=True), [X]),
    "sort_integers": (lambda i: jnp.sort(i, axis=-1), [ORDER]),
    "sort_two": (lambda x, i: lax.sort((i, x), dimension=2, num_keys=1), [X, ORDER]),
    "top_k": (lambda x: lax.top_k(x, 2), [X]),
    "argmax": (lambda x: (jnp.argmax(x, 1), jnp.argmin(x, 2)), [X]),
    "median": (lambda x: jnp.median(x, axis=2), [X]),
    "quantile": (lambda x: jnp.quantile(x, 0.3, axis=1), [X]),
    "roll": (lambda x: jnp.roll(x, 2, axis=1), [X]),
    "roll_axes": (lambda x: jnp.roll(x, (1, -2), axis=(0, 2)), [X]),
    "roll_flat": (lambda x: jnp.roll(x, 7), [X]),
    **{
        f"pad_{mode}": (lambda x, mode=mode: jnp.pad(x, ((0, 0), (2, 1), (0, 3)), mode=mode), [X])
        for mode in ("constant", "edge", "reflect", "symmetric", "wrap", "linear_ramp", "maximum", "mean", "minimum")
    },
    "pad_value": (lambda x: jnp.pad(x, 1, constant_values=2.5), [X]),
    "pad_lax": (lambda x: lax.pad(x, 1.0, ((0, 0, 0), (1, 2, 1), (-1, 0, 2))), [X]),
    "conv": (convolved, [IMAGE]),
    "conv_strided": (lambda x: convolved(x, window_strides=(2, 3), padding="VALID"), [IMAGE]),
    "conv_padded": (lambda x: convolved(x, padding=((1, 2), (0, 3))), [IMAGE]),
    "conv_dilated": (lambda x: convolved(x, rhs_dilation=(2, 3)), [IMAGE]),
    "conv_grouped": (lambda x: convolved(x, GROUPED, feature_group_count=2), [IMAGE]),
    "conv_depthwise": (
        lambda x: convolved(x, KERNEL[:, :, :1].repeat(2, -1)[..., :8], feature_group_count=4),
        [IMAGE],
    ),
    "conv_input_dilated": (lambda x: convolved(x, lhs_dilation=(2, 2), padding=((1, 2), (2, 1))), [IMAGE]),
    "conv_transpose": (lambda x: lax.conv_transpose(x, KERNEL, (2, 2), "SAME", dimension_numbers=NHWC), [IMAGE]),
    "conv_transpose_valid": (
        lambda x: lax.conv_transpose(x, KERNEL, (2, 3), "VALID", dimension_numbers=NHWC),
        [IMAGE],
    ),
    "conv_channels_first": (
        lambda x: lax.conv_general_dilated(jnp.moveaxis(x, -1, 1), KERNEL.transpose(3, 2, 0, 1), (1, 1), "SAME"),
        [IMAGE],
    ),
    "conv_line": (
        lambda x: lax.conv_general_dilated(x, LINE, (2,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")),
        [IMAGE[:, :, 0]],
    ),
    "conv_of_values": (lambda x, k: convolved(x, k), [IMAGE, KERNEL]),
    "max_pool": (
        lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "SAME"),
        [IMAGE],
    ),
    "zeros_before_a_greatest": (lambda x: pooled(lax.max, -jnp.inf, 1, 3, x), [IMAGE - 9]),
    "many_zeros_before_a_sum": (lambda x: pooled(lax.add, 0.0, 3, 2, x), [IMAGE - 9]),
    "sum_pool": (lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 3, 3, 1), (1, 1, 1, 1), "VALID"), [IMAGE]),
    "scan": (recurrent, [ROWS]),
    "scan_reverse": (lambda x: lax.scan(lambda s, r: (s * 0.5 + r, s), jnp.ones(4), x, reverse=True), [ROWS]),
    "scan_counted": (lambda x: lax.scan(lambda s, _: (s * 0.9, jnp.sum(s)), x, None, length=5), [ROWS]),
    "fori_loop": (lambda x: lax.fori_loop(0, 5, lambda i, s: s * 0.5 + i, x), [X]),
    "fori_rows": (lambda x: lax.fori_loop(0, 6, lambda i, s: s.at[i].set(x[i] * i), jnp.zeros((6, 4))), [ROWS]),
    "while_loop": (halved, [ROWS]),
    "cond": (lambda x: lax.cond(jnp.sum(x) > 0, jnp.tanh, lambda v: v * 3, x), [X]),
    "cond_other": (lambda x: lax.cond(jnp.sum(x) > 0, jnp.tanh, lambda v: v * 3, x), [-X]),
    "switch": (switched, [X]),
    "map": (lambda x: lax.map(lambda row: jnp.outer(row, row), x), [ROWS]),
    "vmap": (lambda x: jax.vmap(lambda row: row @ WEIGHTS @ row)(x), [ROWS]),
    "gradient": (lambda x: jax.grad(lambda v: jnp.sum(jnp.sin(v) * v**2))(x), [X]),
    "associative_scan": (lambda x: lax.associative_scan(jnp.add, x), [ROWS]),
    "set_rows": (lambda x: x.at[np.array([0, 2])].set(1.5), [ROWS]),
    "add_at": (lambda x: x.at[np.array([0, 2, 0])].add(1.5), [ROWS]),
    "dynamic_slice": (lambda x, i: lax.dynamic_slice(x, (i[0], 1), (2, 2)), [ROWS, np.int32([2])]),
    "index_by_values": (lambda x, i: x[i[:, 0, 0]], [ROWS, PLACES]),
    "unique_ops": (lambda x: (jnp.floor(x), jnp.sign(x), jnp.round(x), jnp.fmod(x, 2.0), x % 2.0), [X]),
    "statistics": (lambda x: (jnp.var(x, 1), jnp.std(x, (0, 2)), jnp.ptp(x, 1), jnp.linalg.norm(x, axis=2)), [X]),
    "any_all": (lambda x: (jnp.any(x > 5, 1), jnp.all(x > -5, 2), jnp.count_nonzero(x > 0, 1)), [X]),
    "trigonometry": (lambda x: (jnp.arctan2(x, x + 5), jnp.hypot(x, 2.0), jnp.sinc(x), jnp.log1p(x**2)), [X]),
    "power": (lambda x: (jnp.abs(x) ** 1.7, x**3, 2.0**x, jnp.cbrt(x)), [X]),
    "meshgrid": (lambda x: sum(jnp.meshgrid(x[:, 0], x[0])), [ROWS]),
    "triangle": (lambda x: (jnp.tril(x, -1), jnp.triu(x)), [ROWS]),
    "kron": (lambda x: jnp.kron(x[:2], WEIGHTS), [ROWS]),
    "stacks": (lambda x: jnp.concatenate([jnp.stack([x, x], 1).reshape(6, 8), jnp.repeat(x, 2, 1)], 0), [ROWS]),
    "split": (lambda x: jnp.split(x, [1, 3], axis=2), [X]),
    "flips": (lambda x: (jnp.flip(x, 1), jnp.rot90(x), jnp.swapaxes(x, 0, 2)), [X]),
    "digitize": (lambda x: jnp.searchsorted(jnp.array([-1.0, 0.0, 1.0]), x), [X]),
    "nan_to_num": (lambda x: jnp.nan_to_num(jnp.log(x)), [X]),
    **{f"integers_{t}": (arithmetic, [BYTES.astype(t)]) for t in ("int8", "uint8", "int16", "int32")},
    "fft": (lambda x: jnp.abs(jnp.fft.rfft(x)), [X]),
    "solve": (lambda x: jnp.linalg.solve(x[:4] + 5 * jnp.eye(4), x[:4]), [ROWS]),
    "random": (lambda x: x + jax.random.normal(jax.random.key(0), x.shape), [X]),
}
UNABLE: dict[Any, str] = {
    "cumlogsumexp": "cumlogsumexp: a primitive of jax outside of the table of ops",
    "fft": "fft: a primitive of jax outside of the table of ops",
    "solve": "lu: a primitive of jax outside of the table of ops",
    "random": "random_bits: a primitive of jax outside of the table of ops",
    ("integers_uint8", "saved_model"): "Sort: sorting uint8 has no counterpart",
    ("digitize", "tflite_float32"): "Div: TFLite computes it of floats, int32, not of uint32",
}
"""What all formats, or one, cannot express, with a part of the reason that must be given."""


def write(name: str, column: str, folder: Path) -> Cell:
    """Writes a function in a format, with its inputs and what jax computes."""
    fn, arrays = FUNCTIONS[name]
    kind, cell, place = COLUMNS[column], Cell(name, column, reason="not run"), folder / column
    graph = trace(fn, *arrays)
    wanted = [np.asarray(y) for y in jax.tree.leaves(fn(*map(jnp.asarray, arrays)))]
    np.savez(folder / f"{name}.1.npz", **dict(zip(graph.output_names, wanted, strict=True)))
    path = place / f"{name}{kind.suffix}"
    try:
        cell.bytes = export.save(graph, None, path, format=kind.format).bytes
    except ExportError as error:
        cell.reason = "; ".join(dict.fromkeys(f"{gap.op}: {gap.reason}" for gap in error.gaps))
        if path.exists():
            cell.reason = f"a file was written, though: {cell.reason}"
        return cell
    np.savez(place / f"{name}.1.in.npz", **dict(zip(graph.input_names, arrays, strict=True)))
    (place / f"{name}.names.json").write_text(json.dumps({"inputs": graph.input_names, "outputs": graph.output_names}))
    return cell


def wrong(cell: Cell) -> str:
    """What is wrong with a cell, if something is."""
    expected = UNABLE.get(cell.model) or UNABLE.get((cell.model, cell.column))
    if cell.error is None:
        return "" if cell.reason == "not run" or expected and expected in cell.reason else cell.reason
    if expected is not None:
        return f"works now, though it is expected not to: {expected}"
    return "" if cell.error <= LIMIT else f"error {cell.error:.1e}, allowed {LIMIT:.0e}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(FUNCTIONS), choices=FUNCTIONS, metavar="NAME")
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=FORMATS)
    parser.add_argument("--python-of", nargs="+", action="extend", default=[], metavar="RUNTIME=PYTHON")
    args = parser.parse_args()
    pythons = dict(pair.split("=", 1) for pair in args.python_of)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for column in args.formats:
            (folder / column).mkdir()
        cells: list[Cell] = []
        for name in args.only:
            for column in args.formats:
                try:
                    cells.append(write(name, column, folder))
                except Exception as error:  # noqa: BLE001 - whatever goes wrong is a cell of the table
                    said = " ".join(str(error).split())
                    cells.append(Cell(name, column, reason=f"{type(error).__name__}: {said}"))
        run(args.formats, pythons, folder)
        for cell in cells:
            if cell.reason == "not run" and COLUMNS[cell.column].runtime in pythons:
                measure(cell, folder)
    found = {(c.model, c.column): c for c in cells}
    print(f"{'':<22}" + "".join(f"{f:>16}" for f in args.formats))
    for name in args.only:
        row = (found[name, f] for f in args.formats)
        print(f"{name:<22}" + "".join(f"{'-' if c.error is None else f'{c.error:.0e}':>16}" for c in row))
    bad = [f"WRONG {c.model}, {c.column}: {text}" for c in cells if (text := wrong(c))]
    print(*(f"{c.model}, {c.column}: {c.reason}" for c in cells if c.error is None and c.reason != "not run"), sep="\n")
    print(f"{len(args.only)} functions, {sum(c.error is not None for c in cells)} cells run, {len(bad)} wrong")
    print(*bad, sep="\n")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
