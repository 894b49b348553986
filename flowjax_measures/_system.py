r"""Systems: what happens to one point x in the field of a measure μ.

dX = v(t, X, μ) dt + σ(t, X, μ) dW + σ⁰(t, X, μ) dB,   d log w = g(t, X, μ) dt
"""

import abc
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from ._custom_types import FloatScalar, Point, Velocity
from ._numerics import Checked
from .measures import AbstractMeasure, Gaussian, Increment, Rates
from .noise._noise import Covariance, parts


class AbstractSystem(Checked):
    """A law of motion of a state: a measure, a dict of measures, or any pytree of arrays."""

    calculus: ClassVar[Literal["ito", "stratonovich"]] = "ito"
    span: ClassVar[tuple[Any, Any]] = (-math.inf, math.inf)
    """The first and the last time at which the law is defined; runs beyond are refused."""

    @abc.abstractmethod
    def __call__(self, t: FloatScalar, state: Any) -> Increment:
        """The time derivative of the whole state and the noise that moves it."""

    def __add__(self, other: "AbstractSystem") -> "AbstractSystem":
        if not isinstance(other, AbstractSystem):
            return NotImplemented
        if isinstance(self, AbstractMeanField) and isinstance(other, AbstractMeanField):
            return Sum(self, other)
        raise ValueError("Only systems given by rates of one point can be added.")


class AbstractMeanField(AbstractSystem):
    """A system given by the law of one point; `a + b` adds velocities, noises and growths."""

    @abc.abstractmethod
    def rates(self, t: FloatScalar, x: Point, mu: Any) -> Rates:
        """The law of the point `x` at time `t` in the field of `mu`."""

    def __call__(self, t: FloatScalar, state: AbstractMeasure) -> Increment:
        return state.lift(lambda x: self.rates(t, x, state))


