"""Equations of geometry against closed forms, their equilibria and their invariants."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.linalg import expm
from scipy.sparse.csgraph import shortest_path

import flowjax_measures as fm


def current(system, state, log_density):
    """b − ½ ∇·a − ½ a ∇log ρ, which vanishes where ρ is in detailed balance."""
    flat, unravel = ravel_pytree(state)

    def law(z):
        return system(0.0, unravel(z))

    def squared(z):
        noise = law(z).noise
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), noise.brownian())
        small, back = ravel_pytree(zeros)
        sigma = jax.jacfwd(lambda w: moving(noise.apply(back(w))))(small)
        return sigma @ sigma.T

    def moving(m):
        return ravel_pytree(m.x if isinstance(m, fm.Particles) else m.rho)[0]

    @jax.jit
    def evaluate(z):
        n = moving(state).size
        divergence = jnp.einsum("ijj->i", jax.jacfwd(squared)(z)[..., :n])
        slope = jax.grad(lambda z: log_density(unravel(z)))(z)[:n]
        return moving(law(z).drift) - divergence / 2 - squared(z) @ slope / 2

    return evaluate(flat)


def film(shape=(6,), periodic=True):
    h = 1 + 0.4 * jr.uniform(jr.key(3), shape)
    return fm.GridDensity(h, 0.0, 2.0, periodic)


@pytest.mark.parametrize(("shape", "periodic"), [((6,), True), ((3, 4), (True, False))])
def test_film_keeps_its_equilibrium_with_the_correction_only(shape, periodic):
    state = film(shape, periodic)

    def miss(corrected, flat):
        mobility = fm.flat_mobility if flat else fm.entropic_mobility
        law = fm.ThinFilm(3.0, mobility, corrected)
        return jnp.max(jnp.abs(current(law, state, lambda h: -3.0 * law.energy(h))))

    assert miss(True, False) < 1e-9
    assert miss(False, False) > 1
    assert miss(False, True) < 1e-9


def test_film_decays_and_does_not_dry():
    n, k = 16, 2 * np.pi
    x = (np.arange(n) + 0.5) / n
    start = fm.GridDensity(1 + 1e-5 * jnp.cos(k * x), 0.0, 1.0, True)
    run = fm.simulate(fm.ThinFilm(), start, [0.0, 5e-4], dt=1e-6)
    rate = (2 * n * np.sin(k / (2 * n))) ** 4
    amplitude = 2 * jnp.mean(jnp.cos(k * x) * run.final.rho)
    np.testing.assert_allclose(amplitude, 1e-5 * np.exp(-rate * 5e-4), rtol=1e-5)


def test_a_touching_film_stays_positive_with_the_entropic_mobility():
    x = (jnp.arange(16.0) + 0.5) / 16
    start = fm.GridDensity(jnp.where(jnp.abs(x - 0.5) < 0.25, 1.0, 5e-5), 0.0, 1.0, True)
    watch = dict(low=lambda h: h.rho.min(), entropy=lambda h: jnp.sum(1 / (2 * h.rho)))
    ts = np.linspace(0.0, 5e-4, 6)
    kept = fm.simulate(fm.ThinFilm(), start, ts, dt=1e-6, observe=watch)
    assert kept.ys["low"].min() > 0 and jnp.diff(kept.ys["entropy"]).max() < 0
    flat = fm.ThinFilm(mobility=fm.flat_mobility)
    lost = fm.simulate(flat, start, ts, dt=1e-6, observe=watch)
    assert lost.ys["low"].min() < 0


@pytest.mark.slow
def test_film_samples_its_equilibrium():
    """Variances of the waves of 600 films of 8 cells, to three standard errors."""
    n, beta, runs = 8, 2.0, 600
    start = fm.GridDensity(jnp.ones(n), 0.0, 1.0, True)

    def variances(corrected):
        law = fm.ThinFilm(beta, corrected=corrected)

        def one(key):
            ts = np.linspace(0.0, 0.01, 5)
            return fm.simulate(law, start, ts, dt=5e-7, key=key).ys.rho[1:]

        h = jax.lax.map(one, jr.split(jr.key(0), runs), batch_size=100)
        power = jnp.abs(jnp.fft.rfft(h - 1)[..., 1:]) ** 2 / n**2
        per_run = power.mean(1)
        return per_run.mean(0), per_run.std(0) / runs**0.5

    k = np.arange(1, n // 2 + 1)
    exact = 1 / (beta * (2 * n * np.sin(np.pi * k / n)) ** 2)
    mean, error = variances(True)
    assert np.all(np.abs(mean - exact) < 3 * error)
    mean, error = variances(False)
    assert np.max(np.abs(mean - exact) / error) > 5


WEIGHTS = jnp.abs(jr.normal(jr.key(5), (6, 6)))
WEIGHTS = WEIGHTS + WEIGHTS.T


def test_laplace_learning_is_the_matrix_exponential():
    u = jr.normal(jr.key(1), (6, 2))
    known = jnp.array([True, False, False, True, False, False])
    law = fm.LaplaceLearning(WEIGHTS, known, scale=0.7)
    run = fm.simulate(law, fm.Particles(u), [0.0, 0.8], dt=0.01)
    w = np.asarray(WEIGHTS)
    laplacian = (np.diag(w.sum(1)) - w) / (6 * 0.7**2) * ~np.asarray(known)[:, None]
    np.testing.assert_allclose(run.final.x, expm(-0.8 * laplacian) @ u, atol=1e-8)
    end = fm.harmonic_extension(WEIGHTS, u, known)
    np.testing.assert_allclose(end[known], u[known])
    np.testing.assert_allclose(laplacian @ end, 0, atol=1e-13)


@pytest.mark.parametrize("p", [1.5, 3.0])
def test_p_laplacian_is_the_gradient_of_its_energy(p):
    w = jnp.array([0.1, 0.3, 0.05, 0.25, 0.2, 0.1])
    mu = fm.Particles(jr.normal(jr.key(1), (6, 2)), weights=w)
    law = fm.LaplaceLearning(WEIGHTS, exponent=p, scale=0.7)
    slope = jax.grad(lambda x: law.energy(fm.Particles(x, weights=w)))(mu.x)
    np.testing.assert_allclose(law(0.0, mu).drift.x, -slope / w[:, None], rtol=1e-12)


@pytest.mark.slow
def test_graphs_tend_to_the_continuum():
    """Equidistant points of a circle of length 1, ρ = 1: u̇ = ½ σ_η (|u′|^{p−2} u′)′."""
    # Where u′ changes its sign the error is of order ε on a length of order ε.
    errors = []
    for n, scale in ((200, 0.1), (800, 0.05)):
        x = jnp.linspace(0.0, 1.0, n + 1)[:-1]
        gap = fm.Torus().displacement(x[:, None], x[None])
        # η(z) = 1 − z² on [−1, 1]: σ_η = ∫ η |z|³ = 1/6 for p = 3.
        weights = jnp.maximum(1 - (gap / scale) ** 2, 0) / scale
        law = fm.LaplaceLearning(weights, exponent=3.0, scale=scale)
        u = jnp.sin(2 * jnp.pi * x)
        drift = law(0.0, fm.Particles(u)).drift.x
        slope, bend = 2 * jnp.pi * jnp.cos(2 * jnp.pi * x), -(4 * jnp.pi**2) * u
        exact = 2 * jnp.abs(slope) * bend / 12
        errors.append(float(jnp.mean(jnp.abs(drift - exact)) / jnp.mean(jnp.abs(exact))))
    assert errors[1] < 0.02 and errors[1] < 0.35 * errors[0]


def test_path_metric_is_a_shortest_path():
    x = jr.normal(jr.key(0), (9, 2))
    length = np.linalg.norm(np.asarray(x)[:, None] - x, axis=-1)
    for p in (1.0, 3.0):
        exact = shortest_path(length**p, method="D") ** (1 / p)
        np.testing.assert_allclose(fm.path_metric(x, p), exact, rtol=1e-12)


def test_magnetic_geodesics_are_circles():
    q, v = jr.normal(jr.key(0), (2, 3))
    q = q / jnp.linalg.norm(q)
    v, s, time = v - jnp.vdot(q, v) * q, 0.8, 2.0
    sphere = fm.PhaseSpace(fm.Sphere())
    start = fm.Particles(fm.Phase(q[None], v[None]), space=sphere)
    end = fm.simulate(fm.MagneticGeodesic(s), start, [0.0, time], dt=0.01).final.x
    axis = np.asarray(jnp.cross(q, v) + s * q)
    np.testing.assert_allclose(np.linalg.norm(axis) ** 2, jnp.vdot(v, v) + s**2)
    turn = expm(time * np.cross(np.eye(3), axis))
    np.testing.assert_allclose(end.q[0], turn @ q, atol=1e-8)
    np.testing.assert_allclose(end.p[0], turn @ v, atol=1e-8)
    flat = fm.Particles(fm.Phase(q[None, :2], v[None, :2]))
    end = fm.simulate(fm.MagneticGeodesic(s), flat, [0.0, 2 * np.pi / s], dt=0.05).final.x
    np.testing.assert_allclose(end.q[0], q[:2], atol=1e-6)


def test_korteweg_de_vries_soliton():
    length, c, a, n, time = 30.0, 1.0, 0.7, 96, 2.0
    x = length * np.arange(n) / n
    soliton = lambda z: c / np.cosh(np.sqrt(c / (4 * a)) * z) ** 2  # noqa: E731
    law = fm.EulerArnold(1.0, 0.0, dispersion=a, length=length)
    run = fm.simulate(law, jnp.asarray(soliton(x - 12.0)), [0.0, time], dt=2e-3)
    np.testing.assert_allclose(run.final, soliton(x - 12.0 - c * time), atol=2e-5)


@pytest.mark.slow
def test_camassa_holm_on_a_grid_is_that_of_its_particles():
    """Green's function of 1 − ∂² on a circle, with n particles of the momentum."""
    n = 96
    x = jnp.linspace(0.0, 2 * jnp.pi, n + 1)[:-1]
    u = 0.5 + 0.3 * jnp.cos(x) + 0.1 * jnp.sin(2 * x)
    law = fm.EulerArnold()

    def green(a, b):
        gap = jnp.abs(fm.Torus(2 * jnp.pi).displacement(a, b))
        return jnp.cosh(gap - jnp.pi) / (2 * jnp.sinh(jnp.pi))

    geodesic = fm.EPDiff(lambda a, b: green(a, b))
    start = fm.Particles(fm.Phase(x, 2 * jnp.pi * law.momentum(u)))
    ts = [0.0, 0.4]
    fluid = fm.simulate(law, u, ts, dt=0.02).final
    carried = fm.simulate(geodesic, start, ts, dt=0.02).final
    read = jax.vmap(lambda q: geodesic.velocity(q, carried))(x)
    # What a sum makes of the kernel's kink.
    kink = (2 * np.pi / n) ** 2 / 12 * float(jnp.max(jnp.abs(law.momentum(u))))
    np.testing.assert_allclose(read, fluid, atol=1.2 * kink)
    np.testing.assert_allclose(geodesic.energy(carried), geodesic.energy(start), rtol=1e-4)


