"""How ordered a law is: moments, interaction energy, entropy of attention, retrieval."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import Count, FloatScalar
from .._numerics import checked
from ..measures import AbstractMeasure
from ..spaces import Torus
from ._points import inner, needs_vectors, position, space


@checked
def interaction_energy(mu: AbstractMeasure, beta: FloatScalar) -> FloatScalar:
    r"""E_β(μ) = (1/2β) ∬ e^{β⟨x, y⟩} μ(dx) μ(dy), which self-attention on the sphere increases.

    A point's product with itself counts. A `Gaussian` has it in closed form, where the integral
    converges: β λ_max(Σ) < 1.

    **Arguments:** `mu`: the measure; `beta`: β ≠ 0, negative values too.

    !!! example

        One point on the sphere has the energy e^β / 2β, the maximum.

    !!! example

        `fm.interaction_energy(tokens, 4.0)`
    """
    needs_vectors(mu, "interaction_energy", "InteractionEnergy(K) with a function K of two points")
    log_energy = mu.logmean(lambda x: mu.logmean(lambda y: beta * inner(x, y)))
    return jnp.exp(log_energy) / (2 * beta)


@checked
def order_parameter(mu: AbstractMeasure) -> FloatScalar:
    r"""‖∫ x dμ‖: 1 on the sphere when all points agree, 0 when they are balanced.

    !!! example

        `fm.order_parameter(tokens)`
    """
    needs_vectors(mu, "order_parameter", "`circular_order`")
    return jnp.sqrt(inner(mu.mean(), mu.mean()))


@checked
def circular_order(mu: AbstractMeasure, mode: int = 1) -> FloatScalar:
    r"""|∫ e^{i·mode·θ} dμ| for angles θ, or for points of the circle in R²; mode 2 is nematic.

    Coordinates x on a torus of length L are the angles 2πx/L.

    !!! example

        `fm.circular_order(fm.Particles(jnp.ones((4, 1)), space=fm.Torus(2 * jnp.pi)))`
    """

    here = space(mu)
    turn = 2 * jnp.pi / here.length if isinstance(here, Torus) else 1.0

    def wave(x):
        at = position(x) * turn
        angle = jnp.arctan2(at[1], at[0]) if at.size == 2 else at.sum()
        return jnp.stack([jnp.cos(mode * angle), jnp.sin(mode * angle)])

    return jnp.linalg.norm(mu.mean(wave))


@checked
def dispersion(mu: AbstractMeasure) -> FloatScalar:
    r"""∫ ‖x − m‖² dμ with m = ∫ x dμ, the trace of the covariance of the positions.

    !!! example

        `fm.dispersion(mu)`
    """
    needs_vectors(mu, "dispersion", "`circular_order` or `soft_number_of_clusters`")
    centre = mu.mean()

    def square(x):
        away = jax.tree.map(jnp.subtract, position(x), position(centre))
        return inner(away, away)

    return mu.mean(square)


@checked
def attention_entropy(
    mu: AbstractMeasure,
    beta: FloatScalar,
    matrix: Float[Array, "d d"] | None = None,
) -> FloatScalar:
    r"""The mean entropy, relative to μ, of what a token attends to; 0 is uniform attention.

        H = −∫ KL(p_x | μ) μ(dx),   p_x ∝ e^{β xᵀAy} μ(dy).

    For n particles of equal mass Shannon's entropy is H + log n, between 0 and log n.

    **Arguments:** `beta`: β; `matrix`: A = QᵀK, the identity by default.

    !!! example

        `fm.attention_entropy(tokens, 4.0)`
    """
    needs_vectors(mu, "attention_entropy", "`soft_number_of_clusters`")
    total = mu.logmean(lambda y: jnp.zeros_like(inner(y, y)))

    def one(x):
        def score(y):
            if matrix is None:
                return beta * inner(x, y)
            return beta * jnp.vdot(position(x), matrix @ position(y))

        mean, log_normaliser = mu.tilt(score, score)
        return log_normaliser - total - mean

    return mu.mean(one)


@checked
def retrieval_accuracy(
    recalled: Float[Array, " m"], asked: Float[Array, " m"], vocabulary: Count
) -> Float[Array, ""]:
    """The share of angles `recalled` that decode to the `asked` one of `vocabulary` equal arcs.

    An angle decodes where it is within π/vocabulary on the circle.

    !!! example

        `fm.retrieval_accuracy(jnp.array([0, 1]), jnp.array([0, 2]), 3)`
    """
    away = jnp.abs((recalled - asked + jnp.pi) % (2 * jnp.pi) - jnp.pi)
    return jnp.mean(away <= jnp.pi / vocabulary)
