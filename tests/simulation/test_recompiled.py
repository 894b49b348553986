"""A function that a loop makes anew is compiled anew: after some passes a warning says so."""

import warnings

import equinox as eqx
import jax.numpy as jnp
import pytest
from catalogue import cloud

import flowjax_measures as fm
from flowjax_measures.simulation._recompiled import warn_of_new_functions


class Bowl(eqx.Module):
    """A function whose number is a field."""

    width: float

    def __call__(self, x):
        return jnp.sum((x / self.width) ** 2)


def run(potential):
    return fm.simulate(fm.McKeanVlasov(potential, beta=None), cloud(3, 1), [0.0, 0.5], dt=0.5)


def test_constants_by_closure_are_warned_of_once():
    with pytest.warns(UserWarning, match=r"test_recompiled.py, line .*Make it once") as found:
        for width in range(1, 7):
            run(lambda x: jnp.sum((x / width) ** 2))  # noqa: B023
    assert len(found) == 1


def test_fields_and_the_same_function_are_not():
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for k in range(1, 7):
            run(Bowl(float(k)))
            # What tracing the same function again, for another step, calls.
            warn_of_new_functions(run, cloud(4, 1))
    assert not found
