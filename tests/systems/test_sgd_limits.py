"""Limits of momentum, RMSprop, Adam and schedules against exact expectations of the optimizers."""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from catalogue import _square, regression
from jax.flatten_util import ravel_pytree

import flowjax_measures as fm
from flowjax_measures.systems.sgd._gradient_noise import covariance_product

Z, Y = (np.asarray(a) for a in regression())
N, D = Z.shape
H, C = Z[:, :, None] * Z[:, None, :], Z * Y[:, None]
START = np.array([1.0, -0.5])


def moments(maps, steps, start):
    """Exact mean and second moment after random affine maps s ↦ A s + b of equal chances."""
    mean, second = start, np.outer(start, start)
    for k in range(steps):
        a, b = maps(k)
        cross = np.einsum("nij,j,nk->nik", a, mean, b)
        second = np.mean(
            np.einsum("nij,jk,nlk->nil", a, second, a)
            + cross
            + np.swapaxes(cross, 1, 2)
            + b[:, :, None] * b[:, None, :],
            0,
        )
        mean = np.mean(a @ mean + b, 0)
    return mean, second


def gap(final, truth):
    mean, second = truth
    difference = np.abs(final.cov + jnp.outer(final.m, final.m) - second).max()
    return max(difference, np.abs(final.m - mean).max())


def slope(scales, errors):
    return np.log(errors[-2] / errors[-1]) / np.log(scales[-2] / scales[-1])


@pytest.mark.parametrize(
    ("order", "nesterov"),
    [pytest.param(order, False, marks=pytest.mark.slow) for order in (1, 2)] + [(2, True)],
)
def test_momentum_against_exact_moments(order, nesterov):
    friction, eye = 1.5, np.broadcast_to(np.eye(D), (N, D, D))
    steps, errors = [1 / 10, 1 / 20, 1 / 40], []
    for h in steps:
        eta, mu = h**2, 1 - friction * h
        # State (x, p), p = −h · trace, of optax.sgd(eta, mu, nesterov): p' = μp − h g.
        x = np.concatenate([eye - h * h * H, mu * h * eye], 2)
        p = np.concatenate([-h * H, mu * eye], 2)
        shift_p = h * C
        shift_x = h * shift_p
        if nesterov:
            x = np.concatenate([eye - eta * H, 0 * eye], 2) + mu * h * p
            shift_x = eta * C + mu * h * shift_p
        a, b = np.concatenate([x, p], 1), np.concatenate([shift_x, shift_p], 1)
        truth = moments(lambda k, a=a, b=b: (a, b), round(1 / h), np.append(START, 0 * START))
        system = fm.MomentumModifiedEquation(_square, regression(), eta, 1, mu, order, nesterov)
        start = fm.Gaussian(jnp.append(jnp.asarray(START), jnp.zeros(D)), jnp.zeros((4, 4)))
        errors.append(gap(fm.simulate(system, start, [0.0, 1.0]).final, truth))
    assert abs(slope(steps, errors) - order) < (0.1 if order == 1 else 0.15), errors


def test_the_map_of_momentum_is_that_of_optax():
    """One full-batch step of optax, with p = −h · trace, against the maps above."""
    for nesterov in (False, True):
        h, mu = 0.1, 0.85
        sgd = fm.minibatch(_square, regression(), N, optax.sgd(h**2, mu, nesterov), False)
        run = fm.simulate(
            sgd, sgd.start(fm.Particles(jnp.asarray(START)[None])), [0, 2], dt=1, key=jr.key(0)
        )
        x, p = START, 0 * START
        for _ in range(2):
            g = np.mean(H, 0) @ x - np.mean(C, 0)
            p = mu * p - h * g
            x = x + (mu * h * p - h**2 * g if nesterov else h * p)
        np.testing.assert_allclose(run.final.x.params[0], x, rtol=1e-13)


@pytest.mark.slow
def test_a_schedule_is_followed_to_second_order():
    etas, errors = [1 / 20, 1 / 40, 1 / 80], []
    schedule = lambda t: 1.5 - t  # noqa: E731
    for eta in etas:

        def maps(k, eta=eta):
            size = eta * schedule(k * eta)
            return np.eye(D) - size * H, size * C

        system = fm.StochasticModifiedEquation(_square, regression(), eta, 1, 2, schedule=schedule)
        final = fm.simulate(
            system, fm.Gaussian(jnp.asarray(START), jnp.zeros((D, D))), [0.0, 1.0]
        ).final
        errors.append(gap(final, moments(maps, round(1 / eta), START)))
    assert abs(slope(etas, errors) - 2) < 0.15, errors


