"""Drift, noise and sharpness of consensus, tuned by derivatives through its runs.

    python benchmarks/consensus_tuning.py [steps of Adam]

A family of problems is drawn; Adam follows the mean derivative of log f(c) at the end of 40 steps
of 50 points over 64 runs a step, in log λ, log σ and the logit of the effective sample size, or
central differences with the same keys. What is found is compared on 512 unseen problems and starts
with where it began, the parameters that `minimize` has by default: medians of f(c), and the mean
gain in log₁₀ f(c) with its standard error.
"""

import sys

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import flowjax_measures as fm
from flowjax_measures.objectives import rastrigin

D, N, STEPS, DT = 5, 50, 40, 0.1


def ellipsoid(key):
    """A rotated ellipsoid of condition 100 around a random place."""
    place, turn = jr.split(key)
    q = jnp.linalg.qr(jr.normal(turn, (D, D)))[0]
    centre = jr.uniform(place, (D,), minval=-3.0, maxval=3.0)
    return lambda x: 100.0 ** jnp.linspace(0, 1, D) @ (q @ (x - centre)) ** 2


def ripples(key):
    centre = jr.uniform(key, (D,), minval=-3.0, maxval=3.0)
    return lambda x: rastrigin(x - centre)


def end(family, gradient, parameters, key):
    """log f(c) at the end of a run."""
    which, start, run = jr.split(key, 3)
    f = family(which)
    rate, sigma, fraction = jnp.exp(parameters[0]), jnp.exp(parameters[1]), parameters[2]
    rule = fm.EffectiveSampleSize(jax.nn.sigmoid(fraction))
    rest = {} if gradient == "differences" else {"gradient": gradient}
    law = fm.ConsensusBased(f, rate, sigma, rule, "anisotropic", **rest)
    mu = fm.Particles(jr.uniform(start, (N, D), minval=-5.0, maxval=5.0))
    final = fm.simulate(law, mu, [0.0, STEPS * DT], dt=DT, key=run, throw=False).final
    return jnp.log(f(law.consensus(final)) + 1e-12)


def tuned(family, gradient, steps, first):
    def loss(parameters, keys):
        return jnp.mean(jax.vmap(lambda k: end(family, gradient, parameters, k))(keys))

    descent = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.03))

    @jax.jit
    def step(carry, key):
        (parameters, state), keys = carry, jr.split(key, 64)
        if gradient == "differences":
            ahead = lambda e: loss(parameters + e, keys) - loss(parameters - e, keys)  # noqa: E731
            slope = jax.lax.map(ahead, 0.1 * jnp.eye(3)) / 0.2
        else:
            slope = jax.grad(loss)(parameters, keys)
        change, state = descent.update(slope, state)
        return (optax.apply_updates(parameters, change), state), None

    carry = first, descent.init(first)
    return jax.lax.scan(step, carry, jr.split(jr.key(1), steps))[0][0]


if __name__ == "__main__":
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    first = jnp.array([0.0, np.log(2.7), np.log(0.05 / 0.95)])
    unseen = jr.split(jr.key(2), 512)
    print("| family | derivative | λ | σ | fraction | median f(c), default | tuned | log₁₀ gain |")
    for family in (ellipsoid, ripples):
        for gradient in ("pathwise", "weights_stopped", "differences"):
            found = tuned(family, gradient, steps, first)
            many = jax.jit(jax.vmap(lambda k, p, f=family: end(f, "pathwise", p, k), (0, None)))
            before, after = np.asarray(many(unseen, first)), np.asarray(many(unseen, found))
            gain = (before - after) / np.log(10)
            rate, sigma = np.exp(found[:2])
            print(
                f"| {family.__name__} | {gradient} | {rate:.2f} | {sigma:.2f} "
                f"| {float(jax.nn.sigmoid(found[2])):.3f} | {np.exp(np.median(before)):.2g} "
                f"| {np.exp(np.median(after)):.2g} "
                f"| {gain.mean():.2f} ± {gain.std() / np.sqrt(gain.size):.2f} |",
                flush=True,
            )
