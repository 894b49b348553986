r"""Functions to minimise, each with its scaling stated; all have the minimum 0 unless said.

They are functions of one point of shape (d,). `at(shift)` style variants are left to lambdas:
`lambda x: rastrigin(x - 1)`.
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Value = Float[Array, ""]


def ripple(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """1 − cos 2πx = 2 sin²πx, elementwise.

    A polynomial after an exact reduction to |x| ≤ ½: right to round-off beside the integers, where
    1 − cos loses all digits, and about eight times faster than XLA's cosine on CPUs.
    """
    x = x - jnp.round(x)
    square, series = x**2, jnp.zeros_like(x)
    # Taylor's terms of sin πx; those left out are below round-off at ½.
    for k in reversed(range(11 if x.dtype == jnp.float64 else 7)):
        series = series * square + (-1) ** k * np.pi ** (2 * k + 1) / math.factorial(2 * k + 1)
    return 2 * (x * series) ** 2


def sphere(x: Float[Array, " d"]) -> Value:
    """Σ x_k², least at 0."""
    return jnp.sum(x**2)


def rastrigin(x: Float[Array, " d"], scale: str = "sum", amplitude: float = 10.0) -> Value:
    r"""Σ x_k² + A(1 − cos 2πx_k), least at 0, with minima near all integer points.

    **Arguments:**

    - `scale`: "sum" as above, the classical form (also that of CBXpy 1.0); "mean" divides by d;
      "ten" is 10d times the sum. CBXpy changed between them by version.
    - `amplitude`: A; 10 is the classical function, 2.5 that of [fornasier2024].
    """
    total = jnp.sum(x**2 + amplitude * ripple(x))
    factors = {"sum": 1.0, "mean": 1 / x.size, "ten": 10.0 * x.size}
    if scale not in factors:
        raise ValueError(f"`scale` is {scale!r}; it is one of {tuple(factors)}.")
    return factors[scale] * total


def ackley(x: Float[Array, " d"], a: float = 20.0, b: float = 0.2, c: float = 2 * np.pi) -> Value:
    r"""−a exp(−b √(Σx_k²/d)) − exp(Σ cos(c x_k)/d) + a + e, least at 0; usually on [−32, 32]^d."""
    square = jnp.mean(x**2)
    # √ has no derivative at the minimum, where the function has a cusp; 0 stands for it.
    radius = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    return -a * jnp.exp(-b * radius) - jnp.exp(1 - jnp.mean(ripple(c / (2 * np.pi) * x))) + a + np.e


def rosenbrock(x: Float[Array, " d"]) -> Value:
    """Σ 100(x_{k+1} − x_k²)² + (1 − x_k)², least at (1, …, 1)."""
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def griewank(x: Float[Array, " d"]) -> Value:
    """1 + Σ x_k²/4000 − Π cos(x_k/√k), least at 0; usually on [−600, 600]^d."""
    k = jnp.arange(1, x.size + 1, dtype=x.dtype)
    return 1 + jnp.sum(x**2) / 4000 - jnp.prod(jnp.cos(x / jnp.sqrt(k)))


def schwefel(x: Float[Array, " d"]) -> Value:
    """418.98288727…·d − Σ x_k sin √|x_k| on [−500, 500]^d, least near 420.9687 in every axis."""
    return 418.9828872724337 * x.size - jnp.sum(x * jnp.sin(jnp.sqrt(jnp.abs(x))))


def salomon(x: Float[Array, " d"]) -> Value:
    """1 − cos 2π|x| + 0.1|x|, least at 0."""
    square = jnp.sum(x**2)
    radius = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    return ripple(radius) + 0.1 * radius


def levy(x: Float[Array, " d"]) -> Value:
    """The Levy function with w = 1 + (x − 1)/4, least at (1, …, 1); usually on [−10, 10]^d."""
    w = 1 + (x - 1) / 4
    first = jnp.sin(np.pi * w[0]) ** 2
    middle = (w[:-1] - 1) ** 2 * (1 + 10 * jnp.sin(np.pi * w[:-1] + 1) ** 2)
    last = (w[-1] - 1) ** 2 * (1 + jnp.sin(2 * np.pi * w[-1]) ** 2)
    return first + jnp.sum(middle) + last


def himmelblau(x: Float[Array, " 2"]) -> Value:
    """(x² + y − 11)² + (x + y² − 7)², with four minima of value 0, one at (3, 2)."""
    return (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2
