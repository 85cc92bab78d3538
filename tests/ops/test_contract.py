"""One row an op: eager equals compiled equals symbolic, values equal numpy in float64, gradients equal differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina import ops
from lamina.ops.op import OPS
from lamina.ops.symbol import Symbol

rng = np.random.default_rng(7)
A = rng.uniform(0.2, 0.9, (3, 4)).astype("float32")
B = rng.uniform(1.1, 1.9, (3, 4)).astype("float32")
S = (rng.standard_normal((3, 4)) + np.linspace(-1, 1, 12).reshape(3, 4)).astype("float32")
V = rng.uniform(0.2, 0.9, 6).astype("float32")
T = rng.standard_normal((2, 3, 4)).astype("float32")
I = rng.integers(1, 9, (3, 4)).astype("int32")  # noqa: E741
J = rng.integers(1, 5, (3, 4)).astype("int32")
M = (rng.standard_normal((3, 3)) + 3 * np.eye(3)).astype("float32")
P = (M @ M.T).astype("float32")
N = np.where(rng.random((3, 4)) < 0.3, np.nan, S).astype("float32")
Q = rng.standard_normal((2, 6, 6, 4)).astype("float32")
K = rng.standard_normal((3, 3, 4, 2)).astype("float32")


@dataclass
class Row:
    """How to call an op, and what numpy says. `differentiable` is False for integers, steps and random numbers."""

    args: tuple
    reference: Callable[..., Any] | None = None
    kwargs: dict | None = None
    differentiable: bool = True
    symbolic: bool = True
    jit: bool = True


def flat(*args: Any, reference: Any = None, **kwargs: Any) -> Row:
    return Row(args, reference, kwargs, differentiable=False)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# Names that numpy has too.
SMOOTH = """
    sin cos tanh exp expm1 square negative sinh cosh arctan arcsinh absolute sinc exp2 deg2rad rad2deg fabs
""".split()
POSITIVE = """
    sqrt log log1p log2 log10 cbrt reciprocal arcsin arccos arctanh tan
""".split()
BINARY = """
    add subtract multiply divide true_divide power maximum minimum fmax fmin hypot arctan2 logaddexp logaddexp2
""".split()
STEPS = """
    floor ceil trunc sign signbit isfinite isinf isnan isneginf isposinf isreal
""".split()
WHOLE = """
    floor_divide mod fmod gcd lcm bitwise_and bitwise_or bitwise_xor left_shift right_shift equal not_equal less
    less_equal greater greater_equal logical_and logical_or logical_xor
""".split()
REDUCTIONS = """
    sum mean var std prod max min ptp median amax amin
""".split()
NAN_REDUCTIONS = """
    nansum nanmean nanvar nanstd nanmax nanmin nanprod nanmedian
