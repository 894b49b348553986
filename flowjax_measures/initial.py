"""Laws to start from. Keys are arguments; nothing has a default key."""

from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.core import Tracer
from jax.scipy.special import gammaln
from jaxtyping import Array, ArrayLike, Float, Num

from ._custom_types import PRNGKey
from ._numerics import safe_power
from ._numerics._checks import check_key, check_positive
from .measures import AbstractMeasure, GridDensity, Particles
from .spaces import Euclidean, Sphere, Torus


def _check(key: PRNGKey, n: int) -> None:
    """Raises where a key or a number of particles isn't one."""
    check_key(key)
    if not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"`n` is {n!r}; give a whole number of particles ≥ 1.")


def normal(key: PRNGKey, n: int, d: int, scale: ArrayLike = 1.0) -> Particles:
    """`n` particles of N(0, scale² I) in R^d."""
    _check(key, n)
    return Particles(scale * jr.normal(key, (n, d)))


def uniform(key: PRNGKey, n: int, lower: ArrayLike, upper: ArrayLike) -> Particles:
    """`n` particles uniform in the box from `lower` to `upper`, vectors of length d."""
    _check(key, n)
    lower, upper = jnp.atleast_1d(jnp.asarray(lower)), jnp.atleast_1d(jnp.asarray(upper))
    return Particles(lower + (upper - lower) * jr.uniform(key, (n, lower.size), upper.dtype))


def uniform_on_sphere(key: PRNGKey, n: int, d: int) -> Particles:
    """`n` particles uniform on the unit sphere of R^d."""
    _check(key, n)
    return Particles(jr.normal(key, (n, d)), space=Sphere()).retract()


def uniform_on_torus(key: PRNGKey, n: int, d: int, length: float = 1.0) -> Particles:
    """`n` particles uniform on the torus of the given period."""
    _check(key, n)
    return Particles(length * jr.uniform(key, (n, d)), space=Torus(length))


def barenblatt(
    t: ArrayLike,
    exponent: ArrayLike,
    cells: int | tuple[int, ...],
    lower: ArrayLike,
    upper: ArrayLike,
) -> GridDensity:
    r"""Barenblatt's solution of ∂_t ρ = Δρ^m from a point of mass one at 0.

        ρ = t^{−α} (C − k |x|² t^{−2α/d})_+^{1/(m−1)},   α = d/(d(m − 1) + 2),   k = α(m − 1)/(2md)

    **Arguments:** `t` > 0. `exponent`: m > 1, of the flow of `PowerEnergy(m)`. `cells`: their
    number along each axis; `lower`, `upper`: the box. The values are those at the cells' centres.

    !!! example

        `simulate(GradientFlow(PowerEnergy(2.0)), barenblatt(0.1, 2.0, 200, -2.0, 2.0), [0.1, 0.2])`
    """
    shape = (cells,) if isinstance(cells, int) else tuple(cells)
    blank = GridDensity(jnp.ones(shape), lower, upper)
    d, m, t = len(shape), jnp.asarray(exponent, float), jnp.asarray(t, float)
    alpha = d / (d * (m - 1) + 2)
    k, power = alpha * (m - 1) / (2 * m * d), 1 / (m - 1)
    # ∫ (C − k|z|²)_+^{1/(m−1)} dz = 1.
    volume = d / 2 * jnp.log(jnp.pi / k) + gammaln(power + 1) - gammaln(power + 1 + d / 2)
    top = jnp.exp(-volume / (power + d / 2))
    square = jnp.sum(blank.centres() ** 2, -1) * t ** (-2 * alpha / d)
    rho = t**-alpha * safe_power(top - k * square, power)
    return GridDensity(rho, lower, upper)


def from_distribution(
    distribution: Callable[[Float[Array, ""]], ArrayLike],
    cells: int,
    lower: ArrayLike,
    upper: ArrayLike,
) -> GridDensity:
    r"""The law on the line with the distribution function F, as a start or as the target of a flow.

    Each cell from a to b has its exact mass, F(b) − F(a), divided by that of the whole box.

    **Arguments:** `distribution`: F, of a number. `cells`: their number; `lower`, `upper`: the box.

    **Raises:** `ValueError` where F falls, is NaN, or leaves more than 1% of its mass outside.

    !!! example

        ```python
        logistic = fm.initial.from_distribution(jax.nn.sigmoid, 400, -20.0, 20.0)
        flow = fm.GradientFlow(fm.MMD(logistic, fm.EnergyDistance()))
        ```
    """
    if not isinstance(cells, int | np.integer) or cells < 1:
        raise ValueError(f"`cells` is {cells!r}; give their number on the line, ≥ 1.")
    blank = GridDensity(jnp.ones(cells), lower, upper)
    steps = jnp.arange(cells + 1) / cells
    walls = blank.lower[0] + steps.astype(blank.lower.dtype) * (blank.upper[0] - blank.lower[0])
    levels = jax.vmap(lambda x: jnp.asarray(distribution(x), walls.dtype))(walls)
    shares = jnp.diff(levels)
    inside = levels[-1] - levels[0]
    traced = isinstance(levels, Tracer)
    if not traced and not (np.all(shares >= 0) and 0.99 <= inside <= 1 + 1e-6):
        raise ValueError(
            f"`distribution` runs from {levels[0]:.4g} to {levels[-1]:.4g} over the box, in steps "
            f"down to {jnp.min(shares):.4g}; give a function that never falls, from nearly 0 to "
            "nearly 1, and a box with nearly all of its mass."
        )
    return GridDensity(shares / inside / blank.cell, lower, upper)


