r"""Magnetic geodesics: a charge that is free but for a magnetic field ([arnold1961], [maier2025]).

    ∇_q̇ q̇ = Y_q(q̇),   ⟨Y(ξ), η⟩ = σ(ξ, η)

The speed is conserved. On the plane and the flat torus with the field s·area the paths are circles
of radius |q̇|/s. On the sphere S² they are circles too: L = q × q̇ + s q is conserved, and q turns
about L at the rate |L| = √(|q̇|² + s²).
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import Scalar
from ..._system import AbstractMeanField
from ...measures import Rates
from ...spaces import Phase
from ...spaces._phase import of_kind


class MagneticGeodesic(AbstractMeanField):
    """Independent charges; points are `Phase(q, p)`, p the velocity.

    On the sphere run it from `Particles(…, space=PhaseSpace(Sphere()))`.

    **Arguments:** `field`: s for the field s·area on R², T² and S² (by the length 2 or 3 of q), or
    a function of q that returns the skew matrix Y_q.

    !!! example

        `fm.simulate(fm.MagneticGeodesic(1.0), fm.Particles(fm.Phase(mu.x, mu.x)), [0.0, 0.1])`
    """

    field: Scalar | Callable[[Array], Float[Array, "d d"]] = 1.0

    def rates(self, t, x, mu):
        of_kind(x, Phase, "MagneticGeodesic")
        return Rates(Phase(x.p, self._force(x.q, x.p)))

    def _force(self, q, v):
        if callable(self.field):
            return self.field(q) @ v
        if q.shape == (2,):
            return self.field * jnp.stack([-v[1], v[0]])
        if q.shape == (3,):
            return self.field * jnp.cross(q, v)
        raise ValueError(
            f"`field` is a number and q has shape {q.shape}; a multiple of the area needs 2 "
            "coordinates, or 3 on the sphere. Give a function q ↦ Y_q."
        )
