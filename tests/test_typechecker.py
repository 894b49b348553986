"""The tests run with arguments checked."""

from typing import Self

import jax.numpy as jnp
import jaxtyping
import pytest
from typechecker import check

from flowjax_measures._cli._doctor import Case, examine_jax, wrong_rows


@pytest.fixture
def hook(pytestconfig):
    if not pytestconfig.getoption("jaxtyping_packages"):
        pytest.skip("the import hook is turned off")


def test_wrong_types_are_refused(hook):
    with pytest.raises(jaxtyping.TypeCheckError, match="version"):
        examine_jax(12)  # pyright: ignore[reportArgumentType]
    with pytest.raises(jaxtyping.TypeCheckError, match="sentinel"):
        wrong_rows(jnp.sum, Case(3, 1, "float32"))  # pyright: ignore[reportArgumentType]


def test_methods_that_return_self_are_checked_in_their_arguments():
    class Steps:
        @check
        def after(self, n: int) -> Self:
            return self

    steps = Steps()
    assert steps.after(1) is steps
    with pytest.raises(Exception, match="violates type hint"):
        steps.after("1")  # pyright: ignore[reportArgumentType]
