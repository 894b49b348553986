"""What learned fields come to: the exact ones, at a rate; and what reflow and couplings cost."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import flowjax_measures as fm

NORMAL = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
WIDE = fm.StochasticInterpolant(NORMAL, fm.Gaussian(jnp.array([1.0, 0.0]), 0.25 * jnp.eye(2)))
TIMES = jr.uniform(jr.key(7), (2000,))


def affine(w, t, x):
    """Fields among which the exact one is: of w = (1, 1) at WIDE."""
    slope = (0.25 * t - (1 - t)) / ((1 - t) ** 2 + 0.25 * t**2)
    mean = jnp.stack([t, jnp.zeros_like(t)])
    return w[0] * slope * (x - mean) + w[1] * jnp.array([1.0, 0.0])


def square_error(field, flow, n=2000):
    """∫ E‖v − b‖² dt, by n draws."""
    path = flow.path(jr.key(8), n)
    gaps = jax.vmap(lambda t, x: field(t, x) - flow.velocity(t, x))(path.t, path.point)
    return float(jnp.mean(jnp.sum(gaps**2, axis=1)))


@pytest.mark.slow
def test_the_error_falls_as_one_over_the_data():
    """Least squares on n draws is off by a variance of order 1/n."""

    def loss(w, key, n):
        return fm.flow_matching_loss(lambda t, x: affine(w, t, x), WIDE, key, n)

    def best(key, n):
        zero = jnp.zeros(2)
        slope, curvature = jax.grad(loss)(zero, key, n), jax.hessian(loss)(zero, key, n)
        return -jnp.linalg.solve(curvature, slope)

    np.testing.assert_allclose(
        square_error(lambda t, x: affine((1.0, 1.0), t, x), WIDE), 0, atol=1e-20
    )
    errors = []
    for n in (100, 1600):
        found = jax.jit(jax.vmap(lambda k, n=n: best(k, n)))(jr.split(jr.key(0), 200))
        errors.append(float(jnp.mean(jnp.sum((found - 1) ** 2, axis=1))))
    # A mean square of 200 runs has a relative error of a tenth.
    assert abs(np.log(errors[0] / errors[1]) / np.log(16) - 1) < 0.15


def test_the_error_falls_as_one_over_the_steps():
    def error(steps):
        def loss(w, key):
            return jnp.sum(jax.vmap(
                lambda w, key: fm.flow_matching_loss(lambda t, x: affine(w, t, x), WIDE, key, 8)
            )(w, jr.split(key, 40)))  # fmt: skip

        # Forty runs at once, with a rate that falls as 1/step after some.
        rate = lambda k: 1.5 / (10 + k)  # noqa: E731
        result = fm.learn(
            loss, jnp.zeros((40, 2)), key=jr.key(1), steps=steps, optimizer=optax.sgd(rate),
            average=0.0,
        )  # fmt: skip
        return float(jnp.mean((result.last - 1) ** 2))

    few, many = error(400), error(6400)
    assert abs(np.log(few / many) / np.log(16) - 1) < 0.2


@pytest.mark.slow
def test_a_network_comes_to_the_exact_velocity():
    near = jnp.array([[2.0, 0.0], [-1.0, 1.0], [0.0, -2.0]])
    mixture = fm.Particles((near, jnp.broadcast_to(0.09 * jnp.eye(2), (3, 2, 2))))
    flow = fm.StochasticInterpolant(NORMAL, mixture)
    errors = []
    for steps in (200, 800, 3200):
        network = fm.MLP(2, width=48, depth=2, key=jr.key(0))
        learned = fm.learn(
            lambda v, key: fm.flow_matching_loss(v, flow, key, 128), network, key=jr.key(1),
            steps=steps, learning_rate=4e-3,
        ).network  # fmt: skip
        errors.append(square_error(learned, flow))
    size = square_error(lambda t, x: jnp.zeros(2), flow)
    assert errors[0] > 2 * errors[1] and errors[1] > 2 * errors[2]
    assert np.log(errors[0] / errors[2]) / np.log(16) > 1 and errors[2] < 0.02 * size


@pytest.mark.slow
def test_minibatch_couplings_cost_less_in_larger_batches():
    source = fm.Gaussian(jnp.zeros(2), jnp.array([[1.0, 0.3], [0.3, 0.5]]))
    target = fm.Gaussian(jnp.array([2.0, 0.0]), jnp.array([[0.4, -0.2], [-0.2, 1.2]]))
    best = float(fm.bures(source, target))
    flow, gaps = fm.StochasticInterpolant(source, target), []
    for n, runs in ((16, 64), (256, 8)):
        paths = jax.jit(lambda k, n=n: flow.path(k, n, fm.coupling))
        draws = [paths(k) for k in jr.split(jr.key(0), runs)]
        gaps.append(np.mean([np.sum((p.target - p.source) ** 2, 1).mean() for p in draws]) - best)
    free = float(jnp.trace(source.cov + target.cov) + 4) - best
    # The bias of a plan of n points in the plane is of order log(n)/n; that of none is 0.87.
    assert free > 0.8 and gaps[0] < 0.6 * free and abs(gaps[1]) < 0.2 * free


def test_reflow_stays_where_the_support_is_not_connected():
    """Two balls that change sides without meeting: a straight gradient flow at five times W₂²."""
    ball = 0.2 * jr.uniform(jr.key(0), (20, 2), minval=-1, maxval=1)
    x = jnp.concatenate([ball - jnp.array([1.0, 0.0]), ball + jnp.array([1.0, 0.0])])
    y = jnp.concatenate([ball + jnp.array([1.0, 1.0]), ball - jnp.array([1.0, 1.0])])
    source, target = fm.Particles(x), fm.Particles(y)
    np.testing.assert_allclose(fm.wasserstein(source, target) ** 2, 1, rtol=1e-9)
    flow = fm.StochasticInterpolant(source, target, coupling="pairs")
    # No paths cross, and near each point the velocity is a constant: a gradient.
    loss = jax.jit(lambda key: fm.flow_matching_loss(flow.velocity, flow, key, 200))
    assert float(loss(jr.key(1))) < 1e-12
    middle = (x[3] + y[3]) / 2
    assert jnp.all(jax.jit(jax.jacfwd(lambda x: flow.velocity(0.5, x)))(middle) == 0)
    made = fm.simulate(flow, source, [0.0, 1.0], dt=0.1, solver=diffrax.Euler()).final.x
    # The pairs for the next flow are those of this one.
    np.testing.assert_allclose(made, y, atol=1e-9)
    np.testing.assert_allclose(jnp.mean(jnp.sum((made - x) ** 2, axis=1)), 5, rtol=1e-9)
