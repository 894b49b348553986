"""Swarms: self-propelled points that attract each other turn in a mill.

`python examples/swarms.py [--fast]` writes `swarms.png` and the film `swarms.gif`.
"""

import sys

import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt

import flowjax_measures as fm
from flowjax_measures import plot

fast = "--fast" in sys.argv
n, end, frames = (20, 5.0, 3) if fast else (200, 60.0, 61)
q = jr.normal(jr.key(0), (n, 2))
p = jnp.stack([-q[:, 1], q[:, 0]], 1) + 0.3 * jr.normal(jr.key(1), (n, 2))
law = fm.Swarming(2.0, 2.0, 20.0, 1.0, attraction_length=10.0, repulsion_length=0.2)
run = fm.simulate(law, fm.Particles(fm.Phase(q, p)), jnp.linspace(0.0, end, frames))
plot.animation(run, "swarms.gif", s=10)
figure, ax = plt.subplots()
z = run.final.x
speed = jnp.linalg.norm(z.p, axis=1)
image = ax.quiver(*z.q.T, *z.p.T, speed, pivot="mid")
figure.colorbar(image, label="speed")
ax.set_aspect("equal")
figure.savefig("swarms.png", dpi=110)
moment = z.q[:, 0] * z.p[:, 1] - z.q[:, 1] * z.p[:, 0]
turning = jnp.mean(moment) / jnp.mean(jnp.linalg.norm(z.q, axis=1) * speed)
print(f"{n} points: mean speed {jnp.mean(speed):.3f} (√(a/b) = 1), share that turns {turning:.2f}")
