"""SGD beside its limits: weak errors over step sizes, and two points under the same minibatches.

`python examples/sgd.py [PICTURE]`
"""

import sys

import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
import optax

import flowjax_measures as fm

jax.config.update("jax_enable_x64", True)


def loss(params, example):
    """Squares of linear regression."""
    z, y = example
    return (jnp.vdot(z, params) - y) ** 2 / 2


data = jr.normal(jr.key(11), (5, 2)), jr.normal(jr.key(12), (5,))
points = fm.Particles(jnp.array([[1.0, -0.5], [0.2, 0.7]]))
_, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5))

weak = fm.compare(loss, data, [1 / 10, 1 / 20, 1 / 40, 1 / 80], points)
weak.plot(left)
left.set_title("weak errors at time 1, exact moments")
for name, slope in weak.slopes.items():
    print(f"{name}: slope {slope.value:.3f} [{slope.lower:.3f}, {slope.upper:.3f}]")

eta, ts = 0.05, np.arange(0, 3.01, 0.05)
sgd = fm.minibatch(loss, data, 1, optax.sgd(eta))
flow = fm.StochasticModifiedFlow(loss, data, eta, 1)
risk = fm.PotentialEnergy(lambda x: jnp.mean(jax.vmap(lambda e: loss(x, e))(data)))
runs = {
    "SGD, the same minibatches": fm.simulate(sgd, points, ts, dt=eta, key=jr.key(0)),
    "modified flow, the same noise": fm.simulate(
        flow, points, ts, dt=eta / 8, key=jr.key(0), solver=fm.SmallNoiseHeun()
    ),
    "gradient flow": fm.simulate(fm.GradientFlow(risk), points, ts),
}
for (name, run), color in zip(runs.items(), ("C0", "C1", "0.3"), strict=True):
    path = np.asarray(run.ys.x)
    right.plot(path[:, 0, 0], path[:, 0, 1], color=color, lw=1, label=name)
    right.plot(path[:, 1, 0], path[:, 1, 1], color=color, lw=1)
right.plot(*np.asarray(points.x).T, "ko", ms=4)
right.set(title=f"two initial points, η = {eta}", xlabel="θ₁", ylabel="θ₂")
right.legend(fontsize=8)
plt.tight_layout()
plt.savefig(sys.argv[1] if len(sys.argv) > 1 else "sgd.png", dpi=110)
