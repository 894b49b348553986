"""Every solver × noise × calculus × loop × space: the right law, or an error that names `solver`.

Laws are those of dX = −X dt (+ noise) from X = 1, at T = 1/2, in mean and second moment:

    none             e^{−T}, e^{−2T}
    additive         e^{−T}, e^{−2T} + (1 − e^{−2T})/8          (σ = 1/2)
    multiplicative   Itô e^{−T}, e^{(b²−2)T};  Stratonovich e^{(b²/2−1)T}, e^{(2b²−2)T}   (b = 1/2)

the last by noise of each point's own, shared, and cylindrical; and on S² rotation, and Brownian
motion with E X = e^{−σ²T} x.
"""

import inspect

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

T, H, SIGMA, B = 0.5, 0.05, 0.5, 0.5
RUNS, POINTS = 1500, 2

DIFFRAX = sorted(
    name
    for name, kind in vars(diffrax).items()
    if inspect.isclass(kind) and issubclass(kind, diffrax.AbstractSolver)
    and not name.startswith("Abstract")
)  # fmt: skip
ARGUMENTS = {
    "HalfSolver": (diffrax.Euler(),), "ALIGN": (0.1,), "ShOULD": (0.1,), "QUICSORT": (0.1,),
    "RandomBatch": (2, jr.key(3)),
}  # fmt: skip
OURS = ["ExponentialConsensus", "GeodesicEuler", "RandomBatch", "SmallNoiseHeun", "Strang"]


def noise_of(kind, x):
    if kind == "additive":
        return fm.Isotropic(SIGMA)
    if kind == "multiplicative":
        return fm.Diagonal(B * x)
    if kind == "shared":
        return fm.Common(B * jnp.diag(x))
    return fm.Cylindrical(lambda w: B * x * w, (1,))


class Flat(fm.AbstractMeanField):
    kind: str | None = None
    calculus: str = "ito"

    def rates(self, t, x, mu):
        return fm.Rates(-x, None if self.kind is None else noise_of(self.kind, x))


class Round(fm.AbstractMeanField):
    kind: str | None = None
    calculus: str = "ito"

    def rates(self, t, x, mu):
        if self.kind is None:
            return fm.Rates(jnp.stack([-x[1], x[0], jnp.zeros_like(x[0])]))
        shared = self.kind == "shared"
        noise = fm.Common(SIGMA * jnp.eye(3)) if shared else fm.Isotropic(SIGMA)
        return fm.Rates(jnp.zeros_like(x), noise)


def exact(kind, calculus, space):
    """The mean, and the variance of a point."""
    if space == "sphere":
        start = np.array([0.6, 0.0, 0.8])
        if kind is None:
            return np.array([0.6 * np.cos(T), 0.6 * np.sin(T), 0.8]), np.zeros(3)
        mean = np.exp(-(SIGMA**2) * T) * start
        square = 1 / 3 + np.exp(-3 * SIGMA**2 * T) * (start**2 - 1 / 3)
        return mean, square - mean**2
    if kind is None:
        return np.exp([-T]), np.zeros(1)
    if kind == "additive":
        return np.exp([-T]), np.array([SIGMA**2 / 2 * (1 - np.exp(-2 * T))])
    shift = B**2 / 2 if calculus == "stratonovich" else 0.0
    mean = np.exp((shift - 1) * T)
    square = np.exp((2 * shift + B**2 - 2) * T)
    return np.array([mean]), np.array([square - mean**2])


CASES = [
    (kind, calculus, loop, space)
    for space, kinds in (
        ("flat", (None, "additive", "multiplicative", "shared", "cylindrical")),
        ("sphere", (None, "additive", "shared")),
    )
    for kind in kinds
    for calculus in (("ito",) if kind is None else ("ito", "stratonovich"))
    for loop in ("steps", "diffrax")
]


