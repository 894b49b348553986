"""A newcomer's mistakes: each is refused with the argument's name and what to do."""

import re

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import jaxtyping
import numpy as np
import optax
import pytest
from catalogue import CASES, cloud, tokens

import flowjax_measures as fm
from flowjax_measures.measures._base import replace
from flowjax_measures.simulation._arguments import explained

NOISY = fm.McKeanVlasov(fm.Quadratic(1.0), beta=2.0)
QUIET = fm.SelfAttention()
EYE = jnp.eye(2)
NAN = jnp.full((3, 2), jnp.nan)

REFUSED = {
    "points without a leading axis": (lambda: fm.Particles(jnp.asarray(1.0)), "`x`"),
    "no points": (lambda: fm.Particles(jnp.zeros((0, 2))), "`x`"),
    "leading axes differ": (lambda: fm.Particles((jnp.ones(3), jnp.ones(4))), "`x`"),
    "integers": (lambda: fm.Particles(jnp.arange(4)), "astype"),
    "weights of another length": (lambda: fm.Particles(EYE, jnp.zeros(3)), "`log_w`"),
    "negative weights": (lambda: fm.Particles(EYE, jnp.log(jnp.array([1.0, -1.0]))), "`log_w`"),
    "all weights zero": (lambda: fm.Particles(EYE, jnp.full(2, -jnp.inf)), "`log_w`"),
    "block of no size": (lambda: fm.Particles(EYE, block=0), "`block`"),
    "mean is a matrix": (lambda: fm.Gaussian(EYE, EYE), "`m`"),
    "integer mean": (lambda: fm.Gaussian(jnp.arange(2), EYE), "`m`"),
    "covariance of another size": (lambda: fm.Gaussian(jnp.ones(3), EYE), "`cov`"),
    "covariance not symmetric": (
        lambda: fm.Gaussian(jnp.ones(2), jnp.array([[1.0, 0.5], [0.0, 1.0]])), "`cov`.*symmetric",
    ),
    "covariance not positive": (lambda: fm.Gaussian(jnp.ones(2), -EYE), "`cov`.*semidefinite"),
    "covariance NaN": (lambda: fm.Gaussian(jnp.ones(2), jnp.nan * EYE), "`cov`"),
    "negative density": (lambda: fm.GridDensity(-jnp.ones(5), 0.0, 1.0), "`rho`"),
    "density without mass": (lambda: fm.GridDensity(jnp.zeros(5), 0.0, 1.0), "`rho`"),
    "density of four axes": (lambda: fm.GridDensity(jnp.ones((3,) * 4), 0.0, 1.0), "`rho`"),
    "walls crossed": (lambda: fm.GridDensity(jnp.ones(5), 1.0, 0.0), "`upper`"),
    "walls of another size": (lambda: fm.GridDensity(jnp.ones(5), jnp.ones(3), 2.0), "`lower`"),
    "one time": (lambda: fm.simulate(QUIET, tokens(), [0.0]), "`ts`"),
    "times decrease": (lambda: fm.simulate(QUIET, tokens(), [0.0, 1.0, 0.5], dt=0.1), "`ts`"),
    "times repeat": (lambda: fm.simulate(QUIET, tokens(), [0.0, 0.0], dt=0.1), "`ts`"),
    "times NaN": (lambda: fm.simulate(QUIET, tokens(), [0.0, jnp.nan], dt=0.1), "`ts`"),
    "traced times with dt": (
        lambda: jax.jit(lambda ts: fm.simulate(QUIET, tokens(), ts, dt=0.1))(jnp.arange(2.0)),
        "`ts`",
    ),
    "negative step": (lambda: fm.simulate(QUIET, tokens(), [0.0, 1.0], dt=-0.1), "`dt`"),
    "no key": (lambda: fm.simulate(NOISY, cloud(), [0.0, 1.0], dt=0.1), "`key`"),
    "no step": (lambda: fm.simulate(NOISY, cloud(), [0.0, 1.0], key=jr.key(0)), "`dt`"),
    "adaptive Euler": (
        lambda: fm.simulate(
            NOISY, cloud(), [0.0, 1.0], key=jr.key(0),
            stepsize_controller=__import__("diffrax").PIDController(rtol=1e-3, atol=1e-3),
        ),
        "`solver`",
    ),
    "a key that is a number": (
        lambda: fm.simulate(NOISY, cloud(), [0.0, 1.0], dt=0.1, key=0), "`key`",
    ),
    "points for a measure": (
        lambda: fm.simulate(QUIET, jnp.ones((3, 2)), [0.0, 1.0], dt=0.1), "`state`.*Particles",
    ),
    "noise that is a number": (
        lambda: fm.simulate(
            fm.Custom(lambda t, x, mu: fm.Rates(-x, 0.5)), cloud(), [0.0, 1.0], dt=0.1  # pyright: ignore
        ),
        "`noise`.*Isotropic",
    ),
    "one velocity for all coordinates": (
        lambda: fm.simulate(
            fm.Custom(lambda t, x, mu: fm.Rates(-jnp.sum(x))), cloud(), [0.0, 1.0], dt=0.1
        ),
        "velocity",
    ),
    "more observations than memory": (
        lambda: fm.simulate(
            QUIET, cloud(), np.linspace(0, 1, 1001), dt=0.001, observe=lambda mu: jnp.zeros(10**10)
        ),
        "`observe` ask for 1001 observations of 74.5 GiB",
    ),
    "an observable by NumPy": (
        lambda: fm.simulate(
            QUIET, cloud(), [0.0, 1.0], dt=0.1, observe=lambda mu: np.linalg.norm(mu.x)
        ),
        "`observe`.*jax.numpy",
    ),
    "an observable that needs numbers": (
        lambda: fm.simulate(
            QUIET, cloud(), [0.0, 1.0], dt=0.1, observe=lambda mu: float(mu.mean()[0])
        ),
        "`observe`.*jax.numpy",
    ),
    "NaN in the state": (
        lambda: fm.simulate(QUIET, fm.Particles(NAN), [0.0, 1.0], dt=0.1), "`state`.*NaN",
    ),
    "a function for a system": (
        lambda: fm.simulate(lambda t, x, mu: -x, cloud(), [0.0, 1.0]), "system",
    ),
    "unknown remat": (
        lambda: fm.simulate(QUIET, cloud(), [0.0, 1.0], dt=0.1, remat="all"), "`remat`",
    ),
    "velocity of another shape": (
        lambda: fm.simulate(
            fm.Custom(lambda t, x, mu: jnp.ones(5)), cloud(), [0.0, 1.0], dt=0.1
        ),
        "velocity of shapes",
    ),
    "velocity of another structure": (
        lambda: fm.simulate(fm.Custom(lambda t, x, mu: (x, x)), cloud(), [0.0, 1.0], dt=0.1),
        "velocity of shapes",
    ),
    "species without a law": (
        lambda: fm.simulate(fm.Species({"a": QUIET}), {"b": cloud()}, [0.0, 1.0]), "species",
    ),
    "vector of shared noise": (lambda: fm.Common(jnp.ones(3)), "`Common`"),
    "unknown normalisation": (lambda: fm.SelfAttention(normalization="max"), "normalization"),
    "unknown noise": (lambda: fm.ConsensusBased(jnp.sum, noise="levy"), "noise"),
    "mixed calculus": (
        lambda: fm.simulate(
            NOISY + _Stratonovich(), cloud(), [0.0, 1.0], dt=0.1, key=jr.key(0)
        ),
        "calculus",
    ),
    "resampling of no width": (
        lambda: fm.minimize(jnp.sum, bounds=(-jnp.ones(2), jnp.ones(2)), key=jr.key(0),
                            resampling=-1.0), "`resampling`",
    ),
    "a class for a space": (lambda: fm.Particles(EYE, space=fm.Sphere), r"`space`.*Sphere\("),
    "a list for points": (lambda: fm.Particles([[0.0, 1.0], [1.0, 0.0]]), r"`x`.*jax.numpy.array"),
    "a kernel of vectors": (
        lambda: _run(fm.GradientFlow(fm.InteractionEnergy(lambda x, y: x - y)), cloud()),
        r"`energy.kernel`.*one number",
    ),
    "a potential of shape (1,)": (
        lambda: _run(fm.GradientFlow(fm.PotentialEnergy(lambda x: jnp.sum(x**2, keepdims=True))),
                     cloud()), r"\(1,\), of `energy.potential`.*one number",
    ),
    "an observable of words": (
        lambda: fm.simulate(QUIET, cloud(), [0.0, 1.0], dt=0.1, observe={"a": lambda mu: "abc"}),
        "`observe`.*'abc'",
    ),
    "a pair for rates": (
        lambda: _run(fm.Custom(lambda t, x, mu: (x, jnp.ones(()))), cloud()),
        r"Rates\(velocity, noise",
    ),
    "several keys": (
        lambda: fm.simulate(NOISY, cloud(), [0.0, 1.0], dt=0.1, key=jr.split(jr.key(0), 2)),
        "`key`.*vmap",
    ),
    "a species that no measure is of": (
        lambda: _run(
            fm.Species({"a": fm.Custom(lambda t, x, mu: mu["c"].mean() - x)}), {"a": cloud()}
        ),
        "species 'c'.*'a'",
    ),
    "a name for a field": (
        lambda: fm.fit(QUIET, ([0.0, 1.0], [cloud(), cloud()]), where="beta", dt=0.1), "`where`",
    ),
    "seeds for a function without a key": (
        lambda: fm.sweep(lambda p: p["a"], {"a": [1.0]}, seeds=2), "`function`.*seeds",
    ),
    "words to sweep over": (lambda: fm.sweep(len, {"a": ["x", "y"]}), "`parameters`: 'a'"),
    "nothing to sweep over": (lambda: fm.sweep(len, {"a": []}), "`parameters`: 'a'"),
    "a size to sweep over": (
        lambda: fm.sweep(lambda p: jnp.ones(p["n"]).sum(), {"n": [1, 2]}), "`function`.*shape",
    ),
    "a sweep of words": (lambda: fm.sweep(lambda p: "abc", {"a": [1.0, 2.0]}), "`function`.*'abc'"),
    "a word for a step": (lambda: fm.simulate(QUIET, cloud(), [0.0, 1.0], dt="0.1"), "`dt`"),
    "a class for a controller": (
        lambda: fm.simulate(QUIET, cloud(), [0.0, 1.0], stepsize_controller=diffrax.PIDController),
        "`stepsize_controller`.*instance",
    ),
    "a class for an adjoint": (
        lambda: fm.simulate(QUIET, cloud(), [0.0, 1.0], adjoint=diffrax.ForwardMode), "`adjoint`",
    ),
    "species for one law": (lambda: _run(QUIET, {"a": cloud()}), "`state`.*Species"),
    "a law of two arguments": (lambda: fm.Custom(lambda x, mu: -x), "`law`.*t, x, mu"),
    "a number for a law": (lambda: fm.Custom(3.0), "`law`.*3.0"),
    "a list of species": (lambda: fm.Species([QUIET]), "`laws`.*dict"),
    "a function for an energy": (lambda: fm.GradientFlow(lambda mu: 0.0), "`energy`.*Functional"),
    "a word for a metric": (
        lambda: fm.GradientFlow(fm.PotentialEnergy(jnp.sum), "wasserstein"), "`metric`",
    ),
    "a grid without an end": (lambda: fm.GridDensity(jnp.ones(4), None, 1.0), "`lower`"),
    "words for points": (lambda: fm.Particles("abc"), "`x`"),
    "too few weights": (lambda: fm.Particles(EYE, weights=jnp.ones(3)), "`weights`.*shape"),
    "points for measures": (lambda: fm.wasserstein(EYE, EYE), r"`mu`.*Particles\(x\)"),
    "a word for a radius": (lambda: fm.cluster_labels(cloud(), "a"), "`radius`"),
    "half a number of particles": (lambda: fm.initial.normal(jr.key(0), 10.0, 2), "`n` is 10.0"),
    "a number for the key of a law": (lambda: fm.initial.uniform(0, 10, 0.0, 1.0), "`key` is 0"),
    "snapshots before times": (
        lambda: fm.fit(QUIET, ([cloud(), cloud()], [0.0, 1.0]), dt=0.1), "`data`.*times first",
    ),
    "a function for an optimiser": (
        lambda: fm.fit(QUIET, ([0.0, 1.0], [cloud(), cloud()]), optimizer=optax.adam, dt=0.1),
        "`optimizer`",
    ),
    "a game of one measure": (lambda: _run(fm.Game({"x": lambda mu: None}), cloud()), "species"),
    "charges without velocities": (lambda: _run(fm.MagneticGeodesic(), cloud()), "Phase"),
    "momenta without positions": (lambda: _run(fm.EPDiff(jnp.vdot), cloud()), "Phase"),
    "an odd phase": (
        lambda: _run(fm.AcceleratedFlow(fm.PotentialEnergy(jnp.sum)), cloud()), "Phase",
    ),
    "a fluid of particles": (lambda: _run(fm.EulerArnold(), cloud()), "array"),
    "labels of another number": (
        lambda: fm.LaplaceLearning(EYE, jnp.ones(3, bool)), "labelled",
    ),
    "a graph of another size": (lambda: _run(fm.LaplaceLearning(EYE), cloud()), "`weights`"),
    "a level without noise": (lambda: fm.BlindDenoising(cloud(), jnp.zeros(2), 1.0), "`levels`"),
    "damping below zero": (lambda: fm.KacFlow(cloud(), -1.0), "`damping`"),
}  # fmt: skip


