r"""What all kinds of attention share: heads, matrices, depth, masks, biases, positions.

    ẋ = Σ_h O_h V_h read_h(x),   read_h = ∫ y κ_h(x, y) μ(dy),

where κ comes from scores of Q_h x against K_h y, a relation between the two (−∞ where x may not
look) and a normalisation. A kind of attention is its score and its normalisation.
"""

import abc
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField
from ...measures import Rates
from ._heads import of_heads
from ._matrices import Matrix, evaluated, times
from ._order import beside, paired, told_apart
from ._relation import relation, rotated


class Look(NamedTuple):
    """How one token looks at the others, in one head. Functions are of atoms of the measure."""

    here: Any
    query: Callable[[Any], Array]
    key: Callable[[Any], Array]
    value: Callable[[Any], Array]
    """What is read at an atom; κ is applied to it linearly."""
    beta: FloatScalar
    relation: Callable[[Any, Any], Any] | None
    """What is added to β⟨Qx, Ky⟩ for the pair (x, y)."""
    labelled: bool
    """Whether the numbers of atoms are the user's labels, not their places."""

    def logits(self, score: Callable[[Array, Array], Any] = jnp.vdot) -> Callable[[Any], Any]:
        """ℓ of an atom y: β score(Qx, Ky), and the relation."""
        looks = self.query(self.here)

        def of(y):
            ell = self.beta * score(looks, self.key(y))
            return ell if self.relation is None else ell + self.relation(self.here, y)

        return of


class AbstractLayer(AbstractMeanField):
    """A kind of attention: `read` is all that it must say."""

    query: Matrix = None
    key: Matrix = None
    value: Matrix = None
    beta: FloatScalar | Float[Array, " _"] = 1.0
    output: Matrix = eqx.field(default=None, kw_only=True)
    causal: bool = eqx.field(static=True, default=False, kw_only=True)
    mask: Bool[Array, "... _ _"] | Callable[[Any, Any], Any] | None = eqx.field(
        default=None, kw_only=True
    )
    bias: Float[Array, "... _ _"] | Callable[[Any, Any], Any] | None = eqx.field(
        default=None, kw_only=True
    )
    exclude_self: bool = eqx.field(static=True, default=False, kw_only=True)
    rotary: float | None = eqx.field(static=True, default=None, kw_only=True)

    ordered: ClassVar[bool] = False
    """Whether tokens are always told apart."""
    relative: ClassVar[bool] = False
    """Whether y − x is read in place of y."""
    by_rows: ClassVar[bool] = True
    """Whether pairs are only asked for with x first, so that rows of arrays can be sliced."""

    @abc.abstractmethod
    def read(self, mu: Any, look: Look) -> Array:
        """∫ value(y) κ(x, y) μ(dy)."""

    def rates(self, t, x, mu):
        read = self.heads(t, x, mu)
        velocity = sum(times(of["output"], times(of["value"], reads)) for of, reads in read)
        return Rates(beside(x, velocity))

    def heads(self, t, x, mu, value=None):
        """The matrices of each head with what x reads in it: tokens, or `value` of the atoms."""
        labelled = paired(x)
        apart = self.related() or self.ordered or self.rotary is not None
        token = (lambda y: y[0]) if labelled or apart else lambda y: y
        here = x
        if apart:
            here, mu = told_apart(x, mu)
        mu, related = relation(self, here, mu, labelled)
        origin = token(here)
        if value is None:
            value = (lambda y: token(y) - origin) if self.relative else token

        def turned(matrix):
            base = self.rotary
            if base is None:
                return lambda y: times(matrix, token(y))
            return lambda y: rotated(times(matrix, token(y)), y[1], base)

        def head(number, query, key, beta):
            pair = None if related is None else partial(related, number)
            look = Look(here, turned(query), turned(key), value, beta, pair, labelled)
            return self.read(mu, look)

        matrices = evaluated(self, t, origin)
        counted = {n: (v, 2) for n, v in matrices.items()} | {"beta": (self.beta, 0)}
        pairwise = {"mask": self.mask, "bias": self.bias}
        counted |= {n: (a, 2) for n, a in pairwise.items() if not callable(a)}
        for number, (of, beta) in enumerate(of_heads(matrices, self.beta, counted)):
            yield of, head(number, of["query"], of["key"], beta)

    def related(self) -> bool:
        """Whether something is said of pairs of tokens: a mask, a bias, an order."""
        said = self.mask is not None or self.bias is not None
        return said or self.causal or self.exclude_self
