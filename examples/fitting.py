"""Dynamics from data: kernels from velocities, and what entropic couplings do to a drift.

`python examples/fitting.py [PICTURE]`
"""

import sys

import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np

import flowjax_measures as fm

jax.config.update("jax_enable_x64", True)

_, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5))


def opinions(r):
    """Near opinions attract a little, less near ones more, far ones not at all."""
    return jnp.where(r < 1 / np.sqrt(2), 0.1, jnp.where(r < 1, 1.0, 0.0))


def molecules(r):
    """Lennard-Jones, held below r = 0.7."""
    r = jnp.maximum(r, 0.7)
    return 12 * (r**-8 - r**-14) / 20


for color, (name, influence, n, d) in enumerate(
    (("ten opinions", opinions, 10, 1), ("seven molecules / 20", molecules, 7, 2))
):
    law, states = fm.RadialInteraction(influence), []
    for k in range(20):
        start = fm.Particles(1.2 * jr.normal(jr.key(k), (n, d)))
        run = fm.simulate(law, start, np.linspace(0, 0.5, 4), dt=0.01)
        states += [fm.Particles(x) for x in run.ys.x]
    speed = jax.jit(lambda x, law=law: law(jnp.zeros(()), fm.Particles(x)).drift.x)
    velocities = [speed(mu.x) for mu in states]
    basis = fm.PiecewiseLinear(jnp.linspace(0, 4, 41))
    found = fm.regress(
        fm.RadialInteraction(basis), (np.arange(len(states)), states), velocities,
        where=lambda s: s.influence.values,
    )  # fmt: skip
    r = np.linspace(0.3, 2.5, 400)
    left.plot(r, influence(jnp.asarray(r)), color="0.6", lw=4)
    left.plot(r, found.system.influence(jnp.asarray(r)), color=f"C{color}", lw=1, label=name)
    print(f"{name}: residual {found.residual / found.scale:.3f} of the velocity")
left.set(title="influence φ(r): truth (grey) and 41 hats", xlabel="r", ylim=(-1.6, 1.3))
left.legend()

ts = np.linspace(0, 1, 5)
x = 0.5 * jr.normal(jr.key(0), (80, 2))
cells = [fm.Particles(jr.permutation(jr.key(k), x) * np.exp(-t)) for k, t in enumerate(ts)]
levels = np.array([0.01, 0.03, 0.1])
for debias in (False, True):
    rates = []
    for epsilon in levels:
        plans = fm.couple(ts, cells, epsilon=float(epsilon), debias=debias)
        law = fm.regress(
            fm.McKeanVlasov(fm.Quadratic(0.5), beta=None), (ts[1:], cells[1:]),
            plans.velocities("end"), where=lambda s: s.potential.stiffness,
        )  # fmt: skip
        rates.append(float(law.system.potential.stiffness))
    right.semilogx(levels, rates, "o-", label="debiased" if debias else "entropic")
    print("debiased" if debias else "entropic", np.round(rates, 3), "for", levels)
exact = (np.exp(ts[1]) - 1) / ts[1]
right.axhline(exact, color="0.6", ls=":", label="exact plans")
right.set(title="the rate θ = 1 from plans, ends of intervals", xlabel="ε")
right.legend()
plt.tight_layout()
plt.savefig(sys.argv[1] if len(sys.argv) > 1 else "fitting.png", dpi=110)