def _run(system, state):
    return fm.simulate(system, state, [0.0, 0.1], dt=0.1)


class _Stratonovich(fm.AbstractMeanField):
    calculus = "stratonovich"

    def rates(self, t, x, mu):
        return fm.Rates(x)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_argument_and_what_to_do(name):
    build, words = REFUSED[name]
    # Where an annotation already forbids the value, the tests' type checker speaks first.
    with pytest.raises((ValueError, jaxtyping.TypeCheckError)) as error:
        build()
    if isinstance(error.value, ValueError):
        assert re.search(words, str(error.value)), error.value
    assert len(str(error.value)) > 30


def test_a_dirac_is_a_gaussian():
    assert fm.Gaussian(jnp.ones(2), jnp.zeros((2, 2))).covariance().sum() == 0


def test_a_name_that_is_nearly_right():
    with pytest.raises(AttributeError, match="did you mean 'SelfAttention'"):
        _ = fm.SelfAtention


def test_a_start_off_its_space_begins_at_the_nearest_point():
    """A cloud of any radius with the space of a sphere is what one tries first."""
    on = tokens()
    off = fm.Particles(2.5 * on.x, space=fm.Sphere())
    for dt in (0.1, None):
        ends = [fm.simulate(QUIET, start, [0.0, 0.5], dt=dt).ys.x for start in (on, off)]
        np.testing.assert_allclose(ends[0], ends[1], rtol=1e-12, atol=1e-12)


