"""lamina: a Keras-like training framework on JAX.

Names are loaded when they are first used, so that importing lamina costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_SUBMODULES = (
    "activations",
    "backend",
    "callbacks",
    "config",
    "constraints",
    "datasets",
    "dtype_policies",
    "export",
    "graph",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "mixed_precision",
    "models",
    "ops",
    "optimizers",
    "quantization",
    "random",
    "regularizers",
    "saving",
    "state",
    "summary",
    "utils",
)

# Public name -> the module that defines it.
_NAMES = {
    "DTypePolicy": "core.dtypes",
    "Functional": "models.model",
    "Initializer": "initializers",
    "Input": "layers.input_layer",
    "InputSpec": "layers.input_spec",
    "KerasTensor": "ops.symbol:Symbol",
    "Layer": "layers.layer",
    "Loss": "losses.loss",
    "Metric": "metrics.metric",
    "Model": "models.model",
    "Optimizer": "optimizers",
    "Regularizer": "regularizers",
    "Sequential": "models.sequential",
    "Variable": "state.variable",
    "load_frozen": "export.load",
    "purify": "state.frame",
    "quantize_aware": "quantization.quantize_aware",
    "set_compile_cache": "executor.compile_cache",
}

__all__ = ["__version__", *_SUBMODULES, *_NAMES]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        module, _, attribute = _NAMES[name].partition(":")
        value = getattr(importlib.import_module(f"lamina.{module}"), attribute or name)
    elif name in _SUBMODULES:
        value = importlib.import_module(f"lamina.{name}")
    else:
        raise AttributeError(f"module 'lamina' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
