"""Every controller, adjoint and meter of diffrax × noise × steps: right, or refused by name.

The law is dX = −κX dt (+ dW/2) from X = 1, at T = 1/2: mean e^{−κT}, variance (1 − e^{−2T})/8.
"""

import inspect

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

T, SIGMA = 0.5, 0.5
TS = [0.0, 0.25, T]


def public(kind):
    names = (n for n, v in vars(diffrax).items() if inspect.isclass(v) and issubclass(v, kind))
    return sorted(n for n in names if not n.startswith("Abstract"))


class Decay(fm.AbstractMeanField):
    rate: float = 1.0
    sigma: float | None = None

    def rates(self, t, x, mu):
        noise = None if self.sigma is None else fm.Isotropic(self.sigma)
        return fm.Rates(-self.rate * x, noise)


PID = diffrax.PIDController(rtol=1e-6, atol=1e-8)
ROUGH = diffrax.PIDController(rtol=1e-2, atol=1e-2, pcoeff=0.1, icoeff=0.3, dtmin=0.01)
CONTROLLERS = {
    "ClipStepSizeController": lambda pid: diffrax.ClipStepSizeController(
        pid, step_ts=jnp.array([0.1, 0.33]), jump_ts=jnp.array([0.2])
    ),
    "ConstantStepSize": lambda pid: diffrax.ConstantStepSize(),
    "PIDController": lambda pid: pid,
    "StepTo": lambda pid: diffrax.StepTo(ts=jnp.linspace(0, T, 21)),
}
# What is refused: without noise, and with it by a solver that knows its error or by default.
REFUSED = {
    ("ConstantStepSize", None): "`dt` is missing",
    ("StepTo", 0.025): "`dt` and StepTo",
}


def test_all_are_known():
    assert public(diffrax.AbstractStepSizeController) == sorted(CONTROLLERS)
    assert public(diffrax.AbstractAdjoint) == sorted(ADJOINTS)


@pytest.mark.parametrize("sigma", [None, SIGMA])
@pytest.mark.parametrize("dt", [None, 0.025])
@pytest.mark.parametrize("name", CONTROLLERS)
def test_a_controller(name, dt, sigma):
    controller = CONTROLLERS[name](PID if sigma is None else ROUGH)
    own = name in ("PIDController", "ClipStepSizeController")
    solver = diffrax.ShARK() if sigma is not None and own else None
    mu = fm.Particles(jnp.ones((4000 if sigma else 2, 1)))

    def run():
        return fm.simulate(
            Decay(sigma=sigma), mu, TS, dt=dt, solver=solver, key=jr.key(0),
            stepsize_controller=controller,
        )  # fmt: skip

    if (name, dt) in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[name, dt]):
            run()
        return
    x = run().final.x
    if sigma is None:
        np.testing.assert_allclose(x, np.exp(-T), rtol=2e-6)
        return
    variance = sigma**2 / 2 * (1 - np.exp(-2 * T))
    # Four standard errors, and Euler's bias at twenty steps.
    assert abs(x.mean() - np.exp(-T)) < 4 * np.sqrt(variance / 4000) + 0.008
    assert abs(x.var() - variance) < 4 * variance * np.sqrt(2 / 4000) + 0.003


ADJOINTS = {
    # Without noise: right at adaptive and constant steps; with noise: right, or refused.
    "BacksolveAdjoint": (jax.grad, "`adjoint`: BacksolveAdjoint .* noise"),
    "DirectAdjoint": (jax.grad, None),
    "ForwardMode": (jax.jacfwd, None),
    "ImplicitAdjoint": (jax.grad, "`adjoint`: ImplicitAdjoint .* steady state"),
    "RecursiveCheckpointAdjoint": (jax.grad, None),
}
TWO = fm.Particles(jnp.ones((2, 1)))


@pytest.mark.parametrize(("dt", "sigma"), [(None, None), (0.05, None), (0.05, SIGMA)])
@pytest.mark.parametrize("name", [n for n in ADJOINTS if n != "ImplicitAdjoint"])
def test_an_adjoint(name, dt, sigma):
    derivative, refused = ADJOINTS[name]

    def end(rate, adjoint=None):
        run = fm.simulate(
            Decay(rate, sigma), TWO, [0.0, T], dt=dt, key=jr.key(0),
            adjoint=getattr(diffrax, name)() if adjoint is None else adjoint,
        )  # fmt: skip
        return run.final.x.sum()

    if sigma is not None and refused:
        with pytest.raises(ValueError, match=refused):
            derivative(end)(1.0)
        return
    exact = -2 * T * np.exp(-T)
    if sigma is not None:
        h = 1e-5
        exact = (end(1 + h) - end(1 - h)) / (2 * h)
    np.testing.assert_allclose(derivative(end)(1.0), exact, rtol=1e-6)


@pytest.mark.slow
def test_the_derivative_of_a_steady_state_needs_one():
    def end(rate, t1, **options):
        run = fm.simulate(
            Decay(rate, options.pop("sigma", None)), TWO, [0.0, t1], key=jr.key(0),
            solver=diffrax.Tsit5(), adjoint=diffrax.ImplicitAdjoint(), **options,
        )  # fmt: skip
        return run.final.x.sum()

    refused = ADJOINTS["ImplicitAdjoint"][1]
    rest = diffrax.Event(diffrax.steady_state_event(rtol=1e-6, atol=1e-6))
    for options in ({}, {"sigma": SIGMA, "dt": 0.1, "event": rest}):
        with pytest.raises(ValueError, match=refused):
            jax.grad(end)(1.0, 50.0, **options)
    with jax.numpy_dtype_promotion("standard"):
        # 0 is the steady state, whatever the rate; at t = 1/2 none has been reached.
        np.testing.assert_allclose(jax.grad(end)(1.0, 50.0, event=rest), 0, atol=1e-4)
        with pytest.raises(RuntimeError, match="no steady state was reached"):
            end(1.0, T, event=rest)
        with pytest.raises(Exception, match="nonlinear"):
            jax.block_until_ready(jax.grad(end)(1.0, T, event=rest))


@pytest.mark.parametrize("dt", [None, 0.05])
@pytest.mark.parametrize("name", public(diffrax.AbstractProgressMeter))
def test_a_meter(name, dt, capfd):
    run = fm.simulate(Decay(), TWO, TS, dt=dt, progress=getattr(diffrax, name)())
    np.testing.assert_allclose(run.final.x, np.exp(-T), rtol=1e-8)
    shown = "".join(capfd.readouterr())
    assert ("100.00%" in shown) == (name != "NoProgressMeter")
