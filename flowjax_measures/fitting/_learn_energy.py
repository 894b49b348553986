r"""Energies from data, by walkers with exact weights ([carbone2023]).

    θ₁ = θ₀ − step of an optimiser along E_data ∇_θU − ⟨∇_θU⟩_w,
    X₁ = X₀ − h ∇U_{θ₀}(X₀) + √(2h) ξ,   log w₁ = log w₀ + a_{θ₀}(X₀, X₁) − a_{θ₁}(X₁, X₀),
    a_θ(x, y) = U_θ(x) + ½ ⟨y − x, ∇U_θ(x)⟩ + ¼ h |∇U_θ(x)|²

For any h and any optimiser the weighted walkers have the law e^{−U_θ}/Z_θ, and their mean mass is
Z_θ/Z_{θ₀}; where few carry most of it they are drawn again, and the mass is kept.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from .._custom_types import Count, FloatScalar, Point, PRNGKey, Scalar
from .._numerics import checked, jitted
from .._numerics._checks import check_positive
from ..measures import AbstractMeasure, Particles
from ..measures._base import concrete, replace
from ..solvers._birth_death import _resample
from ..systems.generative import jarzynski_loss

Energy = Callable[[Point], FloatScalar]


class LearnedEnergy(eqx.Module):
    """What `learn_energy` returns.

    - `energy`: the trained U. `walkers`: weighted points with the law e^{−U}/Z.
    - `log_z`: log Z at the start and after each step, up to the `log_z` that was given.
    - `losses`: the cross entropy of the data, E U + log Z, before each step.
    - `effective`: the effective share of the walkers, (Σw)²/(n Σw²), after each step.

    !!! example

        `fm.learn_energy(fm.Quadratic(jnp.ones(())), mu, nu, key=key, steps=10)`
    """

    energy: Any
    walkers: Particles
    log_z: Float[Array, " times"]
    losses: Float[Array, " steps"]
    effective: Float[Array, " steps"]


@checked
def learn_energy(
    energy: Energy,
    data: AbstractMeasure,
    walkers: Particles,
    *,
    key: PRNGKey,
    steps: Count = 1000,
    step_size: Scalar = 0.01,
    optimizer: optax.GradientTransformation | None = None,
    learning_rate: float = 1e-2,
    batch: Count | None = None,
    resample: float = 0.5,
    log_z: Scalar = 0.0,
) -> LearnedEnergy:
    r"""Trains U so that e^{−U}/Z is the law of the data, with an estimate of Z that has no bias.

    **Arguments:**

    - `energy`: U(x), an equinox module; its floating-point arrays are trained. e^{−U} must have a
      finite mass at all times: add a confining term.
    - `data`: the law to learn.
    - `walkers`: points, and weights, of the law e^{−U}/Z at the start.
    - `steps`: of the optimiser, and of the walkers. `step_size`: h of the walkers.
    - `optimizer`: of optax; by default Adam at `learning_rate`.
    - `batch`: how many points of the data are drawn for a step; `None` takes all.
    - `resample`: walkers are drawn again where the effective share of them is at most this.
    - `log_z`: log Z of the start, where it is known.

    **Raises:** `ValueError` that names the argument; `RuntimeError` where the loss or a weight is
    no longer finite: take a smaller `learning_rate` or `step_size`.

    !!! example

        `fm.learn_energy(U, fm.Particles(x), walkers, key=key).log_z[-1]`
    """
    check_positive("step_size", step_size)
    if not jax.tree.leaves(eqx.filter(energy, eqx.is_inexact_array)):
        raise ValueError("`energy` holds no floating-point arrays, so nothing can be trained.")
    if steps < 1 or (batch is not None and batch < 1):
        raise ValueError(f"`steps` is {steps} and `batch` {batch}; give whole numbers above 0.")
    if not 0 <= resample <= 1:
        raise ValueError(f"`resample` is {resample}; give a share of the walkers, in [0, 1].")
    optimizer = optax.adam(learning_rate) if optimizer is None else optimizer
    walkers = replace(walkers, log_w=jax.nn.log_softmax(walkers.log_weights()))
    found = _train(energy, data, walkers, key, steps, step_size, optimizer, batch, resample, log_z)
    fine = jnp.all(jnp.isfinite(found.losses)) & jnp.all(jnp.isfinite(found.log_z))
    if concrete(fine) and not bool(fine):
        raise RuntimeError(
            f"The loss is no longer finite after {int(jnp.argmin(jnp.isfinite(found.log_z)))} "
            "steps; take a smaller `learning_rate` or `step_size`, or an energy that confines."
        )
    return found


@jitted
def _train(energy, data, walkers, key, steps, h, optimizer, batch, resample, log_z):
    weights, rest = eqx.partition(energy, eqx.is_inexact_array)
    n, dtype = len(walkers.log_w), walkers.log_w.dtype
    h = jnp.asarray(h, dtype)

    def score(energy, x, y):
        value, slope = jax.value_and_grad(lambda x: energy(x))(x)
        return value + jnp.vdot(y - x, slope) / 2 + h * jnp.vdot(slope, slope) / 4

    def step(carry, k):
        weights, state, walkers = carry
        pick, shake, again = jax.random.split(jax.random.fold_in(key, k), 3)
        seen = data if batch is None else Particles(data.sample(pick, batch))

        def loss(weights):
            return jarzynski_loss(eqx.combine(weights, rest), seen, walkers)

        old = eqx.combine(weights, rest)
        entropy = seen.mean(old) + jax.nn.logsumexp(walkers.log_w)
        slope = jax.grad(loss)(weights)
        # optax mixes dtypes of its own.
        with jax.numpy_dtype_promotion("standard"):
            move, state = optimizer.update(slope, state, weights)
            weights = optax.apply_updates(weights, move)
        new = eqx.combine(weights, rest)
        x = walkers.x
        drift = jax.vmap(jax.grad(lambda x: old(x)))(x)
        y = x - h * drift + jnp.sqrt(2 * h) * jax.random.normal(shake, x.shape, x.dtype)
        gain = jax.vmap(lambda x, y: score(old, x, y) - score(new, y, x))(x, y)
        walkers = replace(walkers, x=y, log_w=walkers.log_w + gain)
        share = jax.nn.softmax(walkers.log_w)
        effective = 1 / (n * jnp.sum(share**2))
        mass = jax.nn.logsumexp(walkers.log_w)
        walkers = _resample(walkers, again, resample)
        return (weights, state, walkers), (entropy, mass, effective)

    start = weights, optimizer.init(weights), walkers
    (weights, _, walkers), (losses, masses, effective) = jax.lax.scan(
        step, start, jnp.arange(steps)
    )
    log_z = jnp.asarray(log_z, dtype)
    path = log_z + jnp.concatenate([jnp.zeros(1, dtype), masses])
    return LearnedEnergy(eqx.combine(weights, rest), walkers, path, losses + log_z, effective)
