r"""EPDiff: geodesics of the diffeomorphisms, by the particles that carry the momentum.

    q̇ = ∫ k(q, q′) p′ dμ,   ṗ = −∇_q ⟨p, ∫ k(q, q′) p′ dμ⟩

is Hamiltonian with H = ½ ∬ k ⟨p, p′⟩ dμ dμ: the Euler–Arnold equation of the right-invariant metric
with the kernel k, for the momentum m = ∫ p δ_q dμ(q, p) ([holm2005]). On the line with
k = ½ e^{−|x−y|} its particles are the peakons of the Camassa–Holm equation, u = k∗m.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._custom_types import FloatScalar, Point
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Rates
from ...spaces import Phase
from ...spaces._phase import of_kind


class EPDiff(AbstractMeanField):
    """Particles of momentum; points are `Phase(q, p)`.

    N peakons of momenta p_i with weights 1/N carry N p_i each.

    **Arguments:** `kernel`: k, a symmetric function of two positions.

    !!! example

        ```python
        fm.simulate(
            fm.EPDiff(fm.GaussianKernel(1.0)), fm.Particles(fm.Phase(mu.x, mu.x)), [0.0, 0.1]
        )
        ```
    """

    kernel: Callable[[Point, Point], FloatScalar]

    def velocity(self, q: Array, mu: AbstractMeasure) -> Array:
        """u(q) = ∫ k(q, q′) p′ dμ, how the fluid moves at any q."""
        return mu.mean(lambda y: self.kernel(q, y.q) * y.p)

    def energy(self, mu: AbstractMeasure) -> FloatScalar:
        """H."""
        return mu.mean(lambda x: jnp.vdot(x.p, self.velocity(x.q, mu))) / 2

    def rates(self, t, x, mu):
        of_kind(x, Phase, "EPDiff")
        # JAX's derivative of |x| at 0 is 1; that of a symmetrised kernel is 0 at a kink.
        slope = jax.grad(lambda a, b: (self.kernel(a, b) + self.kernel(b, a)) / 2)
        force = mu.mean(lambda y: slope(x.q, y.q) * jnp.vdot(x.p, y.p))
        return Rates(Phase(self.velocity(x.q, mu), -force))
