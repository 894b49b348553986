"""The front door: times, steps, noise, results, events, what is kept for the reverse pass."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from catalogue import cloud, tokens

import flowjax_measures as fm
from flowjax_measures.simulation._schedule import count_steps, schedule

DECAY = fm.Custom(lambda t, x, mu: -x)
EXPLODE = fm.Custom(lambda t, x, mu: x**2)
SPHERE = fm.SelfAttention(beta=2.0)


class Additive(fm.AbstractMeanField):
    theta: float = 1.0
    sigma: float = 0.5

    def rates(self, t, x, mu):
        return fm.Rates(-self.theta * x, fm.Isotropic(self.sigma))


def test_steps_are_counted_in_integers():
    def planned(ts, dt):
        ts = np.array(ts)
        times = schedule(ts, count_steps(ts, dt), np.float64, dt)
        return times.count.tolist(), times.first.tolist()

    assert planned([0.0, 1.0, 2.0], 0.1) == ([10, 10], [0, 10])
    assert planned([0.0, 0.25, 1.0], 0.1) == ([3, 8], [0, 3])
    assert planned([0.0, 500.0], 1e-3)[0] == [500_000]
    assert planned([2.0, 2.5], 0.1)[1] == [20]


def test_float32_takes_every_step():
    count = fm.Custom(lambda t, x, mu: jnp.ones_like(x))
    mu = fm.Particles(jnp.zeros((1, 1), jnp.float32))
    run = fm.simulate(count, mu, [0.0, 20_000.0], dt=1.0, solver=diffrax.Euler())
    assert run.final.x.dtype == jnp.float32 and run.final.x[0, 0] == 20_000
    assert run.stats["num_steps"] == 20_000


@pytest.mark.parametrize("ts", [[0.0, 1.0, 2.0], [0.0, 0.13, 1.0]])
@pytest.mark.parametrize("dt", [0.05, None])
def test_states_at_the_times_asked_for(ts, dt):
    run = fm.simulate(DECAY, cloud(), ts, dt=dt)
    truth = np.exp(-np.array(ts))[:, None, None] * cloud().x
    np.testing.assert_allclose(run.ys.x, truth, rtol=1e-7)
    np.testing.assert_allclose(run.final.x, run.ys.x[-1], rtol=1e-14)
    np.testing.assert_allclose(run.ts, ts)
    assert run.result == fm.Results.successful


def test_observables_while_solving():
    observe = {"mean": lambda mu: mu.mean(), "spread": lambda mu: jnp.trace(mu.covariance())}
    for dt in (0.05, None):
        run = fm.simulate(DECAY, cloud(), [0.0, 0.5, 1.0], dt=dt, observe=observe)
        truth = np.exp(-np.array([0.0, 0.5, 1.0]))[:, None] * cloud().mean()
        np.testing.assert_allclose(run.ys["mean"], truth, rtol=1e-7)
        assert run.ys["spread"].shape == (3,)


def test_labels_stay_and_structure_is_kept():
    x = {"place": jnp.ones((4, 2)), "label": jnp.arange(4)}
    law = fm.Custom(
        lambda t, x, mu: {"place": -x["place"] * x["label"].astype(float), "label": None}
    )
    final = fm.simulate(law, fm.Particles(x), [0.0, 1.0], dt=0.1).final
    np.testing.assert_array_equal(final.x["label"], np.arange(4))
    np.testing.assert_allclose(final.x["place"][:, 0], np.exp(-np.arange(4.0)), rtol=1e-6)


def test_a_slice_of_the_run_is_a_measure():
    mu = fm.Particles(jnp.array([[0.1], [0.6]]), space=fm.Torus(2.0))
    run = fm.simulate(fm.Custom(lambda t, x, mu: jnp.ones(1)), mu, [0.0, 1.0, 1.7], dt=0.1)
    last = jax.tree.map(lambda a: a[2], run.ys)
    np.testing.assert_allclose(last.x[:, 0], [1.8, 0.3], atol=1e-12)
    np.testing.assert_allclose(last.space.distance(last.x[0], last.x[1]), 0.5, atol=1e-12)


def test_weights_grow():
    law = fm.Custom(lambda t, x, mu: fm.Rates(0 * x, growth=x[0]))
    mu = fm.Particles(jnp.array([[0.0], [1.0]]))
    final = fm.simulate(law, mu, [0.0, 2.0], dt=0.1).final
    np.testing.assert_allclose(jnp.exp(final.log_w), [0.5, 0.5 * np.exp(2)], rtol=1e-12)
    np.testing.assert_allclose(final.mean(), [np.exp(2) / (1 + np.exp(2))], rtol=1e-12)


def test_species_and_plain_states():
    class Chase(fm.AbstractMeanField):
        prey: str = eqx.field(static=True)

        def rates(self, t, x, mu):
            return fm.Rates(mu[self.prey].mean() - x, fm.Isotropic(0.0))

    state = {"a": fm.Particles(jnp.ones((3, 1))), "b": fm.Particles(-jnp.ones((5, 1)))}
    system = fm.Species({"a": Chase("b"), "b": Chase("a")})
    final = fm.simulate(system, state, [0.0, 1.0], dt=1e-3, key=jr.key(0)).final
    np.testing.assert_allclose(final["a"].x, np.exp(-2.0), rtol=3e-3)  # Euler, h = 1e-3

    run = fm.simulate(system, state, [0.0, 1.0], dt=1e-1, key=jr.key(0))
    assert run["a"].ys.x.shape == (2, 3, 1) and run["b"].final.x.shape == (5, 1)
    with pytest.raises(ValueError, match="`species`"):
        run["c"]

    class Plain(fm.AbstractSystem):
        def __call__(self, t, state):
            return fm.Increment({"u": -state["u"]})

    final = fm.simulate(Plain(), {"u": jnp.ones(2)}, [0.0, 1.0]).final
    np.testing.assert_allclose(final["u"], np.exp(-1.0), rtol=1e-7)


def test_sum_is_the_sum():
    both = fm.simulate(DECAY + SPHERE, tokens(), [0.0, 0.5], dt=0.1).final
    one = fm.Custom(lambda t, x, mu: DECAY.rates(t, x, mu).velocity + SPHERE.rates(t, x, mu)[0])
    np.testing.assert_allclose(both.x, fm.simulate(one, tokens(), [0.0, 0.5], dt=0.1).final.x)
    noisy = Additive(0.0, 0.3) + Additive(0.0, 0.4)
    field = noisy(0.0, cloud()).noise
    assert [a.shape for a in field.brownian()] == [(7, 3), (7, 3)]


def test_noise_is_keyed_by_the_step():
    """A run that goes on is the uninterrupted run, to round-off."""
    mu = cloud()
    whole = fm.simulate(Additive(), mu, [0.0, 0.5, 1.0], dt=0.1, key=jr.key(1))
    half = fm.simulate(Additive(), mu, [0.0, 0.5], dt=0.1, key=jr.key(1))
    rest = fm.simulate(Additive(), half.final, [0.5, 1.0], dt=0.1, key=jr.key(1))
    np.testing.assert_allclose(rest.final.x, whole.final.x, atol=1e-15, rtol=1e-14)
    again = fm.simulate(Additive(), mu, [0.0, 0.5, 1.0], dt=0.1, key=jr.key(1))
    np.testing.assert_array_equal(again.ys.x, whole.ys.x)
    other = fm.simulate(Additive(), mu, [0.0, 1.0], dt=0.1, key=jr.key(2))
    assert np.all(other.final.x != whole.final.x)


def test_shared_noise_is_the_same_for_all():
    law = fm.Custom(lambda t, x, mu: fm.Rates(0 * x, fm.Common(0.5) + fm.Isotropic(0.0)))
    moved = fm.simulate(law, cloud(), [0.0, 1.0], dt=0.1, key=jr.key(0)).final.x - cloud().x
    np.testing.assert_allclose(moved, jnp.broadcast_to(moved[0], moved.shape), atol=1e-14)
    assert np.all(np.abs(moved[0]) > 1e-3)

    def field(x):
        return fm.Cylindrical(lambda w: jnp.sin(x) * jnp.sum(w), (6,))

    cylindrical = fm.Custom(lambda t, x, mu: fm.Rates(0 * x, field(x)))
    dense = fm.Custom(
        lambda t, x, mu: fm.Rates(0 * x, fm.Common(jnp.sin(x)[:, None] * jnp.ones((1, 6))))
    )
    a, b = (fm.simulate(s, cloud(), [0.0, 1.0], dt=0.1, key=jr.key(0)).final.x
            for s in (cylindrical, dense))  # fmt: skip
    np.testing.assert_allclose(a, b, rtol=1e-12)


def test_stratonovich_and_ito():
    """dX = X ∘ dB is exp(B); dX = X dB is exp(B − t/2)."""

    class Ito(fm.AbstractMeanField):
        def rates(self, t, x, mu):
            return fm.Rates(0 * x, fm.Common(fm.Diagonal(x)))

    class Stratonovich(fm.AbstractMeanField):
        calculus = "stratonovich"

        def rates(self, t, x, mu):
            return fm.Rates(0 * x, fm.Common(fm.Diagonal(x)))

    mu = fm.Particles(jnp.ones((2, 1)))
    ends = [
        fm.simulate(s, mu, [0.0, 1.0], dt=1e-4, key=jr.key(5)).final.x[0, 0]
        for s in (Ito(), Stratonovich())
    ]
    # Strong errors are of order √dt = 1e-2 and dt.
    np.testing.assert_allclose(ends[1] / ends[0], np.exp(0.5), rtol=3e-2)


@pytest.mark.slow
@pytest.mark.parametrize("remat", ["none", "step", "sqrt", "recursive"])
def test_every_remat_gives_the_same_gradient(remat):
    def loss(sigma, remat):
        run = fm.simulate(
            Additive(sigma=sigma), cloud(), [0.0, 0.3, 1.0], dt=0.05, key=jr.key(0), remat=remat
        )
        return jnp.sum(jnp.sin(run.final.x))

    slope = jax.jit(jax.grad(lambda s: loss(s, remat)))(0.4)
    h = 1e-6
    assert abs(slope - (loss(0.4 + h, remat) - loss(0.4 - h, remat)) / (2 * h)) < 1e-8


@pytest.mark.slow
def test_sqrt_keeps_the_square_root_of_the_steps():
    class Pendulum(fm.AbstractMeanField):
        length: float

        def rates(self, t, x, mu):
            return fm.Rates(jnp.sin(self.length * x), fm.Isotropic(0.1))

    def temporary(remat, steps):
        def loss(length):
            run = fm.simulate(
                Pendulum(length), cloud(200, 10), [0.0, 1.0], dt=1 / steps, key=jr.key(0),
                remat=remat, solver=diffrax.Euler(),
            )  # fmt: skip
            return jnp.sum(run.final.x)

        compiled = jax.jit(jax.grad(loss)).lower(0.4).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    state = 200 * 10 * 8
    assert temporary("step", 900) > 850 * state
    assert temporary("sqrt", 900) < 5 * 30 * state


@pytest.mark.slow
def test_order_on_the_sphere():
    mu, truth = tokens(), fm.simulate(SPHERE, tokens(), [0.0, 1.0], dt=1 / 320).final.x

    def error(n, solver=None):
        run = fm.simulate(SPHERE, mu, [0.0, 1.0], dt=1 / n, solver=solver)
        return jnp.max(jnp.abs(run.final.x - truth))

    for solver, order in ((diffrax.Heun(), 2), (diffrax.Bosh3(), 3)):
        errors = np.array([error(n, solver) for n in (5, 10, 20)])
        np.testing.assert_allclose(np.log2(errors[:-1] / errors[1:]), order, atol=0.15)
    # Order 5, with a constant so small that round-off is met first.
    assert error(5) < 3e-10 and error(10) < 8e-12
    run = fm.simulate(SPHERE, mu, [0.0, 0.5, 1.0], dt=0.1)
    assert np.max(np.abs(np.linalg.norm(run.ys.x, axis=-1) - 1)) < 1e-14
    adaptive = fm.simulate(SPHERE, mu, [0.0, 0.37, 1.0])
    assert np.max(np.abs(np.linalg.norm(adaptive.ys.x, axis=-1) - 1)) < 1e-14
    np.testing.assert_allclose(adaptive.final.x, truth, atol=1e-7)


def test_strong_and_weak_order_of_euler_maruyama():
    """Geometric Brownian motion under one Brownian path refined: strong ½."""

    class Geometric(fm.AbstractMeanField):
        def rates(self, t, x, mu):
            return fm.Rates(0.1 * x, fm.Diagonal(0.8 * x))

    n, fine = 2000, 256
    mu = fm.Particles(jnp.ones((n, 1)))
    z = jr.normal(jr.key(3), (fine, n, 1)) / np.sqrt(fine)
    truth = jnp.exp((0.1 - 0.32) + 0.8 * z.sum(0))
    problem = Geometric()

    def euler(steps):
        dw = z.reshape(steps, fine // steps, n, 1).sum(1)

        def step(x, w):
            increment = problem(0.0, fm.Particles(x))
            return x + increment.drift.x / steps + increment.noise.apply((w,)).x, None

        return jax.lax.scan(step, mu.x, dw)[0]

    errors = [jnp.mean(jnp.abs(jax.jit(euler, static_argnums=0)(s) - truth)) for s in (16, 64, 256)]
    slopes = np.log(np.array(errors[:-1]) / np.array(errors[1:])) / np.log(4)
    assert np.all(np.abs(slopes - 0.5) < 0.15), slopes


def test_a_covariance_that_is_none_is_a_failure():
    """Explicit steps of length 0.05 make the variance of a stiff closure negative, and finite."""
    law, mu = fm.Langevin(fm.Quadratic(30.0)), fm.Gaussian(jnp.ones(2), jnp.eye(2))
    euler = dict(dt=0.05, solver=diffrax.Euler())
    with pytest.raises(RuntimeError, match=r"t = 0\.05"):
        fm.simulate(law, mu, [0.0, 0.05], **euler)
    left = fm.simulate(law, mu, [0.0, 0.05], throw=False, **euler)
    assert left.final.cov[0, 0] < 0 and left.result == diffrax.RESULTS.nonfinite
    # An eigenvalue is negative, and no variance is.
    turned = fm.Quadratic(jnp.array([[15.0, 14.9], [14.9, 15.0]]))
    one = dict(dt=0.02, solver=diffrax.Euler(), throw=False)
    found = fm.simulate(fm.Langevin(turned), mu, [0.0, 0.02], **one)
    assert np.diag(found.final.cov).min() > 0 and found.result == diffrax.RESULTS.nonfinite
    # Round-off about a variance that vanishes is none.
    still = fm.GradientFlow(fm.PotentialEnergy(fm.Quadratic(30.0)))
    assert np.abs(fm.simulate(still, mu, [0.0, 5.0]).final.cov).max() < 1e-6


def test_blow_up_is_found_where_it_happens():
    mu = fm.Particles(jnp.array([[1.0], [0.5]]))
    with pytest.raises(RuntimeError, match=r"(?i)nonfinite.*t = 1\.0"):
        fm.simulate(EXPLODE, mu, [0.0, 2.0], dt=0.01)
    run = fm.simulate(EXPLODE, mu, [0.0, 2.0], dt=0.01, throw=False)
    assert run.result == fm.Results.nonfinite and 1.0 < run.stats["bad_time"] < 1.05
    run = fm.simulate(EXPLODE, mu, [0.0, 2.0], throw=False)
    assert run.result == diffrax.RESULTS.dt_min_reached
    np.testing.assert_allclose(run.stats["t_final"], 1.0, rtol=1e-6)
    with pytest.raises(RuntimeError, match=r"t = 1\. The solution blows up"):
        fm.simulate(EXPLODE, mu, [0.0, 2.0])


def test_events_end_the_run_at_their_time():
    mu = fm.Particles(jnp.array([[1.0], [0.5]]))
    run = fm.simulate(EXPLODE, mu, [0.0, 0.5, 2.0], event=lambda t, mu: mu.x[0, 0] - 1e6)
    assert run.result == fm.Results.event_occurred
    np.testing.assert_allclose(run.stats["t_final"], 1 - 1e-6, rtol=1e-7)
    np.testing.assert_allclose(run.final.x[1, 0], 1 / (2 - run.stats["t_final"]), rtol=1e-7)
    assert run.ts[1] == 0.5 and run.ts[2] == np.inf
    slope = jax.grad(lambda a: fm.simulate(
        EXPLODE, fm.Particles(a * mu.x), [0.0, 2.0], event=lambda t, mu: mu.x[0, 0] - 10.0
    ).stats["t_final"])(1.0)  # fmt: skip
    np.testing.assert_allclose(slope, -1.0, rtol=1e-5)  # t = 1/a − 1/10


def test_an_event_of_single_precision_where_double_is_the_default():
    mu = fm.Particles(jnp.array([[1.0], [2.0]], jnp.float32))
    law = fm.Custom(lambda t, x, mu: fm.Rates(-x))
    run = fm.simulate(law, mu, [0.0, 5.0], dt=0.1, event=lambda t, mu: jnp.max(mu.x) - 1)
    np.testing.assert_allclose(run.stats["t_final"], np.log(2), rtol=1e-6)
    assert run.final.x.dtype == jnp.float32


def test_events_may_be_conditions():
    run = fm.simulate(DECAY, cloud(), [0.0, 5.0], event=lambda t, mu: jnp.max(mu.x) < 0.1)
    assert run.result == fm.Results.event_occurred and 0 < run.stats["t_final"] < 5
    assert np.max(run.final.x) < 0.1


def test_steps_of_any_kind():
    ends = [fm.simulate(DECAY, cloud(), [0, 1], dt=dt).final.x for dt in (0.1, np.float64(0.1))]
    np.testing.assert_array_equal(*ends)


@pytest.mark.slow
def test_event_with_noise_at_constant_steps_takes_the_same_path():
    mu = cloud()
    plain = fm.simulate(Additive(), mu, [0.0, 1.0], dt=0.1, key=jr.key(1))
    watched = fm.simulate(
        Additive(), mu, [0.0, 1.0], dt=0.1, key=jr.key(1), event=lambda t, mu: mu.x[0, 0] > 1e3
    )
    np.testing.assert_allclose(watched.final.x, plain.final.x, rtol=1e-12)


@pytest.mark.slow
def test_adaptive_steps_with_noise():
    run = fm.simulate(
        Additive(), cloud(500, 1), [0.0, 2.0], key=jr.key(0), solver=diffrax.Heun(), dt=0.05,
        stepsize_controller=diffrax.PIDController(rtol=1e-2, atol=1e-2),
    )  # fmt: skip
    expected = 0.125 * (1 - np.exp(-4)) + np.exp(-4)
    # The variance of 500 values has the relative standard error √(2/500).
    assert abs(run.final.covariance()[0, 0] / expected - 1) < 4 * np.sqrt(2 / 500)


@pytest.mark.slow
def test_stiff_solver():
    stiff = fm.Custom(lambda t, x, mu: -1e6 * (x - mu.mean()) - mu.mean())
    run = fm.simulate(stiff, cloud(5, 1), [0.0, 1.0], solver=diffrax.Kvaerno5())
    np.testing.assert_allclose(run.final.x - np.exp(-1) * cloud(5, 1).mean(), 0, atol=1e-6)
    assert run.stats["num_steps"] < 500


def test_progress_shows_a_bar(capfd):
    fm.simulate(DECAY, cloud(), [0.0, 0.5, 1.0], dt=0.1, progress=True)
    fm.simulate(DECAY, cloud(), [0.0, 1.0], progress=True)
    jax.effects_barrier()
    assert "%" in capfd.readouterr().err


def test_parameters_do_not_recompile():
    traces = []

    class Counted(fm.AbstractMeanField):
        rate: float

        def rates(self, t, x, mu):
            traces.append(1)
            return fm.Rates(-self.rate * x)

    fm.simulate(Counted(1.0), cloud(), [0.0, 1.0], dt=0.1)
    first = len(traces)
    fm.simulate(Counted(2.0), cloud(), [0.0, 1.0], dt=0.1)
    assert len(traces) == first


def test_vmap_over_parameters_and_keys():
    def end(sigma, key):
        return fm.simulate(Additive(sigma=sigma), cloud(), [0.0, 0.5], dt=0.1, key=key).final.x

    sigmas, keys = jnp.array([0.1, 0.7]), jr.split(jr.key(0), 2)
    batch = jax.vmap(end)(sigmas, keys)
    loop = jnp.stack([end(s, k) for s, k in zip(sigmas, keys, strict=True)])
    np.testing.assert_allclose(batch, loop, rtol=1e-13)


def test_sharded_is_unsharded():
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:4]), ("atoms",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("atoms"))
    x = jr.normal(jr.key(0), (16, 3))
    loss = lambda x: jnp.sum(jnp.sin(fm.simulate(  # noqa: E731
        Additive() + SPHERE, fm.Particles(x), [0.0, 0.5], dt=0.1, key=jr.key(0)
    ).final.x))  # fmt: skip
    plain = jax.jit(jax.value_and_grad(loss))(x)
    sharded = jax.jit(jax.value_and_grad(loss))(jax.device_put(x, sharding))
    for a, b in zip(plain, sharded, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_whole_numbers_are_observed_by_adaptive_steps():
    grow = fm.Custom(lambda t, x, mu: x)
    run = fm.simulate(
        grow, fm.Particles(jnp.ones((1, 1))), [0.0, 1.0, 2.0],
        observe=lambda mu: jnp.sum(mu.x > 2, dtype=jnp.int32), event=lambda t, mu: mu.x[0, 0] - 3,
    )  # fmt: skip
    assert run.ys.dtype == jnp.int32
    # The run ends at log 3, before the last time.
    np.testing.assert_array_equal(run.ys, [0, 1, 0])
