r"""Where a layer normalises ([xiong2020]).

With N(x) = scale · x/|x|, a token on the sphere, and Γ a layer's drift among normalised tokens,

    post   x ← N(x + hΓ(x))            the flow on `Sphere()` itself
    pre    x ← x + hΓ(N(x))            ẋ = Γ(N(x)):     |x|' = ⟨N(x), Γ⟩,  N(x)' = P Γ/|x|
    peri   x ← x + hN(Γ(N(x)))         ẋ = N(Γ(N(x)))

so pre-normalised tokens turn slower and slower as they grow.
"""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField
from ...measures import Particles
from ...measures._base import replace


class Normalized(AbstractMeanField):
    r"""A system whose layers normalise before (and after) instead of on the residual.

    **Arguments:**

    - `system`: the layer Γ, for example `SelfAttention(beta=4.0)`.
    - `placement`: "pre" or "peri"; for "post" run `system` itself on `Sphere()`.
    - `scale`: the length of a normalised token, 1 by default.

    Run it from particles in flat space.
    """

    system: AbstractMeanField
    placement: Literal["pre", "peri"] = eqx.field(static=True, default="pre")
    scale: FloatScalar = 1.0

    def __check_init__(self):
        if self.placement not in ("pre", "peri"):
            raise ValueError(f'`placement` is {self.placement!r}; it is "pre" or "peri".')

    def rates(self, t, x, mu):
        if not isinstance(mu, Particles):
            raise ValueError(
                f"Normalised tokens of a {type(mu).__name__} are no {type(mu).__name__}; run it "
                "from `Particles`."
            )
        tokens = replace(mu, x=jax.vmap(self._normalize)(mu.x))
        rates = self.system.rates(t, self._normalize(x), tokens)
        if self.placement == "pre":
            return rates
        return rates._replace(velocity=self._normalize(rates.velocity))

    def _normalize(self, x):
        square = jnp.sum(x**2)
        positive = square > 0
        norm = jnp.sqrt(jnp.where(positive, square, 1))
        return jnp.where(positive, self.scale * x / norm, jnp.zeros_like(x))
