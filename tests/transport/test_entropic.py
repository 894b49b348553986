"""Plans of the potentials, and the marginals of relaxed problems."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm
from flowjax_measures.energies._schrodinger import potentials

MU = fm.Particles(jr.normal(jr.key(0), (6, 2)))
NU = fm.Particles(jr.normal(jr.key(1), (5, 2)), jnp.log(jnp.array([0.1, 0.3, 0.2, 0.15, 0.25])))


@pytest.mark.slow
def test_plan_is_that_of_our_potentials():
    plan = fm.entropic_coupling(MU, NU, 0.5)
    (x, log_a), (y, log_b) = MU.atoms(), NU.atoms()
    f, g = potentials(x, log_a, y, log_b, jnp.asarray(0.5))
    cost = jnp.sum((x[:, None] - y[None]) ** 2, -1)
    ours = jnp.exp((f[:, None] + g - cost) / 0.5 + log_a[:, None] + log_b)
    np.testing.assert_allclose(plan, ours, atol=1e-10)


def test_relaxed_marginals():
    """First-order conditions: π₁/a = e^{−f/λ} with λ = ε τ/(1 − τ)."""
    epsilon, tau = 0.5, 0.7
    plan = np.asarray(fm.entropic_coupling(MU, NU, epsilon, tau_mu=tau, tau_nu=tau))
    weight = epsilon * tau / (1 - tau)
    (x, log_a), (y, log_b) = ((np.asarray(p) for p in m.atoms()) for m in (MU, NU))
    f, g = -weight * (np.log(plan.sum(1)) - log_a), -weight * (np.log(plan.sum(0)) - log_b)
    cost = ((x[:, None] - y[None]) ** 2).sum(-1)
    again = np.exp((f[:, None] + g - cost) / epsilon + log_a[:, None] + log_b)
    np.testing.assert_allclose(plan, again, rtol=1e-6)
    with pytest.raises(ValueError, match="`tau_mu`"):
        fm.entropic_coupling(MU, NU, 0.5, tau_mu=0.0)
