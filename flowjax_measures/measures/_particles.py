"""Weighted particles: a system run from them is the interacting SDE."""

from functools import partial
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jaxtyping import Array, ArrayLike, Float, PyTree

from .._numerics import draw, given
from .._reduce import tilted_mean
from .._reduce._ring import check_sharding, meshless
from .._reduce._tilted import spread_mean
from ..noise._noise import NoiseField, floating
from ..spaces import AbstractSpace, Euclidean
from ._base import AbstractMeasure, Increment, atoms_covariance, concrete, evaluate, replace
from ._gaussian import Gaussian


class Particles(AbstractMeasure):
    r"""The empirical measure μ = Σ_i w_i δ_{x_i}.

    **Arguments:**

    - `x`: the points, an array of shape (n, d) or a pytree with leading axis n. Float leaves
      flow, integer leaves are labels and stay.
    - `log_w`: logarithms of the masses, shape (n,); `None` is 1/n each.
    - `weights`: the masses themselves, shape (n,), in place of `log_w`; 0 leaves an atom out.
    - `space`: where the points live.
    - `block`: number of sources in a tile of the sums; `None` chooses.
    - `kernel`: "tiled" takes sums in tiles of pairs, "pallas" by one kernel for accelerators
      where it fits: attention, masked by labels or not, in float32 or bfloat16 and at most 128
      dimensions, and its gradient. "auto" is the form that was measured to be faster, so far
      tiles everywhere. `block="pallas"` is `kernel="pallas"`.
    - `precision`: what the operands of products within sums are rounded to, on every platform:
      "tensorfloat32" (11 bits) or "bfloat16" (8 bits), which the units for products of matrices
      take at once. `None` is full precision.
    - `sharding`: `NamedSharding(mesh, PartitionSpec(axis))` spreads the particles over the devices
      of one axis of a mesh; their number must be a multiple of the number of devices. Sums then
      go round the ring of devices and none ever holds all particles.

    **Raises:** `ValueError` when the leading axes differ or no leaf is floating.

    !!! example

        `fm.Particles(jr.normal(key, (8, 2)), weights=jnp.arange(1.0, 9.0)).mean()`
    """

    x: PyTree
    log_w: Float[Array, " n"] | None
    space: AbstractSpace
    block: int | None = eqx.field(static=True)
    sharding: NamedSharding | None = eqx.field(static=True)
    kernel: Literal["auto", "tiled", "pallas"] = eqx.field(static=True)
    precision: Literal["tensorfloat32", "bfloat16"] | None = eqx.field(static=True)

    flows: ClassVar[tuple[str, ...]] = ("x", "log_w")

    def __init__(
        self,
        x,
        log_w=None,
        space: AbstractSpace = Euclidean(),
        block: int | Literal["pallas"] | None = None,
        sharding: NamedSharding | None = None,
        *,
        weights: ArrayLike | None = None,
        kernel: Literal["auto", "tiled", "pallas"] = "auto",
        precision: Literal["tensorfloat32", "bfloat16"] | None = None,
    ):
        if weights is not None:
            log_w = _logarithms(weights, log_w)
        if any(isinstance(leaf, str) for leaf in jax.tree.leaves(x)):
            raise ValueError("`x` holds words; give arrays of numbers, with one row a particle.")
        self.x = jax.tree.map(partial(given, "x"), x)
        self.log_w = None if log_w is None else given("log_w", log_w)
        self.space = space
        if not isinstance(space, AbstractSpace):
            name = getattr(space, "__name__", None)
            hint = f"an instance, {name}(...)" if name else "a space, such as Sphere()"
            raise ValueError(f"`space` is {space!r}; give {hint}.")
        self.block = None if block == "pallas" else block
        self.kernel = "pallas" if block == "pallas" else kernel
        self.sharding = sharding
        leaves = jax.tree.leaves(self.x)
        if not any(eqx.is_inexact_array(leaf) for leaf in leaves):
            raise ValueError(
                "`x` has no floating-point leaf, so nothing can flow: integers are labels. "
                "Convert the positions, for example x.astype(float)."
            )
        sizes = {leaf.shape[:1] for leaf in leaves}
        if len(sizes) != 1 or sizes == {()} or sizes == {(0,)}:
            raise ValueError(
                f"`x` has leaves of shapes {[leaf.shape for leaf in leaves]}; every leaf needs the "
                "same leading axis, one entry for each of n ≥ 1 particles."
                + " Of a list of numbers give jax.numpy.array(x)."
                * isinstance(x, list)
            )
        if self.log_w is not None and self.log_w.shape != leaves[0].shape[:1]:
            raise ValueError(
                f"`{'log_w' if weights is None else 'weights'}` has shape {self.log_w.shape} for "
                f"particles of leading axis {leaves[0].shape[:1]}; give one entry for each."
            )
        if not (self.block is None or (isinstance(block, int) and block >= 1)):
            raise ValueError(f"`block` is {block!r}; give a positive number of sources or None.")
        if kernel not in ("auto", "tiled", "pallas") or (block == "pallas" and kernel == "tiled"):
            raise ValueError(
                f'`kernel` is {kernel!r} with `block` {block!r}; give "auto", "tiled" or "pallas", '
                "and for `block` a number of sources or None."
            )
        self.precision = precision
        if precision not in (None, "tensorfloat32", "bfloat16"):
            raise ValueError(
                f'`precision` is {precision!r}; give "tensorfloat32", "bfloat16" or None for full.'
            )
        if self.log_w is not None and sharding is None:
            self.x = _neutral(self.x, self.log_w)
        if sharding is not None:
            check_sharding(sharding, self.size())
            self.x, self.log_w = jax.lax.with_sharding_constraint((self.x, self.log_w), sharding)
        self.check()

    def check(self):
        if self.log_w is None or not concrete(self.log_w):
            return
        log_w = np.asarray(self.log_w)
        if np.any(np.isnan(log_w)) or np.any(log_w == np.inf) or np.all(log_w == -np.inf):
            raise ValueError(
                "`log_w` holds NaN, +inf or nothing but −inf: masses must be non-negative, finite "
                "and not all zero, and `log_w` is their logarithm (−inf is a mass of 0)."
            )
        if log_w.size > 1 and np.all(log_w >= 0) and abs(np.sum(log_w, dtype=float) - 1) < 1e-3:
            raise ValueError(
                "`log_w` is not negative and sums to 1, as weights do: it holds their logarithms. "
                "Give Particles(x, weights=w)."
            )

    def size(self) -> int:
        """The number of particles n."""
        return jax.tree.leaves(self.x)[0].shape[0]

    def log_weights(self) -> Float[Array, " n"]:
        """Logarithms of the masses, also where `log_w` is None."""
        if self.log_w is not None:
            return self.log_w
        dtype = jnp.result_type(*jax.tree.leaves(floating(self.x)))
        return jnp.full(self.size(), -np.log(self.size()), dtype)

    def numbered(self) -> "Particles":
        """The same particles as pairs `(x, i)` with their positions 0, …, n − 1 as labels."""
        return replace(self, x=(self.x, jnp.arange(self.size(), dtype=jnp.int32)))

    def weighted(self):
        return replace(self, log_w=self.log_weights())

    def atoms(self):
        return self.x, self.log_weights()

    def lift(self, rates):
        law, field = evaluate(rates, self.x if self.sharding is None else meshless(self.x))
        project = jax.vmap(self.space.project)
        noise = None if field is None else _ParticleNoise(self, field)
        return Increment(
            replace(self, x=project(floating(self.x), law.velocity), log_w=law.growth), noise
        )

    def retract(self):
        x = jax.vmap(self.space.nearest)(self.x)
        if self.sharding is not None:
            x = jax.lax.with_sharding_constraint(x, self.sharding)
        return replace(self, x=x)

    def tilt(self, fn, logits):
        how: dict = {"block": self.block, "kernel": self.kernel, "precision": self.precision}
        if self.sharding is not None:
            return spread_mean(fn, logits, self.x, self.log_w, sharding=self.sharding, **how)
        return tilted_mean(fn, logits, self.x, self.log_w, **how)

    def push(self, fn):
        # The image's own space is not known: it is flat, with the coordinates of the values.
        return Particles(
            jax.vmap(fn)(self.x), self.log_w, block=self.block, sharding=self.sharding,
            kernel=self.kernel, precision=self.precision,
        )  # fmt: skip

    def covariance(self):
        return atoms_covariance(self)

    def is_mixture(self) -> bool:
        """Whether the points are `Gaussian`s, or pairs (m, Σ)."""
        pair = isinstance(self.x, tuple) and len(self.x) == 2
        ranks = [jnp.ndim(part) for part in self.x] if pair else []
        return isinstance(self.x, Gaussian) or ranks == [2, 3]

    def log_density(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        """log Σ_i w_i N(x; m_i, Σ_i) of a mixture: the points are `Gaussian`s, or pairs (m, Σ).

        **Raises:** `ValueError` for other points, which have no density of their own.
        """
        if not self.is_mixture():
            raise ValueError(
                "`log_density` is of mixtures: give points that are Gaussians, such as "
                "Particles((means, covariances)), or estimate it with a kernel."
            )
        parts = (self.x.m, self.x.cov) if isinstance(self.x, Gaussian) else self.x
        each = jax.vmap(lambda m, cov: Gaussian(m, cov).log_density(x))(*parts)
        return jax.nn.logsumexp(each + self.log_weights())

    def sample(self, key, n):
        if self.log_w is None:
            index = jax.random.randint(key, (n,), 0, self.size())
            return jax.tree.map(lambda a: a[index], self.x)
        masses = jnp.exp(self.log_w - jnp.max(self.log_w))
        index, known = draw(key, masses, n), jnp.isfinite(jnp.sum(masses))

        def pick(a):
            return jnp.where(known, a[index], jnp.nan) if eqx.is_inexact_array(a) else a[index]

        return jax.tree.map(pick, self.x)


def _neutral(x: PyTree, log_w: Float[Array, " n"]) -> PyTree:
    """The points, those without mass that are not finite put where the heaviest one is.

    0 · NaN would be seen in every sum.
    """
    if concrete(log_w) and not np.any(np.isneginf(np.asarray(log_w))):
        return x
    heaviest = jnp.argmax(log_w)

    def mend(a):
        if not eqx.is_inexact_array(a):
            return a
        absent = jnp.isneginf(log_w).reshape(-1, *(1,) * (a.ndim - 1)) & ~jnp.isfinite(a)
        return jnp.where(absent, a[heaviest], a)

    return jax.tree.map(mend, x)


def _logarithms(weights: ArrayLike, log_w: Any) -> Float[Array, " n"]:
    """Logarithms of masses, which are finite and not negative."""
    if log_w is not None:
        raise ValueError(
            "`weights` and `log_w` are both given; the one is the exponential of the other."
        )
    weights = given("weights", weights)
    if not jnp.issubdtype(weights.dtype, jnp.inexact):
        weights = weights.astype(float)
    if concrete(weights):
        values = np.asarray(weights)
        if not np.all(np.isfinite(values)) or np.any(values < 0) or not np.any(values > 0):
            raise ValueError(
                "`weights` holds NaN, inf, a negative number, or only zeros; give masses ≥ 0, at "
                "least one of them positive."
            )
    positive = weights > 0
    return jnp.where(positive, jnp.log(jnp.where(positive, weights, 1)), -jnp.inf)


class _ParticleNoise(eqx.Module):
    measure: Particles
    field: NoiseField

    def brownian(self):
        return self.field.brownian()

    def apply(self, increments):
        move = self.field.apply(increments)
        x = jax.vmap(self.measure.space.project)(floating(self.measure.x), move)
        return replace(self.measure, x=x, log_w=None)
