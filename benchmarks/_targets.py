"""Targets of the samplers: potentials V, with means, deviations and draws of e^{−V}/Z.

Banana, funnel and mixture have exact draws; the two regressions and the hierarchical model have
those of a long run of blackjax's NUTS.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np


class Target(NamedTuple):
    """V on R^d, draws of its law, and the step of an explicit scheme that is stable there."""

    potential: Callable[[Any], Any]
    dimension: int
    draws: jax.Array
    step: float


def banana(x):
    return x[0] ** 2 / 2 + (x[1] - x[0] ** 2 / 2) ** 2 / (2 * 0.5**2)


def funnel(x):
    return x[0] ** 2 / 2 + x[1] ** 2 * jnp.exp(-x[0]) / 2 + x[0] / 2


def mixture(x):
    centres = jnp.array([[2.0, 0.0], [-2.0, 0.0]])
    square = jnp.sum((x - centres) ** 2, -1)
    return -jax.nn.logsumexp(-square / (2 * 0.6**2), b=jnp.array([0.7, 0.3]))


def logistic(z, label):
    """Bayesian logistic regression with the prior N(0, I): standardised features and a constant."""
    z = np.asarray(z, float)
    z = (z - z.mean(0)) / np.maximum(z.std(0), 1e-12)
    z = jnp.asarray(np.concatenate([np.ones((len(z), 1)), z], 1), jnp.float32)
    sign = jnp.asarray(np.where(label, 1.0, -1.0), jnp.float32)
    return lambda x: jnp.sum(jax.nn.softplus(-sign * (z @ x))) + jnp.vdot(x, x) / 2


def cancer(features=10):
    """The breast cancer data that scikit-learn ships, 569 patients."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    return logistic(data.data[:, :features], data.target)


def digits(blocks=4):
    """Threes against eights of the digits that scikit-learn ships, in blocks² means of pixels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    chosen = np.isin(data.target, (3, 8))
    side = 8 // blocks
    images = data.images[chosen].reshape(-1, blocks, side, blocks, side).mean((2, 4))
    return logistic(images.reshape(len(images), -1), data.target[chosen] == 3)


def schools(x):
    """Eight schools (Rubin 1981): effects μ + τz_i, z ~ N(0, I), μ ~ N(0, 5²), log τ ~ N(1, 1)."""
    effect = jnp.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    error = jnp.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
    mean, log_tau, z = 5 * x[0], 1 + x[1], x[2:]
    gap = (effect - mean - jnp.exp(log_tau) * z) / error
    return jnp.vdot(x, x) / 2 + jnp.vdot(gap, gap) / 2


def exact(name, key, n=20_000):
    z = jr.normal(key, (n, 2))
    if name == "banana":
        return jnp.stack([z[:, 0], z[:, 0] ** 2 / 2 + 0.5 * z[:, 1]], 1)
    if name == "funnel":
        return jnp.stack([z[:, 0], jnp.exp(z[:, 0] / 2) * z[:, 1]], 1)
    sign = jnp.where(jr.uniform(jr.fold_in(key, 1), (n,)) < 0.7, 2.0, -2.0)
    return 0.6 * z + jnp.stack([sign, jnp.zeros(n)], 1)


def nuts(potential, d, draws, warm=1000, seed=0):
    """Draws of blackjax's NUTS after its adaptation, with the gradients that each of them took."""
    import blackjax

    log_density = lambda x: -potential(x)  # noqa: E731
    adaptation = blackjax.window_adaptation(blackjax.nuts, log_density)
    (state, tuned), told = adaptation.run(jr.key(seed), jnp.zeros(d), num_steps=warm)
    step = blackjax.nuts(log_density, **tuned).step

    def one(state, key):
        state, info = step(key, state)
        return state, (state.position, info.num_integration_steps)

    keys = jr.split(jr.key(seed + 1), draws)
    _, (points, cost) = jax.jit(lambda s: jax.lax.scan(one, s, keys))(state)
    return points, np.asarray(cost), int(np.sum(told.info.num_integration_steps))


def target(name) -> Target:
    """By name: banana, funnel, mixture, cancer, digits or schools."""
    if name in ("banana", "funnel", "mixture"):
        potential = {"banana": banana, "funnel": funnel, "mixture": mixture}[name]
        return Target(potential, 2, exact(name, jr.key(2)), 0.02)
    potential, d, step = {
        "cancer": lambda: (cancer(), 11, 2e-3),
        "digits": lambda: (digits(), 17, 5e-3),
        "schools": lambda: (schools, 10, 0.05),
    }[name]()
    draws, cost, _ = nuts(potential, d, 20_000, seed=7)
    print(f"{name}: the truth by NUTS, {cost.mean():.1f} gradients a draw")
    return Target(potential, d, draws, step)
