"""Any function in Python as one that JAX code can call, with all points of a batch at once."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._custom_types import Count
from .._numerics import checked
from ..noise._noise import floating
from ._black_box import Host


@checked
def host(
    function: Callable[..., Any],
    size: Count | None = None,
    *,
    vectorized: bool = False,
    workers: Any = None,
) -> "HostFunction":
    """A function or simulator in Python, for systems and filters; it has no derivative.

    Under `vmap`, as in `simulate`, `kalman_filter` or `kalman_inversion`, it is called for all
    points together: point by point, or by the workers of a pool. `minimize` finds out by itself
    which functions are such.

    **Arguments:**

    - `function`: of NumPy arrays, of one point. Where it raises, its values are NaN.
    - `size`: how many numbers it returns; `None` is one, of shape ().
    - `vectorized`: whether it takes all points at once, with a leading axis.
    - `workers`: an executor of `concurrent.futures` or its like, a function like `map`, or a number
      of threads.

    !!! example

        ```python
        model = fm.host(lambda u: np.array([u[0] + u[1], u[0] * np.exp(u[1])]), size=2)
        law = fm.EnsembleKalmanInversion(model, jnp.ones(2), 0.1)
        fm.kalman_inversion(law, mu, key=key).mean
        ```
    """
    if not callable(function):
        raise ValueError(f"`function` is {function!r}; give a function of one point.")
    if size is not None and not (isinstance(size, int) and size >= 1):
        raise ValueError(f"`size` is {size!r}; give how many numbers `function` returns.")
    shape = () if size is None else (size,)
    return HostFunction(Host(function, True, vectorized, workers, size), shape)


class HostFunction:
    """What `host` returns, a function of one point; part of a program, as any function."""

    def __init__(self, host: Host, shape: tuple[int, ...]):
        self.host, self.shape = host, shape

    def __call__(self, *place: Any) -> Float[Array, "..."]:
        place = jax.tree.map(jnp.asarray, place)
        dtype = jnp.result_type(*(jax.tree.leaves(floating(place[0])) or [float]))
        one = [a.shape for a in jax.tree.leaves(place)]

        def measured(*place):
            leaves, structure = jax.tree.flatten(place)
            batch = leaves[0].shape[: leaves[0].ndim - len(one[0])]
            pairs = zip(leaves, one, strict=True)
            rows = [np.reshape(a, (-1, *shape)) for a, shape in pairs]
            values = self.host(jax.tree.unflatten(structure, rows))
            return np.asarray(np.reshape(values, (*batch, *self.shape)), dtype)

        value = jax.ShapeDtypeStruct(self.shape, dtype)
        return jax.pure_callback(measured, value, *place, vmap_method="broadcast_all")
