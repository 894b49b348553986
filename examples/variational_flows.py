"""Six flows beyond steepest descent.

Run: `python examples/variational_flows.py`; writes `docs/variational_flows.png`. A mixture of
Gaussians fitted to four wells; the Sinkhorn flow on a torus and Sinkhorn's iterations; momentum in
a narrow valley; Anderson mixing of Gaussians to their barycentre; a game; a cloud that learns a
ring from a critic.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np

import flowjax_measures as fm


def mixture(axis):
    wells = lambda x: jnp.sum((x**2 - 2) ** 2) / 1.5 + 0.3 * x[0] * x[1]  # noqa: E731
    start = 0.5 * jr.normal(jr.key(0), (6, 2)), jnp.broadcast_to(0.3 * jnp.eye(2), (6, 2, 2))
    nu = fm.Particles(jax.vmap(fm.Gaussian)(*start), space=fm.Bures())
    flow = fm.GradientFlow(fm.GaussianMixtureKL(wells), fm.WassersteinFisherRao(1.0, 1.0))
    final = fm.simulate(flow, nu, [0.0, 6.0], dt=0.02).final
    s = jnp.linspace(-2.6, 2.6, 90)
    grid = jnp.stack(jnp.meshgrid(s, s), -1)
    axis.contourf(s, s, jnp.exp(-jax.vmap(jax.vmap(wells))(grid)), 12, cmap="Greys")
    turn = jnp.linspace(0, 2 * jnp.pi, 60)
    for m, cov, w in zip(final.x.m, final.x.cov, jnp.exp(final.log_w), strict=True):
        ring = m + 1.2 * jnp.stack([jnp.cos(turn), jnp.sin(turn)], 1) @ jnp.linalg.cholesky(cov).T
        axis.plot(*ring.T, color="C1", linewidth=1 + 8 * float(w))
    axis.set_title("mixture by a Bures flow")


def sinkhorn(axis):
    f = lambda x: 0.6 * jnp.sum(jnp.cos(2 * jnp.pi * x))  # noqa: E731
    g = lambda y: -0.7 * jnp.sum(jnp.sin(2 * jnp.pi * y))  # noqa: E731
    flow, t = fm.ParabolicMongeAmpere(f, g), 0.05
    exact = fm.simulate(flow, jnp.zeros(64), [0.0, t]).final
    steps = t / np.array([4, 8, 16, 32])
    errors = []
    for epsilon in steps:
        solver = fm.SinkhornIterations(epsilon)
        psi = fm.simulate(flow, jnp.zeros(64), [0.0, t], solver=solver).final
        gap = psi - exact
        errors.append(float(jnp.max(jnp.abs(gap - gap.mean()))))
    axis.loglog(steps, errors, "o-", steps, errors[-1] * steps / steps[-1], "k:")
    axis.minorticks_off()
    axis.set_title("Sinkhorn's potentials at k = t/ε")
    axis.set_xlabel("ε")
    axis.set_ylabel("distance to the flow")
    return np.log2(errors[-2] / errors[-1])


def momentum(axis):
    rate = 0.01
    energy = fm.KL(fm.Quadratic(jnp.diag(jnp.array([1.0, rate]))))
    at_rest = jnp.diag(jnp.array([1.0, 1.0, 0.0, 0.0]))
    lifted = fm.Gaussian(jnp.array([2.0, 20.0, 0.0, 0.0]), at_rest)
    here = lambda mu: fm.Gaussian(mu.m[:2], mu.cov[:2, :2])  # noqa: E731
    ts = jnp.linspace(0.0, 120.0, 121)
    best = energy(fm.Gaussian(jnp.zeros(2), jnp.diag(jnp.array([1.0, 1 / rate]))))
    plain = fm.simulate(fm.GradientFlow(energy), here(lifted), ts, observe=energy).ys
    axis.semilogy(ts, plain - best, label="gradient flow")
    for label, alpha in (("damping 2√λ", 2 * rate**0.5), ("damping 3/t", lambda t: 3 / (t + 0.1))):
        flow = fm.AcceleratedFlow(energy, alpha)
        axis.semilogy(
            ts, fm.simulate(flow, lifted, ts, observe=lambda m: energy(here(m))).ys - best,
            label=label,
        )  # fmt: skip
    axis.set_ylim(1e-7)
    axis.legend()
    axis.set_title("relative entropy, condition 100")
    axis.set_xlabel("t")


def anderson(axis):
    def ill(key):
        turn = jnp.linalg.qr(jr.normal(key, (3, 3)))[0]
        return turn @ jnp.diag(jnp.geomspace(0.02, 5.0, 3)) @ turn.T

    nus = [fm.Gaussian(jnp.zeros(3), ill(key)) for key in jr.split(jr.key(0), 4)]
    parts = [fm.SquaredWasserstein(nu) for nu in nus]
    energy = 0.25 * (parts[0] + parts[1] + parts[2] + parts[3])
    flow, mu = fm.GradientFlow(energy), fm.Gaussian(jnp.zeros(3), jnp.eye(3))

    def slope(nu):
        return jnp.linalg.norm(flow(0.0, nu).drift.cov)

    for memory in (0, 2, 5):
        solver = fm.AndersonMixing(1.0, memory)
        values = [
            slope(fm.simulate(flow, mu, [0.0, k], dt=1.0, solver=solver).final)
            for k in range(1, 31, 2)
        ]
        axis.semilogy(range(1, 31, 2), values, "o-", markersize=3, label=f"memory {memory}")
    axis.legend()
    axis.set_title("barycentre of four Gaussians")
    axis.set_xlabel("steps")
    axis.set_ylabel("velocity")


def game(axis):
    def pay(x, y):
        return 0.1 * jnp.vdot(x, x) - 0.1 * jnp.vdot(y, y) + jnp.vdot(x, y)

    play = fm.Game(
        {
            "x": lambda mu: fm.PotentialEnergy(lambda x: mu["y"].mean(lambda y: pay(x, y))),
            "y": lambda mu: fm.PotentialEnergy(lambda y: -mu["x"].mean(lambda x: pay(x, y))),
        }
    )
    state = {name: fm.Particles(2 + jr.normal(jr.key(i), (20, 1))) for i, name in enumerate("xy")}
    means = {name: lambda mu, name=name: mu[name].mean()[0] for name in "xy"}
    flow = fm.simulate(play, state, jnp.linspace(0.0, 15.0, 151), observe=means).ys
    axis.plot(flow["x"], flow["y"], color="0.7", label="flow")
    solvers = (("VMS", fm.VariationalMovement(0.5)), ("held", fm.VariationalMovement(0.5, True)))
    for label, solver in solvers:
        run = fm.simulate(
            play, state, jnp.arange(0.0, 10.0, 0.5), dt=0.5, solver=solver, observe=means
        )
        axis.plot(run.ys["x"], run.ys["y"], "o-", markersize=3, label=label)
    axis.plot(0, 0, "k+")
    axis.legend()
    axis.set_title("a game, steps of ½")


def ring(axis):
    turn = 2 * np.pi * np.arange(60) / 60
    data = fm.Particles(1.5 * jnp.stack([jnp.cos(turn), jnp.sin(turn)], 1))
    weights = jr.normal(jr.key(5), (60, 2))

    def features(x):
        return jnp.concatenate([jnp.cos(weights @ x), jnp.sin(weights @ x)]) / jnp.sqrt(60.0)

    energy = fm.AdversarialDivergence(data, features, "jensen-shannon", 1e-2, 12)
    start = fm.Particles(0.3 * jr.normal(jr.key(0), (60, 2)))
    run = fm.simulate(fm.GradientFlow(energy), start, np.linspace(0, 40, 41), dt=0.5)
    axis.plot(*data.x.T, "o", color="0.8", markersize=8)
    axis.plot(run.ys.x[..., 0], run.ys.x[..., 1], color="C0", linewidth=0.4, alpha=0.6)
    axis.plot(*run.final.x.T, "C3.")
    axis.set_title("a ring, seen by a critic")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    _, axes = plt.subplots(2, 3, figsize=(12, 7.4))
    mixture(axes[0, 0])
    order = sinkhorn(axes[0, 1])
    momentum(axes[0, 2])
    anderson(axes[1, 0])
    game(axes[1, 1])
    ring(axes[1, 2])
    plt.tight_layout()
    plt.savefig(Path(__file__).parent.parent / "docs" / "variational_flows.png", dpi=110)
    print(f"order of Sinkhorn's iterations {order:.3f}")
