"""Four ways from a source to a target.

Run: `python examples/generative.py [generative.png]`.

Flow matching from a Gaussian to atoms, a Schrödinger bridge of two clouds, equilibrium matching,
and a Kac flow from noise of finite speed to two atoms.
"""

import sys

import diffrax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt

import flowjax_measures as fm

SOURCE = fm.Gaussian(jnp.zeros(2), jnp.eye(2))


def ring(count):
    angle = 2 * jnp.pi * jnp.arange(count) / count
    return fm.Particles(3 * jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1))


def paths(axis, run, start, end, title):
    axis.plot(*jnp.moveaxis(run.ys.x, -1, 0), "C0", linewidth=0.4, alpha=0.6)
    axis.plot(*start.x.T, ".", color="0.5", markersize=3)
    axis.plot(*end.x.T, ".", color="C3", markersize=5)
    axis.set(title=title, aspect="equal", xticks=[], yticks=[])


def kac(axis):
    data = fm.Particles(jnp.array([[-1.0], [1.0]]))
    flow = fm.KacFlow(data, damping=9.0, speed=3.0)
    start = fm.Particles(data.sample(jr.key(0), 80) + flow.noise(jr.key(1), 80, 1))
    run = fm.simulate(flow, start, jnp.linspace(0.0, 1.0, 101), dt=0.005)
    for side in (-1, 1):
        axis.plot(run.ts, data.x.T + side * 3 * (1 - run.ts[:, None]), "0.6", linewidth=0.8)
    axis.plot(run.ts, run.ys.x[..., 0], "C0", linewidth=0.4)
    axis.set(title="Kac flow", xlabel="t", ylim=(-3, 3), yticks=[])


def main(path="generative.png"):
    axes = plt.subplots(1, 4, figsize=(11, 2.9))[1]
    ts = jnp.linspace(0.0, 1.0, 101)
    atoms, start = ring(8), fm.Particles(SOURCE.sample(jr.key(0), 200))

    flow = fm.StochasticInterpolant(SOURCE, atoms)
    run = fm.simulate(flow, start, ts, dt=0.01, solver=diffrax.Euler())
    paths(axes[0], run, start, atoms, "flow matching")
    away = jnp.linalg.norm(run.final.x[:, None] - atoms.x, axis=-1).min(1).max()

    left = fm.Particles(start.x[:100] / 3 - jnp.array([2.0, 0.0]))
    right = fm.Particles(ring(100).x / 2 + jnp.array([2.0, 0.0]))
    bridge = fm.schroedinger_bridge(left, right, sigma=0.5)
    run = fm.simulate(bridge, left, ts, dt=0.005, key=jr.key(1))
    paths(axes[1], run, left, right, "Schrödinger bridge")

    still = fm.EquilibriumMatching(flow)
    run = fm.simulate(still, start, jnp.linspace(0.0, 6.0, 101), dt=0.06, solver=diffrax.Euler())
    paths(axes[2], run, start, atoms, "equilibrium matching")
    kac(axes[3])
    plt.tight_layout()
    plt.savefig(path, dpi=110)
    print(f"flow matching ends {float(away):.1e} from the atoms")


if __name__ == "__main__":
    main(*sys.argv[1:])
