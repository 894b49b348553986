"""Public functions of what is not a pair of measures: gradient = difference, batched = one by one,
compiled = called. Those of two measures are in `contract.py`."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

KEY = jr.key(0)
X, Y = jr.normal(KEY, (6, 2)), jr.normal(jr.key(1), (5, 2)) + 0.5
M, A = jnp.array([0.1, -0.2]), jnp.array([[0.8, 0.2], [0.2, 0.5]])
B = jnp.array([[1.0, -0.3], [-0.3, 0.7]])
W = jnp.linspace(0.1, 0.4, 6)
EVEN, LABELS = W / 1.5, np.array([0, 0, 0, 1, 1, 1])
RHO = jnp.array([1.0, 2.0, 3.0, 2.0, 1.0, 1.5, 0.7, 0.6])
BALL = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
DATA = (jr.normal(jr.key(4), (5, 2)), jnp.ones(5))
POINT = jnp.array([0.3, 0.4])
FAR = [X * 0.4 + jnp.array([-3.0, 0.3]), X[::-1] * 0.5 + jnp.array([0.0, 2.5])]
TIMES = [0.0, 0.5, 1.0]


def points(x, **given):
    return fm.Particles(x, **given)


def gauss(c, m=M):
    return fm.Gaussian(m, (c + c.T) / 2)


def cells(rho):
    return fm.GridDensity(rho, -1.0, 1.0)


def loss(p, example):
    return (jnp.vdot(p, example[0]) - example[1]) ** 2 / 2 + 0.1 * jnp.sum(p**4)


def interpolant(x, c=A):
    return fm.StochasticInterpolant(gauss(c), points(x), fm.LinearSchedule(0.4))


CALLS = {
    "barycenter": (lambda c: fm.barycenter([gauss(c), gauss(B, -M)], weights=[0.3, 0.7]).cov, A),
    "barycenter, weights": (
        lambda w: fm.barycenter([gauss(A), gauss(B, -M), gauss(B @ B)], weights=w).cov, W[:3]
    ),
    "barycenter, points": (
        lambda x: fm.barycenter([points(x), points(Y)], start=points(X[:4])).x, X
    ),
    "median": (lambda c: fm.median([gauss(c), gauss(B, -M), gauss(A + B, M + 1)]).cov, A),
    "median, points": (
        lambda x: fm.median([points(a) for a in (x, *FAR)], start=points(X)).x,
        X * 0.3 + jnp.array([3.0, 0.0]),
    ),
    "median, one of the measures": (
        lambda x: fm.median([points(x), points(X * 1.5 + 1), points(FAR[0])], start=points(X)).x,
        X + 0.3,
    ),
    "blow_up_time": (lambda c: fm.blow_up_time(fm.SelfAttention(beta=2.0), gauss(c)), A),
    "bridge_cost": (lambda c: fm.bridge_cost(gauss(c), gauss(B, -M), 0.5), A),
    "bridge_hamiltonian": (lambda x: fm.bridge_hamiltonian(points(x), points(Y), 0.5), X),
    "bridge_hamiltonian, Gaussian": (
        lambda c: fm.bridge_hamiltonian(gauss(c), gauss(B, -M), 0.5), A
    ),
    "contraction": (lambda t: fm.contraction(loss, DATA, 0.1, 2, t), POINT),
    "couple": (
        lambda x: fm.couple(TIMES, [points(X), points(x), points(x + 0.4)], epsilon=0.3), X + 0.3
    ),
    "entropic_map": (lambda y: fm.entropic_map(points(X), points(y), 0.4)(M), Y),
    "barycentric_map": (lambda y: fm.barycentric_map(points(X, weights=EVEN), points(y)), Y),
    "barycentric_map, line": (
        lambda y: fm.barycentric_map(points(X[:, :1], weights=EVEN), points(y)), Y[:, :1]
    ),
    "linearized_wasserstein": (
        lambda y: fm.linearized_wasserstein(points(X, weights=EVEN), points(y), points(FAR[0])), Y
    ),
    "quantize": (lambda y: fm.quantize(points(y), points(X[:4]), 5).x, Y),
    "nested_wasserstein": (
        lambda x: fm.nested_wasserstein([points(x), points(x + 1)], [points(Y), points(Y - 1)]), X
    ),
    "nested_mccann": (
        lambda x: fm.nested_mccann([points(x), points(x + 1)], [points(X[::-1]), points(X)], 0.3), X
    ),
    "fisher_information": (lambda c: fm.fisher_information(gauss(c), fm.Quadratic(1.0)), A),
    "flow_matching_loss": (
        lambda y: fm.flow_matching_loss(lambda t, x: -x * t, interpolant(y), KEY, 8), Y
    ),
    "score_matching_loss": (
        lambda c: fm.score_matching_loss(lambda t, x: -x, interpolant(Y, c), KEY, 8), jnp.eye(2)
    ),
    "log_likelihood": (
        lambda x: fm.log_likelihood(fm.StochasticInterpolant(BALL, gauss(A)), x, BALL, dt=0.1), X
    ),
    "kalman_filter": (
        lambda y: fm.kalman_filter(jnp.sin, lambda x: x[:1], points(X), y, 0.1, key=KEY),
        jnp.array([[0.1], [0.3]]),
    ),
    "karhunen_loeve": (
        lambda x: fm.karhunen_loeve(fm.GaussianKernel(0.3), x, 3)[0], jnp.linspace(0, 1, 6)[:, None]
    ),
    "kl_divergence": (lambda c: fm.kl_divergence(gauss(c), gauss(B, -M)), A),
    "layers": (lambda x: fm.layers(fm.SelfAttention(beta=2.0), 4)(points(x)).x, X),
    "linear_posterior": (
        lambda y: fm.linear_posterior(gauss(A), jnp.ones((1, 2)), y, 0.1 * jnp.eye(1)).m, M[:1]
    ),
    "neural_collapse": (
        lambda h: fm.neural_collapse(h, LABELS, jnp.eye(2)).variability, X
    ),
    "random_fields": (
        lambda h: fm.random_fields(KEY, 2, fm.GaussianKernel(h), fm.GridDensity(RHO, 0.0, 1.0)),
        jnp.asarray(0.2),
    ),
    "stability_threshold": (lambda t: fm.stability_threshold(loss, DATA, 2, t), POINT),
    "thresholded_covariance": (lambda x: fm.thresholded_covariance(x, c0=0.1), X),
    "unbalanced_transport": (
        lambda w: fm.unbalanced_transport(points(X, weights=w), points(Y)).value, W
    ),
    "partial_transport": (
        lambda w: fm.partial_transport(points(X, weights=w), points(Y), 0.5).value, W
    ),
    "benamou_brenier": (
        lambda r: fm.benamou_brenier(cells(r), cells(RHO[::-1]), steps=6).cost, RHO
    ),
    "mean_field_game": (
        lambda r: fm.mean_field_game(cells(r), lambda x: 8 * x @ x, steps=6).value, RHO
    ),
    "simulate": (
        lambda x: fm.simulate(fm.SelfAttention(beta=2.0), points(x), TIMES, dt=0.25).ys.x, X
    ),
    "simulate, noise": (
        lambda x: fm.simulate(
            fm.ConsensusBased(lambda z: jnp.sum(z**2), sigma=0.3), points(x), TIMES, dt=0.25,
            key=KEY,
        ).ys.x, X,
    ),
}  # fmt: skip
FAST = {"bridge_hamiltonian", "random_fields"}


def floats(tree):
    leaves = jax.tree.leaves(tree)
    return [a for a in leaves if eqx.is_array(a) and jnp.issubdtype(a.dtype, jnp.floating)]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in CALLS]
)
def test_derivatives_batches_and_compiled_forms(name):
    function, x = CALLS[name]
    call = jax.jit(lambda x: floats(function(x)))

    def value(x):
        weighed = [jnp.vdot(np.cos(1.3 * np.arange(a.size) + i), a) for i, a in enumerate(call(x))]
        return sum(weighed[1:], weighed[0])

    along, h = jr.normal(jr.key(11), x.shape), 1e-5
    difference = (value(x + h * along) - value(x - h * along)) / (2 * h)
    found = jnp.vdot(jax.grad(value)(x), along)
    np.testing.assert_allclose(found, difference, rtol=2e-5, atol=1e-7)
    near = x + 0.01 * along
    batch = jax.vmap(call)(jnp.stack([x, near]))
    for a, b, c, d in zip(batch, call(x), call(near), floats(function(x)), strict=True):
        np.testing.assert_allclose(a, jnp.stack([b, c]), rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(b, d, rtol=1e-7, atol=1e-9)
