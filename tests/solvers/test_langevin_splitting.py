"""Splittings of Langevin's equation against exact invariant laws."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm


def final(stiffness, h, steps, solver, n=40_000, gamma=1.5, beta=2.0):
    start, run = jr.split(jr.key(0))
    scale = 1 / np.sqrt(beta * stiffness)
    q, p = jr.normal(start, (2, n, 1)) * jnp.array([scale, 1 / np.sqrt(beta)])[:, None, None]
    system = fm.UnderdampedLangevin(fm.Quadratic(stiffness), gamma, beta)
    ts = [0.0, steps * h]
    return fm.simulate(
        system, fm.Particles(fm.Phase(q, p)), ts, dt=h, key=run, solver=solver
    ).final.x


@pytest.mark.slow
@pytest.mark.parametrize("h", [0.3, 1.2])
def test_positions_have_no_error_in_a_quadratic_potential(h):
    # Stable for h√k < 2.
    # The momenta end at β⟨p²⟩ = 1 − kh²/4, or the inverse of it: the fixed points of linear maps.
    shrink = 1 - 1.7 * h**2 / 4
    error = np.sqrt(2 / 40_000)  # of a variance of normals, relative
    for moves, spread in (("BAOAB", shrink), ("ABOBA", 1 / shrink)):
        z = final(1.7, h, 30, fm.LangevinSplitting(1.5, moves))
        assert abs(np.var(z.q) * 2.0 * 1.7 - 1) < 4 * error
        assert abs(np.var(z.p) * 2.0 / spread - 1) < 4 * error


def test_free_particles_are_ornstein_uhlenbeck():
    # Without a force the momenta are exact, whatever the step.
    z = final(1e-8, 0.8, 3, fm.LangevinSplitting(1.5), beta=2.0)
    assert abs(np.var(z.p) * 2.0 - 1) < 4 * np.sqrt(2 / len(z.p))


def test_wrong_use_is_refused():
    with pytest.raises(ValueError, match="`moves`"):
        fm.LangevinSplitting(1.0, "BOAAB")
    with pytest.raises(ValueError, match="no noise"):
        mu = fm.Particles(fm.Phase(jnp.ones((2, 1)), jnp.ones((2, 1))))
        law = fm.Custom(lambda t, x, mu: fm.Phase(x.p, -x.q))
        fm.simulate(law, mu, [0.0, 0.1], dt=0.1, solver=fm.LangevinSplitting(1.0))
