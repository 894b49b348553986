"""Particles that exclude each other, the equations of their densities, and porous media."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm


def wave(n, axis=0):
    return np.cos(2 * np.pi * (np.arange(n) + 0.5) / n)


@pytest.mark.parametrize("dt", [1.0, pytest.param(0.1, marks=pytest.mark.slow)])
def test_rods_are_free_points_in_order(dt):
    n, x0, species = 4000, np.array([1.2, 0.0, 0.5]), jnp.array([0, 0, 1])
    law = fm.ExcludingParticles(jnp.array([0.3, 0.5]), 0.7)
    rods = fm.Particles((jnp.asarray(x0)[:, None], species))
    end = jax.vmap(lambda k: fm.simulate(law, rods, [0.0, 1.0], dt=dt, key=k).final.x[0][:, 0])
    x = np.asarray(jax.jit(end)(jr.split(jr.key(0), n)))
    # Contacts of neighbours are at (0.3 + 0.5)/2.
    gaps = np.array([0.0, 0.4, 0.8])
    z = np.random.default_rng(0).normal(size=(n, 3))
    free = np.sort(x0[[1, 2, 0]] - gaps + np.sqrt(2 * 0.7) * z, 1) + gaps
    rods_in_order = x[:, [1, 2, 0]]
    assert np.min(np.diff(rods_in_order, axis=1)) > 0.4 - 1e-12
    error = 4 * free.std(0) * np.sqrt(2 / n)
    assert np.all(np.abs(rods_in_order.mean(0) - free.mean(0)) < error)
    assert np.all(np.abs(rods_in_order.std(0) - free.std(0)) < error)


@pytest.mark.slow
def test_many_rods_have_the_density_of_their_energy():
    n, taken, t = 60, 0.5, 0.1
    start = np.linspace(0.0, 1.0, n + 2)[1:-1]
    law = fm.ExcludingParticles(taken / n)
    end = jax.vmap(
        lambda k: fm.simulate(
            law, fm.Particles(jnp.asarray(start)[:, None]), [0.0, t], dt=t, key=k
        ).final.x[:, 0]
    )
    x = np.asarray(jax.jit(end)(jr.split(jr.key(0), 400)))
    cells = jnp.linspace(-2.0, 3.0, 201)
    centres = (cells[1:] + cells[:-1]) / 2
    flat = fm.GridDensity(jnp.where((centres > 0) & (centres < 1), 1.0, 0.0), -2.0, 3.0)
    pde = fm.simulate(fm.GradientFlow(fm.Exclusion(taken)), flat, [0.0, t]).final
    # Of n rods they fill a length ε less than the limit's.
    np.testing.assert_allclose(x.mean(), pde.mean()[0], atol=0.02)
    np.testing.assert_allclose(np.var(x), pde.covariance()[0, 0], rtol=0.02)


@pytest.mark.slow
def test_two_disks_are_uniform_where_they_do_not_overlap():
    n, size = 10_000, 0.3
    disks = fm.Particles(jnp.array([[0.2, 0.2], [0.7, 0.7]]), space=fm.Torus(1.0))
    law = fm.ExcludingParticles(size)
    end = jax.vmap(lambda k: fm.simulate(law, disks, [0.0, 0.2], dt=5e-4, key=k).final.x)
    x = np.asarray(jax.jit(end)(jr.split(jr.key(0), n)))
    z = x[:, 0] - x[:, 1]
    r = np.linalg.norm(z - np.round(z), axis=1)
    assert r.min() > size - 1e-9
    for a in (0.36, 0.5):
        exact = np.pi * (a**2 - size**2) / (1 - np.pi * size**2)
        assert abs(np.mean(r < a) - exact) < 5 * np.sqrt(exact * (1 - exact) / n)


POTENTIALS = {
    "a": lambda x: 0.5 * jnp.cos(2 * jnp.pi * x[0]),
    "b": lambda x: -0.7 * jnp.sin(2 * jnp.pi * x[0]),
}


def residual(size):
    """The rate at which the Gibbs law of disks changes, to the first order in their area."""
    law = fm.CrossDiffusion(
        {"a": size, "b": 2 * size}, {"a": 30, "b": 10}, {"a": 1.0, "b": 0.3}, POTENTIALS, 2
    )
    grid = fm.GridDensity(jnp.ones(800), 0.0, 1.0, True)
    energy = {k: np.asarray(jax.vmap(v)(grid.centres())) for k, v in POTENTIALS.items()}
    rho = {k: np.exp(-v) / np.mean(np.exp(-v)) for k, v in energy.items()}
    for _ in range(40):
        taken = {
            i: sum(
                np.pi * ((law.diameters[i] + law.diameters[j]) / 2) ** 2 * rho[j]
                * (law.numbers[j] - (i == j))
                for j in rho
            )
            for i in rho
        }  # fmt: skip
        rho = {k: np.exp(-energy[k] - taken[k]) for k in rho}
        rho = {k: v / v.mean() for k, v in rho.items()}
    state = {k: fm.GridDensity(jnp.asarray(v), 0.0, 1.0, True) for k, v in rho.items()}
    return max(np.max(np.abs(d.rho)) for d in law(0.0, state).drift.values())


def test_the_gibbs_law_of_two_species_stays():
    # What is left is of the second order in the area, and of the grid.
    large, small = residual(0.04), residual(0.02)
    assert large < 0.5 and 10 < large / small < 22


def test_obstacles_that_rest_are_those_of_maxwell():
    # The diffusivity among few resting disks, 1 − φ of a density, and in space 1 − φ/2.
    rho = fm.GridDensity(jnp.asarray(1 + 0.1 * wave(32)), 0.0, 1.0, True)
    flat = fm.GridDensity(jnp.ones(32), 0.0, 1.0, True)
    size, number = 1e-2, 100.0
    for d, volume in ((2, np.pi), (3, 4 * np.pi / 3)):
        sizes, numbers = {"a": size, "b": size}, {"a": 1.0, "b": number}
        law = fm.CrossDiffusion(sizes, numbers, {"a": 1.0, "b": 1e-12}, dimension=d)
        free = fm.CrossDiffusion(sizes, {"a": 1.0, "b": 1e-9}, {"a": 1.0, "b": 1e-12}, dimension=d)
        state = {"a": rho, "b": flat}
        slower = law(0.0, state).drift["a"].rho / free(0.0, state).drift["a"].rho
        np.testing.assert_allclose(slower, 1 - number * volume * size**d / (d - 1), rtol=1e-9)


def test_one_species_is_the_flow_of_its_second_virial_coefficient():
    size, number = 0.03, 60
    rho = 1 + 0.5 * np.outer(wave(12), 1 + 0.2 * wave(10))
    grid = fm.GridDensity(jnp.asarray(rho), 0.0, 1.0, True)
    law = fm.CrossDiffusion({"a": size}, {"a": number}, 0.7)
    virial = np.pi * size**2 * (number - 1) / 2
    energy = 0.7 * (fm.Entropy() + virial * fm.PowerEnergy(2.0))
    found = law(0.0, {"a": grid}).drift["a"].rho
    exact = fm.GradientFlow(energy)(0.0, grid).drift.rho
    np.testing.assert_allclose(found, exact, atol=1e-11)
    with pytest.raises(ValueError, match="`dimension`"):
        law(0.0, {"a": fm.GridDensity(jnp.ones(5), 0.0, 1.0, True)})
    with pytest.raises(ValueError, match="`numbers`"):
        fm.CrossDiffusion({"a": size}, {"b": number})


@pytest.mark.slow
def test_disks_spread_as_their_equation_says():
    n, size, t, runs = 20, 0.08, 0.015, 400
    rng = np.random.default_rng(0)

    def start():
        points = np.zeros((0, 2))
        while len(points) < n:
            p = rng.uniform(size=2)
            z = points - p
            apart = np.linalg.norm(z - np.round(z), axis=1) > size
            if rng.uniform() * 1.8 < 1 + 0.8 * np.cos(2 * np.pi * p[0]) and np.all(apart):
                points = np.concatenate([points, p[None]])
        return points

    law, x0 = fm.ExcludingParticles(size), np.array([start() for _ in range(runs)])

    def end(key, x):
        disks = fm.Particles(x, space=fm.Torus(1.0))
        return fm.simulate(law, disks, [0.0, t], dt=1e-4, key=key).final.x

    x1 = jax.jit(jax.vmap(end))(jr.split(jr.key(0), runs), jnp.asarray(x0))
    mode = lambda x: np.mean(np.cos(2 * np.pi * np.asarray(x)[..., 0]))  # noqa: E731
    grid = fm.GridDensity(jnp.asarray(1 + 2 * mode(x0) * wave(48)), 0.0, 1.0, True)
    pde = fm.simulate(fm.CrossDiffusion({"a": size}, {"a": n}, dimension=2), {"a": grid}, [0.0, t])
    limit = np.mean(pde.final["a"].rho * wave(48))
    free = mode(x0) * np.exp(-4 * np.pi**2 * t)
    # The area is not small: a tenth is covered, and the next virial coefficient adds a tenth.
    assert free - limit > 0.03 and -0.025 < mode(x1) - limit < 0.01


@pytest.mark.slow
def test_a_crowd_that_spreads_pushes_one_that_hardly_moves():
    """Cross-diffusion: what the slow species' first mode does beside the same run without sizes."""
    number, size, t, runs, fast = 10, 0.07, 0.02, 800, np.array([1.0, 0.2])
    labels, rng = np.repeat([0, 1], number), np.random.default_rng(0)
    space = fm.Product((fm.Torus(1.0), fm.Euclidean()))

    def start():
        points = np.zeros((0, 2))
        while len(points) < 2 * number:
            p = rng.uniform(size=2)
            z = points - p
            kept = len(points) >= number or rng.uniform() * 1.8 < 1 + 0.8 * np.cos(2 * np.pi * p[0])
            if kept and np.all(np.linalg.norm(z - np.round(z), axis=1) > size):
                points = np.concatenate([points, p[None]])
        return points

    x0 = np.array([start() for _ in range(runs)])

    def end(diameter):
        law = fm.ExcludingParticles(jnp.full(2, diameter), jnp.asarray(fast))

        def one(key, x):
            disks = fm.Particles((x, jnp.asarray(labels)), space=space)
            return fm.simulate(law, disks, [0.0, t], dt=1e-4, key=key).final.x[0]

        return jax.jit(jax.vmap(one))(jr.split(jr.key(0), runs), jnp.asarray(x0))

    modes = lambda x: np.cos(2 * np.pi * np.asarray(x)[:, labels == 1, 0]).mean(1)  # noqa: E731
    push = modes(end(size)) - modes(end(1e-9))
    at = [np.mean(np.cos(2 * np.pi * x0[:, labels == k, 0])) for k in (0, 1)]
    state = {k: fm.GridDensity(jnp.asarray(1 + 2 * a * wave(48)), 0.0, 1.0, True)
             for k, a in zip("rb", at, strict=True)}  # fmt: skip
    law = fm.CrossDiffusion(
        dict.fromkeys("rb", size), dict.fromkeys("rb", number),
        {"r": 1.0, "b": 0.2}, dimension=2,
    )  # fmt: skip
    final = fm.simulate(law, state, [0.0, t]).final["b"]
    limit = np.mean(final.rho * wave(48)) - at[1] * np.exp(-4 * np.pi**2 * 0.2 * t)
    error = push.std() / np.sqrt(runs)
    # The limit is of first order in the area, of which the disks take 8%; steps of a fifth of a
    # diameter take off a tenth. The fast species is no test: what it gains from the slow one it
    # loses to itself, nearly all of it.
    assert limit < -0.008 and 0.6 < push.mean() / limit < 1.2 and error < 1e-3


