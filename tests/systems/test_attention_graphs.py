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


AVERAGING = fm.GraphAttention(lambda a, b: a * b, beta=0.0, normalization="mean")
# Of three bodies: x(t, ξ) = ξ a(t) with a' = (∫ ζ · ζ a dζ)² = a²/9.
TRIPLES = fm.HypergraphInteraction(
    (lambda x, y: 0 * y, lambda x, y, z: y * z), (None, lambda a, b, c: a * b * c)
)


@pytest.mark.parametrize(
    ("system", "growth"),
    [
        (AVERAGING, np.exp(0.5 / 3)),
        pytest.param(TRIPLES, 1 / (1 - 0.5 / 9), marks=pytest.mark.slow),
    ],
)
def test_vlasov_equations_of_labelled_tokens(system, growth):
    """Real labels ξ: points (x, ξ), points (ξ, x), and densities of (ξ, x)."""
    law, errors = fm.GraphonVlasov(system), []
    for n in (8, 16):
        xi = (jnp.arange(float(n)) + 0.5) / n
        flat = fm.simulate(law, fm.Particles(jnp.stack([xi, xi], 1)), [0.0, 0.5], dt=0.1).final
        assert np.array_equal(flat.x[:, 0], xi)
        errors.append(np.abs(flat.x[:, 1] - xi * growth).max())
    assert abs(np.log2(errors[0] / errors[1]) - 2) < 0.1
    token, label = system(0.0, fm.Particles((flat.x[:, 1:], xi))).drift.x
    assert np.allclose(token, law(0.0, flat).drift.x[:, 1:], atol=1e-15) and not label.any()
    xi, x = (jnp.arange(6.0) + 0.5) / 6, -1 + 3 * (jnp.arange(18.0) + 0.5) / 18
    bumps = jnp.exp(-(((x - xi[:, None]) / 0.3) ** 2) / 2)
    bumps = bumps / bumps.mean(1, keepdims=True) / 3
    start = fm.GridDensity(bumps, jnp.array([0.0, -1.0]), jnp.array([1.0, 2.0]))
    density = fm.simulate(law, start, [0.0, 0.5], dt=0.05).final.rho
    assert np.allclose(density.mean(1), bumps.mean(1), rtol=1e-12)
    middle = (density * x).mean(1) / density.mean(1) - (bumps * x).mean(1) / bumps.mean(1)
    assert np.allclose(middle, xi * (growth - 1), atol=0.01)


@pytest.mark.slow
def test_vlasov_equations_are_the_limit_of_softmax_on_graphs():
    """Tokens drawn from a density of (ξ, x): their moments are n^{−1/2} from those of the grid."""
    attention = fm.GraphAttention(lambda a, b: 1 + jnp.cos(jnp.pi * (a - b)), beta=0.5)
    law, ts = fm.GraphonVlasov(attention), [0.0, 0.4]
    xi, x = (jnp.arange(8.0) + 0.5) / 8, -3 + 6 * (jnp.arange(24.0) + 0.5) / 24
    rho = jnp.exp(-((x - xi[:, None]) ** 2) / 0.5)
    start = fm.GridDensity(rho / rho.mean() / 6, jnp.array([0.0, -3.0]), jnp.array([1.0, 3.0]))
    moments = lambda mu: mu.mean(lambda p: jnp.stack([p[1], p[0] * p[1]]))  # noqa: E731
    limit = moments(fm.simulate(law, start, ts, dt=0.05).final)
    tokens = jr.uniform(jr.key(0), (1024, 2))
    tokens = tokens.at[:, 1].set(tokens[:, 0] + 0.5 * jr.normal(jr.key(1), (1024,)))
    final = fm.simulate(law, fm.Particles(tokens), ts, dt=0.2).final
    assert np.abs(moments(final) - limit).max() < 3 * 0.6 * np.exp(0.4) / np.sqrt(1024)


def test_real_labels_have_no_entries_in_arrays():
    tokens = fm.Particles((jnp.ones((4, 2)), jnp.linspace(0.0, 1.0, 4)))
    for system in (
        fm.GraphAttention(jnp.ones((4, 4))),
        fm.HypergraphInteraction((lambda x, y: y,), (jnp.ones((4, 4)),)),
    ):
        with pytest.raises(ValueError, match="`weights` is an array, whose entries are numbered"):
            system(0.0, tokens)


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
