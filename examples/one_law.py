"""One law from three measures: the interacting SDE, its Gaussian closure, and its PDE.

    python examples/one_law.py [wide.webp [tall.webp]]

Points in a quartic well feel each other and noise. The same object is run from particles, from a
Gaussian and from a density; the last line tells how far their means and variances are apart.
"""

import sys

import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt

import flowjax_measures as fm
from flowjax_measures import plot

law = fm.McKeanVlasov(lambda x: jnp.sum(x**4) / 4, fm.QuadraticKernel(1.0), beta=4.0)
ts = jnp.linspace(0.0, 3.0, 61)
start = fm.Gaussian(jnp.array([2.0]), jnp.array([[0.16]]))
places = (jnp.arange(160) + 0.5) / 160 * 6 - 2
rho = jnp.exp(-((places - 2.0) ** 2) / 0.32) / jnp.sqrt(0.32 * jnp.pi)

sde = fm.simulate(law, fm.Particles(start.sample(jr.key(0), 500)), ts, dt=0.01, key=jr.key(1))
closure = fm.simulate(law, start, ts)
pde = fm.simulate(law, fm.GridDensity(rho, -2.0, 4.0), ts)

FORMS = dict(nrows=1, ncols=3, figsize=(10, 2.9)), dict(nrows=3, ncols=1, figsize=(4, 7.5))
for path, form in zip(sys.argv[1:] or ["one_law.png"], FORMS, strict=False):
    with plot.style():
        figure, axes = plt.subplots(**form, sharey=True, layout="constrained")
        plot.trajectory(sde, ax=axes[0], color="C0", alpha=0.15).set_title("Particles: the SDE")
        plot.trajectory(closure, ax=axes[1]).set_title("Gaussian: its closure")
        plot.trajectory(pde, ax=axes[2]).set(title="GridDensity: its PDE", ylim=(-1.5, 3.5))
        figure.savefig(path, dpi=110)

ends = [run.final for run in (sde, closure, pde)]
means = [float(mu.mean()[0]) for mu in ends]
variances = [float(mu.covariance()[0, 0]) for mu in ends]
print(
    "mean and variance at t = 3: "
    + ", ".join(
        f"{type(mu).__name__} {m:.3f} {v:.3f}"
        for mu, m, v in zip(ends, means, variances, strict=True)
    )
)
