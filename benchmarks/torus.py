"""Diffusions on the circle with strong short attraction: the four regimes.

Run: `python benchmarks/torus.py [exchange | reversal]`. Growth rates of modes from particles and
from a grid, the time of the first clusters against log N / 2ψ(k_max), the time to coalesce against
N, the clustered state against its fixed point; alone, the exchange of mass and the time to dissolve
a cluster. Writes `benchmarks/torus.png`.
"""

import sys
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import flowjax_measures as fm

# At γℓ = 20 a cluster holds its particles for times of order e^{20/3}; ψ has its top at k = 3.
SYSTEM = fm.LocalizedAttraction(strength=100.0, width=0.2)
DT = 2e-5
MODES = np.arange(1, 9)
# Two clusters count as one when |∫ e^{2πix} dμ| is above this: a tenth of the circle apart.
MERGED = 0.95


def powers(mu):
    phase = 2 * jnp.pi * MODES * mu.x
    return jnp.mean(jnp.cos(phase), 0) ** 2 + jnp.mean(jnp.sin(phase), 0) ** 2


def particles(key, n, ts, observe, dt=DT):
    mu = fm.initial.uniform_on_torus(jr.fold_in(key, 0), n, 1)
    return fm.simulate(SYSTEM, mu, ts, dt=dt, key=jr.fold_in(key, 1), observe=observe).ys


def growth():
    """E|c_k|² = (1/N)(e^{2ψt} + (k'²/ψ)(e^{2ψt} − 1)), k' = 2πk: initial and later noise."""
    psi = np.array([float(SYSTEM.growth_rate(k)) for k in MODES])
    n, ts = 1000, np.linspace(0, 0.003, 4)
    runs = np.asarray(
        jax.lax.map(lambda k: particles(k, n, ts, powers), jr.split(jr.key(0), 96), batch_size=8)
    )
    mean, error = n * runs.mean(0), n * runs.std(0) / np.sqrt(len(runs))
    rate = (2 * np.pi * MODES) ** 2
    print("mode, ψ, N E|c_k|² at t = 0.003: measured, exact of the linear equation, z; ψ of a grid")
    table = []
    cells = 256
    x = (np.arange(cells) + 0.5) / cells
    for i, k in enumerate(MODES):
        e = np.exp(2 * psi[i] * ts[-1])
        exact = e + rate[i] / psi[i] * (e - 1)
        rho = jnp.asarray(1 + 1e-4 * np.cos(2 * np.pi * k * x), jnp.float64)
        grid = fm.GridDensity(rho, 0.0, 1.0, periodic=True)
        final = fm.simulate(SYSTEM, grid, [0.0, 0.002]).final.rho
        wave = 2 * np.mean(np.asarray(final) * np.cos(2 * np.pi * k * x))
        table.append(np.log(wave / 1e-4) / 0.002)
        z = (mean[-1, i] - exact) / error[-1, i]
        print(f"{k} {psi[i]:9.2f} {mean[-1, i]:8.3f} {exact:8.3f} {z:6.2f} {table[-1]:9.2f}")
    return psi, table


def clustering(psi):
    """The first time at which some |c_k|² is a fifth, against log N / 2ψ(k_max)."""
    top = psi.max()
    ts = np.linspace(0, 0.032, 161)
    print("N, mean time of the first clusters, standard error, log N / 2ψ_max")
    rows = []
    repeats = 16
    for n in (200, 400, 800, 1600):
        look = lambda mu: jnp.max(powers(mu))  # noqa: E731
        one = partial(particles, n=n, ts=ts, observe=look, dt=4e-5)
        runs = jax.lax.map(one, jr.split(jr.key(1), repeats))
        runs = np.asarray(runs)
        first = ts[np.argmax(runs > 0.2, axis=1)]
        rows.append((n, first.mean(), first.std() / np.sqrt(repeats)))
        print(f"{n} {rows[-1][1]:.4f} {rows[-1][2]:.4f} {np.log(n) / (2 * top):.4f}")
    n, mean, error = np.array(rows).T
    slope = np.polyfit(np.log(n), mean, 1, w=1 / error)[0]
    print(f"slope in log N {slope:.5f}, 1/2ψ_max {1 / (2 * top):.5f}")
    return rows


