"""Linear estimators against a hand-written JAX loop, in one run: the same data, batches and optimizer.

    python tests/benchmarks/bench_estimators.py [--repeats 9] [--only dense|categories|vocabulary]

"loop" keeps the data on the device, and runs an epoch in one compiled call that gathers each batch: the most that
hand-written code gets. "partial_fit" is one call with its checks of the data, "fit" an epoch of a fit of several: what
five passes take longer than one. "train" is an epoch of `train(input_fn)` with a shuffled Dataset, less what a training
of one step takes (saving among it). They run in turn, so that a busy moment hits all alike; tables have the medians,
by the clock and by processor time.

The last table trains on three words a sample out of vocabularies of growing size.
"""

from __future__ import annotations

import argparse
import functools
import logging
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from lamina import estimators
from lamina.datasets import Dataset
from lamina.estimators import feature_column as fc

BATCH = 100
VOCABULARIES = (10, 100, 1000)


def dense_data(rows: int = 100_000, width: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """A linear function with noise."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal((rows, width)).astype("float32")
    w = rng.standard_normal(width).astype("float32")
    return x, (x @ w + 0.5 + 0.1 * rng.standard_normal(rows)).astype("float32")


def category_data(rows: int = 50_000) -> tuple[np.ndarray, np.ndarray]:
    """Two classes whose odds are products of a factor for each category."""
    rng = np.random.default_rng(8)
    ids = np.stack([rng.integers(0, v, rows) for v in VOCABULARIES], 1).astype("int32")
    logits = sum(rng.standard_normal(v)[k] for v, k in zip(VOCABULARIES, ids.T, strict=True))
    return ids, (rng.random(rows) < 1 / (1 + np.exp(-logits))).astype("int32")


def by_hand(x: np.ndarray, y: np.ndarray, categories: bool, rate: float) -> tuple[Callable[[], None], Callable]:
    """An epoch of the hand-written loop, and a function that gives its loss on all data."""
    if categories:
        offsets = np.concatenate([[0], np.cumsum(VOCABULARIES)[:-1]]).astype("int32")
        params = {"w": jnp.zeros(sum(VOCABULARIES)), "b": jnp.zeros(())}

        def loss(p, x, y):
            logits = p["w"][x + offsets].sum(-1) + p["b"]
            return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, y))
    else:
        params = {"w": jnp.zeros(x.shape[1]), "b": jnp.zeros(())}

        def loss(p, x, y):
            return jnp.mean((x @ p["w"] + p["b"] - y) ** 2)

    tx = optax.sgd(rate)

    @functools.partial(jax.jit, donate_argnums=0)
    def run(carry, x, y, order):
        def step(i, carry):
            params, state, total = carry
            value, gradients = jax.value_and_grad(loss)(params, x[order[i]], y[order[i]])
            updates, state = tx.update(gradients, state, params)
            return optax.apply_updates(params, updates), state, total + value

        return lax.fori_loop(0, len(order), step, carry)

    data = jax.device_put(x), jax.device_put(y)
    rng = np.random.default_rng(0)
    box = [(params, tx.init(params), jnp.zeros(()))]

    def epoch() -> None:
        order = rng.permutation(len(x)).astype("int32").reshape(-1, BATCH)
        params, state, _ = box[0]
        box[0] = run((params, state, jnp.zeros(())), *data, order)
        float(box[0][2])

    return epoch, lambda: float(loss(box[0][0], *data))


def estimator_for(categories: bool, rate: float, width: int) -> tuple[type, dict[str, Any]]:
    """The class and the arguments of the same model."""
    optimizer = estimators.optimizers.SGD(rate)
    if categories:
        columns = [fc.categorical_column_with_identity(f"c{i}", v) for i, v in enumerate(VOCABULARIES)]
        kind = estimators.LinearClassifier
    else:
        columns, kind = [fc.numeric_column("x", shape=(width,))], estimators.LinearRegressor
    return kind, {"feature_columns": columns, "optimizer": optimizer, "batch_size": BATCH, "random_state": 0}


def as_features(x: np.ndarray, categories: bool) -> dict[str, np.ndarray]:
    return {f"c{i}": np.ascontiguousarray(c) for i, c in enumerate(x.T)} if categories else {"x": x}


def clocks(run: Callable[[], Any]) -> np.ndarray:
    """Seconds by the clock, and of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return np.array([time.perf_counter() - wall, time.process_time() - cpu])


def passes(model: Any, features: dict[str, np.ndarray], y: np.ndarray, count: int) -> None:
    """Trains further, as `fit(epochs=count)` would, without compiling anew."""
    model._train_on(model._training_data(features, y, None, count, first=False))


def compare(name: str, x: np.ndarray, y: np.ndarray, categories: bool, rate: float, repeats: int) -> None:
    """Prints a row for each way to train."""
    features = as_features(x, categories)
    kind, arguments = estimator_for(categories, rate, x.shape[1])
    hand, hand_loss = by_hand(x, y, categories, rate)
    fitted = kind(**arguments)
    trained = kind(model_dir=tempfile.mkdtemp(), **arguments)

    def input_fn(epochs: int = 1) -> Dataset:
        return Dataset.from_tensor_slices((features, y)).shuffle(None, seed=0).repeat(epochs).batch(BATCH)

    fitted.partial_fit(features, y)

    def train() -> None:
        trained.train(input_fn)

    def train_one_step() -> None:
        trained.train(input_fn, steps=1)

    runs = {
        "loop": lambda: [hand() for _ in range(4)],
        "partial_fit": lambda: passes(fitted, features, y, 1),
        "fit": lambda: passes(fitted, features, y, 5),
        "train": train,
        "one step": train_one_step,
    }
    times: dict[str, list[np.ndarray]] = {k: [] for k in runs}
    for number in range(repeats + 1):
        for key, run in runs.items():
            seconds = clocks(run)
            if number:  # the first compiles
                times[key].append(seconds)
    typical = {k: np.median(v, axis=0) for k, v in times.items()}
    typical["loop"] = typical["loop"] / 4
    typical["fit"] = (typical["fit"] - typical["partial_fit"]) / 4
    typical["train"] = typical["train"] - typical["one step"]
    ours = fitted.evaluate(lambda: Dataset.from_tensor_slices((features, y)).batch(10_000))["average_loss"]
    for key in ("fit", "partial_fit", "train"):
        wall, cpu = typical["loop"] / typical[key]
        print(
            f"| {name} | {key} | {len(x) / typical[key][0]:,.0f} | {len(x) / typical['loop'][0]:,.0f} | {wall:.2f} | "
            f"{cpu:.2f} | {ours:.4f} / {hand_loss():.4f} |"
        )


def resident_bytes() -> int:
    """The memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def vocabulary_rows(repeats: int, rows: int = 20_000) -> None:
    """Prints a row for each size of vocabulary."""
    rng = np.random.default_rng(0)
    print("| words | fit, us a step | us of processor | variables and slots, MB | memory grew by, MB |")
    print("|---|---|---|---|---|")
    runs = {}
    for size in (1_000, 10_000, 100_000, 1_000_000):
        ids = rng.integers(0, size, (rows, 3)).astype("int64")
        labels = (rng.random(rows) < 0.5).astype("int32")
        before = resident_bytes()
        model = estimators.LinearClassifier(
            [fc.categorical_column_with_identity("words", size)], batch_size=BATCH, random_state=0
        )
        model.partial_fit({"words": ids}, labels)
        held = sum(np.asarray(v.stored).nbytes for v in model._model.store.weights.values())
        held += sum(np.asarray(v.stored).nbytes for v in model._model.optimizer.variables)
        runs[size] = (model, ids, labels, held / 1e6, (resident_bytes() - before) / 1e6)
    times: dict[int, list[np.ndarray]] = {size: [] for size in runs}
    for _ in range(repeats):
        for size, (model, ids, labels, *_) in runs.items():
            one, five = (clocks(functools.partial(passes, model, {"words": ids}, labels, n)) for n in (1, 5))
            times[size].append((five - one) / 4)
    for size, (*_, held, grew) in runs.items():
        wall, cpu = np.median(times[size], axis=0) / (rows / BATCH) * 1e6
        print(f"| {size:,} | {wall:.1f} | {cpu:.1f} | {held:.1f} | {grew:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--only", default="", choices=["", "dense", "categories", "vocabulary"])
    options = parser.parse_args()
    logging.getLogger("lamina.estimators").setLevel(logging.WARNING)
    if options.only != "vocabulary":
        print("| epoch of | way | samples/s | loop, samples/s | way / loop | by processor time | loss, loop's |")
        print("|---|---|---|---|---|---|---|")
    if options.only in ("", "dense"):
        x, y = dense_data()
        compare("LinearRegressor, 100,000 x 20", x, y, False, 0.01, options.repeats)
    if options.only in ("", "categories"):
        x, y = category_data()
        compare("LinearClassifier, 50,000 x 3 categories", x, y, True, 0.5, options.repeats)
    if options.only != "vocabulary":
        print()
    if options.only in ("", "vocabulary"):
        vocabulary_rows(options.repeats)


if __name__ == "__main__":
    main()
