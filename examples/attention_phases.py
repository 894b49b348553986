"""A phase diagram of attention: 10 values of β × 64 seeds × 256 tokens in one call.

    python examples/attention_phases.py [picture.png]

One call, compiled once, batched over runs and sharded over the devices: on a machine without
accelerators over two host devices.
"""

import sys
import time

import diffrax
import jax
import numpy as np

jax.config.update("jax_num_cpu_devices", 2)

import flowjax_measures as fm  # noqa: E402

BETAS = np.geomspace(0.5, 64.0, 10)
SEEDS, TOKENS, RADIUS = 64, 256, 0.05
TIMES = tuple(np.concatenate([[0.0], np.geomspace(0.5, 30.0, 12)]).tolist())


def clustering(parameters, key):
    """Clusters and order of tokens uniform on S² along a run."""
    tokens = fm.initial.uniform_on_sphere(key, TOKENS, 3)
    watch = dict(
        clusters=lambda mu: fm.soft_number_of_clusters(mu, RADIUS), order=fm.order_parameter
    )
    system = fm.SelfAttention(beta=parameters["beta"])
    return fm.simulate(system, tokens, TIMES, dt=0.25, observe=watch, solver=diffrax.Heun()).ys


def main(path="attention_phases.png"):
    begin = time.perf_counter()
    runs = fm.sweep(clustering, dict(beta=BETAS), seeds=SEEDS, chunk=len(BETAS) * SEEDS)
    print(f"{len(BETAS) * SEEDS} runs on {jax.device_count()} devices: "
          f"{time.perf_counter() - begin:.0f} s")  # fmt: skip
    clusters, order = runs.values["clusters"], runs.values["order"]
    for beta, c, o in zip(BETAS, clusters, order, strict=True):
        print(f"β = {beta:6.2f}: clusters {c[:, -1].mean():6.2f} ± {c[:, -1].std() / 8:.2f}, "
              f"order {o[:, -1].mean():.3f} ± {o[:, -1].std() / 8:.3f}")  # fmt: skip
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6))
    for ax, values, title in zip(
        axes, (np.log10(clusters.mean(1)), order.mean(1)),
        ("log₁₀ of the number of clusters", "order ‖∫ x dμ‖"), strict=True,
    ):  # fmt: skip
        picture = ax.pcolormesh(TIMES[1:], BETAS, values[:, 1:], shading="nearest")
        ax.set(xscale="log", yscale="log", xlabel="t", ylabel="β", title=title)
        figure.colorbar(picture, ax=ax)
    figure.tight_layout()
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main(*sys.argv[1:])
