r"""Brownian motion of the Hellinger–Kantorovich geometry of measures ([delloschiavo2025]).

    dx_i = √(2α/s_i) dW_i,   ds_i = (βθ/n) dt + √(2β s_i) dB_i,   μ = Σ_i s_i δ_{x_i}

The metric of an atom of mass s at x is s|dx|²/α + ds²/(βs): light atoms run, heavy ones rest. n
atoms are reversible for Π_i s_i^{θ/n − 1} ds_i dx_i, which tends to the multiplicative Lebesgue
measure of intensity θ. The whole mass is a squared Bessel process of dimension 2θ for every n,

    dS = βθ dt + √(2βS) dB,   E e^{−λS_t} = (1 + λβt)^{−θ} exp(−λS_0/(1 + λβt)):

recurrent for θ ≤ 1, transient beyond.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, NonNegative
from ..._system import AbstractMeanField
from ...measures import Particles, Rates
from ...noise._noise import Diagonal


class Atom(NamedTuple):
    """A point of mass `s` at `x`, where the mass itself moves at random.

    !!! example

        `fm.Atom(jnp.zeros((5, 2)), jnp.ones(5)).x`
    """

    x: Float[Array, " d"]
    s: FloatScalar


class HellingerKantorovichBrownian(AbstractMeanField):
    """Brownian motion of the metric `WassersteinFisherRao(alpha, beta)`, with generator Δ (not ½Δ).

    From `Particles` of `Atom(x, s)`, on a torus in `Product(Atom(Torus(), Euclidean()))`. A step
    may leave a mass below 0, where it counts as 0.

    **Arguments:** `alpha`: α. `beta`: β. `theta`: θ ≥ 0, the intensity; at 0 atoms die out.

    !!! example

        `fm.HellingerKantorovichBrownian(1.0, 4.0)`
    """

    alpha: NonNegative = 1.0
    beta: NonNegative = 4.0
    theta: NonNegative = 1.0

    def rates(self, t, x, mu):
        if not isinstance(mu, Particles) or not isinstance(x, Atom):
            raise ValueError(
                "HellingerKantorovichBrownian moves Particles of `Atom(x, s)`; it was given "
                f"{type(mu).__name__} of {type(x).__name__}."
            )
        mass = jnp.maximum(x.s, 0)
        # The lightest move so fast that on a torus they are anywhere.
        run = jnp.sqrt(2 * self.alpha / jnp.maximum(mass, 1e-6))
        birth = jnp.asarray(self.beta * self.theta / mu.size(), x.x.dtype)
        # √ has no derivative at 0, and no noise there.
        alive = mass > 0
        spread = jnp.where(alive, jnp.sqrt(2 * self.beta * jnp.where(alive, mass, 1)), 0)
        noise = Diagonal(Atom(jnp.full_like(x.x, 1) * run, spread))
        return Rates(Atom(jnp.zeros_like(x.x), birth), noise)
