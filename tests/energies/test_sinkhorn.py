"""The Sinkhorn divergence: its value, its flow and the derivative of its flow."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm
from flowjax_measures._numerics._matrix import square_root
from flowjax_measures.energies import _schrodinger as schrodinger


def cloud(key, n, shift=0.0, scale=1.0):
    return shift + scale * jr.normal(jr.key(key), (n, 2))


def weights(key, n):
    return jax.nn.log_softmax(0.5 * jr.normal(jr.key(key), (n,)))


def sinkhorn_by_hand(x, a, y, b, epsilon, steps=20_000):
    """OT_ε by plain scaling, in NumPy: an independent computation."""
    kernel = np.exp(-(np.sum((x[:, None] - y[None]) ** 2, -1)) / epsilon)
    u, v = np.ones(len(a)), np.ones(len(b))
    for _ in range(steps):
        u = 1 / (kernel @ (b * v))
        v = 1 / (kernel.T @ (a * u))
    return epsilon * (a @ np.log(u) + b @ np.log(v))


@pytest.mark.parametrize("epsilon", [2.0, 0.3])
def test_value_is_that_of_plain_scaling(epsilon):
    x, y = np.asarray(cloud(0, 9)), np.asarray(cloud(1, 7, 0.5))
    log_a, log_b = weights(2, 9), weights(3, 7)
    a, b = np.exp(log_a), np.exp(log_b)
    expected = sinkhorn_by_hand(x, a, y, b, epsilon) - 0.5 * (
        sinkhorn_by_hand(x, a, x, a, epsilon) + sinkhorn_by_hand(y, b, y, b, epsilon)
    )
    energy = fm.SinkhornDivergence(fm.Particles(jnp.asarray(y), log_b), epsilon)
    np.testing.assert_allclose(energy(fm.Particles(jnp.asarray(x), log_a)), expected, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "epsilon"), [(60, 0.005), (200, 0.02), (50, 1.0)])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_marginals(n, epsilon, dtype):
    x, y = cloud(0, n).astype(dtype), cloud(1, n, 1.0, 0.6).astype(dtype)
    log_a, log_b = weights(2, n).astype(dtype), weights(3, n).astype(dtype)
    epsilon = jnp.asarray(epsilon, dtype)
    f, g = schrodinger.potentials(x, log_a, y, log_b, epsilon)
    cost = schrodinger.squared_distances(x, y)
    plan = jnp.exp(schrodinger._tilt(cost, epsilon, log_a, log_b, f, g))
    error = (
        jnp.abs(plan.sum(1) - jnp.exp(log_a)).sum() + jnp.abs(plan.sum(0) - jnp.exp(log_b)).sum()
    )
    assert f.dtype == dtype
    assert error < 20 * jnp.finfo(dtype).eps * (4 + cost.max() / epsilon)


@pytest.mark.slow
def test_value_has_true_derivatives_of_second_order():
    y, log_a, x = cloud(1, 5, 0.5), weights(2, 6), cloud(0, 6)

    def value(epsilon, x):
        return fm.SinkhornDivergence(fm.Particles(y), epsilon)(fm.Particles(x, log_a))

    epsilon, h = jnp.asarray(0.5), 1e-5
    slope = jax.jit(jax.grad(value))
    expected = (slope(epsilon + h, x) - slope(epsilon - h, x)) / (2 * h)
    for second in (jax.jacfwd(jax.grad(value)), jax.jacrev(jax.grad(value))):
        np.testing.assert_allclose(jax.jit(second)(epsilon, x), expected, rtol=1e-7)
    slope = jax.jit(jax.grad(value, 1))
    move = jr.normal(jr.key(4), x.shape)
    expected = (slope(epsilon, x + h * move) - slope(epsilon, x - h * move)) / (2 * h)
    found = jax.jit(lambda x: jax.jvp(lambda x: slope(epsilon, x), (x,), (move,))[1])(x)
    np.testing.assert_allclose(found, expected, atol=1e-7 * np.abs(expected).max())


@pytest.mark.slow
def test_velocity_is_minus_the_gradient_over_the_weight():
    mu = fm.Particles(cloud(0, 8), weights(2, 8))
    energy = fm.SinkhornDivergence(fm.Particles(cloud(1, 5, 0.5)), 0.4)
    gradient = jax.jit(jax.grad(lambda x: energy(fm.Particles(x, mu.log_w))))(mu.x)
    velocity = jax.jit(jax.vmap(lambda x: energy.velocity(x, mu)))(mu.x)
    np.testing.assert_allclose(velocity, -gradient / jnp.exp(mu.log_w)[:, None], atol=1e-12)


def flow_loss(epsilon, target, x, *, solver):
    energy = fm.SinkhornDivergence(fm.Particles(target), epsilon)
    ts = np.array([0.0, 0.5])
    run = fm.simulate(fm.GradientFlow(energy), fm.Particles(x), ts, dt=0.1, solver=solver)
    return energy(run.final) + jnp.sum(run.final.x[:3] ** 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "solver",
    [pytest.param(diffrax.Euler(), marks=pytest.mark.slow), diffrax.Tsit5()],
    ids=["euler", "tsit5"],
)
def test_flow_has_the_derivative_of_its_differences(solver):
    plain = lambda *args: flow_loss(*args, solver=solver)  # noqa: E731
    args = (jnp.asarray(0.5), cloud(1, 6, 1.0, 0.6), cloud(0, 8))
    reverse = jax.jit(jax.value_and_grad(plain, (0, 1, 2)))
    loss = lambda *args: reverse(*args)[0]  # noqa: E731
    _, gradient = reverse(*args)
    for i, arg in enumerate(args):
        move = [jnp.zeros_like(a) for a in args]
        move[i] = jr.normal(jr.key(5), arg.shape)
        h = 1e-5
        above, below = ([a + s * h * m for a, m in zip(args, move, strict=True)] for s in (1, -1))
        expected = (loss(*above) - loss(*below)) / (2 * h)
        np.testing.assert_allclose(jnp.vdot(gradient[i], move[i]), expected, rtol=1e-6)
        if i == 0 and isinstance(solver, diffrax.Euler):
            forward = jax.jit(lambda a, m: jax.jvp(plain, a, m)[1])(args, tuple(move))
            np.testing.assert_allclose(forward, expected, rtol=1e-6)
    if not isinstance(solver, diffrax.Euler):
        return
    _, single = reverse(*jax.tree.map(lambda a: a.astype(jnp.float32), args))
    for found, expected in zip(single, gradient, strict=True):
        assert found.dtype == jnp.float32
        error = np.linalg.norm((found.astype(float) - expected).ravel())
        assert error < 2e-5 * np.linalg.norm(expected.ravel())


def normals():
    return (
        fm.Gaussian(jnp.array([0.3, -0.2]), jnp.array([[1.0, 0.3], [0.3, 0.5]])),
        fm.Gaussian(jnp.array([1.0, 0.4]), jnp.array([[0.6, -0.2], [-0.2, 0.9]])),
    )


@pytest.mark.slow
def test_gaussian_value_is_that_of_a_grid():
    # One dimension, where the grid is the truth: the trapezoidal sum of a Gaussian is exact.
    mu, nu = (
        fm.Gaussian(jnp.array([0.2]), jnp.array([[0.5]])),
        fm.Gaussian(jnp.array([-0.4]), jnp.array([[0.25]])),
    )
    x = jnp.linspace(-6, 6, 161)[:, None]
    as_grid = lambda g: fm.Particles(x, jax.nn.log_softmax(jax.vmap(g.log_density)(x)))  # noqa: E731
    expected = fm.SinkhornDivergence(as_grid(nu), 0.7)(as_grid(mu))
    np.testing.assert_allclose(fm.SinkhornDivergence(nu, 0.7)(mu), expected, rtol=1e-10)


def test_gaussian_flow_is_the_gradient_of_its_value():
    # The Bures gradient of F(m, Σ): velocity −∂_m F − 2 ∂_Σ F (x − m).
    mu, nu = normals()
    energy = fm.SinkhornDivergence(nu, 0.8)
    slope = jax.grad(lambda m, cov: energy(fm.Gaussian(m, cov)), (0, 1))(mu.m, mu.cov)
    x = jnp.array([0.7, -1.1])
    by_value = -slope[0] - (slope[1] + slope[1].T) @ (x - mu.m)
    np.testing.assert_allclose(energy.velocity(x, mu), by_value, atol=1e-12)


def test_gaussian_flow_is_the_covariance_equation():
    # Isotropic: Σ = s I obeys ṡ = 4 s (k(s, b) − k(s, s)), k = 2b / (√(4sb + ε²/4) + ε/2).
    b, epsilon = 0.4, 0.6
    nu = fm.Gaussian(jnp.array([1.0, 0.0]), b * jnp.eye(2))
    mu = fm.Gaussian(jnp.zeros(2), 1.5 * jnp.eye(2))
    run = fm.simulate(fm.GradientFlow(fm.SinkhornDivergence(nu, epsilon)), mu, np.array([0.0, 0.7]))

    def slope(t, s, args):
        k = lambda a, b: 2 * b / (jnp.sqrt(4 * a * b + epsilon**2 / 4) + epsilon / 2)  # noqa: E731
        return 4 * s * (k(s, b) - k(s, s))

    exact = diffrax.diffeqsolve(
        diffrax.ODETerm(slope), diffrax.Tsit5(), 0.0, 0.7, None, jnp.array(1.5),
        stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-12),
    ).ys[0]  # fmt: skip
    np.testing.assert_allclose(run.final.cov, exact * np.eye(2), atol=1e-7)
    np.testing.assert_allclose(run.final.m, nu.m * (1 - np.exp(-1.4)), rtol=1e-6)


def test_flow_from_a_singular_gaussian_stays_on_its_support():
    # Mass off the support of the initial law is never reached; on it, the target is.
    nu = fm.Gaussian(jnp.array([1.0, 0.4]), jnp.diag(jnp.array([0.6, 0.9])))
    mu = fm.Gaussian(jnp.zeros(2), jnp.diag(jnp.array([1.0, 0.0])))
    run = fm.simulate(fm.GradientFlow(fm.SinkhornDivergence(nu, 0.5)), mu, np.array([0.0, 20.0]))
    np.testing.assert_allclose(run.final.cov, np.diag([0.6, 0.0]), atol=1e-7)
    np.testing.assert_allclose(run.final.m, nu.m, atol=1e-7)


def test_square_root_has_derivatives_where_eigenvalues_meet():
    a, move = 2.0 * jnp.eye(3), jnp.array([[1.0, 0.3, 0.0], [0.3, -1.0, 0.2], [0.0, 0.2, 0.5]])
    second = jax.jvp(lambda b: jax.jvp(square_root, (b,), (move,))[1], (a,), (move,))[1]
    # (2I + hA)^{1/2} = √2 (I + hA/4 − h²A²/32 + …)
    np.testing.assert_allclose(second, -np.sqrt(2) * move @ move / 16, atol=1e-13)


@pytest.mark.slow
def test_handing_on_potentials_changes_neither_the_flow_nor_its_derivative():
    x, y = jr.normal(jr.key(8), (2, 6, 2))

    def end(epsilon, solver):
        flow = fm.GradientFlow(fm.SinkhornDivergence(fm.Particles(y), epsilon))
        return fm.simulate(flow, fm.Particles(x), [0.0, 0.4], dt=0.1, solver=solver).final.x

    def ends(epsilon):
        return end(epsilon, fm.WarmSinkhorn()) - end(epsilon, diffrax.Euler())

    gap, slope = jax.jacrev(lambda e: (ends(e),) * 2, has_aux=True)(0.5)[::-1]
    np.testing.assert_allclose(gap, 0, atol=1e-11)
    np.testing.assert_allclose(slope, 0, atol=1e-9)


def test_potentials_are_handed_on_in_sinkhorn_flows_alone():
    with pytest.raises(ValueError, match="leave out `solver`"):
        flow = fm.GradientFlow(fm.PotentialEnergy(fm.Quadratic()))
        fm.simulate(
            flow, fm.Particles(jnp.ones((2, 1))), [0.0, 0.1], dt=0.1, solver=fm.WarmSinkhorn()
        )