def patches(
    image: Num[Array, "height width channels"], size: int, dimension: int
) -> tuple[Particles, Float[Array, "rows columns channels"]]:
    """The square patches of an image as tokens on the sphere.

    Every patch of `size` × `size` pixels becomes its `dimension` leading principal components,
    scaled to unit variance and to unit length.

    **Arguments:** `image`, shape (height, width, channels), any range; `size` in pixels;
    `dimension` of the tokens.

    **Returns:** rows · columns tokens in reading order, and the mean colour of each patch.
    """
    image = jnp.asarray(image, float)
    rows, columns = image.shape[0] // size, image.shape[1] // size
    if rows == 0 or columns == 0 or dimension > size * size * image.shape[2]:
        raise ValueError(
            f"`size` {size} and `dimension` {dimension} do not fit an image of shape {image.shape}."
        )
    tiles = image[: rows * size, : columns * size].reshape(rows, size, columns, size, -1)
    tiles = tiles.transpose(0, 2, 1, 3, 4)
    flat = tiles.reshape(rows * columns, -1)
    flat = flat - flat.mean(0)
    components, _, _ = jnp.linalg.svd(flat, full_matrices=False)
    tokens = components[:, :dimension] * jnp.sqrt(jnp.asarray(flat.shape[0], float))
    return Particles(tokens, space=Sphere()).retract(), tiles.mean((2, 3))


def neurons(
    key: PRNGKey,
    n: int,
    inputs: int,
    outputs: int | None = None,
    *,
    law: Literal["normal", "balanced"] = "normal",
    paired: bool = False,
) -> Particles:
    """`n` neurons (u, v) for a `ShallowNetwork`.

    **Arguments:**

    - `inputs`: the length of u. `outputs`: the length of v, `None` for a number.
    - `law`: "normal", all entries standard normal; "balanced", for homogeneous activations: u and v
      uniform on unit spheres, so that |u| = |v|, which training keeps.
    - `paired`: neurons come as (u, v), (u, −v), a network that is 0. `n` is then even.

    **Raises:** `ValueError` for an odd number of paired neurons or an unknown law.
    """
    if law not in ("normal", "balanced"):
        raise ValueError(f"`law` is {law!r}; give 'normal' or 'balanced'.")
    if paired and n % 2:
        raise ValueError(f"`n` is {n}; paired neurons need an even number.")
    half = n // 2 if paired else n
    inner, outer = jr.split(key)
    u = jr.normal(inner, (half, inputs))
    v = jr.normal(outer, (half,) if outputs is None else (half, outputs))
    if law == "balanced":
        u = u / jnp.linalg.norm(u, axis=1, keepdims=True)
        v = jnp.sign(v) if outputs is None else v / jnp.linalg.norm(v, axis=1, keepdims=True)
    if paired:
        u, v = jnp.concatenate([u, u]), jnp.concatenate([v, -v])
    return Particles((u, v))


def dirichlet_ferguson(
    key: PRNGKey, base: AbstractMeasure, mass: ArrayLike, n: int = 100
) -> Particles:
    r"""A random measure Σ_k w_k δ_{x_k} of the Dirichlet–Ferguson law ([ferguson1973]).

    Atoms are drawn from the base ν, masses by breaking a stick: w_k = v_k Π_{j<k} (1 − v_j) with
    v_k ~ Beta(1, θ). The shares of the sets of a partition are Dirichlet(θν(A_i)), and

        E ∫f dμ = ∫f dν,   Var ∫f dμ = Var_ν f/(1 + θ).

    The last of the `n` atoms takes what is left of the stick, (θ/(1 + θ))^{n−1} in the mean.

    **Arguments:** `base`: ν, any measure that can be sampled. `mass`: θ > 0.

    !!! example

        `jax.vmap(lambda k: fm.initial.dirichlet_ferguson(k, nu, 2.0, 50))(keys)` are many of them;
        it is the invariant law of `FlemingViot(theta * nu / 2)`.
    """
    check_positive("mass", mass)
    places, sticks = jr.split(key)
    x = base.sample(places, n)
    dtype = jnp.result_type(*(a for a in jax.tree.leaves(x) if eqx.is_inexact_array(a)))
    # 1 − v = u^{1/θ}, whose logarithms are −e/θ.
    left = -jr.exponential(sticks, (n - 1,), dtype) / jnp.asarray(mass, dtype)
    before = jnp.concatenate([jnp.zeros(1, dtype), jnp.cumsum(left)])
    taken = jnp.concatenate([jnp.log(-jnp.expm1(left)), jnp.zeros(1, dtype)])
    return Particles(x, before + taken, space=getattr(base, "space", Euclidean()))