""".split()


def attention(q, k, v):
    weights = softmax(np.einsum("btd,bsd->bts", q[:, :, 0], k[:, :, 0]) / 2)
    return np.einsum("bts,bsd->btd", weights, v[:, :, 0])[:, :, None]


def standardize(x, epsilon):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)


ROWS: dict[str, Row] = {
    # elementwise, with the function of numpy of the same name
    **{name: Row((S,), getattr(np, name)) for name in SMOOTH},
    **{name: Row((A,), getattr(np, name)) for name in POSITIVE},
    **{name: Row((A, B), getattr(np, name)) for name in BINARY},
    **{name: flat(S, reference=getattr(np, name)) for name in STEPS},
    **{name: flat(I, J, reference=getattr(np, name)) for name in WHOLE},
    "arccosh": Row((B,), np.arccosh),
    "abs": Row((S,), np.abs),
    "rsqrt": Row((A,), lambda x: 1 / np.sqrt(x)),
    "divide_no_nan": Row((A, B), np.divide),
    "round": flat(S, reference=np.round),
    "clip": Row((S, -0.5, 0.5), np.clip),
    "nan_to_num": flat(N, reference=np.nan_to_num),
    "logical_not": flat(I > 3, reference=np.logical_not),
    "bitwise_not": flat(I, reference=np.invert),
    "bitwise_invert": flat(I, reference=np.invert),
    "isclose": flat(A, A + 1e-7, reference=lambda a, b: np.isclose(a, b)),
    "isin": flat(I, np.array([1, 2, 3]), reference=np.isin),
    "heaviside": flat(S, 0.5, reference=np.heaviside),
    # activations
    "relu": Row((S,), lambda x: np.maximum(x, 0)),
    "relu6": Row((4 * S,), lambda x: np.clip(x, 0, 6)),
    "leaky_relu": Row((S,), lambda x: np.where(x > 0, x, 0.2 * x)),
    "elu": Row((S,), lambda x: np.where(x > 0, x, np.expm1(x))),
    "celu": Row((S,), lambda x, alpha: np.where(x > 0, x, 2 * np.expm1(x / 2)), {"alpha": 2.0}),
    "selu": Row((S,), lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x))),
    "gelu": Row((S,), lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))),
    "sigmoid": Row((S,), sigmoid),
    "log_sigmoid": Row((S,), lambda x: np.log(sigmoid(x))),
    "silu": Row((S,), lambda x: x * sigmoid(x)),
    "swish": Row((S,), lambda x: x * sigmoid(x)),
    "softplus": Row((S,), lambda x: np.log1p(np.exp(x))),
    "softsign": Row((S,), lambda x: x / (1 + np.abs(x))),
    "squareplus": Row((S,), lambda x: (x + np.sqrt(x**2 + 4)) / 2),
    "hard_sigmoid": Row((S,), lambda x: np.clip(x + 3, 0, 6) / 6),
    "hard_silu": Row((S,), lambda x: x * np.clip(x + 3, 0, 6) / 6),
    "hard_swish": Row((S,), lambda x: x * np.clip(x + 3, 0, 6) / 6),
    "hard_tanh": Row((S,), lambda x: np.clip(x, -1, 1)),
    "hard_shrink": Row((S,), lambda x: np.where(np.abs(x) > 0.5, x, 0)),
    "soft_shrink": Row((S,), lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0)),
    "tanh_shrink": Row((S,), lambda x: x - np.tanh(x)),
    "threshold": Row((S, 0.2, -1.0), lambda x, t, d: np.where(x > t, x, d)),
    "sparse_plus": Row((S,), lambda x: np.where(x < -1, 0, np.where(x > 1, x, (x + 1) ** 2 / 4))),
    "sparse_sigmoid": Row((S,), lambda x: np.clip((x + 1) / 2, 0, 1)),
    "glu": Row((S,), lambda x: x[:, :2] * sigmoid(x[:, 2:])),
    "softmax": Row((S,), softmax),
    "log_softmax": Row((S,), lambda x: np.log(softmax(x))),
    "sparsemax": Row((S,)),
    # reductions
    **{name: Row((A,), getattr(np, name), {"axis": 1}) for name in REDUCTIONS},
    **{name: Row((A,), getattr(np, name), {"axis": 0}) for name in "cumsum cumprod".split()},
    **{name: flat(N, reference=getattr(np, name)) for name in NAN_REDUCTIONS},
    **{name: flat(A, reference=getattr(np, name), axis=1) for name in "argmax argmin".split()},
    **{name: flat(I > 2, reference=getattr(np, name), axis=0) for name in "all any".split()},
    "logsumexp": Row((S,), lambda x, axis: np.log(np.exp(x).sum(axis)), {"axis": 1}),
    "count_nonzero": flat(I - 2, reference=np.count_nonzero),
    "average": Row((A,), np.average, {"weights": B}),
    "quantile": Row((V, 0.3), np.quantile),
    "percentile": Row((V, 30.0), np.percentile),
    "diff": Row((A,), np.diff),
    "trapezoid": Row((A,), lambda y: ((y[:, 1:] + y[:, :-1]) / 2).sum(-1)),
    "moments": Row((A, [0]), lambda x, axes: (x.mean(0), x.var(0))),
    # shapes
    "reshape": Row((A, (2, -1)), np.reshape),
    "transpose": Row((T, (1, 0, 2)), np.transpose),
    "swapaxes": Row((T, 0, 2), np.swapaxes),
    "moveaxis": Row((T, 0, 2), np.moveaxis),
    "expand_dims": Row((A, 1), np.expand_dims),
    "squeeze": Row((A[:, None], 1), np.squeeze),
    "broadcast_to": Row((A, (2, 3, 4)), np.broadcast_to),
    "concatenate": Row(([A, B],), np.concatenate, {"axis": 1}),
    "stack": Row(([A, B],), np.stack, {"axis": 1}),
    "split": Row((A, 2), np.split, {"axis": 1}),
    "repeat": Row((A, 2), np.repeat, {"axis": 0}),
    "tile": Row((A, (2, 1)), np.tile),
    "flip": Row((A,), np.flip, {"axis": 1}),
    "roll": Row((A, 2), np.roll),
    "rot90": Row((A,), np.rot90),
    "pad": Row((A, ((1, 0), (2, 1))), np.pad, {"mode": "reflect"}),
    "ravel": Row((A,), np.ravel),
    "rearrange": Row((T, "a b c -> c (a b)"), lambda x, _: x.transpose(2, 0, 1).reshape(4, 6)),
    "unstack": Row((A,), list),
    # picking
    "take": Row((A, np.array([2, 0])), np.take, {"axis": 0}),
    "take_along_axis": Row((A, np.array([[1], [0], [3]])), np.take_along_axis, {"axis": 1}),
    "where": Row((I > 3, A, B), np.where),
    "get_item": Row((A, (slice(1, 3), 2)), lambda x, key: x[key]),
    "slice": Row((A, (1, 1), (2, 2)), lambda x, at, size: x[1:3, 1:3]),
    "sort": Row((S,), np.sort),
    "argsort": flat(S, reference=np.argsort),
    "searchsorted": flat(np.sort(V), A, reference=np.searchsorted),
    "digitize": flat(A, np.array([0.3, 0.6], "float32"), reference=np.digitize),
    "top_k": Row((S, 2), lambda x, k: (-np.sort(-x)[:, :k], np.argsort(-x)[:, :k])),
    "diagonal": Row((M,), np.diagonal),
    "trace": Row((M,), np.trace),
    "tril": Row((M,), np.tril),
    "triu": Row((M,), np.triu),
    "diag": Row((V,), np.diag),
    "one_hot": flat(I, 9, reference=lambda x, n: np.eye(n, dtype="float32")[x]),
    "bincount": Row((I.ravel(),), np.bincount, differentiable=False, symbolic=False, jit=False),
    # products
    "matmul": Row((A.T, B), np.matmul),
    "dot": Row((A.T, B), np.dot),
    "vdot": Row((A, B), np.vdot),
    "inner": Row((A, B), np.inner),
    "outer": Row((V, V[:3]), np.outer),
    "tensordot": Row((T, A), np.tensordot),
    "einsum": Row(("ij,ij->i", A, B), np.einsum),
    "kron": Row((A, M), np.kron),
    "cross": Row((M, P), np.cross),
    "correlate": Row((V, V[:3]), lambda a, b: np.correlate(a, b)),
    "corrcoef": Row((A,), np.corrcoef),
    "cdist": Row((A, B), lambda a, b: np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))),
    # linear algebra
    **{name: Row((P,), getattr(np.linalg, name)) for name in "inv det cholesky pinv".split()},
    "solve": Row((M, A), np.linalg.solve),
    "norm": Row((A,), np.linalg.norm),
    "slogdet": Row((P,), lambda x: tuple(np.linalg.slogdet(x))),
    "logdet": Row((P,), lambda x: np.linalg.slogdet(x)[1]),
    "eigh": Row((P,), lambda x: np.linalg.eigh(x)[0], differentiable=False),
    "cholesky_inverse": Row((np.linalg.cholesky(P),), lambda x: np.linalg.inv(x @ x.T)),
    # networks
    "batch_normalization": Row((A, V[:4], V[2:], -1), lambda x, m, v, _: (x - m) / np.sqrt(v + 1e-3)),
    "layer_normalization": Row((S,), standardize, {"epsilon": 1e-3}),
    "rms_normalization": Row((S,), lambda x: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-7)),
    "normalize": Row((S,), lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)),
    "categorical_crossentropy": Row(
        (softmax(B), S), lambda t, x, from_logits: -(t * np.log(softmax(x))).sum(-1), {"from_logits": True}
    ),
    "sparse_categorical_crossentropy": Row(
        (J[:, 0] - 1, S), lambda t, x, from_logits: -np.log(softmax(x))[np.arange(3), t], {"from_logits": True}
    ),
    "binary_crossentropy": Row((B - 1, A), lambda t, p: -t * np.log(p) - (1 - t) * np.log(1 - p)),
    "dot_product_attention": Row((T[:, :, None], T[:, :, None], T[:, :, None]), attention),
    "psnr": Row((A, B, 2.0), lambda a, b, m: 20 * np.log10(m) - 10 * np.log10(((a - b) ** 2).mean())),
    "max_pool": Row((Q, 2), lambda x, _: x.reshape(2, 3, 2, 3, 2, 4).max((2, 4))),
    "average_pool": Row((Q, 2), lambda x, _: x.reshape(2, 3, 2, 3, 2, 4).mean((2, 4))),
    "adaptive_average_pool": Row((Q, 2), lambda x, _: x.reshape(2, 2, 3, 2, 3, 4).mean((2, 4))),
    "adaptive_max_pool": Row((Q, 3), lambda x, _: x.reshape(2, 3, 2, 3, 2, 4).max((2, 4))),
    "conv": Row((Q, K)),
    "conv_transpose": Row((Q[..., :2], K), None, {"strides": 2, "padding": "same"}),
    "depthwise_conv": Row((Q, K)),
    "separable_conv": Row((Q, K, np.ones((1, 1, 8, 3), "float32"))),
    "depth_to_space": Row((Q, 2)),
    "space_to_depth": Row((Q, 2)),
    "unfold": Row((Q, 2)),
    "fold": Row((T.reshape(1, 4, 6), (3, 4), 2)),
    # segments, signals, images
    "segment_sum": Row(
        (A, np.array([0, 1, 0])), lambda x, _, num_segments: np.stack([x[0] + x[2], x[1]]), {"num_segments": 2}
    ),
    "segment_max": Row(
        (A, np.array([0, 1, 0])),
        lambda x, _, num_segments: np.stack([np.maximum(x[0], x[2]), x[1]]),
        {"num_segments": 2},
    ),
    "rfft": Row((A,), lambda x: (np.fft.rfft(x).real, np.fft.rfft(x).imag)),
    "fft": Row(((A, B),), lambda x: (np.fft.fft(x[0] + 1j * x[1]).real, np.fft.fft(x[0] + 1j * x[1]).imag)),
    "stft": Row((np.tile(V, 6), 8, 4, 8)),
    "resize": Row((Q, (3, 8))),
    "gaussian_blur": Row((Q,)),
    "rgb_to_grayscale": Row((Q[..., :3],), lambda x: x @ np.array([[0.2989], [0.587], [0.114]])),
    "sobel_edges": Row((Q,)),
    "ssim": Row((Q, Q * 0.9), None, {"filter_size": 3}),
    "extract_patches": Row((Q, 2)),
    "affine_transform": Row((Q, np.array([1, 0, 0.3, 0, 1, 0.4, 0, 0], "float32")), None, {"fill_mode": "nearest"}),
    "fake_quant_with_min_max_vars": flat(
        Q, -1.27, 1.27, reference=lambda x, *_, **__: np.round(np.clip(x, -1.27, 1.27) * 100) / 100, narrow_range=True
    ),
    "ctc_loss": Row(
        (np.array([[1, 2]]), rng.standard_normal((1, 4, 4)).astype("float32"), np.array([2]), np.array([4]))
    ),
}


def floats(tree):
    return [x for x in jax.tree.leaves(tree) if isinstance(x, np.ndarray) and x.dtype.kind == "f"]


def fill(tree, values):
    it = iter(values)
    return jax.tree.map(lambda x: next(it) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x, tree)


def is_number(x):
    return isinstance(x, (jax.Array, np.ndarray, np.generic, float, int))


@pytest.mark.parametrize("name", ROWS)
def test_contract(name):
    row, op = ROWS[name], OPS[name]
    kwargs = row.kwargs or {}
    given = floats((row.args, kwargs))

    def call(values):
        args, extra = fill((row.args, kwargs), values)
        return op(*args, **extra)

    eager = call(given)
    if row.reference is not None:
        wide = [x.astype("float64") for x in given]
        args, extra = fill((row.args, kwargs), wide)
        wanted = jax.tree.leaves(row.reference(*args, **extra))
        for got, want in zip(jax.tree.leaves(eager)[: len(wanted)], wanted, strict=True):
            np.testing.assert_allclose(np.asarray(got, "float64"), np.asarray(want, "float64"), 2e-4, 2e-5)
    if row.jit:
        compiled = jax.jit(call)(given)
        for got, want in zip(jax.tree.leaves(compiled), jax.tree.leaves(eager), strict=True):
            assert got.dtype == want.dtype
            np.testing.assert_allclose(got, want, 1e-5, 1e-5)
    if row.symbolic:
        args, extra = jax.tree.map(
            lambda x: Symbol(x.shape, str(x.dtype)) if isinstance(x, np.ndarray) else x, (row.args, kwargs)
        )
        symbols = op(*args, **extra)
        is_symbol = lambda x: isinstance(x, Symbol)  # noqa: E731
        for got, want in zip(jax.tree.leaves(symbols, is_leaf=is_symbol), jax.tree.leaves(eager), strict=True):
            assert (got.shape, got.dtype) == (want.shape, str(want.dtype))
    if row.differentiable and given:
        check_gradient(call, given)


def check_gradient(call, given):
    """The slope along a random direction against a central difference."""

    @jax.jit
    def loss(values):
        leaves = [x for x in jax.tree.leaves(call(values)) if jnp.issubdtype(x.dtype, jnp.floating)]
        return sum(jnp.sum(x * jnp.cos(1.7 * jnp.arange(x.size).reshape(x.shape))) for x in leaves)

    gradient = jax.jit(jax.grad(loss))([jnp.asarray(x) for x in given])
    assert all(np.isfinite(g).all() for g in gradient)
    direction = [rng.standard_normal(x.shape).astype("float32") for x in given]
    slope = sum(float(np.vdot(np.asarray(g, "float64"), d)) for g, d in zip(gradient, direction, strict=True))
    step = 2e-3
    ahead, behind = (float(loss([x + s * step * d for x, d in zip(given, direction, strict=True)])) for s in (1, -1))
    scale = sum(float(np.abs(np.asarray(g)).sum()) for g in gradient)
    assert abs((ahead - behind) / (2 * step) - slope) < 0.02 * max(1.0, abs(slope)) + 2e-3 * scale


def test_every_op_of_the_table_is_public():
    for name in ROWS:
        assert hasattr(ops, name) or hasattr(ops.image, name), name
