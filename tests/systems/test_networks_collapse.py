"""Neural collapse, the onset of feature learning, and what symmetries are worth."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm
from flowjax_measures.kernels._base import convolve


@pytest.mark.parametrize(
    ("loss", "bias", "decay"),
    [
        pytest.param("squared", True, 2e-2, marks=pytest.mark.slow),
        ("squared", False, 2e-2),
        ("cross_entropy", True, 1e-2),
    ],
)
def test_features_collapse_to_a_simplex(loss, bias, decay):
    law = fm.UnconstrainedFeatures(4, 5, decay, decay / 2, loss)
    run = fm.simulate(law, law.start(jr.key(0), 6, 0.3, bias), [0.0, 8000.0])
    weights, features, *rest = run.final
    # Squared errors without an offset are met by a frame, all else by a simplex.
    shape = np.eye(4) - (1 / 4 if rest else 0)
    scale = law.collapsed_scale()
    assert scale > 0.5
    np.testing.assert_allclose(weights @ features, scale * np.repeat(shape, 5, 1), atol=1e-6)
    values = np.linalg.svd(weights, compute_uv=False)[:3]
    np.testing.assert_allclose(values, np.sqrt(scale * 5**0.5) * 0.5**0.25, rtol=1e-6)
    values = np.linalg.svd(features, compute_uv=False)[:3]
    np.testing.assert_allclose(values, np.sqrt(scale * 5**0.5) * 2**0.25, rtol=1e-6)
    for gap in fm.neural_collapse(features.T, law.labels, weights):
        assert abs(gap) < 1e-5


def test_collapse_of_balanced_features_is_logistic():
    """Ẇ = … from aligned singular vectors: each value s of WH has ṡ = 2s((√n − s)/N − λ)."""
    law, first = fm.UnconstrainedFeatures(3, 4, 0.02), np.array([0.02, 0.1, 0.3])
    left = np.linalg.qr(np.asarray(jr.normal(jr.key(0), (3, 3))))[0]
    right = np.repeat(np.eye(3) / 2, 4, 1)  # Of the target, √4 right.
    state = (
        jnp.asarray(np.diag(np.sqrt(first)) @ left),
        jnp.asarray(left.T @ np.diag(np.sqrt(first)) @ right),
    )
    run = fm.simulate(law, state, [0.0, 15.0])
    end, rate = 2 - 12 * 0.02, 2 * (2 / 12 - 0.02)
    grown = end / (1 + (end / first - 1) * np.exp(-rate * 15.0))
    np.testing.assert_allclose(run.final[0] @ run.final[1], np.diag(grown) @ right, atol=1e-7)


def test_too_much_decay_forgets_and_bad_fields_are_refused():
    assert fm.UnconstrainedFeatures(4, 5, 0.2).collapsed_scale() == 0
    assert fm.UnconstrainedFeatures(4, 5, 0.2, loss="cross_entropy").collapsed_scale() == 0
    with pytest.raises(ValueError, match="`classes`"):
        fm.UnconstrainedFeatures(1, 5)
    with pytest.raises(ValueError, match="tuple"):
        fm.simulate(fm.UnconstrainedFeatures(4, 5), jnp.ones(3), [0.0, 1.0])


def test_measures_of_collapse_by_hand():
    """Two classes on the line at ±1 with deviations ±a: tr(Σ_W Σ_B⁺)/K = a²/2."""
    features = jnp.array([[0.9], [1.1], [-0.9], [-1.1]])
    found = fm.neural_collapse(features, jnp.array([0, 0, 1, 1]))
    np.testing.assert_allclose(found.variability, 0.01 / 2)
    np.testing.assert_allclose(found.simplex, 0, atol=1e-15)
    assert found.duality is None
    # Directions without means count in no precision.
    wide = jnp.zeros((4, 5), jnp.float32).at[:, 0].set(features[:, 0].astype(jnp.float32))
    turn = jnp.linalg.qr(jr.normal(jr.key(0), (5, 5), jnp.float32))[0]
    found = fm.neural_collapse(wide @ turn, jnp.array([0, 0, 1, 1]))
    np.testing.assert_allclose(found.variability, 0.01 / 2, rtol=1e-4)


def _interpolation_error(kernel, count, d=5):
    """Of a polynomial of degree 2 that cyclic shifts leave, from `count` points of a sphere."""
    points = np.sqrt(d) * fm.initial.uniform_on_sphere(jr.key(1), count + 50, d).x
    values = jnp.sum(points * jnp.roll(points, 1, 1), 1) + jnp.sum(points, 1)
    gram = jax.vmap(lambda x: jax.vmap(lambda y: kernel(x, y))(points))(points)
    weights = jnp.linalg.solve(gram[:count, :count], values[:count])
    return float(jnp.max(jnp.abs(gram[count:, :count] @ weights - values[count:])))


def test_a_symmetry_is_worth_as_many_examples_as_it_removes_polynomials():
    """A kernel of degree 2 learns exactly from as many points as its functions have dimensions."""
    d, shifts, alone = 5, fm.cyclic_group(5), np.eye(5)[None]
    assert [fm.invariant_dimension(alone, k) for k in (0, 1, 2, 3)] == [1, 5, 14, 30]
    assert [fm.invariant_dimension(shifts, k) for k in (0, 1, 2)] == [1, 1, 2]
    plain = lambda x, y: (1 + jnp.vdot(x, y) / d) ** 2  # noqa: E731
    invariant = fm.InvariantKernel(plain, shifts)
    for kernel, enough in ((plain, 1 + 5 + 14), (invariant, 1 + 1 + 2)):
        assert _interpolation_error(kernel, enough) < 1e-6
        assert _interpolation_error(kernel, enough - 1) > 0.05


def test_the_gain_of_cyclic_shifts_is_the_dimension():
    for d in (8, 16):
        shifts = fm.cyclic_group(d)
        for k in (1, 2, 3, 4):
            share = fm.invariant_dimension(np.eye(d)[None], k) / fm.invariant_dimension(shifts, k)
            assert abs(share / d - 1) < 0.15


def test_an_invariant_kernel_does_not_see_shifts_and_integrates_gaussians():
    kernel = fm.InvariantKernel(fm.GaussianKernel(0.9), fm.cyclic_group(3))
    x, y = jr.normal(jr.key(0), (2, 3))
    np.testing.assert_allclose(kernel(x, jnp.roll(y, 1)), kernel(x, y))
    np.testing.assert_allclose(kernel(jnp.roll(x, 2), y), kernel(y, x))
    gauss = fm.Gaussian(jnp.arange(3.0), jnp.diag(jnp.array([0.5, 1.0, 2.0])))
    exact = [convolve(fm.GaussianKernel(0.9), jnp.roll(x, s), gauss) for s in range(3)]
    np.testing.assert_allclose(convolve(kernel, x, gauss), np.mean(exact))


@pytest.mark.slow
@pytest.mark.parametrize(("aligned", "power"), [(False, -1), (True, 0)])
def test_onset_of_feature_learning(aligned, power):
    """While directions are uncorrelated a wide network learns what a linear model does.

    The first velocity of the mean-field network on the target z_1 + He_2(z_1): the quadratic part
    over the linear one is of order 1/d for isotropic first weights, and does not fall with d where
    these already are along the hidden direction.
    """

    @jax.jit
    def parts(inputs, fresh, directions):
        target = lambda z: z[:, 0] + (z[:, 0] ** 2 - 1) / np.sqrt(2)  # noqa: E731
        net = fm.ShallowNetwork(jax.nn.gelu, (inputs, target(inputs)))
        test = fm.ShallowNetwork(jax.nn.gelu, (fresh, target(fresh)))
        heights = jnp.ones(len(directions))
        x = jnp.concatenate([directions] * 2), jnp.concatenate([heights, -heights])
        velocity = net(0.0, fm.Particles(x)).drift.x
        speed = jax.jvp(lambda x: test.predictions(fm.Particles(x)), (x,), (velocity,))[1]
        modes = jnp.stack([jnp.ones(len(fresh)), fresh[:, 0], fresh[:, 0] ** 2 - 1], 1)
        return jnp.linalg.lstsq(modes, speed)[0][1:]

    sizes, shares = (8, 16, 32), []
    for d in sizes:
        total = 0.0
        for key in jr.split(jr.key(d), 16):
            one, two, three = jr.split(key, 3)
            inputs, fresh = jr.normal(one, (8000, d)), jr.normal(two, (4000, d))
            directions = jr.normal(three, (200, d)) / np.sqrt(d)
            if aligned:
                directions = jnp.sqrt(d) * directions[:, :1] * jnp.eye(d)[:1]
            total = total + parts(inputs, fresh, directions)
        shares.append(float(total[1] / total[0]))
    slope = np.polyfit(np.log(sizes), np.log(shares), 1)[0]
    assert abs(slope - power) < 0.2, shares


@pytest.mark.slow
def test_two_layers_are_their_limit_up_to_the_root_of_dimension_over_width():
    """One residual block in the maximal update: the distance of its states is of order √(D/M).

    Inputs and outputs are along three orthonormal vectors, so that the limit does not see D.
    """
    inputs = jr.normal(jr.key(0), (6, 2))
    data = inputs, jnp.sin(inputs[:, :1]) * inputs[:, 1:]

    def states(width, frame, u, v):
        network = fm.ResidualNetwork(1, width, frame.shape[0], data, clip=4.0)
        start = fm.ResidualWeights(frame[:, :2], u, v, frame[:, 2:])
        end = fm.simulate(network, start, [0.0, 3.0], dt=1.0, solver=diffrax.Euler()).final
        return network.states(end)[-1]

    u, v = jr.normal(jr.key(1), (2, 1, 60_000, 3))
    limit = jax.jit(lambda u, v: states(u.shape[1], jnp.eye(3), u, v))(u, v)
    rows = []
    for dimension in (8, 32, 128):
        for width in (16, 64, 256):

            @jax.jit
            def distance(key, dimension=dimension, width=width):
                turn, neurons = jr.split(key)
                frame = jnp.linalg.qr(jr.normal(turn, (dimension, 3)))[0]
                u, v = jr.normal(neurons, (2, 1, width, dimension))
                gap = states(width, frame, u, v) - limit @ frame.T
                return jnp.mean(jnp.sum(gap**2, 1))

            square = jnp.mean(jax.lax.map(distance, jr.split(jr.key(2), 16)))
            rows.append([1, np.log(dimension), np.log(width), np.log(square) / 2])
    table = np.array(rows)
    slopes = np.linalg.lstsq(table[:, :3], table[:, 3], rcond=None)[0][1:]
    np.testing.assert_allclose(slopes, [0.5, -0.5], atol=0.1)
