"""Parameters come back from measures, and what measures cannot tell is said."""

import equinox as eqx
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

TIMES = np.array([0.0, 0.4, 1.0, 2.0])


class AttractionRepulsion(eqx.Module):
    """Minus its gradient in x is −a z + (b/ℓ²) z e^{−|z|²/2ℓ²} with z = x − y."""

    a: float
    b: float
    length: float

    def __call__(self, x, y):
        r = jnp.sum((x - y) ** 2)
        return self.a * r / 2 + self.b * jnp.exp(-r / (2 * self.length**2))


class Rotation(fm.AbstractMeanField):
    """dx = (−decay + ω J) x dt."""

    decay: float
    omega: float

    def rates(self, t, x, mu):
        return fm.Rates(-self.decay * x + self.omega * jnp.stack([-x[1], x[0]]))


def swarm(a=1.0, b=2.0, length=0.6):
    return fm.McKeanVlasov(kernel=AttractionRepulsion(a, b, length), beta=None)


def cloud(n, seed=0):
    return fm.Particles(jr.normal(jr.key(seed), (n, 2)))


def unlabelled(system, start, ts, **options):
    """Snapshots of one run, the particles of each in an order of its own."""
    run = fm.simulate(system, start, ts, dt=0.2, **options)
    orders = [jr.permutation(jr.key(10 + k), run.ys.x.shape[1]) for k in range(len(ts))]
    return [start] + [fm.Particles(run.ys.x[k][orders[k]]) for k in range(1, len(ts))]


def parameters(result):
    kernel = result.system.kernel
    return np.array([kernel.a, kernel.b, kernel.length])


@pytest.fixture(scope="module")
def snapshots():
    return unlabelled(swarm(), cloud(30), TIMES)


@pytest.mark.slow
@pytest.mark.parametrize(
    "loss",
    ["energy_distance", *(pytest.param(k, marks=pytest.mark.slow) for k in ("sinkhorn", "mmd"))],
)
def test_a_kernel_comes_back_from_unlabelled_snapshots(loss, snapshots):
    start = swarm(0.4, 1.0, 1.0)
    result = fm.fit(start, (TIMES, snapshots), loss=loss, dt=0.2, positive=True)
    np.testing.assert_allclose(parameters(result), [1.0, 2.0, 0.6], rtol=5e-3)
    assert result.spectrum.shape == (3,) and result.spectrum[0] > 0
    assert result.names == ["kernel.a", "kernel.b", "kernel.length"]
    assert result.losses[-1] < 1e-4 * result.losses[0]
    assert result.converged and "identified" not in result.message


@pytest.mark.slow
def test_the_spectrum_is_the_hessian_in_logarithms():
    start, ts = cloud(7), np.array([0.0, 1.0])
    data = [start, fm.Particles(0.5 * cloud(7, 1).x)]
    system = Pull(0.7, 0.4)
    result = fm.fit(
        system, (ts, data), loss="trajectory", dt=0.25, steps=1,
        optimizer=optax.sgd(0.0),
    )  # fmt: skip

    def value(logs):
        alpha, beta = jnp.exp(logs)
        run = fm.simulate(Pull(alpha, beta), start, ts, dt=0.25)
        return jnp.mean(jnp.sum((run.final.x - data[1].x) ** 2, axis=1))

    hessian = jax.hessian(value)(jnp.log(jnp.array([0.7, 0.4])))
    np.testing.assert_allclose(result.losses[0], value(jnp.log(jnp.array([0.7, 0.4]))), rtol=1e-12)
    np.testing.assert_allclose(result.spectrum, jnp.linalg.eigvalsh(hessian), rtol=1e-5)


@pytest.mark.slow
def test_a_rotation_of_an_isotropic_law_is_reported():
    ts = np.linspace(0.0, 1.0, 3)
    start = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
    run = fm.simulate(Rotation(1.0, 2.0), start, ts, dt=0.1)
    data = [fm.Gaussian(run.ys.m[k], run.ys.cov[k]) for k in range(3)]
    with pytest.warns(UserWarning, match="omega"):
        result = fm.fit(
            Rotation(0.5, 1.0), (ts, data), loss="sinkhorn", epsilon=0.1, dt=0.1, positive=True
        )
    assert abs(result.system.decay - 1) < 2e-3 and "omega" in result.message
    assert abs(result.spectrum[0]) < 1e-6 * result.spectrum[1]


@pytest.mark.slow
def test_a_rotation_is_seen_from_a_law_that_is_not_isotropic():
    ts = np.linspace(0.0, 1.0, 3)
    start = fm.Gaussian(jnp.zeros(2), jnp.diag(jnp.array([1.0, 0.2])))
    run = fm.simulate(Rotation(1.0, 1.2), start, ts, dt=0.1)
    data = [fm.Gaussian(run.ys.m[k], run.ys.cov[k]) for k in range(3)]
    result = fm.fit(Rotation(0.5, 1.0), (ts, data), loss="moments", dt=0.1)
    np.testing.assert_allclose([result.system.decay, result.system.omega], [1.0, 1.2], rtol=5e-3)
    assert "identified" not in result.message


