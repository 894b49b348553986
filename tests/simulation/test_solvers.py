"""Every kind of solver: the right law or order, or an error that names `solver`."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.linalg
from catalogue import tokens

import flowjax_measures as fm
from flowjax_measures.measures import Increment

N = 4000


class Geometric(fm.AbstractMeanField):
    """dX = aX dt + bX dW: E X(1) is e^a (Itô) or e^{a + b²/2}, Var log X(1) = b² in both."""

    a: float = 0.2
    b: float = 0.5

    def rates(self, t, x, mu):
        return fm.Rates(self.a * x, fm.Diagonal(self.b * x))


class StratonovichGeometric(Geometric):
    calculus = "stratonovich"


class Ornstein(fm.AbstractMeanField):
    def rates(self, t, x, mu):
        return fm.Rates(-x, fm.Isotropic(1.0))


ONES, ZEROS = fm.Particles(jnp.ones((N, 1))), fm.Particles(jnp.zeros((N, 1)))
VARIANCE = (1 - np.exp(-2)) / 2


def moments(system, mu, solver, **options):
    options = {"dt": 0.05, "key": jr.key(0)} | options
    x = fm.simulate(system, mu, [0.0, 1.0], solver=solver, **options).final.x[:, 0]
    return float(jnp.mean(x)), float(jnp.var(x))


LONG = [pytest.param(name, marks=pytest.mark.slow) for name in (
    "Midpoint", "Tsit5", "StratonovichMilstein", "GeneralShARK", "SlowRK")]  # fmt: skip
STRATONOVICH = ["Heun", "EulerHeun", "SPaRK", *LONG]


@pytest.mark.parametrize("name", STRATONOVICH)
def test_both_calculi_by_stratonovich_solvers(name):
    """Itô noise is converted: the mean of log X is that of its own calculus."""
    solver = getattr(diffrax, name)()
    for system, drift in ((Geometric(), 0.2 - 0.125), (StratonovichGeometric(), 0.2)):
        run = fm.simulate(system, ONES, [0.0, 1.0], dt=0.05, key=jr.key(0), solver=solver)
        logs = np.log(np.asarray(run.final.x[:, 0]))
        # Four standard errors, and a weak error of order dt.
        assert abs(logs.mean() - drift) < 4 * 0.5 / np.sqrt(N) + 0.01
        assert abs(logs.var() - 0.25) < 4 * 0.25 * np.sqrt(2 / N) + 0.01


def test_stratonovich_noise_by_an_ito_solver():
    mean, _ = moments(StratonovichGeometric(), ONES, diffrax.Euler())
    spread = np.exp(0.325) * np.sqrt(np.expm1(0.25))
    assert abs(mean - np.exp(0.325)) < 4 * spread / np.sqrt(N) + 0.02


def test_the_drift_between_calculi_of_shared_noise_and_of_dense_matrices():
    """½ Σ (Dσ_k) σ_k of σ = (sin x₂, x₁²; cos x₁, x₂), by hand."""

    def sigma(x):
        return jnp.array([[jnp.sin(x[1]), x[0] ** 2], [jnp.cos(x[0]), x[1]]])

    x = jnp.array([[0.3, -0.7], [1.1, 0.4], [0.2, 0.9]])
    slopes = jax.vmap(jax.jacfwd(sigma))(x)
    by_hand = jnp.einsum("nikj,njk->ni", slopes, jax.vmap(sigma)(x)) / 2
    from flowjax_measures.simulation._calculus import Corrected

    for wrap in (fm.Dense, fm.Common):
        law = fm.Custom(lambda t, x, mu, wrap=wrap: fm.Rates(0 * x, wrap(sigma(x))))
        found = Corrected(law, 1)(0.0, fm.Particles(x)).drift.x
        np.testing.assert_allclose(found, by_hand, rtol=1e-12)


def test_noise_of_ones_own_that_sees_the_others_is_not_converted():
    law = fm.Custom(lambda t, x, mu: fm.Rates(-x, fm.Diagonal(x - mu.mean())))
    with pytest.raises(ValueError, match="`solver`: Heun is for Stratonovich"):
        moments(law, ONES, diffrax.Heun())


@pytest.mark.parametrize("name", ["ShARK", "SEA", pytest.param("SRA1", marks=pytest.mark.slow)])
def test_additive_noise(name):
    _, variance = moments(Ornstein(), ZEROS, getattr(diffrax, name)())
    assert abs(variance - VARIANCE) < 4 * VARIANCE * np.sqrt(2 / N) + 0.005


@pytest.mark.slow
def test_strong_order_of_additive_noise():
    """ShARK has order 3/2 where Euler has 1: the end against ∫ e^{-(1−t)} dW of its own path."""
    keys = jr.key(7)
    fine = fm.simulate(Ornstein(), ZEROS, [0.0, 0.4], dt=0.1, key=keys, solver=diffrax.ShARK())
    # By the first two terms of the integrating factor over a step: W and its space-time area.
    from flowjax_measures.simulation._brownian import StepKeyed, increment

    path = StepKeyed(keys, (jax.ShapeDtypeStruct((N, 1), float),), 2)
    h, x = 0.1, jnp.zeros((N, 1))
    for k in range(4):
        area = increment(path.one(jnp.int32(k)), jnp.asarray(h), use_levy=True)
        integral = h * (area.W[0] / 2 + area.H[0])  # ∫ W over the step
        x = np.exp(-h) * x + area.W[0] - integral * (1 - h / 2)
    gap = float(jnp.sqrt(jnp.mean((fine.final.x - x) ** 2)))
    assert gap < 0.02 * h  # Euler's is 0.3 h.


@pytest.mark.parametrize("event", [
    None, pytest.param(lambda t, mu: t > 5.0, marks=pytest.mark.slow)])  # fmt: skip
def test_parts_of_a_step_are_parts_of_its_increment(event):
    half = diffrax.HalfSolver(diffrax.Euler())
    _, variance = moments(Ornstein(), ZEROS, half, event=event)
    assert abs(variance - VARIANCE) < 4 * VARIANCE * np.sqrt(2 / N) + 0.02


@pytest.mark.parametrize("name", ["ALIGN", *(
    pytest.param(name, marks=pytest.mark.slow) for name in ("ShOULD", "QUICSORT"))])  # fmt: skip
def test_langevins_own_solvers(name):
    at_rest = fm.Particles(fm.Phase(jnp.zeros((1000, 2)), jnp.zeros((1000, 2))))
    law = fm.UnderdampedLangevin(lambda q: jnp.sum(q**2), friction=2.0, beta=1.5)
    run = fm.simulate(
        law, at_rest, [0.0, 6.0], dt=0.2, key=jr.key(1), solver=getattr(diffrax, name)(0.1)
    )
    for half, variance in ((run.final.x.q, 1 / 3), (run.final.x.p, 2 / 3)):
        assert abs(float(jnp.var(half)) / variance - 1) < 4 * np.sqrt(2 / 2000) + 0.02


REFUSED = [
    (Ornstein(), ZEROS, diffrax.ItoMilstein()),
    (Ornstein(), ZEROS, diffrax.ReversibleHeun()),
    (Ornstein(), ZEROS, diffrax.LeapfrogMidpoint()),
    (Ornstein(), ZEROS, diffrax.ImplicitEuler()),
    (Ornstein(), ZEROS, diffrax.KenCarp4()),
    (Ornstein(), ZEROS, diffrax.ALIGN(0.1)),
    (Geometric(), ONES, diffrax.ShARK()),
    (fm.Custom(lambda t, x, mu: -x), ONES, diffrax.Sil3()),
    (fm.Custom(lambda t, x, mu: -x), ONES, diffrax.SemiImplicitEuler()),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda c: type(c[2]).__name__)
def test_what_a_solver_cannot_do_is_said(case):
    system, mu, solver = case
    with pytest.raises(ValueError, match="`solver`"):
        fm.simulate(system, mu, [0.0, 1.0], dt=0.1, key=jr.key(0), solver=solver)


SPIN = fm.Custom(lambda t, x, mu: jnp.array([[-0.5, 2.0], [-2.0, -0.5]]) @ x + jnp.sin(t))
PAIR = fm.Particles(jnp.array([[1.0, 0.0], [0.2, -1.0]]))


@pytest.mark.parametrize("name", ["LeapfrogMidpoint", "ReversibleHeun", "Tsit5"])
def test_observing_more_changes_nothing(name):
    """… to the bit; and multistep schemes are diffrax's own."""
    solver = getattr(diffrax, name)()
    runs = [
        fm.simulate(SPIN, PAIR, np.linspace(0.3, 2.3, n), dt=0.1, solver=solver).final.x
        for n in (2, 21)
    ]
    np.testing.assert_array_equal(*runs)
    field = lambda t, y, args: y @ jnp.array([[-0.5, 2.0], [-2.0, -0.5]]).T + jnp.sin(t)  # noqa: E731
    term = diffrax.ODETerm(field)
    peer = diffrax.diffeqsolve(term, solver, 0.3, 2.3, 0.1, PAIR.x).ys[-1]
    np.testing.assert_allclose(runs[0], peer, atol=1e-12)


