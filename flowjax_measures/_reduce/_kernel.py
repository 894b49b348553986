r"""Means under the weights w_j e^{⟨q_i, k_j⟩}, forward and backward, in one kernel each.

    m_i = Σ_j p_ij v_j,      p_ij = w_j e^{⟨q_i, k_j⟩ − s_i},      s_i = log Σ_j w_j e^{⟨q_i, k_j⟩}

With cotangents g_i of Σ_j p_ij v_j and h_i of Σ_j p_ij at fixed s, and
u_ij = p_ij (⟨g_i, v_j⟩ + h_i), the derivatives are q̄_i = Σ_j u_ij k_j, k̄_j = Σ_i u_ij q_i and
v̄_j = Σ_i p_ij g_i: no number for each pair leaves the chip.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._pallas import Form, features, form, number, over_tiles

# Up to here the features of a tile fit the memory of a chip.
MANY = 128


class Pairs(NamedTuple):
    """What is summed: o problems, each of n targets and m sources.

    `may(own, theirs)` tells of which labels of a target and a source the pair takes part.
    """

    q: Float[Array, "o n d"]
    k: Float[Array, "o m d"]
    v: Float[Array, "o m e"]
    log_w: Float[Array, "o m"]
    own: Sequence[Int[Array, "o n"]] = ()
    theirs: Sequence[Int[Array, "o m"]] = ()
    may: Callable | None = None

    def form(self, platform: str) -> Form:
        """How the kernel is made for a platform."""
        return form(platform, max(self.q.shape[-1], self.v.shape[-1]))


def forward(pairs: Pairs, platform: str) -> tuple[Float[Array, "o n e"], Float[Array, "o n"]]:
    """The means and s, in float32; 0 and −∞ where nothing is seen."""
    form, width = pairs.form(platform), pairs.v.shape[-1]

    def start(size):
        column = jnp.zeros((size, 1), jnp.float32)
        return column - jnp.inf, column, _zeros(size, width, form)

    def step(targets, sources, carry):
        (q, *own), (k, v, log_w, *theirs) = targets, sources
        top, total, sums = carry
        tilt = _seen(_outer(q, k) + log_w, own, theirs, pairs.may)
        new = jnp.maximum(top, jnp.max(tilt, axis=1, keepdims=True))
        shift = jnp.where(new == -jnp.inf, 0.0, new)
        p, rescale = jnp.exp(tilt - shift), jnp.exp(top - shift)
        sums = jax.tree.map(lambda s, more: s * rescale + more, sums, _against(p, v))
        return new, total * rescale + jnp.sum(p, axis=1, keepdims=True), sums

    def finish(carry):
        top, total, sums = carry
        empty = total == 0
        safe = jnp.where(empty, 1.0, total)
        means = jax.tree.map(lambda s: s / safe, sums)
        return [means, jnp.where(empty, -jnp.inf, top + jnp.log(safe))]

    targets = [features(pairs.q, form), *[number(a, True) for a in pairs.own]]
    sources = _sources(pairs, form, False)
    mean, s = over_tiles(step, start, finish, targets, sources, (width, 0), form)
    return mean, s


def backward(
    pairs: Pairs, s: Float[Array, "o n"], g: Float[Array, "o n e"], h: Float[Array, "o n"],
    platform: str,
) -> tuple[Array, Array, Array, Array, Array]:  # fmt: skip
    """q̄ and Σ_j u_ij of the targets, k̄, v̄ and Σ_i u_ij of the sources, in float32."""
    form, d, e = pairs.form(platform), pairs.q.shape[-1], pairs.v.shape[-1]
    s, add = jnp.where(jnp.isneginf(s), 0.0, s), lambda a, b: jax.tree.map(jnp.add, a, b)
    row = lambda u: jnp.sum(u, axis=1, keepdims=True)  # noqa: E731

    def of_target(targets, sources, carry):
        (q, g, h, s, *own), (k, v, log_w, *theirs) = targets, sources
        p = jnp.exp(_seen(_outer(q, k) + log_w - s, own, theirs, pairs.may))
        u = p * (_outer(g, v) + h)
        return add(carry, [_against(u, k), row(u)])

    def of_source(sources, targets, carry):
        (k, v, log_w, *theirs), (q, g, h, s, *own) = sources, targets
        may = None if pairs.may is None else lambda theirs, own: pairs.may(own, theirs)  # pyright: ignore
        p = jnp.exp(_seen(_outer(k, q) + log_w - s, theirs, own, may))
        u = p * (_outer(v, g) + h)
        return add(carry, [_against(u, q), _against(p, g), row(u)])

    def start(*widths):
        return lambda size: [
            *[_zeros(size, w, form) for w in widths], jnp.zeros((size, 1), jnp.float32)
        ]  # fmt: skip

    def targets(rows):
        # A target that is not there looks at nothing.
        parts = [features(pairs.q, form), features(g.astype(pairs.v.dtype), form)]
        parts += [number(h, rows), number(s, rows, jnp.inf)]
        return [*parts, *[number(a, rows) for a in pairs.own]]

    same = lambda carry: carry  # noqa: E731
    q_bar, moved = over_tiles(
        of_target, start(d), same, targets(True), _sources(pairs, form, False), (d, 0), form
    )
    k_bar, v_bar, weight = over_tiles(
        of_source, start(d, e), same, _sources(pairs, form, True), targets(False), (d, e, 0), form
    )
    return q_bar, moved, k_bar, v_bar, weight


def _sources(pairs, form, rows):
    parts = [features(pairs.k, form), features(pairs.v, form)]
    parts += [number(pairs.log_w.astype(jnp.float32), rows, -jnp.inf)]
    return [*parts, *[number(a, rows) for a in pairs.theirs]]


def _zeros(size: int, width: int, form: Form) -> Any:
    if form.coordinates:
        return (jnp.zeros((size, 1), jnp.float32),) * width
    return jnp.zeros((size, form.padded(width)), jnp.float32)


def _outer(a: Any, b: Any) -> Array:
    """⟨a_i, b_j⟩ of rows and columns."""
    if isinstance(a, tuple):
        parts = [x.astype(jnp.float32) * y.astype(jnp.float32).T for x, y in zip(a, b, strict=True)]
        return sum(parts[1:], parts[0])
    return _dot(a, b, 1)


def _against(p: Array, v: Any) -> Any:
    """Σ_j p_ij v_j."""
    if isinstance(v, tuple):
        return tuple(jnp.sum(p * y.astype(p.dtype).T, axis=1, keepdims=True) for y in v)
    return _dot(p.astype(v.dtype), v, 0)


def _dot(a: Array, b: Array, axis: int) -> Array:
    # Mosaic knows two precisions; of bfloat16 there is one.
    chosen = jax.config.jax_default_matmul_precision  # pyright: ignore
    full = a.dtype == jnp.float32 and chosen in (None, "highest", "float32")
    return jax.lax.dot_general(
        a, b, (((1,), (axis,)), ((), ())), preferred_element_type=jnp.float32,
        precision=jax.lax.Precision.HIGHEST if full else jax.lax.Precision.DEFAULT,
    )  # fmt: skip


def _seen(tilt: Array, own: Sequence, theirs: Sequence, may: Callable | None) -> Array:
    if may is None:
        return tilt
    spread = lambda labels: [jnp.broadcast_to(a, tilt.shape) for a in labels]  # noqa: E731
    return jnp.where(may(spread(own), spread(theirs)), tilt, -jnp.inf)
