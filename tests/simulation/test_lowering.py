"""Programs for accelerators, made without one: they lower, and multiply in full precision."""

import os
import re
import subprocess
import sys

import catalogue
import equinox as eqx
import harness
import jax
import jax.numpy as jnp
import jax.random as jr
import pytest
from jax import export
from test_sharding import FUNCTIONS, X

import flowjax_measures as fm

DEVICES = ["cuda", "tpu"]


def _program(function, *arguments) -> str:
    return export.export(jax.jit(function), platforms=DEVICES)(*arguments).mlir_module()


def _third(names):
    return [pytest.param(n, marks=pytest.mark.slow if k % 3 else ()) for k, n in enumerate(names)]


@pytest.mark.parametrize("name", _third(catalogue.CASES))
def test_every_system_and_its_gradient_lower(name):
    case = catalogue.CASES[name]()
    arrays, rest = eqx.partition((case.system, case.state), eqx.is_inexact_array)

    def speed(arrays):
        moved = harness.motion(*eqx.combine(arrays, rest))
        leaves = jax.tree.leaves(eqx.filter(moved, eqx.is_inexact_array))
        return sum(jnp.sum((a * a.conj()).real) for a in leaves)

    assert "stablehlo" in _program(jax.value_and_grad(speed), arrays)


@pytest.mark.parametrize("name", _third(FUNCTIONS))
def test_energies_distances_and_flows_lower(name):
    slope = jax.grad(lambda x: jnp.sum(FUNCTIONS[name](x, None)))
    assert "stablehlo" in _program(slope, X)


def _minimized(x):
    found = fm.minimize(lambda x: jnp.sum(x**2), fm.Particles(x), key=jr.key(0), budget=320)
    return found.x


def _sampled(x):
    return fm.sample(lambda x: jnp.sum(x**2), fm.Particles(x), key=jr.key(0), steps=3).x


def _noisy(x):
    law = fm.Langevin(lambda x: jnp.sum(x**2))
    run = fm.simulate(law, fm.Particles(x), [0.0, 1.0], dt=0.1, key=jr.key(0), throw=False)
    return run.final.x


def _fitted(x):
    """A step of a fit: the slope of a distance to data in a field of the system."""

    def loss(sigma):
        law = fm.Langevin(lambda x: jnp.sum(x**2) / sigma)
        run = fm.simulate(law, fm.Particles(x), [0.0, 0.2], dt=0.1, key=jr.key(0), throw=False)
        return fm.energy_distance(run.final, fm.Particles(2 * x))

    return jax.grad(loss)(jnp.float64(0.7))


def _coupled(x):
    there = fm.Particles(x + 1)
    return fm.wasserstein(fm.Particles(x), there), fm.entropic_coupling(fm.Particles(x), there, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("function", [_minimized, _sampled, _noisy, _fitted, _coupled])
def test_methods_lower(function):
    assert "stablehlo" in _program(function, X)


def test_whole_calls_lower_in_full_precision():
    """Without it, accelerators would take products in TF32 or bfloat16: three digits."""
    x = jr.normal(jr.key(0), (64, 16), jnp.float32)

    def run(beta):
        mu = fm.Particles(x, space=fm.Sphere()).retract()
        system = fm.SelfAttention(beta=beta, query=jnp.eye(16, dtype=jnp.float32))
        run = fm.simulate(system, mu, [0.0, 1.0], dt=0.25, throw=False)
        near = fm.mmd(run.final, mu, fm.GaussianKernel(1.0))
        return jnp.sum(run.final.covariance()) + near + fm.sinkhorn_divergence(run.final, mu, 0.5)

    text = _program(jax.value_and_grad(run), jnp.float32(1.0))
    products = re.findall(r"stablehlo\.dot_general.*", text)
    wide = [p for p in products if re.search(r"tensor<\d+x\d+", p)]
    assert wide and all("HIGHEST" in p for p in wide)


def test_a_chosen_precision_stays():
    with jax.default_matmul_precision("tensorfloat32"):
        text = _program(lambda x: fm.Particles(x).covariance(), jnp.ones((64, 16), jnp.float32))
    assert "HIGHEST" not in text


@pytest.mark.slow
def test_an_adaptive_run_lowers_where_errors_are_nan():
    """Checks within diffrax call the host, which no program for several platforms can."""
    program = """
import jax
import jax.numpy as jnp
from jax import export
import flowjax_measures as fm

def end(x):
    run = fm.simulate(fm.SelfAttention(), fm.Particles(x), [0.0, 1.0], throw=False)
    return jnp.sum(run.final.x)

export.export(jax.jit(jax.grad(end)), platforms=["cuda", "tpu"])(jnp.ones((4, 2)))
"""
    environment = os.environ | {"EQX_ON_ERROR": "nan", "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
