"""Minimising movements in kinetic transport against exact Gaussians and fine steps; GENERIC."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from catalogue import TURN, _heat_energy, _heat_friction
from scipy.linalg import expm
from scipy.optimize import minimize

import flowjax_measures as fm

STIFFNESS, FRICTION, BETA = np.array([[1.0, 0.3], [0.3, 3.0]]), 0.7, 2.0


def spring(q):
    return jnp.vdot(q, jnp.asarray(STIFFNESS) @ q) / 2


def _half(x):
    return jnp.sum(x[x.size // 2 :] ** 2) / 2


START = fm.Gaussian(jnp.array([1.0, 0.2, 0.0, 0.3]), 0.5 * jnp.eye(4))


def exact(time):
    """The Gaussian of Langevin's linear equation, by exponentials of matrices."""
    zero, eye = np.zeros((2, 2)), np.eye(2)
    pull = np.block([[zero, eye], [-STIFFNESS, -FRICTION * eye]])
    end = np.block([[np.linalg.inv(STIFFNESS), zero], [zero, eye]]) / BETA
    flow = expm(time * pull)
    return flow @ START.m, flow @ (np.asarray(START.cov) - end) @ flow.T + end


def test_kinetic_steps_go_to_langevins_gaussian_at_order_one():
    law = fm.UnderdampedLangevin(spring, FRICTION, BETA)
    mean, cov = exact(1.0)
    errors = []
    for n in (20, 40):
        end = fm.simulate(law, START, [0.0, 1.0], solver=fm.KineticJKO(1 / n)).final
        errors.append([np.max(np.abs(end.m - mean)), np.max(np.abs(end.cov - cov))])
    np.testing.assert_allclose(np.log2(np.divide(*errors)), 1, atol=0.15)
    assert errors[1][1] < 0.04


def test_kinetic_steps_from_rest():
    """A covariance that is zero: Newton's method would divide by it, the closed form does not."""
    law = fm.UnderdampedLangevin(spring, FRICTION, BETA)
    start = fm.Gaussian(START.m, jnp.zeros((4, 4)))
    fine = fm.simulate(law, start, [0.0, 0.5], dt=0.01).final
    errors = []
    for n in (10, 20):
        end = fm.simulate(law, start, [0.0, 0.5], solver=fm.KineticJKO(0.5 / n)).final
        errors.append(float(jnp.max(jnp.abs(end.cov - fine.cov))))
    # Steps from a point are off by c, c/2, c/3, …: the order is τ |log τ|.
    expected = np.log(10) / 10 / (np.log(20) / 20)
    np.testing.assert_allclose(errors[0] / errors[1], expected, rtol=0.1)


@pytest.mark.slow
def test_kinetic_steps_of_an_energy_are_langevins():
    energy = fm.PotentialEnergy(_half) + (1 / BETA) * fm.Entropy()
    flow = fm.KineticFlow(spring, energy, FRICTION)
    law = fm.UnderdampedLangevin(spring, FRICTION, BETA)
    newton, closed = (
        fm.simulate(system, START, [0.0, 0.2], dt=0.1, solver=fm.KineticJKO(0.1)).final
        for system in (flow, law)
    )
    np.testing.assert_allclose(newton.cov, closed.cov, atol=1e-9)
    np.testing.assert_allclose(newton.m, closed.m, atol=1e-10)


def test_a_kinetic_step_is_the_minimum_it_says():
    """Over Gaussians: the kinetic cost of the library, and the free energy, by SciPy."""
    mu, tau = fm.Gaussian(jnp.array([0.4, 1.0]), jnp.array([[0.5, 0.1], [0.1, 0.3]])), 0.3
    free = fm.KineticFlow(lambda q: 0.0 * jnp.sum(q), friction=FRICTION)

    @jax.jit
    def objective(z):
        nu = fm.Gaussian(z[:2], jnp.array([[z[2], z[3]], [z[3], z[4]]]))
        return fm.kinetic_cost(mu, nu, tau) / (2 * FRICTION) + free.free_energy()(nu)

    step = fm.simulate(free, mu, [0.0, tau], dt=tau, solver=fm.KineticJKO(tau)).final
    found = jnp.stack([*step.m, step.cov[0, 0], step.cov[0, 1], step.cov[1, 1]])
    np.testing.assert_allclose(jax.grad(objective)(found), 0, atol=1e-6)
    other = minimize(objective, found + 0.05, jac=jax.jit(jax.grad(objective)), tol=1e-10)
    np.testing.assert_allclose(found, other.x, atol=1e-5)


