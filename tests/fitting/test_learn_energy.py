"""Energies from data: log Z, the law of the walkers and the gradient, exact in closed form."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm


class Bowl(eqx.Module):
    """U = ½ Σ e^{a_i} x_i² − ⟨b, x⟩."""

    a: jax.Array
    b: jax.Array

    def __call__(self, x):
        return jnp.sum(jnp.exp(self.a) * x**2) / 2 - jnp.vdot(self.b, x)

    def log_z(self):
        return jnp.sum(jnp.log(2 * jnp.pi) - self.a + self.b**2 * jnp.exp(-self.a)) / 2


class Wells(eqx.Module):
    """Minus the logarithm of a mixture of normals at ±2 whose shares are learned."""

    share: jax.Array

    def __call__(self, x):
        bumps = jnp.array([jnp.sum((x + 2) ** 2), jnp.sum((x - 2) ** 2)])
        return -jax.nn.logsumexp(jnp.append(self.share, 0.0) - bumps / 2)


def walkers(n, d=2, seed=1):
    return fm.Particles(jr.normal(jr.key(seed), (n, d)))


def test_a_gaussian_is_learned_with_its_log_z():
    mean, cov = jnp.array([0.5, -0.3]), jnp.diag(jnp.array([0.6, 1.5]))
    start = Bowl(jnp.zeros(2), jnp.zeros(2))
    data = fm.Gaussian(mean, cov)
    found = fm.learn_energy(
        start, data, walkers(2500), key=jr.key(0), steps=250, step_size=0.05, learning_rate=0.02,
        log_z=start.log_z(),
    )  # fmt: skip
    # 2500 walkers, of which a share stays effective: the error of a mean is about 2 %.
    np.testing.assert_allclose(found.log_z[-1], found.energy.log_z(), atol=0.05)
    np.testing.assert_allclose(jnp.exp(-found.energy.a), jnp.diagonal(cov), rtol=0.1)
    np.testing.assert_allclose(found.walkers.mean(), mean, atol=0.08)
    np.testing.assert_allclose(found.walkers.covariance(), cov, atol=0.12)
    entropy = jnp.sum(jnp.log(2 * jnp.pi * jnp.diagonal(cov)) + 1) / 2
    np.testing.assert_allclose(found.losses[-1], entropy, atol=0.05)
    assert found.effective.min() > 0.4


def test_weights_are_exact_for_long_steps_and_fast_parameters():
    """The mean mass is Z/Z₀ over runs in which the points themselves lag far behind."""
    start, data = Bowl(jnp.zeros(1), jnp.zeros(1)), fm.Gaussian(jnp.ones(1), 0.4 * jnp.eye(1))

    many = jr.normal(jr.key(5), (40_000, 1))
    found = fm.learn_energy(
        start, data, fm.Particles(many), key=jr.key(0), steps=6, step_size=0.3,
        learning_rate=0.15, resample=0.0, log_z=start.log_z(),
    )  # fmt: skip
    exact = found.energy.log_z() - start.log_z()
    assert abs(exact) > 0.2
    error = 1 / np.sqrt(40_000 * found.effective[-1])
    np.testing.assert_allclose(found.log_z[-1], found.energy.log_z(), atol=4 * error)
    lagging = jnp.mean(found.walkers.x) - found.energy.b * jnp.exp(-found.energy.a)
    assert abs(lagging[0]) > 20 * error
    np.testing.assert_allclose(
        found.walkers.mean(), found.energy.b * jnp.exp(-found.energy.a), atol=4 * error
    )


@pytest.mark.slow
def test_shares_of_wells_between_which_no_walker_passes():
    """Weights move mass over a barrier: a quarter of the data is on the left."""
    data = fm.Particles(jnp.concatenate([jnp.full((1, 1), -2.0), jnp.full((3, 1), 2.0)]))
    noise = jr.normal(jr.key(2), (4000, 1))
    data = fm.Particles(jnp.repeat(data.x, 1000, axis=0) + noise)
    start = Wells(jnp.zeros(1))
    sides = jnp.where(jnp.arange(4000) % 2 == 0, 2.0, -2.0)[:, None]
    found = fm.learn_energy(
        start, data, fm.Particles(sides + jr.normal(jr.key(3), (4000, 1))), key=jr.key(4),
        steps=400, step_size=0.02, learning_rate=0.03, resample=0.0,
    )  # fmt: skip
    np.testing.assert_allclose(jnp.exp(found.energy.share[0]), 1 / 3, rtol=0.08)
    exact = jnp.log((1 + jnp.exp(found.energy.share[0])) / 2)
    np.testing.assert_allclose(found.log_z[-1], exact, atol=0.05)
    np.testing.assert_allclose(found.walkers.mean(lambda x: x[0] > 0.0), 0.75, atol=0.03)


def test_the_loss_has_the_gradient_of_the_cross_entropy():
    bowl = Bowl(jnp.array([0.3, -0.2]), jnp.array([0.4, 0.1]))
    law = fm.Gaussian(bowl.b * jnp.exp(-bowl.a), jnp.diag(jnp.exp(-bowl.a)))
    points = law.m + jr.normal(jr.key(0), (40, 2))
    data = fm.Particles(jr.normal(jr.key(1), (5, 2)))
    # Points and weights with the moments of the law: the gradient of this family sees no others.
    weights = jnp.linalg.lstsq(
        jnp.concatenate([jnp.ones((1, 40)), points.T, (points**2).T]),
        jnp.concatenate([jnp.ones(1), law.m, law.m**2 + jnp.exp(-bowl.a)]),
    )[0]
    assert weights.min() > 0
    slope = jax.grad(lambda e: data.mean(e) + e.log_z())(bowl)
    found = eqx.filter_grad(fm.jarzynski_loss)(bowl, data, fm.Particles(points, jnp.log(weights)))
    np.testing.assert_allclose(found.a, slope.a, rtol=1e-9)
    np.testing.assert_allclose(found.b, slope.b, rtol=1e-9)


def test_the_flow_is_the_limit_of_short_steps():
    """`EnergyBasedModel`: the same parameters and log Z, in the limit of a gradient flow."""
    data = fm.Gaussian(jnp.array([0.8]), jnp.array([[0.5]]))
    energy = lambda theta, x: jnp.exp(theta[0]) * x[0] ** 2 / 2 - theta[1] * x[0]  # noqa: E731
    x = jr.normal(jr.key(0), (3000, 1))
    state = dict(
        parameters=fm.Particles(jnp.zeros((1, 2))),
        walkers=fm.Particles(x, jnp.full(3000, -jnp.log(3000.0))),
    )
    system = fm.EnergyBasedModel(energy, data, rate=2.0)
    final = fm.simulate(system, state, [0.0, 1.0], dt=0.01, key=jr.key(1)).final
    theta = final["parameters"].x[0]
    # The gradient flow of the cross entropy itself, whose moments are known.
    mean, second = 0.8, 0.5 + 0.64
    exact = np.zeros(2)
    for _ in range(1000):
        m, v = exact[1] * np.exp(-exact[0]), np.exp(-exact[0])
        exact += 2e-3 * np.array([np.exp(exact[0]) * (m**2 + v - second) / 2, mean - m])
    np.testing.assert_allclose(theta, exact, atol=0.05)
    log_z = (theta[1] ** 2 * jnp.exp(-theta[0]) - theta[0]) / 2
    np.testing.assert_allclose(system.log_z(final), log_z, atol=0.05)


def test_wrong_arguments_are_named():
    bowl, data = Bowl(jnp.zeros(2), jnp.zeros(2)), fm.Gaussian(jnp.zeros(2), jnp.eye(2))
    for name, change in {
        "`step_size`": dict(step_size=0.0),
        "`steps`": dict(steps=0),
        "`resample`": dict(resample=2.0),
    }.items():
        with pytest.raises(ValueError, match=name):
            fm.learn_energy(bowl, data, walkers(10), key=jr.key(0), **change)
    with pytest.raises(ValueError, match="`energy`"):
        fm.learn_energy(lambda x: x @ x, data, walkers(10), key=jr.key(0))
    with pytest.raises(RuntimeError, match="finite"):
        fm.learn_energy(bowl, data, walkers(10), key=jr.key(0), step_size=1e200, steps=5)
