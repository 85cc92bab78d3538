"""A rough count of the arithmetic in a jaxpr, to choose how to run it before it has been timed."""

from __future__ import annotations

import math
from typing import Any


def multiply_adds(jaxpr: Any) -> float:
    """The multiply-adds of the matrix products and convolutions in a jaxpr, loops with known lengths included."""
    total = 0.0
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name == "dot_general":
            (contract, _), _ = eqn.params["dimension_numbers"]
            lhs = eqn.invars[0].aval
            total += math.prod(eqn.outvars[0].aval.shape) * math.prod(lhs.shape[d] for d in contract)
        elif name == "conv_general_dilated":
            out, kernel = eqn.outvars[0].aval, eqn.invars[1].aval
            spec = eqn.params["dimension_numbers"].rhs_spec
            total += math.prod(out.shape) * math.prod(kernel.shape) / kernel.shape[spec[0]]
        else:
            times = eqn.params.get("length", 1) if name == "scan" else 1
            for value in eqn.params.values():
                for one in value if isinstance(value, (list, tuple)) else (value,):
                    inner = getattr(one, "jaxpr", one)
                    if hasattr(inner, "eqns"):
                        total += times * multiply_adds(inner)
    return total
