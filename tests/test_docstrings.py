"""Every public class and function has an example, and the examples run."""

import inspect
import re
import textwrap
import warnings

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from example_names import OF, SHARED

import flowjax_measures as fm

PUBLIC = {
    name: value
    for name, value in ((name, getattr(fm, name)) for name in fm.__all__)
    if (inspect.isclass(value) or inspect.isroutine(value)) and not name.startswith("Abstract")
    if value.__module__.startswith(fm.__name__)
}


def examples(value) -> list[str]:
    """The code of the examples in a docstring: one line in backticks, or a block."""
    text = inspect.cleandoc(value.__doc__ or "")
    found = []
    for block in re.findall(r"!!! example\n\n((?:    .*\n?|\n)+)", text):
        block = textwrap.dedent(block)
        fenced = re.findall(r"```python\n(.*?)```", block, re.DOTALL)
        # An example may be told in words; that doesn't count.
        lines = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", block)[:1]]
        found += fenced or lines
    return found


def context() -> dict:
    """What names stand for in the examples."""
    key = jr.key(0)
    mu = fm.initial.normal(key, 8, 2)
    ball = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
    names = {
        "fm": fm, "jax": jax, "jnp": jnp, "jr": jr, "np": np, "diffrax": diffrax, "optax": optax,
        "eqx": eqx, "key": key, "x": jnp.ones(2), "mu": mu,
        "nu": fm.Particles(jr.normal(jr.key(1), (8, 2)) + 1.0), "ball": ball,
        "tokens": fm.initial.uniform_on_sphere(key, 8, 3),
        "grid": fm.GridDensity(jnp.linspace(0.5, 1.5, 8), 0.0, 1.0),
        "f": lambda x: jnp.sum(x**2), "box": (-2 * jnp.ones(2), 2 * jnp.ones(2)),
        "data": (jr.normal(key, (5, 2)), jnp.ones(5)),
        "loss": lambda p, e: (jnp.vdot(p, e[0]) - e[1]) ** 2 / 2,
        "run": fm.simulate(fm.MeanShift(), mu, [0.0, 1.0]),
    }  # fmt: skip
    return names


def test_every_public_name_has_an_example():
    assert [name for name, value in PUBLIC.items() if not examples(value)] == []


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_examples_run(part, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = context() | {name: getattr(fm, name) for name in fm.__all__}
        exec(SHARED, given)
        chosen = [(n, code) for n in sorted(PUBLIC)[part::8] for code in examples(PUBLIC[n])]
        failures = [
            f"{name}: {code}: {error!r}"
            for name, code in chosen
            if (error := _failure(OF.get(name, ""), code, given)) is not None
        ]
    assert failures == []


def _failure(before: str, code: str, given: dict) -> Exception | None:
    """What an example raises."""
    names = dict(given)
    try:
        exec(before, names)
        exec(compile(code, "example", "exec"), names)
    except Exception as error:
        return error
    return None
