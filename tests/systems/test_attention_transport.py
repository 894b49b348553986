"""Maps of measures F(μ) = f(·, μ)#μ: tokens do not split, and f need not be continuous."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

X = jr.normal(jr.key(0), (4, 3))
HALVES = jnp.log(jnp.array([0.1, 0.2, 0.3, 0.25, 0.15]))  # the first token is also the last
NAMES = {
    "softmax": fm.SelfAttention(beta=2.0),
    "mean": fm.SelfAttention(beta=0.5, normalization="mean"),
    "heads": fm.SelfAttention(value=jnp.stack([jnp.eye(3), -2 * jnp.eye(3)])),
    "linear": fm.LinearAttention(),
    "l2": fm.L2Attention(),
    "sinkhorn": fm.SinkhornAttention(beta=0.5),
    "mean shift": fm.MeanShift(),
    "alignment": fm.AlignmentFlow(jnp.tri(3, dtype=float)),
    "pre": fm.Normalized(fm.SelfAttention(beta=2.0)),
    "peri": fm.Normalized(fm.SelfAttention(beta=2.0), "peri", lambda t: (1 + t) ** -0.5),
    "perceptron": fm.SelfAttention() + fm.FeedForward(activation=jnp.tanh),
    "hypergraph": fm.HypergraphInteraction((lambda x, y: y - x, lambda x, y, z: y * z - x)),
    "kinetic": fm.CausalKinetic(1.5, 0.8),
    "causal": fm.SelfAttention(causal=True, bias=lambda i, j: 0.2 * (j - i).astype(float)),
    "causal, recent": fm.CausalAttention(beta=2.0, recency=1.3),
    "circle": fm.CausalCircle(1.5, 0.8),
    "graph": fm.GraphAttention(lambda i, j: (1 + (i + 2 * j) % 3).astype(float), beta=2.0),
    "inertial": fm.SympFormer("softmax", beta=0.5),
    "inertial, linear": fm.SympFormer("linear", value=-jnp.eye(3)),
}


def points(name, x):
    """What the system of this name moves; who has an order has it from labels, of tokens too."""
    if name in ("causal", "causal, recent", "circle", "graph"):
        return (x[:, :1] if name == "circle" else x), jnp.arange(5) % 4
    if name.startswith("inertial"):
        return fm.Phase(x, x[:, ::-1])
    return x[:, :2] if name == "kinetic" else x


@pytest.mark.parametrize("name", NAMES)
def test_tokens_do_not_split(name):
    """Equal tokens stay equal, and as one token of their mass, bit for bit or to round-off."""
    network, x = fm.layers(NAMES[name], 2), jnp.concatenate([X, X[:1]])

    @jax.jit
    def moved(log_w):
        leaves = jax.tree.leaves(network(fm.Particles(points(name, x), log_w)).x)
        return jnp.concatenate([a for a in leaves if a.ndim == 2], axis=1)

    twice = moved(HALVES)
    once = moved(HALVES.at[0].set(jnp.log(0.25)).at[4].set(-700.0))
    assert np.allclose(twice[0], twice[4], rtol=1e-14)
    assert np.allclose(twice[:4], once[:4], atol=1e-9 if name == "sinkhorn" else 1e-13)


def quantiles(x, w, count=20_000):
    """The quantile function of Σ w_i δ_{x_i} at the middles u of `count` equal parts, and u."""
    order = np.argsort(x, stable=True)
    u = (np.arange(count) + 0.5) / count
    return x[order][np.searchsorted(np.cumsum(w[order]), u).clip(0, len(x) - 1)], u


def folded(x, w, alpha=0.5):
    """f(x, μ) = g(x/W₂(μ, λ)^α) with g(x) = 2 min(x, 1 − x) of period 1, λ uniform on [0, 1]."""
    q, u = quantiles(x, w)
    place = (x / np.sqrt(np.mean((q - u) ** 2)) ** alpha) % 1
    return 2 * np.minimum(place, 1 - place)


def test_a_continuous_map_of_measures_without_a_continuous_transport():
    # F(μ) → F(λ) = λ as μ → λ, but f(·, μ) oscillates and has no limit.
    distances, values = [], []
    for n in (40, 160, 640, 2560):
        x, w = (np.arange(n) + 0.5) / n, np.full(n, 1 / n)
        image = folded(x, w)
        q, u = quantiles(image, w)
        distances.append(np.mean(np.abs(q - u)))
        values.append(np.interp(0.37, x, image))
    assert distances[-1] < 0.02 and distances[-1] < distances[0] / 4
    assert np.abs(np.diff(values)).min() > 0.05
    # It does not split either: two halves of an atom go where the whole goes.
    halves = folded(np.array([0.2, 0.2, 0.9]), np.array([0.25, 0.25, 0.5]))
    whole = folded(np.array([0.2, 0.9]), np.array([0.5, 0.5]))
    assert halves[0] == halves[1] and np.allclose(halves[1:], whole)
