"""Instructions that only give a value a name: the name goes to the instruction that makes the value."""

from __future__ import annotations

from typing import Any

from lamina.graph.ir import Value
from lamina.graph.passes.rewrite import Rewriter


def drop_identities(graph: Any) -> Any:
    """What `lamina.graph.tag` names is named where it is made; the Identity, which would bar fusion, goes.

    An Identity stays where an input or a constant is an output. Of several names of one value the first stays.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.graph import tag, trace
        >>> graph = trace(lambda x: tag(jnp.exp(x), "power") + 1.0, (3,))
        >>> [i.op for i in drop_identities(graph).instrs], drop_identities(graph).find("power").shape
        (['Exp', 'Add'], (3,))
    """
    r = Rewriter(graph)
    named: set[Value] = set()
    for instr in list(r.graph.instrs):
        for key, sub in instr.attrs.items():
            if sub in instr.subgraphs:
                instr.attrs[key] = drop_identities(sub)
        if instr.op != "Identity":
            r.producers.update(dict.fromkeys(instr.outputs, instr))
            continue
        value, name = instr.inputs[0], instr.output
        while value in r.replaced:
            value = r.replaced[value]
        maker = r.producers.get(value)
        if maker is None and name in graph.outputs:
            continue
        if maker is None or maker.op == "Identity" or value in named or value in graph.outputs:
            r.replaced[name] = value
            continue
        maker.outputs = tuple(name if v is value else v for v in maker.outputs)
        r.replaced[value] = name
        r.producers[name] = maker
        named.add(name)
        r.graph.instrs = [i for i in r.graph.instrs if i is not instr]
    return r.done()


def tags(graph: Any) -> frozenset[str]:
    """The names that values were given by `lamina.graph.tag`.

    Example:
        >>> from lamina.graph import tag, trace
        >>> sorted(tags(trace(lambda x: tag(x + 1.0, "next") * 2.0, ())))
        ['next']
    """
    return frozenset(i.output.name for i in graph.instrs if i.op == "Identity")
