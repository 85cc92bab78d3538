"""Optax transformations as optimizers, optimizers of optimizers, and those of one's own."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optimizer_rules import LR, close, run, values, variables

from lamina import optimizers
from lamina.state.variable import Variable

# Optax.


def test_optax_keeps_its_own_numbers():
    rule = optax.chain(optax.clip_by_global_norm(0.7), optax.adamw(LR, weight_decay=0.1))
    _, history = run(optimizers.OptaxOptimizer(rule))
    params = [jnp.asarray(p, jnp.float32) for p in values()[0]]
    state = rule.init(params)
    for gradients, got in zip(values()[1], history, strict=True):
        changes, state = rule.update([jnp.asarray(g, jnp.float32) for g in gradients], state, params)
        params = optax.apply_updates(params, changes)
        for a, b in zip(got, params, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_optax_state_is_readable():
    optimizer = optimizers.get(optax.adam(LR))
    own, _ = run(optimizer, 1)
    slots = {v.path: v for v in optimizer.variables}
    assert {
        "optax_optimizer/iteration",
        "optax_optimizer/count",
        "optax_optimizer/dense_kernel_mu",
        "optax_optimizer/dense_bias_nu",
    } <= set(slots)
    close(slots["optax_optimizer/dense_bias_mu"].numpy(), 0.1 * values()[1][0][1])


def test_optax_masks_see_paths():
    mask = lambda params: {path: "kernel" in path for path in params}  # noqa: E731
    optimizer = optimizers.OptaxOptimizer(optax.chain(optax.add_decayed_weights(0.5, mask), optax.sgd(LR)))
    own, history = run(optimizer, 1)
    first, gradients = values()
    close(history[0][0], first[0] - LR * (gradients[0][0] + 0.5 * first[0]))
    close(history[0][1], first[1] - LR * gradients[0][1])


def test_optax_labels_and_injected_learning_rate():
    rules = {"a": optax.sgd(LR), "b": optax.adam(LR)}
    labels = lambda params: {path: "a" if "bias" in path else "b" for path in params}  # noqa: E731
    _, history = run(optimizers.OptaxOptimizer(optax.multi_transform(rules, labels)), 1)
    close(history[0][1], values()[0][1] - LR * values()[1][0][1])
    optimizer = optimizers.OptaxOptimizer(optax.inject_hyperparams(optax.sgd)(learning_rate=LR))
    own = variables()
    optimizer.build(own)
    optimizer.learning_rate = 1.0
    optimizer.apply_gradients(zip(values()[1][0], own, strict=True))
    close(own[0].numpy(), values()[0][0] - values()[1][0][0])
    with pytest.raises(AttributeError, match="inject_hyperparams"):
        _ = optimizers.OptaxOptimizer(optax.sgd(LR)).learning_rate
    with pytest.raises(ValueError, match="cannot be saved"):
        optimizer.get_config()


def test_optax_random_keys_are_carried_along():
    optimizer = optimizers.OptaxOptimizer(optax.chain(optax.add_noise(0.1, 0.5, jax.random.key(0)), optax.sgd(LR)))
    own, history = run(optimizer, 2)
    key = next(v for v in optimizer.variables if v.path.endswith("rng_key"))
    assert key.dtype == "uint32"
    noise = (values()[0][0] - history[0][0]) / LR - values()[1][0][0]
    again = (history[0][0] - history[1][0]) / LR - values()[1][1][0]
    assert 0 < abs(noise).max() < 3 and abs(noise - again).max() > 1e-3


# Optimizers of optimizers, and of one's own.


def test_loss_scale_grows_shrinks_and_leaves_bad_steps_out():
    inner = optimizers.SGD(1.0)
    optimizer, v = (
        optimizers.LossScaleOptimizer(inner, initial_scale=4.0, dynamic_growth_steps=2),
        Variable(0.0, name="v"),
    )
    seen = []
    for gradient in (4.0, 4.0, np.inf, 4.0, np.nan):
        optimizer.apply_gradients([(jnp.float32(gradient), v)])
        seen.append((float(v), float(optimizer.dynamic_scale)))
    assert seen == [(-1.0, 4.0), (-2.0, 8.0), (-2.0, 4.0), (-3.0, 4.0), (-3.0, 2.0)]
    assert int(optimizer.iterations.value) == 3 and float(optimizer.scale_loss(3.0)) == 6.0
    assert float(optimizer.loss_scale([x.value for x in optimizer.variables])) == 2.0
    twin = optimizers.deserialize(optimizers.serialize(optimizer))
    assert twin.get_config() == optimizer.get_config()


def test_each_variable_has_the_optimizer_of_its_pattern():
    table = optimizers.OptimizerMap(optimizers.SGD(LR), {".*/kernel": optimizers.Adam(LR)})
    optimizer = optimizers.MultiOptimizer(table)
    own, history = run(optimizer)
    _, by_adam = run(optimizers.Adam(LR))
    _, by_sgd = run(optimizers.SGD(LR))
    close(history[-1][0], by_adam[-1][0])
    close(history[-1][1], by_sgd[-1][1])
    twin = optimizers.deserialize(optimizers.serialize(optimizer))
    close(run(twin)[1][-1][0], by_adam[-1][0])
    with pytest.raises(AttributeError, match="no learning rate of its own"):
        _ = optimizer.learning_rate
    with pytest.raises(ValueError, match="more than one pattern"):
        _ = optimizers.OptimizerMap(optimizers.SGD(), {"a.*": optimizers.SGD(), ".*b": optimizers.SGD()})["ab"]


class HandMade(optimizers.Optimizer):
    def __init__(self, learning_rate=0.1, momentum=0.9, name="hand_made", **kwargs):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient, variable, learning_rate):
        m = self.momentums[self._get_variable_index(variable)]
        self.assign(m, m * self.momentum - learning_rate * gradient)
        self.assign_add(variable, m)


@pytest.mark.parametrize("arguments", [{}, {"gradient_accumulation_steps": 2, "clipnorm": 0.5, "use_ema": True}])
def test_update_step_in_keras_style(arguments):
    optimizer = HandMade(LR, **arguments)
    _, history = run(optimizer)
    _, expected = run(optimizers.SGD(LR, momentum=0.9, **arguments))
    for a, b in zip(history[-1], expected[-1], strict=True):
        close(a, b)
    assert optimizer.variables[-1].path == "hand_made/dense_bias_momentum" and optimizer.variables[-1].numpy().any()


def test_a_transformation_of_ones_own():
    class Signs(optimizers.Optimizer):
        def transformation(self):
            return optax.chain(optax.scale_by_sign(), optax.scale(-0.5))

    _, history = run(Signs(), 1)
    close(history[0][0], values()[0][0] - 0.5 * np.sign(values()[1][0][0]))
