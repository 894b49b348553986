"""The phases of attention on the sphere: growth of the uniform state, heat, merging clusters."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import spherical_in

import flowjax_measures as fm

FIVE = np.array([[0.0, 0.0], [0.7, 0.3], [1.9, -0.2], [2.6, 1.0], [4.4, 0.1]])
MASSES = np.array([0.3, 0.1, 0.25, 0.15, 0.2])


def quadrature_of_the_sphere(rings=16):
    """Points of S² as particles whose masses integrate polynomials of degree 2 rings − 1."""
    z, w = np.polynomial.legendre.leggauss(rings)
    angle = 2 * np.pi * np.arange(2 * rings) / (2 * rings)
    r = np.sqrt(1 - z**2)[:, None]
    x = np.stack([r * np.cos(angle), r * np.sin(angle), z[:, None] + 0 * angle], -1)
    log_w = np.log(np.broadcast_to(w[:, None] / (4 * rings), x.shape[:2]))
    return fm.Particles(jnp.asarray(x.reshape(-1, 3)), jnp.asarray(log_w.ravel()), fm.Sphere())


HARMONICS = {1: lambda x: x[2], 2: lambda x: x[0] * x[1], 3: lambda x: x[2] * (5 * x[2] ** 2 - 3)}


@pytest.mark.parametrize("normalization", ["softmax", "mean"])
def test_growth_rates_of_the_uniform_state_on_the_sphere(normalization):
    # ℓ(ℓ + 1) i_ℓ(β)/β, divided by i_0(β) for softmax, with i_ℓ(β) = ½∫e^{βu}P_ℓ(u)du (Funk–Hecke).
    beta, mu = 3.0, quadrature_of_the_sphere()
    system = fm.SelfAttention(beta=beta, normalization=normalization)

    @jax.jit
    def velocity(log_w):
        return system(0.0, fm.Particles(mu.x, log_w, fm.Sphere())).drift.x

    for degree, harmonic in HARMONICS.items():
        y, slope = jax.vmap(jax.value_and_grad(harmonic))(mu.x)
        slope = jax.vmap(fm.Sphere().project)(mu.x, slope)
        _, change = jax.jvp(velocity, (mu.log_w,), (y,))
        weight = jnp.exp(mu.log_w)
        measured = weight @ jnp.sum(slope * change, axis=1) / (weight @ y**2)
        rate = degree * (degree + 1) * spherical_in(degree, beta) / beta
        rate = rate / spherical_in(0, beta) if normalization == "softmax" else rate
        assert np.isclose(measured, rate, rtol=1e-11)


def test_heat_in_harmonics_and_on_a_grid():
    # Degree ℓ of S^{d−1} grows at γℓ(ℓ + d − 2), either way.
    degree = np.arange(4)
    for gamma, dimension in ((-0.3, 3), (0.2, 2)):
        drift = fm.HarmonicHeatFlow(gamma, dimension)(0.0, jnp.ones((4, 2))).drift
        assert np.allclose(drift, (gamma * degree * (degree + dimension - 2))[:, None])
    final = fm.simulate(fm.HarmonicHeatFlow(0.2, 3), jnp.ones(4), [0.0, 0.7], dt=0.01).final
    assert np.allclose(final, np.exp(0.7 * 0.2 * degree * (degree + 1)), rtol=1e-9)
    # The same on a grid of angles, whose second difference has the eigenvalue (2 sin(kh/2)/h)².
    n, h = 16, 2 * np.pi / 16
    start = 1 + 0.5 * jnp.cos(2 * (jnp.arange(float(n)) + 0.5) * h)
    grid = fm.GridDensity(start, 0.0, 2 * jnp.pi, periodic=True)
    run = fm.simulate(fm.HeatFlow(-0.3), grid, [0.0, 0.5], dt=0.05, solver=diffrax.Tsit5())
    exact = 1 + (start - 1) * np.exp(-0.3 * (2 * np.sin(h) / h) ** 2 * 0.5)
    assert np.allclose(run.final.rho, exact, atol=1e-7)
    with pytest.raises(ValueError, match="dimension"):
        fm.HarmonicHeatFlow(dimension=1)


def clusters(points, masses):
    return fm.Particles(jnp.asarray(points), jnp.log(jnp.asarray(masses)), space=fm.Sphere())


@pytest.mark.slow
def test_logarithmic_time_reaches_what_double_precision_cannot_add():
    # Two clusters at an angle 2.4 under β = 30 meet at log t = 48.4: their attraction is 1e-23.
    beta, angle = 30.0, 2.4
    mu = clusters([[1.0, 0.0], [np.cos(angle), np.sin(angle)]], [0.7, 0.3])
    merges = fm.pairing_dynamics(mu, beta, radius=0.05)
    steps = diffrax.PIDController(rtol=1e-12, atol=1e-13, dtmin=1e-12, force_dtmin=False)
    coarse = fm.coarsen(
        fm.MeanShift(beta=beta), mu, 0.025, solver=diffrax.Tsit5(), stepsize_controller=steps
    )
    assert coarse.numbers.tolist() == [1]
    assert np.allclose(coarse.log_times, merges.log_times, rtol=1e-11)
    # The mean along the chord is that along the arc up to the third power of the radius.
    assert np.allclose(coarse.final.x, merges.points, atol=0.1 * 0.05**3)
    noisy = fm.LogTime(fm.RandomQuadraticForm())
    with pytest.raises(ValueError, match="noise"):
        noisy(0.0, mu)


@pytest.mark.slow
def test_mean_shift_is_attention_on_the_sphere():
    mu = fm.Particles(jax.random.normal(jax.random.key(0), (6, 3)), space=fm.Sphere()).retract()
    q = jnp.eye(3) + 0.2
    for value in (None, -0.7 * jnp.eye(3)):
        attention = fm.SelfAttention(q, value=value, beta=2.0)(0.0, mu).drift.x
        shift = fm.MeanShift(q, value=value, beta=2.0)(0.0, mu).drift.x
        assert np.allclose(shift, attention, atol=1e-15)
    # In a cluster of radius 1e-6 in float32 attention has lost its digits, mean shift has not.
    away = 1e-6 * jax.random.normal(jax.random.key(1), (6, 3))
    x = (jnp.array([0.6, 0.0, 0.8]) + away).astype(jnp.float32)
    exact = np.asarray(x, float)
    exact = exact.mean(0) - exact
    got = np.asarray(fm.MeanShift()(0.0, fm.Particles(x)).drift.x)
    assert np.abs(got - exact).max() < 1e-4 * np.abs(exact).max()


@pytest.mark.slow
def test_five_clusters_merge_at_the_times_of_pairing():
    azimuth, height = FIVE.T
    x = [np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height)]
    mu, radius, full, limit = clusters(np.stack(x, 1), MASSES), 0.02, {}, {}
    for beta in (5.0, 10.0, 20.0):
        coarse = fm.coarsen(fm.MeanShift(beta=beta), mu, radius / 2)
        full[beta], limit[beta] = coarse.log_times, fm.pairing_dynamics(mu, beta, radius)
        assert coarse.numbers.tolist() == [4, 3, 2, 1]
    # What the others do meanwhile is what the limit leaves out: 0.33, 0.16, 0.08.
    gaps = [np.abs(full[beta] - limit[beta].log_times).max() for beta in full]
    assert gaps[0] < 0.4 and gaps[1] < 0.55 * gaps[0] and gaps[2] < 0.55 * gaps[1]
    # log t = β(1 − ⟨x_i, x_j⟩) − log β + O(1), with the clusters where they are by then.
    place, ways = dict(enumerate(np.asarray(mu.x))), []
    for (i, j), point in zip(limit[20.0].pairs.tolist(), limit[20.0].points, strict=True):
        ways.append(1 - place[i] @ place[j])
        place[i] = point
    slopes = (full[20.0] - full[10.0] + np.log(2)) / 10
    # The first merge, of 1 − ⟨x_i, x_j⟩ = 0.27, is not yet exponentially slow.
    assert np.abs(slopes - ways)[1:].max() < 0.05


def test_merged_clusters_keep_mass_and_mean():
    x = jnp.array([[0.0, 0.1], [5.0, 5.0], [0.1, 0.0], [9.0, 9.0]])
    log_w = jnp.array([0.0, 1.0, 2.0, -jnp.inf])
    merged = fm.merge_clusters(fm.Particles((x, jnp.arange(4)), log_w), 0.2)
    w = np.exp(np.asarray(log_w))
    assert np.allclose(np.exp(merged.log_w), [w[0] + w[2], w[1]])
    assert np.allclose(merged.x[0], [(w[0] * x[0] + w[2] * x[2]) / (w[0] + w[2]), x[1]])
    assert merged.x[1].tolist() == [0, 1]
    # Across the seam of a torus.
    angles = fm.Particles(jnp.array([[0.05], [0.95], [0.5]]), space=fm.Torus())
    merged = fm.merge_clusters(angles, 0.1)
    assert np.allclose(merged.x[:, 0] % 1, [0.0, 0.5], atol=1e-12) or np.allclose(
        merged.x[:, 0], [1.0, 0.5], atol=1e-12
    )
    with pytest.raises(ValueError, match="leave jit"):
        jax.jit(lambda a: fm.merge_clusters(fm.Particles(a), 0.1).x)(x)


def around_a_circle(n):
    """Tokens of S² near the equator, whose angles have the modes 2 and 3, by quantiles."""
    grid = np.linspace(0, 2 * np.pi, 4097)
    quantile = grid + 0.02 * np.sin(2 * grid) / 2 + 0.02 * (np.sin(3 * grid + 1) - np.sin(1)) / 3
    angle = np.interp((np.arange(n) + 0.5) / n * 2 * np.pi, quantile, grid)
    height = (np.arange(n) * (np.sqrt(5) - 1) / 2) % 1 - 0.5
    across = np.sqrt(1 - height**2)
    x = np.stack([across * np.cos(angle), across * np.sin(angle), height], 1)
    return fm.Particles(jnp.asarray(x), space=fm.Sphere())


PLANE = jnp.diag(jnp.array([1.0, 1.0, 0.0]))


def phases(n, beta):
    """How far alignment is off at t = 1, rates of heat over theirs, and the clusters at the end."""
    start, attention = around_a_circle(n), fm.SelfAttention(value=PLANE, beta=beta)
    ts = np.array([0.0, 1.0, 3.0, 3 + 0.15 * beta, 3 + 4 * beta])
    x = fm.simulate(attention, start, ts, dt=0.1).ys.x
    limit = fm.simulate(fm.alignment_flow(value=PLANE), start, ts[:2], dt=0.1).final.x
    # In the time of heat, s = t/β, the k-th mode grows at the rate k².
    angle = np.arctan2(x[2:4, :, 1], x[2:4, :, 0])
    modes = np.abs(np.exp(1j * np.array([2, 3])[:, None, None] * angle).mean(-1))
    rates = np.log(modes[:, 1] / modes[:, 0]) / 0.15 / np.array([4, 9])
    clusters = fm.merge_clusters(fm.Particles(x[-1], space=fm.Sphere()), 0.02)
    return float(jnp.linalg.norm(x[1] - limit, axis=1).max()), rates, clusters


def test_three_phases_in_one_run():
    """Alignment to the plane of V, heat on its circle, the closest pair: errors fall with β."""
    (near, slow, _), (nearer, faster, clusters) = phases(64, 4.0), phases(128, 8.0)
    assert near < 0.03 and nearer < 0.8 * near
    assert np.all(slow < faster) and np.all(1 - faster < 0.7 * (1 - slow))
    x, pair = clusters.x, fm.PairingFlow()(0.0, clusters).drift.x
    gap = 1 - np.sort(np.asarray(x @ x.T)[np.triu_indices(len(x), 1)])[-1]
    off = [
        np.linalg.norm(np.exp(beta * gap) * fm.MeanShift(beta=beta)(0.0, clusters).drift.x - pair)
        for beta in (16.0, 32.0, 64.0)
    ]
    assert len(x) >= 3 and off[0] > 5 * off[1] > 25 * off[2] and off[2] < 1e-3


@pytest.mark.slow
def test_merges_after_the_phases_are_those_of_pairing():
    late = []
    for n, beta in ((128, 5.0), (512, 10.0)):
        off, _, clusters = phases(n, beta)
        merges = fm.coarsen(fm.MeanShift(beta=beta), clusters, 0.02, solver=diffrax.Tsit5())
        pairs = fm.pairing_dynamics(clusters, beta, radius=0.02)
        assert len(merges.log_times) == len(pairs.log_times) == clusters.size() - 1 >= 2
        late.append((off, np.max(np.abs(merges.log_times / pairs.log_times - 1))))
    # Errors are of the order 1/β.
    assert np.all(np.array(late[0]) < 0.05) and late[1][0] < 0.6 * late[0][0]
    assert late[1][1] < 0.5 * late[0][1]


@pytest.mark.slow
def test_merges_in_single_precision_are_those_in_double():
    angles = jnp.array([0.9, -3.0, -1.4])
    x = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
    times = []
    for dtype in (jnp.float32, jnp.float64):
        mu = fm.Particles(x.astype(dtype), space=fm.Sphere()).retract()
        found = fm.coarsen(fm.MeanShift(beta=20.0), mu, 0.01)
        assert found.numbers.tolist() == [2, 1]
        times.append(found.log_times)
    np.testing.assert_allclose(*times, rtol=1e-4)
