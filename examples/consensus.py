"""Consensus-based methods on nine problems, three of them with data.

Run: `python examples/consensus.py`; writes `docs/consensus.png`. Several minima by a kernel, a
constraint, a front of two objectives, the sphere, a saddle point, gradients that cannot be trusted,
the parameters of a differential equation, the two of kernel ridge regression, and a small network
on scikit-learn's digits.
"""

import warnings
from pathlib import Path

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import flowjax_measures as fm
from flowjax_measures.objectives import ackley, himmelblau, rastrigin


def contours(axis, function, low, high, levels=20):
    grid = np.linspace(low, high, 120)
    places = jnp.stack(jnp.meshgrid(grid, grid), axis=-1)
    axis.contour(grid, grid, jax.vmap(jax.vmap(function))(places), levels, linewidths=0.4)


def polarised(axis):
    mu = fm.Particles(jr.uniform(jr.key(0), (200, 2), minval=-5.0, maxval=5.0))
    system = fm.PolarizedConsensus(himmelblau, 1.0, 0.3, 5.0, kernel_width=0.7)
    x = fm.simulate(system, mu, [0.0, 15.0], dt=0.05, key=jr.key(1)).final.x
    minima = np.array(
        [[3, 2], [-2.805118, 3.131312], [-3.779310, -3.283186], [3.584428, -1.848127]]
    )
    contours(axis, lambda z: jnp.log1p(himmelblau(z)), -5.0, 5.0)
    axis.plot(*x.T, "C0.")
    axis.plot(*minima.T, "r+", ms=10)
    gaps = np.linalg.norm(np.asarray(x)[:, None] - minima, axis=2)
    axis.set_title("polarised: Himmelblau's four minima")
    return (
        f"polarised: {np.sum(gaps.min(1) < 0.3)} of 200 points within 0.3 of a minimum, by minimum "
        f"{[int(np.sum((gaps.argmin(1) == i) & (gaps.min(1) < 0.3))) for i in range(4)]}"
    )


def constrained(axis):
    shifted = lambda x: ackley(3 * (x - jnp.array([0.4, 0.3])))  # noqa: E731
    free = fm.ConsensusBased(shifted, 1.0, 0.8, 50.0, "anisotropic")
    wall = fm.EqualityConstraint(lambda x: jnp.sum(x**2) - 1, 1e-4)
    mu = fm.Particles(jr.normal(jr.key(0), (100, 2)))
    run = fm.simulate(
        free + wall,
        mu,
        np.linspace(0, 10, 51),
        dt=0.05,
        key=jr.key(1),
        solver=fm.ConstrainedEuler(),
    )
    contours(axis, shifted, -1.5, 1.5)
    axis.plot(*mu.x.T, ".", color="0.7")
    axis.plot(*run.ys.x[10].T, "C0.")
    found = free.consensus(run.final)
    axis.plot(*found, "r*", ms=12)
    axis.add_patch(plt.Circle((0, 0), 1, fill=False))
    axis.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), title="constrained: Ackley on a circle")
    angles = np.linspace(0, 2 * np.pi, 100_001)
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    best = around[np.argmin(jax.vmap(shifted)(around))]
    return f"constrained: consensus {np.round(found, 3)}, a scan of the circle {np.round(best, 3)}"


def front(axis):
    objectives = lambda x: jnp.stack([x[0] ** 2, (x[0] - 2) ** 2])  # noqa: E731
    w = (jnp.arange(100.0) + 0.5) / 100
    theta = jnp.stack([jnp.log(w), jnp.log(1 - w)], axis=1)
    mu = fm.Particles((jr.uniform(jr.key(0), (100, 1), minval=-1.0, maxval=3.0), theta))
    text = []
    for i, (name, tau) in enumerate({"fixed preferences": 0.0, "adapted": 0.3}.items()):
        system = fm.AdaptivePareto(objectives, 1.0, 0.5, 300.0, adaptation=tau, reach=1.0)
        final = fm.simulate(system, mu, [0.0, 10.0], dt=0.05, key=jr.key(2)).final
        images = np.asarray(jax.vmap(objectives)(jnp.sort(final.x[0], axis=0)))
        axis.plot(*(images + 0.25 * i).T, ".", ms=4, label=name + " (shifted)" * i)
        gaps = np.linalg.norm(np.diff(images, axis=0), axis=1)
        text.append(f"{name} {gaps.std() / gaps.mean():.2f} (largest {gaps.max():.2f})")
    axis.legend()
    axis.set(title="two objectives", xlabel="g₁", ylabel="g₂")
    return "front, deviation of gaps over their mean: " + ", ".join(text)


