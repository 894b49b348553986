"""Lyapunov exponents against exact ones: of products of numbers, of closures, of chaos."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import flowjax_measures as fm
from flowjax_measures.measures import Increment

SLOPES, ETA = jnp.array([0.5, 1.0, 1.5, 2.0]), 0.2


def _bowl(params, slope):
    return slope**2 * jnp.sum((params - 0.3) ** 2) / 2


class Lorenz(fm.AbstractSystem):
    def __call__(self, t, state):
        x, y, z = state
        return Increment(jnp.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z]))


def test_exponent_of_sgd_is_that_of_a_product():
    """E log|1 − η a²| / η, with the error of its mean; two points approach at just that rate."""
    sgd = fm.minibatch(_bowl, SLOPES, 1, optax.sgd(ETA))
    both, key, time = fm.Particles(jnp.array([[1.0], [1.1]])), jr.key(0), 600 * ETA
    value, error, _ = fm.lyapunov_exponent(sgd, both, key, dt=ETA, time=time, burn_in=0.0)
    factors = np.log(np.abs(1 - ETA * np.asarray(SLOPES) ** 2)) / ETA
    np.testing.assert_allclose(error, factors.std() / 600**0.5, rtol=0.5)
    assert abs(value - factors.mean()) < 4 * factors.std() / 600**0.5
    # Synchronisation: the same minibatches bring two points together.
    run = fm.simulate(sgd, both, [0.0, 20 * ETA], dt=ETA, key=key)
    short = fm.lyapunov_exponent(sgd, both, key, dt=ETA, time=32 * ETA, burn_in=0.0)
    apart = lambda mu: float(mu.x[1, 0] - mu.x[0, 0])  # noqa: E731
    end = fm.simulate(sgd, both, [0.0, 32 * ETA], dt=ETA, key=key).final
    np.testing.assert_allclose(np.log(abs(apart(end) / apart(both))) / (32 * ETA), short.value)
    assert abs(apart(run.final)) < abs(apart(both))


def test_exponent_of_the_modified_flow_is_itos():
    flow, dt = fm.StochasticModifiedFlow(_bowl, SLOPES, ETA), ETA / 4
    start = fm.Particles(jnp.array([[1.0]]))
    value, error, _ = fm.lyapunov_exponent(flow, start, jr.key(0), dt=dt, time=1000 * dt)
    h, spread = np.mean(np.asarray(SLOPES) ** 2), np.var(np.asarray(SLOPES) ** 2)
    z, weights = np.polynomial.hermite_e.hermegauss(200)
    factor = 1 - (h + ETA * h**2 / 2) * dt + np.sqrt(ETA * spread * dt) * z
    of_steps = weights / weights.sum() @ np.log(np.abs(factor)) / dt
    # The flow's own is −h − η h²/2 − η Var/2; steps of Euler and Maruyama add their error.
    assert abs(of_steps + h + ETA * h**2 / 2 + ETA * spread / 2) < 0.25
    assert abs(value - of_steps) < 4 * error


def test_spectrum_of_a_gaussian_closure():
    law = fm.Langevin(lambda x: jnp.sum(jnp.array([0.5, 1.0]) * x**2))
    mu = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
    value = fm.lyapunov_exponent(law, mu, dt=0.02, time=20.0, count=5, burn_in=10.0).value
    # The mean at 1 and 2, the covariance at sums of two of them; its skew part is not moved.
    np.testing.assert_allclose(value, [-1, -2, -2, -3, -4], atol=2e-3)


def test_steps_that_remember_their_last_slope_are_differentiated():
    class Turn(fm.AbstractSystem):
        def __call__(self, t, state):
            return Increment(jnp.array([[0.1 + jnp.cos(t), 0.0], [3.0, -0.5]]) @ state)

    value = fm.lyapunov_exponent(Turn(), jnp.ones(2), dt=np.pi / 50, time=20 * np.pi, count=2).value
    np.testing.assert_allclose(value, [0.1, -0.5], atol=5e-3)


@pytest.mark.slow
def test_an_atom_without_mass_has_no_exponent():
    x = jr.normal(jr.key(0), (4, 3))
    law, options = fm.SelfAttention(beta=2.0), dict(dt=0.1, time=4.0)
    three = fm.Particles(x[:3], weights=jnp.array([0.2, 0.3, 0.5]), space=fm.Sphere()).retract()
    four = jnp.concatenate([three.x, jnp.full((1, 3), jnp.nan)])
    four = fm.Particles(four, weights=jnp.array([0.2, 0.3, 0.5, 0.0]), space=fm.Sphere())
    ends = [fm.lyapunov_exponent(law, mu, **options).value for mu in (three, four)]
    # Of other first directions, which a run forgets.
    np.testing.assert_allclose(*ends, atol=0.05)


def test_what_lyapunov_exponents_refuse():
    law, mu = fm.Langevin(lambda x: jnp.sum(x**2)), fm.Particles(jnp.ones((1, 2)))
    for name, given in (
        ("dt", dict(dt=0.0)),
        ("time", dict(dt=0.1, time=1.0)),
        ("burn_in", dict(dt=0.1, burn_in=-1.0)),
        ("count", dict(dt=0.1, count=3)),
        ("count", dict(dt=0.1, count=0)),
    ):
        with pytest.raises(ValueError, match=f"`{name}`"):
            fm.lyapunov_exponent(law, mu, jr.key(0), **given)
    with pytest.raises(ValueError, match="key"):
        fm.lyapunov_exponent(law, mu, dt=0.1)
    away = fm.Custom(lambda t, x, mu: x**3)
    assert jnp.isnan(fm.lyapunov_exponent(away, mu, dt=1.0, time=40.0).value)


@pytest.mark.slow
def test_spectrum_of_lorenz():
    start = jnp.array([1.0, 2.0, 20.0])
    value, error, _ = fm.lyapunov_exponent(Lorenz(), start, dt=0.01, time=1000.0, count=3)
    np.testing.assert_allclose(value.sum(), -41 / 3, rtol=1e-6)
    for i, exact in enumerate((0.9056, 0.0, -14.5723)):
        assert abs(value[i] - exact) < 4 * error[i]
    assert error[0] < 0.02


@pytest.mark.slow
def test_points_of_a_circle_synchronise_in_a_random_quadratic_form():
    """dθ = s (sin 2θ ∘ dB_1 + cos 2θ ∘ dB_2), s² = ½: the exponent is −2s²."""
    start = fm.Particles(jnp.array([[1.0, 0.0]]), space=fm.Sphere())
    law = fm.RandomQuadraticForm()
    value, error, _ = fm.lyapunov_exponent(law, start, jr.key(1), dt=0.01, time=1000.0)
    assert abs(value + 1) < 4 * error
    assert error < 0.1
