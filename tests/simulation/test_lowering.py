"""Programs for accelerators, made without one: they lower, and multiply in full precision."""

import re

import catalogue
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import pytest
from jax import export

import flowjax_measures as fm

DEVICES = ["cuda", "tpu"]


def _case(k, name):
    return pytest.param(name, id=name, marks=pytest.mark.slow if k % 6 else ())


def _program(function, *arguments) -> str:
    return export.export(jax.jit(function), platforms=DEVICES)(*arguments).mlir_module()


@pytest.mark.parametrize("name", [_case(k, name) for k, name in enumerate(catalogue.CASES)])
def test_every_system_and_its_gradient_lower(name):
    case = catalogue.CASES[name]()
    arrays, rest = eqx.partition((case.system, case.state), eqx.is_inexact_array)

    def speed(arrays):
        system, state = eqx.combine(arrays, rest)
        drift = jax.tree.leaves(eqx.filter(system(0.3, state).drift, eqx.is_inexact_array))
        return sum(jnp.sum((a * a.conj()).real) for a in drift)

    assert "stablehlo" in _program(jax.value_and_grad(speed), arrays)


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
