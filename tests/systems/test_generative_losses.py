"""Each loss is least at the exact field: its slope there, in any direction, is zero."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import ks_2samp, kstest

import flowjax_measures as fm
from flowjax_measures.systems.generative._draws import points, positions, uniforms

NORMAL = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
ATOMS = fm.Particles(
    jnp.array([[2.0, 0.0], [-1.0, 1.0], [0.0, -2.0]]), weights=jnp.array([0.5, 0.3, 0.2])
)
NEAR = fm.Particles(
    (ATOMS.x, jnp.broadcast_to(0.09 * jnp.eye(2), (3, 2, 2))), weights=jnp.array([0.5, 0.3, 0.2])
)
FLOW = fm.StochasticInterpolant(NORMAL, NEAR)
NOISY = fm.StochasticInterpolant(NORMAL, NEAR, fm.TrigonometricSchedule(0.7))
BRIDGE = fm.StochasticInterpolant(NEAR, NEAR, fm.LinearSchedule(0.8))
KAC = fm.KacFlow(ATOMS, damping=1.5, speed=2.0, horizon=0.8)
BLIND = fm.BlindDenoising(ATOMS, jnp.array([0.3, 0.6, 1.2]), 0.1)
EQUAL = fm.EquilibriumMatching(FLOW)
LINE = fm.PoissonFlow(
    fm.Gaussian(jnp.zeros(1), jnp.eye(1)), fm.Gaussian(jnp.ones(1), 0.5 * jnp.eye(1))
)


def wave(*at):
    """A direction in which to move a field."""
    x = at[-1]
    turned = jnp.roll(x, 1) if x.size > 1 else x
    return jnp.sin(1.3 * x + 0.4) * jnp.cos(0.7 * turned)


def inside(t, x):
    """The same away from the fronts, which hold mass in Kac's flow."""
    gaps = jnp.abs(jnp.abs(x - ATOMS.x) - KAC.speed * (KAC.horizon - t))
    return jnp.where(jnp.min(gaps) > 1e-9, wave(x), 0)


CASES = {
    "velocity": (fm.flow_matching_loss, FLOW, FLOW.velocity),
    "velocity with noise": (fm.flow_matching_loss, NOISY, NOISY.velocity),
    "score": (fm.score_matching_loss, FLOW, FLOW.score),
    "score with noise": (fm.score_matching_loss, NOISY, NOISY.score),
    "score from atoms": (fm.score_matching_loss, BRIDGE, BRIDGE.score),
    "denoiser": (fm.denoising_loss, NOISY, lambda t, x: NOISY.posterior(t, x).target),
    "blind denoiser": (fm.denoising_loss, BLIND, lambda x: BLIND.denoiser(x)),
    "bridge": (fm.bridge_matching_loss, BRIDGE, lambda t, x: BRIDGE.drift(t, x, 0.32)[0]),
    "Kac": (fm.flow_matching_loss, KAC, lambda t, x: -KAC.velocity(0.8 - t, x)),
    "equilibrium": (fm.flow_matching_loss, EQUAL, lambda t, x: EQUAL.velocity(x)),
    "Poisson": (fm.flow_matching_loss, LINE, lambda t, x: LINE.rates(t, x, None).velocity),
}


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.slow if k % 2 else ()) for k, name in enumerate(CASES)
])  # fmt: skip
def test_least_at_the_exact_field(name):
    loss, flow, exact = CASES[name]
    runs, n = 40, 64 if name == "equilibrium" else 250
    direction = inside if name == "Kac" else wave

    def moved(size, key):
        return loss(lambda *at: exact(*at) + size * direction(*at), flow, key, n)

    slopes = jax.jit(
        lambda keys: jax.lax.map(lambda key: jax.jvp(
            lambda size: moved(size, key), (jnp.zeros(()),), (jnp.ones(()),)
        ), keys)
    )(jr.split(jr.key(0), runs))[1]  # fmt: skip
    error = jnp.std(slopes) / np.sqrt(runs)
    curvature = jax.jit(lambda: jax.grad(jax.grad(moved))(0.0, jr.key(1)))()
    # The best move along `wave` is −slope/curvature: it is no more than its noise.
    assert abs(jnp.mean(slopes)) < 4 * error
    assert error / curvature < 0.05


