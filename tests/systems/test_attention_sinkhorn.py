"""Sinkhorn attention: its plan, its closure, its derivative."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import ive

import flowjax_measures as fm

X = jr.normal(jr.key(0), (6, 3))
Q, K = (jr.normal(k, (3, 3)) / 2 for k in jr.split(jr.key(1)))


@pytest.mark.parametrize("beta", [1.5, -1.0])
def test_rows_and_columns_of_the_plan_sum_to_one(beta):
    # An independent plan: e^{β⟨Qx, Ky⟩} scaled row by row and column by column.
    w = np.array([1.0, 2.0, 1.0, 3.0, 1.0, 2.0]) / 10
    plan = np.exp(beta * np.asarray((X @ Q.T) @ (X @ K.T).T))
    for _ in range(5000):
        plan /= (plan * w).sum(1, keepdims=True)
        plan /= (plan * w[:, None]).sum(0)
    mu = fm.Particles(X, jnp.log(jnp.asarray(w)))
    drift = jax.jit(lambda mu: fm.SinkhornAttention(Q, K, beta=beta)(0.0, mu).drift.x)(mu)
    assert np.allclose(drift, (plan * w) @ X, atol=1e-10)
    # Balanced: what is read, averaged over readers, is the mean.
    assert np.allclose(w @ drift, w @ X, atol=1e-12)


def test_closure_in_one_dimension():
    v, k, sigma = -0.8, 1.7, 0.9
    system = fm.SinkhornAttention(value=v * jnp.eye(1), beta=k)
    mu = fm.Gaussian(jnp.zeros(1), sigma * jnp.eye(1))
    final = fm.simulate(system, mu, [0.0, 1.0], dt=0.01).final.cov[0, 0]
    exact = solve_ivp(
        lambda t, s: v * (np.sqrt(1 + 4 * k**2 * s**2) - 1) / k, (0, 1), [sigma],
        method="DOP853", rtol=1e-12, atol=1e-14,
    ).y[0, -1]  # fmt: skip
    assert np.isclose(final, exact, rtol=1e-9)


def test_closure_is_the_gaussian_coupling():
    # The joint precision of the coupling has the off-diagonal block −βQᵀK, and marginals N(m, Σ).
    m, cov = jnp.array([0.3, -0.2, 0.1]), jnp.diag(jnp.array([0.5, 0.3, 0.8])) + 0.1
    system = fm.SinkhornAttention(Q, K, beta=1.5)
    drift = jax.jit(lambda mu: system(0.0, mu).drift)(fm.Gaussian(m, cov))
    assert np.allclose(drift.m, m, atol=1e-13)
    slope = jax.jacfwd(lambda x: system.rates(0.0, x, fm.Gaussian(m, cov)).velocity)(m)
    cross = cov @ slope.T
    joint = np.block([[cov, cross], [cross.T, cov]])
    assert np.linalg.eigvalsh(joint)[0] > 0
    assert np.allclose(np.linalg.inv(joint)[:3, 3:], -1.5 * Q.T @ K, atol=1e-11)
    assert np.allclose(drift.cov, slope @ cov + (slope @ cov).T, atol=1e-13)


@pytest.mark.slow
def test_derivative_through_the_potentials():
    def loss(beta):
        mu = fm.Particles(X, space=fm.Sphere()).retract()
        run = fm.simulate(fm.SinkhornAttention(beta=beta), mu, [0.0, 0.2], dt=0.1)
        return jnp.sum(run.final.x[:, 0] ** 2)

    slope = (loss(1.5 + 1e-5) - loss(1.5 - 1e-5)) / 2e-5
    assert np.isclose(jax.grad(loss)(1.5), slope, rtol=1e-6)


def test_growth_rates_of_the_uniform_state_are_half_of_those_of_softmax():
    # The potential answers a mode of amplitude 1 with −κ/(1 + κ), κ = I_k(β)/I_0(β), so that what
    # is read is 1/(1 + κ) of what softmax reads: heat at half the speed as β grows.
    beta, angle = 3.0, 2 * jnp.pi * jnp.linspace(0, 1, 32, endpoint=False)

    @jax.jit
    def angular(angle):
        x = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
        v = fm.SinkhornAttention(beta=beta)(0.0, fm.Particles(x, space=fm.Sphere())).drift.x
        return v[:, 1] * jnp.cos(angle) - v[:, 0] * jnp.sin(angle)

    for mode in (1, 2):
        wave, kappa = jnp.cos(mode * angle), ive(mode, beta) / ive(0, beta)
        _, growth = jax.jvp(angular, (angle,), (wave,))
        assert np.allclose(growth, mode**2 * kappa / (1 + kappa) / beta * wave, atol=1e-10)
