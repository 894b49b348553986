"""Nine pictures of attention as a flow of measures.

python examples/attention.py [picture.png]
"""

import sys

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy.special import spherical_in

jax.config.update("jax_enable_x64", True)

import flowjax_measures as fm  # noqa: E402


def clustering(ax):
    tokens = fm.initial.uniform_on_sphere(jr.key(1), 96, 3)
    run = fm.simulate(fm.SelfAttention(beta=9.0), tokens, np.linspace(0, 12, 121), dt=0.1)
    fm.plot.trajectory(run, ax=ax, color="0.75")
    fm.plot.measure(run.final, ax=ax, s=12, color="C3")
    ax.set_title(f"tokens on S²: {int(fm.number_of_clusters(run.final, 0.1))} clusters at t = 12")


def closure(ax):
    m, cov, ts = jnp.zeros(1), 0.5 * jnp.eye(1), np.linspace(0, 0.8, 9)
    for color, (name, system) in enumerate({
        "softmax": fm.SelfAttention(beta=0.7), "linear": fm.LinearAttention(beta=0.7),
        "L2": fm.L2Attention(beta=0.7), "Sinkhorn": fm.SinkhornAttention(beta=0.7),
    }.items()):  # fmt: skip
        look = dict(observe=lambda mu: mu.covariance()[0, 0], dt=0.1)
        exact = fm.simulate(system, fm.Gaussian(m, cov), ts, **look)
        x = fm.Gaussian(m, cov).sample(jr.key(0), 400)
        cloud = fm.Particles((x - x.mean()) * jnp.sqrt(0.5) / x.std())
        run = fm.simulate(system, cloud, ts, **look)
        ax.plot(ts, exact.ys, color=f"C{color}", label=name)
        ax.plot(ts, run.ys, "o", ms=3, color=f"C{color}")
    ax.set(title="variance: closure (lines), 400 tokens (dots)", xlabel="t", yscale="log")
    ax.legend()


def growth(ax):
    """Fourier modes of the uniform state on S², measured in a run from a perturbed grid."""
    z, w = np.polynomial.legendre.leggauss(14)
    turn = 2 * np.pi * np.arange(28) / 28
    r = np.sqrt(1 - z**2)[:, None]
    x = np.stack([r * np.cos(turn), r * np.sin(turn), z[:, None] + 0 * turn], -1).reshape(-1, 3)
    weight = np.repeat(w / 56, 28)
    harmonics = (lambda z: z, lambda z: (3 * z**2 - 1) / 2, lambda z: (5 * z**3 - 3 * z) / 2)
    beta = np.linspace(0.5, 8, 40)
    for degree, harmonic in enumerate(harmonics, 1):
        bent = weight * (1 + 1e-5 * harmonic(x[:, 2]))
        for name, style in (("softmax", "-"), ("mean", "--")):

            def rate(b, degree=degree, name=name):
                mean = degree * (degree + 1) * spherical_in(degree, b) / b
                return mean / spherical_in(0, b) if name == "softmax" else mean

            ax.plot(beta, rate(beta), style, color=f"C{degree}", label=f"ℓ = {degree}, {name}")
            for b in (1.0, 3.0, 6.0):
                mu = fm.Particles(jnp.asarray(x), jnp.log(jnp.asarray(bent)), space=fm.Sphere())
                size = lambda mu, h=harmonic: mu.mean(lambda y: h(y[2]))  # noqa: E731
                law = fm.SelfAttention(beta=b, normalization=name)
                t = 0.1 / rate(b)
                run = fm.simulate(law, mu, [0.0, t], dt=t / 2, observe=size)
                ax.plot(b, np.log(run.ys[1] / run.ys[0]) / t, "o", ms=4, color=f"C{degree}")
    ax.set(title="growth rates of harmonics on S²: theory, runs", xlabel="β", yscale="log")
    ax.legend(fontsize=7)


def pairing(ax):
    angle, mass = np.array([0.0, 0.6, 1.9, 2.8, 4.5]), np.array([0.3, 0.1, 0.25, 0.15, 0.2])
    x = jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1)
    mu = fm.Particles(x, jnp.log(jnp.asarray(mass)), space=fm.Sphere())
    betas = np.linspace(4, 22, 19)
    limit = np.array([fm.pairing_dynamics(mu, b, 0.02).log_times for b in betas])
    for k in range(4):
        ax.plot(betas, limit[:, k], color=f"C{k}", label=f"merge {k + 1}")
    for b in (5.0, 10.0, 20.0):
        full = fm.coarsen(fm.MeanShift(beta=b), mu, 0.01, solver=diffrax.Tsit5())
        ax.plot([b] * full.log_times.size, full.log_times, "k.")
    ax.set(title="five clusters: pairing (lines), full flow (dots)", xlabel="β", ylabel="log t")
    ax.legend(fontsize=7)


