"""Runs as labelled data sets, and arrays of NumPy and xarray as inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue import cloud, normal

import flowjax_measures as fm

xarray = pytest.importorskip("xarray")
TS = jnp.array([0.0, 0.5])


def run_of(ys):
    return fm.Trajectory(TS, jax.tree.map(lambda a: jnp.stack([a, 2 * a]), ys), None, None, {})


def test_particles_have_times_and_particles_and_coordinates():
    mu = cloud(5, 2, log_w=jnp.arange(5.0))
    data = run_of(mu).to_xarray()
    assert data["x"].dims == ("particle", "time", "x_0")
    assert data["log_w"].dims == ("particle", "time")
    np.testing.assert_array_equal(data["x"].sel(time=0.5).isel(particle=3), 2 * mu.x[3])


def test_parts_of_points_and_species_have_names():
    phase = fm.Particles(fm.Phase(cloud(4).x, cloud(4, seed=1).x))
    data = run_of({"prey": phase, "food": cloud(3)}).to_xarray()
    assert set(data) == {"prey.x.q", "prey.x.p", "food.x"}
    assert data.sizes["prey.particle"] == 4 and data.sizes["food.particle"] == 3


def test_other_measures_and_observables():
    data = run_of(normal()).to_xarray()
    np.testing.assert_array_equal(data["cov"][1], 2 * normal().cov)
    grid = fm.GridDensity(jnp.arange(1.0, 5.0), 0.0, 2.0)
    rho = run_of(grid).to_xarray()["rho"]
    np.testing.assert_allclose(rho["rho_0"], grid.centres()[:, 0])
    data = run_of({"energy": jnp.ones(()), "mean": jnp.ones(3)}).to_xarray()
    assert data["energy"].dims == ("time",) and data["mean"].dims == ("time", "mean_0")
    assert set(run_of(jnp.ones(())).to_xarray()) == {"value"}


def test_chains_and_draws_as_arviz_wants_them():
    data = run_of(cloud(5, 2)).to_xarray("draw", "chain")
    assert data["x"].dims == ("chain", "draw", "x_0")
    assert data.sizes["chain"] == 5 and data.sizes["draw"] == 2


def test_inputs_may_be_arrays_of_numpy_and_xarray():
    x = np.random.default_rng(0).normal(size=(5, 2))
    for array in (x, xarray.DataArray(x, dims=("particle", "i"))):
        mu = fm.Particles(array)
        assert isinstance(mu.x, jax.Array)
        np.testing.assert_array_equal(mu.x, x)


def test_without_xarray_it_says_what_to_install(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("flowjax_measures.storage._xarray.import_module", missing)
    with pytest.raises(ImportError, match=r"pip install 'flowjax_measures\[data\]'"):
        run_of(cloud(5, 2)).to_xarray()
