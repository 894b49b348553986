"""What is added to consensus: constraints, batches, jumps, inferred gradients, preferences."""

import itertools
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from systems.test_consensus_based import bowl, cloud, rugged, variance

import flowjax_measures as fm
from flowjax_measures.objectives import ackley
from flowjax_measures.simulation._brownian import StepKeyed

KEY = jr.key(7)


def test_inferred_gradient_of_a_plane():
    """Exactly the slope, whatever the points; at points symmetric around x that of a bowl too."""
    slope = jnp.array([1.0, -2.0, 0.5])
    system = fm.InferredGradient(lambda y: slope @ y + 3.0, 0.7, 0.9, 0.0)
    drift = eqx.filter_jit(system)(0.0, cloud()).drift.x
    np.testing.assert_allclose(drift, jnp.broadcast_to(-0.7 * slope, (8, 3)), rtol=1e-9)
    x = jnp.array([0.5, -0.2, 0.1])
    mirrored = fm.Particles(jnp.concatenate([cloud().x, 2 * x - cloud().x]))
    found = eqx.filter_jit(fm.InferredGradient(bowl, 1.0, 2.0, 0.0).gradient)(x, mirrored)
    np.testing.assert_allclose(found, 2 * (x - 0.3), rtol=1e-10)


def test_inferred_gradient_of_a_gaussian():
    """Around its mean the law is symmetric: g(m) = ∇f(m) for f quadratic, from the closure."""
    mu = fm.Gaussian(jnp.array([0.5, -1.0]), jnp.array([[1.0, 0.3], [0.3, 0.5]]))
    found = eqx.filter_jit(fm.InferredGradient(bowl, 1.0, 0.8, 0.0).gradient)(mu.m, mu)
    np.testing.assert_allclose(found, 2 * (mu.m - 0.3), rtol=1e-8)


def circle(x):
    return jnp.sum(x**2) - 1


def test_constraint_is_a_gradient_flow():
    wall = fm.EqualityConstraint(lambda x: jnp.stack([circle(x), x[0] * x[1]]), 0.3)
    energy = lambda x: jnp.sum(wall.linearised(x)[0] ** 2) / (2 * 0.3)  # noqa: E731
    mu = cloud(d=2)
    force = -jax.jit(jax.vmap(jax.grad(energy)))(mu.x)
    np.testing.assert_allclose(eqx.filter_jit(wall)(0.0, mu).drift.x, force, rtol=1e-12)


def test_long_steps_beside_a_stiff_constraint():
    """h/ε = 10¹⁰ keeps g + J(X₁ − X₀) = 0; with h/ε → 0 the step is Euler's."""
    mu = fm.Particles(1.3 * cloud(d=2).x)
    free = fm.ConsensusBased(bowl, 1.3, 0.0, 2.0)

    def step(epsilon, h):
        system = free + fm.EqualityConstraint(circle, epsilon)
        end = fm.simulate(system, mu, [0.0, h], dt=h, key=KEY, solver=fm.ConstrainedEuler()).final.x
        return end, eqx.filter_jit(system)(0.0, mu).drift.x

    one, _ = step(1e-11, 0.1)
    gap = jax.vmap(circle)(mu.x) + 2 * jnp.sum(mu.x * (one - mu.x), axis=1)
    np.testing.assert_allclose(gap, 0, atol=1e-8)
    implicit, drift = step(10.0, 1e-4)
    np.testing.assert_allclose((implicit - mu.x) / 1e-4, drift, rtol=2e-3, atol=1e-4)
    with pytest.raises(ValueError, match="EqualityConstraint"):
        fm.simulate(free, mu, [0.0, 0.1], dt=0.1, key=KEY, solver=fm.ConstrainedEuler())


@pytest.mark.slow
def test_minimum_on_a_circle():
    """Shifted Ackley on the circle, beside a scan of it."""
    shifted = lambda x: ackley(3 * (x - jnp.array([0.4, 0.3])))  # noqa: E731
    free = fm.ConsensusBased(shifted, 1.0, 0.8, 50.0, "anisotropic")
    system = free + fm.EqualityConstraint(circle, 1e-5)
    mu = fm.Particles(2 * jr.normal(jr.key(0), (100, 2)))
    final = fm.simulate(
        system, mu, [0.0, 10.0], dt=0.05, key=jr.key(1), solver=fm.ConstrainedEuler()
    ).final
    found = free.consensus(final)
    angles = np.linspace(0, 2 * np.pi, 100_001)
    around = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
    best = around[jnp.argmin(jax.vmap(shifted)(around))]
    assert abs(circle(found)) < 1e-3
    np.testing.assert_allclose(found, best, atol=0.03)


