r"""A system on a manifold, in the coordinates of a chart: so its law can be a density on a grid.

With x = φ(θ) and its derivative J, tokens x that move in the image of the chart have

    θ̇ = J⁺ v(φ(θ), φ#μ),   J⁺ = (JᵀJ)⁻¹ Jᵀ,

and noise σ of equal strength in all tangent directions is, in Itô's calculus,

    dθ = [J⁺ v + ½ σ² Σ_m ∂_{B_m} B_m] dt + σ B dW,   B = J⁺.

Of noise that all points share, with fields ξ_m of Brownian motions B_m, it is

    dθ = [J⁺ v + ½ Σ_m (∂_{b_m} J⁺) J b_m] dt + Σ_m b_m dB_m,   b_m = J⁺ ξ_m.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._system import AbstractMeanField
from ...measures import Rates
from ...noise import Cylindrical, Dense, Isotropic


class InCoordinates(AbstractMeanField):
    r"""A system of points φ(θ) as one of coordinates θ.

    **Arguments:**

    - `system`: a mean-field system of points in R^d, without noise, with `Isotropic` noise, or with
      noise that all points share, in Itô's calculus, whose motion off the image of the chart is
      left out, as a space does.
    - `chart`: φ from R^k to R^d: `circle_chart`, `sphere_chart`, or any function of full rank.

    From a `GridDensity` of the coordinates it is the system's equation for densities on the
    manifold, of second order in the cells where the chart is regular, of lower order at the poles
    of `sphere_chart`; from particles it is the system itself.

    !!! example

        ```python
        law = fm.InCoordinates(fm.SelfAttention(beta=4.0), fm.circle_chart)
        density = fm.GridDensity(1 + 0.1 * jnp.cos(angles), 0.0, 2 * jnp.pi, periodic=True)
        run = fm.simulate(law, density, [0.0, 1.0], dt=0.01)
        ```
    """

    system: AbstractMeanField
    chart: Callable[[Array], Array]

    def rates(self, t, x, mu):
        law = self.system.rates(t, self.chart(x), mu.push(self.chart))
        velocity = self._down(x) @ law.velocity
        if law.noise is None:
            return Rates(velocity, None, law.growth)
        if law.noise.shared and self.system.calculus == "ito":
            return Rates(velocity + self._bent(x, law.noise), self._seen(x, law.noise), law.growth)
        if not isinstance(law.noise, Isotropic):
            raise ValueError(
                f"`system` has {type(law.noise).__name__} noise; coordinates are known for "
                "Isotropic noise, the same in all directions, and for Itô noise of all points."
            )
        sigma, down = jnp.asarray(law.noise.scale, x.dtype), self._down(x)
        along = jax.vmap(lambda b: jax.jvp(self._down, (x,), (b,))[1], in_axes=1, out_axes=2)(down)
        drift = sigma**2 / 2 * jnp.einsum("kmm->k", along)
        return Rates(velocity + drift, Dense(sigma * down), law.growth)

    def _seen(self, x, noise):
        """The shared noise as one of coordinates."""
        down, shape = self._down(x), noise.brownian(self.chart(x)).shape
        return Cylindrical(lambda w: down @ noise.apply(self.chart(x), w), shape)

    def _bent(self, x, noise):
        """½ Σ_m (∂_{b_m} J⁺) J b_m: points are brought back to the manifold along its normals."""
        fields = self._down(x) @ noise.matrix(self.chart(x))
        slope = jax.jacfwd(self.chart)(x)

        def turned(b):
            return jax.jvp(self._down, (x,), (b,))[1] @ (slope @ b)

        return jnp.sum(jax.vmap(turned, in_axes=1)(fields), 0) / 2

    def _down(self, x) -> Any:
        """J⁺."""
        slope = jax.jacfwd(self.chart)(x)
        return jnp.linalg.solve(slope.T @ slope, slope.T)