def outcome(name, kind, calculus, loop, space):
    """ "right" or "refused"; any other error, or another law, fails."""
    family = fm if hasattr(fm, name) and name in OURS else diffrax
    maker = getattr(family, name)
    solver = maker(*ARGUMENTS.get(name, ()))
    system = (Round if space == "sphere" else Flat)(kind=kind, calculus=calculus)
    if space == "sphere":
        mu = fm.Particles(jnp.tile(jnp.array([0.6, 0.0, 0.8]), (POINTS, 1)), space=fm.Sphere())
    else:
        mu = fm.Particles(jnp.ones((POINTS, 1)))
    options = dict(dt=H, solver=solver, throw=False)
    if loop == "diffrax":
        options["event"] = lambda t, mu: t > 5.0
    keys = jr.split(jr.key(0), 1 if kind is None else RUNS)

    @jax.jit
    @jax.vmap
    def run(key):
        ended = fm.simulate(system, mu, [0.0, T], key=key, **options)
        return ended.final.x, ended.result == diffrax.RESULTS.successful

    try:
        x, successful = jax.tree.map(np.asarray, run(keys))
    except ValueError as error:
        assert "`solver`" in str(error), error
        return "refused"
    assert successful.all(), name
    mean, variance = exact(kind, calculus, space)
    independent = 1 if kind in ("shared", "cylindrical") else POINTS
    x = x[:, :independent].reshape(-1, x.shape[-1])
    error = 4.5 * np.sqrt(variance / len(x))
    # What a scheme of order one leaves at ten steps.
    np.testing.assert_array_less(np.abs(x.mean(0) - mean), error + 0.03, err_msg=name)
    if kind is not None:
        spread = 4.5 * variance * np.sqrt(6 / len(x)) + 0.02
        np.testing.assert_array_less(np.abs(x.var(0) - variance), spread, err_msg=name)
    return "right"


@pytest.mark.slow
@pytest.mark.parametrize("name", DIFFRAX + OURS)
def test_every_pair_is_right_or_refused(name):
    assert {outcome(name, *case) for case in CASES} <= {"right", "refused"}


@pytest.mark.parametrize(("name", "case", "expected"), [
    ("SPaRK", ("multiplicative", "ito", "steps", "flat"), "right"),
    ("KenCarp4", ("multiplicative", "ito", "steps", "flat"), "refused"),
    # Roots without tolerances; a solver of noise without any; noise by index in diffrax's loop.
    ("Kvaerno5", (None, "ito", "steps", "sphere"), "right"),
    ("SmallNoiseHeun", (None, "ito", "diffrax", "sphere"), "right"),
    ("StratonovichMilstein", ("additive", "ito", "diffrax", "flat"), "right"),
])  # fmt: skip
def test_a_line_of_the_table(name, case, expected):
    assert outcome(name, *case) == expected


@pytest.mark.parametrize("arguments", [(diffrax.Euler(), 1), (2, 1), (1, jr.key(0))])
def test_random_batches_name_what_is_wrong(arguments):
    with pytest.raises(ValueError, match=r"`size`|`key`"):
        fm.RandomBatch(*arguments)


class Cubic(fm.AbstractMeanField):
    def rates(self, t, x, mu):
        return fm.Rates(-5 * x**3)


@pytest.mark.slow
def test_roots_of_constant_steps_are_found_and_a_lost_one_is_no_state():
    """x = (1/4 + 10 t)^{−1/2} by Newton's method, from where a frozen Jacobian diverges."""
    mu, exact = fm.Particles(jnp.array([[2.0]])), (0.25 + 10 * T) ** -0.5

    def end(solver, dt):
        return fm.simulate(Cubic(), mu, [0.0, T], dt=dt, solver=solver, throw=False)

    first = [float(end(diffrax.ImplicitEuler(), h).final.x[0, 0]) - exact for h in (0.02, 0.01)]
    assert 1.7 < first[0] / first[1] < 2.1
    np.testing.assert_allclose(end(diffrax.Kvaerno5(), 0.01).final.x, exact, atol=1e-6)
    frozen = diffrax.ImplicitEuler(root_finder=diffrax.VeryChord(rtol=1e-6, atol=1e-6))
    lost = end(frozen, 0.05)
    assert lost.result == fm.Results.nonlinear_divergence and jnp.isnan(lost.final.x).all()
