"""Arguments of public functions: what cannot be meant is refused, by name, before anything runs."""

import inspect
import signal
from contextlib import contextmanager
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import jaxtyping
import numpy as np
import pytest
from example_names import OF, SHARED
from test_docstrings import PUBLIC, context, examples

import flowjax_measures as fm

FUNCTIONS = {n: f for n, f in PUBLIC.items() if inspect.isroutine(f) and n != "place"}
CLOUD = fm.Particles(jnp.ones((3, 2)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_class_in_place_of_the_first_argument_is_named(name):
    function = FUNCTIONS[name]
    first = next(iter(inspect.signature(function).parameters))
    with pytest.raises((ValueError, jaxtyping.TypeCheckError), match=f"`{first}`|{first}"):
        if name == "simulate":
            function(fm.MeanShift, CLOUD, [0.0, 1.0])
        else:
            function(fm.Particles)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: fm.mmd(CLOUD, jnp.ones((3, 2)), fm.GaussianKernel(1.0)), r"`nu`.*Particles\(x\)"),
    (lambda: fm.sinkhorn_divergence(CLOUD, CLOUD, 1j), "`epsilon`.*1j"),
    (lambda: fm.sinkhorn_divergence(CLOUD, CLOUD, jnp.ones(3)), r"`epsilon`.*shape \(3,\)"),
    (lambda: fm.flow_matching_loss(jnp.vdot, None, jr.key(0), -1), "`n`.*whole number ≥ 1"),
    (lambda: fm.flow_matching_loss(jnp.vdot, None, 3, 5), "`key`.*jax.random.key"),
    (lambda: fm.flow_matching_loss("text", None, jr.key(0), 5), "`velocity`.*text"),
    (lambda: fm.gaspari_cohn(np.ones(2) * 1j), "`r`.*complex"),
    (lambda: fm.time_to_clusters(jnp.ones((2, 2)), jnp.ones(2, int), 1), r"`ts`.*shape \(2, 2\)"),
])  # fmt: skip
def test_what_was_given_is_named(call, words):
    with pytest.raises((ValueError, jaxtyping.TypeCheckError)) as error:
        call()
    assert isinstance(error.value, jaxtyping.TypeCheckError) or error.match(words)


def test_numbers_that_must_be_looked_at_are_not_traced():
    with pytest.raises(ValueError, match="`group`, which are traced; call it outside"):
        jax.jit(lambda group: fm.invariant_dimension(group, 2))(fm.cyclic_group(3))
    # What the user's own function looks at is not an argument's fault.
    with pytest.raises(jax.errors.ConcretizationTypeError):
        ball = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
        flow = fm.StochasticInterpolant(ball, CLOUD)
        fm.flow_matching_loss(lambda t, x: x * float(t), flow, jr.key(0), 3)


def test_functions_of_numbers_keep_nan():
    nan = jnp.array([jnp.nan])
    for function in (fm.entropic_mobility, fm.flat_mobility, fm.logarithmic_mean, fm.mean_mobility):
        assert jnp.all(jnp.isnan(function(nan, jnp.ones(1))) & jnp.isnan(function(nan, nan)))
    assert jnp.isnan(fm.gaspari_cohn(nan)[0])
    grid = fm.GridDensity(jnp.linspace(0.5, 1.5, 8), 0.0, 1.0)
    assert jnp.all(jnp.isnan(fm.least_squares_velocity(grid, jnp.nan * grid.rho).velocity))


class _Recorder:
    """The library, whose functions remember with what they were called first."""

    def __init__(self):
        self.calls: dict[str, Any] = {}

    def __getattr__(self, name):
        function = getattr(fm, name)
        if name not in FUNCTIONS:
            return function

        def call(*args, **kwargs):
            if not any(isinstance(a, jax.core.Tracer) for a in jax.tree.leaves((args, kwargs))):
                self.calls.setdefault(name, (args, kwargs))
            return function(*args, **kwargs)

        return call


def _wrong(value):
    """What cannot be meant in place of a value."""
    if isinstance(value, fm.Particles):
        holed = lambda a: a.at[(0,) * a.ndim].set(jnp.nan)  # noqa: E731
        yield "NaN", eqx.tree_at(lambda m: jax.tree.leaves(m.x)[0], value, replace_fn=holed)
        yield from (("text", "text"), ("points", np.ones(3)))
    elif eqx.is_inexact_array(value):
        yield "NaN", jnp.asarray(value).at[(0,) * value.ndim].set(jnp.nan)
        yield from (("text", "text"), ("object", object()), ("ragged", [[1.0], [1.0, 2.0]]))
    elif isinstance(value, float):
        yield from (("NaN", float("nan")), ("text", "text"), ("complex", 1j))
    elif isinstance(value, int) and not isinstance(value, bool):
        yield from (("half", 2.5), ("text", "text"))
    elif callable(value) and not isinstance(value, eqx.Module):
        yield from (("text", "text"), ("class", fm.Particles), ("number", 1.0))
    elif not isinstance(value, str | eqx.Module) and not eqx.is_array(value):
        yield from (("text", "text"),)


@contextmanager
def _at_most(seconds: int):
    def stop(*_):
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def _finite(result) -> bool:
    numbers = [np.asarray(a) for a in jax.tree.leaves(result) if eqx.is_inexact_array_like(a)]
    return bool(numbers) and all(np.all(np.isfinite(a)) for a in numbers)


# Data whose NaN is missing, or of which no number is seen; formulas of any real number.
MAY_HOLD_NAN = {"kalman_filter", "path_metric"}
REAL = {"batch", "M", "p"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(8))
def test_wrong_arguments_of_the_examples_are_refused(part, tmp_path, monkeypatch):
    """Every argument of every example, exchanged for what cannot be meant."""
    monkeypatch.chdir(tmp_path)
    library = _Recorder()
    given = context() | {n: getattr(fm, n) for n in fm.__all__} | context() | {"fm": library}
    taken = []
    with jax.numpy_dtype_promotion("standard"):
        exec(SHARED, given)
        for name in sorted(FUNCTIONS)[part::8]:
            for code in examples(FUNCTIONS[name]):
                with _at_most(60):
                    names = dict(given)
                    exec(OF.get(name, ""), names)
                    exec(compile(code, "example", "exec"), names)
            args, kwargs = library.calls.get(name, ((), {}))
            bound = inspect.signature(FUNCTIONS[name]).bind_partial(*args, **kwargs).arguments
            bound = {k: v for k, v in bound.items() if k != "options"}
            for argument, value in bound.items():
                for kind, wrong in _wrong(value):
                    try:
                        with _at_most(60):
                            result = FUNCTIONS[name](**bound | {argument: wrong})
                    except ValueError:
                        continue
                    except (RuntimeError, TimeoutError) as error:
                        result = error
                    except Exception as error:
                        taken.append((name, argument, kind, repr(error)[:100]))
                        continue
                    if kind == "half" and argument in REAL:
                        continue
                    if kind != "NaN" or (name not in MAY_HOLD_NAN and _finite(result)):
                        taken.append((name, argument, kind, str(result)[:100]))
    assert not taken, "\n".join(map(str, taken))
