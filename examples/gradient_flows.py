"""Four gradient flows, each against what is known of it.

Run: `python examples/gradient_flows.py`; writes `docs/gradient_flows.png`. A porous medium on a
grid by JKO steps on Barenblatt's profile; a crowd at its ceiling; a photograph as dots; a banana
sampled by Stein's flow.
"""

from pathlib import Path

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
from halftone import darkness, halftone

import flowjax_measures as fm

WIDE = 4.0


def barenblatt(t, x):
    """∂_t ρ = Δρ² on the line from a ball."""
    return t ** (-1 / 3) * jnp.maximum(0.5 - (x * t ** (-1 / 3)) ** 2 / 12, 0)


def porous(axis):
    grid = fm.GridDensity(jnp.ones(80), -WIDE, WIDE)
    x = grid.centres()[:, 0]
    mu = fm.GridDensity(barenblatt(1.0, x), -WIDE, WIDE)
    flow, ts = fm.GradientFlow(fm.PowerEnergy(2.0)), [1.0, 2.0, 4.0]
    path = fm.simulate(flow, mu, ts, solver=fm.JKO(0.05))
    for t, rho in zip(ts, path.ys.rho, strict=True):
        axis.plot(x, barenblatt(t, x), "k", lw=0.8)
        axis.plot(x, rho, ".", ms=3, label=f"t = {t:.0f}")
    axis.legend()
    axis.set(title="porous medium, JKO; lines: exact", xlabel="x")
    error = float(jnp.sum(jnp.abs(path.final.rho - barenblatt(4.0, x))) * mu.cell)
    return f"porous medium, L1 error at t = 4: {error:.4f}"


def crowd(axis):
    exit_at = jnp.array([1.0, 0.0])
    energy = fm.PotentialEnergy(lambda x: jnp.sqrt(jnp.sum((x - exit_at) ** 2) + 1e-6))
    energy = energy + fm.Congestion(1.0)
    points = fm.GridDensity(jnp.ones((40, 40)), -1.5, 1.5).centres()
    block = (points[..., 0] < -0.3) & (jnp.abs(points[..., 1]) < 1.0)
    mu = fm.GridDensity(jnp.where(block, 0.6, 0.0), -1.5, 1.5)
    solver, ts = fm.JKO(0.05, fm.EntropicScaling(0.02)), np.linspace(0, 2.0, 5)
    path = fm.simulate(fm.GradientFlow(energy), mu, ts, solver=solver)
    image = axis.imshow(
        path.final.rho.T, origin="lower", extent=(-1.5, 1.5, -1.5, 1.5), vmin=0, vmax=1.0
    )
    axis.contour(*np.moveaxis(np.asarray(points), -1, 0), mu.rho, levels=[0.3], colors="w")
    plt.colorbar(image, ax=axis)
    axis.set(title="a crowd at its exit, density ≤ 1", xticks=[], yticks=[])
    return f"crowd: largest density {float(jnp.max(path.ys.rho)):.6f}, ceiling 1"


def dots(axis):
    picture = darkness()
    final, energies = halftone(picture, 2500, jr.key(0))
    axis.scatter(*final.x.T, s=2, color="k", lw=0)
    axis.set(title="a photograph as 2500 dots", xticks=[], yticks=[], aspect="equal")
    return f"dots: energy distance {2 * energies[0]:.1e} → {2 * energies[-1]:.1e}"


def banana(axis):
    potential = lambda x: x[0] ** 2 / 2 + 2 * (x[1] - x[0] ** 2 / 2) ** 2  # noqa: E731
    mu = fm.Particles(jr.normal(jr.key(0), (100, 2)))
    flow = fm.GradientFlow(fm.KL(potential), fm.Stein(fm.MedianKernel()))
    final = fm.simulate(flow, mu, [0.0, 60.0], dt=0.1, solver=diffrax.Euler()).final
    line = np.linspace(-3, 3.2, 80)
    height = np.linspace(-1.5, 5, 80)
    grid = jnp.stack(jnp.meshgrid(line, height), -1)
    values = jnp.exp(-jax.vmap(jax.vmap(potential))(grid))
    axis.contourf(line, height, values, levels=8, cmap="Blues")
    axis.plot(*final.x.T, "k.", ms=4)
    axis.set(title="Stein's flow to a banana", xticks=[], yticks=[])
    return f"banana: E x₂ = {float(final.mean()[1]):.3f}, true 0.5"


def main():
    figure, axes = plt.subplots(2, 2, figsize=(10, 7.5))
    for draw, axis in zip((porous, crowd, dots, banana), axes.flat, strict=True):
        print(draw(axis), flush=True)
    figure.tight_layout()
    path = Path(__file__).parent.parent / "docs" / "gradient_flows.png"
    figure.savefig(path, dpi=90)
    print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
