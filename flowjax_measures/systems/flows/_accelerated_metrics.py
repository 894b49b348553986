r"""How momenta move points, masses and each other in a metric: Hamilton's equations of

    K(μ, Φ) = ½ ∫ Φ G_μ⁻¹Φ,   at points q with p = ∇Φ(q) and φ = Φ(q)

    Wasserstein       ½∫|p|² dμ                       q̇ = p
    Preconditioned    ½∫⟨p, Cp⟩ dμ                    q̇ = Cp
    KalmanWasserstein ½∫⟨p, Cp⟩ dμ, C = Cov μ         q̇ = Cp,  ṗ = −∫pp^T dμ (q − m)
    Stein             ½∬k(q, q')⟨p, p'⟩ dμ dμ         q̇ = ∫k p' dμ,  ṗ = −∫∇_q k ⟨p, p'⟩ dμ
    FisherRao         ½ Var φ                         ẇ/w = φ − ∫φ dμ,  φ̇ = φ∫φ dμ − ½φ²
    …FisherRao        α and β times the first and the last, with ṗ = −βp(φ − ∫φ dμ), φ̇ + ½α|p|²

to which the energy adds −∇δF/δμ to ṗ and −δF/δμ to φ̇ ([wang2022]).
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._custom_types import FloatScalar
from ...kernels import MatrixKernel, MedianKernel
from ...metrics import (
    AbstractMetric,
    FisherRao,
    KalmanWasserstein,
    Preconditioned,
    Stein,
    Wasserstein,
    WassersteinFisherRao,
)
from ...spaces import Phase


class Inertia(NamedTuple):
    """The velocity of a point, what moves its momentum without an energy, its growth, and its
    part of 2K."""

    velocity: Any
    push: Any
    growth: FloatScalar | None
    square: FloatScalar


def inertia(metric: AbstractMetric, x: Phase, mu: Any) -> Inertia:
    """Of a point among points, which `mu` holds as `Phase(q, p)` whatever its type."""
    q, p = x
    if isinstance(metric, Wasserstein):
        return Inertia(p, jax.tree.map(jnp.zeros_like, p), None, _inner(p, p))
    if isinstance(metric, Preconditioned):
        velocity = jnp.asarray(metric.matrix, p.dtype) @ p
        return Inertia(velocity, jnp.zeros_like(p), None, _inner(p, velocity))
    if isinstance(metric, KalmanWasserstein):
        m = mu.mean(lambda y: y.q)
        cov = mu.mean(lambda y: jnp.outer(y.q - m, y.q - m))
        velocity = cov @ p
        moved = mu.mean(lambda y: jnp.outer(y.p, y.p)) @ (q - m)
        return Inertia(velocity, -moved, None, _inner(p, velocity))
    if isinstance(metric, Stein) and not isinstance(metric.kernel, MatrixKernel | MedianKernel):
        kernel: Any = metric.kernel
        velocity = mu.mean(lambda y: jax.tree.map(lambda v: kernel(q, y.q) * v, y.p))
        slope = lambda y: eqx.filter_grad(lambda a: kernel(a, y.q) * _inner(p, y.p))(q)  # noqa: E731
        push = jax.tree.map(jnp.negative, mu.mean(slope))
        return Inertia(velocity, push, None, _inner(p, velocity))
    if isinstance(metric, FisherRao):
        excess = p - mu.mean(lambda y: y.p)
        return Inertia(jax.tree.map(jnp.zeros_like, q), p * (p / 2 - excess), excess, p * excess)
    if isinstance(metric, WassersteinFisherRao):
        (p, phi), alpha, beta = p, metric.alpha, metric.beta
        excess = beta * (phi - mu.mean(lambda y: y.p[1]))
        velocity = jax.tree.map(lambda v: alpha * v, p)
        push = jax.tree.map(lambda v: -excess * v, p)
        own = beta * phi**2 / 2 - excess * phi + _inner(p, velocity) / 2
        return Inertia(velocity, (push, own), excess, _inner(p, velocity) + phi * excess)
    raise ValueError(
        f"`metric` is {type(metric).__name__}, in which no acceleration is known; give "
        "Wasserstein(), Preconditioned(C), KalmanWasserstein(), Stein(k) with a kernel that is one "
        "number, FisherRao() or WassersteinFisherRao()."
    )


def _inner(a: Any, b: Any) -> FloatScalar:
    products = jax.tree.map(lambda u, v: jnp.sum(u * v), a, b)
    return sum(jax.tree.leaves(products))
