"""Anderson mixing: barycentres of Gaussians and Stein's flow in fewer steps than descent."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm


def ill(key, d=3):
    turn = jnp.linalg.qr(jr.normal(key, (d, d)))[0]
    return turn @ jnp.diag(jnp.geomspace(0.02, 5.0, d)) @ turn.T


def barycentre(count=4):
    covs = [ill(key) for key in jr.split(jr.key(0), count)]
    means = jr.normal(jr.key(1), (count, 3))
    parts = [fm.SquaredWasserstein(fm.Gaussian(m, c)) for m, c in zip(means, covs, strict=True)]
    energy = sum(((1 / count) * part for part in parts[1:]), (1 / count) * parts[0])
    return fm.GradientFlow(energy), means, covs


def steps(flow, mu, solver, tolerance, limit=400.0):
    """Iterations until the velocity is below a tolerance."""

    def rest(t, nu):
        drift = flow(t, nu).drift
        return jnp.linalg.norm(jnp.concatenate([drift.m, drift.cov.ravel()])) < tolerance

    run = fm.simulate(flow, mu, [0.0, limit], solver=solver, event=rest)
    return int(run.stats["num_steps"]), run.final


@pytest.mark.slow
def test_barycentre_in_fewer_steps_than_riemannian_descent():
    flow, means, covs = barycentre()
    mu = fm.Gaussian(jnp.zeros(3), jnp.eye(3))
    plain, one = steps(flow, mu, fm.AndersonMixing(1.0, 0), 1e-9)
    mixed, two = steps(flow, mu, fm.AndersonMixing(1.0, 5), 1e-9)

    for final in (one, two):
        np.testing.assert_allclose(pull(np.asarray(final.cov), covs), 0, atol=1e-8)
        np.testing.assert_allclose(final.m, means.mean(0), atol=1e-8)
    assert mixed < 0.6 * plain


def matrix_root(a):
    values, vectors = np.linalg.eigh(a)
    return (vectors * np.sqrt(values)) @ vectors.T


def pull(cov, covs):
    """The mean of the optimal maps from N(0, cov), less the identity."""
    half = matrix_root(cov)
    inverse = np.linalg.inv(half)
    maps = [inverse @ matrix_root(half @ np.asarray(c) @ half) @ inverse for c in covs]
    return sum(maps) / len(maps) - np.eye(len(cov))


def test_mixed_steps_are_nearer_than_twice_as_many_plain_ones():
    flow, _, covs = barycentre()
    mu, solver = fm.Gaussian(jnp.zeros(3), jnp.eye(3)), fm.AndersonMixing(1.0, 5)
    mixed = fm.simulate(flow, mu, [0.0, 10.0], dt=1.0, solver=solver).final
    plain = np.eye(3)
    for _ in range(20):
        step = np.eye(3) + pull(plain, covs)
        plain = step @ plain @ step
    size = lambda cov: np.linalg.norm(pull(cov, covs))  # noqa: E731
    assert size(np.asarray(mixed.cov)) < size(plain)


@pytest.mark.slow
def test_one_unmixed_step_is_the_geodesic():
    mu, nu = fm.Gaussian(jnp.ones(3), ill(jr.key(3))), fm.Gaussian(jnp.zeros(3), ill(jr.key(4)))
    flow = fm.GradientFlow(fm.SquaredWasserstein(nu))
    for tau in (0.5, 1.0):
        final = fm.simulate(flow, mu, [0.0, tau], solver=fm.AndersonMixing(tau, 0)).final
        np.testing.assert_allclose(fm.bures(mu, final) / fm.bures(mu, nu), tau**2, rtol=1e-8)
        np.testing.assert_allclose(final.cov, fm.mccann(mu, nu, tau).cov, atol=1e-9)


@pytest.mark.slow
def test_stein_flow_is_at_its_discrepancy_in_a_third_of_the_steps():
    potential, kernel = fm.Quadratic(jnp.diag(jnp.array([1.0, 0.1]))), fm.GaussianKernel(1.5)
    flow = fm.GradientFlow(fm.KL(potential), fm.Stein(kernel))
    mu = fm.Particles(jr.normal(jr.key(0), (20, 2)))
    energy = fm.KernelSteinDiscrepancy(potential, kernel)

    def after(steps, memory):
        return energy(
            fm.simulate(flow, mu, [0.0, 2.0 * steps], solver=fm.AndersonMixing(2.0, memory)).final
        )

    assert after(20, 5) < 1.05 * after(60, 0) and after(40, 5) < after(100, 0) < after(60, 0)


def test_what_has_no_rest_is_refused():
    mu = fm.Particles(jr.normal(jr.key(0), (4, 2)))
    with pytest.raises(ValueError, match="noise"):
        fm.simulate(
            fm.Langevin(fm.Quadratic()),
            mu,
            [0.0, 1.0],
            key=jr.key(0),
            solver=fm.AndersonMixing(0.5),
        )
    with pytest.raises(ValueError, match="masses"):
        flow = fm.GradientFlow(fm.PotentialEnergy(fm.Quadratic()), fm.FisherRao())
        fm.simulate(flow, mu, [0.0, 1.0], solver=fm.AndersonMixing(0.5))
