r"""What to look at while a system runs: functions of a measure.

Each takes a measure first, so that `observe=dict(energy=lambda mu: interaction_energy(mu, 4.0))`
evaluates it along a run without storing paths. Of `Phase` points the positions count; integer
labels never do.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ._custom_types import FloatScalar, Point
from ._numerics import jitted
from ._numerics._checks import check_positive
from .measures import AbstractMeasure, Particles
from .measures._base import check_finite, concrete, replace
from .noise._noise import floating
from .spaces import AbstractSpace, Euclidean, Phase, PhaseSpace


def _position(x: Point) -> Point:
    return floating(x.q if isinstance(x, Phase) else x)


def _inner(x: Point, y: Point) -> FloatScalar:
    products = jax.tree.map(jnp.vdot, _position(x), _position(y))
    return jax.tree.reduce(jnp.add, products)


def _distance(space: AbstractSpace, x: Point, y: Point) -> FloatScalar:
    if isinstance(space, PhaseSpace):
        return space.distance(x, y)
    if isinstance(space, Euclidean):
        return space.distance(_position(x), _position(y))
    return space.distance(x, y)


def _needs_particles(mu: Any, name: str) -> Particles:
    if not isinstance(mu, Particles):
        raise ValueError(
            f"`{name}` counts points, but a {type(mu).__name__} has none. Give `Particles`, for "
            "example Particles(mu.sample(key, n))."
        )
    return mu


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
    log_energy = mu.logmean(lambda x: mu.logmean(lambda y: beta * _inner(x, y)))
    return jnp.exp(log_energy) / (2 * beta)


def number_of_clusters(mu: AbstractMeasure, radius: FloatScalar) -> Int[Array, ""]:
    r"""The number of connected components of ∪_i B(x_i, radius), the union of closed caps.

    Two points are neighbours when their distance in the space of `mu` (geodesic on the sphere) is
    at most 2 · radius; a cluster is a set of points joined by chains of neighbours. Points of mass
    zero do not count. It can be compiled and batched; O(n²) distances a round, in O(n) memory, and
    about log n rounds. In compiled code −1 stands for points that are not finite.

    **Raises:** `ValueError` for a radius that is no positive number, and for points that are not
    finite.

    !!! example

        `fm.number_of_clusters(tokens, 0.1)`
    """
    particles = _needs_particles(mu, "number_of_clusters")
    labels, alive = _clusters(particles, radius)
    count = jnp.sum((labels == jnp.arange(labels.size, dtype=labels.dtype)) & alive)
    return jnp.where(_finite(particles), count, -1)


def cluster_labels(mu: AbstractMeasure, radius: FloatScalar) -> Int[Array, " n"]:
    r"""Which cluster each point is in: 0, 1, …, in the order of their first points.

    The clusters are those of `number_of_clusters`; −1 for points of mass zero, and for all where
    one is not finite.

    !!! example

        `jax.vmap(lambda mu: fm.cluster_labels(mu, 0.3))(run.ys)` are the labels over time, whose
        number is that of the first point of a cluster, so that colours stay when clusters merge.
    """
    particles = _needs_particles(mu, "cluster_labels")
    lowest, alive = _clusters(particles, radius)
    first = (lowest == jnp.arange(lowest.size, dtype=lowest.dtype)) & alive
    order = jnp.cumsum(first, dtype=jnp.int32) - 1
    return jnp.where(alive & _finite(particles), order[lowest], -1)


def _finite(particles: Particles) -> Array:
    leaves = [a for a in jax.tree.leaves(particles.x) if eqx.is_inexact_array(a)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(a)) for a in leaves]))


def merge_clusters(mu: AbstractMeasure, radius: FloatScalar) -> Particles:
    r"""The quotient of `mu` by its clusters: one particle for each, with its mass, at its mean.

    The clusters are those of `number_of_clusters`, in the order of their first points. A mean is
    brought back onto the space; labels are those of the first point. The number of particles
    changes, so this runs outside of compiled code: between two runs, the first of which ends with
    an event at a merge.

    !!! example

        `fm.merge_clusters(tokens, 0.1).size()`
    """
    particles = _needs_particles(mu, "merge_clusters")
    x, log_w = particles.atoms()
    found, alive = _clusters(particles, radius)
    if not concrete(found):
        raise ValueError("`mu` is traced, but the number of clusters must be known: leave jit.")
    first, cluster = np.unique(np.asarray(found)[np.asarray(alive)], return_inverse=True)
    start, log_w = jax.tree.map(lambda a: a[first], x), log_w[alive]
    total = jax.ops.segment_max(log_w, cluster, first.size)
    total += jnp.log(jax.ops.segment_sum(jnp.exp(log_w - total[cluster]), cluster, first.size))
    weight = jnp.exp(log_w - total[cluster])
    # Differences to the first point keep their digits, and are short on a torus.
    away = getattr(particles.space, "displacement", jnp.subtract)

    def mean(a, b):
        if not eqx.is_inexact_array(a):
            return b
        moves = away(a[alive], b[cluster])
        weights = weight.reshape(-1, *(1,) * (a.ndim - 1)).astype(a.dtype)
        return b + jax.ops.segment_sum(weights * moves, cluster, first.size)

    return replace(particles, x=jax.tree.map(mean, x, start), log_w=total).retract()


def _clusters(particles: Particles, radius: FloatScalar) -> tuple[Int[Array, " n"], Array]:
    """The lowest index in the cluster of each point, and which points have mass."""
    check_positive("radius", radius)
    check_finite(particles.x, "mu")
    return _components(particles, radius)


@jitted
def _components(particles: Particles, radius: FloatScalar) -> tuple[Int[Array, " n"], Array]:
    x, log_w = particles.atoms()
    index = jnp.arange(log_w.size, dtype=jnp.int32)
    alive = log_w > -jnp.inf

    def lowest(labels):
        """The lowest label among the neighbours of each point, itself included."""

        def one(i):
            centre = jax.tree.map(lambda a: a[i], x)
            away = jax.vmap(lambda y: _distance(particles.space, centre, y))(x)
            return jnp.min(jnp.where((away <= 2 * radius) & alive, labels, labels[i]))

        return jnp.minimum(jax.lax.map(one, index, batch_size=256), labels)

    def advance(state):
        labels, _ = state
        new = jnp.where(alive, lowest(labels), index)
        # A label is the index of a point of the same cluster, so labels of labels are too.
        new = new[new]
        return new, jnp.any(new != labels)

    return jax.lax.while_loop(lambda s: s[1], advance, (index, jnp.asarray(True)))[0], alive


def soft_number_of_clusters(mu: AbstractMeasure, radius: FloatScalar) -> FloatScalar:
    r"""∫ μ(dx) / ∫ e^{−d(x, y)²/2r²} μ(dy): the number of clusters, differentiable.

    k clusters much smaller than the radius r and much further apart give k, whatever their masses.
    Masses count relative to the whole.

    !!! example

        `fm.soft_number_of_clusters(tokens, 0.1)`
    """
    check_positive("radius", radius)
    space = mu.space if isinstance(mu, Particles) else Euclidean()
    total = mu.logmean(lambda y: jnp.zeros_like(_inner(y, y)))

    def crowding(x):
        return mu.logmean(lambda y: -(_distance(space, x, y) ** 2) / (2 * radius**2)) - total

    return mu.mean(lambda x: jnp.exp(-crowding(x)))


def order_parameter(mu: AbstractMeasure) -> FloatScalar:
    r"""‖∫ x dμ‖: 1 on the sphere when all points agree, 0 when they are balanced.

    !!! example

        `fm.order_parameter(tokens)`
    """
    return jnp.sqrt(_inner(mu.mean(), mu.mean()))


def circular_order(mu: AbstractMeasure, mode: int = 1) -> FloatScalar:
    r"""|∫ e^{i·mode·θ} dμ| for angles θ, or for points of the circle in R²; mode 2 is nematic.

    !!! example

        `fm.circular_order(fm.Particles(jnp.ones((4, 1)), space=fm.Torus(2 * jnp.pi)))`
    """

    def wave(x):
        position = _position(x)
        angle = jnp.arctan2(position[1], position[0]) if position.size == 2 else position.sum()
        return jnp.stack([jnp.cos(mode * angle), jnp.sin(mode * angle)])

    return jnp.linalg.norm(mu.mean(wave))


def dispersion(mu: AbstractMeasure) -> FloatScalar:
    r"""∫ ‖x − m‖² dμ with m = ∫ x dμ, the trace of the covariance of the positions.

    !!! example

        `fm.dispersion(mu)`
    """
    centre = mu.mean()

    def square(x):
        away = jax.tree.map(jnp.subtract, _position(x), _position(centre))
        return _inner(away, away)

    return mu.mean(square)


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
    total = mu.logmean(lambda y: jnp.zeros_like(_inner(y, y)))

    def one(x):
        def score(y):
            if matrix is None:
                return beta * _inner(x, y)
            return beta * jnp.vdot(_position(x), matrix @ _position(y))

        mean, log_normaliser = mu.tilt(score, score)
        return log_normaliser - total - mean

    return mu.mean(one)


def time_to_clusters(ts: Float[Array, " T"], numbers: Int[Array, " T"], k: int) -> Float[Array, ""]:
    """The first of the times `ts` at which at most `k` clusters are left; +inf if there is none.

    To end a run there: `simulate(..., event=lambda t, mu: number_of_clusters(mu, radius) <= k)`.

    !!! example

        `fm.time_to_clusters(jnp.arange(3.0), jnp.array([3.0, 2.0, 1.0]), 2)`
    """
    return jnp.min(jnp.where(numbers <= k, ts, jnp.inf))


def retrieval_accuracy(
    recalled: Float[Array, " m"], asked: Float[Array, " m"], vocabulary: int
) -> Float[Array, ""]:
    """The share of angles `recalled` that decode to the `asked` one of `vocabulary` equal arcs.

    An angle decodes where it is within π/vocabulary on the circle.

    !!! example

        `fm.retrieval_accuracy(jnp.array([0, 1]), jnp.array([0, 2]), 3)`
    """
    away = jnp.abs((recalled - asked + jnp.pi) % (2 * jnp.pi) - jnp.pi)
    return jnp.mean(away <= jnp.pi / vocabulary)
