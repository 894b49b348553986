r"""Losses of a fit: how far a simulated measure μ is from an observed one ν.

    energy_distance   2 E‖X−Y‖ − E‖X−X′‖ − E‖Y−Y′‖
    sinkhorn          S_ε(μ, ν)
    mmd               ½ ∬ k d(μ−ν) d(μ−ν)
    sliced            SW₂²(μ, ν)
    moments           ‖m_μ − m_ν‖² + ‖Σ_μ − Σ_ν‖²
    trajectory        Σ_i w_i ‖x_i − y_i‖² over points with identities
    summaries         the likelihood of summaries, in `_fit_summaries`

Entropic couplings alone shrink what is learned from them; the divergence is debiased, and zero
where the measures agree.
"""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from .._custom_types import FloatScalar
from ..energies import MMD, SinkhornDivergence, SlicedWasserstein
from ..inference._each import each
from ..kernels import AbstractKernel, EnergyDistance, GaussianKernel
from ..kernels._base import correlate
from ..measures import AbstractMeasure, Particles
from ..measures._base import is_measure, replace
from ..noise._noise import floating
from ..transport import energy_distance
from ._asked import Comparison
from ._summaries import Summaries, summary_likelihood

WITHOUT_RUN = ("increments", "jko", "self_test")
NAMES = (
    "energy_distance", "sinkhorn", "mmd", "sliced", "moments", "summaries", "trajectory",
    *WITHOUT_RUN,
)  # fmt: skip


UNBIASED = ("energy_distance", "mmd")


class _Multiquadric(AbstractKernel):
    """−2 √(‖x − y‖² + η²): twice, since `MMD` is half of an energy distance."""

    eta: Array

    def __call__(self, x, y):
        square = jnp.sum((x - y) ** 2)
        return -2 * jnp.sqrt(square + self.eta.astype(square.dtype) ** 2)


class Distance(eqx.Module):
    """A named loss of two states, averaged over the measures that a state holds."""

    name: str = eqx.field(static=True)
    kernel: Any
    epsilon: Any
    directions: Any
    summaries: Any = None
    independent: bool = eqx.field(static=True, default=False)
    populations: int = eqx.field(static=True, default=1)

    def __call__(self, simulated: Any, observed: Any) -> FloatScalar:
        here, there = (jax.tree.leaves(s, is_leaf=is_measure) for s in (simulated, observed))
        if self.name == "trajectory":
            parts = [_displacement(a, b) for a, b in zip(here, there, strict=True)]
        else:
            parts = [self._one(_cloud(a), _cloud(b)) for a, b in zip(here, there, strict=True)]
        return sum(parts[1:], parts[0]) / len(parts)

    def without_cones(self, snapshots: list) -> "Distance":
        """The energy distance with the kernel −√(‖z‖² + η²), η 5% of the width of the data.

        Its own cones, where simulated and observed points coincide, have no Hessian.
        """
        if self.name != "energy_distance":
            return self
        square = jnp.asarray(_square_width(snapshots), jnp.result_type(float))
        return replace(self, name="mmd", kernel=_Multiquadric(0.05 * jnp.sqrt(square)))

    def _one(self, mu: AbstractMeasure, nu: AbstractMeasure) -> FloatScalar:
        if self.name == "summaries":
            return summary_likelihood(self.summaries, _split(mu, self.populations), nu)
        if self.name in UNBIASED and (self.independent or self.populations > 1):
            kernel = self.kernel if self.name == "mmd" else EnergyDistance()
            inner = _without_self(kernel, mu, self.populations) + _without_self(kernel, nu, 1)
            value = inner / 2 - correlate(kernel, mu, nu)
            return value if self.name == "mmd" else 2 * value
        if self.name == "energy_distance":
            return energy_distance(mu, nu)
        if self.name == "sinkhorn":
            return SinkhornDivergence(nu, self.epsilon)(mu)
        if self.name == "mmd":
            return MMD(nu, self.kernel)(mu)
        if self.name == "sliced":
            return 2 * SlicedWasserstein(nu, self.directions)(mu)
        mean = jax.tree.map(jnp.subtract, mu.mean(), nu.mean())
        return jnp.sum(mean**2) + jnp.sum((mu.covariance() - nu.covariance()) ** 2)


