"""Ensemble inversion: rates of predators and prey from noisy counts.

`python examples/ensemble_inversion.py [--fast]` writes `ensemble_inversion.png`.
"""

import sys

import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt

import flowjax_measures as fm

jax.config.update("jax_enable_x64", True)  # Stiff at first.
fast = "--fast" in sys.argv
n, end = (20, 1.0) if fast else (200, 100.0)


def counts(log_rates):
    """Log of prey and predators at 20 times, by Heun's method."""
    birth, eaten, food, death = jnp.exp(log_rates)

    def slope(z):
        prey, predators = jnp.exp(z)
        return jnp.stack([birth - eaten * predators, food * prey - death])

    def step(z, _):
        middle = z + 0.1 * slope(z)
        # Some guesses explode.
        new = jnp.clip(z + 0.05 * (slope(z) + slope(middle)), -3.0, 3.0)
        return new, new

    return jax.lax.scan(step, jnp.array([0.5, 0.0]), length=100)[1][4::5].ravel()


truth = jnp.log(jnp.array([0.8, 0.6, 0.5, 0.7]))
noise = 0.1
data = counts(truth) + noise * jr.normal(jr.key(0), (40,))
prior = fm.Particles(truth.mean() + 0.2 * jr.normal(jr.key(1), (n, 4)))
law = fm.EnsembleKalmanInversion(counts, data, noise**2)
final = fm.simulate(law, prior, [0.0, end]).final
found = jnp.exp(final.mean())
times = jnp.arange(1, 21) * 0.5
plt.plot(times, jnp.exp(data).reshape(20, 2), "o")
plt.gca().set_prop_cycle(None)
plt.plot(times, jnp.exp(counts(final.mean())).reshape(20, 2))
plt.legend(["prey", "predators"])
plt.savefig("ensemble_inversion.png", dpi=110)
error = jnp.max(jnp.abs(found / jnp.exp(truth) - 1))
print(
    f"rates {', '.join(f'{r:.2f}' for r in found)} (true 0.80, 0.60, 0.50, 0.70), {error:.0%} off"
)
