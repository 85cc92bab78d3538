"""Model configurations of Keras 2 as those of Keras 3: calls as lists of names, arguments that are gone or renamed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from lamina.core import registry
from lamina.core.config import _parameters
from lamina.models.op_config import class_name
from lamina.wire.errors import FileFormatError

_HINTS = frozenset({"batch_input_shape", "batch_shape", "input_shape", "input_dim"})
_VALUES = frozenset({"__keras_tensor__", "__numpy__", "__tensor__", "__bytes__", "__lambda__", "DTypePolicy"})
_GRAPHS = frozenset({"Functional", "Model", "Sequential"})
# Arguments that say how Keras 2 ran a layer, or what it had been built on: they are passed over.
_GONE = frozenset(
    "adjustment decay dynamic fused implementation input_dtype input_length is_legacy_optimizer jit_compile key_shape "
    "query_shape value_shape virtual_batch_size".split()
)
_RENAMED = {
    "Dropout": {"p": "rate"},
    "LeakyReLU": {"alpha": "negative_slope"},
    "LSTM": {"inner_activation": "recurrent_activation"},
    "GRU": {"inner_activation": "recurrent_activation"},
}
# Arguments of the plain convolution that these inherited in Keras 2 and never used.
_UNUSED = frozenset("bias_initializer filters groups kernel_constraint kernel_initializer kernel_regularizer".split())
_CELLS = frozenset({"RNN", "SimpleRNN", "GRU", "LSTM", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "Bidirectional"})


def modern(convert: Callable[[Any], Any], config: Any, path: str) -> Any:
    """A configuration in a file, converted.

    Raises:
        FileFormatError: it is damaged.
    """
    try:
        return convert(config)
    except (KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise FileFormatError(
            f"'{path}': the configuration is damaged ({type(error).__name__}: {str(error)[:200]})."
        ) from error


def modern_config(config: Any) -> Any:
    """A configuration of Keras 2 in Keras 3's form; what is in it already stays as it is."""
    if isinstance(config, list):
        return [modern_config(c) for c in config]
    if not isinstance(config, dict):
        return config
    if not ("class_name" in config and "config" in config):
        return {k: modern_config(v) for k, v in config.items()}
    name, inner = config["class_name"], config["config"]
    if name == "Sequential" and isinstance(inner, list):  # Keras before 2.2.3
        inner = {"name": "sequential", "layers": inner}
    if name in ("Policy", "PolicyV1"):
        return inner["name"]
    if name in _VALUES or not isinstance(inner, dict):
        return {**config, "config": inner}
    made = {**config, "config": {k: modern_config(v) for k, v in inner.items()}}
    made = _graph(made) if name in _GRAPHS or "input_layers" in inner else _layer(made)
    if "inbound_nodes" in made:
        made["inbound_nodes"] = [_call(node, name) for node in made["inbound_nodes"]]
        made.pop("build_config", None)  # the calls build it
    return made


def _graph(config: dict[str, Any]) -> dict[str, Any]:
    inner = dict(config["config"])
    if config["class_name"] == "Model" and "input_layers" in inner:
        config = {**config, "class_name": "Functional"}
    inner.pop("batch_input_shape", None)
    if "input_layers" in inner:
        _count_calls_from_zero(inner)
        for key in ("input_layers", "output_layers"):
            places = inner.get(key)
            if isinstance(places, list) and len(places) == 1 and isinstance(places[0], list):
                inner[key] = places[0]  # a list of one was how Keras 2 said a single one
    return {**config, "config": inner}


def _count_calls_from_zero(graph: dict[str, Any]) -> None:
    """Keras 2 counts the graph of a model inside a graph as the model's call number 0."""
    models = {c["name"]: c["class_name"] for c in graph["layers"] if c.get("class_name") in _GRAPHS}
    tensors = [x["config"]["keras_history"] for x in _find_tensors(graph["layers"])]
    places = _find_places(graph["output_layers"])
    for name, kind in models.items():
        used = [h for h in tensors if h[0] == name]
        out = [p for p in places if p[0] == name]
        if any(h[1] == 0 for h in [*used, *([] if kind != "Sequential" else out)]):
            continue
        # In `output_layers` Keras 3 still counts so, for functional models.
        for history in [*used, *(out if kind == "Sequential" else [])]:
            history[1] -= 1