def test_kinetic_flow_of_a_gaussian_is_langevins_equation():
    energy = fm.PotentialEnergy(_half) + (1 / BETA) * fm.Entropy()
    end = fm.simulate(fm.KineticFlow(spring, energy, FRICTION), START, [0.0, 1.0], dt=0.05).final
    mean, cov = exact(1.0)
    np.testing.assert_allclose(end.m, mean, atol=1e-7)
    np.testing.assert_allclose(end.cov, cov, atol=1e-7)


@pytest.mark.slow
def test_kinetic_steps_of_weighted_particles():
    energy = fm.PotentialEnergy(_half) + 0.5 * fm.KernelEntropy(fm.GaussianKernel(0.7))
    law = fm.KineticFlow(lambda q: jnp.sum(q**4) / 4, energy, FRICTION)
    q, p = jr.normal(jr.key(0), (2, 5, 1))
    mu = fm.Particles(fm.Phase(q, p), weights=jnp.array([0.1, 0.3, 0.2, 0.25, 0.15]))
    fine = fm.simulate(law, mu, [0.0, 0.5], dt=0.01).final.x
    errors = []
    for n in (10, 20):
        end = fm.simulate(law, mu, [0.0, 0.5], dt=0.5 / n, solver=fm.KineticJKO(0.5 / n)).final.x
        errors.append(float(jnp.max(jnp.abs(end.q - fine.q))))
    assert abs(np.log2(errors[0] / errors[1]) - 1) < 0.15


def test_kinetic_steps_refuse_other_systems():
    with pytest.raises(ValueError, match="KineticJKO was given Langevin"):
        fm.simulate(
            fm.Langevin(lambda x: jnp.sum(x**2)), START, [0.0, 0.1], solver=fm.KineticJKO(0.1)
        )
    circle = fm.PhaseSpace(fm.Torus())
    around = fm.Particles(fm.Phase(jnp.ones((3, 1)), jnp.ones((3, 1))), space=circle)
    flow = fm.KineticFlow(lambda q: jnp.sum(q**2), fm.PotentialEnergy(_half))
    with pytest.raises(ValueError, match="flat space"):
        fm.simulate(flow, around, [0.0, 0.1], dt=0.1, solver=fm.KineticJKO(0.1))
    with pytest.raises(ValueError, match="DiscreteGradient steps"):
        fm.simulate(
            fm.Langevin(lambda x: jnp.sum(x**2)),
            START,
            [0.0, 0.1],
            dt=0.1,
            solver=fm.DiscreteGradient(),
        )


BATH = fm.Generic(_heat_energy, lambda x: x[2], TURN, _heat_friction)
HOT = jnp.array([1.0, 0.5, 0.2])


def test_discrete_gradients_keep_energy_and_grow_entropy():
    exact, errors = fm.simulate(BATH, HOT, [0.0, 2.0]).final, []
    for n in (10, 20):
        ts = jnp.linspace(0.0, 2.0, n + 1)
        run = fm.simulate(BATH, HOT, ts, dt=2 / n, solver=fm.DiscreteGradient())
        errors.append(float(jnp.max(jnp.abs(run.final - exact))))
        energies = jax.vmap(_heat_energy)(run.ys)
        np.testing.assert_allclose(energies, energies[0], rtol=1e-13)
        assert jnp.all(jnp.diff(run.ys[:, 2]) > 0)
    assert abs(np.log2(errors[0] / errors[1]) - 2) < 0.15
    # However long the steps are.
    run = fm.simulate(BATH, HOT, jnp.linspace(0.0, 60.0, 31), dt=2.0, solver=fm.DiscreteGradient())
    energies = jax.vmap(_heat_energy)(run.ys)
    np.testing.assert_allclose(energies, energies[0], rtol=1e-12)
    assert jnp.all(jnp.diff(run.ys[:, 2]) > -1e-12)


def test_generic_knows_its_degeneracies():
    BATH.check(HOT)
    other = fm.Generic(_heat_energy, lambda x: x[2] + x[0], TURN, _heat_friction)
    np.testing.assert_allclose(other.degeneracies(HOT).reversible, 1)
    with pytest.raises(ValueError, match="`poisson` misses the condition 'reversible'"):
        other.check(HOT)
    with pytest.raises(ValueError, match="`friction` misses"):
        fm.Generic(_heat_energy, lambda x: x[2], TURN, jnp.eye(3)).check(HOT)
    with pytest.raises(ValueError, match="`friction` has shape"):
        fm.Generic(_heat_energy, lambda x: x[2], TURN, lambda x: jnp.eye(2)).check(HOT)
