"""The fused kernels, interpreted, beside tiles in float64; and lowered for GPUs and TPUs."""

import contextlib

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jax import export

import flowjax_measures as fm
from flowjax_measures._reduce import _kernel, _pallas

N = 70
LOG_W = np.array(jr.normal(jr.key(5), (N,))) * 0.1
LOG_W[::7] = -np.inf
LOG_W -= np.log(np.sum(np.exp(LOG_W)))
# What Triton's calls look like may change from one version of XLA to the next.
TRITON = export.DisabledSafetyCheck.custom_call("__gpu$xla.gpu.triton")


def points(d):
    return jr.normal(jr.key(0), (N, d), jnp.float32) / np.float32(np.sqrt(d))


def matrices(key, *shape):
    return jr.normal(jr.key(key), shape) / np.sqrt(shape[-1])


@pytest.fixture
def calls(monkeypatch):
    """Which kernels were taken."""
    seen = []

    def watch(name):
        real = getattr(_kernel, name)
        monkeypatch.setattr(_kernel, name, lambda *a: seen.append(name) or real(*a))

    watch("forward")
    watch("backward")
    return seen


def heads_of_values(t, x, mu):
    """Heads whose values differ are problems apart."""
    heads = matrices(6, 2, x.size, x.size).astype(x.dtype)
    return jax.vmap(lambda a: mu.mean(lambda y: a @ y, lambda y: jnp.vdot(x, a @ y)))(heads).sum(0)


def slope(t, x, mu):
    """A derivative of one target, within the law."""
    return jax.grad(lambda x: mu.logmean(lambda y: jnp.vdot(x, y)))(x)


LAWS = {
    "attention": (lambda d: fm.SelfAttention(beta=1.3), 3),
    "a line": (lambda d: fm.SelfAttention(beta=1.3), 1),
    "as many as fit": (lambda d: fm.SelfAttention(beta=1.3), 128),
    "masses": (lambda d: fm.SelfAttention(beta=1.3, normalization="mean"), 5),
    "heads": (
        lambda d: fm.SelfAttention(
            query=matrices(2, 2, 4, d), key=matrices(3, 2, 4, d), value=matrices(4, 2, d, d)
        ),
        20,
    ),
    "heads of values": (lambda d: fm.Custom(heads_of_values), 3),
    "causal": (lambda d: fm.SelfAttention(causal=True, exclude_self=True), 3),
    "window": (lambda d: fm.SelfAttention(mask=lambda i, j: abs(i - j) < 5), 12),
    "derivative within": (lambda d: fm.Custom(slope), 3),
}
FAST = ("attention", "causal", "heads of values")
EVERY = [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in LAWS]


def gradient(name, dtype, kernel, weighted, given=None):
    """The gradient of a law's velocity, which comes with it, and numbers of `given` digits."""
    make, d = LAWS[name]
    given = dtype if given is None else given
    digits = lambda a: a.astype(given).astype(dtype) if eqx.is_inexact_array(a) else a  # noqa: E731
    log_w = jnp.asarray(LOG_W) if weighted else None
    system, x, log_w = jax.tree.map(digits, (make(d), points(d), log_w))

    def loss(x, log_w):
        v = system(0.0, fm.Particles(x, log_w, kernel=kernel)).drift.x
        return jnp.sum(jnp.sin(v) * jnp.arange(1, N + 1, dtype=dtype)[:, None]), v

    places = (0, 1) if weighted else (0,)
    return jax.jit(jax.grad(loss, places, has_aux=True)), (x, log_w)


def value_and_gradient(*how):
    function, at = gradient(*how)
    return function(*at)


