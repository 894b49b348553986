r"""An energy from any function of a measure, its first variation by differentiation.

δF/δμ(x) = d/ds F((1 − s) μ + s δ_x) at s = 0.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from .._custom_types import FloatScalar, Point
from ..kernels._base import constant
from ..measures import AbstractMeasure
from ..measures._base import atoms_covariance
from ..measures._pushed import Pushed
from ._base import AbstractTransportEnergy


class Functional(AbstractTransportEnergy):
    """F(μ) = `value(μ)`, for a function that sees μ through `mean`, `logmean` and `covariance`.

    !!! example

        The risk of a wide network: `Functional(lambda mu: jnp.mean((mu.mean(unit) - y) ** 2))`
        with `unit(x)` the outputs, on all data, of the neuron with parameters x.
    """

    value: Callable[[Any], FloatScalar]

    def __call__(self, mu):
        return self.value(mu)

    def first_variation(self, x, mu):
        value = lambda s: self.value(_Mixed(mu, x, s))  # noqa: E731
        return jax.jvp(value, (constant(x, 0.0),), (constant(x, 1.0),))[1]


class _Mixed(AbstractMeasure):
    """(1 − s) μ + s δ_x, for s near 0."""

    measure: AbstractMeasure
    point: Point
    share: FloatScalar

    flows: ClassVar[tuple[str, ...]] = ()

    def tilt(self, fn, logits):
        mean, log_normaliser = self.measure.tilt(fn, logits)
        weight = jnp.zeros_like(log_normaliser) if logits is None else logits(self.point)
        top = jax.lax.stop_gradient(jnp.maximum(log_normaliser, weight))
        whole = (1 - self.share) * jnp.exp(log_normaliser - top)
        atom = self.share * jnp.exp(weight - top)
        total = whole + atom
        mixed = jax.tree.map(lambda a, b: (whole * a + atom * b) / total, mean, fn(self.point))
        return mixed, top + jnp.log(total)

    def covariance(self):
        return atoms_covariance(self)

    def atoms(self):
        raise ValueError(
            "A `Functional` was asked for the atoms of a perturbed measure; write its value with "
            "`mu.mean` and `mu.logmean`."
        )

    def lift(self, rates):
        return self.measure.lift(rates)

    def retract(self):
        return self

    def sample(self, key, n):
        return self.measure.sample(key, n)

    def push(self, fn):
        return Pushed(self, fn)

    def weighted(self):
        return self

    def check(self):
        return None
