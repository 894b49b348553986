"""Transport that leaves mass out, atoms of mass zero, and entropic costs of any masses."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.optimize import linprog

import flowjax_measures as fm

A, B = np.array([0.4, 0.1, 0.9, 0.3]), np.array([0.8, 0.2, 0.5])
X, Y = jr.normal(jr.key(0), (4, 2)), jr.normal(jr.key(1), (3, 2)) + 0.3
MU, NU = fm.Particles(X, weights=A), fm.Particles(Y, weights=B)
COST = np.sum((np.asarray(X)[:, None] - np.asarray(Y)) ** 2, -1)
ROWS, COLUMNS = np.kron(np.eye(4), np.ones(3)), np.kron(np.ones(4), np.eye(3))


def test_partial_transport_is_its_linear_program():
    found = fm.partial_transport(MU, NU, 0.9)
    exact = linprog(
        COST.ravel(),
        A_ub=np.vstack([ROWS, COLUMNS]),
        b_ub=np.append(A, B),
        A_eq=np.ones((1, 12)),
        b_eq=[0.9],
    )
    np.testing.assert_allclose(found.value, exact.fun, rtol=1e-11)
    np.testing.assert_allclose(found.plan.sum(), 0.9, rtol=1e-12)
    with pytest.raises(ValueError, match="`mass`"):
        fm.partial_transport(MU, NU, 1.6)


@pytest.mark.parametrize("hard", [False, True])
def test_total_variation_is_its_linear_program(hard):
    law = fm.TotalVariation(0.8)
    found = fm.unbalanced_transport(MU, NU, law, None if hard else law)
    lost = 0.8 * (ROWS.sum(0) + (0 if hard else COLUMNS.sum(0)))
    exact = linprog(
        COST.ravel() - lost,
        A_ub=np.vstack([ROWS, COLUMNS]),
        b_ub=np.append(A, B),
        A_eq=COLUMNS if hard else None,
        b_eq=B if hard else None,
    )
    value = exact.fun + 0.8 * (A.sum() + (0 if hard else B.sum()))
    np.testing.assert_allclose(found.value, value, rtol=1e-11)
    np.testing.assert_allclose(found.plan.sum(1) <= A + 1e-12, True)


@pytest.mark.parametrize("law", [fm.KullbackLeibler(0.6), fm.SquaredError(0.6)])
def test_atoms_without_mass_change_nothing(law):
    more = fm.Particles(jnp.concatenate([X, X[:1] + 0.1]), weights=np.append(A, 0.0))
    plain, padded = (fm.unbalanced_transport(m, NU, law, law) for m in (MU, more))
    np.testing.assert_allclose(padded.value, plain.value, rtol=1e-11)
    np.testing.assert_allclose(padded.plan, np.pad(plain.plan, ((0, 1), (0, 0))), atol=1e-9)
    assert np.all(np.isfinite(padded.f))
    np.testing.assert_allclose(
        fm.hellinger_kantorovich(more, NU), fm.hellinger_kantorovich(MU, NU), rtol=1e-10
    )


@pytest.mark.slow
def test_relaxed_entropic_cost_is_its_primal_problem():
    epsilon, tau = 0.05, 0.9
    strength = epsilon * tau / (1 - tau)
    divergence = lambda s, a: np.sum(s * np.log(s / a) - s + a)  # noqa: E731
    options = dict(tau_mu=tau, tau_nu=tau)
    plan = np.asarray(fm.entropic_coupling(MU, NU, epsilon, **options))
    primal = np.vdot(COST, plan) + epsilon * divergence(plan, np.outer(A, B))
    primal += strength * (divergence(plan.sum(1), A) + divergence(plan.sum(0), B))
    np.testing.assert_allclose(fm.entropic_cost(MU, NU, epsilon, **options), primal, rtol=1e-10)
    value = lambda x: fm.entropic_cost(  # noqa: E731
        fm.Particles(x, weights=A), NU, epsilon, **options
    )
    move, h = jr.normal(jr.key(2), X.shape), 1e-5
    slope = (value(X + h * move) - value(X - h * move)) / (2 * h)
    np.testing.assert_allclose(jnp.vdot(jax.grad(value)(X), move), slope, rtol=1e-7)


def test_unbalanced_divergence():
    value = fm.unbalanced_sinkhorn_divergence(MU, NU, 0.3, 0.7)
    assert value > 0
    np.testing.assert_allclose(fm.unbalanced_sinkhorn_divergence(MU, MU, 0.3, 0.7), 0, atol=1e-12)


def test_entropic_cost_potentials_and_plan_belong_together():
    mu, nu = fm.Particles(X), fm.Particles(Y + 100.0)
    f, g = fm.entropic_potentials(mu, nu, 0.2)
    plan, cost = fm.entropic_coupling(mu, nu, 0.2), fm.entropic_cost(mu, nu, 0.2)
    np.testing.assert_allclose(f.mean() + g.mean(), cost, rtol=1e-12)
    near = fm.entropic_coupling(mu, fm.Particles(Y), 0.2)
    np.testing.assert_allclose(plan, near, atol=1e-10)
    for bad in (0.0, -1.0, jnp.nan):
        with pytest.raises(ValueError, match="`epsilon`"):
            fm.entropic_cost(mu, nu, bad)
