"""Wide networks as measures: sparse spikes, few knots, and a collision that a metric passes.

Run: `python examples/networks.py [networks.png]`.

Left: neurons (width: mass, colour: sign) of a sparse deconvolution that start everywhere on the
circle find the three spikes ([chizat2018]). Middle: 200 ReLU neurons through seven points, trained
in the mean-field scaling and lazily. Right: the energy of two neurons that solve the Allen–Cahn
equation and collide, by the natural gradient and by minimising movements ([bon2026]).
"""

import sys

import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np

import flowjax_measures as fm

POSITIONS, MASSES = np.array([0.15, 0.42, 0.78]), np.array([1.0, -0.7, 0.9])


def waves(angle):
    """Fourier measurements, up to the fifth, of a unit spike."""
    phases = angle * jnp.arange(1.0, 6)
    return jnp.concatenate([jnp.ones(1), 2**0.5 * jnp.cos(phases), 2**0.5 * jnp.sin(phases)])


def spikes(axis):
    measured = sum(m * waves(2 * np.pi * p) for p, m in zip(POSITIONS, MASSES, strict=True))

    def energy(mu):
        """Spikes of mass ±|x|² at the angle of x, with a penalty on their mass."""

        def spike(x):
            (a, b), sign = x["place"], jax.lax.stop_gradient(x["sign"])
            return sign * (a**2 + b**2) * waves(jnp.arctan2(b, a))

        gap = mu.mean(spike) - measured
        return jnp.vdot(gap, gap) / 2 + 0.02 * mu.mean(lambda x: jnp.sum(x["place"] ** 2))

    angle = 2 * np.pi * np.tile(np.arange(20) / 20, 2)
    sign = np.repeat([1.0, -1.0], 20)
    place = 0.3 * np.stack([np.cos(angle), np.sin(angle)], 1)
    start = fm.Particles({"place": jnp.asarray(place), "sign": jnp.asarray(sign)})
    ts = np.concatenate([[0.0], np.geomspace(0.01, 100, 100)])
    flow = fm.GradientFlow(fm.Functional(energy))
    ys = np.asarray(fm.simulate(flow, start, ts, dt=0.01).ys.x["place"])
    position = np.arctan2(ys[..., 1], ys[..., 0]) / (2 * np.pi) % 1
    mass = np.sum(ys**2, -1) / 40
    for i in range(40):
        colour = "tab:red" if sign[i] > 0 else "tab:blue"
        axis.scatter(ts[1:], position[1:, i], s=40 * mass[1:, i], color=colour, lw=0)
    axis.hlines(POSITIONS, 0.01, 100, color="k", lw=0.5, ls=":")
    axis.set(xscale="log", xlabel="time", ylabel="position", ylim=(0, 1), title="Sparse spikes")


def knots(axis):
    x = jnp.array([-1.0, -0.7, -0.35, 0.0, 0.3, 0.65, 1.0])
    y = jnp.array([0.3, -0.2, 0.25, 0.6, 0.1, -0.3, 0.2])
    grid = jnp.linspace(-1.2, 1.2, 400)
    start = fm.initial.neurons(jr.key(0), 200, 2, law="balanced", paired=True)
    for scale, name in ((1.0, "mean field"), (30.0, "lazy")):
        network, shown = (
            fm.ShallowNetwork(
                jax.nn.relu, (jnp.stack([a, jnp.ones(a.size)], 1), b), None, 1e-4 / scale, scale
            )
            for a, b in ((x, y), (grid, 0 * grid))
        )
        final = fm.simulate(network, start, [0.0, 1000.0], dt=0.05).final
        axis.plot(grid, shown.predictions(final), label=name)
    axis.plot(x, y, "ko", ms=4)
    axis.set(xlabel="input", title="200 ReLU neurons")
    axis.legend(frameon=False)


def collision(axis):
    model = fm.AllenCahn(-8.0, 8.0, epsilon=0.5, well=lambda u: u**2 * (1 - u) ** 2, nodes=100)
    flow = fm.NaturalGradient(model.embedding, model.energy)
    theta = (jnp.array([0.5, 0.5]), jnp.array([-0.8, 0.8]))
    ts = np.linspace(0, 1, 101)
    runs = {
        "natural gradient": dict(dt=0.0025),
        "minimising movements": dict(solver=fm.MinimizingMovement(0.01, flow)),
        "with other starts": dict(solver=fm.MinimizingMovement(0.01, flow, 30, model.splittings)),
    }
    for name, options in runs.items():
        run = fm.simulate(flow, theta, ts, observe=model.energy, throw=False, **options)
        axis.plot(ts, run.ys, label=name)
    axis.set(xlabel="time", ylim=(0.93, 1.0), title="Energy through a collision")
    axis.legend(frameon=False)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
    for panel, axis in zip((spikes, knots, collision), axes, strict=True):
        panel(axis)
    figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "networks.png", dpi=120)
