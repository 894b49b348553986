"""Filter errors on Lorenz-63 and Lorenz-96, beside the tables of Sakov et al. (2012, 2008) and the
figures in DAPPER's `mods/Lorenz63/sakov2012.py` and `mods/Lorenz96/sakov2008.py`.

    JAX_ENABLE_X64=1 python benchmarks/consensus_filters.py

Analysis error: root mean square over coordinates, averaged over time after a burn-in, and its
standard error over independent twins.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import flowjax_measures as fm
from flowjax_measures.systems.consensus import gaspari_cohn


def lorenz63(x):
    return jnp.stack([10 * (x[1] - x[0]), x[0] * (28 - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]])


def lorenz96(x):
    return (jnp.roll(x, -1) - jnp.roll(x, 2)) * jnp.roll(x, 1) - x + 8.0


def march(field, h, steps):
    """Runge–Kutta 4."""

    def step(x, _):
        a = field(x)
        b = field(x + h / 2 * a)
        c = field(x + h / 2 * b)
        d = field(x + h * c)
        return x + h / 6 * (a + 2 * b + 2 * c + d), None

    return lambda x: jax.lax.scan(step, x, None, length=steps)[0]


def error(dynamics, x0, variance, noise, n, cycles, burn, key, **kwargs):
    keys = jr.split(key, 4)
    truth = x0 + jnp.sqrt(variance) * jr.normal(keys[0], x0.shape)
    _, path = jax.lax.scan(lambda x, _: (dynamics(x),) * 2, truth, None, length=cycles)
    data = path + jnp.sqrt(noise) * jr.normal(keys[1], path.shape)
    start = x0 + jnp.sqrt(variance) * jr.normal(keys[2], (n, x0.size))
    result = fm.kalman_filter(
        dynamics, lambda x: x, fm.Particles(start), data, noise, key=keys[3], **kwargs
    )
    return jnp.mean(jnp.sqrt(jnp.mean((result.mean - path) ** 2, axis=1))[burn:])


def report(name, sakov, dapper, twins, *args, **kwargs):
    run = jax.jit(jax.vmap(lambda key: error(*args, key, **kwargs)))
    values = np.asarray(run(jr.split(jr.key(0), twins)))
    mean, spread = values.mean(), values.std() / np.sqrt(twins)
    print(f"| {name} | {sakov} | {dapper} | {mean:.3f} ± {spread:.3f} |", flush=True)


if __name__ == "__main__":
    print("| filter | Sakov | DAPPER | here |\n|---|---|---|---|")
    root = dict(form="square_root", rotate=True)
    l63 = march(lorenz63, 0.01, 25), jnp.array([1.509, -1.531, 25.46]), 2.0, 2.0
    name = "Lorenz-63, square root, N = 10, inflation 1.02, rotations"
    report(name, "0.65", "0.60", 16, *l63, 10, 1000, 64, inflation=1.02, **root)
    name = "Lorenz-63, stochastic, N = 10, inflation 1.04"
    report(name, "", "0.65", 16, *l63, 10, 1000, 64, inflation=1.04)
    name = "Lorenz-63, stochastic, N = 10, inflation 1.08"
    report(name, "", "0.65 at 1.04", 16, *l63, 10, 1000, 64, inflation=1.08)
    name = "Lorenz-63, stochastic, N = 100, inflation 1.01"
    report(name, "", "0.56", 8, *l63, 100, 1000, 64, inflation=1.01)
    l96 = march(lorenz96, 0.05, 1), jnp.full(40, 8.0).at[0].add(0.01), 0.001, 1.0
    name = "Lorenz-96, stochastic, N = 40, inflation 1.06"
    report(name, "0.22", "0.22", 4, *l96, 40, 1000, 400, inflation=1.06)
    name = "Lorenz-96, stochastic, N = 28, inflation 1.08"
    report(name, "", "0.24", 4, *l96, 28, 1000, 400, inflation=1.08)
    name = "Lorenz-96, square root, N = 24, inflation 1.013, rotations"
    report(name, "", "0.18", 4, *l96, 24, 1000, 400, inflation=1.013, **root)
    name = "Lorenz-96, square root, N = 28, inflation 1.02, rotations"
    report(name, "0.18", "0.18", 4, *l96, 28, 1000, 400, inflation=1.02, **root)
    i = np.arange(40)
    gap = np.minimum(abs(i[:, None] - i), 40 - abs(i[:, None] - i))
    taper = gaspari_cohn(jnp.asarray(gap / (4 * 1.82)))
    local = dict(root, localization=(taper, taper))
    name = "Lorenz-96, local square root, N = 7, inflation 1.04, radius 4, rotations"
    report(name, "", "0.22", 4, *l96, 7, 1000, 400, inflation=1.04, **local)
