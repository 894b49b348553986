r"""Common noise of a random perceptron layer (Agazzi, Bruno, Garcia, Saviozzi and Romito).

    dX = σ P_X dξ(t, X),   E dξ(t, x) dξ(t, y)ᵀ = k(x, y) I dt,

the limit of a deep network whose layers x ← N(x + √h A φ(Wx)/√m) are random, as the width m and
the depth 1/h grow: ξ is a Gaussian field, white in time, common to all points, with the kernel of
the activation, k(x, y) = E φ(⟨w, x⟩) φ(⟨w, y⟩). Of layers x ← N(x + √h (φ(Mx) − m) + h a m), with M
white in depth and m(x) = E φ(⟨w, x⟩), it is k(x, y) − m(x) m(y), beside the drift a P_X m 1: none
where φ is odd. Itô and Stratonovich agree on the sphere S^{d−1}. There the small distance of two
points has d log|δ| = λ dt + s dB with

    λ = (σ²/2) [(d − 3) k'(1) − (d − 1) k(1)],   s² = σ² [k'(1) + k(1)],   k(x, y) = k(⟨x, y⟩).
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Rates
from ...noise._noise import Cylindrical
from ._activation_kernels import activation_function, layer_kernel, layer_mean, layer_slope


class RandomMLPNoise(AbstractMeanField):
    r"""The Gaussian field of a wide random layer.

    **Arguments:**

    - `activation`: φ, one of "relu", "tanh", "erf", "linear", or a function of a number.
    - `sigma`: σ, the strength.
    - `features`: rows w_1, …, w_m, shape (m, d), such as `jr.normal(key, (m, d))`, or None.
    - `mean`: a, of layers φ(Mx); `None` is those with signs A. `exponent` is that of a = 0.

    Without features it is exact in law at all the points of a measure. It is drawn at the n atoms
    x_i through a Cholesky factor L of the matrix k(x_i, x_j) + εI and continued between them as its
    conditional mean, ξ(x) = Σ_j k(x, x_j) (L⁻ᵀ dB)_j; ε is round-off. So points that have met stay
    together, and the cost is O(n³) a step. Points closer than √ε (1e-7 in float64, 1e-3 in float32)
    move as one.

    With features the field is dξ(x) = Σ_i φ(⟨w_i, x⟩) dB_i/√m, that of a layer of width m, in
    O(n m) a step and from any measure; its kernel is off by `kernel_error(mu)`, O(m^{−1/2}).

    Add it to attention: `SelfAttention(beta=4.0) + RandomMLPNoise("relu")`.

    !!! example

        `fm.SelfAttention(beta=4.0) + fm.RandomMLPNoise("relu", 0.1)`
    """

    activation: str | Callable[[Any], Any] = "relu"
    sigma: FloatScalar = 1.0
    features: Float[Array, "m d"] | None = eqx.field(default=None, kw_only=True)
    mean: FloatScalar | None = eqx.field(default=None, kw_only=True)

    def kernel(self, x, y):
        """k(x, y) of two points; of features, that of their sum."""
        if self.features is None:
            return layer_kernel(self.activation, x, y) - self._middle(x) * self._middle(y)
        return jnp.vdot(self._layer(self.features, x), self._layer(self.features, y))

    def kernel_error(self, mu: AbstractMeasure) -> Float[Array, ""]:
        """The largest error of the kernel of features among the atoms of `mu`, over max k(x, x)."""
        points, _ = mu.atoms()
        both = lambda k: jax.vmap(lambda a: jax.vmap(lambda b: k(a, b))(points))(points)  # noqa: E731
        exact = both(RandomMLPNoise(self.activation, mean=self.mean).kernel)
        return jnp.max(jnp.abs(both(self.kernel) - exact)) / jnp.max(jnp.diagonal(exact))

    def exponent(self, d: int, moment: FloatScalar = 0.0) -> Float[Array, ""]:
        r"""λ + p s²/2, with p = `moment`: (E|δ|^p)^{1/p} grows at this rate on S^{d−1}.

        p = 0 is what almost every pair of near tokens does: they meet where it is negative. With
        attention of V = −cI, which parts them at the rate c, they meet for exponent(d) < −c: noise
        overcomes repulsion for σ² > c/|exponent(d)| of σ = 1. Energies, which are quadratic in δ,
        dissipate in expectation where c + exponent(d, 2) < 0.
        """
        one = jnp.zeros(d).at[0].set(1.0)
        centre, slope = self._middle(one) ** 2, layer_slope(self.activation)
        k = layer_kernel(self.activation, one, one) - centre
        p = jnp.asarray(moment, k.dtype)
        half = jnp.asarray(self.sigma, k.dtype) ** 2 / 2
        return half * ((d - 3) * slope - (d - 1) * k + p * (slope + k))

    def rates(self, t, x, mu):
        still = jnp.zeros_like(x) + (0.0 if self.mean is None else self.mean * self._middle(x))
        if self.features is not None:
            seen = self.sigma * self._layer(self.features, x)
            return Rates(still, Cylindrical(lambda w: seen @ w, (len(self.features), x.size)))
        points, _ = mu.atoms()
        n = points.shape[0]
        gram = jax.vmap(lambda a: jax.vmap(lambda b: self.kernel(a, b))(points))(points)
        largest = jnp.max(jnp.diagonal(gram))
        ridge = 8 * n * jnp.finfo(gram.dtype).eps * jnp.where(largest > 0, largest, 1)
        factor = jnp.linalg.cholesky(gram + ridge * jnp.eye(n, dtype=gram.dtype))
        row = jax.vmap(lambda b: self.kernel(x, b))(points)

        def field(increment):
            loads = jax.scipy.linalg.solve_triangular(factor, increment, lower=True, trans="T")
            return self.sigma * row @ loads

        return Rates(still, Cylindrical(field, (n, x.size)))

    def _layer(self, features, x):
        if jnp.ndim(features) != 2 or jnp.shape(features)[1] != x.size:
            raise ValueError(
                f"`features` has shape {jnp.shape(features)}; give rows of {x.size} numbers, as "
                "`x` has."
            )
        phi = jax.vmap(activation_function(self.activation))
        return (phi(features @ x) - self._middle(x)) / len(features) ** 0.5

    def _middle(self, x):
        """What is taken from φ(⟨w, x⟩)."""
        return 0.0 if self.mean is None else layer_mean(self.activation, x)
