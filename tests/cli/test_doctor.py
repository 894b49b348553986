"""The doctor finds what is wrong, and nothing where all is well."""

import tomllib
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from flowjax_measures.__main__ import main
from flowjax_measures._cli import _doctor
from flowjax_measures._cli._doctor import CASES, SENTINELS, Case, Sentinel

SMALL = (Case(1025, 3, "float32"), Case(1025, 3, "float64"))


@pytest.mark.parametrize("sentinel", SENTINELS, ids=lambda sentinel: sentinel.name)
def test_sentinels_are_right_on_this_machine(sentinel):
    # (33333, 3, float32) and the float64 cases are those that jax 0.10.2 gets wrong.
    cases = [case for case in CASES if case.d == 3]
    finding = _doctor.examine_sentinel(sentinel, cases)
    assert finding.ok, finding.text


def _wrong(Y):
    values = np.sum(Y**2, 1)
    values[-1] += 1.0
    return values


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.dtype)
def test_one_wrong_row_is_counted(case):
    sentinel = Sentinel("off", lambda A, x: jnp.sum((A @ x) ** 2), _wrong)
    assert _doctor.wrong_rows(sentinel, case) == {"jit": 1, "eager": 1}


def test_values_that_are_not_finite_are_wrong():
    sentinel = Sentinel("nan", lambda A, x: jnp.sum(A @ x) * jnp.nan, lambda Y: np.sum(Y, 1))
    assert _doctor.wrong_rows(sentinel, SMALL[0]) == {"jit": 1025, "eager": 1025}


def test_a_wrong_formula_makes_the_doctor_fail():
    lines = []
    sentinels = (SENTINELS[0], Sentinel("off", SENTINELS[0].one, _wrong))
    assert _doctor.doctor(lines.append, sentinels=sentinels, cases=SMALL) == 1
    wrong = [line for line in lines if line.startswith("WRONG")]
    assert len(wrong) == 1
    assert "off differs from NumPy" in wrong[0]
    assert "1 of 1025 rows" in wrong[0]
    assert "cannot be trusted" in lines[-1]


def test_excluded_releases_are_those_of_pyproject():
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    requirement = next(d for d in pyproject["project"]["dependencies"] if d.startswith("jax>"))
    assert {bound[2:] for bound in requirement.split(",")[1:]} == set(_doctor.EXCLUDED_JAX)
    for version in _doctor.EXCLUDED_JAX:
        assert not _doctor.examine_jax(version).ok
    assert _doctor.examine_jax("0.10.0").ok


def test_dependencies_are_those_of_pyproject():
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    names = {d.split(">=")[0] for d in pyproject["project"]["dependencies"]}
    assert names | {"jaxlib"} == set(_doctor.DEPENDENCIES)


def test_a_missing_dependency_is_named():
    finding = _doctor.examine_dependency("no-such-distribution")
    assert not finding.ok
    assert str(finding) == "WRONG no-such-distribution is not installed"


def test_command_line(capsys, monkeypatch):
    monkeypatch.setattr(_doctor, "wrong_rows", lambda sentinel, case: {"jit": 0, "eager": 0})
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "All is well."
    assert all(line.startswith("ok ") for line in lines[:-2])


def test_an_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["diagnose"])
    assert stopped.value.code == 2
    assert "diagnose" in capsys.readouterr().err
