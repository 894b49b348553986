"""Dynamics from snapshots: kernels, entropic couplings, the weak form, a simulated landscape.

Figures in README.md. float64.

Run: `python benchmarks/trajectory_inference.py [kernels] [couplings] [landscape] [weak]`.
"""

import sys
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

jax.config.update("jax_enable_x64", True)

import flowjax_measures as fm  # noqa: E402


def lennard_jones(r):
    """Φ′(r)/r of Φ(r) = r⁻¹² − 2 r⁻⁶, held below 0.7."""
    r = jnp.maximum(r, 0.7)
    return 12 * (r**-8 - r**-14)


def opinions(r):
    return jnp.where(r < 1 / np.sqrt(2), 1.0, jnp.where(r < 1, 0.1, 0.0))


def smooth(r):
    return jnp.exp(-(r**2))


def kernels():
    """Seven molecules and ten opinions: a kernel in the span of its basis, and one that is not."""
    for name, influence, n, d in (
        ("Lennard-Jones, N = 7", lennard_jones, 7, 2), ("opinions, N = 10", opinions, 10, 1),
        ("smooth, N = 10", smooth, 10, 1),
    ):  # fmt: skip
        law, states = fm.RadialInteraction(influence), []
        for k in range(50):
            start = fm.Particles(1.5 * jr.normal(jr.key(k), (n, d)))
            states += list(
                map(fm.Particles, fm.simulate(law, start, np.linspace(0, 0.5, 6), dt=0.01).ys.x)
            )
        distances = np.concatenate(
            [np.linalg.norm(s.x[:, None] - s.x, axis=-1)[np.triu_indices(n, 1)] for s in states]
        )
        for count in (10, 20, 40, 80):
            nodes = jnp.linspace(0.0, float(distances.max()) + 1e-6, count)
            basis = fm.PiecewiseLinear(nodes)
            for inside in (True, False):
                # The truth itself, or its interpolant, which lies in the span.
                truth = fm.PiecewiseLinear(nodes, influence(nodes)) if inside else influence
                velocities = [fm.RadialInteraction(truth)(jnp.zeros(()), s).drift.x for s in states]
                found = fm.regress(
                    fm.RadialInteraction(basis), (np.arange(len(states)), states), velocities,
                    where=lambda s: s.influence.values,
                )  # fmt: skip
                r = distances
                gap = found.system.influence(jnp.asarray(r)) - truth(jnp.asarray(r))
                scale = np.sqrt(np.mean((r * truth(jnp.asarray(r))) ** 2))
                print(
                    f"{name}, {count} nodes, {'in the span' if inside else 'the truth'}: error "
                    f"{np.sqrt(np.mean((r * gap) ** 2)) / scale:.2e} in L²(ρ), residual "
                    f"{found.residual / found.scale:.1e}, smallest singular value "
                    f"{found.singular_values[-1] / found.singular_values[0]:.1e}", flush=True,
                )  # fmt: skip


def couplings(n=150, theta=1.0):
    """ẋ = −θx from N(0, I/4) in the plane, five snapshots of one population, shuffled."""
    ts = np.linspace(0, 1.0, 5)
    x = 0.5 * jr.normal(jr.key(0), (n, 2))
    data = [
        fm.Particles(jr.permutation(jr.key(k), x) * np.exp(-theta * t)) for k, t in enumerate(ts)
    ]
    for epsilon in (None, 0.01, 0.03, 0.1):
        for debias in (False, True) if epsilon else (False,):
            found = fm.couple(ts, data, epsilon=epsilon, debias=debias)
            rates = []
            for at in ("start", "end"):
                states = data[:-1] if at == "start" else data[1:]
                times = ts[:-1] if at == "start" else ts[1:]
                law = fm.regress(
                    fm.McKeanVlasov(fm.Quadratic(0.5), beta=None), (times, states),
                    found.velocities(at), where=lambda s: s.potential.stiffness,
                )  # fmt: skip
                rates.append(float(law.system.potential.stiffness))
            print(
                f"epsilon {epsilon}, debias {debias}: theta {rates[0]:.3f} from starts, "
                f"{rates[1]:.3f} from ends of intervals", flush=True,
            )  # fmt: skip
    result = fm.fit(
        fm.McKeanVlasov(fm.Quadratic(0.5), beta=None), (ts, data), loss="sinkhorn", epsilon=0.1,
        where=lambda s: s.potential.stiffness, dt=0.05, positive=True, steps=60,
    )  # fmt: skip
    print(f"through the run, Sinkhorn divergence: theta {result.system.potential.stiffness:.5f}")