def test_split_solvers():
    stiff = fm.Custom(lambda t, x, mu: -50.0 * (x - jnp.cos(t)))
    soft = fm.Custom(lambda t, x, mu: mu.mean() - x)
    mu = fm.Particles(jnp.array([[1.0], [0.5], [2.0]]))
    truth = fm.simulate(soft + stiff, mu, [0.0, 0.5]).final.x
    for solver, law in (
        (diffrax.KenCarp4(), fm.Stiff(stiff) + soft),
        (diffrax.Sil3(), soft + stiff),
    ):
        found = fm.simulate(law, mu, [0.0, 0.5], solver=solver).final.x
        np.testing.assert_allclose(found, truth, atol=3e-6)
    swing = fm.Custom(lambda t, x, mu: fm.Phase(x.p, -jnp.sin(x.q)))
    ball = fm.Particles(fm.Phase(jnp.full((1, 1), 0.5), jnp.zeros((1, 1))))
    energy = lambda mu: (mu.x.p**2 / 2 - jnp.cos(mu.x.q))[0, 0]  # noqa: E731
    run = fm.simulate(
        swing, ball, np.linspace(0, 100, 11), dt=0.1, solver=diffrax.SemiImplicitEuler(),
        observe=energy,
    )  # fmt: skip
    assert np.ptp(run.ys) < 0.02  # No drift in a thousand steps.


