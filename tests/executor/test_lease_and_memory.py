"""The lease on variables, held-back interrupts, kept memory, the compile cache."""

import os
import signal
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from lamina.executor.cost import multiply_adds
from lamina.executor.interrupt import InterruptGuard
from lamina.executor.lease import Lease
from lamina.state.variable import Variable


def test_a_lease_serves_copies_takes_writes_and_gives_back():
    v = Variable([1.0, 2.0], name="v")
    with Lease([v]) as lease:
        lease.values[0] = jnp.array([3.0, 4.0])
        read = v.value
        assert read.unsafe_buffer_pointer() != lease.values[0].unsafe_buffer_pointer()
        np.testing.assert_array_equal(read, [3, 4])
        v.assign([5.0, 6.0])
        np.testing.assert_array_equal(lease.values[0], [5, 6])
        with pytest.raises(RuntimeError, match="'v'.*another fit"), Lease([v]):
            pass
    np.testing.assert_array_equal(v.numpy(), [5, 6])


def test_values_are_given_back_after_an_error():
    v = Variable(1.0)
    with pytest.raises(KeyError), Lease([v]) as lease:
        lease.values[0] = np.float32(7)
        raise KeyError
    assert float(v) == 7.0


def test_interrupts_wait_for_the_end_of_a_dispatch():
    with InterruptGuard() as guard:
        guard.begin()
        os.kill(os.getpid(), signal.SIGINT)
        reached = True
        with pytest.raises(KeyboardInterrupt):
            guard.end()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()
    assert reached and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_multiply_adds_are_counted():
    import jax

    def f(x, w, k):
        y = x @ w
        image = jnp.ones((1, 8, 8, 2))
        z = jax.lax.conv_general_dilated(image, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jax.lax.scan(lambda c, _: (c @ w, None), y, None, length=5)[0].sum() + z.sum()

    jaxpr = jax.make_jaxpr(f)(jnp.ones((3, 4)), jnp.ones((4, 4)), jnp.ones((3, 3, 2, 5)))
    assert multiply_adds(jaxpr.jaxpr) == 6 * 3 * 4 * 4 + 8 * 8 * 5 * 3 * 3 * 2


CACHE = """
import os, pathlib, sys
import numpy as np, jax
from lamina import layers
from lamina.models import Sequential
model = Sequential([layers.Input((4,)), layers.Dense(64), layers.Dense(1)])
model.compile("adam", "mse")
model.fit(np.ones((8, 4)), np.ones((8, 1)), verbose=0)
print(jax.config.jax_compilation_cache_dir)
"""


@pytest.mark.parametrize("switch", ["1", "0"])
def test_the_compile_cache_is_on_by_default_and_has_a_switch(tmp_path, switch):
    env = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    env.update(LAMINA_CACHE=str(tmp_path), LAMINA_COMPILE_CACHE=switch, JAX_PLATFORMS="cpu")
    out = subprocess.run([sys.executable, "-c", CACHE], env=env, capture_output=True, text=True, check=True)
    folder = out.stdout.strip()
    assert folder == (str(tmp_path / "xla") if switch == "1" else "None")
    assert any(tmp_path.rglob("*")) == (switch == "1")
