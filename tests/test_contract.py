"""One table of promises over all public functions of measures."""

import inspect

import contract
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import CONTRACT, ELSEWHERE, other, small
from counting import compilations

import flowjax_measures as fm


@pytest.fixture(scope="module", params=CONTRACT)
def case(request):
    """An entry and its call, compiled once for all that is asked of it."""
    entry = CONTRACT[request.param]
    return entry, eqx.filter_jit(entry.call), request.param


def close(a, b, **tolerance):
    for one, two in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(one, two, **{"rtol": 1e-7, "atol": 1e-9} | tolerance)


def test_every_function_is_in_the_table():
    functions = {name for name in fm.__all__ if inspect.isfunction(getattr(fm, name))}
    held = {name.split(" ")[0] for name in CONTRACT} | {
        name for names in ELSEWHERE.values() for name in names.split()
    }
    assert functions <= held, f"without an entry in tests/contract.py: {functions - held}"
    assert {n for names in ELSEWHERE.values() for n in names.split()} <= set(fm.__all__)


def test_promises_of_a_function(case):
    """NaN shows; no mass, no part; atoms have no order and may be split; compiled is eager."""
    entry, call, _ = case
    mu, nu = small(), other()
    value = call(mu, nu)
    assert all(np.all(np.isfinite(a)) for a in jax.tree.leaves(value))
    if "permuted" not in entry.without:
        close(call(small(permuted=True), nu), value)
    if "split" not in entry.without:
        close(call(small(split=True), nu), value)
    if "weights" not in entry.without:
        even = fm.Particles(mu.x, jnp.where(jnp.isneginf(mu.log_w), -jnp.inf, -np.log(5)))
        shared = zip(jax.tree.leaves(call(even, nu)), jax.tree.leaves(value), strict=True)
        differ = any(not np.allclose(a, b, rtol=1e-6) for a, b in shared)
        assert differ or "gradient" in entry.without
    if "nan" not in entry.without:
        found = jax.tree.leaves(call(small(nan=True), nu))
        floats = [np.asarray(a) for a in found if jnp.issubdtype(a.dtype, jnp.inexact)]
        assert not floats or any(np.any(np.isnan(a)) for a in floats)
    if entry.degree is not None:
        factor = 2.5**entry.degree
        expected = jax.tree.map(lambda a: a * factor if eqx.is_inexact_array(a) else a, value)
        close(call(times(mu, 2.5), times(nu, 2.5)), expected)
    close(entry.call(mu, nu), value)


def times(measure, factor):
    return eqx.tree_at(lambda m: m.log_w, measure, measure.log_w + np.log(factor))


def a_third(first: int):
    """The entries, two thirds of them among the slow tests: each compiles once more."""
    return pytest.mark.parametrize("name", [
        pytest.param(name, marks=pytest.mark.slow if k % 3 != first else ())
        for k, name in enumerate(CONTRACT)
    ])  # fmt: skip


@a_third(1)
def test_single_precision_also_far_from_the_origin(name):
    """… where the points are rounded, and nothing else is lost."""
    entry = CONTRACT[name]
    call = eqx.filter_jit(entry.call)
    single = lambda m: jax.tree.map(lambda a: a.astype(jnp.float32), m)  # noqa: E731
    double = lambda m: jax.tree.map(lambda a: a.astype(jnp.float64), m)  # noqa: E731
    for shift in (0.0,) if "moved" in entry.without else (0.0, 1000.0):
        mu, nu = (single(eqx.tree_at(lambda m: m.x, m, m.x + shift)) for m in (small(), other()))
        found, exact = call(mu, nu), call(double(mu), double(nu))
        assert all(a.dtype in (jnp.float32, jnp.int32, jnp.int64) for a in jax.tree.leaves(found))
        close(jax.tree.map(np.float64, found), exact, rtol=3e-5, atol=3e-5)


@a_third(2)
def test_points_that_are_trees_or_on_a_torus(name):
    """The value of the ravelled points; one that doesn't see where a torus is cut; or refused."""
    entry = CONTRACT[name]
    pair = lambda m: fm.Particles({"a": m.x[:, :1], "b": m.x[:, 1:]}, m.log_w)  # noqa: E731
    if "tree" not in entry.without:
        try:
            found = entry.call(pair(small()), pair(other()))
        except ValueError as error:
            assert "vectors" in str(error), error
        else:
            ravelled = jax.flatten_util.ravel_pytree
            close(ravelled(found)[0], ravelled(entry.call(small(), other()))[0])
    if not {"torus", "moved"} & set(entry.without):
        cut = lambda m, s: fm.Particles(m.x + s, m.log_w, space=fm.Torus(4.0)).retract()  # noqa: E731
        try:
            here, there = (entry.call(cut(small(), s), cut(other(), s)) for s in (0.0, 2.1))
        except ValueError as error:
            assert "Torus" in str(error), error
        else:
            close(there, here)


@a_third(0)
def test_another_value_compiles_nothing(name):
    """… of the same shape, outside of jit."""
    call, mu, nu = CONTRACT[name].call, small(shift=0.1), other()
    jax.block_until_ready((call(small(), other()), mu, nu))
    with compilations() as found:
        jax.block_until_ready(call(mu, nu))
    assert not found


def test_gradients_are_differences_also_of_a_measure_against_itself(case):
    entry, _, _ = case
    if "gradient" in entry.without:
        pytest.skip(entry.without["gradient"])
    mu, nu = small(), other()

    def value(x, target):
        moved = eqx.tree_at(lambda m: m.x, mu, x)
        return sum(jnp.sum(a * (1 + jnp.arange(a.size, dtype=a.dtype).reshape(a.shape))) for a in (
            jnp.asarray(b) for b in jax.tree.leaves(entry.call(moved, target))
        ) if jnp.issubdtype(a.dtype, jnp.inexact))  # fmt: skip

    slope = jax.jit(jax.grad(value))
    along = jnp.array([[0.3, -0.2], [0.1, 0.5], [-0.4, 0.2], [0.2, 0.1], [-0.1, 0.3], [0.0, 0.0]])
    h, evaluate = 1e-5, jax.jit(value)
    difference = (evaluate(mu.x + h * along, nu) - evaluate(mu.x - h * along, nu)) / (2 * h)
    gradient = slope(mu.x, nu)
    np.testing.assert_allclose(jnp.vdot(gradient, along), difference, rtol=2e-4, atol=1e-6)
    np.testing.assert_allclose(gradient[5], 0, atol=1e-12)
    if entry.both:
        assert np.all(np.isfinite(jax.jit(jax.grad(value))(mu.x, small(split=True))))


@pytest.mark.parametrize("name", [n for n, e in CONTRACT.items() if e.both])
def test_points_of_other_dimensions_are_refused(name):
    for d in (1, 3):
        with pytest.raises(ValueError, match=r"`(mu|nu|target)`|dimension"):
            CONTRACT[name].call(small(), other(d=d))


def test_a_wrong_entry_fails():
    """The harness sees a function that eats NaN and one that drops weights."""
    eats = contract.Entry(lambda mu, nu: jnp.nan_to_num(mu.mean()))
    drops = contract.Entry(lambda mu, nu: jnp.mean(mu.x[:5], axis=0))
    for entry in (eats, drops):
        with pytest.raises(AssertionError):
            test_promises_of_a_function((entry, entry.call, ""))
