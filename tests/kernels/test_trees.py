"""Kernels of points that are trees are those of the ravelled points."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

X = jr.normal(jr.key(0), (7, 3))
A = jnp.array([[1.0, 0.2, 0.0], [0.2, 0.7, 0.1], [0.0, 0.1, 2.0]])


def flat(z):
    return jnp.concatenate([z["a"], z["b"].ravel()])


def split(x):
    return dict(a=x[:, :1], b=x[:, 1:, None])


@pytest.mark.parametrize(
    "kernel", [fm.GaussianKernel(0.7), fm.MedianKernel(), fm.InverseMultiquadric()]
)
def test_stein_of_trees(kernel):
    potential = lambda x: x @ A @ x  # noqa: E731
    field = lambda energy, x: fm.GradientFlow(energy, fm.Stein(kernel))(0.0, x).drift.x  # noqa: E731
    expected = field(fm.KL(potential), fm.Particles(X))
    found = field(fm.KL(lambda z: potential(flat(z))), fm.Particles(split(X)))
    np.testing.assert_allclose(jax.vmap(flat)(found), expected, rtol=0, atol=1e-13)


def test_distances_of_trees():
    pair = fm.Particles(X), fm.Particles(X[:4] + 1)
    trees = [fm.Particles(split(mu.x)) for mu in pair]
    for kernel in (fm.GaussianKernel(), fm.EnergyDistance()):
        np.testing.assert_allclose(fm.mmd(*trees, kernel), fm.mmd(*pair, kernel), rtol=1e-12)


def test_points_of_other_dimensions_are_refused():
    for kernel in (fm.GaussianKernel(), fm.EnergyDistance()):
        flow = fm.GradientFlow(fm.MMD(fm.Particles(X[:, :1]), kernel))
        with pytest.raises(ValueError, match=r"one shape|one dimension"):
            flow(0.0, fm.Particles(X))