@pytest.mark.parametrize("metric", [(1.0, 1.0), (0.0, 1.0), (0.2, 0.05)])
def test_euler_arnold_keeps_its_invariants(metric):
    law = fm.EulerArnold(*metric, dispersion=0.2, drift=0.3)
    u = jr.normal(jr.key(0), (24,)) / 4
    u = jnp.fft.irfft(jnp.where(jnp.arange(13) < 8, jnp.fft.rfft(u), 0), 24)
    drift = law(0.0, u).drift
    assert abs(jax.jvp(law.energy, (u,), (drift,))[1]) < 1e-13
    assert abs(jnp.mean(law.momentum(drift))) < 1e-13


CHAIN = fm.ProbabilityManifold(
    jnp.array([[0.0, 0.2, 0.1], [0.2, 0.0, 0.3], [0.1, 0.3, 0.0]]), jnp.array([0.2, 0.5, 0.3])
)
P = jnp.array([0.5, 0.2, 0.3])


def test_the_flow_of_the_entropy_is_the_master_equation():
    start = fm.Particles(P[None], space=fm.Simplex())
    run = fm.simulate(fm.SimplexFlow(CHAIN), start, [0.0, 0.7], dt=0.02)
    rates = np.asarray(CHAIN.rates())
    np.testing.assert_allclose(rates.sum(1), 0, atol=1e-15)
    np.testing.assert_allclose(run.final.x[0], expm(0.7 * rates.T) @ P, rtol=1e-8)