def test_nan_inside_a_compiled_run_is_a_result():
    run = jax.jit(lambda x: fm.simulate(QUIET, fm.Particles(x), [0.0, 1.0], dt=0.1, throw=False))(
        NAN
    )
    assert run.result == fm.Results.nonfinite and run.stats["bad_time"] == 0.0


@pytest.mark.parametrize("dt", [0.1, None])
def test_a_law_that_is_nan_from_the_start_is_told_from_a_blow_up(dt):
    """Data that hold NaN want another advice than a step that is too long."""
    data = jnp.array([jnp.nan, 1.0, 0.0])
    for law, words in (
        (lambda t, x, mu: data - x, "first step.*NaN in its parameters and data"),
        (
            lambda t, x, mu: x * jnp.where(t > 0.55, jnp.nan, 1.0),
            r"stopped at t = 0\.(5|6)(?!.*NaN in)",
        ),
    ):
        with pytest.raises(RuntimeError, match=words):
            fm.simulate(fm.Custom(law), cloud(), [0.0, 1.0], dt=dt)


@pytest.mark.parametrize("name", list(CASES))
def test_points_that_a_law_is_not_for_are_named(name):
    """Of another dimension or form: the law of such points, or an error that names them."""
    case = CASES[name]()
    if not isinstance(case.state, fm.Particles) or name == "excluding-particles":
        pytest.skip("The state is none of points, or the law takes functions of any point.")
    leaf = jax.tree.leaves(case.state.x)[0]
    flat = jr.normal(jr.key(0), (len(leaf), leaf.shape[-1] if leaf.ndim > 1 else 1))
    for x in (jnp.hstack([flat, flat, flat]), flat[:, 0], {"a": flat}, fm.Phase(flat, flat)):
        state = replace(case.state, x=x)
        try:
            with explained(case.system, state):
                drift = jax.eval_shape(lambda state: case.system(0.0, state).drift, state)
        except ValueError as error:
            assert "`" in str(error)
        else:
            assert jax.tree.map(jnp.shape, drift.x) == jax.tree.map(jnp.shape, x)
