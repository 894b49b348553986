r"""`kalman_inversion`: ensemble Kalman inversion and sampling by steps that choose their length.

    h = h₀/(‖D‖ + δ),     D_{kj} = (1/N) ⟨G(u_k) − Ḡ, Γ⁻¹(G(u_j) − y)⟩

D is what moves the ensemble, so that no member moves by more than about h₀ times its spread
([kovachki2019], [garbuno2020]). The run ends at a time, or where the misfit is that of the noise.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._custom_types import Count, PRNGKey, Scalar
from .._numerics import checked, jitted
from ..measures import Particles
from ..measures._base import concrete, replace
from ..noise._noise import standard_normal
from ..systems.consensus import EnsembleKalmanInversion, EnsembleKalmanSampler
from ..systems.consensus._ensemble import covariance_matrix, finite
from ._filter_input import positive
from ._points import add


class InversionResult(NamedTuple):
    """What `kalman_inversion` returns.

    - `final`: the ensemble; `mean`, `cov` of the members whose model runs.
    - `misfit`: |Γ^{−½}(y − Ḡ)|, whose square is about m for the right parameters.
    - `time`, `nit`: how far it came, in so many steps; `failed`: members left out at the end.
    - `status`: 1 the time is reached, 2 the discrepancy, 3 steps are spent, 4 not finite.

    !!! example

        ```python
        fm.kalman_inversion(
            fm.EnsembleKalmanInversion(jnp.sin, jnp.zeros(2), jnp.eye(2)), mu, key=key
        )
        ```
    """

    final: Particles
    mean: Float[Array, " d"]
    cov: Float[Array, "d d"]
    misfit: Float[Array, ""]
    time: Float[Array, ""]
    nit: Int[Array, ""]
    failed: Int[Array, ""]
    status: Int[Array, ""]


@checked
def kalman_inversion(
    system: EnsembleKalmanInversion | EnsembleKalmanSampler,
    initial: Particles,
    *,
    key: PRNGKey | None = None,
    time: Scalar = 1.0,
    dt: Scalar = 1.0,
    delta: Scalar = 1e-8,
    adaptive: bool = True,
    discrepancy: Scalar | None = None,
    steps: Count = 1000,
) -> InversionResult:
    r"""Runs an ensemble Kalman method by Euler steps of length h₀/(‖D‖ + δ).

    **Arguments:**

    - `system`: `EnsembleKalmanInversion` or `EnsembleKalmanSampler`.
    - `initial`: the ensemble, members of shape (d,). One for which the model returns NaN, or of
      mass zero, is left out of all means.
    - `key`: a JAX key, for forms with noise.
    - `time`: where to end; at 1 the forms "stochastic" and "square_root" are at the posterior.
    - `dt`: h₀. `delta`: δ. `adaptive`: whether steps have that length; else all have `dt`.
    - `discrepancy`: τ > 1 ends the run where |Γ^{−½}(y − Ḡ)| ≤ τ√m: beyond, noise is fitted.
    - `steps`: at most so many.

    !!! example

        `fm.kalman_inversion(fm.EnsembleKalmanInversion(G, y, 0.1), prior, discrepancy=1.1)`
    """
    if not isinstance(system, EnsembleKalmanInversion | EnsembleKalmanSampler):
        raise ValueError(
            f"`system` is {type(system).__name__}; give EnsembleKalmanInversion(G, y, cov) or "
            "EnsembleKalmanSampler."
        )
    if not isinstance(initial, Particles):
        raise ValueError(f"`initial` is {type(initial).__name__}; give Particles(x).")
    numbers = {"time": time, "dt": dt, "delta": delta, "discrepancy": discrepancy}
    for name, value in numbers.items():
        if value is not None and concrete(value) and not float(value) > 0:
            raise ValueError(f"`{name}` is {value!r}; give a number > 0.")
    noisy = isinstance(system, EnsembleKalmanSampler) or system.form == "stochastic"
    if noisy and key is None:
        raise ValueError("`key` is missing: this form has noise. Give key=jax.random.key(0).")
    positive(system.noise_cov, system.data.size, "noise_cov", True)
    dtype = initial.log_weights().dtype
    number = lambda a: jnp.asarray(a, dtype)  # noqa: E731
    level = number(0.0 if discrepancy is None else discrepancy)
    return _invert(
        system, initial, key, number(time), number(dt), number(delta), level,
        jnp.asarray(min(steps, np.iinfo(np.int32).max), jnp.int32), adaptive,
    )  # fmt: skip


@jitted
def _invert(system, initial, key, end, dt, delta, level, steps, adaptive):
    data = jnp.ravel(system.data)
    noise_cov = covariance_matrix(system.noise_cov, data.size, "noise_cov")
    root = jnp.linalg.cholesky(noise_cov)
    whiten = lambda z: jax.scipy.linalg.solve_triangular(root, z.T, lower=True).T  # noqa: E731

    def seen(mu):
        """Whitened images, 0 where a model did not run, and the weights of those that did."""
        images = jax.vmap(lambda y: jnp.ravel(system.forward(y)))(mu.x)
        ran = jnp.all(jnp.isfinite(images), axis=1)
        w = jax.nn.softmax(jnp.where(ran, mu.log_weights(), -jnp.inf))
        return jax.vmap(finite)(images), w

    def gap(mu):
        images, w = seen(mu)
        return jnp.linalg.norm(whiten((w @ images - data)[None]))

    def step(carry):
        mu, t, k, _ = carry
        images, w = seen(mu)
        h = dt
        if adaptive:
            # The weighted Frobenius norm; with equal weights that of the matrix over N.
            a, b = whiten(images - w @ images), whiten(images - data)
            grams = (a.T * w) @ a, (b.T * w) @ b
            h = dt / (jnp.sqrt(jnp.sum(grams[0] * grams[1])) + delta)
        h = jnp.minimum(h, end - t)
        law = system(t, mu)
        moved = add(mu.x, jax.tree.map(lambda v: h * v, law.drift.x))
        if law.noise is not None and key is not None:
            draws = standard_normal(jax.random.fold_in(key, k), law.noise.brownian())
            moved = add(moved, law.noise.apply(jax.tree.map(lambda z: jnp.sqrt(h) * z, draws)).x)
        last = h >= end - t
        mu, t, k = replace(mu, x=moved), jnp.where(last, end, t + h), k + jnp.int32(1)
        return mu, t, k, judged(mu, t, k)

    def judged(mu, t, k):
        root_m = jnp.sqrt(jnp.asarray(data.size, level.dtype))
        status = jnp.where(k >= steps, 3, 0)
        status = jnp.where(t >= end, 1, status)
        status = jnp.where((level > 0) & (gap(mu) <= level * root_m), 2, status)
        good = jnp.isfinite(gap(mu)) & jnp.all(
            jnp.stack([jnp.all(jnp.isfinite(a)) for a in jax.tree.leaves(mu.x)])
        )
        return jnp.int32(jnp.where(good, status, 4))

    zero, start = jnp.int32(0), jnp.zeros_like(end)
    carry = initial, start, zero, judged(initial, start, zero)
    mu, t, k, status = jax.lax.while_loop(lambda c: c[3] == 0, step, carry)
    _, w = seen(mu)
    x = mu.x.reshape(mu.size(), -1)
    mean = w @ x
    cov = ((x - mean).T * w) @ (x - mean)
    return InversionResult(mu, mean, cov, gap(mu), t, k, system.failed(mu), status)
