"""The methods of `minimize` by name, with parameters that have no scale of energies."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._custom_types import Scalar
from .._system import AbstractMeanField, AbstractSystem, Sum
from ..measures import Particles, Rates
from ..noise._noise import Isotropic, floating
from ..solvers import ConsensusJumps
from ..systems.consensus import (
    AdamConsensus,
    ConsensusBased,
    ConsensusBasedSampling,
    CovarianceConsensus,
    EffectiveSampleSize,
    EqualityConstraint,
    MemoryConsensus,
    MirrorConsensus,
    ParetoConsensus,
    PolarizedConsensus,
    SaddleConsensus,
    SwarmConsensus,
)

NAMES = (
    "consensus", "covariance", "polarized", "memory", "mirror", "swarm", "adam", "saddle", "pareto",
    "sampling", "jumps",
)  # fmt: skip


def chosen(
    method: Any, objective: Callable, mu: Particles, walls: Any, dt: Scalar, images: int | None
) -> tuple[AbstractSystem, tuple | None]:
    """The system, and the rate and strength of jumps where there are some."""
    if isinstance(method, ConsensusJumps):
        return _named("consensus", objective, mu, walls, dt, images), (method.rate, method.strength)
    if method is None or isinstance(method, str):
        name = method or ("consensus" if images is None else "pareto")
        if name not in NAMES:
            raise ValueError(f"`method` is {name!r}; it is one of {NAMES}, or a consensus system.")
        jumps = (1.0, 0.5) if name == "jumps" else None
        return _named(name, objective, mu, walls, dt, images), jumps
    if isinstance(method, type):
        raise ValueError(
            f"`method` is the class {method.__name__}; give an instance, for example "
            f"{method.__name__}(objective)."
        )
    if not isinstance(method, AbstractSystem) or not _objectives(method):
        raise ValueError(
            f"`method` is {type(method).__name__}, which has no objective to minimise; give one of "
            f"{NAMES}, or a consensus system such as ConsensusBased(objective)."
        )
    return method, None


def constraints_of(method: Any) -> list[EqualityConstraint]:
    """The constraints in a system, which hold at its minimum."""
    method = getattr(method, "parts", method)
    if isinstance(method, Sum):
        return constraints_of(method.first) + constraints_of(method.second)
    return [method] if isinstance(method, EqualityConstraint) else []


def _objectives(method: Any) -> bool:
    if isinstance(method, Sum):
        return _objectives(method.first) or _objectives(method.second)
    return hasattr(method, "objective") or hasattr(method, "objectives")


def _named(name, objective, mu, walls, dt, images):
    rule, step = EffectiveSampleSize(0.05), jnp.asarray(dt)
    truncation = None if walls is not None else _width(mu.x)
    if name in ("consensus", "jumps"):
        # Multiplicative noise without walls has heavy tails: jumps end at the first width.
        return ConsensusBased(objective, 1.0, 2.7, rule, "anisotropic", truncation=truncation)
    if name == "covariance":
        # The covariance stays without selection, and a tenth of each width is added.
        sigma = 1.1 * jnp.sqrt((1 - 0.2**2) / step)
        return CovarianceConsensus(objective, 0.8 / step, sigma, EffectiveSampleSize(0.3))
    if name == "polarized":
        # Groups of few points, which agree too soon, come down slopes by noise of their own.
        width = 0.17 * _width(mu.x)
        system = PolarizedConsensus(
            objective, 1.0, 2.4, EffectiveSampleSize(0.2), "anisotropic", kernel_width=width,
            local_alpha=True,
        )  # fmt: skip
        return system + _Shaken(_Falling(width, 2.0))
    if name == "memory":
        # Memories move to better places at once.
        return MemoryConsensus(
            objective, 1.0, 2.0, rule, "anisotropic", memory_rate=1 / step, sharpness=jnp.inf
        )
    if name == "mirror":
        # In the middle a step of the dual is a quarter of the box's width of the primal.
        into, slope = _into(walls), _width(mu.x) / 2
        return MirrorConsensus(objective, into, 1 / slope, 2.7 / slope, rule, "anisotropic")
    if name == "swarm":
        return SwarmConsensus(objective, 1.0, 2.0, rule, "anisotropic", inertia=2 * step)
    if name == "adam":
        return AdamConsensus(objective, _Falling(_width(mu.x) / 2, 4.0), 2.0, rule, step=step)
    if name == "sampling":
        return ConsensusBasedSampling(objective, EffectiveSampleSize(0.5), "optimization")
    if name == "saddle":
        return SaddleConsensus(objective, 1.0, 2.0, rule, rule, "anisotropic")
    return ParetoConsensus(objective, _preferences(images, mu.size()), 1.0, 2.0, 1e3, "anisotropic")


class _Falling(eqx.Module):
    """A speed that falls by e in a time."""

    speed: Scalar
    time: Scalar

    def __call__(self, t):
        return self.speed * jnp.exp(-t / self.time)


class _Shaken(AbstractMeanField):
    """Noise that falls in time."""

    sigma: Callable[[Any], Any]

    def rates(self, t, x, mu):
        return Rates(jax.tree.map(jnp.zeros_like, floating(x)), Isotropic(self.sigma(t)))


def _into(walls: Any) -> Callable[[PyTree], PyTree]:
    """The mirror map onto the inside of the walls; see `_out_of`."""
    if walls is None:
        raise ValueError(
            '`method` "mirror" maps onto the inside of `bounds`, which are not given; give them, '
            "or a MirrorConsensus with a map of your own."
        )
    return _Into(*walls)


class _Into(eqx.Module):
    lower: PyTree
    upper: PyTree

    def __call__(self, y):
        inside = lambda a, b, z: a + (b - a) * jax.nn.sigmoid(z)  # noqa: E731
        return jax.tree.map(inside, self.lower, self.upper, y)


def dual(walls: tuple[PyTree, PyTree], x: PyTree) -> PyTree:
    """The dual places of those between the walls, for the method "mirror"."""

    def logit(z, a, b):
        u = jnp.clip((z - a) / jnp.where(b > a, b - a, 1), 1e-6, 1 - 1e-6)
        return jnp.log(u) - jnp.log1p(-u)

    return jax.tree.map(logit, x, *walls)


def _preferences(images: int | None, size: int):
    """`size` points of the simplex: regular for two objectives, a lattice for more."""
    if images is None:
        raise ValueError('`method` "pareto" wants an objective that returns a vector of values.')
    if images == 2:
        w = jnp.arange(0.5, size) / size
        return jnp.stack([w, 1 - w], axis=1)
    # An additive recurrence, by the root of x^m = x + 1, on the cube, then spacings of the simplex.
    root = 2.0
    for _ in range(60):
        root = (1 + root) ** (1 / images)
    steps = root ** -jnp.arange(1.0, images)
    cube = jnp.sort((0.5 + jnp.arange(float(size))[:, None] * steps) % 1, axis=1)
    ends = jnp.pad(cube, ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1)))
    return jnp.diff(ends, axis=1)


@eqx.filter_jit
def _width(x: PyTree):
    widths = jax.tree.map(lambda a: jnp.max(jnp.abs(a - jnp.mean(a, axis=0))), floating(x))
    return jax.tree.reduce(jnp.maximum, widths)
