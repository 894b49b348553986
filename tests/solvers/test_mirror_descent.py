"""Mirror descent against its closed forms: exponentiated gradients and multiplicative weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flowjax_measures as fm

CENTRE = np.array([0.3, 2.0])


def negative_entropy(x):
    return jnp.sum(x * jnp.log(x) - x)


def test_the_entropy_gives_exponentiated_gradients():
    # The second point is far from where it goes: whole steps of Newton would leave x > 0.
    x = jnp.array([[1.0, 1.0], [40.0, 0.01]])
    bowl = fm.PotentialEnergy(lambda x: jnp.sum((x - CENTRE) ** 2) / 2)
    flow = fm.GradientFlow(bowl, fm.Mirror(negative_entropy))
    run = fm.simulate(flow, fm.Particles(x), [0.0, 0.5], solver=fm.MirrorDescent(0.25))
    exact = np.asarray(x)
    for _ in range(2):
        exact = exact * np.exp(-0.25 * (exact - CENTRE))
    np.testing.assert_allclose(run.final.x, exact, rtol=1e-10)


@pytest.mark.slow
def test_gradients_are_those_of_the_closed_form():
    x = jnp.array([[1.0, 1.0], [40.0, 0.01]])
    bowl = fm.PotentialEnergy(lambda x: jnp.sum((x - CENTRE) ** 2) / 2)
    flow = fm.GradientFlow(bowl, fm.Mirror(negative_entropy))

    def end(x):
        law = fm.simulate(flow, fm.Particles(x), [0.0, 0.5], solver=fm.MirrorDescent(0.25)).final
        return jnp.sum(law.x)

    def closed(x):
        for _ in range(2):
            x = x * jnp.exp(-0.25 * (x - CENTRE))
        return jnp.sum(x)

    np.testing.assert_allclose(jax.grad(end)(x), jax.grad(closed)(x), rtol=1e-9, atol=1e-12)


def test_masses_are_multiplied():
    x, w = np.array([[0.0], [0.5], [2.0]]), np.array([0.2, 0.5, 0.3])
    energy = fm.InteractionEnergy(fm.GaussianKernel(1.0))
    mu = fm.Particles(jnp.asarray(x), weights=jnp.asarray(w))
    flow = fm.GradientFlow(energy, fm.FisherRao())
    final = fm.simulate(flow, mu, [0.0, 0.6], solver=fm.MirrorDescent(0.3)).final
    gram = np.exp(-((x - x.T) ** 2) / 2)
    for _ in range(2):
        w = w * np.exp(-0.3 * gram @ w)
        w = w / w.sum()
    np.testing.assert_allclose(np.exp(final.log_w), w, atol=1e-14)


def test_what_it_does_not_step_is_refused():
    mu = fm.Particles(jnp.ones((2, 1)))
    for flow in (fm.Langevin(fm.Quadratic(1.0)), fm.GradientFlow(fm.PotentialEnergy(jnp.sum))):
        with pytest.raises(ValueError, match="MirrorDescent"):
            fm.simulate(flow, mu, [0.0, 0.1], solver=fm.MirrorDescent(0.1), key=jax.random.key(0))
    with pytest.raises(ValueError, match="diffuses"):
        flow = fm.GradientFlow(fm.KL(fm.Quadratic(1.0)), fm.Mirror(fm.Quadratic(1.0)))
        fm.simulate(flow, mu, [0.0, 0.1], solver=fm.MirrorDescent(0.1), key=jax.random.key(0))
