"""The retrieval profile by two methods, its known features, and the particles behind it."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.special import iv

import flowjax_measures as fm

SIGMA = np.array([0.02, 0.1, 0.3, 0.6, 0.9, 1.0])


def written_out(t, beta, lam, m, sigma0):
    total = 0.0
    for n in range(1, 80):
        a = n**2 * iv(n, beta)
        if lam:
            y = np.log(np.expm1(lam) / np.expm1(lam * sigma0))
            weight = lam * np.exp(lam * sigma0) / np.expm1(lam)
        else:
            y, weight = np.log(1 / sigma0), 1.0
        mode = np.sqrt(a * t / y) * iv(1, 2 * np.sqrt(a * t * y)) if y > 0 else a * t
        total += np.exp(-((np.pi * n / m) ** 2) / 2) * weight * mode
    return total


def accuracy(count: int, tokens: int, time: float, dt: float):
    """Acc_N at all positions by runs of the particles: means and their standard errors."""
    beta, lam, m = 1.0, 2.0, 4
    starts = 2 * jnp.pi * jr.uniform(jr.key(7), (count, tokens, 1))

    def last(start):
        run = fm.simulate(fm.CausalCircle(beta, lam), fm.Particles(start), [0.0, time], dt=dt)
        return run.final.x[-1, 0]

    away = np.asarray(jax.jit(jax.vmap(last))(starts))[:, None] - np.asarray(starts)[:, :, 0]
    away = (away + np.pi) % (2 * np.pi) - np.pi
    # Wrapped, and with Gaussian weights: the decoder of the theory.
    weights = sum(np.exp(-((m * (away + 2 * np.pi * k)) ** 2) / (2 * np.pi**2)) for k in (-1, 0, 1))
    places = (jnp.arange(tokens, dtype=float) + 0.5) / tokens
    theory = fm.retrieval_probability(time, beta, lam, m, places, tokens)
    return weights.mean(0), weights.std(0) / np.sqrt(count), np.asarray(theory)


def test_the_accuracy_of_tokens_is_the_profile():
    measured, error, theory = accuracy(count=3000, tokens=24, time=1.0, dt=0.25)
    inner = slice(2, 23)  # Own decoding, at the last place, and S = ∞ at the first, are no limits.
    away = (measured - theory)[inner]
    # The profile alone is 20 standard errors above chance; what is left of it is O(1/N²).
    chance = np.sqrt(np.pi / 2) / 4
    assert np.mean((theory - chance)[inner]) > 8 * np.mean(error) / np.sqrt(21)
    assert abs(np.mean(away)) < 4 * np.mean(error) / np.sqrt(21) + 2 / 24**2
    assert np.all(np.abs(away) < 5 * error[inner] + 4 / 24**2)


def test_modes_add_up_to_the_profile():
    sigma = jnp.asarray(SIGMA)
    modes = fm.retrieval_modes(1.0, 1.5, 2.0, sigma, 12)
    y = np.log(np.expm1(2.0) / np.expm1(2.0 * SIGMA))
    q, n = 2.0 * np.exp(2.0 * SIGMA) / np.expm1(2.0), np.arange(1, 13)[:, None]
    a = n**2 * iv(n, 1.5)
    y = np.where(y > 0, y, 1e-14)
    exact = q * np.sqrt(a / y) * iv(1, 2 * np.sqrt(a * y))
    assert np.allclose(modes, exact.T, rtol=1e-9)
    profile = fm.lost_in_the_middle(1.0, 1.5, 2.0, 3, sigma, terms=12)
    assert np.allclose(profile, np.exp(-((np.pi * n.T / 3) ** 2) / 2) @ exact, rtol=1e-9)
    with pytest.raises(ValueError, match="`terms` is 0"):
        fm.retrieval_modes(1.0, 1.0, 1.0, 0.5, 0)
    with pytest.raises(ValueError, match="`M` is 0"):
        fm.lost_in_the_middle(1.0, 1.0, 1.0, 0, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("case", [(1.0, 1.0, 2.0, 10), (0.3, 2.0, 0.0, 5), (0.5, 3.0, -1.0, 30)])
def test_closed_form_and_volterra_equation(case):
    t, beta, lam, m = case
    profile = fm.lost_in_the_middle(t, beta, lam, m, jnp.asarray(SIGMA))
    expected = [written_out(t, beta, lam, m, s) for s in SIGMA]
    assert np.allclose(profile, expected, rtol=1e-13)
    other = fm.lost_in_the_middle(t, beta, lam, m, jnp.asarray(SIGMA), method="volterra")
    assert np.allclose(other, expected, rtol=2e-9)


@pytest.mark.slow
def test_u_shape_divergence_and_no_recency_without_bias():
    # t sup n²I_n(β) ≤ min(3 − √3, 2(1 − e^{−λ})) holds: n = 1, 2 give 0.565, 0.543 at β = 1.
    sigma = jnp.linspace(0.005, 1.0, 400)
    profile = np.asarray(fm.lost_in_the_middle(1.0, 1.0, 2.0, 50, sigma))
    turns = np.diff(np.sign(np.diff(profile)))
    assert np.count_nonzero(turns) == 1 and 0 < profile.argmin() < 399
    assert profile[-1] > profile.min() and profile[0] > profile.min()
    # The minimum is where it is for the formula written out with scipy.
    written = [written_out(1.0, 1.0, 2.0, 50, s) for s in np.asarray(sigma)]
    assert profile.argmin() == np.argmin(written)
    early = fm.lost_in_the_middle(1.0, 1.0, 2.0, 50, jnp.array([1e-3, 1e-6, 1e-12, 0.0]))
    assert np.all(np.diff(early) > 0) and early[-1] == np.inf
    # Towards the first token S grows as y^{−3/4} e^{2√(a t y)}, y = log(1/σ₀), a = max n² I_n(β).
    far = np.array([1e-100, 1e-200])
    y, a = np.log(np.expm1(2.0) / 2) - np.log(far), iv(1, 1.0)
    growth = np.diff(2 * np.sqrt(a * y) - 0.75 * np.log(y))[0]
    profile = fm.lost_in_the_middle(1.0, 1.0, 2.0, 50, jnp.asarray(far))
    assert np.isclose(np.diff(np.log(profile))[0], growth, atol=0.1)
    flat = np.asarray(fm.lost_in_the_middle(1.0, 1.0, 0.0, 50, sigma))
    assert np.all(np.diff(flat) < 0)


@pytest.mark.slow
def test_derivatives():
    def profile(t, beta, lam, sigma0):
        return fm.lost_in_the_middle(t, beta, lam, 10, sigma0, terms=20)

    at = (1.0, 1.0, 0.0, 0.3)
    slopes = jax.grad(profile, argnums=(0, 1, 2, 3))(*at)
    for k, slope in enumerate(slopes):
        up, down = (tuple(v + e * (i == k) for i, v in enumerate(at)) for e in (1e-4, -1e-4))
        assert np.isclose(slope, (profile(*up) - profile(*down)) / 2e-4, rtol=1e-6)
    with pytest.raises(ValueError, match="vocabulary"):
        fm.lost_in_the_middle(1.0, 1.0, 1.0, 0, 0.5)


@pytest.mark.slow
def test_particles_have_the_correlations():
    # N E cos(θ_N(t) − θ_i(0)) tends to Ĝ_1 at rate 1/N. Taking away the same at t = 0, whose mean
    # is 0, leaves a standard deviation of √N in place of N.
    n, t, beta, lam, replicas = 128, 1.0, 1.0, 2.0, 20_000
    places = np.array([0.25, 0.5, 0.75, 0.9375])
    index = (places * n).astype(int) - 1

    def one(key):
        start = jr.uniform(key, (n, 1), float) * 2 * jnp.pi
        run = fm.simulate(fm.CausalCircle(beta, lam), fm.Particles(start), [0.0, t], dt=0.25)
        asked = start[index, 0]
        return n * (jnp.cos(run.final.x[-1, 0] - asked) - jnp.cos(start[-1, 0] - asked))

    values = jax.lax.map(one, jr.split(jr.key(0), replicas), batch_size=2000)
    mean, error = np.mean(values, 0), np.std(values, 0) / np.sqrt(replicas)
    exact = []
    for sigma0 in places:
        a, y = iv(1, beta), np.log(np.expm1(lam) / np.expm1(lam * sigma0))
        weight = lam * np.exp(lam * sigma0) / np.expm1(lam)
        exact.append(weight * np.sqrt(a * t / y) * iv(1, 2 * np.sqrt(a * t * y)))
    assert np.all(error < 0.1)
    assert np.all(np.abs(mean - np.array(exact)) < 4 * error)
