"""Networks of fields of points, pictures and functions."""

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm
from flowjax_measures.systems.generative._picture_block import convolved

NETWORKS = {
    "MLP": fm.MLP(16, width=8, key=jr.key(0), labels=3),
    "UNet": fm.UNet((4, 4), width=2, levels=1, key=jr.key(0), labels=3),
    "operator": fm.FourierNeuralOperator((16,), modes=3, width=4, depth=2, key=jr.key(0), labels=3),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_gradient_of_a_loss_is_its_difference(name):
    x = jr.normal(jr.key(1), (20, 16))
    data = fm.Particles((x, jnp.arange(20) % 3))
    noise = fm.Gaussian(jnp.zeros(16), jnp.eye(16))
    arrays, rest = eqx.partition(NETWORKS[name], eqx.is_inexact_array)
    flat, back = jax.flatten_util.ravel_pytree(arrays)
    assert flat.dtype == jnp.float64
    direction = jr.normal(jr.key(2), flat.shape)

    @jax.jit
    def loss(size):
        network = eqx.combine(back(flat + size * direction), rest)
        return fm.conditional_flow_matching_loss(network, noise, data, jr.key(3), 8)

    slope = jax.jvp(loss, (0.0,), (1.0,))[1]
    back_slope = jax.jit(jax.grad(loss))(0.0)
    h = 1e-5
    np.testing.assert_allclose((loss(h) - loss(-h)) / (2 * h), slope, rtol=1e-6)
    np.testing.assert_allclose(back_slope, slope, rtol=1e-9)


@pytest.mark.parametrize("name", NETWORKS)
def test_wrong_points_and_labels_are_named(name):
    network = eqx.filter_jit(NETWORKS[name])
    with pytest.raises(ValueError, match="`x` has shape"):
        network(0.5, jnp.zeros(9))
    for label in (3, -2, 1.0, jnp.zeros(2, int)):
        with pytest.raises(ValueError, match="`c` is"):
            NETWORKS[name](0.5, jnp.zeros(16), label)
    # Compiled code cannot raise: a label that is unknown is no number.
    found = jnp.stack([network(0.5, jnp.ones(16), c) for c in jnp.arange(-2, 4)])
    assert jnp.all(jnp.isfinite(found[1:5])) and jnp.all(jnp.isnan(found[jnp.array([0, 5])]))
    assert len(jnp.unique(found[1:5, 0])) == 4
    assert jnp.all(network(0.5, jnp.ones(16)) == found[1])


@pytest.mark.slow
def test_pictures():
    network = eqx.filter_jit(NETWORKS["UNet"])
    x = jr.normal(jr.key(1), (16,))
    np.testing.assert_allclose(network(0.2, x.reshape(4, 4)).ravel(), network(0.2, x), rtol=1e-12)
    assert jnp.any(network(0.2, x) != network(0.3, x))
    colours = fm.UNet((3, 4, 2), width=2, levels=1, time=0, condition=5, key=jr.key(0))
    assert colours(0.2, jnp.ones((3, 4, 2)), jnp.ones(5)).shape == (3, 4, 2)
    with pytest.raises(ValueError, match="`c` has the shape"):
        colours(0.2, jnp.ones(24))
    for shape in ((6, 4), (8,), (1, 1, 4, 4)):
        with pytest.raises(ValueError, match="`shape`"):
            fm.UNet(shape, key=jr.key(0))


def test_frequencies_are_a_convolution():
    """K by matrices R_k is what the sum over frequencies says, on any grid."""
    layer = fm.FourierNeuralOperator((6, 5), modes=2, width=3, depth=1, key=jr.key(0)).layers[0]
    told = jnp.ones(9)
    for shape in ((6, 5), (7, 9)):
        v = jr.normal(jr.key(1), (3, *shape))
        places = np.stack(np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij"))
        v = np.asarray(v)
        beside = layer.local.bias + layer.shift.weight @ told
        total = np.einsum("oi,i...->o...", layer.local.weight, v) + beside[:, None, None]
        pairs = [(k, m) for k in (0, 1, -1) for m in (0, 1)]
        for (k, m), real, imaginary in zip(pairs, *np.asarray(layer.spectral), strict=True):
            wave = np.exp(2j * np.pi * (k * places[0] + m * places[1]))
            coefficient = (real + 1j * imaginary) @ np.mean(np.conj(wave) * v, axis=(1, 2))
            # Where m > 0 the conjugate frequency makes it real.
            term = (coefficient[:, None, None] * wave).real
            total += term if m == 0 else 2 * term
        np.testing.assert_allclose(layer(v, told), jax.nn.silu(total), atol=1e-12)


@pytest.mark.parametrize("periodic", [pytest.param(True, marks=pytest.mark.slow), False])
def test_the_same_network_on_finer_grids(periodic):
    network = fm.FourierNeuralOperator(
        (24,), modes=4, width=6, depth=2, periodic=periodic, key=jr.key(0)
    )

    def at(n):
        p = (jnp.arange(float(n)) + 0.5) / n
        wave = 0.4 + jnp.sin(2 * jnp.pi * p) + 0.3 * jnp.cos(4 * jnp.pi * p)
        return eqx.filter_jit(network.on((n,)))(0.3, wave)

    coarse, middle, fine = at(24), at(72), at(216)
    gaps = jnp.max(jnp.abs(coarse - middle[1::3])), jnp.max(jnp.abs(middle - fine[1::3]))
    # Spectral on a torus; a jump at the ends elsewhere.
    assert gaps[1] < (1e-9 if periodic else gaps[0] / 3) and gaps[0] < 5e-3 * jnp.std(fine)
    if periodic:
        x = jr.normal(jr.key(1), (24,))
        turned = eqx.filter_jit(network)
        moved = turned(0.3, jnp.roll(x, 5))
        np.testing.assert_allclose(moved, jnp.roll(turned(0.3, x), 5), atol=1e-12)
    for call in (lambda: network.on((6,)), lambda: network.on((8, 8))):
        with pytest.raises(ValueError, match="`shape`"):
            call()


def test_convolutions_are_those_of_the_layers():
    picture = jr.normal(jr.key(0), (3, 4, 6))
    for side in (1, 3):
        layer = eqx.nn.Conv2d(3, 5, side, padding=side // 2, key=jr.key(1))
        found = convolved(layer, jnp.moveaxis(picture, 0, -1))
        np.testing.assert_allclose(jnp.moveaxis(found, -1, 0), layer(picture), rtol=1e-12)
