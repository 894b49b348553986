"""Handwritten digits: a network learns to draw them, any or the one that is asked for.

`python examples/digits.py [--fast]` writes `digits.png`. The data are scikit-learn's 1797 pictures
of 8 × 8 pixels; a classifier that saw the real ones alone reads what was drawn.
"""

import sys
import time

import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.svm import SVC

import flowjax_measures as fm

fast = "--fast" in sys.argv
begin = time.perf_counter()
pixels, labels = load_digits(return_X_y=True)
pixels = (pixels / 8 - 1).astype(np.float32)
order = np.random.default_rng(0).permutation(len(pixels))
train, test = order[:1400], order[1400:]

# One velocity for every label and for none: a tenth of the labels are hidden.
data = fm.Particles((jnp.asarray(pixels[train]), jnp.asarray(labels[train])))
source = fm.Gaussian(jnp.zeros(64), jnp.eye(64))


def loss(velocity, key):
    return fm.conditional_flow_matching_loss(velocity, source, data, key, 128)


network = fm.MLP(64, width=32 if fast else 384, labels=10, key=jr.key(0))
steps = 100 if fast else 6000
result = fm.learn(loss, network, key=jr.key(1), steps=steps, learning_rate=2e-3)


def draw(asked, guidance, key):
    """Pictures of the digits that are asked for; −1 is any."""
    start = fm.Particles((source.sample(key, len(asked)), asked))
    flow = fm.ConditionalFlow(result.network, guidance)
    return np.asarray(fm.simulate(flow, start, [0.0, 1.0], dt=0.05).final.x[0])


asked = jnp.arange(60 if fast else 1000) % 10
any_digit = draw(jnp.full(len(test), -1), 1.0, jr.key(2))
reader = SVC(gamma=0.02).fit(pixels[train], labels[train])
read = {g: reader.score(draw(asked, g, jr.key(3)), asked) for g in (1.0, 2.0)}
report = fm.evaluate(any_digit, pixels[test], key=jr.key(4))
# The same of real pictures that were trained on: what no generator betters.
real = fm.evaluate(pixels[train[: len(test)]], pixels[test], key=jr.key(4))

rows = {"real": pixels[test[:20]], "any": any_digit[:20], "asked": draw(asked[:20], 2.0, jr.key(3))}
axes = plt.subplots(3, 1, figsize=(8, 1.7))[1]
for ax, (name, pictures) in zip(axes, rows.items(), strict=True):
    ax.imshow(np.hstack(pictures.reshape(-1, 8, 8)), cmap="gray_r", vmin=-1, vmax=1)
    ax.set_yticks([3.5], [name])
    ax.set_xticks([])
plt.tight_layout()
plt.savefig("digits.png", dpi=110)
print(f"{time.perf_counter() - begin:.0f} s; a classifier reads {reader.score(pixels[test], labels[test]):.1%} of real")
print(f"energy distance {report.energy_distance:.3f} (p = {report.test.p_value:.2f}), of real pictures {real.energy_distance:.3f} (p = {real.test.p_value:.2f}); coverage {report.coverage:.2f} and {real.coverage:.2f}; precision {report.precision:.2f} {real.precision:.2f}")
print(f"and of asked digits {read[1.0]:.1%}, {read[2.0]:.1%} with guidance")