class Landscape(eqx.Module):
    """A network as a potential: V(x) = ½ stiffness |x|² + Σ_k a_k tanh(w_k·x + b_k)."""

    stiffness: jax.Array
    weights: jax.Array
    shifts: jax.Array
    heights: jax.Array

    def __call__(self, x):
        return self.stiffness * jnp.sum(x**2) / 2 + jnp.vdot(
            self.heights, jnp.tanh(self.weights @ x + self.shifts)
        )


def valley(x):
    """A fate that splits: one valley that becomes two, along the second coordinate."""
    fork = x[0] - 0.5
    return (x[1] ** 2 - 1.5 * fork) ** 2 / 4 + 0.05 * x[1] ** 4 - 1.0 * x[0] + 0.25 * x[0] ** 2


def landscape(n=200, beta=20.0):
    """Cells on a simulated landscape: a potential from fresh snapshots, tested between them."""
    ts = np.linspace(0, 2.4, 7)
    start = lambda k: fm.Particles(  # noqa: E731
        jnp.array([-1.0, 0.0]) + 0.25 * jr.normal(jr.key(k), (n, 2))
    )
    truth = fm.McKeanVlasov(valley, beta=beta)
    cells = [start(0)] + [
        fm.simulate(truth, start(k), ts[[0, k]], dt=0.02, key=jr.key(50 + k)).final
        for k in range(1, len(ts))
    ]
    seen = [0, 1, 3, 4, 6]
    keys = jr.split(jr.key(7), 3)
    network = Landscape(
        jnp.asarray(0.1), jr.normal(keys[0], (16, 2)), jr.normal(keys[1], (16,)),
        0.1 * jr.normal(keys[2], (16,)),
    )  # fmt: skip
    guess = fm.McKeanVlasov(network, beta=beta)
    begin = time.perf_counter()
    data = ts[seen], [cells[k] for k in seen]
    weak = fm.fit(guess, data, loss="self_test", where=lambda s: s.potential, steps=300,
                  learning_rate=0.03, identifiability=False)  # fmt: skip
    found = fm.fit(
        weak.system, data, loss="energy_distance", independent=True, dt=0.05, key=jr.key(1),
        where=lambda s: s.potential, steps=150, learning_rate=0.03, identifiability=False,
    )  # fmt: skip
    print(f"landscape: {time.perf_counter() - begin:.0f} s")
    plans = fm.couple(data[0], data[1], epsilon=0.05)
    for k in (2, 5):
        row = {"same law, fresh": fm.simulate(truth, start(90), ts[[0, k]], dt=0.02,
                                              key=jr.key(91)).final}  # fmt: skip
        for name, law in (("weak form", weak.system), ("through the run", found.system)):
            row[name] = fm.simulate(law, start(92), ts[[0, k]], dt=0.05, key=jr.key(93)).final
        row["plans, between"] = plans.interpolate(ts[k])
        row["the snapshot before"] = cells[k - 1]
        gaps = {name: float(fm.energy_distance(mu, cells[k])) for name, mu in row.items()}
        print(f"held out t = {ts[k]:.1f}: energy distance " + ", ".join(
            f"{name} {gap:.4f}" for name, gap in gaps.items()), flush=True)  # fmt: skip


class Quartic(eqx.Module):
    """a |x|²/2 + b |x|⁴/4."""

    a: float
    b: float

    def __call__(self, x):
        square = jnp.sum(x**2)
        return self.a * square / 2 + self.b * square**2 / 4


def weak(n=1000):
    """The weak form on fresh populations: what remains is of trapezoids, so it is a start."""
    law = lambda a, b, c: fm.McKeanVlasov(Quartic(a, b), fm.QuadraticKernel(c), beta=4.0)  # noqa: E731
    for count in (5, 9, 17, 33):
        ts = np.linspace(0, 1.0, count)
        data = [fm.Particles(1.0 + jr.normal(jr.key(0), (n, 1)))] + [
            fm.simulate(law(1.0, 0.5, 0.7), fm.Particles(1.0 + jr.normal(jr.key(k), (n, 1))),
                        ts[[0, k]], dt=0.02, key=jr.key(k)).final
            for k in range(1, count)
        ]  # fmt: skip
        found = fm.fit(law(0.1, 0.1, 0.1), (ts, data), loss="self_test", identifiability=False,
                       where=lambda s: (s.potential, s.kernel))  # fmt: skip
        system = found.system
        print(
            f"weak form, {count} times: a {system.potential.a:.3f} (1), b "
            f"{system.potential.b:.3f} (0.5), kernel {system.kernel.strength:.3f} (0.7)",
            flush=True,
        )


if __name__ == "__main__":
    studies = {"kernels": kernels, "couplings": couplings, "landscape": landscape, "weak": weak}
    for name in sys.argv[1:] or studies:
        print(f"-- {name}")
        studies[name]()