def coalescence():
    """From two clusters half a circle apart, the mean time until they are one, against N."""
    print("N, mean time to coalesce ± standard error, (½ − d)² N/8")
    rows = []
    for n in (8, 16, 32):
        repeats, end = 32, 0.06 * n
        ts = np.linspace(0, end, 301)

        def one(key, n=n, ts=ts):
            place = jnp.where(jnp.arange(n) % 2 == 0, 0.25, 0.75)[:, None]
            mu = fm.Particles(place, space=fm.Torus())
            look = lambda m: fm.circular_order(fm.Particles(2 * jnp.pi * m.x), 1)  # noqa: E731
            return fm.simulate(SYSTEM, mu, ts, dt=4e-5, key=key, observe=look).ys

        runs = np.asarray(jax.jit(jax.vmap(one))(jr.split(jr.key(2), repeats)))
        together = runs > MERGED
        done = together.any(1)
        first = np.where(done, ts[np.argmax(together, axis=1)], end)
        # Runs still apart at the end count by their time: the mean of an exponential tail.
        mean = first.sum() / max(done.sum(), 1)
        rows.append((n, mean, mean / np.sqrt(max(done.sum(), 1))))
        theory = (0.5 - np.arccos(MERGED) / np.pi) ** 2 * n / 8
        print(f"{n} {mean:.4f} ± {rows[-1][2]:.4f}, Brownian centres {theory:.4f}")
    n, mean, _ = np.array(rows).T
    print(f"slope of log time in log N: {np.polyfit(np.log(n), np.log(mean), 1)[0]:.2f}")
    return rows


def steady():
    """A cluster on the grid against ρ = e^{−W∗ρ}/Z and the variance ℓ/(γ w″(0))."""
    cells = 512
    x = (np.arange(cells) + 0.5) / cells
    rho = np.exp(-((x - 0.5) ** 2) / (2 * 0.05**2))
    mu = fm.GridDensity(jnp.asarray(rho / rho.mean(), jnp.float64), 0.0, 1.0, periodic=True)
    final = np.asarray(fm.simulate(SYSTEM, mu, [0.0, 0.2], max_steps=10**6).final.rho)
    W = np.asarray(jax.vmap(jax.vmap(SYSTEM.interaction))(jnp.asarray(x[:, None] - x[None])))
    gibbs = np.exp(-W @ final / cells)
    gibbs = gibbs / gibbs.mean()
    near = abs(x - 0.5) < 0.1
    variance = np.sum((final * (x - 0.5) ** 2)[near]) / np.sum(final[near])
    curvature = float(jax.hessian(SYSTEM.interaction)(jnp.asarray(0.0)))
    print(f"fixed point: largest gap {np.abs(final - gibbs).max() / gibbs.max():.2e} of the top")
    print(f"variance {variance:.3e}, 1/W″(0) = ℓ/(γ w″(0)) = {1 / curvature:.3e}")
    return x, final, gibbs


def pair_energies(system, cells):
    """Places of cells, and W between them."""
    x = (np.arange(cells) + 0.5) / cells
    return x, np.asarray(jax.vmap(jax.vmap(system.interaction))(jnp.asarray(x[:, None] - x)))