@pytest.mark.slow
def test_the_score_of_a_gaussian_spreads_it_as_heat():
    mu = fm.Gaussian(jnp.zeros(2), jnp.array([[0.5, 0.2], [0.2, 0.3]]))
    final = fm.simulate(fm.ScorePorousMedium(1.0), mu, [0.0, 0.3]).final
    np.testing.assert_allclose(final.cov, mu.cov + 0.6 * np.eye(2), atol=1e-6)


@pytest.mark.slow
def test_error_of_the_score_flow_is_of_second_order_in_the_kernel():
    n, m = 300, 2.0
    ends = [fm.initial.barenblatt(t, m, 4000, -3.0, 3.0) for t in (0.1, 0.6)]
    levels = (np.arange(n) + 0.5) / n
    quantiles = []
    for grid in ends:
        rising = np.cumsum(np.asarray(grid.rho)) * float(grid.cell)
        quantiles.append(np.interp(levels, rising, np.asarray(grid.centres()[:, 0]) + 7.5e-4))
    start, errors = fm.Particles(jnp.asarray(quantiles[0])[:, None]), []
    for h in (0.2, 0.1):
        law = fm.ScorePorousMedium(m, fm.GaussianKernel(h))
        x = np.sort(fm.simulate(law, start, [0.1, 0.6], dt=h**2 / 4).final.x[:, 0])
        errors.append(np.sqrt(np.mean((x - quantiles[1]) ** 2)))
    slopes = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert errors[-1] < 0.01 and np.all(slopes > 1.6)