def test_logarithmic_mean():
    for a, b in ((0.3, 0.8), (0.3, 0.3 * (1 + 1e-9)), (1e-3, 5.0)):
        exact = (a - b) / np.log(a / b) if abs(a / b - 1) > 1e-6 else (a + b) / 2
        np.testing.assert_allclose(fm.logarithmic_mean(jnp.array(a), jnp.array(b)), exact)
    assert fm.logarithmic_mean(jnp.array(0.0), jnp.array(1.0)) == 0


@pytest.mark.slow
def test_connection_is_that_of_the_metric():
    sigma = jnp.array([0.3, -0.5, 0.2])
    field = lambda p: jnp.array([p[0] ** 2, p[1], -(p[0] ** 2) - p[1]])  # noqa: E731
    along = jax.jit(lambda p: CHAIN.covariant(p, sigma, field))(P)
    square = lambda p: CHAIN.inner(p, field(p), field(p))  # noqa: E731
    change = jax.jit(lambda p: jax.jvp(square, (p,), (sigma,))[1])(P)
    np.testing.assert_allclose(change, 2 * CHAIN.inner(P, along, field(P)), rtol=1e-10)
    gamma = jax.jit(lambda p: CHAIN.christoffel(p))(P)
    np.testing.assert_allclose(gamma, jnp.swapaxes(gamma, 1, 2), atol=1e-13)
    np.testing.assert_allclose(jnp.sum(along), 0, atol=1e-14)