def _find_places(x: Any) -> list[list[Any]]:
    """The entries [name, call, output] of a structure of outputs."""
    if isinstance(x, dict):
        return [p for v in x.values() for p in _find_places(v)]
    if not isinstance(x, list):
        return []
    return [x] if x and isinstance(x[0], str) else [p for v in x for p in _find_places(v)]


def _find_tensors(x: Any) -> list[dict[str, Any]]:
    if isinstance(x, dict):
        if x.get("class_name") == "__keras_tensor__":
            return [x]
        return [t for k, v in x.items() if k != "config" or "class_name" not in x for t in _find_tensors(v)]
    return [t for v in x for t in _find_tensors(v)] if isinstance(x, list) else []


def _layer(config: dict[str, Any]) -> dict[str, Any]:
    name, inner = config["class_name"], dict(config["config"])
    if name == "InputLayer":
        if "batch_input_shape" in inner:
            inner["batch_shape"] = inner.pop("batch_input_shape")
        keep = ("batch_shape", "dtype", "name", "sparse", "optional")
        return {**config, "config": {k: v for k, v in inner.items() if k in keep and v is not None and v is not False}}
    if name == "Normalization" and inner.get("mean") is None:
        inner.pop("mean", None)
        inner.pop("variance", None)
    if name == "GroupedQueryAttention":  # as Keras 3 calls the class where it names no module
        config = {**config, "class_name": "GroupQueryAttention"}
    if name == "ThresholdedReLU":
        inner["threshold"] = inner.pop("theta", 1.0)
        config = {**config, "class_name": "ReLU"}
        name = "ReLU"
    if name == "Lambda" and isinstance(inner.get("function"), list):
        raise ValueError(
            f"Lambda '{inner.get('name')}': its function was saved as Python bytecode, which lamina never runs. Save "
            "the model again with a named function, decorated with lamina.saving.register_keras_serializable()."
        )
    if name == "Lambda":
        inner = {k: v for k, v in inner.items() if k in ("name", "trainable", "dtype", "function", "arguments")}
        if isinstance(inner.get("function"), str):
            inner["function"] = {"module": "builtins", "class_name": "function", "config": inner["function"]}
    if name == "BatchNormalization" and isinstance(inner.get("axis"), list) and len(inner["axis"]) == 1:
        inner["axis"] = inner["axis"][0]
    if inner.pop("time_major", False):
        raise ValueError(f"{name} '{inner.get('name')}': time_major=True is not known any more; transpose its input.")
    for old, new in _RENAMED.get(name, {}).items():
        if old in inner:
            inner[new] = inner.pop(old)
    found = _builtin(name)
    if found is None:
        return {**config, "config": inner}
    if "module" not in config and _is_op(name, inner, config):
        return {**config, "module": "keras.src.ops.numpy", "config": inner}
    return {**config, "config": _known_arguments(found, name, inner)}


def _is_op(name: str, inner: dict[str, Any], config: dict[str, Any]) -> bool:
    """Whether an entry of Keras 3's old format, which names no module, is the call of an op such as Add."""
    if "inbound_nodes" not in config or "trainable" in inner or "dtype" in inner:
        return False
    return any(class_name(op) == name for op in registry.BUILTIN["ops"])


def _builtin(name: str) -> Any:
    if registry.get_registered_object(name) is not None:
        return None
    families = ("layers", "initializers", "regularizers", "constraints", "losses", "metrics", "optimizers")
    return next((registry.BUILTIN[f][name] for f in families if name in registry.BUILTIN.get(f, {})), None)


def _known_arguments(cls: Any, name: str, inner: dict[str, Any]) -> dict[str, Any]:
    """The arguments without those that are gone, and those that the class does not take and that asked for nothing."""
    if not inspect.isclass(cls):
        return inner
    free = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(cls.__init__).parameters.values())
    known = {*_parameters(cls), *(_HINTS if free else ())}  # type: ignore[arg-type]
    ignored = _GONE | (_UNUSED if name.startswith(("Depthwise", "Separable")) else frozenset())
    ignored |= frozenset() if free else _HINTS
    nothing: tuple[Any, ...] = (None, False, 0, 1, "", [], {})
    return {k: v for k, v in inner.items() if k in known or not (k in ignored or v in nothing)}


