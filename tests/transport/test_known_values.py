"""Values that other libraries state or test, and closed forms: one table for all distances."""

import jax.numpy as jnp
import numpy as np
import ot
import pytest

import flowjax_measures as fm


def atoms(x, weights=None, **space):
    x = jnp.asarray(x, float)
    shares = None if weights is None else jnp.asarray(weights) / np.sum(weights)
    return fm.Particles(x[:, None] if x.ndim == 1 else x, weights=shares, **space)


CIRCLE = fm.Torus(1.0)
COIN = atoms([0.0, 1.0])
SWAP = jnp.array([[0.0, 1.0], [1.0, 0.0]])
STAY = 0.5 / (1 + np.exp(-1))
CLOUD = np.random.default_rng(0).normal(size=(7, 3))
SHIFT = np.array([1.0, -2.0, 0.5])
TURN = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
SPREAD = 1.3**2
# The covariance of both ends of the entropic plan of one normal law with itself.
LINKED = (np.sqrt(0.7**2 + 16 * SPREAD**2) - 0.7) / 4


def normal(cov, mean=0.0):
    cov = jnp.atleast_2d(jnp.asarray(cov, float))
    return fm.Gaussian(jnp.full(len(cov), mean), cov)


ONE, TWO = np.diag([1.0, 4.0, 9.0]), np.diag([4.0, 1.0, 16.0])
SKEW = np.array([[2.0, 0.6, 0.1], [0.6, 1.0, 0.2], [0.1, 0.2, 0.5]])

VALUES = {
    "quantiles of three atoms": (
        lambda: fm.wasserstein(atoms([0, 1, 3]), atoms([5, 6, 8]), 3),
        5.0,
    ),
    "weights on the line": (
        lambda: fm.wasserstein(atoms([0, 1], [3, 1]), atoms([0, 1], [2, 2]), 1),
        0.25,
    ),
    "unequal numbers on the line": (
        lambda: fm.wasserstein(
            atoms([3.4, 3.9, 7.5, 7.8], [1.4, 0.9, 3.1, 7.2]), atoms([4.5, 1.4], [3.2, 3.5]), 1
        ),
        4.0781331438047861,
    ),
    "weights in the plane": (
        lambda: fm.wasserstein(
            atoms([[0, 2.75], [2, 209.3], [0, 0]], [0.4, 5.2, 0.114]),
            atoms([[0.2, 0.322], [4.5, 25.1808]], [0.8, 1.5]),
            1,
        ),
        174.15840245217169,
    ),
    "energy distance of two atoms": (lambda: fm.energy_distance(atoms([0]), atoms([2])), 4.0),
    "two by two, entropic": (
        lambda: fm.entropic_coupling(COIN, COIN, 1.0, cost=SWAP),
        np.array([[STAY, 0.5 - STAY], [0.5 - STAY, STAY]]),
    ),
    "two by two, relaxed by KL": (
        lambda: fm.unbalanced_transport(COIN, COIN, cost=jnp.array([[1.0, 36.0], [9.0, 4.0]])).plan,
        np.diag([0.5 * np.exp(-1 / 2), 0.5 * np.exp(-4 / 2)]),
    ),
    "two by two, relaxed by squares": (
        lambda: (
            fm.unbalanced_transport(
                COIN,
                COIN,
                fm.SquaredError(5.0),
                fm.SquaredError(5.0),
                cost=jnp.array([[1.0, 36.0], [9.0, 4.0]]),
            ).plan
        ),
        np.diag([0.4, 0.1]),
    ),
    "a part of the mass": (
        lambda: (
            fm.partial_transport(
                fm.Particles(COIN.x, weights=jnp.array([0.1, 0.2])),
                fm.Particles(COIN.x, weights=jnp.array([0.1, 0.1])),
                0.1,
                cost=jnp.array([[0.0, 1.0], [2.0, 3.0]]),
            ).plan
        ),
        np.diag([0.1, 0.0]),
    ),
    "circle, p = 1": (
        lambda: fm.wasserstein(
            atoms([0.2, 0.5, 0.8], space=CIRCLE), atoms([0.4, 0.5, 0.7], space=CIRCLE), 1
        ),
        0.1,
    ),
    "circle, p = 2": (
        lambda: fm.wasserstein(
            atoms([0.2, 0.5, 0.8], space=CIRCLE), atoms([0.4, 0.5, 0.7], space=CIRCLE)
        ),
        np.sqrt(0.05 / 3),
    ),
    "slices of a shift": (
        lambda: fm.sliced_wasserstein(atoms(CLOUD), atoms(CLOUD + SHIFT)) ** 2,
        SHIFT @ SHIFT / 3,
    ),
    "Sinkhorn divergence of a shift": (
        lambda: fm.sinkhorn_divergence(atoms(CLOUD), atoms(CLOUD + SHIFT), 0.3),
        SHIFT @ SHIFT,
    ),
    "Sinkhorn divergence of two atoms": (
        lambda: fm.sinkhorn_divergence(atoms([[0, 0]]), atoms([[1, 2]]), 0.3),
        5.0,
    ),
    "an isometry": (
        lambda: fm.gromov_wasserstein(atoms(CLOUD), atoms(CLOUD[::-1] @ TURN + 1)).value,
        0.0,
    ),
    "Gaussians": (
        lambda: fm.wasserstein(normal(SKEW), normal(TWO, 1.0)),
        ot.gaussian.bures_wasserstein_distance(np.zeros(3), np.ones(3), SKEW, TWO),
    ),
    "barycentre of Gaussians that commute": (
        lambda: fm.barycenter([normal(ONE), normal(TWO)], weights=[0.3, 0.7]).cov,
        (0.3 * np.sqrt(ONE) + 0.7 * np.sqrt(TWO)) ** 2,
    ),
    "entropic cost of a normal law": (
        lambda: fm.entropic_cost(normal(SPREAD), normal(SPREAD), 0.7),
        2 * SPREAD - 2 * LINKED - 0.35 * np.log(1 - LINKED**2 / SPREAD**2),
    ),
    "two masses in one place": (
        lambda: fm.hellinger_kantorovich(
            fm.Particles(jnp.zeros((1, 2)), weights=jnp.array([2.0])),
            fm.Particles(jnp.zeros((1, 2)), weights=jnp.array([3.0])),
        ),
        np.sqrt(3) - np.sqrt(2),
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_known_values(name):
    value, exact = VALUES[name]
    np.testing.assert_allclose(value(), exact, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("tau", [0.5, 0.9])
def test_relaxed_entropic_cost_of_gaussians_is_that_of_cells(tau):
    x = np.linspace(-9, 9, 201)
    means, spreads = (0.3, -0.4), (0.8, 1.7)
    laws = [normal(s, m) for m, s in zip(means, spreads, strict=True)]
    cells = [
        atoms(x, np.exp(-((x - m) ** 2) / (2 * s))) for m, s in zip(means, spreads, strict=True)
    ]
    exact, found = (fm.entropic_cost(*pair, 0.7, tau_mu=tau, tau_nu=tau) for pair in (laws, cells))
    np.testing.assert_allclose(exact, found, rtol=1e-8)
