r"""Energies: functionals F of a measure, with their first variation.

    d/dε F(μ + ε(ν − μ)) at ε = 0  =  ∫ δF/δμ(x) (ν − μ)(dx);

δF/δμ is known up to a constant. Entropies, divergences of densities and integrals are those of
measures of any mass, distances to a target those of the normalised measure.

The Wasserstein gradient flow moves a point by −∇ δF/δμ(x). An internal energy, F = ∫ h(ρ) dx,
diffuses: its flow is Δ(D ρ), which from any measure is noise √(2D).
"""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import FloatScalar, Point, Velocity
from .._numerics import Checked


class AbstractEnergy(Checked):
    """A functional of a measure; energies add with `+` and scale with `*`."""

    for_example: ClassVar[str] = ", of any function of a measure Functional(function)"

    @abc.abstractmethod
    def __call__(self, mu: Any) -> FloatScalar:
        """The value F(μ)."""

    @abc.abstractmethod
    def first_variation(self, x: Point, mu: Any) -> FloatScalar:
        """δF/δμ at the point `x`, up to a constant in x."""

    @abc.abstractmethod
    def velocity(self, x: Point, mu: Any) -> Velocity:
        """The transport part of the Wasserstein flow: −∇ δF/δμ(x), less what diffuses."""

    @abc.abstractmethod
    def diffusivity(self, x: Point, mu: Any) -> FloatScalar | None:
        """D of the part Δ(D ρ) of the Wasserstein flow; `None` where nothing diffuses."""

    def __add__(self, other: "AbstractEnergy") -> "AbstractEnergy":
        return EnergySum(self, other) if isinstance(other, AbstractEnergy) else NotImplemented

    def __mul__(self, factor: FloatScalar) -> "AbstractEnergy":
        return ScaledEnergy(self, factor)

    __rmul__ = __mul__


class AbstractTransportEnergy(AbstractEnergy):
    """An energy whose flow only transports: its first variation has a gradient everywhere."""

    def velocity(self, x, mu):
        return jax.tree.map(jnp.negative, eqx.filter_grad(self.first_variation)(x, mu))

    def diffusivity(self, x, mu):
        return None


class EnergySum(AbstractEnergy):
    """F + G."""

    first: AbstractEnergy
    second: AbstractEnergy

    def __call__(self, mu):
        return self.first(mu) + self.second(mu)

    def first_variation(self, x, mu):
        return self.first.first_variation(x, mu) + self.second.first_variation(x, mu)

    def velocity(self, x, mu):
        return jax.tree.map(jnp.add, self.first.velocity(x, mu), self.second.velocity(x, mu))

    def diffusivity(self, x, mu):
        one, two = self.first.diffusivity(x, mu), self.second.diffusivity(x, mu)
        return two if one is None else one if two is None else one + two


class ScaledEnergy(AbstractEnergy):
    """c F."""

    energy: AbstractEnergy
    factor: FloatScalar

    def __call__(self, mu):
        return self.factor * self.energy(mu)

    def first_variation(self, x, mu):
        return self.factor * self.energy.first_variation(x, mu)

    def velocity(self, x, mu):
        return jax.tree.map(lambda v: self.factor * v, self.energy.velocity(x, mu))

    def diffusivity(self, x, mu):
        inner = self.energy.diffusivity(x, mu)
        return None if inner is None else self.factor * inner