IMPLICIT = diffrax.Kvaerno3(root_finder=diffrax.VeryChord(rtol=1e-10, atol=1e-12))


@pytest.mark.parametrize(
    "solver",
    [fm.Strang(), pytest.param(fm.Strang(diffrax.Midpoint(), IMPLICIT), marks=pytest.mark.slow)],
)
def test_strangs_splitting_has_order_two(solver):
    """Two linear systems that don't commute, beside the exponential of their sum."""
    a, b = np.array([[0.0, 1.0], [0.0, -0.3]]), np.array([[-2.0, 0.0], [1.5, -1.0]])
    linear = lambda m: fm.Custom(lambda t, x, mu: jnp.asarray(m) @ x)  # noqa: E731
    truth = PAIR.x @ scipy.linalg.expm(a + b).T
    law = linear(a) + fm.Stiff(linear(b))
    runs = [fm.simulate(law, PAIR, [0.0, 1.0], dt=h, solver=solver) for h in (0.1, 0.05)]
    errors = [np.max(np.abs(run.final.x - truth)) for run in runs]
    assert 3.5 < errors[0] / errors[1] < 4.5 and errors[1] < 2e-3
    with pytest.raises(ValueError, match="`solver`: Strang"):
        fm.simulate(linear(a), PAIR, [0.0, 1.0], dt=0.1, solver=solver)


@pytest.mark.slow
def test_exponential_steps_of_consensus():
    """Exact where the consensus rests: one long step is a hundred short ones of the flow."""
    least = fm.ConsensusBased(lambda x: 1e6 * jnp.sum((x - 0.3) ** 2), 1.7, 0.0, 1.0)
    mu = fm.Particles(jnp.concatenate([jnp.full((1, 2), 0.3), jr.normal(jr.key(0), (6, 2))]))
    exact = 0.3 + (mu.x - 0.3) * np.exp(-1.7 * 3.0)
    for dt in (3.0, 0.5):
        call = dict(dt=dt, key=jr.key(1), solver=fm.ExponentialConsensus())
        np.testing.assert_allclose(fm.simulate(least, mu, [0.0, 3.0], **call).final.x, exact)
    noisy = fm.ConsensusBased(lambda x: jnp.sum((x - 0.3) ** 2), 1.0, 0.7, 30.0)
    call = dict(dt=0.5, key=jr.key(1), solver=fm.ExponentialConsensus())
    one = fm.simulate(noisy, mu, [0.0, 0.5], **call).final.x
    euler = fm.simulate(noisy, mu, [0.0, 0.5], **call | dict(solver=None)).final.x
    pull = noisy(0.0, mu).drift.x
    np.testing.assert_allclose(one - euler, (1 - np.exp(-0.5) - 0.5) * pull, atol=1e-14)
    with pytest.raises(ValueError, match="`solver`: ExponentialConsensus steps"):
        fm.simulate(Ornstein(), ONES, [0.0, 1.0], **call)


