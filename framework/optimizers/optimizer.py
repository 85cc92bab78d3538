"""The base of all optimizers."""

from __future__ import annotations

import inspect
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lamina.core import settings
from lamina.core.checks import check_int, check_number, unknown_arguments
from lamina.core.config import deserialize_value, serialize_value
from lamina.core.errors import ShapeError, describe, listing
from lamina.core.naming import snake_case
from lamina.optimizers.composition import clip_by_norm, with_accumulation, with_average, with_missing, with_weight_decay
from lamina.optimizers.schedules import LearningRateSchedule
from lamina.optimizers.slots import slot_variables, unique_names
from lamina.optimizers.update_step import UpdateStep, update_step_rule
from lamina.state.saveable import Saveable
from lamina.state.variable import Variable

_BASE_ARGUMENTS = (
    "learning_rate",
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "loss_scale_factor",
    "gradient_accumulation_steps",
    "name",
)


class Optimizer(Saveable, UpdateStep):
    """Changes variables by their gradients. The update rule is an optax transformation, see `transformation`.

    Args:
        learning_rate: a number, a `LearningRateSchedule`, or a function of nothing or of the step.
        weight_decay: variables shrink by `learning_rate * weight_decay` of their value at each step.
        clipnorm: the norm above which the gradient of a variable is scaled down.
        clipvalue: the size to which each element of a gradient is cut.
        global_clipnorm: the norm above which all gradients together are scaled down.
        use_ema: whether running means of the variables are kept; `finalize_variable_values` puts them in place.
        ema_momentum: how much of a mean is kept at each step.
        ema_overwrite_frequency: the number of steps after which variables are set to their means; None for never.
        loss_scale_factor: a factor of the loss, taken out of the gradients again.
        gradient_accumulation_steps: the number of steps whose gradients are averaged for one update.
        name: the name; by default the class's in snake case.

    Raises:
        ValueError: an argument is out of range, or more than one kind of clipping is asked for.
        TypeError: an argument is unknown or of a wrong type.

    Example:
        >>> from lamina.optimizers import SGD
        >>> v = Variable([1.0, 2.0], name="v")
        >>> optimizer = SGD(learning_rate=0.5)
        >>> optimizer.apply_gradients([(jnp.array([1.0, 1.0]), v)])
        >>> v.numpy().tolist()
        [0.5, 1.5]
    """

    # How parameters are handed to the rule; the order of an ordered dict is that of the variables.
    _mapping_type: type = OrderedDict

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        self.name = name or snake_case(type(self).__name__)
        if kwargs.pop("decay", None) is not None:
            warnings.warn(f"{self!r}: argument 'decay' is ignored; give a schedule as learning_rate.", stacklevel=3)
        if kwargs:
            own = inspect.signature(type(self)).parameters
            raise unknown_arguments(self, kwargs, {*own, *_BASE_ARGUMENTS} - {"kwargs"})
        clips = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        given = {k: check_number(self, k, v, 0) for k, v in clips.items() if v is not None}
        if len(given) > 1:
            raise ValueError(f"{self!r}: only one of clipnorm, clipvalue and global_clipnorm may be set, got {given}.")
        self.weight_decay = (
            weight_decay if weight_decay is None else check_number(self, "weight_decay", weight_decay, 0)
        )
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm
        self.use_ema = bool(use_ema)
        self.ema_momentum = check_number(self, "ema_momentum", ema_momentum, 0, 1)
        if ema_overwrite_frequency is not None:
            check_int(self, "ema_overwrite_frequency", ema_overwrite_frequency, 1)
        self.ema_overwrite_frequency = ema_overwrite_frequency
        if loss_scale_factor is not None:
            check_number(self, "loss_scale_factor", loss_scale_factor)
        self.loss_scale_factor = loss_scale_factor
        if gradient_accumulation_steps is not None:
            check_int(self, "gradient_accumulation_steps", gradient_accumulation_steps, 2)
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self._excluded: tuple[frozenset[int], str | None] = (frozenset(), None)
        self._iterations = self._variable(np.zeros((), "int32"), "iteration")
        self._rate: Any = None
        if learning_rate is not None:
            self._set_rate(learning_rate)
        self._parameters: list[Variable] = []
        self._slots: list[Variable] = []
        self._added = []
        self._names: tuple[str, ...] = ()
        self._state_tree: Any = None
        self._jitted: Any = None
        self.revision = 0
        self.built = False

    # What a subclass defines.

    def transformation(self) -> optax.GradientTransformation:
        """The update rule: an optax transformation whose `update` may take `learning_rate` and `step`.

        Parameters come as an ordered dict of arrays by path; updates are added to them. A subclass defines this,
        or `update_step` in Keras' way.
        """
        if type(self).update_step is UpdateStep.update_step:
            raise NotImplementedError(
                f"{type(self).__name__} needs a method transformation() that returns an optax transformation, or "
                "update_step(gradient, variable, learning_rate) that assigns to the variable."
            )
        counters = [self._iterations, *self._rates()]
        return update_step_rule(self, self._owned(), self._added, counters, self.gradient_accumulation_steps or 1)

    def weight_decay_of(self, variable: Variable) -> float | None:
        """The weight decay of a variable, None if it has none."""
        return None if self._is_excluded(variable) else self.weight_decay

    # Hyperparameters.

    @property
    def iterations(self) -> Any:
        """The number of updates done."""
        if self.gradient_accumulation_steps:
            return self._iterations.value // self.gradient_accumulation_steps
        return self._iterations

    @property
    def learning_rate(self) -> Any:
        """The learning rate: its variable, or the value now of a schedule or function. May be set."""
        return self._rate if isinstance(self._rate, Variable) else self._rate_at(self._iterations.value)

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if isinstance(self._rate, LearningRateSchedule) and not callable(value):
            raise TypeError(
                f"{self!r}: learning_rate is a schedule, so no number can be set. Set another schedule, or make the "
                "optimizer with a number."
            )
        if isinstance(self._rate, Variable) and not callable(value):
            self._rate.assign(check_number(self, "learning_rate", _as_number(value), 0))
        else:
            self._set_rate(value)
            self._changed()

    def _set_rate(self, value: Any) -> None:
        if isinstance(value, dict):
            value = deserialize_value(value)
        if callable(value) and not isinstance(value, Variable):
            self._rate = value
            return
        value = check_number(self, "learning_rate", _as_number(value), 0)
        self._rate = self._variable(np.asarray(value, settings.floatx()), "learning_rate")

    def _rate_at(self, step: Any) -> Any:
        if self._rate is None:
            return None
        if not isinstance(self._rate, LearningRateSchedule) and not _takes_step(self._rate):
            return jnp.asarray(self._rate(), settings.floatx())
        return jnp.asarray(self._rate(step), settings.floatx())

    def exclude_from_weight_decay(
        self, var_list: Iterable[Variable] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Exempts variables from weight decay; call it before the optimizer is built.

        Args:
            var_list: variables.
            var_names: regular expressions, looked for in the variables' paths.

        Raises:
            ValueError: the optimizer is built already.
        """
        if self.built:
            raise ValueError(
                f"{self!r}: call exclude_from_weight_decay before the optimizer is built (by fit or build)."
            )
        names = list(var_names or ())
        self._excluded = (frozenset(id(v) for v in var_list or ()), "|".join(names) if names else None)

    def loss_scale(self, optimizer_values: Sequence[Any]) -> Any:
        """The factor of the loss, or None, as a pure function of the values of `variables`."""
        return self.loss_scale_factor

    def scale_loss(self, loss: Any) -> Any:
        """The loss whose gradients this optimizer expects."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    def _is_excluded(self, variable: Variable) -> bool:
        identities, pattern = self._excluded
        return id(variable) in identities or (pattern is not None and re.search(pattern, variable.path) is not None)

    # Variables.

    def _variable(self, value: Any, name: str) -> Variable:
        variable = Variable(value, trainable=False, autocast=False, name=name)
        variable.path = f"{self.name}/{name}"
        return variable

    @property
    def variables(self) -> list[Variable]:
        """The number of steps, the learning rate unless it is a schedule, then the slots."""
        return [self._iterations, *self._rates(), *self._slots, *self._added]

    def _saved_variables(self) -> list[Any]:
        return self.variables

    def _rates(self) -> list[Variable]:
        """The variable of the learning rate, if there is one."""
        return [self._rate] if isinstance(self._rate, Variable) else []

    def build(self, variables: Sequence[Variable]) -> None:
        """Makes the slots for `variables`, which keep their order from here on.

        Raises:
            ValueError: the optimizer was built for other variables.
        """
        variables = list(variables)
        if self.built:
            if [id(v) for v in variables] != [id(v) for v in self._parameters]:
                raise ValueError(
                    f"{self!r} was built for {_paths(self._parameters)} and cannot be built again for "
                    f"{_paths(variables)}. Make a new optimizer, as with type(o).from_config(o.get_config())."
                )
            return
        overwritten = [v.path for v in variables if v.overwrite_with_gradient]
        if overwritten and self.gradient_accumulation_steps:
            raise ValueError(
                f"{self!r}: gradient_accumulation_steps does not go with variables that are set to their gradients "
                f"({listing(overwritten, 'and')})."
            )
        self._parameters = variables
        self._names = unique_names(variables)
        state = self._initial_state(self._mapping([v.stored for v in variables]))
        self._slots = slot_variables(self.name, state, self._names)
        self._state_tree = jax.tree.structure(state)
        self.built = True

    def _initial_state(self, values: Any) -> Any:
        return self._pipeline(frozenset()).init(values)

    def _structure(self) -> Any:
        """The structure of the rule's state, with the variables that a subclass added after this class's build."""
        if not self._added:
            return self._state_tree
        zeros = [np.zeros(v.shape, jnp.dtype(v.dtype)) for v in self._parameters]
        return jax.tree.structure(self._initial_state(self._mapping(zeros)))

    def _owned(self) -> list[Variable]:
        """The variables that the update rule changes: all but those that are set to their gradients."""
        return [v for v in self._parameters if not v.overwrite_with_gradient]

    def _mapping(self, values: Sequence[Any]) -> Any:
        """The values of the variables by name, but for those that are set to their gradients."""
        return self._mapping_type(
            (name, value)
            for name, value, variable in zip(self._names, values, self._parameters, strict=True)
            if not variable.overwrite_with_gradient
        )

    def _pipeline(self, missing: frozenset[str]) -> optax.GradientTransformationExtraArgs:
        """The update rule with all that is asked for around it; what is not asked for leaves no trace."""
        rule = optax.with_extra_args_support(self.transformation())
        decay = [self.weight_decay_of(v) for v in self._owned()]
        if any(d is not None for d in decay):
            rule = with_weight_decay(rule, decay.__getitem__)
        if self.clipnorm:
            rule = optax.chain(clip_by_norm(self.clipnorm), rule)
        elif self.global_clipnorm:
            rule = optax.chain(optax.clip_by_global_norm(self.global_clipnorm), rule)
        elif self.clipvalue:
            rule = optax.chain(optax.clip(self.clipvalue), rule)
        steps = self.gradient_accumulation_steps or 1
        if steps > 1:
            rule = with_accumulation(rule, steps)
        if self.loss_scale_factor is not None:
            rule = optax.chain(optax.scale(1.0 / self.loss_scale_factor), rule)
        if missing:
            rule = with_missing(rule, missing)
        if self.use_ema:
            rule = with_average(rule, self.ema_momentum, self.ema_overwrite_frequency, steps)
        return rule

    # Updates.

    def update(
        self, optimizer_values: Sequence[Any], gradients: Sequence[Any], trainable_values: Sequence[Any]
    ) -> tuple[tuple, tuple]:
        """One step as a pure function of flat tuples, to be traced into a training loop.

        Args:
            optimizer_values: the values of `variables`.
            gradients: a gradient for each variable that the optimizer was built for; None leaves it as it is.
            trainable_values: the values of these variables.

        Returns:
            The new values of the variables, and those of the optimizer.
        """
        self._require_built("update")
        step, rest = optimizer_values[0], list(optimizer_values[1:])
        rate = rest.pop(0) if self._rates() else self._rate_at(step)
        missing = frozenset(n for n, g in zip(self._names, gradients, strict=True) if g is None)
        cast = [
            np.zeros(p.shape, p.dtype) if g is None else jnp.asarray(g).astype(p.dtype)
            for g, p in zip(gradients, trainable_values, strict=True)
        ]
        params = self._mapping(trainable_values)
        state = jax.tree.unflatten(self._structure(), rest)
        changes, state = self._pipeline(missing).update(
            self._mapping(cast), state, params, learning_rate=rate, step=step
        )
        new = []
        for name, variable, p, g in zip(self._names, self._parameters, trainable_values, cast, strict=True):
            if name in changes:
                p = (p + changes[name]).astype(p.dtype)
                if variable.constraint is not None and name not in missing:
                    p = jnp.asarray(variable.constraint(p)).astype(p.dtype)
            elif name not in missing:
                p = g
            new.append(p)
        slots = [jnp.asarray(s).astype(old.dtype) for s, old in zip(jax.tree.leaves(state), rest, strict=True)]
        return tuple(new), (step + 1, *([rate] if self._rates() else []), *slots)

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Variable]]) -> None:
        """Updates variables by their gradients; a variable whose gradient is None stays as it is.

        Raises:
            ValueError: a variable is unknown to the optimizer, or no gradient is given.
        """
        pairs = list(grads_and_vars)
        self.apply([g for g, _ in pairs], [v for _, v in pairs])

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None) -> None:
        """Updates `trainable_variables` (by default all that the optimizer was built for) by their gradients."""
        grads = list(grads)
        if trainable_variables is None:
            self._require_built("apply without variables")
            trainable_variables = self._parameters
        variables = list(trainable_variables)
        if len(grads) != len(variables):
            raise ValueError(
                f"{self!r}: expected one gradient for each of {len(variables)} variables, got {len(grads)}."
            )
        if not variables:
            return
        if not self.built:
            self.build(variables)
        place = {id(v): i for i, v in enumerate(self._parameters)}
        complete: list[Any] = [None] * len(self._parameters)
        for gradient, variable in zip(grads, variables, strict=True):
            if id(variable) not in place:
                raise ValueError(
                    f"{self!r} was built for {_paths(self._parameters)} and does not know variable "
                    f"'{variable.path}'. Make a new optimizer for new variables."
                )
            if gradient is not None and tuple(np.shape(gradient)) != variable.shape:
                raise ShapeError(
                    f"{self!r}: the gradient of variable '{variable.path}' must have its shape {variable.shape}, "
                    f"got {describe(gradient)}."
                )
            complete[place[id(variable)]] = gradient
        without = [v.path for g, v in zip(grads, variables, strict=True) if g is None]
        if len(without) == len(variables):
            raise ValueError(f"{self!r}: no gradient is given for any variable ({listing(without[:8], 'and')}).")
        if without:
            warnings.warn(
                f"{self!r}: there is no gradient for {listing(without, 'and')}; does the loss depend on them?",
                stacklevel=3,
            )
        if self._jitted is None:
            self._jitted = jax.jit(self.update)
        own = self.variables
        new, state = self._jitted(
            tuple(v.value for v in own), tuple(complete), tuple(v.value for v in self._parameters)
        )
        for variable, value, gradient in zip(self._parameters, new, complete, strict=True):
            if gradient is not None or self.use_ema:
                variable.assign(value)
        for variable, value in zip(own, state, strict=True):
            variable.assign(value)

    def stateless_apply(
        self, optimizer_variables: Sequence[Any], grads: Sequence[Any], trainable_variables: Sequence[Any]
    ) -> tuple[list, list]:
        """The pure form of `apply`: values in, new values of the trainable variables and of the optimizer out.

        Raises:
            ValueError: the optimizer is not built, or the numbers of values do not fit.
        """
        self._require_built("stateless_apply")
        wanted = {
            "optimizer_variables": (optimizer_variables, len(self.variables)),
            "grads": (grads, len(self._parameters)),
            "trainable_variables": (trainable_variables, len(self._parameters)),
        }
        for argument, (values, count) in wanted.items():
            if len(values) != count:
                raise ValueError(f"{self!r}: {argument} must be {count} values, got {len(values)}.")
        new, state = self.update([_as_array(v) for v in optimizer_variables], grads, trainable_variables)
        return list(new), list(state)

    @property
    def averages(self) -> list[tuple[Variable, Variable]]:
        """Each variable with its running mean; none unless `use_ema` is set and the optimizer is built."""
        if not self.use_ema or not self.built:
            return []
        # The averages are the outermost part of the state, so their slots come first.
        return list(zip(self._owned(), self._slots, strict=False))

    def finalize_variable_values(self, var_list: Sequence[Variable] | None = None) -> None:
        """Puts the running means in the variables' place, if `use_ema` is set; `fit` calls it at its end."""
        wanted = None if var_list is None else {id(v) for v in var_list}
        for variable, average in self.averages:
            if wanted is None or id(variable) in wanted:
                variable.assign(average.value)

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Sets the values of `variables`, in their order."""
        self._require_built("set_weights")
        own = self.variables
        if len(weights) != len(own):
            raise ValueError(f"{self!r}: set_weights expects {len(own)} arrays, got {len(weights)}.")
        for variable, value in zip(own, weights, strict=True):
            variable.assign(value)

    # Configuration.

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values; a learning rate that was set since is in it."""
        config = super().get_config()
        if "learning_rate" in config:
            rate = self._rate
            config["learning_rate"] = float(rate.value) if isinstance(rate, Variable) else serialize_value(rate)
        return config

    def __setattr__(self, name: str, value: Any) -> None:
        """A hyperparameter that is set anew takes effect at the next step."""
        object.__setattr__(self, name, value)
        if not name.startswith("_") and name not in ("learning_rate", "revision", "built") and "built" in vars(self):
            self._changed()

    def _changed(self) -> None:
        """Makes compiled updates stale; `revision` tells others that hold one."""
        self._jitted = None
        self.revision += 1

    def _require_built(self, what: str) -> None:
        if not self.built:
            raise ValueError(f"{self!r} has no slots yet, which {what} needs. Call build(trainable_variables) first.")

    def __repr__(self) -> str:
        return f"{type(self).__name__} '{self.name}'"


def _as_number(value: Any) -> Any:
    """Scalars of numpy and jax, and variables, as Python numbers."""
    if isinstance(value, Variable) or (hasattr(value, "dtype") and np.shape(value) == ()):
        return float(value)
    return value


def _as_array(value: Any) -> Any:
    return value.value if isinstance(value, Variable) else jnp.asarray(value)


def _takes_step(fn: Callable[..., Any]) -> bool:
    try:
        inspect.signature(fn).bind(0)
    except (TypeError, ValueError):
        return False
    return True


def _paths(variables: Sequence[Variable]) -> str:
    shown = listing([v.path for v in variables[:8]], "and") or "no variable"
    return f"{shown} and {len(variables) - 8} more" if len(variables) > 8 else shown