def test_full_batch_is_the_default_step():
    mu = cloud(10, 2)
    system = fm.ConsensusBased(rugged, 1.0, 0.5, 3.0)

    def run(**more):
        return fm.simulate(system, mu, [0.0, 0.3], dt=0.1, key=jr.key(1), **more).final.x

    np.testing.assert_allclose(run(solver=fm.EpochBatches(10, jr.key(2))), run(), rtol=1e-12)


@pytest.mark.parametrize("moves", ["all", "batch"])
def test_batches_partition_an_epoch(moves):
    """α = 0, no noise: a batch's mean attracts; over an epoch every particle is in one batch."""
    mu = cloud(12, 1)
    system = fm.ConsensusBased(bowl, 2.0, 0.0, 0.0)
    solver = fm.EpochBatches(4, jr.key(3), moves)
    ts = [0.0, 0.1, 0.2, 0.3]
    path = np.asarray(fm.simulate(system, mu, ts, dt=0.1, key=KEY, solver=solver).ys.x)[..., 0]
    moved = []
    for before, after in itertools.pairwise(path):
        change = (after - before) / 0.2
        centre = before + change
        if moves == "all":
            np.testing.assert_allclose(centre, centre[0], atol=1e-12)
            batches = itertools.combinations(range(12), 4)
            moved.append(min(batches, key=lambda b: abs(before[list(b)].mean() - centre[0])))
        else:
            moved.append(tuple(np.flatnonzero(change != 0)))
            chosen = list(moved[-1])
            np.testing.assert_allclose(centre[chosen], before[chosen].mean(), atol=1e-12)
    assert sorted(i for batch in moved for i in batch) == list(range(12))


def test_wrong_batches_are_refused():
    system = fm.ConsensusBased(bowl)

    def run(solver):
        fm.simulate(system, cloud(10, 2), [0.0, 0.1], dt=0.1, key=jr.key(0), solver=solver)

    with pytest.raises(ValueError, match="divisor"):
        run(fm.EpochBatches(3, jr.key(0)))
    with pytest.raises(ValueError, match="moves"):
        fm.EpochBatches(3, jr.key(0), "none")
    with pytest.raises(ValueError, match="ConsensusBasedSampling"):
        run(fm.ExponentialSampling())


@pytest.mark.slow
def test_jumps_add_to_the_spread():
    """E V⁺ = V[(1 − λh)² + (σ² + ργ²)h(1 − 1/N)], γ a function of time: 20,000 keys, 4.5 errors."""
    n, rate, sigma, h, often, strength = 5, 1.3, 0.8, 0.1, 8.0, 0.6
    mu = cloud(n, 2)
    system = fm.ConsensusBased(bowl, rate, sigma, 0.0, "anisotropic")

    def after(key):
        one, two = jr.split(key)
        solver = fm.ConsensusJumps(often, lambda t: strength - t, two)
        run = fm.simulate(
            system, mu, [0.0, h], dt=h, key=one, solver=solver, observe=variance, throw=False
        )
        return run.ys[-1]

    values = jax.jit(jax.vmap(after))(jr.split(jr.key(1), 20_000))
    # One jump at most would be 1 − e^{−ρh} = 0.55 in place of ρh = 0.8.
    shake = sigma**2 * h + often * h * strength**2
    factor = (1 - rate * h) ** 2 + shake * (1 - 1 / n)
    error = values.std() / np.sqrt(values.size)
    assert abs(values.mean() - factor * variance(mu)) < 4.5 * error
    assert error < 0.01 * variance(mu)


@pytest.mark.slow
def test_exponential_steps_of_sampling():
    """From a Gaussian the moment map, from particles `step` with the run's own normals."""
    system = fm.ConsensusBasedSampling(bowl, 0.8)
    law = fm.Gaussian(jnp.array([1.0, 2.0]), jnp.array([[1.0, 0.3], [0.3, 0.5]]))
    solver = fm.ExponentialSampling()
    run = fm.simulate(system, law, [0.0, 0.6], dt=0.3, solver=solver)
    step = eqx.filter_jit(system.step)
    twice = step(step(law, 0.3), 0.3)
    np.testing.assert_allclose(run.final.m, twice.m, rtol=1e-12)
    np.testing.assert_allclose(run.final.cov, twice.cov, rtol=1e-12)
    mu = cloud(6, 2)
    final = fm.simulate(system, mu, [0.0, 0.3], dt=0.3, key=jr.key(4), solver=solver).final
    path = StepKeyed(jr.key(4), jax.ShapeDtypeStruct((6, 2), float))
    (normals,) = path.one(jnp.int32(0))
    np.testing.assert_allclose(
        final.x, eqx.filter_jit(system.advance)(mu, 0.3, normals).x, rtol=1e-10
    )


