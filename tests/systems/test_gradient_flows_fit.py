"""Parameters of flows recovered from where their particles went, by optax."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import flowjax_measures as fm

START = jr.normal(jr.key(0), (8, 2))
KL = fm.KL(fm.Quadratic(1.2))
NU = jr.normal(jr.key(1), (6, 2)) + 0.5

# Name: the energy flow of one unconstrained parameter, its truth and where the search begins.
PROBLEMS = {
    "epsilon": (
        lambda z: fm.GradientFlow(fm.SinkhornDivergence(fm.Particles(NU), jnp.exp(z))),
        np.log(0.5), np.log(2.0),
    ),
    "bandwidth": (
        lambda z: fm.GradientFlow(KL, fm.Stein(fm.GaussianKernel(jnp.exp(z)))),
        np.log(0.7), np.log(1.5),
    ),
    "target": (
        lambda z: fm.GradientFlow(fm.MMD(fm.Particles(NU + z), fm.EnergyDistance())),
        np.array([0.3, -0.6]), np.zeros(2),
    ),
    "sliced target": (
        lambda z: fm.GradientFlow(fm.SlicedWasserstein(fm.Particles(NU + z))),
        np.array([0.3, -0.6]), np.zeros(2),
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", list(PROBLEMS))
def test_parameters_come_back(name):
    make, truth, begin = PROBLEMS[name]

    def end(z):
        return fm.simulate(
            make(z), fm.Particles(START), [0.0, 1.0], dt=0.2, solver=diffrax.Euler()
        ).final.x

    seen = end(jnp.asarray(truth))
    loss = lambda z: jnp.sum((end(z) - seen) ** 2)  # noqa: E731
    optimizer = optax.adam(0.05)
    z = jnp.asarray(begin)

    @jax.jit
    def step(z, state):
        slope = jax.grad(loss)(z)
        with jax.numpy_dtype_promotion("standard"):  # optax counts in integers
            update, state = optimizer.update(slope, state)
            return optax.apply_updates(z, update), state

    state = optimizer.init(z)
    for _ in range(400):
        z, state = step(z, state)
    np.testing.assert_allclose(z, truth, atol=1e-3)
    # The derivative that got there is that of differences.
    h, value = 1e-5, jax.jit(loss)
    begin = jnp.asarray(begin) + 0.1
    move = jnp.ones_like(begin)
    central = (value(begin + h * move) - value(begin - h * move)) / (2 * h)
    np.testing.assert_allclose(jnp.vdot(jax.grad(loss)(begin), move), central, rtol=1e-6)