def sphere(axis):
    goal = jnp.array([0.0, 0.0, 1.0])
    objective = lambda x: ackley(3 * (x - goal))  # noqa: E731
    mu = fm.Particles(jr.normal(jr.key(0), (100, 3)), space=fm.Sphere()).retract()
    system = fm.ConsensusBased(objective, 1.0, 0.5, 50.0)
    ts = np.linspace(0, 12, 61)
    away = {"error": lambda nu: jnp.linalg.norm(fm.Sphere().nearest(system.consensus(nu)) - goal)}
    run = jax.vmap(
        lambda key: fm.simulate(system, mu, ts, dt=0.05, key=key, observe=away, throw=False).ys
    )(jr.split(jr.key(1), 50))["error"]
    axis.semilogy(ts, run.T, "C0", lw=0.4)
    axis.set(title="sphere: Ackley, 50 runs", xlabel="t", ylabel="distance to the minimum")
    last = run[:, -1]
    return (
        f"sphere: {np.mean(last < 0.05):.2f} of 50 runs within 0.05, median {np.median(last):.1e}"
    )


def saddle(axis):
    objective = lambda x, y: (  # noqa: E731
        rastrigin(x, amplitude=1.0) - rastrigin(y, amplitude=1.0) + 2 * jnp.vdot(x, y)
    )
    system = fm.SaddleConsensus(objective, 1.0, 0.6, 100.0, 100.0)
    state = {
        "min": fm.Particles(1.5 + jr.normal(jr.key(0), (200, 1))),
        "max": fm.Particles(1.5 + jr.normal(jr.key(1), (200, 1))),
    }
    ts = np.linspace(0, 12, 121)
    means = {k: (lambda s, k=k: s[k].mean()[0]) for k in state}
    run = fm.simulate(system, state, ts, dt=0.02, key=jr.key(2), observe=means)
    contours(axis, lambda z: objective(z[:1], z[1:]), -2.0, 3.0)
    axis.plot(run.ys["min"], run.ys["max"], "C3.-", ms=3)
    axis.set(title="saddle at 0 among ripples", xlabel="x", ylabel="y")
    return f"saddle: ends at ({run.ys['min'][-1]:.3f}, {run.ys['max'][-1]:.3f})"


def gradients(axis):
    shallow = lambda x: rastrigin(x - 0.5, amplitude=2.5)  # noqa: E731
    mu = fm.Particles(2 * jr.normal(jr.key(0), (30, 2)))

    def loss(sigma, key, gradient):
        system = fm.ConsensusBased(shallow, 1.0, sigma, 30.0, "anisotropic", gradient=gradient)
        run = fm.simulate(system, mu, [0.0, 5.0], dt=0.05, key=key, throw=False)
        return shallow(system.consensus(run.final))

    text = []
    for i, gradient in enumerate(("pathwise", "weights_stopped")):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            spread = fm.gradient_spread(
                lambda s, key, g=gradient: loss(s, key, g), 0.8, key=jr.key(1), runs=2000, step=0.1
            )
        axis.errorbar([i], [spread.mean], [spread.error], fmt="o", label=gradient)
        warned = "warned" if caught else "no warning"
        text.append(
            f"{gradient} {spread.mean:.3g} ± {spread.error:.2g} "
            f"(largest run {100 * spread.share:.0f}%, {warned})"
        )
    axis.errorbar([2], [spread.difference], [spread.difference_error], fmt="s", label="differences")
    axis.set_yscale("symlog")
    axis.legend()
    axis.set(title="d loss / dσ over 2000 runs", xticks=[])
    text.append(f"differences {spread.difference:.3g} ± {spread.difference_error:.2g}")
    return "gradient: " + ", ".join(text)


def predator_and_prey(axis):
    ts = jnp.linspace(0.0, 10.0, 41)

    def path(rates):
        a, b, c, d = jnp.exp(rates)
        field = diffrax.ODETerm(
            lambda t, y, _: jnp.stack([a * y[0] - b * y[0] * y[1], c * y[0] * y[1] - d * y[1]])
        )
        return diffrax.diffeqsolve(
            field, diffrax.Tsit5(), 0.0, 10.0, 0.02, jnp.array([1.0, 0.5]),
            saveat=diffrax.SaveAt(ts=ts), max_steps=600,
        ).ys  # fmt: skip

    true = jnp.log(jnp.array([1.1, 0.4, 0.3, 0.9]))
    data = path(true) * jnp.exp(0.05 * jr.normal(jr.key(0), (41, 2)))
    misfit = lambda rates: jnp.mean((jnp.log(jnp.maximum(path(rates), 1e-6)) - jnp.log(data)) ** 2)  # noqa: E731
    box = (jnp.full(4, -2.5), jnp.full(4, 1.0))
    found = fm.minimize(misfit, bounds=box, key=jr.key(1), budget=20_000)
    axis.plot(ts, data, "k.", ms=4)
    axis.plot(ts, path(found.x))
    axis.set(title="predator and prey: four rates", xlabel="t")
    return (
        f"predator and prey: rates {np.round(np.exp(found.x), 3)}, true (1.1, 0.4, 0.3, 0.9); "
        f"misfit {found.fun:.5f}, of the true ones {misfit(true):.5f}; {found.nfev} evaluations"
    )


