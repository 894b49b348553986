"""Modified equations against exact moments of SGD; shallow networks against closed forms."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import jaxtyping
import numpy as np
import pytest
from catalogue import _square, regression

import flowjax_measures as fm

Z, Y = (np.asarray(a) for a in regression())
N, D = Z.shape
START = np.array([1.0, -0.5])
DIRAC = fm.Gaussian(jnp.asarray(START), jnp.zeros((D, D)))
ETAS = np.array([1 / 20, 1 / 40, 1 / 80])


def sgd_moments(eta, batches):
    """Exact mean and second moment of SGD at time 1, for equally likely sets of examples."""
    mean, second = START.copy(), np.outer(START, START)
    maps = []
    for batch in batches:
        a = np.eye(D) - eta * Z[batch].T @ Z[batch] / len(batch)
        maps.append((a, eta * Z[batch].T @ Y[batch] / len(batch)))
    for _ in range(round(1 / eta)):
        second = np.mean(
            [a @ second @ a.T + np.outer(a @ mean, b) + np.outer(b, a @ mean) + np.outer(b, b)
             for a, b in maps], 0)  # fmt: skip
        mean = np.mean([a @ mean + b for a, b in maps], 0)
    return mean, second


SINGLES = [[i] for i in range(N)]
PAIRS = [[i, j] for i in range(N) for j in range(N)]
DISTINCT = [[i, j] for i in range(N) for j in range(i)]


def weak_errors(order, batches, **options):
    errors = []
    for eta in ETAS:
        system = fm.StochasticModifiedEquation(
            _square, regression(), eta, len(batches[0]), order, **options
        )
        final = fm.simulate(system, DIRAC, [0.0, 1.0]).final
        mean, second = sgd_moments(eta, batches)
        gap = np.abs(final.cov + jnp.outer(final.m, final.m) - second).max()
        errors.append(max(gap, np.abs(final.m - mean).max()))
    return np.array(errors)


@pytest.mark.parametrize(
    ("order", "batches", "options"),
    [
        (1, SINGLES, {}),
        (2, SINGLES, {}),
        (2, PAIRS, {}),
        (2, DISTINCT, {"replacement": False}),
    ],
)
def test_weak_order_against_exact_moments_of_sgd(order, batches, options):
    errors = weak_errors(order, batches, **options)
    slopes = np.log2(errors[:-1] / errors[1:])
    assert abs(slopes[-1] - order) < (0.1 if order == 1 else 0.15), (errors, slopes)


def test_noise_is_the_covariance_of_minibatch_gradients():
    x = jnp.asarray(START)
    gradients = np.array([Z[i] * (Z[i] @ START - Y[i]) for i in range(N)])
    for batches, replacement in ((PAIRS, True), (DISTINCT, False)):
        means = np.array([gradients[b].mean(0) for b in batches])
        truth = np.cov(means.T, bias=True)
        equation = fm.StochasticModifiedEquation(
            _square, regression(), 0.1, 2, 1, replacement=replacement
        )
        flow = fm.StochasticModifiedFlow(_square, regression(), 0.1, 2, replacement=replacement)
        for system in (equation, flow):
            rate = system.rates(0.0, x, None).noise.squared(x)
            np.testing.assert_allclose(rate, 0.1 * truth, rtol=1e-10)


def test_two_points_under_the_same_minibatches():
    """Cov(X, X') rate of the flow is that of SGD; that of the root of the covariance is not."""
    x, y = jnp.asarray(START), jnp.asarray([0.2, 0.7])
    g = [np.array([Z[i] * (Z[i] @ p - Y[i]) for i in range(N)]) for p in (START, np.array(y))]
    truth = (g[0] - g[0].mean(0)).T @ (g[1] - g[1].mean(0)) / N
    flow = fm.StochasticModifiedFlow(_square, regression(), 1.0, 1)
    root = fm.StochasticModifiedEquation(_square, regression(), 1.0, 1, shared=True)
    joint = [
        s.rates(0.0, x, None).noise.matrix(x) @ s.rates(0.0, y, None).noise.matrix(y).T
        for s in (flow, root)
    ]
    np.testing.assert_allclose(joint[0], truth, rtol=1e-10)
    assert np.abs(joint[1] - truth).max() > 0.1 * np.abs(truth).max()


@pytest.mark.slow
def test_flow_from_a_gaussian_without_a_key_has_the_moments_of_one_point():
    equation = fm.StochasticModifiedEquation(_square, regression(), 0.05, 1, 2)
    flow = fm.StochasticModifiedFlow(_square, regression(), 0.05, 1)
    ends = [fm.simulate(system, DIRAC, [0.0, 1.0]).final for system in (equation, flow)]
    np.testing.assert_allclose(ends[1].m, ends[0].m, rtol=1e-8)
    np.testing.assert_allclose(ends[1].cov, ends[0].cov, rtol=1e-8, atol=1e-10)
    paths = [fm.simulate(flow, DIRAC, [0.0, 0.1], dt=0.01, key=jr.key(i)).final for i in range(2)]
    assert np.abs(paths[0].m - paths[1].m).max() > 1e-3 and np.abs(paths[0].cov).max() < 1e-15


def test_drift_of_order_two():
    x = jnp.asarray(START)
    risk = lambda p: jnp.mean(jax.vmap(lambda e: _square(p, e))(regression()))  # noqa: E731
    modified = lambda p: risk(p) + 0.1 / 4 * jnp.sum(jax.grad(risk)(p) ** 2)  # noqa: E731
    flow = fm.StochasticModifiedFlow(_square, regression(), 0.1, 1)
    np.testing.assert_allclose(
        flow.rates(0.0, x, None).velocity, -jax.grad(modified)(x), rtol=1e-12
    )


def test_parameters_may_be_pytrees():
    def loss(params, example):
        z, y = example
        return (jnp.vdot(params["w"], z) + params["b"] - y) ** 2

    x = {"w": jr.normal(jr.key(0), (4, 2)), "b": jnp.zeros(4)}
    for kind in (fm.StochasticModifiedEquation, fm.StochasticModifiedFlow):
        system = kind(loss, regression(), 0.05, 1)
        run = fm.simulate(system, fm.Particles(x), [0.0, 0.2], dt=0.05, key=jr.key(1))
        assert run.final.x["w"].shape == (4, 2) and np.all(np.isfinite(run.final.x["b"]))


def test_data_of_different_lengths_is_refused():
    with pytest.raises(ValueError, match="`data`"):
        fm.StochasticModifiedFlow(_square, (jnp.ones((3, 2)), jnp.ones(4)), 0.1)
    with pytest.raises((ValueError, jaxtyping.TypeCheckError), match="data"):
        fm.ShallowNetwork(jnp.tanh, (jnp.ones((3, 2)), jnp.ones(4)))


@pytest.mark.slow
def test_network_flow_is_gradient_descent_on_all_neurons():
    u, v = jr.normal(jr.key(0), (6, 2)), jr.normal(jr.key(1), (6,))
    network = fm.ShallowNetwork(jnp.tanh, regression(), regularization=0.2)

    def risk(x):
        u, v = x
        f = jnp.mean(v[:, None] * jnp.tanh(u @ Z.T), 0)
        return jnp.mean((f - Y) ** 2) + 0.1 * jnp.mean(jnp.sum(u**2, -1) + v**2)

    mu = fm.Particles((u, v))
    np.testing.assert_allclose(network.risk(mu), risk((u, v)), rtol=1e-12)
    drift = network(0.0, mu).drift.x
    for a, b in zip(drift, jax.grad(risk)((u, v)), strict=True):
        np.testing.assert_allclose(a, -6 * b, rtol=1e-11)


@pytest.mark.slow
def test_linear_network_closes_on_gaussians():
    """Riccati: Σ̇ = BΣ + ΣBᵀ with B = −2 [[0, Szz Σuv − Szy], [Σvu Szz − Syz, 0]]."""
    z, y = Z, np.stack([Y, Z[:, 0] - Z[:, 1]], 1)
    szz, syz = z.T @ z / N, y.T @ z / N
    a = jr.normal(jr.key(0), (4, 4))
    start = fm.Gaussian(jnp.zeros(4), jnp.eye(4) + 0.1 * a @ a.T)
    network = fm.ShallowNetwork(lambda s: s, (jnp.asarray(z), jnp.asarray(y)))
    suv = start.cov[:2, 2:]
    b = np.block([
        [np.zeros((2, 2)), szz @ suv - syz.T], [suv.T @ szz - syz, np.zeros((2, 2))]
    ])  # fmt: skip
    drift = network(0.0, start).drift
    expected = -2 * (b @ start.cov + start.cov @ b.T)
    np.testing.assert_allclose(drift.cov, expected, rtol=1e-11, atol=1e-12)

    final = fm.simulate(network, start, [0.0, 300.0]).final
    least_squares = np.linalg.lstsq(z, y, rcond=None)[0].T
    np.testing.assert_allclose(final.cov[2:, :2], least_squares, atol=1e-8)

    n = 200
    cloud = fm.Particles(start.sample(jr.key(1), n))
    matched = fm.Gaussian(jnp.zeros(4), cloud.mean(lambda x: jnp.outer(x, x)))
    tight = diffrax.PIDController(rtol=1e-11, atol=1e-13)
    ends = [
        fm.simulate(network, mu, [0.0, 1.0], stepsize_controller=tight).final
        for mu in (cloud, matched)
    ]
    second = ends[0].mean(lambda x: jnp.outer(x, x))
    # Linear in each neuron and in second moments: exact for any cloud.
    np.testing.assert_allclose(second, ends[1].cov, rtol=1e-8)


def test_mean_field_langevin_finds_its_gibbs_law():
    """F = ∫ V + ½∬K with quadratics: variance τ/(a + κ), mean at the potential's centre."""
    energy = fm.PotentialEnergy(fm.Quadratic(1.0, 0.7)) + fm.InteractionEnergy(
        fm.QuadraticKernel(0.5)
    )
    system = fm.MeanFieldLangevin(energy, 0.3)
    final = fm.simulate(system, fm.Gaussian(jnp.zeros(1), jnp.eye(1)), [0.0, 30.0]).final
    np.testing.assert_allclose(final.m, [0.7], rtol=1e-8)
    np.testing.assert_allclose(final.cov, [[0.3 / 1.5]], rtol=1e-8)
    network = fm.ShallowNetwork(jnp.tanh, regression())
    noisy = fm.MeanFieldLangevin(network, 0.3).rates(0.0, jnp.ones(3), DIRAC3)
    np.testing.assert_allclose(noisy.noise.scale, np.sqrt(0.6))


DIRAC3 = fm.Gaussian(jnp.ones(3), jnp.zeros((3, 3)))


def test_joint_covariance_of_two_points_is_of_second_order():
    """SGD of a pair under the same minibatches, exactly, and the flow's closed moments."""

    def both(params, example):
        return _square(params[:D], example) + _square(params[D:], example)

    pair = fm.Gaussian(jnp.array([1.0, -0.5, 0.2, 0.7]), jnp.zeros((4, 4)))
    errors = []
    for eta in ETAS:
        flow = fm.StochasticModifiedFlow(both, regression(), eta, 1)
        limit = fm.simulate(flow, pair, [0.0, 1.0], dt=0.02, solver=diffrax.Tsit5()).final
        exact = fm.sgd_moments(both, regression(), eta, 1, pair, round(1 / eta))
        errors.append(float(jnp.max(jnp.abs((limit.cov - exact.cov)[:D, D:]))))
    slopes = np.diff(np.log(errors)) / np.diff(np.log(ETAS))
    np.testing.assert_allclose(slopes, 2, atol=0.15)
