r"""Kernels that do not see a group of symmetries ([mei2021]).

    k_G(x, y) = (1/|G|) Σ_g k(x, g y)

for orthogonal g and a k of distances and products, so that k(gx, gy) = k(x, y). It is the
projection of k onto invariant functions. Among polynomials of degree k in d variables one in
|G|-fold is invariant up to what is lost to coincidences: d^α of them for a group of degeneracy α (1
for cyclic shifts), and a regression with k_G needs as many times fewer examples to learn an
invariant function.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._custom_types import Count, FloatScalar, Point
from .._numerics import checked
from ._base import AbstractSummedKernel, Kernel, convolve


class InvariantKernel(AbstractSummedKernel):
    """The mean of a kernel over a finite group.

    **Arguments:** `kernel`: k. `group`: the orthogonal matrices g, shape (|G|, d, d).

    !!! example

        ```python
        kernel = fm.InvariantKernel(fm.GaussianKernel(2.0), fm.cyclic_group(5))
        kernel(jnp.arange(5.0), jnp.roll(jnp.arange(5.0), 2))
        ```
    """

    kernel: Kernel
    group: Float[Array, "g d d"]

    def __check_init__(self):
        if jnp.ndim(self.group) != 3:
            raise ValueError(f"`group` has shape {jnp.shape(self.group)}; give (|G|, d, d).")

    def __call__(self, x, y):
        return jnp.mean(jax.vmap(lambda g: self.kernel(x, g.astype(y.dtype) @ y))(self.group))

    def convolve(self, x: Point, mu: Any) -> FloatScalar:
        back = lambda g: convolve(self.kernel, g.T.astype(x.dtype) @ x, mu)  # noqa: E731
        return jnp.mean(jax.vmap(back)(self.group))


@checked
def cyclic_group(d: Count) -> Float[Array, "d d d"]:
    """The d cyclic shifts of d coordinates, as matrices.

    !!! example

        `fm.cyclic_group(4).shape`
    """
    return jnp.stack([jnp.roll(jnp.eye(d), shift, 0) for shift in range(d)])


@checked
def invariant_dimension(group: ArrayLike, degree: int) -> int:
    r"""How many independent harmonic polynomials of a degree a group leaves as they are.

    By Molien's series Σ_k dim_k t^k = (1/|G|) Σ_g (1 − t²)/det(1 − t g). The group of the identity
    alone gives the dimension of all spherical harmonics; their ratio, over `degree`, is what a
    learner gains by the symmetry.

    !!! example

        `fm.invariant_dimension(fm.cyclic_group(5), 3)`
    """
    series = np.zeros(degree + 1)
    for g in np.asarray(group):
        # 1/det(1 − tg) by Newton's identities between power sums and complete polynomials.
        power, sums = np.eye(len(g)), []
        for _ in range(degree):
            power = power @ g
            sums.append(np.trace(power))
        complete = [1.0]
        for k in range(1, degree + 1):
            complete.append(sum(sums[i] * complete[k - 1 - i] for i in range(k)) / k)
        series += complete
    series = series / len(np.asarray(group))
    return round(series[degree] - (series[degree - 2] if degree >= 2 else 0))
