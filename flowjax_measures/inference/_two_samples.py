r"""Are two samples of one law? Permutation tests, and how far generated points are from data.

    p = (1 + #{π : T(π) ≥ T}) / (1 + P)

T is a distance of the two samples and T(π) that after a random exchange of their labels: where both
are independent draws of one law all orders are equally likely, and P(p ≤ α) ≤ α for any n, m, T.
"""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._custom_types import Count, FloatScalar, PRNGKey
from .._numerics import checked, jitted, safe_sqrt
from ..measures import Particles
from ..measures._base import concrete

Statistic = Literal["mmd", "energy", "sliced", "classifier"]


class TwoSampleTest(eqx.Module):
    """What `two_sample_test` returns.

    - `statistic`: the distance T of the samples, or the accuracy of the classifier.
    - `p_value`: the share of exchanged labels that part them as much; small says "two laws".
    - `null`: T under exchanged labels, shape (permutations,).

    !!! example

        `fm.two_sample_test(mu, nu, key=key).p_value`
    """

    statistic: FloatScalar
    p_value: FloatScalar
    null: Float[Array, " permutations"]


@checked
def two_sample_test(
    x: Any,
    y: Any,
    *,
    key: PRNGKey,
    statistic: Statistic = "mmd",
    permutations: Count = 499,
    bandwidth: float | None = None,
    directions: Count = 32,
) -> TwoSampleTest:
    r"""Tests whether two samples are draws of one law, by exchanging their labels.

    The p-value is exact for independent draws; what the statistic decides is the power. Memory is
    that of (n + m)² numbers for "mmd", "energy" and "classifier".

    **Arguments:**

    - `x`, `y`: points, arrays of shapes (n, d) and (m, d), or `Particles` without weights.
    - `statistic`: "mmd", of a Gaussian kernel; "energy", the energy distance, which needs no
      width; "sliced", SW₂ along random `directions`; "classifier", the accuracy on one half of the
      points of a ridge regression of the labels, with that kernel, on the other half.
    - `permutations`: P; the least p-value is 1/(1 + P).
    - `bandwidth`: of the kernel; `None` is the median distance of all points.

    **Raises:** `ValueError` that names the argument.

    !!! example

        `two_sample_test(generated, held_out, key=jax.random.key(0)).p_value`
    """
    x, y = _points("x", x), _points("y", y)
    if x.shape[1] != y.shape[1] or x.dtype != y.dtype:
        raise ValueError(
            f"`y` has points of {y.shape[1]} {y.dtype} numbers, `x` of {x.shape[1]} {x.dtype}; "
            "give points of one size and type."
        )
    if statistic not in ("mmd", "energy", "sliced", "classifier"):
        raise ValueError(
            f'`statistic` is {statistic!r}; give "mmd", "energy", "sliced" or "classifier".'
        )
    for name, value in (("permutations", permutations), ("directions", directions)):
        if value < 1:
            raise ValueError(f"`{name}` is {value}; give at least one.")
    if bandwidth is not None and concrete(bandwidth) and not float(bandwidth) > 0:
        raise ValueError(f"`bandwidth` is {bandwidth}; give a length > 0.")
    return _test(x, y, key, statistic, permutations, bandwidth, directions)


@jitted
def _test(x, y, key, statistic, permutations, bandwidth, directions):
    order, rest = jax.random.split(key)
    z, n = jnp.concatenate([x, y]), len(x)
    first = jnp.arange(len(z)) < n
    keys = jax.random.split(order, permutations)
    labels = jax.vmap(lambda k: jax.random.permutation(k, first))(keys)
    labels = jnp.concatenate([first[None], labels])
    if statistic == "sliced":
        values = _sliced(z, n, labels, jax.random.normal(rest, (directions, z.shape[1]), z.dtype))
    else:
        distances = _distances(z, z)
        if statistic == "energy":
            values = _quadratic(-distances, n, labels)
        else:
            # All points alike: the labels may be exchanged, the width stays.
            pairs = jnp.where(jnp.eye(len(z), dtype=bool), jnp.nan, distances)
            width = jnp.nanmedian(pairs) if bandwidth is None else bandwidth
            width = jnp.asarray(jnp.where(width > 0, width, 1), z.dtype)
            kernel = jnp.exp(-((distances / width) ** 2) / 2)
            if statistic == "mmd":
                values = safe_sqrt(jnp.maximum(_quadratic(kernel, n, labels), 0))
            else:
                values = _accuracy(kernel, n, labels, jax.random.permutation(rest, len(z)))
    # What is equal but for round-off counts as equal.
    slack = jnp.finfo(z.dtype).eps * 100 * jnp.abs(values[0])
    p = (1 + jnp.sum(values[1:] >= values[0] - slack)) / (1 + permutations)
    p = jnp.where(jnp.isfinite(values[0]), p, jnp.nan).astype(z.dtype)
    return TwoSampleTest(values[0], p, values[1:])


def _quadratic(kernel, n: int, labels: Bool[Array, "k N"]) -> Float[Array, " k"]:
    """∬ k d(μ − ν)² for each way to label the points."""
    m = labels.shape[1] - n
    signs = jnp.where(labels, 1 / n, -1 / m).astype(kernel.dtype)
    return jnp.sum((signs @ kernel) * signs, axis=1)


