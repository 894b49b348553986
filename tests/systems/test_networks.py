"""Residual networks, multi-index models and manifolds of functions, against independent truths."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import flowjax_measures as fm

INPUTS = jr.normal(jr.key(1), (4, 1))
TARGETS = jnp.sin(2 * INPUTS)


def plain_risk(network, weights):
    """The forward pass in a loop over layers and neurons."""
    x = np.asarray(INPUTS @ weights.embedding.T)
    for u, v in zip(weights.u, weights.v, strict=True):
        x = x + sum(
            np.outer(np.tanh(x @ u[j]), v[j]) for j in range(network.M)
        ) / (network.L * network.M)  # fmt: skip
    return np.mean(np.sum((x @ weights.readout - np.asarray(TARGETS)) ** 2, axis=1))


def test_residual_network_and_its_training():
    network = fm.ResidualNetwork(3, 2, 4, (INPUTS, TARGETS))
    weights = network.weights(jr.key(0))
    np.testing.assert_allclose(network.risk(weights), plain_risk(network, weights), rtol=1e-12)
    h = 1e-6
    moved = weights.u.at[1, 0, 2].add(h), weights.u.at[1, 0, 2].add(-h)
    u = [plain_risk(network, fm.ResidualWeights(weights.embedding, a, weights.v, weights.readout))
         for a in moved]  # fmt: skip
    motion = jax.jit(lambda w: network(0.0, w).drift)
    drift = motion(weights)
    np.testing.assert_allclose(drift.u[1, 0, 2], -6 * (u[0] - u[1]) / (2 * h), rtol=1e-6)
    # Gradient descent is Euler's method.
    run = fm.simulate(network, weights, [0.0, 0.5], dt=0.25, solver=diffrax.Euler())
    by_hand = weights
    for _ in range(2):
        step = motion(by_hand)
        by_hand = fm.ResidualWeights(
            weights.embedding, by_hand.u + 0.25 * step.u, by_hand.v + 0.25 * step.v, weights.readout
        )
    np.testing.assert_allclose(run.final.v, by_hand.v, rtol=1e-12)
    np.testing.assert_array_equal(run.final.embedding, weights.embedding)
    assert network.risk(run.final) < network.risk(weights)
    clipped = fm.ResidualNetwork(3, 2, 4, (INPUTS, TARGETS), clip=0.1)(0.0, weights).drift
    speed, clip = (np.linalg.norm(d.v, axis=-1) for d in (drift, clipped))
    np.testing.assert_allclose(clip, np.minimum(speed, 0.1), rtol=1e-12)
    assert speed.max() > 0.1


def test_depth_converges_at_its_order():
    """The same neurons in every layer: only the steps of the blocks differ."""
    outputs = []
    for depth, order in ((4, 1), (8, 1), (4, 2), (8, 2), (64, 2)):
        network = fm.ResidualNetwork(depth, 6, 3, (INPUTS, TARGETS), order=order)
        one = fm.ResidualNetwork(1, 6, 3, (INPUTS, TARGETS)).weights(jr.key(0))
        weights = fm.ResidualWeights(
            one.embedding, jnp.repeat(one.u, depth, 0), jnp.repeat(3 * one.v, depth, 0), one.readout
        )
        outputs.append(network.predictions(weights))
    errors = [np.abs(a - outputs[-1]).max() for a in outputs[:-1]]
    assert abs(np.log2(errors[0] / errors[1]) - 1) < 0.15
    assert abs(np.log2(errors[2] / errors[3]) - 2) < 0.25


def test_conditional_distance():
    """Of layer laws of one atom each it is the root of the mean square; depths are refined."""
    shift = jnp.array([0.3, -1.0])
    mus = jax.vmap(fm.Particles)(jnp.zeros((2, 1, 1)))
    nus = jax.vmap(fm.Particles)(shift[:, None, None])
    np.testing.assert_allclose(
        fm.conditional_wasserstein(mus, nus), np.sqrt(np.mean(shift**2)), rtol=1e-12
    )
    third = jax.vmap(fm.Particles)(jnp.array([0.0, 1.0, 2.0])[:, None, None])
    # [0, ⅓): 0.3², [⅓, ½): 0.7², [½, ⅔): 2², [⅔, 1): 3².
    expected = 0.3**2 / 3 + 0.7**2 / 6 + 4 / 6 + 9 / 3
    np.testing.assert_allclose(fm.conditional_wasserstein(nus, third) ** 2, expected, rtol=1e-12)
    laws = fm.ResidualNetwork(2, 3, 2, (INPUTS, TARGETS)).weights(jr.key(0)).laws()
    assert laws.x.shape == (2, 3, 4)


C1, C2, C4 = 0.3, 0.8, 0.5


@pytest.mark.slow
def test_single_index_flow_is_the_scalar_equation():
    c = np.array([C1, C2, 0.0, C4])
    link = tuple(
        jnp.full((1,) * k, c[k - 1] * np.sqrt(np.prod(range(1, k + 1)))) for k in range(1, 5)
    )
    flow = fm.MultiIndexFlow(link)
    start = fm.Particles(jnp.array([0.1, 0.4])[:, None, None])
    final = fm.simulate(flow, start, [0.0, 1.5]).final.x[:, 0, 0]

    def field(t, m):
        k = np.arange(1, 5)
        return (1 - m**2) * np.sum(k * c**2 * m[:, None] ** (2 * k - 1), axis=1)

    truth = solve_ivp(field, (0, 1.5), [0.1, 0.4], rtol=1e-10, atol=1e-12).y[:, -1]
    np.testing.assert_allclose(final, truth, rtol=1e-6)
    np.testing.assert_allclose(
        flow.risk(jnp.array([[0.4]])), 0.5 * np.sum(c**2 * (1 - 0.4 ** (2 * np.arange(1, 5)))),
        rtol=1e-12,
    )  # fmt: skip


def hermite(tensors, y):
    """Σ_k ⟨C_k, He_k(y)⟩ / k! up to k = 2."""
    linear, quadratic = tensors
    return jnp.vdot(linear, y) + jnp.vdot(quadratic, jnp.outer(y, y) - jnp.eye(y.size)) / 2


def test_multi_index_flow_is_training_in_dimension_d():
    """Risk and motion of the frames W, from quadrature of the inputs in R^4 and autodiff."""
    link = (jnp.array([0.5, 0.0]), jnp.array([[0.3, 0.4], [0.4, -0.7]]))
    learner = (jnp.array([0.2, -0.1]), jnp.array([[0.1, 0.0], [0.0, 0.6]]))
    frame, teacher = (jnp.linalg.qr(jr.normal(jr.key(i), (4, 2)))[0] for i in (0, 1))
    inputs = fm.Gaussian(jnp.zeros(4), jnp.eye(4))

    def risk(w, a):
        gap = lambda z: hermite(a, w.T @ z) - hermite(link, teacher.T @ z)  # noqa: E731
        return inputs.mean(lambda z: gap(z) ** 2) / 2

    flow = fm.MultiIndexFlow(link, time_scale=0.5)
    x = (frame.T @ teacher, learner)
    risk_now = jax.jit(risk)
    np.testing.assert_allclose(flow.risk(x), risk_now(frame, learner), rtol=1e-10)
    slope = -jax.jit(jax.grad(risk))(frame, learner)
    inner = frame.T @ slope
    velocity = slope - frame @ (inner + inner.T) / 2
    rates = flow.rates(0.0, x, None).velocity
    np.testing.assert_allclose(rates[0], velocity.T @ teacher, rtol=1e-9, atol=1e-12)
    best = flow.transported(x[0])
    slow = fm.MultiIndexFlow(link)
    np.testing.assert_allclose(slow.risk(x[0]), risk_now(frame, best), rtol=1e-10)
    # ½ E|f − F|² as a function of f has the gradient f − F in L².
    np.testing.assert_allclose(rates[1][1], 2 * (best[1] - learner[1]), rtol=1e-12)
    with pytest.raises(ValueError, match="`link`"):
        fm.MultiIndexFlow((jnp.ones(2), jnp.ones((2, 3))))


@pytest.mark.slow
def test_multi_index_flow_goes_from_saddle_to_saddle():
    flow = fm.MultiIndexFlow((jnp.zeros(2), jnp.diag(jnp.array([1.2, 0.4]))))
    start = fm.Particles(0.2 * jnp.eye(2)[None] + 0.02)
    ts = np.concatenate([np.zeros(1), np.geomspace(0.1, 400.0, 60)])
    run = fm.simulate(flow, start, ts, observe=lambda mu: flow.risk(mu.x[0]))
    assert np.all(np.diff(run.ys) < 1e-6)
    # Two plateaus: nothing learnt, then the strong direction alone; at last both.
    levels = np.array([1.2**2 + 0.4**2, 0.4**2, 0.0]) / 4
    at_level = [np.sum(np.abs(run.ys - level) < 0.02 * levels[0]) for level in levels]
    assert min(at_level) >= 10 and np.sum(at_level) < 61


MODEL = fm.AllenCahn(-8.0, 8.0, epsilon=0.8, well=lambda u: u**2 * (1 - u) ** 2, nodes=80)
THETA = (jnp.array([0.8, 0.5]), jnp.array([-1.0, 1.2]))


def test_natural_gradient_is_dirac_frenkel():
    @jax.jit
    def everything(theta):
        natural = fm.NaturalGradient(MODEL.embedding, MODEL.energy)(0.0, theta).drift
        projected = fm.DiracFrenkel(MODEL.embedding, MODEL.field)(0.0, theta).drift
        return natural, projected, jax.jacfwd(MODEL.embedding)(theta), MODEL.field(theta)

    natural, projected, columns, field = everything(THETA)
    for a, b in zip(natural, projected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7)
    direct = np.linalg.lstsq(np.concatenate(columns, axis=1), field, rcond=None)[0]
    np.testing.assert_allclose(np.concatenate(projected), direct, rtol=1e-8)


def test_heat_equation_of_moving_gaussians():
    """ε → ∞: u″ of a Gaussian is projected on its own translates; one neuron decays at rate ½."""
    heat = fm.AllenCahn(-10.0, 10.0, well=lambda u: 0.0 * u, nodes=80)
    flow = fm.DiracFrenkel(heat.embedding, heat.field)
    drift = jax.jit(lambda theta: flow(0.0, theta).drift)((jnp.array([2.0]), jnp.array([0.3])))
    np.testing.assert_allclose(drift[0], [-2.0 * 0.5], rtol=1e-8)
    np.testing.assert_allclose(drift[1], [0.0], atol=1e-8)


@pytest.mark.slow
def test_minimizing_movement_is_of_order_one_and_descends():
    flow = fm.NaturalGradient(MODEL.embedding, MODEL.energy)
    truth = fm.simulate(flow, THETA, [0.0, 0.2]).final
    errors = []
    for tau in (0.1, 0.05):
        run = fm.simulate(
            flow, THETA, [0.0, 0.1, 0.2], solver=fm.MinimizingMovement(tau, flow, 12),
            observe=MODEL.energy,
        )  # fmt: skip
        assert np.all(np.diff(run.ys) < 0)
        errors.append(abs(run.ys[-1] - MODEL.energy(truth)))
    assert abs(np.log2(errors[0] / errors[1]) - 1) < 0.15


@pytest.mark.slow
def test_neurons_collide_and_the_energy_falls_on():
    """Two bumps sharpen into one: DU loses rank at a finite time, and the function goes on."""
    model = fm.AllenCahn(-8.0, 8.0, epsilon=0.5, well=lambda u: u**2 * (1 - u) ** 2, nodes=80)
    flow = fm.NaturalGradient(model.embedding, model.energy)
    theta = (jnp.array([0.5, 0.5]), jnp.array([-0.8, 0.8]))
    ts = np.linspace(0, 1, 21)
    plain = fm.simulate(flow, theta, ts, dt=0.0025, observe=model.energy, throw=False).ys
    assert not np.all(np.isfinite(plain)) or np.diff(plain).max() > 1e-3
    ends = []
    for tau in (0.02, 0.01):
        solver = fm.MinimizingMovement(tau, flow, 30, model.splittings)
        ends.append(fm.simulate(flow, theta, ts, solver=solver, observe=model.energy).ys)
        assert np.all(np.diff(ends[-1]) < 0)
    # Before the collision as the plain flow, after it below the two merged neurons.
    np.testing.assert_allclose(ends[1][:6], plain[:6], atol=2e-3)
    merged = fm.simulate(
        flow, theta, ts, solver=fm.MinimizingMovement(0.02, flow), observe=model.energy
    )
    assert ends[0][-1] < merged.ys[-1] - 0.01
    assert abs(ends[0][-1] - ends[1][-1]) < 1e-3


@pytest.mark.slow
def test_two_time_scales_meet():
    link = (jnp.array([0.5, 0.0]), jnp.array([[0.3, 0.4], [0.4, -0.7]]))
    overlap = jnp.array([[0.4, 0.1], [-0.2, 0.5]])
    slow = fm.MultiIndexFlow(link)
    truth = fm.simulate(slow, fm.Particles(overlap[None]), [0.0, 1.0]).final.x
    errors = []
    for epsilon in (0.02, 0.01):
        flow = fm.MultiIndexFlow(link, epsilon)
        state = (overlap[None], tuple(a[None] for a in slow.transported(overlap)))
        final = fm.simulate(flow, fm.Particles(state), [0.0, 1.0]).final.x[0]
        errors.append(np.abs(final - truth).max())
    assert abs(np.log2(errors[0] / errors[1]) - 1) < 0.15


@pytest.mark.slow
def test_bumps_in_the_plane_have_the_energy_of_the_plane():
    """E of one Gaussian in closed form, and of heat: a bump that fades in its own profile."""
    model = fm.AllenCahn(
        jnp.full(2, -6.0), jnp.full(2, 7.0), well=lambda u: u**2 / 2, epsilon=0.5, nodes=32
    )
    theta = jnp.array([0.7]), jnp.array([[0.3, -0.2]])
    np.testing.assert_allclose(model.energy(theta), 0.49 * np.pi / 2 * (1 + 4), rtol=1e-6)
    np.testing.assert_allclose(jnp.sum(model.embedding(theta) ** 2), 0.49 * np.pi, rtol=1e-6)
    # ∫u (Δu − 4u) = −2E.
    paired = jnp.vdot(model.embedding(theta), model.field(theta))
    np.testing.assert_allclose(paired, -2 * model.energy(theta), rtol=1e-6)
    flow = fm.NaturalGradient(model.embedding, model.energy)
    rate, place = flow(0.0, theta).drift
    np.testing.assert_allclose(rate, -5 * theta[0], rtol=1e-5)
    # The box cuts e^{−16} of it off.
    np.testing.assert_allclose(place, 0, atol=1e-6)


def test_a_pair_taken_apart_is_the_pair_to_second_order():
    """3A/2 at b + δ and −A/2 at b + 3δ are A at b without its slope; the other bumps stay."""
    model = fm.AllenCahn(jnp.full(2, -4.0), jnp.full(2, 4.0), nodes=4)
    theta = jnp.array([0.3, 0.4, 0.9]), jnp.array([[0.2, 0.1], [0.4, -0.1], [-2.0, 1.0]])
    masses, places = model.splittings(theta)
    assert masses.shape == (8, 3) and places.shape == (8, 3, 2)
    np.testing.assert_allclose(masses, np.tile([1.05, -0.35, 0.9], (8, 1)), rtol=1e-12)
    np.testing.assert_array_equal(places[:, 2], np.tile([-2.0, 1.0], (8, 1)))
    shifts = np.asarray(places[:, 0]) - [0.3, 0.0]
    np.testing.assert_allclose(places[:, 1] - places[:, 0], 2 * shifts, atol=1e-12)
    known = {(round(s * (axis == 0), 9), round(s * (axis == 1), 9))
             for s in (-0.2, -0.05, 0.05, 0.2) for axis in (0, 1)}  # fmt: skip
    assert {tuple(map(float, np.round(shift, 9) + 0.0)) for shift in shifts} == known
    # Σ a φ(x − b) = A φ(x − b̄) − (3/2) A δᵀ∇²φ δ + O(δ³), whose cubic terms the mean over ±δ lacks.
    x, k = jnp.array([0.9, 0.4]), int(np.argmin(np.abs(shifts).sum(1)))
    back = int(np.argmin(np.abs(shifts + shifts[k]).sum(1)))
    profile = lambda z: model.profile(x - z)  # noqa: E731
    bend = shifts[k] @ jax.hessian(profile)(jnp.array([0.3, 0.0])) @ shifts[k]
    merged = 0.7 * profile(jnp.array([0.3, 0.0])) + 0.9 * profile(theta[1][2])
    found = sum(model.value((masses[i], places[i]), x) for i in (k, back)) / 2 - model.background
    np.testing.assert_allclose(found - merged, -1.5 * 0.7 * bend, rtol=0.02)


@pytest.mark.slow
def test_bumps_of_the_plane_collide_under_minimising_movements():
    """Two opposite bumps meet off the axes, where the natural gradient has no metric."""
    model = fm.AllenCahn(
        jnp.full(2, -5.0), jnp.full(2, 5.0), well=lambda u: u**2 * (1 - u) ** 2, epsilon=0.5,
        nodes=20,
    )  # fmt: skip
    flow = fm.NaturalGradient(model.embedding, model.energy)
    theta = jnp.array([0.6, 0.6]), jnp.array([[-0.5, -0.3], [0.5, 0.3]])
    solver = fm.MinimizingMovement(0.05, flow, 20, model.splittings)
    ts = jnp.linspace(0.0, 1.0, 11)
    run = fm.simulate(flow, theta, ts, solver=solver, observe=model.energy)
    assert jnp.all(jnp.isfinite(run.ys))
    assert jnp.all(jnp.diff(run.ys) < 1e-12)
    assert run.ys[-1] < 0.8 * run.ys[0]


@pytest.mark.parametrize("activation", [jax.nn.relu, jnp.tanh])
def test_contractive_networks_bring_points_together_up_to_their_step(activation):
    weights, biases = jr.normal(jr.key(0), (3, 5, 2)), jr.normal(jr.key(1), (3, 5))
    net = fm.ContractiveFlow(weights, biases, activation)
    ends = fm.Particles(3 * jr.normal(jr.key(2), (20, 2)))

    def apart(mu):
        return jnp.linalg.norm(mu.x[:, None] - mu.x, axis=-1)

    # Layers are as long as the bound allows: weights are scaled to it.
    size = jnp.sqrt(net.step_bound() * 3)
    at_bound = fm.ContractiveFlow(size * weights, biases, activation)
    np.testing.assert_allclose(at_bound.step_bound(), 1 / 3)
    run = fm.simulate(at_bound, ends, [0.0, 1.0], dt=1 / 3, solver=diffrax.Euler())
    assert jnp.all(apart(run.final) <= apart(ends) + 1e-12)
    flow = fm.simulate(net, ends, jnp.linspace(0.0, 1.0, 7), dt=1 / 30).ys
    assert jnp.all(jnp.diff(jax.vmap(apart)(flow), axis=0) <= 1e-12)


def test_the_step_bound_of_a_contractive_network_is_sharp():
    """Where all of ReLU is active a layer is linear, and turns its largest direction over."""
    weights = jr.normal(jr.key(0), (1, 4, 2))
    direction = jnp.linalg.svd(weights[0])[2][0]
    mu = fm.Particles(jnp.stack([0 * direction, 1e-3 * direction]))
    for factor in (0.9, 1.1):
        net = fm.ContractiveFlow(weights, jnp.ones((1, 4)))
        scale = jnp.sqrt(factor * net.step_bound())
        net = fm.ContractiveFlow(scale * weights, jnp.ones((1, 4)))
        end = fm.simulate(net, mu, [0.0, 1.0], dt=1.0, solver=diffrax.Euler()).final
        grown = jnp.linalg.norm(end.x[1] - end.x[0]) / 1e-3
        np.testing.assert_allclose(grown, 2 * factor - 1, rtol=1e-9)
