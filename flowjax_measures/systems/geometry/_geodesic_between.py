r"""Geodesics between two given points, free or in a magnetic field ([arnold1961], [maier2025a]).

    ∇_γ̇ γ̇ = Y_γ(γ̇),   γ(0) = x,   γ(T) = y

in closed form: on the plane and the flat torus arcs of circles of radius |γ̇|/s, on S² arcs of
circles about L = x × γ̇ + s x, at the rate |L|. Given the speed there are two arcs, of which the
shorter one is taken, if y is near enough; given the time T, the slowest one. In a magnetic field
the theorem of Hopf and Rinow asks for enough speed: s d/2 on the plane, s tan(d/2) on S².
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ..._custom_types import FloatScalar, Scalar
from ..._numerics import checked
from ...measures._base import concrete
from ...spaces import Sphere, Torus
from ...spaces._base import AbstractSpace
from ...spaces._euclidean import Euclidean
from ._arcs import is_free, on_plane, on_sphere, straight
from ._geodesic import Geodesic

_NONE = (
    "`speed`, `time` or `field`: no single geodesic goes from x to y. The ends are too far apart "
    "for circles of this speed (give a larger one, or a weaker field), antipodes, or one point."
)


@checked
def geodesic_between(
    x: Float[Array, " d"],
    y: Float[Array, " d"],
    space: AbstractSpace | None = None,
    *,
    field: Scalar = 0.0,
    time: FloatScalar | None = None,
    speed: FloatScalar | None = None,
    long: bool = False,
    winding: Sequence[int] | ArrayLike | None = None,
) -> Geodesic:
    r"""The geodesic from x to y, in the magnetic field `field`·area of R², T² or S².

    **Arguments:**

    - `x`, `y`: the ends. `space`: `Euclidean()` by default, `Torus(…)` or `Sphere()`; without a
      field any with a `logarithm`, in any dimension.
    - `field`: s, as of `MagneticGeodesic`.
    - `time`: T; 1 where no `speed` is given. `speed`: |γ̇|, in place of `time`.
    - `long`: with a `speed` in a field, the longer of the two arcs.
    - `winding`: how many times more it goes round each axis of a torus than the shortest line.

    **Returns:** a `Geodesic` with `start`, `velocity`, `time`, `position(t)`, `length`, `period`.

    **Raises:** `ValueError` for both `time` and `speed`, and where no circle of that speed reaches;
    under `jit` the velocity is then NaN.

    !!! example

        ```python
        x, y = jnp.eye(3)[:2]
        arc = fm.geodesic_between(x, y, fm.Sphere(), field=0.5, speed=2.0)
        arc.position(arc.time)  # y
        ```
    """
    space = Euclidean() if space is None else space
    if time is not None and speed is not None:
        raise ValueError("`time` and `speed` are given; in a field one decides the other.")
    if winding is not None and not isinstance(space, Torus):
        raise ValueError("`winding` is for a `Torus`; other spaces have no axes to go around.")
    x, y = space.nearest(jnp.asarray(x)), space.nearest(jnp.asarray(y))
    time = 1.0 if time is None and speed is None else time
    if is_free(field):
        velocity, time = straight(_displacement(space, x, y, winding), time, speed)
    elif isinstance(space, Sphere) and x.shape == (3,):
        velocity, time = on_sphere(x, y, jnp.asarray(field, x.dtype), time, speed, long)
    elif isinstance(space, Torus | Euclidean) and x.shape == (2,):
        gap = _displacement(space, x, y, winding)
        velocity, time = on_plane(gap, jnp.asarray(field, x.dtype), time, speed, long)
    else:
        raise ValueError(
            f"`field` is a multiple of the area of R², T² or S², and x has shape {x.shape} in "
            f"{type(space).__name__}."
        )
    nan = jnp.isnan(velocity).any() & ~(jnp.isnan(x).any() | jnp.isnan(y).any())
    if concrete(nan) and bool(nan):
        raise ValueError(_NONE)
    return Geodesic(x, velocity, time, field, space)


def _displacement(space, x, y, winding):
    if not hasattr(space, "logarithm") or not hasattr(space, "exponential"):
        raise ValueError(f"`space` is {type(space).__name__}, whose geodesics have no closed form.")
    gap = space.logarithm(x, y)  # pyright: ignore[reportAttributeAccessIssue]
    if winding is None:
        return gap
    return gap + jnp.asarray(winding, gap.dtype) * jnp.asarray(space.length, gap.dtype)