def test_curvature_of_the_three_point_graphs():
    """On 1 – 2 – 3 the metric is diagonal in x = p_1, y = p_1 + p_2: Gauss's formula."""
    a, b = 0.4, 0.7
    line = fm.ProbabilityManifold(jnp.array([[0.0, a, 0.0], [a, 0.0, b], [0.0, b, 0.0]]))
    mean = lambda r, s: (r - s) / jnp.log(r / s)  # noqa: E731
    first = lambda x, y: 1 / (3 * a * mean(x, y - x))  # noqa: E731
    second = lambda x, y: 1 / (3 * b * mean(y - x, 1 - y))  # noqa: E731
    root = lambda x, y: jnp.sqrt(first(x, y) * second(x, y))  # noqa: E731
    across = jax.grad(lambda x, y: jax.grad(second, 0)(x, y) / root(x, y), 0)
    up = jax.grad(lambda x, y: jax.grad(first, 1)(x, y) / root(x, y), 1)
    x, y = P[0], P[0] + P[1]
    gauss = -(across(x, y) + up(x, y)) / (2 * root(x, y))
    sigma, tau = jnp.array([1.0, -1.0, 0.0]), jnp.array([0.2, 0.5, -0.7])
    found = jax.jit(lambda p: (line.sectional(p, sigma, tau), line.ricci(p)))(P)
    np.testing.assert_allclose(found[0], gauss, rtol=1e-9)
    # On a surface Ric = K g.
    np.testing.assert_allclose(found[1], gauss * line.metric(P), rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("riemannian", [False, True])
def test_noise_on_the_simplex_keeps_its_law(riemannian):
    energy = lambda p: jnp.sum(p**3) + p[0]  # noqa: E731
    law = fm.SimplexFlow(CHAIN, energy, 0.3, riemannian)

    def log_density(mu):
        p = mu.x[0]
        return -energy(p) / 0.3 + (CHAIN.volume(p) if riemannian else 0)

    mu = fm.Particles(P[None], space=fm.Simplex())
    np.testing.assert_allclose(current(law, mu, log_density), 0, atol=1e-12)
    assert jnp.max(jnp.abs(current(replace_temperature(law), mu, log_density))) > 1e-3


def replace_temperature(law):
    return fm.SimplexFlow(law.manifold, law.energy, 0.6, law.riemannian)


def test_simplex_is_a_projection():
    x = jnp.array([0.7, 0.9, -0.3])
    np.testing.assert_allclose(fm.Simplex().nearest(x), [0.4, 0.6, 0.0], atol=1e-15)


MEANS = {
    "logarithmic": None,
    "arithmetic": lambda a, b: (a + b) / 2,
    "harmonic": lambda a, b: jnp.where(a + b > 0, 2 * a * b / jnp.where(a + b > 0, a + b, 1), 0),
}


@pytest.mark.parametrize("name", list(MEANS))
def test_noise_on_the_simplex_runs_to_its_law(name):
    # F = 0: uniform on the triangle, where E Σ p² = 1/2 and E Σ p³ = 3/10.
    means = {} if MEANS[name] is None else dict(mean=MEANS[name])
    chain = fm.ProbabilityManifold(jnp.ones((3, 3)) - jnp.eye(3), **means)
    law = fm.SimplexFlow(chain, lambda p: 0 * jnp.sum(p), 1.0)
    start = fm.Particles(jnp.ones((4000, 3)) / 3, space=fm.Simplex())
    p = fm.simulate(law, start, [0.0, 1.0], dt=0.02, key=jr.key(1)).final.x
    assert jnp.all(p > 0)
    for power, exact in ((2, 1 / 2), (3, 3 / 10)):
        values = jnp.sum(p**power, 1)
        error = jnp.std(values) / len(p) ** 0.5
        np.testing.assert_allclose(jnp.mean(values), exact, atol=3.5 * error)
