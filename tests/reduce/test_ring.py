"""Particles spread over devices: the same numbers, and no device holds all of them."""

import re

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import flowjax_measures as fm
from flowjax_measures._reduce._tilted import _spreads
from flowjax_measures.measures._base import place

N, D = 16, 3
HEADS = jr.normal(jr.key(2), (2, D, D))


def spread(devices: int, axis: str = "particles") -> NamedSharding:
    return NamedSharding(Mesh(np.array(jax.devices()[:devices]), (axis,)), PartitionSpec(axis))


def attention(t, x, mu):
    return mu.mean(logits=lambda y: jnp.vdot(x, y))


def causal(t, x, mu):
    i, numbered = place(), mu.numbered()
    seen = lambda y: jnp.where(y[1] <= i, jnp.vdot(x, y[0]), -jnp.inf)  # noqa: E731
    return numbered.mean(lambda y: y[0], seen)


def heads(t, x, mu):
    return jax.vmap(lambda a: mu.mean(lambda y: a @ y, lambda y: x @ a @ y))(HEADS).sum(0)


def consensus(t, x, mu):
    return x - mu.mean(logits=lambda y: -3 * jnp.sum(y**2))


def normalised(t, x, mu):
    """A mean of a function that takes a mean."""
    density = lambda y: mu.logmean(lambda z: -jnp.sum((y - z) ** 2))  # noqa: E731
    return mu.mean(lambda y: y * jnp.exp(density(y)), lambda y: jnp.vdot(x, y))


def unseen(t, x, mu):
    """Nothing is seen: the mean is 0, its log-normaliser −∞."""
    return x + mu.mean(lambda y: y, lambda y: jnp.where(y[0] > 1e3, x[0], -jnp.inf))


SLOW = (attention, heads, consensus, normalised, unseen)
LAWS = [causal, *(pytest.param(law, marks=pytest.mark.slow) for law in SLOW)]


