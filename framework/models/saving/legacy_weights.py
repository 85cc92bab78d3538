"""The weights in HDF5 files of Keras' old format: a group for each layer, with the names of its weights in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lamina.checkpoint.matching import LoadReport, match_tensors
from lamina.core.errors import owner_label
from lamina.models.saving.hdf5 import Datasets, attribute
from lamina.models.saving.parts import load_optimizer
from lamina.models.saving.walk import saved_parts
from lamina.optimizers.optimizer import Optimizer
from lamina.state.variable import Variable
from lamina.wire.errors import FileFormatError

# Names of slots that stand before the variable's in the optimizers since Keras 2.11.
_SLOTS = frozenset(
    "accumulated_delta_var accumulated_grad accumulator average linear m momentum rms u v velocity vhat".split()
)
WEIGHTS, OPTIMIZER, TOP_LEVEL = "model_weights", "optimizer_weights", "top_level_model_weights"


def is_legacy(root: Any) -> bool:
    """Whether an open HDF5 file has the weights of Keras 2, or a whole model of it."""
    return WEIGHTS in root or "layer_names" in root.attrs or "layer_names0" in root.attrs


def _saved_ids(model: Any) -> set[int]:
    """The identities of the weights that files hold."""
    return {id(v) for _, part in saved_parts(model) if not isinstance(part, Optimizer) for v in part._saved_variables()}


def weights_of_layers(model: Any) -> dict[str, list[Variable]]:
    """The weights of each layer by its name, in the order of the old format: those that are trained come first."""
    saved = _saved_ids(model)
    return {
        layer.name: [v for v in (*layer.trainable_weights, *layer.non_trainable_weights) if id(v) in saved]
        for layer in model.layers
    }


def load_legacy_weights(
    model: Any, root: Any, path: str, by_name: bool = False, skip_mismatch: bool = False, **matching: Any
) -> LoadReport:
    """Sets the weights of a model from an open HDF5 file of Keras 2.

    Layers are paired by name where the names agree, else by their order.

    Args:
        model: a built model.
        root: the open file.
        path: how errors name it.
        by_name: whether only layers that both sides have are loaded.
        skip_mismatch: see `match_tensors`.
        **matching: `partial`, `name_map` and `pattern`, see `match_tensors`.

    Raises:
        ValueError: layers or weights are missing or unexpected.
        ShapeError: a shape differs.
    """
    arrays = Datasets(root, path, root.id.get_filesize())
    inside = f"{WEIGHTS}/" if WEIGHTS in root else ""
    group = root[WEIGHTS] if inside else root
    stored: dict[str, list[str]] = {}
    for layer in _names(group, "layer_names", path):
        if layer not in group:
            raise FileFormatError(f"'{path}': the layer '{layer}' has no group.")
        names = [f"{inside}{layer}/{name}" for name in _names(group[layer], "weight_names", path)]
        lost = [name for name in names if name not in arrays]
        if lost:
            raise FileFormatError(f"'{path}': the weight '{lost[0]}' is named, but not there.")
        if names:
            stored[layer] = names
    saved = _saved_ids(model)
    own = {name: weights for name, weights in weights_of_layers(model).items() if weights}
    if set(stored) <= set(own) or by_name:
        pairs = [(stored[name], own[name]) for name in stored if name in own]
    else:
        pairs = list(zip(stored.values(), own.values(), strict=False))
    if TOP_LEVEL in group:
        names = [f"{inside}{TOP_LEVEL}/{name}" for name in _names(group[TOP_LEVEL], "weight_names", path)]
        pairs.append((names, model._saved_variables()))
        stored[TOP_LEVEL] = names
    first: dict[str, str] = {}
    second: set[str] = set()  # the weights of a layer inside two others: each of these has them in the file
    for names, weights in pairs:
        for name, variable in zip(names, weights, strict=False):
            if first.setdefault(variable.path, name) != name:
                second.add(name)
    places = {name: path for path, name in first.items()}
    user_map = matching.pop("name_map", None)

    def find(name: str) -> str | None:
        if user_map is not None:
            found = user_map(name) if callable(user_map) else user_map.get(name, name)
            if found != name:
                return found
        return places.get(name, name)

    variables = {v.path: v for v in model.weights if id(v) in saved}
    shapes = {name: arrays.shape(name) for names in stored.values() for name in names if name not in second}
    if by_name:
        matching["partial"] = True
    label, source = owner_label(model), f"the file '{path}'"
    wanted = {p: v.shape for p, v in variables.items()}
    report = match_tensors(label, source, shapes, wanted, skip_mismatch, name_map=find, **matching)
    values = {p: arrays[name] for p, name in report.loaded.items()}
    for p, value in values.items():
        variables[p].assign(value)
    return report


def _names(group: Any, name: str, path: str) -> list[str]:
    found = attribute(group, name, path)
    if found is None:
        return []
    return found if isinstance(found, list) else [found]


def load_legacy_optimizer(optimizer: Any, root: Any, path: str) -> bool:
    """Sets the state of a built optimizer from an open HDF5 model; whether the file's state is of its kind."""
    if OPTIMIZER not in root:
        return True
    arrays = Datasets(root[OPTIMIZER], path, root.id.get_filesize())
    names = [n for n in _names(root[OPTIMIZER], "weight_names", path) if n in arrays]
    stored: Mapping[str, Any] = {str(i): arrays[name] for i, name in enumerate(names)}
    slots = optimizer._slots
    count = len(optimizer._parameters)
    kinds = len(slots) // count if count else 0
    # Optimizers up to Keras 2.10 had each kind of slot for all variables, named after the variable first; the names of
    # Keras 2 end in ":0".
    old = len(names) == 1 + len(slots) == 1 + kinds * count and kinds and names[1].endswith(":0")
    if old and names[1].split("/")[1] not in _SLOTS:
        order = [0, *(1 + kind * count + i for i in range(count) for kind in range(kinds))]
        stored = {str(place): stored[str(i)] for place, i in enumerate(order)}
    return load_optimizer(optimizer, stored)