def test_labels_and_their_absence():
    """Affine in one-hot labels, the best velocity at t = 0 is E[X_1 | c] − x, of none E X_1 − x."""
    data = fm.Particles((ATOMS.x, jnp.arange(3)), weights=jnp.array([0.5, 0.3, 0.2]))

    def velocity(offset, t, x, c):
        return FLOW_TO_ATOMS.velocity(t, x) + offset[c]

    def loss(offset, key, drop):
        found = lambda t, x, c: velocity(offset, t, x, c)  # noqa: E731
        return fm.conditional_flow_matching_loss(found, NORMAL, data, key, 4000, drop=drop)

    slope = jax.jit(jax.grad(loss), static_argnums=2)
    zero = jnp.zeros((4, 2))
    # Without a label the law of all is right already; with one it isn't.
    hidden = slope(zero, jr.key(0), 1.0)
    assert jnp.all(hidden[:3] == 0) and jnp.max(jnp.abs(hidden[3])) < 0.2
    shown = slope(zero, jr.key(0), 0.0)
    assert jnp.all(shown[3] == 0) and jnp.min(jnp.max(jnp.abs(shown[:3]), 1)) > 0.2


FLOW_TO_ATOMS = fm.StochasticInterpolant(NORMAL, ATOMS)


@pytest.mark.slow
def test_paired_minibatches_are_nearer():
    far = fm.StochasticInterpolant(NORMAL, fm.Gaussian(jnp.array([3.0, 0.0]), jnp.eye(2)))
    cost = lambda path: float(jnp.mean(jnp.sum((path.target - path.source) ** 2, 1)))  # noqa: E731
    plans = {
        "independent": None,
        "Sinkhorn": lambda mu, nu: fm.entropic_coupling(mu, nu, 0.5),
        "optimal": fm.coupling,
    }
    found = [cost(jax.jit(lambda k, p=p: far.path(k, 128, p))(jr.key(0))) for p in plans.values()]
    # Independent normals are at 9 + 4, optimal transport at 9.
    assert found[0] > 12 and found[0] > found[1] > found[2] and 9 < found[2] < 10.5
    with pytest.raises(ValueError, match="`pairing`"):
        far.path(jr.key(0), 8, lambda mu, nu: jnp.ones((3, 3)))
    with pytest.raises(ValueError, match="`pairing`"):
        fm.flow_matching_loss(lambda t, x: x, KAC, jr.key(0), 8, fm.coupling)


@pytest.mark.slow
def test_pairs_that_are_given():
    x, y = ATOMS.x, ATOMS.x[::-1] + 1
    pairs = fm.StochasticInterpolant(fm.Particles(x), fm.Particles(y), coupling="pairs")
    plan = fm.StochasticInterpolant(fm.Particles(x), fm.Particles(y), coupling=jnp.eye(3) / 3)
    at = 0.4 * x[0] + 0.6 * y[0] + 0.01
    np.testing.assert_allclose(pairs.velocity(0.6, at), plan.velocity(0.6, at))
    for a, b in zip(*pairs.sample(jr.key(0), 20), strict=True):
        i = int(jnp.argmin(jnp.sum((x - a) ** 2, 1)))
        np.testing.assert_array_equal(y[i], b)
    for wrong, source in (("pair", fm.Particles(x)), ("pairs", fm.Particles(x[:2]))):
        with pytest.raises(ValueError, match="`coupling`"):
            fm.StochasticInterpolant(source, fm.Particles(y), coupling=wrong)


@pytest.mark.slow
def test_fields_of_the_wrong_shape():
    net = fm.MLP(2, key=jr.key(0), out=3, width=4)
    for loss in (fm.flow_matching_loss, fm.score_matching_loss, fm.denoising_loss):
        with pytest.raises(ValueError, match=r"`(velocity|score|denoiser)` returned"):
            loss(net, FLOW, jr.key(0), 4)
    with pytest.raises(ValueError, match="`x`"):
        fm.MLP(3, key=jr.key(0))(0.0, jnp.zeros(2))
    with pytest.raises(ValueError, match="`c`"):
        fm.MLP(2, key=jr.key(0), width=4)(0.0, jnp.zeros(2), 1)
    with pytest.raises(ValueError, match="`labels`"):
        fm.MLP(2, key=jr.key(0), labels=2, condition=2)


def test_labels_that_are_missing_and_values_of_another_width():
    still = lambda t, x, c: jnp.zeros_like(x)  # noqa: E731
    with pytest.raises(ValueError, match="`data`"):
        fm.conditional_flow_matching_loss(still, NORMAL, ATOMS, jr.key(0), 4)
    with pytest.raises(ValueError, match="pairs"):
        fm.ConditionalFlow(still).rates(0.0, jnp.zeros(2), None)
    wide = lambda *at: jnp.zeros(3)  # noqa: E731
    for loss in (fm.flow_matching_loss, fm.score_matching_loss, fm.denoising_loss):
        with pytest.raises(ValueError, match=r"`(velocity|score|denoiser)` returned"):
            jax.eval_shape(lambda key, loss=loss: loss(wide, FLOW, key, 4), jr.key(0))