def _call(node: Any, name: str) -> Any:
    """One call of a layer. In Keras 2 a list of [name, call, output, keyword arguments]."""
    if isinstance(node, dict):
        return node
    if node and isinstance(node[0], str):
        node = [node]
    tensors = [_tensor(entry) for entry in node]
    kwargs: dict[str, Any] = {}
    for entry in node:
        if len(entry) > 3 and entry[3]:
            kwargs.update({k: _argument(v) for k, v in entry[3].items()})
    kwargs.pop("name", None)
    kwargs = {k: v for k, v in kwargs.items() if v is not None or k not in ("initial_state", "constants")}
    # Keras 2 wrote `training` only where the call was told so, and then it held.
    fixed = {"fixed_training": True} if kwargs.get("training") is not None else {}
    if name in _CELLS and len(tensors) > 1:
        return {"args": [tensors[0]], "kwargs": {**kwargs, "initial_state": tensors[1:]}, **fixed}
    return {"args": [tensors[0] if len(tensors) == 1 else tensors], "kwargs": kwargs, **fixed}


def _tensor(entry: list[Any]) -> dict[str, Any]:
    return {"class_name": "__keras_tensor__", "config": {"keras_history": list(entry[:3])}}


def _argument(value: Any) -> Any:
    """A keyword argument, which may be the output of a layer, or several."""
    if isinstance(value, list) and len(value) in (3, 4) and isinstance(value[0], str):
        if all(isinstance(i, int) for i in value[1:3]):
            return _tensor(value)
    if isinstance(value, list):
        return [_argument(v) for v in value]
    return value


def modern_compile_config(config: dict[str, Any]) -> dict[str, Any]:
    """The `training_config` of an HDF5 model as the compile configuration of Keras 3.

    Args:
        config: what the attribute holds.
    """
    optimizer = config.get("optimizer_config") or config.get("optimizer")
    made: dict[str, Any] = {"optimizer": _optimizer(optimizer) if isinstance(optimizer, dict) else optimizer}
    made["loss"] = _each(config.get("loss"), _loss)
    metrics, weighted = config.get("metrics"), config.get("weighted_metrics") or config.get("sample_weight_mode")
    made["metrics"] = _each(metrics or None, _metric)
    made["weighted_metrics"] = _each(weighted, _metric) if isinstance(weighted, (list, dict)) else None
    made["loss_weights"] = config.get("loss_weights") or None
    return made


def _optimizer(config: dict[str, Any]) -> dict[str, Any]:
    inner = {k: modern_config(v) for k, v in config["config"].items() if k not in _GONE}
    if "lr" in inner:
        inner["learning_rate"] = inner.pop("lr")
    lowered = {k.lower(): k for k in registry.BUILTIN["optimizers"]}
    plain = str(config["class_name"]).rpartition(">")[2].lower()  # Keras 2.15 wrote Custom>Adam
    name = lowered.get(plain, config["class_name"])
    found = _builtin(name)
    if found is not None:
        inner = _known_arguments(found, name, inner)
    if isinstance(inner.get("name"), str):
        inner["name"] = inner["name"].lower()
    return {"class_name": name, "config": inner, "module": "keras.optimizers"}


def _each(value: Any, convert: Callable[[dict], Any]) -> Any:
    """`convert` of every described object in a structure."""
    if isinstance(value, dict) and "class_name" in value:
        return convert(value)
    if isinstance(value, dict):
        return {k: _each(v, convert) for k, v in value.items()}
    if isinstance(value, list):  # [None] stands for an output without
        return [_each([] if v == [None] else v, convert) for v in value]
    return value


def _loss(config: dict[str, Any]) -> Any:
    made = modern_config(config)
    inner = made.get("config")
    if isinstance(inner, dict):
        inner = {
            **inner,
            "reduction": {"auto": "sum_over_batch_size"}.get(inner.get("reduction", "auto"), inner.get("reduction")),
        }
        found = _builtin(made["class_name"])
        if found is not None:
            inner.pop("fn", None)  # the function that the class stands for
        made = {
            **made,
            "module": "keras.losses",
            "config": inner if found is None else _known_arguments(found, made["class_name"], inner),
        }
    return made


def _metric(config: dict[str, Any]) -> Any:
    inner = config.get("config")
    if isinstance(inner, dict) and "fn" in inner:  # a function that Keras 2 wrapped: its name says which
        name = inner.get("name")
        return name if name in ("accuracy", "acc", "crossentropy", "ce") else inner["fn"]
    made = modern_config(config)
    found = _builtin(made["class_name"])
    if isinstance(made.get("config"), dict):
        inner = made["config"] if found is None else _known_arguments(found, made["class_name"], made["config"])
        made = {**made, "module": "keras.metrics", "config": inner}
    return made