@pytest.mark.slow
def test_adaptive_front_is_evener():
    """g = (x², (x − 2)²) from even preferences w: x = 2√w₂/(√w₁ + √w₂); images then move apart."""
    objectives = lambda x: jnp.stack([x[0] ** 2, (x[0] - 2) ** 2])  # noqa: E731
    w = (jnp.arange(100.0) + 0.5) / 100
    theta = jnp.stack([jnp.log(w), jnp.log(1 - w)], axis=1)
    mu = fm.Particles((jr.uniform(jr.key(0), (100, 1), minval=-1.0, maxval=3.0), theta))

    def places(tau):
        system = fm.AdaptivePareto(objectives, 1.0, 0.5, 300.0, adaptation=tau, reach=1.0)
        final = fm.simulate(system, mu, [0.0, 10.0], dt=0.05, key=jr.key(2), throw=False).final
        return jnp.sort(final.x[0][:, 0])

    still, moved = jax.jit(jax.vmap(places))(jnp.array([0.0, 0.3]))
    exact = np.sort(2 * np.sqrt(1 - w) / (np.sqrt(w) + np.sqrt(1 - w)))
    np.testing.assert_allclose(still, exact, atol=0.15)
    assert moved.min() > -0.1 and moved.max() < 2.1

    def crowding(x):
        images = jax.vmap(objectives)(x[:, None])
        gaps = jnp.linalg.norm(jnp.diff(images, axis=0), axis=1)
        square = jnp.sum((images[:, None] - images) ** 2, axis=2)
        return jnp.mean(jnp.exp(-square / 2)), gaps.std() / gaps.mean()

    (before, uneven), (after, even) = crowding(still), crowding(moved)
    assert after < 0.88 * before and even < 0.75 * uneven


@pytest.mark.slow
def test_stiefel_finds_leading_eigenvectors():
    """max tr(XᵀAX diag(2, 1)) = 2λ₁ + λ₂."""
    a = np.random.default_rng(0).normal(size=(4, 4))
    a = jnp.asarray(a + a.T)
    gain = lambda x: jnp.trace(x.T @ a @ x * jnp.array([2.0, 1.0]))  # noqa: E731
    mu = fm.Particles(jr.normal(jr.key(0), (100, 4, 2)), space=fm.Stiefel()).retract()
    system = fm.ConsensusBased(lambda x: -gain(x), 1.0, 0.3, 100.0)
    final = fm.simulate(system, mu, [0.0, 10.0], dt=0.05, key=jr.key(1)).final
    second, first = np.linalg.eigvalsh(a)[-2:]
    np.testing.assert_allclose(jnp.max(jax.vmap(gain)(final.x)), 2 * first + second, atol=0.05)
    orthonormal = jnp.einsum("npk,npl->nkl", final.x, final.x)
    np.testing.assert_allclose(orthonormal, jnp.broadcast_to(jnp.eye(2), (100, 2, 2)), atol=1e-12)


def test_stiefel_with_one_column_is_the_sphere():
    x = jr.normal(jr.key(0), (3, 1))
    v = jr.normal(jr.key(1), (3, 1))
    near = fm.Stiefel().nearest(x)
    np.testing.assert_allclose(near[:, 0], fm.Sphere().nearest(x[:, 0]), rtol=1e-14)
    one, two = fm.Stiefel().project(near, v)[:, 0], fm.Sphere().project(near[:, 0], v[:, 0])
    np.testing.assert_allclose(one, two, rtol=1e-12)
    flat = jax.jacobian(fm.Stiefel().nearest)(near).reshape(3, 3)
    np.testing.assert_allclose(flat, np.eye(3) - near @ near.T, atol=1e-12)


def test_spread_of_gradients_that_behave():
    """L = (θ₁ + ξ)² θ₂: pathwise and difference estimate (2θ₁θ₂, θ₁² + 1), no warning."""

    def loss(p, key):
        return (p["a"] + jr.normal(key)) ** 2 * p["b"]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spread = fm.gradient_spread(loss, {"a": 1.5, "b": 2.0}, key=jr.key(0), runs=4000)
    for name, exact in (("a", 6.0), ("b", 3.25)):
        assert abs(spread.mean[name] - exact) < 4.5 * spread.error[name]
        np.testing.assert_allclose(spread.difference[name], spread.mean[name], rtol=1e-9)
    assert spread.share < 0.02


def test_spread_of_gradients_that_do_not():
    """A steep step smoothed by noise: the derivative lives in few runs, and the warning says so."""
    loss = lambda p, key: jnp.tanh(1e4 * (p - jr.uniform(key)))  # noqa: E731
    with pytest.warns(UserWarning, match="heavy tails"):
        spread = fm.gradient_spread(loss, 0.5, key=jr.key(0), runs=500, step=0.1)
    # The mean is 2p − 1, its derivative 2.
    assert abs(spread.difference - 2) < 4.5 * spread.difference_error
    assert spread.difference_error < 0.3
