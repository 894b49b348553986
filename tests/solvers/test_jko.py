"""Minimising movements against closed forms."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm


def run(energy, mu, tau, t=1.0, **kwargs):
    flow = fm.GradientFlow(energy)
    return fm.simulate(flow, mu, np.array([0.0, t]), dt=tau, solver=fm.JKO(tau), **kwargs)


def test_gaussian_step_is_the_closed_form():
    # KL to N(0, 1/λ): σ_k = σ(1 + τλ) − τ/σ and m_k = (1 + τλ) m.
    rate, tau = 1.5, 0.4
    mu = fm.Gaussian(jnp.array([1.0, -0.5]), jnp.diag(jnp.array([0.25, 4.0])))
    final = run(fm.KL(fm.Quadratic(rate)), mu, tau, tau).final
    sigma = np.sqrt(np.diag(mu.cov))
    grow = 1 + tau * rate
    expected = (sigma + np.sqrt(sigma**2 + 4 * tau * grow)) / (2 * grow)
    np.testing.assert_allclose(final.cov, np.diag(expected**2), atol=1e-12)
    np.testing.assert_allclose(final.m, mu.m / grow, rtol=1e-12)


def test_gaussian_step_minimises():
    energy = fm.KL(lambda x: jnp.sum(x**2) + 0.1 * jnp.sum(x**4))
    mu = fm.Gaussian(jnp.array([1.0, -0.5]), jnp.array([[0.6, 0.2], [0.2, 0.3]]))
    tau = 0.3
    final = run(energy, mu, tau, tau).final
    value = lambda nu: fm.bures(nu, mu) / (2 * tau) + energy(nu)  # noqa: E731
    best = value(final)
    assert best < energy(mu)
    for key in range(3):
        a, b = jr.split(jr.key(key))
        bend = 1e-2 * jr.normal(a, (2, 2))
        other = fm.Gaussian(
            final.m + 1e-2 * jr.normal(b, (2,)),
            (jnp.eye(2) + bend + bend.T) @ final.cov @ (jnp.eye(2) + bend + bend.T),
        )
        assert value(other) > best


def test_order_one_and_descent():
    target = fm.Particles(jr.normal(jr.key(1), (4, 2)))
    energy = fm.PotentialEnergy(lambda x: jnp.sum(x**4) / 4) + fm.MMD(target, fm.GaussianKernel())
    mu = fm.Particles(jr.normal(jr.key(0), (5, 2)))
    exact = fm.simulate(fm.GradientFlow(energy), mu, np.array([0.0, 1.0])).final.x
    errors = []
    for tau in (0.05, 0.025):
        found = run(energy, mu, tau).final.x
        errors.append(float(jnp.linalg.norm(found - exact)))
    assert abs(np.log2(errors[0] / errors[1]) - 1) < 0.1
    ts = np.linspace(0, 20, 41)
    path = fm.simulate(
        fm.GradientFlow(energy), mu, ts, dt=0.5, solver=fm.JKO(0.5), observe={"energy": energy}
    )
    assert np.all(np.diff(path.ys["energy"]) <= 1e-12)


def test_noise_and_grids_are_refused():
    with pytest.raises(ValueError, match="noise"):
        run(fm.KL(fm.Quadratic()), fm.Particles(jnp.ones((2, 1))), 0.1, key=jr.key(0))
    with pytest.raises(ValueError, match="GridDensity"):
        run(fm.KL(fm.Quadratic()), fm.GridDensity(jnp.ones(5), 0.0, 1.0), 0.1)