@pytest.mark.parametrize("labels", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_pairs_that_keep_the_source_of_each_condition(labels):
    """The best constant of a condition is E[Y − X | c]; pairs regardless of c take X near Y."""
    side = jnp.arange(40) % 2
    sign = jnp.where(side > 0, 1.0, -1.0)
    c = side if labels else sign[:, None]
    data = fm.Particles((jnp.stack([3 * sign, jnp.zeros(40)], 1), c))

    @jax.jit
    def best(cost):
        def loss(offset, key):
            found = lambda t, x, c: offset[c if labels else (c[0] > 0).astype(int)]  # noqa: E731
            return fm.conditional_flow_matching_loss(
                found, NORMAL, data, key, 48, drop=0.0, pairing=fm.coupling, condition_cost=cost
            )

        slope = lambda key: jax.grad(loss)(jnp.zeros((2, 2)), key)  # noqa: E731
        # Half of the draws have each condition: the curvature is 1.
        return -jnp.mean(jax.lax.map(slope, jr.split(jr.key(0), 60)), axis=0)[:, 0]

    # The mean of 1440 normals each, and of the numbers of draws: a standard error of 0.08.
    np.testing.assert_allclose(best(1e4), [-3, 3], atol=0.32)
    # Pairs regardless of conditions leave each side its half of the normals, ±0.8 in the mean.
    np.testing.assert_allclose(best(0.0), [-2.2, 2.2], atol=0.32)
    with pytest.raises(ValueError, match="`condition_cost`"):
        fm.conditional_flow_matching_loss(
            lambda t, x, c: x, NORMAL, data, jr.key(0), 4, condition_cost=1.0
        )


def test_preconditioning_is_exact_for_normal_data():
    # With F = 0 the denoiser is that of centred normal data of the given deviation.
    s = 1.7
    flow = fm.StochasticInterpolant(NORMAL, fm.Gaussian(jnp.zeros(2), s**2 * jnp.eye(2)))
    denoiser = fm.PreconditionedDenoiser(lambda t, x: 0 * x, s)
    x = jnp.array([0.4, -1.1])
    for t in (0.0, 0.3, 0.9):
        np.testing.assert_allclose(denoiser(t, x), flow.posterior(t, x).target, atol=1e-12)
        np.testing.assert_allclose(denoiser.velocity(t, x), flow.velocity(t, x), atol=1e-12)
        np.testing.assert_allclose(denoiser.score(t, x), flow.score(t, x), atol=1e-10)
    # Any F: the three are those of one denoiser, and the weight is 1/(its factor)².
    denoiser = fm.PreconditionedDenoiser(lambda t, x: jnp.sin(x + t), s)
    ends = (x - 0.3 * denoiser(0.3, x)) / 0.7
    np.testing.assert_allclose(denoiser.velocity(0.3, x), denoiser(0.3, x) - ends, rtol=1e-12)
    np.testing.assert_allclose(denoiser.score(0.3, x), -ends / 0.7, rtol=1e-12)
    gap = denoiser(0.3, x) - flow.posterior(0.3, x).target
    size = jnp.sqrt(0.7**2 + (0.3 * s) ** 2)
    np.testing.assert_allclose(
        denoiser.weight(0.3) * jnp.sum(gap**2), jnp.sum(jnp.sin(x / size + 0.3) ** 2), rtol=1e-12
    )


def test_guidance():
    v = lambda t, x, c: jnp.where(c < 0, 1.0, 10.0 + c.astype(float)) * jnp.ones(2)  # noqa: E731
    points = fm.Particles((jnp.zeros((3, 2)), jnp.array([0, 1, -1])))
    for w, moved in ((1.0, [10, 11, 1]), (0.0, [1, 1, 1]), (2.0, [19, 21, 1])):
        final = fm.simulate(fm.ConditionalFlow(v, w), points, [0.0, 1.0], dt=0.5).final
        np.testing.assert_allclose(final.x[0], np.outer(moved, [1, 1]), rtol=1e-12)
        np.testing.assert_array_equal(final.x[1], points.x[1])


def test_gradient_field_is_a_gradient():
    field = fm.GradientField(fm.MLP(3, key=jr.key(0), width=8, out="scalar"))
    slope = jax.jit(jax.jacfwd(lambda x: field(0.3, x)))(jnp.array([0.1, 0.2, -0.5]))
    np.testing.assert_allclose(slope, slope.T, atol=1e-12)
    assert jnp.max(jnp.abs(slope)) > 1e-4 and eqx.is_array(field.potential.layers.layers[0].weight)


@pytest.mark.parametrize("n", [16, 64])
def test_smooth_function_noise_has_a_velocity(n):
    grid = jnp.linspace(0.0, 1.0, n)[:, None]
    noise = fm.gaussian_process(fm.GaussianKernel(0.2), grid)
    flow = fm.StochasticInterpolant(noise, fm.Particles(jnp.sin(3 * grid.T)))
    values, axes = np.linalg.eigh(noise.cov)
    x = jnp.asarray(
        axes @ (np.sqrt(np.maximum(values, 0)) * np.random.default_rng(0).normal(size=n))
    )
    # Towards one function the velocity is (y − x)/(1 − t).
    np.testing.assert_allclose(
        flow.velocity(0.3, x), (jnp.sin(3 * grid[:, 0]) - x) / 0.7, atol=1e-3
    )


DATA = fm.Particles((ATOMS.x, jnp.arange(3)))
LOSSES = {
    name: lambda net, key, loss=loss, flow=flow: loss(net, flow, key, 6)
    for name, (loss, flow, _) in CASES.items()
} | {
    "labels": lambda net, key: fm.conditional_flow_matching_loss(net, NORMAL, DATA, key, 6),
    "pairing": lambda net, key: fm.flow_matching_loss(net, FLOW, key, 6, fm.coupling),
}  # fmt: skip


@pytest.mark.parametrize("names", [
    ("velocity", "score with noise", "denoiser", "blind denoiser", "bridge", "labels"),
    pytest.param(
        ("velocity with noise", "score", "Kac", "equilibrium", "Poisson", "pairing"),
        marks=pytest.mark.slow,
    ),
])  # fmt: skip
def test_gradient_of_each_loss_is_its_difference(names):
    """Along a direction of all numbers of a network; of `drifting_loss`, whose drift is a constant,
    and `jarzynski_loss`, whose walkers are, the gradients are those of other tests."""

    def losses(size):
        found = {}
        for name in names:
            dim = 1 if name == "Poisson" else 2
            options = dict(labels=3) if name == "labels" else {}
            time = 0 if name in ("blind denoiser", "Poisson") else 2
            net = fm.MLP(dim, width=4, depth=1, time=time, key=jr.key(0), **options)
            arrays, rest = eqx.partition(net, eqx.is_inexact_array)
            moved = jax.tree.map(lambda w: w + size * jnp.cos(3 * w + 1), arrays)
            net = eqx.combine(moved, rest)
            if name == "blind denoiser":
                found[name] = LOSSES[name](lambda x, net=net: net(0.0, x), jr.key(1))
            else:
                found[name] = LOSSES[name](net, jr.key(1))
        return found

    # One program, of values and slopes.
    both = jax.jit(lambda size: jax.jvp(losses, (size,), (1.0,)))
    (_, slopes), (ahead, _), (behind, _) = both(0.0), both(1e-5), both(-1e-5)
    for name, slope in slopes.items():
        np.testing.assert_allclose((ahead[name] - behind[name]) / 2e-5, slope, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.float64, marks=pytest.mark.slow)])
