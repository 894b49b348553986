"""Patches of a photograph that were blurred or half lost: what may they have been?

`python examples/inverse_problem.py [--fast]` writes `inverse_problem.png`. The prior is a mixture
of Gaussians that EM fitted to patches of scikit-learn's photograph. A network learns to denoise its
draws, and its flow is guided by what was seen of each patch; Bayes' rule is the exact answer.
"""

import sys
import time

import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image
from sklearn.mixture import GaussianMixture

import flowjax_measures as fm

fast = "--fast" in sys.argv
begin = time.perf_counter()
side, rows, columns = 6, 4, 4 if fast else 10
d, level, draws = side**2, 0.05, 8 if fast else 16
photograph = (load_sample_image("china.jpg").mean(2) / 128 - 1).astype(np.float32)


def patches(image):
    down, across = (size // side for size in image.shape)
    image = image[: down * side, : across * side]
    return image.reshape(down, side, across, side).swapaxes(1, 2).reshape(-1, d)


def joined(x):
    return np.reshape(x, (rows, -1, side, side)).swapaxes(1, 2).reshape(rows * side, -1)


# A part of the roof is what was seen badly; the prior knows what is above and below.
top, left = 130, 190
truth = patches(photograph[top : top + rows * side, left : left + columns * side])
known = np.concatenate([patches(photograph[:top]), patches(photograph[top + rows * side :])])
known = known.astype(float)
fitted = GaussianMixture(3 if fast else 8, reg_covar=1e-3, random_state=0).fit(known[::4])
means, covs, weights = (
    jnp.asarray(a, jnp.float32) for a in (fitted.means_, fitted.covariances_, fitted.weights_)
)
prior = fm.Particles((means, covs), weights=weights)
data = fm.Particles(jnp.asarray(fitted.sample(20_000)[0], jnp.float32))

source = fm.Gaussian(jnp.zeros(d), jnp.eye(d))
flow = fm.StochasticInterpolant(source, data)


def loss(denoiser, key):
    return fm.denoising_loss(denoiser, flow, key, 128, denoiser.weight)


network = fm.MLP(d, width=32 if fast else 192, key=jr.key(0))
denoiser = fm.PreconditionedDenoiser(network, jnp.std(data.x))
steps = 100 if fast else 2500
learned = fm.learn(loss, denoiser, key=jr.key(1), steps=steps, learning_rate=2e-3).network


@jax.jit
def bayes(matrix, y):
    """The mean and the variances of a patch, given y."""
    law = fm.linear_posterior(prior, matrix, y, level**2 * jnp.eye(len(y)))
    mean = law.mean(lambda part: part[0])
    return mean, law.mean(lambda part: jnp.diag(part[1]) + (part[0] - mean) ** 2)


@jax.jit
def guided(matrix, y, key):
    """The same of points of the guided flow."""
    law = fm.GuidedFlow(learned.velocity, matrix, y, level**2 * jnp.eye(len(y)))
    start = fm.Particles(source.sample(key, draws))
    run = fm.simulate(law, start, [0.0, 1.0], dt=1 / 16, solver=fm.ExponentialIntegrator())
    return jnp.mean(run.final.x, axis=0), jnp.var(run.final.x, axis=0, ddof=1)


# A blur of a pixel and a half within the patch; the loss of half of its pixels.
pixel = np.arange(side)
blur = np.exp(-((pixel[:, None] - pixel) ** 2) / (2 * 1.5**2))
blur = blur / blur.sum(1, keepdims=True)
kept = np.sort(np.random.default_rng(0).permutation(d)[: d // 2])
tasks = {"deblurring": np.kron(blur, blur), "inpainting": np.eye(d)[kept]}
axes = plt.subplots(2, 4, figsize=(11, 3.2))[1]
for line, (name, matrix) in zip(axes, tasks.items(), strict=True):
    matrix = jnp.asarray(matrix, jnp.float32)
    y = truth @ matrix.T + level * jr.normal(jr.key(2), (len(truth), len(matrix)))
    exact, variance = jax.vmap(bayes, (None, 0))(matrix, y)
    found, spread = zip(
        *(guided(matrix, *of) for of in zip(y, jr.split(jr.key(3), len(y)), strict=True)),
        strict=True,
    )
    found, deviation = jnp.stack(found), jnp.sqrt(jnp.mean(variance))
    # What was not seen is left grey.
    seen = y if name == "deblurring" else np.asarray(y) @ np.eye(d)[kept]
    pictures = {"truth": truth, name: seen, "guided": found, "exact": exact}
    for ax, (title, x) in zip(line, pictures.items(), strict=True):
        ax.imshow(joined(x), cmap="gray", vmin=-1, vmax=1)
        ax.set(title=title, xticks=[], yticks=[])
    off = jnp.sqrt(jnp.mean((found - exact) ** 2))
    errors = [jnp.sqrt(jnp.mean((x - truth) ** 2)) for x in (found, exact)]
    print(
        f"{name}: guided means are {off:.3f} off the exact ones, {deviation / draws**0.5:.3f} by "
        f"chance; deviations {jnp.sqrt(jnp.mean(jnp.stack(spread))):.3f}, exactly {deviation:.3f}; "
        f"errors to the truth {errors[0]:.3f} and {errors[1]:.3f}"
    )
plt.tight_layout()
plt.savefig("inverse_problem.png", dpi=110)
print(f"{time.perf_counter() - begin:.0f} s")
