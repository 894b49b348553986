"""Games"""

import diffrax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt

import flowjax_measures as fm

# %% Game
# Two clouds play min–max for a bilinear payoff with a little convexity: their means spiral to the
# saddle (black). Explicit steps of the same length spiral out; each of the variational movement
# scheme is a Nash equilibrium.
pay = lambda x, y: 0.2 * jnp.vdot(x, x) / 2 - 0.2 * jnp.vdot(y, y) / 2 + jnp.vdot(x, y)
game = fm.Game(
    {
        "x": lambda mu: fm.PotentialEnergy(lambda x: mu["y"].mean(lambda y: pay(x, y))),
        "y": lambda mu: fm.PotentialEnergy(lambda y: -mu["x"].mean(lambda x: pay(x, y))),
    }
)
state = {name: fm.Particles(2 + jr.normal(jr.key(i), (20, 1))) for i, name in enumerate("xy")}
means = {name: lambda mu, name=name: mu[name].mean()[0] for name in "xy"}
for solver, name in ((diffrax.Euler(), "explicit"), (fm.VariationalMovement(0.5), "implicit")):
    run = fm.simulate(game, state, jnp.arange(0.0, 12.0, 0.5), dt=0.5, solver=solver, observe=means)
    plt.plot(run.ys["x"], run.ys["y"], "o-", markersize=3, label=name)
plt.plot(0, 0, "ko")
plt.xlabel("mean of x")
plt.ylabel("mean of y")
plt.legend()
