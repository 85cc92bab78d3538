"""Linear algebra on the last two axes: decompositions, inverses, solutions, norms."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.checks import check_choice
from lamina.ops.control import jvp
from lamina.ops.convert import Tensor, as_float
from lamina.ops.op import op

__all__ = [
    "cholesky",
    "cholesky_inverse",
    "det",
    "eig",
    "eigh",
    "inv",
    "jvp",
    "logdet",
    "lstsq",
    "lu_factor",
    "matrix_rank",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
]


def _matrix(x: Tensor, name: str, square: bool = False) -> jax.Array:
    x = as_float(x)
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        raise ValueError(f"ops.{name}: x must hold {'square ' * square}matrices, got an array of shape {x.shape}.")
    return x


@op(named=True)
def cholesky(x: Tensor, upper: bool = False) -> jax.Array:
    """The lower triangular L with L L^T = x, or the upper triangular U with U^T U = x.

    Example:
        >>> cholesky([[4.0, 0.0], [0.0, 9.0]]).tolist()
        [[2.0, 0.0], [0.0, 3.0]]
    """
    return jnp.linalg.cholesky(_matrix(x, "cholesky", square=True), upper=upper)


@op(named=True)
def cholesky_inverse(x: Tensor, upper: bool = False) -> jax.Array:
    """The inverse of the matrix whose Cholesky factor is `x`.

    Example:
        >>> cholesky_inverse([[2.0, 0.0], [0.0, 1.0]]).tolist()
        [[0.25, 0.0], [0.0, 1.0]]
    """
    x = _matrix(x, "cholesky_inverse", square=True)
    unit = jnp.broadcast_to(jnp.eye(x.shape[-1], dtype=x.dtype), x.shape)
    inverse = jax.scipy.linalg.solve_triangular(x, unit, lower=not upper)
    other = jnp.swapaxes(inverse, -1, -2)
    return inverse @ other if upper else other @ inverse


@op(named=True)
def det(x: Tensor) -> jax.Array:
    """The determinant.

    Example:
        >>> det([[2.0, 0.0], [0.0, 3.0]]).item()
        6.0
    """
    return jnp.linalg.det(_matrix(x, "det", square=True))


@op(named=True)
def slogdet(x: Tensor) -> tuple[jax.Array, jax.Array]:
    """The sign of the determinant and the logarithm of its absolute value.

    Example:
        >>> sign, _ = slogdet([[-1.0]])
        >>> sign.item()
        -1.0
    """
    return tuple(jnp.linalg.slogdet(_matrix(x, "slogdet", square=True)))


@op(named=True)
def logdet(x: Tensor) -> jax.Array:
    """The logarithm of the determinant of a positive definite matrix.

    Example:
        >>> logdet([[1.0]]).item()
        0.0
    """
    return jnp.linalg.slogdet(_matrix(x, "logdet", square=True))[1]


@op(named=True)
def eig(x: Tensor) -> tuple[jax.Array, jax.Array]:
    """Eigenvalues and eigenvectors (as columns), complex as a rule. On CPU only.

    Example:
        >>> eig([[2.0]])[0].tolist()
        [(2+0j)]
    """
    values, vectors = jnp.linalg.eig(_matrix(x, "eig", square=True))
    return values, vectors


@op(named=True)
def eigh(x: Tensor) -> tuple[jax.Array, jax.Array]:
    """Eigenvalues, rising, and eigenvectors (as columns) of a symmetric matrix.

    Example:
        >>> eigh([[2.0, 0.0], [0.0, 1.0]])[0].tolist()
        [1.0, 2.0]
    """
    return tuple(jnp.linalg.eigh(_matrix(x, "eigh", square=True)))


@op(named=True)
def inv(x: Tensor) -> jax.Array:
    """The inverse.

    Example:
        >>> inv([[2.0, 0.0], [0.0, 4.0]]).tolist()
        [[0.5, 0.0], [0.0, 0.25]]
    """
    return jnp.linalg.inv(_matrix(x, "inv", square=True))


@op(named=True)
def pinv(x: Tensor, rcond: float | None = None) -> jax.Array:
    """The Moore-Penrose inverse.

    Args:
        x: a matrix.
        rcond: singular values below this share of the largest count as 0.

    Example:
        >>> pinv([[2.0], [0.0]]).round(3).tolist()
        [[0.5, 0.0]]
    """
    return jnp.linalg.pinv(_matrix(x, "pinv"), rtol=rcond)


@op(named=True)
def lu_factor(x: Tensor) -> tuple[jax.Array, jax.Array]:
    """The LU decomposition: both triangles in one matrix, and the rows exchanged at each step.

    Example:
        >>> lu_factor([[1.0, 0.0], [0.0, 1.0]])[1].tolist()
        [0, 1]
    """
    return tuple(jax.scipy.linalg.lu_factor(_matrix(x, "lu_factor", square=True)))


@op(named=True)
def qr(x: Tensor, mode: str = "reduced") -> tuple[jax.Array, jax.Array]:
    """An orthogonal Q and an upper triangular R with Q R = x.

    Args:
        x: a matrix.
        mode: `"reduced"` or `"complete"` (a square Q).

    Example:
        >>> q, r = qr([[1.0], [0.0]], "complete")
        >>> q.shape, r.shape
        ((2, 2), (2, 1))
    """
    check_choice("ops.qr", "mode", mode, ["reduced", "complete"])
    return tuple(jnp.linalg.qr(_matrix(x, "qr"), mode))


@op(named=True)
def svd(x: Tensor, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """The singular value decomposition: U, the singular values, falling, and V^T.

    Args:
        x: a matrix.
        full_matrices: whether U and V are square.
        compute_uv: False returns the singular values alone.

    Example:
        >>> svd([[3.0, 0.0], [0.0, 4.0]], compute_uv=False).tolist()
        [4.0, 3.0]
    """
    out = jnp.linalg.svd(_matrix(x, "svd"), full_matrices, compute_uv)
    return tuple(out) if compute_uv else out


@op(named=True)
def solve(a: Tensor, b: Tensor) -> jax.Array:
    """The x with a x = b; `b` holds one column or several.

    Example:
        >>> solve([[2.0, 0.0], [0.0, 4.0]], [2.0, 2.0]).tolist()
        [1.0, 0.5]
    """
    a, b = _matrix(a, "solve", square=True), as_float(b)
    if b.ndim == a.ndim - 1:
        return jnp.linalg.solve(a, b[..., None])[..., 0]
    return jnp.linalg.solve(a, b)


@op(named=True)
def solve_triangular(a: Tensor, b: Tensor, lower: bool = False) -> jax.Array:
    """The x with a x = b, for a triangular `a`; the other triangle is not read.

    Example:
        >>> solve_triangular([[2.0, 0.0], [0.0, 4.0]], [2.0, 2.0]).tolist()
        [1.0, 0.5]
    """
    a, b = _matrix(a, "solve_triangular", square=True), as_float(b)
    if b.ndim == a.ndim - 1:
        return jax.scipy.linalg.solve_triangular(a, b[..., None], lower=lower)[..., 0]
    return jax.scipy.linalg.solve_triangular(a, b, lower=lower)


@op(named=True)
def lstsq(a: Tensor, b: Tensor, rcond: float | None = None) -> jax.Array:
    """The x that makes the sum of squares of a x - b smallest.

    Args:
        a: a matrix.
        b: one column or several.
        rcond: singular values below this share of the largest count as 0.

    Example:
        >>> lstsq([[1.0], [1.0]], [1.0, 3.0]).round(3).tolist()
        [2.0]
    """
    return jnp.linalg.lstsq(_matrix(a, "lstsq"), as_float(b), rcond)[0]


@op(named=True)
def matrix_rank(x: Tensor, tol: float | None = None) -> jax.Array:
    """The number of singular values that are not 0.

    Args:
        x: a matrix.
        tol: singular values of at most this size count as 0; a bound from the dtype by default.

    Example:
        >>> matrix_rank([[1.0, 1.0], [1.0, 1.0]]).item()
        1
    """
    x = _matrix(x, "matrix_rank")
    if tol is None:
        return jnp.linalg.matrix_rank(x)
    return jnp.sum(jnp.linalg.svd(x, compute_uv=False) > tol, axis=-1)


@op(named=True)
def norm(x: Tensor, ord: Any = None, axis: Any = None, keepdims: bool = False) -> jax.Array:
    """The norm of vectors or matrices.

    Args:
        x: an array.
        ord: 1, 2, inf or another number; `"fro"` or `"nuc"` for matrices; None for the root of the sum of squares.
        axis: one axis for vectors, two for matrices, None for all.
        keepdims: whether reduced axes stay with size 1.

    Example:
        >>> norm([3.0, 4.0]).item()
        5.0
    """
    return jnp.linalg.norm(as_float(x), ord, tuple(axis) if isinstance(axis, list) else axis, keepdims)