def _sliced(z, n: int, labels, directions) -> Float[Array, " k"]:
    """SW₂ by quantile functions: those of n and m points jump at multiples of 1/n and 1/m."""
    m = labels.shape[1] - n
    jumps = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    i, j = (jumps[:-1] // k for k in (m, n))
    widths = jnp.asarray(np.diff(jumps) / (n * m), z.dtype)
    unit = directions / jnp.linalg.norm(directions, axis=1, keepdims=True)
    along = unit @ z.T
    order = jnp.argsort(along, axis=1)
    along = jnp.take_along_axis(along, order, axis=1)

    def one(label):
        def on_line(values, order):
            mine = label[order]
            place = jnp.where(mine, jnp.cumsum(mine) - 1, n + jnp.cumsum(~mine) - 1)
            parted = jnp.zeros_like(values).at[place].set(values, unique_indices=True)
            return jnp.sum(widths * (parted[:n][i] - parted[n:][j]) ** 2)

        return jnp.mean(jax.vmap(on_line)(along, order))

    return safe_sqrt(jax.lax.map(one, labels))


def _accuracy(kernel, n: int, labels, order) -> Float[Array, " k"]:
    """The mean of the accuracies on the held-out points of both labels."""
    half = len(order) // 2
    train, test = order[:half], order[half:]
    ridge = kernel[train][:, train] + jnp.asarray(half**0.5, kernel.dtype) * jnp.eye(
        half, dtype=kernel.dtype
    )
    weights = jnp.linalg.solve(ridge, kernel[train][:, test])
    share = n / labels.shape[1]
    found = jnp.where(labels, 1 - share, -share).astype(kernel.dtype)[:, train] @ weights > 0

    def rate(mine, right):
        return jnp.sum(mine & right, axis=1) / jnp.maximum(jnp.sum(mine, axis=1), 1)

    known = labels[:, test]
    rates = (rate(known, found) + rate(~known, ~found)) / 2
    return rates.astype(kernel.dtype)


class Evaluation(eqx.Module):
    """What `evaluate` returns; all of it near its values for two samples of the data is good.

    - `energy_distance`: 2 E‖X − Y‖ − E‖X − X′‖ − E‖Y − Y′‖, of the samples as measures.
    - `precision`: the share of generated points within the reach of a data point, the distance to
      its k-th neighbour among the data ([kynkaanniemi2019]).
    - `recall`: the share of data points within the reach, the other way round, of a generated one.
    - `density`: how many data points reach a generated point, in units of k ([naeem2020]).
    - `coverage`: the share of data points that a generated point is in reach of.
    - `test`: a `TwoSampleTest` by the energy distance, where a key was given.

    !!! example

        `fm.evaluate(mu, nu, key=key)`
    """

    energy_distance: FloatScalar
    precision: FloatScalar
    recall: FloatScalar
    density: FloatScalar
    coverage: FloatScalar
    test: TwoSampleTest | None


@checked
def evaluate(
    generated: Any, data: Any, *, key: PRNGKey | None = None, neighbors: Count = 5
) -> Evaluation:
    """Compares generated points with data that were not trained on.

    **Arguments:** `generated`, `data`: as of `two_sample_test`. `key`: for a test by the energy
    distance; `None` makes none. `neighbors`: k.

    **Raises:** `ValueError` that names the argument.

    !!! example

        `evaluate(generated, held_out, key=jax.random.key(0)).coverage`
    """
    x, y = _points("generated", generated), _points("data", data)
    if x.shape[1] != y.shape[1] or x.dtype != y.dtype:
        raise ValueError("`generated` and `data` have points of different sizes or types.")
    if not 1 <= neighbors < min(len(x), len(y)):
        raise ValueError(
            f"`neighbors` is {neighbors}; give at least one and less than the number of points."
        )
    energy, precision, recall, density, coverage = _evaluate(x, y, neighbors)
    test = None if key is None else two_sample_test(x, y, key=key, statistic="energy")
    return Evaluation(energy, precision, recall, density, coverage, test)


@jitted
def _evaluate(x, y, k):
    inside, across, beside = _distances(x, x), _distances(x, y), _distances(y, y)
    energy = 2 * jnp.mean(across) - jnp.mean(inside) - jnp.mean(beside)
    # A point is its own neighbour at the distance 0.
    reach_x = jnp.sort(inside, axis=1)[:, k]
    reach_y = jnp.sort(beside, axis=1)[:, k]
    near = across <= reach_y
    shares = (
        jnp.any(near, axis=1),
        jnp.any(across <= reach_x[:, None], axis=0),
        jnp.sum(near, axis=1) / k,
        jnp.any(near, axis=0),
    )
    known = jnp.isfinite(energy)
    return energy, *(jnp.where(known, jnp.mean(share.astype(x.dtype)), jnp.nan) for share in shares)


def _distances(x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
    return jax.lax.map(lambda p: safe_sqrt(jnp.sum((p - y) ** 2, axis=1)), x)


def _points(name: str, given: Any) -> Float[Array, "n d"]:
    if isinstance(given, Particles):
        if given.log_w is not None:
            raise ValueError(
                f"`{name}` has weights; draw points: {name}.sample(key, n) are of equal weight."
            )
        given = given.x
    points = jnp.asarray(given)
    if points.ndim != 2 or len(points) < 2 or not jnp.issubdtype(points.dtype, jnp.floating):
        raise ValueError(
            f"`{name}` is {points.dtype}{list(points.shape)}; give real points, one a row, two or "
            "more: shape (n, d)."
        )
    if concrete(points) and not bool(jnp.all(jnp.isfinite(points))):
        raise ValueError(f"`{name}` holds NaN or inf; leave these points out.")
    return points