def named(comparison: Comparison, snapshots: list, populations: int, dtype) -> Distance:
    """The loss of this name; what is not given is set by the width of the data."""
    loss, kernel, epsilon, directions, summaries, independent = comparison
    if loss not in NAMES:
        raise ValueError(
            f"`loss` is {loss!r}; it is one of {NAMES} or a function "
            "`loss(simulated, observed) -> scalar`."
        )
    if independent and loss not in UNBIASED:
        raise ValueError(
            f"`independent`: the loss {loss!r} has no unbiased form; take "
            '"energy_distance" or "mmd".'
        )
    measures = jax.tree.leaves(snapshots, is_leaf=is_measure)
    if loss == "trajectory" and populations > 1:
        raise ValueError(
            '`initial`: the loss "trajectory" follows the particles of one population; give one '
            "measure, or take a loss of unlabelled particles."
        )
    if loss not in ("trajectory", *WITHOUT_RUN):
        if not all(is_measure(m) for m in measures):
            raise ValueError(
                f"`snapshots` hold {type(measures[0])}, but the loss {loss!r} compares measures; "
                "give for example `Particles(x)`."
            )
        if (loss == "sinkhorn" and epsilon is None) or (loss == "mmd" and kernel is None):
            square = _square_width(snapshots)
            # 5% of the mean squared distance of two points, twice the trace.
            epsilon = jnp.asarray(0.1 * square, dtype) if epsilon is None else epsilon
            kernel = (
                GaussianKernel(jnp.asarray(square**0.5 / 2, dtype)) if kernel is None else kernel
            )
        if loss == "summaries" and summaries is None:
            summaries = Summaries(jnp.asarray(_square_width(snapshots) ** 0.5, dtype))
    return Distance(loss, kernel, epsilon, directions, summaries, independent, populations)


def _split(mu: Any, populations: int) -> Any:
    """A mixture of populations as populations, stacked."""
    return jax.tree.map(lambda a: a.reshape(populations, -1, *a.shape[1:]), mu)


def _without_self(kernel: Any, mu: Any, populations: int) -> Array:
    """∬ k dμ dμ over pairs of different particles: its mean over samples is that of their law.

    Particles that interact are not independent; of several populations different ones make pairs.
    """
    if not isinstance(mu, Particles):
        return jnp.asarray(correlate(kernel, mu, mu))
    if populations > 1:
        within = jax.vmap(lambda nu: correlate(kernel, nu, nu))(_split(mu, populations))
        all_pairs = correlate(kernel, mu, mu)
        return (populations * all_pairs - jnp.mean(within)) / (populations - 1)
    squares = jax.nn.softmax(mu.log_weights()) ** 2
    diagonal = jnp.vdot(squares, jax.vmap(lambda x: kernel(x, x))(mu.x))
    return (correlate(kernel, mu, mu) - diagonal) / (1 - jnp.sum(squares))


def _square_width(snapshots: list) -> float:
    """The mean squared distance to the centre, averaged over snapshots."""
    measures = jax.tree.leaves(snapshots, is_leaf=is_measure)
    square = float(np.mean([np.trace(np.asarray(m.covariance())) for m in measures]))
    return square if math.isfinite(square) and square > 0 else 1.0


def average(loss: Callable, simulated: list, observed: list) -> Array:
    """The mean loss over times."""
    values = each(lambda mu, nu: jnp.asarray(loss(mu, nu)), simulated, observed)
    if values[0].ndim:
        raise ValueError(
            f"`loss` must return a scalar; it returned an array of shape {values[0].shape}."
        )
    return sum(values[1:], values[0]) / len(values)


def _cloud(mu: Any) -> Any:
    """Particles as vectors of their float coordinates, labels left out."""
    if not isinstance(mu, Particles):
        return mu
    return Particles(jax.vmap(lambda x: ravel_pytree(floating(x))[0])(mu.x), mu.log_w)


def _displacement(mu: Any, nu: Any) -> Array:
    if not is_measure(mu):
        return jnp.mean((mu - nu) ** 2)
    if not (isinstance(mu, Particles) and isinstance(nu, Particles)) or mu.size() != nu.size():
        raise ValueError(
            '`snapshots`: the loss "trajectory" compares particle by particle and needs as many '
            'particles in each snapshot as at the start; without identities take "sinkhorn" or '
            '"energy_distance".'
        )
    here, there = _cloud(mu), _cloud(nu)
    weights = jax.nn.softmax(nu.log_weights())
    return jnp.vdot(weights, jnp.sum((here.x - there.x) ** 2, axis=-1))