def test_draws_of_a_minibatch(dtype):
    n = 40_000
    shares = jax.jit(lambda key: uniforms(key, n, dtype))(jr.key(0))
    assert shares.dtype == dtype and kstest(np.asarray(shares), "uniform").pvalue > 1e-3
    for size in (3, 2**16, 10**5):
        index = np.asarray(positions(jr.key(1), n, size))
        assert index.min() >= 0 and index.max() < size
        assert (
            kstest((index + np.random.default_rng(0).uniform(size=n)) / size, "uniform")[1] > 1e-3
        )
    # More draws than parts, whose factors are shared, and fewer.
    parts = (jnp.array([[2.0], [-1.0]], dtype), jnp.array([[[0.09]], [[0.25]]], dtype))
    mixture = fm.Particles(parts, weights=jnp.array([0.2, 0.8], dtype))
    x = np.asarray(points(mixture, jr.key(2), n))[:, 0]
    left = x < 0.8
    assert x.dtype == dtype and abs(left.mean() - 0.8) < 4 * 0.4 / n**0.5
    for side, m, s in ((left, -1, 0.5), (~left, 2, 0.3)):
        assert kstest((x[side] - m) / s, "norm").pvalue > 1e-3
    one = jax.vmap(lambda key: points(mixture, key, 1)[0, 0])(jr.split(jr.key(3), 2000))
    assert ks_2samp(np.asarray(one), x).pvalue > 1e-3
    # Masses that are no numbers give none.
    unknown = eqx.tree_at(lambda m: m.log_w, mixture, jnp.array([jnp.nan, 0], dtype))
    assert jnp.all(jnp.isnan(points(unknown, jr.key(4), 3)))


