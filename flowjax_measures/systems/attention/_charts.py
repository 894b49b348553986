"""Coordinates of the circle and of S², for laws whose densities live on grids."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._numerics import checked


@checked
def circle_chart(theta: Float[Array, " k"]) -> Float[Array, "2"]:
    """The angle θ, of shape (1,) and periodic in 2π, to the point of the circle.

    !!! example

        `fm.circle_chart(jnp.array([0.5]))`
    """
    _check("circle_chart", theta, "one angle", 1)
    return jnp.stack([jnp.cos(theta[0]), jnp.sin(theta[0])])


@checked
def sphere_chart(point: Float[Array, " k"]) -> Float[Array, "3"]:
    """The height z in [−1, 1] and the longitude φ, periodic in 2π, to the point of S².

    It keeps areas: a density of (z, φ) is that on the sphere.

    !!! example

        `fm.sphere_chart(jnp.array([0.5, 1.0]))`
    """
    _check("sphere_chart", point, "a height and a longitude", 2)
    z, angle = point
    radius = jnp.sqrt(1 - z**2)
    return jnp.stack([radius * jnp.cos(angle), radius * jnp.sin(angle), z])


def _check(chart, point, wanted, size):
    if jnp.shape(point) != (size,):
        raise ValueError(
            f"`{chart}` was given coordinates of shape {jnp.shape(point)}; they are {wanted}, of "
            f"shape ({size},)."
        )
