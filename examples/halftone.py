"""A photograph as equal dots: the Wasserstein flow of the energy distance to its darkness.

Run: `python examples/halftone.py [dots]`; writes `halftone.png`. The dots repel each other and are
drawn to where the picture is dark; in the end their energy distance to the picture is small, and no
dot can move to make it smaller ([teuber2011]).
"""

import sys
import time

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np

import flowjax_measures as fm
from flowjax_measures._cli._quickstart import photograph


def darkness(rows: int = 72) -> fm.GridDensity:
    """The photograph as a density on a grid, dark where it is black; y is upwards."""
    image = photograph()[:, 60:520].mean(2) / 255
    columns = round(rows * image.shape[1] / image.shape[0])
    tall, wide = image.shape[0] // rows, image.shape[1] // columns
    tiles = image[: rows * tall, : columns * wide].reshape(rows, tall, columns, wide).mean((1, 3))
    rho = jnp.asarray((1 - tiles)[::-1].T) ** 1.3
    upper = np.array([columns / rows, 1.0])
    return fm.GridDensity(rho / (jnp.mean(rho) * upper.prod()), 0.0, upper)


def halftone(picture: fm.GridDensity, dots: int, key) -> tuple[fm.Particles, np.ndarray]:
    """The dots after the flow, and the energy distance along it."""
    energy = fm.MMD(picture, fm.EnergyDistance())
    start = fm.Particles(picture.sample(key, dots))
    ts = np.linspace(0, 6, 13)
    # The force jumps where dots meet: steps of a share of their distance.
    run = fm.simulate(
        fm.GradientFlow(energy), start, ts, dt=0.05, solver=diffrax.Heun(), observe=energy
    )
    return run.final, np.asarray(run.ys)


def main(dots: int = 2000):
    picture = darkness()
    begin = time.time()
    final, energies = halftone(picture, dots, jr.key(0))
    seconds = time.time() - begin
    figure, axes = plt.subplots(1, 3, figsize=(12, 4))
    extent = (0, float(picture.upper[0]), 0, 1)
    axes[0].imshow(picture.rho.T, origin="lower", extent=extent, cmap="gray_r")
    axes[1].scatter(*picture.sample(jr.key(0), dots).T, s=1.5, color="k", lw=0)
    axes[2].scatter(*final.x.T, s=1.5, color="k", lw=0)
    titles = "darkness", f"{dots} independent dots", "the same dots after the flow"
    for axis, title in zip(axes, titles, strict=True):
        axis.set(xlim=extent[:2], ylim=(0, 1), xticks=[], yticks=[], title=title, aspect="equal")
    figure.tight_layout()
    figure.savefig("halftone.png", dpi=130)
    print(
        f"{dots} dots on {picture.rho.size} pixels, {jax.default_backend()}: energy distance "
        f"{2 * energies[0]:.2e} → {2 * energies[-1]:.2e} in {seconds:.0f} s; wrote halftone.png"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
