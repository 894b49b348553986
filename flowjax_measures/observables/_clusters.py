"""Clusters of particles: components of the union of balls, labels, quotient, a smooth count."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._custom_types import FloatScalar
from .._numerics import checked, jitted
from .._numerics._checks import check_positive
from ..energies._ground import space_of
from ..measures import AbstractMeasure, Particles
from ..measures._base import check_finite, concrete, replace
from ._points import distance, glued, inner, needs_particles, space


@checked
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
    particles = needs_particles(mu, "number_of_clusters")
    labels, alive = _clusters(particles, radius)
    count = jnp.sum((labels == jnp.arange(labels.size, dtype=labels.dtype)) & alive)
    return jnp.where(_finite(particles), count, -1)


@checked
def cluster_labels(mu: AbstractMeasure, radius: FloatScalar) -> Int[Array, " n"]:
    r"""Which cluster each point is in: 0, 1, …, in the order of their first points.

    The clusters are those of `number_of_clusters`; −1 for points of mass zero, and for all where
    one is not finite.

    !!! example

        `jax.vmap(lambda mu: fm.cluster_labels(mu, 0.3))(run.ys)` are the labels over time, whose
        number is that of the first point of a cluster, so that colours stay when clusters merge.
    """
    particles = needs_particles(mu, "cluster_labels")
    lowest, alive = _clusters(particles, radius)
    first = (lowest == jnp.arange(lowest.size, dtype=lowest.dtype)) & alive
    order = jnp.cumsum(first, dtype=jnp.int32) - 1
    return jnp.where(alive & _finite(particles), order[lowest], -1)


def _finite(particles: Particles) -> Array:
    leaves = [a for a in jax.tree.leaves(particles.x) if eqx.is_inexact_array(a)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(a)) for a in leaves]))


@checked
def merge_clusters(mu: AbstractMeasure, radius: FloatScalar) -> Particles:
    r"""The quotient of `mu` by its clusters: one particle for each, with its mass, at its mean.

    The clusters are those of `number_of_clusters`, in the order of their first points. A mean is
    brought back onto the space; labels are those of the first point. The number of particles
    changes, so this runs outside of compiled code: between two runs, the first of which ends with
    an event at a merge.

    !!! example

        `fm.merge_clusters(tokens, 0.1).size()`
    """
    particles = needs_particles(mu, "merge_clusters")
    x, log_w = particles.atoms()
    found, alive = _clusters(particles, radius)
    if not concrete(found):
        raise ValueError("`mu` is traced, but the number of clusters must be known: leave jit.")
    first, cluster = np.unique(np.asarray(found)[np.asarray(alive)], return_inverse=True)
    start, log_w = jax.tree.map(lambda a: a[first], x), log_w[alive]
    total = jax.ops.segment_max(log_w, cluster, first.size)
    total += jnp.log(jax.ops.segment_sum(jnp.exp(log_w - total[cluster]), cluster, first.size))
    weight = jnp.exp(log_w - total[cluster])
    # Differences to the first point keep their digits, and are short where coordinates are glued.
    x = jax.tree.map(lambda a: a[alive], x)
    anchors = jax.tree.map(lambda a: a[cluster], start)
    if glued(particles.space):
        shortest: Any = space_of(particles)
        moves = jax.vmap(shortest.logarithm)(anchors, x)
    else:
        moves = jax.tree.map(jnp.subtract, x, anchors)

    def mean(b, move):
        if not eqx.is_inexact_array(b):
            return b
        weights = weight.reshape(-1, *(1,) * (b.ndim - 1)).astype(b.dtype)
        return b + jax.ops.segment_sum(weights * move, cluster, first.size)

    return replace(particles, x=jax.tree.map(mean, start, moves), log_w=total).retract()


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
            away = jax.vmap(lambda y: distance(particles.space, centre, y))(x)
            return jnp.min(jnp.where((away <= 2 * radius) & alive, labels, labels[i]))

        return jnp.minimum(jax.lax.map(one, index, batch_size=256), labels)

    def advance(state):
        labels, _ = state
        new = jnp.where(alive, lowest(labels), index)
        # A label is the index of a point of the same cluster, so labels of labels are too.
        new = new[new]
        return new, jnp.any(new != labels)

    return jax.lax.while_loop(lambda s: s[1], advance, (index, jnp.asarray(True)))[0], alive


@checked
def soft_number_of_clusters(mu: AbstractMeasure, radius: FloatScalar) -> FloatScalar:
    r"""∫ μ(dx) / ∫ e^{−d(x, y)²/2r²} μ(dy): the number of clusters, differentiable.

    k clusters much smaller than the radius r and much further apart give k, whatever their masses.
    Masses count relative to the whole.

    !!! example

        `fm.soft_number_of_clusters(tokens, 0.1)`
    """
    check_positive("radius", radius)
    here = space(mu)
    total = mu.logmean(lambda y: jnp.zeros_like(inner(y, y)))

    def crowding(x):
        return mu.logmean(lambda y: -(distance(here, x, y) ** 2) / (2 * radius**2)) - total

    return mu.mean(lambda x: jnp.exp(-crowding(x)))


@checked
def time_to_clusters(ts: Float[Array, " T"], numbers: Int[Array, " T"], k: int) -> Float[Array, ""]:
    """The first of the times `ts` at which at most `k` clusters are left; +inf if there is none.

    To end a run there: `simulate(..., event=lambda t, mu: number_of_clusters(mu, radius) <= k)`.

    !!! example

        `fm.time_to_clusters(jnp.arange(3.0), jnp.array([3.0, 2.0, 1.0]), 2)`
    """
    known = ~(jnp.any(jnp.isnan(ts)) | jnp.any(jnp.isnan(numbers)))
    return jnp.where(known, jnp.min(jnp.where(numbers <= k, ts, jnp.inf)), jnp.nan)
