"""Convolutions against a float64 reference of plain loops, and every way to differentiate them."""

from __future__ import annotations

import itertools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lamina import ops
from lamina.ops.conv import convolve

module = sys.modules["lamina.ops.conv"]
rng = np.random.default_rng(0)


def reference(x, w, strides, pads, dilation, groups=1):
    """The definition, as loops over taps in float64."""
    x, w = x.astype("float64"), w.astype("float64")
    k = w.shape[:-2]
    x = np.pad(x, [(0, 0), *pads, (0, 0)])
    out = [(n - (s - 1) * d - 1) // t + 1 for n, s, d, t in zip(x.shape[1:-1], k, dilation, strides, strict=True)]
    y = np.zeros((x.shape[0], *out, w.shape[-1]))
    per_in, per_out = w.shape[-2], w.shape[-1] // groups
    for tap in itertools.product(*map(range, k)):
        at = tuple(
            slice(i * d, i * d + (n - 1) * t + 1, t) for i, d, n, t in zip(tap, dilation, out, strides, strict=True)
        )
        part = x[(slice(None), *at, slice(None))]
        for g in range(groups):
            into = slice(g * per_out, (g + 1) * per_out)
            y[..., into] += part[..., g * per_in : (g + 1) * per_in] @ w[tap][..., into]
    return y


CASES = {
    "1d": ((2, 9, 3), (3, 3, 4), (1,), ((1, 1),), (1,)),
    "1d causal dilated": ((2, 9, 2), (3, 2, 5), (1,), ((4, 0),), (2,)),
    "1d strided": ((2, 11, 4), (4, 4, 3), (3,), ((0, 2),), (1,)),
    "2d valid": ((2, 6, 7, 3), (3, 2, 3, 4), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    "2d same strided": ((2, 7, 8, 3), (3, 3, 3, 4), (2, 3), ((1, 1), (0, 1)), (1, 1)),
    "2d dilated": ((1, 9, 9, 2), (3, 3, 2, 3), (1, 1), ((2, 2), (1, 3)), (2, 3)),
    "2d columns, one channel": ((2, 7, 6, 1), (3, 3, 1, 8), (2, 1), ((1, 1), (1, 1)), (1, 1)),
    "2d columns, doubling": ((2, 5, 5, 16), (3, 3, 16, 32), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "2d rest beyond the last window": ((1, 8, 8, 2), (2, 2, 2, 3), (3, 3), ((0, 0), (0, 0)), (1, 1)),
    "3d": ((1, 4, 5, 4, 2), (2, 3, 2, 2, 3), (1, 2, 1), ((0, 1), (1, 1), (0, 0)), (1, 1, 1)),
}


def make(case):
    xs, ws, *params = CASES[case]
    x = rng.standard_normal(xs).astype("float32")
    w = rng.standard_normal(ws).astype("float32")
    return jnp.asarray(x), jnp.asarray(w), params


def plain(x, w, strides, pads, dilation):
    space = "DHW"[3 - len(strides) :]
    return lax.conv_general_dilated(
        x,
        w,
        strides,
        pads,
        rhs_dilation=dilation,
        dimension_numbers=(f"N{space}C", f"{space}IO", f"N{space}C"),
    )


def close(a, b, tolerance=2e-5):
    jax.tree.map(lambda u, v: np.testing.assert_allclose(u, v, tolerance, tolerance * max(1, np.abs(v).max())), a, b)


@pytest.mark.parametrize("case", CASES)
def test_value_is_the_definition(case):
    x, w, params = make(case)
    close(ops.conv(x, w, params[0], params[1], dilation_rate=params[2]), reference(np.array(x), np.array(w), *params))


@pytest.mark.parametrize("case", CASES)
def test_derivatives_equal_those_of_lax(case):
    x, w, (strides, pads, dilation) = make(case)
    axes = tuple(range(len(strides) + 1))

    def derivatives(conv):
        def loss(x, w):
            return jnp.sum(jnp.sin(conv(x, w)))

        direction = (jnp.cos(x), jnp.sin(w))
        gradient, curvature = jax.jvp(jax.grad(loss, (0, 1)), (x, w), direction)
        _, pull = jax.vjp(jax.grad(loss, (0, 1)), x, w)
        return {
            "reverse": gradient,
            "forward": jax.jvp(loss, (x, w), direction),
            "forward, kernel alone": jax.jvp(lambda w: loss(x, w), (w,), direction[1:]),
            "forward over reverse": curvature,
            "reverse over reverse": pull(direction),
            "forward Jacobian": jax.jacfwd(lambda b: jnp.sum(conv(x[:1], w * b), axes))(jnp.ones(w.shape[-1])),
        }

    def ours(x, w):
        return convolve(x, w, strides, pads, dilation, (1,) * len(strides))

    def theirs(x, w):
        return plain(x, w, strides, pads, dilation)

    close(*jax.jit(lambda: (derivatives(ours), derivatives(theirs)))(), 1e-4)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
@pytest.mark.parametrize("case", ["1d strided", "2d dilated", "2d columns, doubling"])
def test_vmap_of_value_and_gradient(case, axes):
    x, w, (strides, pads, dilation) = make(case)
    xs = jnp.stack([x, -2 * x]) if axes[0] == 0 else x
    ws = jnp.stack([w, jnp.flip(w)]) if axes[1] == 0 else w

    def both(x, w):
        y, pull = jax.vjp(lambda x, w: convolve(x, w, strides, pads, dilation, (1,) * len(strides)), x, w)
        return y, pull(jnp.sin(y))

    def one_by_one():
        rows = [both(xs[i] if axes[0] == 0 else xs, ws[i] if axes[1] == 0 else ws) for i in range(2)]
        return jax.tree.map(lambda *v: jnp.stack(v), *rows)

    close(*jax.jit(lambda: (jax.vmap(both, axes)(xs, ws), one_by_one()))(), 1e-4)


def test_gradients_in_a_loop_body_are_convolutions_in_the_fast_layout():
    x, w, (strides, pads, dilation) = make("2d valid")
    loss = lambda x, w: jnp.sum(jnp.sin(ops.conv(x, w)))  # noqa: E731
    step = jax.jit(lambda x, w: lax.fori_loop(0, 2, lambda i, c: jax.grad(loss, (0, 1))(*c), (x, w)))
    text = step.lower(x, w).as_text()
    lines = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    layouts = [line.split("dim_numbers = ")[1].split(", window")[0] for line in lines]
    assert layouts == ["[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"] * 3


@pytest.mark.parametrize("groups", [2, 4])
def test_groups(groups):
    x = rng.standard_normal((2, 6, 5, 4)).astype("float32")
    w = rng.standard_normal((3, 3, 4 // groups, 8)).astype("float32")
    pads = ((1, 1), (1, 1))
    close(ops.conv(x, w, (2, 1), pads), reference(x, w, (2, 1), pads, (1, 1), groups))
    layout = ("NHWC", "HWIO", "NHWC")

    def ours(w):
        return jnp.sum(jnp.sin(ops.conv(x, w, (2, 1), pads)))

    def theirs(w):
        y = lax.conv_general_dilated(x, w, (2, 1), pads, dimension_numbers=layout, feature_group_count=groups)
        return jnp.sum(jnp.sin(y))

    close(*jax.jit(lambda w: (jax.grad(ours)(w), jax.grad(theirs)(w)))(w))


# "same" with strides 2 over 9 and 8 elements
PADS = {3: ((1, 1), (0, 1)), 7: ((3, 3), (2, 3))}


@pytest.mark.parametrize("size", PADS)
@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_is_one_convolution_a_channel(size, multiplier):
    x = rng.standard_normal((2, 9, 8, 3)).astype("float32")
    w = rng.standard_normal((size, size, 3, multiplier)).astype("float32")
    y = ops.depthwise_conv(x, w, strides=2, padding="same")
    for c in range(3):
        one = reference(x[..., c : c + 1], w[:, :, c : c + 1], (2, 2), PADS[size], (1, 1))
        close(y[..., c * multiplier : (c + 1) * multiplier], one)


def test_pointwise_convolution_is_a_product():
    x, w = rng.standard_normal((2, 5, 5, 3)).astype("float32"), rng.standard_normal((1, 1, 3, 4)).astype("float32")
    close(ops.conv(x, w), x @ w[0, 0])
    close(ops.conv(x, w, strides=2), (x @ w[0, 0])[:, ::2, ::2])


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides", [1, 2])
def test_transpose_is_the_gradient_of_the_convolution(strides, padding):
    y = jnp.asarray(rng.standard_normal((2, 4, 3, 5)).astype("float32"))
    w = jnp.asarray(rng.standard_normal((3, 3, 2, 5)).astype("float32"))
    x = ops.conv_transpose(y, w, strides, padding)
    small = ops.conv(jnp.zeros(x.shape), w, strides, padding)
    if small.shape == y.shape:
        (wanted,) = jax.vjp(lambda x: ops.conv(x, w, strides, padding), x)[1](y)
        close(x, wanted)
    extra = 0 if padding == "same" else 3 - strides
    assert x.shape[1:3] == (4 * strides + extra, 3 * strides + extra)


def test_channels_first_is_channels_last_transposed():
    x, w, _ = make("2d valid")
    y = ops.conv(jnp.moveaxis(x, -1, 1), w, data_format="channels_first")
    close(jnp.moveaxis(y, 1, -1), ops.conv(x, w, data_format="channels_last"))


def test_causal_output_sees_no_later_input():
    x, w = jnp.ones((1, 6, 2)), jnp.ones((3, 2, 1))
    y = ops.conv(x, w, padding="causal")
    changed = ops.conv(x.at[:, 4:].set(9.0), w, padding="causal")
    assert y.shape == (1, 6, 1)
    np.testing.assert_array_equal(y[:, :4], changed[:, :4])


def test_other_platforms_take_the_plain_convolution(monkeypatch):
    x, w, params = make("2d valid")
    wanted = ops.conv(x, w)
    monkeypatch.setattr(module, "_on_cpu", lambda: False)
    jaxpr = str(jax.make_jaxpr(lambda x, w: module.conv.__wrapped__(x, w))(x, w))
    assert "custom_jvp" not in jaxpr and "conv_general_dilated" in jaxpr
    close(module.conv.__wrapped__(x, w), wanted)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ops.conv(jnp.ones((1, 5, 5, 3)), jnp.ones((3, 3, 2, 4))), "channels"),
        (lambda: ops.conv(jnp.ones((1, 2, 2, 3)), jnp.ones((3, 3, 3, 4))), "empty"),
        (lambda: ops.conv(jnp.ones((1, 5, 5, 3)), jnp.ones((3, 3, 3, 4)), padding="SAEM"), "Did you mean 'same'"),
        (lambda: ops.conv(jnp.ones((1, 5, 5, 3)), jnp.ones((3, 3, 3, 4)), strides=(1, 2, 3)), "strides"),
        (lambda: ops.conv(jnp.ones((5, 5)), jnp.ones((3, 3))), "axes"),
        (lambda: ops.depthwise_conv(jnp.ones((1, 5, 5, 3)), jnp.ones((3, 3, 2, 1))), "2 channels"),
    ],
)
def test_errors_say_what_is_wrong(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize(("strides", "dilation"), [((1, 1), (1, 1)), ((2, 3), (1, 1)), ((1, 1), (2, 1))])
def test_derivatives_of_depthwise_equal_those_of_a_grouped_convolution(strides, dilation, multiplier):
    x = jnp.asarray(rng.standard_normal((2, 7, 8, 3)).astype("float32"))
    w = jnp.asarray(rng.standard_normal((3, 2, 3, multiplier)).astype("float32"))
    pads = ((1, 1), (0, 2))
    layout = ("NHWC", "HWIO", "NHWC")

    def ours(x, w):
        return ops.depthwise_conv(x, w, strides, pads, dilation_rate=dilation)

    def theirs(x, w):
        w = w.reshape(3, 2, 1, -1)
        return lax.conv_general_dilated(
            x, w, strides, pads, rhs_dilation=dilation, dimension_numbers=layout, feature_group_count=3
        )

    def derivatives(conv):
        direction = (jnp.cos(x), jnp.sin(w))
        gradient = jax.grad(lambda x, w: jnp.sum(jnp.sin(conv(x, w))), (0, 1))
        _, pull = jax.vjp(gradient, x, w)
        return {
            "forward": jax.jvp(conv, (x, w), direction),
            "forward over reverse": jax.jvp(gradient, (x, w), direction),
            "reverse over reverse": pull(direction),
            "mapped input": jax.vmap(gradient, (0, None))(jnp.stack([x, -x]), w),
            "mapped kernel": jax.vmap(gradient, (None, 0))(x, jnp.stack([w, -w])),
        }

    close(*jax.jit(lambda: (derivatives(ours), derivatives(theirs)))(), 1e-4)
