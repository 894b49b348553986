"""Fields of all systems, and of what they are made of: nothing that cannot be meant is taken."""

import dataclasses
import inspect
import re

import catalogue
import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import pytest

import flowjax_measures as fm

CLOUD = fm.Particles(jnp.ones((3, 2)))
LOUD = (ValueError, TypeError, jaxtyping.TypeCheckError)
# Data, whose NaN shows in results; and a tree of any arrays.
DATA = {"Particles", "ControlledFlow"}


def parts(value):
    """A module of this library with all modules in its fields."""
    if isinstance(value, eqx.Module):
        if type(value).__module__.startswith("flowjax_measures"):
            yield value
        for field in dataclasses.fields(value):
            yield from parts(getattr(value, field.name, None))
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from parts(part)


def refused(module, name, wrong):
    try:
        dataclasses.replace(module, **{name: wrong})
    except LOUD:
        return True
    return False


@pytest.fixture(scope="module")
def modules():
    """One of each class."""
    found = {}
    for make in catalogue.CASES.values():
        for module in parts(make().system):
            found.setdefault(type(module), module)
    return [m for kind, m in found.items() if kind.__name__ not in DATA]


def test_fields_take_no_nan_no_text_and_no_class(modules):
    taken = []
    for module in modules:
        for field in dataclasses.fields(module):
            value = getattr(module, field.name)
            number = isinstance(value, float) or (eqx.is_inexact_array(value) and value.ndim == 0)
            if not field.init or not (number or eqx.is_inexact_array(value) or callable(value)):
                continue
            wrong = ["text", jnp.ndarray]
            if number:
                wrong.append(float("nan"))
            elif eqx.is_inexact_array(value):
                wrong.append(jnp.nan * value)
            taken += [(type(module).__name__, field.name, w) for w in wrong
                      if not refused(module, field.name, w)]  # fmt: skip
    # Static numbers and points of any structure are the reader's own.
    assert not [t for t in taken if t[:2] not in {
        ("LayerNorm", "epsilon"), ("EnsembleKalmanSampler", "prior_mean"),
        ("McKeanPontryagin", "noise"), ("McKeanPontryagin", "control"),
    }]  # fmt: skip


# Strengths, fields, shears and places, which have both signs; numbers that are static.
SIGNED = {
    "AllenCahn": {"lower", "upper", "background", "nodes"}, "ConditionalFlow": {"guidance"},
    "CrossDiffusion": {"dimension"}, "Euler2D": {"beta", "shear"},
    "EulerArnold": {"dispersion", "drift"}, "LocalizedAttraction": {"strength"},
    "MagneticGeodesic": {"field"}, "MomentumModifiedEquation": {"momentum"},
    "Quadratic": {"stiffness", "centre"}, "QuadraticKernel": {"strength"},
    "QuasiGeostrophic": {"rotation"}, "ResidualNetwork": {"D"},
    "ResidualTransformer": {"D", "k"}, "ShallowNetwork": {"regularization", "scale"},
    "Swarming": {"propulsion", "attraction", "repulsion"}, "TwoComponentHunterSaxton": {"field"},
}  # fmt: skip


def test_negative_numbers_are_taken_where_they_mean_something(modules):
    taken = []
    for module in modules:
        kind = type(module)
        for field in dataclasses.fields(module):
            value = getattr(module, field.name)
            number = isinstance(value, float | int) and not isinstance(value, bool)
            if not field.init or not number or ".attention." in kind.__module__:
                continue
            wrong = -1.0 if isinstance(value, float) else -1
            if field.name not in SIGNED.get(kind.__name__, ()) and not refused(
                module, field.name, wrong
            ):
                taken.append((kind.__name__, field.name))
    assert not taken


def made_with(module, name, wrong):
    """The error of making a module again with another value in place of one, by its arguments."""
    arguments = inspect.signature(type(module)).parameters
    fields = {a: getattr(module, a) for a in arguments if hasattr(module, a)}
    try:
        type(module)(**fields | {name: wrong})
    except (ValueError, jaxtyping.TypeCheckError) as error:
        return error
    return None


def test_errors_name_the_argument(modules):
    unnamed = []
    for module in modules:
        for name in inspect.signature(type(module)).parameters:
            for wrong in ("text", jnp.ndarray, object(), {"a": 1}, [1, "b"], 1j, None):
                error = made_with(module, name, wrong)
                if isinstance(error, ValueError) and name not in str(error):
                    unnamed.append((type(module).__name__, name, wrong, str(error)))
    assert not unnamed


