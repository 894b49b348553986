r"""The Allen–Cahn equation on shallow networks, the functions u = u_0 + Σ_i a_i φ(x − b_i).

∂_t u = Δu − W′(u) / ε²,   the L² gradient flow of E(u) = ∫ ½ |∇u|² + W(u) / ε² dx
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, Positive, Scalar
from ..._numerics import Checked


def _gaussian(x):
    return jnp.exp(-jnp.sum(x**2) / 2)


def _double_well(u):
    return (1 - u**2) ** 2 / 4


class AllenCahn(Checked):
    r"""The equation on an interval, for parameters θ = (a, b), two vectors of length n; or on a box
    of R^d, for b of shape (n, d).

    Its methods are what `NaturalGradient`, `DiracFrenkel` and `MinimizingMovement` ask for.

    **Arguments:** `lower`, `upper`: the interval, or the corners of a box, shape (d,). `profile`:
    φ, a Gaussian by default. `well`: W, (1 − u²)²/4 by default. `epsilon`: ε. `background`: u_0.
    `nodes`: number of Gauss–Legendre nodes, along each axis.

    !!! example

        ```python
        model = fm.AllenCahn(-10.0, 10.0, epsilon=0.5)
        flow = fm.NaturalGradient(model.embedding, model.energy)
        ```
    """

    lower: Scalar | Float[Array, " d"]
    upper: Scalar | Float[Array, " d"]
    profile: Callable[[Any], Any] = _gaussian
    well: Callable[[Any], Any] = _double_well
    epsilon: Positive = 1.0
    background: FloatScalar = 0.0
    nodes: int = eqx.field(static=True, default=200)

    def value(self, theta: tuple[Array, Array], x: Any) -> Float[Array, ""]:
        """u at one point x."""
        a, b = theta
        return self.background + jnp.vdot(a, jax.vmap(self.profile)(x - b))

    def _quadrature(self, dtype) -> tuple[Array, Array]:
        z, w = np.polynomial.legendre.leggauss(self.nodes)
        lower, upper = (jnp.asarray(end, dtype) for end in (self.lower, self.upper))
        half, d = (upper - lower) / 2, max(lower.size, 1)
        z = np.stack(np.meshgrid(*[z] * d, indexing="ij"), -1).reshape(-1, d)
        w = np.prod(np.stack(np.meshgrid(*[w] * d, indexing="ij"), -1), -1).ravel()
        x = lower + half * (1 + jnp.asarray(z, dtype))
        return x.reshape(-1, *lower.shape), jnp.prod(half) * jnp.asarray(w, dtype)

    def _weighted(self, function, theta) -> Float[Array, " nodes"]:
        x, w = self._quadrature(theta[0].dtype)
        return jnp.sqrt(w) * jax.vmap(function)(x)

    def embedding(self, theta: tuple[Array, Array]) -> Float[Array, " nodes"]:
        """u as a vector of Euclidean norm ‖u‖."""
        return self._weighted(lambda x: self.value(theta, x), theta)

    def field(self, theta: tuple[Array, Array]) -> Float[Array, " nodes"]:
        """Δu − W′(u)/ε² as such a vector."""
        u = lambda x: self.value(theta, x)  # noqa: E731
        bend = lambda x: jnp.trace(jnp.atleast_2d(jax.hessian(u)(x)))  # noqa: E731
        return self._weighted(
            lambda x: bend(x) - jax.grad(self.well)(u(x)) / self.epsilon**2, theta
        )

    def energy(self, theta: tuple[Array, Array]) -> FloatScalar:
        """E(u)."""
        u = lambda x: self.value(theta, x)  # noqa: E731
        steep = lambda x: jnp.sum(jax.grad(u)(x) ** 2) / 2  # noqa: E731
        density = lambda x: steep(x) + self.well(u(x)) / self.epsilon**2  # noqa: E731
        x, w = self._quadrature(theta[0].dtype)
        return jnp.vdot(w, jax.vmap(density)(x))

    def splittings(self, theta: tuple[Array, Array]) -> tuple[Array, Array]:
        """Parameters that take the closest two neurons apart another way along an axis, stacked.

        A pair of total mass A at b has the tangent −φ″ only as 3A/2 at b + δ and −A/2 at b + 3δ.
        """
        a, b = theta
        places = b.reshape(len(b), -1)
        gaps = jnp.sum((places[:, None] - places) ** 2, -1)
        gaps = jnp.where(jnp.tri(len(b), dtype=bool), jnp.inf, gaps)
        i, j = jnp.unravel_index(jnp.argmin(gaps), gaps.shape)
        mass, middle = a[i] + a[j], (b[i] + b[j]) / 2

        def split(shift):
            split_a = a.at[i].set(1.5 * mass).at[j].set(-0.5 * mass)
            return split_a, b.at[i].set(middle + shift).at[j].set(middle + 3 * shift)

        axes = jnp.eye(places.shape[1], dtype=b.dtype)[:, None]
        shifts = jnp.asarray([-0.2, -0.05, 0.05, 0.2], b.dtype)[:, None] * axes
        return jax.vmap(split)(shifts.reshape(-1, *middle.shape))
