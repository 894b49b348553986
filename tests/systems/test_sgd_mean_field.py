"""Wide shallow networks: noise of minibatches, temperature, lazy training, against closed forms."""

import jax
import jax.numpy as jnp
import jax.random as jr
import jaxtyping
import numpy as np
import pytest
from catalogue import regression

import flowjax_measures as fm

Z, Y = regression()
N = len(Y)
NETWORK = fm.ShallowNetwork(jnp.tanh, (Z, Y), regularization=0.1)
QUADRATIC = fm.PotentialEnergy(fm.Quadratic(1.0, 0.7)) + fm.InteractionEnergy(
    fm.QuadraticKernel(0.5)
)


def test_stochastic_mean_field_is_the_modified_flow_of_all_neurons():
    m, eta, batch, replacement = 4, 0.2, 2, False
    neurons = fm.initial.neurons(jr.key(0), m, 2)

    def loss(params, example):
        (u, v), (z, y) = params, example
        prediction = jnp.mean(v * jnp.tanh(u @ z))
        return m * (prediction - y) ** 2 + 0.05 * (jnp.sum(u**2) + jnp.sum(v**2))

    whole = fm.StochasticModifiedFlow(loss, (Z, Y), eta, batch, replacement=replacement)
    mean_field = fm.StochasticMeanField(NETWORK, eta, batch, order=2, replacement=replacement)
    first = fm.StochasticMeanField(NETWORK, eta, batch)

    @jax.jit
    def motions(x, dB):
        law, moved = whole.rates(0.0, x, None), mean_field(0.0, fm.Particles(x))
        here = moved.drift.x, moved.noise.apply((dB,)).x, first(0.0, fm.Particles(x)).drift.x
        return here, (law.velocity, law.noise.apply(x, dB), NETWORK(0.0, fm.Particles(x)).drift.x)

    here, there = motions(neurons.x, jr.normal(jr.key(1), (N,)))
    for a, b in zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_fluctuations_are_of_the_root_of_the_step_size():
    neurons = fm.initial.neurons(jr.key(0), 6, 2)

    @jax.jit
    def spread(eta):
        def run(key):
            system = fm.StochasticMeanField(NETWORK, eta)
            final = fm.simulate(system, neurons, [0.0, 0.5], dt=0.05, key=key).final
            return NETWORK.predictions(final)

        return jnp.sqrt(jnp.sum(jnp.var(jax.vmap(run)(jr.split(jr.key(1), 64)), axis=0)))

    # The same noise at every step size: no statistical error in the ratio.
    slope = np.log(spread(1e-2) / spread(1e-4)) / np.log(100)
    np.testing.assert_allclose(slope, 0.5, atol=0.01)


@pytest.mark.slow
def test_linear_network_under_shared_noise_is_gaussian_given_the_noise():
    network = fm.ShallowNetwork(lambda s: s, (Z, Y))
    system = fm.StochasticMeanField(network, 0.05)
    start = fm.Gaussian(jnp.zeros(3), jnp.eye(3) + 0.2)
    # Second moments are all that a linear network sees: four points have them exactly.
    root = np.linalg.cholesky(start.cov) * np.sqrt(3)
    cloud = fm.Particles(jnp.concatenate([root.T, -root.T]))

    def gap(key, dt):
        ends = [fm.simulate(system, mu, [0.0, 0.4], dt=dt, key=key).final for mu in (start, cloud)]
        return ends[0].cov - ends[1].mean(lambda x: jnp.outer(x, x))

    keys = jr.split(jr.key(3), 32)
    sizes = [
        np.sqrt(np.mean(np.square(jax.jit(jax.vmap(lambda key, dt=dt: gap(key, dt)))(keys))))
        for dt in (0.01, 0.0025)
    ]
    # The particles' Euler step holds σΣσᵀ dB², the closure its mean dt: strong order ½.
    slope = np.log(sizes[0] / sizes[1]) / np.log(4)
    assert 0.4 < slope < 0.9 and sizes[1] < 0.05


