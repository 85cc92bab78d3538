"""Published formulas of optimizers in float64, and variables with gradients to try them on."""

import jax.numpy as jnp
import numpy as np
import pytest

from lamina import optimizers
from lamina.state.variable import Variable

STEPS = 4
LR = 0.1
START = {"dense/kernel": (3, 2), "dense/bias": (2,)}


def values():
    random = np.random.default_rng(3)
    first = [random.normal(size=s) for s in START.values()]
    gradients = [[random.normal(size=s) for s in START.values()] for _ in range(STEPS)]
    return first, gradients


def variables():
    made = []
    for path, value in zip(START, values()[0], strict=True):
        variable = Variable(value.astype("f"), name=path.split("/")[-1])
        variable.path = path
        made.append(variable)
    return made


def run(optimizer, steps=STEPS):
    own = variables()
    history = []
    for gradients in values()[1][:steps]:
        optimizer.apply_gradients(zip([jnp.asarray(g, jnp.float32) for g in gradients], own, strict=True))
        history.append([v.numpy() for v in own])
    return own, history


# Each rule: (p, g, state, t) -> p, in float64; t counts from 1.


def sgd(p, g, s, t, momentum=0.0, nesterov=False):
    s["m"] = momentum * s.get("m", 0) - LR * g
    return p + (momentum * s["m"] - LR * g if nesterov else s["m"])


def moments(g, s, b1, b2):
    s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0) + (1 - b2) * g**2
    return s["m"], s["v"]


def adam(p, g, s, t, b1=0.9, b2=0.999, epsilon=1e-7, amsgrad=False):
    m, v = moments(g, s, b1, b2)
    if amsgrad:
        v = s["vh"] = np.maximum(s.get("vh", 0), v)
    return p - LR * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + epsilon)


def adamax(p, g, s, t):
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["u"] = np.maximum(0.999 * s.get("u", 0), abs(g))
    return p - LR / (1 - 0.9**t) * s["m"] / (s["u"] + 1e-7)


def nadam(p, g, s, t):
    m, v = moments(g, s, 0.9, 0.999)
    now, ahead = 0.9 * (1 - 0.5 * 0.96**t), 0.9 * (1 - 0.5 * 0.96 ** (t + 1))
    s["prod"] = s.get("prod", 1) * now
    mean = ahead * m / (1 - s["prod"] * ahead) + (1 - now) * g / (1 - s["prod"])
    return p - LR * mean / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)


def lamb(p, g, s, t):
    m, v = moments(g, s, 0.9, 0.999)
    u = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)
    return p - LR * np.linalg.norm(p) / np.linalg.norm(u) * u


def lion(p, g, s, t):
    m = s.get("m", 0)
    s["m"] = 0.99 * m + 0.01 * g
    return p - LR * np.sign(0.9 * m + 0.1 * g)


def rmsprop(p, g, s, t, momentum=0.0, centered=False):
    s["v"] = 0.9 * s.get("v", 0) + 0.1 * g**2
    s["a"] = 0.9 * s.get("a", 0) + 0.1 * g
    step = LR * g / np.sqrt(s["v"] - (s["a"] ** 2 if centered else 0) + 1e-7)
    s["m"] = momentum * s.get("m", 0) + step
    return p - s["m"]


def adagrad(p, g, s, t):
    s["a"] = s.get("a", 0.1) + g**2
    return p - LR * g / np.sqrt(s["a"] + 1e-7)


def adadelta(p, g, s, t):
    s["g"] = 0.95 * s.get("g", 0) + 0.05 * g**2
    d = -np.sqrt(s.get("d", 0) + 1e-7) * g / np.sqrt(s["g"] + 1e-7)
    s["d"] = 0.95 * s.get("d", 0) + 0.05 * d**2
    return p + LR * d


def ftrl(p, g, s, t):
    a = s.get("a", 0.1)
    sigma = (np.sqrt(a + g**2) - np.sqrt(a)) / LR
    s["a"], s["z"] = a + g**2, s.get("z", 0) + g - sigma * p
    z = s["z"]
    return np.where(abs(z) <= 0.1, 0, -(z - 0.1 * np.sign(z)) / (np.sqrt(s["a"]) / LR + 2 * 0.05))


def adafactor(p, g, s, t):
    beta = 1 - t**-0.8
    alpha = max(1e-3, np.sqrt(np.mean(p**2))) * min(LR, t**-0.5)
    if p.ndim < 2:
        v = s["v"] = beta * s.get("v", 0) + (1 - beta) * g**2
    else:
        r = s["r"] = beta * s.get("r", 0) + (1 - beta) * (g**2).mean(-1)
        c = s["c"] = beta * s.get("c", 0) + (1 - beta) * (g**2).mean(-2)
        v = np.outer(r, c) / r.mean()
    u = g / np.sqrt(v)
    return p - alpha * u / max(1, np.sqrt(np.mean(u**2)))


def muon(p, g, s, t):
    if p.ndim != 2:
        return adam(p, g, s, t)
    s["m"] = 0.95 * s.get("m", 0) + g
    x = g + 0.95 * s["m"]
    x = x.T / np.linalg.norm(x)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
    return p - LR * 0.2 * np.sqrt(max(p.shape)) * x.T


def schedule_free(p, g, s, t):
    z, x = s.get("z", p), s.get("x", p)
    s["v"] = 0.999 * s.get("v", 0) + 0.001 * g**2
    z = s["z"] = z - LR * g / (np.sqrt(s["v"] / (1 - 0.999**t)) + 1e-8)
    x = s["x"] = (1 - 1 / t) * x + z / t
    return 0.1 * z + 0.9 * x


RULES = [
    ("SGD", {}, sgd),
    ("SGD", {"momentum": 0.9}, lambda *a: sgd(*a, momentum=0.9)),
    ("SGD", {"momentum": 0.8, "nesterov": True}, lambda *a: sgd(*a, momentum=0.8, nesterov=True)),
    ("Adam", {}, adam),
    ("Adam", {"amsgrad": True, "beta_2": 0.5}, lambda *a: adam(*a, b2=0.5, amsgrad=True)),
    ("Adam", {"epsilon": 0.01}, lambda *a: adam(*a, epsilon=0.01)),
    ("AdamW", {"weight_decay": 0.2}, lambda p, *a: adam(p * (1 - LR * 0.2), *a)),
    ("Adamax", {}, adamax),
    ("Nadam", {}, nadam),
    ("Lamb", {}, lamb),
    ("Lion", {}, lion),
    ("RMSprop", {}, rmsprop),
    ("RMSprop", {"momentum": 0.7, "centered": True}, lambda *a: rmsprop(*a, momentum=0.7, centered=True)),
    ("Adagrad", {}, adagrad),
    ("Adadelta", {}, adadelta),
    ("Ftrl", {"l1_regularization_strength": 0.1, "l2_regularization_strength": 0.05}, ftrl),
    ("Adafactor", {}, adafactor),
    ("Muon", {"weight_decay": None, "adam_weight_decay": None}, muon),
    ("ScheduleFreeAdamW", {}, schedule_free),
]
RULE = pytest.mark.parametrize("name, arguments, rule", RULES, ids=[f"{r[0]}-{i}" for i, r in enumerate(RULES)])


def make(name, arguments, **others):
    return getattr(optimizers, name)(learning_rate=LR, **arguments, **others)


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
