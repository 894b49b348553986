"""Barycentres, medians and Gromov–Wasserstein distances against closed forms and peers."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm


def test_barycenter_of_gaussians_is_the_fixed_point():
    covs = [jnp.diag(jnp.array([1.0, 4.0])), jnp.array([[2.0, 0.7], [0.7, 1.0]]), jnp.eye(2)]
    nus = [fm.Gaussian(jnp.full(2, float(k)), c) for k, c in enumerate(covs)]
    found = fm.barycenter(nus, weights=[1.0, 2.0, 1.0])
    np.testing.assert_allclose(found.m, [1, 1], rtol=1e-12)
    mean = sum(w * fm.bures_map(found, nu) for w, nu in zip((0.25, 0.5, 0.25), nus, strict=True))
    np.testing.assert_allclose(mean, np.eye(2), atol=1e-9)
    line = [fm.Gaussian(jnp.array([m]), jnp.array([[s**2]])) for m, s in ((0.0, 1.0), (2.0, 3.0))]
    middle = fm.barycenter(line)
    np.testing.assert_allclose([middle.m[0], middle.cov[0, 0]], [1, 4], rtol=1e-9)


def test_median_of_gaussians_balances_unit_steps():
    nus = [fm.Gaussian(m, jnp.eye(2)) for m in (jnp.zeros(2), jnp.ones(2), jnp.array([4.0, 0.0]))]
    found = fm.median(nus, tol=1e-10)
    # Equal covariances: the geometric median of the means, where unit vectors add to 0.
    steps = np.stack([(nu.m - found.m) / np.linalg.norm(nu.m - found.m) for nu in nus])
    np.testing.assert_allclose(steps.sum(0), 0, atol=1e-5)


def test_barycenter_of_particles():
    x, shift = jr.normal(jr.key(0), (8, 2)), jnp.array([2.0, -1.0])
    found = fm.barycenter([fm.Particles(x), fm.Particles(x + shift)], start=fm.Particles(x[::-1]))
    np.testing.assert_allclose(fm.wasserstein(found, fm.Particles(x + shift / 2)), 0, atol=1e-12)
    line = [fm.Particles(jr.normal(jr.key(k), (6, 1)), weights=None) for k in (1, 2)]
    found = fm.barycenter(line, weights=[0.3, 0.7], start=line[0])
    exact = 0.3 * np.sort(line[0].x, 0) + 0.7 * np.sort(line[1].x, 0)
    np.testing.assert_allclose(np.sort(found.x, 0), exact, atol=1e-12)
    with pytest.raises(ValueError, match="`start`"):
        fm.barycenter(line)


def test_gromov_wasserstein_sees_isometries():
    x = jr.normal(jr.key(0), (7, 2))
    turn = jnp.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])
    mu, nu = fm.Particles(x), fm.Particles(x[::-1] @ turn + 3)
    np.testing.assert_allclose(fm.gromov_wasserstein(mu, nu, 1).value, 0, atol=1e-6)
    # Two points at distance 1 and at distance 3: |1 − 3|² on the half of the pairs that differ.
    one, two = fm.Particles(jnp.array([[0.0], [1.0]])), fm.Particles(jnp.array([[0.0], [3.0]]))
    found = fm.gromov_wasserstein(one, two, 1)
    np.testing.assert_allclose(found.value**2, 2, rtol=1e-12)


def test_entropic_gromov_wasserstein_in_compiled_code():
    x = jr.normal(jr.key(0), (12, 2))
    turned = (x @ jnp.array([[0.0, -1.0], [1.0, 0.0]]))[::-1]

    @jax.jit
    def found(epsilon):
        return fm.gromov_wasserstein(fm.Particles(x), fm.Particles(turned), epsilon=epsilon)

    near, far = found(0.05), found(1.0)
    assert near.value**2 < 0.02 < far.value**2
    np.testing.assert_array_equal(jnp.argmax(near.plan, axis=1), np.arange(12)[::-1])


def lines(periodic=False):
    """Densities on a line of cells, of which the first has empty ones, and the costs."""
    rho = jr.uniform(jr.key(3), (3, 20), minval=0.2).at[0, :6].set(0.0)
    nus = [fm.GridDensity(r / jnp.mean(r), 0.0, 1.0, periodic) for r in rho]
    gap = jnp.abs(nus[0].centres() - nus[0].centres()[:, 0])
    return nus, np.asarray((jnp.minimum(gap, 1 - gap) if periodic else gap) ** 2)


@pytest.mark.parametrize("periodic", [False, True])
def test_entropic_barycenters_of_grids_are_those_of_pot(periodic):
    import ot

    nus, cost = lines(periodic)
    shares, epsilon = np.array([0.2, 0.5, 0.3]), 0.02
    masses = np.stack([np.asarray(nu.rho) / 20 for nu in nus], axis=1)
    found = fm.entropic_barycenter(nus, epsilon, shares)
    peer = ot.bregman.barycenter(
        masses, cost, epsilon, shares, method="sinkhorn_log", stopThr=1e-13, numItermax=20_000
    )
    np.testing.assert_allclose(found.rho / 20, peer, atol=1e-8)
    found = fm.entropic_barycenter(nus, epsilon, shares, strength=0.3)
    peer = ot.unbalanced.barycenter_unbalanced_sinkhorn(
        masses, cost, epsilon, 0.3, shares, stopThr=1e-14, numItermax=20_000
    )
    np.testing.assert_allclose(found.rho / 20, peer, atol=1e-8)


def test_debiased_barycenters_minimise_sinkhorn_divergences():
    """Normal densities on the line: K(S, S) = Σ_k λ_k K(S, s_k), K the slopes of entropic maps."""
    x, epsilon = (np.arange(60) + 0.5) / 60 * 8 - 4, 0.2
    nus = [
        fm.GridDensity(np.exp(-((x - m) ** 2) / (2 * s)) / np.sqrt(2 * np.pi * s), -4.0, 4.0)
        for m, s in ((-1.0, 0.3), (0.5, 0.15))
    ]
    found = fm.entropic_barycenter(nus, epsilon, [0.4, 0.6], debiased=True)
    slope = lambda a, b: 2 * b / (np.sqrt(4 * a * b + epsilon**2 / 4) + epsilon / 2)  # noqa: E731
    mean, square = float(found.mean()[0]), float(found.covariance()[0, 0])
    np.testing.assert_allclose(mean, -0.1, atol=1e-6)
    pulls = 0.4 * slope(square, 0.3) + 0.6 * slope(square, 0.15)
    np.testing.assert_allclose(slope(square, square), pulls, atol=1e-6)


def test_entropic_barycenters_in_the_plane_and_by_name():
    """Products of densities have the product of the barycentres of their factors."""
    nus, _ = lines()
    planes = [
        fm.GridDensity(jnp.outer(a.rho, b.rho), 0.0, 1.0)
        for a, b in zip(nus, nus[::-1], strict=True)
    ]
    found = fm.entropic_barycenter(planes, 0.05)
    one, two = (fm.entropic_barycenter(z, 0.05) for z in (nus, nus[::-1]))
    np.testing.assert_allclose(found.rho, jnp.outer(one.rho, two.rho), atol=1e-6)
    other = fm.GridDensity(nus[0].rho, 0.0, 2.0)
    for measures, options, match in [
        ([], {}, "`measures`"),
        ([nus[0], other], {}, "`measures`"),
        ([fm.Gaussian(jnp.zeros(1), jnp.eye(1))], {}, "`barycenter`"),
        (nus, dict(strength=1.0, debiased=True), "`debiased`"),
        (nus, dict(epsilon=0.0), "`epsilon`"),
    ]:
        with pytest.raises(ValueError, match=match):
            fm.entropic_barycenter(measures, **{"epsilon": 0.1, **options})
    with pytest.raises(RuntimeError, match="`iterations`"):
        fm.entropic_barycenter(nus, 1e-3, iterations=3)


def test_mixed_steps_are_few():
    """Plain steps take 38 for these particles, and 19 for these Gaussians."""
    rng = np.random.default_rng(1)
    places = ((1, (0.0, 0)), (0.5, (2.0, 1)), (2.0, (-1.0, 3)), (1.0, (1, -2.0)), (1.0, (6, -3.0)))
    clouds = [rng.normal(size=(10, 2)) * s + np.array(m) for s, m in places]
    start = fm.Particles(jnp.asarray(rng.normal(size=(10, 2))))
    nus = [fm.Particles(jnp.asarray(x)) for x in clouds]
    found = fm.median(nus, start=start, tol=1e-9, iterations=15)
    np.testing.assert_allclose(
        sum(fm.wasserstein(found, nu) for nu in nus), 13.763498574, rtol=1e-9
    )
    rng, laws = np.random.default_rng(0), []
    for _ in range(6):
        a, m = rng.normal(size=(4, 4)), rng.normal(size=4)
        laws.append(fm.Gaussian(jnp.asarray(m), jnp.asarray(a @ a.T + 0.05 * np.eye(4))))
    fm.barycenter(laws, iterations=14)


@pytest.mark.parametrize("make", [
    lambda p: fm.Particles(p[None]), lambda p: fm.Gaussian(p, jnp.diag(jnp.array([3.0, 0.2]))),
], ids=["particles", "gaussians"])  # fmt: skip
def test_a_median_leaves_a_measure_that_is_none_and_stays_at_one_that_is(make):
    """Fermat's point of a triangle, from a corner; a corner that holds half of the weight."""
    corners = [make(jnp.array(p)) for p in ([0.0, 0.0], [1.0, 0.0], [0.5, 0.8])]
    inner = fm.median(corners, start=corners[0], tol=1e-9).mean()
    np.testing.assert_allclose(inner, [0.5, 0.5 / np.sqrt(3)], atol=1e-7)
    for start in (corners[0], corners[1]):
        held = fm.median(corners, [2.0, 1.0, 1.0], start=start).mean()
        np.testing.assert_allclose(held, 0, atol=1e-13)
