r"""Sums over pairs of atoms, of which no table is made.

    S(g)(x) = −ε log ∫ e^{(g(y) − c(x, y))/ε} ν(dy),   the soft minimum of c(x, ·) − g

Entropic transport needs this of its costs, and the means under the weights that it sums. Between
clouds the pairs are run through in tiles. Between grids c is a sum over the axes, e^{−c/ε} a
product, and a sum over cells one matrix product for each axis.
"""

import abc
import math
from collections.abc import Callable, Sequence
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jax.sharding import NamedSharding
from jaxtyping import Array, Float

from .._custom_types import ATOMS, FloatScalar
from .._reduce import tilted_mean
from .._reduce._ring import meshless
from .._reduce._tilted import spread_mean
from ..measures import GridDensity
from ._schrodinger import cost_potentials, squared_distances

# Atoms of each measure whose potentials begin, found from the matrix of their costs.
_SAMPLE = 512
# Blocks of the cells of an axis, of which each is summed about its centre.
_BLOCKS = 16


class AbstractPairs(eqx.Module):
    """Pairs of n atoms x and m atoms y, and what they cost."""

    @abc.abstractmethod
    def softmin(
        self, log_b: Float[Array, " m"], g: Float[Array, " m"], epsilon: FloatScalar
    ) -> Float[Array, " n"]:
        """S(g) at each x, for the weights e^{log_b} of the y."""

    @abc.abstractmethod
    def means(self, log_b: Array, g: Array, epsilon: FloatScalar) -> Callable[[Array], Array]:
        """Of values at the y, their mean at each x, weighted as S(g) sums them."""

    @abc.abstractmethod
    def turned(self) -> "AbstractPairs":
        """The same with x for y."""

    @abc.abstractmethod
    def table(self) -> Float[Array, "n m"]:
        """The costs of all pairs."""

    @abc.abstractmethod
    def top(self, log_a: Array, log_b: Array) -> FloatScalar:
        """A bound of the range of the costs."""

    @abc.abstractmethod
    def begin(
        self, log_a: Array, log_b: Array, epsilon: FloatScalar
    ) -> tuple[Float[Array, " n"], FloatScalar]:
        """Potentials f, and a scale ≥ ε at which they are not far from those of transport."""

    def moved(self, log_b: Array, g: Array, epsilon: FloatScalar, values: Array) -> Array:
        """The means as minus the derivative of the soft minimum, which is linear to JAX as well."""
        return -jax.jvp(lambda g: self.softmin(log_b, g, epsilon), (g,), (values,))[1]


class Table(AbstractPairs):
    """The matrix of all costs, of whatever pairs."""

    cost: Float[Array, "n m"]

    def softmin(self, log_b, g, epsilon):
        return -epsilon * logsumexp(self._logits(log_b, g, epsilon), axis=1)

    def means(self, log_b, g, epsilon):
        weights = jax.nn.softmax(self._logits(log_b, g, epsilon), axis=1)
        return lambda values: weights @ values

    def _logits(self, log_b, g, epsilon):
        # The difference first: of its terms, divided by a small ε, few digits are left.
        return (g - self.cost) / epsilon + log_b

    def turned(self):
        return Table(self.cost.T)

    def table(self):
        return self.cost

    def top(self, log_a, log_b):
        # Atoms without mass must not set the scale.
        held = (log_a > -jnp.inf)[:, None] & (log_b > -jnp.inf)
        low = jnp.min(jnp.where(held, self.cost, jnp.inf))
        return jnp.max(jnp.where(held, self.cost - low, 0))

    def begin(self, log_a, log_b, epsilon):
        return cost_potentials(self.cost, log_a, log_b, epsilon)[0], epsilon


class Clouds(AbstractPairs):
    """Points x (n, d) and y (m, d) with the cost ‖x − y‖².

    `sharding` says how both are spread over devices; sums then go round the ring.
    """

    x: Float[Array, "n d"]
    y: Float[Array, "m d"]
    sharding: NamedSharding | None = eqx.field(static=True, default=None)

    def softmin(self, log_b, g, epsilon):
        return self._tilted(log_b, g, epsilon, jnp.ones_like(g))[1]

    def means(self, log_b, g, epsilon):
        return lambda values: self._tilted(log_b, g, epsilon, values)[0]

    def _tilted(self, log_b, g, epsilon, values) -> tuple[Array, Array]:
        def one(x):
            logits = lambda atom: (atom[1] - jnp.sum((x - atom[0]) ** 2)) / epsilon  # noqa: E731
            mean, log = summed(lambda atom: atom[2], logits, (self.y, g, values), log_b)
            return mean, -epsilon * log

        if self.sharding is None:
            summed = tilted_mean
            return jax.vmap(one)(self.x)
        summed = partial(spread_mean, sharding=self.sharding)
        return jax.vmap(one, axis_name=ATOMS)(meshless(self.x))

    def turned(self):
        return Clouds(self.y, self.x, self.sharding)

    def table(self):
        return squared_distances(self.x, self.y)

    def top(self, log_a, log_b):
        spread = sum(jnp.max(z, axis=0) - jnp.min(z, axis=0) for z in (self.x, self.y))
        return jnp.sum(jnp.asarray(spread) ** 2)

    def begin(self, log_a, log_b, epsilon):
        p, q = _few(self.x, log_a), _few(self.y, log_b)
        even_p, even_q = (jnp.full(len(z), -jnp.log(float(len(z))), log_a.dtype) for z in (p, q))
        _, g = cost_potentials(squared_distances(p, q), even_p, even_q, epsilon)
        g = jnp.where(jnp.isfinite(g), g, 0)
        return Clouds(self.x, q).softmin(even_q, g, epsilon), epsilon


