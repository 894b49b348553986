"""The image of a measure under a map, to be looked at where it is not particles."""

from typing import ClassVar

import jax

from .._custom_types import PointFunction
from ._base import AbstractMeasure, atoms_covariance


class Pushed(AbstractMeasure):
    r"""f#μ: ∫ g d(f#μ) = ∫ g(f(y)) μ(dy), by the sums of μ. What `mu.push(f)` of a Gaussian or a
    density on a grid is: it has means, samples and atoms, but does not flow."""

    measure: AbstractMeasure
    fn: PointFunction

    flows: ClassVar[tuple[str, ...]] = ()

    def atoms(self):
        points, log_weights = self.measure.atoms()
        return jax.vmap(self.fn)(points), log_weights

    def lift(self, rates):
        raise ValueError(
            f"The image of a {type(self.measure).__name__} under a map can be looked at and does "
            "not flow. Run the system from `Particles`, or write it in the coordinates of the "
            "measure (`InCoordinates`)."
        )

    def retract(self):
        return self

    def tilt(self, fn, logits):
        there = None if logits is None else lambda y: logits(self.fn(y))
        return self.measure.tilt(lambda y: fn(self.fn(y)), there)

    def covariance(self):
        return atoms_covariance(self)

    def sample(self, key, n):
        return jax.vmap(self.fn)(self.measure.sample(key, n))

    def push(self, fn):
        return Pushed(self.measure, lambda y: fn(self.fn(y)))

    def weighted(self):
        return Pushed(self.measure.weighted(), self.fn)

    def check(self):
        self.measure.check()
