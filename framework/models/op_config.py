"""Calls of ops in the config of a model, in Keras' format: there each op is a class whose constructor takes the
arguments that are no tensors, and whose call takes the tensors.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from lamina.core import registry
from lamina.core.errors import did_you_mean, listing
from lamina.ops.convert import convert_to_tensor
from lamina.ops.symbol import symbols_in

# Parameters that are tensors even where a call gives a plain number for them.
_TENSORS = frozenset(
    "a array bias bins condition data depthwise_kernel elements f index indices inputs kernel key mask operands output "
    "pointwise_kernel predictions q query scale segment_ids sorted_sequence start start_indices step stop target "
    "targets tensor updates value values x x1 x2 xs y".split()
)
# Arguments that Keras gives to the call even if they are no tensors, by op.
_OF_THE_CALL = {
    "average": {"weights"},
    "batch_normalization": {"mean", "variance", "offset"},
    "ctc_decode": {"sequence_lengths"},
    "ctc_loss": {"target_length", "output_length"},
    "full_like": {"fill_value"},
    "isclose": {"rtol", "atol"},
    "layer_normalization": {"gamma", "beta"},
    "lstsq": {"b"},
    "map_coordinates": {"coordinates"},
    "pad": {"constant_values"},
    "rearrange": {"pattern"},
    "scale_and_translate": {"output_shape", "translation"},
    "select": {"default"},
    "solve": {"b"},
    "solve_triangular": {"b"},
}
# Where Keras' name of the class is not the op's name in camel case.
_CLASS_NAMES = {
    "allclose": "AllClose",
    "batch_normalization": "BatchNorm",
    "cdist": "CDist",
    "ctc_decode": "CTCDecode",
    "ctc_loss": "CTCLoss",
    "fft": "FFT",
    "fft2": "FFT2",
    "hard_swish": "HardSilu",
    "hsv_to_rgb": "HSVToRGB",
    "ifft2": "IFFT2",
    "irfft": "IRFFT",
    "isin": "IsIn",
    "istft": "ISTFT",
    "layer_normalization": "LayerNorm",
    "psnr": "PSNR",
    "rfft": "RFFT",
    "rgb_to_grayscale": "RGBToGrayscale",
    "rgb_to_hsv": "RGBToHSV",
    "rms_normalization": "RMSNorm",
    "searchsorted": "SearchSorted",
    "ssim": "SSIM",
    "stft": "STFT",
    "svd": "SVD",
    "swish": "Silu",
}
_MATH = frozenset(
    "cdist erf erfc erfinv extract_sequences fft fft2 ifft2 in_top_k irfft istft logdet logsumexp rfft rsqrt "
    "segment_max segment_sum stft top_k view_as_complex view_as_real".split()
)
_CORE = frozenset(
    "associative_scan cast cond convert_to_tensor fori_loop map saturate_cast scan scatter scatter_update slice "
    "slice_update stop_gradient switch unstack vectorized_map while_loop".split()
)
_FOLDERS = {
    "activation": "nn",
    "activations": "nn",
    "conv": "nn",
    "ctc": "nn",
    "filters": "image",
    "image": "image",
    "linalg": "linalg",
    "nn": "nn",
    "patches": "image",
    "pool": "nn",
    "segment": "math",
    "warp": "image",
}
_ELSEWHERE = {"fold": "nn", "moments": "nn", "polar": "nn", "rearrange": "einops", "slogdet": "numpy", "unfold": "nn"}
# Functions of lamina that Keras has no class for; they go under lamina's own names.
_OWN = frozenset("categorical dropout exponential gru linear lstm mish shuffle simple_rnn".split())


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def class_name(name: str) -> str:
    """The name of the class that an op is in Keras.

    Example:
        >>> class_name("reduce_sum"), class_name("fft")
        ('ReduceSum', 'FFT')
    """
    return _CLASS_NAMES.get(name) or "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _label(op: Callable[..., Any], others: dict[str, Any]) -> tuple[str, str]:
    """The module and name of the class that Keras has for an op, called with these arguments beside the tensors."""
    name, folder = op.__name__, op.__module__.rpartition(".")[2]
    if name in _OWN:
        return op.__module__, name
    if name == "relu" and others:
        return "keras.src.activations.activations", "ReLU"
    if name in _MATH:
        folder = "math"
    elif name in _CORE:
        folder = "core"
    else:
        folder = _ELSEWHERE.get(name) or _FOLDERS.get(folder, "numpy")
    return f"keras.src.ops.{folder}", class_name(name)


def split_arguments(op: Callable[..., Any], args: tuple, kwargs: dict) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call as (tensors, in order; the others by name)."""
    signature = inspect.signature(op)
    tensors: list[Any] = []
    others: dict[str, Any] = {}
    for name, value in signature.bind(*args, **kwargs).arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            tensors.extend(value)
        elif kind is inspect.Parameter.VAR_KEYWORD:
            others.update(value)
        elif symbols_in(value) or (name in _TENSORS and (op.__name__, name) != ("histogram", "bins")):
            tensors.append(value)
        else:
            others[name] = value
    return tensors, others


