"""Pictures: each function draws the measure's own numbers into `ax` and returns it."""

import builtins
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue import cloud, normal, tokens

import flowjax_measures as fm
from flowjax_measures import plot

plt = pytest.importorskip("matplotlib.pyplot")
TS = jnp.array([0.0, 0.5, 1.0])


@pytest.fixture(autouse=True)
def _closed():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def run_of(ys, ts=TS):
    """A run that holds `ys`, without simulating it."""
    return fm.Trajectory(ts, ys, None, None, {})


def stacked(*measures):
    return jax.tree.map(lambda *a: jnp.stack(a), *measures)


def fading(measure):
    """A run in which a measure shrinks towards 0."""
    field = {fm.Particles: "x", fm.Gaussian: "m"}[type(measure)]
    scaled = [jax.tree.map(lambda a, s=s: a * s, measure) for s in (1.0, 0.5, 0.25)]
    assert hasattr(measure, field)
    return run_of(stacked(*scaled))


def test_every_picture_is_drawn_into_ax_and_returned():
    mine = plt.subplots()[1]
    solid = plt.subplots(subplot_kw={"projection": "3d"})[1]
    grid = fm.GridDensity(jnp.ones(6), 0.0, 1.0)
    diagram = fm.Sweep(np.ones((2, 3, 4)), {"a": np.arange(2), "b": np.arange(3), "seed": 4})
    drawings = [
        lambda ax: plot.curve(TS, TS, "value", ax=ax),
        lambda ax: plot.energy(run_of({"energy": TS, "order": TS**2}), ax=ax),
        lambda ax: plot.measure(cloud(), ax=ax),
        lambda ax: plot.measure(normal(), ax=ax),
        lambda ax: plot.contours(lambda x: jnp.vdot(x, x), -1.0, np.array([1.0, 2.0]), ax=ax),
        lambda ax: plot.measure(grid, ax=ax),
        lambda ax: plot.trajectory(fading(cloud()), ax=ax),
        lambda ax: plot.trajectory(fading(normal(1)), ax=ax),
        lambda ax: plot.trajectory(fading(normal(2)), ax=ax),
        lambda ax: plot.trajectory(run_of(stacked(grid, grid, grid)), ax=ax),
        lambda ax: plot.phase_diagram(diagram, ax=ax),
        lambda ax: plot.sphere(tokens(d=2), ax=ax),
    ]
    for draw in drawings:
        mine.clear()
        assert draw(mine) is mine and mine.has_data()
    assert plot.sphere(fading(tokens()), ax=solid) is solid and solid.has_data()
    assert plot.sphere(tokens()).name == "3d", "without `ax` one of the right kind is made"


def test_pictures_show_the_numbers():
    mu = cloud(log_w=jnp.log(jnp.arange(1.0, 8.0)))
    dots = plot.measure(mu).collections[0]
    np.testing.assert_allclose(dots.get_offsets(), mu.x[:, :2])
    # Areas are proportional to masses.
    np.testing.assert_allclose(dots.get_sizes() / dots.get_sizes()[0], np.arange(1.0, 8.0))
    line = cloud(d=1, log_w=jnp.log(jnp.arange(1.0, 8.0)))
    bars = plot.measure(line, bins=3).containers[0]
    at, mass = np.asarray(line.x[:, 0]), np.arange(1.0, 8.0) / 28
    heights, _ = np.histogram(at, 3, weights=mass, density=True)
    np.testing.assert_allclose([bar.get_height() for bar in bars], heights)
    paths = plot.trajectory(fading(cloud())).lines
    np.testing.assert_allclose(paths[2].get_xdata(), cloud().x[2, 0] * np.array([1, 0.5, 0.25]))
    mean = plot.energy(fading(cloud()), fm.PotentialEnergy(lambda x: x[0])).lines[0]
    np.testing.assert_allclose(mean.get_ydata(), cloud().x[:, 0].mean() * np.array([1, 0.5, 0.25]))
    values = np.arange(24.0).reshape(2, 3, 4)
    diagram = fm.Sweep({"r": values}, {"a": np.arange(2), "b": np.arange(3), "seed": np.arange(4)})
    map_ = plot.phase_diagram(diagram, lambda v: v["r"])
    np.testing.assert_allclose(np.ravel(map_.collections[0].get_array()), values.mean(2).ravel())
    assert (map_.get_ylabel(), map_.get_xlabel()) == ("a", "b")


def test_positions_of_points_with_parts():
    phase = fm.Particles(fm.Phase(cloud().x, cloud(seed=1).x))
    dots = plot.measure(phase).collections[0]
    np.testing.assert_allclose(dots.get_offsets(), cloud().x[:, :2])


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_a_film_has_one_frame_for_each_time(suffix, tmp_path):
    if suffix == ".mp4" and shutil.which("ffmpeg") is None:
        with pytest.raises(ValueError, match=r"ffmpeg.*\.gif"):
            plot.animation(fading(cloud()), tmp_path / "film.mp4")
        return
    ax = plot.animation(fading(cloud()), tmp_path / f"film{suffix}")
    assert (tmp_path / f"film{suffix}").stat().st_size > 1000
    # The limits are those of the largest frame.
    assert ax.get_xlim()[1] >= cloud().x[:, 0].max()
    if suffix == ".gif":
        from PIL import Image

        with Image.open(tmp_path / "film.gif") as film:
            assert film.n_frames == 3


REFUSED = {
    "species": (lambda: plot.trajectory(run_of({"a": cloud()})), "`run`.*particles.*species"),
    "observables": (lambda: plot.trajectory(run_of(TS)), "`run`.*observe"),
    "measures for numbers": (lambda: plot.energy(fading(cloud())), "`energy`"),
    "one parameter": (
        lambda: plot.phase_diagram(fm.Sweep(np.ones(2), {"a": np.arange(2)})), "`result`",
    ),
    "too many dimensions": (lambda: plot.sphere(tokens(d=4)), "4 coordinates"),
    "another film": (lambda: plot.animation(fading(cloud()), "film.avi"), r"\.gif"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_what_to_do(name):
    draw, words = REFUSED[name]
    with pytest.raises(Exception, match=words):
        draw()


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'flowjax_measures\[plot\]'"):
        plot.measure(cloud())
