"""Accelerated flows against oscillators, and their rate beside first order."""

import diffrax
import jax
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


METRICS = {
    "wasserstein": fm.Wasserstein(),
    "preconditioned": fm.Preconditioned(jnp.array([[1.0, 0.3], [0.3, 0.5]])),
    "kalman": fm.KalmanWasserstein(),
    "stein": fm.Stein(fm.GaussianKernel(0.9)),
    "fisher-rao": fm.FisherRao(),
    "both": fm.WassersteinFisherRao(0.7, 1.3),
}
MASSES = jnp.array([0.1, 0.4, 0.3, 0.2])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["kalman", "both"]
    + [
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("wasserstein", "preconditioned", "stein", "fisher-rao")
    ],
)
def test_motions_are_hamiltons_equations(name):
    # Momenta that belong to places and masses are w p and φ.
    metric = METRICS[name]
    energy = fm.PotentialEnergy(lambda x: 0.6 * jnp.sum(x**2) + x[0])
    energy = energy + fm.InteractionEnergy(fm.GaussianKernel(0.8))
    flow = fm.AcceleratedFlow(energy, 0.0, metric)

    def state(q, total, w, phi):
        p = total / w[:, None]
        kinds = {"fisher-rao": phi, "both": (p, phi)}
        return fm.Particles(fm.Phase(q, kinds.get(name, p)), weights=w)

    q, p = jr.normal(jr.key(0), (4, 2)), jr.normal(jr.key(1), (4, 2))
    at = q, p * MASSES[:, None], MASSES, jr.normal(jr.key(2), (4,))
    slopes = jax.grad(lambda *a: flow.hamiltonian(state(*a)), (0, 1, 2, 3))(*at)
    drift = flow(0.0, state(*at)).drift
    np.testing.assert_allclose(drift.x.q, slopes[1], atol=1e-14)
    grown = 0.0 if drift.log_w is None else drift.log_w * MASSES
    np.testing.assert_allclose(grown, slopes[3], atol=1e-14)
    pushed = drift.x.p
    if name in ("fisher-rao", "both"):
        pushed = pushed if name == "fisher-rao" else pushed[1]
        # φ is known up to a constant, as masses have a given sum.
        np.testing.assert_allclose(np.ptp(pushed + slopes[2]), 0, atol=1e-13)
    if name != "fisher-rao":
        pushed = drift.x.p[0] if name == "both" else drift.x.p
        moved = MASSES[:, None] * pushed + np.reshape(grown, (-1, 1)) * p
        np.testing.assert_allclose(moved, -slopes[0], atol=1e-14)


def test_masses_go_round_a_circle_in_the_geometry_of_fisher_and_rao():
    # Two masses sin²θ, cos²θ without an energy: θ̇ = √(K/2).
    theta, phi, t = 0.6, 1.4, 0.8
    w = jnp.array([np.sin(theta) ** 2, np.cos(theta) ** 2])
    points = fm.Phase(jnp.zeros((2, 1)), jnp.array([phi, 0.0]))
    nothing = fm.PotentialEnergy(lambda x: 0.0 * jnp.sum(x))
    flow = fm.AcceleratedFlow(nothing, 0.0, fm.FisherRao())
    final = fm.simulate(flow, fm.Particles(points, weights=w), [0.0, t]).final
    kinetic = w[0] * w[1] * phi**2 / 2
    exact = np.sin(theta + np.sqrt(kinetic / 2) * t) ** 2
    np.testing.assert_allclose(np.exp(final.log_w[0]), exact, atol=1e-6)
    with pytest.raises(ValueError, match="`metric`"):
        mirror = fm.AcceleratedFlow(nothing, 0.0, fm.Mirror(fm.Quadratic(1.0)))
        fm.simulate(mirror, fm.Particles(points), [0.0, 0.1])


@pytest.mark.slow
def test_restarts_and_preconditioning_on_an_ill_conditioned_gaussian():
    rate = 0.01
    energy = fm.KL(fm.Quadratic(jnp.diag(jnp.array([1.0, rate]))))
    best = energy(fm.Gaussian(jnp.zeros(2), jnp.diag(jnp.array([1.0, 1 / rate]))))
    mu, ts = lifted([1.0, 60.0], [0.0, 3.0]), [0.0, 50.0, 100.0]
    excess = lambda nu: energy(fm.Gaussian(nu.m[:2], nu.cov[:2, :2])) - best  # noqa: E731

    def end(damping, solver, metric=fm.Wasserstein()):
        flow = fm.AcceleratedFlow(energy, damping, metric)
        return fm.simulate(flow, mu, ts, dt=0.1, observe=excess, solver=solver).ys[-1]

    nesterov = lambda t: 3 / t  # noqa: E731
    plain, again = end(nesterov, diffrax.Heun()), end(nesterov, fm.Restart())
    assert again < plain / 5
    # Without damping, and without knowing λ, as fast as with the best damping: e^{−2√λ t}.
    assert end(0.0, fm.Restart()) < end(2 * np.sqrt(rate), diffrax.Heun()) < 1e-7
    # What is not seen of the coordinates does not slow the flow.
    assert abs(end(2.0, diffrax.Heun(), fm.KalmanWasserstein())) < 1e-14


@pytest.mark.slow
def test_particles_restart_on_a_target_that_is_not_gaussian():
    potential = lambda x: jnp.sum(jnp.logaddexp(x, -x)) + 50 * x[0] ** 2  # noqa: E731
    energy = fm.PotentialEnergy(potential)
    q = jr.normal(jr.key(0), (20, 2)) + jnp.array([0.0, 4.0])
    mu = fm.Particles(fm.Phase(q, jnp.zeros_like(q)))
    excess = lambda nu: energy(fm.Particles(nu.x.q)) - 2 * np.log(2)  # noqa: E731
    flow = fm.AcceleratedFlow(energy, lambda t: 3 / t)
    ts, dt = [0.0, 20.0], 0.02
    fast = fm.simulate(flow, mu, ts, dt=dt, observe=excess, solver=fm.Restart()).ys[-1]
    plain = fm.simulate(flow, mu, ts, dt=dt, observe=excess, solver=diffrax.Heun()).ys[-1]
    assert 0 <= fast < plain / 10