def op_config(op: Callable[..., Any], name: str, encode: Callable[[Any], Any], node: Any) -> dict[str, Any]:
    """One call of an op as plain values.

    Args:
        op: the op.
        name: the name of the call.
        encode: makes plain values of an argument.
        node: the call.
    """
    own = registry.family_of(op.__module__) is not None and not registry.is_registered(op)
    tensors, others = split_arguments(op, node.args, node.kwargs)
    module, label = _label(op, others) if own else (op.__module__, op.__name__)
    call = {k: others.pop(k) for k in list(others) if own and k in _OF_THE_CALL.get(op.__name__, ())}
    return {
        "module": module,
        "class_name": label,
        "config": {"name": name, **encode(others)},
        "registered_name": label if own else registry.registered_name(op),
        "name": name,
        "inbound_nodes": [{"args": encode(tensors), "kwargs": encode(call)}],
    }


_OP_MODULES = ("keras.src.ops", "keras.src.activations", "lamina.ops", "lamina.activations", "lamina.random")


def is_op_config(config: dict[str, Any]) -> bool:
    """Whether an entry of a config describes the call of an op, rather than a layer."""
    if str(config.get("module")).startswith(_OP_MODULES):
        return True
    found = registry.get_registered_object(config.get("registered_name") or config["class_name"])
    return registry.is_function(found)


def op_from_config(config: dict[str, Any]) -> Callable[..., Any]:
    """The op that an entry of a config names.

    Raises:
        ValueError: there is no such op; the message suggests the closest.
    """
    registered = registry.get_registered_object(config.get("registered_name") or config["class_name"])
    if registered is not None:
        return registered
    module = str(config["module"])
    known = next((f for f in ("activations", "random") if f in module), "ops")
    wanted = _plain(config["class_name"])
    if wanted == "converttotensor":  # Keras records it where masks pass through layers
        return convert_to_tensor
    for name, op in registry.BUILTIN[known].items():
        if wanted in (_plain(name), _plain(_CLASS_NAMES.get(name, name))):
            return op
    hint = did_you_mean(config["class_name"], registry.BUILTIN[known])
    raise ValueError(f"No op is named {config['class_name']!r}.{hint}")


def call_op(op: Callable[..., Any], tensors: list[Any], kwargs: dict[str, Any], others: dict[str, Any]) -> Any:
    """Calls an op with the parts that `split_arguments` made.

    Raises:
        ValueError: the op does not take an argument of the config.
    """
    parameters = inspect.signature(op).parameters
    free = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = {k: v for k, v in {**others, **kwargs}.items() if k != "name"}
    unknown = [k for k in named if k not in parameters and not free]
    if unknown:
        raise ValueError(
            f"ops.{op.__name__}: the config has {listing(unknown, 'and')}, but the op takes "
            f"{listing(list(parameters), 'and')}."
        )
    positional: list[Any] = []
    remaining = list(tensors)
    if op.__name__ == "get_item" and len(remaining) > 1 and isinstance(remaining[1], list):
        remaining[1] = tuple(remaining[1])  # JSON has no tuples
    for name, parameter in parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional += remaining
            remaining = []
        elif parameter.kind is parameter.POSITIONAL_OR_KEYWORD and name in named and remaining:
            positional.append(named.pop(name))
        elif remaining:
            positional.append(remaining.pop(0))
    return op(*positional, **named)