@pytest.mark.parametrize("law", LAWS)
def test_a_law_is_the_same_on_one_device_and_on_four(law):
    """Values and gradients, with masses of which one is zero."""
    x = jr.normal(jr.key(0), (N, D))
    log_w = jr.normal(jr.key(1), (N,)).at[2].set(-jnp.inf)

    def loss(x, sharding):
        mu = fm.Particles(x, log_w, sharding=sharding, block=3)
        return jnp.sum(jnp.sin(fm.Custom(law)(0.0, mu).drift.x) * jnp.arange(1.0, N + 1)[:, None])

    plain, ring = (
        jax.jit(jax.value_and_grad(lambda x, s=s: loss(x, s)))(x) for s in (None, spread(4))
    )
    for a, b in zip(plain, ring, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def test_a_mean_within_a_formula_is_found_where_it_runs_over_spread_particles():
    """Also behind a call; a mean over particles on one device is none."""
    x = jr.normal(jr.key(0), (N, D))

    def found(sharding):
        mu = fm.Particles(x, sharding=sharding)
        formula = jax.jit(lambda y: y * mu.logmean(lambda z: jnp.vdot(y, z)))
        return _spreads(jax.make_jaxpr(formula)(x[0]).jaxpr)

    assert found(spread(4))
    assert not found(None)


@pytest.mark.slow
def test_second_derivatives():
    x = jr.normal(jr.key(0), (N, D))

    def loss(x, sharding):
        return jnp.sum(
            jnp.sin(fm.Custom(attention)(0.0, fm.Particles(x, sharding=sharding)).drift.x)
        )

    def product(sharding):
        slope = jax.grad(lambda x: loss(x, sharding))
        return jax.jit(lambda x: jax.jvp(slope, (x,), (jnp.cos(x),)))(x)

    for a, b in zip(product(None), product(spread(4)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True])
def test_observables(weighted):
    x = jr.normal(jr.key(0), (N, D))
    log_w = jr.normal(jr.key(1), (N,)).at[2].set(-jnp.inf) if weighted else None

    def observe(sharding):
        def all_of_them(x):
            mu = fm.Particles(x, log_w, sharding=sharding)
            kernel = lambda x, y: jnp.exp(-jnp.sum((x - y) ** 2))  # noqa: E731
            return (
                mu.mean(),
                mu.covariance(),
                mu.logmean(lambda y: jnp.sum(y)),
                mu.mean(lambda x: mu.mean(lambda y: kernel(x, y))),
                jax.vmap(lambda q: mu.mean(logits=lambda y: q @ y))(jnp.eye(D)),
            )

        total = lambda x: sum(jnp.sum(jnp.sin(a)) for a in all_of_them(x))  # noqa: E731
        return jax.jit(lambda x: (all_of_them(x), jax.grad(total)(x)))(x)

    plain, ring = observe(None), observe(spread(4))
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(ring), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


class Noisy(fm.AbstractMeanField):
    """Attention with noise of each point and of all."""

    def rates(self, t, x, mu):
        noise = fm.Isotropic(0.3) + fm.Common(0.2)
        return fm.Rates(mu.mean(logits=lambda y: jnp.vdot(x, y)) - x, noise)


@pytest.mark.parametrize("devices", [4, pytest.param(2, marks=pytest.mark.slow)])
def test_the_path_does_not_depend_on_the_number_of_devices(devices):
    """Nor does its gradient; no device holds all particles, and none are gathered."""
    x = jr.normal(jr.key(0), (64, D))

    def loss(x, sharding):
        mu = fm.Particles(x, sharding=sharding)
        run = fm.simulate(
            Noisy(), mu, [0.0, 0.25, 0.5], dt=0.05, key=jr.key(1), throw=False,
            observe=dict(mean=lambda mu: mu.mean(), cov=lambda mu: mu.covariance()),
        )  # fmt: skip
        return jnp.sum(jnp.sin(run.final.x)), (run.final.x, run.ys)

    def compiled(sharding):
        start = x if sharding is None else jax.device_put(x, sharding)
        grad = jax.jit(jax.value_and_grad(lambda x: loss(x, sharding), has_aux=True))
        program = grad.lower(start).compile()
        return program(start), program.as_text()

    truth, text = compiled(None)
    assert re.search(r"f64\[64,3\]", text)
    values, text = compiled(spread(devices))
    for a, b in zip(jax.tree.leaves(truth), jax.tree.leaves(values), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    assert "all-gather" not in text and "collective-permute" in text
    assert not re.search(r"f64\[(\d+,)*64,3\]", text), "an array of all particles"
    assert values[0][1][0].sharding.spec == PartitionSpec("particles")


def test_ensembles_and_particles_on_one_mesh():
    mesh = Mesh(np.array(jax.devices()).reshape(2, 2), ("runs", "particles"))
    x = jr.normal(jr.key(0), (4, 16, D))
    keys = jr.split(jr.key(1), 4)

    def end(x, key, sharding):
        mu = fm.Particles(x, sharding=sharding)
        return fm.simulate(Noisy(), mu, [0.0, 0.2], dt=0.1, key=key, throw=False).final.x

    def batch(sharding):
        return jax.jit(jax.vmap(lambda x, key: end(x, key, sharding)))

    truth = batch(None)(x, keys)
    both = NamedSharding(mesh, PartitionSpec("runs", "particles"))
    start = (
        jax.device_put(x, both),
        jax.device_put(keys, NamedSharding(mesh, PartitionSpec("runs"))),
    )
    program = batch(NamedSharding(mesh, PartitionSpec("particles"))).lower(*start).compile()
    np.testing.assert_allclose(program(*start), truth, rtol=1e-12, atol=1e-13)
    assert "all-gather" not in program.as_text()


@pytest.mark.slow
def test_species_of_different_sizes():
    one, two = jr.normal(jr.key(0), (8, D)), jr.normal(jr.key(1), (12, D))
    see = lambda t, x, mu: mu["two"].mean(logits=lambda y: x @ y) + mu["one"].mean() - x  # noqa: E731
    law = fm.Species({name: fm.Custom(see) for name in ("one", "two")})

    def end(sharding):
        state = {
            "one": fm.Particles(one, sharding=sharding),
            "two": fm.Particles(two, sharding=sharding),
        }
        return jax.tree.leaves(fm.simulate(law, state, [0.0, 0.2], dt=0.1).final)

    for a, b in zip(end(None), end(spread(4, "atoms")), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_wrong_shardings():
    mesh = Mesh(np.array(jax.devices()).reshape(2, 2), ("a", "b"))
    with pytest.raises(ValueError, match=r"15 particles over 4 devices"):
        fm.Particles(jnp.ones((15, 2)), sharding=spread(4))
    with pytest.raises(ValueError, match=r"one axis of the mesh"):
        fm.Particles(jnp.ones((16, 2)), sharding=NamedSharding(mesh, PartitionSpec(("a", "b"))))
