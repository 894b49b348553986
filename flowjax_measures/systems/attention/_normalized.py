r"""Where a layer normalises ([xiong2020]).

With N(x) = s x/|x|, a token of length s, and Γ a layer's drift among normalised tokens,

    post   x ← N(x + hΓ(x))            the flow on `Sphere()` itself
    pre    x ← x + hΓ(N(x))            ẋ = Γ(N(x)):     |x|' = ⟨x, Γ⟩/|x|,  (x/|x|)' = PΓ/|x|
    peri   x ← x + hN(Γ(N(x)))         ẋ = N(Γ(N(x)))

and scaled is pre with s(t) = (1 + t)^{−1/2}, the square root of the depth ([sun2025]).

In a tight cluster of attention with V = I, Γ = s x̄/|x̄| for all, so that lengths grow at the rate
s and angles δ between tokens fall at the rate s/|x|: δ ∝ 1/|x|. After normalisation on the
residual they fall as e^{−t}, before it as 1/t, scaled as t^{−1/2}.
"""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField
from ...measures import Particles
from ...measures._base import replace
from ._matrices import at


class Normalized(AbstractMeanField):
    r"""A system whose layers normalise before (and after) instead of on the residual.

    **Arguments:**

    - `system`: the layer Γ, for example `SelfAttention(beta=4.0)`.
    - `placement`: "pre" or "peri"; for "post" run `system` itself on `Sphere()`.
    - `scale`: the length s of a normalised token, 1 by default, or a function of time.

    Run it from particles in flat space.

    !!! example

        `Normalized(SelfAttention(beta=4.0), scale=lambda t: (1 + t) ** -0.5)` is the scaled one.
    """

    system: AbstractMeanField
    placement: Literal["pre", "peri"] = eqx.field(static=True, default="pre")
    scale: FloatScalar | Callable[[FloatScalar], Any] = 1.0

    def __check_init__(self):
        if self.placement not in ("pre", "peri"):
            raise ValueError(f'`placement` is {self.placement!r}; it is "pre" or "peri".')

    def rates(self, t, x, mu):
        if not isinstance(mu, Particles):
            raise ValueError(
                f"Normalised tokens of a {type(mu).__name__} are no {type(mu).__name__}; run it "
                "from `Particles`."
            )
        scale = at(self.scale, t)
        tokens = replace(mu, x=jax.vmap(lambda y: _of_length(scale, y))(mu.x))
        rates = self.system.rates(t, _of_length(scale, x), tokens)
        if self.placement == "pre":
            return rates
        return rates._replace(velocity=_of_length(scale, rates.velocity))


def _of_length(scale, x):
    square = jnp.sum(x**2)
    vanishes = square <= 0
    norm = jnp.sqrt(jnp.where(vanishes, 1, square))
    return jnp.where(vanishes, jnp.zeros_like(x), jnp.asarray(scale, x.dtype) * x / norm)
