"""What products of fewer digits cost: operands rounded on the CPU as accelerators round them."""

import re

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jax import export

import flowjax_measures as fm

N, D = 200, 64
X = jr.normal(jr.key(0), (N, D), jnp.float32) / 8
Y = jr.normal(jr.key(1), (N, D), jnp.float32) / 8
# Half of the last of 11 and of 8 bits.
UNIT = {"tensorfloat32": 2.0**-11, "bfloat16": 2.0**-8}


def attention(x, **how):
    return fm.SelfAttention(beta=4.0)(0.0, fm.Particles(x, **how)).drift.x


def slope(x, **how):
    return jax.grad(lambda x: jnp.sum(jnp.sin(attention(x, **how))))(x)


def covariance(x, **how):
    return fm.Particles(x, **how).covariance()


def discrepancy_flow(x, **how):
    target = fm.Particles(Y.astype(x.dtype), **how)
    return fm.GradientFlow(fm.MMD(target, fm.GaussianKernel(1.0)))(
        0.0, fm.Particles(x, **how)
    ).drift.x


def error(function, **how):
    found, truth = jax.jit(lambda x: function(x, **how))(X), jax.jit(function)(X.astype(float))
    return float(jnp.linalg.norm(found.astype(float) - truth) / jnp.linalg.norm(truth))


@pytest.mark.parametrize(
    "precision", [pytest.param("tensorfloat32", marks=pytest.mark.slow), "bfloat16"]
)
@pytest.mark.parametrize("function", [attention, slope, covariance])
def test_rounded_operands_cost_their_digits(function, precision):
    """Roundings are independent: a mean of many is better than the unit, not by orders."""
    assert UNIT[precision] / 100 < error(function, precision=precision) < UNIT[precision]


@pytest.mark.slow
def test_full_precision_is_float32s():
    for function in (attention, slope, covariance):
        assert error(function) < 1e-6


@pytest.mark.slow
def test_differences_of_nearly_equal_means_lose_more():
    """Why no product of this library is rounded unless it is asked for: 16 times the unit."""
    assert error(discrepancy_flow) < 2e-5
    assert error(discrepancy_flow, precision="tensorfloat32") > 4 * UNIT["tensorfloat32"]
    assert error(discrepancy_flow, precision="bfloat16") > 4 * UNIT["bfloat16"]


def test_squared_distances_keep_all_digits():
    """‖x‖² + ‖y‖² − 2⟨x, y⟩ of rounded operands would be wrong by ‖x‖² 2⁻¹¹, however near y is."""

    def density(precision):
        mu = fm.Particles(X, precision=precision)
        return jax.vmap(lambda x: mu.logmean(lambda y: -jnp.sum((x - y) ** 2)))(X)

    np.testing.assert_array_equal(density("bfloat16"), density(None))


@pytest.mark.slow
@pytest.mark.parametrize("function", [attention, slope])
def test_the_fused_kernel_takes_bfloat16(function):
    assert error(function, kernel="pallas", precision="bfloat16") < UNIT["bfloat16"]


def test_what_is_asked_of_accelerators():
    def products(precision):
        lowered = export.export(
            jax.jit(lambda x: attention(x, precision=precision)), platforms=["cuda", "tpu"]
        )(X).mlir_module()
        lines = re.findall(r"stablehlo\.dot_general.*", lowered)
        return {next(iter(re.findall("HIGHEST|HIGH", line)), "DEFAULT") for line in lines}

    assert products(None) == {"HIGHEST"}
    assert products("bfloat16") == {"DEFAULT"}
    assert products("tensorfloat32") == {"HIGH"}
    with pytest.raises(ValueError, match="`precision` is 'float16'"):
        fm.Particles(X, precision="float16")  # pyright: ignore