@pytest.mark.parametrize(("make", "words"), [
    (lambda: fm.MMD(jnp.ones((3, 2))), "`target`.*Measure"),
    (lambda: fm.MMD(CLOUD, fm.GaussianKernel), "`kernel`.*class"),
    (lambda: fm.GradientFlow(fm.KL), "`energy`.*class"),
    (lambda: fm.ConsensusBased("rastrigin"), "`objective`.*text"),
    (lambda: fm.PotentialEnergy(3.0), "`potential`.*function"),
    (lambda: fm.SelfAttention(jnp.full((2, 2), jnp.nan)), "`query`.*NaN"),
    (lambda: fm.SelfAttention(jnp.eye(2, dtype=complex)), "`query`.*complex"),
    (lambda: fm.McKeanVlasov(None, None, float), "`beta`.*class"),
    (lambda: fm.Quadratic(float("nan")), "`stiffness`"),
    (lambda: fm.StochasticModifiedEquation(jnp.vdot, CLOUD, 0.1, order=3), "`order`"),
])  # fmt: skip
def test_what_was_given_is_named(make, words):
    # Where an annotation already forbids the value, the tests' type checker speaks first.
    with pytest.raises((ValueError, jaxtyping.TypeCheckError)) as error:
        make()
    if isinstance(error.value, ValueError):
        assert re.search(words, str(error.value)), error.value


@pytest.mark.parametrize(("make", "name"), [
    (lambda: fm.WassersteinFisherRao(-1.0, 1.0), "alpha"),
    (lambda: fm.WassersteinFisherRao(1.0, -1.0), "beta"),
    (lambda: fm.RegularizedStein(regularization=0.0), "regularization"),
    (lambda: fm.RegularizedStein(regularization=1.5), "regularization"),
    (lambda: fm.Preconditioned(-jnp.eye(2)), "matrix"),
    (lambda: fm.Preconditioned(jnp.array([[1.0, 0.5], [0.0, 1.0]])), "matrix"),
    (lambda: fm.Preconditioned(jnp.ones((2, 3))), "matrix"),
    (lambda: fm.WassersteinMirror(fm.Gaussian(jnp.zeros(2), jnp.zeros((2, 2)))), "reference"),
    (lambda: fm.PowerEnergy(1.0), "exponent"),
    (lambda: fm.PowerEnergy(-2.0), "exponent"),
    (lambda: fm.Renyi(jnp.sum, 1.0), "order"),
    (lambda: fm.Exclusion(-0.1), "fraction"),
    (lambda: fm.Congestion(0.0), "ceiling"),
    (lambda: fm.InverseMultiquadric(1.0, -0.5), "power"),
    (lambda: fm.AdversarialDivergence(CLOUD, jnp.asarray, "MMD", 0.0), "regularization"),
    (lambda: fm.AdversarialDivergence(CLOUD, jnp.asarray, iterations=0), "iterations"),
    (lambda: fm.SlicedWasserstein(CLOUD, 2 * jnp.eye(2)), "directions"),
    (lambda: fm.SlicedWasserstein(CLOUD, jnp.eye(2), -jnp.ones(2)), "weights"),
    (lambda: fm.SlicedWasserstein(CLOUD, jnp.eye(3))(CLOUD), "directions"),
    (lambda: fm.SliceMatching(CLOUD, 3 * jnp.eye(2)[None]), "bases"),
    (lambda: fm.Swarming(friction=-0.5), "friction"),
    (lambda: fm.AcceleratedFlow(fm.PotentialEnergy(jnp.sum), -1.0), "damping"),
    (lambda: fm.HellingerKantorovichBrownian(1.0, 4.0, -1.0), "theta"),
    (lambda: fm.BirthDeath(jax.random.key(0), 2.0), "threshold"),
    (lambda: fm.LaplaceLearning(jnp.ones((3, 3)), exponent=0.5), "exponent"),
    (lambda: fm.LaplaceLearning(-jnp.ones((3, 3))), "weights"),
])  # fmt: skip
def test_numbers_that_no_formula_allows_are_named(make, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        make()


def test_what_is_made_in_compiled_code_is_not_read():
    x, mu = jnp.ones(2), fm.Particles(jnp.ones((3, 2)))
    made = jax.jit(lambda a: fm.SelfAttention(a, beta=a[0, 0]).rates(0.0, x, mu).velocity)
    assert jnp.all(jnp.isfinite(made(jnp.eye(2)))) and jnp.all(
        jnp.isnan(made(jnp.nan * jnp.eye(2)))
    )
