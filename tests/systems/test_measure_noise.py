"""Random measures: densities of finitely many particles, populations, coalescing particles."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.special import erf
from scipy.stats import beta

import flowjax_measures as fm

FREE = fm.Langevin(lambda x: 0.0 * jnp.sum(x), beta=2.0)


def hopping(shape, spacing):
    """The generator of walkers on a torus of cells, of the diffusion with σ² = 1."""
    lines = []
    for n, h in zip(shape, spacing, strict=True):
        eye = np.eye(n)
        lines.append((np.roll(eye, 1, 0) + np.roll(eye, -1, 0) - 2 * eye) / (2 * h**2))
    if len(lines) == 1:
        return lines[0]
    one, two = lines
    return np.kron(one, np.eye(len(two))) + np.kron(np.eye(len(one)), two)


def covariance_rate(system, grid):
    """σσᵀ of the noise on the masses of cells."""
    noise = system(0.0, grid).noise
    shapes, structure = jax.tree.flatten(noise.brownian())
    columns = []
    for i, shape in enumerate(shapes):
        for unit in np.eye(np.prod(shape.shape)):
            blank = [jnp.zeros(s.shape) for s in shapes]
            blank[i] = jnp.asarray(unit).reshape(shape.shape)
            moved = noise.apply(jax.tree.unflatten(structure, blank))
            columns.append(np.ravel(moved.rho) * float(grid.cell))
    columns = np.array(columns)
    return columns.T @ columns


@pytest.mark.parametrize("shape", [pytest.param((5,), marks=pytest.mark.slow), (4, 3)])
def test_dean_and_kawasaki_have_the_covariances_of_walkers(shape):
    number, rho = 50.0, 1 + np.random.default_rng(0).uniform(size=shape)
    grid = fm.GridDensity(jnp.asarray(rho), 0.0, jnp.ones(len(shape)) * 1.5, True)
    p = np.ravel(grid.rho) * float(grid.cell)
    q = hopping(shape, np.asarray(grid.spacing))
    # Of walkers that jump at rates q, each of mass ∫ρ/N: Σ (p_i q_ij + p_j q_ji)(e_i − e_j)².
    flow = p[:, None] * q * (1 - np.eye(p.size))
    both = flow + flow.T
    exact = (np.diag(both.sum(1)) - both) * p.sum() / number
    found = covariance_rate(fm.DeanKawasaki(FREE, number), grid)
    np.testing.assert_allclose(found, exact, atol=1e-14)


def test_densities_stay_positive_and_keep_their_mass():
    law = fm.DeanKawasaki(fm.McKeanVlasov(fm.Quadratic(3.0), beta=1.0), 20)
    grid = fm.GridDensity(jnp.exp(-3 * jnp.linspace(-2, 2, 20) ** 2 / 2), -2.0, 2.0)
    run = fm.simulate(law, grid, [0.0, 0.2, 0.4], dt=0.002, key=jr.key(0))
    assert np.min(run.ys.rho) >= 0 and np.std(run.final.rho - grid.rho) > 0.1
    np.testing.assert_allclose(jax.vmap(lambda mu: mu.mass())(run.ys), grid.mass(), rtol=1e-13)
    with pytest.raises(ValueError, match="GridDensity"):
        fm.simulate(law, fm.initial.normal(jr.key(0), 3, 1), [0.0, 1.0], dt=0.1, key=jr.key(0))


@pytest.mark.slow
def test_fourier_modes_fluctuate_as_those_of_particles():
    n, number, t, runs = 16, 200, 0.05, 2000
    rho = 1 + 0.5 * np.sin(2 * np.pi * (np.arange(n) + 0.5) / n)
    grid = fm.GridDensity(jnp.asarray(rho), 0.0, 1.0, True)

    @jax.jit
    @jax.vmap
    def end(key):
        law = fm.DeanKawasaki(FREE, number)
        return fm.simulate(law, grid, [0.0, t], dt=2e-4, key=key).final.rho

    rho_t = np.asarray(end(jr.split(jr.key(0), runs)))
    waves = np.exp(2j * np.pi * np.outer([1, 2], (np.arange(n) + 0.5) / n)) / n
    modes = rho_t @ waves.T
    # Particles that start where the density is: each cell holds the same number every time.
    jump, p = expm(hopping((n,), (1 / n,)) * t), rho / n
    cov = np.diag(p @ jump) - jump.T @ np.diag(p) @ jump
    for k in range(2):
        exact = np.real(waves[k].conj() @ cov @ waves[k]) * n**2 / number
        assert abs(np.var(modes[:, k]) - exact) < 5 * exact / np.sqrt(runs)
    np.testing.assert_allclose(rho_t.mean(0), rho @ jump, atol=0.06)


@pytest.mark.slow
def test_two_draws_of_a_population_differ_less_and_less():
    n, gamma, shares = 4000, 0.8, jnp.array([0.5, 0.3, 0.2, 0.0])
    start = fm.Particles(jnp.tile(shares, (n, 1)), space=fm.Simplex())
    law = fm.FlemingViot(jnp.zeros(4), gamma)
    p = np.asarray(fm.simulate(law, start, [0.0, 1.0], dt=0.25, key=jr.key(0)).final.x)
    differ = 1 - np.sum(p**2, 1)
    exact = (1 - np.sum(shares**2)) * np.exp(-gamma)
    assert abs(np.mean(differ) - exact) < 4 * np.std(differ) / np.sqrt(n)
    assert np.all(np.abs(p.mean(0) - shares) < 1e-12 + 4 * p.std(0) / np.sqrt(n))
    assert np.all(p >= 0) and np.max(p[:, 3]) < 1e-15
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-14)


def test_the_noise_of_a_population_is_that_of_copies():
    p = jnp.array([[0.5, 0.3, 0.2]])
    rates = jnp.array([[0.0, 0.4, 0.1], [0.2, 0.0, 0.3], [0.5, 0.6, 0.0]])
    law = fm.FlemingViot(rates, 0.7)
    drift, noise = law(0.0, fm.Particles(p, space=fm.Simplex()))
    q = np.asarray(rates) - np.diag(np.sum(rates, 1))
    np.testing.assert_allclose(drift.x[0], p[0] @ q, atol=1e-15)
    columns = np.array([noise.apply((jnp.asarray(u)[None],)).x[0] for u in np.eye(3)])
    exact = 0.7 * (np.diag(p[0]) - np.outer(p[0], p[0]))
    np.testing.assert_allclose(columns.T @ columns, exact, atol=1e-15)
    # On a grid too, with cells for types.
    grid = fm.GridDensity(jnp.array([1.0, 0.5, 2.0, 0.5]), 0.0, 1.0, True)
    found = covariance_rate(fm.FlemingViot(FREE, 0.7), grid)
    shares = np.asarray(grid.rho) / 4
    np.testing.assert_allclose(
        found, 0.7 * (np.diag(shares) - np.outer(shares, shares)), atol=1e-15
    )
    with pytest.raises(ValueError, match="`mutation` holds a negative rate"):
        fm.FlemingViot(-rates)
    with pytest.raises(ValueError, match="`mutation`"):
        law.stationary()


@pytest.mark.slow
def test_populations_come_to_rest_in_their_invariant_law():
    n, law = 4000, fm.FlemingViot(jnp.array([0.5, 1.0, 0.2]), 0.8)
    start = fm.Particles(jnp.full((n, 3), 1 / 3), space=fm.Simplex())
    p = np.asarray(fm.simulate(law, start, [0.0, 6.0], dt=0.03, key=jr.key(1)).final.x)
    a = np.asarray(law.stationary())
    exact = beta(a, a.sum() - a)
    error = 4 * exact.std() / np.sqrt(n)
    assert np.all(np.abs(p.mean(0) - exact.mean()) < error)
    # First order in the step: 1e-3 of the fourth moment's 0.04.
    fourth = [beta(k, a.sum() - k).moment(4) for k in a]
    np.testing.assert_allclose((p**4).mean(0), fourth, atol=6e-3)


@pytest.mark.slow
def test_a_population_in_space_has_the_moments_of_its_equation():
    n, gamma, t = 12, 0.5, 0.2
    grid, law = fm.GridDensity(jnp.ones(n), 0.0, 1.0, True), fm.FlemingViot(FREE, gamma)
    end = jax.vmap(lambda k: fm.simulate(law, grid, [0.0, t], dt=0.002, key=k).final.rho)
    p = np.asarray(jax.jit(end)(jr.split(jr.key(0), 3000))) / n
    assert np.min(p) > 0
    q, eye = hopping((n,), (1 / n,)), np.eye(n)
    generator = np.kron(q, eye) + np.kron(eye, q) - gamma * np.eye(n * n)
    source = gamma * np.diag(np.full(n, 1 / n)).ravel()
    rest = -np.linalg.solve(generator, source)
    exact = (expm(generator * t) @ (np.full(n * n, n**-2.0) - rest) + rest).reshape(n, n) - n**-2.0
    found = np.mean([np.roll(np.cov(p.T)[i], -i) for i in range(n)], 0)
    np.testing.assert_allclose(found, exact[0], atol=0.05 * exact[0, 0])


def test_dirichlet_and_ferguson_break_a_stick():
    theta, n = 1.5, 2000
    base = fm.Gaussian(jnp.ones(1), 2 * jnp.eye(1))
    draw = jax.vmap(lambda k: fm.initial.dirichlet_ferguson(k, base, theta, 60))
    mu = draw(jr.split(jr.key(3), n))
    w = np.exp(mu.log_w)
    np.testing.assert_allclose(w.sum(1), 1, atol=1e-13)
    means, same = np.sum(w * mu.x[..., 0], 1), np.sum(w**2, 1)
    assert abs(np.mean(same) - 1 / (1 + theta)) < 4 * np.std(same) / np.sqrt(n)
    assert abs(np.mean(means) - 1) < 4 * np.std(means) / np.sqrt(n)
    assert abs(np.var(means) - 2 / (1 + theta)) < 0.12
    with pytest.raises(ValueError, match="`mass`"):
        fm.initial.dirichlet_ferguson(jr.key(0), base, 0.0)


def ends(mu, t, dt, runs, alpha=0.7, seed=4):
    law = fm.MassiveArratia(alpha)
    end = jax.vmap(lambda k: fm.simulate(law, mu, [0.0, t], dt=dt, key=k).final.x[:, 0])
    return np.asarray(jax.jit(end)(jr.split(jr.key(seed), runs)))


@pytest.mark.slow
@pytest.mark.parametrize("dt", [1.0, 0.25])
def test_two_particles_meet_at_the_right_rate_at_any_step(dt):
    masses, runs = np.array([0.5, 0.2]), 8000
    mu = fm.Particles(jnp.array([[1.0], [0.3]]), weights=jnp.asarray(masses))
    x = ends(mu, 1.0, dt, runs)
    apart = erf(0.7 / np.sqrt(2 * 0.7 * np.sum(1 / masses)))
    assert abs(np.mean(x[:, 0] > x[:, 1]) - apart) < 4 * np.sqrt(apart * (1 - apart) / runs)
    # The first moment is a Brownian motion of variance αM, and each particle a martingale.
    first = x @ masses
    assert abs(np.mean(first) - 0.56) < 4 * np.sqrt(0.49 / runs)
    assert abs(np.var(first) / 0.49 - 1) < 4 * np.sqrt(2 / runs)
    assert np.all(np.abs(x.mean(0) - [1.0, 0.3]) < 4 * x.std(0) / np.sqrt(runs))


@pytest.mark.slow
def test_three_particles_stay_apart_as_brownian_motions_do():
    x0, t, runs = np.array([0.0, 0.5, 1.3]), 0.2, 20_000
    x = ends(fm.Particles(jnp.asarray(x0)[:, None]), t, 0.02, runs)
    touch = lambda d: erf(d / np.sqrt(4 * 0.7 * 3 * t))  # noqa: E731
    # Karlin and McGregor's determinant, integrated.
    exact = touch(0.5) + touch(0.8) - touch(1.3)
    apart = np.mean(np.all(np.diff(x, axis=1) > 0, 1))
    assert np.all(np.diff(x, axis=1) >= 0)
    assert abs(apart - exact) < 4 * np.sqrt(exact * (1 - exact) / runs)


def test_what_has_met_stays_together_and_what_has_no_mass_meets_nobody():
    mu = fm.Particles(
        jnp.array([[2.0], [0.0], [1.0], [0.5]]), weights=jnp.array([1.0, 1.0, 0.0, 2.0])
    )
    run = fm.simulate(fm.MassiveArratia(), mu, jnp.linspace(0.0, 9.0, 10), dt=0.1, key=jr.key(0))
    x = np.asarray(run.ys.x[..., 0])
    assert np.all(x[:, 2] == 1.0)
    together = x[:, 1] == x[:, 3]
    assert together[-1] and np.all(np.diff(together.astype(int)) >= 0)
    assert np.all(x[:, 1] <= x[:, 3]) and np.all(x[:, 3] <= x[:, 0])
    with pytest.raises(ValueError, match="on the line"):
        fm.simulate(
            fm.MassiveArratia(), fm.Particles(jnp.ones((3, 2))), [0.0, 1.0], dt=0.1, key=jr.key(0)
        )