def exchange(small=0.4, end=0.06):
    """The smaller of two clusters loses mass at e^{−γℓ m}: a grid beside the current in e^U.

    In two wells of U = W∗ρ, where ρe^U is nearly constant in each, the loss is the difference of
    these constants over ∫ e^U between the wells, on both sides.
    """
    rows = []
    for cells in (256, 512):
        for strength in (90.0, 105.0) if cells == 256 else (90.0,):
            system = fm.LocalizedAttraction(strength=strength, width=0.2)
            (x, W), rho = pair_energies(system, cells), np.zeros(cells)
            left = x < 0.5
            rho[[cells // 4, 3 * cells // 4]] = np.array([1 - small, small]) * cells
            for _ in range(2000):
                new = np.exp(-(W @ rho) / cells)
                for half, mass in ((left, 1 - small), (~left, small)):
                    new[half] *= mass / new[half].sum() * cells
                rho = (rho + new) / 2
            potential = W @ rho / cells
            centres = [np.argmin(np.where(h, potential, np.inf)) for h in (left, ~left)]
            between = (np.arange(cells) >= centres[0]) & (np.arange(cells) < centres[1])
            walls = [np.exp(potential)[b].sum() / cells for b in (between, ~between)]
            level = rho * np.exp(potential)
            current = (level[centres[1]] - level[centres[0]]) * sum(1 / w for w in walls)
            mu = fm.GridDensity(jnp.asarray(rho), 0.0, 1.0, periodic=True)
            run = fm.simulate(system, mu, [0.0, end / 2, end], max_steps=10**6).ys.rho
            mass = np.asarray(run)[:, ~left].sum(1) / cells
            rows.append((strength / 5, (mass[1] - mass[2]) / (end / 2), current))
            print(f"{cells} cells, γℓ {strength / 5:.0f}: loss {rows[-1][1]:.5f}, current "
                  f"{current:.5f}", flush=True)  # fmt: skip
    return rows


def barrier(system, cells=64):
    """The free energy least at each |∫ e^{2πix} dμ|, less that of the uniform state."""
    x, W = pair_energies(system, cells)
    wave, rho, energies = np.cos(2 * np.pi * x), np.ones(cells), []
    orders = np.linspace(0, 0.99, 34)

    def tilted(potential, order):
        low, high = -200.0, 200.0
        for _ in range(40):
            middle = (low + high) / 2
            new = np.exp(potential + middle * wave - (potential + middle * wave).max())
            new /= new.mean()
            low, high = (middle, high) if np.mean(new * wave) < order else (low, middle)
        return new

    for order in orders:
        for _ in range(150):
            rho = 0.8 * rho + 0.2 * tilted(-W @ rho / cells, order)
        energies.append(np.mean(rho * np.log(rho)) + rho @ W @ rho / cells**2 / 2)
    energies = np.array(energies) - energies[0]
    top = np.argmax(energies)
    return energies[top], energies[top] - energies[top:].min()


def reversal(sizes=(10, 15, 20), repeats=32):
    """Where both states are stable, the time until a cluster dissolves grows as e^{NΔF}."""
    system = fm.LocalizedAttraction(strength=36.0, width=0.2)
    up, down = barrier(system)
    print(f"γ = 36: barriers {up:.4f} from the uniform state, {down:.4f} from the cluster")
    means = []
    for n in sizes:
        end = 0.15 * np.exp(down * n) * 4
        ts = np.linspace(0, end, 401)

        def one(key, n=n, ts=ts):
            start = 0.5 + 0.03 * jr.normal(jr.fold_in(key, 0), (n, 1))
            look = lambda m: fm.circular_order(fm.Particles(2 * jnp.pi * m.x), 1)  # noqa: E731
            mu = fm.Particles(start, space=fm.Torus())
            return fm.simulate(system, mu, ts, dt=1e-5, key=key, observe=look).ys

        gone = np.asarray(jax.jit(jax.vmap(one))(jr.split(jr.key(3), repeats))) < 0.3
        done = gone.any(1)
        first = np.where(done, ts[np.argmax(gone, axis=1)], end)
        means.append(first.sum() / max(done.sum(), 1))
        print(f"N {n}: {means[-1]:.3f} ± {means[-1] / np.sqrt(max(done.sum(), 1)):.3f}, "
              f"{done.sum()} of {repeats} dissolved by {end:.2f}", flush=True)  # fmt: skip
    slope = np.polyfit(sizes, np.log(means), 1)[0]
    print(f"slope of the log of the time in N: {slope:.4f}, the barrier is {down:.4f}")
    return means


def figure(psi, table, rows, merges, state):
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(2, 3, figsize=(12, 6.4))
    for axis, n, end in ((axes[0, 1], 300, 0.03), (axes[0, 2], 40, 2.0)):
        ts = np.linspace(0, end, 401)
        path = np.asarray(particles(jr.key(5), n, ts, lambda mu: mu.x[:, 0], dt=2.5e-5))
        axis.plot(np.repeat(ts, n), path.ravel(), ",", color="k", alpha=0.5)
        axis.set(xlabel="time", ylabel=f"place of {n}", xlim=(0, end), ylim=(0, 1))
    axes[0, 1].set_title("first clusters")
    axes[0, 2].set_title("clusters exchange mass, coalesce")
    axes[0, 0].plot(MODES, psi, "k-", label=r"$\psi(k)$")
    axes[0, 0].plot(MODES, table, "o", label="grid")
    axes[0, 0].set(xlabel="mode k", ylabel="growth rate", title="modes of the uniform density")
    axes[0, 0].legend()
    number, mean, error = np.array(rows).T
    axes[1, 0].errorbar(number, mean, 2 * error, fmt="o", label="particles")
    axes[1, 0].plot(
        number,
        np.log(number) / (2 * psi.max()) + mean[0] - np.log(number[0]) / (2 * psi.max()),
        "k-",
        label=r"slope $1/2\psi_{max}$",
    )
    axes[1, 0].set(xscale="log", xlabel="N", ylabel="time of the first clusters")
    axes[1, 0].legend()
    number, mean, error = np.array(merges).T
    axes[1, 1].errorbar(number, mean, 2 * error, fmt="o", label="two clusters")
    axes[1, 1].plot(number, mean[-1] * number / number[-1], "k-", label="slope 1")
    axes[1, 1].set(xscale="log", yscale="log", xlabel="N", ylabel="time to coalesce")
    axes[1, 1].legend()
    x, final, gibbs = state
    axes[1, 2].plot(x, final, label="grid")
    axes[1, 2].plot(x, gibbs, "k:", label=r"$e^{-W*\rho}/Z$")
    axes[1, 2].set(xlim=(0.35, 0.65), xlabel="place", title="the clustered state")
    axes[1, 2].legend()
    plt.tight_layout()
    plt.savefig(Path(__file__).with_suffix(".png"), dpi=110)


def main():
    begin = time.time()
    with jax.enable_x64(True):
        rates = growth()
        state = steady()
    rows = clustering(rates[0])
    merges = coalescence()
    figure(*rates, rows, merges, state)
    print(f"{time.time() - begin:.0f} s")


if __name__ == "__main__":
    with jax.enable_x64(sys.argv[1:] != []):
        {"exchange": exchange, "reversal": reversal}.get(" ".join(sys.argv[1:]), main)()
