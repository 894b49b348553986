"""Array types with one meaning each; axis names are the same everywhere.

n atoms, d dimensions of a point, m sources, k Brownian motions.
"""

from collections.abc import Callable
from typing import Annotated, Any

from jaxtyping import Array, ArrayLike, Float, PyTree, Real

Point = PyTree[Any]
"""One point x: an array of shape (d,), or a pytree whose float leaves flow."""

Velocity = PyTree[Any]
"""A tangent at a point, of the point's structure; `None` where the point holds a label."""

FloatScalar = Float[Array, ""] | float | int
Scalar = Real[Array, ""] | float | int
Positive = Annotated[FloatScalar, "positive"]
NonNegative = Annotated[FloatScalar, "not negative"]
PositiveArray = Annotated[ArrayLike, "positive"]
"""What is checked for its sign, in fields and in arguments."""

PointFunction = Callable[[Point], Any]
Logits = Callable[[Point], FloatScalar]
Numbers = Float[Array, "..."] | float
"""Real numbers of any shape."""

PRNGKey = Annotated[Any, "key"]
Count = Annotated[int, "positive"]

ATOMS = "atoms"
"""The name of the axis over which the law of one point is batched; see `measures.place`."""
