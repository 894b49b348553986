"""The uniform law and where runs end: growth rates, the equation on circle and sphere, blow-up."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import eval_gegenbauer, iv, ive

import flowjax_measures as fm
from flowjax_measures.measures._base import replace


@pytest.mark.parametrize("d", [2, 3, 5])
def test_growth_rates_by_quadrature(d):
    # Λ_k = c ∫ e^{βt} P_k(t) (1 − t²)^{(d−3)/2} dt, t = cos θ, with Λ_0 = 1 at β = 0.
    def coefficient(beta, k):
        def harmonic(s):
            if d == 2:
                return np.cos(k * s)
            order = d / 2 - 1
            return eval_gegenbauer(k, order, np.cos(s)) / eval_gegenbauer(k, order, 1.0)

        weigh = lambda s: np.exp(beta * np.cos(s)) * harmonic(s) * np.sin(s) ** (d - 2)  # noqa: E731
        return (
            quad(weigh, 0, np.pi, epsabs=1e-13)[0]
            / quad(lambda s: np.sin(s) ** (d - 2), 0, np.pi)[0]
        )

    for beta, k in ((0.7, 1), (4.0, 3), (-2.0, 2)):
        mean = k * (k + d - 2) * coefficient(beta, k) / beta
        softmax = mean / coefficient(beta, 0)
        attention = fm.SelfAttention(value=-1.5 * jnp.eye(d), beta=beta)
        assert np.isclose(attention.growth_rate(k, d), -1.5 * softmax, rtol=1e-11)
        attention = fm.SelfAttention(beta=beta, normalization="mean")
        assert np.isclose(attention.growth_rate(k, d), mean, rtol=1e-11)
    assert np.isclose(fm.SelfAttention(beta=0.0).growth_rate(1, d), (d - 1) / d, rtol=1e-14)
    slope = jax.grad(lambda b: fm.SelfAttention(beta=b).growth_rate(2, d))(1.3)
    step = 1e-5
    rate = lambda b: fm.SelfAttention(beta=b).growth_rate(2, d)  # noqa: E731
    assert np.isclose(slope, (rate(1.3 + step) - rate(1.3 - step)) / (2 * step), rtol=1e-8)


def test_growth_rates_at_any_temperature():
    for beta in (300.0, 700.0, 1e4):
        for k, d in ((1, 2), (2, 3), (3, 5)):
            ratio = ive(k + d / 2 - 1, beta) / ive(d / 2 - 1, beta)
            rate = fm.SelfAttention(beta=beta).growth_rate(k, d)
            assert np.isclose(rate, k * (k + d - 2) / beta * ratio, rtol=1e-11)
    rate = fm.SelfAttention(beta=700.0, normalization="mean").growth_rate(2)
    assert np.isclose(rate, 4 * iv(2, 700.0) / 700, rtol=1e-12)


def test_growth_rates_are_of_plain_attention():
    for system, words in (
        (fm.SelfAttention(query=2 * jnp.eye(2)), "`growth_rate` is of one head"),
        (fm.SelfAttention(causal=True), "`growth_rate` is of one head"),
        (fm.SelfAttention(value=jnp.ones((2, 2))), "`value` is to be a multiple"),
    ):
        with pytest.raises(ValueError, match=words):
            system.growth_rate(1)
    with pytest.raises(ValueError, match="`k` is 0"):
        fm.SelfAttention().growth_rate(0)


def rate_on(grid, law, mode):
    """The rate of a mode by the derivative of the equation at the uniform density."""
    field = lambda rho: law(0.0, replace(grid, rho=rho)).drift.rho  # noqa: E731
    _, along = jax.jvp(field, (grid.rho,), (jnp.asarray(mode),))
    return float(np.sum(along * mode) / np.sum(mode**2))


def test_the_equation_on_the_circle_has_these_rates():
    law = fm.InCoordinates(fm.SelfAttention(beta=4.0), fm.circle_chart)
    exact, errors = 4 * iv(2, 4.0) / (4 * iv(0, 4.0)), []
    for n in (48, 96):
        grid = fm.GridDensity(jnp.full(n, 1 / (2 * np.pi)), 0.0, 2 * np.pi, periodic=True)
        errors.append(rate_on(grid, law, np.cos(2 * np.asarray(grid.centres()[:, 0]))) - exact)
    assert abs(errors[1]) < 2e-3 and np.isclose(errors[0] / errors[1], 4, rtol=0.05)


def test_particles_tend_to_the_equation_on_the_circle():
    # The flow of a density and of its quantiles: the same mean, to order n^{-2}.
    law, n = fm.SelfAttention(beta=3.0), 400
    angles = (np.arange(n) + 0.5) * 2 * np.pi / n
    for _ in range(60):  # θ + 0.5 sin θ = 2π (i + ½)/n: the density (1 + ½ cos θ)/2π.
        angles = angles - (angles + 0.5 * np.sin(angles) - (np.arange(n) + 0.5) * 2 * np.pi / n) / (
            1 + 0.5 * np.cos(angles)
        )
    x = jnp.stack([jnp.cos(angles), jnp.sin(angles)], 1)
    tokens = fm.simulate(law, fm.Particles(x, space=fm.Sphere()), [0.0, 1.0], dt=0.1).final
    centres = (np.arange(96) + 0.5) * 2 * np.pi / 96
    rho = jnp.asarray((1 + 0.5 * np.cos(centres)) / (2 * np.pi))
    density = fm.GridDensity(rho, 0.0, 2 * np.pi, periodic=True)
    run = fm.simulate(fm.InCoordinates(law, fm.circle_chart), density, [0.0, 1.0], dt=0.02)
    assert np.isclose(run.final.mass(), 1, rtol=1e-12)
    for fn in (lambda y: y[0], lambda y: y[0] ** 2, lambda y: y[0] ** 3):
        image = run.final.push(fm.circle_chart)
        assert np.isclose(image.mean(fn), tokens.mean(fn), atol=1e-3)


def sphere(n):
    grid = fm.GridDensity(
        jnp.full((n, 2 * n), 1 / (4 * np.pi)), jnp.array([-1.0, 0.0]), jnp.array([1.0, 2 * np.pi]),
        (False, True),
    )  # fmt: skip
    return grid, *np.moveaxis(np.asarray(grid.centres()), -1, 0)


STILL = fm.Custom(lambda t, x, mu: fm.Rates(jnp.zeros(3), fm.Isotropic(0.8)))


@pytest.mark.slow
@pytest.mark.parametrize("system", [fm.SelfAttention(beta=2.0), STILL], ids=["attention", "noise"])
def test_the_equation_on_the_sphere_and_its_noise(system):
    law, errors = fm.InCoordinates(system, fm.sphere_chart), []
    for n in (8, 16):
        grid, z, angle = sphere(n)
        for degree, mode in (
            (1, z), (1, np.sqrt(1 - z**2) * np.cos(angle)), (2, 3 * z**2 - 1),
            (2, (1 - z**2) * np.cos(2 * angle)),
        ):  # fmt: skip
            # Brownian motion: harmonics of degree l decay at the rate σ² l(l + 1)/2.
            still = system is STILL
            exact = -0.32 * degree * (degree + 1) if still else system.growth_rate(degree, 3)
            errors.append(rate_on(grid, law, mode) / exact - 1)
    coarse, fine = np.abs(np.reshape(errors, (2, 4)))
    # Errors at the poles are of first order; small ones need not be in order.
    assert np.all(fine < 0.2) and np.all((fine < 0.7 * coarse) | (fine < 0.02))


def test_coordinates_know_noise_of_one_strength():
    grid = sphere(8)[0]
    with pytest.raises(ValueError, match="`system` has Dense noise"):
        dense = fm.Custom(lambda t, x, mu: fm.Rates(jnp.zeros(3), fm.Dense(jnp.eye(3))))
        fm.InCoordinates(dense, fm.sphere_chart)(0.0, grid)


@pytest.mark.slow
def test_coordinates_of_another_chart_are_named():
    grid = fm.GridDensity(jnp.ones(8), 0.0, 2 * np.pi, periodic=True)
    for chart, wrong in ((fm.sphere_chart, grid), (fm.circle_chart, sphere(8)[0])):
        with pytest.raises(ValueError, match=f"`{chart.__name__}` was given coordinates of shape"):
            fm.InCoordinates(fm.SelfAttention(), chart)(0.0, wrong)
    with pytest.raises(ValueError, match="PairingFlow was given GridDensity"):
        fm.PairingFlow()(0.0, grid)


@pytest.mark.slow
def test_blow_up_times():
    # σ' = 2βσ² on the line; M' = 2βM² of the second moment under linear attention.
    start = fm.Gaussian(jnp.zeros(1), 0.9 * jnp.eye(1))
    time = fm.blow_up_time(fm.SelfAttention(beta=0.7), start)
    assert np.isclose(time, 1 / (2 * 0.7 * 0.9), rtol=1e-9)
    x = jr.normal(jr.key(0), (5, 1))
    blows = fm.blow_up_time(fm.LinearAttention(beta=0.5), fm.Particles(x))
    assert np.isclose(blows, 1 / np.mean(x**2), rtol=1e-7)
    assert fm.blow_up_time(fm.L2Attention(beta=0.5), start, horizon=20.0) == jnp.inf
    with pytest.raises(ValueError, match="`horizon`"):
        fm.blow_up_time(fm.L2Attention(), start, horizon=-1.0)


@pytest.mark.slow
def test_blow_up_times_have_their_derivative():
    line = lambda b: fm.blow_up_time(  # noqa: E731
        fm.SelfAttention(beta=b), fm.Gaussian(jnp.zeros(1), 0.9 * jnp.eye(1))
    )
    assert np.isclose(jax.grad(line)(0.7), -1 / (2 * 0.7**2 * 0.9), rtol=1e-5)
    plane = jnp.array([[1.0, 0.3], [0.3, 0.5]])
    time = fm.blow_up_time(fm.SelfAttention(beta=2.0), fm.Gaussian(jnp.ones(2), plane))
    assert np.isclose(time, 1 / (4 * np.linalg.eigvalsh(plane).max()), rtol=1e-9)


def test_pairs_in_the_time_of_the_limit():
    # tanh⁻¹⟨x_i, x_j⟩ grows at the rate α_j/α_i + α_i/α_j; the third stays.
    x = jnp.array([[1.0, 0.0, 0.0], [0.3, 0.8, 0.2], [-0.2, -0.5, 0.9]])
    mu = fm.Particles(x, weights=jnp.array([0.5, 0.2, 0.3]), space=fm.Sphere()).retract()
    end = fm.simulate(fm.PairingFlow(), mu, [0.0, 0.4], dt=0.02).final.x
    before, after = jnp.vdot(mu.x[0], mu.x[1]), jnp.vdot(end[0], end[1])
    assert np.isclose(jnp.arctanh(after), jnp.arctanh(before) + 0.4 * (0.4 + 2.5), rtol=1e-7)
    assert np.allclose(end[2], mu.x[2], atol=1e-15)
    # λ₁ scales β and λ₂ the time; the derivative of the first merge is that of differences.
    merges = jax.jit(lambda b, one, two: fm.pairing_dynamics(mu, b, 1e-3, one, two))
    plain, scaled = merges(20.0, 1.0, 1.0), merges(8.0, 2.5, 0.5)
    assert np.allclose(scaled.log_times, plain.log_times + np.log(2), rtol=1e-12)
    assert np.allclose(scaled.points, plain.points, atol=1e-12)
    slope, step = jax.jit(jax.grad(lambda b: merges(b, 1.0, 1.0).log_times[-1]))(20.0), 1e-4
    up, down = (merges(20.0 + s, 1.0, 1.0).log_times[-1] for s in (step, -step))
    assert np.isclose(slope, (up - down) / (2 * step), rtol=1e-6)
