"""Geometry: a film in equilibrium, and the heat equation by semi-unbalanced transport.

`python examples/geometry.py [--fast]` writes `geometry.png`.
"""

import sys

import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np

import flowjax_measures as fm

jax.config.update("jax_enable_x64", True)
fast = "--fast" in sys.argv
figure, (left, right, plane) = plt.subplots(1, 3, figsize=(12, 3.4))

n, beta, films = 8, 2.0, 4 if fast else 600
start = fm.GridDensity(jnp.ones(n), 0.0, 1.0, True)
k = np.arange(1, n // 2 + 1)
exact = 1 / (beta * (2 * n * np.sin(np.pi * k / n)) ** 2)
for corrected in (True, False):
    law = fm.ThinFilm(beta, corrected=corrected)

    def heights(key, law=law):
        ts = np.linspace(0.0, 0.001 if fast else 0.01, 5)
        return fm.simulate(law, start, ts, dt=5e-7, key=key).ys.rho[1:]

    h = jax.lax.map(heights, jr.split(jr.key(0), films), batch_size=100)
    power = (jnp.abs(jnp.fft.rfft(h - 1)[..., 1:]) ** 2 / n**2).mean(1) / exact
    error = power.std(0) / films**0.5
    style = dict(color="C0") if corrected else dict(color="C3", mfc="w")
    left.errorbar(k, power.mean(0), error, fmt="o", **style)
left.axhline(1, color="0.7")
left.set(xlabel="wave number", ylabel="variance / exact")

grid, tau = fm.GridDensity(jnp.ones(20 if fast else 60), -4.0, 4.0), 0.3
x = grid.centres()[:, 0]
rho = jnp.exp(-4 * (x - 0.5) ** 2) + jnp.exp(-4 * (x + 1) ** 2) / 2
rho = rho / (rho.sum() * grid.cell)
heat = fm.simulate(
    fm.GradientFlow(fm.Entropy()), fm.GridDensity(rho, -4.0, 4.0), tau * np.arange(5.0), dt=2e-3
)
for i in range(1, 3 if fast else 5):
    mu = fm.GridDensity(rho, -4.0, 4.0)
    step = fm.unbalanced_transport(mu, grid, None, fm.KullbackLeibler(2 * tau))
    rho = step.plan.sum(0) / grid.cell
    if i != 3:
        right.plot(x, rho, color="C0")
        right.plot(x, heat.ys.rho[i], "k--", lw=0.8)
right.set(xlabel="x")
gap = float(jnp.sum(jnp.abs(rho - heat.ys.rho[i])) * grid.cell)

# In the plane, out of two peaks; the heat equation there in closed form.
m, tau = 12 if fast else 44, 0.1
square = fm.GridDensity(jnp.ones((m, m)), -3.0 * jnp.ones(2), 3.0 * jnp.ones(2))
x = square.centres().reshape(-1, 2)
peaks = jnp.array([[-0.8, -0.5], [0.9, 0.6]])


def closed(t):
    s = 0.1 + 2 * t
    squares = jnp.sum((x[:, None] - peaks) ** 2, -1)
    return jnp.mean(jnp.exp(-squares / (2 * s)) / (2 * jnp.pi * s), 1)


spots = closed(0.0)
for _ in range(2):
    mu = fm.GridDensity(spots.reshape(m, m), square.lower, square.upper)
    step = fm.unbalanced_transport(mu, square, None, fm.KullbackLeibler(2 * tau))
    spots = step.plan.sum(0) / square.cell
exact = closed(2 * tau)
axes = np.asarray(x).reshape(m, m, 2).transpose(2, 0, 1)
levels = np.linspace(0.1, 0.9, 5) * float(exact.max())
plane.contour(*axes, spots.reshape(m, m), levels, colors="C0")
plane.contour(*axes, exact.reshape(m, m), levels, colors="k", linestyles="--", linewidths=0.8)
plane.set(aspect="equal", xlabel="x", ylabel="y")
gap_plane = float(jnp.sum(jnp.abs(spots - exact)) * square.cell)
figure.tight_layout()
figure.savefig("geometry.png", dpi=110)
print(
    f"film: {films} runs of {n} cells; heat equation: {gap:.3f} in L1 after {i} steps, "
    f"{gap_plane:.3f} in the plane after 2"
)
