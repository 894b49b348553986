"""Sums on the line and on slices by sorting, beside sums over pairs, NumPy, POT and ott.

    python benchmarks/sorting.py

float32, milliseconds of CPU time, the best of interleaved runs.
"""

from functools import partial

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from attention import best

import flowjax_measures as fm
from flowjax_measures._reduce import sort_order


def report(title, functions, repeats=3):
    found = best(functions, repeats)
    print(
        title,
        "  ".join(f"{k} {c * 1e3:.2f} ({w * 1e3:.2f})" for k, (c, w) in found.items()),
        flush=True,
    )


def main():
    print(f"jax {jax.__version__}, ms of CPU (wall)")
    s = jr.normal(jr.key(0), (50, 1000), jnp.float32)
    array = np.asarray(s)
    order, compared = jax.jit(jax.vmap(sort_order)), jax.jit(lambda s: jnp.argsort(s, axis=1))
    report("argsort 50 x 1000:", {
        "here": lambda: order(s), "XLA": lambda: compared(s), "NumPy": lambda: np.argsort(array, 1),
    }, 9)  # fmt: skip

    x, y = jr.normal(jr.key(1), (2, 1000, 3), jnp.float32)
    theta = fm.sphere_directions(jr.key(2), 50, 3).astype(jnp.float32)
    energy = fm.SlicedWasserstein(fm.Particles(y), theta)
    drift = jax.jit(lambda x: fm.GradientFlow(energy)(0.0, fm.Particles(x)).drift.x)
    value = jax.jit(jax.value_and_grad(lambda x: energy(fm.Particles(x))))
    paths = {"velocity": lambda: drift(x), "value and gradient": lambda: value(x)}
    try:
        import ot

        a, b, t = (np.asarray(v) for v in (x, y, theta.T))
        paths["POT, NumPy, value only"] = lambda: ot.sliced_wasserstein_distance(
            a, b, projections=t
        )
    except ImportError:
        pass
    paths["ott, value and gradient"] = lambda: by_ott(x, y, theta)
    report("sliced, 1000 points x 50 directions:", paths, 9)

    for d, n in ((1, 20_000), (1, 1_000_000), (3, 20_000)):
        x, y = jr.normal(jr.key(3), (2, n, d), jnp.float32)
        distance = jax.jit(jax.value_and_grad(distance_to(fm.Particles(y))))
        title = f"energy distance and gradient, d {d}, n {n}:"
        report(title, {"sorted" if d == 1 else "pairs": partial(distance, x)}, 1)


@jax.jit
def by_ott(x, y, theta):
    from ott.tools import sliced

    def value(x):
        return sliced.sliced_wasserstein(x, y, proj_fn=lambda x: x @ theta.T)[0]

    return jax.value_and_grad(value)(x)


def distance_to(nu):
    return lambda x: fm.energy_distance(fm.Particles(x), nu)


if __name__ == "__main__":
    main()
