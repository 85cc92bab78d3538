"""Connectionist temporal classification: the loss of a label sequence without its times, and decoding.

Reference: Graves et al., "Connectionist Temporal Classification", 2006.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from lamina.core.checks import check_choice
from lamina.ops.convert import Tensor, as_array, as_float
from lamina.ops.op import op

# Stands for log(0): finite, so that gradients stay finite.
IMPOSSIBLE = -1e5


@op(named=True)
def ctc_loss(
    target: Tensor, output: Tensor, target_length: Tensor, output_length: Tensor, mask_index: int = 0
) -> jax.Array:
    """Minus the log-likelihood of a label sequence, over all its alignments in time.

    Shape:
        target (batch, labels), output (batch, time, classes), lengths (batch,) -> (batch,)

    Args:
        target: integer labels.
        output: logits.
        target_length: how many labels count.
        output_length: how many time steps count.
        mask_index: the class that means no label.

    Example:
        >>> round(ctc_loss([[1]], jnp.zeros((1, 1, 2)), [1], [1]).item(), 4)
        0.6931
    """
    target, logits = as_array(target).astype("int32"), as_float(output)
    target_length, output_length = as_array(target_length), as_array(output_length)
    log_p = jax.nn.log_softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)))
    batch, labels = target.shape
    # A state for each label and one for the blank before, between and after them.
    states = jnp.full((batch, 2 * labels + 1), mask_index, "int32").at[:, 1::2].set(target)
    emitted = jnp.take_along_axis(log_p, states[:, None, :], axis=-1)
    # From the label before the last state one may come directly, unless it is the same or this one is blank.
    before = jnp.pad(states[:, :-2], ((0, 0), (2, 0)), constant_values=mask_index)
    skip = jnp.where((states != mask_index) & (states != before), 0.0, IMPOSSIBLE).at[:, :2].set(IMPOSSIBLE)
    start = jnp.where(jnp.arange(2 * labels + 1) == 0, 0.0, IMPOSSIBLE)

    def shift(x: jax.Array, by: int) -> jax.Array:
        return jnp.pad(x[:, : x.shape[1] - by], ((0, 0), (by, 0)), constant_values=IMPOSSIBLE)

    def step(alpha: jax.Array, at: tuple) -> tuple[jax.Array, None]:
        log_emitted, time = at
        arrived = jnp.logaddexp(alpha, shift(alpha, 1))
        arrived = jnp.logaddexp(arrived, shift(alpha, 2) + skip)
        counts = (time < output_length)[:, None]
        return jnp.where(counts, arrived + log_emitted, alpha), None

    # Before the first step the path is in front of all states: state 0 stands for that, and may go on to 0 or 1.
    first = jnp.broadcast_to(start, (batch, start.shape[0])).astype(log_p.dtype)
    times = jnp.arange(log_p.shape[1])
    alpha, _ = lax.scan(step, first, (jnp.moveaxis(emitted, 1, 0), times))
    last = 2 * target_length[:, None]
    at_end = jnp.take_along_axis(alpha, jnp.concatenate([last, jnp.maximum(last - 1, 0)], axis=1), axis=1)
    log_likelihood = jnp.logaddexp(at_end[:, 0], jnp.where(target_length > 0, at_end[:, 1], IMPOSSIBLE))
    return -log_likelihood


@op(named=True)
def ctc_decode(
    inputs: Tensor,
    sequence_lengths: Tensor,
    strategy: str = "greedy",
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
    mask_index: int | None = 0,
) -> tuple[jax.Array, jax.Array]:
    """Label sequences from the scores of each time step.

    Shape:
        inputs (batch, time, classes), sequence_lengths (batch,)
        -> labels (paths, batch, time), filled up with -1, and scores (batch, paths)

    Args:
        inputs: logits.
        sequence_lengths: how many time steps count.
        strategy: `"greedy"` takes the best class of each step, `"beam_search"` the likeliest sequences. The score is
            minus the sum of the best logits, or the log-probability of the sequence.
        beam_width: how many sequences the search keeps.
        top_paths: how many it returns.
        merge_repeated: whether the greedy strategy takes a class that stays for one label.
        mask_index: the class that means no label; None for the last.

    Example:
        >>> labels, _ = ctc_decode([[[0.0, 9.0], [0.0, 9.0], [9.0, 0.0]]], [3])
        >>> labels.tolist()
        [[[1, -1, -1]]]
    """
    check_choice("ops.ctc_decode", "strategy", strategy, ["greedy", "beam_search"])
    x = as_float(inputs)
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    lengths = as_array(sequence_lengths).astype("int32")
    blank = x.shape[-1] - 1 if mask_index is None else mask_index
    if strategy == "greedy":
        return _greedy(x, lengths, merge_repeated, blank)
    search = jax.vmap(lambda row, length: _beam_search(row, length, beam_width, top_paths, blank))
    paths, scores = search(jax.nn.log_softmax(x), lengths)
    return jnp.swapaxes(paths, 0, 1), scores


def _greedy(x: jax.Array, lengths: jax.Array, merge: bool, blank: int) -> tuple[jax.Array, jax.Array]:
    counts = jnp.arange(x.shape[1]) < lengths[:, None]
    best = jnp.where(counts, jnp.argmax(x, axis=-1), blank).astype("int32")
    score = -jnp.sum(jnp.where(counts, jnp.max(x, axis=-1), 0), axis=1, keepdims=True)
    label = best != blank
    if merge:
        label = label & jnp.pad(best[:, 1:] != best[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    order = jnp.argsort(~label, axis=-1)  # stable: labels first, in their order
    found = jnp.take_along_axis(jnp.where(label, best, -1), order, axis=-1)
    return found[None], score


def _beam_search(log_p: jax.Array, length: jax.Array, width: int, top: int, blank: int) -> tuple[jax.Array, jax.Array]:
    """The likeliest label sequences of one example, by prefix beam search."""
    time, classes = log_p.shape
    none = -jnp.inf

    def step(beam: tuple[jax.Array, jax.Array, jax.Array, jax.Array], at: tuple) -> tuple[tuple, None]:
        return lax.cond(at[1], lambda: extend(*beam, at[0]), lambda: beam), None

    def extend(paths: jax.Array, sizes: jax.Array, ended: jax.Array, open_: jax.Array, p: jax.Array) -> tuple:
        """`ended`: the probability of each path with a blank last; `open_`: with its last label last."""
        either = jnp.logaddexp(ended, open_)
        last = jnp.where(sizes > 0, jnp.take_along_axis(paths, jnp.maximum(sizes - 1, 0)[:, None], 1)[:, 0], -1)
        stay_ended = either + p[blank]
        stay_open = jnp.where(sizes > 0, open_ + p[last], none)
        label = jnp.arange(classes)
        # A label that repeats the last one needs a blank between.
        longer = jnp.where(label == last[:, None], ended[:, None], either[:, None]) + p
        longer = jnp.where(label == blank, none, longer)
        # A path made longer may be one that is in the beam already: join the two.
        shorter = jnp.where(jnp.arange(time) == sizes[:, None] - 1, -1, paths)
        parent = (sizes[:, None] == sizes[None, :] + 1) & jnp.all(shorter[:, None] == paths[None], axis=-1)
        joined = jnp.where(parent, longer[:, last].T, none)
        stay_open = jnp.logaddexp(stay_open, jax.scipy.special.logsumexp(joined, axis=1))
        taken = jnp.any(parent[:, :, None] & (label == last[:, None])[:, None, :], axis=0)
        longer = jnp.where(taken, none, longer)
        total = jnp.concatenate([jnp.logaddexp(stay_ended, stay_open), longer.reshape(-1)])
        _, best = lax.top_k(total, width)
        grown = best >= width
        source = jnp.where(grown, (best - width) // classes, best)
        new = jnp.where(grown, (best - width) % classes, -1)
        here = (jnp.arange(time) == sizes[source][:, None]) & grown[:, None]
        paths = jnp.where(here, new[:, None], paths[source])
        return (
            paths,
            sizes[source] + grown,
            jnp.where(grown, none, stay_ended[source]),
            jnp.where(grown, longer.reshape(-1)[jnp.maximum(best - width, 0)], stay_open[source]),
        )

    first = jnp.arange(width) == 0
    beam = (
        jnp.full((width, time), -1, "int32"),
        jnp.zeros(width, "int32"),
        jnp.where(first, 0.0, none).astype(log_p.dtype),
        jnp.full(width, none, log_p.dtype),
    )
    (paths, _, ended, open_), _ = lax.scan(step, beam, (log_p, jnp.arange(time) < length))
    scores, best = lax.top_k(jnp.logaddexp(ended, open_), top)
    return paths[best], scores
