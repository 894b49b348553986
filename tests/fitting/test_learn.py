"""`learn`: what it finds, how it goes on from a file, and what it refuses."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import flowjax_measures as fm
from flowjax_measures.fitting import _store

DATA = jnp.array([[1.0, 2.0, 4.0], [0.5, -1.0, 2.0]])
START = {"slope": jnp.zeros((2, 3)), "name": "kept", "count": 3}


def distance(network, key):
    """Least at slope = DATA; its gradient is noisy, and its value."""
    noise = jr.normal(key, (8, 3))
    return jnp.mean((noise @ (network["slope"] - DATA).T) ** 2)


def short(loss=distance, network=START, **options):
    settings = dict(key=jr.key(0), steps=60, every=20, learning_rate=0.05) | options
    return fm.learn(loss, network, **settings)


def test_least_squares():
    result = short(steps=400, every=100, learning_rate=0.1)
    np.testing.assert_allclose(result.network["slope"], DATA, atol=0.02)
    np.testing.assert_allclose(result.last["slope"], DATA, atol=0.02)
    assert result.network["name"] == "kept" and result.network["count"] == 3
    assert result.losses.shape == (400,) and result.finite and result.steps == 400
    assert result.losses[-1] < 1e-3 < result.losses[0]


def test_steps_are_those_of_a_loop_by_hand():
    optimizer = optax.chain(optax.clip_by_global_norm(0.7), optax.adam(0.1))
    result = short(steps=5, every=2, optimizer=optax.adam(0.1), clip=0.7, average=0.5)
    slope = average = jnp.zeros((2, 3))
    state, update = optimizer.init(slope), jax.jit(optimizer.update)
    for k in range(5):
        loss = lambda s, k=k: distance({"slope": s}, jr.fold_in(jr.key(0), k))  # noqa: E731
        value, gradient = jax.value_and_grad(loss)(slope)
        with jax.numpy_dtype_promotion("standard"):
            move, state = update(gradient, state)
        slope = slope + move
        average = average + max(0.5, 9 / (10 + k)) * (slope - average)
        np.testing.assert_allclose(result.losses[k], value, rtol=1e-12)
    np.testing.assert_allclose(result.last["slope"], slope, rtol=1e-12)
    np.testing.assert_allclose(result.network["slope"], average, rtol=1e-12)


def test_stopped_and_gone_on_bit_for_bit(tmp_path, monkeypatch):
    validation = lambda network: distance(network, jr.key(7))  # noqa: E731
    whole = short(validation=validation)
    save, count = _store.save, []

    def killed(*arguments, **options):
        save(*arguments, **options)
        count.append(1)
        if len(count) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(_store, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        short(validation=validation, folder=tmp_path)
    monkeypatch.setattr(_store, "save", save)
    again = short(validation=validation, folder=tmp_path)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)

    others = {
        "rate": dict(learning_rate=0.01),
        "optimiser": dict(optimizer=optax.sgd(0.05)),
        "steps": dict(steps=80),
        "key": dict(key=jr.key(1)),
        "average": dict(average=0.9),
        "start": dict(network=START | {"slope": jnp.ones((2, 3))}),
        "data": dict(loss=lambda network, key: distance({"slope": network["slope"] + 1e-9}, key)),
    }
    words = {"rate": r"rate\.learning: 0\.05 → 0\.01", "steps": r"rate\.steps: \d+ → 80",
             "average": r"average: .* → 0\.9", "data": "loss or data differs"}  # fmt: skip
    for name, change in others.items():
        with pytest.raises(ValueError, match=f"`folder`.*{words.get(name, '')}"):
            short(validation=validation, folder=tmp_path, **change)
    anew = short(validation=validation, folder=tmp_path, overwrite=True, **others["key"])
    assert not np.array_equal(anew.losses, whole.losses)


def test_more_steps_go_on_bit_for_bit(tmp_path):
    """From a number of steps that is no multiple of `every`; fewer than were taken are refused."""
    validation = lambda network: distance(network, jr.key(7))  # noqa: E731
    call = dict(optimizer=optax.adam(0.05), every=20, validation=validation)
    short(steps=50, folder=tmp_path, **call)
    again = short(steps=100, folder=tmp_path, **call)
    for a, b in zip(*map(jax.tree.leaves, (short(steps=100, **call), again)), strict=True):
        np.testing.assert_array_equal(a, b)
    (tmp_path / "losses-000100").unlink()
    anew = short(steps=100, folder=tmp_path, **call)
    np.testing.assert_array_equal(anew.losses, again.losses)
    with pytest.raises(ValueError, match=r"`steps` is 60, but the training in .* has taken 100"):
        short(steps=60, folder=tmp_path, **call)


def test_validation_chooses_and_patience_ends():
    # A rate that grows leaves the minimum again.
    rate = lambda k: jnp.where(k < 40, 0.1, 3.0)  # noqa: E731
    result = short(
        steps=400, learning_rate=rate, average=0.0, patience=3,
        validation=lambda network: jnp.sum((network["slope"] - DATA) ** 2),
    )  # fmt: skip
    best = int(jnp.argmin(result.validation))
    assert result.steps == 20 * (best + 4) == 20 * len(result.validation) == len(result.losses)
    assert jnp.sum((result.network["slope"] - DATA) ** 2) == result.validation[best]
    assert "validation" in result.message


@pytest.mark.parametrize("first", [0, 25])
def test_a_loss_that_is_not_finite(first):
    def loss(network, key):
        size = jnp.sum(network["slope"] ** 2) - (network["count"] if first else -1)
        return jnp.where(size < 0, 1.0, jnp.nan) * distance(network, key)

    if first == 0:
        loss = lambda network, key: jnp.nan * distance(network, key)  # noqa: E731
    with pytest.raises(RuntimeError, match="not finite at step"):
        short(loss)
    result = short(loss, throw=False)
    assert not result.finite and "not finite" in result.message
    assert jnp.isnan(result.losses[-1]) and jnp.all(jnp.isfinite(result.losses[:-1]))
    assert jnp.all(jnp.isfinite(result.network["slope"]))


def test_types_stay():
    network = jax.tree.map(lambda a: a.astype(jnp.float32) if eqx.is_array(a) else a, START)
    result = short(lambda net, key: jnp.sum((net["slope"] - 1) ** 2), network, steps=3)
    assert result.network["slope"].dtype == result.losses.dtype == jnp.float32


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (dict(loss=lambda network, key: network["slope"]), "`loss`"),
        (dict(network={"slope": 1}), "`network`"),
        (dict(key=0), "`key`"),
        (dict(steps=0), "`steps`"),
        (dict(every=0), "`every`"),
        (dict(clip=-1.0), "`clip`"),
        (dict(average=1.0), "`average`"),
        (dict(patience=2), "`patience`"),
        (dict(validation=lambda network: network["slope"]), "`validation`"),
    ],
)
def test_refused(options, name):
    with pytest.raises(ValueError, match=name):
        short(**options)
