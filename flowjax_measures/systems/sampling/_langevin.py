r"""Langevin's equation, overdamped ([pavliotis2014]).

    dX = −∇V(X) dt + √(2/β) dW,   with the invariant law e^{−βV}.

From a grid it is the Fokker–Planck equation, from a Gaussian its closure. Additive noise.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._custom_types import FloatScalar, Point, Positive
from ..._system import AbstractMeanField
from ...measures import Rates
from ...noise._noise import Isotropic


class Langevin(AbstractMeanField):
    """Independent points in a potential, at inverse temperature β.

    **Arguments:** `potential`: V. `beta`: β. At β = 1 it is the Wasserstein flow of `KL(V)`.

    !!! example

        `fm.simulate(fm.Langevin(f, beta=2.0), mu, [0.0, 1.0], dt=0.01, key=key)`
    """

    potential: Callable[[Point], FloatScalar]
    beta: Positive = 1.0

    def rates(self, t, x, mu):
        force = jax.tree.map(jnp.negative, eqx.filter_grad(self.potential)(x))
        return Rates(force, Isotropic(jnp.sqrt(2 / jnp.asarray(self.beta))))
