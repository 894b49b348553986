"""Inverse problems with exact answers, and samplers of generative flows by their errors."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

NORMAL = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
MEANS = jnp.array([[2.0, 0.0], [-1.0, 1.0], [0.0, -2.0]])
COVS = jnp.array([[[0.3, 0.1], [0.1, 0.2]], [[0.1, 0.0], [0.0, 0.4]], [[0.2, -0.1], [-0.1, 0.2]]])
MIXTURE = fm.Particles((MEANS, COVS), weights=jnp.array([0.5, 0.3, 0.2]))
MATRIX, NOISE, Y = jnp.array([[1.0, 0.4]]), jnp.array([[0.09]]), jnp.array([0.6])


def density(mixture, x):
    """The density of a mixture at points."""
    parts = jax.vmap(lambda m, c: jax.vmap(fm.Gaussian(m, c).log_density)(x))(*mixture.x)
    return jnp.exp(mixture.log_weights()) @ jnp.exp(parts)


def test_posterior_of_a_mixture_is_bayes_rule():
    found = fm.linear_posterior(MIXTURE, MATRIX, Y, NOISE)
    line = jnp.linspace(-5.0, 5.0, 401)
    x = jnp.stack(jnp.meshgrid(line, line), -1).reshape(-1, 2)
    product = density(MIXTURE, x) * jnp.exp(-((Y - x @ MATRIX.T)[:, 0] ** 2) / (2 * NOISE[0, 0]))
    product = product / (jnp.sum(product) * (line[1] - line[0]) ** 2)
    np.testing.assert_allclose(density(found, x), product, atol=1e-10)
    one = fm.linear_posterior(fm.Gaussian(MEANS[0], COVS[0]), MATRIX, Y, NOISE)
    np.testing.assert_allclose(one.m, found.x[0][0])
    np.testing.assert_allclose(one.cov, found.x[1][0])


def test_guided_flow_of_a_gaussian_is_its_posterior():
    prior = fm.Gaussian(MEANS[0], COVS[0])
    exact = fm.StochasticInterpolant(NORMAL, fm.linear_posterior(prior, MATRIX, Y, NOISE))
    flow = fm.StochasticInterpolant(NORMAL, prior)
    for forward in (MATRIX, lambda x: MATRIX @ x):
        guided = fm.GuidedFlow(flow.velocity, forward, Y, NOISE)
        for t in (0.2, 0.7, 1.0):
            x = jnp.array([0.3, -0.8])
            np.testing.assert_allclose(
                guided.rates(t, x, None).velocity, exact.velocity(t, x), atol=1e-9
            )


def test_a_velocity_that_is_wrong_leaves_guided_points_where_data_are():
    """A network may take a variance for negative, of which R + A V Aᵀ would be singular."""
    prior = fm.StochasticInterpolant(NORMAL, fm.Gaussian(jnp.zeros(2), jnp.eye(2)))
    wrong = jnp.array([[0.0, 0.0], [0.0, 3.0]])
    velocity = lambda t, x: prior.velocity(t, x) - jnp.sin(jnp.pi * t) * (wrong @ x)  # noqa: E731
    start = fm.Particles(NORMAL.sample(jr.key(0), 50))

    @jax.jit
    def mean(y):
        law = fm.GuidedFlow(velocity, jnp.eye(2), jnp.stack([y, -y]), 1e-4 * jnp.eye(2))
        return fm.simulate(
            law, start, [0.0, 1.0], dt=0.1, solver=fm.ExponentialIntegrator()
        ).final.mean()

    # The first coordinate is right, and seen; of the second nothing is left to be corrected.
    np.testing.assert_allclose(mean(0.6)[0], 0.6, atol=0.01)
    assert abs(mean(0.6)[1]) < 1
    # Variances that are equal, of which eigenvectors have no derivative.
    slope = jax.jvp(mean, (0.6,), (1.0,))[1]
    np.testing.assert_allclose((mean(0.601) - mean(0.599)) / 0.002, slope, rtol=1e-5)


@pytest.mark.slow
def test_guided_flow_of_a_mixture_is_near_its_posterior():
    target = fm.linear_posterior(MIXTURE, MATRIX, Y, NOISE)
    flow = fm.StochasticInterpolant(NORMAL, MIXTURE)
    start = fm.Particles(NORMAL.sample(jr.key(0), 3000))
    exact = fm.StochasticInterpolant(NORMAL, target)
    ends = [
        fm.simulate(system, start, [0.0, 1.0], dt=0.01).final
        for system in (exact, fm.GuidedFlow(flow.velocity, MATRIX, Y, NOISE), flow)
    ]
    wanted = fm.Particles(exact.sample(jr.key(1), 3000)[1])
    right, guided, free = (float(fm.energy_distance(mu, wanted)) for mu in ends)
    # The noise of two samples of 3000 is 1e-3; without the observation the distance is 0.31.
    assert right < 3e-3 and guided < 0.05 < 0.25 < free


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: fm.linear_posterior(fm.Particles(MEANS), MATRIX, Y, NOISE), "`prior`"),
        (lambda: fm.linear_posterior(MIXTURE, MATRIX.T, Y, NOISE), "`matrix`"),
        (lambda: fm.linear_posterior(MIXTURE, MATRIX, Y, jnp.eye(2)), "`noise`"),
        (lambda: fm.linear_posterior(MIXTURE, MATRIX, Y * jnp.nan, NOISE), "`observation`"),
        (lambda: fm.GuidedFlow(lambda t, x: x, MATRIX, Y, jnp.eye(2)), "`noise`"),
        (lambda: fm.ExponentialIntegrator(order=3), "`order`"),
    ],
)
def test_refused(call, name):
    with pytest.raises(ValueError, match=name):
        call()


@pytest.mark.parametrize("schedule", [fm.LinearSchedule(), fm.TrigonometricSchedule()])
def test_exponential_steps_have_their_order_to_the_end(schedule):
    flow = fm.StochasticInterpolant(NORMAL, MIXTURE, schedule)
    start = fm.Particles(NORMAL.sample(jr.key(0), 50))

    def end(solver, dt):
        return fm.simulate(flow, start, [0.0, 1.0], dt=dt, solver=solver).final.x

    exact = end(diffrax.Dopri8(), 1 / 128)
    for order in (1, 2):
        solver = fm.ExponentialIntegrator(schedule, order)
        coarse, fine = (
            float(jnp.mean(jnp.linalg.norm(end(solver, dt) - exact, axis=1)))
            for dt in (1 / 32, 1 / 64)
        )
        assert abs(np.log2(coarse / fine) - order) < 0.3


def test_exponential_step_is_exact_for_one_atom():
    # The denoiser is constant: one step, from the start of the schedule to its end.
    flow = fm.StochasticInterpolant(NORMAL, fm.Particles(jnp.array([[1.0, -2.0]])))
    start = fm.Particles(NORMAL.sample(jr.key(0), 5))
    for order in (1, 2):
        run = fm.simulate(
            flow, start, [0.0, 1.0], dt=1.0, solver=fm.ExponentialIntegrator(order=order)
        )
        np.testing.assert_allclose(run.final.x, np.tile([1.0, -2.0], (5, 1)), atol=1e-9)


def test_corrector_keeps_the_law_and_forgets_a_wrong_start():
    # A prior on the line, started with half of its deviation: the flow alone keeps the mistake.
    target = fm.Gaussian(jnp.array([1.0]), jnp.array([[0.25]]))
    exact = fm.StochasticInterpolant(fm.Gaussian(jnp.zeros(1), jnp.eye(1)), target)
    start = fm.Particles(0.5 * jr.normal(jr.key(0), (4000, 1)))
    spread = {}
    for epsilon in (0.0, 2.0):
        law = fm.ProbabilityFlow(exact.velocity, exact.score, epsilon)
        final = fm.simulate(
            law, start, [0.0, 0.98], dt=0.02, key=jr.key(1), solver=fm.PredictorCorrector()
        ).final
        spread[epsilon] = float(jnp.std(final.x))
    wanted = np.sqrt(0.02**2 + 0.98**2 * 0.25)
    assert abs(spread[0.0] - 0.25) < 0.02
    # Three standard errors of a deviation of 4000 draws, and the bias of a step.
    assert abs(spread[2.0] - wanted) < 3 * wanted / np.sqrt(8000) + 0.02
    with pytest.raises(ValueError, match="PredictorCorrector"):
        fm.simulate(exact, start, [0.0, 0.5], dt=0.1, solver=fm.PredictorCorrector())


ONE = fm.StochasticInterpolant(NORMAL, fm.Particles(jnp.array([[1.0, -2.0]])))


def test_the_first_ancestral_step_forgets_where_it_starts():
    """All noise is fresh, in any rounding of the length of a step."""
    few = fm.Particles(NORMAL.sample(jr.key(0), 5))
    for steps in (3, 4, 5, 7, 9):
        ends = [
            fm.simulate(
                ONE, mu, [0.0, 0.5], steps=steps, solver=fm.AncestralSampling(jr.key(1))
            ).final.x
            for mu in (few, fm.Particles(few.x + 3))
        ]
        assert jnp.all(jnp.isfinite(ends[0]))
        np.testing.assert_allclose(ends[0], ends[1], atol=1e-7)


@pytest.mark.parametrize(
    "solver", [fm.StochasticChurn(jr.key(1), 4.0), fm.AncestralSampling(jr.key(1), 0.7)]
)
def test_noise_within_steps_keeps_the_law(solver):
    """To one atom the denoiser is constant: N(ta, (1 − t)²) in any number of steps."""
    for ts in ((0.0, 0.6), (0.3, 0.6)):
        start = fm.Particles(ts[0] * ONE.target.x + (1 - ts[0]) * jr.normal(jr.key(0), (4000, 2)))
        final = fm.simulate(ONE, start, ts, dt=0.1, solver=solver).final
        rest = (final.x - 0.6 * ONE.target.x) / 0.4
        np.testing.assert_allclose(jnp.mean(rest, 0), 0, atol=4 / 4000**0.5)
        np.testing.assert_allclose(jnp.cov(rest.T), jnp.eye(2), atol=4 * (2 / 4000) ** 0.5)
    # It is fresh noise: where points start matters less than for the flow, which keeps x − ta.
    assert abs(float(jnp.mean(rest * (start.x - 0.3 * ONE.target.x)))) < 0.63
    few = fm.Particles(start.x[:3])
    final = fm.simulate(ONE, few, [0.3, 1.0], dt=0.35, solver=solver).final
    np.testing.assert_allclose(final.x, np.tile(ONE.target.x, (3, 1)), atol=1e-9)
    with pytest.raises(ValueError, match="steps Particles"):
        fm.simulate(ONE, NORMAL, [0.0, 0.5], dt=0.1, solver=solver)


@pytest.mark.slow
def test_without_noise_they_are_the_flow_also_of_a_run_that_starts_late():
    flow = fm.StochasticInterpolant(NORMAL, MIXTURE)
    start = fm.Particles(NORMAL.sample(jr.key(0), 20))

    def end(dt, solver, law=flow, key=None):
        return fm.simulate(law, start, [0.4, 0.8], dt=dt, solver=solver, key=key).final.x

    exact = end(0.02, diffrax.Dopri8())
    second, first = fm.ExponentialIntegrator(), fm.ExponentialIntegrator(order=1)
    np.testing.assert_allclose(end(0.1, fm.StochasticChurn(jr.key(0), 0.0)), end(0.1, second))
    np.testing.assert_allclose(end(0.1, fm.AncestralSampling(jr.key(0), 0.0)), end(0.1, first))
    silent = fm.ProbabilityFlow(flow.velocity, flow.score, 0.0)
    corrector = dict(solver=fm.PredictorCorrector(), law=silent, key=jr.key(0))
    for order, options in ((2, dict(solver=second)), (1, dict(solver=first)), (2, corrector)):
        coarse, fine = (jnp.mean(jnp.abs(end(dt, **options) - exact)) for dt in (0.04, 0.02))
        assert abs(np.log2(coarse / fine) - order) < 0.25


def test_adaptive_exponential_steps():
    flow = fm.StochasticInterpolant(NORMAL, MIXTURE)
    start = fm.Particles(NORMAL.sample(jr.key(0), 20))
    exact = fm.simulate(flow, start, [0.0, 1.0], dt=1 / 128, solver=diffrax.Dopri8()).final.x
    gaps, steps = [], []
    for tolerance in (1e-3, 1e-5):
        run = fm.simulate(
            flow, start, [0.0, 1.0], solver=fm.ExponentialIntegrator(),
            stepsize_controller=diffrax.PIDController(tolerance, tolerance),
        )  # fmt: skip
        gaps.append(float(jnp.max(jnp.abs(run.final.x - exact))))
        steps.append(int(run.stats["num_steps"]))
    assert gaps[0] < 1e-2 and gaps[1] < 1e-4 and steps[0] < steps[1]


def test_churn_forgets_a_wrong_start():
    target = fm.Gaussian(jnp.array([1.0]), jnp.array([[0.25]]))
    flow = fm.StochasticInterpolant(fm.Gaussian(jnp.zeros(1), jnp.eye(1)), target)
    start = fm.Particles(0.5 * jr.normal(jr.key(0), (4000, 1)))
    spread = [
        float(jnp.std(fm.simulate(flow, start, [0.0, 1.0], dt=0.02, solver=solver).final.x))
        for solver in (fm.ExponentialIntegrator(), fm.StochasticChurn(jr.key(1), 10.0))
    ]
    # The flow multiplies by ½; with noise the deviation is that of the target, to its error.
    assert abs(spread[0] - 0.25) < 0.02 and abs(spread[1] - 0.5) < 4 * 0.5 / 8000**0.5 + 0.01


class Refined(eqx.Module):
    """Steps of `ExponentialIntegrator`, each in two dozen parts."""

    solver: fm.ExponentialIntegrator = fm.ExponentialIntegrator()
    schedule: fm.LinearSchedule = fm.LinearSchedule()

    def init(self, *given):
        return self.solver.init(*given)

    def step(self, terms, t0, t1, y0, *given):
        part = lambda k: t0 + (t1 - t0) * k / 24  # noqa: E731
        step = lambda k, y: self.solver.step(terms, part(k), part(k + 1), y, *given)[0]  # noqa: E731
        whole = self.solver.step(terms, t0, t1, y0, *given)
        return jax.lax.fori_loop(0, 24, step, y0), *whole[1:]


@pytest.mark.slow
def test_steps_with_churn_have_order_two():
    """Beside exact flow between the same noise, which keeps the law."""
    parts = jnp.array([[-1.0], [1.5]]), jnp.array([[[0.25]], [[0.16]]])
    target = fm.Particles(parts, weights=jnp.array([0.4, 0.6]))
    flow = fm.StochasticInterpolant(fm.Gaussian(jnp.zeros(1), jnp.eye(1)), target)
    start = fm.Particles(jr.normal(jr.key(0), (10_000, 1)))
    churn = fm.StochasticChurn(jr.key(1), 1.0)
    exact = eqx.tree_at(lambda s: s.solver, churn, Refined())
    gaps = []
    for n in (64, 256):
        ends = [
            fm.simulate(flow, start, [0.0, 1.0], dt=1 / n, solver=solver).final.x
            for solver in (churn, exact)
        ]
        gaps.append(float(jnp.mean(jnp.abs(ends[0] - ends[1]))))
    # Means of 10,000 gaps have relative errors of three percent.
    assert abs(np.log(gaps[0] / gaps[1]) / np.log(4) - 2) < 0.15 and gaps[0] < 5e-4


@pytest.mark.slow
def test_ancestral_steps_have_weak_order_one():
    parts = jnp.array([[-1.0], [1.5]]), jnp.array([[[0.04]], [[0.09]]])
    target = fm.Particles(parts, weights=jnp.array([0.4, 0.6]))
    flow = fm.StochasticInterpolant(fm.Gaussian(jnp.zeros(1), jnp.eye(1)), target)
    start = fm.Particles(jr.normal(jr.key(0), (200_000, 1)))
    exact = 0.4 * 1.04 + 0.6 * 2.34
    off = [
        float(jnp.mean(fm.simulate(
            flow, start, [0.0, 1.0], dt=h, solver=fm.AncestralSampling(jr.key(1))
        ).final.x ** 2)) - exact
        for h in (1 / 8, 1 / 16, 1 / 32)
    ]  # fmt: skip
    # Standard errors of 0.003 of errors 0.16, 0.08 and 0.04.
    assert abs(np.log2(off[0] / off[1]) - 1) < 0.25 and abs(np.log2(off[1] / off[2]) - 1) < 0.25