def test_lazy_training_follows_the_tangent_kernel():
    start = fm.initial.neurons(jr.key(0), 12, 2, paired=True)
    plain = fm.ShallowNetwork(jnp.tanh, (Z, Y))
    kernel = plain.tangent_kernel(start)
    np.testing.assert_allclose(plain.predictions(start), 0, atol=1e-15)
    values, vectors = np.linalg.eigh(kernel)
    decay = vectors @ np.diag(np.exp(-2 * values / N)) @ vectors.T
    exact = Y - decay @ Y
    errors = []
    for scale in (10.0, 40.0):
        network = fm.ShallowNetwork(jnp.tanh, (Z, Y), scale=scale)
        np.testing.assert_allclose(network.tangent_kernel(start), kernel, rtol=1e-12)
        final = fm.simulate(network, start, [0.0, 1.0], dt=0.02).final
        errors.append(np.abs(network.predictions(final) - exact).max())
    assert 3.4 < errors[0] / errors[1] < 17 and errors[1] < 0.02


def test_flow_descends_the_energy_for_any_scale_and_penalty():
    network = fm.ShallowNetwork(
        jax.nn.relu,
        (Z, Y),
        regularization=lambda x: jnp.linalg.norm(x[0]) * jnp.abs(x[1]),
        scale=3.0,
    )
    mu = fm.initial.neurons(jr.key(0), 5, 2, law="balanced")
    slope = jax.jit(jax.grad(lambda x: network.risk(fm.Particles(x))))(mu.x)
    drift = jax.jit(lambda x: network(0.0, fm.Particles(x)).drift.x)(mu.x)
    for a, b in zip(drift, slope, strict=True):
        np.testing.assert_allclose(a, -5 * b, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_homogeneous_training_keeps_the_balance():
    """σ of degree 2 keeps |u|² − 2 v² of every neuron."""
    network = fm.ShallowNetwork(lambda s: s**2, (Z, Y))
    start = fm.initial.neurons(jr.key(0), 8, 2, law="balanced")
    final = fm.simulate(network, start, [0.0, 0.3]).final
    u, v = final.x
    np.testing.assert_allclose(jnp.sum(u**2, -1) - 2 * v**2, -1, atol=1e-6)
    assert np.abs(v**2 - 1).max() > 0.05


def test_initial_neurons():
    with pytest.raises(ValueError, match="`n` is 5"):
        fm.initial.neurons(jr.key(0), 5, 2, paired=True)
    with pytest.raises((ValueError, jaxtyping.TypeCheckError), match="law"):
        fm.initial.neurons(jr.key(0), 4, 2, law="uniform")  # pyright: ignore[reportArgumentType]
    _, v = fm.initial.neurons(jr.key(0), 4, 3, 2, law="balanced", paired=True).x
    np.testing.assert_allclose(jnp.linalg.norm(v, axis=1), 1)
    np.testing.assert_array_equal(v[:2], -v[2:])


def test_fixed_point_of_quadratics():
    """Variance τ/(a + κ) about the potential's centre; its derivative in τ is 1/(a + κ)."""
    start = fm.Gaussian(jnp.zeros(1), jnp.eye(1))
    law = fm.MeanFieldLangevin(QUADRATIC, 0.3).fixed_point(start)
    np.testing.assert_allclose([law.m[0], law.cov[0, 0]], [0.7, 0.3 / 1.5], rtol=1e-10)
    variance = lambda tau: fm.MeanFieldLangevin(QUADRATIC, tau).fixed_point(start).cov[0, 0]  # noqa: E731
    np.testing.assert_allclose(jax.grad(variance)(0.3), 1 / 1.5, rtol=1e-8)
    with pytest.raises(ValueError, match="`mu`"):
        fm.MeanFieldLangevin(QUADRATIC).fixed_point(fm.initial.normal(jr.key(0), 3, 1))  # pyright: ignore


@pytest.mark.slow
def test_fixed_point_of_a_network_is_where_its_flow_rests():
    """Neurons (u, v) of one input: the Gibbs law on a grid is stationary for the grid's flow."""
    inputs = jnp.array([[1.0], [-0.5]])
    network = fm.ShallowNetwork(jnp.tanh, (inputs, jnp.array([0.4, -0.1])), regularization=1.0)
    system = fm.MeanFieldLangevin(network, 0.3)
    law = system.fixed_point(fm.GridDensity(jnp.ones((24, 24)), -2.5, 2.5))
    np.testing.assert_allclose(law.mass(), 1, rtol=1e-12)
    field = fm.Functional(network.risk).first_variation
    points, log_mass = law.atoms()
    constant = log_mass + jax.vmap(lambda x: field(x, law))(points) / 0.3
    np.testing.assert_allclose(constant - constant[0], 0, atol=1e-9)
    run = fm.simulate(system, law, [0.0, 0.2], dt=0.01)
    assert np.abs(run.final.rho - law.rho).max() < 0.02 * law.rho.max()


@pytest.mark.slow
def test_propagation_of_chaos_of_the_gaussian_case(n=8):
    """The joint law of n neurons is one point of R^n in n F: one marginal at 1/n², all at 1/n."""
    a, kappa, tau = 1.0, 0.5, 0.3

    def joint(x):
        return 0.5 * a * jnp.sum(x**2) + 0.25 * kappa / n * jnp.sum((x[:, None] - x[None]) ** 2)

    start = fm.Gaussian(jnp.zeros(n), 0.5 * jnp.eye(n))
    law = fm.simulate(fm.Langevin(joint, 1 / tau), start, [0.0, 20.0]).final
    limit = tau / (a + kappa)
    marginal = law.cov[0, 0] / limit
    np.testing.assert_allclose(marginal, 1 + kappa / a / n, rtol=1e-7)
    energy = fm.PotentialEnergy(fm.Quadratic(a)) + fm.InteractionEnergy(fm.QuadraticKernel(kappa))
    one = fm.MeanFieldLangevin(energy, tau).fixed_point(fm.Gaussian(jnp.zeros(1), jnp.eye(1)))
    np.testing.assert_allclose(one.cov[0, 0], limit, rtol=1e-9)
    # KL to the limit: of the whole law ½(r − 1 − log r), r = (a + κ)/a, so 1/n for each neuron.
    whole = (jnp.trace(law.cov) / limit - n - jnp.linalg.slogdet(law.cov / limit)[1]) / 2
    np.testing.assert_allclose(whole, (0.5 - np.log(1.5)) / 2, rtol=1e-6)
    single = (marginal - 1 - jnp.log(marginal)) / 2
    ratio = kappa / a / n
    np.testing.assert_allclose(single, (ratio - np.log1p(ratio)) / 2, rtol=1e-5)


@pytest.mark.slow
def test_self_interacting_walker_has_the_fixed_points_moments():
    """Its mean drift depends on the past's mean alone: a linear SDE in (X, m), known covariance."""
    forgetting, tau = 0.2, 0.3
    system = fm.SelfInteractingLangevin(QUADRATIC, tau, forgetting)
    k = 128
    walker = jr.normal(jr.key(0), (k, 1, 1))

    def run(x, key):
        state = {"walkers": fm.Particles(x), "past": fm.Gaussian(jnp.zeros(1), jnp.eye(1))}
        return fm.simulate(
            system, state, [0.0, 50.0, 80.0], dt=0.05, key=key,
            observe={"x": lambda s: s["walkers"].x[0, 0], "m": lambda s: s["past"].m[0],
                     "v": lambda s: s["past"].cov[0, 0]},
        ).ys  # fmt: skip

    ys = jax.vmap(run)(walker, jr.split(jr.key(1), k))
    # Stationary: ẋ = −x − ½(x − m) + noise, ṁ = λ(x − m), about 0.7.
    b = np.array([[1.5, -0.5], [-forgetting, forgetting]])
    cov = np.linalg.solve(
        np.kron(b, np.eye(2)) + np.kron(np.eye(2), b), [2 * tau, 0, 0, 0]
    ).reshape(2, 2)
    x, m = np.asarray(ys["x"][:, 1:]), np.asarray(ys["m"][:, 1:])
    for value, variance in ((x, cov[0, 0]), (m, cov[1, 1])):
        assert abs(value.mean() - 0.7) < 4 * np.sqrt(variance / k)
        assert abs(value.var() / variance - 1) < 4 * np.sqrt(2 / k)
    spread = np.asarray(ys["v"][:, 1:]).mean(1)
    truth = cov[0, 0] - 2 * cov[0, 1] + cov[1, 1]
    assert abs(spread.mean() - truth) < 4 * spread.std() / np.sqrt(k)


@pytest.mark.slow
def test_past_on_a_grid_keeps_mass_and_mean():
    system = fm.SelfInteractingLangevin(QUADRATIC, 0.3, 0.5)
    walkers = fm.Particles(jnp.array([[0.31], [1.27]]))
    grid = fm.GridDensity(jnp.full(40, 1 / 8.0), -4.0, 4.0)
    drift = jax.jit(lambda w, p: system(0.0, {"walkers": w, "past": p}).drift)(walkers, grid)
    centres = grid.centres()[:, 0]
    cell = grid.cell
    np.testing.assert_allclose(jnp.sum(drift["past"].rho) * cell, 0, atol=1e-14)
    first = jnp.sum(drift["past"].rho * centres) * cell
    np.testing.assert_allclose(first, 0.5 * (0.79 - grid.mean()[0]), rtol=1e-12)
    with pytest.raises(ValueError, match="`past`"):
        system(0.0, {"walkers": walkers, "past": walkers})


@pytest.mark.slow
def test_past_of_self_interacting_walkers_is_the_fixed_point():
    """A double well with attraction: what 64 walkers have visited against the Gibbs law."""
    energy = fm.PotentialEnergy(lambda x: jnp.sum((x**2 - 1) ** 2)) + fm.InteractionEnergy(
        fm.QuadraticKernel(0.5)
    )
    grid = fm.GridDensity(jnp.full(40, 1 / 5.0), -2.5, 2.5)
    gibbs = fm.MeanFieldLangevin(energy, 0.6).fixed_point(grid)
    walkers = fm.Particles(jnp.tile(jnp.array([[-1.0], [1.0]]), (32, 1)))
    system = fm.SelfInteractingLangevin(energy, 0.6, 0.05)
    state = {"walkers": walkers, "past": grid}
    run = fm.simulate(system, state, [0.0, 150.0], dt=0.01, key=jr.key(0))
    past = run.final["past"]
    np.testing.assert_allclose(past.mass(), 1, rtol=1e-9)
    # 64 walkers over 2/λ = 40 correlation times of about 2: an error of about 1/√1280 a bin.
    assert jnp.sum(jnp.abs(past.rho - gibbs.rho)) * past.cell < 0.1
    assert jnp.sum(jnp.abs(grid.rho - gibbs.rho)) * past.cell > 0.3


WAVE = fm.ShallowNetwork(
    jnp.tanh, (jnp.linspace(-2.0, 2.0, 6)[:, None], jnp.sin(jnp.linspace(-2.0, 2.0, 6)))
)


def _predictions_under_one_noise(mu):
    law = fm.StochasticMeanField(WAVE, 0.05)
    run = fm.simulate(law, mu, [0.0, 0.5], dt=0.05, key=jr.key(1))
    return WAVE.predictions(run.final)


def test_neurons_go_to_their_limit_under_one_noise_at_the_root_of_their_number():
    draw = lambda key, n: fm.Particles(jr.normal(key, (n, 2)))  # noqa: E731
    many = jax.jit(jax.vmap(lambda key: _predictions_under_one_noise(draw(key, 4096))))
    limit = jnp.mean(many(jr.split(jr.key(2), 8)), 0)
    sizes, errors = (16, 64, 256), []
    for n in sizes:
        few = jax.jit(jax.vmap(lambda key, n=n: _predictions_under_one_noise(draw(key, n))))
        gaps = few(jr.split(jr.key(3), 64)) - limit
        errors.append(float(jnp.sqrt(jnp.mean(gaps**2))))
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    # 64 runs of each size know an error to a tenth.
    np.testing.assert_allclose(slope, -0.5, atol=0.08)


@pytest.mark.slow
def test_the_equation_of_the_law_on_a_grid_under_the_same_noise():
    """The conservative SPDE itself, against many neurons, converging with the cells."""
    draw = lambda key: fm.Particles(jr.normal(key, (4096, 2)))  # noqa: E731
    many = jax.vmap(lambda key: _predictions_under_one_noise(draw(key)))(jr.split(jr.key(2), 16))
    error = float(jnp.max(jnp.std(many, 0))) / 4
    gaps = []
    for cells in (20, 40):
        ends = jnp.full(2, -5.0), jnp.full(2, 5.0)
        grid = fm.GridDensity(jnp.ones((cells, cells)), *ends)
        square = jnp.sum(grid.centres() ** 2, -1)
        rho = jnp.exp(-square / 2)
        mu = fm.GridDensity(rho / (rho.sum() * grid.cell), *ends)
        law = fm.StochasticMeanField(WAVE, 0.05)
        run = fm.simulate(law, mu, [0.0, 0.5], dt=0.05, key=jr.key(1))
        np.testing.assert_allclose(run.final.rho.sum() * grid.cell, 1, rtol=1e-12)
        gaps.append(float(jnp.max(jnp.abs(WAVE.predictions(run.final) - many.mean(0)))))
    assert gaps[1] < gaps[0] / 2 + 4 * error
