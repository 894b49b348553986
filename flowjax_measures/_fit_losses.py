r"""Losses of a fit: how far a simulated measure μ is from an observed one ν.

    energy_distance   2 E‖X−Y‖ − E‖X−X′‖ − E‖Y−Y′‖
    sinkhorn          S_ε(μ, ν)
    mmd               ½ ∬ k d(μ−ν) d(μ−ν)
    sliced            SW₂²(μ, ν)
    moments           ‖m_μ − m_ν‖² + ‖Σ_μ − Σ_ν‖²
    trajectory        Σ_i w_i ‖x_i − y_i‖² over points with identities

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

from ._custom_types import FloatScalar
from ._noise import floating
from .energies import MMD, SinkhornDivergence, SlicedWasserstein
from .kernels import AbstractKernel, EnergyDistance, GaussianKernel
from .kernels._base import correlate
from .measures import AbstractMeasure, Particles
from .measures._base import is_measure
from .transport import energy_distance

NAMES = ("energy_distance", "sinkhorn", "mmd", "sliced", "moments", "trajectory", "increments")


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
    independent: bool = eqx.field(static=True, default=False)

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
        return Distance("mmd", _Multiquadric(0.05 * jnp.sqrt(square)), None, None, self.independent)

    def _one(self, mu: AbstractMeasure, nu: AbstractMeasure) -> FloatScalar:
        if self.independent:
            kernel = self.kernel if self.name == "mmd" else EnergyDistance()
            inner = _without_self(kernel, mu) + _without_self(kernel, nu)
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


def named(
    loss: str, snapshots: list, kernel, epsilon, directions, independent: bool, dtype
) -> Distance:
    """The loss of this name; what is not given is set by the width of the data."""
    if loss not in NAMES:
        raise ValueError(
            f"`loss` is {loss!r}; it is one of {NAMES} or a function "
            "`loss(simulated, observed) -> scalar`."
        )
    if independent and loss not in ("energy_distance", "mmd"):
        raise ValueError(
            f"`independent`: the loss {loss!r} has no unbiased form; take "
            '"energy_distance" or "mmd".'
        )
    measures = jax.tree.leaves(snapshots, is_leaf=is_measure)
    if loss not in ("trajectory", "increments"):
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
    return Distance(loss, kernel, epsilon, directions, independent)


def _without_self(kernel: Any, mu: Any) -> Array:
    """∬ k dμ dμ over pairs of different particles: its mean over samples is that of their law."""
    if not isinstance(mu, Particles):
        return jnp.asarray(correlate(kernel, mu, mu))
    squares = jax.nn.softmax(mu.log_weights()) ** 2
    diagonal = jnp.vdot(squares, jax.vmap(lambda x: kernel(x, x))(mu.x))
    return (correlate(kernel, mu, mu) - diagonal) / (1 - jnp.sum(squares))


def _square_width(snapshots: list) -> float:
    """The mean squared distance to the centre, averaged over snapshots."""
    measures = jax.tree.leaves(snapshots, is_leaf=is_measure)
    square = float(np.mean([np.trace(np.asarray(m.covariance())) for m in measures]))
    return square if math.isfinite(square) and square > 0 else 1.0


def average(loss: Callable, simulated: list, observed: list) -> Array:
    """The mean loss over times; equal shapes are compiled once."""
    kinds: dict[Any, list[int]] = {}
    for i, state in enumerate(observed):
        leaves, structure = jax.tree.flatten(eqx.filter(state, eqx.is_array))
        kinds.setdefault((structure, tuple(a.shape for a in leaves)), []).append(i)
    total = jnp.zeros(())
    for places in kinds.values():
        pairs = [(simulated[i], observed[i]) for i in places]
        arrays, rest = zip(*[eqx.partition(pair, eqx.is_array) for pair in pairs], strict=True)
        stacked = jax.tree.map(lambda *a: jnp.stack(a), *arrays)
        one = lambda pair, rest=rest[0]: loss(*eqx.combine(pair, rest))  # noqa: E731
        values = jax.lax.map(one, stacked)
        if values.ndim != 1:
            raise ValueError(
                f"`loss` must return a scalar; it returned an array of shape {values.shape[1:]}."
            )
        total = jnp.sum(values) + total.astype(values.dtype)
    return total / len(observed)


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
