"""The laws of relaxed marginals in NumPy's double precision, for solvers on the host."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.special
from jaxtyping import Float


class Side(NamedTuple):
    """The masses a, and the law of their marginal: its demand at a potential, and its slope.

    `dual(f)` is −ψ*(−f), `price(s)` is ψ(s), both summed; `scale` is of potentials that matter, and
    `reach` how far one may fall in a step of Newton's method.
    """

    a: Float[np.ndarray, " n"]
    demand: Callable
    stiffness: Callable
    dual: Callable[[np.ndarray, np.ndarray], float]
    price: Callable[[np.ndarray, np.ndarray], float]
    scale: float
    reach: float


def hard(a: np.ndarray) -> Side:
    """A marginal that is the masses a."""
    zero = lambda f, a: np.zeros_like(f)  # noqa: E731
    return Side(a, lambda f, a: a, zero, np.dot, lambda s, a: 0.0, np.inf, np.inf)


def kullback_leibler(a: np.ndarray, strength: float) -> Side:
    """ψ(s) = λ KL(s|a)."""

    def demand(f, a):
        return a * np.exp(-f / strength)

    def price(s, a):
        return strength * float(np.sum(scipy.special.kl_div(s, a)))

    dual = lambda f, a: -strength * float(np.dot(a, np.expm1(-f / strength)))  # noqa: E731
    return Side(
        a, demand, lambda f, a: demand(f, a) / strength, dual, price, strength, 3 * strength
    )


def squared_error(a: np.ndarray, strength: float) -> Side:
    """ψ(s) = λ/2 ‖s − a‖²."""
    return Side(
        a,
        lambda f, a: a - f / strength,
        lambda f, a: np.full_like(f, 1 / strength),
        lambda f, a: float(np.dot(f, a) - np.dot(f, f) / (2 * strength)),
        lambda s, a: strength / 2 * float(np.sum((s - a) ** 2)),
        strength * float(np.mean(a)),
        np.inf,
    )
