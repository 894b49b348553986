r"""What of a sample covariance is chance: correlations far apart are cut off.

By distance, where there is one ([gaspari1999]), or by size ([alghattas2023]).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import Scalar
from ..._numerics import checked


@checked
def gaspari_cohn(r: Float[Array, "..."]) -> Float[Array, "..."]:
    """The compact correlation function of [gaspari1999] at r = distance/c: 1 at 0, 0 from 2 on.

    !!! example

        `fm.gaspari_cohn(jnp.linspace(0, 2, 5))`
    """
    r = jnp.abs(r)
    near = 1 - 5 / 3 * r**2 + 5 / 8 * r**3 + r**4 / 2 - r**5 / 4
    safe = jnp.where(r > 0, r, 1)
    far = 4 - 5 * r + 5 / 3 * r**2 + 5 / 8 * r**3 - r**4 / 2 + r**5 / 12 - 2 / (3 * safe)
    return jnp.where(r <= 1, near, jnp.where(r >= 2, 0, far))


@checked
def thresholded_covariance(
    x: Float[Array, "n d"], y: Float[Array, "n m"] | None = None, c0: Scalar = 1.0
) -> Float[Array, "d m"]:
    r"""The sample covariance of x, or of x and y, with its small entries set to 0.

        ρ = c₀ s σ/√N,     s = (1/N) Σ_n max_i |u_n(i)|,   σ² = max_i C_ii,   u_n = x_n − x̄

    Of a field with correlations over a length λ, ρ is what chance alone correlates: N ~ log(1/λ)
    samples then do where the sample covariance takes N ~ λ^{−d}.

    **Arguments:**

    - `x`: N ≥ 2 samples of d numbers. `y`: N samples of other variables, for the covariance between
      both, with ρ the mean of s_x σ_y and s_y σ_x.
    - `c0`: c₀ > 0, about 1; larger sets more to 0.

    !!! example

        `thresholded_covariance(fields)` for 20 fields on 1,000 places, shape (20, 1000).
    """
    if x.shape[0] < 2:
        raise ValueError(f"`x` has {x.shape[0]} samples; a covariance takes at least 2.")
    a = x - jnp.mean(x, axis=0)
    b = a if y is None else y - jnp.mean(y, axis=0)
    size = lambda z: jnp.mean(jnp.max(jnp.abs(z), axis=1))  # noqa: E731
    width = lambda z: jnp.sqrt(jnp.max(jnp.sum(z**2, axis=0)) / (x.shape[0] - 1))  # noqa: E731
    level = (size(a) * width(b) + size(b) * width(a)) / 2
    level = c0 * level / jnp.sqrt(jnp.asarray(x.shape[0], x.dtype))
    cov = a.T @ b / (x.shape[0] - 1)
    # Not `≥`: a NaN is kept.
    return jnp.where(jnp.abs(cov) < level, 0, cov)
