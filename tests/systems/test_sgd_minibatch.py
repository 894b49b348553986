"""Minibatch training under `simulate`: optax as it is, draws, shared minibatches, moments."""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from catalogue import _square, regression

import flowjax_measures as fm
from flowjax_measures.systems.sgd._training import key_of

Z, Y = (np.asarray(a) for a in regression())
N, D = Z.shape
START = jnp.array([[1.0, -0.5], [0.2, 0.7]])
LEAST = jnp.asarray(np.linalg.lstsq(Z, Y, rcond=None)[0])


def _loss(params, example):
    z, y = example
    return (jnp.vdot(params["w"], z) + params["b"] - y) ** 2


def test_optimizers_are_optax_as_they_are():
    """Full batches against optax's own loop: clipping, momentum, squares and a count."""
    params = {"w": START, "b": jnp.zeros(2)}
    schedule = optax.exponential_decay(0.1, 3, 0.8)
    optimizer = optax.chain(
        optax.clip_by_global_norm(0.5), optax.scale_by_adam(0.8, 0.9), optax.sgd(schedule, 0.7)
    )
    train = fm.minibatch(_loss, regression(), N, optimizer, replacement=False)
    run = fm.simulate(train, train.start(fm.Particles(params)), [0, 2, 6], dt=1, key=jr.key(0))

    def risk(p):
        return jnp.mean(jax.vmap(lambda e: _loss(p, e))(regression()))

    slope = jax.jit(jax.grad(risk))
    one: Any = jax.tree.map(lambda a: a[1], params)
    state: Any = optimizer.init(one)
    for _ in range(6):
        with jax.numpy_dtype_promotion("standard"):
            found: Any = optimizer.update(slope(one), state, one)
            update, state = found[0], found[1]
            one = optax.apply_updates(one, update)
    for name in one:
        # The schedule is in float32.
        np.testing.assert_allclose(run.final.x.params[name][1], one[name], rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("replacement", [True, False])
def test_minibatches_are_uniform(dtype, replacement):
    runs = 20_000
    train = fm.minibatch(_square, regression(), 2, optax.sgd(0.1), replacement)
    normals = jr.normal(jr.key(3), (runs, 2), dtype)
    drawn = np.asarray(jax.vmap(lambda w: train._draw(key_of(w)))(normals))
    counts = np.zeros((N, N))
    np.add.at(counts, tuple(drawn.T), 1)
    likely = np.ones((N, N), bool) if replacement else ~np.eye(N, dtype=bool)
    assert np.all(counts[~likely] == 0)
    mean = runs / likely.sum()
    # χ² with as many degrees of freedom as sets, less one; six standard deviations.
    freedom = likely.sum() - 1
    assert np.sum((counts[likely] - mean) ** 2) / mean < freedom + 6 * np.sqrt(2 * freedom)


def test_points_share_minibatches_and_steps_have_their_own():
    train = fm.minibatch(_square, regression(), 1, optax.sgd(0.1))
    twins = fm.Particles(jnp.concatenate([START[:1], START[:1]]))
    run = fm.simulate(train, twins, np.arange(9.0), dt=1, key=jr.key(1))
    path = np.asarray(run.ys.x)
    np.testing.assert_array_equal(path[:, 0], path[:, 1])
    # Each step is the map of one example.
    each = path[:-1, 0, None] - 0.1 * Z * ((path[:-1, 0] @ Z.T) - Y)[..., None]
    hit = np.abs(each - path[1:, 0, None]).max(-1) < 1e-12
    assert np.all(hit.sum(1) == 1) and len(set(np.argmax(hit, 1))) > 1
    half = fm.simulate(train, twins, [0, 4], dt=1, key=jr.key(1)).final
    rest = fm.simulate(train, half, [4, 8], dt=1, key=jr.key(1)).final
    np.testing.assert_allclose(rest.x, run.final.x, rtol=1e-13)


def test_amplified_gradients_have_amplified_covariance():
    factor, runs = 7.0, 40_000
    train = fm.minibatch(_square, regression(), 1, optax.sgd(0.1), amplification=factor)
    x = START[0]
    draws = np.asarray(jax.vmap(lambda k: train.gradient(x, k))(jr.split(jr.key(0), runs)))
    each = np.asarray(jax.vmap(lambda e: jax.grad(_square)(x, e))(regression()))
    truth = factor * np.cov(each.T, bias=True)
    error = np.sqrt(np.diag(truth) / runs)
    assert np.all(np.abs(draws.mean(0) - each.mean(0)) < 4 * error)
    centred = draws - draws.mean(0)
    products = centred[:, :, None] * centred[:, None, :]
    error = products.std(0) / np.sqrt(runs)
    assert np.all(np.abs(products.mean(0) - truth) < 4 * error)


def test_wrong_starts_are_refused():
    train = fm.minibatch(_square, regression(), 1, optax.adam(0.1))
    with pytest.raises(ValueError, match="start"):
        fm.simulate(train, fm.Particles(START), [0, 1], dt=1, key=jr.key(0))
    with pytest.raises(ValueError, match="sgd_moments"):
        fm.simulate(train, fm.Gaussian(START[0], jnp.eye(2)), [0, 1], dt=1, key=jr.key(0))
    with pytest.raises(ValueError, match="`batch`"):
        fm.minibatch(_square, regression(), 6, optax.sgd(0.1), replacement=False)
    noisy = optax.chain(optax.add_noise(0.1, 0.5, jr.key(0)), optax.sgd(0.1))
    with pytest.raises(ValueError, match="`optimizer`"):
        fm.minibatch(_square, regression(), 1, noisy).start(fm.Particles(START))


BATCHES = {
    (2, True): [[i, j] for i in range(N) for j in range(N)],
    (2, False): [[i, j] for i in range(N) for j in range(i)],
    (1, True): [[i] for i in range(N)],
}


@pytest.mark.parametrize("kind", BATCHES, ids=str)
def test_moments_are_those_of_all_batches(kind):
    eta, steps = 0.2, 4
    start = fm.Gaussian(START[0], 0.3 * jnp.eye(D))
    mean, second = np.asarray(start.m), np.asarray(start.cov + jnp.outer(start.m, start.m))
    maps = [
        (np.eye(D) - eta * Z[b].T @ Z[b] / len(b), eta * Z[b].T @ Y[b] / len(b))
        for b in BATCHES[kind]
    ]
    for _ in range(steps):
        second = np.mean(
            [a @ second @ a.T + np.outer(a @ mean, b) + np.outer(b, a @ mean) + np.outer(b, b)
             for a, b in maps], 0)  # fmt: skip
        mean = np.mean([a @ mean + b for a, b in maps], 0)
    found = fm.sgd_moments(_square, regression(), eta, kind[0], start, steps, kind[1])
    np.testing.assert_allclose(found.m, mean, rtol=1e-12)
    np.testing.assert_allclose(found.cov + jnp.outer(found.m, found.m), second, rtol=1e-11)


@pytest.mark.parametrize("kind", BATCHES, ids=str)
def test_stability_is_lost_at_the_threshold(kind):
    """The spectral radius of the map of second moments, over all batches, passes 1 there."""
    eta = fm.stability_threshold(_square, regression(), kind[0], LEAST, *kind[1:])

    def radius(eta):
        maps = [np.eye(D) - eta * Z[b].T @ Z[b] / len(b) for b in BATCHES[kind]]
        return np.abs(np.linalg.eigvals(np.mean([np.kron(a, a) for a in maps], 0))).max()

    assert radius(0.999 * eta) < 1 < radius(1.001 * eta)
    for share in (0.3, 1.0, 1.2):
        found = fm.contraction(_square, regression(), share * eta, kind[0], LEAST, *kind[1:])
        np.testing.assert_allclose(found, radius(share * eta), rtol=1e-10)
    full = fm.stability_threshold(_square, regression(), N, LEAST, False)
    with pytest.warns(DeprecationWarning, match="`batch` before `params`"):
        old = fm.stability_threshold(_square, regression(), LEAST, N, False)
    assert old == full
    np.testing.assert_allclose(full, 2 / np.linalg.eigvalsh(Z.T @ Z / N)[-1], rtol=1e-10)


@pytest.mark.parametrize("order", [1, 2])
def test_one_sweep_is_the_step_of_euler(order):
    flow = fm.StochasticModifiedFlow(
        _square, regression(), 0.1, 2, False, order, lambda t: 1 - 0.5 * t
    )
    runs = [
        fm.simulate(
            flow, fm.Particles(START), [0, 0.3], dt=0.05, key=jr.key(0), solver=solver
        ).final.x
        for solver in (None, fm.OneSweep())
    ]
    np.testing.assert_allclose(runs[1], runs[0], rtol=1e-12)
    with pytest.raises(ValueError, match="OneSweep"):
        fm.simulate(
            fm.McKeanVlasov(fm.Quadratic(1.0)), fm.Particles(START), [0, 0.1], dt=0.1,
            key=jr.key(0), solver=fm.OneSweep(),
        )  # fmt: skip


def test_drift_of_small_noise_is_of_second_order():
    """Without noise it is Heun's rule; with it, one step is what the formula says."""
    still = fm.McKeanVlasov(fm.Quadratic(1.0), beta=None)
    ends = [
        fm.simulate(still, fm.Particles(START), [0, 1], dt=h, solver=fm.SmallNoiseHeun()).final.x
        for h in (1 / 8, 1 / 16)
    ]
    errors = [np.abs(x - np.exp(-1) * START).max() for x in ends]
    assert abs(np.log2(errors[0] / errors[1]) - 2) < 0.15
    noisy = fm.StochasticModifiedFlow(_square, regression(), 0.1)
    step, h = {}, 0.1
    for name, solver in (("heun", fm.SmallNoiseHeun()), ("euler", diffrax.Euler())):
        step[name] = fm.simulate(
            noisy, fm.Particles(START), [0, h], dt=h, key=jr.key(0), solver=solver
        ).final.x
    drift = jax.vmap(lambda x: noisy.rates(0.0, x, None).velocity)
    expected = step["euler"] + h / 2 * (drift(step["euler"]) - drift(START))
    np.testing.assert_allclose(step["heun"], expected, rtol=1e-12)


@pytest.mark.parametrize(
    "kind", [pytest.param("equation", marks=pytest.mark.slow), "flow", "momentum"]
)
def test_gradients_of_a_final_loss(kind):
    """η, batch size, momentum and scale of the start, against differences at the same noise."""
    validation = regression()[0][:3] + 0.1, regression()[1][:3]

    def final_loss(eta, batch, momentum, scale):
        mu = fm.Particles(scale * START)
        if kind == "momentum":
            system = fm.MomentumModifiedEquation(
                _square, regression(), eta, batch, momentum, 2, shared=True
            )
            mu = system.start(mu)
        elif kind == "flow":
            system = fm.StochasticModifiedFlow(_square, regression(), eta, batch)
        else:
            system = fm.StochasticModifiedEquation(_square, regression(), eta, batch, 2)
        end = fm.simulate(system, mu, [0, 1], dt=0.1, key=jr.key(0)).final.x
        end = end.q if kind == "momentum" else end
        return jnp.mean(jax.vmap(lambda x: jnp.mean(
            jax.vmap(lambda e: _square(x, e))(validation)))(end))  # fmt: skip

    at = jnp.array([0.1, 2.0, 0.6, 1.2])
    if kind != "momentum":
        at = at.at[2].set(0.0)
    loss = jax.jit(lambda p: final_loss(*p))
    found = jax.jit(jax.grad(lambda p: final_loss(*p)))(at)
    for i, h in enumerate(1e-5 * jnp.eye(4)):
        central = (loss(at + h) - loss(at - h)) / 2e-5
        assert abs(central - found[i]) < 1e-7 * (1 + abs(central))
    assert np.all(np.abs(np.delete(found, 2)) > 1e-4)
