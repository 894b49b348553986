r"""Gaussians: a system run from one is its closure, an ordinary differential equation."""

import math
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._custom_types import Point, PointFunction
from .._numerics import given
from .._numerics._cubature import degree, expect, factor, lattice, nodes
from ..noise._noise import AbstractNoise, parts
from ._base import AbstractMeasure, Increment, Rates, concrete, replace
from ._pushed import Pushed

# So many derivatives of a law of ordinary size take about a second.
_LONG = 500_000


class Gaussian(AbstractMeasure):
    r"""The Gaussian measure N(m, Σ); a singular Σ is fine, a Dirac is a Gaussian.

    A tilt e^ℓ with ℓ at most quadratic is taken in closed form: with b = ∇ℓ(m), H = ∇²ℓ,

        Σ_ℓ = (Σ⁻¹ − H)⁻¹ = (I − ΣH)⁻¹ Σ,   m_ℓ = m + Σ_ℓ b,
        log Z = ℓ(m) + ½ bᵀ Σ_ℓ b − ½ log det(I − ΣH).

    Beyond, ℓ is split into that part and a remainder, which weighs the nodes of a cubature of
    N(m_ℓ, Σ_ℓ).

    The closure keeps the first two moments: with velocity v, own noise σ, shared noise σ⁰ and
    growth g,

        ṁ = E v + Σ E∇g,
        Σ̇ = E[∇v] Σ + Σ E[∇v]ᵀ + Σ E[∇²g] Σ + E[σσᵀ] + E[σ⁰σ⁰ᵀ] − E[σ⁰]E[σ⁰]ᵀ,

    and the shared noise moves m by E[σ⁰] dB and Σ by (E[∇σ⁰] Σ + Σ E[∇σ⁰]ᵀ) dB. It is exact
    whenever v and g are affine and quadratic; otherwise it is the Bures–Wasserstein projection
    ([lambert2022]).

    **Arguments:**

    - `m`: shape (d,).
    - `cov`: shape (d, d), symmetric positive semidefinite.
    - `nodes`: how many points stand for the Gaussian where an expectation is of no polynomial. By
      default a product rule to d = 4, one of degree 5 to d = 8, and beyond 2048 points of a
      lattice, good to some 1e-3; a number takes so many of the lattice, and halving it tells the
      error. A velocity that is no polynomial is evaluated d times at each, for its mean Jacobian.

    **Raises:** `ValueError` naming `m`, `cov` or `nodes` where shapes or values are wrong.

    !!! example

        ```python
        fm.simulate(
            fm.SelfAttention(beta=0.5), fm.Gaussian(jnp.zeros(2), 0.1 * jnp.eye(2)), [0.0, 0.1]
        )
        ```
    """

    m: Float[Array, " d"]
    cov: Float[Array, "d d"]
    nodes: int | None = eqx.field(static=True, default=None)

    flows: ClassVar[tuple[str, ...]] = ("m", "cov")

    def __init__(self, m, cov, nodes=None):
        self.m = given("m", m)
        self.cov = given("cov", cov)
        self.nodes = nodes
        if not jnp.issubdtype(self.m.dtype, jnp.inexact):
            raise ValueError("`m` holds integers; give floats, for example jnp.zeros(2).")
        if self.m.ndim != 1:
            raise ValueError(f"`m` has shape {self.m.shape}; give the mean as a vector (d,).")
        if self.cov.shape != (self.m.size, self.m.size):
            raise ValueError(
                f"`cov` has shape {self.cov.shape}; for a mean of shape {self.m.shape} give a "
                f"matrix of shape {(self.m.size, self.m.size)}."
            )
        if nodes is not None and (not isinstance(nodes, int) or nodes < 4 * self.m.size):
            raise ValueError(
                f"`nodes` is {nodes!r}; give a whole number of at least 4 d = {4 * self.m.size}."
            )
        self.check()

    def check(self):
        if not concrete(self.m, self.cov):
            return
        m, cov = np.asarray(self.m), np.asarray(self.cov)
        for name, value in (("m", m), ("cov", cov)):
            if not np.all(np.isfinite(value)):
                raise ValueError(f"`{name}` holds NaN or inf; give finite moments.")
        tolerance = 100 * np.finfo(cov.dtype).eps * max(np.abs(cov).max(), 1e-300) * m.size
        if np.abs(cov - cov.T).max() > tolerance:
            raise ValueError("`cov` is not symmetric; give (cov + cov.T) / 2.")
        lowest = np.linalg.eigvalsh(cov)[0]
        if lowest < -tolerance:
            raise ValueError(
                f"`cov` is not positive semidefinite: its lowest eigenvalue is {lowest:.3g}. "
                "Give the covariance of a measure (zero eigenvalues are fine)."
            )

    def atoms(self):
        """The nodes of the cubature, which stand for the Gaussian in sums."""
        z, w = nodes(self.m.size, self.nodes)
        return self.m + jnp.asarray(z, self.m.dtype) @ factor(self.cov).T, jnp.asarray(
            np.log(w), self.m.dtype
        )

    def lift(self, rates: Callable[[Point], Rates]) -> Increment:
        m, cov = self.m, self.cov
        law = rates(m)

        @jax.jit
        def velocity(x):
            return jnp.broadcast_to(rates(x).velocity, m.shape)

        drift_m = expect(velocity, m, cov, self.nodes)
        jacobian = jax.jacfwd(velocity)
        self._tell_of_long(jacobian)
        pull = expect(jacobian, m, cov, self.nodes) @ cov
        drift_cov = pull + pull.T
        if law.growth is not None:
            growth = jax.jit(lambda x: rates(x).growth)
            drift_m = drift_m + cov @ expect(jax.grad(growth), m, cov, self.nodes)
            drift_cov = drift_cov + cov @ expect(jax.hessian(growth), m, cov, self.nodes) @ cov
        noise = []
        for i, part in enumerate(parts(law.noise)):
            squared = expect(lambda x, i=i: _part(rates, x, i).squared(x), m, cov, self.nodes)
            drift_cov = drift_cov + squared
            if part.shared:
                mean = expect(lambda x, i=i: _part(rates, x, i).matrix(x), m, cov, self.nodes)
                drift_cov = drift_cov - _outer(mean)
                noise.append(i)
        field = _GaussianNoise(self, rates, tuple(noise)) if noise else None
        return Increment(replace(self, m=drift_m, cov=drift_cov), field)

    def _tell_of_long(self, jacobian: Callable[[Point], Any]) -> None:
        """Warns of expectations that take seconds each."""
        d = self.m.size
        count = self.nodes or (lattice(d) if d > 8 else 0)
        if count * d > _LONG and degree(jacobian, self.m) > 2:
            warnings.warn(
                f"A Gaussian of d = {d}: the mean Jacobian of a velocity that is no polynomial "
                f"takes {count} nodes × {d} directions = {count * d:,} of its derivatives at every "
                f"stage of every step. Gaussian(m, cov, nodes={4 * d}) takes fewer; or run from "
                "Particles.",
                UserWarning,
                stacklevel=2,
            )

    def retract(self):
        return replace(self, cov=(self.cov + self.cov.T) / 2)

    def weighted(self):
        return self

    def tilt(self, fn, logits):
        if logits is None:
            return expect(fn, self.m, self.cov, self.nodes), jnp.zeros((), self.m.dtype)
        m, cov = self.m, self.cov
        given = logits
        logits = jax.jit(lambda y: given(y))  # traced once; its derivatives come from the trace
        value, slope = jax.value_and_grad(logits)(m)
        curvature = jax.hessian(logits)(m)
        identity = jnp.eye(m.size, dtype=m.dtype)
        system = identity - cov @ curvature
        tilted_cov = jnp.linalg.solve(system, cov)
        tilted_cov = (tilted_cov + tilted_cov.T) / 2
        shift = jnp.linalg.solve(system, cov @ slope)
        logdet = jnp.linalg.slogdet(system)[1]
        # Where Σ⁻¹ − H is not positive the tilted mass is infinite, and everything with it.
        root = factor(jax.lax.stop_gradient(cov))
        inner = identity - root.T @ jax.lax.stop_gradient(curvature) @ root
        finite = jnp.all(jnp.isfinite(jnp.linalg.cholesky(inner)))
        log_normaliser = value + jnp.vdot(slope, shift) / 2 - logdet / 2
        log_normaliser = jnp.where(finite, log_normaliser, jnp.inf)
        shift = jnp.where(finite, shift, jnp.inf)
        tilted = replace(self, m=m + shift, cov=tilted_cov)
        if degree(logits, m) <= 2:
            return expect(fn, tilted.m, tilted.cov, self.nodes), log_normaliser

        def remainder(y):
            z = y - m
            return logits(y) - value - jnp.vdot(slope, z) - jnp.vdot(z, curvature @ z) / 2

        points, log_weights = tilted.atoms()
        weights = log_weights + jax.vmap(remainder)(points)
        correction = jax.nn.logsumexp(weights)
        p = jnp.exp(weights - correction)
        values = jax.vmap(fn)(points)
        mean = jax.tree.map(lambda f: jnp.tensordot(p.astype(f.dtype), f, axes=1), values)
        return mean, log_normaliser + correction

    def covariance(self):
        return self.cov

    def push(self, fn):
        return Pushed(self, fn)

    def image(self, fn: PointFunction) -> "Gaussian":
        """The Gaussian of the mean and covariance of `push(fn)`: that itself where fn is affine."""
        image = self.push(fn)
        return replace(self, m=image.mean(), cov=image.covariance())

    def sample(self, key, n):
        z = jax.random.normal(key, (n, self.m.size), self.m.dtype)
        return self.m + z @ factor(self.cov).T

    def log_density(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        """log of the density at `x`; needs a non-singular covariance."""
        z = x - self.m
        _, logdet = jnp.linalg.slogdet(self.cov)
        quadratic = jnp.vdot(z, jnp.linalg.solve(self.cov, z))
        return -(quadratic + logdet + self.m.size * math.log(2 * math.pi)) / 2


def _outer(matrix: Float[Array, "d k"]) -> Float[Array, "d d"]:
    return matrix @ matrix.T


def _part(rates: Callable[[Point], Rates], x: Point, index: int) -> AbstractNoise:
    return parts(rates(x).noise)[index]


class _GaussianNoise(eqx.Module):
    """The shared noise, which moves the whole Gaussian."""

    measure: Gaussian
    rates: Callable[[Point], Rates]
    shared: tuple[int, ...] = eqx.field(static=True)

    def brownian(self):
        return tuple(
            _part(self.rates, self.measure.m, i).brownian(self.measure.m) for i in self.shared
        )

    def apply(self, increments):
        m, cov = self.measure.m, self.measure.cov

        def move(x):
            moves = [
                _part(self.rates, x, i).apply(x, w)
                for i, w in zip(self.shared, increments, strict=True)
            ]
            return sum(moves[1:], moves[0])

        pull = expect(jax.jacfwd(move), m, cov, self.measure.nodes) @ cov
        return replace(self.measure, m=expect(move, m, cov, self.measure.nodes), cov=pull + pull.T)
