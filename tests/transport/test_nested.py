"""Wasserstein on Wasserstein against linear programs and its own dynamics."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.optimize import linprog

import flowjax_measures as fm


def gaussians(seed, n):
    parts = jr.normal(jr.key(seed), (n, 3, 2))
    return [fm.Gaussian(p[0], 0.2 * jnp.eye(2) + p[1:] @ p[1:].T / 4) for p in parts]


@pytest.mark.slow
def test_mixtures_of_gaussians():
    mus, nus = gaussians(0, 3), gaussians(1, 2)
    a, b = jnp.array([0.2, 0.5, 0.3]), jnp.array([0.6, 0.4])
    bures = jax.jit(fm.bures)
    cost = np.array([[bures(mu, nu) for nu in nus] for mu in mus])
    rows, columns = np.kron(np.eye(3), np.ones(2)), np.kron(np.ones(3), np.eye(2))
    program = linprog(cost.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([a, b]))
    distance = jax.jit(fm.nested_wasserstein)
    found = distance(mus, nus, a, b)
    np.testing.assert_allclose(found**2, program.fun, rtol=1e-9)
    # The action of the nested continuity equation along the geodesic: constant speed.
    between, speeds = jax.jit(fm.nested_mccann), []
    for s, t in ((0.0, 0.25), (0.3, 0.8)):
        (here, p), (there, q) = (between(mus, nus, t, a, b) for t in (s, t))
        speeds.append(distance(here, there, p, q) / (t - s))
    np.testing.assert_allclose(speeds, found, rtol=1e-7)


def test_benamou_brenier_bounds_every_curve():
    """The action of a curve driven by a non-local field is at least the squared distance."""
    mus = [fm.Particles(jr.normal(jr.key(i), (4, 2))) for i in range(3)]
    field = fm.Custom(lambda t, x, mu: 0.8 * (mu.mean() - x) + jnp.array([0.5, -0.2]))

    def end(mu):
        run = fm.simulate(field, mu, jnp.linspace(0.0, 1.0, 41), dt=0.025)
        velocity = jax.vmap(lambda m: jax.vmap(lambda x: field.rates(0.0, x, m).velocity)(m.x))
        power = jnp.mean(jnp.sum(velocity(run.ys) ** 2, -1), -1)
        return run.final, jnp.trapezoid(power, run.ts)

    ends, actions = zip(*map(end, mus), strict=True)
    square = fm.nested_wasserstein(mus, ends) ** 2
    assert 0.5 < square / np.mean(actions) < 1 + 1e-9
    # What the averages alone know is less.
    flat = [fm.Particles(jnp.concatenate([m.x for m in group])) for group in (mus, ends)]
    assert fm.wasserstein(*flat) ** 2 < square


@pytest.mark.slow
def test_derivative_is_that_of_differences():
    mus, nus = ([fm.Particles(p[:, :1]) for p in jr.normal(jr.key(i), (3, 2, 2))] for i in (0, 1))

    @jax.jit
    def value(shift):
        moved = [fm.Particles(mu.x + shift * mu.x**2) for mu in mus]
        return fm.nested_wasserstein(moved, nus)

    central = (value(0.1 + 1e-6) - value(0.1 - 1e-6)) / 2e-6
    np.testing.assert_allclose(jax.grad(value)(0.1), central, rtol=1e-6)


def test_wrong_masses_are_refused():
    with pytest.raises(ValueError, match="one probability"):
        fm.nested_wasserstein(gaussians(0, 3), gaussians(1, 2), jnp.ones(2))


def test_all_pairs_are_one_program():
    """The program for 3 × 3 measures is no longer than that for 12 × 12; values are the same."""

    def lines(n):
        mus, nus = gaussians(0, n), gaussians(1, n)
        return len(str(jax.make_jaxpr(fm.nested_wasserstein)(mus, nus)).splitlines())

    assert lines(12) < lines(3) + 150
    mus, nus = gaussians(2, 3), gaussians(3, 2)
    between, shares = fm.nested_mccann(mus, nus, 0.4)
    for k, (mu, nu) in enumerate((mu, nu) for mu in mus for nu in nus):
        alone = fm.mccann(mu, nu, 0.4)
        np.testing.assert_allclose(between[k].cov, alone.cov, rtol=1e-10)
        np.testing.assert_allclose(between[k].m, alone.m, rtol=1e-12)
    np.testing.assert_allclose(shares.sum(), 1, rtol=1e-12)
    with pytest.raises(ValueError, match="masses"):
        heavy = fm.Particles(jnp.zeros((2, 1)), jnp.zeros(2))
        light = fm.Particles(jnp.zeros((2, 1)), jnp.full(2, -jnp.log(2.0)))
        fm.nested_wasserstein([light, heavy], [light, light])
