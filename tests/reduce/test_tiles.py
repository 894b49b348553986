"""Tiles of pairs against the dense sum: every order of derivatives, batches, distances, sizes."""

from functools import partial

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm
from flowjax_measures._reduce import _tiles, tilted_mean

N, M = 70, 131  # neither divides into tiles


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch):
    monkeypatch.setattr(_tiles, "_CPU_TILE", 2**14)
    monkeypatch.setattr(_tiles, "_SIDE", 32)


def product(x, y, b):
    return b * jnp.vdot(x, y)


def distance(x, y, b):
    return -b * jnp.sum((x - y) ** 2)


def logarithm(x, y, b):
    z = 0.5 * y - x
    return -jnp.log(b + jnp.vdot(z, z))


FORMS = {
    "product": (product, 3),
    "few": (distance, 3),
    "wide": (distance, 11),
    "log": (logarithm, 9),
}


def tiled(form, s, w, b, x):
    one = lambda x: tilted_mean(jnp.sin, lambda y: form(x, y, b), s, w)  # noqa: E731
    return jax.vmap(one)(x)


def dense(form, s, w, b, x):
    tilt = jax.vmap(lambda x: jax.vmap(lambda y: form(x, y, b))(s))(x) + w
    return jax.nn.softmax(tilt, -1) @ jnp.sin(s), jax.nn.logsumexp(tilt, -1)


def everything(path, form, dimension):
    """Values, gradients, forward mode, both second orders, heads and ensembles."""
    s, x = (0.5 * jr.normal(jr.key(i), (n, dimension)) for i, n in ((0, M), (1, N)))
    w, b = jr.normal(jr.key(2), (M,)), jnp.asarray(1.5)
    values = partial(path, form)

    def loss(s, w, b, x):
        mean, normaliser = values(s, w, b, x)
        return jnp.sum(jnp.sin(mean)) + jnp.sum(jnp.cos(normaliser))

    slope = jax.grad(loss, 2)
    arguments = (s, w, b, x)
    heads = jnp.asarray([0.5, 1.0, 2.0])
    return (
        values(*arguments),
        jax.grad(loss, (0, 1, 2, 3))(*arguments),
        jax.jvp(loss, arguments, jax.tree.map(jnp.cos, arguments)),
        jax.jacfwd(slope, (2, 3))(*arguments),
        jax.grad(lambda b, x: slope(s, w, b, x) ** 2, (0, 1))(b, x),
        jax.grad(lambda s: jnp.sum(jax.vmap(lambda b: loss(s, w, b, x))(heads)))(s),
        jax.grad(lambda s: jnp.sum(jax.vmap(lambda s: loss(s, w, b, x))(s)))(jnp.stack([s, s + 1])),
    )


@pytest.mark.parametrize(
    "name", ["few", *[pytest.param(k, marks=pytest.mark.slow) for k in FORMS if k != "few"]]
)
def test_tiles_equal_the_dense_sum(name):
    ours, truth = (jax.jit(lambda p=p: everything(p, *FORMS[name]))() for p in (tiled, dense))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(truth), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def test_gradients_at_each_target_equal_the_dense_ones():
    s, x = jr.normal(jr.key(0), (M, 3)), jr.normal(jr.key(1), (N, 3))

    def total(log_density, s):
        return jnp.sum(jnp.sin(jax.vmap(jax.grad(lambda x: log_density(x, s)))(x)))

    ours = lambda x, s: fm.Particles(s).logmean(lambda y: distance(x, y, 0.7))  # noqa: E731
    truth = lambda x, s: jax.nn.logsumexp(jax.vmap(lambda y: distance(x, y, 0.7))(s))  # noqa: E731
    a, b = (jax.jit(jax.value_and_grad(partial(total, f)))(s) for f in (ours, truth))
    for p, q in zip(a, b, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-11, atol=1e-12)


def test_distances_far_from_the_origin_keep_their_digits():
    x = jr.normal(jr.key(0), (M, 12), jnp.float32)
    width = lambda x: fm.energy_distance(fm.Particles(x), fm.Particles(x[::-1] ** 2))  # noqa: E731
    square = lambda x, y: -jnp.sum((x - y) ** 2)  # noqa: E731
    one = lambda x: lambda z: fm.Particles(x).logmean(lambda y: square(z, y))  # noqa: E731
    near = jax.jit(lambda x: jax.vmap(jax.grad(one(x)))(x))
    np.testing.assert_allclose(near(x + 1000.0), near(x), atol=2e-3)  # 1000 has 2⁻¹⁴ left
    assert width(x) > 0


def test_a_point_is_at_distance_zero_of_itself():
    x = jr.normal(jr.key(0), (40, 12), jnp.float32) + 3
    mean = lambda z: fm.Particles(x).mean(lambda y: fm.EnergyDistance()(z, y))  # noqa: E731
    slopes = jax.jit(jax.vmap(jax.grad(mean)))(x)
    gap = np.asarray(x)[:, None] - np.asarray(x)[None]
    norm = np.linalg.norm(gap, axis=-1)
    truth = -np.sum(gap / np.where(norm > 0, norm, 1)[..., None], axis=1) / 40
    np.testing.assert_allclose(slopes, truth, atol=1e-6)


def test_distances_of_many_dimensions_are_products(monkeypatch):
    monkeypatch.undo()
    x = jnp.zeros((2048, 64), jnp.float32)
    energy = fm.MMD(fm.Particles(x + 1), fm.InverseMultiquadric())
    run = jax.jit(jax.grad(lambda x: energy(fm.Particles(x))))
    memory = run.lower(x).compile().memory_analysis().temp_size_in_bytes
    assert memory < 40e6  # the differences of one tile alone take 67 MB, of all pairs 1 GB


def test_tiles_without_a_pair_are_left_out():
    x = jr.normal(jr.key(0), (M, 3))
    weight = jnp.tri(M, dtype=bool)

    def loss(velocity, x):
        return jnp.sum(jnp.sin(velocity(x)))

    ours = lambda x: fm.SelfAttention(beta=2.0, causal=True)(0.0, fm.Particles(x)).drift.x  # noqa: E731
    truth = lambda x: jax.nn.softmax(jnp.where(weight, 2 * x @ x.T, -jnp.inf), -1) @ x  # noqa: E731
    runs = [jax.jit(jax.value_and_grad(partial(loss, f))).lower(x).compile() for f in (ours, truth)]
    for a, b in zip(*[run(x) for run in runs], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
    assert runs[0].as_text().count(" conditional(") >= 2  # forward and in the gradient
