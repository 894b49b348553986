"""Where a CPU and an accelerator take different forms: the accelerator's, forced on the CPU."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm
from flowjax_measures._reduce import _tiles, sort_order
from flowjax_measures.noise._normal_pairs import apart, normal_pairs

X = jr.normal(jr.key(0), (70, 3))
LOG_W = jr.normal(jr.key(1), (70,)).at[4].set(-jnp.inf)


@pytest.fixture
def elsewhere(monkeypatch):
    """From here on programs take the forms of accelerators, in tiles that do not divide 70."""

    def force():
        loops = []

        class Loop(_tiles._Loop):
            def __init__(self, *arguments):
                super().__init__(*arguments[:-1], "cuda")
                loops.append((self.tile, self.count))

        def default_of(*arguments, default, **_):
            loops.append("default")
            return default(*arguments)

        monkeypatch.setattr(_tiles, "_Loop", Loop)
        monkeypatch.setattr(_tiles, "_TILE", 2**12)
        monkeypatch.setattr(_tiles, "_SIDE", 32)
        monkeypatch.setattr(jax.lax, "platform_dependent", default_of)
        jax.clear_caches()
        return loops

    yield force
    monkeypatch.undo()
    jax.clear_caches()


def tilted(x, mu):
    """Products, distances in few dimensions, a mask, masses alone."""
    i = fm.place()
    seen = lambda y: jnp.where(y[1] <= i, jnp.vdot(x, y[0]), -jnp.inf)  # noqa: E731
    return (
        mu.mean(logits=lambda y: jnp.vdot(x, y))
        + mu.mean(lambda y: y * jnp.exp(-jnp.sum((x - y) ** 2)))
        + mu.numbered().mean(lambda y: y[0], seen)
        + mu.logmean(lambda y: -jnp.sum((jnp.tile(x, 4) - jnp.tile(y, 4)) ** 2))
    )


def sums(x, log_w):
    def loss(x, log_w):
        mu = fm.Particles(x, log_w)
        return jnp.sum(jnp.sin(fm.Custom(lambda t, x, mu: tilted(x, mu))(0.0, mu).drift.x))

    return jax.value_and_grad(loss, (0, 1))(x, log_w)


def normals(x, log_w):
    draw = lambda indices: jax.vmap(  # noqa: E731
        lambda i: normal_pairs(jr.fold_in(jr.key(0), i), 40, x.dtype)
    )(indices)
    return apart(draw, jnp.arange(3))


def noisy_run(x, log_w):
    law = fm.Langevin(lambda x: jnp.sum(x**4))
    run = fm.simulate(law, fm.Particles(x), [0.0, 0.1], dt=0.01, key=jr.key(2), throw=False)
    return run.final.x


def sorted_sums(x, log_w):
    mu, nu = fm.Particles(x.astype(jnp.float32)), fm.Particles(jnp.cos(x).astype(jnp.float32))
    line = lambda mu: fm.Particles(mu.x[:, :1])  # noqa: E731
    directions = jnp.eye(3, dtype=jnp.float32)
    velocity = fm.GradientFlow(fm.MMD(nu, fm.SlicedEnergyDistance(directions)))(0.0, mu).drift.x
    return (
        sort_order(mu.x[:, 0]),
        fm.energy_distance(line(mu), line(nu)),
        fm.sliced_wasserstein(mu, nu, directions),
        velocity,
    )


@pytest.mark.parametrize(
    "function",
    [normals, *(pytest.param(f, marks=pytest.mark.slow) for f in (sums, noisy_run, sorted_sums))],
)
def test_the_forms_of_accelerators_give_the_same(elsewhere, function):
    here = jax.jit(lambda *a: function(*a))(X, LOG_W)
    loops = elsewhere()
    there = jax.jit(lambda *a: function(*a))(X, LOG_W)
    assert loops
    if function is sums:
        assert any(tile < (70,) and count < 70 for tile, count in loops)
    for a, b in zip(jax.tree.leaves(there), jax.tree.leaves(here), strict=True):
        tolerance = 1e-5 if a.dtype == jnp.float32 else 1e-11
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
