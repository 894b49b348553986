"""The quickstart: the patches of a photograph cluster by self-attention, then β is recovered.

    python -m flowjax_measures

Writes three pictures to `quickstart_output/`, where matplotlib is installed, and ends with a line
of what it measured.
"""

import time
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from tqdm import tqdm

from .. import initial, plot
from ..measures import Gaussian, Particles
from ..observables import interaction_energy, number_of_clusters
from ..simulation._simulate import simulate
from ..spaces import Sphere
from ..systems.attention import SelfAttention

BETA, DEPTH, RADIUS = 9.0, 12.0, 0.15


def photograph() -> np.ndarray:
    """The temple that scikit-learn ships, of shape (427, 640, 3), or hills where it is missing."""
    try:
        from sklearn.datasets import load_sample_image
    except ImportError:
        return hills(427, 640)
    return load_sample_image("china.jpg")


def hills(rows: int, columns: int) -> np.ndarray:
    """A synthetic picture: three ranges of hills under a sky, with grain."""
    y, x = np.mgrid[0:rows, 0:columns] / rows
    image = np.stack([150 + 60 * y, 190 + 30 * y, np.full_like(y, 240.0)], axis=-1)
    colours = ([110, 140, 120], [70, 110, 60], [40, 70, 30])
    for k, colour in enumerate(colours):
        ridge = 0.4 + 0.2 * k + 0.08 * np.sin((5 + 3 * k) * x + k) + 0.03 * np.sin(23 * x + 2 * k)
        image[y > ridge] = colour
    grain = np.random.default_rng(0).normal(0, 6, image.shape)
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def cluster(tokens: Particles):
    """Runs attention on the sphere, observing energy and clusters over depth."""
    depths = np.linspace(0.0, DEPTH, 25)
    observe = {
        "energy": lambda mu: interaction_energy(mu, BETA),
        "clusters": lambda mu: number_of_clusters(mu, RADIUS),
    }
    system = SelfAttention(beta=BETA)
    return simulate(system, tokens, depths, dt=0.1, observe=observe, progress=True)


def recover_beta(tokens: Particles, steps: int) -> tuple[float, float]:
    """Fits β to four observed snapshots by differentiating the whole run; the seconds it took."""
    depths = np.linspace(0.0, 2.0, 5)

    def snapshots(log_beta):
        return simulate(SelfAttention(beta=jnp.exp(log_beta)), tokens, depths, dt=0.1).ys.x

    observed = snapshots(jnp.log(BETA))

    @jax.jit
    def update(log_beta, state):
        loss = lambda a: jnp.mean((snapshots(a) - observed) ** 2)  # noqa: E731
        value, slope = jax.value_and_grad(loss)(log_beta)
        move, state = optimizer.update(slope, state)
        return optax.apply_updates(log_beta, move), state, value

    optimizer = optax.adam(optax.exponential_decay(0.3, steps, 0.05), b1=0.5, b2=0.9)
    log_beta, start = jnp.zeros(()), time.perf_counter()
    state = optimizer.init(log_beta)
    with tqdm(range(steps), desc="fitting β") as bar:
        for _ in bar:
            log_beta, state, value = update(log_beta, state)
            bar.set_postfix(beta=f"{float(jnp.exp(log_beta)):.4f}", loss=f"{float(value):.1e}")
    return float(jnp.exp(log_beta)), time.perf_counter() - start


def closure(n: int) -> tuple[float, object]:
    """The same system in R² from a Gaussian and from its samples: the gap of the covariances."""
    start = Gaussian(jnp.array([0.3, 0.0]), jnp.array([[0.30, 0.10], [0.10, 0.20]]))
    times, system = np.linspace(0.0, 1.0, 6), SelfAttention(beta=0.8)
    cloud = Particles(start.sample(jr.key(1), n))
    gaussian = simulate(system, start, times)
    particles = simulate(system, cloud, times, dt=0.1)
    gap = jnp.linalg.norm(particles.final.covariance() - gaussian.final.cov)
    return float(gap / jnp.linalg.norm(gaussian.final.cov)), (gaussian, particles)


def draw(folder: Path, colours, final: Particles, run, gaussian_run) -> str:
    """Three pictures; says where they are."""
    try:
        import matplotlib
    except ImportError:
        return "no pictures without matplotlib: pip install 'flowjax_measures[plot]'"
    folder.mkdir(exist_ok=True)
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows, columns, channels = colours.shape
    near = np.asarray(final.x @ final.x.T) > np.cos(2 * RADIUS)
    flat = np.asarray(colours).reshape(-1, channels)
    mixed = (near @ flat / near.sum(1, keepdims=True)).reshape(rows, columns, channels)

    figure, axes = plt.subplots(1, 3, figsize=(15, 3.9), layout="constrained")
    axes[0].imshow(photograph())
    axes[1].imshow(np.asarray(colours) / 255)
    axes[2].imshow(mixed / 255)
    for ax, title in zip(axes, ("photograph", "patches", "patches by cluster"), strict=True):
        ax.set_title(title)
        ax.axis("off")
    figure.savefig(folder / "clusters.png", dpi=110)

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2))
    plot.curve(run.ts, run.ys["energy"], "interaction energy", ax=axes[0])
    plot.curve(run.ts, run.ys["clusters"], "clusters", ax=axes[1]).set_yscale("log")
    figure.tight_layout()
    figure.savefig(folder / "depth.png", dpi=110)

    gaussian, particles = gaussian_run
    figure, ax = plt.subplots(figsize=(4.2, 4))
    plot.measure(particles.final, ax=ax, s=3)
    plot.measure(gaussian.final, ax=ax)
    ax.set(title="particles and the ellipses of the closure", xlabel="x₁", ylabel="x₂")
    figure.tight_layout()
    figure.savefig(folder / "closure.png", dpi=110)
    plt.close("all")
    return f"pictures in {folder}/"


def main(size: int = 16, fit_steps: int = 100, particles: int = 2000) -> int:
    """Runs everything; `size` is the side of a patch in pixels."""
    begin = time.perf_counter()
    folder = Path("quickstart_output")
    print("Compiling takes most of the half minute; the bars stand while it does.", flush=True)
    tokens, colours = initial.patches(jnp.asarray(photograph()), size, 8)
    run = cluster(tokens)
    some = Particles(tokens.x[:: max(tokens.size() // 128, 1)], space=Sphere())
    beta, seconds = recover_beta(some, fit_steps)
    gap, gaussian_run = closure(particles)
    pictures = draw(folder, colours, run.final, run, gaussian_run)
    clusters, energy = run.ys["clusters"], run.ys["energy"]
    print(
        f"{tokens.size()} patches: {int(clusters[0])} → {int(clusters[-1])} clusters, energy "
        f"{float(energy[0]):.3g} → {float(energy[-1]):.3g}; β = {beta:.4f} (true {BETA}) in "
        f"{fit_steps} steps, {seconds:.0f} s; covariance of {particles} particles within "
        f"{100 * gap:.1f}% of the Gaussian closure; {time.perf_counter() - begin:.0f} s in all; "
        f"{pictures}"
    )
    return 0