def _few(points, log_w):
    """Some of the points, drawn evenly in their masses."""
    size = min(_SAMPLE, len(points))
    ladder = (jnp.arange(size, dtype=log_w.dtype) + 0.5) / size
    index = jnp.searchsorted(jnp.cumsum(jnp.exp(log_w)), ladder)
    return points[jnp.minimum(index, len(points) - 1)]


class Lattices(AbstractPairs):
    """The cells of two grids; `costs` hold d(x, y)² along each axis, (n_a, m_a)."""

    costs: tuple[Float[Array, "n m"], ...]

    def softmin(self, log_b, g, epsilon):
        kernels = [-cost / epsilon for cost in self.costs]
        cells = [cost.shape[1] for cost in self.costs]
        return -epsilon * log_product(kernels, (g / epsilon + log_b).reshape(cells)).ravel()

    def means(self, log_b, g, epsilon):
        return partial(self.moved, log_b, g, epsilon)

    def turned(self):
        return Lattices(tuple(cost.T for cost in self.costs))

    def top(self, log_a, log_b):
        return jnp.asarray(sum(jnp.max(cost) for cost in self.costs))

    def begin(self, log_a, log_b, epsilon):
        return jnp.zeros_like(log_a), jnp.maximum(self.top(log_a, log_b), epsilon)

    def _cells(self) -> tuple[list[int], list[int]]:
        return [len(cost) for cost in self.costs], [cost.shape[1] for cost in self.costs]

    def table(self):
        n, m = self._cells()
        whole = jnp.zeros((), self.costs[0].dtype)
        for axis, cost in enumerate(self.costs):
            others = [i for i in range(2 * len(n)) if i not in (axis, axis + len(n))]
            whole = whole + jnp.expand_dims(cost, others)
        return whole.reshape(math.prod(n), math.prod(m))


def lattices(mu: GridDensity, nu: GridDensity) -> Lattices:
    """The pairs of cells of two grids on one space, around it along glued axes."""
    costs = []
    for axis, glued in enumerate(mu.periodic):
        x, y = (_centres(m, axis) for m in (mu, nu))
        gap = jnp.abs(x[:, None] - y)
        if glued:
            length = mu.upper[axis] - mu.lower[axis]
            gap = jnp.mod(gap, length)
            gap = jnp.minimum(gap, length - gap)
        costs.append(gap**2)
    return Lattices(tuple(costs))


def _centres(mu: GridDensity, axis: int) -> Float[Array, " n"]:
    steps = jnp.arange(mu.rho.shape[axis], dtype=mu.rho.dtype) + 0.5
    return mu.lower[axis] + mu.spacing[axis] * steps


def log_product(
    kernels: Sequence[Float[Array, "n m"]], log_f: Float[Array, "..."]
) -> Float[Array, "..."]:
    """log Σ_y e^{k(x, y)} f(y) on the cells of grids, k the sum of `kernels` over the last axes."""
    for axis, kernel in enumerate(kernels, log_f.ndim - len(kernels)):
        lines = jnp.moveaxis(log_f, axis, 0)
        found = _lines(kernel, lines.reshape(len(lines), -1))
        log_f = jnp.moveaxis(found.reshape(len(kernel), *lines.shape[1:]), 0, axis)
    return log_f


def _lines(kernel: Float[Array, "n m"], log_f: Float[Array, "m l"]) -> Float[Array, "n l"]:
    """log Σ_j e^{k_ij + log f_jl}.

    The rows of a block are summed in the units of the largest term of its middle row, so that the
    sum is a matrix product. Where k changes within blocks by less than half of what exponentials of
    floats can hold, no term that counts is lost; else rows are summed one by one.
    """
    info = np.finfo(kernel.dtype)
    room = (np.log(info.eps) - np.log(info.tiny)) / 2
    blocks, middle = _blocks(kernel)
    fits = jnp.max(jnp.abs(blocks - middle)) < room
    return jax.lax.cond(fits, _by_blocks, _one_by_one, kernel, log_f)


def _blocks(kernel: Array) -> tuple[Float[Array, "b k m"], Float[Array, "b 1 m"]]:
    """The rows in blocks, the last row repeated to fill them, and the blocks' middle rows."""
    size = -(-len(kernel) // _BLOCKS)
    missing = -len(kernel) % size
    blocks = jnp.pad(kernel, ((0, missing), (0, 0)), mode="edge").reshape(-1, size, kernel.shape[1])
    return blocks, jax.lax.stop_gradient(blocks[:, size // 2, None])


def _by_blocks(kernel: Array, log_f: Array) -> Float[Array, "n l"]:
    blocks, middle = _blocks(kernel)
    terms = jnp.swapaxes(middle, 1, 2) + log_f
    unit = jax.lax.stop_gradient(jnp.max(terms, axis=1, keepdims=True))
    unit = jnp.where(jnp.isneginf(unit), 0, unit)
    total = jnp.exp(blocks - middle) @ jnp.exp(terms - unit)
    empty = total == 0
    logs = jnp.where(empty, -jnp.inf, jnp.log(jnp.where(empty, 1, total)) + unit)
    return logs.reshape(-1, log_f.shape[1])[: len(kernel)]


@jax.checkpoint
def _one_by_one(kernel: Array, log_f: Array) -> Float[Array, "n l"]:
    return logsumexp(kernel[:, :, None] + log_f, axis=1)
