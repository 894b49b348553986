"""Populations, pieces, restarts, routes, errors and files of a fit."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from harness import Pull

import flowjax_measures as fm
from flowjax_measures.fitting._asked import Comparison
from flowjax_measures.fitting._losses import named
from flowjax_measures.fitting._objective import _mixture
from flowjax_measures.fitting._summaries import Summaries, summary_likelihood

TS = np.linspace(0.0, 1.5, 4)


class Linear(fm.AbstractMeanField):
    """dx = A x + b(t)."""

    matrix: jax.Array
    drive: float = 0.0

    def rates(self, t, x, mu):
        return fm.Rates(self.matrix @ x + self.drive * t)


def cloud(n, seed=0, d=2):
    return fm.Particles(1.0 + jr.normal(jr.key(seed), (n, d)))


def snapshots(system, start, ts=TS):
    run = fm.simulate(system, start, ts, dt=0.1)
    return [fm.Particles(x) for x in run.ys.x]


@pytest.fixture(scope="module")
def data():
    return TS, snapshots(Pull(0.8, 0.4), cloud(9))


def same(a, b, **tolerance):
    np.testing.assert_allclose(
        [a.system.alpha, a.system.beta], [b.system.alpha, b.system.beta], **tolerance
    )


@pytest.mark.slow
def test_forward_and_reverse_are_one(data):
    call = dict(loss="energy_distance", dt=0.25, steps=3, identifiability=False)
    one, two = (fm.fit(Pull(0.3, 0.1), data, adjoint=a, **call) for a in ("auto", "reverse"))
    np.testing.assert_allclose(one.losses, two.losses, rtol=1e-10)
    same(one, two, rtol=1e-9)


@pytest.mark.slow
def test_restarts_keep_the_best_and_stop_and_resume_bit_for_bit(data, tmp_path):
    call = dict(loss="trajectory", dt=0.25, identifiability=False, optimizer=optax.adam(0.05),
                restarts=3, key=jr.key(1), tolerance=0.0)  # fmt: skip
    start = Pull(0.3, 0.1)
    whole = fm.fit(start, data, steps=20, **call)
    alone = fm.fit(start, data, steps=20, **call | dict(restarts=1))
    assert whole.losses.min() <= alone.losses.min() * (1 + 1e-12)

    class Stop(Exception):
        pass

    # Stopped after its first file, and taken up again.
    from flowjax_measures.fitting import _store as store

    save = store.save

    def once(path, *arguments, **options):
        save(path, *arguments, **options)
        if path.name == "fit":
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "save", once)
        with pytest.raises(Stop):
            fm.fit(start, data, steps=20, folder=tmp_path, **call)
    again = fm.fit(start, data, steps=20, folder=tmp_path, **call)
    np.testing.assert_array_equal(again.losses, whole.losses)
    same(again, whole, rtol=0)
    with pytest.raises(ValueError, match=r"`steps` is 10, but the fit in .* has taken 20"):
        fm.fit(start, data, steps=10, folder=tmp_path, **call)
    with pytest.raises(ValueError, match=r"`folder`.*start differs"):
        fm.fit(Pull(0.4, 0.1), data, steps=20, folder=tmp_path, **call)
    with pytest.raises(ValueError, match=r"`folder`.*optimizer differs"):
        fm.fit(start, data, steps=20, folder=tmp_path, **call | dict(optimizer=optax.sgd(0.1)))


@pytest.mark.slow
def test_a_symmetric_matrix_stays_so():
    truth = jnp.array([[-1.0, 0.4], [0.4, -0.5]])
    ts = np.linspace(0.0, 1.0, 11)
    found = fm.fit(
        Linear(-jnp.eye(2)), (ts, snapshots(Linear(truth), cloud(6), ts)), loss="trajectory",
        where=lambda s: s.matrix, symmetric=True, dt=0.1, steps=200,
    )  # fmt: skip
    assert found.names == ["matrix[0, 0]", "matrix[0, 1]", "matrix[1, 1]"]
    np.testing.assert_array_equal(found.system.matrix, found.system.matrix.T)
    np.testing.assert_allclose(found.system.matrix, truth, atol=2e-3)


@pytest.mark.slow
def test_shooting_sees_the_clock_and_draws_pieces_and_particles():
    truth = Linear(-0.5 * jnp.eye(2), 0.7)
    data = TS, snapshots(truth, cloud(8))
    at = dict(loss="trajectory", dt=0.1, where=lambda s: s.drive, identifiability=False)
    # At the truth every piece is on the data, whatever its starting time.
    assert fm.fit(truth, data, shooting=1, steps=1, **at).losses[0] < 1e-25
    assert fm.fit(truth, data, shooting=2, steps=1, **at).losses[0] < 1e-25
    start = Linear(-0.5 * jnp.eye(2), 0.1)
    found = fm.fit(start, data, shooting=1, pieces=1, batch=4, key=jr.key(0), steps=150, **at)
    np.testing.assert_allclose(found.system.drive, 0.7, rtol=1e-2)
    uneven = [0.0, 0.4, 1.0, 1.5]
    other = uneven, snapshots(truth, cloud(8), uneven)
    assert fm.fit(truth, other, shooting=1, steps=1, **at).losses[0] < 1e-25
    with pytest.raises(ValueError, match="`pieces`"):
        fm.fit(truth, other, shooting=1, pieces=1, key=jr.key(0), steps=1, **at)


@pytest.mark.slow
def test_several_populations_are_compared_without_bias():
    """Particles that interact depend on each other; different populations do not."""

    # Points that share a shift: within a cloud they are closer than two of different clouds.
    def clouds(key, count):
        shift, noise = jr.split(key)
        return jr.normal(shift, (count, 1, 2)) + 0.3 * jr.normal(noise, (count, 4, 2))

    def distance(key):
        one, two = jr.split(key)
        mixture = _mixture(fm.Particles(clouds(one, 3)))
        loss = named(Comparison("energy_distance", independent=True), [cloud(4)] * 2, 3, float)
        return loss(mixture, fm.Particles(clouds(two, 1)[0]))

    values = jax.vmap(distance)(jr.split(jr.key(0), 400))
    # 2 E‖X − Y‖ − E‖X − X′‖ over different clouds leaves the spread within the observed one.
    x = clouds(jr.key(5), 4000)
    apart = jnp.mean(jnp.linalg.norm(x[:2000, 0] - x[2000:, 1], axis=-1))
    inside = jnp.mean(jnp.linalg.norm(x[:, 0] - x[:, 1], axis=-1))
    error = jnp.std(values) / np.sqrt(400) + 2 / np.sqrt(2000)
    assert abs(jnp.mean(values) - (apart - inside)) < 3 * error


@pytest.mark.slow
def test_likelihood_of_summaries_is_that_of_a_normal_vector():
    draws = fm.Particles(jr.normal(jr.key(0), (9, 20, 2)))
    nu = cloud(20, 3)
    own = lambda mu: mu.mean()  # noqa: E731
    means = np.asarray(draws.x.mean(1))
    gap, cov = np.asarray(nu.x.mean(0)) - means.mean(0), np.cov(means.T)
    expected = (9 - 4) / 8 * 9 / 10 * gap @ np.linalg.solve(cov, gap) / 2
    expected += np.linalg.slogdet(cov)[1] / 2
    np.testing.assert_allclose(summary_likelihood(own, draws, nu), expected, rtol=1e-7)
    z = np.asarray(nu.x) - np.asarray(nu.x).mean(0)
    found = np.asarray(Summaries(jnp.asarray(2.0))(nu))
    np.testing.assert_allclose(found[:2], np.asarray(nu.x).mean(0) / 2, rtol=1e-12)
    np.testing.assert_allclose(found[5], np.mean(np.sum((z / 2) ** 2, 1) ** 2), rtol=1e-12)
    square = np.sum((z[:, None] - z) ** 2, -1)
    np.testing.assert_allclose(found[-1], np.mean(np.exp(-square / 8)), rtol=1e-9)


@pytest.mark.slow
def test_summaries_of_populations_fit_with_their_errors():
    """One summary that is linear in α: the estimate and its error are in closed form."""
    ts, n = np.array([0.0, 1.0]), 100
    start = [fm.Particles(jr.normal(jr.key(k), (n, 2))) for k in range(40)]
    truth = Pull(0.5, 0.0)
    observed = fm.simulate(truth, fm.Particles(jr.normal(jr.key(99), (n, 2))), ts, dt=0.25).final
    found = fm.fit(
        Pull(0.4, 0.0), (ts, [start[0], observed]), loss="summaries", initial=start, dt=0.25,
        where=lambda s: s.alpha, positive=True, steps=60,
        summaries=lambda mu: jnp.log(jnp.trace(mu.covariance()))[None],
    )  # fmt: skip
    logs = np.array([np.log(np.trace(s.covariance())) for s in start])
    expected = (logs.mean() - np.log(np.trace(observed.covariance()))) / 2
    np.testing.assert_allclose(found.system.alpha, expected, rtol=1e-3)
    known = (40 - 3) / 39 * 40 / 41
    error = np.std(logs, ddof=1) / np.sqrt(known) / 2 / expected
    np.testing.assert_allclose(found.errors[0], error, rtol=1e-3)


@pytest.mark.slow
def test_errors_of_increments_and_a_profile():
    ts = np.linspace(0.0, 2.0, 41)
    run = fm.simulate(Pull(1.0, 0.5, 0.4), cloud(10), ts, dt=0.05, key=jr.key(1))
    data = ts, [fm.Particles(x) for x in run.ys.x]
    where = lambda s: (s.alpha, s.beta)  # noqa: E731
    found = fm.fit(Pull(0.1, 0.1, 0.4), data, loss="increments", where=where)
    x = np.asarray(run.ys.x)[:-1]
    columns = [x.ravel(), (x - x.mean(1, keepdims=True)).ravel()]
    information = 0.05 / 0.16 * np.array([[np.vdot(a, b) for b in columns] for a in columns])
    theta = np.array([found.system.alpha, found.system.beta])
    expected = np.sqrt(np.diag(np.linalg.inv(information))) / np.abs(theta)
    np.testing.assert_allclose(found.errors, expected, rtol=1e-4)
    values = theta[0] + np.array([0.0, 0.3])
    least = fm.profile(Pull(0.1, 0.1, 0.4), data, lambda s: s.alpha, values,
                       where=lambda s: s.beta, loss="increments")  # fmt: skip
    # A quadratic: the profile's curvature is one over the variance.
    variance = np.linalg.inv(information)[0, 0]
    np.testing.assert_allclose((least[1] - least[0]) * 400, 0.09 / (2 * variance), rtol=1e-6)


@pytest.mark.slow
def test_gauss_newton_errors_of_paths():
    ts = np.linspace(0.0, 1.0, 6)
    exact = snapshots(Pull(0.7, 0.0), cloud(30), ts)
    noisy = [exact[0]] + [
        fm.Particles(mu.x + 0.05 * jr.normal(jr.key(k), mu.x.shape))
        for k, mu in enumerate(exact[1:])
    ]
    found = fm.fit(Pull(0.5, 0.0), (ts, noisy), loss="trajectory", where=lambda s: s.alpha, dt=0.1,
                   positive=True, steps=80)  # fmt: skip
    alpha, square = float(found.system.alpha), np.sum(np.asarray(exact[0].x) ** 2)
    slope = sum((t * np.exp(-alpha * t)) ** 2 * square for t in ts[1:])
    np.testing.assert_allclose(found.errors[0], 0.05 / np.sqrt(slope) / alpha, rtol=0.1)


REFUSED = {
    "one population of a likelihood": (dict(loss="summaries"), "`initial`"),
    "populations of other sizes": (dict(initial=[cloud(3), cloud(4)]), "`initial`"),
    "paths of populations": (dict(loss="trajectory", initial=[cloud(9)] * 2), "`initial`"),
    "restarts without a key": (dict(restarts=2), "`key`"),
    "draws without a key": (dict(batch=2), "`key`"),
    "batch too large": (dict(batch=10), "`batch`"),
    "pieces of nothing": (dict(pieces=2), "`pieces`"),
    "too many intervals": (dict(shooting=4), "`shooting`"),
    "shooting without a run": (dict(loss="increments", shooting=1), "`shooting`"),
    "no such route": (dict(adjoint="backwards"), "`adjoint`"),
    "a number is no matrix": (dict(symmetric=True), "`symmetric`"),
    "no energy": (dict(loss="self_test"), "self_test"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_argument(name, data):
    changes, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        fm.fit(Pull(1.0, 1.0), data, dt=0.5, **changes)


@pytest.mark.slow
def test_divergences_of_sinkhorn_are_those_of_ott_and_have_hessians():
    from ott.geometry import pointcloud
    from ott.tools import sinkhorn_divergence

    x, y = cloud(7).x, cloud(6, 1).x
    ours = lambda s: fm.SinkhornDivergence(fm.Particles(y), 0.5)(fm.Particles(s * x))  # noqa: E731
    with jax.numpy_dtype_promotion("standard"):
        theirs = sinkhorn_divergence.sinkhorn_divergence(
            pointcloud.PointCloud, x, y, epsilon=0.5,
            solve_kwargs=dict(threshold=1e-12, max_iterations=20_000),
        )  # fmt: skip
    value = theirs[0] if isinstance(theirs, tuple) else theirs.divergence
    np.testing.assert_allclose(ours(1.0), value, rtol=1e-9)
    slope = jax.jit(jax.jacfwd(ours))
    np.testing.assert_allclose(slope(1.0), (ours(1 + 1e-5) - ours(1 - 1e-5)) / 2e-5, rtol=1e-7)
    curvature = (slope(1 + 1e-5) - slope(1 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.hessian(ours)(1.0), curvature, rtol=1e-6)