def gap(found, truth):
    """The largest error, in units of the largest number."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(truth), strict=True)
    return max(
        np.max(np.abs(np.asarray(a, float) - b)) / np.max(np.abs(np.asarray(b))) for a, b in pairs
    )


@pytest.mark.parametrize("weighted", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", EVERY)
def test_values_and_gradients_are_those_of_tiles(calls, name, weighted):
    found = value_and_gradient(name, jnp.float32, "pallas", weighted)
    assert {"forward", "backward"} <= set(calls)
    truth = value_and_gradient(name, jnp.float64, "tiled", weighted, jnp.float32)
    # Round-off of float32 in sums of 70.
    assert gap(found, truth) < 3e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["attention", "heads", "causal"])
def test_bfloat16_keeps_its_eight_bits(calls, name):
    """Sums are taken in float32: the rounding of operands, 2⁻⁹, as many as stand in a row."""
    found = value_and_gradient(name, jnp.bfloat16, "pallas", False)
    assert {"forward", "backward"} <= set(calls)
    truth = value_and_gradient(name, jnp.float64, "tiled", False, jnp.bfloat16)
    assert gap(found, truth) < 8 * 2**-9


@pytest.mark.slow
def test_mosaic_walks_the_grid_to_the_same_numbers(calls, monkeypatch):
    monkeypatch.setattr(_pallas, "_COORDINATES", _pallas._MOSAIC._replace(rows=16, columns=32))
    found = value_and_gradient("causal", jnp.float32, "pallas", True)
    assert (
        calls
        and gap(found, value_and_gradient("causal", jnp.float64, "tiled", True, jnp.float32)) < 3e-6
    )


def test_runs_apart_are_problems_apart(calls):
    x = jnp.stack([points(3), 0.5 * points(3)])

    def slopes(kernel):
        law = lambda x: fm.SelfAttention()(0.0, fm.Particles(x, kernel=kernel)).drift.x  # noqa: E731
        return jax.jit(jax.vmap(jax.grad(lambda x: jnp.sum(jnp.sin(law(x))))))(x)

    np.testing.assert_allclose(slopes("pallas"), slopes("tiled"), rtol=1e-5, atol=2e-6)
    assert {"forward", "backward"} <= set(calls)


@pytest.mark.parametrize(
    "logits",
    [
        lambda x, y, i: -jnp.sum((x - y) ** 2),
        lambda x, y, i: jnp.vdot(x, y) * jnp.where(y[0] > 0, -jnp.inf, 1.0),
        lambda x, y, i: jnp.where(y[0] > x[0], jnp.vdot(x, y), -jnp.inf),
    ],
    ids=["a distance", "a product with −∞", "a mask by places"],
)
def test_other_tilts_take_tiles(calls, logits):
    def law(kernel):
        mean = lambda t, x, mu: mu.mean(logits=lambda y: logits(x, y, 0))  # noqa: E731
        return jax.jit(lambda x: fm.Custom(mean)(0.0, fm.Particles(x, kernel=kernel)).drift.x)

    np.testing.assert_array_equal(law("pallas")(points(3)), law("auto")(points(3)))
    assert not calls


def test_the_old_spelling_is_the_new_one():
    mu = fm.Particles(points(3), block="pallas")
    assert (mu.block, mu.kernel) == (None, "pallas")
    with pytest.raises(ValueError, match="`kernel` is 'mosaic'"):
        fm.Particles(points(3), kernel="mosaic")  # pyright: ignore
    with pytest.raises(ValueError, match="`block` is 0"):
        fm.Particles(points(3), block=0)


def on_a_card(platform):
    """From jax 0.11 on Triton asks which card it lowers for."""
    if platform != "cuda" or jax.__version_info__ < (0, 11):
        return contextlib.nullcontext()
    card = jax.sharding.AbstractDevice("NVIDIA H200", None, "gpu")
    return jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), abstract_device=card))


@pytest.mark.parametrize("platform, mark", [("cuda", "xla.gpu.triton"), ("tpu", "tpu_custom_call")])
@pytest.mark.parametrize("name", EVERY)
def test_values_and_gradients_lower(name, platform, mark):
    for dtype in (jnp.float32, jnp.bfloat16):
        function, at = gradient(name, dtype, "pallas", True)
        with on_a_card(platform):
            lowered = export.export(function, platforms=[platform], disabled_checks=[TRITON])(*at)
        # The values, and the two walks of the reverse pass.
        assert lowered.mlir_module().count(mark) >= 3
