"""What is read through weights with scaled rows and columns."""

import jax
import jax.numpy as jnp

from ..._numerics._matrix import square_root
from ..._reduce import tilted_mean
from ...energies._schrodinger import potentials
from ...measures import Gaussian, Particles
from ...measures._base import replace

# A potential is its numbers at the atoms or, on a Gaussian, the value, slope and curvature at the
# mean of the quadratic that it is.


def _no_potential(mu):
    if isinstance(mu, Gaussian):
        return jnp.zeros((), mu.m.dtype), jnp.zeros_like(mu.m), jnp.zeros_like(mu.cov)
    return jnp.zeros_like(mu.log_weights())


def _held(mu, potential):
    """The measure with the potential, its atom's point, and its atom's potential."""
    if isinstance(mu, Gaussian):
        value, slope, curve = potential
        return mu, lambda b: b, lambda b: value + (slope + curve @ (b - mu.m) / 2) @ (b - mu.m)
    return replace(mu, x=(mu.x, potential)), lambda b: b[0], lambda b: b[1]


def _normaliser(mu, logits, potential):
    """The potential a ↦ −log ∫ e^{ℓ(a, b) + p(b)} μ(db)."""
    held, atom, at = _held(mu, potential)
    of = lambda a: -held.logmean(lambda b: logits(a, atom(b)) + at(b))  # noqa: E731
    if isinstance(mu, Gaussian):
        return of(mu.m), jax.grad(of)(mu.m), jax.hessian(of)(mu.m)
    return jax.vmap(of)(mu.x)


def iterated(mu, look, iterations):
    """What is read after some normalisations."""
    if not isinstance(mu, Gaussian | Particles):
        mu = Particles(*mu.atoms())
    logits = lambda a, b: look._replace(here=a).logits()(b)  # noqa: E731
    turned = lambda b, a: logits(a, b)  # noqa: E731
    start = _no_potential(mu)

    def pair(potentials, _):
        _, g = potentials
        return (g, _normaliser(mu, turned, _normaliser(mu, logits, g))), None

    (before, g), _ = jax.lax.scan(pair, (start, start), length=iterations // 2)

    def row(potential):
        held, atom, at = _held(mu, potential)
        return held.tilt(
            lambda b: look.value(atom(b)), lambda b: logits(look.here, atom(b)) + at(b)
        )

    reads, log_sum = row(g)
    return reads if iterations % 2 else jnp.exp(log_sum - row(before)[1]) * reads


def of_atoms(mu, look):
    """What is read in the limit, by Schrödinger potentials."""
    points, log_w = mu.atoms()
    log_w = log_w - jax.nn.logsumexp(log_w)
    # β⟨Qx, Ky⟩ = |β|⟨sign(β)Qx, Ky⟩.
    sign, strength = jnp.sign(look.beta), jnp.abs(look.beta)
    looks = lambda y: jnp.asarray(sign, log_w.dtype) * look.query(y)  # noqa: E731
    epsilon = jnp.asarray(2 / strength, log_w.dtype)
    keys = jax.vmap(look.key)(points)
    _, g = potentials(jax.vmap(looks)(points), log_w, keys, log_w, epsilon)
    here = looks(look.here)

    def logits(atom):
        _, k, potential = atom
        return (potential - jnp.sum((here - k) ** 2)) / epsilon

    return tilted_mean(lambda atom: look.value(atom[0]), logits, (points, keys, g), log_w)[0]


def of_gaussian(mu, look):
    """The same from a Gaussian, in closed form."""
    x = look.here
    identity = jnp.eye(x.size, dtype=x.dtype)
    score = jnp.asarray(look.beta, x.dtype) * (
        jax.jacfwd(look.query)(x).T @ jax.jacfwd(look.key)(x)
    )
    root = square_root(mu.cov)
    scaled = root @ score @ root
    inner = identity + square_root(identity + 4 * scaled.T @ scaled)
    # 2 R (I + √(I + 4BᵀB))⁻¹ R Aᵀ with R = Σ^{1/2}, A = βQᵀK, B = RAR: no inverse of Σ.
    slope = 2 * root @ jnp.linalg.solve(inner, root @ score.T)
    return mu.m + slope @ (x - mu.m)
