"""Ensemble Kalman methods against linear-Gaussian closed forms."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

A = np.array([[1.0, 0.5], [0.0, 1.2], [-0.7, 0.3]])
DATA = np.array([0.4, -1.0, 0.8])
NOISE = np.array([[0.5, 0.1, 0.0], [0.1, 0.8, 0.2], [0.0, 0.2, 0.6]])
MEAN = np.array([0.5, -0.3])
COV = np.array([[1.5, 0.4], [0.4, 0.8]])
PRECISION = A.T @ np.linalg.solve(NOISE, A)
PULL = A.T @ np.linalg.solve(NOISE, DATA)


def forward(x):
    return jnp.asarray(A) @ x


def prior():
    return fm.Gaussian(MEAN, COV)


def posterior(fraction=1.0):
    cov = np.linalg.inv(np.linalg.inv(COV) + fraction * PRECISION)
    return cov @ (np.linalg.solve(COV, MEAN) + fraction * PULL), cov


@pytest.mark.parametrize("form", ["stochastic", "square_root"])
def test_inversion_is_the_posterior_at_time_one(form):
    system = fm.EnsembleKalmanInversion(forward, DATA, NOISE, form)
    run = fm.simulate(system, prior(), [0.0, 0.5, 1.0], dt=0.02)
    for i, fraction in enumerate((0.0, 0.5, 1.0)):
        mean, cov = posterior(fraction)
        np.testing.assert_allclose(run.ys.m[i], mean, atol=1e-7)
        np.testing.assert_allclose(run.ys.cov[i], cov, atol=1e-7)


def test_inversion_without_noise():
    """C⁻¹ = C₀⁻¹ + 2tB, and m − u* = (I + 2tC₀B)^{−½}(m₀ − u*) around the least squares u*."""
    system = fm.EnsembleKalmanInversion(forward, DATA, NOISE)
    run = fm.simulate(system, prior(), [0.0, 0.7], dt=0.01)
    cov = np.linalg.inv(np.linalg.inv(COV) + 2 * 0.7 * PRECISION)
    np.testing.assert_allclose(run.final.cov, cov, atol=1e-8)
    target = np.linalg.solve(PRECISION, PULL)
    values, vectors = np.linalg.eig(np.eye(2) + 1.4 * COV @ PRECISION)
    decay = vectors @ np.diag(values**-0.5) @ np.linalg.inv(vectors)
    np.testing.assert_allclose(run.final.m, target + decay @ (MEAN - target), atol=1e-8)


def ensemble(n, seed=0):
    """Particles whose empirical mean and covariance are those of the prior, exactly."""
    z = np.random.default_rng(seed).normal(size=(n, 2))
    z = z - z.mean(0)
    z = z @ np.linalg.inv(np.linalg.cholesky(z.T @ z / n)).T
    return fm.Particles(MEAN + z @ np.linalg.cholesky(COV).T)


def test_inversion_of_particles_is_that_of_their_moments():
    """Without noise a linear model keeps N particles on the moments' closed equations."""
    run = fm.simulate(
        fm.EnsembleKalmanInversion(forward, DATA, NOISE, "square_root"), ensemble(5), [0.0, 1.0]
    )
    mean, cov = posterior()
    np.testing.assert_allclose(run.final.mean(), mean, atol=1e-7)
    np.testing.assert_allclose(run.final.covariance(), cov, atol=1e-7)


def sampled(system, n, runs, dt, seed=0):
    """Mean and covariance at t = 1 of `runs` ensembles of n prior samples."""

    def one(key):
        start, noise = jr.split(key)
        mu = fm.Particles(prior().sample(start, n))
        final = fm.simulate(system, mu, [0.0, 1.0], dt=dt, key=noise, throw=False).final
        return final.mean(), final.covariance()

    return jax.jit(jax.vmap(one))(jr.split(jr.key(seed), runs))


@pytest.mark.slow
def test_inversion_from_particles_at_the_rate_of_sampling():
    system = fm.EnsembleKalmanInversion(forward, DATA, NOISE, "stochastic")
    mean, cov = posterior()
    errors = []
    for n in (50, 800):
        means, covs = sampled(system, n, 24, 0.01)
        errors.append(np.sqrt(np.mean((means - mean) ** 2) + np.mean((covs - cov) ** 2)))
        for values, exact in ((means, mean), (covs, cov)):
            error = values.std(0) / np.sqrt(24)
            # The bias of N particles is O(1/N), that of Euler steps O(dt).
            assert np.all(abs(values.mean(0) - exact) < 4.5 * error + 3 / n + 0.01)
    assert 0.3 < np.log(errors[0] / errors[1]) / np.log(16) < 0.7


