"""Variables, frames, purify, masks and randomness."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina.core.errors import ShapeError
from lamina.state.frame import Frame, autocast, purify
from lamina.state.masks import get_mask, set_mask
from lamina.state.rng import SeedGenerator, default_seed, draw_key, make_key, set_random_seed
from lamina.state.variable import Variable


def test_variable_copies_what_it_is_given():
    given = np.ones(1000, np.float32)
    v = Variable(given)
    given[:] = 7
    np.testing.assert_array_equal(v.numpy(), np.ones(1000))
    array = jnp.ones(3)
    v = Variable(np.zeros(3, np.float32))
    v.assign(array)
    assert v.value is not array and v.value.unsafe_buffer_pointer() != array.unsafe_buffer_pointer()


@pytest.mark.parametrize("given, dtype", [(1.0, "float32"), (np.zeros(2), "float32"), (3, "int32"), (True, "bool")])
def test_variable_dtype_follows_the_value(given, dtype):
    assert Variable(given).dtype == dtype


def test_variable_arithmetic_equals_numpy():
    a = np.array([1.0, 2.0], np.float32)
    v = Variable(a)
    for result, expected in [
        (v + 1, a + 1),
        (1 - v, 1 - a),
        (v * v, a * a),
        (a / v, a / a),
        (v**2, a**2),
        (-v, -a),
        (abs(v), abs(a)),
        (v @ v, a @ a),
        (v > 1, a > 1),
    ]:
        np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_assign_refuses_another_shape_and_names_the_variable():
    with pytest.raises(ShapeError, match=r"'w'.*shape \(2,\).*shape \(3,\)"):
        Variable([1.0, 2.0], name="w").assign(np.zeros(3))


def test_assign_inside_a_plain_jit_is_refused():
    v = Variable(0.0, name="count")
    with pytest.raises(RuntimeError, match="'count'.*leak"):
        jax.jit(lambda x: v.assign(x))(1.0)
    assert float(v) == 0.0


def test_purify_is_pure_and_jittable():
    v = Variable(np.float32(1))

    def count(x):
        v.assign_add(x)
        return v * 2

    pure = jax.jit(purify(count, [v]))
    out, (new,) = pure((np.float32(5),), 2.0)
    assert (float(out), float(new), float(v)) == (14.0, 7.0, 1.0)


@pytest.mark.parametrize("use", ["read", "write"])
def test_frame_refuses_a_variable_it_was_not_told_of(use):
    known, stranger = Variable(0.0, name="known"), Variable(0.0, name="stranger")

    def touch():
        return stranger.value if use == "read" else stranger.assign(1.0)

    with pytest.raises(RuntimeError, match="'stranger'.*attribute of the model"):
        purify(touch, [known])((0.0,))


def test_frame_needs_one_value_a_variable():
    with pytest.raises(ValueError, match="Expected 1 values"):
        Frame([Variable(0.0)], [])


def test_autocast_reads_floats_only():
    weight, count, fixed = Variable(1.0), Variable(1), Variable(1.0, autocast=False)
    with autocast("bfloat16"):
        assert (weight.dtype, str(weight.value.dtype)) == ("bfloat16", "bfloat16")
        assert str(count.value.dtype) == "int32"
        assert str(fixed.value.dtype) == "float32"
    assert str(weight.value.dtype) == "float32"


def test_masks_go_with_their_arrays():
    x = jnp.ones(3)
    set_mask(x, "mask")
    assert get_mask(x) == "mask" and get_mask(jnp.ones(3)) is None
    identity = id(x)
    del x
    from lamina.state import masks

    assert identity not in masks._masks


def test_seed_generators_repeat_and_advance():
    a, b = SeedGenerator(7), SeedGenerator(7)
    draws = [float(jax.random.uniform(a.next())) for _ in range(3)]
    assert len(set(draws)) == 3
    assert draws == [float(jax.random.uniform(b.next())) for _ in range(3)]


def test_random_numbers_of_a_step_follow_from_key_path_and_draw():
    def draws(path, key):
        generator = SeedGenerator()
        generator.path = path
        with Frame((), (), make_key(key)):
            return [float(jax.random.uniform(generator.next())) for _ in range(2)]

    assert draws("a", 1) == draws("a", 1)
    assert len({*draws("a", 1), *draws("b", 1), *draws("a", 2)}) == 6


def test_set_random_seed_repeats_everything():
    def numbers():
        set_random_seed(3)
        return default_seed(), np.random.rand(), float(jax.random.uniform(draw_key(None)))

    assert numbers() == numbers()
