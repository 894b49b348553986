"""Relaxed and partial transport with costs that are given, against general solvers."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog, minimize

import flowjax_measures as fm

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(4, 2)), RNG.normal(size=(3, 2)) + 0.3
# One atom of each has no mass.
A, B = np.array([0.5, 0.0, 0.7, 0.2]), np.array([0.4, 0.9, 0.0])
MU, NU = (fm.Particles(jnp.asarray(x), weights=jnp.asarray(w)) for x, w in ((X, A), (Y, B)))
COST = np.abs(X[:, None] - Y).sum(-1) + 0.1 * np.exp(X[:, :1])
ROWS, COLUMNS = np.kron(np.eye(4), np.ones(3)), np.kron(np.ones(4), np.eye(3))
PAIRS = np.flatnonzero(np.outer(A, B))


def cost(x, y):
    return jnp.abs(x - y).sum() + 0.1 * jnp.exp(x[0])


def law(kind, strength):
    laws = dict(kl=fm.KullbackLeibler, square=fm.SquaredError, tv=fm.TotalVariation)
    return None if kind is None else laws[kind](strength)


def price(kind, sums, masses):
    s, a = sums[masses > 0], masses[masses > 0]
    if kind == "kl":
        return 0.8 * np.sum(s * np.log(s / a) - s + a)
    return 0.4 * np.sum((s - a) ** 2) if kind == "square" else 0.0


@pytest.mark.parametrize(
    ("one", "two"),
    [("kl", "kl"), ("square", "square"), ("kl", "square"), (None, "kl"), ("square", None)],
)
def test_smooth_prices_against_a_general_minimiser(one, two):
    def plan(z):
        full = np.zeros(12)
        full[PAIRS] = z
        return full

    def paid(z):
        full = plan(z)
        return COST.ravel() @ full + price(one, ROWS @ full, A) + price(two, COLUMNS @ full, B)

    hard = [
        dict(type="eq", fun=lambda z, s=sums, w=w: (s @ plan(z) - w)[w > 0])
        for kind, sums, w in ((one, ROWS, A), (two, COLUMNS, B))
        if kind is None
    ]
    exact = minimize(
        paid, np.full(PAIRS.size, 0.2), bounds=[(1e-12, None)] * PAIRS.size, constraints=hard,
        method="SLSQP", options=dict(ftol=1e-15, maxiter=2000),
    )  # fmt: skip
    for given in (cost, jnp.asarray(COST)):
        found = fm.unbalanced_transport(MU, NU, law(one, 0.8), law(two, 0.8), cost=given)
        np.testing.assert_allclose(found.value, exact.fun, atol=1e-9)
        assert np.all(np.isfinite(found.f)) and np.all(np.isfinite(found.g))


@pytest.mark.parametrize(("one", "two"), [(0.8, 0.8), (0.8, 0.5), (0.3, 2.0), (0.8, None)])
def test_total_variation_against_a_linear_program(one, two):
    sides = ((ROWS, A, one), (COLUMNS, B, two))
    saved = sum(strength * sums.sum(0) for sums, _, strength in sides if strength)
    exact = linprog(
        COST.ravel() - saved,
        A_ub=np.concatenate([sums for sums, _, strength in sides if strength]),
        b_ub=np.concatenate([masses for _, masses, strength in sides if strength]),
        A_eq=None if two else COLUMNS,
        b_eq=None if two else B,
    )
    value = exact.fun + sum(strength * w.sum() for _, w, strength in sides if strength)
    laws = [strength and law("tv", strength) for strength in (one, two)]
    for given in (cost, jnp.asarray(COST)):
        found = fm.unbalanced_transport(MU, NU, *laws, cost=given)
        np.testing.assert_allclose(found.value, value, rtol=1e-11)


@pytest.mark.parametrize("mass", [0.2, 0.9, 1.3])
def test_parts_against_a_linear_program(mass):
    exact = linprog(
        COST.ravel(), A_ub=np.concatenate([ROWS, COLUMNS]), b_ub=np.append(A, B),
        A_eq=np.ones((1, 12)), b_eq=[mass],
    )  # fmt: skip
    for given in (cost, jnp.asarray(COST)):
        found = fm.partial_transport(MU, NU, mass, cost=given)
        np.testing.assert_allclose(found.value, exact.fun, rtol=1e-11)
        np.testing.assert_allclose(found.plan.sum(), mass, rtol=1e-12)
