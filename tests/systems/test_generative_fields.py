"""Velocity, score and density asked in one way; likelihoods, exact and by random signs."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import multivariate_normal

import flowjax_measures as fm

NORMAL = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
MEANS = jnp.array([[1.0, 0.5], [-1.0, 0.2], [0.3, -1.4]])
COVS = jnp.array([[[0.3, 0.1], [0.1, 0.2]], [[0.2, 0.0], [0.0, 0.4]], [[0.1, -0.05], [-0.05, 0.3]]])
MASSES = jnp.array([0.5, 0.3, 0.2])
X = jnp.array([0.4, -0.2])


def continuity(fields, t, x):
    """∂_t log ρ + ∇·b + ⟨b, s⟩, which is 0."""
    velocity, score, log_density = fields
    slope = jax.grad(lambda t: log_density(t, x))(t)
    return slope + jnp.trace(jax.jacfwd(lambda x: velocity(t, x))(x)) + velocity(t, x) @ score(t, x)


@pytest.mark.slow
def test_a_mixture_in_closed_form():
    """Towards a mixture of normals: ρ_t is a mixture with (1 − t)² + t² C_k."""
    flow = fm.StochasticInterpolant(NORMAL, fm.Particles((MEANS, COVS), jnp.log(MASSES)))
    t = 0.6
    parts = [
        fm.Gaussian(t * m, (1 - t) ** 2 * jnp.eye(2) + t**2 * c)
        for m, c in zip(MEANS, COVS, strict=True)
    ]
    exact = lambda x: jax.nn.logsumexp(  # noqa: E731
        jnp.stack([p.log_density(x) for p in parts]) + jnp.log(MASSES)
    )
    fields = fm.flow_fields(flow)
    np.testing.assert_allclose(fields.log_density(t, X), exact(X), rtol=1e-12)
    np.testing.assert_allclose(fields.score(t, X), jax.grad(exact)(X), rtol=1e-10)
    np.testing.assert_allclose(continuity(fields, t, X), 0, atol=1e-12)


@pytest.mark.slow
def test_likelihoods_exact_and_by_random_signs():
    flow = fm.StochasticInterpolant(NORMAL, fm.Particles((MEANS, COVS), jnp.log(MASSES)))
    t, exact = 0.6, lambda x: flow.log_density(0.6, x)
    data = jnp.stack([X, -X, jnp.array([1.2, 0.7])])
    found = fm.log_likelihood(flow, data, NORMAL, horizon=t)
    np.testing.assert_allclose(found, jax.vmap(exact)(data), atol=1e-6)
    # Random signs: without a bias, so the mean over draws is the exact value.
    many = jax.vmap(
        lambda key: fm.log_likelihood(
            flow, data, NORMAL, horizon=t, divergence="hutchinson", key=key, dt=0.05
        )
    )(jr.split(jr.key(0), 200))
    error = jnp.std(many, axis=0) / 200**0.5
    assert jnp.all(error > 1e-4)
    assert jnp.all(jnp.abs(jnp.mean(many, axis=0) - found) < 4 * error + 1e-4)


def test_signs_along_all_axes_are_the_trace():
    """A linear velocity with a diagonal matrix: ⟨z, Az⟩ is its trace for any signs."""
    rates = jnp.array([0.3, -0.7])
    flow, data = fm.ProbabilityFlow(lambda t, x: rates * x), jnp.stack([X, -2 * X])
    options = dict(divergence="hutchinson", key=jr.key(0), horizon=0.5)
    found = fm.log_likelihood(flow, data, NORMAL, **options)
    grown = fm.Gaussian(jnp.zeros(2), jnp.diag(jnp.exp(rates)))
    np.testing.assert_allclose(found, jax.vmap(grown.log_density)(data), atol=1e-6)


@pytest.mark.slow
def test_likelihood_and_its_slope_in_fifty_dimensions():
    """Of ẋ = (1 + s)Ax with A = −Aᵀ + 0.1, whose flow is e^{0.1(1 + s)} times a rotation."""
    d, s = 50, 0.2
    turn = jr.normal(jr.key(0), (d, d)) / d**0.5
    turn = turn - turn.T + 0.1 * jnp.eye(d)
    data, source = jr.normal(jr.key(1), (3, d)), fm.Gaussian(jnp.zeros(d), jnp.eye(d))

    def found(s):
        flow = fm.ProbabilityFlow(lambda t, x: (1 + s) * turn @ x)
        options = dict(dt=0.01, solver=diffrax.Dopri5())
        return fm.log_likelihood(flow, data, source, **options)

    squares, size = jnp.sum(data**2, 1), jnp.exp(-0.2 * (1 + s))
    exact = -squares * size / 2 - d * (np.log(2 * np.pi) / 2 + 0.1 * (1 + s))
    slope = 0.1 * squares * size - 0.1 * d
    value, forward = jax.jit(lambda s: jax.jvp(found, (s,), (1.0,)))(s)
    backward = jax.jit(jax.grad(lambda s: jnp.sum(found(s))))(s)
    np.testing.assert_allclose(value, exact, rtol=1e-8)
    np.testing.assert_allclose(forward, slope, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(backward, jnp.sum(slope), rtol=1e-6)


@pytest.mark.slow
def test_the_fields_of_kac_flows_and_bridges():
    atoms = fm.Particles(jnp.array([[0.5, 0.1], [-0.4, 0.3]]))
    t, x = 0.3, jnp.array([0.2, 0.1])
    kac = fm.KacFlow(atoms, damping=2.0, speed=1.5, horizon=1.0)
    fields = fm.flow_fields(kac)
    np.testing.assert_allclose(fields.velocity(t, x), kac.rates(t, x, None).velocity, rtol=1e-14)
    np.testing.assert_allclose(continuity(fields, t, x), 0, atol=1e-10)
    bridge = fm.schroedinger_bridge(NORMAL, fm.Gaussian(jnp.ones(2), 0.5 * jnp.eye(2)), 0.7)
    np.testing.assert_allclose(continuity(fm.flow_fields(bridge), t, x), 0, atol=1e-10)


def test_velocities_without_a_time():
    atoms, x = fm.Particles(jnp.array([[0.5, 0.1], [-0.4, 0.3]])), jnp.array([0.2, 0.1])
    linear = fm.StochasticInterpolant(NORMAL, atoms)
    matching = fm.EquilibriumMatching(linear)
    np.testing.assert_array_equal(matching.velocity(0.2, x), matching.velocity(x))
    poisson = fm.PoissonFlow(NORMAL, atoms)
    fields = fm.flow_fields(poisson)
    np.testing.assert_array_equal(fields.velocity(0.2, x), poisson.rates(0.2, x, None).velocity)
    with pytest.raises(ValueError, match="`log_density`"):
        fields.score(0.2, x)


def test_wrong_arguments_are_named():
    flow = fm.ProbabilityFlow(lambda t, x: -x)
    for name, options in {
        "`key`": dict(divergence="hutchinson"),
        "`divergence`": dict(divergence="trace"),
        "`probes`": dict(probes=0),
    }.items():
        with pytest.raises(ValueError, match=name):
            fm.LogLikelihood(flow, **options)
    with pytest.raises(ValueError, match="`source`"):
        fm.log_likelihood(flow, MEANS, fm.Particles(MEANS))


@pytest.mark.parametrize("flow", [
    fm.StochasticInterpolant(NORMAL, fm.Particles((MEANS, COVS))),
    fm.GuidedFlow(lambda t, x: -x, jnp.eye(2), jnp.zeros(2), jnp.eye(2)),
    fm.KacFlow(fm.Particles(jnp.ones((2, 2))), horizon=0.7),
    fm.StochasticInterpolant(NORMAL, fm.Particles((MEANS, COVS))) + fm.Custom(lambda t, x, mu: x),
])  # fmt: skip
def test_times_outside_of_a_flow_are_named(flow):
    start, last = fm.Particles(jnp.ones((3, 2))), float(flow.span[1])
    for ts in ([0.0, last + 0.1], [-0.1, last]):
        with pytest.raises(ValueError, match="`ts` goes from"):
            fm.simulate(flow, start, ts, dt=0.1)
    velocity = lambda t: flow.rates(t, jnp.ones(2), None).velocity  # noqa: E731
    if not isinstance(flow, fm.GuidedFlow):
        assert jnp.all(jnp.isfinite(velocity(last - 1e-3)))
    with pytest.raises(ValueError, match="`t` is"):
        velocity(last + 0.1)
    # Compiled code cannot raise.
    assert jnp.all(jnp.isnan(jax.jit(velocity)(last + 0.1)))
    for method in ("velocity", "score", "log_density"):
        if hasattr(flow, method) and not isinstance(flow, fm.GuidedFlow):
            with pytest.raises(ValueError, match="`t` is"):
                getattr(flow, method)(-0.1, jnp.ones(2))
    denoiser = fm.PreconditionedDenoiser(lambda t, x: x)
    for call in (denoiser, denoiser.velocity, denoiser.score):
        with pytest.raises(ValueError, match="`t` is"):
            call(1.1, jnp.ones(2))


@pytest.mark.parametrize("target", [
    fm.Gaussian(MEANS[0], COVS[0]),
    pytest.param(fm.Particles((MEANS, COVS)), marks=pytest.mark.slow),
])  # fmt: skip
def test_the_error_of_a_score_is_known_along_the_paths(target):
    """A score that is off by a field, of which a part turns: the residual carries it on."""
    flow = fm.StochasticInterpolant(NORMAL, target)
    wrong = jnp.array([[0.1, 0.05], [-0.02, 0.0]])
    field = lambda t, x: (1 - t) * (wrong @ x) + 0.03 * jnp.sin(x[::-1])  # noqa: E731
    law = fm.ProbabilityFlow(flow.velocity, lambda t, x: flow.score(t, x) + field(t, x), 0.5)
    found = fm.score_error(law, NORMAL, key=jr.key(0), n=20, horizon=0.8, dt=0.02)
    exact = jax.vmap(lambda x: field(0.8, x))(found.points)
    np.testing.assert_allclose(found.errors, exact, atol=2e-4 * float(jnp.max(jnp.abs(exact))))
    with pytest.raises(ValueError, match="`flow`"):
        fm.score_error(fm.ProbabilityFlow(flow.velocity), NORMAL, key=jr.key(0))


def test_the_gap_of_flow_and_diffusion_is_bounded():
    """Between Gaussians, where both laws are Gaussian and their divergence is a formula."""
    source, target = (
        fm.Gaussian(jnp.zeros(1), jnp.eye(1)),
        fm.Gaussian(jnp.ones(1), 0.3 * jnp.eye(1)),
    )
    exact = fm.StochasticInterpolant(source, target)
    for size in (0.1, 0.4):
        score = lambda t, x, size=size: exact.score(t, x) + size * x  # noqa: E731
        law = fm.ProbabilityFlow(exact.velocity, score, 0.5)
        found = fm.score_error(law, source, key=jr.key(0), n=2000, horizon=0.9, dt=0.03)
        flow = fm.simulate(fm.ProbabilityFlow(exact.velocity), source, [0.0, 0.9]).final
        diffusion = fm.simulate(law, source, [0.0, 0.9]).final
        gap = float(fm.kl_divergence(flow, diffusion))
        # ¼ ∫ ½ size² E X² dt, of X the flow.
        t = np.linspace(0, 0.9, 1001)
        wanted = size**2 / 8 * np.trapezoid((1 - t) ** 2 + 1.3 * t**2, t)
        assert abs(found.bound - wanted) < 4 * found.standard_error + 1e-3 * wanted
        assert 0.02 * found.bound < gap < found.bound


def test_laws_of_any_mass_and_of_mixtures():
    """log-densities are those of the normalised data; mixtures are taken part by part."""
    sigma, x, weights = 0.5, jnp.array([0.3, -0.2]), jnp.array([0.6, 1.4])
    covs = jnp.stack([jnp.diag(jnp.array([0.3, 1.0])), jnp.array([[1.0, 0.3], [0.3, 0.5]])])
    means = jnp.array([[0.0, 0.1], [1.0, -0.5]])
    for covariances in (covs, jnp.zeros((2, 2, 2))):
        spread = np.asarray(covariances) + sigma**2 * np.eye(2)
        parts = [multivariate_normal(m, c).pdf(x) for m, c in zip(means, spread, strict=True)]
        masses = np.array([0.3, 0.7]) * parts
        ends = [
            m + c @ np.linalg.solve(s, x - m)
            for m, c, s in zip(means, covariances, spread, strict=True)
        ]
        data = fm.Particles((means, covariances), weights=weights)
        data = data if covariances.any() else fm.Particles(means, weights=weights)
        blind = fm.BlindDenoising(data, jnp.array([sigma]), 0.1)
        log, mean = jax.jit(lambda x, b=blind: (b.log_density(sigma, x), b.denoiser(x)))(x)
        np.testing.assert_allclose(log, np.log(masses.sum()), rtol=1e-12)
        np.testing.assert_allclose(mean, masses / masses.sum() @ ends, rtol=1e-10)
    charges, sink = fm.Particles((means, covs), weights=weights), fm.Particles(jnp.ones((1, 2)))
    lone = [fm.Gaussian(m, c) for m, c in zip(means, covs, strict=True)]
    velocities = jax.jit(
        lambda x: [fm.PoissonFlow(mu, sink).velocity(0.0, x) for mu in (charges, *lone)]
    )
    whole, one, two = velocities(x)
    np.testing.assert_allclose(whole, 0.3 * one + 0.7 * two, rtol=1e-12)


def test_kac_flow_past_its_fronts_and_of_laws_without_atoms():
    atoms, one = jnp.array([[0.5, 0.1], [-0.4, 0.3]]), jnp.array([0.2, 0.8])
    flow, heavy = (fm.KacFlow(fm.Particles(atoms, weights=k * one)) for k in (1, 10))
    x = jnp.array([0.2, 0.1])
    both = jax.jit(lambda s, x: (flow.log_density(s, x), heavy.log_density(s, x), flow.score(s, x)))
    np.testing.assert_allclose(*both(0.9, x)[:2], rtol=1e-12)
    density, _, score = both(0.9, jnp.array([0.5, 1e4]))
    assert density == -jnp.inf and not score.any()
    # At an atom at time 0: the limit of (a/2c)² w, and nowhere to go.
    density, _, score = both(0.0, atoms[1])
    np.testing.assert_allclose(density, np.log(0.8 / 4), rtol=1e-12)
    assert not score.any()
    for data in (NORMAL, fm.Particles((MEANS, COVS))):
        with pytest.raises(ValueError, match="`data` has no atoms"):
            fm.KacFlow(data).velocity(0.5, x)
