"""Accelerated flows against oscillators, and their rate beside first order."""

import diffrax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm


def lifted(variances, m):
    """A Gaussian at rest: positions of these variances, momenta 0."""
    d = len(variances)
    cov = jnp.zeros((2 * d, 2 * d)).at[:d, :d].set(jnp.diag(jnp.array(variances)))
    return fm.Gaussian(jnp.concatenate([jnp.array(m), jnp.zeros(d)]), cov)


def test_particles_are_damped_oscillators():
    stiffness, alpha, t = 2.0, 0.8, 1.7
    q = jr.normal(jr.key(0), (5, 2))
    mu = fm.Particles(fm.Phase(q, jnp.zeros_like(q)))
    flow = fm.AcceleratedFlow(fm.PotentialEnergy(fm.Quadratic(stiffness)), alpha)
    final = fm.simulate(flow, mu, [0.0, t]).final.x
    w = np.sqrt(stiffness - alpha**2 / 4)
    swing = np.exp(-alpha * t / 2) * (np.cos(w * t) + alpha / (2 * w) * np.sin(w * t))
    np.testing.assert_allclose(final.q, swing * q, atol=1e-7)
    slope = -np.exp(-alpha * t / 2) * stiffness / w * np.sin(w * t)
    np.testing.assert_allclose(final.p, slope * q, atol=1e-7)


@pytest.mark.slow
def test_gaussian_is_its_standard_deviation():
    # For KL to N(0, 1/λ), σ̈ + ασ̇ + λσ − 1/σ = 0 and m̈ + αṁ + λm = 0; here with α = 3/t.
    rate, sigma, m = 1.5, 0.4, 1.0
    alpha = lambda t: 3 / t  # noqa: E731

    def field(t, y, _):
        s, ds, c, dc = y
        return jnp.stack([ds, -3 / t * ds - rate * s + 1 / s, dc, -3 / t * dc - rate * c])

    ts = (0.5, 3.0)
    exact = diffrax.diffeqsolve(
        diffrax.ODETerm(field), diffrax.Tsit5(), *ts, None, jnp.array([sigma, 0.0, m, 0.0]),
        stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-12),
    ).ys  # fmt: skip
    flow = fm.AcceleratedFlow(fm.KL(fm.Quadratic(rate)), alpha)
    final = fm.simulate(flow, lifted([sigma**2], [m]), ts).final
    s, ds, c, dc = np.asarray(exact)[0]  # pyright: ignore
    np.testing.assert_allclose(final.m, [c, dc], atol=1e-6)
    np.testing.assert_allclose(final.cov, [[s * s, s * ds], [s * ds, ds * ds]], atol=1e-6)


@pytest.mark.slow
def test_rate_on_an_ill_conditioned_gaussian():
    # To N(0, diag(1, 100)): e^{−2λt} becomes t² e^{−2√λ t}, λ = 1/100.
    rate = 0.01
    energy = fm.KL(fm.Quadratic(jnp.diag(jnp.array([1.0, rate]))))
    best = energy(fm.Gaussian(jnp.zeros(2), jnp.diag(jnp.array([1.0, 1 / rate]))))
    mu = lifted([1.0, 100.0], [0.0, 1.0])
    ts = np.array([0.0, 60.0, 80.0])
    first = fm.simulate(
        fm.GradientFlow(energy), fm.Gaussian(mu.m[:2], mu.cov[:2, :2]), ts, observe=energy
    ).ys
    fast = fm.AcceleratedFlow(energy, 2 * np.sqrt(rate))
    observe = {"energy": lambda nu: energy(fm.Gaussian(nu.m[:2], nu.cov[:2, :2]))}
    observe["total"] = fast.hamiltonian
    second = fm.simulate(fast, mu, ts, observe=observe).ys
    slope = lambda values: -np.log((values[2] - best) / (values[1] - best)) / 20  # noqa: E731
    assert abs(slope(first) - 2 * rate) < 1e-6
    # The slow mean is (1 + √λ t) e^{−√λ t}.
    exact = np.sqrt(rate) * ts[1:]
    exact = 2 * (np.sqrt(rate) * 20 - np.log((1 + exact[1]) / (1 + exact[0]))) / 20
    assert abs(slope(second["energy"]) - exact) < 1e-4
    assert second["energy"][2] - best < 1e-3 * (first[2] - best)
    assert np.all(np.diff(second["total"]) < 0)