def test_variance_amplified_steps_approach_the_equation_at_1_over_l():
    """SVAG's exact moments: pairs of examples, coefficients (1 ± √(2l − 1))/2, step η/l."""
    eta, ls, errors = 0.1, [16, 32, 64], []
    start = fm.Gaussian(jnp.asarray(START), jnp.zeros((D, D)))
    final = fm.simulate(
        fm.StochasticModifiedEquation(_square, regression(), eta), start, [0.0, 1.0]
    ).final
    i, j = np.divmod(np.arange(N * N), N)
    for l_ in ls:
        half = np.sqrt(2 * l_ - 1) / 2
        h = (0.5 + half) * H[i] + (0.5 - half) * H[j]
        c = (0.5 + half) * C[i] + (0.5 - half) * C[j]
        size = eta / l_
        maps = lambda k, h=h, c=c, s=size: (np.eye(D) - s * h, s * c)  # noqa: E731
        errors.append(gap(final, moments(maps, round(1 / size), START)))
    assert abs(slope(ls, errors) + 1) < 0.1, errors


@pytest.mark.parametrize("name", ["rmsprop", "adam"])
def test_adaptive_limits_have_the_generator_of_the_optimizer(name):
    """E f after one step of optax is f + η L f + O(τ²), τ ~ η², in the published scaling.

    The noise is amplified by l as in SVAG: η ~ l^{-1/2}, 1 − b ~ 1/l, eps ~ √l, v ~ l. All pairs
    of examples are enumerated, so that the expectation is exact.
    """
    params, first, unit = jnp.asarray(START), jnp.array([0.3, -0.2]), jnp.array([15.0, 20.0])
    i, j = np.divmod(np.arange(N * N), N)
    each = jax.vmap(lambda e: jax.grad(_square)(params, e))(regression())

    @jax.jit
    def residual(l_) -> Any:
        eta, b1, b2, eps = (0.1 / jnp.sqrt(l_), 1 - 0.7 / l_, 1 - 0.4 / l_, 0.2 * jnp.sqrt(l_))
        half = jnp.sqrt(2 * l_ - 1) / 2
        gradients = (0.5 + half) * each[i] + (0.5 - half) * each[j]
        arguments = _square, regression(), eta, 1 / l_
        if name == "adam":
            optimizer = optax.adam(eta, b1, b2, eps)
            system = fm.AdamModifiedEquation(*arguments, b1, b2, eps)
            x = fm.Moments(params, first, l_ * unit)
            fields = {"nu": x.second, "mu": x.first, "count": l_.astype(jnp.int32)}
        else:
            optimizer = optax.rmsprop(eta, b2, eps, eps_in_sqrt=False)
            system = fm.RMSpropModifiedEquation(*arguments, b2, eps, 0.0)
            x = fm.Moments(params, (), l_ * unit)
            fields = {"nu": x.second}
        flat, unravel = ravel_pytree(x)

        def observe(flat):
            point = unravel(flat)
            scaled, _ = ravel_pytree(point._replace(second=point.second / l_))
            return jnp.sin(jnp.vdot(0.2 * jnp.arange(1.0, scaled.size + 1), scaled))

        def step(gradient):
            state: Any = optimizer.init(params)
            state = (state[0]._replace(**fields), *state[1:])
            with jax.numpy_dtype_promotion("standard"):
                move, state = optimizer.update(gradient, state, params)
            new = state[0]
            kept = new.mu if name == "adam" else ()
            return ravel_pytree(fm.Moments(params + move, kept, new.nu))[0]

        ahead = jnp.mean(jax.vmap(lambda g: observe(step(g)))(gradients))
        law = system.rates(l_ * eta, x, None)
        drift, sigma = ravel_pytree(law.velocity)[0], law.noise.matrix(x)
        spread = jnp.sum(sigma * (jax.hessian(observe)(flat) @ sigma)) / 2
        moved = eta * (jnp.vdot(drift, jax.grad(observe)(flat)) + spread)
        return ahead - observe(flat) - moved, moved

    ls = [2.0**8, 2.0**10, 2.0**12]
    found = [residual(jnp.asarray(l_)) for l_ in ls]
    assert all(abs(rest) < 0.2 * abs(moved) for rest, moved in found), found
    errors = [abs(float(rest)) for rest, _ in found]
    assert abs(slope(ls, errors) + 2) < 0.15, errors


