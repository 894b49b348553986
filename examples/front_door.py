"""What `minimize` and `kalman_filter` return, in four pictures.

Run: `python examples/front_door.py`; writes `docs/front_door.png`. Several minima and the points in
their basins, a front, the lowest place on a curve on a sphere, and the track of a filter over a
stretch without observations.
"""

import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np

import flowjax_measures as fm
from flowjax_measures import plot
from flowjax_measures.objectives import himmelblau, rastrigin

KEY = jr.key(0)
BOX = jnp.full(2, -5.0), jnp.full(2, 5.0)


def several_minima(figure, place):
    axis = figure.add_subplot(*place)
    result = fm.minimize(himmelblau, bounds=BOX, key=KEY, method="polarized", budget=40_000)
    minima = result.minima
    plot.contours(lambda z: jnp.log1p(himmelblau(z)), -5.0, 5.0, ax=axis)
    axis.scatter(*result.population.T, c=minima.basin, cmap="tab10", s=8)
    axis.plot(*minima.x.T, "k+", ms=12)
    axis.set_title("several minima")
    return f"{len(minima.fun)} minima, the highest at {np.max(minima.fun):.1e}"


def front(figure, place):
    """Between two curved bowls, whose front is not convex."""
    axis = figure.add_subplot(*place)
    bowls = lambda x: 1 - jnp.exp(-jnp.stack([jnp.sum((x - 1) ** 2), jnp.sum((x + 1) ** 2)]) / 2)  # noqa: E731
    result = fm.minimize(bowls, bounds=BOX, key=KEY, method="pareto", budget=40_000)
    found, t = result.front.fun, np.linspace(-1, 1, 200)
    axis.plot(1 - np.exp(-((t - 1) ** 2)), 1 - np.exp(-((t + 1) ** 2)), "k", linewidth=0.8)
    axis.plot(*found.T, "C3.", ms=4)
    axis.set(title="a front", xlabel="first objective", ylabel="second objective")
    exact = 1 - np.exp(-((2 - np.sqrt(-np.log(1 - found[:, 0]))) ** 2))
    return (
        f"{len(found)} points, off the front by {np.quantile(np.abs(found[:, 1] - exact), 0.9):.0e}"
    )


def on_a_surface(figure, place):
    """Rastrigin's function on the sphere of radius 2, where it meets the plane x + z = 1."""
    axis = figure.add_subplot(*place, projection="3d")
    sphere, plane = (lambda x: x @ x - 4.0), (lambda x: x[0] + x[2] - 1.0)
    box = jnp.full(3, -2.5), jnp.full(3, 2.5)
    result = fm.minimize(
        rastrigin, bounds=box, key=KEY, particles=60, budget=6000,
        constraints=[fm.EqualityConstraint(sphere), fm.EqualityConstraint(plane)],
    )  # fmt: skip
    u, v = np.mgrid[0 : 2 * np.pi : 30j, 0 : np.pi : 20j]
    ball = 2 * np.cos(u) * np.sin(v), 2 * np.sin(u) * np.sin(v), 2 * np.cos(v)
    axis.plot_wireframe(*ball, color="0.8", linewidth=0.3)
    a = np.linspace(0, 2 * np.pi, 400)
    wide = np.sqrt(3.5)
    ring = np.stack(
        [0.5 + wide * np.cos(a) / np.sqrt(2), wide * np.sin(a), 0.5 - wide * np.cos(a) / np.sqrt(2)]
    )
    energies = jax.vmap(rastrigin)(jnp.asarray(ring.T))
    axis.scatter(*ring, c=energies, s=3)
    axis.plot(*np.asarray(result.x)[:, None], "r*", ms=14)
    axis.set_title("constraints on a surface")
    gap = float(result.fun) - float(jnp.min(energies))
    return f"above the lowest of 400 places by {gap:.1e}, violation {result.constr_violation:.0e}"


def track(figure, place):
    """A pendulum seen at times of any spacing, but not between 8 and 14."""
    axis = figure.add_subplot(*place)

    def swing(x, start, end):
        def step(x, _):
            push = lambda x: jnp.stack([x[1], -jnp.sin(x[0]) - 0.05 * x[1]])  # noqa: E731
            middle = x + (end - start) / 40 * push(x)
            return x + (end - start) / 20 * push(middle), None

        return jax.lax.scan(step, x, length=20)[0]

    rng = np.random.default_rng(1)
    times = np.append(0.0, np.sort(rng.uniform(0.2, 20, 60)))
    path = [jnp.array([1.5, 0.0])]
    for a, b in itertools.pairwise(times):
        path.append(jax.jit(swing)(path[-1], a, b))
    truth = np.array(path)[1:, 0]
    seen = truth + 0.2 * rng.normal(size=60)
    seen[(times[1:] > 8) & (times[1:] < 14)] = np.nan
    start = fm.Particles(jnp.array([1.0, 0.0]) + 0.7 * jr.normal(KEY, (200, 2)))
    found = fm.kalman_filter(
        swing, lambda x: x[:1], start, seen[:, None], 0.04, key=KEY, times=times, model_cov=1e-3,
        smoother=True,
    )  # fmt: skip
    for mean, cov, color, name in (
        (found.mean, found.cov, "C0", "filter"),
        (found.smoothed_mean, found.smoothed_cov, "C1", "smoother"),
    ):
        width = 2 * np.sqrt(cov[:, 0, 0])
        axis.plot(times[1:], mean[:, 0], color, label=name)
        axis.fill_between(times[1:], mean[:, 0] - width, mean[:, 0] + width, color=color, alpha=0.2)
    axis.plot(times[1:], truth, "k", linewidth=0.8, label="truth")
    axis.plot(times[1:], seen, "k.", ms=4)
    axis.set(title="a track with a missing stretch", xlabel="t")
    axis.legend()
    inside = np.mean(np.abs(truth - found.mean[:, 0]) < 2 * np.sqrt(found.cov[:, 0, 0]))
    return f"the truth is within two standard deviations at {inside:.0%} of the times"


if __name__ == "__main__":
    figure = plt.figure(figsize=(10, 9))
    panels = several_minima, front, on_a_surface, track
    for k, panel in enumerate(panels):
        print(panel.__name__, panel(figure, (2, 2, k + 1)), flush=True)
    plt.tight_layout()
    plt.savefig(Path(__file__).parent.parent / "docs" / "front_door.png", dpi=70)