def lost(ax, n=64, replicas=20_000, beta=1.0, lam=2.0, t=1.0):
    sigma = np.linspace(0.03, 1, 200)
    mode = fm.lost_in_the_middle(t, beta, lam, 50, jnp.asarray(sigma), terms=1)
    ax.plot(sigma, mode * np.exp(np.pi**2 / 2 / 50**2), label="first mode, theory")
    index = np.arange(3, n, 8)

    def one(key):
        start = jr.uniform(key, (n, 1), float) * 2 * jnp.pi
        run = fm.simulate(fm.CausalCircle(beta, lam), fm.Particles(start), [0.0, t], dt=0.25)
        asked = start[index, 0]
        return n * (jnp.cos(run.final.x[-1, 0] - asked) - jnp.cos(start[-1, 0] - asked))

    values = np.asarray(jax.lax.map(one, jr.split(jr.key(0), replicas), batch_size=500))
    error = 2 * values.std(0) / np.sqrt(replicas)
    ax.errorbar((index + 1) / n, values.mean(0), error, fmt="k.", label=f"{n} tokens, 2 s.e.")
    ax.set(title="lost in the middle", xlabel="position of what is asked", ylim=(0, None))
    ax.legend()


def common_noise(ax):
    tokens = fm.initial.uniform_on_sphere(jr.key(5), 16, 3)
    ts = np.linspace(0, 12, 121)
    run = fm.simulate(
        fm.RandomQuadraticForm(), tokens, ts, dt=0.02, key=jr.key(6),
        observe=lambda mu: mu.x @ mu.x[0],
    )  # fmt: skip
    ax.plot(ts, run.ys, color="0.7", lw=0.7)
    repulsive = fm.SelfAttention(value=-0.1 * jnp.eye(3))
    for noise in (0.0, 1.0, 2.0):
        law = repulsive + fm.RandomMLPNoise("relu", noise) if noise else repulsive
        run = fm.simulate(law, tokens, ts, dt=0.02, key=jr.key(8), observe=fm.dispersion)
        ax.plot(ts, run.ys, label=f"dispersion, repulsion + noise {noise}")
    ax.set(title="random quadratic form (grey: ⟨x_i, x_1⟩), random layers", xlabel="t")
    ax.legend(fontsize=7)


def acceleration(ax):
    """Linear attention in a potential of condition 100, by the closures of both flows."""
    value, cov, h = -jnp.diag(jnp.array([1.0, 0.01])), jnp.eye(2), 0.5
    ts = tuple(h * k for k in range(401))
    for name, system, start in (
        ("first order", fm.LinearAttention(value=value), cov),
        ("SympFormer", fm.SympFormer("linear", value=value, damping=0.2),
         jnp.diag(jnp.array([1.0, 1.0, 1e-3, 1e-3]))),
    ):  # fmt: skip
        run = fm.simulate(
            system, fm.Gaussian(jnp.zeros(len(start)), start), ts, dt=h, solver=diffrax.Euler(),
            observe=lambda mu: -jnp.trace(value @ mu.cov[:2, :2]) / 2,
        )  # fmt: skip
        ax.plot(run.ys, label=name)
    ax.set(title="energy over evaluations, linear attention", yscale="log", xlabel="evaluations")
    ax.legend()


def graphs(ax):
    sizes = np.array([8, 16, 32, 64, 128])

    def error(n, draw):
        place = (jnp.arange(n) + 0.5) / n
        weights = place[:, None] * place
        if draw is not None:
            weights = jr.bernoulli(draw, weights, (n, n)).astype(float)
        system = fm.GraphAttention(weights, beta=0.0, normalization="mean")
        final = fm.simulate(system, fm.Particles(place[:, None]), [0.0, 1.0], dt=0.1).final.x[:, 0]
        return float(jnp.sqrt(jnp.mean((final - place * np.exp(1 / 3)) ** 2)))

    drawn = [np.mean([error(n, jr.key(k)) for k in range(4)]) for n in sizes.tolist()]
    ax.loglog(sizes, [error(n, None) for n in sizes.tolist()], "o-", label="weights ξ_i ξ_j")
    ax.loglog(sizes, drawn, "o-", label="random edges")
    ax.loglog(sizes, drawn[0] * np.sqrt(sizes[0] / sizes), "k:", label="n^{-1/2}")
    ax.set(title="distance to the graphon limit", xlabel="vertices")
    ax.legend()


def normalisation(ax):
    x = fm.initial.uniform_on_sphere(jr.key(2), 32, 3).x
    x = jnp.concatenate([x[:, :2], jnp.abs(x[:, 2:]) + 1], 1)
    x = x / jnp.linalg.norm(x, axis=1, keepdims=True)
    ts, attention = np.concatenate([[0.0], np.geomspace(0.1, 100, 40)]), fm.SelfAttention(beta=2.0)
    spread = lambda mu: fm.dispersion(fm.Particles(mu.x, space=fm.Sphere()).retract())  # noqa: E731
    for name, system, space in (
        ("post", attention, fm.Sphere()),
        ("pre", fm.Normalized(attention), fm.Euclidean()),
        ("peri", fm.Normalized(attention, "peri"), fm.Euclidean()),
        ("scaled", fm.Normalized(attention, scale=lambda t: (1 + t) ** -0.5), fm.Euclidean()),
    ):
        run = fm.simulate(system, fm.Particles(x, space=space), ts, dt=0.1, observe=spread)
        ax.loglog(ts[1:], np.maximum(run.ys[1:], 1e-12), label=name)
    ax.set(title="dispersion by where layers normalise", xlabel="t", ylim=(1e-8, 1))
    ax.legend()


PANELS = (
    clustering, closure, growth, pairing, lost, common_noise, acceleration, graphs, normalisation,
)  # fmt: skip


def main(path="attention.png"):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 3, figsize=(15, 12.5))
    for ax, panel in zip(axes.ravel(), PANELS, strict=True):
        panel(ax)
        print(panel.__name__, flush=True)
    figure.tight_layout()
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
