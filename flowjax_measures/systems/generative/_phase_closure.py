r"""What is known of ψ and of log ρ in states and costates: given fields, or their moments.

D²ψ ≈ Cov(P, X) C⁻¹,   ∇ log ρ ≈ −C⁻¹(x − m),   C = Cov(X)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar
from ...spaces import Phase
from ...spaces._phase import as_phase

Field = Callable[[FloatScalar, Array], Array]


class Closure(NamedTuple):
    """At time t: m, C, Cov(P, X), and the fields ∇ψ and ∇ log ρ where they are given."""

    t: FloatScalar
    mean: Float[Array, " d"]
    spread: Float[Array, "d d"]
    mixed: Float[Array, "d d"]
    slope: Field | None
    known_score: Field | None

    def bend(self, q: Float[Array, " d"]) -> Float[Array, "d d"]:
        """D²ψ."""
        if self.slope is None:
            return jnp.linalg.solve(self.spread, self.mixed.T).T
        slope, t = self.slope, self.t
        return jax.jacfwd(lambda q: slope(t, q))(q)

    def score(self, q: Float[Array, " d"]) -> Float[Array, " d"]:
        """∇ log ρ."""
        if self.known_score is None:
            return -jnp.linalg.solve(self.spread, q - self.mean)
        return self.known_score(self.t, q)


def halves(x) -> Phase:
    """State and costate of a point."""
    return as_phase(x, "McKeanPontryagin")


def moments(mu):
    """The means of X and P, the covariance of X and that of P with X."""
    means = mu.mean(halves)

    def outer(x):
        q, p = (a - m for a, m in zip(halves(x), means, strict=True))
        return jnp.outer(q, q), jnp.outer(p, q)

    return means, *mu.mean(outer)