@pytest.mark.slow
def test_sizes_may_differ_and_noise_is_held():
    start = cloud(30)
    ts = np.array([0.0, 0.5, 1.0])
    truth = Pull(1.0, 0.5, 0.3)
    run = fm.simulate(truth, start, ts, dt=0.1, key=jr.key(5))
    data = [start, fm.Particles(run.ys.x[1][:20]), fm.Particles(run.ys.x[2])]
    call = dict(loss="sliced", where=lambda s: s.alpha, dt=0.1, key=jr.key(5), steps=5)
    one, two = (fm.fit(Pull(0.6, 0.5, 0.3), (ts, data), **call) for _ in range(2))
    np.testing.assert_array_equal(one.losses, two.losses)
    assert one.system.beta == 0.5 and one.losses.shape == (5,) and one.losses[-1] < one.losses[0]


def test_increments_are_solved_as_least_squares():
    start, ts = cloud(10), np.linspace(0.0, 1.0, 21)
    run = fm.simulate(Pull(1.0, 0.5, 0.4), start, ts, dt=0.05, key=jr.key(1))
    data = [fm.Particles(x) for x in run.ys.x]
    where = lambda s: (s.alpha, s.beta)  # noqa: E731
    result = fm.fit(Pull(0.1, 0.1, 0.4), (ts, data), loss="increments", where=where)
    x = np.asarray(run.ys.x)
    y = np.diff(x, axis=0).ravel()
    columns = [x[:-1], x[:-1] - x[:-1].mean(axis=1, keepdims=True)]
    design = -0.05 * np.stack([c.ravel() for c in columns], axis=1)
    expected = np.linalg.lstsq(design, y, rcond=None)[0]
    np.testing.assert_allclose([result.system.alpha, result.system.beta], expected, rtol=1e-9)
    assert result.converged and len(result.losses) <= 3
    # σ too, whose estimate is the root mean square of the residual.
    result = fm.fit(Pull(0.1, 0.1, 0.9), (ts, data), loss="increments", positive=lambda s: s.sigma)
    sigma = np.sqrt(np.mean((y - design @ expected) ** 2) / 0.05)
    np.testing.assert_allclose(result.system.sigma, sigma, rtol=1e-6)
    np.testing.assert_allclose(result.system.alpha, expected[0], rtol=1e-6)


def test_independent_populations_are_compared_without_bias():
    # Two clouds of one law: the mean of the unbiased loss is 0, of the other 2 E|X−X′|/n.
    loss = named(Comparison("energy_distance", independent=True), [cloud(5)] * 2, 1, jnp.float64)
    draws = jr.normal(jr.key(0), (4000, 2, 5, 2))
    values = jax.vmap(lambda x: loss(fm.Particles(x[0]), fm.Particles(x[1])))(draws)
    assert abs(jnp.mean(values)) < 4 * jnp.std(values) / np.sqrt(4000)


def test_bounds_hold_and_a_loss_of_ones_own_serves():
    start, ts = cloud(10), np.array([0.0, 1.0])
    data = [start, fm.simulate(Pull(1.0, 0.0), start, ts, dt=0.1).final]
    result = fm.fit(
        Pull(0.3, 0.0), (ts, data), where=lambda s: s.alpha, bounds=(0.0, 0.8), dt=0.1, steps=40,
        loss=lambda mu, nu: jnp.sum((mu.covariance() - nu.covariance()) ** 2), identifiability=False
    )  # fmt: skip
    assert 0.6 < result.system.alpha < 0.8 and result.spectrum is None


def test_nan_stops_and_keeps_the_best():
    start, ts = cloud(10), np.array([0.0, 1.0])
    loss = lambda mu, nu: jnp.sqrt(jnp.mean(mu.x**2) - 0.05)  # noqa: E731
    result = fm.fit(
        Pull(0.5, 0.0), (ts, [start, start]), where=lambda s: s.alpha, loss=loss, dt=0.1,
        optimizer=optax.sgd(1.0), steps=20,
    )  # fmt: skip
    assert not result.converged and "not finite" in result.message
    assert np.isfinite(result.system.alpha) and np.isnan(result.losses[-1])


REFUSED = {
    "one snapshot short": (dict(data=([0.0, 1.0], [cloud(3)])), "`snapshots`"),
    "unknown loss": (dict(loss="wasserstein"), "`loss`.*sinkhorn"),
    "no float": (dict(where=lambda s: s.sigma), "`where`|None"),
    "not positive": (dict(system=Pull(-1.0, 1.0), positive=True), "`positive`"),
    "outside": (dict(bounds=(2.0, 3.0)), "`bounds`"),
    "no key": (dict(system=Pull(1.0, 1.0, 0.5)), "`key`"),
    "plans with noise": (dict(system=Pull(1.0, 1.0, 0.5), loss="jko"), '"jko".*noise'),
    "no step": (dict(system=Pull(1.0, 1.0, 0.5), key=jr.key(0), dt=None), "`dt`"),
    "other sizes": (
        dict(data=([0.0, 1.0], [cloud(3), cloud(4)]), loss="trajectory"), "`snapshots`",
    ),
    "no unbiased form": (dict(loss="sinkhorn", independent=True), "`independent`"),
    "not a scalar": (dict(loss=lambda mu, nu: mu.x), "`loss`"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_argument(name):
    changes, words = REFUSED[name]
    arguments = dict(system=Pull(1.0, 1.0), data=([0.0, 1.0], [cloud(3)] * 2), dt=0.5) | changes
    with pytest.raises(ValueError, match=words):
        fm.fit(arguments.pop("system"), arguments.pop("data"), **arguments)
