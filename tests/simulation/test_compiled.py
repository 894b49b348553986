"""A changed value compiles nothing: counted by JAX itself."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from catalogue import cloud

import flowjax_measures as fm

POTENTIAL = lambda x: jnp.sum(x**2) / 2  # noqa: E731
FLOW = fm.GradientFlow(fm.MMD(cloud(4, 2), fm.GaussianKernel(1.0)))


class Pull(fm.AbstractMeanField):
    rate: fm._custom_types.FloatScalar = 1.0

    def rates(self, t, x, mu):
        return fm.Rates(-self.rate * x, fm.Isotropic(0.1))


class Quiet(fm.AbstractMeanField):
    def rates(self, t, x, mu):
        return fm.Rates(mu.mean() - x)


def run(system=Quiet(), ts=(0.0, 1.0), **options):
    return fm.simulate(system, cloud(), ts, **{"dt": 0.125, "key": jr.key(0)} | options)


def adaptive(rtol=1e-4, **options):
    controller = diffrax.PIDController(rtol=rtol, atol=1e-6)
    return run(dt=None, stepsize_controller=controller, **options)


def jko(tau):
    flow = fm.GradientFlow(fm.PotentialEnergy(POTENTIAL))
    return fm.simulate(flow, cloud(), [0.0, tau], solver=fm.JKO(tau))


DOORS = {
    "later times": (run, dict(ts=[0.0, 1.0, 2.0]), dict(ts=np.array([2.0, 3.0, 4.0]))),
    "another step": (run, dict(dt=0.125), dict(ts=[0.0, 2.0], dt=0.25)),
    "a whole number for a field": (
        lambda rate: run(Pull(rate)), dict(rate=1.5), dict(rate=2),
    ),
    "a NumPy number for a field": (
        lambda rate: run(Pull(rate)), dict(rate=1.5), dict(rate=np.float32(3)),
    ),
    "adaptive, later": (adaptive, dict(ts=[0.0, 1.0]), dict(ts=[3.0, 4.5])),
    "adaptive, tolerance": (adaptive, dict(rtol=1e-4), dict(rtol=1e-3)),
    "the step of a scheme": (jko, dict(tau=0.1), dict(tau=0.2)),
    "a key": (lambda key: run(Pull(1.0), key=key), dict(key=jr.key(0)), dict(key=jr.key(1))),
}  # fmt: skip


@pytest.mark.parametrize("name", DOORS)
def test_a_changed_value_compiles_nothing(name):
    door, first, second = DOORS[name]
    jax.block_until_ready(door(**first).final)
    with _compilations() as count:
        jax.block_until_ready(door(**second).final)
    assert count == []


class _compilations:
    """The programs that are compiled inside."""

    def __enter__(self):
        self.found: list[str] = []
        jax.monitoring.register_event_duration_secs_listener(self._heard)
        self.on = True
        return self.found

    def _heard(self, event, duration, **_):
        if self.on and event == "/jax/core/compile/backend_compile_duration":
            self.found.append(event)

    def __exit__(self, *_):
        self.on = False
