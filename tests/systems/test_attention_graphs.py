"""Attention on graphs tends to that on the graphon as the number of vertices grows."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm


def linear_on_graph(weights, n):
    """Averaging along the graph from x_i = (i + ½)/n to time 1."""
    system = fm.GraphAttention(weights, beta=0.0, normalization="mean")
    start = (jnp.arange(float(n)) + 0.5) / n
    run = fm.simulate(system, fm.Particles(start[:, None]), [0.0, 1.0], dt=0.1)
    return np.asarray(start), np.asarray(run.final.x[:, 0])


def test_graphon_limit():
    # ∂_t x(ξ) = ∫ ξζ x(ζ) dζ from x = ξ has x(t) = ξ e^{t/3}; the middle rule is of order 2.
    sizes, errors = np.array([8, 16, 32]), []
    for n in sizes.tolist():
        label = lambda i, n=n: (i.astype(float) + 0.5) / n  # noqa: E731
        start, final = linear_on_graph(lambda i, j, label=label: label(i) * label(j), n)
        errors.append(np.abs(final - start * np.exp(1 / 3)).max())
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert abs(slope + 2) < 0.05


@pytest.mark.slow
def test_random_graphs_tend_to_the_graphon():
    # An edge (i, j) with probability ξ_i ξ_j: the error in the mean square falls as n^{−1/2}.
    sizes, errors = np.array([32, 64, 128, 256]), []
    for n in sizes.tolist():
        place = (jnp.arange(float(n)) + 0.5) / n
        squares = []
        for k in range(8):
            edges = jr.bernoulli(jr.key(k), place[:, None] * place, (n, n)).astype(float)
            start, final = linear_on_graph(edges, n)
            squares.append(np.mean((final - start * np.exp(1 / 3)) ** 2))
        errors.append(np.sqrt(np.mean(squares)))
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert abs(slope + 0.5) < 0.1


@pytest.mark.slow
def test_softmax_on_a_graphon():
    # On the sphere, with w(ξ, ζ) = 1 + cos 2π(ξ − ζ): against 1024 vertices, at order 2.
    def final(n):
        place = (jnp.arange(float(n)) + 0.5) / n
        angle = 2 * jnp.pi * place + jnp.cos(2 * jnp.pi * place)
        x = jnp.stack([jnp.cos(angle), jnp.sin(angle), 0.5 * place], 1)
        weights = 1 + jnp.cos(2 * jnp.pi * (place[:, None] - place))
        mu = fm.Particles(x, space=fm.Sphere()).retract()
        run = fm.simulate(fm.GraphAttention(weights, beta=1.5), mu, [0.0, 1.0], dt=0.1).final
        return np.asarray(jax.vmap(jnp.cos)(run.x).mean(0))

    exact, sizes = final(1024), np.array([16, 32, 64])
    errors = [np.abs(final(n) - exact).max() for n in sizes.tolist()]
    assert abs(np.polyfit(np.log(sizes), np.log(errors), 1)[0] + 2) < 0.15
