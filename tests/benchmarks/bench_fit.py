"""fit against hand-written JAX, in one run: the same models, data, batches and optimizer.

    python tests/benchmarks/bench_fit.py [--repeats 5] [--models mlp,...]

"loop" is the ordinary hand-written loop: numpy batches, one jitted and donated call a step. "resident" keeps the data
on the device and runs a whole epoch in one call, which is the most that hand-written code gets. The three are timed in
turn, so that a busy moment hits all alike; the table has the median of each and the ratio of fit to the better one.
"""

from __future__ import annotations

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

import lamina
from lamina import layers

RATE = 1e-3


def mlp(d, units, out):
    return lambda: lamina.Sequential(
        [lamina.Input((d,)), *[layers.Dense(u, activation="relu") for u in units], layers.Dense(out)]
    )


def cnn():
    return lamina.Sequential(
        [
            lamina.Input((28, 28, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ]
    )


# name -> (model, shape of a sample, classes, samples, batch)
MODELS = {
    "tabular MLP 20-64-64-1, batch 32": (mlp(20, (64, 64), 1), (20,), 1, 16384, 32),
    "MLP 784-256-256-10, batch 128": (mlp(784, (256, 256), 10), (784,), 10, 6400, 128),
    "CNN 28x28, batch 64": (cnn, (28, 28, 1), 10, 1280, 64),
}


def loss_of(model, params, state, x, y):
    out, state = model.apply(params, state, x, training=True)
    if out.shape[-1] == 1:
        return jnp.mean((out - y) ** 2), state
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(out, y)), state


def by_hand(make, x, y, batch, resident):
    """An epoch of a hand-written loop, as a function without arguments."""
    model = make()
    tx = optax.adam(RATE, eps=1e-7)
    params, state = model.params, model.state
    carry = (params, state, tx.init(params), jnp.zeros(()))

    def step(carry, xb, yb):
        params, state, opt, total = carry
        (loss, state), grads = jax.value_and_grad(lambda p: loss_of(model, p, state, xb, yb), has_aux=True)(params)
        updates, opt = tx.update(grads, opt, params)
        return optax.apply_updates(params, updates), state, opt, total + loss

    rng = np.random.default_rng(0)
    box = [carry]
    if resident:
        data = jax.device_put(x), jax.device_put(y)

        def loop(carry, x, y, order):
            return lax.fori_loop(0, len(order), lambda i, c: step(c, x[order[i]], y[order[i]]), carry)

        run = jax.jit(loop, donate_argnums=0)

        def epoch():
            order = rng.permutation(len(x)).astype(np.int32).reshape(-1, batch)
            box[0] = run(box[0], *data, order)
            float(box[0][-1])
    else:
        jitted = jax.jit(step, donate_argnums=0)

        def epoch():
            order = rng.permutation(len(x))
            for i in range(0, len(x), batch):
                rows = order[i : i + batch]
                box[0] = jitted(box[0], x[rows], y[rows])
            float(box[0][-1])

    return epoch


def by_fit(make, x, y, batch):
    model = make()
    loss = "mse" if y.ndim == 2 else lamina.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(lamina.optimizers.Adam(RATE, epsilon=1e-7), loss)
    return lambda: model.fit(x, y, batch_size=batch, verbose=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--models", default="", help="only models whose name contains this")
    options = parser.parse_args()
    print("| model | fit, us a step | loop | resident | fit / better of both |")
    print("|---|---|---|---|---|")
    for name, (make, shape, classes, n, batch) in MODELS.items():
        if options.models not in name:
            continue
        rng = np.random.default_rng(0)
        x = rng.standard_normal((n, *shape)).astype("float32")
        targets = rng.standard_normal((n, 1)), rng.integers(0, classes, n)
        y = targets[0].astype("float32") if classes == 1 else targets[1].astype("int32")
        runs = {
            "fit": by_fit(make, x, y, batch),
            "loop": by_hand(make, x, y, batch, resident=False),
            "resident": by_hand(make, x, y, batch, resident=True),
        }
        times = {k: [] for k in runs}
        for k in runs:
            runs[k](), runs[k]()
        for _ in range(options.repeats):
            for k, run in runs.items():
                started = time.perf_counter()
                run()
                times[k].append((time.perf_counter() - started) / (n // batch) * 1e6)
        fit, loop, resident = (statistics.median(times[k]) for k in runs)
        print(f"| {name} | {fit:,.0f} | {loop:,.0f} | {resident:,.0f} | {min(loop, resident) / fit:.2f} |", flush=True)


if __name__ == "__main__":
    main()
