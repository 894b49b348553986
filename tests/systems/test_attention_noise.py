"""Common noise of random layers: kernels, laws and synchronisation."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import dblquad
from scipy.special import erf
from scipy.stats import kstest

import flowjax_measures as fm

ACTIVATIONS = {"relu": lambda a: max(a, 0.0), "erf": erf, "tanh": np.tanh, "linear": lambda a: a}


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_kernels_are_gaussian_integrals(name):
    phi = ACTIVATIONS[name]
    x, y = np.array([0.6, 0.8, 0.0]), np.array([1.0, 0.3, -0.5])
    gram = np.array([[x @ x, x @ y], [x @ y, y @ y]])
    precision, scale = np.linalg.inv(gram), 2 * np.pi * np.sqrt(np.linalg.det(gram))

    def density(b, a):
        quadratic = precision[0, 0] * a * a + 2 * precision[0, 1] * a * b + precision[1, 1] * b * b
        return phi(a) * phi(b) * np.exp(-quadratic / 2) / scale

    exact = dblquad(density, -9, 9, -9, 9, epsabs=1e-10)[0]
    kernel = fm.RandomMLPNoise(name).kernel
    assert np.isclose(kernel(jnp.asarray(x), jnp.asarray(y)), exact, atol=1e-9)
    slope = jax.grad(kernel)(jnp.asarray(x), jnp.asarray(x))
    assert np.all(np.isfinite(slope))


@pytest.mark.slow
def test_noise_has_the_covariance_of_the_kernel():
    system = fm.RandomMLPNoise("tanh", 1.3)
    mu = fm.Particles(jr.normal(jr.key(0), (4, 3)), space=fm.Sphere()).retract()
    noise = system(0.0, mu).noise
    linear = jax.jacfwd(lambda w: noise.apply((w,)).x)(jnp.zeros((4, 3)))
    covariance = np.einsum("iaku,jbku->iajb", linear, linear)
    x = np.asarray(mu.x)
    project = np.eye(3) - x[:, :, None] * x[:, None]
    gram = jax.vmap(lambda a: jax.vmap(lambda b: system.kernel(a, b))(mu.x))(mu.x)
    exact = 1.69 * np.einsum("ij,iac,jbc->iajb", gram, project, project)
    assert np.allclose(covariance, exact, atol=1e-12)


def _top_exponent(activation, d, n=2048, h=0.05):
    """The mean of log of how a small distance changes, per unit of time, in one step each.

    Runs come in pairs of opposite noise, which leaves the square root of time out of the mean.
    """
    x = jr.normal(jr.key(1), (n, d))
    x = x / jnp.linalg.norm(x, axis=1, keepdims=True)
    v = jr.normal(jr.key(2), (n, d))
    v = v - jnp.sum(v * x, axis=1, keepdims=True) * x
    v = 1e-4 * v / jnp.linalg.norm(v, axis=1, keepdims=True)

    def pair(x, v, key, sigma):
        mu = fm.Particles(jnp.stack([x, x + v]), space=fm.Sphere()).retract()
        noise = fm.RandomMLPNoise(activation, sigma)
        run = fm.simulate(noise, mu, [0.0, h], dt=h / 4, key=key)
        return jnp.log(jnp.linalg.norm(run.final.x[0] - run.final.x[1]) / 1e-4) / h

    both = jax.vmap(pair, (None, None, None, 0))
    rates = jax.vmap(both, (0, 0, 0, None))(x, v, jr.split(jr.key(3), n), jnp.array([1.0, -1.0]))
    rates = rates.mean(1)
    return float(rates.mean()), float(rates.std() / np.sqrt(n))


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "d"), [("relu", 4), ("erf", 8)])
def test_top_exponent_of_layer_noise(activation, d):
    # ½[(d − 3)k'(1) − (d − 1)k(1)] with k(u) = k(⟨x, y⟩): for ReLU −½ in every dimension.
    one = jnp.zeros(d).at[0].set(1.0)
    turned = lambda a: jnp.zeros(d).at[0].set(jnp.cos(a)).at[1].set(jnp.sin(a))  # noqa: E731
    kernel = lambda a: fm.RandomMLPNoise(activation).kernel(one, turned(a))  # noqa: E731
    # k(cos a) = k(1) − k'(1) a²/2 + O(a⁴), or O(a³) for ReLU.
    slope = {"relu": 0.5, "erf": 4 / (3 * np.pi * np.sqrt(5 / 9))}[activation]
    assert np.isclose((kernel(0.0) - kernel(1e-3)) / 5e-7, slope, rtol=2e-3)
    exact = ((d - 3) * slope - (d - 1) * float(kernel(0.0))) / 2
    rate, error = _top_exponent(activation, d)
    # The step of 1/80 is off by a share of about its length.
    assert abs(rate - exact) < 4 * error + 0.02
    assert error < 0.04


def test_random_quadratic_form_two_point_law():
    # u = ⟨X, Y⟩ solves du = −u(1 − u²)dt + √2(1 − u²)dW: so z = artanh u, dz = tanh z dt + √2 dW.
    n, h, t = 4096, 0.01, 0.5
    start = jnp.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]])

    def pair(key):
        mu = fm.Particles(start, space=fm.Sphere())
        return fm.simulate(fm.RandomQuadraticForm(), mu, [0.0, t], dt=h, key=key).final.x

    final = jax.jit(jax.vmap(pair))(jr.split(jr.key(0), n))
    u = np.asarray(jnp.einsum("kd,kd->k", final[:, 0], final[:, 1]))
    rng = np.random.default_rng(0)
    z = np.full(100_000, np.arctanh(0.6))
    for _ in range(200):
        noise = rng.normal(size=z.size) * np.sqrt(2 * t / 200)
        slope = np.tanh(z)
        z = z + (slope + np.tanh(z + slope * t / 200 + noise)) / 2 * t / 200 + noise
    for moment in (lambda u: u, lambda u: u**2):
        a, b = moment(u), moment(np.tanh(z))
        error = np.sqrt(a.var() / n + b.var() / z.size)
        assert abs(a.mean() - b.mean()) < 4 * error
    # One point is uniform in the long run; already E x₁² tends to ⅓ at rate 3/2 (see below).
    first = np.asarray(final[:, 0, 0]) ** 2
    # L x₁² for dX = P dQ X is (1 − 3 x₁²)·½ in n = 3, from E|P dQ X|² = (n − 1)/2 dt.
    exact = 1 / 3 + 2 / 3 * np.exp(-1.5 * t)
    assert abs(first.mean() - exact) < 4 * first.std() / np.sqrt(n) + 0.002


@pytest.mark.slow
def test_random_quadratic_form_forgets_where_it_started():
    # On S² one coordinate of a uniform point is uniform on [−1, 1] (Archimedes). A point is a
    # Brownian motion of generator ¼Δ: E z = e^{−t/2} is the slowest to go, 0.05 at t = 6.
    def one(key):
        mu = fm.Particles(jnp.array([[0.0, 0.0, 1.0]]), space=fm.Sphere())
        return fm.simulate(fm.RandomQuadraticForm(), mu, [0.0, 24.0], dt=0.04, key=key).final.x[0]

    final = np.asarray(jax.jit(jax.vmap(one))(jr.split(jr.key(4), 16_384)))
    p_values = [kstest(final[:, axis], "uniform", (-1, 2)).pvalue for axis in range(3)]
    assert min(p_values) > 0.01


def test_random_quadratic_form_synchronises_up_to_sign():
    mu = fm.Particles(jr.normal(jr.key(5), (16, 4)), space=fm.Sphere()).retract()
    run = fm.simulate(fm.RandomQuadraticForm(), mu, [0.0, 40.0], dt=0.02, key=jr.key(6))
    assert np.abs(np.abs(run.final.x @ run.final.x[0]) - 1).max() < 1e-10


@pytest.mark.slow
def test_common_noise_synchronises_repulsive_attention():
    mu = fm.Particles(jr.normal(jr.key(7), (8, 3)), space=fm.Sphere()).retract()
    repulsive = fm.SelfAttention(value=-0.1 * jnp.eye(3), beta=1.0)
    noisy = repulsive + fm.RandomMLPNoise("relu", 2.0)
    run = fm.simulate(noisy, mu, [0.0, 10.0], dt=0.02, key=jr.key(8))
    assert fm.dispersion(run.final) < 1e-3
    assert fm.dispersion(fm.simulate(repulsive, mu, [0.0, 10.0], dt=0.02).final) > 0.5


@pytest.mark.parametrize("system", [fm.RandomQuadraticForm(), fm.RandomMLPNoise("tanh")])
def test_tokens_do_not_split_in_common_noise(system):
    x = jr.normal(jr.key(9), (3, 3))
    mu = fm.Particles(jnp.concatenate([x, x[:1]]), space=fm.Sphere()).retract()
    final = fm.simulate(system, mu, [0.0, 0.5], dt=0.05, key=jr.key(1)).final.x
    # The field of a random layer is drawn up to a ridge of 1e-15, of which this is the root.
    assert np.allclose(final[0], final[3], atol=1e-6)
    assert not np.allclose(final[0], final[1], atol=0.1)


FEATURES = jr.normal(jr.key(5), (48, 2))
REPELLED = fm.SelfAttention(value=-0.5 * jnp.eye(2)) + fm.RandomMLPNoise(
    "tanh", 0.7, features=FEATURES
)


def test_random_features_are_a_layer_of_finite_width():
    noise = fm.RandomMLPNoise("erf", 1.3, features=FEATURES)
    mu = fm.Particles(jr.normal(jr.key(0), (6, 2)))
    linear = jax.jacfwd(lambda w: noise(0.0, mu).noise.apply((w,)).x)(jnp.zeros((48, 2)))
    layer = erf(np.asarray(mu.x) @ np.asarray(FEATURES).T) / np.sqrt(48)
    covariance = np.einsum("iaku,jbku->iajb", linear, linear)
    exact = 1.69 * np.einsum("ij,ab->iajb", layer @ layer.T, np.eye(2))
    assert np.allclose(covariance, exact, atol=1e-12)
    # Four thousand rows in place of 48: the kernel's error falls as the root of their number.
    wide = fm.RandomMLPNoise("erf", features=jr.normal(jr.key(6), (4096, 2)))
    assert wide.kernel_error(mu) < 4 * np.sqrt(1 / 4096)
    assert 0.05 < noise.kernel_error(mu) < 4 * np.sqrt(1 / 48)
    assert fm.RandomMLPNoise("erf").kernel_error(mu) == 0
    with pytest.raises(ValueError, match=r"`features` has shape \(48, 2\); give rows of 3"):
        noise(0.0, fm.Particles(jnp.ones((2, 3))))


def test_shared_noise_in_the_coordinates_of_a_chart():
    """The same Brownian motions move tokens on the circle and their angles."""
    angles = jnp.linspace(0.0, 5.0, 7)[:, None]
    mu = fm.Particles(jax.vmap(fm.circle_chart)(angles), space=fm.Sphere())
    law = fm.InCoordinates(REPELLED, fm.circle_chart)
    on_circle, in_angles = (
        fm.simulate(system, start, [0.0, 0.2], dt=0.002, key=jr.key(1)).final
        for system, start in ((REPELLED, mu), (law, fm.Particles(angles)))
    )
    away = np.abs(jax.vmap(fm.circle_chart)(in_angles.x) - on_circle.x).max()
    moved = np.abs(on_circle.x - mu.x).max()
    assert moved > 0.1 and away < 0.01 * moved


@pytest.mark.slow
def test_the_law_of_tokens_solves_its_stochastic_equation():
    """A density of angles and two thousand tokens under one path of the noise."""
    law, ts = fm.InCoordinates(REPELLED, fm.circle_chart), [0.0, 0.5]
    grid = np.linspace(0, 2 * np.pi, 4001)
    angles = np.interp((np.arange(2000) + 0.5) / 2000 * 2 * np.pi, grid + 0.5 * np.sin(grid), grid)
    cells = (jnp.arange(64.0) + 0.5) * 2 * jnp.pi / 64
    density = fm.GridDensity((1 + 0.5 * jnp.cos(cells)) / (2 * jnp.pi), 0, 2 * jnp.pi, True)
    moments = lambda mu: mu.mean(  # noqa: E731
        lambda a: jnp.stack([jnp.cos(a[0]), jnp.sin(a[0]), jnp.cos(2 * a[0])])
    )
    tokens, whole = (
        moments(fm.simulate(law, mu, ts, dt=0.005, key=jr.key(5)).final)
        for mu in (fm.Particles(jnp.asarray(angles)[:, None]), density)
    )
    assert np.abs(tokens - moments(density)).max() > 0.1
    assert np.abs(tokens - whole).max() < 0.01


@pytest.mark.slow
def test_layers_of_an_even_part_have_a_mean():
    """φ(Mx) of a ReLU and of a bump: covariance and mean by quadrature, and by one wide layer."""
    x, y = jnp.array([0.6, 0.8, 0.0]), jnp.array([1.0, 0.3, -0.5])
    bump = lambda a: jnp.exp(-((a - 0.5) ** 2))  # noqa: E731
    root = np.linalg.cholesky(np.array([[x @ x, x @ y], [x @ y, y @ y]]))
    z, w = np.polynomial.hermite_e.hermegauss(120)
    w = w / w.sum()
    for phi, accuracy in (("relu", 1e-3), (bump, 1e-9)):
        at = (lambda a: np.maximum(a, 0)) if phi == "relu" else bump
        left, right = at(root[0, 0] * z), at(root[1, 0] * z[:, None] + root[1, 1] * z[None])
        exact = np.einsum("i,j,i,ij->", w, w, left, right) - (w @ left) * (w @ (right @ w))
        noise = fm.RandomMLPNoise(phi, mean=0.7)
        np.testing.assert_allclose(noise.kernel(x, y), exact, atol=accuracy)
        drift = noise.rates(0.0, x, fm.Particles(x[None])).velocity
        np.testing.assert_allclose(drift, 0.7 * (w @ left) * np.ones(3), atol=10 * accuracy)
        layer = fm.RandomMLPNoise(phi, mean=0.7, features=jr.normal(jr.key(0), (100_000, 3)))
        np.testing.assert_allclose(layer.kernel(x, y), exact, atol=0.01)
    # Of φ odd nothing changes.
    np.testing.assert_allclose(
        fm.RandomMLPNoise("tanh", mean=0.7).kernel(x, y), fm.RandomMLPNoise("tanh").kernel(x, y)
    )


@pytest.mark.slow
def test_deep_white_layers_come_to_their_law():
    """x ← N(x + √h (φ(Mx) − m) + h a m): moments of two tokens at t = 1, beside the limit."""
    n, depth, drift = 40_000, 64, 0.8
    start = fm.Particles(jnp.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), space=fm.Sphere())
    mean = 1 / np.sqrt(2 * np.pi)

    def network(key):
        def layer(x, key):
            hidden = jax.nn.relu(x @ jr.normal(key, (3, 3)).T)
            x = x + (hidden - mean) / depth**0.5 + drift * mean / depth
            return x / jnp.linalg.norm(x, axis=1, keepdims=True), None

        return jax.lax.scan(layer, start.x, jr.split(key, depth))[0]

    def limit(key):
        noise = fm.RandomMLPNoise("relu", mean=drift)
        return fm.simulate(noise, start, [0.0, 1.0], dt=1 / depth, key=key).final.x

    def moments(run, seed):
        keys = jr.split(jr.key(seed), n)
        x = np.asarray(jax.jit(lambda keys: jax.lax.map(run, keys, batch_size=2000))(keys))
        found = np.stack([*x[:, 0].T, *x[:, 1].T, np.sum(x[:, 0] * x[:, 1], 1)])
        return found.mean(1), found.std(1) / n**0.5

    (one, error), (two, other) = moments(network, 0), moments(limit, 1)
    # The layers are off by a share of about their length, 1/64.
    assert np.all(np.abs(one - two) < 4 * np.hypot(error, other) + 0.01)
    # Without the drift the two are far apart: the mean counts.
    assert one[:3].sum() > 1 + 0.1 and np.all(error < 0.005)


def test_exponents_of_near_tokens():
    assert np.isclose(fm.RandomMLPNoise("relu", 2.0).exponent(7), -2.0)
    slope, k = 4 / (3 * np.pi * np.sqrt(5 / 9)), 2 / np.pi * np.arcsin(2 / 3)
    noise = fm.RandomMLPNoise("erf")
    assert np.isclose(noise.exponent(5), (2 * slope - 4 * k) / 2, rtol=1e-9)
    assert np.isclose(noise.exponent(5, 2.0), (4 * slope - 2 * k) / 2, rtol=1e-9)


@pytest.mark.slow
def test_noise_overcomes_repulsion_beyond_its_threshold():
    """log|δ| of two near tokens on S² that repel each other, and E|δ|, grow at their exponents."""
    repulsion, n, h, t = 0.4, 4096, 0.02, 0.5
    attention = fm.SelfAttention(value=-repulsion * jnp.eye(3))
    threshold = np.sqrt(-repulsion / float(fm.RandomMLPNoise("relu").exponent(3)))
    start = jnp.array([[1.0, 0.0, 0.0], [1.0, 1e-4, 0.0]])
    for sigma in (0.7 * threshold, 1.3 * threshold):
        noise = fm.RandomMLPNoise("relu", sigma)

        def pair(key, system=attention + noise):
            mu = fm.Particles(start, space=fm.Sphere()).retract()
            x = fm.simulate(system, mu, [0.0, t], dt=h, key=key).final.x
            return jnp.linalg.norm(x[0] - x[1]) / 1e-4

        grown = np.asarray(jax.jit(lambda k: jax.lax.map(jax.vmap(pair), k))(
            jr.split(jr.key(1), (16, n // 16))
        )).ravel()  # fmt: skip
        rate, error = np.log(grown).mean() / t, np.log(grown).std() / np.sqrt(n) / t
        assert abs(rate - repulsion - noise.exponent(3)) < 4 * error + 0.03
        assert (rate < 0) == (sigma > threshold)
        mean, error = np.log(grown.mean()) / t, grown.std() / grown.mean() / np.sqrt(n) / t
        assert abs(mean - repulsion - noise.exponent(3, 1.0)) < 4 * error + 0.03


def test_a_fixed_quadratic_form_ends_at_its_lowest_eigenvectors():
    """ẋ = −P_x M x from the orthogonal ensemble: e^{−tM} x over its length, then ±x*."""
    a = jr.normal(jr.key(0), (4, 4))
    m = (a + a.T) / 2
    form = fm.FeedForward(-m, activation=lambda z: z)
    start = fm.initial.uniform_on_sphere(jr.key(1), 12, 4)
    run = fm.simulate(form, start, [0.0, 0.7, 40.0], dt=0.05).ys.x
    values, vectors = np.linalg.eigh(m)
    exact = np.asarray(start.x) @ vectors * np.exp(-0.7 * values) @ vectors.T
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    assert np.allclose(run[1], exact, atol=1e-6)
    assert np.allclose(np.abs(run[2] @ vectors[:, 0]), 1, atol=1e-6)


@pytest.mark.slow
def test_layers_with_white_matrices_tend_to_the_field_of_their_activation():
    """x ← N(x + √h φ(Mx)), M new in every layer: ⟨x, y⟩ has the law of `RandomMLPNoise(φ)`."""
    d, t, n = 3, 0.4, 20_000
    start = jnp.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]])

    def layers(key, count):
        def layer(x, key):
            moved = x + jnp.sqrt(t / count) * jnp.tanh(x @ jr.normal(key, (d, d)))
            return moved / jnp.linalg.norm(moved, axis=1, keepdims=True), None

        x = jax.lax.scan(layer, start, jr.split(key, count))[0]
        return x[0] @ x[1]

    def field(key):
        mu = fm.Particles(start, space=fm.Sphere())
        x = fm.simulate(fm.RandomMLPNoise("tanh"), mu, [0.0, t], dt=t / 64, key=key).final.x
        return x[0] @ x[1]

    limit = np.asarray(jax.jit(lambda k: jax.lax.map(jax.vmap(field), k))(
        jr.split(jr.key(0), (40, n // 40)))).ravel()  # fmt: skip
    run = jax.jit(lambda k: jax.lax.map(jax.vmap(lambda k: layers(k, 64)), k))
    found = np.asarray(run(jr.split(jr.key(1), (40, n // 40)))).ravel()
    assert limit.std() > 0.2
    for a, b in ((found, limit), (found**2, limit**2)):
        assert abs(a.mean() - b.mean()) < 4 * np.sqrt((a.var() + b.var()) / n)
