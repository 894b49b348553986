r"""What a measure must know. Its type chooses the discretisation of every system."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from equinox import AbstractClassVar
from jax.core import Tracer
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree

from .._custom_types import ATOMS, FloatScalar, Logits, Point, PointFunction, PRNGKey, Velocity
from .._reduce import identity
from ..noise._noise import AbstractNoise, NoiseField, floating, parts


class Rates(NamedTuple):
    r"""The law of one point: dX = velocity dt + noise dW, d log w = growth dt.

    !!! example

        `fm.Custom(lambda t, x, mu: fm.Rates(mu.mean() - x, fm.Isotropic(0.1)))`
    """

    velocity: Velocity
    noise: AbstractNoise | None = None
    growth: FloatScalar | None = None


class Increment(NamedTuple):
    """The law of the whole state: its time derivative and the noise that moves it.

    `drift` has the state's structure. `noise` is `None` or has `brownian()`, the shapes of the
    Brownian increments, and `apply(increments)`, of the structure of `drift`.

    !!! example

        `fm.MeanShift()(0.0, mu).drift`
    """

    drift: Any
    noise: Any = None


class AbstractMeasure(eqx.Module):
    """A measure μ: what sums run over, and how a law of one point moves the whole."""

    for_example: ClassVar[str] = ", such as Particles(x)"

    flows: AbstractClassVar[tuple[str, ...]]
    """The fields that move; the others (space, labels, walls) stay."""

    @abc.abstractmethod
    def atoms(self) -> tuple[PyTree, Float[Array, " n"]]:
        """Points with leading axis n and the logarithms of their masses."""

    @abc.abstractmethod
    def lift(self, rates: Callable[[Point], Rates]) -> Increment:
        """The time derivative of the measure when each point x moves by `rates(x)`."""

    @abc.abstractmethod
    def retract(self) -> Self:
        """The measure brought back onto its space."""

    @abc.abstractmethod
    def tilt(self, fn: PointFunction, logits: Logits | None) -> tuple[PyTree, FloatScalar]:
        """The tilted mean and its log-normaliser; `mean` and `logmean` are its halves."""

    @abc.abstractmethod
    def covariance(self) -> Float[Array, "d d"]:
        """∫ (x − m)(x − m)ᵀ dμ / ∫ dμ, over the ravelled float leaves of a point."""

    @abc.abstractmethod
    def sample(self, key: PRNGKey, n: int) -> PyTree:
        """`n` independent points of the normalised measure, with leading axis n."""

    @abc.abstractmethod
    def push(self, fn: PointFunction) -> "AbstractMeasure":
        """The image measure fn#μ, of the points fn(y) with the masses of the points y.

        Of particles it is particles, in flat space; of a Gaussian or a density on a grid it is a
        measure with means, atoms and samples that does not flow.

        !!! example

            `mu.push(lambda y: y[:1]).covariance()` is the variance of the first coordinate.
        """

    @abc.abstractmethod
    def weighted(self) -> Self:
        """The same measure with masses that can grow."""

    @abc.abstractmethod
    def check(self) -> None:
        """Raises a `ValueError` that names a field whose concrete values are not a measure."""

    def mean(self, fn: PointFunction = identity, logits: Logits | None = None) -> PyTree:
        r"""The tilted mean ⟨f⟩_ℓ = ∫ f e^ℓ dμ / ∫ e^ℓ dμ.

        **Arguments:**

        - `fn`: function f of one point y, with values in any pytree; the point itself by default.
        - `logits`: function ℓ of one point y to a scalar; −∞ leaves y out; `None` is ℓ = 0.

        **Returns:** the mean, of the structure of `fn`'s values; 0 where all is left out.

        !!! example

            `mu.mean(logits=lambda y: beta * jnp.vdot(x, y))` is what x reads by attention.
        """
        return self.tilt(fn, logits)[0]

    def logmean(self, logits: Logits) -> FloatScalar:
        r"""The log-normaliser log ∫ e^ℓ dμ; the total mass counts (it is 1 by default)."""
        return self.tilt(lambda y: jnp.ones(()), logits)[1]


def replace(measure: Any, **fields: Any) -> Any:
    """The measure with some fields replaced and no checks: derivatives are not measures."""
    new = object.__new__(type(measure))
    for field in dataclasses.fields(measure):
        value = fields[field.name] if field.name in fields else getattr(measure, field.name)
        object.__setattr__(new, field.name, value)
    return new


def is_measure(node: Any) -> bool:
    return isinstance(node, AbstractMeasure)


def flowing(state: PyTree) -> PyTree[bool]:
    """Which leaves of a state move: float leaves, in a measure only those of its `flows`."""

    def mask(node):
        if not is_measure(node):
            return eqx.is_inexact_array(node)
        fields = {
            field.name: jax.tree.map(
                eqx.is_inexact_array if field.name in node.flows else lambda _: False,
                getattr(node, field.name),
            )
            for field in dataclasses.fields(node)
            if not field.metadata.get("static", False)
        }
        return replace(node, **fields)

    return jax.tree.map(mask, state, is_leaf=is_measure)


def evaluate(rates: Callable[[Point], Rates], points: PyTree) -> tuple[Rates, NoiseField | None]:
    """`rates` at every point: arrays with leading axis n, and the noise as a field."""
    static = []

    def one(x):
        law = rates(x)
        if not isinstance(law, Rates):
            raise ValueError(
                f"`rates` must return `Rates(velocity, noise, growth)`; it returned {type(law)}."
            )
        if not (law.noise is None or isinstance(law.noise, AbstractNoise)):
            raise ValueError(
                f"`noise` of the rates is {law.noise!r}; give what it does to the point, for "
                "example Isotropic(sigma)."
            )
        law: Any = law._replace(velocity=_velocity_like(x, law.velocity), noise=parts(law.noise))
        arrays, rest = eqx.partition(law, eqx.is_array)
        static.append(rest)
        return arrays

    law = eqx.combine(jax.vmap(one, axis_name=ATOMS)(points), static[-1])
    if not law.noise:
        return law._replace(noise=None), None
    return law, NoiseField(points, law.noise, lambda x: parts(rates(x).noise))


def place() -> Int[Array, ""]:
    """The position, among the atoms, of the point whose law is being evaluated.

    For laws that tell their points apart: causal order, graphs, exclusion of oneself. It stays
    valid when systems are added, since points keep their structure.

    !!! example

        `fm.Custom(lambda t, x, mu: -x * fm.place())(0.0, mu)`
    """
    try:
        return jax.lax.axis_index(ATOMS)
    except NameError as error:
        raise ValueError(
            "This system tells its points apart, but a measure without atoms has no first or "
            "second point. Run it from `Particles`."
        ) from error


def _velocity_like(x: Point, velocity: Velocity) -> Velocity:
    """The velocity in the structure of the point's float leaves, or an error that shows both."""

    def match(a, v):
        if a is None or v is None:
            return None
        v = jnp.asarray(v)
        if v.shape != jnp.shape(a):
            raise ValueError("the shapes differ")
        return v

    try:
        matched = jax.tree.map(match, floating(x), velocity, is_leaf=lambda a: a is None)
        if jax.tree.structure(floating(x)) != jax.tree.structure(matched):
            raise ValueError("a float leaf of the point has no velocity")
    except (TypeError, ValueError) as error:
        shapes = [jax.tree.map(jnp.shape, tree) for tree in (floating(x), velocity)]
        raise ValueError(
            f"`rates` returned a velocity of shapes {shapes[1]} for a point of shapes {shapes[0]}: "
            f"{error}. Return one velocity for each float leaf of the point; noise and growth go "
            "with it in Rates(velocity, noise, growth)."
        ) from error
    return matched


def atoms_covariance(measure: AbstractMeasure) -> Float[Array, "d d"]:
    """The covariance as a mean of centred outer products."""
    flat = lambda y: ravel_pytree(floating(y))[0]  # noqa: E731
    centre = measure.mean(flat)

    def outer(y):
        z = flat(y) - centre
        return jnp.outer(z, z)

    return measure.mean(outer)


def check_finite(values: PyTree, argument: str) -> None:
    """Raises a `ValueError` that names the argument whose numbers are NaN or inf.

    −inf is the logarithm of a mass of zero.
    """
    for number, part in enumerate(values if isinstance(values, list | tuple) else [values]):
        for leaf in jax.tree.leaves(part):
            if not eqx.is_inexact_array(leaf) or not concrete(leaf):
                continue
            numbers = np.asarray(leaf)
            if np.any(np.isnan(numbers)) or np.any(numbers == np.inf):
                raise ValueError(
                    f"`{argument}`: entry {number} holds NaN or inf. Leave these points out, or "
                    "give them a mass of 0."
                )


def concrete(*leaves: Any) -> bool:
    """Whether values can be looked at: nothing here is traced."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(leaves))
