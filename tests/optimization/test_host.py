"""Models that JAX cannot trace, in inversions, filters and systems."""

import concurrent.futures

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

KEY = jr.key(0)
A = np.array([[1.0, 0.5], [0.0, 1.2], [-0.7, 0.3]])
Y = np.array([0.4, -1.0, 0.8])


def model(u):
    assert isinstance(u, np.ndarray) and u.shape == (2,)
    if u[0] > 8:
        raise RuntimeError("the simulator crashed")
    return A @ u


def test_inversion_of_a_model_on_the_host_is_that_of_a_traced_one():
    """By threads, and with two of 30 members that fail."""
    x = jr.normal(KEY, (30, 2)).at[28:].set(9.0)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        law = fm.EnsembleKalmanInversion(fm.host(model, 3, workers=pool), Y, 0.5, "square_root")
        found = fm.kalman_inversion(law, fm.Particles(x), dt=0.2)
    plain = fm.EnsembleKalmanInversion(lambda u: jnp.asarray(A) @ u, Y, 0.5, "square_root")
    exact = fm.kalman_inversion(plain, fm.Particles(x[:28]), dt=0.2)
    assert found.failed == 2 and found.nit == exact.nit
    np.testing.assert_allclose(found.mean, exact.mean, rtol=1e-10)


def test_filter_of_a_model_on_the_host():
    start, data = fm.Particles(jr.normal(KEY, (6, 2))), np.ones((3, 1))
    flow = fm.host(lambda x, s, t: x * np.exp(s - t), 2)
    options = dict(key=KEY, times=jnp.arange(4.0))
    found = fm.kalman_filter(flow, lambda x: x[:1], start, data, 0.1, **options)
    plain = fm.kalman_filter(
        lambda x, s, t: x * jnp.exp(s - t), lambda x: x[:1], start, data, 0.1, **options
    )
    np.testing.assert_allclose(found.mean, plain.mean, rtol=1e-12)


def test_all_points_come_in_one_batch():
    """Under two vmaps too; points may be pytrees."""
    shapes = []

    def energy(p):
        shapes.append(p["a"].shape)
        return p["a"] ** 2 + p["b"].sum(-1)

    function = fm.host(energy, vectorized=True)
    p = {"a": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones((2, 3, 4))}
    found = jax.jit(jax.vmap(jax.vmap(function)))(p)
    np.testing.assert_allclose(found, np.arange(6.0).reshape(2, 3) ** 2 + 4)
    assert shapes == [(6,)]
    assert function({"a": jnp.asarray(2.0), "b": jnp.ones(4)}) == 8
    law = fm.ConsensusBased(fm.host(lambda x: float(np.sum(x**2))), alpha=2.0)
    plain = fm.ConsensusBased(lambda x: jnp.sum(x**2), alpha=2.0)
    mu = fm.Particles(jr.normal(KEY, (5, 2)))
    np.testing.assert_allclose(law.consensus(mu), plain.consensus(mu), rtol=1e-12)


@pytest.mark.parametrize("name, give", [("`function`", (3.0,)), ("`size`", (model, 0))])
def test_what_cannot_be_meant_is_refused_by_name(name, give):
    with pytest.raises(ValueError, match=name):
        fm.host(*give)
    with pytest.raises(Exception, match="`objective` returned"):
        fm.host(model, 2)(jnp.ones(2)).block_until_ready()
