"""Points that stop at the rate ρ_1/ν have the law of the data, whatever its support."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import kstest, norm

import flowjax_measures as fm

LINE = fm.Gaussian(jnp.zeros(1), jnp.eye(1))
NARROW = fm.EquilibriumMatching(
    fm.StochasticInterpolant(LINE, fm.Gaussian(jnp.ones(1), jnp.array([[0.16]])))
)
EULER = dict(solver=diffrax.Euler())


def begin(source, n):
    """Points with exponential times."""
    return fm.Particles((source.sample(jr.key(0), n), jr.exponential(jr.key(1), (n,))))


def test_stopped_points_have_the_law_of_the_target():
    n, ts = 600, jnp.linspace(0.0, 6.0, 61)
    law = fm.StoppedFlow(NARROW, NARROW.stopping_rate)
    x, left = fm.simulate(law, begin(LINE, n), ts, dt=0.1, **EULER).ys.x
    assert jnp.all(left[-1] <= 0)
    assert kstest(np.asarray(x[-1, :, 0]), norm(1, 0.4).cdf).pvalue > 1e-3
    # What has stopped rests, and on the average a point moves for the time 1.
    rests = left[15] <= 0
    np.testing.assert_array_equal(x[-1][rests], x[15][rests])
    lives = 0.1 * jnp.sum((left > 0).astype(float), axis=0)
    # A step adds up to 0.1 to a life.
    assert abs(jnp.mean(lives) - 1) < 4 * jnp.std(lives) / n**0.5 + 0.1
    assert kstest(np.asarray(x[10, :, 0]), norm(1, 0.4).cdf).pvalue < 1e-4


def test_the_loss_is_least_at_the_exact_rate():
    exact = lambda t, x: jnp.log(NARROW.stopping_rate(x))  # noqa: E731
    n = 300

    def moved(size, key):
        bent = lambda t, x: exact(t, x) + size * jnp.sin(1.3 * x[0])  # noqa: E731
        return fm.stopping_loss(bent, NARROW, key, n)

    both = jax.jit(lambda size: jax.jvp(lambda s: moved(s, jr.key(0)), (size,), (1.0,)))
    (_, slope), (up, _), (down, _) = both(0.0), both(0.3), both(-0.3)
    # A slope is the mean of n draws of at most 1 each of two laws.
    assert abs(slope) < 4 / n**0.5 and up - slope * 0.3 > both(0.0)[0] < down + slope * 0.3
    (ahead, _), (behind, _) = both(1e-5), both(-1e-5)
    np.testing.assert_allclose((ahead - behind) / 2e-5, slope, atol=1e-8)
    with pytest.raises(ValueError, match="`log_rate`"):
        fm.stopping_loss(lambda t, x: x, NARROW, jr.key(0), 4)


def test_wrong_use_is_named():
    right = fm.ProbabilityFlow(lambda t, x: jnp.ones_like(x))
    law = fm.StoppedFlow(right, lambda t, x: jnp.where(x[0] > 2, jnp.inf, 0.0))
    with pytest.raises(ValueError, match="pairs"):
        law.rates(0.0, jnp.zeros(1), None)
    noisy = fm.StoppedFlow(fm.Langevin(fm.Quadratic(1.0)), lambda t, x: 1.0)
    with pytest.raises(ValueError, match="`flow` has noise"):
        noisy.rates(0.0, (jnp.zeros(1), jnp.ones(())), None)
    atoms = fm.StochasticInterpolant(LINE, fm.Particles(jnp.ones((3, 1))))
    with pytest.raises(ValueError, match="`target`"):
        fm.EquilibriumMatching(atoms).stopping_rate(jnp.zeros(1))
    # A point whose time is unknown is itself unknown; a rate that is infinite stops.
    rates = law.rates(0.0, (jnp.zeros(1), jnp.array(jnp.nan)), None).velocity
    assert jnp.isnan(rates[0][0]) and jnp.isnan(rates[1])
    start = fm.Particles((jnp.linspace(-1.0, 1.0, 20)[:, None], jnp.ones(20)))
    final = fm.simulate(law, start, [0.0, 4.0], dt=0.1, **EULER).final.x[0]
    assert jnp.all((final > 2) & (final < 2.2001))


@pytest.mark.slow
def test_learned_points_stop_in_the_law_of_data_with_a_density():
    """A network that is not stopped runs past the data."""
    angle = jnp.pi * jr.uniform(jr.key(0), (6000,))
    bow = 2 * jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1)
    bow = bow + 0.2 * jr.normal(jr.key(1), bow.shape)
    plane = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
    matching = fm.EquilibriumMatching(fm.StochasticInterpolant(plane, fm.Particles(bow[:4000])))

    def loss(networks, key):
        one, two = jr.split(key)
        velocity, log_rate = networks
        return fm.flow_matching_loss(velocity, matching, one, 256) + fm.stopping_loss(
            log_rate, matching, two, 256
        )

    given = dict(width=64, time=0)
    networks = fm.MLP(2, key=jr.key(2), **given), fm.MLP(2, key=jr.key(3), out="scalar", **given)
    learned = fm.learn(loss, networks, key=jr.key(4), steps=3000, learning_rate=3e-3).network
    velocity, log_rate = learned
    rate = eqx.filter_jit(lambda t, x: jnp.exp(log_rate(t, x)))
    start, flow = begin(plane, 2000), fm.ProbabilityFlow(velocity)
    stopped = fm.simulate(fm.StoppedFlow(flow, rate), start, [0.0, 8.0], dt=0.02, **EULER).final.x
    free = fm.simulate(flow, fm.Particles(start.x[0]), [0.0, 8.0], dt=0.02, **EULER).final
    held_out = fm.Particles(bow[4000:])
    assert jnp.mean(stopped[1] > 0) < 0.01
    near, far = (float(fm.energy_distance(mu, held_out)) for mu in (
        fm.Particles(stopped[0]), free
    ))  # fmt: skip
    assert near < 0.02 and far > 10 * near
