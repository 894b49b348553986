"""What fresh populations of 100 can tell of the kernel problem, and what distances make of it.

Plain JAX, independent of the library. Summaries of simulated populations have means, covariances
and derivatives, and so a Fisher information; an estimator that minimises a distance has the errors
H⁻¹ C H⁻¹ of its gradient's covariance C and mean Hessian H at the truth, and the bias −H⁻¹ E∇.

Run: `python benchmarks/fit_information.py`. Figures in README.md.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

jax.config.update("jax_enable_x64", True)

DT, TRUTH = 0.1, jnp.log(jnp.array([1.0, 2.0, 0.6]))
ANGLES = np.pi * (np.arange(32) + 0.5) / 32


def velocity(x, theta):
    a, b, length = theta
    z = x[:, None] - x[None]
    weight = b / length**2 * jnp.exp(-jnp.sum(z**2, -1) / (2 * length**2)) - a
    return jnp.einsum("ij,ijd->id", weight, z) / len(x)


def run(logs, x):
    """Snapshots at t = 0.4, 0.8, …, 2."""
    theta = jnp.exp(logs)

    def step(x, _):
        k1 = velocity(x, theta)
        k2 = velocity(x + DT / 2 * k1, theta)
        k3 = velocity(x + DT / 2 * k2, theta)
        k4 = velocity(x + DT * k3, theta)
        return x + DT / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

    def interval(x, _):
        x = jax.lax.scan(step, x, None, length=4)[0]
        return x, x

    return jax.lax.scan(interval, x, None, length=5)[1]


def summaries(x):
    x = x - x.mean(0)
    square, d, n = jnp.sum(x**2, 1), jnp.sum((x[:, None] - x) ** 2, -1), len(x)
    near = [jnp.sum(jnp.exp(-d / (2 * h * h))) / (n * (n - 1)) for h in (0.1, 0.2, 0.4, 0.8, 1.6)]
    radii = [jnp.mean(jnp.exp(-square / (2 * h * h))) for h in (0.4, 0.8, 1.2)]
    return jnp.stack([jnp.log(square.mean()), jnp.log((square**2).mean()), *near, *radii])


def difference(function):
    """Derivatives in log-parameters of a function with a leading axis of draws, averaged."""
    moved = [[function(TRUTH.at[i].add(s * 0.02)) for s in (1, -1)] for i in range(3)]
    return np.stack([(np.asarray(p) - np.asarray(m)).mean(0) / 0.04 for p, m in moved], -1)


def information(count=400):
    x = jr.normal(jr.key(5), (count, 100, 2))
    found = jax.jit(
        lambda u: jax.lax.map(lambda x: jax.vmap(summaries)(run(u, x)), x, batch_size=20)
    )
    values, slopes = np.asarray(found(TRUTH)), difference(found)
    for name, which in {"all": range(10), "second and fourth moments": [0, 1]}.items():
        which = list(which)
        total = sum(
            slopes[k][which].T @ np.linalg.solve(np.cov(values[:, k][:, which].T), slopes[k][which])
            for k in range(5)
        )
        print(f"{name}: errors {100 * np.sqrt(np.diag(np.linalg.inv(total)))} %", flush=True)


def distances(x, y):
    return jnp.sqrt(jnp.maximum(jnp.sum((x[:, None] - y) ** 2, -1), 1e-18))


def energy_distance(x, y):
    n = len(x)
    return 2 * distances(x, y).mean() - distances(x, x).sum() / (n * (n - 1))


def sliced(x, y):
    directions = jnp.asarray(np.stack([np.cos(ANGLES), np.sin(ANGLES)]))
    x, y = jnp.sort(x @ directions, 0), jnp.sort(y @ directions, 0)
    return jnp.mean((x - jnp.repeat(y, len(x) // len(y), axis=0)) ** 2)


def sandwich(name, distance, n, repeats=60):
    starts = jr.normal(jr.key(7), (repeats, n, 2))
    fresh = jr.normal(jr.key(8), (repeats * 5, 100, 2))
    data = jax.jit(lambda: jax.lax.map(lambda x: run(TRUTH, x), fresh, batch_size=20))()
    data = data.reshape(repeats, 5, 5, 100, 2)[:, jnp.arange(5), jnp.arange(5)]

    def loss(logs, x, y):
        return jnp.mean(jnp.stack([distance(a, b) for a, b in zip(run(logs, x), y, strict=True)]))

    slopes = jax.jit(lambda u: jax.lax.map(lambda pair: jax.jacfwd(loss)(u, *pair), (starts, data)))
    gradient, hessian = np.asarray(slopes(TRUTH)), difference(slopes)
    inverse = np.linalg.inv((hessian + hessian.T) / 2)
    errors = np.sqrt(np.diag(inverse @ np.cov(gradient.T) @ inverse))
    bias = -inverse @ gradient.mean(0)
    print(f"{name}, run of {n}: errors {100 * errors} %, bias {100 * bias} %", flush=True)


if __name__ == "__main__":
    np.set_printoptions(precision=1, suppress=True)
    information()
    for size in (100, 400):
        sandwich("energy distance", energy_distance, size)
        sandwich("sliced distance", sliced, size)
