"""Every public class and function has an example, and the examples run."""

import ast
import builtins
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


def _names(code: str) -> set[str]:
    """The names that an example takes as given."""
    tree = ast.parse(textwrap.dedent(code))
    nodes = list(ast.walk(tree))
    bound = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    bound |= {n.arg for n in nodes if isinstance(n, ast.arg)}
    bound |= {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    return {n.id for n in nodes if isinstance(n, ast.Name)} - bound - set(dir(builtins))


def _runs(code: str, given: dict) -> bool:
    """Whether all names of an example have a meaning here; the others speak of the reader's own."""
    return _names(code) <= {*given, *fm.__all__}


def test_most_examples_can_be_run():
    given = context()
    all_ = [code for value in PUBLIC.values() for code in examples(value)]
    assert sum(_runs(code, given) for code in all_) > 0.75 * len(all_)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_examples_run(part):
    given = context() | {name: getattr(fm, name) for name in fm.__all__}
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given |= context()
        chosen = [(n, code) for n in sorted(PUBLIC)[part::8] for code in examples(PUBLIC[n])]
        failures = [
            f"{name}: {code}: {error!r}"
            for name, code in chosen
            if _runs(code, given) and (error := _failure(code, given)) is not None
        ]
    assert failures == []


def _failure(code: str, given: dict) -> Exception | None:
    """What an example raises."""
    try:
        exec(compile(code, "example", "exec"), dict(given))
    except Exception as error:
        return error
    return None
