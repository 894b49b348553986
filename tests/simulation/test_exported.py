"""A run as a file: exported by JAX, it runs where this package is not."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jax import export

import flowjax_measures as fm

READER = """
import sys
import numpy as np
import jax
from jax import export

jax.config.update("jax_enable_x64", True)
with open(sys.argv[1], "rb") as file:
    run = export.deserialize(bytearray(file.read()))
x, beta, key = (np.load(sys.argv[2])[name] for name in ("x", "beta", "key"))
np.save(sys.argv[3], run.call(x, beta, key))
slope = jax.grad(lambda beta: jax.numpy.sum(jax.numpy.sin(run.call(x, beta, key))))(beta)
np.save(sys.argv[4], slope)
assert not any(name.startswith(("flowjax_measures", "equinox", "diffrax")) for name in sys.modules)
"""


def end(x, beta, key):
    noise = fm.Custom(lambda t, x, mu: fm.Rates(-x, fm.Isotropic(0.3)))
    mu = fm.Particles(x)
    run = fm.simulate(
        fm.SelfAttention(beta=beta) + noise, mu, [0.0, 0.5], dt=0.1,
        key=jr.wrap_key_data(key), throw=False,
    )  # fmt: skip
    return run.final.x


@pytest.mark.slow
def test_an_exported_run_and_its_gradient_need_jax_alone(tmp_path):
    pytest.importorskip("flatbuffers", reason="JAX writes exported programs with it")
    x, beta, key = jr.normal(jr.key(0), (6, 3)), jnp.asarray(1.5), jr.key_data(jr.key(1))
    exported = export.export(jax.jit(end), platforms=["cpu", "cuda", "tpu"])(x, beta, key)
    (tmp_path / "run.bin").write_bytes(exported.serialize(vjp_order=1))
    np.savez(tmp_path / "inputs.npz", x=x, beta=beta, key=key)
    files = [tmp_path / name for name in ("run.bin", "inputs.npz", "x.npy", "slope.npy")]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", READER, *files]
    subprocess.run(command, env=environment, check=True, timeout=120)
    np.testing.assert_allclose(np.load(files[2]), end(x, beta, key), rtol=1e-12)
    slope = jax.grad(lambda beta: jnp.sum(jnp.sin(end(x, beta, key))))(beta)
    np.testing.assert_allclose(np.load(files[3]), slope, rtol=1e-10)


def test_a_buffer_that_is_given_away_is_reused():
    """A run whose end has the shape of its start takes no second buffer for it."""
    step = jax.jit(end, donate_argnums=0)
    program = step.lower(jnp.ones((50, 3)), jnp.asarray(1.5), jr.key_data(jr.key(1))).compile()
    assert program.memory_analysis().alias_size_in_bytes == 50 * 3 * 8
