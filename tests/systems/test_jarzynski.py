"""Jarzynski's equality: free energies of moving quadratics."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

BETA, N = 1.3, 4000


def trap(t, x):
    """A quadratic that moves and stiffens."""
    return (1 + t) * jnp.sum((x - 1.5 * t) ** 2) / 2


def start(n=N):
    return fm.Particles(jr.normal(jr.key(0), (n, 1)) / np.sqrt(BETA))


@pytest.mark.slow
def test_density_has_the_partition_function_for_its_mass():
    x = jnp.linspace(-4.475, 6.475, 220)
    rho = jnp.exp(-BETA * jax.vmap(lambda s: trap(0.0, s))(x)) / np.sqrt(2 * np.pi / BETA)
    system = fm.Jarzynski(trap, BETA)
    # The scheme is of second order: h² = 2.5e-3.
    final = fm.simulate(system, fm.GridDensity(rho, -4.5, 6.5), [0.0, 1.0]).final
    np.testing.assert_allclose(final.mass(), np.sqrt(1 / 2), rtol=6e-4)
    np.testing.assert_allclose(system.free_energy(final), np.log(2) / (2 * BETA), atol=6e-4)
    exact = np.exp(-BETA * (x - 1.5) ** 2) / np.sqrt(2 * np.pi / BETA)
    np.testing.assert_allclose(final.rho, exact, atol=1e-3)
    # The closure is the law without its mass.
    mu = fm.Gaussian(jnp.zeros(1), jnp.eye(1) / BETA)
    final = fm.simulate(system, mu, [0.0, 1.0]).final
    np.testing.assert_allclose(final.m, [1.5], atol=1e-7)
    np.testing.assert_allclose(final.cov, [[1 / (2 * BETA)]], atol=1e-7)


@pytest.mark.parametrize("h", [pytest.param(0.02, marks=pytest.mark.slow), 0.25])
def test_weights_have_no_bias_at_any_step(h):
    system = fm.Jarzynski(trap, BETA)
    final = fm.simulate(
        system, start(), [0.0, 1.0], dt=h, key=jr.key(1), solver=fm.AnnealedImportance()
    ).final
    w = N * np.exp(final.log_w)
    x = np.asarray(final.x[:, 0])
    for values, exact in ((w, 1), (w * x, 1.5), (w * (x - 1.5) ** 2, 1 / (2 * BETA))):
        error = np.std(values) / np.sqrt(N)
        assert abs(np.mean(values) - exact * np.sqrt(1 / 2)) < 4 * error
    np.testing.assert_allclose(system.free_energy(final), np.log(2) / (2 * BETA), atol=0.1)


@pytest.mark.slow
def test_work_of_a_dragged_trap():
    # W is normal with mean v²(t − (1 − e^{−kt})/k) and variance 2/β of it; ΔF = 0.
    k, v, t = 2.0, 1.5, 1.0
    system = fm.Jarzynski(lambda s, x: k * jnp.sum((x - v * s) ** 2) / 2, BETA)
    mu = fm.Particles(jr.normal(jr.key(0), (N, 1)) / np.sqrt(BETA * k))
    final = fm.simulate(system, mu, [0.0, t], dt=0.005, key=jr.key(1)).final
    work = -(final.log_w + np.log(N)) / BETA
    exact = v**2 * (t - (1 - np.exp(-k * t)) / k)
    spread = 2 * exact / BETA
    assert abs(np.mean(work) - exact) < 4 * np.sqrt(spread / N) + 0.01
    assert abs(np.var(work) / spread - 1) < 4 * np.sqrt(2 / N) + 0.01
    with pytest.raises(ValueError, match="AnnealedImportance steps Jarzynski"):
        fm.simulate(
            fm.Langevin(fm.Quadratic()), mu, [0.0, 1.0], dt=0.5, key=jr.key(1),
            solver=fm.AnnealedImportance(),
        )  # fmt: skip


@pytest.mark.slow
def test_an_event_that_does_not_come_changes_nothing():
    """Diffrax's own loop wraps what a solver sees; noise and weights are the same."""
    mu = fm.Particles(jr.normal(jr.key(0), (6, 1)))
    system = fm.Jarzynski(lambda t, x: (1 + t) * jnp.vdot(x, x) / 2)
    never = {"event": lambda t, mu: False}
    runs = [
        fm.simulate(
            system, mu, [0.0, 0.4], dt=0.1, key=jr.key(1), solver=fm.AnnealedImportance(), **options
        ).final
        for options in ({}, never)
    ]
    np.testing.assert_allclose(runs[0].x, runs[1].x, rtol=1e-12)
    np.testing.assert_allclose(runs[0].log_w, runs[1].log_w, rtol=1e-12)


def test_work_averages_to_the_free_energy():
    law = fm.Jarzynski(lambda t, x: (1 + t) * jnp.sum(x**2), 1.3)
    mu = fm.Particles(jnp.zeros((3, 1)), log_w=jnp.log(jnp.array([0.2, 0.3, 0.1])))
    # ΔF = −log E e^{−βW} / β.
    mean = jnp.log(jnp.mean(jnp.exp(-1.3 * law.work(mu))))
    np.testing.assert_allclose(law.free_energy(mu), -mean / 1.3, rtol=1e-12)
