"""Rates of dataset pipelines beside the same work written by hand, in one process and one run.

    python tests/benchmarks/bench_pipelines.py [--repeats 5] [--processes]

Rows of a block run in turn, `repeats` times; the best of each is printed, since other work on the machine only slows
down. A row for torch's DataLoader is added where torch is installed.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import multiprocessing
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np

from lamina.datasets import Dataset, Options

BATCH, BUFFER = 128, 10_000
SHARED: tuple[Any, ...] = ()


def data(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(9)
    return rng.integers(0, 256, (n, 784), dtype=np.uint8), rng.integers(0, 10, n).astype(np.int32)


def cheap(x: np.ndarray, y: np.ndarray) -> Any:
    return x.astype(np.float32) * np.float32(1 / 255), y


def costly(x: np.ndarray, y: np.ndarray) -> Any:
    a = x.astype(np.float32).reshape(28, 28) * np.float32(1 / 255)
    for _ in range(2):
        a = np.sort(np.tanh(a @ a.T), axis=1)
        a = np.fft.irfft2(np.fft.rfft2(a), s=a.shape).astype(np.float32)
    return a.reshape(784), y


def torch_loader(x: np.ndarray, y: np.ndarray, fn: Callable) -> Iterator[Any]:
    import torch

    class Samples(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(x)

        def __getitem__(self, i: int) -> Any:
            return fn(x[i], y[i])

    return iter(torch.utils.data.DataLoader(Samples(), BATCH, shuffle=True))


def order(n: int) -> list[np.ndarray]:
    p = np.random.default_rng(0).permutation(n)
    return [p[i : i + BATCH] for i in range(0, n, BATCH)]


def bare_gather(x: np.ndarray, y: np.ndarray) -> Iterator[Any]:
    for j in order(len(x)):
        yield x[j], y[j]


def gather_and_scale(x: np.ndarray, y: np.ndarray) -> Iterator[Any]:
    for j in order(len(x)):
        yield x[j].astype(np.float32) * np.float32(1 / 255), y[j]


def fill_batch(x: np.ndarray, y: np.ndarray, fn: Callable, j: np.ndarray) -> Any:
    out, labels = np.empty((len(j), 784), np.float32), np.empty(len(j), np.int32)
    for k, q in enumerate(j.tolist()):
        out[k], labels[k] = fn(x[q], y[q])
    return out, labels


def map_by_hand(x: np.ndarray, y: np.ndarray, fn: Callable) -> Iterator[Any]:
    for j in order(len(x)):
        yield fill_batch(x, y, fn, j)


def _shared_batch(j: np.ndarray) -> Any:
    return fill_batch(*SHARED, j)


def pool_by_hand(x: np.ndarray, y: np.ndarray, fn: Callable) -> Iterator[Any]:
    global SHARED
    SHARED = (x, y, fn)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as executor:
        pending = []
        for j in order(len(x)):
            pending.append(executor.submit(_shared_batch, j))
            if len(pending) > 4:
                yield pending.pop(0).result()
        for f in pending:
            yield f.result()


def block(title: str, n: int, rows: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    best = dict.fromkeys(rows, float("inf"))
    cpu = dict.fromkeys(rows, float("inf"))
    for _ in range(repeats):
        for name, make in rows.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            count = sum(len(batch[0]) for batch in make())
            best[name] = min(best[name], time.perf_counter() - start)
            cpu[name] = min(cpu[name], time.process_time() - start_cpu)
            if count != n:
                raise RuntimeError(f"{name} gave {count} of {n} elements")
    top, top_cpu = next(iter(best.values())), next(iter(cpu.values()))
    print(f"\n{title}")
    for name, seconds in best.items():
        print(
            f"  {name:44s} {n / seconds:12,.0f} elements/s   {top / seconds:5.2f} of the first row"
            f"   {cpu[name] / n * 1e6:7.2f} us of this process an element ({top_cpu / cpu[name]:.2f})"
        )
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--processes", action="store_true", help="also the costly map (some seconds)")
    args = parser.parse_args()
    x, y = data(20_000)
    source = Dataset.from_tensor_slices((x, y))
    block(
        "in memory: shuffle and batch",
        len(x),
        {
            "bare numpy gather": lambda: bare_gather(x, y),
            "shuffle(None).batch": lambda: source.shuffle(None, seed=1).batch(BATCH),
            f"shuffle({BUFFER}).batch": lambda: source.shuffle(BUFFER, seed=1).batch(BATCH),
        },
        args.repeats,
    )
    block(
        "cheap map, vectorised",
        len(x),
        {
            "numpy gather and scale": lambda: gather_and_scale(x, y),
            "shuffle.batch.map": lambda: source.shuffle(None, seed=1).batch(BATCH).map(cheap),
            "shuffle.map(vectorized).batch": lambda: (
                source.shuffle(None, seed=1).map(cheap, vectorized=True).batch(BATCH)
            ),
        },
        args.repeats,
    )
    block(
        "cheap map, element by element",
        len(x),
        {
            "index shuffle, map into batch": lambda: map_by_hand(x, y, cheap),
            "shuffle(None).map.batch": lambda: source.shuffle(None, seed=1).map(cheap).batch(BATCH),
            "shuffle(None).map.batch.prefetch": lambda: (
                source.shuffle(None, seed=1).map(cheap).batch(BATCH).prefetch(2)
            ),
        }
        | ({"torch DataLoader, 0 workers": lambda: torch_loader(x, y, cheap)} if find_spec("torch") else {}),
        args.repeats,
    )
    block(
        "elements one by one, no batch",
        len(x),
        {
            "python loop over rows": lambda: (([a], b) for a, b in zip(x, y, strict=True)),
            "from_tensor_slices": lambda: (([a], b) for a, b in source),
            "shuffle(1000), a stream": lambda: (([a], b) for a, b in source.prefetch(0).shuffle(1000)),
        },
        args.repeats,
    )
    if args.processes:
        x, y = x[:4000], y[:4000]
        source = Dataset.from_tensor_slices((x, y))
        options = Options()
        options.workers = "process"
        mapped = source.shuffle(None, seed=1).map(costly, num_parallel_calls=2).batch(BATCH)
        processes = mapped.with_options(options)
        block(
            "costly map",
            len(x),
            {
                "index shuffle, pool of 2 processes": lambda: pool_by_hand(x, y, costly),
                "index shuffle, map into batch": lambda: map_by_hand(x, y, costly),
                "shuffle(None).map.batch": lambda: source.shuffle(None, seed=1).map(costly).batch(BATCH),
                "two threads": lambda: mapped,
                "two processes": lambda: processes,
            },
            args.repeats,
        )


if __name__ == "__main__":
    main()
