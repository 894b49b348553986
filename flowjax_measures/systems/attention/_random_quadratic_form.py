r"""The random quadratic form on the sphere (Engel and Shalova).

    dX = −P_X ∘dQ X,   Q = ½(B + Bᵀ),   P_X = I − X Xᵀ,

Stratonovich, with the n² entries of B independent Brownian motions shared by all points: the
gradient flow of the white-in-time functional ½ xᵀ dQ x, tokens under random linear feed-forward
layers. A single point is uniform in the long run; of two, u = ⟨X, Y⟩ solves, whatever n,

    du = −u(1 − u²) dt + √2 (1 − u²) dW     (Itô),

so they become equal or antipodal. By symmetry the Itô and the Stratonovich equation with projected
noise are the same on the sphere.
"""

from typing import ClassVar, Literal

import jax.numpy as jnp

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField
from ...measures import Rates
from ...noise._noise import Cylindrical


class RandomQuadraticForm(AbstractMeanField):
    r"""Points on the sphere in a common random quadratic potential.

    **Arguments:** `strength`: the factor of dQ, 1 in the source; time runs as its square.

    Run it from particles with `space=Sphere()`, which projects the noise.

    !!! example

        `fm.simulate(fm.RandomQuadraticForm(0.1), tokens, [0.0, 1.0], dt=0.1, key=key)`
    """

    strength: FloatScalar = 1.0

    calculus: ClassVar[Literal["ito", "stratonovich"]] = "stratonovich"

    def rates(self, t, x, mu):
        def field(increment):
            return -self.strength * ((increment + increment.T) / 2) @ x

        return Rates(jnp.zeros_like(x), Cylindrical(field, (x.size, x.size)))