def test_sampler_closure():
    system = fm.EnsembleKalmanSampler(forward, DATA, NOISE, MEAN, 2.0 * COV)
    total = PRECISION + np.linalg.inv(2 * COV)
    run = fm.simulate(system, fm.Gaussian(jnp.zeros(2), jnp.eye(2)), [0.0, 0.6, 15.0], dt=0.02)
    cov = np.linalg.inv(total + np.exp(-1.2) * (np.eye(2) - total))
    np.testing.assert_allclose(run.ys.cov[1], cov, atol=1e-7)
    np.testing.assert_allclose(run.final.cov, np.linalg.inv(total), atol=1e-7)
    exact = np.linalg.solve(total, PULL + np.linalg.solve(2 * COV, MEAN))
    np.testing.assert_allclose(run.final.m, exact, atol=1e-6)


def test_flow_is_the_sampler_of_a_linear_model():
    """For G linear, C^{uG}Γ⁻¹(G − y) + CΓ₀⁻¹(x − m₀) is C∇Φ: both systems agree."""
    sampler = fm.EnsembleKalmanSampler(forward, DATA, NOISE, MEAN, COV, finite_size=True)

    def misfit(x):
        r, z = forward(x) - DATA, x - MEAN
        return r @ jnp.linalg.solve(NOISE, r) / 2 + z @ jnp.linalg.solve(COV, z) / 2

    flow = fm.KalmanWassersteinFlow(misfit, finite_size=True)
    mu = fm.Particles(jr.normal(jr.key(0), (6, 2)))
    one, two = eqx.filter_jit(sampler)(0.0, mu), eqx.filter_jit(flow)(0.0, mu)
    np.testing.assert_allclose(one.drift.x, two.drift.x, rtol=1e-10)
    w = (jnp.ones((6, 2)),)
    np.testing.assert_allclose(one.noise.apply(w).x, two.noise.apply(w).x, rtol=1e-10)


def test_flow_closure_at_a_temperature():
    precision = jnp.array([[2.0, 0.5], [0.5, 1.0]])
    system = fm.KalmanWassersteinFlow(lambda x: x @ precision @ x / 2, beta=2.5)
    run = fm.simulate(system, prior(), [0.0, 0.8])
    rest = 2.5 * np.asarray(precision)
    cov = np.linalg.inv(rest + np.exp(-2 * 0.8 / 2.5) * (np.linalg.inv(COV) - rest))
    np.testing.assert_allclose(run.final.cov, cov, atol=1e-8)


@pytest.mark.parametrize("finite_size", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_four_particles_keep_the_target_with_the_finite_size_drift(finite_size):
    """E x² = 1 under N(0, 1) for N = 4 > d + 1; without the drift it is lost."""
    system = fm.KalmanWassersteinFlow(lambda x: x[0] ** 2 / 2, finite_size=finite_size)

    def one(key):
        start, noise = jr.split(key)
        mu = fm.Particles(jr.normal(start, (4, 1)))
        run = fm.simulate(
            system, mu, [0.0, 2.0], dt=0.005, key=noise, throw=False,
            observe=lambda mu: jnp.mean(mu.x**2),
        )  # fmt: skip
        return run.ys[-1]

    values = jax.jit(jax.vmap(one))(jr.split(jr.key(1), 20_000))
    error = values.std() / np.sqrt(values.size)
    assert error < 0.01
    # Euler steps bias E x² by O(dt).
    close = abs(values.mean() - 1) < 4.5 * error + 0.01
    assert close if finite_size else not close


def test_kinds_of_noise_covariance():
    mu = ensemble(4)
    drifts = [
        eqx.filter_jit(fm.EnsembleKalmanInversion(forward, DATA, cov))(0.0, mu).drift.x
        for cov in (0.3, np.full(3, 0.3), 0.3 * np.eye(3))
    ]
    np.testing.assert_allclose(drifts[0], drifts[2], rtol=1e-12)
    np.testing.assert_allclose(drifts[1], drifts[2], rtol=1e-12)
    with pytest.raises(ValueError, match="noise_cov"):
        fm.EnsembleKalmanInversion(forward, DATA, np.eye(2))
    with pytest.raises(ValueError, match="form"):
        fm.EnsembleKalmanInversion(forward, DATA, 1.0, "exact")