@pytest.mark.parametrize(("beta", "value"), [(1.0, 1.0), (16.0, -3.0)])
def test_any_step_on_the_sphere(beta, value):
    mu = fm.initial.uniform_on_sphere(jr.key(1), 20, 4)
    system = fm.SelfAttention(beta=beta, value=value * jnp.eye(4))
    for dt in (0.5, 4.0):
        final = fm.simulate(system, mu, [0.0, 40.0], dt=dt).final
        np.testing.assert_allclose(np.linalg.norm(final.x, axis=1), 1, rtol=1e-14)


@pytest.mark.parametrize("dtype", [jnp.float32])
@pytest.mark.parametrize("start", [1900.0, 1.6e9])
def test_times_far_from_zero(start, dtype):
    mu = fm.Particles(jnp.ones((1, 1), dtype))
    law = fm.Custom(lambda t, x, mu: -50 * x)
    ts = np.array([start, start + 0.0625, start + 0.125])
    for options in ({}, {"dt": 0.125 / 64}):
        found = fm.simulate(law, mu, ts, **options).ys.x[1:, 0, 0]
        np.testing.assert_allclose(found, np.exp(-50 * (ts[1:] - start)), rtol=2e-4)


def test_a_number_of_steps_takes_traced_times():
    law = fm.Custom(lambda t, x, mu: -t * x)
    mu = fm.Particles(jnp.ones((1, 1)))

    def end(time):
        return fm.simulate(law, mu, jnp.linspace(0.0, time, 3), steps=8).final.x[0, 0]

    value, slope = jax.jit(jax.value_and_grad(end))(1.3)
    np.testing.assert_allclose(value, np.exp(-0.845), rtol=1e-7)
    np.testing.assert_allclose(slope, -1.3 * np.exp(-0.845), rtol=1e-6)
    times = jnp.array([0.5, 1.3])
    np.testing.assert_allclose(jax.vmap(end)(times), np.exp(-(times**2) / 2), rtol=1e-7)
    kept = fm.simulate(Ornstein(), ZEROS, [0.0, 0.5], dt=0.125, key=jr.key(0)).final.x
    same = fm.simulate(Ornstein(), ZEROS, [0.0, 0.5], steps=4, key=jr.key(0)).final.x
    np.testing.assert_array_equal(kept, same)
    with pytest.raises(ValueError, match="`steps`"):
        jax.jit(lambda t: fm.simulate(law, mu, jnp.linspace(0, t, 3), dt=0.1).final.x)(1.0)


class Decay(fm.AbstractMeanField):
    k: float = 1.0

    def rates(self, t, x, mu):
        return fm.Rates(1.0 - self.k * x)


@pytest.mark.slow
def test_adjoints():
    mu = fm.Particles(jnp.zeros((2, 1)))
    slope = 2 * np.exp(-1) - 1  # of (1 − e^{−k})/k at k = 1

    def end(k, adjoint):
        return fm.simulate(Decay(k), mu, [0.0, 0.4, 1.0], adjoint=adjoint).final.x[0, 0]

    with jax.numpy_dtype_promotion("standard"):  # diffrax's adjoint promotes.
        for adjoint in (diffrax.RecursiveCheckpointAdjoint(), diffrax.BacksolveAdjoint()):
            np.testing.assert_allclose(jax.grad(end)(1.0, adjoint), slope, rtol=1e-6)
    forward = jax.jvp(
        lambda k: end(k, diffrax.ForwardMode()), (jnp.array(1.0),), (jnp.array(1.0),)
    )[1]
    np.testing.assert_allclose(forward, slope, rtol=1e-6)
    with pytest.raises(ValueError, match="`adjoint`"):
        fm.simulate(fm.SelfAttention(), tokens(), [0.0, 1.0], adjoint=diffrax.BacksolveAdjoint())

    def rest(k):
        return fm.simulate(
            Decay(k), mu, [0.0, 1e3], event=diffrax.Event(diffrax.steady_state_event()),
            adjoint=diffrax.ImplicitAdjoint(), solver=diffrax.Tsit5(),
            stepsize_controller=diffrax.PIDController(1e-6, 1e-8),
        ).final.x[0, 0]  # fmt: skip

    with jax.numpy_dtype_promotion("standard"):
        np.testing.assert_allclose(jax.grad(rest)(2.0), -0.25, rtol=1e-4)