def hyperparameters(axis):
    x, y = load_digits(return_X_y=True)
    x, labels = jnp.asarray(x / 16, jnp.float32), jnp.asarray(np.eye(10)[y], jnp.float32)
    square = jnp.sum((x[:, None, :] - x[:200]) ** 2, axis=-1)

    def kernel(p):
        return jnp.exp(-square / (2 * jnp.exp(2 * p[0])))

    def inverse(p):
        return jnp.linalg.inv(kernel(p)[:200] + jnp.exp(p[1]) * jnp.eye(200))

    def left_out(p):
        """The mean square of what each digit misses when it is left out, without leaving any."""
        solve = inverse(p)
        return jnp.mean((solve @ labels[:200] / jnp.diagonal(solve)[:, None]) ** 2)

    low, high = jnp.array([-1.0, -9.0]), jnp.array([3.0, 1.0])
    found = fm.minimize(left_out, bounds=(low, high), key=jr.key(2), particles=20, budget=2000)
    axes = [np.linspace(a, b, 25) for a, b in zip(low, high, strict=True)]
    places = jnp.stack(jnp.meshgrid(*map(jnp.asarray, axes)), axis=-1)
    scan = jax.lax.map(jax.vmap(left_out), places)
    axis.contour(*axes, jnp.log(scan), 20, linewidths=0.4)
    axis.plot(*found.x, "r*", ms=12)
    axis.set(title="kernel ridge, left-out error", xlabel="log width", ylabel="log ridge")
    guess = kernel(found.x)[200:] @ (inverse(found.x) @ labels[:200])
    right = np.mean(np.argmax(guess, axis=1) == y[200:])
    return (
        f"kernel ridge: width {jnp.exp(found.x[0]):.2f}, ridge {jnp.exp(found.x[1]):.3g}; left-out "
        f"error {found.fun:.5f} in {found.nfev} evaluations, of a scan of 625 {jnp.min(scan):.5f}; "
        f"200 digits learned, test accuracy {right:.3f}"
    )


def network(axis):
    x, y = load_digits(return_X_y=True)
    x = np.asarray(x, np.float32) / 16
    centred = x - x[:1300].mean(0)
    x = centred @ np.linalg.svd(centred[:1300], full_matrices=False)[2][:16].T
    train, test = (x[:1300], y[:1300]), (x[1300:], y[1300:])
    shapes = {"u": (16, 16), "b": (16,), "v": (16, 10), "c": (10,)}
    start = {
        name: jr.normal(jr.key(i), (200, *shape)) * (0.5 if len(shape) == 2 else 0.1)
        for i, (name, shape) in enumerate(shapes.items())
    }

    def predict(p, x):
        return jax.nn.log_softmax(jnp.tanh(x @ p["u"] + p["b"]) @ p["v"] + p["c"])

    def loss(p, data=train):
        return -jnp.mean(jnp.take_along_axis(predict(p, data[0]), data[1][:, None], axis=1))

    best = lambda mu: jnp.min(jax.vmap(loss)(mu.x))  # noqa: E731
    method = fm.ConsensusBased(loss, 1.0, SIGMA, fm.EffectiveSampleSize(0.05), "anisotropic")
    found = fm.minimize(
        loss, fm.Particles(start), key=jr.key(5), method=method, budget=200_000,
        observe={"loss": best},
    )  # fmt: skip
    axis.semilogy(found.history["loss"])
    right = np.mean(np.argmax(predict(found.x, test[0]), axis=1) == test[1])
    axis.set(title="digits, 442 weights", xlabel="step", ylabel="training loss")
    return f"digits: training loss {found.fun:.3f}, test accuracy {right:.3f}"


SIGMA = 1.5

if __name__ == "__main__":
    _, axes = plt.subplots(3, 3, figsize=(12.5, 11))
    panels = (
        polarised, constrained, front, sphere, saddle, gradients, predator_and_prey,
        hyperparameters, network,
    )  # fmt: skip
    for panel, axis in zip(panels, axes.flat, strict=True):
        print(panel(axis), flush=True)
    plt.tight_layout()
    plt.savefig(Path(__file__).parent.parent / "docs" / "consensus.png", dpi=70)
