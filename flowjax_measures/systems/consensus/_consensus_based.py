r"""Consensus-based optimisation ([pinnau2017], [carrillo2021]).

    dX = −λ (X − c(μ)) dt + σ |X − c(μ)| dW            (isotropic)
    dX = −λ (X − c(μ)) dt + σ diag(X − c(μ)) dW        (anisotropic)
    c(μ) = ∫ x e^{−αf} dμ / ∫ e^{−αf} dμ

Points drift to the weighted mean of all, and explore in proportion to their distance from it. Itô.
"""

from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._custom_types import FloatScalar, Point
from ..._noise import Diagonal, Isotropic
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Rates


class ConsensusBased(AbstractMeanField):
    r"""Consensus-based optimisation of `objective`.

    **Arguments:**

    - `objective`: function f of one point, to be minimised.
    - `drift_rate`: λ > 0.
    - `sigma`: strength of exploration σ. Isotropic noise contracts when 2λ > dσ², anisotropic
      when 2λ > σ², in any dimension.
    - `alpha`: α; the consensus tends to the best point as it grows (Laplace principle).
    - `noise`: "anisotropic" or "isotropic".
    """

    objective: Callable[[Point], FloatScalar]
    drift_rate: FloatScalar = 1.0
    sigma: FloatScalar = 0.7
    alpha: FloatScalar = 30.0
    noise: Literal["isotropic", "anisotropic"] = eqx.field(static=True, default="anisotropic")

    def __check_init__(self):
        if self.noise not in ("isotropic", "anisotropic"):
            raise ValueError(f'`noise` is {self.noise!r}; it is "isotropic" or "anisotropic".')

    def consensus(self, mu: AbstractMeasure) -> Point:
        """The consensus point c(μ)."""
        return mu.mean(logits=lambda y: -self.alpha * self.objective(y))

    def rates(self, t, x, mu):
        away = jax.tree.map(jnp.subtract, x, self.consensus(mu))
        velocity = jax.tree.map(lambda z: -self.drift_rate * z, away)
        if self.noise == "anisotropic":
            return Rates(velocity, Diagonal(jax.tree.map(lambda z: self.sigma * z, away)))
        square = jax.tree.reduce(jnp.add, jax.tree.map(lambda z: jnp.sum(z**2), away))
        # |z| has no derivative at the consensus itself; 0 is the one that a Dirac needs.
        distance = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
        return Rates(velocity, Isotropic(self.sigma * distance))
