"""A phase diagram in one call: noisy rotors that attract each other, over coupling and noise.

dθ = K (1/n) Σ_j sin(θ_j − θ) dt + σ dW orders above K = σ², with r = I₁(2Kr/σ²) / I₀(2Kr/σ²).

`python examples/sweep.py [PICTURE [FOLDER]]`; with a folder it can be stopped and started again.
"""

import math
import sys
import time

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import brentq
from scipy.special import ive

import flowjax_measures as fm


class Rotors(fm.AbstractMeanField):
    """Angles that turn towards each other."""

    coupling: float
    sigma: float

    def rates(self, t, x, mu):
        cos, sin = mu.mean(lambda y: (jnp.cos(y), jnp.sin(y)))
        pull = sin * jnp.cos(x) - cos * jnp.sin(x)
        return fm.Rates(self.coupling * pull, fm.Isotropic(self.sigma))


def order(p, key):
    """|mean of e^{iθ}| averaged over the second half of the run."""
    start = fm.initial.normal(key, 400, 1, scale=0.3)
    run = fm.simulate(
        Rotors(p["coupling"], p["sigma"]), start, np.linspace(0, 30, 31), dt=0.02, key=key,
        observe=fm.circular_order, throw=False,
    )  # fmt: skip
    return jnp.mean(run.ys[15:])


def theory(coupling: float, sigma: float) -> float:
    """The positive solution of r = I₁/I₀(2Kr/σ²), 0 below the transition."""
    gap = lambda r: ive(1, 2 * coupling * r / sigma**2) / ive(0, 2 * coupling * r / sigma**2) - r  # noqa: E731
    return brentq(gap, 1e-6, 1.0) if coupling > sigma**2 * (1 + 1e-9) else 0.0


couplings, sigmas = np.linspace(0.1, 4.0, 24), np.linspace(0.4, 2.0, 17)
start = time.perf_counter()
result = fm.sweep(
    order, {"coupling": couplings, "sigma": sigmas}, seeds=4, progress=True,
    folder=sys.argv[2] if len(sys.argv) > 2 else None,
)  # fmt: skip
seconds = time.perf_counter() - start
mean = result.values.mean(axis=-1)
exact = np.array([[theory(k, s) for s in sigmas] for k in couplings])
# Around the transition fluctuations of n = 400 rotors are not small.
away = np.abs(couplings[:, None] / sigmas**2 - 1) > 0.5
far = np.abs(mean - exact)[away & (exact > 0)].max()
print(
    f"{result.values.size} runs in {seconds:.1f} s; largest error of r in the ordered phase, away"
)
print(f"from the transition: {far:.3f} (1/√n = {1 / math.sqrt(400):.3f})")

_, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
image = left.pcolormesh(sigmas, couplings, mean, vmin=0, vmax=1)
left.plot(sigmas, sigmas**2, "w--", label="K = σ²")
left.set(xlabel="σ", ylabel="K", title="order r of 400 rotors", ylim=(couplings[0], couplings[-1]))
left.legend(loc="upper left")
plt.colorbar(image, ax=left)
for j, color in ((6, "C0"), (12, "C1")):
    right.plot(couplings, result.values[:, j], ".", color=color, ms=4)
    right.plot(couplings, exact[:, j], color=color, label=f"σ = {sigmas[j]:.1f}: n → ∞")
right.set(xlabel="K", ylabel="r", title="four seeds each, and the theory")
right.legend()
plt.tight_layout()
plt.savefig(sys.argv[1] if len(sys.argv) > 1 else "sweep.png", dpi=110)
