"""Reading and splitting of the tables that are part of the package."""

from __future__ import annotations

import gzip
from importlib import resources

import numpy as np

from lamina.core.checks import check_choice, check_int, check_number

Split = tuple[np.ndarray, np.ndarray]


def read_table(name: str) -> np.ndarray:
    """The rows of `data/<name>.csv.gz` as a float64 matrix with the target in the last column."""
    raw = resources.files("lamina.datasets.builtin").joinpath("data", f"{name}.csv.gz").read_bytes()
    return np.loadtxt(gzip.decompress(raw).decode("ascii").splitlines(), delimiter=",", skiprows=1)


def split_data(name: str, x: np.ndarray, y: np.ndarray, test_split: float, seed: int) -> tuple[Split, Split]:
    """`(x_train, y_train), (x_test, y_test)`: rows in an order drawn from `seed`, the last `test_split` for testing.

    `RandomState` is used because numpy keeps its stream frozen: the held-out rows are the same on every version.
    """
    check_number(name, "test_split", test_split, 0.0, 1.0)
    order = np.random.RandomState(check_int(name, "seed", seed, 0)).permutation(len(x))
    x, y = x[order], y[order]
    cut = int(len(x) * (1 - test_split))
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])


def choose_split(name: str, split: str, data: tuple[Split, Split]) -> Split:
    """The part called `split` of `(train, test)`; `"all"` is both, training part first."""
    check_choice(name, "split", split, ("train", "test", "all"))
    train, test = data
    if split == "all":
        return np.concatenate([train[0], test[0]]), np.concatenate([train[1], test[1]])
    return train if split == "train" else test
