r"""The self-test loss: a weak form whose test function is the candidate itself ([gao2024]).

For ∂_t μ = ∇·(μ ∇ψ*) + D Δμ, ψ = V + K∗μ a candidate and E(μ) = ∫ V dμ + ½ ∬ K dμ dμ,

    ½ ∫∫ ‖∇ψ − ∇ψ*‖² dμ_t dt  =  ½ ∫∫ ‖∇ψ‖² dμ_t dt + E(μ_T) − E(μ_0) − D ∫∫ Δψ dμ_t dt + const,

since dE(μ_t)/dt = ∫ ψ ∂_t μ. The right side needs neither runs, nor identities, nor derivatives of
data, and is quadratic in what enters ψ linearly: a start for a fit through runs. Integrals in time
are trapezoids, so its minimiser is off by the square of the distance of times.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._custom_types import FloatScalar
from .._numerics import checked
from .._system import AbstractSystem
from ..energies import AbstractEnergy, InteractionEnergy, PotentialEnergy
from ..measures import AbstractMeasure
from ..systems.flows import GradientFlow, McKeanVlasov
from ._each import each


@checked
def self_test(system: AbstractSystem, ts: Any, snapshots: list[AbstractMeasure]) -> FloatScalar:
    """The loss, over the time of the data. D is held: it is not learned by this loss.

    **Raises:** `ValueError` for a system that is neither `McKeanVlasov` nor a `GradientFlow`.

    !!! example

        `fm.self_test(fm.McKeanVlasov(fm.Quadratic(1.0)), [0.0, 0.1], [mu, nu])`
    """
    energy, diffusivity = _energy(system)
    held = None if diffusivity is None else jax.lax.stop_gradient(jnp.asarray(diffusivity))

    def rate(mu):
        def at(x):
            slope = jax.grad(energy.first_variation)(x, mu)
            return jnp.vdot(slope, slope) / 2

        value = mu.mean(at)
        if held is None:
            return value
        curved = mu.mean(lambda x: jnp.trace(jax.hessian(energy.first_variation)(x, mu)))
        return value - held.astype(value.dtype) * curved

    times = np.asarray(ts, np.float64)
    spans = np.diff(times)
    weights = (np.append(spans, 0) + np.append(0, spans)) / 2
    rates = each(rate, snapshots)
    spent = sum(float(w) * r for w, r in zip(weights, rates, strict=True))
    return (spent + energy(snapshots[-1]) - energy(snapshots[0])) / float(times[-1] - times[0])


def _energy(system: AbstractSystem) -> tuple[AbstractEnergy, Any]:
    """The energy that a system descends, less its entropy, and the diffusivity."""
    if isinstance(system, McKeanVlasov):
        parts = []
        if system.potential is not None:
            parts.append(PotentialEnergy(system.potential))
        if system.kernel is not None:
            parts.append(InteractionEnergy(system.kernel))
        if parts:
            return sum(parts[1:], parts[0]), None if system.beta is None else 1 / system.beta
    if isinstance(system, GradientFlow):
        return system.energy, None
    raise ValueError(
        f'`system` is {type(system).__name__}; the loss "self_test" needs the energy that a flow '
        "descends: a `McKeanVlasov` with a potential or a kernel, or a `GradientFlow`."
    )
