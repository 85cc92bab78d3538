"""Optimizers against their published formulas in float64, and one contract for all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optimizer_rules import LR, RULE, STEPS, adam, close, make, run, sgd, values, variables

from lamina import optimizers
from lamina.core.errors import ShapeError
from lamina.optimizers import schedules
from lamina.state.variable import Variable


@RULE
def test_formula(name, arguments, rule):
    current, gradients = values()
    states = [{} for _ in current]
    _, history = run(make(name, arguments))
    for t in range(STEPS):
        current = [rule(p, g, s, t + 1) for p, g, s in zip(current, gradients[t], states, strict=True)]
        for got, expected in zip(history[t], current, strict=True):
            close(got, expected)


@RULE
def test_pure_form_in_a_loop_equals_apply(name, arguments, rule):
    own, history = run(make(name, arguments))
    optimizer = make(name, arguments)
    fresh = variables()
    optimizer.build(fresh)
    stacked = [np.stack([g[i] for g in values()[1]]).astype("f") for i in range(len(fresh))]

    def body(i, carry):
        return optimizer.update(carry[1], [g[i] for g in map(jnp.asarray, stacked)], carry[0])

    start = tuple(v.value for v in fresh), tuple(v.value for v in optimizer.variables)
    new, state = jax.jit(lambda c: jax.lax.fori_loop(0, STEPS, body, c))(start)
    for got, expected in zip(new, history[-1], strict=True):
        close(got, expected)
    assert int(state[0]) == STEPS and int(optimizer.iterations.value) == 0
    assert [(s.shape, s.dtype) for s in state] == [(v.shape, v.dtype) for v in optimizer.variables]


@RULE
def test_config_round_trip(name, arguments, rule):
    optimizer = make(name, arguments, clipnorm=0.5)
    twin = optimizers.deserialize(optimizers.serialize(optimizer))
    assert type(twin) is type(optimizer) and twin.get_config() == optimizer.get_config()
    for got, expected in zip(run(twin, 2)[1][-1], run(optimizer, 2)[1][-1], strict=True):
        np.testing.assert_array_equal(got, expected)


# What surrounds the rule.


def reference(rule, transform=lambda g, t: g, decay=0.0, every=1, accumulated=None):
    current, gradients = values()
    states = [{} for _ in current]
    history = []
    for t in range(STEPS):
        g = transform(gradients[t], t)
        current = [rule(p * (1 - LR * decay), x, s, t + 1) for p, x, s in zip(current, g, states, strict=True)]
        history.append(current)
    return history


def clip_each(gradients, t):
    return [g * min(1, 0.5 / np.linalg.norm(g)) for g in gradients]


def clip_all(gradients, t):
    norm = np.sqrt(sum((g**2).sum() for g in gradients))
    return [g * min(1, 0.5 / norm) for g in gradients]


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ({"clipnorm": 0.5}, lambda: reference(sgd, clip_each)),
        ({"global_clipnorm": 0.5}, lambda: reference(sgd, clip_all)),
        ({"clipvalue": 0.5}, lambda: reference(sgd, lambda gs, t: [np.clip(g, -0.5, 0.5) for g in gs])),
        ({"weight_decay": 0.3}, lambda: reference(sgd, decay=0.3)),
        ({"loss_scale_factor": 8.0}, lambda: reference(sgd, lambda gs, t: [g / 8 for g in gs])),
    ],
)
def test_clipping_decay_and_scale(arguments, expected):
    _, history = run(optimizers.SGD(LR, **arguments))
    for got, wanted in zip(history, expected(), strict=True):
        for a, b in zip(got, wanted, strict=True):
            close(a, b)


def test_accumulation_averages_gradients_and_counts_updates():
    optimizer = optimizers.Adam(LR, gradient_accumulation_steps=2)
    own, history = run(optimizer)
    first, gradients = values()
    for i, p in enumerate(first):
        state = {}
        close(history[0][i], p)
        for t in (0, 1):
            p = adam(p, (gradients[2 * t][i] + gradients[2 * t + 1][i]) / 2, state, t + 1)
            close(history[2 * t + 1][i], p)
    assert int(optimizer.iterations) == 2 and optimizer.variables[0].numpy() == 4


def test_averages_replace_variables_at_the_end_and_now_and_then():
    optimizer = optimizers.SGD(LR, use_ema=True, ema_momentum=0.5)
    own, history = run(optimizer)
    average = history[0]
    for step in history[1:]:
        average = [0.5 * a + 0.5 * p for a, p in zip(average, step, strict=True)]
    optimizer.finalize_variable_values(own)
    for v, a in zip(own, average, strict=True):
        close(v.numpy(), a)

    _, overwritten = run(optimizers.SGD(LR, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2))
    for a, b, c in zip(history[0], history[1], overwritten[1], strict=True):
        close(c, 0.5 * a + 0.5 * b)


def test_exclusion_from_weight_decay_by_name_and_by_variable():
    first, gradients = values()
    for how in ("names", "list"):
        optimizer, own = optimizers.SGD(LR, weight_decay=0.5), variables()
        optimizer.exclude_from_weight_decay(**{"var_names": ["bias"]} if how == "names" else {"var_list": own[1:]})
        optimizer.apply_gradients(zip(gradients[0], own, strict=True))
        close(own[0].numpy(), first[0] * (1 - LR * 0.5) - LR * gradients[0][0])
        close(own[1].numpy(), first[1] - LR * gradients[0][1])
        with pytest.raises(ValueError, match="before the optimizer is built"):
            optimizer.exclude_from_weight_decay(var_names=["kernel"])


def test_constraints_hold_after_each_update():
    own = variables()
    own[0].constraint = lambda w: jnp.maximum(w, 0)
    optimizer = optimizers.SGD(LR)
    optimizer.apply_gradients(zip(values()[1][0], own, strict=True))
    close(own[0].numpy(), np.maximum(values()[0][0] - LR * values()[1][0][0], 0))


@pytest.mark.parametrize("arguments", [{}, {"use_ema": True, "weight_decay": 0.1}])
def test_a_variable_without_gradient_stays_with_its_slots(arguments):
    own, optimizer = variables(), optimizers.Adam(LR, **arguments)
    before = own[1].numpy()
    for gradients in values()[1]:
        with pytest.warns(UserWarning, match="no gradient for 'dense/bias'"):
            optimizer.apply_gradients([(gradients[0], own[0]), (None, own[1])])
    np.testing.assert_array_equal(own[1].numpy(), before)
    slots = {v.path: v.numpy() for v in optimizer.variables}
    assert not slots["adam/dense_bias_momentum"].any() and slots["adam/dense_kernel_momentum"].any()
    if arguments:
        np.testing.assert_array_equal(slots["adam/dense_bias_average"], before)


def test_some_of_the_known_variables():
    own, optimizer = variables(), optimizers.SGD(LR)
    optimizer.build(own)
    optimizer.apply_gradients([(values()[1][0][1], own[1])])
    close(own[0].numpy(), values()[0][0])
    close(own[1].numpy(), values()[0][1] - LR * values()[1][0][1])


def test_a_variable_may_be_set_to_its_gradient():
    own = variables()
    own[1].overwrite_with_gradient = True
    optimizer = optimizers.Adam(LR)
    optimizer.apply_gradients(zip(values()[1][0], own, strict=True))
    close(own[1].numpy(), values()[1][0][1])
    assert [v.path for v in optimizer.variables][2:] == ["adam/dense_kernel_momentum", "adam/dense_kernel_velocity"]


def test_half_width_variables_keep_their_dtype():
    v = Variable(jnp.ones(3, "bfloat16"), name="v")
    optimizer = optimizers.Adam(LR, weight_decay=0.1, use_ema=True, gradient_accumulation_steps=2)
    for _ in range(2):
        optimizer.apply_gradients([(jnp.ones(3, "float32"), v)])
    assert v.dtype == "bfloat16" and float(v[0]) < 1
    assert {s.dtype for s in optimizer.variables[2:]} == {"bfloat16"}


def test_nothing_is_traced_for_what_is_not_asked_for():
    optimizer, own = optimizers.SGD(LR), variables()
    optimizer.build(own)
    args = tuple(v.value for v in optimizer.variables), tuple(v.value for v in own), tuple(v.value for v in own)
    names = [e.primitive.name for e in jax.make_jaxpr(optimizer.update)(*args).eqns]
    assert set(names) <= {"add", "mul", "neg", "convert_element_type"} and names.count("mul") == len(own)


def test_slots_are_named_and_ordered_as_in_keras():
    optimizer = optimizers.Adam(amsgrad=True, use_ema=True)
    optimizer.build(variables())
    assert [v.path.removeprefix("adam/") for v in optimizer.variables] == [
        "iteration",
        "learning_rate",
        "dense_kernel_average",
        "dense_bias_average",
        "dense_kernel_momentum",
        "dense_kernel_velocity",
        "dense_bias_momentum",
        "dense_bias_velocity",
        "dense_kernel_velocity_hat",
        "dense_bias_velocity_hat",
    ]


def test_weights_carry_an_optimizer_over():
    one, history = run(optimizers.Adam(LR))
    optimizer = optimizers.Adam(LR)
    own, _ = run(optimizer, 2)
    other, again = optimizers.Adam(0.5), variables()
    other.build(again)
    other.set_weights([v.numpy() for v in optimizer.variables])
    for v, w in zip(again, own, strict=True):
        v.assign(w)
    for gradients in values()[1][2:]:
        other.apply_gradients(zip(gradients, again, strict=True))
    for v, expected in zip(again, history[-1], strict=True):
        np.testing.assert_array_equal(v.numpy(), expected)


# Learning rates.


def test_learning_rate_may_be_set():
    optimizer, own = optimizers.SGD(LR), variables()
    optimizer.build(own)
    revision = optimizer.revision
    optimizer.learning_rate = 0.5
    assert float(optimizer.learning_rate) == 0.5 and optimizer.get_config()["learning_rate"] == 0.5
    assert optimizer.revision == revision  # a new number needs no new program
    optimizer.apply_gradients(zip(values()[1][0], own, strict=True))
    close(own[0].numpy(), values()[0][0] - 0.5 * values()[1][0][0])
    optimizer.learning_rate = schedules.ExponentialDecay(1.0, 1, 0.5)
    assert optimizer.revision > revision and len(optimizer.variables) == 1
    assert float(optimizer.learning_rate) == 0.5
    with pytest.raises(TypeError, match="schedule"):
        optimizer.learning_rate = 0.1


@pytest.mark.parametrize(
    "rate, expected",
    [
        (schedules.ExponentialDecay(1.0, 1, 0.5), [1.0, 0.5, 0.25, 0.125]),
        (optax.linear_schedule(1.0, 0.0, 4), [1.0, 0.75, 0.5, 0.25]),
        (lambda: 0.25, [0.25] * 4),
    ],
)
def test_rates_that_are_functions(rate, expected):
    v = Variable(0.0, name="v")
    optimizer = optimizers.SGD(rate)
    steps = []
    for _ in expected:
        before = float(v)
        optimizer.apply_gradients([(1.0, v)])
        steps.append(before - float(v))
    np.testing.assert_allclose(steps, expected, rtol=1e-5)


def test_a_schedule_counts_steps_while_updates_accumulate():
    v = Variable(0.0, name="v")
    optimizer = optimizers.SGD(schedules.ExponentialDecay(1.0, 1, 0.5), gradient_accumulation_steps=2)
    for _ in range(2):
        optimizer.apply_gradients([(1.0, v)])
    assert float(v) == -0.5  # the rate of step 1


def test_a_hyperparameter_set_anew_takes_effect():
    v = Variable(0.0, name="v")
    optimizer = optimizers.SGD(1.0, momentum=0.5)
    optimizer.apply_gradients([(1.0, v)])
    optimizer.momentum = 1.0
    optimizer.apply_gradients([(1.0, v)])
    assert float(v) == -3.0


COSINE = 0.5 * (1 + np.cos(np.pi * np.arange(12) / 8))


@pytest.mark.parametrize(
    "schedule, expected",
    [
        (schedules.ExponentialDecay(0.2, 4, 0.5), 0.2 * 0.5 ** (np.arange(12) / 4)),
        (schedules.ExponentialDecay(0.2, 4, 0.5, staircase=True), 0.2 * 0.5 ** (np.arange(12) // 4)),
        (schedules.InverseTimeDecay(0.2, 4, 0.5), 0.2 / (1 + 0.5 * np.arange(12) / 4)),
        (schedules.InverseTimeDecay(0.2, 4, 0.5, staircase=True), 0.2 / (1 + 0.5 * (np.arange(12) // 4))),
        (schedules.PolynomialDecay(0.2, 6, 0.02, power=2.0), 0.18 * (1 - np.minimum(np.arange(12), 6) / 6) ** 2 + 0.02),
        (
            schedules.PolynomialDecay(0.2, 4, 0.0, cycle=True),
            0.2 * (1 - np.arange(12) / (4 * np.maximum(np.ceil(np.arange(12) / 4), 1))),
        ),
        (schedules.PiecewiseConstantDecay([3, 7], [1.0, 0.5, 0.1]), [1.0] * 4 + [0.5] * 4 + [0.1] * 4),
        (schedules.CosineDecay(0.2, 8), 0.2 * np.where(np.arange(12) < 8, COSINE, 0)),
        (schedules.CosineDecay(0.2, 8, alpha=0.1), 0.2 * (0.9 * np.where(np.arange(12) < 8, COSINE, 0) + 0.1)),
        (
            schedules.CosineDecay(0.0, 8, warmup_target=1.0, warmup_steps=4),
            [0, 0.25, 0.5, 0.75, *COSINE[:8]],
        ),
        (schedules.CosineDecayRestarts(0.2, 8, t_mul=1.0, m_mul=0.5), 0.2 * np.r_[COSINE[:8], 0.5 * COSINE[:4]]),
        (schedules.CosineDecayRestarts(0.2, 4, t_mul=2.0), 0.2 * np.r_[COSINE[:8:2], COSINE[:8]]),
    ],
)
def test_schedules(schedule, expected):
    steps = np.arange(12)
    twin = schedules.deserialize(schedules.serialize(schedule))
    for s in (schedule, twin, jax.jit(schedule)):
        np.testing.assert_allclose([float(s(i)) for i in steps], expected, rtol=1e-5, atol=1e-6)


# Errors.


@pytest.mark.parametrize(
    "make_one, error, message",
    [
        (lambda: optimizers.get("adm"), ValueError, "Did you mean 'Adam'"),
        (lambda: optimizers.get(7), TypeError, "optimizers.get.*optax.GradientTransformation"),
        (lambda: optimizers.SGD(-0.1), ValueError, "SGD 'sgd': learning_rate.*-0.1"),
        (lambda: optimizers.SGD("fast"), TypeError, "SGD 'sgd': learning_rate must be a number"),
        (lambda: optimizers.SGD(momentum=1.5), ValueError, "momentum.*between 0 and 1"),
        (lambda: optimizers.Adam(beta_1=-1), ValueError, "Adam 'adam': beta_1"),
        (lambda: optimizers.Adam(clipnorm=1.0, global_clipnorm=1.0), ValueError, "only one of"),
        (lambda: optimizers.Adam(clipnorm=-1.0), ValueError, "clipnorm"),
        (lambda: optimizers.Adam(lr=0.1), TypeError, "unexpected keyword argument 'lr'"),
        (lambda: optimizers.AdamW(weight_decay=None), ValueError, "Adam"),
        (lambda: optimizers.SGD(gradient_accumulation_steps=1), ValueError, "at least 2"),
        (lambda: optimizers.SGD(use_ema=True, ema_momentum=2.0), ValueError, "ema_momentum"),
        (lambda: optimizers.OptaxOptimizer("adam"), TypeError, r"optax.adam\(0.001\)"),
        (lambda: optimizers.OptaxOptimizer(optax.sgd(1.0), weight_decay=0.1), ValueError, "weight_decay"),
        (lambda: optimizers.LossScaleOptimizer("sgd"), TypeError, "inner_optimizer must be an Optimizer"),
        (lambda: optimizers.LossScaleOptimizer(optimizers.SGD(), clipnorm=1.0), TypeError, "inner_optimizer"),
        (lambda: schedules.CosineDecay(0.1, 0), ValueError, "decay_steps must be greater than 0"),
        (lambda: schedules.PiecewiseConstantDecay([1], [0.1]), ValueError, "one number more"),
    ],
)
def test_errors_of_construction(make_one, error, message):
    with pytest.raises(error, match=message):
        make_one()


def test_errors_of_use():
    optimizer, own = optimizers.SGD(), variables()
    with pytest.raises(ValueError, match="no slots yet.*build"):
        optimizer.stateless_apply([], [], [])
    optimizer.build(own)
    with pytest.raises(ValueError, match="does not know variable 'stranger'"):
        optimizer.apply_gradients([(1.0, Variable(0.0, name="stranger"))])
    with pytest.raises(ShapeError, match=r"'dense/bias' must have its shape \(2,\)"):
        optimizer.apply_gradients([(np.zeros(3), own[1])])
    with pytest.raises(ValueError, match="no gradient is given"):
        optimizer.apply([None, None])
    with pytest.raises(ValueError, match="grads must be 2 values, got 1"):
        optimizer.stateless_apply([v.value for v in optimizer.variables], [0.0], [v.value for v in own])
    with pytest.raises(ValueError, match="cannot be built again"):
        optimizer.build(own[:1])
    with pytest.raises(NotImplementedError, match="transformation"):
        optimizers.Optimizer().build(own)


def test_decay_argument_of_old_is_ignored_with_a_warning():
    with pytest.warns(UserWarning, match="schedule"):
        optimizers.SGD(decay=0.1)
