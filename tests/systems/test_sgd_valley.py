"""The drift of SGD along a valley of minima."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm


def _product(params, label):
    return (params["a"] * params["b"] - label) ** 2 / 2


LABELS = jnp.array([0.4, 1.6, 1.0])


def test_label_noise_balances_a_product():
    """In a step of one example a² − b² is multiplied by 1 − η² e², e = ab − label, exactly."""
    a, eta = jnp.array(2.0), 0.01
    params = {"a": a, "b": 1 / a}
    drift = fm.valley_drift(_product, LABELS, eta, 1, params)
    gap = lambda p: p["a"] ** 2 - p["b"] ** 2  # noqa: E731
    rate = jax.jvp(gap, (params,), (drift,))[1]
    np.testing.assert_allclose(rate, -eta * jnp.var(LABELS) * gap(params), rtol=1e-12)
    # Along the valley, without fluctuations; none of two of three without repetition twice as few.
    level = jax.jvp(lambda p: p["a"] * p["b"], (params,), (drift,))[1]
    np.testing.assert_allclose(level, 0, atol=1e-15)
    half = fm.valley_drift(_product, LABELS, eta, 2, params, replacement=False)
    np.testing.assert_allclose(half["a"], drift["a"] / 4)
    fitted = fm.valley_drift(_product, jnp.ones(3), eta, 1, params)
    np.testing.assert_allclose(fitted["a"], 0, atol=1e-15)


@pytest.mark.slow
def test_valley_drift_is_the_second_derivative_of_the_limit_of_the_flow():
    """½ η ∂²Φ[C] for noise in every direction, Φ the end of the gradient flow."""
    risk = lambda p: (p[0] * p[1] + 0.3 * jnp.sin(p[2]) - 1) ** 2 / 2  # noqa: E731
    z = jr.normal(jr.key(0), (6, 3))
    z = z - z.mean(0)
    loss = lambda p, z: risk(p) + 0.1 * jnp.vdot(z, p * p)  # noqa: E731
    params = jnp.array([2.0, 0.4, jnp.arcsin(2 / 3)])

    def end(p):
        h, down = 0.05, lambda p: -jax.grad(risk)(p)

        def step(p, _):
            a = down(p)
            b = down(p + h / 2 * a)
            c = down(p + h / 2 * b)
            d = down(p + h * c)
            return p + h / 6 * (a + 2 * b + 2 * c + d), None

        return jax.lax.scan(step, p, length=200)[0]

    noise = jnp.cov(jax.vmap(lambda z: jax.grad(loss)(params, z))(z).T, bias=True)
    curve = jax.jit(jax.jacfwd(jax.jacfwd(end)))(params)
    exact = 0.1 / 2 * jnp.einsum("kij,ij->k", curve, noise)
    np.testing.assert_allclose(fm.valley_drift(loss, z, 0.1, 1, params), exact, rtol=2e-3)
