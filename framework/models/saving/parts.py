"""The state of a model as groups of arrays, and back."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lamina.checkpoint.matching import LoadReport, match_tensors
from lamina.core.errors import owner_label
from lamina.models.saving.hdf5 import Datasets, ShardedDatasets
from lamina.models.saving.walk import saved_parts
from lamina.optimizers.optimizer import Optimizer
from lamina.state.saveable import Saveable
from lamina.state.variable import Variable
from lamina.wire.errors import FileFormatError

Groups = dict[str, tuple[str | None, dict[str, Any]]]

# State that Keras keeps beside the weights of layers, now or in older versions, and that lamina has no use for: the
# counters of random generators, metrics, and the optimizer of a model that is loaded without it.
_NOT_WEIGHTS = re.compile(
    r"(^|/)(optimizer|_?seed_generators?|_?random_generator|_?metrics|_?compile_metrics|_loss_tracker|_compile_loss)/"
)
# The variables of an optimizer that has not been used: the number of steps and the learning rate.
_UNTRAINED = 2
# The name of `layers` in the files of Keras 2.12 and 2.13.
_OLD_LAYERS = "_layer_checkpoint_dependencies"


def saved_groups(model: Any, optimizer: bool = True) -> Groups:
    """The arrays of each part of a model by the part's path, with the part's name.

    Args:
        model: a model.
        optimizer: whether the optimizer's state is among them.
    """
    groups: Groups = {}
    for path, part in saved_parts(model):
        if isinstance(part, Optimizer) and not (optimizer and part.built):
            continue
        store: dict[str, Any] = {}
        part.save_own_variables(store)
        name = getattr(part, "name", None)
        groups[path] = (name if isinstance(name, str) else None, store)
    return groups


def load_groups(
    model: Any, arrays: Datasets | ShardedDatasets, source: str, skip_mismatch: bool = False, **matching: Any
) -> LoadReport:
    """Sets the state of a model from arrays by path. Nothing is changed unless all weights fit.

    Args:
        model: a built model.
        arrays: the arrays, named as `saved_groups` has them.
        source: how errors name the file.
        skip_mismatch: see `match_tensors`.
        **matching: `partial`, `name_map` and `pattern`, see `match_tensors`.

    Raises:
        ValueError: something is missing or unexpected.
        ShapeError: a shape differs.
    """
    names = {name.replace(_OLD_LAYERS, "layers"): name for name in arrays}
    variables: dict[str, Variable] = {}
    paths: dict[str, str] = {}
    own_way: list[tuple[Saveable, str]] = []
    optimizers: list[tuple[Optimizer, str]] = []
    second: set[str] = set()
    for path, part in saved_parts(model):
        prefix = f"{path}/vars/" if path else "vars/"
        if isinstance(part, Optimizer):
            optimizers.append((part, prefix))
        elif type(part).load_own_variables is not Saveable.load_own_variables:
            own_way.append((part, prefix))
        else:
            for i, variable in enumerate(part._saved_variables()):
                if variables.get(variable.path) is variable:  # of two layers: each has it in the file
                    second.add(f"{prefix}{i}")
                    continue
                variables[variable.path] = variable
                paths[f"{prefix}{i}"] = variable.path
    for name in [n for n in names if n not in paths and "/_" in n]:
        public = name.replace(
            "/_", "/"
        )  # a place that Keras 2 knew by a private attribute, and Keras 3 by its property
        if public in paths and public not in names:
            names[public] = names.pop(name)
    special = tuple(prefix for _, prefix in [*own_way, *optimizers])
    weights = {
        name: arrays.shape(stored)
        for name, stored in names.items()
        if name in paths or not (name.startswith(special) or name in second or _NOT_WEIGHTS.search(name))
    }
    own = {path: v.shape for path, v in variables.items()}
    user_map = matching.pop("name_map", None)
    if isinstance(user_map, Mapping):
        user_map = {k.replace(_OLD_LAYERS, "layers"): v for k, v in user_map.items()}
        _check_names(model, user_map, weights, own, source, matching.get("partial") or skip_mismatch)
    report = match_tensors(
        owner_label(model), source, weights, own, skip_mismatch, name_map=_through(user_map, paths), **matching
    )
    values = {path: _numbers(arrays[names[name]], name, source) for path, name in report.loaded.items()}
    for path, value in values.items():
        variables[path].assign(value)
    whole = user_map is None and not any(matching.values())
    for part, prefix in own_way if whole else []:
        part.load_own_variables(_store(arrays, names, prefix))
    for optimizer, prefix in optimizers if whole else []:
        store = _store(arrays, names, prefix)
        if optimizer.built and not load_optimizer(optimizer, store) and len(store) > _UNTRAINED:
            warnings.warn(
                f"{owner_label(model)}: the state of the optimizer in {source} is of another kind, so it starts anew.",
                stacklevel=4,
            )
    return report


def load_optimizer(optimizer: Optimizer, store: Mapping[str, Any]) -> bool:
    """Sets the state of a built optimizer, if that is what the file holds; whether it was.

    Keras 2 left out the learning rate, the second variable.
    """
    own = optimizer._saved_variables()
    if len(store) == len(own) - 1 and optimizer._rates():
        places = [0, *range(2, len(own))]
        store = {"1": np.asarray(own[1].stored), **{str(p): store[str(i)] for i, p in enumerate(places)}}
    if len(store) != len(own) or any(np.shape(store[str(i)]) != tuple(v.shape) for i, v in enumerate(own)):
        steps = np.asarray(store.get("0"))
        if len(own) > _UNTRAINED or steps.shape != () or steps.dtype.kind not in "iu":
            return False
        optimizer.iterations.assign(steps)  # Keras 2 keeps momenta for an SGD without any, too
    else:
        optimizer.load_own_variables(store)
    return True


def _check_names(model: Any, name_map: Mapping, weights: Mapping, own: Mapping, source: str, lenient: Any) -> None:
    """The errors of `match_tensors` for a name map, which does not see the user's own."""
    known = {k: v for k, v in name_map.items() if k in weights}
    match_tensors(owner_label(model), source, weights, own, True, name_map=known if lenient else name_map)


def _through(user_map: Any, paths: Mapping[str, str]) -> Any:
    """A map of names that asks the user's first, then knows the path for each place in the file."""

    def find(name: str) -> str | None:
        if callable(user_map):
            found = user_map(name)
            return paths.get(name, name) if found == name else found
        if user_map is not None and name in user_map:
            return user_map[name]
        return paths.get(name, name)

    return find


def _store(arrays: Datasets | ShardedDatasets, names: Mapping[str, str], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): arrays[stored] for name, stored in names.items() if name.startswith(prefix)}


def _numbers(array: np.ndarray, name: str, source: str) -> np.ndarray:
    if array.dtype.kind in "SOU":
        raise FileFormatError(f"{source}: '{name}' should be numbers, but has dtype {array.dtype}.")
    return array


def save_assets(model: Any, folder: Path) -> bool:
    """Lets the parts that keep files of their own write them to folders named after their places; whether any did."""
    some = False
    for path, part in saved_parts(model):
        if hasattr(part, "save_assets"):
            place = folder / path if path else folder
            place.mkdir(parents=True, exist_ok=True)
            part.save_assets(str(place))
            some = True
    return some


def load_assets(model: Any, folder: Path) -> None:
    """Lets the parts that keep files of their own read them."""
    for path, part in saved_parts(model):
        place = folder / path if path else folder
        if hasattr(part, "load_assets") and place.is_dir():
            part.load_assets(str(place))