@pytest.mark.slow
def test_adam_starts_without_a_past():
    """Full batches and a small step: the equation follows the optimizer from m = v = 0."""
    eta, b1, b2, eps = 1e-3, 1 - 5e-3, 1 - 2e-3, 0.1
    mu = fm.Particles(jnp.asarray(START)[None])
    adam = fm.minibatch(_square, regression(), N, optax.adam(eta, b1, b2, eps), False)
    run = fm.simulate(adam, adam.start(mu), [0.0, 1.0], dt=eta, key=jr.key(0))
    limit = fm.AdamModifiedEquation(_square, regression(), eta, N, b1, b2, eps, replacement=False)
    end = fm.simulate(
        limit, limit.start(mu), [0.0, 1.0], dt=eta, key=jr.key(0), solver=diffrax.Euler()
    ).final.x
    np.testing.assert_allclose(end.params, run.final.x.params, atol=5 * eta)
    assert np.abs(end.params - START).max() > 0.3


def test_products_with_the_covariance():
    params = {"a": jnp.asarray(START[:1]), "b": jnp.asarray(START[1:])}
    vector = {"a": jnp.ones(1), "b": -2 * jnp.ones(1)}

    def loss(p, example):
        return _square(jnp.append(p["a"], p["b"]), example)

    g = np.array([Z[i] * (Z[i] @ START - Y[i]) for i in range(N)])
    expected = np.cov(g.T, bias=True) @ np.array([1.0, -2.0])
    found = covariance_product(loss, regression(), params, vector)
    np.testing.assert_allclose(ravel_pytree(found)[0], expected, rtol=1e-12)


def streaming_risk(d, gamma, noise, time):
    """Of SGD on fresh Gaussian examples, exactly: E z zᵀ M z zᵀ = 2 H M H + tr(H M) H."""
    spectrum, eta, error = 2 * (np.arange(d) + 0.5) / d, gamma / d, np.full(d, 1 / d)
    for _ in range(round(time * d)):
        risk = spectrum @ error + noise**2
        error = error - 2 * eta * spectrum * error
        error = error + eta**2 * (2 * spectrum**2 * error + spectrum * risk)
    return (spectrum @ error + noise**2) / 2


def test_one_pass_least_squares_approaches_its_risk_at_1_over_d():
    gamma, noise, dimensions, gaps = 0.7, 0.3, [64, 128, 256], []
    for d in dimensions:
        spectrum = jnp.asarray(2 * (np.arange(d) + 0.5) / d)
        system = fm.StreamingLeastSquares(gamma, noise)
        run = fm.simulate(
            system, fm.Particles((spectrum, jnp.ones(d))), [0, 2], dt=0.02, observe=system.risk
        )
        gaps.append(abs(float(run.ys[-1]) - streaming_risk(d, gamma, noise, 2.0)))
    assert abs(slope(dimensions, gaps) + 1) < 0.1, gaps
    # The Volterra equation, R(t) = F(t) + γ² ∫ ⟨λ² e^{−2γλ(t−s)}⟩ R(s) ds, by the trapezoidal rule.
    h, t, spectrum = 0.01, np.arange(0, 2.005, 0.01), np.asarray(spectrum)
    decay = np.exp(-2 * gamma * np.outer(t, spectrum))
    kernel = gamma**2 * np.mean(spectrum**2 * decay, 1)
    risk = (np.mean(spectrum * decay, 1) + noise**2) / 2
    for k in range(1, t.size):
        past = kernel[k] * risk[0] / 2 + kernel[k - 1 : 0 : -1] @ risk[1:k]
        risk[k] = (risk[k] + h * past) / (1 - h * kernel[0] / 2)
    np.testing.assert_allclose(run.ys[-1], risk[-1], rtol=1e-4)


def test_large_shared_roots_are_refused():
    system = fm.StochasticModifiedEquation(
        lambda p, e: jnp.sum(p) * e, jnp.ones(3), 0.1, shared=True
    )
    with pytest.raises(ValueError, match="StochasticModifiedFlow"):
        system.rates(0.0, jnp.ones(1001), None)
