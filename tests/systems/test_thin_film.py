"""The thin film by implicit steps: any step, on the line and in the plane."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

SOLVER = fm.PositiveImplicitEuler()


def drop(n, floor=0.02):
    x = (jnp.arange(float(n)) + 0.5) * 8 / n
    return fm.GridDensity(floor + jnp.exp(-((x - 4) ** 2)), 0.0, 8.0)


@pytest.mark.slow
def test_implicit_steps_go_to_the_film_at_order_one():
    exact, errors = fm.simulate(fm.ThinFilm(), drop(16), [0.0, 1.0], dt=5e-3).final.rho, []
    for n in (10, 20):
        end = fm.simulate(fm.ThinFilm(), drop(16), [0.0, 1.0], dt=1 / n, solver=SOLVER).final
        errors.append(float(jnp.max(jnp.abs(end.rho - exact))))
        np.testing.assert_allclose(end.mass(), drop(16).mass(), rtol=1e-13)
    assert abs(np.log2(errors[0] / errors[1]) - 1) < 0.15


def test_long_steps_keep_the_film_above_the_ground_and_its_energy_falling():
    """A hundred thousand times the explicit bound, on a ground as dry as a thousandth."""
    law, start = fm.ThinFilm(), drop(48, 1e-3)
    watch = dict(low=lambda mu: jnp.min(mu.rho), energy=law.energy)
    ts = jnp.linspace(0.0, 50.0, 26)
    run = fm.simulate(law, start, ts, dt=2.0, solver=SOLVER, observe=watch)
    assert jnp.all(run.ys["low"] > 0)
    assert jnp.all(jnp.diff(run.ys["energy"]) < 0)
    np.testing.assert_allclose(run.final.mass(), start.mass(), rtol=1e-12)


def test_a_film_in_the_plane_keeps_the_symmetry_of_its_drop():
    x = (jnp.arange(10.0) + 0.5) * 0.8
    x, y = jnp.meshgrid(x, x, indexing="ij")
    height = 0.05 + jnp.exp(-((x - 4) ** 2) - (y - 4) ** 2)
    start = fm.GridDensity(height, jnp.zeros(2), jnp.full(2, 8.0))
    end = fm.simulate(fm.ThinFilm(), start, [0.0, 1.0], dt=0.1, solver=SOLVER).final
    np.testing.assert_allclose(end.rho, end.rho.T, atol=1e-12)
    np.testing.assert_allclose(end.rho, end.rho[::-1], atol=1e-12)
    assert jnp.min(end.rho) > 0
    fine = fm.simulate(fm.ThinFilm(), start, [0.0, 1.0], dt=0.01).final
    np.testing.assert_allclose(end.rho, fine.rho, atol=0.03)


@pytest.mark.slow
def test_the_gradient_of_an_implicit_film():
    def height(scale):
        start = fm.GridDensity(scale * drop(12).rho, 0.0, 8.0)
        return fm.simulate(fm.ThinFilm(), start, [0.0, 1.0], dt=0.25, solver=SOLVER).final.rho[6]

    slope = jax.grad(height)(1.0)
    np.testing.assert_allclose(slope, (height(1 + 1e-5) - height(1 - 1e-5)) / 2e-5, rtol=1e-6)


def test_explicit_steps_that_are_too_long_fail():
    with pytest.raises(RuntimeError, match="dt"):
        fm.simulate(fm.ThinFilm(), drop(32, 0.2), [0.0, 0.5], dt=2e-3)
    with pytest.raises(RuntimeError, match="dt"):
        fm.simulate(fm.ThinFilm(beta=500.0), drop(32, 0.2), [0.0, 0.5], dt=5e-3, key=jr.key(0))
    with pytest.raises(ValueError, match="GridDensity"):
        cloud = fm.Particles(jnp.ones((2, 1)))
        fm.simulate(fm.Langevin(jnp.sum), cloud, [0.0, 1.0], dt=0.1, key=jr.key(0), solver=SOLVER)


@pytest.mark.slow
def test_a_film_of_many_cells():
    law, start = fm.ThinFilm(), drop(256)
    end = fm.simulate(law, start, [0.0, 0.1], dt=0.01, solver=SOLVER).final
    exact = fm.simulate(law, start, [0.0, 0.1], solver=diffrax.Kvaerno5()).final
    assert jnp.min(end.rho) > 0.019
    np.testing.assert_allclose(end.rho, exact.rho, atol=5e-3)


@pytest.mark.slow
def test_noise_is_added_to_implicit_steps_and_other_equations_are_stepped():
    warm = fm.ThinFilm(beta=2000.0)
    start = drop(24, 0.3)
    end = fm.simulate(warm, start, [0.0, 0.5], dt=0.02, key=jr.key(0), solver=SOLVER).final
    still = fm.simulate(fm.ThinFilm(), start, [0.0, 0.5], dt=0.02, solver=SOLVER).final
    np.testing.assert_allclose(end.mass(), start.mass(), rtol=1e-12)
    gap = float(jnp.max(jnp.abs(end.rho - still.rho)))
    assert 1e-3 < gap < 0.2
    # The heat equation: the inverse of a matrix, one step as long as it likes.
    heat = fm.Langevin(lambda x: 0.0 * jnp.sum(x))
    matrix = jax.jacfwd(lambda rho: heat(0.0, fm.GridDensity(rho, 0.0, 8.0)).drift.rho)(start.rho)
    end = fm.simulate(heat, start, [0.0, 3.0], dt=3.0, solver=SOLVER).final
    exact = np.linalg.solve(np.eye(24) - 3 * np.asarray(matrix), start.rho)
    np.testing.assert_allclose(end.rho, exact, rtol=1e-10)
