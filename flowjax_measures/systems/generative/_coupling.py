"""Couplings of two measures, as mixtures of pairs of Gaussians or points."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..._custom_types import FloatScalar, PRNGKey
from ..._numerics import draw, given
from ..._numerics._cubature import factor
from ...kernels._base import log_mass
from ...measures import AbstractMeasure, Gaussian, Particles
from ...measures._base import concrete
from ._checks import check_cross, check_ends
from ._draws import normals, points, within
from ._paths import given_pairs
from ._posterior import Parts


class Coupling(eqx.Module):
    """The law of (X_0, X_1) beyond its marginals: a plan's masses of pairs that are not zero, the
    covariance of two Gaussians, or nothing (independent)."""

    i: Int[Array, " k"] | None = None
    j: Int[Array, " k"] | None = None
    log_w: Float[Array, " k"] | None = None
    cross: Float[Array, "d d"] | None = None

    @property
    def independent(self) -> bool:
        """Whether X_0 and X_1 are."""
        return self.log_w is None and self.cross is None

    def tilt(
        self,
        source: AbstractMeasure,
        target: AbstractMeasure,
        fn: Callable[[Parts], Any],
        logits: Callable[[Parts], FloatScalar],
    ) -> tuple[Any, FloatScalar]:
        """The tilted mean over the parts, and its log-normaliser; the masses count as one."""
        if self.log_w is not None:
            pairs = self._pairs(source, target)
            mean, log = pairs.tilt(lambda p: fn(_parts(*p)), lambda p: logits(_parts(*p)))
            return mean, log - log_mass(pairs)

        def inner(p):
            join = lambda q: _parts(p, q, self.cross)  # noqa: E731
            return _over(target, lambda q: fn(join(q)), lambda q: logits(join(q)))

        if isinstance(source, Gaussian):
            return inner((source.m, source.cov))
        return _over(source, lambda p: inner(p)[0], lambda p: inner(p)[1])

    def _pairs(self, source, target) -> Particles:
        x = jax.tree.map(lambda a: a[self.i], source.atoms()[0])
        return Particles((x, jax.tree.map(lambda a: a[self.j], target.atoms()[0])), self.log_w)

    def sample(self, source, target, key: PRNGKey, n: int) -> tuple[Array, Array]:
        """`n` pairs."""
        pick, one, two = jax.random.split(key, 3)
        if self.log_w is not None and self.i is not None and self.j is not None:
            k = draw(pick, jnp.exp(self.log_w - jnp.max(self.log_w)), n)
            x, y = (measure.atoms()[0] for measure in (source, target))
            return within(x, self.i[k], one), within(y, self.j[k], two)
        if self.cross is not None:
            both = jnp.block([[source.cov, self.cross], [self.cross.T, target.cov]])
            # Not as a Gaussian, which refuses what round-off leaves where X_1 is a map of X_0.
            z = normals(pick, jnp.zeros((n, len(both)), both.dtype)) @ factor(both).T
            return source.m + z[:, : source.m.size], target.m + z[:, source.m.size :]
        return points(source, one, n), points(target, two, n)


def _parts(p: Any, q: Any, cross: Any = None) -> Parts:
    """An atom is a point or, in a mixture of Gaussians, the mean and the covariance of a part."""
    (a, A), (b, B) = (y if isinstance(y, tuple) else (y, None) for y in (p, q))
    return Parts(a, A, b, B, cross)


def _over(measure, fn, logits):
    """The tilted mean over the parts of a measure, and its log-normaliser; the mass is one."""
    if isinstance(measure, Gaussian):
        whole = (measure.m, measure.cov)
        return fn(whole), logits(whole)
    mean, log = measure.tilt(fn, logits)
    if isinstance(measure, Particles) and measure.log_w is None:
        return mean, log
    return mean, log - log_mass(measure)


def coupled(source: Any, target: Any, masses: Any) -> Coupling:
    """The coupling that is given by a word, by masses of pairs or as a covariance."""
    check_ends(source, target)
    if masses is None or isinstance(masses, Coupling):
        return masses or Coupling()
    if isinstance(masses, str):
        i = given_pairs(source, target, masses)
        return Coupling(i, i, jnp.full(i.size, -np.log(i.size), target.atoms()[1].dtype))
    masses = given("coupling", masses)
    sides = [isinstance(m, Gaussian) for m in (source, target)]
    if sides[0] != sides[1]:
        raise ValueError(
            "`coupling` is between atoms and a Gaussian; give two measures with atoms, such as "
            "Particles(mu.sample(key, n)), or two Gaussians."
        )
    sizes = tuple(m.m.size if all(sides) else m.atoms()[1].size for m in (source, target))
    if masses.shape != sizes:
        raise ValueError(
            f"`coupling` has shape {masses.shape} and not {sizes}; give the masses of pairs of "
            "atoms, between two Gaussians the covariance of X_0 and X_1."
        )
    if all(sides):
        check_cross(source, target, masses)
        return Coupling(cross=masses)
    i, j = np.nonzero(np.asarray(masses) if concrete(masses) else np.ones(masses.shape))
    return Coupling(jnp.asarray(i, jnp.int32), jnp.asarray(j, jnp.int32), jnp.log(masses[i, j]))
