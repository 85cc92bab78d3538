"""Any optax transformation as an optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lamina.core.errors import describe
from lamina.optimizers.optimizer import Optimizer
from lamina.optimizers.slots import unique_names
from lamina.state.variable import Variable


def _is_key(x: Any) -> bool:
    return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _key_bits(state: Any) -> Any:
    """A state with the bits of random keys in their place, since a variable cannot hold a key."""
    return jax.tree.map(lambda x: jax.random.key_data(x) if _is_key(x) else x, state)


class OptaxOptimizer(Optimizer):
    """An optax transformation as an optimizer, with optax's own numbers; its state becomes slot variables.

    Parameters reach the transformation as a dict by path, such as `{"dense/kernel": ...}`, so that masks and labels
    can be functions of paths. It may look at the parameters, but gets no extra arguments. The learning rate
    belongs to the transformation: to read and set it, make the transformation with `optax.inject_hyperparams`.

    Args:
        transformation: the transformation, which gives updates to be added, as `optax.adam(0.001)` does.
        kwargs: see `Optimizer`; all but learning_rate and weight_decay.

    Raises:
        TypeError: it is no optax transformation.

    Example:
        >>> import jax.numpy as jnp
        >>> v = Variable([1.0], name="v")
        >>> optimizer = OptaxOptimizer(optax.sgd(0.1, momentum=0.9))
        >>> optimizer.build([v])
        >>> [slot.path for slot in optimizer.variables]
        ['optax_optimizer/iteration', 'optax_optimizer/v_trace']
    """

    _mapping_type = dict

    def __init__(self, transformation: optax.GradientTransformation, **kwargs: Any):
        if not isinstance(transformation, optax.GradientTransformation):
            raise TypeError(
                "OptaxOptimizer: transformation must be an optax.GradientTransformation such as optax.adam(0.001), "
                f"got {describe(transformation)}."
            )
        for argument in ("learning_rate", "weight_decay"):
            if kwargs.pop(argument, None) is not None:
                raise ValueError(f"OptaxOptimizer: give {argument} to the transformation, as in optax.adamw(...).")
        super().__init__(None, **kwargs)
        self._transformation = transformation
        self._key_kinds: list[Any] = []

    def transformation(self) -> optax.GradientTransformation:
        """The update rule, as it was given."""
        # Extra arguments are for the rules of this package; a foreign one may choke on them.
        rule = optax.with_extra_args_support(self._transformation)

        def update(updates: Any, state: Any, params: Any = None) -> Any:
            changes, state = rule.update(updates, self._with_keys(state), params)
            return changes, _key_bits(state)

        return optax.GradientTransformation(lambda params: _key_bits(rule.init(params)), update)

    def _with_keys(self, state: Any) -> Any:
        """A state with random keys in the place of their bits."""
        tree: Any
        leaves, tree = jax.tree.flatten(state)
        pairs = zip(leaves, self._key_kinds, strict=True)
        return tree.unflatten([x if k is None else jax.random.wrap_key_data(x, impl=k) for x, k in pairs])

    def build(self, variables: Sequence[Variable]) -> None:
        """Makes the slots for `variables`."""
        if not self.built:
            names = unique_names(variables)
            shapes = {n: jax.ShapeDtypeStruct(v.shape, v.dtype) for n, v in zip(names, variables, strict=True)}
            kinds: list[Any] = []

            def look(params: Any) -> None:
                leaves = jax.tree.leaves(self._transformation.init(params))
                kinds.extend(jax.random.key_impl(x) if _is_key(x) else None for x in leaves)

            jax.eval_shape(look, shapes)
            self._key_kinds = kinds
        super().build(variables)

    def _initial_state(self, values: Any) -> Any:
        return jax.jit(self._pipeline(frozenset()).init)(values)

    def _injected_rate(self) -> Variable:
        for slot in self._slots:
            if slot.name.endswith("hyperparams_learning_rate"):
                return slot
        raise AttributeError(
            f"{self!r}: the learning rate is inside the optax transformation. To read and set it, build the optimizer "
            "on one made with optax.inject_hyperparams, as in optax.inject_hyperparams(optax.adam)(learning_rate=0.1)."
        )

    @property
    def learning_rate(self) -> Any:
        """The learning rate of a transformation made with `optax.inject_hyperparams`; may be set."""
        return self._injected_rate()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._injected_rate().assign(value)

    def get_config(self) -> dict[str, Any]:
        """Raises: a transformation is made of functions, which a config cannot hold."""
        raise ValueError(
            f"{self!r}: an optax transformation cannot be saved in a config, since it is made of functions. Save the "
            "weights, or the model without its optimizer, and give the transformation again."
        )