class Qubit(fm.AbstractSystem):
    """ρ̇ = −i[ω σ_z/2, ρ] + γ (σ₋ ρ σ₊ − ½{σ₊σ₋, ρ}): a Lindblad equation as a plain state."""

    omega: float = 3.0
    gamma: float = 0.7

    def __call__(self, t, state):
        rho = state["rho"]
        z = jnp.diag(jnp.array([1.0, -1.0])).astype(rho.dtype) * self.omega / 2
        lower = jnp.array([[0.0, 0.0], [1.0, 0.0]]).astype(rho.dtype)
        number = lower.conj().T @ lower
        jump = lower @ rho @ lower.conj().T - (number @ rho + rho @ number) / 2
        return Increment({"rho": -1j * (z @ rho - rho @ z) + self.gamma * jump})


@pytest.mark.parametrize("options", [{}, {"dt": 0.01}])
def test_complex_states(options):
    rho = {"rho": jnp.array([[0.6, 0.3 - 0.2j], [0.3 + 0.2j, 0.4]])}
    final = fm.simulate(Qubit(), rho, [0.0, 1.0], **options).final["rho"]
    decay = np.exp(-0.7)
    coherence = (0.3 - 0.2j) * np.exp(-0.35 - 3j)
    exact = [[0.6 * decay, coherence], [np.conj(coherence), 1 - 0.6 * decay]]
    np.testing.assert_allclose(final, exact, atol=1e-8)


def test_progress_moves_between_two_times(capsys):
    meter = diffrax.TextProgressMeter(minimum_increase=0.2)
    law = fm.Custom(lambda t, x, mu: -x)

    def end(x):
        return fm.simulate(
            law, fm.Particles(x), [0.0, 100.0], dt=0.1, progress=meter, throw=False
        ).final.x.sum()

    jax.grad(end)(jnp.ones((2, 1))).block_until_ready()
    jax.effects_barrier()
    shown = [float(line.rstrip("%")) for line in capsys.readouterr().out.split()]
    assert sum(1 < v < 99 for v in shown) >= 3


def test_bars_say_what_runs_and_that_it_compiles(capsys, tmp_path):
    fm.simulate(SPIN, PAIR, [0.0, 1.0], dt=0.1, progress=True).final.x.block_until_ready()
    jax.effects_barrier()
    sphere = lambda x: jnp.sum(x**2)  # noqa: E731
    fm.minimize(sphere, jnp.ones(1), key=jr.key(0), particles=4, budget=8, progress=True)
    jax.effects_barrier()
    fm.sweep(sphere, jnp.ones((2, 1)), chunk=4, progress=True)
    shown = capsys.readouterr().err
    for label in ("simulate", "minimize", "sweep"):
        assert f"{label}: compiling" in shown or "compiling" in shown.split(label)[1]
        assert f"{label}: " in shown.replace("compiling", "", 1)


@pytest.mark.parametrize("solver", [None, diffrax.ShARK(), diffrax.HalfSolver(diffrax.Euler())])
def test_a_loop_of_ones_own_takes_the_path_of_simulate(solver):
    mu = fm.Particles(jnp.array([[0.3, -1.0], [0.7, 2.0], [1.0, 0.0]]))
    loop = fm.stepper(Ornstein(), 0.1, solver)

    def end(carry, _):
        return loop.step(carry), carry.state.x

    carry, path = jax.jit(lambda c: jax.lax.scan(end, c, length=6))(loop.init(mu, jr.key(5), 0.3))
    ts = np.linspace(0.3, 0.9, 7)
    run = fm.simulate(Ornstein(), mu, ts, dt=0.1, key=jr.key(5), solver=solver)
    np.testing.assert_allclose(path, run.ys.x[:-1], rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(carry.state.x, run.final.x, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(carry.time, 0.9, rtol=1e-14)


def test_a_loop_keeps_the_memory_of_a_solver():
    loop = fm.stepper(SPIN, 0.1, diffrax.LeapfrogMidpoint())
    carry = loop.init(PAIR)
    for _ in range(5):
        carry = loop.step(carry)
    run = fm.simulate(SPIN, PAIR, [0.0, 0.5], dt=0.1, solver=diffrax.LeapfrogMidpoint())
    np.testing.assert_allclose(carry.state.x, run.final.x, rtol=1e-13)
