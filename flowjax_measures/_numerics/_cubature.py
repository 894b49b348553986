r"""Expectations under a Gaussian, exact where the integrand is a polynomial of low degree.

E f(X) for X ~ N(m, Σ) is f(m) when f is affine and f(m) + ½ tr(∇²f Σ) when f is quadratic, with
no square root of Σ, so that both hold, and can be differentiated, at a Dirac. Which case it is
is read off the traced derivatives: those of a polynomial stop depending on x. Everything else
is a sum over the nodes m + L z of a cubature with positive weights:

- d ≤ 4: tensor Gauss–Hermite, at most 1024 nodes;
- d ≤ 8: degree 5, 2^d corners and 2d axis nodes ([stroud1971], E_n^{r²});
- beyond: 2048 nodes of a lattice with their negatives, given the exact
  covariance: degree 3, and errors of some 1e-3 of what is not a cubic.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal
from jaxtyping import Array, Float, PyTree
from scipy.special import ndtri

from ._matrix import square_root

_FEW = 8
# Numbers that a core keeps near: 2 MB in float32.
_CACHED = 2**19
_HERMITE = {1: 40, 2: 24, 3: 10, 4: 5}


def nodes(dimension: int, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (k, d) and weights (k,) of the standard Gaussian in `dimension` dimensions.

    With a `count` they are so many of the lattice, in any dimension.
    """
    d = dimension
    if count is not None:
        z = _lattice(d, count // 2)
        return z, np.full(len(z), 1 / len(z))
    if d in _HERMITE:
        z, w = np.polynomial.hermite_e.hermegauss(_HERMITE[d])
        grid = np.stack(np.meshgrid(*[z] * d, indexing="ij"), -1).reshape(-1, d)
        weights = np.prod(np.stack(np.meshgrid(*[w] * d, indexing="ij"), -1), -1).ravel()
        return grid, weights / weights.sum()
    axes = np.concatenate([np.eye(d), -np.eye(d)])
    if d <= 8:
        signs = np.stack(np.meshgrid(*[[-1.0, 1.0]] * d, indexing="ij"), -1).reshape(-1, d)
        grid = np.concatenate([axes * np.sqrt((d + 2) / 2), signs * np.sqrt((d + 2) / (d - 2))])
        weights = np.concatenate(
            [np.full(2 * d, 4 / (d + 2) ** 2), np.full(2**d, (d - 2) ** 2 / (2**d * (d + 2) ** 2))]
        )
        return grid, weights
    z = _lattice(d, lattice(d) // 2)
    return z, np.full(len(z), 1 / len(z))


def lattice(dimension: int) -> int:
    """How many nodes stand for a Gaussian of more than eight dimensions by default."""
    return 2 * max(1024, 8 * dimension)


def _lattice(dimension: int, half: int) -> np.ndarray:
    """Normal nodes of a Kronecker lattice, antithetic and of identity covariance."""
    # The root of x^{d+1} = x + 1, whose powers are far from any resonance.
    root = 2.0
    for _ in range(60):
        root = (1 + root) ** (1 / (dimension + 1))
    steps = root ** -np.arange(1.0, dimension + 1)
    uniform = (0.5 + np.arange(1, half + 1)[:, None] * steps) % 1
    z = ndtri(np.clip(uniform, 1e-12, 1 - 1e-12))
    z = np.concatenate([z, -z])
    return z @ np.linalg.inv(np.linalg.cholesky(z.T @ z / len(z))).T


def factor(cov: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """A matrix L with L Lᵀ = cov that takes singular matrices.

    In few dimensions it is lower triangular: a pivot that round-off has made zero or negative
    leaves a zero column, with derivative zero. Smooth processes have many such pivots, and without
    an exchange of rows the error grows from each to the next: beyond it is the symmetric root.
    """
    d = cov.shape[0]
    if d > _FEW:
        return square_root(cov)
    scale = jnp.finfo(cov.dtype).eps * d * jnp.max(jnp.abs(jnp.diagonal(cov)), initial=0)
    columns = []
    rest = cov
    for j in range(d):
        pivot = rest[j, j]
        vanishes = pivot <= scale
        root = jnp.sqrt(jnp.where(vanishes, 1, pivot))
        # NaN stays.
        column = jnp.where(vanishes, 0 * rest[:, j], rest[:, j] / root)
        column = jnp.where(jnp.arange(d) < j, 0, column)
        rest = rest - jnp.outer(column, column)
        columns.append(column)
    return jnp.stack(columns, axis=1)


def depends(function: Callable[[Array], PyTree], x: Array) -> bool:
    """Whether the traced `function` uses its argument at all; conservative, never wrong."""
    # A module, or a method of one, that holds tracers couldn't be hashed.
    closed = jax.make_jaxpr(lambda x: function(x))(jax.ShapeDtypeStruct(x.shape, x.dtype))
    return any(_uses(closed.jaxpr, [True] * len(closed.jaxpr.invars)))


def _uses(jaxpr, tainted_inputs: list[bool]) -> list[bool]:
    """Which outputs of a jaxpr depend on the tainted inputs; looks inside calls."""
    tainted = {v for v, t in zip(jaxpr.invars, tainted_inputs, strict=True) if t}
    is_tainted = lambda v: not isinstance(v, Literal) and v in tainted  # noqa: E731
    for equation in jaxpr.eqns:
        inputs = [is_tainted(v) for v in equation.invars]
        # jax 0.10 writes the derivative of y as y⁰, which is no dependence.
        power = equation.primitive.name == "integer_pow" and equation.params["y"] == 0
        if power or not any(inputs):
            continue
        inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
        inner = getattr(inner, "jaxpr", inner)
        outputs = [True] * len(equation.outvars)
        if (
            hasattr(inner, "eqns")
            and len(inner.invars) == len(inputs)
            and equation.primitive.name not in ("scan", "while", "cond")
        ):
            outputs = _uses(inner, inputs)
        tainted.update(v for v, t in zip(equation.outvars, outputs, strict=True) if t)
    return [is_tainted(v) for v in jaxpr.outvars]


def degree(function: Callable[[Array], PyTree], x: Array) -> int:
    """0, 1 or 2 where `function` is a polynomial of at most that degree, else 3."""
    for order in range(3):
        if not depends(function, x):
            return order
        function = jax.jacfwd(function)
    return 3


def expect(
    function: Callable[[Array], PyTree],
    m: Float[Array, " d"],
    cov: Float[Array, "d d"],
    count: int | None = None,
) -> PyTree:
    """E function(X) for X ~ N(m, cov), for values in any pytree; `count` as of `nodes`."""
    given = function
    function = jax.jit(lambda x: given(x))  # traced once; its derivatives come from the trace
    order = degree(function, m)
    if order <= 1:
        return function(m)
    if order == 2:
        hessian = jax.jacfwd(jax.jacfwd(function))(m)
        return jax.tree.map(
            lambda f, h: f + jnp.tensordot(h, cov.astype(h.dtype), axes=2) / 2,
            function(m),
            hessian,
        )
    z, w = nodes(m.size, count)
    x = m + jnp.asarray(z, m.dtype) @ factor(cov).T
    return _weighted_sum(function, x, jnp.asarray(w, m.dtype))


def _weighted_sum(
    function: Callable[[Array], PyTree], x: Float[Array, "k d"], weights: Float[Array, " k"]
) -> PyTree:
    """Σ w_k function(x_k), in blocks of nodes whose values fit the cache.

    The mean of a Jacobian is d² numbers a node, and d times the work of its function: at d = 200 in
    blocks it takes a fifth of the time, and in reverse mode as little memory as one block.
    """
    like = jax.tree.leaves(jax.eval_shape(function, x[0]))
    block = max(_CACHED // max(sum(a.size for a in like), 1), 4)

    def part(x, weights):
        values = jax.vmap(function)(x)
        return jax.tree.map(lambda f: jnp.tensordot(weights.astype(f.dtype), f, axes=1), values)

    whole = len(x) // block
    if whole < 4:
        return part(x, weights)
    first = jax.tree.map(
        lambda a: a[: whole * block].reshape(whole, block, *a.shape[1:]), (x, weights)
    )
    total, _ = jax.lax.scan(
        jax.checkpoint(lambda total, a: (jax.tree.map(jnp.add, total, part(*a)), None)),
        part(x[whole * block :], weights[whole * block :]),
        first,
    )
    return total