class Sum(AbstractMeanField):
    """Two mean-field systems acting together, their noises independent."""

    first: AbstractMeanField
    second: AbstractMeanField

    @property
    def calculus(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        kinds = {self.first.calculus, self.second.calculus}
        return "ito" if kinds == {"ito"} else "stratonovich"

    @property
    def span(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        (first, last), (start, end) = self.first.span, self.second.span
        return jnp.maximum(first, start), jnp.minimum(last, end)

    def rates(self, t, x, mu):
        laws = self.first.rates(t, x, mu), self.second.rates(t, x, mu)
        for system, law in zip((self.first, self.second), laws, strict=True):
            if law.noise is not None and system.calculus != self.calculus:
                raise ValueError(
                    f"{type(system).__name__} has noise in the {system.calculus} calculus and is "
                    f"added to a system in the {self.calculus} calculus; add the correction to "
                    "one of them first. Without noise the calculus does not matter."
                )
        return _add(*laws)


def motion(system: AbstractSystem, t: FloatScalar, x: Point, mu: Any) -> Velocity:
    """The velocity of a law that does nothing to points but move them.

    **Raises:** `ValueError` for other laws, of which a part would be lost.
    """
    if not isinstance(system, AbstractMeanField):
        raise ValueError(
            f"{type(system).__name__} is no law of one point; give a mean-field system."
        )
    law = system.rates(t, x, mu)
    if law.noise is not None or law.growth is not None:
        raise ValueError(
            f"{type(system).__name__} has noise or growth, which would be lost here. Give the part "
            "without it, and add the rest to the whole, `whole + part`."
        )
    return law.velocity


def displaced(system: AbstractSystem, t: FloatScalar, mu: Gaussian, h: FloatScalar) -> Gaussian:
    """The Gaussian pushed by x ↦ x + h v(t, x, μ), the image itself where v is affine."""
    return mu.image(lambda x: x + h * motion(system, t, x, mu))


class Stiff(AbstractMeanField):
    """The part of a sum that solvers of split systems (diffrax.KenCarp4(), …) step implicitly.

    **Arguments:** `system`: a system without noise.

    !!! example

        `simulate(reaction + Stiff(diffusion), mu, ts, solver=diffrax.KenCarp4())`
    """

    system: AbstractMeanField

    @property
    def calculus(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.system.calculus

    def rates(self, t, x, mu):
        return self.system.rates(t, x, mu)


def _add(a: Rates, b: Rates) -> Rates:
    def add(p, q):
        return q if p is None else p if q is None else p + q

    velocity = jax.tree.map(jnp.add, a.velocity, b.velocity)
    return Rates(velocity, add(a.noise, b.noise), add(a.growth, b.growth))


class Averaged(AbstractMeanField):
    """A system whose shared noise is each point's own: the law of one point, over all noise."""

    system: AbstractMeanField

    @property
    def calculus(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.system.calculus

    def rates(self, t, x, mu):
        law = self.system.rates(t, x, mu)
        own = [Covariance(p.squared(x)) if p.shared else p for p in parts(law.noise)]
        return law._replace(noise=sum(own[1:], own[0]) if own else None)


class Custom(AbstractMeanField):
    """A system from a function `law(t, x, mu)`, for experiments.

    It returns `Rates`, or a velocity alone. Parameters to differentiate belong in fields: pass an
    `equinox.Module` with `__call__`, or write a system of your own.

    !!! example

        `fm.simulate(fm.Custom(lambda t, x, mu: mu.mean() - x), mu, [0.0, 1.0])`
    """

    law: Callable[[FloatScalar, Point, Any], Rates | Any]

    def __check_init__(self):
        if not callable(self.law):
            raise ValueError(f"`law` is {self.law!r}; give a function of (t, x, mu).")
        try:
            inspect.signature(self.law).bind(0, 0, 0)
        except TypeError as error:
            raise ValueError(f"`law` is called as law(t, x, mu): {error}.") from error
        except ValueError:  # A function without a signature.
            return

    def rates(self, t, x, mu):
        law = self.law(t, x, mu)
        return law if isinstance(law, Rates) else Rates(law)


class Species(AbstractSystem):
    """Several populations: each has a law, and every law sees the dict of all measures.

    **Arguments:** `laws`: dict from a species' name to a mean-field system, whose
    `rates(t, x, mu)` gets a point x of that species and the dict `mu` of all measures.

    !!! example

        ```python
        fm.Species(
            dict(
                prey=fm.Custom(lambda t, x, m: x - m["fox"].mean()),
                fox=fm.Custom(lambda t, x, m: -x),
            )
        )
        ```
    """

    laws: Mapping[str, AbstractMeanField]

    def __check_init__(self):
        if not isinstance(self.laws, Mapping):
            raise ValueError(
                f"`laws` is {type(self.laws).__name__}; give a dict with a law for each species, "
                'such as Species({"prey": ..., "fox": ...}).'
            )

    @property
    def calculus(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return "ito" if {law.calculus for law in self.laws.values()} == {"ito"} else "stratonovich"

    def __call__(self, t, state):
        if not isinstance(state, Mapping):
            raise ValueError(
                f"The state is a {type(state).__name__}; give a dict with a measure for each of "
                f"the species {sorted(self.laws)}."
            )
        if set(state) != set(self.laws):
            raise ValueError(
                f"The state has the species {sorted(state)}, the laws are for {sorted(self.laws)}."
            )
        moved = {
            name: state[name].lift(lambda x, law=law: law.rates(t, x, state))
            for name, law in self.laws.items()
        }
        noise = {name: inc.noise for name, inc in moved.items() if inc.noise is not None}
        mixed = [name for name in noise if self.laws[name].calculus != self.calculus]
        if mixed:
            raise ValueError(
                f"The laws of {mixed} have Itô noise beside Stratonovich noise of others; state "
                "all noise in one calculus."
            )
        drift = {name: inc.drift for name, inc in moved.items()}
        return Increment(drift, _SpeciesNoise(noise, drift) if noise else None)


class _SpeciesNoise(eqx.Module):
    noise: dict[str, Any]
    drift: dict[str, Any]

    def brownian(self):
        return {name: noise.brownian() for name, noise in self.noise.items()}

    def apply(self, increments):
        still = jax.tree.map(jnp.zeros_like, eqx.filter(self.drift, eqx.is_inexact_array))
        moved = {name: noise.apply(increments[name]) for name, noise in self.noise.items()}
        return still | moved
