"""Pictures: each function draws the measure's own numbers into `ax` and returns it."""

import builtins
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue import cloud, normal, tokens
from test_docstrings import context, examples

import flowjax_measures as fm
from flowjax_measures import plot

matplotlib = pytest.importorskip("matplotlib")
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


def test_species_are_drawn_by_name():
    run = run_of({"prey": fading(cloud()).ys, "fox": fading(normal(2)).ys})
    run = fm.Trajectory(TS, run.ys, {"prey": cloud(), "fox": normal(2)}, None, {})
    paths = plot.trajectory(run, species="prey", names=("height / m", "width / m"))
    np.testing.assert_allclose(paths.lines[2].get_xdata(), run.ys["prey"].x[:, 2, 0])
    assert (paths.get_xlabel(), paths.get_ylabel()) == ("height / m", "width / m")
    assert plot.measure(run.final, species="fox").lines
    assert len(plot.clusters(run, 0.1, species="prey").lines) > 7
    line = plot.energy(run, fm.dispersion, species="prey").lines[0]
    np.testing.assert_allclose(line.get_ydata(), jax.vmap(fm.dispersion)(run.ys["prey"]))


def test_clusters_have_the_colour_in_which_they_end():
    x = jnp.array([0.0, 1.0, 5.0, 5.1, 9.0])[:, None]
    run = run_of(fm.Particles(jnp.stack([3 * x, x, x])))
    lines = plot.clusters(run, 0.6).lines
    # Paths and the markers at their ends, of three clusters.
    paths = [line for line in lines if line.get_marker() == "None"]
    ends = [line for line in lines if line.get_marker() != "None"]
    assert len(paths) == 5 and [len(line.get_xdata()) for line in ends] == [2, 2, 1]
    assert len({line.get_color() for line in paths}) == 3
    assert len({line.get_marker() for line in ends}) == 3


def test_summaries_show_all_that_a_run_holds():
    run = run_of({"a": fading(cloud()).ys, "b": fading(normal(2)).ys, "spread": TS})
    figure = plot.summary(run, 0.2, names=("x / m", "y", "z"), time="t / s")
    drawn = [ax for ax in figure.axes if ax.has_data()]
    assert len(drawn) == 7 and drawn[0].get_xlabel() == "x / m"
    assert drawn[2].get_xlabel() == "t / s" and drawn[2].get_legend() is not None
    mean = drawn[5].lines[0].get_ydata()
    np.testing.assert_allclose(mean, np.asarray(normal(2).m)[0] * np.array([1, 0.5, 0.25]))
    grid = fm.GridDensity(jnp.ones((4, 5)), (0.0, 0.0), (1.0, 2.0))
    assert "0 to 1" in plot.summary(run_of(stacked(grid, grid, grid)))._suptitle.get_text()
    weighted = fm.Particles(
        jnp.array([[0.0], [4.0], [jnp.nan]]), weights=jnp.array([3.0, 1.0, 0.0])
    )
    moments = plot.summary(run_of(stacked(weighted, weighted, weighted))).axes[2].lines[0]
    np.testing.assert_allclose(moments.get_ydata(), 1.0)


def test_phase_diagrams_name_values_and_averages():
    values = np.arange(24.0).reshape(3, 2, 4)
    result = fm.Sweep(values, {"beta": np.array([1.0, 10, 100]), "sigma": np.array([0.1, 0.2]),
                               "seed": np.arange(4)})  # fmt: skip
    ax = plot.phase_diagram(result)
    assert ax.get_yscale() == "log" and ax.get_xscale() == "linear"
    np.testing.assert_allclose(ax.get_yticks(), [1, 10, 100])
    np.testing.assert_allclose(ax.get_ylim(), [10**-0.5, 10**2.5])
    np.testing.assert_allclose(ax.get_xlim(), [0.05, 0.25])
    assert ax.figure.axes[1].get_ylabel() == "mean over seed"


def test_many_points_are_smaller_and_fainter():
    few, many = (plot.measure(fm.Particles(jnp.ones((n, 2)))).collections[0] for n in (50, 5000))
    assert many.get_alpha() < few.get_alpha() / 4 and max(many.get_sizes()) < 5


@pytest.mark.parametrize("dark", [False, True])
def test_the_style_reads_in_grey(dark):
    with plot.style(dark=dark):
        cycle = plt.rcParams["axes.prop_cycle"].by_key()
        paper = matplotlib.colors.to_rgb(plt.rcParams["figure.facecolor"])
    weights = np.array([0.2126, 0.7152, 0.0722])
    light = [np.dot(matplotlib.colors.to_rgb(color), weights) for color in cycle["color"]]
    assert min(np.abs(np.diff(light))) > 0.08 and len(set(map(str, cycle["linestyle"]))) == 6
    assert min(np.abs(np.array(light) - np.dot(paper, weights))) > 0.2
    assert plt.rcParams["figure.facecolor"] == "white", "outside of the context nothing changed"


@pytest.mark.parametrize("name", [n for n in vars(plot) if not n.startswith("_")])
def test_examples_of_the_docstrings_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = context() | {"plot": plot}
    found = examples(getattr(plot, name))
    assert found
    for code in found:
        exec(compile(code, name, "exec"), dict(given))
    assert plt.get_fignums()


REFUSED = {
    "species": (lambda: plot.trajectory(run_of({"a": cloud()})), "`run`.*particles.*species"),
    "observables": (lambda: plot.trajectory(run_of(TS)), "`run`.*observe"),
    "measures for numbers": (lambda: plot.energy(fading(cloud())), "`energy`"),
    "one parameter": (
        lambda: plot.phase_diagram(fm.Sweep(np.ones(2), {"a": np.arange(2)})), "`result`",
    ),
    "too many dimensions": (lambda: plot.sphere(tokens(d=4)), "4 coordinates"),
    "a run for a measure": (lambda: plot.measure(fading(cloud())), "`mu`.*run.final"),
    "an array": (lambda: plot.measure(jnp.ones((3, 2))), "`mu`.*Particles"),
    "a measure for a run": (lambda: plot.trajectory(cloud()), "`run`.*plot.measure"),
    "a species that isn't there": (
        lambda: plot.trajectory(run_of({"a": cloud()}), species="b"), "`run`.*'a'",
    ),
    "a species of one law": (lambda: plot.measure(cloud(), species="b"), "`species`"),
    "coordinates that aren't there": (lambda: plot.measure(cloud(), (0, 5)), "`axes`"),
    "one coordinate": (lambda: plot.trajectory(fading(cloud()), 0), "`axes`"),
    "flat axes for a sphere": (
        lambda: plot.sphere(tokens(), ax=plt.subplots()[1]), "`ax`.*projection",
    ),
    "a figure for axes": (lambda: plot.measure(cloud(), ax=plt.figure()), "`ax`"),
    "several runs": (lambda: plot.trajectory(stacked(*2 * [fading(cloud())])), "`run`.*several"),
    "lines of a vector": (lambda: plot.contours(lambda x: x, -1.0, 1.0), "`function`"),
    "an array for a sweep": (lambda: plot.phase_diagram(np.ones((2, 2))), "`result`"),
    "several values": (
        lambda: plot.phase_diagram(
            fm.Sweep(dict.fromkeys("rs", np.ones((2, 2))), dict.fromkeys("ab", np.arange(2)))
        ),
        "`values`.*'r'",
    ),
    "too few names": (lambda: plot.measure(cloud(), names=("x",)), "`names`"),
    "numbers for other times": (lambda: plot.curve(TS, jnp.ones(4)), "`values`"),
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