def still(t, x):
    return 0 * x


LABELLED = fm.Particles((ATOMS.x, jnp.arange(3)))
CONDITIONAL = lambda **given: fm.conditional_flow_matching_loss(  # noqa: E731
    lambda t, x, c: x, NORMAL, LABELLED, jr.key(0), 4, **given
)
GUIDED = lambda h, noise=1.0: fm.GuidedFlow(  # noqa: E731
    still, h, jnp.ones(1), jnp.full((1, 1), noise)
).rates(0.3, jnp.ones(2), None)
REFUSED = {
    "no interpolant": ("interpolant", lambda: fm.flow_matching_loss(still, ATOMS, jr.key(0), 4)),
    "labels that a field wants": ("velocity", lambda: fm.flow_matching_loss(
        lambda t, x, c: x, FLOW, jr.key(0), 4)),
    "a field without a time": ("score", lambda: fm.score_matching_loss(
        lambda x: x, FLOW, jr.key(0), 4)),
    "no noise": ("interpolant", lambda: fm.score_matching_loss(
        still, fm.StochasticInterpolant(ATOMS, ATOMS), jr.key(0), 4)),
    "pairs of pairs": ("pairing", lambda: fm.flow_matching_loss(
        still, fm.StochasticInterpolant(ATOMS, ATOMS, coupling=jnp.eye(3) / 3), jr.key(0), 4,
        fm.coupling)),
    "another schedule": ("interpolant", lambda: fm.bridge_matching_loss(
        still, NOISY, jr.key(0), 4)),
    "no end": ("interpolant", lambda: fm.distillation_loss(
        lambda t, x, c: x, still, LINE, jr.key(0), 4)),
    "labels of an interpolant": ("target", lambda: fm.StochasticInterpolant(NORMAL, LABELLED)),
    "two spaces": ("target", lambda: fm.StochasticInterpolant(LINE.source, ATOMS)),
    "points of another size": ("x", lambda: FLOW.velocity(0.3, jnp.ones(3))),
    "charges of another size": ("x", lambda: LINE.velocity(0.3, jnp.ones(3))),
    "no covariance": ("coupling", lambda: fm.StochasticInterpolant(
        NORMAL, NORMAL, coupling=1.5 * jnp.eye(2))),
    "a share above one": ("drop", lambda: CONDITIONAL(drop=2.0)),
    "a cost below zero": ("condition_cost", lambda: CONDITIONAL(
        condition_cost=-1.0, pairing=fm.coupling)),
    "energies that are no numbers": ("energy", lambda: fm.jarzynski_loss(
        lambda x: x, ATOMS, ATOMS)),
    "an observation of another size": ("forward", lambda: GUIDED(lambda x: x)),
    "a matrix of another size": ("forward", lambda: GUIDED(jnp.ones((1, 3)))),
    "no variance": ("noise", lambda: GUIDED(jnp.ones((1, 2)), -1.0)),
    "masses of other levels": ("log_prior", lambda: fm.BlindDenoising(
        ATOMS, jnp.ones(2), 0.1, jnp.zeros(3))),
    "a time after the end": ("t", lambda: fm.FollmerProcess(NORMAL).drift(1.5, jnp.ones(2))),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_losses_and_fields_refuse(name):
    argument, call = REFUSED[name]
    with pytest.raises(ValueError, match=f"`{argument}`"):
        call()


@pytest.mark.parametrize("mass", [jnp.nan, -1.0, 0.0])
def test_plans_of_a_minibatch_that_hold_no_masses(mass):
    bad = lambda mu, nu: jnp.full((4, 4), mass)  # noqa: E731
    assert jnp.isnan(fm.flow_matching_loss(still, FLOW, jr.key(0), 4, bad))
    assert jnp.isnan(CONDITIONAL(pairing=bad))
