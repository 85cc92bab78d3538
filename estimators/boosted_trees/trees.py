"""Trees as arrays, and what they say of rows: sums of leaf values, contributions of features, importances, text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamina.estimators.boosted_trees.binning import Feature

WORD = 32
LEAF = -1


class Trees(NamedTuple):
    """Trees as arrays, (rounds, outputs, nodes) in front; node 0 is the root, a right child follows the left one.

    Args:
        feature: the number of the feature that a node splits by; -1 for a leaf.
        threshold: a number goes left if it is at most this.
        missing_left: whether a missing value goes left.
        left: the number of the left child.
        value: what a leaf adds to the logit; inner nodes have the value they had as a leaf.
        gain: twice what the split lowers the mean loss by.
        cover: the sum of second derivatives in the node.
        categories: bits of the categories that go left, (..., words); words is 0 if all features are numbers.
    """

    feature: Any
    threshold: Any
    missing_left: Any
    left: Any
    value: Any
    gain: Any
    cover: Any
    categories: Any


def empty_trees(shape: tuple[int, ...], words: int, numpy: Any = np) -> Trees:
    """Trees of the shape (..., nodes) that are one leaf of value 0 each."""

    def full(value: Any, dtype: str) -> Any:
        return numpy.full(shape, value, dtype)

    return Trees(
        full(LEAF, "int32"),
        full(0, "float32"),
        full(False, "bool"),
        full(0, "int32"),
        full(0, "float32"),
        full(0, "float32"),
        full(0, "float32"),
        numpy.zeros((*shape, words), "uint32"),
    )


def sends_all_left(trees: Trees) -> Any:
    """Which nodes ask nothing: they take one more step for all of their rows."""
    return (trees.threshold == np.inf) & trees.missing_left


def words_for(features: Sequence[Feature]) -> int:
    """How many words of 32 bits hold a set of the categories of any feature."""
    return -(-max((f.categories for f in features), default=0) // WORD)


def next_nodes(tree: Trees, X: Any, node: Any) -> jax.Array:
    """The child that each row goes to; a leaf stays.

    Shape:
        tree (nodes,), X (rows, features), node (rows,) -> (rows,)
    """
    feature = tree.feature[node]
    x = jnp.take_along_axis(X, jnp.maximum(feature, 0)[:, None], axis=1)[:, 0]
    left, missing = x <= tree.threshold[node], jnp.isnan(x)
    words = tree.categories.shape[-1]
    if words:
        bits = tree.categories[node]
        known = (x >= 0) & (x < words * WORD)
        number = jnp.where(known, x, 0).astype(jnp.int32)
        word = jnp.take_along_axis(bits, (number // WORD)[:, None], axis=1)[:, 0]
        inside = (word >> (number % WORD).astype(jnp.uint32)) & 1
        by_category = jnp.isnan(tree.threshold[node])
        left = jnp.where(by_category, inside == 1, left)
        missing |= by_category & ~known
    left = jnp.where(missing, tree.missing_left[node], left)
    return jnp.where(feature < 0, node, tree.left[node] + jnp.where(left, 0, 1))


def find_leaves(tree: Trees, X: Any, depth: int) -> jax.Array:
    """The leaf of each row in one tree, (rows,)."""
    tree, X = Trees(*map(jnp.asarray, tree)), jnp.asarray(X)
    start = jnp.zeros(X.shape[0], jnp.int32)
    return jax.lax.fori_loop(0, depth, lambda _, node: next_nodes(tree, X, node), start)


def predict_logits(trees: Trees, base: Any, X: Any, depth: int, count: Any) -> jax.Array:
    """base + Σ of the leaf values that a row reaches, tree by tree in order.

    Shape:
        trees (rounds, outputs, nodes), base (outputs,), X (rows, features) -> (rows, outputs)

    Args:
        trees: the trees.
        base: where each output starts.
        X: the rows.
        depth: the most splits on a path.
        count: how many rounds count; the rest is skipped.
    """
    trees, X = Trees(*map(jnp.asarray, trees)), jnp.asarray(X)
    outputs = trees.feature.shape[1]

    def add(i: Any, logits: Any) -> Any:
        new = []
        for k in range(outputs):
            tree = Trees(*(a[i, k] for a in trees))
            new.append(logits[:, k] + tree.value[find_leaves(tree, X, depth)])
        return jnp.stack(new, axis=1)

    return jax.lax.fori_loop(0, count, add, jnp.broadcast_to(base, (X.shape[0], outputs)).astype(jnp.float32))


def contributions(
    trees: Trees, base: Any, X: Any, depth: int, count: Any, link: Callable[[Any], Any]
) -> tuple[jax.Array, jax.Array]:
    """How far each feature moved the prediction of each row on its way through all trees.

    A step from a node to its child changes the logit from z to z'; link(z') - link(z) goes to the feature of the split.

    Shape:
        trees (rounds, 1, nodes), X (rows, features) -> bias (rows,), contributions (rows, features)

    Args:
        trees: the trees.
        base: where the logit starts, (1,).
        X: the rows.
        depth: the most splits on a path.
        count: how many rounds count.
        link: from logits to predictions.

    Returns:
        The bias and the contributions, the sum of which is the prediction.
    """
    trees, X = Trees(*map(jnp.asarray, trees)), jnp.asarray(X)
    rows = jnp.arange(X.shape[0])

    def step(tree: Trees, start: Any, carry: Any) -> Any:
        node, now, bias, given, last = carry
        # Where all rows go left, nothing is asked: the step belongs to the feature that was asked last.
        asks = (tree.feature[node] >= 0) & ~sends_all_left(tree)[node]
        last = jnp.where(asks, tree.feature[node], last)
        child = next_nodes(tree, X, node)
        # A root's own value belongs to the bias of its tree.
        after = jnp.where(child == node, now, start + tree.value[child])
        change = link(after) - link(now)
        bias = bias + jnp.where(last < 0, change, 0)
        return child, after, bias, given.at[rows, jnp.maximum(last, 0)].add(jnp.where(last < 0, 0, change)), last

    def add(i: Any, carry: Any) -> Any:
        start, bias, given = carry
        tree = Trees(*(a[i, 0] for a in trees))
        root = start + tree.value[0]
        bias = bias + link(root) - link(start)
        node = jnp.zeros(X.shape[0], jnp.int32)
        grown = jax.lax.fori_loop(0, depth, lambda _, c: step(tree, start, c), (node, root, bias, given, node - 1))
        return grown[1:4]

    start = jnp.broadcast_to(base[0], X.shape[:1]).astype(jnp.float32)
    given = jnp.zeros(X.shape, jnp.float32)
    _, bias, given = jax.lax.fori_loop(0, count, add, (start, link(start), given))
    return bias, given


def gain_importances(trees: Trees, features: int, complexity: float = 0.0) -> np.ndarray:
    """The sum of the gains of the splits by each feature, less `complexity` for each split, (features,)."""
    used = (np.asarray(trees.feature) >= 0) & ~np.asarray(sends_all_left(trees))
    gains = np.asarray(trees.gain, np.float64)[used]
    return np.maximum(np.bincount(np.asarray(trees.feature)[used], gains - complexity, minlength=features), 0)


def tree_text(tree: Trees, features: Sequence[Feature]) -> str:
    """One tree, (nodes,), as indented text."""
    lines: list[str] = []

    def show(node: int, depth: int) -> None:
        indent = "|   " * depth
        number = int(tree.feature[node])
        if number < 0:
            lines.append(f"{indent}value {float(tree.value[node]):.6g}")
            return
        feature, left = features[number], int(tree.left[node])
        if sends_all_left(tree)[node]:
            return show(left, depth)
        if np.isnan(tree.threshold[node]):
            bits = np.asarray(tree.categories[node])
            inside = [c for c in range(feature.categories) if bits[c // WORD] >> (c % WORD) & 1]
            names = [str(c) if feature.labels is None else feature.labels[c] for c in inside]
            test = f"{feature.name} in {{{', '.join(names)}}}"
        else:
            test = f"{feature.name} <= {float(tree.threshold[node]):.6g}"
        if bool(tree.missing_left[node]):
            test += " or missing"
        lines.append(f"{indent}{test}")
        show(left, depth + 1)
        lines.append(f"{indent}else")
        show(left + 1, depth + 1)

    show(0, 0)
    return "\n".join(lines)
