"""The Sinkhorn flow on a torus, against its continuity equation and Sinkhorn's iterations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flowjax_measures as fm


def source(x):
    return 0.6 * jnp.sum(jnp.cos(2 * jnp.pi * x)) + 0.2 * jnp.sin(2 * jnp.pi * x[0])


def target(y):
    return -0.4 * jnp.sum(jnp.sin(2 * jnp.pi * y)) + 0.3 * jnp.prod(jnp.cos(2 * jnp.pi * y))


LAW = fm.ParabolicMongeAmpere(source, target)


@pytest.mark.parametrize("d", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_density_moves_by_the_mirror_gradient(d):
    # ∂_t ρ = ∇·(ρ (∇²u)⁻¹ ∇(f + log ρ)), all derivatives by Fourier series of smooth functions.
    n = 32
    x = LAW.centres(jnp.zeros((n,) * d))
    psi = 0.01 * jnp.sum(jnp.cos(2 * jnp.pi * x + 0.3), -1) + 0.006 * jnp.prod(
        jnp.sin(2 * jnp.pi * x), -1
    )
    rho = lambda z: LAW.density(z).rho  # noqa: E731
    found = jax.jvp(rho, (psi,), (LAW(0.0, psi).drift,))[1]

    wave = 2 * np.pi * np.fft.fftfreq(n, 1 / n)
    wave[n // 2] = 0

    def partial(values, axis):
        shape = [-1 if a == axis else 1 for a in range(d)]
        return np.fft.ifftn(1j * wave.reshape(shape) * np.fft.fftn(values)).real

    hessian = np.stack(
        [np.stack([partial(partial(psi, a), b) for b in range(d)], -1) for a in range(d)], -2
    ) + np.eye(d)
    f = np.asarray(jax.vmap(source)(x.reshape(-1, d))).reshape((n,) * d)
    slope = np.stack([partial(f + np.log(rho(psi)), a) for a in range(d)], -1)
    flux = np.asarray(rho(psi))[..., None] * np.linalg.solve(hessian, slope[..., None])[..., 0]
    exact = sum(partial(flux[..., a], a) for a in range(d))
    np.testing.assert_allclose(found, exact, atol=1e-7 * np.abs(exact).max())


@pytest.mark.slow
def test_ends_at_the_optimal_map():
    psi = fm.simulate(LAW, jnp.zeros(32), [0.0, 2.0]).final
    p = jnp.exp(-jax.vmap(source)(LAW.centres(psi)))
    # What is left is in the mode that 32 points do not tell the sign of.
    np.testing.assert_allclose(LAW.density(psi).rho, p / jnp.mean(p), rtol=1e-5)


def test_sinkhorn_iterations_are_steps_of_order_one():
    """The marginals at k = t/ε, by sums of NumPy, and the flow."""
    n, t = 64, 0.05
    x = (np.arange(n) + 0.5) / n
    exact = fm.simulate(LAW, jnp.zeros(n), [0.0, t]).final
    errors = []
    for epsilon in (0.005, 0.0025):
        run = fm.simulate(LAW, jnp.zeros(n), [0.0, t], solver=fm.SinkhornIterations(epsilon)).final
        gap = (x[:, None] - x)[..., None] + np.arange(-3, 4)
        kernel = np.exp(-(gap**2) / (2 * epsilon)).sum(-1) / n / np.sqrt(2 * np.pi * epsilon)
        p, q = (np.exp(-np.asarray(jax.vmap(h)(x[:, None]))) for h in (source, target))
        u = np.ones(n)
        for _ in range(round(t / epsilon)):
            u = kernel @ (q / (kernel.T @ (p / u)))
        centred = lambda z: z - np.mean(z)  # noqa: E731
        np.testing.assert_allclose(centred(run), centred(epsilon * np.log(u)), atol=1e-10)
        errors.append(float(np.max(np.abs(centred(run) - centred(exact)))))
    assert abs(np.log2(errors[0] / errors[1]) - 1) < 0.15


def test_sinkhorns_iterates_between_gaussians_are_those_of_quadrature():
    # f = ½·1.4 x² − 0.3 x, e^{−g} = N(0.4, 0.7), from N(−0.5, 1.3), in steps of ε = 0.2.
    epsilon, n, variance, m0, s0 = 0.2, 0.4, 0.7, -0.5, 1.3
    f = lambda x: 0.7 * jnp.sum(x**2) - 0.3 * jnp.sum(x)  # noqa: E731
    nu = fm.Gaussian(jnp.array([n]), jnp.array([[variance]]))
    flow = fm.GradientFlow(fm.KL(f), fm.WassersteinMirror(nu))
    start = fm.Gaussian(jnp.array([m0]), jnp.array([[s0]]))
    ts = [0.0, epsilon, 3 * epsilon]
    run = fm.simulate(flow, start, ts, solver=fm.SinkhornIterations(epsilon))

    x = np.linspace(-14.0, 14.0, 1401)
    slope = np.sqrt(variance / s0)
    psi = slope * (x - m0) ** 2 / 2 + n * x - x**2 / 2
    gap = -((x[:, None] - x) ** 2) / 2
    smooth = lambda u: epsilon * np.log(np.exp(u - u.max(0)).sum(0)) + epsilon * u.max(0)  # noqa: E731
    for k in range(3):
        chi = smooth((gap - psi[:, None]) / epsilon - (0.7 * x**2 - 0.3 * x)[:, None])
        psi = smooth((gap - chi[:, None]) / epsilon - ((x - n) ** 2 / 2 / variance)[:, None])
        middle = psi[600:801] + x[600:801] ** 2 / 2
        u, v, _ = np.polyfit(x[600:801], middle, 2) * [2, 1, 1]
        if k in (0, 2):
            law = jax.tree.map(lambda a, k=k: a[1 + k // 2], run.ys)
            np.testing.assert_allclose(law.m[0], (n - v) / u, atol=1e-8)
            np.testing.assert_allclose(law.cov[0, 0], variance / u**2, atol=1e-8)


@pytest.mark.slow
def test_sinkhorns_iterates_between_gaussians_tend_to_the_flow():
    nu = fm.Gaussian(jnp.array([0.5, 0.0]), jnp.array([[0.8, 0.2], [0.2, 0.5]]))
    potential = fm.Quadratic(jnp.array([[1.5, 0.4], [0.4, 0.9]]), jnp.array([0.3, -0.2]))
    flow = fm.GradientFlow(fm.KL(potential), fm.WassersteinMirror(nu))
    start = fm.Gaussian(jnp.array([1.0, -1.0]), jnp.array([[1.2, -0.3], [-0.3, 0.9]]))
    exact = fm.simulate(flow, start, [0.0, 0.6]).final
    errors = []
    for epsilon in (0.06, 0.03, 0.015):
        final = fm.simulate(flow, start, [0.0, 0.6], solver=fm.SinkhornIterations(epsilon)).final
        errors.append(np.abs(final.cov - exact.cov).max() + np.abs(final.m - exact.m).max())
    slopes = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert errors[-1] < 0.03 and np.all(np.abs(slopes - 1) < 0.15)
    with pytest.raises(ValueError, match="`potential`"):
        bent = fm.GradientFlow(fm.KL(lambda x: jnp.sum(x**4)), fm.WassersteinMirror(nu))
        fm.simulate(bent, start, [0.0, 0.1], solver=fm.SinkhornIterations(0.1))
